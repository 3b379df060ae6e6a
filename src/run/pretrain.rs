//! Layer-wise pretraining: stacked denoising autoencoders. Each layer of an encoder is first trained alone, as the
//! encoder of a one-layer autoencoder that restores the codes of the layers below from masked codes, a fraction of
//! which is zero; then all layers are put together and trained jointly. Vincent, Larochelle, Lajoie, Bengio and
//! Manzagol, "Stacked denoising autoencoders", JMLR 11 (2010).

use super::{Job, Lock, RunEnd, RunSettings};
use crate::autoencoder::Autoencoder;
use crate::data::{Dataset, TrainingSets};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::config::{Condition, Corruption, DataSpec, LatentSpec, LossKind, LossSpec, Penalties, TrainSpec};
use crate::model::{ModelSpec, Network};
use crate::nn::{Activation, Axes, Blocks, Layer, Placed, walk};
use crate::shape::Shape;
use crate::tensor::Values;
use crate::train::Observer;
use std::path::Path;

/// Default masking levels: the fraction of each layer's input set to zero. The last applies to all further layers.
pub const MASKING: [f64; 3] = [0.1, 0.2, 0.3];

/// Callbacks through which a caller follows pretraining.
pub trait PretrainObserver: Observer {
    /// Called when a layer starts or resumes: its name, input and output sizes, and masked fraction of the input.
    fn layer(&mut self, _name: &str, _sizes: [usize; 2], _masking: f64) {}
}

impl PretrainObserver for () {}

/// Settings of layer-wise pretraining.
#[derive(Clone, Copy, Debug)]
pub struct Pretraining<'a> {
    /// Number of epochs for each layer; by default the model's.
    pub epochs: Option<usize>,
    /// The fraction of each layer's input set to zero; the last level applies to all further layers.
    pub masking: &'a [f64],
}

impl Default for Pretraining<'_> {
    fn default() -> Self {
        Pretraining { epochs: None, masking: &MASKING }
    }
}

/// A layer of the encoder with its activation, and its mirror image in the decoder.
#[derive(Clone, Debug, PartialEq)]
struct Stage {
    encoder: Part,
    decoder: Part,
}

/// A linear layer of a model and the elementwise functions that follow it.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// The name of the linear layer, which prefixes its parameters' names.
    name: String,
    sizes: [usize; 2],
    layers: Vec<Layer>,
}

impl Part {
    fn ends_in_sigmoid(&self) -> bool {
        self.layers.last() == Some(&Layer::Activation(Activation::Sigmoid))
    }
}

/// Trains the layers of a model's encoder one after the other, each in `DIRECTORY/layer-1` and so on, for the given
/// epochs or the model's, and writes the whole model with their weights there, as a run that has yet to begin.
/// `masking` has a level for each layer; the last one applies to all further layers. Resumes a stopped pretraining.
/// Returns the weights, or none if the observer stopped it.
///
/// Fails where the directory is in use, where the encoder has layers other than linear ones, each followed by
/// elementwise functions, or the decoder does not mirror it.
pub fn pretrain(
    spec: &ModelSpec,
    Pretraining { epochs, masking }: Pretraining,
    device: &Device,
    sets: &TrainingSets,
    settings: &RunSettings,
    directory: &Path,
    observer: &mut dyn PretrainObserver,
) -> Result<Option<Autoencoder>> {
    if let Some(level) = masking.iter().find(|level| !(0.0..1.0).contains(*level)) {
        let problem = format!("expects levels of at least 0 and less than 1, got {level:?}");
        return Err(Error::invalid("masking", problem, "use 0.1,0.2,0.3, say"));
    }
    let network = Network::new(spec.clone())?;
    // Checked here, since the flat input of a single layer would take any shape.
    for data in std::iter::once(&sets.train).chain(&sets.validation) {
        network.accepts(data.sample_shape(), data.name())?;
    }
    let stages = stages(&network)?;
    if directory.join("model.toml").exists() {
        let help = "continue it with train --resume, or choose another --out";
        return Err(Error::file(directory, "already holds a run", help));
    }
    let lock = Lock::take(directory)?;
    let mut values = network.initial(spec.train.seed);
    let mut codes: Option<TrainingSets> = None;
    for (index, stage) in stages.iter().enumerate() {
        let level = masking.get(index).or(masking.last()).copied().unwrap_or(0.0);
        observer.layer(&stage.encoder.name, stage.encoder.sizes, level);
        let below = index.checked_sub(1).map(|below| &stages[below]);
        let alone = Network::new(stage.model(spec, below, epochs, level))?;
        let sets = codes.as_ref().unwrap_or(sets);
        let start = &Values::F32(alone.initial(spec.train.seed.wrapping_add(index as u64)));
        let job = Job { network: &alone, device, settings, steps: None, sets, start, reconstructs: true };
        let mut run = job.open(Lock::take(&directory.join(format!("layer-{}", index + 1)))?)?;
        if run.train(observer)? == RunEnd::Stopped {
            return Ok(None);
        }
        run.directory().draw_losses()?;
        let trained = Autoencoder::from_run(&mut run)?;
        for (part, alone_name) in [(&stage.encoder, "encoder.0"), (&stage.decoder, "decoder.0")] {
            copy_layer(&trained, alone_name, &network, &mut values, &part.name);
        }
        if index + 1 < stages.len() {
            let validation = sets.validation.as_ref().map(|data| encoded(&trained, data)).transpose()?;
            codes = Some(TrainingSets { train: encoded(&trained, &sets.train)?, validation });
        }
    }
    let start = &Values::F32(values);
    let job = Job { network: &network, device, settings, steps: None, sets, start, reconstructs: true };
    Autoencoder::from_run(&mut job.create(lock)?).map(Some)
}

