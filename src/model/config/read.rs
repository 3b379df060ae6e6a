//! From the TOML tree to a spec, by hand: every fault names a key's path.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Value as Json, json};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::columns::{Text, Texts};
use super::settings::{Chosen, Field, Inner, List, OneOf, Part, Setting as Held, Table as Fields, read_fields};
use super::{
    Augment, Binarise, Condition, Corruption, DataSpec, Flip, LatentSpec, LossKind, ModelSpec, Penalties, TrainSpec,
    schema,
};
use crate::data::pictures::Fit;
use crate::error::{Error, suggest};
use crate::nn::{Blocks, Layer, Setting, short_form};
use crate::shape::Shape;

/// What is wrong in a model file.
pub(super) struct Fault {
    /// The key whose line is meant: an unknown key itself, else the same as `key`.
    pub(super) at: String,
    /// The path of the value that is wrong, empty for the whole file.
    pub(super) key: String,
    pub(super) problem: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(key: &str, problem: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { at: key.to_owned(), key: key.to_owned(), problem: problem.into(), help: help.into() }
    }
}

/// A value and the path of its key.
pub(super) struct Item<'a> {
    pub(super) key: String,
    value: &'a Value,
}

/// A table whose keys are all known.
pub(super) struct Keys<'a> {
    key: String,
    table: &'a Table,
}

impl<'a> Item<'a> {
    pub(super) fn wrong<T>(&self, expected: &str, help: &str) -> Result<T, Fault> {
        Err(Fault::new(&self.key, format!("expects {expected}, got {}", shown(self.value)), help))
    }

    pub(super) fn whole<T: TryFrom<i64>>(&self) -> Result<T, Fault> {
        match self.value {
            Value::Integer(number) => T::try_from(*number).map_err(|_| {
                Fault::new(&self.key, format!("must not be negative, got {number}"), "use a positive number")
            }),
            _ => self.wrong("a whole number", "write 3, say"),
        }
    }

    /// The place of an axis, from the first on or, where it is negative, from behind the last.
    fn axis(&self) -> Result<isize, Fault> {
        match self.value.as_integer().map(isize::try_from) {
            Some(Ok(number)) => Ok(number),
            _ => self.wrong("a whole number", "write 0 for the first axis or -1 for the last, say"),
        }
    }

    pub(super) fn number(&self) -> Result<f64, Fault> {
        match self.value {
            Value::Float(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as f64),
            _ => self.wrong("a number", "write 0.01, say"),
        }
    }

    pub(super) fn flag(&self) -> Result<bool, Fault> {
        self.value.as_bool().map_or_else(|| self.wrong("true or false", "write one of them, without quotes"), Ok)
    }

    /// Whether it says that there is none of an optional thing.
    pub(super) fn is_false(&self) -> bool {
        self.value.as_bool() == Some(false)
    }

    pub(super) fn text(&self, expected: &str, help: &str) -> Result<String, Fault> {
        self.value.as_str().map_or_else(|| self.wrong(expected, help), |text| Ok(text.to_owned()))
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The value as TOML.
    pub(super) fn toml(&self) -> String {
        self.value.to_string()
    }

    /// The entries of a table.
    pub(super) fn as_table(&self) -> Option<Vec<(&'a str, Item<'a>)>> {
        let entry = |(name, value): (&'a String, &'a Value)| {
            (name.as_str(), Item { key: format!("{}.{name}", self.key), value })
        };
        self.value.as_table().map(|table| table.iter().map(entry).collect())
    }

    /// The items of a list.
    pub(super) fn list(&self, expected: &str, help: &str) -> Result<Vec<Item<'a>>, Fault> {
        let Value::Array(values) = self.value else { return self.wrong(expected, help) };
        Ok(values.iter().enumerate().map(|(i, value)| Item { key: format!("{}.{i}", self.key), value }).collect())
    }

    fn shape(&self) -> Result<Shape, Fault> {
        self.list("a list of sizes", "write [1, 28, 28], say")?.iter().map(Item::whole).collect()
    }

    /// One number for every axis, or a list of one for each.
    fn sides(&self, sides: &mut [usize]) -> Result<(), Fault> {
        if !self.value.is_array() {
            sides.fill(self.whole()?);
            return Ok(());
        }
        let sizes = self.shape()?;
        if sizes.len() != sides.len() {
            return match sides.len() {
                1 => self.wrong("a whole number", "write 3, say"),
                _ => self.wrong("one or two whole numbers", "write 3 or [3, 5]"),
            };
        }
        sides.copy_from_slice(&sizes);
        Ok(())
    }

