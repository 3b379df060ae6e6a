//! The lock on the directory of a run or of a search, which keeps two processes from writing into it.
//!
//! The lock is the operating system's, on an open file: it ends with the process that holds it, however that ends, and
//! a file left behind by a killed process locks nothing. The file's text only names the holder in error messages.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of the locked file.
pub(crate) const LOCK: &str = ".lock";

/// Number of attempts to read the holder's name, and the pause between them: a process that has just taken the lock is
/// about to write its name.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Most characters of the holder's name in a message.
const LONGEST_HOLDER: usize = 200;

/// A lock on a directory: until it is dropped, no other process writes there.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: PathBuf,
    /// The locked file; none on a file system without locks.
    file: Option<File>,
}

impl Lock {
    /// Locks a directory, creating it if it is missing. On a file system without locks, warns and continues
    /// without one. Fails where the directory is locked already, by this process or another.
    pub fn take(directory: &Path) -> Result<Lock> {
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let path = directory.join(LOCK);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(Error::io("write", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    // The lock holds even if the name cannot be written, because the disk is full for example.
                    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", holder()).as_bytes()));
                    return Ok(Lock { directory: directory.to_owned(), file: Some(file) });
                }
                // The previous holder has removed the file since it was opened.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(directory, &path)),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{}: is not locked, since its file system has no locks ({error}); begin nothing else in it",
                        directory.display()
                    );
                    let _ = fs::remove_file(&path);
                    return Ok(Lock { directory: directory.to_owned(), file: None });
                }
            }
        }
    }

    /// The locked directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Removes the file, where the system allows an open file to be removed.
impl Drop for Lock {
    fn drop(&mut self) {
        let path = self.directory.join(LOCK);
        if let Some(file) = self.file.take()
            && cfg!(unix)
            && is_at(&file, &path)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether an open file is still the file at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(own), Ok(there)) => place(own) == place(there),
        _ => false,
    }
}

/// Always true: on this system nobody removes the file.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The error for a directory that another process, or another part of this one, has locked.
fn held(directory: &Path, path: &Path) -> Error {
    let mut holder = String::new();
    for _ in 0..LOOKS {
        // Where locks also prevent reading, as on Windows, the holder stays unknown.
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            holder = line.chars().filter(|character| !character.is_control()).take(LONGEST_HOLDER).collect();
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    let holder = if holder.is_empty() { "another process" } else { &holder };
    Error::file(directory, format!("is in use by {holder}"), "wait until that ends, or choose another --out")
}

/// This process's name for messages of other processes.
fn holder() -> String {
    let host = host().map(|host| format!(" on {host}")).unwrap_or_default();
    format!("process {}{host} since {}", std::process::id(), utc(SystemTime::now()))
}

/// The machine's name, as far as a file or the environment holds it.
fn host() -> Option<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = kernel.or_else(|| ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok()));
    named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Formats a time as `2026-01-31 23:59:59 UTC`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Count years from March, so that the leap day comes last: Howard Hinnant, "chrono-compatible low-level date
    // algorithms".
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let (year, day) = (era * 400 + year + u64::from(month <= 2), day - (153 * from_march + 2) / 5 + 1);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}
