//! How long launches take on a described device: a roofline of arithmetic, cache and memory, with the latency of every
//! invocation's serial chain and the cost of a launch. Nothing here is measured on the machine that plans.

use super::hardware::Hardware;
use super::kernels::Access;
use super::plan::{Plan, Step};
use super::tile::{Family, Tile};
use std::fmt;

/// Workgroups below which a launch leaves processors of a large card idle.
const THIN_GROUPS: u64 = 64;
/// A launch of less than one part in so many of a step's operations is too small to be called thin.
const THIN_SHARE: u64 = 50;
/// Seconds that a workgroup takes to meet at a barrier.
const BARRIER: f64 = 15e-9;
/// Independent loads that an invocation waits for at a time where its loop is not a product's.
const LOADS_AT_ONCE: f64 = 8.0;
/// Multiply-adds' share of the instructions of a kernel that is no product.
const PLAIN_SHARE: f64 = 0.5;
/// Registers that an invocation needs apart from a product's results and operands.
const REGISTERS: u32 = 28;

/// The sizes of a product with its parts of the depth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub panels: u64,
    pub lines: u64,
    pub columns: u64,
    /// Parts of the depth, and the depth of a part.
    pub splits: u64,
    pub length: u64,
    /// Bytes of an operand's element.
    pub element: u64,
}

/// The work of one step, before it is known what runs at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    groups: f64,
    /// Seconds for which a workgroup has a compute unit's arithmetic to itself.
    busy: f64,
    /// Seconds of a workgroup's serial chain: waits for loads and barriers, and the chain's own arithmetic.
    chain: f64,
    /// Dependent waits in a chain.
    rounds: u64,
    /// Workgroups that a compute unit holds at a time.
    resident: f64,
    /// Bytes that go through the shared cache, and bytes that memory has to deliver or take.
    traffic: f64,
    memory: f64,
}

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

impl Cut {
    /// The work of a product in tiles of this kind.
    pub fn work(&self, tile: &Tile, hardware: &Hardware) -> Work {
        let along = |size: u64, tile: u32| size.div_ceil(u64::from(tile));
        let tiles = self.panels * self.splits * along(self.lines, tile.lines) * along(self.columns, tile.columns);
        let workgroup = u64::from(tile.workgroup);
        let [lines, columns] = [tile.thread_lines, tile.thread_columns].map(u64::from);
        let (groups, depth, rounds, barriers) = match tile.family {
            Family::Registers => (tiles.div_ceil(workgroup), self.length, self.length.div_ceil(4), 0),
            Family::Subgroup => (tiles, self.length, self.length.div_ceil(4), 0),
            Family::Workgroup => {
                let rounds = self.length.div_ceil(u64::from(tile.depth));
                let depth = rounds * u64::from(tile.depth / tile.depth_lanes);
                (tiles, depth, rounds, 2 * (rounds + u64::from(tile.depth_lanes.ilog2())))
            }
        };
        // What an invocation does for each multiply-add besides: loads of a line and a column serve a whole row.
        let share = (lines * columns) as f64 / (lines * columns + lines + columns + 4) as f64;
        let each = (lines * columns * depth) as f64 / share;
        let cycle = 1e-9 / hardware.clock;
        let lanes = f64::from(hardware.lanes);
        let registers = REGISTERS + tile.thread_lines * tile.thread_columns + tile.thread_lines + tile.thread_columns;
        // Neighbours load what they share once: the tiles of a workgroup without memory are one below the other.
        let [below, aside] = match tile.family {
            Family::Registers => {
                let below = workgroup.min(along(self.lines, tile.lines));
                [below, workgroup / below]
            }
            Family::Subgroup | Family::Workgroup => [1, 1],
        };
        let edge = (below * u64::from(tile.lines) + aside * u64::from(tile.columns)) as f64;
        let results = (self.panels * self.splits * self.lines * self.columns) as f64;
        let element = self.element as f64;
        // Parts are written, and read again by the launch that joins them.
        let joined = if self.splits > 1 { 2.0 } else { 1.0 };
        Work {
            groups: groups as f64,
            busy: each * workgroup as f64 / lanes * cycle,
            chain: rounds as f64 * hardware.latency * 1e-9 + barriers as f64 * BARRIER + each * cycle,
            rounds,
            resident: resident(hardware, tile.workgroup, registers, tile.workgroup_bytes()),
            traffic: groups as f64 * edge * self.length as f64 * element + joined * 4.0 * results,
            // What the operands add is the same for every tile.
            memory: joined * 4.0 * results,
        }
    }
}

/// Workgroups that a compute unit holds at a time.
fn resident(hardware: &Hardware, workgroup: u32, registers: u32, bytes: u32) -> f64 {
    let most = |all: u32, each: u32| all.checked_div(each).unwrap_or(u32::MAX);
    let by_invocations = most(hardware.invocations, workgroup).min(most(hardware.registers, workgroup * registers));
    f64::from(by_invocations.min(most(hardware.workgroup_memory, bytes)).clamp(1, 32))
}

impl Work {
    fn of(step: &Step, hardware: &Hardware) -> Work {
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

    /// Seconds that works take which share a dispatch, and how often the device is filled with them.
    pub fn seconds(together: &[Work], hardware: &Hardware) -> (f64, f64) {
        let units = f64::from(hardware.units);
        let sum = |of: fn(&Work) -> f64| together.iter().map(of).sum::<f64>();
        let most = |of: fn(&Work) -> f64| together.iter().map(of).fold(0.0, f64::max);
        let groups = sum(|work| work.groups).max(1.0);
        let waves = sum(|work| work.groups / work.resident) / units;
        let busy = (groups / units).ceil() * sum(|work| work.groups * work.busy) / groups;
        let chain = waves.ceil().max(1.0) * most(|work| work.chain);
        let cache = sum(|work| work.traffic) / (hardware.cache_bandwidth * 1e9);
        let memory = sum(|work| work.memory) / (hardware.bandwidth * 1e9);
        (hardware.launch * 1e-6 + busy.max(chain).max(cache).max(memory), waves.ceil().max(1.0))
    }
}

impl Plan {
    /// How long the plan's launches take on a described device.
    pub fn estimate(&self, hardware: &Hardware) -> Estimate {
        // What a step touches stays in the cache from one launch to the next where all of it fits there.
        let cached = self.touched() <= hardware.cache;
        let bandwidth = if cached { hardware.cache_bandwidth } else { hardware.bandwidth };
        let hardware = &Hardware { bandwidth, ..*hardware };
        let launches = self.launches().map(|(index, steps)| {
            let works: Vec<Work> = steps.iter().map(|step| Work::of(step, hardware)).collect();
            let (seconds, waves) = Work::seconds(&works, hardware);
            LaunchEstimate {
                step: index,
                groups: steps.iter().map(Step::groups).sum(),
                waves: waves as u64,
                rounds: works.iter().map(|work| work.rounds).max().unwrap_or(0),
                bytes: steps.iter().map(Step::bytes).sum(),
                operations: steps.iter().map(|step| step.operations).sum(),
                microseconds: 1e6 * seconds,
            }
        });
        let launches: Vec<LaunchEstimate> = launches.collect();
        let microseconds = launches.iter().map(|launch| launch.microseconds).sum();
        let critical = self.critical(&launches);
        Estimate { launches, microseconds, critical }
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
