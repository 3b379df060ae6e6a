//! Reading text files of several encodings as UTF-8, piece by piece.
//!
//! A byte order mark means UTF-8 or UTF-16. A file without one is UTF-8 if all of it is valid; else it is read as
//! Windows-1252, which includes Latin-1 and has a character for every byte, and a warning says so.

use std::path::Path;

use super::elements::{ByteOrder, read_fully};
use super::gzip::{self, Unpacked};
use crate::error::{Error, Result};

/// Bytes of a file read at a time: an even number.
const BLOCK: usize = 64 << 10;
const BINARY: &str = "has bytes of 0: it is no text, or UTF-16 without its byte order mark";
const SAVE_AS_TEXT: &str = "save it as UTF-8 text, or give another file";

/// The encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Windows1252,
    Utf16(ByteOrder),
}

/// Warns in one line of a decision that a file's reader made by itself. The program shows warnings of
/// `pinhole::data` on stderr.
pub(super) fn warn(path: &Path, message: &str) {
    tracing::warn!(target: "pinhole::data", "{}: {message}", path.display());
}

/// A text file, read in pieces of UTF-8.
pub(super) struct Text {
    file: Unpacked,
    encoding: Encoding,
    raw: Vec<u8>,
    /// Number of bytes at the start of `raw` that are an incomplete UTF-16 character.
    waiting: usize,
    /// Whether the byte order mark is still to be skipped.
    begins: bool,
    /// The number of bytes still to come, according to the file's size.
    left: u64,
}

impl Text {
    /// Opens a text whose encoding [`encoding_of`] has detected.
    pub fn open(path: &Path, encoding: Encoding) -> Result<Text> {
        let file = gzip::open(path)?;
        let left = file.most();
        Ok(Text { file, encoding, raw: Vec::new(), waiting: 0, begins: true, left })
    }

    /// The most characters that can still follow, according to the file's size.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Replaces the content of `block` by the next piece; returns false at the end.
    pub fn read(&mut self, path: &Path, block: &mut Vec<u8>) -> Result<bool> {
        block.clear();
        while block.is_empty() {
            self.raw.resize(self.waiting + BLOCK, 0);
            let count = read_fully(&mut self.file, &mut self.raw[self.waiting..]).map_err(gzip::unreadable(path))?;
            if count == 0 {
                return match self.waiting {
                    0 => Ok(false),
                    _ => Err(Error::file(path, "ends within a character of UTF-16", SAVE_AS_TEXT)),
                };
            }
            self.left = self.left.saturating_sub(count as u64);
            self.raw.truncate(self.waiting + count);
            self.decode(path, block)?;
        }
        Ok(true)
    }

    fn decode(&mut self, path: &Path, block: &mut Vec<u8>) -> Result<()> {
        let begins = std::mem::replace(&mut self.begins, false);
        match self.encoding {
            Encoding::Utf8 => {
                let mark = b"\xef\xbb\xbf";
                let skipped = if begins && self.raw.starts_with(mark) { mark.len() } else { 0 };
                block.extend_from_slice(&self.raw[skipped..]);
            }
            Encoding::Windows1252 => {
                let mut bytes = [0; 4];
                for byte in &self.raw {
                    block.extend_from_slice(windows_1252(*byte).encode_utf8(&mut bytes).as_bytes());
                }
            }
            Encoding::Utf16(order) => {
                let mut unit = |at: usize| {
                    let pair = [self.raw[at], self.raw[at + 1]];
                    if order == ByteOrder::Big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
                };
                let whole = self.raw.len() / 2 * 2;
                // The first half of a surrogate pair waits for the second.
                let ends_within = whole >= 2 && matches!(unit(whole - 2), 0xd800..=0xdbff);
                let end = whole - if ends_within { 2 } else { 0 };
                let units = (if begins { 2 } else { 0 }..end).step_by(2).map(&mut unit);
                let mut bytes = [0; 4];
                for character in char::decode_utf16(units) {
                    let character =
                        character.map_err(|_| Error::file(path, "is no valid UTF-16 text", SAVE_AS_TEXT))?;
                    if character == '\0' {
                        return Err(Error::file(path, BINARY, SAVE_AS_TEXT));
                    }
                    block.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                }
                self.raw.drain(..end);
                self.waiting = self.raw.len();
            }
        }
        Ok(())
    }
}

/// Detects a file's encoding, and warns if it is a guess. Fails where the file cannot be read or has zero bytes, as
/// files that are not text have.
pub(super) fn encoding_of(path: &Path) -> Result<Encoding> {
    let mut file = gzip::open(path)?;
    let (mut block, mut kept, mut lines, mut begins) = (vec![0; BLOCK], 0, 1, true);
    let mut first_wrong = None;
    loop {
        let count = read_fully(&mut file, &mut block[kept..]).map_err(gzip::unreadable(path))?;
        let bytes = &block[..kept + count];
        if std::mem::replace(&mut begins, false) {
            match bytes {
                [0xff, 0xfe, ..] => return Ok(Encoding::Utf16(ByteOrder::Little)),
                [0xfe, 0xff, ..] => return Ok(Encoding::Utf16(ByteOrder::Big)),
                _ => {}
            }
        }
        if bytes.contains(&0) {
            return Err(Error::file(path, BINARY, SAVE_AS_TEXT));
        }
        if first_wrong.is_none() {
            match str::from_utf8(bytes) {
                Ok(_) => kept = 0,
                // A character cut in two by the block is completed by the next block.
                Err(error) if error.error_len().is_none() && count > 0 => kept = bytes.len() - error.valid_up_to(),
                Err(error) => first_wrong = Some(lines + newlines(&bytes[..error.valid_up_to()])),
            }
        }
        if first_wrong.is_some() {
            kept = 0;
        }
        let seen = bytes.len() - kept;
        lines += newlines(&bytes[..seen]);
        if count == 0 {
            break;
        }
        block.copy_within(seen..seen + kept, 0);
    }
    let Some(line) = first_wrong else { return Ok(Encoding::Utf8) };
    warn(
        path,
        &format!("line {line} is not UTF-8: read as Windows-1252 (Latin-1); save it as UTF-8 if names look wrong"),
    );
    Ok(Encoding::Windows1252)
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Decodes a byte. Windows-1252 has letters and quotes where Latin-1 has control codes.
fn windows_1252(byte: u8) -> char {
    const FROM_128: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        128..160 => FROM_128[usize::from(byte - 128)],
        _ => char::from(byte),
    }
}

/// Reads the beginning of a text, which may end within a line.
pub(super) fn beginning(path: &Path, encoding: Encoding) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    Text::open(path, encoding)?.read(path, &mut block)?;
    Ok(block)
}
