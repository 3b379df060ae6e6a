//! Losses: scalars, each a mean over every element or over what its comment says; and likelihoods, of each sample by itself.

use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Unary, Value, Window};

/// The mean squared error.
pub fn mse(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let square = graph.unary(Unary::Square, difference)?;
    graph.mean_all(square)
}

/// The mean absolute error.
pub fn mae(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let distance = graph.unary(Unary::Absolute, difference)?;
    graph.mean_all(distance)
}

/// Half the squared error up to a distance of `delta`, from there on a straight line: Huber, Annals of Mathematical
/// Statistics 35 (1964).
pub fn huber(graph: &mut Graph, y: Value, target: Value, delta: f64) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let distance = graph.unary(Unary::Absolute, difference)?;
    // m (d - m / 2), where m is the smaller of d and delta.
    let curved = graph.with_number(Binary::Minimum, distance, delta)?;
    let half = graph.scale(curved, 0.5)?;
    let rest = graph.subtract(distance, half)?;
    let each = graph.multiply(curved, rest)?;
    graph.mean_all(each)
}

/// Binary cross-entropy against targets in `[0, 1]`, from logits: what goes into the sigmoid.
pub fn bce_with_logits(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let each = graph.binary(Binary::BceWithLogits, logits, target)?;
    graph.mean_all(each)
}

/// Cross-entropy of `[n, classes, ..]` against probabilities of the same shape, from logits: what goes into a softmax along
/// axis 1. The mean over all but the classes.
pub fn cross_entropy(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let shape = graph.shape(logits).clone();
    if shape.len() < 2 {
        let problem = format!("expects logits [n, classes, ..], got {shape}");
        return Err(Error::invalid("cross_entropy", problem, "give the classes an axis"));
    }
    let log_probability = graph.log_softmax(logits, &[1])?;
    let each = graph.multiply(target, log_probability)?;
    let mean = graph.mean_all(each)?;
    graph.scale(mean, -(shape[1] as f64))
}

/// The Kullback-Leibler divergence of one diagonal gaussian from another, each given by means and logarithms of variances
/// `[n, ..]`: the sum over a sample's elements, the mean over samples.
pub fn kl_gaussians(
    graph: &mut Graph,
    [mean, log_variance]: [Value; 2],
    [other_mean, other_log_variance]: [Value; 2],
) -> Result<Value> {
    // (l2 - l1 + e^(l1 - l2) + (m1 - m2)² e^(-l2) - 1) / 2
    let ratio = graph.subtract(log_variance, other_log_variance)?;
    let spread = graph.unary(Unary::Exp, ratio)?;
    let difference = graph.subtract(mean, other_mean)?;
    let square = graph.unary(Unary::Square, difference)?;
    let negative = graph.unary(Unary::Negate, other_log_variance)?;
    let precision = graph.unary(Unary::Exp, negative)?;
    let distance = graph.multiply(square, precision)?;
    let sum = graph.add(spread, distance)?;
    let sum = graph.subtract(sum, ratio)?;
    let each = graph.with_number(Binary::Subtract, sum, 1.0)?;
    let per_sample = graph.shape(each).elements() / graph.shape(each).first().copied().unwrap_or(1);
    let mean = graph.mean_all(each)?;
    graph.scale(mean, 0.5 * per_sample as f64)
}

/// One minus the cosine of the angle between a sample and its target, both `[n, ..]`, as a mean over samples. Norms count
/// as at least 1e-8.
pub fn cosine(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(y).len()).collect();
    let product = graph.multiply(y, target)?;
    let product = graph.sum(product, &axes)?;
    let mut norm = |x: Value| {
        let square = graph.unary(Unary::Square, x)?;
        let sum = graph.sum(square, &axes)?;
        // Before the root, whose derivative at 0 is infinite.
        let sum = graph.with_number(Binary::Maximum, sum, 1e-16)?;
        graph.unary(Unary::SquareRoot, sum)
    };
    let (own, other) = (norm(y)?, norm(target)?);
    let norms = graph.multiply(own, other)?;
    let cosine = graph.divide(product, norms)?;
    let mean = graph.mean_all(cosine)?;
    let one = graph.constant(1.0, [])?;
    graph.subtract(one, mean)
}

