//! Ensembles: the mean reconstruction of several models, and the spread between them.

use crate::Autoencoder;
use crate::autoencoder::AT_ONCE;
use crate::data::{Arrangement, Dataset, arrangement};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::train::psnr;
use std::ops::Range;

/// Models whose reconstructions are averaged: Dietterich, MCS 2000. The members may have any structure if they take the
/// same samples; runs of one model with different seeds are a good choice (Lakshminarayanan et al., arXiv 1612.01474).
pub struct Ensemble<'a> {
    members: Vec<&'a Autoencoder>,
}

/// Errors of an ensemble on a data set: means over every element within the samples' lengths, without corruption.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EnsembleEvaluation {
    /// The mean squared error of the mean reconstruction.
    pub mse: f64,
    /// The mean absolute error of the mean reconstruction.
    pub mae: f64,
    /// The peak signal-to-noise ratio of the mean reconstruction for a peak of 1, in decibels.
    pub psnr: f64,
    /// The mean of the members' mean squared errors: the sum of `mse` and of the mean variance between members.
    pub member_mse: f64,
    /// The mean standard deviation between members.
    pub spread: f64,
}

impl<'a> Ensemble<'a> {
    /// An ensemble of these models. Fails for fewer than two models, for models of samples of different sizes, and for
    /// models of tables, whose categories have no mean.
    pub fn new(members: Vec<&'a Autoencoder>) -> Result<Ensemble<'a>> {
        let refuse = |problem: String, help: &str| Err(Error::invalid("ensemble", problem, help));
        let [first, rest @ ..] = &members[..] else {
            return refuse("it has no members".to_owned(), "give two or more");
        };
        if rest.is_empty() {
            return refuse("one model is no ensemble".to_owned(), "give two or more");
        }
        let input = &first.network().spec().input;
        let unlike =
            |other: &&&Autoencoder| arrangement(&other.network().spec().input, input) != Some(Arrangement::Unchanged);
        if let Some(other) = rest.iter().find(unlike) {
            let problem = format!("its members take samples of {input} and of {}", other.network().spec().input);
            return refuse(problem, "choose models that were trained on the same data");
        }
        if members.iter().any(|member| !member.network().spec().data.columns.is_empty()) {
            return refuse("categories of tables have no mean".to_owned(), "use each of the models alone");
        }
        Ok(Ensemble { members })
    }

    /// The mean and the standard deviation (divided by the number of members) of the members' reconstructions of a
    /// range of a data set, both `[n, ..input]` in the input shape of the first member. Fails if the data does not fit
    /// the members or cannot be read.
    pub fn reconstruct(&self, data: &Dataset, range: Range<usize>) -> Result<[Tensor; 2]> {
        let samples = data.read_f32(range.clone())?;
        let reconstruct =
            |member: &&Autoencoder| member.reconstruct_given(&samples, &member.network().given(data, range.clone())?);
        let tensors = self.members.iter().map(reconstruct).collect::<Result<Vec<Tensor>>>()?;
        let shape: Shape = tensors.first().map(|tensor| tensor.shape().clone()).unwrap_or_default();
        let reconstructions: Vec<Vec<f32>> = tensors.iter().map(Tensor::to_f32).collect();
        let count = reconstructions.len() as f64;
        let element = |at: usize| {
            let values = reconstructions.iter().map(|values| f64::from(values[at]));
            let mean = values.clone().sum::<f64>() / count;
            let variance = values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
            (mean as f32, variance.sqrt() as f32)
        };
        let (means, deviations) = (0..shape.elements()).map(element).unzip();
        Ok([Tensor::from_f32(shape.clone(), means)?, Tensor::from_f32(shape, deviations)?])
    }

    /// Measures the reconstruction of a data set, or of its targets where it has any. Fails if the data does not fit
    /// the members or cannot be read.
    pub fn evaluate(&self, data: &Dataset) -> Result<EnsembleEvaluation> {
        for data in std::iter::once(data).chain(data.targets()) {
            self.members.iter().try_for_each(|member| member.network().accepts(data.sample_shape(), data.name()))?;
        }
        let [mut squares, mut distances, mut variances, mut spreads, mut count] = [0.0; 5];
        let size = data.sample_shape().elements();
        for range in data.ranges(AT_ONCE) {
            let samples = data.targets().unwrap_or(data).read_f32(range.clone())?;
            let [means, deviations] = self.reconstruct(data, range.clone())?.map(|tensor| tensor.to_f32());
            for (at, sample) in range.enumerate() {
                for at in at * size..at * size + data.elements_of(sample) {
                    let (error, deviation) = (f64::from(means[at] - samples[at]), f64::from(deviations[at]));
                    squares += error * error;
                    distances += error.abs();
                    variances += deviation * deviation;
                    spreads += deviation;
                    count += 1.0;
                }
            }
        }
        let mse = squares / count;
        Ok(EnsembleEvaluation {
            mse,
            mae: distances / count,
            psnr: psnr(mse),
            member_mse: mse + variances / count,
            spread: spreads / count,
        })
    }
}
