//! Launches held against the CPU's and timed, kernels shown, and files to start from.

use crate::support::*;
use crate::temp::*;
use pinhole::Error;
use pinhole::graph::Unary;
use pinhole::model::ModelSpec;
use pinhole::plan::{Instruction, TABLE};
use pinhole::train::{Options, Trainer};
use serde_json::Value as Json;

#[test]
fn every_launch_agrees_with_the_cpu() {
    for model in [SMALL_CONV, SMALL_DENSE] {
        let (network, data) = (network(model), pinhole::data::digits(96, 1));
        for device in fast_devices() {
            let mut trainer = Trainer::new(&network, &device, &data, None, Options::default()).expect("a trainer");
            trainer.start(&initial(&network)).expect("it starts");
            let agreement = trainer.check(2).expect("no disagreement");
            assert_eq!((agreement.steps, agreement.launches), (2, trainer.plan().launches().count()));
            assert!(agreement.worst > 0.0 && agreement.worst < 1e-5, "{agreement:?}");
            // Training goes its way as if nothing had been.
            trainer.start(&initial(&network)).expect("it starts");
            trainer.epoch(&mut ()).expect("an epoch");
            let [checked, plain] = [trainer.parameters().expect("parameters"), {
                let mut trainer = Trainer::new(&network, &device, &data, None, Options::default()).expect("a trainer");
                trainer.start(&initial(&network)).expect("it starts");
                trainer.epoch(&mut ()).expect("an epoch");
                trainer.parameters().expect("parameters")
            }];
            assert_eq!(checked, plain, "{}", device.name());
        }
    }
}

/// Their gradients are nothing but rounding.
#[test]
fn biases_before_a_normalisation_raise_no_alarm() {
    let convolutional = r#"
input = [1, 28, 28]
loss = "mse"
encoder = [{ conv2d = { out = 8, kernel = 3, stride = 2, padding = 1 } }, "batch_norm", "relu", "flatten", { linear = 16 }]
decoder = [{ linear = 784 }, "sigmoid", { unflatten = [1, 28, 28] }]
[train]
batch = 32
"#;
    let dense = r#"
input = [784]
loss = "mse"
encoder = [{ linear = 24 }, "batch_norm", "relu", { linear = 8 }]
decoder = [{ linear = 784 }, "sigmoid"]
[train]
batch = 32
"#;
    for model in [convolutional, dense] {
        let (network, data) = (network(model), pinhole::data::digits(96, 1));
        for device in fast_devices() {
            let mut trainer = Trainer::new(&network, &device, &data, None, Options::default()).expect("a trainer");
            trainer.start(&initial(&network)).expect("it starts");
            trainer.check(2).unwrap_or_else(|error| panic!("{}: {error}", device.name()));
        }
    }
}

#[test]
fn the_first_launch_that_disagrees_is_named() {
    let (network, data) = (network(SMALL_CONV), pinhole::data::digits(96, 1));
    for device in fast_devices() {
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default()).expect("a trainer");
        trainer.start(&initial(&network)).expect("it starts");
        let mut faulty = trainer.plan().clone();
        let mut launches: Vec<String> = Vec::new();
        for (step, index) in faulty.steps.iter_mut().zip(0..) {
            for instruction in step.program.iter_mut().flat_map(|program| &mut program.instructions) {
                if let Instruction::Unary(op @ Unary::Relu, _) = instruction {
                    *op = Unary::Softplus;
                    launches.push(format!("launch {index} ({} \"{}\")", step.kernel.name(), step.label));
                }
            }
        }
        let error = trainer.check_against(&faulty, 1).expect_err("a disagreement");
        let text = error.to_string();
        assert!(matches!(error, Error::Disagreement { .. }), "{text}");
        assert!(text.starts_with(&format!("step 1, {}: element ", launches[0])), "{text} not in {launches:?}");
        assert!(text.contains(&device.name()), "{text}");
    }
}

