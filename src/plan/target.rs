//! The device that a plan is made for, and the choice of a tile for each product.

use super::hardware::Hardware;
use super::limits::Limits;
use super::tile::{Family, Product, Tile};
use crate::error::{Error, Result, suggest};
use std::collections::HashMap;
use std::sync::Arc;

/// The properties of the device that a plan is made for.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Whether the device is a software adapter, whose few threads do not profit from workgroup memory.
    pub software: bool,
    /// Invocations of a subgroup, where the device has subgroup operations and all its subgroups are of this size.
    pub subgroup: Option<u32>,
    /// The figures by which tiles are chosen where nothing was measured; a software adapter has rules of its own.
    pub hardware: Hardware,
    /// A tile for every product, for tests and for bisecting.
    pub forced: Option<Tile>,
    /// Tiles found by measurement.
    pub tuned: Arc<HashMap<Product, Tile>>,
    /// Whether activations, their gradients and weights are stored in 16 bits where products read or make them. Sums,
    /// parameters' gradients, assigned values and metrics stay in 32 bits, and so do the products of
    /// scopes of [full precision](crate::graph::Scope::full_precision).
    pub half: bool,
    /// The number of parts of every sum that can be split, for measuring.
    pub splits: Option<usize>,
    /// Optimisations that are switched off, for bisecting.
    pub without: Without,
    /// The device's limits.
    pub limits: Limits,
}

/// The name of an optimisation and the field that switches it off.
type Switch = (&'static str, fn(&mut Without) -> &mut bool);

/// Optimisations that are switched off, by [`Without::VARIABLE`] in the environment or by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Every elementwise op that follows a product is a separate launch.
    pub epilogues: bool,
    /// No two launches share a dispatch.
    pub pairs: bool,
    /// Long sums are not split.
    pub splits: bool,
    /// Partial sums of gradients are joined by separate launches rather than by the optimiser's.
    pub joined_updates: bool,
    /// No tile is shared by a subgroup.
    pub subgroups: bool,
    /// No two invocations share the depth of a product, a sum or a total.
    pub lanes: bool,
    /// Only products and sums of columns share dispatches.
    pub joins: bool,
    /// Every value that several launches read is kept in memory.
    pub recomputing: bool,
    /// Values that a graph computes twice are computed twice.
    pub sharing: bool,
    /// Tiles found by measurement are not used, and none is measured.
    pub tuning: bool,
    /// Loops in shaders are not unrolled, and arrays are not split.
    pub unroll: bool,
    /// Compiled pipelines are neither read from the cache directory nor written to it.
    pub pipeline_cache: bool,
}

impl Without {
    /// The environment variable that switches optimisations off on every device: see [`Without::parse`].
    pub const VARIABLE: &str = "PINHOLE_WITHOUT";

    /// The names and fields of all optimisations.
    const NAMES: [Switch; 12] = [
        ("epilogues", |without| &mut without.epilogues),
        ("pairs", |without| &mut without.pairs),
        ("splits", |without| &mut without.splits),
        ("joined-updates", |without| &mut without.joined_updates),
        ("subgroups", |without| &mut without.subgroups),
        ("lanes", |without| &mut without.lanes),
        ("joins", |without| &mut without.joins),
        ("recomputing", |without| &mut without.recomputing),
        ("sharing", |without| &mut without.sharing),
        ("tuning", |without| &mut without.tuning),
        ("unroll", |without| &mut without.unroll),
        ("pipeline-cache", |without| &mut without.pipeline_cache),
    ];

    /// All names that [`Without::parse`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Without::NAMES.iter().map(|(name, _)| *name)
    }

    /// The optimisations that a list names: `epilogues`, `pairs`, `splits`, `joined-updates`, `subgroups`,
    /// `lanes`, `joins`, `recomputing`, `sharing`, `tuning`, `unroll`, `pipeline-cache`, separated by commas. Fails with the first name that is unknown.
    pub fn parse(list: &str) -> Result<Without, String> {
        let mut without = Without::default();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = Without::NAMES.iter().find(|(known, _)| *known == name);
            let (_, switch) = known.ok_or_else(|| name.to_owned())?;
            *switch(&mut without) = true;
        }
        Ok(without)
    }

    /// The optimisations that [`Without::VARIABLE`] names; none where it is unset. Fails where a name is unknown.
    pub fn from_environment() -> Result<Without> {
        let list = std::env::var_os(Without::VARIABLE).unwrap_or_default();
        Without::parse(&list.to_string_lossy()).map_err(|name| {
            let problem = format!("there is no optimisation \"{name}\"");
            Error::invalid(Without::VARIABLE, problem, suggest(&name, Without::names()))
        })
    }
}

