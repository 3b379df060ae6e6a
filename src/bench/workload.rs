//! The workloads and their names.

use crate::error::{Error, Result, suggest};
use crate::model::ModelSpec;
use std::fmt;
use std::path::Path;

/// A standard piece of work, the same for all compared engines.
///
/// Training is forward, loss, backward and Adam (learning rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8), all in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// Trains the preset `conv`: 211,905 parameters, MSE, batch 128.
    ConvAe,
    /// Trains the preset `dense`: BCE, batch 256.
    DenseAe,
    /// Trains a variational autoencoder, 784 > 400 > 20 and back: BCE summed over pixels and KL divergence, batch 128.
    Vae,
    /// Trains three wide convolutions and their way back on 3x32x32: MSE, batch 64.
    ConvAeWide,
    /// A product of two square matrices of this size.
    MatMul(usize),
    /// The convolution of 32 pictures of 28x28 from 64 channels to 64, kernel 3, padding 1.
    Conv3x3,
}

/// In- and out-channels of `conv3x3`, and the height and width of its pictures.
pub(super) const CONV_CHANNELS: usize = 64;
pub(super) const CONV_SIDE: usize = 28;

impl Workload {
    /// All workloads, training steps first.
    pub const ALL: &[Workload] = &[
        Workload::ConvAe,
        Workload::DenseAe,
        Workload::Vae,
        Workload::ConvAeWide,
        Workload::MatMul(256),
        Workload::MatMul(512),
        Workload::MatMul(1024),
        Workload::MatMul(2048),
        Workload::Conv3x3,
    ];

    /// Whether the workload is a training step rather than a single op.
    pub fn trains(self) -> bool {
        !matches!(self, Workload::MatMul(_) | Workload::Conv3x3)
    }

    /// Samples in a step.
    pub fn batch(self) -> usize {
        match self {
            Workload::ConvAe | Workload::Vae => 128,
            Workload::DenseAe => 256,
            Workload::ConvAeWide => 64,
            Workload::MatMul(_) => 1,
            Workload::Conv3x3 => 32,
        }
    }

    /// The model that the workload trains, if any.
    pub fn model(self) -> Result<Option<ModelSpec>> {
        match self {
            Workload::ConvAe => ModelSpec::resolve("conv"),
            Workload::DenseAe => ModelSpec::resolve("dense"),
            Workload::Vae => ModelSpec::resolve("vae"),
            Workload::ConvAeWide => {
                let path = "examples/models/conv-ae-wide.toml";
                ModelSpec::parse(include_str!("../../examples/models/conv-ae-wide.toml"), Path::new(path))
            }
            Workload::MatMul(_) | Workload::Conv3x3 => return Ok(None),
        }
        .map(Some)
    }

    /// The workloads that a name stands for: a single one, or the group `all`, `training` or `kernels`. Fails where the
    /// name is unknown.
    pub fn named(name: &str) -> Result<Vec<Workload>> {
        let chosen = |fits: &dyn Fn(&Workload) -> bool| Workload::ALL.iter().copied().filter(|w| fits(w)).collect();
        let found: Vec<Workload> = match name {
            "all" => Workload::ALL.to_vec(),
            "training" => chosen(&|workload| workload.trains()),
            "kernels" => chosen(&|workload| !workload.trains()),
            name => chosen(&|workload| workload.to_string() == name),
        };
        if !found.is_empty() {
            return Ok(found);
        }
        let groups = ["all", "training", "kernels"].map(str::to_owned);
        let names: Vec<String> = groups.into_iter().chain(Workload::ALL.iter().map(Workload::to_string)).collect();
        let help = match suggest(name, names.iter().map(String::as_str)) {
            help if help.starts_with("did you mean") => help,
            _ => "use one of these".to_owned(),
        };
        Err(Error::invalid(format!("workload {name:?}"), format!("it is none of {}", names.join(", ")), help))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Workload::ConvAe => f.write_str("conv-ae"),
            Workload::DenseAe => f.write_str("dense-ae"),
            Workload::Vae => f.write_str("vae"),
            Workload::ConvAeWide => f.write_str("conv-ae-wide"),
            Workload::MatMul(size) => write!(f, "matmul-{size}"),
            Workload::Conv3x3 => f.write_str("conv3x3"),
        }
    }
}
