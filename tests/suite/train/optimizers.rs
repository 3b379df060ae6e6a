//! What happens between gradients and parameters: optimisers, schedules, limits, accumulation, averages, groups, penalties,
//! held against PyTorch; and early ends and faults of numbers.

use crate::support::*;
use crate::train::training::{expect_same, expect_same_bits, interrupted};
use pinhole::data::{Dataset, digits};
use pinhole::model::{ModelSpec, Network};
use pinhole::plan::Kernel;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::Values;
use pinhole::train::{EpochEnd, Options, Trainer, training_plan};
use pinhole::{Autoencoder, Device, Error, Result};
use std::path::Path;

/// The model of `make_training.py`.
const SMALL: &str = r#"
input = [64]
loss = "bce"
encoder = [{ linear = 3 }, "tanh"]
decoder = [{ linear = 64 }, "sigmoid"]
[train]
batch = 10
epochs = 5
shuffle = false
"#;

#[test]
fn trainings_match_pytorch_on_every_device() -> Result<()> {
    let reference = json(&fixture("training.json"));
    let tensors = Tensors::read(&fixture("training.safetensors"));
    let cases = reference["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 47, "the fixture's cases");
    for device in all_devices() {
        let exact = matches!(device, Device::CpuF64);
        for case in cases {
            let name = case["name"].as_str().expect("a name");
            let what = |part: &str| format!("{name} on {}: {part}", device.name());
            let text = |key: &str| case[key].as_str().expect("settings");
            let network = network(&format!("{}{}", SMALL.replace("loss = \"bce\"", text("loss")), text("train")));
            let images = Dataset::from_u8([64], tensors.u8("images"))?;
            let start = Values::F64(tensors.parameters(&network, "init."));
            let mut losses = Losses::default();
            let mut trainer = Trainer::new(&network, &device, &images, None, Options::default())?;
            trainer.start(&start)?;
            while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
            let tolerance = if exact { 1e-12 } else { 1e-5 };
            let expected = numbers(&case["losses64"]);
            assert_eq!(expected.len(), 25);
            expect_close(&what("losses"), &losses.losses, &expected, tolerance, Scale::Relative);
            if !exact {
                let expected = numbers(&case["losses"]);
                expect_close(&what("losses in f32"), &losses.losses, &expected, tolerance, Scale::Relative);
            }
            let weights = wide(&trainer.parameters()?);
            let expected = tensors.parameters(&network, &format!("{name}.final64."));
            expect_close(&what("weights"), &weights, &expected, tolerance, Scale::Absolute);
            if network.spec().train.ema.is_some() {
                let expected = tensors.parameters(&network, &format!("{name}.average64."));
                expect_close(&what("average"), &wide(&trainer.model()?), &expected, tolerance, Scale::Absolute);
            }
        }
    }
    Ok(())
}

/// SMALL_DENSE with more under `[train]`.
fn with(settings: &str) -> Network {
    network(&format!("{SMALL_DENSE}{settings}"))
}

const EVERYTHING: &str = "accumulate = 3\nclip_norm = 0.05\nclip_value = 0.01\nema = 0.7\nnon_finite = \"skip\"\n\
    early_stopping = { patience = 2 }\nschedule = { plateau = { factor = 0.5, patience = 0, threshold = 0.5 } }\n\
    layers = [{ name = \"encoder.0\", lr = 1e-3, l2 = 1e-4 }, { name = \"encoder\", activity_l1 = 1e-3 }]\n";

#[test]
fn a_checkpoint_goes_on_to_the_same_bits_with_everything_switched_on() -> Result<()> {
    let (network, data) = (with(EVERYTHING), digits(100, 3));
    // Two steps a submission, so that a GPU stops near where it is told to.
    let options = Options { steps_per_submission: Some(2), ..Options::default() };
    for device in fast_devices() {
        let whole = train(&network, &device, &data, None, options.clone());
        for stop_after in [1, 2, 4, 7] {
            let parts = interrupted(&network, &device, &data, &options, stop_after)?;
            expect_same(&format!("stopped after {stop_after} on {}", device.name()), &whole, &parts);
        }
    }
    Ok(())
}

/// Later entries take back what earlier ones say, and a file that is written says as much as the one that was read.
#[test]
fn entries_for_layers_are_written_as_they_were_given() -> Result<()> {
    let text = "layers = [{ name = \"encoder\", frozen = true, l1 = 0.5, activity_l1 = 0.5 }, \
                { name = \"encoder.0\", frozen = false, l1 = 0, l2 = 0.0, activity_l1 = 0.0, activity_l2 = 0.0 }]\n";
    let read = spec(&format!("{SMALL}{text}"));
    let given = "layers = [{ name = \"encoder\", frozen = true, l1 = 0.5, activity_l1 = 0.5 }, { name = \"encoder.0\", \
                 frozen = false, l1 = 0.0, l2 = 0.0, activity_l1 = 0.0, activity_l2 = 0.0 }]\n";
    assert!(read.to_toml().contains(given), "{}", read.to_toml());
    assert_eq!(spec(&read.to_toml()), read);
    // All is frozen by one entry, and the next one thaws a layer of it.
    let thawed = "layers = [{ name = \"encoder\", frozen = true }, { name = \"decoder\", frozen = true }, \
                  { name = \"decoder.0\", frozen = false }]\n";
    let network = network(&format!("{SMALL}{thawed}"));
    let images = Tensors::read(&fixture("training.safetensors")).u8("images");
    let data = Dataset::from_u8([64], images)?;
    let trained = train(&network, &Device::Cpu, &data, None, Options::default());
    let (after, before) = (wide(&trained.parameters), wide(&initial(&network)));
    for LayoutEntry { name, shape, offset } in network.layout().entries() {
        let range = *offset..*offset + shape.elements();
        assert_eq!(after[range.clone()] == before[range], name.starts_with("encoder."), "{name}");
    }
    Ok(())
}

/// A rate of 0 trains nothing, for a whole model, from the command line's place too, or for a layer.
#[test]
fn a_rate_of_0_is_legal_and_trains_nothing() {
    let data = digits(64, 3);
    for settings in ["swa = { start = 1, lr = 0.01 }\n", "ema = 0.9\nschedule = \"cosine\"\n", ""] {
        let text = format!("{SMALL_DENSE}{settings}").replace("lr = 3e-3", "lr = 0");
        let network = network(&text);
        let trained = train(&network, &Device::Cpu, &data, Some(&data), Options::default());
        let moved = trained.parameters != initial(&network);
        assert_eq!(moved, settings.contains("lr = 0.01"), "{settings}");
        assert!(trained.losses.iter().all(|loss| loss.is_finite()), "{settings}");
    }
    let layer = with("layers = [{ name = \"encoder.0\", lr = 0 }]\n");
    let trained = train(&layer, &Device::Cpu, &data, None, Options::default());
    let (after, before) = (wide(&trained.parameters), wide(&initial(&layer)));
    for LayoutEntry { name, shape, offset } in layer.layout().entries() {
        let range = *offset..*offset + shape.elements();
        assert_eq!(after[range.clone()] == before[range], name.starts_with("encoder.0."), "{name}");
    }
}

/// Border pixels of digits are always 0, and so are gradients by their weights: no 0 / 0 comes of it.
#[test]
fn an_epsilon_of_0_is_legal() {
    let data = digits(64, 3);
    let optimizers = ["rmsprop", "adam", "adamw", "adagrad", "adadelta", "nadam", "adamax", "radam"];
    for device in all_devices() {
        for name in optimizers {
            let text =
                SMALL_DENSE.replace("{ adam = { lr = 3e-3 } }", &format!("{{ {name} = {{ lr = 1e-3, eps = 0 }} }}"));
            let trained = train(&network(&text), &device, &data, None, Options::default());
            let what = format!("{name} on {}", device.name());
            assert!(wide(&trained.parameters).iter().all(|value| value.is_finite()), "{what}");
            assert!(trained.losses.iter().all(|loss| *loss < 0.8), "{what}: {:?}", trained.losses);
        }
    }
}

#[test]
fn accumulated_batches_are_a_batch_of_their_size() {
    let data = digits(100, 3);
    let whole = network(SMALL_DENSE);
    let parts = network(&format!("{}accumulate = 4\n", SMALL_DENSE.replace("batch = 32", "batch = 8")));
    for device in all_devices() {
        let whole = train(&whole, &device, &data, None, Options::default());
        let parts = train(&parts, &device, &data, None, Options::default());
        assert_eq!((whole.losses.len(), parts.losses.len()), (12, 39));
        let tolerance = if matches!(device, Device::CpuF64) { 1e-13 } else { 2e-6 };
        let what = format!("accumulated on {}", device.name());
        expect_close(&what, &wide(&parts.parameters), &wide(&whole.parameters), tolerance, Scale::Largest);
        for (whole, parts) in whole.reports.iter().zip(&parts.reports) {
            expect_close(&what, &[parts.train_loss], &[whole.train_loss], 1e-6, Scale::Relative);
        }
    }
}

#[test]
fn validation_looks_at_the_average_and_the_average_is_the_model() -> Result<()> {
    let (data, validation) = (digits(100, 3), digits(40, 4));
    for device in fast_devices() {
        let network = with("ema = 0.9\n");
        let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
        let reports = autoencoder.fit(&data, Some(&validation), &mut ())?;
        let raw = train(&network, &device, &data, Some(&validation), Options::default());
        assert_ne!(autoencoder.parameters(), &raw.parameters, "the average lags behind");
        let evaluation = autoencoder.evaluate(&validation)?;
        assert_eq!(reports.last().and_then(|report| report.val_loss), Some(evaluation.loss));
        assert_eq!(raw.losses, train(&self::network(SMALL_DENSE), &device, &data, None, Options::default()).losses);
    }
    Ok(())
}

#[test]
fn training_ends_early_with_the_best_weights() -> Result<()> {
    let (data, validation) = (digits(100, 3), digits(40, 4));
    // A rate that soon overshoots.
    let text = SMALL_DENSE.replace("3e-3", "3e-1").replace("epochs = 3", "epochs = 30");
    let network = network(&format!("{text}early_stopping = {{ patience = 3, min_delta = 0.0 }}\n"));
    for device in fast_devices() {
        let mut trainer = Trainer::new(&network, &device, &data, Some(&validation), Options::default())?;
        trainer.start(&initial(&network))?;
        let mut seen: Vec<(f64, Values)> = Vec::new();
        while let EpochEnd::Epoch(report) = trainer.epoch(&mut ())? {
            seen.push((report.val_loss.expect("a loss"), trainer.parameters()?));
        }
        let best = (0..seen.len()).min_by(|a, b| seen[*a].0.total_cmp(&seen[*b].0)).expect("an epoch");
        assert_eq!(seen.len(), best + 1 + 3, "{:?}", seen.iter().map(|(loss, _)| *loss).collect::<Vec<_>>());
        assert!(seen.len() < 30);
        expect_same_bits("the best weights", &trainer.model()?, &seen[best].1);
        assert_ne!(trainer.model()?, trainer.parameters()?);
        // And it stays ended, also after a restart.
        let checkpoint = trainer.checkpoint()?;
        assert_eq!(checkpoint.model(), &seen[best].1);
        trainer.restore(&checkpoint)?;
        assert_eq!(trainer.epoch(&mut ())?, EpochEnd::Finished);
        expect_same_bits("the best weights", &trainer.model()?, &seen[best].1);
    }
    Ok(())
}

#[test]
fn frozen_layers_stay_as_they_are_and_cost_no_gradient() -> Result<()> {
    let data = digits(100, 3);
    let frozen = with("layers = [{ name = \"encoder\", frozen = true }]\n");
    for device in fast_devices() {
        let trained = train(&frozen, &device, &data, None, Options::default());
        let (after, before) = (wide(&trained.parameters), wide(&initial(&frozen)));
        for LayoutEntry { name, shape, offset } in frozen.layout().entries() {
            let range = *offset..*offset + shape.elements();
            assert_eq!(after[range.clone()] == before[range], name.starts_with("encoder."), "{name}");
        }
        let products = |network: &Network| -> Result<usize> {
            let plan = training_plan(network, 100, device.target())?;
            Ok(plan.steps.iter().filter(|step| step.kernel == Kernel::MatMul).count())
        };
        // Of four layers forward, four weights' and three inputs' gradients, two weights' and two inputs' are left out.
        assert_eq!(products(&network(SMALL_DENSE))? - products(&frozen)?, 4);
    }
    Ok(())
}

/// Digits of which one is so large that what is computed from it overflows.
fn with_a_poisoned_sample() -> Dataset {
    let data = digits(100, 3);
    let mut values = data.rows_f32(0..100);
    values[40 * 784..41 * 784].fill(3e38);
    Dataset::from_f32([784], values).expect("a data set")
}

const UNBOUNDED: &str = r#"
input = [784]
loss = "mse"
encoder = [{ linear = 24 }, "relu", { linear = 6 }]
decoder = [{ linear = 24 }, "relu", { linear = 784 }]
[train]
batch = 16
epochs = 2
"#;

#[test]
fn updates_with_bad_gradients_are_left_out_and_counted_where_that_is_asked_for() -> Result<()> {
    let data = with_a_poisoned_sample();
    let network = network(&format!("{UNBOUNDED}non_finite = \"skip\"\n"));
    for device in fast_devices() {
        let mut losses = Losses::default();
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
        trainer.start(&initial(&network))?;
        let mut reports = Vec::new();
        while let EpochEnd::Epoch(report) = trainer.epoch(&mut losses)? {
            reports.push(report);
        }
        assert_eq!(losses.losses.len(), 14);
        assert_eq!(losses.losses.iter().filter(|loss| !loss.is_finite()).count(), 2, "{:?}", losses.losses);
        assert_eq!(reports.iter().map(|report| report.skipped).collect::<Vec<_>>(), [1, 2]);
        assert!(reports[1].train_loss < reports[0].train_loss, "{reports:?}");
        assert!(wide(&trainer.parameters()?).iter().all(|value| value.is_finite()));
        assert_eq!(trainer.checkpoint()?.progress.skipped, 2);
    }
    Ok(())
}

const NORMED: &str = r#"
input = [784]
loss = "mse"
encoder = [{ linear = 24 }, "batch_norm", "relu", { linear = 6 }]
decoder = [{ linear = 24 }, "batch_norm", "relu", { linear = 784 }]
[train]
batch = 16
epochs = 2
"#;

/// The parts of parameters that batch normalisation keeps, and the weights.
fn running_and_weights(network: &Network, parameters: &Values) -> [Vec<f64>; 2] {
    let all = wide(parameters);
    let of = |fits: fn(&str) -> bool| {
        let entries = network.layout().entries().iter().filter(|entry| fits(&entry.name));
        entries
            .flat_map(|LayoutEntry { shape, offset, .. }| all[*offset..*offset + shape.elements()].to_vec())
            .collect()
    };
    [
        of(|name| name.contains(".running_") || name.ends_with(".num_batches_tracked")),
        of(|name| name.ends_with(".weight")),
    ]
}

#[test]
fn a_step_that_is_left_out_leaves_the_running_statistics_alone() -> Result<()> {
    let data = with_a_poisoned_sample();
    for settings in ["", "accumulate = 2\n", "clip_norm = 1.0\nema = 0.9\n"] {
        let network = network(&format!("{NORMED}non_finite = \"skip\"\n{settings}"));
        for device in fast_devices() {
            let what = format!("{} with {settings:?}", device.name());
            let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
            trainer.start(&initial(&network))?;
            while trainer.epoch(&mut ())? != EpochEnd::Finished {}
            let checkpoint = trainer.checkpoint()?;
            assert_eq!(checkpoint.progress.skipped, 2, "{what}");
            let [running, weights] = running_and_weights(&network, checkpoint.model());
            assert!(running.iter().chain(&weights).all(|value| value.is_finite()), "{what}: {running:?}");
            // Two epochs of seven batches, of which each left one out, and with it what came after it in its update.
            let counts = running.iter().filter(|value| **value >= 9.0 && value.fract() == 0.0).count();
            assert_eq!(counts, 2, "{what}: {running:?}");
            if settings.is_empty() {
                assert_eq!(running.last(), Some(&12.0), "{what}");
            }
        }
    }
    // And where nothing is left out, everything is as without the guard.
    let data = digits(100, 3);
    let [plain, guarded] = [NORMED.to_owned(), format!("{NORMED}non_finite = \"skip\"\n")].map(|text| network(&text));
    for device in fast_devices() {
        let [plain, guarded] =
            [&plain, &guarded].map(|network| train(network, &device, &data, None, Options::default()));
        expect_same(&device.name(), &plain, &guarded);
    }
    Ok(())
}

/// As PyTorch's `AveragedModel` does unless it is asked to average buffers too.
#[test]
fn the_average_takes_running_statistics_as_they_are() -> Result<()> {
    let data = digits(100, 3);
    for settings in ["ema = 0.9\n", "ema = 0.9\naccumulate = 3\n"] {
        let network = network(&format!("{NORMED}{settings}"));
        for device in all_devices() {
            let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
            trainer.start(&initial(&network))?;
            while trainer.epoch(&mut ())? != EpochEnd::Finished {}
            let checkpoint = trainer.checkpoint()?;
            let [[running, weights], [averaged, lagging]] = [&checkpoint.parameters, checkpoint.model()]
                .map(|parameters| running_and_weights(&network, parameters));
            assert_eq!(averaged, running, "{} with {settings:?}", device.name());
            assert_eq!(running.last(), Some(&14.0));
            assert!(weights.iter().zip(&lagging).filter(|(now, average)| now != average).count() * 2 > weights.len());
        }
    }
    Ok(())
}

#[test]
fn without_bad_gradients_skipping_changes_nothing() {
    let data = digits(100, 3);
    for device in fast_devices() {
        let plain = train(&network(SMALL_DENSE), &device, &data, None, Options::default());
        let skipping = train(&with("non_finite = \"skip\"\n"), &device, &data, None, Options::default());
        expect_same(&device.name(), &plain, &skipping);
    }
}

#[test]
fn a_bad_loss_names_the_first_layer_that_went_bad() {
    let data = with_a_poisoned_sample();
    let network = network(&format!("{UNBOUNDED}shuffle = false\n"));
    for device in fast_devices() {
        let result = try_train(&network, &device, &data, None, Options::default(), &initial(&network));
        // Sample 40 is in the third batch of 16.
        let (error, losses) = result.expect_err("no training");
        assert_eq!(losses.len(), 2);
        let Error::NonFinite { place, value, step, epoch } = error else { panic!("{error}") };
        assert_eq!((&place[..], step, epoch), ("the output of \"encoder.0\"", 3, 1));
        assert!(!value.is_finite());
    }
}

/// y = d e x, whose loss is finite where d and x are so large that the gradient by e is not.
#[test]
fn a_bad_gradient_names_its_step_and_parameter() -> Result<()> {
    let text = "input = [1]\nloss = \"mse\"\nencoder = [{ linear = { out = 1, bias = false } }]\n\
                decoder = [{ linear = { out = 1, bias = false } }]\n\
                [train]\nbatch = 1\nepochs = 2\noptimizer = { sgd = { lr = 1e-30 } }\n";
    let network = network(text);
    let mut start = vec![0.0; network.layout().elements()];
    start[network.layout().offset("encoder.0.weight").expect("a weight")] = 2e-20;
    start[network.layout().offset("decoder.0.weight").expect("a weight")] = 1e19;
    // The only step of an epoch, and one that others follow.
    for samples in [1, 3] {
        let data = Dataset::from_f32([1], vec![1e19; samples])?;
        for device in fast_devices() {
            let start = Values::F32(start.clone());
            let result = try_train(&network, &device, &data, None, Options::default(), &start);
            let Err((Error::NonFinite { place, step, epoch, .. }, losses)) = result else { panic!("{result:?}") };
            assert_eq!((&place[..], step, epoch), ("the gradient of \"encoder.0.weight\"", 1, 1));
            assert_eq!(losses.len(), 1, "{losses:?}");
        }
    }
    Ok(())
}

// ---- model files

#[test]
fn a_model_file_says_all_of_it_and_is_written_again() {
    let settings = "optimizer = { nadam = { lr = 0.002, betas = [0.8, 0.99], weight_decay = 0.1 } }\n\
                    schedule = { cosine = { period = 4, multiply = 2, min = 0.001, per_step = false } }\n\
                    warmup = 10\nclip_value = 0.5\nclip_norm = 2\naccumulate = 4\nema = 0.999\n\
                    early_stopping = { patience = 3, min_delta = 0.01 }\nnon_finite = \"skip\"\nprecision = \"f16\"\n\
                    layers = [{ name = \"encoder.0\", lr = 0.1, weight_decay = 0, frozen = true, l1 = 1e-4, l2 = 1e-5, \
                    activity_l1 = 0.1, activity_l2 = 0.2 }, { name = \"decoder\", frozen = false }]\n";
    let spec = spec(&format!("{SMALL}{settings}"));
    assert_eq!(ModelSpec::parse(&spec.to_toml(), Path::new("again.toml")).expect("a model"), spec);
    for text in ["sgd", "rmsprop", "adam", "adamw", "adagrad", "adadelta", "nadam", "lion", "adamax", "radam"] {
        let spec = self::spec(&format!("{SMALL}optimizer = \"{text}\"\n"));
        assert_eq!(spec.train.optimizer.name(), text);
        assert_eq!(ModelSpec::parse(&spec.to_toml(), Path::new("again.toml")).expect("a model"), spec);
    }
    let schedules =
        ["constant", "step", "multi_step", "exponential", "linear", "polynomial", "cosine", "one_cycle", "plateau"];
    for text in schedules {
        let spec = self::spec(&format!("{SMALL}schedule = \"{text}\"\n"));
        assert!(spec.to_toml().contains(text));
        assert_eq!(ModelSpec::parse(&spec.to_toml(), Path::new("again.toml")).expect("a model"), spec);
    }
    let mut set = spec.clone();
    for assignment in ["train.schedule.cosine.min=0", "train.clip_norm=false", "train.layers.0.lr=1", "train.ema=0.5"] {
        set.set(assignment).expect("a change");
    }
    assert_eq!((set.train.clip_norm, set.train.ema, set.train.layers[0].lr), (None, Some(0.5), Some(1.0)));
}

#[test]
fn settings_that_make_no_sense_are_refused_in_one_line() {
    for (settings, expected) in [
        (
            "optimizer = { sgd = { momentum = 1 } }",
            "line 10, train.optimizer.sgd.momentum: expects a number, at least 0 and less than 1, got 1.0; use 0.0, say",
        ),
        (
            "optimizer = { sgd = { nesterov = true } }",
            "line 10, train.optimizer.sgd.nesterov: is nothing without momentum; set momentum = 0.9, say, or leave it out",
        ),
        (
            "optimizer = { adamw = { decay = 1 } }",
            "line 10, train.optimizer.adamw: unknown key \"decay\"; known are lr, betas, eps, amsgrad, weight_decay",
        ),
        ("schedule = \"cosin\"", "line 10, train.schedule: unknown schedule \"cosin\"; did you mean \"cosine\"?"),
        (
            "schedule = { step = { every = 0 } }",
            "line 10, train.schedule.step.every: expects a whole number, at least 1, got 0; use 10, say",
        ),
        (
            "schedule = { multi_step = { milestones = [] } }",
            "line 10, train.schedule.multi_step.milestones: expects one or more whole numbers, each at least 1, got []; use \
             [30, 80], say",
        ),
        (
            "schedule = { multi_step = { milestones = 3 } }",
            "line 10, train.schedule.multi_step.milestones: expects a list of whole numbers, got 3; write [30, 80], say",
        ),
        (
            "schedule = { linear = { end_factor = -1 } }",
            "line 10, train.schedule.linear.end_factor: expects a number, at least 0, got -1.0; use 1.0, say",
        ),
        (
            "optimizer = { adam = { lr = -0.1 } }",
            "line 10, train.optimizer.adam.lr: expects a number, at least 0, got -0.1; use 0.001, say",
        ),
        (
            "optimizer = \"adan\"",
            "line 10, train.optimizer: unknown optimizer \"adan\"; known are sgd, rmsprop, adam, adamw, adagrad, adadelta, nadam, \
             lion, adamax, radam",
        ),
        (
            "schedule = \"one_cycle\"\nwarmup = 3",
            "line 11, train.warmup: a schedule of one cycle warms up by itself; leave warmup out, or use another schedule",
        ),
        ("clip_norm = 0", "line 10, train.clip_norm: expects a positive number, or false, got 0.0; use 1.0, say"),
        (
            "ema = 1",
            "line 10, train.ema: expects a number, at least 0 and less than 1, or false, got 1.0; use 0.999, say",
        ),
        ("accumulate = 0", "line 10, train.accumulate: expects a whole number, at least 1, got 0; use 1, say"),
        (
            "early_stopping = { patience = 0 }",
            "line 10, train.early_stopping.patience: expects a whole number, at least 1, got 0; use 5, say",
        ),
        ("precision = \"f8\"", "line 10, train.precision: unknown precision \"f8\"; known are f32, f16"),
        ("non_finite = \"skipp\"", "line 10, train.non_finite: unknown answer \"skipp\"; did you mean \"skip\"?"),
        (
            "layers = [{ name = \"encoder.9\" }]",
            "line 10, train.layers.0.name: the model has no layer or parameter \"encoder.9\"; known are encoder, decoder, \
             encoder.0, encoder.1, decoder.0, decoder.1, encoder.0.weight, encoder.0.bias, decoder.0.weight, decoder.0.bias",
        ),
        (
            "layers = [{ name = \"encoder.0\", l1 = -1 }]",
            "line 10, train.layers.0.l1: expects a number, at least 0, got -1.0; use 0.001, say",
        ),
        (
            "layers = [{ name = \"encoder.0.bias\", activity_l1 = 1 }]",
            "line 10, train.layers.0.name: \"encoder.0.bias\" has no activities of its own; name the layer that computes \
             them",
        ),
        (
            "layers = [{ name = \"encoder\", frozen = true }, { name = \"decoder\", frozen = true }]",
            "line 10, train.layers: every parameter is frozen; leave one to train",
        ),
    ] {
        let error = ModelSpec::parse(&format!("{SMALL}{settings}\n"), Path::new("m.toml")).expect_err(settings);
        assert_eq!(error.to_string(), format!("m.toml: {expected}"), "{settings}");
    }
}
