//! A run's directory: the results of training, always complete enough to resume after a kill.
//!
//! The checkpoint is one file and is replaced atomically; on resume, metrics that are ahead of it are cut back.

use super::fingerprint::Fingerprint;
use super::lock::Lock;
use super::tensorboard::Events;
use crate::autoencoder::Autoencoder;
use crate::data::{Dataset, Samples, SparseRows, is_picture};
use crate::draw::chart::line_chart;
use crate::draw::{Image, write_grid};
use crate::error::{Error, Result};
use crate::files::{self, write_atomically};
use crate::model::weights;
use crate::model::{Extensions, ModelSpec, Network};
use crate::tensor::Values;
use crate::train::Checkpoint;
use crate::train::Profile;
use crate::train::{EpochReport, Trainer};
use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MODEL: &str = "model.toml";
const WEIGHTS: &str = "model.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const SETTINGS: &str = "run.toml";
const ITEMS: &str = "items.txt";
const METRICS: &str = "metrics.jsonl";
const PROFILE: &str = "profile.json";
const LOSS_CURVE: &str = "loss.png";
const LOSS_CURVE_SVG: &str = "loss.svg";
const RECONSTRUCTIONS: &str = "reconstructions.png";

/// Columns of the picture of samples and reconstructions, and its rows of such pairs.
const COLUMNS: usize = 10;
const ROWS: usize = 3;

/// The settings with which a run was started, besides its model: needed to resume it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// The data's source, as `--data` takes it; with an absolute path, so that it is found from every folder.
    pub data: String,
    /// The source of the targets, as `--targets` takes it, if the model reconstructs anything else than its samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// The file of the initial weights, as `--init` takes it, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// The device, as `--device` takes it.
    pub device: String,
    /// Number of steps after which the run ends, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Whether every step's loss is logged.
    #[serde(default)]
    pub log_steps: bool,
    /// Whether metrics are written for TensorBoard too.
    #[serde(default)]
    pub tensorboard: bool,
    /// The seed for setting validation samples aside from the training set, if the data's own test part is
    /// left untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<u64>,
    /// The fingerprint of the run's data; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Shape and scaling of the training samples; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            data: "digits".to_owned(),
            targets: None,
            init: None,
            device: "auto".to_owned(),
            steps: None,
            log_steps: false,
            tensorboard: false,
            set_aside: None,
            fingerprint: None,
            samples: None,
        }
    }
}

impl RunSettings {
    /// Whether data and targets have the sources of this run, by the comparison `same`.
    pub fn has_sources(&self, data: &str, targets: Option<&str>, same: fn(&str, &str) -> bool) -> bool {
        let same_targets = match (targets, self.targets.as_deref()) {
            (Some(now), Some(before)) => same(now, before),
            (now, before) => now == before,
        };
        same_targets && same(data, &self.data)
    }

    /// Reads the settings of the run in a directory, without a lock. Fails where there is none, or its file is damaged.
    pub fn read(directory: &Path) -> Result<RunSettings> {
        let path = directory.join(SETTINGS);
        let help = "restore the file, or start a new run with another --out";
        toml::from_str(&files::read_text(&path)?).map_err(|error| Error::file(&path, error.message().to_owned(), help))
    }
}

/// A run's directory, open for writing. It is locked while this value lives, against this process and others; the lock
/// of a killed process ends with it. Readers need no lock: every file that using a model needs is replaced atomically.
/// On file systems without locks only a warning (of [`tracing`]) is given.
#[derive(Debug)]
pub struct RunDirectory {
    lock: Lock,
    metrics: Option<BufWriter<fs::File>>,
    events: Option<Events>,
}

/// A line of the metrics: results of an epoch or the loss of a step.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Line {
    Epoch(EpochReport),
    Step { step: u64, loss: f64 },
}

