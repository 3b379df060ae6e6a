//! NPZ, NumPy's format for several arrays: a ZIP archive of NPY files, each stored or deflated.
//!
//! The archive's directory at its end is read entry by entry, ZIP64's larger numbers included; every checksum is
//! compared.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::elements::Origin;
use super::gzip::GET_AGAIN;
use super::npy::{LabelArray, read_array, read_exact_list, read_labels};
use crate::error::{Error, Result, suggest};
use crate::files;
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};

/// The first bytes of a ZIP archive that is not empty.
pub(super) const MAGIC: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const DIRECTORY_END: [u8; 4] = *b"PK\x05\x06";
const DIRECTORY_END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
/// Bytes of the end of the directory, and most bytes of the comment that follows it.
const END_BYTES: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;
/// Marks a number that is stored elsewhere, in 64 bits.
const ELSEWHERE: u64 = 0xffff_ffff;
/// Most names kept of a directory, arrays or not.
const MOST_ENTRIES: u64 = 10_000;
/// Most bytes read of an array of text.
const MOST_TEXT: u64 = 4096;

/// An NPZ file whose directory has been read.
#[derive(Debug)]
pub struct Npz {
    path: PathBuf,
    bytes: u64,
    arrays: Vec<Entry>,
}

/// The position of an array in the archive.
#[derive(Debug)]
struct Entry {
    name: String,
    method: u64,
    checksum: u32,
    packed: u64,
    unpacked: u64,
    offset: u64,
}

impl Npz {
    /// Reads the directory of an NPZ file. Fails where it cannot be read, is not a ZIP archive, or holds no NPY file.
    pub fn open(path: impl AsRef<Path>) -> Result<Npz> {
        let path = path.as_ref();
        let file = files::open(path)?;
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let arrays = read_directory(path, file, bytes)?;
        if arrays.is_empty() {
            return Err(Error::file(path, "is an archive without any array (.npy)", "save arrays by numpy.savez"));
        }
        Ok(Npz { path: path.to_owned(), bytes, arrays })
    }

    /// The names of the arrays, in the order of the directory.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.iter().map(|entry| entry.name.as_str())
    }

    /// Reads one array, as [`read_npy`](super::npy::read_npy) reads a file. Fails also where the name is unknown.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let (shape, values) = self.read_parts(name)?;
        Tensor::new(shape, values)
    }

    /// Reads one array as [`Npz::read`] does, to shape and values without a tensor.
    pub(super) fn read_parts(&self, name: &str) -> Result<(Shape, Values)> {
        self.with(name, read_array)
    }

    /// Reads a list of numbers exactly as they are in the file.
    pub(super) fn read_exactly(&self, name: &str) -> Result<Vec<f64>> {
        self.with(name, read_exact_list)
    }

    /// Reads an array that may be one of labels.
    pub(super) fn read_labels(&self, name: &str) -> Result<LabelArray> {
        self.with(name, read_labels)
    }

    /// Reads the first bytes of an array's file, header included, for short texts.
    pub(super) fn read_bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.with(name, |_, reader, _| {
            let mut bytes = Vec::new();
            reader.take(MOST_TEXT).read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
            Ok(bytes)
        })
    }

    /// Calls a reader with one array, unpacked.
    fn with<T>(&self, name: &str, read: impl FnOnce(&Origin, &mut dyn Read, u64) -> Result<T>) -> Result<T> {
        let path = &self.path;
        let Some(entry) = self.arrays.iter().find(|entry| entry.name == name) else {
            return Err(Error::file(path, format!("has no array {name:?}"), suggest(name, self.names())));
        };
        let origin = Origin { path, array: Some(name) };
        let io = |source| match io::Error::kind(&source) {
            io::ErrorKind::UnexpectedEof => origin.damaged("lies outside the file"),
            _ => Error::io("read", path)(source),
        };
        let mut file = files::open(path)?;
        file.seek(SeekFrom::Start(entry.offset)).map_err(io)?;
        let mut local = [0; 30];
        file.read_exact(&mut local).map_err(io)?;
        if local[..4] != MAGIC {
            return Err(origin.damaged("is not where the directory says"));
        }
        let skipped = unsigned(&local, 26, 2) + unsigned(&local, 28, 2);
        file.seek(SeekFrom::Current(skipped as i64)).map_err(io)?;
        let packed = BufReader::new(file.take(entry.packed));
        let (reader, at_hand): (Box<dyn Read>, u64) = match entry.method {
            0 => (Box::new(packed), entry.unpacked.min(self.bytes)),
            8 => (Box::new(DeflateDecoder::new(packed)), 0),
            method => {
                let help = "save it by numpy.savez or numpy.savez_compressed";
                return Err(origin.error(format!("is packed by method {method}, which is not read"), help));
            }
        };
        let (crc, left, expected) = (Crc::new(), entry.unpacked, entry.checksum);
        read(&origin, &mut Checked { reader, crc, left, expected }, at_hand)
    }
}

