//! The twin of `shaders/rows.wgsl`.

use super::elementwise::{Fused, TASK};
use super::real::Real;
use rayon::prelude::*;

/// Rows of `length` elements, each computed from the results of its reductions.
pub(super) fn rows<T: Real>([_rows, length]: [usize; 2], y: &mut [T], fused: &Fused<T>) {
    let rows = (TASK / length).max(1);
    y.par_chunks_mut(rows * length).enumerate().for_each_init(
        || fused.scratch(),
        |scratch, (task, y)| {
            for (index, y) in y.chunks_mut(length).enumerate() {
                fused.row(scratch, (task * rows + index) * length, y);
            }
        },
    );
}
