//! Sources of data as people type them, from whichever folder.

use super::load::path_and_key;
use std::path::Path;

/// What stands before the name of a file of ratings.
const RATINGS: &str = "ratings:";

/// A source that names the same data from every folder: the path in it is made absolute, without links, where there is
/// something of that name. Built-in data (`digits:600`, `ratings:3000:7`) stays as it is.
pub fn absolute_source(source: &str) -> String {
    absolute(source).unwrap_or_else(|| source.to_owned())
}

fn absolute(source: &str) -> Option<String> {
    let (kind, rest) = source.strip_prefix(RATINGS).map_or(("", source), |rest| (RATINGS, rest));
    let built_in = match kind {
        RATINGS => rest.split(':').next().is_some_and(|users| users.parse::<usize>().is_ok()),
        _ => rest == "digits" || rest.starts_with("digits:"),
    };
    if built_in {
        return None;
    }
    let (path, key) = path_and_key(rest);
    let key = key.map(|key| format!(":{key}")).unwrap_or_default();
    Some(format!("{kind}{}{key}", absolute_path(path)?.to_str()?))
}

/// None where there is nothing of that name.
fn absolute_path(path: &Path) -> Option<std::path::PathBuf> {
    let found = std::fs::canonicalize(path).ok()?;
    // Canonical paths begin there with what many programs cannot read.
    if cfg!(windows) { std::path::absolute(path).ok() } else { Some(found) }
}

/// Whether two sources are one, however their paths are written.
pub fn is_same_source(one: &str, other: &str) -> bool {
    one == other || absolute(one).is_some_and(|one| absolute(other).is_some_and(|other| one == other))
}
