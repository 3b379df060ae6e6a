//! Layer-wise pretraining: what each layer is trained on, and where its weights go.

use crate::support::*;
use crate::temp::*;
use pinhole::data::{Dataset, TrainingSets, digits};
use pinhole::run::RunSettings;
use pinhole::run::pretrain::{Pretraining, pretrain};
use pinhole::{Autoencoder, Device, data};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// 784-40-20-10 and back.
const STACKED: &str = r#"
input = [1, 28, 28]
loss = "bce"
encoder = ["flatten", { linear = 40 }, "sigmoid", { linear = 20 }, "sigmoid", { linear = 10 }]
decoder = [{ linear = 20 }, "sigmoid", { linear = 40 }, "relu", { linear = 784 }, "sigmoid"]
[train]
batch = 20
epochs = 2
seed = 5
optimizer = { adam = { lr = 3e-3 } }
"#;

pub fn stacked_place() -> Place {
    let place = Place::new();
    place.write("stacked.toml", STACKED.as_bytes());
    place
}

pub fn sets(train: &Dataset, validation: Option<&Dataset>) -> TrainingSets {
    TrainingSets { train: train.clone(), validation: validation.cloned() }
}

pub fn last(place: &Place, run: &str, key: &str) -> f64 {
    place.lines(&format!("{run}/metrics.jsonl")).last().expect("a line")[key].as_f64().expect("a number")
}

#[test]
fn each_layer_is_trained_on_the_codes_of_those_below_and_goes_to_its_place() {
    let place = stacked_place();
    let said = place.ok("pretrain stacked.toml --data digits:240 --masking 0.1,0.25 --out run --device cpu");
    let lines: Vec<Json> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let layers: Vec<&str> = lines.iter().map(|line| line["layer"].as_str().expect("a name")).collect();
    assert_eq!(layers, ["encoder.1", "encoder.1", "encoder.3", "encoder.3", "encoder.5", "encoder.5"]);
    for told in [
        "encoder.1, 784 to 40, with a fraction of 0.1 of its inputs ",
        "encoder.5, 20 to 10, with a fraction of 0.25 of its inputs ",
    ] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }
    // Every layer's weights, and those of its mirror, as its own run left them.
    let whole = Tensors::read(&place.path("run/model.safetensors"));
    for (number, encoder, decoder) in
        [(1, "encoder.1", "decoder.4"), (2, "encoder.3", "decoder.2"), (3, "encoder.5", "decoder.0")]
    {
        let own = Tensors::read(&place.path(&format!("run/layer-{number}/model.safetensors")));
        for (name, own_name) in [(encoder, "encoder.0"), (decoder, "decoder.0")] {
            for kind in ["weight", "bias"] {
                assert_eq!(
                    whole.f32(&format!("{name}.{kind}")),
                    own.f32(&format!("{own_name}.{kind}")),
                    "{name}.{kind}"
                );
            }
        }
    }
    // What a layer reconstructs is the code of the one below: its loss on the test part, worked out apart.
    let test = data::load("digits:240").expect("digits").test.expect("a test part");
    let [first, second, third] = [1, 2, 3].map(|number| {
        let run = place.path(&format!("run/layer-{number}"));
        let alone = Autoencoder::load(run, Device::Cpu).expect("a run");
        assert_eq!(alone.network().spec().corruption.level(), Some([0.1, 0.25, 0.25][number - 1].into()));
        alone
    });
    let codes = |autoencoder: &Autoencoder, data: &Dataset| {
        let codes = autoencoder.encode(&data.rows_f32(0..data.len())).expect("codes");
        Dataset::from_f32(codes.shape()[1..].to_vec(), codes.to_f32()).expect("data")
    };
    let below = codes(&first, &test);
    for (run, autoencoder, data) in [
        ("run/layer-1", &first, &test),
        ("run/layer-2", &second, &below),
        ("run/layer-3", &third, &codes(&second, &below)),
    ] {
        let loss = autoencoder.evaluate(data).expect("an evaluation").loss;
        expect_close(run, &[last(&place, run, "val_loss")], &[loss], 1e-5, Scale::Relative);
    }
    // The whole begins better than at random, and training it goes on from there.
    let loss = |autoencoder: &Autoencoder| autoencoder.evaluate(&test).expect("an evaluation").loss;
    let [pretrained, random] =
        [Autoencoder::load(place.path("run"), Device::Cpu), Autoencoder::new(spec(STACKED), Device::Cpu)];
    let (pretrained, random) = (loss(&pretrained.expect("a run")), loss(&random.expect("a model")));
    assert!(pretrained < 0.6 * random, "{pretrained} against {random}");
    place.ok("train --resume --out run");
    assert_eq!(place.lines("run/metrics.jsonl").len(), 2);
    assert!(last(&place, "run", "val_loss") < pretrained);
}

