//! Losses, which are scalars, and negative log-likelihoods, one number for each sample.

use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Unary, Value, Window};

/// Mean squared error.
pub fn mse(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let square = squared_error(graph, y, target)?;
    graph.mean_all(square)
}

/// The squared error of each element.
fn squared_error(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    graph.unary(Unary::Square, difference)
}

/// Mean absolute error.
pub fn mae(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let difference = graph.subtract(y, target)?;
    let distance = graph.unary(Unary::Absolute, difference)?;
    graph.mean_all(distance)
}

/// Huber loss, the mean of half the squared error up to a distance of `delta` and of its tangent beyond: Huber, Annals
/// of Mathematical Statistics 35 (1964).
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

/// Binary cross-entropy of targets in `[0, 1]` and logits, the inputs of a sigmoid; the mean over all elements.
pub fn bce_with_logits(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let each = graph.binary(Binary::BceWithLogits, logits, target)?;
    graph.mean_all(each)
}

/// Cross-entropy of logits `[n, classes, ..]`, the inputs of a softmax along axis 1, and target probabilities of that
/// shape; the mean over all axes but the classes. Fails where logits have fewer than two axes.
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

/// Kullback-Leibler divergence of one diagonal gaussian from another, each given by means and log-variances `[n, ..]`:
/// the sum over a sample's elements, the mean over samples.
pub fn kl_gaussians(
    graph: &mut Graph,
    [mean, log_variance]: [Value; 2],
    [other_mean, other_log_variance]: [Value; 2],
) -> Result<Value> {
    // (l2 - l1 + e^(l1 - l2) + (m1 - m2)² e^(-l2) - 1) / 2
    let ratio = graph.subtract(log_variance, other_log_variance)?;
    let spread = graph.unary(Unary::Exp, ratio)?;
    let distance = standardised_square(graph, mean, other_mean, other_log_variance)?;
    let sum = graph.add(spread, distance)?;
    let sum = graph.subtract(sum, ratio)?;
    let each = graph.with_number(Binary::Subtract, sum, 1.0)?;
    let per_sample = graph.shape(each).elements() / graph.shape(each).first().copied().unwrap_or(1);
    let mean = graph.mean_all(each)?;
    graph.scale(mean, 0.5 * per_sample as f64)
}

/// The squared error of each element, divided by the variance `e^log_variance`.
fn standardised_square(graph: &mut Graph, y: Value, target: Value, log_variance: Value) -> Result<Value> {
    let square = squared_error(graph, y, target)?;
    let negative = graph.unary(Unary::Negate, log_variance)?;
    let precision = graph.unary(Unary::Exp, negative)?;
    graph.multiply(square, precision)
}

/// Cosine distance, one minus the cosine of the angle between a sample and its target, both `[n, ..]`; the mean over
/// samples. Norms count as at least 1e-8.
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
    let (norm_of_y, norm_of_target) = (norm(y)?, norm(target)?);
    let norms = graph.multiply(norm_of_y, norm_of_target)?;
    let cosine = graph.divide(product, norms)?;
    let mean = graph.mean_all(cosine)?;
    graph.one_minus(mean)
}

/// The side of the window of [`ssim`].
pub const SSIM_WINDOW: usize = 11;
/// The standard deviation of the window of [`ssim`].
const SSIM_SIGMA: f64 = 1.5;

/// One minus the structural similarity of pictures `[n, c, h, w]` with values in `[0, 1]`: Wang, Bovik, Sheikh and
/// Simoncelli, IEEE Transactions on Image Processing 13 (2004), with their gaussian window of 11 x 11; the mean over
/// every whole window, channel and sample. Fails where pictures are smaller than the window.
pub fn ssim(graph: &mut Graph, y: Value, target: Value) -> Result<Value> {
    let shape = graph.shape(y).clone();
    let [n, c, h, w] = shape[..] else {
        return Err(Error::invalid("ssim", format!("expects pictures [n, c, h, w], got {shape}"), "use another loss"));
    };
    if h.min(w) < SSIM_WINDOW {
        let problem = format!("pictures of {h} x {w} are smaller than its window of {SSIM_WINDOW}");
        return Err(Error::invalid("ssim", problem, "use larger pictures or another loss"));
    }
    // One convolution weights both pictures, their squares and their product, with each channel as a separate picture.
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
    let (luminance, structure) = (twice(graph, means_product, c1)?, twice(graph, covariance, c2)?);
    let (means, variances) = (both(graph, mean, other, c1)?, both(graph, variance, other_variance, c2)?);
    let (numerator, denominator) = (graph.multiply(luminance, structure)?, graph.multiply(means, variances)?);
    let similarity = graph.divide(numerator, denominator)?;
    let mean = graph.mean_all(similarity)?;
    graph.one_minus(mean)
}

/// The window of [`ssim`] along one axis, `[SSIM_WINDOW]`: weights that sum to 1.
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

/// Negative log-likelihood of each sample, in nats `[n]`, under independent Bernoulli distributions with these logits,
/// both `[n, ..]`.
pub fn bernoulli(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let each = graph.binary(Binary::BceWithLogits, logits, target)?;
    sum_of_sample(graph, each)
}

/// Coefficients of a polynomial of l² for (ln(l / tanh(l / 2)) - ln 2) / l² from 0 to 1. It interpolates at the eleven
/// Chebyshev nodes, with an error below 5e-18, and below 1e-16 of the derivative. The first coefficients are nearly
/// those of the series, 1/12, -7/1440, 31/90720 and so on, which would need seventeen terms.
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

