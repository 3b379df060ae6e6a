//! The JSON Schema of model files, held against the reader: what the schema allows and what the reader takes.

use crate::support::*;
use crate::temp::*;
use pinhole::model::ModelSpec;
use pinhole::model::config::{Condition, Corruption, Initializer, LatentSpec, LossKind, OptimizerSpec, Schedule};
use pinhole::nn::Layer;
use pinhole::plan::Optimizer;
use pinhole::tune::SearchSpec;
use serde_json::{Value as Json, json};
use std::path::Path;

/// Whether a value is what a schema allows: the words of draft 2020-12 that ours uses, and a failure for any other.
fn allows(root: &Json, schema: &Json, value: &Json) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{value} {why}"));
    for (word, argument) in schema.as_object().expect("a schema is an object") {
        let list = || argument.as_array().expect("a list");
        let bound = || argument.as_f64().expect("a number");
        match &word[..] {
            "$schema" | "$defs" | "title" | "description" | "default" => {}
            "$ref" => {
                let target = root.pointer(argument.as_str().expect("a reference").trim_start_matches('#'));
                allows(root, target.unwrap_or_else(|| panic!("{argument} leads nowhere")), value)?;
            }
            "type" => {
                let fits = match argument.as_str().expect("a type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                    other => panic!("unknown type {other}"),
                };
                if !fits {
                    return refuse(&format!("is no {argument}"));
                }
            }
            "const" if value != argument => return refuse(&format!("is not {argument}")),
            "enum" if !list().contains(value) => return refuse(&format!("is none of {argument}")),
            "const" | "enum" => {}
            "anyOf" => {
                let faults: Vec<String> = list().iter().filter_map(|one| allows(root, one, value).err()).collect();
                if faults.len() == list().len() {
                    return Err(faults.join("; "));
                }
            }
            "minimum" if value.as_f64().is_some_and(|number| number < bound()) => return refuse("is too small"),
            "exclusiveMinimum" if value.as_f64().is_some_and(|number| number <= bound()) => {
                return refuse("is too small");
            }
            "exclusiveMaximum" if value.as_f64().is_some_and(|number| number >= bound()) => {
                return refuse("is too large");
            }
            "minItems" if value.as_array().is_some_and(|all| (all.len() as f64) < bound()) => {
                return refuse("is too short");
            }
            "maxItems" if value.as_array().is_some_and(|all| all.len() as f64 > bound()) => {
                return refuse("is too long");
            }
            "minProperties" if value.as_object().is_some_and(|all| (all.len() as f64) < bound()) => {
                return refuse("has too few keys");
            }
            "maxProperties" if value.as_object().is_some_and(|all| all.len() as f64 > bound()) => {
                return refuse("has too many keys");
            }
            "minimum" | "exclusiveMinimum" | "exclusiveMaximum" => {}
            "minItems" | "maxItems" | "minProperties" | "maxProperties" => {}
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| allows(root, argument, item))?;
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                list().iter().zip(items).try_for_each(|(schema, item)| allows(root, schema, item))?;
            }
            "required" => {
                if let (Some(object), Some(missing)) =
                    (value.as_object(), list().iter().find(|key| value.get(key.as_str().expect("a key")).is_none()))
                {
                    return Err(format!("{object:?} lacks {missing}"));
                }
            }
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = argument.get(key) {
                        allows(root, schema, inner).map_err(|fault| format!("{key}: {fault}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Json::as_object);
                for (key, inner) in value.as_object().into_iter().flatten() {
                    match argument {
                        _ if known.is_some_and(|known| known.contains_key(key)) => {}
                        Json::Bool(false) => return Err(format!("{key:?} is unknown")),
                        other => allows(root, other, inner)?,
                    }
                }
            }
            "propertyNames" => {
                assert_eq!(*argument, json!({ "pattern": "^[A-Za-z0-9_-]+$" }));
                let plain = |name: &String| {
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
                };
                if let Some(name) = value.as_object().into_iter().flat_map(|all| all.keys()).find(|name| !plain(name)) {
                    return Err(format!("{name:?} is no name"));
                }
            }
            other => panic!("the check does not know the word {other:?}"),
        }
    }
    Ok(())
}

