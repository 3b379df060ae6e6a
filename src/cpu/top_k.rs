//! The twin of `shaders/top_k.wgsl`.

use super::real::Real;
use rayon::prelude::*;
use std::cmp::Ordering;

/// Writes 1 for the `count` largest elements of each row, the first of equal elements, and 0 for the others; NaN stays
/// NaN.
pub(super) fn top_k<T: Real>([_rows, length, count]: [usize; 3], x: &[T], y: &mut [T]) {
    let rows = x.par_chunks(length).zip(y.par_chunks_mut(length));
    rows.for_each_init(Vec::new, |numbers: &mut Vec<T>, (x, y)| {
        let is_number = |x: &T| x.partial_cmp(x).is_some();
        numbers.clear();
        numbers.extend(x.iter().copied().filter(is_number));
        let wanted = count.min(numbers.len());
        let least = (wanted > 0).then(|| {
            let falling = |a: &T, b: &T| b.partial_cmp(a).unwrap_or(Ordering::Equal);
            *numbers.select_nth_unstable_by(wanted - 1, falling).1
        });
        let above = x.iter().filter(|x| least.is_some_and(|least| **x > least)).count();
        let mut equal = wanted - above;
        for (y, x) in y.iter_mut().zip(x) {
            *y = match least {
                _ if !is_number(x) => *x,
                Some(least) if *x > least => T::ONE,
                Some(least) if *x == least && equal > 0 => {
                    equal -= 1;
                    T::ONE
                }
                _ => T::ZERO,
            };
        }
    });
}
