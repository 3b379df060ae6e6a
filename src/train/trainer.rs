//! The loop: epochs of steps on a device, validation between them.
//!
//! From [`Autoencoder::fit`](crate::Autoencoder::fit) a step goes to [`Trainer::epoch`], to [`Session::run`], to the
//! device's own session, which launches it.

use super::augment::augment;
use super::checkpoint::{Checkpoint, Progress};
use super::evaluation::{Evaluation, evaluation_plan, measure};
use super::feed::{Feed, Pass, resident_bytes};
use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::model::Network;
use crate::model::spec::OptimizerSpec;
use crate::nn::MAX_ELEMENTS;
use crate::plan::{Metrics, Optimizer, Plan, Request, State, Target, Training};
use crate::rng::{HostStream, Sequence};
use crate::tensor::Values;
use std::time::Instant;

/// What a caller may want to know while training goes on, and its way to end it. All methods do nothing by default.
pub trait Observer {
    /// A step has finished: its number from 1 on, and its loss before its update.
    fn step(&mut self, _step: u64, _loss: f64) {}
    /// Training should end after the steps that are under way.
    fn stop(&mut self) -> bool {
        false
    }
}

impl Observer for () {}

/// An epoch's results.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u64,
    /// The mean over the epoch's samples of the loss before each update.
    pub train_loss: f64,
    /// The loss on the validation set after the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// The mean squared error there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_mse: Option<f64>,
    /// Seconds the epoch took, validation included.
    pub seconds: f64,
    /// The device.
    pub device: String,
}

/// How a trainer departs from the spec.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End after this many steps, whatever the epochs.
    pub steps: Option<u64>,
    /// Bytes of data kept on the device at a time; what the device can bind where not given. More go there in chunks,
    /// one while the device trains on another.
    pub resident_bytes: Option<u64>,
    /// Fix the steps of a submission instead of measuring.
    pub steps_per_submission: Option<usize>,
}

/// How an epoch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is complete, or the last step that was asked for fell into it.
    Epoch(EpochReport),
    /// The observer ended it.
    Stopped,
    /// There was nothing left to do.
    Finished,
}

/// A training in progress.
pub struct Trainer<'a> {
    network: &'a Network,
    pub(super) device: &'a Device,
    /// The plan of an ordinary step.
    pub(super) plan: Plan,
    pub(super) session: Session,
    pub(super) feed: Feed<'a>,
    validation: Option<Feed<'a>>,
    optimizer: Optimizer,
    options: Options,
    progress: Progress,
}

/// The trainer's plans, by their place in its session.
pub(super) const TRAIN: usize = 0;

