//! The sizes of matrix products and convolutions, as the constants of their kernels.

use super::cost::{Cut, Work, reuse};
use super::kernels::{Kernel, TILE_CONSTANTS};
use super::target::Target;
use super::tile::{Family, Product, Tile};
use crate::graph::Window;
use crate::shape::Shape;

/// Axis along which an operand has four neighbours in memory: none, the depth, or the lines (columns).
const APART: u32 = 0;
const ALONG_DEPTH: u32 = 1;
const ALONG_LINES: u32 = 2;
/// Axis along which the result has four neighbours in memory.
const RESULT_ALONG_LINES: u32 = 1;
const RESULT_ALONG_COLUMNS: u32 = 2;

/// Least length of the parts into which a sum is split for more workgroups.
const SHORTEST_SPLIT: usize = 64;
/// Length above which a sum is split to bound its rounding error.
const LONGEST_SPLIT: usize = 2048;
/// Invocations of a workgroup of most tiles.
const COMMON_WORKGROUP: u32 = 64;
/// Least number of workgroups that keeps the two threads of a software adapter busy, which take turns.
const SOFTWARE_GROUPS: usize = 16;

/// The sizes of a product: in each panel, `result[line, column] = sum over the depth of left[line] right[column]`.
pub(super) struct ProductSizes {
    /// The constants of the kernel's file, without those of `shaders/tile.wgsl`.
    constants: Vec<u32>,
    panels: usize,
    lines: usize,
    columns: usize,
    depth: usize,
    packs: [u32; 3],
    reuse: u64,
    /// Floating-point operations.
    pub operations: usize,
}

/// The sizes of one group of a convolution, its phases and its taps.
struct Convolution {
    n: usize,
    c: usize,
    o: usize,
    r: usize,
    s: usize,
    phase: [usize; 2],
    taps: [usize; 2],
}

/// With g the greatest common divisor of stride and dilation: the step `stride / g` between those elements of the
/// kernel that meet the input's positions of one phase of the stride, and the inverse of `dilation / g` modulo this
/// step, which gives the first of these elements.
fn tap(stride: usize, dilation: usize) -> [usize; 2] {
    let mut divisor = (stride, dilation);
    while divisor.1 > 0 {
        divisor = (divisor.1, divisor.0 % divisor.1);
    }
    let (step, dilation) = (stride / divisor.0, dilation / divisor.0);
    [step, (0..step).find(|inverse| inverse * (dilation % step) % step == 1 % step).unwrap_or(0)]
}

fn pack(fits: bool, how: u32) -> u32 {
    if fits { how } else { APART }
}

/// The axis along which a strided matrix is loaded: its stride is `step` along the depth, `line` along the lines.
fn matrix_pack([line, step, batch]: [usize; 3], [lines, depth]: [usize; 2]) -> u32 {
    match (line, step) {
        (line, 1) if [line, batch, depth].iter().all(|size| size.is_multiple_of(4)) => ALONG_DEPTH,
        (1, step) if [step, batch, lines].iter().all(|size| size.is_multiple_of(4)) => ALONG_LINES,
        _ => APART,
    }
}

impl ProductSizes {
    /// A batched matrix product.
    pub fn matmul(lhs: &Shape, rhs: &Shape, transpose_lhs: bool, transpose_rhs: bool) -> ProductSizes {
        let (rows, columns) = (lhs[lhs.len() - 2], lhs[lhs.len() - 1]);
        let (m, k, lhs_m, lhs_k) =
            if transpose_lhs { (columns, rows, 1, columns) } else { (rows, columns, columns, 1) };
        let (rhs_rows, rhs_columns) = (rhs[rhs.len() - 2], rhs[rhs.len() - 1]);
        let (n, rhs_k, rhs_n) = if transpose_rhs { (rhs_rows, 1, rhs_columns) } else { (rhs_columns, rhs_columns, 1) };
        let batch_of = |shape: &Shape| shape[..shape.len() - 2].iter().product::<usize>();
        let batch = batch_of(lhs).max(batch_of(rhs));
        let lhs_batch = if lhs.len() > 2 { m * k } else { 0 };
        let rhs_batch = if rhs.len() > 2 { k * n } else { 0 };
        let constants = [lhs_batch, lhs_m, lhs_k, rhs_batch, rhs_n, rhs_k, m, n];
        ProductSizes {
            constants: constants.map(|size| size as u32).to_vec(),
            panels: batch,
            lines: m,
            columns: n,
            depth: k,
            packs: [
                matrix_pack([lhs_m, lhs_k, lhs_batch], [m, k]),
                matrix_pack([rhs_n, rhs_k, rhs_batch], [n, k]),
                pack(n.is_multiple_of(4), RESULT_ALONG_COLUMNS),
            ],
            reuse: 1,
            operations: 2 * batch * m * n * k,
        }
    }

