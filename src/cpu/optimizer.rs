//! The twin of `shaders/optimizer.wgsl`.

use super::real::{Real, each_pair, vectorised};
use crate::plan::Method;
use crate::plan::state::{
    AVERAGING, CURRENT, DECAY, GOOD, INVERSE, LossScale, METHOD_NUMBERS, NORM_LIMIT, POSITION, RATE, SCALE,
    SCHEDULE_COLUMNS, SHARE, SHRINK, SKIPPED, SQUARES, VALUE_LIMIT, WAIT,
};
use rayon::prelude::*;

/// The number of parameters of a segment.
const BLOCK: usize = 64;
/// The number of words that describe a segment.
const SEGMENT: usize = 5;
/// The smallest number of parameters for which another thread pays.
const TASK: usize = 64 * BLOCK;
/// The number of parameters whose squares make one partial sum.
const PART: usize = 256;

/// The numbers of a method in a row of the schedule. Their count is fixed, like that of blocks, so that loops over a
/// block need no bounds checks.
type Numbers<T> = [T; SCHEDULE_COLUMNS - METHOD_NUMBERS];
/// The parameters of a segment, or their gradients or moments.
type Block<T> = [T; BLOCK];

/// Inputs of an update.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a, T> {
    /// The partial sums of every parameter's gradient.
    pub gradients: &'a [T],
    /// The segments of the gradients.
    pub segments: &'a [u32],
    pub schedule: &'a [T],
    pub state: &'a [u32],
    /// The result of [`join`], if the norm is limited or gradients are scaled.
    pub norm: Option<&'a [T]>,
}

/// The constants of an update.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub count: usize,
    pub groups: usize,
    pub method: usize,
    pub centered: bool,
    pub momentum: bool,
    /// 0, or one more than the number of the moment that holds the sum of the gradients of earlier batches.
    pub accumulated: usize,
    pub limited: bool,
    pub skip: bool,
    /// Whether gradients are multiplied by a loss scale.
    pub scaled: bool,
    /// Whether that sum includes the gradients of this batch.
    pub collected: bool,
}

impl Settings {
    pub(super) fn new([count, groups, method, flags @ .., limited, skip, scaled]: [usize; 9]) -> Settings {
        let [centered, momentum, accumulated] = flags;
        let [centered, momentum, limited, skip, scaled] =
            [centered, momentum, limited, skip, scaled].map(|flag| flag == 1);
        Settings { count, groups, method, centered, momentum, accumulated, limited, skip, scaled, collected: false }
    }
}

impl<'a, T: Real> Inputs<'a, T> {
    /// The inputs of an update whose numbers are those of the current step only: the norm of the gradients, then the
    /// rows of the schedule. `normed` says whether the norm is used.
    pub(super) fn current(gradients: &'a [T], segments: &'a [u32], numbers: &'a [T], normed: bool) -> Inputs<'a, T> {
        let norm = normed.then(|| &numbers[..CURRENT]);
        Inputs { gradients, segments, schedule: &numbers[CURRENT..], state: &[0; POSITION + 1], norm }
    }

    #[inline(always)]
    fn segment(&self, block: usize) -> [usize; SEGMENT] {
        let [offset, parts, stride, count, group] = self.segments.as_chunks().0[block];
        [offset as usize, parts as usize, stride as usize, count as usize, group as usize]
    }

    /// The gradients of the parameters of a segment for the batch of this step.
    #[inline(always)] // Part of loops that are compiled for the vector unit that was found.
    fn gradient_of(&self, block: usize) -> [T; BLOCK] {
        let [offset, parts, stride, count, _] = self.segment(block);
        let mut total = [T::ZERO; BLOCK];
        for part in 0..parts {
            each_pair(
                &mut total,
                &self.gradients[offset + part * stride..][..BLOCK],
                #[inline(always)]
                |total, element| *total += element,
            );
        }
        // Elements beyond the parameters are state, which does not change.
        total[count..].fill(T::ZERO);
        total
    }

    /// Whether a segment is trained.
    #[inline(always)]
    fn is_trained(&self, block: usize) -> bool {
        self.segment(block)[1] > 0
    }

    /// The schedule's row of a group.
    #[inline(always)]
    fn row(&self, group: usize, groups: usize) -> &'a [T] {
        let start = (self.state[POSITION] as usize * groups + group) * SCHEDULE_COLUMNS;
        &self.schedule[start..start + SCHEDULE_COLUMNS]
    }
}

