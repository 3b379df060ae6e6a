//! The effect of splitting the sums of convolutions' weight gradients into parts, as lines of JSON, on the device that
//! `PINHOLE_TEST_DEVICE` names (`gpu` where it names none): `cargo bench --bench split_sweep`.

// A benchmark that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

use pinhole::bench::{Material, Workload};
use pinhole::device::Session;
use pinhole::error::Result;
use pinhole::plan::{Kernel, Limits, Plan, Product, Target, Without};
use pinhole::tensor::{DType, Values};
use pinhole::{Device, rng};
use std::time::Instant;

/// Largest number of parts.
const MOST_SPLITS: usize = 256;
/// Timings for each number of parts, of which the median counts, and the seconds of each.
const ROUNDS: usize = 3;
const ROUND_SECONDS: f64 = 0.005;
/// Largest number of runs in a timing.
const MOST_RUNS: usize = 1000;

/// Time of a weight gradient with its sums split into a number of parts: a line of JSON.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct SplitMeasurement {
    /// `pinhole` and its version.
    pub peer: String,
    /// The device.
    pub device: String,
    /// `split-sweep`.
    pub workload: String,
    /// The workload of the weight gradient.
    pub model: String,
    /// The layer.
    pub layer: String,
    /// Lines of the product.
    pub lines: u32,
    /// Columns of the product.
    pub columns: u32,
    /// Depth of the product: the length of the sums.
    pub depth: u64,
    /// Parts of each sum.
    pub splits: u64,
    /// Whether the planner chooses this number.
    pub planned: bool,
    /// Microseconds of the product, without the launch that sums the parts.
    pub us: f64,
}

fn main() {
    let name = std::env::var("PINHOLE_TEST_DEVICE").unwrap_or_else(|_| "gpu".to_owned());
    let lines = Device::open(&name).and_then(|device| split_sweep(&device)).unwrap_or_else(|error| panic!("{error}"));
    for line in lines {
        println!("{}", serde_json::to_string(&line).expect("a line of JSON"));
    }
}

/// Times the weight gradients of `conv-ae` and `conv-ae-wide` with 1, 2, 4, ... parts and with the number of parts that
/// the planner chooses.
pub(crate) fn split_sweep(device: &Device) -> Result<Vec<SplitMeasurement>> {
    let limits = match device {
        Device::Gpu(gpu) => *gpu.limits(),
        Device::Cpu | Device::CpuF64 => Limits::default(),
    };
    let mut lines = Vec::new();
    for workload in [Workload::ConvAe, Workload::ConvAeWide] {
        let material = Material::new(workload, None)?;
        let target = device.target();
        let target = Target { without: Without { pairs: true, ..target.without }, ..target };
        let forced = (0..=MOST_SPLITS.ilog2()).map(|power| Some(1usize << power));
        let plans: Vec<Plan> = std::iter::once(None)
            .chain(forced)
            .map(|splits| material.plan(&Target { splits, ..target.clone() }))
            .collect::<Result<_>>()?;
        for product in weight_gradients(&plans[0]) {
            // The planner's choice comes first, and is not repeated as a forced number.
            let mut planned = None;
            let mut known: Vec<u64> = Vec::new();
            let mut alone: Vec<Plan> = Vec::new();
            for plan in &plans {
                let step = plan.steps.iter().position(|step| step.product().as_ref() == Some(&product));
                let Some(found) = step.and_then(|step| plan.isolated(step)) else { continue };
                let splits = found.steps[0].constant("SPLITS").unwrap_or(1);
                planned = planned.or(Some(splits));
                // The parts of a large weight may exceed one binding.
                if !known.contains(&splits) && found.check(&limits).is_ok() {
                    known.push(splits);
                    alone.push(found);
                }
            }
            if alone.is_empty() {
                continue;
            }
            let times = times(device, &alone)?;
            let mut order: Vec<usize> = (0..known.len()).collect();
            order.sort_by_key(|place| known[*place]);
            lines.extend(order.into_iter().map(|place| SplitMeasurement {
                peer: format!("pinhole-{}", env!("CARGO_PKG_VERSION")),
                device: device.name(),
                workload: "split-sweep".to_owned(),
                model: workload.to_string(),
                layer: alone[place].steps[0].label.clone(),
                lines: product.lines,
                columns: product.columns,
                depth: alone[place].steps[0].constant("DEPTH").unwrap_or(0),
                splits: known[place],
                planned: Some(known[place]) == planned,
                us: format!("{:.5e}", times[place]).parse().expect("a number"),
            }));
        }
    }
    Ok(lines)
}

/// The distinct weight gradients of convolutions in a plan.
fn weight_gradients(plan: &Plan) -> Vec<Product> {
    let steps = plan.steps.iter().filter(|step| step.kernel == Kernel::Conv2dGradWeight);
    let mut products: Vec<Product> = Vec::new();
    for product in steps.filter_map(|step| step.product()) {
        if !products.contains(&product) {
            products.push(product);
        }
    }
    products
}

/// Microseconds of each plan, timed in turn.
fn times(device: &Device, plans: &[Plan]) -> Result<Vec<f64>> {
    let mut session = device.load(plans)?;
    for (stream, buffer) in (0..).zip(&plans[0].buffers[..2]) {
        if buffer.dtype == DType::Float {
            let words = (0..buffer.elements.div_ceil(4)).flat_map(|block| rng::words(0, 0, stream, block as u32));
            let numbers = words.map(|word| 2.0 * rng::unit(word) - 1.0).take(buffer.elements).collect();
            session.write_at(&buffer.name, 0, &Values::F32(numbers))?;
        }
    }
    let mut runs = Vec::new();
    for plan in 0..plans.len() {
        timed(&mut session, plan, 1)?;
        let seconds = timed(&mut session, plan, 1)? / 1e6;
        runs.push(((ROUND_SECONDS / seconds) as usize).clamp(1, MOST_RUNS));
    }
    let mut times = vec![vec![]; plans.len()];
    for _ in 0..ROUNDS {
        for plan in 0..plans.len() {
            times[plan].push(timed(&mut session, plan, runs[plan])?);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    };
    Ok(times.iter_mut().map(median).collect())
}

/// Microseconds of each of several runs of a plan.
fn timed(session: &mut Session, plan: usize, runs: usize) -> Result<f64> {
    session.set_steps_per_submission(plan, runs);
    let began = Instant::now();
    session.run(plan, runs)?;
    session.wait()?;
    Ok(began.elapsed().as_secs_f64() * 1e6 / runs as f64)
}
