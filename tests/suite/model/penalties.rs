//! Penalties on codes: the encoder's Jacobian against finite differences, activations against their target.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

const TEXT: &str = "input = [1, 6, 6]\nloss = \"mse\"\nencoder = [ENCODER]\ndecoder = [{ linear = 36 }]\nPENALTIES\n[train]\n\
                    batch = 16\nepochs = 3\noptimizer = { adam = { lr = 1e-2 } }\n";

fn small(encoder: &str, penalties: &str) -> Network {
    network(&TEXT.replace("ENCODER", encoder).replace("PENALTIES", penalties))
}

/// Six by six pixels of digits, where there is something to see.
fn middles(count: usize) -> Dataset {
    let all = digits(count, 5).rows_f32(0..count);
    let pixel = |at: usize| all[at / 36 * 784 + (11 + at % 36 / 6) * 28 + 11 + at % 6];
    Dataset::from_f32([1, 6, 6], (0..count * 36).map(pixel).collect()).expect("a data set")
}

/// What a graph over a network's initial parameters gives, in f64 or on another device.
fn computed(
    network: &Network,
    device: &Device,
    x: &Tensor,
    build: impl FnOnce(&mut Context, pinhole::graph::Value) -> Result<pinhole::graph::Value>,
) -> Result<Vec<f64>> {
    let mut graph = Context::new();
    let input = graph.input("x", x.shape().clone(), DType::Float)?;
    let output = build(&mut graph, input)?;
    let all = network.initial(3);
    let mut inputs = vec![("x", x.clone())];
    for LayoutEntry { name, shape, offset } in network.layout().entries() {
        graph.parameter(name, shape.clone())?;
        let values = all[*offset..*offset + shape.elements()].to_vec();
        inputs.push((name, Tensor::from_f32(shape.clone(), values)?));
    }
    Ok(device.compute(&graph, &[output], &inputs)?[0].to_f64())
}

/// The exact norm is that of central differences of codes, for a dense and for a convolutional encoder with pooling.
#[test]
fn the_jacobian_s_norm_is_that_of_finite_differences() -> Result<()> {
    let (batch, width) = (3, 36);
    for encoder in [
        "\"flatten\", { linear = 7 }, \"tanh\", { linear = 5 }, \"sigmoid\"",
        "{ conv2d = { out = 3, kernel = 3, padding = 1 } }, \"silu\", { avg_pool2d = 2 }, \"flatten\", { linear = 4 }, \"tanh\"",
    ] {
        let network = small(encoder, "");
        let values: Vec<f64> = middles(batch).rows_f32(0..batch).iter().map(|x| f64::from(*x)).collect();
        let samples = |values: Vec<f64>| Tensor::new([batch, 1, 6, 6], Values::F64(values));
        let codes = |values: Vec<f64>| {
            computed(&network, &Device::CpuF64, &samples(values)?, |graph, x| network.encode(graph, x))
        };
        let step = 1e-5;
        let mut expected = 0.0;
        for pixel in 0..width {
            // Samples do not depend on each other: one pixel of each moves at a time.
            let moved = |by: f64| {
                let mut moved = values.clone();
                (0..batch).for_each(|sample| moved[sample * width + pixel] += by);
                codes(moved)
            };
            let (up, down) = (moved(step)?, moved(-step)?);
            expected += up.iter().zip(&down).map(|(up, down)| ((up - down) / (2.0 * step)).powi(2)).sum::<f64>();
        }
        expected /= batch as f64;
        for (device, tolerance) in [(Device::CpuF64, 1e-7), (Device::Cpu, 1e-5), (gpu(), 1e-5)] {
            let norm =
                computed(&network, &device, &samples(values.clone())?, |graph, x| network.jacobian_norm(graph, x))?;
            let what = format!("the norm on {}", device.name());
            expect_close(&what, &norm, &[expected], tolerance, Scale::Relative);
        }
    }
    Ok(())
}

