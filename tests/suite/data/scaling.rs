//! How numbers are scaled: losses refuse what they do not take, and a run refuses data that is scaled otherwise than what it
//! was trained on, or brings it there.

use crate::data::arrays::{npy, zip};
use crate::support::*;
use crate::temp::*;
use expect_test::{Expect, expect};
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::{Dataset, Samples, Scaling, SparseRows, load, ratings};
use pinhole::error::Result;
use pinhole::model::Network;
use pinhole::train::{Options, Trainer, evaluate};
use pinhole::{Autoencoder, Device};
use std::convert::Infallible;

/// A model of eight numbers, with what ends the decoder and what follows.
fn eight(loss: &str, end: &str, rest: &str) -> String {
    format!(
        "input = [8]\nloss = {loss}\nencoder = [{{ linear = 2 }}]\ndecoder = [{{ linear = 8 }}{end}]\n{rest}\n[train]\n\
         batch = 4\nepochs = 1\n"
    )
}

/// Numbers from `least` to `most`, as many as sixteen samples of eight have.
fn between(least: f32, most: f32) -> Vec<f32> {
    (0..128).map(|k| if k == 127 { most } else { least + (most - least) * k as f32 / 127.0 }).collect()
}

fn floats(values: Vec<f32>) -> Dataset {
    Dataset::from_f32([8], values).expect("data")
}

fn trains(model: &str, data: &Dataset, validation: Option<&Dataset>) -> Result<()> {
    let network = Network::new(spec(model))?;
    Trainer::new(&network, &Device::Cpu, data, validation, Options::default()).map(|_| ())
}

fn says<T>(result: Result<T>, expected: Expect) {
    expected.assert_eq(&result.err().expect("an error").to_string());
}

const SIGMOID: &str = ", \"sigmoid\"";

// ---- losses

