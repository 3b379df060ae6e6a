//! Lengths of sequences: the steps beyond a length have no part in losses, errors or recurrent layers.

use crate::support::*;
use pinhole::data::{Dataset, load};
use pinhole::graph::Value;
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::{Options, evaluate};
use pinhole::{Autoencoder, Device, Result};

/// Sequences of 6 steps with 2 features, of which some steps are not there: what stands beyond is `beyond`.
fn sequences(count: usize, beyond: f32) -> (Vec<f32>, Vec<u32>) {
    let lengths: Vec<u32> = (0..count).map(|at| 1 + (at * 5 % 6) as u32).collect();
    let mut values = Vec::new();
    for (sample, length) in lengths.iter().enumerate() {
        for step in 0..6 {
            for feature in 0..2 {
                let value = ((sample * 7 + step * 3 + feature * 5) % 11) as f32 / 10.0;
                values.push(if step < *length as usize { value } else { beyond });
            }
        }
    }
    (values, lengths)
}

const RECURRENT: &str = "input = [6, 2]\nloss = \"mse\"\nencoder = [{ lstm = { out = 8, bidirectional = true } }, \
    { gru = { out = 5, last = true, bidirectional = true } }]\n\
    decoder = [{ repeat_vector = 6 }, { lstm = 8 }, { linear = 2 }]\n[train]\nbatch = 10\nepochs = 3\n\
    optimizer = { adam = { lr = 1e-2 } }\n";

#[test]
fn lengths_leave_out_what_stands_beyond_them() -> Result<()> {
    let texts = [
        RECURRENT.to_owned(),
        RECURRENT.replace("\"mse\"", "{ huber = { weight = 0.5, delta = 0.3 }, mae = 1.0, cosine = 0.1 }"),
        RECURRENT.replace("{ linear = 2 }]", "{ linear = 2 }, \"sigmoid\"]").replace("\"mse\"", "\"bce\""),
        RECURRENT
            .replace("{ linear = 2 }]", "{ linear = 2 }, \"sigmoid\"]")
            .replace("\"mse\"", "\"bernoulli\"\ncondition = { vector = 1 }\nlatent = { gaussian = { size = 3, samples = 2 } }"),
        RECURRENT.replace("\"mse\"", "\"mse\"\ncorruption = { gaussian = 0.1 }"),
        RECURRENT.to_owned() + "layers = [{ name = \"encoder.0\", activity_l1 = 0.1 }, { name = \"decoder.1\", activity_l2 = 0.1 }]\n",
        "input = [6, 2]\nloss = \"mse\"\nencoder = [{ linear = 4 }, \"learned_positions\", { attention = 2 }, \"flatten\", \
         { linear = 4 }]\ndecoder = [{ linear = 12 }]\n[train]\nbatch = 10\nepochs = 3\noptimizer = { adam = { lr = 1e-2 } }\n"
            .to_owned(),
    ];
    for text in texts {
        let network = network(&text);
        let data = |beyond: f32| -> Result<Dataset> {
            let (values, lengths) = sequences(30, beyond);
            let vectors = Dataset::from_f32([1], (0..30).map(|at| at as f32 / 30.0).collect())?;
            Dataset::from_f32([6, 2], values)?.with_lengths(lengths)?.with_conditions(vectors)
        };
        let (zeros, noise) = (data(0.0)?, data(0.77)?);
        let exact = train(&network, &Device::CpuF64, &zeros, Some(&zeros), Options::default());
        let reports = &exact.reports;
        // Nine steps say little of what is learnt from codes that are drawn.
        let falls = reports.last().expect("a report").train_loss < reports[0].train_loss;
        assert!(falls || network.spec().latent.is_drawn(), "{text}: {reports:?}");
        let on_gpu = text == RECURRENT || text.contains("attention");
        for device in [Some(Device::Cpu), on_gpu.then(gpu)].into_iter().flatten() {
            let trained = train(&network, &device, &zeros, Some(&zeros), Options::default());
            expect_close(&text, &trained.losses, &exact.losses, 1e-3, Scale::Relative);
            let other = train(&network, &device, &noise, Some(&noise), Options::default());
            assert_eq!(trained, other, "{text} on {}", device.name());
        }
    }
    Ok(())
}

