//! Training: the data's way to the device, the loop over epochs, and what a run leaves behind.

mod checkpoint;
mod corrupt;
mod diagnosis;
mod evaluation;
mod feed;
mod inspect;
mod parameter_groups;
mod trainer;
mod warnings;

pub use checkpoint::{Checkpoint, Patience, Plateau, Progress};
pub use evaluation::{Evaluation, evaluate, jacobian_norm, negative_log_likelihood, psnr};
pub use inspect::{Agreement, LaunchTimes, Profile};
pub use trainer::{EpochEnd, EpochReport, Observer, Options, Trainer, default_samples, training_plan};
pub use warnings::Warning;
