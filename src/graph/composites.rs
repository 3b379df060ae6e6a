//! Compositions of ops whose derivative has a closed form that is shorter than the chain rule over the ops: softmax and
//! normalisation. [`Graph::gradients`] uses the closed form and skips the ops inside. The closed form is made of
//! ordinary nodes, so that it can be differentiated again.

use super::graph::{Composite, Graph, Value};
use super::op::{Binary, Op, Unary};
use crate::error::Result;
use crate::shape::Shape;

/// A value scaled to mean 0 and variance 1 along some axes, with the mean and variance that it had before.
#[derive(Clone, Copy, Debug)]
pub struct Standardised {
    /// `(x - mean) / sqrt(variance + epsilon)`, in the shape of x.
    pub output: Value,
    /// The mean of x, in the shape of x without the axes.
    pub mean: Value,
    /// The biased variance of x (divided by the number of elements), in the shape of x without the axes.
    pub variance: Value,
}

impl Graph {
    /// `x` as a constant to [`Graph::gradients`].
    pub fn detach(&mut self, x: Value) -> Value {
        let (shape, dtype) = (self.shape(x).clone(), self.node(x).dtype);
        let detached = self.push(Op::Reshape, vec![x], shape, dtype);
        self.composites.insert(detached, Composite::Detached);
        detached
    }

    /// `value` with the derivative of `x`, for a value computed from `x` by ops without a useful derivative: the
    /// straight-through estimator of Bengio et al., arXiv 1308.3432. Fails where the two shapes differ.
    pub fn straight_through(&mut self, value: Value, x: Value) -> Result<Value> {
        if self.shape(value) != self.shape(x) {
            let problem = format!("the value is {}, what its derivative goes to {}", self.shape(value), self.shape(x));
            return Err(self.error("straight_through", problem));
        }
        let through = self.detach(value);
        self.composites.insert(through, Composite::StraightThrough(x));
        Ok(through)
    }

    /// `exp(x) / sum(exp(x))` along `axes`, without overflow.
    pub fn softmax(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        let shape = self.shape(x).clone();
        let shifted = self.below_zero(x, axes)?;
        let power = self.unary(Unary::Exp, shifted)?;
        let sum = self.sum(power, axes)?;
        let sum = self.spread(sum, axes, &shape)?;
        let y = self.divide(power, sum)?;
        self.composites.insert(y, Composite::Softmax(x, axes.to_vec()));
        Ok(y)
    }

    /// [`Graph::softmax`] over the elements at which `visible` is 1. Elements at which `visible` is 0 get exactly 0,
    /// and no derivative, for any x. A sum without visible elements gives 0 everywhere. The closure makes a value of
    /// x's shape, twice.
    pub(crate) fn masked_softmax(
        &mut self,
        x: Value,
        visible: &dyn Fn(&mut Graph) -> Result<Value>,
        axes: &[usize],
    ) -> Result<Value> {
        const LARGEST: f64 = f32::MAX as f64;
        let shape = self.shape(x).clone();
        // The largest visible element: others are replaced by the lowest number. In 16 bits x may be infinite.
        let sign = visible(self)?;
        let sign = self.scale(sign, 2.0)?;
        let sign = self.with_number(Binary::Subtract, sign, 1.0)?;
        let limit = self.scale(sign, LARGEST)?;
        let seen = self.binary(Binary::Minimum, x, limit)?;
        let seen = self.with_number(Binary::Maximum, seen, -LARGEST)?;
        let largest = self.max(seen, axes)?;
        let largest = self.spread(largest, axes, &shape)?;
        // From x and not from its replacement, so that this difference is what is stored between launches, in 16 bits
        // too.
        let shifted = self.subtract(x, largest)?;
        let shifted = self.with_number(Binary::Minimum, shifted, 0.0)?;
        let power = self.unary(Unary::Exp, shifted)?;
        // Computing the mask again costs less than storing it.
        let visible = visible(self)?;
        let power = self.multiply(power, visible)?;
        let sum = self.sum(power, axes)?;
        // The largest visible element adds 1, so that only an empty sum is below 0.5.
        let sum = self.with_number(Binary::Maximum, sum, 0.5)?;
        let sum = self.spread(sum, axes, &shape)?;
        let y = self.divide(power, sum)?;
        self.composites.insert(y, Composite::Softmax(x, axes.to_vec()));
        Ok(y)
    }

    /// The logarithm of [`Graph::softmax`] along `axes`, without underflow.
    pub fn log_softmax(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        let shape = self.shape(x).clone();
        let shifted = self.below_zero(x, axes)?;
        let power = self.unary(Unary::Exp, shifted)?;
        let sum = self.sum(power, axes)?;
        let logarithm = self.unary(Unary::Ln, sum)?;
        let logarithm = self.spread(logarithm, axes, &shape)?;
        let y = self.subtract(shifted, logarithm)?;
        self.composites.insert(y, Composite::LogSoftmax(x, axes.to_vec()));
        Ok(y)
    }

