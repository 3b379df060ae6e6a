//! The whole of a model file: its keys, its written form, and its validation.
//!
//! Reading checks types only; [`ModelSpec::validate`] checks values, so that the rules also hold for a spec that is
//! built in code or changed by [`ModelSpec::set`].

use super::super::latent::LatentSpec;
use super::super::loss::{LossKind, LossSpec, names};
use super::super::resolved::Resolved;
use super::condition::Condition;
use super::corruption::Corruption;
use super::data::DataSpec;
use super::penalties::Penalties;
use super::train::TrainSpec;
use crate::data::pictures::PictureFormat;
use crate::error::{Error, Result};
use crate::nn::{self, Axes, Blocks, Layer, MAX_ELEMENTS, Placed, Reshape};
use crate::schema::{Choice, Fault, Key, Table, document_schema, keys, read_document, write_table};
use crate::shape::Shape;
use std::fmt::{self, Write as _};

/// An autoencoder and how it is trained: the content of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The shape of one sample: `[channels, height, width]` or `[features]`.
    pub input: Shape,
    /// The training objective's reconstruction loss.
    pub loss: LossSpec,
    /// Corruption of samples before the encoder sees them.
    pub corruption: Corruption,
    /// Side information that conditions encoder and decoder.
    pub condition: Condition,
    /// Layers from the input to the latent code.
    pub encoder: Vec<Layer>,
    /// Kind and settings of the latent code.
    pub latent: LatentSpec,
    /// Layers from the latent code to the reconstruction.
    pub decoder: Vec<Layer>,
    /// Penalties on the code that training adds to the loss.
    pub penalties: Penalties,
    /// The file's `[data]`.
    pub data: DataSpec,
    /// The file's `[blocks]`: lists of layers that `{ block = "name" }` expands to.
    pub blocks: Blocks,
    /// The file's `[train]`.
    pub train: TrainSpec,
}

/// The top of a model file.
impl Table for ModelSpec {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            input: Sizes.mandatory("[1, 28, 28]") =
                "The shape of one sample: [channels, height, width], or [features].",
            loss: part.mandatory("\"mse\"") = format!(
                "The loss that training minimises: {}; or a weighted sum, {{ mse = 0.8, ssim = 0.2 }}.",
                names().join(", ")
            ),
            corruption: choice = format!(
                "Corruption of samples before the encoder sees them, which the model learns to undo: {}; \
                {{ gaussian = {{ level = 0.4 }} }}, say.",
                Corruption::names()
            ),
            condition: choice = format!(
                "Side information about a sample for encoder and decoder: {}; {{ labels = 10 }} for its \
                label, {{ vector = 5 }} for five numbers.",
                Condition::names()
            ),
            encoder: part.mandatory("[{ linear = 32 }]") =
                "Layers from a sample to its code. The README's table of layers lists all layers and their keys.",
            latent: choice = format!(
                "The kind of code: {}; {{ gaussian = {{ size = 16 }} }} for a variational autoencoder, say.",
                LatentSpec::names()
            ),
            decoder: part.mandatory("[{ linear = 32 }]") = "Layers from the code back to a sample.",
            penalties: table = "Penalties on the code that training adds to the loss: \
                { contractive = { weight = 0.1 } } or { sparsity = { target = 0.05 } }.",
            blocks: part = "Lists of layers that { block = \"NAME\" } expands to.",
            data: table = "How data become samples of the model's input.",
            train: table = "Training settings; --set train.KEY=VALUE sets each of them on the command line.",
        ]
    }
}

impl ModelSpec {
    /// A spec of defaults alone.
    pub(super) fn blank() -> ModelSpec {
        ModelSpec {
            input: Shape::default(),
            loss: LossKind::Mse.into(),
            corruption: Corruption::None,
            condition: Condition::None,
            encoder: vec![],
            latent: LatentSpec::Plain,
            decoder: vec![],
            penalties: Penalties::default(),
            data: DataSpec::default(),
            blocks: Blocks::new(),
            train: TrainSpec::default(),
        }
    }

    /// Builds the spec from a file's table.
    pub(in super::super) fn from_table(table: &toml::Table) -> Result<ModelSpec, Fault> {
        if table.is_empty() {
            return Err(Fault::new("", "the file is empty", "a model has input, loss, encoder, decoder and [train]"));
        }
        let mut spec = ModelSpec::blank();
        read_document(table, &mut spec, &["train", "data", "blocks"])?;
        Ok(spec)
    }

    /// The JSON Schema (draft 2020-12) of model files, built from the key tables and layers that the parser uses. It
    /// covers types, names and simple bounds; shapes are checked by [`validate`](ModelSpec::validate) alone.
    pub fn schema() -> serde_json::Value {
        document_schema(&mut ModelSpec::blank(), "A model file of Pinhole", &[("layer", nn::layer_schema())])
    }

