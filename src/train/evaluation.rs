//! Evaluation of a model on a data set.

use super::corrupt::corrupt;
use super::feed::{BatchPlans, Feed, FeedShape, Pass, resident_bytes};
use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::model::{Network, Sample};
use crate::nn::{Context, loss};
use crate::plan::{Metrics, Plan, Request, State, Target, buffers};
use crate::tensor::Values;
use std::collections::BTreeMap;

/// Metrics of a model on a data set: means over every element.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// The training loss.
    pub loss: f64,
    /// The mean squared error.
    pub mse: f64,
    /// The mean absolute error.
    pub mae: f64,
    /// The peak signal-to-noise ratio for a peak of 1, in decibels: -10 log10(mse).
    pub psnr: f64,
    /// The parts of the loss, if it has any: `reconstruction`, `divergence` (in nats per sample), `discrepancy`. Where
    /// the model removes a corruption or data is pairs, also `corrupted_mse`, the mean squared error of the encoder's
    /// input; where sequences have lengths, also `valid_steps`, the fraction of all steps that are within them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Number of samples.
    pub samples: usize,
}

/// The mean squared error of the encoder's input: of corrupted samples, or of the inputs of pairs.
const CORRUPTED: &str = "corrupted_mse";
/// The fraction of all steps that are valid, where samples have lengths.
const VALID: &str = "valid_steps";

/// Computes the loss and errors of a model on a data set.
pub fn evaluate(network: &Network, device: &Device, parameters: &Values, data: &Dataset) -> Result<Evaluation> {
    let batch = network.spec().train.batch.min(data.len());
    let mut feed = Feed::new(network.rows(data)?, buffers::VALIDATION, batch, resident_bytes(device))?;
    let plans = feed.batches().into_iter().map(|batch| evaluation_plan(network, &feed, batch, device.target()));
    let (plans, names): (Vec<Plan>, Vec<Names>) = plans.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let mut session = device.load(&plans)?;
    session.write_parameters(parameters)?;
    let plans = feed.plans_from(0);
    measure(&mut session, &mut feed, plans, &names[0])
}

/// The names of an evaluation step's metrics, in the order of their values.
pub(super) type Names = Vec<&'static str>;

/// Builds the plan of an evaluation step on a batch of a feed.
pub(super) fn evaluation_plan(
    network: &Network,
    feed: &FeedShape,
    batch: usize,
    device: Target,
) -> Result<(Plan, Names)> {
    let mut graph = Context::new();
    let (sample, state) = feed.read(&mut graph, batch)?;
    let Sample { input, target } = corrupt(&mut graph, network, sample, state)?;
    let objective = network.objective(&mut graph, input, target, state)?;
    // Errors are measured on the deterministic output, as in inference.
    let decoded = match objective.decoded {
        Some(decoded) => decoded,
        None => network.decode(&mut graph, objective.code)?,
    };
    let mut metrics = vec![("loss", objective.loss)];
    let wanted = graph.reshape(target, network.input_shape(batch))?;
    metrics.push(("mse", loss::mse(&mut graph, decoded.output, wanted)?));
    metrics.push(("mae", loss::mae(&mut graph, decoded.output, wanted)?));
    metrics.extend(objective.parts);
    if input != target {
        metrics.push((CORRUPTED, loss::mse(&mut graph, input, target)?));
    }
    if let Some(part) = graph.valid_part()? {
        metrics.push((VALID, part));
    }
    let (names, metrics): (Names, Vec<Value>) = metrics.into_iter().unzip();
    let metrics: Vec<Value> = metrics.iter().map(|metric| graph.reshape(*metric, [1])).collect::<Result<_>>()?;
    let values = graph.concat(&metrics, 0)?;
    let metrics = metrics_of(batch, state, values);
    let plan = metrics_plan(network, &graph, &format!("evaluate {batch}"), metrics, device)?;
    Ok((plan, names))
}

/// Estimates the negative log-likelihood of a data set under a variational model, in nats per sample: the
/// importance-weighted upper bound of `samples` codes per sample (Burda et al., arXiv 1509.00519), tighter the more
/// codes are drawn. Fails where the latent is not gaussian, or the loss is not a likelihood.
pub fn negative_log_likelihood(
    network: &Network,
    device: &Device,
    parameters: &Values,
    data: &Dataset,
    samples: usize,
) -> Result<f64> {
    if samples == 0 {
        return Err(Error::invalid("samples", "a bound takes at least one code for each sample", "use 200, say"));
    }
    let batch = DECODED_AT_ONCE / samples;
    mean_over(network, device, parameters, data, batch, "likelihood", |graph, x, state| {
        let Sample { input, target } = corrupt(graph, network, x, state)?;
        let batch = graph.shape(input)[0];
        let noise = network.noise(graph, state, batch, samples)?;
        network.importance_weighted_bound(graph, input, target, noise)
    })
}

