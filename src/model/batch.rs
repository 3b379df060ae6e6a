//! Side inputs of a batch: a plan reads one row per sample, `[input | condition | target | mask]`, where only the input
//! is mandatory. This module joins the data sets of conditions, pairs and sequence lengths into such rows, and splits
//! the rows again in a graph.

use super::config::Condition;
use super::masking::masked;
use super::network::Network;
use crate::data::{Dataset, check_lengths, class_of, listed, whole};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::nn::{self, Context};
use crate::shape::{Shape, channel_axis};
use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Number of elements in each part of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchLayout {
    /// The sample, as the encoder sees it.
    pub input: usize,
    /// The condition of the sample: [`Condition`].
    pub condition: usize,
    /// The reconstruction target; 0 where the sample itself is the target.
    pub target: usize,
    /// One element per step, 1 within the sample's length and 0 beyond it; 0 where all samples have all steps.
    pub mask: usize,
}

/// Rows of data with their layout.
#[derive(Clone, Debug)]
pub struct BatchSource<'a> {
    /// The rows; the unchanged data set where samples have no side inputs.
    pub data: Held<'a>,
    /// The parts of each row.
    pub layout: BatchLayout,
}

/// A borrowed data set, or a derived one that is shared with the threads that read it.
#[derive(Clone, Debug)]
pub enum Held<'a> {
    /// The caller's data set.
    Borrowed(&'a Dataset),
    /// A derived data set.
    Made(Arc<Dataset>),
}

impl Deref for Held<'_> {
    type Target = Dataset;

    fn deref(&self) -> &Dataset {
        match self {
            Held::Borrowed(data) => data,
            Held::Made(data) => data,
        }
    }
}

/// A batch of rows, split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The encoder's input.
    pub input: Value,
    /// The reconstruction target.
    pub target: Value,
}

/// Side inputs of samples passed to a trained model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideInputs {
    /// One condition per sample, concatenated; empty for a model without conditions.
    pub conditions: Vec<f32>,
    /// Number of steps of each sample; empty where all samples have all steps.
    pub lengths: Vec<u32>,
}

impl SideInputs {
    /// Side inputs with one condition per sample.
    pub fn conditions(conditions: Vec<f32>) -> SideInputs {
        SideInputs { conditions, lengths: vec![] }
    }

    /// Side inputs with one-hot labels below `count`, one per sample.
    pub fn labels(labels: impl IntoIterator<Item = usize>, count: usize) -> SideInputs {
        let one = |label| (0..count).map(move |at| if at == label { 1.0 } else { 0.0 });
        SideInputs::conditions(labels.into_iter().flat_map(one).collect())
    }

    /// Repeats the side inputs `times` times, for as many copies of the samples.
    #[must_use]
    pub fn repeated(&self, times: usize) -> SideInputs {
        SideInputs { conditions: self.conditions.repeat(times), lengths: self.lengths.repeat(times) }
    }
}

impl BatchLayout {
    /// Whether a row is the sample alone.
    pub fn is_plain(&self) -> bool {
        self.condition + self.target + self.mask == 0
    }

    /// Number of elements of a row.
    pub fn width(&self) -> usize {
        self.input + self.condition + self.target + self.mask
    }

    /// Splits a batch of rows, and sets the condition and the mask of the graph's context.
    pub fn split(&self, context: &mut Context, rows: Value) -> Result<Sample> {
        if self.is_plain() {
            return Ok(Sample { input: rows, target: rows });
        }
        let batch = context.shape(rows)[0];
        let rows = context.reshape(rows, [batch, self.width()])?;
        let mut at = 0;
        let mut take = |context: &mut Context, width: usize| -> Result<Option<Value>> {
            let part = (width > 0).then(|| context.slice(rows, &[0, at], [batch, width])).transpose()?;
            at += width;
            Ok(part)
        };
        let input = take(context, self.input)?.unwrap_or(rows);
        if let Some(condition) = take(context, self.condition)? {
            context.set_condition(condition);
        }
        let target = take(context, self.target)?.unwrap_or(input);
        if let Some(mask) = take(context, self.mask)? {
            context.set_mask(mask);
        }
        Ok(Sample { input, target })
    }
}

impl Sample {
    /// Applies a function to input and target, once where both are one value.
    pub fn map(self, mut change: impl FnMut(Value) -> Result<Value>) -> Result<Sample> {
        let input = change(self.input)?;
        let target = if self.target == self.input { input } else { change(self.target)? };
        Ok(Sample { input, target })
    }

    /// Zeros the steps beyond each sample's length.
    pub fn masked(self, context: &mut Context) -> Result<Sample> {
        self.map(|x| masked(context, x))
    }
}

