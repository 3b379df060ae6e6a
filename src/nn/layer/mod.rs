//! The kinds of layers. Each kind's shapes, parameters, initialisation, cost, keys and nodes are in the file of its
//! family, as the rules of [`Kind`]; here is the list of all kinds and what they share.
//!
//! A kind is added in two places: its rules, and a line in each of [`Layer`], `kind!` and [`Layer::templates`].

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
pub(crate) use kind::fans;
pub use kind::{Initial, ParameterSpec};
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

use self::kind::{Key, Kind, too_large};
use super::{Blocks, MAX_ELEMENTS, Placed, elements};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::schema::short_form;
use crate::shape::Shape;

/// One entry of an encoder or a decoder.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A matrix product and a bias.
    Linear(Linear),
    /// A matrix product with another layer's weight, transposed.
    TiedLinear(TiedLinear),
    /// Convolution of sequences.
    Conv1d(Conv1d),
    /// Convolution of images.
    Conv2d(Conv2d),
    /// Transposed convolution of sequences.
    ConvTranspose1d(ConvTranspose1d),
    /// Transposed convolution of images.
    ConvTranspose2d(ConvTranspose2d),
    /// A function of each element.
    Activation(Activation),
    /// One number for each window of a sequence.
    Pool1d(Pool1d),
    /// One number for each window of an image.
    Pool2d(Pool2d),
    /// One number for each of so many windows of a sequence.
    AdaptivePool1d(AdaptivePool1d),
    /// One number for each of so many windows of an image.
    AdaptivePool2d(AdaptivePool2d),
    /// One number for each channel.
    GlobalPool(GlobalPool),
    /// Images and sequences made larger.
    Upsample(Upsample),
    /// Channels exchanged for resolution.
    PixelShuffle(PixelShuffle),
    /// The same elements in another shape.
    Reshape(Reshape),
    /// Normalisation over the batch.
    BatchNorm(BatchNorm),
    /// Normalisation over last axes.
    LayerNorm(LayerNorm),
    /// Normalisation over groups of channels.
    GroupNorm(GroupNorm),
    /// Normalisation of each channel on its own.
    InstanceNorm(InstanceNorm),
    /// Division by the root of the mean square.
    RmsNorm(RmsNorm),
    /// Samples of length 1.
    UnitNorm(UnitNorm),
    /// Numbers whose sum is 1.
    Softmax(Softmax),
    /// One half of the channels or features, gated by the other.
    Glu(Glu),
    /// Elements or channels that become zero at random.
    Dropout(Dropout),
    /// Noise on each element.
    GaussianNoise(GaussianNoise),
    /// A vector for each category.
    Embedding(Embedding),
    /// A picture as a sequence of its patches.
    Patches(Patches),
    /// A picture out of its patches.
    Unpatch(Unpatch),
    /// What tells the steps of a sequence apart.
    Positions(Positions),
    /// A vector at every step of a sequence.
    RepeatVector(RepeatVector),
    /// Steps that are hidden.
    MaskSteps(MaskSteps),
    /// Attention of a sequence to itself.
    Attention(Attention),
    /// LSTMs or GRUs.
    Recurrent(Recurrent),
    /// Lists of layers.
    Structure(Structure),
    /// An application's own.
    Custom(Custom),
}

