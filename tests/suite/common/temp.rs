//! Places for the program to run in, and what it said there: shared by the tests of the program.

use crate::support::*;
use pinhole::data::images::read_png;
use serde_json::Value as Json;
use std::process::{Command, Stdio};

/// The folder of a test, with the small model's file in it; the program runs there.
pub struct Place(pub tempfile::TempDir);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Place {
        let place = Place(folder());
        place.write("small.toml", SMALL_DENSE.as_bytes());
        place
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, bytes).expect("a written file");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn lines(&self, name: &str) -> Vec<Json> {
        let text = String::from_utf8(self.read(name)).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends within a line");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The program with these arguments, which are split at spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.env("PINHOLE_CACHE", "");
        command.env_remove("RUST_LOG").env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Where there is no display, Mesa would say so.
        command.env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    pub fn run(&self, arguments: &str) -> Said {
        said(self.command(arguments).output().expect("the program runs"))
    }

    /// Runs what must succeed.
    pub fn ok(&self, arguments: &str) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments}: {said:?}");
        said
    }

    /// Runs what must fail with one line and nothing else; the line without its `error: `.
    pub fn failure(&self, arguments: &str) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, &said.stdout[..]), (Some(1), ""), "{arguments}: {said:?}");
        let line = said.stderr.strip_suffix('\n').filter(|text| !text.contains('\n'));
        let line = line.and_then(|line| line.strip_prefix("error: "));
        line.unwrap_or_else(|| panic!("{arguments}: not one line of error: {said:?}")).to_owned()
    }

    /// Runs what must fail, and compares each message; all that differ are told together.
    pub fn fail(&self, cases: &[(&str, &str)]) {
        let mut wrong = String::new();
        for (arguments, expected) in cases {
            let message = self.failure(arguments);
            if message != *expected {
                wrong += &format!("\n{arguments}\n  says     {message}\n  expected {expected}");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    /// The metrics without what differs from run to run.
    pub fn metrics(&self, run: &str) -> Vec<Json> {
        let mut lines = self.lines(&format!("{run}/metrics.jsonl"));
        for line in &mut lines {
            line.as_object_mut().expect("an object").remove("seconds");
        }
        lines
    }

    /// Fails where two runs differ in weights, metrics or files, or where one is not whole.
    pub fn expect_same_run(&self, what: &str, left: &str, right: &str) {
        assert!(
            self.read(&format!("{left}/model.safetensors")) == self.read(&format!("{right}/model.safetensors")),
            "{what}: the weights of {left} and {right} differ"
        );
        assert_eq!(self.metrics(left), self.metrics(right), "{what}");
        for run in [left, right] {
            assert_eq!(self.names(run), RUN_FILES, "{what}: {run}");
            for picture in ["loss.png", "reconstructions.png"] {
                read_png(self.path(run).join(picture)).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
        let picture = |run: &str| self.read(&format!("{run}/reconstructions.png"));
        assert!(picture(left) == picture(right), "{what}: the pictures differ");
    }
}

pub fn said(output: std::process::Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let said = Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(!said.stderr.contains("panicked"), "{said:?}");
    said
}

/// All that a run leaves behind.
pub const RUN_FILES: [&str; 8] = [
    "checkpoint.safetensors",
    "loss.png",
    "loss.svg",
    "metrics.jsonl",
    "model.safetensors",
    "model.toml",
    "reconstructions.png",
    "run.toml",
];

/// The keys of an epoch's line.
pub const EPOCH_KEYS: [&str; 6] = ["device", "epoch", "seconds", "train_loss", "val_loss", "val_mse"];

pub fn keys(line: &Json) -> Vec<&str> {
    let mut keys: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
