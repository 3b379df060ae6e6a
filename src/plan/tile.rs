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

impl Tile {
    /// A tile in registers: one invocation computes `lines` by `columns` results.
    pub const fn registers(lines: u32, columns: u32) -> Tile {
        let (thread_lines, thread_columns) = (lines, columns);
        Tile { family: Family::Registers, workgroup: 64, lines, columns, depth: 4, thread_lines, thread_columns }
    }

    /// A tile of a subgroup: four columns for each invocation.
    pub const fn subgroup(subgroup: u32, lines: u32) -> Tile {
        let (family, columns, thread_lines) = (Family::Subgroup, 4 * subgroup, lines);
        Tile { family, workgroup: subgroup, lines, columns, depth: 4, thread_lines, thread_columns: 4 }
    }

    /// A tile of a workgroup; `thread`: the lines and columns that one invocation computes.
    pub const fn workgroup(lines: u32, columns: u32, depth: u32, thread: [u32; 2]) -> Tile {
        let workgroup = (lines / thread[0]) * (columns / thread[1]);
        let family = Family::Workgroup;
        Tile { family, workgroup, lines, columns, depth, thread_lines: thread[0], thread_columns: thread[1] }
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        match self.family {
            Family::Workgroup => 4 * self.depth * (self.lines + self.columns),
            Family::Registers | Family::Subgroup => 0,
        }
    }

    /// The tile that sets these constants of `shaders/tile.wgsl`; `None` where the family is unknown.
    pub(super) fn of_constants(constants: [u32; 7]) -> Option<Tile> {
        let [family, workgroup, lines, columns, depth, thread_lines, thread_columns] = constants;
        let families = [Family::Registers, Family::Subgroup, Family::Workgroup];
        let family = families.into_iter().find(|known| *known as u32 == family)?;
        Some(Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns })
    }

    /// The constants of `shaders/tile.wgsl` that the tile sets, in their order in the file.
    pub(super) fn constants(&self) -> [u32; 7] {
        let Tile { family, workgroup, lines, columns, depth, thread_lines, thread_columns } = *self;
        [family as u32, workgroup, lines, columns, depth, thread_lines, thread_columns]
    }
}
