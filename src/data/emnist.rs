//! EMNIST, whose IDX files are named `emnist-SPLIT-train-images-idx3-ubyte` and so on, of splits such as `balanced`, `letters`
//! and `digits`: <https://www.nist.gov/itl/products-and-services/emnist-dataset>.
//!
//! Its pictures lie column by column where MNIST's lie row by row. Nothing in a file says so but its name, by which they are
//! brought into MNIST's order.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// One of EMNIST's files of pictures.
pub(super) struct Pictures {
    /// The split's name.
    pub(super) split: String,
    /// Whether they are those to train on, not those to test with.
    pub(super) is_train: bool,
}

impl Pictures {
    /// What a file holds, by its name.
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

/// How the names of a split's files begin: pictures and labels to train on, pictures and labels to test with.
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
