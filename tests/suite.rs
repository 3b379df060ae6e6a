//! All tests, in one binary: linked once, run side by side. `PINHOLE_TEST_DEVICE` names the adapter; none is a failure.

// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

#[path = "suite/arrays.rs"]
mod arrays;
#[path = "suite/augment.rs"]
mod augment;
#[cfg(feature = "cli")]
#[path = "suite/averages.rs"]
mod averages;
#[cfg(feature = "cli")]
#[path = "suite/bad_input.rs"]
mod bad_input;
#[cfg(feature = "cli")]
#[path = "suite/bench.rs"]
mod bench;
#[path = "suite/beside.rs"]
mod beside;
#[path = "suite/cases.rs"]
mod cases;
#[path = "suite/check.rs"]
mod check;
#[path = "suite/codes.rs"]
mod codes;
#[cfg(feature = "cli")]
#[path = "suite/concurrency.rs"]
mod concurrency;
#[path = "suite/custom.rs"]
mod custom;
#[path = "suite/data.rs"]
mod data;
#[cfg(feature = "cli")]
#[path = "suite/download.rs"]
mod download;
#[path = "suite/embed.rs"]
mod embed;
#[path = "suite/extend.rs"]
mod extend;
#[cfg(feature = "cli")]
#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/fixtures.rs"]
mod fixtures;
#[path = "suite/formats.rs"]
mod formats;
#[path = "suite/fuzz.rs"]
mod fuzz;
#[path = "suite/fuzz_files.rs"]
mod fuzz_files;
#[path = "suite/golden.rs"]
mod golden;
#[path = "suite/gradients.rs"]
mod gradients;
#[path = "suite/graph_errors.rs"]
mod graph_errors;
#[path = "suite/half.rs"]
mod half;
#[path = "suite/inference.rs"]
mod inference;
#[cfg(feature = "cli")]
#[path = "suite/inspect.rs"]
mod inspect;
#[path = "suite/kernels.rs"]
mod kernels;
#[path = "suite/labels.rs"]
mod labels;
#[path = "suite/latent.rs"]
mod latent;
#[path = "suite/layers.rs"]
mod layers;
#[path = "suite/linear.rs"]
mod linear;
#[cfg(feature = "cli")]
#[path = "suite/lone_samples.rs"]
mod lone_samples;
#[path = "suite/losses.rs"]
mod losses;
#[path = "suite/masks.rs"]
mod masks;
#[path = "suite/modes.rs"]
mod modes;
#[path = "suite/modules.rs"]
mod modules;
#[path = "suite/numbers.rs"]
mod numbers;
#[path = "suite/parity.rs"]
mod parity;
#[path = "suite/penalties.rs"]
mod penalties;
#[path = "suite/pictures.rs"]
mod pictures;
#[cfg(feature = "cli")]
#[path = "suite/place.rs"]
mod place;
#[path = "suite/plans.rs"]
mod plans;
#[cfg(feature = "cli")]
#[path = "suite/program.rs"]
mod program;
#[cfg(all(feature = "cli", unix))]
#[path = "suite/readme.rs"]
mod readme;
#[cfg(feature = "cli")]
#[path = "suite/recommend.rs"]
mod recommend;
#[path = "suite/reference.rs"]
mod reference;
#[cfg(feature = "cli")]
#[path = "suite/resume.rs"]
mod resume;
#[cfg(feature = "cli")]
#[path = "suite/resume_data.rs"]
mod resume_data;
#[cfg(feature = "cli")]
#[path = "suite/scaling.rs"]
mod scaling;
#[path = "suite/schema.rs"]
mod schema;
#[cfg(feature = "cli")]
#[path = "suite/search.rs"]
mod search;
#[path = "suite/selftest.rs"]
mod selftest;
#[cfg(feature = "cli")]
#[path = "suite/shapes.rs"]
mod shapes;
#[path = "suite/short_forms.rs"]
mod short_forms;
#[path = "suite/spec.rs"]
mod spec;
#[cfg(all(feature = "cli", unix))]
#[path = "suite/special_files.rs"]
mod special_files;
#[cfg(feature = "cli")]
#[path = "suite/stacked.rs"]
mod stacked;
#[path = "suite/steps.rs"]
mod steps;
#[path = "suite/structure.rs"]
mod structure;
#[path = "suite/suggestions.rs"]
mod suggestions;
#[path = "suite/support.rs"]
mod support;
#[cfg(feature = "cli")]
#[path = "suite/tables.rs"]
mod tables;
#[cfg(feature = "cli")]
#[path = "suite/text_data.rs"]
mod text_data;
#[cfg(feature = "cli")]
#[path = "suite/through.rs"]
mod through;
#[path = "suite/told.rs"]
mod told;
#[path = "suite/training.rs"]
mod training;
#[path = "suite/tune.rs"]
mod tune;
#[path = "suite/unroll.rs"]
mod unroll;
#[path = "suite/updates.rs"]
mod updates;
#[cfg(not(target_vendor = "apple"))]
#[path = "suite/validation.rs"]
mod validation;
#[path = "suite/warnings.rs"]
mod warnings;
#[path = "suite/weightless.rs"]
mod weightless;
#[path = "suite/weights.rs"]
mod weights;
