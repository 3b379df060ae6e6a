//! Training in a run directory, which keeps the model, its checkpoints, metrics and pictures.

pub mod classifier;
mod directory;
mod fingerprint;
mod lock;
pub mod pretrain;
#[allow(clippy::module_inception)] // The room of runs and its main file.
mod run;
mod tensorboard;

pub use directory::{RunDirectory, RunSettings};
pub use fingerprint::Fingerprint;
pub(crate) use lock::{LOCK, Lock};
pub(crate) use run::{Job, expect_data, expect_model};
pub use run::{Run, RunEnd};
