//! The twin of `shaders/indices.wgsl`.

use super::real::Real;

/// Rounded to the nearest, negative ones to 0.
pub(super) fn indices<T: Real>(x: &[T], y: &mut [u32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = (x.to_f64() + 0.5).floor().clamp(0.0, 2_147_483_520.0) as u32;
    }
}
