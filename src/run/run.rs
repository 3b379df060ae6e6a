//! A run: the one loop that trains in a run directory, from its current state to the end.

use super::directory::{RunDirectory, RunSettings, expect_no_run};
use super::fingerprint::Fingerprint;
use super::lock::Lock;
use crate::autoencoder::Autoencoder;
use crate::data::{TrainingSets, is_same_source};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Extensions, ModelSpec, Network};
use crate::tensor::Values;
use crate::train::{Checkpoint, EpochEnd, EpochReport, Observer, Options, Trainer, Warning};
use std::path::Path;

/// A training with its directory, which keeps a checkpoint after each epoch, the weights, and the metrics. However
/// often a run is stopped or killed and resumed, its result is the same to the bit.
///
/// ```
/// use pinhole::model::{ModelSpec, Network};
/// use pinhole::run::{Run, RunSettings};
/// use pinhole::tensor::Values;
/// use pinhole::train::{Options, Trainer};
/// use pinhole::{Autoencoder, Device, data};
///
/// let mut spec = ModelSpec::resolve("dense")?;
/// spec.train.epochs = 1;
/// let (network, digits) = (Network::new(spec)?, data::digits(512, 1));
/// let trainer = Trainer::new(&network, &Device::Cpu, &digits, None, Options::default())?;
/// let start = Values::F32(network.initial(1));
/// # let folder = tempfile::tempdir().map_err(pinhole::Error::io("create", "a folder".as_ref()))?;
/// # let path = folder.path().join("run");
/// let mut run = Run::create(&path, trainer, &RunSettings::default(), &start)?; // path: runs/digits, say
/// run.train(&mut ())?;
/// let autoencoder = Autoencoder::from_run(&mut run)?;
/// # assert_eq!(autoencoder.parameters(), Autoencoder::load(&path, Device::Cpu)?.parameters());
/// # Ok::<(), pinhole::Error>(())
/// ```
pub struct Run<'a> {
    trainer: Trainer<'a>,
    directory: RunDirectory,
    log_steps: bool,
    /// Whether the model reconstructs its input. If not, a mean squared error means nothing and is left out.
    reconstructs: bool,
}

/// How [`Run::train`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// All epochs and steps are done.
    Finished,
    /// The observer stopped the training, which [`Run::resume`] continues.
    Stopped,
}

impl<'a> Run<'a> {
    /// Starts a run with these weights. Fails where the directory holds a run already, where it is in use, and where it
    /// cannot be written.
    pub fn create(path: &Path, trainer: Trainer<'a>, settings: &RunSettings, start: &Values) -> Result<Run<'a>> {
        expect_no_run(path)?;
        Run::create_in(Lock::take(path)?, trainer, settings, start)
    }

    /// As [`create`](Run::create), in a directory that is locked already.
    pub(super) fn create_in(
        lock: Lock,
        mut trainer: Trainer<'a>,
        settings: &RunSettings,
        start: &Values,
    ) -> Result<Run<'a>> {
        trainer.start(start)?;
        let network = trainer.network();
        let directory = RunDirectory::create_in(lock, network.spec(), settings, network, &trainer.checkpoint()?)?;
        Run::opened(trainer, directory, settings)
    }

    /// Resumes the run of a directory from its last checkpoint, with this trainer's model and with these settings.
    /// `change` may alter the checkpoint first, and returns whether it did.
    pub fn resume(
        mut directory: RunDirectory,
        mut trainer: Trainer<'a>,
        settings: &RunSettings,
        change: impl FnOnce(&mut Checkpoint) -> bool,
    ) -> Result<Run<'a>> {
        let network = trainer.network();
        let mut checkpoint = directory.checkpoint(network, trainer.moments())?;
        let changed = change(&mut checkpoint);
        trainer.restore(&checkpoint)?;
        directory.rewind(&checkpoint, trainer.steps_left() == 0)?;
        if changed {
            // Save the changed checkpoint before the settings name other data.
            directory.save(&checkpoint, network)?;
        }
        directory.write_settings(network.spec(), settings)?;
        // A kill may have come between writing the checkpoint and the weights.
        directory.write_weights(network, checkpoint.model())?;
        Run::opened(trainer, directory, settings)
    }

    fn opened(trainer: Trainer<'a>, mut directory: RunDirectory, settings: &RunSettings) -> Result<Run<'a>> {
        directory.write_items(trainer.data())?;
        if settings.tensorboard {
            directory.write_events()?;
        }
        Ok(Run { trainer, directory, log_steps: settings.log_steps, reconstructs: true })
    }

    /// The run's directory.
    pub fn directory(&self) -> &RunDirectory {
        &self.directory
    }

    /// The training that the run keeps.
    pub fn trainer(&self) -> &Trainer<'a> {
        &self.trainer
    }

    /// Trains to the end. The observer sees an epoch as soon as its checkpoint, weights and metrics are on disk.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<RunEnd> {
        loop {
            let directory = &mut self.directory;
            let log_steps = self.log_steps;
            let mut recorder =
                Recorder { directory, observer, log_steps, ended: false, warnings: vec![], failure: None };
            let end = self.trainer.epoch(&mut recorder);
            let Recorder { warnings, failure, .. } = recorder;
            if let Some(error) = failure {
                return Err(error);
            }
            match end? {
                EpochEnd::Epoch(report) => {
                    let report = EpochReport { val_mse: report.val_mse.filter(|_| self.reconstructs), ..report };
                    self.directory.log_epoch(&report)?;
                    self.directory.keep(&mut self.trainer)?;
                    observer.epoch(&report);
                    warnings.iter().for_each(|warning| observer.warning(warning));
                }
                EpochEnd::Stopped => {
                    self.directory.keep(&mut self.trainer)?;
                    return Ok(RunEnd::Stopped);
                }
                EpochEnd::Finished => return Ok(RunEnd::Finished),
            }
        }
    }

    /// The report of the epoch whose weights are the current result: the best epoch if early stopping is on, else
    /// the last one.
    pub fn best_report(&self) -> Result<Option<EpochReport>> {
        let reports = self.directory.reports()?;
        let best = match self.trainer.progress().patience.best {
            Some(best) => reports.iter().rfind(|report| report.val_loss.unwrap_or(report.train_loss) == best),
            None => reports.last(),
        };
        Ok(best.cloned())
    }

    /// Draws the loss curve, and samples of the validation set (else of the training set) above their
    /// reconstructions.
    pub fn draw(&mut self) -> Result<()> {
        let autoencoder = Autoencoder::from_run(self)?;
        self.directory.draw(&autoencoder, self.trainer.validation().unwrap_or(self.trainer.data()))
    }
}

