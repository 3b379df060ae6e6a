//! What lies between the encoder's output and the decoder, and what training asks of it.

use super::config::{Gaussian, LatentSpec, LossKind, MmdKernel, STEPS, Wasserstein};
use super::network::{Decoded, Network};
use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Scope, Unary, Value};
use crate::nn::{Context, loss};
use crate::shape::Shape;

/// What training makes small for a batch, and what it is made of.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The whole, a scalar.
    pub loss: Value,
    /// The code without chance.
    pub code: Value,
    /// Its reconstruction, where the loss is made of that.
    pub decoded: Option<Decoded>,
    /// Parts that are worth knowing by themselves, each a scalar.
    pub parts: Vec<(&'static str, Value)>,
}

/// Bounds of the logarithms of variances, the posterior's and that of a gaussian likelihood: deviations of 3e-7 to 22,000,
/// beyond which e to their power would overflow or lose all its digits. They are those of latent diffusion, arXiv 2112.10752.
pub const LOG_VARIANCES: [f64; 2] = [-30.0, 20.0];

/// The mean and the logarithm of the variance of each sample's posterior, `[n, size]`.
#[derive(Clone, Copy, Debug)]
struct Posterior {
    mean: Value,
    log_variance: Value,
}

pub use super::adversarial::{ADVERSARIAL, DISCRIMINATOR};

/// The loss of what the decoder makes of a code.
pub const RECONSTRUCTION: &str = "reconstruction";
/// The Kullback-Leibler divergence of the posterior from the standard normal, in nats per sample.
pub const DIVERGENCE: &str = "divergence";
/// The squared maximum mean discrepancy of a batch's codes from the standard normal.
pub const DISCREPANCY: &str = "discrepancy";
/// The mean squared distance of the encoder's output from the vectors that were chosen for it.
pub const COMMITMENT: &str = "commitment";
/// How many vectors of a codebook a batch uses: e to the entropy of how often each is chosen.
pub const PERPLEXITY: &str = "perplexity";

impl Network {
    /// The code that an encoder's output stands for, without chance.
    pub(super) fn code(&self, graph: &mut Context, encoded: Value) -> Result<Value> {
        match &self.spec().latent {
            LatentSpec::Plain | LatentSpec::Wasserstein(_) | LatentSpec::Adversarial(_) => Ok(encoded),
            LatentSpec::Gaussian(_) => self.head(graph, encoded, 0),
            LatentSpec::TopK(_) | LatentSpec::VectorQuantised(_) | LatentSpec::Binary(_) => self.chosen(graph, encoded),
        }
    }

    /// What training makes small, for samples `x` as the encoder sees them and `target` as they are. Codes are drawn with
    /// this step state; a graph that is not one of training weighs all parts in full, and knows no free bits.
    pub fn objective(&self, graph: &mut Context, x: Value, target: Value, state: Value) -> Result<Objective> {
        let encoded = self.encoder_output(graph, x)?;
        match self.spec().latent {
            LatentSpec::Plain => {
                let decoded = self.decode(graph, encoded)?;
                let loss = self.loss(graph, decoded, target)?;
                Ok(Objective { loss, code: encoded, decoded: Some(decoded), parts: vec![] })
            }
            LatentSpec::TopK(own) => self.sparse(graph, encoded, target, own),
            LatentSpec::VectorQuantised(own) => self.quantising(graph, encoded, target, own),
            LatentSpec::Binary(own) => self.of_bits(graph, encoded, target, own),
            LatentSpec::Wasserstein(Wasserstein { mmd, kernel }) => {
                let decoded = self.decode(graph, encoded)?;
                let reconstruction = self.loss(graph, decoded, target)?;
                let (loss, discrepancy) = self.with_discrepancy(graph, reconstruction, encoded, state, mmd, kernel)?;
                let parts = vec![(RECONSTRUCTION, reconstruction), (DISCREPANCY, discrepancy)];
                Ok(Objective { loss, code: encoded, decoded: Some(decoded), parts })
            }
            LatentSpec::Adversarial(own) => {
                let decoded = self.decode(graph, encoded)?;
                let reconstruction = self.loss(graph, decoded, target)?;
                let (loss, [passing, telling]) = self.with_adversary(graph, reconstruction, encoded, state, own)?;
                let parts = vec![(RECONSTRUCTION, reconstruction), passing, telling];
                Ok(Objective { loss, code: encoded, decoded: Some(decoded), parts })
            }
            LatentSpec::Gaussian(Gaussian { samples, size, mmd, .. }) => {
                let batch = graph.shape(x)[0];
                let noise = self.noise(graph, state, batch, samples)?;
                if samples > 1 {
                    let (code, loss) = self.bound(graph, encoded, target, noise)?;
                    return Ok(Objective { loss, code, decoded: None, parts: vec![] });
                }
                let noise = graph.reshape(noise, [batch, size])?;
                let (mut objective, drawn) = self.variational(graph, encoded, target, noise)?;
                if mmd > 0.0 {
                    let kernel = MmdKernel::Gaussian;
                    let (loss, discrepancy) =
                        self.with_discrepancy(graph, objective.loss, drawn, state, mmd, kernel)?;
                    objective.loss = loss;
                    objective.parts.push((DISCREPANCY, discrepancy));
                }
                Ok(objective)
            }
        }
    }