impl RunDirectory {
    /// Creates a directory for a new run. Fails where it holds a run already, where it is in use, or where it cannot be
    /// written.
    pub fn create(
        path: &Path,
        spec: &ModelSpec,
        settings: &RunSettings,
        network: &Network,
        start: &Checkpoint,
    ) -> Result<RunDirectory> {
        expect_no_run(path)?;
        RunDirectory::create_in(Lock::take(path)?, spec, settings, network, start)
    }

    /// As [`create`](RunDirectory::create), in a directory that is locked already.
    pub(crate) fn create_in(
        lock: Lock,
        spec: &ModelSpec,
        settings: &RunSettings,
        network: &Network,
        start: &Checkpoint,
    ) -> Result<RunDirectory> {
        // Another process may have begun and ended a run since the caller looked.
        expect_no_run(lock.directory())?;
        sweep(lock.directory());
        let mut run = RunDirectory { lock, metrics: None, events: None };
        run.save(start, network)?;
        // From here on the directory has a model that can be loaded.
        run.write_weights(network, start.model())?;
        write_atomically(&run.path().join(METRICS), |_| Ok(()))?;
        run.write_settings(spec, settings)?;
        Ok(run)
    }

    /// Opens a directory to resume its run, and reads model and settings. Fails where it holds no run, and where it is
    /// in use.
    pub fn open(path: &Path) -> Result<(RunDirectory, ModelSpec, RunSettings)> {
        RunDirectory::open_with(path, &Extensions::new())
    }

    /// As [`open`](RunDirectory::open), for a model with custom losses and layers.
    pub fn open_with(path: &Path, extensions: &Extensions) -> Result<(RunDirectory, ModelSpec, RunSettings)> {
        for name in [MODEL, SETTINGS, CHECKPOINT] {
            if !path.join(name).is_file() {
                let problem = format!("holds no run to resume: there is no {name}");
                return Err(Error::file(path, problem, "give --out the directory of a run, or start without --resume"));
            }
        }
        RunDirectory::open_in(Lock::take(path)?, extensions)
    }

    /// As [`open_with`](RunDirectory::open_with), for a directory that is locked already.
    pub(crate) fn open_in(lock: Lock, extensions: &Extensions) -> Result<(RunDirectory, ModelSpec, RunSettings)> {
        let spec = ModelSpec::read_with(&lock.directory().join(MODEL), extensions)?;
        let settings = RunSettings::read(lock.directory())?;
        Ok((RunDirectory { lock, metrics: None, events: None }, spec, settings))
    }

    /// Reads shape and scaling of the samples that the run in a directory was trained on; none if the directory does
    /// not record them, as for a model saved without a run.
    pub fn samples(path: &Path) -> Result<Option<Samples>> {
        if path.join(SETTINGS).exists() { Ok(RunSettings::read(path)?.samples) } else { Ok(None) }
    }

    /// Writes the run's model and settings, the model last: it marks the directory as a run.
    pub fn write_settings(&self, spec: &ModelSpec, settings: &RunSettings) -> Result<()> {
        let path = self.path().join(SETTINGS);
        let text = toml::to_string(settings).map_err(Error::bug(&path))?;
        write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
        write_atomically(&self.path().join(MODEL), |file| file.write_all(spec.to_toml().as_bytes()))
    }

    /// Writes the names of the columns of sparse data, a line each, if there are any: data used later is read with the
    /// same columns.
    pub fn write_items(&self, data: &Dataset) -> Result<()> {
        let Some(names) = data.sparse().and_then(SparseRows::column_names) else { return Ok(()) };
        write_atomically(&self.path().join(ITEMS), |file| names.iter().try_for_each(|name| writeln!(file, "{name}")))
    }

    /// Reads the column names in a run's directory; none if there are none.
    pub fn items(path: &Path) -> Result<Option<Arc<Vec<String>>>> {
        let text = files::if_any(files::read_text(&path.join(ITEMS)))?;
        Ok(text.map(|text| Arc::new(text.lines().map(str::to_owned).collect())))
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        self.lock.directory()
    }

