//! Model files: what they say, how they are read, written and changed, and what a usable one is.
//!
//! Reading walks the TOML tree by hand instead of deriving it, because a message then names the key's path and the
//! line, and unknown keys get a suggestion at every depth. Reading looks at types only; [`ModelSpec::validate`]
//! looks at values, so that a spec built in code or changed by [`ModelSpec::set`] is held to the same rules.

mod chosen;
mod columns;
mod condition;
mod corruption;
mod difference;
mod initializer;
mod latent;
mod loss;
mod optimizer;
mod penalties;
mod read;
mod schedule;
mod schema;
mod settings;
mod space;
mod train;

pub use self::chosen::{Bits, TopK, VectorQuantised};
pub(crate) use self::chosen::{CODEBOOK, COUNTS, IDLE, SUMS, THRESHOLD};
pub use self::condition::Condition;
pub(crate) use self::condition::channel_axis;
pub use self::corruption::{Corruption, Level};
pub use self::initializer::Initializer;
pub(crate) use self::latent::STEPS;
pub use self::latent::{Adversarial, Gaussian, LatentSpec, MmdKernel, Wasserstein};
pub(crate) use self::loss::LOG_VARIANCE;
pub use self::loss::{CustomLoss, LossKind, LossSpec};
pub use self::optimizer::OptimizerSpec;
pub(crate) use self::penalties::MOST_EXACT;
pub use self::penalties::{Contractive, Penalties, Sparsity};
pub use self::schedule::{Place, Schedule};
use self::settings::Table as _;
pub use self::space::{Candidates, Dimension, Halving, Method, Metric, SearchSpec};
pub use self::train::{EarlyStopping, LayerTraining, NonFinite, Precision, Swa, TrainSpec};

use std::fmt::Write as _;
use std::path::Path;

use toml::Value;

use self::read::{Fault, find, located, parse_table, read_model};
use super::extensions::Extensions;
use crate::data::Column;
use crate::data::pictures::{Fit, PictureFormat};
use crate::error::{Error, Result};
use crate::files;
use crate::nn::{self, Activation, Axes, Blocks, Layer, MAX_ELEMENTS, Parameter, Placed, Reshape};
use crate::shape::Shape;

/// No model file is longer; another file may be, and its tree would be larger still.
const LONGEST_FILE: usize = 1 << 20;

/// An autoencoder and how it is trained: the content of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The shape of one sample: `[channels, height, width]` or `[features]`.
    pub input: Shape,
    /// What training makes small.
    pub loss: LossSpec,
    /// What is done to samples before the encoder sees them.
    pub corruption: Corruption,
    /// What encoder and decoder are told about a sample.
    pub condition: Condition,
    /// From the input to the latent code.
    pub encoder: Vec<Layer>,
    /// What the code is.
    pub latent: LatentSpec,
    /// From the latent code to the reconstruction.
    pub decoder: Vec<Layer>,
    /// What training adds to the loss for the sake of the code.
    pub penalties: Penalties,
    /// The file's `[data]`.
    pub data: DataSpec,
    /// Lists of layers that `{ block = "name" }` stands for: the file's `[blocks]`.
    pub blocks: Blocks,
    /// The file's `[train]`.
    pub train: TrainSpec,
}

/// How data become samples of the model's input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSpec {
    /// Whether numbers become 0 or 1, and how; they stay as they are unless given.
    pub binarise: Binarise,
    /// What becomes of pictures of other proportions; `crop` unless given.
    pub fit: Fit,
    /// How samples are changed while they are trained on; not at all unless given.
    pub augment: Augment,
    /// Whether the data decides how many features the input has: see [`ModelSpec::fit_to`]. It does not unless given.
    pub sets_input: bool,
    /// The columns of a table, which [`LossKind::Columns`] reconstructs. Where the data sets the input, those that a table has
    /// beside these follow.
    pub columns: Vec<Column>,
    /// The column of a CSV file that holds labels and is no part of samples: its name, or its number, counted from 1, where the
    /// file has no names. Empty for none.
    pub label: String,
    /// The labels that are told to a model with `condition = { labels = COUNT }`, in the order of their classes; empty where
    /// they are the numbers of their classes, counted from 0. See [`ModelSpec::fit_to`].
    pub classes: Vec<String>,
}

