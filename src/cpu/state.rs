//! The twin of `shaders/state.wgsl`.

use super::real::Real;
use crate::plan::state::{OFFSET, POSITION, STEP};

/// Sums the partial sums of the step's metrics, writes them to the ring and advances the state to the next step.
pub(super) fn advance<T: Real>(
    [metrics, parts, capacity, samples]: [usize; 4],
    values: &[T],
    ring: &mut [T],
    state: &mut [u32],
) {
    let at = state[STEP] as usize % capacity * metrics;
    for (metric, parts) in ring[at..at + metrics].iter_mut().zip(values.chunks(parts)) {
        *metric = parts.iter().fold(T::ZERO, |sum, part| sum + *part);
    }
    state[STEP] += 1;
    state[POSITION] += 1;
    state[OFFSET] += samples as u32;
}
