//! The twin of `shaders/random.wgsl`.

use super::real::Real;
use crate::plan::state::{SEED, STEP};
use crate::rng::{unit, words};

/// Multiples of 2⁻²⁴ in `[0, 1)`.
pub(super) fn uniform_draw<T: Real>([_count, stream]: [usize; 2], state: &[u32], y: &mut [T]) {
    for (block, y) in y.chunks_mut(4).enumerate() {
        for (y, word) in y.iter_mut().zip(draw(state, stream, block)) {
            *y = T::from_f64(unit(word) as f64);
        }
    }
}

/// Random words.
pub(super) fn bits([_count, stream]: [usize; 2], state: &[u32], y: &mut [u32]) {
    for (block, y) in y.chunks_mut(4).enumerate() {
        for (y, word) in y.iter_mut().zip(draw(state, stream, block)) {
            *y = word;
        }
    }
}

#[inline]
fn draw(state: &[u32], stream: usize, block: usize) -> [u32; 4] {
    let seed = state[SEED] as u64 | (state[SEED + 1] as u64) << 32;
    words(seed, state[STEP], stream as u32, block as u32)
}
