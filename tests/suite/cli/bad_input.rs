//! What the program says of wrong usage and bad input: one line, and no panic.

use crate::support::*;
use crate::temp::*;
use pinhole::shape::Shape;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value as Json;

// ---- usage

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let place = Place::new();
    for arguments in ["--help", "--version", "help", "train --help", "eval --help", "reconstruct --help"] {
        let said = place.ok(arguments);
        assert!(!said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
    }
    for arguments in [
        "",
        "trian",
        "train --frobnicate",
        "train extra",
        "train --epochs 0",
        "train --epochs -1",
        "train --epochs many",
        "train --batch 0",
        "train --batch 1.5",
        "train --steps 0",
        "train --lr fast",
        "train --seed x",
        "train --set",
        "train --new-data",
        "eval",
        "eval run",
        "eval run --data",
        "reconstruct run in",
        "summary",
        "plan",
        "plan conv --batch 0",
        "plan conv --samples 0",
        "devices --yaml",
    ] {
        let said = place.run(arguments);
        assert_eq!((said.code, &said.stdout[..]), (Some(2), ""), "{arguments}: {said:?}");
        assert!(!said.stderr.is_empty(), "{arguments}");
    }
    assert_eq!(place.names(""), ["small.toml"], "nothing is written");
}

// ---- bad input

#[test]
fn bad_models_and_settings_are_told_in_one_line() {
    let place = Place::new();
    let replaced = |name: &str, from: &str, to: &str| {
        assert!(SMALL_DENSE.contains(from));
        place.write(name, SMALL_DENSE.replacen(from, to, 1).as_bytes());
    };
    replaced("key.toml", "epochs", "epocs");
    replaced("type.toml", "batch = 32", "batch = \"32\"");
    replaced("fit.toml", "{ linear = 784 }", "{ linear = 783 }");
    replaced("zero.toml", "{ linear = 6 }", "{ linear = 0 }");
    replaced("syntax.toml", "loss = \"bce\"", "loss = bce");
    replaced("layer.toml", "\"relu\"", "\"rleu\"");
    place.write("binary.toml", &[0xff, 0xfe, 0]);
    let train = |rest: &str| format!("train --data digits:60 --device cpu --out x {rest}");
    place.fail(&[
        (&train("--model nothing"), MODEL_NOTHING),
        (&train("--model nothing.toml"), MODEL_FILE),
        (&train("--model key.toml"), "key.toml: line 8, train: unknown key \"epocs\"; did you mean \"epochs\"?"),
        (
            &train("--model type.toml"),
            "type.toml: line 7, train.batch: expects a whole number, got \"32\"; write 3, say",
        ),
        (
            &train("--model fit.toml"),
            "fit.toml: line 5, decoder.2.linear: the decoder's output is [783], the model's input [784]; write { \
             linear = 784 }",
        ),
        (
            &train("--model zero.toml"),
            "zero.toml: line 4, encoder.2.linear: out must be at least 1, got 0; use a positive number",
        ),
        (
            &train("--model syntax.toml"),
            "syntax.toml: line 3: string values must be quoted, expected literal string; see https://toml.io for \
             the syntax",
        ),
        (&train("--model layer.toml"), "layer.toml: line 4, encoder.1: unknown layer \"rleu\"; did you mean \"relu\"?"),
        (
            &train("--model binary.toml"),
            "binary.toml: is not UTF-8 text; a model is a TOML file; was another file meant?",
        ),
        (
            &train("--model small.toml --set train.bacth=3"),
            "--set train.bacth=3: train: unknown key \"bacth\"; did you mean \"batch\"?",
        ),
        (
            &train("--model small.toml --set train.batch"),
            "--set train.batch: there is no value; write key=value, as in train.batch=64",
        ),
        (
            &train("--model small.toml --set train.batch=0"),
            "train.batch: expects a whole number, at least 1, got 0; use 128, say",
        ),
        (
            &train("--model small.toml --set encoder.0.linear=-5"),
            "--set encoder.0.linear=-5: must not be negative, got -5; use a positive number",
        ),
        (
            &train("--model small.toml --set decoder.2.linear=5"),
            "decoder.2.linear: the decoder's output is [5], the model's input [784]; write { linear = 784 }",
        ),
        (
            &train("--model small.toml --lr -0.1"),
            "train.optimizer.adam.lr: expects a number, at least 0, got -0.1; use 0.001, say",
        ),
        (
            &train("--model small.toml --lr nan"),
            "train.optimizer.adam.lr: expects a number, at least 0, got NaN; use 0.001, say",
        ),
        (
            &train("--model small.toml --batch 61"),
            "batch 61: data \"digits\" has only 60 samples to train on; use --batch 60 or less",
        ),
        (
            &train("--model small.toml --batch 99999999999"),
            "train.batch: must be at most 1048576, got 99999999999; use 1048576 or less",
        ),
        (
            &train("--model small.toml --seed 18446744073709551615"),
            "train.seed: must be at most 9223372036854775807, got 18446744073709551615; use 9223372036854775807 or \
             less",
        ),
        ("summary nothing", MODEL_NOTHING),
        (
            "plan conv --samples 99999999999999999",
            "samples: 99999999999999999 samples of 784 numbers each are more than 2^31 numbers; use 2739137 or fewer",
        ),
        (
            "plan conv --samples 100",
            "batch 128: data \"data\" has only 100 samples to train on; use --batch 100 or less",
        ),
    ]);
    assert!(!place.path("x").exists(), "nothing is left behind");
}

