//! The latent of top-k sparse autoencoders: each code keeps its largest elements.

use super::rules::{Encoded, Facts, Latent, Model, Objective, STEPS, state};
use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::{Context, Initial, Layer, Parameter, Placed, loss};
use crate::schema::{Key, keys};
use crate::shape::Shape;

/// State: for each element of a code, the number of samples since it was last among the largest.
const IDLE: &str = "latent.idle";
/// State: the threshold above which elements are kept, where training selects over the whole batch.
const THRESHOLD: &str = "latent.threshold";
/// Largest count: beyond it a 32-bit float does not hold every whole number.
const MOST_COUNTED: usize = 1 << 24;

/// Offset that moves elements to the end of a selection: larger than any element of a code.
const LOWEST: f64 = 1e30;

/// Time constant, in steps, of the moving average of the threshold.
const THRESHOLD_STEPS: f64 = 100.0;

/// The latent of a top-k sparse autoencoder: each code keeps its largest elements, the others become 0. Gao et al.,
/// arXiv 2406.04093.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopK {
    /// Number of elements that a code keeps.
    pub k: usize,
    /// Whether training selects over the whole batch, k times as many elements as samples, while validation and
    /// inference keep elements above the average threshold of training: Bussmann et al., arXiv 2412.06410.
    pub batch: bool,
    /// Weight of the auxiliary loss: the mean squared error of reconstructing the residual from dead elements alone.
    pub auxiliary: f64,
    /// Largest number of dead elements that the auxiliary loss takes from each sample, the largest ones.
    pub auxiliary_k: usize,
    /// Number of samples without being kept after which an element is dead.
    pub dead_after: usize,
    /// Whether each element's column in the decoder's first layer is kept at length 1. The gradient then loses its
    /// component along the column.
    pub unit_norm: bool,
}

impl Default for TopK {
    fn default() -> TopK {
        TopK { k: 32, batch: false, auxiliary: 1.0 / 32.0, auxiliary_k: 512, dead_after: 10_000, unit_norm: true }
    }
}

impl Latent for TopK {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            k: Count.replaces_table(),
            batch: Flag,
            auxiliary: NotNegative,
            auxiliary_k: Count,
            dead_after: Count,
            unit_norm: Flag,
        ]
    }

    fn facts(&self) -> Facts {
        Facts { counts_all_steps: true, follows_weights: &[THRESHOLD], ..Facts::default() }
    }

    fn resize(&mut self, size: usize) -> bool {
        self.k = self.k.min(size);
        false
    }

    fn place(&self, code: &Shape) -> Result<(Vec<Placed>, Shape)> {
        if self.k > code.elements() {
            let problem = format!("a code has only {} numbers, of which {} cannot stay", code.elements(), self.k);
            return Err(Error::invalid("latent.top_k.k", problem, "use a smaller k or a wider code"));
        }
        if self.dead_after > MOST_COUNTED {
            let problem = format!("samples are counted up to {MOST_COUNTED}, not to {}", self.dead_after);
            return Err(Error::invalid("latent.top_k.dead_after", problem, "use 10000000, say"));
        }
        Ok((vec![], code.clone()))
    }

    fn parameters(&self, _encoder: &[Placed], code: &Shape) -> Vec<Parameter> {
        let mut all = Vec::new();
        if self.auxiliary > 0.0 {
            all.push(state(IDLE, [code.elements()], Initial::Constant(0.0)));
        }
        if self.batch {
            all.push(state(THRESHOLD, [], Initial::Constant(0.0)));
            all.push(state(STEPS, [], Initial::Constant(0.0)));
        }
        all
    }

    fn suits(&self, _encoder: &[Placed], code: &Shape, decoder: &[Placed]) -> Result<()> {
        let mut rest = decoder.iter().skip_while(|layer| matches!(layer.layer, Layer::Reshape(_)));
        let first = rest.next().filter(|layer| matches!(layer.layer, Layer::Linear(_)));
        let linear = first.is_some();
        let refuse = |key: &str, problem: &str, help: &str| {
            Err(Error::invalid(format!("latent.top_k.{key}"), problem, help.to_owned()))
        };
        if self.unit_norm && !linear {
            let problem = "the decoder does not begin with a linear layer, whose columns could have length 1";
            return refuse("unit_norm", problem, "begin it with { linear = .. }, or write unit_norm = false");
        }
        if self.auxiliary > 0.0 && first.is_some_and(|first| first.input.elements() != code.elements()) {
            let problem =
                "the decoder takes a condition beside the code, so that residuals are no sum of what codes stand for";
            return refuse("auxiliary", problem, "write auxiliary = 0, or leave the condition out");
        }
        if self.auxiliary > 0.0 && !(linear && rest.all(|layer| matches!(layer.layer, Layer::Reshape(_)))) {
            let problem = "the decoder is more than one linear layer, so that residuals are no sum of its columns";
            return refuse("auxiliary", problem, "let it be { linear = .. } alone, or write auxiliary = 0");
        }
        Ok(())
    }

    fn unit_columns<'a>(&self, decoder: &'a [Placed]) -> Option<&'a Parameter> {
        dictionary(decoder).map(|(_, weight)| weight).filter(|_| self.unit_norm)
    }

    fn code(&self, _model: &dyn Model, context: &mut Context, encoded: Value) -> Result<Value> {
        let scope = context.set_scope("latent");
        let marks = self.marks(context, encoded)?;
        let code = context.multiply(encoded, marks);
        context.set_scope(scope);
        code
    }

    fn objective(&self, context: &mut Context, batch: Encoded, _state: Value) -> Result<Objective> {
        let scope = context.set_scope("latent");
        let marks = self.marks(context, batch.output)?;
        let code = context.multiply(batch.output, marks)?;
        if self.batch && context.training().is_some() {
            follow_threshold(context, batch.output, marks)?;
        }
        context.set_scope(scope);
        let mut objective = batch.reconstruct(context, code)?;
        if self.auxiliary > 0.0 && context.training().is_some() {
            let scope = context.set_scope("latent");
            let auxiliary = self.auxiliary_loss(context, batch, &objective)?;
            let weighted = context.scale(auxiliary, self.auxiliary)?;
            objective.loss = context.add(objective.loss, weighted)?;
            context.set_scope(scope);
        }
        Ok(objective)
    }
}

