//! Numbers that stand beside a sample: conditions, pairs, and lengths of sequences.

use crate::support::*;
use pinhole::data::{Dataset, Reading, digits, load, load_pairs};
use pinhole::graph::{Graph, Value};
use pinhole::model::{ModelSpec, Network, SideInputs};
use pinhole::task::{CodeStatistics, LatentEnd};
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::{Options, evaluate};
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
    let places = layout.entries().iter().flat_map(|(_, shape, offset)| *offset..offset + shape.elements());
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

/// Sequences of 6 steps with 2 features, of which some steps are not there: what stands beyond is `beyond`.
fn sequences(count: usize, beyond: f32) -> (Vec<f32>, Vec<u32>) {
    let lengths: Vec<u32> = (0..count).map(|at| 1 + (at * 5 % 6) as u32).collect();
    let mut values = Vec::new();
    for (sample, length) in lengths.iter().enumerate() {
        for step in 0..6 {
            for feature in 0..2 {
                let value = ((sample * 7 + step * 3 + feature * 5) % 11) as f32 / 10.0;
                values.push(if step < *length as usize { value } else { beyond });
            }
        }
    }
    (values, lengths)
}

const RECURRENT: &str = "input = [6, 2]\nloss = \"mse\"\nencoder = [{ lstm = { out = 8, bidirectional = true } }, \
    { gru = { out = 5, last = true, bidirectional = true } }]\n\
    decoder = [{ repeat_vector = 6 }, { lstm = 8 }, { linear = 2 }]\n[train]\nbatch = 10\nepochs = 3\n\
    optimizer = { adam = { lr = 1e-2 } }\n";

#[test]
fn lengths_leave_out_what_stands_beyond_them() -> Result<()> {
    let texts = [
        RECURRENT.to_owned(),
        RECURRENT.replace("\"mse\"", "{ huber = { weight = 0.5, delta = 0.3 }, mae = 1.0, cosine = 0.1 }"),
        RECURRENT.replace("{ linear = 2 }]", "{ linear = 2 }, \"sigmoid\"]").replace("\"mse\"", "\"bce\""),
        RECURRENT
            .replace("{ linear = 2 }]", "{ linear = 2 }, \"sigmoid\"]")
            .replace("\"mse\"", "\"bernoulli\"\ncondition = { vector = 1 }\nlatent = { gaussian = { size = 3, samples = 2 } }"),
        RECURRENT.replace("\"mse\"", "\"mse\"\ncorruption = { gaussian = 0.1 }"),
        RECURRENT.to_owned() + "layers = [{ name = \"encoder.0\", activity_l1 = 0.1 }, { name = \"decoder.1\", activity_l2 = 0.1 }]\n",
        "input = [6, 2]\nloss = \"mse\"\nencoder = [{ linear = 4 }, \"learned_positions\", { attention = 2 }, \"flatten\", \
         { linear = 4 }]\ndecoder = [{ linear = 12 }]\n[train]\nbatch = 10\nepochs = 3\noptimizer = { adam = { lr = 1e-2 } }\n"
            .to_owned(),
    ];
    for text in texts {
        let network = network(&text);
        let data = |beyond: f32| -> Result<Dataset> {
            let (values, lengths) = sequences(30, beyond);
            let vectors = Dataset::from_f32([1], (0..30).map(|at| at as f32 / 30.0).collect())?;
            Dataset::from_f32([6, 2], values)?.with_lengths(lengths)?.with_conditions(vectors)
        };
        let (zeros, noise) = (data(0.0)?, data(0.77)?);
        let exact = train(&network, &Device::CpuF64, &zeros, Some(&zeros), Options::default());
        let reports = &exact.reports;
        // Nine steps say little of what is learnt from codes that are drawn.
        let falls = reports.last().expect("a report").train_loss < reports[0].train_loss;
        assert!(falls || network.spec().latent.is_drawn(), "{text}: {reports:?}");
        let on_gpu = text == RECURRENT || text.contains("attention");
        for device in [Some(Device::Cpu), on_gpu.then(gpu)].into_iter().flatten() {
            let trained = train(&network, &device, &zeros, Some(&zeros), Options::default());
            expect_close(&text, &trained.losses, &exact.losses, 1e-3, Scale::Relative);
            let other = train(&network, &device, &noise, Some(&noise), Options::default());
            assert_eq!(trained, other, "{text} on {}", device.name());
        }
    }
    Ok(())
}

