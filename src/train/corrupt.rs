//! Augmentation and corruption of samples, drawn anew for every sample and step in the training graph.

use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::model::config::{Augment, Binarise, Corruption, Flip, Level};
use crate::model::{Network, Sample, masked};
use crate::nn::Context;
use crate::shape::Shape;

/// Prepares a batch for training: shifts, mirrors and rotates it, then applies [`corrupt`].
pub(super) fn augment(graph: &mut Context, network: &Network, sample: Sample, state: Value) -> Result<Sample> {
    let augment = &network.spec().data.augment;
    if !augment.moves() {
        return corrupt(graph, network, sample, state);
    }
    let batch = graph.shape(sample.input)[0];
    let maps = maps(graph, augment, batch, state)?;
    let moved = sample.map(|x| {
        let pictures = graph.reshape(x, network.input_shape(batch))?;
        graph.warp(pictures, maps)
    })?;
    corrupt(graph, network, moved, state)
}

/// Prepares a batch for validation: binarises it if the model says so, and corrupts it for the encoder.
pub(super) fn corrupt(graph: &mut Context, network: &Network, sample: Sample, state: Value) -> Result<Sample> {
    let shape = graph.shape(sample.input).clone();
    let clean = match network.spec().data.binarise {
        Binarise::None => sample,
        Binarise::Threshold => sample.map(|x| {
            let above = graph.with_number(Binary::Subtract, x, 0.5)?;
            // 1 where the value is at least 0.5.
            let below = graph.unary(Unary::Negate, above)?;
            let below = graph.unary(Unary::Step, below)?;
            graph.one_minus(below)
        })?,
        Binarise::Stochastic => {
            let uniform = graph.random_uniform(state, shape.clone())?;
            sample.map(|x| graph.binary(Binary::Less, uniform, x))?
        }
    };
    let (x, target) = (clean.input, clean.target);
    let corruption = network.spec().corruption;
    let Some(Level { least, most }) = corruption.level() else { return Ok(clean) };
    let level = match least == most {
        true => graph.constant(least, [])?,
        false => {
            let each: Vec<usize> = std::iter::once(shape[0]).chain(shape[1..].iter().map(|_| 1)).collect();
            let uniform = graph.random_uniform(state, each)?;
            let scaled = graph.scale(uniform, most - least)?;
            graph.with_number(Binary::Add, scaled, least)?
        }
    };
    let input = match corruption {
        Corruption::None => x,
        Corruption::Gaussian { clip, .. } => {
            let noise = graph.random_normal(state, shape)?;
            let noise = graph.multiply(noise, level)?;
            let sum = graph.add(x, noise)?;
            match clip {
                true => {
                    let cut = graph.with_number(Binary::Minimum, sum, 1.0)?;
                    graph.unary(Unary::Relu, cut)?
                }
                false => sum,
            }
        }
        Corruption::Masking { .. } => {
            let hidden = less(graph, state, &shape, level)?;
            let kept = graph.one_minus(hidden)?;
            graph.multiply(x, kept)?
        }
        Corruption::SaltAndPepper { .. } => {
            let hit = less(graph, state, &shape, level)?;
            let salt = graph.random_bernoulli(state, 0.5, shape.clone())?;
            let salt = graph.multiply(salt, hit)?;
            let kept = graph.one_minus(hit)?;
            let kept = graph.multiply(x, kept)?;
            graph.add(kept, salt)?
        }
    };
    // Keep masked steps zero: noise must not fill them.
    let input = masked(graph, input)?;
    Ok(Sample { input, target })
}

/// 1 where a uniform draw is below the level, else 0.
fn less(graph: &mut Graph, state: Value, shape: &Shape, level: Value) -> Result<Value> {
    let uniform = graph.random_uniform(state, shape.clone())?;
    graph.binary(Binary::Less, uniform, level)
}

/// The transform that [`Graph::warp`] samples each picture's pixels by: mirrors, then rotates, then shifts.
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

/// A uniform number between `-most` and `most` for each sample.
fn spread(graph: &mut Graph, state: Value, batch: usize, most: f64) -> Result<Value> {
    let uniform = graph.random_uniform(state, [batch, 1])?;
    let scaled = graph.scale(uniform, 2.0 * most)?;
    graph.with_number(Binary::Subtract, scaled, most)
}

/// A uniform integer from `-most` to `most` for each sample: an integer, so that shifted pictures stay sharp.
fn pixels(graph: &mut Graph, state: Value, batch: usize, most: usize) -> Result<Value> {
    let mut sum = graph.constant(0.0 - most as f64, [batch, 1])?;
    if most == 0 {
        return Ok(sum);
    }
    let uniform = graph.random_uniform(state, [batch, 1])?;
    let choices = 2 * most + 1;
    for choice in 1..choices {
        // Add 1 for each bound that the draw has reached.
        let bound = graph.constant(choice as f64 / choices as f64, [batch, 1])?;
        let below = graph.binary(Binary::Less, uniform, bound)?;
        let reached = graph.with_number(Binary::Subtract, below, 1.0)?;
        sum = graph.subtract(sum, reached)?;
    }
    Ok(sum)
}
