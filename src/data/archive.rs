//! Arrays in files as data sets: NPZ archives with their labels, conditions and lengths, and IDX images with labels.

use super::arrangement::is_alike;
use super::dataset::{Dataset, Splits};
use super::emnist;
use super::idx::read_parts;
use super::labels::{Labels, listed};
use super::npy::LabelArray;
use super::npz::Npz;
use super::reading::Reading;
use super::shapes::channels_first;
use super::source::{KNOWN, name_of};
use super::sparse::SparseRows;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Values, with_values};
use std::path::{Path, PathBuf};

/// Names in NPZ files of arrays of samples and labels, and of those of the test part, which is the validation part if
/// there is no other.
const ARRAYS: [[&str; 6]; 7] = [
    ["x_train", "y_train", "x_test", "y_test", "x_val", "y_val"],
    ["X_train", "y_train", "X_test", "y_test", "X_val", "y_val"],
    ["train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"],
    ["x", "y", "", "", "", ""],
    ["X", "y", "", "", "", ""],
    ["data", "labels", "", "", "", ""],
    ["images", "labels", "", "", "", ""],
];

/// The arrays of a sparse matrix in SciPy's files.
const CSR: [&str; 4] = ["data", "indices", "indptr", "shape"];

/// Loads the array of an NPZ file with the name `key`; else its only one, or those of usual names.
pub(super) fn arrays(path: &Path, key: Option<&str>, reading: &Reading) -> Result<Splits> {
    let npz = Npz::open(path)?;
    let array = |name: &str| samples(path, npz.read_parts(name)?);
    let names: Vec<&str> = npz.names().collect();
    if key.is_none() && CSR.iter().all(|name| names.contains(name)) {
        return Ok(Splits { train: Dataset::from_sparse(SparseRows::from_npz(path, &npz)?), test: None });
    }
    if let Some(only) = key.or(if names.len() == 1 { Some(names[0]) } else { None }) {
        return Ok(Splits { train: array(only)?, test: None });
    }
    let Some([x, y, x_test, y_test, x_val, y_val]) = ARRAYS.into_iter().find(|[x, ..]| names.contains(x)) else {
        let problem = format!("has {} arrays: {}", names.len(), listed(&names));
        return Err(Error::file(path, problem, format!("name one, as in {}:{}", name_of(path), names[0])));
    };
    let with_labels = |x: &str, y: &str| -> Result<Dataset> {
        let dataset = array(x)?;
        if !names.contains(&y) {
            return Ok(dataset);
        }
        let labels = match npz.read_labels(y) {
            Ok(array) => Labels::from_array(array).map_err(|fault| format!("array {y:?} {fault}")),
            Err(Error::File { problem, .. }) => Err(problem),
            Err(error) => Err(error.to_string()),
        };
        if let Ok(labels) = &labels
            && labels.len() != dataset.len()
        {
            let problem = format!("array {y:?} has {} labels, but {x:?} has {} samples", labels.len(), dataset.len());
            return Err(Error::file(path, problem, format!("give {}:{x} to do without labels", name_of(path))));
        }
        dataset.with_read_labels(Some(labels))
    };
    let train = with_side_data(path, &npz, with_labels(x, y)?, if x.ends_with("_train") { "_train" } else { "" })?;
    let tests = [(x_test, y_test, "_test"), (x_val, y_val, "_val")];
    let Some((x_test, y_test, part)) = tests.into_iter().find(|(x_test, ..)| names.contains(x_test)) else {
        return Ok(Splits { train, test: None });
    };
    let test = with_side_data(path, &npz, with_labels(x_test, y_test)?, part)?;
    let (found, expected) = (test.sample_shape(), train.sample_shape());
    if !is_alike(found, expected, reading.input.as_ref()) {
        let problem = format!("array {x_test:?} has samples of shape {found}, but {x:?} of {expected}");
        return Err(Error::file(path, problem, format!("give {}:{x} to do without it", name_of(path))));
    }
    Ok(Splits { train, test: Some(test) })
}

