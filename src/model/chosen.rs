//! Codes that are chosen: the largest numbers, the nearest vectors, bits. What they are, and what training asks of them.

use super::config::{Bits, CODEBOOK, COUNTS, IDLE, LatentSpec, STEPS, SUMS, THRESHOLD, TopK, VectorQuantised};
use super::latent::{COMMITMENT, Objective, PERPLEXITY, RECONSTRUCTION};
use super::network::Network;
use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Scope, Unary, Value};
use crate::nn::{Context, Layer, Parameter, loss};
use crate::shape::Shape;

/// Below every number that a code holds, and so chosen last.
const LOWEST: f64 = 1e30;

/// Steps over which the threshold of a batch's choice is averaged.
const THRESHOLD_STEPS: f64 = 100.0;

/// A vector that was chosen less often, on average over late steps, stays where it is: its average would be one of nothing.
const LEAST_COUNT: f64 = 1e-4;

/// What a batch's vectors become.
struct Quantised {
    /// Those of the encoder's output `[m, size]`, as constants.
    vectors: Value,
    /// The number of the nearest of the codebook for each, `[m]`.
    numbers: Value,
    /// The same as words.
    indices: Value,
    /// The code that these make, shaped as the encoder's output.
    code: Value,
}

impl Network {
    /// The code without chance, where it is chosen among what the encoder leaves; else that itself.
    pub(super) fn chosen(&self, graph: &mut Context, encoded: Value) -> Result<Value> {
        let scope = graph.set_scope("latent");
        let code = match self.spec().latent {
            LatentSpec::TopK(own) => {
                let marks = marks(graph, encoded, own)?;
                graph.multiply(encoded, marks)
            }
            LatentSpec::VectorQuantised(own) => self.quantised(graph, encoded, own).map(|quantised| quantised.code),
            LatentSpec::Binary(_) => graph.unary(Unary::Step, encoded),
            LatentSpec::Plain | LatentSpec::Gaussian(_) => Ok(encoded),
            LatentSpec::Wasserstein(_) | LatentSpec::Adversarial(_) => Ok(encoded),
        };
        graph.set_scope(scope);
        code
    }

    /// The sparse code's loss, and in training the auxiliary one of numbers that never stay.
    pub(super) fn sparse(&self, graph: &mut Context, encoded: Value, target: Value, own: TopK) -> Result<Objective> {
        let scope = graph.set_scope("latent");
        let marks = marks(graph, encoded, own)?;
        let code = graph.multiply(encoded, marks)?;
        if own.batch && graph.training().is_some() {
            follow_threshold(graph, encoded, marks)?;
        }
        graph.set_scope(scope);
        let decoded = self.decode(graph, code)?;
        let mut loss = self.loss(graph, decoded, target)?;
        if own.auxiliary > 0.0 && graph.training().is_some() {
            let scope = graph.set_scope("latent");
            let auxiliary = self.auxiliary(graph, [encoded, code], [target, decoded.output], own)?;
            let weighted = graph.scale(auxiliary, own.auxiliary)?;
            loss = graph.add(loss, weighted)?;
            graph.set_scope(scope);
        }
        Ok(Objective { loss, code, decoded: Some(decoded), parts: vec![] })
    }

    /// The mean squared error by which dead numbers reconstruct what the others leave; 0 where none is dead.
    fn auxiliary(
        &self,
        graph: &mut Graph,
        [encoded, code]: [Value; 2],
        [target, output]: [Value; 2],
        own: TopK,
    ) -> Result<Value> {
        let shape = graph.shape(encoded).clone();
        let (batch, size) = (shape[0], shape.elements() / shape[0]);
        let idle = graph.parameter(IDLE, [size])?;
        let before = graph.detach(idle);
        let limit = graph.constant(own.dead_after as f64, [])?;
        let lives = graph.binary(Binary::Less, before, limit)?;
        let dead = graph.one_minus(lives)?;

        // Counts begin again where a number has stayed; beyond the limit they would only lose their last digits some day.
        let rows = graph.reshape(code, [batch, size])?;
        let magnitude = graph.unary(Unary::Absolute, rows)?;
        let most = graph.max(magnitude, &[0])?;
        let fired = graph.unary(Unary::Step, most)?;
        let waits = graph.one_minus(fired)?;
        let longer = graph.with_number(Binary::Add, before, batch as f64)?;
        let next = graph.multiply(longer, waits)?;
        let next = graph.with_number(Binary::Minimum, next, own.dead_after as f64)?;
        graph.assign(idle, next)?;

        // The largest of the dead numbers, those that are not dead coming last.
        let rows = graph.reshape(encoded, [batch, size])?;
        let below = graph.with_number(Binary::Subtract, dead, 1.0)?;
        let below = graph.scale(below, LOWEST)?;
        let ranked = graph.multiply(rows, dead)?;
        let ranked = graph.add(ranked, below)?;
        let marks = graph.top_k(ranked, own.auxiliary_k.min(size))?;
        let marks = graph.multiply(marks, dead)?;
        let revived = graph.multiply(rows, marks)?;

        let Some((layer, weight)) = self.dictionary() else {
            let problem = "the decoder does not begin with a linear layer";
            return Err(Error::invalid("latent.top_k.auxiliary", problem, "write auxiliary = 0"));
        };
        let weight = graph.parameter(&weight.name, weight.shape.clone())?;
        let width = layer[layer.len() - 1];
        let revived = graph.reshape(revived, [batch * size / width, width])?;
        let guess = graph.matmul(revived, weight, false, true)?;
        let guess = graph.reshape(guess, self.input_shape(batch))?;
        let target = graph.reshape(target, self.input_shape(batch))?;
        let residual = graph.subtract(target, output)?;
        let residual = graph.detach(residual);
        let error = loss::mse(graph, guess, residual)?;
        let any = graph.max(dead, &[0])?;
        graph.multiply(error, any)
    }

