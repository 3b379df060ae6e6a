//! Search for the first value that is not finite, after a loss that was not finite. Plans compute the same bits every
//! time, so the epoch is replayed up to the bad step, which then runs again with the outputs of all layers kept.

use super::checkpoint::Checkpoint;
use super::feed::{Feed, Pass};
use super::parameter_groups::Groups;
use super::step::{target_of, trained_parameters, training_loss};
use super::trainer::Trainer;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::model::config::Precision;
use crate::model::{BatchSource, Held};
use crate::nn::Context;
use crate::plan::{Plan, Request, State, buffers};
use crate::tensor::Values;
use std::ops::RangeInclusive;
use std::sync::Arc;

impl Trainer<'_> {
    /// Finds the cause of a non-finite loss at `step` of this epoch, or of a non-finite parameter after its update.
    pub(super) fn diagnose(&self, value: f64, step: u64) -> Error {
        let unknown = |epoch| Error::NonFinite { value, step, epoch, place: "the loss".to_owned() };
        let Some(base) = &self.base else { return unknown(self.progress.epoch + 1) };
        let epoch = base.progress.epoch + 1;
        // The gradients of the previous update may have spoilt the parameters.
        let first = (base.progress.step + 1).max(step.saturating_sub(self.spec().accumulate as u64));
        let found = Trainer::new(self.network, self.device, self.data, None, self.options.clone())
            .and_then(|mut trainer| first_bad_step(base, &mut trainer, first..=step));
        match found {
            Ok(Some((step, place))) => Error::NonFinite { value, step, epoch, place },
            // The diagnosis itself may fail, for lack of memory for example.
            Ok(None) | Err(_) => unknown(epoch),
        }
    }

    /// Replays the current epoch up to step number `last`; all these steps have finite losses.
    fn replay(&mut self, last: u64) -> Result<()> {
        self.options.steps = Some(last);
        while self.steps_left() > 0 {
            self.epoch(&mut ())?;
        }
        Ok(())
    }

    /// Copies the samples of the next step into a new data set. Returns it with the state for reading from its start.
    fn next_batch(&self) -> Result<(BatchSource<'static>, State)> {
        let (data, position, order) = (self.feed.data(), self.progress.position, self.order());
        let first = position * self.feed.batch;
        let rows = &order[first..(first + self.feed.batch).min(order.len())];
        let rows = match data.read_epoch(self.progress.epoch, rows)? {
            Values::U8(bytes) => Dataset::from_u8(data.sample_shape().clone(), bytes)?,
            Values::F32(values) => Dataset::from_f32(data.sample_shape().clone(), values)?,
            Values::F64(_) | Values::U32(_) => data.clone().take(rows.len()),
        };
        let (step, position) = (self.progress.step as u32, position as u32);
        let rows = BatchSource { data: Held::Made(Arc::new(rows)), layout: self.feed.layout };
        Ok((rows, State { seed: self.spec().seed, step, position, offset: 0 }))
    }
}

/// Finds the first of the given steps with a value that is not finite, and names the value. `base` is the epoch's
/// start; `trainer` belongs to the same training.
fn first_bad_step(
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

/// Names the first value that is not finite in a trainer's next step.
fn first_fault(trainer: &mut Trainer) -> Result<Option<String>> {
    let (network, device) = (trainer.network(), trainer.device());
    let spec = &network.spec().train;
    let (rows, state) = trainer.next_batch()?;
    let count = rows.data.len();
    let mut feed = Feed::new(rows, buffers::TRAIN, count, u64::MAX)?;
    let mut graph = Context::new();
    let (sample, device_state) = feed.read(&mut graph, count)?;
    let loss = training_loss(network, &mut graph, sample, device_state)?;
    let mut outputs = vec![("the data".to_owned(), sample.input)];
    let layers = network.checked().layers();
    let computed = layers.filter_map(|layer| Some((layer.name.clone(), graph.output_of(&layer.name)?)));
    outputs.extend(computed.map(|(name, value)| (format!("the output of \"{name}\""), value)));
    outputs.push(("the loss".to_owned(), loss));
    // In f16 training, gradients that are not finite are skipped and harm nothing.
    if spec.precision == Precision::F32 {
        // The backward pass reaches the last layer first.
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
        if !session.read(&name)?.is_finite() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
