//! Pictures: reading several formats, and writing PNG.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::{PngDecoder, PngEncoder};
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageResult, Limits};

use super::gzip::GET_AGAIN;
use super::pixels::{Interleaved, Samples};
use crate::error::{Error, Result};
use crate::files::{self, write_atomically};
use crate::shape::Shape;

/// Most bytes of a decoded picture.
const LARGEST_PICTURE: u64 = 512 << 20;
/// Offset of the bit depth in a PNG file.
const PNG_DEPTH: usize = 24;
/// The help for pictures with an unsupported sample type.
const OTHER_PIXELS: &str = "save it as a grey or RGB picture of 8 or 16 bits";

/// Converts values to bytes: clamped to 0..=1, times 255, rounded. NaN becomes 0.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

/// Reads a PNG as a shape `[c, h, w]` and its bytes, one channel's plane after another.
///
/// A grey file gives one channel, any other three. 16-bit files are rounded to 8 bits, and transparency is laid over
/// black. Fails where the file cannot be read, is not a PNG, is damaged, or claims a size that its length cannot hold.
pub fn read_png(path: impl AsRef<Path>) -> Result<(Shape, Vec<u8>)> {
    decode(path.as_ref(), Some(Kind::Png)).map(Interleaved::into_opaque_bytes)
}

/// Reads a picture as [`read_png`] does, detecting PNG, JPEG, BMP, GIF, TIFF or WebP by content, and applies its
/// EXIF orientation. Of several frames or pages the first is read.
pub fn read_picture(path: impl AsRef<Path>) -> Result<(Shape, Vec<u8>)> {
    decode(path.as_ref(), None).map(Interleaved::into_opaque_bytes)
}

/// The names of the supported picture formats, for messages.
pub(super) const KINDS: &str = "PNG, JPEG, BMP, GIF, TIFF or WebP";

/// The supported picture formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    Bmp,
    Gif,
    Tiff,
    Webp,
}

impl Kind {
    /// Detects the format from a file's first [`Kind::FIRST_BYTES`].
    pub(super) fn of(first: &[u8]) -> Option<Kind> {
        match first {
            [0x89, b'P', b'N', b'G', ..] => Some(Kind::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Kind::Jpeg),
            // Text may begin with these two letters, but has no zero bytes.
            [b'B', b'M', rest @ ..] if rest.iter().take(16).any(|byte| *byte == 0) => Some(Kind::Bmp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Kind::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Kind::Tiff),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Kind::Webp),
            _ => None,
        }
    }

    /// Number of bytes that [`Kind::of`] examines.
    pub(super) const FIRST_BYTES: u64 = 18;

    fn name(self) -> &'static str {
        match self {
            Kind::Png => "PNG",
            Kind::Jpeg => "JPEG",
            Kind::Bmp => "BMP",
            Kind::Gif => "GIF",
            Kind::Tiff => "TIFF",
            Kind::Webp => "WebP",
        }
    }

    /// The most pixels that a byte of a file can hold, if there is a limit. In PNG a pixel takes at least one
    /// bit, and deflate unpacks to at most 1032 times its length; in JPEG a block of 64 pixels takes at least one
    /// bit. The other formats may omit pixels, or encode a whole line in a bit.
    fn pixels_per_byte(self) -> Option<u64> {
        match self {
            Kind::Png => Some(8 * 1032),
            Kind::Jpeg => Some(8 * 64),
            Kind::Bmp | Kind::Gif | Kind::Tiff | Kind::Webp => None,
        }
    }

    /// Whether the format has grey pictures. The decoders of the others return colours.
    fn knows_grey(self) -> bool {
        match self {
            Kind::Png | Kind::Jpeg | Kind::Tiff => true,
            Kind::Bmp | Kind::Gif | Kind::Webp => false,
        }
    }
}

/// Decodes a picture, detecting the format if none is given.
pub(super) fn decode(path: &Path, kind: Option<Kind>) -> Result<Interleaved> {
    let file = files::open(path)?;
    let file_bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let mut file = BufReader::new(file);
    let kind = match kind {
        Some(kind) => kind,
        None => {
            let known = Kind::of(file.fill_buf().map_err(Error::io("read", path))?);
            let problem = || format!("is no picture of a known kind ({KINDS})");
            known.ok_or_else(|| Error::file(path, problem(), "check that it is one, or remove it"))?
        }
    };
    let unusable = |error| damaged(path, kind, error);
    match kind {
        Kind::Png => decode_from(path, file_bytes, kind, PngDecoder::with_limits(file, limits()).map_err(unusable)?),
        Kind::Jpeg => decode_from(path, file_bytes, kind, JpegDecoder::new(file).map_err(unusable)?),
        Kind::Bmp => decode_from(path, file_bytes, kind, BmpDecoder::new(file).map_err(unusable)?),
        Kind::Gif => decode_from(path, file_bytes, kind, limited(GifDecoder::new(file)).map_err(unusable)?),
        Kind::Tiff => decode_from(path, file_bytes, kind, limited(TiffDecoder::new(file)).map_err(unusable)?),
        Kind::Webp => decode_from(path, file_bytes, kind, WebPDecoder::new(file).map_err(unusable)?),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST_PICTURE);
    limits
}

