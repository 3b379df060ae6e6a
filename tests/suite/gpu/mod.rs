//! Devices: the GPU against the CPU, precision, tiles, shaders of an application.

pub mod autotune;
pub mod custom_kernels;
pub mod exactness;
pub mod half;
pub mod parity;
pub mod shared_device;
pub mod unroll;
#[cfg(not(target_vendor = "apple"))]
pub mod validation;