#[test]
fn launches_are_timed() {
    let (network, data) = (network(SMALL_CONV), pinhole::data::digits(96, 1));
    for device in all_devices() {
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default()).expect("a trainer");
        trainer.start(&initial(&network)).expect("it starts");
        let profile = trainer.profile(3).expect("a profile");
        let launches: Vec<_> = trainer.plan().launches().map(|(_, launch)| launch).collect();
        assert_eq!((profile.steps(), profile.launches.len()), (3, launches.len()));
        let operations: u64 = profile.launches.iter().map(|launch| launch.operations).sum();
        assert_eq!(operations, trainer.plan().operations());
        let mut end = 0;
        for step in 0..3 {
            for launch in &profile.launches {
                let [begun, lasted] = launch.spans[step];
                assert!(begun >= end, "{}: launches follow each other", device.name());
                end = begun + lasted;
            }
        }
        assert!(end > 0, "{}: nothing took any time", device.name());
        let kernels = profile.kernels();
        assert_eq!(kernels.iter().map(|(_, count, ..)| count).sum::<usize>(), launches.len());
        assert!(kernels.is_sorted_by(|a, b| a.2 >= b.2));
        let Json::Array(events) = profile.trace("a device") else { panic!("a trace is an array") };
        assert_eq!(events.iter().filter(|event| event["ph"] == "X").count(), 3 * launches.len());
        for event in events.iter().filter(|event| event["ph"] == "X") {
            assert!(event["ts"].is_f64() && event["dur"].is_f64() && event["name"].is_string(), "{event}");
        }
    }
}

#[test]
fn the_program_checks_and_profiles_before_it_trains() {
    let place = Place::new();
    let mut command = place.command("train --model small.toml --data digits:120 --check=1 --profile=2 --out runs/a");
    let said = said(command.args(["--device", &gpu_name()]).output().expect("the program runs"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("of each of 1 steps against the CPU: at most "), "{}", said.stderr);
    assert!(said.stderr.contains("mean of 2"), "{}", said.stderr);
    let trace: Json = serde_json::from_slice(&place.read("runs/a/profile.json")).expect("JSON");
    assert!(trace.as_array().is_some_and(|events| events.len() > 10));
    // The run is that of a program that looked at nothing.
    let mut command = place.command("train --model small.toml --data digits:120 --out runs/b");
    crate::temp::said(command.args(["--device", &gpu_name()]).output().expect("the program runs"));
    assert_eq!(place.read("runs/a/model.safetensors"), place.read("runs/b/model.safetensors"));
}

#[test]
fn every_kernel_is_listed_and_shown_in_every_language() {
    let place = Place::new();
    let list = said(place.command("kernels --device cpu").output().expect("the program runs"));
    assert_eq!(list.code, Some(0), "{list:?}");
    for row in TABLE {
        let name = row.kernel.name();
        assert!(list.stdout.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}:\n{}", list.stdout);
        let first = match row.tiled {
            true => "by_",
            false => row.entry,
        };
        for (language, sign) in [("wgsl", "@compute"), ("msl", "#include <metal_stdlib>"), ("hlsl", "[numthreads(")] {
            let shown =
                said(place.command(&format!("kernels {name} --emit {language} --device cpu")).output().unwrap());
            assert_eq!(shown.code, Some(0), "{shown:?}");
            assert!(shown.stdout.contains(sign), "{name} in {language}: {}", shown.stdout);
            assert!(shown.stdout.contains(first) || shown.stdout.contains("together"), "{name}: {}", shown.stdout);
        }
    }
    let words = place.command("kernels conv2d.forward --emit spirv --device cpu").output().expect("the program runs");
    assert!(words.status.success() && words.stdout.len().is_multiple_of(4));
    assert_eq!(words.stdout[..4], 0x0723_0203u32.to_le_bytes());
    let unknown = said(place.command("kernels conv2d.forwrd --device cpu").output().expect("the program runs"));
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("did you mean \"conv2d.forward\"?"), "{}", unknown.stderr);
    let unknown = said(place.command("kernels --emit glsl").output().expect("the program runs"));
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[test]
fn a_starter_file_is_the_model_with_comments() {
    let place = Place::new();
    for preset in ["conv", "dense"] {
        let file = format!("{preset}.toml");
        let made = said(place.command(&format!("init {preset} {file}")).output().expect("the program runs"));
        assert_eq!(made.code, Some(0), "{made:?}");
        let spec = ModelSpec::read(&place.path(&file)).expect("a model file");
        assert_eq!(spec, ModelSpec::resolve(preset).expect("a preset"));
        let text = String::from_utf8(place.read(&file)).expect("text");
        let keys =
            text.lines().filter(|line| line.contains('=') && line.starts_with(|c: char| c.is_ascii_alphabetic()));
        for key in keys {
            let at = text.lines().position(|line| line == key).expect("a line");
            assert!(text.lines().nth(at - 1).is_some_and(|line| line.starts_with("# ")), "no comment above {key}");
        }
        // A file that is there is left alone.
        let again = said(place.command(&format!("init {preset} {file}")).output().expect("the program runs"));
        assert_eq!(again.code, Some(1), "{again:?}");
        assert_eq!(String::from_utf8(place.read(&file)).expect("text"), text);
        let printed = said(place.command(&format!("init {preset}")).output().expect("the program runs"));
        assert_eq!(printed.stdout, text);
    }
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = said(place.command(&format!("completions {shell}")).output().expect("the program runs"));
        assert_eq!(script.code, Some(0), "{script:?}");
        assert!(script.stdout.contains("train") && script.stdout.contains("kernels"), "{shell}");
    }
}

