//! Classifiers: what a head over classes learns on an encoder, and what is refused.

use super::pretraining::{last, sets, stacked_place};
use crate::support::*;
use crate::temp::*;
use pinhole::data::{Dataset, digits};
use pinhole::run::RunSettings;
use pinhole::run::classifier::{Classification, Classifier};
use pinhole::{Autoencoder, Device, data};

fn classification(said: &Said) -> Classification {
    serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("a result")
}

#[test]
fn a_classifier_learns_labels_and_is_loaded_as_it_was() {
    let place = stacked_place();
    place.ok("pretrain stacked.toml --data digits:1500 --out run --device cpu --epochs 3");
    let said = place.ok("classify run --data digits:1500 --epochs 8 --out classes --device cpu");
    let result = classification(&said);
    assert_eq!((result.samples, result.error), (250, result.errors as f64 / 250.0));
    assert!(result.error < 0.2, "{result:?}");
    assert_eq!(
        place.names("classes"),
        [
            "checkpoint.safetensors",
            "classification.json",
            "classifier.toml",
            "loss.png",
            "loss.svg",
            "metrics.jsonl",
            "model.safetensors",
            "model.toml",
            "run.toml",
        ]
    );
    assert_eq!(place.lines("classes/classification.json")[0]["errors"], result.errors);
    let lines = place.lines("classes/metrics.jsonl");
    assert!(lines.iter().all(|line| line.get("val_mse").is_none()), "{lines:?}");
    // The encoder was trained on, from where pretraining left it.
    let [before, after] = ["run", "classes"].map(|run| Tensors::read(&place.path(&format!("{run}/model.safetensors"))));
    assert_ne!(before.f32("encoder.1.weight"), after.f32("encoder.2.weight"));
    assert_eq!(after.shape("decoder.0.weight"), [10, 10]);

    // The library's classes are the program's; the loss is the mean of the logarithms of probabilities.
    let test = data::load("digits:1500").expect("digits").test.expect("a test part");
    for device in [Device::Cpu, gpu()] {
        let classifier = Classifier::load(place.path("classes"), device).expect("a classifier");
        assert_eq!((classifier.classes(), classifier.input()), (10, [1, 28, 28].into()));
        assert_eq!(classifier.test(&test).expect("a result"), result);
        let labels = classifier.predict_all(&test).expect("classes");
        let probabilities = classifier.probabilities(&test.rows_f32(0..250)).expect("probabilities").to_f64();
        let rows = || probabilities.chunks(10).zip(labels_of(&test));
        assert!(rows().all(|(row, _)| (row.iter().sum::<f64>() - 1.0).abs() <= 1e-5));
        let loss = rows().map(|(row, label)| -row[label as usize].ln()).sum::<f64>() / 250.0;
        expect_close("the loss", &[last(&place, "classes", "val_loss")], &[loss], 1e-4, Scale::Relative);
        let said = place.ok("classify classes --data digits:1500 --predict --device cpu");
        assert_eq!(said.stdout.lines().map(|line| line.parse().expect("a class")).collect::<Vec<u32>>(), labels);
        assert!(said.stderr.contains(&format!("({} of 250)", result.errors)), "{}", said.stderr);
    }
    // Chance is nine in ten.
    let untrained = Classification { error: 0.9, errors: 225, samples: 250 };
    assert!(result.errors < untrained.errors / 4);
    place.fail(&[
        (
            "classify classes --data digits:60 --out again --device cpu",
            "classes: is a classifier already; give --predict, or the run that it was made from",
        ),
        (
            "classify run --data digits:60 --out run --device cpu",
            "run/model.toml: is not the model that is to be trained here; choose another --out",
        ),
    ]);
    // Data without labels, and with others.
    place.write(
        "rows.csv",
        "0.5,".repeat(783).as_bytes().iter().chain(b"0.5\n").copied().collect::<Vec<u8>>().repeat(80).as_slice(),
    );
    assert_eq!(
        place.failure("classify run --data rows.csv --out rows --device cpu"),
        "data \"rows.csv\": it has no labels; give digits, a folder with MNIST's label files, an \
             .npz file with x and y, or a CSV file whose label column --label names"
    );
    assert_eq!(place.ok("classify classes --data rows.csv --predict --device cpu").stdout.lines().count(), 80);
    // Pictures are brought to the size of samples; rows of another are refused.
    std::fs::create_dir(place.path("big")).expect("a folder");
    for name in ["a.png", "b.png", "c.png"] {
        let pixels = vec![128; 56 * 56];
        pinhole::data::images::write_png(place.path("big").join(name), &[1, 56, 56].into(), &pixels)
            .expect("a picture");
    }
    assert_eq!(place.ok("classify classes --data big --predict --device cpu").stdout.lines().count(), 3);
    place.write("wide.csv", format!("{}0.5\n", "0.5,".repeat(1567)).as_bytes());
    place.fail(&[
        (
            "classify classes --data wide.csv --predict --device cpu",
            "data \"wide.csv\": its samples are [1568], the model's input is [1, 28, 28]; choose other data, or change the model's `input` and layers",
        ),
        // What is there goes on with its own data and from its own weights only.
        (
            "classify run --data digits:300 --epochs 8 --out classes --device cpu",
            "classes: holds a training on digits:1500, which cannot continue with digits:300; give the same --data, or \
             choose another --out",
        ),
    ]);
    place.ok("pretrain stacked.toml --data digits:1500 --out other --device cpu --epochs 1");
    assert_eq!(
        place.failure("classify other --data digits:1500 --epochs 8 --out classes --device cpu"),
        "classes: holds a classifier that began with other weights; give the run that it was made from, or choose another --out"
    );
}

