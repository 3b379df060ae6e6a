//! [`load`]: from the names of sources, as users type them, to data sets.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{arrays, images_from_idx, samples};
use super::csv::{Table, read_csv, read_labelled};
use super::dataset::{Dataset, Splits};
use super::digits::digits;
use super::emnist;
use super::folder::{all_pictures, emnist_file, load_folder, pictures};
use super::idx::read_parts;
use super::labels::LabelColumn;
use super::npy;
use super::npz::Npz;
use super::ratings::{ratings, read_ratings};
use super::reading::Reading;
use super::scaling::{Samples, Scaling};
use super::side_data::TARGETS;
use super::source::{FileKind, KNOWN, is_csv, kind_of, name_of, path_and_key};
use super::table::read_table;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, Values};

/// Number of MNIST's training digits; the test split has a sixth of that.
const TRAIN_DIGITS: usize = 60_000;
/// Most digits of a source: 0.8 GB. More would be a typing error, or exceed the memory.
const MOST_DIGITS: usize = 1_000_000;
/// Most users of a source: a thousand times those of the largest public data sets.
const MOST_USERS: usize = 1_000_000;
/// The default seed of made-up users.
const RATINGS_SEED: u64 = 1;
/// Seeds of two streams of digits that share no sample.
const TRAIN_SEED: u64 = 1;
const TEST_SEED: u64 = 2;

/// Loads the data that `source` names: a name or a path of the table in the [module's documentation](super).
///
/// Samples keep the axes of their files: `[d]` of an array of rank 2, `[1, h, w]` of rank 3, and of higher ranks the
/// axes after the number of samples. Only [`Reading::input`] gives axes a meaning; [`Dataset::for_input`] rearranges
/// samples afterwards. Pictures must have one size: their samples are `[1, h, w]` if all are grey, else `[3, h, w]`.
/// Labels that cannot be used, such as several numbers per sample, are an error only if labels are required.
///
/// Fails where the source does not exist, where a file does not hold what its kind requires, and where test and
/// training part are scaled differently, for example floats from 0 to 255 and bytes.
pub fn load(source: &str) -> Result<Splits> {
    load_with(source, &Reading::default())
}

/// Loads data as [`load`] does, for a model, with the settings of `reading`. Fails also where samples do not fit the
/// model's input, and where they cannot be converted to the scaling of its training samples.
pub fn load_with(source: &str, reading: &Reading) -> Result<Splits> {
    let Splits { train, test } = load_unarranged(source, reading)?;
    let train = reading.fit(train)?;
    let Some(test) = test else { return Ok(Splits { train, test: None }) };
    let names = ["its test part's numbers are", "those of its training part are"];
    let test = reading.fit(test)?.scaled_as(Scaling::of(&train), names)?;
    let conditions = train.conditions().and_then(Scaling::of);
    let names = ["its test part's conditions are", "those of its training part are"];
    let test = test.map_conditions(|test| test.scaled_as(conditions, names))?;
    Ok(Splits { train, test: Some(test) })
}

/// Loads a source with the axes of its files.
fn load_unarranged(source: &str, reading: &Reading) -> Result<Splits> {
    if let Some(label) = reading.label.as_ref().filter(|label| !label.optional)
        && !is_csv(source)
    {
        let problem = format!("it is no CSV file, of which {:?} could be the column of labels", label.name);
        return Err(Error::in_data(source, problem, "leave the label out, or give a CSV file"));
    }
    if source == "digits" {
        return Ok(built_in_digits(TRAIN_DIGITS));
    }
    if let Some(count) = source.strip_prefix("digits:") {
        let usable = count.parse().ok().filter(|count| (1..=MOST_DIGITS).contains(count));
        return usable.map(built_in_digits).ok_or_else(|| {
            let help = format!("give a whole number from 1 to {MOST_DIGITS}, such as digits:{TRAIN_DIGITS}");
            Error::in_data(source, format!("\"{count}\" is no usable number of digits"), help)
        });
    }
    if let Some(rest) = source.strip_prefix("ratings:") {
        return load_ratings(source, rest, reading);
    }
    let (path, key) = path_and_key(source);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem = "there is no such file or folder, and no built-in data of that name";
            return Err(Error::in_data(source, problem, KNOWN));
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let splits = match key {
        Some(key) => arrays(path, Some(key), reading)?,
        None if metadata.is_dir() => load_folder(path, reading)?,
        None => load_file(path, reading)?,
    };
    let name = name_of(path);
    Ok(Splits { train: splits.train.with_name(name.clone()), test: splits.test.map(|test| test.with_name(name)) })
}

