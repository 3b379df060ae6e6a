//! `pinhole encode`, `pinhole decode` and `pinhole reconstruct`: a trained model applied to files.

use super::arguments::{DeviceArgument, RunArgument};
use super::condition::ConditionArgument;
use super::inputs::{load_others, samples_of};
use super::output::{Format, Sink, say, write_codes};
use pinhole::Autoencoder;
use pinhole::data::{self, Dataset, fits_code};
use pinhole::error::{Error, Result};
use pinhole::model::Network;
use pinhole::shape::Shape;
use pinhole::task::Ensemble;
use std::path::PathBuf;

/// Pictures in a row of a grid.
const COLUMNS: usize = 10;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArgument,
    /// The input: data as for train --data, of which the test part is used if there is one; for decode an NPY, NPZ, IDX
    /// or CSV file of codes
    input: String,
    /// The output: NAME.npy, NAME.csv, NAME.idx or NAME.idx.gz; for pictures also NAME.png (a grid of pictures) or a
    /// folder (a PNG file of each)
    output: PathBuf,
    /// Use the training part of the input, where it also has a test part
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    condition: ConditionArgument,
}

#[derive(clap::Args)]
pub struct Reconstruct {
    #[command(flatten)]
    common: Arguments,
    /// Write the mean reconstruction of an ensemble of RUN and this trained model; may be given several times
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Also write the standard deviation of each element over the members of the ensemble
    #[arg(long, value_name = "FILE", requires = "with")]
    spread: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Encode {
    #[command(flatten)]
    common: Arguments,
    /// Write the indices of codebook vectors in place of codes, for a model with a codebook
    #[arg(long)]
    indices: bool,
}

/// Writes the codes of samples.
pub fn encode(Encode { common: arguments, indices }: &Encode) -> Result<()> {
    let format = Format::of(&arguments.output)?;
    if format.is_picture() {
        let help = "name it .npy, .csv, .idx or .idx.gz";
        return Err(Error::file(&arguments.output, "codes are no pictures", help));
    }
    let autoencoder = arguments.run.load(&arguments.device)?;
    let data = samples(arguments, &autoencoder)?;
    let codes = if *indices { autoencoder.indices_all(&data)? } else { autoencoder.encode_all(&data)? };
    let shape = codes.shape();
    write_codes(&arguments.output, format, shape, &codes.to_f32())?;
    say(&format!("{} codes of {} in {}", data.len(), shape.elements() / data.len(), arguments.output.display()))
}

/// Writes the samples that codes stand for.
pub fn decode(arguments: &Arguments) -> Result<()> {
    let format = Format::of(&arguments.output)?;
    let autoencoder = arguments.run.load(&arguments.device)?;
    let network = autoencoder.network();
    let codes = codes(&arguments.input, network)?;
    let count = codes.len();
    let one = arguments.condition.one(network)?;
    let decoded = |range: std::ops::Range<usize>| {
        Ok(autoencoder.decode_given(&codes.rows_f32(range.clone()), &one.repeated(range.len()))?.to_f32())
    };
    arguments.sink(format, &autoencoder).write(&network.input_shape(1)[1..].into(), count, None, decoded)
}

/// Reads the codes of a model from a file. Fails for codes of another shape, and for NaN and infinite elements.
fn codes(input: &str, network: &Network) -> Result<Dataset> {
    let latent: Shape = network.latent_shape(1)[1..].into();
    let width = latent.elements();
    let codes = data::load_array(input)?;
    let fault = |problem: String, help: String| Error::invalid(format!("data \"{input}\""), problem, help);
    if !codes.shape().get(1..).is_some_and(|code| fits_code(code, &latent)) {
        let problem = format!("its shape is {}, the model's codes are {latent} each", codes.shape());
        let sizes: Vec<String> = latent.iter().map(usize::to_string).collect();
        let help = match latent.len() {
            1 => format!("give [n, {width}]"),
            _ => format!("give [n, {}], or [n, {width}]", sizes.join(", ")),
        };
        return Err(fault(problem, help));
    }
    let codes = Dataset::from_f32([width], codes.to_f32()).map_err(|error| match error {
        Error::Invalid { problem, .. } => fault(problem, "give what encode wrote".to_owned()),
        other => other,
    })?;
    Ok(codes.with_name(input))
}

/// Writes the reconstructions of samples.
pub fn reconstruct(arguments: &Reconstruct) -> Result<()> {
    let Reconstruct { common: arguments, with, spread } = arguments;
    let format = Format::of(&arguments.output)?;
    let spread = spread.as_deref().map(|path| Ok((path, Format::of(path)?))).transpose()?;
    let autoencoder = arguments.run.load(&arguments.device)?;
    let data = samples(arguments, &autoencoder)?;
    if !with.is_empty() {
        let others = load_others(with, &autoencoder, &data)?;
        let ensemble = Ensemble::new(std::iter::once(&autoencoder).chain(&others).collect())?;
        let made = |range, which: usize| Ok(ensemble.reconstruct(&data, range)?[which].to_f32());
        let sink = arguments.sink(format, &autoencoder);
        if let Some((output, format)) = spread {
            let sink = Sink { output, format, ..sink };
            sink.write(data.sample_shape(), data.len(), None, |range| made(range, 1))?;
        }
        return sink.write(data.sample_shape(), data.len(), Some(&data), |range| made(range, 0));
    }
    let reconstructed = |range| Ok(autoencoder.reconstruct_range(&data, range)?.to_f32());
    arguments.sink(format, &autoencoder).write(data.sample_shape(), data.len(), Some(&data), reconstructed)
}

/// Reads the samples of the input.
fn samples(arguments: &Arguments, autoencoder: &Autoencoder) -> Result<Dataset> {
    samples_of(autoencoder, &arguments.run.path, &arguments.input, arguments.train, &arguments.condition)
}

impl Arguments {
    fn sink<'a>(&'a self, format: Format, autoencoder: &'a Autoencoder) -> Sink<'a> {
        let table = &autoencoder.network().spec().data.columns;
        Sink { output: &self.output, format, input: &self.input, columns: COLUMNS, table }
    }
}
