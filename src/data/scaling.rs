//! Scaling of numbers: bytes mean 0 to 1 and are divided by 255, floats stay unchanged. A model was trained on
//! one of the two; data used with it later must be scaled likewise, see [`Scaling`].

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::arrangement::{Arrangement, arrangement};
use super::bounds::{Bounds, Extent};
use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{DType, Values};

/// Numbers that a thread examines in a row.
const AT_ONCE: usize = 64 << 10;
/// The range of the numbers of samples of `width` each, of which the first `valid(sample)` count.
fn extent_of<T: Copy + Into<f32> + Sync>(values: &[T], width: usize, valid: impl Fn(usize) -> usize + Sync) -> Extent {
    let rows = (AT_ONCE / width).max(1);
    let chunk = |(chunk, values): (usize, &[T])| {
        let samples = values.chunks(width).enumerate();
        let each = samples.map(|(row, sample)| Extent::of(&sample[..valid(chunk * rows + row).min(width)]));
        each.fold(Extent::NOTHING, Extent::join)
    };
    values.par_chunks(rows * width).enumerate().map(chunk).reduce(|| Extent::NOTHING, Extent::join)
}

impl Dataset {
    /// The range of the stored numbers (bytes from 0 to 255) within the valid steps of `whole`'s samples; `None` if the
    /// samples are not in memory.
    pub(crate) fn extent(&self, whole: &Dataset) -> Option<Extent> {
        if let Some(rows) = self.sparse() {
            return Some(extent_of(rows.values(), 1, |_| 1).join(Extent::of(&[0.0f32])));
        }
        let width = self.sample_shape().elements();
        let valid = |sample| whole.elements_of(sample);
        match self.values() {
            _ if !self.in_memory() => None,
            Values::U8(values) => Some(extent_of(values, width, valid)),
            Values::F32(values) => Some(extent_of(values, width, valid)),
            Values::F64(_) | Values::U32(_) => None,
        }
    }
}

/// Scaling of a data set's numbers, which decides how later data for the model is converted:
///
/// | trained on | bytes later | floats later |
/// | --- | --- | --- |
/// | bytes | divided by 255 | unchanged in or near 0 to 1, else refused |
/// | floats in or near 0 to 1 | divided by 255 | unchanged; whole numbers of a byte's range are refused |
/// | floats of a byte's range | become floats 0 to 255 | unchanged; fractions of 0 to 1 are refused after whole ones |
/// | other floats | refused | unchanged |
///
/// Numbers near 0 to 1 are less than that interval's width outside it, as reconstructions of a linear decoder are, and
/// neither numbers from -1 to 1 nor standardised ones. Floats have a byte's range if none is negative and the largest
/// is from 128 to 255. Otherwise later floats may have any range, since an anomaly is unlike all that the model has
/// seen. If trained on floats that are only 0 and 1, bytes that are only 0 and 1 become equal floats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Scaling {
    /// Bytes, which are divided by 255.
    Bytes {
        /// The largest byte.
        most: u8,
    },
    /// Floats, which are taken as they are.
    Floats {
        /// The smallest number.
        least: f32,
        /// The largest number.
        most: f32,
        /// Whether all numbers are whole.
        whole: bool,
    },
}

/// The conversion of data for a model that was trained on other data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// No conversion: bytes are divided by 255, floats taken as they are.
    Nothing,
    /// Bytes become floats from 0 to 255.
    Numbers,
}

impl Scaling {
    /// The scaling of a data set. `None` if there is nothing to compare: for sparse samples, which are counts, for
    /// lines of a table, which the model scales, and for samples from an iterator, which are not known yet.
    pub fn of(data: &Dataset) -> Option<Scaling> {
        if data.sparse().is_some() || data.columns().is_some() {
            return None;
        }
        match (data.extent(data), data.dtype()) {
            (Some(extent), DType::U8) => Some(Scaling::Bytes { most: extent.most as u8 }),
            (Some(Extent { least, most, whole }), _) => Some(Scaling::Floats { least, most, whole }),
            // Pictures in their files: the largest byte is not known.
            (None, DType::U8) if !data.is_stream() => Some(Scaling::Bytes { most: u8::MAX }),
            (None, _) => None,
        }
    }

