//! What changes from step to step and lives on the device: the step state, the optimiser's schedule, the metrics' ring.

use crate::graph::STATE_LENGTH;

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
