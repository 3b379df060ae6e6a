//! Whole training steps: batch, noise, forward, backward, optimiser and state on every device, held against the CPU in f64;
//! and that it makes no difference how many of them a submission holds.

use crate::check::{GUARD, any_target, compare, gpu, loosen, put, sentinels, to_f64, untouched};
use crate::plan::plans::{EVERYTHING, OPTIMIZERS, SAMPLE, SAMPLES, STEPS, training_plan_on};
use pinhole::device::Session;
use pinhole::plan::LayoutEntry;
use pinhole::plan::{Gradients, Kernel, Limits, Optimizer, ParameterLayout, Plan, State, Target, state};
use pinhole::rng;
use pinhole::tensor::Values;
use pinhole::{Device, Result};
use std::collections::HashMap;

const SEED: u64 = 42;

/// An optimiser's first steps, and those with everything that can happen to gradients before.
fn methods() -> Vec<(Optimizer, Gradients)> {
    let plain = OPTIMIZERS.map(|optimizer| (optimizer, Gradients::default()));
    let full = OPTIMIZERS.map(|optimizer| (optimizer, EVERYTHING));
    let limited = Gradients { norm_limit: true, ..Gradients::default() };
    let alone = [Gradients::default(), EVERYTHING, limited].map(|own| (Optimizer::SGD, own));
    let scaled = [Gradients::default(), limited, EVERYTHING].map(|own| Gradients { scaled: true, ..own });
    let scaled = scaled.map(|own| (Optimizer::ADAM, own));
    [&plain[..], &full, &alone, &scaled].concat()
}

/// A rate at which an optimiser learns in few steps.
fn rate_of(optimizer: &Optimizer) -> f64 {
    match optimizer {
        Optimizer::Sgd { .. } => 0.2,
        Optimizer::Adadelta { .. } => 1.0,
        Optimizer::Lion { .. } => 3e-3,
        _ => 1e-2,
    }
}

/// The schedule of all steps. Where batches are accumulated, each second step updates.
fn schedule(optimizer: &Optimizer, own: Gradients) -> Vec<f64> {
    let row = |step: usize| {
        let update = if own.accumulated { step / 2 } else { step };
        let mut row = optimizer.schedule_row(update as u64 + 1, rate_of(optimizer), 0.01);
        if own.accumulated {
            (row[state::SHARE], row[state::WAIT]) = (0.5, if step.is_multiple_of(2) { 1.0 } else { 0.0 });
        }
        (row[state::VALUE_LIMIT], row[state::NORM_LIMIT], row[state::AVERAGING]) = (0.01, 0.05, 0.1);
        row
    };
    (0..STEPS).flat_map(row).collect()
}

/// The buffers that hold what an optimiser changes.
fn changing(own: Gradients) -> Vec<&'static str> {
    let mut names = vec!["parameters", "moments", "state"];
    names.extend(own.averaged.then_some("average"));
    names.extend((own.norm_limit || own.scaled).then_some(state::NORM));
    names
}

/// What is written before the first step, by buffer.
fn start(optimizer: &Optimizer, own: Gradients, plan: &Plan, layout: &ParameterLayout) -> HashMap<String, Values> {
    let [samples, _] = SAMPLES;
    let noise = |index: usize| rng::unit(rng::words(1, 0, 0, index as u32)[0]);
    let mut parameters = vec![0.0; layout.elements()];
    for LayoutEntry { shape, offset, .. } in layout.entries() {
        for (index, parameter) in parameters.iter_mut().enumerate().skip(*offset).take(shape.elements()) {
            *parameter = 0.6 * noise(index) - 0.3;
        }
    }
    let schedule: Vec<f32> = schedule(optimizer, own).into_iter().map(|x| x as f32).collect();
    let mut written = HashMap::from([
        ("data".to_owned(), Values::U8((0..samples * SAMPLE).map(|i| (255.0 * noise(i)) as u8).collect())),
        ("permutation".to_owned(), Values::U32((0..samples as u32).map(|i| i * 7 % samples as u32).collect())),
        ("state".to_owned(), Values::U32(State { seed: SEED, ..State::default() }.words())),
        ("schedule".to_owned(), Values::F32(schedule)),
        ("parameters".to_owned(), Values::F32(parameters)),
    ]);
    for name in changing(own) {
        let zeros = plan.buffers.iter().find(|buffer| buffer.name == name).expect("a buffer").elements;
        written.entry(name.to_owned()).or_insert_with(|| Values::F32(vec![0.0; zeros]));
    }
    if let (true, Some(Values::F32(norm))) = (own.scaled, written.get_mut(state::NORM)) {
        norm[state::SCALE] = 1024.0;
    }
    written
}

