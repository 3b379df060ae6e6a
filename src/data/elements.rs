//! Numbers of binary files: their types, and reading them piece by piece.
//!
//! Memory grows with the file's actual content, never with its header's claims, and bytes are converted as they
//! arrive, so that they are never in memory together with the resulting numbers.

use std::io::{self, Read};

use half::f16;

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

/// Numbers read from a file.
pub(super) struct Elements {
    /// Bytes if the file has unsigned bytes, else f32: at most twice the file's own size, of signed bytes four times.
    pub(super) values: Values,
    /// Number of bytes read from the file: fewer than requested if it ended early.
    pub(super) taken: u64,
}

/// Reads `count` numbers, or as many as there are. `at_hand` is the number of bytes known to remain in the file, 0 if
/// unknown: that much memory is reserved at once.
///
/// Fails on read errors, and with [`io::ErrorKind::OutOfMemory`] where the numbers do not fit in memory.
pub(super) fn read_elements(
    reader: &mut dyn Read,
    element: Element,
    order: ByteOrder,
    count: usize,
    at_hand: u64,
) -> io::Result<Elements> {
    let bytes = |(values, taken)| Elements { values: Values::U8(values), taken };
    match element {
        Element::Bool => {
            read_each(reader, element, order, count, at_hand, |value| if value == 0.0 { 0 } else { 255 }).map(bytes)
        }
        Element::U8 => read_each(reader, element, order, count, at_hand, |value| value as u8).map(bytes),
        _ => {
            let (values, taken) = read_each(reader, element, order, count, at_hand, |value| value as f32)?;
            Ok(Elements { values: Values::F32(values), taken })
        }
    }
}

/// Reads numbers as [`read_elements`] does, but exactly as in the file: whole numbers are exact up to 2^53, and
/// booleans are 0 or 1.
pub(super) fn read_exact_elements(
    reader: &mut dyn Read,
    element: Element,
    order: ByteOrder,
    count: usize,
    at_hand: u64,
) -> io::Result<(Vec<f64>, u64)> {
    read_each(reader, element, order, count, at_hand, |value| value)
}

/// Reads numbers block by block and applies `make` to each; returns the results and the number of bytes read.
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

/// Reserves memory for `more` values, and for half as many again as there are, to keep the number of moves low; but
/// never beyond `most`.
pub(super) fn grow<T>(values: &mut Vec<T>, more: usize, most: usize) -> io::Result<()> {
    if values.capacity() - values.len() < more {
        make_room(values, more.max((values.len() / 2).min(most)))?;
    }
    Ok(())
}

fn make_room<T>(values: &mut Vec<T>, more: usize) -> io::Result<()> {
    values.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Fills the buffer as far as there are bytes.
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

/// Whether any bytes remain.
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