/// What is drawn anew for every sample of every step. It changes what is to be reconstructed as well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    /// Pictures move by up to so many whole pixels in both directions, black coming in.
    pub shift: usize,
    /// Pictures are mirrored, or not.
    pub flip: Flip,
    /// Pictures are turned by up to so many degrees either way.
    pub rotate: f64,
}

/// How numbers from 0 to 1 become 0 or 1 on the device, in training and in validation, for the encoder and for what is to be
/// reconstructed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binarise {
    /// They do not.
    #[default]
    None,
    /// 1 from a half on.
    Threshold,
    /// 1 with the number as its probability, drawn anew for every step: Salakhutdinov and Murray, ICML 2008.
    Stochastic,
}

impl Binarise {
    /// All there are.
    pub const ALL: [Binarise; 3] = [Binarise::None, Binarise::Threshold, Binarise::Stochastic];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            Binarise::None => "none",
            Binarise::Threshold => "threshold",
            Binarise::Stochastic => "stochastic",
        }
    }
}

/// In which directions pictures are mirrored, each for one in two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// In none.
    #[default]
    None,
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// In both, each by a draw of its own.
    Both,
}

impl Flip {
    /// All there are.
    pub const ALL: [Flip; 4] = [Flip::None, Flip::Horizontal, Flip::Vertical, Flip::Both];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            Flip::None => "none",
            Flip::Horizontal => "horizontal",
            Flip::Vertical => "vertical",
            Flip::Both => "both",
        }
    }
}

impl Augment {
    /// Whether anything moves pixels.
    pub fn moves(&self) -> bool {
        self.shift > 0 || self.flip != Flip::None || self.rotate > 0.0
    }

    fn validate(&self, input: &Shape) -> Result<()> {
        let refuse =
            |key: &str, problem: String, help: &str| Err(Error::invalid(format!("data.augment.{key}"), problem, help));
        if self.moves() && input.len() != 3 {
            let key = if self.shift > 0 {
                "shift"
            } else if self.rotate > 0.0 {
                "rotate"
            } else {
                "flip"
            };
            let problem = format!("it is for pictures, but the input is {input}");
            return refuse(key, problem, "use a model with input [channels, height, width]");
        }
        let most = input.iter().skip(1).min().map_or(0, |size| (size - 1).min(LARGEST_SHIFT));
        if self.shift > most {
            return refuse("shift", format!("must be at most {most}, got {}", self.shift), "use fewer pixels");
        }
        if !(0.0..=180.0).contains(&self.rotate) {
            return refuse("rotate", format!("expects degrees from 0 to 180, got {:?}", self.rotate), "use 10, say");
        }
        Ok(())
    }
}

/// A shift is a sum of as many terms.
const LARGEST_SHIFT: usize = 32;

/// What [`ModelSpec::validate`] finds out about a usable model.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The encoder's layers with their shapes.
    pub encoder: Vec<Placed>,
    /// The layers from the encoder's output to what the latent needs: mean and logarithm of the variance of a gaussian, or the
    /// discriminator of an adversary.
    pub heads: Vec<Placed>,
    /// The decoder's layers with their shapes. The last output has as many elements as the input, though perhaps
    /// not its shape: `[784]` is taken for `[1, 28, 28]`.
    pub decoder: Vec<Placed>,
    /// The shape of one sample's latent code.
    pub latent: Shape,
    /// Parameters and state that belong to no layer: the latent's, then the loss's.
    pub own: Vec<Parameter>,
}

impl Resolved {
    /// Every layer, the encoder's first, each before those inside of it.
    pub fn layers(&self) -> impl Iterator<Item = &Placed> {
        let layers = nn::walk(&self.encoder).into_iter().chain(nn::walk(&self.heads));
        layers.chain(nn::walk(&self.decoder))
    }

