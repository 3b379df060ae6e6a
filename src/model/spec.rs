//! Model files: what they say, how they are read, written and changed, and what a usable one is.
//!
//! Reading walks the TOML tree by hand instead of deriving it, because a message then names the key's path and the
//! line, and unknown keys get a suggestion at every depth. Reading looks at types only; [`ModelSpec::validate`]
//! looks at values, so that a spec built in code or changed by [`ModelSpec::set`] is held to the same rules.

mod read;

use std::fmt::{self, Write as _};
use std::path::Path;

use toml::{Table, Value};

use self::read::{Fault, find, line_of, line_of_key, read_model};
use crate::error::{Error, Result};
use crate::nn::{self, Activation, Layer, MAX_ELEMENTS, Parameter, Placed, Reshape};
use crate::shape::Shape;

/// An autoencoder and how it is trained: the content of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The shape of one sample: `[channels, height, width]` or `[features]`.
    pub input: Shape,
    /// What training makes small.
    pub loss: LossKind,
    /// From the input to the latent code.
    pub encoder: Vec<Layer>,
    /// From the latent code to the reconstruction.
    pub decoder: Vec<Layer>,
    /// The file's `[train]`.
    pub train: TrainSpec,
}

/// The loss between a reconstruction and its original, a mean over every element of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    Mae,
    /// Binary cross-entropy, computed from what goes into the decoder's final sigmoid.
    Bce,
}

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
}

/// An optimiser and its settings; PyTorch's defaults where a file does not say.
#[derive(Clone, Debug, PartialEq)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        lr: f64,
    },
    /// Adam with bias correction.
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the gradient's first and second moments.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
    },
}

/// What [`ModelSpec::validate`] finds out about a usable model.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The encoder's layers with their shapes.
    pub encoder: Vec<Placed>,
    /// The decoder's layers with their shapes. The last output has as many elements as the input, though perhaps
    /// not its shape: `[784]` is taken for `[1, 28, 28]`.
    pub decoder: Vec<Placed>,
    /// The shape of one sample's latent code.
    pub latent: Shape,
}

impl LossKind {
    const ALL: [LossKind; 3] = [LossKind::Mse, LossKind::Mae, LossKind::Bce];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            LossKind::Mse => "mse",
            LossKind::Mae => "mae",
            LossKind::Bce => "bce",
        }
    }
}

impl OptimizerSpec {
    /// SGD as PyTorch has it without arguments.
    pub const SGD: OptimizerSpec = OptimizerSpec::Sgd { lr: 1e-2 };
    /// Adam as PyTorch has it without arguments.
    pub const ADAM: OptimizerSpec = OptimizerSpec::Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8 };

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            OptimizerSpec::Sgd { lr } | OptimizerSpec::Adam { lr, .. } => *lr,
        }
    }

    /// Changes the learning rate.
    pub fn set_lr(&mut self, rate: f64) {
        match self {
            OptimizerSpec::Sgd { lr } | OptimizerSpec::Adam { lr, .. } => *lr = rate,
        }
    }

    /// The name in a model file.
    pub fn name(&self) -> &'static str {
        match self {
            OptimizerSpec::Sgd { .. } => "sgd",
            OptimizerSpec::Adam { .. } => "adam",
        }
    }
}

impl Default for TrainSpec {
    fn default() -> TrainSpec {
        TrainSpec { batch: 128, epochs: 5, seed: 0, shuffle: true, validation: 0.1, optimizer: OptimizerSpec::ADAM }
    }
}

impl Checked {
    /// Every layer, the encoder's first.
    pub fn layers(&self) -> impl Iterator<Item = &Placed> {
        self.encoder.iter().chain(&self.decoder)
    }

    /// Every parameter, in the order of the layers, weight before bias.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers().flat_map(|layer| &layer.parameters)
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().map(|parameter| parameter.shape.elements()).sum()
    }
}

