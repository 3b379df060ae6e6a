//! All tests, in one binary: linked once, run side by side. `PINHOLE_TEST_DEVICE` names the adapter; none is a failure.
//!
//! A folder for each room of the sources, and `common` for what the tests share; `tests/README.md` says what is where.

// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

mod architecture;
#[cfg(feature = "cli")]
mod cli;
mod common;
mod data;
mod gpu;
mod graph;
mod model;
mod nn;
mod plan;
#[cfg(all(feature = "cli", unix))]
mod readme;
#[cfg(feature = "cli")]
mod run;
#[cfg(feature = "cli")]
mod task;
mod train;
#[cfg(feature = "cli")]
mod tune;

#[cfg(feature = "cli")]
use common::temp;
use common::{cases, check, reference, support};
