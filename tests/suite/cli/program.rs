//! The program as a user meets it: what it writes and prints, and how it ends.

use crate::support::*;
use crate::temp::*;
use pinhole::Autoencoder;
use pinhole::data::images::{read_png, to_bytes};
use pinhole::data::{digits, idx};
use pinhole::model::ModelSpec;
use pinhole::model::config::Precision;
use pinhole::shape::Shape;
use serde_json::Value as Json;

// ---- train

#[test]
fn train_leaves_a_whole_run_and_prints_a_line_an_epoch() {
    for device in [gpu(), pinhole::Device::Cpu, pinhole::Device::CpuF64] {
        let place = Place::new();
        let (name, option) = (device.name(), if device.name().starts_with("cpu") { device.name() } else { gpu_name() });
        let mut command = place.command("train --model small.toml --data digits:120 --log-steps --out runs/a");
        let said = said(command.args(["--device", &option]).output().expect("the program runs"));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(place.names("runs/a"), RUN_FILES);

        // The results, and nothing else, on stdout.
        let printed: Vec<Json> =
            said.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(printed.len(), 3);
        for (line, epoch) in printed.iter().zip(1..) {
            assert_eq!(keys(line), EPOCH_KEYS);
            assert_eq!((&line["epoch"], &line["device"]), (&Json::from(epoch), &Json::from(name.clone())));
            assert!(line["train_loss"].is_f64() && line["val_loss"].is_f64() && line["val_mse"].is_f64());
            assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        }
        // Everything else on stderr: no bar, no colour.
        let begun =
            format!("training 38758 parameters on 120 samples of digits (20 to validate), on {name}, into runs/a\n");
        assert!(said.stderr.starts_with(&begun), "{}", said.stderr);
        assert!(said.stderr.ends_with("model, metrics and pictures are in runs/a\n"), "{}", said.stderr);
        assert!(!said.stderr.contains(['\r', '\x1b']), "{:?}", said.stderr);
        assert_eq!(said.stderr.lines().count(), if option.starts_with("cpu") { 2 } else { 3 }, "{}", said.stderr);

        // Four steps of an epoch, then the epoch.
        let metrics = place.lines("runs/a/metrics.jsonl");
        assert_eq!(metrics.len(), 3 * 5);
        let epochs: Vec<&Json> = metrics.iter().filter(|line| line.get("epoch").is_some()).collect();
        assert_eq!(epochs, printed.iter().collect::<Vec<_>>());
        let steps: Vec<&Json> = metrics.iter().filter(|line| line.get("step").is_some()).collect();
        for (line, step) in steps.iter().zip(1..) {
            assert_eq!((keys(line), &line["step"]), (vec!["loss", "step"], &Json::from(step)));
        }
        let mean: f64 =
            steps[..4].iter().zip([32.0, 32.0, 32.0, 24.0]).map(|(line, n)| line["loss"].as_f64().unwrap() * n).sum();
        let first = printed[0]["train_loss"].as_f64().expect("a loss");
        expect_close("an epoch's loss", &[first], &[mean / 120.0], 1e-12, Scale::Relative);

        // The model is the library's, the weights the ones that were validated last.
        let autoencoder = Autoencoder::load(place.path("runs/a"), device).expect("a model");
        assert_eq!(autoencoder.network().spec(), &spec(SMALL_DENSE));
        let test = pinhole::data::load("digits:120").expect("digits").test.expect("a test part");
        let loss = autoencoder.evaluate(&test).expect("an evaluation").loss;
        let expected = printed[2]["val_loss"].as_f64().expect("a loss");
        expect_close("the weights' loss", &[loss], &[expected], 1e-6, Scale::Relative);

        // Two rows of ten originals, each above its reconstructions, four pixels for one, two between cells.
        let (shape, pixels) = read_png(place.path("runs/a/reconstructions.png")).expect("a picture");
        let (width, height) = (10 * 112 + 9 * 2, 4 * 112 + 3 * 2);
        assert_eq!(shape, Shape::from([1, height, width]));
        let original = test.rows_f32(12..13);
        let reconstruction = autoencoder.reconstruct(&original).expect("a reconstruction").to_f32();
        for (row, values) in [(2, original), (3, reconstruction)] {
            let bytes = to_bytes(&values);
            for (at, byte) in bytes.iter().enumerate() {
                let (y, x) = (row * 114 + at / 28 * 4 + 1, 2 * 114 + at % 28 * 4 + 1);
                let pixel = pixels[y * width + x];
                assert!(pixel.abs_diff(*byte) <= 1, "row {row}, pixel {at}: {pixel}, expected {byte}");
            }
        }
        let (shape, _) = read_png(place.path("runs/a/loss.png")).expect("a picture");
        assert!(shape[1] >= 100 && shape[2] >= 100, "{shape}");
    }
}

