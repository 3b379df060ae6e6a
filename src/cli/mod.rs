//! The program: one file per subcommand. Results go to stdout, everything else to stderr.
//!
//! Exit codes: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, SIGTERM or SIGHUP.

mod arguments;
mod autotune;
mod bench;
mod classify;
mod condition;
mod convert;
mod devices;
mod download;
mod eval;
mod explore;
mod init;
mod inputs;
mod interrupt;
mod kernels;
mod models;
mod output;
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
use output::{End, say};
use pinhole::error::Result;
use pinhole::gpu;
use std::process::ExitCode;
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
    Train(arguments::TrainArguments),
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
const NOTES: [&str; 2] = ["pinhole::data", "pinhole::run::lock"];

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
