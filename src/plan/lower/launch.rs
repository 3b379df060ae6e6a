//! A launch before memory is allocated: its step, and where its operands are.

use crate::plan::kernels::{Access, Kernel};
use crate::plan::plan::Step;
use crate::shape::Shape;
use crate::tensor::DType;

/// The place of a launch's operand: in a buffer that outlives the step, or in a transient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    Lasting { buffer: usize, offset: usize },
    Transient(usize),
}

/// An operand's home, shape and type.
pub(super) type Operand = (Home, Shape, DType);

/// A launch before memory is allocated: a step without slots, and the operands that its slots will hold.
pub(super) struct Launch {
    pub step: Step,
    pub operands: Vec<Operand>,
}

/// The place of a parameter's gradient: `parts` partial sums, `stride` elements apart.
#[derive(Clone, Copy, Default)]
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

    /// The transient or the lasting buffer that contains this home.
    pub(super) fn whole(&self) -> Home {
        match self {
            Home::Transient(index) => Home::Transient(*index),
            Home::Lasting { buffer, .. } => Home::Lasting { buffer: *buffer, offset: 0 },
        }
    }
}

impl Launch {
    /// A launch without outcomes and fused expression.
    pub(super) fn new(
        kernel: Kernel,
        constants: &[usize],
        operands: Vec<Operand>,
        operations: usize,
        label: &str,
    ) -> Launch {
        let step = Step {
            kernel,
            constants: constants.iter().map(|word| *word as u32).collect(),
            slots: vec![],
            outcomes: vec![],
            program: None,
            own: None,
            joins_previous: false,
            label: label.to_owned(),
            operations: operations as u64,
        };
        Launch { step, operands }
    }

    /// Whether an operand is only read.
    pub(super) fn is_read(&self, slot: usize) -> bool {
        self.step.access(slot) == Access::Read
    }

    /// The homes that are only read, or the homes that are written.
    pub(super) fn homes(&self, reads: bool) -> impl Iterator<Item = &Home> {
        let operands = self.operands.iter().enumerate().filter(move |(slot, _)| self.is_read(*slot) == reads);
        operands.map(|(_, (home, ..))| home)
    }
}

/// An operand in a buffer that outlives the step.
pub(super) fn lasting(buffer: usize, offset: usize, shape: impl Into<Shape>, dtype: DType) -> Operand {
    (Home::Lasting { buffer, offset }, shape.into(), dtype)
}
