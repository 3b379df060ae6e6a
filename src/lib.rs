//! Pinhole trains, uses and ships autoencoders on any GPU, through wgpu compute shaders, and on the CPU.
//!
//! A whole picture goes through a tiny hole and is formed again on the other side. A model and its training step are a
//! **static graph**, which is differentiated, fused, ordered and given memory **once**; what comes out is a **plan**, a
//! printable list of kernel launches. A GPU then runs many steps of that plan in one submission without the host touching
//! it in between.
//!
//! ```
//! use pinhole::{Autoencoder, Device, data, model::ModelSpec};
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
//! # Architecture
//!
//! ```text
//! what            graph/     ops and values; autodiff adds ordinary nodes; no device, no IO
//! how             plan/      fusion, order, buffer lifetimes, kernels, grids; plain data; Display
//! do              gpu/ cpu/  the only two places that execute; gpu/ is the only one that names wgpu
//! ```
//!
//! Four hops from a call to a launch, one folder each: [`nn`] and [`model`] say it, [`graph`] holds it, [`plan`] orders it,
//! [`gpu`] or [`cpu`] does it, behind one [`Device`]. [`train`] and [`data`] stand above, [`pretrain`], [`classify`],
//! [`search`], [`mod@bench`] and the program above them.
//!
//! Architecture invariants:
//!
//! * Nothing imports upward: a graph knows no plan, a plan no device, a device no model.
//! * Every match on an op or a kernel is without a wildcard: what a new one needs, the compiler asks for.
//! * A kernel writes its output and never adds to it; two gradients that meet are joined by a node. No float atomics: the
//!   same seed, adapter and plan give the same bits.
//! * A launch never reads a buffer that it writes, save the parameters, moments and state, which live as long as a run.
//! * Whatever changes from step to step lives on the device: the step's state, the schedule, the permutation, the ring of
//!   losses. Between two steps nothing is written, mapped or waited for.
//! * Every random number comes from the counter-based generator in [`rng`].
//! * No panic on a user's path: errors are [`Error`]s, and each is one line that says what, where and what to do.
//!
//! How a training step becomes few launches:
//!
//! * **Channels last.** A graph speaks PyTorch's `[n, c, h, w]`; inside a plan, convolutions have the channels of a position
//!   side by side. Permutations stand where the two orders meet and cost nothing, since a launch stores its result where
//!   its readers want it. Parameters lie on the device in that order too; reading and writing them turns them around.
//! * **Products** (matrix products and the convolution trio) are one file of tiles, `shaders/tile.wgsl`, in three families:
//!   registers alone, a subgroup that shuffles, workgroup memory. A product's own file only says where its operands lie.
//!   [`plan::Target`] chooses the [`plan::Tile`], by rules or by measurement.
//! * **Epilogues.** Everything that follows from a product element by element is computed in its launch, which may leave
//!   several values, in any order, and sums over all of them: the last layer's launch leaves the loss and its derivative.
//!   Chains over the rows of a value (softmax, normalisations) are one launch too.
//! * **Shared dispatches.** A layer's two gradients and its bias's run side by side in one dispatch.
//! * **Partial sums** of weights' gradients are joined in a fixed order by the launch that updates all parameters; those of
//!   the loss by the launch that moves the state on.
//! * **Limits** are planned for: a launch is fused and shared as far as the device binds buffers. Where those are four, an
//!   update takes three launches instead of one: see [`plan::Limits`].
//! * **Half precision** is a property of slots: a plan that is asked for it ([`plan::Target::half`]) gives values that
//!   products and poolings read or make 16 bits in memory, and weights a copy. Shaders turn them into 32 bits as they load
//!   them, the CPU rounds what it stores. Sums, parameters, moments and losses have 32 bits. The loss's derivative is scaled
//!   by a number that the launch which joins the gradients' norm keeps on the device ([`plan::LossScale`]).
//! * **Recurrences** over sequences are one launch for all steps, forward and back; the inputs' part of all steps is one
//!   product before it.
//!
//! A graph is one of training where it is told so by [`graph::Graph::set_training`]; layers such as dropout and batch
//! normalisation ask it. What a layer keeps besides its parameters (running means, say) lies with them in one layout, follows
//! no gradient, and gets its next value by [`graph::Graph::assign`], in one launch at the end of the step: weights, state,
//! checkpoints and averages of weights take one path.
//!
//! Fused expressions and constants are put into shaders by a small text expander ([`gpu::specialise()`]): shader files stay
//! WGSL that is valid as written, and line numbers stay true.
//!
//! # An application's own parts
//!
//! * [`train::Observer`] is told of every step and epoch, and can end training; what is left can be gone on with.
//! * Losses ([`model::config::LossKind::custom`]) and layers ([`nn::CustomLayer`]) are written over a [`graph::Graph`]; a model
//!   file has their names, and [`model::Extensions`] what they stand for.
//! * Kernels ([`graph::CustomKernel`]) are WGSL with a twin for the CPU: one row of the table of kernels, `custom.custom`,
//!   whose text and twin come with the step. [`train::Trainer::check`] holds them against each other.
//! * Samples can come from iterators: [`data::Dataset::from_stream`].
//! * A wgpu device can be the application's: [`Device::from_wgpu`].
//!
//! # Threads
//!
//! [`Device`], [`Autoencoder`], [`model::Network`], [`model::ModelSpec`], [`model::Extensions`], [`data::Dataset`],
//! [`graph::Graph`], [`plan::Plan`], [`tensor::Tensor`] and [`Error`] can be sent to other threads and shared between them;
//! [`Session`], [`train::Trainer`] and [`run::RunDirectory`] can be sent. Threads that use one [`Autoencoder`] take turns;
//! those that train models of their own on one [`Device`] do not wait for each other on the host, and get the bits that they
//! would get alone.
//!
//! # Words
//!
//! | word | means |
//! | --- | --- |
//! | node, value | an op in a graph, and its result with a static shape |
//! | plan, step, slot | the ordered launches, one of them, and a place in memory |
//! | kernel | a named WGSL entry point with its twin on the CPU |
//! | tile | the part of a product that an invocation, a subgroup or a workgroup computes |
//! | fused expression | elementwise ops that are computed inside another launch |
//! | adapter, device | as in wgpu; `cpu` is a device too |
//! | session | plans that are loaded on a device, with their buffers |
//! | encoder, latent (code), decoder, reconstruction | as in the field |

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
pub mod shape;
mod suggest;
pub mod task;
pub mod tensor;
pub mod train;
pub mod tune;

/// The wgpu that [`Device::from_wgpu`] takes devices of.
pub use wgpu;

pub use autoencoder::Autoencoder;
pub use device::{Device, Session};
pub use error::{Error, Result};

/// The README's examples, compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
