//! IDX, the format of MNIST: a magic number with type and rank, big-endian sizes, then the elements, row-major.
//!
//! A file may be gzipped, which its first two bytes show, not its name. A header is not trusted: reading stops one byte
//! after the size that it claims, to check that nothing follows.

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::elements::{self, ByteOrder, Element, Elements, has_more};
use super::gzip;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

const TYPE_U8: u8 = 0x08;
const TYPE_F32: u8 = 0x0d;
/// The supported ranks; MNIST's are 1 and 3.
const RANKS: std::ops::RangeInclusive<usize> = 1..=4;
/// The help for every kind of damage.
const GET_AGAIN: &str = "the file is damaged: get it again";

/// Reads an IDX file of rank 1 to 4, gzipped or not: unsigned bytes as [`Values::U8`], all other types as
/// [`Values::F32`], rounded if necessary.
///
/// Fails where the file cannot be read, is not an IDX file, has an unknown type or another rank, a size of 0, sizes
/// that do not fit in memory, or less or more data than its header says.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let (shape, values) = read_parts(path.as_ref())?;
    Tensor::new(shape, values)
}

/// As [`read_idx`], returning shape and values without a tensor.
pub(super) fn read_parts(path: &Path) -> Result<(Shape, Values)> {
    let file = gzip::open(path)?;
    let at_hand = file.at_hand();
    read_parts_from(path, file, at_hand)
}

/// Whether a file with these first bytes may be an IDX file.
pub(super) fn is_idx(first: &[u8]) -> bool {
    first.starts_with(&[0, 0])
}

/// Reads header and elements. `at_hand` is the number of bytes that `reader` is known to have, 0 if unknown.
fn read_parts_from(path: &Path, mut reader: impl Read, at_hand: u64) -> Result<(Shape, Values)> {
    let mut magic = Vec::new();
    (&mut reader).take(4).read_to_end(&mut magic).map_err(gzip::unreadable(path))?;
    let &[zero, also_zero, kind, rank] = magic.as_slice() else {
        return Err(Error::file(path, format!("is only {} bytes long", magic.len()), GET_AGAIN));
    };
    if (zero, also_zero) != (0, 0) {
        return Err(Error::file(
            path,
            format!("is no IDX file: it starts with the bytes {zero:02x} {also_zero:02x} {kind:02x} {rank:02x}"),
            "give an IDX file, whose first two bytes are zero",
        ));
    }
    let element = element_of(path, kind)?;
    let rank = usize::from(rank);
    if !RANKS.contains(&rank) {
        return Err(Error::file(path, format!("has rank {rank}"), "give an IDX file of rank 1 to 4"));
    }

    let mut header = Vec::new();
    (&mut reader).take(4 * rank as u64).read_to_end(&mut header).map_err(gzip::unreadable(path))?;
    if header.len() < 4 * rank {
        return Err(Error::file(path, format!("ends within its header of {} bytes", 4 + 4 * rank), GET_AGAIN));
    }
    let sizes = header.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize);
    let shape: Shape = sizes.collect();
    if shape.contains(&0) {
        return Err(Error::file(path, format!("has shape {shape} and so holds nothing"), "give a file with samples"));
    }
    let promised = shape.iter().try_fold(element.bytes(), |product, size| product.checked_mul(*size));
    let Some(promised) = promised.filter(|bytes| *bytes < isize::MAX as usize) else {
        return Err(Error::file(path, format!("claims shape {shape}, more than memory can address"), GET_AGAIN));
    };

    let promised = promised as u64;
    let count = shape.elements();
    let Elements { values, taken } = elements::read_elements(&mut reader, element, ByteOrder::Big, count, at_hand)
        .map_err(|source| match source.kind() {
            io::ErrorKind::OutOfMemory => {
                let problem = format!("its {promised} bytes do not fit in memory");
                Error::file(path, problem, "use a part of it, or a machine with more memory")
            }
            _ => gzip::unreadable(path)(source),
        })?;
    if taken < promised {
        let problem = format!("shape {shape} promises {promised} bytes, but only {taken} follow the header");
        return Err(Error::file(path, problem, GET_AGAIN));
    }
    if has_more(&mut reader).map_err(gzip::unreadable(path))? {
        let problem = format!("shape {shape} promises {promised} bytes, but more follow the header");
        return Err(Error::file(path, problem, GET_AGAIN));
    }
    Ok((shape, values))
}

/// The element type of an IDX type code.
fn element_of(path: &Path, kind: u8) -> Result<Element> {
    match kind {
        TYPE_U8 => Ok(Element::U8),
        0x0b => Ok(Element::I16),
        0x0c => Ok(Element::I32),
        TYPE_F32 => Ok(Element::F32),
        0x0e => Ok(Element::F64),
        0x09 => Ok(Element::I8),
        _ => Err(Error::file(path, format!("holds elements of the unknown type {kind:#04x}"), GET_AGAIN)),
    }
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
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    if !RANKS.contains(&shape.len()) {
        return Err(Error::invalid("IDX", format!("shape {shape} has rank {}", shape.len()), "give 1 to 4 sizes"));
    }
    let what = if kind == TYPE_U8 { "bytes" } else { "numbers" };
    if elements != Some(given) {
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
    write_atomically(path, |file| {
        if gzipped {
            let mut packed = GzEncoder::new(file, Compression::default());
            packed.write_all(&header)?;
            fill(&mut packed)?;
            packed.finish()?;
            return Ok(());
        }
        file.write_all(&header)?;
        fill(file)
    })
}
