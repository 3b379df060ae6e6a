//! Pinhole trains, uses and ships autoencoders on any GPU, through wgpu compute shaders, and on the CPU.
//!
//! ```
//! use pinhole::{Autoencoder, Device, ModelSpec, data};
//!
//! let mut spec = ModelSpec::resolve("dense")?; // a preset, or the path of a model file
//! spec.train.epochs = 1;
//! let digits = data::load("digits:600")?; // or a folder with MNIST's files
//! let mut autoencoder = Autoencoder::new(spec, Device::open("auto")?)?;
//! autoencoder.fit(&digits.train, digits.test.as_ref(), &mut ())?;
//! let picture = digits.train.rows_f32(0..1);
//! let code = autoencoder.encode(&picture)?;
//! let copy = autoencoder.decode(&code.to_f32())?;
//! assert_eq!(copy.to_f32(), autoencoder.reconstruct(&picture)?.to_f32());
//! # Ok::<(), pinhole::Error>(())
//! ```
//!
//! # Where to begin
//!
//! | to | read |
//! | --- | --- |
//! | train a model, encode, decode, save and load | [`Autoencoder`], [`Autoencoder::fit`] |
//! | write a model file: layers, losses, latents, training | [model files][model], [the built-in models][preset] |
//! | bring data: pictures, arrays, tables, iterators | [`data`] |
//! | watch training, or end it | [`train::Observer`], [an example][mnist_autoencoder] |
//! | train in a directory that can be resumed | [`run::Run`] |
//! | write a custom layer | [`nn::CustomLayer`], [an example][custom_loss] |
//! | write a custom loss | [`LossKind::custom`](model::config::LossKind::custom), [an example][custom_loss] |
//! | write a custom kernel | [`graph::CustomKernel`], [an example][custom_kernel] |
//! | use the wgpu device of an application | [`Device::from_wgpu`], [an example][embed_in_wgpu_app] |
//! | compute a graph without a model | [`Device::compute`], [an example][hello_graph] |
//! | use the `pinhole` program | [`guide::program`] |
//! | train classifiers and ensembles, recommend, tune | [`guide::walkthroughs`] |
//! | find a test, or add an op, a kernel, a layer, a loss, a latent | [`guide::tests`] |
//!
//! [preset]: mod@model::preset
//! [mnist_autoencoder]: guide::walkthroughs::mnist_autoencoder
//! [custom_loss]: guide::walkthroughs::custom_loss
//! [custom_kernel]: guide::walkthroughs::custom_kernel
//! [embed_in_wgpu_app]: guide::walkthroughs::embed_in_wgpu_app
//! [hello_graph]: guide::walkthroughs::hello_graph
//!
//! # Architecture
//!
//! A model and its training step are a **static graph**, which is differentiated, fused, ordered and given memory
//! **once**. The result is a **plan**, a printable list of kernel launches. A GPU then runs many steps of the plan in
//! one submission, without waiting for the host.
//!
//! ```text
//! src/
//!   error.rs shape.rs tensor.rs files.rs rng.rs suggest.rs
//!                  the ground: one error type, shapes, host arrays, atomic writes, random numbers, "did you mean"
//!   schema/        tables of keys: how files are read, written, checked and described; knows no model
//!   graph/         ops and values with static shapes, and gradients as ordinary nodes; no device, no IO
//!   plan/          fusion, order, buffer lifetimes, kernels, grids: plain data that prints
//!   cpu/ gpu/      the two places that execute a plan; every kernel in shaders/ has a twin of its name in cpu/
//!   device.rs      one type for both, and sessions: plans loaded on a device with their buffers
//!   nn/            layers and losses: shapes, parameters, initial values, nodes
//!   data/          data sets, and readers of every format
//!   draw/          charts and grids of pictures
//!   model/         model files (config/), latents (latent/), and the graphs of encoder, decoder and loss
//!   train/         training steps on a device: batches, schedules, validation, checkpoints, checks and profiles
//!   autoencoder.rs a model with weights on a device
//!   run/           run directories: training that can be resumed, pretraining, classifiers
//!   tune/          search over keys of a model file
//!   task/          uses of codes: generation, statistics, neighbours, ranking, ensembles, tables
//!   bench/         standard workloads, and the ceilings of a device
//!   cli/           the `pinhole` program: a file for each command
//! shaders/         WGSL that is valid as written; tests/ and benches/ each have a page
//! ```
//!
//! From a call to a launch there are four folders: [`nn`] and [`model`] make nodes, [`graph`] holds them, [`plan`]
//! orders them, and [`gpu`] or [`cpu`] executes them, behind one [`Device`].
//!
//! Architecture invariants:
//!
//! * Nothing imports upward in the tree above: a graph knows no plan, a plan no device, a device no model.
//! * wgpu is named in `gpu/`, [`Device::from_wgpu`] and the re-export of the crate, and nowhere else.
//! * Every match on an op or a kernel is without a wildcard: the compiler lists what a new one needs.
//! * A kernel writes its output and never adds to it; two gradients that meet are joined by a node. There are no float
//!   atomics: one seed, adapter and plan always give the same bits.
//! * A launch never reads a buffer that it writes, except the parameters, moments and state, which live as long as a
//!   run.
//! * Everything that changes from step to step lives on the device: the step's state, the schedule, the permutation,
//!   the ring of losses. Between two steps the host writes nothing, maps nothing and waits for nothing.
//! * Every random number of training and sampling comes from the counter-based generator in [`rng`].
//! * No mistake of a user ends in a panic: errors are [`Error`]s, each one line that says what, where and what to do.
//!
//! How a training step becomes few launches:
//!
//! * **Channels last.** A graph uses PyTorch's `[n, c, h, w]`; inside a plan, convolutions have the channels of a
//!   position side by side. Permutations between the two orders cost nothing, since a launch stores its result in the
//!   order of its readers. Parameters have that order on the device too, and are permuted when the host reads or writes
//!   them.
//! * **Products** (matrix products and the convolution trio) are one file of tiles, `shaders/tile.wgsl`, in three
//!   families: registers alone, a subgroup that shuffles, workgroup memory. The file of a product only says where its
//!   operands are. [`plan::Target`] chooses the [`plan::Tile`], by rules or by measurement.
//! * **Epilogues.** Elementwise ops on the result of a product are computed in the product's launch, which may store
//!   several values, in any order, and sums over all of them: the last layer's launch stores the loss and its
//!   derivative. Chains over the rows of a value (softmax, normalisations) are one launch too.
//! * **Shared dispatches.** The gradients of a layer's input, weight and bias run side by side in one dispatch.
//! * **Partial sums** of weights' gradients are joined in a fixed order by the launch that updates all parameters;
//!   those of the loss by the launch that moves the state on.
//! * **Limits** bound fusion and sharing: a launch binds at most as many buffers as the device allows. With four
//!   buffers, an update takes three launches instead of one: see [`plan::Limits`].
//! * **Half precision** is a property of slots: with [`plan::Target::half`], a plan stores values that products and
//!   poolings read or write in 16 bits, and a 16-bit copy of weights. Shaders convert to 32 bits as they load, and the
//!   CPU rounds as it stores. Sums, parameters, moments and losses have 32 bits. The loss's derivative is scaled by a
//!   number that the launch which computes the norm of the gradients keeps on the device ([`plan::LossScale`]).
//! * **Recurrences** over sequences are one launch for all steps, forward and backward, after one product that computes
//!   the contribution of the inputs of all steps.
//!
//! Fused expressions and constants are put into shaders by a small text expander ([`gpu::specialise()`]), which keeps
//! line numbers: shader files are WGSL that is valid as written.
//!
//! Layers and losses are written over a [`nn::Context`]: the graph being built, and what is known of the batch (its
//! condition, its lengths, and in training its target). Dropout and batch normalisation ask it whether the graph is one
//! of training.
//!
//! State that a layer keeps besides its parameters, such as running means, is stored in the layout of the parameters,
//! has no gradient, and gets its next value from [`graph::Graph::assign`] in one launch at the end of a step. Weights,
//! state, checkpoints and averages of weights therefore share one path.
//!
//! # Threads
//!
//! [`Device`], [`Autoencoder`], [`model::Network`], [`ModelSpec`], [`model::Extensions`], [`Dataset`],
//! [`graph::Graph`], [`plan::Plan`], [`tensor::Tensor`] and [`Error`] can be sent to other threads and shared between
//! them; [`Session`], [`train::Trainer`] and [`run::RunDirectory`] can be sent. Threads that use one [`Autoencoder`]
//! take turns. Threads that train separate models on one [`Device`] do not wait for each other on the host, and get
//! the bits that they would get alone.
//!
//! # Words
//!
//! | word | means |
//! | --- | --- |
//! | sample, batch | one input of a model; the samples of one training step |
//! | encoder, latent, code, decoder, reconstruction | the parts of an autoencoder; the latent outputs codes |
//! | target | what the decoder's output is compared with; the sample itself unless targets are given |
//! | condition | an extra input of encoder and decoder that is not reconstructed |
//! | loss, penalty | what training minimises; terms of the loss that depend on codes or weights |
//! | preset, model file | a built-in model; the TOML file of a model |
//! | run, checkpoint, resume | a directory of a training; its saved position; continuing from there to the same bits |
//! | tune | search over keys of a model file for the best values (`pinhole tune`, [`mod@tune`]) |
//! | autotune | measure which tiles compute products fastest (`--autotune`, [`gpu::Tuning`]) |
//! | search | find the samples with the nearest codes (`pinhole search`, [`task`]) |
//! | node, value | an op in a graph; its result, with a static shape |
//! | plan, launch, slot | an ordered list of launches; one call of a kernel; a range of memory |
//! | kernel, twin | a named WGSL entry point; the function that computes it on the CPU |
//! | tile | the part of a product that one invocation, subgroup or workgroup computes |
//! | epilogue, fused expression | elementwise ops computed inside another launch |
//! | adapter, device | as in wgpu; `cpu` is a device too |
//! | session | plans loaded on a device, with their buffers |

