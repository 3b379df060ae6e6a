//! Content of a text field: a number, a gap, a malformed number, or a text.

use std::path::Path;

use super::records::{Separator, shortened};
use super::text::warn;
use crate::error::{Error, Result};

/// Markers of missing values, in lower case: the list of pandas, and those of some data sets.
const MISSING: [&str; 16] =
    ["", "na", "n/a", "#n/a", "<na>", "#na", "nan", "-nan", "nat", "null", "none", "?", "-", "--", ".", "missing"];

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content<'a> {
    /// A number that fits in 32 bits.
    Number(f64),
    /// An infinite number, or one too large for 32 bits.
    NotFinite,
    /// A gap: the field is empty, `NA`, `?` and the like.
    Missing,
    /// A number with a comma before its decimals or with separators of thousands.
    Commas,
    /// A number with a currency or percent sign.
    Sign,
    /// Several numbers separated by blanks.
    Several,
    /// A number with letters after it, which are a unit if a whole column has them.
    Unit(&'a str),
    /// Any other text.
    Text,
}

impl<'a> Content<'a> {
    /// Classifies a field, for which [`Numbers::number`] returned `number`.
    pub fn of(field: &'a str, number: Option<f64>) -> Content<'a> {
        let missing = || field.len() <= 7 && MISSING.contains(&field.to_ascii_lowercase().as_str());
        match number {
            Some(number) if is_finite(number) => return Content::Number(number),
            _ if missing() => return Content::Missing,
            Some(_) => return Content::NotFinite,
            None => {}
        }
        if has_commas(field) {
            return Content::Commas;
        }
        if field.split_ascii_whitespace().count() > 1
            && field.split_ascii_whitespace().all(|part| part.parse::<f64>().is_ok())
        {
            return Content::Several;
        }
        let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite) || has_commas(text);
        let is_sign = |letter: char| "%$€£¥‰°".contains(letter);
        let without_signs = field.trim_matches(|letter| is_sign(letter) || letter == ' ');
        if without_signs.len() < field.len() && is_number(without_signs) {
            return Content::Sign;
        }
        let end = field.find(|letter: char| letter.is_alphabetic()).unwrap_or(field.len());
        let (front, unit) = field.split_at(end);
        match is_number(front.trim_end()) && unit.chars().all(|letter| letter.is_alphanumeric() || letter == '/') {
            true => Content::Unit(unit),
            false => Content::Text,
        }
    }

    /// Advice for messages where a number is expected.
    pub fn remedy(self) -> &'static str {
        match self {
            Content::Number(_) => "",
            Content::NotFinite => "replace it by a finite number or delete the line",
            Content::Missing => "fill in the value or delete the line",
            Content::Commas => "write decimals behind a point and nothing between thousands",
            Content::Sign | Content::Unit(_) => "write the number alone",
            Content::Several => "write a comma between them",
            Content::Text => "write a number or delete the line",
        }
    }
}

/// Whether a number is finite in 32 bits.
fn is_finite(number: f64) -> bool {
    number.is_finite() && number.abs() < f64::from(f32::MAX)
}

/// Whether a text would be a number without a decimal comma, or separators between groups of three digits.
fn has_commas(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((whole, decimals)) = text.split_once(',')
        && is_digits(decimals)
        && (whole.is_empty() || is_digits(whole))
    {
        return true;
    }
    let grouped = |mark: char| {
        let (whole, decimals) = match text.rfind(['.', ',']).filter(|at| !text[*at..].starts_with(mark)) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let mut groups = whole.split(mark);
        let first = groups.next().is_some_and(|first| is_digits(first) && first.len() <= 3);
        let mut count = 0;
        let others = groups.all(|group| {
            count += 1;
            is_digits(group) && group.len() == 3
        });
        first && others && count > 0 && decimals.is_none_or(is_digits) && (mark != '.' || decimals.is_some())
    };
    [',', '.', '\'', ' ', '\u{a0}', '\u{202f}'].into_iter().any(grouped)
}

/// Parser for the numbers of a file. If commas do not separate fields, they may be decimal points; a point is then
/// refused, since it looks like a separator of thousands.
pub(super) struct Numbers<'a> {
    path: &'a Path,
    separator: Separator,
    /// Line and column of the first number with a comma, and of the first with a point.
    comma: Option<[usize; 2]>,
    point: Option<[usize; 2]>,
}

impl<'a> Numbers<'a> {
    pub fn new(path: &'a Path, separator: Separator) -> Numbers<'a> {
        Numbers { path, separator, comma: None, point: None }
    }

    /// Warns if commas were read as decimal points in a file without semicolons, the usual separator then.
    pub fn warn(&self) {
        if let Some([line, column]) = self.comma.filter(|_| self.separator != Separator::Byte(b';')) {
            warn(self.path, &format!("commas are read as decimal points, in line {line}, column {column} first"));
        }
    }

    /// Parses a field as a number, which may be infinite; `None` for anything else. Fails where the field has a decimal
    /// comma and an earlier number a point, or the reverse.
    pub fn number(&mut self, field: &str, [line, column]: [usize; 2]) -> Result<Option<f64>> {
        let mut number = field.parse::<f64>().ok();
        if !self.separator.leaves_commas() {
            return Ok(number);
        }
        if number.is_some() && field.contains('.') {
            self.point.get_or_insert([line, column]);
        } else if number.is_none() && field.contains(',') && !field.contains('.') {
            number = field.replacen(',', ".", 1).parse().ok();
            self.comma = self.comma.or(number.map(|_| [line, column]));
        }
        let (Some(comma), Some(point)) = (self.comma, self.point) else { return Ok(number) };
        let ([first_line, first_column], mark, other) = match [line, column] {
            here if here == comma => (point, "comma", "point"),
            here if here == point => (comma, "point", "comma"),
            _ => return Ok(number),
        };
        let problem = format!(
            "line {line}, column {column} is {:?}, a number with a {mark}, but line {first_line}, column {first_column} \
             has one with a {other}",
            shortened(field)
        );
        Err(Error::file(self.path, problem, "write all decimals behind points, and nothing between thousands"))
    }
}
