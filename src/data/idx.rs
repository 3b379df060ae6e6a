//! IDX, the format of MNIST: a magic number with type and rank, big-endian sizes, then the elements, row-major.
//!
//! A file may be gzipped, which its first two bytes show, not its name. A header is not trusted: reading stops one byte
//! after the size that it claims, to check that nothing follows.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::elements::{Array, ByteOrder, Element, Origin, read_fully};
use super::gzip;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

const TYPE_U8: u8 = 0x08;
const TYPE_F32: u8 = 0x0d;
/// The supported ranks; MNIST's are 1 and 3.
const RANKS: std::ops::RangeInclusive<usize> = 1..=4;

/// Reads an IDX file of rank 1 to 4, gzipped or not: unsigned bytes as [`Values::U8`], all other types as
/// [`Values::F32`], rounded if necessary.
///
/// Fails where the file cannot be read, is not an IDX file, has an unknown type or another rank, a size of 0, sizes
/// that do not fit in memory, or less or more data than its header says.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let (shape, values) = read_parts(path.as_ref())?;
    Tensor::new(shape, values)
}

/// Reads a file as [`read_idx`] does, to shape and values without a tensor.
pub(super) fn read_parts(path: &Path) -> Result<(Shape, Values)> {
    let origin = Origin { path, array: None };
    let mut file = gzip::open(path)?;
    let at_hand = file.at_hand();
    let mut take = |bytes: &mut [u8]| read_fully(&mut file, bytes).map_err(gzip::unreadable(path));
    let mut magic = [0; 4];
    let length = take(&mut magic)?;
    if length < magic.len() {
        return Err(origin.damaged(format!("is only {length} bytes long")));
    }
    let [zero, also_zero, kind, rank] = magic;
    if !is_idx(&magic) {
        let problem =
            format!("is no IDX file: it starts with the bytes {zero:02x} {also_zero:02x} {kind:02x} {rank:02x}");
        return Err(origin.error(problem, "give an IDX file, whose first two bytes are zero"));
    }
    let element = match kind {
        TYPE_U8 => Element::U8,
        0x09 => Element::I8,
        0x0b => Element::I16,
        0x0c => Element::I32,
        TYPE_F32 => Element::F32,
        0x0e => Element::F64,
        _ => return Err(origin.damaged(format!("holds elements of the unknown type {kind:#04x}"))),
    };
    let rank = usize::from(rank);
    if !RANKS.contains(&rank) {
        return Err(origin.error(format!("has rank {rank}"), "give an IDX file of rank 1 to 4"));
    }
    let mut sizes = vec![0; 4 * rank];
    if take(&mut sizes)? < sizes.len() {
        return Err(origin.damaged(format!("ends within its header of {} bytes", 4 + sizes.len())));
    }
    let shape: Shape = sizes.as_chunks().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let array = Array { element, order: ByteOrder::Big, fortran: false, shape };
    let values = array.read(&origin, &mut file, at_hand)?;
    Ok((array.shape, values))
}

/// Whether a file with these first bytes may be an IDX file.
pub(super) fn is_idx(first: &[u8]) -> bool {
    first.starts_with(&[0, 0])
}

/// Writes an IDX file of bytes, gzipped if the name ends in `.gz`. The file is written atomically.
///
/// Fails where the rank is not 1 to 4, a size does not fit in 32 bits, the shape does not match the bytes, or the file
/// cannot be written.
pub fn write_idx_u8(path: impl AsRef<Path>, shape: &Shape, bytes: &[u8]) -> Result<()> {
    write_idx(path.as_ref(), shape, TYPE_U8, bytes.len(), |file| file.write_all(bytes))
}

/// Writes an IDX file of 32-bit floats, as [`write_idx_u8`] does for bytes.
pub fn write_idx_f32(path: impl AsRef<Path>, shape: &Shape, values: &[f32]) -> Result<()> {
    write_idx(path.as_ref(), shape, TYPE_F32, values.len(), |file| {
        values.iter().try_for_each(|value| file.write_all(&value.to_be_bytes()))
    })
}

fn write_idx(
    path: &Path,
    shape: &Shape,
    kind: u8,
    given: usize,
    fill: impl Fn(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    if !RANKS.contains(&shape.len()) {
        return Err(Error::invalid("IDX", format!("shape {shape} has rank {}", shape.len()), "give 1 to 4 sizes"));
    }
    let what = if kind == TYPE_U8 { "bytes" } else { "numbers" };
    if shape.checked_elements() != Some(given) {
        let problem = format!("{given} {what} given for shape {shape}");
        return Err(Error::invalid("IDX", problem, format!("give as many {what} as the shape holds")));
    }
    let mut header = vec![0, 0, kind, shape.len() as u8];
    for size in shape.iter() {
        let Ok(size) = u32::try_from(*size) else {
            let problem = format!("a size of shape {shape} does not fit in 32 bits");
            return Err(Error::invalid("IDX", problem, "write the samples to several files"));
        };
        header.extend(size.to_be_bytes());
    }
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let write = |file: &mut dyn Write| file.write_all(&header).and_then(|()| fill(file));
    write_atomically(path, |file| {
        if !gzipped {
            return write(file);
        }
        let mut packed = GzEncoder::new(file, Compression::default());
        write(&mut packed)?;
        packed.finish().map(drop)
    })
}
