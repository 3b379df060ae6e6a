//! Lines of fields: CSV and its variants, with any content in the fields.
//!
//! [`Source`] detects the format of a file; [`Fields`] reads it field by field in bounded memory, and
//! [`Source::records`] record by record.

use std::path::Path;

use super::text::{Encoding, Text, beginning, encoding_of, warn};
use crate::error::{Error, Result};

/// Most bytes in a field of a table. A longer field has a quote that was left open.
const LONGEST_FIELD: usize = 64 << 10;
/// Most bytes in a line of a table, all fields together.
const LONGEST_LINE: usize = 16 << 20;

/// The separator between the fields of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// A comma, a semicolon, a tab or a bar.
    Byte(u8),
    /// Two colons, as in MovieLens files.
    Colons,
    /// Any number of blanks, as written by `numpy.savetxt`; those at the ends of a line are ignored.
    Blanks,
}

impl Separator {
    /// Whether a comma can be a decimal point.
    pub fn leaves_commas(self) -> bool {
        self != Separator::Byte(b',')
    }
}

/// A text file and its format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub encoding: Encoding,
    pub separator: Separator,
    /// Whether a field in quotes may hold line breaks.
    pub breaks: bool,
}

impl Source<'_> {
    /// Detects the format of a file. Fails where it cannot be read or is not text.
    pub fn of(path: &Path) -> Result<Source<'_>> {
        let encoding = encoding_of(path)?;
        let separator = separator(&beginning(path, encoding)?);
        if separator == Separator::Blanks {
            warn(path, "is read with blanks between the numbers of a line");
        }
        Ok(Source { path, encoding, separator, breaks: true })
    }

    /// Reads the file's fields from the first on, none longer than `longest` bytes.
    pub fn fields(&self, longest: usize) -> Result<Fields<'_>> {
        Ok(Fields {
            source: *self,
            text: Text::open(self.path, self.encoding)?,
            block: Vec::new(),
            at: 0,
            longest,
            record: 1,
            breaks_within: 0,
            line: 1,
            column: 1,
            field: Vec::new(),
            quote: Quote::None,
            begun: false,
            state: State::Within,
            after_return: false,
        })
    }

    /// Reads the file record by record, passing on the number of each record's first line, counted from 1, and its
    /// fields. Skips empty lines, and lines with nothing but separators, which the result counts.
    ///
    /// Fails where the file cannot be read, has a quote that is not closed, or has a field or a record that is too
    /// long; and as `take` does.
    pub fn records(&self, mut take: impl FnMut(usize, &mut Vec<String>) -> Result<()>) -> Result<Skipped> {
        let mut fields = self.fields(LONGEST_FIELD)?;
        let (mut line, mut bytes, mut skipped) = (Vec::new(), 0, Skipped::default());
        loop {
            match fields.next()? {
                Token::Field => {
                    bytes += fields.text().len();
                    if bytes > LONGEST_LINE {
                        let problem = format!("line {} is longer than {LONGEST_LINE} bytes", fields.line);
                        return Err(Error::file(self.path, problem, "close its quotes, or give each record a line"));
                    }
                    line.push(fields.text().to_owned());
                }
                Token::Line(number) => {
                    match line.len() > 1 && line.iter().all(String::is_empty) {
                        true => skipped.add(number),
                        false => take(number, &mut line)?,
                    }
                    line.clear();
                    bytes = 0;
                }
                Token::End => return Ok(skipped),
            }
        }
    }
}

/// Skipped lines, which have nothing but separators.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    count: usize,
    first: usize,
}

impl Skipped {
    pub fn add(&mut self, line: usize) {
        self.first = if self.count == 0 { line } else { self.first };
        self.count += 1;
    }

    /// Warns of the skipped lines, if there are any.
    pub fn warn(self, path: &Path) {
        match self.count {
            0 => {}
            1 => warn(path, &format!("line {} holds nothing but separators and is left out", self.first)),
            count => {
                let lines = format!("{count} lines, of which line {} is the first,", self.first);
                warn(path, &format!("{lines} hold nothing but separators and are left out"));
            }
        }
    }
}

/// The next item that [`Fields::next`] has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A field, whose text [`Fields::text`] returns.
    Field,
    /// The end of the record that began in the line of this number.
    Line(usize),
    /// The end of the file.
    End,
}

/// Position relative to the quotes of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Open,
    Closed,
}

/// State of [`Fields::next`] before it reads on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within a field: nothing to do.
    Within,
    /// After a field was returned: clear it, and continue the line.
    Between,
    /// After a line's last field was returned: return the end of the line.
    LineEnds,
}