    /// Standard normal noise for so many codes of each sample, `[batch, samples, size]`.
    pub fn noise(&self, graph: &mut Graph, state: Value, batch: usize, samples: usize) -> Result<Value> {
        let scope = graph.set_scope("latent");
        let noise = graph.random_normal(state, [batch, samples, self.gaussian()?.size]);
        graph.set_scope(scope);
        noise
    }

    /// The negative evidence lower bound of a variational autoencoder (Kingma and Welling, arXiv 1312.6114) with noise
    /// `[n, size]`, from which codes are made: in nats per sample where the loss is a likelihood.
    pub fn evidence_bound(&self, graph: &mut Context, x: Value, target: Value, noise: Value) -> Result<Objective> {
        let encoded = self.encoder_output(graph, x)?;
        Ok(self.variational(graph, encoded, target, noise)?.0)
    }

    /// The importance-weighted bound on the negative logarithm of the samples' probability, in nats per sample, with noise
    /// `[n, samples, size]` for so many codes each: Burda et al., arXiv 1509.00519. The more codes, the closer.
    pub fn importance_weighted_bound(
        &self,
        graph: &mut Context,
        x: Value,
        target: Value,
        noise: Value,
    ) -> Result<Value> {
        let encoded = self.encoder_output(graph, x)?;
        Ok(self.bound(graph, encoded, target, noise)?.1)
    }

    fn gaussian(&self) -> Result<Gaussian> {
        match self.spec().latent {
            LatentSpec::Gaussian(own) => Ok(own),
            _ => {
                let problem = format!("it is {}, which gives no probabilities", self.spec().latent);
                Err(Error::invalid("latent", problem, "use a model whose latent is gaussian"))
            }
        }
    }

    fn head(&self, graph: &mut Context, encoded: Value, index: usize) -> Result<Value> {
        let shape = graph.shape(encoded).clone();
        let flat = graph.reshape(encoded, [shape[0], shape.elements() / shape[0]])?;
        let head = self.checked().heads.get(index);
        head.ok_or_else(|| Error::invalid("latent", "it has no such layer", "report this as a bug in pinhole"))?
            .apply(graph, flat)
    }

    fn posterior(&self, graph: &mut Context, encoded: Value) -> Result<Posterior> {
        let mean = self.head(graph, encoded, 0)?;
        let log_variance = self.head(graph, encoded, 1)?;
        Ok(Posterior { mean, log_variance: bounded(graph, log_variance)? })
    }

    /// The negative evidence lower bound, and the codes it was made with.
    fn variational(
        &self,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        noise: Value,
    ) -> Result<(Objective, Value)> {
        let own = self.gaussian()?;
        let posterior = self.posterior(graph, encoded)?;
        let scope = graph.set_scope("latent");
        let code = drawn(graph, posterior, noise)?;
        graph.set_scope(scope);
        let decoded = self.decode(graph, code)?;
        let reconstruction = self.loss(graph, decoded, target)?;
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let each = divergences(graph, posterior)?;
        let divergence = graph.sum(each, &[0, 1])?;
        let counted = match graph.training() {
            Some(_) if own.free_bits > 0.0 => {
                let numbers = graph.sum(each, &[0])?;
                let numbers = graph.with_number(Binary::Maximum, numbers, own.free_bits)?;
                graph.sum(numbers, &[0])?
            }
            _ => divergence,
        };
        let weighted = match own.warmup {
            0 if own.beta == 1.0 => counted,
            0 => graph.scale(counted, own.beta)?,
            _ => {
                let weight = self.weight(graph, own)?;
                graph.multiply(counted, weight)?
            }
        };
        let loss = graph.add(reconstruction, weighted)?;
        graph.set_scope(scope);
        let parts = vec![(RECONSTRUCTION, reconstruction), (DIVERGENCE, divergence)];
        Ok((Objective { loss, code: posterior.mean, decoded: None, parts }, code))
    }