impl ModelSpec {
    /// Reads and validates the text of a model file. `path` is for the messages.
    pub fn parse(text: &str, path: &Path) -> Result<ModelSpec> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().and_then(|span| line_of(text, span.start));
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::file(path, format!("{place}{problem}"), "see https://toml.io for the syntax")
        })?;
        let located = |at: &str, what: &str, problem: &str, help: String| {
            let line = line_of_key(text, at).map(|line| format!("line {line}"));
            let what = Some(what.to_owned()).filter(|what| !what.is_empty());
            let place = line.into_iter().chain(what).collect::<Vec<_>>().join(", ");
            let colon = if place.is_empty() { "" } else { ": " };
            Error::file(path, format!("{place}{colon}{problem}"), help)
        };
        let spec = read_model(&table).map_err(|fault| located(&fault.at, &fault.key, &fault.problem, fault.help))?;
        match spec.validate() {
            Ok(_) => Ok(spec),
            Err(Error::Invalid { what, problem, help }) => Err(located(&what, &what, &problem, help)),
            Err(other) => Err(other),
        }
    }

    /// Reads and validates a model file.
    pub fn read(path: &Path) -> Result<ModelSpec> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let text = str::from_utf8(&bytes)
            .map_err(|_| Error::file(path, "is not UTF-8 text", "a model is a TOML file; was another file meant?"))?;
        ModelSpec::parse(text, path)
    }

    /// The model file that [`parse`](ModelSpec::parse) makes this spec of. Everything under `[train]` is written
    /// out, since the file in a run's directory is the record of what was done.
    pub fn to_toml(&self) -> String {
        self.write(false)
    }

    /// Changes one key, given as `key=value` with the key's path from the top of the file, as in `train.batch=64`,
    /// `encoder.0.conv2d.out=32` or `loss=bce`. The value is TOML, or a bare word for a string. Call
    /// [`validate`](ModelSpec::validate) after the last change: one alone may well leave shapes that disagree.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let shown = format!("--set {}", assignment.replace('\n', " "));
        let fail = |problem: String, help: String| Error::invalid(&*shown, problem, help);
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            return Err(fail("there is no value".to_owned(), "write key=value, as in train.batch=64".to_owned()));
        }
        let is_word = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains(['"', '\n']);
        let value = match value.parse::<Value>() {
            Ok(value) => value,
            Err(_) if is_word(value) => Value::String(value.to_owned()),
            Err(error) => {
                let problem = error.message().lines().collect::<Vec<_>>().join(", ");
                return Err(fail(problem, "write the value as in a model file".to_owned()));
            }
        };
        let change = || -> Result<ModelSpec, Fault> {
            let text = self.write(true);
            let mut model = text.parse().map(Value::Table).map_err(|error: toml::de::Error| {
                Fault::new("", format!("the model cannot be written: {}", error.message()), "check its numbers")
            })?;
            *find(&mut model, key)? = value;
            model.as_table().map_or_else(|| Err(Fault::new(key, "is no key", "name one")), read_model)
        };
        *self = change().map_err(|fault| {
            // The argument names the key already, unless the fault lies deeper.
            let place = if fault.key.is_empty() || fault.key == key { String::new() } else { fault.key + ": " };
            fail(format!("{place}{}", fault.problem), fault.help)
        })?;
        Ok(())
    }

    /// Walks the shapes and looks at every value. [`Error::Invalid`] names the key.
    pub fn validate(&self) -> Result<Checked> {
        if self.input.is_empty() || self.input.contains(&0) {
            let problem = format!("expects one or more sizes of at least 1, got {}", self.input);
            return Err(Error::invalid("input", problem, "write [1, 28, 28], say"));
        }
        if nn::elements(&self.input).is_none_or(|count| count > MAX_ELEMENTS) {
            let problem = format!("{} has more than {MAX_ELEMENTS} elements", self.input);
            return Err(Error::invalid("input", problem, "use smaller sizes"));
        }
        let encoder = nn::place("encoder", &self.encoder, &self.input)?;
        let Some(latent) = encoder.last().map(|layer| layer.output.clone()) else { return Err(no_layers("encoder")) };
        let decoder = nn::place("decoder", &self.decoder, &latent)?;
        let Some(last) = decoder.last() else { return Err(no_layers("decoder")) };
        if last.output.elements() != self.input.elements() {
            // An activation at the end only hands on the shape; the layer to change stands before it.
            let shapes = |layer: &&Placed| !matches!(layer.layer, Layer::Activation(_));
            let layer = decoder.iter().rev().find(shapes).unwrap_or(last);
            let problem = format!("the decoder's output is {}, the model's input {}", last.output, self.input);
            let help = match layer.layer {
                Layer::Linear(_) => format!("write {{ linear = {} }}", self.input.elements()),
                Layer::Conv1d(_) | Layer::Conv2d(_) => "change out, kernel, stride or padding".to_owned(),
                _ => "change out, kernel, stride, padding or output_padding".to_owned(),
            };
            return Err(Error::invalid(format!("{}.{}", layer.name, layer.layer.name()), problem, help));
        }
        if self.loss == LossKind::Bce && last.layer != Layer::Activation(Activation::Sigmoid) {
            let problem =
                format!("\"bce\" needs a decoder that ends with \"sigmoid\", this one ends with {}", last.layer);
            return Err(Error::invalid("loss", problem, "add \"sigmoid\" to the decoder, or use \"mse\""));
        }
        let checked = Checked { encoder, decoder, latent };
        if checked.parameter_count() > MAX_ELEMENTS {
            return Err(nn::too_many_parameters("decoder", "the model"));
        }
        self.train.validate()?;
        Ok(checked)
    }

    /// `full` writes every key that there is, which is what [`set`](ModelSpec::set) finds its keys in.
    fn write(&self, full: bool) -> String {
        let mut text = String::new();
        let ModelSpec { input, loss, encoder, decoder, train } = self;
        // Writing to a string cannot fail.
        let _ = write!(text, "input = {input}\nloss = \"{}\"\n", loss.name());
        for (name, layers) in [("encoder", encoder), ("decoder", decoder)] {
            let _ = write!(text, "{name} = [");
            let mut previous: Option<&Layer> = None;
            for layer in layers {
                let starts_line = match (previous, layer) {
                    (None, _) => true,
                    (Some(Layer::Reshape(Reshape::Flatten)), _) | (_, Layer::Activation(_)) => false,
                    (_, Layer::Reshape(Reshape::Unflatten(_))) => false,
                    _ => true,
                };
                text.push_str(if starts_line { "\n  " } else { " " });
                let _ = if full { write!(text, "{layer:#},") } else { write!(text, "{layer},") };
                previous = Some(layer);
            }
            text.push_str("\n]\n");
        }
        let TrainSpec { batch, epochs, seed, shuffle, validation, optimizer } = train;
        let _ = write!(
            text,
            "[train]\nbatch = {batch}\nepochs = {epochs}\nseed = {seed}\nshuffle = {shuffle}\n\
             validation = {validation:?}\noptimizer = {optimizer}\n"
        );
        text
    }
}

