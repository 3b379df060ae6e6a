//! The cost of a launch on a described device: arithmetic, serial chain, cache and memory.

use super::hardware::Hardware;
use super::tile::{Family, Tile};

/// Seconds that a workgroup takes to meet at a barrier.
pub(super) const BARRIER: f64 = 15e-9;
/// Registers that an invocation needs apart from a product's results and operands.
pub(super) const REGISTERS: u32 = 28;

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
    /// How often an element of the right operand recurs among neighbouring columns, where the first-level cache has it: the
    /// taps of a convolution that meet it.
    pub reuse: u64,
}

/// The work of one step, before it is known what runs at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub groups: f64,
    /// Seconds for which a workgroup has a compute unit's arithmetic to itself.
    pub busy: f64,
    /// Seconds of a workgroup's serial chain: waits for loads and barriers, and the chain's own arithmetic.
    pub chain: f64,
    /// Dependent waits in a chain.
    pub rounds: u64,
    /// Workgroups that a compute unit holds at a time.
    pub resident: f64,
    /// Bytes that go through the shared cache, and bytes that memory has to deliver or take.
    pub traffic: f64,
    pub memory: f64,
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
        let right = (aside * u64::from(tile.columns)) as f64 / self.reuse as f64;
        let edge = (below * u64::from(tile.lines)) as f64 + right;
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

/// [`Cut::reuse`] of a convolution with kernels of this size and stride.
pub(super) fn reuse(kernel: [u64; 2], stride: [u64; 2]) -> u64 {
    (kernel[0] * kernel[1] / (stride[0] * stride[1])).max(1)
}

/// Workgroups that a compute unit holds at a time.
pub(super) fn resident(hardware: &Hardware, workgroup: u32, registers: u32, bytes: u32) -> f64 {
    let most = |all: u32, each: u32| all.checked_div(each).unwrap_or(u32::MAX);
    let by_invocations = most(hardware.invocations, workgroup).min(most(hardware.registers, workgroup * registers));
    f64::from(by_invocations.min(most(hardware.workgroup_memory, bytes)).clamp(1, 32))
}

impl Work {
    /// Seconds that works take which share a dispatch, and how often the device is filled with them.
    pub fn seconds(together: &[Work], hardware: &Hardware) -> (f64, f64) {
        let units = f64::from(hardware.units);
        let sum = |of: fn(&Work) -> f64| together.iter().map(of).sum::<f64>();
        let most = |of: fn(&Work) -> f64| together.iter().map(of).fold(0.0, f64::max);
        let groups = sum(|work| work.groups).max(1.0);
        let waves = sum(|work| work.groups / work.resident) / units;
        let busy = (groups / units).ceil() * sum(|work| work.groups * work.busy) / groups;
        let full = together.iter().map(|work| work.groups / work.resident / units * work.chain).sum::<f64>();
        let chain = full.max(most(|work| work.chain));
        let cache = sum(|work| work.traffic) / (hardware.cache_bandwidth * 1e9);
        let memory = sum(|work| work.memory) / (hardware.bandwidth * 1e9);
        (hardware.launch * 1e-6 + busy.max(chain).max(cache).max(memory), waves.ceil().max(1.0))
    }
}
