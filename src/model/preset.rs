//! Models that are built in, and the choice between one of them and a file.

use std::path::Path;

use super::spec::ModelSpec;
use crate::error::{Error, Result, suggest};

/// The built-in models: name and model file.
pub const PRESETS: [(&str, &str); 2] = [
    ("conv", include_str!("../../examples/models/conv-ae.toml")),
    ("dense", include_str!("../../examples/models/dense-ae.toml")),
];

/// The model file of a built-in model.
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

impl ModelSpec {
    /// The built-in model of that name, else the model file at that path.
    pub fn resolve(name_or_path: &str) -> Result<ModelSpec> {
        let path = Path::new(name_or_path);
        if let Some(text) = preset(name_or_path) {
            return ModelSpec::parse(text, path);
        }
        if path.exists() {
            return ModelSpec::read(path);
        }
        // A path is not compared with the presets' names: any likeness would be chance.
        let help = match path.extension() {
            Some(_) => "check the path".to_owned(),
            None => suggest(name_or_path, PRESETS.map(|(name, _)| name)),
        };
        let names = PRESETS.map(|(name, _)| name).join(", ");
        Err(Error::invalid(
            format!("model {name_or_path:?}"),
            format!("it is no preset ({names}), and there is no .toml file of that name"),
            help,
        ))
    }
}
