//! An autoencoder on a device: training, encoding, decoding, saving.

use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::latent::{CODEBOOK, Vectors};
use crate::model::{BatchLayout, Extensions, ModelSpec, Network, SideInputs, given_rows, masked, row_shape, weights};
use crate::nn::Context;
use crate::plan::{Plan, Request};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor, Values};
use crate::train::{
    EpochEnd, EpochReport, Evaluation, Observer, Options, Trainer, evaluate, jacobian_norm, negative_log_likelihood,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Samples that encode, decode and reconstruct process at a time.
const BATCH: usize = 256;
/// Samples of a data set that are read at a time.
pub(crate) const AT_ONCE: usize = 1024;

/// A model with its weights, on a device.
///
/// ```
/// use pinhole::{Autoencoder, Device, data, model::ModelSpec};
/// let mut spec = ModelSpec::resolve("dense")?;
/// spec.train.epochs = 1;
/// let digits = data::digits(512, 1);
/// let mut autoencoder = Autoencoder::new(spec, Device::open("cpu")?)?;
/// let report = autoencoder.fit(&digits, None, &mut ())?;
/// assert!(report[0].train_loss < 0.7);
/// let codes = autoencoder.encode(&digits.rows_f32(0..10))?;
/// assert_eq!(codes.shape()[..], [10, 32]);
/// # Ok::<(), pinhole::Error>(())
/// ```
pub struct Autoencoder {
    network: Network,
    device: Device,
    parameters: Values,
    /// Sessions with the current parameters, by function, batch and whether samples have lengths.
    ready: Mutex<HashMap<(Function, usize, bool), Session>>,
}

/// The function that a session computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Encode,
    Indices,
    Decode,
    Reconstruct,
}

impl Autoencoder {
    /// A model with initial weights drawn from the spec's seed. Fails if the spec is inconsistent.
    pub fn new(spec: ModelSpec, device: Device) -> Result<Autoencoder> {
        let network = Network::new(spec)?;
        let parameters = Values::F32(network.initial(network.spec().train.seed));
        Ok(Autoencoder::with_parameters(network, device, parameters))
    }

    /// A model with these parameters, which are in the network's layout.
    pub(crate) fn with_parameters(network: Network, device: Device, parameters: Values) -> Autoencoder {
        Autoencoder { network, device, parameters, ready: Mutex::default() }
    }

    /// Loads the model that [`Autoencoder::save`] or a training run wrote to a directory.
    pub fn load(directory: impl AsRef<Path>, device: Device) -> Result<Autoencoder> {
        Autoencoder::load_with(directory, device, &Extensions::new())
    }

    /// [`load`](Autoencoder::load) for a model with custom losses and layers.
    pub fn load_with(directory: impl AsRef<Path>, device: Device, extensions: &Extensions) -> Result<Autoencoder> {
        let directory = directory.as_ref();
        let spec = ModelSpec::read_with(&directory.join("model.toml"), extensions)?;
        let mut autoencoder = Autoencoder::new(spec, device)?;
        autoencoder.load_weights(directory.join("model.safetensors"))?;
        Ok(autoencoder)
    }

