//! Pooling and resizing of images `[channels, height, width]`. None has parameters. Pairs are height, then width.

use super::kind::{Key, Kind, Setting, positive, product, spatial};
use crate::error::Result;
use crate::graph::{Graph, Pooling, Value};
use crate::nn::Placed;
use crate::shape::{Shape, conv_output};

/// What a pooling keeps of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; of equal ones the first has the gradient.
    Max,
    /// The mean of the window; what lies in the padding counts as zero.
    Average,
}

/// One number for each window of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool2d {
    /// Which number.
    pub kind: PoolKind,
    /// Size of a window.
    pub kernel: [usize; 2],
    /// Step between two windows; 0 for the size of a window, which is the default.
    pub stride: [usize; 2],
    /// How far windows stand out of the image on each side, at most half a window.
    pub padding: [usize; 2],
}

/// One number for each channel, `[channels, 1, ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalPool {
    /// Which number. Of equal largest elements each has its share of the gradient.
    pub kind: PoolKind,
}

/// How an enlarged image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Each pixel repeated.
    Nearest,
    /// Linear between the centres of pixels: PyTorch's `bilinear` with `align_corners=False`.
    Bilinear,
}

/// Images made larger by whole factors.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample {
    /// How.
    pub interpolation: Interpolation,
    /// Pixels that each pixel becomes, down and across.
    pub scale: [usize; 2],
}

/// Channels exchanged for resolution: Shi et al., arXiv 1609.05158.
#[derive(Clone, Debug, PartialEq)]
pub enum PixelShuffle {
    /// `[channels factor², height, width]` to `[channels, height factor, width factor]`.
    Shuffle(usize),
    /// The way back.
    Unshuffle(usize),
}

impl Pool2d {
    /// Windows side by side, without padding.
    pub fn new(kind: PoolKind, kernel: [usize; 2]) -> Pool2d {
        Pool2d { kind, kernel, stride: [0; 2], padding: [0; 2] }
    }

    fn pooling(&self) -> Pooling {
        let stride = [0, 1].map(|axis| if self.stride[axis] == 0 { self.kernel[axis] } else { self.stride[axis] });
        Pooling { kernel: self.kernel, stride, padding: self.padding }
    }
}

impl Kind for Pool2d {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool2d",
            PoolKind::Average => "avg_pool2d",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("kernel", Setting::Sides(&mut self.kernel)),
            Key::optional("stride", Setting::Sides(&mut self.stride)),
            Key::optional("padding", Setting::Sides(&mut self.padding)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let size: [usize; 2] = spatial(input)?;
        let Pooling { kernel, stride, padding } = self.pooling();
        positive("kernel", &kernel)?;
        if (0..2).any(|axis| padding[axis] > kernel[axis] / 2) {
            return Err(format!("padding {padding:?} is more than half of kernel {kernel:?}; use less padding"));
        }
        let along = |axis: usize| {
            conv_output(size[axis], kernel[axis], stride[axis], padding[axis]).ok_or_else(|| {
                let help = "use a smaller kernel or more padding";
                format!("kernel {kernel:?} does not fit into {size:?} with padding {padding:?}; {help}")
            })
        };
        Ok([input[0], along(0)?, along(1)?].into())
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        product(&self.kernel).saturating_mul(product(output))
    }

    fn apply(&self, _placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        match self.kind {
            PoolKind::Max => graph.max_pool(x, self.pooling()),
            PoolKind::Average => {
                let sum = graph.sum_pool(x, self.pooling())?;
                graph.scale(sum, 1.0 / (self.kernel[0] * self.kernel[1]) as f64)
            }
        }
    }
}

