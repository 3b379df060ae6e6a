//! The twin of `shaders/elementwise.wgsl`, and the interpreter of fused expressions that every kernel's twin uses.
//!
//! An expression is run over chunks of consecutive elements, one instruction at a time: each is a loop over a short array
//! that the compiler vectorises.

use super::real::Real;
use crate::plan::{Instruction, Program, View};
use rayon::prelude::*;

/// Elements that an instruction handles at a time: a chunk of every register fits the second-level cache.
const CHUNK: usize = 512;
/// Elements that are worth a thread's while.
pub(super) const TASK: usize = 1 << 14;

/// A fused expression with its inputs; without an expression, the identity.
pub(crate) struct Fused<'a, T> {
    program: Option<&'a Program>,
    inputs: Vec<&'a [T]>,
    /// Index registers that some instruction other than a plain load reads, so that they must be computed.
    needed: Vec<bool>,
}

/// A thread's registers.
pub(super) struct Scratch<T> {
    values: Vec<Vec<T>>,
    indices: Vec<Vec<u32>>,
}

/// y\[i\] = fused(i)
pub(super) fn map<T: Real>([_count]: [usize; 1], y: &mut [T], fused: &Fused<T>) {
    fused.fill(y);
}

impl<'a, T: Real> Fused<'a, T> {
    pub(super) fn new(program: Option<&'a Program>, inputs: Vec<&'a [T]>) -> Fused<'a, T> {
        let instructions = program.map(|program| &program.instructions[..]).unwrap_or_default();
        let mut needed = vec![false; instructions.len()];
        for instruction in instructions {
            match instruction {
                Instruction::Index { from, .. } | Instruction::Inside { from, .. } => needed[*from] = true,
                Instruction::Load { at, .. } => needed[*at] |= !walks(instructions, *at),
                Instruction::Position
                | Instruction::Accumulator
                | Instruction::Literal(_)
                | Instruction::Unary(..)
                | Instruction::Binary(..)
                | Instruction::Select { .. } => {}
            }
        }
        Fused { program, inputs, needed }
    }

    /// Registers for a thread.
    pub(super) fn scratch(&self) -> Scratch<T> {
        let instructions = self.program.map(|program| &program.instructions[..]).unwrap_or_default();
        let values = instructions.iter().map(|instruction| match instruction {
            // A literal is the same in every chunk.
            Instruction::Literal(number) => vec![T::from_f64(*number); CHUNK],
            Instruction::Position | Instruction::Index { .. } => vec![],
            Instruction::Load { at: 0, .. } | Instruction::Accumulator => vec![],
            Instruction::Load { .. }
            | Instruction::Inside { .. }
            | Instruction::Unary(..)
            | Instruction::Binary(..)
            | Instruction::Select { .. } => vec![T::ZERO; CHUNK],
        });
        let indices = self.needed.iter().map(|needed| if *needed { vec![0; CHUNK] } else { vec![] }).collect();
        Scratch { values: values.collect(), indices }
    }

    /// Fills `y` from element 0 on, on all threads.
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
        for (chunk, part) in y.chunks_mut(CHUNK).enumerate() {
            self.chunk(program, scratch, start + chunk * CHUNK, part);
        }
    }

    fn chunk(&self, program: &Program, scratch: &mut Scratch<T>, start: usize, y: &mut [T]) {
        let count = y.len();
        let last = program.instructions.len() - 1;
        for (register, instruction) in program.instructions.iter().enumerate() {
            if self.needed[register] {
                let (before, from_here) = scratch.indices.split_at_mut(register);
                let indices = &mut from_here[0][..count];
                match instruction {
                    Instruction::Position => {
                        for (offset, index) in indices.iter_mut().enumerate() {
                            *index = (start + offset) as u32;
                        }
                    }
                    Instruction::Index { from, view } => {
                        for (index, from) in indices.iter_mut().zip(&before[*from]) {
                            *index = view.map(*from as usize).0 as u32;
                        }
                    }
                    Instruction::Inside { .. }
                    | Instruction::Load { .. }
                    | Instruction::Accumulator
                    | Instruction::Literal(_)
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
            // The last value goes where the caller wants it, once nothing reads the accumulator there any more.
            let target = &mut from_here[0];
            match instruction {
                Instruction::Position | Instruction::Index { .. } | Instruction::Literal(_) => {}
                Instruction::Load { at: 0, .. } | Instruction::Accumulator => {}
                Instruction::Inside { from, view } => {
                    for (mask, index) in target.iter_mut().zip(&scratch.indices[*from][..count]) {
                        *mask = if view.map(*index as usize).1 { T::ONE } else { T::ZERO };
                    }
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
                Instruction::Select { mask, value } => {
                    for ((out, mask), value) in target.iter_mut().zip(read(*mask)).zip(read(*value)) {
                        *out = if *mask > T::ZERO { *value } else { T::ZERO };
                    }
                }
            }
        }
        match &program.instructions[last] {
            Instruction::Load { input, at: 0 } => y.copy_from_slice(&self.inputs[*input][start..start + count]),
            Instruction::Accumulator => {}
            _ => y.copy_from_slice(&scratch.values[last][..count]),
        }
    }
}

/// Whether an index register walks evenly with the position, so that a load can follow it without any division.
fn walks(instructions: &[Instruction], at: usize) -> bool {
    match &instructions[at] {
        Instruction::Position => true,
        Instruction::Index { from: 0, view } => !view.is_padded(),
        _ => false,
    }
}

/// Loads elements `start ..` of a view without padding: run by run along its innermost axis.
fn walk<T: Real>(view: &View, input: &[T], start: usize, y: &mut [T]) {
    let Some((inner, outer)) = view.axes.split_last() else {
        y.fill(input[view.offset]);
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
    while done < y.len() {
        let run = (inner.size - along).min(y.len() - done);
        let from = base + along * inner.stride;
        let target = &mut y[done..done + run];
        match inner.stride {
            0 => target.fill(input[from]),
            1 => target.copy_from_slice(&input[from..from + run]),
            stride => {
                for (value, source) in target.iter_mut().zip(input[from..].iter().step_by(stride)) {
                    *value = *source;
                }
            }
        }
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