/// Sets the side data from an NPZ file's `conditions` and `lengths` (`conditions_train` and so on).
fn with_side_data(path: &Path, npz: &Npz, mut dataset: Dataset, part: &str) -> Result<Dataset> {
    let fault = |name: &str, error| match error {
        Error::Invalid { problem, help, .. } => Error::file(path, format!("array {name:?}: {problem}"), help),
        other => other,
    };
    let [conditions, lengths] = ["conditions", "lengths"].map(|name| format!("{name}{part}"));
    if npz.names().any(|known| known == conditions) {
        let (shape, values) = npz.read_parts(&conditions)?;
        let shape = if let [count] = shape[..] { [count, 1].into() } else { shape };
        let read = samples(path, (shape, values))?;
        dataset = dataset.with_conditions(read).map_err(|error| fault(&conditions, error))?;
    }
    if npz.names().any(|known| known == lengths) {
        let read = whole_numbers(npz.read_parts(&lengths)?).ok_or_else(|| {
            let problem = format!("array {lengths:?} is no list of whole numbers");
            Error::file(path, problem, "give how many steps each sample of it has")
        })?;
        dataset = dataset.with_lengths(read).map_err(|error| fault(&lengths, error))?;
    }
    Ok(dataset)
}

/// Converts a list, `[n]` or `[n, 1]`, to whole numbers; none if the array is anything else.
fn whole_numbers((shape, values): (Shape, Values)) -> Option<Vec<u32>> {
    if !matches!(shape[..], [_] | [_, 1]) {
        return None;
    }
    match values {
        Values::U8(numbers) => Some(numbers.into_iter().map(u32::from).collect()),
        Values::F32(values) => {
            let whole = |value: &f32| (value.fract() == 0.0 && (0.0..2e9).contains(value)).then_some(*value as u32);
            values.iter().map(whole).collect()
        }
        Values::F64(_) | Values::U32(_) => None,
    }
}

/// Loads the images of an IDX file with the labels of another.
pub(super) fn labelled(images: &Path, labels: Option<PathBuf>) -> Result<Dataset> {
    let dataset = images_from_idx(images)?;
    let Some(path) = labels else {
        return Ok(dataset);
    };
    let (shape, values) = read_parts(&path)?;
    let labels = Labels::from_array(LabelArray::Numbers(shape, values.to_f64()));
    if let Ok(labels) = &labels
        && labels.len() != dataset.len()
    {
        let problem = format!("{} labels, but {} holds {} samples", labels.len(), name_of(images), dataset.len());
        return Err(Error::file(&path, problem, "take both files from one data set"));
    }
    dataset.with_read_labels(Some(labels.map_err(|fault| format!("{} {fault}", path.display()))))
}

pub(super) fn images_from_idx(path: &Path) -> Result<Dataset> {
    let (mut shape, mut values) = read_parts(path)?;
    if let [count, columns, rows] = shape[..]
        && emnist::Pictures::of(path).is_some()
    {
        // Transpose as if a column's pixels were the channels of one pixel.
        values = with_values!(values, Values(values) => channels_first(values, columns, rows));
        shape = [count, rows, columns].into();
    }
    samples(path, (shape, values))
}

/// Makes a data set of an array of samples, in its own order: `[n, d]`, `[n, h, w]`, or samples of higher rank.
pub(super) fn samples(path: &Path, (shape, values): (Shape, Values)) -> Result<Dataset> {
    let sample_shape: Shape = match shape[..] {
        [_, size] => [size].into(),
        [_, height, width] => [1, height, width].into(),
        [_, ref rest @ ..] if !rest.is_empty() => rest.to_vec().into(),
        _ => {
            let problem = format!("has shape {shape}, one number per sample, as labels have");
            return Err(Error::file(path, problem, "give the file with the images"));
        }
    };
    let dataset = match values {
        Values::U8(bytes) => Dataset::from_u8(sample_shape, bytes),
        Values::F32(values) => Dataset::from_f32(sample_shape, values),
        Values::F64(_) | Values::U32(_) => return Err(Error::file(path, "holds neither bytes nor floats", KNOWN)),
    };
    // Name the file in the error, since the bad value is in it.
    dataset.map_err(Error::in_file(path))
}
