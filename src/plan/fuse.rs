//! Fusion: which values are kept in memory, and the launch that computes each of them from others that are.
//!
//! Elementwise and data-moving ops have no memory of their own unless several launches, an output or a product need it.
//! They are computed inside the launch that reads them, as its source (maps and reductions), or inside the launch that
//! makes what they are computed from: a product's epilogue takes everything that follows from the product element by
//! element, may leave several values, and sums what is summed over all elements.

use super::kernel::{Fusion, Kernel};
use super::plan::Outcome;
use super::program::{Axis, Instruction, Phase, Program, Register, View};
use super::tile::Target;
use crate::graph::{Graph, Op, Pool, Reduction, Value};
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};

/// A launch: what it computes, and from what.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The value whose kernel it runs.
    pub anchor: Value,
    /// Its fused expression, where it has one.
    pub program: Option<Program>,
    /// The kept values that the program's inputs are.
    pub inputs: Vec<Value>,
    /// The kept values that it computes, and how.
    pub results: Vec<(Value, Outcome)>,
    /// Rows and their length, where the expression reduces rows before it computes them.
    pub rows: Option<[usize; 2]>,
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

/// Decides what is kept and fuses the rest, for the given outputs (storages, not reshapes). The launches come in an order
/// in which they can run.
///
/// Sums in `apart` are launches of their own, since their partial sums must be few.
pub(super) fn fuse(graph: &Graph, outputs: &[Value], apart: &HashSet<Value>, target: &Target) -> Vec<Group> {
    let count = graph.nodes().len();
    let mut fusion = Fusing {
        graph,
        outputs,
        apart,
        target,
        readers: readers(graph, outputs),
        memory: vec![false; count],
        barred: vec![false; count],
    };
    fusion.memory = fusion.read_as_memory();
    // Each remedy is new, so there is an end: without any epilogue, every launch is small enough.
    loop {
        match fusion.attempt() {
            Ok(groups) => return groups,
            // A launch would need more buffers than it can bind: keep a part of it, or leave a part out of it.
            Err(Remedy::Keep(part)) if !fusion.memory[part.0] => fusion.memory[part.0] = true,
            Err(Remedy::LeaveOut(member)) if !fusion.barred[member.0] => fusion.barred[member.0] = true,
            Err(_) => fusion.barred.fill(true),
        }
    }
}

/// For a value that is not kept, another that is and has the same elements, and where each of them lies in it.
type Aliases = HashMap<Value, (Value, View)>;

/// What makes an attempt at fusion possible.
enum Remedy {
    Keep(Value),
    LeaveOut(Value),
}

struct Fusing<'a> {
    graph: &'a Graph,
    outputs: &'a [Value],
    apart: &'a HashSet<Value>,
    target: &'a Target,
    readers: Vec<usize>,
    /// Values that some launch reads from memory, whatever else happens, or that are kept so that launches stay small.
    memory: Vec<bool>,
    /// Values that no epilogue may compute.
    barred: Vec<bool>,
}

/// What an epilogue computes besides the product itself.
#[derive(Default)]
struct Claim {
    /// Values that follow from the product element by element, and where their elements lie.
    members: Vec<(Value, Option<View>)>,
    /// Their sums over all elements.
    totals: Vec<Value>,
}

impl Claim {
    fn place(&self, value: Value) -> Option<&Option<View>> {
        self.members.iter().find(|(member, _)| *member == value).map(|(_, place)| place)
    }
}

/// Ops that compute nothing: repeating them is cheaper than keeping their result.
fn only_moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Constant(_) | Op::Iota | Op::Broadcast | Op::Permute(_) | Op::Slice { .. } | Op::Pad { .. } | Op::Reshape
    )
}

