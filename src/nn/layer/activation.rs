//! Functions of each element.

use super::kind::{Initial, Key, Kind, ParameterSpec, Setting, product};
use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::Placed;
use crate::shape::Shape;

/// A function of each element.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope x`.
    LeakyRelu {
        /// Slope left of zero; PyTorch's default is 0.01.
        slope: f64,
    },
    /// `x` where positive, else `alpha (exp(x) - 1)`.
    Elu {
        /// Minus the limit to the left; PyTorch's default is 1.
        alpha: f64,
    },
    /// `x Phi(x)` with the normal distribution's `Phi`, PyTorch's default form (by `erf`, not by `tanh`).
    Gelu,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x` between two numbers, and the nearer of them beyond. As in PyTorch, the slope is 0 at the two numbers themselves.
    Hardtanh {
        /// The lower number; PyTorch's default is -1.
        min: f64,
        /// The upper number; PyTorch's default is 1.
        max: f64,
    },
    /// `x tanh(log(1 + exp(x)))`: Misra, arXiv 1908.08681.
    Mish,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x` where positive, else a trained slope times `x`: He et al., arXiv 1502.01852. The slopes are the parameter
    /// `weight`, which starts at 0.25.
    Prelu {
        /// Whether every channel (the first size of a sample) has a slope of its own; else one slope serves all.
        per_channel: bool,
    },
}

impl Activation {
    /// All of them, with PyTorch's default settings; model files know an activation by being listed here.
    pub const ALL: [Activation; 12] = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Elu { alpha: 1.0 },
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Hardtanh { min: -1.0, max: 1.0 },
        Activation::Mish,
        Activation::Softsign,
        Activation::Prelu { per_channel: false },
    ];
}

impl Kind for Activation {
    fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Elu { .. } => "elu",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::Softplus => "softplus",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Hardtanh { .. } => "hardtanh",
            Activation::Mish => "mish",
            Activation::Softsign => "softsign",
            Activation::Prelu { .. } => "prelu",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Activation::LeakyRelu { slope } => vec![Key::optional("slope", Setting::Number(slope))],
            Activation::Elu { alpha } => vec![Key::optional("alpha", Setting::Number(alpha))],
            Activation::Hardtanh { min, max } => {
                vec![Key::optional("min", Setting::Number(min)), Key::optional("max", Setting::Number(max))]
            }
            Activation::Prelu { per_channel } => vec![Key::optional("per_channel", Setting::Flag(per_channel))],
            Activation::Relu
            | Activation::Gelu
            | Activation::Silu
            | Activation::Softplus
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Mish
            | Activation::Softsign => Vec::new(),
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        if let Activation::LeakyRelu { slope: value } | Activation::Elu { alpha: value } = self
            && !value.is_finite()
        {
            return Err(format!("expects a finite number, got {value}; write 0.01, say"));
        }
        if let Activation::Hardtanh { min, max } = self
            && !(min.is_finite() && max.is_finite() && min < max)
        {
            return Err(format!("expects min below max, got {min} and {max}; write min = -1.0, max = 1.0, say"));
        }
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        match self {
            Activation::Prelu { per_channel } => {
                let slopes = if *per_channel { input.first().copied().unwrap_or(1) } else { 1 };
                let initial = Initial::Constant(0.25);
                vec![ParameterSpec { name: "weight", shape: [slopes].into(), initial }]
            }
            _ => Vec::new(),
        }
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        product(output)
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        match self {
            Activation::Relu => graph.unary(Unary::Relu, x),
            Activation::LeakyRelu { slope } => graph.with_number(Binary::LeakyRelu, x, *slope),
            Activation::Elu { alpha } => graph.with_number(Binary::Elu, x, *alpha),
            Activation::Gelu => graph.unary(Unary::Gelu, x),
            Activation::Silu => graph.unary(Unary::Silu, x),
            Activation::Softplus => graph.unary(Unary::Softplus, x),
            Activation::Sigmoid => graph.unary(Unary::Sigmoid, x),
            Activation::Tanh => graph.unary(Unary::Tanh, x),
            Activation::Hardtanh { min, max } => hardtanh(graph, x, *min, *max),
            Activation::Mish => {
                let softplus = graph.unary(Unary::Softplus, x)?;
                let gate = graph.unary(Unary::Tanh, softplus)?;
                graph.multiply(x, gate)
            }
            Activation::Softsign => {
                let size = graph.unary(Unary::Absolute, x)?;
                let size = graph.with_number(Binary::Add, size, 1.0)?;
                graph.divide(x, size)
            }
            Activation::Prelu { .. } => {
                let slopes = placed.parameter(graph, 0)?;
                let mut shape = vec![1; placed.input.len().max(1)];
                shape[0] = graph.shape(slopes).elements();
                let slopes = graph.reshape(slopes, shape)?;
                graph.binary(Binary::LeakyRelu, x, slopes)
            }
        }
    }
}

/// The number is `x` where it lies strictly between the two, which is where the slope is 1. A maximum or minimum alone
/// would share the slope at the two numbers themselves.
fn hardtanh(graph: &mut Graph, x: Value, min: f64, max: f64) -> Result<Value> {
    let low = graph.constant(min, [])?;
    let high = graph.constant(max, [])?;
    let above = graph.binary(Binary::Less, low, x)?;
    let below = graph.binary(Binary::Less, x, high)?;
    let between = graph.multiply(above, below)?;
    let clamped = graph.binary(Binary::Maximum, x, low)?;
    let clamped = graph.binary(Binary::Minimum, clamped, high)?;
    let inner = graph.multiply(between, clamped)?;
    let one = graph.constant(1.0, [])?;
    let floor = graph.subtract(one, above)?;
    let floor = graph.scale(floor, min)?;
    let ceiling = graph.subtract(one, below)?;
    let ceiling = graph.scale(ceiling, max)?;
    let outer = graph.add(floor, ceiling)?;
    graph.add(inner, outer)
}
