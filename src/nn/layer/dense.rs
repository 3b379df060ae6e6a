//! Layers over features.

use super::kind::*;

/// `y = x W^T + b` along the last axis of `[.., features]`, as PyTorch's `nn.Linear`; the weight is `[out, features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Features of the output.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Linear {
    /// Creates a layer with a bias.
    pub fn new(out: usize) -> Linear {
        Linear { out, bias: true }
    }
}

/// Tied weights, Vincent et al., JMLR 11 (2010): `y = x W + b` along the last axis of `[.., features]` with the weight
/// `W`, `[features, out]`, of a [`Linear`] layer elsewhere in the model (PyTorch's `F.linear(x, W.t(), b)`), by which a
/// decoder can mirror its encoder. Only the bias is a parameter of this layer.
#[derive(Clone, Debug, PartialEq)]
pub struct TiedLinear {
    /// The name of the linear layer, such as `encoder.0`.
    pub to: String,
    /// Features of the output: the input features of the linear layer.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Multiplies `[.., features]` by a weight along the last axis, to `[.., out]`. The weight is `[features, out]`, or
/// `[out, features]` where it is `transposed`.
fn linear(graph: &mut Graph, x: Value, weight: Value, transposed: bool, bias: Option<Value>) -> Result<Value> {
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

/// The output shape of both kinds.
fn linear_output(out: usize, input: &Shape) -> Result<Shape, Misfit> {
    positive("out", &[out])?;
    match input.split_last() {
        Some((_, outer)) => Ok(outer.iter().copied().chain([out]).collect()),
        None => Err(misfit!("expects [.., features], got {input}"; "change the layer before it")),
    }
}

impl Kind for Linear {
    name!("linear");
    keys!(needed out: Whole, optional bias: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        linear_output(self.out, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias([self.out, input[input.len() - 1]], self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(context, 0)?;
        let bias = self.bias.then(|| placed.parameter(context, 1)).transpose()?;
        linear(context, x, weight, true, bias)
    }
}

impl Kind for TiedLinear {
    name!("tied_linear");
    keys!(needed to: Word, needed out: Whole, optional bias: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        linear_output(self.out, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        // The weight, at index 0, is the linear layer's.
        weight_and_bias([self.out, input[input.len() - 1]], self.bias.then_some(self.out)).split_off(1)
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let features = placed.input[placed.input.len() - 1];
        let weight = context.parameter(&format!("{}.weight", self.to), [features, self.out])?;
        let bias = self.bias.then(|| placed.parameter(context, 0)).transpose()?;
        linear(context, x, weight, false, bias)
    }
}