#[inline(always)]
fn is_finite<T: Real>(x: T) -> bool {
    x.to_f64().is_finite()
}

// The change that each method subtracts from a parameter. `n` are the numbers of the method, `g` is the gradient.

#[inline(always)]
fn momentum<T: Real>(rate: T, n: &Numbers<T>, [velocity]: &mut [T; 1], g: T) -> T {
    *velocity = n[0] * *velocity + g;
    rate * (n[1] * g + n[2] * *velocity)
}

#[inline(always)]
fn rmsprop<T: Real, const M: usize>(
    centered: bool,
    moving: bool,
    rate: T,
    n: &Numbers<T>,
    moments: &mut [T; M],
    g: T,
) -> T {
    moments[0] = n[0] * moments[0] + n[1] * g * g;
    let mut variance = moments[0];
    if centered {
        moments[1] = moments[1] + n[1] * (g - moments[1]);
        variance -= moments[1] * moments[1];
        // Rounding may make the difference negative.
        if variance < T::ZERO {
            variance = T::ZERO;
        }
    }
    let mut change = g / (variance.root() + n[2]);
    if moving {
        change += n[3] * moments[M - 1];
        moments[M - 1] = change;
    }
    rate * change
}

#[inline(always)]
fn adam<T: Real>(rate: T, n: &Numbers<T>, [first, second]: &mut [T; 2], g: T) -> T {
    *first = *first + n[2] * (g - *first);
    *second = n[3] * *second + n[4] * g * g;
    rate * *first / (second.root() * n[0] + n[1])
}

#[inline(always)]
fn adagrad<T: Real>(rate: T, n: &Numbers<T>, [sum]: &mut [T; 1], g: T) -> T {
    *sum += g * g;
    rate * g / (sum.root() + n[0])
}

#[inline(always)]
fn adadelta<T: Real>(rate: T, n: &Numbers<T>, [square, changes]: &mut [T; 2], g: T) -> T {
    *square = n[0] * *square + n[1] * g * g;
    let change = (*changes + n[2]).root() / (*square + n[2]).root() * g;
    *changes = n[0] * *changes + n[1] * change * change;
    rate * change
}

#[inline(always)]
fn nadam<T: Real>(rate: T, n: &Numbers<T>, [first, second]: &mut [T; 2], g: T) -> T {
    *first = *first + n[2] * (g - *first);
    *second = n[3] * *second + n[4] * g * g;
    let root = second.root() * n[0] + n[1];
    n[5] * g / root + rate * *first / root
}

#[inline(always)]
fn lion<T: Real>(rate: T, n: &Numbers<T>, [moment]: &mut [T; 1], g: T) -> T {
    let change = n[0] * *moment + n[1] * g;
    *moment = n[2] * *moment + n[3] * g;
    let sign = |x: T| match (x > T::ZERO, x < T::ZERO) {
        (true, _) => T::ONE,
        (_, true) => T::ZERO - T::ONE,
        _ => T::ZERO,
    };
    rate * sign(change)
}

#[inline(always)]
fn amsgrad<T: Real>(rate: T, n: &Numbers<T>, [first, second, largest]: &mut [T; 3], g: T) -> T {
    *first = *first + n[2] * (g - *first);
    *second = n[3] * *second + n[4] * g * g;
    *largest = larger(*largest, *second);
    rate * *first / (largest.root() * n[0] + n[1])
}

