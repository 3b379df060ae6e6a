//! `pinhole generate`, `pinhole interpolate`, `pinhole traverse` and `pinhole manifold`: views of a latent space.

use super::arguments::{DeviceArgument, RunArgument};
use super::condition::ConditionArgument;
use super::inputs::samples_of;
use super::output::{Format, Sink};
use pinhole::Autoencoder;
use pinhole::data::Dataset;
use pinhole::error::{Error, Result};
use pinhole::model::SideInputs;
use pinhole::model::config::Condition;
use pinhole::task::{self, CodeStatistics, LatentEnd};
use pinhole::tensor::Tensor;
use std::path::PathBuf;

/// The arguments that all four commands take.
#[derive(clap::Args)]
pub struct Common {
    #[command(flatten)]
    run: RunArgument,
    /// The data to take samples from, as for train: its test part if it has one. A model without a prior draws codes
    /// like those of this data
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: Option<String>,
    /// The output: NAME.png (a grid of pictures), a folder (a PNG file of each), NAME.npy, NAME.csv or NAME.idx
    /// [default: a grid in the run's directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    condition: ConditionArgument,
}

#[derive(clap::Args)]
pub struct Generate {
    #[command(flatten)]
    common: Common,
    /// The number of samples; rounded up to full rows where each label of a conditional model gets a row
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// The seed of the random codes
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(clap::Args)]
pub struct Interpolate {
    #[command(flatten)]
    common: Common,
    /// The first sample: its number in --data, counted from 0, or a file that holds one sample
    #[arg(value_name = "A")]
    from: String,
    /// The last sample, in the same way
    #[arg(value_name = "B")]
    to: String,
    /// The number of samples, both ends included
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    steps: u32,
    /// The path through the latent space
    #[arg(long, default_value = "linear", value_name = "linear|spherical", value_parser = path)]
    path: task::LatentPath,
}

#[derive(clap::Args)]
pub struct Traverse {
    #[command(flatten)]
    common: Common,
    /// The sample of --data whose code is varied, by its number counted from 0 [default: the mean code]
    #[arg(long, value_name = "N", requires = "data")]
    sample: Option<usize>,
    /// The number of elements of the code that are varied, each in a row of its own
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    latents: u32,
    /// The number of values of each element
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(2..))]
    steps: u32,
}

#[derive(clap::Args)]
pub struct Manifold {
    #[command(flatten)]
    common: Common,
    /// The number of samples along each side of the grid
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=100))]
    side: u32,
}

fn path(name: &str) -> std::result::Result<task::LatentPath, String> {
    let known = task::LatentPath::ALL.into_iter().find(|path| path.name() == name);
    known.ok_or_else(|| format!("known are {}", task::LatentPath::ALL.map(task::LatentPath::name).join(", ")))
}

/// Writes new samples.
pub fn generate(arguments: &Generate) -> Result<()> {
    let Generate { common, n, seed } = arguments;
    let autoencoder = common.load()?;
    let codes = common.codes(&autoencoder)?;
    if let (Condition::Labels { count }, false) = (autoencoder.network().spec().condition, common.condition.is_some()) {
        let columns = (*n as usize).div_ceil(count);
        let samples = autoencoder.generate_labels(&codes, columns, *seed)?;
        return common.write(&autoencoder, "generated.png", &samples, columns.min(20));
    }
    let given = common.condition.one(autoencoder.network())?.repeated(*n as usize);
    let samples = autoencoder.generate_given(&codes, *n as usize, *seed, &given)?;
    common.write(&autoencoder, "generated.png", &samples, columns(*n as usize))
}

/// The number of columns of a grid of pictures: at least the number of rows, at most twice that, without gaps if
/// possible.
fn columns(count: usize) -> usize {
    let side = (1..20).find(|side| side * side >= count).unwrap_or(20);
    (side..=(2 * side).min(20)).find(|columns| count.is_multiple_of(*columns)).unwrap_or(side)
}

/// Writes the samples on the path from one sample to another.
pub fn interpolate(arguments: &Interpolate) -> Result<()> {
    let Interpolate { common, from, to, steps, path } = arguments;
    let autoencoder = common.load()?;
    let (from, to) = (common.sample(&autoencoder, from)?, common.sample(&autoencoder, to)?);
    let [from, to] = [&from, &to].map(|(values, given)| LatentEnd { values, given });
    let samples = autoencoder.interpolate_given(from, to, *steps as usize, *path)?;
    common.write(&autoencoder, "interpolated.png", &samples, (*steps as usize).min(20))
}