    /// The sizes that a convolution and its two gradients share, from shapes with channels last: x `[n, h, w, c]`,
    /// weight `[o, r, s, c]`, y `[n, p, q, o]`, where the weight's c is that of a group. A group is a panel.
    fn convolution(window: Window, x: &Shape, weight: &Shape, y: &Shape) -> (ProductSizes, Convolution) {
        let Window { stride, padding, dilation, groups } = window;
        let (n, h, w, c) = (x[0], x[1], x[2], x[3]);
        let (o, r, s) = (weight[0], weight[1], weight[2]);
        let (p, q) = (y[1], y[2]);
        let phase = [h.div_ceil(stride[0]), w.div_ceil(stride[1])];
        let steps = [0, 1].map(|axis| tap(stride[axis], dilation[axis]));
        let (taps, inverse) = (steps.map(|step| step[0]), steps.map(|step| step[1]));
        let sizes = [n, c, h, w, o, p, q, r, s].into_iter().chain(stride).chain(padding).chain(dilation);
        let sizes = sizes.chain([groups]).chain(phase).chain(taps).chain(inverse);
        let (c, o) = (c / groups, o / groups);
        let sizes = ProductSizes {
            constants: sizes.map(|size| size as u32).collect(),
            panels: groups,
            lines: o,
            columns: n * p * q,
            depth: r * s * c,
            packs: [APART; 3],
            reuse: reuse([r, s].map(|size| size as u64), stride.map(|step| step as u64)),
            operations: 2 * groups * n * o * p * q * c * r * s,
        };
        (sizes, Convolution { n, c, o, r, s, phase, taps })
    }

    /// A convolution, y from x and weight: y's channels are the lines, y's positions the columns.
    pub fn forward(window: Window, x: &Shape, weight: &Shape, y: &Shape) -> ProductSizes {
        let (sizes, Convolution { c, o, r, s, .. }) = ProductSizes::convolution(window, x, weight, y);
        let packs = [
            pack((c * r * s).is_multiple_of(4), ALONG_DEPTH),
            pack(c.is_multiple_of(4), ALONG_DEPTH),
            pack(o.is_multiple_of(4), RESULT_ALONG_LINES),
        ];
        ProductSizes { packs, ..sizes }
    }

    /// The gradient of x from that of y and the weight: a panel for each phase of the stride, since positions of one
    /// phase meet equal taps.
    pub fn grad_input(window: Window, x: &Shape, weight: &Shape, y: &Shape) -> ProductSizes {
        let (sizes, Convolution { n, c, o, r, s, phase, taps }) = ProductSizes::convolution(window, x, weight, y);
        let packs = [
            pack(c.is_multiple_of(4), ALONG_LINES),
            pack(o.is_multiple_of(4), ALONG_DEPTH),
            pack(c.is_multiple_of(4), RESULT_ALONG_LINES),
        ];
        ProductSizes {
            packs,
            panels: sizes.panels * window.stride[0] * window.stride[1],
            lines: c,
            columns: n * phase[0] * phase[1],
            depth: r.div_ceil(taps[0]) * s.div_ceil(taps[1]) * o,
            ..sizes
        }
    }

    /// The weight's gradient from x and y's gradient: lines are out-channels, columns are taps, the depth is positions.
    pub fn grad_weight(window: Window, x: &Shape, weight: &Shape, y: &Shape) -> ProductSizes {
        let (sizes, Convolution { c, o, r, s, .. }) = ProductSizes::convolution(window, x, weight, y);
        let packs = [
            pack(o.is_multiple_of(4), ALONG_LINES),
            pack(c.is_multiple_of(4), ALONG_LINES),
            pack((c * r * s).is_multiple_of(4), RESULT_ALONG_COLUMNS),
        ];
        let (columns, depth) = (r * s * c, sizes.columns);
        ProductSizes { packs, columns, depth, ..sizes }
    }

    /// The product by which a tile is chosen. `half`: whether an operand has 16 bits.
    pub fn product(&self, kernel: Kernel, half: bool) -> Product {
        product_of(kernel, &self.constants(&Tile::registers(4, 4), (1, self.depth), 0, false), half)
    }

