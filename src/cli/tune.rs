//! `pinhole tune`: hyperparameter search.

use super::arguments::DeviceArgument;
use super::interrupt::{End, Interrupt};
use super::output::{say, say_json};
use pinhole::error::{Error, Result};
use pinhole::train::Observer;
use pinhole::tune::{Ended, SearchSpec, Trial, TuneObserver, tune};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    /// The search space: the model, the keys to search with their values, and the method
    #[arg(value_name = "SPACE.toml")]
    space: PathBuf,
    /// The directory of the search; an interrupted search in it is continued [default: runs/SPACE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print a line of JSON for each trial, the best first
    #[arg(long)]
    json: bool,
}

/// Searches, and prints the trials, the best first.
pub fn run(arguments: &Arguments) -> Result<End> {
    let interrupted = Interrupt::listen();
    let (spec, model) = SearchSpec::read(&arguments.space)?;
    let default = || Path::new("runs").join(arguments.space.file_stem().unwrap_or("space".as_ref()));
    let folder = arguments.out.clone().unwrap_or_else(default);
    let device = arguments.device.open()?;
    let count = spec.trials();
    eprintln!(
        "searching {} keys of {} on {}, {count} trials, into {}; some training data is set aside for validation",
        spec.space.len(),
        spec.model,
        spec.data,
        folder.display()
    );
    let mut observer = Progress { metric: spec.metric.name(), count, folder: &folder, interrupted, begun: None };
    let Ended::Finished(trials) = tune(&spec, &model, &device, arguments.device.name(), &folder, &mut observer)? else {
        return Ok(End::stopped());
    };
    if arguments.json || !std::io::stdout().is_terminal() {
        for trial in &trials {
            say_json(&Line { trial, run: trial.run(&folder) })?;
        }
    } else {
        table(&spec, &trials)?;
    }
    let Some(best) = trials.first().filter(|trial| trial.failure.is_none()) else {
        let failure = trials.iter().find_map(|trial| trial.failure.as_ref().map(|failure| (trial.trial, failure)));
        let why = failure.map(|(trial, failure)| format!(" (trial {trial}: {failure})")).unwrap_or_default();
        let problem = format!("none of its {} trials has a result{why}", trials.len());
        return Err(Error::file(&folder, problem, "change the space or the model, and choose another --out"));
    };
    let run = best.run(&folder);
    eprintln!("the best model is {}", run.join("model.safetensors").display());
    eprintln!("measure it on the test set: pinhole eval {} --data {}", run.display(), spec.data);
    Ok(End::Done)
}

/// A trial and the directory of its run.
#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    trial: &'a Trial,
    run: PathBuf,
}

/// Prints a table with a row for each trial.
fn table(spec: &SearchSpec, trials: &[Trial]) -> Result<()> {
    let mut rows = vec![vec!["trial".to_owned()]];
    rows[0].extend(spec.space.iter().map(|dimension| dimension.key.clone()));
    rows[0].extend(["epochs", "val_loss", "val_mse", "seconds"].map(str::to_owned));
    for trial in trials {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.6}"));
        let mut row = vec![trial.trial.to_string()];
        row.extend(spec.space.iter().map(|dimension| trial.values[&dimension.key].to_string()));
        row.extend([trial.epochs.to_string(), number(trial.val_loss), number(trial.val_mse)]);
        row.push(format!("{:.1}", trial.seconds));
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        let failure = index.checked_sub(1).and_then(|index| trials[index].failure.as_ref());
        let why = failure.map(|failure| format!("  {failure}")).unwrap_or_default();
        say(&format!("{}{why}", cells.join("  ")))?;
    }
    Ok(())
}

/// Reports trials as they begin and end, and stops the search after a signal.
struct Progress<'a> {
    metric: &'static str,
    count: usize,
    folder: &'a Path,
    interrupted: Arc<Interrupt>,
    /// The current trial; `None` where a trial of an earlier search is reported again.
    begun: Option<usize>,
}

impl Observer for Progress<'_> {
    fn stop(&mut self) -> bool {
        self.interrupted.is_raised()
    }
}

impl TuneObserver for Progress<'_> {
    fn begins(&mut self, trial: usize, values: &[String]) {
        self.interrupted.training_begins();
        eprintln!("trial {trial}/{}: {}", self.count, values.join(", "));
        self.begun = Some(trial);
    }

    fn ended(&mut self, trial: &Trial, best: &Trial) {
        if self.begun.take().is_none() {
            return;
        }
        if let Some(failure) = &trial.failure {
            return eprintln!("  failed: {failure}");
        }
        let shown = |trial: &Trial| {
            let metric = if self.metric == "val_mse" { trial.val_mse } else { trial.val_loss };
            metric.map_or("none".to_owned(), |metric| format!("{metric:.6}"))
        };
        let (metric, Trial { epochs, seconds, .. }) = (self.metric, trial);
        let [value, best_value] = [trial, best].map(shown);
        let run = best.run(self.folder);
        eprintln!("  {metric} {value} after {epochs} epochs, {seconds:.1} s; best {best_value} of {}", run.display());
    }
}
