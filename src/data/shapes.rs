//! Rearranging samples to the order of a model's input.

use rayon::prelude::*;

use super::arrangement::{Arrangement, arrangement, expect_input};
use super::dataset::Dataset;
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::with_values;

impl Dataset {
    /// Arranges the samples for a model's input: pictures `[height, width, channels]` get channels first if the input
    /// is `[channels, height, width]` and they do not fit it unchanged; all others stay as they are.
    ///
    /// Fails where samples do not fit the input, see [`arrangement`], and where pictures that need rearranging
    /// are not in memory.
    pub fn for_input(self, input: &Shape) -> Result<Dataset> {
        match (arrangement(self.sample_shape(), input), &self.sample_shape()[..]) {
            (Some(Arrangement::ChannelsLast), &[height, width, channels]) if self.in_memory() => {
                let first =
                    |values| with_values!(values, Values(values) => channels_first(values, height * width, channels));
                Ok(self.with_values(input.clone(), first))
            }
            _ => expect_input(self.sample_shape(), input, self.name(), "model").map(|()| self),
        }
    }
}

/// Whether samples of this shape are pictures of one or three channels, first or last.
pub fn is_picture(sample: &Shape) -> bool {
    matches!(sample[..], [1 | 3, _, _] | [_, _, 1 | 3])
}

/// Separates interleaved channels into planes, picture by picture.
pub(crate) fn channels_first<T: Copy + Send + Sync>(mut values: Vec<T>, pixels: usize, channels: usize) -> Vec<T> {
    values.par_chunks_mut(pixels * channels).for_each(|picture| {
        let interleaved = picture.to_vec();
        for (at, value) in picture.iter_mut().enumerate() {
            *value = interleaved[at % pixels * channels + at / pixels];
        }
    });
    values
}
