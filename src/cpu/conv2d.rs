//! The twin of `shaders/conv2d.wgsl`: windows become the rows of a matrix (im2col), and the convolution a product.
//! Images are `[n, h, w, c]`, so that each row of a window is contiguous.

use super::depthwise;
use super::elementwise::Fused;
use super::matmul::{Matrix, multiply, transpose, with_memory};
use super::real::{Real, clear, each_pair, vectorised};
use super::sizes::Sizes;
use gemm_common::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of windows that a thread builds at a time: windows and their factors should stay in the second-level cache.
const STRIP_BYTES: usize = 1 << 17;
/// Bytes of windows at a time where all threads share the windows.
const SHARED_BYTES: usize = 1 << 20;
/// The number of positions up to which the library reads a large weight in place, rather than copying it for each
/// product.
const FEW_POSITIONS: usize = 48;
/// The number of elements from which a weight is large.
const LARGE_WEIGHT: usize = 1 << 15;
/// The number of splits of a weight's gradient below which all threads share each split.
const FEW_SPLITS: usize = 8;

/// Rows of windows of neighbouring positions, or parts of such rows.
#[derive(Clone, Copy)]
struct Pieces {
    /// The index of the first element in the windows; the next piece begins one window later.
    at: usize,
    /// The index of the first element in the images; the next piece begins one stride later. `None` for padding.
    from: Option<usize>,
    count: usize,
    length: usize,
}

impl Sizes {
    fn new(constants: [usize; 24]) -> Sizes {
        let [n, c, h, w, o, p, q, r, s, rest @ ..] = constants;
        let [stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups, .., splits, stride_of_splits] = rest;
        let (stride, padding, dilation) = ([stride_h, stride_w], [pad_h, pad_w], [dilation_h, dilation_w]);
        Sizes { n, c, h, w, o, p, q, r, s, stride, padding, dilation, groups, splits, stride_of_splits }
    }

    /// Whether the convolution is depthwise: one channel per group.
    fn is_depthwise(&self) -> bool {
        self.groups == self.c && self.groups == self.o
    }

    /// The rows of positions that a split of the weight's gradient sums over. They do not depend on the number of
    /// threads, so that the result does not, either.
    fn rows_of(&self, split: usize) -> Range<usize> {
        let images = self.n.div_ceil(self.splits);
        (split * images).min(self.n) * self.p..((split + 1) * images).min(self.n) * self.p
    }

    /// The convolution of one group.
    fn group(&self) -> Sizes {
        Sizes { c: self.c / self.groups, o: self.o / self.groups, groups: 1, ..*self }
    }

    /// The number of elements of a window.
    fn taps(&self) -> usize {
        self.r * self.s * self.c
    }

    fn positions(&self) -> usize {
        self.p * self.q
    }

    /// The number of elements of an image.
    fn image(&self) -> usize {
        self.h * self.w * self.c
    }

    /// The number of elements of an image between the windows of two neighbouring positions of a row.
    fn step(&self) -> usize {
        self.stride[1] * self.c
    }

    /// Whether the concatenated windows equal the images.
    fn is_plain(&self) -> bool {
        let points = [self.r, self.s] == [1, 1] && self.stride == [1, 1];
        let whole = [self.r, self.s] == [self.h, self.w] && self.positions() == 1;
        (points || whole) && self.padding == [0, 0]
    }

    /// The number of rows of positions whose windows fill a number of bytes.
    fn rows<T>(&self, bytes: usize) -> usize {
        (bytes / (self.q * self.taps() * size_of::<T>())).max(1)
    }

    /// The number of rows of positions to multiply by the weight at a time.
    fn rows_per_strip<T>(&self) -> usize {
        if self.o * self.taps() < LARGE_WEIGHT { self.rows::<T>(STRIP_BYTES) } else { (FEW_POSITIONS / self.q).max(1) }
    }

    /// The number of images of a task: enough to pay for the task, and few enough that several threads have tasks.
    fn images_per_task<T>(&self) -> usize {
        (self.rows_per_strip::<T>() / self.p).clamp(1, self.n.div_ceil(8))
    }

