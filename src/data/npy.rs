//! NPY, NumPy's format for one array: a magic number, a Python dictionary of type, order and shape, the elements.
//!
//! Follows NumPy's `numpy/lib/format.py`, versions 1 to 3. Unsigned bytes stay bytes, and booleans become 0 or 255;
//! signed bytes, whole numbers of 16 to 64 bits and floats of 16, 32 and 64 become f32, from either byte order.
//! Fortran-order arrays are converted to C order. A file may be gzipped.

use std::io::{Read, Write};
use std::path::Path;

use super::elements::{Array, ByteOrder, Element, Origin, read_fully};
use super::gzip;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

/// The first bytes of every NPY file.
pub(super) const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Most bytes of a header: NumPy's limit for reading; headers that it writes have about a hundred.
const LONGEST_HEADER: usize = 10_000;
/// Most dimensions of an array in NumPy.
const MOST_DIMENSIONS: usize = 64;
/// Most bytes of a text.
const LONGEST_TEXT: usize = 64 << 10;
const OTHER_TYPE: &str = "save it by numpy.save(name, array.astype(\"float32\"))";

/// Reads an NPY file, gzipped or not: unsigned bytes as [`Values::U8`], all others as [`Values::F32`], row-major.
///
/// Fails where the file cannot be read, is not an NPY file, holds anything but real numbers, has a size of 0, or has
/// less or more data than its header says.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let (shape, values) = read_parts(path.as_ref())?;
    Tensor::new(shape, values)
}

/// Reads a file as [`read_npy`] does, to shape and values without a tensor.
pub(super) fn read_parts(path: &Path) -> Result<(Shape, Values)> {
    let mut file = gzip::open(path)?;
    let at_hand = file.at_hand();
    read_array(&Origin { path, array: None }, &mut file, at_hand)
}

/// Reads an array from its magic number on. `at_hand` is the number of bytes that follow, 0 if unknown.
pub(super) fn read_array(origin: &Origin, reader: &mut dyn Read, at_hand: u64) -> Result<(Shape, Values)> {
    let array = read_header(origin, reader)?.array(origin)?;
    let values = array.read(origin, reader, at_hand)?;
    Ok((array.shape, values))
}

/// Reads a list of numbers from its magic number on, exactly as in the file: see [`Array::read_exactly`].
pub(super) fn read_exact_list(origin: &Origin, reader: &mut dyn Read, at_hand: u64) -> Result<Vec<f64>> {
    let array = read_header(origin, reader)?.array(origin)?;
    match array.shape[..] {
        [_] => array.read_exactly(origin, reader, at_hand),
        _ => Err(origin.damaged(format!("has shape {} and is no list", array.shape))),
    }
}

/// An array that may be one of labels.
pub(super) enum LabelArray {
    /// Numbers exactly as in the file, row by row.
    Numbers(Shape, Vec<f64>),
    /// A list of texts.
    Texts(Vec<String>),
}

/// Reads an array of labels from its magic number on: numbers of any supported type, or texts of NumPy's types `U` and
/// `S`. Fails as [`read_array`] does, and where the array holds Python objects.
pub(super) fn read_labels(origin: &Origin, reader: &mut dyn Read, at_hand: u64) -> Result<LabelArray> {
    let header = read_header(origin, reader)?;
    let kind = header.kind();
    let length = kind.get(1..).and_then(|length| length.parse::<usize>().ok());
    if let (Some(kind @ ('U' | 'S')), Some(length)) = (kind.chars().next(), length) {
        let ([count] | [count, 1]) = header.shape[..] else {
            let problem = format!("has shape {} and is no list of texts", header.shape);
            return Err(origin.error(problem, "give a list"));
        };
        return read_texts(origin, reader, count, (kind, length, header.order())).map(LabelArray::Texts);
    }
    if kind.starts_with('O') {
        let help = "save them as text, by array.astype(\"U\")";
        return Err(origin.error("holds Python objects, which only Python can read", help));
    }
    let array = header.array(origin)?;
    let numbers = array.read_exactly(origin, reader, at_hand)?;
    Ok(LabelArray::Numbers(array.shape, numbers))
}