    /// Reads the last checkpoint.
    pub fn checkpoint(&self, network: &Network, moments: usize) -> Result<Checkpoint> {
        Checkpoint::read(&self.path().join(CHECKPOINT), network, moments)
    }

    /// Drops files and metrics ahead of a checkpoint: half-written files, and metrics of steps that will be repeated.
    /// If `finished`, no step remains, and the line of a last epoch cut short by a limit of steps is kept.
    pub fn rewind(&mut self, checkpoint: &Checkpoint, finished: bool) -> Result<()> {
        sweep(self.path());
        let path = self.path().join(METRICS);
        let bytes = files::if_any(files::read(&path))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let progress = &checkpoint.progress;
        // An epoch cut short by a limit of steps was reported under its own number.
        let kept = text.lines().filter(|line| match serde_json::from_str(line) {
            Ok(Line::Epoch(report)) => report.epoch <= progress.epoch + u64::from(finished),
            Ok(Line::Step { step, .. }) => step <= progress.step,
            Err(_) => false,
        });
        let kept: Vec<&str> = kept.collect();
        self.metrics = None;
        write_atomically(&path, |file| kept.iter().try_for_each(|line| writeln!(file, "{line}")))
    }

    /// Appends an epoch's line to the metrics.
    pub fn log_epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.log(&Line::Epoch(report.clone()))?;
        self.flush()
    }

    /// Appends a step's line to the metrics; it reaches the file with the next epoch or checkpoint.
    pub fn log_step(&mut self, step: u64, loss: f64) -> Result<()> {
        self.log(&Line::Step { step, loss })
    }

    /// Writes the metrics, from the first on, to an event file for TensorBoard too.
    pub fn write_events(&mut self) -> Result<()> {
        self.flush()?;
        let mut events = Events::create(self.path())?;
        for line in self.lines()? {
            write_event(&mut events, &line)?;
        }
        events.flush()?;
        self.events = Some(events);
        Ok(())
    }

    fn log(&mut self, line: &Line) -> Result<()> {
        if let Some(events) = &mut self.events {
            write_event(events, line)?;
        }
        let path = self.path().join(METRICS);
        let metrics = match &mut self.metrics {
            Some(metrics) => metrics,
            none => {
                let file = OpenOptions::new().append(true).create(true).open(&path);
                none.insert(BufWriter::new(file.map_err(Error::io("write", &path))?))
            }
        };
        let text = serde_json::to_string(line).map_err(Error::bug(&path))?;
        writeln!(metrics, "{text}").map_err(Error::io("write", &path))
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        let path = self.path().join(METRICS);
        match &mut self.metrics {
            Some(file) => file.flush().map_err(Error::io("write", &path)),
            None => Ok(()),
        }
    }

    /// Saves a checkpoint and the weights of its result.
    pub fn save(&mut self, checkpoint: &Checkpoint, network: &Network) -> Result<()> {
        self.flush()?;
        checkpoint.write(&self.path().join(CHECKPOINT), network.layout())
    }

    /// Saves a trainer's checkpoint and the weights of its current result.
    pub fn keep(&mut self, trainer: &mut Trainer) -> Result<()> {
        let checkpoint = trainer.checkpoint()?;
        self.save(&checkpoint, trainer.network())?;
        self.write_weights(trainer.network(), checkpoint.model())
    }

    /// Writes the weights of the current result.
    pub(super) fn write_weights(&self, network: &Network, parameters: &Values) -> Result<()> {
        weights::write_model(&self.weights(), network.layout(), parameters)
    }

    /// The path of the weights file.
    pub fn weights(&self) -> PathBuf {
        self.path().join(WEIGHTS)
    }

    /// Writes `profile.json`, a trace for Perfetto, and returns its path.
    pub fn write_profile(&self, profile: &Profile, device: &str) -> Result<PathBuf> {
        let path = self.path().join(PROFILE);
        write_atomically(&path, |file| write!(file, "{}", profile.trace(device)))?;
        Ok(path)
    }

    /// Reads the reports of all epochs so far from the metrics.
    pub fn reports(&self) -> Result<Vec<EpochReport>> {
        let report = |line| match line {
            Line::Epoch(report) => Some(report),
            Line::Step { .. } => None,
        };
        Ok(self.lines()?.into_iter().filter_map(report).collect())
    }

    fn lines(&self) -> Result<Vec<Line>> {
        let path = self.path().join(METRICS);
        let text = files::read_text(&path)?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Draws the loss curve from the metrics.
    pub fn draw_losses(&self) -> Result<()> {
        let (mut steps, mut train, mut validation) = (Vec::new(), Vec::new(), Vec::new());
        for line in self.lines()? {
            match line {
                Line::Epoch(report) => {
                    train.push((report.epoch as f64, report.train_loss));
                    validation.extend(report.val_loss.map(|loss| (report.epoch as f64, loss)));
                }
                Line::Step { step, loss } => steps.push((step as f64, loss)),
            }
        }
        let path = self.path().join(LOSS_CURVE);
        if steps.len() > 1 {
            return line_chart(path, &[("training", steps)], "step", "loss");
        }
        let mut series = vec![("training", train)];
        if !validation.is_empty() {
            series.push(("validation", validation));
        }
        line_chart(path, &series, "epoch", "loss")
    }

    /// Draws the loss curve, and, if samples are pictures, the first of a data set above their reconstructions.
    pub fn draw(&self, autoencoder: &Autoencoder, shown: &Dataset) -> Result<()> {
        self.draw_losses()?;
        let network = autoencoder.network();
        let range = 0..shown.len().min(COLUMNS * ROWS);
        let originals = shown.read_f32(range.clone())?;
        let copies = autoencoder.reconstruct_range(shown, range)?;
        // A model of pictures may be shown flat data, and the reverse.
        let shape = if shown.sample_shape().len() == 3 { shown.sample_shape() } else { &network.spec().input };
        if !is_picture(shape) {
            return Ok(());
        }
        let width = shape.elements();
        let mut cells: Vec<Vec<Image>> = Vec::new();
        for rows in originals.chunks(COLUMNS * width).zip(copies.to_f32().chunks(COLUMNS * width)) {
            for values in [rows.0, rows.1] {
                let images = values.chunks(width).map(|image| Image::from_sample(shape, image));
                cells.push(images.collect::<Result<_>>()?);
            }
        }
        let wide = cells.first().and_then(|row| row.first()).map_or(1, |image| image.shape()[2]);
        write_grid(self.path().join(RECONSTRUCTIONS), &cells, (112 / wide.max(1)).clamp(1, 4))
    }
}

