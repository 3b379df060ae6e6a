//! Runs plans on a GPU. The only part of the crate that names wgpu.

mod adapter;
mod ceiling;
mod session;
mod specialise;

pub use adapter::{AdapterSummary, Gpu, adapters};
pub use ceiling::{Buffers, LaunchCost, Probe, launch_cost};
pub use session::{Session, Statistics};
pub use specialise::{Shader, specialise};
