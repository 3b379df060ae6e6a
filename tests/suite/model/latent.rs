//! Latents: the bounds of variational models, discrepancies, what they are made of, and what can be done with codes.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::graph::Value;
use pinhole::model::latent::{ADVERSARIAL, DISCREPANCY, DISCRIMINATOR, DIVERGENCE, RECONSTRUCTION};
use pinhole::model::preset::PRESETS;
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::{Context, loss};
use pinhole::plan::LayoutEntry;
use pinhole::task::{CodeStatistics, LatentPath};
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

const SMALL_VAE: &str = "input = [784]\nloss = \"bernoulli\"\nencoder = [{ linear = 24 }, \"tanh\"]\nlatent = { gaussian = 5 }\n\
    decoder = [{ linear = 24 }, \"tanh\", { linear = 784 }, \"sigmoid\"]\n[train]\nbatch = 32\nepochs = 3\n\
    optimizer = { adam = { lr = 3e-3 } }\n";

/// Values of a graph over a network's initial parameters, by a device.
fn computed(
    network: &Network,
    device: &Device,
    inputs: &[(&str, Tensor)],
    build: impl FnOnce(&mut Context) -> Result<Vec<Value>>,
) -> Result<Vec<Vec<f64>>> {
    let mut graph = Context::new();
    let outputs = build(&mut graph)?;
    let all = network.initial(7);
    let mut inputs: Vec<(&str, Tensor)> = inputs.to_vec();
    for LayoutEntry { name, shape, offset } in network.layout().entries() {
        let values = all[*offset..*offset + shape.elements()].to_vec();
        inputs.push((name, Tensor::from_f32(shape.clone(), values)?));
        graph.parameter(name, shape.clone())?;
    }
    Ok(device.compute(&graph, &outputs, &inputs)?.iter().map(Tensor::to_f64).collect())
}

/// Draws of the standard normal.
fn noise(shape: &[usize]) -> Tensor {
    let values = CodeStatistics::standard(1).drawn(shape.iter().product(), 3);
    Tensor::from_f32(shape.to_vec(), values).expect("a tensor")
}

fn pixels(count: usize) -> Tensor {
    Tensor::from_f32([count, 784], digits(count, 5).rows_f32(0..count)).expect("a tensor")
}

/// The bound of one code is the evidence bound but for the noise in its divergence; more codes come closer from above.
#[test]
fn bounds_are_what_their_papers_say() -> Result<()> {
    let network = network(SMALL_VAE);
    let (batch, most) = (6, 64);
    let x = pixels(batch);
    let mut bounds = Vec::new();
    for samples in [1, 4, most] {
        let inputs = [("x", x.clone()), ("noise", noise(&[batch, samples, 5]))];
        let result = computed(&network, &Device::CpuF64, &inputs, |graph| {
            let x = graph.input("x", [batch, 784], DType::Float)?;
            let noise = graph.input("noise", [batch, samples, 5], DType::Float)?;
            Ok(vec![network.importance_weighted_bound(graph, x, x, noise)?])
        })?;
        bounds.push(result[0][0]);
    }
    let inputs = [("x", x.clone()), ("noise", noise(&[batch, 1, 5]))];
    let results = computed(&network, &Device::CpuF64, &inputs, |graph| {
        let x = graph.input("x", [batch, 784], DType::Float)?;
        let noise = graph.input("noise", [batch, 1, 5], DType::Float)?;
        let flat = graph.reshape(noise, [batch, 5])?;
        let bound = network.evidence_bound(graph, x, x, flat)?;
        let [(RECONSTRUCTION, reconstruction), (DIVERGENCE, divergence)] = bound.parts[..] else { panic!("parts") };
        // The divergence once more, as the losses have it: of the code's mean and of the head that follows it.
        let encoded = graph.parameter("encoder.0.weight", [24, 784])?;
        let bias = graph.parameter("encoder.0.bias", [24])?;
        let hidden = graph.matmul(x, encoded, false, true)?;
        let hidden = graph.add(hidden, bias)?;
        let hidden = graph.unary(pinhole::graph::Unary::Tanh, hidden)?;
        let weight = graph.parameter("latent.log_variance.weight", [5, 24])?;
        let bias = graph.parameter("latent.log_variance.bias", [5])?;
        let log_variance = graph.matmul(hidden, weight, false, true)?;
        let log_variance = graph.add(log_variance, bias)?;
        let zero = graph.constant(0.0, [batch, 5])?;
        let expected = loss::kl_gaussians(graph, [bound.code, log_variance], [zero, zero])?;
        Ok(vec![bound.loss, reconstruction, divergence, expected])
    })?;
    let [evidence, reconstruction, divergence, expected] = [0, 1, 2, 3].map(|at: usize| results[at][0]);
    expect_close("a divergence", &[divergence], &[expected], 1e-12, Scale::Relative);
    expect_close("the bound", &[evidence], &[reconstruction + divergence], 1e-12, Scale::Relative);
    // One code: the same reconstruction, and a divergence by one draw.
    assert!((bounds[0] - evidence).abs() < 2.0, "{} and {evidence}", bounds[0]);
    assert!(bounds[0] > bounds[1] && bounds[1] > bounds[2], "{bounds:?}");
    Ok(())
}

