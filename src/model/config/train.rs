//! The training settings of a model file: its `[train]`.

use super::super::latent::LatentSpec;
use super::super::resolved::Resolved;
use super::initializer::Initializer;
use super::optimizer::OptimizerSpec;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::Axes;
use crate::plan::Optimizer;
use crate::schema::{Choice, Key, Table, keys, names, validate, validate_table};
use crate::suggest::suggest;

/// Training settings.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSpec {
    /// Batch size; 128 unless given. An epoch's last batch may be smaller.
    pub batch: usize,
    /// Passes over the training set; 5 unless given.
    pub epochs: usize,
    /// Seed of initial weights, shuffling and all other random draws; 0 unless given.
    pub seed: u64,
    /// Initialisation of weights; PyTorch's rule unless given.
    pub initializer: Initializer,
    /// Whether each epoch shuffles the samples; true unless given.
    pub shuffle: bool,
    /// Fraction of the training set that is set aside for validation where the data comes without test files, in `[0,
    /// 1)`, with 0 for none; 0.1 unless given.
    pub validation: f64,
    /// Optimiser; Adam unless given.
    pub optimizer: OptimizerSpec,
    /// Learning rate schedule; constant unless given.
    pub schedule: Schedule,
    /// Updates over which the learning rate rises to the schedule's; 0 unless given.
    pub warmup: usize,
    /// Largest magnitude of a gradient's element; larger ones are clipped.
    pub clip_value: Option<f64>,
    /// Largest norm of all gradients together: larger gradients are scaled down, before `clip_value` applies.
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are accumulated for an update, as if they were one batch; 1 unless given.
    pub accumulate: usize,
    /// Decay of the exponential moving average of the weights: the update after t others decays it by at most (1 + t) /
    /// (10 + t), so that early weights do not dominate. The average is validated and saved as the model.
    pub ema: Option<f64>,
    /// Stochastic weight averaging over epochs. The average is validated and saved as the model.
    pub swa: Option<Swa>,
    /// Early stopping when the loss no longer improves; it restores the best weights.
    pub early_stopping: Option<EarlyStopping>,
    /// Treatment of an update with non-finite gradients; training stops unless given.
    pub non_finite: NonFinite,
    /// Precision in which a training step stores its values; 32 bits unless given.
    pub precision: Precision,
    /// Overrides for single layers. Where several entries set a key for one layer, the last one wins.
    pub layers: Vec<LayerTraining>,
}

/// Early stopping. It watches the validation loss, or the training loss where there is no validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    /// Epochs in a row without improvement after which training ends.
    pub patience: usize,
    /// A loss improves on the best when it is lower by more than this.
    pub min_delta: f64,
}

/// Stochastic weight averaging: the plain mean of the weights at the ends of epochs, from an epoch on, which lets a
/// high learning rate keep exploring. Izmailov et al., arXiv 1803.05407. Before that epoch, the model has the last
/// weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swa {
    /// Epochs before the first one whose weights are averaged.
    pub start: usize,
    /// Averages the weights of one epoch in `every`: the length of the cycles of a cyclical schedule.
    pub every: usize,
    /// Learning rate from epoch `start` on, in place of the schedule's.
    pub lr: Option<f64>,
}

/// Treatment of non-finite gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// Stops training and reports the first value that was not finite.
    #[default]
    Stop,
    /// Skips the update and counts it.
    Skip,
}

/// Precision in which a training step stores activations, their gradients and the weights that products read. The
/// trained weights, optimiser state, losses and all sums have 32 bits in any case, and so has everything in validation
/// and inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, with loss scaling: see [`LossScale`](crate::plan::LossScale).
    F16,
}

impl Precision {
    /// Parses a precision; the error lists all names.
    pub fn from_name(name: &str) -> Result<Precision, String> {
        let known = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| format!("known are {}", Precision::ALL.map(Precision::name).join(", ")))
    }
}

