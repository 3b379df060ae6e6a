//! The plan of a training step: the loss of a batch, its gradients, and the update of the parameters.

use super::corrupt::augment;
use super::feed::FeedShape;
use super::parameter_groups::Groups;
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::model::config::{NonFinite, Precision, TrainSpec};
use crate::model::{BatchLayout, Network, Sample, across_columns};
use crate::nn::{Context, MAX_ELEMENTS};
use crate::plan::LayoutEntry;
use crate::plan::state::{NORM, SCALE};
use crate::plan::{Gradients, Limits, Metrics, Plan, Request, Target, Trained, Training, buffers};
use crate::shape::Shape;
use crate::tensor::DType;

/// How gradients are processed before the optimiser sees them.
pub(super) fn gradients(spec: &TrainSpec) -> Gradients {
    Gradients {
        accumulated: spec.accumulate > 1,
        value_limit: spec.clip_value.is_some(),
        norm_limit: spec.clip_norm.is_some(),
        skip: spec.non_finite == NonFinite::Skip,
        averaged: spec.averages(),
        scaled: spec.precision == Precision::F16,
    }
}

/// Number of values kept between steps for every parameter: moments, and the accumulated gradient if there is one.
pub(super) fn moments(spec: &TrainSpec) -> usize {
    spec.optimizer.method.moments() + usize::from(spec.accumulate > 1)
}

/// The number of samples for which a training plan is shown by default: the size of MNIST.
const SHOWN_SAMPLES: usize = 60_000;

/// The number of samples for which a training plan is shown by default: 60,000. If these have more than 2^31 numbers,
/// the number of samples that every device can bind, and at least a batch; a trainer uploads further samples in chunks.
pub fn default_samples(network: &Network) -> usize {
    let width = plain_rows(network).width();
    match SHOWN_SAMPLES.checked_mul(width) {
        Some(..=MAX_ELEMENTS) => SHOWN_SAMPLES,
        _ => (Limits::default().binding_bytes as usize / width).max(network.spec().train.batch),
    }
}

/// The batch layout of a data set without targets and lengths.
fn plain_rows(network: &Network) -> BatchLayout {
    let (input, condition) = (network.spec().input.elements(), network.spec().condition.width());
    BatchLayout { input, condition, ..BatchLayout::default() }
}

/// Builds the plan of one training step on a data set of `samples` samples, as a trainer would run it. Fails where
/// the samples, or those of a batch, have more than 2^31 numbers, and where the model has nothing to train.
pub fn training_plan(network: &Network, samples: usize, target: Target) -> Result<Plan> {
    let layout = plain_rows(network);
    let most = MAX_ELEMENTS / layout.width();
    for (what, count) in [("batch", network.spec().train.batch), ("samples", samples)] {
        if count > most {
            let problem = format!("{count} samples of {} numbers each are more than 2^31 numbers", layout.width());
            let help = if most > 0 { format!("use {most} or fewer") } else { "use smaller samples".to_owned() };
            return Err(Error::invalid(what, problem, help));
        }
    }
    if samples == 0 {
        return Err(Error::invalid("data", "there is no sample in it", "give at least one sample"));
    }
    let sample: Shape = if layout.is_plain() { network.spec().input.clone() } else { [layout.width()].into() };
    let batch = network.spec().train.batch;
    let feed = FeedShape::of_bytes(layout, sample, samples, batch)?;
    train_plan(network, &feed, &Groups::new(network), batch, target)
}

/// Builds the plan of a training step on a batch of a feed.
pub(super) fn train_plan(
    network: &Network,
    feed: &FeedShape,
    groups: &Groups,
    batch: usize,
    target: Target,
) -> Result<Plan> {
    let spec = &network.spec().train;
    let mut graph = Context::new();
    let (sample, state) = feed.read(&mut graph, batch)?;
    let loss = training_loss(network, &mut graph, sample, state)?;
    let trained = trained_parameters(network, &mut graph, loss, groups)?;
    let values = graph.reshape(loss, [1])?;
    Plan::build(Request {
        name: &format!("train {batch}"),
        graph: &graph,
        outputs: vec![],
        layout: network.layout(),
        training: Some(Training {
            trained,
            optimizer: spec.optimizer.method,
            gradients: gradients(spec),
            groups: groups.count(),
            schedule_rows: feed.steps(),
        }),
        metrics: Some(Metrics { state, values, ring: buffers::ring(buffers::TRAIN), samples: batch }),
        target: target_of(spec, target),
    })
}

/// The target of a training step, which uses 16 bits if the settings say so.
pub(super) fn target_of(spec: &TrainSpec, target: Target) -> Target {
    Target { half: spec.precision == Precision::F16, ..target }
}

/// Builds the training loss of a batch, penalties included.
pub(super) fn training_loss(network: &Network, graph: &mut Context, sample: Sample, state: Value) -> Result<Value> {
    let Sample { input, target } = augment(graph, network, sample, state)?;
    graph.set_training(state)?;
    graph.set_target(target);
    let objective = network.objective(graph, input, target, state)?;
    network.add_penalties(graph, &objective, input, state)
}

/// The trained parameters with their gradients, multiplied by the loss scale in 16-bit training.
pub(super) fn trained_parameters(
    network: &Network,
    graph: &mut Graph,
    loss: Value,
    groups: &Groups,
) -> Result<Vec<Trained>> {
    let mut trained = Vec::new();
    let mut values = Vec::new();
    for (index, LayoutEntry { name, shape, .. }) in network.layout().entries().iter().enumerate() {
        let parameter = graph.parameter(name, shape.clone())?;
        if let Some(group) = groups.of(index) {
            trained.push((name.clone(), group));
            values.push(parameter);
        }
    }
    if trained.is_empty() {
        let problem = "it has no parameters, so that there is nothing to train";
        return Err(Error::invalid("model", problem, "add a layer with weights, such as { linear = 64 }"));
    }
    let mut gradients = match network.spec().train.precision {
        Precision::F32 => graph.gradients(loss, &values)?,
        Precision::F16 => {
            let norm = graph.input(NORM, [gradients(&network.spec().train).norm_numbers()], DType::Float)?;
            let scale = graph.slice(norm, &[SCALE], [1])?;
            let scale = graph.reshape(scale, graph.shape(loss).clone())?;
            graph.gradients_times(scale, loss, &values)?
        }
    };
    // Remove the gradient along each unit-length column: normalisation would cancel it.
    let unit = network.unit_columns().and_then(|own| trained.iter().position(|(name, _)| *name == own.name));
    if let Some(place) = unit {
        graph.keep_unit_columns(values[place])?;
        gradients[place] = across_columns(graph, values[place], gradients[place])?;
    }
    let with = |((parameter, group), gradient)| Trained { parameter, gradient, group };
    Ok(trained.into_iter().zip(gradients).map(with).collect())
}
