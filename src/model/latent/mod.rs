//! Latent codes between the encoder's output and the decoder, and their training objectives: one file for each latent.
//!
//! To add a latent, write a file with its settings and their `Latent` trait, and add a line to `latents!` below.

mod adversarial;
mod bits;
mod codebook;
mod gaussian;
mod rules;
mod top_k;
mod wasserstein;

use self::rules::Plain;
use crate::error::Result;
use crate::schema::{Key, choices, validate};

pub use super::loss::LOG_VARIANCES;
pub use adversarial::{ADVERSARIAL, Adversarial, DISCRIMINATOR};
pub use bits::Bits;
pub(crate) use codebook::{CODEBOOK, Vectors};
pub use codebook::{COMMITMENT, PERPLEXITY, VectorQuantised};
pub use gaussian::{DIVERGENCE, Gaussian};
pub(crate) use rules::{Encoded, Facts, Latent, Model};
pub use rules::{Objective, RECONSTRUCTION};
pub use top_k::TopK;
pub(crate) use top_k::{across_columns, start_unit_columns};
pub use wasserstein::{DISCREPANCY, MmdKernel, Wasserstein};

/// Defines the enum of latents with their names in model files and their rules.
macro_rules! latents {
    ($($(#[$doc:meta])* $variant:ident($kind:ident) = $name:literal,)*) => {
        /// The transformation of the encoder's output into the code, with its training objective.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub enum LatentSpec {
            /// The encoder's output is the code.
            #[default]
            Plain,
            $($(#[$doc])* $variant($kind),)*
        }

        choices! { "latent" LatentSpec { Plain = "plain", $($variant($kind::default()) = $name,)* } }

        impl LatentSpec {
            pub(crate) fn rules(&self) -> &dyn Latent {
                match self {
                    LatentSpec::Plain => &Plain,
                    $(LatentSpec::$variant(own) => own,)*
                }
            }

            fn rules_mut(&mut self) -> Option<&mut dyn Latent> {
                match self {
                    LatentSpec::Plain => None,
                    $(LatentSpec::$variant(own) => Some(own),)*
                }
            }
        }
    };
}

latents! {
    /// A gaussian posterior: training draws codes, inference takes the mean, as in a variational autoencoder.
    Gaussian(Gaussian) = "gaussian",
    /// The encoder's output, matched to a standard normal over all samples: a Wasserstein autoencoder.
    Wasserstein(Wasserstein) = "wasserstein",
    /// The encoder's output, matched to a standard normal by a discriminator: an adversarial autoencoder.
    Adversarial(Adversarial) = "adversarial",
    /// The largest elements of the encoder's output, with zeros elsewhere: a sparse autoencoder.
    TopK(TopK) = "top_k",
    /// The codebook vectors nearest to those of the encoder's output: a vector-quantised autoencoder.
    VectorQuantised(VectorQuantised) = "vector_quantised",
    /// The encoder's output as bits.
    Binary(Bits) = "binary",
}

impl LatentSpec {
    /// Whether training and validation draw codes at random.
    pub fn is_drawn(&self) -> bool {
        self.facts().drawn
    }

    /// Whether training matches codes to a standard normal prior, so that its draws decode to new samples.
    pub fn has_prior(&self) -> bool {
        self.facts().prior
    }

    /// Whether codes are codebook vectors or bits, so that most other numbers are no codes.
    pub fn is_discrete(&self) -> bool {
        self.facts().discrete
    }

    /// Properties that other parts of the crate query.
    pub(crate) fn facts(&self) -> Facts {
        self.rules().facts()
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        self.rules_mut().map_or_else(Vec::new, |own| own.keys())
    }

    /// Sets the size of codes, unless the encoder's output decides it; returns whether it was set.
    pub(super) fn resize(&mut self, size: usize) -> bool {
        self.rules_mut().is_some_and(|own| own.resize(size))
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate(self, "latent")?;
        self.rules().validate()
    }

    /// Whether codes are bits.
    pub fn is_binary(&self) -> bool {
        matches!(self, LatentSpec::Binary(_))
    }

    /// Whether codes are vectors of a codebook, and so have indices.
    pub fn has_codebook(&self) -> bool {
        matches!(self, LatentSpec::VectorQuantised(_))
    }
}