#[test]
fn devices_agree_on_latents() -> Result<()> {
    let changes = [
        "gaussian = { size = 5, warmup = 4 }",
        "gaussian = { size = 5, beta = 2.0, free_bits = 0.3, mmd = 3.0 }",
        "gaussian = { size = 5, warmup = 2, cycle = 5 }",
        "gaussian = { size = 5, samples = 3 }",
    ];
    let data = digits(100, 3);
    let mut texts: Vec<String> = changes.iter().map(|change| SMALL_VAE.replace("gaussian = 5", change)).collect();
    for likelihood in ["continuous_bernoulli", "gaussian"] {
        texts.push(SMALL_VAE.replace("bernoulli", likelihood));
    }
    texts.push(SMALL_VAE.replace("gaussian = 5", "wasserstein = 0.1").replace("\"bernoulli\"", "\"mse\""));
    texts.push(
        SMALL_VAE
            .replace("gaussian = 5", "wasserstein = { mmd = 0.1, kernel = \"gaussian\" }")
            .replace("\"bernoulli\"", "\"mse\""),
    );
    texts.push(SMALL_VAE.replace("gaussian = 5", "adversarial = { weight = 2.0, hidden = 17 }"));
    for text in texts {
        let network = network(&text);
        // What the model file says comes back from it.
        let read = ModelSpec::parse(&network.spec().to_toml(), "m.toml".as_ref()).expect("a model file");
        assert_eq!(&read, network.spec(), "{text}");
        let on = |device: &Device| train(&network, device, &data, Some(&data), Options::default());
        let (cpu, gpu, exact) = (on(&Device::Cpu), on(&gpu()), on(&Device::CpuF64));
        expect_close("losses on the CPU", &cpu.losses, &exact.losses, 1e-3, Scale::Relative);
        expect_close("losses on the GPU", &gpu.losses, &exact.losses, 1e-3, Scale::Relative);
        let last = exact.reports.last().expect("a report");
        assert!(last.val_loss < exact.reports[0].val_loss, "{text}: {:?}", exact.reports);
        let parts: Vec<&str> = last.val_parts.keys().map(String::as_str).collect();
        match text.contains("samples") {
            true => assert!(parts.is_empty(), "{parts:?}"),
            false => assert!(parts.contains(&RECONSTRUCTION), "{parts:?}"),
        }
        assert_eq!(parts.contains(&DISCREPANCY), text.contains("mmd") || text.contains("wasserstein"), "{parts:?}");
    }
    Ok(())
}

