//! The twin of `shaders/assign.wgsl`.

use super::real::Real;

/// Values of a block.
const BLOCK: usize = 64;

/// Copies each block of weights to its offset in the 16-bit copies.
pub(super) fn narrow<T: Copy>(weights: &[T], copied: &[u32], copies: &mut [T]) {
    for place in copied.chunks_exact(2) {
        let (from, to) = (place[0] as usize, place[1] as usize);
        copies[to..to + BLOCK].copy_from_slice(&weights[from..from + BLOCK]);
    }
}

/// Copies each block of values to its offset in the parameters.
pub(super) fn assign<T: Copy>(values: &[T], blocks: &[u32], parameters: &mut [T]) {
    for (values, place) in values.chunks(BLOCK).zip(blocks.chunks_exact(2)) {
        let (start, count) = (place[0] as usize, place[1] as usize);
        parameters[start..start + count].copy_from_slice(&values[..count]);
    }
}

/// Moves each block only if the norm of all gradients is finite.
pub(super) fn guarded_assign<T: Real>(values: &[T], blocks: &[u32], norm: T, parameters: &mut [T]) {
    if norm.to_f64().is_finite() {
        assign(values, blocks, parameters);
    }
}
