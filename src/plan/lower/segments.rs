//! The launches that move blocks of parameters: copies of weights in 16 bits, and values that are assigned.

use super::Lowering;
use super::launch::{Home, Launch, Operand};
use crate::graph::{Op, Value};
use crate::plan::kernels::Kernel;
use crate::plan::memory::{ALIGNMENT, ParameterLayout, aligned, aligned_halves};
use crate::shape::Shape;
use crate::tensor::DType;

impl Lowering<'_> {
    /// The launch that makes copies of weights in 16 bits, where there are any.
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
        let (words, count) = (blocks.len(), blocks.len() / 2 * ALIGNMENT);
        let table = self.buffer(&format!("weights of {name}"), DType::U32, words);
        self.buffers[table].content = blocks;
        let parameters = self.laid_out("parameters", layout);
        let lasting = |buffer: usize, elements: usize, dtype: DType| {
            (Home::Lasting { buffer, offset: 0 }, Shape::from([elements]), dtype)
        };
        self.launches.push(Launch {
            kernel: Kernel::Narrow,
            constants: vec![count as u32],
            slots: vec![
                lasting(parameters, layout.elements(), DType::Float),
                lasting(table, words, DType::U32),
                lasting(buffer, end, DType::Half),
            ],
            outcomes: vec![],
            program: None,
            own: None,
            label: "weights".to_owned(),
            operations: 0,
            joins_previous: false,
        });
    }

    /// The launches that give parameters, and what else is laid out as they are, their assigned values; under a guard, where
    /// that is a finite number.
    pub(super) fn assign<'a>(
        &mut self,
        name: &str,
        layout: &ParameterLayout,
        blocks: Vec<u32>,
        guard: Option<Operand>,
        targets: impl Iterator<Item = &'a str>,
    ) {
        let (words, count) = (blocks.len(), blocks.len() / 2 * ALIGNMENT);
        let values = self.buffer("assigned", DType::Float, count);
        let table = self.buffer(&format!("assignments of {name}"), DType::U32, words);
        self.buffers[table].content = blocks;
        let lasting = |buffer: usize, elements: usize, dtype: DType| {
            (Home::Lasting { buffer, offset: 0 }, Shape::from([elements]), dtype)
        };
        let kernel = if guard.is_some() { Kernel::GuardedAssign } else { Kernel::Assign };
        for target in targets {
            let target = self.laid_out(target, layout);
            let mut slots = vec![lasting(values, count, DType::Float), lasting(table, words, DType::U32)];
            slots.extend(guard.clone());
            slots.push(lasting(target, layout.elements(), DType::Float));
            self.launches.push(Launch {
                kernel,
                constants: vec![count as u32],
                slots,
                outcomes: vec![],
                program: None,
                own: None,
                label: "assign".to_owned(),
                operations: 0,
                joins_previous: false,
            });
        }
    }
}
