//! Layers that draw random numbers in training: dropout and noise.

use super::kind::*;

/// Dropout, Srivastava et al., JMLR 15 (2014): in training, sets random elements to zero and divides the others by the
/// probability to remain, which keeps the mean. The identity outside training.
///
/// Each layer draws from a separate stream of the counter-based generator, new numbers in every step, so that a seed
/// drops the same elements on every device.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element becomes zero.
    pub p: f64,
    /// Whether whole channels of `[channels, ..]` become zero: Tompson et al., arXiv 1411.4280.
    pub spatial: bool,
}

/// Gaussian noise: in training, adds a normal draw to each element, from a stream as in [`Dropout`]; the identity
/// outside training. Directly before the code it makes neighbouring codes decode alike: Poole et al., arXiv 1406.1831.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNoise {
    /// The standard deviation of the noise.
    pub deviation: f64,
}

impl Kind for Dropout {
    name!(spatial: false => "dropout", true => "spatial_dropout");
    keys!(needed p: Number);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        between_0_and_1("p", self.p)?;
        if self.spatial && input.len() < 2 {
            return Err(misfit!("expects [channels, ..], got {input}"; "use \"dropout\" for features"));
        }
        Ok(input.clone())
    }

    flops!(1);

    fn apply(&self, _placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let Some(state) = context.training().filter(|_| self.p > 0.0) else { return Ok(x) };
        // No element remains that could be divided by the probability to remain.
        if self.p == 1.0 {
            return context.scale(x, 0.0);
        }
        let mut shape = context.shape(x).to_vec();
        if self.spatial {
            shape[2..].fill(1);
        }
        let mask = context.random_bernoulli(state, 1.0 - self.p, shape)?;
        let mask = context.scale(mask, 1.0 / (1.0 - self.p))?;
        context.multiply(x, mask)
    }
}

impl Kind for GaussianNoise {
    name!("gaussian_noise");
    keys!(needed deviation: Number);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match self.deviation.is_finite() && self.deviation >= 0.0 {
            true => Ok(input.clone()),
            false => Err(misfit!("deviation must be a number of at least 0, got {:?}", self.deviation; "use 0.1, say")),
        }
    }

    flops!(1);

    fn apply(&self, _placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let Some(state) = context.training().filter(|_| self.deviation > 0.0) else { return Ok(x) };
        let shape = context.shape(x).clone();
        let noise = context.random_normal(state, shape)?;
        let noise = context.scale(noise, self.deviation)?;
        context.add(x, noise)
    }
}
