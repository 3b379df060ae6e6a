//! Chains that reduce the rows of a value and continue with its elements, such as softmax and normalisations.
//!
//! A value is computed by the first reduction that it depends on, so chains are made from the first reduction to the
//! last, of values that no product's epilogue computes.

use super::Fusing;
use super::decided::RowGroup;
use super::expression::broadcast_view;
use super::group::{storage, trailing_reduction};
use crate::graph::{Graph, Op, Value};
use crate::plan::program::{Axis, View};
use std::collections::{BTreeSet, HashSet};

impl Fusing<'_> {
    /// Brings all chains up to date. Returns the values that changed their owner and the results of changed chains.
    pub(super) fn chain(&mut self) -> Vec<Value> {
        let mut moved = Vec::new();
        while let Some(first) = self.rows.stale.pop_first() {
            let (group, looked) = self.row_group(first, self.rows.firsts[&first]);
            for value in looked {
                self.rows.lookers.entry(value).or_default().push(first);
            }
            let former = self.rows.of.remove(&first);
            if group == former {
                self.rows.of.extend(former.map(|former| (first, former)));
                continue;
            }
            let mut changed = BTreeSet::new();
            if let Some(former) = former {
                if self.rows.results.get(&former.result) == Some(&first) {
                    self.rows.results.remove(&former.result);
                }
                moved.push(former.result);
                for value in former.members {
                    if self.rows.owner[value.0] == Some(first) {
                        self.rows.owner[value.0] = None;
                        changed.insert(value);
                    }
                }
            }
            if let Some(group) = group {
                for value in &group.members {
                    if let Some(later) = self.rows.owner[value.0].replace(first) {
                        self.rows.stale.insert(later);
                    }
                    changed.insert(*value);
                }
                moved.push(group.result);
                self.rows.results.insert(group.result, first);
                self.rows.of.insert(first, group);
            }
            for value in changed {
                // Chains with an earlier first reduction have taken their values already.
                let lookers = self.rows.lookers.remove(&value).unwrap_or_default();
                let (later, earlier): (Vec<Value>, Vec<Value>) = lookers.into_iter().partition(|other| *other > first);
                self.rows.lookers.insert(value, earlier);
                self.rows.stale.extend(later);
                if value > first && self.rows.firsts.contains_key(&value) {
                    self.rows.stale.insert(value);
                }
                moved.push(value);
            }
        }
        moved
    }

    /// The chain that begins with a reduction, and the values whose owners determined the chain.
    fn row_group(&self, first: Value, size: [usize; 2]) -> (Option<RowGroup>, Vec<Value>) {
        let graph = self.graph;
        let free = |value: Value| {
            let taken = self.rows.owner[value.0].is_some_and(|owner| owner < first);
            self.claims.owner[value.0].is_none() && !taken && !self.barred[value.0]
        };
        if self.target.without.epilogues || !free(first) {
            return (None, vec![]);
        }
        let mut chain =
            Chain { members: vec![first], inside: HashSet::from([first]), wanted: HashSet::new(), settled: 0 };
        let mut looked = Vec::new();
        let mut open: BTreeSet<Value> = BTreeSet::new();
        self.admit(&mut chain, first, &free, &mut open, &mut looked);
        // The chain ends at the first member that is read from outside, so members after it need no examination.
        let mut passed = first;
        let wanted = loop {
            if let Some(wanted) = self.first_wanted(&mut chain, passed) {
                break Some(wanted);
            }
            let Some(value) = open.pop_first() else {
                break self.first_wanted(&mut chain, Value(usize::MAX));
            };
            passed = value;
            let joins = free(value) && joins(graph, &chain.inside, value, size);
            let strange = || {
                let operands = graph.node(value).operands.iter();
                operands.filter(|x| !chain.inside.contains(x)).any(|x| self.reach.follows(*x, first))
            };
            if joins && !strange() {
                chain.members.push(value);
                chain.inside.insert(value);
                self.admit(&mut chain, value, &free, &mut open, &mut looked);
            } else {
                chain.wanted.extend(&graph.node(value).operands);
            }
        };
        let group = wanted.and_then(|wanted| self.chain_to(&chain.inside, first, storage(graph, wanted), size));
        (group, looked)
    }

    /// Examines the readers of a new member: those that may join the chain are opened.
    fn admit(
        &self,
        chain: &mut Chain,
        member: Value,
        free: &impl Fn(Value) -> bool,
        open: &mut BTreeSet<Value>,
        looked: &mut Vec<Value>,
    ) {
        for user in &self.users[member.0] {
            looked.push(*user);
            let op = &self.graph.node(*user).op;
            let may = matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Reshape | Op::Broadcast | Op::Reduce { .. });
            if may && free(*user) {
                open.insert(*user);
            } else {
                chain.wanted.insert(member);
            }
        }
    }

    /// The first member that is read from outside, once that is known; readers up to `passed` have been examined.
    fn first_wanted(&self, chain: &mut Chain, passed: Value) -> Option<Value> {
        while let Some(member) = chain.members.get(chain.settled).copied() {
            if chain.wanted.contains(&member) || self.wanted[member.0] {
                return Some(member);
            }
            if self.users[member.0].last().is_some_and(|last| *last > passed) {
                return None;
            }
            chain.settled += 1;
        }
        None
    }

    /// The chain of the values from which a result is computed, if it is complete and not read from outside.
    fn chain_to(&self, inside: &HashSet<Value>, first: Value, result: Value, size: [usize; 2]) -> Option<RowGroup> {
        let graph = self.graph;
        if graph.shape(result).elements() != size[0] * size[1] || !inside.contains(&result) {
            return None;
        }
        let mut members = BTreeSet::from([result]);
        let mut open = vec![result];
        while let Some(value) = open.pop() {
            let operands = graph.node(value).operands.iter();
            open.extend(operands.filter(|x| inside.contains(x) && members.insert(**x)));
        }
        // No value outside the chain may read its intermediate values.
        let shared = members
            .iter()
            .filter(|value| storage(graph, **value) != result)
            .any(|value| self.wanted[value.0] || self.users[value.0].iter().any(|reader| !members.contains(reader)));
        let complete = members.contains(&first) && !shared;
        complete.then(|| RowGroup { size, members: members.into_iter().collect(), result })
    }
}

