//! Fusion: which values are kept in memory, and the expression that computes each of them from others that are.
//!
//! Elementwise and data-moving ops have no memory of their own unless several readers, an output or a product need it.
//! They are computed inside the launch that reads them: as its source (maps and reductions), or as the epilogue of the
//! product that feeds them.

use super::kernel::{Fusion, Kernel};
use super::program::{Axis, Instruction, Program, Register, View};
use crate::graph::{Graph, Op, Reduction, Value};
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::HashMap;

/// How every kept value is computed.
pub(super) struct Fused {
    /// For each value that is kept and not a source: its expression, where it has one.
    pub expressions: HashMap<Value, Expression>,
    /// Kept values, in an order in which they can be computed. Those absorbed by another's launch are not among them.
    pub order: Vec<Value>,
}

/// A fused expression and where its inputs come from.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub program: Program,
    /// The kept values that the program's inputs are.
    pub inputs: Vec<Value>,
    /// The product whose epilogue this is.
    pub accumulator: Option<Value>,
}

/// The value whose memory this one shares: reshapes are only another view of it.
pub(super) fn storage(graph: &Graph, mut value: Value) -> Value {
    while graph.node(value).op == Op::Reshape {
        value = graph.node(value).operands[0];
    }
    value
}

/// The kernel that computes a kept value.
pub(super) fn kernel_of(graph: &Graph, value: Value) -> Kernel {
    let node = graph.node(value);
    match &node.op {
        Op::MatMul { .. } => Kernel::MatMul,
        Op::Conv2d(_) => Kernel::Conv2d,
        Op::Conv2dGradInput(_) => Kernel::Conv2dGradInput,
        Op::Conv2dGradWeight(_) => Kernel::Conv2dGradWeight,
        Op::Reduce { reduction: Reduction::Sum, .. } => Kernel::Sum,
        Op::Reduce { reduction: Reduction::Max, .. } => Kernel::Max,
        Op::Gather => Kernel::Gather,
        Op::ScatterAdd => Kernel::ScatterAdd,
        Op::RandomUniform { .. } => Kernel::RandomUniform,
        Op::RandomBits { .. } => Kernel::RandomBits,
        Op::Batch if graph.node(node.operands[0]).dtype == DType::U8 => Kernel::BatchBytes,
        Op::Batch => Kernel::BatchFloats,
        // Sources are never computed; the copy of one to an output is a map.
        Op::Input { .. } | Op::Parameter { .. } => Kernel::Map,
        Op::Constant(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Broadcast
        | Op::Reshape
        | Op::Permute(_)
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concat { .. } => Kernel::Map,
    }
}

/// Decides what is kept and fuses the rest, for the given outputs (storages, not reshapes).
pub(super) fn fuse(graph: &Graph, outputs: &[Value]) -> Fused {
    let readers = readers(graph, outputs);
    let mut kept = kept(graph, outputs, &readers);
    loop {
        match expressions(graph, outputs, &readers, &kept) {
            Ok(fused) => return fused,
            // An expression needs more inputs than a launch binds: keep this part of it and try again.
            Err(part) => kept[part.0] = true,
        }
    }
}

/// Ops that compute nothing: repeating them is cheaper than keeping their result.
fn only_moves(op: &Op) -> bool {
    matches!(op, Op::Constant(_) | Op::Broadcast | Op::Permute(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Reshape)
}

/// Ops that can be computed inside another launch.
fn is_fusible(op: &Op) -> bool {
    only_moves(op) || matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Concat { .. })
}

/// For each value needed: how many launches or expressions read it, an output's place counting as one. Zero: not needed.
fn readers(graph: &Graph, outputs: &[Value]) -> Vec<usize> {
    let mut readers = vec![0usize; graph.nodes().len()];
    for output in outputs {
        readers[output.0] += 1;
    }
    for index in (0..graph.nodes().len()).rev() {
        let node = &graph.nodes()[index];
        if readers[index] == 0 {
            continue;
        }
        // What only moves data is repeated in each of its readers, so its operand is read as often as it is.
        let times = if only_moves(&node.op) { readers[index] } else { 1 };
        let mut seen: Vec<Value> = Vec::new();
        for operand in &node.operands {
            if !seen.contains(operand) {
                seen.push(*operand);
                readers[operand.0] += times;
            }
        }
    }
    readers
}

fn kept(graph: &Graph, outputs: &[Value], readers: &[usize]) -> Vec<bool> {
    let mut kept: Vec<bool> = graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(index, node)| !is_fusible(&node.op) || (readers[index] > 1 && !only_moves(&node.op)))
        .collect();
    for output in outputs {
        kept[output.0] = true;
    }
    for (index, node) in graph.nodes().iter().enumerate().filter(|(index, _)| readers[*index] > 0) {
        // Products and gathers read memory, not expressions; reductions take an expression as their source.
        let reads_memory = !is_fusible(&node.op) && !matches!(node.op, Op::Reduce { .. });
        // A small value that is spread over a large one would be computed over and over.
        let spreads = node.op == Op::Broadcast;
        for operand in &node.operands {
            let operand = storage(graph, *operand);
            let computed = matches!(graph.node(operand).op, Op::Unary(_) | Op::Binary(_) | Op::Concat { .. });
            kept[operand.0] |= reads_memory || (spreads && computed);
        }
        debug_assert!(node.op != Op::Reshape || !kept[index] || outputs.contains(&Value(index)));
    }
    kept
}

