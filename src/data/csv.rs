//! CSV of numbers: one sample per line, its numbers separated by commas, semicolons, tabs, bars or blanks.
//!
//! A first line without any number is a header and is skipped, as are pandas's numbers for unnamed columns. A first
//! column without a name in the header holds line numbers and is left out. Fields may be in double quotes. If commas do
//! not separate fields, a comma is the decimal point, as spreadsheets of many countries write it.
//!
//! The file is read piece by piece, so that its text is never in memory together with its numbers.

use std::io::{self, Write};
use std::path::Path;

use super::elements::grow;
use super::labels::{FoundLabels, LabelColumn, Labels};
use super::numbers::{Content, Numbers};
use super::records::{Fields, Skipped, Source, Token, shortened, warn_of_index};
use super::text::warn;
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Most bytes of a number; names in a header may be longer.
const LONGEST_FIELD: usize = 1024;
/// Most names of a header that a message suggests.
const MOST_NAMES: usize = 40;
/// Number of fields 0, 1, 2 and so on from which a line is taken for column numbers, not for a sample.
const LONG_COUNT: usize = 10;
const NAME_ALL: &str = "give names to all columns or to none";
pub(super) const WITHOUT_INDEX: &str =
    "name it in the first line, or write the file without its index (pandas: index=False, R: row.names=FALSE)";

/// Numbers in lines of equal length.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Number of columns.
    pub columns: usize,
    /// All numbers, line by line: finite.
    pub values: Vec<f32>,
}

/// Reads a CSV file of numbers. Empty lines and lines with nothing but separators are skipped.
///
/// Fails, with line and column (both counted from 1), where a field is not a finite number or a line has more or fewer
/// numbers than the first, and where there is no number at all.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Table> {
    Ok(read_labelled(path.as_ref(), None)?.0)
}

/// Reads a file as [`read_csv`] does, except for a column of labels: returns the other columns' numbers, and the labels
/// or the reason why they cannot be used.
pub(super) fn read_labelled(
    path: &Path,
    label: Option<&LabelColumn>,
) -> Result<(Table, Option<Result<Labels, String>>)> {
    let source = Source::of(path)?;
    let layout = Layout::of(&source, label)?;
    let mut lines = Lines {
        path,
        layout,
        numbers: Numbers::new(path, source.separator),
        values: Vec::new(),
        labels: FoundLabels::default(),
        skipped: Skipped::default(),
    };
    lines.read(source.fields(LONGEST_FIELD)?)?;
    lines.skipped.warn(path);
    lines.numbers.warn();
    if layout.index {
        warn_of_index(path);
    }
    if lines.values.is_empty() {
        return Err(Error::file(path, "holds no number", "give a CSV file of numbers"));
    }
    let left_out = usize::from(layout.index) + usize::from(layout.label.is_some());
    let table = Table { columns: layout.columns.saturating_sub(left_out), values: lines.values };
    Ok((table, layout.label.map(|_| lines.labels.finish())))
}

/// The layout of a file, detected from its first two lines.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    columns: usize,
    /// Whether the first line holds names.
    header: bool,
    /// Whether the first column has no name, and holds line numbers.
    index: bool,
    /// The column of the labels, counted from 1.
    label: Option<usize>,
}

/// Statistics of the first line's fields.
#[derive(Default)]
struct FirstLine {
    line: usize,
    columns: usize,
    /// Number of empty fields, and of fields that are not numbers, empty ones included.
    empty: usize,
    texts: usize,
    /// The columns of the first text and of the first number, 0 if there is none.
    first_text: usize,
    first_number: usize,
    /// Whether a field differs from its position 0, 1, 2 and so on, an empty first one aside.
    differs: bool,
    nameless: bool,
    /// The columns whose name is the label's.
    label: Vec<usize>,
    names: Vec<String>,
}

impl FirstLine {
    fn take(&mut self, fields: &Fields, is_number: bool, label: Option<&LabelColumn>) {
        let (text, column) = (fields.text(), fields.column);
        (self.line, self.columns) = (fields.line, column);
        self.empty += usize::from(text.is_empty());
        self.texts += usize::from(!is_number);
        let first = if is_number { &mut self.first_number } else { &mut self.first_text };
        *first = if *first == 0 { column } else { *first };
        self.nameless |= column == 1 && text.is_empty();
        let count = column - 1 - usize::from(self.nameless && column > 1);
        self.differs |= text != count.to_string() && !(column == 1 && self.nameless);
        if let Some(label) = label {
            if label.name == text {
                self.label.push(column);
            }
            if self.names.len() < MOST_NAMES {
                self.names.push(text.to_owned());
            }
        }
    }

