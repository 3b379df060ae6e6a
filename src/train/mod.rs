//! Training: the data's way to the device, the loop over epochs, and what a run leaves behind.

mod checkpoint;
mod feed;
mod run;
mod trainer;

pub use checkpoint::{Checkpoint, Progress};
pub use run::{RunDirectory, Settings};
pub use trainer::{EpochReport, Observer, Options, Outcome, Trainer, evaluate, training_plan};
