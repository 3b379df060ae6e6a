//! The program: one file per subcommand. Results go to stdout, everything else to stderr.
//!
//! Exit codes: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, SIGTERM or SIGHUP.

mod bench;
mod classify;
mod condition;
mod convert;
mod devices;
mod download;
mod eval;
mod explore;
mod init;
mod interrupt;
mod kernels;
mod models;
mod plan;
mod pretrain;
mod recommend;
mod resume;
mod schema;
mod search;
mod summary;
mod train;
mod tune;

use clap::{CommandFactory, Parser, Subcommand};
use pinhole::data::{self, Dataset, LabelColumn, Reading, Splits};
use pinhole::error::{Error, Result};
use pinhole::gpu::TuningReport;
use pinhole::model::ModelSpec;
use pinhole::plan::{Family, Tile};
use pinhole::run::RunDirectory;
use pinhole::{Autoencoder, Device, gpu};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Parser)]
#[command(
    name = "pinhole",
    version,
    about = "Trains and uses autoencoders on any GPU, or on the CPU",
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a model in a run directory
    Train(train::Arguments),
    /// Train a model layer by layer, each as a denoising autoencoder of the layers below
    Pretrain(pretrain::Arguments),
    /// Train a classifier, a run's encoder with a softmax head, or predict with one
    Classify(classify::Arguments),
    /// Search over the keys of a model file for the best values
    Tune(tune::Arguments),
    /// Measure the loss and errors of a trained model on the test part of a data set
    Eval(eval::Arguments),
    /// Rank the items that users do not have yet
    Recommend(recommend::Arguments),
    /// Write the codes of samples
    Encode(convert::Encode),
    /// Write the samples of codes
    Decode(convert::Arguments),
    /// Write the reconstructions of samples
    Reconstruct(convert::Reconstruct),
    /// Find the samples with the nearest binary codes
    Search(search::Arguments),
    /// Draw new samples
    Generate(explore::Generate),
    /// Write the samples on a path between two samples
    Interpolate(explore::Interpolate),
    /// Write the effect of each number of a code
    Traverse(explore::Traverse),
    /// Write the samples on the plane of a code of two numbers
    Manifold(explore::Manifold),
    /// Fetch a known data set, checked by SHA-256
    Download(download::Arguments),
    /// List the built-in models
    Models(models::Arguments),
    /// Show a model's layers, shapes, parameters and operations
    Summary(summary::Arguments),
    /// Show the launches of a model's training step
    Plan(plan::Arguments),
    /// Measure the speed of training steps and kernels, and the ceilings of the device
    Bench(bench::Arguments),
    /// List the kernels, or show the final text of one
    Kernels(kernels::Arguments),
    /// Write a commented model file to start from
    Init(init::Arguments),
    /// Print the JSON Schema of model files or search spaces, for editors
    Schema(schema::Arguments),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Show adapters, drivers, limits and features, and which device `auto` takes
    Devices(devices::Arguments),
}

/// How a command ended, when it did not fail.
enum End {
    Done,
    Interrupted,
}

/// wgpu panics in some calls when a driver loses its device. The library makes errors of that, and one line is enough.
fn keep_quiet_about_lost_devices() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !gpu::is_guarded() {
            tell(panic);
        }
    }));
}

/// Parts of the library whose warnings are for everybody.
const NOTES: [&str; 2] = ["pinhole::data", "pinhole::train::lock"];

/// Writes what `RUST_LOG` asks for, such as `pinhole=debug`, to stderr; unless it is set, only the notes that are meant for
/// everybody, as lines without time and place.
fn log_to_stderr() {
    let asked = std::env::var_os("RUST_LOG");
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match asked {
        Some(text) => {
            let filter: Targets = text.to_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            tracing_subscriber::registry().with(layer.with_filter(filter)).init();
        }
        None => {
            let filter = Targets::new()
                .with_default(LevelFilter::ERROR)
                .with_targets(NOTES.map(|target| (target, LevelFilter::WARN)));
            let layer = layer.without_time().with_level(false).with_target(false).with_ansi(false);
            tracing_subscriber::registry().with(layer.with_filter(filter)).init();
        }
    }
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    keep_quiet_about_lost_devices();
    if cfg!(unix) && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa's layer that sorts adapters by the display's asks for a display, and where there is none its client
        // library writes an error for each try.
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    // Usage errors end here, with exit code 2.
    let arguments = Arguments::parse();
    log_to_stderr();
    let result = match arguments.command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Pretrain(arguments) => pretrain::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Recommend(arguments) => recommend::run(&arguments),
        Command::Encode(arguments) => convert::encode(&arguments),
        Command::Decode(arguments) => convert::decode(&arguments),
        Command::Reconstruct(arguments) => convert::reconstruct(&arguments),
        Command::Search(arguments) => search::run(&arguments),
        Command::Generate(arguments) => explore::generate(&arguments),
        Command::Interpolate(arguments) => explore::interpolate(&arguments),
        Command::Traverse(arguments) => explore::traverse(&arguments),
        Command::Manifold(arguments) => explore::manifold(&arguments),
        Command::Models(arguments) => models::run(&arguments),
        Command::Download(arguments) => download::run(&arguments),
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions { shell } => complete(shell),
        Command::Devices(arguments) => devices::run(&arguments),
    };
    match result {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => ExitCode::from(interrupt::CODE),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a shell's completions.
fn complete(shell: clap_complete::Shell) -> Result<End> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "pinhole", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(End::Done)
}

