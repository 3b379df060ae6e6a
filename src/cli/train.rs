//! `pinhole train`

use super::interrupt::Interrupt;
use super::{Changes, End, load_pairs, open_device, resolve_model, resume, say, say_json, show_tuning, tuning_budget};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pinhole::Autoencoder;
use pinhole::data::{self, Samples, Scaling};
use pinhole::error::{Error, Result};
use pinhole::gpu::Tuning;
use pinhole::model::ModelSpec;
use pinhole::model::config::Precision;
use pinhole::plan::Target;
use pinhole::run::{Fingerprint, RunDirectory, RunSettings};
use pinhole::train::{EpochEnd, EpochReport, Observer, Options, Profile, Progress, Trainer, Warning, training_plan};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// A preset (see pinhole models) or a model file [default: conv]
    #[arg(long, value_name = "PRESET|FILE.toml")]
    pub(super) model: Option<String>,
    /// A folder with MNIST's or EMNIST's files, pictures or classes of pictures; an IDX, NPY, NPZ or CSV file;
    /// ratings:FILE; or the built-in digits
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    pub(super) data: Option<String>,
    /// What the model must output for each sample, in the order of --data, such as clean pictures with the names of
    /// noisy ones
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) targets: Option<String>,
    /// The column of a CSV file that holds labels and is not part of the samples: its name, or its number counted from
    /// 1
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    pub(super) label: Option<String>,
    /// Passes over the training set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Samples in a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) batch: Option<u64>,
    /// End after this many steps, even within an epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// The learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// The precision of the values that a step stores; f16 scales the loss and keeps sums in 32 bits
    #[arg(long, value_name = "f32|f16", value_parser = Precision::from_name)]
    pub(super) precision: Option<Precision>,
    /// The seed of initial weights, shuffling and everything else that is random
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Where to compute: the best GPU or else the CPU (auto), any adapter (gpu), the CPU, or an adapter by name
    #[arg(long, value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    device: Option<String>,
    /// Start from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub(super) init: Option<PathBuf>,
    /// Take the samples in the order of the data
    #[arg(long)]
    pub(super) no_shuffle: bool,
    /// Write the loss of every step to metrics.jsonl
    #[arg(long)]
    log_steps: bool,
    /// Continue the run in --out, or the newest one under runs. --epochs, --steps, --lr and --set train... change the
    /// training; any other option that differs from the run is refused
    #[arg(long)]
    resume: bool,
    /// With --resume: accept other data. Finished epochs stay finished; an unfinished one starts again
    #[arg(long, requires = "resume")]
    pub(super) new_data: bool,
    /// The run directory [default: a new one under runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) changes: Changes,
    /// Measure faster tiles first, for at most this many seconds, and keep them for later runs
    #[arg(long, alias = "tune", value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    autotune: Option<f64>,
    /// Also write the metrics to a TensorBoard event file in the run directory
    #[arg(long)]
    tensorboard: bool,
    /// Before training, run this many steps launch by launch, compare each with the CPU, and end at the first
    /// difference
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..))]
    check: Option<u32>,
    /// Before training, time every launch of this many steps, and write profile.json for Perfetto to the run directory
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "20",
          value_parser = clap::value_parser!(u32).range(1..))]
    profile: Option<u32>,
}

