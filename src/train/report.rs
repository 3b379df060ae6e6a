//! What a training reports to its caller, and how the caller can limit or stop it.

use super::warnings::Warning;
use std::collections::BTreeMap;

/// Callbacks through which a caller follows training, and can stop it. All methods do nothing by default.
///
/// ```
/// use pinhole::train::{EpochReport, Observer};
/// use pinhole::{Autoencoder, Device, data, model::ModelSpec};
///
/// /// Ends training when an epoch's loss is good enough.
/// struct Until(f64, bool);
///
/// impl Observer for Until {
///     fn epoch(&mut self, report: &EpochReport) {
///         self.1 = report.train_loss < self.0;
///     }
///
///     fn stop(&mut self) -> bool {
///         self.1
///     }
/// }
///
/// let mut spec = ModelSpec::resolve("dense")?;
/// spec.train.epochs = 50;
/// let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
/// let reports = autoencoder.fit(&data::digits(512, 1), None, &mut Until(0.6, false))?;
/// assert!(reports.len() < 50);
/// # Ok::<(), pinhole::Error>(())
/// ```
pub trait Observer {
    /// Receives a finished step's number, from 1 on, and its loss before its update. Called in the order of the steps;
    /// on a GPU, some time after the step has run, since nothing waits for it.
    fn step(&mut self, _step: u64, _loss: f64) {}
    /// Receives the results of an epoch, after validation.
    fn epoch(&mut self, _report: &EpochReport) {}
    /// Receives a warning, which does not stop training. Each warning is sent once: about the settings before the first
    /// step, about the result after the report of the last epoch.
    fn warning(&mut self, _warning: &Warning) {}
    /// Returns whether to stop after the steps already submitted. Called before each submission; true is final.
    /// [`Trainer::checkpoint`] then gives an ordinary checkpoint, from which [`Trainer::restore`] resumes to
    /// bit-identical results.
    ///
    /// [`Trainer::checkpoint`]: super::Trainer::checkpoint
    /// [`Trainer::restore`]: super::Trainer::restore
    fn stop(&mut self) -> bool {
        false
    }
}

impl Observer for () {}

/// An epoch's results.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochReport {
    /// The epoch's number, counted from 1.
    pub epoch: u64,
    /// The mean over the epoch's samples of the loss before each update.
    pub train_loss: f64,
    /// The loss on the validation set after the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// The mean squared error on the validation set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_mse: Option<f64>,
    /// The parts of the validation loss, if it has any: see [`Evaluation::parts`](super::Evaluation::parts).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub val_parts: BTreeMap<String, f64>,
    /// Number of updates skipped so far because a gradient was not finite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Seconds the epoch took, validation included.
    pub seconds: f64,
    /// The name of the device.
    pub device: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Settings of a trainer besides the spec.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Number of steps to stop after, even before the last epoch.
    pub steps: Option<u64>,
    /// Most bytes of data on the device at a time; by default, what the device can bind. Larger data is uploaded in
    /// chunks, one while the device trains on another.
    pub resident_bytes: Option<u64>,
    /// A fixed number of steps per submission; measured by default.
    pub steps_per_submission: Option<usize>,
}

/// How an epoch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum EpochEnd {
    /// The epoch is complete, or the limit of steps was reached within it.
    Epoch(EpochReport),
    /// The observer stopped the training.
    Stopped,
    /// No step was left to run.
    Finished,
}
