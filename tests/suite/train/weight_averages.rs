//! Averages of weights: of those that epochs end with, and of all updates with a decay.

use crate::support::*;
use crate::temp::*;
use pinhole::data::digits;
use pinhole::model::ModelSpec;
use pinhole::tensor::Values;
use pinhole::train::{EpochEnd, Options, Trainer};
use pinhole::{Device, Result};

/// The small model's text with such a line in its `[train]`, and so many epochs.
fn text(line: &str, epochs: usize) -> String {
    format!("{SMALL_DENSE}{line}\n").replace("epochs = 3", &format!("epochs = {epochs}"))
}

pub fn averaged(line: &str, epochs: usize) -> ModelSpec {
    spec(&text(line, epochs))
}

/// What training leaves, and the weights that each of its epochs ended with.
fn trained(spec: ModelSpec, device: &Device) -> Result<(Values, Vec<Vec<f64>>)> {
    let (network, data) = (pinhole::model::Network::new(spec)?, digits(70, 2));
    let mut trainer = Trainer::new(&network, device, &data, Some(&data), Options::default())?;
    trainer.start(&initial(&network))?;
    let mut ends = Vec::new();
    while let EpochEnd::Epoch(report) = trainer.epoch(&mut ())? {
        assert!(report.val_loss.is_some_and(f64::is_finite));
        ends.push(wide(&trainer.parameters()?));
    }
    Ok((trainer.model()?, ends))
}

pub fn mean(of: &[&Vec<f64>]) -> Vec<f64> {
    (0..of[0].len()).map(|at| of.iter().map(|values| values[at]).sum::<f64>() / of.len() as f64).collect()
}

#[test]
fn weights_of_whole_epochs_are_averaged() -> Result<()> {
    for (device, tolerance) in all_devices().into_iter().zip([1e-14, 1e-6, 1e-6]) {
        let (plain, ends) = trained(averaged("", 6), &device)?;
        assert_eq!(wide(&plain), ends[5]);
        // The weights themselves go the same way.
        let (average, own) = trained(averaged("swa = { start = 2 }", 6), &device)?;
        assert_eq!(own, ends, "{}", device.name());
        let expect = |what: &str, actual: &Values, of: &[usize]| {
            let of: Vec<&Vec<f64>> = of.iter().map(|at| &ends[*at]).collect();
            expect_close(what, &wide(actual), &mean(&of), tolerance, Scale::AtLeastOne);
        };
        expect("of the last four", &average, &[2, 3, 4, 5]);
        let (average, _) = trained(averaged("swa = { start = 1, every = 2 }", 6), &device)?;
        expect("of every other", &average, &[2, 4]);
        let (average, _) = trained(averaged("accumulate = 2\nswa = { start = 5 }", 6), &device)?;
        let (accumulated, _) = trained(averaged("accumulate = 2", 6), &device)?;
        expect_close("with batches joined", &wide(&average), &wide(&accumulated), tolerance, Scale::AtLeastOne);
    }
    Ok(())
}

/// A short training's average is near its last weights, and not near the first.
#[test]
fn the_decay_of_an_average_rises_with_the_updates() -> Result<()> {
    for device in all_devices() {
        let network = pinhole::model::Network::new(averaged("ema = 0.999", 4))?;
        let data = digits(96, 2);
        let mut options = Options::default();
        let mut trainer = Trainer::new(&network, &device, &data, None, options.clone())?;
        trainer.start(&initial(&network))?;
        while trainer.epoch(&mut ())? != EpochEnd::Finished {}
        let average = wide(&trainer.model()?);
        // The same, from the weights after each of the twelve updates.
        let mut expected: Vec<f64> = Vec::new();
        for update in 0..12 {
            options.steps = Some(update + 1);
            let now = wide(&train(&network, &device, &data, None, options.clone()).parameters);
            let decay = f64::min(0.999, (1.0 + update as f64) / (10.0 + update as f64));
            expected = match update {
                0 => now,
                _ => expected.iter().zip(&now).map(|(before, now)| decay * before + (1.0 - decay) * now).collect(),
            };
        }
        let tolerance = if matches!(device, Device::CpuF64) { 1e-14 } else { 1e-6 };
        expect_close(&device.name(), &average, &expected, tolerance, Scale::Largest);
    }
    Ok(())
}

