//! A model's structure as graphs: encoder, decoder and loss, with one parameter layout.

use super::config::ModelSpec;
use super::latent::{Model, start_unit_columns};
use super::loss::{Decoded, LossScale};
use super::masking::{masked, masked_logits, of_valid};
use super::resolved::Resolved;
use crate::data::expect_input;
use crate::error::{Error, Result};
use crate::graph::{Scope, Value};
use crate::nn::{Activation, Context, Initial, Layer, Parameter, Placed};
use crate::plan::ParameterLayout;
use crate::rng::normal_quantile;
use crate::rng::{HostStream, Sequence};
use crate::shape::Shape;

/// A validated model.
#[derive(Clone, Debug)]
pub struct Network {
    spec: ModelSpec,
    checked: Resolved,
    layout: ParameterLayout,
}

impl Model for Network {
    fn resolved(&self) -> &Resolved {
        &self.checked
    }

    fn input_shape(&self, batch: usize) -> Shape {
        self.input_shape(batch)
    }

    fn decode(&self, context: &mut Context, code: Value) -> Result<Decoded> {
        self.decode(context, code)
    }

    fn loss(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value> {
        self.loss(context, decoded, target)
    }

    fn likelihood(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value> {
        let Some(kind) = self.spec.loss.likelihood() else {
            let problem = format!("{} is no likelihood", self.spec.loss);
            return Err(Error::invalid("loss", problem, "use \"bernoulli\", say"));
        };
        kind.likelihood(context, decoded, target)
    }
}

impl Network {
    /// Validates a model's shapes and settings.
    pub fn new(spec: ModelSpec) -> Result<Network> {
        let checked = spec.validate()?;
        let layout = ParameterLayout::new(checked.parameters().map(|p| (p.name.clone(), p.shape.clone())));
        Ok(Network { spec, checked, layout })
    }

    /// The model file's content.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The layers with their shapes.
    pub fn checked(&self) -> &Resolved {
        &self.checked
    }

    /// Offset of each parameter.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// All trained parameters. The layout also holds untrained state, such as running means.
    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.checked.parameters().filter(|parameter| parameter.trained)
    }

    /// The shape of a batch of samples.
    pub fn input_shape(&self, batch: usize) -> Shape {
        with_batch(batch, &self.spec.input)
    }

    /// The shape of a batch of codes.
    pub fn latent_shape(&self, batch: usize) -> Shape {
        with_batch(batch, &self.checked.latent)
    }

    /// Initial values of all parameters, in the layout, by the model's initialiser with `seed`.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.layout.elements()];
        for (index, (parameter, entry)) in self.checked.parameters().zip(self.layout.entries()).enumerate() {
            let mut sequence = Sequence::new(seed, HostStream::Initial(index as u32), 0);
            let initial = self.spec.train.initializer.resolve(parameter.initial, &entry.shape);
            for value in &mut values[entry.range()] {
                *value = match initial {
                    Initial::Uniform(bound) => ((2.0 * sequence.unit() as f64 - 1.0) * bound) as f32,
                    Initial::Constant(value) => value as f32,
                    Initial::Normal(deviation) => (normal_quantile(sequence.unit() as f64) * deviation) as f32,
                    // The initialiser has resolved both already.
                    Initial::Weight | Initial::Bias { .. } => 0.0,
                };
            }
        }
        if let Some(weight) = self.unit_columns() {
            start_unit_columns(weight, &self.checked.encoder, |name| self.layout.offset(name), &mut values);
        }
        values
    }

    /// Deterministic codes of a batch of samples: `[n, ..input]` to `[n, ..latent]`.
    pub fn encode(&self, context: &mut Context, x: Value) -> Result<Value> {
        let encoded = self.encoder_output(context, x)?;
        self.spec.latent.rules().code(self, context, encoded)
    }

    /// The matrix whose columns are kept at length 1, where the latent requires one.
    pub(crate) fn unit_columns(&self) -> Option<&Parameter> {
        self.spec.latent.rules().unit_columns(&self.checked.decoder)
    }

