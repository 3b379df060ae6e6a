//! Tests of the comparisons: faults planted in kernels, plans, results and gradients, each of which must be seen.

use crate::cases::{Case, Group};
use crate::check::{Results, Work, any_target, compare, compare_all, gpu, loosen, sentinels, untouched};
use crate::graph::gradients::{agree, differences, gradients};
use crate::plan::plans::reads_what_was_written;
use pinhole::Device;
use pinhole::graph::{Binary, Unary};
use pinhole::plan::{Access, Instruction, Kernel, Plan, Target};
use pinhole::tensor::Values;

fn case(group: Group, name: &str) -> Case {
    group.cases().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case \"{name}\""))
}

/// A case with bias and activation behind a product.
fn fused() -> Case {
    case(Group::Fusion, "matmul [5, 7] x [7, 6], bias, tanh")
}

fn oracle(case: &Case) -> Results {
    Work::new(case).run(&Device::CpuF64).expect("the oracle's results")
}

/// The parity test's verdict on a case's plans on the GPU, as they are and loosened.
fn gpu_verdict(case: &Case, work: &Work, oracle: &Results) -> Result<f64, String> {
    let [plain, loose] = work.run_twice(&gpu())?;
    compare_all(&case.name, "gpu", &plain, oracle, 1e-5)?;
    compare_all(&case.name, "gpu, loosened", &loose, oracle, 1e-5)
}

/// The parity test's verdict on a case whose plans were changed: on the GPU and on the CPU.
fn verdicts(case: &Case, change: &dyn Fn(&mut Plan)) -> [Result<f64, String>; 2] {
    let oracle = oracle(case);
    let mut work = Work::new(case);
    work.plans.iter_mut().for_each(change);
    let on_gpu = gpu_verdict(case, &work, &oracle);
    let on_cpu = || work.run(&Device::Cpu).and_then(|results| compare_all(&case.name, "cpu", &results, &oracle, 1e-5));
    // The CPU indexes safely: a launch that reaches beyond its slots is a panic there, which is as good.
    let on_cpu = std::panic::catch_unwind(std::panic::AssertUnwindSafe(on_cpu)).unwrap_or(Err("a panic".to_owned()));
    [on_gpu, on_cpu]
}

fn must_fail(what: &str, case: &Case, change: &dyn Fn(&mut Plan)) {
    for (verdict, device) in verdicts(case, change).into_iter().zip(["gpu", "cpu"]) {
        assert!(verdict.is_err(), "{what} passed on {device} with {verdict:?}");
    }
}

#[test]
fn what_is_right_passes() {
    for verdict in verdicts(&fused(), &|_| ()) {
        assert!(verdict.as_ref().is_ok_and(|error| *error < 1e-5), "{verdict:?}");
    }
}

/// The instructions of all fused expressions of a plan.
fn instructions(plan: &mut Plan) -> impl Iterator<Item = &mut Instruction> {
    plan.steps.iter_mut().filter_map(|step| step.program.as_mut()).flat_map(|program| &mut program.instructions)
}

#[test]
fn a_wrong_op_is_seen() {
    must_fail("sigmoid for tanh", &fused(), &|plan| {
        for instruction in instructions(plan) {
            match instruction {
                Instruction::Unary(op @ Unary::Tanh, _) => *op = Unary::Sigmoid,
                Instruction::Binary(op @ Binary::Add, ..) => *op = Binary::Subtract,
                _ => {}
            }
        }
    });
    must_fail("a constant a little off", &case(Group::Random, "noise added to an input"), &|plan| {
        for instruction in instructions(plan) {
            if let Instruction::Literal(number) = instruction {
                *number *= 1.001;
            }
        }
    });
}

/// Changes a constant of every step of a kernel.
fn with_constant(kernel: Kernel, name: &str, change: fn(u32) -> u32) -> impl Fn(&mut Plan) {
    move |plan: &mut Plan| {
        for step in plan.steps.iter_mut().filter(|step| step.kernel == kernel) {
            let position = step.kernel.row().constant_names().position(|known| known == name).expect("a constant");
            step.constants[position] = change(step.constants[position]);
        }
    }
}

