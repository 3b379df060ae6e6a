//! Things that a model file chooses by name and gives settings, `{ adam = { lr = 1e-3 } }`: read, written and validated by one
//! list of their settings.

use super::read::{Fault, Item};
use crate::error::{Error, Result};
use std::fmt::{self, Write as _};

/// A setting, by what it may hold.
pub(super) enum Setting<'a> {
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
    /// True or false.
    Flag(&'a mut bool),
}

/// Something with a name and settings.
pub(super) trait Choice: Clone + Sized {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// One of each kind, with its defaults.
    fn all() -> Vec<Self>;
    /// The name in a model file.
    fn name(&self) -> &'static str;
    /// Its settings by their keys.
    fn settings(&mut self) -> Vec<(&'static str, Setting<'_>)>;
}

/// What `"name"` or `{ name = { key = value } }` says.
pub(super) fn read<C: Choice>(item: &Item) -> Result<C, Fault> {
    let all = C::all();
    let names: Vec<&str> = all.iter().map(C::name).collect();
    let (name, settings) = item.choice(C::WHAT, &names)?;
    let found = all.into_iter().find(|known| known.name() == name);
    let Some(mut choice) = found else { return item.wrong(C::WHAT, &format!("known are {}", names.join(", "))) };
    let Some(item) = settings else { return Ok(choice) };
    let settings = choice.settings();
    let known: Vec<&str> = settings.iter().map(|(key, _)| *key).collect();
    if known.is_empty() {
        return Err(Fault::new(&item.key, "takes no settings", format!("write {name:?}")));
    }
    let keys = item.keys(&known)?;
    for (key, setting) in settings {
        let Some(item) = keys.get(key) else { continue };
        match setting {
            Setting::Positive(number) | Setting::NotNegative(number) | Setting::Fraction(number) => {
                *number = item.number()?;
            }
            Setting::Fractions(pair) => {
                let (expected, help) = ("a list of two numbers", format!("write {pair:?}, say"));
                let [first, second] = &item.list(expected, &help)?[..] else { return item.wrong(expected, &help) };
                *pair = [first.number()?, second.number()?];
            }
            Setting::Whole(number) | Setting::Count(number) => *number = item.whole()?,
            Setting::Flag(flag) => *flag = item.flag()?,
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
        match setting {
            Setting::Positive(number) | Setting::NotNegative(number) | Setting::Fraction(number) => {
                write!(text, "{comma}{key} = {number:?}")?;
            }
            Setting::Fractions(pair) => write!(text, "{comma}{key} = {pair:?}")?,
            Setting::Whole(number) | Setting::Count(number) => write!(text, "{comma}{key} = {number}")?,
            Setting::Flag(flag) => write!(text, "{comma}{key} = {flag}")?,
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