fn expressions(graph: &Graph, outputs: &[Value], readers: &[usize], kept: &[bool]) -> Result<Fused, Value> {
    let mut expressions = HashMap::new();
    let mut absorbed = vec![false; kept.len()];
    let mut order = Vec::new();
    for index in (0..kept.len()).filter(|index| kept[*index] && readers[*index] > 0) {
        let value = Value(index);
        let node = graph.node(value);
        order.push(value);
        let expression = match &node.op {
            Op::Reduce { axes, .. } => Some(reduction_source(graph, kept, node.operands[0], axes)),
            op if is_fusible(op) => Some(Builder::new(graph, kept, Some(value)).finish(value, 0)),
            _ => None,
        };
        let Some(mut expression) = expression else { continue };
        if expression.inputs.len() > kernel_of(graph, value).row().fused_inputs {
            return Err(part_to_keep(graph, kept, value));
        }
        let producer = expression.inputs.iter().copied().filter(|input| {
            let kernel = kernel_of(graph, *input);
            matches!(node.op, Op::Unary(_) | Op::Binary(_))
                && !outputs.contains(input)
                && readers[input.0] == 1
                && kernel.row().fusion == Fusion::Epilogue
                && expression.inputs.len() - 1 <= kernel.row().fused_inputs
                && graph.shape(*input).elements() == node.shape.elements()
                && loads_only_in_place(&expression, *input)
        });
        if let Some(producer) = producer.max() {
            into_epilogue(&mut expression, producer);
            absorbed[producer.0] = true;
        }
        expressions.insert(value, expression);
    }
    order.retain(|value| !absorbed[value.0]);
    Ok(Fused { expressions, order })
}

/// Whether every load of an input reads the very element that is being computed.
fn loads_only_in_place(expression: &Expression, value: Value) -> bool {
    expression.program.instructions.iter().all(|instruction| match instruction {
        Instruction::Load { input, at } => expression.inputs[*input] != value || *at == 0,
        _ => true,
    })
}

/// Turns the loads of `producer` into its accumulator.
fn into_epilogue(expression: &mut Expression, producer: Value) {
    let Some(position) = expression.inputs.iter().position(|input| *input == producer) else { return };
    expression.inputs.remove(position);
    expression.program.inputs -= 1;
    expression.accumulator = Some(producer);
    for instruction in &mut expression.program.instructions {
        if let Instruction::Load { input, .. } = instruction {
            if *input == position {
                *instruction = Instruction::Accumulator;
            } else if *input > position {
                *input -= 1;
            }
        }
    }
}

/// The largest part of an expression that a launch of its own can compute.
fn part_to_keep(graph: &Graph, kept: &[bool], root: Value) -> Value {
    let mut best: Option<(usize, Value)> = None;
    let mut open: Vec<Value> = graph.node(root).operands.clone();
    while let Some(value) = open.pop() {
        let value = storage(graph, value);
        if kept[value.0] {
            continue;
        }
        let inputs = Builder::new(graph, kept, Some(value)).finish(value, 0).inputs.len();
        if !only_moves(&graph.node(value).op) && inputs <= 7 && best.is_none_or(|(most, _)| inputs > most) {
            best = Some((inputs, value));
        }
        open.extend(&graph.node(value).operands);
    }
    // An expression of more inputs than a launch binds has at least two operands below its root, one of which is
    // computed: concat takes six operands at most, all else takes two.
    best.map_or(root, |(_, value)| value)
}

/// The expression of a reduction's operand, its elements ordered by the kept axes first and the reduced axes last.
fn reduction_source(graph: &Graph, kept: &[bool], operand: Value, axes: &[usize]) -> Expression {
    let shape = graph.shape(operand);
    let strides = shape.strides();
    let outer = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order = outer.chain(axes.iter().copied());
    let view = View::new(order.map(|axis| Axis::plain(shape[axis], strides[axis])), 0);
    let mut builder = Builder::new(graph, kept, None);
    let at = builder.index(0, view, shape.elements());
    builder.finish(operand, at)
}

