//! Keys and their settings: the tables from which files are read, written and described.

use super::item::{Fault, Item, Keys, known_keys};
use crate::error::{Error, Result};
use crate::shape::Shape;
use serde_json::Value as Json;
use std::borrow::Cow;

/// A setting, by the type and range of its value.
pub(crate) enum Setting<'a> {
    /// Any number.
    Number(&'a mut f64),
    /// A positive number.
    Positive(&'a mut f64),
    /// A number that is not negative.
    NotNegative(&'a mut f64),
    /// A number of at least 0 and less than 1.
    Fraction(&'a mut f64),
    /// Two numbers of at least 0 and less than 1.
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
    /// A number that is not negative, which a file omits where there is none.
    Maybe(&'a mut Option<f64>),
    /// True or false, which a file omits where neither is set.
    MaybeFlag(&'a mut Option<bool>),
    /// An axis of a sample; a negative one counts from behind the last.
    Axis(&'a mut isize),
    /// One number for all axes of a sequence or an image, or a list of one for each.
    Sides(&'a mut [usize]),
    /// Sides as in [`Setting::Sides`], or `"same"`, which sets the flag; `"valid"` is 0.
    Padding(&'a mut [usize], &'a mut bool),
    /// A list of sizes.
    Sizes(&'a mut Shape),
    /// A name; the initial value is the example in messages.
    Word(&'a mut String),
    /// A text, its description in messages, and the help where a file has something else.
    Text(&'a mut String, [&'static str; 2]),
    /// A value that parses and checks itself.
    Part(Box<dyn Part + 'a>),
}

/// A value of a file that parses and checks itself.
pub(crate) trait Part {
    /// Reads the value from a file.
    fn read(&mut self, item: &Item) -> Result<(), Fault>;
    /// Formats the value as in a file.
    fn text(&self) -> String;
    /// Formats the value with every inner key written out.
    fn full_text(&self) -> String {
        self.text()
    }
    /// The JSON Schema of all values that [`Part::read`] accepts.
    fn schema(&self) -> Json;
}

/// One key of a table.
pub(crate) struct Key<'a> {
    pub name: &'static str,
    /// Description for authors of files, a sentence or two; empty where none is needed.
    pub about: Cow<'static, str>,
    /// Whether a file must give the key.
    pub needed: bool,
    /// Example in messages, where that is not the setting's value or default.
    pub example: Option<&'static str>,
    /// Whether the value may replace the table although the key is optional: see [`short_form`].
    pub short: bool,
    pub setting: Setting<'a>,
}

impl<'a> Key<'a> {
    /// A mandatory key. The setting's value is the example in messages.
    pub fn needed(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { needed: true, ..Key::optional(name, setting) }
    }

    /// An optional key. The setting's value is the default, which the message about a wrong value gives as an example.
    pub fn optional(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { name, about: Cow::Borrowed(""), needed: false, example: None, short: false, setting }
    }

    /// An optional key whose value a file may write in place of the table.
    pub fn short(name: &'static str, setting: Setting<'a>) -> Key<'a> {
        Key { short: true, ..Key::optional(name, setting) }
    }

    /// Sets the description.
    pub fn about(self, about: impl Into<Cow<'static, str>>) -> Key<'a> {
        Key { about: about.into(), ..self }
    }

    /// Sets the example.
    pub fn example(self, example: &'static str) -> Key<'a> {
        Key { example: Some(example), ..self }
    }

    /// Makes the key mandatory, with an example for the message where a file lacks it.
    pub fn mandatory(self, example: &'static str) -> Key<'a> {
        Key { needed: true, ..self.example(example) }
    }

    /// Lets a file write the value in place of the table.
    pub fn replaces_table(self) -> Key<'a> {
        Key { short: true, ..self }
    }
}

/// Lists keys, each named as the variable that holds its value: `keys![gamma: Positive, per_step: Flag]`, or as the
/// field of a table: `keys![self; batch: Count = "Samples in a step.",]`. After the name come a variant or constructor
/// of [`Setting`] (with a second argument in brackets), methods of [`Key`], and the description.
macro_rules! keys {
    ($table:expr; $(
        $name:ident: $setting:ident $([$detail:expr])? $(.$method:ident($($argument:expr)?))* $(= $about:expr)?,
    )*) => {
        vec![$(
            $crate::schema::Key::optional(
                stringify!($name),
                $crate::schema::Setting::$setting(&mut $table.$name $(, $detail)?),
            )
            $(.$method($($argument)?))*
            $(.about($about))?
        ),*]
    };
    ($($name:ident: $setting:ident $(.$method:ident($($argument:expr)?))* $(= $about:expr)?),*) => {
        vec![$(
            $crate::schema::Key::optional(stringify!($name), $crate::schema::Setting::$setting($name))
            $(.$method($($argument)?))*
            $(.about($about))?
        ),*]
    };
}
pub(crate) use keys;

/// Number of keys whose values a file may write in place of a table: 1 for the first key's value, where no other key is
/// mandatory; more for a list of values; 0 where only the table is valid.
pub(crate) fn short_form(keys: &[Key]) -> usize {
    match keys {
        [first, rest @ ..] if first.needed => usize::from(!rest.iter().any(|key| key.needed)),
        keys => keys.iter().take_while(|key| key.short).count(),
    }
}

/// A table of a file.
pub(crate) trait Table {
    /// All keys of the table, in the order in which they are written.
    fn keys(&mut self) -> Vec<Key<'_>>;
}

/// Reads the table of an item, and fails for unknown keys and where a mandatory one is missing.
pub(crate) fn read_keys(item: &Item, keys: Vec<Key>) -> Result<(), Fault> {
    let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
    read_known(&item.keys(&known)?, keys)
}

/// Reads a whole file. `sections` are the tables that a file writes below a `[section]` line: in TOML, all keys after
/// the line belong to the section, including misplaced top-level keys.
pub(crate) fn read_document(document: &toml::Table, table: &mut dyn Table, sections: &[&str]) -> Result<(), Fault> {
    let keys = table.keys();
    let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
    read_known(&known_keys("", document, &known)?, keys).map_err(|mut fault| {
        let unknown = fault.at.strip_prefix(&fault.key).and_then(|rest| rest.strip_prefix('.'));
        if sections.contains(&fault.key.as_str()) && unknown.is_some_and(|unknown| known.contains(&unknown)) {
            fault.help = format!("put it above the [{}] line", fault.key);
        }
        fault
    })
}

/// Reads a table whose keys are all known, and fails where a mandatory one is missing.
fn read_known(table: &Keys, keys: Vec<Key>) -> Result<(), Fault> {
    let mut missing = Ok(());
    for key in keys {
        match table.get(key.name) {
            Some(item) => key.setting.read(&item)?,
            None if key.needed && missing.is_ok() => {
                let example = key.example.map(str::to_owned).or_else(|| key.setting.text(false)).unwrap_or_default();
                missing = Err(table.missing(key.name, &example));
            }
            None => {}
        }
    }
    missing
}

/// Writes `key = value` for every key, separated by `between`.
pub(crate) fn write_table(table: &mut dyn Table, between: &str) -> String {
    let line = |key: Key| Some(format!("{} = {}", key.name, key.setting.text(false)?));
    table.keys().into_iter().filter_map(line).collect::<Vec<_>>().join(between)
}

/// Fails with the first key whose value is out of range; `path` is the table's key. `defaults` are the keys of a table
/// of defaults, which serve as examples.
pub(super) fn validate_keys(path: &str, keys: Vec<Key>, defaults: Vec<Key>) -> Result<()> {
    for (key, default) in keys.into_iter().zip(defaults) {
        let Some((expected, found)) = key.setting.misfit() else { continue };
        let example = key.example.map(str::to_owned).or_else(|| default.setting.text(false)).unwrap_or_default();
        let problem = format!("expects {expected}, got {found}");
        return Err(Error::invalid(format!("{path}.{}", key.name), problem, format!("use {example}, say")));
    }
    Ok(())
}

/// Fails with the first key of a table whose value is out of range; `path` is the table's key.
pub(crate) fn validate_table<T: Table + Clone + Default>(table: &T, path: &str) -> Result<()> {
    validate_keys(path, table.clone().keys(), T::default().keys())
}

impl Setting<'_> {
    /// What the setting accepts, and its value, where that is out of range.
    fn misfit(&self) -> Option<(&'static str, String)> {
        let is_fraction = |number: &f64| (0.0..1.0).contains(number);
        let (valid, expected) = match self {
            Setting::Number(number) => (number.is_finite(), "a finite number"),
            Setting::Positive(number) => (number.is_finite() && **number > 0.0, "a positive number"),
            Setting::NotNegative(number) => (number.is_finite() && **number >= 0.0, "a number, at least 0"),
            Setting::Fraction(number) => (is_fraction(number), "a number, at least 0 and less than 1"),
            Setting::Fractions(pair) => {
                let wrong = pair.iter().find(|number| !is_fraction(number))?;
                return Some(("two numbers, at least 0 and less than 1", format!("{wrong:?}")));
            }
            Setting::Count(number) => (**number > 0, "a whole number, at least 1"),
            Setting::Counts(numbers) => {
                (!numbers.is_empty() && !numbers.contains(&0), "one or more whole numbers, each at least 1")
            }
            Setting::PositiveOrFalse(number) => (
                number.is_none_or(|number| number > 0.0 && number <= f64::from(f32::MAX)),
                "a positive number, or false",
            ),
            Setting::FractionOrFalse(number) => {
                (number.as_ref().is_none_or(is_fraction), "a number, at least 0 and less than 1, or false")
            }
            Setting::Maybe(number) => {
                (number.is_none_or(|number| number.is_finite() && number >= 0.0), "a number, at least 0")
            }
            _ => return None,
        };
        if valid { None } else { Some((expected, self.text(false)?)) }
    }

    pub fn read(self, item: &Item) -> Result<(), Fault> {
        match self {
            Setting::Number(number)
            | Setting::Positive(number)
            | Setting::NotNegative(number)
            | Setting::Fraction(number) => *number = item.number()?,
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

    /// Formats the value as in a file, `None` where a file omits it; `full` writes out every inner key.
    pub fn text(&self, full: bool) -> Option<String> {
        Some(match self {
            Setting::Number(number)
            | Setting::Positive(number)
            | Setting::NotNegative(number)
            | Setting::Fraction(number) => format!("{number:?}"),
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