/// The divergence's weight rises with each step, falls back with each cycle, and is whole in validation.
#[test]
fn divergences_are_annealed() -> Result<()> {
    let data = digits(128, 3);
    // Of one cycle of four steps, the third: the weight is 2 of 3 times beta.
    let text = SMALL_VAE.replace("gaussian = 5", "gaussian = { size = 5, beta = 1.5, warmup = 3, cycle = 4 }");
    let network = network(&text);
    let trained = train(&network, &Device::CpuF64, &data, None, Options { steps: Some(10), ..Options::default() });
    let LayoutEntry { shape, offset, .. } = network.layout().entry("latent.steps").expect("the count").clone();
    assert_eq!(shape.elements(), 1);
    // Ten steps: two cycles of four, and two more.
    assert_eq!(wide(&trained.parameters)[offset], 2.0);
    // A step without divergence is a step of the reconstruction alone.
    let plain = self::network(&text.replace("beta = 1.5", "beta = 0.0"));
    let first = |network: &Network| {
        train(network, &Device::CpuF64, &data, None, Options { steps: Some(1), ..Options::default() })
    };
    assert_eq!(first(&network).losses, first(&plain).losses);
    Ok(())
}

/// Free bits are training's: what is measured is the divergence.
#[test]
fn free_bits_do_not_hide_a_collapse() -> Result<()> {
    let data = digits(64, 3);
    let with = |free: &str| {
        let text = SMALL_VAE.replace("gaussian = 5", &format!("gaussian = {{ size = 5, free_bits = {free} }}"));
        let network = network(&text);
        let options = Options { steps: Some(1), ..Options::default() };
        train(&network, &Device::CpuF64, &data, Some(&data), options)
    };
    let (none, many) = (with("0.0"), with("3.0"));
    // Five numbers of three nats each, in place of what they have, which says nothing to any weight of the encoder's heads.
    let (without, measured) = (&none.reports[0].val_parts, &many.reports[0].val_parts);
    assert!(measured[DIVERGENCE] < 5.0, "{measured:?}");
    let report = &many.reports[0];
    let sum = measured[RECONSTRUCTION] + measured[DIVERGENCE];
    expect_close("the bound", &[report.val_loss.expect("a loss")], &[sum], 1e-12, Scale::Relative);
    assert!(many.losses[0] > none.losses[0] + 10.0 && without[DIVERGENCE] < 5.0, "{:?} {:?}", many.losses, none.losses);
    Ok(())
}

/// The encoder and the decoder follow what is held against the codes, the discriminator its own loss: by differences of both.
#[test]
fn adversaries_follow_their_own_gradients() -> Result<()> {
    let text = "input = [784]\nloss = \"bernoulli\"\nencoder = [{ linear = 4 }, \"tanh\", { linear = 3 }]\n\
                latent = { adversarial = { weight = 5.0, hidden = 6 } }\ndecoder = [{ linear = 784 }, \"sigmoid\"]\n";
    let network = network(text);
    let batch = 5;
    let x = pixels(batch);
    // The same state draws the same from the prior.
    let state = Tensor::new([8], Values::U32(vec![3, 0, 7, 0, 0, 0, 0, 0]))?;
    let initial = network.initial(7);
    let at = |values: &[f64], training: bool| -> Result<Vec<Vec<f64>>> {
        let mut graph = Context::new();
        let input = graph.input("x", [batch, 784], DType::Float)?;
        let step = graph.state("state")?;
        if training {
            graph.set_training(step)?;
        }
        let objective = network.objective(&mut graph, input, input, step)?;
        let mut inputs = vec![("x", x.clone()), ("state", state.clone())];
        let mut parameters = vec![];
        for LayoutEntry { name, shape, offset } in network.layout().entries() {
            parameters.push(graph.parameter(name, shape.clone())?);
            inputs.push((
                name,
                Tensor::new(shape.clone(), Values::F64(values[*offset..*offset + shape.elements()].to_vec()))?,
            ));
        }
        let [(RECONSTRUCTION, _), (ADVERSARIAL, _), (DISCRIMINATOR, discriminator)] = objective.parts[..] else {
            panic!("parts")
        };
        let mut outputs = vec![objective.loss, discriminator];
        if training {
            outputs.extend(graph.gradients(objective.loss, &parameters)?);
        }
        Ok(Device::CpuF64.compute(&graph, &outputs, &inputs)?.iter().map(Tensor::to_f64).collect())
    };
    let start: Vec<f64> = initial.iter().map(|value| f64::from(*value)).collect();
    let training = at(&start, true)?;
    expect_close("the loss in training", &training[0], &at(&start, false)?[0], 1e-12, Scale::Relative);
    for (LayoutEntry { name, shape, offset }, gradient) in network.layout().entries().iter().zip(&training[2..]) {
        // Which of the two values a parameter lessens.
        let own = usize::from(name.starts_with("latent.discriminator"));
        for element in [0, shape.elements() / 2, shape.elements() - 1] {
            let moved = |by: f64| -> Result<f64> {
                let mut values = start.clone();
                values[offset + element] += by;
                Ok(at(&values, false)?[own][0])
            };
            let expected = (moved(1e-5)? - moved(-1e-5)?) / 2e-5;
            let found = gradient[element];
            assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{name} {element}: {found} {expected}");
        }
    }
    Ok(())
}