struct Builder<'a> {
    graph: &'a Graph,
    kept: &'a [bool],
    /// The value that is being computed, and so not loaded although it is kept.
    root: Option<Value>,
    instructions: Vec<Instruction>,
    inputs: Vec<Value>,
    known: HashMap<(Value, Register), Register>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, kept: &'a [bool], root: Option<Value>) -> Builder<'a> {
        Builder { graph, kept, root, instructions: vec![Instruction::Position], inputs: vec![], known: HashMap::new() }
    }

    fn finish(mut self, value: Value, at: Register) -> Expression {
        self.value(value, at);
        let program = Program { instructions: self.instructions, inputs: self.inputs.len() };
        Expression { program, inputs: self.inputs, accumulator: None }
    }

    fn push(&mut self, instruction: Instruction) -> Register {
        // Values are remembered by `known`; indices and literals are found again here.
        if let Some(register) = self.instructions.iter().position(|known| *known == instruction) {
            return register;
        }
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    fn index(&mut self, from: Register, view: View, elements: usize) -> Register {
        if view.is_identity(elements) { from } else { self.push(Instruction::Index { from, view }) }
    }

    /// The register that holds element `at` of `value`.
    fn value(&mut self, value: Value, at: Register) -> Register {
        if let Some(register) = self.known.get(&(value, at)) {
            return *register;
        }
        let node = self.graph.node(value);
        let register = if self.kept[value.0] && Some(value) != self.root {
            let input = self.inputs.iter().position(|input| *input == value).unwrap_or_else(|| {
                self.inputs.push(value);
                self.inputs.len() - 1
            });
            self.push(Instruction::Load { input, at })
        } else {
            self.compute(&node.op, &node.operands, &node.shape, at)
        };
        self.known.insert((value, at), register);
        register
    }

    fn compute(&mut self, op: &Op, operands: &[Value], shape: &Shape, at: Register) -> Register {
        let elements = shape.elements();
        match op {
            Op::Constant(number) => self.push(Instruction::Literal(*number)),
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
                let from = self.graph.shape(operands[0]);
                let strides = from.strides();
                let lead = shape.len() - from.len();
                let axes = (0..shape.len()).map(|axis| {
                    let repeated = axis < lead || from[axis - lead] == 1;
                    Axis::plain(shape[axis], if repeated { 0 } else { strides[axis - lead] })
                });
                let at = self.index(at, View::new(axes, 0), elements);
                self.value(operands[0], at)
            }
            Op::Permute(order) => {
                let strides = self.graph.shape(operands[0]).strides();
                let axes = (0..shape.len()).map(|axis| Axis::plain(shape[axis], strides[order[axis]]));
                let at = self.index(at, View::new(axes, 0), elements);
                self.value(operands[0], at)
            }
            Op::Slice { start } => {
                let strides = self.graph.shape(operands[0]).strides();
                let offset = start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
                let axes = (0..shape.len()).map(|axis| Axis::plain(shape[axis], strides[axis]));
                let at = self.index(at, View::new(axes, offset), elements);
                self.value(operands[0], at)
            }
            Op::Pad { before } => self.padded(operands[0], before, shape, at),
            Op::Concat { axis } => {
                // Each operand padded to the whole, and their sum.
                let mut before = vec![0; shape.len()];
                let mut sum = None;
                for operand in operands {
                    let part = self.padded(*operand, &before, shape, at);
                    before[*axis] += self.graph.shape(*operand)[*axis];
                    sum = Some(match sum {
                        Some(sum) => self.push(Instruction::Binary(crate::graph::Binary::Add, sum, part)),
                        None => part,
                    });
                }
                // The graph refuses a concat without operands.
                sum.unwrap_or(at)
            }
            // The rest is kept, and so loaded.
            Op::Input { .. }
            | Op::Parameter { .. }
            | Op::MatMul { .. }
            | Op::Conv2d(_)
            | Op::Conv2dGradInput(_)
            | Op::Conv2dGradWeight(_)
            | Op::Reduce { .. }
            | Op::Gather
            | Op::ScatterAdd
            | Op::RandomUniform { .. }
            | Op::RandomBits { .. }
            | Op::Batch => unreachable!("{} is always kept", op.name()),
        }
    }

    fn padded(&mut self, operand: Value, before: &[usize], shape: &Shape, at: Register) -> Register {
        let from = self.graph.shape(operand);
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
