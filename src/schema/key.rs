//! Keys and their settings: the lists by which tables are read, written and described.

use super::item::{Fault, Item, Keys, known_keys};
use crate::shape::Shape;
use serde_json::Value as Json;
use std::borrow::Cow;

/// A setting, by what it may hold.
pub(crate) enum Setting<'a> {
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
    /// An axis of a sample; a negative one counts from behind the last.
    Axis(&'a mut isize),
    /// One number for all axes of a sequence or an image, or a list of one for each.
    Sides(&'a mut [usize]),
    /// Such sides, or `"same"`, which sets the flag; `"valid"` is 0.
    Padding(&'a mut [usize], &'a mut bool),
    /// A list of sizes.
    Sizes(&'a mut Shape),
    /// A name, of which the one that a template holds is the example in messages.
    Word(&'a mut String),
    /// A text, what messages call it, and the help where a file has something else.
    Text(&'a mut String, [&'static str; 2]),
    /// A value that has rules of its own.
    Part(Box<dyn Part + 'a>),
}

/// A value of a file that has rules of its own.
pub(crate) trait Part {
    /// Takes what a file says.
    fn read(&mut self, item: &Item) -> Result<(), Fault>;
    /// The value as a file has it.
    fn text(&self) -> String;
    /// The value with every key of what is inside written out.
    fn full_text(&self) -> String {
        self.text()
    }
    /// The JSON Schema of all that [`Part::read`] takes.
    fn schema(&self) -> Json;
}

/// One key of a table.
pub(crate) struct Key<'a> {
    pub name: &'static str,
    /// A sentence or two for those who write the file; empty where there is nothing to say.
    pub about: Cow<'static, str>,
    /// Whether a file must give it.
    pub needed: bool,
    /// What a file that lacks the key is advised to write, where that is not the value that the setting holds.
    pub example: Option<&'static str>,
    /// Whether its value may stand in place of the table although a file may leave it out: see [`short_form`].
    pub short: bool,
    pub setting: Setting<'a>,
}

impl<'a> Key<'a> {
    /// A key that every file gives. The value that the setting holds is the example in messages.
    pub fn needed(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { needed: true, ..Key::optional(name, setting) }
    }

    /// A key that has a default: the value that the setting holds.
    pub fn optional(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { name, about: Cow::Borrowed(""), needed: false, example: None, short: false, setting }
    }

    /// A key that has a default, and whose value a file may write in place of the table.
    pub fn short(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { short: true, ..Key::optional(name, setting) }
    }

    /// With a sentence about it.
    pub fn about(self, about: impl Into<Cow<'static, str>>) -> Key<'a> {
        Key { about: about.into(), ..self }
    }

    /// With an example of its value.
    pub fn example(self, example: &'static str) -> Key<'a> {
        Key { example: Some(example), ..self }
    }
}

/// The number of keys whose values a file may write in place of a table: 1 for the first one's alone, where no other key
/// must be given; more for a list of them; 0 where only the table will do.
pub(crate) fn short_form(keys: &[Key]) -> usize {
    match keys {
        [first, rest @ ..] if first.needed => usize::from(!rest.iter().any(|key| key.needed)),
        keys => keys.iter().take_while(|key| key.short).count(),
    }
}

/// A table of a file.
pub(crate) trait Table {
    /// All its keys, in the order in which they are written.
    fn keys(&mut self) -> Vec<Key<'_>>;
}

/// Reads a table whose keys are all known.
pub(crate) fn read_table(item: &Item, table: &mut dyn Table) -> Result<(), Fault> {
    let keys = table.keys();
    let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
    read_keys(&item.keys(&known)?, keys)
}

/// Reads the whole of a file. `sections` are the tables that a file writes below a `[section]` line: in TOML, whatever follows
/// the line belongs to the section, also a key that should stand at the top.
pub(crate) fn read_document(document: &toml::Table, table: &mut dyn Table, sections: &[&str]) -> Result<(), Fault> {
    let keys = table.keys();
    let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
    read_keys(&known_keys("", document, &known)?, keys).map_err(|mut fault| {
        let unknown = fault.at.strip_prefix(&fault.key).and_then(|rest| rest.strip_prefix('.'));
        if sections.contains(&fault.key.as_str()) && unknown.is_some_and(|unknown| known.contains(&unknown)) {
            fault.help = format!("put it above the [{}] line", fault.key);
        }
        fault
    })
}

/// Reads the keys that are there, and fails where one is missing that is needed.
pub(crate) fn read_keys(table: &Keys, keys: Vec<Key>) -> Result<(), Fault> {
    let mut missing = Ok(());
    for key in keys {
        match table.get(key.name) {
            Some(item) => key.setting.read(&item)?,
            None if key.needed && missing.is_ok() => {
                let example = key.example.map(str::to_owned).or_else(|| key.setting.text(false)).unwrap_or_default();
                missing = table.need(key.name, &example).map(|_| ());
            }
            None => {}
        }
    }
    missing
}

/// Writes `key = value` for every key, `between` after each but the last.
pub(crate) fn write_table(table: &mut dyn Table, between: &str) -> String {
    let line = |key: Key| Some(format!("{} = {}", key.name, key.setting.text(false)?));
    table.keys().into_iter().filter_map(line).collect::<Vec<_>>().join(between)
}

impl Setting<'_> {
    pub fn read(self, item: &Item) -> Result<(), Fault> {
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
            Setting::Axis(axis) => *axis = item.axis()?,
            Setting::Sides(sides) => item.sides(sides)?,
            Setting::Padding(sides, same) => match item.as_text() {
                None => {
                    *same = false;
                    item.sides(sides)?;
                }
                Some(word @ ("same" | "valid")) => {
                    *same = word == "same";
                    sides.fill(0);
                }
                Some(_) => return item.wrong("whole numbers, \"same\" or \"valid\"", "write 1 or \"same\", say"),
            },
            Setting::Sizes(shape) => *shape = item.shape()?,
            Setting::Word(word) => *word = item.text("a name", &format!("write {word:?}, say"))?,
            Setting::Text(text, [expected, help]) => *text = item.text(expected, help)?,
            Setting::Part(mut part) => part.read(item)?,
        }
        Ok(())
    }

    /// The value as a file has it, none where a file leaves it out; `full` writes out every key of what is inside.
    pub fn text(&self, full: bool) -> Option<String> {
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
            Setting::Axis(axis) => axis.to_string(),
            Setting::Padding(_, same) if **same => "\"same\"".to_owned(),
            Setting::Sides(sizes) | Setting::Padding(sizes, _) => match &**sizes {
                [first, rest @ ..] if rest.iter().all(|size| size == first) => first.to_string(),
                sizes => format!("{sizes:?}"),
            },
            Setting::Sizes(shape) => shape.to_string(),
            Setting::Word(text) | Setting::Text(text, _) => toml::Value::String((*text).clone()).to_string(),
            Setting::Part(part) if full => part.full_text(),
            Setting::Part(part) => part.text(),
        })
    }
}
