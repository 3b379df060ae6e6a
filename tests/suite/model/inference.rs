//! A trained model in use: encode, decode, reconstruct, evaluate, save and load.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::plan::LayoutEntry;
use pinhole::tensor::Values;
use pinhole::{Autoencoder, Device, Result};

fn trained(text: &str, device: &Device) -> Result<Autoencoder> {
    let mut autoencoder = Autoencoder::new(spec(text), device.clone())?;
    autoencoder.fit(&digits(100, 3), None, &mut ())?;
    Ok(autoencoder)
}

#[test]
fn reconstruct_is_decode_of_encode_and_evaluate_measures_it() -> Result<()> {
    let data = digits(77, 9);
    let samples = data.rows_f32(0..77);
    for device in all_devices() {
        for text in [SMALL_CONV, SMALL_DENSE] {
            let what = format!("on {}", device.name());
            let autoencoder = trained(text, &device)?;
            let input = &autoencoder.network().spec().input;
            let codes = autoencoder.encode(&samples)?;
            let width = autoencoder.network().checked().latent.elements();
            assert_eq!(codes.shape()[..], [77, width]);
            let decoded = autoencoder.decode(&codes.to_f32())?;
            let output = autoencoder.reconstruct(&samples)?;
            assert_eq!(output.shape(), &std::iter::once(77).chain(input.iter().copied()).collect());
            assert_eq!(decoded.shape(), output.shape());
            expect_close(&what, &decoded.to_f64(), &output.to_f64(), 1e-6, Scale::Absolute);
            assert!(output.to_f32().iter().all(|value| (0.0..=1.0).contains(value)), "{what}");

            let pairs = || output.to_f64().into_iter().zip(samples.iter().map(|value| f64::from(*value)));
            let count = samples.len() as f64;
            let mse = pairs().map(|(y, x)| (y - x) * (y - x)).sum::<f64>() / count;
            let mae = pairs().map(|(y, x)| (y - x).abs()).sum::<f64>() / count;
            let bce = pairs().map(|(y, x)| -(x * y.ln() + (1.0 - x) * (1.0 - y).ln())).sum::<f64>() / count;
            let loss = if text == SMALL_CONV { mse } else { bce };
            let evaluation = autoencoder.evaluate(&data)?;
            let actual = [evaluation.loss, evaluation.mse, evaluation.mae, evaluation.psnr];
            let expected = [loss, mse, mae, 10.0 * (1.0 / mse).log10()];
            expect_close(&what, &actual, &expected, 1e-5, Scale::Relative);
            assert_eq!(evaluation.samples, 77);
        }
    }
    Ok(())
}

#[test]
fn saved_and_loaded_models_have_the_same_bits() -> Result<()> {
    let samples = digits(10, 9).rows_f32(0..10);
    for device in all_devices() {
        for text in [SMALL_CONV, SMALL_DENSE] {
            let folder = folder();
            let autoencoder = trained(text, &device)?;
            // A folder that is not there yet.
            let path = folder.path().join("a/b");
            autoencoder.save(&path)?;
            let loaded = Autoencoder::load(&path, device.clone())?;
            assert_eq!(loaded.network().spec(), autoencoder.network().spec());
            let rounded: Vec<f32> = wide(autoencoder.parameters()).iter().map(|value| *value as f32).collect();
            assert_eq!(loaded.parameters(), &Values::F32(rounded));
            if !matches!(device, Device::CpuF64) {
                assert_eq!(loaded.reconstruct(&samples)?, autoencoder.reconstruct(&samples)?);
            }
            // Saved again the files are the same, byte for byte.
            let again = folder.path().join("again");
            loaded.save(&again)?;
            for name in ["model.toml", "model.safetensors"] {
                let read = |path: &std::path::Path| std::fs::read(path.join(name)).expect("a file");
                assert!(read(&path) == read(&again), "{name}");
            }
            // The names and shapes that PyTorch expects.
            let file = Tensors::read(&path.join("model.safetensors"));
            assert_eq!(file.names().len(), loaded.network().layout().entries().len());
            for LayoutEntry { name, shape, .. } in loaded.network().layout().entries() {
                assert_eq!(file.shape(name), &shape[..], "{name}");
                let parameter = loaded.parameter(name).expect("a parameter");
                assert_eq!(parameter.to_f32(), file.f32(name), "{name}");
            }
            assert!(loaded.parameter("encoder.0.wait").is_none());
        }
    }
    Ok(())
}

