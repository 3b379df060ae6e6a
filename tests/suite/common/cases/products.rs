//! Matrix products and the convolution trio: every size next to a tile's, every transpose, every way to stride and pad.

use super::Table;
use pinhole::graph::Window;
use pinhole::shape::{conv_output, dilated};

pub(super) fn matmul(table: &mut Table) {
    let sizes = [
        [1, 1, 1],
        [1, 5, 3],
        [3, 1, 4],
        [2, 3, 1],
        [4, 4, 4],
        [5, 5, 5],
        [3, 4, 5],
        [8, 7, 9],
        [16, 16, 16],
        [15, 17, 16],
        [17, 15, 3],
        [64, 64, 64],
        [63, 65, 64],
        [65, 63, 5],
        [1, 65, 64],
        [65, 1, 17],
        [66, 130, 33],
        [129, 100, 70],
    ];
    for [m, n, k] in sizes {
        product(table, &[], &[], [m, n, k], false, false);
    }
    for [m, n, k] in [[1, 5, 3], [5, 5, 5], [8, 7, 9], [17, 15, 3], [63, 65, 64]] {
        for (a, b) in [(true, false), (false, true), (true, true)] {
            product(table, &[], &[], [m, n, k], a, b);
        }
    }
    let batches: [(&[usize], &[usize]); 6] =
        [(&[3], &[3]), (&[3], &[]), (&[], &[3]), (&[2, 3], &[2, 3]), (&[2, 3], &[]), (&[1], &[1])];
    for (left, right) in batches {
        for (a, b) in [(false, false), (true, false), (false, true), (true, true)] {
            product(table, left, right, [5, 6, 7], a, b);
        }
    }
    product(table, &[40], &[40], [9, 3, 17], false, true);
    for size in [[1, 1, 5000], [7, 5, 3000]] {
        product(table, &[], &[], size, false, false);
        product(table, &[], &[], size, true, true);
    }
}

fn product(table: &mut Table, left: &[usize], right: &[usize], [m, n, k]: [usize; 3], ta: bool, tb: bool) {
    let shape = |batch: &[usize], [rows, columns]: [usize; 2], transposed: bool| -> Vec<usize> {
        let matrix = if transposed { [columns, rows] } else { [rows, columns] };
        batch.iter().copied().chain(matrix).collect()
    };
    let (lhs, rhs) = (shape(left, [m, k], ta), shape(right, [k, n], tb));
    let mark = |transposed: bool| if transposed { " transposed" } else { "" };
    let case = table.case(format!("matmul {lhs:?}{} x {rhs:?}{}", mark(ta), mark(tb)), |b| {
        let (x, y) = (b.x(lhs)?, b.x(rhs)?);
        b.matmul(x, y, ta, tb)
    });
    case.long_sum(k > 1000);
}

/// A convolution by the letters of `shaders/conv2d.wgsl`.
#[derive(Clone, Copy)]
struct Conv {
    n: usize,
    c: usize,
    o: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    window: Window,
}

fn square(n: usize, c: usize, o: usize, size: usize, kernel: usize, stride: usize, padding: usize) -> Conv {
    Conv { n, c, o, input: [size; 2], kernel: [kernel; 2], window: Window::square(stride, padding) }
}

pub(super) fn conv(table: &mut Table) {
    let odd = |n, c, o, input, kernel, stride, padding| Conv {
        n,
        c,
        o,
        input,
        kernel,
        window: Window { stride, padding, ..Window::default() },
    };
    let convs = [
        // Kernels of 1 to 5, strides of 1 to 3, sizes that the stride divides and that it does not.
        square(2, 3, 4, 5, 1, 1, 0),
        square(2, 5, 3, 6, 1, 2, 0),
        square(3, 1, 2, 7, 1, 3, 0),
        square(2, 2, 5, 6, 2, 1, 0),
        square(1, 3, 4, 6, 2, 2, 0),
        square(2, 3, 4, 5, 2, 1, 1),
        square(2, 2, 3, 8, 2, 3, 0),
        square(3, 4, 5, 6, 3, 1, 1),
        square(2, 1, 16, 14, 3, 2, 1),
        square(5, 3, 6, 9, 3, 2, 1),
        square(2, 3, 4, 10, 3, 3, 0),
        square(2, 3, 2, 11, 3, 3, 1),
        square(2, 3, 4, 8, 4, 2, 1),
        square(1, 2, 3, 9, 4, 3, 2),
        square(2, 3, 5, 7, 5, 1, 2),
        square(2, 2, 3, 9, 5, 3, 2),
        square(1, 2, 4, 10, 5, 2, 2),
        // Rows and columns at the end that no window reads.
        square(2, 2, 3, 8, 3, 3, 0),
        square(1, 1, 1, 10, 2, 3, 0),
        // More padding than a window needs: some see nothing else.
        square(2, 2, 3, 4, 3, 1, 4),
        square(2, 3, 2, 5, 1, 1, 2),
        square(1, 2, 2, 3, 2, 2, 3),
        // One pixel.
        square(3, 4, 5, 1, 1, 1, 0),
        square(2, 3, 2, 1, 3, 1, 1),
        square(1, 1, 1, 1, 5, 2, 2),
        // One channel, five channels, tiles and one more, batches of one and seven.
        square(1, 1, 1, 3, 3, 1, 0),
        square(7, 5, 1, 5, 3, 2, 1),
        square(7, 1, 5, 5, 3, 2, 1),
        square(1, 16, 32, 7, 3, 2, 1),
        square(2, 17, 9, 5, 3, 1, 1),
        // Different in the two directions.
        odd(2, 3, 4, [7, 9], [3, 5], [2, 1], [1, 2]),
        odd(2, 2, 3, [9, 6], [1, 5], [3, 2], [0, 2]),
        odd(1, 3, 2, [4, 11], [4, 1], [1, 3], [3, 0]),
        odd(3, 2, 2, [1, 12], [1, 3], [1, 2], [0, 1]),
        odd(2, 2, 3, [13, 2], [5, 2], [2, 3], [0, 1]),
    ];
    for conv in convs {
        trio(table, conv);
    }
    // As in the model of 28x28 digits: sums over 32 images of 196 positions.
    trio(table, square(32, 1, 16, 28, 3, 2, 1));

    // Transposed convolutions as models say them: input, kernel, stride, padding, output padding.
    for (input, kernel, stride, padding, extra) in
        [(5, 3, 2, 1, 1), (4, 2, 2, 0, 0), (4, 4, 2, 1, 0), (3, 3, 3, 0, 2), (4, 5, 2, 1, 1), (1, 7, 1, 0, 0)]
    {
        let name = format!(
            "transposed conv 5 to 3 channels, {input}, kernel {kernel}, stride {stride}, padding {padding}+{extra}"
        );
        table.case(name, |b| {
            let size = pinhole::shape::conv_transpose_output(input, kernel, stride, padding, extra).unwrap_or(0);
            let (x, w) = (b.x([2, 5, input, input])?, b.weight([5, 3, kernel, kernel])?);
            b.conv2d_grad_input(x, w, Window::square(stride, padding), [size, size])
        });
    }
}

