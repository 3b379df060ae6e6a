//! `pinhole train --resume`: compares the options of a command line with those of the run.
//!
//! The command that began a run resumes it when `--resume` is added. An option that differs from the run is refused by
//! its name, unless it may change.

use super::arguments::{TrainArguments, resolve_model};
use pinhole::data::{is_same_source, may_be_same_source, relative_path};
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use pinhole::model::config::TrainSpec;
use pinhole::run::{Fingerprint, RunSettings};
use pinhole::train::Checkpoint;
use std::path::{Path, PathBuf};

const ANOTHER: &str = "leave it out, or begin another run without --resume";

/// The run whose checkpoint is the newest.
pub fn newest_run(runs: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let checkpoints = entries.filter(|entry| entry.path().join("model.toml").is_file()).filter_map(|entry| {
        let modified = entry.path().join("checkpoint.safetensors").metadata().and_then(|file| file.modified()).ok()?;
        Some((modified, entry.path()))
    });
    checkpoints.max().map(|(_, path)| path).ok_or_else(|| {
        let help = "give --out the directory of a run, or leave --resume out";
        Error::invalid("--resume", "there is no run under runs", help)
    })
}

/// Applies the changes to the training of a run. Fails where the command line differs from the run in anything else.
pub fn apply(arguments: &TrainArguments, spec: &mut ModelSpec, settings: &RunSettings) -> Result<()> {
    if let Some(label) = arguments.label.as_ref().filter(|label| **label != spec.data.label) {
        let problem = match &spec.data.label[..] {
            "" => "the run has no column of labels".to_owned(),
            column => format!("the run's labels are in column {column:?}"),
        };
        return Err(Error::invalid(format!("--label {label}"), problem, ANOTHER));
    }
    expect_model(arguments, spec)?;
    let mut train = spec.clone();
    for assignment in arguments.changes.set.iter().filter(|assignment| is_of_training(assignment)) {
        train.set(assignment)?;
        expect_begun(assignment, &train.train, &spec.train)?;
    }
    // The options below must agree with the run, or with --set.
    let refuse = |option: String, of_run: String, key: String| {
        let help = format!("leave it out, change the run by --set train.{key}, or begin another run without --resume");
        Err(Error::invalid(option, format!("the run {of_run}"), help))
    };
    let TrainSpec { batch, seed, precision, shuffle, .. } = train.train;
    if let Some(other) = arguments.batch.filter(|other| *other != batch as u64) {
        return refuse(format!("--batch {other}"), format!("has {batch}"), format!("batch={other}"));
    }
    if let Some(other) = arguments.precision.filter(|other| *other != precision) {
        let (other, own) = (other.name(), precision.name());
        return refuse(format!("--precision {other}"), format!("has {own}"), format!("precision={other}"));
    }
    if let Some(other) = arguments.seed.filter(|other| *other != seed) {
        return Err(Error::invalid(format!("--seed {other}"), format!("the run began with {seed}"), ANOTHER));
    }
    if arguments.no_shuffle && shuffle {
        return refuse("--no-shuffle".to_owned(), "shuffles its samples".to_owned(), "shuffle=false".to_owned());
    }
    if let Some(init) = arguments.init.as_deref().map(Path::to_string_lossy) {
        let problem = match &settings.init {
            Some(own) if is_same_source(own, &init) => None,
            Some(own) => Some(format!("the run began with {own}")),
            None => Some("the run is not known to have begun with it".to_owned()),
        };
        if let Some(problem) = problem {
            return Err(Error::invalid(format!("--init {init}"), problem, ANOTHER));
        }
    }
    *spec = train;
    Ok(())
}

/// Whether an assignment of `--set` is to a key of `[train]`.
fn is_of_training(assignment: &str) -> bool {
    let key = assignment.split('=').next().unwrap_or_default().trim();
    key == "train" || key.starts_with("train.")
}

/// Fails where an assignment changes the start of the training, or the moments that the optimizer needs.
fn expect_begun(assignment: &str, now: &TrainSpec, before: &TrainSpec) -> Result<()> {
    let refuse = |problem: String| Err(Error::invalid(format!("--set {}", assignment.trim()), problem, ANOTHER));
    if now.seed != before.seed {
        return refuse(format!("the run began with train.seed = {}", before.seed));
    }
    if now.validation != before.validation {
        return refuse(format!("the run began with train.validation = {:?}", before.validation));
    }
    if now.initializer != before.initializer {
        return refuse(format!("the run began with train.initializer = {}", before.initializer));
    }
    let [kept, wanted] = [before, now].map(|spec| spec.optimizer.method.moments());
    let unlike = kept != wanted && kept.min(wanted) > 0;
    if now.optimizer.name() != before.optimizer.name() || unlike {
        return refuse(format!("the run's optimizer is {}, whose moments do not fit this one", before.optimizer));
    }
    Ok(())
}

