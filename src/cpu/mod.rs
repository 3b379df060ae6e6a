//! Runs plans on the CPU: the twins of the kernels, generic over f32 and f64.
//!
//! In f64 the CPU is the reference for GPUs and for finite differences; in f32 it is the device of a machine without a
//! GPU, with threads and with products by the `gemm` crates. Each file has the name of a shader, and its functions
//! the names of the entry points.

/// Defines functions of a number type by their values.
macro_rules! functions {
    (#[$inline:meta] $number:ty => $($(#[$doc:meta])* $name:ident($($x:ident),*) = $value:expr;)*) => {
        $($(#[$doc])* #[$inline] pub fn $name($($x: $number),*) -> $number { $value })*
    };
}

mod assign;
mod batch;
mod conv2d;
mod custom;
mod depthwise;
mod double;
mod elementwise;
mod gather;
mod indices;
mod math;
mod matmul;
mod optimizer;
mod pool;
mod random;
mod real;
mod recurrence;
mod reduce;
mod rows;
mod session;
mod sizes;
mod state;
mod top_k;
mod unit_columns;
mod warp;

pub use real::Real;
pub use session::Session;

use crate::plan::{Access, Kernel, Outcome, Step};
use elementwise::{Fused, Scattered, Sink};
use std::sync::Mutex;

/// An input of a launch. Those of the kernel's bindings come first, in order, then those of its fused expression.
pub(crate) enum Source<'a, T> {
    Floats(&'a [T]),
    Words(&'a [u32]),
    Bytes(&'a [u8]),
}

/// An output of a launch, written or updated.
pub(crate) enum Target<'a, T> {
    Floats(&'a mut [T]),
    Words(&'a mut [u32]),
}

impl<'a, T> Source<'a, T> {
    fn floats(&self) -> &'a [T] {
        if let Source::Floats(values) = self { values } else { &[] }
    }

    fn words(&self) -> &'a [u32] {
        if let Source::Words(values) = self { values } else { &[] }
    }

    fn bytes(&self) -> &'a [u8] {
        if let Source::Bytes(values) = self { values } else { &[] }
    }
}

impl<T> Target<'_, T> {
    fn floats(&mut self) -> &mut [T] {
        if let Target::Floats(values) = self { values } else { &mut [] }
    }

    fn words(&mut self) -> &mut [u32] {
        if let Target::Words(values) = self { values } else { &mut [] }
    }
}

/// Names of the constants whose product is the number of elements of the images of a convolution or a pool.
const IMAGES: &[&str] = &["BATCH", "C", "H", "W"];
/// Names of the constants whose product is the number of elements of pooled images.
const POOLED: &[&str] = &["BATCH", "C", "P", "Q"];

/// The values of constants by their names; 1 for a constant that the kernel does not have.
fn sizes<const N: usize>(step: &Step, names: [&str; N]) -> [usize; N] {
    names.map(|name| step.constant(name).unwrap_or(1) as usize)
}

/// The constants of a convolution, see [`sizes::Sizes`].
fn convolution(step: &Step) -> [usize; 24] {
    let [splits, stride] = sizes(step, ["SPLITS", "SPLIT_STRIDE"]);
    let mut all = [0; 24];
    all[..22].copy_from_slice(&step.constants::<22>());
    all[22..].copy_from_slice(&[splits, stride]);
    all
}

/// The constants of a matrix product, see [`matmul::product`].
fn matrices(step: &Step) -> [usize; 12] {
    let [batch, m, n, k] = sizes(step, ["PANELS", "LINES", "COLUMNS", "DEPTH"]);
    let [left_batch, left_line, left_step, right_batch, right_column, right_step, _, _] = step.constants::<8>();
    [batch, m, n, k, left_batch, left_line, left_step, right_batch, right_step, right_column, 1, 1]
}

/// Runs a kernel with an epilogue: `run` gets the array for the kernel's results, and the epilogue. The product of the
/// constants of these names is the number of results.
fn with_epilogue<'a, T: Real>(
    step: &'a Step,
    names: &[&str],
    inputs: Vec<&'a [T]>,
    targets: &'a mut [Target<T>],
    run: impl FnOnce(&mut [T], &Fused<T>),
) {
    let (mut y, mut value, mut sinks) = (None, None, Vec::new());
    for (outcome, target) in step.outcomes.iter().zip(targets) {
        let target = target.floats();
        match outcome {
            Outcome::Element { value: register, place: None } if y.is_none() => {
                y = Some(target);
                value = Some(*register);
            }
            Outcome::Element { value, place } => {
                let target = Scattered::new(target);
                sinks.push(Sink::Elements { target, value: *value, place: place.as_ref() });
            }
            Outcome::Total(value) => sinks.push(Sink::Total { target, value: *value, runs: Mutex::default() }),
        }
    }
    let fused = Fused::new(step.program.as_ref(), inputs).leaving(value, sinks);
    let mut stage = Vec::new();
    let y = y.unwrap_or_else(|| {
        let size = |name: &&str| step.constant(name).unwrap_or(1) as usize;
        stage.resize(names.iter().map(size).product(), T::ZERO);
        &mut stage
    });
    run(y, &fused);
    fused.finish();
}