/// Ops that can be computed inside another launch.
pub(super) fn is_fusible(op: &Op) -> bool {
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

impl Fusing<'_> {
    fn needed(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.readers.len()).filter(|index| self.readers[*index] > 0).map(Value)
    }

    /// How many outcomes and inputs a fused expression of a kernel may have.
    fn room(&self, kernel: Kernel) -> usize {
        kernel.row().fused(self.target.storage_buffers())
    }

    fn read_as_memory(&self) -> Vec<bool> {
        let graph = self.graph;
        let mut memory = vec![false; graph.nodes().len()];
        for output in self.outputs {
            memory[output.0] = true;
        }
        for node in self.needed().map(|value| graph.node(value)) {
            // Products and gathers read memory, not expressions; reductions take an expression as their source.
            let reads = !is_fusible(&node.op) && !matches!(node.op, Op::Reduce { .. });
            // A small value that is spread over a large one would be computed over and over.
            let spreads = node.op == Op::Broadcast;
            for operand in &node.operands {
                let operand = storage(graph, *operand);
                let computed = matches!(graph.node(operand).op, Op::Unary(_) | Op::Binary(_) | Op::Concat { .. });
                memory[operand.0] |= reads || (spreads && computed);
            }
        }
        memory
    }

    fn attempt(&self) -> Result<Vec<Group>, Remedy> {
        let graph = self.graph;
        let mut owner: Vec<Option<Value>> = vec![None; graph.nodes().len()];
        let mut claims: HashMap<Value, Claim> = HashMap::new();
        // The last product that something follows from computes it.
        let anchors: Vec<Value> =
            self.needed().filter(|value| kernel_of(graph, *value).row().fusion == Fusion::Epilogue).collect();
        for anchor in anchors.iter().rev() {
            let claim = self.claim(*anchor, &owner);
            let joined = claim.members.iter().map(|(member, _)| member).chain(&claim.totals);
            for value in joined {
                owner[value.0] = Some(*anchor);
            }
            claims.insert(*anchor, claim);
        }
        let rows = self.rows(&mut owner);
        let mut kept = self.kept(&owner, &claims);
        for (result, group) in &rows {
            group.members.iter().for_each(|member| kept[member.0] = member == result);
        }
        let aliases = self.aliases(&claims, &kept);
        let mut groups = Vec::new();
        for value in self.needed().filter(|value| kept[value.0] || claims.contains_key(value)) {
            let node = graph.node(value);
            if let Some(group) = rows.get(&value) {
                let (program, inputs) = Builder::new(graph, &kept, &aliases, None).finish(value, 0, Some(value));
                if inputs.len() > self.room(Kernel::Rows) {
                    return Err(Remedy::LeaveOut(group.members[0]));
                }
                let results = vec![(value, Outcome::Element { value: 0, place: None })];
                groups.push(Group { anchor: value, program: Some(program), inputs, results, rows: Some(group.size) });
                continue;
            }
            if owner[value.0].is_some() || matches!(node.op, Op::Input { .. } | Op::Parameter { .. }) {
                continue;
            }
            groups.push(match claims.get(&value) {
                Some(claim) => self.epilogue(value, claim, &kept, &aliases)?,
                None => self.source(value, &kept, &aliases)?,
            });
        }
        ordered(graph, groups)
    }

    /// What the epilogue of a product can compute.
    fn claim(&self, anchor: Value, owner: &[Option<Value>]) -> Claim {
        let graph = self.graph;
        let mut claim = Claim::default();
        let elements = graph.shape(anchor).elements();
        let mut follows: HashMap<Value, Option<View>> = HashMap::from([(anchor, None)]);
        // Values that depend on the product in another way.
        let mut apart = vec![false; graph.nodes().len()];
        let epilogue = !self.target.without.epilogues && !matches!(graph.node(anchor).op, Op::Conv2dGradWeight(_));
        for value in self.needed().filter(|value| value.0 > anchor.0) {
            let node = graph.node(value);
            let own: Vec<&Option<View>> = node.operands.iter().filter_map(|x| follows.get(x)).collect();
            let strange = node.operands.iter().any(|x| apart[x.0]);
            let Some(place) = own.first().map(|place| (*place).clone()) else {
                apart[value.0] = strange;
                continue;
            };
            let free = epilogue && owner[value.0].is_none() && !strange && !self.barred[value.0];
            let same = own.iter().all(|other| **other == place) && node.shape.elements() == elements;
            let whole = graph.shape(node.operands[0]).elements() == elements && node.shape.elements() == 1;
            match &node.op {
                Op::Unary(_) | Op::Binary(_) | Op::Reshape if free && same => {
                    follows.insert(value, place.clone());
                    claim.members.push((value, place));
                }
                Op::Permute(order) if free && place.is_none() => {
                    let place = Some(inverse(graph.shape(node.operands[0]), order));
                    follows.insert(value, place.clone());
                    claim.members.push((value, place));
                }
                Op::Reduce { reduction: Reduction::Sum, .. }
                    if free && whole && claim.totals.len() < 3 && !self.apart.contains(&value) =>
                {
                    claim.totals.push(value);
                    apart[value.0] = true;
                }
                _ => apart[value.0] = true,
            }
        }
        claim
    }

    /// Chains that reduce the rows of a value and go on with its elements, such as softmax and normalisations: what comes
    /// out, and what is computed on the way.
    fn rows(&self, owner: &mut [Option<Value>]) -> HashMap<Value, RowGroup> {
        let graph = self.graph;
        let mut groups = HashMap::new();
        for first in self.needed() {
            let free = owner[first.0].is_none() && !self.target.without.epilogues && !self.barred[first.0];
            let Some(size) = trailing_reduction(graph, first).filter(|_| free) else { continue };
            let Some((result, members)) = self.row_group(first, size, owner) else { continue };
            for member in &members {
                owner[member.0] = Some(result);
            }
            groups.insert(result, RowGroup { size, members });
        }
        groups
    }

    fn row_group(&self, first: Value, size: [usize; 2], owner: &[Option<Value>]) -> Option<(Value, Vec<Value>)> {
        let graph = self.graph;
        let [rows, length] = size;
        // Members by how many elements they have: one for each row, or all.
        let mut members: Vec<Value> = vec![first];
        let mut apart = vec![false; graph.nodes().len()];
        for value in self.needed().filter(|value| value.0 > first.0) {
            let node = graph.node(value);
            let own: Vec<Value> = node.operands.iter().copied().filter(|x| members.contains(x)).collect();
            let strange = node.operands.iter().any(|x| apart[x.0]);
            let Some(operand) = own.first() else {
                apart[value.0] = strange;
                continue;
            };
            let elements = node.shape.elements();
            let from = graph.shape(*operand).elements();
            let alike = own.iter().all(|x| graph.shape(*x).elements() == from);
            let joins = match &node.op {
                Op::Unary(_) | Op::Binary(_) | Op::Reshape => alike && elements == from,
                Op::Broadcast => from == rows && elements == rows * length && spreads_rows(graph, value, size),
                Op::Reduce { .. } => trailing_reduction(graph, value) == Some(size),
                _ => false,
            };
            if joins && !strange && owner[value.0].is_none() && !self.barred[value.0] {
                members.push(value);
            } else {
                apart[value.0] = true;
            }
        }
        let outside = |value: Value| {
            let mut readers = self.needed().filter(|reader| !members.contains(reader));
            self.outputs.contains(&value) || readers.any(|reader| graph.node(reader).operands.contains(&value))
        };
        let mut wanted: Vec<Value> = members.iter().filter(|x| outside(**x)).map(|x| storage(graph, *x)).collect();
        wanted.dedup();
        // What is wanted first may be all that the rest is computed from.
        let result = *wanted.first()?;
        if graph.shape(result).elements() != rows * length || !members.contains(&result) {
            return None;
        }
        // Only what the result is computed from.
        let mut needed = vec![result];
        for value in members.iter().rev() {
            if needed.iter().any(|reader| graph.node(*reader).operands.contains(value)) && !needed.contains(value) {
                needed.push(*value);
            }
        }
        needed.reverse();
        // Nobody else may want what is on the way to it.
        let inside = |value: Value| storage(graph, value) != result;
        let mut others = self.needed().filter(|reader| !needed.contains(reader));
        let shared = others.any(|reader| {
            let operands = &graph.node(reader).operands;
            needed.iter().any(|value| inside(*value) && operands.contains(value))
        });
        let wanted = needed.iter().any(|value| inside(*value) && self.outputs.contains(value));
        (needed.contains(&first) && !shared && !wanted).then_some((result, needed))
    }

    /// What is kept in memory.
    fn kept(&self, owner: &[Option<Value>], claims: &HashMap<Value, Claim>) -> Vec<bool> {
        let graph = self.graph;
        let mut kept: Vec<bool> = graph
            .nodes()
            .iter()
            .enumerate()
            .map(|(index, node)| {
                let several = self.readers[index] > 1 && !only_moves(&node.op);
                !is_fusible(&node.op) || (several && owner[index].is_none()) || self.memory[index]
            })
            .collect();
        // Readers outside of the launch that computes a value. A reshape is the same memory, its readers are its operand's.
        let mut outside = vec![false; kept.len()];
        for value in self.needed().filter(|value| graph.node(*value).op != Op::Reshape) {
            for operand in &graph.node(value).operands {
                let operand = storage(graph, *operand);
                let home = if claims.contains_key(&operand) { Some(operand) } else { owner[operand.0] };
                outside[operand.0] |= home.is_some() && owner[value.0] != home;
            }
        }
        for (anchor, claim) in claims {
            // An outside expression computes what it needs from values that are kept, where it can.
            let mut there: HashMap<Value, bool> = HashMap::new();
            let permutes = |value: Value, member: Value| {
                let node = graph.node(member);
                matches!(node.op, Op::Permute(_)) && storage(graph, node.operands[0]) == value && self.memory[member.0]
            };
            let all = std::iter::once(*anchor).chain(claim.members.iter().map(|(member, _)| *member));
            for value in all {
                let operands = &graph.node(value).operands;
                let derived = value != *anchor && operands.iter().all(|x| there.get(x).copied().unwrap_or(true))
                    || claim.members.iter().any(|(member, _)| permutes(value, *member));
                if graph.node(value).op != Op::Reshape {
                    kept[value.0] = self.memory[value.0] || (outside[value.0] && !derived);
                }
                there.insert(value, derived || kept[value.0]);
            }
        }
        kept
    }

    /// Values that are kept in another order only, and where there.
    fn aliases(&self, claims: &HashMap<Value, Claim>, kept: &[bool]) -> Aliases {
        let members = claims.values().flat_map(|claim| &claim.members);
        let permuted = members.filter_map(|(member, place)| {
            let node = self.graph.node(*member);
            let from = storage(self.graph, *node.operands.first()?);
            let moved = matches!(node.op, Op::Permute(_)) && kept[member.0] && !kept[from.0];
            Some((from, (*member, place.clone().filter(|_| moved)?)))
        });
        permuted.collect()
    }

    /// The launch of a product and everything that its epilogue computes.
    fn epilogue(&self, anchor: Value, claim: &Claim, kept: &[bool], aliases: &Aliases) -> Result<Group, Remedy> {
        let graph = self.graph;
        let mut builder = Builder::new(graph, kept, aliases, Some((anchor, claim)));
        let mut results = Vec::new();
        let stored = claim.members.iter().filter(|(member, _)| kept[member.0]);
        let mut anchored = Vec::new();
        if kept[anchor.0] {
            anchored.push((anchor, None));
        }
        for (value, place) in anchored.iter().chain(stored) {
            // A reshape lies where its operand lies, which may be kept on its own account.
            if graph.node(*value).op == Op::Reshape {
                continue;
            }
            let elements = graph.shape(*value).elements();
            let at = place.as_ref().map_or(0, |view| builder.index(0, view.clone(), elements));
            let register = builder.value(*value, at);
            results.push((*value, Outcome::Element { value: register, place: place.clone() }));
        }
        for total in &claim.totals {
            let operand = graph.node(*total).operands[0];
            let place = claim.place(operand).cloned().flatten();
            let elements = graph.shape(operand).elements();
            let at = place.map_or(0, |view| builder.index(0, view, elements));
            let register = builder.value(operand, at);
            results.push((*total, Outcome::Total(register)));
        }
        let plain = claim.members.is_empty() && claim.totals.is_empty();
        if results.len() + builder.inputs.len() > self.room(kernel_of(graph, anchor)) {
            let last = claim.members.last().map(|(member, _)| *member).or(claim.totals.last().copied());
            return Err(Remedy::LeaveOut(last.unwrap_or(anchor)));
        }
        let program = Program { instructions: builder.instructions, inputs: builder.inputs.len(), phases: vec![] };
        Ok(Group { anchor, program: (!plain).then_some(program), inputs: builder.inputs, results, rows: None })
    }

    /// The launch of any other kept value.
    fn source(&self, value: Value, kept: &[bool], aliases: &Aliases) -> Result<Group, Remedy> {
        let graph = self.graph;
        let node = graph.node(value);
        let results = vec![(value, Outcome::Element { value: 0, place: None })];
        let (program, inputs) = match &node.op {
            Op::Reduce { .. } if kernel_of(graph, value) == Kernel::ColumnSums => {
                Builder::new(graph, kept, aliases, None).finish(node.operands[0], 0, None)
            }
            Op::Reduce { axes, .. } => reduction_source(graph, kept, aliases, node.operands[0], axes),
            op if is_fusible(op) => Builder::new(graph, kept, aliases, None).finish(value, 0, Some(value)),
            _ => return Ok(Group { anchor: value, program: None, inputs: vec![], results, rows: None }),
        };
        if inputs.len() > self.room(kernel_of(graph, value)) {
            return Err(Remedy::Keep(part_to_keep(graph, kept, aliases, value, self.room(Kernel::Map))));
        }
        Ok(Group { anchor: value, program: Some(program), inputs, results, rows: None })
    }
}

