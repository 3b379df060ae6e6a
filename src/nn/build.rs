//! Layers as graph nodes: what each computes on a batch.

use super::{Activation, Layer, Placed};
use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value, Window};
use crate::shape::Shape;

impl Placed {
    /// This layer on a batch: `[n, ..input]` to `[n, ..output]`, its parameters under their full names.
    pub fn apply(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let scope = graph.set_scope(&self.name);
        let result = self.build(graph, x);
        graph.set_scope(scope);
        result
    }

    fn build(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let batch = graph.shape(x)[0];
        let output: Shape = std::iter::once(batch).chain(self.output.iter().copied()).collect();
        match &self.layer {
            Layer::Linear { .. } => {
                let weight = self.parameter(graph, 0)?;
                let y = graph.matmul(x, weight, false, true)?;
                self.add_bias(graph, y)
            }
            Layer::Conv2d { stride, padding, .. } => {
                let weight = self.parameter(graph, 0)?;
                let y = graph.conv2d(x, weight, Window { stride: *stride, padding: *padding })?;
                self.add_bias(graph, y)
            }
            // Transposed convolution maps as conv2d's gradient maps: PyTorch's weight [in, out, kh, kw] is the weight of
            // the convolution that goes the other way.
            Layer::ConvTranspose2d { stride, padding, .. } => {
                let weight = self.parameter(graph, 0)?;
                let window = Window { stride: *stride, padding: *padding };
                let y = graph.conv2d_grad_input(x, weight, window, [self.output[1], self.output[2]])?;
                self.add_bias(graph, y)
            }
            Layer::Activation(activation) => activation.apply(graph, x),
            Layer::Flatten | Layer::Unflatten(_) => graph.reshape(x, output),
        }
    }

    fn parameter(&self, graph: &mut Graph, index: usize) -> Result<Value> {
        let parameter = &self.parameters[index];
        graph.parameter(&parameter.name, parameter.shape.clone())
    }

    /// Adds one number to every channel or feature, where the layer has a bias.
    fn add_bias(&self, graph: &mut Graph, y: Value) -> Result<Value> {
        if self.parameters.len() < 2 {
            return Ok(y);
        }
        let bias = self.parameter(graph, 1)?;
        let mut shape = vec![1; self.output.len()];
        shape[0] = self.output[0];
        let bias = graph.reshape(bias, shape)?;
        graph.add(y, bias)
    }
}

impl Activation {
    /// This function of every element.
    pub fn apply(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        match self {
            Activation::Relu => graph.unary(Unary::Relu, x),
            Activation::LeakyRelu { slope } => graph.with_number(Binary::LeakyRelu, x, *slope),
            Activation::Elu { alpha } => graph.with_number(Binary::Elu, x, *alpha),
            Activation::Gelu => graph.unary(Unary::Gelu, x),
            Activation::Silu => graph.unary(Unary::Silu, x),
            Activation::Softplus => graph.unary(Unary::Softplus, x),
            Activation::Sigmoid => graph.unary(Unary::Sigmoid, x),
            Activation::Tanh => graph.unary(Unary::Tanh, x),
        }
    }
}
