//! Custom losses and layers of an application.

use super::config::{CustomLoss, LossKind, ModelSpec};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Context, Custom, CustomLayer, Layer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Custom losses and layers of an application, by their names in model files: [`ModelSpec::read_with`] and
/// [`Autoencoder::load_with`](crate::Autoencoder::load_with) read such files with them.
///
/// ```
/// use pinhole::graph::Unary;
/// use pinhole::model::{Extensions, ModelSpec};
/// let text = r#"
/// input = [8]
/// loss = { custom = "quartic" }
/// encoder = [{ linear = 2 }]
/// decoder = [{ linear = 8 }]
/// "#;
/// let own = Extensions::new().loss("quartic", |context, y, target| {
///     let difference = context.subtract(y, target)?;
///     let square = context.unary(Unary::Square, difference)?;
///     let fourth = context.unary(Unary::Square, square)?;
///     context.mean_all(fourth)
/// });
/// let spec = ModelSpec::parse_with(text, "quartic.toml".as_ref(), &own)?;
/// assert_eq!(spec.loss.name(), "quartic");
/// // A reader that does not have the loss says so.
/// assert!(ModelSpec::parse(text, "quartic.toml".as_ref()).is_err());
/// # Ok::<(), pinhole::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    losses: BTreeMap<String, CustomLoss>,
    layers: BTreeMap<String, Custom>,
}

impl Extensions {
    /// Creates an empty set.
    pub fn new() -> Extensions {
        Extensions::default()
    }

    /// Adds a loss, as [`LossKind::custom`] makes it: `loss = { custom = "name" }` in a model file. Replaces a loss of
    /// that name.
    pub fn loss(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&mut Context, Value, Value) -> Result<Value> + Send + Sync + 'static,
    ) -> Extensions {
        if let LossKind::Custom(loss) = LossKind::custom(name, function) {
            self.losses.insert(loss.name.clone(), loss);
        }
        self
    }

    /// Adds a layer: `{ custom = "name" }` in a model file's lists of layers. Replaces a layer of that name.
    pub fn layer(mut self, name: impl Into<String>, layer: impl CustomLayer + 'static) -> Extensions {
        let name = name.into();
        self.layers.insert(name.clone(), Custom { name, rules: Some(Arc::new(layer)) });
        self
    }

    /// Collects the custom losses and layers of a spec.
    pub(crate) fn of(spec: &ModelSpec) -> Extensions {
        let mut spec = spec.clone();
        let (losses, layers) = own(&mut spec);
        Extensions {
            losses: losses.into_iter().map(|loss| (loss.name.clone(), loss.clone())).collect(),
            layers: layers.into_iter().map(|layer| (layer.name.clone(), layer.clone())).collect(),
        }
    }

    /// Fills in the custom losses and layers that a spec read from a file only names.
    pub(super) fn resolve(&self, spec: &mut ModelSpec) {
        let (losses, layers) = own(spec);
        for loss in losses {
            if let Some(known) = self.losses.get(&loss.name) {
                loss.clone_from(known);
            }
        }
        for layer in layers {
            if let Some(known) = self.layers.get(&layer.name) {
                layer.clone_from(known);
            }
        }
    }
}

/// Every custom loss and layer of a spec.
fn own(spec: &mut ModelSpec) -> (Vec<&mut CustomLoss>, Vec<&mut Custom>) {
    let mut losses = Vec::new();
    for (kind, _) in &mut spec.loss.terms {
        if let LossKind::Custom(own) = kind {
            losses.push(own);
        }
    }
    let lists = [&mut spec.encoder, &mut spec.decoder].into_iter().chain(spec.blocks.values_mut());
    let mut layers = Vec::new();
    lists.for_each(|list| own_layers(list, &mut layers));
    (losses, layers)
}

fn own_layers<'a>(list: &'a mut [Layer], found: &mut Vec<&'a mut Custom>) {
    for layer in list {
        match layer {
            Layer::Custom(own) => found.push(own),
            layer => layer.lists_mut().into_iter().for_each(|list| own_layers(list, found)),
        }
    }
}
