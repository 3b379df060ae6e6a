//! Text files of TOML, and errors that name the line of a key.

use crate::error::{Error, Result};
use crate::files;
use std::path::Path;
use toml::Table;
use toml::de::{DeTable, DeValue};

/// Largest size of a file in bytes: a longer one is another kind of file, whose tree would be larger still.
const LONGEST_FILE: usize = 1 << 20;

/// Reads a TOML file's text. `what` names its content in messages.
pub(crate) fn read_text(path: &Path, what: &str) -> Result<String> {
    let bytes = files::read(path)?;
    if bytes.len() > LONGEST_FILE {
        let problem = format!("has {} bytes, more than {LONGEST_FILE}", bytes.len());
        return Err(Error::file(path, problem, format!("{what} is a short TOML file; was another file meant?")));
    }
    let help = format!("{what} is a TOML file; was another file meant?");
    String::from_utf8(bytes).map_err(|_| Error::file(path, "is not UTF-8 text", help))
}

/// Parses a file's text into a table. `path` is for the messages.
pub(crate) fn parse_table(text: &str, path: &Path) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().and_then(|span| line_of(text, span.start));
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        Error::file(path, format!("{place}{problem}"), "see https://toml.io for the syntax")
    })
}

/// Error at the line of the key `at`, which names the faulty value `what`.
pub(crate) fn located(text: &str, path: &Path, [at, what]: [&str; 2], problem: &str, help: String) -> Error {
    let line = line_of_key(text, at).map(|line| format!("line {line}"));
    let what = Some(what.to_owned()).filter(|what| !what.is_empty());
    let place = line.into_iter().chain(what).collect::<Vec<_>>().join(", ");
    let colon = if place.is_empty() { "" } else { ": " };
    Error::file(path, format!("{place}{colon}{problem}"), help)
}

fn line_of(text: &str, at: usize) -> Option<usize> {
    Some(1 + text.get(..at)?.matches('\n').count())
}

/// Line of a key, or of the innermost enclosing table or list that the text has.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let model = DeValue::Table(DeTable::parse(text).ok()?.into_inner());
    let (mut value, mut start) = (&model, None);
    let mut rest = key;
    while !rest.is_empty() {
        let (part, behind) = rest.split_once('.').unwrap_or((rest, ""));
        // The body of a residual connection may be written without its name.
        if part == "body" && matches!(value, DeValue::Array(_)) {
            rest = behind;
            continue;
        }
        let next = match value {
            // A quoted key may hold dots; the longest key that fits is taken.
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(name, value)| Some((name.span(), value, rest.strip_prefix(&**name.get_ref())?)))
                .filter(|(.., behind)| behind.is_empty() || behind.starts_with('.'))
                .min_by_key(|(.., behind)| behind.len())
                .map(|(span, value, behind)| (span, value, behind.trim_start_matches('.'))),
            DeValue::Array(list) => {
                part.parse::<usize>().ok().and_then(|index| list.get(index)).map(|value| (value.span(), value, behind))
            }
            _ => None,
        };
        let Some((span, inner, behind)) = next else { break };
        (value, start, rest) = (inner.get_ref(), Some(span.start), behind);
    }
    line_of(text, start?)
}
