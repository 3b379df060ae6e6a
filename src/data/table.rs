//! Tables: CSV with a header, whose columns hold numbers or categories.
//!
//! A sample `[columns]` has for each column a number less its mean, divided by its deviation, or the place of its category
//! among the column's, counted from 0.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use super::files::write_atomically;
use super::records::{number, quoted, read_records};
use crate::error::{Error, Result, suggest};

/// More would be texts, or numbers of persons and the like.
const MOST_CATEGORIES: usize = 4096;

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The name in the header.
    pub name: String,
    /// Whether it holds categories, even where all look like numbers; a column with a list of categories does so anyway.
    pub categorical: bool,
    /// Its categories; none for numbers.
    pub categories: Vec<String>,
    /// Numbers of the vector that a model learns for each category; 0 for half as many as there are categories, at most 50.
    pub size: usize,
    /// The mean of a column of numbers, which samples are less by.
    pub mean: f64,
    /// The deviation of a column of numbers, by which samples are divided.
    pub deviation: f64,
}

impl Default for Column {
    fn default() -> Column {
        let (name, categories) = (String::new(), Vec::new());
        Column { name, categorical: false, categories, size: 0, mean: 0.0, deviation: 1.0 }
    }
}

impl Column {
    /// Whether it holds categories.
    pub fn is_categorical(&self) -> bool {
        self.categorical || !self.categories.is_empty()
    }

    /// What a sample has for it, as a file has it: a number, or the name of a category.
    pub fn text(&self, value: f32) -> String {
        match self.is_categorical() {
            true => {
                let last = self.categories.len().saturating_sub(1);
                let place = (value.round().max(0.0) as usize).min(last);
                self.categories.get(place).map(|name| quoted(name)).unwrap_or_default()
            }
            // A sample's 32 bits hold six digits and a half of how far a number is from the mean, by the deviation.
            false => {
                let decimals = (5.0 - self.deviation.log10().floor()).clamp(0.0, 300.0) as usize;
                let text = format!("{:.decimals$}", f64::from(value) * self.deviation + self.mean);
                let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                if text == "-0" { "0".to_owned() } else { text.to_owned() }
            }
        }
    }
}

/// What the columns of a table are known to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Those that are known, by their names.
    pub known: Vec<Column>,
    /// Whether these are all that samples have, in this order, each with all its categories. Else the table's other columns
    /// follow its header's order and hold numbers where all their fields are finite numbers, else categories.
    pub complete: bool,
}

/// What a column is found to hold.
struct Found {
    column: Column,
    /// Where it stands in a line.
    at: usize,
    /// Whether all fields are numbers so far.
    numeric: bool,
    categories: BTreeSet<String>,
    count: f64,
    mean: f64,
    squares: f64,
}

impl Found {
    fn look(&mut self, field: &str, separator: char) {
        match finite(field, separator) {
            Some(value) if self.numeric => {
                // Welford's sums, which do not cancel.
                self.count += 1.0;
                let distance = value - self.mean;
                self.mean += distance / self.count;
                self.squares += distance * (value - self.mean);
            }
            _ => self.numeric = false,
        }
        if self.column.categories.is_empty() && self.categories.len() <= MOST_CATEGORIES {
            self.categories.insert(field.to_owned());
        }
    }

    fn finish(mut self, path: &Path) -> Result<(Column, usize)> {
        let column = &mut self.column;
        if column.is_categorical() || !self.numeric {
            column.categorical = true;
            if self.categories.len() > MOST_CATEGORIES {
                let problem = format!("column {:?} has more than {MOST_CATEGORIES} categories", column.name);
                return Err(Error::file(path, problem, "leave it out, or make all its fields numbers"));
            }
            if column.categories.is_empty() {
                column.categories = self.categories.into_iter().collect();
            }
            if column.size == 0 {
                column.size = column.categories.len().div_ceil(2).min(50);
            }
        } else {
            let deviation = (self.squares / self.count).sqrt();
            (column.mean, column.deviation) = (self.mean, if deviation > 0.0 { deviation } else { 1.0 });
        }
        Ok((self.column, self.at))
    }
}

fn finite(field: &str, separator: char) -> Option<f64> {
    number(field, separator).filter(|number| number.is_finite() && number.abs() < f64::from(f32::MAX))
}

