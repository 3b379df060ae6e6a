//! Changes that are drawn anew for every sample of every step, on the device, as part of the training graph.

use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::model::Network;
use crate::model::spec::{Augment, Flip};

/// A batch as it is trained on, and what the model is to make of it: both shifted, mirrored and turned alike, and only the
/// first with noise.
pub(super) fn augment(graph: &mut Graph, network: &Network, x: Value, state: Value) -> Result<[Value; 2]> {
    let augment = &network.spec().data.augment;
    let batch = graph.shape(x)[0];
    let mut target = x;
    if augment.moves() {
        let pictures = graph.reshape(x, network.input_shape(batch))?;
        let maps = maps(graph, augment, batch, state)?;
        target = graph.warp(pictures, maps)?;
    }
    let mut input = target;
    if augment.noise > 0.0 {
        let shape = graph.shape(target).clone();
        let noise = graph.random_normal(state, shape)?;
        let noise = graph.scale(noise, augment.noise)?;
        input = graph.add(target, noise)?;
    }
    Ok([input, target])
}

/// Where each picture's pixels come from, as [`Graph::warp`] takes it: turned, mirrored before that, and shifted.
fn maps(graph: &mut Graph, augment: &Augment, batch: usize, state: Value) -> Result<Value> {
    let shape = [batch, 1];
    let one = graph.constant(1.0, shape)?;
    let zero = graph.constant(0.0, shape)?;
    let [mut cosine, mut sine] = [one, zero];
    if augment.rotate > 0.0 {
        let angle = spread(graph, state, batch, augment.rotate.to_radians())?;
        cosine = graph.unary(Unary::Cosine, angle)?;
        sine = graph.unary(Unary::Sine, angle)?;
    }
    let sign = |graph: &mut Graph, flips: bool| -> Result<Value> {
        if !flips {
            return Ok(one);
        }
        let mirrored = graph.random_bernoulli(state, 0.5, shape)?;
        let twice = graph.scale(mirrored, 2.0)?;
        graph.subtract(one, twice)
    };
    let down = sign(graph, matches!(augment.flip, Flip::Vertical | Flip::Both))?;
    let across = sign(graph, matches!(augment.flip, Flip::Horizontal | Flip::Both))?;
    let rows = [graph.multiply(cosine, down)?, graph.multiply(sine, across)?];
    let columns = [graph.multiply(sine, down)?, graph.multiply(cosine, across)?];
    let against = graph.unary(Unary::Negate, rows[1])?;
    let shifts = [pixels(graph, state, batch, augment.shift)?, pixels(graph, state, batch, augment.shift)?];
    graph.concat(&[rows[0], against, shifts[0], columns[0], columns[1], shifts[1]], 1)
}

/// A number between `-most` and `most` for each sample.
fn spread(graph: &mut Graph, state: Value, batch: usize, most: f64) -> Result<Value> {
    let uniform = graph.random_uniform(state, [batch, 1])?;
    let scaled = graph.scale(uniform, 2.0 * most)?;
    graph.with_number(Binary::Subtract, scaled, most)
}

/// A whole number from `-most` to `most` for each sample: whole, so that shifted pictures stay as sharp as they were.
fn pixels(graph: &mut Graph, state: Value, batch: usize, most: usize) -> Result<Value> {
    let mut sum = graph.constant(0.0 - most as f64, [batch, 1])?;
    if most == 0 {
        return Ok(sum);
    }
    let uniform = graph.random_uniform(state, [batch, 1])?;
    let choices = 2 * most + 1;
    for choice in 1..choices {
        // One more for each bound that the draw has reached.
        let bound = graph.constant(choice as f64 / choices as f64, [batch, 1])?;
        let below = graph.binary(Binary::Less, uniform, bound)?;
        let reached = graph.with_number(Binary::Subtract, below, 1.0)?;
        sum = graph.subtract(sum, reached)?;
    }
    Ok(sum)
}
