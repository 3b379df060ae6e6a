//! The latent of vector-quantised autoencoders: codes are vectors of a codebook.

use super::super::resolved::Resolved;
use super::rules::{Encoded, Facts, Latent, Model, Objective, RECONSTRUCTION, state};
use crate::error::{Error, Result};
use crate::graph::{Binary, Scope, Unary, Value};
use crate::nn::{Axes, Context, Initial, Layer, Parameter, Placed, loss};
use crate::schema::{Key, keys};
use crate::shape::{Shape, channel_axis};

/// Mean squared distance of the encoder's output from its nearest codebook vectors.
pub const COMMITMENT: &str = "commitment";
/// Perplexity of a batch's codebook usage: e to the entropy of how often each vector is chosen.
pub const PERPLEXITY: &str = "perplexity";

/// Parameter of the codebook's vectors.
pub(crate) const CODEBOOK: &str = "latent.codebook";
/// State: moving average of how often each vector was chosen.
const COUNTS: &str = "latent.counts";
/// State: moving average of the sum of the encoder's vectors assigned to each codebook vector.
const SUMS: &str = "latent.sums";

/// Count below which a vector stays in place, since it would become the average of nothing.
const LEAST_COUNT: f64 = 1e-4;

/// The latent of a vector-quantised autoencoder: van den Oord et al., arXiv 1711.00937. Each vector of the encoder's
/// output is replaced by the nearest codebook vector; these follow their assigned vectors by moving averages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorQuantised {
    /// Number of vectors of the codebook.
    pub codes: usize,
    /// Size of a vector; 0 for all channels, or features, of the encoder's output, which are otherwise cut into parts
    /// of this size. Each location of a picture and each step of a sequence has such vectors.
    pub size: usize,
    /// Weight of the commitment loss: the mean squared distance of the encoder's output from its nearest vectors.
    pub commitment: f64,
    /// Decay of the moving averages.
    pub decay: f64,
    /// Vectors chosen less often than this fraction of the mean are replaced by outputs of the encoder: Dhariwal et
    /// al., arXiv 2005.00341. 0 disables restarts.
    pub restart: f64,
}

impl Default for VectorQuantised {
    fn default() -> VectorQuantised {
        VectorQuantised { codes: 512, size: 0, commitment: 0.25, decay: 0.99, restart: 0.1 }
    }
}

/// How codes of one shape are cut into vectors.
pub(crate) struct Vectors {
    /// Axis of the code that vectors span: channels, or features where the encoder's output has steps.
    axis: usize,
    /// Size of a vector.
    pub size: usize,
    /// Distance between elements of a vector in a code: channels of a location are a plane apart, features of a step
    /// are adjacent.
    pub stride: usize,
}

/// Vectors of a batch, and their nearest codebook vectors.
pub(crate) struct Quantised {
    /// The vectors of the encoder's output `[m, size]`, as constants.
    vectors: Value,
    /// Index of the nearest codebook vector of each, `[m]`.
    pub(crate) numbers: Value,
    /// The indices as whole numbers, `[m]`.
    indices: Value,
    /// The code made of the nearest vectors, shaped as the encoder's output.
    code: Value,
}

