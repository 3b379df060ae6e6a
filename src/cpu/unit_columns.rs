//! The twin of `shaders/unit_columns.wgsl`.

use super::real::Real;

/// Scales the columns of the matrix at an offset of the parameters to norm 1. Columns of zeros stay unchanged.
pub(super) fn unit_columns<T: Real>([offset, rows, columns]: [usize; 3], parameters: &mut [T]) {
    let matrix = &mut parameters[offset..offset + rows * columns];
    let mut scales = vec![T::ZERO; columns];
    for row in matrix.chunks(columns) {
        for (square, number) in scales.iter_mut().zip(row) {
            *square += *number * *number;
        }
    }
    for scale in &mut scales {
        *scale = if *scale > T::ZERO { T::ONE / scale.root() } else { T::ONE };
    }
    for row in matrix.chunks_mut(columns) {
        for (number, scale) in row.iter_mut().zip(&scales) {
            *number = *number * *scale;
        }
    }
}