/// What the schema says of a model file.
fn judge(text: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().expect("TOML");
    let schema = ModelSpec::schema();
    allows(&schema, &schema, &serde_json::to_value(table).expect("JSON"))
}

fn read(text: &str) -> Result<ModelSpec, String> {
    ModelSpec::parse(text, Path::new("m.toml")).map_err(|error| error.to_string())
}

/// Every model file that stands in the repository, and all that specs write.
fn good_files() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models");
    let files = std::fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    let mut texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).expect("a file")).collect();
    assert!(texts.len() >= 5);
    let pages = [include_str!("../../../README.md"), include_str!("../../../src/model/README.md")].into_iter();
    let blocks = pages.flat_map(|page| page.split("```toml\n").skip(1));
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    texts.extend(blocks.filter(|block| block.contains("encoder")));
    texts.extend([SMALL_CONV, SMALL_DENSE].map(str::to_owned));
    let short = "{ leaky_relu = 0.2 }, { prelu = true }, { hardtanh = [-2, 2.5] }, { softmax = -1 }, { layer_norm = 1 }, { glu = 0 }";
    texts.push(SMALL_DENSE.replace("[{ linear = 24 }, \"relu\"", &format!("[{{ linear = 24 }}, {short}")));
    for preset in ["conv", "dense"] {
        texts.push(ModelSpec::resolve(preset).expect("a preset").to_toml());
    }
    let mut all = ModelSpec::resolve("conv").expect("a preset");
    all.data.augment.shift = 2;
    all.data.augment.rotate = 10.0;
    for optimizer in Optimizer::ALL.map(OptimizerSpec::new) {
        all.train.optimizer = optimizer;
        texts.push(all.to_toml());
    }
    for schedule in Schedule::all() {
        all.train.schedule = schedule;
        texts.push(all.to_toml());
    }
    for loss in LossKind::all() {
        all.loss = loss.into();
        texts.push(all.to_toml());
    }
    texts
}

