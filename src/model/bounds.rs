//! Value ranges that a model's loss accepts. Likelihoods of probabilities are unbounded for targets outside 0 to 1, so
//! such data is refused before the first step.

use super::config::{Binarise, LossKind};
use super::network::Network;
use crate::data::{Bounds, Dataset};
use crate::error::Result;
use std::borrow::Cow;

/// The help where a loss accepts only some numbers.
const OTHER_LOSS: &str = "use a loss of any numbers, such as \"mse\"";

impl Network {
    /// Bounds of targets; `None` where any number is valid.
    fn target_bounds(&self) -> Option<Bounds> {
        match self.spec().data.binarise {
            Binarise::Stochastic => return self.sample_bounds(),
            // Thresholding leaves 0 and 1 alone.
            Binarise::Threshold => return None,
            Binarise::None => {}
        }
        let bounds = |kind: &LossKind| {
            let most = Some(kind.largest_target()?).filter(|most| most.is_finite());
            Some(Bounds { whose: format!("loss \"{}\"", kind.name()), most, otherwise: OTHER_LOSS.to_owned() })
        };
        // The narrowest bounds, those with an upper one.
        let all = self.spec().loss.terms.iter().filter_map(|(kind, _)| bounds(kind));
        all.min_by_key(|bounds| bounds.most.is_none())
    }

    /// Bounds of samples, independent of the loss.
    fn sample_bounds(&self) -> Option<Bounds> {
        let stochastic = self.spec().data.binarise == Binarise::Stochastic;
        stochastic.then(|| Bounds {
            whose: "binarise = \"stochastic\"".to_owned(),
            most: Some(1.0),
            otherwise: "leave binarise out".to_owned(),
        })
    }

    /// Checks the samples of a data set, those of a stream as they are read. Fails where the samples are the targets
    /// and the loss does not accept them, or where a number to be taken as a probability is none.
    pub(super) fn within_bounds<'a>(&self, data: &'a Dataset) -> Result<Cow<'a, Dataset>> {
        let bounds = if data.targets().is_some() { self.sample_bounds() } else { self.target_bounds() };
        within(data, data, bounds, "its numbers")
    }

    /// Checks the targets of a data set against the loss.
    pub(super) fn targets_within_bounds<'a>(&self, data: &Dataset, targets: &'a Dataset) -> Result<Cow<'a, Dataset>> {
        within(targets, data, self.target_bounds(), "its targets")
    }
}

/// Checks `data` against bounds; `whole` holds the number of steps of each sample.
fn within<'a>(data: &'a Dataset, whole: &Dataset, bounds: Option<Bounds>, what: &str) -> Result<Cow<'a, Dataset>> {
    let Some(bounds) = bounds else { return Ok(Cow::Borrowed(data)) };
    bounds.expect(data, whole, what)?;
    // Steps beyond a sequence's length may hold anything.
    let watched = data.is_stream() && whole.lengths().is_none();
    Ok(if watched { Cow::Owned(data.clone().within(bounds)) } else { Cow::Borrowed(data) })
}
