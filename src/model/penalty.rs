//! Penalties on weights and activities: what training adds to the loss.

use super::network::Network;
use super::spec::LayerTraining;
use crate::error::{Error, Result};
use crate::graph::{Graph, Unary, Value};

impl Network {
    /// The training loss with the penalties of `[train] layers`, on a graph that holds [`Network::encode`] and
    /// [`Network::decode`] of a batch of so many samples.
    pub fn with_penalties(&self, graph: &mut Graph, loss: Value, batch: usize) -> Result<Value> {
        let scope = graph.set_scope("penalty");
        let total = self.add_penalties(graph, loss, batch);
        graph.set_scope(scope);
        total
    }

    fn add_penalties(&self, graph: &mut Graph, loss: Value, batch: usize) -> Result<Value> {
        let mut total = loss;
        // Of several entries the last one that says it speaks.
        let last = |name: &str, factor: fn(&LayerTraining) -> f64| {
            let mut entries = self.spec().train.layers.iter().filter(|layer| layer.covers(name));
            entries.rfind(|layer| factor(layer) > 0.0).map_or(0.0, factor)
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
        for layer in &self.spec().train.layers {
            for (factor, op) in [(layer.activity_l1, Unary::Absolute), (layer.activity_l2, Unary::Square)] {
                if factor > 0.0 {
                    let output = output_of(graph, &layer.name).ok_or_else(|| {
                        let problem = format!("{:?} has no activities of its own", layer.name);
                        Error::invalid("train.layers", problem, "name the layer that computes them")
                    })?;
                    let part = sum_of(graph, output, op, factor / batch as f64)?;
                    total = graph.add(total, part)?;
                }
            }
        }
        Ok(total)
    }
}

/// What a layer or a list leaves: the last value that was built in its scope.
pub(crate) fn output_of(graph: &Graph, name: &str) -> Option<Value> {
    let within = |scope: &str| scope.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    graph.nodes().iter().rposition(|node| within(&node.name)).map(Value)
}

fn sum_of(graph: &mut Graph, x: Value, op: Unary, factor: f64) -> Result<Value> {
    let each = graph.unary(op, x)?;
    let scaled = graph.scale(each, factor)?;
    let axes: Vec<usize> = (0..graph.shape(scaled).len()).collect();
    graph.sum(scaled, &axes)
}
