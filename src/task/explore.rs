//! New samples, and views of the latent space: interpolations, traversals and manifolds.

use super::statistics::CodeStatistics;
use crate::Autoencoder;
use crate::error::{Error, Result};
use crate::model::SideInputs;
use crate::model::config::Condition;
use crate::rng::normal_quantile;
use crate::schema::names;
use crate::tensor::Tensor;

/// A path from one code to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatentPath {
    /// A straight line.
    #[default]
    Linear,
    /// A great circle, which suits normally distributed codes: White, arXiv 1609.04468.
    Spherical,
}

names! { "path" LatentPath { Linear = "linear", Spherical = "spherical", } }

impl LatentPath {
    /// The code at a fraction of the path, from 0 to 1.
    fn at(self, from: &[f32], to: &[f32], part: f64) -> Vec<f32> {
        let mix = |[a, b]: [f64; 2]| {
            from.iter().zip(to).map(|(x, y)| (a * f64::from(*x) + b * f64::from(*y)) as f32).collect()
        };
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let norms = (dot(from, from) * dot(to, to)).sqrt();
        let angle = (dot(from, to) / norms).clamp(-1.0, 1.0).acos();
        // Parallel codes have no circle between them, and opposite ones have many.
        let sine = angle.sin();
        match self {
            LatentPath::Spherical if sine > 1e-6 => {
                mix([((1.0 - part) * angle).sin() / sine, (part * angle).sin() / sine])
            }
            LatentPath::Linear | LatentPath::Spherical => mix([1.0 - part, part]),
        }
    }
}

/// One end of a path: a sample with its condition and length.
#[derive(Clone, Copy, Debug)]
pub struct LatentEnd<'a> {
    /// The numbers of the sample.
    pub values: &'a [f32],
    /// The sample's condition and length, where the model takes them.
    pub given: &'a SideInputs,
}

/// The distance from the mean up to which a traversal varies an element of a code, in standard deviations.
const REACH: f64 = 3.0;

impl Autoencoder {
    /// The prior of the codes, the standard normal. Fails if the latent has no prior: use [`CodeStatistics::of`] a data
    /// set instead.
    pub fn prior(&self) -> Result<CodeStatistics> {
        let spec = self.network().spec();
        match spec.latent.has_prior() {
            true => Ok(CodeStatistics::standard(self.network().checked().latent.elements())),
            false if spec.latent.is_discrete() => Err(self.not_drawn()),
            false => Err(Error::invalid(
                "latent",
                format!("codes of a {} latent follow no known distribution", spec.latent),
                "give data for codes like its codes, or train a model whose latent is gaussian or wasserstein",
            )),
        }
    }

    fn not_drawn(&self) -> Error {
        let latent = &self.network().spec().latent;
        let problem =
            format!("codes of {latent} are codebook vectors or bits, whose joint distribution is not learned");
        Error::invalid("latent", problem, "use a model whose latent is gaussian or wasserstein")
    }

    /// New samples `[count, ..input]`, decoded from codes drawn from a distribution; equal seeds give equal samples.
    /// Fails for latents with a codebook or bits, whose codes cannot be drawn from a distribution of their elements.
    pub fn generate(&self, codes: &CodeStatistics, count: usize, seed: u64) -> Result<Tensor> {
        self.generate_given(codes, count, seed, &SideInputs::default())
    }

    /// [`generate`](Autoencoder::generate) with a condition for each sample.
    pub fn generate_given(
        &self,
        codes: &CodeStatistics,
        count: usize,
        seed: u64,
        given: &SideInputs,
    ) -> Result<Tensor> {
        self.decode_given(&self.draw(codes, count, seed)?, given)
    }

    fn draw(&self, codes: &CodeStatistics, count: usize, seed: u64) -> Result<Vec<f32>> {
        if self.network().spec().latent.is_discrete() { Err(self.not_drawn()) } else { Ok(codes.drawn(count, seed)) }
    }

    /// New samples for each label of a model, `[labels * count, ..input]`: the first `count` samples have label 0, and
    /// all labels share their codes. Fails if the model's condition is not a label.
    pub fn generate_labels(&self, codes: &CodeStatistics, count: usize, seed: u64) -> Result<Tensor> {
        let condition = self.network().spec().condition;
        let Condition::Labels { count: labels } = condition else {
            let problem = format!("the model's is {condition}, so there is no row for each label");
            return Err(Error::invalid("condition", problem, "use generate, or generate_given"));
        };
        let given = SideInputs::labels((0..labels).flat_map(|label| std::iter::repeat_n(label, count)), labels);
        self.decode_given(&self.draw(codes, count, seed)?.repeat(labels), &given)
    }

