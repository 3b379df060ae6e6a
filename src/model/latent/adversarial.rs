//! The latent of adversarial autoencoders, with its discriminator, which is trained in the same steps.

use super::rules::{Encoded, Facts, Latent, Objective, RECONSTRUCTION};
use crate::error::Result;
use crate::graph::{Scope, Value};
use crate::nn::{Activation, Context, Layer, Linear, Placed, loss, place};
use crate::schema::{Key, keys};
use crate::shape::Shape;

/// The encoder's adversarial loss, in nats: the discriminator's cross-entropy, were codes draws of the prior.
pub const ADVERSARIAL: &str = "adversarial";
/// The discriminator's loss, in nats: its cross-entropy over draws and codes, ln 2 where it cannot tell them apart.
pub const DISCRIMINATOR: &str = "discriminator";

/// The latent of an adversarial autoencoder: Makhzani et al., arXiv 1511.05644. The discriminator is two hidden ReLU
/// layers and a logit, `latent.discriminator.0` to `latent.discriminator.4`, trained in the same steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// Weight of the adversarial loss of the encoder.
    pub weight: f64,
    /// Units of each of the discriminator's hidden layers.
    pub hidden: usize,
}

impl Default for Adversarial {
    fn default() -> Adversarial {
        Adversarial { weight: 1.0, hidden: 256 }
    }
}

impl Latent for Adversarial {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![self; weight: Positive.replaces_table(), hidden: Count,]
    }

    fn facts(&self) -> Facts {
        Facts { prior: true, counts_all_steps: true, adversarial: true, weights: &["weight"], ..Facts::default() }
    }

    fn place(&self, encoded: &Shape) -> Result<(Vec<Placed>, Shape)> {
        let hidden = || [Layer::Linear(Linear::new(self.hidden)), Layer::Activation(Activation::Relu)];
        let layers = [&hidden()[..], &hidden(), &[Layer::Linear(Linear::new(1))]].concat();
        Ok((place("latent.discriminator", &layers, &[encoded.elements()].into())?, encoded.clone()))
    }

    fn objective(&self, context: &mut Context, batch: Encoded, state: Value) -> Result<Objective> {
        let mut objective = batch.reconstruct(context, batch.output)?;
        objective.parts.push((RECONSTRUCTION, objective.loss));
        self.add_losses(context, batch, &mut objective, state)?;
        Ok(objective)
    }
}

impl Adversarial {
    /// Adds the adversarial losses: the encoder learns codes that pass for draws of the standard normal, the
    /// discriminator learns to tell them apart (Makhzani et al., arXiv 1511.05644). Both follow their own gradients in
    /// one update, from one forward pass. The loss grows by the encoder's part alone.
    fn add_losses(&self, context: &mut Context, batch: Encoded, objective: &mut Objective, state: Value) -> Result<()> {
        let shape = context.shape(objective.code).clone();
        let [count, size] = [shape[0], shape.elements() / shape[0]];
        let codes = context.reshape(objective.code, [count, size])?;
        // The discriminator treats codes as constants.
        let apart = context.detach(codes);
        let draws = context.random_normal(state, [count, size])?;
        let both = context.concat(&[draws, apart], 0)?;
        let logits = batch.model.resolved().heads.iter().try_fold(both, |x, layer| layer.apply(context, x))?;

        let scope = context.set_scope(Scope::full_precision("loss"));
        let [one, zero] = [context.constant(1.0, [count, 1])?, context.constant(0.0, [count, 1])?];
        let origins = context.concat(&[one, zero], 0)?;
        let discriminator = loss::bce_with_logits(context, logits, origins)?;
        let logits = context.slice(logits, &[count, 0], [count, 1])?;
        let adversarial = loss::bce_with_logits(context, logits, one)?;
        let weighted = context.scale(adversarial, self.weight)?;
        // The encoder's loss does not train the discriminator.
        let part = context.detach(weighted);
        objective.loss = context.add(objective.loss, part)?;
        if context.training().is_some() {
            // A product whose derivative by the code is the gradient through the discriminator.
            let gradient = context.gradients(weighted, &[apart])?[0];
            let gradient = context.detach(gradient);
            let along = context.multiply(codes, gradient)?;
            let along = context.sum(along, &[0, 1])?;
            let learning = context.add(along, discriminator)?;
            let value = context.detach(learning);
            let learning = context.subtract(learning, value)?;
            objective.loss = context.add(objective.loss, learning)?;
        }
        context.set_scope(scope);
        objective.parts.extend([(ADVERSARIAL, adversarial), (DISCRIMINATOR, discriminator)]);
        Ok(())
    }
}
