//! The JSON Schema of model files, from the lists that they are read by.

use super::ModelSpec;
use super::settings::{Choice, Field, Setting, Table};
use crate::nn::{self, Layer, short_form};
use serde_json::{Map, Value as Json, json};

/// The whole.
pub(super) fn model() -> Json {
    let mut schema = fields(ModelSpec::blank().fields());
    if let Json::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("A model file of Pinhole"));
        schema.insert("$defs".to_owned(), json!({ "layer": layer() }));
    }
    schema
}

/// A table by its keys, with the values that they hold as defaults.
pub(super) fn table(table: &mut dyn Table) -> Json {
    fields(table.fields())
}

/// A table by its keys, with the values that they hold as defaults.
pub(super) fn fields(fields: Vec<Field>) -> Json {
    let needed: Vec<&str> = fields.iter().filter(|field| field.example.is_some()).map(|field| field.key).collect();
    let property = |field: Field| {
        let default = if field.example.is_some() { None } else { field.setting.text() };
        (field.key.to_owned(), described(setting(&field.setting), field.about, default))
    };
    object(fields.into_iter().map(property).collect(), &needed)
}

/// Something chosen by its name, with settings or without.
pub(super) fn choice<C: Choice>() -> Json {
    let mut all = C::all();
    let names: Vec<&str> = all.iter().map(C::name).collect();
    let mut properties = Map::new();
    for choice in &mut all {
        let name = choice.name();
        let settings = choice.settings();
        if !settings.is_empty() {
            let short = settings.first().filter(|_| C::SHORT).map(|(_, value)| setting(value));
            let property =
                |(key, value): (&str, Setting)| (key.to_owned(), described(setting(&value), "", value.text()));
            let table = object(settings.into_iter().map(property).collect(), &[]);
            let value = match short {
                Some(short) => json!({ "anyOf": [short, table] }),
                None => table,
            };
            properties.insert(name.to_owned(), value);
        }
    }
    name_or_table(&names, properties)
}

/// A list of layers.
pub(super) fn layers() -> Json {
    json!({ "type": "array", "items": { "$ref": "#/$defs/layer" } })
}

/// A name, or a table of one key: the name.
fn name_or_table(names: &[&str], properties: Map<String, Json>) -> Json {
    let mut table = object(properties, &[]);
    if let Json::Object(table) = &mut table {
        table.insert("minProperties".to_owned(), json!(1));
        table.insert("maxProperties".to_owned(), json!(1));
    }
    let names = json!({ "enum": names });
    match table["properties"].as_object() {
        Some(properties) if properties.is_empty() => names,
        _ => json!({ "anyOf": [names, table] }),
    }
}

fn object(properties: Map<String, Json>, needed: &[&str]) -> Json {
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": needed })
}

fn described(mut schema: Json, about: &str, default: Option<String>) -> Json {
    let default = default.and_then(|text| value(&text));
    if let Json::Object(schema) = &mut schema {
        schema.extend(default.map(|default| ("default".to_owned(), default)));
        schema.extend(Some(("description".to_owned(), json!(about))).filter(|_| !about.is_empty()));
    }
    schema
}

/// What a model file writes, as JSON.
fn value(text: &str) -> Option<Json> {
    let value: toml::Value = text.parse().ok()?;
    serde_json::to_value(value).ok()
}

fn setting(setting: &Setting) -> Json {
    let positive = || json!({ "type": "number", "exclusiveMinimum": 0 });
    let fraction = || json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1 });
    let or_false = |schema: Json| json!({ "anyOf": [{ "const": false }, schema] });
    match setting {
        Setting::Number(_) => json!({ "type": "number" }),
        Setting::Positive(_) => positive(),
        Setting::NotNegative(_) | Setting::Maybe(_) => json!({ "type": "number", "minimum": 0 }),
        Setting::Fraction(_) => fraction(),
        Setting::Fractions(_) => json!({ "type": "array", "minItems": 2, "maxItems": 2, "items": fraction() }),
        Setting::Whole(_) | Setting::Seed(_) => whole(),
        Setting::Count(_) => count(),
        Setting::Counts(_) => json!({ "type": "array", "minItems": 1, "items": count() }),
        Setting::Flag(_) | Setting::MaybeFlag(_) => json!({ "type": "boolean" }),
        Setting::PositiveOrFalse(_) => or_false(positive()),
        Setting::FractionOrFalse(_) => or_false(fraction()),
        Setting::Part(part) => part.schema(),
    }
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 1 })
}

fn whole() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

/// A list of so many whole numbers.
fn wholes(count: usize) -> Json {
    json!({ "type": "array", "minItems": count, "maxItems": count, "items": whole() })
}

/// One entry of a list of layers: the same ways to write it that [`read_layer`](super::read) takes.
fn layer() -> Json {
    let (mut names, mut properties) = (Vec::new(), Map::new());
    for mut layer in Layer::templates() {
        let name = layer.name();
        let keys = layer.keys();
        let short = short_form(&keys);
        if !keys.iter().any(|key| key.needed) {
            names.push(name);
        }
        let needed: Vec<&str> = keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
        let property = |key: &nn::Key| {
            let default = (!key.needed).then(|| key.setting.text(false));
            (key.name.to_owned(), described(layer_setting(&key.setting), "", default))
        };
        let table = object(keys.iter().map(property).collect(), &needed);
        let schema = match (&keys[..], short) {
            ([], _) => continue,
            ([only], 1) if only.needed => layer_setting(&only.setting),
            (_, 0) => table,
            ([first, ..], 1) => json!({ "anyOf": [layer_setting(&first.setting), table] }),
            (keys, short) => {
                let items: Vec<Json> = keys[..short].iter().map(|key| layer_setting(&key.setting)).collect();
                let list = json!({ "type": "array", "prefixItems": items, "minItems": short, "maxItems": short });
                json!({ "anyOf": [list, table] })
            }
        };
        properties.insert(name.to_owned(), schema);
    }
    name_or_table(&names, properties)
}

fn layer_setting(setting: &nn::Setting) -> Json {
    match setting {
        nn::Setting::Whole(_) => whole(),
        nn::Setting::Sides(sides) => json!({ "anyOf": [whole(), wholes(sides.len())] }),
        nn::Setting::Padding(sides, _) => {
            json!({ "anyOf": [whole(), wholes(sides.len()), { "enum": ["same", "valid"] }] })
        }
        nn::Setting::Number(_) => json!({ "type": "number" }),
        nn::Setting::Axis(_) => json!({ "type": "integer" }),
        nn::Setting::Flag(_) => json!({ "type": "boolean" }),
        nn::Setting::Sizes(_) => json!({ "type": "array", "items": whole() }),
        nn::Setting::Layers(_) => layers(),
        nn::Setting::Word(_) => json!({ "type": "string" }),
    }
}