mod autoencoder;
pub mod bench;
pub mod cpu;
pub mod data;
pub mod device;
pub mod draw;
pub mod error;
mod files;
pub mod gpu;
pub mod graph;
pub mod model;
pub mod nn;
pub mod plan;
pub mod rng;
pub mod run;
mod schema;
pub mod shape;
mod suggest;
pub mod task;
pub mod tensor;
pub mod train;
pub mod tune;

/// The version of wgpu whose devices [`Device::from_wgpu`] takes.
pub use wgpu;

pub use autoencoder::Autoencoder;
pub use data::Dataset;
pub use device::{Device, Session};
pub use error::{Error, Result};
pub use model::ModelSpec;

/// Pages about the program, the examples, the tests and the benchmarks.
pub mod guide {
    #[doc = include_str!("cli/README.md")]
    pub mod program {}

    /// [hello_graph]: walkthroughs::hello_graph
    /// [mnist_autoencoder]: walkthroughs::mnist_autoencoder
    /// [custom_loss]: walkthroughs::custom_loss
    /// [custom_kernel]: walkthroughs::custom_kernel
    /// [denoise_photos]: walkthroughs::denoise_photos
    /// [embed_in_wgpu_app]: walkthroughs::embed_in_wgpu_app
    #[doc = include_str!("../examples/README.md")]
    pub mod walkthroughs {
        /// A module whose page is the source of an example.
        macro_rules! example {
            ($($name:ident)*) => {$(
                #[doc = concat!("The source of `examples/", stringify!($name), ".rs`.\n\n```rust,no_run")]
                #[doc = include_str!(concat!("../examples/", stringify!($name), ".rs"))]
                #[doc = "```"]
                pub mod $name {}
            )*};
        }

        example!(hello_graph mnist_autoencoder custom_loss custom_kernel denoise_photos embed_in_wgpu_app);
    }

    #[doc = include_str!("../tests/README.md")]
    pub mod tests {}

    #[doc = include_str!("../benches/README.md")]
    pub mod benchmarks {}
}

/// The README, whose Rust code the documentation's tests compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
