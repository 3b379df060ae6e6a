//! The twin of `shaders/reduce.wgsl`.

use super::elementwise::{Fused, TASK};
use super::real::{Real, each_pair, vectorised};
use rayon::prelude::*;

/// The number of elements of the source that are computed together.
const CHUNK: usize = 1024;
/// The number of columns that are summed side by side, so that additions are independent.
const SIDE: usize = 64;
/// The number of partial sums of an output, so that additions are independent and errors stay small.
const LANES: usize = 16;

/// Partial sums: those of output o are elements s, s + splits, ... of its `length`.
pub(super) fn sum<T: Real>(constants: [usize; 3], y: &mut [T], fused: &Fused<T>) {
    reduce(constants, y, fused, T::ZERO, |a, b| a + b);
}

/// Partial maxima.
pub(super) fn maximum_of<T: Real>(constants: [usize; 3], y: &mut [T], fused: &Fused<T>) {
    reduce(constants, y, fused, T::from_f64(f64::NEG_INFINITY), |a, b| if b > a { b } else { a });
}

/// Sums over all rows, as partial sums over equal numbers of neighbouring rows.
pub(super) fn column_sums<T: Real>([rows, columns, parts, stride]: [usize; 4], y: &mut [T], fused: &Fused<T>) {
    let each = rows.div_ceil(parts);
    if let Some(x) = fused.plain_input() {
        y.par_chunks_mut(stride).enumerate().for_each(|(part, y)| {
            let range = (part * each).min(rows) * columns..((part + 1) * each).min(rows) * columns;
            sum_channels(&x[range], &mut y[..columns]);
        });
        return;
    }
    // Few columns: several rows side by side.
    let width = columns * (CHUNK / columns).max(1);
    y.par_chunks_mut(stride).enumerate().for_each_init(
        || (fused.scratch(), vec![T::ZERO; width], vec![T::ZERO; width]),
        |(scratch, values, lanes), (part, y)| {
            let (first, last) = ((part * each).min(rows) * columns, ((part + 1) * each).min(rows) * columns);
            lanes.fill(T::ZERO);
            for start in (first..last).step_by(width) {
                let values = &mut values[..width.min(last - start)];
                fused.apply(scratch, start, values);
                each_pair(lanes, values, |lane, value| *lane += value);
            }
            let y = &mut y[..columns];
            y.fill(T::ZERO);
            for lanes in lanes.chunks(columns) {
                each_pair(y, lanes, |y, lane| *y += lane);
            }
        },
    );
}

fn reduce<T: Real>(
    [_outputs, length, splits]: [usize; 3],
    y: &mut [T],
    fused: &Fused<T>,
    neutral: T,
    join: impl Fn(T, T) -> T + Sync,
) {
    let outputs = (TASK / length).max(1);
    y.par_chunks_mut(splits * outputs).enumerate().for_each_init(
        || (fused.scratch(), vec![T::ZERO; CHUNK.min(length)]),
        |(scratch, chunk), (task, y)| {
            for (index, y) in y.chunks_mut(splits).enumerate() {
                let first = (task * outputs + index) * length;
                y.fill(neutral);
                let mut lanes = [neutral; LANES];
                for start in (0..length).step_by(CHUNK) {
                    let count = CHUNK.min(length - start);
                    let values = &mut chunk[..count];
                    fused.apply(scratch, first + start, values);
                    if splits == 1 {
                        for values in values.chunks(LANES) {
                            each_pair(&mut lanes, values, |lane, value| *lane = join(*lane, value));
                        }
                    } else {
                        let mut rest = &values[..];
                        let mut split = start % splits;
                        while !rest.is_empty() {
                            let run = (splits - split).min(rest.len());
                            each_pair(&mut y[split..split + run], rest, |total, value| *total = join(*total, value));
                            rest = &rest[run..];
                            split = 0;
                        }
                    }
                }
                if splits == 1 {
                    y[0] = lanes.into_iter().fold(neutral, &join);
                }
            }
        },
    );
}

/// The sums of x \[rows, channels\] over rows; `sums` has an element for each channel.
fn sum_channels<T: Real>(x: &[T], sums: &mut [T]) {
    let channels = sums.len();
    if channels >= SIDE {
        sums.fill(T::ZERO);
        add_chunks(x, sums);
        return;
    }
    // Few channels: several rows side by side.
    let width = channels * (SIDE / channels);
    let mut lanes = [T::ZERO; SIDE];
    add_chunks(x, &mut lanes[..width]);
    sums.fill(T::ZERO);
    add_chunks(&lanes[..width], sums);
}

/// Adds each chunk of x of the length of `sums` to `sums`. The last chunk may be shorter.
fn add_chunks<T: Real>(x: &[T], sums: &mut [T]) {
    vectorised(
        (x, sums),
        #[inline(always)]
        |(x, sums)| {
            for x in x.chunks(sums.len()) {
                each_pair(
                    sums,
                    x,
                    #[inline(always)]
                    |sum, x| *sum += x,
                );
            }
        },
    );
}
