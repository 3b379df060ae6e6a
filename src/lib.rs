//! Pinhole
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod model;
pub mod nn;
pub mod plan;
pub mod rng;
pub mod shape;
pub mod tensor;
pub mod train;
pub use device::{Device, Session};
pub use error::{Error, Result};
pub use model::Autoencoder;
