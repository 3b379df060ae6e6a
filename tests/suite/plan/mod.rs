//! Plans and the table of kernels.

pub mod estimate;
pub mod kernels;
pub mod plans;
