//! Latents whose codes are chosen: the largest numbers, the nearest vectors, or bits.

use crate::error::{Error, Result};
use crate::nn::{Activation, Axes, Initial, Layer, Parameter, Placed};
use crate::schema::{Key, Setting};
use crate::shape::{Shape, channel_axis};

/// For how many samples each number of a code has not been among the largest, which a model keeps with its weights.
pub(crate) const IDLE: &str = "latent.idle";
/// From which number on a code keeps what it has, where the batch decided that in training.
pub(crate) const THRESHOLD: &str = "latent.threshold";
/// The vectors that codes are made of.
pub(crate) const CODEBOOK: &str = "latent.codebook";
/// How often each was chosen of late.
pub(crate) const COUNTS: &str = "latent.counts";
/// The sums of what it was chosen for.
pub(crate) const SUMS: &str = "latent.sums";

/// Beyond it a 32-bit float does not hold every whole number.
const MOST_COUNTED: usize = 1 << 24;

/// The latent of a top-k sparse autoencoder: of each code the largest numbers stay, the others become 0. Gao et al., arXiv
/// 2406.04093.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopK {
    /// How many stay.
    pub k: usize,
    /// Whether training chooses among the whole batch, as many times k as it has samples, and everything else keeps what is
    /// larger than the least number that training chose on average: Bussmann et al., arXiv 2412.06410.
    pub batch: bool,
    /// The weight of the auxiliary loss: the mean squared error by which the residual is reconstructed from dead numbers alone.
    pub auxiliary: f64,
    /// From how many of them at most, the largest of each sample.
    pub auxiliary_k: usize,
    /// A number is dead when it has not stayed for so many samples.
    pub dead_after: usize,
    /// Whether each number's column in the decoder's first layer is kept at length 1. Its gradient then loses what lies along
    /// the column.
    pub unit_norm: bool,
}

/// The latent of a vector-quantised autoencoder: van den Oord et al., arXiv 1711.00937. Each vector of the encoder's output
/// becomes the nearest of a codebook, whose vectors follow those they are chosen for by moving averages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorQuantised {
    /// Vectors of the codebook.
    pub codes: usize,
    /// Numbers of a vector; 0 for all channels, or features, of the encoder's output. These are cut into parts of this size, and
    /// there are such vectors at each place of a picture and each step of a sequence.
    pub size: usize,
    /// The weight of the commitment loss: the mean squared distance of the encoder's output from what was chosen for it.
    pub commitment: f64,
    /// The part of the moving averages that each step keeps.
    pub decay: f64,
    /// A vector that is chosen less often than this part of the mean is put where an output of the encoder is: Dhariwal et
    /// al., arXiv 2005.00341. 0 for never.
    pub restart: f64,
}

/// The latent of a binary autoencoder: each number of a code is 0 or 1. Gradients go through as if it were the logistic function
/// of the encoder's output: Bengio et al., arXiv 1308.3432.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits {
    /// Whether training draws a 1 with that function as its probability; everything else takes 1 where it is above a half.
    pub stochastic: bool,
}

impl Default for TopK {
    fn default() -> TopK {
        TopK { k: 32, batch: false, auxiliary: 1.0 / 32.0, auxiliary_k: 512, dead_after: 10_000, unit_norm: true }
    }
}

impl Default for VectorQuantised {
    fn default() -> VectorQuantised {
        VectorQuantised { codes: 512, size: 0, commitment: 0.25, decay: 0.99, restart: 0.1 }
    }
}

impl Default for Bits {
    fn default() -> Bits {
        Bits { stochastic: true }
    }
}

/// A number that no gradient changes.
fn state(name: &str, shape: impl Into<Shape>, initial: Initial) -> Parameter {
    Parameter { name: name.to_owned(), shape: shape.into(), initial, trained: false }
}

impl TopK {
    pub(super) fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::short("k", Setting::Count(&mut self.k)),
            Key::optional("batch", Setting::Flag(&mut self.batch)),
            Key::optional("auxiliary", Setting::NotNegative(&mut self.auxiliary)),
            Key::optional("auxiliary_k", Setting::Count(&mut self.auxiliary_k)),
            Key::optional("dead_after", Setting::Count(&mut self.dead_after)),
            Key::optional("unit_norm", Setting::Flag(&mut self.unit_norm)),
        ]
    }

    pub(super) fn check(&self, code: &Shape) -> Result<()> {
        if self.k > code.elements() {
            let problem = format!("a code has only {} numbers, of which {} cannot stay", code.elements(), self.k);
            return Err(Error::invalid("latent.top_k.k", problem, "use a smaller k or a wider code"));
        }
        if self.dead_after > MOST_COUNTED {
            let problem = format!("samples are counted up to {MOST_COUNTED}, not to {}", self.dead_after);
            return Err(Error::invalid("latent.top_k.dead_after", problem, "use 10000000, say"));
        }
        Ok(())
    }

    pub(super) fn parameters(&self, code: &Shape) -> Vec<Parameter> {
        let mut all = Vec::new();
        if self.auxiliary > 0.0 {
            all.push(state(IDLE, [code.elements()], Initial::Constant(0.0)));
        }
        if self.batch {
            all.push(state(THRESHOLD, [], Initial::Constant(0.0)));
            all.push(state(super::latent::STEPS, [], Initial::Constant(0.0)));
        }
        all
    }

    /// Fails where the decoder is none that the settings make sense with.
    pub(super) fn suits(&self, code: &Shape, decoder: &[Placed]) -> Result<()> {
        let mut rest = decoder.iter().skip_while(|layer| matches!(layer.layer, Layer::Reshape(_)));
        let first = rest.next().filter(|layer| matches!(layer.layer, Layer::Linear(_)));
        let linear = first.is_some();
        let refuse = |key: &str, problem: &str, help: &str| {
            Err(Error::invalid(format!("latent.top_k.{key}"), problem, help.to_owned()))
        };
        if self.unit_norm && !linear {
            let problem = "the decoder does not begin with a linear layer, whose columns could have length 1";
            return refuse("unit_norm", problem, "begin it with { linear = .. }, or write unit_norm = false");
        }
        if self.auxiliary > 0.0 && first.is_some_and(|first| first.input.elements() != code.elements()) {
            let problem =
                "the decoder takes a condition beside the code, so that residuals are no sum of what codes stand for";
            return refuse("auxiliary", problem, "write auxiliary = 0, or leave the condition out");
        }
        if self.auxiliary > 0.0 && !(linear && rest.all(|layer| matches!(layer.layer, Layer::Reshape(_)))) {
            let problem = "the decoder is more than one linear layer, so that residuals are no sum of its columns";
            return refuse("auxiliary", problem, "let it be { linear = .. } alone, or write auxiliary = 0");
        }
        Ok(())
    }
}

