//! Memory for values that live within a step: the lifetime of each transient, and the plan with a place for each.

use super::Lowering;
use super::launch::Home;
use crate::plan::memory::{Transient, aligned, allocate};
use crate::plan::plan::{Plan, Slot, Step};
use std::collections::HashMap;

/// Bytes that every adapter can bind: work buffers stay below.
const BINDING_FLOOR: usize = 128 << 20;

impl Lowering<'_> {
    /// The plan, in which every transient has a place.
    pub(super) fn finish(mut self, name: &str) -> Plan {
        // A transient lives from the dispatch that writes it to the last that reads it.
        let mut lives = self.transients;
        for (index, dispatch) in self.launches.chunk_by(|_, next| next.step.joins_previous).enumerate() {
            let all = |reads: bool| -> Vec<usize> {
                let homes = dispatch.iter().flat_map(|launch| launch.homes(reads));
                homes.filter_map(Home::transient).collect()
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
        let sorted = order.iter().map(|index| {
            let inputs = lives[*index].inputs.iter().map(|input| rank[input]).collect();
            Transient { inputs, ..lives[*index] }
        });
        let places = allocate(&sorted.collect::<Vec<_>>(), &mut self.buffers, BINDING_FLOOR / 4);
        let slot = |(home, shape, dtype)| {
            let (buffer, offset) = match home {
                Home::Lasting { buffer, offset } => (buffer, offset),
                Home::Transient(index) => places[rank[&index]],
            };
            Slot { buffer, offset, shape, dtype }
        };
        let steps = self.launches.into_iter().map(|launch| {
            let slots = launch.operands.into_iter().map(slot).collect();
            Step { slots, ..launch.step }
        });
        let steps = steps.collect();
        debug_assert!(self.buffers.iter().all(|buffer| buffer.persistent || aligned(buffer.elements) > 0));
        Plan { name: name.to_owned(), steps, buffers: self.buffers }
    }
}
