//! Layers that are more than one op against PyTorch's modules, as a model file has them: outputs in training and in
//! evaluation, gradients, names and shapes of parameters, and the state that a step of training leaves.

use crate::support::*;
use pinhole::graph::{Graph, Op, Value};
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::plan::State;
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::{Device, Result};
use serde_json::Value as Json;
use std::path::Path;

/// The fixtures, and how many cases each has at least.
const FILES: [(&str, usize); 2] = [("modules", 40), ("activations", 19)];

/// The encoder of a fixture's case, in a model whose decoder only has a fitting shape.
fn model(case: &Json) -> Network {
    let [input, encoder, blocks] = ["input", "encoder", "blocks"].map(|key| &case[key]);
    let sample: Vec<u64> = input.as_array().expect("sizes").iter().skip(1).map(|size| size.as_u64().unwrap()).collect();
    let elements: u64 = sample.iter().product();
    let text = format!(
        "input = {sample:?}\nloss = \"mse\"\nencoder = {}\ndecoder = [\"flatten\", {{ linear = {elements} }}]\n{}",
        encoder.as_str().expect("layers"),
        blocks.as_str().expect("blocks"),
    );
    let spec = ModelSpec::parse(&text, Path::new("m.toml")).unwrap_or_else(|error| panic!("{text}: {error}"));
    // What is written reads back equal.
    let again = ModelSpec::parse(&spec.to_toml(), Path::new("again.toml"));
    assert_eq!(again.unwrap_or_else(|error| panic!("{}: {error}", spec.to_toml())), spec);
    Network::new(spec).expect("a network")
}

struct Results {
    output: Vec<f64>,
    evaluated: Vec<f64>,
    /// The gradient by the input, then by each parameter that is trained.
    gradients: Vec<(String, Vec<f64>)>,
    /// What the step assigns.
    after: Vec<(String, Vec<f64>)>,
}

/// The inputs that a graph has.
fn known<'a>(graph: &Graph, inputs: &[(&'a str, Tensor)]) -> Vec<(&'a str, Tensor)> {
    let has = |wanted: &str| {
        graph.nodes().iter().any(|node| match &node.op {
            Op::Input { name } | Op::Parameter { name } => name == wanted,
            _ => false,
        })
    };
    inputs.iter().filter(|(name, _)| has(name)).cloned().collect()
}

fn run(device: &Device, name: &str, network: &Network, tensors: &Tensors) -> Result<Results> {
    let tensor = |name: &str| Tensor::new(Shape::from(tensors.shape(name)), Values::F64(tensors.f64(name)));
    let input = tensor(&format!("{name}.input"))?;
    let upstream = tensor(&format!("{name}.grad_output"))?;
    let encoder: Vec<_> = network.checked().parameters().filter(|p| p.name.starts_with("encoder.")).collect();
    let before = |parameter: &str| tensor(&format!("{name}.before.{}", parameter.trim_start_matches("encoder.")));
    let mut inputs = vec![("x", input.clone())];
    for parameter in &encoder {
        inputs.push((&parameter.name, before(&parameter.name)?));
    }
    let mut graph = Context::new();
    let x = graph.input("x", input.shape().clone(), DType::Float)?;
    let y = network.encode(&mut graph, x)?;
    let evaluated = device.compute(&graph, &[y], &known(&graph, &inputs))?[0].to_f64();

    let mut graph = Context::new();
    let state = graph.state("state")?;
    graph.set_training(state)?;
    let x = graph.input("x", input.shape().clone(), DType::Float)?;
    if tensors.names().iter().any(|known| *known == format!("{name}.target")) {
        let target = tensor(&format!("{name}.target"))?;
        let value = graph.input("target", target.shape().clone(), DType::Float)?;
        graph.set_target(value);
        inputs.push(("target", target));
    }
    let y = network.encode(&mut graph, x)?;
    assert_eq!(graph.shape(y), upstream.shape(), "{name}");
    let g = graph.input("g", upstream.shape().clone(), DType::Float)?;
    let product = graph.multiply(y, g)?;
    let axes: Vec<usize> = (0..graph.shape(product).len()).collect();
    let loss = graph.sum(product, &axes)?;
    let mut wanted = vec![("input".to_owned(), x)];
    for parameter in encoder.iter().filter(|parameter| parameter.trained) {
        wanted.push((parameter.name.clone(), graph.parameter(&parameter.name, parameter.shape.clone())?));
    }
    let values: Vec<Value> = wanted.iter().map(|(_, value)| *value).collect();
    let mut outputs = vec![y];
    outputs.extend(graph.gradients(loss, &values)?);
    let after: Vec<(Value, Value)> = graph.assignments().to_vec();
    outputs.extend(after.iter().map(|(_, value)| *value));
    inputs.push(("g", upstream));
    inputs.push(("state", Tensor::new([8], Values::U32(State::default().words()))?));
    let results = device.compute(&graph, &outputs, &known(&graph, &inputs))?;
    let mut results = results.iter().map(Tensor::to_f64);
    let mut next = || results.next().expect("a result");
    let output = next();
    let gradients = wanted.into_iter().map(|(name, _)| (name, next())).collect();
    let name_of = |value: Value| match &graph.node(value).op {
        Op::Parameter { name } => name.clone(),
        other => panic!("{other:?} is assigned"),
    };
    let after = after.iter().map(|(parameter, _)| (name_of(*parameter), next())).collect();
    Ok(Results { output, evaluated, gradients, after })
}