#[inline(always)]
fn adamax<T: Real>(rate: T, n: &Numbers<T>, [first, largest]: &mut [T; 2], g: T) -> T {
    *first = *first + n[1] * (g - *first);
    let magnitude = if g < T::ZERO { T::ZERO - g } else { g };
    *largest = larger(n[2] * *largest, magnitude + n[0]);
    rate * *first / *largest
}

#[inline(always)]
fn radam<T: Real>(rate: T, n: &Numbers<T>, [first, second]: &mut [T; 2], g: T) -> T {
    *first = *first + n[2] * (g - *first);
    *second = n[3] * *second + n[4] * g * g;
    rate * *first * (n[0] / (second.root() + n[1]) + n[5])
}

/// Updates every parameter.
pub(super) fn update<T: Real>(settings: Settings, inputs: Inputs<T>, parameters: &mut [T], moments: &mut [T]) {
    let Settings { centered, momentum: moving, .. } = settings;
    match Method::ALL[settings.method] {
        Method::Descent => follow(settings, inputs, parameters, moments, |rate, _, _: &mut [T; 0], g| rate * g),
        Method::Momentum => follow(settings, inputs, parameters, moments, momentum),
        Method::RmsProp => match (centered, moving) {
            (false, false) => follow(settings, inputs, parameters, moments, |rate, n, m: &mut [T; 1], g| {
                rmsprop(false, false, rate, n, m, g)
            }),
            (true, true) => follow(settings, inputs, parameters, moments, |rate, n, m: &mut [T; 3], g| {
                rmsprop(true, true, rate, n, m, g)
            }),
            _ => follow(settings, inputs, parameters, moments, |rate, n, m: &mut [T; 2], g| {
                rmsprop(centered, moving, rate, n, m, g)
            }),
        },
        Method::Adam => follow(settings, inputs, parameters, moments, adam),
        Method::Adagrad => follow(settings, inputs, parameters, moments, adagrad),
        Method::Adadelta => follow(settings, inputs, parameters, moments, adadelta),
        Method::NAdam => follow(settings, inputs, parameters, moments, nadam),
        Method::Lion => follow(settings, inputs, parameters, moments, lion),
        Method::AmsGrad => follow(settings, inputs, parameters, moments, amsgrad),
        Method::AdaMax => follow(settings, inputs, parameters, moments, adamax),
        Method::RAdam => follow(settings, inputs, parameters, moments, radam),
    }
}

/// Parameters with their moments and accumulated gradients.
struct Task<'a, T, const M: usize> {
    parameters: &'a mut [Block<T>],
    moments: [&'a mut [Block<T>]; M],
    accumulated: Option<&'a mut [Block<T>]>,
}

/// Updates every parameter by a method with M moments.
fn follow<T: Real, const M: usize>(
    settings: Settings,
    inputs: Inputs<T>,
    parameters: &mut [T],
    moments: &mut [T],
    change: impl Fn(T, &Numbers<T>, &mut [T; M], T) -> T + Sync,
) {
    // Parameters are laid out in whole blocks, and chunks have whole blocks.
    let mut all =
        moments.chunks_exact_mut(settings.count).map(|moment| moment.as_chunks_mut().0.chunks_mut(TASK / BLOCK));
    let mut own: [_; M] = std::array::from_fn(|_| all.next());
    let mut accumulated = if settings.accumulated > 0 { all.next() } else { None };
    let parameters = parameters.as_chunks_mut().0;
    let tasks: Vec<Task<T, M>> = parameters
        .chunks_mut(TASK / BLOCK)
        .map(|parameters| Task {
            parameters,
            moments: own.each_mut().map(|moment| moment.as_mut().and_then(Iterator::next).unwrap_or_default()),
            accumulated: accumulated.as_mut().and_then(Iterator::next),
        })
        .collect();
    tasks.into_par_iter().enumerate().for_each(|(number, task)| {
        vectorised(
            task,
            #[inline(always)]
            |mut task: Task<T, M>| {
                for block in 0..task.parameters.len() {
                    follow_block(settings, inputs, number * (TASK / BLOCK) + block, block, &mut task, &change);
                }
            },
        );
    });
}

