//! Conditions: side information about a sample for encoder and decoder.

use crate::error::{Error, Result};
use crate::schema::{Key, choices, keys, validate};
use crate::shape::{Shape, channel_axis};

/// Upper limit on labels, since a one-hot condition adds one element per label to each sample.
const MOST_LABELS: usize = 1 << 16;

/// Side information that encoder and decoder receive and the model does not reconstruct: Sohn, Lee and Yan, "Learning
/// structured output representation using deep conditional generative models", NeurIPS 2015.
///
/// The condition is appended to channels of both inputs: to the numbers of `[features]`, as constant planes to
/// `[channels, height, width]`, at every step to the features of `[steps, features]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// No condition.
    #[default]
    None,
    /// The sample's label, one-hot.
    Labels {
        /// Number of labels. A label that is a whole number below it is the number of its class; `[data]
        /// classes` lists other labels.
        count: usize,
    },
    /// The sample's vector of numbers.
    Vector {
        /// Number of elements of the vector.
        size: usize,
    },
}

impl Condition {
    /// Number of elements of the condition.
    pub fn width(self) -> usize {
        match self {
            Condition::None => 0,
            Condition::Labels { count } => count,
            Condition::Vector { size } => size,
        }
    }

    /// Shape of a sample, or of a code, with the condition appended to its channels.
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
            Condition::Labels { count } => keys![count: Count.replaces_table()],
            Condition::Vector { size } => keys![size: Count.replaces_table()],
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
