//! The plan itself: steps, slots and buffers, how they print, and whether an adapter can run them.

use super::buffers::PARAMETERS;
use super::cost::{Cut, reuse};
use super::kernels::{Access, Element, Extent, Kernel, Scratch};
use super::limits::{GROUPS_PER_AXIS, Limits};
use super::products::product_of;
use super::program::{Program, Register, View};
use super::tile::{Family, Product, Tile};
use crate::error::{Error, Result};
use crate::graph::ElementKernel;
use crate::shape::Shape;
use crate::tensor::DType;
use std::fmt;

/// A fixed list of launches and the buffers they work on.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The plan's name, for messages.
    pub name: String,
    /// The launches, in order.
    pub steps: Vec<Step>,
    /// The buffers.
    pub buffers: Vec<Buffer>,
}

/// One launch, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The kernel.
    pub kernel: Kernel,
    /// The kernel's constants, in the order of [`Row::constant_names`](super::Row::constant_names).
    pub constants: Vec<u32>,
    /// The parts of buffers that the launch binds: the bindings of [`Row::bindings`](super::Row::bindings), one slot
    /// for each outcome, and the inputs of the fused expression, in this order.
    pub slots: Vec<Slot>,
    /// The results of a kernel with an epilogue; empty for other kernels, whose results are among their bindings.
    pub outcomes: Vec<Outcome>,
    /// The fused expression, if any.
    pub program: Option<Program>,
    /// The application's kernel that a step of [`Kernel::Custom`] runs.
    pub own: Option<OwnKernel>,
    /// Whether the step shares the dispatch of the previous step. Neither step reads what the other writes.
    pub joins_previous: bool,
    /// The scope of the computed value, such as `encoder.0`.
    pub label: String,
    /// Floating-point operations, a multiplication and an addition counting as two.
    pub operations: u64,
}

/// An application's kernel in a step of [`Kernel::Custom`].
#[derive(Clone, Debug, PartialEq)]
pub struct OwnKernel {
    /// The kernel.
    pub kernel: ElementKernel,
    /// The shapes of the kernel's result and operands.
    pub shapes: Vec<Shape>,
}

/// A result that a launch writes to a slot.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// One element for each element of the kernel's result.
    Element {
        /// The register of the value; the kernel's result where there is no fused expression.
        value: Register,
        /// The index at which element i is stored; i where there is no view.
        place: Option<View>,
    },
    /// The sum of a value over all elements, as partial sums: one for each invocation.
    Total(Register),
}

/// A place in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Index of the plan's buffer.
    pub buffer: usize,
    /// Offset in the buffer, in elements.
    pub offset: usize,
    /// The shape of the stored value.
    pub shape: Shape,
    /// The type of its elements.
    pub dtype: DType,
}

/// A buffer. Plans that run on one device share buffers of equal name.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// `parameters`, an input's or an output's name, or `work 0`, ... for values that live within a step.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its length in elements.
    pub elements: usize,
    /// Whether its content outlives a step.
    pub persistent: bool,
    /// Offset and host shape of tensors whose channels are last on the device, first on the host.
    pub rearranged: Vec<(usize, [usize; 4])>,
    /// The initial content of a buffer that no launch writes.
    pub content: Vec<u32>,
}

impl DType {
    /// Bytes of an element on a GPU.
    pub fn bytes(self) -> u64 {
        match self {
            DType::Float | DType::U32 => 4,
            DType::Half => 2,
            DType::U8 => 1,
        }
    }
}

impl Buffer {
    /// An empty buffer whose content outlives a step.
    pub fn lasting(name: &str, dtype: DType) -> Buffer {
        Buffer { name: name.to_owned(), dtype, elements: 0, persistent: true, rearranged: vec![], content: vec![] }
    }

    /// The buffer's length in bytes on a GPU, where four elements are loaded at a time.
    pub fn bytes(&self) -> u64 {
        (self.elements as u64 * self.dtype.bytes()).next_multiple_of(16)
    }
}

impl Slot {
    /// Bytes on a GPU.
    pub fn bytes(&self) -> u64 {
        (self.shape.elements() as u64 * self.dtype.bytes()).next_multiple_of(4)
    }
}