#[test]
fn discrepancies_are_small_for_normal_codes_alone() -> Result<()> {
    let (rows, size) = (400, 4);
    let draws = noise(&[rows, size]);
    let normal = |shift: f32| {
        let values = CodeStatistics::standard(1).drawn(rows * size, 99).into_iter().map(|value| value + shift);
        Tensor::from_f32([rows, size], values.collect())
    };
    let (like, unlike) = (normal(0.0)?, normal(1.0)?);
    let discrepancy = |codes: Tensor| -> Result<f64> {
        let mut graph = Context::new();
        let codes_in = graph.input("codes", [rows, size], DType::Float)?;
        let draws_in = graph.input("draws", [rows, size], DType::Float)?;
        let value = loss::maximum_mean_discrepancy(&mut graph, codes_in, draws_in, &|graph, distances| {
            let scaled = graph.scale(distances, -0.5 / size as f64)?;
            graph.unary(pinhole::graph::Unary::Exp, scaled)
        })?;
        let results = Device::CpuF64.compute(&graph, &[value], &[("codes", codes), ("draws", draws.clone())])?;
        Ok(results[0].to_f64()[0])
    };
    let (near, far) = (discrepancy(like)?, discrepancy(unlike)?);
    assert!(near.abs() < 0.005 && far > 0.1, "{near} {far}");
    Ok(())
}