#[test]
fn losses_of_probabilities_refuse_other_numbers_before_the_first_step() -> Result<()> {
    let bytes = floats((0..128).map(|k| (k * 2 % 256) as f32).collect());
    let [unit, standardised] = [floats(between(0.0, 1.0)), floats(between(-2.5, 3.0))];
    says(
        trains(&eight("\"bce\"", SIGMOID, ""), &bytes, None),
        expect![[
            r#"data "data": its numbers reach from 0 to 254, but loss "bce" takes numbers from 0 to 1; save them as bytes, or divide them by 255, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("\"bernoulli\"", SIGMOID, ""), &standardised, None),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but loss "bernoulli" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("\"continuous_bernoulli\"", SIGMOID, ""), &floats(between(0.0, 16.0)), None),
        expect![[
            r#"data "data": its numbers reach from 0 to 16, but loss "continuous_bernoulli" takes numbers from 0 to 1; divide them by 16, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("\"cross_entropy\"", "", ""), &floats(between(0.25, 250.5)), None),
        expect![[
            r#"data "data": its numbers reach from 0.25 to 250.5, but loss "cross_entropy" takes numbers from 0 to 1; divide them by 255, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("{ mse = 1.0, bce = 0.1 }", SIGMOID, ""), &floats(between(0.0, 1.5)), None),
        expect![[
            r#"data "data": its numbers reach from 0 to 1.5, but loss "bce" takes numbers from 0 to 1; divide them by 1.5, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("\"multinomial\"", "", ""), &standardised, None),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but loss "multinomial" takes numbers of at least 0; remove the negative ones, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("{ multinomial = 1.0, cross_entropy = 1.0 }", "", ""), &bytes, None),
        expect![[
            r#"data "data": its numbers reach from 0 to 254, but loss "cross_entropy" takes numbers from 0 to 1; save them as bytes, or divide them by 255, or use a loss of any numbers, such as "mse""#
        ]],
    );
    // What is validated on, and what is evaluated, too.
    let bce = eight("\"bce\"", SIGMOID, "");
    says(
        trains(&bce, &unit, Some(&standardised)),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but loss "bce" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or use a loss of any numbers, such as "mse""#
        ]],
    );
    let network = Network::new(spec(&bce))?;
    says(
        evaluate(&network, &Device::Cpu, &initial(&network), &bytes),
        expect![[
            r#"data "data": its numbers reach from 0 to 254, but loss "bce" takes numbers from 0 to 1; save them as bytes, or divide them by 255, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        Autoencoder::new(spec(&bce), Device::Cpu)?.fit(&bytes, None, &mut ()),
        expect![[
            r#"data "data": its numbers reach from 0 to 254, but loss "bce" takes numbers from 0 to 1; save them as bytes, or divide them by 255, or use a loss of any numbers, such as "mse""#
        ]],
    );
    // The targets decide, not what the encoder sees.
    trains(&bce, &standardised.clone().with_targets(unit.clone())?, None)?;
    says(
        trains(&bce, &unit.clone().with_targets(standardised.clone())?, None),
        expect![[
            r#"data "data": its targets reach from -2.5 to 3, but loss "bce" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or use a loss of any numbers, such as "mse""#
        ]],
    );
    // What is fine: bytes, rounding, counts, and other losses.
    trains(&bce, &Dataset::from_u8([8], vec![255; 128])?, None)?;
    trains(&bce, &floats(between(-5e-7, 1.000_000_5)), None)?;
    trains(&eight("\"multinomial\"", "", ""), &bytes, None)?;
    for loss in ["mse", "mae", "huber", "cosine", "gaussian"] {
        trains(&eight(&format!("\"{loss}\""), "", ""), &standardised, None)?;
    }
    Ok(())
}

#[test]
fn numbers_that_become_binary_need_no_range_unless_they_are_probabilities() -> Result<()> {
    let [unit, standardised] = [floats(between(0.0, 1.0)), floats(between(-2.5, 3.0))];
    let model = |loss: &str, end: &str, how: &str| eight(loss, end, &format!("[data]\nbinarise = \"{how}\""));
    trains(&model("\"bce\"", SIGMOID, "threshold"), &standardised, None)?;
    trains(&model("\"bce\"", SIGMOID, "stochastic"), &unit, None)?;
    says(
        trains(&model("\"bce\"", SIGMOID, "stochastic"), &standardised, None),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but binarise = "stochastic" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or leave binarise out"#
        ]],
    );
    // Whatever the loss, and for what the encoder sees beside other targets.
    says(
        trains(&model("\"mse\"", "", "stochastic"), &standardised, None),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but binarise = "stochastic" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or leave binarise out"#
        ]],
    );
    says(
        trains(&model("\"mse\"", "", "stochastic"), &standardised.with_targets(unit)?, None),
        expect![[
            r#"data "data": its numbers reach from -2.5 to 3, but binarise = "stochastic" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or leave binarise out"#
        ]],
    );
    Ok(())
}

#[test]
fn sparse_rows_streams_and_steps_beyond_a_length_are_looked_at_as_they_are_used() -> Result<()> {
    let rows =
        |value: f32| SparseRows::new(8, (0..8).map(|k| vec![(k, 1.0), ((k + 1) % 8, value)])).map(Dataset::from_sparse);
    let multinomial = eight("\"multinomial\"", "", "");
    trains(&multinomial, &rows(5.0)?, None)?;
    says(
        trains(&multinomial, &rows(-1.0)?, None),
        expect![[
            r#"data "data": its numbers reach from -1 to 1, but loss "multinomial" takes numbers of at least 0; remove the negative ones, or use a loss of any numbers, such as "mse""#
        ]],
    );
    says(
        trains(&eight("\"bernoulli\"", SIGMOID, ""), &rows(5.0)?, None),
        expect![[
            r#"data "data": its numbers reach from 0 to 5, but loss "bernoulli" takes numbers from 0 to 1; divide them by 5, or use a loss of any numbers, such as "mse""#
        ]],
    );

    let stream = |last: f32| {
        let samples = move |_| {
            (0..8).map(move |k| {
                Ok::<_, Infallible>(if k == 6 { vec![0.5, 0.0, last, 0.5, 0.5, 0.5, 1.0, 0.5] } else { vec![0.5; 8] })
            })
        };
        Dataset::from_stream([8], 8, samples)
    };
    let bce = spec(&eight("\"bce\"", SIGMOID, ""));
    let mut autoencoder = Autoencoder::new(bce, Device::Cpu)?;
    autoencoder.fit(&stream(1.0)?, None, &mut ())?;
    says(
        autoencoder.fit(&stream(255.0)?, None, &mut ()),
        expect![[
            r#"data "data": sample 6, element 2 is 255 (epoch 0), but loss "bce" takes numbers from 0 to 1; scale them, or use a loss of any numbers, such as "mse""#
        ]],
    );

    let sequences = "input = [4, 2]\nloss = \"bce\"\nencoder = [{ lstm = { out = 3, last = true } }]\n\
                     decoder = [{ repeat_vector = 4 }, { linear = 2 }, \"sigmoid\"]\n[train]\nbatch = 2\nepochs = 1\n";
    let mut values = vec![0.5; 32];
    values[30..].fill(-1.0);
    let data = Dataset::from_f32([4, 2], values)?;
    trains(sequences, &data.clone().with_lengths(vec![4, 4, 4, 3])?, None)?;
    says(
        trains(sequences, &data.with_lengths(vec![3, 4, 4, 4])?, None),
        expect![[
            r#"data "data": its numbers reach from -1 to 0.5, but loss "bce" takes numbers from 0 to 1; scale them to 0 to 1 by (x - min) / (max - min), or use a loss of any numbers, such as "mse""#
        ]],
    );
    Ok(())
}

// ---- a run and later data

/// What a run that was trained on some samples makes of others: `-` as they are, `n` bytes as numbers, `x` refused.
fn verdict(trained: &Dataset, later: &Dataset) -> char {
    match Samples::of(trained).convert(later.clone()) {
        Ok(data) if data == *later => '-',
        Ok(data) => {
            let expected: Vec<f32> = later.rows_f32(0..16).iter().map(|value| (value * 255.0).round()).collect();
            assert_eq!(data.rows_f32(0..16), expected);
            'n'
        }
        Err(_) => 'x',
    }
}

#[test]
fn later_data_is_scaled_like_what_a_run_was_trained_on_or_refused() -> Result<()> {
    let bytes = |most: u8| {
        Dataset::from_u8([8], (0..128).map(|k| if k == 0 { most } else { k as u8 % (most / 2 + 1) }).collect())
    };
    let whole =
        |most: usize| floats((0..128).map(|k| if k == 0 { most as f32 } else { (k % most.max(1)) as f32 }).collect());
    let kinds = [
        ("bytes", bytes(255)?),
        ("bytes 0 and 1", bytes(1)?),
        ("0 to 1", floats(between(0.0, 1.0))),
        ("0 and 1", whole(1)),
        ("reconstructions", floats(between(-0.4, 1.3))),
        ("-1 to 1", floats(between(-1.0, 1.0))),
        ("standardised", floats(between(-2.5, 3.0))),
        ("0 to 16", whole(16)),
        ("0 to 255, whole", whole(255)),
        ("0 to 255", floats(between(0.0, 255.0))),
        ("outliers", floats(between(-4.0, 900.0))),
    ];
    let mut table = String::new();
    for (name, trained) in &kinds {
        let row: Vec<String> = kinds.iter().map(|(_, later)| verdict(trained, later).to_string()).collect();
        table += &format!("{name:<16} {}\n", row.join(" "));
    }
    expect![[r#"
        bytes            - - - - - x x x x x x
        bytes 0 and 1    - - x x x x x x x x x
        0 to 1           - - - - - - - - x - -
        0 and 1          - n - - - - - - x - -
        reconstructions  - - - - - - - - x - -
        -1 to 1          x x - - - - - - - - -
        standardised     x x - - - - - - - - -
        0 to 16          x x - - - - - - - - -
        0 to 255, whole  n n x - x - - - - - -
        0 to 255         n n - - - - - - - - -
        outliers         x x - - - - - - - - -
    "#]]
    .assert_eq(&table);
    // Counts and tables are nobody's bytes, and what an iterator gives is not known.
    let sparse = ratings(20, 1)?.train;
    assert_eq!(Scaling::of(&sparse), None);
    assert_eq!(Scaling::of(&kinds[2].1), Some(Scaling::Floats { least: 0.0, most: 1.0, whole: false }));
    Ok(())
}

#[test]
fn parts_of_one_data_set_are_scaled_alike() -> Result<()> {
    let folder = folder();
    let array = |bytes: bool, values: &[f32]| {
        let header = |kind: &str| {
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, 8), }}\n", values.len() / 8)
        };
        match bytes {
            true => npy(&header("|u1"), &values.iter().map(|value| *value as u8).collect::<Vec<u8>>()),
            false => npy(&header("<f4"), &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
        }
    };
    let path = folder.path().join("parts.npz").display().to_string();
    let numbers: Vec<f32> = (0..128).map(|k| (k * 2) as f32).collect();
    let parts = |train: (bool, &[f32]), test: (bool, &[f32])| {
        std::fs::write(
            &path,
            zip(&[("x_train.npy", &array(train.0, train.1)), ("x_test.npy", &array(test.0, test.1))]),
        )
        .expect("a file");
        load(&path)
    };
    says(
        parts((true, &numbers), (false, &numbers)),
        expect![[
            r#"data "parts.npz": its test part's numbers are floats from 0 to 254, but those of its training part are bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    says(
        parts((false, &between(-2.5, 3.0)), (true, &numbers)),
        expect![[
            r#"data "parts.npz": its test part's numbers are bytes, which mean 0 to 1, but those of its training part are floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    assert_eq!(
        parts((true, &numbers), (false, &between(0.0, 1.0)))?.test.expect("a part").rows_f32(0..16),
        between(0.0, 1.0)
    );
    assert_eq!(parts((false, &numbers), (true, &numbers))?.test.expect("a part").rows_f32(0..16), numbers);
    // The library's own pairs of data sets, and targets.
    let [bytes, large] = [Dataset::from_u8([8], vec![9; 128])?, floats(numbers)];
    let mse = eight("\"mse\"", "", "");
    says(
        trains(&mse, &bytes, Some(&large)),
        expect![[
            r#"data "data": its numbers are floats from 0 to 254, but those that are trained on are bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    says(
        trains(&mse, &large, Some(&bytes)),
        expect![[
            r#"data "data": its numbers are bytes, which mean 0 to 1, but those that are trained on are floats from 0 to 254; save them as floats, scaled like those"#
        ]],
    );
    trains(&mse, &bytes, Some(&floats(between(0.0, 1.0))))?;
    says(
        bytes.clone().with_targets(large),
        expect![[
            r#"data "data": its targets are floats from 0 to 254, but the samples are bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    bytes.with_targets(floats(between(-0.5, 1.5)))?;
    Ok(())
}

#[test]
fn a_run_keeps_how_its_data_was_scaled() {
    let place = Place::new();
    place.write("eight.toml", eight("\"mse\"", "", "").as_bytes());
    let bytes: Vec<u8> = (0..128).map(|k| 2 * k as u8).collect();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (16, 8), }\n";
    place.write("bytes.npy", &npy(header, &bytes));
    let numbers: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte)).collect();
    let unit: Vec<f32> = numbers.iter().map(|number| number / 255.0).collect();
    for (name, values) in [("large", &numbers), ("unit", &unit), ("standardised", &between(-2.5, 3.0))] {
        write_npy(place.path(&format!("{name}.npy")), &[16, 8].into(), values).expect("a file");
    }
    place.write("unit.toml", eight("\"mse\"", SIGMOID, "").as_bytes());
    for (name, model) in [("bytes", "unit"), ("large", "eight"), ("standardised", "eight")] {
        place.ok(&format!("train --model {model}.toml --data {name}.npy --device cpu --out {name}"));
    }
    let kept = |run: &str| {
        let text = String::from_utf8(place.read(&format!("{run}/run.toml"))).expect("text");
        text.split_once("[samples]").map(|(_, samples)| samples.to_owned()).unwrap_or_default()
    };
    expect![[r#"

        shape = [8]

        [samples.scaling.bytes]
        most = 254
    "#]]
    .assert_eq(&kept("bytes"));
    expect![[r#"

        shape = [8]

        [samples.scaling.floats]
        least = -2.5
        most = 3.0
        whole = false
    "#]]
    .assert_eq(&kept("standardised"));
    // Bytes and what they stand for give the same codes; bytes are what a run on numbers from 0 to 255 knows.
    let codes = |run: &str, data: &str| {
        place.ok(&format!("encode {run} {data}.npy codes.npy --device cpu"));
        read_npy(place.path("codes.npy")).expect("codes").to_f32()
    };
    assert_eq!(codes("bytes", "bytes"), codes("bytes", "unit"));
    assert_eq!(codes("large", "large"), codes("large", "bytes"));
    place.ok("reconstruct bytes bytes.npy copies.csv --device cpu");
    place.ok("eval bytes --data copies.csv --device cpu");
    let refused =
        |command: &str, expected: Expect| expected.assert_eq(&place.failure(&format!("{command} --device cpu")));
    refused(
        "eval bytes --data large.npy",
        expect![[
            r#"data "large.npy": its numbers are floats from 0 to 254, but the run was trained on bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    refused(
        "encode bytes standardised.npy x.npy",
        expect![[
            r#"data "standardised.npy": its numbers are floats from -2.5 to 3, but the run was trained on bytes, which mean 0 to 1; scale them to 0 to 1, or save them as bytes"#
        ]],
    );
    refused(
        "reconstruct standardised bytes.npy x.npy",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but the run was trained on floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    refused(
        "eval large --data unit.npy",
        expect![[
            r#"data "unit.npy": its numbers are floats from 0 to 0.99607843, but the run was trained on floats from 0 to 254; scale them like those"#
        ]],
    );
    refused(
        "generate standardised --data bytes.npy",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but the run was trained on floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    refused(
        "classify standardised --data bytes.npy --out x",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but the run was trained on floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    refused(
        "eval bytes --data bytes.npy --targets large.npy",
        expect![[
            r#"data "large.npy": its targets are floats from 0 to 254, but the samples are bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    refused(
        "eval bytes --data bytes.npy --with standardised",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but standardised was trained on floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    refused(
        "reconstruct bytes bytes.npy x.npy --with large",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but large was trained on floats from 0 to 254; save them as floats, scaled like those"#
        ]],
    );
    refused(
        "train --model eight.toml --data bytes.npy --targets large.npy --out x",
        expect![[
            r#"data "large.npy": its targets are floats from 0 to 254, but the samples are bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    refused(
        "train --resume --out standardised --data bytes.npy --epochs 2",
        expect![[
            r#"data "bytes.npy": its numbers are bytes, which mean 0 to 1, but the run was trained on floats from -2.5 to 3; save them as floats, scaled like those"#
        ]],
    );
    // A search, too, and a run of before scaling was kept.
    let space = "model = \"eight.toml\"\ndata = \"data.npy\"\nmethod = \"grid\"\n[space]\n\"train.seed\" = [1, 2]\n";
    place.write("space.toml", space.as_bytes());
    std::fs::copy(place.path("standardised.npy"), place.path("data.npy")).expect("a copy");
    place.ok("tune space.toml --out search --device cpu");
    expect![[r#"

        shape = [8]

        [samples.scaling.floats]
        least = -2.5
        most = 3.0
        whole = false
    "#]]
    .assert_eq(&kept("search/trial-001"));
    let text = String::from_utf8(place.read("bytes/run.toml")).expect("text");
    place.write("bytes/run.toml", text.split("[samples]").next().expect("the rest").as_bytes());
    place.ok("eval bytes --data large.npy --device cpu");
    place.ok("train --resume --out bytes --epochs 2 --device cpu");
    assert!(kept("bytes").contains("bytes"), "it is kept from now on");
    refused(
        "eval bytes --data large.npy",
        expect![[
            r#"data "large.npy": its numbers are floats from 0 to 254, but the run was trained on bytes, which mean 0 to 1; divide them by 255, or save them as bytes"#
        ]],
    );
    place.write("bytes/run.toml", b"samples = 3\n");
    refused(
        "eval bytes --data bytes.npy",
        expect![
            "bytes/run.toml: invalid type: integer `3`, expected struct Samples; restore the file, or start a new run with another --out"
        ],
    );
    // Bytes that are only 0 and 1 stand for 0 and 1/255, which is hardly meant.
    place.write("flags.npy", &npy(header, &bytes.iter().map(|byte| byte / 2 % 2).collect::<Vec<u8>>()));
    let said = place.ok("train --model eight.toml --data flags.npy --device cpu --out flags").stderr;
    assert!(said.starts_with("no byte is above 1, but bytes are divided by 255: "), "{said}");
}
