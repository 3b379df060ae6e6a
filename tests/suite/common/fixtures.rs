//! PyTorch's small references: single layers and losses with their gradients, two miniature trainings, initial weights.

use crate::support::*;
use pinhole::data::Dataset;
use pinhole::nn::{self, Activation, Context, Conv2d, ConvTranspose2d, Layer, Linear};
use pinhole::plan::LayoutEntry;
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, model::Network};
use pinhole::{Device, Result};
use serde_json::Value as Json;

// ---- layers

fn pair(case: &Json, key: &str) -> [usize; 2] {
    [0, 1].map(|axis| case[key][axis].as_u64().unwrap_or_else(|| panic!("{case} has no {key}")) as usize)
}

/// The layer of a fixture's case; `None` for a loss.
fn layer(case: &Json) -> Option<Layer> {
    let size = |key: &str| case[key].as_u64().expect("a size") as usize;
    let number = |key: &str| case[key].as_f64().expect("a number");
    let activation = match case["kind"].as_str().expect("a kind") {
        "linear" => return Some(Layer::Linear(Linear::new(size("out_features")))),
        "conv2d" => {
            let (out, kernel) = (size("out_channels"), pair(case, "kernel"));
            let (stride, padding) = (pair(case, "stride"), pair(case, "padding"));
            return Some(Layer::Conv2d(Conv2d { stride, padding, ..Conv2d::new(out, kernel) }));
        }
        "conv_transpose2d" => {
            let (out, kernel) = (size("out_channels"), pair(case, "kernel"));
            let (stride, padding) = (pair(case, "stride"), pair(case, "padding"));
            let output_padding = pair(case, "output_padding");
            return Some(Layer::ConvTranspose2d(ConvTranspose2d {
                stride,
                padding,
                output_padding,
                ..ConvTranspose2d::new(out, kernel)
            }));
        }
        "relu" => Activation::Relu,
        "leaky_relu" => Activation::LeakyRelu { slope: number("slope") },
        "elu" => Activation::Elu { alpha: number("alpha") },
        "gelu" => Activation::Gelu,
        "silu" => Activation::Silu,
        "softplus" => Activation::Softplus,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "mse" | "l1" | "bce_with_logits" => return None,
        other => panic!("no such kind: {other}"),
    };
    Some(Layer::Activation(activation))
}

/// What a case computes on a device, in the order of `names`.
fn layer_case(device: &Device, case: &Json, tensors: &Tensors) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let prefix = case["prefix"].as_str().expect("a prefix");
    let tensor = |name: &str| {
        let name = format!("{prefix}{name}");
        Tensor::new(Shape::from(tensors.shape(&name)), Values::F64(tensors.f64(&name)))
    };
    let mut graph = Context::new();
    let input = tensor("input")?;
    let x = graph.input("x", input.shape().clone(), DType::Float)?;
    let mut inputs = vec![("x", input)];
    let (y, objective) = match layer(case) {
        Some(layer) => {
            // An activation's 31 numbers are as many samples of one.
            let is_activation = matches!(layer, Layer::Activation(_));
            let sample: Shape = match is_activation {
                true => [1].into(),
                false => graph.shape(x)[1..].iter().copied().collect(),
            };
            let placed = nn::place("layer", &[layer], &sample)?;
            let y = placed[0].apply(&mut graph, x)?;
            if !is_activation {
                inputs.push(("layer.0.weight", tensor("weight")?));
                inputs.push(("layer.0.bias", tensor("bias")?));
            }
            let upstream = tensor("grad_output")?;
            assert_eq!(graph.shape(y), upstream.shape(), "{prefix} output");
            let g = graph.input("g", upstream.shape().clone(), DType::Float)?;
            inputs.push(("g", upstream));
            let product = graph.multiply(y, g)?;
            let axes: Vec<usize> = (0..graph.shape(product).len()).collect();
            (y, graph.sum(product, &axes)?)
        }
        None => {
            let target = tensor("target")?;
            let t = graph.input("t", target.shape().clone(), DType::Float)?;
            inputs.push(("t", target));
            let loss = match case["kind"].as_str() {
                Some("mse") => nn::loss::mse(&mut graph, x, t)?,
                Some("l1") => nn::loss::mae(&mut graph, x, t)?,
                _ => nn::loss::bce_with_logits(&mut graph, x, t)?,
            };
            (loss, loss)
        }
    };
    let (mut names, mut wanted) = (vec!["output", "grad_input"], vec![x]);
    for (name, key) in [("layer.0.weight", "grad_weight"), ("layer.0.bias", "grad_bias")] {
        if let Some((_, tensor)) = inputs.iter().find(|(known, _)| *known == name) {
            wanted.push(graph.parameter(name, tensor.shape().clone())?);
            names.push(key);
        }
    }
    let mut outputs = vec![y];
    outputs.extend(graph.gradients(objective, &wanted)?);
    let results = device.compute(&graph, &outputs, &inputs)?;
    Ok(names.into_iter().zip(results.iter().map(Tensor::to_f64)).collect())
}

