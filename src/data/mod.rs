//! Data on the host: reading samples, and writing pictures and numbers.
//!
//! A [`Dataset`] holds samples of one shape, as bytes if the source has bytes: training keeps them as bytes on the
//! device too, and converts a byte `b` to `b / 255` when a batch is gathered. [`load`] makes data sets from names and
//! paths as users type them; [`load_with`] also resizes pictures to a model's input, and leaves those in their files
//! that do not fit in memory.
//!
//! Invariants: a data set is never empty, and all its values are finite. No reader of numbers takes more memory than
//! twice its file and a MiB, whatever a header claims; for packed files, three times the unpacked size; and twice that
//! for signed bytes, which become f32. Readers of names (ratings, tables) also keep each name once, and training tables
//! keep each number in 64 bits until their samples are split. Nothing here knows a device or a model.
#![doc = include_str!("README.md")]

mod archive;
mod arrangement;
mod bounds;
pub mod csv;
mod dataset;
pub mod digits;
#[cfg(feature = "cli")]
pub mod download;
mod elements;
mod emnist;
mod folder;
mod gzip;
pub mod idx;
pub mod images;
mod labels;
mod load;
pub mod npy;
pub mod npz;
mod numbers;
pub mod pictures;
mod pixels;
mod ratings;
mod reading;
mod records;
mod scaling;
mod shapes;
mod side_data;
mod source;
mod sparse;
mod stream;
pub mod table;
mod text;
mod training_sets;

pub(crate) use arrangement::expect_input;
pub use arrangement::{Arrangement, arrangement, fits_code};
pub(crate) use bounds::Bounds;
pub(crate) use dataset::Checksum;
pub use dataset::{Dataset, Splits};
pub use digits::digits;
pub use folder::picture_files;
pub use labels::{LabelColumn, Labels};
pub(crate) use labels::{class_of, listed, whole};
pub use load::{load, load_array, load_pairs, load_with};
pub use ratings::ratings;
pub use reading::Reading;
pub use records::quoted;
pub use scaling::{Samples, Scaling};
pub(crate) use shapes::channels_first;
pub use shapes::is_picture;
pub(crate) use side_data::check_lengths;
pub use source::{absolute_source, is_same_source, may_be_same_source, relative_path};
pub use sparse::SparseRows;
pub use table::{Column, Columns};
pub use training_sets::TrainingSets;