impl Step {
    /// The first constants as an array, for the CPU twins. The kernel table gives their number.
    pub fn constants<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|position| self.constants[position] as usize)
    }

    /// A constant by its name in the shader.
    pub fn constant(&self, name: &str) -> Option<u64> {
        self.kernel.row().constant(&self.constants, name)
    }

    /// The constant of this name; 1 where the kernel lacks it.
    fn named(&self, name: &str) -> u64 {
        self.constant(name).unwrap_or(1)
    }

    /// The product by whose sizes the tile was chosen; `None` for a step that is not a tiled product.
    pub fn product(&self) -> Option<Product> {
        let half = || self.slots.iter().take(2).any(|slot| slot.dtype == DType::Half);
        self.kernel.row().tiled.then(|| product_of(self.kernel, &self.constants, half()))
    }

    /// The tile of a product; `None` for a step that is not a tiled product.
    pub fn tile(&self) -> Option<Tile> {
        let constants = self.constants.last_chunk().filter(|_| self.kernel.row().tiled)?;
        Tile::of_constants(*constants)
    }

    /// How the step accesses a slot.
    pub fn access(&self, slot: usize) -> Access {
        self.kernel.row().access(slot, self.outcomes.len())
    }

    /// The type of a slot's elements in the shader.
    pub(super) fn element(&self, slot: usize) -> Element {
        self.kernel.row().bindings.get(slot).map_or(Element::Vector, |binding| binding.element)
    }

    /// The slots, each with how the step accesses it.
    fn accesses(&self) -> impl Iterator<Item = (Access, &Slot)> {
        self.slots.iter().enumerate().map(|(position, slot)| (self.access(position), slot))
    }

    /// Invocations of a workgroup.
    pub fn workgroup(&self) -> u64 {
        self.kernel.row().invocations(&self.constants)
    }

    /// Workgroup memory of the tiles of a product's left and right operand, in groups of four numbers.
    pub fn tile_memory(&self) -> Option<[u64; 2]> {
        let tile = self.tile().filter(|tile| tile.family == Family::Workgroup)?;
        Some(tile.memory().map(u64::from))
    }

    /// The sizes of a product and of the parts of its depth.
    pub(super) fn cut(&self) -> Option<Cut> {
        let element = self.slots.iter().take(2).map(|slot| slot.dtype.bytes()).max()?;
        Some(Cut {
            panels: self.constant("PANELS")?,
            lines: self.constant("LINES")?,
            columns: self.constant("COLUMNS")?,
            splits: self.constant("SPLITS")?,
            length: self.constant("SPLIT_DEPTH")?,
            element,
            reuse: reuse(
                ["R", "S"].map(|size| self.named(size)),
                ["STRIDE_H", "STRIDE_W"].map(|step| self.named(step)),
            ),
        })
    }

    /// Bytes of workgroup memory apart from [`Step::tile_memory`].
    pub(super) fn scratch_bytes(&self) -> u64 {
        let totals = self.constant("TOTAL_LANES").filter(|lanes| *lanes > 1).unwrap_or(0);
        let own = match self.kernel.row().scratch {
            Scratch::Words(words) => words,
            Scratch::Constant(name) => self.named(name),
            Scratch::EachInvocation => self.workgroup(),
            Scratch::Shared(lanes, _) if self.named(lanes) == 1 => 0,
            Scratch::Shared(_, words) => words * self.workgroup(),
        };
        4 * (own + totals)
    }

    /// Number of workgroups.
    pub fn groups(&self) -> u64 {
        let row = self.kernel.row();
        if !row.tiled {
            let of =
                |e: &Extent| e.product.iter().map(|name| self.named(name)).product::<u64>().div_ceil(e.each as u64);
            let invocations = row.grid.iter().map(of).product::<u64>();
            let each = if row.row_per_workgroup { 1 } else { self.workgroup() };
            return invocations.div_ceil(each).max(1);
        }
        let along = |size: &str, tile: &str| self.named(size).div_ceil(self.named(tile));
        let tiles = along("LINES", "TILE_LINES") * along("COLUMNS", "TILE_COLUMNS");
        let tiles = tiles * self.named("PANELS") * self.named("SPLITS");
        if self.named("FAMILY") == Family::Registers as u64 { tiles.div_ceil(self.workgroup()) } else { tiles }
    }

    /// The length of the rows in which a product's results come; `None` where they do not come in rows.
    pub fn row_length(&self) -> Option<usize> {
        Some(self.constant(self.kernel.row().row_length?)? as usize)
    }

    /// Number of partial sums of an [`Outcome::Total`].
    pub fn parts(&self) -> usize {
        (self.groups() * self.workgroup() / self.named("TOTAL_LANES")) as usize
    }

    /// Bytes read and written, each element counted once; of tables and data sets only the rows that are read.
    pub fn bytes(&self) -> u64 {
        self.slot_bytes().sum()
    }

    /// The bytes of [`Step::bytes`] of each slot.
    pub(super) fn slot_bytes(&self) -> impl Iterator<Item = u64> {
        let rows = self.kernel.row().table_rows.and_then(|count| self.constant(count));
        self.slots.iter().enumerate().map(move |(position, slot)| match (rows, slot.shape.first()) {
            // Slots 0 and 1 are the table and the indices, which may have more rows than are read.
            (Some(rows), Some(all)) if position < 2 => slot.bytes() * rows.min(*all as u64) / *all as u64,
            _ => slot.bytes(),
        })
    }
}