/// Fails where the command line names a model that differs from the run's in more than its training.
fn expect_model(arguments: &TrainArguments, run: &ModelSpec) -> Result<()> {
    let changed = |mut model: ModelSpec, set: &[String], latent: Option<u32>| -> Result<Option<&'static str>> {
        set.iter().filter(|assignment| !is_of_training(assignment)).try_for_each(|assignment| model.set(assignment))?;
        latent.map_or(Ok(()), |size| model.set_latent(size as usize))?;
        model.data.label.clone_from(&run.data.label);
        model.fit_as(run);
        Ok(model.difference(run))
    };
    let (set, latent) = (&arguments.changes.set[..], arguments.changes.latent);
    let refuse =
        |option: String, key: &str| Err(Error::invalid(option, format!("makes another {key} than the run's"), ANOTHER));
    let base = arguments.model.as_deref().map(resolve_model).transpose()?;
    let Some(key) = changed(base.clone().unwrap_or_else(|| run.clone()), set, latent)? else { return Ok(()) };
    // The error names the first option that differs from the run even without the others.
    for assignment in set {
        if let Some(key) = changed(run.clone(), std::slice::from_ref(assignment), None)? {
            return refuse(format!("--set {}", assignment.trim()), key);
        }
    }
    match (latent, &arguments.model) {
        (Some(size), _) if changed(run.clone(), &[], latent)?.is_some() => refuse(format!("--latent {size}"), key),
        (_, Some(model)) => refuse(format!("--model {model}"), key),
        (_, None) => refuse("--set".to_owned(), key),
    }
}

/// The sources of data and targets: those of the command line, else those of the run. Fails where a relative path of
/// the run does not exist in the current folder.
pub fn sources(arguments: &TrainArguments, settings: &RunSettings) -> Result<(String, Option<String>)> {
    let own = |option: &str, source: &String| match relative_path(source).filter(|path| !path.exists()) {
        // Runs of older versions keep relative paths.
        Some(path) => {
            let here = std::env::current_dir().unwrap_or_default();
            let problem = format!("the run's {} is not in {}", path.display(), here.display());
            let help = format!("give {option} with its path, or resume in the folder where the run began");
            Err(Error::invalid(option, problem, help))
        }
        None => Ok(source.clone()),
    };
    let data = arguments.data.clone().map_or_else(|| own("--data", &settings.data), Ok)?;
    let targets = match (&arguments.targets, &settings.targets) {
        (None, Some(source)) => Some(own("--targets", source)?),
        (given, _) => given.clone(),
    };
    Ok((data, targets))
}

/// Whether data differ from those of the run: by their fingerprint, else by their source. Fails where they do, unless
/// `--new-data` is given.
pub fn expect_data(
    arguments: &TrainArguments,
    (data, targets): (&str, Option<&str>),
    settings: &RunSettings,
    now: &Fingerprint,
) -> Result<bool> {
    let problem = match &settings.fingerprint {
        Some(before) => now.difference(before).map(|difference| format!("has {difference}")),
        None if settings.has_sources(data, targets, may_be_same_source) => None,
        None => {
            let targets = settings.targets.as_ref().map(|targets| format!(" with targets {targets}"));
            let (data, targets) = (&settings.data, targets.unwrap_or_default());
            Some(format!("is not what the run began with, which is {data}{targets}"))
        }
    };
    match problem {
        Some(problem) if !arguments.new_data => {
            let help = "give the run's own data, or add --new-data to continue with these";
            Err(Error::invalid(format!("data \"{data}\""), problem, help))
        }
        problem => Ok(problem.is_some()),
    }
}

/// Restarts the current epoch of a checkpoint, and reports it, where the epoch would have different steps now: with
/// other data, another batch size or another order. Returns whether it did.
pub fn begin_epoch_anew(checkpoint: &mut Checkpoint, [now, before]: [&TrainSpec; 2], other_data: bool) -> bool {
    let of = |spec: &TrainSpec| (spec.batch, spec.shuffle, spec.accumulate);
    let anew = checkpoint.progress.position > 0 && (other_data || of(now) != of(before));
    if anew {
        eprintln!("epoch {} starts again: its steps differ from the finished ones", checkpoint.progress.epoch + 1);
        checkpoint.begin_epoch_anew(before.accumulate);
    }
    anew
}
