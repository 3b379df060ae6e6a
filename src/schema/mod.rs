//! Tables of keys: a TOML file of Pinhole is read, written and described as a JSON Schema from one table of its keys.
//! Models, layers and search spaces list their keys; this module knows none of them.
//!
//! The TOML tree is walked by hand instead of derived, so that messages name the key's path and the line, and unknown
//! keys get a suggestion at every depth.

mod choice;
mod file;
mod item;
mod json;
mod key;
mod parts;

pub(crate) use choice::{Choice, choice, choices, names, read_choice, validate, variants, write_choice};
pub(crate) use file::{located, parse_table, read_text};
pub(crate) use item::{Fault, Item, shown};
pub(crate) use json::{choice as choice_schema, document as document_schema, keys as keys_schema};
pub(crate) use key::{
    Key, Part, Setting, Table, keys, read_document, read_keys, short_form, validate_table, write_table,
};
