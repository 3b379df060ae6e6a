//! The twin of `shaders/state.wgsl`.

use super::real::Real;
use crate::plan::state::{OFFSET, POSITION, STEP};

/// Keeps the step's metrics in the ring and moves on to the next step.
pub(super) fn advance<T: Real>(
    [metrics, capacity, samples]: [usize; 3],
    values: &[T],
    ring: &mut [T],
    state: &mut [u32],
) {
    let at = state[STEP] as usize % capacity * metrics;
    ring[at..at + metrics].copy_from_slice(&values[..metrics]);
    state[STEP] += 1;
    state[POSITION] += 1;
    state[OFFSET] += samples as u32;
}