    /// The divergence's weight in this step of training, which is counted; in full where the graph is not one of training.
    fn weight(&self, graph: &mut Context, own: Gaussian) -> Result<Value> {
        if graph.training().is_none() {
            return graph.constant(own.beta, []);
        }
        let steps = graph.parameter(STEPS, [])?;
        let mut next = graph.with_number(Binary::Add, steps, 1.0)?;
        // Beyond either end the count would only lose its last digits some day.
        if own.cycle > 0 {
            let end = graph.constant(own.cycle as f64, [])?;
            let goes_on = graph.binary(Binary::Less, next, end)?;
            next = graph.multiply(next, goes_on)?;
        } else {
            next = graph.with_number(Binary::Minimum, next, own.warmup as f64)?;
        }
        graph.assign(steps, next)?;
        let steps = graph.detach(steps);
        let part = graph.scale(steps, own.beta / own.warmup as f64)?;
        graph.with_number(Binary::Minimum, part, own.beta)
    }

    /// A loss with a batch's discrepancy, times its weight, and the discrepancy.
    fn with_discrepancy(
        &self,
        graph: &mut Graph,
        loss: Value,
        code: Value,
        state: Value,
        weight: f64,
        kernel: MmdKernel,
    ) -> Result<(Value, Value)> {
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let shape = graph.shape(code).clone();
        let rows = [shape[0], shape.elements() / shape[0]];
        let codes = graph.reshape(code, rows)?;
        let draws = graph.random_normal(state, rows)?;
        let size = rows[1] as f64;
        let discrepancy = loss::maximum_mean_discrepancy(graph, codes, draws, &|graph, distances| match kernel {
            MmdKernel::Multiquadratic => multiquadratic(graph, distances, size),
            MmdKernel::Gaussian => {
                let scaled = graph.scale(distances, -0.5 / size)?;
                graph.unary(Unary::Exp, scaled)
            }
        })?;
        let weighted = graph.scale(discrepancy, weight)?;
        let sum = graph.add(loss, weighted)?;
        graph.set_scope(scope);
        Ok((sum, discrepancy))
    }

    /// The mean code, and the importance-weighted bound.
    fn bound(&self, graph: &mut Context, encoded: Value, target: Value, noise: Value) -> Result<(Value, Value)> {
        let posterior = self.posterior(graph, encoded)?;
        let mean_code = posterior.mean;
        let [batch, samples, size] = graph.shape(noise)[..] else {
            let problem = format!("noise is {}, not [n, samples, size]", graph.shape(noise));
            return Err(Error::invalid("latent", problem, "draw it by Network::noise"));
        };
        let scope = graph.set_scope("latent");
        let mut repeated = |x: Value| {
            let x = graph.reshape(x, [batch, 1, size])?;
            graph.broadcast(x, [batch, samples, size])
        };
        let posterior = Posterior { mean: repeated(posterior.mean)?, log_variance: repeated(posterior.log_variance)? };
        let code = drawn(graph, posterior, noise)?;
        // ln p(z) - ln q(z | x), in which the constants cancel: the sum of (noise² - z² + l) / 2.
        let [prior, own] = [graph.unary(Unary::Square, code)?, graph.unary(Unary::Square, noise)?];
        let ratio = graph.subtract(own, prior)?;
        let ratio = graph.add(ratio, posterior.log_variance)?;
        let ratio = graph.scale(ratio, 0.5)?;
        let ratio = graph.sum(ratio, &[2])?;
        graph.set_scope(scope);
        let wanted: Shape = [batch, 1].into_iter().chain(self.spec().input.iter().copied()).collect();
        let all: Shape = [batch, samples].into_iter().chain(self.spec().input.iter().copied()).collect();
        let target = graph.reshape(target, wanted)?;
        let target = graph.broadcast(target, all)?;
        let target = graph.reshape(target, self.input_shape(batch * samples))?;
        // Layers that are taught step by step see it as often as there are codes.
        graph.set_target(target);
        let rows = graph.reshape(code, [batch * samples, size])?;
        let decoded = self.decode(graph, rows)?;
        let Some(likelihood) = self.spec().loss.likelihood() else {
            let problem = format!("{} is no likelihood", self.spec().loss);
            return Err(Error::invalid("loss", problem, "use \"bernoulli\", say"));
        };
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let unlikelihood = self.likelihood(graph, likelihood, decoded, target)?;
        let unlikelihood = graph.reshape(unlikelihood, [batch, samples])?;
        let weights = graph.subtract(ratio, unlikelihood)?;
        // The logarithm of the mean weight, from the largest one on.
        let largest = graph.max(weights, &[1])?;
        let largest = graph.detach(largest);
        let spread = graph.reshape(largest, [batch, 1])?;
        let below = graph.subtract(weights, spread)?;
        let power = graph.unary(Unary::Exp, below)?;
        let mean = graph.mean(power, &[1])?;
        let logarithm = graph.unary(Unary::Ln, mean)?;
        let bound = graph.add(logarithm, largest)?;
        let bound = graph.mean_all(bound)?;
        let bound = graph.unary(Unary::Negate, bound)?;
        graph.set_scope(scope);
        Ok((mean_code, bound))
    }

