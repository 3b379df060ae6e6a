//! The sizes of matrix products and convolutions, as the constants of their kernels.

use crate::graph::Window;
use crate::shape::Shape;

/// The constants of a batched matrix product, and its operations.
pub(super) fn matmul_constants(lhs: &Shape, rhs: &Shape, transpose_lhs: bool, transpose_rhs: bool) -> (Vec<u32>, u64) {
    let (rows, columns) = (lhs[lhs.len() - 2], lhs[lhs.len() - 1]);
    let (m, k, lhs_m, lhs_k) = if transpose_lhs { (columns, rows, 1, columns) } else { (rows, columns, columns, 1) };
    let (rhs_rows, rhs_columns) = (rhs[rhs.len() - 2], rhs[rhs.len() - 1]);
    let (n, rhs_k, rhs_n) = if transpose_rhs { (rhs_rows, 1, rhs_columns) } else { (rhs_columns, rhs_columns, 1) };
    let batch_of = |shape: &Shape| shape[..shape.len() - 2].iter().product::<usize>();
    let batch = batch_of(lhs).max(batch_of(rhs));
    let lhs_batch = if lhs.len() > 2 { m * k } else { 0 };
    let rhs_batch = if rhs.len() > 2 { k * n } else { 0 };
    let tile = |size: usize| size.min(4);
    let sizes = [batch, m, n, k, lhs_batch, lhs_m, lhs_k, rhs_batch, rhs_k, rhs_n, tile(m), tile(n)];
    (sizes.iter().map(|size| *size as u32).collect(), 2 * (batch * m * n * k) as u64)
}

/// The sizes of a convolution, by the letters of `shaders/conv2d.wgsl`.
pub(super) struct ConvSizes {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub o: usize,
    pub p: usize,
    pub q: usize,
    pub r: usize,
    pub s: usize,
    window: Window,
}

impl ConvSizes {
    pub fn new(window: Window, x: &Shape, weight: &Shape, y: &Shape) -> ConvSizes {
        let (n, c, h, w) = (x[0], x[1], x[2], x[3]);
        ConvSizes { n, c, h, w, o: y[1], p: y[2], q: y[3], r: weight[2], s: weight[3], window }
    }

    pub fn phase(&self) -> [usize; 2] {
        [self.h.div_ceil(self.window.stride[0]), self.w.div_ceil(self.window.stride[1])]
    }

    pub fn operations(&self) -> u64 {
        2 * (self.n * self.o * self.p * self.q * self.c * self.r * self.s) as u64
    }

    /// The constants, with tiles no larger than what there is to compute.
    pub fn constants(&self, channels: usize, positions: usize, splits: u32) -> Vec<u32> {
        let [phase_h, phase_w] = self.phase();
        let [stride_h, stride_w] = self.window.stride;
        let [pad_h, pad_w] = self.window.padding;
        let sizes = [
            self.n,
            self.c,
            self.h,
            self.w,
            self.o,
            self.p,
            self.q,
            self.r,
            self.s,
            stride_h,
            stride_w,
            pad_h,
            pad_w,
            phase_h,
            phase_w,
            splits as usize,
            channels.min(4),
            positions.min(4),
        ];
        sizes.iter().map(|size| *size as u32).collect()
    }
}
