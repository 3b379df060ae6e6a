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
    (
        "loss",
        "What training makes small: mse, mae, huber, bce, cross_entropy, cosine, ssim, or { mse = 0.8, ssim = 0.2 }.",
    ),
    ("encoder", "From a sample to its code. All layers and their keys are in the README's table of layers."),
    ("decoder", "From the code back to a sample."),
    ("[train]", "How it is trained; each key can also be set by --set train.KEY=VALUE."),
    ("batch", "Samples in a step."),
    ("epochs", "Passes over the training set."),
    ("seed", "Decides initial weights, shuffling and all else that is random."),
    ("shuffle", "Whether every epoch has an order of its own."),
    ("validation", "The part of the training set that is set aside where the data has no test files."),
    (
        "optimizer",
        "The method of descent and its settings: sgd, rmsprop, adam, adamw, adagrad, adadelta, nadam or lion.",
    ),
    ("schedule", "How the learning rate changes: constant, step, exponential, cosine, one_cycle or plateau."),
    ("warmup", "Updates in which the learning rate rises to the schedule's."),
    ("clip_value", "The largest magnitude of an element of a gradient, or false."),
    ("clip_norm", "The largest norm of all gradients together, or false."),
    ("accumulate", "Batches whose gradients are joined for an update."),
    ("ema", "The decay of an average of the weights, which is then the model, or false."),
    ("early_stopping", "When training ends early, with the best weights: { patience = 5, min_delta = 0.0 }, or false."),
    ("non_finite", "What happens to gradients that are not finite: stop, or skip the update."),
    ("precision", "In how many bits a training step stores its values: f32, or f16 with a scaled loss."),
    ("layers", "What holds for some layers only: [{ name = \"encoder.0\", lr = 1e-4, l2 = 1e-5 }], say."),
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