    /// The negative logarithm of each sample's probability, `[n]`.
    pub(super) fn likelihood(
        &self,
        graph: &mut Graph,
        kind: &LossKind,
        decoded: Decoded,
        target: Value,
    ) -> Result<Value> {
        match (kind, decoded.logits) {
            (LossKind::Bernoulli, Some(logits)) => loss::bernoulli(graph, logits, target),
            (LossKind::ContinuousBernoulli, Some(logits)) => loss::continuous_bernoulli(graph, logits, target),
            (LossKind::Gaussian, _) => {
                let log_variance = graph.parameter(super::config::LOG_VARIANCE, [])?;
                let log_variance = bounded(graph, log_variance)?;
                loss::gaussian_likelihood(graph, decoded.output, target, log_variance)
            }
            (LossKind::Multinomial, _) => loss::multinomial(graph, decoded.output, target),
            (kind, _) => {
                let problem = format!("\"{}\" needs a decoder that ends in \"sigmoid\"", kind.name());
                Err(Error::invalid("loss", problem, "end the decoder with \"sigmoid\", or use another loss"))
            }
        }
    }
}

/// The logarithm of a variance within [`LOG_VARIANCES`]. Beyond them its derivative is that at the bound, which leads it back.
fn bounded(graph: &mut Graph, log_variance: Value) -> Result<Value> {
    let [least, most] = LOG_VARIANCES;
    let above = graph.with_number(Binary::Maximum, log_variance, least)?;
    let within = graph.with_number(Binary::Minimum, above, most)?;
    graph.straight_through(within, log_variance)
}

/// Codes from noise: mean + e^(l / 2) noise.
fn drawn(graph: &mut Graph, posterior: Posterior, noise: Value) -> Result<Value> {
    let half = graph.scale(posterior.log_variance, 0.5)?;
    let deviation = graph.unary(Unary::Exp, half)?;
    let shift = graph.multiply(deviation, noise)?;
    graph.add(posterior.mean, shift)
}

/// The divergence from the standard normal of each number of a batch's codes, by the number of samples: together nats per sample.
fn divergences(graph: &mut Graph, posterior: Posterior) -> Result<Value> {
    let batch = graph.shape(posterior.mean)[0];
    // (m² + e^l - l - 1) / 2
    let square = graph.unary(Unary::Square, posterior.mean)?;
    let variance = graph.unary(Unary::Exp, posterior.log_variance)?;
    let terms = graph.add(square, variance)?;
    let terms = graph.subtract(terms, posterior.log_variance)?;
    let terms = graph.with_number(Binary::Subtract, terms, 1.0)?;
    graph.scale(terms, 0.5 / batch as f64)
}

/// The sum of c / (c + d²) over seven scales c: those of the published code, twice the code's size (for a prior of variance
/// 1) times 0.1, 0.2, 0.5, 1, 2, 5 and 10.
fn multiquadratic(graph: &mut Graph, distances: Value, size: f64) -> Result<Value> {
    let mut sum: Option<Value> = None;
    for scale in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        let constant = 2.0 * size * scale;
        let below = graph.with_number(Binary::Add, distances, constant)?;
        let inverse = graph.unary(Unary::Reciprocal, below)?;
        let part = graph.scale(inverse, constant)?;
        sum = Some(match sum {
            Some(sum) => graph.add(sum, part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| Error::invalid("latent", "it has no scales", "report this as a bug in pinhole"))
}
