//! Conditions: what encoder and decoder are told about a sample.

use crate::error::{Error, Result};
use crate::schema::{Key, Setting, choices, validate};
use crate::shape::{Shape, channel_axis};

/// A label takes as many numbers beside each sample.
const MOST_LABELS: usize = 1 << 16;

/// What encoder and decoder are told about a sample and the model does not give back: Sohn, Lee and Yan, "Learning
/// structured output representation using deep conditional generative models", NeurIPS 2015.
///
/// It goes behind the channels of what the encoder gets and of what the decoder gets: behind the numbers of `[features]`, as
/// constant planes behind those of `[channels, height, width]`, at every step behind the features of `[steps, features]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The sample's label, as a 1 among zeros.
    Labels {
        /// How many labels there are. Whole numbers below that are their own classes; others are those of `[data] classes`.
        count: usize,
    },
    /// The sample's vector of numbers.
    Vector {
        /// How many numbers.
        size: usize,
    },
}

impl Condition {
    /// How many numbers it is.
    pub fn width(self) -> usize {
        match self {
            Condition::None => 0,
            Condition::Labels { count } => count,
            Condition::Vector { size } => size,
        }
    }

    /// The shape of a sample, or of a code, with the condition behind its channels.
    pub(super) fn beside(self, shape: &Shape) -> Shape {
        let mut joined = shape.to_vec();
        if let Some(channels) = joined.get_mut(channel_axis(shape.len())) {
            *channels += self.width();
        }
        joined.into()
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        match self {
            Condition::None => vec![],
            Condition::Labels { count } => vec![Key::short("count", Setting::Count(count))],
            Condition::Vector { size } => vec![Key::short("size", Setting::Count(size))],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate(self, "condition")?;
        match self {
            Condition::Labels { count } if *count > MOST_LABELS => {
                let problem = format!("there can be {MOST_LABELS} labels, not {count}");
                Err(Error::invalid("condition.labels.count", problem, "use fewer, or { vector = SIZE }"))
            }
            _ => Ok(()),
        }
    }
}

choices! { "condition" Condition {
    None = "none",
    Labels { count: 10 } = "labels",
    Vector { size: 1 } = "vector",
} }
