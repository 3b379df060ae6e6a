//! Lowering: from fused groups to launches, and from launches to a plan with memory.

mod launch;
mod pair;
mod reductions;
mod request;
mod segments;
mod transients;
mod update;

use self::launch::{Home, Launch, Operand, Segment, step};
pub use self::request::Request;
use super::channels_last::is_rearranged;
use super::fusion::{Group, kernel_of, storage};
use super::kernel::Kernel;
use super::memory::{ALIGNMENT, ParameterLayout, aligned};
use super::plan::{Buffer, Outcome, OwnKernel};
use super::products::ProductSizes;
use super::program::{Instruction, Program};
use super::state::RING_CAPACITY;
use super::target::Target;
use super::training::Metrics;
use crate::error::Result;
use crate::graph::{Direction, Graph, Op, Pooling, Value};
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
    transients: Vec<(usize, DType)>,
    launches: Vec<Launch>,
    /// Gradients that only the optimiser reads, with their parameter's place in the layout.
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
    fn new(graph: &'a Graph, target: &'a Target, halves: HashSet<Value>) -> Lowering<'a> {
        Lowering {
            graph,
            target,
            buffers: vec![],
            homes: HashMap::new(),
            transients: vec![],
            launches: vec![],
            gradients: HashMap::new(),
            segments: HashMap::new(),
            gradient_elements: 0,
            metric: None,
            metric_parts: None,
            halves,
            copies: HashMap::new(),
        }
    }
}

