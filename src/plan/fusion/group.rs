//! Groups of fused values, one for each launch: their kernels and operands.

use crate::graph::{Graph, Op, Pool, Reduction, Value};
use crate::plan::kernels::Kernel;
use crate::plan::plan::Outcome;
use crate::plan::program::Program;
use crate::tensor::DType;

/// The values that one launch computes, and the values that it reads.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Group {
    /// The value whose kernel the launch runs.
    pub anchor: Value,
    /// The fused expression, if any.
    pub program: Option<Program>,
    /// The kept values that the program's inputs are.
    pub inputs: Vec<Value>,
    /// The kept values that the launch computes, and how.
    pub results: Vec<(Value, Outcome)>,
    /// Rows and their length, where the expression reduces rows before it computes them.
    pub rows: Option<[usize; 2]>,
}

impl Group {
    /// The launch's kernel.
    pub fn kernel(&self, graph: &Graph) -> Kernel {
        if self.rows.is_some() { Kernel::Rows } else { kernel_of(graph, self.anchor) }
    }

    /// Arithmetic instructions of the fused expression for one element.
    pub fn operations(&self) -> usize {
        self.program.as_ref().map_or(0, Program::operations)
    }
}

/// The value whose memory a value shares: a reshape shares that of its operand.
pub(in crate::plan) fn storage(graph: &Graph, mut value: Value) -> Value {
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
        Op::Pool(Pool::Sum, _) => Kernel::SumPool,
        Op::Pool(Pool::SumSpread, _) => Kernel::SumPoolSpread,
        Op::Pool(Pool::Max, _) => Kernel::MaxPool,
        Op::Pool(Pool::MaxSpread, _) => Kernel::MaxPoolSpread,
        Op::Pool(Pool::Linear, _) => Kernel::LinearResize,
        Op::Pool(Pool::LinearSpread, _) => Kernel::LinearResizeSpread,
        Op::Reduce { reduction: Reduction::Sum, axes }
            if axes.iter().copied().eq(0..axes.len()) && !node.shape.is_empty() =>
        {
            Kernel::ColumnSums
        }
        Op::Reduce { reduction: Reduction::Sum, .. } => Kernel::Sum,
        Op::Reduce { reduction: Reduction::Max, .. } => Kernel::Max,
        Op::Gather => Kernel::Gather,
        Op::ScatterAdd => Kernel::ScatterAdd,
        Op::Warp => Kernel::Warp,
        Op::Custom(_) => Kernel::Custom,
        Op::Indices { .. } => Kernel::Indices,
        Op::TopK { .. } => Kernel::TopK,
        Op::Lstm(_) => Kernel::Lstm,
        Op::Gru(_) => Kernel::Gru,
        Op::LinearRecurrence { transposed: false, .. } => Kernel::LinearForward,
        Op::LinearRecurrence { transposed: true, .. } => Kernel::LinearBackward,
        Op::RandomUniform { .. } => Kernel::RandomUniform,
        Op::RandomBits { .. } => Kernel::RandomBits,
        Op::Batch if graph.node(node.operands[0]).dtype == DType::U8 => Kernel::BatchBytes,
        Op::Batch => Kernel::BatchFloats,
        // Sources are never computed; the copy of one to an output is a map.
        Op::Input { .. } | Op::Parameter { .. } => Kernel::Map,
        Op::Constant(_)
        | Op::Iota
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

/// Whether an op only moves data, so that repeating it is cheaper than keeping its result.
pub(super) fn only_moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Constant(_) | Op::Iota | Op::Broadcast | Op::Permute(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Reshape
    )
}

/// Whether an op can be computed inside another launch.
pub(in crate::plan) fn is_fusible(op: &Op) -> bool {
    only_moves(op) || matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Concat { .. })
}

/// The values that a launch reads from memory: its kernel's operands, then its expression's inputs.
pub(in crate::plan) fn reads(graph: &Graph, group: &Group) -> Vec<Value> {
    operands(graph, group).iter().chain(&group.inputs).map(|value| storage(graph, *value)).collect()
}

/// The values that a launch's kernel reads, apart from its expression's inputs.
pub(in crate::plan) fn operands<'a>(graph: &'a Graph, group: &Group) -> &'a [Value] {
    let node = graph.node(group.anchor);
    if is_fusible(&node.op) || matches!(node.op, Op::Reduce { .. }) { &[] } else { &node.operands }
}

/// The number of rows and their length, where a value reduces the last axes of its operand.
pub(super) fn trailing_reduction(graph: &Graph, value: Value) -> Option<[usize; 2]> {
    let node = graph.node(value);
    let Op::Reduce { axes, .. } = &node.op else { return None };
    let shape = graph.shape(node.operands[0]);
    let rows = node.shape.elements();
    let last = axes.iter().copied().eq(shape.len() - axes.len()..shape.len());
    (last && rows > 1).then_some([rows, shape.elements() / rows])
}
