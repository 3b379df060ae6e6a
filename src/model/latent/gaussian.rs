//! The gaussian latent of variational autoencoders, and their bounds on the evidence.

use super::super::loss::{LossSpec, bounded};
use super::rules::{Facts, Latent, Model, Objective, RECONSTRUCTION, STEPS, state};
use super::wasserstein::{DISCREPANCY, MmdKernel, with_discrepancy};
use crate::error::{Error, Result};
use crate::graph::{Binary, Scope, Unary, Value};
use crate::nn::{Context, Initial, Layer, Linear, Parameter, Placed, place};
use crate::schema::{Key, Setting};
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
        vec![
            Key::short("size", Setting::Count(&mut self.size)),
            Key::optional("beta", Setting::NotNegative(&mut self.beta)),
            Key::optional("warmup", Setting::Whole(&mut self.warmup)),
            Key::optional("cycle", Setting::Whole(&mut self.cycle)),
            Key::optional("free_bits", Setting::NotNegative(&mut self.free_bits)),
            Key::optional("samples", Setting::Count(&mut self.samples)),
            Key::optional("mmd", Setting::NotNegative(&mut self.mmd)),
        ]
    }

    fn facts(&self) -> Facts {
        let weights = &["beta", "samples", "mmd"];
        Facts { drawn: true, prior: true, replaces_output: true, weights, ..Facts::default() }
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

    fn code(&self, model: &dyn Model, graph: &mut Context, encoded: Value) -> Result<Value> {
        head(model, graph, encoded, 0)
    }

    fn objective(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        state: Value,
    ) -> Result<Objective> {
        let batch = graph.shape(encoded)[0];
        let noise = self.noise(graph, state, batch, self.samples)?;
        if self.samples > 1 {
            let (code, loss) = self.bound(model, graph, encoded, target, noise)?;
            return Ok(Objective { loss, code, decoded: None, parts: vec![] });
        }
        let noise = graph.reshape(noise, [batch, self.size])?;
        let (mut objective, drawn) = self.variational(model, graph, encoded, target, noise)?;
        if self.mmd > 0.0 {
            let kernel = MmdKernel::Gaussian;
            let (loss, discrepancy) = with_discrepancy(graph, objective.loss, drawn, state, self.mmd, kernel)?;
            objective.loss = loss;
            objective.parts.push((DISCREPANCY, discrepancy));
        }
        Ok(objective)
    }
}

impl Gaussian {
    /// Standard normal noise for codes of a batch's samples, `[batch, samples, size]`.
    pub(crate) fn noise(&self, graph: &mut Context, state: Value, batch: usize, samples: usize) -> Result<Value> {
        let scope = graph.set_scope("latent");
        let noise = graph.random_normal(state, [batch, samples, self.size]);
        graph.set_scope(scope);
        noise
    }

    /// Negative evidence lower bound, and the codes that it was computed from.
    pub(crate) fn variational(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        noise: Value,
    ) -> Result<(Objective, Value)> {
        let posterior = posterior(model, graph, encoded)?;
        let scope = graph.set_scope("latent");
        let code = drawn(graph, posterior, noise)?;
        graph.set_scope(scope);
        let decoded = model.decode(graph, code)?;
        let reconstruction = model.loss(graph, decoded, target)?;
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let each = divergences(graph, posterior)?;
        let divergence = graph.sum(each, &[0, 1])?;
        let counted = match graph.training() {
            Some(_) if self.free_bits > 0.0 => {
                let numbers = graph.sum(each, &[0])?;
                let numbers = graph.with_number(Binary::Maximum, numbers, self.free_bits)?;
                graph.sum(numbers, &[0])?
            }
            _ => divergence,
        };
        let weighted = match self.warmup {
            0 if self.beta == 1.0 => counted,
            0 => graph.scale(counted, self.beta)?,
            _ => {
                let weight = self.weight(graph)?;
                graph.multiply(counted, weight)?
            }
        };
        let loss = graph.add(reconstruction, weighted)?;
        graph.set_scope(scope);
        let parts = vec![(RECONSTRUCTION, reconstruction), (DIVERGENCE, divergence)];
        Ok((Objective { loss, code: posterior.mean, decoded: None, parts }, code))
    }

