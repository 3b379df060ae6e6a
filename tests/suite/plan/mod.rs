//! Plans and the table of kernels.

pub mod kernels;
pub mod plans;
