//! Graphs of ops and values with static shapes, and their derivatives as ordinary nodes.
//!
//! A [`Graph`] knows no device and does no input or output. Ops are closed under differentiation: the derivative of
//! every op is written in ops, so that gradients are part of the graph and can be differentiated again.

mod build;
mod composites;
mod custom;
mod element;
mod grad;
#[allow(clippy::module_inception)] // The folder is named for the layer, the file for the type it defines.
mod graph;
mod op;
mod recurrence;

pub use composites::Standardised;
pub use custom::CustomKernel;
pub(crate) use element::sizes;
pub use element::{ElementKernel, Operand};
pub use graph::{Graph, MAX_ELEMENTS, Node, STATE_LENGTH, Scope, Value};
pub use op::{Binary, Direction, Op, Pool, Pooling, Reduction, Unary, Window};
pub(crate) use op::{each_binary, each_unary};
pub use recurrence::MAX_HIDDEN;
