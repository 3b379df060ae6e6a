//! Warnings about training: found from the settings before the first step, or from the loss and some samples after the
//! last one.

use super::feed::{Feed, Pass};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::Result;
use crate::graph::{Graph, Reduction, Unary, Value};
use crate::model::config::ModelSpec;
use crate::model::latent::Facts;
use crate::model::{LossScale, Network};
use crate::nn::{Axes, Context};
use crate::plan::{Plan, Request, State};
use crate::shape::channel_axis;
use crate::tensor::Values;
use std::fmt;

/// The largest excess weight of the divergence over a mean loss that gives no warning: published values of beta end at
/// about 10.
const LARGEST_BETA: f64 = 10.0;

/// The variance over the data of a code number's mean above which it is active: Burda et al., arXiv 1509.00519.
pub(crate) const ACTIVE: f64 = 0.01;

/// The smallest relative decrease that counts as a fall of the loss.
const LEAST_FALL: f64 = 1e-3;

/// The smallest fraction of dead units that gives a warning. Where pictures have empty borders, many units of a layer
/// without channels are rightly zero.
const DEAD: f64 = 0.9;

/// Most samples inspected after training.
const SAMPLES: usize = 1024;
/// Samples computed at a time.
const BATCH: usize = 128;
/// Floating-point operations to spend on inspecting samples, if that allows [`FEWEST`].
const OPERATIONS: u64 = 10_000_000_000;
/// Fewest samples that can show whether a unit is dead.
const FEWEST: usize = 32;
/// Most operations for inspecting samples: a model that needs more is not inspected.
const MOST_OPERATIONS: u64 = 500_000_000_000;

/// A problem that does not stop training, found before or after it. It formats as a line without a full stop, which the
/// program prints after `warning:`.
///
/// ```
/// use pinhole::train::{Observer, Warning};
/// use pinhole::{Autoencoder, Device, data, model::ModelSpec};
///
/// struct Watcher(Vec<String>);
///
/// impl Observer for Watcher {
///     fn warning(&mut self, warning: &Warning) {
///         self.0.push(warning.to_string());
///     }
/// }
///
/// let mut spec = ModelSpec::resolve("dense")?;
/// (spec.train.epochs, spec.train.warmup) = (1, 1000);
/// let mut watcher = Watcher(vec![]);
/// Autoencoder::new(spec, Device::Cpu)?.fit(&data::digits(512, 1), None, &mut watcher)?;
/// assert!(watcher.0[0].starts_with("train.warmup: "));
/// # Ok::<(), pinhole::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Few or none of a gaussian code's numbers depend on the sample.
    PosteriorCollapse {
        /// Numbers whose posterior mean has a variance above 0.01 over the samples.
        active: usize,
        /// All numbers of a code.
        size: usize,
    },
    /// Nine of ten units of an activation, or more, are zero for every sample.
    DeadUnits {
        /// The layer, such as `encoder.1`.
        layer: String,
        /// Its kind, such as `"relu"`.
        kind: String,
        /// Units that are zero: channels, or features where samples have a single axis.
        dead: usize,
        /// All units of the layer.
        units: usize,
    },
    /// A warm-up is longer than the training.
    LongWarmup {
        /// The key in the model file, such as `train.warmup`.
        key: String,
        /// The length of the warm-up.
        warmup: u64,
        /// The length of the training.
        training: u64,
        /// The unit of both lengths: `steps` or `updates`.
        unit: &'static str,
    },
    /// The loss of the last epoch is not below that of the first.
    NoProgress {
        /// The mean loss of the first epoch.
        first: f64,
        /// The mean loss of the last epoch.
        last: f64,
        /// The number of epochs.
        epochs: u64,
    },
    /// Training is too short for the decay of the weights' average to reach `train.ema`.
    ShortAverage {
        /// `train.ema`.
        decay: f64,
        /// The decay of the last update.
        reached: f64,
        /// The updates of the training.
        updates: u64,
    },
    /// The loss is a mean over all elements, but the divergence a sum over the code.
    MeanBesideSum {
        /// The loss, such as `"mse"`.
        loss: String,
        /// The likelihood to use instead, such as `"gaussian"`.
        likelihood: &'static str,
        /// The weight of the divergence relative to the loss of a whole sample.
        factor: f64,
        /// The beta at which the divergence has weight one.
        beta: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Warning::PosteriorCollapse { active, size } => write!(
                f,
                "latent.gaussian: the posterior has collapsed: {active} of the {size} numbers of a code depend on the sample \
                 (a variance of the mean above {ACTIVE}); use a smaller beta, a warmup or free_bits"
            ),
            Warning::DeadUnits { layer, kind, dead, units } => write!(
                f,
                "{layer}: {dead} of the {units} units of this {kind} are zero for every sample and learn nothing; use a smaller \
                 lr, or \"leaky_relu\""
            ),
            Warning::LongWarmup { key, warmup, training, unit } => write!(
                f,
                "{key}: the warm-up of {warmup} {unit} does not end within this training of {training}; use a shorter one, or \
                 train longer"
            ),
            Warning::NoProgress { first, last, epochs } => write!(
                f,
                "the loss has not fallen: {first:.6} in the first epoch, {last:.6} in epoch {epochs}; try another lr, and look at \
                 the data's range"
            ),
            Warning::ShortAverage { decay, reached, updates } => write!(
                f,
                "train.ema: the average's decay rises to {reached:.3} and not to {decay}, since there are only {updates} updates; \
                 train for longer, or set a smaller one"
            ),
            Warning::MeanBesideSum { loss, likelihood, factor, beta } => write!(
                f,
                "loss: {loss} is a mean over a sample's numbers and the divergence a sum, which therefore counts {factor:.0} \
                 times; use \"{likelihood}\", or beta = {beta:.1e}"
            ),
        }
    }
}