/// Runs one launch. The match has no wildcard, so that a new kernel does not compile without its twin.
pub(crate) fn execute<T: Real>(step: &Step, sources: &[Source<T>], targets: &mut [Target<T>]) {
    let bindings = step.kernel.row().bindings.iter().filter(|binding| binding.access == Access::Read).count();
    let inputs: Vec<&[T]> = sources[bindings..].iter().map(Source::floats).collect();
    let floats = |position: usize| sources[position].floats();
    let words = |position: usize| sources[position].words();
    let fused = |inputs| Fused::new(step.program.as_ref(), inputs);
    let backward = || step.constant("BACKWARD") == Some(1);
    let gradients = || optimizer::Inputs {
        gradients: floats(0),
        segments: words(1),
        schedule: floats(2),
        state: words(3),
        norm: None,
    };
    match step.kernel {
        Kernel::Map => fused(inputs).fill(targets[0].floats()),
        Kernel::MatMul => with_epilogue(step, &["PANELS", "LINES", "COLUMNS"], inputs, targets, |y, fused| {
            matmul::product(matrices(step), floats(0), floats(1), y, fused);
        }),
        Kernel::Conv2d => with_epilogue(step, &["BATCH", "O", "P", "Q"], inputs, targets, |y, fused| {
            conv2d::forward(convolution(step), floats(1), floats(0), y, fused);
        }),
        Kernel::Conv2dGradInput => with_epilogue(step, IMAGES, inputs, targets, |x, fused| {
            conv2d::grad_input(convolution(step), floats(1), floats(0), x, fused);
        }),
        Kernel::Conv2dGradWeight => with_epilogue(step, &["SPLITS", "SPLIT_STRIDE"], inputs, targets, |partial, _| {
            conv2d::grad_weight(convolution(step), floats(1), floats(0), partial);
        }),
        Kernel::SumPool => with_epilogue(step, POOLED, inputs, targets, |y, fused| {
            pool::sum_pool(step.constants(), floats(0), y, fused);
        }),
        Kernel::SumPoolSpread => with_epilogue(step, IMAGES, inputs, targets, |y, fused| {
            pool::sum_pool_spread(step.constants(), floats(0), y, fused);
        }),
        Kernel::MaxPool => with_epilogue(step, POOLED, inputs, targets, |y, fused| {
            pool::max_pool(step.constants(), floats(0), floats(1), y, fused);
        }),
        Kernel::MaxPoolSpread => with_epilogue(step, IMAGES, inputs, targets, |y, fused| {
            pool::max_pool_spread(step.constants(), floats(0), floats(1), y, fused);
        }),
        Kernel::LinearResize => with_epilogue(step, IMAGES, inputs, targets, |y, fused| {
            pool::linear_resize(step.constants(), floats(0), y, fused);
        }),
        Kernel::LinearResizeSpread => with_epilogue(step, POOLED, inputs, targets, |y, fused| {
            pool::linear_resize_spread(step.constants(), floats(0), y, fused);
        }),
        Kernel::Sum => reduce::sum(step.constants(), targets[0].floats(), &fused(inputs)),
        Kernel::Rows => rows::rows(step.constants(), targets[0].floats(), &fused(inputs)),
        Kernel::ColumnSums => reduce::column_sums(step.constants(), targets[0].floats(), &fused(inputs)),
        Kernel::Max => reduce::maximum_of(step.constants(), targets[0].floats(), &fused(inputs)),
        Kernel::Gather => gather::gather(step.constants(), floats(0), words(1), targets[0].floats()),
        Kernel::ScatterAdd => gather::scatter_add(step.constants(), floats(0), words(1), targets[0].floats()),
        Kernel::Warp => warp::warp(step.constants(), floats(0), floats(1), targets[0].floats()),
        Kernel::Indices => indices::indices(step.constants(), floats(0), targets[0].words()),
        Kernel::TopK => top_k::top_k(step.constants(), floats(0), targets[0].floats()),
        Kernel::Lstm => recurrence::lstm(step.constants(), backward(), floats(0), floats(1), targets[0].floats()),
        Kernel::Gru => {
            recurrence::gru(step.constants(), backward(), floats(0), floats(1), floats(2), targets[0].floats());
        }
        Kernel::LinearForward | Kernel::LinearBackward => {
            let [_, _, _, gates] = step.constants::<4>();
            let forward = step.kernel == Kernel::LinearForward;
            let run = if forward { recurrence::linear_forward } else { recurrence::linear_backward };
            run(step.constants(), backward(), gates, floats(0), floats(1), floats(2), targets[0].floats());
        }
        Kernel::BatchFloats => with_epilogue(step, &["COUNT", "WIDTH"], inputs, targets, |y, fused| {
            batch::batch_floats(step.constants(), floats(0), words(1), words(2), y);
            fused.fill(y);
        }),
        Kernel::BatchBytes => with_epilogue(step, &["COUNT", "WIDTH"], inputs, targets, |y, fused| {
            batch::batch_bytes(step.constants(), sources[0].bytes(), words(1), words(2), y);
            fused.fill(y);
        }),
        Kernel::RandomUniform => with_epilogue(step, &["COUNT"], inputs, targets, |y, fused| {
            random::uniform_draw(step.constants(), words(0), y);
            fused.fill(y);
        }),
        Kernel::RandomBits => random::bits(step.constants(), words(0), targets[0].words()),
        Kernel::Update | Kernel::LimitedUpdate => {
            if let [parameters, moments] = targets {
                let norm = (step.kernel == Kernel::LimitedUpdate).then(|| floats(4));
                let inputs = optimizer::Inputs { norm, ..gradients() };
                let settings = optimizer::Settings::new(step.constants());
                optimizer::update(settings, inputs, parameters.floats(), moments.floats());
            }
        }
        Kernel::Collect => {
            let inputs = optimizer::Inputs::current(floats(0), words(1), floats(2), false);
            optimizer::collect(step.constants(), inputs, targets[0].floats());
        }
        Kernel::CollectedUpdate => {
            if let [parameters, moments] = targets {
                let inputs = optimizer::Inputs::current(&[], words(0), floats(1), step.constant("NORMED") == Some(1));
                let settings = optimizer::Settings { collected: true, ..optimizer::Settings::new(step.constants()) };
                optimizer::update(settings, inputs, parameters.floats(), moments.floats());
            }
        }
        Kernel::Squares => {
            let inputs =
                optimizer::Inputs { gradients: floats(0), segments: words(1), schedule: &[], state: &[], norm: None };
            optimizer::squares(step.constants(), inputs, targets[0].floats());
        }
        Kernel::SquaresOfSums => {
            optimizer::squares_of_sums(step.constants(), gradients(), floats(4), targets[0].floats());
        }
        Kernel::Norm => optimizer::join(step.constants(), floats(0), floats(1), words(2), targets[0].floats()),
        Kernel::Average => optimizer::average(step.constants(), floats(0), floats(1), words(2), targets[0].floats()),
        Kernel::Advance => {
            if let [ring, state] = targets {
                state::advance(step.constants(), floats(0), ring.floats(), state.words());
            }
        }
        Kernel::Assign => assign::assign(floats(0), words(1), targets[0].floats()),
        Kernel::UnitColumns => unit_columns::unit_columns(step.constants(), targets[0].floats()),
        Kernel::Narrow => assign::narrow(floats(0), words(1), targets[0].floats()),
        Kernel::GuardedAssign => assign::guarded_assign(floats(0), words(1), floats(2)[0], targets[0].floats()),
        Kernel::Custom => {
            if let Some(own) = &step.own {
                custom::custom(&own.kernel, &own.shapes[1..], &inputs, targets[0].floats());
            }
        }
    }
}
