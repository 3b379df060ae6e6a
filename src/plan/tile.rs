//! How products are cut into tiles: the variants of `shaders/tile.wgsl`.

/// How the invocations of a workgroup share the work of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Each invocation computes a tile of its own from registers alone.
    Registers,
    /// A subgroup computes a tile: every invocation loads different lines and shares them by shuffling.
    Subgroup,
    /// A workgroup computes a tile whose operands go through workgroup memory.
    Workgroup,
}

impl Family {
    /// Every family, in the order of their numbers in `shaders/tile.wgsl`.
    pub const ALL: [Family; 3] = [Family::Registers, Family::Subgroup, Family::Workgroup];

    /// The name, such as `registers`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Registers => "registers",
            Family::Subgroup => "subgroup",
            Family::Workgroup => "workgroup",
        }
    }
}

/// One tiling of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Tile {
    /// How invocations share the tile.
    pub family: Family,
    /// Invocations of a workgroup; one subgroup for [`Family::Subgroup`].
    pub workgroup: u32,
    /// Lines of the result in a tile, a multiple of 4.
    pub lines: u32,
    /// Columns of the result in a tile, a multiple of 4.
    pub columns: u32,
    /// Depth that goes through workgroup memory at a time, a multiple of 4; 4 without workgroup memory.
    pub depth: u32,
    /// Lines that one invocation computes, a multiple of 4.
    pub thread_lines: u32,
    /// Columns that one invocation computes, a multiple of 4.
    pub thread_columns: u32,
    /// Invocations of a workgroup that share the depth of these lines and columns; 1 without workgroup memory.
    #[serde(default = "one")]
    pub depth_lanes: u32,
}

/// The sizes of a product, by which its tile is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Product {
    /// The kernel's name, and `f16` behind it where an operand has 16 bits.
    pub kernel: String,
    /// All constants of the kernel except those of the tile.
    pub sizes: Vec<u32>,
    /// Lines of the result.
    pub lines: u32,
    /// Columns of the result.
    pub columns: u32,
}

/// The depth lanes of tiles that an earlier version has measured.
fn one() -> u32 {
    1
}

impl Tile {
    /// A tile in registers.
    pub const fn registers(lines: u32, columns: u32) -> Tile {
        let (thread_lines, thread_columns) = (lines, columns);
        Tile {
            family: Family::Registers,
            workgroup: 64,
            lines,
            columns,
            depth: 4,
            thread_lines,
            thread_columns,
            depth_lanes: 1,
        }
    }

    /// A tile of a subgroup: four columns for each invocation.
    pub const fn subgroup(subgroup: u32, lines: u32) -> Tile {
        Tile {
            family: Family::Subgroup,
            workgroup: subgroup,
            lines,
            columns: 4 * subgroup,
            depth: 4,
            thread_lines: lines,
            thread_columns: 4,
            depth_lanes: 1,
        }
    }

    /// A tile of a workgroup, `thread` its invocations' lines and columns.
    pub const fn workgroup(lines: u32, columns: u32, depth: u32, thread: [u32; 2]) -> Tile {
        let workgroup = (lines / thread[0]) * (columns / thread[1]);
        let family = Family::Workgroup;
        Tile {
            family,
            workgroup,
            lines,
            columns,
            depth,
            thread_lines: thread[0],
            thread_columns: thread[1],
            depth_lanes: 1,
        }
    }

    /// This tile of a workgroup with `depth_lanes` invocations, a power of two, for every part of it, which share its depth.
    pub const fn sharing_depth(self, depth_lanes: u32) -> Tile {
        Tile { workgroup: self.workgroup * depth_lanes, depth_lanes, ..self }
    }

    /// Workgroup memory for the left and the right operand, in groups of four numbers. Where invocations share a depth,
    /// they exchange their sums through the memory of the left operand.
    pub fn memory(&self) -> [u32; 2] {
        match self.family {
            Family::Workgroup => {
                let exchanged = self.workgroup / self.depth_lanes * (self.depth_lanes / 2);
                let exchanged = exchanged * self.thread_lines * self.thread_columns / 4;
                [(self.depth * self.lines / 4).max(exchanged), self.depth * self.columns / 4]
            }
            Family::Registers | Family::Subgroup => [0, 0],
        }
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        16 * self.memory().iter().sum::<u32>()
    }

    /// The constants of `shaders/tile.wgsl` that the tile sets, in their order in the file.
    pub(super) fn constants(&self) -> [u32; 8] {
        [
            self.family as u32,
            self.workgroup,
            self.lines,
            self.columns,
            self.depth,
            self.thread_lines,
            self.thread_columns,
            self.depth_lanes,
        ]
    }
}