/// A chain over rows: their number and length, and the values computed on the way, the result last.
struct RowGroup {
    size: [usize; 2],
    members: Vec<Value>,
}

/// Rows and their length, where a value reduces the last axes of its operand.
fn trailing_reduction(graph: &Graph, value: Value) -> Option<[usize; 2]> {
    let node = graph.node(value);
    let Op::Reduce { axes, .. } = &node.op else { return None };
    let shape = graph.shape(node.operands[0]);
    let rows = node.shape.elements();
    let last = axes.iter().copied().eq(shape.len() - axes.len()..shape.len());
    (last && rows > 1).then_some([rows, shape.elements() / rows])
}

/// Whether a broadcast repeats a number for each row along the rows.
fn spreads_rows(graph: &Graph, value: Value, [rows, length]: [usize; 2]) -> bool {
    let view = broadcast_view(graph.shape(graph.node(value).operands[0]), graph.shape(value));
    view == View::new([Axis::plain(rows, 1), Axis::plain(length, 0)], 0)
}

/// The view of a broadcast.
fn broadcast_view(from: &Shape, shape: &Shape) -> View {
    let strides = from.strides();
    let lead = shape.len() - from.len();
    let axes = (0..shape.len()).map(|axis| {
        let repeated = axis < lead || from[axis - lead] == 1;
        Axis::plain(shape[axis], if repeated { 0 } else { strides[axis - lead] })
    });
    View::new(axes, 0)
}

