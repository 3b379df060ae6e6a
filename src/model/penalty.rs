//! Penalties on weights, activities and codes: what training adds to the loss.

use super::config::{Contractive, LayerTraining, MOST_EXACT, Sparsity};
use super::masking::masked_steps;
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::{Binary, Unary, Value};
use crate::nn::Context;

impl Network {
    /// Adds the penalties of `[train] layers` to the training loss, on a graph that holds [`Network::encode`] and
    /// [`Network::decode`] of `batch` samples.
    pub fn with_penalties(&self, graph: &mut Context, loss: Value, batch: usize) -> Result<Value> {
        let scope = graph.set_scope("penalty");
        let total = self.add_penalties(graph, loss, batch);
        graph.set_scope(scope);
        total
    }

    fn add_penalties(&self, graph: &mut Context, loss: Value, batch: usize) -> Result<Value> {
        let mut total = loss;
        // The last entry that sets a key wins.
        let last = |name: &str, factor: fn(&LayerTraining) -> Option<f64>| {
            let entries = self.spec().train.layers.iter().filter(|layer| layer.covers(name));
            entries.rev().find_map(factor).unwrap_or(0.0)
        };
        for parameter in self.trained() {
            let (name, shape) = (&parameter.name, &parameter.shape);
            let factors = [last(name, |layer| layer.l1), last(name, |layer| layer.l2)];
            for (factor, op) in factors.into_iter().zip([Unary::Absolute, Unary::Square]) {
                // Biases and scales have one axis.
                if factor > 0.0 && shape.len() > 1 {
                    let weight = graph.parameter(name, shape.clone())?;
                    let part = sum_of(graph, weight, op, factor)?;
                    total = graph.add(total, part)?;
                }
            }
        }
        // A list and its last layer may share an output.
        let mut activities: Vec<(Value, Unary, f64)> = Vec::new();
        for layer in &self.spec().train.layers {
            for (factor, op) in [(layer.activity_l1, Unary::Absolute), (layer.activity_l2, Unary::Square)] {
                let Some(factor) = factor else { continue };
                let output = graph.output_of(&layer.name).ok_or_else(|| {
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
            let output = masked_steps(graph, output)?;
            let part = sum_of(graph, output, op, factor / batch as f64)?;
            total = graph.add(total, part)?;
        }
        Ok(total)
    }
}

impl Network {
    /// Adds the penalties on the `code` of samples `x`, both as the encoder has them; random directions are drawn with
    /// the step state `state`.
    pub fn with_code_penalties(
        &self,
        graph: &mut Context,
        loss: Value,
        [x, code]: [Value; 2],
        state: Value,
    ) -> Result<Value> {
        let scope = graph.set_scope("penalty");
        let mut total = loss;
        let penalties = self.spec().penalties;
        if let Some(Contractive { weight, projections }) = penalties.contractive {
            let norm = match projections {
                0 => jacobian_norm(graph, x, code)?,
                _ => projected_norm(graph, x, code, state, projections)?,
            };
            let part = graph.scale(norm, weight)?;
            total = graph.add(total, part)?;
        }
        if let Some(Sparsity { weight, target }) = penalties.sparsity {
            let divergence = activation_divergence(graph, code, target)?;
            let part = graph.scale(divergence, weight)?;
            total = graph.add(total, part)?;
        }
        graph.set_scope(scope);
        Ok(total)
    }

    /// Mean over samples `x` of the squared Frobenius norm of the encoder's Jacobian, a scalar. Fails where codes are
    /// so long that a plan would hold too many backward passes.
    pub fn jacobian_norm(&self, graph: &mut Context, x: Value) -> Result<Value> {
        let size = self.checked().latent.elements();
        if self.spec().latent.is_discrete() {
            let problem = format!("codes of a {} latent have no derivatives", self.spec().latent);
            return Err(Error::invalid("latent", problem, "use a model whose codes are no bits and of no codebook"));
        }
        if size > MOST_EXACT {
            let problem = format!("a code has {size} numbers, each of which takes a backward pass");
            return Err(Error::invalid("latent", problem, format!("use a model with at most {MOST_EXACT}")));
        }
        let code = self.encode(graph, x)?;
        jacobian_norm(graph, x, code)
    }
}

/// Mean over samples of the sum of all squared derivatives of the code by the sample.
fn jacobian_norm(graph: &mut Context, x: Value, code: Value) -> Result<Value> {
    let batch = graph.shape(code)[0];
    let size = graph.shape(code).elements() / batch;
    let code = graph.reshape(code, [batch, size])?;
    let mut total = graph.constant(0.0, [])?;
    for number in 0..size {
        let column = graph.slice(code, &[0, number], [batch, 1])?;
        // Samples are independent, so the sum's derivative holds each sample's derivatives side by side.
        let sum = graph.sum(column, &[0, 1])?;
        let part = squared_gradient(graph, sum, x)?;
        total = graph.add(total, part)?;
    }
    graph.scale(total, 1.0 / batch as f64)
}

/// Hutchinson's estimate (1990) of [`jacobian_norm`], from derivatives along random directions of the code.
fn projected_norm(graph: &mut Context, x: Value, code: Value, state: Value, projections: usize) -> Result<Value> {
    let shape = graph.shape(code).clone();
    let axes: Vec<usize> = (0..shape.len()).collect();
    let mut total = graph.constant(0.0, [])?;
    for _ in 0..projections {
        let direction = graph.random_normal(state, shape.clone())?;
        let along = graph.multiply(code, direction)?;
        let sum = graph.sum(along, &axes)?;
        let part = squared_gradient(graph, sum, x)?;
        total = graph.add(total, part)?;
    }
    graph.scale(total, 1.0 / (shape[0] * projections) as f64)
}

/// Sum of the squares of a scalar's derivatives by `x`.
fn squared_gradient(graph: &mut Context, scalar: Value, x: Value) -> Result<Value> {
    let gradient = graph.gradients(scalar, &[x])?[0];
    let square = graph.unary(Unary::Square, gradient)?;
    let axes: Vec<usize> = (0..graph.shape(square).len()).collect();
    graph.sum(square, &axes)
}

/// Kullback-Leibler divergence of a Bernoulli variable with mean `target` from one with an element's mean activation
/// over a batch, summed over the code's elements.
fn activation_divergence(graph: &mut Context, code: Value, target: f64) -> Result<Value> {
    let mean = graph.mean(code, &[0])?;
    // Keeps both logarithms finite.
    let mean = graph.with_number(Binary::Maximum, mean, 1e-6)?;
    let mean = graph.with_number(Binary::Minimum, mean, 1.0 - 1e-6)?;
    let active = graph.unary(Unary::Ln, mean)?;
    let active = graph.scale(active, -target)?;
    let rest = graph.one_minus(mean)?;
    let rest = graph.unary(Unary::Ln, rest)?;
    let rest = graph.scale(rest, target - 1.0)?;
    let each = graph.add(active, rest)?;
    let constant = target * target.ln() + (1.0 - target) * (1.0 - target).ln();
    let each = graph.with_number(Binary::Add, each, constant)?;
    let axes: Vec<usize> = (0..graph.shape(each).len()).collect();
    graph.sum(each, &axes)
}

fn sum_of(graph: &mut Context, x: Value, op: Unary, factor: f64) -> Result<Value> {
    let each = graph.unary(op, x)?;
    let scaled = graph.scale(each, factor)?;
    let axes: Vec<usize> = (0..graph.shape(scaled).len()).collect();
    graph.sum(scaled, &axes)
}
