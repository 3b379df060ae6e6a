//! All tests, in one binary: linked once, run side by side. `PINHOLE_TEST_DEVICE` names the adapter; none is a failure.

#[path = "suite/cases.rs"]
mod cases;
#[path = "suite/check.rs"]
mod check;
#[path = "suite/data.rs"]
mod data;
#[path = "suite/gradients.rs"]
mod gradients;
#[path = "suite/parity.rs"]
mod parity;
#[path = "suite/reference.rs"]
mod reference;
#[path = "suite/spec.rs"]
mod spec;
