//! Functions of each element.

use super::kind::{Initial, Key, Kind, Misfit, ParameterSpec, Setting, axis_of, misfit, no_axis, product};
use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// The two numbers of [`Activation::Selu`].
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

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
    /// `scale x` where positive, else `scale alpha (exp(x) - 1)`, with the two numbers that hold mean and variance at 0 and
    /// 1: Klambauer et al., arXiv 1706.02515.
    Selu,
    /// `x` where positive, else `alpha (exp(x / alpha) - 1)`: Barron, arXiv 1704.07483.
    Celu {
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
    /// `x` between 0 and 6, and the nearer of them beyond.
    Relu6,
    /// `(x + 3) / 6` between 0 and 1, and the nearer of them beyond.
    Hardsigmoid,
    /// `x` times [`Activation::Hardsigmoid`]: Howard et al., arXiv 1905.02244.
    Hardswish,
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

/// The first half along an axis, times the sigmoid of the second: the gated linear unit of Dauphin et al., arXiv 1612.08083,
/// which leaves half as much.
#[derive(Clone, Debug, PartialEq)]
pub struct Glu {
    /// The sample's axis that is halved; 0 is that of channels or features, -1 the last, which is PyTorch's default.
    pub axis: isize,
}

impl Kind for Glu {
    fn name(&self) -> &'static str {
        "glu"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::short("axis", Setting::Axis(&mut self.axis))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let Some(axis) = axis_of(self.axis, input.len()) else { return Err(no_axis(self.axis, input)) };
        let mut shape = input.to_vec();
        if !shape[axis].is_multiple_of(2) {
            let help = "make its size even in the layer before it";
            return Err(misfit!("axis {axis} of {input} has no two halves"; "{help}"));
        }
        shape[axis] /= 2;
        Ok(shape.into())
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        product(output).saturating_mul(2)
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        // The batch is the first axis of a value.
        let axis = axis_of(self.axis, placed.input.len()).unwrap_or(0) + 1;
        let mut shape = cx.shape(x).to_vec();
        shape[axis] /= 2;
        let mut start = vec![0; shape.len()];
        let value = cx.slice(x, &start, shape.clone())?;
        start[axis] = shape[axis];
        let gate = cx.slice(x, &start, shape)?;
        let gate = cx.unary(Unary::Sigmoid, gate)?;
        cx.multiply(value, gate)
    }
}

impl Activation {
    /// All of them, with PyTorch's default settings; model files know an activation by being listed here.
    pub const ALL: [Activation; 17] = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Elu { alpha: 1.0 },
        Activation::Selu,
        Activation::Celu { alpha: 1.0 },
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Hardtanh { min: -1.0, max: 1.0 },
        Activation::Relu6,
        Activation::Hardsigmoid,
        Activation::Hardswish,
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
            Activation::Selu => "selu",
            Activation::Celu { .. } => "celu",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::Softplus => "softplus",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Hardtanh { .. } => "hardtanh",
            Activation::Relu6 => "relu6",
            Activation::Hardsigmoid => "hardsigmoid",
            Activation::Hardswish => "hardswish",
            Activation::Mish => "mish",
            Activation::Softsign => "softsign",
            Activation::Prelu { .. } => "prelu",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Activation::LeakyRelu { slope } => vec![Key::short("slope", Setting::Number(slope))],
            Activation::Elu { alpha } | Activation::Celu { alpha } => {
                vec![Key::short("alpha", Setting::Number(alpha))]
            }
            Activation::Hardtanh { min, max } => {
                vec![Key::short("min", Setting::Number(min)), Key::short("max", Setting::Number(max))]
            }
            Activation::Prelu { per_channel } => vec![Key::short("per_channel", Setting::Flag(per_channel))],
            Activation::Relu
            | Activation::Selu
            | Activation::Relu6
            | Activation::Hardsigmoid
            | Activation::Hardswish
            | Activation::Gelu
            | Activation::Silu
            | Activation::Softplus
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Mish
            | Activation::Softsign => Vec::new(),
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        if let Activation::LeakyRelu { slope: value } | Activation::Elu { alpha: value } = self
            && !value.is_finite()
        {
            return Err(misfit!("expects a finite number, got {value}"; "write 0.01, say"));
        }
        if let Activation::Celu { alpha } = self
            && !(alpha.is_finite() && *alpha > 0.0)
        {
            return Err(misfit!("alpha must be a positive number, got {alpha:?}"; "use 1.0, say"));
        }
        if let Activation::Hardtanh { min, max } = self
            && !(min.is_finite() && max.is_finite() && min < max)
        {
            return Err(misfit!("expects min below max, got {min} and {max}"; "write min = -1.0, max = 1.0, say"));
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

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        match self {
            Activation::Relu => cx.unary(Unary::Relu, x),
            Activation::LeakyRelu { slope } => cx.with_number(Binary::LeakyRelu, x, *slope),
            Activation::Elu { alpha } => cx.with_number(Binary::Elu, x, *alpha),
            Activation::Selu => {
                let y = cx.with_number(Binary::Elu, x, SELU_ALPHA)?;
                cx.scale(y, SELU_SCALE)
            }
            Activation::Celu { alpha } => {
                // The slope at 0 is 1 from both sides, which the rest shares with no maximum.
                let positive = cx.unary(Unary::Relu, x)?;
                let negative = cx.subtract(x, positive)?;
                let negative = cx.scale(negative, 1.0 / alpha)?;
                let negative = cx.with_number(Binary::Elu, negative, *alpha)?;
                cx.add(positive, negative)
            }
            Activation::Gelu => cx.unary(Unary::Gelu, x),
            Activation::Silu => cx.unary(Unary::Silu, x),
            Activation::Softplus => cx.unary(Unary::Softplus, x),
            Activation::Sigmoid => cx.unary(Unary::Sigmoid, x),
            Activation::Tanh => cx.unary(Unary::Tanh, x),
            Activation::Hardtanh { min, max } => hardtanh(cx, x, *min, *max),
            Activation::Relu6 => hardtanh(cx, x, 0.0, 6.0),
            Activation::Hardsigmoid => hardsigmoid(cx, x),
            Activation::Hardswish => {
                let gate = hardsigmoid(cx, x)?;
                cx.multiply(x, gate)
            }
            Activation::Mish => {
                let softplus = cx.unary(Unary::Softplus, x)?;
                let gate = cx.unary(Unary::Tanh, softplus)?;
                cx.multiply(x, gate)
            }
            Activation::Softsign => {
                let size = cx.unary(Unary::Absolute, x)?;
                let size = cx.with_number(Binary::Add, size, 1.0)?;
                cx.divide(x, size)
            }
            Activation::Prelu { .. } => {
                let slopes = placed.parameter(cx, 0)?;
                let mut shape = vec![1; placed.input.len().max(1)];
                shape[0] = cx.shape(slopes).elements();
                let slopes = cx.reshape(slopes, shape)?;
                cx.binary(Binary::LeakyRelu, x, slopes)
            }
        }
    }
}

/// `relu6(x + 3) / 6`
fn hardsigmoid(graph: &mut Graph, x: Value) -> Result<Value> {
    let shifted = graph.with_number(Binary::Add, x, 3.0)?;
    let clamped = hardtanh(graph, shifted, 0.0, 6.0)?;
    graph.scale(clamped, 1.0 / 6.0)
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
