//! Side data of a [`Dataset`]: conditions, targets and lengths, one for each sample.

use super::arrangement::{Arrangement, arrangement};
use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::tensor::Values;
use std::borrow::Cow;

/// Subjects of the message about targets and samples that are scaled differently.
pub(super) const TARGETS: [&str; 2] = ["its targets are", "the samples are"];

/// All side data but the labels, which have their own field.
#[derive(Clone, Default, PartialEq)]
pub(super) struct SideData {
    conditions: Option<Box<Dataset>>,
    targets: Option<Box<Dataset>>,
    lengths: Option<Vec<u32>>,
}

impl SideData {
    pub fn subset(&self, indices: &[u32]) -> SideData {
        let part = |data: &Option<Box<Dataset>>| data.as_ref().map(|data| Box::new(data.subset(indices)));
        let lengths = self.lengths.as_ref();
        let lengths = lengths.map(|lengths| indices.iter().map(|index| lengths[*index as usize]).collect());
        SideData { conditions: part(&self.conditions), targets: part(&self.targets), lengths }
    }

    pub fn truncate(&mut self, count: usize) {
        for data in [&mut self.conditions, &mut self.targets].into_iter().flatten() {
            **data = (**data).clone().take(count);
        }
        if let Some(lengths) = &mut self.lengths {
            lengths.truncate(count);
        }
    }
}

impl Dataset {
    /// Sets the conditions, one for each sample: the input of models with `condition = { vector = SIZE }`.
    /// Fails where their number differs from the samples'.
    pub fn with_conditions(mut self, conditions: Dataset) -> Result<Dataset> {
        expect_one_each("conditions", conditions.len(), self.len())?;
        self.side.conditions = Some(Box::new(conditions));
        Ok(self)
    }

    /// Changes the conditions, if there are any.
    pub(super) fn map_conditions(mut self, change: impl FnOnce(Dataset) -> Result<Dataset>) -> Result<Dataset> {
        self.side.conditions = self.side.conditions.map(|conditions| change(*conditions).map(Box::new)).transpose()?;
        Ok(self)
    }

    /// The conditions of the samples, if there are any.
    pub fn conditions(&self) -> Option<&Dataset> {
        self.side.conditions.as_deref()
    }

    /// Sets the targets, which a model learns to output for the samples, such as clean pictures for noisy ones. Fails
    /// where their number or shape differs from the samples' (see [`arrangement`] for shapes), and where they are
    /// scaled otherwise, as bytes are, which mean 0 to 1, beside floats from 0 to 255.
    pub fn with_targets(mut self, targets: Dataset) -> Result<Dataset> {
        expect_one_each("targets", targets.len(), self.len())?;
        if arrangement(targets.sample_shape(), self.sample_shape()) != Some(Arrangement::AsTheyLie) {
            let problem = format!("they are {}, the samples {}", targets.sample_shape(), self.sample_shape());
            return Err(Error::invalid("targets", problem, "give targets of the samples' shape"));
        }
        targets.expect_scaled_as(&self, TARGETS)?;
        self.side.targets = Some(Box::new(targets));
        Ok(self)
    }

    /// The targets, if a model is to output anything else than the samples themselves.
    pub fn targets(&self) -> Option<&Dataset> {
        self.side.targets.as_deref()
    }

    /// Sets the valid steps of each sequence `[steps, features]` (or `[1, steps, features]`); later steps are masked.
    /// Fails unless each has a length, of at least 1 and at most all steps, and where samples are not sequences.
    pub fn with_lengths(mut self, lengths: Vec<u32>) -> Result<Dataset> {
        let ([steps, _] | [1, steps, _]) = self.sample_shape()[..] else {
            let problem = format!("samples {} are no sequences", self.sample_shape());
            return Err(Error::invalid("lengths", problem, "give samples [steps, features]"));
        };
        check_lengths(&lengths, self.len(), steps)?;
        self.side.lengths = Some(lengths);
        Ok(self)
    }

    /// The number of valid steps of each sequence, if lengths are set.
    pub fn lengths(&self) -> Option<&[u32]> {
        self.side.lengths.as_deref()
    }

    /// The number of values in a sample's valid steps.
    pub(crate) fn elements_of(&self, sample: usize) -> usize {
        let size = self.sample_shape().elements();
        match (&self.side.lengths, &self.sample_shape()[..]) {
            (Some(lengths), [.., steps, _]) => lengths[sample] as usize * (size / steps),
            _ => size,
        }
    }

    /// Concatenates data sets of equal length sample by sample: each sample has the numbers of all their samples, one
    /// after the other. In memory if all of them are.
    pub(crate) fn joined(parts: Vec<Cow<Dataset>>) -> Result<Dataset> {
        let width = parts.iter().map(|part| part.sample_shape().elements()).sum::<usize>();
        if parts.iter().all(|part| part.in_memory()) {
            let parts: Vec<(&Values, usize)> =
                parts.iter().map(|part| (part.values(), part.sample_shape().elements())).collect();
            return Ok(Dataset::from_parts("data", [width].into(), join(&parts), None));
        }
        Ok(Dataset::of_parts([width].into(), parts.into_iter().map(Cow::into_owned).collect()))
    }
}

fn expect_one_each(what: &'static str, count: usize, samples: usize) -> Result<()> {
    if count == samples {
        return Ok(());
    }
    let problem = format!("{count} {what} given for {samples} samples");
    Err(Error::invalid(what, problem, "give one for each sample"))
}

/// Fails unless there is a length for each sample, of at least one step and at most all.
pub(crate) fn check_lengths(lengths: &[u32], samples: usize, steps: usize) -> Result<()> {
    expect_one_each("lengths", lengths.len(), samples)?;
    match lengths.iter().position(|length| !(1..=steps).contains(&(*length as usize))) {
        Some(sample) => {
            let problem = format!("that of sample {sample}, counted from 0, is {}", lengths[sample]);
            Err(Error::invalid("lengths", problem, format!("give 1 to {steps}")))
        }
        None => Ok(()),
    }
}

/// Concatenates samples of the given widths, one by one: bytes if all are, else floats.
pub(super) fn join(parts: &[(&Values, usize)]) -> Values {
    fn rows<T: Copy>(parts: &[(Cow<[T]>, usize)]) -> Vec<T> {
        let count = parts.first().map_or(0, |(values, width)| values.len() / width);
        let mut rows = Vec::with_capacity(parts.iter().map(|(values, _)| values.len()).sum());
        for row in 0..count {
            for (values, width) in parts {
                rows.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
        rows
    }
    let bytes: Option<Vec<(Cow<[u8]>, usize)>> = parts
        .iter()
        .map(|(values, width)| match values {
            Values::U8(bytes) => Some((Cow::Borrowed(&bytes[..]), *width)),
            Values::F32(_) | Values::F64(_) | Values::U32(_) => None,
        })
        .collect();
    match bytes {
        Some(bytes) => Values::U8(rows(&bytes)),
        None => {
            fn floats<'a>((values, width): &(&'a Values, usize)) -> (Cow<'a, [f32]>, usize) {
                match values {
                    Values::F32(values) => (Cow::Borrowed(&values[..]), *width),
                    other => (Cow::Owned(super::dataset::floats(other, 0..other.len())), *width),
                }
            }
            Values::F32(rows(&parts.iter().map(floats).collect::<Vec<_>>()))
        }
    }
}
