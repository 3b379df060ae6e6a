//! Functions of each element, and gated linear units.

use super::kind::*;
use crate::graph::{Binary, Unary};

/// The two constants of [`Activation::Selu`].
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// One row for each activation: its formula, its name here, its fields with their [`Setting`] in a model file and their
/// default, and its name in a model file.
macro_rules! activations {
    ($($(#[$doc:meta])* $variant:ident
        $({ $($(#[$field_doc:meta])* $field:ident: $type:ident as $setting:ident = $default:literal,)* })?
        => $name:literal;)*) => {
        /// A function of each element.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Activation {
            $($(#[$doc])* $variant $({ $($(#[$field_doc])* $field: $type,)* })?,)*
        }

        impl Activation {
            /// All activations, with PyTorch's default settings.
            pub const ALL: [Activation; [$($name),*].len()] =
                [$(Activation::$variant { $($($field: $default),*)? }),*];

            fn file_name(&self) -> &'static str {
                match self { $(Activation::$variant { .. } => $name,)* }
            }

            fn settings(&mut self) -> Vec<Key<'_>> {
                match self {
                    $(Activation::$variant { $($($field),*)? } => {
                        vec![$($(Key::short(stringify!($field), Setting::$setting($field))),*)?]
                    })*
                }
            }
        }
    };
}

activations! {
    /// `max(x, 0)`.
    Relu => "relu";
    /// `x` where positive, else `slope x`.
    LeakyRelu {
        /// Slope left of zero; PyTorch's default is 0.01.
        slope: f64 as Number = 0.01,
    } => "leaky_relu";
    /// `x` where positive, else `alpha (exp(x) - 1)`.
    Elu {
        /// Minus the limit to the left; PyTorch's default is 1.
        alpha: f64 as Number = 1.0,
    } => "elu";
    /// `scale x` where positive, else `scale alpha (exp(x) - 1)`, with the two constants that keep mean and variance at
    /// 0 and 1: Klambauer et al., arXiv 1706.02515.
    Selu => "selu";
    /// `x` where positive, else `alpha (exp(x / alpha) - 1)`: Barron, arXiv 1704.07483.
    Celu {
        /// Minus the limit to the left; PyTorch's default is 1.
        alpha: f64 as Number = 1.0,
    } => "celu";
    /// `x Phi(x)` with the normal distribution's `Phi`, PyTorch's default form (by `erf`, not by `tanh`).
    Gelu => "gelu";
    /// `x sigmoid(x)`, also called swish.
    Silu => "silu";
    /// `log(1 + exp(x))`.
    Softplus => "softplus";
    /// `1 / (1 + exp(-x))`.
    Sigmoid => "sigmoid";
    /// Hyperbolic tangent.
    Tanh => "tanh";
    /// `x` clamped to `[min, max]`. As in PyTorch, the slope is 0 at the two bounds themselves.
    Hardtanh {
        /// The lower bound; PyTorch's default is -1.
        min: f64 as Number = -1.0,
        /// The upper bound; PyTorch's default is 1.
        max: f64 as Number = 1.0,
    } => "hardtanh";
    /// `x` clamped to `[0, 6]`.
    Relu6 => "relu6";
    /// `(x + 3) / 6` clamped to `[0, 1]`.
    Hardsigmoid => "hardsigmoid";
    /// `x` times [`Activation::Hardsigmoid`]: Howard et al., arXiv 1905.02244.
    Hardswish => "hardswish";
    /// `x tanh(log(1 + exp(x)))`: Misra, arXiv 1908.08681.
    Mish => "mish";
    /// `x / (1 + |x|)`.
    Softsign => "softsign";
    /// `x` where positive, else a trained slope times `x`: He et al., arXiv 1502.01852. The slopes are the parameter
    /// `weight`, which is 0.25 initially.
    Prelu {
        /// Whether every channel (the first axis of a sample) has a separate slope; else all elements share one.
        per_channel: bool as Flag = false,
    } => "prelu";
}

/// Gated linear unit, Dauphin et al., arXiv 1612.08083: the first half along an axis, times the sigmoid of the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Glu {
    /// The sample's axis that is halved; 0 is the axis of channels or features, -1 the last, which is PyTorch's
    /// default.
    pub axis: isize,
}

impl Kind for Glu {
    name!("glu");
    keys!(short axis: Axis);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let axis = axis_of(self.axis, input)?;
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

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        // A value's first axis is the batch.
        let axis = axis_of(self.axis, &placed.input).unwrap_or(0) + 1;
        let mut shape = context.shape(x).to_vec();
        shape[axis] /= 2;
        let mut start = vec![0; shape.len()];
        let value = context.slice(x, &start, shape.clone())?;
        start[axis] = shape[axis];
        let gate = context.slice(x, &start, shape)?;
        let gate = context.unary(Unary::Sigmoid, gate)?;
        context.multiply(value, gate)
    }
}

impl Kind for Activation {
    fn name(&self) -> &'static str {
        self.file_name()
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        self.settings()
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match self {
            Activation::LeakyRelu { slope: value } | Activation::Elu { alpha: value } if !value.is_finite() => {
                Err(misfit!("expects a finite number, got {value}"; "write 0.01, say"))
            }
            Activation::Celu { alpha } if !(alpha.is_finite() && *alpha > 0.0) => {
                Err(misfit!("alpha must be a positive number, got {alpha:?}"; "use 1.0, say"))
            }
            Activation::Hardtanh { min, max } if !(min.is_finite() && max.is_finite() && min < max) => {
                Err(misfit!("expects min below max, got {min} and {max}"; "write min = -1.0, max = 1.0, say"))
            }
            _ => Ok(input.clone()),
        }
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let Activation::Prelu { per_channel } = self else { return Vec::new() };
        let slopes = if *per_channel { input.first().copied().unwrap_or(1) } else { 1 };
        vec![ParameterSpec { name: "weight", shape: [slopes].into(), initial: Initial::Constant(0.25) }]
    }

    flops!(1);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        match self {
            Activation::Relu => context.unary(Unary::Relu, x),
            Activation::LeakyRelu { slope } => context.with_number(Binary::LeakyRelu, x, *slope),
            Activation::Elu { alpha } => context.with_number(Binary::Elu, x, *alpha),
            Activation::Selu => {
                let y = context.with_number(Binary::Elu, x, SELU_ALPHA)?;
                context.scale(y, SELU_SCALE)
            }
            Activation::Celu { alpha } => {
                // The negative part is a difference, not a minimum, so that the slope at 0 is 1 from both sides.
                let positive = context.unary(Unary::Relu, x)?;
                let negative = context.subtract(x, positive)?;
                let negative = context.scale(negative, 1.0 / alpha)?;
                let negative = context.with_number(Binary::Elu, negative, *alpha)?;
                context.add(positive, negative)
            }
            Activation::Gelu => context.unary(Unary::Gelu, x),
            Activation::Silu => context.unary(Unary::Silu, x),
            Activation::Softplus => context.unary(Unary::Softplus, x),
            Activation::Sigmoid => context.unary(Unary::Sigmoid, x),
            Activation::Tanh => context.unary(Unary::Tanh, x),
            Activation::Hardtanh { min, max } => hardtanh(context, x, *min, *max),
            Activation::Relu6 => hardtanh(context, x, 0.0, 6.0),
            Activation::Hardsigmoid => hardsigmoid(context, x),
            Activation::Hardswish => {
                let gate = hardsigmoid(context, x)?;
                context.multiply(x, gate)
            }
            Activation::Mish => {
                let softplus = context.unary(Unary::Softplus, x)?;
                let gate = context.unary(Unary::Tanh, softplus)?;
                context.multiply(x, gate)
            }
            Activation::Softsign => {
                let size = context.unary(Unary::Absolute, x)?;
                let size = context.with_number(Binary::Add, size, 1.0)?;
                context.divide(x, size)
            }
            Activation::Prelu { .. } => {
                let slopes = placed.parameter(context, 0)?;
                let mut shape = vec![1; placed.input.len().max(1)];
                shape[0] = context.shape(slopes).elements();
                let slopes = context.reshape(slopes, shape)?;
                context.binary(Binary::LeakyRelu, x, slopes)
            }
        }
    }
}

/// `relu6(x + 3) / 6`.
fn hardsigmoid(graph: &mut Graph, x: Value) -> Result<Value> {
    let shifted = graph.with_number(Binary::Add, x, 3.0)?;
    let clamped = hardtanh(graph, shifted, 0.0, 6.0)?;
    graph.scale(clamped, 1.0 / 6.0)
}

/// `x` strictly between the two bounds, where the slope is 1, and the nearer bound elsewhere, where it is 0. A maximum
/// and a minimum alone would share the slope at the bounds themselves.
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
