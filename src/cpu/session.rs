//! Plans loaded on the CPU: buffers made once, launches run in order.

use super::elementwise::TASK;
use super::real::Real;
use super::{Source, Target, execute};
use crate::error::Result;
use crate::plan::state::STEP;
use crate::plan::{Access, Buffer, Kernel, Plan, Slot, Step};
use crate::tensor::{DType, Values};
use half::f16;
use rayon::prelude::*;
use std::collections::VecDeque;

/// A set of plans that share buffers by name.
pub struct Session<T> {
    /// The steps of each plan. Their slots name the session's buffers.
    plans: Vec<Vec<Step>>,
    buffers: Vec<(Buffer, Memory<T>)>,
    metrics: Vec<VecDeque<Vec<f64>>>,
}

enum Memory<T> {
    Floats(Vec<T>),
    Words(Vec<u32>),
    Bytes(Vec<u8>),
}

impl<T: Real> Session<T> {
    /// Allocates the buffers of these plans, filled with zeros.
    pub fn new(plans: &[Plan]) -> Session<T> {
        let mut buffers: Vec<(Buffer, Memory<T>)> = Vec::new();
        let mut load = |plan: &Plan| {
            let mut numbers = Vec::new();
            for buffer in &plan.buffers {
                let known = buffers.iter().position(|(spec, _)| spec.name == buffer.name);
                let number = known.unwrap_or_else(|| {
                    buffers.push((buffer.clone(), Memory::Words(vec![])));
                    buffers.len() - 1
                });
                buffers[number].0.elements = buffers[number].0.elements.max(buffer.elements);
                numbers.push(number);
            }
            let mut steps = plan.steps.clone();
            for slot in steps.iter_mut().flat_map(|step| &mut step.slots) {
                slot.buffer = numbers[slot.buffer];
            }
            steps
        };
        let loaded = plans.iter().map(&mut load).collect();
        for (spec, memory) in &mut buffers {
            *memory = match spec.dtype {
                DType::Float | DType::Half => Memory::Floats(vec![T::ZERO; spec.elements]),
                DType::U32 if !spec.content.is_empty() => Memory::Words(spec.content.clone()),
                DType::U32 => Memory::Words(vec![0; spec.elements]),
                DType::U8 => Memory::Bytes(vec![0; spec.elements]),
            };
        }
        let metrics = plans.iter().map(|_| VecDeque::new()).collect();
        Session { plans: loaded, buffers, metrics }
    }

    /// The type and length of a buffer.
    pub fn buffer(&self, name: &str) -> Option<&Buffer> {
        self.buffers.iter().map(|(spec, _)| spec).find(|spec| spec.name == name)
    }

    /// Writes values into a buffer from element `offset`. The caller has checked type and length.
    pub fn write(&mut self, name: &str, offset: usize, values: &Values) {
        let Some((spec, memory)) = self.buffers.iter_mut().find(|(spec, _)| spec.name == name) else { return };
        let range = offset..offset + values.len();
        match (memory, values) {
            (Memory::Floats(memory), _) if spec.dtype == DType::Half => {
                let halves = values.to_f64().into_iter().map(|value| f16::from_f64(value).to_f64());
                fill(&mut memory[range], halves);
            }
            (Memory::Floats(memory), Values::F32(values)) => {
                fill(&mut memory[range], values.iter().map(|value| *value as f64));
            }
            (Memory::Floats(memory), Values::F64(values)) => fill(&mut memory[range], values.iter().copied()),
            (Memory::Words(memory), Values::U32(values)) => memory[range].copy_from_slice(values),
            (Memory::Bytes(memory), Values::U8(values)) => memory[range].copy_from_slice(values),
            (Memory::Floats(_) | Memory::Words(_) | Memory::Bytes(_), _) => {}
        }
    }

    /// The content of a buffer: f32 on `cpu`, f64 on `cpu-f64`.
    pub fn read(&self, name: &str) -> Values {
        match self.buffers.iter().find(|(spec, _)| spec.name == name) {
            Some((_, Memory::Floats(values))) => floats(values),
            Some((_, Memory::Words(values))) => Values::U32(values.clone()),
            Some((_, Memory::Bytes(values))) => Values::U8(values.clone()),
            None => Values::F32(vec![]),
        }
    }

    /// Runs steps of a plan.
    pub fn run(&mut self, plan: usize, steps: usize) -> Result<()> {
        // The steps run on a thread of the pool: a thread outside the pool would sleep during every launch.
        rayon::scope(|_| {
            for _ in 0..steps {
                for index in 0..self.plans[plan].len() {
                    self.step(plan, index);
                }
            }
        });
        Ok(())
    }

    /// Runs one launch of a plan, numbered as in [`Plan::launches`].
    pub fn run_launch(&mut self, plan: usize, launch: usize) {
        let mut launches = self.plans[plan].chunk_by(|_, next| next.joins_previous).map(<[Step]>::len);
        let first: usize = launches.by_ref().take(launch).sum();
        let count = launches.next().unwrap_or(0);
        rayon::scope(|_| (first..first + count).for_each(|index| self.step(plan, index)));
    }

