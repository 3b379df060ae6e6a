//! Training and validation sets, made from the splits of a source.

use super::{Dataset, Splits};
use crate::error::Result;

/// The training and validation data of a model.
#[derive(Clone, Debug)]
pub struct TrainingSets {
    /// The training set.
    pub train: Dataset,
    /// The validation set.
    pub validation: Option<Dataset>,
}

impl Splits {
    /// Makes the data sets of a run. Validation uses the source's own test samples. If the source has none, or
    /// `set_aside` reserves them, validation uses this fraction of the training samples, drawn by `set_aside` (else
    /// `seed`).
    pub fn for_training(self, fraction: f64, seed: u64, set_aside: Option<u64>) -> Result<TrainingSets> {
        let validation = self.test.filter(|_| set_aside.is_none());
        let aside = (self.train.len() as f64 * fraction) as usize;
        if validation.is_some() || aside == 0 {
            return Ok(TrainingSets { train: self.train.without_lines(), validation });
        }
        let (train, validation) = self.train.split(aside, set_aside.unwrap_or(seed))?;
        Ok(TrainingSets { train, validation: Some(validation) })
    }
}
