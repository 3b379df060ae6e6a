//! The twin of `shaders/indices.wgsl`.

use super::real::Real;

/// Rounds to the nearest index below the limit.
pub(super) fn indices<T: Real>([_count, limit]: [usize; 2], x: &[T], y: &mut [u32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = (x.to_f64() + 0.5).floor().clamp(0.0, (limit - 1) as f64) as u32;
    }
}
