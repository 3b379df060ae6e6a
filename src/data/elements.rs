//! Numbers of binary files: their types, and reading them piece by piece.
//!
//! Memory grows with the file's actual content, never with its header's claims, and bytes are converted block
//! by block, so that they are never in memory together with the resulting numbers.

use std::io::{self, Read};
use std::path::Path;

use half::f16;

use super::gzip::{self, GET_AGAIN};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Values;

/// Bytes converted at a time: a multiple of every element's size.
const BLOCK: usize = 64 << 10;

/// The type of a file's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A boolean as a byte: it becomes 0 or 255, which means 1.
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// Byte order of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl Element {
    /// Size of a number in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Element::Bool | Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 | Element::F16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }
}

/// The origin of an array, for messages: a file, or one of several arrays in a file.
pub(super) struct Origin<'a> {
    pub(super) path: &'a Path,
    pub(super) array: Option<&'a str>,
}

impl Origin<'_> {
    /// An error that names the array.
    pub(super) fn error(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        let problem = problem.into();
        let problem = match self.array {
            Some(name) => format!("array {name:?} {problem}"),
            None => problem,
        };
        Error::file(self.path, problem, help)
    }

    /// The error of damaged content.
    pub(super) fn damaged(&self, problem: impl Into<String>) -> Error {
        self.error(problem, GET_AGAIN)
    }

    /// The error of reading: blames the file for damaged packed data, else the system.
    pub(super) fn unreadable(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                if self.array.is_some() =>
            {
                self.damaged(format!("cannot be unpacked ({source})"))
            }
            io::ErrorKind::OutOfMemory => {
                self.error("does not fit in memory", "use a part of it, or a machine with more memory")
            }
            _ => gzip::unreadable(self.path)(source),
        }
    }
}

/// The numbers that follow a header, as the header describes them.
pub(super) struct Array {
    pub(super) element: Element,
    pub(super) order: ByteOrder,
    /// Whether the first index runs fastest (Fortran's order), not the last.
    pub(super) fortran: bool,
    pub(super) shape: Shape,
}

impl Array {
    /// Reads the numbers, row-major: unsigned bytes and booleans as bytes, all others as f32. `at_hand` is the number
    /// of bytes known to remain in the file, 0 if unknown: memory for those is reserved in advance.
    ///
    /// Fails where the shape has a size of 0, where the numbers do not fit in memory, where less or more data follows
    /// than the shape says, and on read errors.
    pub(super) fn read(&self, origin: &Origin, reader: &mut dyn Read, at_hand: u64) -> Result<Values> {
        Ok(match self.element {
            Element::Bool => {
                Values::U8(self.read_as(origin, reader, at_hand, |value| if value == 0.0 { 0 } else { 255 })?)
            }
            Element::U8 => Values::U8(self.read_as(origin, reader, at_hand, |value| value as u8)?),
            _ => Values::F32(self.read_as(origin, reader, at_hand, |value| value as f32)?),
        })
    }

    /// Reads the numbers as [`Array::read`] does, but exactly as in the file: whole numbers are exact up to 2^53, and
    /// booleans are 0 or 1.
    pub(super) fn read_exactly(&self, origin: &Origin, reader: &mut dyn Read, at_hand: u64) -> Result<Vec<f64>> {
        self.read_as(origin, reader, at_hand, |value| value)
    }

    fn read_as<T: Copy>(
        &self,
        origin: &Origin,
        reader: &mut dyn Read,
        at_hand: u64,
        make: impl Fn(f64) -> T,
    ) -> Result<Vec<T>> {
        let Array { element, order, fortran, shape } = self;
        if shape.contains(&0) {
            return Err(origin.error(format!("has shape {shape} and so holds nothing"), "give a file with samples"));
        }
        let promised = shape.checked_elements().and_then(|count| count.checked_mul(element.bytes()));
        let Some(promised) = promised.filter(|bytes| *bytes < isize::MAX as usize) else {
            return Err(origin.damaged(format!("claims shape {shape}, more than memory can address")));
        };
        let read = read_each(reader, *element, *order, shape.elements(), at_hand, make);
        let (mut values, taken) = read.map_err(|source| origin.unreadable(source))?;
        if taken < promised as u64 {
            let problem = format!("has shape {shape}, {promised} bytes, but only {taken} follow the header");
            return Err(origin.damaged(problem));
        }
        if has_more(reader).map_err(|source| origin.unreadable(source))? {
            return Err(origin.damaged(format!("has shape {shape}, {promised} bytes, but more follow the header")));
        }
        if *fortran {
            rows_first(shape, &mut values);
        }
        Ok(values)
    }
}

