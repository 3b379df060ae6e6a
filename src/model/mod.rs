//! Models: a model file becomes graphs of an encoder, a decoder and a loss, and weights go to files and come back.

mod adversarial;
mod bounds;
mod chosen;
mod extensions;
pub mod latent;
mod network;
mod penalty;
pub mod preset;
mod row;
pub mod spec;
mod table;
pub mod weights;

pub(crate) use chosen::across_columns;
pub use extensions::Extensions;
pub use network::{Decoded, Network};
pub use row::{Given, Held, RowLayout, Rows, Sample};
pub(crate) use row::{given_rows, masked, row_shape};
pub use spec::ModelSpec;
