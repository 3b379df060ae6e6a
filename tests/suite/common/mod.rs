//! Helpers of all tests: the table of cases, comparisons, the reference evaluator, small models and temporary folders.

pub mod cases;
pub mod check;
pub mod fixtures;
pub mod reference;
pub mod selftest;
pub mod support;
#[cfg(feature = "cli")]
pub mod temp;