/// Finds warnings in the settings of a training of `steps` steps, before it begins.
pub(super) fn foreseen(spec: &ModelSpec, steps: u64) -> Vec<Warning> {
    let mut found = Vec::new();
    let updates = steps.div_ceil(spec.train.accumulate.max(1) as u64);
    let warmup = spec.train.warmup as u64;
    if warmup > updates {
        found.push(Warning::LongWarmup { key: "train.warmup".to_owned(), warmup, training: updates, unit: "updates" });
    }
    if let (Some(decay), Some(reached)) = (spec.train.ema, spec.train.unreached_decay(updates)) {
        found.push(Warning::ShortAverage { decay, reached, updates });
    }
    let Facts { warmup, divergence, .. } = spec.latent.facts();
    if warmup as u64 > steps {
        let key = format!("latent.{}.warmup", spec.latent.name());
        found.push(Warning::LongWarmup { key, warmup: warmup as u64, training: steps, unit: "steps" });
    }
    found.extend(mean_beside_sum(spec, divergence));
    found
}

fn mean_beside_sum(spec: &ModelSpec, divergence: f64) -> Option<Warning> {
    let mut weight = 0.0;
    let mut likelihood = "gaussian";
    for (kind, factor) in &spec.loss.terms {
        match kind.scale() {
            LossScale::Element => weight += factor,
            LossScale::Sample => {}
            LossScale::Likelihood | LossScale::Other => return None,
        }
        if kind.is_of_logits() {
            likelihood = "bernoulli";
        }
    }
    let factor = divergence * spec.input.elements() as f64 / weight;
    let warned = weight > 0.0 && factor > LARGEST_BETA;
    warned.then(|| Warning::MeanBesideSum {
        loss: spec.loss.to_string(),
        likelihood,
        factor,
        beta: weight / spec.input.elements() as f64,
    })
}

/// Finds warnings in the losses of the first and of the last epoch. Losses whose terms change weight, or that include
/// an adversary's, may rise in a sound training.
pub(super) fn of_losses(spec: &ModelSpec, first: f64, last: f64, epochs: u64) -> Option<Warning> {
    let Facts { warmup, adversarial, .. } = spec.latent.facts();
    let changes = warmup > 0 || adversarial;
    let fallen = first - last > LEAST_FALL * first.abs();
    (epochs > 1 && !changes && !fallen).then_some(Warning::NoProgress { first, last, epochs })
}

