//! Every kind of layer as model files write it: against PyTorch, and back to the text that it was read from.

use crate::support::*;
use pinhole::graph::Graph;
use pinhole::nn::{self, Layer};
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::{Device, Result};

/// Output and gradients of one case on a device, under the names of the fixture's tensors.
fn computed(device: &Device, layer: &Layer, index: usize, tensors: &Tensors) -> Result<Vec<(String, Vec<f64>)>> {
    let tensor = |name: &str| {
        let name = format!("{index}.{name}");
        Tensor::new(Shape::from(tensors.shape(&name)), Values::F64(tensors.f64(&name)))
    };
    let mut graph = Graph::new();
    let (input, upstream) = (tensor("input")?, tensor("grad_output")?);
    let x = graph.input("x", input.shape().clone(), DType::Float)?;
    let sample: Shape = input.shape()[1..].iter().copied().collect();
    let placed = nn::place("layer", std::slice::from_ref(layer), &sample)?.remove(0);
    let y = placed.apply(&mut graph, x)?;
    assert_eq!(graph.shape(y), upstream.shape(), "the output of {layer}");
    let g = graph.input("g", upstream.shape().clone(), DType::Float)?;
    let product = graph.multiply(y, g)?;
    let axes: Vec<usize> = (0..graph.shape(product).len()).collect();
    let objective = graph.sum(product, &axes)?;

    let mut inputs = vec![("x", input), ("g", upstream)];
    let (mut names, mut by) = (vec!["output".to_owned(), "grad_input".to_owned()], vec![x]);
    for parameter in &placed.parameters {
        let short = parameter.name.trim_start_matches("layer.0.");
        let values = tensor(&format!("parameter.{short}"))?;
        assert_eq!(values.shape(), &parameter.shape, "{} of {layer}", parameter.name);
        by.push(graph.parameter(&parameter.name, parameter.shape.clone())?);
        names.push(format!("grad.{short}"));
        inputs.push((&parameter.name, values));
    }
    let mut outputs = vec![y];
    outputs.extend(graph.gradients(objective, &by)?);
    let results = device.compute(&graph, &outputs, &inputs)?;
    Ok(names.into_iter().zip(results.iter().map(Tensor::to_f64)).collect())
}

#[test]
fn layers_of_model_files_match_pytorch_on_every_device() -> Result<()> {
    let fixture_cases = json(&fixture("layer_cases.json"));
    let tensors = Tensors::read(&fixture("layer_cases.safetensors"));
    let cases = fixture_cases["cases"].as_array().expect("cases");
    let mut seen = 0;
    for device in all_devices() {
        for (index, case) in cases.iter().enumerate() {
            let layer: Layer = case["layer"].as_str().expect("a layer").parse()?;
            let results = computed(&device, &layer, index, &tensors)?;
            // Each parameter of PyTorch's module is one of the layer's.
            assert_eq!(results.len(), 2 + case["parameters"].as_array().expect("a list").len(), "{layer}");
            for (name, actual) in results {
                let expected = tensors.f64(&format!("{index}.{name}"));
                let tolerance = if matches!(device, Device::CpuF64) { 1e-13 } else { 2e-6 };
                let what = format!("{name} of {layer} at {} on {}", case["input"], device.name());
                expect_close(&what, &actual, &expected, tolerance, Scale::Largest);
                seen += 1;
            }
        }
    }
    assert!(seen > 6 * cases.len(), "{seen} comparisons");
    Ok(())
}

#[test]
fn layers_are_written_as_they_are_read() {
    let cases = json(&fixture("layer_cases.json"));
    for case in cases["cases"].as_array().expect("cases") {
        let text = case["layer"].as_str().expect("a layer");
        let layer: Layer = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(layer.to_string(), text);
    }
    for layer in Layer::templates() {
        for text in [layer.to_string(), format!("{layer:#}")] {
            assert_eq!(text.parse::<Layer>().unwrap_or_else(|error| panic!("{text}: {error}")), layer, "{text}");
        }
    }
}

#[test]
fn wrong_layers_are_told_in_one_line() {
    let image = Shape::from([4, 6, 6]);
    for (text, expected) in [
        ("relu", "layer: string values must be quoted, expected literal string; write it as in a model file"),
        ("{ hardtanh = { min = 2.0 } }", "expects min below max, got 2 and 1; write min = -1.0, max = 1.0, say"),
        ("{ hardtanh = { low = 2.0 } }", "layer.hardtanh: unknown key \"low\"; known are min, max"),
        (
            "{ max_pool2d = { kernel = 3, padding = 2 } }",
            "padding [2, 2] is more than half of kernel [3, 3]; use less padding",
        ),
        ("{ max_pool2d = 7 }", "kernel [7, 7] does not fit into [6, 6] with padding [0, 0]; use a smaller kernel"),
        ("{ pixel_shuffle = 3 }", "expects a multiple of 9 channels, got [4, 6, 6]; change the channels before it"),
        ("{ pixel_unshuffle = 4 }", "expects a height and width that 4 divides, got [4, 6, 6]; use another factor"),
        ("{ upsample_nearest = 0 }", "scale must be at least 1, got [0, 0]; use positive numbers"),
        ("{ conv1d = { out = 2, kernel = 3 } }", "expects [channels, length], got [4, 6, 6]; put { unflatten = "),
        ("{ conv1d = { out = 2, kernel = [3, 3] } }", "layer.conv1d.kernel: expects a whole number, got [3, 3]"),
        ("{ conv2d = { out = 4, kernel = 3, groups = 3 } }", "3 groups do not divide the 4 channels that go in; use"),
        (
            "{ conv2d = { out = 3, kernel = 3, groups = 2 } }",
            "2 groups do not divide the 3 channels that come out; use",
        ),
        (
            "{ conv2d = { out = 3, kernel = 3, dilation = 3 } }",
            "kernel [3, 3] does not fit into [6, 6] with padding [0, 0] and dilation [3, 3]; use a smaller kernel",
        ),
        ("{ prelu = { per_channel = 3 } }", "layer.prelu.per_channel: expects true or false, got 3"),
    ] {
        let told = match text.parse::<Layer>() {
            Ok(layer) => layer.output_shape(&image).expect_err(text),
            Err(error) => error.to_string(),
        };
        assert!(told.starts_with(expected) && !told.contains('\n'), "{text}: {told}");
    }
}
