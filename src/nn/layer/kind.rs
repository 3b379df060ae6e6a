//! The rules of a kind of layer, [`Kind`], and helpers for them. A kind's file imports all of this module, which
//! includes the types in the rules' signatures.

use super::Layer;
pub(super) use crate::error::Result;
pub(super) use crate::graph::{Graph, Value};
use crate::nn::MAX_ELEMENTS;
pub(super) use crate::nn::{Context, Placed, elements};
pub(super) use crate::schema::{Key, Setting};
pub(super) use crate::shape::Shape;

/// Why a layer does not take samples of a shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {help}")]
pub struct Misfit {
    /// What disagrees, with the shapes.
    pub problem: String,
    /// What to do instead.
    pub help: String,
}

impl Misfit {
    /// Creates a misfit of a problem, and what to do instead.
    pub fn new(problem: impl Into<String>, help: impl Into<String>) -> Misfit {
        Misfit { problem: problem.into(), help: help.into() }
    }
}

/// A [`Misfit`] of two formats: `misfit!("got {size}"; "use {less}")`.
macro_rules! misfit {
    ($problem:literal $(, $part:expr)*; $help:literal $(, $more:expr)*) => {
        $crate::nn::Misfit::new(format!($problem $(, $part)*), format!($help $(, $more)*))
    };
}
pub(super) use misfit;

/// [`Kind::name`] of a kind whose layers all have this name, or a name for each variant of the layer or of one of its
/// fields: `name!(cell: Cell::Lstm => "lstm", Cell::Gru => "gru")`.
macro_rules! name {
    ($name:literal) => { name!(_ => $name); };
    ($field:ident: $($variant:pat => $name:literal),*) => {
        fn name(&self) -> &'static str {
            match self.$field { $($variant => $name),* }
        }
    };
    ($($variant:pat => $name:literal),*) => {
        fn name(&self) -> &'static str {
            match self { $($variant => $name),* }
        }
    };
}
pub(super) use name;

/// [`Kind::keys`] of a kind each of whose keys has the name of the field that it sets: `keys! { needed out: Whole,
/// optional bias: Flag }` calls [`Key::needed`] and [`Key::optional`] with [`Setting::Whole`] and [`Setting::Flag`]. A
/// setting of two fields has the second behind a plus.
macro_rules! keys {
    ($($key:ident $field:ident: $setting:ident $(+ $second:ident)?),*) => {
        fn keys(&mut self) -> Vec<Key<'_>> {
            vec![$(Key::$key(stringify!($field), Setting::$setting(&mut self.$field $(, &mut self.$second)?))),*]
        }
    };
}
pub(super) use keys;

/// [`Kind::flops`] of a kind with a fixed number of operations for each element of its input, and another number where
/// it has a weight for each of them: `flops!(5, affine 7)`.
macro_rules! flops {
    ($plain:literal $(, affine $affine:literal)?) => {
        fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
            $(
                if self.affine {
                    return product(input).saturating_mul($affine);
                }
            )?
            product(input).saturating_mul($plain)
        }
    };
}
pub(super) use flops;

/// The rules of one kind of layer.
pub(crate) trait Kind {
    /// The layer's name in a model file.
    fn name(&self) -> &'static str;

    /// The keys of the layer's table in a model file, in the order in which they are written. Reading, writing and the
    /// help of messages follow from them.
    fn keys(&mut self) -> Vec<Key<'_>> {
        Vec::new()
    }

    /// The lists of layers inside of the layer: those of a [`Structure`](super::Structure).
    fn lists_mut(&mut self) -> Vec<&mut Vec<Layer>> {
        Vec::new()
    }

    /// As [`Layer::output_shape`](super::Layer::output_shape), which also limits the result to [`MAX_ELEMENTS`].
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit>;

    /// As [`Layer::parameters`](super::Layer::parameters), for an `input` that fits.
    fn parameters(&self, _input: &Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// The layer's buffers in PyTorch's sense, for samples of shape `input` that fit: numbers that are saved with the
    /// parameters and that training steps change, though not by a gradient.
    fn state(&self, _input: &Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// As [`Layer::flops`](super::Layer::flops), for an `input` that fits and its `output`.
    fn flops(&self, _input: &Shape, _output: &Shape) -> u64 {
        0
    }

    /// Builds the layer's nodes on a batch: `[n, ..input]` to `[n, ..output]`.
    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value>;
}

/// What a layer does to the axes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axes {
    /// Keeps any shape, and computes each element from that element alone.
    Elementwise,
    /// Keeps any shape that it takes.
    Same,
    /// Keeps the elements, in another shape.
    Moved,
    /// Keeps the channels, the first axis, and changes the sizes of the others.
    Pooled,
    /// Changes the number of features, the last axis, to one of its settings.
    Features,
    /// Changes the number of features, the last axis, to the number that goes into another layer.
    Tied,
    /// Takes `[channels, ..]` and changes the number of channels to one of its settings.
    Channels,
    /// Takes or makes a sequence `[steps, features]`.
    Sequence,
    /// Does what the layers in its lists do.
    Lists,
    /// Changes the axes by another rule.
    Other,
}

