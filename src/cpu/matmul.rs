//! The twin of `shaders/matmul.wgsl`; the products are the `gemm` crate's.

use super::elementwise::Fused;
use super::real::Real;
use rayon::prelude::*;

/// A matrix in memory: its elements and the distances between rows and between columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub elements: &'a [T],
    pub row: usize,
    pub column: usize,
}

/// Batched matrix products.
pub(super) fn product<T: Real>(constants: [usize; 12], lhs: &[T], rhs: &[T], y: &mut [T], fused: &Fused<T>) {
    let [batch, m, n, k, lhs_batch, lhs_m, lhs_k, rhs_batch, rhs_k, rhs_n, _tile_m, _tile_n] = constants;
    let one = |b: usize, y: &mut [T], threads: gemm::Parallelism| {
        let left = Matrix { elements: &lhs[b * lhs_batch..], row: lhs_m, column: lhs_k };
        let right = Matrix { elements: &rhs[b * rhs_batch..], row: rhs_k, column: rhs_n };
        multiply([m, n, k], left, right, y, false, threads);
    };
    if batch == 1 {
        one(0, y, gemm::Parallelism::Rayon(0));
        fused.fill(y);
    } else {
        y.par_chunks_mut(m * n).enumerate().for_each_init(
            || fused.scratch(),
            |scratch, (b, y)| {
                one(b, y, gemm::Parallelism::None);
                fused.apply(scratch, b * m * n, y);
            },
        );
    }
}

/// y \[m, n\] = left \[m, k\] right \[k, n\], or added to y where `accumulate`.
pub(super) fn multiply<T: Real>(
    [m, n, k]: [usize; 3],
    left: Matrix<T>,
    right: Matrix<T>,
    y: &mut [T],
    accumulate: bool,
    threads: gemm::Parallelism,
) {
    let reaches = |matrix: Matrix<T>, rows: usize, columns: usize| {
        matrix.elements.len() > (rows - 1) * matrix.row + (columns - 1) * matrix.column
    };
    assert!(reaches(left, m, k) && reaches(right, k, n) && y.len() >= m * n, "a product reaches beyond its operands");
    // SAFETY: the last element of each matrix lies inside its slice, as just checked, and y is borrowed mutably.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            left.elements.as_ptr(),
            left.column as isize,
            left.row as isize,
            right.elements.as_ptr(),
            right.column as isize,
            right.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            threads,
        );
    }
}
