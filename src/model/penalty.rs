//! Penalties on weights, activities and codes: what training adds to the loss.

use super::config::{Contractive, MOST_EXACT, Sparsity};
use super::latent::Objective;
use super::masking::masked_steps;
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::{Binary, Unary, Value};
use crate::nn::Context;

impl Network {
    /// Adds all penalties to the training loss of samples `x`, on the graph that built this objective of them. Random
    /// directions are drawn with the step state `state`.
    pub fn add_penalties(&self, context: &mut Context, objective: &Objective, x: Value, state: Value) -> Result<Value> {
        let scope = context.set_scope("penalty");
        let loss = self.penalize_code(context, objective, x, state)?;
        let batch = context.shape(x)[0];
        let total = self.penalize_layers(context, loss, batch);
        context.set_scope(scope);
        total
    }

    /// Adds the penalties of `[train] layers`.
    fn penalize_layers(&self, context: &mut Context, loss: Value, batch: usize) -> Result<Value> {
        let mut total = loss;
        let train = &self.spec().train;
        for parameter in self.trained() {
            let (name, shape) = (&parameter.name, &parameter.shape);
            let [l1, l2] = [train.of_layer(name, |layer| layer.l1), train.of_layer(name, |layer| layer.l2)];
            for (factor, op) in [(l1, Unary::Absolute), (l2, Unary::Square)] {
                // Biases and scales have one axis.
                if let Some(factor) = factor.filter(|factor| *factor > 0.0 && shape.len() > 1) {
                    let weight = context.parameter(name, shape.clone())?;
                    let part = sum_of(context, weight, op, factor)?;
                    total = context.add(total, part)?;
                }
            }
        }
        // A list and its last layer may share an output.
        let mut activities: Vec<(Value, Unary, f64)> = Vec::new();
        for layer in &train.layers {
            for (factor, op) in [(layer.activity_l1, Unary::Absolute), (layer.activity_l2, Unary::Square)] {
                let Some(factor) = factor else { continue };
                let output = context.output_of(&layer.name).ok_or_else(|| {
                    let problem = format!("{:?} has no activities of its own", layer.name);
                    Error::invalid("train.layers", problem, "name the layer that computes them")
                })?;
                match activities.iter_mut().find(|(known, by, _)| (*known, *by) == (output, op)) {
                    Some((.., earlier)) => *earlier = factor,
                    None => activities.push((output, op, factor)),
                }
            }
        }
        for (output, op, factor) in activities.into_iter().filter(|(.., factor)| *factor > 0.0) {
            let output = masked_steps(context, output)?;
            let part = sum_of(context, output, op, factor / batch as f64)?;
            total = context.add(total, part)?;
        }
        Ok(total)
    }

    /// Adds the file's `penalties`, which are on codes.
    fn penalize_code(&self, context: &mut Context, objective: &Objective, x: Value, state: Value) -> Result<Value> {
        let (mut total, code) = (objective.loss, objective.code);
        let penalties = self.spec().penalties;
        if let Some(Contractive { weight, projections }) = penalties.contractive {
            let norm = match projections {
                0 => jacobian_norm(context, x, code)?,
                _ => projected_norm(context, x, code, state, projections)?,
            };
            let part = context.scale(norm, weight)?;
            total = context.add(total, part)?;
        }
        if let Some(Sparsity { weight, target }) = penalties.sparsity {
            let divergence = activation_divergence(context, code, target)?;
            let part = context.scale(divergence, weight)?;
            total = context.add(total, part)?;
        }
        Ok(total)
    }

    /// Mean over samples `x` of the squared Frobenius norm of the encoder's Jacobian, a scalar. Fails where codes are
    /// so long that a plan would hold too many backward passes.
    pub fn jacobian_norm(&self, context: &mut Context, x: Value) -> Result<Value> {
        let size = self.checked().latent.elements();
        if self.spec().latent.is_discrete() {
            let problem = format!("codes of a {} latent have no derivatives", self.spec().latent);
            return Err(Error::invalid("latent", problem, "use a model whose codes are no bits and of no codebook"));
        }
        if size > MOST_EXACT {
            let problem = format!("a code has {size} numbers, each of which takes a backward pass");
            return Err(Error::invalid("latent", problem, format!("use a model with at most {MOST_EXACT}")));
        }
        let code = self.encode(context, x)?;
        jacobian_norm(context, x, code)
    }
}

/// Mean over samples of the sum of all squared derivatives of the code by the sample.
fn jacobian_norm(context: &mut Context, x: Value, code: Value) -> Result<Value> {
    let batch = context.shape(code)[0];
    let size = context.shape(code).elements() / batch;
    let code = context.reshape(code, [batch, size])?;
    let mut total = context.constant(0.0, [])?;
    for number in 0..size {
        let column = context.slice(code, &[0, number], [batch, 1])?;
        // Samples are independent, so the sum's derivative holds each sample's derivatives side by side.
        let sum = sum_all(context, column)?;
        let part = squared_gradient(context, sum, x)?;
        total = context.add(total, part)?;
    }
    context.scale(total, 1.0 / batch as f64)
}

/// Hutchinson's estimate (1990) of [`jacobian_norm`], from derivatives along random directions of the code.
fn projected_norm(context: &mut Context, x: Value, code: Value, state: Value, projections: usize) -> Result<Value> {
    let shape = context.shape(code).clone();
    let mut total = context.constant(0.0, [])?;
    for _ in 0..projections {
        let direction = context.random_normal(state, shape.clone())?;
        let along = context.multiply(code, direction)?;
        let sum = sum_all(context, along)?;
        let part = squared_gradient(context, sum, x)?;
        total = context.add(total, part)?;
    }
    context.scale(total, 1.0 / (shape[0] * projections) as f64)
}

/// Sum of the squares of a scalar's derivatives by `x`.
fn squared_gradient(context: &mut Context, scalar: Value, x: Value) -> Result<Value> {
    let gradient = context.gradients(scalar, &[x])?[0];
    let square = context.unary(Unary::Square, gradient)?;
    sum_all(context, square)
}

/// Kullback-Leibler divergence of a Bernoulli variable with mean `target` from one with an element's mean activation
/// over a batch, summed over the code's elements.
fn activation_divergence(context: &mut Context, code: Value, target: f64) -> Result<Value> {
    let mean = context.mean(code, &[0])?;
    // Keeps both logarithms finite.
    let mean = context.with_number(Binary::Maximum, mean, 1e-6)?;
    let mean = context.with_number(Binary::Minimum, mean, 1.0 - 1e-6)?;
    let active = context.unary(Unary::Ln, mean)?;
    let active = context.scale(active, -target)?;
    let rest = context.one_minus(mean)?;
    let rest = context.unary(Unary::Ln, rest)?;
    let rest = context.scale(rest, target - 1.0)?;
    let each = context.add(active, rest)?;
    let constant = target * target.ln() + (1.0 - target) * (1.0 - target).ln();
    let each = context.with_number(Binary::Add, each, constant)?;
    sum_all(context, each)
}

fn sum_of(context: &mut Context, x: Value, op: Unary, factor: f64) -> Result<Value> {
    let each = context.unary(op, x)?;
    let scaled = context.scale(each, factor)?;
    sum_all(context, scaled)
}

fn sum_all(context: &mut Context, x: Value) -> Result<Value> {
    let axes: Vec<usize> = (0..context.shape(x).len()).collect();
    context.sum(x, &axes)
}
