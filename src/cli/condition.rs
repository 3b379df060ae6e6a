//! `--label` and `--condition`: the condition of a conditional model, in place of the data's.

use pinhole::data::{Dataset, Labels};
use pinhole::error::{Error, Result};
use pinhole::model::config::Condition;
use pinhole::model::{Network, SideInputs};

#[derive(clap::Args)]
pub struct ConditionArgument {
    /// The label to condition all samples on, for a model whose condition is a label
    #[arg(long, value_name = "LABEL", conflicts_with = "condition", allow_hyphen_values = true)]
    label: Option<String>,
    /// The vector to condition all samples on, for a model whose condition is a vector
    #[arg(long, value_name = "X,..", value_delimiter = ',', allow_hyphen_values = true)]
    condition: Vec<f32>,
    /// The column of a CSV file that holds the labels: its name, or its number counted from 1 [default: the run's]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
}

impl ConditionArgument {
    /// Whether `--label` or `--condition` is given.
    pub fn is_some(&self) -> bool {
        self.label.is_some() || !self.condition.is_empty()
    }

    /// The condition of one sample. Fails where the model needs a condition and the command line has none, and where
    /// the model does not take the condition of the command line.
    pub fn one(&self, network: &Network) -> Result<SideInputs> {
        let condition = network.spec().condition;
        let help = match (condition, &self.label) {
            (Condition::None, None) if self.condition.is_empty() => return Ok(SideInputs::default()),
            (Condition::Labels { count }, Some(label)) => {
                return Ok(SideInputs::labels([network.spec().class_of(label)?], count));
            }
            (Condition::Vector { size }, _) if self.condition.len() == size => {
                return Ok(SideInputs::conditions(self.condition.clone()));
            }
            (Condition::None, _) => {
                return Err(Error::invalid("condition", "the model has none", "leave --label and --condition out"));
            }
            (Condition::Labels { .. }, None) => "give --label LABEL".to_owned(),
            (Condition::Vector { size }, _) => format!("give --condition with {size} numbers"),
        };
        Err(Error::invalid("condition", format!("the model's is {condition}"), help))
    }

    /// Data whose samples all have the condition of the command line; unchanged data where it has none.
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