/// The scalars of an event file: tag, step and value, with every length and checksum checked.
fn scalars(bytes: &[u8]) -> Vec<(String, u64, f32)> {
    let masked = |data: &[u8]| crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let (mut scalars, mut at) = (vec![], 0);
    while at < bytes.len() {
        let length = &bytes[at..at + 8];
        assert_eq!(bytes[at + 8..at + 12], masked(length));
        let end = at + 12 + u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let event = &bytes[at + 12..end];
        assert_eq!(bytes[end..end + 4], masked(event));
        at = end + 4;
        let fields = fields(event);
        assert!(f64::from_le_bytes(fields[0].1[..].try_into().expect("a time")) > 1.7e9);
        match fields[2].0 {
            3 => assert_eq!(fields[2].1, b"brain.Event:2"),
            field => {
                assert_eq!(field, 5);
                let value = self::fields(&self::fields(&fields[2].1)[0].1);
                let tag = String::from_utf8(value[0].1.clone()).expect("a tag");
                let step = fields[1].1.iter().rev().fold(0, |step, byte| step << 7 | u64::from(byte & 0x7f));
                scalars.push((tag, step, f32::from_le_bytes(value[1].1[..].try_into().expect("a number"))));
            }
        }
    }
    scalars
}

/// The fields of a message of protocol buffers: number and bytes.
fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = vec![];
    while let [key, rest @ ..] = message {
        let varint = rest.iter().position(|byte| *byte < 0x80).map_or(0, |last| last + 1);
        let (skip, length) = match key & 7 {
            0 => (0, varint),
            1 => (0, 8),
            2 => (varint, rest[..varint].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f))),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, rest[skip..skip + length].to_vec()));
        message = &rest[skip + length..];
    }
    fields
}

#[test]
fn tensorboard_finds_every_metric_also_after_a_resume() {
    let place = Place::new();
    let options = "--data digits:120 --device cpu --log-steps --tensorboard --out runs/a";
    let begun = said(place.command(&format!("train --model small.toml --steps 6 {options}")).output().unwrap());
    assert_eq!(begun.code, Some(0), "{begun:?}");
    let ended = said(place.command("train --resume --steps 100 --out runs/a").output().expect("the program runs"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let names = place.names("runs/a");
    let events: Vec<_> = names.iter().filter(|name| name.starts_with("events.out.tfevents.")).collect();
    assert_eq!(events.len(), 1, "{names:?}");
    let found = scalars(&place.read(&format!("runs/a/{}", events[0])));
    let mut expected = vec![];
    for line in place.lines("runs/a/metrics.jsonl") {
        if let Some(step) = line["step"].as_u64() {
            expected.push(("loss/step".to_owned(), step, line["loss"].as_f64().expect("a loss") as f32));
            continue;
        }
        for (tag, key) in [("loss/train", "train_loss"), ("loss/validation", "val_loss"), ("mse/validation", "val_mse")]
        {
            let value = line[key].as_f64().expect("a number") as f32;
            expected.push((tag.to_owned(), line["epoch"].as_u64().expect("an epoch"), value));
        }
    }
    assert!(expected.len() > 12 + 9 - 1, "{expected:?}");
    assert_eq!(found, expected);
}