    fn step(&mut self, plan: usize, index: usize) {
        let step = &self.plans[plan][index];
        launch(step, &mut self.buffers);
        if step.kernel == Kernel::Advance {
            // The kernel's slots are metrics, ring and state; the ring has the joined sums.
            let [metrics, _, capacity, _] = step.constants::<4>();
            let ring = source(&self.buffers, &step.slots[1]).floats();
            let done = source(&self.buffers, &step.slots[2]).words()[STEP] as usize - 1;
            let row = ring[done % capacity * metrics..][..metrics].iter().map(|x| x.to_f64()).collect();
            self.metrics[plan].push_back(row);
        }
    }

    /// The metrics of steps that have run, oldest first, each step once.
    pub fn metrics(&mut self, plan: usize) -> Vec<Vec<f64>> {
        self.metrics[plan].drain(..).collect()
    }
}

fn fill<T: Real>(memory: &mut [T], values: impl Iterator<Item = f64>) {
    memory.iter_mut().zip(values).for_each(|(memory, value)| *memory = T::from_f64(value));
}

fn floats<T: Real>(values: &[T]) -> Values {
    match std::mem::size_of::<T>() {
        4 => Values::F32(bytemuck::cast_slice(values).to_vec()),
        _ => Values::F64(bytemuck::cast_slice(values).to_vec()),
    }
}

fn source<'a, T: Real>(buffers: &'a [(Buffer, Memory<T>)], slot: &Slot) -> Source<'a, T> {
    let range = slot.offset..slot.offset + slot.shape.elements();
    match &buffers[slot.buffer].1 {
        Memory::Floats(values) => Source::Floats(&values[range]),
        Memory::Words(values) => Source::Words(&values[range]),
        Memory::Bytes(values) => Source::Bytes(&values[range]),
    }
}

fn launch<T: Real>(step: &Step, buffers: &mut [(Buffer, Memory<T>)]) {
    let slots = step.slots.iter().enumerate();
    let (reads, writes): (Vec<_>, Vec<_>) = slots.partition(|(slot, _)| step.access(*slot) == Access::Read);
    // A launch never reads a buffer that it writes, so the written buffers can be taken out while it runs.
    let mut taken: Vec<(usize, Memory<T>)> = Vec::with_capacity(writes.len());
    for (_, slot) in &writes {
        if taken.iter().all(|(buffer, _)| *buffer != slot.buffer) {
            taken.push((slot.buffer, std::mem::replace(&mut buffers[slot.buffer].1, Memory::Words(Vec::new()))));
        }
    }
    let sources: Vec<Source<T>> = reads.iter().map(|(_, slot)| source(buffers, slot)).collect();
    let mut targets: Vec<(usize, Target<T>)> = Vec::with_capacity(writes.len());
    for (buffer, memory) in &mut taken {
        // Plans ensure that slots in one buffer do not overlap.
        let mut inside: Vec<(usize, &Slot)> =
            writes.iter().filter(|(_, slot)| slot.buffer == *buffer).copied().collect();
        inside.sort_unstable_by_key(|(_, slot)| slot.offset);
        match memory {
            Memory::Floats(values) => targets.extend(parts(values, &inside, Target::Floats)),
            Memory::Words(values) => targets.extend(parts(values, &inside, Target::Words)),
            // No kernel writes bytes.
            Memory::Bytes(_) => {}
        }
    }
    targets.sort_unstable_by_key(|(slot, _)| *slot);
    let mut targets: Vec<Target<T>> = targets.into_iter().map(|(_, target)| target).collect();
    execute(step, &sources, &mut targets);
    // Values that a GPU stores in 16 bits are rounded here. Targets are in the order of the slots.
    let written = writes.iter().map(|(_, slot)| slot.dtype);
    for (target, _) in targets.iter_mut().zip(written).filter(|(_, dtype)| *dtype == DType::Half) {
        target.floats().par_chunks_mut(TASK).for_each(T::round_to_half);
    }
    drop(targets);
    for (buffer, memory) in taken {
        buffers[buffer].1 = memory;
    }
}

/// Splits a slice into the parts of slots, which are in ascending order of their offsets.
fn parts<'a, T, V>(
    mut values: &'a mut [V],
    slots: &[(usize, &Slot)],
    target: fn(&'a mut [V]) -> Target<'a, T>,
) -> impl Iterator<Item = (usize, Target<'a, T>)> {
    let mut start = 0;
    slots.iter().map(move |(number, slot)| {
        let (_, rest) = std::mem::take(&mut values).split_at_mut(slot.offset - start);
        let (part, rest) = rest.split_at_mut(slot.shape.elements());
        (start, values) = (slot.offset + slot.shape.elements(), rest);
        (*number, target(part))
    })
}