#[test]
fn a_wrong_constant_is_seen_on_the_gpu() {
    let conv = "n2 c3 o4 7x9 kernel 3x5 stride [2, 1] padding [1, 2]";
    let image = "C H W O P Q R S STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W";
    let pool = "C H W P Q R S STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W";
    let product = "M N LEFT_BATCH LEFT_LINE LEFT_STEP RIGHT_BATCH RIGHT_COLUMN RIGHT_STEP PANELS LINES COLUMNS DEPTH";
    let max_pool = "{ max_pool2d = { kernel = 3, stride = 2, padding = 1 } } of [2, 3, 7, 8]";
    let resize = "{ upsample_bilinear = 2 } of [2, 3, 4, 3]";
    let changes: [(Group, &str, Kernel, &str); 11] = [
        (Group::MatMul, "matmul [3, 5, 7] x [3, 7, 6]", Kernel::MatMul, product),
        (Group::Conv, &format!("conv2d {conv}"), Kernel::Conv2d, image),
        (Group::Conv, &format!("conv2d_grad_input {conv}"), Kernel::Conv2dGradInput, image),
        (Group::Conv, &format!("conv2d_grad_weight {conv}"), Kernel::Conv2dGradWeight, &format!("{image} SPLITS")),
        (Group::Layer, max_pool, Kernel::MaxPool, pool),
        (Group::Layer, resize, Kernel::LinearResize, "C H W P Q STRIDE_H STRIDE_W"),
        (Group::Reduction, "Sum of [3, 4, 5, 6] along [1, 3]", Kernel::Sum, "OUTPUTS LENGTH"),
        (Group::Indexing, "gather from [6, 3, 5], indices repeated", Kernel::Gather, "COUNT WIDTH"),
        (Group::Indexing, "scatter_add into [6, 3, 5], indices repeated", Kernel::ScatterAdd, "ROWS WIDTH"),
        (Group::Indexing, "warp of [3, 2, 5, 4]", Kernel::Warp, "COUNT CHANNELS HEIGHT WIDTH"),
        (Group::Indexing, "the 3 largest of rows of [3, 7], different", Kernel::TopK, "ROWS LENGTH COUNT"),
    ];
    let mut passed = Vec::new();
    for (group, name, kernel, constants) in changes {
        let case = case(group, name);
        let oracle = oracle(&case);
        for constant in constants.split(' ') {
            for (sign, change) in [("+", (|value| value + 1) as fn(u32) -> u32), ("-", |value| value - 1)] {
                let mut work = Work::new(&case);
                let mut steps = work.plans.iter().flat_map(|plan| &plan.steps);
                if sign == "-" && steps.all(|step| step.constant(constant) < Some(2)) {
                    continue;
                }
                work.plans.iter_mut().for_each(with_constant(kernel, constant, change));
                if gpu_verdict(&case, &work, &oracle).is_ok() {
                    passed.push(format!("{name}: {constant} {sign} 1"));
                }
            }
        }
    }
    assert!(passed.is_empty(), "not seen:\n{}", passed.join("\n"));
}

#[test]
fn a_write_beyond_the_output_is_seen() {
    // One row more: right where it should be, and beyond.
    let case = case(Group::Movement, "permute [3, 4, 5] by [2, 1, 0]");
    let mut work = Work::new(&case);
    work.plans.iter_mut().for_each(with_constant(Kernel::Map, "COUNT", |count| count + 3));
    let failure = work.run_twice(&gpu()).err().unwrap_or_default();
    assert!(failure.contains("no launch may write it"), "{failure:?}");
    // And by itself: a sentinel that changed.
    let plan = &Work::new(&case).plans[0];
    let output = plan.buffers.iter().find(|buffer| buffer.name == "output").expect("the output");
    let before = sentinels(output, 64);
    let Values::F32(mut after) = before.clone() else { panic!("an output of floats") };
    assert_eq!(untouched(plan, "output", &before, &Values::F32(after.clone())), Ok(()));
    after[output.elements] = 0.0;
    assert!(untouched(plan, "output", &before, &Values::F32(after.clone())).is_err());
    after.truncate(output.elements);
    assert!(untouched(plan, "output", &before, &Values::F32(after)).is_err());
}

#[test]
fn an_element_that_is_not_written_is_seen() {
    must_fail("a launch left out", &fused(), &|plan| drop(plan.steps.remove(0)));
    let case = case(Group::Elementwise, "square [129]");
    let mut work = Work::new(&case);
    work.plans.iter_mut().for_each(with_constant(Kernel::Map, "COUNT", |count| count - 1));
    let verdict = work.run_twice(&gpu()).and_then(|[plain, _]| compare_all("", "gpu", &plain, &oracle(&case), 1e-5));
    assert!(verdict.is_err_and(|failure| failure.contains("NaN")));
}

#[test]
fn launches_in_the_wrong_order_are_seen() {
    let case = case(Group::Composition, "a dense autoencoder with tanh and MSE");
    must_fail("the last two launches swapped", &case, &|plan| {
        let last = plan.steps.len() - 1;
        plan.steps.swap(last - 1, last);
    });
}

