//! How samples of one shape fit a model whose input has another. The model's input decides; the number of elements
//! alone never does, since pictures of 20 x 28 have as many as those of 28 x 20.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// How the numbers of a sample become those of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One after the other, as they lie.
    AsTheyLie,
    /// `[height, width, channels]` becomes `[channels, height, width]`.
    ChannelsLast,
}

/// How samples of a shape become a model's input; `None` where they do not fit it.
///
/// Samples are taken as they lie where both shapes differ in nothing but axes of size 1, as `[28, 28]` and `[1, 28,
/// 28]`, or where one of them is flat: `[784]` fits `[1, 28, 28]`, and the other way round. Pictures with their
/// channels last are taken only where nothing else fits.
pub fn arrangement(sample: &Shape, input: &Shape) -> Option<Arrangement> {
    if elements(sample) != elements(input) {
        return None;
    }
    if is_flat(sample) || is_flat(input) || sizes(sample) == sizes(input) {
        return Some(Arrangement::AsTheyLie);
    }
    match (&sample[..], &input[..]) {
        ([height, width, channels], expected) if *expected == [*channels, *height, *width] => {
            Some(Arrangement::ChannelsLast)
        }
        _ => None,
    }
}

/// Whether a code of this shape is one of the model's: `latent`, but for axes of size 1, or flat.
pub fn fits_code(code: &[usize], latent: &Shape) -> bool {
    let code: Shape = code.into();
    elements(&code) == elements(latent) && (is_flat(&code) || sizes(&code) == sizes(latent))
}

/// Whether two sets of samples become the same input, or, where no input is known, whether they lie alike.
pub(super) fn is_alike(one: &Shape, other: &Shape, input: Option<&Shape>) -> bool {
    let arranged = |shape: &Shape| match input {
        Some(input) if arrangement(shape, input) == Some(Arrangement::ChannelsLast) => input.clone(),
        _ => shape.clone(),
    };
    arrangement(&arranged(one), &arranged(other)) == Some(Arrangement::AsTheyLie)
}

/// Fails where samples do not fit a model's input as they lie. `whose` names the model in the message.
pub(crate) fn expect_input(sample: &Shape, input: &Shape, data: &str, whose: &str) -> Result<()> {
    let help = match arrangement(sample, input) {
        Some(Arrangement::AsTheyLie) => return Ok(()),
        Some(Arrangement::ChannelsLast) => "put the channels first: Dataset::for_input does so",
        None => "choose other data, or change the model's `input` and layers",
    };
    let problem = format!("its samples are {sample}, the {whose}'s input is {input}");
    Err(Error::invalid(format!("data \"{data}\""), problem, help))
}

/// The elements of a shape that anybody may have written down, where they can be counted.
fn elements(shape: &Shape) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// The sizes other than 1.
fn sizes(shape: &Shape) -> Vec<usize> {
    shape.iter().copied().filter(|size| *size != 1).collect()
}

fn is_flat(shape: &Shape) -> bool {
    sizes(shape).len() <= 1
}
