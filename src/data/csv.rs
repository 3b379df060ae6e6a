//! CSV of numbers: one sample per line, its numbers separated by commas, semicolons, tabs, bars or blanks.
//!
//! A first line without any number is a header and is skipped, as are pandas's numbers for unnamed columns. A first
//! column without a name in the header holds line numbers and is left out. Fields may be in double quotes. If commas do
//! not separate fields, a comma is the decimal point, as spreadsheets of many countries write it.
//!
//! The file is read piece by piece, so that its text is never in memory together with its numbers.

use std::io::Write;
use std::path::Path;

use super::elements::grow;
use super::labels::{Found, LabelColumn, Labels};
use super::numbers::{Content, Numbers};
use super::records::{Fields, Skipped, Source, Token};
use super::text::warn;
use crate::error::{Error, Result, suggest};
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

/// As [`read_csv`], for a file that may have a column of labels: returns the other columns' numbers, and the labels or
/// the reason why they cannot be used.
pub(super) fn read_labelled(
    path: &Path,
    label: Option<&LabelColumn>,
) -> Result<(Table, Option<Result<Labels, String>>)> {
    let source = Source::of(path)?;
    let layout = Layout::of(&source, label)?;
    let mut reading = Reading {
        path,
        layout,
        numbers: Numbers::new(path, source.separator),
        values: Vec::new(),
        labels: Found::default(),
        unlabelled: None,
        skipped: Skipped::default(),
    };
    reading.read(source.fields(LONGEST_FIELD)?)?;
    reading.skipped.warn(path);
    reading.numbers.warn();
    if layout.index {
        warn(path, "the first column has no name and is left out: it holds the numbers of the lines");
    }
    let left_out = usize::from(reading.layout.index) + usize::from(reading.layout.label.is_some());
    let columns = reading.layout.columns.saturating_sub(left_out);
    if reading.values.is_empty() {
        return Err(Error::file(path, "holds no number", "give a CSV file of numbers"));
    }
    let labels = reading.layout.label.map(|_| match reading.unlabelled {
        None => Ok(reading.labels.finish()),
        Some(fault) => Err(fault),
    });
    Ok((Table { columns, values: reading.values }, labels))
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
    /// Whether the fields count 0, 1, 2 and so on, possibly after an empty first one.
    counts: bool,
    nameless: bool,
    /// The columns whose name is the label's.
    label: Vec<usize>,
    names: Vec<String>,
}

impl FirstLine {
    fn new() -> FirstLine {
        FirstLine { counts: true, ..FirstLine::default() }
    }

    fn take(&mut self, fields: &Fields, is_number: bool, label: Option<&LabelColumn>) {
        let (text, column) = (fields.text(), fields.column);
        (self.line, self.columns) = (fields.line, column);
        self.empty += usize::from(text.is_empty());
        self.texts += usize::from(!is_number);
        let first = if is_number { &mut self.first_number } else { &mut self.first_text };
        *first = if *first == 0 { column } else { *first };
        self.nameless |= column == 1 && text.is_empty();
        let count = column - 1 - usize::from(self.nameless && column > 1);
        self.counts &= (column == 1 && self.nameless) || text == count.to_string();
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
        let mut first = FirstLine::new();
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
                Token::Line(_) if first.is_nothing() => first = FirstLine::new(),
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
        let counts = first.counts && columns > 1;
        let is_data = first.texts == 0 || (first.texts == 1 && Some(first.first_text) == number && columns > 1);
        let header = match () {
            _ if counts && (first.nameless || others || columns >= LONG_COUNT) => {
                let last = columns - 1 - usize::from(first.nameless);
                warn(
                    path,
                    &format!(
                        "the first line, 0 to {last}, is taken for the header that pandas gives to columns without names"
                    ),
                );
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
            None if !wanted.optional && header => {
                let problem = format!("has no column {:?}, which is to be the label", wanted.name);
                Err(Error::file(path, problem, suggest(&wanted.name, first.names.iter().map(String::as_str))))
            }
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

/// The numbers read so far from a file.
struct Reading<'a> {
    path: &'a Path,
    layout: Layout,
    numbers: Numbers<'a>,
    values: Vec<f32>,
    labels: Found,
    /// The reason why labels cannot be used.
    unlabelled: Option<String>,
    skipped: Skipped,
}

impl Reading<'_> {
    fn read(&mut self, mut fields: Fields) -> Result<()> {
        let mut header = self.layout.header;
        // Number of fields in the line, and how many of them are empty while all are.
        let (mut count, mut empty) = (0, Some(0));
        loop {
            match fields.next()? {
                Token::Field => {
                    count += 1;
                    match empty {
                        Some(before) if fields.text().is_empty() => empty = Some(before + 1),
                        Some(before) if !header => {
                            for column in 1..=before {
                                self.take(&fields, column, "")?;
                            }
                            empty = None;
                            self.take(&fields, count, fields.text())?;
                        }
                        _ => {
                            empty = None;
                            if !header {
                                self.take(&fields, count, fields.text())?;
                            }
                        }
                    }
                }
                Token::Line(line) => {
                    match empty {
                        Some(_) if count > 1 => self.skipped.add(line),
                        _ if header => header = false,
                        _ => {
                            if empty.is_some() {
                                self.numbers_only(line, 1, "", None)?;
                            }
                            self.expect_columns(line, count)?;
                        }
                    }
                    (count, empty) = (0, Some(0));
                }
                Token::End => return Ok(()),
            }
        }
    }

    fn expect_columns(&self, line: usize, found: usize) -> Result<()> {
        let columns = self.layout.columns;
        if found == columns {
            return Ok(());
        }
        let problem = format!("line {line} has {found} columns, but the first has {columns}");
        Err(Error::file(self.path, problem, "give every line as many numbers"))
    }

    fn take(&mut self, fields: &Fields, column: usize, text: &str) -> Result<()> {
        let line = fields.line;
        if self.layout.label == Some(column) {
            match text.is_empty() {
                true if self.unlabelled.is_none() => {
                    self.unlabelled = Some(format!("line {line}, column {column} of the file is empty"));
                }
                true => {}
                false => self.labels.push(text),
            }
            return Ok(());
        }
        if self.layout.index && column == 1 {
            return match text.parse::<u64>() {
                Ok(_) => Ok(()),
                Err(_) => {
                    let problem = format!("line {line}, column 1 has no name and is {:?}", shortened(text));
                    Err(Error::file(self.path, problem, WITHOUT_INDEX))
                }
            };
        }
        let number = self.numbers.number(text, [line, column])?;
        let value = number.map(|number| number as f32).filter(|value| value.is_finite());
        let Some(value) = value else { return self.numbers_only(line, column, text, number) };
        // A number takes at least a digit and a separator.
        let most = usize::try_from(fields.left() / 2 + 1).unwrap_or(usize::MAX);
        grow(&mut self.values, 1, most).map_err(|_| {
            let help = "use a part of it, or a machine with more memory";
            Error::file(self.path, "its numbers do not fit in memory", help)
        })?;
        self.values.push(value);
        Ok(())
    }

    /// Fails where a field is not a finite number.
    fn numbers_only(&self, line: usize, column: usize, text: &str, number: Option<f64>) -> Result<()> {
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
        Err(Error::file(self.path, format!("line {line}, column {column} {problem}"), help))
    }
}

/// Shortens a field for messages.
pub(super) fn shortened(field: &str) -> String {
    field.chars().take(40).collect()
}

/// Writes lines of numbers separated by commas, each number in the fewest digits that read back as the same f32. The
/// file is written atomically.
///
/// Fails where the numbers are not a whole number of lines, and where the file cannot be written.
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
