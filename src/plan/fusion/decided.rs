//! Decisions of fusion: the values that products' epilogues compute, and the chains over rows.

use crate::graph::Value;
use crate::plan::program::View;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The values that an epilogue computes in addition to the product.
#[derive(Default)]
pub(super) struct Claim {
    /// Values computed from the product element by element, in order.
    pub members: Vec<Value>,
    /// The place of each member's elements: the view that maps element i to its index, or `None` for index i.
    pub places: HashMap<Value, Option<View>>,
    /// Sums of members over all elements.
    pub totals: Vec<Value>,
}

impl Claim {
    /// A member's place; `None` where the value is not a member.
    pub(super) fn place(&self, value: Value) -> Option<&Option<View>> {
        self.places.get(&value)
    }

    /// The members and totals.
    pub(super) fn owned(&self) -> impl Iterator<Item = Value> + '_ {
        self.members.iter().chain(&self.totals).copied()
    }
}

/// The claims of all products.
#[derive(Default)]
pub(super) struct Claims {
    /// The claim of each product.
    pub of: HashMap<Value, Claim>,
    /// For each value, the product whose epilogue computes it.
    pub owner: Vec<Option<Value>>,
    /// Products whose claims are to be made anew.
    pub stale: BTreeSet<Value>,
}

impl Claims {
    /// The product in whose launch a value is computed; a product is computed in its launch.
    pub(super) fn home(&self, value: Value) -> Option<Value> {
        if self.of.contains_key(&value) { Some(value) } else { self.owner[value.0] }
    }
}

/// A chain over rows.
#[derive(PartialEq)]
pub(super) struct RowGroup {
    /// The number of rows and their length.
    pub size: [usize; 2],
    /// The values computed on the way, the result last.
    pub members: Vec<Value>,
    /// The value that the chain stores.
    pub result: Value,
}

/// All chains over rows.
#[derive(Default)]
pub(super) struct Rows {
    /// The reductions that a chain may begin with, and the rows they reduce.
    pub firsts: BTreeMap<Value, [usize; 2]>,
    /// The chains by their first reductions.
    pub of: HashMap<Value, RowGroup>,
    /// The first reductions of the chains by their results.
    pub results: HashMap<Value, Value>,
    /// For each value, the first reduction of the chain that computes it.
    pub owner: Vec<Option<Value>>,
    /// For each value, the first reductions of chains that depend on who owns the value.
    pub lookers: HashMap<Value, Vec<Value>>,
    /// First reductions whose chains are to be made anew.
    pub stale: BTreeSet<Value>,
}

impl Rows {
    /// Chains of a graph of `nodes` nodes that may begin with the reductions `firsts`; none is made yet.
    pub(super) fn new(nodes: usize, firsts: BTreeMap<Value, [usize; 2]>) -> Rows {
        Rows { owner: vec![None; nodes], stale: firsts.keys().copied().collect(), firsts, ..Rows::default() }
    }

    /// The chain with this result.
    pub(super) fn of_result(&self, result: Value) -> Option<&RowGroup> {
        self.of.get(self.results.get(&result)?)
    }

    /// Marks the chains that depend on a value's owner to be made anew.
    pub(super) fn touch(&mut self, value: Value) {
        self.stale.extend(self.lookers.remove(&value).into_iter().flatten());
        if self.firsts.contains_key(&value) {
            self.stale.insert(value);
        }
    }
}
