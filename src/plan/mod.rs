//! Plans: a graph turned into a fixed, printable list of launches with a place in memory for every value.
//!
//! [`Plan::new`] decides what fuses with what, in which order launches run, when memory is free again and how large
//! each grid is. A plan is plain data: no device is known here, and the CPU runs the plan that the GPU runs.
//!
#![doc = include_str!("README.md")]

pub mod buffers;
mod channels_last;
mod cost;
mod estimate;
mod fusion;
mod hardware;
mod kernels;
mod limits;
mod lower;
mod memory;
mod optimizer;
#[allow(clippy::module_inception)] // The folder is named for the layer, the file for the type it defines.
mod plan;
mod precision;
mod products;
mod program;
pub mod state;
mod target;
mod tile;
mod training;

pub use estimate::{Estimate, LaunchEstimate};
pub use hardware::Hardware;
pub use kernels::{Access, Binding, Element, Extent, Fusion, Kernel, Row, Scratch, TABLE, TILE_CONSTANTS, TILE_SOURCE};
pub use limits::Limits;
pub use lower::Request;
pub use memory::{LayoutEntry, ParameterLayout, foresee};
pub use optimizer::{Method, Optimizer};
pub use plan::{Buffer, Outcome, OwnKernel, Plan, Slot, Step, bindings, grid, workgroup_bytes};
pub use program::{Axis, Instruction, Phase, Program, Register, View};
pub use state::{LossScale, State};
pub use target::{Target, Without};
pub use tile::{Family, Product, Tile};
pub use training::{Gradients, Metrics, Trained, Training};
