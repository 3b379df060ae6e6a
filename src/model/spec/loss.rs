//! The loss of a model file: one by its name, or a weighted sum of several.

use super::read::{Fault, Item};
use super::{Activation, Layer, Placed};
use crate::error::{Error, Result, suggest};
use crate::nn::loss::SSIM_WINDOW;
use crate::shape::Shape;
use std::fmt;

/// What training makes small: a sum of losses between a reconstruction and its original, each times a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct LossSpec {
    /// Each loss with its weight.
    pub terms: Vec<(LossKind, f64)>,
}

/// A loss between a reconstruction and its original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossKind {
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    Mae,
    /// Binary cross-entropy, computed from what goes into the decoder's final sigmoid.
    Bce,
    /// Half the squared error up to a distance of `delta`, from there on a straight line.
    Huber {
        /// Where the line begins; 1 unless given.
        delta: f64,
    },
    /// Cross-entropy against originals that are probabilities along the first axis of a sample; the decoder's output is
    /// taken for logits.
    CrossEntropy,
    /// One minus the cosine of the angle between a sample and its original.
    Cosine,
    /// One minus the structural similarity of pictures.
    Ssim,
}

impl LossKind {
    /// All of them, with their defaults.
    pub const ALL: [LossKind; 7] = [
        LossKind::Mse,
        LossKind::Mae,
        LossKind::Bce,
        LossKind::Huber { delta: 1.0 },
        LossKind::CrossEntropy,
        LossKind::Cosine,
        LossKind::Ssim,
    ];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            LossKind::Mse => "mse",
            LossKind::Mae => "mae",
            LossKind::Bce => "bce",
            LossKind::Huber { .. } => "huber",
            LossKind::CrossEntropy => "cross_entropy",
            LossKind::Cosine => "cosine",
            LossKind::Ssim => "ssim",
        }
    }
}

impl From<LossKind> for LossSpec {
    fn from(kind: LossKind) -> LossSpec {
        LossSpec { terms: vec![(kind, 1.0)] }
    }
}

impl LossSpec {
    /// The names of its terms, joined by `+`.
    pub fn name(&self) -> String {
        self.terms.iter().map(|(kind, _)| kind.name()).collect::<Vec<_>>().join("+")
    }

    pub(super) fn read(item: &Item) -> Result<LossSpec, Fault> {
        let names = LossKind::ALL.map(LossKind::name);
        let help = "write \"mse\", or { mse = 0.8, ssim = 0.2 }";
        let find = |name: &str| {
            let unknown = || {
                let known = suggest(name, names);
                Fault::new(&item.key, format!("unknown loss {name:?}"), known)
            };
            LossKind::ALL.into_iter().find(|loss| loss.name() == name).ok_or_else(unknown)
        };
        if let Some(name) = item.as_text() {
            return Ok(find(name)?.into());
        }
        let Some(table) = item.as_table() else { return item.wrong("the name of a loss, or a table of weights", help) };
        if table.is_empty() {
            return Err(Fault::new(&item.key, "there is no loss", help));
        }
        let mut terms = Vec::new();
        for (name, item) in table {
            let mut kind = find(name)?;
            let mut weight = 1.0;
            match (&mut kind, item.as_table()) {
                (LossKind::Huber { delta }, Some(_)) => {
                    let keys = item.keys(&["weight", "delta"])?;
                    (weight, *delta) = (keys.number("weight", weight)?, keys.number("delta", *delta)?);
                }
                _ => weight = item.number()?,
            }
            terms.push((kind, weight));
        }
        Ok(LossSpec { terms })
    }

    /// Fails where the decoder's end, or samples of this shape, do not suit a term.
    pub(super) fn validate(&self, input: &Shape, last: &Placed) -> Result<()> {
        if self.terms.is_empty() {
            return Err(Error::invalid("loss", "there is none", "write \"mse\", say"));
        }
        for (kind, weight) in &self.terms {
            let key = format!("loss.{}", kind.name());
            if !(weight.is_finite() && *weight > 0.0) {
                let problem = format!("expects a positive weight, got {weight:?}");
                return Err(Error::invalid(key, problem, "use 0.5, say, or leave it out"));
            }
            match kind {
                LossKind::Huber { delta } if !(delta.is_finite() && *delta > 0.0) => {
                    let problem = format!("expects a positive delta, got {delta:?}");
                    return Err(Error::invalid(key, problem, "use 1.0, say"));
                }
                LossKind::Bce if last.layer != Layer::Activation(Activation::Sigmoid) => {
                    let problem = format!(
                        "\"bce\" needs a decoder that ends with \"sigmoid\", this one ends with {}",
                        last.layer
                    );
                    return Err(Error::invalid("loss", problem, "add \"sigmoid\" to the decoder, or use \"mse\""));
                }
                LossKind::Ssim if input.len() != 3 || input[1].min(input[2]) < SSIM_WINDOW => {
                    let problem = format!(
                        "\"ssim\" needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW}, the input is {input}"
                    );
                    return Err(Error::invalid("loss", problem, "use another loss, such as \"mse\""));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// As a model file has it.
impl fmt::Display for LossSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let [(kind, 1.0)] = self.terms[..]
            && LossKind::ALL.contains(&kind)
        {
            return write!(f, "{:?}", kind.name());
        }
        let terms: Vec<String> = self
            .terms
            .iter()
            .map(|(kind, weight)| match kind {
                LossKind::Huber { delta } => format!("huber = {{ weight = {weight:?}, delta = {delta:?} }}"),
                kind => format!("{} = {weight:?}", kind.name()),
            })
            .collect();
        write!(f, "{{ {} }}", terms.join(", "))
    }
}