/// Writes decoded samples in which one element of a code at a time is varied.
pub fn traverse(arguments: &Traverse) -> Result<()> {
    let Traverse { common, sample, latents, steps } = arguments;
    let autoencoder = common.load()?;
    let codes = common.codes(&autoencoder)?;
    let (code, given) = match sample {
        Some(index) => {
            let (sample, given) = common.sample(&autoencoder, &index.to_string())?;
            (autoencoder.encode_given(&sample, &given)?.to_f32(), given)
        }
        None => (codes.mean().iter().map(|mean| *mean as f32).collect(), common.condition.one(autoencoder.network())?),
    };
    let samples = autoencoder.traverse_given(&codes, &code, &given, *latents as usize, *steps as usize)?;
    common.write(&autoencoder, "traversed.png", &samples, *steps as usize)
}

/// Writes the decoded samples of a square grid of codes of two elements.
pub fn manifold(arguments: &Manifold) -> Result<()> {
    let Manifold { common, side } = arguments;
    let autoencoder = common.load()?;
    let given = common.condition.one(autoencoder.network())?;
    let samples = autoencoder.manifold_given(&common.codes(&autoencoder)?, *side as usize, &given)?;
    common.write(&autoencoder, "manifold.png", &samples, *side as usize)
}

impl Common {
    fn load(&self) -> Result<Autoencoder> {
        // A name of an unknown format must fail before any work.
        self.out.as_deref().map_or(Ok(Format::Grid), Format::of)?;
        self.run.load(&self.device)
    }

    fn samples(&self, autoencoder: &Autoencoder, data: &str) -> Result<Dataset> {
        samples_of(autoencoder, &self.run.path, data, false, &self.condition)
    }

    /// The distribution of codes: the prior, or for a model without one that of the data's codes.
    fn codes(&self, autoencoder: &Autoencoder) -> Result<CodeStatistics> {
        match (&self.data, autoencoder.prior()) {
            // With a prior, the data only holds the sample to start from.
            (_, Ok(prior)) => Ok(prior),
            (Some(_), Err(error)) if autoencoder.network().spec().latent.is_discrete() => Err(error),
            (Some(data), Err(_)) => CodeStatistics::of(autoencoder, &self.samples(autoencoder, data)?),
            (None, Err(Error::Invalid { what, problem, .. })) if !autoencoder.network().spec().latent.is_discrete() => {
                Err(Error::invalid(what, problem, "give --data, for codes that are distributed like its codes"))
            }
            (None, Err(other)) => Err(other),
        }
    }

    /// One sample with its condition and length: by its number in the data, or from a file that holds only this sample.
    fn sample(&self, autoencoder: &Autoencoder, name: &str) -> Result<(Vec<f32>, SideInputs)> {
        let (data, index) = match (name.parse::<usize>(), &self.data) {
            (Ok(index), Some(data)) => (self.samples(autoencoder, data)?, index),
            (Err(_), _) => (self.samples(autoencoder, name)?, 0),
            (Ok(index), None) => {
                let help = "give --data, or the name of a file that holds the sample";
                return Err(Error::invalid(
                    "sample",
                    format!("{index} is the number of a sample, but there is no data"),
                    help,
                ));
            }
        };
        if index >= data.len() {
            let problem = format!("there is no sample {index}: there are {}", data.len());
            return Err(Error::invalid(format!("data \"{}\"", data.name()), problem, "count from 0"));
        }
        let range = index..index + 1;
        Ok((data.read_f32(range.clone())?, autoencoder.network().given(&data, range)?))
    }

    fn write(&self, autoencoder: &Autoencoder, name: &str, samples: &Tensor, columns: usize) -> Result<()> {
        let output = self.out.clone().unwrap_or_else(|| self.run.path.join(name));
        let (format, values) = (Format::of(&output)?, samples.to_f32());
        let (count, shape) = (samples.shape()[0], samples.shape()[1..].into());
        let width = values.len() / count;
        let table = &autoencoder.network().spec().data.columns;
        let sink = Sink { output: &output, format, input: "", columns, table };
        sink.write(&shape, count, None, |range| Ok(values[range.start * width..range.end * width].to_vec()))
    }
}
