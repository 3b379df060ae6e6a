//! Layers as graph nodes.

use super::Placed;
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::shape::Shape;

impl Placed {
    /// This layer on a batch: `[n, ..input]` to `[n, ..output]`, its parameters under their full names.
    pub fn apply(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let scope = graph.set_scope(&self.name);
        let result = self.layer.apply(self, graph, x);
        graph.set_scope(scope);
        let output = result?;
        graph.set_output(&self.name, output);
        Ok(output)
    }

    /// The batch under the shape of this layer's output, `[n, ..output]`.
    pub(super) fn reshaped(&self, graph: &mut Graph, y: Value) -> Result<Value> {
        let batch = graph.shape(y)[0];
        let output: Shape = std::iter::once(batch).chain(self.output.iter().copied()).collect();
        graph.reshape(y, output)
    }

    /// The parameter of this place in the layer's list.
    pub(super) fn parameter(&self, graph: &mut Graph, index: usize) -> Result<Value> {
        let parameter = &self.parameters[index];
        graph.parameter(&parameter.name, parameter.shape.clone())
    }
}
