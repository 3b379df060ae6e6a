//! What the tests of training, models and the program share: devices, reference files, comparisons, small models.

pub use crate::check::gpu;
use pinhole::data::{Dataset, digits};
use pinhole::model::{ModelSpec, Network};
use pinhole::plan::LayoutEntry;
use pinhole::tensor::Values;
use pinhole::train::{EpochEnd, EpochReport, Observer, Options, Trainer};
use pinhole::{Device, Error};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the GPU that is tested: lavapipe where the machine has no other.
pub fn gpu_name() -> String {
    std::env::var("PINHOLE_TEST_DEVICE").unwrap_or_else(|_| "gpu".to_owned())
}

/// The devices that compute in f32.
pub fn fast_devices() -> [Device; 2] {
    [Device::Cpu, gpu()]
}

/// Every kind of device.
pub fn all_devices() -> [Device; 3] {
    [Device::CpuF64, Device::Cpu, gpu()]
}

/// The folder with `data/mnist` and `golden/`.
pub fn test_data() -> PathBuf {
    PathBuf::from(
        std::env::var("PINHOLE_TEST_DATA").expect("PINHOLE_TEST_DATA names the folder with golden/ and data/"),
    )
}

/// The labels of data, as numbers.
pub fn labels_of(data: &Dataset) -> Vec<i64> {
    data.labels().and_then(|labels| labels.numbers()).expect("labels that are numbers")
}

/// A folder that is removed when the test is over.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The file of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// A list of numbers in a JSON file.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// Tensors of a safetensors file, by name: shape and values.
pub struct Tensors(BTreeMap<String, (Vec<usize>, Values)>);

impl Tensors {
    pub fn read(path: &Path) -> Tensors {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.tensors().into_iter().map(|(name, tensor)| {
            let data = tensor.data();
            let values = match tensor.dtype() {
                Dtype::F32 => Values::F32(data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
                Dtype::F64 => Values::F64(data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
                Dtype::U8 => Values::U8(data.to_vec()),
                other => panic!("{name} is {other:?}"),
            };
            (name, (tensor.shape().to_vec(), values))
        });
        Tensors(tensors.collect())
    }

    fn get(&self, name: &str) -> &(Vec<usize>, Values) {
        self.0.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.get(name).0
    }

    pub fn f64(&self, name: &str) -> Vec<f64> {
        wide(&self.get(name).1)
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        match &self.get(name).1 {
            Values::F32(values) => values.clone(),
            other => wide(other).into_iter().map(|value| value as f32).collect(),
        }
    }

    pub fn u8(&self, name: &str) -> Vec<u8> {
        match &self.get(name).1 {
            Values::U8(values) => values.clone(),
            _ => panic!("{name} is not bytes"),
        }
    }

    /// All parameters of a network in its layout, from the tensors under `prefix`.
    pub fn parameters(&self, network: &Network, prefix: &str) -> Vec<f64> {
        let mut all = vec![0.0; network.layout().elements()];
        for LayoutEntry { name, shape, offset } in network.layout().entries() {
            let name = format!("{prefix}{name}");
            assert_eq!(self.shape(&name), &shape[..], "{name}");
            all[*offset..*offset + shape.elements()].copy_from_slice(&self.f64(&name));
        }
        all
    }
}

/// Any values as f64.
pub fn wide(values: &Values) -> Vec<f64> {
    match values {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        Values::U32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::U8(values) => values.iter().map(|value| f64::from(*value)).collect(),
    }
}

/// What a difference is measured against.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// Nothing.
    Absolute,
    /// The expected value.
    Relative,
    /// The expected value, or 1 where that is smaller.
    AtLeastOne,
    /// The largest expected value.
    Largest,
}

/// Fails where lengths differ, or a difference is not within `tolerance` of the scale: NaN is not.
pub fn expect_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64, scale: Scale) {
    if let Err(problem) = close(actual, expected, tolerance, scale) {
        panic!("{what}: {problem}");
    }
}

/// See [`expect_close`].
pub fn close(actual: &[f64], expected: &[f64], tolerance: f64, scale: Scale) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!("{} values, {} expected", actual.len(), expected.len()));
    }
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (position, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let unit = match scale {
            Scale::Absolute => 1.0,
            Scale::Relative => expected.abs(),
            Scale::AtLeastOne => expected.abs().max(1.0),
            Scale::Largest => largest,
        };
        let difference = (actual - expected).abs();
        // NaN is not within anything.
        let within = difference <= tolerance * unit;
        if !within {
            let off = difference / unit;
            return Err(format!(
                "at {position}: {actual:e}, expected {expected:e}; off by {off:e}, allowed {tolerance:e}"
            ));
        }
    }
    Ok(())
}

