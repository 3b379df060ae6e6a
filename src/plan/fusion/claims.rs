//! Claims: the values that the epilogues of products compute.
//!
//! The last product that a value follows from computes it, so claims are staked from the last product to the first. A
//! claim depends on others by the values that they own alone. When a value is barred or changes hands, only the products
//! that may want it are looked at again.

use super::Fusing;
use super::decided::Claim;
use super::expression::inverse;
use crate::graph::{Op, Reduction, Value};
use crate::plan::program::View;
use std::collections::{BTreeSet, HashMap};

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
            // Whether the value also depends on the product in another way.
            let strange = || node.operands.iter().any(|x| !follows.contains_key(x) && self.reach.follows(*x, anchor));
            let follows_on = same && matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Reshape);
            let permuted = if let Op::Permute(order) = &node.op { place.is_none().then_some(order) } else { None };
            let summed = matches!(node.op, Op::Reduce { reduction: Reduction::Sum, .. })
                && whole
                && claim.totals.len() < 3
                && !self.apart.contains(&value);
            if !free || !(follows_on || permuted.is_some() || summed) || strange() {
                continue;
            }
            if summed {
                claim.totals.push(value);
                continue;
            }
            let place = permuted.map_or(place, |order| Some(inverse(graph.shape(node.operands[0]), order)));
            follows.insert(value, place.clone());
            claim.places.insert(value, place);
            claim.members.push(value);
            open.extend(&self.users[value.0]);
        }
        claim
    }
}
