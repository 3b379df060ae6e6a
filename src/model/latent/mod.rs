//! What lies between the encoder's output and the decoder, and what training asks of it: one file for each latent.
//!
//! A latent is added by a file with its settings and their [`Latent`], and a line of `latents!` below.

mod adversarial;
mod bits;
mod codebook;
mod gaussian;
mod top_k;
mod wasserstein;

use super::loss::{Decoded, LossSpec};
use super::resolved::Resolved;
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::{Initial, Parameter, Placed};
use crate::schema::{Key, choices, validate};
use crate::shape::Shape;

pub use super::loss::LOG_VARIANCES;
pub use adversarial::{ADVERSARIAL, Adversarial, DISCRIMINATOR};
pub use bits::Bits;
pub(crate) use codebook::CODEBOOK;
pub use codebook::{COMMITMENT, PERPLEXITY, VectorQuantised};
pub use gaussian::{DIVERGENCE, Gaussian};
pub use top_k::TopK;
pub(crate) use top_k::{across_columns, start_unit_columns};
pub use wasserstein::{DISCREPANCY, MmdKernel, Wasserstein};

/// The number of steps that have counted, which a model keeps with its weights.
const STEPS: &str = "latent.steps";

/// The loss of what the decoder makes of a code.
pub const RECONSTRUCTION: &str = "reconstruction";

/// What training makes small for a batch, and what it is made of.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The whole, a scalar.
    pub loss: Value,
    /// The code without chance.
    pub code: Value,
    /// Its reconstruction, where the loss is made of that.
    pub decoded: Option<Decoded>,
    /// Parts that are worth knowing by themselves, each a scalar.
    pub parts: Vec<(&'static str, Value)>,
}

/// The model around a latent, as the latent's nodes use it.
pub(crate) trait Model {
    /// The layers and shapes.
    fn resolved(&self) -> &Resolved;
    /// The shape of a batch of samples.
    fn input_shape(&self, batch: usize) -> Shape;
    /// Reconstructions of a batch of codes.
    fn decode(&self, graph: &mut Graph, code: Value) -> Result<Decoded>;
    /// The training loss between a reconstruction and its original: a scalar.
    fn loss(&self, graph: &mut Graph, decoded: Decoded, target: Value) -> Result<Value>;
    /// The negative logarithm of each sample's probability, `[n]`. Fails where the loss is no likelihood.
    fn likelihood(&self, graph: &mut Graph, decoded: Decoded, target: Value) -> Result<Value>;
}

/// What other parts of a model ask of a latent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Whether training and validation draw codes at random.
    pub drawn: bool,
    /// Whether codes are made to be distributed like a standard normal.
    pub prior: bool,
    /// Whether codes are vectors of a codebook or bits.
    pub discrete: bool,
    /// Whether codes are other numbers than the encoder's output, so that no penalty on that output speaks of codes.
    pub replaces_output: bool,
    /// Whether the loss depends on all numbers of a batch's codes, also on those of steps beyond a sequence's length.
    pub counts_all_steps: bool,
    /// The settings by which a loss of validation weighs what is not the reconstruction's.
    pub weights: &'static [&'static str],
    /// The state that follows the last weights, so that it does not fit a mean of weights.
    pub follows_weights: &'static [&'static str],
}