/// Errors count each step that is there once, however samples are cut into batches; and beyond lengths are zeros.
#[test]
fn errors_are_means_over_steps_that_are_there() -> Result<()> {
    let (values, lengths) = sequences(30, 0.4);
    let data = Dataset::from_f32([6, 2], values.clone())?.with_lengths(lengths.clone())?;
    for device in fast_devices() {
        let mut found = Vec::new();
        for batch in [30, 7] {
            let network = network(&RECURRENT.replace("batch = 10", &format!("batch = {batch}")));
            found.push(evaluate(&network, &device, &initial(&network), &data)?);
        }
        let autoencoder = Autoencoder::new(spec(RECURRENT), device)?;
        let made = autoencoder.reconstruct_given(&values, &autoencoder.network().given(&data, 0..30)?)?.to_f64();
        let (mut squares, mut distances, mut count) = (0.0, 0.0, 0.0);
        for (sample, length) in lengths.iter().enumerate() {
            for at in 0..12 {
                let (made, value) = (made[sample * 12 + at], f64::from(values[sample * 12 + at]));
                if at < 2 * *length as usize {
                    squares += (made - value).powi(2);
                    distances += (made - value).abs();
                    count += 1.0;
                } else {
                    assert_eq!(made, 0.0);
                }
            }
        }
        for evaluation in &found {
            expect_close("mse", &[evaluation.mse], &[squares / count], 1e-5, Scale::Relative);
            expect_close("mae", &[evaluation.mae], &[distances / count], 1e-5, Scale::Relative);
            expect_close("valid", &[evaluation.parts["valid_steps"]], &[count / 360.0], 1e-5, Scale::Relative);
        }
        expect_close("one batch", &[found[0].loss], &[found[0].mse], 1e-5, Scale::Relative);
    }
    Ok(())
}

#[test]
fn recurrent_layers_are_pytorchs_of_packed_sequences() -> Result<()> {
    let tensors = Tensors::read(&fixture("lengths.safetensors"));
    let lengths = tensors.f32("lengths");
    for device in all_devices() {
        let tolerance = if matches!(device, Device::CpuF64) { 1e-12 } else { 1e-5 };
        for (cell, bidirectional, last) in [("lstm", false), ("lstm", true), ("gru", false), ("gru", true)]
            .into_iter()
            .flat_map(|(cell, both)| [(cell, both, false), (cell, both, true)])
        {
            let case = if bidirectional { format!("{cell}-bidirectional") } else { cell.to_owned() };
            let part = format!("{case}.{}", if last { "last" } else { "all" });
            let network = network(&format!(
                "input = [6, 3]\nloss = \"mse\"\nencoder = [{{ {cell} = {{ out = 4, bidirectional = {bidirectional}, last = {last} }} }}]\n\
                 decoder = [\"flatten\", {{ linear = 18 }}]\n"
            ));
            let tensor = |name: &str| Tensor::new(tensors.shape(name).to_vec(), Values::F64(tensors.f64(name)));
            let mut graph = Context::new();
            let x = graph.input("x", [4, 6, 3], DType::Float)?;
            let mask = graph.input("mask", [4, 6], DType::Float)?;
            graph.set_mask(mask);
            let y = network.encode(&mut graph, x)?;
            let upstream = graph.input("g", tensors.shape(&format!("{part}.grad_output")).to_vec(), DType::Float)?;
            let product = graph.multiply(y, upstream)?;
            let axes: Vec<usize> = (0..graph.shape(product).len()).collect();
            let loss = graph.sum(product, &axes)?;
            let steps = (0..24).map(|at| f64::from(u8::from(((at % 6) as f32) < lengths[at / 6]))).collect();
            let mut inputs = vec![
                ("x", tensor(&format!("{case}.input"))?),
                ("mask", Tensor::new([4, 6], Values::F64(steps))?),
                ("g", tensor(&format!("{part}.grad_output"))?),
            ];
            let entries: Vec<_> =
                network.layout().entries().iter().filter(|entry| entry.name.starts_with("encoder.")).collect();
            let mut wanted = vec![("grad_input".to_owned(), x)];
            for LayoutEntry { name, shape, .. } in &entries {
                let key = name.trim_start_matches("encoder.0.");
                inputs.push((name, tensor(&format!("{case}.{key}"))?));
                wanted.push((format!("grad.{key}"), graph.parameter(name, shape.clone())?));
            }
            let values: Vec<Value> = wanted.iter().map(|(_, value)| *value).collect();
            let mut outputs = vec![y];
            outputs.extend(graph.gradients(loss, &values)?);
            let results = device.compute(&graph, &outputs, &inputs)?;
            let names = std::iter::once("output".to_owned()).chain(wanted.into_iter().map(|(name, _)| name));
            for (name, result) in names.zip(&results) {
                let what = format!("{part}.{name}");
                let expected = tensors.f64(&what);
                expect_close(
                    &format!("{what} on {}", device.name()),
                    &result.to_f64(),
                    &expected,
                    tolerance,
                    Scale::AtLeastOne,
                );
            }
        }
    }
    Ok(())
}

