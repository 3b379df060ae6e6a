//! The twin of `shaders/pool.wgsl`. Each thread takes whole images; the channels of a position are contiguous.

use super::elementwise::Fused;
use super::real::Real;
use rayon::prelude::*;
use std::iter::StepBy;
use std::ops::Range;

/// The constants of the kernels, in the table's order.
struct Sizes {
    c: usize,
    size: [usize; 2],
    positions: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

/// The number of constants.
const CONSTANTS: usize = 14;

impl Sizes {
    fn new(constants: [usize; CONSTANTS]) -> Sizes {
        let [_n, c, h, w, p, q, r, s, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w] = constants;
        let (size, positions, window) = ([h, w], [p, q], [r, s]);
        let (stride, padding, dilation) = ([stride_h, stride_w], [pad_h, pad_w], [dilation_h, dilation_w]);
        Sizes { c, size, positions, window, stride, padding, dilation }
    }

    /// The number of elements of the large picture.
    fn large(&self) -> usize {
        self.size[0] * self.size[1] * self.c
    }

    /// The number of elements of the small picture.
    fn small(&self) -> usize {
        self.positions[0] * self.positions[1] * self.c
    }

    /// The index of the first channel of a position in the large picture.
    fn large_at(&self, h: usize, w: usize) -> usize {
        (h * self.size[1] + w) * self.c
    }

    /// The index of the first channel of a position in the small picture.
    fn small_at(&self, p: usize, q: usize) -> usize {
        (p * self.positions[1] + q) * self.c
    }

    /// The range of a position's window within the picture, along an axis.
    fn inside(&self, axis: usize, position: usize) -> StepBy<Range<usize>> {
        let (size, positions) = (self.size[axis], self.positions[axis]);
        if self.window[axis] == 0 {
            // Adaptive windows divide the picture among the positions.
            return (position * size / positions..((position + 1) * size).div_ceil(positions)).step_by(1);
        }
        let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
        let start = position * self.stride[axis];
        let outside = padding.saturating_sub(start).div_ceil(dilation);
        let end = (start + (self.window[axis] - 1) * dilation + 1 - padding).min(size);
        (start + outside * dilation - padding..end).step_by(dilation)
    }

    /// Visits every position with each element of its window.
    fn each_pair(&self, mut visit: impl FnMut(usize, usize)) {
        for p in 0..self.positions[0] {
            for q in 0..self.positions[1] {
                for h in self.inside(0, p) {
                    for w in self.inside(1, q) {
                        visit(self.small_at(p, q), self.large_at(h, w));
                    }
                }
            }
        }
    }

    /// Visits every position and channel with the index of the first largest key of its window.
    fn each_maximum<T: Real>(&self, keys: &[T], mut visit: impl FnMut(usize, usize)) {
        for p in 0..self.positions[0] {
            for q in 0..self.positions[1] {
                let (rows, columns) = (self.inside(0, p), self.inside(1, q));
                let first = self.large_at(rows.clone().next().unwrap_or(0), columns.clone().next().unwrap_or(0));
                for c in 0..self.c {
                    let mut best = first + c;
                    for h in rows.clone() {
                        for w in columns.clone() {
                            let at = self.large_at(h, w) + c;
                            if keys[at] > keys[best] {
                                best = at;
                            }
                        }
                    }
                    visit(self.small_at(p, q) + c, best);
                }
            }
        }
    }

    /// Along an axis, the rows or columns of the small picture before and after a position of the large picture, and
    /// the interpolation weight of the one after it.
    fn neighbours(&self, axis: usize, position: usize) -> (usize, usize, f64) {
        let stride = self.stride[axis];
        let halves = (2 * position + 1).saturating_sub(stride);
        let before = halves / (2 * stride);
        (before, (before + 1).min(self.positions[axis] - 1), (halves % (2 * stride)) as f64 / (2 * stride) as f64)
    }

