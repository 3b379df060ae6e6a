//! Fingerprint of a run's data, to tell on resume whether it is unchanged.

use crate::data::{Checksum, Dataset};
use crate::error::Result;
use crate::model::Network;
use crate::tensor::DType;

/// A summary of a training's data. Equal data have equal fingerprints wherever they are stored and however read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    train: Part,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Part>,
}

/// The fingerprint of one data set.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    samples: usize,
    /// The shape of a sample with its side inputs: condition, target, mask.
    shape: Vec<usize>,
    /// Whether the values are bytes.
    bytes: bool,
    /// The checksum of the samples; none where an iterator makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Checksum>,
}

impl Fingerprint {
    /// Computes the fingerprint of training and validation data: samples with those conditions, targets and lengths
    /// that the model uses. For pictures that stay in their files, names and sizes stand for the values. Fails where
    /// the data do not fit the model.
    pub fn of(network: &Network, train: &Dataset, validation: Option<&Dataset>) -> Result<Fingerprint> {
        let part = |data: &Dataset| {
            let rows = network.rows(data)?.data;
            Ok(Part {
                samples: rows.len(),
                shape: rows.sample_shape().to_vec(),
                bytes: rows.dtype() == DType::U8,
                checksum: rows.checksum(),
            })
        };
        Ok(Fingerprint { train: part(train)?, validation: validation.map(part).transpose()? })
    }

    /// Describes how these data differ from `before`, as the end of a sentence: `300 samples to train on, where
    /// the run began with 1200`. None if nothing differs that both fingerprints have.
    pub fn difference(&self, before: &Fingerprint) -> Option<String> {
        let sets = match (&self.validation, &before.validation) {
            (Some(now), Some(before)) => vec![("validate", now, before)],
            (None, None) => vec![],
            (Some(now), None) => {
                return Some(format!("{} samples to validate on, where the run began with none", now.samples));
            }
            (None, Some(before)) => {
                return Some(format!("no samples to validate on, where the run began with {}", before.samples));
            }
        };
        let sets = std::iter::once(("train", &self.train, &before.train)).chain(sets);
        sets.into_iter().find_map(|(what, now, before)| now.difference(before, what))
    }
}

impl Part {
    fn difference(&self, before: &Part, what: &str) -> Option<String> {
        let kind = |part: &Part| if part.bytes { "bytes" } else { "floats" };
        if self.samples != before.samples {
            let (now, before) = (self.samples, before.samples);
            return Some(format!("{now} samples to {what} on, where the run began with {before}"));
        }
        if self.shape != before.shape {
            let (now, before) = (&self.shape, &before.shape);
            return Some(format!("samples {now:?} to {what} on, where the run began with {before:?}"));
        }
        if self.bytes != before.bytes {
            return Some(format!("{} to {what} on, where the run began with {}", kind(self), kind(before)));
        }
        match (self.checksum, before.checksum) {
            (Some(Checksum::Values(now)), Some(Checksum::Values(before))) if now != before => {
                Some(format!("other values to {what} on than the run began with"))
            }
            (Some(Checksum::Files(now)), Some(Checksum::Files(before))) if now != before => {
                Some(format!("files of other names or sizes to {what} on than the run began with"))
            }
            // Not a difference: free memory decides whether pictures are read at once.
            _ => None,
        }
    }
}
