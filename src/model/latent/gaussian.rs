//! The gaussian latent of variational autoencoders, and their bounds on the evidence.

use super::super::loss::{LossSpec, bounded};
use super::rules::{Encoded, Facts, Latent, Model, Objective, RECONSTRUCTION, STEPS, state};
use super::wasserstein::{MmdKernel, Wasserstein};
use crate::error::{Error, Result};
use crate::graph::{Binary, Scope, Unary, Value};
use crate::nn::{Context, Initial, Layer, Linear, Parameter, Placed, place};
use crate::schema::{Key, keys};
use crate::shape::Shape;

/// The Kullback-Leibler divergence of the posterior from the standard normal, in nats per sample.
pub const DIVERGENCE: &str = "divergence";

/// The posterior of a variational autoencoder: Kingma and Welling, arXiv 1312.6114. Its mean and log-variance are
/// linear functions of the encoder's flattened output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    /// Size of a code.
    pub size: usize,
    /// Weight of the divergence from the standard normal: Higgins et al., ICLR 2017.
    pub beta: f64,
    /// Steps in which the weight rises from 0 to `beta`: Bowman et al., arXiv 1511.06349.
    pub warmup: usize,
    /// Steps after which the weight restarts from 0; 0 for never: Fu et al., arXiv 1903.10145.
    pub cycle: usize,
    /// Free bits: least divergence of an element in training, in nats: Kingma et al., arXiv 1606.04934.
    pub free_bits: f64,
    /// Codes drawn per sample; from 2 on, training uses importance weighting: Burda et al., arXiv 1509.00519.
    pub samples: usize,
    /// Weight of the maximum mean discrepancy of a batch's codes from the standard normal: InfoVAE, Zhao et al., arXiv
    /// 1706.02262.
    pub mmd: f64,
}

impl Default for Gaussian {
    fn default() -> Gaussian {
        Gaussian { size: 16, beta: 1.0, warmup: 0, cycle: 0, free_bits: 0.0, samples: 1, mmd: 0.0 }
    }
}

/// Mean and log-variance of each sample's posterior, `[n, size]`.
#[derive(Clone, Copy, Debug)]
struct Posterior {
    mean: Value,
    log_variance: Value,
}

impl Latent for Gaussian {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            size: Count.replaces_table(),
            beta: NotNegative,
            warmup: Whole,
            cycle: Whole,
            free_bits: NotNegative,
            samples: Count,
            mmd: NotNegative,
        ]
    }

    fn facts(&self) -> Facts {
        let weights = &["beta", "samples", "mmd"];
        let (warmup, divergence) = (self.warmup, self.beta);
        Facts { drawn: true, prior: true, replaces_output: true, warmup, divergence, weights, ..Facts::default() }
    }

    fn resize(&mut self, size: usize) -> bool {
        self.size = size;
        true
    }

    fn validate(&self) -> Result<()> {
        let refuse =
            |key: &str, problem: &str, help: &str| Err(Error::invalid(format!("latent.gaussian.{key}"), problem, help));
        if self.cycle > 0 && self.warmup > self.cycle {
            let problem = format!("a cycle of {} steps ends before its warm-up of {}", self.cycle, self.warmup);
            return refuse("cycle", &problem, "use a longer cycle or a shorter warmup");
        }
        if self.cycle > 0 && self.warmup == 0 {
            return refuse("cycle", "without a warmup every cycle is like the last", "give a warmup, or leave it out");
        }
        let weighted = self.beta != 1.0 || self.warmup > 0 || self.free_bits > 0.0 || self.mmd > 0.0;
        if self.samples > 1 && weighted {
            let problem = "the importance-weighted bound of several samples has no beta, warmup, free_bits or mmd";
            return refuse("samples", problem, "use samples = 1, or leave the others out");
        }
        Ok(())
    }

    fn place(&self, encoded: &Shape) -> Result<(Vec<Placed>, Shape)> {
        let flat = [encoded.elements()].into();
        let mut heads = Vec::new();
        for name in ["latent.mean", "latent.log_variance"] {
            let mut placed = place(name, &[Layer::Linear(Linear::new(self.size))], &flat)?;
            for layer in &mut placed {
                // The list has one layer, so its name needs no index.
                layer.name = name.to_owned();
                for parameter in &mut layer.parameters {
                    parameter.name = parameter.name.replacen(&format!("{name}.0"), name, 1);
                }
            }
            heads.extend(placed);
        }
        Ok((heads, [self.size].into()))
    }

    fn suits_loss(&self, loss: &LossSpec) -> Result<()> {
        if self.samples > 1 && loss.likelihood().is_none() {
            let problem = format!("the importance-weighted bound needs a likelihood, the loss is {loss}");
            return Err(Error::invalid("latent.gaussian.samples", problem, "use loss = \"bernoulli\", say"));
        }
        Ok(())
    }

    fn parameters(&self, _encoder: &[Placed], _code: &Shape) -> Vec<Parameter> {
        let counts = self.warmup > 0;
        counts.then(|| state(STEPS, [], Initial::Constant(0.0))).into_iter().collect()
    }

    fn code(&self, model: &dyn Model, context: &mut Context, encoded: Value) -> Result<Value> {
        head(model, context, encoded, 0)
    }

    fn objective(&self, context: &mut Context, batch: Encoded, state: Value) -> Result<Objective> {
        let count = context.shape(batch.output)[0];
        let noise = self.noise(context, state, count, self.samples)?;
        if self.samples > 1 {
            return self.bound(context, batch, noise);
        }
        let noise = context.reshape(noise, [count, self.size])?;
        let (mut objective, drawn) = self.variational(context, batch, noise)?;
        if self.mmd > 0.0 {
            let discrepancy = Wasserstein { mmd: self.mmd, kernel: MmdKernel::Gaussian };
            discrepancy.add_discrepancy(context, &mut objective, drawn, state)?;
        }
        Ok(objective)
    }
}

