//! Comparison of training steps with the CPU's, launch by launch.

use super::profile::joined;
use super::trainer::{TRAIN, Trainer};
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::plan::{Access, Buffer, Outcome, Plan, Step};
use crate::tensor::DType;
use std::collections::BTreeMap;

/// The largest difference allowed between a launch's result and the reference, relative to the largest element of the
/// result: f32 sums in another order stay within a hundredth of it.
const TOLERANCE: f64 = 1e-4;
/// The largest relative difference allowed for results stored in 16 bits: two units in the last place.
const HALF_TOLERANCE: f64 = 1.0 / 512.0;

/// The result of comparing launches with the CPU's.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// Number of steps run.
    pub steps: usize,
    /// Number of launches in each step.
    pub launches: usize,
    /// The largest difference, relative to the largest element that the launch wrote to the same buffer.
    pub worst: f64,
    /// The launch with the largest difference.
    pub worst_launch: String,
}

impl Trainer<'_> {
    /// Runs the first steps of training launch by launch, on this device and on the CPU in f64 from the same operands.
    /// Fails with [`Error::Disagreement`] at the first launch whose results differ by more than rounding. Changes
    /// parameters and state: call [`Trainer::start`] or [`Trainer::restore`] before training.
    pub fn check(&mut self, steps: usize) -> Result<Agreement> {
        self.check_against(&self.plan().clone(), steps)
    }

    /// As [`Trainer::check`], against the CPU's run of another, equivalent plan: for tests, which plant faults.
    #[doc(hidden)]
    pub fn check_against(&mut self, plan: &Plan, steps: usize) -> Result<Agreement> {
        let mut reference = Device::CpuF64.load(std::slice::from_ref(plan))?;
        let launches = plan.launches().count();
        let mut agreement = Agreement { steps, launches, worst: 0.0, worst_launch: String::new() };
        for step in 0..steps {
            self.begin_at(step)?;
            if let Some((launch, place, Difference { got, expected, .. })) =
                compare(plan, &mut self.session, &mut reference, &mut agreement)?
            {
                let (launch, device) = (format!("step {}, {launch}", step + 1), self.device().name());
                return Err(Error::Disagreement { launch, place, device, got, expected });
            }
        }
        Ok(agreement)
    }
}

/// Runs a step of the plan at index 0 of both sessions, launch by launch, the reference from the session's operands.
/// Returns the first launch on which they disagree, the place, and the worst difference.
///
/// Differences are relative to the largest magnitude that the launch writes to the same buffer, partial sums included:
/// the gradient of a bias before a normalisation is pure rounding, tiny next to the gradient of its weights.
fn compare(
    plan: &Plan,
    session: &mut Session,
    reference: &mut Session,
    agreement: &mut Agreement,
) -> Result<Option<(String, String, Difference)>> {
    for (index, (_, launch)) in plan.launches().enumerate() {
        for buffer in buffers(launch, |access| access != Access::Write) {
            let Buffer { name, elements, .. } = &plan.buffers[buffer];
            // The session's buffers may be longer, as other plans share them.
            let values = session.read(name)?.chunks((*elements).max(1));
            values.first().map_or(Ok(()), |values| reference.write_at(name, 0, values))?;
        }
        session.run_launch(TRAIN, index)?;
        reference.run_launch(TRAIN, index)?;
        let mut left = BTreeMap::new();
        for buffer in buffers(launch, |access| access != Access::Read) {
            let name = &plan.buffers[buffer].name;
            left.insert(buffer, (session.read(name)?, reference.read(name)?));
        }
        let name = joined(launch, |step| format!("{} \"{}\"", step.kernel.name(), step.label));
        let written = launch.iter().flat_map(|step| (0..step.slots.len()).map(move |slot| (step, slot)));
        let written = written.filter(|(step, slot)| step.access(*slot) != Access::Read);
        let mut results = Vec::new();
        let mut largest: BTreeMap<usize, f64> = BTreeMap::new();
        for (step, slot) in written {
            let place = &step.slots[slot];
            let Some((got, expected)) = left.get(&place.buffer) else { continue };
            let range = place.offset..place.offset + place.shape.elements();
            let [got, expected] = [got, expected].map(|values| values.to_f64()[range.clone()].to_vec());
            let magnitudes: Vec<f64> = expected.iter().map(|value| value.abs()).collect();
            let [got, expected, magnitudes] =
                [got, expected, magnitudes].map(|values| joined_parts(step, slot, &values));
            let largest = largest.entry(place.buffer).or_default();
            *largest = magnitudes.into_iter().fold(*largest, f64::max);
            results.push((slot, place, got, expected));
        }
        for (slot, place, got, expected) in results {
            let worst = difference(&got, &expected, largest[&place.buffer]);
            if worst.relative > agreement.worst {
                (agreement.worst, agreement.worst_launch) = (worst.relative, name.clone());
            }
            let allowed = if place.dtype == DType::Half { HALF_TOLERANCE } else { TOLERANCE };
            if worst.relative > allowed {
                let launch = format!("launch {index} ({name})");
                let place = format!("element {} of slot {slot}, {}", worst.element, place.shape);
                return Ok(Some((launch, place, worst)));
            }
        }
    }
    Ok(None)
}

/// The buffers that a launch accesses in the given way, in ascending order.
fn buffers(launch: &[Step], used: impl Fn(Access) -> bool) -> Vec<usize> {
    let slots = launch
        .iter()
        .flat_map(|step| step.slots.iter().enumerate().map(move |(slot, place)| (step.access(slot), place)));
    let mut buffers: Vec<usize> = slots.filter(|(access, _)| used(*access)).map(|(_, place)| place.buffer).collect();
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

/// The values that a step writes to a slot, with partial sums joined where devices split them differently.
fn joined_parts(step: &Step, slot: usize, values: &[f64]) -> Vec<f64> {
    let outcome = slot.checked_sub(step.kernel.row().bindings.len()).and_then(|index| step.outcomes.get(index));
    if matches!(outcome, Some(Outcome::Total(_))) {
        return vec![values.iter().sum()];
    }
    let named = |name| step.constant(name).unwrap_or(1) as usize;
    let row = step.kernel.row();
    let split = (row.tiled && named("SPLITS") > 1).then_some(["SPLIT_STRIDE"; 2]);
    let Some([stride, used]) = row.parts.or(split).map(|names| names.map(named)) else { return values.to_vec() };
    (0..used).map(|first| values.iter().skip(first).step_by(stride.max(1)).sum()).collect()
}

/// The element with the largest difference.
struct Difference {
    element: usize,
    got: f64,
    expected: f64,
    relative: f64,
}

/// Finds the largest difference between results and reference, relative to `largest`.
fn difference(got: &[f64], expected: &[f64], largest: f64) -> Difference {
    let mut worst = Difference { element: 0, got: 0.0, expected: 0.0, relative: 0.0 };
    for (element, (got, expected)) in got.iter().zip(expected).enumerate() {
        let distance: f64 = got - expected;
        let relative = match distance {
            // NaN on both sides agrees; NaN on one side is an infinite difference.
            _ if got == expected || (got.is_nan() && expected.is_nan()) => continue,
            _ if distance.is_nan() => f64::INFINITY,
            _ => distance.abs() / largest.max(f64::from(f32::MIN_POSITIVE)),
        };
        if relative > worst.relative {
            worst = Difference { element, got: *got, expected: *expected, relative };
        }
    }
    worst
}