    /// The conversion of data scaled like `later` for a model that was trained on data scaled like `self`; `None` if
    /// there is none.
    fn takes(self, later: Scaling) -> Option<Change> {
        let (trained, new) = (self.extent(), later.extent());
        let fits = match (self, later) {
            (Scaling::Bytes { .. }, Scaling::Bytes { .. }) => true,
            // Bytes that are only 0 and 1 meant 0 and 1/255, unlike floats of 0 and 1.
            (Scaling::Bytes { most }, Scaling::Floats { .. }) => new.is_near_unit() && (most > 1 || new.most < 0.5),
            (Scaling::Floats { whole, .. }, Scaling::Bytes { most }) => {
                if trained.is_of_bytes() || (trained.is_near_unit() && whole && most <= 1) {
                    return Some(Change::Numbers);
                }
                trained.is_near_unit()
            }
            (Scaling::Floats { .. }, Scaling::Floats { .. }) => {
                let larger = trained.is_near_unit() && new.is_of_bytes() && new.whole;
                let smaller = trained.is_of_bytes() && trained.whole && new.is_near_unit() && !new.whole;
                !larger && !smaller
            }
        };
        fits.then_some(Change::Nothing)
    }

    /// The range of the numbers, bytes from 0 to 255.
    fn extent(self) -> Extent {
        match self {
            Scaling::Bytes { most } => Extent { least: 0.0, most: f32::from(most), whole: true },
            Scaling::Floats { least, most, whole } => Extent { least, most, whole },
        }
    }

    fn text(self) -> String {
        match self {
            Scaling::Bytes { .. } => "bytes, which mean 0 to 1".to_owned(),
            Scaling::Floats { least, most, .. } => format!("floats from {least} to {most}"),
        }
    }
}

impl Dataset {
    /// Converts samples to the scaling of a model's training data. `names` are the subjects of both in the message:
    /// "its numbers are" and "the run was trained on", say. Fails where that is impossible.
    pub(crate) fn scaled_as(self, trained: Option<Scaling>, names: [&str; 2]) -> Result<Dataset> {
        let Some(trained) = trained else { return Ok(self) };
        let Some(own) = Scaling::of(&self) else { return Ok(self) };
        match trained.takes(own) {
            Some(Change::Nothing) => Ok(self),
            Some(Change::Numbers) if self.in_memory() => {
                let shape = self.sample_shape().clone();
                Ok(self.with_values(shape, |values| match values {
                    Values::U8(bytes) => Values::F32(bytes.into_iter().map(f32::from).collect()),
                    other => other,
                }))
            }
            Some(Change::Numbers) | None => Err(self.scaled_otherwise(own, trained, names)),
        }
    }

    /// Fails unless samples are scaled like others, which a model is trained on, without a conversion.
    pub(crate) fn expect_scaled_as(&self, others: &Dataset, names: [&str; 2]) -> Result<()> {
        // Bytes on both sides, the usual case, need no look at the numbers.
        if self.dtype() == DType::U8 && others.dtype() == DType::U8 {
            return Ok(());
        }
        self.expect_scaling(Scaling::of(others), names)
    }

    fn expect_scaling(&self, trained: Option<Scaling>, names: [&str; 2]) -> Result<()> {
        match (trained, Scaling::of(self)) {
            (Some(trained), Some(own)) if trained.takes(own) != Some(Change::Nothing) => {
                Err(self.scaled_otherwise(own, trained, names))
            }
            _ => Ok(()),
        }
    }