    /// One of some names.
    pub(super) fn one_of<T: Copy>(&self, what: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, Fault> {
        let names: Vec<&str> = all.iter().map(|known| name(*known)).collect();
        let help = format!("known are {}", names.join(", "));
        let Value::String(given) = self.value else { return self.wrong(&format!("the name of a {what}"), &help) };
        let found = all.iter().copied().find(|known| name(*known) == given);
        found.ok_or_else(|| Fault::new(&self.key, format!("unknown {what} {given:?}"), help))
    }

    pub(super) fn keys(&self, known: &[&str]) -> Result<Keys<'a>, Fault> {
        let Value::Table(table) = self.value else {
            return self.wrong("a table", &format!("write {{ {} = .. }}", known[0]));
        };
        known_keys(&self.key, table, known)
    }

    /// `"name"`, or `{ name = settings }`.
    pub(super) fn choice(&self, expected: &str, known: &[&str]) -> Result<(&'a str, Option<Item<'a>>), Fault> {
        let (name, settings) = match self.value {
            Value::String(name) => (name, None),
            Value::Table(table) => match table.iter().next() {
                Some((name, value)) if table.len() == 1 => {
                    (name, Some(Item { key: format!("{}.{name}", self.key), value }))
                }
                _ => {
                    let keys: Vec<String> = table.keys().map(|key| format!("{key:?}")).collect();
                    let problem =
                        format!("expects one {expected}, got a table of {} ({})", table.len(), keys.join(", "));
                    return Err(Fault::new(&self.key, problem, "write { name = { settings } } or \"name\""));
                }
            },
            _ => {
                return self.wrong(
                    &format!("the name of a {expected}, or a table"),
                    &format!("known are {}", known.join(", ")),
                );
            }
        };
        if !known.contains(&name.as_str()) {
            let help = suggest(name, known.iter().copied());
            return Err(Fault::new(&self.key, format!("unknown {expected} {name:?}"), help));
        }
        Ok((name, settings))
    }
}

impl<'a> Keys<'a> {
    pub(super) fn get(&self, name: &str) -> Option<Item<'a>> {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        self.table.get(name).map(|value| Item { key, value })
    }

    pub(super) fn need(&self, name: &str, example: &str) -> Result<Item<'a>, Fault> {
        let fault = || Fault::new(&self.key, format!("missing key {name:?}"), format!("write {name} = {example}"));
        self.get(name).ok_or_else(fault)
    }
}

/// The top of a model file.
impl Fields for ModelSpec {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let layers = "[{ linear = 32 }]";
        vec![
            Field::needed(
                "input",
                "[1, 28, 28]",
                "The shape of one sample: [channels, height, width], or [features].",
                Held::Part(Box::new(&mut self.input)),
            ),
            Field::needed(
                "loss",
                "\"mse\"",
                "What training makes small: mse, mae, huber, bce, cross_entropy, cosine, ssim, or { mse = 0.8, ssim = 0.2 }.",
                Held::Part(Box::new(&mut self.loss)),
            ),
            Field::optional(
                "corruption",
                "What is done to samples before the encoder sees them, for the model to undo: none, { gaussian = { level = 0.4 } }, salt_and_pepper or masking.",
                Held::Part(Box::new(Chosen(&mut self.corruption))),
            ),
            Field::optional(
                "condition",
                "What encoder and decoder are told about a sample: none; { labels = 10 }, its label; or { vector = 5 }, so many numbers.",
                Held::Part(Box::new(Chosen(&mut self.condition))),
            ),
            Field::needed(
                "encoder",
                layers,
                "From a sample to its code. All layers and their keys are in the README's table of layers.",
                Held::Part(Box::new(&mut self.encoder)),
            ),
            Field::optional(
                "latent",
                "What the code is: plain, the encoder's output; { gaussian = { size = 16 } }, a variational autoencoder's; or wasserstein.",
                Held::Part(Box::new(Chosen(&mut self.latent))),
            ),
            Field::needed(
                "decoder",
                layers,
                "From the code back to a sample.",
                Held::Part(Box::new(&mut self.decoder)),
            ),
            Field::optional(
                "penalties",
                "What training adds to the loss for the sake of the code: { contractive = { weight = 0.1 } } or { sparsity = { target = 0.05 } }.",
                Held::Part(Box::new(Inner(&mut self.penalties))),
            ),
            Field::optional(
                "blocks",
                "Lists of layers that { block = \"NAME\" } stands for.",
                Held::Part(Box::new(&mut self.blocks)),
            ),
            Field::optional(
                "data",
                "How data become samples of the model's input.",
                Held::Part(Box::new(Inner(&mut self.data))),
            ),
            Field::optional(
                "train",
                "How it is trained; each key can also be set by --set train.KEY=VALUE.",
                Held::Part(Box::new(Inner(&mut self.train))),
            ),
        ]
    }
}

