//! Layers over features.

use super::kind::{Key, Kind, ParameterSpec, Setting, add_bias, positive, product, weight_and_bias};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::Placed;
use crate::shape::Shape;

/// `y = x W^T + b` on `[features]`; the weight is `[out, features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Features that come out.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Linear {
    /// With a bias.
    pub fn new(out: usize) -> Linear {
        Linear { out, bias: true }
    }
}

impl Kind for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("out", Setting::Whole(&mut self.out)), Key::optional("bias", Setting::Flag(&mut self.bias))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        if input.len() != 1 {
            return Err(format!("expects [features], got {input}; put \"flatten\" before it"));
        }
        positive("out", &[self.out])?;
        Ok([self.out].into())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias([self.out, input[0]], self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, input[0], self.out])
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let weight = placed.parameter(graph, 0)?;
        let y = graph.matmul(x, weight, false, true)?;
        add_bias(placed, graph, y)
    }
}