impl TopK {
    /// Mask of a batch of codes: 1 for each kept element, else 0.
    fn marks(&self, context: &mut Context, encoded: Value) -> Result<Value> {
        let shape = context.shape(encoded).clone();
        let batch = shape[0];
        let marks = match (self.batch, context.training()) {
            (false, _) => {
                let rows = context.reshape(encoded, [batch, shape.elements() / batch])?;
                context.top_k(rows, self.k)?
            }
            (true, Some(_)) => {
                let all = context.reshape(encoded, [1, shape.elements()])?;
                context.top_k(all, self.k * batch)?
            }
            (true, None) => {
                let threshold = context.parameter(THRESHOLD, [])?;
                context.binary(Binary::Less, threshold, encoded)?
            }
        };
        context.reshape(marks, shape)
    }

    /// Mean squared error of reconstructing the residual from dead elements alone; 0 where none is dead.
    fn auxiliary_loss(&self, context: &mut Context, encoded: Encoded, objective: &Objective) -> Result<Value> {
        let Encoded { model, output, target } = encoded;
        let shape = context.shape(output).clone();
        let (batch, size) = (shape[0], shape.elements() / shape[0]);
        let idle = context.parameter(IDLE, [size])?;
        let before = context.detach(idle);
        let limit = context.constant(self.dead_after as f64, [])?;
        let lives = context.binary(Binary::Less, before, limit)?;
        let dead = context.one_minus(lives)?;

        // Counts restart where an element was kept; the limit keeps them exact as floats.
        let rows = context.reshape(objective.code, [batch, size])?;
        let magnitude = context.unary(Unary::Absolute, rows)?;
        let most = context.max(magnitude, &[0])?;
        let fired = context.unary(Unary::Step, most)?;
        let waits = context.one_minus(fired)?;
        let longer = context.with_number(Binary::Add, before, batch as f64)?;
        let next = context.multiply(longer, waits)?;
        let next = context.with_number(Binary::Minimum, next, self.dead_after as f64)?;
        context.assign(idle, next)?;

        // The largest dead elements; live ones sort last.
        let rows = context.reshape(output, [batch, size])?;
        let below = context.with_number(Binary::Subtract, dead, 1.0)?;
        let below = context.scale(below, LOWEST)?;
        let ranked = context.multiply(rows, dead)?;
        let ranked = context.add(ranked, below)?;
        let marks = context.top_k(ranked, self.auxiliary_k.min(size))?;
        let marks = context.multiply(marks, dead)?;
        let revived = context.multiply(rows, marks)?;

        let (Some((layer, weight)), Some(reconstruction)) = (dictionary(&model.resolved().decoder), objective.decoded)
        else {
            let problem = "the decoder does not begin with a linear layer";
            return Err(Error::invalid("latent.top_k.auxiliary", problem, "write auxiliary = 0"));
        };
        let weight = context.parameter(&weight.name, weight.shape.clone())?;
        let width = layer[layer.len() - 1];
        let revived = context.reshape(revived, [batch * size / width, width])?;
        let guess = context.matmul(revived, weight, false, true)?;
        let guess = context.reshape(guess, model.input_shape(batch))?;
        let target = context.reshape(target, model.input_shape(batch))?;
        let residual = context.subtract(target, reconstruction.output)?;
        let residual = context.detach(residual);
        let error = loss::mse(context, guess, residual)?;
        let any = context.max(dead, &[0])?;
        context.multiply(error, any)
    }
}

