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
use interrupt::End;
use output::say;
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
    /// Train a model, and keep it in a run directory
    Train(arguments::TrainArguments),
    /// Pretrain a stacked autoencoder layer by layer, each layer as a denoising autoencoder
    Pretrain(pretrain::Arguments),
    /// Train a classifier (a trained encoder with a softmax head), or predict with one
    Classify(classify::Arguments),
    /// Tune hyperparameters: search a space of values for keys of a model file
    Tune(tune::Arguments),
    /// Measure the loss and reconstruction errors of a trained model on a test set
    Eval(eval::Arguments),
    /// Recommend items that users do not have yet
    Recommend(recommend::Arguments),
    /// Encode samples: write their codes
    Encode(convert::Encode),
    /// Decode codes: write the samples that they stand for
    Decode(convert::Arguments),
    /// Reconstruct samples: encode them, decode the codes, and write the result
    Reconstruct(convert::Reconstruct),
    /// Find the samples whose binary codes are nearest to those of the queries
    Search(search::Arguments),
    /// Generate new samples from random codes
    Generate(explore::Generate),
    /// Interpolate between two samples in the latent space
    Interpolate(explore::Interpolate),
    /// Vary each element of a code in turn, and write the decoded samples
    Traverse(explore::Traverse),
    /// Decode a square grid of two-dimensional codes
    Manifold(explore::Manifold),
    /// Download a public data set, and check its files by SHA-256
    Download(download::Arguments),
    /// List the presets, the built-in models
    Models(models::Arguments),
    /// Show a model's layers with their shapes, parameters and floating-point operations
    Summary(summary::Arguments),
    /// Show the kernel launches of a training step
    Plan(plan::Arguments),
    /// Measure the speed of training steps and kernels against the limits of the device
    Bench(bench::Arguments),
    /// List the kernels, or print the shader of one as the driver gets it
    Kernels(kernels::Arguments),
    /// Write a commented model file to start from
    Init(init::Arguments),
    /// Print the JSON Schema of model files or of search spaces, for editors
    Schema(schema::Arguments),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Show the adapters (GPUs) with their drivers, limits and features, and the device that `auto` takes
    Devices(devices::Arguments),
}

impl Command {
    /// Runs the command. Only commands that train can end by a signal and still save their work.
    fn run(&self) -> Result<End> {
        let done = match self {
            Command::Train(arguments) => return train::run(arguments),
            Command::Pretrain(arguments) => return pretrain::run(arguments),
            Command::Classify(arguments) => return classify::run(arguments),
            Command::Tune(arguments) => return tune::run(arguments),
            Command::Eval(arguments) => eval::run(arguments),
            Command::Recommend(arguments) => recommend::run(arguments),
            Command::Encode(arguments) => convert::encode(arguments),
            Command::Decode(arguments) => convert::decode(arguments),
            Command::Reconstruct(arguments) => convert::reconstruct(arguments),
            Command::Search(arguments) => search::run(arguments),
            Command::Generate(arguments) => explore::generate(arguments),
            Command::Interpolate(arguments) => explore::interpolate(arguments),
            Command::Traverse(arguments) => explore::traverse(arguments),
            Command::Manifold(arguments) => explore::manifold(arguments),
            Command::Models(arguments) => models::run(arguments),
            Command::Download(arguments) => download::run(arguments),
            Command::Summary(arguments) => summary::run(arguments),
            Command::Plan(arguments) => plan::run(arguments),
            Command::Bench(arguments) => bench::run(arguments),
            Command::Kernels(arguments) => kernels::run(arguments),
            Command::Init(arguments) => init::run(arguments),
            Command::Schema(arguments) => schema::run(arguments),
            Command::Completions { shell } => complete(*shell),
            Command::Devices(arguments) => devices::run(arguments),
        };
        done.map(|()| End::Done)
    }
}

/// Silences the panics of wgpu where a driver loses its device: the library turns them into errors of one line.
fn keep_quiet_about_lost_devices() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !gpu::is_guarded() {
            report(panic);
        }
    }));
}

/// Modules of the library whose warnings are shown without `RUST_LOG`.
const NOTES: [&str; 2] = ["pinhole::data", "pinhole::run::lock"];

/// Writes log messages to stderr: those that `RUST_LOG` asks for, such as `pinhole=debug`; unless it is set, the
/// warnings of [`NOTES`], without time and module.
fn log_to_stderr() {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match std::env::var_os("RUST_LOG") {
        Some(text) => {
            let filter: Targets = text.to_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            layer.with_filter(filter).boxed()
        }
        None => {
            let notes = NOTES.map(|module| (module, LevelFilter::WARN));
            let filter = Targets::new().with_default(LevelFilter::ERROR).with_targets(notes);
            layer.without_time().with_level(false).with_target(false).with_ansi(false).with_filter(filter).boxed()
        }
    };
    tracing_subscriber::registry().with(layer).init();
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
    match arguments.command.run() {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => ExitCode::from(interrupt::CODE),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a shell's completion script.
fn complete(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "pinhole", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}
