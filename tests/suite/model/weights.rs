//! Weights of other programs: PyTorch's types, the prefixes of its wrappers and its counts of batches, and what is refused.

use crate::support::*;
use expect_test::expect;
use half::{bf16, f16};
use pinhole::plan::LayoutEntry;
use pinhole::tensor::Values;
use pinhole::{Autoencoder, Device, Result};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

pub const MODEL: &str = r#"
input = [3]
loss = "mse"
encoder = [{ linear = 2 }, "batch_norm", "tanh"]
decoder = [{ linear = 3 }]
"#;

/// The tensors of the model in the order of PyTorch's `state_dict`, with their shapes.
const TENSORS: [(&str, &[usize]); 9] = [
    ("encoder.0.weight", &[2, 3]),
    ("encoder.0.bias", &[2]),
    ("encoder.1.weight", &[2]),
    ("encoder.1.bias", &[2]),
    ("encoder.1.running_mean", &[2]),
    ("encoder.1.running_var", &[2]),
    ("encoder.1.num_batches_tracked", &[]),
    ("decoder.0.weight", &[3, 2]),
    ("decoder.0.bias", &[3]),
];

/// The numbers of a tensor, as `make_weights.py` has them too: exact in every type of floats.
fn numbers(name: &str) -> Vec<f64> {
    let at = TENSORS.iter().position(|(known, _)| *known == name).expect("a tensor of the model");
    let count = TENSORS[at].1.iter().product::<usize>();
    match name.ends_with("num_batches_tracked") {
        true => vec![7.0],
        false => (0..count).map(|k| (k + 1) as f64 / 8.0 - at as f64).collect(),
    }
}

/// A tensor of a file: name, type, shape, bytes.
type Part = (String, Dtype, Vec<usize>, Vec<u8>);

fn part(name: &str, dtype: Dtype, shape: &[usize], numbers: &[f64]) -> Part {
    let bytes = numbers.iter().flat_map(|number| match dtype {
        Dtype::F16 => f16::from_f64(*number).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f64(*number).to_le_bytes().to_vec(),
        Dtype::F32 => (*number as f32).to_le_bytes().to_vec(),
        Dtype::F64 => number.to_le_bytes().to_vec(),
        Dtype::I64 => (*number as i64).to_le_bytes().to_vec(),
        Dtype::I32 => (*number as i32).to_le_bytes().to_vec(),
        other => panic!("{other:?}"),
    });
    (name.to_owned(), dtype, shape.to_vec(), bytes.collect())
}

/// The model's tensors in a type, by other names.
fn parts(dtype: Dtype, rename: impl Fn(&str) -> String) -> Vec<Part> {
    let tensor = |(name, shape): (&str, &[usize])| {
        let dtype = if name.ends_with("num_batches_tracked") { Dtype::I64 } else { dtype };
        part(&rename(name), dtype, shape, &numbers(name))
    };
    TENSORS.into_iter().map(tensor).collect()
}

fn write(path: &Path, parts: &[Part]) {
    let views = parts.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor"))
    });
    std::fs::write(path, safetensors::serialize(views, None).expect("a file")).expect("a written file");
}

fn model() -> Autoencoder {
    Autoencoder::new(spec(MODEL), Device::Cpu).expect("a model")
}

/// Loads a file and compares every parameter; `counted` is how many batches the model then has seen.
fn expect_loaded(what: &str, path: &Path, counted: f64) -> Result<()> {
    let mut model = model();
    model.load_weights(path)?;
    let values = wide(model.parameters());
    for LayoutEntry { name, shape, offset } in model.network().layout().entries() {
        let expected = if name.ends_with("num_batches_tracked") { vec![counted] } else { numbers(name) };
        assert_eq!(values[*offset..*offset + shape.elements()], expected, "{what}: {name}");
    }
    Ok(())
}

#[test]
fn weights_of_pytorchs_wrappers_and_types_are_read() -> Result<()> {
    for name in ["parallel-f16.safetensors", "averaged-bf16.safetensors"] {
        expect_loaded(name, &fixture(name), 7.0)?;
    }
    let folder = folder();
    let path = folder.path().join("weights");
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64] {
        for prefix in ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."] {
            write(&path, &parts(dtype, |name| format!("{prefix}{name}")));
            expect_loaded(&format!("{dtype:?} {prefix}"), &path, 7.0)?;
        }
    }
    // Only a part of the model was compiled.
    write(&path, &parts(Dtype::F32, |name| name.replace("encoder.", "encoder._orig_mod.")));
    expect_loaded("a compiled encoder", &path, 7.0)?;

    // Several types in one file, as mixed precision leaves them; doubles stay doubles.
    let mut mixed = parts(Dtype::F16, str::to_owned);
    mixed[0] = part(TENSORS[0].0, Dtype::F64, TENSORS[0].1, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    write(&path, &mixed);
    let mut model = model();
    model.load_weights(&path)?;
    let offset = model.network().layout().entry(TENSORS[0].0).expect("it").offset;
    assert!(matches!(model.parameters(), Values::F64(values) if values[offset + 2] == 0.3));
    Ok(())
}