impl Autoencoder {
    /// Loads the current result of a run, on the run's device.
    pub fn from_run(run: &mut Run) -> Result<Autoencoder> {
        let parameters = run.trainer.model()?;
        Ok(Autoencoder::with_parameters(run.trainer.network().clone(), run.trainer.device().clone(), parameters))
    }
}

/// An observer that logs steps, and holds back warnings that follow an epoch's report until the epoch is saved.
struct Recorder<'a> {
    directory: &'a mut RunDirectory,
    observer: &'a mut dyn Observer,
    log_steps: bool,
    ended: bool,
    warnings: Vec<Warning>,
    /// The error of logging a step, which ends training.
    failure: Option<Error>,
}

impl Observer for Recorder<'_> {
    fn step(&mut self, step: u64, loss: f64) {
        self.observer.step(step, loss);
        if self.log_steps && self.failure.is_none() {
            self.failure = self.directory.log_step(step, loss).err();
        }
    }

    fn epoch(&mut self, _report: &EpochReport) {
        self.ended = true;
    }

    fn warning(&mut self, warning: &Warning) {
        match self.ended {
            true => self.warnings.push(warning.clone()),
            false => self.observer.warning(warning),
        }
    }

    fn stop(&mut self) -> bool {
        self.failure.is_some() || self.observer.stop()
    }
}

/// A training that a directory may hold completely, in part or not at all.
pub(crate) struct Job<'a> {
    /// The model.
    pub network: &'a Network,
    /// Where the model is trained.
    pub device: &'a Device,
    /// The settings that the run keeps, except the fingerprint of the data.
    pub settings: &'a RunSettings,
    /// Number of steps after which this part of the training ends; the run does not keep it.
    pub steps: Option<u64>,
    /// The training and validation data.
    pub sets: &'a TrainingSets,
    /// The initial weights.
    pub start: &'a Values,
    /// Whether the model reconstructs its input.
    pub reconstructs: bool,
}

impl<'a> Job<'a> {
    /// Resumes the run in the directory, or starts one. Fails where the run has another model or other data.
    pub fn open(&self, lock: Lock) -> Result<Run<'a>> {
        expect_model(lock.directory(), self.network.spec())?;
        if !lock.directory().join("model.toml").exists() {
            return self.create(lock);
        }
        let (trainer, settings) = self.prepare()?;
        let (directory, _, kept) = RunDirectory::open_in(lock, &Extensions::of(self.network.spec()))?;
        expect_data(directory.path(), &kept, &settings)?;
        let run = Run::resume(directory, trainer, &settings, |_| false)?;
        Ok(Run { reconstructs: self.reconstructs, ..run })
    }

    /// Starts a run in a directory that holds none.
    pub fn create(&self, lock: Lock) -> Result<Run<'a>> {
        let (trainer, settings) = self.prepare()?;
        let run = Run::create_in(lock, trainer, &settings, self.start)?;
        Ok(Run { reconstructs: self.reconstructs, ..run })
    }

    fn prepare(&self) -> Result<(Trainer<'a>, RunSettings)> {
        let (train, validation) = (&self.sets.train, self.sets.validation.as_ref());
        let fingerprint = Some(Fingerprint::of(self.network, train, validation)?);
        let options = Options { steps: self.steps, ..Options::default() };
        let trainer = Trainer::new(self.network, self.device, train, validation, options)?;
        Ok((trainer, RunSettings { fingerprint, ..self.settings.clone() }))
    }
}

/// Fails where a directory holds a run on other data, according to its kept settings, which lack a fingerprint in
/// older versions.
pub(crate) fn expect_data(directory: &Path, kept: &RunSettings, settings: &RunSettings) -> Result<()> {
    let refuse = |problem: String, help: &str| Err(Error::file(directory, problem, help));
    let help = "give the same --data, or choose another --out";
    if let (Some(before), Some(now)) = (&kept.samples, &settings.samples)
        && let Some([before, now]) = before.differ_from(now)
    {
        return refuse(format!("holds a training on {before}, which cannot continue with {now}"), help);
    }
    let same = kept.has_sources(&settings.data, settings.targets.as_deref(), is_same_source);
    if !same || kept.set_aside != settings.set_aside {
        return refuse(
            format!("holds a training on {}, which cannot continue with {}", kept.data, settings.data),
            help,
        );
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