/// The mean of many projections is the norm.
#[test]
fn projections_estimate_without_bias() -> Result<()> {
    let exact = small("\"flatten\", { linear = 5 }, \"tanh\"", "penalties = { contractive = { weight = 1.0 } }");
    let projected = small(
        "\"flatten\", { linear = 5 }, \"tanh\"",
        "penalties = { contractive = { weight = 1.0, projections = 400 } }",
    );
    let first = |network: &Network| {
        let one = Options { steps: Some(1), ..Options::default() };
        train(network, &Device::CpuF64, &middles(64), None, one).losses[0]
    };
    let plain = small("\"flatten\", { linear = 5 }, \"tanh\"", "");
    let (plain, exact, projected) = (first(&plain), first(&exact), first(&projected));
    assert!(exact > plain + 0.05, "{exact} {plain}");
    expect_close("400 projections", &[projected - plain], &[exact - plain], 0.05, Scale::Relative);
    Ok(())
}

#[test]
fn penalties_do_what_they_are_for_on_every_device() -> Result<()> {
    let data = middles(128);
    let after = |penalties: &str, device: &Device| -> Result<(f64, f64)> {
        let mut network = small("\"flatten\", { linear = 9 }, \"sigmoid\"", penalties);
        let mut spec = network.spec().clone();
        spec.train.epochs = 30;
        network = Network::new(spec)?;
        // What the model file says comes back from it.
        let read = ModelSpec::parse(&network.spec().to_toml(), "m.toml".as_ref()).expect("a model file");
        assert_eq!(&read, network.spec());
        let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
        autoencoder.fit(&data, None, &mut ())?;
        let codes = autoencoder.encode(&data.rows_f32(0..128))?.to_f64();
        Ok((autoencoder.jacobian_norm(&data)?, codes.iter().sum::<f64>() / codes.len() as f64))
    };
    for device in fast_devices() {
        let (norm, mean) = after("", &device)?;
        let (contracted, _) = after("penalties = { contractive = { weight = 0.5 } }", &device)?;
        let (projected, _) = after("penalties = { contractive = { weight = 0.5, projections = 2 } }", &device)?;
        assert!(contracted < 0.5 * norm && projected < 0.5 * norm, "{norm} {contracted} {projected}");
        let (_, sparse) = after("penalties = { sparsity = { weight = 0.5, target = 0.1 } }", &device)?;
        assert!((sparse - 0.1).abs() < 0.02 && mean > 0.2, "{mean} {sparse} on {}", device.name());
    }
    Ok(())
}

