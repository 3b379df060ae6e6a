//! Layers and losses.

#[cfg(feature = "cli")]
pub mod batch_norm_of_one;
pub mod layers;
pub mod losses;
pub mod masks;
pub mod modules;
pub mod short_forms;
pub mod structures;
pub mod training_mode;
