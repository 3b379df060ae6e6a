//! The kinds of layers: shapes, parameters, initialisation and cost of each, and how each is written in a model file.
//!
//! Initialisation is PyTorch's default for these layers: weight and bias are uniform in `(-b, b)` with
//! `b = 1 / sqrt(fan_in)`. PyTorch spells the weight's rule `kaiming_uniform_(a = sqrt(5))`, whose gain of
//! `sqrt(2 / (1 + 5))` times `sqrt(3)` is 1, hence the same bound. Its fan-in is the product of a weight's sizes after
//! the first, also for a transposed convolution, where that is out-channels times kernel and not the inputs that
//! one output sums.

use std::fmt;

use super::{MAX_ELEMENTS, elements};
use crate::shape::{Shape, conv_output, conv_transpose_output};

/// One entry of an encoder or a decoder. Pairs are height, then width.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `y = x W^T + b` on `[features]`.
    Linear {
        /// Features that come out.
        out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Convolution (cross-correlation, as everywhere in the field) on `[channels, height, width]`.
    Conv2d {
        /// Channels that come out.
        out: usize,
        /// Size of the kernel.
        kernel: [usize; 2],
        /// Step between two places of the kernel.
        stride: [usize; 2],
        /// Zeros put around the input, on each side.
        padding: [usize; 2],
        /// Whether a bias is added.
        bias: bool,
    },
    /// Transposed convolution on `[channels, height, width]`: the gradient of [`Layer::Conv2d`] by its input.
    ConvTranspose2d {
        /// Channels that come out.
        out: usize,
        /// Size of the kernel.
        kernel: [usize; 2],
        /// Step between two places of the kernel in the output.
        stride: [usize; 2],
        /// Rows and columns taken off the output, on each side.
        padding: [usize; 2],
        /// Rows and columns put on at the bottom and the right, to choose among the input sizes that a strided
        /// convolution maps to the same output size; smaller than `stride`.
        output_padding: [usize; 2],
        /// Whether a bias is added.
        bias: bool,
    },
    /// A function of each element.
    Activation(Activation),
    /// Any shape to `[features]`, row-major.
    Flatten,
    /// Any shape to this one with the same number of elements, row-major.
    Unflatten(Shape),
}

/// A function of each element. None has parameters that are trained.
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

/// A parameter that a layer asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// `weight` or `bias`.
    pub name: &'static str,
    /// The shape, in PyTorch's layout.
    pub shape: Shape,
    /// Initial values are uniform in `(-bound, bound)`.
    pub bound: f64,
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

    /// The name in a model file.
    pub fn name(&self) -> &'static str {
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
}

