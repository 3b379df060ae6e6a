//! What changes from step to step and lives on the device: the step state, the optimiser's schedule, the metrics' ring.

use super::optimizer::Optimizer;
use crate::graph::{STATE_LENGTH, Value};

/// The words of the state. `shaders/*.wgsl` name the same positions, which a test compares. The first is the steps done in
/// this epoch: the row of the schedule, which is gathered by it.
pub const POSITION: usize = 0;
/// The key of random draws, two words.
pub const SEED: usize = 1;
/// Steps done since the beginning of training.
pub const STEP: usize = 3;
/// Samples seen in this epoch: where the next batch begins in the permutation.
pub const OFFSET: usize = 4;

/// Steps whose metrics the ring holds before the oldest are overwritten.
pub const RING_CAPACITY: usize = 4096;

/// Numbers in a row of the schedule, of which every step has one for each group of parameters. Its columns:
pub const SCHEDULE_COLUMNS: usize = 16;
/// The learning rate, or what a method makes of it.
pub const RATE: usize = 0;
/// How much of a parameter is added to its gradient.
pub const DECAY: usize = 1;
/// What a parameter is multiplied by before it moves.
pub const SHRINK: usize = 2;
/// The largest magnitude of a gradient's element, where such a limit is set.
pub const VALUE_LIMIT: usize = 3;
/// The largest norm of all gradients together, where such a limit is set.
pub const NORM_LIMIT: usize = 4;
/// The part of this step's batch in the gradient of its update: 1, or less where several batches are accumulated.
pub const SHARE: usize = 5;
/// 1 where the parameters stay as they are until more batches are accumulated, else 0.
pub const WAIT: usize = 6;
/// How far the parameters' average goes towards them.
pub const AVERAGING: usize = 7;
/// The method's own numbers from here on.
pub const METHOD_NUMBERS: usize = 8;
/// Where a step's own rows lie behind the norm of its gradients, on a device that binds too few buffers to have them apart.
pub const CURRENT: usize = 64;

/// The buffer of what is known of all gradients together. Its numbers:
pub const NORM: &str = "norm";
/// The sum of their squares.
pub const SQUARES: usize = 0;
/// Updates that were left out.
pub const SKIPPED: usize = 1;
/// What scaled gradients are multiplied by for this update.
pub const INVERSE: usize = 2;
/// The scale of the loss's derivative: a power of two.
pub const SCALE: usize = 3;
/// Updates since the scale last changed.
pub const GOOD: usize = 4;

/// How the loss's derivative is scaled, so that what is stored in 16 bits neither overflows nor vanishes: halved by an
/// update whose gradients are not all finite, which is left out, and doubled after [`LossScale::GROWTH_INTERVAL`] others.
/// Micikevicius et al., arXiv 1710.03740; the numbers are those of torch.amp.GradScaler.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LossScale {
    /// The scale, a power of two.
    pub scale: f64,
    /// Updates since it last changed.
    pub good: u32,
}

impl LossScale {
    /// Good updates after which the scale is doubled.
    pub const GROWTH_INTERVAL: usize = 2000;
    /// Below this, gradients are not finite for another reason than their scale.
    pub const LEAST_USEFUL: f64 = 1.0 / 16384.0;
    /// It is never larger, and never smaller than the inverse.
    pub const LARGEST: f64 = (1u128 << 100) as f64;
}

impl Default for LossScale {
    fn default() -> LossScale {
        LossScale { scale: 65536.0, good: 0 }
    }
}

/// The state at the beginning of a run or an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The key of every random draw.
    pub seed: u64,
    /// Steps done since the beginning of training.
    pub step: u32,
    /// Steps done in this epoch.
    pub position: u32,
    /// Samples seen in this epoch.
    pub offset: u32,
}

impl State {
    /// The state as the device holds it.
    pub fn words(&self) -> Vec<u32> {
        let mut words = vec![0; STATE_LENGTH];
        words[SEED] = self.seed as u32;
        words[SEED + 1] = (self.seed >> 32) as u32;
        words[STEP] = self.step;
        words[POSITION] = self.position;
        words[OFFSET] = self.offset;
        words
    }
}

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
    /// Whether they come multiplied by the scale in [`NORM`]; an update whose gradients are not all finite is then left
    /// out in any case.
    pub scaled: bool,
}

impl Gradients {
    /// Numbers in the buffer [`NORM`].
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
