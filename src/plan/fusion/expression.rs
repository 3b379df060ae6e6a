//! Builds fused expressions: the program that computes an element of a value from stored values.

use super::decided::Claim;
use super::group::{only_moves, storage};
use crate::graph::{Binary, Graph, Op, Value};
use crate::plan::program::{Axis, Instruction, Phase, Program, Register, View};
use crate::shape::Shape;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// For a value without memory, the stored value that contains its elements, and the view of each element's index there.
pub(super) type Aliases = HashMap<Value, (Value, View)>;

/// The values that an expression may read.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub graph: &'a Graph,
    /// For each value, whether it is kept.
    pub kept: &'a [bool],
    pub aliases: &'a Aliases,
}

/// An expression, the kept values that it loads, and all values that determined its form.
pub(super) struct Expression {
    pub program: Program,
    pub inputs: Vec<Value>,
    pub visited: Vec<Value>,
}

/// The view of a broadcast.
pub(super) fn broadcast_view(from: &Shape, shape: &Shape) -> View {
    let strides = from.strides();
    let lead = shape.len() - from.len();
    let axes = (0..shape.len()).map(|axis| {
        let repeated = axis < lead || from[axis - lead] == 1;
        Axis::plain(shape[axis], if repeated { 0 } else { strides[axis - lead] })
    });
    View::new(axes, 0)
}

/// The view of the index of element i of a value once its axes are in this order.
pub(super) fn inverse(shape: &Shape, order: &[usize]) -> View {
    let permuted: Shape = order.iter().map(|axis| shape[*axis]).collect();
    let strides = permuted.strides();
    let axes = (0..shape.len()).map(|axis| {
        let to = order.iter().position(|from| *from == axis).map_or(0, |to| strides[to]);
        Axis::plain(shape[axis], to)
    });
    View::new(axes, 0)
}

/// The expression of a reduction's operand, with the kept axes first and the reduced axes last.
pub(super) fn reduction_source(from: Memory, operand: Value, axes: &[usize]) -> Expression {
    let shape = from.graph.shape(operand);
    let strides = shape.strides();
    let outer = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order = outer.chain(axes.iter().copied());
    let view = View::new(order.map(|axis| Axis::plain(shape[axis], strides[axis])), 0);
    let mut builder = Builder::new(from, None);
    let at = builder.index(0, view, shape.elements());
    builder.finish(operand, at, None)
}

/// The largest part of an expression that a separate launch can compute from a limited number of inputs.
pub(super) fn part_to_keep(from: Memory, root: Value, room: usize) -> Value {
    let graph = from.graph;
    let mut best: Option<(usize, Value)> = None;
    let mut seen: HashSet<Value> = HashSet::new();
    let mut open: Vec<Value> = graph.node(root).operands.clone();
    while let Some(value) = open.pop() {
        let value = storage(graph, value);
        if from.kept[value.0] || !seen.insert(value) {
            continue;
        }
        let mut builder = Builder::new(from, None);
        builder.most = room;
        let inputs = builder.finish(value, 0, Some(value)).inputs.len();
        if !only_moves(&graph.node(value).op) && inputs <= room {
            if best.is_none_or(|(most, _)| inputs > most) {
                best = Some((inputs, value));
            }
            // Parts of this expression have no more inputs.
            continue;
        }
        open.extend(&graph.node(value).operands);
    }
    // An expression of more inputs than a launch binds has an operand below its root that is computed: a concat takes
    // no more operands than there is room for, all other ops take at most two.
    best.map_or(root, |(_, value)| value)
}

/// A hash that equal instructions share.
fn hash_of(instruction: &Instruction) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(instruction).hash(&mut hasher);
    match instruction {
        Instruction::Position | Instruction::Accumulator => {}
        Instruction::Index { from, view } | Instruction::Inside { from, view } => (from, view).hash(&mut hasher),
        Instruction::Load { input, at } => (input, at).hash(&mut hasher),
        Instruction::Reduced(phase) => phase.hash(&mut hasher),
        // Both zeros are equal.
        Instruction::Literal(number) => (number + 0.0).to_bits().hash(&mut hasher),
        Instruction::Number(register) => register.hash(&mut hasher),
        Instruction::Unary(op, x) => (op, x).hash(&mut hasher),
        Instruction::Binary(op, x, y) => (op, x, y).hash(&mut hasher),
        Instruction::Select { mask, value } => (mask, value).hash(&mut hasher),
    }
    hasher.finish()
}

