//! Classifiers: an encoder, trained or not, with a softmax head over classes, trained on labels by cross-entropy.
//!
//! To the rest of the crate a classifier is an ordinary model. Its samples are pairs, with a one-hot class after each
//! sample; its first layer extracts the sample from the pair, and its loss compares the class with the head's output.
//!
//! ```no_run
//! use pinhole::run::classifier::Classifier;
//! use pinhole::{Device, data};
//! let classifier = Classifier::load("runs/digits", Device::open("auto")?)?; // written by `pinhole classify`
//! let test = data::load("digits:600")?.train;
//! let labels = classifier.predict(&test.read_f32(0..10)?)?;
//! println!("{labels:?}, {:?}", classifier.test(&test)?.error);
//! # Ok::<(), pinhole::Error>(())
//! ```

use super::pretrain::copy_layer;
use super::{Job, Lock, RunEnd, RunSettings};
use crate::autoencoder::{AT_ONCE, Autoencoder, count_of};
use crate::data::pictures::PictureFormat;
use crate::data::{
    Arrangement, Column, Columns, Dataset, LabelColumn, Reading, TrainingSets, arrangement, class_of, listed, whole,
};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{self, write_atomically};
use crate::graph::Value;
use crate::model::config::{
    Condition, Corruption, DataSpec, LatentSpec, LayerTraining, LossKind, Penalties, TrainSpec,
};
use crate::model::{Extensions, ModelSpec, Network};
use crate::nn::{Context, CustomLayer, Layer, Linear, Misfit, Reshape, loss};
use crate::shape::Shape;
use crate::tensor::{Tensor, Values};
use crate::train::Observer;
use std::io::Write;
use std::path::Path;

/// The file that describes a classifier: input, classes and columns.
const CLASSIFIER: &str = "classifier.toml";
/// The file of the results on the test part.
const RESULTS: &str = "classification.json";

/// Names of the layers and the loss that a classifier's model file has in addition to the encoder's.
const SAMPLE: &str = "sample of a pair";
const PAIR: &str = "pair of a class";
const LOSS: &str = "class of a pair";

/// Most classes of a classifier: each adds a number to every sample.
const MOST_CLASSES: usize = 4096;
/// Number of values of a byte.
const BYTES: usize = 256;

/// A classification task: the input and the classes of a classifier.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    /// The shape of a sample.
    input: Vec<usize>,
    /// Number of classes.
    classes: usize,
    /// The labels of the classes, if these are not the class numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// A checksum (CRC-32C) of the weights that training began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    /// The columns of a table of numbers, if samples are its lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Column>,
}

/// A trained classifier on a device.
pub struct Classifier {
    autoencoder: Autoencoder,
    task: Task,
}

/// Error rate of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Classification {
    /// The fraction of samples assigned to a wrong class.
    pub error: f64,
    /// Number of samples assigned to a wrong class.
    pub errors: usize,
    /// Number of samples tested.
    pub samples: usize,
}

impl Task {
    fn of(spec: &ModelSpec, data: &Dataset) -> Result<Task> {
        if let Some(column) = spec.data.columns.iter().find(|column| column.is_categorical()) {
            let problem = format!("column {:?} holds categories, which a classifier cannot take", column.name);
            return Err(Error::invalid("data.columns", problem, "train a model of the columns of numbers alone"));
        }
        let labels = data.needed_labels("")?;
        if labels.present().len() < 2 {
            return refuse(data, "all its samples are of one class", "give two classes or more");
        }
        let (classes, names) = match numbered(labels.names()) {
            Some(classes) => (classes, vec![]),
            None => (labels.names().len(), labels.names().to_vec()),
        };
        if classes > MOST_CLASSES {
            let problem = format!("its labels are of {classes} classes, more than {MOST_CLASSES}");
            return refuse(data, problem, "give labels that are classes, not numbers of samples or measurements");
        }
        Ok(Task { input: spec.input.to_vec(), classes, names, start: None, columns: spec.data.columns.clone() })
    }

    fn read(directory: &Path) -> Result<Task> {
        let path = directory.join(CLASSIFIER);
        if !path.is_file() {
            let problem = format!("holds no classifier: there is no {CLASSIFIER}");
            return Err(Error::file(directory, problem, "make one by pinhole classify RUN --data DATA"));
        }
        let text = files::read_text(&path)?;
        let task: Task = toml::from_str(&text).map_err(|error| damaged(directory, error.message().to_owned()))?;
        match task.input.iter().try_fold(1usize, |product, size| product.checked_mul(*size)) {
            None | Some(0) => Err(damaged(directory, format!("a sample cannot have shape {:?}", task.input))),
            Some(_) => Ok(task),
        }
    }

