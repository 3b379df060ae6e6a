//! Fusion: the choice of values kept in memory, and of the launch that computes each from other kept values.
//!
//! Results of elementwise and data-moving ops are stored only where several launches, an output or a product need them.
//! Other results are computed inside the launch that reads them, as its source (maps and reductions), or inside the
//! launch that makes their operands: a product's epilogue computes all values that depend on the product element by
//! element, may store several of them, and sums those that are summed over all elements.

mod claims;
mod decided;
mod expression;
mod group;
mod order;
mod reach;
mod rows;

use self::decided::{Claim, Claims, Rows};
use self::expression::{Aliases, Builder, Expression, Memory, part_to_keep, reduction_source};
pub(super) use self::group::{Group, is_fusible, operands, reads, storage};
use self::group::{kernel_of, only_moves, trailing_reduction};
use self::order::ordered;
use self::reach::Reach;
use super::kernels::{Fusion, Kernel};
use super::plan::Outcome;
use super::target::Target;
use crate::graph::{Binary, Graph, Op, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Decides which values are kept and fuses all others, for the given outputs (storages, not reshapes). Returns the
/// launches in an order in which they can run.
///
/// Sums in `apart` are launched separately, since their partial sums must be few.
///
/// A first attempt fuses all values that can be fused. Where a launch would need more buffers than it can bind, or two
/// launches would wait for each other, remedies follow, one at a time: a part of an expression is kept, or left out of
/// its launch. Only decisions that depend on a remedy are made anew, so that its time does not grow with the graph.
pub(super) fn fuse(graph: &Graph, outputs: &[Value], apart: &HashSet<Value>, target: &Target) -> Vec<Group> {
    let mut fusion = Fusing::new(graph, outputs, apart, target);
    // Each remedy is new, so the loop ends: without any epilogue, every launch is small enough.
    loop {
        fusion.update();
        let remedy = match fusion.remedy() {
            Some(remedy) => remedy,
            None => match ordered(graph, fusion.groups.values().flatten()) {
                Ok(order) => {
                    let mut groups = fusion.groups;
                    return order.iter().filter_map(|anchor| groups.remove(anchor).flatten()).collect();
                }
                Err(last) => Remedy::LeaveOut(last),
            },
        };
        fusion.apply(remedy);
    }
}

/// A change of decisions where launches bind too much or wait for each other.
enum Remedy {
    /// Keeps a value in memory.
    Keep(Value),
    /// Leaves a value out of the launch that computes it.
    LeaveOut(Value),
}

/// The state of an attempt at fusion.
struct Fusing<'a> {
    graph: &'a Graph,
    apart: &'a HashSet<Value>,
    target: &'a Target,
    /// Whether a value is an output.
    wanted: Vec<bool>,
    /// See [`readers`].
    readers: Vec<usize>,
    /// The needed values that read a value, in order.
    users: Vec<Vec<Value>>,
    /// The needed values that read a value's memory, directly or through reshapes.
    memory_users: Vec<Vec<Value>>,
    /// Reachability from products and from reductions of rows.
    reach: Reach<'a>,
    /// Values that some launch reads from memory under any decision, or that are kept so that launches stay small.
    memory: Vec<bool>,
    /// Values that no epilogue may compute.
    barred: Vec<bool>,
    /// Values that the epilogues of products compute.
    claims: Claims,
    /// Chains over rows.
    rows: Rows,
    /// Whether a value is kept in memory.
    kept: Vec<bool>,
    aliases: Aliases,
    /// The launches by the value whose kernel they run, the chains over rows by their results; `None` where a launch
    /// would bind too much.
    groups: BTreeMap<Value, Option<Group>>,
    /// Values whose launches would bind too much.
    crowded: BTreeSet<Value>,
    /// For each value, the launches whose expressions depend on whether the value is kept.
    visitors: HashMap<Value, Vec<Value>>,
    /// Values for which the decision whether to keep them is to be made again.
    unsettled: Vec<Value>,
}

/// For each value, the number of launches or expressions that read it, an output's place counting as one; 0 where the
/// value is not needed.
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
        // An op that only moves data is repeated in each of its readers, so each of these reads the operand.
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

