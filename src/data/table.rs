//! Tables: CSV with a header, whose columns hold numbers or categories.
//!
//! A sample `[columns]` has a value for each column: a number less its column's mean, divided by the deviation, or the
//! index of a category among the column's, counted from 0.

use std::collections::BTreeSet;
use std::path::Path;

use super::csv::{WITHOUT_INDEX, write_lines};
use super::labels::{FoundLabels, LabelColumn, Labels};
use super::numbers::{Content, Numbers};
use super::records::{Source, quoted, shortened, warn_of_index};
use super::text::warn;
use crate::error::{Error, Result, suggest};

/// Most categories of a column. More would be texts, personal numbers and the like.
const MOST_CATEGORIES: usize = 4096;
/// The name that pandas gives to an unnamed first column when it reads a table that it wrote.
const UNNAMED: &str = "Unnamed: 0";

/// A column of a table: numbers or categories.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Column {
    /// The name in the header.
    pub name: String,
    /// Whether the column holds categories although all may look like numbers; a list of categories implies it.
    pub categorical: bool,
    /// The categories; none for numbers.
    pub categories: Vec<String>,
    /// Size of the vector learnt for each category; 0 for half the number of categories, at most 50.
    pub size: usize,
    /// The mean of a column of numbers, which standardisation subtracts.
    pub mean: f64,
    /// The deviation of a column of numbers, by which standardisation divides.
    pub deviation: f64,
}

impl Default for Column {
    fn default() -> Column {
        let (name, categories) = (String::new(), Vec::new());
        Column { name, categorical: false, categories, size: 0, mean: 0.0, deviation: 1.0 }
    }
}

impl Column {
    /// Whether the column holds categories.
    pub fn is_categorical(&self) -> bool {
        self.categorical || !self.categories.is_empty()
    }

    /// Converts a sample's value to a field of a file: a number, or the name of a category.
    pub fn text(&self, value: f32) -> String {
        match self.is_categorical() {
            true => {
                let last = self.categories.len().saturating_sub(1);
                let index = (value.round().max(0.0) as usize).min(last);
                self.categories.get(index).map(|name| quoted(name)).unwrap_or_default()
            }
            // A sample's 32 bits hold six and a half digits of the distance from the mean in deviations.
            false => {
                let decimals = (5.0 - self.deviation.log10().floor()).clamp(0.0, 300.0) as usize;
                let text = format!("{:.decimals$}", f64::from(value) * self.deviation + self.mean);
                let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                if text == "-0" { "0".to_owned() } else { text.to_owned() }
            }
        }
    }
}

/// The columns of a table that are known before it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The known columns, found by their names.
    pub known: Vec<Column>,
    /// Whether `known` lists all columns of the samples, in order, each with its categories, mean and deviation. If
    /// not, the table's other columns follow in the order of its header, and their kinds are detected.
    pub complete: bool,
}

/// The samples of a table: its columns, and its lines one after the other, as numbers of the file and indices of
/// categories.
pub(super) struct Lines {
    pub columns: Vec<Column>,
    pub values: Vec<f64>,
    /// The labels, or the reason why they cannot be used, if a column holds some.
    pub labels: Option<Result<Labels, String>>,
}

