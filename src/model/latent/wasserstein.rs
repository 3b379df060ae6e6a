//! The latent of Wasserstein autoencoders, and the maximum mean discrepancy of codes from a standard normal.

use super::rules::{Encoded, Facts, Latent, Objective, RECONSTRUCTION};
use crate::error::Result;
use crate::graph::{Binary, Graph, Scope, Unary, Value};
use crate::nn::{Context, loss};
use crate::schema::{Key, keys, names};

/// Squared maximum mean discrepancy of a batch's codes from the standard normal.
pub const DISCREPANCY: &str = "discrepancy";

/// The latent of a Wasserstein autoencoder: Tolstikhin et al., arXiv 1711.01558.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wasserstein {
    /// Weight of the maximum mean discrepancy of a batch's codes from the standard normal.
    pub mmd: f64,
    /// Kernel of the discrepancy: the similarity of two codes.
    pub kernel: MmdKernel,
}

/// Kernel of the maximum mean discrepancy (Gretton et al., JMLR 13, 2012).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmdKernel {
    /// Inverse multiquadratics of seven scales, as in the paper on Wasserstein autoencoders.
    #[default]
    Multiquadratic,
    /// A gaussian whose width is the square root of the code's size.
    Gaussian,
}

names! { "kernel" MmdKernel { Multiquadratic = "multiquadratic", Gaussian = "gaussian", } }

impl Default for Wasserstein {
    fn default() -> Wasserstein {
        Wasserstein { mmd: 10.0, kernel: MmdKernel::Multiquadratic }
    }
}

impl Latent for Wasserstein {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![self; mmd: Positive.replaces_table(), kernel: name,]
    }

    fn facts(&self) -> Facts {
        Facts { prior: true, counts_all_steps: true, weights: &["mmd", "kernel"], ..Facts::default() }
    }

    fn objective(&self, context: &mut Context, batch: Encoded, state: Value) -> Result<Objective> {
        let mut objective = batch.reconstruct(context, batch.output)?;
        objective.parts.push((RECONSTRUCTION, objective.loss));
        self.add_discrepancy(context, &mut objective, batch.output, state)?;
        Ok(objective)
    }
}

impl Wasserstein {
    /// Adds the weighted discrepancy of a batch's `codes` from draws of the standard normal.
    pub(super) fn add_discrepancy(
        &self,
        context: &mut Context,
        objective: &mut Objective,
        codes: Value,
        state: Value,
    ) -> Result<()> {
        let scope = context.set_scope(Scope::full_precision("loss"));
        let shape = context.shape(codes).clone();
        let rows = [shape[0], shape.elements() / shape[0]];
        let codes = context.reshape(codes, rows)?;
        let draws = context.random_normal(state, rows)?;
        let size = rows[1] as f64;
        let discrepancy =
            loss::maximum_mean_discrepancy(context, codes, draws, &|graph, distances| match self.kernel {
                MmdKernel::Multiquadratic => multiquadratic(graph, distances, size),
                MmdKernel::Gaussian => {
                    let scaled = graph.scale(distances, -0.5 / size)?;
                    graph.unary(Unary::Exp, scaled)
                }
            })?;
        let weighted = context.scale(discrepancy, self.mmd)?;
        objective.loss = context.add(objective.loss, weighted)?;
        context.set_scope(scope);
        objective.parts.push((DISCREPANCY, discrepancy));
        Ok(())
    }
}

/// Sum of c / (c + d²) over seven scales c, those of the published code: twice the code's size (for a prior of variance
/// 1) times 0.1, 0.2, 0.5, 1, 2, 5 and 10.
fn multiquadratic(graph: &mut Graph, distances: Value, size: f64) -> Result<Value> {
    let part = |graph: &mut Graph, scale: f64| {
        let constant = 2.0 * size * scale;
        let below = graph.with_number(Binary::Add, distances, constant)?;
        let inverse = graph.unary(Unary::Reciprocal, below)?;
        graph.scale(inverse, constant)
    };
    let mut sum = part(graph, 0.1)?;
    for scale in [0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        let next = part(graph, scale)?;
        sum = graph.add(sum, next)?;
    }
    Ok(sum)
}
