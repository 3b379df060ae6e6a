//! Columns of a table, and the parts of a model that the data sets: the list `columns` of a model file's `[data]`.

use super::super::loss::LossKind;
use super::condition::Condition;
use super::corruption::Corruption;
use super::data::{Binarise, DataSpec, TEXT};
use super::spec::ModelSpec;
use crate::data::{Column, Columns, Dataset, LabelColumn, Reading, class_of};
use crate::error::{Error, Result};
use crate::nn::{Axes, Initial, Layer, Parameter};
use crate::schema::{Key, Table, keys, validate_table};
use crate::shape::Shape;
use crate::suggest::suggest;

/// Largest total size of names, in bytes, which keeps model files short.
const LONGEST_NAMES: usize = 512 << 10;

/// Output features of a list's last linear layer, which only activations and softmax may follow.
fn last_features(layers: &mut [Layer]) -> Option<&mut usize> {
    let follows = |layer: &Layer| layer.axes() == Axes::Elementwise || matches!(layer, Layer::Softmax(_));
    let last = layers.iter_mut().rev().find(|layer| !follows(layer))?;
    let linear = matches!(last.axes(), Axes::Features | Axes::Tied);
    last.out_mut().filter(|_| linear).map(|(out, _)| out)
}

impl Table for Column {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            name: Text[TEXT].mandatory("\"age\"") = "The column's name in the table's first line.",
            categorical: Flag = "Whether the column holds categories even where all look like numbers.",
            categories: texts = "The column's categories; training fills them in.",
            size: Whole =
                "Size of each category's embedding; 0 for half the number of categories, at most 50.",
            mean: Number = "The mean of a column of numbers.",
            deviation: Positive = "The deviation of a column of numbers.",
        ]
    }
}