/// Trains, and keeps everything in the run directory.
pub fn run(arguments: &Arguments) -> Result<End> {
    let interrupt = Interrupt::listen();
    let model = arguments.model.as_deref().unwrap_or("conv");
    let (mut spec, mut settings, resumed) = match arguments.resume {
        true => {
            let path = match &arguments.out {
                Some(path) => path.clone(),
                None => resume::newest_run(Path::new("runs"))?,
            };
            let (run, mut spec, settings) = RunDirectory::open(&path)?;
            let before = spec.train.clone();
            resume::apply(arguments, &mut spec, &settings)?;
            (spec, settings, Some((run, before)))
        }
        false => {
            let mut spec = resolve_model(model)?;
            arguments.changes.apply(&mut spec)?;
            (spec, RunSettings::default(), None)
        }
    };
    apply(arguments, &mut spec, &mut settings);
    let device = open_device(&settings.device)?;
    let (source, targets) = resume::sources(arguments, &settings)?;
    let splits = match &resumed {
        Some((run, _)) => load_pairs(run.path(), spec.reading(), (&source, targets.as_deref()), None)?,
        None => data::load_pairs(&source, targets.as_deref(), &spec.reading())?,
    };
    let samples = settings.samples.get_or_insert_with(|| Samples::of(&splits.train));
    if let (Some(Scaling::Bytes { most: 1 }), None) = (samples.scaling, &resumed) {
        eprintln!("none of the bytes is above 1, and bytes are divided by 255: save 0 and 1 as floats, or as truth");
    }
    let (train, validation) = settings.split(splits, &spec)?;
    spec.fit_to(&train)?;
    let mut autoencoder = Autoencoder::new(spec, device)?;
    if let (Some(path), None) = (&arguments.init, &resumed) {
        autoencoder.load_weights(path)?;
        settings.init = Some(data::absolute_source(&path.to_string_lossy()));
    }
    let spec = autoencoder.network().spec().clone();
    let (network, device) = (autoencoder.network().clone(), autoencoder.device().clone());
    let fingerprint = Fingerprint::of(&network, &train, validation.as_ref())?;
    let other_data = match &resumed {
        Some(_) => resume::expect_data(arguments, (&source, targets.as_deref()), &settings, &fingerprint)?,
        None => false,
    };
    settings.data = data::absolute_source(&source);
    settings.targets = targets.as_deref().map(data::absolute_source);
    settings.fingerprint = Some(fingerprint);
    if let Some(seconds) = arguments.autotune {
        let tuning = Tuning { budget: tuning_budget(seconds)?, ..Tuning::default() };
        let batch = spec.train.batch;
        let plans = |target: &Target| Ok(vec![training_plan(&network, batch, target.clone())?]);
        match device.tune(&tuning, plans)? {
            Some(report) => show_tuning(&report),
            None => eprintln!("--autotune has nothing to choose on {}", device.name()),
        }
    }
    let options = Options { steps: settings.steps, ..Options::default() };
    let mut trainer = Trainer::new(&network, &device, &train, validation.as_ref(), options)?;
    trainer.start(autoencoder.parameters())?;
    if let Some(steps) = arguments.check {
        let agreement = trainer.check(steps as usize)?;
        eprintln!(
            "checked {} launches of each of {} steps against the CPU: at most {:.1e} off, in {}",
            agreement.launches, agreement.steps, agreement.worst, agreement.worst_launch
        );
        trainer.start(autoencoder.parameters())?;
    }
    let profile = match arguments.profile {
        Some(steps) => {
            let profile = trainer.profile(steps as usize)?;
            trainer.start(autoencoder.parameters())?;
            show_profile(&profile);
            Some(profile)
        }
        None => None,
    };
    let mut run = match resumed {
        Some((mut run, before)) => {
            let mut checkpoint = run.checkpoint(&network, trainer.moments())?;
            let anew = resume::begin_epoch_anew(&mut checkpoint, [&spec.train, &before], other_data);
            trainer.restore(&checkpoint)?;
            run.rewind(&checkpoint, trainer.steps_left() == 0)?;
            if anew {
                // Before the settings say that the data are others.
                run.save(&checkpoint, &network)?;
            }
            run.write_settings(&spec, &settings)?;
            // A kill may have come between the checkpoint and the weights.
            autoencoder.set_parameters(checkpoint.model().clone())?;
            autoencoder.save_weights(run.weights())?;
            run
        }
        None => {
            let path = arguments.out.clone().map_or_else(|| next_run(Path::new("runs"), model), Ok)?;
            RunDirectory::create(&path, &spec, &settings, &network, &trainer.checkpoint()?)?
        }
    };
    run.write_items(&train)?;
    if settings.tensorboard {
        run.write_events()?;
    }
    if let Some(profile) = &profile {
        let path = run.write_profile(profile, &device.name())?;
        eprintln!("open {} in https://ui.perfetto.dev", path.display());
    }
    let shown = match &validation {
        Some(validation) => format!("{} to validate", validation.len()),
        None => "none to validate".to_owned(),
    };
    eprintln!(
        "training {} parameters on {} samples of {} ({shown}), on {}, into {}",
        network.checked().parameter_count(),
        train.len(),
        train.name(),
        device.name(),
        run.path().display()
    );
    if trainer.steps_left() == 0 {
        let Progress { epoch, step, .. } = trainer.progress();
        eprintln!("nothing is left to do: {epoch} epochs, {step} steps are done; give --epochs or --steps for more");
    }
    interrupt.training_begins();
    // No bar is shown for an epoch that is none.
    while trainer.steps_left() > 0 {
        let mut observer = RunProgress::new(&mut run, &trainer, &settings, &interrupt);
        let outcome = trainer.epoch(&mut observer);
        observer.bar.finish_and_clear();
        if let Some(error) = observer.failure.take() {
            return Err(error);
        }
        match outcome? {
            EpochEnd::Epoch(report) => {
                run.log_epoch(&report)?;
                autoencoder.set_parameters(run.keep(&mut trainer, &network)?)?;
                print(&report, spec.train.epochs)?;
            }
            EpochEnd::Stopped => {
                autoencoder.set_parameters(run.keep(&mut trainer, &network)?)?;
                let path = run.path().display();
                eprintln!("stopped after step {}; go on by --resume --out {path}", trainer.progress().step);
                return Ok(End::Interrupted);
            }
            EpochEnd::Finished => break,
        }
    }
    let patience = trainer.progress().patience;
    if let (true, Some(best)) = (patience.ended, patience.best) {
        let waited = patience.waited;
        eprintln!("ended early: no better loss than {best:.6} in {waited} epochs; the model is the one that had it");
    }
    let shown = validation.as_ref().unwrap_or(&train);
    run.draw(&spec, shown, |originals| {
        let given = network.given(shown, 0..originals.len() / shown.sample_shape().elements())?;
        Ok(autoencoder.reconstruct_given(originals, &given)?.to_f32())
    })?;
    if let Some(statistics) = trainer.session().statistics() {
        let each = statistics.recording.as_secs_f64() * 1e6 / statistics.launches.max(1) as f64;
        eprintln!(
            "{} launches in {} submissions, {each:.2} microseconds of host time to record each; {:.1} s in submitting, \
             {:.1} s waiting; {} bytes written to the device",
            statistics.launches,
            statistics.submissions,
            statistics.submitting.as_secs_f64(),
            statistics.waiting.as_secs_f64(),
            statistics.uploaded
        );
    }
    eprintln!("model, metrics and pictures are in {}", run.path().display());
    Ok(End::Done)
}