impl Stage {
    /// The model of the autoencoder of this layer alone, which reconstructs the codes of `below`.
    fn model(&self, spec: &ModelSpec, below: Option<&Stage>, epochs: Option<usize>, level: f64) -> ModelSpec {
        let corruption = match level {
            0.0 => Corruption::None,
            level => Corruption::Masking { level: level.into() },
        };
        let loss: LossSpec = match below {
            None => spec.loss.clone(),
            // Codes of a sigmoid, restored by a sigmoid, are probabilities; others are numbers.
            Some(below) if below.encoder.ends_in_sigmoid() && self.decoder.ends_in_sigmoid() => LossKind::Bce.into(),
            Some(_) => LossKind::Mse.into(),
        };
        ModelSpec {
            input: [self.encoder.sizes[0]].into(),
            loss,
            corruption,
            condition: Condition::None,
            encoder: self.encoder.layers.clone(),
            latent: LatentSpec::default(),
            decoder: self.decoder.layers.clone(),
            penalties: Penalties::default(),
            data: DataSpec::default(),
            blocks: Blocks::new(),
            train: TrainSpec { epochs: epochs.unwrap_or(spec.train.epochs), layers: vec![], ..spec.train.clone() },
        }
    }
}

/// The layers of an encoder, each with its mirror image in the decoder.
fn stages(network: &Network) -> Result<Vec<Stage>> {
    if network.spec().latent != LatentSpec::default() {
        let problem = "only a code that is the plain output of the encoder can be pretrained";
        return Err(Error::invalid("latent", problem, "leave it out, or train all layers at once"));
    }
    if network.spec().condition != Condition::None {
        let problem = "a layer that is trained alone receives no condition";
        return Err(Error::invalid("condition", problem, "leave it out, or train all layers at once"));
    }
    let encoder = parts(&network.checked().encoder)?;
    let mut decoder = parts(&network.checked().decoder)?;
    decoder.reverse();
    let unlike = |problem: String| {
        let help = "give it the encoder's linear layers in reverse order, each with its sizes swapped";
        Err(Error::invalid("decoder", problem, help))
    };
    if encoder.len() != decoder.len() {
        return unlike(format!("has {} linear layers, but the encoder {}", decoder.len(), encoder.len()));
    }
    for (up, down) in encoder.iter().zip(&decoder) {
        let [from, to] = up.sizes;
        if down.sizes != [to, from] {
            let [back_from, back_to] = down.sizes;
            let (up, down) = (&up.name, &down.name);
            return unlike(format!("{down} makes {back_to} of {back_from} numbers, but {up} {to} of {from}"));
        }
    }
    Ok(encoder.into_iter().zip(decoder).map(|(encoder, decoder)| Stage { encoder, decoder }).collect())
}

fn parts(placed: &[Placed]) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for layer in walk(placed) {
        let refuse = |problem: String| {
            let help = "use linear layers and activations, or train all layers at once";
            Err(Error::invalid(&*layer.key, problem, help))
        };
        match (layer.layer.axes(), parts.last_mut()) {
            (Axes::Moved, _) => {}
            (Axes::Features, _) => match (&layer.input[..], &layer.output[..]) {
                (&[from], &[to]) => {
                    let (name, layers) = (layer.name.clone(), vec![layer.layer.clone()]);
                    parts.push(Part { name, sizes: [from, to], layers });
                }
                (input, _) => {
                    let input = Shape::from(input);
                    return refuse(format!("a linear layer over the last axis of {input} cannot be pretrained"));
                }
            },
            (Axes::Elementwise, Some(part)) if layer.parameters.is_empty() => part.layers.push(layer.layer.clone()),
            _ => return refuse(format!("{} cannot be pretrained layer by layer", layer.layer)),
        }
    }
    Ok(parts)
}

/// Copies a layer's parameters to a layer of another name in another network's parameters `target`.
pub(super) fn copy_layer(from: &Autoencoder, from_name: &str, to: &Network, target: &mut [f32], to_name: &str) {
    let values = from.parameters().to_f64();
    for entry in from.network().layout().entries() {
        let Some(rest) = entry.name.strip_prefix(from_name).filter(|rest| rest.starts_with('.')) else { continue };
        let Some(place) = to.layout().offset(&format!("{to_name}{rest}")) else { continue };
        for (target, value) in target[place..].iter_mut().zip(&values[entry.range()]) {
            *target = *value as f32;
        }
    }
}

/// Encodes samples, and returns the codes as a data set.
fn encoded(autoencoder: &Autoencoder, data: &Dataset) -> Result<Dataset> {
    let shape: Shape = autoencoder.network().latent_shape(1)[1..].into();
    Ok(Dataset::from_f32(shape, autoencoder.encode_all(data)?.to_f32())?.with_name(data.name()))
}
