//! Claims: the values that the epilogues of products compute.
//!
//! A value is computed by the last product that it depends on, so claims are made from the last product to the first. A
//! claim depends on other claims only through the values that they own. When a value is barred or changes its owner,
//! only the products that may claim it are examined again.

use super::Fusing;
use super::decided::Claim;
use super::expression::inverse;
use crate::graph::{Op, Reduction, Value};
use crate::plan::program::View;
use std::collections::{BTreeSet, HashMap};

impl Fusing<'_> {
    /// Brings all claims up to date. Returns the products with new claims, and the values that changed their owner.
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
                    // The claim of the former owner, an earlier product, has to be made anew.
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

    /// The values that the epilogue of a product can compute.
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
            let mut places = node.operands.iter().filter_map(|x| follows.get(x));
            let Some(place) = places.next().cloned() else { continue };
            let same = places.all(|other| *other == place) && node.shape.elements() == elements;
            let whole = graph.shape(node.operands[0]).elements() == elements && node.shape.elements() == 1;
            // Later products have the first claim.
            let free = self.claims.owner[value.0].is_none_or(|owner| owner <= anchor) && !self.barred[value.0];
            // Whether the value also depends on the product by operands that the epilogue does not compute.
            let strange = || node.operands.iter().any(|x| !follows.contains_key(x) && self.reach.follows(*x, anchor));
            let elementwise = same && matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Reshape);
            let permuted = if let Op::Permute(order) = &node.op { place.is_none().then_some(order) } else { None };
            let summed = matches!(node.op, Op::Reduce { reduction: Reduction::Sum, .. })
                && whole
                && claim.totals.len() < 3
                && !self.apart.contains(&value);
            if !free || !(elementwise || permuted.is_some() || summed) || strange() {
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
