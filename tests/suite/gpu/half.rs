//! Half precision: values stored in 16 bits, held against the CPU's, which rounds what it stores to them; and the loss's
//! scale.

use crate::cases::{Case, Group};
use crate::check::{Results, Work, compare_all, gpu, report};
use crate::gpu::parity::reference;
use crate::support::{Losses, SMALL_CONV, initial, spec, train, train_from, wide};
use crate::train::training::{expect_same_bits, interrupted};
use pinhole::data::digits;
use pinhole::graph::{Graph, Scope, Value};
use pinhole::model::config::{LossKind, Precision};
use pinhole::model::{Decoded, ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::{LossScale, ParameterLayout, Plan, Request, Step, Target};
use pinhole::tensor::{DType, Tensor};
use pinhole::train::{Checkpoint, EpochEnd, Options, Trainer, training_plan};
use pinhole::{Device, Result};

/// As a part of the largest element: a sum that another order puts on the other side of a rounding boundary is off by a
/// unit of 16 bits' last place, 2^-11 to 2^-10, and what is computed from it by as much.
const TOLERANCE: f64 = 1e-3;
/// How far 16 bits take results from the exact ones.
const ROUNDING: f64 = 3e-2;

/// The CPU, and the GPU where its shaders have 16-bit numbers.
fn devices() -> Vec<Device> {
    let all = [Device::Cpu, gpu()];
    all.into_iter().filter(|device| !matches!(device, Device::Gpu(_)) || has_half()).collect()
}

fn has_half() -> bool {
    matches!(gpu(), Device::Gpu(gpu) if gpu.summary().features.iter().any(|feature| feature == "shader-f16"))
}

/// An adapter without them says so in one line, before any training.
#[test]
fn adapters_without_16_bits_refuse_them() {
    let network = half("");
    let (data, initial) = (digits(96, 3), initial(&network));
    let begun = crate::support::try_train(&network, &gpu(), &data, None, Options::default(), &initial);
    match begun {
        Ok(_) => assert!(has_half()),
        Err((error, _)) => {
            assert!(!has_half(), "{error}");
            assert!(error.to_string().contains("f16 needs 16-bit numbers in shaders (SHADER_F16)"), "{error}");
        }
    }
}

/// Every fifth case of a group, and those in which pooling or a softmax stands between products.
fn cases(group: Group) -> Vec<Case> {
    let between = |case: &Case| case.name.contains("pooling") || case.name.starts_with("attention");
    // A difference of means that are nearly alike keeps no digit of 16 bits: a model has it in the scope of its loss.
    let lost = |case: &Case| case.name.starts_with("discrepancy");
    let cases = group.cases().into_iter().enumerate();
    let wanted = |(index, case): &(usize, Case)| (index.is_multiple_of(5) || between(case)) && !lost(case);
    cases.filter(wanted).map(|(_, case)| case).collect()
}

/// The groups in which anything is stored in 16 bits.
const GROUPS: [Group; 8] = [
    Group::Fusion,
    Group::MatMul,
    Group::Conv,
    Group::Grouped,
    Group::Layer,
    Group::Composition,
    Group::Normalisation,
    Group::Recurrence,
];

#[test]
fn devices_agree_on_what_16_bits_hold() {
    let mut failures = Vec::new();
    let mut narrowed = 0;
    for group in GROUPS {
        let mut worst = [(0.0, String::new()), (0.0, String::new()), (0.0, String::new())];
        for case in cases(group) {
            let mut note = |device: usize, result: Result<f64, String>| match result {
                Ok(error) if error >= worst[device].0 => worst[device] = (error, case.name.clone()),
                Ok(_) => {}
                Err(failure) => failures.push(failure),
            };
            // The plans of a usual GPU, as far as this one's limits allow.
            let target = Target { half: true, limits: gpu().target().limits, ..Target::default() };
            let work = Work::on(&case, &target);
            let halves = |step: &Step| step.slots.iter().any(|slot| slot.dtype == DType::Half);
            narrowed += work.plans.iter().flat_map(|plan| &plan.steps).filter(|step| halves(step)).count();
            let oracle = match work.run(&Device::CpuF64) {
                Ok(oracle) => oracle,
                Err(failure) => {
                    note(0, Err(failure));
                    continue;
                }
            };
            note(0, compare_all(&case.name, "the rounded reference", &oracle, &reference(&case), ROUNDING));
            let against = |device: &str, results: Result<Results, String>| {
                results.and_then(|results| compare_all(&case.name, device, &results, &oracle, TOLERANCE))
            };
            note(1, against("cpu, f16", work.run(&Device::Cpu)));
            let targets = [target, Target { half: true, ..gpu().target() }];
            for target in targets.into_iter().filter(|_| has_half()) {
                match Work::on(&case, &target).run_twice(&gpu()) {
                    Ok([plain, loose]) => {
                        note(2, against("gpu, f16", Ok(plain)));
                        note(2, against("gpu, f16, loosened", Ok(loose)));
                    }
                    Err(failure) => note(2, Err(failure)),
                }
            }
        }
        for ((error, case), device) in worst.iter().zip(["16 bits", "cpu", "gpu"]) {
            println!("{group:?}, {device}: greatest error {error:.2e} in \"{case}\"");
        }
    }
    assert!(narrowed > 100, "only {narrowed} launches have anything of 16 bits");
    report(failures);
}

/// The model of [`SMALL_CONV`] in 16 bits, with more of `[train]`.
fn half(more: &str) -> Network {
    Network::new(spec(&format!("{SMALL_CONV}precision = \"f16\"\n{more}"))).expect("a network")
}

#[test]
fn graphs_know_nothing_of_16_bits() {
    let refused = Context::new().input("x", [2], DType::Half).expect_err("only plans choose them");
    assert!(refused.to_string().contains("\"x\" is asked for in 16 bits, which only plans use"), "{refused}");
}

#[test]
fn a_scale_is_one_number() -> Result<()> {
    let mut graph = Context::new();
    let x = graph.input("x", [2], DType::Float)?;
    let loss = graph.sum(x, &[0])?;
    let refused = graph.gradients_times(x, loss, &[x]).expect_err("two numbers");
    assert!(refused.to_string().starts_with("gradients: the loss is [], its scale [2]"), "{refused}");
    let scale = graph.input("scale", [], DType::Float)?;
    let gradient = graph.gradients_times(scale, loss, &[x])?;
    let eight = Tensor::from_f32([], vec![8.0])?;
    assert_eq!(Device::Cpu.compute(&graph, &gradient, &[("scale", eight)])?[0].to_f32(), [8.0, 8.0]);
    Ok(())
}

#[test]
fn only_what_is_summed_has_32_bits() -> Result<()> {
    let spec = ModelSpec::resolve("conv")?;
    let plan_of = |precision: Precision| {
        let mut spec = spec.clone();
        spec.train.precision = precision;
        training_plan(&Network::new(spec)?, 1000, Target::default())
    };
    let [full, half] = [plan_of(Precision::F32)?, plan_of(Precision::F16)?];
    println!("{full}\n{half}");
    assert!(full.buffers.iter().all(|buffer| buffer.dtype != DType::Half));
    for step in half.steps.iter().filter(|step| step.kernel.row().tiled) {
        for slot in &step.slots[..2] {
            assert_eq!(slot.dtype, DType::Half, "an operand of {} \"{}\"", step.kernel.name(), step.label);
        }
    }
    for name in ["parameters", "gradients", "moments", "schedule", "norm", "train.losses"] {
        let buffer = half.buffers.iter().find(|buffer| buffer.name == name);
        assert_eq!(buffer.map(|buffer| buffer.dtype), Some(DType::Float), "{name}");
    }
    let work = |plan: &pinhole::plan::Plan| -> u64 {
        let within = plan.buffers.iter().filter(|buffer| !buffer.persistent);
        within.map(|buffer| buffer.bytes()).sum()
    };
    // What lives within a step takes little more than half.
    assert!(10 * work(&half) < 6 * work(&full), "{} bytes, {} in 32 bits", work(&half), work(&full));
    // The copies of the weights, and two launches for the norm.
    let [full, half] = [&full, &half].map(|plan| plan.launches().count());
    assert_eq!(half, full + 3);
    Ok(())
}

#[test]
fn training_in_16_bits_comes_as_far() -> Result<()> {
    let (data, test) = (digits(2560, 1), digits(512, 2));
    for device in devices() {
        let mse = [Precision::F32, Precision::F16].map(|precision| {
            let mut spec = ModelSpec::resolve("conv").expect("a preset");
            (spec.train.precision, spec.train.epochs, spec.train.optimizer.lr) = (precision, 4, 4e-3);
            let network = Network::new(spec).expect("a network");
            let trained = train(&network, &device, &data, Some(&test), Options::default());
            let last = trained.reports.last().expect("an epoch").clone();
            assert_eq!(last.skipped, 0, "an update was left out");
            last.val_mse.expect("validation")
        });
        println!("{}: MSE {:.6} in 32 bits, {:.6} in 16", device.name(), mse[0], mse[1]);
        assert!((mse[1] - mse[0]).abs() <= 0.03 * mse[0], "{}: {mse:?}", device.name());
    }
    Ok(())
}

/// A checkpoint of initial weights, whose loss is scaled so.
fn scaled(network: &Network, device: &Device, scale: LossScale) -> Result<Checkpoint> {
    let data = digits(96, 3);
    let mut trainer = Trainer::new(network, device, &data, None, Options::default())?;
    trainer.start(&initial(network))?;
    let mut checkpoint = trainer.checkpoint()?;
    assert_eq!(checkpoint.progress.loss_scale, Some(LossScale { scale: 65536.0, good: 0 }));
    checkpoint.progress.loss_scale = Some(scale);
    Ok(checkpoint)
}

/// The checkpoint after so many steps from another, and the losses on the way.
fn steps_from(network: &Network, device: &Device, start: &Checkpoint, steps: u64) -> Result<(Checkpoint, Vec<f64>)> {
    let data = digits(96, 3);
    let options = Options { steps: Some(steps), ..Options::default() };
    let mut trainer = Trainer::new(network, device, &data, None, options)?;
    trainer.restore(start)?;
    let mut losses = Losses::default();
    while !matches!(trainer.epoch(&mut losses)?, EpochEnd::Finished) {}
    Ok((trainer.checkpoint()?, losses.losses))
}

#[test]
fn gradients_that_overflow_change_nothing_and_halve_the_scale() -> Result<()> {
    for more in ["", "clip_norm = 1.0\naccumulate = 1\n"] {
        let network = half(more);
        for device in devices() {
            let scale = 2f64.powi(60);
            let start = scaled(&network, &device, LossScale { scale, good: 7 })?;
            let (end, losses) = steps_from(&network, &device, &start, 2)?;
            expect_same_bits("parameters", &end.parameters, &start.parameters);
            assert_eq!(end.moments, start.moments, "{}", device.name());
            assert_eq!(end.progress.skipped, 2);
            assert_eq!(end.progress.loss_scale, Some(LossScale { scale: scale / 4.0, good: 0 }));
            assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
            // It goes down until training goes on.
            let start = scaled(&network, &device, LossScale { scale: 2f64.powi(34), good: 0 })?;
            let (end, _) = steps_from(&network, &device, &start, 9)?;
            let skipped = end.progress.skipped as i32;
            assert!((1..9).contains(&skipped), "{skipped} updates left out on {}", device.name());
            let scale = end.progress.loss_scale.expect("a scale");
            assert_eq!(scale.scale, 2f64.powi(34 - skipped));
            assert!(scale.good <= 9 - skipped as u32, "{scale:?}");
            assert_ne!(end.parameters, start.parameters);
        }
    }
    Ok(())
}

#[test]
fn the_scale_doubles_after_2000_good_updates_and_changes_no_result() -> Result<()> {
    let network = half("");
    for device in devices() {
        let start = |scale, good| scaled(&network, &device, LossScale { scale, good });
        let (end, _) = steps_from(&network, &device, &start(1024.0, 1998)?, 1)?;
        assert_eq!(end.progress.loss_scale, Some(LossScale { scale: 1024.0, good: 1999 }));
        let (end, _) = steps_from(&network, &device, &start(1024.0, 1998)?, 2)?;
        assert_eq!(end.progress.loss_scale, Some(LossScale { scale: 2048.0, good: 0 }));
        assert_eq!(end.progress.skipped, 0);
        // A power of two more or less changes only what vanishes.
        let (other, _) = steps_from(&network, &device, &start(2048.0, 0)?, 2)?;
        let (one, other) = (wide(&end.parameters), wide(&other.parameters));
        let apart = one.iter().zip(&other).map(|(one, other)| (one - other).abs()).sum::<f64>() / one.len() as f64;
        // Adam moves each parameter by 3e-3 a step.
        assert!(apart <= 1e-4, "{}: {apart:e} apart in the mean", device.name());
    }
    Ok(())
}

#[test]
fn a_scale_that_cannot_be_to_blame_ends_training() -> Result<()> {
    for (more, ends) in [("", true), ("non_finite = \"skip\"\n", false)] {
        let network = half(more);
        let start = scaled(&network, &Device::Cpu, LossScale { scale: 2f64.powi(-20), good: 0 })?;
        let error = steps_from(&network, &Device::Cpu, &start, 3).err().map(|error| error.to_string());
        let said = "a gradient, however the loss is scaled, is not finite at step 3 (epoch 1), where the loss is ";
        assert_eq!(error.as_ref().is_some_and(|error| error.starts_with(said)), ends, "{error:?}");
    }
    Ok(())
}

#[test]
fn batches_are_accumulated_under_one_scale() -> Result<()> {
    let network = half("accumulate = 2\n");
    for device in devices() {
        let start = scaled(&network, &device, LossScale { scale: 2f64.powi(60), good: 0 })?;
        let (end, _) = steps_from(&network, &device, &start, 2)?;
        // Two batches are one update.
        assert_eq!((end.progress.skipped, end.progress.loss_scale.map(|scale| scale.scale)), (1, Some(2f64.powi(59))));
        expect_same_bits("parameters", &end.parameters, &start.parameters);
    }
    Ok(())
}

#[test]
fn a_run_in_16_bits_resumes_to_the_same_bits() -> Result<()> {
    let network = half("");
    let data = digits(150, 5);
    for device in devices() {
        let options = Options::default();
        let whole = train(&network, &device, &data, None, options.clone());
        for stop_after in [2, 7] {
            let parts = interrupted(&network, &device, &data, &options, stop_after)?;
            expect_same_bits("parameters", &parts.parameters, &whole.parameters);
            assert_eq!(parts.losses, whole.losses);
        }
    }
    Ok(())
}

#[test]
fn launches_in_16_bits_are_held_against_the_cpu() -> Result<()> {
    let network = half("");
    let (data, test) = (digits(96, 3), digits(40, 4));
    for device in devices() {
        // Validation is in 32 bits, and its values take more memory than those of a step.
        let mut trainer = Trainer::new(&network, &device, &data, Some(&test), Options::default())?;
        trainer.start(&initial(&network))?;
        let agreement = trainer.check(2)?;
        println!("{}: {:.1e} in {}", device.name(), agreement.worst, agreement.worst_launch);
        assert!(agreement.worst < 1e-3);
    }
    Ok(())
}

#[test]
fn what_is_no_number_in_the_data_is_still_found() {
    let network = half("");
    let mut values = vec![0.5f32; 96 * 784];
    // Finite in 32 bits, and not in 16.
    values[40 * 784] = 1e6;
    let data = pinhole::data::Dataset::from_f32([1, 28, 28], values).expect("data");
    for device in devices() {
        let failed = crate::support::try_train(&network, &device, &data, None, Options::default(), &initial(&network));
        let (error, _) = failed.expect_err("no loss is finite");
        let text = error.to_string();
        assert!(text.starts_with("the data is not finite at step "), "{}: {text}", device.name());
    }
}

#[test]
fn a_step_updates_by_unscaled_gradients() {
    // In 32 bits and 16 the first step of plain descent is the same but for rounding.
    let step = |precision: &str| {
        let sgd =
            format!("{SMALL_CONV}precision = \"{precision}\"\n").replace("adam = { lr = 3e-3 }", "sgd = { lr = 1.0 }");
        let network = Network::new(spec(&sgd)).expect("a network");
        let options = Options { steps: Some(1), ..Options::default() };
        let start = initial(&network);
        let end = train_from(&network, &Device::CpuF64, &digits(32, 1), None, options, &start).parameters;
        let change = |(end, start): (f64, f64)| end - start;
        wide(&end).into_iter().zip(wide(&start)).map(change).collect::<Vec<f64>>()
    };
    let [full, half] = [step("f32"), step("f16")];
    let largest = full.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (full, half) in full.iter().zip(&half) {
        assert!((full - half).abs() <= 1e-2 * largest, "{full} in 32 bits, {half} in 16");
    }
    assert!(full != half, "16 bits round something");
}

/// A product of a product, which a plan in 16 bits stores in 16 bits where the scope does not ask for 32.
fn products(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let inner = graph.matmul(y, target, false, true)?;
    let outer = graph.matmul(inner, inner, false, false)?;
    graph.mean_all(outer)
}

/// Whether a plan in 16 bits that computes this value has any value of 16 bits.
fn has_halves(graph: &Graph, value: Value) -> Result<bool> {
    let layout = ParameterLayout::of(graph);
    let plan = Plan::build(Request {
        name: "scope",
        graph,
        outputs: vec![(value, "y".to_owned())],
        layout: &layout,
        training: None,
        metrics: None,
        target: Target { half: true, ..Target::default() },
    })?;
    Ok(plan.steps.iter().flat_map(|step| &step.slots).any(|slot| slot.dtype == DType::Half))
}

#[test]
fn a_custom_loss_with_a_scope_of_its_own_keeps_32_bits() -> Result<()> {
    let mut spec = ModelSpec::resolve("dense")?;
    spec.loss = LossKind::custom("own", |graph, y, target| {
        let scope = graph.set_scope("mine");
        let loss = products(graph, y, target);
        graph.set_scope(scope);
        loss
    })
    .into();
    let network = Network::new(spec)?;
    let mut graph = Context::new();
    let shape = network.input_shape(4);
    let output = graph.input("output", shape.clone(), DType::Float)?;
    let target = graph.input("target", shape, DType::Float)?;
    let loss = network.loss(&mut graph, Decoded { output, logits: None }, target)?;
    assert_eq!(graph.node(loss).name, "mine");
    assert!(!has_halves(&graph, loss)?);
    Ok(())
}

#[test]
fn the_name_of_a_scope_does_not_decide_its_precision() -> Result<()> {
    for (scope, expected) in [("loss".into(), true), (Scope::full_precision("encoder.0"), false)] {
        let mut graph = Context::new();
        let y = graph.input("y", [4, 6], DType::Float)?;
        let target = graph.input("target", [4, 6], DType::Float)?;
        let outside = graph.set_scope(scope);
        let value = products(&mut graph, y, target)?;
        graph.set_scope(outside);
        assert_eq!(has_halves(&graph, value)?, expected, "{}", graph.node(value).name);
    }
    Ok(())
}
