//! Masking of sequences: steps beyond a sample's length are zeros for layers, and excluded from losses.

use crate::error::Result;
use crate::graph::{Unary, Value};
use crate::nn::Context;

/// Zeros the steps of samples beyond their lengths; returns `x` where the context has no mask.
pub(crate) fn masked(context: &mut Context, x: Value) -> Result<Value> {
    kept(context, x, 0.0)
}

/// Zeros the steps of a layer's output beyond the lengths, where the output has these steps.
pub(super) fn masked_steps(context: &mut Context, x: Value) -> Result<Value> {
    let [batch, steps, _] = context.shape(x)[..] else { return Ok(x) };
    match context.mask(batch)? {
        Some(mask) if context.shape(mask)[1] == steps => masked(context, x),
        _ => Ok(x),
    }
}

/// Sets logits beyond the lengths to -100, whose probability e^-100 rounds to 0 when added to 1.
pub(super) fn masked_logits(context: &mut Context, logits: Value) -> Result<Value> {
    kept(context, logits, -100.0)
}

/// Sets steps beyond the lengths to one number everywhere.
fn kept(context: &mut Context, x: Value, beyond: f64) -> Result<Value> {
    let shape = context.shape(x).clone();
    let Some(mask) = context.mask(shape[0])? else { return Ok(x) };
    let steps = context.shape(mask)[1];
    let wide = context.reshape(x, [shape[0], steps, shape.elements() / shape[0] / steps])?;
    let mask = context.reshape(mask, [shape[0], steps, 1])?;
    let mut kept = context.multiply(wide, mask)?;
    if beyond != 0.0 {
        let absent = context.one_minus(mask)?;
        let absent = context.scale(absent, beyond)?;
        kept = context.add(kept, absent)?;
    }
    context.reshape(kept, shape)
}

/// Rescales a mean over all steps to a mean over the valid ones.
pub(super) fn of_valid(context: &mut Context, mean: Value) -> Result<Value> {
    match context.valid_part()? {
        Some(part) => {
            let part = context.unary(Unary::Reciprocal, part)?;
            context.multiply(mean, part)
        }
        None => Ok(mean),
    }
}
