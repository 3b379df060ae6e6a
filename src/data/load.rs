//! [`load`]: from what people type to data sets.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::csv::{Table, read_csv, read_labelled};
use super::dataset::Dataset;
use super::digits::digits;
use super::emnist;
use super::folder::{all_pictures, emnist_file, load_folder, pictures};
use super::gzip;
use super::idx::{is_idx, read_parts};
use super::images::Kind;
use super::labels::{LabelColumn, Labels, label_array, listed};
use super::npy;
use super::npz::{self, Npz};
use super::pictures::PictureFormat;
use super::ratings::{ratings, read_ratings};
use super::scaling::{Samples, Scaling, TARGETS};
use super::shapes::{channels_first, is_alike};
use super::sparse::SparseRows;
use super::table::{Columns, read_table};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

/// MNIST's own number of digits for training; the test split holds a sixth of that.
const TRAIN_DIGITS: usize = 60_000;
/// More would be a slip of the finger, or more than the memory holds: this many are 0.8 GB.
const MOST_DIGITS: usize = 1_000_000;
/// A thousand times the users of the largest public data sets would be one, too.
const MOST_USERS: usize = 1_000_000;
/// The seed of made-up users where none is given.
const RATINGS_SEED: u64 = 1;
/// Two streams of digits that share no sample.
const TRAIN_SEED: u64 = 1;
const TEST_SEED: u64 = 2;
/// What can be loaded, for the messages that have to say so.
pub(super) const KNOWN: &str = "give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or \
                                with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, \
                                TIFF or WebP file";

/// What a source holds: samples to train on and, where the source has its own, samples to test with.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to train on.
    pub train: Dataset,
    /// The source's own test samples, of the same shape or flat.
    pub test: Option<Dataset>,
}

/// Loads the data that `source` names:
///
/// - `digits`: the built-in digits, 60,000 to train on and 10,000 to test with; `digits:N`: N, and a sixth of that
///   (write `./digits` for a folder of that name);
/// - a folder with `train-images-idx3-ubyte` and, where they are there, `t10k-images-idx3-ubyte` and the two label
///   files; each may be gzipped (`.gz`) or have a dot in place of the dash before `idx`. They may also be where torchvision keeps
///   them below its `root`, in `MNIST/raw`, `FashionMNIST/raw`, `KMNIST/raw` or `EMNIST/raw`, where only one of these is there;
/// - a folder with the files of one of EMNIST's splits, `emnist-SPLIT-train-images-idx3-ubyte` and so on (`-test-`, `-labels-`),
///   or the path of one of its files of images, which chooses among several splits: a file of training images comes with its
///   labels and test part, one of test images with its labels. EMNIST's pictures are transposed, and are transposed back;
/// - an IDX or NPY file: rank 2 gives samples `[d]`, rank 3 `[1, h, w]`, rank 4 and more what stands behind the number of
///   samples. Pictures with their channels last stay so: only [`Reading::input`] says what axes mean, and
///   [`Dataset::for_input`] does it afterwards;
/// - an NPZ file that holds a CSR matrix, as `scipy.sparse.save_npz` writes it: sparse samples `[columns]`;
/// - any other NPZ file: `FILE.npz:NAME` is one array of it; without a name its only one, or `x_train`, `x`, `data` or `images`,
///   with the labels and the test part beside it in `y_train`, `x_test` and so on, a vector for each sample in `conditions`,
///   and in `lengths` how many steps each sequence of `x` has (`conditions_train`, `lengths_test` and so on). MedMNIST's names
///   are known too: `train_images`, `train_labels`, `test_images` and so on. A validation part (`val_images`, `x_val`) is what to
///   test with where there is no test part, and is left out where there is one. Labels that cannot
///   be used, such as several numbers for a sample, are a fault only where labels are needed;
/// - a CSV or TSV file of numbers: samples `[columns]`; one column may hold labels, see [`Reading::label`];
/// - `ratings:FILE`, a file of lines `user,item[,value]`: a sparse sample `[items]` for each user; `ratings:USERS[:SEED]`,
///   made-up users: see [`ratings`];
/// - a picture (PNG, JPEG, BMP, GIF, TIFF or WebP, the first of several frames), or a folder of them, all of one size and taken in
///   the order of their names: samples `[1, h, w]` where all are grey, else `[3, h, w]`, transparency laid over black. Samples are
///   bytes, or floats from 0 to 1 where one of the pictures has 16 bits;
/// - a folder without pictures of its own whose folders hold pictures, at any depth: each is a class of its name, and labels are
///   the classes' places in the order of their names;
/// - a folder of two such folders, or folders of pictures, called `train` (or `training`) and `test` (`testing`, `val`, `valid`,
///   `validation`: the first that is there), the second being the test part.
///
/// Files are what their first bytes say, whatever their names end in; only CSV files go by their names. IDX, NPY and CSV files
/// may be gzipped.
///
/// Fails where there is nothing of that name, where a file does not hold what it should, and where a test part is scaled
/// otherwise than what is trained on, as floats from 0 to 255 beside bytes are.
pub fn load(source: &str) -> Result<Splits> {
    load_with(source, &Reading::default())
}