/// Side of the window of [`ssim`], and its standard deviation.
pub const SSIM_WINDOW: usize = 11;
const SSIM_SIGMA: f64 = 1.5;

/// One minus the structural similarity of pictures `[n, c, h, w]` with values in `[0, 1]`: Wang, Bovik, Sheikh and
/// Simoncelli, IEEE Transactions on Image Processing 13 (2004), with their gaussian window of 11 x 11. The mean over every
/// whole window, channel and sample.
pub fn ssim(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let shape = graph.shape(y).clone();
    let [n, c, h, w] = shape[..] else {
        return Err(Error::invalid("ssim", format!("expects pictures [n, c, h, w], got {shape}"), "use another loss"));
    };
    if h.min(w) < SSIM_WINDOW {
        let problem = format!("pictures of {h} x {w} are smaller than its window of {SSIM_WINDOW}");
        return Err(Error::invalid("ssim", problem, "use larger pictures or another loss"));
    }
    // Both pictures, their squares and their product go through the window side by side, each channel by itself.
    let pictures = [n * c, 1, h, w];
    let (y, target) = (graph.reshape(y, pictures)?, graph.reshape(target, pictures)?);
    let squares = [graph.unary(Unary::Square, y)?, graph.unary(Unary::Square, target)?];
    let product = graph.multiply(y, target)?;
    let all = graph.concat(&[y, target, squares[0], squares[1], product], 0)?;
    let window = gaussian(graph)?;
    let along = |graph: &mut Graph, x: Value, kernel: [usize; 2]| {
        let weight = graph.reshape(window, [1, 1, kernel[0], kernel[1]])?;
        graph.conv2d(x, weight, Window::square(1, 0))
    };
    let means = along(graph, all, [SSIM_WINDOW, 1])?;
    let means = along(graph, means, [1, SSIM_WINDOW])?;
    let whole = [n * c, 1, h + 1 - SSIM_WINDOW, w + 1 - SSIM_WINDOW];
    let part = |graph: &mut Graph, index: usize| graph.slice(means, &[index * n * c, 0, 0, 0], whole);
    let (mean, other) = (part(graph, 0)?, part(graph, 1)?);
    let means_product = graph.multiply(mean, other)?;
    let (mean, other) = (graph.unary(Unary::Square, mean)?, graph.unary(Unary::Square, other)?);
    let (square, other_square, product) = (part(graph, 2)?, part(graph, 3)?, part(graph, 4)?);
    let (variance, other_variance) = (graph.subtract(square, mean)?, graph.subtract(other_square, other)?);
    let covariance = graph.subtract(product, means_product)?;
    // (2 m1 m2 + C1) (2 cov + C2) / ((m1² + m2² + C1) (v1 + v2 + C2))
    let (c1, c2) = (0.01 * 0.01, 0.03 * 0.03);
    let twice = |graph: &mut Graph, x: Value, constant: f64| {
        let x = graph.scale(x, 2.0)?;
        graph.with_number(Binary::Add, x, constant)
    };
    let both = |graph: &mut Graph, a: Value, b: Value, constant: f64| {
        let sum = graph.add(a, b)?;
        graph.with_number(Binary::Add, sum, constant)
    };
    let (above, beside) = (twice(graph, means_product, c1)?, twice(graph, covariance, c2)?);
    let (below, rest) = (both(graph, mean, other, c1)?, both(graph, variance, other_variance, c2)?);
    let (above, below) = (graph.multiply(above, beside)?, graph.multiply(below, rest)?);
    let similarity = graph.divide(above, below)?;
    let mean = graph.mean_all(similarity)?;
    let one = graph.constant(1.0, [])?;
    graph.subtract(one, mean)
}

/// The window of [`ssim`] along one axis: weights that sum to 1.
fn gaussian(graph: &mut Graph) -> Result<Value> {
    let weight = |index: usize| {
        let distance = index as f64 - (SSIM_WINDOW / 2) as f64;
        (-distance * distance / (2.0 * SSIM_SIGMA * SSIM_SIGMA)).exp()
    };
    let sum: f64 = (0..SSIM_WINDOW).map(weight).sum();
    let weights: Vec<Value> =
        (0..SSIM_WINDOW).map(|index| graph.constant(weight(index) / sum, [1])).collect::<Result<_>>()?;
    graph.concat(&weights, 0)
}