#[test]
fn runs_are_numbered_and_never_overwritten() {
    let place = Place::new();
    let short = "--data digits:60 --device cpu --epochs 1";
    place.ok(&format!("train --model small.toml {short}"));
    place.ok(&format!("train --model small.toml {short}"));
    place.ok(&format!("train --model dense --batch 30 {short}"));
    assert_eq!(place.names("runs"), ["dense-1", "small-1", "small-2"]);
    let before = place.read("runs/small-1/model.safetensors");
    place.fail(&[(
        "train --model small.toml --data digits:60 --device cpu --out runs/small-1",
        "runs/small-1: already holds a run; continue it with --resume, or choose another --out",
    )]);
    assert!(place.read("runs/small-1/model.safetensors") == before);
    // Without --out the newest run goes on.
    let said = place.ok("train --resume --epochs 2");
    assert!(said.stderr.contains("into runs/dense-1\n"), "{}", said.stderr);
    assert_eq!(place.lines("runs/dense-1/metrics.jsonl").len(), 2);
    assert_eq!(place.lines("runs/small-2/metrics.jsonl").len(), 1);
}

#[test]
fn options_do_what_they_say() {
    let place = Place::new();
    let train = |out: &str, options: &str| {
        place.ok(&format!("train --model small.toml --data digits:60 --device cpu --out {out} {options}"));
        ModelSpec::read(&place.path(out).join("model.toml")).expect("a model file")
    };
    let weights = |run: &str| place.read(&format!("{run}/model.safetensors"));
    let plain = train("plain", "");
    assert_eq!(plain, spec(SMALL_DENSE));
    assert_eq!(train("again", ""), plain);
    assert!(weights("plain") == weights("again"), "the same command gives the same bytes");
    assert_eq!(train("seed", "--seed 8").train.seed, 8);
    assert!(weights("plain") != weights("seed"));
    assert_eq!(train("rate", "--lr 0.001").train.optimizer.lr, 0.001);
    assert_eq!(train("precision", "--precision f16").train.precision, Precision::F16);
    assert!(weights("plain") != weights("rate"));
    assert_eq!(train("batch", "--batch 20").train.batch, 20);
    assert_eq!(train("epochs", "--epochs 1").train.epochs, 1);
    assert_eq!(place.lines("epochs/metrics.jsonl").len(), 1);

    let set = train("set", "--set train.batch=16 --set encoder.0.linear=12 --set loss=mse --set train.optimizer=sgd");
    assert_eq!((set.train.batch, &set.loss.name()[..], set.train.optimizer.name()), (16, "mse", "sgd"));
    let file = Tensors::read(&place.path("set/model.safetensors"));
    assert_eq!(file.shape("encoder.0.weight"), [12, 784]);
    assert_eq!(file.shape("encoder.2.weight"), [6, 12]);

    // With the weights and the order given, the seed changes nothing.
    let start = "--init seed/model.safetensors --no-shuffle";
    assert!(!train("a", &format!("{start} --seed 1")).train.shuffle);
    train("b", &format!("{start} --seed 2"));
    assert!(weights("a") == weights("b"));
    train("c", "--init seed/model.safetensors --seed 1");
    assert!(weights("a") != weights("c"), "shuffling matters");
    // Where training begins is where the last one ended: the losses go on.
    let first = |run: &str| place.lines(&format!("{run}/metrics.jsonl"))[0]["train_loss"].as_f64().expect("a loss");
    assert!(first("c") < first("plain"));

    // The order of the data is the order of the steps.
    train("logged", "--no-shuffle --log-steps --steps 3");
    let lines = place.lines("logged/metrics.jsonl");
    assert_eq!(lines.iter().filter(|line| line.get("step").is_some()).count(), 3);
    let epochs: Vec<_> = lines.iter().filter_map(|line| line.get("epoch")).collect();
    assert_eq!(epochs, [1, 2], "two steps an epoch, and the one that was left");
}