/// Errors count each step that is there once, however samples are cut into batches; and beyond lengths are zeros.
#[test]
fn errors_are_means_over_steps_that_are_there() -> Result<()> {
    let (values, lengths) = sequences(30, 0.4);
    let data = Dataset::from_f32([6, 2], values.clone())?.with_lengths(lengths.clone())?;
    for device in fast_devices() {
        let mut found = Vec::new();
        for batch in [30, 7] {
            let network = network(&RECURRENT.replace("batch = 10", &format!("batch = {batch}")));
            found.push(evaluate(&network, &device, &initial(&network), &data)?);
        }
        let autoencoder = Autoencoder::new(spec(RECURRENT), device)?;
        let made = autoencoder.reconstruct_given(&values, &autoencoder.network().given(&data, 0..30)?)?.to_f64();
        let (mut squares, mut distances, mut count) = (0.0, 0.0, 0.0);
        for (sample, length) in lengths.iter().enumerate() {
            for at in 0..12 {
                let (made, value) = (made[sample * 12 + at], f64::from(values[sample * 12 + at]));
                if at < 2 * *length as usize {
                    squares += (made - value).powi(2);
                    distances += (made - value).abs();
                    count += 1.0;
                } else {
                    assert_eq!(made, 0.0);
                }
            }
        }
        for evaluation in &found {
            expect_close("mse", &[evaluation.mse], &[squares / count], 1e-5, Scale::Relative);
            expect_close("mae", &[evaluation.mae], &[distances / count], 1e-5, Scale::Relative);
            expect_close("valid", &[evaluation.parts["valid_steps"]], &[count / 360.0], 1e-5, Scale::Relative);
        }
        expect_close("one batch", &[found[0].loss], &[found[0].mse], 1e-5, Scale::Relative);
    }
    Ok(())
}

#[test]
fn recurrent_layers_are_pytorchs_of_packed_sequences() -> Result<()> {
    let tensors = Tensors::read(&fixture("lengths.safetensors"));
    let lengths = tensors.f32("lengths");
    for device in all_devices() {
        let tolerance = if matches!(device, Device::CpuF64) { 1e-12 } else { 1e-5 };
        for (cell, bidirectional, last) in [("lstm", false), ("lstm", true), ("gru", false), ("gru", true)]
            .into_iter()
            .flat_map(|(cell, both)| [(cell, both, false), (cell, both, true)])
        {
            let case = if bidirectional { format!("{cell}-bidirectional") } else { cell.to_owned() };
            let part = format!("{case}.{}", if last { "last" } else { "all" });
            let network = network(&format!(
                "input = [6, 3]\nloss = \"mse\"\nencoder = [{{ {cell} = {{ out = 4, bidirectional = {bidirectional}, last = {last} }} }}]\n\
                 decoder = [\"flatten\", {{ linear = 18 }}]\n"
            ));
            let tensor = |name: &str| Tensor::new(tensors.shape(name).to_vec(), Values::F64(tensors.f64(name)));
            let mut graph = Graph::new();
            let x = graph.input("x", [4, 6, 3], DType::Float)?;
            let mask = graph.input("mask", [4, 6], DType::Float)?;
            graph.set_mask(mask);
            let y = network.encode(&mut graph, x)?;
            let upstream = graph.input("g", tensors.shape(&format!("{part}.grad_output")).to_vec(), DType::Float)?;
            let product = graph.multiply(y, upstream)?;
            let axes: Vec<usize> = (0..graph.shape(product).len()).collect();
            let loss = graph.sum(product, &axes)?;
            let steps = (0..24).map(|at| f64::from(u8::from(((at % 6) as f32) < lengths[at / 6]))).collect();
            let mut inputs = vec![
                ("x", tensor(&format!("{case}.input"))?),
                ("mask", Tensor::new([4, 6], Values::F64(steps))?),
                ("g", tensor(&format!("{part}.grad_output"))?),
            ];
            let entries: Vec<_> =
                network.layout().entries().iter().filter(|(name, ..)| name.starts_with("encoder.")).collect();
            let mut wanted = vec![("grad_input".to_owned(), x)];
            for (name, shape, _) in &entries {
                let key = name.trim_start_matches("encoder.0.");
                inputs.push((name, tensor(&format!("{case}.{key}"))?));
                wanted.push((format!("grad.{key}"), graph.parameter(name, shape.clone())?));
            }
            let values: Vec<Value> = wanted.iter().map(|(_, value)| *value).collect();
            let mut outputs = vec![y];
            outputs.extend(graph.gradients(loss, &values)?);
            let results = device.compute(&graph, &outputs, &inputs)?;
            let names = std::iter::once("output".to_owned()).chain(wanted.into_iter().map(|(name, _)| name));
            for (name, result) in names.zip(&results) {
                let what = format!("{part}.{name}");
                let expected = tensors.f64(&what);
                expect_close(
                    &format!("{what} on {}", device.name()),
                    &result.to_f64(),
                    &expected,
                    tolerance,
                    Scale::AtLeastOne,
                );
            }
        }
    }
    Ok(())
}

