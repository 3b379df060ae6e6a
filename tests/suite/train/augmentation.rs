//! Augmentation: what the map of a picture does, and training with it.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::graph::Graph;
use pinhole::model::config::{Binarise, Corruption, Flip, Level};
use pinhole::model::{ModelSpec, Network};
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

/// A 3 x 4 picture through a map.
fn warped(device: &Device, map: [f32; 6]) -> Result<Vec<f32>> {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 1, 3, 4], DType::Float)?;
    let maps = graph.input("maps", [1, 6], DType::Float)?;
    let y = graph.warp(x, maps)?;
    let x = Tensor::from_f32([1, 1, 3, 4], (1..13).map(|k| k as f32).collect())?;
    let maps = Tensor::from_f32([1, 6], map.to_vec())?;
    Ok(device.compute(&graph, &[y], &[("x", x), ("maps", maps)])?[0].to_f32())
}

#[test]
fn maps_shift_mirror_and_turn_exactly() -> Result<()> {
    for device in all_devices() {
        let is = |map: [f32; 6], expected: [f32; 12]| -> Result<()> {
            assert_eq!(warped(&device, map)?, expected, "{map:?} on {}", device.name());
            Ok(())
        };
        let (a, b, c) = ([1., 2., 3., 4.], [5., 6., 7., 8.], [9., 10., 11., 12.]);
        let join = |rows: [[f32; 4]; 3]| -> [f32; 12] { std::array::from_fn(|k| rows[k / 4][k % 4]) };
        let backwards = |row: [f32; 4]| [row[3], row[2], row[1], row[0]];
        is([1., 0., 0., 0., 1., 0.], join([a, b, c]))?;
        is([1., 0., 1., 0., 1., 0.], join([b, c, [0.; 4]]))?;
        is([1., 0., 0., 0., 1., -2.], join([[0., 0., 1., 2.], [0., 0., 5., 6.], [0., 0., 9., 10.]]))?;
        is([1., 0., 0., 0., -1., 0.], join([backwards(a), backwards(b), backwards(c)]))?;
        is([-1., 0., 0., 0., 1., 0.], join([c, b, a]))?;
        is([-1., 0., 0., 0., -1., 0.], join([backwards(c), backwards(b), backwards(a)]))?;
        // Between two pixels, and far outside.
        is([1., 0., 0.5, 0., 1., 0.], join([[3., 4., 5., 6.], [7., 8., 9., 10.], [4.5, 5., 5.5, 6.]]))?;
        is([1., 0., 1e30, 0., 1., 0.], [0.; 12])?;
        is([1., 0., 0., 0., 1., -1e30], [0.; 12])?;
        // A quarter turn about the middle of the 3 x 4 picture puts its rows between columns.
        let turned = warped(&device, [0., -1., 0., 1., 0., 0.])?;
        assert_eq!(turned[5], (6. + 10. + 7. + 11.) / 4., "{turned:?} on {}", device.name());
    }
    Ok(())
}

fn with(change: impl FnOnce(&mut ModelSpec)) -> Network {
    let mut spec = spec(SMALL_CONV);
    change(&mut spec);
    Network::new(spec).expect("a network")
}

fn trained(network: &Network, device: &Device, data: &Dataset) -> (Vec<f64>, Values) {
    let trained = train(network, device, data, Some(data), Options::default());
    (trained.losses, trained.parameters)
}

#[test]
fn augmented_training_repeats_and_differs_from_plain() {
    let data = digits(100, 3);
    type Change = fn(&mut ModelSpec);
    let changes: [(&str, Change); 10] = [
        ("shift", |spec| spec.data.augment.shift = 3),
        ("flip", |spec| spec.data.augment.flip = Flip::Both),
        ("rotate", |spec| spec.data.augment.rotate = 20.0),
        ("threshold", |spec| spec.data.binarise = Binarise::Threshold),
        ("stochastic", |spec| spec.data.binarise = Binarise::Stochastic),
        ("gaussian", |spec| spec.corruption = Corruption::Gaussian { level: 0.2.into(), clip: false }),
        ("clipped", |spec| spec.corruption = Corruption::Gaussian { level: 0.2.into(), clip: true }),
        ("masking", |spec| spec.corruption = Corruption::Masking { level: 0.3.into() }),
        ("salt and pepper", |spec| {
            spec.corruption = Corruption::SaltAndPepper { level: Level { least: 0.1, most: 0.4 } };
        }),
        ("all", |spec| {
            spec.data.augment.shift = 1;
            spec.data.augment.flip = Flip::Horizontal;
            spec.data.augment.rotate = 180.0;
            spec.corruption = Corruption::Gaussian { level: 0.1.into(), clip: false };
        }),
    ];
    let plain = trained(&with(|_| ()), &Device::Cpu, &data);
    for (name, change) in changes {
        let network = with(change);
        let on_cpu = trained(&network, &Device::Cpu, &data);
        assert_eq!(on_cpu, trained(&network, &Device::Cpu, &data), "{name} repeats");
        assert!(on_cpu.0 != plain.0, "{name} changes nothing");
        assert!(on_cpu.0.last() < on_cpu.0.first(), "{name}: {:?}", on_cpu.0);
        let on_gpu = trained(&network, &gpu(), &data);
        expect_close(&format!("{name} on the GPU"), &on_gpu.0, &on_cpu.0, 2e-3, Scale::Relative);
        // What the model file says comes back from it.
        let text = network.spec().to_toml();
        let read = ModelSpec::parse(&text, std::path::Path::new("m.toml")).expect("a model file");
        assert_eq!(&read, network.spec(), "{text}");
    }
}

