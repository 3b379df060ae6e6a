//! What changes from step to step and lives on the device: the step state, the optimiser's schedule, the metrics' ring.

use super::kernel::Kernel;
use crate::graph::{STATE_LENGTH, Value};

/// The words of the state. `shaders/*.wgsl` name the same positions, which a test compares.
pub const SEED: usize = 0;
/// Steps done since the beginning of training.
pub const STEP: usize = 2;
/// Steps done in this epoch: the row of the schedule.
pub const POSITION: usize = 3;
/// Samples seen in this epoch: where the next batch begins in the permutation.
pub const OFFSET: usize = 4;

/// Steps whose metrics the ring holds before the oldest are overwritten.
pub const RING_CAPACITY: usize = 4096;

/// Numbers in a row of the schedule.
pub const SCHEDULE_COLUMNS: usize = 8;

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

/// How parameters follow their gradients.
#[derive(Clone, Debug, PartialEq)]
pub enum Optimizer {
    /// Gradient descent: p -= rate g.
    Sgd,
    /// Adam: Kingma and Ba, arXiv 1412.6980, as PyTorch computes it.
    Adam {
        /// Decay of the first and of the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        epsilon: f64,
    },
}

impl Optimizer {
    /// The kernel of its update.
    pub fn kernel(&self) -> Kernel {
        match self {
            Optimizer::Sgd => Kernel::Sgd,
            Optimizer::Adam { .. } => Kernel::Adam,
        }
    }

    /// The buffers that hold its memory of past gradients, each as long as the parameters.
    pub fn moments(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd => &[],
            Optimizer::Adam { .. } => &["first_moment", "second_moment"],
        }
    }

    /// The schedule's row for step `step`, counted from 1, at the given learning rate. Computed in f64, so that the bias
    /// corrections of long runs stay exact.
    pub fn schedule_row(&self, step: u64, rate: f64) -> [f64; SCHEDULE_COLUMNS] {
        let mut row = [0.0; SCHEDULE_COLUMNS];
        match self {
            Optimizer::Sgd => row[0] = rate,
            Optimizer::Adam { betas: [first, second], epsilon } => {
                let exponent = step as f64;
                row[0] = rate / (1.0 - first.powf(exponent));
                row[1] = 1.0 / (1.0 - second.powf(exponent)).sqrt();
                row[2] = *epsilon;
                row[3] = 1.0 - first;
                row[4] = *second;
                row[5] = 1.0 - second;
            }
        }
        row
    }
}

/// What makes a plan a training step: gradients, an optimiser, and how many steps its schedule holds.
#[derive(Clone, Debug)]
pub struct Training {
    /// Every parameter's name and gradient.
    pub gradients: Vec<(String, Value)>,
    /// How the parameters follow.
    pub optimizer: Optimizer,
    /// Rows of the schedule: steps of an epoch.
    pub schedule_rows: usize,
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