#[test]
fn without_masking_the_first_layer_is_a_plain_autoencoder_and_with_it_it_is_not() {
    let text = "input = [784]\nloss = \"bce\"\nencoder = [{ linear = 12 }, \"sigmoid\"]\ndecoder = [{ linear = 784 }, \"sigmoid\"]\n\
                [train]\nbatch = 20\nepochs = 2\nseed = 3\n";
    let (train, test) = (digits(100, 1), digits(40, 2));
    let mut plain = Autoencoder::new(spec(text), Device::Cpu).expect("a model");
    let mut reports = plain.fit(&train, Some(&test), &mut ()).expect("training");
    let pretrained = |level: f64| {
        let folder = folder();
        let settings = RunSettings::default();
        let how = Pretraining { masking: &[level], ..Pretraining::default() };
        let (sets, run) = (sets(&train, Some(&test)), folder.path().join("run"));
        let result = pretrain(&spec(text), how, &Device::Cpu, &sets, &settings, &run, &mut ());
        let text = std::fs::read_to_string(folder.path().join("run/layer-1/metrics.jsonl")).expect("metrics");
        let line: Json = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        (
            result.expect("pretraining").expect("a model").parameters().clone(),
            line["train_loss"].as_f64().expect("a loss"),
        )
    };
    let (parameters, loss) = pretrained(0.0);
    assert!(parameters == *plain.parameters(), "no masking, no difference");
    assert_eq!(loss, reports.pop().expect("an epoch").train_loss);
    let (masked, harder) = pretrained(0.7);
    assert!(masked != parameters);
    assert!(harder > loss, "it is harder to restore what was masked: {harder} against {loss}");
}

#[test]
fn what_cannot_be_pretrained_is_refused() {
    let place = stacked_place();
    let cases = [
        (
            "{ linear = 20 }, \"sigmoid\", { linear = 10 }]",
            "{ unflatten = [1, 8, 5] }, { conv2d = { out = 1, kernel = 3 } }, \"flatten\", { linear = 10 }]",
            "encoder.4.conv2d: { conv2d = { out = 1, kernel = 3 } } cannot be pretrained layer by layer; use linear layers and \
             activations, or train all layers at once",
        ),
        (
            "decoder = [{ linear = 20 }, \"sigmoid\", ",
            "decoder = [",
            "decoder: has 2 linear layers, but the encoder 3; give it the encoder's linear layers in reverse order, \
             each with its sizes swapped",
        ),
        (
            "decoder = [{ linear = 20 }",
            "decoder = [{ linear = 21 }",
            "decoder: decoder.2 makes 40 of 21 numbers, but encoder.3 20 of 40; give it the encoder's linear layers in reverse \
             order, each with its sizes swapped",
        ),
        (
            "\"flatten\", { linear = 40 }",
            "\"flatten\", \"relu\", { linear = 40 }",
            "encoder.1.relu: \"relu\" cannot be pretrained layer by layer; use linear layers and activations, or train all \
             layers at once",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(STACKED.contains(from));
        place.write("bad.toml", STACKED.replace(from, to).as_bytes());
        assert_eq!(place.failure("pretrain bad.toml --data digits:60 --device cpu --out bad"), expected);
    }
    assert!(!place.path("bad").exists());
    place.fail(&[
        (
            "pretrain stacked.toml --data digits:60 --device cpu --out bad --masking 0.1,1.0",
            "masking: expects levels of at least 0 and less than 1, got 1.0; use 0.1,0.2,0.3, say",
        ),
        (
            "classify nowhere --data digits:60 --device cpu --out bad",
            "cannot read nowhere/model.toml: No such file or directory (os error 2); check the path",
        ),
        (
            "classify nowhere --data digits:60 --device cpu --predict",
            "nowhere: holds no classifier: there is no classifier.toml; make one by pinhole classify RUN --data DATA",
        ),
    ]);
    place.ok("pretrain stacked.toml --data digits:60 --device cpu --out run --epochs 1");
    assert_eq!(
        place.failure("pretrain stacked.toml --data digits:60 --device cpu --out run --epochs 1"),
        "run: already holds a run; continue it with train --resume, or choose another --out"
    );
}

/// Killed again and again, in each layer and in the head.
#[test]
fn pretraining_and_classifying_go_on_after_kills() {
    let place = stacked_place();
    let commands = [
        (
            "pretrain stacked.toml --data digits:1500 --epochs 6 --device cpu",
            vec!["", "layer-1/", "layer-2/", "layer-3/"],
        ),
        ("classify whole --data digits:1500 --epochs 12 --device cpu", vec![""]),
    ];
    for (number, (command, parts)) in commands.into_iter().enumerate() {
        let [whole, killed] = if number == 0 { ["whole", "killed"] } else { ["classes", "killed-classes"] };
        let began = Instant::now();
        place.ok(&format!("{command} --out {whole}"));
        let seconds = began.elapsed().as_secs_f64();
        // A machine that has become faster than it was for the whole run ends before it is killed: then once more, sooner.
        let mut part_of_it = 0.3;
        let kills = loop {
            let mut kills = 0;
            for fraction in crate::run::resume::random(7 + number as u64, 40) {
                let mut child = place.command(&format!("{command} --out {killed}")).spawn().expect("the program runs");
                let began = Instant::now();
                let mut over = || child.try_wait().expect("a status").is_some();
                while began.elapsed().as_secs_f64() < part_of_it * fraction * seconds && !over() {
                    std::thread::sleep(Duration::from_micros(500));
                }
                if over() {
                    break;
                }
                child.kill().expect("killed");
                child.wait().expect("ended");
                kills += 1;
            }
            if kills >= 2 || part_of_it < 0.03 {
                break kills;
            }
            std::fs::remove_dir_all(place.path(killed)).expect("what there is of the run");
            part_of_it /= 2.0;
        };
        if number == 1 || !place.path(&format!("{killed}/model.toml")).exists() {
            place.ok(&format!("{command} --out {killed}"));
        }
        println!("killed {kills} times: {command}");
        assert!(kills >= 2, "killed only {kills} times: {command}");
        for part in parts {
            let read = |run: &str| place.read(&format!("{run}/{part}model.safetensors"));
            assert!(read(whole) == read(killed), "{command}: {part}");
            assert_eq!(place.metrics(&format!("{whole}/{part}")), place.metrics(&format!("{killed}/{part}")));
        }
    }
}
