//! The numbers of binary files: their types, and reading them piece by piece.
//!
//! Memory grows with what a file really gives, never with what its header claims, and a file's bytes are converted as
//! they arrive, so that they never lie beside the numbers that they become.

use std::io::{self, Read};

use half::f16;

use crate::tensor::Values;

/// Bytes converted at a time: a multiple of every element's size.
const BLOCK: usize = 64 << 10;

/// The type of a file's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Truth as a byte: it becomes 0 or 255, which stands for 1.
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

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl Element {
    /// Bytes of a number.
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
    /// Bytes where the file has unsigned bytes, else f32: at most twice the file's own, of signed bytes four times.
    pub(super) values: Values,
    /// Bytes taken from the file: fewer than asked for where it ended before.
    pub(super) taken: u64,
}

/// Reads `count` numbers, or as many as there are. `at_hand` is how many bytes the file is known to have left, 0 where
/// that is unknown: so much room is made at once.
///
/// Fails as reading does, and with [`io::ErrorKind::OutOfMemory`] where the numbers do not fit in memory.
pub(super) fn read_elements(
    reader: &mut impl Read,
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

/// Reads numbers as [`read_elements`] does, and each as it is in the file: whole numbers are exact up to 2^53, and truth is
/// 0 or 1.
pub(super) fn read_exact_elements(
    reader: &mut impl Read,
    element: Element,
    order: ByteOrder,
    count: usize,
    at_hand: u64,
) -> io::Result<(Vec<f64>, u64)> {
    read_each(reader, element, order, count, at_hand, |value| value)
}

/// What `make` makes of each number, and the bytes read.
fn read_each<T>(
    reader: &mut impl Read,
    element: Element,
    order: ByteOrder,
    count: usize,
    at_hand: u64,
    make: impl Fn(f64) -> T,
) -> io::Result<(Vec<T>, u64)> {
    let known = count.min(usize::try_from(at_hand / element.bytes() as u64).unwrap_or(usize::MAX));
    macro_rules! numbers {
        ($kind:ty) => {
            match order {
                ByteOrder::Little => convert(reader, count, known, |bytes| make(<$kind>::from_le_bytes(bytes) as f64)),
                ByteOrder::Big => convert(reader, count, known, |bytes| make(<$kind>::from_be_bytes(bytes) as f64)),
            }
        };
    }
    match element {
        Element::Bool => convert(reader, count, known, |[byte]| make(f64::from(u8::from(byte != 0)))),
        Element::U8 => convert(reader, count, known, |[byte]| make(f64::from(byte))),
        Element::I8 => numbers!(i8),
        Element::U16 => numbers!(u16),
        Element::I16 => numbers!(i16),
        Element::U32 => numbers!(u32),
        Element::I32 => numbers!(i32),
        Element::U64 => numbers!(u64),
        Element::I64 => numbers!(i64),
        Element::F16 => match order {
            ByteOrder::Little => convert(reader, count, known, |bytes| make(f16::from_le_bytes(bytes).to_f64())),
            ByteOrder::Big => convert(reader, count, known, |bytes| make(f16::from_be_bytes(bytes).to_f64())),
        },
        Element::F32 => numbers!(f32),
        Element::F64 => numbers!(f64),
    }
}

/// Numbers made of `SIZE` bytes each, and the bytes read for them.
fn convert<const SIZE: usize, T>(
    reader: &mut impl Read,
    count: usize,
    known: usize,
    make: impl Fn([u8; SIZE]) -> T,
) -> io::Result<(Vec<T>, u64)> {
    let mut values = Vec::new();
    make_room(&mut values, known)?;
    let mut block = vec![0; BLOCK.min(count.saturating_mul(SIZE))];
    let mut taken = 0;
    while values.len() < count {
        let wanted = (count - values.len()).saturating_mul(SIZE).min(block.len());
        let got = read_fully(reader, &mut block[..wanted])?;
        taken += got as u64;
        let most = count - values.len();
        grow(&mut values, got / SIZE, most)?;
        let (numbers, _) = block[..got].as_chunks::<SIZE>();
        values.extend(numbers.iter().map(|bytes| make(*bytes)));
        if got < wanted {
            break;
        }
    }
    Ok((values, taken))
}

/// Makes room for some more, and for half as many again as there are, so that not every addition moves all; but for no
/// more than can come.
pub(super) fn grow<T>(values: &mut Vec<T>, more: usize, most: usize) -> io::Result<()> {
    if values.capacity() - values.len() < more {
        make_room(values, more.max((values.len() / 2).min(most)))?;
    }
    Ok(())
}

fn make_room<T>(values: &mut Vec<T>, more: usize) -> io::Result<()> {
    values.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Fills the buffer, or as much of it as there are bytes for.
pub(super) fn read_fully(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
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

/// Whether anything is left to read.
pub(super) fn has_more(reader: &mut impl Read) -> io::Result<bool> {
    Ok(read_fully(reader, &mut [0])? > 0)
}
