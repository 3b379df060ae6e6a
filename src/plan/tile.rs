//! Tiles of products: the variants of `shaders/tile.wgsl`.

/// The way in which a workgroup's invocations share the work on a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Each invocation computes one tile, from registers alone.
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
    /// The way in which invocations share the tile.
    pub family: Family,
    /// Invocations of a workgroup; one subgroup for [`Family::Subgroup`].
    pub workgroup: u32,
    /// Lines of the result in a tile, a multiple of 4.
    pub lines: u32,
    /// Columns of the result in a tile, a multiple of 4.
    pub columns: u32,
    /// Depth whose operands are in workgroup memory at a time, a multiple of 4; 4 without workgroup memory.
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
    /// The kernel's name, followed by `f16` where an operand has 16 bits.
    pub kernel: String,
    /// All constants of the kernel except those of the tile.
    pub sizes: Vec<u32>,
    /// Lines of the result.
    pub lines: u32,
    /// Columns of the result.
    pub columns: u32,
}

/// The depth lanes of tiles in caches of earlier versions, which had no others.
fn one() -> u32 {
    1
}

impl Tile {
    /// A tile in registers: one invocation computes `lines` by `columns` results.
    pub const fn registers(lines: u32, columns: u32) -> Tile {
        let (thread_lines, thread_columns) = (lines, columns);
        let (family, workgroup, depth) = (Family::Registers, 64, 4);
        Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes: 1 }
    }

    /// A tile of a subgroup: four columns for each invocation.
    pub const fn subgroup(subgroup: u32, lines: u32) -> Tile {
        let (family, workgroup, columns) = (Family::Subgroup, subgroup, 4 * subgroup);
        Tile { family, workgroup, lines, columns, depth: 4, thread_lines: lines, thread_columns: 4, depth_lanes: 1 }
    }

    /// A tile of a workgroup; `thread`: the lines and columns that one invocation computes.
    pub const fn workgroup(lines: u32, columns: u32, depth: u32, thread: [u32; 2]) -> Tile {
        let [thread_lines, thread_columns] = thread;
        let (family, workgroup) = (Family::Workgroup, (lines / thread_lines) * (columns / thread_columns));
        Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes: 1 }
    }

    /// This tile of a workgroup with `depth_lanes` invocations, a power of two, to share the depth of each part of it.
    pub const fn sharing_depth(self, depth_lanes: u32) -> Tile {
        Tile { workgroup: self.workgroup * depth_lanes, depth_lanes, ..self }
    }

    /// Workgroup memory for the left and the right operand, in groups of four numbers. Invocations that share a depth
    /// exchange their sums through the memory of the left operand.
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

    /// The tile that sets these constants of `shaders/tile.wgsl`; `None` where the family is unknown.
    pub(super) fn of_constants(constants: [u32; 8]) -> Option<Tile> {
        let [family, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes] = constants;
        let family = Family::ALL.into_iter().find(|known| *known as u32 == family)?;
        Some(Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes })
    }

    /// The constants of `shaders/tile.wgsl` that the tile sets, in their order in the file.
    pub(super) fn constants(&self) -> [u32; 8] {
        let Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes } = *self;
        [family as u32, workgroup, lines, columns, depth, thread_lines, thread_columns, depth_lanes]
    }
}
