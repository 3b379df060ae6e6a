//! The tests, one binary: see each module's own first line.

#[path = "suite/data.rs"]
mod data;
#[path = "suite/fixtures.rs"]
mod fixtures;
#[path = "suite/golden.rs"]
mod golden;
#[path = "suite/inference.rs"]
mod inference;
#[path = "suite/spec.rs"]
mod spec;
#[path = "suite/support.rs"]
mod support;
#[path = "suite/training.rs"]
mod training;
