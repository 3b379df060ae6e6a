//! The twin of `shaders/assign.wgsl`.

use super::real::Real;

/// The number of values of a block.
const BLOCK: usize = 64;

/// Copies each block of weights to its offset in the 16-bit copies.
pub(super) fn narrow<T: Copy>(weights: &[T], copied: &[u32], copies: &mut [T]) {
    for pair in copied.chunks_exact(2) {
        let (from, to) = (pair[0] as usize, pair[1] as usize);
        copies[to..to + BLOCK].copy_from_slice(&weights[from..from + BLOCK]);
    }
}

/// Copies each block of values to its offset in the parameters.
pub(super) fn assign<T: Copy>(values: &[T], blocks: &[u32], parameters: &mut [T]) {
    for (values, block) in values.chunks(BLOCK).zip(blocks.chunks_exact(2)) {
        let (start, count) = (block[0] as usize, block[1] as usize);
        parameters[start..start + count].copy_from_slice(&values[..count]);
    }
}

/// Copies each block as [`assign`] does, but only if the norm of all gradients is finite.
pub(super) fn guarded_assign<T: Real>(values: &[T], blocks: &[u32], norm: T, parameters: &mut [T]) {
    if norm.to_f64().is_finite() {
        assign(values, blocks, parameters);
    }
}
