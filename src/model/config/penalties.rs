//! Penalties on the code that training adds to the loss: the file's `penalties`.

use super::super::latent::LatentSpec;
use crate::error::{Error, Result};
use crate::nn::{self, Activation, Layer, Placed};
use crate::schema::{Key, Table, keys, validate_table};
use crate::shape::Shape;

/// Largest code for the exact Jacobian norm, since the plan holds a backward pass for each element.
pub(crate) const MOST_EXACT: usize = 64;

/// Penalties on codes. Penalties on weights and activities of single layers are in `[train] layers`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalties {
    /// Contractive penalty: codes change little where samples do.
    pub contractive: Option<Contractive>,
    /// Sparsity penalty: each element of the code is active for few samples.
    pub sparsity: Option<Sparsity>,
}

/// The mean over samples of the squared Frobenius norm of the encoder's Jacobian: Rifai et al., ICML 2011.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contractive {
    /// Factor of the penalty.
    pub weight: f64,
    /// Number of random directions in an unbiased estimate of the norm; 0 for the exact norm, which needs one backward
    /// pass per element of the code.
    pub projections: usize,
}

/// Kullback-Leibler divergence of a batch's mean activation from a target, summed over the code's elements: Lee,
/// Ekanadham and Ng, NIPS 2007; Ng 2011.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparsity {
    /// Factor of the penalty.
    pub weight: f64,
    /// Target of the mean activation, between 0 and 1.
    pub target: f64,
}

impl Default for Contractive {
    fn default() -> Contractive {
        Contractive { weight: 0.1, projections: 0 }
    }
}

impl Default for Sparsity {
    fn default() -> Sparsity {
        Sparsity { weight: 0.01, target: 0.05 }
    }
}

impl Penalties {
    pub(super) fn validate(&self, encoder: &[Placed], kind: &LatentSpec, latent: &Shape) -> Result<()> {
        let refuse =
            |key: &str, problem: String, help: &str| Err(Error::invalid(format!("penalties.{key}"), problem, help));
        if let Some(contractive) = &self.contractive {
            validate_table(contractive, "penalties.contractive")?;
            if contractive.projections == 0 && latent.elements() > MOST_EXACT {
                let problem = format!(
                    "the exact norm takes a backward pass for each of the code's {} numbers",
                    latent.elements()
                );
                let help = format!("use projections = 4, say, or a code of at most {MOST_EXACT}");
                return refuse("contractive.projections", problem, &help);
            }
            if let Some(layer) = nn::walk(encoder).into_iter().find(|layer| layer.keeps_statistics()) {
                let problem = format!("{} makes codes depend on other samples than their own", layer.name);
                return refuse("contractive", problem, "use \"layer_norm\" or { group_norm = 4 } there");
            }
        }
        if let Some(sparsity) = &self.sparsity {
            validate_table(sparsity, "penalties.sparsity")?;
            if sparsity.target == 0.0 {
                return refuse("sparsity.target", "is 0, whose logarithm is not finite".to_owned(), "use 0.05, say");
            }
            if encoder.last().map(|layer| &layer.layer) != Some(&Layer::Activation(Activation::Sigmoid)) {
                let problem = "mean activations are between 0 and 1 only behind \"sigmoid\"".to_owned();
                return refuse("sparsity", problem, "end the encoder with \"sigmoid\"");
            }
            if kind.facts().replaces_output {
                let problem =
                    format!("codes of a {} latent are not what the encoder's \"sigmoid\" leaves", kind.name());
                return refuse("sparsity", problem, "use a plain latent, or leave the penalty out");
            }
        }
        Ok(())
    }
}

impl Table for Penalties {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            contractive: table_or_false =
                "A penalty on the encoder's squared Jacobian: { weight = 0.1, projections = 0 }, or false.",
            sparsity: table_or_false =
                "A penalty on mean activations off a target: { weight = 0.01, target = 0.05 }, or false.",
        ]
    }
}

impl Table for Contractive {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            weight: Positive = "The factor of the penalty.",
            projections: Whole = "The number of random directions that estimate the norm, or 0 for the exact norm.",
        ]
    }
}

impl Table for Sparsity {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            weight: Positive = "The factor of the penalty.",
            target: Fraction = "The target of the mean activation.",
        ]
    }
}