/// The state of a run after all steps of the schedule.
struct End {
    values: Vec<(String, Values)>,
    losses: Vec<Vec<f64>>,
}

fn train(device: &Device, optimizer: &Optimizer, own: Gradients, per_submission: usize) -> Result<End> {
    train_on(&any_target(), device, optimizer, own, per_submission)
}

fn train_on(
    target: &Target,
    device: &Device,
    optimizer: &Optimizer,
    own: Gradients,
    per_submission: usize,
) -> Result<End> {
    let (plan, layout) = training_plan_on(target, *optimizer, own);
    let start = start(optimizer, own, &plan, &layout);
    let mut session = device.load(&[plan])?;
    for (name, values) in start {
        session.write(&name, &values)?;
    }
    session.set_steps_per_submission(0, per_submission);
    session.run(0, STEPS)?;
    let names = changing(own).into_iter();
    let values = names.map(|name| Ok((name.to_owned(), session.read(name)?))).collect::<Result<_>>()?;
    session.wait()?;
    Ok(End { values, losses: session.metrics(0) })
}

#[test]
fn optimisers_take_the_same_steps_on_every_device() {
    for (optimizer, own) in methods() {
        let oracle = train(&Device::CpuF64, &optimizer, own, 1).expect("a run");
        assert_eq!(oracle.losses.len(), STEPS);
        let (first, last) = (oracle.losses[0][0], oracle.losses[STEPS - 1][0]);
        assert!(last < first, "training does not help: {:?}", oracle.losses);
        for device in [gpu(), Device::Cpu] {
            let end = train(&device, &optimizer, own, STEPS).expect("a run");
            for ((name, got), (_, expected)) in end.values.iter().zip(&oracle.values) {
                let what = format!("{name} after {STEPS} steps of {optimizer:?} with {own:?} on {}", device.name());
                let tolerance = if name == "state" { 0.0 } else { 1e-4 };
                match compare(&what, &to_f64(got), &to_f64(expected), tolerance) {
                    Ok(error) => println!("{what}: {error:.2e}"),
                    Err(failure) => panic!("{failure}"),
                }
            }
            let flat = |losses: &[Vec<f64>]| losses.concat();
            let what = format!("losses of {optimizer:?} on {}", device.name());
            compare(&what, &flat(&end.losses), &flat(&oracle.losses), 1e-5)
                .unwrap_or_else(|failure| panic!("{failure}"));
        }
        let [_, batch] = SAMPLES;
        let state = State { seed: SEED, step: STEPS as u32, position: STEPS as u32, offset: (STEPS * batch) as u32 };
        assert_eq!(oracle.values[2].1, Values::U32(state.words()));
    }
}

fn within(limits: Limits) -> Target {
    Target { limits, ..Target::default() }
}

