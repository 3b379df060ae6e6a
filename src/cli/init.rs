//! `pinhole init`

use super::arguments::{Changes, resolve_model};
use super::output::End;
use super::output::say;
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model to start from: a preset (see pinhole models) or a model file
    model: String,
    /// The file to write; an existing file is not overwritten
    #[arg(value_name = "FILE.toml")]
    file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

/// Writes a model file with a comment above every key.
pub fn run(arguments: &Arguments) -> Result<End> {
    let mut spec = resolve_model(&arguments.model)?;
    arguments.changes.apply(&mut spec)?;
    let text = commented(&spec);
    let Some(path) = &arguments.file else {
        say(text.trim_end())?;
        return Ok(End::Done);
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(Error::io("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    eprintln!("train it by: pinhole train --model {}", path.display());
    Ok(End::Done)
}

fn commented(spec: &ModelSpec) -> String {
    let mut text = String::new();
    // Those at the top, and from [train] on its own too.
    let [mut about, mut train] = ModelSpec::keys();
    for line in spec.to_toml().lines() {
        let key = line.split([' ', '=']).next().unwrap_or_default().trim_matches(['[', ']']);
        if line == "[train]" {
            about.append(&mut train);
        }
        if let Some((_, comment)) = about.iter().find(|(known, _)| *known == key) {
            if !text.is_empty() && !matches!(key, "batch") {
                text.push('\n');
            }
            text.push_str(&format!("# {comment}\n"));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}
