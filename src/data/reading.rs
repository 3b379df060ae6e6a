//! How samples are read for a model.

use super::dataset::Dataset;
use super::labels::LabelColumn;
use super::pictures::PictureFormat;
use super::scaling::Samples;
use super::table::Columns;
use crate::error::Result;
use crate::shape::Shape;
use std::fs;
use std::sync::Arc;

/// How [`load_with`](super::load_with) reads samples for a model: `ModelSpec::reading` says it.
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
    pub(super) fn fit(&self, data: Dataset) -> Result<Dataset> {
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