/// Fifty steps of PyTorch's, with the noise of its file.
#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_vae() -> Result<()> {
    let reference = json(&test_data().join("golden/vae.json"));
    let batches = Tensors::read(&test_data().join("golden/batches.safetensors"));
    let start = Tensors::read(&test_data().join("golden/vae.init.safetensors"));
    let end = Tensors::read(&test_data().join("golden/vae.final64.safetensors"));
    let gradients = Tensors::read(&test_data().join("golden/vae.grad1.safetensors"));
    let network = Network::new(ModelSpec::resolve("vae")?)?;
    let theirs = |name: &str| name.replace("latent.mean", "mu").replace("latent.log_variance", "logvar");
    let entries = network.layout().entries();
    let all = |tensors: &Tensors| -> Vec<f64> {
        let mut all = vec![0.0; network.layout().elements()];
        for LayoutEntry { name, shape, offset } in entries {
            all[*offset..*offset + shape.elements()].copy_from_slice(&tensors.f64(&theirs(name)));
        }
        all
    };
    let mut graph = Context::new();
    let x = graph.input("x", [128, 784], DType::Float)?;
    let noise = graph.input("noise", [128, 20], DType::Float)?;
    let bound = network.evidence_bound(&mut graph, x, x, noise)?;
    let mut outputs = vec![bound.loss];
    let parameters: Vec<Value> = entries
        .iter()
        .map(|LayoutEntry { name, shape, .. }| graph.parameter(name, shape.clone()))
        .collect::<Result<_>>()?;
    outputs.extend(graph.gradients(bound.loss, &parameters)?);
    let named =
        |index: usize| if index == 0 { "loss".to_owned() } else { entries[index - 1].name.clone() + ".gradient" };
    for device in all_devices() {
        let exact = matches!(device, Device::CpuF64);
        let plan = pinhole::plan::Plan::build(pinhole::plan::Request {
            name: "golden vae",
            graph: &graph,
            outputs: outputs.iter().enumerate().map(|(index, value)| (*value, named(index))).collect(),
            layout: network.layout(),
            training: None,
            metrics: None,
            target: device.target(),
        })?;
        let mut session = device.load(&[plan])?;
        let (images, eps) = (batches.u8("images"), batches.f64("eps"));
        let mut weights = all(&start);
        let (mut first, mut second) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
        let mut losses = Vec::new();
        for step in 0..50 {
            let pixels = images[step * 128 * 784..][..128 * 784].iter().map(|byte| f32::from(*byte) / 255.0).collect();
            session.write("x", &Values::F32(pixels))?;
            session.write("noise", &Values::F64(eps[step * 128 * 20..][..128 * 20].to_vec()))?;
            session.write_parameters(&Values::F64(weights.clone()))?;
            session.run(0, 1)?;
            losses.push(session.read("loss")?.to_f64()[0]);
            let mut gradient = vec![0.0; weights.len()];
            for (index, LayoutEntry { shape, offset, .. }) in entries.iter().enumerate() {
                gradient[*offset..*offset + shape.elements()]
                    .copy_from_slice(&session.read(&named(index + 1))?.to_f64());
            }
            if step == 0 {
                expect_close("gradients", &gradient, &all(&gradients), 1e-5, Scale::Largest);
            }
            let (bias, square_bias) = (1.0 - 0.9f64.powi(step as i32 + 1), 1.0 - 0.999f64.powi(step as i32 + 1));
            for (at, g) in gradient.into_iter().enumerate() {
                first[at] += (g - first[at]) * 0.1;
                second[at] = 0.999 * second[at] + 0.001 * g * g;
                weights[at] -= 1e-3 / bias * first[at] / ((second[at] / square_bias).sqrt() + 1e-8);
            }
        }
        let what = format!("losses on {}", device.name());
        if exact {
            expect_close(&what, &losses, &numbers(&reference["losses64"]), 1e-8, Scale::Relative);
            expect_close("weights", &weights, &all(&end), 1e-6, Scale::Absolute);
        } else {
            expect_close(&what, &losses, &numbers(&reference["losses"]), 1e-5, Scale::Relative);
        }
    }
    Ok(())
}

#[test]
fn every_preset_learns_and_comes_back_from_its_files() -> Result<()> {
    for preset in PRESETS {
        let mut spec = ModelSpec::resolve(preset.name)?;
        spec.train.epochs = 2;
        spec.train.batch = 20;
        let data = digits(120, 4);
        for device in [gpu(), Device::Cpu] {
            let mut autoencoder = Autoencoder::new(spec.clone(), device.clone())?;
            let before = autoencoder.evaluate(&data)?.loss;
            autoencoder.fit(&data, None, &mut ())?;
            let after = autoencoder.evaluate(&data)?.loss;
            assert!(after < before, "{} on {}: {before} to {after}", preset.name, device.name());
            let folder = folder();
            autoencoder.save(folder.path())?;
            let again = Autoencoder::load(folder.path(), device.clone())?;
            let samples = data.rows_f32(0..20);
            let given = again.network().given(&data, 0..20)?;
            let [read, kept] = [&again, &autoencoder].map(|model| model.reconstruct_given(&samples, &given));
            assert_eq!(read?, kept?, "{}", preset.name);
        }
        let mut narrow = spec.clone();
        narrow.set_latent(3)?;
        let checked = narrow.validate()?;
        // The numbers of a code, its channels, or the features of its steps.
        let ends = [checked.latent[0], checked.latent[checked.latent.len() - 1]];
        assert!(ends.contains(&3), "{} --latent 3 has codes {}", preset.name, checked.latent);
    }
    Ok(())
}

