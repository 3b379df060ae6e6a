//! The twin of `shaders/recurrence.wgsl`: every thread processes several sequences, and computes each step as one
//! product of their states with the weight.

use super::matmul::{Matrix, multiply};
use super::real::Real;
use crate::graph::Unary;
use gemm_common::Parallelism;
use rayon::prelude::*;

/// The number of sequences, of their steps, and of hidden units.
pub(super) type Sizes = [usize; 3];

/// The number of sequences that a thread processes together: enough to share each read of the weight, and few enough
/// that a batch occupies several threads. The number is fixed so that every machine computes equal bits.
const TOGETHER: usize = 32;

/// products = states weight, added to the products if `accumulate`. The weight has a row for each of the `inputs`
/// elements of a state; the states of neighbouring sequences are `apart` elements apart.
fn multiply_states<T: Real>(
    (states, apart, inputs): (&[T], usize, usize),
    weight: &[T],
    products: &mut [T],
    accumulate: bool,
) {
    let outputs = weight.len() / inputs;
    let sizes = [products.len() / outputs, outputs, inputs];
    let left = Matrix { elements: states, row: apart, column: 1 };
    let right = Matrix { elements: weight, row: outputs, column: 1 };
    multiply(sizes, left, right, products, accumulate, Parallelism::None);
}

/// The steps in order of computation, each with its predecessor.
fn in_order(steps: usize, backward: bool) -> impl Iterator<Item = (usize, Option<usize>)> {
    let taken = move |done: usize| if backward { steps - 1 - done } else { done };
    (0..steps).map(move |done| (taken(done), done.checked_sub(1).map(taken)))
}

/// The elements of a sequence's step, writable, and of its predecessor: `width` elements each.
fn now_and_past<T>(y: &mut [T], width: usize, step: usize, past: Option<usize>) -> (&mut [T], Option<&[T]>) {
    let (low, high) = y.split_at_mut(step.max(past.unwrap_or(step)) * width);
    match past {
        Some(past) if past > step => (&mut low[step * width..][..width], Some(&high[..width])),
        Some(past) => (&mut high[..width], Some(&low[past * width..][..width])),
        None => (&mut high[..width], None),
    }
}

fn apply<T: Real>(op: Unary, x: &mut [T], scratch: &mut [T]) {
    let y = &mut scratch[..x.len()];
    T::unary(op, x, y);
    x.copy_from_slice(y);
}