#[test]
fn data_of_every_kind_can_be_trained_on() {
    let place = Place::new();
    let data = digits(80, 5);
    let bytes: Vec<u8> = to_bytes(&data.rows_f32(0..80));
    // An IDX file without test part: a tenth is set aside; with none set aside nothing is validated.
    idx::write_idx_u8(place.path("images.gz"), &Shape::from([80, 28, 28]), &bytes).expect("a file");
    let said = place.ok("train --model small.toml --data images.gz --device cpu --epochs 1 --out a");
    assert!(said.stderr.contains("on 72 samples of images.gz (8 to validate)"), "{}", said.stderr);
    let said =
        place.ok("train --model small.toml --data images.gz --device cpu --epochs 1 --out b --set train.validation=0");
    assert!(said.stderr.contains("on 80 samples of images.gz (none to validate)"), "{}", said.stderr);
    let line: Json = serde_json::from_str(said.stdout.trim()).expect("a line of JSON");
    assert_eq!(keys(&line), ["device", "epoch", "seconds", "train_loss"]);
    // Floats.
    let mut floats = vec![0, 0, 0x0d, 2, 0, 0, 0, 80, 0, 0, 3, 16];
    floats.extend(data.rows_f32(0..80).iter().flat_map(|value| value.to_be_bytes()));
    place.write("floats", &floats);
    place.ok("train --model small.toml --data floats --device cpu --epochs 1 --out c --set train.validation=0");
    assert!(place.read("b/model.safetensors") == place.read("c/model.safetensors"), "bytes are their floats");
    // MNIST's names in a folder.
    for (name, count) in [("train-images-idx3-ubyte", 60), ("t10k-images-idx3-ubyte", 20)] {
        std::fs::create_dir_all(place.path("mnist")).expect("a folder");
        let shape = Shape::from([count, 28, 28]);
        idx::write_idx_u8(place.path("mnist").join(name), &shape, &bytes[..count * 784]).expect("a file");
    }
    let said = place.ok("train --model small.toml --data mnist --device cpu --epochs 1 --out d");
    assert!(said.stderr.contains("on 60 samples of mnist (20 to validate)"), "{}", said.stderr);
}

#[test]
fn rows_that_are_no_pictures_are_trained_on_without_pictures() {
    let place = Place::new();
    place.write(
        "rows.toml",
        b"input = [6]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 6 }]\n[train]\nbatch = 8\n",
    );
    let values: Vec<f32> = (0..40 * 6).map(|at| (at as f32 * 0.37).sin()).collect();
    let mut rows = vec![0, 0, 0x0d, 2, 0, 0, 0, 40, 0, 0, 0, 6];
    rows.extend(values.iter().flat_map(|value| value.to_be_bytes()));
    place.write("rows", &rows);
    place.ok("train --model rows.toml --data rows --device cpu --out run");
    assert_eq!(place.names("run"), RUN_FILES.into_iter().filter(|name| !name.starts_with("rec")).collect::<Vec<_>>());
    place.ok("eval run --data rows --device cpu");
    place.fail(&[(
        "reconstruct run rows out.png --device cpu",
        "out.png: is to show pictures, but samples [6] are not pictures with one or three channels; name it .npy or .csv",
    )]);
}

// ---- eval, reconstruct, summary, plan, init, devices

