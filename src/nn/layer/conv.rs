//! Convolutions and their transposes, of sequences (`D = 1`, `[channels, length]`) and of images (`D = 2`,
//! `[channels, height, width]`). A sequence is an image of height 1.

use super::kind::*;
use crate::graph::Window;
use crate::shape::{conv_output, conv_transpose_output, dilated};

/// Convolution (a cross-correlation, as in all deep learning libraries); the weight is `[out, channels / groups,
/// ..kernel]`. Pairs are height, then width.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv<const D: usize> {
    /// Channels of the output.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; D],
    /// Step between two positions of the kernel.
    pub stride: [usize; D],
    /// Zeros added to the input on each side.
    pub padding: [usize; D],
    /// Whether the padding is PyTorch's `padding="same"`, by which the output has the input's size, in place of
    /// [`padding`](Conv::padding). An odd number of zeros has one more at the end. Needs a stride of 1.
    pub same: bool,
    /// Step between two elements of the kernel.
    pub dilation: [usize; D],
    /// Number of groups of channels that are convolved separately; the number of channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Transposed convolution: the gradient of [`Conv`] with respect to its input. The weight is
/// `[channels, out / groups, ..kernel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose<const D: usize> {
    /// Channels of the output.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; D],
    /// Step between two positions of the kernel in the output.
    pub stride: [usize; D],
    /// Elements removed from the output on each side.
    pub padding: [usize; D],
    /// Elements added at the end of each axis, which chooses among the input sizes that a strided convolution maps to
    /// one output size; smaller than `stride` or than `dilation`.
    pub output_padding: [usize; D],
    /// Step between two elements of the kernel in the output.
    pub dilation: [usize; D],
    /// Number of groups of channels that are convolved separately.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Convolution of sequences.
pub type Conv1d = Conv<1>;
/// Convolution of images.
pub type Conv2d = Conv<2>;
/// Transposed convolution of sequences.
pub type ConvTranspose1d = ConvTranspose<1>;
/// Transposed convolution of images.
pub type ConvTranspose2d = ConvTranspose<2>;

impl<const D: usize> Conv<D> {
    /// Creates a convolution with PyTorch's defaults: stride 1, no padding, neither dilated nor grouped, a bias.
    pub fn new(out: usize, kernel: [usize; D]) -> Conv<D> {
        let (stride, padding, dilation) = ([1; D], [0; D], [1; D]);
        Conv { out, kernel, stride, padding, same: false, dilation, groups: 1, bias: true }
    }

    /// Number of zeros on each side along an axis, and number of further zeros at its end.
    fn zeros(&self, axis: usize) -> [usize; 2] {
        if !self.same {
            return [self.padding[axis], 0];
        }
        let all = dilated(self.kernel[axis], self.dilation[axis]).saturating_sub(1);
        [all / 2, all % 2]
    }
}

impl<const D: usize> ConvTranspose<D> {
    /// Creates a transposed convolution with PyTorch's defaults: stride 1, no padding of either kind, neither dilated
    /// nor grouped, a bias.
    pub fn new(out: usize, kernel: [usize; D]) -> ConvTranspose<D> {
        let (zero, one) = ([0; D], [1; D]);
        let (stride, padding, output_padding, dilation) = (one, zero, zero, one);
        ConvTranspose { out, kernel, stride, padding, output_padding, dilation, groups: 1, bias: true }
    }
}

impl<const D: usize> Kind for Conv<D> {
    fn name(&self) -> &'static str {
        if D == 1 { "conv1d" } else { "conv2d" }
    }

    keys! {
        needed out: Whole, needed kernel: Sides, optional stride: Sides, optional padding: Padding + same,
        optional dilation: Sides, optional groups: Whole, optional bias: Flag
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let Conv { out, kernel, stride, padding, same, dilation, groups, .. } = self;
        let size: [usize; D] = spatial(input)?;
        sensible(*out, input[0], kernel, stride, dilation, *groups)?;
        if *same {
            if *stride != [1; D] {
                let zeros: [usize; D] = std::array::from_fn(|axis| self.zeros(axis)[0]);
                let sides = Setting::Sides(&mut zeros.clone()).text(false).unwrap_or_default();
                let help = format!("write padding = {sides}, say");
                return Err(misfit!("padding = \"same\" goes with a stride of 1, got stride {stride:?}"; "{help}"));
            }
            return Ok(std::iter::once(*out).chain(size).collect());
        }
        with_sizes::<D>(*out, |axis| {
            let covered = dilated(kernel[axis], dilation[axis]);
            conv_output(size[axis], covered, stride[axis], padding[axis])
                .ok_or_else(|| large_kernel(kernel, &size, padding, dilation))
        })
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = [self.out, input[0] / self.groups].into_iter().chain(self.kernel);
        weight_and_bias(weight.collect::<Shape>(), self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, output: &Shape) -> u64 {
        product(&[2, input[0] / self.groups]).saturating_mul(product(&self.kernel)).saturating_mul(product(output))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(context, 0)?;
        let (mut x, weight) = (as_image(context, x)?, as_image(context, weight)?);
        let zeros: [[usize; 2]; D] = std::array::from_fn(|axis| self.zeros(axis));
        let (padding, more) = (zeros.map(|[both, _]| both), zeros.map(|[_, more]| more));
        if more != [0; D] {
            x = context.pad(x, &[0; 4], &[0, 0, if D == 1 { 0 } else { more[0] }, more[D - 1]])?;
        }
        let y = context.conv2d(x, weight, window(self.stride, padding, self.dilation, self.groups))?;
        let y = placed.reshaped(context, y)?;
        add_bias(placed, context, y)
    }
}

