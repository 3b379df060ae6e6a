//! The shapes and parameters of a valid model.

use crate::nn::{self, Parameter, Placed};
use crate::shape::Shape;

/// What [`ModelSpec::validate`](super::ModelSpec::validate) finds out about a usable model.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The encoder's layers with their shapes.
    pub encoder: Vec<Placed>,
    /// The layers from the encoder's output to what the latent needs: mean and logarithm of the variance of a gaussian, or the
    /// discriminator of an adversary.
    pub heads: Vec<Placed>,
    /// The decoder's layers with their shapes. The last output has as many elements as the input, though perhaps
    /// not its shape: `[784]` is taken for `[1, 28, 28]`.
    pub decoder: Vec<Placed>,
    /// The shape of one sample's latent code.
    pub latent: Shape,
    /// Parameters and state that belong to no layer: the latent's, then the loss's.
    pub own: Vec<Parameter>,
}

impl Resolved {
    /// Every layer, the encoder's first, each before those inside of it.
    pub fn layers(&self) -> impl Iterator<Item = &Placed> {
        let layers = nn::walk(&self.encoder).into_iter().chain(nn::walk(&self.heads));
        layers.chain(nn::walk(&self.decoder))
    }

    /// Every parameter and untrained state, in the order of the layers, weight before bias before state; then those that
    /// belong to no layer.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers().flat_map(|layer| &layer.parameters).chain(&self.own)
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().filter(|parameter| parameter.trained).map(|parameter| parameter.shape.elements()).sum()
    }
}