/// The file's `[data]`.
impl Fields for DataSpec {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let binarise = OneOf {
            what: "way to make numbers 0 or 1",
            all: &Binarise::ALL,
            name: Binarise::name,
            value: &mut self.binarise,
        };
        let fit = OneOf { what: "way to fit pictures", all: &Fit::ALL, name: Fit::name, value: &mut self.fit };
        vec![
            Field::optional(
                "binarise",
                "Whether numbers become 0 or 1: none; threshold, from a half on; or stochastic, with the number as its probability.",
                Held::Part(Box::new(binarise)),
            ),
            Field::optional(
                "fit",
                "How pictures of other proportions come to the input's: the middle is cut out, or they are stretched or padded.",
                Held::Part(Box::new(fit)),
            ),
            Field::optional(
                "augment",
                "How samples are changed, anew for every step of training.",
                Held::Part(Box::new(Inner(&mut self.augment))),
            ),
            Field::optional(
                "sets_input",
                "Whether the data decides how many features the input has, and so how many the decoder's last linear layer gives.",
                Held::Flag(&mut self.sets_input),
            ),
            Field::optional(
                "columns",
                "The columns of a table, which the loss \"columns\" reconstructs; with sets_input, training adds what it finds.",
                Held::Part(Box::new(List {
                    list: &mut self.columns,
                    example: "write [{ name = \"work\", size = 4 }], say",
                })),
            ),
            Field::optional(
                "label",
                "The column of a CSV file that holds labels and is no part of samples: its name, or its number, counted from 1.",
                Held::Part(Box::new(Text(&mut self.label))),
            ),
            Field::optional(
                "classes",
                "The labels that a model with labels as its condition knows, where they are not 0, 1, 2 and so on; those that training finds, where not given.",
                Held::Part(Box::new(Texts(&mut self.classes))),
            ),
        ]
    }
}

impl Fields for Augment {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let flip = OneOf { what: "way to mirror pictures", all: &Flip::ALL, name: Flip::name, value: &mut self.flip };
        vec![
            Field::optional(
                "shift",
                "Pictures move by up to so many pixels in both directions.",
                Held::Whole(&mut self.shift),
            ),
            Field::optional("flip", "In which directions pictures are mirrored.", Held::Part(Box::new(flip))),
            Field::optional(
                "rotate",
                "Pictures are turned by up to so many degrees either way.",
                Held::NotNegative(&mut self.rotate),
            ),
        ]
    }
}

impl Part for &mut Shape {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        **self = item.shape()?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 1 } })
    }
}

impl Part for &mut Vec<Layer> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        **self = read_layers(item)?;
        Ok(())
    }

    fn text(&self) -> String {
        Setting::Layers(&mut self.to_vec()).text(false)
    }

    fn schema(&self) -> Json {
        schema::layers()
    }
}

impl Part for &mut Blocks {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let Some(table) = item.as_table() else {
            return item.wrong("a table", "write [blocks], and below it name = [..]");
        };
        **self = Blocks::new();
        for (name, item) in table {
            self.insert(name.to_owned(), read_layers(&item)?);
        }
        Ok(())
    }

    fn text(&self) -> String {
        let line = |(name, layers): (&String, &Vec<Layer>)| {
            format!("{name} = {}", Setting::Layers(&mut layers.clone()).text(false))
        };
        format!("{{ {} }}", self.iter().map(line).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> Json {
        let names = json!({ "pattern": "^[A-Za-z0-9_-]+$" });
        json!({ "type": "object", "propertyNames": names, "additionalProperties": schema::layers() })
    }
}

fn is_top_key(name: &str) -> bool {
    ModelSpec::blank().fields().iter().any(|field| field.key == name)
}

pub(super) fn known_keys<'a>(key: &str, table: &'a Table, known: &[&str]) -> Result<Keys<'a>, Fault> {
    let Some(unknown) = table.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(Keys { key: key.to_owned(), table });
    };
    // In TOML, whatever follows a [section] line belongs to the section.
    let help = match is_top_key(unknown) && ["train", "data", "blocks"].contains(&key) {
        true => format!("put it above the [{key}] line"),
        false => suggest(unknown, known.iter().copied()),
    };
    let at = if key.is_empty() { unknown.clone() } else { format!("{key}.{unknown}") };
    Err(Fault { at, ..Fault::new(key, format!("unknown key {unknown:?}"), help) })
}

