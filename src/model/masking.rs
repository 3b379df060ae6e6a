//! Steps beyond the lengths of a batch's sequences: they are zeros for layers, and no part of losses.

use crate::error::Result;
use crate::graph::{Unary, Value};
use crate::nn::Context;

/// Samples of which steps beyond their lengths are zeros; all of them where the graph knows no lengths.
pub(crate) fn masked(graph: &mut Context, x: Value) -> Result<Value> {
    kept(graph, x, 0.0)
}

/// The same of what a layer leaves, where that has these steps.
pub(super) fn masked_steps(graph: &mut Context, x: Value) -> Result<Value> {
    let [batch, steps, _] = graph.shape(x)[..] else { return Ok(x) };
    match graph.mask(batch)? {
        Some(mask) if graph.shape(mask)[1] == steps => masked(graph, x),
        _ => Ok(x),
    }
}

/// Logits of which those of steps beyond the lengths say 0: e^-100 is nothing beside 1.
pub(super) fn masked_logits(graph: &mut Context, logits: Value) -> Result<Value> {
    kept(graph, logits, -100.0)
}

/// Samples whose steps beyond their lengths have one number everywhere.
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

/// A sum over all steps as a mean over those that are there.
pub(super) fn of_valid(graph: &mut Context, mean: Value) -> Result<Value> {
    match graph.valid_part()? {
        Some(part) => {
            let part = graph.unary(Unary::Reciprocal, part)?;
            graph.multiply(mean, part)
        }
        None => Ok(mean),
    }
}
