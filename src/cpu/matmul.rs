//! The twin of `shaders/matmul.wgsl`; the products are those of the crates `gemm-f32` and `gemm-f64`.

use super::elementwise::Fused;
use super::real::{Real, each_pair};
use gemm_common::Parallelism;
use rayon::prelude::*;
use std::cell::Cell;

/// The side of the squares by which a matrix is transposed.
const SQUARE: usize = 16;
/// The number of multiplications below which a second thread does not pay.
const SERIAL: usize = 1 << 18;

/// A matrix in memory: its elements and the distances between rows and between columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub elements: &'a [T],
    pub row: usize,
    pub column: usize,
}

impl<T> Matrix<'_, T> {
    fn transposed(self) -> Self {
        Matrix { row: self.column, column: self.row, ..self }
    }
}

/// Batched matrix products.
pub(super) fn product<T: Real>(constants: [usize; 12], lhs: &[T], rhs: &[T], y: &mut [T], fused: &Fused<T>) {
    let [batch, m, n, k, lhs_batch, lhs_m, lhs_k, rhs_batch, rhs_k, rhs_n, _tile_m, _tile_n] = constants;
    let matrices = |b: usize| {
        let left = Matrix { elements: &lhs[b * lhs_batch..], row: lhs_m, column: lhs_k };
        let right = Matrix { elements: &rhs[b * rhs_batch..], row: rhs_k, column: rhs_n };
        (left, right)
    };
    if batch == 1 {
        let (left, right) = matrices(0);
        // Where the depth is split into parts, the first part gets the whole sum.
        let (y, rest) = y.split_at_mut(m * n);
        rest.fill(T::ZERO);
        multiply_large([m, n, k], left, right, y);
        fused.fill(y);
    } else {
        y.par_chunks_mut(m * n).enumerate().for_each_init(
            || fused.scratch(),
            |scratch, (b, y)| {
                let (left, right) = matrices(b);
                multiply([m, n, k], left, right, y, false, Parallelism::None);
                fused.apply(scratch, b * m * n, y);
            },
        );
    }
}

/// y \[m, n\] = left \[m, k\] right \[k, n\] on all threads.
fn multiply_large<T: Real>([m, n, k]: [usize; 3], left: Matrix<T>, right: Matrix<T>, y: &mut [T]) {
    let threads = if m * n * k < SERIAL { Parallelism::None } else { Parallelism::Rayon(0) };
    // The library reads `right` along rows; where the elements of a row are far apart, transposing first is faster.
    if right.row == 1 && right.column > 1 && m > 2 && n > 2 && k > 2 {
        with_memory(k * n, |turned| {
            transpose(right.elements, [n, k], right.column, turned);
            let right = Matrix { elements: &*turned, row: n, column: 1 };
            multiply([m, n, k], left, right, y, false, threads);
        });
    } else {
        multiply([m, n, k], left, right, y, false, threads);
    }
}

/// y \[m, n\] = left \[m, k\] right \[k, n\], or added to y where `accumulate`.
pub(super) fn multiply<T: Real>(
    [m, n, k]: [usize; 3],
    left: Matrix<T>,
    right: Matrix<T>,
    y: &mut [T],
    accumulate: bool,
    threads: Parallelism,
) {
    let reaches = |matrix: Matrix<T>, rows: usize, columns: usize| {
        matrix.elements.len() > (rows - 1) * matrix.row + (columns - 1) * matrix.column
    };
    assert!(reaches(left, m, k) && reaches(right, k, n) && y.len() >= m * n, "a product reaches beyond its operands");
    // The library prefers results whose columns are contiguous, as those of the transposed product are.
    let (m, n, left, right, y_column, y_row) =
        if n > 1 { (n, m, right.transposed(), left.transposed(), n, 1) } else { (m, n, left, right, 1, n) };
    let product = T::matrix_product();
    // SAFETY: the last element of each matrix lies inside its slice, as just checked, and y is borrowed mutably.
    unsafe {
        product(
            m,
            n,
            k,
            y.as_mut_ptr(),
            y_column as isize,
            y_row as isize,
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

/// y \[columns, rows\] from x \[rows, columns\], whose rows begin `step` elements apart.
pub(super) fn transpose<T: Real>(x: &[T], [rows, columns]: [usize; 2], step: usize, y: &mut [T]) {
    y[..rows * columns].par_chunks_mut(SQUARE * rows).enumerate().for_each(|(strip, y)| {
        let first = strip * SQUARE;
        let wide = y.len() / rows;
        for row in (0..rows).step_by(SQUARE) {
            let tall = SQUARE.min(rows - row);
            let mut square = [[T::ZERO; SQUARE]; SQUARE];
            for i in 0..tall {
                let from = &x[(row + i) * step + first..][..wide];
                each_pair(&mut square, from, |line, value| line[i] = value);
            }
            for (column, line) in square[..wide].iter().enumerate() {
                y[column * rows + row..][..tall].copy_from_slice(&line[..tall]);
            }
        }
    });
}

/// A cache line, so that working memory is aligned for every vector unit.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    /// Unused working memory.
    static MEMORY: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with `elements` elements of uninitialised working memory. A thread keeps the memory for the next
/// launch, since fresh pages cost more than the work on them.
pub(super) fn with_memory<T: Real, R>(elements: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut free = MEMORY.take();
    let mut memory = free.pop().unwrap_or_default();
    MEMORY.set(free);
    let lines = (elements * size_of::<T>()).div_ceil(size_of::<Line>());
    if memory.len() < lines {
        memory = vec![Line([0; 8]); lines];
    }
    let result = work(&mut bytemuck::cast_slice_mut(&mut memory)[..elements]);
    let mut free = MEMORY.take();
    free.push(memory);
    MEMORY.set(free);
    result
}