/// Updates the parameters of segment `segment`, block `block` of a task.
#[inline(always)]
fn follow_block<T: Real, const M: usize>(
    settings: Settings,
    inputs: Inputs<T>,
    segment: usize,
    block: usize,
    task: &mut Task<T, M>,
    change: &impl Fn(T, &Numbers<T>, &mut [T; M], T) -> T,
) {
    if !inputs.is_trained(segment) {
        return;
    }
    let row = inputs.row(inputs.segment(segment)[4], settings.groups);
    let mut gradients = if settings.collected { [T::ZERO; BLOCK] } else { inputs.gradient_of(segment) };
    if let Some(accumulated) = &mut task.accumulated {
        let accumulated = &mut accumulated[block];
        for (sum, gradient) in accumulated.iter_mut().zip(&mut gradients) {
            *gradient = if settings.collected { *sum } else { *sum + row[SHARE] * *gradient };
        }
        if row[WAIT] > T::ZERO {
            accumulated.copy_from_slice(&gradients);
            return;
        }
        accumulated.fill(T::ZERO);
    }
    if let Some(norm) = inputs.norm {
        let squares = norm[SQUARES];
        if !is_finite(squares) && settings.skip {
            return;
        }
        let scale = smaller(T::ONE, row[NORM_LIMIT] / (squares.root() + T::from_f64(1e-6)));
        let scale = match (is_finite(squares), settings.scaled) {
            (false, _) => squares,
            (true, false) => scale,
            (true, true) => scale * norm[INVERSE],
        };
        gradients.iter_mut().for_each(|gradient| *gradient = *gradient * scale);
    }
    if settings.limited {
        let limit = row[VALUE_LIMIT];
        for gradient in &mut gradients {
            let low = T::ZERO - limit;
            *gradient = if *gradient < low { low } else { smaller(*gradient, limit) };
        }
    }
    let mut numbers: Numbers<T> = [T::ZERO; SCHEDULE_COLUMNS - METHOD_NUMBERS];
    numbers.copy_from_slice(&row[METHOD_NUMBERS..]);
    let (rate, decay, shrink) = (row[RATE], row[DECAY], row[SHRINK]);
    let parameters = &mut task.parameters[block];
    // The moments are copied and indexed: functions that `array::map` and `zip` call in the standard library are not
    // inlined across codegen units, and a loop with such a call is not vectorised.
    let mut moments = [[T::ZERO; BLOCK]; M];
    for (number, moment) in moments.iter_mut().enumerate() {
        *moment = task.moments[number][block];
    }
    for index in 0..BLOCK {
        let mut own = [T::ZERO; M];
        for (number, own) in own.iter_mut().enumerate() {
            *own = moments[number][index];
        }
        let parameter = parameters[index];
        let gradient = gradients[index] + decay * parameter;
        parameters[index] = shrink * parameter - change(rate, &numbers, &mut own, gradient);
        for (number, moment) in moments.iter_mut().enumerate() {
            moment[index] = own[number];
        }
    }
    for (number, moment) in moments.iter().enumerate() {
        task.moments[number][block] = *moment;
    }
}

#[inline(always)]
fn smaller<T: Real>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

/// The larger number; the second one if either is NaN, so that a NaN gradient is not hidden.
#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// Adds the gradients of this batch to those of earlier batches.
pub(super) fn collect<T: Real>([count, accumulated]: [usize; 2], inputs: Inputs<T>, moments: &mut [T]) {
    let sums = moments[(accumulated - 1) * count..][..count].as_chunks_mut::<BLOCK>().0;
    sums.par_iter_mut().enumerate().filter(|(segment, _)| inputs.is_trained(*segment)).for_each(|(segment, sums)| {
        let share = inputs.row(inputs.segment(segment)[4], 1)[SHARE];
        for (sum, gradient) in sums.iter_mut().zip(inputs.gradient_of(segment)) {
            *sum += share * gradient;
        }
    });
}