/// How [`load_with`] reads samples for a model: `ModelSpec::reading` says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What pictures are brought to, of whatever size they are. Without it all must be of one size, and stay as they are.
    pub pictures: Option<PictureFormat>,
    /// Bytes that pictures in a format may take in memory, all together. More stay in their files, see
    /// [`Dataset::from_pictures`].
    pub memory: u64,
    /// The items that are the columns of ratings, in this order; all that are found, where not given.
    pub items: Option<Arc<Vec<String>>>,
    /// Says that CSV files are tables, whose first line names columns of numbers or categories. Without it they hold numbers.
    pub columns: Option<Columns>,
    /// The column of a CSV file that holds labels, and so is no part of samples.
    pub label: Option<LabelColumn>,
    /// The input of the model that the samples are for. They are taken as they lie where that fits, and with their channels
    /// last where that alone fits: see [`Dataset::for_input`]. Others are refused. Without it all stay as they are.
    pub input: Option<Shape>,
    /// What samples a model was trained on: later ones are scaled like them, or refused.
    pub samples: Option<Samples>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            pictures: None,
            memory: u64::MAX,
            items: None,
            columns: None,
            label: None,
            input: None,
            samples: None,
        }
    }
}

impl Reading {
    /// Pictures in a format; of more than a quarter of the memory that is free now, those that are needed at a time.
    pub fn pictures(format: Option<PictureFormat>) -> Reading {
        Reading { pictures: format, memory: free_memory() / 4, ..Reading::default() }
    }

    /// Data in the order of the model's input, and scaled like what the model was trained on.
    fn fit(&self, data: Dataset) -> Result<Dataset> {
        let data = match &self.input {
            Some(input) => data.for_input(input)?,
            None => data,
        };
        match &self.samples {
            Some(samples) => samples.bring(data),
            None => Ok(data),
        }
    }
}

