//! First and second derivatives in f64 against finite differences.

use crate::cases::{Derivatives, Group, Loss};
use crate::check::{each_group, report, to_f64, write_feeds};
use pinhole::Device;
use pinhole::plan::{ParameterLayout, Plan, Target};
use pinhole::rng;
use pinhole::tensor::Values;

/// As a part of the largest element of a gradient.
const TOLERANCE: f64 = 1e-6;
/// What a gradient's largest element counts as at least: differences of a constant are rounding errors.
const FLOOR: f64 = 1e-4;
/// Elements of each input that are tried, for first and for second derivatives.
const SAMPLES: [usize; 2] = [24, 12];

each_group!(check);

fn check(group: Group) {
    let mut failures = Vec::new();
    let mut worst = [(0.0, String::new()), (0.0, String::new())];
    for case in group.cases() {
        if case.derivatives != Derivatives::Resolved {
            continue;
        }
        let Some(loss) = case.loss() else { continue };
        for (order, mut loss) in [loss.clone(), loss.derivative()].into_iter().enumerate() {
            let differences = differences(&loss, SAMPLES[order]);
            match agree(&case.name, &gradients(&mut loss), &differences) {
                Ok(error) if error >= worst[order].0 => worst[order] = (error, case.name.clone()),
                Ok(_) => {}
                Err(failure) => failures.push(format!("derivative {}, {failure}", order + 1)),
            }
        }
    }
    for (order, (error, case)) in worst.iter().enumerate() {
        println!("{group:?}, derivative {}: greatest error {error:.2e} in \"{case}\"", order + 1);
    }
    report(failures);
}

/// The gradients by the graph's own rules, in f64.
pub fn gradients(loss: &mut Loss) -> Vec<Vec<f64>> {
    let gradients = loss.gradients();
    let mut session = Device::CpuF64.load(&[loss.plan(&gradients, &Target::default())]).expect("a plan that loads");
    write_feeds(&mut session, loss).expect("inputs of the plan's sizes");
    session.run(0, 1).expect("a run");
    loss.gradient_names().iter().map(|name| to_f64(&session.read(name).expect("an output"))).collect()
}

/// For each input, some elements and the loss's slope along them: five-point differences.
pub fn differences(loss: &Loss, samples: usize) -> Vec<Vec<(usize, f64)>> {
    let plan = Plan::new(&loss.name, &loss.graph, &[(loss.loss, "loss")]).expect("a plan");
    let mut session = Device::CpuF64.load(&[plan]).expect("a plan that loads");
    write_feeds(&mut session, loss).expect("inputs of the plan's sizes");
    let layout = ParameterLayout::of(&loss.graph);
    let mut slopes = Vec::new();
    for (index, feed) in loss.by.iter().map(|feed| &loss.feeds[*feed]).enumerate() {
        let values = to_f64(&feed.values());
        let (buffer, offset) = feed.place(&layout);
        let mut of_feed = Vec::new();
        for element in chosen(index as u32, feed.elements, samples) {
            let x = values[element];
            let h = 5e-4 * x.abs().max(0.2);
            let mut at = |x: f64| {
                session.write_at(buffer, offset + element, &Values::F64(vec![x])).expect("an element of the input");
                session.run(0, 1).expect("a run");
                to_f64(&session.read("loss").expect("the loss"))[0]
            };
            let near = at(x + h) - at(x - h);
            let far = at(x + 2.0 * h) - at(x - 2.0 * h);
            at(x);
            of_feed.push((element, (8.0 * near - far) / (12.0 * h)));
        }
        slopes.push(of_feed);
    }
    slopes
}

/// Fixed places among `elements`: all of few, some of many.
fn chosen(stream: u32, elements: usize, samples: usize) -> Vec<usize> {
    if elements <= samples {
        return (0..elements).collect();
    }
    let mut places: Vec<usize> =
        (0..samples as u32).map(|sample| rng::words(1, 0, stream, sample)[0] as usize % elements).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Holds gradients against slopes. Fails with the first that differs.
pub fn agree(case: &str, gradients: &[Vec<f64>], slopes: &[Vec<(usize, f64)>]) -> Result<f64, String> {
    let mut worst = 0.0f64;
    if gradients.len() != slopes.len() {
        return Err(format!("case \"{case}\": {} gradients, expected {}", gradients.len(), slopes.len()));
    }
    for (input, (gradient, slopes)) in gradients.iter().zip(slopes).enumerate() {
        let largest = gradient.iter().fold(FLOOR, |largest, value| largest.max(value.abs()));
        for (element, slope) in slopes {
            let Some(found) = gradient.get(*element) else {
                return Err(format!("case \"{case}\", input {input}: {} elements, no {element}", gradient.len()));
            };
            let error = (found - slope).abs() / largest;
            let within = error <= TOLERANCE;
            if !within {
                return Err(format!(
                    "case \"{case}\", input {input}: element {element} of the gradient is {found:e}, the slope there \
                     {slope:e}: off by {error:.2e} of the largest, {largest:e}"
                ));
            }
            worst = worst.max(error);
        }
    }
    Ok(worst)
}