/// The view that says where element i of a value lies once its axes are in this order.
fn inverse(shape: &Shape, order: &[usize]) -> View {
    let permuted: Shape = order.iter().map(|axis| shape[*axis]).collect();
    let strides = permuted.strides();
    let axes = (0..shape.len()).map(|axis| {
        let to = order.iter().position(|from| *from == axis).map_or(0, |to| strides[to]);
        Axis::plain(shape[axis], to)
    });
    View::new(axes, 0)
}

/// The values that a launch reads from memory: what its kernel reads, then its expression's inputs.
pub(super) fn reads(graph: &Graph, group: &Group) -> Vec<Value> {
    operands(graph, group).iter().chain(&group.inputs).map(|value| storage(graph, *value)).collect()
}

/// What a launch's kernel itself reads.
pub(super) fn operands<'a>(graph: &'a Graph, group: &Group) -> &'a [Value] {
    let node = graph.node(group.anchor);
    if is_fusible(&node.op) || matches!(node.op, Op::Reduce { .. }) { &[] } else { &node.operands }
}

/// The launches in an order in which each stands after those whose results it reads.
fn ordered(graph: &Graph, groups: Vec<Group>) -> Result<Vec<Group>, Remedy> {
    let mut makers: HashMap<Value, usize> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        for (value, _) in &group.results {
            makers.insert(storage(graph, *value), index);
        }
    }
    let needs: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| reads(graph, group).iter().filter_map(|value| makers.get(value).copied()).collect())
        .collect();
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; groups.len()];
    let mut order = Vec::with_capacity(groups.len());
    for first in 0..groups.len() {
        let mut stack = vec![(first, 0)];
        while let Some((group, next)) = stack.pop() {
            if next == 0 {
                if marks[group] != Mark::New {
                    continue;
                }
                marks[group] = Mark::Open;
            }
            match needs[group].get(next) {
                Some(need) => {
                    stack.push((group, next + 1));
                    match marks[*need] {
                        Mark::New => stack.push((*need, 0)),
                        Mark::Done => {}
                        // Two epilogues wait for each other: the later one does less.
                        Mark::Open => {
                            let waiting = groups[group].results.iter().chain(&groups[*need].results);
                            let last = waiting.map(|(value, _)| *value).max_by_key(|value| value.0);
                            return Err(Remedy::LeaveOut(last.unwrap_or(groups[group].anchor)));
                        }
                    }
                }
                None => {
                    marks[group] = Mark::Done;
                    order.push(group);
                }
            }
        }
    }
    let mut groups: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| groups[index].take()).collect())
}