    /// Every parameter and untrained state, in the order of the layers, weight before bias before state; then those that
    /// belong to no layer.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers().flat_map(|layer| &layer.parameters).chain(&self.own)
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().filter(|parameter| parameter.trained).map(|parameter| parameter.shape.elements()).sum()
    }
}

impl ModelSpec {
    /// Reads and validates the text of a model file. `path` is for the messages.
    pub fn parse(text: &str, path: &Path) -> Result<ModelSpec> {
        ModelSpec::parse_with(text, path, &Extensions::new())
    }

    /// [`parse`](ModelSpec::parse) for models with an application's own losses and layers.
    pub fn parse_with(text: &str, path: &Path, extensions: &Extensions) -> Result<ModelSpec> {
        let table = parse_table(text, path)?;
        let located = |at: &str, what: &str, problem: &str, help| located(text, path, [at, what], problem, help);
        let mut spec =
            read_model(&table).map_err(|fault| located(&fault.at, &fault.key, &fault.problem, fault.help))?;
        extensions.resolve(&mut spec);
        match spec.validate() {
            Ok(_) => Ok(spec),
            Err(Error::Invalid { what, problem, help }) => Err(located(&what, &what, &problem, help)),
            Err(other) => Err(other),
        }
    }

    /// Reads and validates a model file.
    pub fn read(path: &Path) -> Result<ModelSpec> {
        ModelSpec::read_with(path, &Extensions::new())
    }

    /// [`read`](ModelSpec::read) for models with an application's own losses and layers.
    pub fn read_with(path: &Path, extensions: &Extensions) -> Result<ModelSpec> {
        let text = &read_text(path, "a model")?;
        ModelSpec::parse_with(text, path, extensions)
    }

    /// The JSON Schema (draft 2020-12) of model files, made of the same lists of keys and layers that files are read by. It
    /// knows types, names and simple bounds; whether shapes fit each other only [`validate`](ModelSpec::validate) can tell.
    pub fn schema() -> serde_json::Value {
        schema::model()
    }

    /// The keys at the top of a model file, each with what it is about, and those of its `[train]`.
    pub fn keys() -> [Vec<(&'static str, &'static str)>; 2] {
        let mut blank = ModelSpec::blank();
        let train = blank.train.fields().iter().map(|field| (field.key, field.about)).collect();
        [blank.fields().iter().map(|field| (field.key, field.about)).collect(), train]
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
        let own = Extensions::of(self);
        *self = change().map_err(|fault| {
            // The argument names the key already, unless the fault lies deeper.
            let place = if fault.key.is_empty() || fault.key == key { String::new() } else { fault.key + ": " };
            fail(format!("{place}{}", fault.problem), fault.help)
        })?;
        own.resolve(self);
        Ok(())
    }

    /// Gives codes so many numbers: those of a latent with a size of its own, else the features, or channels, that the
    /// encoder's last linear, recurrent or convolutional layer leaves, behind which only layers may stand that keep them. Call
    /// [`validate`](ModelSpec::validate) afterwards.
    pub fn set_latent(&mut self, size: usize) -> Result<()> {
        if let Some(own) = self.latent.size() {
            *own = size;
            return Ok(());
        }
        if let LatentSpec::TopK(own) = &mut self.latent {
            own.k = own.k.min(size);
        }
        // Poolings keep channels, but not the features that lie along their axes.
        let mut pooled = false;
        for layer in self.encoder.iter_mut().rev() {
            match layer.axes() {
                Axes::Features | Axes::Sequence if pooled => break,
                Axes::Features | Axes::Sequence | Axes::Channels => {
                    let Some((out, directions)) = layer.out_mut() else { break };
                    if !size.is_multiple_of(directions) {
                        let problem = format!("the encoder's last layer leaves as much in both directions, not {size}");
                        return Err(Error::invalid("latent", problem, "give an even number"));
                    }
                    *out = size / directions;
                    return Ok(());
                }
                Axes::Pooled => pooled = true,
                Axes::Elementwise | Axes::Same => {}
                Axes::Moved | Axes::Tied | Axes::Lists | Axes::Other => break,
            }
        }
        let problem = "the encoder does not end in a layer that decides how many numbers a code has";
        Err(Error::invalid(
            "latent",
            problem,
            "end it with { linear = 32 }, say, or give the latent a size in the model file",
        ))
    }

