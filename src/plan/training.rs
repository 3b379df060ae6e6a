//! What makes a plan a training step: the trained parameters, what happens to their gradients, and what a step reports.

use super::optimizer::Optimizer;
use super::state::{GOOD, SKIPPED};
use crate::graph::Value;

/// A parameter that is trained.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Its name.
    pub parameter: String,
    /// Its gradient.
    pub gradient: Value,
    /// Which of the schedule's groups it follows.
    pub group: usize,
}

/// What makes a plan a training step. Parameters that are not among the trained stay as they are.
#[derive(Clone, Debug)]
pub struct Training {
    /// The parameters that are trained.
    pub trained: Vec<Trained>,
    /// How they follow their gradients.
    pub optimizer: Optimizer,
    /// What happens to the gradients before.
    pub gradients: Gradients,
    /// Groups of the schedule: parameters of one group share its numbers.
    pub groups: usize,
    /// Rows of each group: steps of an epoch.
    pub schedule_rows: usize,
}

/// What happens to gradients between the backward pass and the optimiser. The numbers stand in the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gradients {
    /// Whether several batches are accumulated for an update.
    pub accumulated: bool,
    /// Whether elements are limited in magnitude.
    pub value_limit: bool,
    /// Whether all of them together are limited in norm.
    pub norm_limit: bool,
    /// Whether an update whose gradients are not all finite is left out and counted.
    pub skip: bool,
    /// Whether an average of the parameters follows them.
    pub averaged: bool,
    /// Whether they come multiplied by the scale in [`NORM`](super::state::NORM); an update whose gradients are not all finite is then left
    /// out in any case.
    pub scaled: bool,
}

impl Gradients {
    /// Numbers in the buffer [`NORM`](super::state::NORM).
    pub fn norm_numbers(&self) -> usize {
        if self.scaled { GOOD + 1 } else { SKIPPED + 1 }
    }
}

impl Training {
    /// A training of these parameters and gradients in one group, with nothing between the two.
    pub fn new(
        gradients: impl IntoIterator<Item = (String, Value)>,
        optimizer: Optimizer,
        schedule_rows: usize,
    ) -> Training {
        let trained = gradients.into_iter().map(|(parameter, gradient)| Trained { parameter, gradient, group: 0 });
        Training { trained: trained.collect(), optimizer, gradients: Gradients::default(), groups: 1, schedule_rows }
    }

    /// How many numbers are kept of every parameter in the buffer `moments`: the optimiser's, then the gradients that are
    /// accumulated. Where a launch binds few buffers there is always room for those, which no step leaves anything in unless
    /// they are accumulated.
    pub fn moments(&self) -> usize {
        self.optimizer.moments() + usize::from(self.gradients.accumulated)
    }
}

/// What a plan with a step state reports of every step.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The state, an input of the graph.
    pub state: Value,
    /// The numbers kept of every step: one axis.
    pub values: Value,
    /// The name of the ring's buffer.
    pub ring: String,
    /// Samples of a step's batch.
    pub samples: usize,
}
