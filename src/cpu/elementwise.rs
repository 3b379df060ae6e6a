//! The twin of `shaders/elementwise.wgsl`, and the interpreter of fused expressions that every kernel's twin uses.
//!
//! An expression is run over chunks of consecutive elements, one instruction at a time: each is a loop over a short
//! array that the compiler vectorises.

use super::real::{Real, each_pair};
use crate::graph::Reduction;
use crate::plan::{Axis, Instruction, Program, Register, View};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::sync::Mutex;

/// The number of elements that an instruction processes at a time: a chunk of every register fits the second-level
/// cache.
const CHUNK: usize = 512;
/// The number of elements at a time for an expression that selects among operands, such as a concatenation: few enough
/// that most chunks need only one operand.
const CHOOSING: usize = 64;
/// The smallest number of elements for which another thread pays.
pub(super) const TASK: usize = 1 << 14;

/// A fused expression with its inputs; without an expression, the identity.
pub(crate) struct Fused<'a, T> {
    program: Option<&'a Program>,
    inputs: Vec<&'a [T]>,
    /// For each register, whether it holds indices that must be computed: some instruction other than a plain load
    /// reads it.
    needed: Vec<bool>,
    /// For each register, the mask under which all its readers are, see [`guards`].
    guards: Vec<Option<Register>>,
    /// The register that replaces the accumulator; `None` where only the sinks are outputs.
    value: Option<Register>,
    sinks: Vec<Sink<'a, T>>,
}

/// A further output of an epilogue.
pub(crate) enum Sink<'a, T> {
    /// Every element, at its index or at the index that a view maps it to.
    Elements { target: Scattered<'a, T>, value: Register, place: Option<&'a View> },
    /// The sum of all elements. `runs` holds the sum of each run with the index of its first element, so that the
    /// result does not depend on the order in which threads finish.
    Total { target: &'a mut [T], value: Register, runs: Mutex<Vec<(usize, T)>> },
}

