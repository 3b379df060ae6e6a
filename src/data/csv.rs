//! CSV of numbers: a sample a line, its numbers separated by commas, semicolons or tabs.
//!
//! A first line without any number is a header and is skipped. Fields may stand in double quotes. Where semicolons
//! separate, a comma is taken for the decimal point, as spreadsheets of many countries write it.
//!
//! The file is read piece by piece, so that its text never lies in memory beside its numbers.

use std::io::{Read, Write};
use std::path::Path;

use super::elements::{grow, read_fully};
use super::files::{self, write_atomically};
use crate::error::{Error, Result};

/// No number is written in more bytes; names in a header may be.
const LONGEST_FIELD: usize = 1024;
/// Bytes looked at to find the separator.
pub(super) const SAMPLE: u64 = 64 << 10;

/// Numbers in lines of equal length.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The numbers of a line.
    pub columns: usize,
    /// All of them, line by line: finite.
    pub values: Vec<f32>,
}

/// Reads a CSV file of numbers. An empty line is skipped.
///
/// Fails, with line and column (both counted from 1), where something is no finite number or a line has more or fewer
/// numbers than the first, and where there is no number at all.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    let open = || files::open(path);
    let mut first = Vec::new();
    open()?.take(SAMPLE).read_to_end(&mut first).map_err(Error::io("read", path))?;
    let mut file = open()?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let mut reading = Reading::new(path, separator(&first), bytes);
    let mut block = vec![0; 64 << 10];
    // A byte order mark, which some spreadsheets write.
    let mut start = if first.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    loop {
        let count = read_fully(&mut file, &mut block).map_err(Error::io("read", path))?;
        if count == 0 {
            break;
        }
        for byte in &block[start.min(count)..count] {
            reading.take(*byte)?;
        }
        start = 0;
        reading.left = reading.left.saturating_sub(count as u64);
    }
    reading.finish()
}

/// The separator: the one of the three that the first line has most of outside quotes.
pub(super) fn separator(first: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0usize; 3];
    for byte in first.iter().skip_while(|byte| matches!(byte, b'\n' | b'\r')) {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            b'\t' if !quoted => counts[0] += 1,
            b';' if !quoted => counts[1] += 1,
            b',' if !quoted => counts[2] += 1,
            _ => {}
        }
    }
    match counts {
        [0, 0, _] => b',',
        // Semicolons beside commas: the commas are decimal points, or in names.
        [0, _, _] => b';',
        _ => b'\t',
    }
}