    /// The class of each sample of labelled data. Fails where a label is unknown.
    fn classes_of(&self, data: &Dataset) -> Result<Vec<u32>> {
        let labels = data.needed_labels("")?;
        let classes: Vec<_> = labels.names().iter().map(|label| class_of(label, &self.names, self.classes)).collect();
        if let Some(strange) = labels.present().into_iter().find(|label| classes[*label].is_none()) {
            let known = match &self.names[..] {
                [] => format!("there are {} classes, counted from 0", self.classes),
                names => format!("the classes are {}", listed(names)),
            };
            let problem = format!("has label {}, but {known}", labels.names()[strange]);
            return refuse(data, problem, "give data of the same classes");
        }
        // All labels in use have a class, as checked above.
        let class = |label: &u32| classes[*label as usize].unwrap_or_default() as u32;
        Ok(labels.indices().iter().map(class).collect())
    }

    fn width(&self) -> usize {
        self.input.iter().product()
    }

    /// Fails where samples do not fit this task.
    fn accepts(&self, data: &Dataset) -> Result<()> {
        if data.lengths().is_some() {
            let problem = "it says how long each sequence is, which a classifier does not support";
            return refuse(data, problem, "give sequences of one length, without lengths");
        }
        let input: Shape = self.input.iter().copied().collect();
        if arrangement(data.sample_shape(), &input) != Some(Arrangement::Unchanged) {
            let problem = format!("its samples are {}, the classifier's input is {input}", data.sample_shape());
            return refuse(data, problem, "give samples of that shape");
        }
        Ok(())
    }

    fn extensions(&self) -> Extensions {
        Extensions::new()
            .layer(SAMPLE, SampleOfPair(self.clone()))
            .layer(PAIR, PairOfClass(self.width()))
            .loss(LOSS, self.loss())
    }

    /// Cross-entropy of the classes in pairs.
    fn loss(&self) -> impl Fn(&mut Context, Value, Value) -> Result<Value> + Send + Sync + 'static {
        let (width, classes) = (self.width(), self.classes);
        move |graph, y, pair| {
            let batch = graph.shape(y)[0];
            let logits = graph.slice(y, &[0, width], [batch, classes])?;
            let class = graph.slice(pair, &[0, width], [batch, classes])?;
            loss::cross_entropy(graph, logits, class)
        }
    }

    /// The model of an encoder with a head over classes.
    fn model(&self, spec: &ModelSpec, encoded: &Shape) -> ModelSpec {
        let mut decoder = Vec::new();
        if encoded.len() > 1 {
            decoder.push(Layer::Reshape(Reshape::Flatten));
        }
        decoder.push(Layer::Linear(Linear::new(self.classes)));
        decoder.push(Layer::custom(PAIR, PairOfClass(self.width())));
        let sample = Layer::custom(SAMPLE, SampleOfPair(self.clone()));
        let shifted =
            |layer: &LayerTraining| Some(LayerTraining { name: in_classifier(&layer.name)?, ..layer.clone() });
        ModelSpec {
            input: [self.width() + self.classes].into(),
            loss: LossKind::custom(LOSS, self.loss()).into(),
            corruption: Corruption::None,
            condition: Condition::None,
            latent: LatentSpec::default(),
            encoder: std::iter::once(sample).chain(moved(&spec.encoder)).collect(),
            decoder,
            penalties: Penalties::default(),
            // Augmentation would change the class in the pair too.
            data: DataSpec { fit: spec.data.fit, label: spec.data.label.clone(), ..DataSpec::default() },
            blocks: spec.blocks.iter().map(|(name, layers)| (name.clone(), moved(layers))).collect(),
            train: TrainSpec { layers: spec.train.layers.iter().filter_map(shifted).collect(), ..spec.train.clone() },
        }
    }

    /// Appends the one-hot class to each sample.
    fn pairs(&self, data: &Dataset) -> Result<Dataset> {
        self.accepts(data)?;
        let labels = &self.classes_of(data)?[..];
        let width = self.width();
        let all: Vec<u32> = (0..data.len() as u32).collect();
        let pairs = match data.read(&all)? {
            Values::U8(bytes) => Dataset::from_u8([width + self.classes], paired(&bytes, labels, self, 255)),
            Values::F32(values) => Dataset::from_f32([width + self.classes], paired(&values, labels, self, 1.0)),
            Values::F64(_) | Values::U32(_) => {
                refuse(data, "its samples are neither bytes nor floats", "give other data")
            }
        };
        Ok(pairs?.with_name(data.name()))
    }
}

fn refuse<T>(data: &Dataset, problem: impl Into<String>, help: &str) -> Result<T> {
    Err(Error::invalid(format!("data \"{}\"", data.name()), problem, help))
}

fn damaged(directory: &Path, problem: String) -> Error {
    Error::file(&directory.join(CLASSIFIER), problem, "restore the file, or train the classifier again")
}

