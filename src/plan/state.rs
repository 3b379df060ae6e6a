//! Data on the device that changes from step to step: the step state, the optimiser's schedule, the metrics' ring.

use crate::graph::STATE_LENGTH;

/// Steps done in this epoch, the index of the schedule's row. This and the next constants are positions in the state's
/// words; a test compares them with those in `shaders/*.wgsl`.
pub const POSITION: usize = 0;
/// The key of random draws, two words.
pub const SEED: usize = 1;
/// Steps done since the beginning of training.
pub const STEP: usize = 3;
/// Samples seen in this epoch: the start of the next batch in the permutation.
pub const OFFSET: usize = 4;

/// Steps whose metrics the ring holds before the oldest are overwritten.
pub const RING_CAPACITY: usize = 4096;

/// Columns of a row of the schedule; every step has one row for each parameter group.
pub const SCHEDULE_COLUMNS: usize = 16;
/// The learning rate as the optimiser's method scales it.
pub const RATE: usize = 0;
/// Weight decay through the gradient: the share of a parameter that is added to its gradient.
pub const DECAY: usize = 1;
/// Decoupled weight decay: the factor of a parameter before its update.
pub const SHRINK: usize = 2;
/// The largest magnitude of a gradient's element, where gradients are clipped by value.
pub const VALUE_LIMIT: usize = 3;
/// The largest norm of all gradients together, where gradients are clipped by norm.
pub const NORM_LIMIT: usize = 4;
/// Weight of this step's batch in its update's gradient: 1, or less where several batches are accumulated.
pub const SHARE: usize = 5;
/// 1 where the update waits for more batches to be accumulated, else 0.
pub const WAIT: usize = 6;
/// Rate at which the parameters' running average moves towards them.
pub const AVERAGING: usize = 7;
/// First column of the numbers that depend on the method.
pub const METHOD_NUMBERS: usize = 8;
/// Offset of a step's schedule row in the buffer of the norm, where a device binds too few buffers for both.
pub const CURRENT: usize = 64;

/// Name of the buffer of statistics of all gradients together.
pub const NORM: &str = "norm";
/// The sum of the gradients' squares.
pub const SQUARES: usize = 0;
/// Number of skipped updates.
pub const SKIPPED: usize = 1;
/// The inverse scale: the factor of scaled gradients in this update.
pub const INVERSE: usize = 2;
/// The scale of the loss's derivative: a power of two.
pub const SCALE: usize = 3;
/// Updates since the scale last changed.
pub const GOOD: usize = 4;

/// Scale of the loss's derivative, so that numbers stored in 16 bits neither overflow nor vanish: halved by an update
/// with non-finite gradients, which is skipped, and doubled after [`LossScale::GROWTH_INTERVAL`] good ones.
/// Micikevicius et al., arXiv 1710.03740; the numbers are those of torch.amp.GradScaler.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LossScale {
    /// The scale, a power of two.
    pub scale: f64,
    /// Updates since the scale last changed.
    pub good: u32,
}

impl LossScale {
    /// Good updates after which the scale is doubled.
    pub const GROWTH_INTERVAL: usize = 2000;
    /// Scale below which non-finite gradients have a cause other than the scale.
    pub const LEAST_USEFUL: f64 = 1.0 / 16384.0;
    /// The largest scale; its inverse is the smallest.
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
