//! Folders as data: IDX files named like MNIST's, pictures, and a folder of pictures for each class.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::archive::labelled;
use super::dataset::{Dataset, Splits};
use super::emnist;
use super::images::{KINDS, decode, has_sixteen_bits};
use super::labels::Labels;
use super::pixels::{Interleaved, Sample};
use super::reading::Reading;
use super::source::{KNOWN, has_extension, name_of};
use crate::error::{Error, Result};
use crate::tensor::Values;

/// Prefixes of the names of MNIST's files: training images and labels, test images and labels.
const MNIST: [&str; 4] = ["train-images", "train-labels", "t10k-images", "t10k-labels"];
/// Subfolders that may hold IDX files: torchvision's below its `root`, and that of EMNIST's archive.
const BELOW: [&str; 6] = ["MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw", "raw", "gzip"];
/// Names of the folders of training pictures and of test pictures, of which the first that exists is used.
const TRAIN_FOLDERS: [&str; 2] = ["train", "training"];
const TEST_FOLDERS: [&str; 5] = ["test", "testing", "val", "valid", "validation"];
/// File name extensions of pictures.
const PICTURE_ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp"];
/// Number of pictures decoded before sizes are compared, so that a folder of mixed sizes fails early.
const PICTURES_AT_ONCE: usize = 1024;

/// Loads a folder: IDX files, in it or where torchvision puts them below it, else pictures.
pub(super) fn load_folder(folder: &Path, reading: &Reading) -> Result<Splits> {
    if let Some(splits) = idx_files(folder)? {
        return Ok(splits);
    }
    let mut below = Vec::new();
    for name in BELOW {
        if holds_idx_files(&folder.join(name))? {
            below.push(name);
        }
    }
    if let [first, _, ..] = below[..] {
        let problem = format!("holds several data sets: {}", below.join(", "));
        return Err(Error::file(folder, problem, format!("name one, as in {}", folder.join(first).display())));
    }
    if let [only] = below[..]
        && let Some(splits) = idx_files(&folder.join(only))?
    {
        return Ok(splits);
    }
    let part = |folder: &PathBuf| Part::of(folder)?.ok_or_else(|| nothing_in(folder));
    let parts: Vec<Part> = part_folders(folder)?.iter().map(part).collect::<Result<_>>()?;
    if let [train, test] = &parts[..] {
        expect_same_classes(test, train)?;
        expect_same_classes(train, test)?;
    }
    let datasets = pictures(&parts.iter().map(|part| &part.paths[..]).collect::<Vec<_>>(), reading)?;
    let labelled = datasets.into_iter().zip(parts).map(|(dataset, part)| dataset.with_read_labels(part.labels.map(Ok)));
    let mut labelled = labelled.collect::<Result<Vec<Dataset>>>()?.into_iter();
    let train = labelled.next().ok_or_else(|| nothing_in(folder))?;
    Ok(Splits { train, test: labelled.next() })
}

fn nothing_in(folder: &Path) -> Error {
    let [train, _, test, _] = MNIST;
    let problem = match idx_file(folder, test, 3) {
        Some(_) => format!("there is {test}-idx3-ubyte in this folder, but no {train}-idx3-ubyte"),
        None => {
            let pictures = format!("nor any picture ({KINDS}) in this folder or one in it");
            format!("there is neither {train}-idx3-ubyte (or .gz) {pictures}")
        }
    };
    Error::file(folder, problem, KNOWN)
}

// ---- IDX files

/// Loads MNIST's files in a folder, or those of one of EMNIST's splits, if there are any.
fn idx_files(folder: &Path) -> Result<Option<Splits>> {
    if let Some(images) = idx_file(folder, MNIST[0], 3) {
        return idx_splits(&images, MNIST).map(Some);
    }
    let splits = emnist::splits(folder)?;
    let example = |split: &String| {
        let [images, ..] = emnist::stems(split);
        idx_file(folder, &images, 3)
    };
    match &splits[..] {
        [] => Ok(None),
        [split] => {
            let stems = emnist::stems(split);
            let Some(images) = example(split) else {
                let [train, _, test, _] = stems;
                let problem = format!("there is {test}-idx3-ubyte in this folder, but no {train}-idx3-ubyte");
                return Err(Error::file(folder, problem, "get the other file too, or name this one itself"));
            };
            idx_splits(&images, stems.each_ref().map(String::as_str)).map(Some)
        }
        [first, ..] => {
            let problem = format!("holds several splits of EMNIST: {}", splits.join(", "));
            let path = splits.iter().find_map(example).unwrap_or_else(|| folder.join(first));
            let help = format!("name the training images of one, as in {}", path.display());
            Err(Error::file(folder, problem, help))
        }
    }
}

