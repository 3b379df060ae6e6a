//! Which values a plan stores in 16 bits, where its target asks for that: what products and poolings read or make, for that
//! is nearly all that goes through memory. Everything is computed in 32 bits, and whatever is summed over a batch stays so.

use super::fusion::{Group, is_fusible, operands, storage};
use super::kernels::{Fusion, Kernel};
use super::plan::Outcome;
use crate::graph::{Graph, Op, Value};
use crate::tensor::DType;
use std::collections::HashSet;

/// The values (storages, not reshapes) that are stored in 16 bits, parameters among them: of these a copy is.
///
/// `full` are the gradients of parameters, what is assigned and the metrics. These and what they follow from element by
/// element stay in 32 bits.
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
                // Of a parameter there is a copy for those that can read it.
                barred.insert(operand);
            }
        }
        let elements = group.results.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Element { .. }));
        for value in elements.map(|(value, _)| storage(graph, *value)) {
            let made = row.fusion == Fusion::Epilogue && row.halves;
            if kernel == Kernel::Conv2dGradWeight || (row.fusion != Fusion::Epilogue && !row.halves) {
                // Partial sums, or a kernel that writes 32 bits.
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

/// These values and what they are computed from element by element.
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