    /// Loads weights from a safetensors file with PyTorch's names, in f32, f64, f16 or bf16. The prefixes `module.` and
    /// `_orig_mod.` are removed from names. Counts of batches are ignored where the model keeps none, and may be
    /// missing where it does. Fails, and keeps the weights, if a parameter is missing, unknown, duplicated, of another
    /// shape, or not finite as f32.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.set_parameters(weights::read_model(path.as_ref(), self.network.layout())?)
    }

    /// Writes `model.toml` and `model.safetensors` into a directory, which is created if missing.
    pub fn save(&self, directory: impl AsRef<Path>) -> Result<()> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let text = self.network.spec().to_toml();
        write_atomically(&directory.join("model.toml"), |file| file.write_all(text.as_bytes()))?;
        self.save_weights(directory.join("model.safetensors"))
    }

    /// Writes the weights as f32.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        weights::write_model(path.as_ref(), self.network.layout(), &self.parameters)
    }

    /// The structure.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All parameters, in the network's layout.
    pub fn parameters(&self) -> &Values {
        &self.parameters
    }

    /// One parameter by its name, such as `encoder.0.weight`.
    pub fn parameter(&self, name: &str) -> Option<Tensor> {
        let entry = self.network.layout().entry(name)?;
        Tensor::new(entry.shape.clone(), self.parameters.slice(entry.range())).ok()
    }

    /// Sets all parameters, in the network's layout. Fails if their number differs.
    pub fn set_parameters(&mut self, values: Values) -> Result<()> {
        let elements = self.network.layout().elements();
        if values.len() != elements {
            let problem = format!("{} numbers given, the layout has {elements}", values.len());
            return Err(Error::invalid("parameters", problem, "give them in the network's layout"));
        }
        self.parameters = values;
        self.ready.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Trains for the spec's epochs, validates on `validation` after each, and reports every epoch. The observer sees
    /// steps and epochs as they finish and can stop training, which keeps the weights of that moment; `()` observes
    /// nothing. Use a [`Trainer`], whose checkpoints include the optimizer's state, for training that must be resumed
    /// later. Fails as [`Trainer::new`] does, and if a loss or a gradient is not finite.
    pub fn fit(
        &mut self,
        data: &Dataset,
        validation: Option<&Dataset>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<EpochReport>> {
        let mut trainer = Trainer::new(&self.network, &self.device, data, validation, Options::default())?;
        trainer.start(&self.parameters)?;
        let mut reports = Vec::new();
        while let EpochEnd::Epoch(report) = trainer.epoch(observer)? {
            reports.push(report);
        }
        let parameters = trainer.model()?;
        drop(trainer);
        self.set_parameters(parameters)?;
        Ok(reports)
    }

    /// The loss and errors over a data set.
    pub fn evaluate(&self, data: &Dataset) -> Result<Evaluation> {
        evaluate(&self.network, &self.device, &self.parameters, data)
    }

    /// [`train::negative_log_likelihood`](crate::train::negative_log_likelihood) of a data set, in nats per sample.
    pub fn negative_log_likelihood(&self, data: &Dataset, samples: usize) -> Result<f64> {
        negative_log_likelihood(&self.network, &self.device, &self.parameters, data, samples)
    }

    /// [`train::jacobian_norm`](crate::train::jacobian_norm) of a data set.
    pub fn jacobian_norm(&self, data: &Dataset) -> Result<f64> {
        jacobian_norm(&self.network, &self.device, &self.parameters, data)
    }

    /// Codes `[n, ..latent]` of concatenated samples. Fails if the model has a condition.
    pub fn encode(&self, samples: &[f32]) -> Result<Tensor> {
        self.encode_given(samples, &SideInputs::default())
    }

    /// Indices of the codebook vectors in the codes of concatenated samples, `[n, ..]`: the shape of the codes with the
    /// first axis divided by the size of a vector. Fails if the latent has no codebook.
    pub fn indices(&self, samples: &[f32]) -> Result<Tensor> {
        self.indices_given(samples, &SideInputs::default())
    }

    /// [`indices`](Autoencoder::indices) with a condition or a length for each sample.
    pub fn indices_given(&self, samples: &[f32], given: &SideInputs) -> Result<Tensor> {
        let indices = self.apply(Function::Indices, samples, given)?;
        as_indices(indices.shape().clone(), indices.to_f32())
    }

    /// Codes `[n, ..latent]` of concatenated codebook indices. Fails if the indices do not fill whole codes, or one is
    /// beyond the codebook.
    pub fn codes_of(&self, indices: &[u32]) -> Result<Tensor> {
        let own = self.network.codebook()?;
        let model = self.network.checked();
        let Vectors { size, stride, .. } = own.vectors(&model.encoder, &model.latent);
        let each = self.network.indices_shape()?;
        let refuse = |problem: String, help: String| Err(Error::invalid("indices", problem, help));
        if indices.is_empty() || !indices.len().is_multiple_of(each.elements()) {
            return refuse(
                format!("{} are no codes of {} each", indices.len(), each.elements()),
                format!("give each as {each}"),
            );
        }
        if let Some(beyond) = indices.iter().find(|index| **index as usize >= own.codes) {
            return refuse(format!("{beyond} is beyond the codebook"), format!("give numbers below {}", own.codes));
        }
        let codebook = self.parameter(CODEBOOK).map(|codebook| codebook.to_f32()).unwrap_or_default();
        let mut codes = vec![0.0; indices.len() * size];
        for (vector, index) in indices.iter().enumerate() {
            let (group, place) = (vector / stride, vector % stride);
            for (number, value) in codebook[*index as usize * size..][..size].iter().enumerate() {
                codes[(group * size + number) * stride + place] = *value;
            }
        }
        let count = indices.len() / each.elements();
        Tensor::from_f32(self.network.latent_shape(count), codes)
    }

    /// Samples `[n, ..input]` decoded from concatenated codes. Fails if the model has a condition.
    pub fn decode(&self, codes: &[f32]) -> Result<Tensor> {
        self.decode_given(codes, &SideInputs::default())
    }

    /// Reconstructions `[n, ..input]` of concatenated samples. Fails if the model has a condition.
    pub fn reconstruct(&self, samples: &[f32]) -> Result<Tensor> {
        self.reconstruct_given(samples, &SideInputs::default())
    }

    /// [`encode`](Autoencoder::encode) with a condition or a length for each sample, which [`Network::given`] takes from a data
    /// set.
    pub fn encode_given(&self, samples: &[f32], given: &SideInputs) -> Result<Tensor> {
        self.apply(Function::Encode, samples, given)
    }

    /// [`decode`](Autoencoder::decode) with a condition or a length for each code.
    pub fn decode_given(&self, codes: &[f32], given: &SideInputs) -> Result<Tensor> {
        self.apply(Function::Decode, codes, given)
    }

    /// [`reconstruct`](Autoencoder::reconstruct) with a condition or a length for each sample.
    pub fn reconstruct_given(&self, samples: &[f32], given: &SideInputs) -> Result<Tensor> {
        self.apply(Function::Reconstruct, samples, given)
    }

    /// The codes of all samples of a data set, with the condition and length that it has for each: `[n, ..latent]`.
    pub fn encode_all(&self, data: &Dataset) -> Result<Tensor> {
        Tensor::from_f32(self.network.latent_shape(data.len()), self.apply_all(Function::Encode, data)?)
    }

    /// The [`indices`](Autoencoder::indices) of all samples of a data set, as [`encode_all`](Autoencoder::encode_all) makes
    /// codes.
    pub fn indices_all(&self, data: &Dataset) -> Result<Tensor> {
        let each = self.network.indices_shape()?;
        let shape: Shape = std::iter::once(data.len()).chain(each.iter().copied()).collect();
        as_indices(shape, self.apply_all(Function::Indices, data)?)
    }

    /// The codes of a range of a data set's samples, as [`encode_all`](Autoencoder::encode_all) makes them.
    pub fn encode_range(&self, data: &Dataset, range: Range<usize>) -> Result<Tensor> {
        let given = self.network.given(data, range.clone())?;
        self.encode_given(&data.read_f32(range)?, &given)
    }

    /// The reconstructions of a range of a data set's samples, with the condition and length that it has for each.
    pub fn reconstruct_range(&self, data: &Dataset, range: Range<usize>) -> Result<Tensor> {
        let given = self.network.given(data, range.clone())?;
        self.reconstruct_given(&data.read_f32(range)?, &given)
    }

    /// Applies a function to all samples of a data set, and returns the results one after another.
    fn apply_all(&self, function: Function, data: &Dataset) -> Result<Vec<f32>> {
        let mut results = Vec::new();
        for range in data.ranges(AT_ONCE) {
            let given = self.network.given(data, range.clone())?;
            results.extend(self.apply(function, &data.read_f32(range)?, &given)?.to_f32());
        }
        Ok(results)
    }

    fn apply(&self, function: Function, values: &[f32], given: &SideInputs) -> Result<Tensor> {
        let each: Shape = match function {
            Function::Encode => self.network.latent_shape(1)[1..].into(),
            Function::Indices => self.network.indices_shape()?,
            Function::Decode | Function::Reconstruct => self.network.spec().input.clone(),
        };
        let width = self.taken_shape(function, 1).elements();
        let count = count_of(values, width)?;
        let layout = self.network.given_layout(width, count, given)?;
        let rows = match layout.is_plain() {
            true => Cow::Borrowed(values),
            false => Cow::Owned(given_rows(values, given, layout)),
        };
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let mut results: Vec<f32> = Vec::new();
        for samples in rows.chunks(BATCH * layout.width()) {
            let batch = samples.len() / layout.width();
            let session = match ready.entry((function, batch, layout.mask > 0)) {
                Entry::Occupied(session) => session.into_mut(),
                Entry::Vacant(place) => place.insert(self.prepare(function, batch, layout)?),
            };
            session.write("x", &Values::F32(samples.to_vec()))?;
            session.run(0, 1)?;
            match session.read("y")? {
                Values::F32(values) => results.extend(values),
                Values::F64(values) => results.extend(values.iter().map(|value| *value as f32)),
                Values::U32(_) | Values::U8(_) => {}
            }
        }
        let shape: Shape = std::iter::once(count).chain(each.iter().copied()).collect();
        Tensor::from_f32(shape, results)
    }

    /// The shape of the batch that a function takes.
    fn taken_shape(&self, function: Function, batch: usize) -> Shape {
        match function {
            Function::Encode | Function::Indices | Function::Reconstruct => self.network.input_shape(batch),
            Function::Decode => self.network.latent_shape(batch),
        }
    }

    fn prepare(&self, function: Function, batch: usize, layout: BatchLayout) -> Result<Session> {
        let mut graph = Context::new();
        let sample = self.taken_shape(function, batch);
        let rows = graph.input("x", row_shape(batch, sample.clone(), layout), DType::Float)?;
        let x = layout.split(&mut graph, rows)?.input;
        let x = graph.reshape(x, sample)?;
        let x = if function == Function::Decode { x } else { masked(&mut graph, x)? };
        let y = match function {
            Function::Encode => self.network.encode(&mut graph, x)?,
            Function::Indices => self.network.indices(&mut graph, x)?,
            Function::Decode => self.network.decode(&mut graph, x)?.output,
            Function::Reconstruct => {
                let code = self.network.encode(&mut graph, x)?;
                self.network.decode(&mut graph, code)?.output
            }
        };
        let plan = Plan::build(Request {
            name: &format!("{function:?}").to_lowercase(),
            graph: &graph,
            outputs: vec![(y, "y".to_owned())],
            layout: self.network.layout(),
            training: None,
            metrics: None,
            target: self.device.target(),
        })?;
        let mut session = self.device.load(&[plan])?;
        session.write_parameters(&self.parameters)?;
        Ok(session)
    }
}

/// Converts the indices of codebook vectors from floats, which devices compute, to integers.
fn as_indices(shape: Shape, numbers: Vec<f32>) -> Result<Tensor> {
    Tensor::new(shape, Values::U32(numbers.into_iter().map(|number| number as u32).collect()))
}

/// The number of samples of `width` numbers in concatenated values. Fails where it is zero or not whole.
pub(crate) fn count_of(values: &[f32], width: usize) -> Result<usize> {
    if !values.is_empty() && values.len().is_multiple_of(width) {
        return Ok(values.len() / width);
    }
    let problem = format!("{} numbers are not a positive multiple of the {width} that one takes", values.len());
    Err(Error::invalid("samples", problem, format!("give each as {width} numbers")))
}