/// How a layer treats the steps of a sequence `[steps, ..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Whether the output for a step depends on that step and the steps before it alone.
    pub causal: bool,
    /// Whether the layer reads how many steps each sample has.
    pub lengths: bool,
}

/// The steps of a layer whose output for a step depends on no later step.
pub(super) const CAUSAL: Steps = Steps { causal: true, lengths: false };

/// The steps of a layer whose output for a step may depend on all steps.
pub(super) const MIXED: Steps = Steps { causal: false, lengths: false };

/// A parameter that a layer needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// The name within the layer, such as `weight` or `bias`.
    pub name: &'static str,
    /// The shape, in PyTorch's layout.
    pub shape: Shape,
    /// The initial values.
    pub initial: Initial,
}

/// The initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in `(-bound, bound)`.
    Uniform(f64),
    /// This number everywhere.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// A weight `[out, in, ..]`, which follows the model's [`Initializer`](crate::model::config::Initializer).
    Weight,
    /// The bias of a layer with such a weight.
    Bias {
        /// The fan-in of the weight.
        fan_in: f64,
    },
}

/// Fan-in and fan-out of a weight, as PyTorch counts them: the product of all sizes but the first, and of all but the
/// second. PyTorch's fan-in of a transposed convolution is so out-channels times kernel, not the number of inputs that
/// one output sums.
pub(crate) fn fans(weight: &Shape) -> [f64; 2] {
    let product = |sizes: &[usize]| sizes.iter().map(|size| *size as f64).product::<f64>();
    let kernel = product(&weight[weight.len().min(2)..]);
    let size = |axis: usize| weight.get(axis).map_or(1.0, |size| *size as f64);
    [size(1) * kernel, size(0) * kernel]
}

/// Weight and, where `bias` gives its size, bias of a layer that multiplies.
pub(super) fn weight_and_bias(weight: impl Into<Shape>, bias: Option<usize>) -> Vec<ParameterSpec> {
    let weight: Shape = weight.into();
    let [fan_in, _] = fans(&weight);
    let bias = bias.map(|out| ParameterSpec { name: "bias", shape: [out].into(), initial: Initial::Bias { fan_in } });
    std::iter::once(ParameterSpec { name: "weight", shape: weight, initial: Initial::Weight }).chain(bias).collect()
}

/// Adds the bias, one number for every channel, where the layer has one after its weight.
pub(super) fn add_bias(placed: &Placed, graph: &mut Graph, y: Value) -> Result<Value> {
    if placed.parameters.len() < 2 {
        return Ok(y);
    }
    let bias = placed.parameter(graph, 1)?;
    let bias = along_channels(placed, graph, bias)?;
    graph.add(y, bias)
}

/// Reshapes one number for each channel, `[channels]`, so that it broadcasts over a batch of the layer's outputs.
pub(super) fn along_channels(placed: &Placed, graph: &mut Graph, numbers: Value) -> Result<Value> {
    let mut shape = vec![1; placed.output.len()];
    shape[0] = placed.output[0];
    graph.reshape(numbers, shape)
}

/// The product of sizes, which saturates.
pub(super) fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1u64, |product, size| product.saturating_mul(*size as u64))
}

/// Fails where a size is 0.
pub(super) fn positive(what: &str, sizes: &[usize]) -> Result<(), Misfit> {
    match sizes {
        _ if sizes.iter().all(|size| *size > 0) => Ok(()),
        [size] => Err(misfit!("{what} must be at least 1, got {size}"; "use a positive number")),
        _ => Err(misfit!("{what} must be at least 1, got {sizes:?}"; "use positive numbers")),
    }
}

