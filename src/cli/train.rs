//! `pinhole train`: trains a model, and keeps it in a run directory.

use super::arguments::{TrainArguments, open_device};
use super::autotune::show_tuning;
use super::inputs::load_pairs;
use super::interrupt::{End, Interrupt};
use super::output::{progress_bar, say, say_json};
use super::resume;
use indicatif::{ProgressBar, ProgressDrawTarget};
use pinhole::Device;
use pinhole::data::{self, Samples, Scaling, TrainingSets};
use pinhole::error::{Error, Result};
use pinhole::gpu::{Statistics, Tuning};
use pinhole::model::config::TrainSpec;
use pinhole::model::{ModelSpec, Network, weights};
use pinhole::run::{Fingerprint, Run, RunDirectory, RunEnd, RunSettings};
use pinhole::tensor::Values;
use pinhole::train::{Checkpoint, EpochReport, Observer, Options, Profile, Progress, Trainer, Warning, training_plan};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The preset that is trained where no model is given.
const DEFAULT_MODEL: &str = "conv";

/// Everything that a command line asks for: model, device, data and settings, and the run to resume.
struct Prepared {
    network: Network,
    device: Device,
    sets: TrainingSets,
    settings: RunSettings,
    /// The initial weights of a new run.
    start: Values,
    /// The run to resume, with its training settings before this command.
    resumed: Option<(RunDirectory, TrainSpec)>,
    /// Whether the data differ from those that the resumed run began with.
    other_data: bool,
}

/// Trains a model, and keeps everything in the run directory.
pub fn run(arguments: &TrainArguments) -> Result<End> {
    let interrupt = Interrupt::listen();
    let Prepared { network, device, sets, settings, start, resumed, other_data } = prepare(arguments)?;
    if let Some(budget) = arguments.autotune.budget()? {
        autotune(budget, &network, &device)?;
    }
    let options = Options { steps: settings.steps, ..Options::default() };
    let mut trainer = Trainer::new(&network, &device, &sets.train, sets.validation.as_ref(), options)?;
    let profile = inspect(arguments, &mut trainer, &start)?;
    let mut run = match resumed {
        Some((directory, before)) => {
            let trains = [&network.spec().train, &before];
            let change = |checkpoint: &mut Checkpoint| resume::begin_epoch_anew(checkpoint, trains, other_data);
            Run::resume(directory, trainer, &settings, change)?
        }
        None => {
            let model = arguments.model.as_deref().unwrap_or(DEFAULT_MODEL);
            let path = arguments.out.clone().map_or_else(|| next_run(Path::new("runs"), model), Ok)?;
            Run::create(&path, trainer, &settings, &start)?
        }
    };
    if let Some(profile) = &profile {
        let path = run.directory().write_profile(profile, &device.name())?;
        eprintln!("open {} in https://ui.perfetto.dev", path.display());
    }
    announce(&run);
    interrupt.training_begins();
    let mut progress = RunProgress::new(&run, &interrupt);
    let end = run.train(&mut progress);
    progress.clear();
    if let Some(error) = progress.failure.take() {
        return Err(error);
    }
    if end? == RunEnd::Stopped {
        let (step, path) = (run.trainer().progress().step, run.directory().path().display());
        eprintln!("stopped after step {step}; continue with --resume --out {path}");
        return Ok(End::Interrupted);
    }
    let patience = run.trainer().progress().patience;
    if let (true, Some(best)) = (patience.ended, patience.best) {
        let waited = patience.waited;
        eprintln!("stopped early: no loss below {best:.6} in {waited} epochs; the model has the weights of that loss");
    }
    run.draw()?;
    show_statistics(&run);
    eprintln!("model, metrics and pictures are in {}", run.directory().path().display());
    Ok(End::Done)
}

