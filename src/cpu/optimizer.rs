//! The twin of `shaders/optimizer.wgsl`.

use super::elementwise::TASK;
use super::real::Real;
use crate::plan::state::{POSITION, SCHEDULE_COLUMNS};
use rayon::prelude::*;

fn row<'a, T>(schedule: &'a [T], state: &[u32]) -> &'a [T] {
    let start = state[POSITION] as usize * SCHEDULE_COLUMNS;
    &schedule[start..start + SCHEDULE_COLUMNS]
}

/// Gradient descent.
pub(super) fn sgd<T: Real>(gradients: &[T], schedule: &[T], state: &[u32], parameters: &mut [T]) {
    let rate = row(schedule, state)[0];
    for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
        *parameter -= rate * *gradient;
    }
}

/// Adam.
pub(super) fn adam<T: Real>(
    gradients: &[T],
    schedule: &[T],
    state: &[u32],
    parameters: &mut [T],
    [first, second]: [&mut [T]; 2],
) {
    let row = row(schedule, state);
    let (rate, correction, epsilon, first_rate, second_decay, second_rate) =
        (row[0], row[1], row[2], row[3], row[4], row[5]);
    let chunks = parameters.par_chunks_mut(TASK).zip(first.par_chunks_mut(TASK)).zip(second.par_chunks_mut(TASK));
    chunks.zip(gradients.par_chunks(TASK)).for_each(|(((parameters, first), second), gradients)| {
        let moments = first.iter_mut().zip(second.iter_mut());
        for ((parameter, (first, second)), gradient) in parameters.iter_mut().zip(moments).zip(gradients) {
            *first = *first + first_rate * (*gradient - *first);
            *second = second_decay * *second + second_rate * *gradient * *gradient;
            *parameter -= rate * *first / ((*second).root() * correction + epsilon);
        }
    });
}