/// Gates i, f, g, o: c = f c + i g, h = o tanh(c).
pub(super) fn lstm<T: Real>([_, steps, hidden]: Sizes, backward: bool, before: &[T], weight: &[T], y: &mut [T]) {
    let (width, gates) = (2 * hidden, 4 * hidden);
    let tasks = y.par_chunks_mut(TOGETHER * steps * width).zip(before.par_chunks(TOGETHER * steps * gates));
    tasks.for_each(|(y, before)| {
        let sequences = y.len() / (steps * width);
        let (mut all, mut scratch) = (vec![T::ZERO; sequences * gates], vec![T::ZERO; gates]);
        for (step, past) in in_order(steps, backward) {
            for (z, before) in all.chunks_exact_mut(gates).zip(before.chunks_exact(steps * gates)) {
                z.copy_from_slice(&before[step * gates..][..gates]);
            }
            if let Some(past) = past {
                multiply_states((&y[past * width..], steps * width, hidden), weight, &mut all, true);
            }
            for (z, y) in all.chunks_exact_mut(gates).zip(y.chunks_exact_mut(steps * width)) {
                let (now, past) = now_and_past(y, width, step, past);
                let (h, c) = now.split_at_mut(hidden);
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
        }
    });
}

/// Gates r, z, n: h = (1 - z) n + z h, with n = tanh(input part + r (state part + bias)).
pub(super) fn gru<T: Real>(
    [_, steps, hidden]: Sizes,
    backward: bool,
    before: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) {
    let gates = 3 * hidden;
    let tasks = y.par_chunks_mut(TOGETHER * steps * hidden).zip(before.par_chunks(TOGETHER * steps * gates));
    tasks.for_each(|(y, before)| {
        let sequences = y.len() / (steps * hidden);
        let (mut all, mut scratch) = (vec![T::ZERO; sequences * gates], vec![T::ZERO; gates]);
        for (step, past) in in_order(steps, backward) {
            if let Some(past) = past {
                multiply_states((&y[past * hidden..], steps * hidden, hidden), weight, &mut all, false);
            }
            let sequences = y.chunks_exact_mut(steps * hidden).zip(before.chunks_exact(steps * gates));
            for (part, (y, before)) in all.chunks_exact_mut(gates).zip(sequences) {
                let (now, past) = now_and_past(y, hidden, step, past);
                let x = &before[step * gates..][..gates];
                for (part, x) in part[..2 * hidden].iter_mut().zip(x) {
                    *part += *x;
                }
                apply(Unary::Sigmoid, &mut part[..2 * hidden], &mut scratch);
                for j in 0..hidden {
                    part[2 * hidden + j] = x[2 * hidden + j] + part[j] * (part[2 * hidden + j] + bias[j]);
                }
                apply(Unary::Tanh, &mut part[2 * hidden..], &mut scratch);
                for (j, h) in now.iter_mut().enumerate() {
                    let z = part[hidden + j];
                    *h = (T::ONE - z) * part[2 * hidden + j];
                    if let Some(past) = past {
                        *h += z * past[j];
                    }
                }
            }
        }
    });
}

/// c = source + the first three gates' factors times their parts of the state + factor c; with 4 gates, h = source +
/// the fourth's factor times its part + factor c, else h = c.
pub(super) fn linear_forward<T: Real>(
    [_, steps, hidden]: Sizes,
    backward: bool,
    gates: usize,
    factors: &[T],
    weight: &[T],
    source: &[T],
    y: &mut [T],
) {
    let (width, all) = ((gates - 2) * hidden, (2 * gates - 2) * hidden);
    let operands = factors.par_chunks(TOGETHER * steps * all).zip(source.par_chunks(TOGETHER * steps * width));
    y.par_chunks_mut(TOGETHER * steps * width).zip(operands).for_each(|(y, (factors, source))| {
        let mut parts = vec![T::ZERO; y.len() / (steps * width) * gates * hidden];
        for (step, past) in in_order(steps, backward) {
            if let Some(past) = past {
                multiply_states((&y[past * width..], steps * width, hidden), weight, &mut parts, false);
            }
            let operands = factors.chunks_exact(steps * all).zip(source.chunks_exact(steps * width));
            let sequences = y.chunks_exact_mut(steps * width).zip(operands);
            for (part, (y, (factors, source))) in parts.chunks_exact(gates * hidden).zip(sequences) {
                let (now, past) = now_and_past(y, width, step, past);
                let (p, source) = (&factors[step * all..][..all], &source[step * width..][..width]);
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
        }
    });
}

/// The transpose of [`linear_forward`], with the steps in reverse order.
pub(super) fn linear_backward<T: Real>(
    [_, steps, hidden]: Sizes,
    backward: bool,
    gates: usize,
    factors: &[T],
    weight: &[T],
    source: &[T],
    y: &mut [T],
) {
    let (width, all) = ((gates - 2) * hidden, (2 * gates - 2) * hidden);
    let operands = factors.par_chunks(TOGETHER * steps * all).zip(source.par_chunks(TOGETHER * steps * width));
    y.par_chunks_mut(TOGETHER * steps * width).zip(operands).for_each(|(y, (factors, source))| {
        let sequences = y.len() / (steps * width);
        let (mut parts, mut sums) = (vec![T::ZERO; sequences * gates * hidden], vec![T::ZERO; sequences * hidden]);
        for (step, past) in in_order(steps, !backward) {
            if past.is_some() {
                multiply_states((&parts, gates * hidden, gates * hidden), weight, &mut sums, false);
            }
            let operands = factors.chunks_exact(steps * all).zip(source.chunks_exact(steps * width));
            let own = parts.chunks_exact_mut(gates * hidden).zip(sums.chunks_exact(hidden));
            for ((y, (factors, source)), (parts, sum)) in y.chunks_exact_mut(steps * width).zip(operands).zip(own) {
                let (now, before) = now_and_past(y, width, step, past);
                let (p, source) = (&factors[step * all..][..all], &source[step * width..][..width]);
                let cell = width - hidden;
                for j in 0..hidden {
                    let mut c = source[cell + j];
                    if let (Some(past), Some(before)) = (past, before) {
                        c += factors[past * all + gates * hidden + j] * before[cell + j];
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
        }
    });
}
