//! Numbers that a model's loss takes. Losses of probabilities fall without end where targets lie beyond 0 to 1, so that
//! such data is refused before the first step.

use super::config::{Binarise, LossKind};
use super::network::Network;
use crate::data::{Bounds, Dataset};
use crate::error::Result;
use std::borrow::Cow;

/// The help where a loss is what takes no others.
const OTHER_LOSS: &str = "use a loss of any numbers, such as \"mse\"";

impl Network {
    /// The numbers that targets must be within; `None` where they may be any.
    fn target_bounds(&self) -> Option<Bounds> {
        match self.spec().data.binarise {
            Binarise::Stochastic => return self.sample_bounds(),
            // Whatever they were, the loss sees 0 and 1.
            Binarise::Threshold => return None,
            Binarise::None => {}
        }
        let bounds = |kind: &LossKind| {
            let most = Some(kind.largest_target()?).filter(|most| most.is_finite());
            Some(Bounds { whose: format!("loss \"{}\"", kind.name()), most, otherwise: OTHER_LOSS.to_owned() })
        };
        let mut all: Vec<Bounds> = self.spec().loss.terms.iter().filter_map(|(kind, _)| bounds(kind)).collect();
        // The narrowest first.
        all.sort_by_key(|bounds| bounds.most.is_none());
        all.into_iter().next()
    }

    /// The numbers that samples must be within, whatever the loss.
    fn sample_bounds(&self) -> Option<Bounds> {
        let stochastic = self.spec().data.binarise == Binarise::Stochastic;
        stochastic.then(|| Bounds {
            whose: "binarise = \"stochastic\"".to_owned(),
            most: Some(1.0),
            otherwise: "leave binarise out".to_owned(),
        })
    }

    /// The samples of a data set, which are looked at as they are read where they come from an iterator. Fails where
    /// the loss takes no such targets and these samples are the targets, or where a number is to be a probability and
    /// is none.
    pub(super) fn within_bounds<'a>(&self, data: &'a Dataset) -> Result<Cow<'a, Dataset>> {
        let bounds = if data.targets().is_some() { self.sample_bounds() } else { self.target_bounds() };
        within(data, data, bounds, "its numbers")
    }

    /// The same of the targets of a data set.
    pub(super) fn targets_within_bounds<'a>(&self, data: &Dataset, targets: &'a Dataset) -> Result<Cow<'a, Dataset>> {
        within(targets, data, self.target_bounds(), "its targets")
    }
}

/// `data` held within bounds; `whole` says how many steps each sample has.
fn within<'a>(data: &'a Dataset, whole: &Dataset, bounds: Option<Bounds>, what: &str) -> Result<Cow<'a, Dataset>> {
    let Some(bounds) = bounds else { return Ok(Cow::Borrowed(data)) };
    bounds.expect(data, whole, what)?;
    // Steps beyond a sequence's length may hold anything.
    let watched = data.is_stream() && whole.lengths().is_none();
    Ok(if watched { Cow::Owned(data.clone().within(bounds)) } else { Cow::Borrowed(data) })
}
