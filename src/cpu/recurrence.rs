//! The twin of `shaders/recurrence.wgsl`: sequences side by side on the threads, each step of one a product of its state
//! with the weight.

use super::real::{Real, vectorised};
use crate::graph::Unary;
use rayon::prelude::*;

/// Sequences, their steps, and hidden units.
pub(super) type Sizes = [usize; 3];

/// sum += state weight, where the weight has a row for each number of the state.
fn add_product<T: Real>(state: &[T], weight: &[T], sum: &mut [T]) {
    vectorised(
        (state, weight, sum),
        #[inline(always)]
        |(state, weight, sum)| {
            for (number, row) in state.iter().zip(weight.chunks_exact(sum.len())) {
                for (sum, weight) in sum.iter_mut().zip(row) {
                    *sum += *number * *weight;
                }
            }
        },
    );
}

fn apply<T: Real>(op: Unary, x: &mut [T], scratch: &mut [T]) {
    let y = &mut scratch[..x.len()];
    T::unary(op, x, y);
    x.copy_from_slice(y);
}

/// Gates i, f, g, o: c = f c + i g, h = o tanh(c).
pub(super) fn lstm<T: Real>([_, steps, hidden]: Sizes, before: &[T], weight: &[T], y: &mut [T]) {
    let sequences = y.par_chunks_mut(steps * 2 * hidden).zip(before.par_chunks(steps * 4 * hidden));
    sequences.for_each(|(y, before)| {
        let (mut z, mut scratch) = (vec![T::ZERO; 4 * hidden], vec![T::ZERO; 4 * hidden]);
        for step in 0..steps {
            let (past, now) = y.split_at_mut(step * 2 * hidden);
            let (h, c) = now[..2 * hidden].split_at_mut(hidden);
            z.copy_from_slice(&before[step * 4 * hidden..(step + 1) * 4 * hidden]);
            let past = past.rchunks_exact(2 * hidden).next();
            if let Some(past) = past {
                add_product(&past[..hidden], weight, &mut z);
            }
            apply(Unary::Sigmoid, &mut z[..2 * hidden], &mut scratch);
            apply(Unary::Tanh, &mut z[2 * hidden..3 * hidden], &mut scratch);
            apply(Unary::Sigmoid, &mut z[3 * hidden..], &mut scratch);
            for (j, c) in c.iter_mut().enumerate() {
                *c = z[j] * z[2 * hidden + j];
                if let Some(past) = past {
                    *c += z[hidden + j] * past[hidden + j];
                }
            }
            T::unary(Unary::Tanh, c, h);
            for (h, o) in h.iter_mut().zip(&z[3 * hidden..]) {
                *h = *o * *h;
            }
        }
    });
}

/// Gates r, z, n: h = (1 - z) n + z h, with n = tanh(its part of the input + r (its part of the state + bias)).
pub(super) fn gru<T: Real>([_, steps, hidden]: Sizes, before: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
    let sequences = y.par_chunks_mut(steps * hidden).zip(before.par_chunks(steps * 3 * hidden));
    sequences.for_each(|(y, before)| {
        let (mut part, mut scratch) = (vec![T::ZERO; 3 * hidden], vec![T::ZERO; 3 * hidden]);
        for step in 0..steps {
            let (past, now) = y.split_at_mut(step * hidden);
            let past = past.rchunks_exact(hidden).next();
            let x = &before[step * 3 * hidden..(step + 1) * 3 * hidden];
            part.fill(T::ZERO);
            if let Some(past) = past {
                add_product(past, weight, &mut part);
            }
            for (part, x) in part[..2 * hidden].iter_mut().zip(x) {
                *part += *x;
            }
            apply(Unary::Sigmoid, &mut part[..2 * hidden], &mut scratch);
            for j in 0..hidden {
                part[2 * hidden + j] = x[2 * hidden + j] + part[j] * (part[2 * hidden + j] + bias[j]);
            }
            apply(Unary::Tanh, &mut part[2 * hidden..], &mut scratch);
            for (j, h) in now[..hidden].iter_mut().enumerate() {
                let z = part[hidden + j];
                *h = (T::ONE - z) * part[2 * hidden + j];
                if let Some(past) = past {
                    *h += z * past[j];
                }
            }
        }
    });
}

/// c = source + the first three gates' factors times their parts of the state + factor c; with 4 gates, h = source + the
/// fourth's factor times its part + factor c, else h = c.
pub(super) fn linear_forward<T: Real>(
    [_, steps, hidden]: Sizes,
    gates: usize,
    factors: &[T],
    weight: &[T],
    source: &[T],
    y: &mut [T],
) {
    let (width, all) = ((gates - 2) * hidden, (2 * gates - 2) * hidden);
    let operands = factors.par_chunks(steps * all).zip(source.par_chunks(steps * width));
    y.par_chunks_mut(steps * width).zip(operands).for_each(|(y, (factors, source))| {
        let mut part = vec![T::ZERO; gates * hidden];
        for step in 0..steps {
            let (past, now) = y.split_at_mut(step * width);
            let past = past.rchunks_exact(width).next();
            let p = &factors[step * all..(step + 1) * all];
            let source = &source[step * width..(step + 1) * width];
            part.fill(T::ZERO);
            if let Some(past) = past {
                add_product(&past[..hidden], weight, &mut part);
            }
            let cell = width - hidden;
            for j in 0..hidden {
                let mut c = source[cell + j];
                for gate in 0..3 {
                    c += p[gate * hidden + j] * part[gate * hidden + j];
                }
                if let Some(past) = past {
                    c += p[gates * hidden + j] * past[cell + j];
                }
                now[cell + j] = c;
                if gates == 4 {
                    now[j] = source[j] + p[3 * hidden + j] * part[3 * hidden + j] + p[5 * hidden + j] * c;
                }
            }
        }
    });
}

/// The transpose of [`linear_forward`], from the last step to the first.
pub(super) fn linear_backward<T: Real>(
    [_, steps, hidden]: Sizes,
    gates: usize,
    factors: &[T],
    weight: &[T],
    source: &[T],
    y: &mut [T],
) {
    let (width, all) = ((gates - 2) * hidden, (2 * gates - 2) * hidden);
    let operands = factors.par_chunks(steps * all).zip(source.par_chunks(steps * width));
    y.par_chunks_mut(steps * width).zip(operands).for_each(|(y, (factors, source))| {
        let (mut parts, mut sum) = (vec![T::ZERO; gates * hidden], vec![T::ZERO; hidden]);
        for step in (0..steps).rev() {
            let (now, next) = y[step * width..].split_at_mut(width);
            let p = &factors[step * all..(step + 1) * all];
            let source = &source[step * width..(step + 1) * width];
            let cell = width - hidden;
            sum.fill(T::ZERO);
            if !next.is_empty() {
                add_product(&parts, weight, &mut sum);
            }
            for j in 0..hidden {
                let mut c = source[cell + j];
                if !next.is_empty() {
                    c += factors[(step + 1) * all + gates * hidden + j] * next[cell + j];
                }
                let h = if gates == 4 { source[j] + sum[j] } else { T::ZERO };
                c += if gates == 4 { p[5 * hidden + j] * h } else { sum[j] };
                now[j] = h;
                now[cell + j] = c;
                for gate in 0..gates {
                    parts[gate * hidden + j] = p[gate * hidden + j] * if gate < 3 { c } else { h };
                }
            }
        }
    });
}
