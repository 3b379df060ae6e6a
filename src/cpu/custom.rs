//! The twin of `shaders/custom.wgsl`.

use super::real::Real;
use crate::graph::{ElementKernel, Operand};
use crate::shape::Shape;
use rayon::prelude::*;

/// y\[i\] = element(i), in double precision: the application provides one function for both precisions.
pub(super) fn custom<T: Real>(kernel: &ElementKernel, shapes: &[Shape], inputs: &[&[T]], y: &mut [T]) {
    let reads: Vec<_> = inputs.iter().map(|x| move |i: usize| x.get(i).map_or(0.0, |x| x.to_f64())).collect();
    let operands: Vec<Operand> = shapes.iter().zip(&reads).map(|(shape, read)| Operand::new(shape, read)).collect();
    y.par_iter_mut().with_min_len(1024).enumerate().for_each(|(i, y)| *y = T::from_f64(kernel.element(&operands, i)));
}