impl<'a> Fusing<'a> {
    fn new(graph: &'a Graph, outputs: &[Value], apart: &'a HashSet<Value>, target: &'a Target) -> Fusing<'a> {
        let count = graph.nodes().len();
        let readers = readers(graph, outputs);
        let needed: Vec<Value> = (0..count).filter(|index| readers[*index] > 0).map(Value).collect();
        let mut wanted = vec![false; count];
        outputs.iter().for_each(|output| wanted[output.0] = true);
        let mut users: Vec<Vec<Value>> = vec![vec![]; count];
        let mut memory_users: Vec<Vec<Value>> = vec![vec![]; count];
        for value in &needed {
            let node = graph.node(*value);
            for operand in &node.operands {
                if users[operand.0].last() != Some(value) {
                    users[operand.0].push(*value);
                }
                let operand = storage(graph, *operand);
                if node.op != Op::Reshape && memory_users[operand.0].last() != Some(value) {
                    memory_users[operand.0].push(*value);
                }
            }
        }
        let products = |value: &Value| kernel_of(graph, *value).row().fusion == Fusion::Epilogue;
        let anchors: BTreeSet<Value> = needed.iter().copied().filter(products).collect();
        let firsts = needed.iter().filter_map(|value| Some((*value, trailing_reduction(graph, *value)?)));
        let firsts: BTreeMap<Value, [usize; 2]> = firsts.collect();
        let reach = Reach::new(graph, anchors.iter().chain(firsts.keys()).copied().collect());
        let of = anchors.iter().map(|anchor| (*anchor, Claim::default())).collect();
        let mut fusing = Fusing {
            graph,
            apart,
            target,
            wanted,
            readers,
            users,
            memory_users,
            reach,
            memory: vec![],
            barred: vec![false; count],
            claims: Claims { of, owner: vec![None; count], stale: anchors },
            rows: Rows::new(count, firsts),
            kept: vec![false; count],
            aliases: Aliases::new(),
            groups: BTreeMap::new(),
            crowded: BTreeSet::new(),
            visitors: HashMap::new(),
            unsettled: needed,
        };
        fusing.memory = fusing.read_as_memory();
        fusing
    }

    /// The values that outputs depend on.
    fn needed(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.readers.len()).filter(|index| self.readers[*index] > 0).map(Value)
    }

    /// The most outcomes and inputs that a fused expression of a kernel may have.
    fn room(&self, kernel: Kernel) -> usize {
        kernel.row().fused(self.target.storage_buffers())
    }

