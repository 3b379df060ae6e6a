//! NPY, NumPy's format for one array: a magic number, a Python dictionary of type, order and shape, the elements.
//!
//! Follows NumPy's `numpy/lib/format.py`, versions 1 to 3. Unsigned bytes stay bytes, and booleans become 0 or 255;
//! signed bytes, whole numbers of 16 to 64 bits and floats of 16, 32 and 64 become f32, from either byte order.
//! Fortran-order arrays are converted to C order. A file may be gzipped.

use std::io::{self, Read, Write};
use std::path::Path;

use super::elements::{ByteOrder, Element, Elements, has_more, read_elements, read_exact_elements, read_fully};
use super::gzip;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

/// The first bytes of every NPY file.
pub(super) const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Most bytes of a header: NumPy's limit for reading; those it writes have about a hundred.
const LONGEST_HEADER: usize = 10_000;
/// Most dimensions of an array in NumPy.
const MOST_DIMENSIONS: usize = 64;
/// Most bytes of a text.
const LONGEST_TEXT: usize = 64 << 10;
const GET_AGAIN: &str = "the file is damaged: get it again";
const OTHER_TYPE: &str = "save it by numpy.save(name, array.astype(\"float32\"))";

/// Reads an NPY file, gzipped or not: unsigned bytes as [`Values::U8`], all others as [`Values::F32`], row-major.
///
/// Fails where the file cannot be read, is not an NPY file, holds anything but real numbers, has a size of 0, or has
/// less or more data than its header says.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let (shape, values) = read_parts(path.as_ref())?;
    Tensor::new(shape, values)
}

/// As [`read_npy`], returning shape and values without a tensor.
pub(super) fn read_parts(path: &Path) -> Result<(Shape, Values)> {
    let mut file = gzip::open(path)?;
    let at_hand = file.at_hand();
    read_array(&Place { path, array: None }, &mut file, at_hand)
}

/// The source of an array, for messages: a file of its own, or one of several in a file.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) array: Option<&'a str>,
}

impl Place<'_> {
    /// An error that names the array.
    pub(super) fn error(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        let problem = problem.into();
        let problem = match self.array {
            Some(name) => format!("array {name:?} {problem}"),
            None => problem,
        };
        Error::file(self.path, problem, help)
    }

    /// The error of reading: damaged packed data is the file's fault; anything else is the system's.
    fn unreadable(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                if self.array.is_some() =>
            {
                self.error(format!("cannot be unpacked ({source})"), GET_AGAIN)
            }
            io::ErrorKind::OutOfMemory => {
                self.error("does not fit in memory", "use a part of it, or a machine with more memory")
            }
            _ => gzip::unreadable(self.path)(source),
        }
    }
}

/// Reads an array from its magic number on. `at_hand` is the number of bytes that follow, 0 if unknown.
pub(super) fn read_array(place: &Place, reader: &mut impl Read, at_hand: u64) -> Result<(Shape, Values)> {
    let Header { element, order, fortran, shape } = read_header(place, reader)?;
    let promised = shape.iter().try_fold(element.bytes(), |product, size| product.checked_mul(*size));
    let Some(promised) = promised.filter(|bytes| *bytes < isize::MAX as usize) else {
        return Err(place.error(format!("claims shape {shape}, more than memory can address"), GET_AGAIN));
    };
    let promised = promised as u64;
    let Elements { mut values, taken } =
        read_elements(reader, element, order, shape.elements(), at_hand).map_err(|source| place.unreadable(source))?;
    if taken < promised {
        let problem = format!("has shape {shape}, {promised} bytes, but only {taken} follow the header");
        return Err(place.error(problem, GET_AGAIN));
    }
    if has_more(reader).map_err(|source| place.unreadable(source))? {
        return Err(place.error(format!("has shape {shape}, {promised} bytes, but more follow the header"), GET_AGAIN));
    }
    match &mut values {
        Values::U8(values) if fortran => rows_first(&shape, values),
        Values::F32(values) if fortran => rows_first(&shape, values),
        Values::U8(_) | Values::F32(_) | Values::F64(_) | Values::U32(_) => {}
    }
    Ok((shape, values))
}

/// Reads a list of numbers from its magic number on, exactly as in the file: see [`read_exact_elements`].
pub(super) fn read_exact_list(place: &Place, reader: &mut impl Read, at_hand: u64) -> Result<Vec<f64>> {
    let Header { element, order, shape, .. } = read_header(place, reader)?;
    let [count] = shape[..] else { return Err(place.error(format!("has shape {shape} and is no list"), GET_AGAIN)) };
    let (values, _) =
        read_exact_elements(reader, element, order, count, at_hand).map_err(|source| place.unreadable(source))?;
    match values.len() == count {
        true => Ok(values),
        false => {
            Err(place.error(format!("has {count} numbers, but only {} follow the header", values.len()), GET_AGAIN))
        }
    }
}

