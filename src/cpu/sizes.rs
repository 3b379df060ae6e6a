//! The sizes of a convolution, for its twins.

/// The constants of the kernel, in the table's order.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub o: usize,
    pub p: usize,
    pub q: usize,
    pub r: usize,
    pub s: usize,
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    pub splits: usize,
    /// How far apart the splits' gradients of the weight lie.
    pub stride_of_splits: usize,
}
