//! Sources of data as people type them, from whichever folder.

use super::load::path_and_key;
use std::path::{Path, PathBuf};

/// What stands before the name of a file of ratings.
const RATINGS: &str = "ratings:";

/// The parts of a source that names files: what stands before the path, the path, and the array in its file.
fn parts(source: &str) -> Option<(&str, &Path, Option<&str>)> {
    let (kind, rest) = source.strip_prefix(RATINGS).map_or(("", source), |rest| (RATINGS, rest));
    let built_in = match kind {
        RATINGS => rest.split(':').next().is_some_and(|users| users.parse::<usize>().is_ok()),
        _ => rest == "digits" || rest.starts_with("digits:"),
    };
    let (path, key) = path_and_key(rest);
    (!built_in).then_some((kind, path, key))
}

/// A source that names the same data from every folder: the path in it is made absolute, without links, where there is
/// something of that name. Built-in data (`digits:600`, `ratings:3000:7`) stays as it is.
pub fn absolute_source(source: &str) -> String {
    absolute(source).unwrap_or_else(|| source.to_owned())
}

fn absolute(source: &str) -> Option<String> {
    let (kind, path, key) = parts(source)?;
    let key = key.map(|key| format!(":{key}")).unwrap_or_default();
    Some(format!("{kind}{}{key}", absolute_path(path)?.to_str()?))
}

/// None where there is nothing of that name.
fn absolute_path(path: &Path) -> Option<PathBuf> {
    let found = std::fs::canonicalize(path).ok()?;
    // Canonical paths begin there with what many programs cannot read.
    if cfg!(windows) { std::path::absolute(path).ok() } else { Some(found) }
}

/// The path of a source that is relative to some folder.
pub fn relative_path(source: &str) -> Option<&Path> {
    parts(source).map(|(_, path, _)| path).filter(|path| path.is_relative())
}

/// Whether two sources are one, however their paths are written.
pub fn is_same_source(one: &str, other: &str) -> bool {
    one == other || absolute(one).is_some_and(|one| absolute(other).is_some_and(|other| one == other))
}

/// [`is_same_source`], where the second may be as it was typed in a folder that is not known: then its path need only end the
/// first one's.
pub fn may_be_same_source(one: &str, other: &str) -> bool {
    let (one_absolute, other_relative) = (absolute_source(one), relative_path(other));
    let ends = |path: &Path| parts(&one_absolute).is_some_and(|(_, whole, _)| whole.ends_with(path));
    let alike = || parts(one).map(|(kind, _, key)| (kind, key)) == parts(other).map(|(kind, _, key)| (kind, key));
    is_same_source(one, other) || (other_relative.is_some_and(ends) && alike())
}