impl Kind for GlobalPool {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "global_max_pool",
            PoolKind::Average => "global_avg_pool",
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        if input.len() < 2 {
            return Err(format!("expects [channels, height, width], got {input}; put it before \"flatten\""));
        }
        Ok(std::iter::once(input[0]).chain(input[1..].iter().map(|_| 1)).collect())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input)
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let axes: Vec<usize> = (2..graph.shape(x).len()).collect();
        let y = match self.kind {
            PoolKind::Max => graph.max(x, &axes)?,
            PoolKind::Average => graph.mean(x, &axes)?,
        };
        placed.reshaped(graph, y)
    }
}

impl Kind for Upsample {
    fn name(&self) -> &'static str {
        match self.interpolation {
            Interpolation::Nearest => "upsample_nearest",
            Interpolation::Bilinear => "upsample_bilinear",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::needed("scale", Setting::Sides(&mut self.scale))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let size: [usize; 2] = spatial(input)?;
        positive("scale", &self.scale)?;
        let along = |axis: usize| {
            let larger = size[axis].checked_mul(self.scale[axis]);
            larger.ok_or_else(|| format!("scale {:?} is too large for {size:?}; use less", self.scale))
        };
        Ok([input[0], along(0)?, along(1)?].into())
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        match self.interpolation {
            Interpolation::Nearest => 0,
            Interpolation::Bilinear => product(&[8]).saturating_mul(product(output)),
        }
    }

    fn apply(&self, _placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        match self.interpolation {
            Interpolation::Nearest => graph.repeat_pixels(x, self.scale),
            Interpolation::Bilinear => graph.linear_resize(x, self.scale),
        }
    }
}

impl Kind for PixelShuffle {
    fn name(&self) -> &'static str {
        match self {
            PixelShuffle::Shuffle(_) => "pixel_shuffle",
            PixelShuffle::Unshuffle(_) => "pixel_unshuffle",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        let (PixelShuffle::Shuffle(factor) | PixelShuffle::Unshuffle(factor)) = self;
        vec![Key::needed("factor", Setting::Whole(factor))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, String> {
        let [height, width] = spatial(input)?;
        let (PixelShuffle::Shuffle(factor) | PixelShuffle::Unshuffle(factor)) = *self;
        positive("factor", &[factor])?;
        let too_large = || format!("factor {factor} is too large; use 2, say");
        let square = factor.checked_mul(factor).ok_or_else(too_large)?;
        let times = |size: usize, factor: usize| size.checked_mul(factor).ok_or_else(too_large);
        match self {
            PixelShuffle::Shuffle(_) if !input[0].is_multiple_of(square) => {
                Err(format!("expects a multiple of {square} channels, got {input}; change the channels before it"))
            }
            PixelShuffle::Shuffle(_) => Ok([input[0] / square, times(height, factor)?, times(width, factor)?].into()),
            PixelShuffle::Unshuffle(_) if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) => {
                Err(format!("expects a height and width that {factor} divides, got {input}; use another factor"))
            }
            PixelShuffle::Unshuffle(_) => Ok([times(input[0], square)?, height / factor, width / factor].into()),
        }
    }

    fn apply(&self, placed: &Placed, graph: &mut Graph, x: Value) -> Result<Value> {
        let n = graph.shape(x)[0];
        let (small, large, f) = match *self {
            PixelShuffle::Shuffle(factor) => (&placed.input, &placed.output, factor),
            PixelShuffle::Unshuffle(factor) => (&placed.output, &placed.input, factor),
        };
        // A channel's factor² pictures are the pixels of a tile.
        let (c, h, w) = (large[0], small[1], small[2]);
        let y = match self {
            PixelShuffle::Shuffle(_) => {
                let y = graph.reshape(x, [n, c, f, f, h, w])?;
                graph.permute(y, &[0, 1, 4, 2, 5, 3])?
            }
            PixelShuffle::Unshuffle(_) => {
                let y = graph.reshape(x, [n, c, h, f, w, f])?;
                graph.permute(y, &[0, 1, 3, 5, 2, 4])?
            }
        };
        placed.reshaped(graph, y)
    }
}