pub(super) fn read_model(table: &Table) -> Result<ModelSpec, Fault> {
    if table.is_empty() {
        return Err(Fault::new("", "the file is empty", "a model has input, loss, encoder, decoder and [train]"));
    }
    let mut spec = ModelSpec::blank();
    let fields = spec.fields();
    let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
    read_fields(&known_keys("", table, &known)?, fields)?;
    Ok(spec)
}

impl ModelSpec {
    /// A spec with nothing in it but defaults.
    pub(super) fn blank() -> ModelSpec {
        ModelSpec {
            input: Shape::default(),
            loss: LossKind::Mse.into(),
            corruption: Corruption::None,
            condition: Condition::None,
            encoder: vec![],
            latent: LatentSpec::Plain,
            decoder: vec![],
            penalties: Penalties::default(),
            data: DataSpec::default(),
            blocks: Blocks::new(),
            train: TrainSpec::default(),
        }
    }
}

fn read_layers(item: &Item) -> Result<Vec<Layer>, Fault> {
    item.list("a list of layers", "write [{ linear = 32 }, \"relu\"], say")?.iter().map(read_layer).collect()
}

/// A layer as a model file has it: the inverse of its `Display`.
impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layer, Error> {
        let value = text.parse::<Value>().map_err(|error: toml::de::Error| {
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::invalid("layer", problem, "write it as in a model file, such as { linear = 32 } or \"relu\"")
        })?;
        read_layer(&Item { key: "layer".to_owned(), value: &value })
            .map_err(|fault| Error::invalid(fault.key, fault.problem, fault.help))
    }
}

fn read_layer(item: &Item) -> Result<Layer, Fault> {
    let templates = Layer::templates();
    let names: Vec<&str> = templates.iter().map(Layer::name).collect();
    let (name, settings) = item.choice("layer", &names)?;
    let Some(mut layer) = templates.into_iter().find(|layer| layer.name() == name) else {
        return item.wrong("the name of a layer", "choose another");
    };
    let example = format!("write {layer}, say");
    let mut keys = layer.keys();
    let short = short_form(&keys);
    let Some(item) = settings else {
        return match keys.iter().any(|key| key.needed) {
            true => Err(Fault::new(&item.key, format!("{name:?} alone lacks its sizes"), example)),
            false => Ok(layer),
        };
    };
    match (&mut keys[..], short) {
        ([], _) => return Err(Fault::new(&item.key, "takes no settings", format!("write {name:?}"))),
        ([only], 1) if only.needed => read_setting(&item, &mut only.setting)?,
        ([first, ..], 1) if !item.value.is_table() => read_setting(&item, &mut first.setting)?,
        (keys, 2..) if !item.value.is_table() => {
            let expected = format!("a table, or a list of {short} numbers");
            let texts: Vec<String> = keys[..short].iter().map(|key| key.setting.text(false)).collect();
            let help = format!("write {{ {name} = [{}] }}, say", texts.join(", "));
            let items = item.list(&expected, &help)?;
            if items.len() != short {
                return item.wrong(&expected, &help);
            }
            for (key, item) in keys.iter_mut().zip(&items) {
                read_setting(item, &mut key.setting)?;
            }
        }
        (keys, _) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            let table = item.keys(&names)?;
            for key in keys {
                // The template's value is the example, and where the key may be left out, its default.
                match table.get(key.name) {
                    Some(item) => read_setting(&item, &mut key.setting)?,
                    None if key.needed => table.need(key.name, &key.setting.text(false)).map(|_| ())?,
                    None => {}
                }
            }
        }
    }
    Ok(layer)
}

fn read_setting(item: &Item, setting: &mut Setting) -> Result<(), Fault> {
    match setting {
        Setting::Whole(value) => **value = item.whole()?,
        Setting::Axis(value) => **value = item.axis()?,
        Setting::Sides(value) => item.sides(value)?,
        Setting::Padding(value, same) => match item.as_text() {
            None => {
                **same = false;
                item.sides(value)?;
            }
            Some(word @ ("same" | "valid")) => {
                **same = word == "same";
                value.fill(0);
            }
            Some(_) => return item.wrong("whole numbers, \"same\" or \"valid\"", "write 1 or \"same\", say"),
        },
        Setting::Number(value) => **value = item.number()?,
        Setting::Flag(value) => **value = item.flag()?,
        Setting::Sizes(value) => **value = item.shape()?,
        Setting::Layers(value) => **value = read_layers(item)?,
        Setting::Word(value) => match item.value {
            Value::String(word) => **value = word.clone(),
            _ => return item.wrong("a name", &format!("write {value:?}, say")),
        },
    }
    Ok(())
}