/// A file as far as it has been read.
struct Reading<'a> {
    path: &'a Path,
    separator: u8,
    values: Vec<f32>,
    columns: Option<usize>,
    /// The line and column of the field that is being read, from 1.
    line: usize,
    column: usize,
    field: Vec<u8>,
    /// Whether the field is within quotes, or was.
    quoted: Option<bool>,
    /// Whether something of this line has been read.
    begun: bool,
    /// Whether this is the first line and has a name in place of a number.
    header: bool,
    /// Bytes of the file that are still to come, and those of the block at hand.
    left: u64,
    after_return: bool,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, separator: u8, left: u64) -> Reading<'a> {
        Reading {
            path,
            separator,
            values: Vec::new(),
            columns: None,
            line: 1,
            column: 1,
            field: Vec::new(),
            quoted: None,
            begun: false,
            header: false,
            left,
            after_return: false,
        }
    }

    fn take(&mut self, byte: u8) -> Result<()> {
        // A line ends with \n, \r\n or \r.
        if std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n' {
            return Ok(());
        }
        match byte {
            b'"' if self.quoted == Some(true) => self.quoted = Some(false),
            b'"' if self.field.iter().all(u8::is_ascii_whitespace) => (self.quoted, self.begun) = (Some(true), true),
            b'\n' | b'\r' if self.quoted == Some(true) => {
                return Err(self.wrong("has a quote that is not closed in its line", "close it"));
            }
            _ if self.quoted == Some(true) => self.keep(byte)?,
            b'\n' | b'\r' => self.end_line()?,
            _ if byte == self.separator => {
                self.begun = true;
                self.end_field()?;
            }
            _ => self.keep(byte)?,
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<()> {
        self.begun = true;
        if self.field.len() == LONGEST_FIELD {
            return Err(self.wrong(format!("is longer than {LONGEST_FIELD} bytes"), "give a CSV file of numbers"));
        }
        self.field.push(byte);
        Ok(())
    }

    fn end_field(&mut self) -> Result<()> {
        let number = self.number();
        let first = self.columns.is_none();
        match number {
            Some(_) if self.header => {
                let problem = format!("line {} has numbers, in column {}, beside names", self.line, self.column);
                let help = "give names to all columns or to none";
                return Err(Error::file(self.path, problem, help));
            }
            Some(value) if value.is_finite() => {
                // A number takes a digit and a separator.
                let most = usize::try_from(self.left / 2 + 1).unwrap_or(usize::MAX);
                grow(&mut self.values, 1, most).map_err(|_| {
                    let help = "use a part of it, or a machine with more memory";
                    Error::file(self.path, "its numbers do not fit in memory", help)
                })?;
                self.values.push(value);
            }
            None if first && self.values.is_empty() => self.header = true,
            _ => {
                let text = String::from_utf8_lossy(&self.field).trim().chars().take(40).collect::<String>();
                let problem = match number {
                    None if text.is_empty() => "is empty".to_owned(),
                    None => format!("is {text:?}, which is no number"),
                    Some(_) => format!("is {text:?}, which is no finite 32-bit number"),
                };
                return Err(self.wrong(problem, "remove or replace such values before training"));
            }
        }
        self.field.clear();
        self.quoted = None;
        self.column += 1;
        Ok(())
    }

    fn number(&self) -> Option<f32> {
        let text = str::from_utf8(&self.field).ok()?.trim();
        match text.parse() {
            Err(_) if self.separator == b';' => text.replacen(',', ".", 1).parse().ok(),
            number => number.ok(),
        }
    }

    fn end_line(&mut self) -> Result<()> {
        if self.begun {
            self.end_field()?;
            let found = self.column - 1;
            let columns = *self.columns.get_or_insert(found);
            if found != columns {
                let problem = format!("line {} has {found} columns, but the first has {columns}", self.line);
                return Err(Error::file(self.path, problem, "give every line as many numbers"));
            }
        }
        (self.begun, self.header) = (false, false);
        self.line += 1;
        self.column = 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Table> {
        if self.quoted == Some(true) {
            return Err(self.wrong("has a quote that is not closed in its line", "close it"));
        }
        self.end_line()?;
        match self.columns {
            Some(columns) if !self.values.is_empty() => Ok(Table { columns, values: self.values }),
            _ => Err(Error::file(self.path, "holds no number", "give a CSV file of numbers")),
        }
    }

    fn wrong(&self, problem: impl Into<String>, help: &str) -> Error {
        let problem = format!("line {}, column {} {}", self.line, self.column, problem.into());
        Error::file(self.path, problem, help)
    }
}

/// Writes lines of numbers with commas between them, each number in the fewest digits that give the same f32 back. The
/// file appears whole or not at all.
///
/// Fails where the numbers are no whole number of lines, and where the file cannot be written.
pub fn write_csv(path: impl AsRef<Path>, columns: usize, values: &[f32]) -> Result<()> {
    if columns == 0 || !values.len().is_multiple_of(columns) {
        let problem = format!("{} numbers are no whole number of lines of {columns}", values.len());
        return Err(Error::invalid("CSV", problem, "give as many numbers as the lines hold"));
    }
    write_atomically(path.as_ref(), |file| {
        for line in values.chunks(columns) {
            for (column, value) in line.iter().enumerate() {
                write!(file, "{}{value}", if column == 0 { "" } else { "," })?;
            }
            writeln!(file)?;
        }
        Ok(())
    })
}
