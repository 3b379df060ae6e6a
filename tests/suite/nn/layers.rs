//! Every kind of layer as model files write it: against PyTorch, and back to the text that it was read from.

use crate::support::*;
use pinhole::nn::{self, Context, Layer};
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::{Device, Result};

/// Output and gradients of one case on a device, under the names of the fixture's tensors.
fn computed(device: &Device, layer: &Layer, index: usize, tensors: &Tensors) -> Result<Vec<(String, Vec<f64>)>> {
    let tensor = |name: &str| {
        let name = format!("{index}.{name}");
        Tensor::new(Shape::from(tensors.shape(&name)), Values::F64(tensors.f64(&name)))
    };
    let mut graph = Context::new();
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

/// The files of references that `make_layer_cases.py` and `make_ported_cases.py` have written.
const FIXTURES: [&str; 2] = ["layer_cases", "ported_cases"];

fn cases(name: &str) -> Vec<serde_json::Value> {
    json(&fixture(&format!("{name}.json")))["cases"].as_array().expect("cases").clone()
}

fn expect_pytorchs(fixture_name: &str) -> Result<()> {
    let tensors = Tensors::read(&fixture(&format!("{fixture_name}.safetensors")));
    let cases = cases(fixture_name);
    let mut seen = 0;
    for device in all_devices() {
        for (index, case) in cases.iter().enumerate() {
            let layer: Layer = case["layer"].as_str().expect("a layer").parse()?;
            let results = computed(&device, &layer, index, &tensors)?;
            // Each parameter of PyTorch's module is one of the layer's.
            assert_eq!(results.len(), 2 + case["parameters"].as_array().expect("a list").len(), "{layer}");
            for (name, actual) in results {
                let expected = tensors.f64(&format!("{index}.{name}"));
                // Recurrent layers carry what 32 bits lose from step to step and layer to layer.
                let tolerance = match (&device, &layer) {
                    (Device::CpuF64, _) => 1e-13,
                    (_, Layer::Recurrent(_)) => 1e-5,
                    _ => 2e-6,
                };
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
fn layers_of_model_files_match_pytorch_on_every_device() -> Result<()> {
    expect_pytorchs("layer_cases")
}

#[test]
fn layers_of_ported_models_match_pytorch_on_every_device() -> Result<()> {
    expect_pytorchs("ported_cases")
}

#[test]
fn layers_are_written_as_they_are_read() {
    for case in FIXTURES.into_iter().flat_map(cases) {
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
        (
            "{ conv2d = { out = 2, kernel = [5, 4], stride = 2, padding = \"same\" } }",
            "padding = \"same\" goes with a stride of 1, got stride [2, 2]; write padding = [2, 1], say",
        ),
        (
            "{ conv2d = { out = 2, kernel = 3, padding = \"full\" } }",
            "layer.conv2d.padding: expects whole numbers, \"same\" or \"valid\", got \"full\"; write 1 or \"same\", say",
        ),
        (
            "{ conv_transpose2d = { out = 2, kernel = 3, padding = \"same\" } }",
            "layer.conv_transpose2d.padding: expects a whole number, got \"same\"; write 3, say",
        ),
        (
            "{ conv_transpose2d = { out = 2, kernel = 3, stride = [3, 1], dilation = 2, output_padding = 2 } }",
            "output_padding [2, 2] must be smaller than stride [3, 1] or dilation [2, 2]; use less output_padding",
        ),
        (
            "{ max_pool2d = { kernel = 3, dilation = 3 } }",
            "kernel [3, 3] does not fit into [6, 6] with padding [0, 0] and dilation [3, 3]; use a smaller kernel or more",
        ),
        (
            "{ max_pool2d = { kernel = 2, stride = 1, padding = 1, dilation = 7 } }",
            "a window of kernel [2, 2] holds nothing of [6, 6] with padding [1, 1] and dilation [7, 7]; use less padding",
        ),
        (
            "{ max_pool2d = { kernel = 2, dilation = 0 } }",
            "dilation must be at least 1, got [0, 0]; use positive numbers",
        ),
        (
            "{ avg_pool2d = { kernel = 2, dilation = 2 } }",
            "layer.avg_pool2d: unknown key \"dilation\"; known are kernel, stride, padding, ceil_mode, count_include_pad",
        ),
        (
            "{ max_pool1d = 2 }",
            "expects [channels, length], got [4, 6, 6]; put { unflatten = [channels, length] } before it",
        ),
        ("{ adaptive_avg_pool2d = 0 }", "size must be at least 1, got [0, 0]; use positive numbers"),
        ("{ adaptive_avg_pool2d = 1000000000 }", "size [1000000000, 1000000000] is too large for [6, 6]; use less"),
        (
            "{ upsample_linear = 2 }",
            "expects [channels, length], got [4, 6, 6]; put { unflatten = [channels, length] }",
        ),
        ("{ rms_norm = 4 }", "axes = 4 does not fit [4, 6, 6]; use 1 to 3"),
        ("{ rms_norm = { eps = -1.0 } }", "eps must be"),
        (
            "{ lstm = { out = 3, layers = 2, dropout = 1.5 } }",
            "expects [steps, features], got [4, 6, 6]; put { unflatten",
        ),
        ("{ prelu = { per_channel = 3 } }", "layer.prelu.per_channel: expects true or false, got 3"),
    ] {
        let told = match text.parse::<Layer>() {
            Ok(layer) => layer.output_shape(&image).expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(told.starts_with(expected) && !told.contains('\n'), "{text}: {told}");
    }
    let sequence = Shape::from([4, 6]);
    for (text, expected) in [
        ("{ attention = { heads = 2, dropout = 1.5 } }", "dropout must be between 0 and 1, got 1.5; use 0.1, say"),
        (
            "{ lstm = { out = 3, layers = 2, dropout = -0.1 } }",
            "dropout must be between 0 and 1, got -0.1; use 0.1, say",
        ),
        (
            "{ gru = { out = 3, dropout = 0.2 } }",
            "dropout is between layers, of which there is one; write layers = 2, or { dropout = 0.2 } after it",
        ),
        ("{ gru = { out = 3, layers = 17 } }", "layers must be 1 to 16, got 17; use 2, say"),
        ("{ gru = { out = 3, layers = 0 } }", "layers must be 1 to 16, got 0; use 2, say"),
        (
            "{ upsample_nearest = [2, 3] }",
            "a sequence [4, 6] has one axis to enlarge, got scale [2, 3]; use one number",
        ),
        ("{ upsample_bilinear = 2 }", "expects [channels, height, width], got [4, 6]; put { unflatten = "),
    ] {
        let layer: Layer = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let told = layer.output_shape(&sequence).expect_err(text).to_string();
        assert!(told.starts_with(expected) && !told.contains('\n'), "{text}: {told}");
    }
    for shape in [&[7][..], &[7, 1], &[7, 1, 1]] {
        let told = Layer::InstanceNorm(nn::InstanceNorm::default())
            .output_shape(&Shape::from(shape))
            .expect_err("one element");
        let expected = match shape {
            [_] => "expects [channels, .., length], got [7]; change the layer before it".to_owned(),
            _ => format!(
                "a channel of {shape:?} has one element, of which nothing but 0 would be left; put it where channels have \
                 more, or use \"layer_norm\" after \"flatten\""
            ),
        };
        assert_eq!(told.to_string(), expected);
    }
}

/// What can be written in more than one way comes back in one.
#[test]
fn layers_have_short_forms() {
    for (text, expected) in [
        ("{ rms_norm = 1 }", "\"rms_norm\""),
        ("{ rms_norm = { axes = 2 } }", "{ rms_norm = 2 }"),
        ("{ max_pool1d = { kernel = 2 } }", "{ max_pool1d = 2 }"),
        ("{ avg_pool1d = [2] }", "{ avg_pool1d = 2 }"),
        ("{ adaptive_avg_pool2d = [3, 3] }", "{ adaptive_avg_pool2d = 3 }"),
        ("{ adaptive_max_pool1d = [4] }", "{ adaptive_max_pool1d = 4 }"),
        ("{ conv1d = { out = 2, kernel = 3, padding = \"valid\" } }", "{ conv1d = { out = 2, kernel = 3 } }"),
        (
            "{ conv2d = { kernel = [3, 3], padding = \"same\", out = 2 } }",
            "{ conv2d = { out = 2, kernel = 3, padding = \"same\" } }",
        ),
        ("{ lstm = { out = 4, layers = 1 } }", "{ lstm = 4 }"),
        ("{ upsample_linear = [2] }", "{ upsample_linear = 2 }"),
    ] {
        assert_eq!(text.parse::<Layer>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string(), expected);
    }
}