impl Latent for VectorQuantised {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            codes: Count.replaces_table(),
            size: Whole,
            commitment: NotNegative,
            decay: Fraction,
            restart: Fraction,
        ]
    }

    fn facts(&self) -> Facts {
        Facts {
            discrete: true,
            replaces_output: true,
            counts_all_steps: true,
            weights: &["commitment"],
            follows_weights: &[CODEBOOK],
            ..Facts::default()
        }
    }

    fn suits(&self, encoder: &[Placed], code: &Shape, _decoder: &[Placed]) -> Result<()> {
        let refuse = |key: &str, problem: String, help| {
            Err(Error::invalid(format!("latent.vector_quantised.{key}"), problem, help))
        };
        let Vectors { axis, size, .. } = self.vectors(encoder, code);
        let channels = code[axis];
        if !channels.is_multiple_of(size) {
            let problem =
                format!("the {channels} of the encoder's output {code} cannot be cut into vectors of {}", self.size);
            return refuse("size", problem, "use a divisor, or 0 for all");
        }
        if self.codes > 1 << 16 {
            return refuse("codes", format!("{} are more than 65536", self.codes), "use fewer, and more vectors");
        }
        Ok(())
    }

    fn parameters(&self, encoder: &[Placed], code: &Shape) -> Vec<Parameter> {
        let size = self.vectors(encoder, code).size;
        vec![
            state(CODEBOOK, [self.codes, size], Initial::Normal(1.0)),
            state(COUNTS, [self.codes], Initial::Constant(0.0)),
            state(SUMS, [self.codes, size], Initial::Constant(0.0)),
        ]
    }

    fn code(&self, model: &dyn Model, context: &mut Context, encoded: Value) -> Result<Value> {
        let scope = context.set_scope("latent");
        let code = self.quantised(model.resolved(), context, encoded).map(|quantised| quantised.code);
        context.set_scope(scope);
        code
    }

    fn objective(&self, context: &mut Context, batch: Encoded, _state: Value) -> Result<Objective> {
        let scope = context.set_scope("latent");
        let quantised = self.quantised(batch.model.resolved(), context, batch.output)?;
        let chosen = context.detach(quantised.code);
        let code = context.straight_through(chosen, batch.output)?;
        let count = context.shape(quantised.numbers).elements();
        let ones = context.constant(1.0, [count])?;
        let counts = context.scatter_add(ones, quantised.indices, self.codes)?;
        if let Some(state) = context.training() {
            self.follow(context, &quantised, counts, state)?;
        }
        let perplexity = perplexity(context, counts, count)?;
        context.set_scope(scope);
        let mut objective = batch.reconstruct(context, code)?;
        objective.parts.push((RECONSTRUCTION, objective.loss));
        let scope = context.set_scope(Scope::full_precision("loss"));
        let commitment = loss::mse(context, batch.output, chosen)?;
        let weighted = context.scale(commitment, self.commitment)?;
        objective.loss = context.add(objective.loss, weighted)?;
        context.set_scope(scope);
        objective.parts.extend([(COMMITMENT, commitment), (PERPLEXITY, perplexity)]);
        Ok(objective)
    }
}

impl VectorQuantised {
    /// The vectors of codes of this shape.
    pub(crate) fn vectors(&self, encoder: &[Placed], code: &Shape) -> Vectors {
        let axis = if leaves_channels(encoder) { 0 } else { channel_axis(code.len()) };
        let size = if self.size == 0 { code[axis] } else { self.size };
        Vectors { axis, size, stride: code[axis + 1..].iter().product() }
    }

    /// Shape of a code's indices: that of the code, with the channel axis divided by the size of a vector.
    pub(crate) fn indices(&self, model: &Resolved) -> Shape {
        let Vectors { axis, size, .. } = self.vectors(&model.encoder, &model.latent);
        let mut sizes = model.latent.to_vec();
        sizes[axis] /= size;
        sizes.into()
    }

    /// Finds the nearest codebook vectors of an encoder's output.
    pub(crate) fn quantised(&self, model: &Resolved, context: &mut Context, encoded: Value) -> Result<Quantised> {
        let shape = context.shape(encoded).clone();
        let Vectors { size, stride, .. } = self.vectors(&model.encoder, &model.latent);
        let blocks = shape.elements() / (size * stride);
        let encoded = context.detach(encoded);
        let split = context.reshape(encoded, [blocks, size, stride])?;
        let split = if stride == 1 { split } else { context.permute(split, &[0, 2, 1])? };
        let vectors = context.reshape(split, [blocks * stride, size])?;
        let codebook = context.parameter(CODEBOOK, [self.codes, size])?;
        // The nearest vector maximises v e - e²/2.
        let products = context.matmul(vectors, codebook, false, true)?;
        let squares = context.unary(Unary::Square, codebook)?;
        let squares = context.sum(squares, &[1])?;
        let halves = context.scale(squares, 0.5)?;
        let scores = context.subtract(products, halves)?;
        let best = context.max(scores, &[1])?;
        let best = context.reshape(best, [blocks * stride, 1])?;
        let hits = context.binary(Binary::Equal, scores, best)?;
        // The first maximum is the one with the largest falling number. `Graph::top_k` with a count of 1 gives equal
        // bits in fewer nodes, but an epoch of the preset then takes 1.35 times as long on the CPU and 1.1 times on
        // lavapipe.
        let numbers = context.iota(self.codes)?;
        let all = context.constant(self.codes as f64, [])?;
        let falling = context.subtract(all, numbers)?;
        let hits = context.multiply(hits, falling)?;
        let first = context.max(hits, &[1])?;
        let numbers = context.subtract(all, first)?;
        let indices = context.indices(numbers, self.codes)?;
        let nearest = context.gather(codebook, indices)?;
        let nearest = context.reshape(nearest, [blocks, stride, size])?;
        let nearest = if stride == 1 { nearest } else { context.permute(nearest, &[0, 2, 1])? };
        let code = context.reshape(nearest, shape)?;
        Ok(Quantised { vectors, numbers, indices, code })
    }