/// Computes the mean over a data set of the squared Frobenius norm of the encoder's Jacobian, exactly: the objective of
/// the contractive penalty. Fails where a code has too many numbers.
pub fn jacobian_norm(network: &Network, device: &Device, parameters: &Values, data: &Dataset) -> Result<f64> {
    let batch = network.spec().train.batch;
    mean_over(network, device, parameters, data, batch, "jacobian", |graph, x, _| network.jacobian_norm(graph, x.input))
}

/// The mean over a data set of the scalar that `build` adds to the graph for each batch and its state.
fn mean_over(
    network: &Network,
    device: &Device,
    parameters: &Values,
    data: &Dataset,
    batch: usize,
    name: &str,
    build: impl Fn(&mut Context, Sample, Value) -> Result<Value>,
) -> Result<f64> {
    let batch = batch.clamp(1, data.len());
    let mut feed = Feed::new(network.rows(data)?, buffers::VALIDATION, batch, resident_bytes(device))?;
    let plan = |batch| {
        let mut graph = Context::new();
        let (x, state) = feed.read(&mut graph, batch)?;
        let value = build(&mut graph, x, state)?;
        let value = graph.reshape(value, [1])?;
        let metrics = metrics_of(batch, state, value);
        metrics_plan(network, &graph, &format!("{name} {batch}"), metrics, device.target())
    };
    let plans = feed.batches().into_iter().map(plan).collect::<Result<Vec<_>>>()?;
    let mut session = device.load(&plans)?;
    session.write_parameters(parameters)?;
    let plans = feed.plans_from(0);
    Ok(means(&mut session, &mut feed, plans, 1)?[0])
}

/// Rows decoded at a time where a sample has many codes.
const DECODED_AT_ONCE: usize = 8192;

/// The metrics of a batch of the validation feed; `state` is the feed's.
fn metrics_of(batch: usize, state: Value, values: Value) -> Metrics {
    Metrics { state, values, ring: buffers::ring(buffers::VALIDATION), samples: batch }
}

/// Builds a plan that computes only metrics.
fn metrics_plan(network: &Network, graph: &Graph, name: &str, metrics: Metrics, target: Target) -> Result<Plan> {
    Plan::build(Request {
        name,
        graph,
        outputs: vec![],
        layout: network.layout(),
        training: None,
        metrics: Some(metrics),
        target,
    })
}

/// Runs a feed's evaluation plans over all of its data.
pub(super) fn measure(session: &mut Session, feed: &mut Feed, plans: BatchPlans, names: &Names) -> Result<Evaluation> {
    let means = means(session, feed, plans, names.len())?;
    let mut parts: BTreeMap<String, f64> =
        names.iter().zip(means).map(|(name, mean)| ((*name).to_owned(), mean)).collect();
    // Masked steps add nothing to the sums, so divide by the valid fraction.
    if let Some(valid) = parts.get(VALID).copied() {
        for name in ["mse", "mae", CORRUPTED] {
            parts.entry(name.to_owned()).and_modify(|mean| *mean /= valid);
        }
    }
    let mut take = |name: &str| parts.remove(name).unwrap_or(f64::NAN);
    let [loss, mse, mae] = ["loss", "mse", "mae"].map(&mut take);
    Ok(Evaluation { loss, mse, mae, psnr: psnr(mse), parts, samples: feed.data().len() })
}

/// The means over a feed's data of the first `metrics` metrics.
fn means(session: &mut Session, feed: &mut Feed, plans: BatchPlans, metrics: usize) -> Result<Vec<f64>> {
    let count = feed.data().len();
    std::thread::scope(|scope| -> Result<()> {
        let mut pass = Pass::new(scope, 0, (0..count as u32).collect());
        for (start, end) in feed.chunks() {
            // Derive the step from the sample, so that random draws do not depend on the chunks.
            let step = (start / feed.batch) as u32;
            feed.begin(session, &mut pass, start, State { step, ..State::default() })?;
            let mut left = (end - start) / feed.batch;
            while left > 0 {
                let steps = left.min(session.steps_per_call(plans.full));
                session.run(plans.full, steps)?;
                left -= steps;
                feed.upload_ahead(session, &mut pass, steps, left)?;
            }
            if let Some(tail) = plans.tail.filter(|_| (end - start) % feed.batch > 0) {
                session.run(tail, 1)?;
            }
            session.wait()?;
        }
        Ok(())
    })?;
    let mut sums = vec![0.0; metrics];
    for (plan, samples) in feed.batches_of(plans) {
        for row in session.metrics(plan) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * samples as f64;
            }
        }
    }
    Ok(sums.into_iter().map(|sum| sum / count as f64).collect())
}

/// The peak signal-to-noise ratio of a mean squared error, for a peak of 1, in decibels.
pub fn psnr(mse: f64) -> f64 {
    -10.0 * mse.log10()
}
