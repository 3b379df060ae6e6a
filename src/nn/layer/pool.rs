//! Pooling and resizing of images `[channels, height, width]` and of sequences `[channels, length]`, which are images
//! of height 1. None has parameters. Pairs are height, then width.

use super::kind::*;
use crate::graph::{Binary, Pool as Window, Pooling};
use crate::shape::{dilated, pool_output};

/// The number that a pooling computes of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; the gradient flows to the first of equal ones.
    Max,
    /// The mean of the window.
    Average,
}

impl PoolKind {
    pub(super) const ALL: [PoolKind; 2] = [PoolKind::Max, PoolKind::Average];
}

/// Pooling of each channel of a sequence (`D = 1`) or an image (`D = 2`): one number for each window.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool<const D: usize> {
    /// The number of each window.
    pub kind: PoolKind,
    /// Size of a window.
    pub kernel: [usize; D],
    /// Step between two windows; 0, the default, for the size of a window.
    pub stride: [usize; D],
    /// Elements by which windows exceed the input on each side, at most half the kernel.
    pub padding: [usize; D],
    /// Step between two elements of a window, of maximum pooling only.
    pub dilation: [usize; D],
    /// Whether the number of windows is rounded up, so that the last ones may exceed the padded input.
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count in a mean. Elements beyond the padding never do.
    pub count_include_pad: bool,
}

/// Pooling of sequences.
pub type Pool1d = Pool<1>;
/// Pooling of images.
pub type Pool2d = Pool<2>;

/// Adaptive pooling of each channel of a sequence (`D = 1`) or an image (`D = 2`), as in PyTorch: of `p` windows along
/// an axis of `h` elements, window `i` begins at `i h / p` rounded down and ends at `(i + 1) h / p` rounded up.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptivePool<const D: usize> {
    /// The number of each window.
    pub kind: PoolKind,
    /// Number of windows along each axis: the sizes of the output.
    pub size: [usize; D],
}

/// Adaptive pooling of sequences.
pub type AdaptivePool1d = AdaptivePool<1>;
/// Adaptive pooling of images.
pub type AdaptivePool2d = AdaptivePool<2>;

/// Pooling of whole channels, to `[channels, 1, ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalPool {
    /// The number of each channel. Equal largest elements share the gradient.
    pub kind: PoolKind,
}

/// The interpolation of an [`Upsample`] layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Repeats each element of a sequence, or pixel of an image.
    Nearest,
    /// Linear between the centres of a sequence's elements: PyTorch's `linear` with `align_corners=False`.
    Linear,
    /// Linear between the centres of pixels: PyTorch's `bilinear` with `align_corners=False`.
    Bilinear,
}

/// Enlarges images and sequences by whole factors.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample {
    /// The interpolation.
    pub interpolation: Interpolation,
    /// Factors of height and width. [`Interpolation::Linear`] uses the second only, and [`Interpolation::Nearest`]
    /// needs two equal factors for a sequence.
    pub scale: [usize; 2],
}

impl Upsample {
    /// An example with each interpolation.
    pub(super) fn templates() -> [Upsample; 3] {
        [(Interpolation::Nearest, [2; 2]), (Interpolation::Bilinear, [2; 2]), (Interpolation::Linear, [1, 2])]
            .map(|(interpolation, scale)| Upsample { interpolation, scale })
    }
}

/// Exchanges channels for resolution: Shi et al., arXiv 1609.05158.
#[derive(Clone, Debug, PartialEq)]
pub enum PixelShuffle {
    /// `[channels factor², height, width]` to `[channels, height factor, width factor]`.
    Shuffle(usize),
    /// `[channels, height factor, width factor]` to `[channels factor², height, width]`.
    Unshuffle(usize),
}

impl<const D: usize> Pool<D> {
    /// Creates a pooling with windows side by side, without padding.
    pub fn new(kind: PoolKind, kernel: [usize; D]) -> Pool<D> {
        let (stride, padding, dilation) = ([0; D], [0; D], [1; D]);
        Pool { kind, kernel, stride, padding, dilation, ceil_mode: false, count_include_pad: true }
    }