fn tried() -> Result<(Autoencoder, Dataset)> {
    let data = digits(300, 4);
    let mut autoencoder = Autoencoder::new(spec(SMALL_VAE), Device::Cpu)?;
    autoencoder.fit(&data, None, &mut ())?;
    Ok((autoencoder, data))
}

#[test]
fn codes_are_explored() -> Result<()> {
    let (autoencoder, data) = tried()?;
    let prior = autoencoder.prior()?;
    assert_eq!(prior.active(), 5);
    let made = autoencoder.generate(&prior, 7, 1)?;
    assert_eq!(made.shape()[..], [7, 784]);
    assert_eq!(made, autoencoder.generate(&prior, 7, 1)?);
    assert_ne!(made, autoencoder.generate(&prior, 7, 2)?);
    let (from, to) = (data.rows_f32(0..1), data.rows_f32(1..2));
    for path in LatentPath::ALL {
        let way = autoencoder.interpolate(&from, &to, 5, path)?.to_f64();
        let ends = [autoencoder.reconstruct(&from)?.to_f64(), autoencoder.reconstruct(&to)?.to_f64()];
        expect_close("the first", &way[..784], &ends[0], 1e-6, Scale::Absolute);
        expect_close("the last", &way[4 * 784..], &ends[1], 1e-6, Scale::Absolute);
    }
    assert_ne!(
        autoencoder.interpolate(&from, &to, 5, LatentPath::Linear)?,
        autoencoder.interpolate(&from, &to, 5, LatentPath::Spherical)?
    );
    let code = vec![0.5; 5];
    let swept = autoencoder.traverse(&prior, &code, 20, 3)?;
    assert_eq!(swept.shape()[..], [15, 784]);
    // In the middle of the second row the second number is the mean's 0.
    let middle = autoencoder.decode(&[0.5, 0.0, 0.5, 0.5, 0.5])?.to_f64();
    expect_close("the middle", &swept.to_f64()[4 * 784..5 * 784], &middle, 1e-6, Scale::Absolute);
    let refused = autoencoder.manifold(&prior, 4).expect_err("five numbers").to_string();
    assert_eq!(
        refused,
        "latent: codes have 5 elements, and only two make a plane; train with --latent 2, or use traverse"
    );
    Ok(())
}

/// Drawn codes have the mean and the covariance of those that they follow.
#[test]
fn drawn_codes_follow_those_of_the_data() -> Result<()> {
    let data = digits(300, 4);
    let mut spec = spec(SMALL_VAE);
    spec.latent = pinhole::model::config::LatentSpec::Plain;
    spec.set_latent(3)?;
    let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
    autoencoder.fit(&data, None, &mut ())?;
    let refused = autoencoder.prior().expect_err("no prior").to_string();
    assert!(refused.starts_with("latent: codes of a \"plain\" latent follow no known distribution; "), "{refused}");
    let codes = CodeStatistics::of(&autoencoder, &data)?;
    let expected = autoencoder.encode(&data.rows_f32(0..300))?.to_f64();
    let moments = |values: &[f64]| {
        let count = (values.len() / 3) as f64;
        let mean: Vec<f64> = (0..3).map(|k| values.iter().skip(k).step_by(3).sum::<f64>() / count).collect();
        let product = |a: usize, b: usize| {
            values.chunks(3).map(|code| (code[a] - mean[a]) * (code[b] - mean[b])).sum::<f64>() / (count - 1.0)
        };
        (mean.clone(), vec![product(0, 0), product(0, 1), product(0, 2), product(1, 1), product(1, 2), product(2, 2)])
    };
    let (mean, covariance) = moments(&expected);
    expect_close("the mean", codes.mean(), &mean, 1e-9, Scale::Largest);
    let drawn: Vec<f64> = codes.drawn(20_000, 1).into_iter().map(f64::from).collect();
    let (their_mean, their_covariance) = moments(&drawn);
    expect_close("the drawn mean", &their_mean, &mean, 0.03, Scale::Largest);
    expect_close("the drawn covariance", &their_covariance, &covariance, 0.05, Scale::Largest);
    Ok(())
}

