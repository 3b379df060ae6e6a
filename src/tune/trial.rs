//! One trial: its values, its training in a run directory, and its result.

use super::space::{Dimension, Metric};
use super::{Search, TuneObserver};
use crate::error::{Error, Result};
use crate::model::{ModelSpec, Network};
use crate::run::{Job, Lock, RunEnd};
use crate::tensor::Values;
use crate::train::EpochReport;
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};

/// A finished trial: a line of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trial {
    /// The trial's number, counted from 1.
    pub trial: usize,
    /// Number of epochs to train.
    pub epochs: usize,
    /// The value of each key of the search.
    pub values: Map<String, Json>,
    /// Validation loss of the trial's final model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Mean squared error on the validation samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_mse: Option<f64>,
    /// Training time in seconds.
    pub seconds: f64,
    /// Reason for a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The epochs of a finished trial.
pub(super) struct Reports {
    all: Vec<EpochReport>,
    /// The epoch whose weights are the trial's result.
    best: Option<EpochReport>,
}

impl Trial {
    pub(super) fn new(trial: usize, epochs: usize, space: &[Dimension], values: &[String]) -> Trial {
        let values = named(space, values);
        Trial { trial, epochs, values, val_loss: None, val_mse: None, seconds: 0.0, failure: None }
    }

    /// Run directory of the trial, in the folder of the search.
    pub fn run(&self, folder: &Path) -> PathBuf {
        run_of(folder, self.trial)
    }

    /// Value of the metric that ranks the trial; `None` where it failed.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::ValLoss => self.val_loss,
            Metric::ValMse => self.val_mse,
        }
    }

    pub(super) fn take(&mut self, Reports { all, best }: &Reports) {
        let loss = |loss: fn(&EpochReport) -> Option<f64>| best.as_ref().and_then(loss).filter(|x| x.is_finite());
        (self.val_loss, self.val_mse) = (loss(|report| report.val_loss), loss(|report| report.val_mse));
        self.seconds = all.iter().map(|report| report.seconds).sum();
        if self.val_loss.is_none() || self.val_mse.is_none() {
            self.failure = Some("the loss on the samples that are set aside is not finite".to_owned());
        }
    }

    /// Fails where a line read from disk belongs to another search.
    pub(super) fn expect_values(&self, run: &Path, space: &[Dimension], values: &[String]) -> Result<()> {
        if self.values == named(space, values) {
            return Ok(());
        }
        let problem = "the search that began here gave it other values";
        Err(Error::file(run, problem, "choose another --out"))
    }
}

fn named(space: &[Dimension], values: &[String]) -> Map<String, Json> {
    space.iter().zip(values).map(|(dimension, text)| (dimension.key.clone(), as_json(text))).collect()
}

/// Converts a value to JSON where possible, else to its text in a model file.
pub(super) fn as_json(text: &str) -> Json {
    match text.parse::<toml::Value>() {
        Ok(toml::Value::Integer(number)) => Json::from(number),
        Ok(toml::Value::Float(number)) => Json::from(number),
        Ok(toml::Value::Boolean(flag)) => Json::from(flag),
        Ok(toml::Value::String(text)) => Json::from(text),
        _ => Json::from(text),
    }
}

pub(super) fn run_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("trial-{number:03}"))
}

/// Whether a trial's values caused the error. Other errors end the search, which can be resumed once they are fixed.
pub(super) fn is_its_own(error: &Error) -> bool {
    match error {
        Error::NonFinite { .. }
        | Error::OutOfMemory { .. }
        | Error::Limit { .. }
        | Error::Invalid { .. }
        | Error::Graph { .. } => true,
        Error::File { .. }
        | Error::Stream { .. }
        | Error::Io { .. }
        | Error::NoAdapter { .. }
        | Error::DeviceLost { .. }
        | Error::Shader { .. }
        | Error::Disagreement { .. } => false,
    }
}

impl Search<'_> {
    /// Trains a model up to the end of epoch `epochs`, resuming from its run directory; `None` where the observer
    /// stopped the search.
    pub(super) fn train(
        &self,
        directory: &Path,
        spec: ModelSpec,
        epochs: usize,
        observer: &mut dyn TuneObserver,
    ) -> Result<Option<Reports>> {
        let steps = self.sets.train.len().div_ceil(spec.train.batch.max(1)) as u64 * epochs as u64;
        // The schedule and the optimiser see the length of the whole training, which rounds leave unchanged.
        let steps = Some(steps).filter(|_| epochs < spec.train.epochs);
        let network = Network::new(spec)?;
        let start = &Values::F32(network.initial(network.spec().train.seed));
        let (settings, sets) = (&self.settings, &self.sets);
        let job = Job { network: &network, device: self.device, settings, steps, sets, start, reconstructs: true };
        let mut run = job.open(Lock::take(directory)?)?;
        if run.train(observer)? == RunEnd::Stopped {
            return Ok(None);
        }
        run.draw()?;
        Ok(Some(Reports { all: run.directory().reports()?, best: run.best_report()? }))
    }
}