#[test]
fn weights_move_between_devices() -> Result<()> {
    let samples = digits(10, 9).rows_f32(0..10);
    let folder = folder();
    for device in all_devices() {
        let autoencoder = trained(SMALL_CONV, &device)?;
        autoencoder.save(folder.path())?;
        let expected = autoencoder.reconstruct(&samples)?.to_f64();
        for other in all_devices() {
            let actual = Autoencoder::load(folder.path(), other)?.reconstruct(&samples)?.to_f64();
            expect_close(&device.name(), &actual, &expected, 1e-5, Scale::Absolute);
        }
    }
    Ok(())
}

/// Many samples go through in batches of 256; a sample's result does not depend on its company.
#[test]
fn any_number_of_samples_can_be_used() -> Result<()> {
    let data = digits(600, 9);
    for device in fast_devices() {
        let autoencoder = trained(SMALL_DENSE, &device)?;
        let all = autoencoder.reconstruct(&data.rows_f32(0..600))?;
        assert_eq!(all.shape()[..], [600, 784]);
        let all = all.to_f64();
        for range in [0..1, 0..255, 255..512, 599..600, 300..557] {
            let part = autoencoder.reconstruct(&data.rows_f32(range.clone()))?;
            assert_eq!(part.shape()[..], [range.len(), 784]);
            let expected = &all[range.start * 784..range.end * 784];
            expect_close(&format!("{range:?}"), &part.to_f64(), expected, 1e-5, Scale::Absolute);
        }
    }
    Ok(())
}

#[test]
fn threads_share_a_model() -> Result<()> {
    let data = digits(64, 9);
    for device in all_devices() {
        let autoencoder = trained(SMALL_CONV, &device)?;
        let serial: Vec<_> = (0..8).map(|part| autoencoder.encode(&data.rows_f32(part * 8..part * 8 + 8))).collect();
        let serial = serial.into_iter().collect::<Result<Vec<_>>>()?;
        let parallel = std::thread::scope(|scope| {
            let (autoencoder, data) = (&autoencoder, &data);
            let threads: Vec<_> = (0..8)
                .map(|part| scope.spawn(move || autoencoder.encode(&data.rows_f32(part * 8..part * 8 + 8))))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?;
        assert_eq!(serial, parallel, "on {}", device.name());
    }
    Ok(())
}

#[test]
fn new_weights_are_used_at_once() -> Result<()> {
    let samples = digits(5, 9).rows_f32(0..5);
    for device in fast_devices() {
        let mut autoencoder = trained(SMALL_DENSE, &device)?;
        let before = autoencoder.reconstruct(&samples)?;
        let kept = autoencoder.parameters().clone();
        autoencoder.fit(&digits(100, 4), None, &mut ())?;
        assert_ne!(autoencoder.reconstruct(&samples)?, before);
        autoencoder.set_parameters(kept)?;
        assert_eq!(autoencoder.reconstruct(&samples)?, before);
    }
    Ok(())
}

#[test]
fn unusable_samples_and_weights_are_refused_in_one_line() -> Result<()> {
    let mut autoencoder = Autoencoder::new(spec(SMALL_DENSE), Device::Cpu)?;
    let problem = |result: Result<()>| result.expect_err("an error").to_string();
    assert_eq!(
        problem(autoencoder.encode(&[]).map(drop)),
        "samples: 0 numbers are not a positive multiple of the 784 that one takes; give each as 784 numbers"
    );
    assert_eq!(
        problem(autoencoder.reconstruct(&[0.0; 785]).map(drop)),
        "samples: 785 numbers are not a positive multiple of the 784 that one takes; give each as 784 numbers"
    );
    assert_eq!(
        problem(autoencoder.decode(&[0.0; 7]).map(drop)),
        "samples: 7 numbers are not a positive multiple of the 6 that one takes; give each as 6 numbers"
    );
    assert_eq!(
        problem(autoencoder.set_parameters(Values::F32(vec![0.0; 3]))),
        "parameters: 3 numbers given, the layout has 39040; give them in the network's layout"
    );
    let odd = Dataset::from_u8([5], vec![0; 10])?.with_name("odd");
    assert_eq!(
        problem(autoencoder.evaluate(&odd).map(drop)),
        "data \"odd\": its samples are [5], the model's input is [784]; choose other data, or change the model's `input` \
         and layers"
    );
    Ok(())
}