/// Finds warnings in a trained model's outputs for the first samples of a data set, computed on the CPU.
pub(super) fn of_samples(network: &Network, parameters: &Values, data: &Dataset) -> Result<Vec<Warning>> {
    let activations = activations(network);
    let gaussian = network.spec().latent.is_drawn();
    let each = network.checked().layers().map(|layer| layer.flops).sum::<u64>().max(1);
    let fewest = FEWEST.min(data.len());
    let count = ((OPERATIONS / each) as usize).clamp(fewest, SAMPLES).min(data.len());
    let nothing = activations.is_empty() && !gaussian;
    if nothing || data.is_stream() || count < 2 || each.saturating_mul(count as u64) > MOST_OPERATIONS {
        return Ok(vec![]);
    }
    let batch = count.min(BATCH);
    let order: Vec<u32> = (0..(count / batch * batch) as u32).collect();
    let some = data.subset(&order);
    let mut feed = Feed::new(network.rows(&some)?, "inspected", batch, u64::MAX)?;
    let mut graph = Context::new();
    let (sample, _) = feed.read(&mut graph, batch)?;
    let code = network.encode(&mut graph, sample.input)?;
    if !activations.is_empty() {
        network.decode(&mut graph, code)?;
    }
    let mut outputs = vec![(code, "code".to_owned())];
    let mut layers = Vec::new();
    for (name, kind) in activations {
        if let Some(output) = graph.output_of(&name) {
            outputs.push((largest(&mut graph, output)?, name.clone()));
            layers.push((name, kind));
        }
    }
    let plan = Plan::build(Request {
        name: "inspection",
        graph: &graph,
        outputs: outputs.clone(),
        layout: network.layout(),
        training: None,
        metrics: None,
        target: Device::Cpu.target(),
    })?;
    let mut session = Device::Cpu.load(&[plan])?;
    session.write_parameters(parameters)?;
    let mut codes: Vec<f64> = Vec::new();
    let mut dead: Vec<Vec<bool>> = outputs[1..].iter().map(|(x, _)| vec![true; graph.shape(*x).elements()]).collect();
    std::thread::scope(|scope| -> Result<()> {
        feed.begin(&mut session, &mut Pass::new(scope, 0, order), 0, State::default())?;
        for _ in 0..some.len() / batch {
            session.run(0, 1)?;
            codes.extend(session.read("code")?.to_f64());
            for ((name, _), dead) in layers.iter().zip(&mut dead) {
                let values = session.read(name)?.to_f64();
                dead.iter_mut().zip(values).for_each(|(dead, largest)| *dead &= largest == 0.0);
            }
        }
        Ok(())
    })?;
    let mut found = Vec::new();
    if gaussian {
        let size = codes.len() / some.len();
        let active = (0..size).filter(|number| variance(codes.iter().skip(*number).step_by(size)) > ACTIVE);
        let active = active.count();
        if 10 * active <= size {
            found.push(Warning::PosteriorCollapse { active, size });
        }
    }
    for ((layer, kind), dead) in layers.into_iter().zip(dead) {
        let (units, dead) = (dead.len(), dead.into_iter().filter(|dead| *dead).count());
        if dead as f64 >= DEAD * units as f64 {
            found.push(Warning::DeadUnits { layer, kind, dead, units });
        }
    }
    Ok(found)
}

/// The names and kinds of the activations of a model, except the last layer, which is rightly zero where data is.
fn activations(network: &Network) -> Vec<(String, String)> {
    let last = network.checked().decoder.last().map(|layer| &layer.name);
    let layers = network.checked().layers().filter(|layer| Some(&layer.name) != last);
    let active = layers.filter(|layer| layer.layer.axes() == Axes::Elementwise);
    active.map(|layer| (layer.name.clone(), layer.layer.to_string())).collect()
}

/// The largest absolute value of each unit over a batch and all positions.
fn largest(graph: &mut Graph, output: Value) -> Result<Value> {
    let axes = graph.shape(output).len();
    let unit = 1 + channel_axis(axes - 1);
    let others: Vec<usize> = (0..axes).filter(|axis| *axis != unit).collect();
    let absolute = graph.unary(Unary::Absolute, output)?;
    graph.reduce(Reduction::Max, absolute, &others)
}

fn variance<'a>(values: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    values.map(|value| (value - mean).powi(2)).sum::<f64>() / count
}
