//! What every kind of layer knows of itself, and the keys of its table in a model file.

use super::super::{Context, MAX_ELEMENTS, Placed, elements};
use super::Layer;
use crate::error::Result;
use crate::graph::{Graph, Value};
pub(crate) use crate::schema::{Key, Setting};
use crate::shape::Shape;

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
    /// A problem, and what to do instead.
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

/// The rules of one kind of layer.
pub(crate) trait Kind {
    /// The name in a model file.
    fn name(&self) -> &'static str;

    /// The keys of its table in a model file, in the order in which they are written. Reading, writing and the help
    /// of messages all come from here.
    fn keys(&mut self) -> Vec<Key<'_>> {
        Vec::new()
    }

    /// The lists of layers inside of this one: those of a [`Structure`](super::Structure).
    fn lists_mut(&mut self) -> Vec<&mut Vec<Layer>> {
        Vec::new()
    }

    /// As [`Layer::output_shape`](super::Layer::output_shape), which also holds the result to [`MAX_ELEMENTS`].
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit>;

    /// As [`Layer::parameters`](super::Layer::parameters), for an `input` that fits.
    fn parameters(&self, _input: &Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// As [`Layer::state`](super::Layer::state), for an `input` that fits.
    fn state(&self, _input: &Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// As [`Layer::flops`](super::Layer::flops), for an `input` that fits and the `output` that it gives.
    fn flops(&self, _input: &Shape, _output: &Shape) -> u64 {
        0
    }

    /// The nodes that compute it on a batch: `[n, ..input]` to `[n, ..output]`.
    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value>;
}

/// What a layer does to the axes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axes {
    /// Keeps the shape, whatever that is, and computes each element from that element alone.
    Elementwise,
    /// Keeps the shape, whatever that is.
    Same,
    /// Keeps the elements, in another shape.
    Moved,
    /// Keeps the channels, the first axis, and changes the sizes of the others.
    Pooled,
    /// Gives the last axis features of its own number.
    Features,
    /// Gives the last axis the features that go into another layer.
    Tied,
    /// Takes `[channels, ..]` and gives it channels of its own number.
    Channels,
    /// Takes or makes a sequence `[steps, features]`.
    Sequence,
    /// Does what the layers in its lists do.
    Lists,
    /// Changes them by a rule of its own.
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

/// A parameter that a layer asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// `weight` or `bias`.
    pub name: &'static str,
    /// The shape, in PyTorch's layout.
    pub shape: Shape,
    /// The values it starts with.
    pub initial: Initial,
}

/// The values a parameter starts with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in `(-bound, bound)`.
    Uniform(f64),
    /// This number everywhere.
    Constant(f64),
    /// Normal around 0 with this deviation.
    Normal(f64),
    /// A weight that multiplies, `[out, in, ..]`: as the model's [`Initializer`](crate::model::config::Initializer) says.
    Weight,
    /// What is added behind such a weight.
    Bias {
        /// How many numbers the weight joins in one.
        fan_in: f64,
    },
}

/// How many numbers a weight joins in one, and the other way, as PyTorch counts them: the product of its sizes after the first,
/// also for a transposed convolution, where that is out-channels times kernel and not the inputs that one output sums; and
/// the product of all but the second.
pub(crate) fn fans(weight: &Shape) -> [f64; 2] {
    let product = |sizes: &[usize]| sizes.iter().map(|size| *size as f64).product::<f64>();
    let kernel = product(&weight[weight.len().min(2)..]);
    let size = |axis: usize| weight.get(axis).map_or(1.0, |size| *size as f64);
    [size(1) * kernel, size(0) * kernel]
}

/// Weight and bias of a layer that multiplies.
pub(super) fn weight_and_bias(weight: impl Into<Shape>, bias: Option<usize>) -> Vec<ParameterSpec> {
    let weight: Shape = weight.into();
    let [fan_in, _] = fans(&weight);
    let bias = bias.map(|out| ParameterSpec { name: "bias", shape: [out].into(), initial: Initial::Bias { fan_in } });
    std::iter::once(ParameterSpec { name: "weight", shape: weight, initial: Initial::Weight }).chain(bias).collect()
}

/// Adds the bias, one number for every channel or feature, where the layer has one after its weight.
pub(super) fn add_bias(placed: &Placed, graph: &mut Graph, y: Value) -> Result<Value> {
    if placed.parameters.len() < 2 {
        return Ok(y);
    }
    let bias = placed.parameter(graph, 1)?;
    let mut shape = vec![1; placed.output.len()];
    shape[0] = placed.output[0];
    let bias = graph.reshape(bias, shape)?;
    graph.add(y, bias)
}

/// The product, which stops at the largest number.
pub(super) fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1u64, |product, size| product.saturating_mul(*size as u64))
}

pub(super) fn positive(what: &str, sizes: &[usize]) -> Result<(), Misfit> {
    match sizes {
        _ if sizes.iter().all(|size| *size > 0) => Ok(()),
        [size] => Err(misfit!("{what} must be at least 1, got {size}"; "use a positive number")),
        _ => Err(misfit!("{what} must be at least 1, got {sizes:?}"; "use positive numbers")),
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

/// Which of a sample's axes a model file's number means, where a negative one counts from behind the last; none where
/// there is no such axis.
pub(super) fn axis_of(axis: isize, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { rank.checked_add_signed(axis)? } else { axis.unsigned_abs() };
    (axis < rank).then_some(axis)
}

/// The help for an axis that a sample does not have.
pub(super) fn no_axis(axis: isize, input: &Shape) -> Misfit {
    let last = input.len().saturating_sub(1);
    misfit!("{input} has no axis {axis}"; "use 0 to {last}, or -1 to -{} from the end", input.len())
}

/// A sequence `[n, channels, length]`, or its kernel, as an image of height 1; an image as it is.
pub(super) fn as_image(graph: &mut Graph, x: Value) -> Result<Value> {
    let [n, channels, length] = graph.shape(x)[..] else { return Ok(x) };
    graph.reshape(x, [n, channels, 1, length])
}

/// The settings of an image's axes: those of a sequence with `height` for the first, or both of an image.
pub(super) fn pair<const D: usize>(sizes: [usize; D], height: usize) -> [usize; 2] {
    if D == 1 { [height, sizes[0]] } else { [sizes[0], sizes[1]] }
}

/// Steps and features of a sequence.
pub(super) fn steps_and_features(input: &Shape) -> Result<[usize; 2], Misfit> {
    match input[..] {
        [steps, features] => Ok([steps, features]),
        _ => {
            Err(misfit!("expects [steps, features], got {input}"; "put {{ unflatten = [steps, features] }} before it"))
        }
    }
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

pub(in super::super) fn too_large(shape: &Shape) -> Misfit {
    misfit!("{shape} has more than {MAX_ELEMENTS} elements"; "use smaller sizes")
}