/// Reads the model, the data and the settings of a new run, or of a run to resume.
fn prepare(arguments: &TrainArguments) -> Result<Prepared> {
    let (mut spec, mut settings, resumed) = match arguments.resume {
        true => {
            let path = arguments.out.clone().map_or_else(|| resume::newest_run(Path::new("runs")), Ok)?;
            let (directory, mut spec, settings) = RunDirectory::open(&path)?;
            let before = spec.train.clone();
            resume::apply(arguments, &mut spec, &settings)?;
            (spec, settings, Some((directory, before)))
        }
        false => {
            let spec = arguments.changes.resolve(arguments.model.as_deref().unwrap_or(DEFAULT_MODEL))?;
            (spec, RunSettings::default(), None)
        }
    };
    apply(arguments, &mut spec, &mut settings);
    let device = open_device(&settings.device)?;
    let (source, targets) = resume::sources(arguments, &settings)?;
    let splits = match &resumed {
        Some((directory, _)) => load_pairs(directory.path(), spec.reading(), (&source, targets.as_deref()), None)?,
        None => data::load_pairs(&source, targets.as_deref(), &spec.reading())?,
    };
    let samples = settings.samples.get_or_insert_with(|| Samples::of(&splits.train));
    if let (Some(Scaling::Bytes { most: 1 }), None) = (samples.scaling, &resumed) {
        eprintln!("no byte is above 1, but bytes are divided by 255: save zeros and ones as floats or as booleans");
    }
    let sets = splits.for_training(spec.train.validation, spec.train.seed, settings.set_aside)?;
    spec.fit_to(&sets.train)?;
    let network = Network::new(spec)?;
    let start = match (&arguments.init, &resumed) {
        (Some(path), None) => {
            settings.init = Some(data::absolute_source(&path.to_string_lossy()));
            weights::read_model(path, network.layout())?
        }
        _ => Values::F32(network.initial(network.spec().train.seed)),
    };
    let fingerprint = Fingerprint::of(&network, &sets.train, sets.validation.as_ref())?;
    let sources = (&*source, targets.as_deref());
    let other_data = resumed.is_some() && resume::expect_data(arguments, sources, &settings, &fingerprint)?;
    settings.data = data::absolute_source(&source);
    settings.targets = targets.as_deref().map(data::absolute_source);
    settings.fingerprint = Some(fingerprint);
    Ok(Prepared { network, device, sets, settings, start, resumed, other_data })
}

/// Measures tiles for the matrix products of the training step, and reports the chosen ones.
fn autotune(budget: Duration, network: &Network, device: &Device) -> Result<()> {
    let tuning = Tuning { budget, ..Tuning::default() };
    let batch = network.spec().train.batch;
    match device.tune(&tuning, |target| Ok(vec![training_plan(network, batch, target.clone())?]))? {
        Some(report) => show_tuning(&report),
        None => eprintln!("--autotune has nothing to choose on {}", device.name()),
    }
    Ok(())
}

/// Runs `--check` and `--profile` on the first steps. The trainer must be started again after them.
fn inspect(arguments: &TrainArguments, trainer: &mut Trainer, start: &Values) -> Result<Option<Profile>> {
    if let Some(steps) = arguments.check {
        trainer.start(start)?;
        let agreement = trainer.check(steps as usize)?;
        eprintln!(
            "checked {} launches of each of {} steps against the CPU: at most {:.1e} off, in {}",
            agreement.launches, agreement.steps, agreement.worst, agreement.worst_launch
        );
    }
    let Some(steps) = arguments.profile else { return Ok(None) };
    trainer.start(start)?;
    let profile = trainer.profile(steps as usize)?;
    show_profile(&profile);
    Ok(Some(profile))
}

/// Reports the size of the model, the data, the device and the directory of a run.
fn announce(run: &Run) {
    let trainer = run.trainer();
    let validated = trainer.validation().map_or("none".to_owned(), |validation| validation.len().to_string());
    eprintln!(
        "training {} parameters on {} samples of {} ({validated} to validate), on {}, into {}",
        trainer.network().checked().parameter_count(),
        trainer.data().len(),
        trainer.data().name(),
        trainer.device().name(),
        run.directory().path().display()
    );
    if trainer.steps_left() == 0 {
        let Progress { epoch, step, .. } = trainer.progress();
        eprintln!("nothing is left to do: {epoch} epochs, {step} steps are done; give --epochs or --steps for more");
    }
}

/// Reports the number of launches and the host's time for them, on devices that count them.
fn show_statistics(run: &Run) {
    let Some(statistics) = run.trainer().session().statistics() else { return };
    let Statistics { launches, submissions, recording, submitting, waiting, uploaded, .. } = statistics;
    let each = recording.as_secs_f64() * 1e6 / launches.max(1) as f64;
    eprintln!(
        "{launches} launches in {submissions} submissions, {each:.2} microseconds of host time to record each; \
         {:.1} s in submitting, {:.1} s waiting; {uploaded} bytes written to the device",
        submitting.as_secs_f64(),
        waiting.as_secs_f64()
    );
}

/// Prints the time of a step: a line for each launch, a line for each kernel, and the sum.
fn show_profile(profile: &Profile) {
    let step = profile.step_nanoseconds();
    let launches = &profile.launches;
    let names = launches.iter().map(|launch| launch.kernel.len()).max().unwrap_or(0);
    let labels = launches.iter().map(|launch| launch.label.len()).max().unwrap_or(0).max(10);
    let line = |name: &str, label: &str, time: f64, operations: u64, bytes: u64| {
        eprintln!(
            "{name:<names$} {label:<labels$} {:>10.1} {:>6.1} {:>10.1} {:>8.1}",
            time / 1e3,
            100.0 * time / step.max(1.0),
            operations as f64 / time.max(1.0),
            bytes as f64 / time.max(1.0)
        );
    };
    eprintln!("{:<names$} {:<labels$} {:>10} {:>6} {:>10} {:>8}", "launch", "of", "us", "%", "GFLOP/s", "GB/s");
    for launch in launches {
        line(&launch.kernel, &launch.label, launch.nanoseconds(), launch.operations, launch.bytes);
    }
    eprintln!("{:<names$} launches", "kernel");
    for (kernel, count, time, operations, bytes) in profile.kernels() {
        line(&kernel, &count.to_string(), time, operations, bytes);
    }
    let operations = launches.iter().map(|launch| launch.operations).sum();
    let bytes = launches.iter().map(|launch| launch.bytes).sum();
    line("step", &format!("mean of {}", profile.steps()), step, operations, bytes);
}