/// Whether this folder exists and holds IDX files of a known name.
fn holds_idx_files(folder: &Path) -> Result<bool> {
    Ok(folder.is_dir() && (idx_file(folder, MNIST[0], 3).is_some() || !emnist::splits(folder)?.is_empty()))
}

/// Loads an EMNIST file of images with its labels and, for training images, its split's test part.
pub(super) fn emnist_file(path: &Path, pictures: &emnist::Pictures) -> Result<Splits> {
    let stems = emnist::stems(&pictures.split);
    let stems = stems.each_ref().map(String::as_str);
    if pictures.is_train {
        return idx_splits(path, stems);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Splits { train: labelled(path, idx_file(folder, stems[3], 1))?, test: None })
}

/// Loads training images with their labels and test images. `stems` are the file name prefixes, in the order of
/// `MNIST`.
fn idx_splits(train_images: &Path, [_, train_labels, test_images, test_labels]: [&str; 4]) -> Result<Splits> {
    let folder = train_images.parent().unwrap_or(Path::new(""));
    let train = labelled(train_images, idx_file(folder, train_labels, 1))?;
    let Some(test_images) = idx_file(folder, test_images, 3) else {
        return Ok(Splits { train, test: None });
    };
    let test = labelled(&test_images, idx_file(folder, test_labels, 1))?;
    if test.sample_shape() != train.sample_shape() {
        let (name, shapes) = (name_of(train_images), [test.sample_shape(), train.sample_shape()]);
        let problem = format!("samples have shape {}, but those of {name} have {}", shapes[0], shapes[1]);
        return Err(Error::file(&test_images, problem, "take both files from one data set"));
    }
    Ok(Splits { train, test: Some(test) })
}

/// The path of an IDX file in the folder, under the first of its possible names that exists.
fn idx_file(folder: &Path, stem: &str, rank: usize) -> Option<PathBuf> {
    let names = ["-", "."].map(|dash| format!("{stem}{dash}idx{rank}-ubyte"));
    let packed = names.each_ref().map(|name| format!("{name}.gz"));
    names.iter().chain(&packed).map(|name| folder.join(name)).find(|path| path.is_file())
}

// ---- pictures

/// The pictures of the training part or of the test part.
struct Part {
    folder: PathBuf,
    paths: Vec<PathBuf>,
    labels: Option<Labels>,
}

impl Part {
    /// Finds the pictures in a folder or, if it has none of its own, those in its folders, each of which is a class.
    /// `None` if there is no picture at all.
    fn of(folder: &Path) -> Result<Option<Part>> {
        let mut part = Part { folder: folder.to_owned(), paths: picture_files(folder)?, labels: None };
        if !part.paths.is_empty() {
            return Ok(Some(part));
        }
        let (mut classes, mut empty) = (Vec::new(), None);
        for class in folders_in(folder)? {
            let pictures = pictures_below(&class)?;
            if pictures.is_empty() {
                empty.get_or_insert(class);
                continue;
            }
            classes.extend(std::iter::repeat_n(name_of(&class), pictures.len()));
            part.paths.extend(pictures);
        }
        match empty {
            _ if part.paths.is_empty() => Ok(None),
            Some(class) => {
                let help = "remove it, or put pictures of the class into it";
                Err(Error::file(&class, "is a folder without a picture beside the folders of classes", help))
            }
            None => Ok(Some(Part { labels: Some(Labels::from_names(classes)), ..part })),
        }
    }
}

/// The folder itself, or its folders of training pictures and, optionally, test pictures, by their names. A folder
/// called `train` among others is a class, unless one of these is named for test pictures.
fn part_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders_in(folder)?;
    let called = |known: &str| folders.iter().find(|path| name_of(path).eq_ignore_ascii_case(known)).cloned();
    let train = TRAIN_FOLDERS.into_iter().find_map(called);
    let test = TEST_FOLDERS.into_iter().find_map(called);
    Ok(match (train, test) {
        _ if !picture_files(folder)?.is_empty() => vec![folder.to_owned()],
        (Some(train), Some(test)) => vec![train, test],
        (Some(train), None) if folders.len() == 1 => vec![train],
        _ => vec![folder.to_owned()],
    })
}

/// Fails where the first part lacks a class of the other.
fn expect_same_classes(part: &Part, other: &Part) -> Result<()> {
    let (Some(labels), Some(others)) = (&part.labels, &other.labels) else { return Ok(()) };
    match others.names().iter().find(|name| !labels.names().contains(name)) {
        Some(missing) => {
            let problem = format!("has no class {missing:?}, which {} has", other.folder.display());
            Err(Error::file(&part.folder, problem, "give both the same folders of classes"))
        }
        None => Ok(()),
    }
}