    /// The shape that goes into the decoder's linear layer that codes come to first, and its weight, whose columns are what
    /// the numbers of a code stand for.
    fn dictionary(&self) -> Option<(&Shape, &Parameter)> {
        let mut layers = self.checked().decoder.iter().skip_while(|layer| matches!(layer.layer, Layer::Reshape(_)));
        let first = layers.next().filter(|layer| matches!(layer.layer, Layer::Linear(_)))?;
        Some((&first.input, first.parameters.first()?))
    }

    /// The matrix whose columns are kept at length 1, where the latent asks for that.
    pub(crate) fn unit_columns(&self) -> Option<&Parameter> {
        match self.spec().latent {
            LatentSpec::TopK(TopK { unit_norm: true, .. }) => self.dictionary().map(|(_, weight)| weight),
            _ => None,
        }
    }

    /// Lets the columns that are kept at length 1 begin so: as the rows of the encoder's last linear layer, where these are as
    /// many and as long, as Gao et al. do lest numbers be dead from the beginning on.
    pub(super) fn start_unit_columns(&self, values: &mut [f32]) {
        let Some(weight) = self.unit_columns() else { return };
        let (rows, columns) = (weight.shape[0], weight.shape[1]);
        let Some(offset) = self.layout().offset(&weight.name) else { return };
        let encoder = self.checked().encoder.iter().rfind(|layer| matches!(layer.layer, Layer::Linear(_)));
        let mirrored = encoder.and_then(|layer| layer.parameters.first());
        if let Some(mirrored) = mirrored.filter(|mirrored| mirrored.shape[..] == [columns, rows])
            && let Some(from) = self.layout().offset(&mirrored.name)
        {
            for row in 0..rows {
                for column in 0..columns {
                    values[offset + row * columns + column] = values[from + column * rows + row];
                }
            }
        }
        for column in 0..columns {
            let at = |row: usize| offset + row * columns + column;
            let length = (0..rows).map(|row| f64::from(values[at(row)]).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 {
                (0..rows).for_each(|row| values[at(row)] = (f64::from(values[at(row)]) / length) as f32);
            }
        }
    }

    fn quantised(&self, graph: &mut Graph, encoded: Value, own: VectorQuantised) -> Result<Quantised> {
        let shape = graph.shape(encoded).clone();
        let (size, places) = self.vectors(own);
        let blocks = shape.elements() / (size * places);
        let encoded = graph.detach(encoded);
        let split = graph.reshape(encoded, [blocks, size, places])?;
        let split = if places == 1 { split } else { graph.permute(split, &[0, 2, 1])? };
        let vectors = graph.reshape(split, [blocks * places, size])?;
        let codebook = graph.parameter(CODEBOOK, [own.codes, size])?;
        // The nearest has the largest v e - e²/2.
        let products = graph.matmul(vectors, codebook, false, true)?;
        let squares = graph.unary(Unary::Square, codebook)?;
        let squares = graph.sum(squares, &[1])?;
        let halves = graph.scale(squares, 0.5)?;
        let scores = graph.subtract(products, halves)?;
        let best = graph.max(scores, &[1])?;
        let best = graph.reshape(best, [blocks * places, 1])?;
        let hits = graph.binary(Binary::Equal, scores, best)?;
        // The first of several: the largest of numbers that fall. `Graph::top_k` with a count of 1 says the same, to the bit, in
        // fewer nodes; but an epoch of the preset then takes 1.35 times as long on the CPU and 1.1 times on lavapipe.
        let numbers = graph.iota(own.codes)?;
        let all = graph.constant(own.codes as f64, [])?;
        let falling = graph.subtract(all, numbers)?;
        let hits = graph.multiply(hits, falling)?;
        let first = graph.max(hits, &[1])?;
        let numbers = graph.subtract(all, first)?;
        let indices = graph.indices(numbers, own.codes)?;
        let nearest = graph.gather(codebook, indices)?;
        let nearest = graph.reshape(nearest, [blocks, places, size])?;
        let nearest = if places == 1 { nearest } else { graph.permute(nearest, &[0, 2, 1])? };
        let code = graph.reshape(nearest, shape)?;
        Ok(Quantised { vectors, numbers, indices, code })
    }

    /// The loss of codes from a codebook: the reconstruction's and the commitment's. In training the codebook follows.
    pub(super) fn quantising(
        &self,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        own: VectorQuantised,
    ) -> Result<Objective> {
        let scope = graph.set_scope("latent");
        let quantised = self.quantised(graph, encoded, own)?;
        let chosen = graph.detach(quantised.code);
        let code = graph.straight_through(chosen, encoded)?;
        let count = graph.shape(quantised.numbers).elements();
        let ones = graph.constant(1.0, [count])?;
        let counts = graph.scatter_add(ones, quantised.indices, own.codes)?;
        if let Some(state) = graph.training() {
            follow_vectors(graph, &quantised, counts, state, own)?;
        }
        let perplexity = perplexity(graph, counts, count)?;
        graph.set_scope(scope);
        let decoded = self.decode(graph, code)?;
        let reconstruction = self.loss(graph, decoded, target)?;
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let commitment = loss::mse(graph, encoded, chosen)?;
        let weighted = graph.scale(commitment, own.commitment)?;
        let loss = graph.add(reconstruction, weighted)?;
        graph.set_scope(scope);
        let parts = vec![(RECONSTRUCTION, reconstruction), (COMMITMENT, commitment), (PERPLEXITY, perplexity)];
        Ok(Objective { loss, code, decoded: Some(decoded), parts })
    }

    /// For a batch of samples the numbers of the vectors that their codes are made of, `[n, ..]`: as the codes, the axis of channels
    /// or features shorter by as much as vectors are long. Fails where the latent has no codebook.
    pub fn indices(&self, graph: &mut Context, x: Value) -> Result<Value> {
        let own = self.codebook()?;
        let shape = self.indices_shape()?;
        let shape: Shape = std::iter::once(graph.shape(x)[0]).chain(shape.iter().copied()).collect();
        let encoded = self.encoder_output(graph, x)?;
        let quantised = self.quantised(graph, encoded, own)?;
        graph.reshape(quantised.numbers, shape)
    }

    /// The shape of these numbers for one sample.
    pub fn indices_shape(&self) -> Result<Shape> {
        let latent = &self.checked().latent;
        Ok(self.codebook()?.indices(latent, VectorQuantised::axis(&self.checked().encoder, latent)))
    }

    /// How many numbers a vector of the codebook has, and how far apart they are in a code.
    pub(crate) fn vectors(&self, own: VectorQuantised) -> (usize, usize) {
        let latent = &self.checked().latent;
        let axis = VectorQuantised::axis(&self.checked().encoder, latent);
        (own.width(latent, axis), VectorQuantised::places(latent, axis))
    }

    /// The settings of the latent's codebook. Fails where it has none.
    pub(crate) fn codebook(&self) -> Result<VectorQuantised> {
        match self.spec().latent {
            LatentSpec::VectorQuantised(own) => Ok(own),
            _ => {
                let problem = format!("it is {}, whose codes have no indices", self.spec().latent);
                Err(Error::invalid("latent", problem, "use a model whose latent is vector_quantised"))
            }
        }
    }

    /// The loss of codes of bits.
    pub(super) fn of_bits(&self, graph: &mut Context, encoded: Value, target: Value, own: Bits) -> Result<Objective> {
        let scope = graph.set_scope("latent");
        let probability = graph.unary(Unary::Sigmoid, encoded)?;
        let bits = match graph.training() {
            Some(state) if own.stochastic => {
                let shape = graph.shape(encoded).clone();
                let draws = graph.random_uniform(state, shape)?;
                graph.binary(Binary::Less, draws, probability)?
            }
            _ => graph.unary(Unary::Step, encoded)?,
        };
        let code = graph.straight_through(bits, probability)?;
        graph.set_scope(scope);
        let decoded = self.decode(graph, code)?;
        let loss = self.loss(graph, decoded, target)?;
        Ok(Objective { loss, code, decoded: Some(decoded), parts: vec![] })
    }
}

/// A gradient by a matrix whose columns have length 1, without what lies along them.
pub(crate) fn across_columns(graph: &mut Graph, matrix: Value, gradient: Value) -> Result<Value> {
    let product = graph.multiply(matrix, gradient)?;
    let along = graph.sum(product, &[0])?;
    let part = graph.multiply(matrix, along)?;
    graph.subtract(gradient, part)
}

/// 1 for each number of a batch's codes that stays, else 0.
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

/// Moves the threshold towards the least number that stays of a batch: their mean at first, then a moving one.
fn follow_threshold(graph: &mut Graph, encoded: Value, marks: Value) -> Result<()> {
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

/// Lets the codebook follow what its vectors were chosen for, and puts those that are hardly chosen elsewhere.
fn follow_vectors(
    graph: &mut Graph,
    quantised: &Quantised,
    counts: Value,
    state: Value,
    own: VectorQuantised,
) -> Result<()> {
    let rows = graph.shape(quantised.vectors)[0];
    let size = graph.shape(quantised.vectors)[1];
    let wide = [own.codes, size];
    let column = |graph: &mut Graph, x: Value| graph.reshape(x, [own.codes, 1]);
    let mixed = |graph: &mut Graph, [choice, one, other]: [Value; 3]| {
        let shift = graph.subtract(one, other)?;
        let shift = graph.multiply(shift, choice)?;
        graph.add(other, shift)
    };
    let followed = |graph: &mut Graph, old: Value, new: Value| {
        let kept = graph.scale(old, own.decay)?;
        let part = graph.scale(new, 1.0 - own.decay)?;
        graph.add(kept, part)
    };
    let codebook = graph.parameter(CODEBOOK, wide)?;
    let (all_counts, all_sums) = (graph.parameter(COUNTS, [own.codes])?, graph.parameter(SUMS, wide)?);
    let sums = graph.scatter_add(quantised.vectors, quantised.indices, own.codes)?;
    let mut counts = followed(graph, all_counts, counts)?;
    let mut sums = followed(graph, all_sums, sums)?;
    let divisor = graph.with_number(Binary::Maximum, counts, LEAST_COUNT)?;
    let divisor = column(graph, divisor)?;
    let means = graph.divide(sums, divisor)?;
    let least = graph.constant(LEAST_COUNT, [])?;
    let known = graph.binary(Binary::Less, least, counts)?;
    let known = column(graph, known)?;
    let mut vectors = mixed(graph, [known, means, codebook])?;
    if own.restart > 0.0 {
        let mean = graph.mean(counts, &[0])?;
        let limit = graph.scale(mean, own.restart)?;
        let unused = graph.binary(Binary::Less, counts, limit)?;
        let draws = graph.random_uniform(state, [own.codes])?;
        // Rounding to the nearest then cuts the fraction.
        let draws = graph.scale(draws, rows as f64)?;
        let draws = graph.with_number(Binary::Subtract, draws, 0.5)?;
        let draws = graph.indices(draws, rows)?;
        let fresh = graph.gather(quantised.vectors, draws)?;
        let mean = graph.broadcast(mean, [own.codes])?;
        counts = mixed(graph, [unused, mean, counts])?;
        let unused = column(graph, unused)?;
        vectors = mixed(graph, [unused, fresh, vectors])?;
        let mean = column(graph, mean)?;
        let whole = graph.multiply(fresh, mean)?;
        sums = mixed(graph, [unused, whole, sums])?;
    }
    graph.assign(codebook, vectors)?;
    graph.assign(all_counts, counts)?;
    graph.assign(all_sums, sums)
}

/// e to the entropy of how often each vector was chosen: as many as would be chosen evenly.
fn perplexity(graph: &mut Graph, counts: Value, count: usize) -> Result<Value> {
    let parts = graph.scale(counts, 1.0 / count as f64)?;
    // So that the logarithm is not of nothing.
    let positive = graph.with_number(Binary::Maximum, parts, 1e-10)?;
    let logarithms = graph.unary(Unary::Ln, positive)?;
    let each = graph.multiply(parts, logarithms)?;
    let sum = graph.sum(each, &[0])?;
    let entropy = graph.unary(Unary::Negate, sum)?;
    graph.unary(Unary::Exp, entropy)
}
