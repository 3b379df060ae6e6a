//! The choice of values that a plan stores in 16 bits, where its target asks for them: the operands and results of
//! products and poolings, which are nearly all memory traffic. Arithmetic and sums over a batch are in
//! 32 bits.

use super::fusion::{Group, is_fusible, operands, storage};
use super::kernels::{Fusion, Kernel};
use super::plan::Outcome;
use crate::graph::{Graph, Op, Value};
use crate::tensor::DType;
use std::collections::HashSet;

/// The values (storages, not reshapes) that are stored in 16 bits. A parameter among them keeps its 32 bits and gets a
/// copy in 16 bits.
///
/// `full`: values that stay in 32 bits, together with the values from which they are computed element by element: the
/// gradients of parameters, assigned values and the metrics.
pub(super) fn halves(graph: &Graph, groups: &[Group], full: impl IntoIterator<Item = Value>) -> HashSet<Value> {
    let mut wanted: HashSet<Value> = HashSet::new();
    let mut barred: HashSet<Value> = elementwise_ancestors(graph, full);
    for group in groups {
        let kernel = group.kernel(graph);
        let row = kernel.row();
        let full_precision = graph.node(group.anchor).full_precision;
        for operand in operands(graph, group).iter().map(|operand| storage(graph, *operand)) {
            if row.halves && !full_precision {
                wanted.insert(operand);
            } else if !row.halves && !matches!(graph.node(operand).op, Op::Parameter { .. }) {
                // Kernels that can read 16 bits read the copy of a parameter.
                barred.insert(operand);
            }
        }
        let elements = group.results.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Element { .. }));
        for value in elements.map(|(value, _)| storage(graph, *value)) {
            let made = row.fusion == Fusion::Epilogue && row.halves;
            if kernel == Kernel::Conv2dGradWeight || (row.fusion != Fusion::Epilogue && !row.halves) {
                // Partial sums, and results of a kernel that writes 32 bits.
                barred.insert(value);
            } else if made && !full_precision {
                wanted.insert(value);
            }
        }
    }
    let real = |value: &Value| {
        let node = graph.node(*value);
        node.dtype == DType::Float && !matches!(node.op, Op::Input { .. }) && !barred.contains(value)
    };
    wanted.into_iter().filter(real).collect()
}

/// These values, and the values from which they are computed element by element.
fn elementwise_ancestors(graph: &Graph, values: impl IntoIterator<Item = Value>) -> HashSet<Value> {
    let mut found = HashSet::new();
    let mut open: Vec<Value> = values.into_iter().collect();
    while let Some(value) = open.pop() {
        let value = storage(graph, value);
        let node = graph.node(value);
        // The copy of a parameter is not the parameter.
        if matches!(node.op, Op::Parameter { .. }) || !found.insert(value) {
            continue;
        }
        if is_fusible(&node.op) {
            open.extend(&node.operands);
        }
    }
    found
}
