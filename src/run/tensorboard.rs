//! Event files for TensorBoard: scalars in TFRecord framing, each an `Event` protocol buffer.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file name prefix of event files, by which TensorBoard finds them.
pub(super) const PREFIX: &str = "events.out.tfevents.";

/// An event file, open for writing.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Creates an event file in a directory, replacing those already there.
    pub fn create(directory: &Path) -> Result<Events> {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
            }
        }
        let path = directory.join(format!("{PREFIX}{}.pinhole", now() as u64));
        let file = BufWriter::new(File::create(&path).map_err(Error::io("create", &path))?);
        let mut events = Events { path, file };
        events.record(&event(0, 3, b"brain.Event:2"))?;
        Ok(events)
    }

    /// Appends the value of a metric at a step or epoch.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        let mut number = vec![2 << 3 | FIXED32];
        number.extend((value as f32).to_le_bytes());
        let value = [bytes(1, tag.as_bytes()), number].concat();
        self.record(&event(step, 5, &bytes(1, &value)))
    }

    /// Flushes everything written so far.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked(&length), data, &masked(data)];
        parts.iter().try_for_each(|part| self.file.write_all(part)).map_err(Error::io("write", &self.path))
    }
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// Encodes an `Event` with its time, its step and one field of bytes.
fn event(step: u64, field: u8, content: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED64];
    event.extend(now().to_le_bytes());
    event.push(2 << 3 | VARINT);
    event.extend(varint(step));
    event.extend(bytes(field, content));
    event
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    [vec![field << 3 | BYTES], varint(content.len() as u64), content.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// TFRecord's masked checksum.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
