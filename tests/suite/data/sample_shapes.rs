//! Shapes of samples beside a model's input: the input decides how an array is read, and what has as many numbers in another
//! shape is refused wherever samples go into a model.

use crate::support::*;
use crate::temp::*;
use expect_test::{Expect, expect};
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::{Arrangement, Dataset, Reading, arrangement, fits_code, load, load_with};
use pinhole::error::Result;
use pinhole::plan::LayoutEntry;
use pinhole::shape::Shape;
use pinhole::task::Ensemble;
use pinhole::train::{Options, Trainer};
use pinhole::{Autoencoder, Device};

fn counting(count: usize) -> Vec<f32> {
    (0..count).map(|k| k as f32 / count as f32).collect()
}

fn says<T>(result: Result<T>, expected: Expect) {
    expected.assert_eq(&result.err().expect("an error").to_string());
}

/// A linear model of pictures of 4 rows of 6, whose layers can be pretrained.
const ROWS: &str = "input = [1, 4, 6]\nloss = \"mse\"\nencoder = [\"flatten\", { linear = 3 }]\n\
                    decoder = [{ linear = 24 }, { unflatten = [1, 4, 6] }]\n[train]\nbatch = 4\nepochs = 1\n";

#[test]
fn the_input_decides_how_a_sample_lies() {
    use Arrangement::{ChannelsLast, Unchanged};
    let lies = |sample: &[usize], input: &[usize]| arrangement(&sample.into(), &input.into());
    for (sample, input) in [
        (&[2, 5, 3][..], &[2, 5, 3][..]),
        (&[3, 3, 3], &[3, 3, 3]),
        (&[30], &[2, 5, 3]),
        (&[1, 30], &[2, 5, 3]),
        (&[2, 5, 3], &[30]),
        (&[5, 3, 2], &[30]),
        (&[28, 28], &[1, 28, 28]),
        (&[1, 28, 28], &[28, 28]),
        (&[28, 28, 1], &[1, 28, 28]),
        // Both fit where sizes of 1 leave no other order.
        (&[1, 5, 5], &[5, 1, 5]),
        (&[1], &[1]),
    ] {
        assert_eq!(lies(sample, input), Some(Unchanged), "{sample:?} {input:?}");
    }
    for (sample, input) in [(&[5, 3, 2], &[2, 5, 3]), (&[28, 20, 4], &[4, 28, 20]), (&[1, 5, 2], &[2, 1, 5])] {
        assert_eq!(lies(sample, input), Some(ChannelsLast), "{sample:?} {input:?}");
    }
    for (sample, input) in [
        (&[1, 28, 20][..], &[1, 20, 28][..]),
        (&[28, 20], &[20, 28]),
        (&[5, 2, 3], &[2, 5, 3]),
        (&[3, 2, 5], &[2, 5, 3]),
        (&[7, 4], &[4, 7]),
        (&[1, 28, 28], &[49, 16]),
        (&[2, 2, 2], &[3, 2, 2]),
        (&[usize::MAX, 2], &[usize::MAX, 3]),
    ] {
        assert_eq!(lies(sample, input), None, "{sample:?} {input:?}");
    }
    let code = |code: &[usize], latent: &[usize]| fits_code(code, &latent.into());
    assert!(code(&[8, 2, 2], &[8, 2, 2]) && code(&[32], &[8, 2, 2]) && code(&[1, 6], &[6]) && code(&[], &[1]));
    assert!(!code(&[2, 2, 8], &[8, 2, 2]) && !code(&[2, 3], &[6]) && !code(&[5], &[6]));
}

