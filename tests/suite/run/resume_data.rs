//! What goes on with a run, and what would make another of it: options that differ, and data that do.

use crate::support::*;
use crate::temp::*;
use expect_test::expect;
use pinhole::data::digits;
use pinhole::data::npy::write_npy;
use pinhole::model::Network;
use pinhole::run::{RunDirectory, RunSettings};
use pinhole::shape::Shape;
use pinhole::train::{EpochEnd, Options, Trainer};
use pinhole::{Device, Result};

/// The messages of commands that must fail with one line, a line each.
fn failures(place: &Place, commands: &[String]) -> String {
    commands.iter().map(|command| format!("{}\n", place.failure(command))).collect()
}

// ---- options

#[test]
fn the_command_that_began_a_run_goes_on_with_it() {
    let place = Place::new();
    let fitted = "input = [12]\nloss = \"mse\"\nencoder = [{ linear = 3 }]\ndecoder = [{ linear = 12 }]\n[data]\n\
                  sets_input = true\n[train]\nbatch = 9\nepochs = 4\n";
    place.write("fitted.toml", fitted.as_bytes());
    let rows: Vec<f32> = (0..40 * 6).map(|at| (at as f32 * 0.37).sin()).collect();
    write_npy(place.path("rows.npy"), &Shape::from([40, 6]), &rows).expect("a file");
    place.ok("train --model small.toml --latent 5 --data digits:60 --device cpu --epochs 1 --out start");
    let small = "train --model small.toml --data digits:120 --device cpu --batch 16 --seed 3 --lr 0.002 --latent 5 --no-shuffle \
                 --precision f32 --log-steps --set data.binarise=threshold --set train.schedule=cosine --epochs 2";
    for (name, command) in [
        ("small", format!("{small} --init start/model.safetensors")),
        ("resized", small.replace("--latent 5", "--set encoder.2.linear=9 --latent 5")),
        (
            "fitted",
            "train --model fitted.toml --data rows.npy --device cpu --epochs 2 --set encoder.0.linear=4".to_owned(),
        ),
    ] {
        let command = command.replace("--epochs 2", "--epochs 4");
        place.ok(&format!("{command} --out {name}-whole"));
        place.ok(&format!("{command} --steps 5 --out {name}"));
        place.ok(&format!("{command} --steps 99 --out {name} --resume"));
        let [part, whole] = [name.to_owned(), format!("{name}-whole")]
            .map(|run| (place.read(&format!("{run}/model.safetensors")), place.metrics(&run)));
        assert!(part == whole, "{name}");
    }
    // With nothing left to do there is a line that says so, and no bar for an epoch that is none.
    let small = small.replace("--epochs 2", "--epochs 4");
    let done = place.ok(&format!("{small} --init start/model.safetensors --out small --resume"));
    expect![[r#"
        nothing is left to do: 4 epochs, 32 steps are done; give --epochs or --steps for more
    "#]]
    .assert_eq(
        &done
            .stderr
            .lines()
            .filter(|line| line.starts_with("nothing"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
}

#[test]
fn an_option_that_differs_from_the_run_is_refused_by_its_name() {
    let place = Place::new();
    place.write("other.toml", SMALL_DENSE.replace("linear = 24", "linear = 25").as_bytes());
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    place.write("weights.safetensors", &place.read("run/model.safetensors"));
    let before = ["model.toml", "run.toml", "checkpoint.safetensors"].map(|name| place.read(&format!("run/{name}")));
    let options = [
        "--model other.toml",
        "--model conv",
        "--batch 16",
        "--seed 8",
        "--precision f16",
        "--no-shuffle",
        "--latent 7",
        "--init weights.safetensors",
        "--set loss=mse",
        "--set encoder.0.linear=24 --set encoder.2.linear=7",
        "--set train.seed=8",
        "--set train.validation=0.2",
        "--set train.initializer=\"he\"",
        "--set train.optimizer=sgd",
        "--set train.epoch=3",
        "--data digits:66",
    ];
    let commands = options.map(|option| format!("train --resume --out run --epochs 2 {option}"));
    expect![[r#"
        --model other.toml: makes another encoder than the run's; leave it out, or begin another run without --resume
        --model conv: makes another input than the run's; leave it out, or begin another run without --resume
        --batch 16: the run has 32; leave it out, change the run by --set train.batch=16, or begin another run without --resume
        --seed 8: the run began with 7; leave it out, or begin another run without --resume
        --precision f16: the run has f32; leave it out, change the run by --set train.precision=f16, or begin another run without --resume
        --no-shuffle: the run shuffles its samples; leave it out, change the run by --set train.shuffle=false, or begin another run without --resume
        --latent 7: makes another encoder than the run's; leave it out, or begin another run without --resume
        --init weights.safetensors: the run is not known to have begun with it; leave it out, or begin another run without --resume
        --set loss=mse: makes another loss than the run's; leave it out, or begin another run without --resume
        --set encoder.2.linear=7: makes another encoder than the run's; leave it out, or begin another run without --resume
        --set train.seed=8: the run began with train.seed = 7; leave it out, or begin another run without --resume
        --set train.validation=0.2: the run began with train.validation = 0.1; leave it out, or begin another run without --resume
        --set train.initializer="he": the run began with train.initializer = "pytorch"; leave it out, or begin another run without --resume
        --set train.optimizer=sgd: the run's optimizer is { adam = { lr = 0.003, betas = [0.9, 0.999], eps = 1e-8, amsgrad = false, weight_decay = 0.0 } }, whose moments do not fit this one; leave it out, or begin another run without --resume
        --set train.epoch=3: train: unknown key "epoch"; did you mean "epochs"?
        data "digits:66": has 66 samples to train on, where the run began with 60; give the run's own data, or add --new-data to continue with these
    "#]].assert_eq(&failures(&place, &commands));
    assert!(
        before == ["model.toml", "run.toml", "checkpoint.safetensors"].map(|name| place.read(&format!("run/{name}")))
    );
    // What may change does, and equal values are no difference.
    place.ok(
        "train --resume --out run --epochs 3 --lr 0.01 --batch 32 --seed 7 --latent 6 --model small.toml --set loss=bce \
         --set train.schedule=cosine --set train.clip_norm=1 --set train.ema=0.9 --set train.early_stopping={patience=9}",
    );
    let model = String::from_utf8(place.read("run/model.toml")).expect("text");
    for line in ["schedule = { cosine", "clip_norm = 1.0", "ema = 0.9", "lr = 0.01"] {
        assert!(model.contains(line), "{line}: {model}");
    }
    assert_eq!(place.lines("run/metrics.jsonl").len(), 3);
    // The average may end again, and the model is then what was trained last.
    place.ok("train --resume --out run --epochs 4 --set train.ema=false --set train.early_stopping=false");
}

#[test]
fn another_batch_begins_the_epoch_anew() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:120 --device cpu --steps 6 --log-steps --out run");
    let said = place.ok("train --resume --out run --steps 99 --set train.batch=20 --set train.accumulate=2");
    assert!(said.stderr.contains("epoch 2 starts again: its steps differ from the finished ones\n"), "{said:?}");
    let steps = place.lines("run/metrics.jsonl").iter().filter(|line| line.get("step").is_some()).count();
    assert_eq!(steps, 6 + 2 * 6, "two of the second epoch's steps were done before");
    let epochs: Vec<u64> = place.lines("run/metrics.jsonl").iter().filter_map(|line| line["epoch"].as_u64()).collect();
    assert_eq!(epochs, [1, 2, 3]);
    // Between two epochs nothing is begun anew.
    let said = place.ok("train --resume --out run --epochs 4 --steps 99 --set train.batch=24");
    assert!(!said.stderr.contains("anew"), "{said:?}");
}

// ---- data

fn write_digits(place: &Place, name: &str, count: usize, change: impl Fn(&mut Vec<f32>)) {
    let mut values = digits(count, 5).rows_f32(0..count);
    change(&mut values);
    write_npy(place.path(name), &Shape::from([values.len() / 784, 784]), &values).expect("a file");
}

#[test]
fn other_data_are_refused_and_what_differs_is_named() {
    let place = Place::new();
    let train = "train --model small.toml --data x.npy --device cpu --epochs 1";
    write_digits(&place, "x.npy", 80, |_| {});
    place.ok(&format!("{train} --out run"));
    std::fs::rename(place.path("x.npy"), place.path("kept.npy")).expect("moved");
    let mut messages = String::new();
    let mut refused = |what: &str, command: &str| {
        messages +=
            &format!("{what}: {}\n", place.failure(command).replace(&*place.path("").to_string_lossy(), "HERE/"));
    };
    let resume = "train --resume --out run --epochs 2";
    refused("gone", resume);
    write_digits(&place, "x.npy", 50, |_| {});
    refused("fewer", resume);
    refused("the whole command", &format!("{train} --out run --resume"));
    write_digits(&place, "x.npy", 90, |_| {});
    refused("more", resume);
    write_digits(&place, "x.npy", 80, |values| values[784 * 7 + 300] += 0.25);
    refused("one value", resume);
    write_digits(&place, "x.npy", 80, |values| values.rotate_left(784));
    refused("another order", resume);
    let bytes: Vec<u8> = pinhole::data::images::to_bytes(&digits(80, 5).rows_f32(0..80));
    pinhole::data::idx::write_idx_u8(place.path("bytes"), &Shape::from([80, 784]), &bytes).expect("a file");
    refused("bytes", &format!("{resume} --data bytes"));
    refused("a test part", &format!("{resume} --data digits:72"));
    refused("targets", &format!("{resume} --data kept.npy --targets bytes"));
    expect![[r#"
        gone: data "HERE/x.npy": there is no such file or folder, and no built-in data of that name; give "digits", "digits:N", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file
        fewer: data "HERE/x.npy": has 45 samples to train on, where the run began with 72; give the run's own data, or add --new-data to continue with these
        the whole command: data "x.npy": has 45 samples to train on, where the run began with 72; give the run's own data, or add --new-data to continue with these
        more: data "HERE/x.npy": has 81 samples to train on, where the run began with 72; give the run's own data, or add --new-data to continue with these
        one value: data "HERE/x.npy": has other values to train on than the run began with; give the run's own data, or add --new-data to continue with these
        another order: data "HERE/x.npy": has other values to train on than the run began with; give the run's own data, or add --new-data to continue with these
        bytes: data "bytes": has bytes to train on, where the run began with floats; give the run's own data, or add --new-data to continue with these
        a test part: data "digits:72": has samples [1, 28, 28] to train on, where the run began with [784]; give the run's own data, or add --new-data to continue with these
        targets: data "kept.npy": has samples [1568] to train on, where the run began with [784]; give the run's own data, or add --new-data to continue with these
    "#]].assert_eq(&messages);
    // The same data are the run's wherever they lie.
    place.ok(&format!("{resume} --data kept.npy"));
    let settings = String::from_utf8(place.read("run/run.toml")).expect("text");
    let kept = std::fs::canonicalize(place.path("kept.npy")).expect("a path");
    assert!(settings.contains(&format!("data = {:?}", kept.display().to_string())), "{settings}");
    // Searches, pretrained layers and classifiers do not go on with other data either.
    place.write(
        "space.toml",
        b"model = \"small.toml\"\ndata = \"x.npy\"\nmethod = \"grid\"\n[space]\n\"train.batch\" = [8, 16]\n",
    );
    write_digits(&place, "x.npy", 80, |_| {});
    let pretrain = "pretrain small.toml --data x.npy --device cpu --epochs 1 --out layers";
    place.ok("tune space.toml --device cpu --out found");
    place.ok(pretrain);
    std::fs::remove_file(place.path("layers/model.toml")).expect("removed");
    write_digits(&place, "x.npy", 70, |_| {});
    let last_lines = ["tune space.toml --device cpu --out found", pretrain].map(|command| {
        let said = place.run(command);
        assert_eq!(said.code, Some(1), "{said:?}");
        format!("{}\n", said.stderr.lines().last().unwrap_or_default())
    });
    expect![[r#"
        error: found/trial-001: holds a training on HERE/x.npy, which has changed: it has 63 samples to train on, where the run began with 72; restore the data, or choose another --out
        error: layers/layer-1: holds a training on HERE/x.npy, which has changed: it has 63 samples to train on, where the run began with 72; restore the data, or choose another --out
    "#]].assert_eq(&last_lines.concat().replace(&*place.path("").to_string_lossy(), "HERE/"));
}

#[test]
fn new_data_that_are_asked_for_are_counted_right() {
    let place = Place::new();
    let epochs = |run: &str| -> Vec<u64> {
        place.lines(&format!("{run}/metrics.jsonl")).iter().filter_map(|line| line["epoch"].as_u64()).collect()
    };
    let steps = |run: &str| {
        place.lines(&format!("{run}/metrics.jsonl")).iter().filter(|line| line.get("step").is_some()).count()
    };
    let train = "train --model small.toml --data digits:320 --device cpu --log-steps --set train.schedule=cosine";
    for (run, samples) in [("fewer", 96), ("more", 640)] {
        place.ok(&format!("{train} --epochs 2 --out {run}"));
        place.ok(&format!("train --resume --out {run} --data digits:{samples} --new-data --epochs 4"));
        assert_eq!((epochs(run), steps(run)), (vec![1, 2, 3, 4], 2 * 10 + 2 * samples / 32), "{run}");
        // From now on these are the run's data.
        let done = place.ok(&format!("train --resume --out {run}"));
        assert!(done.stderr.contains("nothing is left to do"), "{done:?}");
    }
    place.ok(&format!("{train} --steps 14 --epochs 3 --out within"));
    let said = place.ok("train --resume --out within --data digits:64 --new-data --steps 99");
    assert!(said.stderr.contains("epoch 2 starts again"), "{said:?}");
    assert_eq!((epochs("within"), steps("within")), (vec![1, 2, 3], 14 + 2 * 2));
}

/// The library counts in epochs as well: what is left, and the optimiser's updates.
#[test]
fn a_trainer_goes_on_with_other_data_after_whole_epochs() -> Result<()> {
    let mut spec = spec(SMALL_DENSE);
    (spec.train.epochs, spec.train.accumulate, spec.train.warmup) = (4, 3, 5);
    let network = Network::new(spec)?;
    let (large, small) = (digits(320, 3), digits(96, 4));
    let mut trainer = Trainer::new(&network, &Device::Cpu, &large, None, Options::default())?;
    trainer.start(&initial(&network))?;
    trainer.epoch(&mut ())?;
    trainer.epoch(&mut ())?;
    let checkpoint = trainer.checkpoint()?;
    assert_eq!((checkpoint.progress.epoch, checkpoint.progress.updates), (2, Some(8)));
    let mut other = Trainer::new(&network, &Device::Cpu, &small, None, Options::default())?;
    other.restore(&checkpoint)?;
    assert_eq!((trainer.steps_left(), other.steps_left()), (20, 6));
    while other.epoch(&mut ())? != EpochEnd::Finished {}
    assert_eq!((other.progress().epoch, other.progress().step, other.progress().updates), (4, 26, Some(10)));
    // Within an epoch, its steps must be the ones that were counted.
    let mut losses = Losses { stop_after: Some(1), ..Losses::default() };
    let one_by_one = Options { steps_per_submission: Some(1), ..Options::default() };
    let mut trainer = Trainer::new(&network, &Device::Cpu, &large, None, one_by_one)?;
    trainer.restore(&checkpoint)?;
    trainer.epoch(&mut losses)?;
    let mut within = trainer.checkpoint()?;
    assert_eq!(within.progress.position, 1);
    let error = other.restore(&within).expect_err("its epochs have other steps").to_string();
    expect![[r#"checkpoint: it is at step 1 of an epoch, in which data "digits" has 3 steps; continue with the data that the run began with"#]].assert_eq(&error);
    within.begin_epoch_anew(3);
    other.restore(&within)?;
    assert_eq!(other.steps_left(), 6);
    Ok(())
}

// ---- folders and versions

#[test]
fn a_run_finds_its_data_from_every_folder() {
    let place = Place::new();
    for folder in ["in", "elsewhere"] {
        std::fs::create_dir(place.path(folder)).expect("a folder");
    }
    write_digits(&place, "in/x.npy", 80, |_| {});
    let from = |folder: &str, arguments: &str| {
        let mut command = place.command(arguments);
        said(command.current_dir(place.path(folder)).output().expect("the program runs"))
    };
    let run = place.path("run").display().to_string();
    place.ok("train --model small.toml --data in/x.npy --targets in/x.npy --device cpu --epochs 1 --out run");
    let said = from("elsewhere", &format!("train --resume --epochs 2 --out {run}"));
    assert_eq!(said.code, Some(0), "{said:?}");
    // As the program kept it before: a path from a folder that is not known.
    let settings = String::from_utf8(place.read("run/run.toml")).expect("text");
    let (old, _) = settings.split_once("[fingerprint").expect("a fingerprint");
    let folder = std::fs::canonicalize(place.path("in")).expect("a path").display().to_string();
    let old = old.replace(&folder, "in");
    assert!(old.contains("data = \"in/x.npy\"") && old.contains("targets = \"in/x.npy\""), "{old}");
    place.write("run/run.toml", old.as_bytes());
    let said = from("elsewhere", &format!("train --resume --epochs 3 --out {run}"));
    let here = std::fs::canonicalize(place.path("elsewhere")).expect("a path").display().to_string();
    expect![[r#"
        error: --data: the run's in/x.npy is not in HERE; give --data with its path, or resume in the folder where the run began
    "#]].assert_eq(&said.stderr.replace(&here, "HERE"));
    let said =
        from("elsewhere", &format!("train --resume --epochs 3 --out {run} --data ../small.toml --targets ../in/x.npy"));
    assert!(said.code == Some(1), "{said:?}");
    let given = "--data ../in/x.npy --targets ../in/x.npy";
    let said = from("elsewhere", &format!("train --resume --epochs 3 --out {run} {given}"));
    assert_eq!(said.code, Some(0), "{said:?}");
    place.write("run/run.toml", old.as_bytes());
    place.ok("train --resume --epochs 4 --out run");
    let settings = String::from_utf8(place.read("run/run.toml")).expect("text");
    assert!(
        settings.contains(&format!("data = \"{folder}/x.npy\"")) && settings.contains("[fingerprint"),
        "{settings}"
    );
}

/// A run that the program of before left within an epoch, between two updates: `tests/fixtures/old_run`.
#[test]
fn a_run_of_an_older_version_goes_on_as_it_would_have() {
    let place = Place::new();
    for name in ["checkpoint.safetensors", "model.safetensors", "model.toml", "run.toml", "metrics.jsonl"] {
        place.write(&format!("run/{name}"), &std::fs::read(fixture("old_run").join(name)).expect("a fixture"));
    }
    place.write("rows.csv", &std::fs::read(fixture("old_run").join("rows.csv")).expect("a fixture"));
    place.ok("train --resume --steps 99 --out run");
    let read = |path: &std::path::Path| {
        let file = Tensors::read(path);
        file.names().iter().flat_map(|name| file.f64(name)).collect::<Vec<f64>>()
    };
    let expected = read(&fixture("old_run").join("finished.safetensors"));
    // The same bits on one machine; others round products otherwise.
    expect_close("weights", &read(&place.path("run/model.safetensors")), &expected, 1e-5, Scale::Largest);
    assert_eq!(place.lines("run/metrics.jsonl").len(), 4 * 7 + 4);
}

/// Whoever only reads a run's settings takes no lock.
#[test]
fn settings_are_read_while_a_run_is_in_use() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let (run, _, settings) = RunDirectory::open(&place.path("run")).expect("a run");
    assert_eq!(RunSettings::read(run.path()).expect("settings"), settings);
    assert!(settings.fingerprint.is_some());
}
