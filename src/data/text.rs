//! Text files as UTF-8, whatever they are written in, piece by piece.
//!
//! A byte order mark says UTF-8 or UTF-16. A file without one is UTF-8 where all of it is; else it is taken for Windows-1252,
//! of which Latin-1 is a part and which gives a character to every byte, and a warning says so.

use std::path::Path;

use super::elements::{ByteOrder, read_fully};
use super::gzip::{self, Unpacked};
use crate::error::{Error, Result};

/// Bytes of a file that are read at a time: an even number.
const BLOCK: usize = 64 << 10;
const BINARY: &str = "has bytes of 0: it is no text, or UTF-16 without its byte order mark";
const SAVE_AS_TEXT: &str = "save it as UTF-8 text, or give another file";

/// What a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Windows1252,
    Utf16(ByteOrder),
}

/// Warns of something about a file that its reader decided by itself, in one line. The program shows warnings of
/// `pinhole::data` on stderr.
pub(super) fn warn(path: &Path, message: &str) {
    tracing::warn!(target: "pinhole::data", "{}: {message}", path.display());
}

/// A text file, of which pieces are handed out as UTF-8.
pub(super) struct Text {
    file: Unpacked,
    encoding: Encoding,
    raw: Vec<u8>,
    /// Bytes in front of `raw` that are half a character of UTF-16 and wait for the rest.
    waiting: usize,
    /// Whether the mark of the byte order is still to be skipped.
    begins: bool,
    /// Bytes of the file that are still to come, as far as is known.
    left: u64,
}

impl Text {
    /// Opens a text that [`encoding_of`] has looked at.
    pub fn open(path: &Path, encoding: Encoding) -> Result<Text> {
        let file = gzip::open(path)?;
        let left = file.most();
        Ok(Text { file, encoding, raw: Vec::new(), waiting: 0, begins: true, left })
    }

    /// The most characters that can still come, as far as the file's size is known.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Puts the next piece in place of what `block` holds; false where there is none.
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
                // The first half of a pair of units waits for the second.
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

/// Finds out what a file is written in, and warns where that is a guess. Fails where the file cannot be read or has bytes of
/// 0, as files that are no text have.
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
                // A character that the block cuts in two is whole with the next one.
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

/// The character of a byte. Windows-1252 has letters and quotes where Latin-1 has control codes.
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

/// A sample of a text's beginning, cut within a line perhaps.
pub(super) fn beginning(path: &Path, encoding: Encoding) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    Text::open(path, encoding)?.read(path, &mut block)?;
    Ok(block)
}