    /// Calls `visit` with all pieces of the windows of a row of positions; rows are counted through all images.
    #[inline(always)] // So that the loops in `visit` are compiled for the vector unit that was found.
    fn each_piece(&self, row: usize, mut visit: impl FnMut(Pieces)) {
        let (n, p) = (row / self.p, row % self.p);
        let [stride, padding] = [self.stride[1], self.padding[1]];
        // The columns of the window that are also adjacent in the image.
        let together = if self.dilation[1] == 1 { self.s } else { 1 };
        for r in 0..self.r {
            let h = (p * self.stride[0] + r * self.dilation[0]).wrapping_sub(self.padding[0]);
            for first in (0..self.s).step_by(together) {
                let at = (r * self.s + first) * self.c;
                let length = together * self.c;
                if h >= self.h {
                    visit(Pieces { at, from: None, count: self.q, length });
                    continue;
                }
                let line = (n * self.h + h) * self.w;
                let shift = first * self.dilation[1];
                // The positions whose columns are all inside the image.
                let inner_from = padding.saturating_sub(shift).div_ceil(stride).min(self.q);
                let inner_to = (self.w + padding + stride).saturating_sub(shift + together) / stride;
                let inner_to = inner_to.clamp(inner_from, self.q);
                if inner_to > inner_from {
                    let from = Some((line + inner_from * stride + shift - padding) * self.c);
                    visit(Pieces { at: at + inner_from * self.taps(), from, count: inner_to - inner_from, length });
                }
                for q in (0..inner_from).chain(inner_to..self.q) {
                    // The columns that are inside the image.
                    let place = q * stride + shift;
                    let to = (self.w + padding).saturating_sub(place).min(together);
                    let from = padding.saturating_sub(place).min(to);
                    let mut part = |columns: Range<usize>, from: Option<usize>| {
                        let at = at + q * self.taps() + columns.start * self.c;
                        visit(Pieces { at, from, count: 1, length: columns.len() * self.c });
                    };
                    part(0..from, None);
                    if to > from {
                        part(from..to, Some((line + place + from - padding) * self.c));
                    }
                    part(to..together, None);
                }
            }
        }
    }

    /// The windows of some rows of positions, `[positions, r s c]`.
    fn image_to_windows<T: Real>(&self, x: &[T], rows: Range<usize>, windows: &mut [T]) {
        let (taps, step) = (self.taps(), self.step());
        vectorised(
            (rows, windows),
            #[inline(always)]
            |(rows, windows)| {
                for (row, windows) in rows.zip(windows.chunks_exact_mut(self.q * taps)) {
                    self.each_piece(
                        row,
                        #[inline(always)]
                        |pieces| match pieces.from {
                            Some(from) => {
                                let windows = Evenly { elements: &mut windows[pieces.at..], step: taps };
                                let x = Evenly { elements: &x[from..], step };
                                join_pieces::<T, Copy>(windows, x, pieces);
                            }
                            None => {
                                for index in 0..pieces.count {
                                    clear(&mut windows[pieces.at + index * taps..][..pieces.length]);
                                }
                            }
                        },
                    );
                }
            },
        );
    }

    /// Adds the windows of rows of positions to the elements of the images that they were copied from. The first
    /// element of `x` has index `start` in the images.
    fn windows_to_image<T: Real>(&self, windows: &[T], rows: Range<usize>, x: &mut [T], start: usize) {
        let (taps, step) = (self.taps(), self.step());
        vectorised(
            (rows, x),
            #[inline(always)]
            |(rows, x)| {
                for (row, windows) in rows.zip(windows.chunks_exact(self.q * taps)) {
                    self.each_piece(
                        row,
                        #[inline(always)]
                        |pieces| {
                            if let Some(from) = pieces.from {
                                let x = Evenly { elements: &mut x[from - start..], step };
                                let windows = Evenly { elements: &windows[pieces.at..], step: taps };
                                join_pieces::<T, Add>(x, windows, pieces);
                            }
                        },
                    );
                }
            },
        );
    }
}

