//! Fitting samples to a model's input of another shape. The model's input decides; an equal number of elements
//! is not enough, since pictures of 20 x 28 and of 28 x 20 have equal numbers.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The order in which a sample's numbers become a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Unchanged order.
    Unchanged,
    /// `[height, width, channels]` becomes `[channels, height, width]`.
    ChannelsLast,
}

/// The arrangement of samples for a model's input; `None` if they do not fit it.
///
/// The order is unchanged if the shapes differ only in axes of size 1, as `[28, 28]` and `[1, 28, 28]`, or
/// one of them is flat: `[784]` fits `[1, 28, 28]`, and the reverse. Channels last is chosen only where nothing
/// else fits.
pub fn arrangement(sample: &Shape, input: &Shape) -> Option<Arrangement> {
    if sample.checked_elements() != input.checked_elements() {
        return None;
    }
    if is_flat(sample) || is_flat(input) || sizes(sample) == sizes(input) {
        return Some(Arrangement::Unchanged);
    }
    match (&sample[..], &input[..]) {
        ([height, width, channels], expected) if *expected == [*channels, *height, *width] => {
            Some(Arrangement::ChannelsLast)
        }
        _ => None,
    }
}

/// Whether a code of this shape fits a model's `latent` shape: equal but for axes of size 1, or flat.
pub fn fits_code(code: &[usize], latent: &Shape) -> bool {
    let code: Shape = code.into();
    code.checked_elements() == latent.checked_elements() && (is_flat(&code) || sizes(&code) == sizes(latent))
}

/// Whether two sets of samples are arranged alike for an input or, if no input is known, have equal orders.
pub(super) fn is_alike(one: &Shape, other: &Shape, input: Option<&Shape>) -> bool {
    let arranged = |shape: &Shape| match input {
        Some(input) if arrangement(shape, input) == Some(Arrangement::ChannelsLast) => input.clone(),
        _ => shape.clone(),
    };
    arrangement(&arranged(one), &arranged(other)) == Some(Arrangement::Unchanged)
}

/// Fails where samples do not fit a model's input in their own order. `whose` names the model in the message.
pub(crate) fn expect_input(sample: &Shape, input: &Shape, data: &str, whose: &str) -> Result<()> {
    let help = match arrangement(sample, input) {
        Some(Arrangement::Unchanged) => return Ok(()),
        Some(Arrangement::ChannelsLast) => "put the channels first: Dataset::for_input does so",
        None => "choose other data, or change the model's `input` and layers",
    };
    let problem = format!("its samples are {sample}, the {whose}'s input is {input}");
    Err(Error::in_data(data, problem, help))
}

/// The sizes other than 1.
fn sizes(shape: &Shape) -> Vec<usize> {
    shape.iter().copied().filter(|size| *size != 1).collect()
}

fn is_flat(shape: &Shape) -> bool {
    sizes(shape).len() <= 1
}
