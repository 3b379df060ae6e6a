//! The graph: derivatives, refused shapes, random graphs.

pub mod errors;
pub mod fuzz;
pub mod gradients;
