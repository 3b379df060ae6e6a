//! Runs plans on a GPU. The only part of the crate that names wgpu.

mod adapter;
mod cache;
mod ceiling;
mod emit;
mod profile;
mod session;
mod specialise;
mod tune;
mod unroll;

pub use adapter::{AdapterSummary, Gpu, adapters, is_guarded};
pub use cache::cache_folder;
#[doc(hidden)]
pub use cache::folder_by;
pub use ceiling::{Buffers, LaunchCost, Probe, launch_cost};
pub use emit::Language;
pub use session::{Session, Statistics};
pub use specialise::{Shader, specialise};
#[doc(hidden)]
pub use tune::disagreement;
pub use tune::{Choice, Tuning, TuningReport};
