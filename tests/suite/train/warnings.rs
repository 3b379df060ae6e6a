//! What training warns of, and that variances stay within their bounds.

use crate::support::*;
use expect_test::{Expect, expect};
use pinhole::data::digits;
use pinhole::model::preset::PRESETS;
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::{DType, Values};
use pinhole::train::{EpochEnd, Observer, Options, Trainer, Warning};
use pinhole::{Autoencoder, Device, Result};

/// A variational model of digits, with another loss and more settings of its latent.
fn variational(loss: &str, latent: &str, end: &str) -> String {
    format!(
        "input = [784]\nloss = {loss}\nencoder = [{{ linear = 16 }}, \"relu\"]\n\
         latent = {{ gaussian = {{ size = 4, {latent} }} }}\n\
         decoder = [{{ linear = 16 }}, \"relu\", {{ linear = 784 }}{end}]\n[train]\nbatch = 32\nepochs = 3\n"
    )
}

#[derive(Default)]
struct Heard(Vec<Warning>);

impl Observer for Heard {
    fn warning(&mut self, warning: &Warning) {
        self.0.push(warning.clone());
    }
}

/// What is done to the weights that a training begins with.
type Change<'a> = &'a dyn Fn(&Network, &mut Vec<f32>);

/// What the training of a model on 128 digits warns of, line by line, from these weights where they are given.
fn heard(text: &str, start: Option<Change>) -> Result<String> {
    let mut autoencoder = Autoencoder::new(spec(text), Device::Cpu)?;
    if let Some(change) = start {
        let mut weights = autoencoder.parameters().to_f64().iter().map(|value| *value as f32).collect();
        change(autoencoder.network(), &mut weights);
        autoencoder.set_parameters(Values::F32(weights))?;
    }
    let (data, mut heard) = (digits(128, 3), Heard::default());
    let validation = digits(64, 4);
    autoencoder.fit(&data, Some(&validation), &mut heard)?;
    Ok(heard.0.iter().map(|warning| format!("{warning}\n")).collect())
}

fn expect_heard(text: &str, expected: Expect) -> Result<()> {
    expected.assert_eq(&heard(text, None)?);
    Ok(())
}

/// Sets every number of a parameter.
fn set(network: &Network, weights: &mut [f32], name: &str, value: f32) {
    let LayoutEntry { shape, offset, .. } = network.layout().entry(name).expect("a parameter of this name");
    weights[*offset..*offset + shape.elements()].fill(value);
}