    /// The step between two windows along an axis.
    fn step(&self, axis: usize) -> usize {
        if self.stride[axis] == 0 { self.kernel[axis] } else { self.stride[axis] }
    }

    fn pooling(&self) -> Pooling {
        Pooling {
            kernel: pair(self.kernel, 1),
            stride: pair(std::array::from_fn::<_, D, _>(|axis| self.step(axis)), 1),
            padding: pair(self.padding, 0),
            dilation: pair(self.dilation, 1),
            ceil: self.ceil_mode,
        }
    }

    /// Whether some window counts fewer elements than the kernel has: without those beyond the padding, and without
    /// those in the padding where [`Pool::count_include_pad`] is off.
    fn has_short_windows(&self, input: &Shape, output: &Shape) -> bool {
        (0..D).any(|axis| {
            let padded = input[axis + 1] + 2 * self.padding[axis];
            let end = (output[axis + 1] - 1) * self.step(axis) + self.kernel[axis];
            end > padded || (self.padding[axis] > 0 && !self.count_include_pad)
        })
    }

    /// Number of elements that count in each window along an axis, `[windows]`.
    fn counts(&self, graph: &mut Graph, axis: usize, size: usize, windows: usize) -> Result<Value> {
        let padding = self.padding[axis] as f64;
        let outside = if self.count_include_pad { padding } else { 0.0 };
        let start = graph.iota(windows)?;
        let start = graph.scale(start, self.step(axis) as f64)?;
        let start = graph.with_number(Binary::Subtract, start, padding)?;
        let end = graph.with_number(Binary::Add, start, self.kernel[axis] as f64)?;
        let end = graph.with_number(Binary::Minimum, end, size as f64 + outside)?;
        let start = graph.with_number(Binary::Maximum, start, -outside)?;
        graph.subtract(end, start)
    }
}

impl<const D: usize> Kind for Pool<D> {
    fn name(&self) -> &'static str {
        match (self.kind, D) {
            (PoolKind::Max, 1) => "max_pool1d",
            (PoolKind::Max, _) => "max_pool2d",
            (PoolKind::Average, 1) => "avg_pool1d",
            (PoolKind::Average, _) => "avg_pool2d",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        let mut keys = vec![
            Key::needed("kernel", Setting::Sides(&mut self.kernel)),
            Key::optional("stride", Setting::Sides(&mut self.stride)),
            Key::optional("padding", Setting::Sides(&mut self.padding)),
        ];
        if self.kind == PoolKind::Max {
            keys.push(Key::optional("dilation", Setting::Sides(&mut self.dilation)));
        }
        keys.push(Key::optional("ceil_mode", Setting::Flag(&mut self.ceil_mode)));
        if self.kind == PoolKind::Average {
            keys.push(Key::optional("count_include_pad", Setting::Flag(&mut self.count_include_pad)));
        }
        keys
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let size: [usize; D] = spatial(input)?;
        let Pool { kernel, padding, dilation, .. } = self;
        positive("kernel", kernel)?;
        positive("dilation", dilation)?;
        if (0..D).any(|axis| padding[axis] > kernel[axis] / 2) {
            return Err(misfit!("padding {padding:?} is more than half of kernel {kernel:?}"; "use less padding"));
        }
        let pooling = self.pooling();
        with_sizes::<D>(input[0], |axis| {
            let covered = dilated(kernel[axis], dilation[axis]);
            if pool_output(size[axis], covered, self.step(axis), padding[axis], self.ceil_mode).is_none_or(|p| p == 0) {
                return Err(large_kernel(kernel, &size, padding, dilation));
            }
            pooling.positions(axis + 2 - D, size[axis]).ok_or_else(|| {
                let with = format!("with padding {padding:?}{}", and_dilation(dilation));
                let help = "use less padding or dilation";
                misfit!("a window of kernel {kernel:?} holds nothing of {size:?} {with}"; "{help}")
            })
        })
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        product(&self.kernel).saturating_mul(product(output))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let x = as_image(context, x)?;
        let y = match self.kind {
            PoolKind::Max => context.max_pool(x, self.pooling())?,
            PoolKind::Average => {
                let sum = context.sum_pool(x, self.pooling())?;
                let (input, output) = (&placed.input, &placed.output);
                if self.has_short_windows(input, output) {
                    let mut counts = self.counts(context, D - 1, input[D], output[D])?;
                    if D == 2 {
                        let down = self.counts(context, 0, input[1], output[1])?;
                        let down = context.reshape(down, [output[1], 1])?;
                        counts = context.multiply(down, counts)?;
                    }
                    context.divide(sum, counts)?
                } else {
                    context.scale(sum, 1.0 / self.kernel.iter().product::<usize>() as f64)?
                }
            }
        };
        placed.reshaped(context, y)
    }
}

