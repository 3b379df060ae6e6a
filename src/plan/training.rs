//! Parts of a training step: the trained parameters, the treatment of their gradients, and the metrics.

use super::optimizer::Optimizer;
use super::state::{GOOD, SKIPPED};
use crate::graph::Value;

/// A parameter that is trained.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The parameter's name.
    pub parameter: String,
    /// The parameter's gradient.
    pub gradient: Value,
    /// The parameter's group in the schedule.
    pub group: usize,
}

/// The training part of a plan. Parameters that are not listed as trained do not change.
#[derive(Clone, Debug)]
pub struct Training {
    /// The parameters that are trained.
    pub trained: Vec<Trained>,
    /// The optimiser that updates the parameters.
    pub optimizer: Optimizer,
    /// The treatment of gradients before the update.
    pub gradients: Gradients,
    /// Number of groups of the schedule; the parameters of a group share its numbers.
    pub groups: usize,
    /// Rows of the schedule: the steps of an epoch.
    pub schedule_rows: usize,
}

/// The treatment of gradients between the backward pass and the optimiser. Its numbers are in the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gradients {
    /// Whether several batches are accumulated for an update.
    pub accumulated: bool,
    /// Whether gradients are clipped by value.
    pub value_limit: bool,
    /// Whether gradients are clipped by the norm of all together.
    pub norm_limit: bool,
    /// Whether updates with non-finite gradients are skipped and counted.
    pub skip: bool,
    /// Whether a running average of the parameters is kept.
    pub averaged: bool,
    /// Whether gradients are multiplied by the scale in [`NORM`](super::state::NORM); updates with non-finite gradients
    /// are then always skipped.
    pub scaled: bool,
}

impl Gradients {
    /// Whether updates with non-finite gradients are skipped.
    pub(super) fn skips(&self) -> bool {
        self.skip || self.scaled
    }

    /// Whether an update needs the norm of all gradients together.
    pub(super) fn is_normed(&self) -> bool {
        self.norm_limit || self.skips()
    }

    /// Numbers in the buffer [`NORM`](super::state::NORM).
    pub fn norm_numbers(&self) -> usize {
        if self.scaled { GOOD + 1 } else { SKIPPED + 1 }
    }
}

impl Training {
    /// Training of parameters, by name, by their gradients, in one group and without treatment of the gradients.
    pub fn new(
        gradients: impl IntoIterator<Item = (String, Value)>,
        optimizer: Optimizer,
        schedule_rows: usize,
    ) -> Training {
        let trained = gradients.into_iter().map(|(parameter, gradient)| Trained { parameter, gradient, group: 0 });
        Training { trained: trained.collect(), optimizer, gradients: Gradients::default(), groups: 1, schedule_rows }
    }

    /// Numbers kept for every parameter in the buffer `moments`: the optimiser's moments, then accumulated gradients.
    /// On a device that binds few buffers `moments` always has room for gradients, whose content does not outlive a
    /// step unless batches are accumulated.
    pub fn moments(&self) -> usize {
        self.optimizer.moments() + usize::from(self.gradients.accumulated)
    }
}

/// The metrics that a plan with a step state reports for every step.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The state, an input of the graph.
    pub state: Value,
    /// The metrics of a step: one axis.
    pub values: Value,
    /// The name of the ring's buffer.
    pub ring: String,
    /// Samples of a step's batch.
    pub samples: usize,
}
