//! Settings for reading samples for a model.

use super::dataset::Dataset;
use super::labels::LabelColumn;
use super::pictures::PictureFormat;
use super::scaling::Samples;
use super::table::Columns;
use crate::error::Result;
use crate::shape::Shape;
use std::fs;
use std::sync::Arc;

/// Settings with which [`load_with`](super::load_with) reads samples for a model, made by `ModelSpec::reading`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The format for pictures of any size. If none is given, all must have one size, and stay unchanged.
    pub pictures: Option<PictureFormat>,
    /// Most bytes of memory for all pictures converted to a format; by default there is no limit. Larger sets stay in
    /// their files, see [`Dataset::from_pictures`].
    pub memory: Option<u64>,
    /// The items that are the columns of ratings, in this order; all found items by default.
    pub items: Option<Arc<Vec<String>>>,
    /// Reads CSV files as tables, whose first line names columns of numbers or categories. By default, as numbers.
    pub columns: Option<Columns>,
    /// The column of a CSV file that holds labels, which is left out of the samples.
    pub label: Option<LabelColumn>,
    /// The input of the model. Samples must fit it in their own order or, failing that, with their channels
    /// last: see [`Dataset::for_input`]. By default all are accepted, and stay unchanged.
    pub input: Option<Shape>,
    /// Shape and scaling of the model's training samples: later ones are converted to that scaling, or refused.
    pub samples: Option<Samples>,
}

impl Reading {
    /// Reads pictures in a format; decodes them on demand if they exceed a quarter of the free memory.
    pub fn pictures(format: Option<PictureFormat>) -> Reading {
        Reading { pictures: format, memory: Some(free_memory() / 4), ..Reading::default() }
    }

    /// Rearranges data for the model's input, and converts it to the training data's scaling.
    pub(super) fn fit(&self, data: Dataset) -> Result<Dataset> {
        let data = match &self.input {
            Some(input) => data.for_input(input)?,
            None => data,
        };
        match &self.samples {
            Some(samples) => samples.convert(data),
            None => Ok(data),
        }
    }
}

/// The system's free memory in bytes, or a guess.
fn free_memory() -> u64 {
    let known = || {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    known().unwrap_or(8 << 30)
}
