//! A value of a TOML file with the path of its key, and its error messages.

use crate::shape::Shape;
use crate::suggest::suggest;
use toml::{Table, Value};

/// An error in a file.
pub(crate) struct Fault {
    /// The key whose line the message gives: an unknown key itself, else equal to `key`.
    pub(crate) at: String,
    /// Path of the faulty value, empty for the whole file.
    pub(crate) key: String,
    pub(crate) problem: String,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(key: &str, problem: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { at: key.to_owned(), key: key.to_owned(), problem: problem.into(), help: help.into() }
    }
}

/// A value with the path of its key.
pub(crate) struct Item<'a> {
    pub(crate) key: String,
    pub(crate) value: &'a Value,
}

/// A table whose keys are all known.
pub(crate) struct Keys<'a> {
    key: String,
    table: &'a Table,
}

impl<'a> Item<'a> {
    pub(crate) fn wrong<T>(&self, expected: &str, help: &str) -> Result<T, Fault> {
        Err(Fault::new(&self.key, format!("expects {expected}, got {}", shown(self.value)), help))
    }

    pub(crate) fn whole<T: TryFrom<i64>>(&self) -> Result<T, Fault> {
        match self.value {
            Value::Integer(number) => T::try_from(*number).map_err(|_| {
                Fault::new(&self.key, format!("must not be negative, got {number}"), "use a positive number")
            }),
            _ => self.wrong("a whole number", "write 3, say"),
        }
    }

    /// Index of an axis, from the first, or from behind the last where it is negative.
    pub(crate) fn axis(&self) -> Result<isize, Fault> {
        match self.value.as_integer().map(isize::try_from) {
            Some(Ok(number)) => Ok(number),
            _ => self.wrong("a whole number", "write 0 for the first axis or -1 for the last, say"),
        }
    }

    pub(crate) fn number(&self) -> Result<f64, Fault> {
        match self.value {
            Value::Float(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as f64),
            _ => self.wrong("a number", "write 0.01, say"),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, Fault> {
        self.value.as_bool().map_or_else(|| self.wrong("true or false", "write one of them, without quotes"), Ok)
    }

    /// Whether the value is false, which disables an optional setting.
    pub(crate) fn is_false(&self) -> bool {
        self.value.as_bool() == Some(false)
    }

    pub(crate) fn text(&self, expected: &str, help: &str) -> Result<String, Fault> {
        self.value.as_str().map_or_else(|| self.wrong(expected, help), |text| Ok(text.to_owned()))
    }

    pub(crate) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The value as TOML.
    pub(crate) fn toml(&self) -> String {
        self.value.to_string()
    }

    /// The entries of a table.
    pub(crate) fn as_table(&self) -> Option<Vec<(&'a str, Item<'a>)>> {
        let entry = |(name, value): (&'a String, &'a Value)| {
            (name.as_str(), Item { key: format!("{}.{name}", self.key), value })
        };
        self.value.as_table().map(|table| table.iter().map(entry).collect())
    }

    /// The items of a list.
    pub(crate) fn list(&self, expected: &str, help: &str) -> Result<Vec<Item<'a>>, Fault> {
        let Value::Array(values) = self.value else { return self.wrong(expected, help) };
        Ok(values.iter().enumerate().map(|(i, value)| Item { key: format!("{}.{i}", self.key), value }).collect())
    }

    pub(crate) fn shape(&self) -> Result<Shape, Fault> {
        self.list("a list of sizes", "write [1, 28, 28], say")?.iter().map(Item::whole).collect()
    }

    /// Reads one number for all axes, or a list of one for each.
    pub(crate) fn sides(&self, sides: &mut [usize]) -> Result<(), Fault> {
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

    pub(crate) fn keys(&self, known: &[&str]) -> Result<Keys<'a>, Fault> {
        let Value::Table(table) = self.value else {
            return self.wrong("a table", &format!("write {{ {} = .. }}", known[0]));
        };
        known_keys(&self.key, table, known)
    }

    /// Reads `"name"`, or `{ name = settings }`.
    pub(crate) fn choice(&self, expected: &str, known: &[&str]) -> Result<(&'a str, Option<Item<'a>>), Fault> {
        let (name, settings) = match self.value {
            Value::String(name) => (name, None),
            Value::Table(table) => match (table.iter().next(), table.len()) {
                (Some((name, value)), 1) => (name, Some(Item { key: format!("{}.{name}", self.key), value })),
                (_, count) => {
                    let keys: Vec<String> = table.keys().map(|key| format!("{key:?}")).collect();
                    let problem = format!("expects one {expected}, got a table of {count} ({})", keys.join(", "));
                    return Err(Fault::new(&self.key, problem, "write { name = { settings } } or \"name\""));
                }
            },
            _ => {
                let expected = format!("the name of a {expected}, or a table");
                return self.wrong(&expected, &format!("known are {}", known.join(", ")));
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
    pub(crate) fn get(&self, name: &str) -> Option<Item<'a>> {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        self.table.get(name).map(|value| Item { key, value })
    }

    /// The error about a missing key.
    pub(crate) fn missing(&self, name: &str, example: &str) -> Fault {
        Fault::new(&self.key, format!("missing key {name:?}"), format!("write {name} = {example}"))
    }
}

/// Checks that all keys of a table are known; fails with the first that is not.
pub(crate) fn known_keys<'a>(key: &str, table: &'a Table, known: &[&str]) -> Result<Keys<'a>, Fault> {
    let Some(unknown) = table.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(Keys { key: key.to_owned(), table });
    };
    let help = suggest(unknown, known.iter().copied());
    let at = if key.is_empty() { unknown.clone() } else { format!("{key}.{unknown}") };
    Err(Fault { at, ..Fault::new(key, format!("unknown key {unknown:?}"), help) })
}

/// Formats a value for an error message, on one line and abbreviated.
pub(crate) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Table(_) => return "a table".to_owned(),
        _ => value.to_string(),
    };
    if text.len() <= 40 && !text.contains('\n') { text } else { format!("a long {}", value.type_str()) }
}