/// The value at a key's path, where every key that there is has been written out.
pub(super) fn find<'a>(model: &'a mut Value, key: &str) -> Result<&'a mut Value, Fault> {
    let mut value = model;
    let mut path: Vec<&str> = Vec::new();
    for part in key.split('.') {
        let parent = path.join(".");
        path.push(part);
        value = match value {
            Value::Table(table) => {
                let known: Vec<String> = table.keys().cloned().collect();
                let inner = parent.rsplit('.').next().unwrap_or_default();
                let help = match inner.parse::<usize>().is_ok() || inner == "optimizer" {
                    // Layers and optimisers are tables of one key, which says of what kind they are.
                    true => format!("it is {}; write {parent}=.. to replace it", known.join(", ")),
                    false => suggest(part, known.iter().map(String::as_str)),
                };
                table.get_mut(part).ok_or_else(|| Fault::new(&parent, format!("unknown key {part:?}"), help))?
            }
            Value::Array(list) => {
                let help = format!("there are {}, counted from 0", list.len());
                let entry = part.parse::<usize>().ok().and_then(|index| list.get_mut(index));
                entry.ok_or_else(|| Fault::new(&parent, format!("no entry {part:?}"), help))?
            }
            other => {
                let problem = format!("{} has no keys", shown(other));
                return Err(Fault::new(&parent, problem, format!("write {parent}=.. to replace it")));
            }
        };
    }
    Ok(value)
}

/// A value as an error message shows it, on one line and not too long.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Table(_) => return "a table".to_owned(),
        _ => value.to_string(),
    };
    if text.len() <= 40 && !text.contains('\n') { text } else { format!("a long {}", value.type_str()) }
}

/// The table that a file's text is. `path` is for the messages.
pub(super) fn parse_table(text: &str, path: &Path) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().and_then(|span| line_of(text, span.start));
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        Error::file(path, format!("{place}{problem}"), "see https://toml.io for the syntax")
    })
}

/// What is wrong in a file, with the line of the key `at` and the name of what is meant.
pub(super) fn located(text: &str, path: &Path, [at, what]: [&str; 2], problem: &str, help: String) -> Error {
    let line = line_of_key(text, at).map(|line| format!("line {line}"));
    let what = Some(what.to_owned()).filter(|what| !what.is_empty());
    let place = line.into_iter().chain(what).collect::<Vec<_>>().join(", ");
    let colon = if place.is_empty() { "" } else { ": " };
    Error::file(path, format!("{place}{colon}{problem}"), help)
}

fn line_of(text: &str, at: usize) -> Option<usize> {
    Some(1 + text.get(..at)?.matches('\n').count())
}

/// The line of a key, or of the innermost table or list around it that the text has.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let model = DeValue::Table(DeTable::parse(text).ok()?.into_inner());
    let (mut value, mut start) = (&model, None);
    let mut rest = key;
    while !rest.is_empty() {
        let (part, behind) = rest.split_once('.').unwrap_or((rest, ""));
        // The body of a residual connection may be written without its name.
        if part == "body" && matches!(value, DeValue::Array(_)) {
            rest = behind;
            continue;
        }
        let next = match value {
            // A key in quotes may hold dots; the longest one that fits is meant.
            DeValue::Table(table) => table
                .iter()
                .filter_map(|(name, value)| Some((name.span(), value, rest.strip_prefix(&**name.get_ref())?)))
                .filter(|(.., behind)| behind.is_empty() || behind.starts_with('.'))
                .min_by_key(|(.., behind)| behind.len())
                .map(|(span, value, behind)| (span, value, behind.trim_start_matches('.'))),
            DeValue::Array(list) => {
                part.parse::<usize>().ok().and_then(|index| list.get(index)).map(|value| (value.span(), value, behind))
            }
            _ => None,
        };
        let Some((span, inner, behind)) = next else { break };
        (value, start, rest) = (inner.get_ref(), Some(span.start), behind);
    }
    line_of(text, start?)
}
