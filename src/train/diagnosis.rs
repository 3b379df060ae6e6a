//! What was the first to go bad, when a loss is not finite. Plans compute the same bits every time, so the epoch is done again
//! up to there, and the step once more with everything kept that a layer leaves.

use super::checkpoint::Checkpoint;
use super::feed::{Feed, Pass};
use super::parameter_groups::Groups;
use super::trainer::{Trainer, is_finite, target_of, trained_parameters, training_loss};
use crate::error::Result;
use crate::model::config::Precision;
use crate::nn::Context;
use crate::plan::{Plan, Request};
use std::ops::RangeInclusive;

/// The first of some steps of an epoch in which something is not finite, and what. `base` is where the epoch began, and
/// `trainer` is one of the same training.
pub(super) fn diagnose(
    base: &Checkpoint,
    trainer: &mut Trainer,
    steps: RangeInclusive<u64>,
) -> Result<Option<(u64, String)>> {
    trainer.restore(base)?;
    for step in steps {
        trainer.replay(step - 1)?;
        if let Some(place) = first_fault(trainer)? {
            return Ok(Some((step, place)));
        }
    }
    Ok(None)
}

/// What is the first that is not finite in a trainer's next step.
fn first_fault(trainer: &mut Trainer) -> Result<Option<String>> {
    let (network, device) = trainer.network();
    let spec = &network.spec().train;
    let (rows, state) = trainer.next_batch()?;
    let count = rows.data.len();
    let mut feed = Feed::new(rows, "train", count, u64::MAX)?;
    let mut graph = Context::new();
    let (sample, device_state) = feed.read(&mut graph, count)?;
    let loss = training_loss(network, &mut graph, sample, device_state)?;
    let mut outputs = vec![("the data".to_owned(), sample.input)];
    let layers = network.checked().layers();
    let computed = layers.filter_map(|layer| Some((layer.name.clone(), graph.output_of(&layer.name)?)));
    outputs.extend(computed.map(|(name, value)| (format!("the output of \"{name}\""), value)));
    outputs.push(("the loss".to_owned(), loss));
    // Scaled gradients that are not finite are left out, and so spoil nothing.
    if spec.precision == Precision::F32 {
        // The backward pass comes to the last layer first.
        let trained = trained_parameters(network, &mut graph, loss, &Groups::new(network))?.into_iter().rev();
        outputs.extend(trained.map(|own| (format!("the gradient of \"{}\"", own.parameter), own.gradient)));
    }
    let plan = Plan::build(Request {
        name: "diagnosis",
        graph: &graph,
        outputs: outputs.iter().map(|(name, value)| (*value, name.clone())).collect(),
        layout: network.layout(),
        training: None,
        metrics: None,
        target: target_of(spec, device.target()),
    })?;
    let mut session = device.load(&[plan])?;
    session.write_parameters(&trainer.parameters()?)?;
    let order: Vec<u32> = (0..count as u32).collect();
    std::thread::scope(|scope| feed.begin(&mut session, &mut Pass::new(scope, 0, order), 0, state))?;
    session.run(0, 1)?;
    for (name, _) in outputs {
        if !is_finite(&session.read(&name)?) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
