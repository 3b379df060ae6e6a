//! Structured values of keys: tables, lists of tables, choices.

use super::choice::{Choice, read_choice};
use super::item::{Fault, Item};
use super::json;
use super::key::{Part, Setting, Table, read_keys, write_table};
use serde_json::{Value as Json, json};

impl<'a> Setting<'a> {
    /// A value that parses and checks itself.
    pub fn part(part: impl Part + 'a) -> Setting<'a> {
        Setting::Part(Box::new(part))
    }

    /// A table.
    pub fn table<T: Table + Clone>(table: &'a mut T) -> Setting<'a> {
        Setting::part(Inner(table))
    }

    /// A table, or false for none; a given table starts with its defaults.
    pub fn table_or_false<T: Table + Clone + Default>(table: &'a mut Option<T>) -> Setting<'a> {
        Setting::part(OrFalse(table))
    }

    /// A list of tables, with an example for the message about a value of another type.
    pub fn tables<T: Table + Clone + Default>(list: &'a mut Vec<T>, example: &'static str) -> Setting<'a> {
        Setting::part(List { list, example })
    }

    /// A choice by its name alone; the message about an unknown name lists all of them.
    pub fn name<C: Choice>(choice: &'a mut C) -> Setting<'a> {
        Setting::part(OneOf(choice))
    }

    /// A choice by its name, or by a table of its settings.
    pub fn choice<C: Choice>(choice: &'a mut C) -> Setting<'a> {
        Setting::part(Chosen(choice))
    }

    /// A list of texts.
    pub fn texts(texts: &'a mut Vec<String>) -> Setting<'a> {
        Setting::part(Texts(texts))
    }
}

struct Inner<'a, T>(&'a mut T);

impl<T: Table + Clone> Part for Inner<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        read_keys(item, self.0.keys())
    }

    fn text(&self) -> String {
        format!("{{ {} }}", write_table(&mut self.0.clone(), ", "))
    }

    fn schema(&self) -> Json {
        json::keys(self.0.clone().keys())
    }
}

struct OrFalse<'a, T>(&'a mut Option<T>);

impl<T: Table + Clone + Default> Part for OrFalse<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = None;
        if !item.is_false() {
            read_keys(item, self.0.insert(T::default()).keys())?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.clone().map_or("false".to_owned(), |mut table| Inner(&mut table).text())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "const": false }, json::keys(T::default().keys())] })
    }
}

struct List<'a, T> {
    list: &'a mut Vec<T>,
    example: &'static str,
}

impl<T: Table + Clone + Default> Part for List<'_, T> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let read = |item: &Item| {
            let mut table = T::default();
            read_keys(item, table.keys()).map(|()| table)
        };
        *self.list = item.list("a list", self.example)?.iter().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Formats each table without the keys that hold their defaults.
    fn text(&self) -> String {
        let mut default = T::default();
        let entry = |table: &T| {
            let mut table = table.clone();
            let keys = table.keys().into_iter().zip(default.keys());
            let given = keys.filter_map(|(key, default)| {
                let text = key.setting.text(false)?;
                let wanted = key.needed || Some(&text) != default.setting.text(false).as_ref();
                wanted.then(|| format!("{} = {text}", key.name))
            });
            format!("{{ {} }}", given.collect::<Vec<_>>().join(", "))
        };
        let all: Vec<String> = self.list.iter().map(entry).collect();
        format!("[{}]", all.join(", "))
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": json::keys(T::default().keys()) })
    }
}

struct OneOf<'a, C>(&'a mut C);

impl<C: Choice> Part for OneOf<'_, C> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let (what, all) = (C::WHAT, C::all());
        let help = format!("known are {}", all.iter().map(C::name).collect::<Vec<_>>().join(", "));
        let Some(name) = item.as_text() else { return item.wrong(&format!("the name of a {what}"), &help) };
        let found = all.into_iter().find(|known| known.name() == name);
        *self.0 = found.ok_or_else(|| Fault::new(&item.key, format!("unknown {what} {name:?}"), help))?;
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn schema(&self) -> Json {
        json::choice::<C>()
    }
}

struct Chosen<'a, C>(&'a mut C);

impl<C: Choice> Part for Chosen<'_, C> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = read_choice(item)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn schema(&self) -> Json {
        json::choice::<C>()
    }
}

struct Texts<'a>(&'a mut Vec<String>);

impl Part for Texts<'_> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let texts = item.list("a list of texts", "write [\"yes\", \"no\"], say")?;
        *self.0 = texts.iter().map(|item| item.text("a text", "write \"yes\", say")).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn text(&self) -> String {
        let texts: Vec<String> = self.0.iter().map(|text| toml::Value::String(text.clone()).to_string()).collect();
        format!("[{}]", texts.join(", "))
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}
