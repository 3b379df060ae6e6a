//! What every latent knows of itself, and what it needs of the model around it.

use super::super::loss::{Decoded, LossSpec};
use super::super::resolved::Resolved;
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Context, Initial, Parameter, Placed};
use crate::schema::Key;
use crate::shape::Shape;

/// The state that counts steps of training.
pub(super) const STEPS: &str = "latent.steps";

/// The loss of what the decoder makes of a code.
pub const RECONSTRUCTION: &str = "reconstruction";

/// The loss that training minimises for a batch, and its parts.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The whole loss, a scalar.
    pub loss: Value,
    /// The code without chance.
    pub code: Value,
    /// The code's reconstruction, where the loss is computed from it.
    pub decoded: Option<Decoded>,
    /// Parts of the loss that reports name, each a scalar.
    pub parts: Vec<(&'static str, Value)>,
}

/// The model around a latent, as the latent's nodes use it.
pub(crate) trait Model {
    /// The layers and shapes.
    fn resolved(&self) -> &Resolved;
    /// The shape of a batch of samples.
    fn input_shape(&self, batch: usize) -> Shape;
    /// Reconstructions of a batch of codes.
    fn decode(&self, graph: &mut Context, code: Value) -> Result<Decoded>;
    /// The training loss between a reconstruction and its original: a scalar.
    fn loss(&self, graph: &mut Context, decoded: Decoded, target: Value) -> Result<Value>;
    /// The negative logarithm of each sample's probability, `[n]`. Fails where the loss is no likelihood.
    fn likelihood(&self, graph: &mut Context, decoded: Decoded, target: Value) -> Result<Value>;
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

    /// The matrix of the decoder whose columns are kept at length 1; none unless given.
    fn unit_columns<'a>(&self, _decoder: &'a [Placed]) -> Option<&'a Parameter> {
        None
    }

    /// The code that an encoder's output stands for, without chance.
    fn code(&self, _model: &dyn Model, _graph: &mut Context, encoded: Value) -> Result<Value> {
        Ok(encoded)
    }

    /// The loss that training minimises, for an encoder's output and the samples `target`. Codes are drawn with `state`, that of
    /// the step.
    fn objective(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        _state: Value,
    ) -> Result<Objective> {
        let decoded = model.decode(graph, encoded)?;
        let loss = model.loss(graph, decoded, target)?;
        Ok(Objective { loss, code: encoded, decoded: Some(decoded), parts: vec![] })
    }
}

/// The latent whose codes are the encoder's output.
pub(super) struct Plain;

impl Latent for Plain {}

/// A number that no gradient changes.
pub(super) fn state(name: &str, shape: impl Into<Shape>, initial: Initial) -> Parameter {
    Parameter { name: name.to_owned(), shape: shape.into(), initial, trained: false }
}