/// A file and the reader's position in it.
pub(super) struct Fields<'a> {
    source: Source<'a>,
    text: Text,
    block: Vec<u8>,
    at: usize,
    longest: usize,
    /// The line in which the record began, and the line breaks within the last field.
    record: usize,
    breaks_within: usize,
    /// The line in which the last field began, and its column, both counted from 1.
    pub line: usize,
    pub column: usize,
    field: Vec<u8>,
    quote: Quote,
    /// Whether any of the current line has been read.
    begun: bool,
    state: State,
    after_return: bool,
}

impl Fields<'_> {
    /// The text of the last field: without blanks around it, unless it is quoted.
    pub fn text(&self) -> &str {
        let text = str::from_utf8(&self.field).unwrap_or_default();
        if self.quote == Quote::None { text.trim() } else { text }
    }

    /// The most bytes that can still follow, according to the file's size.
    pub fn left(&self) -> u64 {
        self.text.left() + (self.block.len() - self.at) as u64
    }

    /// An error about the last field.
    pub fn wrong(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        let problem = format!("line {}, column {} {}", self.line, self.column, problem.into());
        Error::file(self.source.path, problem, help)
    }

    /// Reads up to the next field, the end of a line that is not empty, or the end of the file. Lines end with \n, \r\n
    /// or \r. Fields may be in double quotes, where a doubled quote is one, and each line break becomes \n.
    pub fn next(&mut self) -> Result<Token> {
        match std::mem::replace(&mut self.state, State::Within) {
            State::Within => {}
            State::Between => self.forget(),
            State::LineEnds => return Ok(self.end_line()),
        }
        loop {
            if self.at == self.block.len() {
                self.at = 0;
                if !self.text.read(self.source.path, &mut self.block)? {
                    self.block.clear();
                    return self.end();
                }
            }
            self.keep_plain()?;
            let Some(byte) = self.block.get(self.at).copied() else { continue };
            self.at += 1;
            if std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n' {
                continue;
            }
            if let Some(token) = self.take(byte)? {
                return Ok(token);
            }
        }
    }

    /// Appends all bytes available up to one that may end the field; nearly all bytes take this path.
    fn keep_plain(&mut self) -> Result<()> {
        let rest = &self.block[self.at..];
        let ends = |byte: &u8| match self.source.separator {
            _ if matches!(byte, b'"' | b'\n' | b'\r') => true,
            _ if self.quote == Quote::Open => false,
            Separator::Byte(separator) => *byte == separator,
            Separator::Colons => *byte == b':',
            Separator::Blanks => matches!(byte, b' ' | b'\t'),
        };
        let count = match self.quote {
            Quote::Closed => 0,
            Quote::None | Quote::Open => rest.iter().position(ends).unwrap_or(rest.len()),
        };
        if count > 0 {
            self.after_return = false;
            self.begun = true;
            self.expect_room(count)?;
            self.field.extend_from_slice(&self.block[self.at..self.at + count]);
            self.at += count;
        }
        Ok(())
    }

    /// Fails where a field exceeds the limit.
    fn expect_room(&self, more: usize) -> Result<()> {
        if self.field.len() + more <= self.longest {
            return Ok(());
        }
        let help = match self.quote {
            Quote::Open => "close its quote",
            Quote::None | Quote::Closed => "give a CSV file of numbers",
        };
        Err(self.wrong(format!("is longer than {} bytes", self.longest), help))
    }

    fn take(&mut self, byte: u8) -> Result<Option<Token>> {
        self.expect_room(1)?;
        match byte {
            b'"' if self.quote == Quote::Open => self.quote = Quote::Closed,
            b'"' if self.quote == Quote::Closed => {
                self.field.push(byte);
                self.quote = Quote::Open;
            }
            b'"' if self.source.separator != Separator::Colons && self.field.iter().all(u8::is_ascii_whitespace) => {
                self.field.clear();
                (self.quote, self.begun) = (Quote::Open, true);
            }
            b'"' => self.field.push(byte),
            b'\n' | b'\r' if self.quote == Quote::Open && self.source.breaks => {
                self.field.push(b'\n');
                self.breaks_within += 1;
            }
            b'\n' | b'\r' if self.quote == Quote::Open => return Err(self.open_quote()),
            b'\n' | b'\r' => return Ok(self.newline()),
            _ if self.separates(byte) => return Ok(self.separator()),
            b' ' | b'\t' if self.quote == Quote::Closed => {}
            _ if self.quote == Quote::Closed => {
                return Err(self.wrong("has something behind its closing quote", "write a quote within quotes twice"));
            }
            // A colon, possibly the first of two.
            _ => {
                self.field.push(byte);
                self.begun = true;
            }
        }
        Ok(None)
    }

    fn separates(&self, byte: u8) -> bool {
        match self.source.separator {
            Separator::Byte(separator) => byte == separator,
            Separator::Colons => byte == b':' && self.field.last() == Some(&b':'),
            Separator::Blanks => matches!(byte, b' ' | b'\t'),
        }
    }

    /// Handles a separator: ends the field, if there is one.
    fn separator(&mut self) -> Option<Token> {
        match self.source.separator {
            Separator::Byte(_) => {}
            Separator::Colons => drop(self.field.pop()),
            Separator::Blanks if self.field.is_empty() && self.quote == Quote::None => return None,
            // numpy.savetxt puts # before the names of columns.
            Separator::Blanks if self.column == 1 && self.field == b"#" => {
                self.field.clear();
                return None;
            }
            Separator::Blanks => {}
        }
        self.begun = true;
        self.state = State::Between;
        Some(Token::Field)
    }

    /// Handles the end of a line: ends a field of a line that has begun, then the line.
    fn newline(&mut self) -> Option<Token> {
        let nothing = self.text().is_empty() && self.quote == Quote::None;
        if nothing && (self.column == 1 || !self.begun) {
            // An empty line.
            self.end_line();
            return None;
        }
        if nothing && self.source.separator == Separator::Blanks {
            self.column -= 1;
            return Some(self.end_line());
        }
        self.state = State::LineEnds;
        Some(Token::Field)
    }

    fn end_line(&mut self) -> Token {
        self.forget();
        (self.begun, self.column) = (false, 1);
        self.line += 1;
        Token::Line(std::mem::replace(&mut self.record, self.line))
    }

    fn end(&mut self) -> Result<Token> {
        if self.quote == Quote::Open {
            return Err(self.open_quote());
        }
        Ok(self.newline().unwrap_or(Token::End))
    }

    fn forget(&mut self) {
        self.field.clear();
        self.quote = Quote::None;
        self.line += std::mem::take(&mut self.breaks_within);
        self.column += 1;
    }

    fn open_quote(&self) -> Error {
        let within = if self.source.breaks { "" } else { " in its line" };
        self.wrong(format!("has a quote that is not closed{within}"), "close it")
    }
}