    fn scaled_otherwise(&self, own: Scaling, trained: Scaling, [these, others]: [&str; 2]) -> Error {
        let problem = format!("{these} {}, but {others} {}", own.text(), trained.text());
        let help = match (trained, own) {
            (Scaling::Bytes { most: 0 | 1 }, _) => "save these as bytes too, or train on 0 and 1 as floats",
            (_, Scaling::Bytes { .. }) => "save them as floats, scaled like those",
            (Scaling::Bytes { .. }, _) if own.extent().is_of_bytes() => "divide them by 255, or save them as bytes",
            (Scaling::Bytes { .. }, _) => "scale them to 0 to 1, or save them as bytes",
            (Scaling::Floats { .. }, _) => "scale them like those",
        };
        Error::in_data(self.name(), problem, help)
    }
}

/// Shape and scaling of a run's training samples: kept in its `run.toml`, so that data used later is
/// converted to it, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The shape of a sample, which a model with a flat input does not know.
    pub shape: Vec<usize>,
    /// The scaling of the samples, if known: see [`Scaling::of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The scaling of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Scaling>,
    /// The scaling of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Scaling>,
}

impl Samples {
    /// Determines shape and scaling of a data set's samples.
    pub fn of(data: &Dataset) -> Samples {
        Samples {
            shape: data.sample_shape().to_vec(),
            scaling: Scaling::of(data),
            conditions: data.conditions().and_then(Scaling::of),
            targets: data.targets().and_then(Scaling::of),
        }
    }

    /// Shape and scaling of the targets of these samples.
    pub(super) fn of_targets(&self) -> Samples {
        Samples { scaling: self.targets, ..self.clone() }
    }

    /// Converts the samples of a data set to the run's scaling. Fails where that is impossible, and where a model with
    /// a flat input would take the numbers of another shape in another order.
    pub fn convert(&self, data: Dataset) -> Result<Dataset> {
        let shape = self.shape.iter().copied().collect::<Shape>();
        if arrangement(data.sample_shape(), &shape) != Some(Arrangement::Unchanged) {
            let problem = format!("its samples are {}, the run was trained on {shape}", data.sample_shape());
            let help = "give samples of that shape, or flat ones in the same order";
            return Err(Error::in_data(data.name(), problem, help));
        }
        data.map_conditions(|conditions| {
            conditions.scaled_as(self.conditions, ["its conditions are", "the run was trained on"])
        })?
        .scaled_as(self.scaling, ["its numbers are", "the run was trained on"])
    }

    /// Fails where the samples of a data set need a conversion to be scaled like the run's, or cannot be converted.
    /// `others` names the run's samples in the message.
    pub fn expect(&self, data: &Dataset, others: &str) -> Result<()> {
        data.expect_scaling(self.scaling, ["its numbers are", others])
    }

    /// Describes both scalings if a training on these samples cannot be resumed on the others.
    pub(crate) fn differ_from(&self, others: &Samples) -> Option<[String; 2]> {
        let (own, other) = (self.scaling?, others.scaling?);
        (own.takes(other) != Some(Change::Nothing)).then(|| [own.text(), other.text()])
    }
}

impl Bounds {
    /// Fails where a number of a data set is out of bounds. `whole` is the data set with the samples' lengths,
    /// and `what` the numbers' name in the message.
    pub fn expect(&self, data: &Dataset, whole: &Dataset, what: &str) -> Result<()> {
        if data.dtype() == DType::U8 {
            return Ok(());
        }
        let Some(extent) = data.extent(whole).filter(|extent| !self.contain(*extent)) else { return Ok(()) };
        let Extent { least, most, .. } = extent;
        let problem = format!("{what} reach from {least} to {most}, but {}", self.text());
        let scaling = match self.most {
            None => "remove the negative ones",
            Some(_) if extent.is_of_bytes() && extent.whole => "save them as bytes, or divide them by 255",
            Some(_) if extent.is_of_bytes() => "divide them by 255",
            Some(_) if least >= 0.0 => &format!("divide them by {most}"),
            Some(_) => "scale them to 0 to 1 by (x - min) / (max - min)",
        };
        Err(Error::in_data(whole.name(), problem, format!("{scaling}, or {}", self.otherwise)))
    }
}