/// Says where the time of a step goes: a line for each launch, then one for each kernel.
fn show_profile(profile: &Profile) {
    let step = profile.step_nanoseconds();
    let [names, labels] = [
        profile.launches.iter().map(|launch| launch.kernel.len()).max().unwrap_or(0),
        profile.launches.iter().map(|launch| launch.label.len()).max().unwrap_or(0).max(10),
    ];
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
    for launch in &profile.launches {
        line(&launch.kernel, &launch.label, launch.nanoseconds(), launch.operations, launch.bytes);
    }
    eprintln!("{:<names$} launches", "kernel");
    for (kernel, count, time, operations, bytes) in profile.kernels() {
        line(&kernel, &count.to_string(), time, operations, bytes);
    }
    let operations = profile.launches.iter().map(|launch| launch.operations).sum();
    let bytes = profile.launches.iter().map(|launch| launch.bytes).sum();
    line("step", &format!("mean of {}", profile.steps()), step, operations, bytes);
}

/// Puts what options of their own say over what the model file and the run's settings say.
fn apply(arguments: &Arguments, spec: &mut ModelSpec, settings: &mut RunSettings) {
    if let Some(label) = &arguments.label {
        spec.data.label.clone_from(label);
    }
    let train = &mut spec.train;
    if let Some(epochs) = arguments.epochs {
        train.epochs = epochs as usize;
    }
    if let Some(batch) = arguments.batch {
        train.batch = batch as usize;
    }
    if let Some(seed) = arguments.seed {
        train.seed = seed;
    }
    if let Some(rate) = arguments.lr {
        train.optimizer.lr = rate;
    }
    if let Some(precision) = arguments.precision {
        train.precision = precision;
    }
    train.shuffle &= !arguments.no_shuffle;
    if let Some(device) = &arguments.device {
        settings.device.clone_from(device);
    }
    if arguments.steps.is_some() {
        settings.steps = arguments.steps;
    }
    settings.log_steps |= arguments.log_steps;
    settings.tensorboard |= arguments.tensorboard;
}