#[test]
fn modules_match_pytorch_in_training_and_evaluation_on_every_device() -> Result<()> {
    for (file, least) in FILES {
        match_pytorch(file, least)?;
    }
    Ok(())
}

/// Cases whose derivatives have a sixth in them, which PyTorch rounds to 32 bits.
const SIXTHS: [&str; 3] = ["hardsigmoid", "hardswish", "selu-network"];

fn match_pytorch(file: &str, least: usize) -> Result<()> {
    let cases = json(&fixture(&format!("{file}.json")));
    let tensors = Tensors::read(&fixture(&format!("{file}.safetensors")));
    let cases = cases["cases"].as_array().expect("cases");
    assert!(cases.len() >= least, "the fixture's cases");
    // The GPU's activations are held against the CPU's in the table of cases.
    let devices = if file == "modules" { all_devices().to_vec() } else { vec![Device::CpuF64, Device::Cpu] };
    for device in devices {
        for case in cases {
            let name = case["name"].as_str().expect("a name");
            let tolerance = match device {
                Device::CpuF64 if SIXTHS.contains(&name) => 1e-7,
                Device::CpuF64 => 1e-12,
                Device::Cpu | Device::Gpu(_) => 1e-5,
            };
            let network = model(case);
            let results = run(&device, name, &network, &tensors)?;
            let check = |what: &str, key: &str, actual: &[f64]| {
                let what = format!("{name}: {what} on {}", device.name());
                expect_close(&what, actual, &tensors.f64(&format!("{name}.{key}")), tolerance, Scale::AtLeastOne);
            };
            check("output", "output", &results.output);
            check("output of evaluation", "evaluated", &results.evaluated);
            for (parameter, gradient) in &results.gradients {
                match parameter.strip_prefix("encoder.") {
                    Some(key) => check(parameter, &format!("grad.{key}"), gradient),
                    // Indices have no derivative.
                    None if name == "embedding" => assert!(gradient.iter().all(|value| *value == 0.0)),
                    None => check(parameter, "grad_input", gradient),
                }
            }
            for (state, values) in &results.after {
                check(state, &format!("after.{}", state.trim_start_matches("encoder.")), values);
            }
            let kept = tensors.names().iter().filter(|key| key.starts_with(&format!("{name}.after."))).count();
            assert_eq!(results.after.len(), kept, "{name}: state that a step leaves");
        }
    }
    Ok(())
}

#[test]
fn modules_have_the_parameters_of_pytorch_in_its_order() {
    let cases = FILES.map(|(file, _)| json(&fixture(&format!("{file}.json"))));
    for case in cases.iter().flat_map(|cases| cases["cases"].as_array().expect("cases")) {
        let network = model(case);
        let entries = network.layout().entries().iter().filter(|entry| entry.name.starts_with("encoder."));
        let found: Vec<(&str, Json)> = entries
            .map(|LayoutEntry { name, shape, .. }| (name.trim_start_matches("encoder."), serde_json::json!(shape[..])))
            .collect();
        let parameters = case["parameters"].as_object().expect("parameters");
        assert_eq!(found.len(), parameters.len(), "{case}");
        for (name, shape) in &found {
            assert_eq!(Some(shape), parameters.get(*name), "{case}: {name}");
        }
    }
}