/// Reads texts of NumPy's types: `U`, four bytes per character, or `S`, one byte. Shorter texts are padded with zeros.
fn read_texts(
    origin: &Origin,
    reader: &mut dyn Read,
    count: usize,
    (kind, length, order): (char, usize, ByteOrder),
) -> Result<Vec<String>> {
    let bytes = length.saturating_mul(if kind == 'U' { 4 } else { 1 });
    if bytes > LONGEST_TEXT {
        return Err(origin.error(format!("has texts of {bytes} bytes"), "give labels that are names"));
    }
    let mut texts = Vec::new();
    let mut one = vec![0; bytes];
    for _ in 0..count {
        let taken = read_fully(reader, &mut one).map_err(|source| origin.unreadable(source))?;
        if taken < bytes {
            let problem = format!("has {count} texts, but only {} follow the header", texts.len());
            return Err(origin.damaged(problem));
        }
        let text: String = match kind {
            'U' => {
                let code = |unit: &[u8; 4]| match order {
                    ByteOrder::Big => u32::from_be_bytes(*unit),
                    ByteOrder::Little => u32::from_le_bytes(*unit),
                };
                let codes = one.as_chunks().0.iter().map(code);
                codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            _ => String::from_utf8_lossy(&one).into_owned(),
        };
        texts.push(text.trim_end_matches('\0').to_owned());
    }
    Ok(texts)
}

fn read_header(origin: &Origin, reader: &mut dyn Read) -> Result<Header> {
    let mut take = |count: usize| -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        match read_fully(reader, &mut bytes).map_err(|source| origin.unreadable(source))? == count {
            true => Ok(bytes),
            false => Err(origin.damaged("ends within its header")),
        }
    };
    let magic = take(8)?;
    if magic[..6] != MAGIC {
        return Err(origin.error("is no NPY data: it does not start with \"\\x93NUMPY\"", "give an NPY file"));
    }
    let length = match magic[6] {
        1 => take(2)?,
        2 | 3 => take(4)?,
        version => {
            return Err(
                origin.error(format!("is of NPY version {version}"), "save it by numpy.save, in version 1 to 3")
            );
        }
    };
    let length = length.iter().rev().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    if length > LONGEST_HEADER {
        return Err(origin.damaged(format!("claims a header of {length} bytes")));
    }
    let text = take(length)?;
    let text = String::from_utf8_lossy(&text);
    Parser(text.trim_end()).header().ok_or_else(|| {
        // A structured type is a list instead of a string; NumPy writes nothing else here.
        let problem = match text.contains('[') {
            true => "holds records of several fields",
            false => "has a header that is no dictionary of descr, fortran_order and shape",
        };
        origin.error(problem, OTHER_TYPE)
    })
}

/// The three entries of a header.
struct Header {
    descr: String,
    fortran: bool,
    shape: Shape,
}

impl Header {
    fn order(&self) -> ByteOrder {
        if self.descr.starts_with('>') { ByteOrder::Big } else { ByteOrder::Little }
    }

    /// The type without its byte order: a letter and a size.
    fn kind(&self) -> &str {
        self.descr.trim_start_matches(['<', '>', '=', '|'])
    }

    /// The array of numbers that follows. Fails where other elements follow, or a single number.
    fn array(self, origin: &Origin) -> Result<Array> {
        let element = match self.kind() {
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
                let problem = format!("holds elements of type {:?}, which is not read", self.descr);
                return Err(origin.error(problem, OTHER_TYPE));
            }
        };
        if self.shape.len() > MOST_DIMENSIONS {
            return Err(origin.damaged(format!("claims {} dimensions", self.shape.len())));
        }
        if self.shape.is_empty() {
            return Err(origin.error("is a single number", "give an array of samples"));
        }
        Ok(Array { element, order: self.order(), fortran: self.fortran, shape: self.shape })
    }
}

/// Parser for the part of Python's syntax that headers use; returns `None` at anything else.
struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    fn header(mut self) -> Option<Header> {
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
            true => Some(Header { descr: descr?, fortran: fortran?, shape: shape? }),
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

/// Writes an NPY file of f32, version 1, which `numpy.load` reads. The file is written atomically.
///
/// Fails where the shape does not match the values, and where the file cannot be written.
pub fn write_npy(path: impl AsRef<Path>, shape: &Shape, values: &[f32]) -> Result<()> {
    if shape.checked_elements() != Some(values.len()) || shape.len() > MOST_DIMENSIONS {
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