    /// What pictures are brought to for the model: its input, where that is `[1, height, width]` or `[3, height, width]`.
    pub fn pictures(&self) -> Option<PictureFormat> {
        PictureFormat::of(&self.input, self.data.fit)
    }

    /// Walks the shapes and looks at every value. [`Error::Invalid`] names the key.
    pub fn validate(&self) -> Result<Resolved> {
        if self.input.is_empty() || self.input.contains(&0) {
            let problem = format!("expects one or more sizes of at least 1, got {}", self.input);
            return Err(Error::invalid("input", problem, "write [1, 28, 28], say"));
        }
        if nn::elements(&self.input).is_none_or(|count| count > MAX_ELEMENTS) {
            let problem = format!("{} has more than {MAX_ELEMENTS} elements", self.input);
            return Err(Error::invalid("input", problem, "use smaller sizes"));
        }
        // So that a name can be written as a key, and stand in a path.
        let plain =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if let Some(name) = self.blocks.keys().find(|name| !plain(name)) {
            let problem = format!("{name:?} is no name for a block");
            return Err(Error::invalid("blocks", problem, "use letters, digits, _ and -"));
        }
        self.validate_columns()?;
        self.validate_classes()?;
        self.condition.validate()?;
        let (input, width) = self.data.sizes(&self.input);
        let seen = self.condition.beside(&input);
        let encoder = nn::place_with(&self.blocks, "encoder", &self.encoder, &seen)?;
        let Some(encoded) = encoder.last().map(|layer| layer.output.clone()) else { return Err(no_layers("encoder")) };
        self.latent.validate()?;
        let (heads, latent) = self.latent.place(&encoded)?;
        let known = self.condition.beside(&latent);
        let decoder = nn::place_with(&self.blocks, "decoder", &self.decoder, &known)
            .map_err(|error| nn::with_forgotten_flatten(error, &encoder))?;
        let Some(last) = decoder.last() else { return Err(no_layers("decoder")) };
        if last.output.elements() != width {
            // The layer to change is the last one that does more than hand on the shape.
            let layer = decoder
                .iter()
                .rev()
                .find(|layer| !matches!(layer.layer.axes(), Axes::Elementwise | Axes::Same))
                .unwrap_or(last);
            let problem = match self.data.is_table() {
                true => format!("the decoder's output is {}, its columns take {width} numbers", last.output),
                false => format!("the decoder's output is {}, the model's input {}", last.output, self.input),
            };
            let rows: usize = layer.input[..layer.input.len() - 1].iter().product();
            let help = match layer.layer {
                Layer::Linear(_) if width.is_multiple_of(rows) => format!("write {{ linear = {} }}", width / rows),
                Layer::Linear(_) => format!("put \"flatten\" before it, and write {{ linear = {width} }}"),
                Layer::TiedLinear(_) => "tie it to another layer, or change out".to_owned(),
                Layer::Conv1d(_) | Layer::Conv2d(_) => "change out, kernel, stride or padding".to_owned(),
                Layer::ConvTranspose1d(_) | Layer::ConvTranspose2d(_) => {
                    "change out, kernel, stride, padding or output_padding".to_owned()
                }
                _ => "change its sizes, or the layers before it".to_owned(),
            };
            let error = nn::with_forgotten_flatten(Error::invalid(&*layer.key, problem, help), &encoder);
            return Err(nn::with_forgotten_flatten(error, &decoder));
        }
        self.latent.suits(&encoder, &latent, &decoder)?;
        nn::check_ties([&encoder, &decoder])?;
        self.loss.validate(&self.input, last)?;
        if let LatentSpec::Gaussian(Gaussian { samples: 2.., .. }) = self.latent
            && self.loss.likelihood().is_none()
        {
            let problem = format!("the importance-weighted bound needs a likelihood, the loss is {}", self.loss);
            return Err(Error::invalid("latent.gaussian.samples", problem, "use loss = \"bernoulli\", say"));
        }
        self.corruption.validate()?;
        self.penalties.validate(&encoder, &self.latent, &latent)?;
        if self.penalties.contractive.is_some() && self.latent.is_discrete() {
            let problem = format!(
                "codes of a {} latent are vectors of a codebook or bits, which have no derivatives",
                self.latent
            );
            let help = "use another latent, or leave the penalty out";
            return Err(Error::invalid("penalties.contractive", problem, help));
        }
        let own = self.latent.parameters(&encoder, &latent).into_iter().chain(self.loss.parameters());
        let own = own.chain(self.data.parameters()).collect();
        let checked = Resolved { encoder, heads, decoder, latent, own };
        if checked.parameter_count() > MAX_ELEMENTS {
            return Err(nn::too_many_parameters("decoder", "the model"));
        }
        if self.data.sets_input && self.input.len() != 1 {
            let problem = format!("the data can only decide an input of features, but the input is {}", self.input);
            return Err(Error::invalid("data.sets_input", problem, "leave it out, or write input = [784], say"));
        }
        self.data.augment.validate(&self.input)?;
        self.train.validate(&checked)?;
        Ok(checked)
    }

