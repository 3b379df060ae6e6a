//! All tests, in one binary: linked once, run side by side. `PINHOLE_TEST_DEVICE` names the adapter; none is a failure.

// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

mod arrays;
mod augment;
#[cfg(feature = "cli")]
mod averages;
#[cfg(feature = "cli")]
mod bad_input;
#[cfg(feature = "cli")]
mod bench;
mod beside;
mod cases;
mod check;
mod codes;
#[cfg(feature = "cli")]
mod concurrency;
mod custom;
mod data;
#[cfg(feature = "cli")]
mod download;
mod embed;
mod extend;
#[cfg(feature = "cli")]
mod faults;
mod fixtures;
mod formats;
mod fuzz;
mod fuzz_files;
mod golden;
mod gradients;
mod graph_errors;
mod half;
mod inference;
#[cfg(feature = "cli")]
mod inspect;
mod kernels;
mod labels;
mod latent;
mod layers;
mod linear;
#[cfg(feature = "cli")]
mod lone_samples;
mod losses;
mod masks;
mod modes;
mod modules;
mod numbers;
mod parity;
mod penalties;
mod pictures;
#[cfg(feature = "cli")]
mod place;
mod plans;
#[cfg(feature = "cli")]
mod program;
#[cfg(all(feature = "cli", unix))]
mod readme;
#[cfg(feature = "cli")]
mod recommend;
mod reference;
#[cfg(feature = "cli")]
mod resume;
#[cfg(feature = "cli")]
mod resume_data;
#[cfg(feature = "cli")]
mod scaling;
mod schema;
#[cfg(feature = "cli")]
mod search;
mod selftest;
#[cfg(feature = "cli")]
mod shapes;
mod short_forms;
mod spec;
#[cfg(all(feature = "cli", unix))]
mod special_files;
#[cfg(feature = "cli")]
mod stacked;
mod steps;
mod structure;
mod suggestions;
mod support;
#[cfg(feature = "cli")]
mod tables;
#[cfg(feature = "cli")]
mod text_data;
#[cfg(feature = "cli")]
mod through;
mod told;
mod training;
mod tune;
mod unroll;
mod updates;
#[cfg(not(target_vendor = "apple"))]
mod validation;
mod warnings;
mod weightless;
mod weights;
