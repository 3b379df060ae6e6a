//! The twin of `shaders/warp.wgsl`.

use super::real::Real;
use rayon::prelude::*;

/// y\[n, c, i, j\] = x\[n, c\] at the position that the affine map of picture n gives for (i, j).
pub(super) fn warp<T: Real>([_count, channels, height, width]: [usize; 4], x: &[T], maps: &[T], y: &mut [T]) {
    let plane = height * width;
    let number = |value: f64| T::from_f64(value);
    let middle = [number((height as f64 - 1.0) * 0.5), number((width as f64 - 1.0) * 0.5)];
    y.par_chunks_mut(plane).zip(x.par_chunks(plane)).enumerate().for_each(|(index, (y, x))| {
        let map = &maps[index / channels * 6..][..6];
        let pixel = |row: i64, column: i64| {
            let inside = (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
            if inside { x[row as usize * width + column as usize] } else { T::ZERO }
        };
        for (at, y) in y.iter_mut().enumerate() {
            let i = number((at / width) as f64) - middle[0];
            let j = number((at % width) as f64) - middle[1];
            let source = |map: &[T], middle: T| map[0] * i + map[1] * j + map[2] + middle;
            let (row, above) = split(source(&map[..3], middle[0]), height);
            let (column, left) = split(source(&map[3..], middle[1]), width);
            let line = |row| pixel(row, column) * (T::ONE - left) + pixel(row, column + 1) * left;
            *y = line(row) * (T::ONE - above) + line(row + 1) * above;
        }
    });
}

/// The integer and the fractional part of a coordinate, limited to just outside the picture.
fn split<T: Real>(coordinate: T, size: usize) -> (i64, T) {
    let inside = coordinate.to_f64().clamp(-1.0, size as f64);
    (inside.floor() as i64, T::from_f64(inside - inside.floor()))
}
