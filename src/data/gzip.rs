//! Gzip: unpacks a file block by block while reading, so that neither its bytes nor the unpacked ones are in memory
//! as a whole.
//!
//! A packed file is recognised by its first two bytes, not by its name.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::files;

/// The first bytes of every gzip file.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The help for every kind of damage.
pub(super) const GET_AGAIN: &str = "the file is damaged: get it again";

/// A reader of a file's content, unpacked if the file is packed.
pub(super) struct Unpacked {
    content: Box<dyn Read>,
    is_packed: bool,
    /// Size of the file in bytes.
    bytes: u64,
}

/// Opens a file. Fails where it cannot be read, and where it is a pipe or a device.
pub(super) fn open(path: &Path) -> Result<Unpacked> {
    let mut file = files::open(path)?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let mut first = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut first).map_err(Error::io("read", path))?;
    let is_packed = first == MAGIC;
    let whole = Cursor::new(first).chain(BufReader::new(file));
    let content: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    Ok(Unpacked { content, is_packed, bytes })
}

impl Unpacked {
    /// Whether the file is packed.
    pub(super) fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// Number of bytes that certainly follow: the file's size, or 0 for a packed file, whose claims cannot be trusted.
    pub(super) fn at_hand(&self) -> u64 {
        if self.is_packed { 0 } else { self.bytes }
    }

    /// Most bytes that can follow: no limit for a packed file.
    pub(super) fn most(&self) -> u64 {
        if self.is_packed { u64::MAX } else { self.bytes }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

/// The error of reading an [`Unpacked`]: blames the file for a damaged or truncated gzip stream, else the system.
pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::file(path, "its gzip data ends early", GET_AGAIN),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::file(path, format!("its gzip data cannot be unpacked ({source})"), GET_AGAIN)
        }
        _ => Error::io("read", path)(source),
    }
}