impl Plan {
    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(Buffer::bytes).sum()
    }

    /// Floating-point operations of a step.
    pub fn operations(&self) -> u64 {
        self.steps.iter().map(|step| step.operations).sum()
    }

    /// Fails where a step or buffer exceeds a limit; the error names the first.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let (smaller, other) = ("use a smaller batch or model", "use another device");
        let fail = |place: &dyn Fn() -> String, what, needed, allowed, help| {
            Err(Error::Limit { plan: self.name.clone(), place: place(), what, needed, allowed, help })
        };
        let hold = |place: &dyn Fn() -> String, what, needed, allowed, help| {
            if needed > allowed { fail(place, what, needed, allowed, help) } else { Ok(()) }
        };
        for buffer in &self.buffers {
            let place = || format!("buffer \"{}\"", buffer.name);
            hold(&place, "buffer size", buffer.bytes(), limits.buffer_bytes, smaller)?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            let place = || format!("step {index} ({} \"{}\")", step.kernel.name(), step.label);
            hold(&place, "workgroup size", step.workgroup(), limits.invocations, other)?;
            for slot in &step.slots {
                hold(&place, "bytes of a binding", slot.bytes(), limits.binding_bytes, smaller)?;
            }
            let mut offsets = step.slots.iter().map(|slot| slot.offset as u64 * slot.dtype.bytes());
            if let Some(offset) = offsets.find(|offset| !offset.is_multiple_of(limits.alignment)) {
                return fail(&place, "alignment of an offset", offset, limits.alignment, other);
            }
            // Shaders count invocations in 32 bits.
            hold(&place, "invocations", step.groups() * step.workgroup(), u32::MAX as u64, smaller)?;
        }
        for (index, launch) in self.launches() {
            let place = || format!("step {index} ({} \"{}\")", launch[0].kernel.name(), launch[0].label);
            hold(&place, "storage buffers", bindings(launch).len() as u64, limits.storage_buffers, other)?;
            hold(&place, "bytes of workgroup memory", workgroup_bytes(launch), limits.workgroup_bytes, other)?;
            let [x, y, _] = grid(launch);
            hold(&place, "workgroups along an axis", x.max(y) as u64, limits.workgroups, smaller)?;
        }
        Ok(())
    }

    /// The plan with its parameters in a buffer of another name, such as `average`.
    pub fn with_parameters_of(mut self, name: &str) -> Plan {
        for buffer in self.buffers.iter_mut().filter(|buffer| buffer.name == PARAMETERS) {
            name.clone_into(&mut buffer.name);
        }
        self
    }

    /// A plan of one step alone, for measuring; `None` where there is no step of this number. Each place that the step
    /// uses becomes a buffer, `place 0` and so on in the order of slots, so that isolated plans of one product under
    /// several tiles share their operands.
    pub fn isolated(&self, step: usize) -> Option<Plan> {
        let mut step = self.steps.get(step)?.clone();
        step.joins_previous = false;
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        let mut buffers: Vec<Buffer> = Vec::new();
        for (number, slot) in step.slots.iter_mut().enumerate() {
            let place = (slot.buffer, slot.offset, slot.shape.elements());
            let known = places.iter().position(|known| *known == place);
            let buffer = known.unwrap_or_else(|| {
                places.push(place);
                let elements = slot.shape.elements();
                buffers.push(Buffer { elements, ..Buffer::lasting(&format!("place {number}"), slot.dtype) });
                buffers.len() - 1
            });
            (slot.buffer, slot.offset) = (buffer, 0);
        }
        Some(Plan { name: format!("{} alone", self.name), steps: vec![step], buffers })
    }

    /// The launches: index of the first step, and the steps that share the dispatch.
    pub fn launches(&self) -> impl Iterator<Item = (usize, &[Step])> {
        let mut first = 0;
        self.steps.chunk_by(|_, next| next.joins_previous).map(move |launch| {
            first += launch.len();
            (first - launch.len(), launch)
        })
    }

    /// The first launch that reads and writes one buffer, which wgpu refuses; `None` for plans made by lowering.
    pub fn hazard(&self) -> Option<usize> {
        let overlap = |one: &Slot, other: &Slot| {
            one.offset < other.offset + other.shape.elements() && other.offset < one.offset + one.shape.elements()
        };
        let broken = |launch: &[Step]| {
            let slots: Vec<(Access, &Slot)> = launch.iter().flat_map(Step::accesses).collect();
            slots.iter().enumerate().filter(|(_, (access, _))| *access != Access::Read).any(|(index, (_, written))| {
                slots.iter().enumerate().any(|(other, (access, slot))| {
                    let conflict = *access == Access::Read || (other != index && overlap(written, slot));
                    slot.buffer == written.buffer && conflict
                })
            })
        };
        self.launches().find(|(_, launch)| broken(launch)).map(|(index, _)| index)
    }
}