#[test]
fn every_model_file_is_what_the_schema_allows() {
    for text in good_files() {
        judge(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    }
}

#[test]
fn every_layer_is_what_the_schema_allows() {
    let schema = ModelSpec::schema();
    let layer = &schema["$defs"]["layer"];
    let value = |text: &str| serde_json::to_value(text.parse::<toml::Value>().expect("TOML")).expect("JSON");
    let cases = ["layer_cases.json", "ported_cases.json"].into_iter().flat_map(|name| {
        let cases = json(&fixture(name))["cases"].as_array().expect("cases").clone();
        cases.into_iter().map(|case| case["layer"].as_str().expect("a layer").to_owned())
    });
    let cases = cases.chain(["{ conv1d = { out = 2, kernel = 3, padding = \"valid\" } }".to_owned()]);
    let templates = Layer::templates().into_iter().flat_map(|layer| [layer.to_string(), format!("{layer:#}")]);
    let mut seen = 0;
    for text in cases.chain(templates) {
        allows(&schema, layer, &value(&text)).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        seen += 1;
    }
    assert!(seen > 60, "{seen} layers");
}

/// A model file with a part of it replaced.
fn with(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    FILE.replacen(from, to, 1)
}

const FILE: &str = r#"
input = [1, 8, 8]
loss = "mse"
encoder = [{ conv2d = { out = 2, kernel = 3 } }, "relu", "flatten", { block = "code" }]
decoder = [{ linear = 64 }, { leaky_relu = { slope = 0.1 } }, { residual = [{ linear = 64 }] }]
[blocks]
code = [{ linear = { out = 4, bias = false } }]
[data]
augment = { shift = 1 }
[train]
batch = 8
optimizer = { adam = { lr = 0.01 } }
early_stopping = { patience = 2 }
layers = [{ name = "encoder.0", lr = 0.1 }]
"#;

#[test]
fn what_the_reader_refuses_for_a_key_or_a_type_the_schema_refuses_too() {
    read(FILE).expect("the file itself");
    judge(FILE).expect("the file itself");
    for (from, to) in [
        // Unknown keys, at every depth.
        ("input = ", "inputs = [1]\ninput = "),
        ("shift = 1", "shift = 1, shear = 2"),
        ("augment = ", "size = 3\naugment = "),
        ("batch = 8", "bacth = 8"),
        ("lr = 0.01", "rate = 0.01"),
        ("patience = 2", "patience = 2, delta = 1"),
        ("lr = 0.1 }", "lr = 0.1, l3 = 1 }"),
        ("kernel = 3", "kernel = 3, size = 2"),
        ("slope = 0.1", "alpha = 0.1"),
        ("bias = false", "biased = false"),
        ("{ residual = [{ linear = 64 }] }", "{ residual = { body = [{ linear = 64 }], tail = [] } }"),
        // Unknown names.
        ("\"mse\"", "\"mee\""),
        ("\"mse\"", "{ mse = 0.5, mee = 0.5 }"),
        ("\"relu\"", "\"rleu\""),
        ("\"relu\"", "{ rleu = {} }"),
        ("adam", "adamm"),
        ("batch = 8", "batch = 8\nschedule = \"cosin\""),
        ("batch = 8", "batch = 8\nnon_finite = \"go\""),
        ("augment = ", "fit = \"cut\"\naugment = "),
        // Missing keys.
        ("loss = \"mse\"\n", ""),
        ("out = 2, ", ""),
        ("{ conv2d = { out = 2, kernel = 3 } }", "\"conv2d\""),
        ("patience = 2", ""),
        ("name = \"encoder.0\", ", ""),
        // Other types.
        ("[1, 8, 8]", "64"),
        ("[1, 8, 8]", "[1, 8, \"8\"]"),
        ("batch = 8", "batch = \"8\""),
        ("batch = 8", "batch = 8.5"),
        ("batch = 8", "batch = -8"),
        ("batch = 8", "batch = 8\nshuffle = 1"),
        ("batch = 8", "batch = 8\nclip_norm = true"),
        ("batch = 8", "batch = 8\nclip_norm = \"none\""),
        ("{ adam = { lr = 0.01 } }", "{ adam = 0.1 }"),
        ("kernel = 3", "kernel = [3, 3, 3]"),
        ("\"relu\"", "{ relu = {} }"),
        ("\"relu\"", "7"),
        ("lr = 0.01", "betas = [0.9]"),
        ("lr = 0.01", "amsgrad = 1"),
        ("batch = 8", "batch = 8\nschedule = { multi_step = { milestones = 3 } }"),
        ("\"relu\"", "{ hardtanh = [1] }"),
        ("\"relu\"", "{ leaky_relu = true }"),
        ("\"relu\"", "{ softmax = 0.5 }"),
        ("{ linear = 64 }, {", "{ linear = 64, relu = 1 }, {"),
        ("\"mse\"", "{}"),
        ("\"mse\"", "{ huber = { delta = \"1\" } }"),
        ("bias = false", "bias = 0"),
        // Numbers out of simple bounds.
        ("batch = 8", "batch = 0"),
        ("batch = 8", "batch = 8\nema = 1.0"),
        ("batch = 8", "batch = 8\nclip_value = 0"),
        ("lr = 0.01", "lr = -0.01"),
        ("\"mse\"", "{ mse = 0 }"),
        ("code = ", "\"a b\" = [\"relu\"]\ncode = "),
    ] {
        let text = with(from, to);
        assert!(read(&text).is_err(), "the reader takes {to}");
        assert!(judge(&text).is_err(), "the schema allows {to}");
    }
}

/// An editor that completes what the schema says must not lead to what the reader refuses.
#[test]
fn defaults_of_the_schema_are_the_reader_s() {
    let schema = ModelSpec::schema();
    let train = &schema["properties"]["train"]["properties"];
    let mut text = FILE.split("[train]").next().expect("a file").to_owned() + "[train]\n";
    for (key, property) in train.as_object().expect("keys") {
        let default = &property["default"];
        assert!(property["description"].as_str().is_some_and(|about| about.len() > 10), "{key}");
        let value: toml::Value =
            serde_json::from_value(default.clone()).unwrap_or_else(|error| panic!("{key}: {error}"));
        text += &format!("{key} = {value}\n");
    }
    let without = FILE.split("[train]").next().expect("a file");
    assert_eq!(read(&text).expect("the defaults"), read(without).expect("no [train]"));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn search_spaces_have_a_schema_too() {
    let text = "model = \"dense\"\ndata = \"digits\"\nmethod = \"random\"\ntrials = 3\nhalving = { eta = 2 }\n[space]\n\
                \"train.batch\" = [8, 16]\n\"encoder.0.linear.out\" = { whole = [4, 9] }\n\
                \"train.optimizer.adam.lr\" = { log = [1e-4, 1e-2], points = 3 }\n";
    let schema = SearchSpec::schema();
    let judge = |text: &str| {
        let table: toml::Table = text.parse().expect("TOML");
        allows(&schema, &schema, &serde_json::to_value(table).expect("JSON"))
    };
    for good in [text, include_str!("../../../examples/space.toml")] {
        judge(good).unwrap_or_else(|why| panic!("{why}"));
    }
    for (from, to) in [
        ("model = \"dense\"\n", ""),
        ("\"random\"", "\"bayes\""),
        ("trials = 3", "trials = 0"),
        ("eta = 2", "eta = 0"),
        ("whole = [4, 9]", "whole = [4]"),
        ("log = [1e-4, 1e-2]", "lgo = [1e-4, 1e-2]"),
        ("[8, 16]", "[]"),
        ("[8, 16]", "8"),
    ] {
        assert!(text.contains(from));
        assert!(judge(&text.replace(from, to)).is_err(), "the schema allows {to}");
    }
}

/// What `pinhole init` writes above a key, and the schema's description, name all that a file may choose there.
#[test]
fn names_in_descriptions_are_those_that_files_may_have() {
    let schema = ModelSpec::schema();
    let [top, train] = ModelSpec::keys();
    let cases = [
        ("loss", LossKind::all().iter().map(LossKind::name).collect::<Vec<_>>()),
        ("latent", LatentSpec::all().iter().map(LatentSpec::name).collect()),
        ("corruption", Corruption::all().iter().map(Corruption::name).collect()),
        ("condition", Condition::all().iter().map(Condition::name).collect()),
        ("initializer", Initializer::ALL.map(Initializer::name).to_vec()),
        ("optimizer", Optimizer::ALL.iter().map(Optimizer::name).collect()),
        ("schedule", Schedule::all().iter().map(Schedule::name).collect()),
    ];
    let printed = Place::new().ok("init vae").stdout;
    for (key, names) in cases {
        let (_, about) = top.iter().chain(&train).find(|(known, _)| *known == key).expect(key);
        let words: Vec<&str> = about.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for name in names {
            assert!(words.contains(&name), "{key} does not name {name}: {about}");
        }
        let described = schema.pointer(&format!("/properties/{key}/description"));
        let described = described.or(schema.pointer(&format!("/properties/train/properties/{key}/description")));
        assert_eq!(described.expect(key), about);
        let is_written = printed.lines().any(|line| line.starts_with(&format!("{key} = ")));
        assert!(is_written || ["corruption", "condition"].contains(&key), "{key}");
        assert_eq!(printed.contains(&format!("# {about}\n")), is_written, "{key}");
    }
}

/// The check above can fail.
#[test]
fn the_check_refuses_what_a_schema_refuses() {
    for (schema, good, bad) in [
        (json!({ "type": "integer" }), json!(3), json!(3.5)),
        (json!({ "enum": ["a"] }), json!("a"), json!("b")),
        (json!({ "anyOf": [{ "const": false }, { "type": "number", "exclusiveMinimum": 0 }] }), json!(1), json!(true)),
        (json!({ "properties": { "a": { "minimum": 1 } }, "required": ["a"] }), json!({ "a": 1 }), json!({ "b": 1 })),
        (json!({ "properties": { "a": {} }, "additionalProperties": false }), json!({ "a": 1 }), json!({ "b": 1 })),
        (json!({ "items": { "type": "string" }, "minItems": 1 }), json!(["x"]), json!([])),
        (json!({ "maxProperties": 1 }), json!({}), json!({ "a": 1, "b": 2 })),
    ] {
        allows(&schema, &schema, &good).expect("what it allows");
        allows(&schema, &schema, &bad).expect_err("what it refuses");
    }
}
