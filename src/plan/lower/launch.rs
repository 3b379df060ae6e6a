//! A launch before memory is allocated: its kernel and where its operands are.

use crate::plan::kernels::{Access, Kernel};
use crate::plan::plan::{Outcome, OwnKernel, Slot, Step};
use crate::plan::program::Program;
use crate::shape::Shape;
use crate::tensor::DType;

/// Where a launch's operand is: in a buffer that outlives the step, or in a transient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    Lasting { buffer: usize, offset: usize },
    Transient(usize),
}

/// An operand's place, shape and type.
pub(super) type Operand = (Home, Shape, DType);

/// A launch before memory is allocated.
pub(super) struct Launch {
    pub kernel: Kernel,
    pub constants: Vec<u32>,
    pub slots: Vec<Operand>,
    pub outcomes: Vec<Outcome>,
    pub program: Option<Program>,
    pub own: Option<OwnKernel>,
    pub label: String,
    pub operations: u64,
    pub joins_previous: bool,
}

/// Where a parameter's gradient is stored: `parts` partial sums, `stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub offset: usize,
    pub parts: usize,
    pub stride: usize,
}

impl Home {
    pub(super) fn transient(&self) -> Option<usize> {
        match self {
            Home::Transient(index) => Some(*index),
            Home::Lasting { .. } => None,
        }
    }

    /// The transient or the lasting buffer that a place is in.
    pub(super) fn whole(&self) -> Home {
        match self {
            Home::Transient(index) => Home::Transient(*index),
            Home::Lasting { buffer, .. } => Home::Lasting { buffer: *buffer, offset: 0 },
        }
    }

    /// Whether two places are in one transient, or in one lasting buffer.
    pub(super) fn meets(&self, other: &Home) -> bool {
        self.whole() == other.whole()
    }
}

impl Launch {
    /// Whether a slot is only read.
    pub(super) fn is_read(&self, slot: usize) -> bool {
        self.kernel.row().access(slot, self.outcomes.len()) == Access::Read
    }

    /// The places that are only read, or the places that are written.
    pub(super) fn places(&self, reads: bool) -> impl Iterator<Item = &Home> {
        let slots = self.slots.iter().enumerate().filter(move |(slot, _)| self.is_read(*slot) == reads);
        slots.map(|(_, (home, ..))| home)
    }
}

pub(super) fn step(launch: &Launch, slots: Vec<Slot>) -> Step {
    Step {
        kernel: launch.kernel,
        constants: launch.constants.clone(),
        slots,
        outcomes: launch.outcomes.clone(),
        program: launch.program.clone(),
        own: launch.own.clone(),
        joins_previous: launch.joins_previous,
        label: launch.label.clone(),
        operations: launch.operations,
    }
}
