//! The optimiser of a model file.

use crate::error::{Error, Result};
use crate::plan::Optimizer;
use crate::schema::{Key, choice, keys, validate};

/// An optimiser and its settings; PyTorch's defaults unless given.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// The update rule.
    pub method: Optimizer,
    /// Learning rate.
    pub lr: f64,
    /// Factor of a parameter that is added to its gradient; AdamW and Lion subtract it, times the rate, from the
    /// parameter.
    pub weight_decay: f64,
}

impl OptimizerSpec {
    /// An optimiser with PyTorch's default learning rate and weight decay; Lion's are those of its paper.
    pub fn new(method: Optimizer) -> OptimizerSpec {
        let lr = match method {
            Optimizer::Sgd { .. } | Optimizer::RmsProp { .. } | Optimizer::Adagrad { .. } => 1e-2,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::RAdam { .. } => 1e-3,
            Optimizer::Adadelta { .. } => 1.0,
            Optimizer::NAdam { .. } | Optimizer::AdaMax { .. } => 2e-3,
            Optimizer::Lion { .. } => 1e-4,
        };
        let weight_decay = if matches!(method, Optimizer::AdamW { .. }) { 1e-2 } else { 0.0 };
        OptimizerSpec { method, lr, weight_decay }
    }

    /// Plain gradient descent.
    pub fn sgd(lr: f64) -> OptimizerSpec {
        OptimizerSpec { lr, ..OptimizerSpec::new(Optimizer::SGD) }
    }

    /// Adam.
    pub fn adam(lr: f64) -> OptimizerSpec {
        OptimizerSpec { lr, ..OptimizerSpec::new(Optimizer::ADAM) }
    }

    /// The name in a model file.
    pub fn name(&self) -> &'static str {
        self.method.name()
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        let OptimizerSpec { method, lr, weight_decay } = self;
        let own = match method {
            Optimizer::Sgd { momentum, nesterov } => keys![momentum: Fraction, nesterov: Flag],
            Optimizer::RmsProp { alpha, eps, momentum, centered } => {
                keys![alpha: Fraction, eps: NotNegative, momentum: Fraction, centered: Flag]
            }
            Optimizer::Adam { betas, eps, amsgrad } | Optimizer::AdamW { betas, eps, amsgrad } => {
                keys![betas: Fractions, eps: NotNegative, amsgrad: Flag]
            }
            Optimizer::Adagrad { lr_decay, eps } => keys![lr_decay: NotNegative, eps: NotNegative],
            Optimizer::Adadelta { rho, eps } => keys![rho: Fraction, eps: NotNegative],
            Optimizer::AdaMax { betas, eps } | Optimizer::RAdam { betas, eps } => {
                keys![betas: Fractions, eps: NotNegative]
            }
            Optimizer::NAdam { betas, eps, momentum_decay } => {
                keys![betas: Fractions, eps: NotNegative, momentum_decay: NotNegative]
            }
            Optimizer::Lion { betas } => keys![betas: Fractions],
        };
        keys![lr: NotNegative].into_iter().chain(own).chain(keys![weight_decay: NotNegative]).collect()
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate(self, "train.optimizer")?;
        if matches!(self.method, Optimizer::Sgd { momentum: 0.0, nesterov: true }) {
            let (problem, help) = ("is nothing without momentum", "set momentum = 0.9, say, or leave it out");
            return Err(Error::invalid("train.optimizer.sgd.nesterov", problem, help));
        }
        Ok(())
    }
}

choice! { "optimizer" OptimizerSpec, Optimizer::ALL.map(OptimizerSpec::new).to_vec(), |spec| spec.settings() }
