//! Masking of sequences: steps beyond a sample's length are zeros for layers, and excluded from losses.

use crate::error::Result;
use crate::graph::{Unary, Value};
use crate::nn::Context;

/// Zeros the steps of samples beyond their lengths; returns `x` where the graph has no mask.
pub(crate) fn masked(graph: &mut Context, x: Value) -> Result<Value> {
    kept(graph, x, 0.0)
}

/// Zeros the steps of a layer's output beyond the lengths, where the output has these steps.
pub(super) fn masked_steps(graph: &mut Context, x: Value) -> Result<Value> {
    let [batch, steps, _] = graph.shape(x)[..] else { return Ok(x) };
    match graph.mask(batch)? {
        Some(mask) if graph.shape(mask)[1] == steps => masked(graph, x),
        _ => Ok(x),
    }
}

/// Sets logits beyond the lengths to -100, a probability of 0: e^-100 vanishes beside 1.
pub(super) fn masked_logits(graph: &mut Context, logits: Value) -> Result<Value> {
    kept(graph, logits, -100.0)
}

/// Sets steps beyond the lengths to one number everywhere.
fn kept(graph: &mut Context, x: Value, beyond: f64) -> Result<Value> {
    let shape = graph.shape(x).clone();
    let Some(mask) = graph.mask(shape[0])? else { return Ok(x) };
    let steps = graph.shape(mask)[1];
    let wide = graph.reshape(x, [shape[0], steps, shape.elements() / shape[0] / steps])?;
    let mask = graph.reshape(mask, [shape[0], steps, 1])?;
    let mut kept = graph.multiply(wide, mask)?;
    if beyond != 0.0 {
        let absent = graph.one_minus(mask)?;
        let absent = graph.scale(absent, beyond)?;
        kept = graph.add(kept, absent)?;
    }
    graph.reshape(kept, shape)
}

/// Rescales a mean over all steps to a mean over the valid ones.
pub(super) fn of_valid(graph: &mut Context, mean: Value) -> Result<Value> {
    match graph.valid_part()? {
        Some(part) => {
            let part = graph.unary(Unary::Reciprocal, part)?;
            graph.multiply(mean, part)
        }
        None => Ok(mean),
    }
}
