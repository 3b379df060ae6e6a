//! The learning rate schedule of a model file.

use crate::schema::{Key, choices, keys};
use std::f64::consts::PI;

/// Learning rate schedule of training. Each is PyTorch's scheduler of that name; the unit of time is an epoch, or an
/// update of the parameters with `per_step`.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Constant rate.
    Constant,
    /// Multiplies the rate by `gamma` after every `every` units of time: `StepLR`.
    Step {
        /// Units of time between two changes.
        every: usize,
        /// Factor of the rate.
        gamma: f64,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Multiplies the rate by `gamma` at each milestone: `MultiStepLR`.
    MultiStep {
        /// Times of the changes, in any order; at least one.
        milestones: Vec<usize>,
        /// Factor of the rate.
        gamma: f64,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Multiplies the optimiser's rate by a factor that changes linearly from one number to another, and stays there:
    /// `LinearLR`.
    Linear {
        /// Initial factor.
        start_factor: f64,
        /// Final factor.
        end_factor: f64,
        /// Duration of the change; 0 for the whole training.
        total: usize,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Decays the rate to 0 as a power of the remaining fraction of time: `PolynomialLR`.
    Polynomial {
        /// The exponent: 1 for a straight line.
        power: f64,
        /// Duration of the decay; 0 for the whole training.
        total: usize,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Multiplies the rate by `gamma` after every unit of time: `ExponentialLR`.
    Exponential {
        /// Factor of the rate.
        gamma: f64,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Decays the rate to `min` along half a cosine: Loshchilov and Hutter, arXiv 1608.03983; `CosineAnnealingLR`, and
    /// with a period `CosineAnnealingWarmRestarts`.
    Cosine {
        /// Time to the first restart; 0 for one decay over the whole training.
        period: usize,
        /// Ratio of each period's length to that of the one before.
        multiply: usize,
        /// Lowest rate.
        min: f64,
        /// Whether the unit of time is an update.
        per_step: bool,
    },
    /// Raises the rate to the optimiser's, then decays it far below its initial value, over the whole training, per
    /// update: Smith and Topin, arXiv 1708.07120; `OneCycleLR` without a cycle of the momentum.
    OneCycle {
        /// Fraction of training in which the rate rises.
        start: f64,
        /// Ratio of the optimiser's rate to the initial one.
        div: f64,
        /// Ratio of the initial rate to the final one.
        final_div: f64,
    },
    /// Multiplies the rate by `factor` when the loss has not improved for more than `patience` epochs:
    /// `ReduceLROnPlateau`. It watches the validation loss, or the training loss where there is no validation.
    Plateau {
        /// Factor of the rate.
        factor: f64,
        /// Epochs without improvement that are tolerated.
        patience: usize,
        /// A loss improves on the best when it is lower by more than this fraction of the best.
        threshold: f64,
        /// Lowest rate.
        min: f64,
    },
}

/// Position of an update within a training.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of earlier updates.
    pub update: u64,
    /// Number of updates of the whole training.
    pub updates: u64,
    /// Number of earlier epochs.
    pub epoch: u64,
    /// Number of epochs of the whole training.
    pub epochs: u64,
    /// Number of times a plateau has lowered the rate.
    pub reductions: u32,
}

impl Schedule {
    fn settings(&mut self) -> Vec<Key<'_>> {
        match self {
            Schedule::Constant => vec![],
            Schedule::Step { every, gamma, per_step } => keys![every: Count, gamma: Positive, per_step: Flag],
            Schedule::MultiStep { milestones, gamma, per_step } => {
                keys![milestones: Counts, gamma: Positive, per_step: Flag]
            }
            Schedule::Exponential { gamma, per_step } => keys![gamma: Positive, per_step: Flag],
            Schedule::Linear { start_factor, end_factor, total, per_step } => {
                keys![start_factor: NotNegative, end_factor: NotNegative, total: Whole, per_step: Flag]
            }
            Schedule::Polynomial { power, total, per_step } => keys![power: Positive, total: Whole, per_step: Flag],
            Schedule::Cosine { period, multiply, min, per_step } => {
                keys![period: Whole, multiply: Count, min: NotNegative, per_step: Flag]
            }
            Schedule::OneCycle { start, div, final_div } => keys![start: Fraction, div: Positive, final_div: Positive],
            Schedule::Plateau { factor, patience, threshold, min } => {
                keys![factor: Fraction, patience: Whole, threshold: Fraction, min: NotNegative]
            }
        }
    }

    /// Learning rate of an update, with the optimiser's rate `base`. In the first `warmup` updates it rises linearly to
    /// the schedule's initial rate; a per-update schedule begins after them.
    pub fn rate(&self, base: f64, warmup: u64, place: Place) -> f64 {
        let rising = if place.update < warmup { (place.update + 1) as f64 / warmup as f64 } else { 1.0 };
        let by_updates = (place.update.saturating_sub(warmup), place.updates.saturating_sub(warmup));
        let times = |per_step: bool| if per_step { by_updates } else { (place.epoch, place.epochs) };
        rising
            * match *self {
                Schedule::Constant => base,
                Schedule::Step { every, gamma, per_step } => {
                    base * gamma.powf((times(per_step).0 / every as u64) as f64)
                }
                Schedule::MultiStep { ref milestones, gamma, per_step } => {
                    let passed = milestones.iter().filter(|time| **time as u64 <= times(per_step).0).count();
                    base * gamma.powf(passed as f64)
                }
                Schedule::Exponential { gamma, per_step } => base * gamma.powf(times(per_step).0 as f64),
                Schedule::Linear { start_factor, end_factor, total, per_step } => {
                    base * (start_factor + (end_factor - start_factor) * part(times(per_step), total))
                }
                Schedule::Polynomial { power, total, per_step } => {
                    base * (1.0 - part(times(per_step), total)).powf(power)
                }
                Schedule::Cosine { period, multiply, min, per_step } => {
                    let (mut time, all) = times(per_step);
                    let mut period = if period == 0 { all.max(1) } else { period as u64 };
                    while time >= period {
                        time -= period;
                        period = period.saturating_mul(multiply as u64);
                        if multiply == 1 {
                            time %= period;
                        }
                    }
                    fall(base, min, time as f64 / period as f64)
                }
                Schedule::OneCycle { start, div, final_div } => {
                    let (time, all) = (by_updates.0 as f64, by_updates.1 as f64);
                    let (top, first) = (start * all - 1.0, base / div);
                    if time <= top && top > 0.0 {
                        fall(first, base, time / top)
                    } else {
                        fall(base, first / final_div, ((time - top) / (all - 1.0 - top)).clamp(0.0, 1.0))
                    }
                }
                Schedule::Plateau { factor, min, .. } => {
                    (base * factor.powf(place.reductions as f64)).max(min.min(base))
                }
            }
    }
}

/// Fraction of `total` that has passed, or of the whole training where `total` is 0; at most 1.
fn part((time, all): (u64, u64), total: usize) -> f64 {
    let total = if total == 0 { all.max(1) } else { total as u64 };
    time.min(total) as f64 / total as f64
}

/// Interpolates between two rates along half a cosine.
fn fall(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * part).cos()) / 2.0
}

choices! { "schedule" Schedule {
    Constant = "constant",
    Step { every: 10, gamma: 0.1, per_step: false } = "step",
    MultiStep { milestones: vec![30, 80], gamma: 0.1, per_step: false } = "multi_step",
    Exponential { gamma: 0.95, per_step: false } = "exponential",
    Linear { start_factor: 1.0 / 3.0, end_factor: 1.0, total: 5, per_step: false } = "linear",
    Polynomial { power: 1.0, total: 5, per_step: false } = "polynomial",
    Cosine { period: 0, multiply: 1, min: 0.0, per_step: true } = "cosine",
    OneCycle { start: 0.3, div: 25.0, final_div: 1e4 } = "one_cycle",
    Plateau { factor: 0.1, patience: 10, threshold: 1e-4, min: 0.0 } = "plateau",
} }
