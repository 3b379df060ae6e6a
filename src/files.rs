//! Reading of regular files, and atomic writes: a path has either the old content or the whole new content, even if the
//! program is killed while it writes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Opens a file for reading. Fails for a pipe, a socket or a device: to open a pipe waits for a writer, and readers of
/// this crate open a file more than once and ask for its length.
pub(crate) fn open(path: &Path) -> Result<File> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() && !metadata.is_dir() {
        let problem = format!("is {}, not a file", kind_of(&metadata));
        return Err(Error::file(path, problem, "write what comes out of it to a file, and give that"));
    }
    File::open(path).map_err(Error::io("read", path))
}

/// All bytes of a file. Fails as [`open`] does.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// The text of a file. Fails as [`open`] does, and where the content is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    io::read_to_string(open(path)?).map_err(Error::io("read", path))
}

/// The content of a file from the result of reading it; none where no such file exists.
pub(crate) fn if_any<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The word in a message for something that is neither a file nor a folder.
#[cfg(unix)]
fn kind_of(metadata: &fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something else",
    }
}

/// The word in a message for something that is neither a file nor a folder.
#[cfg(not(unix))]
fn kind_of(_: &fs::Metadata) -> &'static str {
    "a pipe or a device"
}

/// Writes `path` through a temporary file in its folder, which is synced and then renamed. On failure the temporary
/// file is removed and `path` keeps its old content.
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
        // The first error is reported. The temporary file may not exist.
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

/// Makes a rename durable. Not every file system can sync a folder, and the content is safe without it, so a failure is
/// no error.
pub(super) fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
    }
}
