//! Plans loaded on the CPU: buffers made once, launches run in order.

use super::real::Real;
use super::{Source, Target, execute};
use crate::error::Result;
use crate::plan::{Access, Buffer, Kernel, Plan, Slot, Step};
use crate::tensor::{DType, Values};
use std::collections::VecDeque;

/// A set of plans sharing their buffers by name.
pub struct Session<T> {
    plans: Vec<Loaded>,
    buffers: Vec<(Buffer, Memory<T>)>,
    metrics: Vec<VecDeque<Vec<f64>>>,
}

struct Loaded {
    steps: Vec<Step>,
}

enum Memory<T> {
    Floats(Vec<T>),
    Words(Vec<u32>),
    Bytes(Vec<u8>),
}

impl<T: Real> Session<T> {
    /// Makes the buffers of these plans, all zero.
    pub fn new(plans: &[Plan]) -> Session<T> {
        let mut buffers: Vec<(Buffer, Memory<T>)> = Vec::new();
        let mut loaded = Vec::new();
        for plan in plans {
            let mut places = Vec::new();
            for buffer in &plan.buffers {
                let known = buffers.iter().position(|(spec, _)| spec.name == buffer.name);
                let place = known.unwrap_or_else(|| {
                    buffers.push((buffer.clone(), Memory::Words(vec![])));
                    buffers.len() - 1
                });
                buffers[place].0.elements = buffers[place].0.elements.max(buffer.elements);
                places.push(place);
            }
            // Slots name the session's buffers from here on.
            let mut steps = plan.steps.clone();
            for slot in steps.iter_mut().flat_map(|step| &mut step.slots) {
                slot.buffer = places[slot.buffer];
            }
            loaded.push(Loaded { steps });
        }
        for (spec, memory) in &mut buffers {
            *memory = match spec.dtype {
                DType::Float => Memory::Floats(vec![T::ZERO; spec.elements]),
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

    /// Writes values into a buffer from an element on. The caller has checked type and length.
    pub fn write(&mut self, name: &str, offset: usize, values: &Values) {
        let Some((_, memory)) = self.buffers.iter_mut().find(|(spec, _)| spec.name == name) else { return };
        let range = offset..offset + values.len();
        match (memory, values) {
            (Memory::Floats(memory), Values::F32(values)) => {
                for (memory, value) in memory[range].iter_mut().zip(values) {
                    *memory = T::from_f64(*value as f64);
                }
            }
            (Memory::Floats(memory), Values::F64(values)) => {
                for (memory, value) in memory[range].iter_mut().zip(values) {
                    *memory = T::from_f64(*value);
                }
            }
            (Memory::Words(memory), Values::U32(values)) => memory[range].copy_from_slice(values),
            (Memory::Bytes(memory), Values::U8(values)) => memory[range].copy_from_slice(values),
            (Memory::Floats(_) | Memory::Words(_) | Memory::Bytes(_), _) => {}
        }
    }

    /// A buffer's content: f32 on `cpu`, f64 on `cpu-f64`.
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
        for _ in 0..steps {
            for step in &self.plans[plan].steps {
                launch(step, &mut self.buffers);
                if step.kernel == Kernel::Advance {
                    let row = source(&self.buffers, &step.slots[0]).floats().iter().map(|x| x.to_f64()).collect();
                    self.metrics[plan].push_back(row);
                }
            }
        }
        Ok(())
    }

    /// The metrics of steps that have run, oldest first, each step once.
    pub fn metrics(&mut self, plan: usize) -> Vec<Vec<f64>> {
        self.metrics[plan].drain(..).collect()
    }
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
    let writes: Vec<&Slot> =
        step.slots.iter().enumerate().filter(|(i, _)| step.access(*i) != Access::Read).map(|(_, slot)| slot).collect();
    // A launch never reads a buffer that it writes, so those it writes can be taken out while it runs.
    let mut taken: Vec<Memory<T>> =
        writes.iter().map(|slot| std::mem::replace(&mut buffers[slot.buffer].1, Memory::Words(Vec::new()))).collect();
    let sources: Vec<Source<T>> = step
        .slots
        .iter()
        .enumerate()
        .filter(|(i, _)| step.access(*i) == Access::Read)
        .map(|(_, slot)| source(buffers, slot))
        .collect();
    let mut targets: Vec<Target<T>> = Vec::with_capacity(writes.len());
    for (memory, slot) in taken.iter_mut().zip(&writes) {
        let range = slot.offset..slot.offset + slot.shape.elements();
        match memory {
            Memory::Floats(values) => targets.push(Target::Floats(&mut values[range])),
            Memory::Words(values) => targets.push(Target::Words(&mut values[range])),
            // No kernel writes bytes.
            Memory::Bytes(_) => {}
        }
    }
    execute(step, &sources, &mut targets);
    for (memory, slot) in taken.into_iter().zip(writes) {
        buffers[slot.buffer].1 = memory;
    }
}
