//! `pinhole plan`

use super::arguments::{Changes, TargetArgument, resolve_model};
use super::output::End;
use super::output::say;
use pinhole::error::Result;
use pinhole::model::Network;
use pinhole::plan::Limits;
use pinhole::train::{default_samples, training_plan};

#[derive(clap::Args)]
pub struct Arguments {
    /// A preset (see pinhole models), a model file or the directory of a run
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// Samples in a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// Samples of the data set [default: 60000, or as many as a buffer holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    #[command(flatten)]
    target: TargetArgument,
}

/// Prints the plan of a training step: a line for each launch.
pub fn run(arguments: &Arguments) -> Result<End> {
    let mut spec = resolve_model(&arguments.model)?;
    arguments.changes.apply(&mut spec)?;
    if let Some(batch) = arguments.batch {
        spec.train.batch = batch as usize;
    }
    let target = arguments.target.target()?;
    let network = Network::new(spec)?;
    let samples = arguments.samples.map_or_else(|| default_samples(&network), |samples| samples as usize);
    let plan = training_plan(&network, samples, target)?;
    let text = match arguments.target.hardware()? {
        Some(hardware) => plan.with_estimate(&hardware),
        None => plan.to_string(),
    };
    say(text.trim_end())?;
    if let Some(limits) = Limits::from_environment()? {
        plan.check(&limits)?;
    }
    Ok(End::Done)
}
