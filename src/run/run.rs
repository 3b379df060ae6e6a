//! Training in a run directory, from where that stands to the end.

use super::directory::{RunDirectory, RunSettings};
use super::fingerprint::Fingerprint;
use super::lock::Lock;
use crate::data::{Dataset, is_same_source};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Extensions, ModelSpec, Network};
use crate::tensor::Values;
use crate::train::{EpochEnd, EpochReport, Observer, Options, Trainer};
use std::path::Path;

/// A training that a directory holds all, a part or nothing of.
pub(crate) struct Job<'a> {
    /// The model.
    pub network: &'a Network,
    /// Where it is trained.
    pub device: &'a Device,
    /// What the run is kept with.
    pub settings: &'a RunSettings,
    /// Steps after which this part of the training ends, which the run does not keep.
    pub steps: Option<u64>,
    /// What it is trained on.
    pub train: &'a Dataset,
    /// What it is validated on.
    pub validation: Option<&'a Dataset>,
    /// The weights that it begins with.
    pub start: &'a Values,
    /// Whether the model gives back what it gets. Else a mean squared error means nothing, and is not logged.
    pub reconstructs: bool,
}

/// A training that has come to its end.
pub(crate) struct Finished {
    /// The directory.
    pub run: RunDirectory,
    /// The weights that are its result.
    pub parameters: Values,
    /// What became of each epoch.
    pub reports: Vec<EpochReport>,
    /// That of the epoch whose weights are the result.
    pub report: Option<EpochReport>,
}

impl Job<'_> {
    /// Trains to the end in a directory, with a checkpoint after each epoch; none where the observer ended it. However often it
    /// is ended or killed, the result is the same to the bit.
    pub fn run(&self, lock: Lock, observer: &mut dyn Observer) -> Result<Option<Finished>> {
        let network = self.network;
        expect_model(lock.directory(), network.spec())?;
        let fingerprint = Some(Fingerprint::of(network, self.train, self.validation)?);
        let settings = &RunSettings { fingerprint, ..self.settings.clone() };
        let options = Options { steps: self.steps, ..Options::default() };
        let mut trainer = Trainer::new(network, self.device, self.train, self.validation, options)?;
        let mut run = match lock.directory().join("model.toml").exists() {
            true => {
                let (mut run, spec, kept) = RunDirectory::open_in(lock, &Extensions::of(network.spec()))?;
                expect_data(run.path(), &kept, settings)?;
                let checkpoint = run.checkpoint(network, trainer.moments())?;
                trainer.restore(&checkpoint)?;
                run.rewind(&checkpoint, trainer.steps_left() == 0)?;
                run.write_settings(&spec, settings)?;
                run
            }
            false => {
                trainer.start(self.start)?;
                RunDirectory::create_in(lock, network.spec(), settings, network, &trainer.checkpoint()?)?
            }
        };
        run.write_items(self.train)?;
        loop {
            match trainer.epoch(observer)? {
                EpochEnd::Epoch(report) => {
                    let val_mse = report.val_mse.filter(|_| self.reconstructs);
                    run.log_epoch(&EpochReport { val_mse, ..report })?;
                    run.keep(&mut trainer, network)?;
                }
                EpochEnd::Stopped => {
                    run.keep(&mut trainer, network)?;
                    return Ok(None);
                }
                EpochEnd::Finished => break,
            }
        }
        // A kill may have come between the checkpoint and the weights.
        let parameters = run.keep(&mut trainer, network)?;
        let reports = run.reports()?;
        // Where training may end early the model is that of the best epoch.
        let report = match trainer.progress().patience.best {
            Some(best) => reports.iter().rfind(|report| report.val_loss.unwrap_or(report.train_loss) == best),
            None => reports.last(),
        };
        let report = report.cloned();
        Ok(Some(Finished { run, parameters, reports, report }))
    }
}

/// Fails where a directory holds a run on other data, by its settings, which have a fingerprint where they are not those of
/// an older version.
pub(crate) fn expect_data(directory: &Path, kept: &RunSettings, settings: &RunSettings) -> Result<()> {
    let targets = match (&kept.targets, &settings.targets) {
        (Some(kept), Some(targets)) => is_same_source(kept, targets),
        (kept, targets) => kept == targets,
    };
    let refuse = |problem: String, help: &str| Err(Error::file(directory, problem, help));
    let help = "give the same --data, or choose another --out";
    if let (Some(before), Some(now)) = (&kept.samples, &settings.samples)
        && let Some([before, now]) = before.differ_from(now)
    {
        return refuse(format!("holds a training on {before}, which cannot go on with {now}"), help);
    }
    if !is_same_source(&kept.data, &settings.data) || !targets || kept.set_aside != settings.set_aside {
        return refuse(format!("holds a training on {}, which cannot go on with {}", kept.data, settings.data), help);
    }
    let difference = settings.fingerprint.as_ref().zip(kept.fingerprint.as_ref());
    match difference.and_then(|(now, before)| now.difference(before)) {
        Some(difference) => {
            let problem = format!("holds a training on {}, which has changed: it has {difference}", kept.data);
            refuse(problem, "restore the data, or choose another --out")
        }
        None => Ok(()),
    }
}

/// Fails where a directory holds the run of another model.
pub(crate) fn expect_model(directory: &Path, spec: &ModelSpec) -> Result<()> {
    let path = directory.join("model.toml");
    if !path.exists() || ModelSpec::read_with(&path, &Extensions::of(spec))? == *spec {
        return Ok(());
    }
    Err(Error::file(&path, "is not the model that is to be trained here", "choose another --out"))
}
