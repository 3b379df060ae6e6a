//! Losses and small models as users write them, gradients inside graphs, and random draws.

use super::{Builder, Derivatives, Fill, Table};
use pinhole::Result;
use pinhole::graph::{Binary, Unary, Value, Window};
use pinhole::nn::loss;

pub(super) fn compositions(table: &mut Table) {
    table.case("MSE of [16, 50]", |b| {
        let (x, target) = (b.x([16, 50])?, b.x([16, 50])?);
        let difference = b.subtract(x, target)?;
        let square = b.unary(Unary::Square, difference)?;
        b.mean_all(square)
    });
    table.case("MAE of [16, 50]", |b| {
        let (x, target) = (b.input([16, 50], Fill::Quarters(0.0))?, b.input([16, 50], Fill::Quarters(0.125))?);
        let difference = b.subtract(x, target)?;
        let size = b.unary(Unary::Absolute, difference)?;
        b.mean_all(size)
    });
    table.case("BCE from the logits of [16, 50]", |b| {
        let (x, target) = (b.input([16, 50], Fill::Apart(0.1, 5.0))?, b.input([16, 50], Fill::Between(0.0, 1.0))?);
        let loss = b.binary(Binary::BceWithLogits, x, target)?;
        b.mean_all(loss)
    });
    table.case("MSE for each sample of [7, 3, 4, 4]", |b| {
        let (x, target) = (b.x([7, 3, 4, 4])?, b.x([7, 3, 4, 4])?);
        let difference = b.subtract(x, target)?;
        let square = b.unary(Unary::Square, difference)?;
        b.mean(square, &[1, 2, 3])
    });
    table.case("Kullback-Leibler divergence of a normal code", |b| {
        let (mean, logarithm) = (b.x([9, 4])?, b.x([9, 4])?);
        let square = b.unary(Unary::Square, mean)?;
        let variance = b.unary(Unary::Exp, logarithm)?;
        let sum = b.add(square, variance)?;
        let sum = b.subtract(sum, logarithm)?;
        let sum = b.with_number(Binary::Subtract, sum, 1.0)?;
        let mean = b.mean_all(sum)?;
        b.scale(mean, 0.5)
    });
    losses(table);
    table.case("a dense autoencoder with tanh and MSE", |b| {
        let x = b.x([13, 20])?;
        let code = linear(b, x, 20, 6)?;
        let code = b.unary(Unary::Tanh, code)?;
        let y = linear(b, code, 6, 20)?;
        let difference = b.subtract(y, x)?;
        let square = b.unary(Unary::Square, difference)?;
        b.mean_all(square)
    });
    table.case("a dense autoencoder with SiLU and BCE", |b| {
        let x = b.input([13, 20], Fill::Between(0.0, 1.0))?;
        let hidden = linear(b, x, 20, 9)?;
        let hidden = b.unary(Unary::Silu, hidden)?;
        let logits = linear(b, hidden, 9, 20)?;
        let loss = b.binary(Binary::BceWithLogits, logits, x)?;
        b.mean_all(loss)
    });
    let relu = table.case("a convolutional autoencoder with ReLU and MSE", |b| conv_autoencoder(b, Unary::Relu));
    // Some unit is always close enough to its kink.
    relu.derivatives(Derivatives::Compared);
    table.case("a convolutional autoencoder with softplus and MSE", |b| conv_autoencoder(b, Unary::Softplus));
    table.case("a variational code: mean + e^(log variance / 2) normal", |b| {
        let (state, mean, logarithm) = (b.state_of(3, 1)?, b.x([9, 8])?, b.x([9, 8])?);
        let noise = b.random_normal(state, [9, 8])?;
        let half = b.scale(logarithm, 0.5)?;
        let deviation = b.unary(Unary::Exp, half)?;
        let scaled = b.multiply(deviation, noise)?;
        b.add(mean, scaled)
    });
    table.case("a contractive penalty: the code's squared derivatives", |b| {
        let (x, weight) = (b.x([7, 12])?, b.weight([5, 12])?);
        let code = b.matmul(x, weight, false, true)?;
        let code = b.unary(Unary::Sigmoid, code)?;
        let rest = b.with_number(Binary::Subtract, code, 1.0)?;
        let slope = b.multiply(code, rest)?;
        let slope = b.unary(Unary::Square, slope)?;
        let square = b.unary(Unary::Square, weight)?;
        let norms = b.sum(square, &[1])?;
        let penalty = b.multiply(slope, norms)?;
        let penalty = b.sum(penalty, &[1])?;
        b.mean_all(penalty)
    });
    table.case("a gradient penalty: the squared gradient by the input", |b| {
        let (x, weight, second) = (b.x([4, 2, 6, 6])?, b.weight([3, 2, 3, 3])?, b.weight([27, 4])?);
        let y = b.conv2d(x, weight, Window::square(2, 1))?;
        let y = b.unary(Unary::Tanh, y)?;
        let y = b.reshape(y, [4, 27])?;
        let y = b.matmul(y, second, false, false)?;
        let y = b.unary(Unary::Softplus, y)?;
        let score = b.mean_all(y)?;
        let gradient = b.gradients(score, &[x])?[0];
        let square = b.unary(Unary::Square, gradient)?;
        b.sum(square, &[0, 1, 2, 3])
    });
}

