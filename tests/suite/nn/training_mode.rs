//! Layers that do one thing in training and another in use: dropout and batch normalisation, and the state that the latter
//! keeps with the parameters.

use crate::support::*;
use crate::train::training::expect_same_bits;
use pinhole::data::digits;
use pinhole::nn::{self, Context, Dropout, Layer};
use pinhole::plan::LayoutEntry;
use pinhole::plan::State;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::{EpochEnd, Options, Trainer, evaluate};
use pinhole::{Autoencoder, Device, Result};

/// What dropout makes of ones `[n, 6, 5]` at a step of training, or in use.
fn dropped(device: &Device, spatial: bool, step: Option<u32>, layers: usize) -> Result<Vec<f32>> {
    let layers = vec![Layer::Dropout(Dropout { p: 0.3, spatial }); layers];
    let mut graph = Context::new();
    let state = graph.state("state")?;
    if step.is_some() {
        graph.set_training(state)?;
    }
    let x = graph.input("x", [40, 6, 5], DType::Float)?;
    // Each for itself, one after the other.
    let mut results = Vec::new();
    for layer in nn::place("layer", &layers, &[6, 5].into())? {
        results.push(layer.apply(&mut graph, x)?);
    }
    let state = State { seed: 11, step: step.unwrap_or(0), ..State::default() };
    let inputs = [
        ("state", Tensor::new([8], Values::U32(state.words()))?),
        ("x", Tensor::from_f32([40, 6, 5], vec![1.0; 1200])?),
    ];
    let last = *results.last().expect("a layer");
    Ok(device.compute(&graph, &[last], &inputs)?[0].to_f32())
}

#[test]
fn dropout_is_the_same_on_every_device_and_another_in_every_step_and_layer() -> Result<()> {
    for spatial in [false, true] {
        let first = dropped(&Device::Cpu, spatial, Some(0), 1)?;
        assert_eq!(dropped(&gpu(), spatial, Some(0), 1)?, first, "spatial {spatial}");
        assert_ne!(dropped(&Device::Cpu, spatial, Some(1), 1)?, first, "the next step");
        assert_ne!(dropped(&Device::Cpu, spatial, Some(0), 2)?, first, "the next layer");
        // What is left is scaled up, and all of a channel goes or stays.
        assert!(first.iter().all(|value| *value == 0.0 || (*value - 1.0 / 0.7).abs() < 1e-6));
        let kept = first.iter().filter(|value| **value > 0.0).count() as f64 / 1200.0;
        assert!((kept - 0.7).abs() < if spatial { 0.12 } else { 0.06 }, "{kept}");
        let whole = first.chunks(5).all(|channel| channel.iter().all(|value| *value == channel[0]));
        assert_eq!(whole, spatial);
        for device in all_devices() {
            assert_eq!(dropped(&device, spatial, None, 1)?, vec![1.0; 1200], "in use");
        }
    }
    Ok(())
}

/// What a layer makes of ones `[n, 12, 3]` at a step of training, or in use; its parameters are zero.
fn drawn(device: &Device, layer: &str, step: Option<u32>) -> Result<Vec<f32>> {
    let mut graph = Context::new();
    let state = graph.state("state")?;
    if step.is_some() {
        graph.set_training(state)?;
    }
    let x = graph.input("x", [50, 12, 3], DType::Float)?;
    let placed = nn::place("layer", &[layer.parse()?], &[12, 3].into())?.remove(0);
    let y = placed.apply(&mut graph, x)?;
    let state = State { seed: 11, step: step.unwrap_or(0), ..State::default() };
    let mut inputs = vec![("x", Tensor::from_f32([50, 12, 3], vec![1.0; 1800])?)];
    if step.is_some() {
        inputs.push(("state", Tensor::new([8], Values::U32(state.words()))?));
        for parameter in &placed.parameters {
            let zeros = vec![0.0; parameter.shape.elements()];
            inputs.push((&parameter.name, Tensor::from_f32(parameter.shape.clone(), zeros)?));
        }
    }
    Ok(device.compute(&graph, &[y], &inputs)?[0].to_f32())
}