/// Reads a table: its columns, and its samples `[columns]`.
///
/// A column holds numbers if all its fields are finite numbers, and categories if the model requires it or fewer fields
/// are numbers than texts. Anything between is an error at the first field that is not a number: a column of numbers
/// with missing or malformed ones.
///
/// Fails, with line and column, where a line has more or fewer fields than the header, where a field of a column of
/// numbers is not a number, and where a category is not among those of its column; where a column is missing, or two
/// have one name; and where there is no line below the header.
pub(super) fn read_table(path: &Path, columns: &Columns, label: Option<&LabelColumn>) -> Result<Lines> {
    let source = Source::of(path)?;
    let mut numbers = Numbers::new(path, source.separator);
    let mut header: Option<Header> = None;
    let mut found: Vec<FieldCounts> = Vec::new();
    // Whether the first column counts 0, 1, 2 and so on, as the line numbers do that pandas and R write.
    let mut counts = true;
    let (mut lines, mut blanks) = (0, None);
    let skipped = source.records(|line, fields| {
        let Some(known) = &header else {
            let read = Header::of((path, line), std::mem::take(fields), columns, label)?;
            blanks = read.blanks();
            let columns = read.columns.iter().cloned();
            found = columns.map(|(column, at)| FieldCounts { column, at, ..FieldCounts::default() }).collect();
            header = Some(read);
            return Ok(());
        };
        if fields.len() != known.names.len() {
            let problem = format!("line {line} has {} fields, but the header has {}", fields.len(), known.names.len());
            return Err(Error::file(path, problem, "give every line as many"));
        }
        blanks = blanks.filter(|parts| fields[0].split_ascii_whitespace().count() == *parts);
        counts = counts && fields[0].parse() == Ok(lines);
        if known.nameless && !columns.complete && fields[0].parse::<u64>().is_err() {
            let shown = shortened(&fields[0]);
            let problem = format!("column 1 has no name in the first line, and line {line} has {shown:?} there");
            return Err(Error::file(path, problem, WITHOUT_INDEX));
        }
        lines += 1;
        if !columns.complete {
            found.iter_mut().try_for_each(|column| column.count(&fields[column.at], line, &mut numbers))?;
        }
        Ok(())
    })?;
    skipped.warn(path);
    numbers.warn();
    let Some(header) = header.filter(|_| lines > 0) else {
        return Err(Error::file(path, "has no line below its header", "give a table with names in its first line"));
    };
    if let Some(parts) = blanks {
        let problem = format!("has {parts} words in its first line and in all others, with blanks between them");
        return Err(Error::file(path, problem, "separate them by commas, semicolons or tabs"));
    }
    if !columns.complete {
        let is_index = counts && header.names[0] == UNNAMED && header.names.len() > 1;
        found.retain(|column| column.at != 0 || !is_index);
        if found.is_empty() {
            let problem = "has no column but that of its label";
            return Err(Error::file(path, problem, "give a table of two columns or more"));
        }
        if header.nameless {
            warn_of_index(path);
        } else if is_index {
            warn(path, &format!("the column {UNNAMED:?} is left out: it holds the numbers of the lines"));
        }
        warn_of_gaps(path, &found);
    }
    let all: Vec<(Column, usize)> = match columns.complete {
        true => header.columns,
        false => found.into_iter().map(|found| found.finish(path)).collect::<Result<_>>()?,
    };
    let values = Vec::with_capacity(lines * all.len());
    let mut samples = Samples { path, columns: &all, label: header.label, values, labels: FoundLabels::default() };
    let mut numbers = Numbers::new(path, source.separator);
    let mut first = true;
    source.records(|line, fields| match std::mem::replace(&mut first, false) {
        true => Ok(()),
        false => samples.take(line, fields, &mut numbers),
    })?;
    let (values, labels) = (samples.values, header.label.map(|_| samples.labels.finish()));
    let mut all: Vec<Column> = all.into_iter().map(|(column, _)| column).collect();
    if !columns.complete {
        set_statistics(&mut all, &values);
    }
    Ok(Lines { columns: all, values, labels })
}

/// The header of a table, interpreted.
struct Header {
    names: Vec<String>,
    /// The columns of the samples, each with its index in a line.
    columns: Vec<(Column, usize)>,
    /// The index of the label in a line.
    label: Option<usize>,
    /// Whether the first column has no name.
    nameless: bool,
}

impl Header {
    /// Interprets a header; columns are in the order of the samples.
    fn of(
        (path, line): (&Path, usize),
        names: Vec<String>,
        columns: &Columns,
        label: Option<&LabelColumn>,
    ) -> Result<Header> {
        let nameless = names[0].is_empty() && names.len() > 1;
        let label = Header::label(path, &names, label)?;
        let used = |at: usize| !columns.complete || columns.known.iter().any(|column| column.name == names[at]);
        for (at, name) in names.iter().enumerate().skip(usize::from(nameless)).filter(|(at, _)| used(*at)) {
            let problem = match names.iter().filter(|other| *other == name).count() {
                _ if name.is_empty() => Some(format!("column {} has no name in the first line", at + 1)),
                1 => None,
                _ => Some(format!("has two columns {name:?}")),
            };
            if let Some(problem) = problem {
                return Err(Error::file(path, problem, "give each column a name of its own in the first line"));
            }
        }
        if let Some(missing) = columns.known.iter().find(|column| !names.contains(&column.name)) {
            let named = names.iter().filter(|name| !name.is_empty());
            let help = suggest(&missing.name, named.map(String::as_str));
            return Err(Error::file(path, format!("has no column {:?}", missing.name), help));
        }
        expect_names((path, line), &names)?;
        let known = |name: &String| columns.known.iter().find(|column| column.name == *name).cloned();
        if let Some(at) = label
            && let Some(column) = known(&names[at])
        {
            let problem = format!("column {:?} is the label, and is listed in data.columns too", column.name);
            return Err(Error::file(path, problem, "take it out of one of the two"));
        }
        let columns = match columns.complete {
            true => {
                let at = |column: &Column| names.iter().position(|name| *name == column.name).unwrap_or(0);
                columns.known.iter().map(|column| (column.clone(), at(column))).collect()
            }
            false => {
                let named =
                    |name: &String| known(name).unwrap_or_else(|| Column { name: name.clone(), ..Column::default() });
                let all = names.iter().enumerate().skip(usize::from(nameless)).filter(|(at, _)| Some(*at) != label);
                all.map(|(at, name)| (named(name), at)).collect()
            }
        };
        Ok(Header { names, columns, label, nameless })
    }