    /// Samples `[steps, ..input]` on the path between two samples, from the reconstruction of one to that of the other.
    pub fn interpolate(&self, from: &[f32], to: &[f32], steps: usize, path: LatentPath) -> Result<Tensor> {
        let given = &SideInputs::default();
        let [from, to] = [from, to].map(|values| LatentEnd { values, given });
        self.interpolate_given(from, to, steps, path)
    }

    /// [`interpolate`](Autoencoder::interpolate) between samples with conditions, which are interpolated linearly.
    pub fn interpolate_given(&self, from: LatentEnd, to: LatentEnd, steps: usize, path: LatentPath) -> Result<Tensor> {
        if steps < 2 {
            return Err(Error::invalid(
                "steps",
                format!("a path of {steps} samples has no two ends"),
                "give 2 or more",
            ));
        }
        let conditions = [&from.given.conditions, &to.given.conditions];
        let (from, to) = (self.encode_given(from.values, from.given)?, self.encode_given(to.values, to.given)?);
        if from.shape()[0] != 1 || to.shape()[0] != 1 {
            return Err(Error::invalid("samples", "a path has one sample at each end", "give one sample for each end"));
        }
        let (from, to) = (from.to_f32(), to.to_f32());
        let walk = |path: LatentPath, from: &[f32], to: &[f32]| -> Vec<f32> {
            (0..steps).flat_map(|step| path.at(from, to, step as f64 / (steps - 1) as f64)).collect()
        };
        let conditions = walk(LatentPath::Linear, conditions[0], conditions[1]);
        self.decode_given(&walk(path, &from, &to), &SideInputs::conditions(conditions))
    }

    /// Samples `[latents · steps, ..input]` around a code: each of the first `latents` elements of the code takes
    /// `steps` values from three standard deviations below its mean to three above, with the other elements unchanged.
    pub fn traverse(&self, codes: &CodeStatistics, code: &[f32], latents: usize, steps: usize) -> Result<Tensor> {
        self.traverse_given(codes, code, &SideInputs::default(), latents, steps)
    }

    /// [`traverse`](Autoencoder::traverse) with a condition for the code.
    pub fn traverse_given(
        &self,
        codes: &CodeStatistics,
        code: &[f32],
        given: &SideInputs,
        latents: usize,
        steps: usize,
    ) -> Result<Tensor> {
        let size = codes.mean().len();
        if code.len() != size {
            let problem = format!("it has {} elements, the model's codes have {size}", code.len());
            return Err(Error::invalid("code", problem, "give one code"));
        }
        let mut swept = Vec::new();
        for latent in 0..latents.min(size) {
            let (mean, deviation) = (codes.mean()[latent], codes.variances()[latent].sqrt());
            for step in 0..steps {
                let part = 2.0 * step as f64 / (steps.max(2) - 1) as f64 - 1.0;
                let mut changed = code.to_vec();
                changed[latent] = (mean + REACH * part * deviation) as f32;
                swept.extend(changed);
            }
        }
        self.decode_given(&swept, &given.repeated(swept.len() / size))
    }

    /// Samples `[side · side, ..input]` on a square grid of codes of two elements, row by row from the top, at the
    /// quantiles that divide the normal distribution of each element into parts of equal probability. Fails for codes
    /// of another size.
    pub fn manifold(&self, codes: &CodeStatistics, side: usize) -> Result<Tensor> {
        self.manifold_given(codes, side, &SideInputs::default())
    }

    /// [`manifold`](Autoencoder::manifold) with one condition for all samples.
    pub fn manifold_given(&self, codes: &CodeStatistics, side: usize, given: &SideInputs) -> Result<Tensor> {
        let (&[x, y], &[x_variance, y_variance]) = (codes.mean(), codes.variances()) else {
            let problem = format!("codes have {} elements, and only two make a plane", codes.mean().len());
            return Err(Error::invalid("latent", problem, "train with --latent 2, or use traverse"));
        };
        let [rows, columns] = [(y, y_variance), (x, x_variance)].map(|(mean, variance)| {
            let quantile = |index: usize| {
                let probability = (index as f64 + 0.5) / side as f64;
                (mean + variance.sqrt() * normal_quantile(probability)) as f32
            };
            (0..side).map(quantile).collect::<Vec<f32>>()
        });
        let codes: Vec<f32> = rows.iter().rev().flat_map(|y| columns.iter().flat_map(move |x| [*x, *y])).collect();
        self.decode_given(&codes, &given.repeated(side * side))
    }
}
