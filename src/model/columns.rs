//! Table rows as samples: encoders see categories as learned embeddings (Guo and Berkhahn, arXiv 1604.06737), and
//! decoders give logits, of which the largest is the category.

use super::network::Network;
use crate::error::Result;
use crate::graph::{Binary, Unary, Value};
use crate::nn::Context;

impl Network {
    /// Rows `[n, columns]` as encoders see them, `[n, width]`: each category as its embedding, numbers unchanged.
    pub(super) fn embed(&self, context: &mut Context, x: Value) -> Result<Value> {
        let n = context.shape(x)[0];
        let mut parts = Vec::new();
        for (at, column) in self.spec().data.columns.iter().enumerate() {
            let own = context.slice(x, &[0, at], [n, 1])?;
            parts.push(match column.categories.len() {
                0 => own,
                count => {
                    let weight = context.parameter(&format!("columns.{at}.weight"), [count, column.size])?;
                    let indices = context.indices(own, count)?;
                    let indices = context.reshape(indices, [n])?;
                    context.gather(weight, indices)?
                }
            });
        }
        context.concat(&parts, 1)
    }

    /// Rows `[n, columns]` from a decoder's output: for each categorical column the index of the largest logit, the
    /// first among equals.
    pub(super) fn categories(&self, context: &mut Context, y: Value) -> Result<Value> {
        let n = context.shape(y)[0];
        let (mut parts, mut start) = (Vec::new(), 0);
        for count in self.spec().data.categories() {
            let own = context.slice(y, &[0, start], [n, count.max(1)])?;
            start += count.max(1);
            if count == 0 {
                parts.push(own);
                continue;
            }
            let largest = context.max(own, &[1])?;
            let largest = context.reshape(largest, [n, 1])?;
            let largest = context.broadcast(largest, [n, count])?;
            let less = context.binary(Binary::Less, own, largest)?;
            // The smallest index, with the indices of smaller logits shifted beyond all others.
            let behind = context.scale(less, count as f64)?;
            let places = context.iota(count)?;
            let places = context.reshape(places, [1, count])?;
            let places = context.add(behind, places)?;
            let negative = context.unary(Unary::Negate, places)?;
            let smallest = context.max(negative, &[1])?;
            let smallest = context.unary(Unary::Negate, smallest)?;
            parts.push(context.reshape(smallest, [n, 1])?);
        }
        context.concat(&parts, 1)
    }
}
