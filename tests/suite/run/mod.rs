//! Runs on disk: resuming, kills, several programs at once, pretraining and classifiers.

pub mod classifier;
pub mod concurrency;
pub mod faults;
pub mod pretraining;
pub mod resume;
pub mod resume_data;