#[test]
fn settings_are_warned_of_before_the_first_step() -> Result<()> {
    let warmup = SMALL_DENSE.replace("seed = 7", "seed = 7\nwarmup = 13");
    expect_heard(
        &warmup,
        expect![[r#"
            train.warmup: the warm-up of 13 updates does not end within this training of 12; use a shorter one, or train longer
        "#]],
    )?;
    expect_heard(&warmup.replace("warmup = 13", "warmup = 12"), expect![""])?;
    // Of two steps one update is made.
    let accumulated = warmup.replace("warmup = 13", "warmup = 7\naccumulate = 2");
    expect_heard(
        &accumulated,
        expect![[r#"
            train.warmup: the warm-up of 7 updates does not end within this training of 6; use a shorter one, or train longer
        "#]],
    )?;
    let foreseen = |loss: &str, latent: &str, end: &str| -> Result<String> {
        let said = heard(&variational(loss, latent, end), None)?;
        let lines = said.lines().filter(|line| line.starts_with("loss") || line.contains("warm-up"));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    };
    expect![[r#"
        latent.gaussian.warmup: the warm-up of 20 steps does not end within this training of 12; use a shorter one, or train longer
        loss: "mse" is a mean over a sample's numbers and the divergence a sum, which therefore counts 784 times; use "gaussian", or beta = 1.3e-3
    "#]]
    .assert_eq(&foreseen("\"mse\"", "warmup = 20", "")?);
    expect![[r#"
        loss: "bce" is a mean over a sample's numbers and the divergence a sum, which therefore counts 3136 times; use "bernoulli", or beta = 1.3e-3
    "#]]
    .assert_eq(&foreseen("\"bce\"", "beta = 4.0", ", \"sigmoid\"")?);
    // A likelihood, a beta for means, and a mean that is made a sum again.
    assert_eq!(foreseen("\"bernoulli\"", "beta = 4.0", ", \"sigmoid\"")?, "");
    assert_eq!(foreseen("\"mse\"", "beta = 0.005", "")?, "");
    assert_eq!(foreseen("{ mse = 784.0 }", "beta = 1.0", "")?, "");
    Ok(())
}

#[test]
fn results_are_warned_of_after_the_last_step() -> Result<()> {
    expect_heard(
        &variational("\"bernoulli\"", "beta = 1000.0", ", \"sigmoid\""),
        expect![[r#"
            latent.gaussian: the posterior has collapsed: 0 of the 4 numbers of a code depend on the sample (a variance of the mean above 0.01); use a smaller beta, a warmup or free_bits
        "#]],
    )?;
    let still = SMALL_DENSE.replace("lr = 3e-3", "lr = 1e-12");
    expect_heard(
        &still,
        expect![[r#"
            the loss has not fallen: 0.697190 in the first epoch, 0.697190 in epoch 3; try another lr, and look at the data's range
        "#]],
    )?;
    // One epoch has nothing to be compared with.
    expect_heard(&still.replace("epochs = 3", "epochs = 1"), expect![""])?;
    let dead = heard(SMALL_DENSE, Some(&|network, weights| set(network, weights, "encoder.0.bias", -1000.0)))?;
    expect![[r#"
        encoder.1: 24 of the 24 units of this "relu" are zero for every sample and learn nothing; use a smaller lr, or "leaky_relu"
    "#]]
    .assert_eq(&dead);
    Ok(())
}

#[test]
fn a_sound_training_is_warned_of_nothing() -> Result<()> {
    expect_heard(SMALL_DENSE, expect![""])?;
    expect_heard(SMALL_CONV, expect![""])?;
    // The divergences of the presets stand beside likelihoods.
    let data = digits(8, 1).with_labels(vec![1; 8])?;
    for preset in PRESETS.iter().filter(|preset| preset.text.contains("gaussian = ") && preset.text.contains("latent"))
    {
        let mut spec = ModelSpec::resolve(preset.name)?;
        spec.train.batch = 8;
        let network = Network::new(spec)?;
        let mut heard = Heard::default();
        let options = Options { steps: Some(1), ..Options::default() };
        let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, options)?;
        trainer.start(&initial(&network))?;
        trainer.epoch(&mut heard)?;
        assert!(!heard.0.iter().any(|warning| matches!(warning, Warning::MeanBesideSum { .. })), "{}", preset.name);
    }
    Ok(())
}

/// A run that goes on where it stopped warns as one that was never stopped does: of settings once, and of all epochs' losses.
#[test]
fn a_resumed_run_warns_once() -> Result<()> {
    let text = SMALL_DENSE.replace("lr = 3e-3", "lr = 1e-12").replace("seed = 7", "seed = 7\nwarmup = 100");
    let network = network(&text);
    let data = digits(96, 3);
    let mut whole = Heard::default();
    Autoencoder::new(spec(&text), Device::Cpu)?.fit(&data, None, &mut whole)?;
    assert_eq!(whole.0.len(), 2, "{:?}", whole.0);

    let mut parts = Heard::default();
    let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, Options::default())?;
    trainer.start(&initial(&network))?;
    trainer.epoch(&mut parts)?;
    let checkpoint = trainer.checkpoint()?;
    let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, Options::default())?;
    trainer.restore(&checkpoint)?;
    while let EpochEnd::Epoch(_) = trainer.epoch(&mut parts)? {}
    assert_eq!(parts.0, whole.0);
    Ok(())
}

/// Beyond the bounds a log-variance counts as the bound: nothing overflows, and its derivative leads back.
#[test]
fn log_variances_stay_within_their_bounds() -> Result<()> {
    let network = network(&variational("\"bernoulli\"", "beta = 1.0", ", \"sigmoid\""));
    let bias = network.layout().entries().iter().map(|entry| entry.name.clone()).find(|name| name.contains("log"));
    let bias = bias.map(|name| name.replace("weight", "bias")).expect("the head of the log-variance");
    let weight = bias.replace("bias", "weight");
    let of = |value: f32| -> Result<(f64, Vec<f64>)> {
        let mut weights: Vec<f32> = network.initial(1);
        set(&network, &mut weights, &weight, 0.0);
        set(&network, &mut weights, &bias, value);
        let mut graph = Context::new();
        let x = graph.input("x", [8, 784], DType::Float)?;
        let noise = graph.constant(0.5, [8, 4])?;
        let objective = network.evidence_bound(&mut graph, x, x, noise)?;
        let by = graph.parameter(&bias, [4])?;
        let gradient = graph.gradients(objective.loss, &[by])?[0];
        let plan = pinhole::plan::Plan::build(pinhole::plan::Request {
            name: "bounds",
            graph: &graph,
            outputs: vec![(objective.loss, "loss".to_owned()), (gradient, "gradient".to_owned())],
            layout: network.layout(),
            training: None,
            metrics: None,
            target: Device::Cpu.target(),
        })?;
        let mut session = Device::Cpu.load(&[plan])?;
        session.write_parameters(&Values::F32(weights))?;
        session.write("x", &Values::F32(digits(8, 1).rows_f32(0..8)))?;
        session.run(0, 1)?;
        Ok((session.read("loss")?.to_f64()[0], session.read("gradient")?.to_f64()))
    };
    let (most, back) = of(20.0)?;
    assert!(most.is_finite() && most > 1e8, "{most}");
    assert!(back.iter().all(|slope| *slope > 0.0), "{back:?}");
    assert_eq!(of(500.0)?, (most, back), "above");
    let (least, back) = of(-30.0)?;
    assert!(least.is_finite() && back.iter().all(|slope| *slope < 0.0), "{least} {back:?}");
    assert_eq!(of(-1e6)?, (least, back), "below");
    assert_ne!(of(19.0)?.0, most, "within");
    Ok(())
}

/// The learned variance of a gaussian likelihood has the same bounds.
#[test]
fn a_likelihoods_variance_stays_within_its_bounds() -> Result<()> {
    let text = variational("\"gaussian\"", "beta = 1.0", "");
    let of = |value: f32| -> Result<f64> {
        let mut autoencoder = Autoencoder::new(spec(&text), Device::Cpu)?;
        let mut weights = autoencoder.network().initial(1);
        set(autoencoder.network(), &mut weights, "loss.log_variance", value);
        autoencoder.set_parameters(Values::F32(weights))?;
        Ok(autoencoder.evaluate(&digits(16, 1))?.loss)
    };
    assert!(of(-300.0)?.is_finite() && of(-300.0)? == of(-30.0)?, "{}", of(-300.0)?);
    assert!(of(300.0)?.is_finite() && of(300.0)? == of(20.0)?, "{}", of(300.0)?);
    assert_ne!(of(19.0)?, of(20.0)?);
    Ok(())
}
