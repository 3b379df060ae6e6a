//! Autoencoders: a model file becomes graphs of its encoder, its decoder and its loss.

mod autoencoder;
mod network;
pub mod preset;
pub mod spec;
pub mod weights;

pub use autoencoder::{Autoencoder, Evaluation};
pub use network::{Decoded, Network};
pub use spec::ModelSpec;
