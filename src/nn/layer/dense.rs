//! Layers over features.

use super::kind::{Key, Kind, ParameterSpec, Setting, positive, product, weight_and_bias};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::Placed;
use crate::shape::Shape;

/// `y = x W^T + b` on `[features]`, or on each step of `[steps, features]`; the weight is `[out, features]`.
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
        positive("out", &[self.out])?;
        match input[..] {
            [_] => Ok([self.out].into()),
            [steps, _] => Ok([steps, self.out].into()),
            _ => Err(format!("expects [features], got {input}; put \"flatten\" before it")),
        }
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias([self.out, input[input.len() - 1]], self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let weight = placed.parameter(graph, 0)?;
        let shape = graph.shape(x).clone();
        let rows = shape[..shape.len() - 1].iter().product::<usize>();
        let x = graph.reshape(x, [rows, shape[shape.len() - 1]])?;
        let mut y = graph.matmul(x, weight, false, true)?;
        if self.bias {
            let bias = placed.parameter(graph, 1)?;
            y = graph.add(y, bias)?;
        }
        let output: Shape = shape[..shape.len() - 1].iter().copied().chain([self.out]).collect();
        graph.reshape(y, output)
    }
}
