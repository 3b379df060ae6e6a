//! How long launches take on a described device: a roofline of arithmetic, cache and memory, with the latency of every
//! invocation's serial chain and the cost of a launch. Nothing here is measured on the machine that plans.

use super::cost::{BARRIER, REGISTERS, Work, resident};
use super::hardware::Hardware;
use super::kernels::Access;
use super::plan::{Plan, Step};
use std::fmt;

/// Workgroups below which a launch leaves processors of a large card idle.
const THIN_GROUPS: u64 = 64;
/// A launch is thin only where it holds more than a step's operations divided by this number: over 2 %.
const THIN_SHARE: u64 = 50;
/// Independent loads that an invocation waits for at a time where its loop is not a product's.
const LOADS_AT_ONCE: f64 = 8.0;
/// Multiply-adds' share of the instructions of a kernel that is no product.
const PLAIN_SHARE: f64 = 0.5;
/// The estimate of one launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaunchEstimate {
    /// Index of the launch's first step in [`Plan::steps`].
    pub step: usize,
    /// Workgroups.
    pub groups: u64,
    /// How often the device is filled with workgroups until all have run.
    pub waves: u64,
    /// Waits for loads, one after the other, in the longest chain of an invocation.
    pub rounds: u64,
    /// Bytes read and written, each element counted once.
    pub bytes: u64,
    /// Floating-point operations.
    pub operations: u64,
    /// Predicted microseconds, the cost of the launch itself included.
    pub microseconds: f64,
}

/// The estimate of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Every launch, in order.
    pub launches: Vec<LaunchEstimate>,
    /// Microseconds of all launches, one after the other.
    pub microseconds: f64,
    /// Microseconds of the longest chain of launches that wait for each other's results.
    pub critical: f64,
}

/// The work of a step of any kernel.
fn work_of(step: &Step, hardware: &Hardware) -> Work {
    if let (Some(tile), Some(cut)) = (step.tile(), step.cut()) {
        let memory = step.bytes() as f64;
        return Work { memory, ..cut.work(&tile, hardware) };
    }
    let (groups, workgroup) = (step.groups(), step.workgroup());
    let invocations = (groups * workgroup) as f64;
    let (operations, bytes) = (step.operations as f64, step.bytes() as f64);
    let cycle = 1e-9 / hardware.clock;
    let each = operations / 2.0 / PLAIN_SHARE / invocations;
    // A recurrence reads its weights again in every step, each of which waits for the one before it.
    let (serial, traffic) = match step.constant("STEPS") {
        Some(steps) => (2 * steps, 2.0 * operations),
        None => (1, bytes),
    };
    let loads = traffic / 4.0 / invocations / serial as f64;
    let rounds = serial * (loads / LOADS_AT_ONCE).ceil().max(1.0) as u64;
    let barriers = if serial > 1 { serial as f64 } else { 0.0 };
    Work {
        groups: groups as f64,
        busy: each * workgroup as f64 / f64::from(hardware.lanes) * cycle,
        chain: rounds as f64 * hardware.latency * 1e-9 + barriers * BARRIER + each * cycle,
        rounds,
        resident: resident(hardware, workgroup as u32, REGISTERS, step.scratch_bytes() as u32),
        traffic,
        memory: bytes,
    }
}

impl Plan {
    /// How long the plan's launches take on a described device.
    pub fn estimate(&self, hardware: &Hardware) -> Estimate {
        let launches: Vec<LaunchEstimate> = self.launch_estimates(hardware).collect();
        let microseconds = launches.iter().map(|launch| launch.microseconds).sum();
        let critical = self.critical(&launches);
        Estimate { launches, microseconds, critical }
    }

    /// The estimates of [`Plan::estimate`] without the critical path, whose time grows with the square of the launches.
    pub(super) fn launch_estimates(&self, hardware: &Hardware) -> impl Iterator<Item = LaunchEstimate> {
        // What a step touches stays in the cache from one launch to the next where all of it fits there.
        let cached = self.touched() <= hardware.cache;
        let bandwidth = if cached { hardware.cache_bandwidth } else { hardware.bandwidth };
        let hardware = Hardware { bandwidth, ..*hardware };
        self.launches().map(move |(index, steps)| {
            let works: Vec<Work> = steps.iter().map(|step| work_of(step, &hardware)).collect();
            let (seconds, waves) = Work::seconds(&works, &hardware);
            LaunchEstimate {
                step: index,
                groups: steps.iter().map(Step::groups).sum(),
                waves: waves as u64,
                rounds: works.iter().map(|work| work.rounds).max().unwrap_or(0),
                bytes: steps.iter().map(Step::bytes).sum(),
                operations: steps.iter().map(|step| step.operations).sum(),
                microseconds: 1e6 * seconds,
            }
        })
    }

