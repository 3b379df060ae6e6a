//! The pixels of a decoded picture: samples of 8 or 16 bits, in one to four channels, and how one becomes the other.

use image::{Luma, LumaA, Pixel, Primitive, Rgb, Rgba};

use crate::shape::Shape;
use crate::tensor::Values;

/// The samples of a picture, as its file has them.
pub(super) enum Samples {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

/// A picture as files have it, the channels of a pixel side by side: one is grey and three are red, green and blue; with two
/// and four, opacity comes after these.
pub(super) struct Interleaved {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) samples: Samples,
}

/// A sample's type: 0 is black, and [`Sample::WHITE`] white or opaque.
pub(super) trait Sample: Primitive + Into<u32> + Send + Sync + 'static {
    /// The largest number.
    const WHITE: Self;

    /// A number that is at most [`Sample::WHITE`].
    fn narrow(number: u32) -> Self;

    /// Samples as ones of this type, rounded where they had more bits.
    fn of(samples: Samples) -> Vec<Self>;

    /// Samples as a data set has them: bytes, or of 16 bits floats from 0 to 1.
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

    /// A byte `b` becomes `257 b`, which is the same part of white: the f32 that [`Sample::values`] makes of it is that of
    /// `b / 255`.
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

/// What a picture of a type of samples is made of, one to four channels of them.
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
    /// One channel where the picture is grey, three where it is not.
    pub(super) fn opaque_channels(&self) -> usize {
        if self.channels <= 2 { 1 } else { 3 }
    }

    /// Whether samples have 16 bits.
    pub(super) fn has_sixteen_bits(&self) -> bool {
        matches!(self.samples, Samples::Words(_))
    }

    /// The samples as numbers of a type, the pixels brought to a number of channels that lie side by side: see [`in_channels`].
    pub(super) fn into_samples<T: Sample>(self, channels: usize) -> Vec<T> {
        in_channels(T::of(self.samples), self.channels, channels)
    }

    /// The samples, the pixels brought to a number of channels, one channel's plane after another.
    pub(super) fn into_planes<T: Sample>(self, channels: usize) -> Vec<T> {
        let samples = self.into_samples(channels);
        if channels == 1 {
            return samples;
        }
        let plane = |channel: usize| samples.iter().skip(channel).step_by(channels).copied();
        (0..channels).flat_map(plane).collect()
    }

    /// The shape and the planes of bytes without opacity, transparency laid over black.
    pub(super) fn into_opaque_bytes(self) -> (Shape, Vec<u8>) {
        let channels = self.opaque_channels();
        ([channels, self.height, self.width].into(), self.into_planes(channels))
    }

    /// The picture in one channel of grey, where each of its pixels has as much of each colour.
    pub(super) fn grey_where_it_is(self) -> Interleaved {
        let is_grey = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        match self {
            Interleaved { channels: channels @ (3 | 4), height, width, samples: Samples::Bytes(bytes) }
                if bytes.chunks_exact(channels).all(is_grey) =>
            {
                let grey = channels - 2;
                let samples = Samples::Bytes(in_channels(bytes, channels, grey));
                Interleaved { channels: grey, height, width, samples }
            }
            other => other,
        }
    }
}

/// Pixels of one to four channels in another number of them: colours become the grey that they have to the eye (their luma by
/// ITU-R BT.709), grey shows in all three, what has no opacity is opaque, and where none is wanted transparency is laid over
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

/// The grey that a colour has to the eye.
fn luma<T: Sample>(colour: [T; 3]) -> T {
    let [red, green, blue] = colour.map(Into::<u32>::into);
    T::narrow((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000)
}