/// Builds an expression.
pub(super) struct Builder<'a> {
    from: Memory<'a>,
    /// For an epilogue: its product, and the claim of the product.
    product: Option<(Value, &'a Claim)>,
    /// The value that is computed, and so not loaded, although it is kept.
    root: Option<Value>,
    instructions: Vec<Instruction>,
    /// The instructions by hash.
    found: HashMap<u64, Vec<Register>>,
    inputs: Vec<Value>,
    numbers: HashMap<Value, usize>,
    known: HashMap<(Value, Register), Register>,
    phases: Vec<Phase>,
    /// The number of each reduction's phase.
    reduced: HashMap<Value, usize>,
    /// Number of inputs beyond which building stops, because the expression is of no use.
    most: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(from: Memory<'a>, product: Option<(Value, &'a Claim)>) -> Builder<'a> {
        Builder {
            from,
            product,
            root: None,
            instructions: vec![Instruction::Position],
            found: HashMap::new(),
            inputs: vec![],
            numbers: HashMap::new(),
            known: HashMap::new(),
            phases: vec![],
            reduced: HashMap::new(),
            most: usize::MAX,
        }
    }

    /// The expression of a value's element `at`. The value `root` is computed although it is kept.
    pub(super) fn finish(mut self, value: Value, at: Register, root: Option<Value>) -> Expression {
        self.root = root;
        self.value(value, at);
        self.end()
    }

    /// Finishes the expression.
    pub(super) fn end(self) -> Expression {
        let program = Program { instructions: self.instructions, inputs: self.inputs.len(), phases: self.phases };
        let mut visited: Vec<Value> = self.known.into_keys().map(|(value, _)| value).collect();
        visited.sort_unstable();
        visited.dedup();
        Expression { program, inputs: self.inputs, visited }
    }

    /// Whether the product's epilogue computes a value.
    fn computes(&self, value: Value) -> bool {
        self.product.is_some_and(|(anchor, claim)| anchor == value || claim.place(value).is_some())
    }

    fn push(&mut self, instruction: Instruction) -> Register {
        // `known` prevents the repetition of values; this prevents that of indices and literals.
        let alike = self.found.entry(hash_of(&instruction)).or_default();
        if let Some(register) = alike.iter().find(|register| self.instructions[**register] == instruction) {
            return *register;
        }
        alike.push(self.instructions.len());
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    pub(super) fn index(&mut self, from: Register, view: View, elements: usize) -> Register {
        if view.is_identity(elements) {
            return from;
        }
        match &self.instructions[from] {
            // A transposition and its inverse cancel.
            Instruction::Index { from, view: there } if view.undoes(there) => *from,
            _ => self.push(Instruction::Index { from, view }),
        }
    }

    /// The register that holds element `at` of `value`.
    pub(super) fn value(&mut self, value: Value, at: Register) -> Register {
        if let Some(register) = self.known.get(&(value, at)) {
            return *register;
        }
        if self.inputs.len() > self.most {
            return at;
        }
        let node = self.from.graph.node(value);
        let register = if self.product.is_some_and(|(anchor, _)| anchor == value) {
            self.push(Instruction::Accumulator)
        } else if self.computes(value) && matches!(node.op, Op::Permute(_)) {
            // The claim's place has moved the element already; its value is that of the operand's element.
            self.value(node.operands[0], 0)
        } else if self.from.kept[value.0] && Some(value) != self.root && !self.computes(value) {
            let input = *self.numbers.entry(value).or_insert_with(|| {
                self.inputs.push(value);
                self.inputs.len() - 1
            });
            self.push(Instruction::Load { input, at })
        } else if let (Some((permuted, view)), false) = (self.from.aliases.get(&value), self.computes(value)) {
            self.viewed(*permuted, view.clone(), at, node.shape.elements())
        } else if let Op::Reduce { reduction, .. } = &node.op {
            // A phase reduces the row that contains this element.
            if !self.reduced.contains_key(&value) {
                let operand = self.value(node.operands[0], 0);
                self.phases.push(Phase { reduction: *reduction, value: operand });
                self.reduced.insert(value, self.phases.len() - 1);
            }
            self.push(Instruction::Reduced(self.reduced[&value]))
        } else {
            self.compute(&node.op, &node.operands, &node.shape, at)
        };
        self.known.insert((value, at), register);
        register
    }

    /// The register that holds the element of `value` to which a view of `elements` elements maps index `at`.
    fn viewed(&mut self, value: Value, view: View, at: Register, elements: usize) -> Register {
        let at = self.index(at, view, elements);
        self.value(value, at)
    }

    fn compute(&mut self, op: &Op, operands: &[Value], shape: &Shape, at: Register) -> Register {
        let elements = shape.elements();
        match op {
            Op::Constant(number) => self.push(Instruction::Literal(*number)),
            Op::Iota => self.push(Instruction::Number(at)),
            Op::Unary(op) => {
                let x = self.value(operands[0], at);
                self.push(Instruction::Unary(*op, x))
            }
            Op::Binary(op) => {
                let x = self.value(operands[0], at);
                let y = self.value(operands[1], at);
                self.push(Instruction::Binary(*op, x, y))
            }
            Op::Reshape => self.value(operands[0], at),
            Op::Broadcast => {
                let view = broadcast_view(self.from.graph.shape(operands[0]), shape);
                self.viewed(operands[0], view, at, elements)
            }
            Op::Permute(order) => {
                let strides = self.from.graph.shape(operands[0]).strides();
                let axes = (0..shape.len()).map(|axis| Axis::plain(shape[axis], strides[order[axis]]));
                self.viewed(operands[0], View::new(axes, 0), at, elements)
            }
            Op::Slice { start } => {
                let strides = self.from.graph.shape(operands[0]).strides();
                let offset = start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
                let axes = (0..shape.len()).map(|axis| Axis::plain(shape[axis], strides[axis]));
                self.viewed(operands[0], View::new(axes, offset), at, elements)
            }
            Op::Pad { before } => self.padded(operands[0], before, shape, at),
            Op::Concat { axis } => {
                // The sum of all operands, each padded to the whole.
                let mut before = vec![0; shape.len()];
                let mut sum = None;
                for operand in operands {
                    let part = self.padded(*operand, &before, shape, at);
                    before[*axis] += self.from.graph.shape(*operand)[*axis];
                    sum = Some(match sum {
                        Some(sum) => self.push(Instruction::Binary(Binary::Add, sum, part)),
                        None => part,
                    });
                }
                // The graph refuses a concat without operands.
                sum.unwrap_or(at)
            }
            // Results of all other ops are kept, and so loaded before this is reached.
            Op::Input { .. }
            | Op::Parameter { .. }
            | Op::MatMul { .. }
            | Op::Conv2d(_)
            | Op::Conv2dGradInput(_)
            | Op::Conv2dGradWeight(_)
            | Op::Pool(..)
            | Op::Reduce { .. }
            | Op::Gather
            | Op::ScatterAdd
            | Op::Warp
            | Op::Custom(_)
            | Op::Indices { .. }
            | Op::TopK { .. }
            | Op::Lstm(_)
            | Op::Gru(_)
            | Op::LinearRecurrence { .. }
            | Op::RandomUniform { .. }
            | Op::RandomBits { .. }
            | Op::Batch => at,
        }
    }

    /// An element of an operand that is padded to `shape`, `before` elements before its first one along each axis.
    fn padded(&mut self, operand: Value, before: &[usize], shape: &Shape, at: Register) -> Register {
        let from = self.from.graph.shape(operand);
        let strides = from.strides();
        let axes = (0..shape.len()).map(|axis| Axis {
            size: shape[axis],
            stride: strides[axis],
            before: before[axis],
            inner: from[axis],
        });
        let view = View::new(axes, 0);
        if !view.is_padded() {
            return self.value(operand, at);
        }
        let mask = self.push(Instruction::Inside { from: at, view: view.clone() });
        let index = self.push(Instruction::Index { from: at, view });
        let value = self.value(operand, index);
        self.push(Instruction::Select { mask, value })
    }
}
