//! Models: a model file is built into graphs of an encoder, a decoder and a loss; weights are saved and loaded.
//!
//! [data]: crate::data
//! [examples]: crate::guide::walkthroughs
//! [presets]: crate::model::preset
#![doc = include_str!("README.md")]

mod batch;
mod bounds;
mod columns;
pub mod config;
mod extensions;
mod file;
pub mod latent;
mod loss;
mod masking;
mod network;
mod objective;
mod penalty;
pub mod preset;
mod resolved;
pub mod weights;

pub use batch::{BatchLayout, BatchSource, Held, Sample, SideInputs};
pub(crate) use batch::{given_rows, row_shape};
pub use config::ModelSpec;
pub use extensions::Extensions;
pub(crate) use latent::across_columns;
pub use loss::Decoded;
pub(crate) use loss::LossScale;
pub(crate) use masking::masked;
pub use network::Network;
