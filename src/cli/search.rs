//! `pinhole search`

use super::arguments::DeviceArgument;
use super::condition::ConditionArgument;
use super::inputs::samples_of;
use super::output::End;
use super::output::{as_picture, say, say_json};
use pinhole::Autoencoder;
use pinhole::data::Dataset;
use pinhole::draw::{Image, write_grid};
use pinhole::error::{Error, Result};
use pinhole::task::{HammingIndex, Neighbour};
use std::path::PathBuf;

/// Queries that a picture shows, and neighbours of each.
const SHOWN: [usize; 2] = [20, 20];

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of a run whose latent is binary
    run: PathBuf,
    /// The queries: data as for train --data; the test part where there is one
    query: String,
    /// The data to search; the training part where there are two
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// Number of results for each query
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Find all samples whose codes differ in at most this many bits, in place of the nearest
    #[arg(long, value_name = "BITS", conflicts_with = "n")]
    radius: Option<u32>,
    /// A picture of the first queries, each followed by its results [default: in the run's directory]
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Print a line of JSON for each query
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    condition: ConditionArgument,
}

/// A query's line.
#[derive(serde::Serialize)]
struct Line<'a> {
    query: usize,
    neighbours: &'a [Neighbour],
}

/// The last line, where both have labels.
#[derive(serde::Serialize)]
struct Precision {
    precision: f64,
    queries: usize,
}

/// Finds for each query the samples whose codes are nearest.
pub fn run(arguments: &Arguments) -> Result<End> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.run.join("found.png"));
    if out.extension().is_none_or(|extension| extension != "png") {
        return Err(Error::file(&out, "what is found is shown in a PNG", "name it .png"));
    }
    let autoencoder = Autoencoder::load(&arguments.run, arguments.device.open()?)?;
    let query = samples_of(&autoencoder, &arguments.run, &arguments.query, false, &arguments.condition)?;
    let data = samples_of(&autoencoder, &arguments.run, &arguments.data, true, &arguments.condition)?;
    let (searched, wanted) = (HammingIndex::of(&autoencoder, &data)?, HammingIndex::of(&autoencoder, &query)?);
    let mut found = Vec::with_capacity(query.len());
    for code in (0..query.len()).filter_map(|index| wanted.code(index)) {
        found.push(match arguments.radius {
            Some(radius) => searched.within(code, radius)?,
            None => searched.nearest(code, arguments.n as usize)?,
        });
    }
    for (query, neighbours) in found.iter().enumerate() {
        if arguments.json {
            say_json(&Line { query, neighbours })?;
        } else {
            let each: Vec<String> =
                neighbours.iter().map(|found| format!("{} ({})", found.index, found.distance)).collect();
            let each = if each.is_empty() { "none".to_owned() } else { each.join(", ") };
            say(&format!("{query}: {each}"))?;
        }
    }
    if let Some(precision) = precision(&query, &data, &found) {
        if arguments.json {
            say_json(&precision)?;
        } else {
            say(&format!(
                "{:.4} of what was found for {} queries has their label",
                precision.precision, precision.queries
            ))?;
        }
    }
    match as_picture(query.sample_shape()).filter(|_| query.sample_shape() == data.sample_shape()) {
        Some(shape) => {
            let picture = |data: &Dataset, index: usize| Image::from_sample(&shape, &data.read_f32(index..index + 1)?);
            let row = |(index, found): (usize, &Vec<Neighbour>)| -> Result<Vec<Image>> {
                let found = found.iter().take(SHOWN[1]).map(|found| picture(&data, found.index));
                std::iter::once(picture(&query, index)).chain(found).collect()
            };
            let rows = found.iter().take(SHOWN[0]).enumerate().map(row).collect::<Result<Vec<_>>>()?;
            let wide = rows.first().and_then(|row| row.first()).map_or(1, |image| image.shape()[2]);
            write_grid(&out, &rows, (112 / wide.max(1)).clamp(1, 4))?;
            eprintln!("{}", out.display());
        }
        None if arguments.out.is_some() => {
            let problem =
                format!("samples {} and {} are no pictures of one size", query.sample_shape(), data.sample_shape());
            return Err(Error::invalid("--out", problem, "leave it out"));
        }
        None => {}
    }
    Ok(End::Done)
}

/// The mean over queries, of those for which anything was found, of the part of it that has their label.
fn precision(query: &Dataset, data: &Dataset, found: &[Vec<Neighbour>]) -> Option<Precision> {
    let (own, others) = (query.labels()?, data.labels()?);
    let right = |(query, found): (usize, &Vec<Neighbour>)| {
        let right = found.iter().filter(|found| others.name(found.index) == own.name(query)).count();
        right as f64 / found.len() as f64
    };
    let parts: Vec<f64> = found.iter().enumerate().filter(|(_, found)| !found.is_empty()).map(right).collect();
    let queries = parts.len();
    (queries > 0).then(|| Precision { precision: parts.iter().sum::<f64>() / queries as f64, queries })
}
