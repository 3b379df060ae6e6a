//! The `[train]` of a model file.

use super::optimizer::OptimizerSpec;
use super::read::{Fault, Item};
use super::schedule::Schedule;
use super::settings;
use super::{Checked, Layer};
use crate::error::{Error, Result, suggest};
use crate::plan::Optimizer;
use std::fmt::{self, Write as _};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSpec {
    /// Samples in a step; 128 unless given. An epoch's last step takes what is left.
    pub batch: usize,
    /// Passes over the training set; 5 unless given.
    pub epochs: usize,
    /// Decides initial weights, shuffling and all else that is random; 0 unless given.
    pub seed: u64,
    /// Whether each epoch goes through the samples in a new order; true unless given.
    pub shuffle: bool,
    /// The part of the training set that is set aside to validate on where the data comes without test files, in
    /// `[0, 1)`, with 0 for none; 0.1 unless given.
    pub validation: f64,
    /// Adam unless given.
    pub optimizer: OptimizerSpec,
    /// How the learning rate changes; it does not unless given.
    pub schedule: Schedule,
    /// Updates in which the learning rate rises to the schedule's; 0 unless given.
    pub warmup: usize,
    /// The largest magnitude of an element of a gradient.
    pub clip_value: Option<f64>,
    /// The largest norm of all gradients together: beyond it they are scaled down, before `clip_value` looks at them.
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are joined for an update, as if they were one batch; 1 unless given.
    pub accumulate: usize,
    /// The decay of an average of the weights that follows them. It is validated, and is the model that is saved.
    pub ema: Option<f64>,
    /// Ends training when the loss no longer becomes better, with the best weights.
    pub early_stopping: Option<EarlyStopping>,
    /// What becomes of an update whose gradients are not all finite; training stops unless given.
    pub non_finite: NonFinite,
    /// In how many bits a training step stores its values; 32 unless given.
    pub precision: Precision,
    /// What holds for some layers only. Where several entries say it of one layer, the last does.
    pub layers: Vec<LayerTraining>,
}

/// When training ends early. The loss is that of validation, or of training where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    /// Epochs in a row without a better loss after which it ends.
    pub patience: usize,
    /// A loss is better when it is below the best by more than this.
    pub min_delta: f64,
}

/// What becomes of gradients that are not all finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// Training stops, and says what was the first to go bad.
    #[default]
    Stop,
    /// The update is left out and counted.
    Skip,
}

/// In how many bits a training step stores activations, their gradients and the weights that products read. The weights
/// that are trained, what optimisers keep, losses and all sums have 32 bits in any case, and so has everything when a
/// model is validated or used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32.
    #[default]
    F32,
    /// 16, with a loss that is scaled: see [`LossScale`](crate::plan::LossScale).
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::F16];

    /// The name in model files.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }
}

/// What holds for one layer, for all of a list, or for one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerTraining {
    /// `encoder.0`, `encoder` or `encoder.0.bias`.
    pub name: String,
    /// Its own learning rate in place of the optimiser's.
    pub lr: Option<f64>,
    /// Its own weight decay in place of the optimiser's.
    pub weight_decay: Option<f64>,
    /// Whether its parameters stay as they are.
    pub frozen: bool,
    /// This times the sum of its weights' magnitudes is added to the loss. Biases do not count.
    pub l1: f64,
    /// This times the sum of its weights' squares is added to the loss.
    pub l2: f64,
    /// This times the sum of its output's magnitudes, in the mean over the batch, is added to the loss. A list's output is
    /// that of its last layer.
    pub activity_l1: f64,
    /// The same of squares.
    pub activity_l2: f64,
}

const KEYS: [&str; 16] = [
    "batch",
    "epochs",
    "seed",
    "shuffle",
    "validation",
    "optimizer",
    "schedule",
    "warmup",
    "clip_value",
    "clip_norm",
    "accumulate",
    "ema",
    "early_stopping",
    "non_finite",
    "precision",
    "layers",
];

impl Default for TrainSpec {
    fn default() -> TrainSpec {
        TrainSpec {
            batch: 128,
            epochs: 5,
            seed: 0,
            shuffle: true,
            validation: 0.1,
            optimizer: OptimizerSpec::new(Optimizer::ADAM),
            schedule: Schedule::Constant,
            warmup: 0,
            clip_value: None,
            clip_norm: None,
            accumulate: 1,
            ema: None,
            early_stopping: None,
            non_finite: NonFinite::Stop,
            precision: Precision::F32,
            layers: vec![],
        }
    }
}

