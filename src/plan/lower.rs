//! Lowering: from fused values to launches, and from launches to a plan with memory.

use super::fuse::{Expression, Fused, fuse, kernel_of, storage};
use super::kernel::{Access, Kernel};
use super::memory::{ParameterLayout, Transient, aligned, allocate};
use super::plan::{Buffer, Plan, Slot, Step};
use super::products::{ConvSizes, matmul_constants};
use super::program::{Axis, Instruction, Program, View};
use super::state::{Metrics, RING_CAPACITY, SCHEDULE_COLUMNS, Training};
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, Value};
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::HashMap;

/// Invocations that keep a large device busy: long reductions are split until there are about this many.
const BUSY: usize = 1 << 14;

/// Bytes that every adapter can bind: work buffers stay below.
const BINDING_FLOOR: usize = 128 << 20;

/// Everything a plan is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The plan's name, for messages.
    pub name: &'a str,
    /// The graph.
    pub graph: &'a Graph,
    /// Values to be left in buffers of these names.
    pub outputs: Vec<(Value, String)>,
    /// Where parameters lie; the same for every plan that shares them.
    pub layout: &'a ParameterLayout,
    /// Gradients and an optimiser, for a training step.
    pub training: Option<Training>,
    /// What is reported of every step.
    pub metrics: Option<Metrics>,
}

/// Where a launch's operand is: in a buffer that outlives the step, or in a transient.
#[derive(Clone)]
enum Home {
    Lasting { buffer: usize, offset: usize },
    Transient(usize),
}

/// A launch before memory is given out.
struct Launch {
    kernel: Kernel,
    constants: Vec<u32>,
    slots: Vec<(Home, Shape, DType)>,
    program: Option<Program>,
    label: String,
    operations: u64,
}

struct Lowering<'a> {
    graph: &'a Graph,
    buffers: Vec<Buffer>,
    homes: HashMap<Value, Home>,
    transients: Vec<(usize, DType)>,
    launches: Vec<Launch>,
}

impl Plan {
    /// The plan that computes `outputs` of a graph and leaves each in a buffer of the given name.
    pub fn new(name: &str, graph: &Graph, outputs: &[(Value, &str)]) -> Result<Plan> {
        Plan::build(Request {
            name,
            graph,
            outputs: outputs.iter().map(|(value, name)| (*value, (*name).to_owned())).collect(),
            layout: &ParameterLayout::of(graph),
            training: None,
            metrics: None,
        })
    }

    /// The plan of a request. Fails where a parameter of the graph is not in the layout.
    pub fn build(request: Request) -> Result<Plan> {
        let Request { name, graph, outputs, layout, training, metrics } = request;
        let mut wanted: Vec<(Value, String, usize, usize)> = Vec::new();
        for (value, buffer) in &outputs {
            let elements = graph.shape(*value).elements();
            wanted.push((*value, buffer.clone(), 0, elements));
        }
        for (parameter, gradient) in training.iter().flat_map(|training| &training.gradients) {
            let offset = layout.offset(parameter).ok_or_else(|| unknown(parameter))?;
            wanted.push((*gradient, "gradients".to_owned(), offset, layout.elements()));
        }
        let mut results: Vec<Value> = wanted.iter().map(|(value, ..)| storage(graph, *value)).collect();
        results.extend(metrics.iter().map(|metrics| storage(graph, metrics.values)));
        let fused = fuse(graph, &results);

        let mut lowering =
            Lowering { graph, buffers: vec![], homes: HashMap::new(), transients: vec![], launches: vec![] };
        lowering.place_sources(layout)?;
        let copies = lowering.place_results(&wanted, &fused, &results);
        for value in &fused.order {
            lowering.launch(*value, fused.expressions.get(value));
        }
        for (value, home) in copies {
            lowering.copy(value, home);
        }
        if let Some(training) = &training {
            let state = metrics.as_ref().map(|metrics| metrics.state).ok_or_else(|| unknown("the step state"))?;
            lowering.optimize(training, layout, state)?;
        }
        if let Some(metrics) = &metrics {
            lowering.advance(metrics)?;
        }
        Ok(lowering.finish(name))
    }
}

fn unknown(what: &str) -> Error {
    Error::invalid("plan", format!("{what} is not in the layout of parameters"), "lay out every parameter of the model")
}