/// Fails where a probability or a weight of an average is not between 0 and 1.
pub(super) fn between_0_and_1(what: &str, value: f64) -> Result<(), Misfit> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(misfit!("{what} must be between 0 and 1, got {value:?}"; "use 0.1, say")),
    }
}

/// Fails where `count` channels or features cannot be cut into `parts` of one size.
pub(super) fn divisible(count: usize, what: &str, parts: usize, name: &str) -> Result<(), Misfit> {
    match parts > 0 && count.is_multiple_of(parts) {
        true => Ok(()),
        false => {
            Err(misfit!("{count} {what} cannot be cut into {parts} {name} of one size"; "use a divisor of {count}"))
        }
    }
}

/// Length of `[channels, length]`, or height and width of `[channels, height, width]`.
pub(super) fn spatial<const D: usize>(input: &Shape) -> Result<[usize; D], Misfit> {
    let sizes = input.get(1..).and_then(|sizes| <[usize; D]>::try_from(sizes).ok());
    sizes.ok_or_else(|| {
        let (expected, shape) = match D {
            1 => ("[channels, length]", "[channels, length]".to_owned()),
            _ => ("[channels, height, width]", likely_image(elements(input).unwrap_or(0))),
        };
        misfit!("expects {expected}, got {input}"; "put {{ unflatten = {shape} }} before it")
    })
}

/// The shape of a sample with this number of channels and the size that `size` gives for each of `D` axes.
pub(super) fn with_sizes<const D: usize>(
    channels: usize,
    size: impl Fn(usize) -> Result<usize, Misfit>,
) -> Result<Shape, Misfit> {
    std::iter::once(Ok(channels)).chain((0..D).map(size)).collect()
}

/// The misfit of a kernel that is larger than its padded input.
pub(super) fn large_kernel(kernel: &[usize], size: &[usize], padding: &[usize], dilation: &[usize]) -> Misfit {
    let gaps = and_dilation(dilation);
    let help = "use a smaller kernel or more padding";
    misfit!("kernel {kernel:?} does not fit into {size:?} with padding {padding:?}{gaps}"; "{help}")
}

/// The end of a sentence about a kernel: its dilation, where it has one.
pub(super) fn and_dilation(dilation: &[usize]) -> String {
    if dilation.iter().all(|step| *step == 1) { String::new() } else { format!(" and dilation {dilation:?}") }
}

/// The index of the axis of `input` that a model file's number means, where a negative one counts from the end. Fails
/// where `input` has no such axis.
pub(super) fn axis_of(axis: isize, input: &Shape) -> Result<usize, Misfit> {
    let rank = input.len();
    let index = if axis < 0 { rank.checked_add_signed(axis) } else { Some(axis.unsigned_abs()) };
    index.filter(|index| *index < rank).ok_or_else(|| {
        let last = rank.saturating_sub(1);
        misfit!("{input} has no axis {axis}"; "use 0 to {last}, or -1 to -{rank} from the end")
    })
}

/// Reshapes a sequence `[n, channels, length]`, or its kernel, to an image of height 1; an image stays as it is.
pub(super) fn as_image(graph: &mut Graph, x: Value) -> Result<Value> {
    let [n, channels, length] = graph.shape(x)[..] else { return Ok(x) };
    graph.reshape(x, [n, channels, 1, length])
}

/// The settings of an image's two axes, where a sequence has `height` for the first.
pub(super) fn pair<const D: usize>(sizes: [usize; D], height: usize) -> [usize; 2] {
    if D == 1 { [height, sizes[0]] } else { [sizes[0], sizes[1]] }
}

/// Steps and features of a sequence.
pub(super) fn steps_and_features(input: &Shape) -> Result<[usize; 2], Misfit> {
    let sizes = <[usize; 2]>::try_from(&input[..]);
    let help = "put { unflatten = [steps, features] } before it";
    sizes.map_err(|_| misfit!("expects [steps, features], got {input}"; "{help}"))
}

/// The shape of the image that `count` features probably are: square, grey or coloured.
fn likely_image(count: usize) -> String {
    for channels in [1, 3] {
        let side = (count / channels).isqrt();
        if side > 1 && channels * side * side == count {
            return format!("[{channels}, {side}, {side}]");
        }
    }
    "[channels, height, width]".to_owned()
}

/// The misfit of an output with more than [`MAX_ELEMENTS`] elements.
pub(in crate::nn) fn too_large(shape: &Shape) -> Misfit {
    misfit!("{shape} has more than {MAX_ELEMENTS} elements"; "use smaller sizes")
}
