//! The sizes of a convolution.

/// The constants of the kernel, in the order of the table of kernels.
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
    /// The number of elements from the weight's gradient of one split to that of the next.
    pub stride_of_splits: usize,
}
