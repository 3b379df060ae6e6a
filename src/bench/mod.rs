//! Benchmarks: the standard workloads, the ceilings of a device, and the cost of a launch.
//!
//! A [`Workload`] is a training step or a single op with all data resident on the device. [`measure()`] times a
//! workload in blocks of steps and reports the median block; [`Ceilings`] are the highest rates that the device
//! reaches. `pinhole bench` prints both, and `benches/README.md` explains each number.
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
mod workload;

pub use ceilings::{Ceilings, LaunchMeasurement, launches};
pub use loaded::{Loaded, Material};
pub use measure::{Measurement, Timing, measure};
pub use workload::Workload;
