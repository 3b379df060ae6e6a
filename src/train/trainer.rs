//! The training loop: epochs of steps on a device, with validation after each epoch.
//!
//! Call path of a step: [`Autoencoder::fit`](crate::Autoencoder::fit), [`Trainer::epoch`], [`Session::run`], and the
//! device's own session, which launches the step.

use super::checkpoint::{Checkpoint, Patience, Progress};
use super::evaluation::{Names, evaluation_plan, measure};
use super::feed::{BatchPlans, Feed, Pass, resident_bytes};
use super::parameter_groups::Groups;
use super::report::{EpochEnd, EpochReport, Observer, Options};
use super::step::{gradients, moments, train_plan};
use super::warnings;
use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::model::Network;
use crate::model::config::{NonFinite, Schedule, TrainSpec};
use crate::plan::state::{GOOD, NORM, SCALE, SKIPPED};
use crate::plan::{LossScale, Plan, State, buffers};
use crate::rng::{HostStream, Sequence};
use crate::tensor::Values;
use std::time::Instant;

/// A model in training on a device: plans, session, data feeds and progress.
pub struct Trainer<'a> {
    pub(super) network: &'a Network,
    pub(super) device: &'a Device,
    pub(super) data: &'a Dataset,
    validation_data: Option<&'a Dataset>,
    /// The plan of an ordinary step.
    plan: Plan,
    /// The plans of steps, in the session.
    plans: BatchPlans,
    pub(super) session: Session,
    pub(super) feed: Feed<'a>,
    validation: Option<Validation<'a>>,
    groups: Groups,
    pub(super) options: Options,
    pub(super) progress: Progress,
    /// The best parameters so far, if early stopping is on.
    best: Option<Values>,
    /// The checkpoint of the start of the last epoch, from which a diagnosis replays the epoch.
    pub(super) base: Option<Checkpoint>,
    /// Whether the observer has already received the warnings found in the settings.
    foreseen: bool,
}

/// The feed, plans and metrics of the validation set.
struct Validation<'a> {
    feed: Feed<'a>,
    plans: BatchPlans,
    /// The names of a batch's metrics, in the order of their values.
    metrics: Names,
}

/// The index of the plan of an ordinary step in a trainer's session.
pub(super) const TRAIN: usize = 0;

