//! What a model's code is: the file's `latent`.

use super::chosen::{Bits, TopK, VectorQuantised};
use crate::error::{Error, Result};
use crate::nn::{Activation, Initial, Layer, Linear, Parameter, Placed, place};
use crate::schema::{Key, OneOf, Setting, choices, names, validate};
use crate::shape::Shape;

/// The number of steps that count for the warm-up of the divergence's weight, which a model keeps with its weights.
pub(crate) const STEPS: &str = "latent.steps";

/// What the encoder's output becomes on its way to the decoder, and what training asks of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LatentSpec {
    /// The encoder's output is the code.
    #[default]
    Plain,
    /// A gaussian for each sample, from which training draws codes: a variational autoencoder. Everything else takes the mean.
    Gaussian(Gaussian),
    /// The encoder's output, made to be distributed like a standard normal over all samples: a Wasserstein autoencoder.
    Wasserstein(Wasserstein),
    /// The encoder's output, which a discriminator shall not tell from draws of a standard normal: an adversarial autoencoder.
    Adversarial(Adversarial),
    /// The largest numbers of the encoder's output, the others being 0: a sparse autoencoder.
    TopK(TopK),
    /// Vectors of a codebook, the nearest to those of the encoder's output.
    VectorQuantised(VectorQuantised),
    /// The encoder's output as bits.
    Binary(Bits),
}

/// The posterior of a variational autoencoder: Kingma and Welling, arXiv 1312.6114. Its mean and the logarithm of its
/// variance are linear functions of the encoder's flattened output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    /// Numbers of a code.
    pub size: usize,
    /// The weight of the divergence from the standard normal: Higgins et al., ICLR 2017.
    pub beta: f64,
    /// Steps in which that weight rises from 0 to `beta`: Bowman et al., arXiv 1511.06349.
    pub warmup: usize,
    /// Steps after which it begins again from 0; 0 for never: Fu et al., arXiv 1903.10145.
    pub cycle: usize,
    /// In training each number of the code counts with at least so many nats of divergence: Kingma et al., arXiv 1606.04934.
    pub free_bits: f64,
    /// Codes drawn for each sample. From 2 on, training follows the importance-weighted bound: Burda et al., arXiv 1509.00519.
    pub samples: usize,
    /// The weight of the maximum mean discrepancy of a batch's codes from the standard normal: InfoVAE, Zhao et al., arXiv
    /// 1706.02262.
    pub mmd: f64,
}

/// The latent of a Wasserstein autoencoder: Tolstikhin et al., arXiv 1711.01558.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wasserstein {
    /// The weight of the maximum mean discrepancy of a batch's codes from the standard normal.
    pub mmd: f64,
    /// How alike two codes are.
    pub kernel: MmdKernel,
}

/// The latent of an adversarial autoencoder: Makhzani et al., arXiv 1511.05644. The discriminator is two hidden layers with
/// rectifiers and a logit, `latent.discriminator.0` to `latent.discriminator.4`, trained in the same steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// The weight of what the discriminator says of the codes.
    pub weight: f64,
    /// Units of each of the discriminator's hidden layers.
    pub hidden: usize,
}

/// How alike two codes are in the maximum mean discrepancy (Gretton et al., JMLR 13, 2012).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmdKernel {
    /// Inverse multiquadratics of seven scales, as the paper on Wasserstein autoencoders has them.
    #[default]
    Multiquadratic,
    /// A gaussian whose width is the square root of the code's size.
    Gaussian,
}

names! { "kernel" MmdKernel { Multiquadratic = "multiquadratic", Gaussian = "gaussian", } }

impl Default for Gaussian {
    fn default() -> Gaussian {
        Gaussian { size: 16, beta: 1.0, warmup: 0, cycle: 0, free_bits: 0.0, samples: 1, mmd: 0.0 }
    }
}

impl Default for Wasserstein {
    fn default() -> Wasserstein {
        Wasserstein { mmd: 10.0, kernel: MmdKernel::Multiquadratic }
    }
}

impl Default for Adversarial {
    fn default() -> Adversarial {
        Adversarial { weight: 1.0, hidden: 256 }
    }
}

impl LatentSpec {
    /// Whether training and validation draw codes at random.
    pub fn is_drawn(&self) -> bool {
        matches!(self, LatentSpec::Gaussian(_))
    }

    /// Whether codes are made to be distributed like a standard normal, so that new samples can be decoded from draws of it.
    pub fn has_prior(&self) -> bool {
        matches!(self, LatentSpec::Gaussian(_) | LatentSpec::Wasserstein(_) | LatentSpec::Adversarial(_))
    }

    /// Whether codes are vectors of a codebook or bits, so that most other numbers are no codes.
    pub fn is_discrete(&self) -> bool {
        matches!(self, LatentSpec::VectorQuantised(_) | LatentSpec::Binary(_))
    }

