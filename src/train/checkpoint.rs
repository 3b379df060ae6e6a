//! Checkpoints: weights, moments and position in one file, so that a run is never half saved.

use crate::error::{Error, Result};
use crate::model::Network;
use crate::model::weights::{self, Section};
use crate::plan::{LossScale, ParameterLayout};
use crate::tensor::Values;
use std::path::Path;

/// Where training stands, in epochs and steps of an epoch.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: u64,
    /// Steps done of the next one.
    pub position: usize,
    /// The steps that the next one has in all; none where that is not known, as in files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Steps done since the beginning.
    pub step: u64,
    /// Updates of the parameters before the next epoch; none in files of older versions, whose epochs were all equally long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<u64>,
    /// Steps of this epoch whose loss is known: behind `position` while the device works.
    pub reported: u64,
    /// The sum of this epoch's known losses, each times its samples.
    pub loss_sum: f64,
    /// The samples of these.
    pub loss_samples: u64,
    /// Seconds spent in this epoch.
    pub seconds: f64,
    /// Updates left out since the beginning, since their gradients were not all finite.
    #[serde(default)]
    pub skipped: u64,
    /// The loss's scale, where training takes 16 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// What a plateau has seen.
    #[serde(default)]
    pub plateau: Plateau,
    /// What early stopping has seen.
    #[serde(default)]
    pub patience: Patience,
    /// The mean loss of the first epoch, once that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_loss: Option<f64>,
}

/// The state of a schedule that waits for plateaus.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plateau {
    /// The best loss so far.
    pub best: Option<f64>,
    /// Epochs since then, or since the rate was lowered.
    pub waited: u64,
    /// How often it was lowered.
    pub reductions: u32,
}

/// The state of early stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Patience {
    /// The best loss so far.
    pub best: Option<f64>,
    /// Epochs since then.
    pub waited: u64,
    /// Whether training has ended.
    pub ended: bool,
}

/// A training as it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The parameters, in the device's precision.
    pub parameters: Values,
    /// The optimiser's moments and the gradients that are being accumulated, each laid out like them.
    pub moments: Vec<Values>,
    /// The parameters' average, where there is one.
    pub average: Option<Values>,
    /// The best parameters so far, where training may end early.
    pub best: Option<Values>,
    /// Where training stood.
    pub progress: Progress,
}

impl Progress {
    /// Updates of the parameters before the epoch that training stands in, where `accumulate` batches make one.
    pub(super) fn updates_before(&self, accumulate: usize) -> u64 {
        let all_alike = || {
            let steps = (self.step - self.position as u64).checked_div(self.epoch).unwrap_or(0);
            self.epoch * steps.div_ceil(accumulate as u64)
        };
        self.updates.unwrap_or_else(all_alike)
    }

    /// Updates of the parameters after that epoch, where it has so many steps.
    pub(super) fn updates_after(&self, steps: usize, accumulate: usize) -> u64 {
        self.updates_before(accumulate) + steps.div_ceil(accumulate) as u64
    }

    /// The beginning of an epoch of so many steps.
    pub(super) fn begin(steps: usize) -> Progress {
        Progress { steps: Some(steps), ..Progress::default() }
    }

    /// Counts a step's loss; returns the step's number, from 1 on.
    pub(super) fn reported(&mut self, samples: usize, loss: f64) -> u64 {
        self.reported += 1;
        // Where bad steps are left out they have no part in the epoch's mean either.
        if loss.is_finite() {
            self.loss_sum += loss * samples as f64;
            self.loss_samples += samples as u64;
        }
        self.step - self.position as u64 + self.reported
    }
}

/// The prefixes of the tensors of the average and of the best parameters.
const AVERAGE: &str = "optimizer.average.";
const BEST: &str = "optimizer.best.";

/// The prefix of each moment's tensors.
const MOMENTS: [&str; 4] =
    ["optimizer.first_moment.", "optimizer.second_moment.", "optimizer.third_moment.", "optimizer.fourth_moment."];

impl Checkpoint {
    /// The parameters that are the result as it stands: the best, else the average, else those that are trained.
    pub fn model(&self) -> &Values {
        self.best.as_ref().or(self.average.as_ref()).unwrap_or(&self.parameters)
    }

    /// Takes back that a part of an epoch is done, so that the epoch can begin anew on other data or with another batch. What
    /// its steps have taught stays. `accumulate` is the number of batches that made an update.
    pub fn begin_epoch_anew(&mut self, accumulate: usize) {
        let Progress { epoch, position, step, skipped, loss_scale, plateau, patience, .. } = self.progress;
        let updates = Some(self.progress.updates_before(accumulate) + (position / accumulate) as u64);
        self.progress =
            Progress { epoch, step, updates, skipped, loss_scale, plateau, patience, ..Progress::default() };
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path, layout: &ParameterLayout) -> Result<()> {
        let mut sections = vec![Section { prefix: "", values: &self.parameters }];
        sections.extend(MOMENTS.iter().zip(&self.moments).map(|(prefix, values)| Section { prefix, values }));
        sections.extend(self.average.iter().map(|values| Section { prefix: AVERAGE, values }));
        sections.extend(self.best.iter().map(|values| Section { prefix: BEST, values }));
        let progress = serde_json::to_string(&self.progress)
            .map_err(|error| Error::file(path, error.to_string(), "report this as a bug in pinhole"))?;
        weights::write(path, layout, &sections, Some(("progress", progress)))
    }

    /// Reads the file of a model trained with an optimiser of so many moments. Moments that the file has none of are zero, as
    /// when training begins, and so is an average taken as not begun.
    pub fn read(path: &Path, network: &Network, moments: usize) -> Result<Checkpoint> {
        let help = "it is damaged or another model's: start a new run with another --out";
        // What would help with other weights does not help here.
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
