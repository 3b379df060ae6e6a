//! The loop: epochs of steps on a device, validation between them.
//!
//! From [`Autoencoder::fit`](crate::Autoencoder::fit) a step goes to [`Trainer::epoch`], to [`Session::run`], to the
//! device's own session, which launches it.

use super::checkpoint::{Checkpoint, Patience, Progress};
use super::corrupt::augment;
use super::diagnosis::diagnose;
use super::evaluation::{Evaluation, Names, evaluation_plan, measure};
use super::feed::{Feed, Pass, resident_bytes};
use super::parameter_groups::Groups;
use super::warnings::{self, Warning};
use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::model::config::{NonFinite, Precision, Schedule, TrainSpec};
use crate::model::{BatchLayout, BatchSource, Held, Network, Sample, across_columns};
use crate::nn::{Context, MAX_ELEMENTS};
use crate::plan::state::{GOOD, NORM, SCALE, SKIPPED};
use crate::plan::{Gradients, Limits, LossScale, Metrics, Plan, Request, State, Target, Trained, Training};
use crate::rng::{HostStream, Sequence};
use crate::tensor::{DType, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What a caller may want to know while training goes on, and its way to end it. All methods do nothing by default.
///
/// ```
/// use pinhole::train::{EpochReport, Observer};
/// use pinhole::{Autoencoder, Device, data, model::ModelSpec};
///
/// /// Ends training when an epoch's loss is good enough.
/// struct Until(f64, bool);
///
/// impl Observer for Until {
///     fn epoch(&mut self, report: &EpochReport) {
///         self.1 = report.train_loss < self.0;
///     }
///
///     fn stop(&mut self) -> bool {
///         self.1
///     }
/// }
///
/// let mut spec = ModelSpec::resolve("dense")?;
/// spec.train.epochs = 50;
/// let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
/// let reports = autoencoder.fit(&data::digits(512, 1), None, &mut Until(0.6, false))?;
/// assert!(reports.len() < 50);
/// # Ok::<(), pinhole::Error>(())
/// ```
pub trait Observer {
    /// A step has finished: its number from 1 on, and its loss before its update. Called in the order of the steps, though
    /// on a GPU some time after a step has run, since nothing waits for it.
    fn step(&mut self, _step: u64, _loss: f64) {}
    /// An epoch has ended and been validated: its results.
    fn epoch(&mut self, _report: &EpochReport) {}
    /// Something goes wrong, though training goes on. What the settings say comes before the first step, what the result
    /// says behind the report of the last epoch, and each of them once.
    fn warning(&mut self, _warning: &Warning) {}
    /// Whether training should end after the steps that are under way. Asked before steps are begun, and taken back by
    /// nothing: what [`Trainer::checkpoint`] then gives is a run like any other, which [`Trainer::restore`] goes on with to
    /// the same bits.
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
    /// What the loss there is made of, where it has parts: see [`Evaluation::parts`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub val_parts: BTreeMap<String, f64>,
    /// Updates left out so far, since their gradients were not all finite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Seconds the epoch took, validation included.
    pub seconds: f64,
    /// The device.
    pub device: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
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
pub enum EpochEnd {
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
    data: &'a Dataset,
    /// The plan of an ordinary step.
    pub(super) plan: Plan,
    pub(super) session: Session,
    pub(super) feed: Feed<'a>,
    validation: Option<Feed<'a>>,
    validation_data: Option<&'a Dataset>,
    /// What validation measures.
    measured: Names,
    groups: Groups,
    options: Options,
    progress: Progress,
    /// The best parameters so far, where training may end early.
    best: Option<Values>,
    /// Where the last epoch began, to go back to when something goes wrong.
    base: Option<Checkpoint>,
    /// Whether the observer has been warned of what the settings say.
    foreseen: bool,
}

/// The buffer of the parameters' average.
const AVERAGE: &str = "average";

/// The trainer's plans, by their place in its session.
pub(super) const TRAIN: usize = 0;

impl<'a> Trainer<'a> {
    /// Plans everything and loads it onto the device. Fails where data and model, or plan and device, do not fit, where the
    /// loss does not take the data's numbers, as `bce` takes none above 1, and where samples to validate on are scaled
    /// otherwise than those to train on.
    pub fn new(
        network: &'a Network,
        device: &'a Device,
        data: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: Options,
    ) -> Result<Trainer<'a>> {
        let spec = &network.spec().train;
        let budget = options.resident_bytes.unwrap_or_else(|| resident_bytes(device));
        let feed = Feed::new(network.rows(data)?, "train", spec.batch, budget)?;
        let validation_data = validation;
        if let Some(validation) = validation {
            validation.expect_scaled_as(data, ["its numbers are", "those that are trained on are"])?;
        }
        network.accepts_batches(feed.batch(), data.len())?;
        let validation = match validation {
            Some(data) => Some(Feed::new(network.rows(data)?, "validation", spec.batch.min(data.len()), budget)?),
            None => None,
        };
        let groups = Groups::new(network);
        let mut plans = Vec::new();
        let mut measured = Names::new();
        for batch in feed.batches() {
            plans.push(train_plan(network, &feed, &groups, batch, device.target())?);
        }
        if let Some(feed) = &validation {
            for batch in feed.batches() {
                let (plan, names) = evaluation_plan(network, feed, batch, device.target())?;
                measured = names;
                plans.push(if spec.averages() { plan.with_parameters_of(AVERAGE) } else { plan });
            }
        }
        let mut session = device.load(&plans)?;
        if let Some(steps) = options.steps_per_submission {
            session.set_steps_per_submission(TRAIN, steps);
        }
        let plan = plans.swap_remove(TRAIN);
        let progress = Progress::default();
        let (best, base) = (None, None);
        Ok(Trainer {
            network,
            device,
            data,
            plan,
            session,
            feed,
            validation,
            validation_data,
            measured,
            groups,
            options,
            progress,
            best,
            base,
            foreseen: false,
        })
    }

    /// Starts from these parameters, with an optimiser that has seen nothing.
    pub fn start(&mut self, parameters: &Values) -> Result<()> {
        let zeros = Values::F32(vec![0.0; self.network.layout().elements()]);
        (self.progress, self.best, self.base) = (Progress::begin(self.feed.steps()), None, None);
        self.session.write_parameters(parameters)?;
        if self.spec().averages() {
            self.session.write(AVERAGE, parameters)?;
        }
        self.write_norm()?;
        (0..self.moments()).try_for_each(|moment| self.write_moment(moment, &zeros))
    }

    /// Goes on from a checkpoint, after whole epochs of whatever data. Fails where it stands within an epoch of more or fewer
    /// steps than this data has: see [`Checkpoint::begin_epoch_anew`].
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Progress { position, step, reported, steps, .. } = checkpoint.progress;
        let unlike = position > 0 && steps.is_some_and(|steps| steps != self.feed.steps());
        if unlike || position >= self.feed.steps() || position as u64 > step || reported > position as u64 {
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
        // Behind the optimiser's own moments are the gradients of batches that have yet to become an update: none, where an
        // epoch begins.
        let kept = if position > 0 { self.moments() } else { self.spec().optimizer.method.moments() };
        for (moment, values) in checkpoint.moments.iter().take(kept).enumerate() {
            self.write_moment(moment, values)?;
        }
        if let (Some(average), true) = (&checkpoint.average, self.spec().averages()) {
            self.session.write(AVERAGE, average)?;
        }
        self.progress = Progress { steps: Some(self.feed.steps()), ..checkpoint.progress.clone() };
        match self.spec().early_stopping {
            Some(stopping) => {
                self.best.clone_from(&checkpoint.best);
                let patience = &mut self.progress.patience;
                patience.ended = patience.waited >= stopping.patience as u64;
            }
            None => self.progress.patience = Patience::default(),
        }
        self.write_norm()
    }

    /// Everything that a later [`Trainer::restore`] needs. Waits for the device.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        if let Some(base) = self.base.as_ref().filter(|base| base.progress == self.progress) {
            return Ok(base.clone());
        }
        let parameters = self.parameters()?;
        let moments = match self.moments() {
            0 => vec![],
            // Behind them a device that binds few buffers has room for gradients.
            kept => {
                let all = self.session.read("moments")?.chunks(self.network.layout().elements());
                all.into_iter().take(kept).collect()
            }
        };
        let average = self.spec().averages().then(|| self.session.read(AVERAGE)).transpose()?;
        self.read_norm()?;
        Ok(Checkpoint { parameters, moments, average, best: self.best.clone(), progress: self.progress.clone() })
    }

    /// The parameters that are the result as it stands: the best where training may end early, else their average where
    /// there is one, else [`Trainer::parameters`]. Waits for the device.
    pub fn model(&mut self) -> Result<Values> {
        match (&self.best, self.spec().averages()) {
            (Some(best), _) => Ok(best.clone()),
            (None, true) => self.session.read(AVERAGE),
            (None, false) => self.parameters(),
        }
    }

    fn spec(&self) -> &'a TrainSpec {
        &self.network.spec().train
    }

    /// The device counts the updates that it leaves out beside the gradients' norm, and keeps the loss's scale there.
    fn write_norm(&mut self) -> Result<()> {
        let gradients = gradients(self.spec());
        if !gradients.skip && !gradients.scaled {
            return Ok(());
        }
        let mut norm = vec![0.0; gradients.norm_numbers()];
        norm[SKIPPED] = self.progress.skipped as f64;
        if gradients.scaled {
            let LossScale { scale, good } = self.progress.loss_scale.unwrap_or_default();
            (norm[SCALE], norm[GOOD]) = (scale, f64::from(good));
        }
        self.session.write_at(NORM, 0, &Values::F64(norm))
    }

    fn read_norm(&mut self) -> Result<()> {
        let gradients = gradients(self.spec());
        if gradients.skip || gradients.scaled {
            let norm = self.session.read(NORM)?.to_f64();
            self.progress.skipped = norm[SKIPPED] as u64;
            self.progress.loss_scale =
                gradients.scaled.then(|| LossScale { scale: norm[SCALE], good: norm[GOOD] as u32 });
        }
        Ok(())
    }

    /// Fails where updates were left out until the scale says that it is not to blame.
    fn expect_useful_scale(&self) -> Result<()> {
        let Progress { epoch, step, loss_sum, loss_samples, loss_scale, .. } = self.progress;
        let useful = loss_scale.is_none_or(|own| own.scale >= LossScale::LEAST_USEFUL);
        if useful || self.spec().non_finite == NonFinite::Skip {
            return Ok(());
        }
        let (place, value) = ("a gradient, however the loss is scaled,".to_owned(), loss_sum / loss_samples as f64);
        Err(Error::NonFinite { value, step, epoch: epoch + 1, place })
    }

    /// The optimiser's numbers for every step of the epoch.
    fn write_schedule(&mut self) -> Result<()> {
        let rows = self.groups.schedule(self.network, &self.feed, &self.progress);
        self.session.write("schedule", &Values::F64(rows))
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
        moments(self.spec())
    }

    /// The session, for its statistics.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Steps from here to the end of training.
    pub fn steps_left(&self) -> u64 {
        let Progress { epoch, position, step, patience, .. } = self.progress;
        if patience.ended {
            return 0;
        }
        let epochs = (self.spec().epochs as u64).saturating_sub(epoch);
        let whole = (epochs * self.feed.steps() as u64).saturating_sub(position as u64);
        self.options.steps.map_or(whole, |steps| steps.saturating_sub(step).min(whole))
    }

    /// Trains to the end of the epoch that training stands in, and validates.
    pub fn epoch(&mut self, observer: &mut dyn Observer) -> Result<EpochEnd> {
        if self.steps_left() == 0 {
            return Ok(EpochEnd::Finished);
        }
        if self.progress.step == 0 && !std::mem::replace(&mut self.foreseen, true) {
            let foreseen = warnings::foreseen(self.network.spec(), self.steps_left());
            foreseen.iter().for_each(|warning| observer.warning(warning));
        }
        let began = Instant::now();
        if self.base.as_ref().is_none_or(|base| base.progress != self.progress) {
            self.base = Some(self.checkpoint()?);
        }
        self.write_schedule()?;
        std::thread::scope(|scope| -> Result<()> {
            let mut pass = Pass::new(scope, self.progress.epoch, self.order());
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
            return Ok(EpochEnd::Stopped);
        }
        self.read_norm()?;
        self.expect_useful_scale()?;
        let validating = Instant::now();
        let evaluation = self.validate()?;
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            train_loss: self.progress.loss_sum / self.progress.loss_samples as f64,
            val_loss: evaluation.as_ref().map(|evaluation| evaluation.loss),
            val_mse: evaluation.as_ref().map(|evaluation| evaluation.mse),
            val_parts: evaluation.map(|evaluation| evaluation.parts).unwrap_or_default(),
            skipped: self.progress.skipped,
            seconds: self.progress.seconds + validating.elapsed().as_secs_f64(),
            device: self.device.name(),
        };
        if whole {
            self.judge(report.val_loss.unwrap_or(report.train_loss))?;
            let Progress { epoch, step, skipped, loss_scale, plateau, patience, first_loss, .. } = self.progress;
            let (epoch, first_loss) = (epoch + 1, first_loss.or(Some(report.train_loss)));
            let updates = Some(self.progress.updates_after(self.feed.steps(), self.spec().accumulate));
            let next = Progress::begin(self.feed.steps());
            self.progress =
                Progress { epoch, step, updates, skipped, loss_scale, plateau, patience, first_loss, ..next };
            // The last update of an epoch has no loss after it that would tell.
            let end = self.checkpoint()?;
            if !is_finite(&end.parameters) {
                return Err(self.diagnose(f64::NAN, step));
            }
            self.base = Some(end);
        }
        observer.epoch(&report);
        if self.steps_left() == 0 {
            self.warn_of_result(&report, whole, observer)?;
        }
        Ok(EpochEnd::Epoch(report))
    }

    /// Tells the observer what the result of training shows.
    fn warn_of_result(&mut self, last: &EpochReport, whole: bool, observer: &mut dyn Observer) -> Result<()> {
        let spec = self.network.spec();
        let first = self.progress.first_loss.filter(|_| whole);
        let of_losses = first.and_then(|first| warnings::of_losses(spec, first, last.train_loss, last.epoch));
        let parameters = self.model()?;
        let data = self.validation_data.unwrap_or(self.data);
        // Training is done, and a fault in looking at it would be no fault of its result.
        let of_samples = warnings::of_samples(self.network, &parameters, data).unwrap_or_default();
        of_losses.iter().chain(&of_samples).for_each(|warning| observer.warning(warning));
        Ok(())
    }

    /// Makes an epoch's first steps ready, wherever training stands, for looking into them.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.progress = Progress::default();
        self.write_schedule()?;
        let state = State { seed: self.network.spec().train.seed, step: 0, position: 0, offset: 0 };
        let order = self.order();
        std::thread::scope(|scope| self.feed.begin(&mut self.session, &mut Pass::new(scope, 0, order), 0, state))
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
                if !loss.is_finite() && self.spec().non_finite == NonFinite::Stop {
                    return Err(self.diagnose(loss, step));
                }
                observer.step(step, loss);
            }
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<Option<Evaluation>> {
        let first = TRAIN + self.feed.batches().len();
        match &mut self.validation {
            Some(feed) => measure(&mut self.session, feed, first, &self.measured).map(Some),
            None => Ok(None),
        }
    }

    /// The order of the epoch's samples.
    fn order(&self) -> Vec<u32> {
        let spec = &self.network.spec().train;
        let count = self.feed.data().len();
        if spec.shuffle && !self.feed.data().is_stream() {
            Sequence::new(spec.seed, HostStream::Shuffle, self.progress.epoch as u32).permutation(count)
        } else {
            (0..count as u32).collect()
        }
    }

    /// Lets a schedule that waits for plateaus and early stopping learn an epoch's loss.
    fn judge(&mut self, loss: f64) -> Result<()> {
        if let Schedule::Plateau { patience, threshold, .. } = self.spec().schedule {
            let plateau = &mut self.progress.plateau;
            if loss.is_finite() && plateau.best.is_none_or(|best| loss < best * (1.0 - threshold)) {
                (plateau.best, plateau.waited) = (Some(loss), 0);
            } else {
                plateau.waited += 1;
            }
            if plateau.waited > patience as u64 {
                (plateau.reductions, plateau.waited) = (plateau.reductions + 1, 0);
            }
        }
        if let Some(stopping) = self.spec().early_stopping {
            let Patience { best, waited, .. } = self.progress.patience;
            if loss.is_finite() && best.is_none_or(|best| loss < best - stopping.min_delta) {
                self.progress.patience = Patience { best: Some(loss), waited: 0, ended: false };
                self.best = None;
                self.best = Some(self.model()?);
            } else {
                let waited = waited + 1;
                self.progress.patience = Patience { best, waited, ended: waited >= stopping.patience as u64 };
            }
        }
        Ok(())
    }

    /// What went wrong up to a step of this epoch whose loss is not finite, or after whose update a parameter is not.
    fn diagnose(&self, value: f64, step: u64) -> Error {
        let unknown = |epoch| Error::NonFinite { value, step, epoch, place: "the loss".to_owned() };
        let Some(base) = &self.base else { return unknown(self.progress.epoch + 1) };
        let epoch = base.progress.epoch + 1;
        // The gradients of the update before may have spoilt the parameters.
        let first = (base.progress.step + 1).max(step.saturating_sub(self.spec().accumulate as u64));
        let found = Trainer::new(self.network, self.device, self.data, None, self.options.clone())
            .and_then(|mut trainer| diagnose(base, &mut trainer, first..=step));
        match found {
            Ok(Some((step, place))) => Error::NonFinite { value, step, epoch, place },
            // For want of memory, say. What is known is that the loss is bad.
            Ok(None) | Err(_) => unknown(epoch),
        }
    }

    /// Does the steps up to number `last` of the epoch that training stands in, all of which have finite losses.
    pub(super) fn replay(&mut self, last: u64) -> Result<()> {
        self.options.steps = Some(last);
        while self.steps_left() > 0 {
            self.epoch(&mut ())?;
        }
        Ok(())
    }

    /// The samples of the next step, and the state in which it sees them as the first of a data set.
    pub(super) fn next_batch(&self) -> Result<(BatchSource<'static>, State)> {
        let (data, position, order) = (self.feed.data(), self.progress.position, self.order());
        let first = position * self.feed.batch();
        let rows = &order[first..(first + self.feed.batch()).min(order.len())];
        let rows = match data.read_epoch(self.progress.epoch, rows)? {
            Values::U8(bytes) => Dataset::from_u8(data.sample_shape().clone(), bytes)?,
            Values::F32(values) => Dataset::from_f32(data.sample_shape().clone(), values)?,
            Values::F64(_) | Values::U32(_) => data.clone().take(rows.len()),
        };
        let (step, position) = (self.progress.step as u32, position as u32);
        let rows = BatchSource { data: Held::Made(Arc::new(rows)), layout: self.feed.layout() };
        Ok((rows, State { seed: self.spec().seed, step, position, offset: 0 }))
    }

    /// The network that is trained, and its device.
    pub(super) fn network(&self) -> (&'a Network, &'a Device) {
        (self.network, self.device)
    }
}

