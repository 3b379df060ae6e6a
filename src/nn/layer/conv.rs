//! Convolutions and their transposes, of sequences (`D = 1`, `[channels, length]`) and of images (`D = 2`,
//! `[channels, height, width]`). A sequence is an image of height 1.

use super::kind::{
    Key, Kind, Misfit, ParameterSpec, Setting, add_bias, as_image, misfit, pair, positive, product, spatial,
    weight_and_bias,
};
use crate::error::Result;
use crate::graph::{Value, Window};
use crate::nn::{Context, Placed};
use crate::shape::{Shape, conv_output, conv_transpose_output, dilated};

/// Convolution (cross-correlation, as everywhere in the field); the weight is `[out, channels / groups, ..kernel]`. Pairs
/// are height, then width.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv<const D: usize> {
    /// Channels that come out.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; D],
    /// Step between two places of the kernel.
    pub stride: [usize; D],
    /// Zeros put around the input, on each side.
    pub padding: [usize; D],
    /// Whether as many zeros are put around the input as let the output have its size, PyTorch's `padding="same"`, and
    /// [`padding`](Conv::padding) means nothing. Where their number is odd, one more stands at the end. For a stride of 1.
    pub same: bool,
    /// Step between two elements of the kernel.
    pub dilation: [usize; D],
    /// Parts into which the channels are cut, each convolved on its own; as many as channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Transposed convolution: the gradient of [`Conv`] by its input. The weight is `[channels, out / groups, ..kernel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose<const D: usize> {
    /// Channels that come out.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; D],
    /// Step between two places of the kernel in the output.
    pub stride: [usize; D],
    /// Elements taken off the output, on each side.
    pub padding: [usize; D],
    /// Elements put on at the end of each axis, to choose among the input sizes that a strided convolution maps to the
    /// same output size; smaller than `stride` or than `dilation`.
    pub output_padding: [usize; D],
    /// Step between two elements of the kernel in the output.
    pub dilation: [usize; D],
    /// Parts into which the channels are cut, each on its own.
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
    /// With PyTorch's defaults: stride 1, no padding, neither dilated nor grouped, a bias.
    pub fn new(out: usize, kernel: [usize; D]) -> Conv<D> {
        let (stride, padding, dilation) = ([1; D], [0; D], [1; D]);
        Conv { out, kernel, stride, padding, same: false, dilation, groups: 1, bias: true }
    }

    /// Zeros on both sides along an axis, and those put on at its end beside them.
    fn zeros(&self, axis: usize) -> [usize; 2] {
        if !self.same {
            return [self.padding[axis], 0];
        }
        let all = dilated(self.kernel[axis], self.dilation[axis]).saturating_sub(1);
        [all / 2, all % 2]
    }
}

impl<const D: usize> ConvTranspose<D> {
    /// With PyTorch's defaults: stride 1, no padding of either kind, neither dilated nor grouped, a bias.
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

    fn keys(&mut self) -> Vec<Key<'_>> {
        let Conv { out, kernel, stride, padding, same, dilation, groups, bias } = self;
        keys_of(out, [kernel, stride, dilation], Setting::Padding(padding, same), None, groups, bias)
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
        let along = |axis: usize| {
            let covered = dilated(kernel[axis], dilation[axis]);
            conv_output(size[axis], covered, stride[axis], padding[axis]).ok_or_else(|| {
                let dilation = if *dilation == [1; D] { String::new() } else { format!(" and dilation {dilation:?}") };
                let help = "use a smaller kernel or more padding";
                misfit!("kernel {kernel:?} does not fit into {size:?} with padding {padding:?}{dilation}"; "{help}")
            })
        };
        let sizes: Result<Vec<usize>, Misfit> = (0..D).map(along).collect();
        Ok(std::iter::once(*out).chain(sizes?).collect())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = [self.out, input[0] / self.groups].into_iter().chain(self.kernel);
        weight_and_bias(weight.collect::<Shape>(), self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, output: &Shape) -> u64 {
        product(&[2, input[0] / self.groups]).saturating_mul(product(&self.kernel)).saturating_mul(product(output))
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(cx, 0)?;
        let (mut x, weight) = (as_image(cx, x)?, as_image(cx, weight)?);
        let zeros: [[usize; 2]; D] = std::array::from_fn(|axis| self.zeros(axis));
        let (padding, more) = (zeros.map(|[both, _]| both), zeros.map(|[_, more]| more));
        if more != [0; D] {
            x = cx.pad(x, &[0; 4], &[0, 0, if D == 1 { 0 } else { more[0] }, more[D - 1]])?;
        }
        let y = cx.conv2d(x, weight, window(self.stride, padding, self.dilation, self.groups))?;
        let y = placed.reshaped(cx, y)?;
        add_bias(placed, cx, y)
    }
}

