//! Memory for values that live within a step: the lifetime of each transient, and the plan with a place for each.

use super::Lowering;
use super::launch::{Home, step};
use crate::plan::memory::{Transient, aligned, allocate};
use crate::plan::plan::{Plan, Slot};
use std::collections::HashMap;

/// Bytes that every adapter can bind: work buffers stay below.
const BINDING_FLOOR: usize = 128 << 20;

impl Lowering<'_> {
    pub(super) fn finish(mut self, name: &str) -> Plan {
        // A transient lives from the launch that writes it to the last that reads it; steps of one dispatch count as one.
        let mut lives: Vec<Transient> = self
            .transients
            .iter()
            .map(|(elements, dtype)| Transient {
                elements: *elements,
                dtype: *dtype,
                first: usize::MAX,
                last: 0,
                inputs: vec![],
            })
            .collect();
        for (index, dispatch) in self.launches.chunk_by(|_, next| next.joins_previous).enumerate() {
            let all = |reads: bool| -> Vec<usize> {
                let places = dispatch.iter().flat_map(|launch| launch.places(reads));
                places.filter_map(|place| place.transient()).collect()
            };
            let read = all(true);
            for transient in &read {
                lives[*transient].last = index;
            }
            for transient in all(false) {
                lives[transient].first = index;
                lives[transient].last = lives[transient].last.max(index);
                lives[transient].inputs = read.clone();
            }
        }
        // Memory is allocated in the order in which launches write.
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|transient| lives[*transient].first);
        let rank: HashMap<usize, usize> = order.iter().enumerate().map(|(rank, index)| (*index, rank)).collect();
        let mut sorted: Vec<Transient> = Vec::with_capacity(lives.len());
        for index in &order {
            let life = &lives[*index];
            let inputs = life.inputs.iter().map(|input| rank[input]).collect();
            sorted.push(Transient { inputs, ..*life });
        }
        let places = allocate(&sorted, &mut self.buffers, BINDING_FLOOR / 4);
        let steps = self.launches.iter().map(|launch| {
            let slots = launch.slots.iter().map(|(home, shape, dtype)| {
                let (buffer, offset) = match home {
                    Home::Lasting { buffer, offset } => (*buffer, *offset),
                    Home::Transient(index) => places[rank[index]],
                };
                Slot { buffer, offset, shape: shape.clone(), dtype: *dtype }
            });
            step(launch, slots.collect())
        });
        let steps = steps.collect();
        debug_assert!(self.buffers.iter().all(|buffer| buffer.persistent || aligned(buffer.elements) > 0));
        Plan { name: name.to_owned(), steps, buffers: self.buffers }
    }
}
