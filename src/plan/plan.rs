//! The plan itself: steps, slots and buffers, how they print, and whether an adapter can run them.

use super::kernel::{Access, Kernel};
use super::program::Program;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::DType;
use std::fmt;

/// Workgroups along one axis of a grid: WebGPU's floor, and what most adapters have.
const GROUPS_PER_AXIS: u64 = 65_535;

/// A fixed list of launches and the buffers they work on.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// For messages.
    pub name: String,
    /// The launches, in order.
    pub steps: Vec<Step>,
    /// The buffers.
    pub buffers: Vec<Buffer>,
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which kernel.
    pub kernel: Kernel,
    /// Its constants, in the order of [`Row::constants`](super::Row::constants).
    pub constants: Vec<u32>,
    /// What it works on: first as [`Row::bindings`](super::Row::bindings) says, then the inputs of its fused expression.
    pub slots: Vec<Slot>,
    /// Its fused expression, where it has one.
    pub program: Option<Program>,
    /// The scope of the value it computes, such as `encoder.0`.
    pub label: String,
    /// Floating-point operations, a multiplication and an addition counting as two.
    pub operations: u64,
}

/// A place in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Which of the plan's buffers.
    pub buffer: usize,
    /// Where it begins, in elements.
    pub offset: usize,
    /// The shape of what lies there.
    pub shape: Shape,
    /// The type of its elements.
    pub dtype: DType,
}

/// A buffer. Plans that run on one device share those of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// `parameters`, an input's or an output's name, or `work 0`, ... for values that live within a step.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its length.
    pub elements: usize,
    /// Whether its content outlives a step.
    pub persistent: bool,
}

/// What an adapter allows. The default is WebGPU's floor, which every adapter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers in a launch.
    pub storage_buffers: u64,
    /// Bytes of a binding.
    pub binding_bytes: u64,
    /// Bytes of a buffer.
    pub buffer_bytes: u64,
    /// Invocations of a workgroup.
    pub invocations: u64,
    /// Workgroups along one axis of a grid.
    pub workgroups: u64,
    /// Multiples at which a binding may begin, in bytes.
    pub alignment: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            storage_buffers: 8,
            binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            invocations: 256,
            workgroups: GROUPS_PER_AXIS,
            alignment: 256,
        }
    }
}

impl DType {
    /// Bytes of an element on a GPU.
    pub fn bytes(self) -> u64 {
        match self {
            DType::Float | DType::U32 => 4,
            DType::U8 => 1,
        }
    }
}

impl Buffer {
    /// Its length in bytes on a GPU, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        (self.elements as u64 * self.dtype.bytes()).next_multiple_of(4)
    }
}

impl Slot {
    /// Bytes on a GPU.
    pub fn bytes(&self) -> u64 {
        (self.shape.elements() as u64 * self.dtype.bytes()).next_multiple_of(4)
    }
}

