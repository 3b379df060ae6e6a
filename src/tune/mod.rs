//! Hyperparameter search over the keys of a model file: trials are trained in sequence, each in its own run directory.
//!
//! A trial depends on the search's seed and on earlier results alone, so a search killed at any moment makes the same
//! choices when resumed. Trials are judged by validation samples set aside from the training data; the data's own test
//! part is not used, neither to choose values nor to end training.
//!
//! ```no_run
//! use pinhole::Device;
//! use pinhole::tune::{Ended, SearchSpec, tune};
//! let (spec, model) = SearchSpec::read("space.toml".as_ref())?;
//! if let Ended::Finished(ranking) = tune(&spec, &model, &Device::open("auto")?, "auto", "runs/space".as_ref(), &mut ())? {
//!     println!("{:?} gave {:?}", ranking[0].values, ranking[0].val_loss);
//! }
//! # Ok::<(), pinhole::Error>(())
//! ```

mod chart;
mod propose;
mod space;
mod trial;

pub use propose::{Tried, propose};
pub use space::{Candidates, Dimension, Halving, Method, Metric, SearchSpec};
pub use trial::Trial;

use crate::data::{self, Samples, TrainingSets, absolute_source};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{self, write_atomically};
use crate::model::{ModelSpec, Network};
use crate::run::{Fingerprint, LOCK, Lock, RunSettings, expect_data, expect_model};
use crate::train::Observer;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

const SPACE: &str = "space.toml";
const TRIALS: &str = "trials.jsonl";
const PICTURE: &str = "trials.png";

/// Callbacks of a search in progress, one of which can stop it. All methods do nothing by default.
pub trait TuneObserver: Observer {
    /// Called when a trial starts, or resumes for more epochs: its number from 1, and its values as `key=value`.
    fn begins(&mut self, _trial: usize, _values: &[String]) {}
    /// Called when a trial has ended, has failed or was found complete on resume, with the best trial so far.
    fn ended(&mut self, _trial: &Trial, _best: &Trial) {}
}

impl TuneObserver for () {}

/// How a search ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// All trials, the best first. Trials trained for fewer epochs follow those trained for more, and failed trials
    /// come last.
    Finished(Vec<Trial>),
    /// The observer stopped the search. Everything is saved.
    Stopped,
}

/// A search in progress.
struct Search<'a> {
    spec: &'a SearchSpec,
    model: &'a ModelSpec,
    device: &'a Device,
    settings: RunSettings,
    folder: &'a Path,
    sets: TrainingSets,
    /// Trials that ended, including those read from disk on resume.
    known: Vec<Trial>,
}

/// Runs or resumes a search over keys of a model in `folder`, on a device and under the name that it was opened by.
/// Fails where the folder holds another search or one on other data, where it is in use, where a file cannot be read or
/// written, and where the device is lost; a trial that fails otherwise is recorded as failed.
pub fn tune(
    spec: &SearchSpec,
    model: &ModelSpec,
    device: &Device,
    device_name: &str,
    folder: &Path,
    observer: &mut dyn TuneObserver,
) -> Result<Ended> {
    spec.validate(model)?;
    let mut settings = RunSettings {
        data: absolute_source(&spec.data),
        device: device_name.to_owned(),
        set_aside: Some(spec.seed),
        ..RunSettings::default()
    };
    let splits = data::load_with(&spec.data, &model.reading())?;
    settings.samples = Some(Samples::of(&splits.train));
    let mut model = model.clone();
    let sets = splits.for_training(model.train.validation, model.train.seed, settings.set_aside)?;
    model.fit_to(&sets.train)?;
    if sets.validation.is_none() {
        let problem = format!("its {} samples are too few to set some aside", sets.train.len());
        return Err(Error::invalid(format!("data \"{}\"", sets.train.name()), problem, "give more"));
    }
    // Locks the folder until the search ends.
    let (_lock, known) = begin(spec, folder)?;
    Search { spec, model: &model, device, settings, folder, sets, known }.run(observer)
}

/// Creates the folder, or reads this search's results from it; locks it in either case.
fn begin(spec: &SearchSpec, folder: &Path) -> Result<(Lock, Vec<Trial>)> {
    let lock = Lock::take(folder)?;
    let written = folder.join(SPACE);
    let other = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != LOCK);
    if !written.exists() && fs::read_dir(folder).is_ok_and(|mut entries| entries.any(other)) {
        let problem = format!("holds something else than a search: there is no {SPACE}");
        return Err(Error::file(folder, problem, "choose another --out"));
    }
    if written.exists() {
        // Trials do not depend on how many follow, except under successive halving.
        let mut same = files::read_text(&written)?;
        let mut own = spec.to_toml();
        if spec.halving.is_none() {
            (same, own) = (without_trials(&same), without_trials(&own));
        }
        if let Some(line) = same.lines().find(|line| !own.lines().any(|other| other == *line)) {
            let problem = format!("the search that began here has {line}");
            return Err(Error::file(&written, problem, "choose another --out, or continue that search"));
        }
    }
    write_atomically(&written, |file| file.write_all(spec.to_toml().as_bytes()))?;
    let path = folder.join(TRIALS);
    let text = files::if_any(files::read_text(&path))?.unwrap_or_default();
    // A kill may have left a partial line.
    let known: Vec<Trial> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    let whole: Vec<&str> = text.lines().take(known.len()).collect();
    if whole.len() < text.lines().count() || !(text.is_empty() || text.ends_with('\n')) {
        write_atomically(&path, |file| whole.iter().try_for_each(|line| writeln!(file, "{line}")))?;
    }
    Ok((lock, known))
}

