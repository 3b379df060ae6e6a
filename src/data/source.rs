//! Names of data sources as users type them, from any folder, and the kind of file that each names.

use super::gzip;
use super::idx::is_idx;
use super::images::Kind;
use super::{npy, npz};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The prefix of a file of ratings.
const RATINGS: &str = "ratings:";

/// The parts of a source that names files: the prefix, the path, and the array in the file.
fn parts(source: &str) -> Option<(&str, &Path, Option<&str>)> {
    let (kind, rest) = source.strip_prefix(RATINGS).map_or(("", source), |rest| (RATINGS, rest));
    let built_in = match kind {
        RATINGS => rest.split(':').next().is_some_and(|users| users.parse::<usize>().is_ok()),
        _ => rest == "digits" || rest.starts_with("digits:"),
    };
    let (path, key) = path_and_key(rest);
    (!built_in).then_some((kind, path, key))
}

/// Makes the path in a source absolute and free of links, so that it names the data from every folder, if the path
/// exists. Built-in data (`digits:600`, `ratings:3000:7`) stays as it is.
pub fn absolute_source(source: &str) -> String {
    absolute(source).unwrap_or_else(|| source.to_owned())
}

fn absolute(source: &str) -> Option<String> {
    let (kind, path, key) = parts(source)?;
    let key = key.map(|key| format!(":{key}")).unwrap_or_default();
    Some(format!("{kind}{}{key}", absolute_path(path)?.to_str()?))
}

/// The absolute path; `None` if nothing has this path.
fn absolute_path(path: &Path) -> Option<PathBuf> {
    let found = std::fs::canonicalize(path).ok()?;
    // On Windows, canonical paths have a prefix that many programs cannot read.
    if cfg!(windows) { std::path::absolute(path).ok() } else { Some(found) }
}

/// The path in a source, if it is relative.
pub fn relative_path(source: &str) -> Option<&Path> {
    parts(source).map(|(_, path, _)| path).filter(|path| path.is_relative())
}

/// Whether two sources are equal, however their paths are written.
pub fn is_same_source(one: &str, other: &str) -> bool {
    one == other || absolute(one).is_some_and(|one| absolute(other).is_some_and(|other| one == other))
}

/// Whether two sources are equal, where `other` may have been typed in an unknown folder: then its path need only be
/// the end of the path of `one`.
pub fn may_be_same_source(one: &str, other: &str) -> bool {
    let (one_absolute, other_relative) = (absolute_source(one), relative_path(other));
    let ends = |path: &Path| parts(&one_absolute).is_some_and(|(_, whole, _)| whole.ends_with(path));
    let alike = || parts(one).map(|(kind, _, key)| (kind, key)) == parts(other).map(|(kind, _, key)| (kind, key));
    is_same_source(one, other) || (other_relative.is_some_and(ends) && alike())
}

/// The sources that can be loaded, for error messages.
pub(super) const KNOWN: &str = "give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or \
                                with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, \
                                TIFF or WebP file";

/// Splits a source into a path and the array named after it, as in `FILE.npz:NAME`.
pub(super) fn path_and_key(source: &str) -> (&Path, Option<&str>) {
    match source.rfind(".npz:").filter(|_| !Path::new(source).exists()) {
        Some(at) => (Path::new(&source[..at + 4]), Some(&source[at + 5..])),
        None => (Path::new(source), None),
    }
}

/// The last component of the path, or the whole path if it has none, as `.` and `/`.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Whether the file name has one of these extensions, possibly followed by `.gz`.
pub(super) fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = |path: &Path| path.extension().unwrap_or_default().to_os_string();
    let extension = match extension(path) {
        packed if packed.eq_ignore_ascii_case("gz") => extension(Path::new(path.file_stem().unwrap_or_default())),
        extension => extension,
    };
    known.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The kinds of data files.
pub(super) enum FileKind {
    Picture,
    Idx,
    Npy,
    Npz,
    Csv,
}

/// Detects the kind of a file by its first bytes, unpacked if packed; CSV is detected by the name.
pub(super) fn kind_of(path: &Path) -> Result<FileKind> {
    let file = gzip::open(path)?;
    let packed = file.is_packed();
    let mut first = Vec::new();
    file.take(Kind::FIRST_BYTES).read_to_end(&mut first).map_err(gzip::unreadable(path))?;
    let unpack = |what: &str| Error::file(path, format!("is {what} within gzip"), "unpack it by gunzip");
    match &first[..] {
        first if Kind::of(first).is_some() && packed => Err(unpack("a picture")),
        first if first.starts_with(&npz::MAGIC) && packed => Err(unpack("an archive")),
        first if Kind::of(first).is_some() => Ok(FileKind::Picture),
        first if is_idx(first) => Ok(FileKind::Idx),
        first if first.starts_with(&npy::MAGIC) => Ok(FileKind::Npy),
        first if first.starts_with(&npz::MAGIC) => Ok(FileKind::Npz),
        _ if has_extension(path, &["csv", "tsv"]) => Ok(FileKind::Csv),
        _ => Err(Error::file(path, "is no file of a known kind", KNOWN)),
    }
}

/// Whether a source is a text file with columns. True for an unreadable file, so that reading it reports the error.
pub(super) fn is_csv(source: &str) -> bool {
    let path = Path::new(source);
    has_extension(path, &["csv", "tsv"]) || matches!(kind_of(path), Ok(FileKind::Csv))
}
