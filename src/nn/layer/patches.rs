//! Layers between pictures and the sequences of their patches.

use super::kind::*;
use crate::graph::Window;

/// Patch embedding, Dosovitskiy et al., arXiv 2010.11929: cuts a picture `[channels, height, width]` into patches side
/// by side and multiplies each by one weight, to `[steps, out]`, row by row. Computed, named and laid out as PyTorch's
/// `nn.Conv2d` whose stride is the size of its kernel: the weight is `[out, channels, ..size]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// Height and width of a patch.
    pub size: [usize; 2],
    /// Features of a step of the output.
    pub out: usize,
}

/// Assembles a picture of `shape` from its patches, `[steps, features]`, where the features of a step are the elements
/// `[channels, ..size]` of a patch. It has no parameters: a `linear` layer before it makes the elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpatch {
    /// Height and width of a patch.
    pub size: [usize; 2],
    /// The picture, `[channels, height, width]`.
    pub shape: Shape,
}

/// Number of patches of this size down and across. Fails where they do not cover the picture side by side.
fn grid(picture: [usize; 2], size: [usize; 2]) -> Result<[usize; 2], Misfit> {
    positive("size", &size)?;
    match (0..2).all(|axis| picture[axis] > 0 && picture[axis].is_multiple_of(size[axis])) {
        true => Ok([picture[0] / size[0], picture[1] / size[1]]),
        false => Err(misfit!("patches of {size:?} do not cover {picture:?} side by side"; "use divisors of both")),
    }
}

impl Kind for Patches {
    name!("patches");
    keys!(needed size: Sides, needed out: Whole);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        positive("out", &[self.out])?;
        let [down, across] = grid(spatial(input)?, self.size)?;
        Ok([down * across, self.out].into())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias([self.out, input[0], self.size[0], self.size[1]], Some(self.out))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out]).saturating_mul(product(input))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let (weight, bias) = (placed.parameter(context, 0)?, placed.parameter(context, 1)?);
        let y = context.conv2d(x, weight, Window { stride: self.size, ..Window::default() })?;
        let y = context.permute(y, &[0, 2, 3, 1])?;
        let y = placed.reshaped(context, y)?;
        context.add(y, bias)
    }
}

impl Kind for Unpatch {
    name!("unpatch");
    keys!(needed size: Sides, needed shape: Sizes);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [channels, height, width] = self.shape[..] else {
            return Err(
                misfit!("shape must be [channels, height, width], got {}", self.shape; "write [1, 28, 28], say"),
            );
        };
        positive("shape", &self.shape)?;
        let [down, across] = grid([height, width], self.size)?;
        let Some(features) = elements(&[channels, self.size[0], self.size[1]].into()) else {
            return Err(misfit!("patches of {:?} are too large", self.size; "use smaller ones"));
        };
        let expected = Shape::from([down * across, features]);
        if expected == *input {
            return Ok(self.shape.clone());
        }
        let help = format!("put {{ linear = {features} }} before it");
        Err(misfit!("{} of patches of {:?} takes {expected}, got {input}", self.shape, self.size; "{help}"))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let (n, [height, width]) = (context.shape(x)[0], self.size);
        let [down, across] = [placed.output[1] / height, placed.output[2] / width];
        let y = context.reshape(x, [n, down, across, placed.output[0], height, width])?;
        let y = context.permute(y, &[0, 3, 1, 4, 2, 5])?;
        placed.reshaped(context, y)
    }
}
