//! Models: a model file becomes graphs of an encoder, a decoder and a loss, and weights go to files and come back.
//!
//! [data]: crate::data
//! [examples]: crate::guide::walkthroughs
//! [presets]: crate::model::preset
#![doc = include_str!("README.md")]

mod adversarial;
mod batch;
mod bounds;
mod chosen;
mod columns;
pub mod config;
mod extensions;
pub mod latent;
mod network;
mod penalty;
pub mod preset;
pub mod weights;

pub use batch::{BatchLayout, BatchSource, Held, Sample, SideInputs};
pub(crate) use batch::{given_rows, masked, row_shape};
pub(crate) use chosen::across_columns;
pub use config::ModelSpec;
pub use extensions::Extensions;
pub use network::{Decoded, Network};