impl Target {
    /// Storage buffers that a launch may bind: at most WebGPU's floor, so that a model has one plan on all devices that
    /// reach it, and at least the number with which every kernel works.
    pub(super) fn storage_buffers(&self) -> usize {
        let [least, most] = [Limits::DOWNLEVEL, Limits::default()].map(|limits| limits.storage_buffers);
        self.limits.storage_buffers.clamp(least, most) as usize
    }

    /// Invocations of a subgroup, where tiles may be shared by one.
    fn subgroup(&self) -> Option<u32> {
        self.subgroup.filter(|_| !self.without.subgroups)
    }

    /// The target of a described device: see [`Hardware::find`].
    pub fn described(hardware: Hardware) -> Target {
        Target { hardware, subgroup: hardware.subgroup, ..Target::default() }
    }

    /// The tile that is forced on a product, or was measured to be its fastest.
    pub(super) fn given(&self, product: &Product) -> Option<Tile> {
        let usable = |tile: &&Tile| {
            let shared = tile.family == Family::Subgroup;
            !self.without.tuning && (!shared || self.subgroup() == Some(tile.workgroup))
        };
        self.forced.or_else(|| self.tuned.get(product).filter(usable).copied())
    }

    /// Whether invocations of a workgroup share sums; a software adapter has no fast workgroup memory.
    pub(super) fn shares_sums(&self) -> bool {
        !self.software && !self.without.lanes
    }

    /// Whether a workgroup of a tile fits the device's limits.
    pub(super) fn holds(&self, tile: &Tile) -> bool {
        let bytes = u64::from(tile.workgroup_bytes());
        let shared = tile.depth_lanes == 1 || !self.without.lanes;
        shared && u64::from(tile.workgroup) <= self.limits.invocations && bytes <= self.limits.workgroup_bytes
    }

    /// The tile of a product with this number of lines on a software adapter, which runs few threads of wide vectors and
    /// has no fast workgroup memory: the largest that stays in registers.
    pub(super) fn software_tile(&self, lines: u32) -> Tile {
        match self.subgroup() {
            Some(subgroup) if lines <= 4 => Tile::subgroup(subgroup, 4),
            None if lines <= 4 => Tile::registers(4, 8),
            Some(subgroup) if lines <= 8 => Tile::subgroup(subgroup, 8),
            Some(subgroup) => Tile::subgroup(subgroup, 16),
            None => Tile::registers(8, 8),
        }
    }
}

/// Bytes of workgroup memory that every adapter has.
const WORKGROUP_BYTES: u32 = 16 << 10;

impl Tile {
    /// Every tile that tuning tries and tests run on a device.
    pub fn family(target: &Target) -> Vec<Tile> {
        let mut tiles = vec![
            Tile::registers(4, 4),
            Tile::registers(8, 4),
            Tile::registers(4, 8),
            Tile::workgroup(32, 32, 16, [4, 4]),
            Tile::workgroup(16, 64, 16, [4, 4]),
            Tile::workgroup(16, 128, 16, [4, 8]),
            Tile::workgroup(32, 128, 16, [8, 4]),
            Tile::workgroup(32, 32, 32, [4, 4]),
            Tile::workgroup(32, 64, 16, [8, 4]),
            Tile::workgroup(64, 64, 16, [4, 4]),
            Tile::workgroup(64, 64, 16, [8, 8]),
            Tile::workgroup(64, 64, 16, [8, 4]),
            Tile::workgroup(128, 64, 16, [8, 8]),
            Tile::workgroup(128, 128, 8, [8, 8]),
            // For few results of a long depth.
            Tile::workgroup(32, 32, 32, [4, 4]).sharing_depth(2),
            Tile::workgroup(32, 32, 32, [4, 4]).sharing_depth(4),
            Tile::workgroup(16, 32, 32, [4, 4]).sharing_depth(2),
            Tile::workgroup(16, 16, 64, [4, 4]).sharing_depth(4),
            Tile::workgroup(8, 32, 32, [4, 4]).sharing_depth(4),
            Tile::workgroup(8, 8, 128, [4, 4]).sharing_depth(16),
            Tile::workgroup(4, 4, 256, [4, 4]).sharing_depth(64),
        ];
        if let Some(subgroup) = target.subgroup() {
            tiles.extend([4, 8].map(|lines| Tile::subgroup(subgroup, lines)));
        }
        // AMD's compiler spills 64 sums beside what they are made of (tests/isa); a software adapter has memory for registers.
        if target.software {
            tiles.push(Tile::registers(8, 8));
            tiles.extend(target.subgroup().map(|subgroup| Tile::subgroup(subgroup, 16)));
        }
        debug_assert!(tiles.iter().all(|tile| tile.workgroup_bytes() <= WORKGROUP_BYTES && tile.workgroup <= 256));
        tiles
    }
}
