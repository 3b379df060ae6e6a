//! What a model file may hold, told once: lists of keys, by which tables are read, written and described in the schema, and
//! things that are chosen by name and given settings, `{ adam = { lr = 1e-3 } }`.

use super::read::{Fault, Item, Keys};
use super::schema;
use crate::error::{Error, Result};
use serde_json::Value as Json;
use std::fmt::{self, Write as _};

/// A setting, by what it may hold.
pub(super) enum Setting<'a> {
    /// Any number.
    Number(&'a mut f64),
    /// A positive number.
    Positive(&'a mut f64),
    /// A number that is not negative.
    NotNegative(&'a mut f64),
    /// A number of at least 0 and less than 1.
    Fraction(&'a mut f64),
    /// Two such numbers.
    Fractions(&'a mut [f64; 2]),
    /// A whole number.
    Whole(&'a mut usize),
    /// A whole number of at least 1.
    Count(&'a mut usize),
    /// A list of one or more whole numbers of at least 1.
    Counts(&'a mut Vec<usize>),
    /// A whole number of 64 bits.
    Seed(&'a mut u64),
    /// True or false.
    Flag(&'a mut bool),
    /// A positive number, or false for none.
    PositiveOrFalse(&'a mut Option<f64>),
    /// A number of at least 0 and less than 1, or false for none.
    FractionOrFalse(&'a mut Option<f64>),
    /// A number that is not negative and that a file leaves out where there is none.
    Maybe(&'a mut Option<f64>),
    /// True or false, which a file leaves out where neither is said.
    MaybeFlag(&'a mut Option<bool>),
    /// More than a number.
    Part(Box<dyn Part + 'a>),
}

/// A value of a model file that has rules of its own.
pub(super) trait Part {
    /// Takes what a file says.
    fn read(&mut self, item: &Item) -> Result<(), Fault>;
    /// The value as a model file has it.
    fn text(&self) -> String;
    /// The JSON Schema of all that [`Part::read`] takes.
    fn schema(&self) -> Json;
}

/// A key of a table.
pub(super) struct Field<'a> {
    pub key: &'static str,
    /// What it is about, in a sentence or two.
    pub about: &'static str,
    /// What a file that lacks the key is told to write; none where it may be left out.
    pub example: Option<&'static str>,
    pub setting: Setting<'a>,
}

impl<'a> Field<'a> {
    /// A key that every file gives.
    pub fn needed(key: &'static str, example: &'static str, about: &'static str, setting: Setting<'a>) -> Field<'a> {
        Field { key, about, example: Some(example), setting }
    }

    /// A key that has a default.
    pub fn optional(key: &'static str, about: &'static str, setting: Setting<'a>) -> Field<'a> {
        Field { key, about, example: None, setting }
    }
}

/// A table of a model file.
pub(super) trait Table {
    /// All its keys, in the order in which they are written.
    fn fields(&mut self) -> Vec<Field<'_>>;
}

/// Reads a table whose keys are all known.
pub(super) fn read_table(item: &Item, table: &mut dyn Table) -> Result<(), Fault> {
    let fields = table.fields();
    let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
    read_fields(&item.keys(&known)?, fields)
}

/// Reads the keys that are there, and fails where one is missing that is needed.
pub(super) fn read_fields(keys: &Keys, fields: Vec<Field>) -> Result<(), Fault> {
    let mut missing = None;
    for field in fields {
        match (keys.get(field.key), field.example) {
            (Some(item), _) => field.setting.read(&item)?,
            (None, Some(example)) => missing = missing.or(Some((field.key, example))),
            (None, None) => {}
        }
    }
    missing.map_or(Ok(()), |(key, example)| keys.need(key, example).map(|_| ()))
}

/// Writes `key = value` for every key, `between` after each but the last.
pub(super) fn write_table(table: &mut dyn Table, between: &str) -> String {
    let line = |field: Field| Some(format!("{} = {}", field.key, field.setting.text()?));
    table.fields().into_iter().filter_map(line).collect::<Vec<_>>().join(between)
}

impl Setting<'_> {
    fn read(self, item: &Item) -> Result<(), Fault> {
        match self {
            Setting::Number(number) => *number = item.number()?,
            Setting::Positive(number) | Setting::NotNegative(number) | Setting::Fraction(number) => {
                *number = item.number()?;
            }
            Setting::Fractions(pair) => {
                let (expected, help) = ("a list of two numbers", format!("write {pair:?}, say"));
                let [first, second] = &item.list(expected, &help)?[..] else { return item.wrong(expected, &help) };
                *pair = [first.number()?, second.number()?];
            }
            Setting::Whole(number) | Setting::Count(number) => *number = item.whole()?,
            Setting::Counts(numbers) => {
                let items = item.list("a list of whole numbers", "write [30, 80], say")?;
                *numbers = items.iter().map(Item::whole).collect::<Result<_, _>>()?;
            }
            Setting::Seed(number) => *number = item.whole()?,
            Setting::Flag(flag) => *flag = item.flag()?,
            Setting::PositiveOrFalse(number) | Setting::FractionOrFalse(number) => {
                *number = if item.is_false() { None } else { Some(item.number()?) };
            }
            Setting::Maybe(number) => *number = Some(item.number()?),
            Setting::MaybeFlag(flag) => *flag = Some(item.flag()?),
            Setting::Part(mut part) => part.read(item)?,
        }
        Ok(())
    }

    /// The value as a model file has it; none where a file leaves it out.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Setting::Number(number) => format!("{number:?}"),
            Setting::Positive(number) | Setting::NotNegative(number) | Setting::Fraction(number) => {
                format!("{number:?}")
            }
            Setting::Fractions(pair) => format!("{pair:?}"),
            Setting::Whole(number) | Setting::Count(number) => number.to_string(),
            Setting::Counts(numbers) => format!("{numbers:?}"),
            Setting::Seed(number) => number.to_string(),
            Setting::Flag(flag) => flag.to_string(),
            Setting::PositiveOrFalse(number) | Setting::FractionOrFalse(number) => {
                number.map_or("false".to_owned(), |number| format!("{number:?}"))
            }
            Setting::Maybe(number) => format!("{:?}", (**number)?),
            Setting::MaybeFlag(flag) => (**flag)?.to_string(),
            Setting::Part(part) => part.text(),
        })
    }
}

/// A table as the value of a key.
pub(super) struct Inner<'a, T>(pub &'a mut T);

impl<T: Table + Clone> Part for Inner<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        read_table(item, self.0)
    }

    fn text(&self) -> String {
        format!("{{ {} }}", write_table(&mut self.0.clone(), ", "))
    }

    fn schema(&self) -> Json {
        schema::table(&mut self.0.clone())
    }
}

/// A table, or false for none; one that is given begins with its defaults.
pub(super) struct OrFalse<'a, T>(pub &'a mut Option<T>);

impl<T: Table + Clone + Default> Part for OrFalse<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = None;
        if !item.is_false() {
            read_table(item, self.0.insert(T::default()))?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.clone().map_or("false".to_owned(), |mut table| Inner(&mut table).text())
    }

    fn schema(&self) -> Json {
        serde_json::json!({ "anyOf": [{ "const": false }, schema::table(&mut T::default())] })
    }
}

/// A list of tables.
pub(super) struct List<'a, T> {
    pub list: &'a mut Vec<T>,
    /// What a file that has something else is told to write.
    pub example: &'static str,
}

impl<T: Table + Clone + Default> Part for List<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let read = |item: &Item| {
            let mut table = T::default();
            read_table(item, &mut table).map(|()| table)
        };
        *self.list = item.list("a list", self.example)?.iter().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Each table without the keys that hold their defaults.
    fn text(&self) -> String {
        let mut default = T::default();
        let entry = |table: &T| {
            let mut table = table.clone();
            let fields = table.fields().into_iter().zip(default.fields());
            let given = fields.filter_map(|(field, default)| {
                let text = field.setting.text()?;
                let wanted = field.example.is_some() || Some(&text) != default.setting.text().as_ref();
                wanted.then(|| format!("{} = {text}", field.key))
            });
            format!("{{ {} }}", given.collect::<Vec<_>>().join(", "))
        };
        let all: Vec<String> = self.list.iter().map(entry).collect();
        format!("[{}]", all.join(", "))
    }

    fn schema(&self) -> Json {
        serde_json::json!({ "type": "array", "items": schema::table(&mut T::default()) })
    }
}

/// One of some names.
pub(super) struct OneOf<'a, T: 'static> {
    pub what: &'static str,
    pub all: &'static [T],
    pub name: fn(T) -> &'static str,
    pub value: &'a mut T,
}

impl<T: Copy> Part for OneOf<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.value = item.one_of(self.what, self.all, self.name)?;
        Ok(())
    }

    fn text(&self) -> String {
        format!("{:?}", (self.name)(*self.value))
    }

    fn schema(&self) -> Json {
        let names: Vec<&str> = self.all.iter().map(|known| (self.name)(*known)).collect();
        serde_json::json!({ "enum": names })
    }
}

