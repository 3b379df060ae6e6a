//! Layers, which a user lists in a model, and losses.
//!
//! A layer knows its shapes and the shapes and initial values of its parameters; it holds no values and names no
//! device. In files, a list of layers equals PyTorch's `nn.Sequential`: a parameter's name counts every entry of the
//! list, activations included, and layouts and default initialisation are PyTorch's.

mod context;
mod layer;
pub mod loss;
mod placement;

pub use crate::graph::MAX_ELEMENTS;
pub use context::Context;
pub use layer::{
    Activation, AdaptivePool, AdaptivePool1d, AdaptivePool2d, Attention, BatchNorm, Cell, Conv, Conv1d, Conv2d,
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, Custom, CustomLayer, Dropout, Embedding, GaussianNoise,
    GlobalPool, Glu, GroupNorm, Initial, InstanceNorm, Interpolation, Layer, LayerNorm, Linear, MaskSteps, Misfit,
    ParameterSpec, Patches, PixelShuffle, Pool, Pool1d, Pool2d, PoolKind, Positions, Recurrent, RepeatVector, Reshape,
    RmsNorm, Softmax, Structure, TiedLinear, UnitNorm, Unpatch, Upsample,
};
pub(crate) use layer::{Axes, fans, layer_schema};
pub(crate) use placement::{check_ties, with_forgotten_flatten};
pub use placement::{place, place_with, walk};

use crate::error::Error;
use crate::shape::Shape;
use std::collections::BTreeMap;

/// The largest number of layers of a model, with each repetition counted.
pub const MAX_LAYERS: usize = 10_000;

/// Named lists of layers, which other lists may use.
pub type Blocks = BTreeMap<String, Vec<Layer>>;

/// A layer at its position in a model, with its shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The list's name and the entry's index, such as `encoder.0`: the prefix of its parameters' names.
    pub name: String,
    /// The path of the layer's key in a model file, such as `encoder.0.conv2d`.
    pub key: String,
    /// The layer itself.
    pub layer: Layer,
    /// The shape of one input sample.
    pub input: Shape,
    /// The shape of one output sample.
    pub output: Shape,
    /// The layer's parameters, under their full names.
    pub parameters: Vec<Parameter>,
    /// Number of forward floating-point operations for one sample, without the layers inside.
    pub flops: u64,
    /// The placed lists of a residual connection (body, and shortcut where it has one), of a skip connection or of a
    /// teacher-forced decoder (body); none of other layers.
    pub inside: Vec<Vec<Placed>>,
}

/// A parameter of a placed layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The full name, such as `encoder.0.weight`, as in PyTorch's `state_dict`.
    pub name: String,
    /// The shape, in PyTorch's layout.
    pub shape: Shape,
    /// The initial values.
    pub initial: Initial,
    /// Whether the optimizer updates it. Other parameters are the state of their layer, such as running means.
    pub trained: bool,
}

/// The number of elements of a shape that has not been checked, or `None` where a `usize` cannot hold it;
/// [`Shape::elements`] would overflow.
pub(crate) fn elements(shape: &Shape) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// The error of a model with more than [`MAX_ELEMENTS`] parameters.
pub(crate) fn too_many_parameters(at: &str, what: &str) -> Error {
    Error::invalid(at, format!("{what} has more than {MAX_ELEMENTS} parameters"), "make it smaller")
}
