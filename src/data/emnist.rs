//! EMNIST, whose IDX files are named `emnist-SPLIT-train-images-idx3-ubyte` and so on, with splits such as `balanced`,
//! `letters` and `digits`: <https://www.nist.gov/itl/products-and-services/emnist-dataset>.
//!
//! Its pictures are stored column by column, MNIST's row by row. Only a file's name tells, by which pictures are
//! converted to MNIST's order.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// An EMNIST file of pictures, identified by its name.
pub(super) struct Pictures {
    /// The split's name.
    pub(super) split: String,
    /// Whether the pictures are for training, not for testing.
    pub(super) is_train: bool,
}

impl Pictures {
    /// Parses a file's name.
    pub(super) fn of(path: &Path) -> Option<Pictures> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("idx3-ubyte")?;
        let name = name.strip_suffix(['-', '.'])?.strip_prefix("emnist-")?.strip_suffix("-images")?;
        let (split, is_train) = match name.strip_suffix("-train") {
            Some(split) => (split, true),
            None => (name.strip_suffix("-test")?, false),
        };
        (!split.is_empty()).then(|| Pictures { split: split.to_owned(), is_train })
    }
}

/// Prefixes of the names of a split's files: training images and labels, test images and labels.
pub(super) fn stems(split: &str) -> [String; 4] {
    ["train-images", "train-labels", "test-images", "test-labels"].map(|part| format!("emnist-{split}-{part}"))
}

/// The splits of which a folder holds pictures, in the order of their names.
pub(super) fn splits(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        found.extend(Pictures::of(&path).filter(|_| path.is_file()).map(|pictures| pictures.split));
    }
    found.sort();
    found.dedup();
    Ok(found)
}
