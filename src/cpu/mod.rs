//! Runs plans on the CPU: the twins of the kernels, generic over f32 and f64.
//!
//! In f64 it is the oracle that GPUs are held against and that finite differences are taken with; in f32 it is the device
//! of a machine without a GPU, threaded, with its products done by the `gemm` crate. Each file has a shader's name, and
//! its functions are the shader's entry points.

mod batch;
mod conv2d;
mod double;
mod elementwise;
mod gather;
mod math;
mod matmul;
mod optimizer;
mod random;
mod real;
mod reduce;
mod session;
mod state;

pub use real::Real;
pub use session::Session;

use crate::plan::{Kernel, Step};
use elementwise::Fused;

/// What a launch reads: the slots of its bindings in order, then those of its fused expression.
pub(crate) enum Source<'a, T> {
    Floats(&'a [T]),
    Words(&'a [u32]),
    Bytes(&'a [u8]),
}

/// What a launch writes or updates.
pub(crate) enum Target<'a, T> {
    Floats(&'a mut [T]),
    Words(&'a mut [u32]),
}

impl<'a, T> Source<'a, T> {
    fn floats(&self) -> &'a [T] {
        match self {
            Source::Floats(values) => values,
            Source::Words(_) | Source::Bytes(_) => &[],
        }
    }

    fn words(&self) -> &'a [u32] {
        match self {
            Source::Words(values) => values,
            Source::Floats(_) | Source::Bytes(_) => &[],
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Source::Bytes(values) => values,
            Source::Floats(_) | Source::Words(_) => &[],
        }
    }
}

impl<T> Target<'_, T> {
    fn floats(&mut self) -> &mut [T] {
        match self {
            Target::Floats(values) => values,
            Target::Words(_) => &mut [],
        }
    }

    fn words(&mut self) -> &mut [u32] {
        match self {
            Target::Words(values) => values,
            Target::Floats(_) => &mut [],
        }
    }
}

/// Runs one launch. The match has no wildcard: a new kernel does not compile before its twin is here.
pub(crate) fn execute<T: Real>(step: &Step, sources: &[Source<T>], targets: &mut [Target<T>]) {
    let own = step.kernel.row().bindings.iter().filter(|b| b.access == crate::plan::Access::Read).count();
    let inputs: Vec<&[T]> = sources[own..].iter().map(Source::floats).collect();
    let fused = Fused::new(step.program.as_ref(), inputs);
    let floats = |position: usize| sources[position].floats();
    let words = |position: usize| sources[position].words();
    match step.kernel {
        Kernel::Map => elementwise::map(step.constants(), targets[0].floats(), &fused),
        Kernel::MatMul => matmul::product(step.constants(), floats(0), floats(1), targets[0].floats(), &fused),
        Kernel::Conv2d => conv2d::forward(step.constants(), floats(0), floats(1), targets[0].floats(), &fused),
        Kernel::Conv2dGradInput => {
            conv2d::grad_input(step.constants(), floats(0), floats(1), targets[0].floats(), &fused);
        }
        Kernel::Conv2dGradWeight => {
            conv2d::grad_weight(step.constants(), floats(0), floats(1), targets[0].floats());
        }
        Kernel::Sum => reduce::sum(step.constants(), targets[0].floats(), &fused),
        Kernel::Max => reduce::maximum_of(step.constants(), targets[0].floats(), &fused),
        Kernel::Gather => gather::gather(step.constants(), floats(0), words(1), targets[0].floats()),
        Kernel::ScatterAdd => gather::scatter_add(step.constants(), floats(0), words(1), targets[0].floats()),
        Kernel::BatchFloats => {
            batch::batch_floats(step.constants(), floats(0), words(1), words(2), targets[0].floats());
        }
        Kernel::BatchBytes => {
            batch::batch_bytes(step.constants(), sources[0].bytes(), words(1), words(2), targets[0].floats());
        }
        Kernel::RandomUniform => random::uniform_draw(step.constants(), words(0), targets[0].floats(), &fused),
        Kernel::RandomBits => random::bits(step.constants(), words(0), targets[0].words()),
        Kernel::Sgd => optimizer::sgd(floats(0), floats(1), words(2), targets[0].floats()),
        Kernel::Adam => {
            if let [parameters, first, second] = targets {
                let moments = [first.floats(), second.floats()];
                optimizer::adam(floats(0), floats(1), words(2), parameters.floats(), moments);
            }
        }
        Kernel::Advance => {
            if let [ring, state] = targets {
                state::advance(step.constants(), floats(0), ring.floats(), state.words());
            }
        }
    }
}