/// Applies the options that stand for keys of the model file or settings of the run.
fn apply(arguments: &TrainArguments, spec: &mut ModelSpec, settings: &mut RunSettings) {
    if let Some(label) = &arguments.label {
        spec.data.label.clone_from(label);
    }
    let train = &mut spec.train;
    train.epochs = arguments.epochs.map_or(train.epochs, |epochs| epochs as usize);
    train.batch = arguments.batch.map_or(train.batch, |batch| batch as usize);
    train.seed = arguments.seed.unwrap_or(train.seed);
    train.optimizer.lr = arguments.lr.unwrap_or(train.optimizer.lr);
    train.precision = arguments.precision.unwrap_or(train.precision);
    train.shuffle &= !arguments.no_shuffle;
    if let Some(device) = &arguments.device.given {
        settings.device.clone_from(device);
    }
    settings.steps = arguments.steps.or(settings.steps);
    settings.log_steps |= arguments.log_steps;
    settings.tensorboard |= arguments.tensorboard;
}

/// Prints an epoch's results: a sentence on a terminal, else a line of JSON.
fn print(report: &EpochReport, epochs: usize) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return say_json(report);
    }
    let mut line = format!("epoch {}/{epochs}: loss {:.6}", report.epoch, report.train_loss);
    if let (Some(loss), Some(mse)) = (report.val_loss, report.val_mse) {
        line += &format!(", validation loss {loss:.6}, MSE {mse:.6}");
    }
    if report.skipped > 0 {
        line += &format!(", {} updates skipped so far, whose gradients were not finite", report.skipped);
    }
    say(&format!("{line}, {:.1} s", report.seconds))
}

/// Creates the first free directory for a run of a model: `runs/conv-1`, `runs/conv-2` and further. Processes that run
/// at the same time get different directories.
fn next_run(runs: &Path, model: &str) -> Result<PathBuf> {
    let stem = Path::new(model).file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
    std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
    for number in 1u64.. {
        let path = runs.join(format!("{stem}-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create", &path)(error)),
        }
    }
    Err(Error::file(runs, "has no number left for a run", "give --out"))
}

/// Shows progress, prints epochs, and stops training after a signal.
struct RunProgress<'a> {
    interrupt: &'a Interrupt,
    /// The progress bar of an epoch, from the first step to the end of validation.
    bar: Option<ProgressBar>,
    epochs: usize,
    steps_per_epoch: u64,
    batch: usize,
    /// The number of finished epochs.
    epoch: u64,
    /// The number of finished steps of the current epoch when its bar appears.
    position: u64,
    /// The number of steps before the current epoch.
    first: u64,
    /// The error that kept an epoch from being printed. It stops training.
    failure: Option<Error>,
}

impl RunProgress<'_> {
    fn new<'a>(run: &Run, interrupt: &'a Interrupt) -> RunProgress<'a> {
        let trainer = run.trainer();
        let &Progress { epoch, position, step, .. } = trainer.progress();
        RunProgress {
            interrupt,
            bar: None,
            epochs: trainer.network().spec().train.epochs,
            steps_per_epoch: trainer.steps_per_epoch() as u64,
            batch: trainer.batch(),
            epoch,
            position: position as u64,
            first: step - position as u64,
            failure: None,
        }
    }

    fn show_bar(&mut self) {
        let bar = progress_bar(self.steps_per_epoch, "epoch {prefix} {wide_bar} {pos}/{len} {msg} {eta} left");
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.set_prefix((self.epoch + 1).to_string());
        bar.set_position(self.position);
        bar.reset_eta();
        self.bar = Some(bar);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for RunProgress<'_> {
    fn step(&mut self, step: u64, loss: f64) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(step - self.first);
        if !bar.is_hidden() {
            let rate = bar.per_sec() * self.batch as f64;
            bar.set_message(format!("loss {loss:.5} {rate:.0} images/s"));
        }
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.clear();
        (self.epoch, self.position, self.first) = (report.epoch, 0, self.first + self.steps_per_epoch);
        self.failure = print(report, self.epochs).err();
    }

    fn warning(&mut self, warning: &Warning) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("warning: {warning}")),
            None => eprintln!("warning: {warning}"),
        }
    }

    fn stop(&mut self) -> bool {
        let stop = self.failure.is_some() || self.interrupt.is_raised();
        if self.bar.is_none() && !stop {
            self.show_bar();
        }
        stop
    }
}
