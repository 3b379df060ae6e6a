//! Side data of a [`Dataset`]: labels, conditions, targets and lengths, one for each sample.

use super::arrangement::{Arrangement, arrangement};
use super::dataset::{Dataset, join};
use super::labels::Labels;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// Subjects of the message about targets and samples that are scaled differently.
pub(super) const TARGETS: [&str; 2] = ["its targets are", "the samples are"];

impl Dataset {
    /// The labels, one for each sample, if there are any that can be read. Training uses them only for a
    /// model's condition.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref().and_then(|labels| labels.as_ref().ok())
    }

    /// The labels, if they are required. `model` says in messages what requires them. Fails where there are none,
    /// and where they cannot be read.
    pub(crate) fn needed_labels(&self, model: &str) -> Result<&Labels> {
        let fail = |problem: String, help: &str| Err(Error::in_data(self.name(), problem, help));
        match &self.labels {
            Some(Ok(labels)) => Ok(labels),
            Some(Err(fault)) => {
                fail(format!("its labels cannot be used: {fault}{model}"), "give labels as text or whole numbers")
            }
            None => {
                let help = "give digits, a folder with MNIST's label files, an .npz file with x and y, or a CSV file whose \
                            label column --label names";
                fail(format!("it has no labels{model}"), help)
            }
        }
    }

    /// Sets the labels. Fails unless there is one for each sample.
    pub fn with_labels(mut self, labels: impl Into<Labels>) -> Result<Dataset> {
        let labels = labels.into();
        expect_one_each("labels", labels.len(), self.len())?;
        self.labels = Some(Ok(labels));
        Ok(self)
    }

    /// Sets the labels as read, or the reason why they could not be, if the source has labels. Unreadable labels are an
    /// error only if labels are required.
    pub(super) fn with_read_labels(mut self, labels: Option<Result<Labels, String>>) -> Result<Dataset> {
        match labels {
            Some(Ok(labels)) => self.with_labels(labels),
            unreadable_or_none => {
                self.labels = unreadable_or_none;
                Ok(self)
            }
        }
    }

    /// Sets the conditions, one for each sample: the input of models with `condition = { vector = SIZE }`.
    /// Fails where their number differs from the samples'.
    pub fn with_conditions(mut self, conditions: Dataset) -> Result<Dataset> {
        expect_one_each("conditions", conditions.len(), self.len())?;
        self.conditions = Some(Box::new(conditions));
        Ok(self)
    }

    /// Changes the conditions, if there are any.
    pub(super) fn map_conditions(mut self, change: impl FnOnce(Dataset) -> Result<Dataset>) -> Result<Dataset> {
        self.conditions = self.conditions.map(|conditions| change(*conditions).map(Box::new)).transpose()?;
        Ok(self)
    }

    /// The conditions of the samples, if there are any.
    pub fn conditions(&self) -> Option<&Dataset> {
        self.conditions.as_deref()
    }

    /// Sets the targets, which a model learns to output for the samples, such as clean pictures for noisy ones. Fails
    /// where their number or shape differs from the samples' (see [`arrangement`] for shapes), and where they are
    /// scaled differently, for example bytes, which mean 0 to 1, for floats from 0 to 255.
    pub fn with_targets(mut self, targets: Dataset) -> Result<Dataset> {
        expect_one_each("targets", targets.len(), self.len())?;
        if arrangement(targets.sample_shape(), self.sample_shape()) != Some(Arrangement::Unchanged) {
            let problem = format!("they are {}, the samples {}", targets.sample_shape(), self.sample_shape());
            return Err(Error::invalid("targets", problem, "give targets of the samples' shape"));
        }
        targets.expect_scaled_as(&self, TARGETS)?;
        self.targets = Some(Box::new(targets));
        Ok(self)
    }

    /// The targets, if a model is to output anything but the samples themselves.
    pub fn targets(&self) -> Option<&Dataset> {
        self.targets.as_deref()
    }

    /// Sets the valid steps of each sequence `[steps, features]` (or `[1, steps, features]`); later steps are masked.
    /// Fails unless each has a length, of at least 1 and at most all steps, and where samples are not sequences.
    pub fn with_lengths(mut self, lengths: Vec<u32>) -> Result<Dataset> {
        let ([steps, _] | [1, steps, _]) = self.sample_shape()[..] else {
            let problem = format!("samples {} are no sequences", self.sample_shape());
            return Err(Error::invalid("lengths", problem, "give samples [steps, features]"));
        };
        check_lengths(&lengths, self.len(), steps)?;
        self.lengths = Some(lengths);
        Ok(self)
    }

    /// The number of valid steps of each sequence, if lengths are set.
    pub fn lengths(&self) -> Option<&[u32]> {
        self.lengths.as_deref()
    }

    /// The number of values in a sample's valid steps.
    pub(crate) fn elements_of(&self, sample: usize) -> usize {
        let size = self.sample_shape().elements();
        match (&self.lengths, &self.sample_shape()[..]) {
            (Some(lengths), [.., steps, _]) => lengths[sample] as usize * (size / steps),
            _ => size,
        }
    }

    /// Concatenates data sets of equal length sample by sample: each sample has the numbers of all their samples, one
    /// after the other. In memory if all of them are.
    pub(crate) fn joined(parts: Vec<Cow<Dataset>>) -> Result<Dataset> {
        let width = parts.iter().map(|part| part.sample_shape().elements()).sum::<usize>();
        if parts.iter().all(|part| part.in_memory()) {
            let parts = parts.iter().map(|part| (part.values(), part.sample_shape().elements()));
            let values = join(&parts.collect::<Vec<_>>());
            return Ok(Dataset::from_parts("data", [width].into(), values, None));
        }
        Ok(Dataset::of_parts([width].into(), parts.into_iter().map(Cow::into_owned).collect()))
    }
}

fn expect_one_each(what: &'static str, count: usize, samples: usize) -> Result<()> {
    if count == samples {
        return Ok(());
    }
    let problem = format!("{count} {what} given for {samples} samples");
    Err(Error::invalid(what, problem, "give one for each sample"))
}

/// Fails unless there is a length for each sample, of at least one step and at most all.
pub(crate) fn check_lengths(lengths: &[u32], samples: usize, steps: usize) -> Result<()> {
    expect_one_each("lengths", lengths.len(), samples)?;
    match lengths.iter().position(|length| !(1..=steps).contains(&(*length as usize))) {
        Some(sample) => {
            let problem = format!("that of sample {sample}, counted from 0, is {}", lengths[sample]);
            Err(Error::invalid("lengths", problem, format!("give 1 to {steps}")))
        }
        None => Ok(()),
    }
}
