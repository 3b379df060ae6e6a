//! The lock on the directory of a run or of a search, so that two processes never write into the same one.
//!
//! The lock is the operating system's, on an open file: it ends with the process that holds it, however that ends, and a
//! file that a killed process left behind locks nothing. The file's text is only for the message that refuses others.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file that is locked.
pub(crate) const LOCK: &str = ".lock";

/// How often, and how long apart, the holder's name is looked for: a process that has just taken the lock is about to
/// write its name.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Characters of the holder's name that a message shows.
const LONGEST_HOLDER: usize = 200;

/// A directory that this process alone writes into, until the lock is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: PathBuf,
    /// The locked file; none on a file system that has no locks.
    file: Option<File>,
}

impl Lock {
    /// Locks a directory, which is made where it is missing. On a file system without locks it warns and goes on
    /// without one. Fails where the directory is locked already, by whichever process.
    pub fn take(directory: &Path) -> Result<Lock> {
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let path = directory.join(LOCK);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(Error::io("write", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    // Without a name, because the disk is full for example, the lock holds all the same.
                    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", holder()).as_bytes()));
                    return Ok(Lock { directory: directory.to_owned(), file: Some(file) });
                }
                // The holder before has removed the file since it was opened.
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

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Leaves no file behind, where the system lets an open one be removed.
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

/// Whether an open file is still the one of this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(own), Ok(there)) => place(own) == place(there),
        _ => false,
    }
}

/// Nobody removes the file here.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The error for a directory that another process, or another part of this one, writes into.
fn held(directory: &Path, path: &Path) -> Error {
    let mut holder = String::new();
    for _ in 0..LOOKS {
        // Where locks keep others from reading too, as on Windows, the holder stays unknown.
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

/// This process as others are told of it.
fn holder() -> String {
    let host = host().map(|host| format!(" on {host}")).unwrap_or_default();
    format!("process {}{host} since {}", std::process::id(), utc(SystemTime::now()))
}

/// The machine's name, where the system tells it without a call of its own.
fn host() -> Option<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = kernel.or_else(|| ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok()));
    named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A time as `2026-01-31 23:59:59 UTC`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin with March have their leap day at their end: Howard Hinnant, "chrono-compatible low-level date
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
