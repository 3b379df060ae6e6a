//! Models: a model file becomes graphs of an encoder, a decoder and a loss, and weights go to files and come back.

mod adversarial;
mod extensions;
pub mod latent;
mod network;
mod penalty;
pub mod preset;
pub mod spec;
pub mod weights;

pub use extensions::Extensions;
pub use network::{Decoded, Network};
pub(crate) use penalty::output_of;
pub use spec::ModelSpec;