#[test]
fn eval_measures_the_test_part() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:120 --device cpu --out run");
    let last = place.lines("run/metrics.jsonl")[2].clone();
    let said = place.ok("eval run --data digits:120 --device cpu --json");
    assert_eq!(said.stderr, "");
    let line: Json = serde_json::from_str(said.stdout.trim_end()).expect("one line of JSON");
    assert_eq!(keys(&line), ["loss", "mae", "mse", "psnr", "samples"]);
    assert_eq!((&line["loss"], &line["mse"]), (&last["val_loss"], &last["val_mse"]));
    assert_eq!(line["samples"], 20);
    let psnr = -10.0 * line["mse"].as_f64().expect("an error").log10();
    expect_close("PSNR", &[line["psnr"].as_f64().expect("a ratio")], &[psnr], 1e-12, Scale::Relative);

    let number = |key: &str| line[key].as_f64().expect("a number");
    let expected = format!(
        "loss (bce)  {:.6}\nMSE         {:.6}\nMAE         {:.6}\nPSNR        {:.2} dB\nsamples     20\n",
        number("loss"),
        number("mse"),
        number("mae"),
        number("psnr")
    );
    assert_eq!(place.ok("eval run --data digits:120 --device cpu").stdout, expected);
    // On the GPU, nearly the same.
    let said = said_on_gpu(&place, "eval run --data digits:120 --json");
    let on_gpu: Json = serde_json::from_str(said.stdout.trim_end()).expect("one line of JSON");
    expect_close("on the GPU", &[on_gpu["mse"].as_f64().expect("an error")], &[number("mse")], 1e-5, Scale::Relative);
}