pub(super) fn is_finite(values: &Values) -> bool {
    match values {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| value.is_finite()),
        Values::U32(_) | Values::U8(_) => true,
    }
}

/// What happens to gradients before the optimiser sees them.
fn gradients(spec: &TrainSpec) -> Gradients {
    Gradients {
        accumulated: spec.accumulate > 1,
        value_limit: spec.clip_value.is_some(),
        norm_limit: spec.clip_norm.is_some(),
        skip: spec.non_finite == NonFinite::Skip,
        averaged: spec.averages(),
        scaled: spec.precision == Precision::F16,
    }
}

/// How many numbers are kept for every parameter from step to step.
fn moments(spec: &TrainSpec) -> usize {
    spec.optimizer.method.moments() + usize::from(spec.accumulate > 1)
}

/// Samples of the data set that a training plan is shown for: as many as MNIST has.
const SHOWN_SAMPLES: usize = 60_000;

/// The number of samples that a training plan is shown for where none is given: 60,000. Where so many have more than 2^31
/// numbers, it is as many as every device can bind at a time, and at least a batch; a trainer has others follow in chunks.
pub fn default_samples(network: &Network) -> usize {
    let width = plain_rows(network).width();
    match SHOWN_SAMPLES.checked_mul(width) {
        Some(..=MAX_ELEMENTS) => SHOWN_SAMPLES,
        _ => (Limits::default().binding_bytes as usize / width).max(network.spec().train.batch),
    }
}