impl LayerTraining {
    /// Whether it speaks of a parameter or layer of this full name.
    pub fn covers(&self, name: &str) -> bool {
        name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    fn numbers(&self) -> [(&'static str, f64); 4] {
        let LayerTraining { l1, l2, activity_l1, activity_l2, .. } = self;
        [("l1", *l1), ("l2", *l2), ("activity_l1", *activity_l1), ("activity_l2", *activity_l2)]
    }

    fn read(item: &Item) -> Result<LayerTraining, Fault> {
        let keys = item.keys(&["name", "lr", "weight_decay", "frozen", "l1", "l2", "activity_l1", "activity_l2"])?;
        let number = |name: &str| keys.get(name).map(|item| item.number()).transpose();
        Ok(LayerTraining {
            name: keys.need("name", "\"encoder.0\"")?.text("the name of a layer", "write \"encoder.0\", say")?,
            lr: number("lr")?,
            weight_decay: number("weight_decay")?,
            frozen: keys.flag("frozen", false)?,
            l1: keys.number("l1", 0.0)?,
            l2: keys.number("l2", 0.0)?,
            activity_l1: keys.number("activity_l1", 0.0)?,
            activity_l2: keys.number("activity_l2", 0.0)?,
        })
    }
}

/// As a model file has it.
impl fmt::Display for LayerTraining {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{{ name = {:?}", self.name)?;
        for (key, value) in [("lr", self.lr), ("weight_decay", self.weight_decay)] {
            if let Some(value) = value {
                write!(f, ", {key} = {value:?}")?;
            }
        }
        if self.frozen {
            write!(f, ", frozen = true")?;
        }
        for (key, value) in self.numbers() {
            if value != 0.0 {
                write!(f, ", {key} = {value:?}")?;
            }
        }
        write!(f, " }}")
    }
}

impl TrainSpec {
    pub(super) fn read(item: &Item) -> Result<TrainSpec, Fault> {
        let keys = item.keys(&KEYS)?;
        let default = TrainSpec::default();
        // A number, or false for none.
        let optional = |name: &str| match keys.get(name) {
            Some(item) if item.is_false() => Ok(None),
            Some(item) => item.number().map(Some),
            None => Ok(None),
        };
        let early_stopping = match keys.get("early_stopping") {
            Some(item) if !item.is_false() => {
                let keys = item.keys(&["patience", "min_delta"])?;
                let patience = keys.need("patience", "5")?.whole()?;
                Some(EarlyStopping { patience, min_delta: keys.number("min_delta", 0.0)? })
            }
            _ => None,
        };
        let non_finite = match keys.get("non_finite") {
            Some(item) => match item.choice("answer", &["stop", "skip"])? {
                ("skip", None) => NonFinite::Skip,
                (_, None) => NonFinite::Stop,
                (_, Some(item)) => return item.wrong("no settings", "write \"stop\" or \"skip\""),
            },
            None => NonFinite::Stop,
        };
        let precision = |item: Item| item.one_of("precision", &Precision::ALL, Precision::name);
        let layers = match keys.get("layers") {
            Some(item) => item.list("a list", "write [{ name = \"encoder.0\", frozen = true }], say")?,
            None => vec![],
        };
        Ok(TrainSpec {
            batch: keys.whole("batch", default.batch)?,
            epochs: keys.whole("epochs", default.epochs)?,
            seed: keys.whole("seed", default.seed)?,
            shuffle: keys.flag("shuffle", default.shuffle)?,
            validation: keys.number("validation", default.validation)?,
            optimizer: keys.get("optimizer").map_or(Ok(default.optimizer), |item| settings::read(&item))?,
            schedule: keys.get("schedule").map_or(Ok(default.schedule), |item| settings::read(&item))?,
            warmup: keys.whole("warmup", default.warmup)?,
            clip_value: optional("clip_value")?,
            clip_norm: optional("clip_norm")?,
            accumulate: keys.whole("accumulate", default.accumulate)?,
            ema: optional("ema")?,
            early_stopping,
            non_finite,
            precision: keys.get("precision").map_or_else(|| Ok(default.precision), precision)?,
            layers: layers.iter().map(LayerTraining::read).collect::<Result<_, _>>()?,
        })
    }

    /// The table as a model file has it, every key written out.
    pub(super) fn write(&self, text: &mut String) -> fmt::Result {
        let optional = |number: Option<f64>| number.map_or("false".to_owned(), |number| format!("{number:?}"));
        let TrainSpec { batch, epochs, seed, shuffle, validation, optimizer, schedule, warmup, accumulate, .. } = self;
        writeln!(text, "[train]\nbatch = {batch}\nepochs = {epochs}\nseed = {seed}\nshuffle = {shuffle}")?;
        writeln!(text, "validation = {validation:?}\noptimizer = {optimizer}\nschedule = {schedule}")?;
        writeln!(text, "warmup = {warmup}\nclip_value = {}", optional(self.clip_value))?;
        writeln!(text, "clip_norm = {}\naccumulate = {accumulate}", optional(self.clip_norm))?;
        writeln!(text, "ema = {}", optional(self.ema))?;
        match self.early_stopping {
            Some(EarlyStopping { patience, min_delta }) => {
                writeln!(text, "early_stopping = {{ patience = {patience}, min_delta = {min_delta:?} }}")?;
            }
            None => writeln!(text, "early_stopping = false")?,
        }
        let answer = if self.non_finite == NonFinite::Skip { "skip" } else { "stop" };
        writeln!(text, "non_finite = \"{answer}\"\nprecision = \"{}\"", self.precision.name())?;
        let layers: Vec<String> = self.layers.iter().map(LayerTraining::to_string).collect();
        writeln!(text, "layers = [{}]", layers.join(", "))
    }

    pub(super) fn validate(&self, checked: &Checked) -> Result<()> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            let (bound, help) = match value {
                _ if value < least => (format!("at least {least}"), format!("use {least} or more")),
                _ if value > most => (format!("at most {most}"), format!("use {most} or less")),
                _ => return Ok(()),
            };
            Err(Error::invalid(key, format!("must be {bound}, got {value}"), help))
        };
        within("train.batch", self.batch as u64, 1, 1 << 20)?;
        within("train.epochs", self.epochs as u64, 1, 1 << 31)?;
        // TOML has no larger integers.
        within("train.seed", self.seed, 0, i64::MAX as u64)?;
        within("train.accumulate", self.accumulate as u64, 1, 1 << 20)?;
        let refuse = |key: &str, expected: &str, value: f64, help: &str| {
            Err(Error::invalid(key, format!("expects {expected}, got {value:?}"), help))
        };
        let fraction = "a fraction, at least 0 and less than 1";
        if !(0.0..1.0).contains(&self.validation) {
            return refuse("train.validation", fraction, self.validation, "use 0.1, say");
        }
        self.optimizer.validate()?;
        settings::validate(&self.schedule, "train.schedule")?;
        if self.warmup > 0 && matches!(self.schedule, Schedule::OneCycle { .. }) {
            let problem = "a schedule of one cycle warms up by itself";
            return Err(Error::invalid("train.warmup", problem, "leave warmup out, or use another schedule"));
        }
        for (key, number) in [("train.clip_value", self.clip_value), ("train.clip_norm", self.clip_norm)] {
            match number {
                Some(number) if !(number > 0.0 && number <= f32::MAX as f64) => {
                    return refuse(key, "a positive number, or false", number, "use 1.0, say");
                }
                _ => {}
            }
        }
        match self.ema {
            Some(decay) if !(0.0..1.0).contains(&decay) => {
                return refuse("train.ema", &format!("{fraction}, or false"), decay, "use 0.999, say");
            }
            _ => {}
        }
        if let Some(EarlyStopping { patience, min_delta }) = self.early_stopping {
            within("train.early_stopping.patience", patience as u64, 1, 1 << 31)?;
            if !(min_delta.is_finite() && min_delta >= 0.0) {
                let key = "train.early_stopping.min_delta";
                return refuse(key, "a number, at least 0", min_delta, "use 0.0, say");
            }
        }
        self.validate_layers(checked)
    }

    fn validate_layers(&self, checked: &Checked) -> Result<()> {
        for (index, layer) in self.layers.iter().enumerate() {
            let key = |name: &str| format!("train.layers.{index}.{name}");
            let layers = || checked.layers().map(|layer| layer.name.as_str());
            let parameters = || checked.parameters().map(|parameter| parameter.name.as_str());
            if !layers().chain(parameters()).any(|name| layer.covers(name)) {
                let problem = format!("the model has no layer or parameter {:?}", layer.name);
                let known = ["encoder", "decoder"].into_iter().chain(layers()).chain(parameters());
                return Err(Error::invalid(key("name"), problem, suggest(&layer.name, known)));
            }
            let rates = [("lr", layer.lr), ("weight_decay", layer.weight_decay)];
            let rates = rates.into_iter().filter_map(|(name, number)| Some((name, number?)));
            for (name, number) in layer.numbers().into_iter().chain(rates) {
                if !(number.is_finite() && number >= 0.0) || (name == "lr" && number == 0.0) {
                    let expected = if name == "lr" { "a positive number" } else { "a number, at least 0" };
                    let problem = format!("expects {expected}, got {number:?}");
                    return Err(Error::invalid(key(name), problem, "use 0.001, say"));
                }
            }
            if layer.activity_l1 + layer.activity_l2 > 0.0 {
                let is_output = |name: &str| checked.layers().any(|placed| placed.name.starts_with(name));
                let moves_only = checked
                    .layers()
                    .any(|placed| placed.name == layer.name && matches!(placed.layer, Layer::Reshape(_)));
                if !is_output(&layer.name) || moves_only {
                    let problem = format!("{:?} has no activities of its own", layer.name);
                    return Err(Error::invalid(key("name"), problem, "name the layer that computes them"));
                }
            }
        }
        let frozen = |name: &str| self.layers.iter().any(|layer| layer.frozen && layer.covers(name));
        let mut trained = checked.parameters().filter(|parameter| parameter.trained).peekable();
        if trained.peek().is_some() && trained.all(|parameter| frozen(&parameter.name)) {
            return Err(Error::invalid("train.layers", "every parameter is frozen", "leave one to train"));
        }
        Ok(())
    }
}
