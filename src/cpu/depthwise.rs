//! Depthwise convolution, forward and backward: with one channel per group there is no matrix product, only channels
//! multiplied elementwise by their weights. This file and `conv2d.rs`, which calls it, are the twin of
//! `shaders/conv2d.wgsl`.

use super::elementwise::Fused;
use super::matmul::{transpose, with_memory};
use super::real::{Real, vectorised};
use super::sizes::Sizes;
use rayon::prelude::*;
use std::ops::Range;

/// For a row of positions, numbered through all images: calls `visit` with each tap, the positions for which the tap is
/// within the image, and the index of the first such element.
#[inline(always)] // So that the loops in `visit` are compiled for the vector unit that was found.
fn each_tap(sizes: &Sizes, row: usize, mut visit: impl FnMut(usize, Range<usize>, usize)) {
    let (n, p) = (row / sizes.p, row % sizes.p);
    let [stride, padding] = [sizes.stride[1], sizes.padding[1]];
    for r in 0..sizes.r {
        let h = (p * sizes.stride[0] + r * sizes.dilation[0]).wrapping_sub(sizes.padding[0]);
        if h >= sizes.h {
            continue;
        }
        for s in 0..sizes.s {
            let shift = s * sizes.dilation[1];
            let from = padding.saturating_sub(shift).div_ceil(stride);
            let to = (sizes.w + padding).saturating_sub(shift).div_ceil(stride).min(sizes.q);
            if from < to {
                let w = from * stride + shift - padding;
                visit(r * sizes.s + s, from..to, ((n * sizes.h + h) * sizes.w + w) * sizes.c);
            }
        }
    }
}

/// sum\[k\] += x\[k\] y\[k\]
#[inline(always)]
fn add_products<T: Real>(sum: &mut [T], x: &[T], y: &[T]) {
    for ((sum, x), y) in sum.iter_mut().zip(x).zip(y) {
        *sum += *x * *y;
    }
}

/// y from x and weight.
pub(super) fn forward<T: Real>(sizes: &Sizes, x: &[T], weight: &[T], y: &mut [T], fused: &Fused<T>) {
    let (c, taps) = (sizes.c, sizes.r * sizes.s);
    with_memory(taps * c, |turned| {
        transpose(weight, [c, taps], taps, turned);
        let weight = &*turned;
        y.par_chunks_mut(sizes.q * c).enumerate().for_each(|(row, y)| {
            y.fill(T::ZERO);
            vectorised(
                (row, y),
                #[inline(always)]
                |(row, y)| {
                    each_tap(
                        sizes,
                        row,
                        #[inline(always)]
                        |tap, positions, at| {
                            for (index, q) in positions.enumerate() {
                                let x = &x[at + index * sizes.stride[1] * c..][..c];
                                add_products(&mut y[q * c..][..c], x, &weight[tap * c..][..c]);
                            }
                        },
                    );
                },
            );
        });
    });
    fused.fill(y);
}

/// The gradient of x from y's gradient and weight.
pub(super) fn grad_input<T: Real>(sizes: &Sizes, upstream: &[T], weight: &[T], x: &mut [T], fused: &Fused<T>) {
    let (c, taps) = (sizes.c, sizes.r * sizes.s);
    let image = sizes.h * sizes.w * c;
    with_memory(taps * c, |turned| {
        transpose(weight, [c, taps], taps, turned);
        let weight = &*turned;
        x.par_chunks_mut(image).enumerate().for_each(|(n, x)| {
            x.fill(T::ZERO);
            vectorised(
                (n, x),
                #[inline(always)]
                |(n, x)| {
                    for row in n * sizes.p..(n + 1) * sizes.p {
                        each_tap(
                            sizes,
                            row,
                            #[inline(always)]
                            |tap, positions, at| {
                                for (index, q) in positions.enumerate() {
                                    let x = &mut x[at - n * image + index * sizes.stride[1] * c..][..c];
                                    let upstream = &upstream[(row * sizes.q + q) * c..][..c];
                                    add_products(x, upstream, &weight[tap * c..][..c]);
                                }
                            },
                        );
                    }
                },
            );
        });
    });
    fused.fill(x);
}

/// The gradient of weight from x and y's gradient, summed over some rows of positions.
pub(super) fn grad_weight<T: Real>(sizes: &Sizes, x: &[T], upstream: &[T], rows: Range<usize>, weight: &mut [T]) {
    let (c, taps) = (sizes.c, sizes.r * sizes.s);
    with_memory(taps * c, |sums| {
        sums.fill(T::ZERO);
        vectorised(
            (rows, &mut *sums),
            #[inline(always)]
            |(rows, sums)| {
                for row in rows {
                    each_tap(
                        sizes,
                        row,
                        #[inline(always)]
                        |tap, positions, at| {
                            for (index, q) in positions.enumerate() {
                                let x = &x[at + index * sizes.stride[1] * c..][..c];
                                let upstream = &upstream[(row * sizes.q + q) * c..][..c];
                                add_products(&mut sums[tap * c..][..c], x, upstream);
                            }
                        },
                    );
                }
            },
        );
        transpose(sums, [taps, c], c, weight);
    });
}
