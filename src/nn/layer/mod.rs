//! The kinds of layers. Each kind's shapes, parameters, initialisation, cost, keys and nodes are in the file of its
//! family, as its implementation of [`Kind`]; here is the list of all kinds.
//!
//! A new kind takes an implementation of [`Kind`] and a row of `layers!`, which states what other parts of the engine
//! ask.

mod activation;
mod conv;
mod custom;
mod dense;
mod dropout;
mod file;
mod kind;
mod normalisation;
mod patches;
mod pool;
mod reshape;
mod sequence;
mod steps;
mod structure;

use std::fmt;

pub use activation::{Activation, Glu};
pub use conv::{Conv, Conv1d, Conv2d, ConvTranspose, ConvTranspose1d, ConvTranspose2d};
pub use custom::{Custom, CustomLayer};
pub use dense::{Linear, TiedLinear};
pub use dropout::{Dropout, GaussianNoise};
pub(crate) use file::layer_schema;
pub(crate) use kind::{Axes, Steps, fans};
pub use kind::{Initial, Misfit, ParameterSpec};
pub use normalisation::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RmsNorm, Softmax, UnitNorm};
pub use patches::{Patches, Unpatch};
pub use pool::{
    AdaptivePool, AdaptivePool1d, AdaptivePool2d, GlobalPool, Interpolation, PixelShuffle, Pool, Pool1d, Pool2d,
    PoolKind, Upsample,
};
pub use reshape::Reshape;
pub use sequence::{Attention, Cell, Embedding, Recurrent};
pub use steps::{MaskSteps, Positions, RepeatVector};
pub use structure::Structure;

pub(super) use self::kind::too_large;
use self::kind::{CAUSAL, Key, Kind, MIXED};
use super::{MAX_ELEMENTS, elements};
use crate::error::Result;
use crate::schema::short_form;
use crate::shape::Shape;

/// One row for each kind of layer: its documentation, its type, what it does to the [`Axes`] of a sample (with the
/// field that sets the output's size, and a method whose result multiplies that size), how it treats [`Steps`], and its
/// templates: one layer for every name in model files, with the defaults of optional keys and examples of mandatory
/// ones.
macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident: $axes:ident $(($out:ident $(* $times:ident)?))?, |$layer:pat_param| $steps:expr
        => $templates:expr;)*) => {
        /// One entry of an encoder or a decoder.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Layer {
            $($(#[$doc])* $name($name),)*
        }

        impl Layer {
            /// One layer for every name in model files, with the defaults of optional keys and examples of mandatory
            /// ones.
            pub fn templates() -> Vec<Layer> {
                let mut templates = Vec::new();
                $(templates.extend($templates.map(Layer::$name));)*
                templates
            }

            /// The rules of this kind of layer.
            pub(super) fn kind(&self) -> &dyn Kind {
                match self { $(Layer::$name(layer) => layer,)* }
            }

            /// The keys of the layer's table in a model file.
            pub(crate) fn keys(&mut self) -> Vec<Key<'_>> {
                match self { $(Layer::$name(layer) => layer.keys(),)* }
            }

            /// The lists of layers inside the layer.
            pub(crate) fn lists_mut(&mut self) -> Vec<&mut Vec<Layer>> {
                match self { $(Layer::$name(layer) => layer.lists_mut(),)* }
            }

            /// What the layer does to the axes of a sample.
            pub(crate) fn axes(&self) -> Axes {
                match self { $(Layer::$name(_) => Axes::$axes,)* }
            }

            /// How the layer treats the steps of a sequence.
            pub(crate) fn steps(&self) -> Steps {
                match self { $(Layer::$name($layer) => $steps,)* }
            }

            /// The setting of the output's features or channels, and the factor from the setting to their number.
            pub(crate) fn out_mut(&mut self) -> Option<(&mut usize, usize)> {
                match self { $(Layer::$name(layer) => layers!(@ layer $($out $($times)?)?),)* }
            }
        }
    };
    (@ $layer:ident) => {{
        let _ = $layer;
        None
    }};
    (@ $layer:ident $out:ident) => { Some((&mut $layer.$out, 1)) };
    (@ $layer:ident $out:ident $times:ident) => {{
        let times = $layer.$times();
        Some((&mut $layer.$out, times))
    }};
}