    /// `full` writes every key that there is, which is what [`set`](ModelSpec::set) finds its keys in.
    fn write(&self, full: bool) -> String {
        let mut text = String::new();
        let ModelSpec { input, loss, corruption, condition, encoder, latent, decoder, penalties, blocks, data, train } =
            self;
        // Writing to a string cannot fail.
        let _ = write!(text, "input = {input}\nloss = {loss}\n");
        if full || *corruption != Corruption::None {
            let _ = writeln!(text, "corruption = {corruption}");
        }
        if full || *condition != Condition::None {
            let _ = writeln!(text, "condition = {condition}");
        }
        write_list(&mut text, "encoder", encoder, full);
        if full || *latent != LatentSpec::Plain {
            let _ = writeln!(text, "latent = {latent}");
        }
        write_list(&mut text, "decoder", decoder, full);
        if full || *penalties != Penalties::default() {
            let _ = writeln!(text, "penalties = {{ {} }}", settings::write_table(&mut penalties.clone(), ", "));
        }
        if !blocks.is_empty() {
            text.push_str("[blocks]\n");
        }
        for (name, layers) in blocks {
            write_list(&mut text, name, layers, full);
        }
        if full || *data != DataSpec::default() {
            text.push_str(&format!("[data]\n{}\n", settings::write_table(&mut data.clone(), "\n")));
        }
        text.push_str(&format!("[train]\n{}\n", settings::write_table(&mut train.clone(), "\n")));
        text
    }
}

/// The text of a TOML file. `what` says what it holds.
fn read_text(path: &Path, what: &str) -> Result<String> {
    let bytes = files::read(path)?;
    if bytes.len() > LONGEST_FILE {
        let problem = format!("has {} bytes, more than {LONGEST_FILE}", bytes.len());
        return Err(Error::file(path, problem, format!("{what} is a short TOML file; was another file meant?")));
    }
    let help = format!("{what} is a TOML file; was another file meant?");
    String::from_utf8(bytes).map_err(|_| Error::file(path, "is not UTF-8 text", help))
}

/// A list of layers, a few on a line.
fn write_list(text: &mut String, name: &str, layers: &[Layer], full: bool) {
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

fn no_layers(list: &str) -> Error {
    Error::invalid(list, "has no layers", "write at least one, such as { linear = 32 }")
}