/// Loads pairs: the encoder's inputs and, if `targets` is given, a target for each of them, in the order of the inputs.
/// Pictures in two folders must have equal names, apart from their extensions.
///
/// Fails as [`load_with`] does, and where inputs and targets do not match.
pub fn load_pairs(source: &str, targets: Option<&str>, reading: &Reading) -> Result<Splits> {
    let data = load_with(source, reading)?;
    let Some(targets) = targets else { return Ok(data) };
    expect_same_names(Path::new(source), Path::new(targets))?;
    let label = reading.label.clone().map(|label| LabelColumn { optional: true, ..label });
    let samples = reading.samples.as_ref().map(Samples::of_targets);
    let wanted = load_with(targets, &Reading { label, samples, ..reading.clone() })?;
    let pair = |data: Dataset, targets_of_data: Dataset| {
        let targets_of_data = targets_of_data.scaled_as(Scaling::of(&data), TARGETS)?;
        data.with_targets(targets_of_data).map_err(|error| match error {
            Error::Invalid { problem, help, .. } => {
                Error::invalid(format!("data \"{source}\" with targets \"{targets}\""), problem, help)
            }
            other => other,
        })
    };
    let test = match (data.test, wanted.test) {
        (Some(data), Some(wanted)) => Some(pair(data, wanted)?),
        (None, None) => None,
        (test, _) => {
            let (with, without) = if test.is_some() { (source, targets) } else { (targets, source) };
            let problem = format!("it has a test part, and \"{without}\" has none");
            return Err(Error::in_data(with, problem, "give both one, or neither"));
        }
    };
    Ok(Splits { train: pair(data.train, wanted.train)?, test })
}

/// Fails where two folders of pictures do not have equal names.
fn expect_same_names(folder: &Path, other: &Path) -> Result<()> {
    if !folder.is_dir() || !other.is_dir() {
        return Ok(());
    }
    let (pictures, others) = (all_pictures(folder)?, all_pictures(other)?);
    if pictures.is_empty() || others.is_empty() {
        return Ok(());
    }
    let lacking = |(folder, paths): (&Path, &[PathBuf]), (other, others): (&Path, &[PathBuf])| {
        let name = |folder: &Path, path: &PathBuf| path.strip_prefix(folder).map(|name| name.with_extension("")).ok();
        let known: HashSet<PathBuf> = others.iter().filter_map(|path| name(other, path)).collect();
        paths.iter().find(|path| name(folder, path).is_some_and(|name| !known.contains(&name))).cloned()
    };
    let alone = lacking((folder, &pictures), (other, &others)).map(|path| (path, other));
    let alone = alone.or_else(|| lacking((other, &others), (folder, &pictures)).map(|path| (path, folder)));
    match alone {
        Some((path, other)) => {
            let problem = format!("there is no picture of that name in {}", other.display());
            Err(Error::file(&path, problem, "give both folders pictures of the same names"))
        }
        None => Ok(()),
    }
}

/// Loads the array in an NPY, NPZ (`FILE.npz:NAME`, or its only array), IDX or CSV file, unchanged: bytes are
/// numbers from 0 to 255, and axes keep their order. Fails where the file is of another kind or cannot be read.
pub fn load_array(source: &str) -> Result<Tensor> {
    let (path, key) = path_and_key(source);
    let (shape, values) = match kind_of(path)? {
        FileKind::Idx => read_parts(path)?,
        FileKind::Npy => npy::read_parts(path)?,
        FileKind::Npz => {
            let npz = Npz::open(path)?;
            let names: Vec<&str> = npz.names().collect();
            npz.read_parts(key.unwrap_or(if names.len() == 1 { names[0] } else { "" }))?
        }
        FileKind::Csv => {
            let Table { columns, values } = read_csv(path)?;
            ([values.len() / columns, columns].into(), Values::F32(values))
        }
        FileKind::Picture => {
            return Err(Error::file(path, "is a picture and no array", "give an NPY, NPZ, IDX or CSV file"));
        }
    };
    Tensor::new(shape, values)
}

/// Loads `USERS[:SEED]`, or a file of lines of user, item and value.
fn load_ratings(source: &str, rest: &str, reading: &Reading) -> Result<Splits> {
    let (users, seed) = rest.split_once(':').unwrap_or((rest, ""));
    if let Ok(users) = users.parse::<usize>() {
        let seed = if seed.is_empty() { Some(RATINGS_SEED) } else { seed.parse().ok() };
        return match seed {
            Some(seed) if (1..=MOST_USERS).contains(&users) => ratings(users, seed),
            _ => {
                let help = format!("give a whole number from 1 to {MOST_USERS}, and a seed behind it");
                let problem = "it says no usable number of users, or no seed";
                Err(Error::in_data(source, problem, help + ", such as ratings:3000:7"))
            }
        };
    }
    let path = Path::new(rest);
    let train = Dataset::from_sparse(read_ratings(path, reading.items.as_ref())?).with_name(name_of(path));
    Ok(Splits { train, test: None })
}

fn built_in_digits(count: usize) -> Splits {
    Splits { train: digits(count, TRAIN_SEED), test: Some(digits((count / 6).max(1), TEST_SEED)) }
}

fn load_file(path: &Path, reading: &Reading) -> Result<Splits> {
    let train = match kind_of(path)? {
        FileKind::Picture => pictures(&[&[path.to_owned()]], reading)?.remove(0),
        FileKind::Idx => match emnist::Pictures::of(path) {
            Some(pictures) => return emnist_file(path, &pictures),
            None => images_from_idx(path)?,
        },
        FileKind::Npy => samples(path, npy::read_parts(path)?)?,
        FileKind::Npz => return arrays(path, None, reading),
        FileKind::Csv => match &reading.columns {
            Some(known) => Dataset::from_table(read_table(path, known, reading.label.as_ref())?, !known.complete)?,
            None => {
                let (Table { columns, values }, labels) = read_labelled(path, reading.label.as_ref())?;
                Dataset::from_f32([columns], values)?.with_read_labels(labels)?
            }
        },
    };
    Ok(Splits { train, test: None })
}