/// The losses that are more than an op or two, at odd sizes and at size 1.
fn losses(table: &mut Table) {
    for delta in [0.5, 10.0] {
        table.case(format!("Huber loss of [5, 7] with delta {delta}"), |b| {
            let (x, target) = (b.input([5, 7], Fill::Between(0.0, 2.0))?, b.input([5, 7], Fill::Between(-2.0, -1.0))?);
            loss::huber(b, x, target, delta)
        });
    }
    for shape in [&[5, 7][..], &[3, 1], &[2, 5, 3, 3]] {
        table.case(format!("cross-entropy of {shape:?}"), |b| {
            let (x, target) = (b.x(shape.to_vec())?, b.input(shape.to_vec(), Fill::Between(0.0, 1.0))?);
            loss::cross_entropy(b, x, target)
        });
        table.case(format!("divergence of gaussians of {shape:?}"), |b| {
            let mut two = || Ok::<_, pinhole::Error>([b.x(shape.to_vec())?, b.x(shape.to_vec())?]);
            let (one, other) = (two()?, two()?);
            loss::kl_gaussians(b, one, other)
        });
    }
    // Between numbers there is no angle but 0 and a half turn.
    for shape in [&[5, 7][..], &[1, 2], &[2, 5, 3, 3]] {
        table.case(format!("cosine loss of {shape:?}"), |b| {
            let (x, target) = (b.x(shape.to_vec())?, b.x(shape.to_vec())?);
            loss::cosine(b, x, target)
        });
    }
    for shape in [&[5, 7][..], &[1, 1], &[2, 3, 3, 2]] {
        let pair = |b: &mut Builder| -> Result<(Value, Value)> {
            Ok((b.x(shape.to_vec())?, b.input(shape.to_vec(), Fill::Between(0.0, 1.0))?))
        };
        table.case(format!("Bernoulli likelihood of {shape:?}"), |b| {
            let (logits, target) = pair(b)?;
            loss::bernoulli(b, logits, target)
        });
        table.case(format!("continuous Bernoulli likelihood of {shape:?}"), |b| {
            let (logits, target) = pair(b)?;
            loss::continuous_bernoulli(b, logits, target)
        });
        table.case(format!("gaussian likelihood of {shape:?}"), |b| {
            let (y, target) = pair(b)?;
            let log_variance = b.x([])?;
            loss::gaussian_likelihood(b, y, target, log_variance)
        });
        table.case(format!("multinomial likelihood of {shape:?}"), |b| {
            let (logits, target) = pair(b)?;
            loss::multinomial(b, logits, target)
        });
    }
    for (rows, size) in [(1, 3), (2, 1), (17, 5)] {
        table.case(format!("discrepancy of codes [{rows}, {size}]"), |b| {
            let (codes, draws) = (b.x([rows, size])?, b.input([rows, size], Fill::Between(3.0, 5.0))?);
            loss::maximum_mean_discrepancy(b, codes, draws, &|graph, distances| {
                let below = graph.with_number(Binary::Add, distances, 2.0)?;
                graph.unary(Unary::Reciprocal, below)
            })
        });
    }
    for shape in [[1, 1, 11, 11], [2, 3, 13, 12]] {
        let case = table.case(format!("structural similarity of {shape:?}"), |b| {
            let (x, target) = (b.input(shape, Fill::Between(0.0, 1.0))?, b.input(shape, Fill::Between(0.0, 1.0))?);
            loss::ssim(b, x, target)
        });
        // Second differences of so many elements by both pictures take too long.
        if shape[0] > 1 {
            case.derivatives(Derivatives::Compared);
        }
    }
}