/// Writes a line of results. A reader that closed the pipe wants no more of them, which is no failure.
fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", Path::new("standard output"))(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as a line of JSON.
fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value);
    say(&text.map_err(|error| Error::invalid("result", error.to_string(), "report this as a bug in pinhole"))?)
}

/// Opens a device; says so in one line where `auto` finds no GPU.
fn open_device(name: &str) -> Result<Device> {
    let device = Device::open(name)?;
    if name == "auto" && matches!(device, Device::Cpu) {
        let software: Vec<String> = gpu::adapters().into_iter().map(|adapter| adapter.name).collect();
        let found = match &software[..] {
            [] => "no GPU found".to_owned(),
            names => format!("no GPU found, only software adapters ({})", names.join(", ")),
        };
        let how = if software.is_empty() { "" } else { "; --device gpu takes one all the same" };
        eprintln!("{found}: computing on the CPU{how}");
    }
    Ok(device)
}

/// The time that `--autotune` was given.
fn tuning_budget(seconds: f64) -> Result<Duration> {
    let budget = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= 3600.0);
    budget
        .ok_or_else(|| Error::invalid("--autotune", format!("{seconds} seconds is no time to spend"), "use 0 to 3600"))
}

/// Says what tuning chose, a line for each product.
fn show_tuning(report: &TuningReport) {
    let tile = |tile: &Tile| {
        let family = match tile.family {
            Family::Registers => "registers",
            Family::Subgroup => "subgroup",
            Family::Workgroup => "workgroup",
        };
        format!("{family} {}x{}x{}", tile.lines, tile.columns, tile.depth)
    };
    for choice in &report.choices {
        let product = format!("{} {}x{}", choice.product.kernel, choice.product.lines, choice.product.columns);
        let chosen = match choice.tile == choice.default {
            true => "kept".to_owned(),
            false => format!("{} {:.1} us", tile(&choice.tile), choice.us),
        };
        eprintln!("{product:<36} {:<20} {:>9.1} us  {chosen}", tile(&choice.default), choice.default_us);
    }
    for line in &report.rejected {
        eprintln!("{line}");
    }
    let left = match report.left {
        0 => String::new(),
        left => format!(", {left} left for want of time"),
    };
    let step = report.step_us.map(|[untuned, tuned]| format!("; a step took {untuned:.0} us, then {tuned:.0}"));
    let changed = report.choices.iter().filter(|choice| choice.tile != choice.default).count();
    eprintln!(
        "tuned in {:.1} s: {} products measured, {changed} of {} have another tile{left}{}",
        report.seconds,
        report.measured,
        report.choices.len(),
        step.unwrap_or_default()
    );
}

/// The other members of an ensemble that is to see this data, on the device of the first.
fn load_others(runs: &[PathBuf], first: &Autoencoder, data: &Dataset) -> Result<Vec<Autoencoder>> {
    let load = |run: &PathBuf| {
        if let Some(samples) = RunDirectory::samples(run)? {
            samples.expect(data, &format!("{} was trained on", run.display()))?;
        }
        Autoencoder::load(run, first.device().clone())
    };
    runs.iter().map(load).collect()
}

/// Data as a run takes it: read for its model, and scaled like what it was trained on. `label` is the column of labels, if it is
/// given; else data may have the one that the run was trained with.
fn load_data(run: &Path, reading: Reading, source: &str, label: Option<&str>) -> Result<Splits> {
    load_pairs(run, reading, (source, None), label)
}

/// Data as [`load_data`] loads it, with what the model is to make of it.
fn load_pairs(
    run: &Path,
    reading: Reading,
    (source, targets): (&str, Option<&str>),
    label: Option<&str>,
) -> Result<Splits> {
    let label = later_label(reading.label.clone(), label);
    let (items, samples) = (RunDirectory::items(run)?, RunDirectory::samples(run)?);
    let reading = Reading { items, samples, label, ..reading };
    data::load_pairs(source, targets, &reading)
}

/// The column of labels of data that comes after training: the one that is given, else the one that was trained with, which
/// data may lack.
fn later_label(trained: Option<LabelColumn>, given: Option<&str>) -> Option<LabelColumn> {
    match given {
        Some(name) => Some(LabelColumn { name: name.to_owned(), optional: false }),
        None => trained.map(|label| LabelColumn { optional: true, ..label }),
    }
}

/// What of a model is to be other than its file says.
#[derive(clap::Args)]
struct Changes {
    /// Size of a code: its numbers, or its channels where codes are pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    latent: Option<u32>,
    /// Change any key of the model file, such as train.batch=64 or encoder.0.conv2d.out=32
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Changes {
    fn apply(&self, spec: &mut ModelSpec) -> Result<()> {
        self.set.iter().try_for_each(|assignment| spec.set(assignment))?;
        self.latent.map_or(Ok(()), |size| spec.set_latent(size as usize))
    }
}

/// A preset, a model file, or the model file of a run directory.
fn resolve_model(name: &str) -> Result<ModelSpec> {
    match Path::new(name) {
        path if path.is_dir() => ModelSpec::read(&path.join("model.toml")),
        _ => ModelSpec::resolve(name),
    }
}