    /// Output of the encoder's last layer for a batch of samples.
    pub(super) fn encoder_output(&self, context: &mut Context, x: Value) -> Result<Value> {
        let batch = context.shape(x)[0];
        let mut x = context.reshape(x, self.input_shape(batch))?;
        if self.spec.data.is_table() {
            x = self.embed(context, x)?;
        }
        let x = self.conditioned(context, x)?;
        self.checked.encoder.iter().try_fold(x, |x, layer| layer.apply(context, x))
    }

    /// Reconstructions of a batch of codes: `[n, ..latent]` to `[n, ..input]`.
    pub fn decode(&self, context: &mut Context, code: Value) -> Result<Decoded> {
        let batch = context.shape(code)[0];
        let mut code = self.conditioned(context, code)?;
        let mut logits = None;
        for layer in &self.checked.decoder {
            logits = (layer.layer == Layer::Activation(Activation::Sigmoid)).then_some(code);
            code = layer.apply(context, code)?;
        }
        let shape = self.input_shape(batch);
        if self.spec.data.is_table() {
            let output = self.categories(context, code)?;
            return Ok(Decoded { output, logits: Some(code) });
        }
        let output = context.reshape(code, shape.clone())?;
        let output = masked(context, output)?;
        let logits = logits.map(|logits| context.reshape(logits, shape)).transpose()?;
        let logits = logits.map(|logits| masked_logits(context, logits)).transpose()?;
        Ok(Decoded { output, logits })
    }

    /// Training loss between a reconstruction and its original: a scalar.
    pub fn loss(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value> {
        let batch = context.shape(target)[0];
        let target = context.reshape(target, self.input_shape(batch))?;
        let scope = context.set_scope(Scope::full_precision("loss"));
        let loss = self.weighted(context, decoded, target);
        context.set_scope(scope);
        loss
    }

    fn weighted(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value> {
        let categories = if self.spec.data.is_table() { self.spec.data.categories() } else { vec![] };
        let mut sum: Option<Value> = None;
        for (kind, weight) in &self.spec.loss.terms {
            let loss = kind.build(context, decoded, target, &categories)?;
            // Masked steps add nothing to the sum, so only the number of steps must be corrected.
            let loss = if kind.scale() == LossScale::Element { of_valid(context, loss)? } else { loss };
            // A single loss of weight 1, the common case, needs no scaling node.
            let part = if *weight == 1.0 { loss } else { context.scale(loss, *weight)? };
            sum = Some(match sum {
                Some(sum) => context.add(sum, part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| Error::invalid("loss", "there is none", "write \"mse\", say"))
    }

    /// Fails, as PyTorch does, where batches of this size would leave batch normalisation a single value per channel,
    /// which is its own mean. `samples` is the size of the data set.
    pub(crate) fn accepts_batches(&self, batch: usize, samples: usize) -> Result<()> {
        let alone = |placed: &&Placed| {
            let channels = placed.input.first().copied().unwrap_or(1);
            placed.keeps_statistics() && batch * placed.input.elements() <= channels
        };
        let Some(layer) = self.checked.layers().find(alone) else { return Ok(()) };
        let problem =
            format!("batch_norm \"{}\" gets one number of each channel, whose mean is that number", layer.name);
        let help = if samples > 1 { "use --batch 2 or more" } else { "give 2 samples or more" };
        Err(Error::invalid(format!("batch {batch}"), problem, format!("{help}, or \"layer_norm\" in its place")))
    }

    /// Fails where a data set's samples do not fit the model's input: see [`arrangement`](crate::data::arrangement).
    pub fn accepts(&self, sample: &Shape, data: &str) -> Result<()> {
        expect_input(sample, &self.spec.input, data, "model")
    }
}

fn with_batch(batch: usize, shape: &Shape) -> Shape {
    std::iter::once(batch).chain(shape.iter().copied()).collect()
}
