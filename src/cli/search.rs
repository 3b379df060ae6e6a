//! `pinhole search`: nearest neighbours by the Hamming distance of binary codes.

use super::arguments::{DeviceArgument, RunArgument};
use super::condition::ConditionArgument;
use super::inputs::samples_of;
use super::output::{as_picture, say, say_json, show_grid};
use pinhole::data::Dataset;
use pinhole::draw::Image;
use pinhole::error::{Error, Result};
use pinhole::task::{HammingIndex, Neighbour};
use std::path::PathBuf;

/// The most queries that a picture shows, and the most neighbours of each.
const SHOWN: [usize; 2] = [20, 20];

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArgument,
    /// The queries: data as for train --data; the test part if there is one
    query: String,
    /// The data to search, as for train; the training part if there is also a test part
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// The number of results for each query
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Find all samples whose codes differ in at most this number of bits, in place of the n nearest
    #[arg(long, value_name = "BITS", conflicts_with = "n")]
    radius: Option<u32>,
    /// A picture of the first queries, each followed by its results [default: found.png in the run's directory]
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

/// The results of a query.
#[derive(serde::Serialize)]
struct Line<'a> {
    query: usize,
    neighbours: &'a [Neighbour],
}

/// The summary of all queries, where queries and data have labels.
#[derive(serde::Serialize)]
struct Precision {
    precision: f64,
    queries: usize,
}

/// Finds for each query the samples whose codes are nearest.
pub fn run(arguments: &Arguments) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.run.path.join("found.png"));
    if out.extension().is_none_or(|extension| extension != "png") {
        return Err(Error::file(&out, "the results are drawn as a PNG file", "name it .png"));
    }
    let autoencoder = arguments.run.load(&arguments.device)?;
    let samples = |data, train| samples_of(&autoencoder, &arguments.run.path, data, train, &arguments.condition);
    let (query, data) = (samples(&arguments.query, false)?, samples(&arguments.data, true)?);
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
            let each = neighbours.iter().map(|found| format!("{} ({})", found.index, found.distance));
            let each = each.collect::<Vec<_>>().join(", ");
            say(&format!("{query}: {}", if each.is_empty() { "none" } else { &each }))?;
        }
    }
    if let Some(precision) = precision(&query, &data, &found) {
        if arguments.json {
            say_json(&precision)?;
        } else {
            say(&format!(
                "{:.4} of the results of {} queries have the label of their query",
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
            show_grid(&out, &rows)?;
            eprintln!("{}", out.display());
        }
        None if arguments.out.is_some() => {
            let problem =
                format!("samples {} and {} are no pictures of one size", query.sample_shape(), data.sample_shape());
            return Err(Error::invalid("--out", problem, "leave it out"));
        }
        None => {}
    }
    Ok(())
}

/// The mean over the queries with results of the fraction of results that have the query's label. `None` without labels
/// or without results.
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