const MODEL_NOTHING: &str = "model \"nothing\": it is no preset, and there is no .toml file of that name; \
                             \"pinhole models\" lists the presets";
const MODEL_FILE: &str = "model \"nothing.toml\": it is no preset, and there is no .toml file of that name; \
                          check the path";

#[test]
fn bad_data_is_told_in_one_line() {
    let place = Place::new();
    let header = |kind: u8, sizes: &[u32]| {
        let mut bytes = vec![0, 0, kind, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes
    };
    let with = |mut bytes: Vec<u8>, more: usize| {
        bytes.resize(bytes.len() + more, 7);
        bytes
    };
    place.write("short", &with(header(8, &[10, 28, 28]), 5000));
    place.write("long", &with(header(8, &[10, 28, 28]), 8000));
    place.write("liar", &with(header(8, &[4_000_000_000, 28, 28]), 784));
    place.write("giant", &with(header(8, &[u32::MAX, u32::MAX, u32::MAX]), 784));
    place.write("nothing", &header(8, &[0, 28, 28]));
    place.write("flat", &header(8, &[10, 0, 28]));
    place.write("labels", &with(header(8, &[10]), 10));
    place.write("unknown", &with(header(0x0a, &[1, 784]), 784));
    place.write("headless", &header(8, &[10, 28, 28])[..9]);
    place.write("empty", &[]);
    place.write("text", b"not a picture at all");
    place.write("cut.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2]);
    place.write("half.png", &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0]);
    let mut floats = header(0x0d, &[40, 784]);
    floats.extend((0..40 * 784).flat_map(|at| if at == 3 * 784 + 17 { f32::NAN } else { 0.5 }.to_be_bytes()));
    place.write("nan", &floats);
    place.write("wide", &with(header(8, &[40, 30, 30]), 40 * 900));
    place.write("mixed/train-images-idx3-ubyte", &with(header(8, &[40, 28, 28]), 40 * 784));
    place.write("mixed/t10k-images-idx3-ubyte", &with(header(8, &[4, 14, 14]), 4 * 196));
    place.write("test-only/t10k-images-idx3-ubyte", &with(header(8, &[4, 28, 28]), 4 * 784));
    place.write("bare/readme", b"");
    let train = |data: &str| format!("train --model small.toml --device cpu --out x --data {data}");
    place.fail(&[
        (
            &train("short"),
            "short: has shape [10, 28, 28], 7840 bytes, but only 5000 follow the header; the file is damaged: \
             get it again",
        ),
        (
            &train("long"),
            "long: has shape [10, 28, 28], 7840 bytes, but more follow the header; the file is damaged: get it \
             again",
        ),
        (
            &train("liar"),
            "liar: has shape [4000000000, 28, 28], 3136000000000 bytes, but only 784 follow the header; the \
             file is damaged: get it again",
        ),
        (
            &train("giant"),
            "giant: claims shape [4294967295, 4294967295, 4294967295], more than memory can address; the file is \
             damaged: get it again",
        ),
        (&train("nothing"), "nothing: has shape [0, 28, 28] and so holds nothing; give a file with samples"),
        (&train("flat"), "flat: has shape [10, 0, 28] and so holds nothing; give a file with samples"),
        (
            &train("labels"),
            "labels: has shape [10], one number per sample, as labels have; give the file with the images",
        ),
        (
            &train("unknown"),
            "unknown: holds elements of the unknown type 0x0a; the file is damaged: get it again",
        ),
        (&train("headless"), "headless: ends within its header of 16 bytes; the file is damaged: get it again"),
        (
            &train("empty"),
            "empty: is no file of a known kind; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            &train("text"),
            "text: is no file of a known kind; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (&train("cut.gz"), "cut.gz: its gzip data ends early; the file is damaged: get it again"),
        (
            &train("half.png"),
            "half.png: is no readable PNG (unexpected end of file); check that it is a PNG, or get it again",
        ),
        (
            &train("nan"),
            "nan: sample 3, element 17 is NaN (both counted from 0); remove or replace such values before training",
        ),
        (
            &train("wide"),
            "data \"wide\": its samples are [1, 30, 30], the model's input is [784]; choose other data, or change \
             the model's `input` and layers",
        ),
        (
            &train("mixed"),
            "mixed/t10k-images-idx3-ubyte: samples have shape [1, 14, 14], but those of train-images-idx3-ubyte \
             have [1, 28, 28]; take both files from one data set",
        ),
        (
            &train("test-only"),
            "test-only: there is t10k-images-idx3-ubyte in this folder, but no train-images-idx3-ubyte; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            &train("bare"),
            "bare: there is neither train-images-idx3-ubyte (or .gz) nor any picture (PNG, JPEG, BMP, GIF, TIFF or WebP) in this folder or one in it; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            &train("missing"),
            "data \"missing\": there is no such file or folder, and no built-in data of that name; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            &train("digits:0"),
            "data \"digits:0\": \"0\" is no usable number of digits; give a whole number from 1 to 1000000, such \
             as digits:60000",
        ),
        (
            &train("digits:many"),
            "data \"digits:many\": \"many\" is no usable number of digits; give a whole number from 1 to 1000000, \
             such as digits:60000",
        ),
        (
            &train("digits:99999999"),
            "data \"digits:99999999\": \"99999999\" is no usable number of digits; give a whole number from 1 to \
             1000000, such as digits:60000",
        ),
        // A tenth set aside leaves less than a batch.
        (
            &train("mixed/train-images-idx3-ubyte --batch 37"),
            "batch 37: data \"train-images-idx3-ubyte\" has only 36 samples to train on; use --batch 36 or less",
        ),
    ]);
    assert!(!place.path("x").exists(), "nothing is left behind");
}

/// A tensor of a file: name, shape, bytes.
type Part = (String, Vec<usize>, Vec<u8>);

#[test]
fn bad_weights_are_told_in_one_line() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let good = place.read("run/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&good).expect("a file").tensors();
    // Writes the tensors, changed.
    let changed = |file: &str, dtype: Dtype, change: &dyn Fn(&mut Vec<Part>)| {
        let parts = tensors.iter().map(|(name, view)| (name.clone(), view.shape().to_vec(), view.data().to_vec()));
        let mut parts: Vec<_> = parts.collect();
        change(&mut parts);
        let views = parts
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).expect("a tensor")));
        place.write(file, &safetensors::serialize(views, None).expect("a file"));
    };
    let find = |parts: &[Part], name: &str| parts.iter().position(|(known, ..)| known == name).expect("the tensor");
    changed("missing", Dtype::F32, &|parts| drop(parts.remove(find(parts, "encoder.0.bias"))));
    changed("extra", Dtype::F32, &|parts| parts.push(("encoder.0.wieght".to_owned(), vec![1], vec![0; 4])));
    changed("shape", Dtype::F32, &|parts| {
        let at = find(parts, "encoder.0.weight");
        parts[at].1.reverse();
    });
    changed("nan", Dtype::F32, &|parts| {
        let at = find(parts, "decoder.0.weight");
        parts[at].2[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    changed("infinite", Dtype::F32, &|parts| {
        let at = find(parts, "encoder.2.bias");
        parts[at].2[4..8].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    });
    changed("integers", Dtype::I32, &|_| ());
    place.write("garbage", &[0x5a; 300]);
    place.write("truncated", &good[..good.len() - 100]);
    place.write("header", &good[..5]);
    place.write("empty", &[]);
    let init = |name: &str| format!("train --model small.toml --data digits:60 --device cpu --out x --init {name}");
    place.fail(&[
        (&init("missing"), "missing: parameter \"encoder.0.bias\" is missing; give weights of this very model"),
        (&init("extra"), "extra: the model has no parameter \"encoder.0.wieght\"; did you mean \"encoder.0.weight\"?"),
        (
            &init("shape"),
            "shape: parameter \"encoder.0.weight\" is [784, 24], the model's is [24, 784]; give weights of this \
             very model",
        ),
        (
            &init("nan"),
            "nan: parameter \"decoder.0.weight\" holds NaN at element 5; give weights without NaN and infinities",
        ),
        (
            &init("infinite"),
            "infinite: parameter \"encoder.2.bias\" holds -inf at element 1; give weights without NaN and \
             infinities",
        ),
        (
            &init("integers"),
            "integers: parameter \"encoder.0.weight\" is of type I32; convert it to F32, F64, F16 or BF16",
        ),
        (&init("garbage"), "garbage: is no safetensors file: header too large; give a file of weights"),
        (
            &init("truncated"),
            "truncated: is no safetensors file: incomplete metadata, file not fully covered; give a file of weights",
        ),
        (&init("header"), "header: is no safetensors file: header too small; give a file of weights"),
        (&init("empty"), "empty: is no safetensors file: header too small; give a file of weights"),
        (&init("nowhere"), "cannot read nowhere: No such file or directory (os error 2); check the path"),
        (&init("run"), "cannot read run: Is a directory (os error 21); give a file, not a folder"),
    ]);
    assert!(!place.path("x").exists(), "nothing is left behind");
    // A run whose weights are damaged, or of another model.
    place.write("run/model.safetensors", &good[..good.len() - 100]);
    place.fail(&[(
        "eval run --data digits:60 --device cpu",
        "run/model.safetensors: is no safetensors file: incomplete metadata, file not fully covered; give a file of \
         weights",
    )]);
    std::fs::remove_file(place.path("run/model.safetensors")).expect("removed");
    place.fail(&[(
        "eval run --data digits:60 --device cpu",
        "cannot read run/model.safetensors: No such file or directory (os error 2); check the path",
    )]);
}

#[test]
fn bad_places_and_devices_are_told_in_one_line() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    place.write("file", b"");
    place.write("tiny/a.png", b"");
    let shape = Shape::from([1, 3, 3]);
    pinhole::data::images::write_png(place.path("tiny/a.png"), &shape, &[0; 9]).expect("a picture");
    let train = "train --model small.toml --data digits:60 --epochs 1";
    place.fail(&[
        (
            &format!("{train} --device cpu --out file"),
            "cannot create file: File exists (os error 17); choose another path: a file is in the way",
        ),
        (
            &format!("{train} --device cpu --out file/run"),
            "cannot create file/run: Not a directory (os error 20); choose another path: a file is in the way",
        ),
        (
            "reconstruct run digits:60 file --device cpu",
            "cannot create file: File exists (os error 17); choose another path: a file is in the way",
        ),
        (
            "reconstruct run digits:60 file/out --device cpu",
            "cannot create file/out: Not a directory (os error 20); choose another path: a file is in the way",
        ),
        (
            "reconstruct run digits:60 file/out.png --device cpu",
            "cannot write file/out.png: Not a directory (os error 20); choose another path: a file is in the way",
        ),
        (
            "reconstruct run missing out --device cpu",
            "data \"missing\": there is no such file or folder, and no built-in data of that name; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            "reconstruct run tiny out --device cpu",
            "data \"tiny\": its samples are [1, 3, 3], the model's input is [784]; choose other data, or change \
             the model's `input` and layers",
        ),
        (
            "reconstruct nowhere digits:60 out --device cpu",
            "cannot read nowhere/model.toml: No such file or directory (os error 2); check the path",
        ),
        (
            "eval nowhere --data digits:60 --device cpu",
            "cannot read nowhere/model.toml: No such file or directory (os error 2); check the path",
        ),
        (
            "eval run --data tiny --device cpu",
            "data \"tiny\": its samples are [1, 3, 3], the model's input is [784]; choose other data, or change \
             the model's `input` and layers",
        ),
        (
            "eval run --data missing --device cpu",
            "data \"missing\": there is no such file or folder, and no built-in data of that name; give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file",
        ),
        (
            "summary run/nowhere",
            "model \"run/nowhere\": it is no preset, and there is no .toml file of that name; \
             \"pinhole models\" lists the presets",
        ),
        ("summary tiny", "cannot read tiny/model.toml: No such file or directory (os error 2); check the path"),
        (
            "train --model conv --data tiny --device cpu --out x",
            "batch 128: data \"tiny\" has only 1 samples to train on; use --batch 1 or less",
        ),
    ]);
    let message = place.failure(&format!("{train} --device warp9 --out x"));
    let names: Vec<String> = pinhole::gpu::adapters().into_iter().map(|adapter| adapter.name).collect();
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let help = "install a Vulkan, Metal or DX12 driver, or use --device cpu";
    assert_eq!(message, format!("no adapter for device \"warp9\" (found: {found}); {help}"));
    assert_eq!(place.names(""), ["file", "run", "small.toml", "tiny"], "nothing is left behind");
}

/// Only Vulkan is found through this variable.
#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_gpu_fails_and_auto_takes_the_cpu() {
    let place = Place::new();
    let run = |arguments: &str| {
        let mut command = place.command(arguments);
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        said(command.output().expect("the program runs"))
    };
    let train = "train --model small.toml --data digits:60 --epochs 1";
    let said = run(&format!("{train} --device gpu --out x"));
    assert_eq!((said.code, &said.stdout[..]), (Some(1), ""));
    assert_eq!(
        said.stderr,
        "error: no adapter for device \"gpu\" (found: none); install a Vulkan, Metal or DX12 driver, or use --device cpu\n"
    );
    assert!(!place.path("x").exists());
    let said = run(&format!("{train} --out x"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "no GPU found: computing on the CPU\n\
         training 38758 parameters on 60 samples of digits (10 to validate), on cpu, into x\n\
         model, metrics and pictures are in x\n"
    );
    place.ok(&format!("{train} --device cpu --out y"));
    place.expect_same_run("auto is the CPU", "x", "y");
    let said = run("devices --json");
    let line: Json = serde_json::from_str(said.stdout.trim_end()).expect("a line of JSON");
    assert_eq!((&line["adapters"], &line["auto"]), (&Json::Array(vec![]), &Json::from("cpu")));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_its_files() {
    let folder = Place::new();
    let text = SMALL_DENSE.replace(", \"sigmoid\"", "").replace("bce", "mse");
    folder.write("open.toml", text.as_bytes());
    let said = folder.run("train --model open.toml --data digits:60 --device cpu --lr 1e18 --out x");
    assert_eq!((said.code, &said.stdout[..]), (Some(1), ""), "{said:?}");
    let last = said.stderr.lines().last().expect("a line");
    let place = "error: the output of \"encoder.2\" is not finite at step 2 (epoch 1), where the loss is ";
    assert!(last.starts_with(place), "{last}");
    let help = "; lower the learning rate (--lr) or look for extreme values in the data";
    assert!(last.ends_with(help), "{last}");
    // What was saved before is whole: the run goes on, and ends the same way.
    let said = folder.run("train --resume --out x");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains(place) && said.stderr.ends_with(&format!("{help}\n")), "{said:?}");
}