/// An epoch's results: a sentence on a terminal, else a line of JSON.
fn print(report: &EpochReport, epochs: usize) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return say_json(report);
    }
    let mut line = format!("epoch {}/{epochs}: loss {:.6}", report.epoch, report.train_loss);
    if let (Some(loss), Some(mse)) = (report.val_loss, report.val_mse) {
        line += &format!(", validation loss {loss:.6}, MSE {mse:.6}");
    }
    if report.skipped > 0 {
        line += &format!(", {} updates left out so far: their gradients were not finite", report.skipped);
    }
    say(&format!("{line}, {:.1} s", report.seconds))
}

/// Makes the first free directory for a run of a model: `runs/conv-1` and so on. Of several processes that ask at once, each
/// gets one of its own.
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

/// Shows progress, keeps losses, and passes on Ctrl-C.
struct RunProgress<'a> {
    run: &'a mut RunDirectory,
    log_steps: bool,
    bar: ProgressBar,
    batch: usize,
    /// Steps before this epoch.
    first: u64,
    interrupt: &'a Interrupt,
    /// What went wrong while a loss was kept; training ends on it.
    failure: Option<Error>,
}

impl<'a> RunProgress<'a> {
    fn new(
        run: &'a mut RunDirectory,
        trainer: &Trainer,
        settings: &RunSettings,
        interrupt: &'a Interrupt,
    ) -> RunProgress<'a> {
        let progress = trainer.progress();
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(trainer.steps_per_epoch() as u64), target);
        let template = "epoch {prefix} {wide_bar} {pos}/{len} {msg} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix((progress.epoch + 1).to_string());
        bar.set_position(progress.position as u64);
        bar.reset_eta();
        let first = progress.step - progress.position as u64;
        let batch = trainer.batch();
        RunProgress { run, log_steps: settings.log_steps, bar, batch, first, interrupt, failure: None }
    }
}

impl Observer for RunProgress<'_> {
    fn step(&mut self, step: u64, loss: f64) {
        self.bar.set_position(step - self.first);
        if !self.bar.is_hidden() {
            let rate = self.bar.per_sec() * self.batch as f64;
            self.bar.set_message(format!("loss {loss:.5} {rate:.0} images/s"));
        }
        if self.log_steps && self.failure.is_none() {
            self.failure = self.run.log_step(step, loss).err();
        }
    }

    fn warning(&mut self, warning: &Warning) {
        self.bar.suspend(|| eprintln!("warning: {warning}"));
    }

    fn stop(&mut self) -> bool {
        self.failure.is_some() || self.interrupt.is_raised()
    }
}