/// Kernels with gaps, and channels in groups.
pub(super) fn grouped(table: &mut Table) {
    let odd = |n, c, o, input, kernel, stride, padding| {
        let window = Window { stride, padding, ..Window::default() };
        Conv { n, c, o, input, kernel, window }
    };
    // Dilated: by what divides the stride and what does not, so that some phases meet no tap, further than the image.
    let dilated = |conv: Conv, dilation| Conv { window: Window { dilation, ..conv.window }, ..conv };
    for conv in [
        dilated(square(2, 3, 4, 7, 3, 1, 0), [2, 2]),
        dilated(square(2, 4, 3, 9, 3, 2, 2), [2, 2]),
        dilated(square(1, 2, 3, 11, 2, 3, 1), [2, 2]),
        dilated(square(1, 2, 2, 13, 3, 4, 2), [6, 2]),
        dilated(square(1, 2, 2, 12, 2, 6, 1), [4, 9]),
        dilated(square(2, 1, 1, 3, 2, 2, 4), [5, 4]),
    ] {
        trio(table, conv);
    }
    // In groups: of one channel in and out (depthwise), of several, of fours, and dilated as well.
    let grouped = |conv: Conv, groups| Conv { window: Window { groups, ..conv.window }, ..conv };
    for conv in [
        grouped(square(2, 3, 3, 5, 3, 1, 1), 3),
        grouped(square(2, 5, 10, 6, 3, 2, 1), 5),
        grouped(square(2, 8, 12, 6, 3, 2, 1), 2),
        grouped(square(3, 16, 8, 5, 1, 1, 0), 2),
        grouped(square(2, 70, 70, 4, 3, 1, 1), 70),
        grouped(dilated(square(2, 8, 8, 9, 3, 2, 2), [2, 3]), 2),
        grouped(odd(2, 4, 6, [1, 12], [1, 3], [1, 2], [0, 1]), 2),
    ] {
        trio(table, conv);
    }
}

/// The convolution and its two derivatives, which are cases of their own.
fn trio(table: &mut Table, conv: Conv) {
    let Conv { n, c, o, input: [h, w], kernel: [r, s], window } = conv;
    let Window { stride, padding, dilation, groups } = window;
    let size = |axis: usize| {
        let covered = dilated([r, s][axis], dilation[axis]);
        conv_output([h, w][axis], covered, stride[axis], padding[axis]).unwrap_or(0)
    };
    let (p, q) = (size(0), size(1));
    let long = n * p * q > 2000;
    let mut text = format!("n{n} c{c} o{o} {h}x{w} kernel {r}x{s} stride {stride:?} padding {padding:?}");
    if dilation != [1; 2] {
        text += &format!(" dilation {dilation:?}");
    }
    if groups != 1 {
        text += &format!(" groups {groups}");
    }
    let forward = table.case(format!("conv2d {text}"), |b| {
        let (x, weight) = (b.x([n, c, h, w])?, b.x([o, c / groups, r, s])?);
        b.conv2d(x, weight, window)
    });
    forward.long_sum(long);
    let grad_input = table.case(format!("conv2d_grad_input {text}"), |b| {
        let (upstream, weight) = (b.x([n, o, p, q])?, b.x([o, c / groups, r, s])?);
        b.conv2d_grad_input(upstream, weight, window, [h, w])
    });
    grad_input.long_sum(long);
    let grad_weight = table.case(format!("conv2d_grad_weight {text}"), |b| {
        let (x, upstream) = (b.x([n, c, h, w])?, b.x([n, o, p, q])?);
        b.conv2d_grad_weight(x, upstream, window, [r, s])
    });
    grad_weight.long_sum(long);
}