/// The negative logarithm of each sample's probability, in nats `[n]`, where each of its numbers is 1 with the probability
/// whose logit is given, both `[n, ..]`.
pub fn bernoulli(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let each = graph.binary(Binary::BceWithLogits, logits, target)?;
    sum_of_sample(graph, each)
}

/// (ln(l / tanh(l / 2)) - ln 2) / l² as a polynomial of l², from 0 to 1: the one through the eleven Chebyshev nodes, which is
/// within 5e-18 of it and whose derivative is within 1e-16 of its own. The first factors are nearly those of the series, 1/12,
/// -7/1440, 31/90720 and so on, of which it would take seventeen.
const NORMALISER: [f64; 11] = [
    0.08333333333333333,
    -0.004861111111111104,
    0.0003417107583771503,
    -2.624834655654541e-05,
    2.133604529554758e-06,
    -1.8027879071779557e-07,
    1.5658999995584207e-08,
    -1.3874584875730556e-09,
    1.239165907664941e-10,
    -1.0521881496662885e-11,
    6.415274659399334e-13,
];

/// [`bernoulli`] with the constant that makes it a density over numbers between 0 and 1: Loaiza-Ganem and Cunningham, arXiv
/// 1907.06845.
pub fn continuous_bernoulli(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let cross_entropy = graph.binary(Binary::BceWithLogits, logits, target)?;
    // The constant is l / tanh(l / 2). Where l² is below this, its logarithm is ln 2 and a polynomial of l²: a derivative by
    // the formula would be the difference of numbers that are nearly alike, and at 0 both are infinite.
    const NEAR: f64 = 1.0;
    let series = |square: f64| square * NORMALISER.iter().rev().fold(0.0, |sum, factor| sum * square + factor);
    let square = graph.unary(Unary::Square, logits)?;
    let near = graph.with_number(Binary::Minimum, square, NEAR)?;
    let [rest @ .., last] = NORMALISER;
    let mut inner = graph.scale(near, last)?;
    for factor in rest.into_iter().rev() {
        inner = graph.with_number(Binary::Add, inner, factor)?;
        inner = graph.multiply(inner, near)?;
    }
    let inner = graph.with_number(Binary::Subtract, inner, series(NEAR))?;
    let far = graph.with_number(Binary::Maximum, square, NEAR)?;
    let far = graph.unary(Unary::SquareRoot, far)?;
    let half = graph.scale(far, 0.5)?;
    let tanh = graph.unary(Unary::Tanh, half)?;
    let constant = graph.divide(far, tanh)?;
    let logarithm = graph.unary(Unary::Ln, constant)?;
    let logarithm = graph.add(logarithm, inner)?;
    let each = graph.subtract(cross_entropy, logarithm)?;
    sum_of_sample(graph, each)
}

/// The negative logarithm of each sample's density, in nats `[n]`, where its numbers are normally distributed around `y`, all
/// with the variance whose logarithm is given, a scalar.
pub fn gaussian_likelihood(graph: &mut Graph, y: Value, target: Value, log_variance: Value) -> Result<Value> {
    // (ln 2 pi + l + (y - x)² e^-l) / 2
    let difference = graph.subtract(y, target)?;
    let square = graph.unary(Unary::Square, difference)?;
    let negative = graph.unary(Unary::Negate, log_variance)?;
    let precision = graph.unary(Unary::Exp, negative)?;
    let distance = graph.multiply(square, precision)?;
    let sum = graph.add(distance, log_variance)?;
    let sum = graph.with_number(Binary::Add, sum, std::f64::consts::TAU.ln())?;
    let each = graph.scale(sum, 0.5)?;
    sum_of_sample(graph, each)
}

/// The negative logarithm of the probability of each sample's counts `[n, ..]`, in nats `[n]` and up to the multinomial
/// coefficient, where the probabilities are the softmax of all its logits.
pub fn multinomial(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(logits).len()).collect();
    let log_probability = graph.log_softmax(logits, &axes)?;
    let each = graph.multiply(target, log_probability)?;
    let each = graph.unary(Unary::Negate, each)?;
    sum_of_sample(graph, each)
}