/// A model that adds nothing and keeps everything sees what training sees: shifts of every whole number of pixels, in both
/// directions, about equally often.
#[test]
fn shifts_are_whole_and_even() -> Result<()> {
    // One bright pixel in the middle of a 5 x 5 picture, reconstructed as nothing: the loss is 1/25 where the pixel stays
    // inside, else 0. With shifts of up to 4 pixels it stays for 5 of 9 in each direction.
    let text = "input = [1, 5, 5]\nloss = \"mse\"\nencoder = [\"flatten\", { linear = 1 }]\ndecoder = [{ linear = { out = 25, \
                bias = false } }]\n[data]\naugment = { shift = 4 }\n[train]\nbatch = 100\nepochs = 40\nshuffle = false\n\
                optimizer = { sgd = { lr = 1e-30 } }";
    let mut picture = [0; 25];
    picture[12] = 255;
    let data = Dataset::from_u8([1, 5, 5], picture.repeat(100))?;
    for device in fast_devices() {
        let network = network(text);
        let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
        let zeros = vec![0.0; network.layout().elements()];
        autoencoder.set_parameters(Values::F32(zeros))?;
        let losses: Vec<f64> =
            autoencoder.fit(&data, None, &mut ())?.iter().map(|report| report.train_loss * 25.0).collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let expected = 25.0 / 81.0;
        assert!((mean - expected).abs() <= 0.03, "{mean} of {expected} on {}", device.name());
        // Every loss is a whole number of pixels: nothing is blurred.
        for loss in &losses {
            assert!((loss * 100.0 - (loss * 100.0).round()).abs() <= 1e-4, "{loss} on {}", device.name());
        }
    }
    Ok(())
}

#[test]
fn senseless_augmentation_is_refused() {
    let refused = |text: &str, augment: &str| {
        let text = text.replace("[train]", &format!("[data]\naugment = {augment}\n[train]"));
        let path = std::path::Path::new("m.toml");
        let error = ModelSpec::parse(&text, path).expect_err("an error").to_string();
        error.split_once(": ").map(|(_, said)| said.split_once(", ").map_or(said, |(_, said)| said).to_owned())
    };
    let says = |text: &str, augment: &str, expected: &str| {
        assert_eq!(refused(text, augment).as_deref(), Some(expected), "{augment}");
    };
    let conv = SMALL_CONV;
    says(conv, "{ shift = 28 }", "data.augment.shift: must be at most 27, got 28; use fewer pixels");
    says(conv, "{ rotate = 181 }", "data.augment.rotate: expects degrees from 0 to 180, got 181.0; use 10, say");
    says(conv, "{ shfit = 1 }", "data.augment: unknown key \"shfit\"; did you mean \"shift\"?");
    says(
        conv,
        "{ flip = \"left\" }",
        "data.augment.flip: unknown way to mirror pictures \"left\"; known are none, horizontal, vertical, both",
    );
    says(
        SMALL_DENSE,
        "{ flip = \"both\" }",
        "data.augment.flip: it is for pictures, but the input is [784]; use a model with input [channels, height, width]",
    );
    let mut changed = spec(conv);
    changed.set("data.augment.shift=2").expect("a setting");
    changed.set("data.augment.flip=both").expect("a setting");
    assert_eq!((changed.data.augment.shift, changed.data.augment.flip), (2, Flip::Both));
    let mut graph = Graph::new();
    let made = graph.input("x", [2, 1, 3, 3], DType::Float).and_then(|x| {
        let maps = graph.parameter("maps", [2, 6])?;
        let y = graph.warp(x, maps)?;
        let sum = graph.mean_all(y)?;
        graph.gradients(sum, &[maps])
    });
    assert_eq!(made.expect_err("an error").to_string(), "warp: it has no derivative: use it on data (node 11)");
}
