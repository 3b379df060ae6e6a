//! Benchmarks: the standard workloads, the ceilings of a device, and the cost of a launch.
//!
//! A [`Workload`] is a training step or a single op with everything resident on the device. [`measure()`] times it in
//! blocks of steps and reports the median block; [`Ceilings`] says how much of the device that is. `pinhole bench`
//! prints both, and `benches/README.md` says what each number means.
//!
//! ```
//! use pinhole::bench::{Timing, Workload, measure};
//! let settings = Timing { blocks: 1, block_seconds: 0.01, ..Timing::default() };
//! let measurement = measure(Workload::MatMul(256), "cpu", &settings)?;
//! assert!(measurement.gflops > 0.0);
//! # Ok::<(), pinhole::Error>(())
//! ```

mod ceilings;
mod host;
mod loaded;
mod measure;
mod numbers;
mod split_sweep;
mod workload;

pub use ceilings::{Ceilings, LaunchMeasurement, launches};
pub use loaded::{Loaded, Material};
pub use measure::{Measurement, Timing, measure};
pub use split_sweep::{SplitMeasurement, split_sweep};
pub use workload::Workload;
