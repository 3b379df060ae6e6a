//! Fused expressions: a straight-line program that computes one element of a chain of elementwise and data-moving ops.
//!
//! The GPU gets it as the text of a WGSL function, the CPU interprets it over runs of consecutive elements.

use crate::graph::{Binary, Reduction, Unary};

/// The number of an instruction; operands of later instructions name its result by it.
pub type Register = usize;

/// One instruction, whose operands are the results of earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// The flat index of the element that is computed. Always instruction 0.
    Position,
    /// The flat index into an operand to which a view maps an index.
    Index {
        /// The index into the view's domain.
        from: Register,
        /// The map.
        view: View,
    },
    /// A mask: 1 where a padded view maps an index to an element of the operand, 0 where it maps it to padding.
    Inside {
        /// The index into the view's domain.
        from: Register,
        /// The map.
        view: View,
    },
    /// An element of an input.
    Load {
        /// The number of the input.
        input: usize,
        /// The flat index into the input.
        at: Register,
    },
    /// In an epilogue: the result of the kernel.
    Accumulator,
    /// The result of the phase of this number for the row.
    Reduced(usize),
    /// A constant number.
    Literal(f64),
    /// An index as a number.
    Number(Register),
    /// A function of one value.
    Unary(Unary, Register),
    /// A function of two values.
    Binary(Binary, Register, Register),
    /// A value where a mask is 1, and 0 elsewhere.
    Select {
        /// The mask, an [`Instruction::Inside`].
        mask: Register,
        /// The value.
        value: Register,
    },
}

/// A fused expression. Its result is the result of the last instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// Number of inputs that the instructions load from.
    pub inputs: usize,
    /// The reductions along each row that precede the last value, in order.
    pub phases: Vec<Phase>,
}

/// A reduction along a row. The instructions up to `value` need only earlier phases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// How elements are combined: their sum or their maximum.
    pub reduction: Reduction,
    /// The register of the value that is reduced.
    pub value: Register,
}

/// One axis of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Elements along the axis in the domain.
    pub size: usize,
    /// Distance in the operand between neighbours along the axis; 0 where one element is repeated.
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
    /// The axes of the domain, outermost first.
    pub axes: Vec<Axis>,
    /// The operand's index at coordinates of zero.
    pub offset: usize,
}

impl Axis {
    /// An axis without padding.
    pub fn plain(size: usize, stride: usize) -> Axis {
        Axis { size, stride, before: 0, inner: size }
    }

    /// Whether some coordinates are in the padding.
    pub fn is_padded(&self) -> bool {
        self.before > 0 || self.inner < self.size
    }
}

impl View {
    /// A view with the fewest axes: axes of size 1 are dropped, and neighbours with one common step are merged.
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

    /// Whether the view maps every index of a domain of `elements` elements to itself.
    pub fn is_identity(&self, elements: usize) -> bool {
        self.offset == 0
            && match self.axes[..] {
                [] => elements == 1,
                [axis] => axis == Axis::plain(elements, 1),
                _ => false,
            }
    }

    /// Whether this view maps each result of another view back to its index. Both permute the digits of an index, so
    /// each digit is followed alone. False where either view has padding.
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

    /// Whether some indices are mapped to padding.
    pub fn is_padded(&self) -> bool {
        self.axes.iter().any(Axis::is_padded)
    }

    /// The operand's index for an index of the domain, and whether it is an element of the operand rather than padding.
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
    /// The names of the arithmetic instructions.
    fn arithmetic(&self) -> impl Iterator<Item = &'static str> {
        self.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Unary(op, _) => Some(op.name()),
            Instruction::Binary(op, ..) => Some(op.name()),
            _ => None,
        })
    }

    /// Number of arithmetic instructions for one element.
    pub fn operations(&self) -> usize {
        self.arithmetic().count()
    }

    /// The names of the arithmetic instructions, joined by `+`; `copy` where there are none.
    pub fn summary(&self) -> String {
        let names: Vec<&str> = self.arithmetic().collect();
        if names.is_empty() { "copy".to_owned() } else { names.join("+") }
    }
}