#[test]
fn nan_a_short_result_and_a_missing_result_are_seen() {
    let right = [1.0, -2.0, 3.0];
    assert_eq!(compare("", &right, &right, 0.0), Ok(0.0));
    assert!(compare("", &[1.0, f64::NAN, 3.0], &right, 1e9).is_err());
    assert!(compare("", &[1.0, f64::INFINITY, 3.0], &right, 1e9).is_err());
    assert!(compare("", &[1.0, -2.0], &right, 1e9).is_err());
    assert!(compare("", &[1.0, -2.0, 3.0, 0.0], &right, 1e9).is_err());
    assert!(compare("", &[], &right, 1e9).is_err());
    assert!(compare("", &[1.0, -2.0, 3.0001], &right, 1e-5).is_err());
    // An oracle that is NaN proves nothing.
    assert!(compare("", &right, &[1.0, f64::NAN, 3.0], 1e9).is_err());
    // Nothing may differ from zero.
    assert!(compare("", &[0.0, 1e-30], &[0.0, 0.0], 1e-5).is_err());
    let results = vec![("output".to_owned(), right.to_vec()), ("gradient by x0".to_owned(), right.to_vec())];
    assert!(compare_all("", "", &results[..1].to_vec(), &results, 1e-5).is_err());
    assert!(compare_all("", "", &results, &results, 1e-5).is_ok());
}

#[test]
fn nan_in_an_input_reaches_the_result_and_is_seen() {
    let case = case(Group::MatMul, "matmul [5, 5] x [5, 5]");
    let plan = case.plan(&any_target());
    let mut session = gpu().load(&[plan]).expect("a session");
    for feed in &case.feeds {
        let Values::F32(mut values) = feed.values() else { panic!("floats") };
        values[3] = f32::NAN;
        session.write(&feed.name, &Values::F32(values)).expect("an input");
    }
    session.run(0, 1).expect("a run");
    let got = crate::check::to_f64(&session.read("output").expect("a result"));
    assert!(compare("", &got, &oracle(&case)[0].1, 1e-5).is_err());
}

#[test]
fn a_wrong_gradient_is_seen() {
    for (group, name) in [
        (Group::Fusion, "matmul [5, 7] x [7, 6], bias, tanh"),
        (Group::Conv, "conv2d n2 c3 o4 7x9 kernel 3x5 stride [2, 1] padding [1, 2]"),
        (Group::Elementwise, "softplus [3, 5, 7]"),
    ] {
        let mut loss = case(group, name).loss().expect("a loss");
        let slopes = differences(&loss, usize::MAX);
        let right = gradients(&mut loss);
        assert!(agree(name, &right, &slopes).is_ok());
        for input in 0..right.len() {
            let largest = right[input].iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for change in [1e-5 * largest, f64::NAN, -2.0 * right[input][0]] {
                let mut wrong = right.clone();
                wrong[input][0] += change;
                assert!(agree(name, &wrong, &slopes).is_err(), "\"{name}\", input {input}: {change} was not seen");
            }
            let mut short = right.clone();
            short[input].pop();
            assert!(agree(name, &short, &slopes).is_err());
        }
        assert!(agree(name, &right[1..], &slopes).is_err());
    }
}

#[test]
fn a_value_overwritten_too_early_is_seen() {
    let case = case(Group::Composition, "a dense autoencoder with tanh and MSE");
    let plan = &Work::new(&case).plans[1];
    assert_eq!(reads_what_was_written(plan), Ok(()));
    let mut seen = 0;
    for step in 0..plan.steps.len() {
        // A launch that writes where the one before it did.
        let mut wrong = plan.clone();
        let Some(target) = (0..step).rev().find_map(|earlier| {
            let step = &wrong.steps[earlier];
            let slot = step.slots.iter().enumerate().find(|(position, slot)| {
                step.access(*position) != Access::Read && !wrong.buffers[slot.buffer].persistent
            });
            slot.map(|(_, slot)| (slot.buffer, slot.offset))
        }) else {
            continue;
        };
        let step = &mut wrong.steps[step];
        let position = (0..step.slots.len()).find(|position| step.access(*position) != Access::Read);
        let slot = &mut step.slots[position.expect("an output")];
        (slot.buffer, slot.offset) = target;
        seen += (reads_what_was_written(&wrong).is_err() || wrong.hazard().is_some()) as usize;
    }
    assert!(seen >= plan.steps.len() / 2, "only {seen} of {} were seen", plan.steps.len());
}

#[test]
fn a_missing_adapter_is_a_failure() {
    let error = Device::open("no such adapter").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("no adapter for device \"no such adapter\" (found: "), "{error}");
}

#[test]
fn a_loosened_plan_binds_more_and_computes_the_same() {
    let plan = fused().plan(&Target::default());
    let loose = loosen(&plan);
    for (step, original) in loose.steps.iter().zip(&plan.steps) {
        assert_eq!((&step.constants, &step.program), (&original.constants, &original.program));
        assert!(step.slots.iter().zip(&original.slots).all(|(slot, before)| slot.bytes() == before.bytes() + 256));
    }
    assert_ne!(oracle(&fused())[0].1, Vec::<f64>::new());
}