    /// The index of the label: of the column of that name, else of that number, counted from 1.
    fn label(path: &Path, names: &[String], label: Option<&LabelColumn>) -> Result<Option<usize>> {
        let Some(wanted) = label else { return Ok(None) };
        let number = || wanted.name.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < names.len());
        let found = names.iter().position(|name| *name == wanted.name).or_else(number);
        if found.is_none() && !wanted.optional {
            return Err(wanted.missing(path, names));
        }
        Ok(found)
    }

    /// The number of words in the name, if the only name may be several separated by blanks.
    fn blanks(&self) -> Option<usize> {
        let [name] = &self.names[..] else { return None };
        Some(name.split_ascii_whitespace().count()).filter(|parts| *parts > 1)
    }
}

/// Fails where a first line has numbers that cannot be names, and so is data without a header. Ascending numbers,
/// such as years, and those from 0 on that pandas gives to columns without names, may be names.
fn expect_names((path, line): (&Path, usize), names: &[String]) -> Result<()> {
    let mut last = None;
    for (at, name) in names.iter().enumerate() {
        let Ok(number) = name.parse::<f64>() else { continue };
        let rises = last.is_none_or(|last| number > last);
        if !rises || number.fract() != 0.0 || name.contains('.') {
            let (column, shown) = (at + 1, shortened(name));
            let problem = format!("line {line}, column {column} is {shown:?}, where the name of a column is expected");
            return Err(Error::file(path, problem, "write the names of the columns in the first line"));
        }
        last = Some(number);
    }
    Ok(())
}

/// Counts of a column's fields by their content, from which its kind is detected.
#[derive(Default)]
struct FieldCounts {
    column: Column,
    /// The index of the column in a line.
    at: usize,
    lines: usize,
    /// Number of fields that are finite numbers, that are other or malformed numbers, and that are empty or mark a gap.
    numbers: usize,
    nearly: usize,
    missing: usize,
    /// Number of fields with letters after a number, and the letters as long as all are equal.
    with_unit: usize,
    unit: Option<String>,
    /// The line and the text of the first field that is not a finite number.
    first: Option<(usize, String)>,
    /// The line and the text of the first field that is empty or marks a gap.
    first_missing: Option<(usize, String)>,
    categories: BTreeSet<String>,
}

impl FieldCounts {
    fn count(&mut self, field: &str, line: usize, numbers: &mut Numbers) -> Result<()> {
        self.lines += 1;
        if self.column.categories.is_empty() && self.categories.len() <= MOST_CATEGORIES {
            self.categories.insert(field.to_owned());
        }
        if self.column.is_categorical() {
            return Ok(());
        }
        let content = Content::of(field, numbers.number(field, [line, self.at + 1])?);
        let found = || (line, field.to_owned());
        match content {
            Content::Number(_) => {
                self.numbers += 1;
                return Ok(());
            }
            Content::NotFinite | Content::Commas | Content::Sign | Content::Several => self.nearly += 1,
            Content::Missing => {
                self.missing += 1;
                self.first_missing.get_or_insert_with(found);
            }
            Content::Unit(unit) => {
                if self.with_unit == 0 {
                    self.unit = Some(unit.to_owned());
                }
                self.with_unit += 1;
                self.unit = self.unit.take().filter(|known| known == unit);
            }
            Content::Text => {}
        }
        self.first.get_or_insert_with(found);
        Ok(())
    }

    /// The number of numeric fields: letters after numbers are a unit if all are equal.
    fn numeric(&self) -> usize {
        self.numbers + self.nearly + if self.unit.is_some() { self.with_unit } else { 0 }
    }

    /// Whether the column holds categories, because the model requires it or because fewer fields are numbers than
    /// texts.
    fn is_categorical(&self) -> bool {
        let texts = self.lines - self.missing - self.numeric();
        self.column.is_categorical() || texts > self.numeric()
    }

    fn finish(self, path: &Path) -> Result<(Column, usize)> {
        let categorical = self.is_categorical();
        if !categorical && let Some((line, field)) = &self.first {
            return Err(self.not_numeric(path, *line, field));
        }
        let mut column = self.column;
        if categorical {
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
        }
        Ok((column, self.at))
    }