/// Reads `count` numbers, fewer if the file ends early, block by block, and applies `make` to each; returns the results
/// and the number of bytes read.
fn read_each<T>(
    reader: &mut dyn Read,
    element: Element,
    order: ByteOrder,
    count: usize,
    at_hand: u64,
    make: impl Fn(f64) -> T,
) -> io::Result<(Vec<T>, u64)> {
    let size = element.bytes();
    let mut values = Vec::new();
    make_room(&mut values, count.min(usize::try_from(at_hand / size as u64).unwrap_or(usize::MAX)))?;
    let mut block = vec![0; BLOCK.min(count.saturating_mul(size))];
    let mut numbers = Vec::new();
    let mut taken = 0;
    while values.len() < count {
        let wanted = (count - values.len()).saturating_mul(size).min(block.len());
        let got = read_fully(reader, &mut block[..wanted])?;
        taken += got as u64;
        numbers.clear();
        decode(element, order, &block[..got], &mut numbers);
        let most = count - values.len();
        grow(&mut values, numbers.len(), most)?;
        values.extend(numbers.iter().map(|number| make(*number)));
        if got < wanted {
            break;
        }
    }
    Ok((values, taken))
}

/// Appends the numbers in a block of bytes.
fn decode(element: Element, order: ByteOrder, block: &[u8], numbers: &mut Vec<f64>) {
    macro_rules! decoded {
        ($number:ty, $wide:expr) => {{
            let (bytes, _) = block.as_chunks();
            match order {
                ByteOrder::Little => numbers.extend(bytes.iter().map(|bytes| $wide(<$number>::from_le_bytes(*bytes)))),
                ByteOrder::Big => numbers.extend(bytes.iter().map(|bytes| $wide(<$number>::from_be_bytes(*bytes)))),
            }
        }};
    }
    match element {
        Element::Bool => numbers.extend(block.iter().map(|byte| f64::from(u8::from(*byte != 0)))),
        Element::U8 => numbers.extend(block.iter().map(|byte| f64::from(*byte))),
        Element::I8 => decoded!(i8, f64::from),
        Element::U16 => decoded!(u16, f64::from),
        Element::I16 => decoded!(i16, f64::from),
        Element::U32 => decoded!(u32, f64::from),
        Element::I32 => decoded!(i32, f64::from),
        Element::U64 => decoded!(u64, |number| number as f64),
        Element::I64 => decoded!(i64, |number| number as f64),
        Element::F16 => decoded!(f16, f16::to_f64),
        Element::F32 => decoded!(f32, f64::from),
        Element::F64 => decoded!(f64, f64::from),
    }
}

/// Converts elements from Fortran order, in which the first index runs fastest, to C order, in which the last does. In
/// place, cycle by cycle, since memory may not suffice for a copy.
fn rows_first<T: Copy>(shape: &Shape, values: &mut [T]) {
    let strides = shape.strides();
    let target = |mut at: usize| {
        let mut target = 0;
        for (size, stride) in shape.iter().zip(&strides) {
            target += at % size * stride;
            at /= size;
        }
        target
    };
    let mut moved = vec![0u64; values.len().div_ceil(64)];
    for start in 0..values.len() {
        let (mut at, mut value) = (start, values[start]);
        while moved[at / 64] >> (at % 64) & 1 == 0 {
            moved[at / 64] |= 1 << (at % 64);
            at = target(at);
            value = std::mem::replace(&mut values[at], value);
        }
    }
}

/// Reserves memory for `more` values, or for half the present number if that is larger, to keep the number of moves
/// low; but never for more than `most`.
pub(super) fn grow<T>(values: &mut Vec<T>, more: usize, most: usize) -> io::Result<()> {
    if values.capacity() - values.len() < more {
        make_room(values, more.max((values.len() / 2).min(most)))?;
    }
    Ok(())
}

fn make_room<T>(values: &mut Vec<T>, more: usize) -> io::Result<()> {
    values.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Fills the buffer, or its beginning if the file ends early; returns the number of bytes read.
pub(super) fn read_fully(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether any bytes follow.
pub(super) fn has_more(reader: &mut dyn Read) -> io::Result<bool> {
    Ok(read_fully(reader, &mut [0])? > 0)
}

/// A checksum that does not depend on the machine's byte order.
pub(super) fn checksum_of<T: bytemuck::NoUninit, const BYTES: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; BYTES],
) -> u32 {
    if cfg!(target_endian = "little") {
        return crc32c::crc32c(bytemuck::cast_slice(values));
    }
    values.iter().fold(0, |sum, value| crc32c::crc32c_append(sum, &bytes(*value)))
}