/// The rules of a latent; those of a plain one unless given.
pub(crate) trait Latent {
    /// The settings in a model file.
    fn keys(&mut self) -> Vec<Key<'_>> {
        Vec::new()
    }

    /// What other parts of a model ask of it.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Makes codes have this number of numbers, where the encoder's output does not decide it: whether that is so.
    fn resize(&mut self, _size: usize) -> bool {
        false
    }

    /// Fails where settings contradict each other.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The layers from the encoder's output of this shape to what the latent needs, and the shape of a code.
    fn place(&self, encoded: &Shape) -> Result<(Vec<Placed>, Shape)> {
        Ok((vec![], encoded.clone()))
    }

    /// Fails where such codes cannot be made of what the encoder leaves, or are of no use to the decoder.
    fn suits(&self, _encoder: &[Placed], _code: &Shape, _decoder: &[Placed]) -> Result<()> {
        Ok(())
    }

    /// Fails where the loss is none that the latent can be trained with.
    fn suits_loss(&self, _loss: &LossSpec) -> Result<()> {
        Ok(())
    }

    /// Parameters and state beside those of layers, for codes of this shape.
    fn parameters(&self, _encoder: &[Placed], _code: &Shape) -> Vec<Parameter> {
        Vec::new()
    }

    /// The code that an encoder's output stands for, without chance.
    fn code(&self, _model: &dyn Model, _graph: &mut Graph, encoded: Value) -> Result<Value> {
        Ok(encoded)
    }

    /// What training makes small, for an encoder's output and the samples `target`. Codes are drawn with this step state.
    fn objective(
        &self,
        model: &dyn Model,
        graph: &mut Graph,
        encoded: Value,
        target: Value,
        _state: Value,
    ) -> Result<Objective> {
        let decoded = model.decode(graph, encoded)?;
        let loss = model.loss(graph, decoded, target)?;
        Ok(Objective { loss, code: encoded, decoded: Some(decoded), parts: vec![] })
    }
}

struct Plain;

impl Latent for Plain {}

/// Defines the enum of latents with their names in model files and their rules.
macro_rules! latents {
    ($($(#[$doc:meta])* $variant:ident($kind:ident) = $name:literal,)*) => {
        /// What the encoder's output becomes on its way to the decoder, and what training asks of it.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub enum LatentSpec {
            /// The encoder's output is the code.
            #[default]
            Plain,
            $($(#[$doc])* $variant($kind),)*
        }

        choices! { "latent" LatentSpec { Plain = "plain", $($variant($kind::default()) = $name,)* } }

        impl LatentSpec {
            pub(crate) fn rules(&self) -> &dyn Latent {
                match self {
                    LatentSpec::Plain => &Plain,
                    $(LatentSpec::$variant(own) => own,)*
                }
            }

            fn rules_mut(&mut self) -> Option<&mut dyn Latent> {
                match self {
                    LatentSpec::Plain => None,
                    $(LatentSpec::$variant(own) => Some(own),)*
                }
            }
        }
    };
}

latents! {
    /// A gaussian for each sample, from which training draws codes: a variational autoencoder. Everything else takes the mean.
    Gaussian(Gaussian) = "gaussian",
    /// The encoder's output, made to be distributed like a standard normal over all samples: a Wasserstein autoencoder.
    Wasserstein(Wasserstein) = "wasserstein",
    /// The encoder's output, which a discriminator cannot tell from draws of a standard normal: an adversarial autoencoder.
    Adversarial(Adversarial) = "adversarial",
    /// The largest numbers of the encoder's output, the others being 0: a sparse autoencoder.
    TopK(TopK) = "top_k",
    /// Vectors of a codebook, the nearest to those of the encoder's output.
    VectorQuantised(VectorQuantised) = "vector_quantised",
    /// The encoder's output as bits.
    Binary(Bits) = "binary",
}

impl LatentSpec {
    /// Whether training and validation draw codes at random.
    pub fn is_drawn(&self) -> bool {
        self.rules().facts().drawn
    }

    /// Whether codes are made to be distributed like a standard normal, so that new samples can be decoded from draws of it.
    pub fn has_prior(&self) -> bool {
        self.rules().facts().prior
    }

    /// Whether codes are vectors of a codebook or bits, so that most other numbers are no codes.
    pub fn is_discrete(&self) -> bool {
        self.rules().facts().discrete
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        self.rules_mut().map_or_else(Vec::new, |own| own.keys())
    }

    /// Makes codes have this number of numbers, where the encoder's output does not decide it: whether that is so.
    pub(super) fn resize(&mut self, size: usize) -> bool {
        self.rules_mut().is_some_and(|own| own.resize(size))
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate(self, "latent")?;
        self.rules().validate()
    }
}

/// A number that no gradient changes.
fn state(name: &str, shape: impl Into<Shape>, initial: Initial) -> Parameter {
    Parameter { name: name.to_owned(), shape: shape.into(), initial, trained: false }
}
