//! Labels: the class of each sample, by name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::npy::LabelArray;
use crate::error::{Error, Result, suggest};

/// The limit up to which 64-bit floats represent all whole numbers exactly.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A label for each sample. Labels are texts or whole numbers; the classes are their distinct names, numbers ordered
/// by value and texts alphabetically.
///
/// A part of a data set keeps all classes of the whole, even those of which it has no sample.
///
/// ```
/// use pinhole::data::Labels;
/// let labels = Labels::from_names(["owl", "cat", "owl"]);
/// assert_eq!((labels.names(), labels.indices()), (&["cat".to_owned(), "owl".to_owned()][..], &[1, 0, 1][..]));
/// assert_eq!(Labels::from(vec![7u8, 10, 7]).names(), ["7", "10"]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    indices: Vec<u32>,
    names: Arc<Vec<String>>,
}

impl Labels {
    /// Makes labels from class names, one for each sample.
    pub fn from_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Labels {
        let mut found = FoundLabels::default();
        names.into_iter().for_each(|name| found.push(name.as_ref()));
        found.sorted()
    }

    fn from_numbers<N: Into<i64> + Copy>(numbers: &[N]) -> Labels {
        // Format each distinct number only once: that takes longer than reading it.
        let mut known: HashMap<i64, u32> = HashMap::new();
        let mut found = FoundLabels::default();
        for number in numbers {
            let number: i64 = (*number).into();
            let index = *known.entry(number).or_insert_with(|| found.names.index(&number.to_string()));
            found.indices.push(index);
        }
        found.sorted()
    }

    /// The class of each sample, as an index into [`Labels::names`].
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The classes' names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of a sample's class. Empty if there is no such sample.
    pub fn name(&self, sample: usize) -> &str {
        let index = self.indices.get(sample).map(|index| *index as usize);
        index.and_then(|index| self.names.get(index)).map_or("", String::as_str)
    }

    /// The labels as numbers, if all classes are whole numbers.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        let numbers: Vec<i64> = self.names.iter().map(|name| whole(name)).collect::<Option<_>>()?;
        Some(self.indices.iter().map(|index| numbers[*index as usize]).collect())
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The classes that have samples, as indices into [`Labels::names`].
    pub(crate) fn present(&self) -> Vec<usize> {
        let mut seen = vec![false; self.names.len()];
        self.indices.iter().for_each(|index| seen[*index as usize] = true);
        (0..seen.len()).filter(|index| seen[*index]).collect()
    }

    pub(super) fn subset(&self, indices: &[u32]) -> Labels {
        let indices = indices.iter().map(|index| self.indices[*index as usize]).collect();
        Labels { indices, names: self.names.clone() }
    }

    pub(super) fn truncate(&mut self, count: usize) {
        self.indices.truncate(count);
    }

    /// Converts an array to labels: a list of texts or whole numbers, or one-hot rows. If it is neither, the error says
    /// why.
    pub(super) fn from_array(array: LabelArray) -> Result<Labels, String> {
        let (shape, numbers) = match array {
            LabelArray::Texts(texts) => return Ok(Labels::from_names(texts)),
            LabelArray::Numbers(shape, numbers) => (shape, numbers),
        };
        match shape[..] {
            [_] | [_, 1] => {
                let numbers = numbers.into_iter().map(whole_number).collect::<Result<Vec<i64>, _>>()?;
                Ok(Labels::from_numbers(&numbers))
            }
            [_, classes] => one_hot(&numbers, classes),
            _ => Err(format!("has shape {shape} and is no list of labels")),
        }
    }
}

/// Converts one-hot rows to labels, whose classes are all columns, even those without a sample.
fn one_hot(numbers: &[f64], classes: usize) -> Result<Labels, String> {
    let class = |(sample, row): (usize, &[f64])| {
        let is_one_hot = row.iter().all(|number| *number == 0.0 || *number == 1.0) && row.iter().sum::<f64>() == 1.0;
        let class = row.iter().position(|number| *number == 1.0).filter(|_| is_one_hot);
        let fault = || format!("has {classes} numbers for sample {sample}, counted from 0, that are no 1 among zeros");
        class.map(|class| class as u32).ok_or_else(fault)
    };
    let indices = numbers.chunks(classes).enumerate().map(class).collect::<Result<_, _>>()?;
    Ok(Labels { indices, names: Arc::new((0..classes).map(|class| class.to_string()).collect()) })
}

fn whole_number(number: f64) -> Result<i64, String> {
    match number.fract() == 0.0 && number.abs() <= LARGEST_WHOLE {
        true => Ok(number as i64),
        false => Err(format!("has {number}, which is no whole number")),
    }
}

