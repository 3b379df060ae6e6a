//! Model files: reading them, and changing single keys.

use super::config::ModelSpec;
use super::extensions::Extensions;
use crate::error::{Error, Result};
use crate::schema::{Fault, located, parse_table, read_text, shown};
use crate::suggest::suggest;
use std::path::Path;
use toml::Value;

impl ModelSpec {
    /// Parses and validates a model file's text. `path` is for the messages.
    pub fn parse(text: &str, path: &Path) -> Result<ModelSpec> {
        ModelSpec::parse_with(text, path, &Extensions::new())
    }

    /// [`parse`](ModelSpec::parse) for models with custom losses and layers.
    pub fn parse_with(text: &str, path: &Path, extensions: &Extensions) -> Result<ModelSpec> {
        let table = parse_table(text, path)?;
        let located = |at: &str, what: &str, problem: &str, help| located(text, path, [at, what], problem, help);
        let mut spec = ModelSpec::from_table(&table)
            .map_err(|fault| located(&fault.at, &fault.key, &fault.problem, fault.help))?;
        extensions.resolve(&mut spec);
        match spec.validate() {
            Ok(_) => Ok(spec),
            Err(Error::Invalid { what, problem, help }) => Err(located(&what, &what, &problem, help)),
            Err(other) => Err(other),
        }
    }

    /// Reads and validates a model file.
    pub fn read(path: &Path) -> Result<ModelSpec> {
        ModelSpec::read_with(path, &Extensions::new())
    }

    /// [`read`](ModelSpec::read) for models with custom losses and layers.
    pub fn read_with(path: &Path, extensions: &Extensions) -> Result<ModelSpec> {
        let text = &read_text(path, "a model")?;
        ModelSpec::parse_with(text, path, extensions)
    }

    /// Sets one key, given as `key=value` with the key's path from the top of the file, as in `train.batch=64`,
    /// `encoder.0.conv2d.out=32` or `loss=bce`. The value is TOML, or a bare word for a string. Call
    /// [`validate`](ModelSpec::validate) after the last change, since a single one may leave shapes that disagree.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let shown = format!("--set {}", assignment.replace('\n', " "));
        let fail = |problem: String, help: String| Error::invalid(&*shown, problem, help);
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            return Err(fail("there is no value".to_owned(), "write key=value, as in train.batch=64".to_owned()));
        }
        let is_word = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains(['"', '\n']);
        let value = match value.parse::<Value>() {
            Ok(value) => value,
            Err(_) if is_word(value) => Value::String(value.to_owned()),
            Err(error) => {
                let problem = error.message().lines().collect::<Vec<_>>().join(", ");
                return Err(fail(problem, "write the value as in a model file".to_owned()));
            }
        };
        let change = || -> Result<ModelSpec, Fault> {
            let text = self.write(true);
            let mut model = text.parse().map(Value::Table).map_err(|error: toml::de::Error| {
                Fault::new("", format!("the model cannot be written: {}", error.message()), "check its numbers")
            })?;
            *find(&mut model, key)? = value;
            model.as_table().map_or_else(|| Err(Fault::new(key, "is no key", "name one")), ModelSpec::from_table)
        };
        let own = Extensions::of(self);
        *self = change().map_err(|fault| {
            // The argument already names the key, unless the fault lies deeper.
            let place = if fault.key.is_empty() || fault.key == key { String::new() } else { fault.key + ": " };
            fail(format!("{place}{}", fault.problem), fault.help)
        })?;
        own.resolve(self);
        Ok(())
    }
}

/// Finds the value at a key's path in a model whose keys are all written out.
fn find<'a>(model: &'a mut Value, key: &str) -> Result<&'a mut Value, Fault> {
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
                    // Layers and optimisers are tables of one key, their kind.
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