/// Elements with a piece at every multiple of `step`.
struct Evenly<E> {
    elements: E,
    step: usize,
}

/// An operation on each element of a piece and its counterpart.
trait Join<T> {
    fn join(to: &mut T, from: T);
}

struct Copy;
struct Add;

impl<T: Real> Join<T> for Copy {
    #[inline(always)]
    fn join(to: &mut T, from: T) {
        *to = from;
    }
}

impl<T: Real> Join<T> for Add {
    #[inline(always)]
    fn join(to: &mut T, from: T) {
        *to += from;
    }
}

/// Joins every element of some pieces with its counterpart.
#[inline(always)]
fn join_pieces<T: Real, J: Join<T>>(to: Evenly<&mut [T]>, from: Evenly<&[T]>, Pieces { count, length, .. }: Pieces) {
    let lines =
        |index: usize| (index * to.step..index * to.step + length, index * from.step..index * from.step + length);
    if length == 3 {
        // One channel, and the commonest kernel.
        for index in 0..count {
            let (to_range, from_range) = lines(index);
            let (to, from) = (&mut to.elements[to_range], &from.elements[from_range]);
            J::join(&mut to[0], from[0]);
            J::join(&mut to[1], from[1]);
            J::join(&mut to[2], from[2]);
        }
        return;
    }
    for index in 0..count {
        let (to_range, from_range) = lines(index);
        each_pair(
            &mut to.elements[to_range],
            &from.elements[from_range],
            #[inline(always)]
            |to, from| J::join(to, from),
        );
    }
}

/// y from x and weight.
pub(super) fn forward<T: Real>(constants: [usize; 24], x: &[T], weight: &[T], y: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_group(&sizes, [x, weight], [sizes.c, sizes.o], y, fused, [forward_of, depthwise::forward]);
}

/// The gradient of x from y's gradient and weight.
pub(super) fn grad_input<T: Real>(constants: [usize; 24], upstream: &[T], weight: &[T], x: &mut [T], fused: &Fused<T>) {
    let sizes = Sizes::new(constants);
    each_group(&sizes, [upstream, weight], [sizes.o, sizes.c], x, fused, [grad_input_of, depthwise::grad_input]);
}

/// A function that computes a convolution without groups from an operand of positions and the weight.
type Member<T> = fn(&Sizes, &[T], &[T], &mut [T], &Fused<T>);

/// Calls `compute` for each group with the channels of that group alone, or `depthwise` where each channel is a group.
fn each_group<T: Real>(
    sizes: &Sizes,
    [x, weight]: [&[T]; 2],
    [from, to]: [usize; 2],
    y: &mut [T],
    fused: &Fused<T>,
    [compute, depthwise]: [Member<T>; 2],
) {
    if sizes.groups == 1 {
        return compute(sizes, x, weight, y, fused);
    }
    if sizes.is_depthwise() {
        return depthwise(sizes, x, weight, y, fused);
    }
    let (groups, group) = (sizes.groups, sizes.group());
    with_memory(x.len(), |apart| {
        channels_apart(x, [groups, from / groups], apart);
        with_memory(y.len(), |results| {
            let inputs = apart.par_chunks(x.len() / groups).zip(weight.par_chunks(weight.len() / groups));
            results.par_chunks_mut(y.len() / groups).zip(inputs).for_each(|(result, (x, weight))| {
                compute(&group, x, weight, result, &Fused::new(None, vec![]));
            });
            // Interleave the groups again: the channels of each position are contiguous.
            let (width, positions) = (to / groups, y.len() / to);
            y.par_chunks_mut(to).with_min_len(64).enumerate().for_each(|(position, y)| {
                for (group, y) in y.chunks_exact_mut(width).enumerate() {
                    y.copy_from_slice(&results[(group * positions + position) * width..][..width]);
                }
            });
        });
    });
    fused.fill(y);
}