impl Lowering<'_> {
    fn buffer(&mut self, name: &str, dtype: DType, elements: usize) -> usize {
        let known = self.buffers.iter().position(|buffer| buffer.name == name);
        let index = known.unwrap_or_else(|| {
            self.buffers.push(Buffer::lasting(name, dtype));
            self.buffers.len() - 1
        });
        self.buffers[index].elements = self.buffers[index].elements.max(elements);
        index
    }

    /// The buffer of the parameters, or of numbers with the parameters' layout.
    fn laid_out(&mut self, name: &str, layout: &ParameterLayout) -> usize {
        self.laid_out_times(name, layout, 1)
    }

    /// A buffer of `times` copies of the parameters' layout, one after the other.
    fn laid_out_times(&mut self, name: &str, layout: &ParameterLayout, times: usize) -> usize {
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

    fn place_sources(&mut self, layout: &ParameterLayout, place_of: impl Fn(&str) -> Result<usize>) -> Result<()> {
        let mut parameters = None;
        for (index, node) in self.graph.nodes().iter().enumerate() {
            let home = if let Op::Input { name } = &node.op {
                Home::Lasting { buffer: self.buffer(name, node.dtype, node.shape.elements()), offset: 0 }
            } else if let Op::Parameter { name } = &node.op {
                let offset = layout.entries()[place_of(name)?].offset;
                let buffer = *parameters.get_or_insert_with(|| self.laid_out("parameters", layout));
                Home::Lasting { buffer, offset }
            } else {
                continue;
            };
            self.homes.insert(Value(index), home);
        }
        Ok(())
    }

    fn transient(&mut self, elements: usize, dtype: DType) -> Home {
        self.transients.push((elements, dtype));
        Home::Transient(self.transients.len() - 1)
    }

    /// A parameter's place among the gradients, for `parts` partial sums.
    fn segment(&mut self, parameter: usize, elements: usize, parts: usize) -> (Home, Segment) {
        let segment = Segment { offset: self.gradient_elements, parts, stride: aligned(elements) };
        self.gradient_elements += parts * segment.stride;
        self.segments.insert(parameter, segment);
        let buffer = self.buffer("gradients", DType::Float, self.gradient_elements);
        (Home::Lasting { buffer, offset: segment.offset }, segment)
    }

    /// The slot of a kept value.
    fn slot(&mut self, value: Value) -> Operand {
        let node = self.graph.node(value);
        let place = storage(self.graph, value);
        let dtype = if self.halves.contains(&place) { DType::Half } else { node.dtype };
        let shape = node.shape.clone();
        let home = match self.homes.get(&place) {
            Some(home) => home.clone(),
            None => {
                let home = match self.gradients.get(&place) {
                    Some(parameter) => self.segment(*parameter, shape.elements(), 1).0,
                    None => self.transient(shape.elements(), dtype),
                };
                self.homes.insert(place, home.clone());
                home
            }
        };
        (home, shape, dtype)
    }

    /// The slot of a value that a product reads.
    fn operand(&mut self, value: Value) -> Operand {
        match self.copies.get(&storage(self.graph, value)) {
            Some(home) => (home.clone(), self.graph.shape(value).clone(), DType::Half),
            None => self.slot(value),
        }
    }

    /// A slot for partial sums of a value, `parts` of them `stride` elements apart, and whether a launch must join them.
    fn partial(&mut self, value: Value, parts: usize, stride: usize) -> (Operand, bool) {
        let place = storage(self.graph, value);
        let shape: Shape = [parts, stride].into();
        if let Some(parameter) = self.gradients.get(&place).copied()
            && !self.target.without.joined_updates
        {
            let (home, _) = self.segment(parameter, self.graph.shape(value).elements(), parts);
            self.homes.insert(place, home.clone());
            return ((home, shape, DType::Float), false);
        }
        let operand = (self.transient(parts * stride, DType::Float), shape, DType::Float);
        if self.metric == Some(place) && self.graph.shape(value).elements() == 1 && stride == 1 {
            self.metric_parts = Some(operand.clone());
            return (operand, false);
        }
        (operand, true)
    }

    fn copy(&mut self, value: Value, home: Home) {
        let (from, shape, dtype) = self.slot(value);
        let outside = self.graph.node(value).dtype;
        let program = Program {
            instructions: vec![Instruction::Position, Instruction::Load { input: 0, at: 0 }],
            inputs: 1,
            phases: vec![],
        };
        self.launches.push(Launch {
            kernel: Kernel::Map,
            constants: vec![shape.elements() as u32],
            slots: vec![(home, shape.clone(), outside), (from, shape, dtype)],
            outcomes: vec![],
            program: Some(program),
            own: None,
            label: "copy".to_owned(),
            operations: 0,
            joins_previous: false,
        });
    }

    fn launch(&mut self, group: &Group) {
        let graph = self.graph;
        let (anchor, node) = (group.anchor, graph.node(group.anchor));
        let operands = &node.operands;
        let shape = |value: Value| graph.shape(value);
        let elements = node.shape.elements();
        let program = group.program.as_ref();
        let arithmetic = program.map_or(0, |program| program.operations() * elements) as u64;
        let kernel = kernel_of(graph, anchor);
        if let Some([rows, length]) = group.rows {
            self.plain(group, Kernel::Rows, &[], vec![rows as u32, length as u32], arithmetic);
            return;
        }
        match &node.op {
            Op::MatMul { transpose_lhs, transpose_rhs } => {
                let (lhs, rhs) = (operands[0], operands[1]);
                let sizes = ProductSizes::matmul(shape(lhs), shape(rhs), *transpose_lhs, *transpose_rhs);
                self.product(group, kernel, [lhs, rhs], &sizes, arithmetic);
            }
            Op::Conv2d(window) => {
                let (x, weight) = (operands[0], operands[1]);
                let sizes = ProductSizes::forward(*window, shape(x), shape(weight), &node.shape);
                self.product(group, kernel, [weight, x], &sizes, arithmetic);
            }
            Op::Conv2dGradInput(window) => {
                let (y, weight) = (operands[0], operands[1]);
                let sizes = ProductSizes::grad_input(*window, &node.shape, shape(weight), shape(y));
                self.product(group, kernel, [weight, y], &sizes, arithmetic);
            }
            Op::Conv2dGradWeight(window) => {
                let (x, y) = (operands[0], operands[1]);
                let sizes = ProductSizes::grad_weight(*window, shape(x), &node.shape, shape(y));
                self.product(group, kernel, [y, x], &sizes, arithmetic);
            }
            Op::Pool(pool, pooling) => {
                let (from, to) = (shape(operands[0]), &node.shape);
                let (large, small) = if pool.enlarges() { (to, from) } else { (from, to) };
                let Pooling { kernel: window, stride, padding, dilation, ceil: _ } = pooling;
                let sizes = [large[0], large[3], large[1], large[2], small[1], small[2]];
                let sizes = sizes.iter().chain(window).chain(stride).chain(padding).chain(dilation);
                let sizes = sizes.map(|size| *size as u32);
                let operations = match *pooling {
                    Pooling::ADAPTIVE => large.elements().max(small.elements()) as u64,
                    _ => (small.elements() * window[0] * window[1]) as u64,
                };
                self.plain(group, kernel, operands, sizes.collect(), operations + arithmetic);
            }
            Op::Reduce { .. } if kernel == Kernel::ColumnSums => self.column_sums(group),
            Op::Reduce { .. } => self.reduction(group, kernel),
            Op::Gather | Op::ScatterAdd => {
                let table = if node.op == Op::Gather { shape(operands[0]) } else { &node.shape };
                let width = table.elements() / table[0];
                let constants = vec![table[0] as u32, shape(operands[1])[0] as u32, width as u32];
                self.plain(group, kernel, operands, constants, 0);
            }
            Op::Warp => {
                let constants = node.shape.iter().map(|size| *size as u32).collect();
                self.plain(group, kernel, operands, constants, 30 * elements as u64);
            }
            Op::Custom(own) => {
                let places = std::iter::once(&anchor).chain(operands);
                let slots: Vec<Operand> = places.map(|value| self.slot(*value)).collect();
                let shapes = slots.iter().map(|(_, shape, _)| shape.clone()).collect();
                let own = OwnKernel { kernel: own.clone(), shapes };
                let launch = self.new_launch(group, kernel, vec![elements as u32], slots, 0);
                self.launches.push(Launch { own: Some(own), ..launch });
            }
            Op::Indices { limit } => {
                self.plain(group, kernel, operands, vec![elements as u32, *limit as u32], 0);
            }
            Op::TopK { count } => {
                let length = node.shape.last().copied().unwrap_or(1);
                let constants = [elements / length, length, *count].map(|size| size as u32);
                self.plain(group, kernel, operands, constants.to_vec(), 0);
            }
            Op::Lstm(direction) | Op::Gru(direction) | Op::LinearRecurrence { direction, .. } => {
                let weight = shape(operands[1]);
                let (hidden, width) = (weight[0].min(weight[1]), weight[0].max(weight[1]));
                let [n, t] = [node.shape[0], node.shape[1]];
                let shared = if kernel == Kernel::LinearBackward { width } else { hidden };
                let workgroup = hidden.next_multiple_of(64).min(256);
                let backward = usize::from(*direction == Direction::Backward);
                let constants = [n, t, hidden, width / hidden, shared, workgroup, backward].map(|size| size as u32);
                self.plain(group, kernel, operands, constants.to_vec(), 2 * (n * t * hidden * width) as u64);
            }
            Op::Batch => {
                let rows = shape(operands[0])[0];
                let constants = [rows, node.shape[0], elements / node.shape[0]].map(|size| size as u32);
                self.plain(group, kernel, operands, constants.to_vec(), arithmetic);
            }
            Op::RandomUniform { stream } | Op::RandomBits { stream } => {
                self.plain(group, kernel, operands, vec![elements as u32, *stream], arithmetic);
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
            | Op::Parameter { .. } => self.plain(group, kernel, &[], vec![elements as u32], arithmetic),
        }
    }

    /// A launch whose results are whole.
    fn plain(&mut self, group: &Group, kernel: Kernel, operands: &[Value], constants: Vec<u32>, operations: u64) {
        let narrowed = kernel.row().halves;
        let slot = |operand: &Value| if narrowed { self.operand(*operand) } else { self.slot(*operand) };
        let slots: Vec<Operand> = operands.iter().map(slot).collect();
        let launch = self.new_launch(group, kernel, constants, slots, operations);
        self.outcomes(group, launch, [1, 1]);
    }

    fn new_launch(
        &mut self,
        group: &Group,
        kernel: Kernel,
        constants: Vec<u32>,
        slots: Vec<Operand>,
        operations: u64,
    ) -> Launch {
        let value = group.results.first().map_or(group.anchor, |(value, _)| *value);
        Launch {
            kernel,
            constants,
            slots,
            outcomes: vec![],
            program: group.program.clone(),
            own: None,
            label: self.graph.node(value).name.clone(),
            operations,
            joins_previous: false,
        }
    }

    fn product(
        &mut self,
        group: &Group,
        kernel: Kernel,
        [left, right]: [Value; 2],
        sizes: &ProductSizes,
        arithmetic: u64,
    ) {
        let slots = vec![self.operand(left), self.operand(right)];
        let half = slots.iter().any(|(.., dtype)| *dtype == DType::Half);
        let tile = self.target.tile(&sizes.product(kernel, half), sizes.panels());
        // Only a whole sum can go through an epilogue; and partial sums that nobody joins in passing cost a launch.
        let joined = |value: &Value| self.gradients.contains_key(&storage(self.graph, *value));
        let worth = kernel == Kernel::Conv2dGradWeight || group.results.iter().any(|(value, _)| joined(value));
        let allowed = !self.target.without.splits && group.program.is_none() && worth;
        let splits = sizes.splits(self.target, &tile, allowed);
        let stride = aligned(self.graph.shape(group.anchor).elements());
        let constants = sizes.constants(&tile, splits, stride);
        let launch = self.new_launch(group, kernel, constants, slots, sizes.operations + arithmetic);
        self.outcomes(group, launch, [splits.0, stride]);
    }

    /// Adds the slots of a launch's outcomes and of its expression's inputs, then the launches that join partial sums.
    /// `splits` says how many partial results there are of every element, and how far apart.
    fn outcomes(&mut self, group: &Group, mut launch: Launch, splits: [usize; 2]) {
        let mut joins: Vec<(Value, Operand, usize, usize)> = Vec::new();
        let row = launch.kernel.row();
        let fused = row.fusion == super::kernel::Fusion::Epilogue;
        // The parts of a total are as many as invocations, which the slots do not change.
        let parts = step(&launch, vec![]).parts();
        for (value, outcome) in &group.results {
            let (count, stride) = match outcome {
                Outcome::Element { .. } => (splits[0], splits[1]),
                Outcome::Total(_) => (parts, 1),
            };
            let slot = if count > 1 {
                let (slot, join) = self.partial(*value, count, stride);
                if join {
                    joins.push((*value, slot.clone(), count, stride));
                }
                slot
            } else {
                self.slot(*value)
            };
            launch.slots.push(slot);
            if fused {
                launch.outcomes.push(outcome.clone());
            }
        }
        for input in &group.inputs {
            let slot = self.slot(*input);
            launch.slots.push(slot);
        }
        self.launches.push(launch);
        for (value, from, count, stride) in joins {
            self.join(Kernel::Sum, value, from, [count, stride]);
        }
    }

    fn advance(&mut self, metrics: &Metrics, values: Value, state: Value) {
        let count = self.graph.shape(values).elements();
        let (values, parts) = match self.metric_parts.clone() {
            Some(operand) => {
                let parts = operand.1.elements();
                (operand, parts)
            }
            None => (self.slot(values), 1),
        };
        let ring = self.buffer(&metrics.ring, DType::Float, RING_CAPACITY * count);
        let ring = (Home::Lasting { buffer: ring, offset: 0 }, [RING_CAPACITY, count].into(), DType::Float);
        let state = self.slot(state);
        self.launches.push(Launch {
            kernel: Kernel::Advance,
            constants: [count, parts, RING_CAPACITY, metrics.samples].map(|word| word as u32).to_vec(),
            slots: vec![values, ring, state],
            outcomes: vec![],
            program: None,
            own: None,
            label: "state".to_owned(),
            operations: 0,
            joins_previous: false,
        });
    }
}
