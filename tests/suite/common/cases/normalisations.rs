//! Softmax and normalisations, whose derivatives have closed forms, along last, first and inner axes.

use super::{Builder, Table};
use pinhole::Result;
use pinhole::graph::{Unary, Value, Window};

pub(super) fn normalisations(table: &mut Table) {
    // Rows of one element, of fewer and of more than a workgroup, and reductions that are no rows.
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[9, 21], &[1]),
        (&[1, 7], &[1]),
        (&[5, 1], &[1]),
        (&[3, 130], &[1]),
        (&[4, 3, 5], &[1, 2]),
        (&[9, 6], &[0]),
        (&[2, 5, 7], &[1]),
        (&[3, 4, 5, 5], &[1]),
        (&[3, 4, 5, 5], &[0, 2, 3]),
    ];
    for (shape, axes) in shapes {
        let name = |what: &str| format!("{what} of {shape:?} along {axes:?}");
        table.case(name("softmax"), |b| {
            let x = b.x(shape)?;
            b.softmax(x, axes)
        });
        table.case(name("log_softmax"), |b| {
            let x = b.x(shape)?;
            b.log_softmax(x, axes)
        });
        table.case(name("standardise"), |b| {
            let x = b.x(shape)?;
            Ok(b.standardise(x, axes, 1e-2)?.output)
        });
    }
    let large = table.case("softmax of large numbers", |b| {
        let x = b.input([6, 9], super::Fill::Apart(80.0, 120.0))?;
        b.softmax(x, &[1])
    });
    // The steps of finite differences are too large for it.
    large.derivatives(super::Derivatives::Compared);
    let detached = table.case("a detached factor, and the mean and variance of a normalisation", |b| {
        let x = b.x([6, 8])?;
        let parts = b.standardise(x, &[0], 1e-2)?;
        let sum = b.add(parts.mean, parts.variance)?;
        let factor = b.detach(x);
        let y = b.multiply(parts.output, factor)?;
        b.add(y, sum)
    });
    // A finite difference sees through what is detached.
    detached.derivatives(super::Derivatives::Compared);
    table.case("layer normalisation between two products", |b| {
        let (x, first, second) = (b.x([7, 12])?, b.weight([10, 12])?, b.weight([5, 10])?);
        let y = b.matmul(x, first, false, true)?;
        let y = affine(b, y, &[1], [10])?;
        let y = b.unary(Unary::Tanh, y)?;
        b.matmul(y, second, false, true)
    });
    table.case("batch normalisation after a convolution", |b| {
        let (x, weight) = (b.x([3, 2, 5, 5])?, b.weight([4, 2, 3, 3])?);
        let y = b.conv2d(x, weight, Window::square(2, 1))?;
        let y = affine(b, y, &[0, 2, 3], [4, 1, 1])?;
        b.unary(Unary::Softplus, y)
    });
    table.case("attention: softmax of a product between two products", |b| {
        let (queries, keys, values) = (b.x([2, 3, 5, 4])?, b.x([2, 3, 6, 4])?, b.x([2, 3, 6, 4])?);
        let scores = b.matmul(queries, keys, false, true)?;
        let scores = b.scale(scores, 0.5)?;
        let weights = b.softmax(scores, &[3])?;
        b.matmul(weights, values, false, false)
    });
}

fn affine<const N: usize>(b: &mut Builder, x: Value, axes: &[usize], shape: [usize; N]) -> Result<Value> {
    let y = b.standardise(x, axes, 1e-2)?.output;
    let (weight, bias) = (b.weight(shape)?, b.weight(shape)?);
    let y = b.multiply(y, weight)?;
    b.add(y, bias)
}
