//! Conditions: numbers of each sample that layers and codes are given beside the sample.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::model::{ModelSpec, Network, SideInputs};
use pinhole::plan::LayoutEntry;
use pinhole::task::{CodeStatistics, LatentEnd};
use pinhole::tensor::{Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

const CONDITIONAL: &str = "input = [784]\nloss = \"bernoulli\"\ncondition = { labels = 10 }\n\
    encoder = [{ linear = 24 }, \"tanh\"]\nlatent = { gaussian = 5 }\n\
    decoder = [{ linear = 24 }, \"tanh\", { linear = 784 }, \"sigmoid\"]\n[train]\nbatch = 32\nepochs = 3\n\
    optimizer = { adam = { lr = 3e-3 } }\n";

/// A model with parameters that are 1, 2, 3 and so on over 8.
fn counted(text: &str, device: Device) -> Result<Autoencoder> {
    let mut autoencoder = Autoencoder::new(spec(text), device)?;
    let layout = autoencoder.network().layout().clone();
    let mut values = vec![0.0; layout.elements()];
    let places =
        layout.entries().iter().flat_map(|LayoutEntry { shape, offset, .. }| *offset..offset + shape.elements());
    places.enumerate().for_each(|(number, place)| values[place] = (number + 1) as f32 / 8.0);
    autoencoder.set_parameters(Values::F32(values))?;
    Ok(autoencoder)
}

/// What a device gives for what there is no sum over in another order to round.
fn exactly(what: &str, found: &Tensor, expected: &[f64]) {
    expect_close(what, &found.to_f64(), expected, 1e-6, Scale::AtLeastOne);
}

#[test]
fn conditions_go_behind_the_channels_of_samples_and_of_codes() -> Result<()> {
    for device in all_devices() {
        let name = device.name();
        // Weights of the encoder 1 to 4 eighths, its bias 5; of the decoder 6 to 11, its biases 12 and 13.
        let rows = counted(
            "input = [2]\nloss = \"mse\"\ncondition = { vector = 2 }\nencoder = [{ linear = 1 }]\ndecoder = [{ linear = 2 }]\n",
            device.clone(),
        )?;
        let given = SideInputs::conditions(vec![3.0, -1.0, 0.0, 2.0]);
        let code = |x: [f64; 4]| (x[0] + 2.0 * x[1] + 3.0 * x[2] + 4.0 * x[3] + 5.0) / 8.0;
        let codes = [code([1.0, 5.0, 3.0, -1.0]), code([2.0, 7.0, 0.0, 2.0])];
        exactly(&name, &rows.encode_given(&[1.0, 5.0, 2.0, 7.0], &given)?, &codes);
        let sample = |z: f64, c: [f64; 2]| {
            let number = |first: f64, bias: f64| (first * z + (first + 1.0) * c[0] + (first + 2.0) * c[1] + bias) / 8.0;
            [number(6.0, 12.0), number(9.0, 13.0)]
        };
        let samples = [sample(codes[0], [3.0, -1.0]), sample(codes[1], [0.0, 2.0])].concat();
        exactly(&name, &rows.reconstruct_given(&[1.0, 5.0, 2.0, 7.0], &given)?, &samples);
        exactly(
            &name,
            &rows.decode_given(&[0.5, -1.0], &given)?,
            &[sample(0.5, [3.0, -1.0]), sample(-1.0, [0.0, 2.0])].concat(),
        );
        // Planes behind the one channel of a picture, and behind the one of its code.
        let planes = counted(
            "input = [1, 2, 2]\nloss = \"mse\"\ncondition = { labels = 2 }\n\
             encoder = [{ conv2d = { out = 1, kernel = 1 } }]\ndecoder = [{ conv2d = { out = 1, kernel = 1 } }]\n",
            device.clone(),
        )?;
        let given = SideInputs::labels([1], 2);
        let expected: Vec<f64> = [1.0, 2.0, 3.0, 4.0].iter().map(|x| (x + 3.0 + 4.0) / 8.0).collect();
        exactly(&name, &planes.encode_given(&[1.0, 2.0, 3.0, 4.0], &given)?, &expected);
        let expected: Vec<f64> = expected.iter().map(|z| (5.0 * z + 7.0 + 8.0) / 8.0).collect();
        exactly(&name, &planes.reconstruct_given(&[1.0, 2.0, 3.0, 4.0], &given)?, &expected);
        // Behind the features of every step.
        let steps = counted(
            "input = [3, 1]\nloss = \"mse\"\ncondition = { vector = 1 }\nencoder = [{ linear = 1 }]\ndecoder = [{ linear = 1 }]\n",
            device.clone(),
        )?;
        let given = SideInputs::conditions(vec![10.0]);
        exactly(&name, &steps.encode_given(&[1.0, 2.0, 3.0], &given)?, &[3.0, 3.125, 3.25]);
    }
    Ok(())
}

/// What the encoder is told survives any corruption, and is all that it takes to know the mean of a label's samples.
#[test]
fn conditions_are_neither_corrupted_nor_given_back() -> Result<()> {
    let levels = [0.1f32, 0.4, 0.9];
    let labels: Vec<u8> = (0..60).map(|at| at % 3).collect();
    let values = labels.iter().flat_map(|label| [levels[usize::from(*label)]; 4]).collect();
    let data = Dataset::from_f32([4], values)?.with_labels(labels)?;
    let text = |condition: &str| {
        format!(
            "input = [4]\nloss = \"mse\"\ncorruption = {{ masking = 1.0 }}\ncondition = {condition}\n\
             encoder = [{{ linear = 2 }}]\ndecoder = [{{ linear = 4 }}]\n[train]\nbatch = 20\nepochs = 120\n\
             optimizer = {{ adam = {{ lr = 0.03 }} }}\n"
        )
    };
    let reached = |condition: &str| -> Result<f64> {
        let mut autoencoder = Autoencoder::new(spec(&text(condition)), Device::Cpu)?;
        autoencoder.fit(&data, None, &mut ())?;
        Ok(autoencoder.evaluate(&data)?.mse)
    };
    let (told, not_told) = (reached("{ labels = 3 }")?, reached("\"none\"")?);
    // Without it nothing better than the mean of all can be given back.
    assert!(told < 1e-4 && not_told > 0.1, "{told} and {not_told}");
    Ok(())
}

#[test]
fn devices_agree_on_conditional_models_of_every_kind() -> Result<()> {
    let bytes = digits(64, 3);
    let vectors: Vec<f32> = labels_of(&bytes).iter().flat_map(|label| [*label as f32 / 9.0, 1.0]).collect();
    let floats = float_digits(64, 3).with_conditions(Dataset::from_f32([2], vectors.clone())?)?;
    let mixed = bytes.clone().with_conditions(Dataset::from_f32([2], vectors)?)?;
    let vector = CONDITIONAL.replace("labels = 10", "vector = 2");
    let plain = CONDITIONAL.replace("{ gaussian = 5 }", "\"plain\"").replace("\"bernoulli\"", "\"mse\"");
    let cases = [
        (true, CONDITIONAL.to_owned(), &bytes),
        (false, CONDITIONAL.replace("gaussian = 5", "gaussian = { size = 5, samples = 3 }"), &bytes),
        (false, vector.clone(), &floats),
        (true, vector, &mixed),
        (false, plain.replace("encoder =", "corruption = { masking = 0.2 }\nencoder ="), &bytes),
        (false, plain.replace("\"plain\"", "{ wasserstein = 0.1 }"), &bytes),
        (
            false,
            plain.replace("\"plain\"", "\"plain\"\npenalties = { contractive = { weight = 0.1, projections = 1 } }"),
            &bytes,
        ),
        (
            true,
            "input = [1, 28, 28]\nloss = \"mse\"\ncondition = { labels = 10 }\n\
             encoder = [{ conv2d = { out = 3, kernel = 3, stride = 4, padding = 1 } }, \"relu\"]\n\
             decoder = [{ conv_transpose2d = { out = 1, kernel = 4, stride = 4 } }]\n[data]\naugment = { shift = 1 }\n\
             [train]\nbatch = 32\nepochs = 2\n"
                .to_owned(),
            &bytes,
        ),
    ];
    for (on_gpu, text, data) in cases {
        let network = network(&text);
        let read = ModelSpec::parse(&network.spec().to_toml(), "m.toml".as_ref()).expect("a model file");
        assert_eq!(&read, network.spec(), "{text}");
        let on = |device: &Device, options| train(&network, device, data, Some(data), options);
        let (cpu, exact) = (on(&Device::Cpu, Options::default()), on(&Device::CpuF64, Options::default()));
        expect_close("losses on the CPU", &cpu.losses, &exact.losses, 1e-3, Scale::Relative);
        if on_gpu {
            let found = on(&gpu(), Options::default());
            expect_close("losses on the GPU", &found.losses, &exact.losses, 1e-3, Scale::Relative);
        }
        let last = exact.reports.last().expect("a report");
        assert!(last.val_loss < exact.reports[0].val_loss, "{text}: {:?}", exact.reports);
        // In chunks of 32 samples of bytes or 8 of floats, to the same bits.
        let chunked = on(&Device::Cpu, Options { resident_bytes: Some(794 * 32 * 4 * 2), ..Options::default() });
        assert_eq!((chunked.losses, chunked.parameters), (cpu.losses, cpu.parameters), "{text}");
    }
    Ok(())
}

#[test]
fn conditional_models_draw_by_label_and_explore() -> Result<()> {
    let data = digits(300, 4);
    let mut autoencoder = Autoencoder::new(spec(&CONDITIONAL.replace("gaussian = 5", "gaussian = 2")), Device::Cpu)?;
    autoencoder.fit(&data, None, &mut ())?;
    let network = autoencoder.network().clone();
    let prior = autoencoder.prior()?;
    let all = autoencoder.generate_labels(&prior, 3, 5)?;
    assert_eq!(all.shape()[..], [30, 784]);
    // The row of label 7 is what is drawn of 7, from the same codes as every other row.
    let sevens = autoencoder.generate_given(&prior, 3, 5, &SideInputs::labels([7, 7, 7], 10))?;
    assert_eq!(sevens.to_f32(), all.to_f32()[21 * 784..24 * 784]);
    assert_ne!(all.to_f32()[..3 * 784], all.to_f32()[21 * 784..24 * 784]);
    // From one sample to another of another label, both as they are reconstructed.
    let samples = data.rows_f32(0..2);
    let given = network.given(&data, 0..2)?;
    let ends = autoencoder.reconstruct_given(&samples, &given)?.to_f64();
    let [first, second] = [0, 1].map(|at| network.given(&data, at..at + 1).expect("a label"));
    let [from, to] =
        [(&samples[..784], &first), (&samples[784..], &second)].map(|(values, given)| LatentEnd { values, given });
    let way = autoencoder.interpolate_given(from, to, 4, Default::default())?;
    expect_close("the first", &way.to_f64()[..784], &ends[..784], 1e-6, Scale::Absolute);
    expect_close("the last", &way.to_f64()[3 * 784..], &ends[784..], 1e-6, Scale::Absolute);
    assert_eq!(autoencoder.manifold_given(&prior, 4, &first)?.shape()[..], [16, 784]);
    assert_eq!(autoencoder.traverse_given(&prior, &[0.0, 0.0], &first, 2, 3)?.shape()[..], [6, 784]);
    // Statistics of codes, bounds and Jacobians take labels from the data.
    assert_eq!(CodeStatistics::of(&autoencoder, &data)?.mean().len(), 2);
    assert!(autoencoder.negative_log_likelihood(&data, 3)? > 0.0);
    assert!(autoencoder.jacobian_norm(&data)? > 0.0);

    let said = |result: Result<Tensor>| result.expect_err("an error").to_string();
    let missing = "condition: the model's is { labels = { count = 10 } }, but none is given with the samples; give one for each, \
                   as to Autoencoder::encode_given";
    assert_eq!(said(autoencoder.encode(&samples)), missing);
    assert_eq!(said(autoencoder.decode(&[0.0, 0.0])), missing);
    assert_eq!(said(autoencoder.generate(&prior, 2, 1)), missing);
    assert_eq!(
        said(autoencoder.decode_given(&[0.0, 0.0], &given)),
        "condition: 20 numbers are not 10 for each of 1 samples; give as many as the model's `condition` says"
    );
    let unlabelled = Dataset::from_f32([784], samples.clone())?;
    assert_eq!(
        autoencoder.evaluate(&unlabelled).expect_err("no labels").to_string(),
        "data \"data\": it has no labels, and the model's condition is labels = 10; give digits, a folder with MNIST's label \
         files, an .npz file with x and y, or a CSV file whose label column --label names"
    );
    let strange = unlabelled.clone().with_labels(vec![3, 10])?;
    assert_eq!(
        autoencoder.evaluate(&strange).expect_err("a label").to_string(),
        "data \"data\": has label 10, but the model's condition has 10, counted from 0; change the model's `condition`, or give \
         other data"
    );
    let vector = Network::new(spec(&CONDITIONAL.replace("labels = 10", "vector = 3")))?;
    assert_eq!(
        vector.rows(&data).expect_err("no vectors").to_string(),
        "data \"digits\": it has no conditions, and the model's is vector = 3; give an .npz file with the samples in x and a row \
         for each in conditions"
    );
    let plain = Autoencoder::new(spec(SMALL_DENSE), Device::Cpu)?;
    assert_eq!(
        said(plain.encode_given(&samples, &given)),
        "condition: 20 numbers are not 0 for each of 2 samples; give as many as the model's `condition` says"
    );
    let refused = ModelSpec::parse(&CONDITIONAL.replace("labels = 10", "labels = 65537"), "m.toml".as_ref());
    assert_eq!(
        refused.expect_err("too many").to_string(),
        "m.toml: line 3, condition.labels.count: there can be 65536 labels, not 65537; use fewer, or { vector = SIZE }"
    );
    Ok(())
}