impl Gaussian {
    /// Standard normal noise for codes of a batch's samples, `[batch, samples, size]`.
    pub(crate) fn noise(&self, context: &mut Context, state: Value, batch: usize, samples: usize) -> Result<Value> {
        let scope = context.set_scope("latent");
        let noise = context.random_normal(state, [batch, samples, self.size]);
        context.set_scope(scope);
        noise
    }

    /// Negative evidence lower bound, and the codes that it was computed from.
    pub(crate) fn variational(
        &self,
        context: &mut Context,
        batch: Encoded,
        noise: Value,
    ) -> Result<(Objective, Value)> {
        let posterior = posterior(context, batch)?;
        let scope = context.set_scope("latent");
        let code = drawn(context, posterior, noise)?;
        context.set_scope(scope);
        let mut objective = batch.reconstruct(context, code)?;
        objective.parts.push((RECONSTRUCTION, objective.loss));
        let scope = context.set_scope(Scope::full_precision("loss"));
        let each = divergences(context, posterior)?;
        let divergence = context.sum(each, &[0, 1])?;
        let counted = match context.training() {
            Some(_) if self.free_bits > 0.0 => {
                let numbers = context.sum(each, &[0])?;
                let numbers = context.with_number(Binary::Maximum, numbers, self.free_bits)?;
                context.sum(numbers, &[0])?
            }
            _ => divergence,
        };
        let weighted = match self.warmup {
            0 if self.beta == 1.0 => counted,
            0 => context.scale(counted, self.beta)?,
            _ => {
                let weight = self.weight(context)?;
                context.multiply(counted, weight)?
            }
        };
        objective.loss = context.add(objective.loss, weighted)?;
        context.set_scope(scope);
        objective.parts.push((DIVERGENCE, divergence));
        Ok((Objective { code: posterior.mean, decoded: None, ..objective }, code))
    }

    /// Weight of the divergence in this training step, which is counted; `beta` outside training.
    fn weight(&self, context: &mut Context) -> Result<Value> {
        if context.training().is_none() {
            return context.constant(self.beta, []);
        }
        let steps = context.parameter(STEPS, [])?;
        let mut next = context.with_number(Binary::Add, steps, 1.0)?;
        // Wraps or caps the count, which would lose digits as a float.
        if self.cycle > 0 {
            let end = context.constant(self.cycle as f64, [])?;
            let goes_on = context.binary(Binary::Less, next, end)?;
            next = context.multiply(next, goes_on)?;
        } else {
            next = context.with_number(Binary::Minimum, next, self.warmup as f64)?;
        }
        context.assign(steps, next)?;
        let steps = context.detach(steps);
        let part = context.scale(steps, self.beta / self.warmup as f64)?;
        context.with_number(Binary::Minimum, part, self.beta)
    }

