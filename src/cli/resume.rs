//! `pinhole train --resume`: what of a command line goes on with a run, and what would make another of it.
//!
//! The command that began a run goes on with it when `--resume` is added. An option that differs from the run is refused by
//! its name, unless it is one that may change.

use super::arguments::{TrainArguments, resolve_model};
use pinhole::data::{is_same_source, may_be_same_source, relative_path};
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use pinhole::model::config::TrainSpec;
use pinhole::run::{Fingerprint, RunSettings};
use pinhole::train::Checkpoint;
use std::path::{Path, PathBuf};

const ANOTHER: &str = "leave it out, or begin another run without --resume";

/// The run that was written to last.
pub fn newest_run(runs: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let checkpoints = entries.filter(|entry| entry.path().join("model.toml").is_file()).filter_map(|entry| {
        let modified = entry.path().join("checkpoint.safetensors").metadata().and_then(|file| file.modified()).ok()?;
        Some((modified, entry.path()))
    });
    checkpoints.max().map(|(_, path)| path).ok_or_else(|| {
        Error::invalid(
            "--resume",
            "there is no run under runs",
            "give --out the directory of a run, or leave --resume out",
        )
    })
}

/// Puts what may change of a run over what it has. Fails where the command line differs from the run in anything else.
pub fn apply(arguments: &TrainArguments, spec: &mut ModelSpec, settings: &RunSettings) -> Result<()> {
    if let Some(label) = arguments.label.as_ref().filter(|label| **label != spec.data.label) {
        let problem = match &spec.data.label[..] {
            "" => "the run has no column of labels".to_owned(),
            own => format!("the run's labels are in column {own:?}"),
        };
        return Err(Error::invalid(format!("--label {label}"), problem, ANOTHER));
    }
    expect_model(arguments, spec)?;
    let mut train = spec.clone();
    for assignment in of_training(&arguments.changes.set) {
        train.set(assignment)?;
        expect_begun(assignment, &train.train, &spec.train)?;
    }
    // As the run has it, or as the command line has just set it.
    let refuse = |option: String, of_run: String, key: String| {
        let help = format!("leave it out, go on with it by --set train.{key}, or begin another run without --resume");
        Err(Error::invalid(option, format!("the run {of_run}"), help))
    };
    let TrainSpec { batch, seed, precision, shuffle, .. } = train.train;
    if let Some(other) = arguments.batch.filter(|other| *other != batch as u64) {
        return refuse(format!("--batch {other}"), format!("has {batch}"), format!("batch={other}"));
    }
    if let Some(other) = arguments.precision.filter(|other| *other != precision) {
        let other = other.name();
        return refuse(
            format!("--precision {other}"),
            format!("has {}", precision.name()),
            format!("precision={other}"),
        );
    }
    if let Some(other) = arguments.seed.filter(|other| *other != seed) {
        return Err(Error::invalid(format!("--seed {other}"), format!("the run began with {seed}"), ANOTHER));
    }
    if arguments.no_shuffle && shuffle {
        return refuse("--no-shuffle".to_owned(), "shuffles its samples".to_owned(), "shuffle=false".to_owned());
    }
    if let Some(init) = arguments.init.as_deref().map(Path::to_string_lossy) {
        let same = settings.init.as_deref().is_some_and(|own| is_same_source(own, &init));
        if !same {
            let problem = match &settings.init {
                Some(own) => format!("the run began with {own}"),
                None => "the run is not known to have begun with it".to_owned(),
            };
            return Err(Error::invalid(format!("--init {init}"), problem, ANOTHER));
        }
    }
    *spec = train;
    Ok(())
}

/// The assignments of `--set` to keys of `[train]`.
fn of_training(set: &[String]) -> impl Iterator<Item = &String> {
    set.iter().filter(|assignment| is_of_training(assignment))
}

fn is_of_training(assignment: &str) -> bool {
    let key = assignment.split('=').next().unwrap_or_default().trim();
    key == "train" || key.starts_with("train.")
}

/// Fails where an assignment changes what training began with, or what the optimiser keeps.
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

/// Fails where the command line says another model than the run's, its training aside.
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
    // Of several options the one to name is the first that the run disagrees with by itself.
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

/// Where a run's data and what is to be made of them come from: the command line, else the run. Fails where the run's own
/// source is not found from here.
pub fn sources(arguments: &TrainArguments, settings: &RunSettings) -> Result<(String, Option<String>)> {
    let own = |option: &str, source: &String| match relative_path(source).filter(|path| !path.exists()) {
        // Runs of older versions keep paths as they were typed.
        Some(path) => {
            let here = std::env::current_dir().unwrap_or_default();
            let problem = format!("the run's {} is not in {}", path.display(), here.display());
            let help = format!("give {option} with its path, or go on from the folder where the run began");
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

/// Fails where data are not those of the run, unless other data are asked for. Whether they are others. Data with the run's
/// fingerprint are the run's wherever they lie.
pub fn expect_data(
    arguments: &TrainArguments,
    (data, targets): (&str, Option<&str>),
    settings: &RunSettings,
    now: &Fingerprint,
) -> Result<bool> {
    let same_targets = match (targets, settings.targets.as_deref()) {
        (Some(now), Some(before)) => may_be_same_source(now, before),
        (now, before) => now == before,
    };
    let problem = match &settings.fingerprint {
        Some(before) => now.difference(before).map(|difference| format!("has {difference}")),
        None if may_be_same_source(data, &settings.data) && same_targets => None,
        None => Some(format!("is not what the run began with, which is {}", described(settings))),
    };
    match problem {
        Some(problem) if !arguments.new_data => {
            let help = "give the run's own data, or add --new-data to go on with these";
            Err(Error::invalid(format!("data \"{data}\""), problem, help))
        }
        problem => Ok(problem.is_some()),
    }
}

fn described(settings: &RunSettings) -> String {
    let targets = settings.targets.as_ref().map(|targets| format!(" with targets {targets}")).unwrap_or_default();
    format!("{}{targets}", settings.data)
}

/// Lets the epoch that a checkpoint stands in begin anew, where its steps would no longer be the same: with other data, another
/// batch, or another order. Says so.
pub fn begin_epoch_anew(checkpoint: &mut Checkpoint, [now, before]: [&TrainSpec; 2], other_data: bool) -> bool {
    let of = |spec: &TrainSpec| (spec.batch, spec.shuffle, spec.accumulate);
    let anew = checkpoint.progress.position > 0 && (other_data || of(now) != of(before));
    if anew {
        eprintln!(
            "epoch {} begins anew: its steps are others than those that were done",
            checkpoint.progress.epoch + 1
        );
        checkpoint.begin_epoch_anew(before.accumulate);
    }
    anew
}