/// A decoder that keeps to [`limits`].
fn limited<D: ImageDecoder>(decoder: ImageResult<D>) -> ImageResult<D> {
    let mut decoder = decoder?;
    decoder.set_limits(limits())?;
    Ok(decoder)
}

fn decode_from(path: &Path, file_bytes: u64, kind: Kind, mut decoder: impl ImageDecoder) -> Result<Interleaved> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Error::file(path, "has no pixel", "remove it"));
    }
    if kind.pixels_per_byte().is_some_and(|most| pixels / most > file_bytes) {
        let problem = format!("claims {width} x {height} pixels, which its {file_bytes} bytes cannot hold");
        return Err(Error::file(path, problem, GET_AGAIN));
    }
    if decoder.total_bytes() > LARGEST_PICTURE {
        let problem = format!("{width} x {height} pixels are more than {} MiB", LARGEST_PICTURE >> 20);
        return Err(Error::file(path, problem, "make the picture smaller"));
    }
    let color = decoder.color_type();
    // A picture whose EXIF data cannot be read is not rotated.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let channels = match color {
        ColorType::L8 | ColorType::L16 => 1,
        ColorType::La8 | ColorType::La16 => 2,
        ColorType::Rgb8 | ColorType::Rgb16 => 3,
        ColorType::Rgba8 | ColorType::Rgba16 => 4,
        other => {
            let problem = format!("holds pixels of an unusual kind ({other:?})");
            return Err(Error::file(path, problem, OTHER_PIXELS));
        }
    };
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| damaged(path, kind, error))?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bytes = picture.into_bytes();
    let samples = match color.bytes_per_pixel() == color.channel_count() {
        true => Samples::Bytes(bytes),
        // Words are in the machine's byte order.
        false => Samples::Words(bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()),
    };
    let picture = Interleaved { channels, height, width, samples };
    Ok(if kind.knows_grey() { picture } else { picture.grey_where_it_is() })
}

/// Whether a picture has 16 bits per sample, by its first bytes; false if it cannot be read.
pub(super) fn has_sixteen_bits(path: &Path) -> bool {
    let Ok(file) = files::open(path) else { return false };
    let mut first = Vec::new();
    match file.take(PNG_DEPTH as u64 + 1).read_to_end(&mut first).ok().and_then(|_| Kind::of(&first)) {
        Some(Kind::Png) => first.get(PNG_DEPTH) == Some(&16),
        Some(Kind::Tiff) => files::open(path).is_ok_and(|file| {
            let color = TiffDecoder::new(BufReader::new(file)).map(|decoder| decoder.color_type());
            color.is_ok_and(|color| color.bytes_per_pixel() == 2 * color.channel_count())
        }),
        _ => false,
    }
}

fn damaged(path: &Path, kind: Kind, error: image::ImageError) -> Error {
    let name = kind.name();
    // Errors are one line, even if the decoder returns several.
    let message = error.to_string().replace(['\n', '\r'], " ");
    match error {
        image::ImageError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Error::io("read", path)(source)
        }
        image::ImageError::Unsupported(_) => {
            Error::file(path, format!("is a {name} of a kind that is not read ({message})"), OTHER_PIXELS)
        }
        _ => {
            let help = format!("check that it is a {name}, or get it again");
            Error::file(path, format!("is no readable {name} ({message})"), help)
        }
    }
}

/// Writes an 8-bit PNG, grey for shape `[1, h, w]` and RGB for `[3, h, w]`; the bytes are one channel's plane after
/// another. The file is written atomically.
///
/// Fails where the shape is another or does not match the bytes, and where the file cannot be written.
pub fn write_png(path: impl AsRef<Path>, shape: &Shape, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    check_picture(shape, bytes.len())?;
    let (Ok(height), Ok(width)) = (u32::try_from(shape[1]), u32::try_from(shape[2])) else {
        let problem = format!("shape {shape} is larger than a PNG can be");
        return Err(Error::invalid("picture", problem, "write a smaller picture"));
    };
    let plane = shape[1] * shape[2];
    let (kind, pixels) = if shape[0] == 1 {
        (ExtendedColorType::L8, bytes.to_vec())
    } else {
        let interleaved = (0..plane).flat_map(|i| [bytes[i], bytes[plane + i], bytes[2 * plane + i]]).collect();
        (ExtendedColorType::Rgb8, interleaved)
    };
    let mut encoded = Vec::new();
    PngEncoder::new(&mut encoded).write_image(&pixels, width, height, kind).map_err(|error| {
        Error::file(path, format!("the picture could not be encoded ({error})"), "write a smaller picture")
    })?;
    write_atomically(path, |file| file.write_all(&encoded))
}

/// Fails where a shape is not `[1, h, w]` or `[3, h, w]` with sizes above 0, or has another number of elements.
pub(crate) fn check_picture(shape: &Shape, bytes: usize) -> Result<()> {
    let elements = shape.checked_elements();
    if !matches!(shape[..], [1 | 3, _, _]) || elements == Some(0) {
        let help = "give [1, height, width] for grey or [3, height, width] for colour";
        return Err(Error::invalid("picture", format!("shape {shape} is no picture"), help));
    }
    if elements != Some(bytes) {
        let problem = format!("{bytes} bytes given for shape {shape}");
        return Err(Error::invalid("picture", problem, "give as many bytes as the shape holds"));
    }
    Ok(())
}