impl<const D: usize> Kind for AdaptivePool<D> {
    fn name(&self) -> &'static str {
        match (self.kind, D) {
            (PoolKind::Max, 1) => "adaptive_max_pool1d",
            (PoolKind::Max, _) => "adaptive_max_pool2d",
            (PoolKind::Average, 1) => "adaptive_avg_pool1d",
            (PoolKind::Average, _) => "adaptive_avg_pool2d",
        }
    }

    keys!(needed size: Sides);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let size: [usize; D] = spatial(input)?;
        positive("size", &self.size)?;
        if (0..D).any(|axis| self.size[axis].saturating_add(1).saturating_mul(size[axis] + 1) > u32::MAX as usize) {
            return Err(misfit!("size {:?} is too large for {size:?}", self.size; "use less"));
        }
        Ok(std::iter::once(input[0]).chain(self.size).collect())
    }

    fn flops(&self, input: &Shape, output: &Shape) -> u64 {
        product(input).max(product(output))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let x = as_image(context, x)?;
        let size = pair(self.size, 1);
        let y = match self.kind {
            PoolKind::Max => context.pool(Window::Max, x, Some(x), Pooling::ADAPTIVE, size)?,
            PoolKind::Average => {
                let sum = context.pool(Window::Sum, x, None, Pooling::ADAPTIVE, size)?;
                let (input, output) = (&placed.input[1..], &placed.output[1..]);
                if (0..D).all(|axis| input[axis].is_multiple_of(output[axis])) {
                    let count: usize = (0..D).map(|axis| input[axis] / output[axis]).product();
                    context.scale(sum, 1.0 / count as f64)?
                } else {
                    // The number of a window's elements is the sum of ones over it.
                    let [height, width] = [context.shape(x)[2], context.shape(x)[3]];
                    let ones = context.constant(1.0, [1, 1, height, width])?;
                    let counts = context.pool(Window::Sum, ones, None, Pooling::ADAPTIVE, size)?;
                    context.divide(sum, counts)?
                }
            }
        };
        placed.reshaped(context, y)
    }
}

impl Kind for GlobalPool {
    name!(kind: PoolKind::Max => "global_max_pool", PoolKind::Average => "global_avg_pool");
    flops!(1);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        if input.len() < 2 {
            return Err(misfit!("expects [channels, height, width], got {input}"; "put it before \"flatten\""));
        }
        Ok(std::iter::once(input[0]).chain(input[1..].iter().map(|_| 1)).collect())
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let axes: Vec<usize> = (2..context.shape(x).len()).collect();
        let y = match self.kind {
            PoolKind::Max => context.max(x, &axes)?,
            PoolKind::Average => context.mean(x, &axes)?,
        };
        placed.reshaped(context, y)
    }
}

