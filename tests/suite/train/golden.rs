//! The golden trajectories: fifty steps of conv-ae and dense-ae on MNIST, as PyTorch trains them.

use crate::common::fixtures::loss_and_gradients;
use crate::support::*;
use pinhole::data::Dataset;
use pinhole::model::ModelSpec;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::Values;
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

struct Golden {
    name: &'static str,
    spec: ModelSpec,
    data: Dataset,
    /// How far all fifty losses may stray in f32.
    stray: f64,
}

impl Golden {
    fn new(name: &'static str) -> Golden {
        let (preset, stray) = if name == "conv-ae" { ("conv", 2e-3) } else { ("dense", 1e-5) };
        let mut spec = ModelSpec::resolve(preset).expect("a preset");
        spec.train.batch = 128;
        spec.train.epochs = 1;
        spec.train.shuffle = false;
        let batches = Tensors::read(&test_data().join("golden/batches.safetensors"));
        assert_eq!(batches.shape("images"), [50, 128, 784]);
        let data = Dataset::from_u8(spec.input.clone(), batches.u8("images")).expect("a data set");
        Golden { name, spec, data, stray }
    }

    fn file(&self, part: &str) -> std::path::PathBuf {
        test_data().join(format!("golden/{}.{part}", self.name))
    }

    fn untrained(&self, device: &Device) -> Result<Autoencoder> {
        let mut autoencoder = Autoencoder::new(self.spec.clone(), device.clone())?;
        autoencoder.load_weights(self.file("init.safetensors"))?;
        Ok(autoencoder)
    }

    fn trajectory(&self, device: &Device) -> Result<()> {
        let reference = json(&self.file("json"));
        let exact = matches!(device, Device::CpuF64);
        let autoencoder = self.untrained(device)?;
        let network = autoencoder.network();
        let start = autoencoder.parameters();
        let trained = train_from(network, device, &self.data, None, Options::default(), start);
        assert_eq!(trained.losses.len(), 50);
        let what = |part: &str| format!("{} on {}: {part}", self.name, device.name());
        let batch = self.data.rows_f32(0..128);
        let (after, _) = loss_and_gradients(network, device, &trained.parameters, &batch)?;
        if exact {
            let expected = numbers(&reference["losses64"]);
            expect_close(&what("losses"), &trained.losses, &expected, 1e-8, Scale::Relative);
            let expected = Tensors::read(&self.file("final64.safetensors")).parameters(network, "");
            let weights = wide(&trained.parameters);
            expect_close(&what("final weights"), &weights, &expected, 1e-6, Scale::Absolute);
        } else {
            let expected = numbers(&reference["losses"]);
            expect_close(&what("first losses"), &trained.losses[..5], &expected[..5], 1e-6, Scale::Relative);
            expect_close(&what("losses"), &trained.losses, &expected, self.stray, Scale::Relative);
            let expected = reference["loss_batch0_after"].as_f64().expect("a loss");
            expect_close(&what("loss of batch 0 after"), &[after], &[expected], self.stray, Scale::Relative);
        }
        Ok(())
    }

    fn first_step(&self, device: &Device) -> Result<()> {
        let autoencoder = self.untrained(device)?;
        let network = autoencoder.network();
        let batch = self.data.rows_f32(0..128);
        let what = |part: &str| format!("{} on {}: {part}", self.name, device.name());

        let outputs = Tensors::read(&self.file("out1.safetensors"));
        let [name] = outputs.names()[..] else { panic!("more than one output: {:?}", outputs.names()) };
        let actual = autoencoder.reconstruct(&batch)?.to_f64();
        expect_close(&what("output"), &actual, &outputs.f64(name), 1e-5, Scale::Largest);

        let expected = Tensors::read(&self.file("grad1.safetensors"));
        let (_, gradients) = loss_and_gradients(network, device, autoencoder.parameters(), &batch)?;
        assert_eq!(expected.names().len(), network.layout().entries().len());
        for LayoutEntry { name, shape, offset } in network.layout().entries() {
            let actual = &gradients[*offset..*offset + shape.elements()];
            expect_close(&what(name), actual, &expected.f64(name), 1e-5, Scale::Largest);
        }
        Ok(())
    }
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_conv_ae_in_f64() -> Result<()> {
    Golden::new("conv-ae").trajectory(&Device::CpuF64)
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_dense_ae_in_f64() -> Result<()> {
    Golden::new("dense-ae").trajectory(&Device::CpuF64)
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_conv_ae_in_f32() -> Result<()> {
    let golden = Golden::new("conv-ae");
    fast_devices().iter().try_for_each(|device| golden.trajectory(device))
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_dense_ae_in_f32() -> Result<()> {
    let golden = Golden::new("dense-ae");
    fast_devices().iter().try_for_each(|device| golden.trajectory(device))
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_outputs_and_gradients() -> Result<()> {
    for name in ["conv-ae", "dense-ae"] {
        let golden = Golden::new(name);
        all_devices().iter().try_for_each(|device| golden.first_step(device))?;
    }
    Ok(())
}

/// The weights that PyTorch ended with are the weights of a model that reconstructs.
#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_final_weights_load_and_evaluate() -> Result<()> {
    for name in ["conv-ae", "dense-ae"] {
        let golden = Golden::new(name);
        let reference = json(&golden.file("json"));
        let mut autoencoder = Autoencoder::new(golden.spec.clone(), Device::Cpu)?;
        autoencoder.load_weights(golden.file("final64.safetensors"))?;
        assert!(matches!(autoencoder.parameters(), Values::F64(_)), "f64 weights stay f64");
        let batch = golden.data.clone().take(128);
        let loss = autoencoder.evaluate(&batch)?.loss;
        let expected = reference["loss_batch0_after64"].as_f64().expect("a loss");
        expect_close(name, &[loss], &[expected], 1e-5, Scale::Relative);
    }
    Ok(())
}
