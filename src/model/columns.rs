//! Table rows as samples: encoders see categories as learned embeddings (Guo and Berkhahn, arXiv 1604.06737), and
//! decoders give logits, of which the largest is the category.

use super::network::Network;
use crate::error::Result;
use crate::graph::{Binary, Unary, Value};
use crate::nn::Context;

impl Network {
    /// Rows `[n, columns]` as encoders see them, `[n, width]`: each category as its embedding, numbers unchanged.
    pub(super) fn embed(&self, graph: &mut Context, x: Value) -> Result<Value> {
        let n = graph.shape(x)[0];
        let mut parts = Vec::new();
        for (at, column) in self.spec().data.columns.iter().enumerate() {
            let own = graph.slice(x, &[0, at], [n, 1])?;
            parts.push(match column.categories.len() {
                0 => own,
                count => {
                    let weight = graph.parameter(&format!("columns.{at}.weight"), [count, column.size])?;
                    let indices = graph.indices(own, count)?;
                    let indices = graph.reshape(indices, [n])?;
                    graph.gather(weight, indices)?
                }
            });
        }
        graph.concat(&parts, 1)
    }

    /// Rows `[n, columns]` from a decoder's output: for each categorical column the index of the largest logit, the
    /// first among equals.
    pub(super) fn categories(&self, graph: &mut Context, y: Value) -> Result<Value> {
        let n = graph.shape(y)[0];
        let (mut parts, mut start) = (Vec::new(), 0);
        for count in self.spec().data.categories() {
            let own = graph.slice(y, &[0, start], [n, count.max(1)])?;
            start += count.max(1);
            if count == 0 {
                parts.push(own);
                continue;
            }
            let largest = graph.max(own, &[1])?;
            let largest = graph.reshape(largest, [n, 1])?;
            let largest = graph.broadcast(largest, [n, count])?;
            let less = graph.binary(Binary::Less, own, largest)?;
            // The smallest index, with the indices of smaller logits shifted beyond all others.
            let behind = graph.scale(less, count as f64)?;
            let places = graph.iota(count)?;
            let places = graph.reshape(places, [1, count])?;
            let places = graph.add(behind, places)?;
            let negative = graph.unary(Unary::Negate, places)?;
            let smallest = graph.max(negative, &[1])?;
            let smallest = graph.unary(Unary::Negate, smallest)?;
            parts.push(graph.reshape(smallest, [n, 1])?);
        }
        graph.concat(&parts, 1)
    }
}