/// The rows of a data set without targets and lengths.
fn plain_rows(network: &Network) -> BatchLayout {
    let (input, condition) = (network.spec().input.elements(), network.spec().condition.width());
    BatchLayout { input, condition, ..BatchLayout::default() }
}

/// The plan of one training step of a model on a data set of `samples` samples, as a trainer would run it. Fails where
/// these, or those of a batch, have more than 2^31 numbers, and where the model has nothing to train.
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
    let elements = samples * layout.width();
    let bytes = vec![0; elements];
    let shape = if layout.is_plain() { network.spec().input.clone() } else { [layout.width()].into() };
    let data = Dataset::from_u8(shape, bytes)?;
    let spec = &network.spec().train;
    let feed = Feed::new(BatchSource { data: Held::Borrowed(&data), layout }, "train", spec.batch, u64::MAX)?;
    train_plan(network, &feed, &Groups::new(network), spec.batch, target)
}

fn train_plan(network: &Network, feed: &Feed, groups: &Groups, batch: usize, target: Target) -> Result<Plan> {
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
        metrics: Some(Metrics { state, values, ring: "train.losses".to_owned(), samples: batch }),
        target: target_of(spec, target),
    })
}

/// What a training step is planned for on a device.
pub(super) fn target_of(spec: &TrainSpec, target: Target) -> Target {
    Target { half: spec.precision == Precision::F16, ..target }
}

