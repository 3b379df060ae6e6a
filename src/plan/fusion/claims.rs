//! Claims: which values the epilogues of products compute.
//!
//! The last product that a value follows from computes it, so claims are staked from the last product to the first. A
//! claim depends on others by the values that they own alone. When a value is barred or changes hands, only the products
//! that may want it are looked at again.

use super::Fusing;
use super::expression::inverse;
use crate::graph::{Op, Reduction, Value};
use crate::plan::program::View;
use std::collections::{BTreeSet, HashMap};

/// The values that an epilogue computes besides the product.
#[derive(Default)]
pub(super) struct Claim {
    /// Values that follow from the product element by element, in order.
    pub members: Vec<Value>,
    /// Where the elements of each member lie.
    places: HashMap<Value, Option<View>>,
    /// Their sums over all elements.
    pub totals: Vec<Value>,
}

impl Claim {
    /// Where a member's elements lie; nothing where the value is no member.
    pub(super) fn place(&self, value: Value) -> Option<&Option<View>> {
        self.places.get(&value)
    }

    fn owned(&self) -> impl Iterator<Item = Value> + '_ {
        self.members.iter().chain(&self.totals).copied()
    }
}

/// The claims of all products.
#[derive(Default)]
pub(super) struct Claims {
    /// By product.
    pub of: HashMap<Value, Claim>,
    /// For each value, the product whose epilogue computes it.
    pub owner: Vec<Option<Value>>,
    /// Products whose claims are to be staked anew.
    pub stale: BTreeSet<Value>,
}

impl Claims {
    /// The product in whose launch a value is computed, the product itself included.
    pub(super) fn home(&self, value: Value) -> Option<Value> {
        if self.of.contains_key(&value) { Some(value) } else { self.owner[value.0] }
    }
}

impl Fusing<'_> {
    /// Brings all claims up to date. Returns the products whose claims were staked, and the values that changed hands.
    pub(super) fn stake(&mut self) -> (Vec<Value>, Vec<Value>) {
        let (mut staked, mut moved) = (Vec::new(), Vec::new());
        while let Some(anchor) = self.claims.stale.pop_last() {
            let claim = self.claim(anchor);
            let former = self.claims.of.insert(anchor, claim).unwrap_or_default();
            let claim = &self.claims.of[&anchor];
            for value in claim.owned() {
                let before = self.claims.owner[value.0].replace(anchor);
                if before != Some(anchor) {
                    moved.push(value);
                    // An earlier product had it.
                    self.claims.stale.extend(before);
                }
            }
            for value in former.owned().filter(|value| claim.place(*value).is_none() && !claim.totals.contains(value)) {
                if self.claims.owner[value.0] == Some(anchor) {
                    self.claims.owner[value.0] = None;
                    moved.push(value);
                    let homes = self.graph.node(value).operands.iter().filter_map(|x| self.claims.home(*x));
                    self.claims.stale.extend(homes.filter(|home| *home < anchor).collect::<Vec<_>>());
                }
            }
            staked.push(anchor);
        }
        (staked, moved)
    }

    /// What the epilogue of a product can compute.
    fn claim(&self, anchor: Value) -> Claim {
        let graph = self.graph;
        let mut claim = Claim::default();
        if self.target.without.epilogues || matches!(graph.node(anchor).op, Op::Conv2dGradWeight(_)) {
            return claim;
        }
        let elements = graph.shape(anchor).elements();
        let mut follows: HashMap<Value, Option<View>> = HashMap::from([(anchor, None)]);
        let mut open: BTreeSet<Value> = self.users[anchor.0].iter().copied().collect();
        while let Some(value) = open.pop_first() {
            let node = graph.node(value);
            let own: Vec<&Option<View>> = node.operands.iter().filter_map(|x| follows.get(x)).collect();
            let Some(place) = own.first().map(|place| (*place).clone()) else { continue };
            let same = own.iter().all(|other| **other == place) && node.shape.elements() == elements;
            let whole = graph.shape(node.operands[0]).elements() == elements && node.shape.elements() == 1;
            // Products that come later take what they want first.
            let free = self.claims.owner[value.0].is_none_or(|owner| owner <= anchor) && !self.barred[value.0];
            // Whether it depends on the product in another way besides.
            let strange = || node.operands.iter().any(|x| !follows.contains_key(x) && self.reach.follows(*x, anchor));
            match &node.op {
                Op::Unary(_) | Op::Binary(_) | Op::Reshape if free && same && !strange() => {
                    follows.insert(value, place.clone());
                    claim.places.insert(value, place);
                }
                Op::Permute(order) if free && place.is_none() && !strange() => {
                    let place = Some(inverse(graph.shape(node.operands[0]), order));
                    follows.insert(value, place.clone());
                    claim.places.insert(value, place);
                }
                Op::Reduce { reduction: Reduction::Sum, .. }
                    if free && whole && claim.totals.len() < 3 && !self.apart.contains(&value) && !strange() =>
                {
                    claim.totals.push(value);
                    continue;
                }
                _ => continue,
            }
            claim.members.push(value);
            open.extend(&self.users[value.0]);
        }
        claim
    }
}