/// Reads a table: what its columns are, and its samples `[columns]` one after the other.
///
/// Fails, with line and column, where a line has more or fewer fields than the header, where a field of numbers is none, and
/// where a category is not among those of its column; where a column is missing, or two have one name; and where there is no
/// line below the header.
pub(super) fn read_table(path: &Path, columns: &Columns) -> Result<(Vec<Column>, Vec<f32>)> {
    let mut header: Option<Vec<String>> = None;
    let mut found: Vec<Found> = Vec::new();
    let mut lines = 0;
    read_records(path, |line, fields, separator| {
        let Some(names) = &header else {
            found = placed(path, fields, columns)?;
            header = Some(std::mem::take(fields));
            return Ok(());
        };
        if fields.len() != names.len() {
            let problem = format!("line {line} has {} fields, but the header has {}", fields.len(), names.len());
            return Err(Error::file(path, problem, "give every line as many"));
        }
        lines += 1;
        if !columns.complete {
            found.iter_mut().for_each(|column| column.look(&fields[column.at], separator));
        }
        Ok(())
    })?;
    if lines == 0 {
        return Err(Error::file(path, "has no line below its header", "give a table with names in its first line"));
    }
    let all: Vec<(Column, usize)> = match columns.complete {
        true => found.into_iter().map(|found| (found.column, found.at)).collect(),
        false => found.into_iter().map(|found| found.finish(path)).collect::<Result<_>>()?,
    };
    let mut values = Vec::with_capacity(lines * all.len());
    let mut first = true;
    read_records(path, |line, fields, separator| {
        if std::mem::replace(&mut first, false) {
            return Ok(());
        }
        for (column, at) in &all {
            let field = fields.get(*at).map_or("", String::as_str);
            let shown: String = field.chars().take(40).collect();
            let wrong = |problem: String, help: String| {
                Error::file(path, format!("line {line}, column {:?} is {problem}", column.name), help)
            };
            if column.is_categorical() {
                // Lists are sorted unless a model file gives them.
                let place = column.categories.binary_search_by(|name| name.as_str().cmp(field)).ok();
                let place = place.or_else(|| column.categories.iter().position(|name| name == field));
                let place = place.ok_or_else(|| {
                    let help = suggest(field, column.categories.iter().take(20).map(String::as_str));
                    wrong(format!("{shown:?}, none of its {} categories", column.categories.len()), help)
                })?;
                values.push(place as f32);
            } else {
                let value = finite(field, separator)
                    .ok_or_else(|| wrong(format!("{shown:?}, which is no finite number"), "replace it".to_owned()))?;
                values.push(((value - column.mean) / column.deviation) as f32);
            }
        }
        Ok(())
    })?;
    Ok((all.into_iter().map(|(column, _)| column).collect(), values))
}

/// The columns of a header, in the order that samples have them in.
fn placed(path: &Path, header: &[String], columns: &Columns) -> Result<Vec<Found>> {
    for (at, name) in header.iter().enumerate() {
        if name.is_empty() || header[..at].contains(name) {
            let problem = match name.is_empty() {
                true => format!("column {} has no name in the first line", at + 1),
                false => format!("has two columns {name:?}"),
            };
            return Err(Error::file(path, problem, "give each column a name of its own in the first line"));
        }
    }
    if let Some(missing) = columns.known.iter().find(|column| !header.contains(&column.name)) {
        let help = suggest(&missing.name, header.iter().map(String::as_str));
        return Err(Error::file(path, format!("has no column {:?}", missing.name), help));
    }
    let known = |name: &String| columns.known.iter().find(|column| column.name == *name).cloned();
    let found = |column: Column, at: usize| {
        let (count, mean, squares) = (0.0, 0.0, 0.0);
        Found { column, at, numeric: true, categories: BTreeSet::new(), count, mean, squares }
    };
    if columns.complete {
        let place = |column: &Column| header.iter().position(|name| *name == column.name).unwrap_or(0);
        return Ok(columns.known.iter().map(|column| found(column.clone(), place(column))).collect());
    }
    let named = |name: &String| known(name).unwrap_or_else(|| Column { name: name.clone(), ..Column::default() });
    Ok(header.iter().enumerate().map(|(at, name)| found(named(name), at)).collect())
}

/// Writes samples of a table as CSV with a header: numbers as they were before they were standardised, categories by their
/// names. The file appears whole or not at all. Fails where the numbers are no whole number of lines, and where the file cannot
/// be written.
pub fn write_table(path: impl AsRef<Path>, columns: &[Column], values: &[f32]) -> Result<()> {
    if columns.is_empty() || !values.len().is_multiple_of(columns.len()) {
        let problem = format!("{} numbers are no whole number of lines of {}", values.len(), columns.len());
        return Err(Error::invalid("CSV", problem, "give as many numbers as the lines hold"));
    }
    write_atomically(path.as_ref(), |file| {
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        writeln!(file, "{}", names.join(","))?;
        for line in values.chunks(columns.len()) {
            let fields: Vec<String> = columns.iter().zip(line).map(|(column, value)| column.text(*value)).collect();
            writeln!(file, "{}", fields.join(","))?;
        }
        Ok(())
    })
}