#[test]
fn exactly_a_part_of_the_steps_is_hidden_in_training_and_none_in_use() -> Result<()> {
    let layer = "{ mask_steps = 0.6 }";
    let first = drawn(&Device::Cpu, layer, Some(0))?;
    assert_eq!(drawn(&gpu(), layer, Some(0))?, first);
    assert_ne!(drawn(&Device::Cpu, layer, Some(1))?, first, "the next step of training");
    let hidden: Vec<Vec<bool>> =
        first.chunks(36).map(|sample| sample.chunks(3).map(|step| step == [0.0; 3]).collect()).collect();
    assert!(first.chunks(3).all(|step| step == [0.0; 3] || step == [1.0; 3]), "whole steps");
    assert!(hidden.iter().all(|sample| sample.iter().filter(|step| **step).count() == 7), "0.6 of 12");
    assert!(hidden.iter().any(|sample| *sample != hidden[0]), "samples differ");
    for step in 0..12 {
        let times = hidden.iter().filter(|sample| sample[step]).count();
        assert!((15..45).contains(&times), "step {step} is hidden in {times} of 50");
    }
    for device in all_devices() {
        assert_eq!(drawn(&device, layer, None)?, vec![1.0; 1800], "in use");
    }
    Ok(())
}

/// Attention of equal keys to values of 1 gives the part of the weights that dropout leaves, scaled up: how many are left can be
/// counted.
#[test]
fn dropout_of_attention_leaves_whole_weights_in_training_and_all_in_use() -> Result<()> {
    let attended = |device: &Device, step: Option<u32>, p: f64| -> Result<Vec<f32>> {
        let mut graph = Context::new();
        let state = graph.state("state")?;
        if step.is_some() {
            graph.set_training(state)?;
        }
        let x = graph.input("x", [30, 8, 2], DType::Float)?;
        let text = format!("{{ attention = {{ heads = 2, dropout = {p:?} }} }}");
        let placed = nn::place("layer", &[text.parse()?], &[8, 2].into())?.remove(0);
        let y = placed.apply(&mut graph, x)?;
        let state = State { seed: 3, step: step.unwrap_or(0), ..State::default() };
        // Values are the last third's bias, and the way out is the identity.
        let values = [vec![0.0; 12], vec![0.0, 0.0, 0.0, 0.0, 1.0, 1.0], vec![1.0, 0.0, 0.0, 1.0], vec![0.0; 2]];
        let mut inputs = vec![("x", Tensor::from_f32([30, 8, 2], vec![0.5; 480])?)];
        if step.is_some() && p > 0.0 && p < 1.0 {
            inputs.push(("state", Tensor::new([8], Values::U32(state.words()))?));
        }
        for (parameter, values) in placed.parameters.iter().zip(values) {
            inputs.push((&parameter.name, Tensor::from_f32(parameter.shape.clone(), values)?));
        }
        Ok(device.compute(&graph, &[y], &inputs)?[0].to_f32())
    };
    let first = attended(&Device::Cpu, Some(0), 0.25)?;
    assert_ne!(attended(&Device::Cpu, Some(1), 0.25)?, first, "the next step of training");
    let left: Vec<f32> = first.iter().map(|part| part * 8.0 * 0.75).collect();
    assert!(left.iter().all(|count| (count - count.round()).abs() < 1e-4 && (-0.5..8.5).contains(count)), "{left:?}");
    let mean = left.iter().sum::<f32>() / 480.0;
    assert!((mean - 6.0).abs() < 0.25, "{mean} of 8 weights are left");
    assert!(left.chunks(2).any(|heads| heads[0] != heads[1]), "heads differ");
    for device in all_devices() {
        let again = wide(&Values::F32(attended(&device, Some(0), 0.25)?));
        expect_close(&device.name(), &again, &wide(&Values::F32(first.clone())), 1e-6, Scale::Absolute);
        for (step, p, expected) in [(None, 0.25, 1.0), (Some(0), 0.0, 1.0), (Some(0), 1.0, 0.0), (None, 1.0, 1.0)] {
            let found = wide(&Values::F32(attended(&device, step, p)?));
            expect_close(&format!("{step:?} {p}"), &found, &[expected; 480], 1e-6, Scale::Absolute);
        }
    }
    Ok(())
}

