//! Folders of pictures of any size: decoded in parallel to one size, in advance or on demand.

use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Pixel};
use rayon::prelude::*;

use super::images::decode;
use super::pixels::Pixels;
use crate::error::{Error, Result};
use crate::schema::names;
use crate::shape::Shape;
use crate::tensor::Values;

/// Number of pictures decoded before the first bad one among them is reported.
const AT_ONCE: usize = 1024;

/// Adaptation of a picture to the aspect ratio of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Crops the centre to the sample's aspect ratio.
    #[default]
    Crop,
    /// Stretches the picture.
    Stretch,
    /// Keeps the whole picture, with black bars at the sides or above and below.
    Pad,
}

names! { "way to fit pictures" Fit { Crop = "crop", Stretch = "stretch", Pad = "pad", } }

/// The common format to which pictures are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFormat {
    /// 1 for grey (colours become their luma by ITU-R BT.709), 3 for red, green and blue; 2 and 4 add opacity to these.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// The adaptation of other aspect ratios.
    pub fit: Fit,
}

impl PictureFormat {
    /// The format of samples of this shape, if it is `[channels, height, width]` with one to four channels.
    pub fn of(sample: &Shape, fit: Fit) -> Option<PictureFormat> {
        match sample[..] {
            [channels @ 1..=4, height, width] => Some(PictureFormat { channels, height, width, fit }),
            _ => None,
        }
    }

    /// The shape of a sample: channels, height, width.
    pub fn shape(&self) -> Shape {
        [self.channels, self.height, self.width].into()
    }

    /// Reads a picture in this format: bytes, one channel's plane after another. Resizes with a triangle filter
    /// as wide as the reduction, and applies the EXIF orientation; 16 bits are rounded to 8. Pictures without opacity
    /// are opaque, and if the format has none, transparency is laid over black.
    ///
    /// Fails as [`read_picture`](super::images::read_picture) does.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let mut sample = vec![0; self.shape().elements()];
        self.read_into(path.as_ref(), &mut sample)?;
        Ok(sample)
    }

    fn read_into<T: Pixels>(&self, path: &Path, sample: &mut [T]) -> Result<()> {
        let picture = decode(path, None)?;
        let (height, width) = (picture.height, picture.width);
        let samples: Vec<T> = picture.into_samples(self.channels);
        match self.channels {
            1 => self.fit_into::<T, T::Grey>(samples, height, width, sample),
            2 => self.fit_into::<T, T::GreyAlpha>(samples, height, width, sample),
            3 => self.fit_into::<T, T::Colour>(samples, height, width, sample),
            _ => self.fit_into::<T, T::ColourAlpha>(samples, height, width, sample),
        }
        .ok_or_else(|| Error::file(path, "has no pixel", "remove it"))
    }

    /// Resizes the pixels to a sample and separates its planes. `None` if there are no pixels.
    fn fit_into<T: Pixels, P: Pixel<Subpixel = T> + 'static>(
        &self,
        samples: Vec<T>,
        height: usize,
        width: usize,
        sample: &mut [T],
    ) -> Option<()> {
        let (columns, rows) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        let picture: ImageBuffer<P, Vec<T>> = ImageBuffer::from_raw(columns, rows, samples)?;
        if height == 0 || width == 0 {
            return None;
        }
        // The part of the picture that is kept, and its size in the sample; the smaller of the two scales decides.
        let scaled = |size: usize, by: usize, of: usize| (size * by).div_ceil(of).max(1);
        let narrow = width * self.height < height * self.width;
        let (mut part, mut whole) = ([height, width], [self.height, self.width]);
        match self.fit {
            Fit::Stretch => {}
            Fit::Crop if narrow => part[0] = scaled(self.height, width, self.width).min(height),
            Fit::Crop => part[1] = scaled(self.width, height, self.height).min(width),
            Fit::Pad if narrow => whole[1] = scaled(width, self.height, height).min(self.width),
            Fit::Pad => whole[0] = scaled(height, self.width, width).min(self.height),
        }
        let (top, left) = ((height - part[0]) / 2, (width - part[1]) / 2);
        let part = imageops::crop_imm(&picture, left as u32, top as u32, part[1] as u32, part[0] as u32).to_image();
        let fitted = match part.dimensions() == (whole[1] as u32, whole[0] as u32) {
            true => part,
            false => imageops::resize(&part, whole[1] as u32, whole[0] as u32, FilterType::Triangle),
        };
        let (top, left) = ((self.height - whole[0]) / 2, (self.width - whole[1]) / 2);
        sample.fill(T::narrow(0));
        for (y, line) in fitted.as_raw().chunks_exact(whole[1] * self.channels).enumerate() {
            for (x, pixel) in line.chunks_exact(self.channels).enumerate() {
                for (channel, value) in pixel.iter().enumerate() {
                    sample[(channel * self.height + top + y) * self.width + left + x] = *value;
                }
            }
        }
        Some(())
    }

    /// Reads many pictures, one after another, on all cores: as bytes, or with 16 bits as floats from 0 to 1. The error
    /// is always that of the first bad file, despite the threads.
    pub(super) fn read_all(&self, paths: &[&PathBuf], sixteen_bits: bool) -> Result<Values> {
        if sixteen_bits { self.read_all_as::<u16>(paths) } else { self.read_all_as::<u8>(paths) }
    }

    fn read_all_as<T: Pixels>(&self, paths: &[&PathBuf]) -> Result<Values> {
        let width = self.shape().elements();
        let mut samples = vec![T::narrow(0); paths.len() * width];
        for (paths, samples) in paths.chunks(AT_ONCE).zip(samples.chunks_mut(AT_ONCE * width)) {
            let read = paths.par_iter().zip(samples.par_chunks_mut(width));
            let results: Vec<Result<()>> = read.map(|(path, sample)| self.read_into(path, sample)).collect();
            results.into_iter().collect::<Result<()>>()?;
        }
        Ok(T::values(samples))
    }
}
