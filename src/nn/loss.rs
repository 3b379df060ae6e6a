//! Losses: scalars, each a mean over every element.

use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};

/// The mean squared error.
pub fn mse(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let square = graph.unary(Unary::Square, difference)?;
    graph.mean_all(square)
}

/// The mean absolute error.
pub fn mae(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let distance = graph.unary(Unary::Absolute, difference)?;
    graph.mean_all(distance)
}

/// Binary cross-entropy against targets in `[0, 1]`, from logits: what goes into the sigmoid.
pub fn bce_with_logits(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let each = graph.binary(Binary::BceWithLogits, logits, target)?;
    graph.mean_all(each)
}