/// The loss of lines of a table, a sum over its columns and the mean over lines: the cross-entropy of a column of categories,
/// the squared error of a column of numbers. `categories` has for each column how many it has, 0 for numbers. The target
/// `[n, columns]` has categories as their places; `y` `[n, width]` has for each column its categories' logits, or its number.
pub fn columns(graph: &mut Graph, y: Value, target: Value, categories: &[usize]) -> Result<Value> {
    let n = graph.shape(y)[0];
    let (mut sum, mut start, mut at): (Option<Value>, usize, usize) = (None, 0, 0);
    while at < categories.len() {
        // Neighbouring columns of numbers count together.
        let count = categories[at];
        let alike = if count > 0 { 1 } else { categories[at..].iter().take_while(|count| **count == 0).count() };
        let width = if count > 0 { count } else { alike };
        let own = graph.slice(y, &[0, start], [n, width])?;
        let wanted = graph.slice(target, &[0, at], [n, alike])?;
        let each = if count > 0 {
            let log_probability = graph.log_softmax(own, &[1])?;
            let places = graph.iota(count)?;
            let places = graph.reshape(places, [1, count])?;
            let [places, wanted] = [graph.broadcast(places, [n, count])?, graph.broadcast(wanted, [n, count])?];
            let is_it = graph.binary(Binary::Equal, places, wanted)?;
            let part = graph.multiply(is_it, log_probability)?;
            graph.unary(Unary::Negate, part)?
        } else {
            let difference = graph.subtract(own, wanted)?;
            graph.unary(Unary::Square, difference)?
        };
        let each = graph.scale(each, 1.0 / n as f64)?;
        let part = graph.sum(each, &[0, 1])?;
        sum = Some(match sum {
            Some(sum) => graph.add(sum, part)?,
            None => part,
        });
        (start, at) = (start + width, at + alike);
    }
    sum.ok_or_else(|| Error::invalid("columns", "there is none", "give one or more"))
}

/// `[n, ..]` to `[n]`.
fn sum_of_sample(graph: &mut Graph, each: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(each).len()).collect();
    graph.sum(each, &axes)
}

/// How far the codes of a batch `[n, size]` are from draws of a standard normal of the same shape: the unbiased estimate of
/// the squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012). `similarity` makes a scalar's worth of likeness of
/// each of the squared distances `[n, n]` of two batches. A batch of one sample tells nothing: 0.
pub fn maximum_mean_discrepancy(
    graph: &mut Graph,
    codes: Value,
    draws: Value,
    similarity: &dyn Fn(&mut Graph, Value) -> Result<Value>,
) -> Result<Value> {
    let count = graph.shape(codes)[0];
    if count < 2 {
        return graph.constant(0.0, []);
    }
    let mut mean = |a: Value, b: Value| -> Result<Value> {
        let distances = squared_distances(graph, a, b)?;
        let alike = similarity(graph, distances)?;
        let sum = graph.sum(alike, &[0, 1])?;
        if a != b {
            return graph.scale(sum, 1.0 / (count * count) as f64);
        }
        // Each is most alike to itself, which says nothing.
        let zero = graph.constant(0.0, [])?;
        let own = similarity(graph, zero)?;
        let own = graph.scale(own, count as f64)?;
        let others = graph.subtract(sum, own)?;
        graph.scale(others, 1.0 / (count * (count - 1)) as f64)
    };
    let (codes_alike, draws_alike) = (mean(codes, codes)?, mean(draws, draws)?);
    let both = mean(codes, draws)?;
    let sum = graph.add(codes_alike, draws_alike)?;
    let both = graph.scale(both, 2.0)?;
    graph.subtract(sum, both)
}

/// The squared distance of each row of `a` `[n, size]` from each of `b` `[m, size]`: `[n, m]`.
pub fn squared_distances(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    let (rows, columns) = (graph.shape(a)[0], graph.shape(b)[0]);
    let mut norms = |x: Value, shape: [usize; 2]| {
        let square = graph.unary(Unary::Square, x)?;
        let sum = graph.sum(square, &[1])?;
        graph.reshape(sum, shape)
    };
    let (own, other) = (norms(a, [rows, 1])?, norms(b, [1, columns])?);
    let product = graph.matmul(a, b, false, true)?;
    let product = graph.scale(product, -2.0)?;
    let sum = graph.add(product, own)?;
    let sum = graph.add(sum, other)?;
    // Rounding may leave less than nothing.
    graph.unary(Unary::Relu, sum)
}
