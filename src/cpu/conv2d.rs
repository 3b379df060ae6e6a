//! The twin of `shaders/conv2d.wgsl`, by images: the windows of an image become the columns of a matrix (im2col), and the
//! convolution a product.

use super::elementwise::Fused;
use super::matmul::{Matrix, multiply};
use super::real::Real;
use rayon::prelude::*;

/// The constants of the kernel, in the table's order.
struct Sizes {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    o: usize,
    p: usize,
    q: usize,
    r: usize,
    s: usize,
    stride: [usize; 2],
    padding: [usize; 2],
    splits: usize,
}

impl Sizes {
    fn new(constants: [usize; 18]) -> Sizes {
        let [n, c, h, w, o, p, q, r, s, stride_h, stride_w, pad_h, pad_w, _, _, splits, _, _] = constants;
        Sizes { n, c, h, w, o, p, q, r, s, stride: [stride_h, stride_w], padding: [pad_h, pad_w], splits }
    }

    fn taps(&self) -> usize {
        self.c * self.r * self.s
    }

    fn positions(&self) -> usize {
        self.p * self.q
    }

    fn columns<T: Real>(&self) -> Vec<T> {
        vec![T::ZERO; self.taps() * self.positions()]
    }

    /// Visits every tap: its row of the column matrix, its plane, and its shifts.
    fn each_tap(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let mut row = 0;
        for c in 0..self.c {
            for r in 0..self.r {
                for s in 0..self.s {
                    visit(row, c, r, s);
                    row += 1;
                }
            }
        }
    }

    /// The positions `from .. to` along an axis at which a tap meets the input rather than padding.
    fn inside(&self, axis: usize, tap: usize) -> (usize, usize) {
        let (input, output) = if axis == 0 { (self.h, self.p) } else { (self.w, self.q) };
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let from = padding.saturating_sub(tap).div_ceil(stride).min(output);
        let to = (input + padding).saturating_sub(tap).div_ceil(stride).min(output);
        (from, to.max(from))
    }

    /// Calls `visit` with each run of positions along a row that meets the input: where it begins among the column
    /// matrix's elements, where in the image, and its length. What is left out meets padding.
    fn each_run(&self, mut visit: impl FnMut(usize, usize, usize)) {
        self.each_tap(|row, c, r, s| {
            let (from_p, to_p) = self.inside(0, r);
            let (from_q, to_q) = self.inside(1, s);
            for p in from_p..to_p {
                let h = p * self.stride[0] + r - self.padding[0];
                let at = row * self.positions() + p * self.q + from_q;
                if to_q > from_q {
                    let w = from_q * self.stride[1] + s - self.padding[1];
                    visit(at, (c * self.h + h) * self.w + w, to_q - from_q);
                }
            }
        });
    }

    /// The windows of an image `[c, h, w]` as columns: `[c r s, p q]`. Elements that meet padding must be zero already and
    /// stay so from image to image.
    fn image_to_columns<T: Real>(&self, image: &[T], columns: &mut [T]) {
        let stride = self.stride[1];
        self.each_run(|at, from, count| {
            let target = &mut columns[at..at + count];
            if stride == 1 {
                target.copy_from_slice(&image[from..from + count]);
            } else {
                for (value, source) in target.iter_mut().zip(image[from..].iter().step_by(stride)) {
                    *value = *source;
                }
            }
        });
    }

    /// Adds columns back to where in the image they came from.
    fn columns_to_image<T: Real>(&self, columns: &[T], image: &mut [T]) {
        let stride = self.stride[1];
        image.fill(T::ZERO);
        self.each_run(|at, from, count| {
            for (value, target) in columns[at..at + count].iter().zip(image[from..].iter_mut().step_by(stride)) {
                *target += *value;
            }
        });
    }
}

/// y from x and weight.
pub(super) fn forward<T: Real>(constants: [usize; 18], x: &[T], weight: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    let (taps, positions) = (sizes.taps(), sizes.positions());
    let image = sizes.c * sizes.h * sizes.w;
    let weight = Matrix { elements: weight, row: taps, column: 1 };
    y.par_chunks_mut(sizes.o * positions).enumerate().for_each_init(
        || (sizes.columns(), fused.scratch()),
        |(columns, scratch), (n, y)| {
            sizes.image_to_columns(&x[n * image..(n + 1) * image], columns);
            let columns = Matrix { elements: columns, row: positions, column: 1 };
            multiply([sizes.o, positions, taps], weight, columns, y, false, gemm::Parallelism::None);
            fused.apply(scratch, n * sizes.o * positions, y);
        },
    );
}

/// x's gradient from y's and weight.
pub(super) fn grad_input<T: Real>(constants: [usize; 18], upstream: &[T], weight: &[T], x: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    let (taps, positions) = (sizes.taps(), sizes.positions());
    let image = sizes.c * sizes.h * sizes.w;
    let weight = Matrix { elements: weight, row: 1, column: taps };
    x.par_chunks_mut(image).enumerate().for_each_init(
        || (sizes.columns(), fused.scratch()),
        |(columns, scratch), (n, x)| {
            let upstream = &upstream[n * sizes.o * positions..(n + 1) * sizes.o * positions];
            let upstream = Matrix { elements: upstream, row: positions, column: 1 };
            multiply([taps, positions, sizes.o], weight, upstream, columns, false, gemm::Parallelism::None);
            sizes.columns_to_image(columns, x);
            fused.apply(scratch, n * image, x);
        },
    );
}

/// weight's gradient from x and y's: a partial sum for each split of the batch.
pub(super) fn grad_weight<T: Real>(constants: [usize; 18], x: &[T], upstream: &[T], partial: &mut [T]) {
    let sizes = Sizes::new(constants);
    let (taps, positions) = (sizes.taps(), sizes.positions());
    let image = sizes.c * sizes.h * sizes.w;
    let images = sizes.n.div_ceil(sizes.splits);
    partial.par_chunks_mut(sizes.o * taps).enumerate().for_each_init(
        || sizes.columns(),
        |columns, (split, partial)| {
            partial.fill(T::ZERO);
            for n in split * images..((split + 1) * images).min(sizes.n) {
                sizes.image_to_columns(&x[n * image..(n + 1) * image], columns);
                let upstream = &upstream[n * sizes.o * positions..(n + 1) * sizes.o * positions];
                let upstream = Matrix { elements: upstream, row: positions, column: 1 };
                let columns = Matrix { elements: &columns[..], row: 1, column: positions };
                multiply([sizes.o, taps, positions], upstream, columns, partial, true, gemm::Parallelism::None);
            }
        },
    );
}
