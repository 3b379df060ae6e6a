//! The condition of a conditional model from the command line, in place of the data's.

use pinhole::data::{Dataset, Labels};
use pinhole::error::{Error, Result};
use pinhole::model::config::Condition;
use pinhole::model::{Network, SideInputs};

#[derive(clap::Args)]
pub struct ConditionArgument {
    /// The label of all samples, for a model with labels as its condition
    #[arg(long, value_name = "LABEL", conflicts_with = "condition", allow_hyphen_values = true)]
    label: Option<String>,
    /// The condition of all samples, for a model with a vector as its condition
    #[arg(long, value_name = "X,..", value_delimiter = ',', allow_hyphen_values = true)]
    condition: Vec<f32>,
    /// The column of a CSV file that holds the labels: its name, or its number counted from 1 [default: the run's]
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
}

impl ConditionArgument {
    /// The column of labels, where it is given.
    pub fn label_column(&self) -> Option<&str> {
        self.label_column.as_deref()
    }

    /// Whether `--label` or `--condition` is given.
    pub fn is_some(&self) -> bool {
        self.label.is_some() || !self.condition.is_empty()
    }

    /// The condition of one sample. Fails where a model with a condition is given none, and where the model does not
    /// take the one that is given.
    pub fn one(&self, network: &Network) -> Result<SideInputs> {
        let condition = network.spec().condition;
        let fail = |problem: String, help: String| Err(Error::invalid("condition", problem, help));
        match (condition, &self.label) {
            (Condition::None, None) if self.condition.is_empty() => Ok(SideInputs::default()),
            (Condition::Labels { count }, Some(label)) => {
                Ok(SideInputs::labels([network.spec().class_of(label)?], count))
            }
            (Condition::Labels { .. }, None) => {
                fail(format!("the model's is {condition}"), "give --label LABEL".to_owned())
            }
            (Condition::Vector { size }, _) if self.condition.len() == size => {
                Ok(SideInputs::conditions(self.condition.clone()))
            }
            (Condition::Vector { size }, _) => {
                fail(format!("the model's is {condition}"), format!("give --condition with {size} numbers"))
            }
            (Condition::None, _) => {
                fail("the model has none".to_owned(), "leave --label and --condition out".to_owned())
            }
        }
    }

    /// Data whose samples all have the condition that is given; unchanged data where none is given.
    pub fn about(&self, network: &Network, data: Dataset) -> Result<Dataset> {
        if !self.is_some() {
            return Ok(data);
        }
        let one = self.one(network)?;
        let count = data.len();
        match &self.label {
            Some(label) => data.with_labels(Labels::from_names(std::iter::repeat_n(label, count))),
            None => {
                let size = one.conditions.len();
                data.with_conditions(Dataset::from_f32([size], one.conditions.repeat(count))?)
            }
        }
    }
}