/// The largest part of an expression that a launch of its own can compute from so many inputs.
fn part_to_keep(graph: &Graph, kept: &[bool], aliases: &Aliases, root: Value, room: usize) -> Value {
    let mut best: Option<(usize, Value)> = None;
    let mut open: Vec<Value> = graph.node(root).operands.clone();
    while let Some(value) = open.pop() {
        let value = storage(graph, value);
        if kept[value.0] {
            continue;
        }
        let inputs = Builder::new(graph, kept, aliases, None).finish(value, 0, Some(value)).1.len();
        if !only_moves(&graph.node(value).op) && inputs <= room && best.is_none_or(|(most, _)| inputs > most) {
            best = Some((inputs, value));
        }
        open.extend(&graph.node(value).operands);
    }
    // An expression of more inputs than a launch binds has at least two operands below its root, one of which is
    // computed: concat takes no more operands than there is room for, all else takes two.
    best.map_or(root, |(_, value)| value)
}

/// The expression of a reduction's operand, its elements ordered by the kept axes first and the reduced axes last.
fn reduction_source(
    graph: &Graph,
    kept: &[bool],
    aliases: &Aliases,
    operand: Value,
    axes: &[usize],
) -> (Program, Vec<Value>) {
    let shape = graph.shape(operand);
    let strides = shape.strides();
    let outer = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order = outer.chain(axes.iter().copied());
    let view = View::new(order.map(|axis| Axis::plain(shape[axis], strides[axis])), 0);
    let mut builder = Builder::new(graph, kept, aliases, None);
    let at = builder.index(0, view, shape.elements());
    builder.finish(operand, at, None)
}

