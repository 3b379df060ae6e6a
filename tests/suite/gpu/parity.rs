//! Every case and its gradients on the GPU and on the CPU in f32, held against the CPU in f64 value by value; and that
//! oracle, which runs the same plans, against a plain evaluation of the graph.
//!
//! The GPU runs each plan twice: as it is, and loosened, where a read beyond a slot meets NaN and a write beyond it is
//! seen. All memory is NaN before every run, so that a kernel which leaves out an element is seen too.

use crate::cases::{Case, Group};
use crate::check::{Results, Work, any_target, checked_gpu, compare_all, each_group, gpu, report};
use crate::reference::evaluate;
use pinhole::Device;
use pinhole::plan::{Target, Tile, Without};

/// As a part of the largest element.
const TOLERANCE: f64 = 1e-5;
/// Where rounding errors of a long sum show.
const LONG_TOLERANCE: f64 = 1e-4;
/// Of the oracle itself.
const EXACT: f64 = 1e-11;

each_group!(check);

fn check(group: Group) {
    let mut failures = Vec::new();
    let mut worst = [(0.0, String::new()), (0.0, String::new()), (0.0, String::new())];
    let mut note = |device: usize, case: &Case, result: Result<f64, String>| match result {
        Ok(error) if error >= worst[device].0 => worst[device] = (error, case.name.clone()),
        Ok(_) => {}
        Err(failure) => failures.push(failure),
    };
    for case in group.cases() {
        let work = Work::new(&case);
        let oracle = match work.run(&Device::CpuF64) {
            Ok(oracle) => oracle,
            Err(failure) => {
                note(0, &case, Err(failure));
                continue;
            }
        };
        let tolerance = if case.long_sum { LONG_TOLERANCE } else { TOLERANCE };
        let against_oracle = |device: &str, results: Result<Results, String>, tolerance: f64| {
            results.and_then(|results| compare_all(&case.name, device, &results, &oracle, tolerance))
        };
        note(0, &case, against_oracle("the reference", Ok(reference(&case)), EXACT));
        note(1, &case, against_oracle("cpu", work.run(&Device::Cpu), tolerance));
        // As any GPU would run it, and as this one does.
        for target in [any_target(), gpu().target()] {
            match Work::on(&case, &target).run_twice(&gpu()) {
                Ok([plain, loose]) => {
                    note(2, &case, against_oracle("gpu", Ok(plain), tolerance));
                    note(2, &case, against_oracle("gpu, loosened", Ok(loose), tolerance));
                }
                Err(failure) => note(2, &case, Err(failure)),
            }
        }
    }
    for ((error, case), device) in worst.iter().zip(["the oracle", "cpu", "gpu"]) {
        println!("{group:?}, {device}: greatest error {error:.2e} in \"{case}\"");
    }
    report(failures);
}

/// What the case's results should be, by a plain evaluation of its graphs.
pub fn reference(case: &Case) -> Results {
    let output = evaluate(&case.graph, &case.feeds, &[case.output]).remove(0);
    let mut results = vec![("output".to_owned(), output)];
    if let Some(mut loss) = case.loss() {
        let gradients = loss.gradients();
        results.extend(loss.gradient_names().into_iter().zip(evaluate(&loss.graph, &loss.feeds, &gradients)));
    }
    results
}

/// Every tile gives the same, at sizes of one, odd sizes, and sizes that it divides.
#[test]
fn every_tile_gives_the_same() {
    let mut failures = Vec::new();
    let device = gpu();
    let tiles = Tile::family(&device.target());
    let cases = [Group::MatMul.cases(), Group::Conv.cases(), Group::Grouped.cases(), Group::Fusion.cases()].concat();
    for (index, tile) in tiles.iter().enumerate() {
        let target = Target { forced: Some(*tile), ..device.target() };
        // Each tile its own part of the cases, every other one of the same sizes.
        for case in cases.iter().skip(index % 11).step_by(11) {
            let tolerance = if case.long_sum { LONG_TOLERANCE } else { TOLERANCE };
            let result = Work::new(case).run(&Device::CpuF64).and_then(|oracle| {
                let [plain, loose] = Work::on(case, &target).run_twice(&device)?;
                compare_all(&case.name, &format!("gpu, {tile:?}"), &plain, &oracle, tolerance)?;
                compare_all(&case.name, &format!("gpu, {tile:?}, loosened"), &loose, &oracle, tolerance)
            });
            failures.extend(result.err());
        }
    }
    report(failures);
}

/// Every optimisation can be switched off, and makes no difference to what comes out.
#[test]
fn without_any_optimisation_the_same_comes_out() {
    let mut failures = Vec::new();
    let cases = [Group::Composition.cases(), Group::Fusion.cases()].concat();
    let names = ["epilogues", "pairs", "splits", "joined-updates", "lanes", "joins", "recomputing", "sharing"];
    for (index, name) in names.into_iter().enumerate() {
        let without = Without::parse(name).expect("a known optimisation");
        for case in cases.iter().skip(index).step_by(8) {
            // The last four are not used on software adapters.
            let target = Target { without, ..if index < 4 { gpu().target() } else { any_target() } };
            let tolerance = if case.long_sum { LONG_TOLERANCE } else { TOLERANCE };
            let result = Work::new(case).run(&Device::CpuF64).and_then(|oracle| {
                let got = Work::on(case, &target).run(&gpu())?;
                compare_all(&case.name, &format!("gpu without {name}"), &got, &oracle, tolerance)
            });
            failures.extend(result.err());
        }
    }
    report(failures);
}

/// Products and fused kernels keep their results with wgpu's bounds checks in them.
#[test]
fn checked_shaders_give_the_same() {
    let mut failures = Vec::new();
    for group in [Group::Conv, Group::MatMul, Group::Fusion] {
        // Every fourth: the checks are the compiler's, the kernels are the same.
        for case in group.cases().iter().step_by(4) {
            let work = Work::new(case);
            let tolerance = if case.long_sum { LONG_TOLERANCE } else { TOLERANCE };
            let result = work.run(&Device::CpuF64).and_then(|oracle| {
                let [plain, loose] = work.run_twice(&checked_gpu())?;
                compare_all(&case.name, "gpu, checked", &plain, &oracle, tolerance)?;
                compare_all(&case.name, "gpu, checked and loosened", &loose, &oracle, tolerance)
            });
            failures.extend(result.err());
        }
    }
    report(failures);
}
