//! Proposal of the next trial's values: a pure function of the search, the trial's number and the earlier results.

use super::space::{Candidates, Dimension, Method, SearchSpec};
use crate::rng::{HostStream, Sequence};
use tpe::TpeOptimizer;

/// Number of random trials before the estimator has enough results.
const AT_RANDOM: usize = 10;
/// Draws per proposal in search of an untried point.
const REDRAWN: usize = 64;

/// A trial's result: a value for each key of the search, as a model file writes it, and the metric, which is infinite
/// for a failed trial.
pub type Tried = (Vec<String>, f64);

/// Proposes the values of trial `number`, counted from 1, after the trials `tried`; `None` where no point is left.
///
/// Each number is drawn from a separate random sequence, so a search always proposes the same trials.
///
/// ```
/// use pinhole::tune::{Candidates, Dimension, Method, Metric, SearchSpec, propose};
/// let rate = Candidates::Log { low: 1e-4, high: 1e-2, points: None };
/// let space = vec![Dimension { key: "train.optimizer.adam.lr".to_owned(), candidates: rate }];
/// let (model, data) = ("dense".to_owned(), "digits".to_owned());
/// let metric = Metric::ValLoss;
/// let spec = SearchSpec { model, data, method: Method::Tpe, trials: None, seed: 0, metric, halving: None, space };
/// let first = propose(&spec, 1, &[]).unwrap_or_default();
/// let rate: f64 = first[0].parse()?;
/// assert!((1e-4..=1e-2).contains(&rate));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn propose(spec: &SearchSpec, number: usize, tried: &[Tried]) -> Option<Vec<String>> {
    if spec.method == Method::Grid {
        return grid_point(&spec.space, number - 1);
    }
    let is_new = |point: &Vec<String>| tried.iter().all(|(known, _)| known != point);
    let mut sequence = Sequence::new(spec.seed, HostStream::Search, number as u32);
    for _ in 0..REDRAWN {
        let draw = |(index, dimension): (usize, &Dimension)| match spec.method {
            Method::Tpe if tried.len() >= AT_RANDOM => estimate(&dimension.candidates, index, tried, &mut sequence),
            Method::Tpe | Method::Random | Method::Grid => Some(dimension.candidates.at(f64::from(sequence.unit()))),
        };
        let point = spec.space.iter().enumerate().map(draw).collect::<Option<Vec<String>>>()?;
        if is_new(&point) {
            return Some(point);
        }
    }
    // Repeated draws of tried points mean that few are left, if any; one of the first grid points is then new.
    (0..=tried.len()).map_while(|index| grid_point(&spec.space, index)).find(is_new)
}

/// Point `index` of the grid; the last key varies fastest.
fn grid_point(space: &[Dimension], index: usize) -> Option<Vec<String>> {
    let mut rest = index;
    let mut point = Vec::new();
    for dimension in space.iter().rev() {
        let count = dimension.candidates.grid_points()?;
        point.push(dimension.candidates.of_grid(rest % count, count));
        rest /= count;
    }
    point.reverse();
    (rest == 0).then_some(point)
}

/// Draws a value that is likelier among the best tenth of trials than among the others, by an estimator of this key
/// alone; `None` where there is nothing to choose from.
fn estimate(candidates: &Candidates, index: usize, tried: &[Tried], sequence: &mut Sequence) -> Option<String> {
    // Choices map to their index plus a half; all other values to a unit coordinate in `[0, 1]`.
    let (estimator, end, middle) = match candidates {
        Candidates::Choices(choices) => (tpe::histogram_estimator(), choices.len() as f64, 0.5),
        Candidates::Range { .. } | Candidates::Log { .. } | Candidates::Whole { .. } => {
            (tpe::parzen_estimator(), 1.0, 0.0)
        }
    };
    let mut optimizer = TpeOptimizer::new(estimator, tpe::range(0.0, end).ok()?);
    for (point, metric) in tried {
        let place = (candidates.place(&point[index]) * end).min(end.next_down());
        // A NaN metric counts as a failed trial.
        optimizer.tell(place, if metric.is_nan() { f64::INFINITY } else { *metric }).ok()?;
    }
    let Ok(drawn) = optimizer.ask(sequence);
    Some(candidates.at((drawn + middle) / end))
}
