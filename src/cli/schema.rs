//! `pinhole schema`: the keys of a model file or of a search space, for editors and for the reference.

use super::say;
use pinhole::error::Result;
use pinhole::model::ModelSpec;
use pinhole::model::config::{LossKind, LossSpec};
use pinhole::nn::Layer;
use pinhole::tune::SearchSpec;
use serde_json::Value as Json;

#[derive(clap::Args)]
pub struct Arguments {
    /// The kind of file to describe: a model file (model) or a search space of pinhole tune (space)
    #[arg(default_value = "model", value_parser = ["model", "space"])]
    of: String,
    /// Print Markdown tables of the layers, losses, latents and other keys of a model file, with their defaults
    #[arg(long, conflicts_with = "of")]
    markdown: bool,
}

/// Prints the JSON Schema, or the tables.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.of[..] {
        "space" => say(&format!("{:#}", SearchSpec::schema())),
        _ if arguments.markdown => say(&tables()?),
        _ => say(&format!("{:#}", ModelSpec::schema())),
    }
}

/// The tables of `src/model/README.md`, with an empty column for the meaning of each row.
fn tables() -> Result<String> {
    let schema = ModelSpec::schema();
    let layer = |layer: Layer| {
        let (short, full) = (layer.to_string(), format!("{layer:#}"));
        let keys = if full == short { String::new() } else { full };
        [short, keys]
    };
    let layers = Layer::templates().into_iter().map(layer);
    let loss = |kind: LossKind| [kind.name().to_owned(), LossSpec { terms: vec![(kind, 0.5)] }.to_string()];
    let mut text = table(["layer", "with all its keys"], layers)
        + &table(["loss", "with a weight"], LossKind::all().into_iter().map(loss));
    let mut spec = ModelSpec::resolve("dense")?;
    for key in ["latent", "condition", "corruption", "train.optimizer", "train.schedule"] {
        let value = key.split('.').fold(&schema, |value, part| &value["properties"][part]);
        // A list of names, or such a list and a table of the choices with settings.
        let names = value["enum"].as_array().or(value["anyOf"][0]["enum"].as_array());
        let mut rows = Vec::new();
        for name in names.into_iter().flatten().filter_map(Json::as_str) {
            spec.set(&format!("{key}={name}"))?;
            let written = match key {
                "latent" => spec.latent.to_string(),
                "condition" => spec.condition.to_string(),
                "corruption" => spec.corruption.to_string(),
                "train.optimizer" => spec.train.optimizer.to_string(),
                _ => spec.train.schedule.to_string(),
            };
            rows.push([name.to_owned(), written]);
        }
        text += &table([key, "with all its settings"], rows);
    }
    let penalties = schema["properties"]["penalties"]["properties"].as_object();
    let rows = penalties.into_iter().flatten().map(|(name, value)| {
        let settings = value["anyOf"][1]["properties"].as_object().into_iter().flatten();
        let settings = settings.map(|(key, value)| (key.clone(), value["default"].clone()));
        [name.clone(), format!("{{ {name} = {} }}", toml_of(&Json::Object(settings.collect())))]
    });
    text += &table(["penalty", "with all its settings"], rows);
    for (title, value) in [
        ("key of `[data]`", &schema["properties"]["data"]),
        ("key of `augment`", &schema["properties"]["data"]["properties"]["augment"]),
        ("key of `[train]`", &schema["properties"]["train"]),
    ] {
        let keys = value["properties"].as_object();
        let rows = keys.into_iter().flatten().map(|(key, value)| [key.clone(), toml_of(&value["default"])]);
        text += &table([title, "default"], rows);
    }
    Ok(text.trim_end().to_owned())
}

/// A default in the syntax of a model file.
fn toml_of(value: &Json) -> String {
    match value {
        Json::Object(keys) if keys.is_empty() => "{}".to_owned(),
        Json::Object(keys) => {
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        value => value.to_string(),
    }
}

fn table([first, second]: [&str; 2], rows: impl IntoIterator<Item = [String; 2]>) -> String {
    let cell = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
    let rows = rows.into_iter().map(|[first, second]| format!("| {} | {} | |\n", cell(first), cell(second)));
    format!("| {first} | {second} | |\n| --- | --- | --- |\n{}\n", rows.collect::<String>())
}
