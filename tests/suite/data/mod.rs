//! Sources, formats and scaling of data.

pub mod arrays;
#[cfg(feature = "cli")]
pub mod download;
pub mod formats;
pub mod fuzz_files;
pub mod labels;
pub mod pictures;
#[cfg(feature = "cli")]
pub mod sample_shapes;
#[cfg(feature = "cli")]
pub mod scaling;
pub mod sources;
#[cfg(all(feature = "cli", unix))]
pub mod special_files;
#[cfg(feature = "cli")]
pub mod tables;
#[cfg(feature = "cli")]
pub mod text;
