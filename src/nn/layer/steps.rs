//! Layers that treat the steps of a sequence `[steps, features]`: positions, repetition and masking.

use super::kind::*;
use crate::graph::{Binary, Unary};

/// Positional encoding, added to each step of `[steps, features]`: Vaswani et al., arXiv 1706.03762.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A trained vector for each step: the weight is `[steps, features]`, as in PyTorch's `nn.Embedding`.
    Learned,
    /// Waves: feature 2 i of step t is `sin(t / 10000^(2 i / features))`, feature 2 i + 1 the cosine of that angle.
    Sinusoidal,
}

/// Repeats a code at every step, `[features]` to `[steps, features]`, for a recurrent decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct RepeatVector {
    /// Number of steps.
    pub steps: usize,
}

/// Masks steps of `[steps, features]` in training: in every sample a fixed number of steps, drawn anew, is replaced by
/// a trained vector, `mask_token`; the identity outside training. It makes an autoencoder of patches a masked
/// autoencoder, He et al., arXiv 2111.06377, and belongs before the positions, so that masked steps have positions too.
///
/// Two differences from the paper: the paper's encoder skips masked patches, which saves work, while here it sees the
/// trained vector in their place, as in BEiT (Bao et al., arXiv 2106.08254), since a plan's shapes are static and
/// positions are kept; and the paper's loss covers the masked patches alone, while here it covers all patches.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskSteps {
    /// The fraction of the steps that is masked, rounded to whole steps.
    pub part: f64,
}

impl MaskSteps {
    /// Number of masked steps in a sequence of `steps`.
    fn masked(&self, steps: usize) -> usize {
        (self.part * steps as f64).round() as usize
    }
}

/// Initial values of trained vectors: near zero, as in BERT and the vision transformer.
const SMALL: Initial = Initial::Normal(0.02);

impl Kind for Positions {
    name!(Positions::Learned => "learned_positions", Positions::Sinusoidal => "sinusoidal_positions");

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        steps_and_features(input).map(|_| input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        match self {
            Positions::Learned => vec![ParameterSpec { name: "weight", shape: input.clone(), initial: SMALL }],
            Positions::Sinusoidal => Vec::new(),
        }
    }

    flops!(1);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let table = match self {
            Positions::Learned => placed.parameter(context, 0)?,
            Positions::Sinusoidal => waves(context, placed.input[0], placed.input[1])?,
        };
        context.add(x, table)
    }
}

/// The table `[steps, features]` of [`Positions::Sinusoidal`].
fn waves(graph: &mut Graph, steps: usize, features: usize) -> Result<Value> {
    let pairs = features.div_ceil(2);
    let (step, pair) = (graph.iota(steps)?, graph.iota(pairs)?);
    let step = graph.reshape(step, [steps, 1])?;
    let exponent = graph.scale(pair, -(1e4f64.ln()) * 2.0 / features as f64)?;
    let rate = graph.unary(Unary::Exp, exponent)?;
    let angle = graph.multiply(step, rate)?;
    let mut waves = [angle; 2];
    for (wave, op) in waves.iter_mut().zip([Unary::Sine, Unary::Cosine]) {
        let values = graph.unary(op, angle)?;
        *wave = graph.reshape(values, [steps, pairs, 1])?;
    }
    let both = graph.concat(&waves, 2)?;
    let both = graph.reshape(both, [steps, 2 * pairs])?;
    graph.slice(both, &[0, 0], [steps, features])
}

impl Kind for RepeatVector {
    name!("repeat_vector");
    keys!(needed steps: Whole);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        positive("steps", &[self.steps])?;
        match input[..] {
            [features] => Ok([self.steps, features].into()),
            _ => Err(misfit!("expects [features], got {input}"; "put \"flatten\" before it")),
        }
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let (n, features) = (context.shape(x)[0], placed.output[1]);
        let x = context.reshape(x, [n, 1, features])?;
        context.broadcast(x, [n, self.steps, features])
    }
}

impl Kind for MaskSteps {
    name!("mask_steps");
    keys!(needed part: Number);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [steps, _] = steps_and_features(input)?;
        if !(0.0..1.0).contains(&self.part) || self.masked(steps) == steps {
            let problem = format!("part must be at least 0 and leave one of {steps} steps, got {:?}", self.part);
            return Err(misfit!("{problem}"; "use 0.75, say"));
        }
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        vec![ParameterSpec { name: "mask_token", shape: [input[1]].into(), initial: SMALL }]
    }

    flops!(1);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let [n, steps] = [context.shape(x)[0], placed.input[0]];
        let masked = self.masked(steps);
        let Some(state) = context.training().filter(|_| masked > 0) else { return Ok(x) };
        let token = placed.parameter(context, 0)?;
        // A step's rank is the number of steps with smaller draws; of equal draws the earlier one counts as smaller.
        let draws = context.random_uniform(state, [n, steps])?;
        let (draw, other) = (context.reshape(draws, [n, steps, 1])?, context.reshape(draws, [n, 1, steps])?);
        let less = context.binary(Binary::Less, other, draw)?;
        let equal = context.binary(Binary::Equal, other, draw)?;
        let (row, column) = (context.iota(steps)?, context.iota(steps)?);
        let row = context.reshape(row, [steps, 1])?;
        let [row, column] = [context.broadcast(row, [n, steps, steps])?, context.broadcast(column, [n, steps, steps])?];
        let earlier = context.binary(Binary::Less, column, row)?;
        let tied = context.multiply(equal, earlier)?;
        let before = context.add(less, tied)?;
        let rank = context.sum(before, &[2])?;
        let mask = context.with_number(Binary::Less, rank, masked as f64)?;
        let mask = context.reshape(mask, [n, steps, 1])?;
        let change = context.subtract(token, x)?;
        let change = context.multiply(mask, change)?;
        context.add(x, change)
    }
}
