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

/// Logits, and of each the loss against 0.25 and its derivative, from 50 digits (mpmath).
const CONTINUOUS_BERNOULLI: [[f64; 3]; 20] = [
    [0.0, 0.0, 0.25],
    [1e-08, 2.5000000041666668e-09, 0.25000000083333335],
    [0.001, 0.0002500416666663194, 0.25008333333194444],
    [0.05, 0.012604164496613892, 0.2541664930658889],
    [0.0999, 0.025390799171935926, 0.2583236156025681],
    [0.1, 0.025416631949954877, 0.2583319447750496],
    [0.1001, 0.025442465560890654, 0.2583402739392044],
    [-0.3, -0.07125280848891069, 0.22503741982325073],
    [0.7, 0.19533394113034724, 0.30786243506303473],
    [0.999, 0.29099291757053564, 0.33189737661200336],
    [0.999999, 0.2913245226362509, 0.3319766275429168],
    [1.0, 0.2913248546129181, 0.3319767068693264],
    [1.000001, 0.2913251865896646, 0.33197678619572835],
    [1.001, 0.29165687098170584, 0.3320560294214169],
    [-1.0, -0.2086751453870819, 0.16802329313067357],
    [-1.3, -0.25554924712389626, 0.14460024871545168],
    [2.0, 0.6614393615711956, 0.4065176427496657],
    [-5.0, -0.3661986618835889, -0.05678365490630423],
    [20.0, 12.004267724384855, 0.7000000020611536],
    [100.0, 70.39482981401191, 0.74],
];

/// The normalising constant is a polynomial around 0 and a formula beyond 1: neither loses digits, nor do their derivatives.
#[test]
fn the_constant_of_a_continuous_bernoulli_is_exact() -> Result<()> {
    let count = CONTINUOUS_BERNOULLI.len();
    let column = |at: usize| CONTINUOUS_BERNOULLI.iter().map(|row| row[at]).collect::<Vec<f64>>();
    for (device, tolerance) in all_devices().into_iter().zip([1e-15, 4e-7, 4e-7]) {
        let mut graph = Graph::new();
        let [logits, target] = [graph.input("l", [count, 1], DType::Float)?, graph.constant(0.25, [count, 1])?];
        let each = loss::continuous_bernoulli(&mut graph, logits, target)?;
        let sum = graph.sum(each, &[0])?;
        let gradient = graph.gradients(sum, &[logits])?[0];
        let logits = Tensor::new([count, 1], Values::F64(column(0)))?;
        let results = device.compute(&graph, &[each, gradient], &[("l", logits)])?;
        for (what, result, at) in [("the loss", &results[0], 1), ("its derivative", &results[1], 2)] {
            let what = format!("{what} on {}", device.name());
            expect_close(&what, &result.to_f64(), &column(at), tolerance, Scale::AtLeastOne);
        }
    }
    Ok(())
}