    /// Weight of the divergence in this training step, which is counted; `beta` outside training.
    fn weight(&self, graph: &mut Context) -> Result<Value> {
        if graph.training().is_none() {
            return graph.constant(self.beta, []);
        }
        let steps = graph.parameter(STEPS, [])?;
        let mut next = graph.with_number(Binary::Add, steps, 1.0)?;
        // Wraps or caps the count, which would lose digits as a float.
        if self.cycle > 0 {
            let end = graph.constant(self.cycle as f64, [])?;
            let goes_on = graph.binary(Binary::Less, next, end)?;
            next = graph.multiply(next, goes_on)?;
        } else {
            next = graph.with_number(Binary::Minimum, next, self.warmup as f64)?;
        }
        graph.assign(steps, next)?;
        let steps = graph.detach(steps);
        let part = graph.scale(steps, self.beta / self.warmup as f64)?;
        graph.with_number(Binary::Minimum, part, self.beta)
    }

    /// The mean code, and the importance-weighted bound.
    pub(crate) fn bound(
        &self,
        model: &dyn Model,
        graph: &mut Context,
        encoded: Value,
        target: Value,
        noise: Value,
    ) -> Result<(Value, Value)> {
        let posterior = posterior(model, graph, encoded)?;
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
        let input = &model.input_shape(1)[1..];
        let wanted: Shape = [batch, 1].into_iter().chain(input.iter().copied()).collect();
        let all: Shape = [batch, samples].into_iter().chain(input.iter().copied()).collect();
        let target = graph.reshape(target, wanted)?;
        let target = graph.broadcast(target, all)?;
        let target = graph.reshape(target, model.input_shape(batch * samples))?;
        // Layers with teacher forcing see the target once per code.
        graph.set_target(target);
        let rows = graph.reshape(code, [batch * samples, size])?;
        let decoded = model.decode(graph, rows)?;
        let scope = graph.set_scope(Scope::full_precision("loss"));
        let unlikelihood = model.likelihood(graph, decoded, target)?;
        let unlikelihood = graph.reshape(unlikelihood, [batch, samples])?;
        let weights = graph.subtract(ratio, unlikelihood)?;
        // Logarithm of the mean weight, computed stably from the largest weight.
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
}

fn head(model: &dyn Model, graph: &mut Context, encoded: Value, index: usize) -> Result<Value> {
    let shape = graph.shape(encoded).clone();
    let flat = graph.reshape(encoded, [shape[0], shape.elements() / shape[0]])?;
    let head = model.resolved().heads.get(index);
    head.ok_or_else(|| Error::invalid("latent", "it has no such layer", "report this as a bug in pinhole"))?
        .apply(graph, flat)
}

fn posterior(model: &dyn Model, graph: &mut Context, encoded: Value) -> Result<Posterior> {
    let mean = head(model, graph, encoded, 0)?;
    let log_variance = head(model, graph, encoded, 1)?;
    Ok(Posterior { mean, log_variance: bounded(graph, log_variance)? })
}

/// Draws codes by reparameterisation: mean + e^(l / 2) noise.
fn drawn(graph: &mut Context, posterior: Posterior, noise: Value) -> Result<Value> {
    let half = graph.scale(posterior.log_variance, 0.5)?;
    let deviation = graph.unary(Unary::Exp, half)?;
    let shift = graph.multiply(deviation, noise)?;
    graph.add(posterior.mean, shift)
}

/// Divergence of each code element from the standard normal, over the number of samples: their sum is nats per sample.
fn divergences(graph: &mut Context, posterior: Posterior) -> Result<Value> {
    let batch = graph.shape(posterior.mean)[0];
    // (m² + e^l - l - 1) / 2
    let square = graph.unary(Unary::Square, posterior.mean)?;
    let variance = graph.unary(Unary::Exp, posterior.log_variance)?;
    let terms = graph.add(square, variance)?;
    let terms = graph.subtract(terms, posterior.log_variance)?;
    let terms = graph.with_number(Binary::Subtract, terms, 1.0)?;
    graph.scale(terms, 0.5 / batch as f64)
}
