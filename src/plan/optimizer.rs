//! Optimisers: the moments that each keeps, and the schedule's numbers for a step.

use super::state::{DECAY, METHOD_NUMBERS, RATE, SCHEDULE_COLUMNS, SHARE, SHRINK};

/// An optimiser: the rule by which gradients g change parameters p at a learning rate that the schedule gives. Each
/// variant computes the steps of PyTorch's optimiser of its name; Lion computes those of its paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Gradient descent, with the momentum of Sutskever et al. (ICML 2013) if it is above 0.
    Sgd {
        /// The momentum: the part of the previous change that is kept.
        momentum: f64,
        /// Whether the momentum is Nesterov's, which looks ahead.
        nesterov: bool,
    },
    /// RMSprop: Tieleman and Hinton, Coursera lecture 6.5 (2012); centred: Graves, arXiv 1308.0850.
    RmsProp {
        /// Decay of the mean of the gradient's squares.
        alpha: f64,
        /// Added to the root.
        eps: f64,
        /// The momentum: the part of the previous change that is kept.
        momentum: f64,
        /// Whether the gradient's variance replaces its mean square.
        centered: bool,
    },
    /// Adam: Kingma and Ba, arXiv 1412.6980.
    Adam {
        /// Decay of the first and of the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Whether the largest second moment so far replaces the second moment: Reddi et al., ICLR 2018.
        amsgrad: bool,
    },
    /// Adam with weight decay apart from the gradient: Loshchilov and Hutter, arXiv 1711.05101.
    AdamW {
        /// Decay of the first and of the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Whether the largest second moment so far replaces the second moment.
        amsgrad: bool,
    },
    /// Adagrad: Duchi, Hazan and Singer, JMLR 12 (2011).
    Adagrad {
        /// The rate of step t is divided by 1 + (t - 1) times this.
        lr_decay: f64,
        /// Added to the root of the sum of squares.
        eps: f64,
    },
    /// Adadelta: Zeiler, arXiv 1212.5701.
    Adadelta {
        /// Decay of both mean squares.
        rho: f64,
        /// Added to both before their roots.
        eps: f64,
    },
    /// Adam with Nesterov's momentum: Dozat, ICLR workshop 2016.
    NAdam {
        /// Decay of the first and of the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Rate at which the momentum rises to the first beta.
        momentum_decay: f64,
    },
    /// Lion: Chen et al., arXiv 2302.06675.
    Lion {
        /// The momentum's share in a change, and the decay of the momentum.
        betas: [f64; 2],
    },
    /// Adam by the largest magnitude of a gradient, which decays, in place of the second moment: Kingma and Ba, arXiv
    /// 1412.6980, section 7.1.
    AdaMax {
        /// Decay of the first moment and of the largest magnitude.
        betas: [f64; 2],
        /// Added to each magnitude.
        eps: f64,
    },
    /// Adam that rectifies the adaptive rate by the variance of the second moment: Liu et al., arXiv 1908.03265.
    RAdam {
        /// Decay of the first and of the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
    },
}

/// The function that an update runs: the constant `METHOD` of `shaders/optimizer.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// p - rate g
    Descent = 0,
    /// Descent by a change that has momentum.
    Momentum = 1,
    /// RMSprop.
    RmsProp = 2,
    /// Adam and AdamW.
    Adam = 3,
    /// Adagrad.
    Adagrad = 4,
    /// Adadelta.
    Adadelta = 5,
    /// NAdam.
    NAdam = 6,
    /// Lion.
    Lion = 7,
    /// Adam and AdamW by the largest second moment.
    AmsGrad = 8,
    /// AdaMax.
    AdaMax = 9,
    /// RAdam.
    RAdam = 10,
}

/// Least epsilon, used in place of a smaller one, such as 0: a gradient of 0 then gives a change of 0, not 0 / 0, and
/// one whose square is too small for 32 bits no infinite change. Other sums that it is added to are far larger.
const LEAST_EPS: f64 = 1e-20;

impl Method {
    /// All methods, by their numbers.
    pub const ALL: [Method; 11] = [
        Method::Descent,
        Method::Momentum,
        Method::RmsProp,
        Method::Adam,
        Method::Adagrad,
        Method::Adadelta,
        Method::NAdam,
        Method::Lion,
        Method::AmsGrad,
        Method::AdaMax,
        Method::RAdam,
    ];
}