/// The number of classes if labels are class numbers, counted from 0: the largest plus one. Numbers may be missing
/// where that is at most 256, as for bytes; else none may.
fn numbered(names: &[String]) -> Option<usize> {
    let numbers: Vec<usize> = names.iter().map(|name| usize::try_from(whole(name)?).ok()).collect::<Option<_>>()?;
    let classes = numbers.iter().max()?.checked_add(1)?;
    (classes <= BYTES || classes == names.len()).then_some(classes)
}

fn paired<T: Copy + Default>(values: &[T], labels: &[u32], task: &Task, one: T) -> Vec<T> {
    let mut pairs = Vec::with_capacity(values.len() + labels.len() * task.classes);
    for (sample, label) in values.chunks(task.width()).zip(labels) {
        pairs.extend_from_slice(sample);
        pairs.extend((0..task.classes).map(|class| if class == *label as usize { one } else { T::default() }));
    }
    pairs
}

/// The name of an encoder's layer or parameter in a classifier, whose additional first layer shifts indices by one.
fn in_classifier(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("encoder.") else { return (name == "encoder").then(|| name.to_owned()) };
    let (index, rest) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    Some(format!("encoder.{}{rest}", index.parse::<usize>().ok()? + 1))
}

/// The layers of an encoder, with references to other layers renamed as in a classifier.
fn moved(layers: &[Layer]) -> Vec<Layer> {
    let mut layers = layers.to_vec();
    for layer in &mut layers {
        if let Layer::TiedLinear(tied) = layer
            && let Some(to) = in_classifier(&tied.to)
        {
            tied.to = to;
        }
        layer.lists_mut().into_iter().for_each(|list| *list = moved(list));
    }
    layers
}

/// The layer that extracts the sample from a pair.
struct SampleOfPair(Task);

impl CustomLayer for SampleOfPair {
    fn output_shape(&self, _: &Shape) -> Result<Shape, Misfit> {
        Ok(self.0.input.iter().copied().collect())
    }

    fn apply(&self, cx: &mut Context, x: Value, _: &[Value]) -> Result<Value> {
        let batch = cx.shape(x)[0];
        let sample = cx.slice(x, &[0, 0], [batch, self.0.width()])?;
        let shape: Shape = std::iter::once(batch).chain(self.0.input.iter().copied()).collect();
        cx.reshape(sample, shape)
    }
}

/// The layer that makes a pair of zeros and the head's output.
struct PairOfClass(usize);

impl CustomLayer for PairOfClass {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok([self.0 + input.elements()].into())
    }

    fn apply(&self, cx: &mut Context, x: Value, _: &[Value]) -> Result<Value> {
        cx.pad(x, &[0, self.0], &[0, 0])
    }
}

impl Classifier {
    /// Trains an encoder with a new head on labels, by the model's training settings, in a run directory; resumes a
    /// training that the directory holds. Returns none if the observer stopped it.
    ///
    /// Fails where data has no labels, where samples are lines of a table with columns of categories, where the
    /// directory holds another run, and where it is in use.
    pub fn train(
        autoencoder: &Autoencoder,
        TrainingSets { train, validation }: &TrainingSets,
        settings: &RunSettings,
        directory: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Option<Classifier>> {
        let source = autoencoder.network();
        source.accepts(train.sample_shape(), train.name())?;
        if source.spec().condition != Condition::None {
            let problem = "a conditional encoder may already receive the class that it should predict";
            return Err(Error::invalid("condition", problem, "use a model without a condition"));
        }
        // Checked here, on the encoder, so that messages name layers as its model does.
        source.accepts_batches(source.spec().train.batch, train.len())?;
        let task = Task::of(source.spec(), train)?;
        let above = source.checked().encoder.last().map(|layer| layer.output.clone()).unwrap_or_default();
        let network = Network::new(task.model(source.spec(), &above))?;
        let mut values = network.initial(source.spec().train.seed);
        for index in 0..source.spec().encoder.len() {
            let (from, to) = (format!("encoder.{index}"), format!("encoder.{}", index + 1));
            copy_layer(autoencoder, &from, &network, &mut values, &to);
        }
        let task = Task { start: Some(crc32c::crc32c(bytemuck::cast_slice(&values))), ..task };
        let path = directory.join(CLASSIFIER);
        let text = toml::to_string(&task).map_err(Error::bug(&path))?;
        let validation = validation.as_ref().map(|data| task.pairs(data)).transpose()?;
        let pairs = TrainingSets { train: task.pairs(train)?, validation };
        let job = Job {
            network: &network,
            device: autoencoder.device(),
            settings,
            steps: None,
            sets: &pairs,
            start: &Values::F32(values),
            reconstructs: false,
        };
        let lock = Lock::take(directory)?;
        super::expect_model(directory, network.spec())?;
        if Classifier::is_in(directory) && Task::read(directory)?.start.is_some_and(|start| Some(start) != task.start) {
            let problem = "holds a classifier that began with other weights";
            return Err(Error::file(directory, problem, "give the run that it was made from, or choose another --out"));
        }
        write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
        let mut run = job.open(lock)?;
        if run.train(observer)? == RunEnd::Stopped {
            return Ok(None);
        }
        run.directory().draw_losses()?;
        Ok(Some(Classifier { autoencoder: Autoencoder::from_run(&mut run)?, task }))
    }

    /// Whether a directory holds a classifier.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(CLASSIFIER).is_file()
    }

