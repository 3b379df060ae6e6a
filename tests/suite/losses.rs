//! Losses against PyTorch, and as model files say them.

use crate::support::*;
use pinhole::Result;
use pinhole::data::digits;
use pinhole::graph::{Graph, Value};
use pinhole::model::ModelSpec;
use pinhole::nn::loss;
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use std::path::Path;

/// The mean of a likelihood over samples.
fn mean(
    graph: &mut Graph,
    likelihood: fn(&mut Graph, Value, Value) -> Result<Value>,
    x: Value,
    target: Value,
) -> Result<Value> {
    let each = likelihood(graph, x, target)?;
    graph.mean_all(each)
}

#[test]
fn losses_match_pytorch_forward_and_backward_on_every_device() -> Result<()> {
    let tensors = Tensors::read(&fixture("losses.safetensors"));
    let names: Vec<&str> = tensors.names().iter().filter_map(|name| name.strip_suffix(".output")).collect();
    assert_eq!(names.len(), 13, "the fixture's cases");
    for device in all_devices() {
        for case in &names {
            let mut graph = Graph::new();
            let (mut values, mut inputs) = (Vec::new(), Vec::new());
            let known = ["x0", "x1", "x2", "x3"];
            for (index, name) in known.into_iter().enumerate() {
                let tensor = format!("{case}.input{index}");
                if tensors.names().contains(&tensor.as_str()) {
                    let shape = Shape::from(tensors.shape(&tensor));
                    values.push(graph.input(name, shape.clone(), DType::Float)?);
                    inputs.push((name, Tensor::new(shape, Values::F64(tensors.f64(&tensor)))?));
                }
            }
            let (x, target) = (values[0], values[1]);
            let y = match case.split('-').next() {
                Some("huber") => {
                    loss::huber(&mut graph, x, target, case.replace("huber-", "").parse().expect("a delta"))?
                }
                Some("cross_entropy") => loss::cross_entropy(&mut graph, x, target)?,
                Some("cosine") => loss::cosine(&mut graph, x, target)?,
                Some("kl") => loss::kl_gaussians(&mut graph, [x, target], [values[2], values[3]])?,
                Some("ssim") => loss::ssim(&mut graph, x, target)?,
                Some("bernoulli") => mean(&mut graph, loss::bernoulli, x, target)?,
                Some("continuous_bernoulli") => mean(&mut graph, loss::continuous_bernoulli, x, target)?,
                Some("multinomial") => mean(&mut graph, loss::multinomial, x, target)?,
                Some("gaussian") => {
                    let each = loss::gaussian_likelihood(&mut graph, x, target, values[2])?;
                    graph.mean_all(each)?
                }
                other => panic!("no such loss: {other:?}"),
            };
            let mut outputs = vec![y];
            outputs.extend(graph.gradients(y, &values)?);
            let results = device.compute(&graph, &outputs, &inputs)?;
            let exact = matches!(device, pinhole::Device::CpuF64);
            let what = |part: &str| format!("{case} on {}: {part}", device.name());
            let tolerance = if exact { 1e-13 } else { 2e-6 };
            let expected = tensors.f64(&format!("{case}.output"));
            expect_close(&what("output"), &results[0].to_f64(), &expected, tolerance, Scale::Relative);
            for (index, result) in results[1..].iter().enumerate() {
                let expected = tensors.f64(&format!("{case}.grad{index}"));
                // Differences of mean squares lose digits, and SSIM is made of them.
                // So does the derivative by a variance; and PyTorch takes the continuous Bernoulli's constant from a shorter series.
                let more = ["ssim", "gaussian", "continuous"].iter().any(|name| case.starts_with(name));
                let tolerance = if more { 20.0 * tolerance } else { tolerance };
                expect_close(&what("gradient"), &result.to_f64(), &expected, tolerance, Scale::Largest);
            }
        }
    }
    Ok(())
}

#[test]
fn a_model_learns_by_a_sum_of_losses_and_its_file_says_so() {
    let text = SMALL_CONV.replace("loss = \"mse\"", "loss = { mse = 0.8, ssim = 0.2 }");
    let network = network(&text);
    let spec = network.spec();
    assert_eq!(ModelSpec::parse(&spec.to_toml(), Path::new("again.toml")).expect("a model"), *spec);
    assert_eq!(spec.loss.name(), "mse+ssim");
    let data = digits(100, 3);
    for device in fast_devices() {
        let trained = train(&network, &device, &data, Some(&data), Options::default());
        assert!(trained.reports[2].val_loss < trained.reports[0].val_loss, "{:?}", trained.reports);
    }
    for name in ["mse", "mae", "huber", "cosine", "ssim", "cross_entropy"] {
        // The last is of logits.
        let end = if name == "cross_entropy" { "\"softplus\"" } else { "\"sigmoid\"" };
        let spec = self::spec(&SMALL_CONV.replace("\"mse\"", &format!("\"{name}\"")).replace("\"sigmoid\"", end));
        assert!(spec.to_toml().contains(&format!("loss = \"{name}\"")));
    }
}

#[test]
fn losses_that_make_no_sense_are_refused_in_one_line() {
    for (loss, expected) in [
        ("{ mse = 0 }", "line 3, loss.mse: expects a positive weight, got 0.0; use 0.5, say, or leave it out"),
        ("{ msee = 1 }", "line 3, loss: unknown loss \"msee\"; did you mean \"mse\"?"),
        ("{}", "line 3, loss: there is no loss; write \"mse\", or { mse = 0.8, ssim = 0.2 }"),
        ("{ huber = { delta = -1 } }", "line 3, loss.huber: expects a positive delta, got -1.0; use 1.0, say"),
        (
            "\"ssim\"",
            "line 3, loss: \"ssim\" needs pictures of at least 11 x 11, the input is [784]; use another loss, such as \"mse\"",
        ),
    ] {
        let text = SMALL_DENSE.replace("\"bce\"", loss);
        let error = ModelSpec::parse(&text, Path::new("m.toml")).expect_err(loss);
        assert_eq!(error.to_string(), format!("m.toml: {expected}"));
    }
}
