//! Statistics of the codes of a data set.

use crate::Autoencoder;
use crate::autoencoder::AT_ONCE;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::model::config::Binarise;
use crate::rng::{HostStream, Sequence, normal_quantile};
use crate::train::ACTIVE;

/// The largest code whose covariance is computed, a matrix of 128 MiB.
const LARGEST_COVARIANCE: usize = 4096;

/// Mean and covariance of codes, from which similar codes can be drawn: the density estimation after training of Ghosh
/// et al., arXiv 1903.12436. Codes of more than 4096 elements are treated as if their elements were independent.
#[derive(Clone, Debug, PartialEq)]
pub struct CodeStatistics {
    mean: Vec<f64>,
    /// The lower triangle of the covariance, row by row; `None` where elements are treated as independent.
    covariance: Option<Vec<f64>>,
    variances: Vec<f64>,
    /// For each element of the code, the fraction of samples for which it is not 0.
    used: Vec<f64>,
}

impl CodeStatistics {
    /// Statistics of the standard normal.
    pub fn standard(size: usize) -> CodeStatistics {
        CodeStatistics { mean: vec![0.0; size], covariance: None, variances: vec![1.0; size], used: vec![1.0; size] }
    }

    /// Statistics of the codes of a data set. Fails for fewer than two samples.
    pub fn of(autoencoder: &Autoencoder, data: &Dataset) -> Result<CodeStatistics> {
        if data.len() < 2 {
            let problem = "the statistics of codes need two samples";
            return Err(Error::invalid(format!("data \"{}\"", data.name()), problem, "give two or more"));
        }
        let size = autoencoder.network().checked().latent.elements();
        let together = size <= LARGEST_COVARIANCE;
        let (mut sums, mut squares, mut used) = (vec![0.0; size], vec![0.0; size], vec![0.0; size]);
        let mut products = vec![0.0; if together { size * size } else { 0 }];
        for range in data.ranges(AT_ONCE) {
            let codes = autoencoder.encode_range(data, range)?.to_f64();
            for code in codes.chunks(size) {
                // Zeros are skipped: wide codes are mostly zeros.
                for (row, value) in code.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    sums[row] += value;
                    squares[row] += value * value;
                    used[row] += 1.0;
                    if together {
                        for (product, other) in products[row * size..].iter_mut().zip(&code[..=row]) {
                            *product += value * other;
                        }
                    }
                }
            }
        }
        let count = data.len() as f64;
        let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let of = |product: f64, means: [f64; 2]| (product - count * means[0] * means[1]) / (count - 1.0);
        for row in (0..size).take_while(|_| together) {
            for column in 0..=row {
                let product = &mut products[row * size + column];
                *product = of(*product, [mean[row], mean[column]]);
            }
        }
        let variances = squares.iter().zip(&mean).map(|(square, mean)| of(*square, [*mean; 2]).max(0.0)).collect();
        used.iter_mut().for_each(|used| *used /= count);
        Ok(CodeStatistics { mean, covariance: together.then_some(products), variances, used })
    }

    /// The mean of each element of the code.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The variance of each element of the code.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The number of active units: elements of the code whose variance over the data is above 0.01.
    pub fn active(&self) -> usize {
        self.variances.iter().filter(|variance| **variance > ACTIVE).count()
    }

    /// L0: the mean over samples of the number of elements of the code that are not 0.
    pub fn mean_used(&self) -> f64 {
        self.used.iter().sum()
    }

    /// The number of dead units: elements of the code that are 0 for every sample.
    pub fn dead(&self) -> usize {
        self.used.iter().filter(|part| **part == 0.0).count()
    }

    /// Draws `count` codes from this distribution, concatenated; equal seeds draw equal codes.
    pub fn drawn(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut sequence = Sequence::new(seed, HostStream::Codes, 0);
        let root = self.covariance.clone().map(|covariance| cholesky(covariance, self.mean.len()));
        (0..count).flat_map(|_| self.draw(root.as_deref(), &mut sequence)).collect()
    }

    /// Draws one code; `root` is the Cholesky factor of the covariance.
    fn draw(&self, root: Option<&[f64]>, sequence: &mut Sequence) -> Vec<f32> {
        let size = self.mean.len();
        let noise: Vec<f64> = (0..size).map(|_| normal_quantile(f64::from(sequence.unit()))).collect();
        let number = |row: usize| {
            let shift = match root {
                Some(root) => root[row * size..].iter().zip(&noise[..=row]).map(|(factor, noise)| factor * noise).sum(),
                None => self.variances[row].sqrt() * noise[row],
            };
            (self.mean[row] + shift) as f32
        };
        (0..size).map(number).collect()
    }
}

