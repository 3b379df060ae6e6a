//! Ensembles: what several models make of the same samples, and how far they are apart.

use crate::Autoencoder;
use crate::autoencoder::AT_ONCE;
use crate::data::{Arrangement, Dataset, arrangement};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::train::psnr;
use std::ops::Range;

/// Models whose reconstructions are averaged: Dietterich, MCS 2000. They may have any structure, as long as they take the
/// same samples; runs that differ in their seed alone are as good a choice as any (Lakshminarayanan et al., arXiv 1612.01474).
pub struct Ensemble<'a> {
    members: Vec<&'a Autoencoder>,
}

/// How well an ensemble reconstructs a data set. Means over every element that is there, of samples as they are.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EnsembleEvaluation {
    /// The mean squared error of the mean reconstruction.
    pub mse: f64,
    /// Its mean absolute error.
    pub mae: f64,
    /// Its peak signal-to-noise ratio for a peak of 1, in decibels.
    pub psnr: f64,
    /// The mean over all members of their mean squared errors: that of the mean, and the mean variance between members.
    pub member_mse: f64,
    /// The mean of the members' standard deviation.
    pub spread: f64,
}

impl<'a> Ensemble<'a> {
    /// An ensemble of these models. Fails where there are fewer than two, where they take samples of different sizes, and
    /// where they reconstruct tables, whose categories have no mean.
    pub fn new(members: Vec<&'a Autoencoder>) -> Result<Ensemble<'a>> {
        let refuse = |problem: String, help: &str| Err(Error::invalid("ensemble", problem, help));
        let [first, rest @ ..] = &members[..] else {
            return refuse("it has no members".to_owned(), "give two or more");
        };
        let input = &first.network().spec().input;
        if rest.is_empty() {
            return refuse("one model is no ensemble".to_owned(), "give two or more");
        }
        let unlike =
            |other: &&&Autoencoder| arrangement(&other.network().spec().input, input) != Some(Arrangement::AsTheyLie);
        if let Some(other) = rest.iter().find(unlike) {
            let problem = format!("its members take samples of {input} and of {}", other.network().spec().input);
            return refuse(problem, "choose models that were trained on the same data");
        }
        if members.iter().any(|member| !member.network().spec().data.columns.is_empty()) {
            return refuse("categories of tables have no mean".to_owned(), "use each of the models by itself");
        }
        Ok(Ensemble { members })
    }

    /// The mean of the members' reconstructions of the samples in a range of a data set, and their standard deviation (with
    /// the number of members as its divisor), both `[n, ..input]` as the first member has it. Fails where the data does not fit
    /// the members, or cannot be read.
    pub fn reconstruct(&self, data: &Dataset, range: Range<usize>) -> Result<[Tensor; 2]> {
        let samples = data.read_f32(range.clone())?;
        let copy = |member: &&Autoencoder| {
            let given = member.network().given(data, range.clone())?;
            member.reconstruct_given(&samples, &given)
        };
        let copies = self.members.iter().map(copy).collect::<Result<Vec<Tensor>>>()?;
        let shape: Shape = copies.first().map(|copy| copy.shape().clone()).unwrap_or_default();
        let copies: Vec<Vec<f32>> = copies.iter().map(Tensor::to_f32).collect();
        let count = copies.len() as f64;
        let element = |at: usize| {
            let values = copies.iter().map(|copy| f64::from(copy[at]));
            let mean = values.clone().sum::<f64>() / count;
            let variance = values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
            (mean as f32, variance.sqrt() as f32)
        };
        let (means, deviations) = (0..shape.elements()).map(element).unzip();
        Ok([Tensor::from_f32(shape.clone(), means)?, Tensor::from_f32(shape, deviations)?])
    }

    /// Fails where a member does not take samples as they lie.
    fn accepts(&self, data: &Dataset) -> Result<()> {
        self.members.iter().try_for_each(|member| member.network().accepts(data.sample_shape(), data.name()))
    }

    /// How well a data set, or what stands beside it as targets, is reconstructed. Fails where it does not fit the members, or cannot be read.
    pub fn evaluate(&self, data: &Dataset) -> Result<EnsembleEvaluation> {
        self.accepts(data)?;
        if let Some(targets) = data.targets() {
            self.accepts(targets)?;
        }
        let [mut squares, mut distances, mut variances, mut spreads, mut count] = [0.0; 5];
        let size = data.sample_shape().elements();
        for range in data.ranges(AT_ONCE) {
            let samples = data.targets().unwrap_or(data).read_f32(range.clone())?;
            let [means, deviations] = self.reconstruct(data, range.clone())?.map(|tensor| tensor.to_f32());
            for (at, sample) in range.enumerate() {
                for at in at * size..at * size + data.elements_of(sample) {
                    let (distance, deviation) = (f64::from(means[at] - samples[at]), f64::from(deviations[at]));
                    squares += distance * distance;
                    distances += distance.abs();
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