    /// `x` scaled to mean 0 and variance 1 along `axes`, as in batch, layer and group normalisation; `epsilon` is added
    /// to the variance.
    pub fn standardise(&mut self, x: Value, axes: &[usize], epsilon: f64) -> Result<Standardised> {
        let (centred, mean) = self.centred(x, axes)?;
        let (scale, variance) = self.inverse_deviation(centred, axes, epsilon)?;
        let output = self.multiply(centred, scale)?;
        self.composites.insert(output, Composite::Standardised { x, axes: axes.to_vec(), epsilon, mean, variance });
        Ok(Standardised { output, mean, variance })
    }

    /// The derivatives that flow from the composite value `y` with gradient `g` to the values of which it was composed,
    /// as far as `needed` has them.
    pub(super) fn composite_rule(
        &mut self,
        composite: &Composite,
        y: Value,
        g: Value,
        needed: &[bool],
    ) -> Result<Vec<(Value, Value)>> {
        let shape = self.shape(y).clone();
        let (x, gradient) = match composite {
            Composite::Detached => return Ok(Vec::new()),
            Composite::StraightThrough(x) => (*x, g),
            Composite::Custom(derivative) => return self.custom_rule(derivative, y, g),
            Composite::Recurrence => return self.recurrence_rule(y, g, needed),
            // y (g - sum(g y))
            Composite::Softmax(x, axes) => {
                let product = self.multiply(g, y)?;
                let sum = self.sum(product, axes)?;
                let sum = self.spread(sum, axes, &shape)?;
                let rest = self.subtract(g, sum)?;
                (*x, self.multiply(y, rest)?)
            }
            // g - e^y sum(g)
            Composite::LogSoftmax(x, axes) => {
                let sum = self.sum(g, axes)?;
                let sum = self.spread(sum, axes, &shape)?;
                let power = self.unary(Unary::Exp, y)?;
                let part = self.multiply(power, sum)?;
                (*x, self.subtract(g, part)?)
            }
            // (g - mean(g) - y mean(g y)) / deviation
            Composite::Standardised { x, axes, epsilon, mean, variance } => {
                // Rows are read once and reduced in one launch, which is cheaper than storing mean and variance.
                let rows = axes.iter().copied().eq(shape.len() - axes.len()..shape.len());
                let (centred, scale) = if rows {
                    let (centred, _) = self.centred(*x, axes)?;
                    (centred, self.inverse_deviation(centred, axes, *epsilon)?.0)
                } else {
                    let mean = self.spread(*mean, axes, &shape)?;
                    (self.subtract(*x, mean)?, self.scale_of(*variance, axes, *epsilon, &shape)?)
                };
                let y = self.multiply(centred, scale)?;
                let mean = self.mean(g, axes)?;
                let mean = self.spread(mean, axes, &shape)?;
                let product = self.multiply(g, y)?;
                let along = self.mean(product, axes)?;
                let along = self.spread(along, axes, &shape)?;
                let along = self.multiply(y, along)?;
                let rest = self.subtract(g, mean)?;
                let rest = self.subtract(rest, along)?;
                (*x, self.multiply(rest, scale)?)
            }
        };
        Ok(vec![(x, gradient)])
    }

    /// x minus its maximum along `axes`, a shift that cancels in a softmax.
    fn below_zero(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        let shape = self.shape(x).clone();
        let largest = self.max(x, axes)?;
        let largest = self.spread(largest, axes, &shape)?;
        self.subtract(x, largest)
    }

    /// x minus its mean along `axes`, and the mean.
    fn centred(&mut self, x: Value, axes: &[usize]) -> Result<(Value, Value)> {
        let shape = self.shape(x).clone();
        let mean = self.mean(x, axes)?;
        let spread = self.spread(mean, axes, &shape)?;
        Ok((self.subtract(x, spread)?, mean))
    }

    /// 1 / sqrt(variance + epsilon) of values with mean 0, in the shape of the values, and the variance.
    fn inverse_deviation(&mut self, centred: Value, axes: &[usize], epsilon: f64) -> Result<(Value, Value)> {
        let shape = self.shape(centred).clone();
        let square = self.unary(Unary::Square, centred)?;
        let variance = self.mean(square, axes)?;
        Ok((self.scale_of(variance, axes, epsilon, &shape)?, variance))
    }

    fn scale_of(&mut self, variance: Value, axes: &[usize], epsilon: f64, shape: &Shape) -> Result<Value> {
        let sum = self.with_number(Binary::Add, variance, epsilon)?;
        let deviation = self.unary(Unary::SquareRoot, sum)?;
        let scale = self.unary(Unary::Reciprocal, deviation)?;
        self.spread(scale, axes, shape)
    }
}