/// The mean over elements of the variance of a data set's targets, binarised like those of the model: the mean squared
/// error of a model that always outputs the mean. One minus the quotient of a model's error and this variance is the
/// explained variance. Steps beyond the length of a sequence do not count. Fails if the data cannot be read.
pub fn variance(data: &Dataset, binarise: Binarise) -> Result<f64> {
    let targets = data.targets().unwrap_or(data);
    let size = targets.sample_shape().elements();
    // For each element: the number of samples that have it, the sum and the sum of squares.
    let mut sums = vec![[0.0; 3]; size];
    for range in data.ranges(AT_ONCE) {
        let samples = targets.read_f32(range.clone())?;
        for (sample, at) in samples.chunks(size).zip(range) {
            for (sums, value) in sums.iter_mut().zip(&sample[..data.elements_of(at)]) {
                let value = f64::from(*value);
                // A random bit's mean and mean square both equal its probability.
                let [mean, square] = match binarise {
                    Binarise::None => [value, value * value],
                    Binarise::Threshold => [f64::from(u8::from(value >= 0.5)); 2],
                    Binarise::Stochastic => [value.clamp(0.0, 1.0); 2],
                };
                *sums = [sums[0] + 1.0, sums[1] + mean, sums[2] + square];
            }
        }
    }
    let [mut variance, mut all] = [0.0; 2];
    for [count, sum, square] in sums.into_iter().filter(|[count, ..]| *count > 0.0) {
        variance += square - sum * sum / count;
        all += count;
    }
    Ok(variance / all)
}

/// The frequency of each codebook vector in the codes of a data set. Fails if the latent has no codebook.
pub fn codebook_usage(autoencoder: &Autoencoder, data: &Dataset) -> Result<Vec<f64>> {
    let mut usage = vec![0.0; autoencoder.network().codebook()?.codes];
    let indices = autoencoder.indices_all(data)?;
    for index in indices.to_f64() {
        usage[index as usize] += 1.0;
    }
    let count = indices.shape().elements() as f64;
    usage.iter_mut().for_each(|part| *part /= count);
    Ok(usage)
}

/// Perplexity of frequencies: e to the power of their entropy; the number of frequencies if all are equal.
pub fn perplexity(parts: &[f64]) -> f64 {
    let terms = parts.iter().filter(|part| **part > 0.0).map(|part| -part * part.ln());
    terms.sum::<f64>().exp()
}

/// The lower triangle L, row by row, of the Cholesky decomposition L Lᵀ of a covariance. An element that is constant,
/// or a linear function of others, has a zero on the diagonal.
fn cholesky(mut matrix: Vec<f64>, size: usize) -> Vec<f64> {
    let largest = (0..size).map(|row| matrix[row * size + row]).fold(0.0, f64::max);
    for column in 0..size {
        let below = |matrix: &[f64], row: usize| {
            let [one, other] = [row, column].map(|row| &matrix[row * size..row * size + column]);
            matrix[row * size + column] - one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>()
        };
        let square = below(&matrix, column);
        let pivot = if square > 1e-12 * largest { square.sqrt() } else { 0.0 };
        for row in column + 1..size {
            let rest = below(&matrix, row);
            matrix[row * size + column] = if pivot > 0.0 { rest / pivot } else { 0.0 };
        }
        matrix[column * size + column] = pivot;
        matrix[column * size + column + 1..(column + 1) * size].fill(0.0);
    }
    matrix
}