    /// Visits each position of the large picture with the four positions of the small picture that it interpolates, and
    /// their weights.
    fn each_part<T: Real>(&self, mut visit: impl FnMut(usize, usize, T)) {
        for h in 0..self.size[0] {
            let (upper, lower, down) = self.neighbours(0, h);
            for w in 0..self.size[1] {
                let (left, right, across) = self.neighbours(1, w);
                for (p, row) in [(upper, 1.0 - down), (lower, down)] {
                    for (q, column) in [(left, 1.0 - across), (right, across)] {
                        visit(self.large_at(h, w), self.small_at(p, q), T::from_f64(row * column));
                    }
                }
            }
        }
    }
}

/// Clears each picture of `y`, and calls `compute` for it.
fn each_picture<T: Real>(
    x: &[T],
    y: &mut [T],
    [from, to]: [usize; 2],
    fused: &Fused<T>,
    compute: impl Fn(&[T], &mut [T]) + Sync,
) {
    y.par_chunks_mut(to).zip(x.par_chunks(from)).for_each(|(y, x)| {
        y.fill(T::ZERO);
        compute(x, y);
    });
    fused.fill(y);
}

fn add<T: Real>(y: &mut [T], x: &[T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += *x;
    }
}

/// The sum of each window.
pub(super) fn sum_pool<T: Real>(constants: [usize; CONSTANTS], x: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_picture(x, y, [sizes.large(), sizes.small()], fused, |x, y| {
        sizes.each_pair(|small, large| add(&mut y[small..][..sizes.c], &x[large..]));
    });
}

/// For each element, the sum over the positions whose windows contain it.
pub(super) fn sum_pool_spread<T: Real>(constants: [usize; CONSTANTS], x: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_picture(x, y, [sizes.small(), sizes.large()], fused, |x, y| {
        sizes.each_pair(|small, large| add(&mut y[large..][..sizes.c], &x[small..]));
    });
}

/// In each window, the value at its first largest key.
pub(super) fn max_pool<T: Real>(constants: [usize; CONSTANTS], x: &[T], keys: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    let pictures = x.par_chunks(sizes.large()).zip(keys.par_chunks(sizes.large()));
    y.par_chunks_mut(sizes.small()).zip(pictures).for_each(|(y, (x, keys))| {
        sizes.each_maximum(keys, |small, large| y[small] = x[large]);
    });
    fused.fill(y);
}

/// For each element, the sum over the positions in whose windows it has the first largest key.
pub(super) fn max_pool_spread<T: Real>(
    constants: [usize; CONSTANTS],
    x: &[T],
    keys: &[T],
    y: &mut [T],
    fused: &Fused<T>,
) {
    let sizes = Sizes::new(constants);
    let pictures = x.par_chunks(sizes.small()).zip(keys.par_chunks(sizes.large()));
    y.par_chunks_mut(sizes.large()).zip(pictures).for_each(|(y, (x, keys))| {
        y.fill(T::ZERO);
        sizes.each_maximum(keys, |small, large| y[large] += x[small]);
    });
    fused.fill(y);
}

/// The small picture enlarged by linear interpolation.
pub(super) fn linear_resize<T: Real>(constants: [usize; CONSTANTS], x: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_picture(x, y, [sizes.small(), sizes.large()], fused, |x, y| {
        sizes.each_part(|large, small, part: T| {
            for (y, x) in y[large..][..sizes.c].iter_mut().zip(&x[small..]) {
                *y += *x * part;
            }
        });
    });
}

/// The transpose of [`linear_resize`]: for each position of the small picture, the sum of the positions of the large
/// picture that it contributes to, times the interpolation weights.
pub(super) fn linear_resize_spread<T: Real>(constants: [usize; CONSTANTS], x: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_picture(x, y, [sizes.large(), sizes.small()], fused, |x, y| {
        sizes.each_part(|large, small, part: T| {
            for (y, x) in y[small..][..sizes.c].iter_mut().zip(&x[large..]) {
                *y += *x * part;
            }
        });
    });
}