impl<'a> Trainer<'a> {
    /// Builds all plans and loads them onto the device. Fails where data and model, or plan and device, do not fit,
    /// where the loss rejects the data's values (`bce` takes none above 1), and where the validation set is scaled
    /// differently from the training set.
    pub fn new(
        network: &'a Network,
        device: &'a Device,
        data: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: Options,
    ) -> Result<Trainer<'a>> {
        let spec = &network.spec().train;
        let budget = options.resident_bytes.unwrap_or_else(|| resident_bytes(device));
        let feed = Feed::new(network.rows(data)?, buffers::TRAIN, spec.batch, budget)?;
        if let Some(validation) = validation {
            validation.expect_scaled_as(data, ["its numbers are", "those that are trained on are"])?;
        }
        network.accepts_batches(feed.batch, data.len())?;
        let groups = Groups::new(network);
        let mut loaded = Vec::new();
        for batch in feed.batches() {
            loaded.push(train_plan(network, &feed, &groups, batch, device.target())?);
        }
        let validating = match validation {
            Some(data) => {
                let feed = Feed::new(network.rows(data)?, buffers::VALIDATION, spec.batch.min(data.len()), budget)?;
                let (plans, mut metrics) = (feed.plans_from(loaded.len()), Names::new());
                for batch in feed.batches() {
                    let (plan, names) = evaluation_plan(network, &feed, batch, device.target())?;
                    metrics = names;
                    loaded.push(if spec.averages() { plan.with_parameters_of(buffers::AVERAGE) } else { plan });
                }
                Some(Validation { feed, plans, metrics })
            }
            None => None,
        };
        let mut session = device.load(&loaded)?;
        if let Some(steps) = options.steps_per_submission {
            session.set_steps_per_submission(TRAIN, steps);
        }
        Ok(Trainer {
            network,
            device,
            data,
            validation_data: validation,
            plan: loaded.swap_remove(TRAIN),
            plans: feed.plans_from(TRAIN),
            session,
            feed,
            validation: validating,
            groups,
            options,
            progress: Progress::default(),
            best: None,
            base: None,
            foreseen: false,
        })
    }

    /// Starts training from these parameters, with all optimiser moments zero.
    pub fn start(&mut self, parameters: &Values) -> Result<()> {
        let zeros = Values::F32(vec![0.0; self.network.layout().elements()]);
        (self.progress, self.best, self.base) = (Progress::begin(self.feed.steps()), None, None);
        self.session.write_parameters(parameters)?;
        if self.spec().averages() {
            self.session.write(buffers::AVERAGE, parameters)?;
        }
        self.write_norm()?;
        (0..self.moments()).try_for_each(|moment| self.write_moment(moment, &zeros))
    }

    /// Resumes from a checkpoint, at the start of an epoch on any data. Fails where the checkpoint is within an epoch
    /// whose number of steps differs from this data's: see [`Checkpoint::begin_epoch_anew`].
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Progress { position, step, reported, steps, .. } = checkpoint.progress;
        let unlike = position > 0 && steps.is_some_and(|steps| steps != self.feed.steps());
        if unlike || position >= self.feed.steps() || position as u64 > step || reported > position as u64 {
            let (data, steps) = (self.feed.data().name(), self.feed.steps());
            let problem = format!("it is at step {position} of an epoch, in which data \"{data}\" has {steps} steps");
            return Err(Error::invalid("checkpoint", problem, "continue with the data that the run began with"));
        }
        self.start(&checkpoint.parameters)?;
        // After the optimiser's moments the checkpoint holds accumulated gradients, which have not become an update
        // yet. There are none at the start of an epoch.
        let kept = if position > 0 { self.moments() } else { self.spec().optimizer.method.moments() };
        for (moment, values) in checkpoint.moments.iter().take(kept).enumerate() {
            self.write_moment(moment, values)?;
        }
        if let (Some(average), true) = (&checkpoint.average, self.spec().averages()) {
            self.session.write(buffers::AVERAGE, average)?;
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

    /// Returns a checkpoint for a later [`Trainer::restore`]. Waits for the device.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        if let Some(base) = self.base.as_ref().filter(|base| base.progress == self.progress) {
            return Ok(base.clone());
        }
        let parameters = self.parameters()?;
        let moments = match self.moments() {
            0 => vec![],
            // On a device that binds few buffers, room for gradients follows the moments.
            kept => {
                let all = self.session.read(buffers::MOMENTS)?.chunks(self.network.layout().elements());
                all.into_iter().take(kept).collect()
            }
        };
        let average = self.spec().averages().then(|| self.session.read(buffers::AVERAGE)).transpose()?;
        self.read_norm()?;
        Ok(Checkpoint { parameters, moments, average, best: self.best.clone(), progress: self.progress.clone() })
    }

    /// Returns the parameters of the current result: the best if early stopping is on, else their average if there is
    /// one, else [`Trainer::parameters`]. Waits for the device.
    pub fn model(&mut self) -> Result<Values> {
        match (&self.best, self.spec().averages()) {
            (Some(best), _) => Ok(best.clone()),
            (None, true) => self.session.read(buffers::AVERAGE),
            (None, false) => self.parameters(),
        }
    }

    pub(super) fn spec(&self) -> &'a TrainSpec {
        &self.network.spec().train
    }

    /// Writes the count of skipped updates and the loss scale, which the device keeps behind the gradient norm.
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

    /// Fails where skipped updates have lowered the loss scale so far that scaling cannot be the cause.
    fn expect_useful_scale(&self) -> Result<()> {
        let Progress { epoch, step, loss_sum, loss_samples, loss_scale, .. } = self.progress;
        let useful = loss_scale.is_none_or(|own| own.scale >= LossScale::LEAST_USEFUL);
        if useful || self.spec().non_finite == NonFinite::Skip {
            return Ok(());
        }
        let (place, value) = ("a gradient, however the loss is scaled,".to_owned(), loss_sum / loss_samples as f64);
        Err(Error::NonFinite { value, step, epoch: epoch + 1, place })
    }

    /// Writes the optimiser's settings for every step of the epoch.
    fn write_schedule(&mut self) -> Result<()> {
        let rows = self.groups.schedule(self.network, &self.feed, &self.progress);
        self.session.write(buffers::SCHEDULE, &Values::F64(rows))
    }

    fn write_moment(&mut self, moment: usize, values: &Values) -> Result<()> {
        self.session.write_at(buffers::MOMENTS, moment * self.network.layout().elements(), values)
    }

    /// Returns the current parameters. Waits for the device.
    pub fn parameters(&mut self) -> Result<Values> {
        self.session.read(buffers::PARAMETERS)
    }

    /// Epochs, steps and schedule state so far.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Number of steps in a whole epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.feed.steps()
    }

    /// Number of samples in an ordinary step.
    pub fn batch(&self) -> usize {
        self.feed.batch
    }

    /// Number of moments that the optimiser keeps for every parameter.
    pub fn moments(&self) -> usize {
        moments(self.spec())
    }

    /// The plan of an ordinary step.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The session, which holds statistics such as launch times.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Number of steps from here to the end of training.
    pub fn steps_left(&self) -> u64 {
        let Progress { epoch, position, step, patience, .. } = self.progress;
        if patience.ended {
            return 0;
        }
        let epochs = (self.spec().epochs as u64).saturating_sub(epoch);
        let whole = (epochs * self.feed.steps() as u64).saturating_sub(position as u64);
        self.options.steps.map_or(whole, |steps| steps.saturating_sub(step).min(whole))
    }

    /// Trains to the end of the current epoch, then validates.
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
                let seen = self.progress.position * self.feed.batch;
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
        let evaluation = match &mut self.validation {
            Some(Validation { feed, plans, metrics }) => Some(measure(&mut self.session, feed, *plans, metrics)?),
            None => None,
        };
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
            // A non-finite result of the epoch's last update shows in no later loss, so check the parameters.
            let end = self.checkpoint()?;
            if !end.parameters.is_finite() {
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

    /// Sends the observer the warnings found in the result of training.
    fn warn_of_result(&mut self, last: &EpochReport, whole: bool, observer: &mut dyn Observer) -> Result<()> {
        let spec = self.network.spec();
        let first = self.progress.first_loss.filter(|_| whole);
        let of_losses = first.and_then(|first| warnings::of_losses(spec, first, last.train_loss, last.epoch));
        let parameters = self.model()?;
        let data = self.validation_data.unwrap_or(self.data);
        // Training is done: an error in inspecting the result must not discard it.
        let of_samples = warnings::of_samples(self.network, &parameters, data).unwrap_or_default();
        of_losses.iter().chain(&of_samples).for_each(|warning| observer.warning(warning));
        Ok(())
    }

    /// Prepares step number `step` of the first epoch for [`Trainer::check`] and [`Trainer::profile`], regardless of
    /// progress. Starts over from the first step after the last uploaded sample.
    pub(super) fn begin_at(&mut self, step: usize) -> Result<()> {
        if !step.is_multiple_of(self.feed.whole_steps()) {
            return Ok(());
        }
        self.progress = Progress::default();
        self.write_schedule()?;
        let state = State { seed: self.spec().seed, ..State::default() };
        let order = self.order();
        std::thread::scope(|scope| self.feed.begin(&mut self.session, &mut Pass::new(scope, 0, order), 0, state))
    }

    /// Runs steps up to sample `end` of the epoch. Returns false if training ended or was stopped earlier.
    fn chunk(&mut self, end: usize, pass: &mut Pass, observer: &mut dyn Observer) -> Result<bool> {
        let batch = self.feed.batch;
        while self.progress.position * batch < end {
            let left = self.steps_left();
            if left == 0 || observer.stop() {
                return Ok(false);
            }
            let full = (end - self.progress.position * batch) / batch;
            let plans = self.plans;
            let (plan, steps) = match (full, plans.tail) {
                (0, Some(tail)) => (tail, 1),
                _ => (plans.full, full.min(left as usize).min(self.session.steps_per_call(plans.full))),
            };
            self.session.run(plan, steps)?;
            self.progress.position += steps;
            self.progress.step += steps as u64;
            let left = (end - (self.progress.position * batch).min(end)).div_ceil(batch);
            self.feed.upload_ahead(&mut self.session, pass, steps, left)?;
            self.collect(observer)?;
        }
        Ok(true)
    }

    /// Fetches the losses of finished steps, and reports them.
    fn collect(&mut self, observer: &mut dyn Observer) -> Result<()> {
        for (plan, samples) in self.feed.batches_of(self.plans) {
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

    /// The order of the epoch's samples, shuffled if the settings say so.
    pub(super) fn order(&self) -> Vec<u32> {
        let spec = self.spec();
        let count = self.feed.samples;
        if spec.shuffle && !self.feed.data().is_stream() {
            Sequence::new(spec.seed, HostStream::Shuffle, self.progress.epoch as u32).permutation(count)
        } else {
            (0..count as u32).collect()
        }
    }

    /// Updates the plateau schedule and early stopping with an epoch's loss.
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

    /// The network in training.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The device that trains the network.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The training set.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// The validation set.
    pub fn validation(&self) -> Option<&'a Dataset> {
        self.validation_data
    }
}