/// A device that binds four buffers takes an update in stages, and comes to what others come to.
#[test]
fn few_bindings_make_no_difference_to_an_optimiser() {
    // Where everything happens to gradients, and where nothing does.
    let plain = [Optimizer::SGD, Optimizer::ADAM];
    for (optimizer, own) in
        methods().into_iter().filter(|(optimizer, own)| *own == EVERYTHING || plain.contains(optimizer))
    {
        let small = within(Limits::DOWNLEVEL);
        let kernels: Vec<Kernel> =
            training_plan_on(&small, optimizer, own).0.steps.iter().map(|step| step.kernel).collect();
        assert!(kernels.contains(&Kernel::CollectedUpdate), "{kernels:?}");
        for device in [gpu(), Device::Cpu] {
            let [whole, stages] =
                [&any_target(), &small].map(|target| train_on(target, &device, &optimizer, own, STEPS).expect("a run"));
            for ((name, got), (_, expected)) in stages.values.iter().zip(&whole.values) {
                let what = format!("{name} after {STEPS} steps of {optimizer:?} with {own:?} on {}", device.name());
                let (got, expected) = (to_f64(got), to_f64(expected));
                // Where gradients are collected without being accumulated, they leave room behind the moments; and the norm
                // has the schedule's row behind it.
                let (got, rest) = got.split_at(expected.len().min(got.len()));
                assert!(name == "norm" || rest.iter().all(|gradient| *gradient == 0.0), "{what}: {rest:?}");
                let tolerance = if matches!(device, Device::Cpu) { 1e-6 } else { 1e-5 };
                compare(&what, got, &expected[..got.len()], tolerance).unwrap_or_else(|failure| panic!("{failure}"));
            }
        }
    }
}

#[test]
fn steps_of_a_submission_make_no_difference() {
    let bits = |end: &End| -> Vec<Vec<u32>> {
        end.values
            .iter()
            .map(|(_, values)| match values {
                Values::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
                Values::U32(values) => values.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let one = train(&gpu(), &Optimizer::ADAM, EVERYTHING, 1).expect("a run");
    for per_submission in [2, 3, STEPS, 100] {
        let many = train(&gpu(), &Optimizer::ADAM, EVERYTHING, per_submission).expect("a run");
        assert_eq!(bits(&one), bits(&many), "{per_submission} steps in a submission");
        assert_eq!(one.losses, many.losses);
    }
}

/// What lies between the places that launches may write stays as it was, and so does what lies behind every buffer; and
/// every partial sum of every gradient is written.
#[test]
fn a_step_writes_nothing_between_its_values() {
    for (optimizer, own) in methods() {
        let small = (own == EVERYTHING).then(|| within(Limits::DOWNLEVEL));
        for target in [any_target()].into_iter().chain(small) {
            let (plan, layout) = training_plan_on(&target, optimizer, own);
            let session = &mut gpu().load(&[loosen(&plan)]).expect("a session");
            written_only_where_it_may(session, &plan, &layout, start(&optimizer, own, &plan, &layout));
        }
    }
}

fn written_only_where_it_may(
    session: &mut Session,
    plan: &Plan,
    layout: &ParameterLayout,
    start: HashMap<String, Values>,
) {
    let mut memory: HashMap<&str, Values> = HashMap::new();
    for buffer in &plan.buffers {
        let mut values = sentinels(buffer, GUARD);
        if let Some(given) = start.get(&buffer.name) {
            put(&mut values, 0, given);
        }
        session.write(&buffer.name, &values).expect("a buffer");
        memory.insert(&buffer.name, values);
    }
    session.run(0, 1).expect("a run");
    for buffer in &plan.buffers {
        let now = session.read(&buffer.name).expect("a buffer");
        untouched(plan, &buffer.name, &memory[&buffer.name[..]], &now).unwrap_or_else(|failure| panic!("{failure}"));
    }
    // And every partial sum of a gradient is written.
    let gradients = to_f64(&session.read("gradients").expect("gradients"));
    let segments = plan.buffers.iter().find(|buffer| buffer.name.starts_with("segments")).expect("segments");
    for LayoutEntry { name, shape, offset } in layout.entries() {
        let segment = &segments.content[offset / 64 * 5..][..3];
        let [start, parts, stride] = [0, 1, 2].map(|word| segment[word] as usize);
        assert!(parts > 0, "{name} has no gradient");
        for part in 0..parts {
            let values = &gradients[start + part * stride..][..shape.elements()];
            assert!(
                values.iter().all(|value| value.is_finite()),
                "part {part} of the gradient of {name} is not written"
            );
        }
    }
}