/// Sums of the squares of the gradients.
pub(super) fn squares<T: Real>([count]: [usize; 1], inputs: Inputs<T>, parts: &mut [T]) {
    sum_squares(count, inputs, parts, |_, gradients| gradients);
}

/// Sums of the squares of the gradients, including those of earlier batches.
pub(super) fn squares_of_sums<T: Real>(
    [count, groups, accumulated]: [usize; 3],
    inputs: Inputs<T>,
    moments: &[T],
    parts: &mut [T],
) {
    sum_squares(count, inputs, parts, |block, mut gradients| {
        let share = inputs.row(inputs.segment(block)[4], groups)[SHARE];
        let before = &moments[(accumulated - 1) * count + block * BLOCK..][..BLOCK];
        for (gradient, before) in gradients.iter_mut().zip(before) {
            *gradient = *before + share * *gradient;
        }
        gradients
    });
}

/// Sums of the squares of gradients, which `sum_of` first processes block by block.
fn sum_squares<T: Real>(
    count: usize,
    inputs: Inputs<T>,
    parts: &mut [T],
    sum_of: impl Fn(usize, Block<T>) -> Block<T> + Sync,
) {
    let blocks = PART / BLOCK;
    parts.par_iter_mut().enumerate().for_each(|(part, sum)| {
        *sum = T::ZERO;
        let blocks = part * blocks..((part + 1) * blocks).min(count / BLOCK);
        for block in blocks.filter(|block| inputs.is_trained(*block)) {
            for gradient in sum_of(block, inputs.gradient_of(block)) {
                *sum += gradient * gradient;
            }
        }
    });
}

/// Adds the partial sums of squares to the squared norm, adapts the loss scale, and counts skipped updates, whose
/// gradients are not all finite.
pub(super) fn join<T: Real>(
    [groups, _parts, scaled]: [usize; 3],
    parts: &[T],
    schedule: &[T],
    state: &[u32],
    joined: &mut [T],
) {
    let total = parts.iter().fold(T::ZERO, |sum, part| sum + *part);
    let updates = schedule[state[POSITION] as usize * groups * SCHEDULE_COLUMNS + WAIT] == T::ZERO;
    joined[SQUARES] = total;
    if scaled == 1 {
        let inverse = T::ONE / joined[SCALE];
        joined[SQUARES] = total * inverse * inverse;
        joined[INVERSE] = inverse;
        if updates {
            rescale(joined, is_finite(total));
        }
    }
    if !is_finite(total) && updates {
        joined[SKIPPED] += T::ONE;
    }
}

/// Adapts the loss scale: halves it after gradients that are not finite, doubles it after a number of finite ones.
fn rescale<T: Real>(joined: &mut [T], good: bool) {
    let largest = T::from_f64(LossScale::LARGEST);
    if !good {
        let smallest = T::ONE / largest;
        let half = T::from_f64(0.5) * joined[SCALE];
        joined[SCALE] = if half < smallest { smallest } else { half };
        joined[GOOD] = T::ZERO;
    } else if joined[GOOD] + T::ONE < T::from_f64(LossScale::GROWTH_INTERVAL as f64) {
        joined[GOOD] += T::ONE;
    } else {
        joined[SCALE] = smaller(joined[SCALE] + joined[SCALE], largest);
        joined[GOOD] = T::ZERO;
    }
}

/// Moves the average of the parameters towards them.
pub(super) fn average<T: Real>(
    [_count, groups]: [usize; 2],
    parameters: &[T],
    schedule: &[T],
    state: &[u32],
    averages: &mut [T],
) {
    let rate = schedule[state[POSITION] as usize * groups * SCHEDULE_COLUMNS + AVERAGING];
    averages.par_chunks_mut(TASK).zip(parameters.par_chunks(TASK)).for_each(|(averages, parameters)| {
        for (average, parameter) in averages.iter_mut().zip(parameters) {
            *average += rate * (*parameter - *average);
        }
    });
}
