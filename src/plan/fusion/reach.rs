//! Reachability: whether a value is computed from another, directly or through others.

use crate::graph::{Graph, Value};
use std::cell::RefCell;
use std::collections::HashMap;

/// Sources that one pass examines: one for each bit of a word.
const BLOCK: usize = 64;

/// Most blocks that are remembered, so that memory stays linear in the size of the graph.
const REMEMBERED: usize = 64;

/// The answers to whether a value is computed from a source, directly or through others. The answers for 64 sources are
/// found in one pass over the graph, at the first question about one of them.
pub(super) struct Reach<'a> {
    graph: &'a Graph,
    /// The sources, in ascending order.
    sources: Vec<Value>,
    numbers: HashMap<Value, usize>,
    /// For some blocks, for each value from the block's first source on: the sources of the value, as bits.
    blocks: RefCell<HashMap<usize, Vec<u64>>>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(graph: &'a Graph, mut sources: Vec<Value>) -> Reach<'a> {
        sources.sort_unstable();
        sources.dedup();
        let numbers = sources.iter().enumerate().map(|(number, source)| (*source, number)).collect();
        Reach { graph, sources, numbers, blocks: RefCell::default() }
    }

    /// Whether `value` is computed from `source`; false where `source` is not among the sources.
    pub(super) fn follows(&self, value: Value, source: Value) -> bool {
        let Some(number) = self.numbers.get(&source).copied().filter(|_| value > source) else { return false };
        let block = number / BLOCK;
        let mut blocks = self.blocks.borrow_mut();
        if blocks.len() == REMEMBERED && !blocks.contains_key(&block) {
            blocks.clear();
        }
        let words = blocks.entry(block).or_insert_with(|| self.followers(block));
        let first = self.sources[block * BLOCK];
        words[value.0 - first.0] >> (number % BLOCK) & 1 == 1
    }

    /// The answers for a block of sources.
    fn followers(&self, block: usize) -> Vec<u64> {
        let sources = &self.sources[block * BLOCK..];
        let sources = &sources[..sources.len().min(BLOCK)];
        let first = sources[0].0;
        let mut next = sources.iter().enumerate().peekable();
        let mut words: Vec<u64> = Vec::with_capacity(self.graph.nodes().len() - first);
        for (index, node) in self.graph.nodes().iter().enumerate().skip(first) {
            let from = node.operands.iter().filter_map(|operand| operand.0.checked_sub(first));
            let mut word = from.fold(0, |word, operand| word | words[operand]);
            if let Some((bit, _)) = next.next_if(|(_, source)| source.0 == index) {
                word |= 1 << bit;
            }
            words.push(word);
        }
        words
    }
}
