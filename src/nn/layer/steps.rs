//! Layers that know the steps of a sequence `[steps, features]`: positions, repetition, and steps that are hidden.

use super::kind::{Initial, Key, Kind, Misfit, ParameterSpec, Setting, misfit, positive, product, steps_and_features};
use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// Adds to each step of `[steps, features]` what tells it from the others: Vaswani et al., arXiv 1706.03762.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A trained vector for each step: the weight is `[steps, features]`, as that of PyTorch's `nn.Embedding`.
    Learned,
    /// Waves: feature 2 i of step t is `sin(t / 10000^(2 i / features))`, and feature 2 i + 1 the cosine.
    Sinusoidal,
}

/// A code for every step: `[features]` to `[steps, features]`, every step the same, for a recurrent decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct RepeatVector {
    /// How many steps.
    pub steps: usize,
}

/// In training, a part of the steps of `[steps, features]`, in every sample drawn anew and exactly as many, is replaced by
/// a trained vector, `mask_token`; otherwise nothing happens. With it an autoencoder of patches is trained as a masked one:
/// He et al., arXiv 2111.06377. It stands before the positions, so that hidden steps have theirs.
///
/// It differs from the paper in two ways. There the encoder does not see hidden patches at all, which saves it the work;
/// here it sees the vector in their place, as in BEiT (Bao et al., arXiv 2106.08254), since a plan's shapes are static and
/// positions are kept. And there only hidden patches enter the loss; here all do.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskSteps {
    /// The part that is hidden, rounded to whole steps.
    pub part: f64,
}

impl MaskSteps {
    /// The number of steps that are hidden in a sequence of `steps`.
    fn hidden(&self, steps: usize) -> usize {
        (self.part * steps as f64).round() as usize
    }
}

/// Trained vectors begin near zero, as in BERT and the vision transformer.
const SMALL: Initial = Initial::Normal(0.02);

impl Kind for Positions {
    fn name(&self) -> &'static str {
        match self {
            Positions::Learned => "learned_positions",
            Positions::Sinusoidal => "sinusoidal_positions",
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        steps_and_features(input).map(|_| input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        match self {
            Positions::Learned => vec![ParameterSpec { name: "weight", shape: input.clone(), initial: SMALL }],
            Positions::Sinusoidal => Vec::new(),
        }
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input)
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let table = match self {
            Positions::Learned => placed.parameter(cx, 0)?,
            Positions::Sinusoidal => waves(cx, placed.input[0], placed.input[1])?,
        };
        cx.add(x, table)
    }
}

/// `[steps, features]` of sines and cosines.
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
    fn name(&self) -> &'static str {
        "repeat_vector"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("steps", Setting::Whole(&mut self.steps))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        positive("steps", &[self.steps])?;
        match input[..] {
            [features] => Ok([self.steps, features].into()),
            _ => Err(misfit!("expects [features], got {input}"; "put \"flatten\" before it")),
        }
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let (n, features) = (cx.shape(x)[0], placed.output[1]);
        let x = cx.reshape(x, [n, 1, features])?;
        cx.broadcast(x, [n, self.steps, features])
    }
}

impl Kind for MaskSteps {
    fn name(&self) -> &'static str {
        "mask_steps"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("part", Setting::Number(&mut self.part))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [steps, _] = steps_and_features(input)?;
        if !(0.0..1.0).contains(&self.part) || self.hidden(steps) == steps {
            let problem = format!("part must be at least 0 and leave one of {steps} steps, got {:?}", self.part);
            return Err(misfit!("{problem}"; "use 0.75, say"));
        }
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        vec![ParameterSpec { name: "mask_token", shape: [input[1]].into(), initial: SMALL }]
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input)
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let [n, steps] = [cx.shape(x)[0], placed.input[0]];
        let hidden = self.hidden(steps);
        let Some(state) = cx.training().filter(|_| hidden > 0) else { return Ok(x) };
        let token = placed.parameter(cx, 0)?;
        // A step's rank is how many others drew less; of equal draws the earlier one counts as less.
        let draws = cx.random_uniform(state, [n, steps])?;
        let (own, other) = (cx.reshape(draws, [n, steps, 1])?, cx.reshape(draws, [n, 1, steps])?);
        let less = cx.binary(Binary::Less, other, own)?;
        let equal = cx.binary(Binary::Equal, other, own)?;
        let (row, column) = (cx.iota(steps)?, cx.iota(steps)?);
        let row = cx.reshape(row, [steps, 1])?;
        let [row, column] = [cx.broadcast(row, [n, steps, steps])?, cx.broadcast(column, [n, steps, steps])?];
        let earlier = cx.binary(Binary::Less, column, row)?;
        let tied = cx.multiply(equal, earlier)?;
        let before = cx.add(less, tied)?;
        let rank = cx.sum(before, &[2])?;
        let mask = cx.with_number(Binary::Less, rank, hidden as f64)?;
        let mask = cx.reshape(mask, [n, steps, 1])?;
        let change = cx.subtract(token, x)?;
        let change = cx.multiply(mask, change)?;
        cx.add(x, change)
    }
}