/// The bindings of a launch, in the order of their numbers, each as a list of (step, slot), the first of which declares
/// it. A place that several steps read as elements of one type is bound once.
pub fn bindings(launch: &[Step]) -> Vec<Vec<(usize, usize)>> {
    let mut bound: Vec<Vec<(usize, usize)>> = Vec::new();
    for (index, step) in launch.iter().enumerate() {
        for (slot, place) in step.slots.iter().enumerate() {
            let read = |index: usize, slot: usize| launch[index].access(slot) == Access::Read;
            let same = bound.iter_mut().find(|known| {
                let (other, number) = known[0];
                let known = &launch[other].slots[number];
                let together = read(index, slot) && read(other, number) && other != index;
                together
                    && (known.buffer, known.offset) == (place.buffer, place.offset)
                    && known.shape.elements() == place.shape.elements()
                    && launch[other].element(number) == step.element(slot)
            });
            match same {
                Some(known) => known.push((index, slot)),
                None => bound.push(vec![(index, slot)]),
            }
        }
    }
    bound
}

/// Bytes of workgroup memory of a launch. Its products share the memory of tiles, whose two parts, for left and right
/// operands, are each as large as the largest tile.
pub fn workgroup_bytes(launch: &[Step]) -> u64 {
    let tiles = launch.iter().filter_map(Step::tile_memory);
    let [left, right] = tiles.fold([0, 0], |[left, right], tile| [left.max(tile[0]), right.max(tile[1])]);
    16 * (left + right) + launch.iter().map(Step::scratch_bytes).sum::<u64>()
}

/// Workgroups of a launch along x, y and z. Kernels count across x and y, so a launch may have more than 65,535.
pub fn grid(launch: &[Step]) -> [u32; 3] {
    let groups: u64 = launch.iter().map(Step::groups).sum();
    let rows = groups.div_ceil(GROUPS_PER_AXIS);
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

impl fmt::Display for Plan {
    /// Writes a line for each launch: kernel, scope, shapes and slots, grid, operations, bytes, fused expression.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "plan \"{}\": {} launches, {} FLOP and {} bytes moved a step, {} bytes of memory",
            self.name,
            self.launches().count(),
            self.operations(),
            self.steps.iter().map(Step::bytes).sum::<u64>(),
            self.bytes()
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            let mark = if step.joins_previous { '+' } else { ' ' };
            write!(f, "{index:>3}{mark}{:<20} {:<11}", step.kernel.name(), step.label)?;
            for (access, slot) in step.accesses() {
                let mark = match access {
                    Access::Read => "",
                    Access::Write => "=",
                    Access::Update => "~",
                };
                write!(f, " {mark}{}@{}", slot.shape, self.buffers[slot.buffer].name.replace(' ', ""))?;
                if slot.offset > 0 {
                    write!(f, "+{}", slot.offset)?;
                }
            }
            write!(f, " groups {}", step.groups())?;
            if let Some(tile) = step.tile() {
                let family = match tile.family {
                    Family::Registers => "registers",
                    Family::Subgroup => "subgroup",
                    Family::Workgroup => "workgroup",
                };
                write!(f, " tile {family} {}x{}", tile.lines, tile.columns)?;
                if step.named("SPLITS") > 1 {
                    write!(f, " splits {}", step.named("SPLITS"))?;
                }
            }
            write!(f, " flop {} bytes {}", step.operations, step.bytes())?;
            if let Some(program) = &step.program {
                write!(f, " fused {}", program.summary())?;
            }
            if let Some(own) = &step.own {
                write!(f, " own {}", own.kernel.name())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