#[test]
fn senseless_latents_are_refused() {
    let refused = |text: &str| ModelSpec::parse(text, "m.toml".as_ref()).expect_err("an error").to_string();
    let with = |latent: &str| SMALL_VAE.replace("{ gaussian = 5 }", latent);
    let says = |text: &str, expected: &str| {
        let said = refused(text);
        let said = said.split_once(": ").map_or("", |(_, said)| said);
        assert_eq!(said, expected);
    };
    says(&with("\"gausian\""), "line 4, latent: unknown latent \"gausian\"; did you mean \"gaussian\"?");
    says(
        &with("{ gaussian = 0 }"),
        "line 4, latent.gaussian.size: expects a whole number, at least 1, got 0; use 16, say",
    );
    says(
        &with("{ gaussian = { beta = -1 } }"),
        "line 4, latent.gaussian.beta: expects a number, at least 0, got -1.0; use 1.0, say",
    );
    says(
        &with("{ gaussian = { cycle = 5 } }"),
        "line 4, latent.gaussian.cycle: without a warmup every cycle is like the last; give a warmup, or leave it out",
    );
    says(
        &with("{ gaussian = { cycle = 5, warmup = 6 } }"),
        "line 4, latent.gaussian.cycle: a cycle of 5 steps ends before its warm-up of 6; use a longer cycle or a shorter warmup",
    );
    says(
        &with("{ gaussian = { samples = 5, beta = 2 } }"),
        "line 4, latent.gaussian.samples: the importance-weighted bound of several samples has no beta, warmup, free_bits or \
         mmd; use samples = 1, or leave the others out",
    );
    says(
        &with("{ gaussian = { samples = 5 } }").replace("bernoulli", "mse"),
        "line 4, latent.gaussian.samples: the importance-weighted bound needs a likelihood, the loss is \"mse\"; use loss = \
         \"bernoulli\", say",
    );
    says(
        &SMALL_VAE.replace("\"sigmoid\"", "\"tanh\""),
        "line 2, loss: \"bernoulli\" needs a decoder that ends with \"sigmoid\", this one ends with \"tanh\"; add \"sigmoid\" \
         to the decoder, or use \"mse\"",
    );
    for loss in ["multinomial", "cross_entropy"] {
        for end in ["sigmoid", "softmax"] {
            says(
                &with("\"plain\"").replace("bernoulli", loss).replace("\"sigmoid\"", &format!("{end:?}")),
                &format!(
                    "line 2, loss: \"{loss}\" takes logits, but the decoder ends with \"{end}\"; leave that layer out: the \
                     loss has its own softmax"
                ),
            );
        }
    }
    let corrupt = |corruption: &str| SMALL_VAE.replace("encoder =", &format!("corruption = {corruption}\nencoder ="));
    says(
        &corrupt("{ masking = 1.5 }"),
        "line 3, corruption.masking.level: expects a number from 0 to 1, got 1.5; use 0.3, say",
    );
    says(
        &corrupt("{ gaussian = { level = [0.5, 0.1] } }"),
        "line 3, corruption.gaussian.level: expects an ascending pair of numbers of at least 0, got [0.5, 0.1]; use 0.3, say",
    );
    says(
        &corrupt("{ masking = [0.1] }"),
        "line 3, corruption.masking: expects a number or a pair of numbers, got [0.1]; write 0.3 or [0.1, 0.5], say",
    );
    let mut spec = spec(SMALL_VAE);
    spec.latent = pinhole::model::config::LatentSpec::Plain;
    spec.encoder = vec!["\"flatten\"".parse().expect("a layer")];
    assert!(spec.set_latent(3).is_err());
    // As many numbers as were asked for, or none.
    let last = |layers: &[&str]| layers.iter().map(|layer| layer.parse().expect("a layer")).collect::<Vec<_>>();
    spec.input = [4, 9].into();
    spec.loss = pinhole::model::config::LossKind::Mse.into();
    spec.decoder = last(&["\"flatten\"", "{ linear = 36 }"]);
    for (layers, code) in [
        (last(&["{ gru = { out = 8, bidirectional = true, last = true } }"]), &[6][..]),
        (last(&["{ conv1d = { out = 2, kernel = 3, padding = 1 } }", "\"relu\""]), &[6, 9][..]),
        (
            last(&[
                "{ conv1d = { out = 2, kernel = 3, padding = \"same\" } }",
                "\"instance_norm\"",
                "{ max_pool1d = 2 }",
            ]),
            &[6, 4][..],
        ),
        (last(&["{ conv1d = { out = 2, kernel = 1 } }", "{ adaptive_avg_pool1d = 3 }", "\"rms_norm\""]), &[6, 3][..]),
        (last(&["{ gru = { out = 8, layers = 2, last = true } }", "\"rms_norm\""]), &[6][..]),
    ] {
        spec.encoder = layers;
        spec.set_latent(6).expect("a size");
        assert_eq!(spec.validate().expect("a model").latent[..], *code);
    }
    // The features of a linear layer lie along the axis that is pooled.
    spec.encoder = last(&["{ linear = 8 }", "{ max_pool1d = 2 }"]);
    assert!(spec.set_latent(6).is_err());
    spec.encoder = last(&["{ gru = { out = 8, bidirectional = true, last = true } }"]);
    assert_eq!(
        spec.set_latent(7).expect_err("an odd size").to_string(),
        "latent: the encoder's last layer has as many outputs in both directions, not 7 in all; give an even number"
    );
}

