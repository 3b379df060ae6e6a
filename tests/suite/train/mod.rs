//! Training: the loop, optimisers, averages, PyTorch's trajectories.

pub mod augmentation;
pub mod golden;
pub mod optimizers;
pub mod pca;
pub mod steps;
pub mod training;
pub mod warnings;
#[cfg(feature = "cli")]
pub mod weight_averages;