    /// Updates the codebook by moving averages, and restarts rarely chosen vectors.
    fn follow(&self, context: &mut Context, quantised: &Quantised, counts: Value, state: Value) -> Result<()> {
        let [rows, size] = [0, 1].map(|axis| context.shape(quantised.vectors)[axis]);
        let wide = [self.codes, size];
        let column = |context: &mut Context, x: Value| context.reshape(x, [self.codes, 1]);
        let mixed = |context: &mut Context, [choice, one, other]: [Value; 3]| {
            let shift = context.subtract(one, other)?;
            let shift = context.multiply(shift, choice)?;
            context.add(other, shift)
        };
        let followed = |context: &mut Context, old: Value, new: Value| {
            let kept = context.scale(old, self.decay)?;
            let part = context.scale(new, 1.0 - self.decay)?;
            context.add(kept, part)
        };
        let codebook = context.parameter(CODEBOOK, wide)?;
        let (all_counts, all_sums) = (context.parameter(COUNTS, [self.codes])?, context.parameter(SUMS, wide)?);
        let sums = context.scatter_add(quantised.vectors, quantised.indices, self.codes)?;
        let mut counts = followed(context, all_counts, counts)?;
        let mut sums = followed(context, all_sums, sums)?;
        let divisor = context.with_number(Binary::Maximum, counts, LEAST_COUNT)?;
        let divisor = column(context, divisor)?;
        let means = context.divide(sums, divisor)?;
        let least = context.constant(LEAST_COUNT, [])?;
        let known = context.binary(Binary::Less, least, counts)?;
        let known = column(context, known)?;
        let mut vectors = mixed(context, [known, means, codebook])?;
        if self.restart > 0.0 {
            let mean = context.mean(counts, &[0])?;
            let limit = context.scale(mean, self.restart)?;
            let unused = context.binary(Binary::Less, counts, limit)?;
            let draws = context.random_uniform(state, [self.codes])?;
            // Rounding to the nearest integer then truncates the fraction.
            let draws = context.scale(draws, rows as f64)?;
            let draws = context.with_number(Binary::Subtract, draws, 0.5)?;
            let draws = context.indices(draws, rows)?;
            let fresh = context.gather(quantised.vectors, draws)?;
            let mean = context.broadcast(mean, [self.codes])?;
            counts = mixed(context, [unused, mean, counts])?;
            let unused = column(context, unused)?;
            vectors = mixed(context, [unused, fresh, vectors])?;
            let mean = column(context, mean)?;
            let whole = context.multiply(fresh, mean)?;
            sums = mixed(context, [unused, whole, sums])?;
        }
        context.assign(codebook, vectors)?;
        context.assign(all_counts, counts)?;
        context.assign(all_sums, sums)
    }
}

/// Whether layers end in a convolution of sequences `[channels, length]`, or in a layer that only follows these,
/// ignoring the elementwise layers after it.
fn leaves_channels(layers: &[Placed]) -> bool {
    // After a softmax, vectors span the last axis.
    let same = |layer: &&Placed| match &layer.layer {
        Layer::Softmax(_) => false,
        layer => matches!(layer.axes(), Axes::Elementwise | Axes::Same),
    };
    layers.iter().rev().find(|layer| !same(layer)).is_some_and(|layer| match layer.layer.axes() {
        Axes::Channels | Axes::Pooled => layer.input.len() == 2,
        Axes::Lists => layer.inside.first().is_some_and(|body| leaves_channels(body)),
        Axes::Elementwise | Axes::Same | Axes::Moved | Axes::Features | Axes::Tied | Axes::Sequence | Axes::Other => {
            false
        }
    })
}

/// Perplexity of codebook usage: the number of vectors that, evenly chosen, would give this entropy.
fn perplexity(context: &mut Context, counts: Value, count: usize) -> Result<Value> {
    let parts = context.scale(counts, 1.0 / count as f64)?;
    // Keeps the logarithm finite.
    let positive = context.with_number(Binary::Maximum, parts, 1e-10)?;
    let logarithms = context.unary(Unary::Ln, positive)?;
    let each = context.multiply(parts, logarithms)?;
    let sum = context.sum(each, &[0])?;
    let entropy = context.unary(Unary::Negate, sum)?;
    context.unary(Unary::Exp, entropy)
}