impl Network {
    /// Appends the condition to the channels of a batch; returns the batch unchanged where the model has none.
    pub(super) fn conditioned(&self, context: &mut Context, x: Value) -> Result<Value> {
        let width = self.spec().condition.width();
        if width == 0 {
            return Ok(x);
        }
        let shape = context.shape(x).clone();
        let Some(condition) = context.condition(shape[0])? else { return Err(self.without_conditions()) };
        let axis = 1 + channel_axis(shape.len() - 1);
        let mut thin = vec![1; shape.len()];
        (thin[0], thin[axis]) = (shape[0], width);
        let mut spread = shape.to_vec();
        spread[axis] = width;
        let condition = context.reshape(condition, thin)?;
        let condition = context.broadcast(condition, spread)?;
        context.concat(&[x, condition], axis)
    }

    fn without_conditions(&self) -> Error {
        let problem = format!("the model's is {}, but none is given with the samples", self.spec().condition);
        Error::invalid("condition", problem, "give one for each, as to Autoencoder::encode_given")
    }

    /// Joins samples and side inputs into the rows that a plan reads. Fails where samples do not fit the model, where a
    /// condition is missing, and where the loss does not accept such values.
    pub fn rows<'a>(&self, data: &'a Dataset) -> Result<BatchSource<'a>> {
        self.accepts(data.sample_shape(), data.name())?;
        if let Some(targets) = data.targets() {
            self.accepts(targets.sample_shape(), targets.name())?;
        }
        let samples = self.within_bounds(data)?;
        let mut layout = BatchLayout { input: data.sample_shape().elements(), ..BatchLayout::default() };
        let mut beside = Vec::new();
        if let Some(conditions) = self.conditions(data)? {
            layout.condition = conditions.sample_shape().elements();
            beside.push(conditions);
        }
        if let Some(targets) = data.targets() {
            layout.target = layout.input;
            beside.push(self.targets_within_bounds(data, targets)?);
        }
        if let Some(lengths) = data.lengths() {
            let steps = self.expect_sequences(data.name(), data.sample_shape())?;
            layout.mask = steps;
            let masks = lengths.iter().flat_map(|length| mask(*length as usize, steps, 255)).collect();
            beside.push(Cow::Owned(Dataset::from_u8([steps], masks)?));
        }
        if layout.is_plain() {
            let data = match samples {
                Cow::Borrowed(data) => Held::Borrowed(data),
                Cow::Owned(data) => Held::Made(Arc::new(data)),
            };
            return Ok(BatchSource { data, layout });
        }
        let parts = std::iter::once(samples).chain(beside).collect();
        let joined = Dataset::joined(parts)?.with_name(data.name());
        Ok(BatchSource { data: Held::Made(Arc::new(joined)), layout })
    }

    /// Side inputs of a range of samples, for inference. Fails where samples do not fit the model, and where a
    /// condition is missing.
    pub fn given(&self, data: &Dataset, range: Range<usize>) -> Result<SideInputs> {
        self.accepts(data.sample_shape(), data.name())?;
        let conditions = self.conditions(data)?.map(|conditions| conditions.read_f32(range.clone())).transpose()?;
        let mut given = SideInputs::conditions(conditions.unwrap_or_default());
        if let Some(lengths) = data.lengths() {
            self.expect_sequences(data.name(), data.sample_shape())?;
            given.lengths = lengths[range].to_vec();
        }
        Ok(given)
    }

    /// Conditions of a data set, one per sample; `None` where the model takes none.
    fn conditions<'a>(&self, data: &'a Dataset) -> Result<Option<Cow<'a, Dataset>>> {
        let fail =
            |problem: String, help: &str| Err(Error::invalid(format!("data \"{}\"", data.name()), problem, help));
        match self.spec().condition {
            Condition::None => Ok(None),
            Condition::Labels { count } => {
                let labels = data.needed_labels(&format!(", and the model's condition is labels = {count}"))?;
                let names = &self.spec().data.classes;
                let classes: Vec<_> = labels.names().iter().map(|label| class_of(label, names, count)).collect();
                let strange = labels.present().into_iter().find(|label| classes[*label].is_none());
                if let Some(strange) = strange.map(|strange| &labels.names()[strange]) {
                    let known = match names.len() {
                        0 => format!("the model's condition has {count}, counted from 0"),
                        _ => format!("the model's {} are {}", names.len(), listed(names)),
                    };
                    let help = match (names.is_empty(), whole(strange)) {
                        (true, None) => "list the labels in [data] classes, as ModelSpec::fit_to does",
                        _ => "change the model's `condition`, or give other data",
                    };
                    return fail(format!("has label {strange}, but {known}"), help);
                }
                let mut ones = vec![0; labels.len() * count];
                for (row, label) in ones.chunks_mut(count).zip(labels.indices()) {
                    if let Some(class) = classes[*label as usize] {
                        row[class] = 255;
                    }
                }
                Ok(Some(Cow::Owned(Dataset::from_u8([count], ones)?)))
            }
            Condition::Vector { size } => match data.conditions() {
                Some(vectors) if vectors.sample_shape().elements() == size => Ok(Some(Cow::Borrowed(vectors))),
                Some(vectors) => {
                    let found = vectors.sample_shape().elements();
                    let problem = format!("its conditions have {found} numbers, the model's {size}");
                    fail(problem, "change the model's `condition`, or give other data")
                }
                None => {
                    let problem = format!("it has no conditions, and the model's is vector = {size}");
                    fail(problem, "give an .npz file with the samples in x and a row for each in conditions")
                }
            },
        }
    }

    /// Number of steps of the model's sequences. Fails where the model cannot mask steps beyond a sample's length.
    fn expect_sequences(&self, data: &str, sample: &Shape) -> Result<usize> {
        let fail = |problem: String, help: &str| Err(Error::invalid(format!("data \"{data}\""), problem, help));
        let input = &self.spec().input;
        let steps = match input[..] {
            [steps, _] if sample.ends_with(input) => steps,
            _ => {
                let problem = format!("it says how long each sequence {sample} is, but the model's input is {input}");
                let help = "use a model whose input is [steps, features], or name one array, as in FILE.npz:x";
                return fail(problem, help);
            }
        };
        if let Some((kind, _)) = self.spec().loss.terms.iter().find(|(kind, _)| !kind.masks_steps()) {
            let problem = format!("it says how long each sequence is, which \"{}\" cannot regard", kind.name());
            return fail(problem, "use mse, mae, huber, bce, bernoulli or cosine");
        }
        let latent = &self.checked().latent;
        let counted = self.spec().latent.facts().counts_all_steps || self.spec().penalties.sparsity.is_some();
        if counted && latent.len() == 2 && latent[0] == steps {
            let problem = format!("it says how long each sequence is, but steps beyond would count in codes {latent}");
            return fail(problem, "let the encoder leave one vector, by a recurrent layer with last = true, say");
        }
        let other = |layer: &&nn::Placed| layer.layer.steps().lengths && layer.input.first() != Some(&steps);
        if let Some(layer) = nn::walk(&self.checked().encoder).into_iter().find(other) {
            let problem =
                format!("it says how long each sequence of {steps} steps is, but \"{}\" gets others", layer.key);
            return fail(problem, "let recurrent layers and attention see the model's own steps");
        }
        Ok(steps)
    }

    /// Row layout at inference, for samples or codes of `input` elements. Fails where the side inputs do not fit.
    pub(crate) fn given_layout(&self, input: usize, count: usize, given: &SideInputs) -> Result<BatchLayout> {
        let condition = self.spec().condition.width();
        if condition > 0 && given.conditions.is_empty() {
            return Err(self.without_conditions());
        }
        if given.conditions.len() != count * condition {
            let problem = format!("{} numbers are not {condition} for each of {count} samples", given.conditions.len());
            return Err(Error::invalid("condition", problem, "give as many as the model's `condition` says"));
        }
        let mut layout = BatchLayout { input, condition, target: 0, mask: 0 };
        if !given.lengths.is_empty() {
            layout.mask = self.expect_sequences("samples", &self.spec().input)?;
            check_lengths(&given.lengths, count, layout.mask)?;
        }
        Ok(layout)
    }
}

/// One number per step of a sequence: `valid` within its length, 0 beyond.
fn mask<T: Copy + Default>(length: usize, steps: usize, valid: T) -> impl Iterator<Item = T> {
    (0..steps).map(move |step| if step < length { valid } else { T::default() })
}

/// Joins samples or codes with their side inputs into rows.
pub(crate) fn given_rows(samples: &[f32], given: &SideInputs, layout: BatchLayout) -> Vec<f32> {
    let count = samples.len() / layout.input;
    let mut rows = Vec::with_capacity(count * layout.width());
    for (sample, values) in samples.chunks(layout.input).enumerate() {
        rows.extend_from_slice(values);
        rows.extend_from_slice(&given.conditions[sample * layout.condition..][..layout.condition]);
        let length = given.lengths.get(sample).map_or(layout.mask, |length| *length as usize);
        rows.extend(mask(length, layout.mask, 1.0));
    }
    rows
}

/// Shape of a batch of rows; `sample` itself, which includes the batch, where there are no side inputs.
pub(crate) fn row_shape(batch: usize, sample: Shape, layout: BatchLayout) -> Shape {
    if layout.is_plain() { sample } else { [batch, layout.width()].into() }
}