impl Kind for Upsample {
    name! {
        interpolation: Interpolation::Nearest => "upsample_nearest", Interpolation::Linear => "upsample_linear",
        Interpolation::Bilinear => "upsample_bilinear"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        let sides = match self.interpolation {
            Interpolation::Nearest | Interpolation::Bilinear => &mut self.scale[..],
            Interpolation::Linear => &mut self.scale[1..],
        };
        vec![Key::needed("scale", Setting::Sides(sides))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [down, across] = self.scale;
        let times = |size: usize, scale: usize| {
            let larger = size.checked_mul(scale);
            larger.ok_or_else(|| misfit!("scale {scale} is too large for {size}"; "use less"))
        };
        let of_sequence = match self.interpolation {
            Interpolation::Nearest => input.len() == 2,
            Interpolation::Linear => true,
            Interpolation::Bilinear => false,
        };
        if of_sequence {
            let [length] = spatial(input)?;
            positive("scale", &[across])?;
            if self.interpolation == Interpolation::Nearest && down != across {
                let problem = format!("a sequence {input} has one axis to enlarge, got scale [{down}, {across}]");
                return Err(misfit!("{problem}"; "use one number"));
            }
            return Ok([input[0], times(length, across)?].into());
        }
        let [height, width] = spatial(input)?;
        positive("scale", &self.scale)?;
        Ok([input[0], times(height, down)?, times(width, across)?].into())
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        match self.interpolation {
            Interpolation::Nearest => 0,
            Interpolation::Linear => product(output).saturating_mul(4),
            Interpolation::Bilinear => product(output).saturating_mul(8),
        }
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let x = as_image(context, x)?;
        let scale = if placed.input.len() == 2 { [1, self.scale[1]] } else { self.scale };
        let y = match self.interpolation {
            Interpolation::Nearest => context.repeat_pixels(x, scale)?,
            Interpolation::Linear | Interpolation::Bilinear => context.linear_resize(x, scale)?,
        };
        placed.reshaped(context, y)
    }
}

impl Kind for PixelShuffle {
    name!(PixelShuffle::Shuffle(_) => "pixel_shuffle", PixelShuffle::Unshuffle(_) => "pixel_unshuffle");

    fn keys(&mut self) -> Vec<Key<'_>> {
        let (PixelShuffle::Shuffle(factor) | PixelShuffle::Unshuffle(factor)) = self;
        vec![Key::needed("factor", Setting::Whole(factor))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [height, width] = spatial(input)?;
        let (PixelShuffle::Shuffle(factor) | PixelShuffle::Unshuffle(factor)) = *self;
        positive("factor", &[factor])?;
        let too_large = || misfit!("factor {factor} is too large"; "use 2, say");
        let square = factor.checked_mul(factor).ok_or_else(too_large)?;
        let times = |size: usize, factor: usize| size.checked_mul(factor).ok_or_else(too_large);
        match self {
            PixelShuffle::Shuffle(_) if !input[0].is_multiple_of(square) => {
                Err(misfit!("expects a multiple of {square} channels, got {input}"; "change the channels before it"))
            }
            PixelShuffle::Shuffle(_) => Ok([input[0] / square, times(height, factor)?, times(width, factor)?].into()),
            PixelShuffle::Unshuffle(_) if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) => {
                Err(misfit!("expects a height and width that {factor} divides, got {input}"; "use another factor"))
            }
            PixelShuffle::Unshuffle(_) => Ok([times(input[0], square)?, height / factor, width / factor].into()),
        }
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let n = context.shape(x)[0];
        let (small, large, f) = match *self {
            PixelShuffle::Shuffle(factor) => (&placed.input, &placed.output, factor),
            PixelShuffle::Unshuffle(factor) => (&placed.output, &placed.input, factor),
        };
        // The factor² small pictures of a channel are the pixels of the large picture's tiles.
        let (c, h, w) = (large[0], small[1], small[2]);
        let (tiles, order) = match self {
            PixelShuffle::Shuffle(_) => ([n, c, f, f, h, w], [0, 1, 4, 2, 5, 3]),
            PixelShuffle::Unshuffle(_) => ([n, c, h, f, w, f], [0, 1, 3, 5, 2, 4]),
        };
        let y = context.reshape(x, tiles)?;
        let y = context.permute(y, &order)?;
        placed.reshaped(context, y)
    }
}
