//! Convolutions and their transposes. Pairs are height, then width.

use super::kind::{Key, Kind, ParameterSpec, Setting, add_bias, image_size, positive, product, weight_and_bias};
use crate::error::Result;
use crate::graph::{Graph, Value, Window};
use crate::nn::Placed;
use crate::shape::{Shape, conv_output, conv_transpose_output};

/// Convolution (cross-correlation, as everywhere in the field) on `[channels, height, width]`; the weight is
/// `[out, channels, kernel height, kernel width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Channels that come out.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Step between two places of the kernel.
    pub stride: [usize; 2],
    /// Zeros put around the input, on each side.
    pub padding: [usize; 2],
    /// Whether a bias is added.
    pub bias: bool,
}

/// Transposed convolution on `[channels, height, width]`: the gradient of [`Conv2d`] by its input. The weight is
/// `[channels, out, kernel height, kernel width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose2d {
    /// Channels that come out.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Step between two places of the kernel in the output.
    pub stride: [usize; 2],
    /// Rows and columns taken off the output, on each side.
    pub padding: [usize; 2],
    /// Rows and columns put on at the bottom and the right, to choose among the input sizes that a strided
    /// convolution maps to the same output size; smaller than `stride`.
    pub output_padding: [usize; 2],
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// With PyTorch's defaults: stride 1, no padding, a bias.
    pub fn new(out: usize, kernel: [usize; 2]) -> Conv2d {
        Conv2d { out, kernel, stride: [1; 2], padding: [0; 2], bias: true }
    }
}

impl ConvTranspose2d {
    /// With PyTorch's defaults: stride 1, no padding of either kind, a bias.
    pub fn new(out: usize, kernel: [usize; 2]) -> ConvTranspose2d {
        ConvTranspose2d { out, kernel, stride: [1; 2], padding: [0; 2], output_padding: [0; 2], bias: true }
    }
}

impl Kind for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("out", Setting::Whole(&mut self.out)),
            Key::needed("kernel", Setting::Pair(&mut self.kernel)),
            Key::optional("stride", Setting::Pair(&mut self.stride)),
            Key::optional("padding", Setting::Pair(&mut self.padding)),
            Key::optional("bias", Setting::Flag(&mut self.bias)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let Conv2d { out, kernel, stride, padding, .. } = self;
        let size = image_size(input)?;
        positive("out", &[*out])?;
        positive("kernel", kernel)?;
        positive("stride", stride)?;
        let along = |axis: usize| {
            conv_output(size[axis], kernel[axis], stride[axis], padding[axis]).ok_or_else(|| {
                let help = "use a smaller kernel or more padding";
                format!("kernel {kernel:?} does not fit into {size:?} with padding {padding:?}; {help}")
            })
        };
        Ok([*out, along(0)?, along(1)?].into())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let [r, s] = self.kernel;
        weight_and_bias([self.out, input[0], r, s], self.bias.then_some(self.out))
    }

    fn flops(&self, input: &Shape, output: &Shape) -> u64 {
        let [r, s] = self.kernel;
        product(&[2, input[0], r, s]).saturating_mul(product(output))
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let weight = placed.parameter(graph, 0)?;
        let y = graph.conv2d(x, weight, Window { stride: self.stride, padding: self.padding })?;
        add_bias(placed, graph, y)
    }
}

impl Kind for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("out", Setting::Whole(&mut self.out)),
            Key::needed("kernel", Setting::Pair(&mut self.kernel)),
            Key::optional("stride", Setting::Pair(&mut self.stride)),
            Key::optional("padding", Setting::Pair(&mut self.padding)),
            Key::optional("output_padding", Setting::Pair(&mut self.output_padding)),
            Key::optional("bias", Setting::Flag(&mut self.bias)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let ConvTranspose2d { out, kernel, stride, padding, output_padding, .. } = self;
        let size = image_size(input)?;
        positive("out", &[*out])?;
        positive("kernel", kernel)?;
        positive("stride", stride)?;
        let along = |axis: usize| {
            if output_padding[axis] >= stride[axis] {
                return Err(format!(
                    "output_padding {output_padding:?} must be smaller than stride {stride:?}; \
                     use less output_padding"
                ));
            }
            conv_transpose_output(size[axis], kernel[axis], stride[axis], padding[axis], output_padding[axis])
                .ok_or_else(|| {
                    let help = "use less padding or a larger kernel";
                    format!("padding {padding:?} leaves nothing of the output for input {size:?}; {help}")
                })
        };
        Ok([*out, along(0)?, along(1)?].into())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let [r, s] = self.kernel;
        weight_and_bias([input[0], self.out, r, s], self.bias.then_some(self.out))
    }

    /// Here each input element meets each weight of its channel once.
    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        let [r, s] = self.kernel;
        product(&[2, self.out, r, s]).saturating_mul(product(input))
    }

    /// Transposed convolution maps as conv2d's gradient maps: PyTorch's weight [in, out, kh, kw] is the weight of the
    /// convolution that goes the other way.
    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let weight = placed.parameter(graph, 0)?;
        let window = Window { stride: self.stride, padding: self.padding };
        let y = graph.conv2d_grad_input(x, weight, window, [placed.output[1], placed.output[2]])?;
        add_bias(placed, graph, y)
    }
}
