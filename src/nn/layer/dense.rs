//! Layers over features.

use super::kind::{Initial, Key, Kind, Misfit, ParameterSpec, Setting, misfit, positive, product, weight_and_bias};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// `y = x W^T + b` along the last axis of `[.., features]`, as PyTorch's `nn.Linear`; the weight is `[out, features]`.
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

/// `y = x W + b` along the last axis with the weight `W`, `[features, out]`, of a [`Linear`] layer elsewhere in the model, so that a decoder can
/// undo its encoder by the same numbers (PyTorch's `F.linear(x, W.t(), b)`): tied weights, Vincent et al., JMLR 11 (2010).
/// Only the bias is its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TiedLinear {
    /// The name of that layer, such as `encoder.0`.
    pub to: String,
    /// Features that come out: those that go into that layer.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Weight by rows: `[.., features]` to `[.., out]`, the weight transposed where it is `[out, features]`.
fn product_of_rows(graph: &mut Graph, x: Value, weight: Value, transposed: bool, bias: Option<Value>) -> Result<Value> {
    let shape = graph.shape(x).clone();
    let [outer, features] = [&shape[..shape.len() - 1], &shape[shape.len() - 1..]];
    let x = graph.reshape(x, [outer.iter().product::<usize>(), features[0]])?;
    let mut y = graph.matmul(x, weight, false, transposed)?;
    if let Some(bias) = bias {
        y = graph.add(y, bias)?;
    }
    let out = graph.shape(y)[1];
    graph.reshape(y, outer.iter().copied().chain([out]).collect::<Shape>())
}

/// What both demand and give.
fn linear_output(out: usize, input: &Shape) -> Result<Shape, Misfit> {
    positive("out", &[out])?;
    match input.split_last() {
        Some((_, outer)) => Ok(outer.iter().copied().chain([out]).collect()),
        None => Err(misfit!("expects [.., features], got {input}"; "change the layer before it")),
    }
}

impl Kind for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("out", Setting::Whole(&mut self.out)), Key::optional("bias", Setting::Flag(&mut self.bias))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        linear_output(self.out, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias([self.out, input[input.len() - 1]], self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(cx, 0)?;
        let bias = self.bias.then(|| placed.parameter(cx, 1)).transpose()?;
        product_of_rows(cx, x, weight, true, bias)
    }
}

impl Kind for TiedLinear {
    fn name(&self) -> &'static str {
        "tied_linear"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("to", Setting::Word(&mut self.to)),
            Key::needed("out", Setting::Whole(&mut self.out)),
            Key::optional("bias", Setting::Flag(&mut self.bias)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        linear_output(self.out, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let initial = Initial::Bias { fan_in: input[input.len() - 1] as f64 };
        let bias = self.bias.then(|| ParameterSpec { name: "bias", shape: [self.out].into(), initial });
        bias.into_iter().collect()
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let features = placed.input[placed.input.len() - 1];
        let weight = cx.parameter(&format!("{}.weight", self.to), [features, self.out])?;
        let bias = self.bias.then(|| placed.parameter(cx, 0)).transpose()?;
        product_of_rows(cx, x, weight, false, bias)
    }
}