    /// Bytes of all buffers, of data sets and tables only what a step reads.
    fn touched(&self) -> u64 {
        let mut touched = vec![0; self.buffers.len()];
        for step in &self.steps {
            for (slot, bytes) in step.slots.iter().zip(step.slot_bytes()) {
                touched[slot.buffer] += bytes;
            }
        }
        self.buffers.iter().zip(touched).map(|(buffer, touched)| buffer.bytes().min(touched)).sum()
    }

    /// Microseconds of the longest chain of launches, each of which reads or overwrites what an earlier one leaves.
    fn critical(&self, estimates: &[LaunchEstimate]) -> f64 {
        let places = |launch: &[Step], writes: bool| {
            let of = |step: &Step| {
                let slots = step.slots.iter().enumerate();
                let wanted = slots.filter(|(slot, _)| !writes || step.access(*slot) != Access::Read);
                wanted.map(|(_, slot)| (slot.buffer, slot.offset, slot.offset + slot.shape.elements())).collect()
            };
            launch.iter().flat_map(|step| -> Vec<(usize, usize, usize)> { of(step) }).collect::<Vec<_>>()
        };
        let meets = |one: &[(usize, usize, usize)], other: &[(usize, usize, usize)]| {
            one.iter().any(|a| other.iter().any(|b| a.0 == b.0 && a.1 < b.2 && b.1 < a.2))
        };
        let mut done: Vec<(Vec<_>, Vec<_>, f64)> = Vec::new();
        for ((_, launch), estimate) in self.launches().zip(estimates) {
            let (all, written) = (places(launch, false), places(launch, true));
            let before = done.iter().filter(|(others, left, _)| meets(left, &all) || meets(others, &written));
            let start = before.map(|(.., end)| *end).fold(0.0, f64::max);
            done.push((all, written, start + estimate.microseconds));
        }
        done.iter().map(|(.., end)| *end).fold(0.0, f64::max)
    }

    /// The launches that hold over 2 % of a step's operations in fewer than 64 workgroups, by their first steps: a large
    /// card idles in them.
    pub fn thin_launches(&self) -> Vec<usize> {
        let all = self.operations();
        let thin = |steps: &[Step]| {
            let operations: u64 = steps.iter().map(|step| step.operations).sum();
            operations * THIN_SHARE > all && steps.iter().map(Step::groups).sum::<u64>() < THIN_GROUPS
        };
        self.launches().filter(|(_, steps)| thin(steps)).map(|(index, _)| index).collect()
    }

    /// The plan's text with a line below each launch that estimates it on a described device, and the sums at the end.
    pub fn with_estimate(&self, hardware: &Hardware) -> String {
        let estimate = self.estimate(hardware);
        let text = self.to_string();
        let mut lines = text.lines();
        let mut result: Vec<String> = lines.next().into_iter().map(str::to_owned).collect();
        for ((_, steps), launch) in self.launches().zip(&estimate.launches) {
            result.extend(lines.by_ref().take(steps.len()).map(str::to_owned));
            result.push(format!("     {launch}"));
        }
        result.push(estimate.to_string());
        let thin: Vec<String> = self.thin_launches().iter().map(usize::to_string).collect();
        let thin = if thin.is_empty() { "none".to_owned() } else { thin.join(", ") };
        result.push(format!("launches with over 2 % of the operations in fewer than {THIN_GROUPS} workgroups: {thin}"));
        result.join("\n")
    }
}

impl fmt::Display for LaunchEstimate {
    /// Writes workgroups, waves, serial rounds, bytes, operations and predicted time.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let LaunchEstimate { groups, waves, rounds, bytes, operations, microseconds, .. } = self;
        write!(f, "~ {microseconds:.1} us: {groups} workgroups in waves {waves}, serial rounds {rounds}, ")?;
        write!(f, "{bytes} bytes, {operations} operations")
    }
}

impl fmt::Display for Estimate {
    /// Writes number and time of launches, and the critical path.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (count, all, critical) = (self.launches.len(), self.microseconds, self.critical);
        write!(f, "estimate: {count} launches, {all:.1} us one after the other, critical path {critical:.1} us")
    }
}
