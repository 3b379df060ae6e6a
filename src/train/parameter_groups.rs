//! Parameter groups of the learning-rate schedule, and the schedule's rows for an epoch.

use super::checkpoint::Progress;
use super::feed::FeedShape;
use crate::model::Network;
use crate::model::config::{Place, Swa, TrainSpec};
use crate::plan::state::{AVERAGING, NORM_LIMIT, SHARE, VALUE_LIMIT, WAIT};

/// A limit above any useful gradient's norm, for a norm that is computed only to find gradients that are not finite.
const NO_LIMIT: f64 = 1e30;

/// Groups of parameters that share a learning rate and a weight decay.
pub(super) struct Groups {
    /// Learning rate and weight decay of each group.
    settings: Vec<[f64; 2]>,
    /// The group of each parameter of the layout; none if the parameter is frozen, or is state kept by its layer.
    members: Vec<Option<usize>>,
}

impl Groups {
    pub fn new(network: &Network) -> Groups {
        let spec = &network.spec().train;
        let mut groups = Groups { settings: vec![], members: vec![] };
        // In the order of the layout.
        for parameter in network.checked().parameters() {
            let name = &parameter.name;
            let lr = spec.of_layer(name, |layer| layer.lr).unwrap_or(spec.optimizer.lr);
            let weight_decay = spec.of_layer(name, |layer| layer.weight_decay).unwrap_or(spec.optimizer.weight_decay);
            let frozen = spec.of_layer(name, |layer| layer.frozen).unwrap_or(false);
            let own = [lr, weight_decay];
            let trained = parameter.trained && !frozen;
            if trained && !groups.settings.contains(&own) {
                groups.settings.push(own);
            }
            let group = groups.settings.iter().position(|known| *known == own);
            groups.members.push(group.filter(|_| trained));
        }
        groups
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.settings.len()
    }

    /// The group of a parameter of the layout, if it is trained.
    pub fn of(&self, parameter: usize) -> Option<usize> {
        self.members[parameter]
    }

    /// The schedule rows of the current epoch, for each step and group.
    pub fn schedule(&self, network: &Network, feed: &FeedShape, progress: &Progress) -> Vec<f64> {
        let spec = &network.spec().train;
        let (steps, together) = (feed.steps(), spec.accumulate);
        let updates = steps.div_ceil(together) as u64;
        let samples = |step: usize| (feed.samples - step * feed.batch).min(feed.batch);
        let before = progress.updates_before(together);
        let row = |step: usize, [lr, weight_decay]: [f64; 2]| {
            let first = step / together * together;
            let last = (first + together).min(steps) - 1;
            let update = before + (step / together) as u64;
            // The schedule counts whole epochs, since earlier ones may have had other lengths; warm-up counts updates.
            let by_epochs = progress.epoch * updates + (step / together) as u64;
            let warmup = spec.warmup as u64;
            let place = Place {
                update: if update < warmup { update } else { by_epochs.max(warmup) },
                updates: updates * spec.epochs as u64,
                epoch: progress.epoch,
                epochs: spec.epochs as u64,
                reductions: progress.plateau.reductions,
            };
            let rate = match spec.swa {
                Some(Swa { start, lr: Some(own), .. }) if progress.epoch >= start as u64 => match spec.optimizer.lr {
                    0.0 => own,
                    all => own * lr / all,
                },
                _ => spec.schedule.rate(lr, warmup, place),
            };
            let mut row = spec.optimizer.method.schedule_row(update + 1, rate, weight_decay);
            row[SHARE] = samples(step) as f64 / (first..=last).map(samples).sum::<usize>() as f64;
            row[WAIT] = if step < last { 1.0 } else { 0.0 };
            row[VALUE_LIMIT] = spec.clip_value.unwrap_or(0.0);
            row[NORM_LIMIT] = spec.clip_norm.unwrap_or(NO_LIMIT);
            row[AVERAGING] = match (spec.ema, spec.swa) {
                _ if step < last => 0.0,
                (Some(decay), _) => TrainSpec::ema_part(decay, update),
                (None, Some(swa)) => swa.part(progress.epoch, last + 1 == steps),
                (None, None) => 0.0,
            };
            row
        };
        (0..steps).flat_map(|step| self.settings.iter().flat_map(move |own| row(step, *own))).collect()
    }
}