#[test]
fn averaging_may_have_its_own_rate() -> Result<()> {
    let (_, slow) = trained(averaged("schedule = \"cosine\"", 4), &Device::CpuF64)?;
    let (_, own) = trained(averaged("schedule = \"cosine\"\nswa = { start = 3, lr = 0.02 }", 4), &Device::CpuF64)?;
    assert_eq!(slow[..3], own[..3], "the schedule goes until then");
    let change = |ends: &[Vec<f64>]| -> f64 { ends[2].iter().zip(&ends[3]).map(|(a, b)| (a - b).abs()).sum() };
    assert!(change(&own) > 3.0 * change(&slow), "{} and {}", change(&own), change(&slow));
    Ok(())
}

#[test]
fn averages_of_epochs_are_refused_where_they_make_no_sense() {
    let refused = |line: &str, epochs: usize| {
        ModelSpec::parse(&text(line, epochs), "m.toml".as_ref()).expect_err(line).to_string()
    };
    let said = refused("ema = 0.9\nswa = { start = 1 }", 3);
    assert!(said.ends_with("train.swa: weights have one average, and ema is one; leave one of the two out"), "{said}");
    let said = refused("swa = { start = 3 }", 3);
    assert!(said.contains("train.swa.start: of 3 epochs none would be averaged that begins after 3"), "{said}");
    let text = SMALL_DENSE.replacen("encoder = [", "encoder = [\"batch_norm\", ", 1) + "swa = { start = 1 }\n";
    let said = ModelSpec::parse(&text, "m.toml".as_ref()).expect_err("batch norm").to_string();
    assert!(said.contains("the running statistics of encoder.0 are the last weights', not their mean's"), "{said}");
    for (latent, state) in [
        ("{ vector_quantised = 4 }", "latent.codebook"),
        ("{ top_k = { k = 3, batch = true, auxiliary = 0, unit_norm = false } }", "latent.threshold"),
    ] {
        let text = SMALL_DENSE.replace("decoder =", &format!("latent = {latent}\ndecoder =")) + "swa = { start = 1 }\n";
        let said = ModelSpec::parse(&text, "m.toml".as_ref()).expect_err(latent).to_string();
        assert!(said.contains(&format!("train.swa: \"{state}\" follows the last weights, not their mean")), "{said}");
    }
    let read = averaged("swa = { start = 1, every = 2, lr = 0.01 }", 5);
    assert_eq!(spec(&read.to_toml()), read);
}

#[test]
fn averaging_goes_on_after_a_stop_to_the_same_bits() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:90 --device cpu --set train.epochs=5 --set";
    place.ok(&format!("{train} train.swa={{start=1}} --out whole"));
    place.ok(&format!("{train} train.swa={{start=1}} --steps 7 --out parts"));
    // From within an epoch, and from an epoch's end.
    let text = String::from_utf8(place.read("parts/run.toml")).expect("text").replace("steps = 7\n", "");
    place.write("parts/run.toml", text.as_bytes());
    place.ok("train --resume --out parts");
    assert!(place.read("whole/model.safetensors") == place.read("parts/model.safetensors"));
    assert!(place.read("whole/checkpoint.safetensors").len() > 3 * place.read("whole/model.safetensors").len());
}

#[test]
fn a_training_too_short_for_its_average_says_so() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:90 --device cpu --set train.epochs=2";
    let said = place.ok(&format!("{train} --set train.ema=0.999 --out short"));
    let line = "train.ema: the average's decay rises to 0.400 and not to 0.999, since there are only 6 updates; train for \
                longer, or set a smaller one\n";
    assert!(said.stderr.contains(line), "{}", said.stderr);
    assert!(!place.ok(&format!("{train} --set train.ema=0.3 --out long")).stderr.contains("train.ema"));
}