fn write_event(events: &mut Events, line: &Line) -> Result<()> {
    match line {
        Line::Epoch(report) => {
            let scalars = [
                ("loss/train", Some(report.train_loss)),
                ("loss/validation", report.val_loss),
                ("mse/validation", report.val_mse),
            ];
            let mut known = scalars.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
            known.try_for_each(|(tag, value)| events.scalar(tag, report.epoch, value))
        }
        Line::Step { step, loss } => events.scalar("loss/step", *step, *loss),
    }
}

/// Fails where a directory holds a run.
pub(super) fn expect_no_run(path: &Path) -> Result<()> {
    if !path.join(MODEL).exists() {
        return Ok(());
    }
    Err(Error::file(path, "already holds a run", "continue it with --resume, or choose another --out"))
}

/// Removes temporary files that a killed run was writing. They are harmless, so errors are ignored.
/// The caller must hold the lock, so that no other process is writing them.
fn sweep(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = [MODEL, WEIGHTS, CHECKPOINT, SETTINGS, METRICS, LOSS_CURVE, LOSS_CURVE_SVG, RECONSTRUCTIONS, ITEMS]
            .iter()
            .any(|file| name.strip_prefix('.').is_some_and(|rest| rest.starts_with(&format!("{file}."))));
        if ours && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