/// Bytes that the system says are free, or a guess.
fn free_memory() -> u64 {
    let known = || {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    known().unwrap_or(8 << 30)
}

/// [`load`] for a model, as `reading` says. Fails where samples do not fit its input, or are scaled otherwise than those
/// that it was trained on.
pub fn load_with(source: &str, reading: &Reading) -> Result<Splits> {
    let Splits { train, test } = load_as_it_lies(source, reading)?;
    let train = reading.fit(train)?;
    let Some(test) = test else { return Ok(Splits { train, test: None }) };
    let test = reading
        .fit(test)?
        .scaled_as(Scaling::of(&train), ["its test part's numbers are", "those of its training part are"])?;
    let conditions = train.conditions().and_then(Scaling::of);
    let names = ["its test part's conditions are", "those of its training part are"];
    let test = test.map_conditions(|test| test.scaled_as(conditions, names))?;
    Ok(Splits { train, test: Some(test) })
}

/// What a source holds, in the order in which it holds it.
fn load_as_it_lies(source: &str, reading: &Reading) -> Result<Splits> {
    if let Some(label) = reading.label.as_ref().filter(|label| !label.optional)
        && !is_csv(source)
    {
        let problem = format!("it is no CSV file, of which {:?} could be the column of labels", label.name);
        return Err(Error::invalid(format!("data \"{source}\""), problem, "leave the label out, or give a CSV file"));
    }
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
    if let Some(rest) = source.strip_prefix("ratings:") {
        return load_ratings(source, rest, reading);
    }
    let (path, key) = path_and_key(source);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem = "there is no such file or folder, and no built-in data of that name";
            return Err(Error::invalid(format!("data \"{source}\""), problem, KNOWN));
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

/// Whether a source is a file of text that has columns. One that cannot be read is, so that reading it says why.
fn is_csv(source: &str) -> bool {
    let path = Path::new(source);
    has_extension(path, &["csv", "tsv"]) || matches!(kind_of(path), Ok(FileKind::Csv))
}

/// Loads pairs: what a model's encoder is to see, and from `targets`, where that is given, what the model is to make of it, as
/// many and in the same order. Pictures in two folders must have the same names, whatever their endings.
///
/// Fails as [`load_with`] does, and where the two do not fit each other.
pub fn load_pairs(source: &str, targets: Option<&str>, reading: &Reading) -> Result<Splits> {
    let data = load_with(source, reading)?;
    let Some(targets) = targets else { return Ok(data) };
    expect_same_names(Path::new(source), Path::new(targets))?;
    let label = reading.label.clone().map(|label| LabelColumn { optional: true, ..label });
    let samples = reading.samples.as_ref().map(Samples::of_targets);
    let wanted = load_with(targets, &Reading { label, samples, ..reading.clone() })?;
    let pair = |data: Dataset, wanted: Dataset| {
        let wanted = wanted.scaled_as(Scaling::of(&data), TARGETS)?;
        data.with_targets(wanted).map_err(|error| match error {
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
            return Err(Error::invalid(format!("data \"{with}\""), problem, "give both one, or neither"));
        }
    };
    Ok(Splits { train: pair(data.train, wanted.train)?, test })
}

/// Fails where both are folders of pictures and one has a picture that the other lacks.
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

/// The array in an NPY, NPZ (`FILE.npz:NAME`, or its only array), IDX or CSV file, as it is: bytes are numbers from 0 to
/// 255 here, and nothing is moved. Fails where the file is of another kind, and as reading it does.
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

/// A path, and the array that is named behind it, as in `FILE.npz:NAME`.
pub(super) fn path_and_key(source: &str) -> (&Path, Option<&str>) {
    match source.rfind(".npz:").filter(|_| !Path::new(source).exists()) {
        Some(at) => (Path::new(&source[..at + 4]), Some(&source[at + 5..])),
        None => (Path::new(source), None),
    }
}

/// The kinds of files that hold data.
enum FileKind {
    Picture,
    Idx,
    Npy,
    Npz,
    Csv,
}

/// The kind of a file, by its first bytes, unpacked where it is packed; CSV has none and goes by its name.
fn kind_of(path: &Path) -> Result<FileKind> {
    let file = gzip::open(path)?;
    let packed = file.is_packed();
    let mut first = Vec::new();
    file.take(Kind::FIRST_BYTES).read_to_end(&mut first).map_err(gzip::unreadable(path))?;
    let unpack = |what: &str| Error::file(path, format!("is {what} within gzip"), "unpack it by gunzip");
    match &first[..] {
        first if Kind::of(first).is_some() && packed => Err(unpack("a picture")),
        first if first.starts_with(&npz::MAGIC) && packed => Err(unpack("an archive")),
        first if Kind::of(first).is_some() => Ok(FileKind::Picture),
        first if is_idx(first) => Ok(FileKind::Idx),
        first if first.starts_with(&npy::MAGIC) => Ok(FileKind::Npy),
        first if first.starts_with(&npz::MAGIC) => Ok(FileKind::Npz),
        _ if has_extension(path, &["csv", "tsv"]) => Ok(FileKind::Csv),
        _ => Err(Error::file(path, "is no file of a known kind", KNOWN)),
    }
}

/// `USERS[:SEED]`, or a file of lines of user, item and value.
fn load_ratings(source: &str, rest: &str, reading: &Reading) -> Result<Splits> {
    let (users, seed) = rest.split_once(':').unwrap_or((rest, ""));
    if let Ok(users) = users.parse::<usize>() {
        let seed = if seed.is_empty() { Some(RATINGS_SEED) } else { seed.parse().ok() };
        return match seed {
            Some(seed) if (1..=MOST_USERS).contains(&users) => ratings(users, seed),
            _ => Err(Error::invalid(
                format!("data \"{source}\""),
                "it says no usable number of users, or no seed",
                format!("give a whole number from 1 to {MOST_USERS}, and a seed behind it, such as ratings:3000:7"),
            )),
        };
    }
    let path = Path::new(rest);
    let train = Dataset::from_sparse(read_ratings(path, reading.items.as_ref())?).with_name(name_of(path));
    Ok(Splits { train, test: None })
}

fn built_in_digits(count: usize) -> Splits {
    Splits { train: digits(count, TRAIN_SEED), test: Some(digits((count / 6).max(1), TEST_SEED)) }
}

/// The last part of the path, or the whole where it has none, as `.` and `/` do.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
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
                let dataset = Dataset::from_f32([columns], values)?;
                match labels {
                    Some(labels) => dataset.with_read_labels(labels)?,
                    None => dataset,
                }
            }
        },
    };
    Ok(Splits { train, test: None })
}

/// The names that arrays of samples, their labels, and those of a part to test with go by in NPZ files; what to test with is the
/// test part, else the validation part.
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

