//! Rearranging samples to the order of a model's input.

use rayon::prelude::*;

use super::arrangement::{Arrangement, arrangement, expect_input};
use super::dataset::Dataset;
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::Values;

impl Dataset {
    /// Arranges the samples for a model's input: pictures `[height, width, channels]` get channels first if the input
    /// is `[channels, height, width]` and they do not fit it unchanged; all others stay as they are.
    ///
    /// Fails where samples do not fit the input, see [`arrangement`], and where pictures that need rearranging
    /// are not in memory.
    pub fn for_input(self, input: &Shape) -> Result<Dataset> {
        let arrangement = arrangement(self.sample_shape(), input);
        let &[height, width, channels] = &self.sample_shape()[..] else {
            expect_input(self.sample_shape(), input, self.name(), "model")?;
            return Ok(self);
        };
        if arrangement != Some(Arrangement::ChannelsLast) || !self.in_memory() {
            expect_input(self.sample_shape(), input, self.name(), "model")?;
            return Ok(self);
        }
        Ok(self.with_values(input.clone(), |values| match values {
            Values::U8(values) => Values::U8(channels_first(values, height * width, channels)),
            Values::F32(values) => Values::F32(channels_first(values, height * width, channels)),
            other => other,
        }))
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
