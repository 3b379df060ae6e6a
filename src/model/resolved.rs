//! The shapes and parameters of a valid model.

use crate::nn::{self, Parameter, Placed};
use crate::shape::Shape;

/// Shapes and parameters of a valid model, as [`ModelSpec::validate`](super::ModelSpec::validate) infers them.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The encoder's layers with their shapes.
    pub encoder: Vec<Placed>,
    /// Layers between the encoder's output and the latent: mean and log-variance of a gaussian, or the discriminator of
    /// an adversary.
    pub heads: Vec<Placed>,
    /// The decoder's layers with their shapes. The last output has as many elements as the input, though possibly
    /// another shape: `[784]` is accepted for `[1, 28, 28]`.
    pub decoder: Vec<Placed>,
    /// The shape of one sample's latent code.
    pub latent: Shape,
    /// Parameters and state outside of layers: the latent's, then the loss's.
    pub own: Vec<Parameter>,
}

impl Resolved {
    /// All layers, the encoder's first, each before its inner layers.
    pub fn layers(&self) -> impl Iterator<Item = &Placed> {
        let layers = nn::walk(&self.encoder).into_iter().chain(nn::walk(&self.heads));
        layers.chain(nn::walk(&self.decoder))
    }

    /// All parameters and untrained state, in the order of the layers, weight before bias before state; then those
    /// outside of layers.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers().flat_map(|layer| &layer.parameters).chain(&self.own)
    }

    /// Number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters().filter(|parameter| parameter.trained).map(|parameter| parameter.shape.elements()).sum()
    }
}
