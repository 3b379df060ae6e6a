//! The data and the models that a command works on, as the run of its model takes them.

use super::condition::ConditionArgument;
use pinhole::Autoencoder;
use pinhole::data::{self, Dataset, LabelColumn, Reading, Splits};
use pinhole::error::Result;
use pinhole::run::RunDirectory;
use std::path::{Path, PathBuf};

/// The other members of an ensemble that is to see this data, on the device of the first.
pub fn load_others(runs: &[PathBuf], first: &Autoencoder, data: &Dataset) -> Result<Vec<Autoencoder>> {
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
pub fn load_data(run: &Path, reading: Reading, source: &str, label: Option<&str>) -> Result<Splits> {
    load_pairs(run, reading, (source, None), label)
}

/// Data as [`load_data`] loads it, with what the model is to make of it.
pub fn load_pairs(
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

/// The test part of data for a model in a directory, where it has one and the training part is not asked for.
pub fn samples_of(
    autoencoder: &Autoencoder,
    run: &Path,
    data: &str,
    train: bool,
    condition: &ConditionArgument,
) -> Result<Dataset> {
    let network = autoencoder.network();
    let splits = load_data(run, network.spec().reading(), data, condition.label_column())?;
    let data = splits.test.filter(|_| !train).unwrap_or(splits.train);
    network.accepts(data.sample_shape(), data.name())?;
    condition.about(network, data)
}