#[test]
fn counts_of_batches_may_be_there_or_not() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("weights");
    let is_count = |part: &Part| part.0.ends_with("num_batches_tracked");
    let without: Vec<Part> = parts(Dtype::F32, str::to_owned).into_iter().filter(|part| !is_count(part)).collect();
    write(&path, &without);
    expect_loaded("without counts", &path, 0.0)?;
    for (dtype, shape, counted) in
        [(Dtype::I64, &[1][..], 7.0), (Dtype::F32, &[], 7.0), (Dtype::I32, &[], 0.0), (Dtype::I64, &[2], 0.0)]
    {
        let count = vec![7.0; shape.iter().product()];
        let with = [&without[..], &[part("encoder.1.num_batches_tracked", dtype, shape, &count)]].concat();
        write(&path, &with);
        expect_loaded(&format!("counts of {dtype:?} {shape:?}"), &path, counted)?;
    }
    // Of layers that count none here, and not of a wrapped model where the others are.
    let strangers = ["decoder.0.num_batches_tracked", "module.other.num_batches_tracked", "n_averaged"];
    let strangers = strangers.map(|name| part(name, Dtype::I64, &[], &[3.0]));
    write(&path, &[&without[..], &strangers].concat());
    expect_loaded("counts of other layers", &path, 0.0)
}

#[test]
fn weights_that_cannot_be_meant_are_refused_in_one_line() {
    let folder = folder();
    let path = folder.path().join("weights");
    let said = |parts: &[Part]| {
        write(&path, parts);
        refusal(&path, folder.path())
    };
    let changed = |name: &str, dtype: Dtype, number: f64| {
        let mut all = parts(dtype, |name| format!("module.{name}"));
        let (at, shape) = TENSORS.iter().enumerate().find(|(_, (known, _))| *known == name).expect("it");
        let mut values = numbers(name);
        values[1] = number;
        all[at] = part(&format!("module.{name}"), dtype, shape.1, &values);
        all
    };
    let plain = || parts(Dtype::F32, str::to_owned);
    expect![[r#"weights: has parameter "decoder.0.bias" twice, as "decoder.0.bias" and as "module.decoder.0.bias"; remove one of them"#]]
        .assert_eq(&said(&[plain(), parts(Dtype::F32, |name| format!("module.{name}"))].concat()));
    expect![[r#"weights: has parameter "decoder.0.bias" twice, as "_orig_mod.module.decoder.0.bias" and as "module._orig_mod.decoder.0.bias"; remove one of them"#]]
        .assert_eq(&said(&["_orig_mod.module.", "module._orig_mod."].map(|prefix| parts(Dtype::F32, |name| format!("{prefix}{name}"))).concat()));
    expect![[r#"weights: has names that begin in different ways, as "decoder.0.bias" and "module.encoder.0.bias" do; give weights of one model, all with a prefix or all without"#]]
        .assert_eq(&said(&parts(Dtype::F32, |name| if name.starts_with("encoder") { format!("module.{name}") } else { name.to_owned() })));
    expect![[r#"weights: parameter "module.encoder.0.bias" holds 1e39 at element 1; give weights that 32-bit floats can hold"#]]
        .assert_eq(&said(&changed("encoder.0.bias", Dtype::F64, 1e39)));
    expect![[
        r#"weights: parameter "module.encoder.0.bias" holds inf at element 1; give weights without NaN and infinities"#
    ]]
    .assert_eq(&said(&changed("encoder.0.bias", Dtype::F16, 1e39)));
    expect![[r#"weights: parameter "module.decoder.0.weight" holds NaN at element 1; give weights without NaN and infinities"#]]
        .assert_eq(&said(&changed("decoder.0.weight", Dtype::BF16, f64::NAN)));
    let mut turned = parts(Dtype::F16, |name| format!("_orig_mod.{name}"));
    turned[0].2.reverse();
    expect![[r#"weights: parameter "_orig_mod.encoder.0.weight" is [3, 2], the model's is [2, 3]; give weights of this very model"#]]
        .assert_eq(&said(&turned));
    expect![[r#"weights: parameter "encoder.0.bias" is missing; give weights of this very model"#]]
        .assert_eq(&said(&plain().into_iter().filter(|part| part.0 != "encoder.0.bias").collect::<Vec<_>>()));
    let stranger = [plain(), vec![part("module.encoder.0.wieght", Dtype::F32, &[1], &[0.0])]].concat();
    expect![[r#"weights: the model has no parameter "module.encoder.0.wieght"; did you mean "encoder.0.weight"?"#]]
        .assert_eq(&said(&stranger));
    expect![[r#"weights: parameter "encoder.0.weight" is of type I32; convert it to F32, F64, F16 or BF16"#]]
        .assert_eq(&said(&parts(Dtype::I32, str::to_owned)));
    // What torch.save writes.
    std::fs::write(&path, [&b"PK\x03\x04"[..], &[0; 200]].concat()).expect("a written file");
    expect![[r#"weights: is a file of torch.save and no safetensors file; save weights by safetensors.torch.save_file(model.state_dict(), name)"#]]
        .assert_eq(&refusal(&path, folder.path()));
}

/// What is said of a file, which leaves the model as it was.
fn refusal(path: &Path, folder: &Path) -> String {
    let mut model = model();
    let before = model.parameters().clone();
    let message = model.load_weights(path).expect_err("a refusal").to_string();
    assert!(*model.parameters() == before && !message.contains('\n'), "{message}");
    message.replace(&format!("{}/", folder.display()), "")
}
