//! Pairs of inputs and targets: folders and arrays, training and evaluation.

use crate::support::*;
use pinhole::data::{Dataset, Reading, load_pairs};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

/// Pairs of a sample with itself are no pairs, whatever is done to samples.
#[test]
fn pairs_of_a_sample_with_itself_change_nothing() -> Result<()> {
    let data = float_digits(60, 3);
    let pairs = data.clone().with_targets(data.clone())?;
    let base =
        "input = [1, 28, 28]\nloss = \"mse\"\nencoder = [\"flatten\", { linear = 6 }]\ndecoder = [{ linear = 784 }]\n";
    let end = "[train]\nbatch = 16\nepochs = 2\n";
    for between in [
        "",
        "corruption = { gaussian = 0.3 }\n",
        "[data]\nbinarise = \"stochastic\"\n",
        "[data]\nbinarise = \"threshold\"\naugment = { shift = 2, rotate = 10 }\n",
    ] {
        let network = network(&format!("{base}{between}{end}"));
        for device in fast_devices() {
            let alone = train(&network, &device, &data, Some(&data), Options::default());
            let paired = train(&network, &device, &pairs, Some(&pairs), Options::default());
            let what = format!("{between} on {}", device.name());
            expect_close(&what, &paired.losses, &alone.losses, 1e-6, Scale::Relative);
            let last = |trained: &Trained| trained.reports.last().and_then(|report| report.val_mse).expect("an MSE");
            expect_close(&what, &[last(&paired)], &[last(&alone)], 1e-5, Scale::Relative);
        }
    }
    Ok(())
}

/// A linear model learns to turn noisy samples into others, and is measured against those.
#[test]
fn models_make_of_samples_what_pairs_say() -> Result<()> {
    let noisy = float_digits(200, 3);
    let values: Vec<f32> = noisy.rows_f32(0..200).iter().map(|value| 1.0 - value).collect();
    let wanted = Dataset::from_f32([1, 28, 28], values)?;
    let (train_pairs, validation) = noisy.clone().with_targets(wanted.clone())?.split(50, 1)?;
    assert_eq!(validation.targets().expect("targets").len(), 50);
    for (sample, target) in validation.rows_f32(0..50).iter().zip(validation.targets().unwrap().rows_f32(0..50)) {
        assert_eq!(1.0 - sample, target);
    }
    let text = "input = [784]\nloss = \"mse\"\nencoder = [{ linear = 20 }]\ndecoder = [{ linear = 784 }]\n[train]\nbatch = 25\n\
                epochs = 6\noptimizer = { adam = { lr = 3e-3 } }\n";
    let mut autoencoder = Autoencoder::new(spec(text), Device::Cpu)?;
    let reports = autoencoder.fit(&train_pairs, Some(&validation), &mut ())?;
    let mse = |given: &[f32], wanted: &[f32]| {
        let squares = given.iter().zip(wanted).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>() / given.len() as f64
    };
    let samples = validation.rows_f32(0..50);
    let targets = validation.targets().unwrap().rows_f32(0..50);
    let evaluation = autoencoder.evaluate(&validation)?;
    let made = autoencoder.reconstruct(&samples)?.to_f32();
    expect_close("mse", &[evaluation.mse], &[mse(&made, &targets)], 1e-5, Scale::Relative);
    expect_close("before", &[evaluation.parts["corrupted_mse"]], &[mse(&samples, &targets)], 1e-5, Scale::Relative);
    // Whoever gave back what it got would be as far off as that.
    assert!(evaluation.mse < 0.2 && evaluation.parts["corrupted_mse"] > 0.5, "{evaluation:?}");
    assert_eq!(reports.last().and_then(|report| report.val_mse), Some(evaluation.mse));
    // Corruption comes on top, of what the encoder sees.
    let corrupted = text.replace("encoder", "corruption = { masking = 1.0 }\nencoder");
    let blind = Autoencoder::new(spec(&corrupted), Device::Cpu)?.evaluate(&validation)?;
    expect_close(
        "blind",
        &[blind.parts["corrupted_mse"]],
        &[mse(&vec![0.0; targets.len()], &targets)],
        1e-5,
        Scale::Relative,
    );

    let fewer = noisy.clone().with_targets(wanted.clone().take(3)).expect_err("three").to_string();
    assert_eq!(fewer, "targets: 3 targets given for 200 samples; give one for each sample");
    let smaller = noisy.with_targets(Dataset::from_f32([2], vec![0.0; 400])?).expect_err("small").to_string();
    assert_eq!(smaller, "targets: they are [2], the samples [1, 28, 28]; give targets of the samples' shape");
    Ok(())
}

#[test]
fn pairs_come_from_folders_by_name_and_from_arrays() -> Result<()> {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let picture = |name: &str, value: u8| {
        std::fs::create_dir_all(path(name).parent().expect("a folder")).expect("a folder");
        pinhole::data::images::write_png(path(name), &[1, 2, 2].into(), &[value; 4]).expect("a picture");
    };
    for (at, name) in ["b", "a", "c"].into_iter().enumerate() {
        picture(&format!("noisy/{name}.png"), at as u8);
        picture(&format!("clean/{name}.png"), 100 + at as u8);
    }
    let text = |name: &str| path(name).display().to_string();
    let pairs = load_pairs(&text("noisy"), Some(&text("clean")), &Reading::default())?.train;
    let [samples, targets] = [&pairs, pairs.targets().expect("targets")].map(|data| wide(data.values()));
    for (sample, target) in samples.iter().zip(&targets) {
        assert_eq!(sample + 100.0, *target);
    }
    picture("clean/d.png", 3);
    let said = load_pairs(&text("noisy"), Some(&text("clean")), &Reading::default()).expect_err("one more").to_string();
    let expected =
        "clean/d.png: there is no picture of that name in noisy; give both folders pictures of the same names";
    assert_eq!(said.replace(&format!("{}/", folder.path().display()), ""), expected);
    pinhole::data::npy::write_npy(path("x.npy"), &[3, 2].into(), &[0.0; 6])?;
    pinhole::data::csv::write_csv(path("y.csv"), 2, &[1.0; 6])?;
    let pairs = load_pairs(&text("x.npy"), Some(&text("y.csv")), &Reading::default())?.train;
    assert_eq!(wide(pairs.targets().expect("targets").values()), [1.0; 6]);
    let said = load_pairs("digits:60", Some(&text("y.csv")), &Reading::default()).expect_err("a test part").to_string();
    assert!(said.starts_with("data \"digits:60\": it has a test part, and \""), "{said}");
    Ok(())
}