#[test]
fn senseless_penalties_are_refused() {
    let says = |encoder: &str, penalties: &str, expected: &str| {
        let text = TEXT.replace("ENCODER", encoder).replace("PENALTIES", penalties);
        let said = ModelSpec::parse(&text, "m.toml".as_ref()).expect_err("an error").to_string();
        assert_eq!(said, format!("m.toml: line 5, {expected}"));
    };
    let (plain, wide) = ("\"flatten\", { linear = 5 }", "\"flatten\", { linear = 65 }");
    says(
        plain,
        "penalties = { contractive = { weight = 0 } }",
        "penalties.contractive.weight: expects a positive number, got 0.0; use 0.1, say",
    );
    says(
        wide,
        "penalties = { contractive = {} }",
        "penalties.contractive.projections: the exact norm takes a backward pass for each of the code's 65 numbers; use \
         projections = 4, say, or a code of at most 64",
    );
    says(
        "\"flatten\", \"batch_norm\", { linear = 5 }",
        "penalties = { contractive = {} }",
        "penalties.contractive: encoder.1 makes codes depend on other samples than their own; use \"layer_norm\" or { \
         group_norm = 4 } there",
    );
    says(
        plain,
        "penalties = { sparsity = {} }",
        "penalties.sparsity: mean activations are between 0 and 1 only behind \"sigmoid\"; end the encoder with \"sigmoid\"",
    );
    for (latent, name) in [("gaussian = 3", "gaussian"), ("vector_quantised = 4", "vector_quantised")] {
        says(
            "\"flatten\", { linear = 5 }, \"sigmoid\"",
            &format!("penalties = {{ sparsity = {{}} }}\nlatent = {{ {latent} }}"),
            &format!(
                "penalties.sparsity: codes of a {name} latent are not what the encoder's \"sigmoid\" leaves; use a plain \
                 latent, or leave the penalty out"
            ),
        );
    }
    says(
        "\"flatten\", { linear = 5 }, \"sigmoid\"",
        "penalties = { sparsity = { target = 1.5 } }",
        "penalties.sparsity.target: expects a number, at least 0 and less than 1, got 1.5; use 0.05, say",
    );
    let refused = Autoencoder::new(spec(&TEXT.replace("ENCODER", wide).replace("PENALTIES", "")), Device::Cpu)
        .and_then(|autoencoder| autoencoder.jacobian_norm(&middles(4)));
    assert_eq!(
        refused.expect_err("too wide").to_string(),
        "latent: a code has 65 numbers, each of which takes a backward pass; use a model with at most 64"
    );
    let text = TEXT.replace("ENCODER", plain).replace("PENALTIES", "latent = \"binary\"");
    let refused = Autoencoder::new(spec(&text), Device::Cpu).and_then(|bits| bits.jacobian_norm(&middles(4)));
    assert_eq!(
        refused.expect_err("no derivatives").to_string(),
        "latent: codes of a { binary = { stochastic = true } } latent have no derivatives; use a model whose codes are no bits \
         and of no codebook"
    );
}

/// A penalty on activities is one on what a layer leaves, whatever else is built under its name: the encoder's derivatives, or
/// the running statistics of a normalisation.
#[test]
fn activities_are_those_that_layers_leave() -> Result<()> {
    let data = middles(16);
    let first = |encoder: &str, penalties: &str, layers: &str| -> f64 {
        let text = TEXT.replace("ENCODER", encoder).replace("PENALTIES", penalties) + layers;
        let options = Options { steps: Some(1), ..Options::default() };
        train(&network(&text), &Device::CpuF64, &data, None, options).losses[0]
    };
    for (encoder, penalties) in [
        ("\"flatten\", { linear = 4 }, \"sigmoid\"", "penalties = { contractive = { weight = 0.5 } }"),
        ("\"flatten\", { linear = 4 }, { batch_norm = { affine = false } }", ""),
    ] {
        let network = small(encoder, penalties);
        let samples = Tensor::from_f32([16, 1, 6, 6], data.rows_f32(0..16))?;
        // In training a normalisation takes the batch's own statistics.
        let mut graph = Context::new();
        let x = graph.input("x", [16, 1, 6, 6], DType::Float)?;
        let state = graph.input("state", [8], DType::U32)?;
        graph.set_training(state)?;
        let code = network.encode(&mut graph, x)?;
        let all = network.initial(network.spec().train.seed);
        let mut inputs = vec![("x", samples), ("state", Tensor::new([8], Values::U32(vec![0; 8]))?)];
        for LayoutEntry { name, shape, offset } in network.layout().entries() {
            graph.parameter(name, shape.clone())?;
            inputs.push((name, Tensor::from_f32(shape.clone(), all[*offset..*offset + shape.elements()].to_vec())?));
        }
        let codes = Device::CpuF64.compute(&graph, &[code], &inputs)?[0].to_f64();
        let expected = 0.25 * codes.iter().map(|number| number.abs()).sum::<f64>() / 16.0;
        let added = first(encoder, penalties, "layers = [{ name = \"encoder\", activity_l1 = 0.25 }]\n")
            - first(encoder, penalties, "");
        expect_close(encoder, &[added], &[expected], 1e-9, Scale::Relative);
    }
    Ok(())
}