/// A reader that limits an entry to its declared length, and compares the checksum at the end.
struct Checked<R> {
    reader: R,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends early"));
        }
        self.crc.update(&buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        Ok(count)
    }
}

/// Reads the entries whose names end in `.npy`, without that extension.
fn read_directory(path: &Path, mut file: File, length: u64) -> Result<Vec<Entry>> {
    let damaged = |problem: &str| Error::file(path, problem, GET_AGAIN);
    let io = |source| match io::Error::kind(&source) {
        io::ErrorKind::UnexpectedEof => damaged("has a directory that ends early"),
        _ => Error::io("read", path)(source),
    };
    let tail_start = length.saturating_sub((END_BYTES + LONGEST_COMMENT) as u64);
    file.seek(SeekFrom::Start(tail_start)).map_err(io)?;
    let mut tail = Vec::new();
    (&mut file).take((END_BYTES + LONGEST_COMMENT) as u64).read_to_end(&mut tail).map_err(io)?;
    let last = tail.len().checked_sub(END_BYTES);
    let end = last.and_then(|last| (0..=last).rev().find(|at| tail[*at..].starts_with(&DIRECTORY_END)));
    let end = end.ok_or_else(|| damaged("is no whole ZIP archive: its directory is missing"))?;
    let mut count = unsigned(&tail, end + 10, 2);
    let mut offset = unsigned(&tail, end + 16, 4);
    if count == 0xffff || offset == ELSEWHERE {
        // ZIP64: a locator before the end of the directory gives the position of the larger numbers.
        let locator = (tail_start + end as u64).checked_sub(20).ok_or_else(|| damaged("has no ZIP64 locator"))?;
        let locator: [u8; 20] = read_at(&mut file, locator).map_err(io)?;
        if locator[..4] == LOCATOR_64 {
            let record: [u8; 56] = read_at(&mut file, unsigned(&locator, 8, 8)).map_err(io)?;
            if record[..4] != DIRECTORY_END_64 {
                return Err(damaged("has no directory where its ZIP64 locator says"));
            }
            (count, offset) = (unsigned(&record, 32, 8), unsigned(&record, 48, 8));
        }
    }
    if count > MOST_ENTRIES {
        let problem = format!("claims {count} arrays, more than {MOST_ENTRIES}");
        return Err(Error::file(path, problem, "save fewer arrays to one file"));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut directory = BufReader::new(file);
    let mut arrays = Vec::new();
    for _ in 0..count {
        let mut fixed = [0; 46];
        directory.read_exact(&mut fixed).map_err(io)?;
        if fixed[..4] != DIRECTORY_ENTRY {
            return Err(damaged("has a damaged directory"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| unsigned(&fixed, at, 2) as usize);
        let mut rest = vec![0; name + extra + comment];
        directory.read_exact(&mut rest).map_err(io)?;
        let numbers = [24, 20, 42].map(|at| unsigned(&fixed, at, 4));
        let wide = wide_numbers(numbers, &rest[name..name + extra]);
        let [unpacked, packed, offset] = wide.ok_or_else(|| damaged("has a damaged directory"))?;
        // Messages are one line, so ignore names with control characters.
        let name = str::from_utf8(&rest[..name]).ok().filter(|name| !name.contains(char::is_control));
        let Some(name) = name.and_then(|name| name.strip_suffix(".npy")).map(str::to_owned) else { continue };
        let (method, checksum) = (unsigned(&fixed, 10, 2), unsigned(&fixed, 16, 4) as u32);
        arrays.push(Entry { name, method, checksum, packed, unpacked, offset });
    }
    Ok(arrays)
}

/// An entry's numbers, replaced from its ZIP64 field where marked: pairs of tag and length, the numbers in this order.
fn wide_numbers(mut numbers: [u64; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
    if !numbers.contains(&ELSEWHERE) {
        return Some(numbers);
    }
    while extra.len() >= 4 {
        let (tag, length) = (unsigned(extra, 0, 2), unsigned(extra, 2, 2) as usize);
        let field = extra.get(4..4 + length)?;
        if tag == 1 {
            let mut wide = field.chunks_exact(8);
            for number in numbers.iter_mut().filter(|number| **number == ELSEWHERE) {
                *number = unsigned(wide.next()?, 0, 8);
            }
            return Some(numbers);
        }
        extra = &extra[4 + length..];
    }
    None
}

fn read_at<const SIZE: usize>(file: &mut File, offset: u64) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of `size` bytes, at most 8.
fn unsigned(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