fn linear(b: &mut Builder, x: Value, inputs: usize, outputs: usize) -> Result<Value> {
    let (weight, bias) = (b.weight([outputs, inputs])?, b.weight([outputs])?);
    let y = b.matmul(x, weight, false, true)?;
    b.add(y, bias)
}

fn conv_autoencoder(b: &mut Builder, activation: Unary) -> Result<Value> {
    let x = b.input([6, 1, 8, 8], Fill::Between(0.0, 1.0))?;
    let window = Window::square(2, 1);
    let (w, bias) = (b.weight([4, 1, 3, 3])?, b.weight([4])?);
    let bias = b.reshape(bias, [4, 1, 1])?;
    let y = b.conv2d(x, w, window)?;
    let y = b.add(y, bias)?;
    let y = b.unary(activation, y)?;
    let y = b.reshape(y, [6, 64])?;
    let code = linear(b, y, 64, 5)?;
    let y = linear(b, code, 5, 64)?;
    let y = b.unary(activation, y)?;
    let y = b.reshape(y, [6, 4, 4, 4])?;
    let (w, bias) = (b.weight([4, 1, 3, 3])?, b.weight([1])?);
    let bias = b.reshape(bias, [1, 1, 1])?;
    let y = b.conv2d_grad_input(y, w, window, [8, 8])?;
    let y = b.add(y, bias)?;
    let y = b.unary(Unary::Sigmoid, y)?;
    let difference = b.subtract(y, x)?;
    let square = b.unary(Unary::Square, difference)?;
    b.mean_all(square)
}

pub(super) fn random(table: &mut Table) {
    for size in [1, 3, 4, 5, 255, 256, 257, 1000] {
        table.case(format!("random_uniform [{size}]"), |b| {
            let state = b.state_of(0x1234_5678_9abc_def0, 42)?;
            b.random_uniform(state, [size])
        });
    }
    table.case("random_normal [33, 65]", |b| {
        let state = b.state_of(7, 0)?;
        b.random_normal(state, [33, 65])
    });
    table.case("random_bernoulli [33, 65]", |b| {
        let state = b.state_of(8, 1)?;
        b.random_bernoulli(state, 0.3, [33, 65])
    });
    table.case("five streams of one state", |b| {
        let state = b.state_of(9, 2)?;
        let mut y = b.random_uniform(state, [77])?;
        for _ in 0..4 {
            let next = b.random_uniform(state, [77])?;
            let doubled = b.scale(next, 2.0)?;
            y = b.subtract(y, doubled)?;
        }
        Ok(y)
    });
    table.case("noise added to an input", |b| {
        let (state, x) = (b.state_of(10, 3)?, b.x([9, 31])?);
        let noise = b.random_normal(state, [9, 31])?;
        let noise = b.scale(noise, 0.3)?;
        b.add(x, noise)
    });
}