struct Builder<'a> {
    graph: &'a Graph,
    kept: &'a [bool],
    aliases: &'a Aliases,
    /// The product whose epilogue this is, and what it computes.
    product: Option<(Value, &'a Claim)>,
    /// The value that is being computed, and so not loaded although it is kept.
    root: Option<Value>,
    instructions: Vec<Instruction>,
    inputs: Vec<Value>,
    known: HashMap<(Value, Register), Register>,
    phases: Vec<Phase>,
    /// The phases of reductions that are computed on the way.
    reduced: HashMap<Value, usize>,
}

impl<'a> Builder<'a> {
    fn new(
        graph: &'a Graph,
        kept: &'a [bool],
        aliases: &'a Aliases,
        product: Option<(Value, &'a Claim)>,
    ) -> Builder<'a> {
        let instructions = vec![Instruction::Position];
        Builder {
            graph,
            kept,
            aliases,
            product,
            root: None,
            instructions,
            inputs: vec![],
            known: HashMap::new(),
            phases: vec![],
            reduced: HashMap::new(),
        }
    }

    fn finish(mut self, value: Value, at: Register, root: Option<Value>) -> (Program, Vec<Value>) {
        self.root = root;
        self.value(value, at);
        (Program { instructions: self.instructions, inputs: self.inputs.len(), phases: self.phases }, self.inputs)
    }