/// A [`Choice`] as the value of a key.
pub(super) struct Chosen<'a, C>(pub &'a mut C);

impl<C: Choice + fmt::Display> Part for Chosen<'_, C> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = read(item)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn schema(&self) -> Json {
        schema::choice::<C>()
    }
}

/// Something with a name and settings.
pub(super) trait Choice: Clone + Sized {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// Whether a file may write the first setting alone: `{ name = value }`.
    const SHORT: bool = false;
    /// One of each kind, with its defaults.
    fn all() -> Vec<Self>;
    /// The name in a model file.
    fn name(&self) -> &'static str;
    /// Its settings by their keys.
    fn settings(&mut self) -> Vec<(&'static str, Setting<'_>)>;
}

/// What `"name"` or `{ name = { key = value } }` says, or `{ name = value }` where that is enough.
fn read<C: Choice>(item: &Item) -> Result<C, Fault> {
    let all = C::all();
    let names: Vec<&str> = all.iter().map(C::name).collect();
    let (name, settings) = item.choice(C::WHAT, &names)?;
    let found = all.into_iter().find(|known| known.name() == name);
    let Some(mut choice) = found else { return item.wrong(C::WHAT, &format!("known are {}", names.join(", "))) };
    let Some(item) = settings else { return Ok(choice) };
    let mut settings = choice.settings();
    let known: Vec<&str> = settings.iter().map(|(key, _)| *key).collect();
    if known.is_empty() {
        return Err(Fault::new(&item.key, "takes no settings", format!("write {name:?}")));
    }
    if C::SHORT && item.as_table().is_none() {
        settings.swap_remove(0).1.read(&item)?;
        drop(settings);
        return Ok(choice);
    }
    let keys = item.keys(&known)?;
    for (key, setting) in settings {
        if let Some(item) = keys.get(key) {
            setting.read(&item)?;
        }
    }
    Ok(choice)
}