/// An array that may be one of labels: numbers exactly as in the file, or texts.
pub(super) enum LabelArray {
    /// Numbers, row by row.
    Numbers(Shape, Vec<f64>),
    /// Texts.
    Texts(Shape, Vec<String>),
}

/// Reads an array of labels from its magic number on: numbers of any supported type, or texts of NumPy's types `U` and
/// `S`. Fails as [`read_array`] does, and where the array holds Python objects.
pub(super) fn read_labels(place: &Place, reader: &mut impl Read, at_hand: u64) -> Result<LabelArray> {
    let dictionary = read_dictionary(place, reader)?;
    let kind = dictionary.descr.trim_start_matches(['<', '>', '=', '|']);
    let length = kind.get(1..).and_then(|length| length.parse::<usize>().ok());
    if let (Some(kind @ ('U' | 'S')), Some(length)) = (kind.chars().next(), length) {
        let big = dictionary.descr.starts_with('>');
        let shape = dictionary.shape;
        let ([count] | [count, 1]) = shape[..] else {
            return Err(place.error(format!("has shape {shape} and is no list of texts"), "give a list"));
        };
        let texts = read_texts(place, reader, count, (kind, length, big))?;
        return Ok(LabelArray::Texts(shape, texts));
    }
    if kind.starts_with('O') {
        let help = "save them as text, by array.astype(\"U\")";
        return Err(place.error("holds Python objects, which only Python can read", help));
    }
    let Header { element, order, fortran, shape } = header_of(place, dictionary)?;
    let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let Some(count) = count else {
        return Err(place.error(format!("claims shape {shape}, more than memory can address"), GET_AGAIN));
    };
    let (mut values, _) =
        read_exact_elements(reader, element, order, count, at_hand).map_err(|source| place.unreadable(source))?;
    if values.len() != count {
        let problem = format!("has shape {shape}, but only {} numbers follow the header", values.len());
        return Err(place.error(problem, GET_AGAIN));
    }
    if fortran {
        rows_first(&shape, &mut values);
    }
    Ok(LabelArray::Numbers(shape, values))
}

