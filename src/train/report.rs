//! What a training reports to its caller, and what the caller may ask of it.

use super::warnings::Warning;
use std::collections::BTreeMap;

/// What a caller may want to know while training goes on, and its way to end it. All methods do nothing by default.
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
    /// A step has finished: its number from 1 on, and its loss before its update. Called in the order of the steps, though
    /// on a GPU some time after a step has run, since nothing waits for it.
    fn step(&mut self, _step: u64, _loss: f64) {}
    /// An epoch has ended and been validated: its results.
    fn epoch(&mut self, _report: &EpochReport) {}
    /// Something goes wrong, though training goes on. What the settings say comes before the first step, what the result
    /// says behind the report of the last epoch, and each of them once.
    fn warning(&mut self, _warning: &Warning) {}
    /// Whether training should end after the steps that are under way. Asked before steps are begun, and taken back by
    /// nothing: what [`Trainer::checkpoint`] then gives is a run like any other, which [`Trainer::restore`] goes on with to
    /// the same bits.
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
    /// Counted from 1.
    pub epoch: u64,
    /// The mean over the epoch's samples of the loss before each update.
    pub train_loss: f64,
    /// The loss on the validation set after the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// The mean squared error there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_mse: Option<f64>,
    /// What the loss there is made of, where it has parts: see [`Evaluation::parts`](super::Evaluation::parts).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub val_parts: BTreeMap<String, f64>,
    /// Updates left out so far, since their gradients were not all finite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Seconds the epoch took, validation included.
    pub seconds: f64,
    /// The device.
    pub device: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How a trainer departs from the spec.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End after this many steps, whatever the epochs.
    pub steps: Option<u64>,
    /// Bytes of data kept on the device at a time; what the device can bind where not given. More go there in chunks,
    /// one while the device trains on another.
    pub resident_bytes: Option<u64>,
    /// Fix the steps of a submission instead of measuring.
    pub steps_per_submission: Option<usize>,
}

/// How an epoch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum EpochEnd {
    /// It is complete, or the last step that was asked for fell into it.
    Epoch(EpochReport),
    /// The observer ended it.
    Stopped,
    /// There was nothing left to do.
    Finished,
}
