//! Which of the schedule's groups each parameter follows, and the schedule's rows for an epoch.

use super::checkpoint::Progress;
use super::feed::FeedShape;
use crate::model::Network;
use crate::model::config::{Place, Swa, TrainSpec};
use crate::plan::state::{AVERAGING, NORM_LIMIT, SHARE, VALUE_LIMIT, WAIT};

/// A norm that no gradient of finite numbers worth having exceeds, for limits that only look whether all are finite.
const NO_LIMIT: f64 = 1e30;

/// Parameters that share a learning rate and a weight decay share a group.
pub(super) struct Groups {
    /// Each group's rate and decay.
    settings: Vec<[f64; 2]>,
    /// For each parameter of the layout its group; none where it is frozen, or state that its layer keeps.
    members: Vec<Option<usize>>,
}

impl Groups {
    pub fn new(network: &Network) -> Groups {
        let spec = &network.spec().train;
        let mut groups = Groups { settings: vec![], members: vec![] };
        // In the order of the layout.
        for parameter in network.checked().parameters() {
            let mut own = [spec.optimizer.lr, spec.optimizer.weight_decay];
            let mut frozen = false;
            for layer in spec.layers.iter().filter(|layer| layer.covers(&parameter.name)) {
                own = [layer.lr.unwrap_or(own[0]), layer.weight_decay.unwrap_or(own[1])];
                frozen = layer.frozen.unwrap_or(frozen);
            }
            let known = groups.settings.iter().position(|known| *known == own);
            let group = if frozen || !parameter.trained {
                None
            } else {
                Some(known.unwrap_or_else(|| {
                    groups.settings.push(own);
                    groups.settings.len() - 1
                }))
            };
            groups.members.push(group);
        }
        groups
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.settings.len()
    }

    /// The group of a parameter of the layout, where it has one.
    pub fn of(&self, parameter: usize) -> Option<usize> {
        self.members[parameter]
    }

    /// The rows of the epoch that training stands in.
    pub fn schedule(&self, network: &Network, feed: &FeedShape, progress: &Progress) -> Vec<f64> {
        let spec = &network.spec().train;
        let (steps, together) = (feed.steps(), spec.accumulate);
        let updates = steps.div_ceil(together) as u64;
        let samples = |step: usize| (feed.samples() - step * feed.batch()).min(feed.batch());
        let before = progress.updates_before(together);
        let row = |step: usize, [lr, weight_decay]: [f64; 2]| {
            let first = step / together * together;
            let last = (first + together).min(steps) - 1;
            let update = before + (step / together) as u64;
            // The schedule goes by epochs where those before had more or fewer updates than this one; a warm-up does not.
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