/// A chain that is being built.
struct Chain {
    /// The chain's values, in order.
    members: Vec<Value>,
    /// The members as a set.
    inside: HashSet<Value>,
    /// Values that are read from outside.
    wanted: HashSet<Value>,
    /// Number of members, from the first on, that are known not to be read from outside.
    settled: usize,
}

/// Whether a value continues a chain: elementwise, as a broadcast of a number for each row, or as a reduction of rows.
fn joins(graph: &Graph, members: &HashSet<Value>, value: Value, size: [usize; 2]) -> bool {
    let [rows, length] = size;
    let node = graph.node(value);
    let mut inside = node.operands.iter().filter(|x| members.contains(x)).map(|x| graph.shape(*x).elements());
    let Some(from) = inside.next() else { return false };
    let elements = node.shape.elements();
    let elementwise = matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Reshape);
    elementwise && elements == from && inside.all(|other| other == from)
        || node.op == Op::Broadcast && from == rows && elements == rows * length && spreads_rows(graph, value, size)
        || trailing_reduction(graph, value) == Some(size)
}

/// Whether a broadcast repeats a number for each row along the rows.
fn spreads_rows(graph: &Graph, value: Value, [rows, length]: [usize; 2]) -> bool {
    let view = broadcast_view(graph.shape(graph.node(value).operands[0]), graph.shape(value));
    view == View::new([Axis::plain(rows, 1), Axis::plain(length, 0)], 0)
}