/// A slice whose elements several threads write, each element at most once.
pub(crate) struct Scattered<'a, T> {
    first: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Scattered` stands for a mutable slice, and each element is written by one thread only, as `set` demands.
unsafe impl<T: Send> Sync for Scattered<'_, T> {}
// SAFETY: as for the mutable slice that it stands for.
unsafe impl<T: Send> Send for Scattered<'_, T> {}

impl<'a, T> Scattered<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Scattered<'a, T> {
        Scattered { first: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// Writes an element.
    ///
    /// # Safety
    /// No other thread may write this element until all threads are done.
    #[inline(always)]
    unsafe fn set(&self, at: usize, value: T) {
        assert!(at < self.length, "an epilogue writes beyond its target");
        // SAFETY: the element is inside the slice, as just checked, and no other thread writes it, as the caller
        // ensures.
        unsafe { self.first.add(at).write(value) }
    }
}

/// A thread's registers.
pub(super) struct Scratch<T> {
    values: Vec<Vec<T>>,
    indices: Vec<Vec<u32>>,
    /// For each register, whether it is a mask that is 0 in the whole chunk, or guarded by such a mask.
    closed: Vec<bool>,
}

impl<'a, T: Real> Fused<'a, T> {
    pub(super) fn new(program: Option<&'a Program>, inputs: Vec<&'a [T]>) -> Fused<'a, T> {
        let instructions = program.map(|program| &program.instructions[..]).unwrap_or_default();
        let mut needed = vec![false; instructions.len()];
        for instruction in instructions {
            match instruction {
                Instruction::Index { from, .. } | Instruction::Inside { from, .. } | Instruction::Number(from) => {
                    needed[*from] = true;
                }
                Instruction::Load { at, .. } => needed[*at] |= !walks(instructions, *at),
                Instruction::Position
                | Instruction::Accumulator
                | Instruction::Reduced(_)
                | Instruction::Literal(_)
                | Instruction::Unary(..)
                | Instruction::Binary(..)
                | Instruction::Select { .. } => {}
            }
        }
        let value = program.map(|program| program.instructions.len() - 1);
        Fused { program, inputs, needed, guards: program.map(guards).unwrap_or_default(), value, sinks: vec![] }
    }

    /// The epilogue of a kernel whose outputs are `value`, in place of the accumulator, and those of the sinks.
    pub(super) fn leaving(self, value: Option<Register>, sinks: Vec<Sink<'a, T>>) -> Fused<'a, T> {
        // Outputs are needed even if no instruction reads them.
        Fused { value, sinks, guards: vec![None; self.guards.len()], ..self }
    }

    /// Writes the totals, once all elements are done.
    pub(super) fn finish(self) {
        for sink in self.sinks {
            if let Sink::Total { target, runs, .. } = sink {
                let mut runs = runs.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
                runs.sort_unstable_by_key(|(start, _)| *start);
                target.fill(T::ZERO);
                target[0] = runs.into_iter().fold(T::ZERO, |sum, (_, run)| sum + run);
            }
        }
    }

    /// The input that this expression returns unchanged, if it does nothing else.
    pub(super) fn plain_input(&self) -> Option<&'a [T]> {
        match &self.program?.instructions[..] {
            [Instruction::Position, Instruction::Load { input, at: 0 }] => Some(self.inputs[*input]),
            _ => None,
        }
    }

    /// Registers for a thread.
    pub(super) fn scratch(&self) -> Scratch<T> {
        let instructions = self.program.map(|program| &program.instructions[..]).unwrap_or_default();
        let values = instructions.iter().map(|instruction| match instruction {
            // A literal has one value in every chunk.
            Instruction::Literal(number) => vec![T::from_f64(*number); CHUNK],
            Instruction::Position | Instruction::Index { .. } => vec![],
            Instruction::Load { at: 0, .. } | Instruction::Accumulator => vec![],
            Instruction::Load { .. }
            | Instruction::Inside { .. }
            | Instruction::Reduced(_)
            | Instruction::Number(_)
            | Instruction::Unary(..)
            | Instruction::Binary(..)
            | Instruction::Select { .. } => vec![T::ZERO; CHUNK],
        });
        let indices = self.needed.iter().map(|needed| if *needed { vec![0; CHUNK] } else { vec![] }).collect();
        Scratch { values: values.collect(), indices, closed: vec![false; instructions.len()] }
    }

    /// Fills `y` from element 0 on all threads.
    pub(super) fn fill(&self, y: &mut [T]) {
        if self.program.is_none() {
            return;
        }
        let fill = |scratch: &mut Scratch<T>, task: usize, part: &mut [T]| self.apply(scratch, task * TASK, part);
        if y.len() <= TASK {
            fill(&mut self.scratch(), 0, y);
        } else {
            y.par_chunks_mut(TASK)
                .enumerate()
                .for_each_init(|| self.scratch(), |scratch, (task, part)| fill(scratch, task, part));
        }
    }

    /// Computes elements `start ..` into `y`, which holds the accumulator where the expression is an epilogue.
    pub(super) fn apply(&self, scratch: &mut Scratch<T>, start: usize, y: &mut [T]) {
        let Some(program) = self.program else { return };
        let size = if self.guards.iter().any(Option::is_some) { CHOOSING } else { CHUNK };
        for (chunk, part) in y.chunks_mut(size).enumerate() {
            let (start, until) = (start + chunk * size, program.instructions.len() - 1);
            self.chunk(program, scratch, start, part, until);
            self.leave(program, scratch, start, part, self.value);
        }
    }

    /// Computes a row from element `start`, after its reductions.
    pub(super) fn row(&self, scratch: &mut Scratch<T>, start: usize, y: &mut [T]) {
        let Some(program) = self.program else { return };
        let phases = program.phases.iter().enumerate();
        for (index, phase) in phases {
            let neutral = match phase.reduction {
                Reduction::Sum => T::ZERO,
                Reduction::Max => T::from_f64(f64::NEG_INFINITY),
            };
            let mut lanes = [neutral; 16];
            for (chunk, part) in y.chunks_mut(CHUNK).enumerate() {
                let start = start + chunk * CHUNK;
                self.chunk(program, scratch, start, part, phase.value);
                self.leave(program, scratch, start, part, Some(phase.value));
                for values in part.chunks(lanes.len()) {
                    each_pair(&mut lanes, values, |lane, value| *lane = joined(phase.reduction, *lane, value));
                }
            }
            let reduced = lanes.into_iter().fold(neutral, |all, lane| joined(phase.reduction, all, lane));
            let registers = program.instructions.iter().zip(&mut scratch.values);
            let readers = registers.filter(|(instruction, _)| **instruction == Instruction::Reduced(index));
            readers.for_each(|(_, values)| values.fill(reduced));
        }
        self.apply(scratch, start, y);
    }

    /// Runs the instructions up to number `until` on a chunk.
    fn chunk(&self, program: &Program, scratch: &mut Scratch<T>, start: usize, y: &mut [T], until: usize) {
        let count = y.len();
        for (register, instruction) in program.instructions.iter().enumerate().take(until + 1) {
            if self.guards[register].is_some_and(|mask| scratch.closed[mask]) {
                scratch.closed[register] = true;
                continue;
            }
            if self.needed[register] {
                let (before, from_here) = scratch.indices.split_at_mut(register);
                let indices = &mut from_here[0][..count];
                match instruction {
                    Instruction::Position => {
                        for (offset, index) in indices.iter_mut().enumerate() {
                            *index = (start + offset) as u32;
                        }
                    }
                    Instruction::Index { from: 0, view } => {
                        padded_runs(view, start, count, |done, base, _, inner, along, run| {
                            for (index, at) in indices[done..done + run].iter_mut().zip(along..) {
                                let at = at.saturating_sub(inner.before).min(inner.inner - 1);
                                *index = (base + at * inner.stride) as u32;
                            }
                        });
                    }
                    Instruction::Index { from, view } => {
                        for (index, from) in indices.iter_mut().zip(&before[*from]) {
                            *index = view.map(*from as usize).0 as u32;
                        }
                    }
                    Instruction::Inside { .. }
                    | Instruction::Load { .. }
                    | Instruction::Accumulator
                    | Instruction::Reduced(_)
                    | Instruction::Literal(_)
                    | Instruction::Number(_)
                    | Instruction::Unary(..)
                    | Instruction::Binary(..)
                    | Instruction::Select { .. } => {}
                }
                continue;
            }
            let (before, from_here) = scratch.values.split_at_mut(register);
            let read = |operand: usize| -> &[T] {
                match &program.instructions[operand] {
                    Instruction::Load { input, at: 0 } => &self.inputs[*input][start..start + count],
                    Instruction::Accumulator => y,
                    _ => &before[operand][..count],
                }
            };
            let target = &mut from_here[0];
            match instruction {
                // Literals are filled once for all chunks, and results of reductions once for each row.
                Instruction::Position | Instruction::Index { .. } | Instruction::Literal(_) => {}
                Instruction::Reduced(_) | Instruction::Load { at: 0, .. } | Instruction::Accumulator => {}
                Instruction::Number(from) => {
                    for (number, index) in target.iter_mut().zip(&scratch.indices[*from][..count]) {
                        *number = T::from_f64(*index as f64);
                    }
                }
                Instruction::Inside { from, view } => {
                    let mut closed = true;
                    let mut put = |mask: &mut T, inside: bool| {
                        closed &= !inside;
                        *mask = if inside { T::ONE } else { T::ZERO };
                    };
                    if *from == 0 {
                        padded_runs(view, start, count, |done, _, open, inner, along, run| {
                            for (mask, at) in target[done..done + run].iter_mut().zip(along..) {
                                put(mask, open && at >= inner.before && at - inner.before < inner.inner);
                            }
                        });
                    } else {
                        for (mask, index) in target.iter_mut().zip(&scratch.indices[*from][..count]) {
                            put(mask, view.map(*index as usize).1);
                        }
                    }
                    scratch.closed[register] = closed;
                }
                Instruction::Load { input, at } => match &program.instructions[*at] {
                    Instruction::Index { view, .. } if walks(&program.instructions, *at) => {
                        walk(view, self.inputs[*input], start, &mut target[..count]);
                    }
                    _ => {
                        for (value, index) in target.iter_mut().zip(&scratch.indices[*at][..count]) {
                            *value = self.inputs[*input][*index as usize];
                        }
                    }
                },
                Instruction::Unary(op, x) => T::unary(*op, read(*x), &mut target[..count]),
                Instruction::Binary(op, x, z) => T::binary(*op, read(*x), read(*z), &mut target[..count]),
                Instruction::Select { mask, .. } if scratch.closed[*mask] => target[..count].fill(T::ZERO),
                Instruction::Select { mask, value } => {
                    for ((out, mask), value) in target.iter_mut().zip(read(*mask)).zip(read(*value)) {
                        *out = if *mask > T::ZERO { *value } else { T::ZERO };
                    }
                }
            }
        }
    }

    /// Writes a chunk's results to the sinks, and then the value that replaces the accumulator.
    fn leave(&self, program: &Program, scratch: &Scratch<T>, start: usize, y: &mut [T], value: Option<Register>) {
        let count = y.len();
        for sink in &self.sinks {
            let (Sink::Elements { value, .. } | Sink::Total { value, .. }) = sink;
            let values = match &program.instructions[*value] {
                Instruction::Load { input, at: 0 } => &self.inputs[*input][start..start + count],
                Instruction::Accumulator => &*y,
                _ => &scratch.values[*value][..count],
            };
            match sink {
                Sink::Elements { target, place: None, .. } => {
                    for (offset, value) in values.iter().enumerate() {
                        // SAFETY: every element of the kernel's result is computed once, by one thread.
                        unsafe { target.set(start + offset, *value) }
                    }
                }
                Sink::Elements { target, place: Some(view), .. } => {
                    runs(view, start, count, |done, from, run, stride| {
                        for (step, value) in values[done..done + run].iter().enumerate() {
                            // SAFETY: as above, and the view maps every element to a different index.
                            unsafe { target.set(from + step * stride, *value) }
                        }
                    });
                }
                Sink::Total { runs, .. } => {
                    let mut lanes = [T::ZERO; 16];
                    for values in values.chunks(lanes.len()) {
                        each_pair(&mut lanes, values, |lane, value| *lane += value);
                    }
                    let sum = lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane);
                    runs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((start, sum));
                }
            }
        }
        let Some(value) = value else { return };
        match &program.instructions[value] {
            Instruction::Load { input, at: 0 } => y.copy_from_slice(&self.inputs[*input][start..start + count]),
            Instruction::Accumulator => {}
            _ => y.copy_from_slice(&scratch.values[value][..count]),
        }
    }
}

/// The result of joining two numbers.
#[inline(always)]
pub(super) fn joined<T: Real>(reduction: Reduction, a: T, b: T) -> T {
    match reduction {
        Reduction::Sum => a + b,
        Reduction::Max if b > a => b,
        Reduction::Max => a,
    }
}

/// For each register, the mask under which all its readers are: where the mask is 0, no result depends on the register.
fn guards(program: &Program) -> Vec<Option<Register>> {
    let instructions = &program.instructions;
    // `None` for a register without readers so far, else the mask of its readers.
    let mut found: Vec<Option<Option<Register>>> = vec![None; instructions.len()];
    let mut guards = vec![None; instructions.len()];
    for phase in &program.phases {
        found[phase.value] = Some(None);
    }
    for (register, instruction) in instructions.iter().enumerate().rev() {
        // A mask must be computed before the registers that it guards.
        let own = found[register].flatten().filter(|mask| *mask < register);
        guards[register] = own;
        let mut read = |operand: Register, guard: Option<Register>| {
            found[operand] = Some(guard.filter(|_| found[operand].is_none_or(|known| known == guard)));
        };
        match instruction {
            Instruction::Position | Instruction::Accumulator | Instruction::Reduced(_) | Instruction::Literal(_) => {}
            Instruction::Index { from, .. } | Instruction::Inside { from, .. } | Instruction::Number(from) => {
                read(*from, own);
            }
            Instruction::Load { at, .. } => read(*at, own),
            Instruction::Unary(_, x) => read(*x, own),
            Instruction::Binary(_, x, y) => {
                read(*x, own);
                read(*y, own);
            }
            Instruction::Select { mask, value } => {
                read(*mask, own);
                read(*value, Some(*mask));
            }
        }
    }
    guards
}

/// Visits `count` elements from `start` of a view, padded or not, in runs along its innermost axis. Calls `visit` with
/// the number of elements before the run, the operand's index at coordinate 0 of the axis, whether the other axes are
/// inside the operand, the axis, the first coordinate along it, and the number of elements of the run.
fn padded_runs(
    view: &View,
    start: usize,
    count: usize,
    mut visit: impl FnMut(usize, usize, bool, &Axis, usize, usize),
) {
    let whole = Axis::plain(start + count, 0);
    let (inner, outer) = view.axes.split_last().map_or((&whole, &[][..]), |(inner, outer)| (inner, outer));
    let outer = View { axes: outer.to_vec(), offset: view.offset };
    let mut done = 0;
    while done < count {
        let along = (start + done) % inner.size;
        let run = (inner.size - along).min(count - done);
        let (base, inside) = outer.map((start + done) / inner.size);
        visit(done, base, inside, inner, along, run);
        done += run;
    }
}

/// Whether an index register follows the position through a view without padding, so that a load needs no divisions.
fn walks(instructions: &[Instruction], at: usize) -> bool {
    match &instructions[at] {
        Instruction::Position => true,
        Instruction::Index { from: 0, view } => !view.is_padded(),
        _ => false,
    }
}

/// Loads the elements from `start` of a view without padding, run by run along its innermost axis.
fn walk<T: Real>(view: &View, input: &[T], start: usize, y: &mut [T]) {
    if let Some((inner, outer)) = view.axes.split_last()
        && inner.stride == 1
        && outer.iter().all(|axis| axis.stride == 0)
    {
        // A few elements repeat, such as those of a bias by channels.
        let input = &input[view.offset..view.offset + inner.size];
        let period = inner.size.min(y.len());
        let ahead = (inner.size - start % inner.size).min(period);
        y[..ahead].copy_from_slice(&input[start % inner.size..][..ahead]);
        y[ahead..period].copy_from_slice(&input[..period - ahead]);
        let mut done = period;
        while done < y.len() {
            let run = done.min(y.len() - done);
            y.copy_within(..run, done);
            done += run;
        }
        return;
    }
    runs(view, start, y.len(), |done, from, run, stride| {
        let target = &mut y[done..done + run];
        match stride {
            0 => target.fill(input[from]),
            1 => target.copy_from_slice(&input[from..from + run]),
            stride => {
                for (value, source) in target.iter_mut().zip(input[from..].iter().step_by(stride)) {
                    *value = *source;
                }
            }
        }
    });
}

/// Visits `count` elements from `start` of a view without padding in runs along its innermost axis. Calls `visit` with
/// the number of elements before the run, the operand's index of the first element, the number of elements of the run,
/// and the stride between them in the operand.
fn runs(view: &View, start: usize, count: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let Some((inner, outer)) = view.axes.split_last() else {
        visit(0, view.offset, count, 0);
        return;
    };
    let mut rest = start / inner.size;
    let mut coordinates = [0usize; 16];
    let mut base = view.offset;
    for (axis, spec) in outer.iter().enumerate().rev() {
        coordinates[axis] = rest % spec.size;
        rest /= spec.size;
        base += coordinates[axis] * spec.stride;
    }
    let mut along = start % inner.size;
    let mut done = 0;
    while done < count {
        let run = (inner.size - along).min(count - done);
        visit(done, base + along * inner.stride, run, inner.stride);
        done += run;
        along = 0;
        for (axis, spec) in outer.iter().enumerate().rev() {
            coordinates[axis] += 1;
            base += spec.stride;
            if coordinates[axis] < spec.size {
                break;
            }
            base -= spec.size * spec.stride;
            coordinates[axis] = 0;
        }
    }
}
