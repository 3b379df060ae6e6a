//! Fused expressions: a straight-line program that computes one element of a chain of elementwise and data-moving ops.
//!
//! The GPU gets it as the text of a WGSL function, the CPU interprets it over runs of consecutive elements.

use crate::graph::{Binary, Reduction, Unary};

/// The number of an instruction, whose result it stands for.
pub type Register = usize;

/// One instruction; it may refer to earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// The flat index of the element that is computed. Always instruction 0, and an index.
    Position,
    /// The flat index into an operand, as a view maps it.
    Index {
        /// The index into the view's domain.
        from: Register,
        /// The map.
        view: View,
    },
    /// 1 where an index into a padded view's domain meets the operand, 0 where it meets padding.
    Inside {
        /// The index into the view's domain.
        from: Register,
        /// The map.
        view: View,
    },
    /// An element of an input.
    Load {
        /// Which of the program's inputs.
        input: usize,
        /// The flat index into it.
        at: Register,
    },
    /// The result of the kernel whose epilogue this is.
    Accumulator,
    /// What a phase has reduced the row to.
    Reduced(usize),
    /// A number.
    Literal(f64),
    /// An index as a number.
    Number(Register),
    /// A function of one value.
    Unary(Unary, Register),
    /// A function of two values.
    Binary(Binary, Register, Register),
    /// A value where a mask is 1, else 0.
    Select {
        /// An `Inside`.
        mask: Register,
        /// The value.
        value: Register,
    },
}

/// A fused expression. Its result is that of the last instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// How many inputs it loads from.
    pub inputs: usize,
    /// What is reduced along each row before the last value can be computed, in order.
    pub phases: Vec<Phase>,
}

/// A reduction along a row. The instructions up to its value need only the phases before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// How elements are joined.
    pub reduction: Reduction,
    /// What is reduced.
    pub value: Register,
}

/// One axis of a view, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Elements along the axis in the domain.
    pub size: usize,
    /// How far apart they lie in the operand; 0 where one element is repeated.
    pub stride: usize,
    /// Padding before the operand's first element.
    pub before: usize,
    /// Elements of the operand along the axis; `size` where there is no padding.
    pub inner: usize,
}

/// A map from a flat index of a domain to a flat index of an operand: the coordinates along the axes, each clamped into
/// the operand, times their strides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The axes of the domain.
    pub axes: Vec<Axis>,
    /// The operand's index of coordinates zero.
    pub offset: usize,
}

impl Axis {
    /// An axis without padding.
    pub fn plain(size: usize, stride: usize) -> Axis {
        Axis { size, stride, before: 0, inner: size }
    }

    /// Whether some coordinates meet padding.
    pub fn is_padded(&self) -> bool {
        self.before > 0 || self.inner < self.size
    }
}

impl View {
    /// A view with as few axes as will do: those of size 1 go, and neighbours that step evenly are joined.
    pub fn new(axes: impl IntoIterator<Item = Axis>, offset: usize) -> View {
        let mut joined: Vec<Axis> = Vec::new();
        for axis in axes {
            if axis.size == 1 && !axis.is_padded() {
                continue;
            }
            match joined.last_mut() {
                Some(outer) if !outer.is_padded() && !axis.is_padded() && outer.stride == axis.stride * axis.size => {
                    *outer = Axis::plain(outer.size * axis.size, axis.stride);
                }
                _ => joined.push(axis),
            }
        }
        View { axes: joined, offset }
    }

    /// Whether it maps every index of a domain with this many elements to itself.
    pub fn is_identity(&self, elements: usize) -> bool {
        self.offset == 0
            && match self.axes[..] {
                [] => elements == 1,
                [axis] => axis == Axis::plain(elements, 1),
                _ => false,
            }
    }

    /// Whether it takes the result of another view without padding back to where that started. Both move digits of an
    /// index about, so it is enough to follow each digit alone.
    pub fn undoes(&self, other: &View) -> bool {
        let plain = |view: &View| view.offset == 0 && !view.is_padded() && view.axes.iter().all(|axis| axis.stride > 0);
        let elements = |view: &View| view.axes.iter().map(|axis| axis.size).product::<usize>();
        if !plain(self) || !plain(other) || elements(self) != elements(other) {
            return false;
        }
        let mut unit = 1;
        other.axes.iter().rev().all(|axis| {
            let step = unit;
            unit *= axis.size;
            (0..axis.size).all(|digit| self.map(digit * axis.stride).0 == digit * step)
        }) && self.map(other.map(unit - 1).0).0 == unit - 1
    }

    /// Whether some indices meet padding.
    pub fn is_padded(&self) -> bool {
        self.axes.iter().any(Axis::is_padded)
    }

    /// The operand's index for an index of the domain, and whether it meets the operand rather than padding.
    pub fn map(&self, index: usize) -> (usize, bool) {
        let mut rest = index;
        let mut at = self.offset;
        let mut inside = true;
        for axis in self.axes.iter().rev() {
            let coordinate = rest % axis.size;
            rest /= axis.size;
            inside &= coordinate >= axis.before && coordinate - axis.before < axis.inner;
            at += coordinate.saturating_sub(axis.before).min(axis.inner - 1) * axis.stride;
        }
        (at, inside)
    }
}

impl Program {
    /// How many arithmetic instructions one element takes.
    pub fn operations(&self) -> usize {
        self.instructions.iter().filter(|i| matches!(i, Instruction::Unary(..) | Instruction::Binary(..))).count()
    }

    /// The names of the arithmetic instructions, joined by `+`; `copy` where there are none.
    pub fn summary(&self) -> String {
        let names: Vec<&str> = self
            .instructions
            .iter()
            .filter_map(|instruction| match instruction {
                Instruction::Unary(op, _) => Some(op.name()),
                Instruction::Binary(op, ..) => Some(op.name()),
                Instruction::Position
                | Instruction::Index { .. }
                | Instruction::Inside { .. }
                | Instruction::Load { .. }
                | Instruction::Accumulator
                | Instruction::Reduced(_)
                | Instruction::Literal(_)
                | Instruction::Number(_)
                | Instruction::Select { .. } => None,
            })
            .collect();
        if names.is_empty() { "copy".to_owned() } else { names.join("+") }
    }
}