impl VectorQuantised {
    pub(super) fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::short("codes", Setting::Count(&mut self.codes)),
            Key::optional("size", Setting::Whole(&mut self.size)),
            Key::optional("commitment", Setting::NotNegative(&mut self.commitment)),
            Key::optional("decay", Setting::Fraction(&mut self.decay)),
            Key::optional("restart", Setting::Fraction(&mut self.restart)),
        ]
    }

    /// The axis of codes of this shape along which vectors are: that of channels, or of features where the encoder leaves steps.
    pub(crate) fn axis(encoder: &[Placed], code: &Shape) -> usize {
        if leaves_channels(encoder) { 0 } else { channel_axis(code.len()) }
    }

    /// Numbers of a vector of codes of this shape.
    pub(crate) fn width(&self, code: &Shape, axis: usize) -> usize {
        if self.size == 0 { code[axis] } else { self.size }
    }

    /// How far apart the numbers of a vector are in codes of this shape: channels of a place are a plane apart, features of a step
    /// stand side by side.
    pub(crate) fn places(code: &Shape, axis: usize) -> usize {
        code[axis + 1..].iter().product()
    }

    /// The shape of a code's indices: as its own, the axis of channels shorter by as much as vectors are long.
    pub(crate) fn indices(&self, code: &Shape, axis: usize) -> Shape {
        let mut sizes = code.to_vec();
        sizes[axis] /= self.width(code, axis);
        sizes.into()
    }

    pub(super) fn suits(&self, encoder: &[Placed], code: &Shape) -> Result<()> {
        let refuse = |key: &str, problem: String, help| {
            Err(Error::invalid(format!("latent.vector_quantised.{key}"), problem, help))
        };
        let axis = VectorQuantised::axis(encoder, code);
        let channels = code[axis];
        if !channels.is_multiple_of(self.width(code, axis)) {
            let problem =
                format!("the {channels} of the encoder's output {code} cannot be cut into vectors of {}", self.size);
            return refuse("size", problem, "use a divisor, or 0 for all");
        }
        if self.codes > 1 << 16 {
            return refuse("codes", format!("{} are more than 65536", self.codes), "use fewer, and more vectors");
        }
        Ok(())
    }

    pub(super) fn parameters(&self, encoder: &[Placed], code: &Shape) -> Vec<Parameter> {
        let size = self.width(code, VectorQuantised::axis(encoder, code));
        vec![
            state(CODEBOOK, [self.codes, size], Initial::Normal(1.0)),
            state(COUNTS, [self.codes], Initial::Constant(0.0)),
            state(SUMS, [self.codes, size], Initial::Constant(0.0)),
        ]
    }
}

/// Whether layers end in a convolution of sequences `[channels, length]`, or in another layer that only those go into, whatever
/// is done to its elements then.
fn leaves_channels(layers: &[Placed]) -> bool {
    // Behind a softmax, vectors are taken along the last axis.
    let same = |layer: &&Placed| match &layer.layer {
        Layer::Softmax(_) => false,
        layer => matches!(layer.axes(), Axes::Elementwise | Axes::Same),
    };
    layers.iter().rev().find(|layer| !same(layer)).is_some_and(|layer| match layer.layer.axes() {
        Axes::Channels | Axes::Pooled => layer.input.len() == 2,
        Axes::Lists => layer.inside.first().is_some_and(|body| leaves_channels(body)),
        Axes::Elementwise | Axes::Same | Axes::Moved | Axes::Features | Axes::Tied | Axes::Sequence | Axes::Other => {
            false
        }
    })
}

impl Bits {
    pub(super) fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::short("stochastic", Setting::Flag(&mut self.stochastic))]
    }

    /// Fails where the encoder leaves nothing below 0, where bits become 0.
    pub(super) fn suits(encoder: &[Placed]) -> Result<()> {
        let positive = |layer: &&Placed| {
            matches!(
                layer.layer,
                Layer::Activation(Activation::Sigmoid | Activation::Relu | Activation::Softplus) | Layer::Softmax(_)
            )
        };
        let mut values = encoder.iter().rev().skip_while(|layer| matches!(layer.layer, Layer::Reshape(_)));
        let Some(last) = values.next().filter(positive) else { return Ok(()) };
        let problem =
            format!("the encoder ends with {}, which leaves nothing below 0, where bits become 0", last.layer);
        Err(Error::invalid("latent.binary", problem, "end it with a linear or convolutional layer"))
    }
}
