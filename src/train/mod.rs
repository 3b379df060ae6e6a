//! Training: the data's way to the device, the loop over epochs, and what a run leaves behind.

mod augment;
mod checkpoint;
mod diagnosis;
mod evaluation;
mod feed;
mod fingerprint;
mod groups;
mod inspect;
mod job;
mod lock;
mod run;
mod tensorboard;
mod trainer;
mod warnings;

pub use checkpoint::{Checkpoint, Patience, Plateau, Progress};
pub use evaluation::{Evaluation, evaluate, jacobian_norm, negative_log_likelihood, psnr};
pub use fingerprint::Fingerprint;
pub use inspect::{Agreement, LaunchTimes, Profile};
pub(crate) use job::{Finished, Job, expect_data, expect_model};
pub(crate) use lock::{LOCK, Lock};
pub use run::{RunDirectory, Settings};
pub use trainer::{EpochReport, Observer, Options, Outcome, Trainer, default_samples, training_plan};
pub use warnings::Warning;