    /// Importance-weighted bound, with noise `[n, samples, size]`.
    pub(crate) fn bound(&self, context: &mut Context, encoded: Encoded, noise: Value) -> Result<Objective> {
        let posterior = posterior(context, encoded)?;
        let mean_code = posterior.mean;
        let model = encoded.model;
        let [batch, samples, size] = context.shape(noise)[..] else {
            let problem = format!("noise is {}, not [n, samples, size]", context.shape(noise));
            return Err(Error::invalid("latent", problem, "draw it by Network::noise"));
        };
        let scope = context.set_scope("latent");
        let mut repeated = |x: Value| {
            let x = context.reshape(x, [batch, 1, size])?;
            context.broadcast(x, [batch, samples, size])
        };
        let posterior = Posterior { mean: repeated(posterior.mean)?, log_variance: repeated(posterior.log_variance)? };
        let code = drawn(context, posterior, noise)?;
        // ln p(z) - ln q(z | x), in which the constants cancel: the sum of (noise² - z² + l) / 2.
        let [prior, own] = [context.unary(Unary::Square, code)?, context.unary(Unary::Square, noise)?];
        let ratio = context.subtract(own, prior)?;
        let ratio = context.add(ratio, posterior.log_variance)?;
        let ratio = context.scale(ratio, 0.5)?;
        let ratio = context.sum(ratio, &[2])?;
        context.set_scope(scope);
        let input = &model.input_shape(1)[1..];
        let wanted: Shape = [batch, 1].into_iter().chain(input.iter().copied()).collect();
        let all: Shape = [batch, samples].into_iter().chain(input.iter().copied()).collect();
        let target = context.reshape(encoded.target, wanted)?;
        let target = context.broadcast(target, all)?;
        let target = context.reshape(target, model.input_shape(batch * samples))?;
        // Layers with teacher forcing see the target once per code.
        context.set_target(target);
        let rows = context.reshape(code, [batch * samples, size])?;
        let decoded = model.decode(context, rows)?;
        let scope = context.set_scope(Scope::full_precision("loss"));
        let unlikelihood = model.likelihood(context, decoded, target)?;
        let unlikelihood = context.reshape(unlikelihood, [batch, samples])?;
        let weights = context.subtract(ratio, unlikelihood)?;
        // Logarithm of the mean weight, computed stably from the largest weight.
        let largest = context.max(weights, &[1])?;
        let largest = context.detach(largest);
        let spread = context.reshape(largest, [batch, 1])?;
        let below = context.subtract(weights, spread)?;
        let power = context.unary(Unary::Exp, below)?;
        let mean = context.mean(power, &[1])?;
        let logarithm = context.unary(Unary::Ln, mean)?;
        let bound = context.add(logarithm, largest)?;
        let bound = context.mean_all(bound)?;
        let bound = context.unary(Unary::Negate, bound)?;
        context.set_scope(scope);
        Ok(Objective { loss: bound, code: mean_code, decoded: None, parts: vec![] })
    }
}

fn head(model: &dyn Model, context: &mut Context, encoded: Value, index: usize) -> Result<Value> {
    let shape = context.shape(encoded).clone();
    let flat = context.reshape(encoded, [shape[0], shape.elements() / shape[0]])?;
    let head = model.resolved().heads.get(index);
    head.ok_or_else(|| Error::invalid("latent", "it has no such layer", "report this as a bug in pinhole"))?
        .apply(context, flat)
}

fn posterior(context: &mut Context, batch: Encoded) -> Result<Posterior> {
    let mean = head(batch.model, context, batch.output, 0)?;
    let log_variance = head(batch.model, context, batch.output, 1)?;
    Ok(Posterior { mean, log_variance: bounded(context, log_variance)? })
}

/// Draws codes by reparameterisation: mean + e^(l / 2) noise.
fn drawn(context: &mut Context, posterior: Posterior, noise: Value) -> Result<Value> {
    let half = context.scale(posterior.log_variance, 0.5)?;
    let deviation = context.unary(Unary::Exp, half)?;
    let shift = context.multiply(deviation, noise)?;
    context.add(posterior.mean, shift)
}

/// Divergence of each code element from the standard normal, over the number of samples: their sum is nats per sample.
fn divergences(context: &mut Context, posterior: Posterior) -> Result<Value> {
    let batch = context.shape(posterior.mean)[0];
    // (m² + e^l - l - 1) / 2
    let square = context.unary(Unary::Square, posterior.mean)?;
    let variance = context.unary(Unary::Exp, posterior.log_variance)?;
    let terms = context.add(square, variance)?;
    let terms = context.subtract(terms, posterior.log_variance)?;
    let terms = context.with_number(Binary::Subtract, terms, 1.0)?;
    context.scale(terms, 0.5 / batch as f64)
}
