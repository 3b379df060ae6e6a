//! `pinhole init`

use super::{End, resolve_model, say};
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model to start from: a preset (conv, dense) or a model file
    model: String,
    /// Where to write it; a file that is there already is left alone
    #[arg(value_name = "FILE.toml")]
    file: Option<PathBuf>,
}

/// What a line of a model file beginning with this key is about.
const COMMENTS: &[(&str, &str)] = &[
    ("input", "The shape of one sample: [channels, height, width], or [features]."),
    ("loss", "What training makes small: mse, mae, or bce (from logits; the decoder then ends in sigmoid)."),
    ("encoder", "From a sample to its code. All layers and their keys are in the README's table of layers."),
    ("decoder", "From the code back to a sample."),
    ("[train]", "How it is trained; each key can also be set by --set train.KEY=VALUE."),
    ("batch", "Samples in a step."),
    ("epochs", "Passes over the training set."),
    ("seed", "Decides initial weights, shuffling and all else that is random."),
    ("shuffle", "Whether every epoch has an order of its own."),
    ("validation", "The part of the training set that is set aside where the data has no test files."),
    ("optimizer", "The method of descent and its settings."),
];

/// Writes a model file with a comment above every key.
pub fn run(arguments: &Arguments) -> Result<End> {
    let text = commented(&resolve_model(&arguments.model)?);
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
    for line in spec.to_toml().lines() {
        let key = line.split([' ', '=']).next().unwrap_or_default();
        if let Some((_, comment)) = COMMENTS.iter().find(|(known, _)| *known == key) {
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