impl Step {
    /// The constants as an array, for the CPU's twins. The table says how many there are.
    pub fn constants<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|position| self.constants[position] as usize)
    }

    /// A constant by its name in the shader.
    pub fn constant(&self, name: &str) -> Option<u64> {
        let position = self.kernel.row().constants.iter().position(|known| *known == name)?;
        Some(self.constants[position] as u64)
    }

    /// What the step does with each of its slots.
    pub fn access(&self, slot: usize) -> Access {
        self.kernel.row().bindings.get(slot).map_or(Access::Read, |binding| binding.access)
    }

    /// Invocations that have something to do.
    pub fn invocations(&self) -> u64 {
        let named = |name: &str| self.constant(name).unwrap_or(1);
        let extents = self.kernel.row().grid.iter();
        extents
            .map(|e| e.product.iter().map(|name| named(name)).product::<u64>().div_ceil(named(e.tile).max(1)))
            .product()
    }

    /// Workgroups along x and y. Kernels count through both, so that more than 65,535 are no obstacle.
    pub fn grid(&self) -> [u32; 3] {
        let groups = self.invocations().div_ceil(self.kernel.row().workgroup as u64).max(1);
        let rows = groups.div_ceil(GROUPS_PER_AXIS);
        [groups.div_ceil(rows) as u32, rows as u32, 1]
    }

    /// Bytes read and written, each element counted once. Of tables and data sets only the rows that come out count.
    pub fn bytes(&self) -> u64 {
        let rows = match self.kernel {
            Kernel::Gather | Kernel::BatchFloats | Kernel::BatchBytes => self.constant("COUNT"),
            _ => None,
        };
        let read = |(position, slot): (usize, &Slot)| match (rows, slot.shape.first()) {
            // Slots 0 and 1 are the table and the indices, which may be longer than what is taken from them.
            (Some(rows), Some(all)) if position < 2 => slot.bytes() * rows.min(*all as u64) / *all as u64,
            _ => slot.bytes(),
        };
        self.slots.iter().enumerate().map(read).sum()
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

    /// Fails with the first step or buffer that breaks a limit, and says which.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let fail = |place: String, what, needed, allowed, help| {
            Err(Error::Limit { plan: self.name.clone(), place, what, needed, allowed, help })
        };
        for buffer in &self.buffers {
            if buffer.bytes() > limits.buffer_bytes {
                let place = format!("buffer \"{}\"", buffer.name);
                return fail(place, "buffer size", buffer.bytes(), limits.buffer_bytes, "use a smaller batch or model");
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            let place = || format!("step {index} ({} \"{}\")", step.kernel.name(), step.label);
            let row = step.kernel.row();
            let smaller = "use a smaller batch or model";
            if step.slots.len() as u64 > limits.storage_buffers {
                let needed = step.slots.len() as u64;
                return fail(place(), "storage buffers", needed, limits.storage_buffers, "use another device");
            }
            if row.workgroup as u64 > limits.invocations {
                let needed = row.workgroup as u64;
                return fail(place(), "workgroup size", needed, limits.invocations, "use another device");
            }
            if let Some(slot) = step.slots.iter().find(|slot| slot.bytes() > limits.binding_bytes) {
                return fail(place(), "bytes of a binding", slot.bytes(), limits.binding_bytes, smaller);
            }
            let misplaced = |slot: &&Slot| !(slot.offset as u64 * slot.dtype.bytes()).is_multiple_of(limits.alignment);
            if let Some(slot) = step.slots.iter().find(misplaced) {
                let offset = slot.offset as u64 * slot.dtype.bytes();
                return fail(place(), "alignment of an offset", offset, limits.alignment, "use another device");
            }
            let grid = step.grid();
            let groups = grid[0].max(grid[1]) as u64;
            if groups > limits.workgroups {
                return fail(place(), "workgroups along an axis", groups, limits.workgroups, smaller);
            }
            // Shaders count invocations in 32 bits.
            let invocations = grid[0] as u64 * grid[1] as u64 * row.workgroup as u64;
            if invocations > u32::MAX as u64 {
                return fail(place(), "invocations", invocations, u32::MAX as u64, smaller);
            }
        }
        Ok(())
    }

    /// Whether some step reads and writes one buffer, which wgpu refuses. A plan is made so that none does.
    pub fn hazard(&self) -> Option<usize> {
        self.steps.iter().position(|step| {
            step.slots.iter().enumerate().any(|(index, slot)| {
                step.access(index) != Access::Read
                    && step.slots.iter().enumerate().any(|(other, read)| other != index && read.buffer == slot.buffer)
            })
        })
    }
}

impl fmt::Display for Plan {
    /// A line for each launch: kernel and scope, the fused expression, shapes and slots, grid, operations, bytes.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "plan \"{}\": {} launches, {} FLOP and {} bytes moved a step, {} bytes of memory",
            self.name,
            self.steps.len(),
            self.operations(),
            self.steps.iter().map(Step::bytes).sum::<u64>(),
            self.bytes()
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{index:>3} {:<20} {:<11}", step.kernel.name(), step.label)?;
            for (position, slot) in step.slots.iter().enumerate() {
                let mark = match step.access(position) {
                    Access::Read => "",
                    Access::Write => "=",
                    Access::Update => "~",
                };
                write!(f, " {mark}{}", slot.shape)?;
                write!(f, "@{}", self.buffers[slot.buffer].name.replace(' ', ""))?;
                if slot.offset > 0 {
                    write!(f, "+{}", slot.offset)?;
                }
            }
            let [x, y, _] = step.grid();
            write!(f, " grid {x}")?;
            if y > 1 {
                write!(f, "x{y}")?;
            }
            write!(f, " flop {} bytes {}", step.operations, step.bytes())?;
            if let Some(program) = &step.program {
                write!(f, " fused {}", program.summary())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