fn said_on_gpu(place: &Place, arguments: &str) -> Said {
    let said = said(place.command(arguments).args(["--device", &gpu_name()]).output().expect("the program runs"));
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

#[test]
fn reconstruct_takes_and_writes_pictures() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:120 --device cpu --out run");
    let data = digits(12, 5);
    let bytes = to_bytes(&data.rows_f32(0..12));
    idx::write_idx_u8(place.path("images"), &Shape::from([12, 28, 28]), &bytes).expect("a file");
    let autoencoder = Autoencoder::load(place.path("run"), pinhole::Device::Cpu).expect("a model");
    let expected = to_bytes(&autoencoder.reconstruct(&data.rows_f32(0..12)).expect("pictures").to_f32());
    let expect_picture = |path: &str, index: usize| {
        let (shape, bytes) = read_png(place.path(path)).expect("a picture");
        assert_eq!(shape, Shape::from([1, 28, 28]), "{path}");
        let expected = &expected[index * 784..][..784];
        assert!(bytes.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{path} is no reconstruction {index}");
    };

    // IDX to a folder, numbered.
    let said = place.ok("reconstruct run images out/numbered --device cpu");
    assert_eq!((&said.stdout[..], &said.stderr[..]), ("12 pictures in out/numbered\n", ""));
    let names: Vec<String> = (0..12).map(|number| format!("{number:05}.png")).collect();
    assert_eq!(place.names("out/numbered"), names);
    for index in 0..12 {
        expect_picture(&format!("out/numbered/{index:05}.png"), index);
    }
    // IDX to a grid: ten and two, above their reconstructions.
    let said = place.ok("reconstruct run images out/grid.png --device cpu");
    assert_eq!((&said.stdout[..], &said.stderr[..]), ("out/grid.png\n", ""));
    let (shape, _) = read_png(place.path("out/grid.png")).expect("a picture");
    assert_eq!(shape, Shape::from([1, 4 * 112 + 3 * 2, 10 * 112 + 9 * 2]));

    // A folder of PNGs to a folder, by their names; a PNG to a folder and to a PNG.
    for (name, index) in [("b.png", 0), ("a.png", 1), ("c.PNG", 2)] {
        std::fs::create_dir_all(place.path("in")).expect("a folder");
        let picture = &bytes[index * 784..][..784];
        let shape = Shape::from([1, 28, 28]);
        pinhole::data::images::write_png(place.path("in").join(name), &shape, picture).expect("a picture");
    }
    let said = place.ok("reconstruct run in out/named --device cpu");
    assert_eq!(said.stdout, "3 pictures in out/named\n");
    assert_eq!(place.names("out/named"), ["a.png", "b.png", "c.png"]);
    for (name, index) in [("b", 0), ("a", 1), ("c", 2)] {
        expect_picture(&format!("out/named/{name}.png"), index);
    }
    place.ok("reconstruct run in/a.png out/one --device cpu");
    assert_eq!(place.names("out/one"), ["a.png"]);
    expect_picture("out/one/a.png", 1);
    place.ok("reconstruct run in/a.png out/pair.png --device cpu");
    let (shape, _) = read_png(place.path("out/pair.png")).expect("a picture");
    assert_eq!(shape, Shape::from([1, 2 * 112 + 2, 112]));
    // On the GPU too, and built-in digits; more than a grid shows.
    said_on_gpu(&place, "reconstruct run images out/gpu");
    expect_picture("out/gpu/00011.png", 11);
    let said = place.ok("reconstruct run digits:1260 out/many.png --device cpu");
    assert_eq!(said.stderr, "the grid shows the first 200 of 210 pictures; name a folder for all\n");
}

#[test]
fn summary_and_plan_show_the_model() {
    let place = Place::new();
    let said = place.ok("summary small.toml");
    assert_eq!(said.stderr, "");
    let expected = "\
name         layer             input           output          parameters         FLOP
encoder.0    linear            [784]           [24]                 18840        37632
encoder.1    relu              [24]            [24]                     0           24
encoder.2    linear            [24]            [6]                    150          288
decoder.0    linear            [6]             [24]                   168          288
decoder.1    relu              [24]            [24]                     0           24
decoder.2    linear            [24]            [784]                19600        37632
decoder.3    sigmoid           [784]           [784]                    0          784
input [784], latent [6] (0.8 % of the input), 38758 parameters, 76672 FLOP forward for one sample, loss bce
";
    assert_eq!(said.stdout, expected);
    let line: Json = serde_json::from_str(place.ok("summary conv --json").stdout.trim_end()).expect("a line of JSON");
    assert_eq!(keys(&line), ["flops", "input", "latent", "layers", "parameters"]);
    assert_eq!((&line["parameters"], line["layers"].as_array().map(Vec::len)), (&Json::from(211905), Some(13)));

    // A line for each launch under the header, from the gathered batch to the step counter.
    for model in ["small.toml", "conv", "dense"] {
        let said = place.ok(&format!("plan {model} --batch 16 --samples 100"));
        let lines: Vec<&str> = said.stdout.lines().collect();
        // Steps that share the dispatch of the one before them are marked.
        let beside = lines[1..].iter().filter(|line| {
            line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).starts_with('+')
        });
        let launches = format!("plan \"train 16\": {} launches, ", lines.len() - 1 - beside.count());
        assert!(lines[0].starts_with(&launches), "{}", lines[0]);
        assert!(lines[1].contains("batch.batch_bytes") && lines[1].contains("[16, "), "{}", lines[1]);
        assert!(lines.last().is_some_and(|line| line.contains("state.advance")), "{said:?}");
        for (index, line) in lines[1..].iter().enumerate() {
            assert!(line.trim_start().starts_with(&index.to_string()), "{line}");
            for part in [" groups ", " flop ", " bytes ", "@"] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
    // A run's directory is a model too.
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    assert_eq!(place.ok("summary run").stdout, expected);
}

#[test]
fn every_command_that_takes_a_model_changes_it_alike() {
    let place = Place::new();
    let changes = "--latent 5 --set encoder.0.linear=12";
    let summary = place.ok(&format!("summary small.toml {changes}")).stdout;
    for expected in ["encoder.0    linear            [784]           [12]", "decoder.0    linear            [5]"] {
        assert!(summary.contains(expected), "{summary}");
    }
    place.ok(&format!("init small.toml changed.toml {changes}"));
    place.ok(&format!("train --model small.toml {changes} --data digits:60 --device cpu --epochs 1 --out run"));
    for model in ["changed.toml", "run"] {
        assert_eq!(place.ok(&format!("summary {model}")).stdout, summary);
    }
    // The decoder mirrors the encoder, or there is no pretraining layer by layer.
    let changes = format!("{changes} --set decoder.0.linear=12");
    place.ok(&format!("pretrain small.toml {changes} --data digits:60 --device cpu --epochs 1 --out layers"));
    assert_eq!(place.ok("summary layers").stdout, place.ok(&format!("summary small.toml {changes}")).stdout);
    let plan = |command: &str| place.ok(&format!("plan {command} --device cpu")).stdout;
    assert_eq!(plan("small.toml --latent 5 --set encoder.0.linear=12"), plan("changed.toml"));
    assert_ne!(plan("small.toml"), plan("changed.toml"));
}

#[test]
fn devices_lists_the_adapters() {
    let place = Place::new();
    let line: Json = serde_json::from_str(place.ok("devices --json").stdout.trim_end()).expect("a line of JSON");
    assert_eq!(keys(&line), ["adapters", "auto", "cpu_threads"]);
    let adapters = line["adapters"].as_array().expect("a list");
    let pinhole::Device::Gpu(gpu) = gpu() else { panic!("the GPU is one") };
    let tested = adapters.iter().find(|adapter| adapter["name"] == gpu.summary().name).expect("the tested adapter");
    assert_eq!(tested, &serde_json::to_value(gpu.summary()).expect("JSON"));
    let real = adapters.iter().find(|adapter| adapter["software"] == false);
    assert_eq!(line["auto"], real.map_or(Json::from("cpu"), |adapter| adapter["name"].clone()));
    let text = place.ok("devices").stdout;
    assert!(text.contains(&gpu.summary().name), "{text}");
    assert!(text.ends_with(&format!("auto takes: {}\n", line["auto"].as_str().expect("a name"))), "{text}");
}

// ---- PyTorch's trajectories, by the program

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn golden_losses_come_out_of_the_program() {
    let place = Place::new();
    let data = test_data();
    let train = |model: &str, device: &str| {
        let mut command = place.command("train --batch 128 --steps 50 --no-shuffle --log-steps");
        command.args(["--model", if model == "conv-ae" { "conv" } else { "dense" }, "--device", device]);
        command.arg("--data").arg(data.join("data/mnist"));
        command.arg("--init").arg(data.join(format!("golden/{model}.init.safetensors")));
        let out = format!("{model}-{}", if device.starts_with("cpu") { device } else { "gpu" });
        let said = said(command.args(["--out", &out]).output().expect("the program runs"));
        assert_eq!(said.code, Some(0), "{said:?}");
        let lines = place.lines(&format!("{out}/metrics.jsonl"));
        lines.iter().filter_map(|line| line.get("step").and(line["loss"].as_f64())).collect::<Vec<f64>>()
    };
    for (model, stray) in [("conv-ae", 2e-3), ("dense-ae", 1e-5)] {
        let reference = json(&data.join(format!("golden/{model}.json")));
        let expected = numbers(&reference["losses"]);
        for device in ["cpu", &gpu_name()[..]] {
            let losses = train(model, device);
            expect_close(&format!("{model} on {device}"), &losses[..5], &expected[..5], 1e-6, Scale::Relative);
            expect_close(&format!("{model} on {device}"), &losses, &expected, stray, Scale::Relative);
        }
    }
    let reference = json(&data.join("golden/dense-ae.json"));
    expect_close("in f64", &train("dense-ae", "cpu-f64"), &numbers(&reference["losses64"]), 1e-8, Scale::Relative);
}

/// The goal on real MNIST: PyTorch's conv-ae comes to 0.0034 to 0.0038 in five epochs.
#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn presets_learn_mnist() {
    let place = Place::new();
    for (model, key, most) in [("conv", "val_mse", 0.0040), ("dense", "val_loss", 0.107)] {
        let mut command = place.command(&format!("train --model {model} --device cpu --out {model} --data"));
        let said = said(command.arg(test_data().join("data/mnist")).output().expect("the program runs"));
        assert_eq!(said.code, Some(0), "{said:?}");
        let last: Json = serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("a line of JSON");
        let loss = last[key].as_f64().expect("a loss");
        assert!(loss <= most, "{model}: {loss} after {} epochs", last["epoch"]);
    }
}
