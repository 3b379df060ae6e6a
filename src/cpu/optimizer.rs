//! The twin of `shaders/optimizer.wgsl`.

use super::real::{Real, vectorised};
use crate::plan::state::{POSITION, SCHEDULE_COLUMNS};
use rayon::prelude::*;

/// Parameters of a segment, and its words.
const BLOCK: usize = 64;
const SEGMENT: usize = 4;
/// Parameters that are worth a thread's while.
const TASK: usize = 64 * BLOCK;

/// The partial sums of every parameter's gradient, and where they lie.
#[derive(Clone, Copy)]
pub(super) struct Gradients<'a, T> {
    pub elements: &'a [T],
    pub segments: &'a [u32],
}

impl<T: Real> Gradients<'_, T> {
    /// The gradients of the parameters of a segment.
    #[inline(always)] // Part of loops that are compiled for the vector unit that was found.
    fn of(&self, block: usize) -> [T; BLOCK] {
        let [offset, parts, stride, count] = [0, 1, 2, 3].map(|word| self.segments[block * SEGMENT + word] as usize);
        let mut total = [T::ZERO; BLOCK];
        for part in 0..parts {
            for (total, element) in total.iter_mut().zip(&self.elements[offset + part * stride..][..BLOCK]) {
                *total += *element;
            }
        }
        // What is no parameter stays as it is.
        total[count..].fill(T::ZERO);
        total
    }
}

fn row<'a, T>(schedule: &'a [T], state: &[u32]) -> &'a [T] {
    let start = state[POSITION] as usize * SCHEDULE_COLUMNS;
    &schedule[start..start + SCHEDULE_COLUMNS]
}

/// Gradient descent.
pub(super) fn sgd<T: Real>(gradients: Gradients<T>, schedule: &[T], state: &[u32], parameters: &mut [T]) {
    let rate = row(schedule, state)[0];
    for (block, parameters) in parameters.chunks_mut(BLOCK).enumerate() {
        for (parameter, gradient) in parameters.iter_mut().zip(gradients.of(block)) {
            *parameter -= rate * gradient;
        }
    }
}

/// Adam.
pub(super) fn adam<T: Real>(
    gradients: Gradients<T>,
    schedule: &[T],
    state: &[u32],
    parameters: &mut [T],
    [first, second]: [&mut [T]; 2],
) {
    let row = row(schedule, state);
    let (rate, correction, epsilon, first_rate, second_decay, second_rate) =
        (row[0], row[1], row[2], row[3], row[4], row[5]);
    let chunks = parameters.par_chunks_mut(TASK).zip(first.par_chunks_mut(TASK)).zip(second.par_chunks_mut(TASK));
    chunks.enumerate().for_each(|(task, ((parameters, first), second))| {
        vectorised(
            (parameters, first, second),
            #[inline(always)]
            |(parameters, first, second)| {
                let blocks = parameters.chunks_mut(BLOCK).zip(first.chunks_mut(BLOCK)).zip(second.chunks_mut(BLOCK));
                for (block, ((parameters, first), second)) in blocks.enumerate() {
                    let moments = first.iter_mut().zip(second.iter_mut());
                    let gradients = gradients.of(task * (TASK / BLOCK) + block);
                    for ((parameter, (first, second)), gradient) in parameters.iter_mut().zip(moments).zip(gradients) {
                        *first = *first + first_rate * (gradient - *first);
                        *second = second_decay * *second + second_rate * gradient * gradient;
                        *parameter -= rate * *first / ((*second).root() * correction + epsilon);
                    }
                }
            },
        );
    });
}
