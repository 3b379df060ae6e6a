//! Which values the next trial has: a pure function of the search, the trial's number and the results before it.

use super::space::{Candidates, Dimension, Method, SearchSpec};
use crate::rng::{HostStream, Sequence};
use tpe::TpeOptimizer;

/// Trials at random before the estimator has seen enough to say anything.
const AT_RANDOM: usize = 10;
/// Points drawn for one that has not been tried.
const REDRAWN: usize = 64;

/// What has been tried: a value for each key of the search, as a model file has it, and what came of it. A trial that
/// failed has an infinite metric.
pub type Tried = (Vec<String>, f64);

/// The values of trial `number`, counted from 1, when those before it have been `tried`; none where no point is left.
///
/// Every draw is of a sequence of its own for each number, so that the same search proposes the same trials.
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
    // Draws keep finding what is known, so few points are left, if any. One of the first is new where one is at all.
    (0..=tried.len()).map_while(|index| grid_point(&spec.space, index)).find(is_new)
}

/// A point of the grid, of which the last key changes first.
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

/// A value that is likelier among the best tenth of trials than among the others, by an estimator of this key alone; none where
/// there is nothing to choose from.
fn estimate(candidates: &Candidates, index: usize, tried: &[Tried], sequence: &mut Sequence) -> Option<String> {
    // Choices are told apart by their numbers, of which a half more is the middle; all else has a place from 0 to 1.
    let (estimator, end, middle) = match candidates {
        Candidates::Choices(choices) => (tpe::histogram_estimator(), choices.len() as f64, 0.5),
        Candidates::Range { .. } | Candidates::Log { .. } | Candidates::Whole { .. } => {
            (tpe::parzen_estimator(), 1.0, 0.0)
        }
    };
    let mut optimizer = TpeOptimizer::new(estimator, tpe::range(0.0, end).ok()?);
    for (point, metric) in tried {
        let place = (candidates.place(&point[index]) * end).min(end.next_down());
        // NaN is no result.
        optimizer.tell(place, if metric.is_nan() { f64::INFINITY } else { *metric }).ok()?;
    }
    let Ok(drawn) = optimizer.ask(sequence);
    Some(candidates.at((drawn + middle) / end))
}