/// Parses a name that is exactly a whole number.
pub(crate) fn whole(name: &str) -> Option<i64> {
    name.parse::<i64>().ok().filter(|number| number.to_string() == name)
}

/// The index of a label among a model's classes: among the listed names, if there are any; else a label is the class
/// number, counted from 0 to below `count`.
pub(crate) fn class_of(label: &str, names: &[String], count: usize) -> Option<usize> {
    match names {
        [] => whole(label).and_then(|number| usize::try_from(number).ok()).filter(|class| *class < count),
        names => names.iter().position(|name| name == label),
    }
}

/// The first few names, and how many follow, for messages.
pub(crate) fn listed<N: AsRef<str>>(names: &[N]) -> String {
    let shown = names.iter().take(8).map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    if names.len() > 8 { format!("{shown} and {} more", names.len() - 8) } else { shown }
}

macro_rules! from_numbers {
    ($($number:ty),*) => {
        $(
            impl From<Vec<$number>> for Labels {
                fn from(numbers: Vec<$number>) -> Labels {
                    Labels::from_numbers(&numbers)
                }
            }
        )*
    };
}

from_numbers!(u8, i32, u32, i64);

/// Distinct names in the order of their first appearance, each with its index.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    indices: HashMap<String, u32>,
}

impl Names {
    /// The index of a name, which is added if it is new.
    pub fn index(&mut self, name: &str) -> u32 {
        if let Some(index) = self.known(name) {
            return index;
        }
        let index = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.indices.insert(name.to_owned(), index);
        index
    }

    /// The index of a name; `None` if it is unknown.
    pub fn known(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied()
    }

    /// Sorts the names, by their numbers if `number` finds one in each; returns the rank of each index, and the names.
    pub fn sorted(mut self, number: impl Fn(&str) -> Option<i64>) -> (Vec<u32>, Vec<String>) {
        let numbers: Option<Vec<i64>> = self.names.iter().map(|name| number(name)).collect();
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by_key(|at| (numbers.as_ref().map(|numbers| numbers[*at]), &self.names[*at]));
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, at)| ranks[*at] = rank as u32);
        (ranks, order.into_iter().map(|at| std::mem::take(&mut self.names[at])).collect())
    }
}

/// The labels read so far from a file.
#[derive(Debug, Default)]
pub(super) struct FoundLabels {
    indices: Vec<u32>,
    names: Names,
    /// The reason why the labels cannot be used.
    fault: Option<String>,
}

impl FoundLabels {
    /// Adds the label of the next sample; `fault` describes an empty one.
    pub fn take(&mut self, name: &str, fault: impl FnOnce() -> String) {
        if !name.is_empty() {
            self.push(name);
        } else if self.fault.is_none() {
            self.fault = Some(fault());
        }
    }

    fn push(&mut self, name: &str) {
        let index = self.names.index(name);
        self.indices.push(index);
    }

    /// Returns the labels, or the reason why they cannot be used.
    pub fn finish(mut self) -> Result<Labels, String> {
        self.fault.take().map_or_else(|| Ok(self.sorted()), Err)
    }

    /// Sorts the classes. If all names are whole numbers with decimals, such as 1.0, they become whole numbers.
    fn sorted(mut self) -> Labels {
        if self.names.names.iter().any(|name| name.contains('.')) {
            let written = |name: &String| Some(whole_number(name.parse().ok()?).ok()?.to_string());
            if let Some(names) = self.names.names.iter().map(written).collect::<Option<Vec<String>>>() {
                self.names = Names::default();
                let renamed: Vec<u32> = names.iter().map(|name| self.names.index(name)).collect();
                self.indices.iter_mut().for_each(|index| *index = renamed[*index as usize]);
            }
        }
        let (ranks, names) = self.names.sorted(whole);
        self.indices.iter_mut().for_each(|index| *index = ranks[*index as usize]);
        Labels { indices: self.indices, names: Arc::new(names) }
    }
}

/// The column of a table or a CSV file that holds labels, and so is left out of the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelColumn {
    /// The column's name in the first line; if there is none of that name, its number, counted from 1.
    pub name: String,
    /// Whether data may lack the column, and then has no labels.
    pub optional: bool,
}

impl LabelColumn {
    /// The error of a file without this column, which has columns of these names.
    pub(super) fn missing(&self, path: &Path, names: &[String]) -> Error {
        let problem = format!("has no column {:?}, which is to be the label", self.name);
        Error::file(path, problem, suggest(&self.name, names.iter().map(String::as_str)))
    }
}
