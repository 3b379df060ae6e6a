//! The launches that move blocks of parameters: copies of weights in 16 bits, and values that are assigned.

use super::Lowering;
use super::launch::{Home, Operand, lasting};
use crate::graph::{Op, Value};
use crate::plan::buffers::PARAMETERS;
use crate::plan::kernels::Kernel;
use crate::plan::memory::{ALIGNMENT, ParameterLayout, aligned, aligned_halves};
use crate::tensor::DType;

impl Lowering<'_> {
    /// Adds the launch that copies weights in 16 bits, where there are any.
    pub(super) fn narrow(&mut self, name: &str, layout: &ParameterLayout) {
        let mut blocks: Vec<u32> = Vec::new();
        let mut copies: Vec<(Value, usize)> = Vec::new();
        let mut end = 0;
        for (index, node) in self.graph.nodes().iter().enumerate() {
            let Op::Parameter { name } = &node.op else { continue };
            let Some(offset) = layout.offset(name).filter(|_| self.halves.remove(&Value(index))) else { continue };
            copies.push((Value(index), end));
            for block in (0..aligned(node.shape.elements())).step_by(ALIGNMENT) {
                blocks.extend([offset + block, end + block].map(|word| word as u32));
            }
            end += aligned_halves(node.shape.elements());
        }
        if copies.is_empty() {
            return;
        }
        let buffer = self.buffer("weights", DType::Half, end);
        for (value, offset) in copies {
            self.copies.insert(value, Home::Lasting { buffer, offset });
        }
        let count = blocks.len() / 2 * ALIGNMENT;
        let table = self.table(&format!("weights of {name}"), blocks);
        let parameters = lasting(self.laid_out(PARAMETERS, layout, 1), 0, [layout.elements()], DType::Float);
        let weights = lasting(buffer, 0, [end], DType::Half);
        self.push(Kernel::Narrow, &[count], vec![parameters, table, weights], 0, "weights");
    }

    /// Adds the launches that assign values to parameters and to the other buffers of their layout, `targets`. Under a
    /// guard they do so only where the guard is finite.
    pub(super) fn assign<'a>(
        &mut self,
        name: &str,
        layout: &ParameterLayout,
        blocks: Vec<u32>,
        guard: Option<Operand>,
        targets: impl Iterator<Item = &'a str>,
    ) {
        let count = blocks.len() / 2 * ALIGNMENT;
        let values = self.lasting("assigned", DType::Float, [count]);
        let table = self.table(&format!("assignments of {name}"), blocks);
        let kernel = if guard.is_some() { Kernel::GuardedAssign } else { Kernel::Assign };
        for target in targets {
            let target = lasting(self.laid_out(target, layout, 1), 0, [layout.elements()], DType::Float);
            let read = [values.clone(), table.clone()].into_iter().chain(guard.clone());
            self.push(kernel, &[count], read.chain([target]).collect(), 0, "assign");
        }
    }
}