#[test]
fn layers_match_pytorch_forward_and_backward_on_every_device() -> Result<()> {
    let cases = json(&fixture("layers.json"));
    let tensors = Tensors::read(&fixture("layers.safetensors"));
    let cases = cases["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 34, "the fixture's cases");
    for device in all_devices() {
        for case in cases {
            let prefix = case["prefix"].as_str().expect("a prefix");
            let exact = matches!(case["kind"].as_str(), Some("linear" | "conv2d" | "conv_transpose2d"));
            let results = layer_case(&device, case, &tensors)?;
            assert_eq!(results.len(), if exact { 4 } else { 2 }, "{prefix}");
            for (name, actual) in results {
                let expected = tensors.f64(&format!("{prefix}{name}"));
                // Layers have no rounding in f64. PyTorch's activations lose the digits of small values.
                let (tolerance, scale) = match (&device, exact) {
                    (Device::CpuF64, true) => (0.0, Scale::Absolute),
                    (Device::CpuF64, false) => (1e-14, Scale::AtLeastOne),
                    (_, true) => (1e-6, Scale::Largest),
                    (_, false) => (1e-6, Scale::AtLeastOne),
                };
                expect_close(&format!("{prefix}{name} on {}", device.name()), &actual, &expected, tolerance, scale);
            }
        }
    }
    Ok(())
}

// ---- miniature trainings

const TINY_CONV: &str = r#"
input = [1, 8, 8]
loss = "mse"
encoder = [
  { conv2d = { out = 3, kernel = 3, stride = 2, padding = 1 } }, "relu",
  { conv2d = { out = 4, kernel = 3, stride = 2, padding = 1 } }, "relu",
  "flatten", { linear = 5 },
]
decoder = [
  { linear = 16 }, "relu", { unflatten = [4, 2, 2] },
  { conv_transpose2d = { out = 3, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "relu",
  { conv_transpose2d = { out = 1, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "sigmoid",
]
[train]
batch = 10
epochs = 3
shuffle = false
optimizer = { OPT }
"#;

const TINY_DENSE: &str = r#"
input = [64]
loss = "bce"
encoder = [{ linear = 17 }, "tanh", { linear = 6 }, "gelu"]
decoder = [{ linear = 17 }, "silu", { linear = 64 }, "sigmoid"]
[train]
batch = 10
epochs = 3
shuffle = false
optimizer = { OPT }
"#;

const TINY: [(&str, &str); 2] = [("tiny-conv", TINY_CONV), ("tiny-dense", TINY_DENSE)];

fn tiny(text: &str, optimizer: &str) -> Network {
    let settings = if optimizer == "adam" { "adam = { lr = 1e-2 }" } else { "sgd = { lr = 0.5 }" };
    network(&text.replace("OPT", settings))
}

fn tiny_images(network: &Network, tensors: &Tensors) -> Result<Dataset> {
    Dataset::from_u8(network.spec().input.clone(), tensors.u8("images"))
}

/// The loss of a batch and its gradients in the layout of the parameters, on a device.
pub fn loss_and_gradients(
    network: &Network,
    device: &Device,
    parameters: &Values,
    samples: &[f32],
) -> Result<(f64, Vec<f64>)> {
    let batch = samples.len() / network.spec().input.elements();
    let mut graph = Context::new();
    let x = graph.input("x", network.input_shape(batch), DType::Float)?;
    let code = network.encode(&mut graph, x)?;
    let decoded = network.decode(&mut graph, code)?;
    let loss = network.loss(&mut graph, decoded, x)?;
    let entries = network.layout().entries();
    let mut weights = Vec::new();
    let mut inputs = vec![("x", Tensor::from_f32(network.input_shape(batch), samples.to_vec())?)];
    let all = wide(parameters);
    for LayoutEntry { name, shape, offset } in entries {
        weights.push(graph.parameter(name, shape.clone())?);
        let values = Values::F64(all[*offset..*offset + shape.elements()].to_vec());
        inputs.push((name, Tensor::new(shape.clone(), values)?));
    }
    let mut outputs = vec![loss];
    outputs.extend(graph.gradients(loss, &weights)?);
    let results = device.compute(&graph, &outputs, &inputs)?;
    let mut gradients = vec![0.0; network.layout().elements()];
    for (LayoutEntry { shape, offset, .. }, gradient) in entries.iter().zip(&results[1..]) {
        gradients[*offset..*offset + shape.elements()].copy_from_slice(&gradient.to_f64());
    }
    Ok((results[0].to_f64()[0], gradients))
}

#[test]
fn tiny_trainings_match_pytorch_on_every_device() -> Result<()> {
    let reference = json(&fixture("tiny.json"));
    let tensors = Tensors::read(&fixture("tiny.safetensors"));
    for device in all_devices() {
        let exact = matches!(device, Device::CpuF64);
        for (model, text) in TINY {
            for optimizer in ["adam", "sgd"] {
                let what = format!("{model} by {optimizer} on {}", device.name());
                let run = &reference["models"][model]["runs"][optimizer];
                let network = tiny(text, optimizer);
                let start = Values::F64(tensors.parameters(&network, &format!("{model}.init.")));
                let images = tiny_images(&network, &tensors)?;
                let trained = train_from(&network, &device, &images, None, Options::default(), &start);

                // Fifteen steps, each third of which ends in a batch of 8.
                let expected = numbers(&run["losses64"]);
                assert_eq!(expected.len(), 15);
                let tolerance = if exact { 1e-12 } else { 1e-5 };
                expect_close(&format!("{what}: losses"), &trained.losses, &expected, tolerance, Scale::Relative);
                let weights = wide(&trained.parameters);
                let expected = tensors.parameters(&network, &format!("{model}.{optimizer}.final64."));
                expect_close(&format!("{what}: weights"), &weights, &expected, tolerance, Scale::Absolute);

                // The mean over an epoch counts samples, not batches.
                for (report, losses) in trained.reports.iter().zip(trained.losses.chunks(5)) {
                    let sum: f64 = losses.iter().zip([10.0, 10.0, 10.0, 10.0, 8.0]).map(|(loss, n)| loss * n).sum();
                    expect_close(&what, &[report.train_loss], &[sum / 48.0], 1e-14, Scale::Relative);
                }

                let batch = images.rows_f32(0..10);
                let (after, _) = loss_and_gradients(&network, &device, &trained.parameters, &batch)?;
                let expected = run["loss_batch0_after64"].as_f64().expect("a loss");
                expect_close(&format!("{what}: loss after"), &[after], &[expected], tolerance, Scale::Relative);
            }
        }
    }
    Ok(())
}

#[test]
fn tiny_outputs_and_gradients_match_pytorch_on_every_device() -> Result<()> {
    let tensors = Tensors::read(&fixture("tiny.safetensors"));
    for device in all_devices() {
        // The references were rounded to f32, and so is what the library reconstructs.
        let tolerance = if matches!(device, Device::CpuF64) { 1.2e-7 } else { 1e-5 };
        for (model, text) in TINY {
            let network = tiny(text, "adam");
            let start = Values::F64(tensors.parameters(&network, &format!("{model}.init.")));
            let images = tiny_images(&network, &tensors)?;
            let what = |part: &str| format!("{model}: {part} on {}", device.name());

            let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
            autoencoder.set_parameters(start.clone())?;
            let output = autoencoder.reconstruct(&images.rows_f32(0..4))?;
            let expected = tensors.f64(&format!("{model}.out1"));
            expect_close(&what("output"), &output.to_f64(), &expected, tolerance, Scale::Largest);

            let (_, gradients) = loss_and_gradients(&network, &device, &start, &images.rows_f32(0..10))?;
            for LayoutEntry { name, shape, offset } in network.layout().entries() {
                let actual = &gradients[*offset..*offset + shape.elements()];
                let expected = tensors.f64(&format!("{model}.grad1.{name}"));
                expect_close(&what(name), actual, &expected, tolerance, Scale::Largest);
            }
        }
    }
    Ok(())
}

#[test]
fn tiny_models_have_the_parameters_of_pytorch() {
    let reference = json(&fixture("tiny.json"));
    for (model, text) in TINY {
        let network = tiny(text, "adam");
        let expected = reference["models"][model]["parameters"].as_object().expect("parameters");
        assert_eq!(network.layout().entries().len(), expected.len(), "{model}");
        for LayoutEntry { name, shape, .. } in network.layout().entries() {
            assert_eq!(serde_json::json!(shape[..]), expected[name], "{model}: {name}");
        }
    }
}

// ---- initial weights

/// PyTorch's rule: uniform in (-b, b), b = 1 / sqrt(fan in), where the fan-in of a bias is its weight's.
#[test]
fn initial_weights_follow_pytorchs_rule() {
    let presets = ["conv", "dense"].map(|name| pinhole::model::ModelSpec::resolve(name).expect("a preset"));
    for spec in presets {
        let network = Network::new(spec).expect("a network");
        let values = network.initial(3);
        assert_eq!(values.len(), network.layout().elements());
        let entries = network.layout().entries();
        for LayoutEntry { name, shape, offset } in entries {
            let weight = name.replace(".bias", ".weight");
            let LayoutEntry { shape: weight, .. } =
                entries.iter().find(|entry| entry.name == weight).expect("a weight");
            let fan_in: usize = weight[1..].iter().product();
            let bound = 1.0 / (fan_in as f64).sqrt();
            let values: Vec<f64> = values[*offset..*offset + shape.elements()].iter().map(|v| f64::from(*v)).collect();
            let count = values.len() as f64;
            assert!(values.iter().all(|value| value.abs() <= bound * (1.0 + 1e-6)), "{name} leaves its bound {bound}");
            if values.len() < 100 {
                continue;
            }
            let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            assert!(largest >= bound * (1.0 - 10.0 / count), "{name} stays too far within its bound: {largest}");
            // Five standard deviations of the mean and of the mean square of so many uniform numbers.
            let mean = values.iter().sum::<f64>() / count;
            assert!(mean.abs() <= 5.0 * bound / (3.0 * count).sqrt(), "{name}: mean {mean}, bound {bound}");
            let variance = values.iter().map(|value| value * value).sum::<f64>() / count;
            let expected = bound * bound / 3.0;
            let allowed = 5.0 * (4.0f64 / 45.0).sqrt() * bound * bound / count.sqrt();
            assert!((variance - expected).abs() <= allowed, "{name}: variance {variance}, expected {expected}");
            // All ten tenths of the interval are filled alike, also to five deviations.
            let mut tenths = [0.0f64; 10];
            for value in &values {
                tenths[((value / bound + 1.0) * 5.0).clamp(0.0, 9.0) as usize] += 1.0;
            }
            for filled in tenths {
                assert!((filled - count / 10.0).abs() <= 5.0 * (count * 0.09).sqrt(), "{name}: {tenths:?} of {count}");
            }
        }
    }
}

#[test]
fn initial_weights_depend_on_the_seed_alone() {
    let network = network(SMALL_CONV);
    assert_eq!(network.initial(5), network.initial(5));
    let (first, second) = (network.initial(5), network.initial(6));
    // What lies between two parameters is zero.
    let weights: Vec<usize> = network
        .layout()
        .entries()
        .iter()
        .flat_map(|LayoutEntry { shape: s, offset: at, .. }| *at..at + s.elements())
        .collect();
    let equal = weights.iter().filter(|at| first[**at] == second[**at]).count();
    assert!(equal <= 3, "{equal} of {} weights do not depend on the seed", weights.len());
    // Parameters of one size do not begin alike.
    let twins = self::network(&SMALL_DENSE.replace("linear = 6", "linear = 24"));
    let values = twins.initial(5);
    let offset = |name: &str| twins.layout().offset(name).expect("a parameter");
    let (a, b) = (offset("encoder.2.weight"), offset("decoder.0.weight"));
    assert_ne!(values[a..a + 576], values[b..b + 576]);
    // A new autoencoder has the weights of its spec's seed.
    let autoencoder = Autoencoder::new(network.spec().clone(), Device::Cpu).expect("an autoencoder");
    assert_eq!(autoencoder.parameters(), &Values::F32(network.initial(7)));
}