impl<const D: usize> Kind for ConvTranspose<D> {
    fn name(&self) -> &'static str {
        if D == 1 { "conv_transpose1d" } else { "conv_transpose2d" }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        let ConvTranspose { out, kernel, stride, padding, output_padding, dilation, groups, bias } = self;
        keys_of(out, [kernel, stride, dilation], Setting::Sides(padding), Some(output_padding), groups, bias)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let ConvTranspose { out, kernel, stride, padding, output_padding, dilation, groups, .. } = self;
        let size: [usize; D] = spatial(input)?;
        sensible(*out, input[0], kernel, stride, dilation, *groups)?;
        let along = |axis: usize| {
            if output_padding[axis] >= stride[axis].max(dilation[axis]) {
                let least = format!("stride {stride:?} or dilation {dilation:?}");
                let help = "use less output_padding";
                return Err(misfit!("output_padding {output_padding:?} must be smaller than {least}"; "{help}"));
            }
            let covered = dilated(kernel[axis], dilation[axis]);
            conv_transpose_output(size[axis], covered, stride[axis], padding[axis], output_padding[axis]).ok_or_else(
                || {
                    let help = "use less padding or a larger kernel";
                    misfit!("padding {padding:?} leaves nothing of the output for input {size:?}"; "{help}")
                },
            )
        };
        let sizes: Result<Vec<usize>, Misfit> = (0..D).map(along).collect();
        Ok(std::iter::once(*out).chain(sizes?).collect())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = [input[0], self.out / self.groups].into_iter().chain(self.kernel);
        weight_and_bias(weight.collect::<Shape>(), self.bias.then_some(self.out))
    }

    /// Here each input element meets each weight of its channel once.
    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(&[2, self.out / self.groups]).saturating_mul(product(&self.kernel)).saturating_mul(product(input))
    }

    /// Transposed convolution maps as conv2d's gradient maps: PyTorch's weight [in, out / groups, ..kernel] is the weight of
    /// the convolution that goes the other way.
    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let weight = placed.parameter(cx, 0)?;
        let (x, weight) = (as_image(cx, x)?, as_image(cx, weight)?);
        let mut padding = self.padding;
        let (mut size, mut start, mut end) = ([1; 2], [0; 2], [0; 2]);
        for (axis, padding) in padding.iter_mut().enumerate() {
            let at = axis + 2 - D;
            size[at] = placed.output[axis + 1];
            // The convolution would make a longer input of an output of this size. Then all that the kernel reaches is
            // computed, and the output cut out of it and the zeros behind it.
            if self.output_padding[axis] >= self.stride[axis] {
                let reach = dilated(self.kernel[axis], self.dilation[axis]);
                size[at] = (placed.input[axis + 1] - 1) * self.stride[axis] + reach;
                (start[at], end[at]) = (std::mem::take(padding), self.output_padding[axis]);
            }
        }
        let window = window(self.stride, padding, self.dilation, self.groups);
        let mut y = cx.conv2d_grad_input(x, weight, window, size)?;
        if end != [0; 2] {
            let [n, c] = [cx.shape(y)[0], cx.shape(y)[1]];
            y = cx.pad(y, &[0; 4], &[0, 0, end[0], end[1]])?;
            let size = [0, 1].map(|at| size[at] + end[at] - 2 * start[at]);
            y = cx.slice(y, &[0, 0, start[0], start[1]], [n, c, size[0], size[1]])?;
        }
        let y = placed.reshaped(cx, y)?;
        add_bias(placed, cx, y)
    }
}

/// The keys of both kinds, in the order in which model files have them.
fn keys_of<'a, const D: usize>(
    out: &'a mut usize,
    [kernel, stride, dilation]: [&'a mut [usize; D]; 3],
    padding: Setting<'a>,
    output_padding: Option<&'a mut [usize; D]>,
    groups: &'a mut usize,
    bias: &'a mut bool,
) -> Vec<Key<'a>> {
    let mut keys = vec![
        Key::needed("out", Setting::Whole(out)),
        Key::needed("kernel", Setting::Sides(kernel)),
        Key::optional("stride", Setting::Sides(stride)),
        Key::optional("padding", padding),
    ];
    keys.extend(output_padding.map(|sides| Key::optional("output_padding", Setting::Sides(sides))));
    keys.extend([
        Key::optional("dilation", Setting::Sides(dilation)),
        Key::optional("groups", Setting::Whole(groups)),
        Key::optional("bias", Setting::Flag(bias)),
    ]);
    keys
}

/// A larger stride or dilation is a slip of the pen, and below it their products cannot overflow.
const LARGEST_STEP: usize = 1 << 12;

/// What both kinds demand of their settings whatever the image.
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