/// The rules of a layer, borrowed as the layer is.
macro_rules! kind {
    ($layer:expr) => {
        match $layer {
            Layer::Linear(layer) => layer,
            Layer::TiedLinear(layer) => layer,
            Layer::Conv1d(layer) => layer,
            Layer::Conv2d(layer) => layer,
            Layer::ConvTranspose1d(layer) => layer,
            Layer::ConvTranspose2d(layer) => layer,
            Layer::Activation(layer) => layer,
            Layer::Pool1d(layer) => layer,
            Layer::Pool2d(layer) => layer,
            Layer::AdaptivePool1d(layer) => layer,
            Layer::AdaptivePool2d(layer) => layer,
            Layer::GlobalPool(layer) => layer,
            Layer::Upsample(layer) => layer,
            Layer::PixelShuffle(layer) => layer,
            Layer::Reshape(layer) => layer,
            Layer::BatchNorm(layer) => layer,
            Layer::LayerNorm(layer) => layer,
            Layer::GroupNorm(layer) => layer,
            Layer::InstanceNorm(layer) => layer,
            Layer::RmsNorm(layer) => layer,
            Layer::UnitNorm(layer) => layer,
            Layer::Softmax(layer) => layer,
            Layer::Glu(layer) => layer,
            Layer::Dropout(layer) => layer,
            Layer::GaussianNoise(layer) => layer,
            Layer::Embedding(layer) => layer,
            Layer::Patches(layer) => layer,
            Layer::Unpatch(layer) => layer,
            Layer::Positions(layer) => layer,
            Layer::RepeatVector(layer) => layer,
            Layer::MaskSteps(layer) => layer,
            Layer::Attention(layer) => layer,
            Layer::Recurrent(layer) => layer,
            Layer::Structure(layer) => layer,
            Layer::Custom(layer) => layer,
        }
    };
}

impl Layer {
    /// One layer of every name that a model file may have: with the defaults of what a file may leave out, and with
    /// examples of what it must give.
    pub fn templates() -> Vec<Layer> {
        let mut templates = vec![
            Layer::Linear(Linear::new(64)),
            Layer::TiedLinear(TiedLinear { to: "encoder.0".to_owned(), out: 784, bias: true }),
            Layer::Conv1d(Conv1d::new(16, [3])),
            Layer::Conv2d(Conv2d::new(16, [3; 2])),
            Layer::ConvTranspose1d(ConvTranspose1d::new(16, [3])),
            Layer::ConvTranspose2d(ConvTranspose2d::new(16, [3; 2])),
            Layer::Pool2d(Pool2d::new(PoolKind::Max, [2; 2])),
            Layer::Pool2d(Pool2d::new(PoolKind::Average, [2; 2])),
            Layer::Pool1d(Pool1d::new(PoolKind::Max, [2])),
            Layer::Pool1d(Pool1d::new(PoolKind::Average, [2])),
            Layer::AdaptivePool2d(AdaptivePool2d { kind: PoolKind::Max, size: [7; 2] }),
            Layer::AdaptivePool2d(AdaptivePool2d { kind: PoolKind::Average, size: [7; 2] }),
            Layer::AdaptivePool1d(AdaptivePool1d { kind: PoolKind::Max, size: [8] }),
            Layer::AdaptivePool1d(AdaptivePool1d { kind: PoolKind::Average, size: [8] }),
            Layer::GlobalPool(GlobalPool { kind: PoolKind::Max }),
            Layer::GlobalPool(GlobalPool { kind: PoolKind::Average }),
            Layer::Upsample(Upsample { interpolation: Interpolation::Nearest, scale: [2; 2] }),
            Layer::Upsample(Upsample { interpolation: Interpolation::Bilinear, scale: [2; 2] }),
            Layer::Upsample(Upsample { interpolation: Interpolation::Linear, scale: [1, 2] }),
            Layer::PixelShuffle(PixelShuffle::Shuffle(2)),
            Layer::PixelShuffle(PixelShuffle::Unshuffle(2)),
            Layer::Reshape(Reshape::Flatten),
            Layer::Reshape(Reshape::Unflatten([32, 7, 7].into())),
        ];
        templates.extend(Activation::ALL.map(Layer::Activation));
        templates.extend([
            Layer::BatchNorm(BatchNorm::new()),
            Layer::LayerNorm(LayerNorm::new(1)),
            Layer::GroupNorm(GroupNorm::new(4)),
            Layer::InstanceNorm(InstanceNorm::new()),
            Layer::RmsNorm(RmsNorm::new(1)),
            Layer::UnitNorm(UnitNorm),
            Layer::Softmax(Softmax { axis: 0, logarithm: false }),
            Layer::Softmax(Softmax { axis: 0, logarithm: true }),
            Layer::Glu(Glu { axis: -1 }),
            Layer::Dropout(Dropout { p: 0.5, spatial: false }),
            Layer::Dropout(Dropout { p: 0.5, spatial: true }),
            Layer::GaussianNoise(GaussianNoise { deviation: 0.1 }),
            Layer::Embedding(Embedding { categories: 10, size: 8 }),
            Layer::Patches(Patches { size: [7; 2], out: 64 }),
            Layer::Unpatch(Unpatch { size: [7; 2], shape: [1, 28, 28].into() }),
            Layer::Positions(Positions::Learned),
            Layer::Positions(Positions::Sinusoidal),
            Layer::RepeatVector(RepeatVector { steps: 28 }),
            Layer::MaskSteps(MaskSteps { part: 0.75 }),
            Layer::Attention(Attention::new(4)),
            Layer::Recurrent(Recurrent::new(Cell::Lstm, 64)),
            Layer::Recurrent(Recurrent::new(Cell::Gru, 64)),
        ]);
        templates.extend(Structure::templates().map(Layer::Structure));
        templates.push(Layer::Custom(Custom::template()));
        templates
    }

