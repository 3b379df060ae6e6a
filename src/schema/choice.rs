//! Values chosen by name, with settings: `"relu"`, `{ adam = { lr = 1e-3 } }`.

use super::item::{Fault, Item};
use super::key::{Key, read_keys, short_form, validate_keys};
use crate::error::Result;
use std::fmt::{self, Write as _};

/// A named value with settings.
pub(crate) trait Choice: Clone + Sized + fmt::Display {
    /// The word for it in messages.
    const WHAT: &'static str;
    /// One value of each name, with defaults; names whose settings have no defaults come with examples.
    fn all() -> Vec<Self>;
    /// The name in a file.
    fn name(&self) -> &'static str;
    /// Settings of the value.
    fn keys(&mut self) -> Vec<Key<'_>>;

    /// All names, in words: `a, b or c`.
    fn names() -> String {
        let names: Vec<&str> = Self::all().iter().map(Self::name).collect();
        match &names[..] {
            [names @ .., last] if !names.is_empty() => format!("{} or {last}", names.join(", ")),
            names => names.concat(),
        }
    }
}

/// Defines the list of an enum's variants with their defaults, and their names in files.
macro_rules! variants {
    ($name:ident {
        $($variant:ident $({ $($field:tt)* })? $(( $($inner:tt)* ))? = $text:literal,)*
    } $(and $other:ident = $other_text:literal)?) => {
        impl $name {
            /// All built-in variants, with their defaults.
            pub fn all() -> Vec<$name> {
                vec![$($name::$variant $({ $($field)* })? $(( $($inner)* ))?,)*]
            }

            /// The name in a file.
            pub fn name(&self) -> &'static str {
                match self {
                    $($name::$variant { .. } => $text,)*
                    $($name::$other { .. } => $other_text,)?
                }
            }
        }
    };
}
pub(crate) use variants;

/// Implements [`Choice`] and `Display` for an enum with a function `name`, from a list of all its values.
macro_rules! choice {
    ($what:literal $name:ident, $all:expr, |$this:ident| $keys:expr) => {
        impl $crate::schema::Choice for $name {
            const WHAT: &'static str = $what;

            fn all() -> Vec<$name> {
                $all
            }

            fn name(&self) -> &'static str {
                (*self).name()
            }

            fn keys(&mut self) -> Vec<$crate::schema::Key<'_>> {
                let $this = self;
                $keys
            }
        }

        /// Formats the value as in a file.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                $crate::schema::write_choice(self, f)
            }
        }
    };
}
pub(crate) use choice;

/// Defines `all` and `name` of an enum, and implements [`Choice`]; the enum's function `settings` lists its settings.
macro_rules! choices {
    ($what:literal $name:ident { $($variants:tt)* }) => {
        $crate::schema::variants! { $name { $($variants)* } }
        $crate::schema::choice! { $what $name, $name::all(), |value| value.settings() }
    };
}
pub(crate) use choices;

/// Defines `ALL` and `name` of an enum of names without settings, and implements [`Choice`].
macro_rules! names {
    ($what:literal $name:ident { $($variant:ident = $text:literal,)* }) => {
        impl $name {
            /// All variants.
            pub const ALL: [$name; [$($text),*].len()] = [$($name::$variant),*];

            /// The name in a file.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        $crate::schema::choice! { $what $name, $name::ALL.to_vec(), |_value| Vec::new() }
    };
}
pub(crate) use names;

/// Reads `"name"`, `{ name = { key = value } }`, or the short forms `{ name = value }` or `{ name = [values] }`.
pub(crate) fn read_choice<C: Choice>(item: &Item) -> Result<C, Fault> {
    let all = C::all();
    let names: Vec<&str> = all.iter().map(C::name).collect();
    let (name, settings) = item.choice(C::WHAT, &names)?;
    let Some(mut choice) = all.into_iter().find(|known| known.name() == name) else {
        return item.wrong(C::WHAT, "choose another");
    };
    let example = format!("write {choice}, say");
    let mut keys = choice.keys();
    let short = short_form(&keys);
    let Some(item) = settings else {
        if keys.iter().any(|key| key.needed) {
            return Err(Fault::new(&item.key, format!("{name:?} alone lacks its sizes"), example));
        }
        drop(keys);
        return Ok(choice);
    };
    let is_table = item.value.is_table();
    match (&keys[..], short) {
        ([], _) => return Err(Fault::new(&item.key, "takes no settings", format!("write {name:?}"))),
        ([only], 1) if only.needed => keys.swap_remove(0).setting.read(&item)?,
        (_, 1) if !is_table => keys.swap_remove(0).setting.read(&item)?,
        (_, 2..) if !is_table => {
            let expected = format!("a table, or a list of {short} numbers");
            let texts: Vec<String> = keys[..short].iter().filter_map(|key| key.setting.text(false)).collect();
            let help = format!("write {{ {name} = [{}] }}, say", texts.join(", "));
            let items = item.list(&expected, &help)?;
            if items.len() != short {
                return item.wrong(&expected, &help);
            }
            for (key, item) in keys.drain(..short).zip(&items) {
                key.setting.read(item)?;
            }
        }
        _ => {
            read_keys(&item, keys)?;
            return Ok(choice);
        }
    }
    drop(keys);
    Ok(choice)
}

/// Formats a choice as in a file, with every setting.
pub(crate) fn write_choice<C: Choice>(choice: &C, f: &mut fmt::Formatter) -> fmt::Result {
    let mut copy = choice.clone();
    let mut text = String::new();
    for key in copy.keys() {
        let comma = if text.is_empty() { "" } else { ", " };
        if let Some(value) = key.setting.text(false) {
            write!(text, "{comma}{} = {value}", key.name)?;
        }
    }
    match &text[..] {
        "" => write!(f, "{:?}", choice.name()),
        settings => write!(f, "{{ {} = {{ {settings} }} }}", choice.name()),
    }
}

/// Fails with the first invalid setting. `key` is the key of the choice.
pub(crate) fn validate<C: Choice>(choice: &C, key: &str) -> Result<()> {
    let mut copy = choice.clone();
    let defaults = C::all().into_iter().find(|known| known.name() == choice.name());
    validate_keys(&format!("{key}.{}", choice.name()), copy.keys(), defaults.unwrap_or_else(|| choice.clone()).keys())
}
