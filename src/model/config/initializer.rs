//! Initialisation of weights: the file's `initializer`.

use crate::nn::{Initial, fans};
use crate::schema::names;
use crate::shape::Shape;

/// Initialisation of linear and convolutional layers. Other parameters do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initializer {
    /// PyTorch's default: weights and biases uniform within one over the root of a weight's fan-in. PyTorch spells the
    /// weight's rule `kaiming_uniform_(a = sqrt(5))`, whose gain of `sqrt(2 / (1 + 5))` times `sqrt(3)` is 1.
    #[default]
    PyTorch,
    /// Uniform within the root of six over the sum of fan-in and fan-out, biases 0: Glorot and Bengio, AISTATS 2010.
    /// Keras's default.
    Glorot,
    /// Uniform within the root of six over fan-in, biases 0: He et al., arXiv 1502.01852.
    He,
}

impl Initializer {
    /// Initial values of a parameter of this shape.
    pub fn resolve(self, initial: Initial, shape: &Shape) -> Initial {
        let [fan_in, fan_out] = fans(shape);
        match (initial, self) {
            (Initial::Weight, Initializer::PyTorch) => Initial::Uniform(1.0 / fan_in.sqrt()),
            (Initial::Weight, Initializer::Glorot) => Initial::Uniform((6.0 / (fan_in + fan_out)).sqrt()),
            (Initial::Weight, Initializer::He) => Initial::Uniform((6.0 / fan_in).sqrt()),
            (Initial::Bias { fan_in }, Initializer::PyTorch) => Initial::Uniform(1.0 / fan_in.sqrt()),
            (Initial::Bias { .. }, Initializer::Glorot | Initializer::He) => Initial::Constant(0.0),
            (own, _) => own,
        }
    }
}

names! { "initializer" Initializer { PyTorch = "pytorch", Glorot = "glorot", He = "he", } }