    fn kind(&self) -> &dyn Kind {
        kind!(self)
    }

    /// The keys of the layer's table in a model file.
    pub(crate) fn keys(&mut self) -> Vec<Key<'_>> {
        let kind: &mut dyn Kind = kind!(self);
        kind.keys()
    }

    /// The name in a model file.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The shape of one sample that comes out where `input` goes in (no batch in either), or what disagrees and,
    /// after `"; "`, what would help.
    pub fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
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

    /// What the layer keeps beside its parameters for samples of shape `input`: numbers that lie with them and that steps
    /// of training change, though not by a gradient.
    pub fn state(&self, input: &Shape) -> Vec<ParameterSpec> {
        if self.output_shape(input).is_err() {
            return Vec::new();
        }
        self.kind().state(input)
    }

    /// Forward floating-point operations for one sample: two for each multiply-add, one for each element of an
    /// activation, none for biases and reshapes. Saturates, and is 0 where `input` does not fit.
    pub fn flops(&self, input: &Shape) -> u64 {
        self.output_shape(input).map_or(0, |output| self.kind().flops(input, &output))
    }

    /// The layer's nodes on a batch, where it has been placed.
    pub(super) fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        self.kind().apply(placed, graph, x)
    }

    /// Each key's value as a model file has it, and whether a file may leave it out because it is the default.
    fn texts(&self, full: bool) -> Vec<(&'static str, String, bool)> {
        let mut layer = self.clone();
        let template = Layer::templates().into_iter().find(|template| template.name() == self.name());
        let mut template = template.unwrap_or_else(|| self.clone());
        let defaults = template.keys();
        let keys = layer.keys().into_iter().zip(defaults);
        keys.map(|(key, default)| {
            let text = key.setting.text(full).unwrap_or_default();
            let is_default = !key.needed && Some(&text) == default.setting.text(full).as_ref();
            (key.name, text, is_default)
        })
        .collect()
    }
}

/// As a model file has it, at its shortest; with `{:#}`, every key is written out.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.name();
        let mut keys = self.texts(f.alternate());
        let mut layer = self.clone();
        let own = layer.keys();
        let short = short_form(&own);
        // Its table would have nothing else, and no file writes it.
        let only = matches!(&own[..], [only] if only.needed);
        let first = own.first().map(|key| key.name);
        if !f.alternate() {
            keys.retain(|(_, _, is_default)| !is_default);
        }
        match keys.as_slice() {
            [] => write!(f, "\"{name}\""),
            [(key, value, _)] if short == 1 && Some(*key) == first && (only || !f.alternate()) => {
                write!(f, "{{ {name} = {value} }}")
            }
            keys => {
                let keys: Vec<String> = keys.iter().map(|(key, value, _)| format!("{key} = {value}")).collect();
                write!(f, "{{ {name} = {{ {} }} }}", keys.join(", "))
            }
        }
    }
}