/// Overrides for one layer, for all layers of a list, or for one parameter. Unset keys keep the value of earlier
/// entries, or of the rest of `[train]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerTraining {
    /// `encoder.0`, `encoder` or `encoder.0.bias`.
    pub name: String,
    /// Learning rate in place of the optimiser's.
    pub lr: Option<f64>,
    /// Weight decay in place of the optimiser's.
    pub weight_decay: Option<f64>,
    /// Whether the parameters are frozen.
    pub frozen: Option<bool>,
    /// Factor of the sum of the weights' magnitudes in the loss. Biases do not count.
    pub l1: Option<f64>,
    /// Factor of the sum of the weights' squares in the loss. Biases do not count.
    pub l2: Option<f64>,
    /// Factor of the sum of the output's magnitudes, in the mean over the batch, in the loss. A list's output is that
    /// of its last layer.
    pub activity_l1: Option<f64>,
    /// Factor of the sum of the output's squares, as for `activity_l1`.
    pub activity_l2: Option<f64>,
}

impl Default for TrainSpec {
    fn default() -> TrainSpec {
        TrainSpec {
            batch: 128,
            epochs: 5,
            seed: 0,
            initializer: Initializer::PyTorch,
            shuffle: true,
            validation: 0.1,
            optimizer: OptimizerSpec::new(Optimizer::ADAM),
            schedule: Schedule::Constant,
            warmup: 0,
            clip_value: None,
            clip_norm: None,
            accumulate: 1,
            ema: None,
            swa: None,
            early_stopping: None,
            non_finite: NonFinite::Stop,
            precision: Precision::F32,
            layers: vec![],
        }
    }
}

impl LayerTraining {
    /// Whether the entry covers a parameter or layer of this full name.
    fn covers(&self, name: &str) -> bool {
        name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Table for LayerTraining {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            name: Text[["the name of a layer", "write \"encoder.0\", say"]].mandatory("\"encoder.0\"") =
                "The layer, list or parameter that the entry covers: \"encoder.0\", \"encoder\", \"encoder.0.bias\".",
            lr: Maybe.example("0.001") = "The learning rate, in place of the optimizer's.",
            weight_decay: Maybe.example("0.001") = "The weight decay, in place of the optimizer's.",
            frozen: MaybeFlag = "Whether the parameters are frozen.",
            l1: Maybe.example("0.001") = "The factor of the sum of the weights' magnitudes in the loss.",
            l2: Maybe.example("0.001") = "The factor of the sum of the weights' squares in the loss.",
            activity_l1: Maybe.example("0.001") = "The factor of the sum of the output's magnitudes in the loss.",
            activity_l2: Maybe.example("0.001") = "The factor of the sum of the output's squares in the loss.",
        ]
    }
}

impl Default for Swa {
    fn default() -> Swa {
        Swa { start: 10, every: 1, lr: None }
    }
}

impl Table for Swa {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            start: Whole.mandatory("10") = "Epochs before the first one whose weights are averaged.",
            every: Count = "Epochs per averaged epoch: 1 averages every epoch.",
            lr: PositiveOrFalse.example("0.001") =
                "The learning rate from epoch start on, or false for the schedule's.",
        ]
    }
}

impl Swa {
    /// Interpolation factor of the average towards the weights of an update, `last` in its epoch (counted from 0) or
    /// not: the average equals the weights until the first averaged epoch, then is the mean of the averaged weights.
    pub(crate) fn part(&self, epoch: u64, last: bool) -> f64 {
        let epochs = (epoch + 1).saturating_sub(self.start as u64);
        let (before, now) = (epoch.saturating_sub(self.start as u64) / self.every as u64, epochs / self.every as u64);
        match (before, last && now > before) {
            (_, true) => 1.0 / now as f64,
            (0, false) => 1.0,
            (_, false) => 0.0,
        }
    }
}

impl Default for EarlyStopping {
    fn default() -> EarlyStopping {
        EarlyStopping { patience: 5, min_delta: 0.0 }
    }
}

