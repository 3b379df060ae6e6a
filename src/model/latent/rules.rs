//! Rules of a latent, and the latent's view of the model around it.

use super::super::loss::{Decoded, LossSpec};
use super::super::resolved::Resolved;
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Context, Initial, Parameter, Placed};
use crate::schema::Key;
use crate::shape::Shape;

/// State: the count of training steps.
pub(super) const STEPS: &str = "latent.steps";

/// Reconstruction loss of a code.
pub const RECONSTRUCTION: &str = "reconstruction";

/// Training objective of a batch, and its parts.
#[derive(Clone, Debug)]
pub struct Objective {
    /// Total loss, a scalar.
    pub loss: Value,
    /// Deterministic code.
    pub code: Value,
    /// Reconstruction of the code, where the loss is computed from it.
    pub decoded: Option<Decoded>,
    /// Named parts of the loss for reports, each a scalar.
    pub parts: Vec<(&'static str, Value)>,
}

/// The model around a latent, as the latent's nodes use it.
pub(crate) trait Model {
    /// The layers and shapes.
    fn resolved(&self) -> &Resolved;
    /// The shape of a batch of samples.
    fn input_shape(&self, batch: usize) -> Shape;
    /// Reconstructions of a batch of codes.
    fn decode(&self, context: &mut Context, code: Value) -> Result<Decoded>;
    /// Training loss between a reconstruction and its original: a scalar.
    fn loss(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value>;
    /// Negative log-likelihood of each sample, `[n]`. Fails where the loss is no likelihood.
    fn likelihood(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value>;
}

/// A batch between encoder and decoder.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a> {
    /// The model around the latent.
    pub model: &'a dyn Model,
    /// The encoder's output, `[n, ..]`.
    pub output: Value,
    /// The uncorrupted samples, `[n, ..input]`, with which the loss compares reconstructions.
    pub target: Value,
}

impl Encoded<'_> {
    /// Decodes codes, `[n, ..latent]`: an objective whose whole loss is the reconstruction's.
    pub(super) fn reconstruct(&self, context: &mut Context, code: Value) -> Result<Objective> {
        let decoded = self.model.decode(context, code)?;
        let loss = self.model.loss(context, decoded, self.target)?;
        Ok(Objective { loss, code, decoded: Some(decoded), parts: vec![] })
    }
}

/// Properties of a latent that other parts of a model query.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Whether training and validation draw codes at random.
    pub drawn: bool,
    /// Whether training matches codes to a standard normal prior.
    pub prior: bool,
    /// Whether codes are codebook vectors or bits.
    pub discrete: bool,
    /// Whether codes differ from the encoder's output, so that penalties on that output would not apply to codes.
    pub replaces_output: bool,
    /// Whether the loss depends on all elements of a batch's codes, including steps beyond a sequence's length.
    pub counts_all_steps: bool,
    /// Training steps in which weights of the loss rise; 0 for none.
    pub warmup: usize,
    /// Weight of a divergence in nats per sample, which is a sum over the code's elements; 0 without one.
    pub divergence: f64,
    /// Whether an adversary's loss is part of the loss, which may then rise in a sound training.
    pub adversarial: bool,
    /// Settings that weigh parts of the validation loss other than the reconstruction's.
    pub weights: &'static [&'static str],
    /// State that belongs to the last weights, and does not fit an average of weights.
    pub follows_weights: &'static [&'static str],
}

/// Rules of a latent; the defaults are those of a plain one.
pub(crate) trait Latent {
    /// Settings in a model file.
    fn keys(&mut self) -> Vec<Key<'_>> {
        Vec::new()
    }

    /// Properties that other parts of a model query.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Sets the size of codes, unless the encoder's output decides it; returns whether it was set.
    fn resize(&mut self, _size: usize) -> bool {
        false
    }

    /// Fails where settings contradict each other.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Builds the layers between the encoder's output of this shape and the latent, and infers the shape of a code.
    fn place(&self, encoded: &Shape) -> Result<(Vec<Placed>, Shape)> {
        Ok((vec![], encoded.clone()))
    }

    /// Fails where the encoder's output does not fit such codes, or the decoder cannot use them.
    fn suits(&self, _encoder: &[Placed], _code: &Shape, _decoder: &[Placed]) -> Result<()> {
        Ok(())
    }

    /// Fails where the latent cannot be trained with the loss.
    fn suits_loss(&self, _loss: &LossSpec) -> Result<()> {
        Ok(())
    }

    /// Parameters and state outside of layers, for codes of this shape.
    fn parameters(&self, _encoder: &[Placed], _code: &Shape) -> Vec<Parameter> {
        Vec::new()
    }

    /// The matrix of the decoder whose columns are kept at length 1; none unless given.
    fn unit_columns<'a>(&self, _decoder: &'a [Placed]) -> Option<&'a Parameter> {
        None
    }

    /// Deterministic code of an encoder's output.
    fn code(&self, _model: &dyn Model, _graph: &mut Context, encoded: Value) -> Result<Value> {
        Ok(encoded)
    }

    /// Training objective of a batch. Codes are drawn with the step state `state`.
    fn objective(&self, context: &mut Context, batch: Encoded, _state: Value) -> Result<Objective> {
        batch.reconstruct(context, batch.output)
    }
}

/// The plain latent: codes are the encoder's output.
pub(super) struct Plain;

impl Latent for Plain {}

/// An untrained parameter, which no gradient changes.
pub(super) fn state(name: &str, shape: impl Into<Shape>, initial: Initial) -> Parameter {
    Parameter { name: name.to_owned(), shape: shape.into(), initial, trained: false }
}
