//! The program with models that are told something about samples, and with pairs.

use crate::temp::*;
use pinhole::data::digits;
use pinhole::data::images::{read_png, to_bytes};
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::shape::Shape;

const CONDITIONAL: &str = "input = [784]\nloss = \"bernoulli\"\ncondition = \"labels\"\nencoder = [{ linear = 12 }, \"tanh\"]\n\
    latent = { gaussian = 2 }\ndecoder = [{ linear = 784 }, \"sigmoid\"]\n[train]\nbatch = 32\nepochs = 1\n";

#[test]
fn digits_are_drawn_by_label() {
    let place = Place::new();
    place.write("told.toml", CONDITIONAL.as_bytes());
    place.ok("train --model told.toml --data digits:120 --device cpu --out run");
    place.ok("eval run --data digits:120 --device cpu --nll=3 --codes");
    place.ok("generate run --label 7 --n 3 --seed 4 --device cpu --out sevens.npy");
    place.ok("generate run --n 30 --seed 4 --device cpu --out all.npy");
    let [sevens, all] = ["sevens.npy", "all.npy"].map(|name| read_npy(place.path(name)).expect("samples"));
    assert_eq!((&sevens.shape()[..], &all.shape()[..]), (&[3, 784][..], &[30, 784][..]));
    // A row for each label, of the same three codes.
    assert_eq!(sevens.to_f32(), all.to_f32()[21 * 784..24 * 784]);
    for command in
        ["generate run", "manifold run --label 3", "traverse run --label 3", "interpolate run 0 1 --data digits:60"]
    {
        place.ok(&format!("{command} --device cpu"));
    }
    // Without gaps where that makes a grid that is not too wide.
    for (count, cells) in [(1, [1, 1]), (7, [3, 3]), (10, [2, 5]), (32, [4, 8]), (64, [8, 8])] {
        place.ok(&format!("generate run --label 7 --n {count} --out grid.png --device cpu"));
        let [height, width] = cells.map(|cells| cells * 112 + (cells - 1) * 2);
        assert_eq!(read_png(place.path("grid.png")).expect("a picture").0, Shape::from([1, height, width]));
    }
    // Labels come with the digits, or are told.
    place.ok("encode run digits:60 codes.npy --device cpu");
    place.ok("decode run codes.npy out.npy --label 1 --device cpu");
    place.ok("reconstruct run digits:60 out.png --device cpu");
    write_npy(place.path("x.npy"), &Shape::from([20, 784]), &digits(20, 5).rows_f32(0..20)).expect("a file");
    place.ok("reconstruct run x.npy out.npy --label 9 --device cpu");
    place.ok("train --model small.toml --data digits:60 --device cpu --out plain");
    place.fail(&[
        (
            "encode run x.npy codes.npy --device cpu",
            "data \"x.npy\": it has no labels, and the model's condition is labels = 10; give digits, a folder with MNIST's \
             label files, an .npz file with x and y, or a CSV file whose label column --label names",
        ),
        (
            "decode run codes.npy out.npy --device cpu",
            "condition: the model's is { labels = { count = 10 } }; give --label LABEL",
        ),
        ("manifold run --device cpu", "condition: the model's is { labels = { count = 10 } }; give --label LABEL"),
        ("generate run --label 10 --device cpu", "condition: there is no label 10; give a label from 0 to 9"),
        (
            "generate plain --label 1 --data digits:60 --device cpu",
            "condition: the model has none; leave --label and --condition out",
        ),
        (
            "pretrain told.toml --data digits:60 --device cpu --out layers",
            "latent: only a code that is the plain output of the encoder can be pretrained; leave it out, or train \
             all layers at once",
        ),
        (
            "classify run --data digits:60 --device cpu --out classes",
            "condition: a conditional encoder may already receive the class that it should predict; use a model \
             without a condition",
        ),
    ]);
    // A vector in the place of the label.
    place.write("vector.toml", CONDITIONAL.replace("\"labels\"", "{ vector = 2 }").as_bytes());
    let float = |shape: &str, values: &[f32]| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        crate::data::arrays::npy(&header, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let x = float("(40, 784)", &digits(40, 5).rows_f32(0..40));
    let vectors = float("(40, 2)", &(0..80).map(|at| at as f32 / 80.0).collect::<Vec<f32>>());
    place.write("told.npz", &crate::data::arrays::zip(&[("x.npy", &x), ("conditions.npy", &vectors)]));
    place.ok("train --model vector.toml --data told.npz --batch 10 --device cpu --out vectors");
    place.ok("generate vectors --condition -0.5,2 --n 4 --device cpu");
    place.fail(&[(
        "generate vectors --condition 1 --device cpu",
        "condition: the model's is { vector = { size = 2 } }; give --condition with 2 numbers",
    )]);
}

#[test]
fn pairs_are_trained_on_resumed_and_measured() {
    let place = Place::new();
    let clean = digits(60, 5);
    let noisy: Vec<f32> = clean.rows_f32(0..60).iter().map(|value| 0.5 * value + 0.25).collect();
    let shape = Shape::from([60, 784]);
    write_npy(place.path("noisy.npy"), &shape, &noisy).expect("a file");
    pinhole::data::idx::write_idx_u8(place.path("clean"), &shape, &to_bytes(&clean.rows_f32(0..60))).expect("a file");
    place.ok("train --model small.toml --data noisy.npy --targets clean --batch 10 --epochs 1 --device cpu --out run");
    place.ok("train --resume --out run --epochs 2");
    place
        .ok("train --model small.toml --data noisy.npy --targets clean --batch 10 --epochs 2 --device cpu --out whole");
    assert_eq!(place.read("run/model.safetensors"), place.read("whole/model.safetensors"));
    let measured = |targets: &str| {
        let said = place.ok(&format!("eval run --data noisy.npy {targets} --device cpu --json")).stdout;
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let (pairs, alone) = (measured("--targets clean"), measured(""));
    let expected: f64 = noisy.iter().zip(clean.rows_f32(0..60)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        / noisy.len() as f64;
    let found = pairs["parts"]["corrupted_mse"].as_f64().expect("a number");
    assert!((found / expected - 1.0).abs() < 1e-4, "{found} and {expected}");
    assert_ne!(pairs["mse"], alone["mse"]);
}
