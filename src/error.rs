//! The crate's error type. Every variant says in one line what happened, where, and what to do about it.

pub use crate::suggest::suggest;
use std::path::{Path, PathBuf};

/// An error of any part of the crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operands of an op do not fit. Detected while the graph is built.
    #[error("{op}: {problem} (node {node}{})", named(name))]
    Graph {
        /// The op, by the name of its method on [`Graph`](crate::graph::Graph).
        op: &'static str,
        /// The disagreement, with the operands' shapes.
        problem: String,
        /// The index that the node would have.
        node: usize,
        /// The scope of the node, such as `encoder.0`; empty outside any.
        name: String,
    },

    /// A value given by the caller, in code, in a model file or on the command line, is unusable.
    #[error("{what}: {problem}; {help}")]
    Invalid {
        /// The value: a key, an argument, a field.
        what: String,
        /// Why the value cannot be used.
        problem: String,
        /// What to do instead.
        help: String,
    },

    /// The content of a file is not valid.
    #[error("{}: {problem}; {help}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the content.
        problem: String,
        /// What to do.
        help: String,
    },

    /// An iterator of samples returned an error.
    #[error("data \"{name}\", sample {sample} of epoch {epoch}: {source}; look at the iterator that gives it")]
    Stream {
        /// The data's name.
        name: String,
        /// The sample, counted from 0.
        sample: usize,
        /// The epoch, counted from 0.
        epoch: u64,
        /// The message of the iterator.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The operating system refused to read or write.
    #[error("cannot {action} {}: {source}; {}", path.display(), io_help(source))]
    Io {
        /// A verb: read, write, create.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The message of the operating system.
        source: std::io::Error,
    },

    /// No adapter matches the request.
    #[error(
        "no adapter for device \"{asked}\" (found: {found}); install a Vulkan, Metal or DX12 driver, or use \
         --device cpu"
    )]
    NoAdapter {
        /// The request.
        asked: String,
        /// The names of all adapters.
        found: String,
    },

    /// A plan exceeds a limit of the adapter. Detected before anything is allocated.
    #[error("plan \"{plan}\", {place}: {what} is {needed}, the adapter allows {allowed}; {help}")]
    Limit {
        /// The plan's name.
        plan: String,
        /// The step or the buffer, by number and name.
        place: String,
        /// The name of the limit.
        what: &'static str,
        /// What the plan needs.
        needed: u64,
        /// What the adapter allows.
        allowed: u64,
        /// What would fit.
        help: &'static str,
    },

    /// The device does not have enough memory.
    #[error("out of memory: {asked} bytes asked for {what}, {available} available; {help}")]
    OutOfMemory {
        /// The purpose of the memory.
        what: String,
        /// Bytes requested.
        asked: u64,
        /// Bytes available, if known.
        available: String,
        /// What would fit.
        help: String,
    },

    /// The adapter stopped working: it was unplugged, reset by its driver, or too slow for the system's watchdog.
    #[error("the device was lost: {reason}; start again with --resume, or use another --device")]
    DeviceLost {
        /// The message of the driver.
        reason: String,
    },

    /// A shader did not compile, or the device refused a pipeline, a buffer or a launch.
    #[error(
        "{place}: {problem}; this is a bug in pinhole or in the driver: please report both lines and `pinhole devices`"
    )]
    Shader {
        /// File, line and column if known, else the object that was being created.
        place: String,
        /// The message of the compiler or the device.
        problem: String,
    },

    /// The result of a launch differs from that of the kernel's twin on the CPU.
    #[error(
        "{launch}: {place}, is {got:e} on {device} and {expected:e} on the CPU; this is a bug in pinhole or in the driver: \
         please report this line and `pinhole devices`; to find an optimisation at fault, set the environment variable \
         PINHOLE_WITHOUT to epilogues, pairs, splits, joined-updates, subgroups, unroll or several of them with commas between"
    )]
    Disagreement {
        /// The launch and its step.
        launch: String,
        /// The element with the largest error, its slot, and the slot's shape.
        place: String,
        /// The device.
        device: String,
        /// The value on the device.
        got: f64,
        /// The value on the CPU.
        expected: f64,
    },

    /// The loss or a gradient became NaN or infinite.
    #[error(
        "{place} is not finite at step {step} (epoch {epoch}), where the loss is {value}; lower the learning rate \
         (--lr) or look for extreme values in the data"
    )]
    NonFinite {
        /// The first value that was not finite: `the output of "encoder.2"`, `the gradient of "decoder.0.weight"`, `the
        /// loss`.
        place: String,
        /// The loss of the step, or of the next step where the update made weights infinite or NaN.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
    },
}

/// A result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] from its three parts.
    pub fn invalid(what: impl Into<String>, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), problem: problem.into(), help: help.into() }
    }

    /// An [`Error::File`] from its three parts.
    pub fn file(path: &Path, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::File { path: path.to_owned(), problem: problem.into(), help: help.into() }
    }

    /// An [`Error::Io`]: `map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::Invalid`] about the data of this name.
    pub(crate) fn in_data(name: &str, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::invalid(format!("data \"{name}\""), problem, help)
    }

    /// Names the file whose content an [`Error::Invalid`] is about: `map_err(Error::in_file(path))`. Keeps other
    /// errors.
    pub(crate) fn in_file(path: &Path) -> impl FnOnce(Error) -> Error {
        move |error| match error {
            Error::Invalid { problem, help, .. } => Error::file(path, problem, help),
            other => other,
        }
    }

    /// The error for a file whose content cannot be put into text, which is a bug: `map_err(Error::bug(path))`.
    pub(crate) fn bug<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Error {
        let path = path.to_owned();
        move |error| Error::file(&path, error.to_string(), "report this as a bug in pinhole")
    }
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" \"{name}\"") }
}

fn io_help(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check the permissions or choose another path",
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
            "free some space or choose another path"
        }
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            "choose another path: a file is in the way"
        }
        std::io::ErrorKind::IsADirectory => "give a file, not a folder",
        _ => "check the path and the disk",
    }
}

/// A message of several lines as one line.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
