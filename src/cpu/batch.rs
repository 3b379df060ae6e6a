//! The twin of `shaders/batch.wgsl`.

use super::real::{Real, vectorised};
use crate::plan::state::OFFSET;
use rayon::prelude::*;

/// Gathers the rows of the next batch from a data set of floats.
pub(super) fn batch_floats<T: Real>(sizes: [usize; 3], x: &[T], permutation: &[u32], state: &[u32], y: &mut [T]) {
    rows(sizes, permutation, state, y, |y, from| y.copy_from_slice(&x[from..from + y.len()]));
}

/// Gathers the rows of the next batch from a data set of bytes, as multiples of 1/255.
pub(super) fn batch_bytes<T: Real>(sizes: [usize; 3], x: &[u8], permutation: &[u32], state: &[u32], y: &mut [T]) {
    // The shader's products give the correctly rounded 32-bit quotient. In f64 the pixels are rounded in this way, too,
    // so that results can be compared with those in f32 and of PyTorch.
    rows(sizes, permutation, state, y, |y, from| {
        vectorised(
            (&x[from..], y),
            #[inline(always)]
            |(x, y)| {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = T::from_f64((*x as f32 / 255.0) as f64);
                }
            },
        );
    });
}

fn rows<T: Real>(
    [rows, _count, width]: [usize; 3],
    permutation: &[u32],
    state: &[u32],
    y: &mut [T],
    copy: impl Fn(&mut [T], usize) + Sync,
) {
    y.par_chunks_mut(width).with_min_len(16).enumerate().for_each(|(k, y)| {
        let row = permutation[(state[OFFSET] as usize + k).min(rows - 1)] as usize;
        copy(y, row.min(rows - 1) * width);
    });
}
