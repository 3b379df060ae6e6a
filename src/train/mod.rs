//! Training: feeding data to the device, the loop over epochs, evaluation, checkpoints and diagnosis.

mod check;
mod checkpoint;
mod corrupt;
mod diagnosis;
mod evaluation;
mod feed;
mod parameter_groups;
mod profile;
mod report;
mod step;
mod trainer;
mod warnings;

pub use check::Agreement;
pub use checkpoint::{Checkpoint, Patience, Plateau, Progress};
pub use evaluation::{Evaluation, evaluate, jacobian_norm, negative_log_likelihood, psnr};
pub use profile::{LaunchTimes, Profile};
pub use report::{EpochEnd, EpochReport, Observer, Options};
pub use step::{default_samples, training_plan};
pub use trainer::Trainer;
pub(crate) use warnings::ACTIVE;
pub use warnings::Warning;