/// `[groups, positions, width]` from x `[positions, groups, width]`.
fn channels_apart<T: Real>(x: &[T], [groups, width]: [usize; 2], apart: &mut [T]) {
    apart.par_chunks_mut(x.len() / groups).enumerate().for_each(|(group, apart)| {
        for (apart, x) in apart.chunks_exact_mut(width).zip(x.chunks_exact(groups * width)) {
            apart.copy_from_slice(&x[group * width..][..width]);
        }
    });
}

fn forward_of<T: Real>(sizes: &Sizes, x: &[T], weight: &[T], y: &mut [T], fused: &Fused<T>) {
    let (taps, o) = (sizes.taps(), sizes.o);
    let images = sizes.images_per_task::<T>();
    let rows = if sizes.is_plain() { images * sizes.p } else { sizes.rows_per_strip::<T>() };
    let positions = images * sizes.positions();
    with_memory(taps * o, |turned| {
        // The weight is brought into the product's layout once for all tasks.
        transpose(weight, [o, taps], taps, turned);
        let weight = Matrix { elements: &*turned, row: o, column: 1 };
        y.par_chunks_mut(positions * o).enumerate().for_each_init(
            || fused.scratch(),
            |scratch, (task, y)| {
                y.par_chunks_mut(rows * sizes.q * o).enumerate().for_each(|(strip, y)| {
                    let first = task * images * sizes.p + strip * rows;
                    let count = y.len() / o;
                    let multiply = |windows: &[T], y: &mut [T]| {
                        let windows = Matrix { elements: windows, row: taps, column: 1 };
                        multiply([count, o, taps], windows, weight, y, false, Parallelism::None);
                    };
                    if sizes.is_plain() {
                        multiply(&x[first * sizes.q * taps..], y);
                    } else {
                        with_memory(count * taps, |windows| {
                            sizes.image_to_windows(x, first..first + count / sizes.q, windows);
                            multiply(windows, y);
                        });
                    }
                });
                fused.apply(scratch, task * positions * o, y);
            },
        );
    });
}

fn grad_input_of<T: Real>(sizes: &Sizes, upstream: &[T], weight: &[T], x: &mut [T], fused: &Fused<T>) {
    let (taps, o, image) = (sizes.taps(), sizes.o, sizes.image());
    let images = sizes.images_per_task::<T>();
    let rows = sizes.rows_per_strip::<T>();
    let weight = Matrix { elements: weight, row: taps, column: 1 };
    let threads = if sizes.n == 1 { Parallelism::Rayon(0) } else { Parallelism::None };
    x.par_chunks_mut(images * image).enumerate().for_each_init(
        || fused.scratch(),
        |scratch, (task, x)| {
            let start = task * images * image;
            let first = task * images * sizes.p;
            let last = first + x.len() / image * sizes.p;
            let multiply = |rows: Range<usize>, windows: &mut [T]| {
                let upstream = &upstream[rows.start * sizes.q * o..rows.end * sizes.q * o];
                let upstream = Matrix { elements: upstream, row: o, column: 1 };
                multiply([rows.len() * sizes.q, taps, o], upstream, weight, windows, false, threads);
            };
            if sizes.is_plain() {
                multiply(first..last, x);
            } else {
                x.fill(T::ZERO);
                with_memory(rows.min(last - first) * sizes.q * taps, |windows| {
                    for row in (first..last).step_by(rows) {
                        let rows = row..(row + rows).min(last);
                        multiply(rows.clone(), windows);
                        sizes.windows_to_image(windows, rows, x, start);
                    }
                });
            }
            fused.apply(scratch, start, x);
        },
    );
}

