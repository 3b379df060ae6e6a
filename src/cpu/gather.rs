//! The twin of `shaders/gather.wgsl`.

use super::real::Real;

/// y\[k\] = x\[indices\[k\]\]
pub(super) fn gather<T: Real>([rows, _count, width]: [usize; 3], x: &[T], indices: &[u32], y: &mut [T]) {
    for (y, index) in y.chunks_mut(width).zip(indices) {
        let row = (*index as usize).min(rows - 1);
        y.copy_from_slice(&x[row * width..(row + 1) * width]);
    }
}

/// y\[v\] = the sum of x\[k\] over the k with indices\[k\] = v.
pub(super) fn scatter_add<T: Real>([rows, _count, width]: [usize; 3], x: &[T], indices: &[u32], y: &mut [T]) {
    y.fill(T::ZERO);
    for (x, index) in x.chunks(width).zip(indices) {
        let row = *index as usize;
        if row < rows {
            for (y, x) in y[row * width..(row + 1) * width].iter_mut().zip(x) {
                *y += *x;
            }
        }
    }
}