/// Lists the pictures of a folder in the order of their names. Hidden files are ignored.
pub fn picture_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_picture = |path: &PathBuf| has_extension(path, &PICTURE_ENDINGS) && path.is_file();
    Ok(visible_in(folder)?.into_iter().filter(is_picture).collect())
}

/// Lists the pictures of a folder or, if it has none of its own, of all folders below it.
pub(super) fn all_pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let own = picture_files(folder)?;
    if own.is_empty() { pictures_below(folder) } else { Ok(own) }
}

/// Lists the pictures of a folder and of all folders below it, in the order of their paths. Linked folders are
/// skipped, since they may lead back up.
fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        found.extend(picture_files(&folder)?);
        left.extend(folders_in(&folder)?.into_iter().filter(|path| !path.is_symlink()));
    }
    found.sort();
    Ok(found)
}

/// Lists the folders in a folder, in the order of their names.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(visible_in(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Lists the entries of a folder that are not hidden, in the order of their names.
fn visible_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes data sets of one shape and type from lists of pictures, one set per list: converted to a format, or unchanged.
pub(super) fn pictures(parts: &[&[PathBuf]], reading: &Reading) -> Result<Vec<Dataset>> {
    let Some(format) = reading.pictures else { return pictures_of_one_size(parts) };
    let sixteen_bits = parts.iter().any(|paths| paths.par_iter().any(|path| has_sixteen_bits(path)));
    let wanted = |paths: &&[PathBuf]| Dataset::from_pictures_of(paths.to_vec(), format, sixteen_bits);
    let datasets: Vec<Dataset> = parts.iter().map(wanted).collect::<Result<_>>()?;
    let numbers: usize = datasets.iter().map(|data| data.len() * data.sample_shape().elements()).sum();
    let bytes = numbers as u64 * if sixteen_bits { 4 } else { 1 };
    if reading.memory.is_some_and(|most| bytes > most) {
        return Ok(datasets);
    }
    let read = |data: Dataset| {
        let all: Vec<u32> = (0..data.len() as u32).collect();
        Ok(Dataset::from_parts(data.name(), format.shape(), data.read(&all)?, None))
    };
    datasets.into_iter().map(read).collect()
}

fn pictures_of_one_size(parts: &[&[PathBuf]]) -> Result<Vec<Dataset>> {
    let paths: Vec<&PathBuf> = parts.iter().copied().flatten().collect();
    let mut decoded: Vec<Interleaved> = Vec::new();
    for chunk in paths.chunks(PICTURES_AT_ONCE) {
        let read: Vec<Result<Interleaved>> = chunk.par_iter().map(|path| decode(path, None)).collect();
        // In order, so that the error always names the first bad file, despite the threads.
        for (path, picture) in chunk.iter().zip(read) {
            let picture = picture?;
            if let Some(first) = decoded.first()
                && (first.height, first.width) != (picture.height, picture.width)
            {
                let sizes = [&picture, first].map(|picture| format!("{} x {}", picture.width, picture.height));
                let problem = format!("{} pixels, but {} has {}", sizes[0], name_of(paths[0]), sizes[1]);
                let help = "bring all to one size, or use a model with input [channels, height, width], to which \
                            they are fitted";
                return Err(Error::file(path, problem, help));
            }
            decoded.push(picture);
        }
    }
    let Some((height, width)) = decoded.first().map(|first| (first.height, first.width)) else {
        return Err(Error::invalid("data", "there is no picture", KNOWN));
    };
    // If any picture has colours, a grey one is repeated in all three channels.
    let channels = decoded.iter().map(Interleaved::opaque_channels).max().unwrap_or(1);
    let sixteen_bits = decoded.iter().any(Interleaved::has_sixteen_bits);
    let mut decoded = decoded.into_iter();
    let part = |paths: &&[PathBuf]| {
        let pictures = decoded.by_ref().take(paths.len());
        let values = if sixteen_bits { planes::<u16>(pictures, channels) } else { planes::<u8>(pictures, channels) };
        Dataset::from_parts("data", [channels, height, width].into(), values, None)
    };
    Ok(parts.iter().map(part).collect())
}

/// The channel planes of all pictures, one after another.
fn planes<T: Sample>(pictures: impl Iterator<Item = Interleaved>, channels: usize) -> Values {
    let mut samples: Vec<T> = Vec::new();
    pictures.for_each(|picture| samples.extend(picture.into_planes::<T>(channels)));
    T::values(samples)
}