/// Input shape and weight of the decoder's first linear layer, whose columns are the dictionary vectors of a code's
/// elements.
fn dictionary(decoder: &[Placed]) -> Option<(&Shape, &Parameter)> {
    let mut layers = decoder.iter().skip_while(|layer| matches!(layer.layer, Layer::Reshape(_)));
    let first = layers.next().filter(|layer| matches!(layer.layer, Layer::Linear(_)))?;
    Some((&first.input, first.parameters.first()?))
}

/// Initialises columns of unit length as the rows of the encoder's last linear layer, where both have one shape; Gao et
/// al. do so to avoid dead elements from the start.
pub(crate) fn start_unit_columns(
    weight: &Parameter,
    encoder: &[Placed],
    offset: impl Fn(&str) -> Option<usize>,
    values: &mut [f32],
) {
    let (rows, columns) = (weight.shape[0], weight.shape[1]);
    let Some(first) = offset(&weight.name) else { return };
    let encoder = encoder.iter().rfind(|layer| matches!(layer.layer, Layer::Linear(_)));
    let mirrored = encoder.and_then(|layer| layer.parameters.first());
    if let Some(mirrored) = mirrored.filter(|mirrored| mirrored.shape[..] == [columns, rows])
        && let Some(from) = offset(&mirrored.name)
    {
        for row in 0..rows {
            for column in 0..columns {
                values[first + row * columns + column] = values[from + column * rows + row];
            }
        }
    }
    for column in 0..columns {
        let at = |row: usize| first + row * columns + column;
        let length = (0..rows).map(|row| f64::from(values[at(row)]).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            (0..rows).for_each(|row| values[at(row)] = (f64::from(values[at(row)]) / length) as f32);
        }
    }
}

/// Removes from a gradient by a matrix with unit columns its component along the columns.
pub(crate) fn across_columns(graph: &mut Graph, matrix: Value, gradient: Value) -> Result<Value> {
    let product = graph.multiply(matrix, gradient)?;
    let along = graph.sum(product, &[0])?;
    let part = graph.multiply(matrix, along)?;
    graph.subtract(gradient, part)
}

/// Moves the threshold towards the least kept element of a batch: a plain mean at first, then a moving average.
fn follow_threshold(context: &mut Context, encoded: Value, marks: Value) -> Result<()> {
    let axes: Vec<usize> = (0..context.shape(encoded).len()).collect();
    let negative = context.unary(Unary::Negate, encoded)?;
    let negative = context.multiply(negative, marks)?;
    let below = context.with_number(Binary::Subtract, marks, 1.0)?;
    let below = context.scale(below, LOWEST)?;
    let all = context.add(negative, below)?;
    let least = context.max(all, &axes)?;
    let least = context.unary(Unary::Negate, least)?;
    let (threshold, steps) = (context.parameter(THRESHOLD, [])?, context.parameter(STEPS, [])?);
    let count = context.with_number(Binary::Add, steps, 1.0)?;
    let count = context.with_number(Binary::Minimum, count, THRESHOLD_STEPS)?;
    context.assign(steps, count)?;
    let shift = context.subtract(least, threshold)?;
    let shift = context.divide(shift, count)?;
    let next = context.add(threshold, shift)?;
    context.assign(threshold, next)
}