/// Negative log-likelihood under continuous Bernoulli distributions, Loaiza-Ganem and Cunningham, arXiv 1907.06845:
/// [`bernoulli`] with the constant that makes it a density over numbers between 0 and 1.
pub fn continuous_bernoulli(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let cross_entropy = graph.binary(Binary::BceWithLogits, logits, target)?;
    // The constant is l / tanh(l / 2). For l² below NEAR its logarithm is ln 2 plus a polynomial of l²: the formula's
    // derivative would be a difference of nearly equal numbers, both infinite at 0.
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

/// Negative log-likelihood of each sample, in nats `[n]`, under independent normal distributions with means `y`, `[n,
/// ..]`, and one variance, whose logarithm is a scalar.
pub fn gaussian_likelihood(graph: &mut Graph, y: Value, target: Value, log_variance: Value) -> Result<Value> {
    // (ln 2 pi + l + (y - x)² e^-l) / 2
    let distance = standardised_square(graph, y, target, log_variance)?;
    let sum = graph.add(distance, log_variance)?;
    let sum = graph.with_number(Binary::Add, sum, std::f64::consts::TAU.ln())?;
    let each = graph.scale(sum, 0.5)?;
    sum_of_sample(graph, each)
}

/// Negative log-likelihood of each sample's counts `[n, ..]`, in nats `[n]` and without the multinomial coefficient,
/// under the multinomial distribution whose probabilities are the softmax of all the sample's logits.
pub fn multinomial(graph: &mut Graph, logits: Value, target: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(logits).len()).collect();
    let log_probability = graph.log_softmax(logits, &axes)?;
    let each = graph.multiply(target, log_probability)?;
    let each = graph.unary(Unary::Negate, each)?;
    sum_of_sample(graph, each)
}

/// Loss of rows of a table: the cross-entropy of each column of categories and the squared error of each column of
/// numbers; the sum over columns, the mean over rows. `categories` has the number of each column's categories, 0 for
/// numbers. The target `[n, columns]` has the index of a category; `y` `[n, width]` has the logits of a column's
/// categories, or its number. Fails where there is no column.
pub fn columns(graph: &mut Graph, y: Value, target: Value, categories: &[usize]) -> Result<Value> {
    let n = graph.shape(y)[0];
    let (mut sum, mut start, mut at): (Option<Value>, usize, usize) = (None, 0, 0);
    while at < categories.len() {
        // Neighbouring columns of numbers are one term.
        let numbers = categories[at..].iter().take_while(|count| **count == 0).count();
        let (width, columns) = if numbers > 0 { (numbers, numbers) } else { (categories[at], 1) };
        let output = graph.slice(y, &[0, start], [n, width])?;
        let wanted = graph.slice(target, &[0, at], [n, columns])?;
        let each = if numbers > 0 {
            squared_error(graph, output, wanted)?
        } else {
            let log_probability = graph.log_softmax(output, &[1])?;
            let indices = graph.iota(width)?;
            let indices = graph.reshape(indices, [1, width])?;
            let [indices, wanted] = [graph.broadcast(indices, [n, width])?, graph.broadcast(wanted, [n, width])?];
            let one_hot = graph.binary(Binary::Equal, indices, wanted)?;
            let part = graph.multiply(one_hot, log_probability)?;
            graph.unary(Unary::Negate, part)?
        };
        let each = graph.scale(each, 1.0 / n as f64)?;
        let part = graph.sum(each, &[0, 1])?;
        sum = Some(match sum {
            Some(sum) => graph.add(sum, part)?,
            None => part,
        });
        (start, at) = (start + width, at + columns);
    }
    sum.ok_or_else(|| Error::invalid("columns", "there is none", "give one or more"))
}

/// Sums the elements of each sample: `[n, ..]` to `[n]`.
fn sum_of_sample(graph: &mut Graph, each: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(each).len()).collect();
    graph.sum(each, &axes)
}

/// Unbiased estimate of the squared maximum mean discrepancy between the codes of a batch, `[n, size]`, and draws of
/// the prior, of that shape: Gretton et al., JMLR 13 (2012). `similarity` is the kernel, elementwise on the squared
/// distances `[n, n]` of two batches. 0 for a batch of one sample, which has no estimate.
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
        // The estimate excludes the similarity of each row to itself.
        let zero = graph.constant(0.0, [])?;
        let itself = similarity(graph, zero)?;
        let itself = graph.scale(itself, count as f64)?;
        let others = graph.subtract(sum, itself)?;
        graph.scale(others, 1.0 / (count * (count - 1)) as f64)
    };
    let (codes_alike, draws_alike) = (mean(codes, codes)?, mean(draws, draws)?);
    let both = mean(codes, draws)?;
    let sum = graph.add(codes_alike, draws_alike)?;
    let both = graph.scale(both, 2.0)?;
    graph.subtract(sum, both)
}

/// The squared distance of each row of `a` `[n, size]` from each row of `b` `[m, size]`: `[n, m]`.
pub fn squared_distances(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    let (rows, columns) = (graph.shape(a)[0], graph.shape(b)[0]);
    let mut norms = |x: Value, shape: [usize; 2]| {
        let square = graph.unary(Unary::Square, x)?;
        let sum = graph.sum(square, &[1])?;
        graph.reshape(sum, shape)
    };
    let (norms_of_a, norms_of_b) = (norms(a, [rows, 1])?, norms(b, [1, columns])?);
    let product = graph.matmul(a, b, false, true)?;
    let product = graph.scale(product, -2.0)?;
    let sum = graph.add(product, norms_of_a)?;
    let sum = graph.add(sum, norms_of_b)?;
    // Rounding may make a small distance negative.
    graph.unary(Unary::Relu, sum)
}
