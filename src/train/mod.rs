//! Training: the data's way to the device, the loop over epochs, and what a run leaves behind.

mod augment;
mod checkpoint;
mod evaluation;
mod feed;
mod inspect;
mod run;
mod tensorboard;
mod trainer;

pub use checkpoint::{Checkpoint, Progress};
pub use evaluation::{Evaluation, evaluate};
pub use inspect::{Agreement, LaunchTimes, Profile};
pub use run::{RunDirectory, Settings};
pub use trainer::{EpochReport, Observer, Options, Outcome, Trainer, training_plan};
