//! The latent of binary autoencoders: codes are bits.

use super::rules::{Encoded, Facts, Latent, Model, Objective};
use crate::error::{Error, Result};
use crate::graph::{Binary, Unary, Value};
use crate::nn::{Activation, Context, Layer, Placed};
use crate::schema::{Key, keys};
use crate::shape::Shape;

/// The latent of a binary autoencoder: each element of a code is 0 or 1. Gradients are those of the logistic function
/// of the encoder's output (straight-through): Bengio et al., arXiv 1308.3432.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits {
    /// Whether training samples bits with the logistic function as probability; everything else rounds at a half.
    pub stochastic: bool,
}

impl Default for Bits {
    fn default() -> Bits {
        Bits { stochastic: true }
    }
}

impl Latent for Bits {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![self; stochastic: Flag.replaces_table(),]
    }

    fn facts(&self) -> Facts {
        Facts { discrete: true, ..Facts::default() }
    }

    fn suits(&self, encoder: &[Placed], _code: &Shape, _decoder: &[Placed]) -> Result<()> {
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

    fn code(&self, _model: &dyn Model, context: &mut Context, encoded: Value) -> Result<Value> {
        let scope = context.set_scope("latent");
        let code = context.unary(Unary::Step, encoded);
        context.set_scope(scope);
        code
    }

    fn objective(&self, context: &mut Context, batch: Encoded, _state: Value) -> Result<Objective> {
        let scope = context.set_scope("latent");
        let probability = context.unary(Unary::Sigmoid, batch.output)?;
        let bits = match context.training() {
            Some(state) if self.stochastic => {
                let shape = context.shape(batch.output).clone();
                let draws = context.random_uniform(state, shape)?;
                context.binary(Binary::Less, draws, probability)?
            }
            _ => context.unary(Unary::Step, batch.output)?,
        };
        let code = context.straight_through(bits, probability)?;
        context.set_scope(scope);
        batch.reconstruct(context, code)
    }
}
