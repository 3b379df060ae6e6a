//! What a run keeps of the data that it is trained on, to tell whether it goes on with the same.

use crate::data::{Checksum, Dataset};
use crate::error::Result;
use crate::model::Network;
use crate::tensor::DType;

/// The data of a training in a few numbers. Equal data have equal fingerprints wherever they lie and however they are read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    train: Part,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Part>,
}

/// One data set of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    samples: usize,
    /// The shape of a sample with what the model is given beside it: condition, target, mask.
    shape: Vec<usize>,
    /// Whether the numbers are bytes.
    bytes: bool,
    /// None where an iterator makes the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Checksum>,
}

impl Fingerprint {
    /// That of what a model is trained and validated on: its samples with their conditions, targets and lengths where the
    /// model looks at them. Of pictures that stay in their files, names and sizes stand for the values. Fails where the
    /// data do not fit the model.
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

    /// What these data have that `before` had not, as the end of a sentence about them: `300 samples to train on, where
    /// the run began with 1200`. None where nothing differs that both know.
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
            // How much memory is free decides whether pictures are read at once.
            _ => None,
        }
    }
}
