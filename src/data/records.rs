//! Lines of text fields: CSV and its kin, whatever stands in the fields.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::csv::{SAMPLE, separator};
use super::files;
use crate::error::{Error, Result};

/// Reads a file line by line and hands on each line's number, counted from 1, its fields and what separates them: commas,
/// semicolons or tabs, as the first line has most of. Fields may stand in double quotes, where two quotes stand for one. Empty
/// lines are skipped, and blanks around fields are dropped.
///
/// Fails where the file cannot be read, is not UTF-8, or has a quote that is not closed in its line; and as `take` does.
pub(super) fn read_records(
    path: &Path,
    mut take: impl FnMut(usize, &mut Vec<String>, char) -> Result<()>,
) -> Result<()> {
    let open = || files::open(path);
    let mut first = Vec::new();
    open()?.take(SAMPLE).read_to_end(&mut first).map_err(Error::io("read", path))?;
    let separator = char::from(separator(&first));
    let mut file = BufReader::new(open()?);
    let (mut line, mut bytes, mut fields) = (0, Vec::new(), Vec::new());
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(Error::io("read", path))? == 0 {
            return Ok(());
        }
        line += 1;
        let Ok(text) = str::from_utf8(&bytes) else {
            return Err(Error::file(path, format!("line {line} is not UTF-8 text"), "save the file as UTF-8"));
        };
        // A byte order mark, which some spreadsheets write.
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            continue;
        }
        fields.clear();
        if !split(text, separator, &mut fields) {
            let problem = format!("line {line} has a quote that is not closed in its line");
            return Err(Error::file(path, problem, "close it"));
        }
        take(line, &mut fields, separator)?;
    }
}

/// Cuts a line into its fields. False where a quote stays open.
fn split(line: &str, separator: char, fields: &mut Vec<String>) -> bool {
    let mut rest = line;
    loop {
        let begun = rest.trim_start_matches([' ', '\u{a0}']);
        let (field, after) = match begun.strip_prefix('"') {
            Some(quoted) => {
                let (mut field, mut quoted) = (String::new(), quoted);
                loop {
                    let Some((part, after)) = quoted.split_once('"') else { return false };
                    field.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => break (field, after.find(separator).map(|at| &after[at..])),
                    }
                }
            }
            None => {
                let end = begun.find(separator).unwrap_or(begun.len());
                (begun[..end].trim().to_owned(), (end < begun.len()).then(|| &begun[end..]))
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = &after[separator.len_utf8()..],
            None => return true,
        }
    }
}

/// The number that a field is; where semicolons separate fields, a comma may stand before its decimals.
pub(super) fn number(field: &str, separator: char) -> Option<f64> {
    match field.parse() {
        Err(_) if separator == ';' => field.replacen(',', ".", 1).parse().ok(),
        number => number.ok(),
    }
}

/// A field as a file has it: in quotes where it must be.
pub fn quoted(field: &str) -> String {
    let plain = !field.contains([',', ';', '\t', '"', '\n', '\r']) && field.trim() == field;
    if plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}
