//! Grids: a picture of many samples in rows and columns.

use crate::data::channels_first;
use crate::data::images::{check_picture, to_bytes, write_png};
use crate::error::{Error, Result};
use crate::shape::Shape;
use std::path::Path;

/// Width in pixels and grey value of the lines between the cells of a grid.
const SEPARATOR: usize = 2;
const SEPARATOR_GREY: u8 = 128;

/// A picture of bytes, row-major, in planes: shape `[1, h, w]` (grey) or `[3, h, w]` (red, green, blue).
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    shape: Shape,
    bytes: Vec<u8>,
}

impl Image {
    /// A picture from its shape and bytes. Fails where the shape is not `[1, h, w]` or `[3, h, w]` with sizes above 0,
    /// or where the shape does not fit the number of bytes.
    pub fn new(shape: impl Into<Shape>, bytes: Vec<u8>) -> Result<Image> {
        let shape = shape.into();
        check_picture(&shape, bytes.len())?;
        Ok(Image { shape, bytes })
    }

    /// A picture from values where 0 is black and 1 is white; see [`to_bytes`]. Fails as [`Image::new`] does.
    pub fn from_f32(shape: impl Into<Shape>, values: &[f32]) -> Result<Image> {
        Image::new(shape, to_bytes(values))
    }

    /// A sample as a picture of one or three channels, where 0 is black and 1 is white. Channels come first, or last
    /// where the first axis has another size. Fails where [`is_picture`](crate::data::is_picture) is false.
    pub fn from_sample(shape: &Shape, values: &[f32]) -> Result<Image> {
        match shape[..] {
            [height, width, channels @ (1 | 3)] if !matches!(height, 1 | 3) && values.len() == shape.elements() => {
                let planes = channels_first(values.to_vec(), height * width, channels);
                Image::from_f32([channels, height, width], &planes)
            }
            _ => Image::from_f32(shape.clone(), values),
        }
    }

    /// The shape: channels, height, width.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The bytes, one channel's plane after another.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Arranges pictures in a grid: each inner list is a row of cells, from the top left, with mid-grey lines 2 pixels wide
/// between cells. Every pixel of a cell becomes a square of `scale` x `scale` pixels (0 counts as 1).
///
/// Cells may differ in size, and rows in length: a row is as high as its highest cell, a column as wide as its widest,
/// and the rest is mid-grey. The result is grey where all cells are grey, else RGB. Fails where there is no cell, or
/// where the picture would be larger than memory can address.
pub fn grid(rows: &[Vec<Image>], scale: usize) -> Result<Image> {
    let scale = scale.max(1);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return Err(Error::invalid("grid", "there is no cell in it", "give at least one picture"));
    }
    let too_large = || {
        let problem = format!("{} x {columns} cells at scale {scale} are too large a picture", rows.len());
        Error::invalid("grid", problem, "show fewer or smaller ones")
    };
    let heights = rows.iter().map(|row| row.iter().map(|image| image.shape[1]).max().unwrap_or(0));
    let widths =
        (0..columns).map(|c| rows.iter().filter_map(|row| row.get(c)).map(|image| image.shape[2]).max().unwrap_or(0));
    let (tops, height) = positions(heights, scale).ok_or_else(too_large)?;
    let (lefts, width) = positions(widths, scale).ok_or_else(too_large)?;
    let channels = rows.iter().flatten().map(|image| image.shape[0]).max().unwrap_or(1);
    let plane = height.checked_mul(width).filter(|plane| *plane <= usize::MAX / 6).ok_or_else(too_large)?;

    let mut bytes = vec![SEPARATOR_GREY; plane * channels];
    for (row, top) in rows.iter().zip(&tops) {
        for (cell, left) in row.iter().zip(&lefts) {
            for channel in 0..channels {
                // A grey cell in an RGB picture repeats its only channel in all three.
                let source = &cell.bytes[channel.min(cell.shape[0] - 1) * cell.shape[1] * cell.shape[2]..];
                for y in 0..cell.shape[1] * scale {
                    let line = &source[y / scale * cell.shape[2]..][..cell.shape[2]];
                    let start = channel * plane + (top + y) * width + left;
                    for (x, pixel) in bytes[start..][..cell.shape[2] * scale].iter_mut().enumerate() {
                        *pixel = line[x / scale];
                    }
                }
            }
        }
    }
    Image::new([channels, height, width], bytes)
}

/// The starts of cells of these sizes, scaled and in a row with separators between them, and the length of the row.
fn positions(sizes: impl Iterator<Item = usize>, scale: usize) -> Option<(Vec<usize>, usize)> {
    let (mut starts, mut end) = (Vec::new(), 0usize);
    for (index, size) in sizes.enumerate() {
        let start = if index == 0 { 0 } else { end.checked_add(SEPARATOR)? };
        starts.push(start);
        end = start.checked_add(size.checked_mul(scale)?)?;
    }
    Some((starts, end))
}

/// Writes [`grid`]'s picture as a PNG. Fails as [`grid`] and [`write_png`] do.
pub fn write_grid(path: impl AsRef<Path>, rows: &[Vec<Image>], scale: usize) -> Result<()> {
    let picture = grid(rows, scale)?;
    write_png(path, picture.shape(), picture.bytes())
}