layers! {
    /// Linear layer with a bias.
    Linear: Features(out), |_| CAUSAL => [Linear::new(64)];
    /// Linear layer with the transposed weight of another.
    TiedLinear: Tied(out), |_| CAUSAL => [TiedLinear { to: "encoder.0".to_owned(), out: 784, bias: true }];
    /// Convolution of sequences.
    Conv1d: Channels(out), |_| MIXED => [Conv1d::new(16, [3])];
    /// Convolution of images.
    Conv2d: Channels(out), |_| MIXED => [Conv2d::new(16, [3; 2])];
    /// Transposed convolution of sequences.
    ConvTranspose1d: Channels, |_| MIXED => [ConvTranspose1d::new(16, [3])];
    /// Transposed convolution of images.
    ConvTranspose2d: Channels, |_| MIXED => [ConvTranspose2d::new(16, [3; 2])];
    /// Pooling of images.
    Pool2d: Pooled, |_| MIXED => PoolKind::ALL.map(|kind| Pool2d::new(kind, [2; 2]));
    /// Pooling of sequences.
    Pool1d: Pooled, |_| MIXED => PoolKind::ALL.map(|kind| Pool1d::new(kind, [2]));
    /// Adaptive pooling of images.
    AdaptivePool2d: Pooled, |_| MIXED => PoolKind::ALL.map(|kind| AdaptivePool2d { kind, size: [7; 2] });
    /// Adaptive pooling of sequences.
    AdaptivePool1d: Pooled, |_| MIXED => PoolKind::ALL.map(|kind| AdaptivePool1d { kind, size: [8] });
    /// Pooling of whole channels.
    GlobalPool: Pooled, |_| MIXED => PoolKind::ALL.map(|kind| GlobalPool { kind });
    /// Upsampling of images and sequences.
    Upsample: Pooled, |_| MIXED => Upsample::templates();
    /// Exchange of channels and resolution.
    PixelShuffle: Other, |_| MIXED => [PixelShuffle::Shuffle(2), PixelShuffle::Unshuffle(2)];
    /// Change of a sample's shape.
    Reshape: Moved, |_| MIXED => [Reshape::Flatten, Reshape::Unflatten([32, 7, 7].into())];
    /// A function of each element.
    Activation: Elementwise, |_| CAUSAL => Activation::ALL;
    /// Batch normalisation.
    BatchNorm: Same, |_| MIXED => [BatchNorm::default()];
    /// Layer normalisation.
    LayerNorm: Same, |layer| Steps { causal: layer.axes == 1, ..MIXED } => [LayerNorm::new(1)];
    /// Group normalisation.
    GroupNorm: Same, |_| MIXED => [GroupNorm::new(4)];
    /// Instance normalisation. The channels of `[steps, features]` are its steps.
    InstanceNorm: Same, |_| CAUSAL => [InstanceNorm::default()];
    /// Division by the root of the mean square.
    RmsNorm: Same, |layer| Steps { causal: layer.axes == 1, ..MIXED } => [RmsNorm::new(1)];
    /// Division by the Euclidean norm.
    UnitNorm: Same, |_| MIXED => [UnitNorm];
    /// Softmax and its logarithm.
    Softmax: Same, |_| MIXED => [false, true].map(|logarithm| Softmax { axis: 0, logarithm });
    /// Gated linear unit.
    Glu: Other, |_| MIXED => [Glu { axis: -1 }];
    /// Dropout of elements or channels.
    Dropout: Same, |layer| Steps { causal: !layer.spatial, ..MIXED }
        => [false, true].map(|spatial| Dropout { p: 0.5, spatial });
    /// Gaussian noise.
    GaussianNoise: Same, |_| CAUSAL => [GaussianNoise { deviation: 0.1 }];
    /// Embedding of categories.
    Embedding: Sequence, |_| MIXED => [Embedding { categories: 10, size: 8 }];
    /// Patch embedding of a picture.
    Patches: Sequence, |_| MIXED => [Patches { size: [7; 2], out: 64 }];
    /// Picture from its patches.
    Unpatch: Other, |_| MIXED => [Unpatch { size: [7; 2], shape: [1, 28, 28].into() }];
    /// Positional encoding.
    Positions: Sequence, |_| CAUSAL => [Positions::Learned, Positions::Sinusoidal];
    /// Repetition of a vector at every step of a sequence.
    RepeatVector: Sequence, |_| MIXED => [RepeatVector { steps: 28 }];
    /// Masking of steps.
    MaskSteps: Sequence, |_| MIXED => [MaskSteps { part: 0.75 }];
    /// Self-attention.
    Attention: Sequence, |layer| Steps { causal: layer.causal, lengths: true } => [Attention::new(4)];
    /// LSTM or GRU.
    Recurrent: Sequence(out * direction_count),
        |layer| Steps { causal: !layer.bidirectional && !layer.last, lengths: true }
        => [Cell::Lstm, Cell::Gru].map(|cell| Recurrent::new(cell, 64));
    /// Lists of layers.
    Structure: Lists, |layer| layer.steps() => Structure::templates();
    /// A layer that an application defines.
    Custom: Other, |_| MIXED => [Custom::template()];
}

impl Layer {
    /// The name in a model file.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The output shape of one sample of shape `input`, both without the batch. Fails where the layer does not take
    /// `input`.
    pub fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let output = self.kind().output_shape(input)?;
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
        self.kind().parameters(input)
    }

    /// Number of forward floating-point operations for one sample: two for each multiply-add, one for each element of
    /// an activation, none for biases and reshapes. Saturates, and is 0 where `input` does not fit.
    pub fn flops(&self, input: &Shape) -> u64 {
        self.output_shape(input).map_or(0, |output| self.kind().flops(input, &output))
    }
}

/// Formats the layer as in a model file, in its shortest form; with `{:#}`, every key is written out.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, full, mut layer) = (self.name(), f.alternate(), self.clone());
        let template = Layer::templates().into_iter().find(|template| template.name() == name);
        let mut template = template.unwrap_or_else(|| self.clone());
        let keys = layer.keys();
        // The table of a single mandatory key would hold nothing else, and no file writes it.
        let only = matches!(&keys[..], [only] if only.needed);
        let short = keys.first().map(|key| key.name).filter(|_| short_form(&keys) == 1 && (only || !full));
        let texts = keys.into_iter().zip(template.keys()).filter_map(|(key, default)| {
            let text = key.setting.text(full).unwrap_or_default();
            let is_default = !key.needed && Some(&text) == default.setting.text(full).as_ref();
            (full || !is_default).then_some((key.name, text))
        });
        match &texts.collect::<Vec<_>>()[..] {
            [] => write!(f, "\"{name}\""),
            [(key, value)] if short == Some(*key) => write!(f, "{{ {name} = {value} }}"),
            keys => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                write!(f, "{{ {name} = {{ {} }} }}", keys.join(", "))
            }
        }
    }
}