#[test]
fn senseless_lengths_are_refused() -> Result<()> {
    let (values, lengths) = sequences(4, 0.0);
    let data = Dataset::from_f32([6, 2], values)?;
    let said = |lengths: Vec<u32>| data.clone().with_lengths(lengths).expect_err("an error").to_string();
    assert_eq!(said(vec![1, 2]), "lengths: 2 lengths given for 4 samples; give one for each sample");
    assert_eq!(said(vec![1, 2, 7, 3]), "lengths: that of sample 2, counted from 0, is 7; give 1 to 6");
    assert_eq!(said(vec![1, 0, 6, 3]), "lengths: that of sample 1, counted from 0, is 0; give 1 to 6");
    let data = data.with_lengths(lengths)?;
    let refused = |text: &str| network(text).rows(&data).expect_err("an error").to_string();
    assert_eq!(
        refused("input = [12]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 12 }]\n"),
        "data \"data\": it says how long each sequence [6, 2] is, but the model's input is [12]; use a model whose input is \
         [steps, features], or name one array, as in FILE.npz:x"
    );
    assert_eq!(
        refused(&RECURRENT.replace("\"mse\"", "\"gaussian\"")),
        "data \"data\": it says how long each sequence is, which \"gaussian\" cannot regard; use mse, mae, huber, bce, bernoulli \
         or cosine"
    );
    assert_eq!(
        refused(&RECURRENT.replace("encoder = [", "encoder = [\"flatten\", { unflatten = [4, 3] }, ")),
        "data \"data\": it says how long each sequence of 6 steps is, but \"encoder.2.lstm\" gets others; let recurrent layers and \
         attention see the model's own steps"
    );
    for latent in
        ["{ top_k = { k = 4, auxiliary = 0, unit_norm = false } }", "{ vector_quantised = 4 }", "\"wasserstein\""]
    {
        let text = format!(
            "input = [6, 2]\nloss = \"mse\"\nlatent = {latent}\nencoder = [{{ linear = 8 }}]\ndecoder = [{{ linear = 2 }}]\n"
        );
        assert_eq!(
            refused(&text),
            "data \"data\": it says how long each sequence is, but steps beyond would count in codes [6, 8]; let the encoder \
             leave one vector, by a recurrent layer with last = true, say"
        );
    }
    Ok(())
}

#[test]
fn archives_have_conditions_and_lengths() -> Result<()> {
    let folder = folder();
    let float = |shape: &str, values: &[f32]| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        crate::data::arrays::npy(&header, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let whole = |values: &[i64]| {
        let header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}\n", values.len());
        crate::data::arrays::npy(&header, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let write = |name: &str, files: &[(&str, &[u8])]| {
        let path = folder.path().join(name);
        std::fs::write(&path, crate::data::arrays::zip(files)).expect("a file");
        path.display().to_string()
    };
    let (x, conditions) = (float("(2, 3, 1)", &[0.0; 6]), float("(2, 2)", &[1.0, 2.0, 3.0, 4.0]));
    let path = write("all.npz", &[("x.npy", &x), ("conditions.npy", &conditions), ("lengths.npy", &whole(&[3, 1]))]);
    let data = load(&path)?.train;
    assert_eq!(data.lengths(), Some(&[3, 1][..]));
    assert_eq!(data.conditions().expect("conditions").rows_f32(0..2), [1.0, 2.0, 3.0, 4.0]);
    let one = data.take(1);
    assert_eq!((one.lengths(), one.conditions().map(Dataset::len)), (Some(&[3][..]), Some(1)));
    let bad = write("bad.npz", &[("x.npy", &x), ("lengths.npy", &whole(&[3, 4]))]);
    let said = load(&bad).expect_err("too long").to_string();
    assert!(
        said.ends_with("bad.npz: array \"lengths\": that of sample 1, counted from 0, is 4; give 1 to 3"),
        "{said}"
    );
    let bad = write("worse.npz", &[("x.npy", &x), ("conditions.npy", &whole(&[3, 4, 5]))]);
    let said = load(&bad).expect_err("three").to_string();
    assert!(
        said.ends_with("worse.npz: array \"conditions\": 3 conditions given for 2 samples; give one for each sample"),
        "{said}"
    );
    Ok(())
}
