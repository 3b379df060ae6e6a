//! The training objective, and other graphs that depend on a model's latent.

use super::latent::{Encoded, Gaussian, LatentSpec, Objective, VectorQuantised};
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::nn::Context;
use crate::shape::Shape;

impl Network {
    /// The training objective, for samples `x` as the encoder sees them and uncorrupted samples `target`. Codes are
    /// drawn with the step state `state`; outside training all parts have full weight, without free bits.
    pub fn objective(&self, context: &mut Context, x: Value, target: Value, state: Value) -> Result<Objective> {
        let batch = self.encoded(context, x, target)?;
        self.spec().latent.rules().objective(context, batch, state)
    }

    /// Standard normal noise for codes of a batch's samples, `[batch, samples, size]`.
    pub fn noise(&self, context: &mut Context, state: Value, batch: usize, samples: usize) -> Result<Value> {
        self.gaussian()?.noise(context, state, batch, samples)
    }

    /// Negative evidence lower bound of a variational autoencoder (Kingma and Welling, arXiv 1312.6114) for codes drawn
    /// with noise `[n, size]`: in nats per sample where the loss is a likelihood.
    pub fn evidence_bound(&self, context: &mut Context, x: Value, target: Value, noise: Value) -> Result<Objective> {
        let batch = self.encoded(context, x, target)?;
        Ok(self.gaussian()?.variational(context, batch, noise)?.0)
    }

    /// Importance-weighted bound on the negative log-likelihood of the samples, in nats per sample, with noise `[n,
    /// samples, size]` for `samples` codes each: Burda et al., arXiv 1509.00519. More codes tighten it.
    pub fn importance_weighted_bound(
        &self,
        context: &mut Context,
        x: Value,
        target: Value,
        noise: Value,
    ) -> Result<Value> {
        let batch = self.encoded(context, x, target)?;
        Ok(self.gaussian()?.bound(context, batch, noise)?.loss)
    }

    fn encoded(&self, context: &mut Context, x: Value, target: Value) -> Result<Encoded<'_>> {
        Ok(Encoded { model: self, output: self.encoder_output(context, x)?, target })
    }

    fn gaussian(&self) -> Result<Gaussian> {
        match self.spec().latent {
            LatentSpec::Gaussian(own) => Ok(own),
            _ => Err(self.other_latent("which gives no probabilities", "gaussian")),
        }
    }

    /// Codebook indices of a batch of samples, `[n, ..]`: shaped as the codes, with the axis of channels or features
    /// divided by the size of a vector. Fails where the latent has no codebook.
    pub fn indices(&self, context: &mut Context, x: Value) -> Result<Value> {
        let own = self.codebook()?;
        let shape = self.indices_shape()?;
        let shape: Shape = std::iter::once(context.shape(x)[0]).chain(shape.iter().copied()).collect();
        let encoded = self.encoder_output(context, x)?;
        let quantised = own.quantised(self.checked(), context, encoded)?;
        context.reshape(quantised.numbers, shape)
    }

    /// Shape of one sample's codebook indices. Fails where the latent has no codebook.
    pub fn indices_shape(&self) -> Result<Shape> {
        Ok(self.codebook()?.indices(self.checked()))
    }

    /// Settings of the latent's codebook. Fails where the latent has none.
    pub(crate) fn codebook(&self) -> Result<VectorQuantised> {
        match self.spec().latent {
            LatentSpec::VectorQuantised(own) => Ok(own),
            _ => Err(self.other_latent("whose codes have no indices", "vector_quantised")),
        }
    }

    fn other_latent(&self, lack: &str, needed: &str) -> Error {
        let problem = format!("it is {}, {lack}", self.spec().latent);
        Error::invalid("latent", problem, format!("use a model whose latent is {needed}"))
    }
}