impl<const D: usize> Kind for ConvTranspose<D> {
    fn name(&self) -> &'static str {
        if D == 1 { "conv_transpose1d" } else { "conv_transpose2d" }
    }

    keys! {
        needed out: Whole, needed kernel: Sides, optional stride: Sides, optional padding: Sides,
        optional output_padding: Sides, optional dilation: Sides, optional groups: Whole, optional bias: Flag
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let ConvTranspose { out, kernel, stride, padding, output_padding, dilation, groups, .. } = self;
        let size: [usize; D] = spatial(input)?;
        sensible(*out, input[0], kernel, stride, dilation, *groups)?;
        with_sizes::<D>(*out, |axis| {
            if output_padding[axis] >= stride[axis].max(dilation[axis]) {
                let least = format!("stride {stride:?} or dilation {dilation:?}");
                let help = "use less output_padding";
                return Err(misfit!("output_padding {output_padding:?} must be smaller than {least}"; "{help}"));
            }
            let covered = dilated(kernel[axis], dilation[axis]);
            let length = conv_transpose_output(size[axis], covered, stride[axis], padding[axis], output_padding[axis]);
            length.ok_or_else(|| {
                let help = "use less padding or a larger kernel";
                misfit!("padding {padding:?} leaves nothing of the output for input {size:?}"; "{help}")
            })
        })
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = [input[0], self.out / self.groups].into_iter().chain(self.kernel);
        weight_and_bias(weight.collect::<Shape>(), self.bias.then_some(self.out))
    }

    /// Each input element meets each weight of its channel once.
    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out / self.groups]).saturating_mul(product(&self.kernel)).saturating_mul(product(input))
    }

    /// PyTorch's weight `[channels, out / groups, ..kernel]` is the weight of the convolution in the other direction,
    /// whose gradient with respect to its input this is.
    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(context, 0)?;
        let (x, weight) = (as_image(context, x)?, as_image(context, weight)?);
        let mut padding = self.padding;
        let (mut size, mut start, mut end) = ([1; 2], [0; 2], [0; 2]);
        for (axis, padding) in padding.iter_mut().enumerate() {
            let at = axis + 2 - D;
            size[at] = placed.output[axis + 1];
            // The convolution of an output of this size would be longer than the input. So the elements that the kernel
            // reaches are computed, without padding, and the output is cut from them and zeros behind them.
            if self.output_padding[axis] >= self.stride[axis] {
                let reach = dilated(self.kernel[axis], self.dilation[axis]);
                size[at] = (placed.input[axis + 1] - 1) * self.stride[axis] + reach;
                (start[at], end[at]) = (std::mem::take(padding), self.output_padding[axis]);
            }
        }
        let window = window(self.stride, padding, self.dilation, self.groups);
        let mut y = context.conv2d_grad_input(x, weight, window, size)?;
        if end != [0; 2] {
            let [n, c] = [context.shape(y)[0], context.shape(y)[1]];
            y = context.pad(y, &[0; 4], &[0, 0, end[0], end[1]])?;
            let size = [0, 1].map(|at| size[at] + end[at] - 2 * start[at]);
            y = context.slice(y, &[0, 0, start[0], start[1]], [n, c, size[0], size[1]])?;
        }
        let y = placed.reshaped(context, y)?;
        add_bias(placed, context, y)
    }
}

/// The largest stride and dilation, above which a number is likely a typing error; products of smaller ones cannot
/// overflow.
const LARGEST_STEP: usize = 1 << 12;

/// Fails where the settings of either kind are wrong for every image with this number of channels.
fn sensible(
    out: usize,
    channels: usize,
    kernel: &[usize],
    stride: &[usize],
    dilation: &[usize],
    groups: usize,
) -> Result<(), Misfit> {
    positive("out", &[out])?;
    positive("kernel", kernel)?;
    positive("stride", stride)?;
    positive("dilation", dilation)?;
    positive("groups", &[groups])?;
    if let Some(size) = stride.iter().chain(dilation).find(|size| **size > LARGEST_STEP) {
        return Err(misfit!("no step may be larger than {LARGEST_STEP}, got {size}"; "use less stride or dilation"));
    }
    for (count, which) in [(channels, "channels that go in"), (out, "channels that come out")] {
        if !count.is_multiple_of(groups) {
            return Err(misfit!("{groups} groups do not divide the {count} {which}"; "use a divisor of both"));
        }
    }
    Ok(())
}

fn window<const D: usize>(stride: [usize; D], padding: [usize; D], dilation: [usize; D], groups: usize) -> Window {
    Window { stride: pair(stride, 1), padding: pair(padding, 0), dilation: pair(dilation, 1), groups }
}