    /// The tile of a product, the number of parts into which its depth is split, and the length of a part. `allowed`: whether
    /// it may be split. A tile that is forced or was measured is taken; else a software adapter follows its rules, and any other
    /// device gets what is estimated to be fastest.
    pub fn tiling(&self, target: &Target, kernel: Kernel, half: bool, allowed: bool) -> (Tile, (usize, usize)) {
        if let Some(tile) = target.given(&self.product(kernel, half)) {
            return (tile, self.splits(target, &tile, half, allowed));
        }
        if target.software {
            let tile = target.software_tile(self.lines as u32);
            return (tile, self.splits(target, &tile, half, allowed));
        }
        let choices = Tile::family(target).into_iter().filter(|tile| target.holds(tile)).map(|tile| {
            let splits = self.splits(target, &tile, half, allowed);
            (self.seconds(target, &tile, splits, half), tile, splits)
        });
        let best = choices.min_by(|one, other| one.0.total_cmp(&other.0));
        let (_, tile, splits) = best.unwrap_or((0.0, Tile::registers(4, 4), (1, self.depth.next_multiple_of(4))));
        (tile, splits)
    }

    /// The estimated seconds of a launch.
    fn seconds(&self, target: &Target, tile: &Tile, (splits, length): (usize, usize), half: bool) -> f64 {
        let [panels, lines, columns] = [self.panels, self.lines, self.columns].map(|size| size as u64);
        let element = if half { 2 } else { 4 };
        let cut =
            Cut { panels, lines, columns, splits: splits as u64, length: length as u64, element, reuse: self.reuse };
        let alone = Work::seconds(&[cut.work(tile, &target.hardware)], &target.hardware).0;
        // Products share a dispatch where their workgroups are of one size.
        let apart = if tile.workgroup == COMMON_WORKGROUP { 0.0 } else { target.hardware.launch * 1e-6 };
        alone + apart
    }

    /// The number of parts into which the depth is split, and the length of a part. No sum grows too long for its rounding; and a software
    /// adapter's two threads get 16 workgroups in which they take turns, any other device the number of parts that is
    /// estimated to be fastest.
    fn splits(&self, target: &Target, tile: &Tile, half: bool, allowed: bool) -> (usize, usize) {
        let unit = tile.depth.max(4) as usize;
        let cut = |parts: usize| {
            let length = self.depth.div_ceil(parts).next_multiple_of(unit);
            (self.depth.div_ceil(length), length)
        };
        if let Some(forced) = target.splits.filter(|_| allowed) {
            return cut(forced.clamp(1, self.depth.div_ceil(unit)));
        }
        let (least, most) = (self.depth / LONGEST_SPLIT, (self.depth / SHORTEST_SPLIT).max(1));
        match (allowed, target.software) {
            (false, _) => cut(1),
            (true, true) => {
                let along = |size: usize, tile: u32| size.div_ceil(tile as usize);
                let tiles = self.panels * along(self.lines, tile.lines) * along(self.columns, tile.columns);
                let each = if tile.family == Family::Registers { tile.workgroup as usize } else { 1 };
                cut((SOFTWARE_GROUPS / tiles.div_ceil(each)).max(least).clamp(1, most))
            }
            (true, false) => {
                let parts =
                    (0..usize::BITS).map(|power| 1_usize << power).take_while(|parts| *parts <= most.max(least));
                let timed = parts.filter(|parts| *parts >= least).map(|parts| {
                    let splits = cut(parts);
                    (self.seconds(target, tile, splits, half), splits)
                });
                timed.min_by(|one, other| one.0.total_cmp(&other.0)).map_or_else(|| cut(1), |(_, splits)| splits)
            }
        }
    }

    /// All constants of a step. `totals`: whether the invocations of a workgroup join their totals.
    pub fn constants(&self, tile: &Tile, (splits, length): (usize, usize), stride: usize, totals: bool) -> Vec<u32> {
        let sizes = [self.panels, self.lines, self.columns, self.depth, splits, length, stride];
        let sizes = sizes.iter().map(|size| *size as u32);
        let shared = sizes.chain(self.packs).chain([if totals { tile.workgroup } else { 1 }]).chain(tile.constants());
        self.constants.iter().copied().chain(shared).collect()
    }
}

/// The product that a launch of a tiled kernel with these constants computes. Its sizes are all constants except those
/// that the tile and its splits decide.
pub(super) fn product_of(kernel: Kernel, constants: &[u32], half: bool) -> Product {
    let (own, shared) = constants.split_at(kernel.row().constants.len());
    let named = |name: &str| TILE_CONSTANTS.iter().position(|known| *known == name).map_or(0, |place| shared[place]);
    let of_product = ["PANELS", "LINES", "COLUMNS", "DEPTH", "LEFT_PACK", "RIGHT_PACK", "RESULT_PACK"];
    let sizes = own.iter().copied().chain(of_product.map(named)).collect();
    let name = kernel.name();
    let kernel = if half { format!("{name} f16") } else { name };
    Product { kernel, sizes, lines: named("LINES"), columns: named("COLUMNS") }
}
