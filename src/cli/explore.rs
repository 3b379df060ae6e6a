//! `pinhole generate`, `pinhole interpolate`, `pinhole traverse` and `pinhole manifold`: pictures of what a model has learned.

use super::arguments::{DeviceArgument, RunArgument};
use super::condition::ConditionArgument;
use super::inputs::samples_of;
use super::output::End;
use super::output::{Format, Sink};
use pinhole::Autoencoder;
use pinhole::data::Dataset;
use pinhole::error::{Error, Result};
use pinhole::model::SideInputs;
use pinhole::model::config::Condition;
use pinhole::task::{self, CodeStatistics, LatentEnd};
use pinhole::tensor::Tensor;
use std::path::{Path, PathBuf};

/// What all four take.
#[derive(clap::Args)]
pub struct Common {
    #[command(flatten)]
    run: RunArgument,
    /// Samples, of the data's test part where it has one; for models that have no prior: the codes of these are followed
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: Option<String>,
    /// The output: NAME.png (a grid), a folder (a PNG of each), NAME.npy, NAME.csv or NAME.idx [default: in the run's
    /// directory]
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
    /// Number of samples; rounded up to full rows where each label of a model gets a row
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// The seed of the random draws
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
    /// The last sample
    #[arg(value_name = "B")]
    to: String,
    /// Number of samples, both ends included
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
    /// The sample of --data whose code is changed, by its number [default: the mean code]
    #[arg(long, value_name = "N", requires = "data")]
    sample: Option<usize>,
    /// How many numbers of the code are changed, each in a row
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    latents: u32,
    /// Values of each number
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(2..))]
    steps: u32,
}

#[derive(clap::Args)]
pub struct Manifold {
    #[command(flatten)]
    common: Common,
    /// Samples along each side
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=100))]
    side: u32,
}

fn path(name: &str) -> std::result::Result<task::LatentPath, String> {
    let known = task::LatentPath::ALL.into_iter().find(|path| path.name() == name);
    known.ok_or_else(|| format!("known are {}", task::LatentPath::ALL.map(task::LatentPath::name).join(", ")))
}

/// Writes new samples.
pub fn generate(arguments: &Generate) -> Result<End> {
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

/// The columns of a grid of pictures: about as many as rows or more, without gaps where possible.
fn columns(count: usize) -> usize {
    let side = (1..20).find(|side| side * side >= count).unwrap_or(20);
    (side..=(2 * side).min(20)).find(|columns| count.is_multiple_of(*columns)).unwrap_or(side)
}

/// Writes the samples on the way from one to another.
pub fn interpolate(arguments: &Interpolate) -> Result<End> {
    let Interpolate { common, from, to, steps, path } = arguments;
    let autoencoder = common.load()?;
    let (from, to) = (common.sample(&autoencoder, from)?, common.sample(&autoencoder, to)?);
    let [from, to] = [&from, &to].map(|(values, given)| LatentEnd { values, given });
    let samples = autoencoder.interpolate_given(from, to, *steps as usize, *path)?;
    common.write(&autoencoder, "interpolated.png", &samples, (*steps as usize).min(20))
}

/// Writes what becomes of a sample when each number of its code is swept.
pub fn traverse(arguments: &Traverse) -> Result<End> {
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

/// Writes a plane of codes as the samples they stand for.
pub fn manifold(arguments: &Manifold) -> Result<End> {
    let Manifold { common, side } = arguments;
    let autoencoder = common.load()?;
    let given = common.condition.one(autoencoder.network())?;
    let samples = autoencoder.manifold_given(&common.codes(&autoencoder)?, *side as usize, &given)?;
    common.write(&autoencoder, "manifold.png", &samples, *side as usize)
}

impl Common {
    fn load(&self) -> Result<Autoencoder> {
        // A name that nothing can be written to is known before any work.
        self.out.as_deref().map_or(Ok(Format::Grid), Format::of)?;
        self.run.load(&self.device)
    }

    fn samples(&self, autoencoder: &Autoencoder, data: &str) -> Result<Dataset> {
        samples_of(autoencoder, &self.run.path, data, false, &self.condition)
    }

    /// How codes are distributed: like those of the data, where it is given, else like the prior.
    fn codes(&self, autoencoder: &Autoencoder) -> Result<CodeStatistics> {
        match (&self.data, autoencoder.prior()) {
            // Around the prior, the data only says which sample is meant.
            (_, Ok(prior)) => Ok(prior),
            (Some(_), Err(error)) if autoencoder.network().spec().latent.is_discrete() => Err(error),
            (Some(data), Err(_)) => CodeStatistics::of(autoencoder, &self.samples(autoencoder, data)?),
            (None, Err(Error::Invalid { what, problem, .. })) if !autoencoder.network().spec().latent.is_discrete() => {
                Err(Error::invalid(what, problem, "give --data, whose codes are then followed"))
            }
            (None, Err(other)) => Err(other),
        }
    }

    /// One sample and what stands beside it: by its number in the data, or from a file of its own.
    fn sample(&self, autoencoder: &Autoencoder, name: &str) -> Result<(Vec<f32>, SideInputs)> {
        let (data, index) = match (name.parse::<usize>(), &self.data) {
            (Ok(index), Some(data)) => (self.samples(autoencoder, data)?, index),
            (Err(_), _) => (self.samples(autoencoder, name)?, 0),
            (Ok(index), None) => {
                let help = "give --data, or the name of a file that holds the sample";
                return Err(Error::invalid("sample", format!("{index} counts samples, but of no data"), help));
            }
        };
        if index >= data.len() {
            let problem = format!("there is no sample {index}: there are {}", data.len());
            return Err(Error::invalid(format!("data \"{}\"", data.name()), problem, "count from 0"));
        }
        let range = index..index + 1;
        Ok((data.read_f32(range.clone())?, autoencoder.network().given(&data, range)?))
    }

    fn write(&self, autoencoder: &Autoencoder, name: &str, samples: &Tensor, columns: usize) -> Result<End> {
        let output = self.out.clone().unwrap_or_else(|| self.run.path.join(name));
        let format = Format::of(Path::new(&output))?;
        let values = samples.to_f32();
        let shape = samples.shape()[1..].into();
        let width = values.len() / samples.shape()[0];
        let table = &autoencoder.network().spec().data.columns;
        let sink = Sink { output: &output, format, input: "", columns, table };
        sink.write(
            &shape,
            samples.shape()[0],
            None,
            |range| Ok(values[range.start * width..range.end * width].to_vec()),
        )
    }
}