/// Layers that take the weight of another name it as a classifier has it, where one layer more comes first.
#[test]
fn tied_layers_follow_into_a_classifier() {
    let text = "input = [784]\nloss = \"mse\"\nencoder = [{ linear = 6 }, { linear = 5 }, { block = \"back\" }, { linear = 4 }]\n\
        decoder = [{ linear = 784 }]\n[blocks]\nback = [{ residual = { body = [{ linear = 5 }], shortcut = [{ linear = 5 }] } }, \
        { tied_linear = { to = \"encoder.1\", out = 6 } }]\n[train]\nbatch = 20\nepochs = 1\n";
    let autoencoder = Autoencoder::new(spec(text), Device::Cpu).expect("a model");
    let (folder, data) = (folder(), digits(40, 1));
    let run = folder.path().join("run");
    let trained = Classifier::train(&autoencoder, &sets(&data, None), &RunSettings::default(), &run, &mut ());
    assert!(trained.expect("training").is_some());
    let model = std::fs::read_to_string(run.join("model.toml")).expect("a model file");
    assert!(model.contains("to = \"encoder.2\"") && !model.contains("to = \"encoder.1\""), "{model}");
    let lengths = Dataset::from_f32([784, 1], data.rows_f32(0..40)).and_then(|data| data.with_lengths(vec![9; 40]));
    let lengths = lengths.and_then(|data| data.with_labels([0, 1].repeat(20))).expect("sequences");
    let refused = Classifier::train(&autoencoder, &sets(&lengths, None), &RunSettings::default(), &run, &mut ());
    assert_eq!(
        refused.err().expect("refused").to_string(),
        "data \"data\": it says how long each sequence is, which a classifier does not support; give sequences of one \
         length, without lengths"
    );
}

/// Any encoder, on any device, and labels that are not there.
#[test]
fn convolutions_are_classified_on_every_device_and_strange_labels_refused() {
    let text = SMALL_CONV.replace("epochs = 3", "epochs = 4\nlayers = [{ name = \"encoder.0\", lr = 1e-3 }]");
    let (train, test) = (digits(400, 1), digits(60, 2));
    for device in fast_devices() {
        let name = device.name();
        let folder = folder();
        let autoencoder = Autoencoder::new(spec(&text), device).expect("a model");
        let settings = RunSettings::default();
        let run = folder.path().join("run");
        let train_on = |data: &Dataset, validation: Option<&Dataset>, name: &str| {
            Classifier::train(&autoencoder, &sets(data, validation), &settings, &folder.path().join(name), &mut ())
        };
        let classifier = train_on(&train, Some(&test), "run").expect("training");
        let classifier = classifier.expect("nobody ended it");
        let result = classifier.test(&test).expect("a result");
        assert!(result.error < 0.6, "{name}: {result:?}");
        let model = std::fs::read_to_string(run.join("model.toml")).expect("a model file");
        assert!(model.contains("{ name = \"encoder.1\", lr = 0.001 }"), "{model}");
        let loaded = Classifier::load(&run, autoencoder.device().clone()).expect("a classifier");
        let samples = test.rows_f32(0..60);
        assert_eq!(
            loaded.probabilities(&samples).expect("probabilities").to_f32(),
            classifier.probabilities(&samples).expect("probabilities").to_f32(),
            "{name}"
        );
        let message = |result: pinhole::Result<Classification>| result.expect_err("refused").to_string();
        assert_eq!(
            message(
                classifier.test(
                    &digits(3, 1)
                        .with_labels(vec![0, 1])
                        .unwrap_or_else(|_| Dataset::from_u8([784], vec![0; 784]).expect("data"))
                )
            ),
            "data \"data\": it has no labels; give digits, a folder with MNIST's label files, an \
             .npz file with x and y, or a CSV file whose label column --label names"
        );
        // A label that training did not see.
        let strange = digits(400, 1).with_labels([vec![0; 399], vec![11]].concat()).expect("labels");
        assert!(train_on(&strange, Some(&test), "more").is_ok());
        let few = digits(400, 1).with_labels([vec![0; 399], vec![1]].concat()).expect("labels");
        let error = train_on(&few, Some(&test), "few");
        let error = error.err().expect("refused").to_string();
        assert!(
            error.starts_with("data \"digits\": has label ") && error.contains("but there are 2 classes"),
            "{error}"
        );
        let one = digits(40, 1).with_labels(vec![0; 40]).expect("labels");
        let error = train_on(&one, None, "one");
        assert_eq!(
            error.err().expect("refused").to_string(),
            "data \"digits\": all its samples are of one class; give two classes or more"
        );
    }
}