/// Detects the separator: of tab, semicolon, comma, two colons and bar, the first in this order that the first line has
/// outside quotes. If it has none, blanks separate, provided that all lines of the beginning have equal numbers of
/// fields between blanks, two or more, and that all fields except the first line's are numbers.
fn separator(beginning: &[u8]) -> Separator {
    let skipped = beginning.iter().take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\t').count();
    let beginning = &beginning[skipped..];
    // With both semicolons and commas, semicolons separate: the commas are decimal points, or in names.
    const SEPARATORS: [Separator; 5] = [
        Separator::Byte(b'\t'),
        Separator::Byte(b';'),
        Separator::Byte(b','),
        Separator::Colons,
        Separator::Byte(b'|'),
    ];
    let (mut quoted, mut found) = (false, [false; 5]);
    for (at, byte) in beginning.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => SEPARATORS.iter().zip(&mut found).for_each(|(separator, found)| {
                *found |= match separator {
                    Separator::Colons => beginning[at..].starts_with(b"::"),
                    separator => *separator == Separator::Byte(*byte),
                };
            }),
        }
    }
    match found.iter().position(|found| *found) {
        Some(first) => SEPARATORS[first],
        None if blanks_separate(beginning) => Separator::Blanks,
        None => Separator::Byte(b','),
    }
}

fn blanks_separate(beginning: &[u8]) -> bool {
    let text = String::from_utf8_lossy(beginning);
    let mut lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
    // Ignore the last line, which may be cut off, unless it is the only one.
    if lines.len() > 1 && !text.ends_with(['\n', '\r']) {
        lines.pop();
    }
    let Some((first, others)) = lines.split_first() else { return false };
    let first = first.strip_prefix("# ").unwrap_or(first);
    let columns = first.split_ascii_whitespace().count();
    let numbers = |line: &&str| {
        let fields = line.split_ascii_whitespace();
        fields.clone().count() == columns && fields.into_iter().all(|field| field.parse::<f64>().is_ok())
    };
    columns > 1 && others.iter().all(numbers) && (!others.is_empty() || numbers(&first))
}

/// Shortens a field for messages.
pub(super) fn shortened(field: &str) -> String {
    field.chars().take(40).collect()
}

/// Warns that a column of line numbers is left out.
pub(super) fn warn_of_index(path: &Path) {
    warn(path, "the first column has no name and is left out: it holds the numbers of the lines");
}

/// Formats a field for a file, with quotes if it needs them.
pub fn quoted(field: &str) -> String {
    let plain = !field.contains([',', ';', '\t', '"', '\n', '\r']) && field.trim() == field;
    if plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}
