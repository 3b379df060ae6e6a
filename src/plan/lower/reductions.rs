//! The launches of sums and maxima: over all elements, over the rows of a matrix, and of partial results.

use super::launch::{Launch, Operand};
use super::{BUSY, Lowering};
use crate::graph::Value;
use crate::plan::fusion::{Group, storage};
use crate::plan::kernels::Kernel;
use crate::plan::memory::aligned;
use crate::plan::program::{Axis, Instruction, Program, View};

/// Sums shorter than this are not split.
const SHORTEST: usize = 256;
/// Sums of columns shorter than this are not split where they cost no further launch.
const SHORTEST_JOINED: usize = 32;

impl Lowering<'_> {
    /// Adds the launch of a sum or maximum, and the launch that joins its parts where it is split.
    pub(super) fn reduction(&mut self, group: &Group, kernel: Kernel) {
        let graph = self.graph;
        let node = graph.node(group.anchor);
        let elements = node.shape.elements();
        let length = graph.shape(node.operands[0]).elements() / elements;
        let lanes = self.lanes(length);
        // Both passes are shortest when a sum of n is split into √n, rounded up to whole subgroups.
        let each = length / lanes;
        let even = each.isqrt().next_multiple_of(32);
        let whole = each < SHORTEST || self.target.without.splits;
        let splits = if whole { 1 } else { (BUSY / lanes / elements).min(even).max(1) };
        let operations = (group.operations() + 1) * elements * length;
        let result = self.whole_or_parts(group.anchor, splits);
        let operands = std::iter::once(result.clone()).chain(group.inputs.iter().map(|input| self.slot(*input)));
        let operands = operands.collect();
        let launch = self.new_launch(group, kernel, &[elements, length, splits, lanes], operands, operations);
        self.launches.push(launch);
        if splits > 1 {
            self.join(kernel, group.anchor, result, [splits, 0]);
        }
    }

    /// Adds the launch of a sum over all axes but the last ones.
    pub(super) fn column_sums(&mut self, group: &Group) {
        let graph = self.graph;
        let node = graph.node(group.anchor);
        let columns = node.shape.elements();
        let rows = graph.shape(node.operands[0]).elements() / columns;
        // As in any reduction both passes should be short, but few columns leave invocations to spare.
        let most = (BUSY / columns.div_ceil(4)).clamp(1, 128);
        let lanes = self.lanes(rows).min(if columns > 16 { 16 } else { 32 });
        let each = rows / lanes;
        // The optimiser's launch joins the parts of a gradient; others' parts are joined by a launch of their own.
        let joined = group.results.iter().any(|(value, _)| self.gradients.contains_key(&storage(graph, *value)));
        let shortest = if joined && self.target.shares_sums() { SHORTEST_JOINED } else { SHORTEST };
        let parts = if each < shortest || self.target.without.splits { 1 } else { each.isqrt().min(most) };
        let operations = (group.operations() + 1) * rows * columns;
        let stride = aligned(columns);
        let constants = [rows, columns, parts, stride, lanes, 64];
        let launch = self.new_launch(group, Kernel::ColumnSums, &constants, vec![], operations);
        self.outcomes(group, launch, [parts, stride]);
    }

    /// Adds launches that join partial results in a fixed order: `stride` elements apart, or side by side where 0.
    pub(super) fn join(&mut self, kernel: Kernel, value: Value, from: Operand, [parts, stride]: [usize; 2]) {
        let elements = self.graph.shape(value).elements();
        let along = if stride == 0 { [parts, 1] } else { [1, stride] };
        let view = View::new([Axis::plain(elements, along[0]), Axis::plain(parts, along[1])], 0);
        // A long join is a reduction that is split again.
        let lanes = self.lanes(parts);
        let each = parts / lanes;
        let even = each.isqrt().next_multiple_of(32);
        let splits = if elements * SHORTEST > each || self.target.without.splits { 1 } else { even };
        let result = self.whole_or_parts(value, splits);
        let mut instructions = vec![Instruction::Position];
        if !view.is_identity(elements * parts) {
            instructions.push(Instruction::Index { from: 0, view });
        }
        instructions.push(Instruction::Load { input: 0, at: instructions.len() - 1 });
        let (constants, label) = ([elements, parts, splits, lanes], &self.graph.node(value).name);
        let mut launch = Launch::new(kernel, &constants, vec![result.clone(), from], elements * parts, label);
        launch.step.program = Some(Program { instructions, inputs: 1, phases: vec![] });
        self.launches.push(launch);
        if splits > 1 {
            self.join(kernel, value, result, [splits, 0]);
        }
    }

    /// Invocations of a workgroup that share a sum of this length.
    fn lanes(&self, length: usize) -> usize {
        if self.target.shares_sums() { 1 << (length / 4).max(1).ilog2().min(6) } else { 1 }
    }

    /// The slot of a value, or a transient for `parts` parts of each of its elements, side by side.
    fn whole_or_parts(&mut self, value: Value, parts: usize) -> Operand {
        if parts > 1 { self.floats([self.graph.shape(value).elements(), parts]) } else { self.slot(value) }
    }
}
