//! Lowering: from fused groups to launches, and from launches to a plan with memory.

mod launch;
mod pair;
mod reductions;
mod request;
mod segments;
mod transients;
mod update;

use self::launch::{Home, Launch, Operand, Segment, lasting};
pub use self::request::Request;
use super::buffers::PARAMETERS;
use super::channels_last::is_rearranged;
use super::fusion::{Group, operands, storage};
use super::kernels::{Fusion, Kernel};
use super::memory::{ALIGNMENT, ParameterLayout, Transient, aligned};
use super::plan::{Buffer, Outcome, OwnKernel};
use super::products::ProductSizes;
use super::program::{Instruction, Program};
use super::state::RING_CAPACITY;
use super::target::Target;
use super::training::Metrics;
use crate::error::Result;
use crate::graph::{Direction, Graph, Op, Pool, Pooling, Value};
use crate::plan::LayoutEntry;
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};

/// Invocations that keep a large device busy: long reductions are split until there are about this many.
const BUSY: usize = 1 << 14;

struct Lowering<'a> {
    graph: &'a Graph,
    target: &'a Target,
    buffers: Vec<Buffer>,
    homes: HashMap<Value, Home>,
    transients: Vec<Transient>,
    launches: Vec<Launch>,
    /// For each result of the plan, the number of places that take it and of launches that read it.
    uses: HashMap<Value, usize>,
    /// Results that are copied to a home at the end.
    copied: Vec<(Value, Home)>,
    /// Gradients that only the optimiser reads, with their parameter's index in the layout.
    gradients: HashMap<Value, usize>,
    segments: HashMap<usize, Segment>,
    gradient_elements: usize,
    /// A scalar that only the step's metrics read: its partial sums are not joined.
    metric: Option<Value>,
    metric_parts: Option<Operand>,
    /// Values that are stored in 16 bits.
    halves: HashSet<Value>,
    /// Homes of the parameters' 16-bit copies.
    copies: HashMap<Value, Home>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, target: &'a Target, uses: HashMap<Value, usize>, halves: HashSet<Value>) -> Lowering<'a> {
        Lowering {
            graph,
            target,
            buffers: vec![],
            homes: HashMap::new(),
            transients: vec![],
            launches: vec![],
            uses,
            copied: vec![],
            gradients: HashMap::new(),
            segments: HashMap::new(),
            gradient_elements: 0,
            metric: None,
            metric_parts: None,
            halves,
            copies: HashMap::new(),
        }
    }

    /// The index of the buffer of this name, which is made or enlarged as needed.
    fn buffer(&mut self, name: &str, dtype: DType, elements: usize) -> usize {
        let known = self.buffers.iter().position(|buffer| buffer.name == name);
        let index = known.unwrap_or_else(|| {
            self.buffers.push(Buffer::lasting(name, dtype));
            self.buffers.len() - 1
        });
        self.buffers[index].elements = self.buffers[index].elements.max(elements);
        index
    }

    /// A lasting buffer as an operand.
    fn lasting(&mut self, name: &str, dtype: DType, shape: impl Into<Shape>) -> Operand {
        let shape = shape.into();
        lasting(self.buffer(name, dtype, shape.elements()), 0, shape, dtype)
    }

    /// A constant table of words.
    fn table(&mut self, name: &str, content: Vec<u32>) -> Operand {
        let words = content.len();
        let buffer = self.buffer(name, DType::U32, words);
        self.buffers[buffer].content = content;
        lasting(buffer, 0, [words], DType::U32)
    }

    /// The buffer of the parameters, or of `times` copies of their layout, one after the other.
    fn laid_out(&mut self, name: &str, layout: &ParameterLayout, times: usize) -> usize {
        let buffer = self.buffer(name, DType::Float, (times * layout.elements()).max(ALIGNMENT));
        let rearranged = (0..times).flat_map(|number| {
            let entries = layout.entries().iter().filter(|entry| is_rearranged(&entry.shape));
            entries.map(move |LayoutEntry { shape, offset, .. }| {
                (number * layout.elements() + offset, [shape[0], shape[1], shape[2], shape[3]])
            })
        });
        self.buffers[buffer].rearranged = rearranged.collect();
        buffer
    }

    /// Gives inputs and parameters their homes. `index_of` says where a parameter is in the layout, and may fail.
    fn place_sources(&mut self, layout: &ParameterLayout, index_of: impl Fn(&str) -> Result<usize>) -> Result<()> {
        let mut parameters = None;
        for (index, node) in self.graph.nodes().iter().enumerate() {
            let home = if let Op::Input { name } = &node.op {
                Home::Lasting { buffer: self.buffer(name, node.dtype, node.shape.elements()), offset: 0 }
            } else if let Op::Parameter { name } = &node.op {
                let offset = layout.entries()[index_of(name)?].offset;
                let buffer = *parameters.get_or_insert_with(|| self.laid_out(PARAMETERS, layout, 1));
                Home::Lasting { buffer, offset }
            } else {
                continue;
            };
            self.homes.insert(Value(index), home);
        }
        Ok(())
    }

    fn transient(&mut self, elements: usize, dtype: DType) -> Home {
        self.transients.push(Transient { elements, dtype, first: usize::MAX, last: 0, inputs: vec![] });
        Home::Transient(self.transients.len() - 1)
    }

    /// A transient of floats as an operand.
    fn floats(&mut self, shape: impl Into<Shape>) -> Operand {
        let shape = shape.into();
        (self.transient(shape.elements(), DType::Float), shape, DType::Float)
    }

    /// Makes a place among the gradients for `parts` partial sums of a parameter's gradient.
    fn segment(&mut self, parameter: usize, elements: usize, parts: usize) -> Home {
        let segment = Segment { offset: self.gradient_elements, parts, stride: aligned(elements) };
        self.gradient_elements += parts * segment.stride;
        self.segments.insert(parameter, segment);
        let buffer = self.buffer("gradients", DType::Float, self.gradient_elements);
        Home::Lasting { buffer, offset: segment.offset }
    }

    /// A kept value as an operand; the value gets a home if it has none.
    fn slot(&mut self, value: Value) -> Operand {
        let node = self.graph.node(value);
        let place = storage(self.graph, value);
        let dtype = if self.halves.contains(&place) { DType::Half } else { node.dtype };
        let shape = node.shape.clone();
        if !self.homes.contains_key(&place) {
            let home = match self.gradients.get(&place) {
                Some(parameter) => self.segment(*parameter, shape.elements(), 1),
                None => self.transient(shape.elements(), dtype),
            };
            self.homes.insert(place, home);
        }
        (self.homes[&place].clone(), shape, dtype)
    }

    /// A value as a product's operand: the 16-bit copy of a parameter that has one.
    fn operand(&mut self, value: Value) -> Operand {
        match self.copies.get(&storage(self.graph, value)) {
            Some(home) => (home.clone(), self.graph.shape(value).clone(), DType::Half),
            None => self.slot(value),
        }
    }

    /// An operand for `parts` partial sums of a value, `stride` elements apart, and whether a launch must join them.
    fn partial(&mut self, value: Value, parts: usize, stride: usize) -> (Operand, bool) {
        let place = storage(self.graph, value);
        if let Some(parameter) = self.gradients.get(&place).copied()
            && !self.target.without.joined_updates
        {
            let home = self.segment(parameter, self.graph.shape(value).elements(), parts);
            self.homes.insert(place, home.clone());
            return ((home, [parts, stride].into(), DType::Float), false);
        }
        let operand = self.floats([parts, stride]);
        if self.metric == Some(place) && self.graph.shape(value).elements() == 1 && stride == 1 {
            self.metric_parts = Some(operand.clone());
            return (operand, false);
        }
        (operand, true)
    }

    /// Adds a launch without outcomes and fused expression.
    fn push(&mut self, kernel: Kernel, constants: &[usize], operands: Vec<Operand>, operations: usize, label: &str) {
        self.launches.push(Launch::new(kernel, constants, operands, operations, label));
    }

    /// Adds the launch that copies a value to a home.
    fn copy(&mut self, value: Value, home: Home) {
        let from = self.slot(value);
        let to = (home, from.1.clone(), self.graph.node(value).dtype);
        let mut launch = Launch::new(Kernel::Map, &[from.1.elements()], vec![to, from], 0, "copy");
        let instructions = vec![Instruction::Position, Instruction::Load { input: 0, at: 0 }];
        launch.step.program = Some(Program { instructions, inputs: 1, phases: vec![] });
        self.launches.push(launch);
    }

    /// Adds the launches of a fused group.
    fn launch(&mut self, group: &Group) {
        let graph = self.graph;
        let node = graph.node(group.anchor);
        let shape = |operand: usize| graph.shape(node.operands[operand]);
        let elements = node.shape.elements();
        let kernel = group.kernel(graph);
        if let Some([rows, length]) = group.rows {
            return self.plain(group, kernel, &[rows, length], 0);
        }
        match &node.op {
            Op::MatMul { transpose_lhs, transpose_rhs } => {
                let sizes = ProductSizes::matmul(shape(0), shape(1), *transpose_lhs, *transpose_rhs);
                self.product(group, kernel, [0, 1], &sizes);
            }
            Op::Conv2d(window) => {
                let sizes = ProductSizes::forward(*window, shape(0), shape(1), &node.shape);
                self.product(group, kernel, [1, 0], &sizes);
            }
            Op::Conv2dGradInput(window) => {
                let sizes = ProductSizes::grad_input(*window, &node.shape, shape(1), shape(0));
                self.product(group, kernel, [1, 0], &sizes);
            }
            Op::Conv2dGradWeight(window) => {
                let sizes = ProductSizes::grad_weight(*window, shape(0), &node.shape, shape(1));
                self.product(group, kernel, [1, 0], &sizes);
            }
            Op::Pool(pool, pooling) => self.pool(group, *pool, pooling),
            Op::Reduce { .. } if kernel == Kernel::ColumnSums => self.column_sums(group),
            Op::Reduce { .. } => self.reduction(group, kernel),
            Op::Gather | Op::ScatterAdd => {
                let table = if node.op == Op::Gather { shape(0) } else { &node.shape };
                self.plain(group, kernel, &[table[0], shape(1)[0], table.elements() / table[0]], 0);
            }
            Op::Warp => self.plain(group, kernel, &node.shape, 30 * elements),
            Op::Custom(own) => {
                let values = std::iter::once(&group.anchor).chain(&node.operands);
                let operands: Vec<Operand> = values.map(|value| self.slot(*value)).collect();
                let shapes = operands.iter().map(|(_, shape, _)| shape.clone()).collect();
                let mut launch = self.new_launch(group, kernel, &[elements], operands, 0);
                launch.step.own = Some(OwnKernel { kernel: own.clone(), shapes });
                self.launches.push(launch);
            }
            Op::Indices { limit } => self.plain(group, kernel, &[elements, *limit], 0),
            Op::TopK { count } => {
                let length = node.shape.last().copied().unwrap_or(1);
                self.plain(group, kernel, &[elements / length, length, *count], 0);
            }
            Op::Lstm(direction) | Op::Gru(direction) | Op::LinearRecurrence { direction, .. } => {
                self.recurrence(group, kernel, *direction);
            }
            Op::Batch => self.plain(group, kernel, &[shape(0)[0], node.shape[0], elements / node.shape[0]], 0),
            Op::RandomUniform { stream } | Op::RandomBits { stream } => {
                self.plain(group, kernel, &[elements, *stream as usize], 0);
            }
            Op::Constant(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Input { .. }
            | Op::Parameter { .. } => self.plain(group, kernel, &[elements], 0),
        }
    }

    /// Adds the launch of a pooling.
    fn pool(&mut self, group: &Group, pool: Pool, pooling: &Pooling) {
        let node = self.graph.node(group.anchor);
        let (from, to) = (self.graph.shape(node.operands[0]), &node.shape);
        let (large, small) = if pool.enlarges() { (to, from) } else { (from, to) };
        let Pooling { kernel: window, stride, padding, dilation, ceil: _ } = pooling;
        let sizes = [large[0], large[3], large[1], large[2], small[1], small[2]];
        let constants: Vec<usize> =
            sizes.iter().chain(window).chain(stride).chain(padding).chain(dilation).copied().collect();
        let operations = match *pooling {
            Pooling::ADAPTIVE => large.elements().max(small.elements()),
            _ => small.elements() * window[0] * window[1],
        };
        self.plain(group, group.kernel(self.graph), &constants, operations);
    }

    /// Adds the launch of a recurrence.
    fn recurrence(&mut self, group: &Group, kernel: Kernel, direction: Direction) {
        let node = self.graph.node(group.anchor);
        let weight = self.graph.shape(node.operands[1]);
        let (hidden, width) = (weight[0].min(weight[1]), weight[0].max(weight[1]));
        let [n, t] = [node.shape[0], node.shape[1]];
        let shared = if kernel == Kernel::LinearBackward { width } else { hidden };
        let workgroup = hidden.next_multiple_of(64).min(256);
        let backward = usize::from(direction == Direction::Backward);
        let constants = [n, t, hidden, width / hidden, shared, workgroup, backward];
        self.plain(group, kernel, &constants, 2 * n * t * hidden * width);
    }

    /// Adds a launch whose results are whole. `operations` counts the kernel's; those of its expression are added.
    fn plain(&mut self, group: &Group, kernel: Kernel, constants: &[usize], operations: usize) {
        let narrowed = kernel.row().halves;
        let values = operands(self.graph, group).iter();
        let slot = |value: &Value| if narrowed { self.operand(*value) } else { self.slot(*value) };
        let operands = values.map(slot).collect();
        let launch = self.new_launch(group, kernel, constants, operands, operations + self.arithmetic(group));
        self.outcomes(group, launch, [1, 1]);
    }

    /// Floating-point operations of a group's expression for all elements of the anchor.
    fn arithmetic(&self, group: &Group) -> usize {
        group.operations() * self.graph.shape(group.anchor).elements()
    }

    fn new_launch(
        &self,
        group: &Group,
        kernel: Kernel,
        constants: &[usize],
        operands: Vec<Operand>,
        operations: usize,
    ) -> Launch {
        let value = group.results.first().map_or(group.anchor, |(value, _)| *value);
        let mut launch = Launch::new(kernel, constants, operands, operations, &self.graph.node(value).name);
        launch.step.program.clone_from(&group.program);
        launch
    }

    /// Adds the launch of a matrix product or convolution. `sides` are the numbers of the anchor's operands that are
    /// the product's left and right side.
    fn product(&mut self, group: &Group, kernel: Kernel, sides: [usize; 2], sizes: &ProductSizes) {
        let values = &self.graph.node(group.anchor).operands;
        let operands = sides.map(|side| self.operand(values[side])).to_vec();
        let half = operands.iter().any(|(.., dtype)| *dtype == DType::Half);
        // Only a whole sum can go through an epilogue; and partial sums that nobody joins in passing cost a launch.
        let joined = |value: &Value| self.gradients.contains_key(&storage(self.graph, *value));
        let worth = kernel == Kernel::Conv2dGradWeight || group.results.iter().any(|(value, _)| joined(value));
        let allowed = !self.target.without.splits && group.program.is_none() && worth;
        let (tile, splits) = sizes.tiling(self.target, kernel, half, allowed);
        let totals = group.results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Total(_)));
        let stride = aligned(self.graph.shape(group.anchor).elements());
        let mut launch = self.new_launch(group, kernel, &[], operands, sizes.operations + self.arithmetic(group));
        launch.step.constants = sizes.constants(&tile, splits, stride, totals && self.target.shares_sums());
        self.outcomes(group, launch, [splits.0, stride]);
    }

    /// Adds a launch with the operands of its outcomes and of its expression's inputs, then the launches that join
    /// partial sums: the launch makes `count` partial results of every element, `stride` elements apart.
    fn outcomes(&mut self, group: &Group, mut launch: Launch, [count, stride]: [usize; 2]) {
        let mut joins: Vec<(Value, Operand, [usize; 2])> = Vec::new();
        let fused = launch.step.kernel.row().fusion == Fusion::Epilogue;
        // The parts of a total are as many as invocations, which the slots do not change.
        let parts = launch.step.parts();
        for (value, outcome) in &group.results {
            let splits = match outcome {
                Outcome::Element { .. } => [count, stride],
                Outcome::Total(_) => [parts, 1],
            };
            let operand = if splits[0] > 1 {
                let (operand, join) = self.partial(*value, splits[0], splits[1]);
                if join {
                    joins.push((*value, operand.clone(), splits));
                }
                operand
            } else {
                self.slot(*value)
            };
            launch.operands.push(operand);
            if fused {
                launch.step.outcomes.push(outcome.clone());
            }
        }
        launch.operands.extend(group.inputs.iter().map(|input| self.slot(*input)));
        self.launches.push(launch);
        for (value, from, splits) in joins {
            self.join(Kernel::Sum, value, from, splits);
        }
    }

    /// Adds the launch that records a step's metrics and advances the state.
    fn advance(&mut self, metrics: &Metrics, values: Value, state: Value) {
        let count = self.graph.shape(values).elements();
        let (values, parts) = match self.metric_parts.clone() {
            Some(operand) => (operand.clone(), operand.1.elements()),
            None => (self.slot(values), 1),
        };
        let ring = self.lasting(&metrics.ring, DType::Float, [RING_CAPACITY, count]);
        let operands = vec![values, ring, self.slot(state)];
        self.push(Kernel::Advance, &[count, parts, RING_CAPACITY, metrics.samples], operands, 0, "state");
    }
}
