//! Runs plans on a GPU. Only this folder names wgpu, apart from [`Device::from_wgpu`](crate::Device::from_wgpu) and the
//! crate's re-export of wgpu.

mod adapter;
mod adapters;
mod autotune;
mod cache;
mod ceiling;
mod emit;
mod expression;
mod profile;
mod session;
mod shader;
mod unroll;

pub use adapter::{Gpu, is_guarded};
pub use adapters::{AdapterSummary, adapters};
#[doc(hidden)]
pub use autotune::disagreement;
pub use autotune::{Tuning, TuningReport};
pub(crate) use autotune::{median, random};
#[doc(hidden)]
pub use cache::folder_by;
pub use cache::{Choice, cache_folder};
pub use ceiling::{Buffers, Probe, launch_cost};
pub use emit::Language;
pub use session::{Session, Statistics};
pub use shader::{Shader, specialise};
