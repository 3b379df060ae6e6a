//! Models of which a half, or all, has no parameters.

use crate::support::*;
use expect_test::expect;
use pinhole::data::digits;
use pinhole::task::CodeStatistics;
use pinhole::train::training_plan;
use pinhole::{Autoencoder, Result};

/// The layers of a half of a model, none with parameters, by what codes they make of 28x28 pictures; and a decoder for each.
const HALVES: [(&str, &str, usize); 5] = [
    (r#""tanh""#, r#"{ conv2d = { out = 1, kernel = 3, padding = 1 } }"#, 784),
    (r#"{ pixel_unshuffle = 2 }"#, r#"{ pixel_shuffle = 2 }, { conv2d = { out = 1, kernel = 1 } }"#, 784),
    (r#""flatten""#, r#"{ linear = 784 }"#, 784),
    (r#"{ avg_pool2d = 4 }"#, r#"{ upsample_bilinear = 4 }, { conv2d = { out = 1, kernel = 3, padding = 1 } }"#, 49),
    (r#"{ max_pool2d = 7 }, "relu""#, r#""flatten", { linear = 784 }"#, 16),
];

/// Codes pass through 32 bits on their way.
fn expect_same(what: &str, copies: &[f64], reconstructed: &[f64]) {
    expect_close(what, copies, reconstructed, 1e-5, Scale::Largest);
}

#[test]
fn a_half_without_parameters_works_on_every_device() -> Result<()> {
    let data = digits(24, 1);
    let pictures = data.rows_f32(0..5);
    for device in all_devices() {
        for (layers, others, size) in HALVES {
            let text = format!("input = [1, 28, 28]\nloss = \"mse\"\nencoder = [{layers}]\ndecoder = [{others}]\n");
            let autoencoder = Autoencoder::new(spec(&text), device.clone())?;
            let codes = autoencoder.encode(&pictures)?;
            assert_eq!(codes.to_f32().len(), 5 * size, "{layers}");
            let copies = autoencoder.decode(&codes.to_f32())?;
            expect_same(layers, &copies.to_f64(), &autoencoder.reconstruct(&pictures)?.to_f64());
        }
        // The decoder has none.
        let text = "input = [1, 28, 28]\nloss = \"mse\"\n\
                    encoder = [{ conv2d = { out = 4, kernel = 1 } }, { max_pool2d = 2 }]\n\
                    decoder = [{ pixel_shuffle = 2 }]\n";
        let autoencoder = Autoencoder::new(spec(text), device)?;
        let codes = autoencoder.encode(&pictures)?;
        let copies = autoencoder.decode(&codes.to_f32())?.to_f64();
        expect_same("pixel_shuffle", &copies, &autoencoder.reconstruct(&pictures)?.to_f64());
        // New samples are drawn like the codes of a data set.
        let statistics = CodeStatistics::of(&autoencoder, &data)?;
        let drawn = autoencoder.decode(&statistics.drawn(3, 1))?;
        assert_eq!(drawn.shape()[..], [3, 1, 28, 28]);
    }
    Ok(())
}

#[test]
fn a_model_without_parameters_is_used_but_not_trained() -> Result<()> {
    let text =
        "input = [1, 28, 28]\nloss = \"mse\"\nencoder = [\"tanh\"]\ndecoder = [\"softsign\"]\n[train]\nbatch = 8\n";
    let data = digits(8, 1);
    for device in all_devices() {
        let mut autoencoder = Autoencoder::new(spec(text), device)?;
        assert!(autoencoder.evaluate(&data)?.loss > 0.0);
        assert_eq!(autoencoder.reconstruct(&data.rows_f32(0..2))?.to_f32().len(), 2 * 784);
        let refusal = autoencoder.fit(&data, None, &mut ()).expect_err("there is nothing to train");
        expect!["model: it has no parameters, so that there is nothing to train; add a layer with weights, such as { linear = 64 }"]
            .assert_eq(&refusal.to_string());
    }
    let refusal = training_plan(&network(text), 60, Default::default()).expect_err("there is nothing to train");
    assert!(refusal.to_string().starts_with("model: it has no parameters"), "{refusal}");
    Ok(())
}

/// Commands that use one half alone.
#[cfg(feature = "cli")]
#[test]
fn every_command_takes_a_half_without_parameters() {
    let place = crate::temp::Place::new();
    place.write(
        "pooled.toml",
        b"input = [1, 28, 28]\nloss = \"mse\"\nencoder = [{ avg_pool2d = 14 }]\n\
          decoder = [\"flatten\", { linear = 784 }]\n[train]\nbatch = 32\nepochs = 1\n",
    );
    place.ok("train --model pooled.toml --data digits:64 --device cpu --out run");
    for command in [
        "encode run digits:64 codes.npy",
        "decode run codes.npy copies.npy",
        "reconstruct run digits:64 copies.npy",
        "generate run --data digits:64 --n 4",
        "traverse run --data digits:64 --latents 2 --steps 2",
        "interpolate run 0 1 --data digits:64 --steps 3",
        "eval run --data digits:64 --codes",
        "eval run --data digits:64 --jacobian",
    ] {
        place.ok(&format!("{command} --device cpu"));
    }
}
