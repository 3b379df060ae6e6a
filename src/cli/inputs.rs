//! The data and the models that a command works on.

use super::condition::ConditionArgument;
use pinhole::Autoencoder;
use pinhole::data::{self, Dataset, LabelColumn, Reading, Splits};
use pinhole::error::Result;
use pinhole::run::RunDirectory;
use std::path::{Path, PathBuf};

/// Loads the other members of an ensemble on the device of the first. Fails for a run that was trained on data unlike
/// this.
pub fn load_others(runs: &[PathBuf], first: &Autoencoder, data: &Dataset) -> Result<Vec<Autoencoder>> {
    let load = |run: &PathBuf| {
        if let Some(samples) = RunDirectory::samples(run)? {
            samples.expect(data, &format!("{} was trained on", run.display()))?;
        }
        Autoencoder::load(run, first.device().clone())
    };
    runs.iter().map(load).collect()
}

/// Reads data for the model of a run, scaled like the run's training data. `label` is the column of labels; without it,
/// the data may have the column that the run was trained with.
pub fn load_data(run: &Path, reading: Reading, source: &str, label: Option<&str>) -> Result<Splits> {
    load_pairs(run, reading, (source, None), label)
}

/// Reads data as [`load_data`] does, with targets.
pub fn load_pairs(
    run: &Path,
    reading: Reading,
    (source, targets): (&str, Option<&str>),
    label: Option<&str>,
) -> Result<Splits> {
    let label = match label {
        Some(name) => Some(LabelColumn { name: name.to_owned(), optional: false }),
        None => reading.label.map(|label| LabelColumn { optional: true, ..label }),
    };
    let (items, samples) = (RunDirectory::items(run)?, RunDirectory::samples(run)?);
    let reading = Reading { items, samples, label, ..reading };
    data::load_pairs(source, targets, &reading)
}

/// Reads the samples of data for the model of a run: the test part if there is one, unless `train` asks for the
/// training part. The condition of the command line replaces the data's.
pub fn samples_of(
    autoencoder: &Autoencoder,
    run: &Path,
    data: &str,
    train: bool,
    condition: &ConditionArgument,
) -> Result<Dataset> {
    let network = autoencoder.network();
    let splits = load_data(run, network.spec().reading(), data, condition.label_column.as_deref())?;
    let data = splits.test.filter(|_| !train).unwrap_or(splits.train);
    network.accepts(data.sample_shape(), data.name())?;
    condition.about(network, data)
}