/// Recurrent layers on top of each other are such layers one by one with dropout between them, also where steps are missing.
#[test]
fn stacked_recurrent_layers_are_layers_one_by_one() -> Result<()> {
    let computed = |device: &Device, layers: &[String], masked: bool, training: bool| -> Result<Vec<f64>> {
        let mut graph = Context::new();
        let state = graph.state("state")?;
        if training {
            graph.set_training(state)?;
        }
        let x = graph.input("x", [3, 5, 2], DType::Float)?;
        let mask = graph.input("mask", [3, 5], DType::Float)?;
        if masked {
            graph.set_mask(mask);
        }
        let layers = layers.iter().map(|text| text.parse()).collect::<Result<Vec<Layer>>>()?;
        let placed = nn::place("layer", &layers, &[5, 2].into())?;
        let y = placed.iter().try_fold(x, |x, layer| layer.apply(&mut graph, x))?;
        // The same numbers, whichever layer has a parameter; x holds others.
        let mut count = 0;
        let mut numbers = |shape: &pinhole::shape::Shape| {
            let values = (0..shape.elements()).map(|_| {
                count += 1;
                (f64::from(count) * 0.7).sin() * 0.6
            });
            Tensor::new(shape.clone(), Values::F64(values.collect()))
        };
        let mut inputs = vec![("x", numbers(&[3, 5, 2].into())?)];
        for parameter in placed.iter().flat_map(|layer| &layer.parameters) {
            inputs.push((&parameter.name, numbers(&parameter.shape)?));
        }
        let present = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0].map(f64::from);
        if masked {
            inputs.push(("mask", Tensor::new([3, 5], Values::F64(present.to_vec()))?));
        }
        if training {
            inputs.push(("state", Tensor::new([8], Values::U32(State { seed: 5, ..State::default() }.words()))?));
        }
        Ok(device.compute(&graph, &[y], &inputs)?[0].to_f64())
    };
    for (cell, both, last) in [("lstm", true, true), ("gru", false, false), ("gru", true, false), ("lstm", false, true)]
    {
        let one = format!("{{ {cell} = {{ out = 3, bidirectional = {both} }} }}");
        let end = format!("{{ {cell} = {{ out = 3, last = {last}, bidirectional = {both} }} }}");
        let apart = [one, "{ dropout = 0.4 }".to_owned(), end];
        let settings = format!("out = 3, last = {last}, bidirectional = {both}, layers = 2, dropout = 0.4");
        let stacked = [format!("{{ {cell} = {{ {settings} }} }}")];
        for (masked, training) in [(false, true), (true, true), (true, false)] {
            let first = computed(&Device::CpuF64, &apart, masked, training)?;
            for device in all_devices() {
                let found = computed(&device, &stacked, masked, training)?;
                let tolerance = if matches!(device, Device::CpuF64) { 0.0 } else { 1e-5 };
                let what = format!("{} masked {masked}, training {training}, {}", stacked[0], device.name());
                expect_close(&what, &found, &first, tolerance, Scale::Absolute);
            }
        }
        assert_ne!(
            computed(&Device::Cpu, &stacked, true, true)?,
            computed(&Device::Cpu, &stacked, true, false)?,
            "dropout is there in training"
        );
    }
    Ok(())
}

#[test]
fn gaussian_noise_has_its_deviation_in_training_and_is_not_there_in_use() -> Result<()> {
    let layer = "{ gaussian_noise = 0.5 }";
    let first = drawn(&Device::Cpu, layer, Some(0))?;
    assert_eq!(drawn(&gpu(), layer, Some(0))?, first);
    assert_ne!(drawn(&Device::Cpu, layer, Some(1))?, first, "the next step of training");
    let mean = first.iter().map(|x| *x as f64).sum::<f64>() / 1800.0;
    let variance = first.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / 1800.0;
    assert!((mean - 1.0).abs() < 0.05 && (variance.sqrt() - 0.5).abs() < 0.03, "{mean} {variance}");
    for device in all_devices() {
        assert_eq!(drawn(&device, layer, None)?, vec![1.0; 1800], "in use");
    }
    Ok(())
}

const MODEL: &str = r#"
input = [1, 28, 28]
loss = "mse"
encoder = [
  { conv2d = { out = 4, kernel = 3, stride = 4, padding = 1 } }, "batch_norm", "relu", { spatial_dropout = 0.1 },
  "flatten", { linear = 12 }, { dropout = 0.2 }, "batch_norm",
]
decoder = [{ linear = 784 }, "sigmoid"]
[train]
batch = 16
epochs = 2
optimizer = { adam = { lr = 1e-2 } }
"#;

