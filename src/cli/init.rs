//! `pinhole init`: a commented model file.

use super::arguments::Changes;
use super::output::say;
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model to start from: a preset (see pinhole models), a model file or the directory of a run
    model: String,
    /// The file to write; an existing file is not overwritten
    #[arg(value_name = "FILE.toml")]
    file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

/// Writes a model file with a comment above every key.
pub fn run(arguments: &Arguments) -> Result<()> {
    let text = commented(&arguments.changes.resolve(&arguments.model)?);
    let Some(path) = &arguments.file else { return say(text.trim_end()) };
    let mut file = File::create_new(path).map_err(Error::io("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    eprintln!("train it by: pinhole train --model {}", path.display());
    Ok(())
}

fn commented(spec: &ModelSpec) -> String {
    let mut text = String::new();
    // The keys at the top; those of [train] are added where that table begins, since some names occur in both.
    let [mut about, mut train] = ModelSpec::keys();
    for line in spec.to_toml().lines() {
        let key = line.split([' ', '=']).next().unwrap_or_default().trim_matches(['[', ']']);
        if line == "[train]" {
            about.append(&mut train);
        }
        if let Some((_, comment)) = about.iter().find(|(known, _)| *known == key) {
            if !text.is_empty() && key != "batch" {
                text.push('\n');
            }
            text.push_str(&format!("# {comment}\n"));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}