    /// Whether the product's epilogue computes a value.
    fn computes(&self, value: Value) -> bool {
        self.product.is_some_and(|(anchor, claim)| anchor == value || claim.place(value).is_some())
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
        if view.is_identity(elements) {
            return from;
        }
        match &self.instructions[from] {
            // There and back again.
            Instruction::Index { from, view: there } if view.undoes(there) => *from,
            _ => self.push(Instruction::Index { from, view }),
        }
    }

    /// The register that holds element `at` of `value`.
    fn value(&mut self, value: Value, at: Register) -> Register {
        if let Some(register) = self.known.get(&(value, at)) {
            return *register;
        }
        let node = self.graph.node(value);
        let register = if self.product.is_some_and(|(anchor, _)| anchor == value) {
            self.push(Instruction::Accumulator)
        } else if self.computes(value) && matches!(node.op, Op::Permute(_)) {
            // Its place says where the element goes; what it is, is its operand's element.
            self.value(node.operands[0], 0)
        } else if self.kept[value.0] && Some(value) != self.root && !self.computes(value) {
            let input = self.inputs.iter().position(|input| *input == value).unwrap_or_else(|| {
                self.inputs.push(value);
                self.inputs.len() - 1
            });
            self.push(Instruction::Load { input, at })
        } else if let (Some((permuted, view)), false) = (self.aliases.get(&value), self.computes(value)) {
            let at = self.index(at, view.clone(), node.shape.elements());
            self.value(*permuted, at)
        } else if let Op::Reduce { reduction, .. } = &node.op {
            // Along a row, whatever row it is: the elements of the row that this element is in.
            let phase = match self.reduced.get(&value) {
                Some(phase) => *phase,
                None => {
                    let operand = self.value(node.operands[0], 0);
                    self.phases.push(Phase { reduction: *reduction, value: operand });
                    self.reduced.insert(value, self.phases.len() - 1);
                    self.phases.len() - 1
                }
            };
            self.push(Instruction::Reduced(phase))
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
                let view = broadcast_view(self.graph.shape(operands[0]), shape);
                let at = self.index(at, view, elements);
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
            // The rest is kept, and so loaded before it comes to this.
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