impl<'a> Trainer<'a> {
    /// Plans everything and loads it onto the device. Fails where data and model, or plan and device, do not fit.
    pub fn new(
        network: &'a Network,
        device: &'a Device,
        data: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: Options,
    ) -> Result<Trainer<'a>> {
        let spec = &network.spec().train;
        let budget = options.resident_bytes.unwrap_or_else(|| resident_bytes(device));
        network.accepts(data.sample_shape(), data.name())?;
        let feed = Feed::new(data, "train", spec.batch, budget)?;
        let validation = match validation {
            Some(data) => {
                network.accepts(data.sample_shape(), data.name())?;
                Some(Feed::new(data, "validation", spec.batch.min(data.len()), budget)?)
            }
            None => None,
        };
        let optimizer = spec.optimizer.method;
        let mut plans = Vec::new();
        for batch in feed.batches() {
            plans.push(train_plan(network, &feed, &optimizer, batch, device.target())?);
        }
        if let Some(feed) = &validation {
            for batch in feed.batches() {
                plans.push(evaluation_plan(network, feed, batch, device.target())?);
            }
        }
        let mut session = device.load(&plans)?;
        if let Some(steps) = options.steps_per_submission {
            session.set_steps_per_submission(TRAIN, steps);
        }
        let plan = plans.swap_remove(TRAIN);
        let progress = Progress::default();
        Ok(Trainer { network, device, plan, session, feed, validation, optimizer, options, progress })
    }

    /// Starts from these parameters, with an optimiser that has seen nothing.
    pub fn start(&mut self, parameters: &Values) -> Result<()> {
        let zeros = Values::F32(vec![0.0; self.network.layout().elements()]);
        self.progress = Progress::default();
        self.session.write_parameters(parameters)?;
        (0..self.moments()).try_for_each(|moment| self.write_moment(moment, &zeros))
    }

    /// Goes on from a checkpoint. Fails where it stands at a step that an epoch of this data does not have.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Progress { position, step, reported, .. } = checkpoint.progress;
        if position >= self.feed.steps() || position as u64 > step || reported > position as u64 {
            return Err(Error::invalid(
                "checkpoint",
                format!(
                    "it stands at step {position} of an epoch, in which data \"{}\" has {} steps",
                    self.feed.data().name(),
                    self.feed.steps()
                ),
                "go on with the data that the run began with",
            ));
        }
        self.start(&checkpoint.parameters)?;
        for (moment, values) in checkpoint.moments.iter().enumerate() {
            self.write_moment(moment, values)?;
        }
        self.progress = checkpoint.progress.clone();
        Ok(())
    }

    /// Everything that a later [`Trainer::restore`] needs. Waits for the device.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        let parameters = self.parameters()?;
        let moments = match self.moments() {
            0 => vec![],
            _ => self.session.read("moments")?.chunks(self.network.layout().elements()),
        };
        Ok(Checkpoint { parameters, moments, progress: self.progress.clone() })
    }

    fn write_moment(&mut self, moment: usize, values: &Values) -> Result<()> {
        self.session.write_at("moments", moment * self.network.layout().elements(), values)
    }

    /// The parameters as they stand. Waits for the device.
    pub fn parameters(&mut self) -> Result<Values> {
        self.session.read("parameters")
    }

    /// How far training has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Steps of a whole epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.feed.steps()
    }

    /// Samples of an ordinary step.
    pub fn batch(&self) -> usize {
        self.feed.batch()
    }

    /// How many moments the optimiser keeps of every parameter.
    pub fn moments(&self) -> usize {
        self.optimizer.moments()
    }

    /// The session, for its statistics.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Steps from here to the end of training.
    pub fn steps_left(&self) -> u64 {
        let whole = self.network.spec().train.epochs as u64 * self.feed.steps() as u64;
        self.options.steps.map_or(whole, |steps| steps.min(whole)).saturating_sub(self.progress.step)
    }

    /// Trains to the end of the epoch that training stands in, and validates.
    pub fn epoch(&mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        if self.steps_left() == 0 {
            return Ok(Outcome::Finished);
        }
        let began = Instant::now();
        self.write_schedule()?;
        std::thread::scope(|scope| -> Result<()> {
            let mut pass = Pass::new(scope, self.order());
            for (start, end) in self.feed.chunks() {
                let seen = self.progress.position * self.feed.batch();
                if seen >= end {
                    continue;
                }
                let state = State {
                    seed: self.network.spec().train.seed,
                    step: self.progress.step as u32,
                    position: self.progress.position as u32,
                    offset: (seen - start) as u32,
                };
                self.feed.begin(&mut self.session, &mut pass, start, state)?;
                if !self.chunk(end, &mut pass, observer)? {
                    break;
                }
            }
            Ok(())
        })?;
        self.session.wait()?;
        self.collect(observer)?;
        self.progress.seconds += began.elapsed().as_secs_f64();
        let whole = self.progress.position == self.feed.steps();
        if !whole && self.steps_left() > 0 {
            return Ok(Outcome::Stopped);
        }
        let validating = Instant::now();
        let evaluation = self.validate()?;
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            train_loss: self.progress.loss_sum / self.progress.loss_samples.max(1) as f64,
            val_loss: evaluation.map(|evaluation| evaluation.loss),
            val_mse: evaluation.map(|evaluation| evaluation.mse),
            seconds: self.progress.seconds + validating.elapsed().as_secs_f64(),
            device: self.device.name(),
        };
        let (epoch, step) = (self.progress.epoch + u64::from(whole), self.progress.step);
        if whole {
            self.progress = Progress { epoch, step, ..Progress::default() };
        }
        Ok(Outcome::Epoch(report))
    }

    /// Makes an epoch's first steps ready, wherever training stands, for looking into them.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.progress = Progress::default();
        self.write_schedule()?;
        let state = State { seed: self.network.spec().train.seed, step: 0, position: 0, offset: 0 };
        let order = self.order();
        std::thread::scope(|scope| self.feed.begin(&mut self.session, &mut Pass::new(scope, order), 0, state))
    }

    /// Steps up to sample `end` of the epoch. False where they ended before.
    fn chunk(&mut self, end: usize, pass: &mut Pass, observer: &mut dyn Observer) -> Result<bool> {
        let batch = self.feed.batch();
        while self.progress.position * batch < end {
            let left = self.steps_left();
            if left == 0 || observer.stop() {
                return Ok(false);
            }
            let full = (end - self.progress.position * batch) / batch;
            let (plan, steps) = match full {
                0 => (TRAIN + 1, 1),
                _ => (TRAIN, full.min(left as usize).min(self.session.steps_per_call(TRAIN))),
            };
            self.session.run(plan, steps)?;
            self.progress.position += steps;
            self.progress.step += steps as u64;
            let left = (end - (self.progress.position * batch).min(end)).div_ceil(batch);
            self.feed.go_on(&mut self.session, pass, steps, left)?;
            self.collect(observer)?;
        }
        Ok(true)
    }

    /// Takes the losses of steps that have run.
    fn collect(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let mut plans = vec![(TRAIN, self.feed.batch())];
        if self.feed.tail() > 0 {
            plans.push((TRAIN + 1, self.feed.tail()));
        }
        for (plan, samples) in plans {
            for row in self.session.metrics(plan) {
                let loss = row[0];
                let step = self.progress.reported(samples, loss);
                if !loss.is_finite() {
                    return Err(Error::NonFinite { value: loss, step, epoch: self.progress.epoch + 1 });
                }
                observer.step(step, loss);
            }
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<Option<Evaluation>> {
        let first = TRAIN + self.feed.batches().len();
        match &mut self.validation {
            Some(feed) => measure(&mut self.session, feed, first).map(Some),
            None => Ok(None),
        }
    }

    /// The order of the epoch's samples.
    fn order(&self) -> Vec<u32> {
        let spec = &self.network.spec().train;
        let count = self.feed.data().len();
        if spec.shuffle {
            Sequence::new(spec.seed, HostStream::Shuffle, self.progress.epoch as u32).permutation(count)
        } else {
            (0..count as u32).collect()
        }
    }

    /// The optimiser's numbers for every step of the epoch.
    fn write_schedule(&mut self) -> Result<()> {
        let first = self.progress.step - self.progress.position as u64 + 1;
        let OptimizerSpec { method, lr, weight_decay } = &self.network.spec().train.optimizer;
        let rows = (0..self.feed.steps() as u64).flat_map(|row| method.schedule_row(first + row, *lr, *weight_decay));
        self.session.write("schedule", &Values::F64(rows.collect()))
    }
}

/// The plan of one training step of a model on a data set of `samples` samples, as a trainer would run it.
pub fn training_plan(network: &Network, samples: usize, target: Target) -> Result<Plan> {
    let elements = samples.checked_mul(network.spec().input.elements()).filter(|elements| *elements <= MAX_ELEMENTS);
    let Some(elements) = elements else {
        let problem = format!("{samples} samples have more than {MAX_ELEMENTS} numbers");
        return Err(Error::invalid("samples", problem, "use fewer"));
    };
    let bytes = vec![0; elements];
    let data = Dataset::from_u8(network.spec().input.clone(), bytes)?;
    let spec = &network.spec().train;
    let feed = Feed::new(&data, "train", spec.batch, u64::MAX)?;
    train_plan(network, &feed, &spec.optimizer.method, spec.batch, target)
}

fn train_plan(network: &Network, feed: &Feed, optimizer: &Optimizer, batch: usize, target: Target) -> Result<Plan> {
    let mut graph = Graph::new();
    let (x, state) = feed.read(&mut graph, batch)?;
    let [x, wanted] = augment(&mut graph, network, x, state)?;
    graph.set_training(state)?;
    let code = network.encode(&mut graph, x)?;
    let decoded = network.decode(&mut graph, code)?;
    let loss = network.loss(&mut graph, decoded, wanted)?;
    let names: Vec<String> = network.trained().map(|parameter| parameter.name.clone()).collect();
    let mut parameters = Vec::with_capacity(names.len());
    for parameter in network.trained() {
        parameters.push(graph.parameter(&parameter.name, parameter.shape.clone())?);
    }
    let gradients = graph.gradients(loss, &parameters)?;
    let values = graph.reshape(loss, [1])?;
    Plan::build(Request {
        name: &format!("train {batch}"),
        graph: &graph,
        outputs: vec![],
        layout: network.layout(),
        training: Some(Training::new(names.into_iter().zip(gradients), *optimizer, feed.steps())),
        metrics: Some(Metrics { state, values, ring: "train.losses".to_owned(), samples: batch }),
        target,
    })
}