impl Table for EarlyStopping {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            patience: Count.mandatory("5") = "Epochs in a row without a better loss after which training ends.",
            min_delta: NotNegative = "How far below the best loss a loss must be to count as better.",
        ]
    }
}

names! { "answer" NonFinite { Stop = "stop", Skip = "skip", } }

names! { "precision" Precision { F32 = "f32", F16 = "f16", } }

/// The file's `[train]`.
impl Table for TrainSpec {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            batch: Count = "Samples in a step.",
            epochs: Count = "Passes over the training set.",
            seed: Seed = "The seed of initial weights, shuffling and all other random draws.",
            initializer: choice = format!(
                "The initial weights of linear and convolutional layers: {}.",
                Initializer::names()
            ),
            shuffle: Flag = "Whether every epoch shuffles the samples.",
            validation: Fraction = "The part of the training set that is set aside where the data has no test files.",
            optimizer: choice = format!("The optimizer and its settings: {}.", OptimizerSpec::names()),
            schedule: choice = format!("The schedule of the learning rate: {}.", Schedule::names()),
            warmup: Whole = "Updates in which the learning rate rises to the schedule's.",
            clip_value: PositiveOrFalse.example("1.0") = "The largest magnitude of an element of a gradient, or false.",
            clip_norm: PositiveOrFalse.example("1.0") = "The largest norm of all gradients together, or false.",
            accumulate: Count = "Batches whose gradients are accumulated for an update.",
            ema: FractionOrFalse.example("0.999") =
                "The decay of an exponential moving average of the weights, which becomes the model; or false.",
            swa: table_or_false = "Stochastic weight averaging: the mean of the weights at the ends of epochs becomes \
                the model: { start = 10, every = 1, lr = false }, or false.",
            early_stopping: table_or_false =
                "When training stops early and restores the best weights: { patience = 5, min_delta = 0.0 }, or false.",
            non_finite: choice = "The response to gradients that are not finite: stop training, or skip the update.",
            precision: choice =
                "The precision in which a training step stores its values: f32, or f16 with loss scaling.",
            layers: tables["write [{ name = \"encoder.0\", frozen = true }], say"] =
                "Settings of single layers, of which the last entry wins: [{ name = \"encoder.0\", \
                lr = 1e-4, l2 = 1e-5 }], say.",
        ]
    }
}

impl TrainSpec {
    /// Interpolation factor of the average of [`TrainSpec::ema`] towards the weights after `before` updates: 1 at the
    /// first update, then ever less. Early weights would otherwise outweigh all others for long.
    pub(crate) fn ema_part(decay: f64, before: u64) -> f64 {
        if before == 0 { 1.0 } else { (1.0 - decay).max(9.0 / (10.0 + before as f64)) }
    }

    /// Decay that the average of [`TrainSpec::ema`] reaches in a training of `updates` updates, where that is less than
    /// the requested one.
    pub(crate) fn unreached_decay(&self, updates: u64) -> Option<f64> {
        let decay = self.ema?;
        let reached = 1.0 - TrainSpec::ema_part(decay, updates.saturating_sub(1));
        (reached < decay).then_some(reached)
    }

    /// Value of a key of `layers` for the layer or parameter of this full name, from the last entry that sets the key.
    pub(crate) fn of_layer<T>(&self, name: &str, key: fn(&LayerTraining) -> Option<T>) -> Option<T> {
        self.layers.iter().filter(|layer| layer.covers(name)).rev().find_map(key)
    }

    /// Whether the model is an average of the weights.
    pub fn averages(&self) -> bool {
        self.ema.is_some() || self.swa.is_some()
    }