    /// Whether the line has nothing but separators.
    fn is_nothing(&self) -> bool {
        self.empty == self.columns && self.columns > 1
    }
}

impl Layout {
    /// Detects the layout from the first line that is not empty and the line below it.
    fn of(source: &Source, label: Option<&LabelColumn>) -> Result<Layout> {
        let mut fields = source.fields(LONGEST_FIELD)?;
        let mut numbers = Numbers::new(source.path, source.separator);
        let mut first = FirstLine::default();
        loop {
            match fields.next()? {
                Token::Field => {
                    let number = numbers.number(fields.text(), [fields.line, fields.column])?;
                    let is_number = match Content::of(fields.text(), number) {
                        // Malformed numbers are not names: they are refused later.
                        Content::Commas | Content::Sign | Content::Several => true,
                        _ => number.is_some(),
                    };
                    first.take(&fields, is_number, label);
                }
                Token::Line(_) if first.is_nothing() => first = FirstLine::default(),
                Token::Line(_) => break,
                Token::End => return Ok(Layout::default()),
            }
        }
        let others = is_no_count(&mut fields)?;
        Layout::by(source.path, &first, label, others)
    }

    fn by(path: &Path, first: &FirstLine, label: Option<&LabelColumn>, others: bool) -> Result<Layout> {
        let columns = first.columns;
        let number = label.and_then(|label| label.name.parse().ok()).filter(|number| (1..=columns).contains(number));
        let counts = !first.differs && columns > 1;
        let is_data = first.texts == 0 || (first.texts == 1 && Some(first.first_text) == number && columns > 1);
        let header = match () {
            _ if counts && (first.nameless || others || columns >= LONG_COUNT) => {
                let last = columns - 1 - usize::from(first.nameless);
                let header = "the header that pandas gives to columns without names";
                warn(path, &format!("the first line, 0 to {last}, is taken for {header}"));
                true
            }
            _ if is_data && counts => {
                let last = columns - 1;
                warn(path, &format!("the first line, 0 to {last}, is taken for a sample; delete it if it is a header"));
                false
            }
            _ if is_data => false,
            _ if first.texts == columns => true,
            _ if first.first_number < first.first_text || first.nameless => false,
            _ => {
                let problem =
                    format!("line {} has numbers, in column {}, beside names", first.line, first.first_number);
                return Err(Error::file(path, problem, NAME_ALL));
            }
        };
        let layout = Layout { columns, header, index: header && first.nameless && columns > 1, label: None };
        let Some(wanted) = label else { return Ok(layout) };
        let label = match (&first.label[..], header) {
            ([one], true) => Some(*one),
            ([_, _, ..], true) => {
                let problem = format!("has {} columns {:?}", first.label.len(), wanted.name);
                return Err(Error::file(path, problem, "give the label's column a name of its own"));
            }
            _ => number,
        };
        match label {
            None if !wanted.optional && header => Err(wanted.missing(path, &first.names)),
            None if !wanted.optional => {
                let problem = format!("has no line of names, and so no column {:?}", wanted.name);
                Err(Error::file(path, problem, format!("give the number of the label's column, from 1 to {columns}")))
            }
            label => Ok(Layout { label, ..layout }),
        }
    }
}

/// Whether the next line has a text, or a number with decimals: then whole numbers above it may be a header.
fn is_no_count(fields: &mut Fields) -> Result<bool> {
    let mut found = false;
    loop {
        match fields.next()? {
            Token::Field => found |= !fields.text().is_empty() && fields.text().parse::<u64>().is_err(),
            Token::Line(_) | Token::End => return Ok(found),
        }
    }
}

/// The lines of numbers read so far from a file.
struct Lines<'a> {
    path: &'a Path,
    layout: Layout,
    numbers: Numbers<'a>,
    values: Vec<f32>,
    labels: FoundLabels,
    skipped: Skipped,
}