/// Writes it as a model file has it, every setting given.
pub(super) fn write<C: Choice>(choice: &C, f: &mut fmt::Formatter) -> fmt::Result {
    let mut copy = choice.clone();
    let mut text = String::new();
    for (key, setting) in copy.settings() {
        let comma = if text.is_empty() { "" } else { ", " };
        if let Some(value) = setting.text() {
            write!(text, "{comma}{key} = {value}")?;
        }
    }
    match &text[..] {
        "" => write!(f, "{:?}", choice.name()),
        settings => write!(f, "{{ {} = {{ {settings} }} }}", choice.name()),
    }
}

/// Fails with the first setting that holds what it may not. `key` is that of the choice.
pub(super) fn validate<C: Choice>(choice: &C, key: &str) -> Result<()> {
    let mut copy = choice.clone();
    let mut defaults = C::all().into_iter().find(|known| known.name() == choice.name());
    let defaults = defaults.as_mut().map(C::settings).unwrap_or_default();
    for ((name, setting), (_, default)) in copy.settings().into_iter().zip(defaults) {
        let (expected, found, example) = match (setting, default) {
            (Setting::Positive(number), Setting::Positive(default)) if !(number.is_finite() && *number > 0.0) => {
                ("a positive number", *number, format!("{default:?}"))
            }
            (Setting::NotNegative(number), Setting::NotNegative(default))
                if !(number.is_finite() && *number >= 0.0) =>
            {
                ("a number, at least 0", *number, format!("{default:?}"))
            }
            (Setting::Fraction(number), Setting::Fraction(default)) if !(0.0..1.0).contains(number) => {
                ("a number, at least 0 and less than 1", *number, format!("{default:?}"))
            }
            (Setting::Fractions(pair), Setting::Fractions(default)) => {
                match pair.iter().find(|number| !(0.0..1.0).contains(*number)) {
                    Some(number) => ("two numbers, at least 0 and less than 1", *number, format!("{default:?}")),
                    None => continue,
                }
            }
            (Setting::Count(0), Setting::Count(default)) => ("a whole number, at least 1", 0.0, format!("{default}")),
            (Setting::Counts(numbers), _) if numbers.is_empty() || numbers.contains(&0) => {
                let problem = format!("expects one or more whole numbers, each at least 1, got {numbers:?}");
                return Err(Error::invalid(format!("{key}.{}.{name}", choice.name()), problem, "use [30, 80], say"));
            }
            _ => continue,
        };
        return Err(Error::invalid(
            format!("{key}.{}.{name}", choice.name()),
            format!("expects {expected}, got {found:?}"),
            format!("use {example}, say"),
        ));
    }
    Ok(())
}
