//! The latent of top-k sparse autoencoders: each code keeps its largest elements.

use super::rules::{Facts, Latent, Model, Objective, STEPS, state};
use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::{Context, Initial, Layer, Parameter, Placed, loss};
use crate::schema::{Key, Setting};
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
        vec![
            Key::short("k", Setting::Count(&mut self.k)),
            Key::optional("batch", Setting::Flag(&mut self.batch)),
            Key::optional("auxiliary", Setting::NotNegative(&mut self.auxiliary)),
            Key::optional("auxiliary_k", Setting::Count(&mut self.auxiliary_k)),
            Key::optional("dead_after", Setting::Count(&mut self.dead_after)),
            Key::optional("unit_norm", Setting::Flag(&mut self.unit_norm)),
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

    fn code(&self, _model: &dyn Model, graph: &mut Context, encoded: Value) -> Result<Value> {
        let scope = graph.set_scope("latent");
        let marks = marks(graph, encoded, *self)?;
        let code = graph.multiply(encoded, marks);
        graph.set_scope(scope);
        code
    }

    fn objective(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        _state: Value,
    ) -> Result<Objective> {
        let scope = graph.set_scope("latent");
        let marks = marks(graph, encoded, *self)?;
        let code = graph.multiply(encoded, marks)?;
        if self.batch && graph.training().is_some() {
            follow_threshold(graph, encoded, marks)?;
        }
        graph.set_scope(scope);
        let decoded = model.decode(graph, code)?;
        let mut loss = model.loss(graph, decoded, target)?;
        if self.auxiliary > 0.0 && graph.training().is_some() {
            let scope = graph.set_scope("latent");
            let auxiliary = self.auxiliary_loss(model, graph, [encoded, code], [target, decoded.output])?;
            let weighted = graph.scale(auxiliary, self.auxiliary)?;
            loss = graph.add(loss, weighted)?;
            graph.set_scope(scope);
        }
        Ok(Objective { loss, code, decoded: Some(decoded), parts: vec![] })
    }
}

impl TopK {
    /// Mean squared error of reconstructing the residual from dead elements alone; 0 where none is dead.
    fn auxiliary_loss(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        [encoded, code]: [Value; 2],
        [target, output]: [Value; 2],
    ) -> Result<Value> {
        let shape = graph.shape(encoded).clone();
        let (batch, size) = (shape[0], shape.elements() / shape[0]);
        let idle = graph.parameter(IDLE, [size])?;
        let before = graph.detach(idle);
        let limit = graph.constant(self.dead_after as f64, [])?;
        let lives = graph.binary(Binary::Less, before, limit)?;
        let dead = graph.one_minus(lives)?;

        // Counts restart where an element was kept; the limit keeps them exact as floats.
        let rows = graph.reshape(code, [batch, size])?;
        let magnitude = graph.unary(Unary::Absolute, rows)?;
        let most = graph.max(magnitude, &[0])?;
        let fired = graph.unary(Unary::Step, most)?;
        let waits = graph.one_minus(fired)?;
        let longer = graph.with_number(Binary::Add, before, batch as f64)?;
        let next = graph.multiply(longer, waits)?;
        let next = graph.with_number(Binary::Minimum, next, self.dead_after as f64)?;
        graph.assign(idle, next)?;

        // The largest dead elements; live ones sort last.
        let rows = graph.reshape(encoded, [batch, size])?;
        let below = graph.with_number(Binary::Subtract, dead, 1.0)?;
        let below = graph.scale(below, LOWEST)?;
        let ranked = graph.multiply(rows, dead)?;
        let ranked = graph.add(ranked, below)?;
        let marks = graph.top_k(ranked, self.auxiliary_k.min(size))?;
        let marks = graph.multiply(marks, dead)?;
        let revived = graph.multiply(rows, marks)?;

        let Some((layer, weight)) = dictionary(&model.resolved().decoder) else {
            let problem = "the decoder does not begin with a linear layer";
            return Err(Error::invalid("latent.top_k.auxiliary", problem, "write auxiliary = 0"));
        };
        let weight = graph.parameter(&weight.name, weight.shape.clone())?;
        let width = layer[layer.len() - 1];
        let revived = graph.reshape(revived, [batch * size / width, width])?;
        let guess = graph.matmul(revived, weight, false, true)?;
        let guess = graph.reshape(guess, model.input_shape(batch))?;
        let target = graph.reshape(target, model.input_shape(batch))?;
        let residual = graph.subtract(target, output)?;
        let residual = graph.detach(residual);
        let error = loss::mse(graph, guess, residual)?;
        let any = graph.max(dead, &[0])?;
        graph.multiply(error, any)
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

/// Mask of a batch of codes: 1 for each kept element, else 0.
fn marks(graph: &mut Context, encoded: Value, own: TopK) -> Result<Value> {
    let shape = graph.shape(encoded).clone();
    let batch = shape[0];
    let marks = match (own.batch, graph.training()) {
        (false, _) => {
            let rows = graph.reshape(encoded, [batch, shape.elements() / batch])?;
            graph.top_k(rows, own.k)?
        }
        (true, Some(_)) => {
            let all = graph.reshape(encoded, [1, shape.elements()])?;
            graph.top_k(all, own.k * batch)?
        }
        (true, None) => {
            let threshold = graph.parameter(THRESHOLD, [])?;
            graph.binary(Binary::Less, threshold, encoded)?
        }
    };
    graph.reshape(marks, shape)
}

/// Moves the threshold towards the least kept element of a batch: a plain mean at first, then a moving average.
fn follow_threshold(graph: &mut Context, encoded: Value, marks: Value) -> Result<()> {
    let axes: Vec<usize> = (0..graph.shape(encoded).len()).collect();
    let negative = graph.unary(Unary::Negate, encoded)?;
    let negative = graph.multiply(negative, marks)?;
    let below = graph.with_number(Binary::Subtract, marks, 1.0)?;
    let below = graph.scale(below, LOWEST)?;
    let all = graph.add(negative, below)?;
    let least = graph.max(all, &axes)?;
    let least = graph.unary(Unary::Negate, least)?;
    let (threshold, steps) = (graph.parameter(THRESHOLD, [])?, graph.parameter(STEPS, [])?);
    let count = graph.with_number(Binary::Add, steps, 1.0)?;
    let count = graph.with_number(Binary::Minimum, count, THRESHOLD_STEPS)?;
    graph.assign(steps, count)?;
    let shift = graph.subtract(least, threshold)?;
    let shift = graph.divide(shift, count)?;
    let next = graph.add(threshold, shift)?;
    graph.assign(threshold, next)
}