impl Lines<'_> {
    fn read(&mut self, mut fields: Fields) -> Result<()> {
        let (columns, mut header) = (self.layout.columns, self.layout.header);
        // Number of fields in the line, and of the empty ones at its start.
        let (mut count, mut empty) = (0, 0);
        loop {
            match fields.next()? {
                Token::Field => {
                    count += 1;
                    let starts = empty + 1 == count;
                    if starts && fields.text().is_empty() {
                        empty = count;
                    } else if !header {
                        // The line is not empty after all, so its first fields are not skipped.
                        (1..count).filter(|_| starts).try_for_each(|column| self.take(&fields, column, ""))?;
                        self.take(&fields, count, fields.text())?;
                    }
                }
                Token::Line(line) => {
                    match empty == count {
                        true if count > 1 => self.skipped.add(line),
                        _ if header => header = false,
                        true => return Err(self.no_number(line, 1, "", None)),
                        false if count != columns => {
                            let problem = format!("line {line} has {count} columns, but the first has {columns}");
                            return Err(Error::file(self.path, problem, "give every line as many numbers"));
                        }
                        false => {}
                    }
                    (count, empty) = (0, 0);
                }
                Token::End => return Ok(()),
            }
        }
    }

    fn take(&mut self, fields: &Fields, column: usize, text: &str) -> Result<()> {
        let line = fields.line;
        if self.layout.label == Some(column) {
            self.labels.take(text, || format!("line {line}, column {column} of the file is empty"));
            return Ok(());
        }
        if self.layout.index && column == 1 {
            return text.parse::<u64>().map(drop).map_err(|_| {
                let problem = format!("line {line}, column 1 has no name and is {:?}", shortened(text));
                Error::file(self.path, problem, WITHOUT_INDEX)
            });
        }
        let number = self.numbers.number(text, [line, column])?;
        let value = number.map(|number| number as f32).filter(|value| value.is_finite());
        let Some(value) = value else { return Err(self.no_number(line, column, text, number)) };
        // A number takes at least a digit and a separator.
        let most = usize::try_from(fields.left() / 2 + 1).unwrap_or(usize::MAX);
        grow(&mut self.values, 1, most).map_err(|_| {
            let help = "use a part of it, or a machine with more memory";
            Error::file(self.path, "its numbers do not fit in memory", help)
        })?;
        self.values.push(value);
        Ok(())
    }

    /// The error of a field that is not a finite number.
    fn no_number(&self, line: usize, column: usize, text: &str, number: Option<f64>) -> Error {
        let shown = shortened(text);
        let problem = match number {
            None if text.is_empty() => "is empty".to_owned(),
            None => format!("is {shown:?}, which is no number"),
            Some(_) => format!("is {shown:?}, which is no finite 32-bit number"),
        };
        let help = match Content::of(text, number) {
            content @ (Content::Commas | Content::Sign | Content::Several | Content::Unit(_)) => content.remedy(),
            Content::Text => {
                "remove or replace such values before training, or name the column by --label if it holds labels"
            }
            _ => "remove or replace such values before training",
        };
        Error::file(self.path, format!("line {line}, column {column} {problem}"), help)
    }
}

/// Writes lines of numbers separated by commas, each number in the fewest digits that read back as an equal f32. The
/// file is written atomically.
///
/// Fails where the numbers are not a whole number of lines, and where the file cannot be written.
pub fn write_csv(path: impl AsRef<Path>, columns: usize, values: &[f32]) -> Result<()> {
    write_lines(path.as_ref(), "", columns, values, |file, _, value| write!(file, "{value}"))
}

/// Writes a header and lines of fields separated by commas: `write` writes the field of a column for a value.
pub(super) fn write_lines(
    path: &Path,
    header: &str,
    columns: usize,
    values: &[f32],
    write: impl Fn(&mut dyn Write, usize, f32) -> io::Result<()>,
) -> Result<()> {
    if columns == 0 || !values.len().is_multiple_of(columns) {
        let problem = format!("{} numbers are no whole number of lines of {columns}", values.len());
        return Err(Error::invalid("CSV", problem, "give as many numbers as the lines hold"));
    }
    write_atomically(path, |file| {
        file.write_all(header.as_bytes())?;
        for line in values.chunks(columns) {
            for (column, value) in line.iter().enumerate() {
                file.write_all(if column == 0 { b"" } else { b"," })?;
                write(file, column, *value)?;
            }
            writeln!(file)?;
        }
        Ok(())
    })
}