/// A text that a list has more than once.
fn repeated(texts: &[String]) -> Option<&String> {
    let mut sorted: Vec<&String> = texts.iter().collect();
    sorted.sort();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn bytes(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

impl DataSpec {
    /// The label column, which data must have.
    pub(crate) fn label_column(&self) -> Option<LabelColumn> {
        (!self.label.is_empty()).then(|| LabelColumn { name: self.label.clone(), optional: false })
    }

    /// Number of categories of each column, 0 for numbers; empty where samples are no table rows.
    pub fn categories(&self) -> Vec<usize> {
        self.columns.iter().map(|column| column.categories.len()).collect()
    }

    /// Whether samples are table rows with all columns known.
    pub(crate) fn is_table(&self) -> bool {
        !self.sets_input && !self.columns.is_empty()
    }

    /// Shape of samples of an `input` as encoders see them, and size of decoders' outputs: for table rows, those of the
    /// categories' embeddings and of their logits.
    pub(super) fn sizes(&self, input: &Shape) -> (Shape, usize) {
        if !self.is_table() {
            return (input.clone(), input.elements());
        }
        let of = |size: fn(&Column) -> usize| self.columns.iter().map(|column| size(column).max(1)).sum::<usize>();
        (
            [of(|column| if column.is_categorical() { column.size } else { 1 })].into(),
            of(|column| column.categories.len()),
        )
    }

    /// Embeddings of the categories of each column.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let columns = self.columns.iter().enumerate().filter(|(_, column)| self.is_table() && column.is_categorical());
        let parameter = |(index, column): (usize, &Column)| Parameter {
            name: format!("columns.{index}.weight"),
            shape: [column.categories.len(), column.size].into(),
            initial: Initial::Normal(1.0),
            trained: true,
        };
        columns.map(parameter).collect()
    }
}

impl ModelSpec {
    /// Sets the parts of a model that the data decides. With `[data] sets_input`, which is then cleared, these are the
    /// input's features and the columns of a table; the decoder's last linear layer is resized to match. With a label
    /// condition and labels that are texts or numbers other than 0, 1, 2 and so on, these are `[data] classes`, unless
    /// listed already. Programs call it, with the training samples, before they make a model.
    ///
    /// Fails where the decoder does not end in such a layer, and where labels outnumber the condition's count.
    pub fn fit_to(&mut self, data: &Dataset) -> Result<()> {
        self.fit_classes_to(data)?;
        if !std::mem::replace(&mut self.data.sets_input, false) {
            return Ok(());
        }
        let before = self.input.elements();
        let features = data.sample_shape().elements();
        if let Some(columns) = data.columns() {
            self.data.columns = columns.to_vec();
        }
        if features != before {
            self.input = [features].into();
        }
        let features = self.data.sizes(&self.input).1;
        if features == before {
            return Ok(());
        }
        if let Some(out) = last_features(&mut self.decoder) {
            *out = features;
            return Ok(());
        }
        let problem = "the decoder does not end in a linear layer, whose size the data could decide";
        Err(Error::invalid("data.sets_input", problem, "end it with { linear = 784 }, or leave sets_input out"))
    }

    /// Copies the values that [`fit_to`](ModelSpec::fit_to) set from data in `fitted`, where this model leaves them to
    /// the data: the input's features, a table's columns, and the size of the decoder's last linear layer.
    pub fn fit_as(&mut self, fitted: &ModelSpec) {
        if !std::mem::replace(&mut self.data.sets_input, false) {
            return;
        }
        self.input.clone_from(&fitted.input);
        self.data.columns.clone_from(&fitted.data.columns);
        let mut decoder = fitted.decoder.clone();
        if let (Some(out), Some(fitted)) = (last_features(&mut self.decoder), last_features(&mut decoder)) {
            *out = *fitted;
        }
    }

    fn fit_classes_to(&mut self, data: &Dataset) -> Result<()> {
        let Condition::Labels { count } = self.condition else { return Ok(()) };
        let Some(labels) = data.labels().filter(|_| self.data.classes.is_empty()) else { return Ok(()) };
        let names = labels.names();
        if names.iter().all(|name| class_of(name, &[], count).is_some()) {
            return Ok(());
        }
        if names.len() > count {
            let problem = format!("data \"{}\" has {} labels, more than the model's {count}", data.name(), names.len());
            let help = format!("write {{ labels = {} }}", names.len());
            return Err(Error::invalid("condition.labels.count", problem, help));
        }
        self.data.classes = names.to_vec();
        Ok(())
    }

    /// Class of a label, for a model with a label condition. Fails where the label has no class.
    pub fn class_of(&self, label: &str) -> Result<usize> {
        let Condition::Labels { count } = self.condition else {
            let problem = format!("the model's is {}, which takes no label", self.condition);
            return Err(Error::invalid("condition", problem, "give no label"));
        };
        let classes = &self.data.classes;
        class_of(label, classes, count).ok_or_else(|| {
            let help = match &classes[..] {
                [] => format!("give a label from 0 to {}", count - 1),
                classes => suggest(label, classes.iter().take(20).map(String::as_str)),
            };
            Error::invalid("condition", format!("there is no label {label}"), help)
        })
    }

    /// Reading options of the model: data fits its input, pictures have its format, CSV files are tables where it
    /// reconstructs columns.
    pub fn reading(&self) -> Reading {
        let tables = self.loss.terms.iter().any(|(kind, _)| *kind == LossKind::Columns);
        let complete = self.data.is_table();
        let columns = tables.then(|| Columns { known: self.data.columns.clone(), complete });
        let input = (!self.data.sets_input).then(|| self.input.clone());
        Reading { columns, label: self.data.label_column(), input, ..Reading::pictures(self.pictures()) }
    }

    /// Validates the names of classes.
    pub(super) fn validate_classes(&self) -> Result<()> {
        let classes = &self.data.classes;
        let refuse = |problem: String, help: &str| Err(Error::invalid("data.classes", problem, help));
        if classes.is_empty() {
            return Ok(());
        }
        let Condition::Labels { count } = self.condition else {
            return refuse("they are labels, which are not the model's condition".to_owned(), "leave them out");
        };
        if let Some(class) = repeated(classes) {
            return refuse(format!("{class:?} is listed twice"), "list each label once");
        }
        if classes.len() > count {
            return refuse(format!("{} are more than the condition's {count}", classes.len()), "list fewer");
        }
        if bytes(classes) > LONGEST_NAMES {
            let bytes = bytes(classes);
            return refuse(format!("they have {bytes} bytes, more than {LONGEST_NAMES}"), "use shorter names");
        }
        Ok(())
    }

    /// Validates the columns of a table, and the settings that do not go with them.
    pub(super) fn validate_columns(&self) -> Result<()> {
        let columns = &self.data.columns;
        if columns.is_empty() {
            return Ok(());
        }
        for (index, column) in columns.iter().enumerate() {
            let path = format!("data.columns.{index}");
            let refuse =
                |key: &str, problem: String, help: &str| Err(Error::invalid(format!("{path}.{key}"), problem, help));
            if column.name.is_empty() || columns[..index].iter().any(|other| other.name == column.name) {
                return refuse("name", format!("{:?} is no name of one column", column.name), "name each column once");
            }
            if let Some(category) = repeated(&column.categories) {
                return refuse("categories", format!("{category:?} is listed twice"), "list each category once");
            }
            let known = !column.categories.is_empty() && column.size > 0;
            if !self.data.sets_input && column.is_categorical() && !known {
                let problem = "its categories and their size are not known".to_owned();
                return refuse("categories", problem, "list them with a size, or write sets_input = true");
            }
            validate_table(column, &path)?;
        }
        let bytes: usize = columns.iter().map(|column| column.name.len() + bytes(&column.categories)).sum();
        if bytes > LONGEST_NAMES {
            let problem = format!("names of columns and categories have {bytes} bytes, more than {LONGEST_NAMES}");
            return Err(Error::invalid("data.columns", problem, "leave out columns of many categories"));
        }
        let refuse = |key: &str, problem: String, help: &str| Err(Error::invalid(key, problem, help));
        if !matches!(&self.loss.terms[..], [(LossKind::Columns, _)]) {
            let problem = format!("columns of a table are reconstructed by the loss \"columns\", not by {}", self.loss);
            return refuse("loss", problem, "use loss = \"columns\"");
        }
        if !self.data.is_table() {
            return Ok(());
        }
        if self.input[..] != [self.data.columns.len()] {
            let problem = format!("the input is {}, but data.columns has {}", self.input, self.data.columns.len());
            return refuse("input", problem, "write sets_input = true below [data]");
        }
        let categorical = self.data.columns.iter().any(Column::is_categorical);
        let changed = self.corruption != Corruption::None || self.data.binarise != Binarise::None;
        if categorical && changed {
            let key = if self.corruption != Corruption::None { "corruption" } else { "data.binarise" };
            let problem = "categories are no numbers that could be changed so".to_owned();
            return refuse(key, problem, "begin the encoder with { dropout = 0.2 }, say");
        }
        if categorical && self.penalties.contractive.is_some() {
            let problem = "codes have no derivative by categories".to_owned();
            return refuse("penalties.contractive", problem, "leave it out");
        }
        Ok(())
    }
}