impl Optimizer {
    /// All optimisers, with PyTorch's defaults.
    pub const ALL: [Optimizer; 10] = [
        Optimizer::Sgd { momentum: 0.0, nesterov: false },
        Optimizer::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false },
        Optimizer::Adam { betas: [0.9, 0.999], eps: 1e-8, amsgrad: false },
        Optimizer::AdamW { betas: [0.9, 0.999], eps: 1e-8, amsgrad: false },
        Optimizer::Adagrad { lr_decay: 0.0, eps: 1e-10 },
        Optimizer::Adadelta { rho: 0.9, eps: 1e-6 },
        Optimizer::NAdam { betas: [0.9, 0.999], eps: 1e-8, momentum_decay: 4e-3 },
        Optimizer::Lion { betas: [0.9, 0.99] },
        Optimizer::AdaMax { betas: [0.9, 0.999], eps: 1e-8 },
        Optimizer::RAdam { betas: [0.9, 0.999], eps: 1e-8 },
    ];
    /// Plain descent.
    pub const SGD: Optimizer = Optimizer::ALL[0];
    /// Adam with PyTorch's defaults.
    pub const ADAM: Optimizer = Optimizer::ALL[2];

    /// The name in plans and model files.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::RmsProp { .. } => "rmsprop",
            Optimizer::Adam { .. } => "adam",
            Optimizer::AdamW { .. } => "adamw",
            Optimizer::Adagrad { .. } => "adagrad",
            Optimizer::Adadelta { .. } => "adadelta",
            Optimizer::NAdam { .. } => "nadam",
            Optimizer::Lion { .. } => "lion",
            Optimizer::AdaMax { .. } => "adamax",
            Optimizer::RAdam { .. } => "radam",
        }
    }

    /// The function of the optimiser's update.
    pub fn method(&self) -> Method {
        match self {
            Optimizer::Sgd { momentum, .. } if *momentum == 0.0 => Method::Descent,
            Optimizer::Sgd { .. } => Method::Momentum,
            Optimizer::RmsProp { .. } => Method::RmsProp,
            Optimizer::Adam { amsgrad: true, .. } | Optimizer::AdamW { amsgrad: true, .. } => Method::AmsGrad,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => Method::Adam,
            Optimizer::Adagrad { .. } => Method::Adagrad,
            Optimizer::Adadelta { .. } => Method::Adadelta,
            Optimizer::NAdam { .. } => Method::NAdam,
            Optimizer::Lion { .. } => Method::Lion,
            Optimizer::AdaMax { .. } => Method::AdaMax,
            Optimizer::RAdam { .. } => Method::RAdam,
        }
    }

    /// Whether RMSprop is centred, and whether it has momentum: each needs a moment more.
    pub(super) fn extras(&self) -> [bool; 2] {
        match self {
            Optimizer::RmsProp { momentum, centered, .. } => [*centered, *momentum > 0.0],
            _ => [false; 2],
        }
    }

    fn extra_moments(&self) -> usize {
        self.extras().map(usize::from).iter().sum()
    }

    /// Number of moments kept for every parameter.
    pub fn moments(&self) -> usize {
        match self.method() {
            Method::Descent => 0,
            Method::Momentum | Method::Adagrad | Method::Lion => 1,
            Method::RmsProp => 1 + self.extra_moments(),
            Method::Adam | Method::Adadelta | Method::NAdam | Method::AdaMax | Method::RAdam => 2,
            Method::AmsGrad => 3,
        }
    }

    /// Floating-point operations for a parameter, as they are counted in a plan.
    pub(super) fn operations(&self) -> usize {
        match self.method() {
            Method::Descent => 2,
            Method::Momentum => 6,
            Method::RmsProp => 8 + 4 * self.extra_moments(),
            Method::Adagrad => 7,
            Method::Lion => 10,
            Method::AdaMax => 11,
            Method::Adam | Method::Adadelta => 13,
            Method::AmsGrad | Method::RAdam => 14,
            Method::NAdam => 15,
        }
    }

    /// The schedule's row for update `step`, counted from 1, at a learning rate and a weight decay. Computed in f64, so
    /// that the bias corrections of long runs stay exact. Columns that concern all methods alike are named in
    /// [`state`](super::state); columns from [`METHOD_NUMBERS`] on depend on the method.
    pub fn schedule_row(&self, step: u64, rate: f64, weight_decay: f64) -> [f64; SCHEDULE_COLUMNS] {
        let mut row = [0.0; SCHEDULE_COLUMNS];
        (row[RATE], row[SHRINK], row[SHARE]) = (rate, 1.0, 1.0);
        match self {
            // Decoupled decay shrinks the parameters themselves; elsewhere the decay is part of the gradient.
            Optimizer::AdamW { .. } | Optimizer::Lion { .. } => row[SHRINK] = 1.0 - rate * weight_decay,
            _ => row[DECAY] = weight_decay,
        }
        let exponent = step as f64;
        let positive = |eps: &f64| eps.max(LEAST_EPS);
        let numbers: &[f64] = match self {
            // The momentum, and the shares of the gradient and of the change in the step.
            Optimizer::Sgd { momentum, nesterov: true } => &[*momentum, 1.0, *momentum],
            Optimizer::Sgd { momentum, nesterov: false } => &[*momentum, 0.0, 1.0],
            Optimizer::RmsProp { alpha, eps, momentum, .. } => &[*alpha, 1.0 - alpha, positive(eps), *momentum],
            Optimizer::Adam { betas: [first, second], eps, .. }
            | Optimizer::AdamW { betas: [first, second], eps, .. } => {
                row[RATE] = rate / (1.0 - first.powf(exponent));
                &[1.0 / (1.0 - second.powf(exponent)).sqrt(), positive(eps), 1.0 - first, *second, 1.0 - second]
            }
            Optimizer::Adagrad { lr_decay, eps } => {
                row[RATE] = rate / (1.0 + (exponent - 1.0) * lr_decay);
                &[positive(eps)]
            }
            Optimizer::Adadelta { rho, eps } => &[*rho, 1.0 - rho, positive(eps)],
            Optimizer::NAdam { betas: [first, second], eps, momentum_decay } => {
                let momentum = |step: f64| first * (1.0 - 0.5 * 0.96f64.powf(step * momentum_decay));
                let mut product = 1.0;
                for step in 1..=step {
                    product *= momentum(step as f64);
                    // A smaller product makes no difference to 1 - product.
                    if product < 1e-20 {
                        break;
                    }
                }
                let (now, next) = (momentum(exponent), momentum(exponent + 1.0));
                row[RATE] = rate * next / (1.0 - product * next);
                let correction = 1.0 / (1.0 - second.powf(exponent)).sqrt();
                let gradient_rate = rate * (1.0 - now) / (1.0 - product);
                &[correction, positive(eps), 1.0 - first, *second, 1.0 - second, gradient_rate]
            }
            Optimizer::Lion { betas: [first, second] } => &[*first, 1.0 - first, *second, 1.0 - second],
            Optimizer::AdaMax { betas: [first, second], eps } => {
                row[RATE] = rate / (1.0 - first.powf(exponent));
                &[positive(eps), 1.0 - first, *second]
            }
            Optimizer::RAdam { betas: [first, second], eps } => {
                row[RATE] = rate / (1.0 - first.powf(exponent));
                let power = second.powf(exponent);
                // Lengths of equivalent simple moving averages of the second moment: in the limit, and now.
                let most = 2.0 / (1.0 - second) - 1.0;
                let length = most - 2.0 * exponent * power / (1.0 - power);
                let [by_root, plain] = if length > 5.0 {
                    let part = |length: f64| (length - 4.0) * (length - 2.0) / length;
                    [(part(length) / part(most) * (1.0 - power)).sqrt(), 0.0]
                } else {
                    [0.0, 1.0]
                };
                &[by_root, positive(eps), 1.0 - first, *second, 1.0 - second, plain]
            }
        };
        row[METHOD_NUMBERS..METHOD_NUMBERS + numbers.len()].copy_from_slice(numbers);
        row
    }
}
