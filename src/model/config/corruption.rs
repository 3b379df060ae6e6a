//! Corruption of samples before the encoder sees them: the file's `corruption`.

use crate::error::{Error, Result};
use crate::schema::{Fault, Item, Key, Part, choices, keys};
use serde_json::{Value as Json, json};

/// Corruption that the model learns to undo: drawn anew for every sample, on the device, in training and in validation.
/// The reconstruction target is the clean sample. Vincent et al., ICML 2008.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Corruption {
    /// No corruption.
    #[default]
    None,
    /// Adds normal noise to every element.
    Gaussian {
        /// Standard deviation of the noise.
        level: Level,
        /// Whether the sum is clipped to `[0, 1]`.
        clip: bool,
    },
    /// Sets elements to 0 or 1, with equal probability.
    SaltAndPepper {
        /// Fraction of the elements that are set.
        level: Level,
    },
    /// Sets elements to 0.
    Masking {
        /// Fraction of the elements that are set.
        level: Level,
    },
}

/// Strength of a corruption: one level for all samples, or a range from which each sample's is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Lowest level.
    pub least: f64,
    /// Highest level; equal to `least` where all samples have one level.
    pub most: f64,
}

impl From<f64> for Level {
    fn from(level: f64) -> Level {
        Level { least: level, most: level }
    }
}

impl Corruption {
    /// Level of the corruption; `None` without one.
    pub fn level(&self) -> Option<Level> {
        match self {
            Corruption::None => None,
            Corruption::Gaussian { level, .. }
            | Corruption::SaltAndPepper { level }
            | Corruption::Masking { level } => Some(*level),
        }
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        match self {
            Corruption::None => vec![],
            Corruption::Gaussian { level, clip } => keys![level: part.replaces_table(), clip: Flag],
            Corruption::SaltAndPepper { level } | Corruption::Masking { level } => keys![level: part.replaces_table()],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let Some(Level { least, most }) = self.level() else { return Ok(()) };
        let limit = if matches!(self, Corruption::Gaussian { .. }) { f64::from(f32::MAX) } else { 1.0 };
        if !(0.0 <= least && least <= most && most <= limit) {
            let (expected, found) = match least == most {
                true => ("a number", format!("{least:?}")),
                false => ("an ascending pair of numbers", format!("[{least:?}, {most:?}]")),
            };
            let bound = if limit == 1.0 { "from 0 to 1" } else { "of at least 0" };
            let problem = format!("expects {expected} {bound}, got {found}");
            return Err(Error::invalid(format!("corruption.{}.level", self.name()), problem, "use 0.3, say"));
        }
        Ok(())
    }
}

impl Part for &mut Level {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        **self = match item.list("", "") {
            Ok(pair) => match &pair[..] {
                [least, most] => Level { least: least.number()?, most: most.number()? },
                _ => return item.wrong("a number or a pair of numbers", "write 0.3 or [0.1, 0.5], say"),
            },
            Err(_) => item.number()?.into(),
        };
        Ok(())
    }

    fn text(&self) -> String {
        match self.least == self.most {
            true => format!("{:?}", self.least),
            false => format!("[{:?}, {:?}]", self.least, self.most),
        }
    }

    fn schema(&self) -> Json {
        let number = json!({ "type": "number", "minimum": 0 });
        json!({ "anyOf": [number, { "type": "array", "minItems": 2, "maxItems": 2, "items": number }] })
    }
}

choices! { "corruption" Corruption {
    None = "none",
    Gaussian { level: 0.2.into(), clip: false } = "gaussian",
    SaltAndPepper { level: 0.2.into() } = "salt_and_pepper",
    Masking { level: 0.3.into() } = "masking",
} }