    /// Keys at the top of a model file and keys of its `[train]`, each with its description.
    pub fn keys() -> [Vec<(&'static str, String)>; 2] {
        let mut blank = ModelSpec::blank();
        let about = |table: &mut dyn Table| table.keys().into_iter().map(|key| (key.name, key.about.into())).collect();
        [about(&mut blank), about(&mut blank.train)]
    }

    /// Writes the spec as a model file that [`parse`](ModelSpec::parse) reads back. Everything under `[train]` is
    /// written out, since the file in a run's directory is the record of what was done.
    pub fn to_toml(&self) -> String {
        self.write(false)
    }

    /// Sets the size of codes: the latent's `size`, or without one the output features or channels of the encoder's
    /// last linear, recurrent or convolutional layer. Call [`validate`](ModelSpec::validate) afterwards.
    ///
    /// Fails where a layer that changes the number of features or channels follows that layer.
    pub fn set_latent(&mut self, size: usize) -> Result<()> {
        if self.latent.resize(size) {
            return Ok(());
        }
        // Poolings keep channels, but not the features along their axes.
        let mut pooled = false;
        for layer in self.encoder.iter_mut().rev() {
            match layer.axes() {
                Axes::Features | Axes::Sequence if pooled => break,
                Axes::Features | Axes::Sequence | Axes::Channels => {
                    let Some((out, directions)) = layer.out_mut() else { break };
                    if !size.is_multiple_of(directions) {
                        let problem = format!(
                            "the encoder's last layer has as many outputs in both directions, not {size} in all"
                        );
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
        let help = "end it with { linear = 32 }, say, or give the latent a size in the model file";
        Err(Error::invalid("latent", problem, help))
    }

    /// Picture format of the model's input, where that is `[1, height, width]` or `[3, height, width]`.
    pub fn pictures(&self) -> Option<PictureFormat> {
        PictureFormat::of(&self.input, self.data.fit)
    }

    /// Infers all shapes and checks every value. [`Error::Invalid`] names the key.
    pub fn validate(&self) -> Result<Resolved> {
        if self.input.is_empty() || self.input.contains(&0) {
            let problem = format!("expects one or more sizes of at least 1, got {}", self.input);
            return Err(Error::invalid("input", problem, "write [1, 28, 28], say"));
        }
        if nn::elements(&self.input).is_none_or(|count| count > MAX_ELEMENTS) {
            let problem = format!("{} has more than {MAX_ELEMENTS} elements", self.input);
            return Err(Error::invalid("input", problem, "use smaller sizes"));
        }
        // Names must be valid TOML keys and parts of a path.
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
        let (heads, latent) = self.latent.rules().place(&encoded)?;
        let known = self.condition.beside(&latent);
        let decoder = nn::place_with(&self.blocks, "decoder", &self.decoder, &known)
            .map_err(|error| nn::with_forgotten_flatten(error, &encoder))?;
        let Some(last) = decoder.last() else { return Err(no_layers("decoder")) };
        if last.output.elements() != width {
            return Err(self.misfit_of_output(width, last, &encoder, &decoder));
        }
        self.latent.rules().suits(&encoder, &latent, &decoder)?;
        nn::check_ties([&encoder, &decoder])?;
        self.loss.validate(&self.input, last)?;
        self.latent.rules().suits_loss(&self.loss)?;
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
        let own = self.latent.rules().parameters(&encoder, &latent).into_iter().chain(self.loss.parameters());
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
        self.train.validate(&checked, &self.latent)?;
        Ok(checked)
    }

    /// Error for a decoder whose output is not the `width` numbers of the input; it names the layer to change.
    fn misfit_of_output(&self, width: usize, last: &Placed, encoder: &[Placed], decoder: &[Placed]) -> Error {
        // The layer to change is the last one that does more than pass on the shape.
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
        let error = nn::with_forgotten_flatten(Error::invalid(&*layer.key, problem, help), encoder);
        nn::with_forgotten_flatten(error, decoder)
    }

    /// The first top-level key in which two models differ, except `train`.
    pub fn difference(&self, other: &ModelSpec) -> Option<&'static str> {
        let (mut model, mut other) = (self.clone(), other.clone());
        let mut pairs = Table::keys(&mut model).into_iter().zip(Table::keys(&mut other));
        let differs = |(one, other): &(Key, Key)| one.setting.text(true) != other.setting.text(true);
        pairs.find(|pair| pair.0.name != "train" && differs(pair)).map(|(key, _)| key.name)
    }

    /// Writes the spec; `full` writes every key, as [`set`](ModelSpec::set) needs to find keys.
    pub(in super::super) fn write(&self, full: bool) -> String {
        let mut text = String::new();
        let (mut model, mut blank) = (self.clone(), ModelSpec::blank());
        for (key, default) in Table::keys(&mut model).into_iter().zip(Table::keys(&mut blank)) {
            let value = key.setting.text(full).unwrap_or_default();
            let given = full || key.needed || default.setting.text(full).as_ref() != Some(&value);
            // Writing to a string cannot fail.
            let _ = match key.name {
                "encoder" => write_list(&mut text, "encoder", &self.encoder, full),
                "decoder" => write_list(&mut text, "decoder", &self.decoder, full),
                "blocks" if self.blocks.is_empty() => Ok(()),
                "blocks" => {
                    text.push_str("[blocks]\n");
                    self.blocks.iter().try_for_each(|(name, layers)| write_list(&mut text, name, layers, full))
                }
                "train" => writeln!(text, "[train]\n{}", write_table(&mut self.train.clone(), "\n")),
                _ if !given => Ok(()),
                "data" => writeln!(text, "[data]\n{}", write_table(&mut self.data.clone(), "\n")),
                name => writeln!(text, "{name} = {value}"),
            };
        }
        text
    }
}

/// Writes a list of layers, a few on a line.
fn write_list(text: &mut String, name: &str, layers: &[Layer], full: bool) -> fmt::Result {
    write!(text, "{name} = [")?;
    let mut previous: Option<&Layer> = None;
    for layer in layers {
        let starts_line = match (previous, layer) {
            (None, _) => true,
            (Some(Layer::Reshape(Reshape::Flatten)), _) | (_, Layer::Activation(_)) => false,
            (_, Layer::Reshape(Reshape::Unflatten(_))) => false,
            _ => true,
        };
        text.push_str(if starts_line { "\n  " } else { " " });
        if full { write!(text, "{layer:#},") } else { write!(text, "{layer},") }?;
        previous = Some(layer);
    }
    writeln!(text, "\n]")
}

fn no_layers(list: &str) -> Error {
    Error::invalid(list, "has no layers", "write at least one, such as { linear = 32 }")
}