    pub(super) fn validate(&self, checked: &Resolved, latent: &LatentSpec) -> Result<()> {
        let at_most = |key: &str, value: u64, most: u64| match value > most {
            true => {
                Err(Error::invalid(key, format!("must be at most {most}, got {value}"), format!("use {most} or less")))
            }
            false => Ok(()),
        };
        validate_table(self, "train")?;
        at_most("train.batch", self.batch as u64, 1 << 20)?;
        at_most("train.epochs", self.epochs as u64, 1 << 31)?;
        // TOML has no larger integers.
        at_most("train.seed", self.seed, i64::MAX as u64)?;
        at_most("train.accumulate", self.accumulate as u64, 1 << 20)?;
        self.optimizer.validate()?;
        validate(&self.schedule, "train.schedule")?;
        if self.warmup > 0 && matches!(self.schedule, Schedule::OneCycle { .. }) {
            let problem = "a schedule of one cycle warms up by itself";
            return Err(Error::invalid("train.warmup", problem, "leave warmup out, or use another schedule"));
        }
        if let Some(swa) = self.swa {
            self.validate_swa(swa, checked, latent)?;
        }
        if let Some(early_stopping) = &self.early_stopping {
            validate_table(early_stopping, "train.early_stopping")?;
            at_most("train.early_stopping.patience", early_stopping.patience as u64, 1 << 31)?;
        }
        self.validate_layers(checked)
    }

    fn validate_swa(&self, swa: Swa, checked: &Resolved, latent: &LatentSpec) -> Result<()> {
        let refuse = |key: &str, problem: String, help: &str| Err(Error::invalid(key, problem, help));
        if self.ema.is_some() {
            let problem = "weights have one average, and ema is one".to_owned();
            return refuse("train.swa", problem, "leave one of the two out");
        }
        validate_table(&swa, "train.swa")?;
        if swa.start.saturating_add(swa.every) > self.epochs {
            let problem = format!(
                "of {} epochs none would be averaged that begins after {} and is one in {}",
                self.epochs, swa.start, swa.every
            );
            return refuse("train.swa.start", problem, "average earlier, or train for more epochs");
        }
        if let Some(layer) = checked.layers().find(|layer| layer.keeps_statistics()) {
            let problem = format!("the running statistics of {} are the last weights', not their mean's", layer.name);
            return refuse("train.swa", problem, "use \"layer_norm\" or { group_norm = 4 } there, or ema");
        }
        let follows = latent.facts().follows_weights;
        if let Some(own) = checked.parameters().find(|own| follows.contains(&own.name.as_str())) {
            let problem = format!("\"{}\" follows the last weights, not their mean", own.name);
            return refuse("train.swa", problem, "use ema, whose average is never far from them");
        }
        Ok(())
    }

    fn validate_layers(&self, checked: &Resolved) -> Result<()> {
        for (index, layer) in self.layers.iter().enumerate() {
            let key = format!("train.layers.{index}.name");
            let layers = || checked.layers().map(|layer| layer.name.as_str());
            let parameters = || checked.parameters().map(|parameter| parameter.name.as_str());
            if !layers().chain(parameters()).any(|name| layer.covers(name)) {
                let problem = format!("the model has no layer or parameter {:?}", layer.name);
                let known = ["encoder", "decoder"].into_iter().chain(layers()).chain(parameters());
                return Err(Error::invalid(key, problem, suggest(&layer.name, known)));
            }
            validate_table(layer, &format!("train.layers.{index}"))?;
            if layer.activity_l1.is_some() || layer.activity_l2.is_some() {
                let is_output = |name: &str| checked.layers().any(|placed| placed.name.starts_with(name));
                let moves_only =
                    checked.layers().any(|placed| placed.name == layer.name && placed.layer.axes() == Axes::Moved);
                if !is_output(&layer.name) || moves_only {
                    let problem = format!("{:?} has no activities of its own", layer.name);
                    return Err(Error::invalid(key, problem, "name the layer that computes them"));
                }
            }
        }
        let frozen = |name: &str| self.of_layer(name, |layer| layer.frozen).unwrap_or(false);
        let mut trained = checked.parameters().filter(|parameter| parameter.trained).peekable();
        if trained.peek().is_some() && trained.all(|parameter| frozen(&parameter.name)) {
            return Err(Error::invalid("train.layers", "every parameter is frozen", "leave one to train"));
        }
        Ok(())
    }
}
