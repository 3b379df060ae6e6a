//! Batch normalisation in steps that have one number of each channel, whose mean is that number.

use crate::support::*;
use crate::temp::*;
use expect_test::{Expect, expect};
use pinhole::data::{Dataset, digits};
use pinhole::plan::LayoutEntry;
use pinhole::train::{EpochEnd, Options, Trainer};
use pinhole::{Autoencoder, Device, Result};

const FEATURES: &str = r#"
input = [784]
loss = "mse"
encoder = [{ linear = 8 }, "batch_norm", "relu", { residual = [{ linear = 8 }, "batch_norm"] }, { linear = 4 }]
decoder = [{ linear = 784 }]
[train]
batch = 1
epochs = 1
validation = 0
"#;

fn refused(text: &str, data: &Dataset, expected: Expect) {
    let network = network(text);
    let error = Trainer::new(&network, &Device::Cpu, data, None, Options::default()).err().expect("it is refused");
    expected.assert_eq(&error.to_string());
    let mut autoencoder = Autoencoder::new(spec(text), Device::Cpu).expect("a model");
    assert_eq!(autoencoder.fit(data, None, &mut ()).expect_err("it is refused").to_string(), error.to_string());
}

#[test]
fn batches_of_one_are_refused_where_nothing_is_left_of_them() -> Result<()> {
    refused(
        FEATURES,
        &digits(20, 1),
        expect![[
            r#"batch 1: batch_norm "encoder.1" gets one number of each channel, whose mean is that number; use --batch 2 or more, or "layer_norm" in its place"#
        ]],
    );
    refused(
        FEATURES,
        &digits(1, 1),
        expect![[
            r#"batch 1: batch_norm "encoder.1" gets one number of each channel, whose mean is that number; give 2 samples or more, or "layer_norm" in its place"#
        ]],
    );
    // Channels of one pixel, deep in a structure; accumulated batches are normalised one by one.
    let pixel = "input = [1, 28, 28]\nloss = \"mse\"\nencoder = [{ repeat = { times = 1, layers = [{ conv2d = { out = 5, kernel = 28 } }, \
                 \"batch_norm\"] } }]\ndecoder = [\"flatten\", { linear = 784 }]\n[train]\nbatch = 1\naccumulate = 4\n";
    refused(
        pixel,
        &digits(20, 1),
        expect![[
            r#"batch 1: batch_norm "encoder.0.0.1" gets one number of each channel, whose mean is that number; use --batch 2 or more, or "layer_norm" in its place"#
        ]],
    );
    // Several pixels are several numbers, as are several samples.
    let pixels = pixel.replace("kernel = 28", "kernel = 27");
    for (text, count) in [(&pixels, 3), (&FEATURES.replace("batch = 1", "batch = 2"), 4)] {
        let trained = train(&network(text), &Device::Cpu, &digits(count, 1), None, Options::default());
        assert!(trained.losses.iter().all(|loss| loss.is_finite()));
    }
    Ok(())
}

/// The last step of an epoch is normalised as in use where it has one sample, and leaves the running estimates alone.
#[test]
fn a_last_batch_of_one_is_normalised_by_the_running_estimates() -> Result<()> {
    let text = FEATURES.replace("batch = 1", "batch = 4\nshuffle = false\noptimizer = { sgd = { lr = 0 } }");
    let network = network(&text);
    let data = digits(9, 2);
    for device in all_devices() {
        let mut losses = Losses::default();
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
        trainer.start(&initial(&network))?;
        while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
        assert_eq!(losses.losses.len(), 3);
        let parameters = trainer.parameters()?;
        let counts = network.layout().entries().iter().filter(|entry| entry.name.ends_with("num_batches_tracked"));
        for LayoutEntry { name, offset, .. } in counts {
            assert_eq!(wide(&parameters)[*offset], 2.0, "{name}: two batches had more than one sample");
        }
        // At a rate of 0 the weights are still the first ones, and the loss of the last step is that of evaluation.
        let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
        autoencoder.set_parameters(parameters)?;
        let last = Dataset::from_f32(data.sample_shape().clone(), data.rows_f32(8..9))?;
        let evaluated = autoencoder.evaluate(&last)?.loss;
        expect_close(&device.name(), &losses.losses[2..], &[evaluated], 1e-6, Scale::Relative);
    }
    Ok(())
}

#[test]
fn the_program_refuses_them_in_one_line_and_leaves_nothing() {
    let place = Place::new();
    place.write("features.toml", FEATURES.as_bytes());
    let said = "batch 1: batch_norm \"encoder.1\" gets one number of each channel, whose mean is that number; use --batch 2 or \
                more, or \"layer_norm\" in its place";
    place.ok("train --model features.toml --data digits:20 --device cpu --batch 10 --out normed");
    place.fail(&[
        ("train --model features.toml --data digits:20 --device cpu --out run", said),
        ("classify normed --data digits:20 --device cpu --set train.batch=1 --out classes", said),
    ]);
    assert!(!place.path("run").exists() && !place.path("classes").exists());
    // A search leaves out the trials that cannot be trained so.
    place.write("searched.toml", FEATURES.replace("validation = 0", "validation = 0.2").as_bytes());
    let space =
        "model = \"searched.toml\"\ndata = \"digits:20\"\nmethod = \"grid\"\n[space]\n\"train.batch\" = [1, 5]\n";
    place.write("space.toml", space.as_bytes());
    let found = place.ok("tune space.toml --device cpu --out search");
    assert!(found.stdout.contains(said) || found.stderr.contains(said), "{found:?}");
}