    /// The error for a column of which only some fields are numbers.
    fn not_numeric(&self, path: &Path, line: usize, field: &str) -> Error {
        let column = &self.column.name;
        let shown = if field.is_empty() { "empty".to_owned() } else { format!("{:?}", shortened(field)) };
        let content = Content::of(field, field.parse().ok());
        let numeric = self.numeric();
        let others = match self.numbers {
            _ if numeric == 0 => "and all fields of the column are missing".to_owned(),
            0 => "in a column of numbers".to_owned(),
            1 => "beside 1 number".to_owned(),
            numbers => format!("beside {numbers} numbers"),
        };
        let remedy = if numeric == 0 { "delete the column" } else { content.remedy() };
        let name = toml::Value::String(column.clone());
        Error::file(
            path,
            format!("line {line}, column {column:?} is {shown}, {others}"),
            format!("{remedy}, or take it for categories: [data] columns = [{{ name = {name}, categorical = true }}]"),
        )
    }
}

/// Warns of gaps in columns of categories, naming the first of each column.
fn warn_of_gaps(path: &Path, found: &[FieldCounts]) {
    let gaps = |column: &FieldCounts| {
        let (line, field) = column.first_missing.as_ref().filter(|_| column.is_categorical())?;
        let shown = if field.is_empty() { "empty".to_owned() } else { format!("{field:?}") };
        Some(format!("{} of column {:?} (line {line} is {shown})", column.missing, column.column.name))
    };
    let gaps: Vec<String> = found.iter().filter_map(gaps).collect();
    if !gaps.is_empty() {
        let message = format!("missing fields count as categories: {}", gaps.join(", "));
        warn(path, &message);
    }
}

/// The samples read so far of a table whose columns are known.
struct Samples<'a> {
    path: &'a Path,
    columns: &'a [(Column, usize)],
    label: Option<usize>,
    values: Vec<f64>,
    labels: FoundLabels,
}

impl Samples<'_> {
    fn take(&mut self, line: usize, fields: &[String], numbers: &mut Numbers) -> Result<()> {
        for (column, at) in self.columns {
            let field = fields.get(*at).map_or("", String::as_str);
            let wrong = |problem: String, help: String| {
                Error::file(self.path, format!("line {line}, column {:?} is {problem}", column.name), help)
            };
            if column.is_categorical() {
                // Lists of categories are sorted, except those of model files.
                let index = column.categories.binary_search_by(|name| name.as_str().cmp(field)).ok();
                let index = index.or_else(|| column.categories.iter().position(|name| name == field));
                let index = index.ok_or_else(|| {
                    let help = suggest(field, column.categories.iter().take(20).map(String::as_str));
                    wrong(format!("{:?}, none of its {} categories", shortened(field), column.categories.len()), help)
                })?;
                self.values.push(index as f64);
                continue;
            }
            let number = numbers.number(field, [line, at + 1])?;
            match Content::of(field, number) {
                Content::Number(value) => self.values.push(value),
                content => {
                    let shown = shortened(field);
                    return Err(wrong(format!("{shown:?}, which is no finite number"), content.remedy().to_owned()));
                }
            }
        }
        if let Some(at) = self.label {
            let fault = || format!("line {line} of {} has an empty one", self.path.display());
            self.labels.take(fields.get(at).map_or("", String::as_str), fault);
        }
        Ok(())
    }
}

/// Sets the means and deviations of columns of numbers to those of the lines `values`.
pub(super) fn set_statistics(columns: &mut [Column], values: &[f64]) {
    let width = columns.len();
    for (at, column) in columns.iter_mut().enumerate().filter(|(_, column)| !column.is_categorical()) {
        // Welford's algorithm, which avoids cancellation.
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values.iter().skip(at).step_by(width) {
            count += 1.0;
            let distance = value - mean;
            mean += distance / count;
            squares += distance * (value - mean);
        }
        let deviation = (squares / f64::max(count, 1.0)).sqrt();
        (column.mean, column.deviation) = (mean, if deviation > 0.0 { deviation } else { 1.0 });
    }
}

/// Converts lines to samples: standardises numbers, and keeps categories as they are.
pub(super) fn standardised(columns: &[Column], values: &[f64]) -> Vec<f32> {
    let standard = |(value, column): (&f64, &Column)| match column.is_categorical() {
        true => *value as f32,
        false => ((value - column.mean) / column.deviation) as f32,
    };
    values.iter().zip(columns.iter().cycle()).map(standard).collect()
}

/// Writes samples of a table as CSV with a header: numbers before standardisation, categories by name. The file is
/// written atomically. Fails where the numbers are not a whole number of lines, and where the file cannot be written.
pub fn write_table(path: impl AsRef<Path>, columns: &[Column], values: &[f32]) -> Result<()> {
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let header = names.join(",") + "\n";
    write_lines(path.as_ref(), &header, columns.len(), values, |file, column, value| {
        file.write_all(columns[column].text(value).as_bytes())
    })
}