#[test]
fn arrays_are_read_as_the_input_says() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.npy").display().to_string();
    let read = |shape: &[usize], input: &[usize]| -> Result<Dataset> {
        write_npy(&path, &shape.into(), &counting(shape.iter().product()))?;
        Ok(load_with(&path, &Reading { input: Some(input.into()), ..Reading::default() })?.train)
    };
    // As they lie, whatever the last axis is.
    for (shape, input) in [
        (&[20, 2, 5, 3][..], &[2, 5, 3][..]),
        (&[4, 30], &[2, 5, 3]),
        (&[4, 2, 5, 3], &[30]),
        (&[4, 28, 28], &[1, 28, 28]),
        (&[4, 28, 28, 1], &[1, 28, 28]),
        (&[4, 28, 28, 1], &[28, 28]),
    ] {
        assert_eq!(read(shape, input)?.rows_f32(0..shape[0]), counting(shape.iter().product()), "{shape:?} {input:?}");
    }
    // Channels last, of any number, where that alone fits.
    for (height, width, channels) in [(2, 2, 3), (5, 3, 2), (3, 4, 7), (1, 3, 2)] {
        let data = read(&[2, height, width, channels], &[channels, height, width])?;
        assert_eq!(data.sample_shape(), &Shape::from([channels, height, width]));
        let all = counting(2 * height * width * channels);
        let sample = data.rows_f32(1..2);
        for (at, value) in sample.iter().enumerate() {
            let (channel, pixel) = (at / (height * width), at % (height * width));
            assert_eq!(*value, all[sample.len() + pixel * channels + channel], "{height} {width} {channels} {at}");
        }
    }
    says(
        read(&[12, 28, 20], &[1, 20, 28]),
        expect![[
            r#"data "a.npy": its samples are [1, 28, 20], the model's input is [1, 20, 28]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    says(
        read(&[12, 9, 4], &[4, 9]),
        expect![[
            r#"data "a.npy": its samples are [1, 9, 4], the model's input is [4, 9]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    says(
        read(&[12, 3, 2, 5], &[2, 5, 3]),
        expect![[
            r#"data "a.npy": its samples are [3, 2, 5], the model's input is [2, 5, 3]; choose other data, or change the model's `input` and layers"#
        ]],
    );

    // An archive's parts may lie differently, as long as each fits; its conditions are nobody's pictures.
    let parts = |train: &[usize], test: &[usize]| {
        let array = |shape: &[usize]| {
            write_npy(&path, &shape.into(), &counting(shape.iter().product())).expect("a file");
            std::fs::read(&path).expect("a file")
        };
        let zip = crate::data::arrays::zip(&[
            ("x_train.npy", &array(train)),
            ("x_test.npy", &array(test)),
            ("conditions_train.npy", &array(&[train[0], 2, 2, 3])),
        ]);
        std::fs::write(folder.path().join("a.npz"), zip).expect("a file");
        let reading = Reading { input: Some([3, 2, 4].into()), ..Reading::default() };
        load_with(&folder.path().join("a.npz").display().to_string(), &reading)
    };
    let splits = parts(&[6, 2, 4, 3], &[2, 3, 2, 4])?;
    assert_eq!(splits.train.sample_shape(), splits.test.as_ref().expect("a test part").sample_shape());
    assert_eq!(splits.train.conditions().expect("conditions").rows_f32(0..6), counting(72));
    assert_eq!(parts(&[6, 3, 2, 4], &[2, 24])?.test.expect("a test part").rows_f32(0..2), counting(48));
    let said = parts(&[6, 3, 2, 4], &[2, 4, 2, 3]).expect_err("another shape").to_string();
    expect![[r#"a.npz: array "x_test" has samples of shape [4, 2, 3], but "x_train" of [3, 2, 4]; give a.npz:x_train to do without it"#]].assert_eq(&said.replace(&format!("{}/", folder.path().display()), ""));
    Ok(())
}

#[test]
fn the_library_refuses_samples_of_another_shape() -> Result<()> {
    let mut autoencoder = Autoencoder::new(spec(&ROWS.replace("1, 4, 6", "3, 2, 4")), Device::Cpu)?;
    let shaped = |shape: [usize; 3]| Dataset::from_f32(shape, counting(240));
    let [good, flat] = [shaped([3, 2, 4])?, Dataset::from_f32([24], counting(240))?];
    let [turned, last] = [shaped([3, 4, 2])?, shaped([2, 4, 3])?];
    says(
        autoencoder.fit(&turned, None, &mut ()),
        expect![[
            r#"data "data": its samples are [3, 4, 2], the model's input is [3, 2, 4]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    says(
        autoencoder.fit(&good, Some(&turned), &mut ()),
        expect![[
            r#"data "data": its samples are [3, 4, 2], the model's input is [3, 2, 4]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    says(
        autoencoder.fit(&last, None, &mut ()),
        expect![[
            r#"data "data": its samples are [2, 4, 3], the model's input is [3, 2, 4]; put the channels first: Dataset::for_input does so"#
        ]],
    );
    says(
        autoencoder.evaluate(&turned),
        expect![[
            r#"data "data": its samples are [3, 4, 2], the model's input is [3, 2, 4]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    says(
        good.clone().with_targets(turned.clone()),
        expect!["targets: they are [3, 4, 2], the samples [3, 2, 4]; give targets of the samples' shape"],
    );
    says(
        good.clone().for_input(&[2, 3, 4].into()),
        expect![[
            r#"data "data": its samples are [3, 2, 4], the model's input is [2, 3, 4]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    let network = autoencoder.network().clone();
    assert!(Trainer::new(&network, &Device::Cpu, &turned, None, Options::default()).is_err());
    // What is right, and what was made right.
    let reports = autoencoder.fit(&flat, Some(&good), &mut ())?;
    assert_eq!(reports.len(), 1);
    let first = last.for_input(&[3, 2, 4].into())?;
    assert_eq!(first.rows_f32(0..1)[..4], [0, 3, 6, 9].map(|k| k as f32 / 240.0));
    autoencoder.evaluate(&first)?;
    // The same targets beside flat samples, which do not say how they lie.
    autoencoder.evaluate(&flat.clone().with_targets(good.clone())?)?;
    says(
        autoencoder.evaluate(&flat.with_targets(turned.clone())?),
        expect![[
            r#"data "data": its samples are [3, 4, 2], the model's input is [3, 2, 4]; choose other data, or change the model's `input` and layers"#
        ]],
    );
    let other = Autoencoder::new(spec(&ROWS.replace("1, 4, 6", "3, 4, 2")), Device::Cpu)?;
    says(
        Ensemble::new(vec![&autoencoder, &other]).map(|_| ()),
        expect![
            "ensemble: its members take samples of [3, 2, 4] and of [3, 4, 2]; choose models that were trained on the same data"
        ],
    );
    let same = Autoencoder::new(spec(&ROWS.replace("1, 4, 6", "3, 2, 4")), Device::Cpu)?;
    let ensemble = Ensemble::new(vec![&autoencoder, &same])?;
    assert!(ensemble.reconstruct(&turned, 0..2).is_err() && ensemble.reconstruct(&good, 0..2).is_ok());
    Ok(())
}

#[test]
fn an_identity_gives_an_arrays_numbers_back_in_their_order() {
    let place = Place::new();
    let identity = "input = [2, 5, 3]\nloss = \"mse\"\nencoder = [{ conv2d = { out = 2, kernel = 1 } }]\n\
                    decoder = [{ conv2d = { out = 2, kernel = 1 } }]\n[train]\nbatch = 4\nepochs = 1\nvalidation = 0\n";
    place.write("same.toml", format!("{identity}optimizer = {{ sgd = {{ lr = 1e-30 }} }}\n").as_bytes());
    let mut autoencoder =
        Autoencoder::new(pinhole::model::ModelSpec::read(&place.path("same.toml")).expect("a model"), Device::Cpu)
            .expect("a model");
    let mut values = vec![0.0; autoencoder.network().layout().elements()];
    for LayoutEntry { offset, .. } in
        autoencoder.network().layout().entries().iter().filter(|entry| entry.name.ends_with("weight"))
    {
        (values[*offset], values[*offset + 3]) = (1.0, 1.0);
    }
    autoencoder.set_parameters(pinhole::tensor::Values::F32(values)).expect("parameters");
    autoencoder.save_weights(place.path("eye.safetensors")).expect("a file");
    let values = counting(20 * 30);
    write_npy(place.path("first.npy"), &[20, 2, 5, 3].into(), &values).expect("a file");
    let mut last = vec![0.0; values.len()];
    for (at, value) in values.iter().enumerate() {
        let (sample, channel, pixel) = (at / 30, at / 15 % 2, at % 15);
        last[sample * 30 + pixel * 2 + channel] = *value;
    }
    write_npy(place.path("last.npy"), &[20, 5, 3, 2].into(), &last).expect("a file");
    write_npy(place.path("flat.npy"), &[20, 30].into(), &values).expect("a file");
    place.ok("train --model same.toml --data first.npy --init eye.safetensors --device cpu --out run");
    for file in ["first.npy", "last.npy", "flat.npy"] {
        place.ok(&format!("encode run {file} codes.npy --device cpu"));
        let codes = read_npy(place.path("codes.npy")).expect("codes");
        assert_eq!((codes.shape(), codes.to_f32()), (&Shape::from([20, 2, 5, 3]), values.clone()), "{file}");
        place.ok(&format!("reconstruct run {file} copies.npy --device cpu"));
        assert_eq!(read_npy(place.path("copies.npy")).expect("copies").to_f32(), values, "{file}");
        let said = place.ok(&format!("eval run --data {file} --device cpu --json")).stdout;
        assert!(said.contains("\"mse\":0.0"), "{file}: {said}");
    }
    // Codes of another shape are refused too, and flat ones are welcome.
    place.ok("decode run flat.npy copies.npy --device cpu");
    assert_eq!(read_npy(place.path("copies.npy")).expect("copies").to_f32(), values);
    expect![[r#"data "last.npy": its shape is [20, 5, 3, 2], the model's codes are [2, 5, 3] each; give [n, 2, 5, 3], or [n, 30]"#]].assert_eq(&place.failure("decode run last.npy copies.npy --device cpu"));
}

#[test]
fn every_command_refuses_samples_of_another_shape() {
    let place = Place::new();
    place.write("rows.toml", ROWS.as_bytes());
    let bits = ROWS.replace("decoder", "latent = \"binary\"\ndecoder");
    place.write("bits.toml", bits.as_bytes());
    let search = "model = \"rows.toml\"\ndata = \"turned.npy\"\nmethod = \"grid\"\n[space]\n\"train.seed\" = [1, 2]\n";
    place.write("space.toml", search.as_bytes());
    write_npy(place.path("good.npy"), &[20, 4, 6].into(), &counting(480)).expect("a file");
    write_npy(place.path("turned.npy"), &[20, 6, 4].into(), &counting(480)).expect("a file");
    place.ok("train --model rows.toml --data good.npy --device cpu --out run");
    place.ok("train --model bits.toml --data good.npy --device cpu --out bits");
    let refused = "data \"turned.npy\": its samples are [1, 6, 4], the model's input is [1, 4, 6]; choose other data, or \
                   change the model's `input` and layers";
    for command in [
        "train --model rows.toml --data turned.npy --out x",
        "train --model rows.toml --data good.npy --targets turned.npy --out x",
        "eval run --data turned.npy",
        "eval run --data good.npy --targets turned.npy",
        "encode run turned.npy x.npy",
        "reconstruct run turned.npy x.npy",
        "generate run --data turned.npy",
        "traverse run --data turned.npy",
        "interpolate run 0 1 --data turned.npy",
        "interpolate run turned.npy good.npy",
        "search bits turned.npy --data good.npy",
        "search bits good.npy --data turned.npy",
        "pretrain rows.toml --data turned.npy --out x",
        "classify run --data turned.npy --out x",
        "train --resume --out run --data turned.npy --epochs 2",
    ] {
        assert_eq!(place.failure(&format!("{command} --device cpu")), refused, "{command}");
    }
    let said = place.run("tune space.toml --out x --device cpu");
    assert_eq!((said.code, said.stderr.lines().last()), (Some(1), Some(&*format!("error: {refused}"))), "{said:?}");
    assert!(!place.path("x").exists() && !place.path("x.npy").exists(), "nothing is left behind");
}

/// A flat input does not say which axis is which, so the run keeps it.
#[test]
fn a_flat_model_takes_later_samples_in_the_order_that_it_was_trained_on() {
    let place = Place::new();
    let flat = "input = [48]\nloss = \"mse\"\nencoder = [{ linear = 3 }]\ndecoder = [{ linear = 48 }]\n[train]\nbatch = 4\nepochs = 1\n";
    place.write("flat.toml", flat.as_bytes());
    for (name, shape) in [("last", &[20, 4, 4, 3][..]), ("first", &[20, 3, 4, 4]), ("flat", &[20, 48])] {
        write_npy(place.path(&format!("{name}.npy")), &shape.into(), &counting(960)).expect("a file");
    }
    place.ok("train --model flat.toml --data last.npy --device cpu --out run");
    assert!(place.names("run").contains(&"reconstructions.png".to_owned()), "they are pictures");
    place.ok("reconstruct run last.npy grid.png --device cpu");
    place.ok("eval run --data flat.npy --device cpu");
    expect![[r#"data "first.npy": its samples are [3, 4, 4], the run was trained on [4, 4, 3]; give samples of that shape, or flat ones in the same order"#]].assert_eq(&place.failure("eval run --data first.npy --device cpu"));
    place.ok("train --model flat.toml --data flat.npy --device cpu --out any");
    place.ok("eval any --data first.npy --device cpu");
    // A plain load keeps them as they are too.
    let data = load(&place.path("last.npy").display().to_string()).expect("data").train;
    assert_eq!((data.sample_shape(), data.rows_f32(0..20)), (&Shape::from([4, 4, 3]), counting(960)));
}