impl Layer {
    /// The name in a model file.
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Linear { .. } => "linear",
            Layer::Conv2d { .. } => "conv2d",
            Layer::ConvTranspose2d { .. } => "conv_transpose2d",
            Layer::Activation(activation) => activation.name(),
            Layer::Flatten => "flatten",
            Layer::Unflatten(_) => "unflatten",
        }
    }

    /// The shape of one sample that comes out where `input` goes in (no batch in either), or what disagrees and,
    /// after `"; "`, what would help.
    pub fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let output: Shape = match self {
            Layer::Linear { out, .. } => {
                if input.len() != 1 {
                    return Err(format!("expects [features], got {input}; put \"flatten\" before it"));
                }
                positive("out", &[*out])?;
                [*out].into()
            }
            Layer::Conv2d { out, kernel, stride, padding, .. } => {
                let size = image_size(input)?;
                positive("out", &[*out])?;
                positive("kernel", kernel)?;
                positive("stride", stride)?;
                let along = |axis: usize| {
                    conv_output(size[axis], kernel[axis], stride[axis], padding[axis]).ok_or_else(|| {
                        let help = "use a smaller kernel or more padding";
                        format!("kernel {kernel:?} does not fit into {size:?} with padding {padding:?}; {help}")
                    })
                };
                [*out, along(0)?, along(1)?].into()
            }
            Layer::ConvTranspose2d { out, kernel, stride, padding, output_padding, .. } => {
                let size = image_size(input)?;
                positive("out", &[*out])?;
                positive("kernel", kernel)?;
                positive("stride", stride)?;
                let along = |axis: usize| {
                    if output_padding[axis] >= stride[axis] {
                        return Err(format!(
                            "output_padding {output_padding:?} must be smaller than stride {stride:?}; \
                             use less output_padding"
                        ));
                    }
                    conv_transpose_output(size[axis], kernel[axis], stride[axis], padding[axis], output_padding[axis])
                        .ok_or_else(|| {
                            let help = "use less padding or a larger kernel";
                            format!("padding {padding:?} leaves nothing of the output for input {size:?}; {help}")
                        })
                };
                [*out, along(0)?, along(1)?].into()
            }
            Layer::Activation(activation) => {
                if let Activation::LeakyRelu { slope: value } | Activation::Elu { alpha: value } = activation
                    && !value.is_finite()
                {
                    return Err(format!("expects a finite number, got {value}; write 0.01, say"));
                }
                input.clone()
            }
            Layer::Flatten => {
                let count = elements(input).ok_or_else(|| too_large(input))?;
                [count].into()
            }
            Layer::Unflatten(shape) => {
                positive("each size", shape)?;
                if elements(shape) != elements(input) {
                    let help = match elements(input) {
                        Some(count) => format!("choose sizes whose product is {count}"),
                        None => "choose other sizes".to_owned(),
                    };
                    return Err(format!("cannot make {shape} of {input}: the number of elements differs; {help}"));
                }
                shape.clone()
            }
        };
        match elements(&output) {
            Some(count) if count <= MAX_ELEMENTS => Ok(output),
            _ => Err(too_large(&output)),
        }
    }

    /// The parameters for samples of shape `input`, weight before bias; none where
    /// [`output_shape`](Layer::output_shape) refuses `input`.
    pub fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        if self.output_shape(input).is_err() {
            return Vec::new();
        }
        let (weight, out, bias): (Shape, usize, bool) = match *self {
            Layer::Linear { out, bias } => ([out, input[0]].into(), out, bias),
            Layer::Conv2d { out, kernel: [r, s], bias, .. } => ([out, input[0], r, s].into(), out, bias),
            Layer::ConvTranspose2d { out, kernel: [r, s], bias, .. } => ([input[0], out, r, s].into(), out, bias),
            Layer::Activation(_) | Layer::Flatten | Layer::Unflatten(_) => return Vec::new(),
        };
        let fan_in: f64 = weight[1..].iter().map(|size| *size as f64).product();
        let bound = 1.0 / fan_in.sqrt();
        let mut parameters = vec![ParameterSpec { name: "weight", shape: weight, bound }];
        if bias {
            parameters.push(ParameterSpec { name: "bias", shape: [out].into(), bound });
        }
        parameters
    }

    /// Forward floating-point operations for one sample: two for each multiply-add, one for each element of an
    /// activation, none for biases and reshapes. Saturates, and is 0 where `input` does not fit.
    pub fn flops(&self, input: &Shape) -> u64 {
        let Ok(output) = self.output_shape(input) else { return 0 };
        let product = |sizes: &[usize]| sizes.iter().fold(1u64, |product, size| product.saturating_mul(*size as u64));
        match *self {
            Layer::Linear { out, .. } => product(&[2, input[0], out]),
            Layer::Conv2d { kernel: [r, s], .. } => product(&[2, input[0], r, s]).saturating_mul(product(&output)),
            // Here each input element meets each weight of its channel once.
            Layer::ConvTranspose2d { out, kernel: [r, s], .. } => {
                product(&[2, out, r, s]).saturating_mul(product(input))
            }
            Layer::Activation(_) => product(&output),
            Layer::Flatten | Layer::Unflatten(_) => 0,
        }
    }

    /// The keys of the layer's table in a model file, each with its value and whether that is the default.
    fn keys(&self) -> Vec<(&'static str, String, bool)> {
        let number = |key, value: &usize| (key, value.to_string(), false);
        let flag = |key, value: &bool| (key, value.to_string(), *value);
        let pair = |key, value: &[usize; 2], default: Option<usize>| {
            let [a, b] = *value;
            let text = if a == b { a.to_string() } else { format!("[{a}, {b}]") };
            (key, text, default.is_some_and(|default| *value == [default; 2]))
        };
        match self {
            Layer::Linear { out, bias } => vec![number("out", out), flag("bias", bias)],
            Layer::Conv2d { out, kernel, stride, padding, bias } => vec![
                number("out", out),
                pair("kernel", kernel, None),
                pair("stride", stride, Some(1)),
                pair("padding", padding, Some(0)),
                flag("bias", bias),
            ],
            Layer::ConvTranspose2d { out, kernel, stride, padding, output_padding, bias } => vec![
                number("out", out),
                pair("kernel", kernel, None),
                pair("stride", stride, Some(1)),
                pair("padding", padding, Some(0)),
                pair("output_padding", output_padding, Some(0)),
                flag("bias", bias),
            ],
            Layer::Activation(activation) => {
                let is_default = Activation::ALL.contains(activation);
                match activation {
                    Activation::LeakyRelu { slope } => vec![("slope", format!("{slope:?}"), is_default)],
                    Activation::Elu { alpha } => vec![("alpha", format!("{alpha:?}"), is_default)],
                    _ => Vec::new(),
                }
            }
            Layer::Flatten | Layer::Unflatten(_) => Vec::new(),
        }
    }
}

/// As a model file has it, at its shortest; with `{:#}`, every key is written out.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.name();
        let mut keys = self.keys();
        if !f.alternate() {
            keys.retain(|(_, _, is_default)| !is_default);
        }
        match (self, keys.as_slice()) {
            (Layer::Unflatten(shape), _) => write!(f, "{{ {name} = {shape} }}"),
            (Layer::Linear { .. }, [(_, out, _)]) => write!(f, "{{ {name} = {out} }}"),
            (_, []) => write!(f, "\"{name}\""),
            (_, keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value, _)| format!("{key} = {value}")).collect();
                write!(f, "{{ {name} = {{ {} }} }}", keys.join(", "))
            }
        }
    }
}

/// Height and width of `[channels, height, width]`.
fn image_size(input: &Shape) -> Result<[usize; 2], String> {
    match input[..] {
        [_, height, width] => Ok([height, width]),
        _ => {
            let shape = likely_image(elements(input).unwrap_or(0));
            Err(format!("expects [channels, height, width], got {input}; put {{ unflatten = {shape} }} before it"))
        }
    }
}

/// The image that so many features probably are: square, grey or coloured.
fn likely_image(count: usize) -> String {
    for channels in [1, 3] {
        let side = (count / channels).isqrt();
        if side > 1 && channels * side * side == count {
            return format!("[{channels}, {side}, {side}]");
        }
    }
    "[channels, height, width]".to_owned()
}

fn positive(what: &str, sizes: &[usize]) -> Result<(), String> {
    match sizes {
        _ if sizes.iter().all(|size| *size > 0) => Ok(()),
        [size] => Err(format!("{what} must be at least 1, got {size}; use a positive number")),
        _ => Err(format!("{what} must be at least 1, got {sizes:?}; use positive numbers")),
    }
}

fn too_large(shape: &Shape) -> String {
    format!("{shape} has more than {MAX_ELEMENTS} elements; use smaller sizes")
}