fn without_trials(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("trials = ")).fold(String::new(), |text, line| text + line + "\n")
}

impl Search<'_> {
    fn run(&mut self, observer: &mut dyn TuneObserver) -> Result<Ended> {
        let mut latest: Vec<Trial> = Vec::new();
        let mut points: Vec<Vec<String>> = Vec::new();
        let mut chosen: Vec<usize> = (1..=self.spec.trials()).collect();
        for (round, epochs) in self.rounds().into_iter().enumerate() {
            for number in chosen.clone() {
                if round == 0 {
                    let tried: Vec<Tried> =
                        points.iter().cloned().zip(latest.iter().map(|trial| self.metric(trial))).collect();
                    let Some(point) = propose(self.spec, number, &tried) else { break };
                    points.push(point);
                }
                let before = self.known.len();
                let Some(trial) = self.ended(number, &points[number - 1], epochs, observer)? else {
                    return Ok(Ended::Stopped);
                };
                match latest.get_mut(number - 1) {
                    Some(before) => *before = trial.clone(),
                    None => latest.push(trial.clone()),
                }
                if let Some(best) = self.ranking(&latest).first() {
                    observer.ended(&trial, best);
                }
                if self.known.len() > before {
                    chart::draw(&self.folder.join(PICTURE), self.spec, &latest)?;
                }
            }
            if let Some(Halving { eta, .. }) = self.spec.halving {
                let members = latest.iter().filter(|trial| chosen.contains(&trial.trial)).cloned().collect::<Vec<_>>();
                let mut left = self.ranking(&members);
                left.truncate((members.len() / eta).max(1));
                left.retain(|trial| trial.failure.is_none());
                chosen = left.iter().map(|trial| trial.trial).collect();
                chosen.sort_unstable();
            }
        }
        chart::draw(&self.folder.join(PICTURE), self.spec, &latest)?;
        Ok(Ended::Finished(self.ranking(&latest)))
    }

    /// Epochs of each round; `None` where each trial's own model sets them.
    fn rounds(&self) -> Vec<Option<usize>> {
        let Some(Halving { epochs, eta }) = self.spec.halving else { return vec![None] };
        let all = self.model.train.epochs;
        let longer = |epochs: &usize| Some(epochs.saturating_mul(eta)).filter(|_| *epochs < all);
        std::iter::successors(Some(epochs), longer).map(|epochs| Some(epochs.min(all))).collect()
    }

    fn metric(&self, trial: &Trial) -> f64 {
        trial.metric(self.spec.metric).unwrap_or(f64::INFINITY)
    }

    /// Ranks trials, the best first.
    fn ranking(&self, trials: &[Trial]) -> Vec<Trial> {
        let mut ranking = trials.to_vec();
        let rounds = |trial: &Trial| if self.spec.halving.is_some() { trial.epochs } else { 0 };
        ranking.sort_by(|a, b| {
            let failed = a.failure.is_some().cmp(&b.failure.is_some());
            let longest = rounds(b).cmp(&rounds(a));
            failed.then(longest).then(self.metric(a).total_cmp(&self.metric(b))).then(a.trial.cmp(&b.trial))
        });
        ranking
    }

    /// Trains a trial for `epochs` epochs, or loads its result; `None` where the observer stopped the search.
    fn ended(
        &mut self,
        number: usize,
        values: &[String],
        epochs: Option<usize>,
        observer: &mut dyn TuneObserver,
    ) -> Result<Option<Trial>> {
        let assigned: Vec<String> =
            self.spec.space.iter().zip(values).map(|(dimension, value)| format!("{}={value}", dimension.key)).collect();
        let mut spec = self.model.clone();
        let set = assigned.iter().try_for_each(|assignment| spec.set(assignment));
        let epochs = epochs.unwrap_or(spec.train.epochs);
        let run = trial::run_of(self.folder, number);
        let of_this = |trial: &&Trial| trial.trial == number && trial.epochs == epochs;
        if let Some(trial) = self.known.iter().find(of_this) {
            trial.expect_values(&run, &self.spec.space, values)?;
            expect_model(&run, &spec)?;
            self.expect_same_data(&run, spec)?;
            return Ok(Some(trial.clone()));
        }
        observer.begins(number, &assigned);
        let mut trial = Trial::new(number, epochs, &self.spec.space, values);
        match set.and_then(|()| self.train(&run, spec, epochs, observer)) {
            Ok(Some(reports)) => trial.take(&reports),
            Ok(None) => return Ok(None),
            Err(error) if trial::is_its_own(&error) => trial.failure = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        let path = self.folder.join(TRIALS);
        let line = serde_json::to_string(&trial).map_err(Error::bug(&path))?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}").and_then(|()| file.sync_all()))
            .map_err(Error::io("write", &path))?;
        self.known.push(trial.clone());
        Ok(Some(trial))
    }

    /// Fails where a finished trial was judged by other data than this search's. A trial that never started has no run.
    fn expect_same_data(&self, run: &Path, spec: ModelSpec) -> Result<()> {
        if !run.join("model.toml").exists() {
            return Ok(());
        }
        let network = Network::new(spec)?;
        let fingerprint = Some(Fingerprint::of(&network, &self.sets.train, self.sets.validation.as_ref())?);
        expect_data(run, &RunSettings::read(run)?, &RunSettings { fingerprint, ..self.settings.clone() })
    }
}
