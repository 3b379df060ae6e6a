//! Functions of each element.

use super::kind::{Key, Kind, Setting, product};
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
}

impl Activation {
    /// All of them, with PyTorch's default settings; model files know an activation by being listed here.
    pub const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Elu { alpha: 1.0 },
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::Sigmoid,
        Activation::Tanh,
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
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Activation::LeakyRelu { slope } => vec![Key::optional("slope", Setting::Number(slope))],
            Activation::Elu { alpha } => vec![Key::optional("alpha", Setting::Number(alpha))],
            Activation::Relu
            | Activation::Gelu
            | Activation::Silu
            | Activation::Softplus
            | Activation::Sigmoid
            | Activation::Tanh => Vec::new(),
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        if let Activation::LeakyRelu { slope: value } | Activation::Elu { alpha: value } = self
            && !value.is_finite()
        {
            return Err(format!("expects a finite number, got {value}; write 0.01, say"));
        }
        Ok(input.clone())
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        product(output)
    }

    fn apply(&self, _placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
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