/// What training makes small, for a batch.
pub(super) fn training_loss(network: &Network, graph: &mut Context, sample: Sample, state: Value) -> Result<Value> {
    let batch = graph.shape(sample.input)[0];
    let Sample { input, target } = augment(graph, network, sample, state)?;
    graph.set_training(state)?;
    graph.set_target(target);
    let objective = network.objective(graph, input, target, state)?;
    let loss = network.with_code_penalties(graph, objective.loss, [input, objective.code], state)?;
    network.with_penalties(graph, loss, batch)
}

/// The parameters that are not frozen, with their gradients, which are scaled where training takes 16 bits.
pub(super) fn trained_parameters(
    network: &Network,
    graph: &mut Graph,
    loss: Value,
    groups: &Groups,
) -> Result<Vec<Trained>> {
    let mut trained = Vec::new();
    let mut values = Vec::new();
    for (index, (name, shape, _)) in network.layout().entries().iter().enumerate() {
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
    // Columns that are kept at length 1 are not pulled along themselves.
    let unit = network.unit_columns().and_then(|own| trained.iter().position(|(name, _)| *name == own.name));
    if let Some(place) = unit {
        graph.keep_unit_columns(values[place])?;
        gradients[place] = across_columns(graph, values[place], gradients[place])?;
    }
    let with = |((parameter, group), gradient)| Trained { parameter, gradient, group };
    Ok(trained.into_iter().zip(gradients).map(with).collect())
}