    /// The settings by which a loss of validation weighs what is not the reconstruction's.
    pub(crate) fn weights(&self) -> &'static [&'static str] {
        match self {
            LatentSpec::Plain | LatentSpec::TopK(_) | LatentSpec::Binary(_) => &[],
            LatentSpec::Gaussian(_) => &["beta", "samples", "mmd"],
            LatentSpec::Wasserstein(_) => &["mmd", "kernel"],
            LatentSpec::Adversarial(_) => &["weight"],
            LatentSpec::VectorQuantised(_) => &["commitment"],
        }
    }

    /// The size of a code, where it is not the encoder's output that decides it.
    pub(super) fn size(&mut self) -> Option<&mut usize> {
        match self {
            LatentSpec::Plain | LatentSpec::Wasserstein(_) | LatentSpec::Adversarial(_) => None,
            LatentSpec::TopK(_) | LatentSpec::VectorQuantised(_) | LatentSpec::Binary(_) => None,
            LatentSpec::Gaussian(own) => Some(&mut own.size),
        }
    }

    /// The layers from the encoder's output to what the latent needs, and the shape of a code.
    pub(super) fn place(&self, encoded: &Shape) -> Result<(Vec<Placed>, Shape)> {
        let flat = [encoded.elements()].into();
        let own = match self {
            LatentSpec::Plain | LatentSpec::Wasserstein(_) | LatentSpec::VectorQuantised(_) | LatentSpec::Binary(_) => {
                return Ok((vec![], encoded.clone()));
            }
            LatentSpec::TopK(own) => {
                own.check(encoded)?;
                return Ok((vec![], encoded.clone()));
            }
            LatentSpec::Adversarial(own) => {
                let hidden = || [Layer::Linear(Linear::new(own.hidden)), Layer::Activation(Activation::Relu)];
                let layers = [&hidden()[..], &hidden(), &[Layer::Linear(Linear::new(1))]].concat();
                return Ok((place("latent.discriminator", &layers, &flat)?, encoded.clone()));
            }
            LatentSpec::Gaussian(own) => own,
        };
        let mut heads = Vec::new();
        for name in ["latent.mean", "latent.log_variance"] {
            let mut placed = place(name, &[Layer::Linear(Linear::new(own.size))], &flat)?;
            for layer in &mut placed {
                // The one layer of its list needs no number.
                layer.name = name.to_owned();
                for parameter in &mut layer.parameters {
                    parameter.name = parameter.name.replacen(&format!("{name}.0"), name, 1);
                }
            }
            heads.extend(placed);
        }
        Ok((heads, [own.size].into()))
    }

    /// Fails where such codes cannot be made of what the encoder leaves, or are of no use to the decoder.
    pub(super) fn suits(&self, encoder: &[Placed], code: &Shape, decoder: &[Placed]) -> Result<()> {
        match self {
            LatentSpec::TopK(own) => own.suits(code, decoder),
            LatentSpec::VectorQuantised(own) => own.suits(encoder, code),
            LatentSpec::Binary(_) => Bits::suits(encoder),
            _ => Ok(()),
        }
    }

    /// Parameters and state beside those of layers, for codes of this shape.
    pub(super) fn parameters(&self, encoder: &[Placed], code: &Shape) -> Vec<Parameter> {
        match self {
            LatentSpec::TopK(own) => own.parameters(code),
            LatentSpec::VectorQuantised(own) => own.parameters(encoder, code),
            LatentSpec::Gaussian(Gaussian { warmup: 1.., .. }) => vec![Parameter {
                name: STEPS.to_owned(),
                shape: Shape::default(),
                initial: Initial::Constant(0.0),
                trained: false,
            }],
            _ => vec![],
        }
    }

    fn settings(&mut self) -> Vec<Key<'_>> {
        match self {
            LatentSpec::Plain => vec![],
            LatentSpec::Gaussian(own) => vec![
                Key::short("size", Setting::Count(&mut own.size)),
                Key::optional("beta", Setting::NotNegative(&mut own.beta)),
                Key::optional("warmup", Setting::Whole(&mut own.warmup)),
                Key::optional("cycle", Setting::Whole(&mut own.cycle)),
                Key::optional("free_bits", Setting::NotNegative(&mut own.free_bits)),
                Key::optional("samples", Setting::Count(&mut own.samples)),
                Key::optional("mmd", Setting::NotNegative(&mut own.mmd)),
            ],
            LatentSpec::TopK(own) => own.keys(),
            LatentSpec::VectorQuantised(own) => own.keys(),
            LatentSpec::Binary(own) => own.keys(),
            LatentSpec::Wasserstein(own) => vec![
                Key::short("mmd", Setting::Positive(&mut own.mmd)),
                Key::optional("kernel", Setting::Part(Box::new(OneOf(&mut own.kernel)))),
            ],
            LatentSpec::Adversarial(own) => {
                vec![
                    Key::short("weight", Setting::Positive(&mut own.weight)),
                    Key::optional("hidden", Setting::Count(&mut own.hidden)),
                ]
            }
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate(self, "latent")?;
        let LatentSpec::Gaussian(own) = self else { return Ok(()) };
        let refuse =
            |key: &str, problem: &str, help: &str| Err(Error::invalid(format!("latent.gaussian.{key}"), problem, help));
        if own.cycle > 0 && own.warmup > own.cycle {
            let problem = format!("a cycle of {} steps ends before its warm-up of {}", own.cycle, own.warmup);
            return refuse("cycle", &problem, "use a longer cycle or a shorter warmup");
        }
        if own.cycle > 0 && own.warmup == 0 {
            return refuse("cycle", "without a warmup every cycle is like the last", "give a warmup, or leave it out");
        }
        let weighted = own.beta != 1.0 || own.warmup > 0 || own.free_bits > 0.0 || own.mmd > 0.0;
        if own.samples > 1 && weighted {
            let problem = "the importance-weighted bound of several samples has no beta, warmup, free_bits or mmd";
            return refuse("samples", problem, "use samples = 1, or leave the others out");
        }
        Ok(())
    }
}

choices! { "latent" LatentSpec {
    Plain = "plain",
    Gaussian(Gaussian::default()) = "gaussian",
    Wasserstein(Wasserstein::default()) = "wasserstein",
    Adversarial(Adversarial::default()) = "adversarial",
    TopK(TopK::default()) = "top_k",
    VectorQuantised(VectorQuantised::default()) = "vector_quantised",
    Binary(Bits::default()) = "binary",
} }
