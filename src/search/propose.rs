//! Which values the next trial has: a pure function of the search, the trial's number and the results before it.

use crate::cpu::normal_quantile;
use crate::model::spec::{Candidates, Dimension, Method, SearchSpec};
use crate::rng::{HostStream, Sequence};

/// Trials at random before the estimator has seen enough to say anything.
const AT_RANDOM: usize = 10;
/// The part of trials that are the good ones.
const GOOD: f64 = 0.15;
/// Values drawn from what is known of good trials, of which the most promising is taken.
const DRAWN: usize = 24;
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
/// use pinhole::model::spec::{Candidates, Dimension, Method, Metric, SearchSpec};
/// use pinhole::search::propose;
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
            Method::Tpe | Method::Random | Method::Grid => dimension.candidates.at(f64::from(sequence.unit())),
        };
        let point: Vec<String> = spec.space.iter().enumerate().map(draw).collect();
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

/// A value that is likelier among good trials than among the others: of some drawn from l, the density of the good ones,
/// the one with the largest l / g, where g is that of the others; the expected improvement rises with that ratio.
fn estimate(candidates: &Candidates, index: usize, tried: &[Tried], sequence: &mut Sequence) -> String {
    let mut ranked: Vec<&Tried> = tried.iter().collect();
    // NaN is no result; equal ones stay in their order.
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    let good = ((GOOD * tried.len() as f64).ceil() as usize).clamp(1, tried.len());
    let density =
        |part: &[&Tried]| Density::new(candidates, part.iter().map(|(point, _)| candidates.place(&point[index])));
    let (good, others) = (density(&ranked[..good]), density(&ranked[good..]));
    let drawn: Vec<(f64, String)> = (0..DRAWN)
        .map(|_| {
            let text = candidates.at(good.draw(sequence));
            let place = candidates.place(&text);
            (good.at(place).ln() - others.at(place).ln(), text)
        })
        .collect();
    let mut best = &drawn[0];
    for other in &drawn[1..] {
        if other.0 > best.0 {
            best = other;
        }
    }
    best.1.clone()
}

/// How likely places from 0 to 1 are, up to a factor that is the same for all.
enum Density {
    /// As often as each choice was made, and once more.
    Choices(Vec<f64>),
    /// Normal densities around what was seen and around the middle, cut off at 0 and 1: centres and deviations.
    Parzen(Vec<[f64; 2]>),
}

impl Density {
    fn new(candidates: &Candidates, places: impl Iterator<Item = f64>) -> Density {
        if let Candidates::Choices(choices) = candidates {
            let mut weights = vec![1.0; choices.len()];
            for place in places {
                weights[nth(place, choices.len())] += 1.0;
            }
            let sum: f64 = weights.iter().sum();
            return Density::Choices(weights.into_iter().map(|weight| weight / sum).collect());
        }
        // The middle, as wide as all, stands for what is believed before anything is seen.
        let mut places: Vec<f64> = places.chain([0.5]).collect();
        places.sort_by(f64::total_cmp);
        let count = places.len();
        let narrowest = 1.0 / (count as f64).min(100.0);
        let kernel = |at: usize| {
            let left = if at == 0 { 0.0 } else { places[at - 1] };
            let right = places.get(at + 1).copied().unwrap_or(1.0);
            // As wide as the larger gap beside it.
            let width = (places[at] - left).max(right - places[at]);
            [places[at], width.clamp(narrowest, 1.0)]
        };
        let mut kernels: Vec<[f64; 2]> = (0..count).map(kernel).collect();
        if let Some(middle) = kernels.iter_mut().find(|kernel| kernel[0] == 0.5) {
            middle[1] = 1.0;
        }
        Density::Parzen(kernels)
    }

    fn at(&self, place: f64) -> f64 {
        match self {
            Density::Choices(weights) => weights[nth(place, weights.len())],
            Density::Parzen(kernels) => {
                let normal = |[centre, deviation]: &[f64; 2]| {
                    let distance = (place - centre) / deviation;
                    (-0.5 * distance * distance).exp() / deviation
                };
                kernels.iter().map(normal).sum::<f64>() / kernels.len() as f64
            }
        }
    }

    fn draw(&self, sequence: &mut Sequence) -> f64 {
        match self {
            Density::Choices(weights) => {
                let mut left = f64::from(sequence.unit());
                let last = weights.len() - 1;
                let chosen = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                (chosen.unwrap_or(last) as f64 + 0.5) / weights.len() as f64
            }
            // What falls outside is drawn again; at least a third of each kernel lies inside.
            Density::Parzen(kernels) => loop {
                let [centre, deviation] = kernels[nth(f64::from(sequence.unit()), kernels.len())];
                let place = centre + deviation * normal_quantile(f64::from(sequence.unit()));
                if (0.0..=1.0).contains(&place) {
                    break place;
                }
            },
        }
    }
}

/// Which of so many equal parts of 0 to 1 a place is in.
fn nth(place: f64, count: usize) -> usize {
    ((place * count as f64) as usize).min(count - 1)
}

impl Candidates {
    /// The value at a place from 0 to 1, as a model file has it.
    pub(super) fn at(&self, place: f64) -> String {
        match self {
            Candidates::Choices(choices) => choices[nth(place, choices.len())].clone(),
            Candidates::Range { low, high, .. } => rounded(low + place * (high - low), *low, *high),
            Candidates::Log { low, high, .. } => {
                rounded((low.ln() + place * (high.ln() - low.ln())).exp(), *low, *high)
            }
            Candidates::Whole { low, high } => {
                let count = (high - low + 1) as usize;
                (low + nth(place, count) as i64).to_string()
            }
        }
    }

    /// Where a value is, from 0 to 1: the middle of its part where they can be counted.
    pub(super) fn place(&self, text: &str) -> f64 {
        let number: f64 = text.parse().unwrap_or(f64::NAN);
        let place = match self {
            Candidates::Choices(choices) => {
                let index = choices.iter().position(|choice| choice == text).unwrap_or(0);
                (index as f64 + 0.5) / choices.len() as f64
            }
            Candidates::Range { low, high, .. } => (number - low) / (high - low),
            Candidates::Log { low, high, .. } => (number.ln() - low.ln()) / (high.ln() - low.ln()),
            Candidates::Whole { low, high } => (number - *low as f64 + 0.5) / (high - low + 1) as f64,
        };
        place.clamp(0.0, 1.0)
    }

    /// Value `index` of the `count` that a grid has.
    fn of_grid(&self, index: usize, count: usize) -> String {
        match self {
            Candidates::Range { .. } | Candidates::Log { .. } => self.at(index as f64 / (count - 1).max(1) as f64),
            Candidates::Choices(_) | Candidates::Whole { .. } => self.at((index as f64 + 0.5) / count as f64),
        }
    }
}

/// A number of four digits, which nobody minds to type, between two.
fn rounded(number: f64, low: f64, high: f64) -> String {
    let short: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    format!("{:?}", short.clamp(low, high))
}
