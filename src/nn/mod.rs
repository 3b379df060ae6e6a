//! Layers: what a user lists in a model, before it becomes a graph.
//!
//! A layer knows its shapes, its parameters and how they start; it holds no values and names no device. A list of
//! layers is PyTorch's `nn.Sequential` in everything that shows in a file: every entry of the list counts in a
//! parameter's name, activations included, and layouts and default initialisation are PyTorch's.

mod build;
mod layer;
pub mod loss;

pub use layer::{
    Activation, Conv, Conv1d, Conv2d, ConvTranspose, ConvTranspose1d, ConvTranspose2d, GlobalPool, Initial,
    Interpolation, Layer, Linear, ParameterSpec, PixelShuffle, Pool2d, PoolKind, Reshape, Upsample,
};
pub(crate) use layer::{Setting, has_short_form};

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The most elements one sample of a layer's output, or all parameters of a model together, may have. Beyond it a
/// size is a slip of the pen, and below it byte counts cannot overflow 64 bits.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// A layer at its place in a list, where its shapes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The list's name and the entry's index, such as `encoder.0`.
    pub name: String,
    /// The layer itself.
    pub layer: Layer,
    /// The shape of one sample that goes in.
    pub input: Shape,
    /// The shape of one sample that comes out.
    pub output: Shape,
    /// The layer's parameters, under their full names.
    pub parameters: Vec<Parameter>,
    /// Forward floating-point operations for one sample.
    pub flops: u64,
}

/// A parameter of a placed layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The full name, such as `encoder.0.weight`, as in PyTorch's `state_dict`.
    pub name: String,
    /// The shape, in PyTorch's layout.
    pub shape: Shape,
    /// The values it starts with.
    pub initial: Initial,
}

/// Walks `input` through `layers`. An error names the layer that does not fit, as `encoder.0.conv2d`.
pub fn place(list: &str, layers: &[Layer], input: &Shape) -> Result<Vec<Placed>> {
    let mut shape = input.clone();
    let mut count = 0;
    let mut placed = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{list}.{index}");
        let at = || format!("{name}.{}", layer.name());
        let output = layer.output_shape(&shape).map_err(|message| {
            let (problem, help) = message.split_once("; ").unwrap_or((&message, "change this layer"));
            Error::invalid(at(), problem, help)
        })?;
        let specs = layer.parameters(&shape);
        for spec in &specs {
            count = elements(&spec.shape)
                .and_then(|size| size.checked_add(count))
                .filter(|sum| *sum <= MAX_ELEMENTS)
                .ok_or_else(|| too_many_parameters(&at(), &format!("with a {} of {} it", spec.name, spec.shape)))?;
        }
        let parameters = specs
            .into_iter()
            .map(|spec| Parameter { name: format!("{name}.{}", spec.name), shape: spec.shape, initial: spec.initial })
            .collect();
        let flops = layer.flops(&shape);
        let input = std::mem::replace(&mut shape, output.clone());
        placed.push(Placed { name, layer: layer.clone(), input, output, parameters, flops });
    }
    Ok(placed)
}

/// The number of elements, or `None` where it is more than a `usize` holds. [`Shape::elements`] trusts its sizes;
/// this is for shapes that nobody has looked at yet.
pub(crate) fn elements(shape: &Shape) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// The error of a model past [`MAX_ELEMENTS`].
pub(crate) fn too_many_parameters(at: &str, what: &str) -> Error {
    Error::invalid(at, format!("{what} has more than {MAX_ELEMENTS} parameters"), "make it smaller")
}
