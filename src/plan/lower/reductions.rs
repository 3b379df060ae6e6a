//! The launches of sums and maxima: over all elements, over the rows of a matrix, and of partial results.

use super::launch::{Launch, Operand};
use super::{BUSY, Lowering};
use crate::graph::Value;
use crate::plan::fusion::Group;
use crate::plan::kernels::Kernel;
use crate::plan::memory::aligned;
use crate::plan::program::{Axis, Instruction, Program, View};
use crate::shape::Shape;
use crate::tensor::DType;

impl Lowering<'_> {
    pub(super) fn reduction(&mut self, group: &Group, kernel: Kernel) {
        let graph = self.graph;
        let node = graph.node(group.anchor);
        let elements = node.shape.elements();
        let length = graph.shape(node.operands[0]).elements() / elements;
        // Both passes are shortest when a sum of n is split into √n; neighbours read neighbours, so in a multiple of a
        // subgroup.
        let even = length.isqrt().next_multiple_of(32);
        let whole = length < 256 || self.target.without.splits;
        let splits = if whole { 1 } else { (BUSY / elements).min(even).max(1) };
        let per_element = group.program.as_ref().map_or(0, |program| program.operations()) + 1;
        let operations = (per_element * elements * length) as u64;
        let constants = vec![elements as u32, length as u32, splits as u32];
        let mut launch = self.new_launch(group, kernel, constants, vec![], operations);
        let from = if splits > 1 {
            // The parts of an element lie side by side.
            (self.transient(elements * splits, DType::Float), Shape::from([elements, splits]), DType::Float)
        } else {
            self.slot(group.anchor)
        };
        launch.slots.push(from.clone());
        for input in &group.inputs {
            let slot = self.slot(*input);
            launch.slots.push(slot);
        }
        self.launches.push(launch);
        if splits > 1 {
            self.join(kernel, group.anchor, from, [splits, 0]);
        }
    }

    pub(super) fn column_sums(&mut self, group: &Group) {
        let graph = self.graph;
        let node = graph.node(group.anchor);
        let columns = node.shape.elements();
        let rows = graph.shape(node.operands[0]).elements() / columns;
        // As in any reduction both passes should be short, but few columns leave invocations to spare.
        let most = (BUSY / columns.div_ceil(4)).clamp(1, 128);
        let parts = if rows < 256 || self.target.without.splits { 1 } else { rows.isqrt().min(most) };
        let per_element = group.program.as_ref().map_or(0, |program| program.operations()) + 1;
        let operations = (per_element * rows * columns) as u64;
        let stride = aligned(columns);
        let constants = [rows, columns, parts, stride, 64].map(|word| word as u32).to_vec();
        let launch = self.new_launch(group, Kernel::ColumnSums, constants, vec![], operations);
        self.outcomes(group, launch, [parts, stride]);
    }

    /// Launches that join partial results in a fixed order: `stride` elements apart, or side by side where it is 0.
    pub(super) fn join(&mut self, kernel: Kernel, value: Value, from: Operand, [parts, stride]: [usize; 2]) {
        let elements = self.graph.shape(value).elements();
        let label = self.graph.node(value).name.clone();
        let along = if stride == 0 { [parts, 1] } else { [1, stride] };
        let view = View::new([Axis::plain(elements, along[0]), Axis::plain(parts, along[1])], 0);
        // A long join is a reduction of its own.
        let even = parts.isqrt().next_multiple_of(32);
        let splits = if elements * 256 > parts || self.target.without.splits { 1 } else { even };
        let result = if splits > 1 {
            (self.transient(elements * splits, DType::Float), Shape::from([elements, splits]), DType::Float)
        } else {
            self.slot(value)
        };
        let mut instructions = vec![Instruction::Position];
        if !view.is_identity(elements * parts) {
            instructions.push(Instruction::Index { from: 0, view });
        }
        let at = instructions.len() - 1;
        instructions.push(Instruction::Load { input: 0, at });
        self.launches.push(Launch {
            kernel,
            constants: vec![elements as u32, parts as u32, splits as u32],
            slots: vec![result.clone(), from],
            outcomes: vec![],
            program: Some(Program { instructions, inputs: 1, phases: vec![] }),
            own: None,
            label,
            operations: (elements * parts) as u64,
            joins_previous: false,
        });
        if splits > 1 {
            self.join(kernel, value, result, [splits, 0]);
        }
    }
}
