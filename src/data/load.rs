//! [`load`]: from what people type to data sets.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::dataset::Dataset;
use super::digits::digits;
use super::idx::{is_gzip, is_idx, read_parts};
use super::images::read_png;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Values;

/// MNIST's own number of digits for training; the test split holds a sixth of that.
const TRAIN_DIGITS: usize = 60_000;
/// More would be a slip of the finger, or more than the memory holds: this many are 0.8 GB.
const MOST_DIGITS: usize = 1_000_000;
/// Two streams of digits that share no sample.
const TRAIN_SEED: u64 = 1;
const TEST_SEED: u64 = 2;
/// The first bytes of every PNG.
const PNG_MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Pictures decoded before their sizes are compared, so that a folder of odd ones fails early.
const PICTURES_AT_ONCE: usize = 1024;
/// What can be loaded, for the messages that have to say so.
const KNOWN: &str =
    "give \"digits\", \"digits:N\", a folder with MNIST's four IDX files or with PNGs, an IDX file, or a PNG";

/// What a source holds: samples to train on and, where the source has its own, samples to test with.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to train on.
    pub train: Dataset,
    /// The source's own test samples, of the same shape.
    pub test: Option<Dataset>,
}

/// Loads the data that `source` names:
///
/// - `digits`: the built-in digits, 60,000 to train on and 10,000 to test with; `digits:N`: N, and a sixth of that
///   (write `./digits` for a folder of that name);
/// - a folder with `train-images-idx3-ubyte` and, where they are there, `t10k-images-idx3-ubyte` and the two label
///   files; each may be gzipped (`.gz`) or have a dot in place of the dash before `idx`;
/// - an IDX file: rank 3 gives samples `[1, h, w]`, rank 4 `[c, h, w]`, rank 2 `[d]`;
/// - a PNG, or a folder of PNGs of one size, taken in the order of their names: samples `[1, h, w]` where all are
///   grey, else `[3, h, w]`.
///
/// Fails where there is nothing of that name, and where a file does not hold what it should.
pub fn load(source: &str) -> Result<Splits> {
    if source == "digits" {
        return Ok(built_in_digits(TRAIN_DIGITS));
    }
    if let Some(count) = source.strip_prefix("digits:") {
        return match count.parse::<usize>() {
            Ok(count) if (1..=MOST_DIGITS).contains(&count) => Ok(built_in_digits(count)),
            _ => Err(Error::invalid(
                format!("data \"{source}\""),
                format!("\"{count}\" is no usable number of digits"),
                format!("give a whole number from 1 to {MOST_DIGITS}, such as digits:{TRAIN_DIGITS}"),
            )),
        };
    }
    let path = Path::new(source);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem = "there is no such file or folder, and no built-in data of that name";
            return Err(Error::invalid(format!("data \"{source}\""), problem, KNOWN));
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let splits = if metadata.is_dir() { load_folder(path)? } else { load_file(path)? };
    let name = name_of(path);
    Ok(Splits { train: splits.train.with_name(name.clone()), test: splits.test.map(|test| test.with_name(name)) })
}

fn built_in_digits(count: usize) -> Splits {
    Splits { train: digits(count, TRAIN_SEED), test: Some(digits((count / 6).max(1), TEST_SEED)) }
}

/// The last part of the path, or the whole where it has none, as `.` and `/` do.
fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn load_file(path: &Path) -> Result<Splits> {
    let mut first = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(PNG_MAGIC.len() as u64).read_to_end(&mut first).map_err(Error::io("read", path))?;
    let train = if first == PNG_MAGIC {
        pictures(&[path.to_owned()])?
    } else if is_gzip(&first) || is_idx(&first) {
        images_from_idx(path)?
    } else {
        return Err(Error::file(path, "is neither an IDX file nor a PNG", KNOWN));
    };
    Ok(Splits { train, test: None })
}

fn load_folder(folder: &Path) -> Result<Splits> {
    let test_images = mnist_file(folder, "t10k-images", 3);
    if let Some(train_images) = mnist_file(folder, "train-images", 3) {
        let train = labelled(&train_images, mnist_file(folder, "train-labels", 1))?;
        let Some(test_images) = test_images else {
            return Ok(Splits { train, test: None });
        };
        let test = labelled(&test_images, mnist_file(folder, "t10k-labels", 1))?;
        if test.sample_shape() != train.sample_shape() {
            return Err(Error::file(
                &test_images,
                format!(
                    "samples have shape {}, but those of {} have {}",
                    test.sample_shape(),
                    name_of(&train_images),
                    train.sample_shape()
                ),
                "take both files from one data set",
            ));
        }
        return Ok(Splits { train, test: Some(test) });
    }
    let paths = png_files(folder)?;
    if !paths.is_empty() {
        return Ok(Splits { train: pictures(&paths)?, test: None });
    }
    let problem = match test_images {
        Some(_) => "there is t10k-images-idx3-ubyte in this folder, but no train-images-idx3-ubyte",
        None => "there is neither train-images-idx3-ubyte (or .gz) nor any PNG in this folder",
    };
    Err(Error::file(folder, problem, KNOWN))
}