    /// Loads the classifier that [`Classifier::train`] wrote to a directory.
    pub fn load(directory: impl AsRef<Path>, device: Device) -> Result<Classifier> {
        let directory = directory.as_ref();
        let task = Task::read(directory)?;
        let autoencoder = Autoencoder::load_with(directory, device, &task.extensions())?;
        let expected = task.width().saturating_add(task.classes);
        if autoencoder.network().spec().input[..] != [expected] {
            let problem = format!("the model's input is {}", autoencoder.network().spec().input);
            return Err(damaged(directory, problem));
        }
        Ok(Classifier { autoencoder, task })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.task.classes
    }

    /// The label of a class, as spelt in the data.
    pub fn class_name(&self, class: u32) -> String {
        self.task.names.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    }

    /// Settings for reading data for the classifier: pictures are converted to the shape of a sample, if samples are
    /// pictures; the columns of tables are standardised as in training; and a CSV file may have the column of labels
    /// used in training.
    pub fn reading(&self) -> Reading {
        let data = &self.autoencoder.network().spec().data;
        let label = data.label_column().map(|label| LabelColumn { optional: true, ..label });
        let known = &self.task.columns;
        let columns = (!known.is_empty()).then(|| Columns { known: known.clone(), complete: true });
        Reading {
            label,
            columns,
            input: Some(self.input()),
            ..Reading::pictures(PictureFormat::of(&self.input(), data.fit))
        }
    }

    /// The shape of a sample.
    pub fn input(&self) -> Shape {
        self.task.input.iter().copied().collect()
    }

    /// Computes the probability of each class for samples stored one after another: `[n, classes]`.
    pub fn probabilities(&self, samples: &[f32]) -> Result<Tensor> {
        let (width, classes) = (self.task.width(), self.task.classes);
        let none = vec![0u32; count_of(samples, width)?];
        let mut probabilities = Vec::with_capacity(none.len() * classes);
        for (samples, none) in samples.chunks(AT_ONCE * width).zip(none.chunks(AT_ONCE)) {
            let pairs = self.autoencoder.reconstruct(&paired(samples, none, &self.task, 0.0))?.to_f32();
            for pair in pairs.chunks(width + classes) {
                let largest = pair[width..].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = pair[width..].iter().map(|logit| (logit - largest).exp()).collect();
                let sum: f32 = powers.iter().sum();
                probabilities.extend(powers.iter().map(|power| power / sum));
            }
        }
        Tensor::from_f32([none.len(), classes], probabilities)
    }

    /// Predicts the most likely class of each of the samples stored one after another, counted from 0; ties go to the
    /// first class. [`Classifier::class_name`] returns its label.
    pub fn predict(&self, samples: &[f32]) -> Result<Vec<u32>> {
        let probabilities = self.probabilities(samples)?.to_f32();
        let likeliest = |row: &[f32]| {
            (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u32
        };
        Ok(probabilities.chunks(self.task.classes).map(likeliest).collect())
    }

    /// Predicts the classes of all samples of a data set.
    pub fn predict_all(&self, data: &Dataset) -> Result<Vec<u32>> {
        self.task.accepts(data)?;
        let mut all = Vec::with_capacity(data.len());
        for range in data.ranges(AT_ONCE) {
            all.extend(self.predict(&data.read_f32(range)?)?);
        }
        Ok(all)
    }

    /// Measures the error rate on labelled data. Fails where data has labels unknown in training.
    pub fn test(&self, data: &Dataset) -> Result<Classification> {
        let labels = self.task.classes_of(data)?;
        let predicted = self.predict_all(data)?;
        let errors = predicted.iter().zip(&labels).filter(|(predicted, label)| predicted != label).count();
        Ok(Classification { error: errors as f64 / data.len() as f64, errors, samples: data.len() })
    }
}

impl Classification {
    /// Writes the results into the classifier's directory.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(RESULTS);
        let text = serde_json::to_string(self).map_err(Error::bug(&path))?;
        write_atomically(&path, |file| writeln!(file, "{text}"))
    }
}
