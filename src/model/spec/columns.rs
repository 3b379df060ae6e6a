//! The columns of a table: the list `columns` of a model file's `[data]`.

use super::read::{Fault, Item};
use super::settings::{Field, Part, Setting, Table};
use crate::data::Column;
use crate::error::{Error, Result};

/// Bytes that names may take together: a model file has to stay a short one.
const LONGEST_NAMES: usize = 512 << 10;

impl Table for Column {
    fn fields(&mut self) -> Vec<Field<'_>> {
        vec![
            Field::needed(
                "name",
                "\"age\"",
                "The name in the table's first line.",
                Setting::Part(Box::new(Text(&mut self.name))),
            ),
            Field::optional(
                "categorical",
                "Whether it holds categories even where all look like numbers.",
                Setting::Flag(&mut self.categorical),
            ),
            Field::optional(
                "categories",
                "Its categories; those that training finds, where not given.",
                Setting::Part(Box::new(Texts(&mut self.categories))),
            ),
            Field::optional(
                "size",
                "Numbers of the vector that is learned for each category; 0 for half as many as there are, at most 50.",
                Setting::Whole(&mut self.size),
            ),
            Field::optional("mean", "The mean of a column of numbers.", Setting::Number(&mut self.mean)),
            Field::optional(
                "deviation",
                "The deviation of a column of numbers.",
                Setting::Positive(&mut self.deviation),
            ),
        ]
    }
}

/// A text, whatever stands in it.
struct Text<'a>(&'a mut String);

impl Part for Text<'_> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = item.text("a text", "write \"age\", say")?;
        Ok(())
    }

    fn text(&self) -> String {
        toml::Value::String(self.0.clone()).to_string()
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

/// A list of texts.
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

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// Fails where a list of columns cannot be one of a table's. `complete` says that nothing will be added to it.
pub(super) fn validate(columns: &[Column], complete: bool) -> Result<()> {
    let mut bytes = 0;
    for (index, column) in columns.iter().enumerate() {
        let refuse = |key: &str, problem: String, help: &str| {
            Err(Error::invalid(format!("data.columns.{index}.{key}"), problem, help))
        };
        bytes += column.name.len() + column.categories.iter().map(String::len).sum::<usize>();
        if column.name.is_empty() || columns[..index].iter().any(|other| other.name == column.name) {
            return refuse("name", format!("{:?} is no name of one column", column.name), "name each column once");
        }
        let mut sorted = column.categories.clone();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse("categories", format!("{:?} stands there twice", pair[0]), "list each category once");
        }
        if complete && column.is_categorical() && (column.categories.is_empty() || column.size == 0) {
            let problem = "its categories and their size are not known";
            return refuse("categories", problem.to_owned(), "list them with a size, or write sets_input = true");
        }
        if !(column.mean.is_finite() && column.deviation.is_finite() && column.deviation > 0.0) {
            let problem = format!("expects a positive deviation, got {:?}", column.deviation);
            return refuse("deviation", problem, "leave mean and deviation out");
        }
    }
    if bytes > LONGEST_NAMES {
        let problem = format!("names of columns and categories have {bytes} bytes, more than {LONGEST_NAMES}");
        return Err(Error::invalid("data.columns", problem, "leave out columns of many categories"));
    }
    Ok(())
}
