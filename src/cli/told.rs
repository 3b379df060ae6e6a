//! What a conditional model is told on the command line, in place of what data says.

use pinhole::data::Dataset;
use pinhole::error::{Error, Result};
use pinhole::model::spec::Condition;
use pinhole::model::{Given, Network};

#[derive(clap::Args)]
pub struct Told {
    /// For models with labels as their condition: the label that all samples are taken to have
    #[arg(long, value_name = "N", conflicts_with = "condition")]
    label: Option<u8>,
    /// For models with a vector as their condition: the one that all samples are taken to have
    #[arg(long, value_name = "X,..", value_delimiter = ',', allow_hyphen_values = true)]
    condition: Vec<f32>,
}

impl Told {
    /// Whether anything is told.
    pub fn is_some(&self) -> bool {
        self.label.is_some() || !self.condition.is_empty()
    }

    /// What one sample is given. Fails where a model with a condition is told nothing, and where it is told what it does not
    /// take.
    pub fn one(&self, network: &Network) -> Result<Given> {
        let condition = network.spec().condition;
        let fail = |problem: String, help: String| Err(Error::invalid("condition", problem, help));
        match (condition, self.label) {
            (Condition::None, None) if self.condition.is_empty() => Ok(Given::default()),
            (Condition::Labels { count }, Some(label)) if usize::from(label) < count => {
                Ok(Given::labels([usize::from(label)], count))
            }
            (Condition::Labels { count }, Some(label)) => {
                fail(format!("there is no label {label}"), format!("give --label 0 to {}", count - 1))
            }
            (Condition::Labels { .. }, None) => {
                fail(format!("the model's is {condition}"), "give --label N".to_owned())
            }
            (Condition::Vector { size }, _) if self.condition.len() == size => {
                Ok(Given::conditions(self.condition.clone()))
            }
            (Condition::Vector { size }, _) => {
                fail(format!("the model's is {condition}"), format!("give --condition with {size} numbers"))
            }
            (Condition::None, _) => {
                fail("the model has none".to_owned(), "leave --label and --condition out".to_owned())
            }
        }
    }

    /// Data whose samples are what they are taken to be: as it is where nothing is told.
    pub fn about(&self, network: &Network, data: Dataset) -> Result<Dataset> {
        if !self.is_some() {
            return Ok(data);
        }
        let one = self.one(network)?;
        let count = data.len();
        match self.label {
            Some(label) => data.with_labels(vec![label; count]),
            None => {
                let size = one.conditions.len();
                data.with_conditions(Dataset::from_f32([size], one.conditions.repeat(count))?)
            }
        }
    }
}