/// The first of the names that MNIST's files go by, if any is in the folder.
fn mnist_file(folder: &Path, stem: &str, rank: usize) -> Option<PathBuf> {
    let names = [
        format!("{stem}-idx{rank}-ubyte"),
        format!("{stem}.idx{rank}-ubyte"),
        format!("{stem}-idx{rank}-ubyte.gz"),
        format!("{stem}.idx{rank}-ubyte.gz"),
    ];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn labelled(images: &Path, labels: Option<PathBuf>) -> Result<Dataset> {
    let dataset = images_from_idx(images)?;
    let Some(path) = labels else {
        return Ok(dataset);
    };
    let (shape, Values::U8(labels)) = read_parts(&path)? else {
        return Err(Error::file(&path, "holds labels that are no bytes", "replace or remove the file"));
    };
    if shape.len() != 1 {
        let problem = format!("has shape {shape} and is no list of labels");
        return Err(Error::file(&path, problem, "replace or remove the file"));
    }
    if labels.len() != dataset.len() {
        return Err(Error::file(
            &path,
            format!("{} labels, but {} holds {} samples", labels.len(), name_of(images), dataset.len()),
            "take both files from one data set",
        ));
    }
    dataset.with_labels(labels)
}

fn images_from_idx(path: &Path) -> Result<Dataset> {
    let (shape, values) = read_parts(path)?;
    let sample_shape: Shape = match shape[..] {
        [_, size] => [size].into(),
        [_, height, width] => [1, height, width].into(),
        [_, channels, height, width] => [channels, height, width].into(),
        _ => {
            let problem = format!("has shape {shape}, one number per sample, as labels have");
            return Err(Error::file(path, problem, "give the file with the images"));
        }
    };
    let dataset = match values {
        Values::U8(bytes) => Dataset::from_u8(sample_shape, bytes),
        Values::F32(values) => Dataset::from_f32(sample_shape, values),
        Values::F64(_) | Values::U32(_) => {
            return Err(Error::file(path, "holds neither bytes nor 32-bit floats", KNOWN));
        }
    };
    // A bad value is the file's, so the message names the file.
    dataset.map_err(|error| match error {
        Error::Invalid { problem, help, .. } => Error::file(path, problem, help),
        other => other,
    })
}

/// The PNGs of a folder in the order of their names. Hidden files are no pictures, whatever they are called.
pub fn png_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        let is_hidden = name_of(&path).starts_with('.');
        if is_png && !is_hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Pictures of one size as one data set.
fn pictures(paths: &[PathBuf]) -> Result<Dataset> {
    let mut decoded: Vec<(Shape, Vec<u8>)> = Vec::new();
    for chunk in paths.chunks(PICTURES_AT_ONCE) {
        let read: Vec<Result<(Shape, Vec<u8>)>> = chunk.par_iter().map(read_png).collect();
        // In order, so that the error names the first bad file whatever the threads did.
        for (path, picture) in chunk.iter().zip(read) {
            let (shape, bytes) = picture?;
            if let Some((first, _)) = decoded.first()
                && first[1..] != shape[1..]
            {
                return Err(Error::file(
                    path,
                    format!(
                        "{} x {} pixels, but {} has {} x {}",
                        shape[2],
                        shape[1],
                        paths.first().map(|path| name_of(path)).unwrap_or_default(),
                        first[2],
                        first[1]
                    ),
                    "bring all pictures of the folder to one size",
                ));
            }
            decoded.push((shape, bytes));
        }
    }
    let channels = decoded.iter().map(|(shape, _)| shape[0]).max().unwrap_or(1);
    let Some((height, width)) = decoded.first().map(|(shape, _)| (shape[1], shape[2])) else {
        return Err(Error::invalid("data", "there is no picture", KNOWN));
    };
    let mut bytes = Vec::with_capacity(decoded.len() * channels * height * width);
    for (shape, picture) in decoded {
        // A grey picture among coloured ones shows its one channel in all three.
        let copies = channels / shape[0];
        for _ in 0..copies {
            bytes.extend_from_slice(&picture);
        }
    }
    Dataset::from_u8([channels, height, width], bytes)
}