/// Reads texts of NumPy's types: `U`, four bytes per character, or `S`, one byte. Shorter texts are padded with zeros.
fn read_texts(
    place: &Place,
    reader: &mut impl Read,
    count: usize,
    (kind, length, big): (char, usize, bool),
) -> Result<Vec<String>> {
    let bytes = length.saturating_mul(if kind == 'U' { 4 } else { 1 });
    if bytes > LONGEST_TEXT {
        return Err(place.error(format!("has texts of {bytes} bytes"), "give labels that are names"));
    }
    let mut texts = Vec::new();
    let mut one = vec![0; bytes];
    for _ in 0..count {
        let taken = read_fully(reader, &mut one).map_err(|source| place.unreadable(source))?;
        if taken < bytes {
            let problem = format!("has {count} texts, but only {} follow the header", texts.len());
            return Err(place.error(problem, GET_AGAIN));
        }
        let text: String = match kind {
            'U' => {
                let letter = |unit: &[u8; 4]| if big { u32::from_be_bytes(*unit) } else { u32::from_le_bytes(*unit) };
                let letters = one.as_chunks::<4>().0.iter().map(letter);
                letters.map(|letter| char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            _ => String::from_utf8_lossy(&one).into_owned(),
        };
        texts.push(text.trim_end_matches('\0').to_owned());
    }
    Ok(texts)
}

/// The parsed header of an array.
struct Header {
    element: Element,
    order: ByteOrder,
    fortran: bool,
    shape: Shape,
}

fn read_header(place: &Place, reader: &mut impl Read) -> Result<Header> {
    let dictionary = read_dictionary(place, reader)?;
    header_of(place, dictionary)
}

fn read_dictionary(place: &Place, reader: &mut impl Read) -> Result<Dictionary> {
    let mut take = |count: usize| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let took = reader.take(count as u64).read_to_end(&mut bytes);
        took.map_err(|source| place.unreadable(source))?;
        match bytes.len() == count {
            true => Ok(bytes),
            false => Err(place.error("ends within its header", GET_AGAIN)),
        }
    };
    let magic = take(8)?;
    if magic[..6] != MAGIC {
        return Err(place.error("is no NPY data: it does not start with \"\\x93NUMPY\"", "give an NPY file"));
    }
    let length = match magic[6] {
        1 => take(2)?.iter().rev().fold(0usize, |length, byte| length << 8 | usize::from(*byte)),
        2 | 3 => take(4)?.iter().rev().fold(0usize, |length, byte| length << 8 | usize::from(*byte)),
        version => {
            return Err(place.error(format!("is of NPY version {version}"), "save it by numpy.save, in version 1 to 3"));
        }
    };
    if length > LONGEST_HEADER {
        return Err(place.error(format!("claims a header of {length} bytes"), GET_AGAIN));
    }
    let text = take(length)?;
    let text = String::from_utf8_lossy(&text);
    Parser(text.trim_end()).dictionary().ok_or_else(|| {
        // A structured type is a list instead of a string; NumPy writes nothing else here.
        let problem = match text.contains('[') {
            true => "holds records of several fields",
            false => "has a header that is no dictionary of descr, fortran_order and shape",
        };
        place.error(problem, OTHER_TYPE)
    })
}

fn header_of(place: &Place, Dictionary { descr, fortran, shape }: Dictionary) -> Result<Header> {
    let order = if descr.starts_with('>') { ByteOrder::Big } else { ByteOrder::Little };
    let element = match descr.trim_start_matches(['<', '>', '=', '|']) {
        "b1" => Element::Bool,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => {
            let help = OTHER_TYPE;
            return Err(place.error(format!("holds elements of type {descr:?}, which is not read"), help));
        }
    };
    if shape.len() > MOST_DIMENSIONS {
        return Err(place.error(format!("claims {} dimensions", shape.len()), GET_AGAIN));
    }
    if shape.is_empty() {
        return Err(place.error("is a single number", "give an array of samples"));
    }
    if shape.contains(&0) {
        return Err(place.error(format!("has shape {shape} and so holds nothing"), "give a file with samples"));
    }
    Ok(Header { element, order, fortran, shape })
}

/// The three entries of a header.
struct Dictionary {
    descr: String,
    fortran: bool,
    shape: Shape,
}

/// Parser for the part of Python's syntax that headers use; returns `None` at anything else.
struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    fn dictionary(mut self) -> Option<Dictionary> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.token("{")?;
        while self.token("}").is_none() {
            let key = self.string()?;
            self.token(":")?;
            match key {
                "descr" => descr = Some(self.string()?.to_owned()),
                "fortran_order" => fortran = Some(self.flag()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.token(",").is_none() {
                self.token("}")?;
                break;
            }
        }
        match self.0.trim_start().is_empty() {
            true => Some(Dictionary { descr: descr?, fortran: fortran?, shape: shape? }),
            false => None,
        }
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn flag(&mut self) -> Option<bool> {
        let is_true = self.token("True").is_some();
        if !is_true {
            self.token("False")?;
        }
        Some(is_true)
    }

    fn tuple(&mut self) -> Option<Shape> {
        let mut sizes = Vec::new();
        self.token("(")?;
        while self.token(")").is_none() {
            let rest = self.0.trim_start();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            sizes.push(rest[..digits].parse().ok()?);
            // Python 2 wrote long integers as 3L.
            self.0 = rest[digits..].strip_prefix('L').unwrap_or(&rest[digits..]);
            if self.token(",").is_none() {
                self.token(")")?;
                break;
            }
        }
        Some(sizes.into())
    }
}

/// Converts elements from Fortran order, in which the first index runs fastest, to C order, in which the last does. In
/// place, cycle by cycle, since memory may not suffice for a copy.
fn rows_first<T: Copy>(shape: &Shape, values: &mut [T]) {
    let strides = shape.strides();
    let place = |mut at: usize| {
        let mut place = 0;
        for (size, stride) in shape.iter().zip(&strides) {
            place += at % size * stride;
            at /= size;
        }
        place
    };
    let mut placed = vec![0u64; values.len().div_ceil(64)];
    for start in 0..values.len() {
        let (mut at, mut value) = (start, values[start]);
        while placed[at / 64] >> (at % 64) & 1 == 0 {
            placed[at / 64] |= 1 << (at % 64);
            at = place(at);
            value = std::mem::replace(&mut values[at], value);
        }
    }
}

/// Writes an NPY file of f32, version 1, which `numpy.load` reads. The file is written atomically.
///
/// Fails where the shape does not match the values, and where the file cannot be written.
pub fn write_npy(path: impl AsRef<Path>, shape: &Shape, values: &[f32]) -> Result<()> {
    let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    if elements != Some(values.len()) || shape.len() > MOST_DIMENSIONS {
        let problem = format!("{} numbers given for shape {shape}", values.len());
        return Err(Error::invalid("NPY", problem, "give as many numbers as the shape holds"));
    }
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // The elements must start at a multiple of 64 bytes, and the header ends with a newline.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    write_atomically(path.as_ref(), |file| {
        file.write_all(&MAGIC)?;
        file.write_all(&[1, 0])?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}