/// What is corrupted is as bad as the model file says, and only for the encoder.
#[test]
fn corruption_is_measured() -> Result<()> {
    let data = Dataset::from_f32([784], vec![0.5; 784 * 200])?;
    let text = |corruption: &str| {
        format!(
            "input = [784]\nloss = \"mse\"\ncorruption = {corruption}\nencoder = [{{ linear = 2 }}]\n\
             decoder = [{{ linear = 784 }}]\n[train]\nbatch = 40\n"
        )
    };
    // The mean squared error of what the encoder is given.
    for (corruption, expected) in [
        ("{ gaussian = 0.3 }", 0.09),
        ("{ masking = 0.4 }", 0.4 * 0.25),
        ("{ masking = [0.0, 0.4] }", 0.2 * 0.25),
        ("{ salt_and_pepper = 0.2 }", 0.2 * 0.25),
        // Cut at half a deviation either way.
        ("{ gaussian = { level = 1.0, clip = true } }", 0.3085 * 0.5 + 0.0309),
    ] {
        for device in fast_devices() {
            let autoencoder = Autoencoder::new(spec(&text(corruption)), device)?;
            let measured = autoencoder.evaluate(&data)?.parts["corrupted_mse"];
            expect_close(corruption, &[measured], &[expected], 0.03, Scale::Relative);
        }
    }
    // Half of the numbers become 1, for the target too: nothing better than a half can be given back.
    let text = text("\"none\"").replace("[train]", "[data]\nbinarise = \"stochastic\"\n[train]");
    let mut autoencoder = Autoencoder::new(spec(&text), Device::Cpu)?;
    let layout = autoencoder.network().layout().clone();
    let mut values = vec![0.0; layout.elements()];
    let bias = layout.entry("decoder.0.bias").expect("a bias").offset;
    values[bias..bias + 784].fill(0.5);
    autoencoder.set_parameters(Values::F32(values))?;
    expect_close("binary", &[autoencoder.evaluate(&data)?.mse], &[0.25], 1e-5, Scale::Relative);
    Ok(())
}