/// As a model file has it.
impl fmt::Display for OptimizerSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            OptimizerSpec::Sgd { lr } => write!(f, "{{ sgd = {{ lr = {lr:?} }} }}"),
            OptimizerSpec::Adam { lr, betas, eps } => {
                write!(f, "{{ adam = {{ lr = {lr:?}, betas = {betas:?}, eps = {eps:?} }} }}")
            }
        }
    }
}

impl TrainSpec {
    fn validate(&self) -> Result<()> {
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
        let refuse = |key: &str, expected: &str, value: f64, help: &str| {
            Err(Error::invalid(key, format!("expects {expected}, got {value:?}"), help))
        };
        if !(0.0..1.0).contains(&self.validation) {
            return refuse(
                "train.validation",
                "a fraction, at least 0 and less than 1",
                self.validation,
                "use 0.1, say",
            );
        }
        let key = |name: &str| format!("train.optimizer.{}.{name}", self.optimizer.name());
        let lr = self.optimizer.lr();
        if !(lr.is_finite() && lr > 0.0) {
            return refuse(&key("lr"), "a positive number", lr, "use 0.001, say");
        }
        if let OptimizerSpec::Adam { betas, eps, .. } = self.optimizer {
            if let Some(beta) = betas.into_iter().find(|beta| !(0.0..1.0).contains(beta)) {
                return refuse(&key("betas"), "two numbers, at least 0 and less than 1", beta, "use [0.9, 0.999], say");
            }
            if !(eps.is_finite() && eps > 0.0) {
                return refuse(&key("eps"), "a positive number", eps, "use 1e-8, say");
            }
        }
        Ok(())
    }
}

fn no_layers(list: &str) -> Error {
    Error::invalid(list, "has no layers", "write at least one, such as { linear = 32 }")
}
