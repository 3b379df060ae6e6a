//! Runs plans on a GPU. Apart from [`Device::from_wgpu`](crate::Device::from_wgpu) and the re-export of the crate, only
//! this folder names wgpu.

mod adapter;
mod autotune;
mod cache;
mod ceiling;
mod emit;
mod profile;
mod session;
mod shader;
mod unroll;

pub use adapter::{AdapterSummary, Gpu, adapters, is_guarded};
#[doc(hidden)]
pub use autotune::disagreement;
pub use autotune::{Choice, Tuning, TuningReport};
pub use cache::cache_folder;
#[doc(hidden)]
pub use cache::folder_by;
pub use ceiling::{Buffers, LaunchCost, Probe, launch_cost};
pub use emit::Language;
pub use session::{Session, Statistics};
pub use shader::{Shader, specialise};