    fn from(&self) -> Memory<'_> {
        Memory { graph: self.graph, kept: &self.kept, aliases: &self.aliases }
    }

    /// For each value, whether an output or an op that reads memory needs it stored.
    fn read_as_memory(&self) -> Vec<bool> {
        let graph = self.graph;
        let mut memory = self.wanted.clone();
        for node in self.needed().map(|value| graph.node(value)) {
            // Products and gathers read memory, not expressions; reductions take an expression as their source.
            let reads = !is_fusible(&node.op) && !matches!(node.op, Op::Reduce { .. });
            // A small value that is repeated over a large one would be computed many times.
            let spreads = node.op == Op::Broadcast;
            for operand in &node.operands {
                let operand = storage(graph, *operand);
                let computed = matches!(graph.node(operand).op, Op::Unary(_) | Op::Binary(_) | Op::Concat { .. });
                memory[operand.0] |= reads || (spreads && computed);
            }
        }
        memory
    }

    /// Makes the decisions that depend on the changes of a remedy; at first, all decisions.
    fn update(&mut self) {
        let (mut claims, mut moved) = self.stake();
        moved.iter().for_each(|value| self.rows.touch(*value));
        moved.extend(self.chain());
        moved.append(&mut self.unsettled);
        moved.sort_unstable();
        moved.dedup();
        // Which values of a claim are kept depends on the owners of their readers.
        for value in &moved {
            let operands = self.graph.node(*value).operands.iter().map(|operand| storage(self.graph, *operand));
            claims.extend(operands.chain([*value]).filter_map(|x| self.claims.home(x)));
        }
        claims.sort_unstable();
        claims.dedup();
        let mut changed: Vec<Value> = Vec::new();
        let alone = moved.iter().filter(|value| self.claims.home(**value).is_none());
        for value in alone.copied().collect::<Vec<_>>() {
            let kept = match self.rows.owner[value.0] {
                Some(_) => self.rows.of_result(value).is_some(),
                None => self.is_kept_alone(value),
            };
            self.set_kept(value, kept, &mut changed);
            if self.aliases.remove(&value).is_some() {
                changed.push(value);
            }
        }
        for anchor in &claims {
            self.keep_of_claim(*anchor, &mut changed);
        }
        let mut stale: BTreeSet<Value> = moved.into_iter().chain(claims).collect();
        for value in changed {
            stale.extend(self.visitors.remove(&value).unwrap_or_default());
            stale.insert(value);
        }
        for value in stale {
            self.build(value);
        }
    }

    fn set_kept(&mut self, value: Value, kept: bool, changed: &mut Vec<Value>) {
        if self.kept[value.0] != kept {
            self.kept[value.0] = kept;
            changed.push(value);
        }
    }

    /// Whether a value that no other launch computes is kept.
    fn is_kept_alone(&self, value: Value) -> bool {
        let op = &self.graph.node(value).op;
        let several = self.readers[value.0] > 1 && !only_moves(op) && !self.is_recomputed(value);
        let owned = self.claims.owner[value.0].is_some() || self.rows.owner[value.0].is_some();
        !is_fusible(op) || (several && !owned) || self.memory[value.0]
    }

    /// Whether each reader computes a value again: a sum, difference or product of a stored value of its size with
    /// smaller ones takes no longer to compute than to load, and a launch to store it costs more.
    fn is_recomputed(&self, value: Value) -> bool {
        let (graph, node) = (self.graph, self.graph.node(value));
        let cheap = matches!(node.op, Op::Binary(Binary::Add | Binary::Subtract | Binary::Multiply));
        if !cheap || self.target.software || self.target.without.recomputing || self.readers[value.0] > 3 {
            return false;
        }
        let elements = node.shape.elements();
        let mut full = 0;
        let stored = node.operands.iter().all(|operand| {
            let mut source = storage(graph, *operand);
            while matches!(graph.node(source).op, Op::Broadcast) {
                source = storage(graph, graph.node(source).operands[0]);
            }
            let large = 2 * graph.shape(source).elements() > elements;
            full += usize::from(large);
            !large || !is_fusible(&graph.node(source).op)
        });
        stored && full == 1
    }

    /// Decides which values of a claim are kept, and which can be read from a kept permutation of them.
    fn keep_of_claim(&mut self, anchor: Value, changed: &mut Vec<Value>) {
        let graph = self.graph;
        let members = std::mem::take(&mut self.claims.of.entry(anchor).or_default().members);
        let permuted: HashSet<Value> = members
            .iter()
            .map(|member| (*member, graph.node(*member)))
            .filter(|(member, node)| matches!(node.op, Op::Permute(_)) && self.memory[member.0])
            .map(|(_, node)| storage(graph, node.operands[0]))
            .collect();
        // Expressions outside compute a value from kept values, where they can.
        let mut available: HashMap<Value, bool> = HashMap::new();
        for value in std::iter::once(anchor).chain(members.iter().copied()) {
            let node = graph.node(value);
            let derived = value != anchor && node.operands.iter().all(|x| available.get(x).copied().unwrap_or(true))
                || permuted.contains(&value);
            // A reshape shares its operand's memory and readers.
            let kept = if node.op == Op::Reshape {
                self.is_kept_alone(value)
            } else {
                let mut readers = self.memory_users[value.0].iter();
                let outside = readers.any(|reader| self.claims.owner[reader.0] != Some(anchor));
                self.memory[value.0] || (outside && !derived)
            };
            self.set_kept(value, kept, changed);
            available.insert(value, derived || kept);
        }
        for total in self.claims.of[&anchor].totals.clone() {
            self.set_kept(total, true, changed);
        }
        let mut aliases = Aliases::new();
        for member in &members {
            let node = graph.node(*member);
            let place = self.claims.of[&anchor].place(*member).cloned().flatten();
            let Some((from, place)) = node.operands.first().map(|x| storage(graph, *x)).zip(place) else { continue };
            if matches!(node.op, Op::Permute(_)) && self.kept[member.0] && !self.kept[from.0] {
                aliases.insert(from, (*member, place));
            }
        }
        for value in std::iter::once(anchor).chain(members.iter().copied()) {
            let alias = aliases.remove(&value);
            if self.aliases.remove(&value) != alias {
                changed.push(value);
            }
            self.aliases.extend(alias.map(|alias| (value, alias)));
        }
        self.claims.of.entry(anchor).or_default().members = members;
    }

    /// Builds the launch whose kernel computes a value, if there is one.
    fn build(&mut self, value: Value) {
        self.groups.remove(&value);
        self.crowded.remove(&value);
        let node = self.graph.node(value);
        let source = matches!(node.op, Op::Input { .. } | Op::Parameter { .. });
        let (group, visited) = if self.rows.of_result(value).is_some() {
            self.row_launch(value)
        } else if self.claims.of.contains_key(&value) {
            self.epilogue(value)
        } else if self.kept[value.0]
            && !source
            && self.claims.owner[value.0].is_none()
            && self.rows.owner[value.0].is_none()
        {
            self.source(value)
        } else {
            return;
        };
        for visited in visited {
            self.visitors.entry(visited).or_default().push(value);
        }
        if group.is_none() {
            self.crowded.insert(value);
        }
        self.groups.insert(value, group);
    }

    /// The remedy for the first launch that would bind too much.
    fn remedy(&self) -> Option<Remedy> {
        let value = *self.crowded.first()?;
        if let Some(rows) = self.rows.of_result(value) {
            return Some(Remedy::LeaveOut(rows.members[0]));
        }
        Some(match self.claims.of.get(&value) {
            Some(claim) => Remedy::LeaveOut(*claim.members.last().or(claim.totals.last()).unwrap_or(&value)),
            None => Remedy::Keep(part_to_keep(self.from(), value, self.room(Kernel::Map))),
        })
    }

    fn apply(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::Keep(part) if !self.memory[part.0] => {
                self.memory[part.0] = true;
                self.unsettled.push(part);
            }
            Remedy::LeaveOut(member) if !self.barred[member.0] => {
                self.barred[member.0] = true;
                self.claims.stale.extend(self.claims.owner[member.0]);
                self.rows.touch(member);
            }
            Remedy::Keep(_) | Remedy::LeaveOut(_) => {
                self.barred.fill(true);
                self.claims.stale = self.claims.of.keys().copied().collect();
                self.rows.stale = self.rows.firsts.keys().copied().collect();
            }
        }
    }

    /// The launch that stores an expression's value, if the launch can bind it, and the values that determined it.
    fn stored(&self, value: Value, kernel: Kernel, expression: Expression) -> (Option<Group>, Vec<Value>) {
        let Expression { program, inputs, visited } = expression;
        let fits = inputs.len() <= self.room(kernel);
        let rows = self.rows.of_result(value).map(|rows| rows.size);
        let results = vec![(value, Outcome::Element { value: 0, place: None })];
        (fits.then_some(Group { anchor: value, program: Some(program), inputs, results, rows }), visited)
    }

    /// The launch of a chain over rows.
    fn row_launch(&self, result: Value) -> (Option<Group>, Vec<Value>) {
        let expression = Builder::new(self.from(), None).finish(result, 0, Some(result));
        self.stored(result, Kernel::Rows, expression)
    }

    /// The launch of a product and of all values that its epilogue computes.
    fn epilogue(&self, anchor: Value) -> (Option<Group>, Vec<Value>) {
        let graph = self.graph;
        let claim = &self.claims.of[&anchor];
        let mut builder = Builder::new(self.from(), Some((anchor, claim)));
        let mut results = Vec::new();
        for value in std::iter::once(anchor).chain(claim.members.iter().copied()).filter(|value| self.kept[value.0]) {
            // A reshape shares the memory of its operand, whose result is in the list where it is kept.
            if graph.node(value).op == Op::Reshape {
                continue;
            }
            let place = claim.place(value).cloned().flatten();
            let elements = graph.shape(value).elements();
            let at = place.as_ref().map_or(0, |view| builder.index(0, view.clone(), elements));
            let register = builder.value(value, at);
            results.push((value, Outcome::Element { value: register, place }));
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
        let Expression { program, inputs, mut visited } = builder.end();
        // The outcomes depend on which members are kept.
        visited.extend(&claim.members);
        let fits = results.len() + inputs.len() <= self.room(kernel_of(graph, anchor));
        let group = Group { anchor, program: (!plain).then_some(program), inputs, results, rows: None };
        (fits.then_some(group), visited)
    }

    /// The launch of any other kept value.
    fn source(&self, value: Value) -> (Option<Group>, Vec<Value>) {
        let node = self.graph.node(value);
        let kernel = kernel_of(self.graph, value);
        let expression = if kernel == Kernel::ColumnSums {
            Builder::new(self.from(), None).finish(node.operands[0], 0, None)
        } else if let Op::Reduce { axes, .. } = &node.op {
            reduction_source(self.from(), node.operands[0], axes)
        } else if is_fusible(&node.op) {
            Builder::new(self.from(), None).finish(value, 0, Some(value))
        } else {
            let results = vec![(value, Outcome::Element { value: 0, place: None })];
            return (Some(Group { anchor: value, program: None, inputs: vec![], results, rows: None }), vec![]);
        };
        self.stored(value, kernel, expression)
    }
}