impl Lowering<'_> {
    fn buffer(&mut self, name: &str, dtype: DType, elements: usize) -> usize {
        let known = self.buffers.iter().position(|buffer| buffer.name == name);
        let index = known.unwrap_or_else(|| {
            self.buffers.push(Buffer { name: name.to_owned(), dtype, elements: 0, persistent: true });
            self.buffers.len() - 1
        });
        self.buffers[index].elements = self.buffers[index].elements.max(elements);
        index
    }

    fn place_sources(&mut self, layout: &ParameterLayout) -> Result<()> {
        for (index, node) in self.graph.nodes().iter().enumerate() {
            let home = match &node.op {
                Op::Input { name } => {
                    Home::Lasting { buffer: self.buffer(name, node.dtype, node.shape.elements()), offset: 0 }
                }
                Op::Parameter { name } => {
                    let offset = layout.offset(name).ok_or_else(|| unknown(name))?;
                    Home::Lasting { buffer: self.buffer("parameters", DType::Float, layout.elements()), offset }
                }
                _ => continue,
            };
            self.homes.insert(Value(index), home);
        }
        Ok(())
    }

    /// Gives results their places. Returns those that must be copied there at the end: sources, results wanted in two
    /// places, and results that other launches read, since two values in one buffer may meet in one launch.
    fn place_results(
        &mut self,
        wanted: &[(Value, String, usize, usize)],
        fused: &Fused,
        results: &[Value],
    ) -> Vec<(Value, Home)> {
        let graph = self.graph;
        let read = |value: Value| {
            fused.order.iter().any(|reader| {
                let inputs = fused.expressions.get(reader).map(|e| &e.inputs[..]).unwrap_or_default();
                let accumulator = fused.expressions.get(reader).and_then(|e| e.accumulator);
                let memory = match accumulator {
                    Some(producer) => &graph.node(producer).operands[..],
                    None if fused.expressions.contains_key(reader) => &[],
                    None => &graph.node(*reader).operands[..],
                };
                inputs.contains(&value) || memory.iter().any(|operand| storage(graph, *operand) == value)
            })
        };
        let mut copies = Vec::new();
        for (value, name, offset, elements) in wanted {
            let value = storage(self.graph, *value);
            let dtype = self.graph.node(value).dtype;
            let home = Home::Lasting { buffer: self.buffer(name, dtype, *elements), offset: *offset };
            let twice = results.iter().filter(|other| **other == value).count() > 1;
            if self.homes.contains_key(&value) || twice || read(value) {
                copies.push((value, home));
            } else {
                self.homes.insert(value, home);
            }
        }
        copies
    }

    fn transient(&mut self, elements: usize, dtype: DType) -> Home {
        self.transients.push((elements, dtype));
        Home::Transient(self.transients.len() - 1)
    }

    /// The slot of a value that is kept.
    fn slot(&mut self, value: Value) -> (Home, Shape, DType) {
        let node = self.graph.node(value);
        let (shape, dtype) = (node.shape.clone(), node.dtype);
        let place = storage(self.graph, value);
        let home = match self.homes.get(&place) {
            Some(home) => home.clone(),
            None => {
                let home = self.transient(shape.elements(), dtype);
                self.homes.insert(place, home.clone());
                home
            }
        };
        (home, shape, dtype)
    }

    fn copy(&mut self, value: Value, home: Home) {
        let (from, shape, dtype) = self.slot(value);
        let program =
            Program { instructions: vec![Instruction::Position, Instruction::Load { input: 0, at: 0 }], inputs: 1 };
        self.launches.push(Launch {
            kernel: Kernel::Map,
            constants: vec![shape.elements() as u32],
            slots: vec![(home, shape.clone(), dtype), (from, shape, dtype)],
            program: Some(program),
            label: "copy".to_owned(),
            operations: 0,
        });
    }

    fn launch(&mut self, value: Value, expression: Option<&Expression>) {
        let graph = self.graph;
        let source = expression.and_then(|e| e.accumulator).unwrap_or(value);
        let node = graph.node(source);
        if matches!(node.op, Op::Input { .. } | Op::Parameter { .. }) {
            return;
        }
        let operands = node.operands.clone();
        let shape = |value: Value| graph.shape(value).clone();
        let result = self.slot(value);
        let elements = node.shape.elements();
        let mut slots: Vec<(Home, Shape, DType)> = Vec::new();
        let mut operations = expression.map_or(0, |e| e.program.operations() * elements) as u64;
        let kernel = kernel_of(graph, source);
        let constants: Vec<u32> = match &node.op {
            Op::MatMul { transpose_lhs, transpose_rhs } => {
                slots.extend([self.slot(operands[0]), self.slot(operands[1])]);
                let (constants, count) =
                    matmul_constants(&shape(operands[0]), &shape(operands[1]), *transpose_lhs, *transpose_rhs);
                operations += count;
                constants
            }
            Op::Conv2d(window) => {
                slots.extend([self.slot(operands[0]), self.slot(operands[1])]);
                let sizes = ConvSizes::new(*window, &shape(operands[0]), &shape(operands[1]), &node.shape);
                operations += sizes.operations();
                sizes.constants(sizes.o, sizes.p * sizes.q, 1)
            }
            Op::Conv2dGradInput(window) => {
                slots.extend([self.slot(operands[0]), self.slot(operands[1])]);
                let sizes = ConvSizes::new(*window, &node.shape, &shape(operands[1]), &shape(operands[0]));
                operations += sizes.operations();
                sizes.constants(sizes.c, sizes.phase()[0] * sizes.phase()[1], 1)
            }
            Op::Conv2dGradWeight(window) => {
                slots.extend([self.slot(operands[0]), self.slot(operands[1])]);
                let sizes = ConvSizes::new(*window, &shape(operands[0]), &node.shape, &shape(operands[1]));
                let tiles = sizes.o.div_ceil(4) * (sizes.c * sizes.r * sizes.s).div_ceil(4);
                let images = sizes.n.div_ceil((BUSY / tiles).clamp(1, sizes.n));
                let splits = sizes.n.div_ceil(images);
                let constants = sizes.constants(sizes.o, sizes.c * sizes.r * sizes.s, splits as u32);
                operations += sizes.operations();
                if splits > 1 {
                    self.split(value, kernel, constants, slots, None, splits, operations, false);
                    return;
                }
                constants
            }
            Op::Reduce { .. } => {
                let length = graph.shape(operands[0]).elements() / elements;
                // Both passes are shortest when a sum of n is split into √n; neighbours read neighbours, so in a
                // multiple of a subgroup.
                let even = length.isqrt().next_multiple_of(32);
                let splits = if length < 256 { 1 } else { (BUSY / elements).min(even).max(1) };
                let program = expression.map(|e| &e.program);
                operations = (program.map_or(0, |p| p.operations()) + 1) as u64 * (elements * length) as u64;
                if splits > 1 {
                    let constants = vec![elements as u32, length as u32, splits as u32];
                    self.split(value, kernel, constants, slots, expression, splits, operations, true);
                    return;
                }
                vec![elements as u32, length as u32, 1]
            }
            Op::Gather | Op::ScatterAdd => {
                slots.extend([self.slot(operands[0]), self.slot(operands[1])]);
                let table = if node.op == Op::Gather { graph.shape(operands[0]) } else { &node.shape };
                let width = table.elements() / table[0];
                vec![table[0] as u32, graph.shape(operands[1])[0] as u32, width as u32]
            }
            Op::Batch => {
                slots.extend(operands.iter().map(|operand| self.slot(*operand)));
                let rows = graph.shape(operands[0])[0];
                vec![rows as u32, node.shape[0] as u32, (elements / node.shape[0]) as u32]
            }
            Op::RandomUniform { stream } | Op::RandomBits { stream } => {
                slots.push(self.slot(operands[0]));
                vec![elements as u32, elements.div_ceil(4) as u32, *stream]
            }
            Op::Constant(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Input { .. }
            | Op::Parameter { .. } => vec![elements as u32],
        };
        slots.push(result);
        for input in expression.map(|e| &e.inputs[..]).unwrap_or_default() {
            slots.push(self.slot(*input));
        }
        let program = expression.map(|e| e.program.clone());
        let label = label(graph, value);
        self.launches.push(Launch { kernel, constants, slots, program, label, operations });
    }

    /// A launch that leaves `splits` partial results for every element, and one that joins them in a fixed order.
    /// `last` says whether the parts of an element lie side by side or each part is whole.
    #[allow(clippy::too_many_arguments)] // The parts of one launch, split here only.
    fn split(
        &mut self,
        value: Value,
        kernel: Kernel,
        constants: Vec<u32>,
        mut slots: Vec<(Home, Shape, DType)>,
        expression: Option<&Expression>,
        splits: usize,
        operations: u64,
        last: bool,
    ) {
        let elements = self.graph.shape(value).elements();
        let shape: Shape = if last { [elements, splits].into() } else { [splits, elements].into() };
        let partial = (self.transient(elements * splits, DType::Float), shape, DType::Float);
        slots.push(partial.clone());
        for input in expression.map(|e| &e.inputs[..]).unwrap_or_default() {
            slots.push(self.slot(*input));
        }
        let program = expression.map(|e| e.program.clone());
        let label = label(self.graph, value);
        self.launches.push(Launch { kernel, constants, slots, program, label: label.clone(), operations });

        let [outer, inner] = if last { [splits, 1] } else { [1, elements] };
        let view = View::new([Axis::plain(elements, outer), Axis::plain(splits, inner)], 0);
        let mut instructions = vec![Instruction::Position];
        if !view.is_identity(elements * splits) {
            instructions.push(Instruction::Index { from: 0, view });
        }
        let at = instructions.len() - 1;
        instructions.push(Instruction::Load { input: 0, at });
        let result = self.slot(value);
        self.launches.push(Launch {
            kernel: if kernel == Kernel::Max { Kernel::Max } else { Kernel::Sum },
            constants: vec![elements as u32, splits as u32, 1],
            slots: vec![result, partial],
            program: Some(Program { instructions, inputs: 1 }),
            label,
            operations: (elements * splits) as u64,
        });
    }

    fn optimize(&mut self, training: &Training, layout: &ParameterLayout, state: Value) -> Result<()> {
        let kernel = training.optimizer.kernel();
        let elements = layout.elements();
        let whole = |lowering: &mut Self, name: &str| {
            let buffer = lowering.buffer(name, DType::Float, elements);
            (Home::Lasting { buffer, offset: 0 }, Shape::from([elements]), DType::Float)
        };
        let rows = training.schedule_rows;
        let schedule = self.buffer("schedule", DType::Float, rows * SCHEDULE_COLUMNS);
        let schedule = Home::Lasting { buffer: schedule, offset: 0 };
        let mut slots = vec![whole(self, "gradients"), (schedule, [rows, SCHEDULE_COLUMNS].into(), DType::Float)];
        slots.push(self.slot(state));
        slots.push(whole(self, "parameters"));
        for name in training.optimizer.moments() {
            slots.push(whole(self, name));
        }
        let operations = elements as u64 * if kernel == Kernel::Adam { 13 } else { 2 };
        let constants = vec![elements as u32];
        let label = "optimizer".to_owned();
        self.launches.push(Launch { kernel, constants, slots, program: None, label, operations });
        Ok(())
    }

    fn advance(&mut self, metrics: &Metrics) -> Result<()> {
        let values = self.slot(metrics.values);
        let count = values.1.elements();
        let ring = self.buffer(&metrics.ring, DType::Float, RING_CAPACITY * count);
        let ring = (Home::Lasting { buffer: ring, offset: 0 }, [RING_CAPACITY, count].into(), DType::Float);
        let state = self.slot(metrics.state);
        self.launches.push(Launch {
            kernel: Kernel::Advance,
            constants: vec![count as u32, RING_CAPACITY as u32, metrics.samples as u32],
            slots: vec![values, ring, state],
            program: None,
            label: "state".to_owned(),
            operations: 0,
        });
        Ok(())
    }

    fn finish(mut self, name: &str) -> Plan {
        // A transient lives from the launch that writes it to the last that reads it.
        let mut lives: Vec<Transient> = self
            .transients
            .iter()
            .map(|(elements, dtype)| Transient {
                elements: *elements,
                dtype: *dtype,
                first: usize::MAX,
                last: 0,
                inputs: vec![],
            })
            .collect();
        for (index, launch) in self.launches.iter().enumerate() {
            let read: Vec<usize> = transients_of(launch, true);
            for transient in &read {
                lives[*transient].last = index;
            }
            for transient in transients_of(launch, false) {
                lives[transient].first = index;
                lives[transient].last = lives[transient].last.max(index);
                lives[transient].inputs = read.clone();
            }
        }
        // Memory is given out in the order in which launches write.
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|transient| lives[*transient].first);
        let rank: HashMap<usize, usize> = order.iter().enumerate().map(|(rank, index)| (*index, rank)).collect();
        let mut sorted: Vec<Transient> = Vec::with_capacity(lives.len());
        for index in &order {
            let life = &lives[*index];
            let inputs = life.inputs.iter().map(|input| rank[input]).collect();
            sorted.push(Transient { inputs, ..*life });
        }
        let places = allocate(&sorted, &mut self.buffers, BINDING_FLOOR / 4);
        let steps = self
            .launches
            .into_iter()
            .map(|launch| {
                let slots = launch.slots.into_iter().map(|(home, shape, dtype)| {
                    let (buffer, offset) = match home {
                        Home::Lasting { buffer, offset } => (buffer, offset),
                        Home::Transient(index) => places[rank[&index]],
                    };
                    Slot { buffer, offset, shape, dtype }
                });
                Step {
                    kernel: launch.kernel,
                    constants: launch.constants,
                    slots: slots.collect(),
                    program: launch.program,
                    label: launch.label,
                    operations: launch.operations,
                }
            })
            .collect();
        debug_assert!(self.buffers.iter().all(|buffer| buffer.persistent || aligned(buffer.elements) > 0));
        Plan { name: name.to_owned(), steps, buffers: self.buffers }
    }
}

/// The transients that a launch reads, or those that it writes.
fn transients_of(launch: &Launch, reads: bool) -> Vec<usize> {
    let bindings = launch.kernel.row().bindings;
    let slots =
        launch.slots.iter().enumerate().filter(|(position, _)| {
            bindings.get(*position).is_none_or(|binding| binding.access == Access::Read) == reads
        });
    slots
        .filter_map(|(_, (home, ..))| match home {
            Home::Transient(index) => Some(*index),
            Home::Lasting { .. } => None,
        })
        .collect()
}

fn label(graph: &Graph, value: Value) -> String {
    graph.node(value).name.clone()
}
