//! Shapes and the arithmetic of convolution sizes: pure functions that every part of the crate uses.

use std::fmt;

/// The sizes of a value's dimensions, outermost first; row-major. `[]` is a scalar.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The number of elements; 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of elements of a shape that nobody has checked; `None` if it overflows.
    pub(crate) fn checked_elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1, |product: usize, size| product.checked_mul(*size))
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.0.len()];
        for axis in (1..self.0.len()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis];
        }
        strides
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<T: Into<Vec<usize>>> From<T> for Shape {
    fn from(sizes: T) -> Shape {
        Shape(sizes.into())
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Shape {
        Shape(sizes.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Extent of a dilated kernel along one axis: `(kernel - 1) dilation + 1`, or 0 if the kernel or the dilation is 0.
pub fn dilated(kernel: usize, dilation: usize) -> usize {
    if kernel == 0 || dilation == 0 { 0 } else { (kernel - 1).saturating_mul(dilation).saturating_add(1) }
}

/// Output size of a convolution along one axis, with the extent of the kernel as `kernel`: `(input + 2 padding -
/// kernel) / stride + 1`, or `None` if the kernel is larger than the padded input or a size is zero.
pub fn conv_output(input: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    if input == 0 || kernel == 0 || stride == 0 {
        return None;
    }
    Some((input.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?) / stride + 1)
}

/// Output size of a pooling along one axis, with the extent of a window as `kernel`: that of a convolution, rounded up
/// with `ceil` (PyTorch's `ceil_mode`). With `ceil` the last window may extend beyond the padded input, but starts
/// before the padding at the end, and a window may be larger than the padded input; otherwise `None` as for
/// [`conv_output`].
pub fn pool_output(input: usize, kernel: usize, stride: usize, padding: usize, ceil: bool) -> Option<usize> {
    if !ceil || input == 0 || kernel == 0 || stride == 0 {
        return conv_output(input, kernel, stride, padding);
    }
    let last = input.checked_add(padding.checked_mul(2)?)?.checked_add(stride - 1)?.checked_sub(kernel)? / stride;
    let begins_inside = last.checked_mul(stride)? < input + padding;
    Some(if begins_inside { last + 1 } else { last })
}

/// Output size of a transposed convolution along one axis, with the extent of the kernel as `kernel`: `(input - 1)
/// stride - 2 padding + kernel + output_padding`, or `None` if that is not positive.
pub fn conv_transpose_output(
    input: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    output_padding: usize,
) -> Option<usize> {
    if input == 0 || kernel == 0 || stride == 0 {
        return None;
    }
    let whole = (input - 1).checked_mul(stride)?.checked_add(kernel)?.checked_add(output_padding)?;
    whole.checked_sub(padding.checked_mul(2)?).filter(|size| *size > 0)
}

/// The axis of channels or features of a sample with this number of axes.
pub(crate) fn channel_axis(axes: usize) -> usize {
    usize::from(axes == 2)
}