#[test]
fn running_statistics_follow_on_the_device_and_resume_to_the_same_bits() -> Result<()> {
    let (network, data) = (network(MODEL), digits(72, 3));
    for device in all_devices() {
        let whole = train(&network, &device, &data, Some(&data), Options::default());
        let mut losses = Losses::default();
        let mut trainer =
            Trainer::new(&network, &device, &data, Some(&data), Options { steps: Some(7), ..Options::default() })?;
        trainer.start(&initial(&network))?;
        while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
        let checkpoint = trainer.checkpoint()?;
        let path = folder();
        let path = path.path().join("checkpoint.safetensors");
        checkpoint.write(&path, network.layout())?;
        let read = pinhole::train::Checkpoint::read(&path, &network, trainer.moments())?;
        assert_eq!(read, checkpoint);
        let mut trainer = Trainer::new(&network, &device, &data, Some(&data), Options::default())?;
        trainer.restore(&read)?;
        while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
        assert_eq!(losses.losses, whole.losses, "{}", device.name());
        expect_same_bits("weights and state", &trainer.parameters()?, &whole.parameters);

        // Ten steps have been counted, and the means are those of images.
        let values = wide(&whole.parameters);
        let entry = |name: &str| {
            let LayoutEntry { shape, offset, .. } = network.layout().entry(name).expect(name);
            values[*offset..*offset + shape.elements()].to_vec()
        };
        assert_eq!(entry("encoder.1.num_batches_tracked"), [10.0]);
        assert!(entry("encoder.1.running_mean").iter().all(|mean| *mean != 0.0));
        assert!(entry("encoder.7.running_var").iter().all(|variance| *variance != 1.0 && *variance > 0.0));
        // Validation used them as they stood, and draws nothing.
        let evaluation = evaluate(&network, &device, &whole.parameters, &data)?;
        assert_eq!(whole.reports.last().and_then(|report| report.val_loss), Some(evaluation.loss), "{}", device.name());
    }
    Ok(())
}

#[test]
fn a_model_in_use_takes_each_sample_for_itself_and_keeps_its_state_in_files() -> Result<()> {
    let (network, data) = (network(MODEL), digits(72, 3));
    let trained = train(&network, &Device::Cpu, &data, None, Options::default());
    let mut autoencoder = Autoencoder::new(network.spec().clone(), Device::Cpu)?;
    autoencoder.set_parameters(trained.parameters)?;
    let all = autoencoder.reconstruct(&data.rows_f32(0..5))?.to_f32();
    let one = autoencoder.reconstruct(&data.rows_f32(2..3))?.to_f32();
    expect_close(
        "a sample alone",
        &wide(&Values::F32(one)),
        &wide(&Values::F32(all[1568..2352].to_vec())),
        1e-6,
        Scale::Absolute,
    );
    let folder = folder();
    autoencoder.save(folder.path())?;
    let again = Autoencoder::load(folder.path(), Device::Cpu)?;
    assert_eq!(again.reconstruct(&data.rows_f32(0..5))?.to_f32(), all);
    Ok(())
}

#[test]
fn a_last_batch_of_one_sample_leaves_the_running_statistics_alone() -> Result<()> {
    let text = "input = [1, 28, 28]\nloss = \"mse\"\nencoder = [\"flatten\", { linear = 4 }, \"batch_norm\"]\n\
                decoder = [{ linear = 784 }]\n[train]\nbatch = 8\nepochs = 1\n";
    let (network, data) = (network(text), digits(17, 5));
    for device in all_devices() {
        let trained = train(&network, &device, &data, None, Options::default());
        assert!(trained.losses.iter().all(|loss| loss.is_finite()));
        let LayoutEntry { offset, .. } = network
            .layout()
            .entries()
            .iter()
            .find(|entry| entry.name.ends_with("num_batches_tracked"))
            .expect("a count");
        assert_eq!(wide(&trained.parameters)[*offset], 2.0, "{}", device.name());
    }
    Ok(())
}

/// The examples of structure, normalisation and recurrence, shortened.
#[test]
fn structured_examples_train_and_load_to_the_same_bits() -> Result<()> {
    // The convolutions are slow in a build for debugging.
    let names: &[&str] = if cfg!(debug_assertions) { &["lstm-ae"] } else { &["residual-ae", "lstm-ae"] };
    for name in names {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/models/{name}.toml"));
        let mut spec = pinhole::model::ModelSpec::read(&path)?;
        (spec.train.batch, spec.train.epochs) = (16, 2);
        spec.train.optimizer = pinhole::model::config::OptimizerSpec::adam(1e-2);
        let network = pinhole::model::Network::new(spec)?;
        let data = digits(48, 4);
        for device in fast_devices() {
            let trained = train(&network, &device, &data, None, Options::default());
            let [first, last] = [0, 1].map(|epoch: usize| trained.reports[epoch].train_loss);
            assert!(last < 0.95 * first, "{name} on {}: {first} to {last}", device.name());
            let again = train(&network, &device, &data, None, Options::default());
            expect_same_bits(name, &again.parameters, &trained.parameters);
        }
    }
    Ok(())
}