/// The planted faults that every comparison of this suite must see.
#[test]
fn comparisons_see_planted_faults() {
    for scale in [Scale::Absolute, Scale::Relative, Scale::AtLeastOne, Scale::Largest] {
        let right = [1.0, -2.0, 3.0];
        assert!(close(&right, &right, 0.0, scale).is_ok());
        assert!(close(&[1.0, -2.0, 3.1], &right, 1e-3, scale).is_err(), "{scale:?}: a wrong value");
        assert!(close(&[1.0, 2.0, 3.0], &right, 1e-3, scale).is_err(), "{scale:?}: a wrong sign");
        assert!(close(&[1.0, f64::NAN, 3.0], &right, 1e30, scale).is_err(), "{scale:?}: NaN");
        assert!(close(&[1.0, f64::INFINITY, 3.0], &right, 1e30, scale).is_err(), "{scale:?}: infinity");
        assert!(close(&right[..2], &right, 1e30, scale).is_err(), "{scale:?}: a short output");
        assert!(close(&[1.0, -2.0, 3.0, 0.0], &right, 1e30, scale).is_err(), "{scale:?}: a long output");
    }
    assert!(close(&[f64::NAN], &[f64::NAN], 1.0, Scale::Absolute).is_err(), "NaN on both sides");
}

/// A small convolutional model for 28x28 pictures; with its batch of 32.
pub const SMALL_CONV: &str = r#"
input = [1, 28, 28]
loss = "mse"
encoder = [{ conv2d = { out = 4, kernel = 3, stride = 2, padding = 1 } }, "relu", "flatten", { linear = 8 }]
decoder = [
  { linear = 784 }, "relu", { unflatten = [4, 14, 14] },
  { conv_transpose2d = { out = 1, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "sigmoid",
]
[train]
batch = 32
epochs = 3
seed = 7
optimizer = { adam = { lr = 3e-3 } }
"#;

/// A small dense model for 28x28 pictures; with its batch of 32.
pub const SMALL_DENSE: &str = r#"
input = [784]
loss = "bce"
encoder = [{ linear = 24 }, "relu", { linear = 6 }]
decoder = [{ linear = 24 }, "relu", { linear = 784 }, "sigmoid"]
[train]
batch = 32
epochs = 3
seed = 7
optimizer = { adam = { lr = 3e-3 } }
"#;

/// A model file's text, read.
pub fn spec(text: &str) -> ModelSpec {
    ModelSpec::parse(text, Path::new("test.toml")).expect("a model")
}

/// A model of a text.
pub fn network(text: &str) -> Network {
    Network::new(spec(text)).expect("a network")
}

/// Initial weights of the spec's own seed.
pub fn initial(network: &Network) -> Values {
    Values::F32(network.initial(network.spec().train.seed))
}

/// Digits as floats instead of bytes.
pub fn float_digits(count: usize, seed: u64) -> Dataset {
    let bytes = digits(count, seed);
    Dataset::from_f32(bytes.sample_shape().clone(), bytes.rows_f32(0..count)).expect("a data set")
}

/// Keeps every loss, and ends training once it has seen so many.
#[derive(Default)]
pub struct Losses {
    pub steps: Vec<u64>,
    pub losses: Vec<f64>,
    pub stop_after: Option<usize>,
}

impl Observer for Losses {
    fn step(&mut self, step: u64, loss: f64) {
        self.steps.push(step);
        self.losses.push(loss);
    }

    fn stop(&mut self) -> bool {
        self.stop_after.is_some_and(|count| self.losses.len() >= count)
    }
}

/// What came of a training.
#[derive(Debug, PartialEq)]
pub struct Trained {
    pub losses: Vec<f64>,
    pub reports: Vec<EpochReport>,
    pub parameters: Values,
}

/// Trains to the end, or to an error; the losses that were seen before it come with it.
pub fn try_train(
    network: &Network,
    device: &Device,
    data: &Dataset,
    validation: Option<&Dataset>,
    options: Options,
    start: &Values,
) -> Result<Trained, (Error, Vec<f64>)> {
    let mut losses = Losses::default();
    let mut reports = Vec::new();
    let run = || -> Result<Values, Error> {
        let mut trainer = Trainer::new(network, device, data, validation, options)?;
        trainer.start(start)?;
        loop {
            match trainer.epoch(&mut losses)? {
                // How long it took is the one thing that differs between equal runs.
                EpochEnd::Epoch(report) => reports.push(EpochReport { seconds: 0.0, ..report }),
                EpochEnd::Finished => return trainer.parameters(),
                EpochEnd::Stopped => panic!("nobody asked to stop"),
            }
        }
    };
    match run() {
        Ok(parameters) => {
            let steps: Vec<u64> = (1..=losses.losses.len() as u64).collect();
            assert_eq!(losses.steps, steps, "steps are reported in order, each once");
            Ok(Trained { losses: losses.losses, reports, parameters })
        }
        Err(error) => Err((error, losses.losses)),
    }
}

/// Trains from the spec's own initial weights.
pub fn train(
    network: &Network,
    device: &Device,
    data: &Dataset,
    validation: Option<&Dataset>,
    options: Options,
) -> Trained {
    train_from(network, device, data, validation, options, &initial(network))
}

/// Trains from these weights.
pub fn train_from(
    network: &Network,
    device: &Device,
    data: &Dataset,
    validation: Option<&Dataset>,
    options: Options,
    start: &Values,
) -> Trained {
    match try_train(network, device, data, validation, options, start) {
        Ok(trained) => trained,
        Err((error, _)) => panic!("training on {} failed: {error}", device.name()),
    }
}
