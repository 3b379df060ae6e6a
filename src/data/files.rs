//! Writing a file so that it is either the old one or the whole new one, whenever the program is killed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes `path` through a temporary file in the same folder, which is synced and then renamed. On failure the
/// temporary file is removed and what was at `path` is left as it was.
pub(crate) fn write_atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    // Two writers in one process, or in two, must not share a temporary file.
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let Some(file_name) = path.file_name() else {
        return Err(Error::file(path, "the path names no file", "give the name of the file to write"));
    };
    let mut temporary_name = OsString::from(".");
    temporary_name.push(file_name);
    temporary_name.push(format!(".{}-{}.tmp", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary_name);

    let written = write_and_sync(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The first error is the one to tell; the leftover may well not exist.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path)(source));
    }
    sync_folder(path);
    Ok(())
}

fn write_and_sync(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?);
    fill(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

/// Makes the rename itself durable. Not every file system can do that, and the content is safe without it, so a
/// failure is no error.
pub(super) fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
    }
}
