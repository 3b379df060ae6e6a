//! Pixels of a decoded picture: samples of 8 or 16 bits, in one to four channels, and their conversion.

use image::{Luma, LumaA, Pixel, Primitive, Rgb, Rgba};

use crate::shape::Shape;
use crate::tensor::Values;

/// The samples of a picture, in its file's depth.
pub(super) enum Samples {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

/// A decoded picture with interleaved channels: one is grey, three are red, green and blue; two and four add opacity
/// to these.
pub(super) struct Interleaved {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) samples: Samples,
}

/// A sample type: 0 is black, and [`Sample::WHITE`] white or opaque.
pub(super) trait Sample: Primitive + Into<u32> + Send + Sync + 'static {
    /// The largest value.
    const WHITE: Self;

    /// Converts a number of at most [`Sample::WHITE`].
    fn narrow(number: u32) -> Self;

    /// Converts samples to this type, rounding those of more bits.
    fn of(samples: Samples) -> Vec<Self>;

    /// Converts samples to a data set's values: bytes, or from 16 bits to floats from 0 to 1.
    fn values(samples: Vec<Self>) -> Values;
}

impl Sample for u8 {
    const WHITE: u8 = u8::MAX;

    fn narrow(number: u32) -> u8 {
        number as u8
    }

    fn of(samples: Samples) -> Vec<u8> {
        match samples {
            Samples::Bytes(bytes) => bytes,
            Samples::Words(words) => {
                words.iter().map(|word| ((u32::from(*word) * 255 + 32_767) / 65_535) as u8).collect()
            }
        }
    }

    fn values(samples: Vec<u8>) -> Values {
        Values::U8(samples)
    }
}

impl Sample for u16 {
    const WHITE: u16 = u16::MAX;

    fn narrow(number: u32) -> u16 {
        number as u16
    }

    /// Converts a byte `b` to `257 b`, the same fraction of white: [`Sample::values`] makes the f32 of
    /// `b / 255` of it.
    fn of(samples: Samples) -> Vec<u16> {
        match samples {
            Samples::Bytes(bytes) => bytes.iter().map(|byte| u16::from(*byte) * 257).collect(),
            Samples::Words(words) => words,
        }
    }

    fn values(samples: Vec<u16>) -> Values {
        Values::F32(samples.iter().map(|sample| f32::from(*sample) / f32::from(u16::MAX)).collect())
    }
}

/// A sample type with pixel types of one to four channels.
pub(super) trait Pixels: Sample {
    type Grey: Pixel<Subpixel = Self> + 'static;
    type GreyAlpha: Pixel<Subpixel = Self> + 'static;
    type Colour: Pixel<Subpixel = Self> + 'static;
    type ColourAlpha: Pixel<Subpixel = Self> + 'static;
}

impl Pixels for u8 {
    type Grey = Luma<u8>;
    type GreyAlpha = LumaA<u8>;
    type Colour = Rgb<u8>;
    type ColourAlpha = Rgba<u8>;
}

impl Pixels for u16 {
    type Grey = Luma<u16>;
    type GreyAlpha = LumaA<u16>;
    type Colour = Rgb<u16>;
    type ColourAlpha = Rgba<u16>;
}

impl Interleaved {
    /// Number of channels without opacity: one if the picture is grey, else three.
    pub(super) fn opaque_channels(&self) -> usize {
        if self.channels <= 2 { 1 } else { 3 }
    }

    /// Whether samples have 16 bits.
    pub(super) fn has_sixteen_bits(&self) -> bool {
        matches!(self.samples, Samples::Words(_))
    }

    /// Converts to interleaved samples of type `T` with the given number of channels: see [`in_channels`].
    pub(super) fn into_samples<T: Sample>(self, channels: usize) -> Vec<T> {
        in_channels(T::of(self.samples), self.channels, channels)
    }

    /// Converts to samples of type `T` with the given number of channels, one channel's plane after another.
    pub(super) fn into_planes<T: Sample>(self, channels: usize) -> Vec<T> {
        let samples = self.into_samples(channels);
        if channels == 1 {
            return samples;
        }
        let plane = |channel: usize| samples.iter().skip(channel).step_by(channels).copied();
        (0..channels).flat_map(plane).collect()
    }

    /// Converts to a shape and planes of bytes without opacity, with transparency laid over black.
    pub(super) fn into_opaque_bytes(self) -> (Shape, Vec<u8>) {
        let channels = self.opaque_channels();
        ([channels, self.height, self.width].into(), self.into_planes(channels))
    }

    /// Converts a picture of bytes to grey if all its pixels are grey, keeping opacity.
    pub(super) fn grey_where_it_is(self) -> Interleaved {
        let is_grey = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        match self.samples {
            Samples::Bytes(bytes) if self.channels > 2 && bytes.chunks_exact(self.channels).all(is_grey) => {
                let channels = self.channels - 2;
                let samples = Samples::Bytes(in_channels(bytes, self.channels, channels));
                Interleaved { channels, samples, ..self }
            }
            samples => Interleaved { samples, ..self },
        }
    }
}

/// Converts pixels of one to four channels to another number of channels: colours become their luma (by ITU-R
/// BT.709), grey is repeated in all three, missing opacity is opaque, and removed transparency is laid over
/// black.
fn in_channels<T: Sample>(samples: Vec<T>, from: usize, to: usize) -> Vec<T> {
    if from == to {
        return samples;
    }
    let has_alpha = |channels: usize| matches!(channels, 2 | 4);
    let white: u32 = T::WHITE.into();
    let mut changed = Vec::with_capacity(samples.len() / from * to);
    for pixel in samples.chunks_exact(from) {
        let (colours, alpha) = if has_alpha(from) { pixel.split_at(from - 1) } else { (pixel, &[T::WHITE][..]) };
        let shown = |value: T| match has_alpha(to) {
            true => value,
            false => T::narrow((value.into() * alpha[0].into() + white / 2) / white),
        };
        match *colours {
            [red, green, blue] if to <= 2 => changed.push(luma([red, green, blue].map(shown))),
            [red, green, blue] => changed.extend([red, green, blue].map(shown)),
            _ if to <= 2 => changed.push(shown(colours[0])),
            _ => changed.extend([shown(colours[0]); 3]),
        }
        if has_alpha(to) {
            changed.push(alpha[0]);
        }
    }
    changed
}

/// The luma of a colour.
fn luma<T: Sample>(colour: [T; 3]) -> T {
    let [red, green, blue] = colour.map(Into::<u32>::into);
    T::narrow((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000)
}