#[test]
fn senseless_lengths_are_refused() -> Result<()> {
    let (values, lengths) = sequences(4, 0.0);
    let data = Dataset::from_f32([6, 2], values)?;
    let said = |lengths: Vec<u32>| data.clone().with_lengths(lengths).expect_err("an error").to_string();
    assert_eq!(said(vec![1, 2]), "lengths: 2 lengths given for 4 samples; give one for each sample");
    assert_eq!(said(vec![1, 2, 7, 3]), "lengths: that of sample 2, counted from 0, is 7; give 1 to 6");
    assert_eq!(said(vec![1, 0, 6, 3]), "lengths: that of sample 1, counted from 0, is 0; give 1 to 6");
    let data = data.with_lengths(lengths)?;
    let refused = |text: &str| network(text).rows(&data).expect_err("an error").to_string();
    assert_eq!(
        refused("input = [12]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 12 }]\n"),
        "data \"data\": it says how long each sequence [6, 2] is, but the model's input is [12]; use a model whose input is \
         [steps, features], or name one array, as in FILE.npz:x"
    );
    assert_eq!(
        refused(&RECURRENT.replace("\"mse\"", "\"gaussian\"")),
        "data \"data\": it says how long each sequence is, which \"gaussian\" cannot regard; use mse, mae, huber, bce, bernoulli \
         or cosine"
    );
    assert_eq!(
        refused(&RECURRENT.replace("encoder = [", "encoder = [\"flatten\", { unflatten = [4, 3] }, ")),
        "data \"data\": it says how long each sequence of 6 steps is, but \"encoder.2.lstm\" gets others; let recurrent layers and \
         attention see the model's own steps"
    );
    for latent in
        ["{ top_k = { k = 4, auxiliary = 0, unit_norm = false } }", "{ vector_quantised = 4 }", "\"wasserstein\""]
    {
        let text = format!(
            "input = [6, 2]\nloss = \"mse\"\nlatent = {latent}\nencoder = [{{ linear = 8 }}]\ndecoder = [{{ linear = 2 }}]\n"
        );
        assert_eq!(
            refused(&text),
            "data \"data\": it says how long each sequence is, but steps beyond would count in codes [6, 8]; let the encoder \
             leave one vector, by a recurrent layer with last = true, say"
        );
    }
    Ok(())
}

#[test]
fn archives_have_conditions_and_lengths() -> Result<()> {
    let folder = folder();
    let float = |shape: &str, values: &[f32]| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        crate::arrays::npy(&header, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let whole = |values: &[i64]| {
        let header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}\n", values.len());
        crate::arrays::npy(&header, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let write = |name: &str, files: &[(&str, &[u8])]| {
        let path = folder.path().join(name);
        std::fs::write(&path, crate::arrays::zip(files)).expect("a file");
        path.display().to_string()
    };
    let (x, conditions) = (float("(2, 3, 1)", &[0.0; 6]), float("(2, 2)", &[1.0, 2.0, 3.0, 4.0]));
    let path = write("all.npz", &[("x.npy", &x), ("conditions.npy", &conditions), ("lengths.npy", &whole(&[3, 1]))]);
    let data = load(&path)?.train;
    assert_eq!(data.lengths(), Some(&[3, 1][..]));
    assert_eq!(data.conditions().expect("conditions").rows_f32(0..2), [1.0, 2.0, 3.0, 4.0]);
    let one = data.take(1);
    assert_eq!((one.lengths(), one.conditions().map(Dataset::len)), (Some(&[3][..]), Some(1)));
    let bad = write("bad.npz", &[("x.npy", &x), ("lengths.npy", &whole(&[3, 4]))]);
    let said = load(&bad).expect_err("too long").to_string();
    assert!(
        said.ends_with("bad.npz: array \"lengths\": that of sample 1, counted from 0, is 4; give 1 to 3"),
        "{said}"
    );
    let bad = write("worse.npz", &[("x.npy", &x), ("conditions.npy", &whole(&[3, 4, 5]))]);
    let said = load(&bad).expect_err("three").to_string();
    assert!(
        said.ends_with("worse.npz: array \"conditions\": 3 conditions given for 2 samples; give one for each sample"),
        "{said}"
    );
    Ok(())
}
