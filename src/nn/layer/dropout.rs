//! What is drawn in training: dropout and noise.

use super::kind::{Key, Kind, Misfit, Setting, misfit, product};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// In training, elements become zero at random and the others grow by as much as is lost on average: Srivastava et al.,
/// JMLR 15 (2014). Otherwise nothing happens.
///
/// Each layer draws from a stream of its own, new numbers in every step, from the counter-based generator: the same seed
/// drops the same elements on every device.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element becomes zero.
    pub p: f64,
    /// Whether it is whole channels of `[channels, ..]` that become zero: Tompson et al., arXiv 1411.4280.
    pub spatial: bool,
}

/// In training, a normal draw of this deviation is added to each element; otherwise nothing happens. Before the code it
/// makes neighbouring codes decode alike (Poole et al., arXiv 1406.1831). Drawn as [`Dropout`]'s.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNoise {
    /// The deviation.
    pub deviation: f64,
}

impl Kind for Dropout {
    fn name(&self) -> &'static str {
        if self.spatial { "spatial_dropout" } else { "dropout" }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("p", Setting::Number(&mut self.p))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        if !(0.0..=1.0).contains(&self.p) {
            return Err(misfit!("p must be between 0 and 1, got {:?}", self.p; "use 0.1, say"));
        }
        if self.spatial && input.len() < 2 {
            return Err(misfit!("expects [channels, ..], got {input}"; "use \"dropout\" for features"));
        }
        Ok(input.clone())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input)
    }

    fn apply(&self, _placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let Some(state) = cx.training().filter(|_| self.p > 0.0) else { return Ok(x) };
        // Nothing is left to grow by as much as is lost.
        if self.p == 1.0 {
            return cx.scale(x, 0.0);
        }
        let mut shape = cx.shape(x).to_vec();
        if self.spatial {
            shape[2..].fill(1);
        }
        let mask = cx.random_bernoulli(state, 1.0 - self.p, shape)?;
        let mask = cx.scale(mask, 1.0 / (1.0 - self.p))?;
        cx.multiply(x, mask)
    }
}

impl Kind for GaussianNoise {
    fn name(&self) -> &'static str {
        "gaussian_noise"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("deviation", Setting::Number(&mut self.deviation))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match self.deviation.is_finite() && self.deviation >= 0.0 {
            true => Ok(input.clone()),
            false => Err(misfit!("deviation must be a number of at least 0, got {:?}", self.deviation; "use 0.1, say")),
        }
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input)
    }

    fn apply(&self, _placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let Some(state) = cx.training().filter(|_| self.deviation > 0.0) else { return Ok(x) };
        let shape = cx.shape(x).clone();
        let noise = cx.random_normal(state, shape)?;
        let noise = cx.scale(noise, self.deviation)?;
        cx.add(x, noise)
    }
}