/// The gradient of weight from x and y's gradient, as a partial sum for each split of the batch.
pub(super) fn grad_weight<T: Real>(constants: [usize; 24], x: &[T], upstream: &[T], partial: &mut [T]) {
    let sizes = Sizes::new(constants);
    if sizes.groups == 1 {
        grad_weight_of(&sizes, x, upstream, partial, 0);
        return;
    }
    if sizes.is_depthwise() {
        partial.par_chunks_mut(sizes.stride_of_splits).enumerate().for_each(|(split, partial)| {
            let weight = &mut partial[..sizes.c * sizes.r * sizes.s];
            depthwise::grad_weight(&sizes, x, upstream, sizes.rows_of(split), weight);
        });
        return;
    }
    let (groups, group) = (sizes.groups, sizes.group());
    with_memory(x.len(), |apart| {
        channels_apart(x, [groups, group.c], apart);
        with_memory(upstream.len(), |upstreams| {
            channels_apart(upstream, [groups, group.o], upstreams);
            let inputs = apart.chunks(x.len() / groups).zip(upstreams.chunks(upstream.len() / groups));
            for (index, (x, upstream)) in inputs.enumerate() {
                grad_weight_of(&group, x, upstream, partial, index * group.o * group.taps());
            }
        });
    });
}

/// Computes the weight's gradient for one group, from `start` of the whole weight on.
fn grad_weight_of<T: Real>(sizes: &Sizes, x: &[T], upstream: &[T], partial: &mut [T], start: usize) {
    let few = sizes.splits < FEW_SPLITS;
    let weight = sizes.o * sizes.taps();
    partial.par_chunks_mut(sizes.stride_of_splits).enumerate().for_each(|(split, partial)| {
        sizes.split_weight(x, upstream, sizes.rows_of(split), &mut partial[start..start + weight], few);
    });
}

impl Sizes {
    /// The gradient of weight, summed over some rows of positions.
    fn split_weight<T: Real>(&self, x: &[T], upstream: &[T], rows: Range<usize>, weight: &mut [T], shared: bool) {
        let (taps, o) = (self.taps(), self.o);
        if rows.is_empty() {
            weight.fill(T::ZERO);
        } else if taps >= o {
            self.add_products(x, upstream, rows, weight, shared, false);
        } else {
            // The library's tiles are long along rows, so the transposed result is computed.
            with_memory(taps * o, |turned| {
                self.add_products(x, upstream, rows, turned, shared, true);
                transpose(turned, [taps, o], o, weight);
            });
        }
    }

    /// The sum of the products of upstream and windows over some rows of positions: `[o, taps]`, or `[taps, o]` where
    /// `turned`.
    fn add_products<T: Real>(
        &self,
        x: &[T],
        upstream: &[T],
        rows: Range<usize>,
        sum: &mut [T],
        shared: bool,
        turned: bool,
    ) {
        let (taps, o) = (self.taps(), self.o);
        let threads = if shared { Parallelism::Rayon(0) } else { Parallelism::None };
        let multiply = |rows: Range<usize>, windows: &[T], sum: &mut [T], accumulate: bool| {
            let upstream = &upstream[rows.start * self.q * o..];
            let positions = rows.len() * self.q;
            if turned {
                let windows = Matrix { elements: windows, row: 1, column: taps };
                let upstream = Matrix { elements: upstream, row: o, column: 1 };
                multiply([taps, o, positions], windows, upstream, sum, accumulate, threads);
            } else {
                let upstream = Matrix { elements: upstream, row: 1, column: o };
                let windows = Matrix { elements: windows, row: taps, column: 1 };
                multiply([o, taps, positions], upstream, windows, sum, accumulate, threads);
            }
        };
        if self.is_plain() {
            multiply(rows.clone(), &x[rows.start * self.q * taps..], sum, false);
            return;
        }
        let most = self.rows::<T>(if shared { SHARED_BYTES } else { STRIP_BYTES }).min(rows.len());
        with_memory(most * self.q * taps, |windows| {
            for row in rows.clone().step_by(most) {
                let strip = row..(row + most).min(rows.end);
                if shared {
                    let lines = windows.par_chunks_mut(self.q * taps).enumerate().take(strip.len());
                    lines.for_each(|(line, windows)| self.image_to_windows(x, row + line..row + line + 1, windows));
                } else {
                    self.image_to_windows(x, strip.clone(), windows);
                }
                multiply(strip, windows, sum, row > rows.start);
            }
        });
    }
}
