//! The adversary of an adversarial autoencoder, trained in the same steps.

use super::config::Adversarial;
use super::network::Network;
use crate::error::Result;
use crate::graph::{Scope, Value};
use crate::nn::{Context, loss};

/// How well codes pass for draws of the prior: the discriminator's cross-entropy were they such, in nats.
pub const ADVERSARIAL: &str = "adversarial";
/// The discriminator's own loss, in nats: its cross-entropy over draws and codes, ln 2 where it cannot tell them apart.
pub const DISCRIMINATOR: &str = "discriminator";

impl Network {
    /// A loss and what the adversary adds: to the encoder, that codes shall pass for draws of the standard normal; to the
    /// discriminator, that it shall tell them apart (Makhzani et al., arXiv 1511.05644). Both follow their own gradients in
    /// one update, from the same forward pass. The value is the reconstruction's with the encoder's part.
    pub(super) fn with_adversary(
        &self,
        graph: &mut Context,
        reconstruction: Value,
        code: Value,
        state: Value,
        own: Adversarial,
    ) -> Result<(Value, [(&'static str, Value); 2])> {
        let shape = graph.shape(code).clone();
        let [batch, size] = [shape[0], shape.elements() / shape[0]];
        let codes = graph.reshape(code, [batch, size])?;
        // To the discriminator codes are data.
        let apart = graph.detach(codes);
        let draws = graph.random_normal(state, [batch, size])?;
        let both = graph.concat(&[draws, apart], 0)?;
        let logits = self.checked().heads.iter().try_fold(both, |x, layer| layer.apply(graph, x))?;

        let scope = graph.set_scope(Scope::full_precision("loss"));
        let [one, zero] = [graph.constant(1.0, [batch, 1])?, graph.constant(0.0, [batch, 1])?];
        let origins = graph.concat(&[one, zero], 0)?;
        let discriminator = loss::bce_with_logits(graph, logits, origins)?;
        let logits = graph.slice(logits, &[batch, 0], [batch, 1])?;
        let adversarial = loss::bce_with_logits(graph, logits, one)?;
        let weighted = graph.scale(adversarial, own.weight)?;
        // The discriminator does not learn to be deceived.
        let part = graph.detach(weighted);
        let mut loss = graph.add(reconstruction, part)?;
        if graph.training().is_some() {
            // A product whose derivative by the code is the one that went back through the discriminator.
            let gradient = graph.gradients(weighted, &[apart])?[0];
            let gradient = graph.detach(gradient);
            let along = graph.multiply(codes, gradient)?;
            let along = graph.sum(along, &[0, 1])?;
            let learning = graph.add(along, discriminator)?;
            let value = graph.detach(learning);
            let learning = graph.subtract(learning, value)?;
            loss = graph.add(loss, learning)?;
        }
        graph.set_scope(scope);
        Ok((loss, [(ADVERSARIAL, adversarial), (DISCRIMINATOR, discriminator)]))
    }
}
