//! Checkpoints: weights, moments and progress in one file, so that a run is never half saved.

use crate::error::{Error, Result};
use crate::model::Network;
use crate::model::weights::{self, Section};
use crate::plan::{LossScale, ParameterLayout};
use crate::tensor::Values;
use std::path::Path;

/// Progress of training, in epochs and steps of the current epoch.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Number of complete epochs.
    pub epoch: u64,
    /// Number of steps done in the current epoch.
    pub position: usize,
    /// Number of steps in the current epoch; none if unknown, as in files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Number of steps done since the beginning.
    pub step: u64,
    /// Number of updates before the current epoch; none in files of older versions, whose epochs were equally long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<u64>,
    /// Number of this epoch's steps with a known loss: less than `position` while the device works.
    pub reported: u64,
    /// The sum of this epoch's known losses, each weighted by its number of samples.
    pub loss_sum: f64,
    /// The number of samples in `loss_sum`.
    pub loss_samples: u64,
    /// Seconds spent in this epoch.
    pub seconds: f64,
    /// Number of updates skipped since the beginning because a gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
    /// The loss scale of 16-bit training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// The state of a plateau schedule.
    #[serde(default)]
    pub plateau: Plateau,
    /// The state of early stopping.
    #[serde(default)]
    pub patience: Patience,
    /// The mean loss of the first epoch; none before that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_loss: Option<f64>,
}

/// The state of a plateau schedule, which lowers the learning rate when the loss stops falling.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plateau {
    /// The best loss so far.
    pub best: Option<f64>,
    /// Epochs since the best loss, or since the last reduction of the learning rate.
    pub waited: u64,
    /// Number of reductions of the learning rate.
    pub reductions: u32,
}

/// The state of early stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Patience {
    /// The best loss so far.
    pub best: Option<f64>,
    /// Epochs since the best loss.
    pub waited: u64,
    /// Whether training has ended.
    pub ended: bool,
}

/// The complete state of a training, from which it can be resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The parameters, in the device's precision.
    pub parameters: Values,
    /// The optimiser's moments and the accumulated gradients, each laid out like `parameters`.
    pub moments: Vec<Values>,
    /// The parameters' average, where there is one.
    pub average: Option<Values>,
    /// The best parameters so far, if early stopping is on.
    pub best: Option<Values>,
    /// Progress of the training.
    pub progress: Progress,
}

impl Progress {
    /// Updates of the parameters before the current epoch, where `accumulate` batches make one update.
    pub(super) fn updates_before(&self, accumulate: usize) -> u64 {
        let all_alike = || {
            let steps = (self.step - self.position as u64).checked_div(self.epoch).unwrap_or(0);
            self.epoch * steps.div_ceil(accumulate as u64)
        };
        self.updates.unwrap_or_else(all_alike)
    }

    /// Updates of the parameters after the current epoch, if that has `steps` steps.
    pub(super) fn updates_after(&self, steps: usize, accumulate: usize) -> u64 {
        self.updates_before(accumulate) + steps.div_ceil(accumulate) as u64
    }

    /// The beginning of an epoch of `steps` steps.
    pub(super) fn begin(steps: usize) -> Progress {
        Progress { steps: Some(steps), ..Progress::default() }
    }

    /// Counts a step's loss. Returns the step's number, from 1 on.
    pub(super) fn reported(&mut self, samples: usize, loss: f64) -> u64 {
        self.reported += 1;
        // Steps that are skipped must not count in the epoch's mean either.
        if loss.is_finite() {
            self.loss_sum += loss * samples as f64;
            self.loss_samples += samples as u64;
        }
        self.step - self.position as u64 + self.reported
    }
}

/// The tensor name prefixes of the average and of the best parameters.
const AVERAGE: &str = "optimizer.average.";
const BEST: &str = "optimizer.best.";

/// The tensor name prefix of each moment.
const MOMENTS: [&str; 4] =
    ["optimizer.first_moment.", "optimizer.second_moment.", "optimizer.third_moment.", "optimizer.fourth_moment."];

impl Checkpoint {
    /// The parameters of the current result: the best, else the average, else the trained ones.
    pub fn model(&self) -> &Values {
        self.best.as_ref().or(self.average.as_ref()).unwrap_or(&self.parameters)
    }

    /// Discards the progress within the current epoch, so that the epoch can start over on other data or with another
    /// batch size. Parameters and moments are kept. `accumulate` is the number of batches per update.
    pub fn begin_epoch_anew(&mut self, accumulate: usize) {
        let Progress { epoch, position, step, skipped, loss_scale, plateau, patience, .. } = self.progress;
        let updates = Some(self.progress.updates_before(accumulate) + (position / accumulate) as u64);
        self.progress =
            Progress { epoch, step, updates, skipped, loss_scale, plateau, patience, ..Progress::default() };
    }

    /// Writes the file atomically.
    pub fn write(&self, path: &Path, layout: &ParameterLayout) -> Result<()> {
        let mut sections = vec![Section { prefix: "", values: &self.parameters }];
        sections.extend(MOMENTS.iter().zip(&self.moments).map(|(prefix, values)| Section { prefix, values }));
        sections.extend(self.average.iter().map(|values| Section { prefix: AVERAGE, values }));
        sections.extend(self.best.iter().map(|values| Section { prefix: BEST, values }));
        let progress = serde_json::to_string(&self.progress).map_err(Error::bug(path))?;
        weights::write(path, layout, &sections, Some(("progress", progress)))
    }

    /// Reads the checkpoint of a model whose optimiser has `moments` moments. Moments missing in the file are zero, and
    /// a missing average has not begun, as at the start of training.
    pub fn read(path: &Path, network: &Network, moments: usize) -> Result<Checkpoint> {
        let help = "it is damaged or another model's: start a new run with another --out";
        // Replace the help for weight files, which does not apply to checkpoints.
        let damaged = |error| match error {
            Error::File { path, problem, .. } => Error::File { path, problem, help: help.to_owned() },
            other => other,
        };
        let file = weights::File::read(path, network.layout()).map_err(damaged)?;
        let progress = file.metadata("progress").map_err(damaged)?;
        let progress = progress.ok_or_else(|| Error::file(path, "is no checkpoint: it has no \"progress\"", help))?;
        let progress: Progress = serde_json::from_str(&progress)
            .map_err(|error| Error::file(path, format!("its \"progress\" cannot be read: {error}"), help))?;
        let parameters = file.section(network.layout(), "").map_err(damaged)?;
        let section = |prefix: &str, wanted: bool| match wanted && file.has(prefix).map_err(damaged)? {
            true => file.section(network.layout(), prefix).map_err(damaged).map(Some),
            false => Ok(None),
        };
        let moments = MOMENTS.iter().take(moments).map(|prefix| section(prefix, true));
        let zeros = || Values::F32(vec![0.0; network.layout().elements()]);
        let moments = moments.map(|moment| Ok(moment?.unwrap_or_else(zeros))).collect::<Result<_>>()?;
        let average = section(AVERAGE, network.spec().train.averages())?;
        let best = section(BEST, progress.patience.best.is_some())?;
        Ok(Checkpoint { parameters, moments, average, best, progress })
    }
}
