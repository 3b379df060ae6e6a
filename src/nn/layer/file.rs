//! Layers in files: lists of layers and blocks are read, written and described by JSON Schema.

use super::Layer;
use crate::error::Error;
use crate::nn::Blocks;
use crate::schema::{Choice, Fault, Item, Key, Part, choice_schema, read_choice};
use serde_json::{Value as Json, json};
use std::str::FromStr;

impl Choice for Layer {
    const WHAT: &'static str = "layer";

    fn all() -> Vec<Layer> {
        Layer::templates()
    }

    fn name(&self) -> &'static str {
        Layer::name(self)
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        Layer::keys(self)
    }
}

/// Parses a layer as in a model file: the inverse of `Display`. Fails where the text is no TOML value or names no
/// layer.
impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layer, Error> {
        let value = text.parse::<toml::Value>().map_err(|error: toml::de::Error| {
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::invalid("layer", problem, "write it as in a model file, such as { linear = 32 } or \"relu\"")
        })?;
        read_choice(&Item { key: "layer".to_owned(), value: &value })
            .map_err(|fault| Error::invalid(fault.key, fault.problem, fault.help))
    }
}

/// The JSON Schema of a layer, to which schemas of lists refer as `#/$defs/layer`.
pub(crate) fn layer_schema() -> Json {
    choice_schema::<Layer>()
}

/// The JSON Schema of a list of layers.
fn layers_schema() -> Json {
    json!({ "type": "array", "items": { "$ref": "#/$defs/layer" } })
}

impl Part for &mut Vec<Layer> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let items = item.list("a list of layers", "write [{ linear = 32 }, \"relu\"], say")?;
        **self = items.iter().map(read_choice).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn text(&self) -> String {
        format!("[{}]", self.iter().map(Layer::to_string).collect::<Vec<_>>().join(", "))
    }

    fn full_text(&self) -> String {
        format!("[{}]", self.iter().map(|layer| format!("{layer:#}")).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> Json {
        layers_schema()
    }
}

impl Part for &mut Blocks {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let Some(table) = item.as_table() else {
            return item.wrong("a table", "write [blocks], and below it name = [..]");
        };
        **self = Blocks::new();
        for (name, item) in table {
            (&mut self.entry(name.to_owned()).or_default()).read(&item)?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut blocks = (**self).clone();
        let lines: Vec<String> =
            blocks.iter_mut().map(|(name, layers)| format!("{name} = {}", layers.text())).collect();
        format!("{{ {} }}", lines.join(", "))
    }

    fn schema(&self) -> Json {
        let names = json!({ "pattern": "^[A-Za-z0-9_-]+$" });
        json!({ "type": "object", "propertyNames": names, "additionalProperties": layers_schema() })
    }
}