/// The array of an NPZ file that is asked for; else its only one, or those of usual names.
fn arrays(path: &Path, key: Option<&str>, reading: &Reading) -> Result<Splits> {
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
        match npz.read_labels(y) {
            Ok(array) => match Labels::from_array(array).map_err(|fault| format!("array {y:?} {fault}")) {
                Ok(labels) if labels.len() != dataset.len() => {
                    let problem =
                        format!("array {y:?} has {} labels, but {x:?} has {} samples", labels.len(), dataset.len());
                    Err(Error::file(path, problem, format!("give {}:{x} to do without labels", name_of(path))))
                }
                labels => dataset.with_read_labels(labels),
            },
            // What cannot be read is in the way of nobody who needs no labels.
            Err(Error::File { problem, .. }) => Ok(dataset.with_unreadable_labels(problem)),
            Err(error) => Ok(dataset.with_unreadable_labels(error.to_string())),
        }
    };
    let train = with_beside(path, &npz, with_labels(x, y)?, if x.ends_with("_train") { "_train" } else { "" })?;
    let tests = [(x_test, y_test, "_test"), (x_val, y_val, "_val")];
    let test = tests.into_iter().find(|(x_test, ..)| names.contains(x_test));
    let x_test = test.map_or("", |(x_test, ..)| x_test);
    let test =
        test.map(|(x_test, y_test, part)| with_beside(path, &npz, with_labels(x_test, y_test)?, part)).transpose()?;
    if let Some(test) = &test
        && !is_alike(test.sample_shape(), train.sample_shape(), reading.input.as_ref())
    {
        let (found, expected) = (test.sample_shape(), train.sample_shape());
        let problem = format!("array {x_test:?} has samples of shape {found}, but {x:?} of {expected}");
        return Err(Error::file(path, problem, format!("give {}:{x} to do without it", name_of(path))));
    }
    Ok(Splits { train, test })
}

/// Samples with what an NPZ file's `conditions` and `lengths` (`conditions_train` and so on) say of them.
fn with_beside(path: &Path, npz: &Npz, mut dataset: Dataset, part: &str) -> Result<Dataset> {
    let fault = |name: &str| {
        let name = name.to_owned();
        move |error| match error {
            Error::Invalid { problem, help, .. } => Error::file(path, format!("array {name:?}: {problem}"), help),
            other => other,
        }
    };
    let name = format!("conditions{part}");
    if npz.names().any(|known| known == name) {
        let (shape, values) = npz.read_parts(&name)?;
        let shape = if let [count] = shape[..] { [count, 1].into() } else { shape };
        dataset = dataset.with_conditions(samples(path, (shape, values))?).map_err(fault(&name))?;
    }
    let name = format!("lengths{part}");
    if npz.names().any(|known| known == name) {
        let Some(lengths) = whole_numbers(npz.read_parts(&name)?) else {
            let problem = format!("array {name:?} is no list of whole numbers");
            return Err(Error::file(path, problem, "give how many steps each sample of it has"));
        };
        dataset = dataset.with_lengths(lengths).map_err(fault(&name))?;
    }
    Ok(dataset)
}

/// An array as whole numbers along one dimension, if it is that.
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

/// Images of an IDX file with the labels of another.
pub(super) fn labelled(images: &Path, labels: Option<PathBuf>) -> Result<Dataset> {
    let dataset = images_from_idx(images)?;
    let Some(path) = labels else {
        return Ok(dataset);
    };
    let (shape, values) = read_parts(&path)?;
    let labels = match Labels::from_array(label_array(shape, &values)) {
        Ok(labels) => labels,
        Err(fault) => return Ok(dataset.with_unreadable_labels(format!("{} {fault}", path.display()))),
    };
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
    let (mut shape, mut values) = read_parts(path)?;
    if let [count, columns, rows] = shape[..]
        && emnist::Pictures::of(path).is_some()
    {
        // A column's pixels are as the channels of one pixel.
        match &mut values {
            Values::U8(values) => *values = channels_first(std::mem::take(values), columns, rows),
            Values::F32(values) => *values = channels_first(std::mem::take(values), columns, rows),
            Values::F64(_) | Values::U32(_) => {}
        }
        shape = [count, rows, columns].into();
    }
    samples(path, (shape, values))
}

/// An array of samples as a data set, in its own order: `[n, d]`, `[n, h, w]`, or samples of higher rank.
fn samples(path: &Path, (shape, values): (Shape, Values)) -> Result<Dataset> {
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
    // A bad value is the file's, so the message names the file.
    dataset.map_err(|error| match error {
        Error::Invalid { problem, help, .. } => Error::file(path, problem, help),
        other => other,
    })
}

/// Whether the name ends so, or ends so before the `.gz` of a packed file.
pub(super) fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = |path: &Path| path.extension().unwrap_or_default().to_os_string();
    let extension = match extension(path) {
        packed if packed.eq_ignore_ascii_case("gz") => extension(Path::new(path.file_stem().unwrap_or_default())),
        extension => extension,
    };
    known.iter().any(|known| extension.eq_ignore_ascii_case(known))
}
