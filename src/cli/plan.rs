//! `pinhole plan`: the kernel launches of a training step.

use super::arguments::{Changes, TargetArgument};
use super::output::say;
use pinhole::error::Result;
use pinhole::model::Network;
use pinhole::plan::Limits;
use pinhole::train::{default_samples, training_plan};

#[derive(clap::Args)]
pub struct Arguments {
    /// The model: a preset (see pinhole models), a model file or the directory of a run
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// The batch size: samples in a training step [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// The number of samples of the data set [default: 60000, or the most that fit in a buffer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    #[command(flatten)]
    target: TargetArgument,
}

/// Prints the plan of a training step: a line for each launch. Fails where it exceeds the limits of `PINHOLE_LIMITS`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut spec = arguments.changes.resolve(&arguments.model)?;
    spec.train.batch = arguments.batch.map_or(spec.train.batch, |batch| batch as usize);
    let target = arguments.target.target()?;
    let hardware = target.hardware;
    let network = Network::new(spec)?;
    let samples = arguments.samples.map_or_else(|| default_samples(&network), |samples| samples as usize);
    let plan = training_plan(&network, samples, target)?;
    let text = if arguments.target.is_described() { plan.with_estimate(&hardware) } else { plan.to_string() };
    say(text.trim_end())?;
    Limits::from_environment()?.map_or(Ok(()), |limits| plan.check(&limits))
}
