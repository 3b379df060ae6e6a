//! JSON Schemas (draft 2020-12) of the files that tables of keys describe.

use super::choice::Choice;
use super::key::{Key, Setting, Table, short_form};
use serde_json::{Map, Value as Json, json};

/// The schema of a whole file, with the definitions that its parts refer to.
pub(crate) fn document(table: &mut dyn Table, title: &str, definitions: &[(&str, Json)]) -> Json {
    let mut schema = keys(table.keys());
    if let Json::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!(title));
        if !definitions.is_empty() {
            let definitions = definitions.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
            schema.insert("$defs".to_owned(), Json::Object(definitions));
        }
    }
    schema
}

/// The schema of a table, with the keys' current values as defaults.
pub(crate) fn keys(keys: Vec<Key>) -> Json {
    let needed: Vec<&str> = keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let property = |key: &Key| {
        let default = if key.needed { None } else { key.setting.text(false) };
        (key.name.to_owned(), described(setting(&key.setting), &key.about, default))
    };
    object(keys.iter().map(property).collect(), &needed)
}

/// The schema of a choice, in all forms that [`read_choice`](super::read_choice) accepts.
pub(crate) fn choice<C: Choice>() -> Json {
    let (mut names, mut properties) = (Vec::new(), Map::new());
    for mut choice in C::all() {
        let name = choice.name();
        let own = choice.keys();
        if !own.iter().any(|key| key.needed) {
            names.push(name);
        }
        let mut values: Vec<Json> = own.iter().map(|key| setting(&key.setting)).collect();
        let schema = match (&own[..], short_form(&own)) {
            ([], _) => continue,
            ([only], 1) if only.needed => values.swap_remove(0),
            (_, 0) => keys(own),
            (_, 1) => json!({ "anyOf": [values.swap_remove(0), keys(own)] }),
            (_, short) => {
                values.truncate(short);
                let list = json!({ "type": "array", "prefixItems": values, "minItems": short, "maxItems": short });
                json!({ "anyOf": [list, keys(own)] })
            }
        };
        properties.insert(name.to_owned(), schema);
    }
    name_or_table(&names, properties)
}

/// The schema of a name, or of a table with the name as its one key.
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
    // Texts are in a file's syntax.
    let default = default.and_then(|text| serde_json::to_value(text.parse::<toml::Value>().ok()?).ok());
    if let Json::Object(schema) = &mut schema {
        schema.extend(default.map(|default| ("default".to_owned(), default)));
        schema.extend(Some(("description".to_owned(), json!(about))).filter(|_| !about.is_empty()));
    }
    schema
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
        Setting::Axis(_) => json!({ "type": "integer" }),
        Setting::Sides(sides) => json!({ "anyOf": [whole(), wholes(sides.len())] }),
        Setting::Padding(sides, _) => {
            json!({ "anyOf": [whole(), wholes(sides.len()), { "enum": ["same", "valid"] }] })
        }
        Setting::Sizes(_) => json!({ "type": "array", "minItems": 1, "items": count() }),
        Setting::Word(_) | Setting::Text(..) => json!({ "type": "string" }),
        Setting::Part(part) => part.schema(),
    }
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 1 })
}

fn whole() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

/// The schema of a list of `count` whole numbers.
fn wholes(count: usize) -> Json {
    json!({ "type": "array", "minItems": count, "maxItems": count, "items": whole() })
}
