//! Chains longer than a launch can hold, values used twice, and what follows a product inside its own launch.

use super::{Builder, Fill, Table};
use pinhole::Result;
use pinhole::graph::{Binary, Unary, Value, Window};

pub(super) fn fusion(table: &mut Table) {
    chains(table);
    matmul_epilogues(table);
    conv_epilogues(table);
    for inputs in [4, 5, 6, 7, 9] {
        table.case(format!("random_uniform with {inputs} more inputs"), |b| {
            let state = b.state_of(5, 7)?;
            let drawn = b.random_uniform(state, [9, 15])?;
            many_inputs(b, drawn, inputs)
        });
    }
    table.case("a dropout mask on a permuted operand", |b| {
        let (state, x) = (b.state_of(11, 3)?, b.x([8, 30])?);
        let mask = b.random_bernoulli(state, 0.8, [30, 8])?;
        let mask = b.scale(mask, 1.25)?;
        let x = b.permute(x, &[1, 0])?;
        b.multiply(x, mask)
    });
    table.case("two reductions normalise: softmax [9, 21]", |b| {
        let x = b.x([9, 21])?;
        let largest = b.max(x, &[1])?;
        let largest = b.reshape(largest, [9, 1])?;
        let below = b.subtract(x, largest)?;
        let powers = b.unary(Unary::Exp, below)?;
        let total = b.sum(powers, &[1])?;
        let total = b.reshape(total, [9, 1])?;
        b.divide(powers, total)
    });
    table.case("layer norm [6, 35]", |b| {
        let x = b.x([6, 35])?;
        let mean = b.mean(x, &[1])?;
        let mean = b.reshape(mean, [6, 1])?;
        let centred = b.subtract(x, mean)?;
        let squares = b.unary(Unary::Square, centred)?;
        let variance = b.mean(squares, &[1])?;
        let variance = b.reshape(variance, [6, 1])?;
        let variance = b.with_number(Binary::Add, variance, 1e-3)?;
        let deviation = b.unary(Unary::SquareRoot, variance)?;
        b.divide(centred, deviation)
    });
}

fn chains(table: &mut Table) {
    for length in [10, 60] {
        table.case(format!("a chain of {length} ops"), |b| {
            let x = b.x([3, 33])?;
            let mut y = x;
            for index in 0..length {
                y = match index % 5 {
                    0 => b.unary(Unary::Sine, y)?,
                    1 => b.add(y, x)?,
                    2 => b.unary(Unary::Sigmoid, y)?,
                    3 => b.scale(y, 1.5)?,
                    _ => b.unary(Unary::Tanh, y)?,
                };
            }
            Ok(y)
        });
    }
    for inputs in [7, 8, 9, 14, 30] {
        table.case(format!("a sum of {inputs} inputs' products, one by one"), |b| {
            let first = b.x([5, 13])?;
            many_inputs(b, first, inputs - 1)
        });
    }
    table.case("a balanced tree over 16 inputs", |b| {
        let mut layer: Vec<Value> = (0..16).map(|_| b.x([5, 13])).collect::<Result<_>>()?;
        while layer.len() > 1 {
            let mut next = Vec::new();
            for pair in layer.chunks(2) {
                let product = b.multiply(pair[0], pair[1])?;
                next.push(b.unary(Unary::Sine, product)?);
            }
            layer = next;
        }
        Ok(layer[0])
    });
    table.case("ten inputs that broadcast differently", |b| {
        let mut y = b.x([2, 3, 4])?;
        for axis in 0..9 {
            let shape =
                [[2, 1, 1], [1, 3, 1], [1, 1, 4], [2, 3, 1], [1, 3, 4], [2, 1, 4], [1, 1, 1], [2, 3, 4], [1, 3, 1]];
            let other = b.x(shape[axis])?;
            y = if axis % 2 == 0 { b.add(y, other)? } else { b.multiply(y, other)? };
        }
        b.unary(Unary::Tanh, y)
    });
    table.case("a reduction over twelve inputs", |b| {
        let first = b.x([5, 13, 3])?;
        let y = many_inputs(b, first, 11)?;
        b.sum(y, &[1])
    });
    table.case("a diamond: (eˣ + 1) / (eˣ eˣ + 2)", |b| {
        let x = b.x([7, 11])?;
        let power = b.unary(Unary::Exp, x)?;
        let above = b.with_number(Binary::Add, power, 1.0)?;
        let square = b.multiply(power, power)?;
        let below = b.with_number(Binary::Add, square, 2.0)?;
        b.divide(above, below)
    });
    table.case("twelve diamonds on end", |b| {
        let mut y = b.x([4, 17])?;
        for _ in 0..12 {
            let sine = b.unary(Unary::Sine, y)?;
            let tanh = b.unary(Unary::Tanh, y)?;
            y = b.add(sine, tanh)?;
        }
        Ok(y)
    });
    table.case("one operand through three views", |b| {
        let x = b.x([6, 6])?;
        let turned = b.permute(x, &[1, 0])?;
        let corner = b.slice(x, &[2, 3], [1, 3])?;
        let corner = b.pad(corner, &[4, 1], &[1, 2])?;
        let product = b.multiply(x, turned)?;
        b.subtract(product, corner)
    });
    table.case("a computed value through two views", |b| {
        let x = b.x([5, 5])?;
        let y = b.unary(Unary::Tanh, x)?;
        let turned = b.permute(y, &[1, 0])?;
        b.multiply(y, turned)
    });
    table.case("an output that others read", |b| {
        let x = b.x([5, 8])?;
        let y = b.unary(Unary::Sigmoid, x)?;
        let total = b.sum(y, &[0, 1])?;
        b.multiply(y, total)
    });
}

/// y with `inputs` more operands of its shape, one after the other.
fn many_inputs(b: &mut Builder, mut y: Value, inputs: usize) -> Result<Value> {
    let shape = b.shape(y).clone();
    for index in 0..inputs {
        let other = b.x(shape.clone())?;
        y = match index % 3 {
            0 => b.multiply(y, other)?,
            1 => b.add(y, other)?,
            _ => b.subtract(other, y)?,
        };
    }
    Ok(y)
}

/// The activations that models use.
fn activations(b: &mut Builder, name: &str, y: Value) -> Result<Value> {
    match name {
        "relu" => b.unary(Unary::Relu, y),
        "sigmoid" => b.unary(Unary::Sigmoid, y),
        "tanh" => b.unary(Unary::Tanh, y),
        "gelu" => b.unary(Unary::Gelu, y),
        "silu" => b.unary(Unary::Silu, y),
        "softplus" => b.unary(Unary::Softplus, y),
        "elu" => b.with_number(Binary::Elu, y, 1.0),
        _ => b.with_number(Binary::LeakyRelu, y, 0.01),
    }
}

const ACTIVATIONS: [&str; 8] = ["relu", "sigmoid", "tanh", "gelu", "silu", "softplus", "elu", "leaky_relu"];

fn matmul_epilogues(table: &mut Table) {
    for name in ACTIVATIONS {
        table.case(format!("matmul [5, 7] x [7, 6], bias, {name}"), |b| {
            let (x, w, bias) = (b.x([5, 7])?, b.weight([7, 6])?, b.weight([6])?);
            let y = b.matmul(x, w, false, false)?;
            let y = b.add(y, bias)?;
            activations(b, name, y)
        });
    }
    // What the other operand of the epilogue is.
    type Other = fn(&mut Builder) -> Result<Value>;
    let others: [(&str, Other); 8] = [
        ("a matrix", |b| b.x([9, 10])),
        ("a column", |b| b.x([9, 1])),
        ("a number", |b| b.x([])),
        ("a permuted matrix", |b| {
            let x = b.x([10, 9])?;
            b.permute(x, &[1, 0])
        }),
        ("a slice", |b| {
            let x = b.x([12, 13])?;
            b.slice(x, &[2, 3], [9, 10])
        }),
        ("a padded matrix", |b| {
            let x = b.x([5, 6])?;
            b.pad(x, &[1, 4], &[3, 0])
        }),
        ("a joined matrix", |b| {
            let (x, y) = (b.x([9, 4])?, b.x([9, 6])?);
            b.concat(&[x, y], 1)
        }),
        ("another product", |b| {
            let (x, y) = (b.x([9, 3])?, b.x([3, 10])?);
            b.matmul(x, y, false, false)
        }),
    ];
    for (name, other) in others {
        table.case(format!("matmul [9, 5] x [5, 10] times {name}"), |b| {
            let (x, w) = (b.x([9, 5])?, b.x([5, 10])?);
            let y = b.matmul(x, w, false, false)?;
            let other = other(b)?;
            let y = b.multiply(other, y)?;
            b.unary(Unary::Tanh, y)
        });
    }
    for inputs in [4, 5, 6, 7, 12] {
        table.case(format!("matmul [6, 4] x [4, 11] with {inputs} more inputs"), |b| {
            let (x, w) = (b.x([6, 4])?, b.x([4, 11])?);
            let y = b.matmul(x, w, false, false)?;
            many_inputs(b, y, inputs)
        });
    }
    table.case("a product seen only through a permutation", |b| {
        let (x, w, other) = (b.x([9, 5])?, b.x([5, 10])?, b.x([10, 9])?);
        let y = b.matmul(x, w, false, false)?;
        let y = b.permute(y, &[1, 0])?;
        b.add(y, other)
    });
    table.case("a product reshaped before its bias", |b| {
        let (x, w, bias) = (b.x([3, 5])?, b.x([5, 8])?, b.x([2, 1, 1])?);
        let y = b.matmul(x, w, false, false)?;
        let y = b.reshape(y, [3, 2, 2, 2])?;
        let y = b.add(y, bias)?;
        b.unary(Unary::Sigmoid, y)
    });
    table.case("a product spread over a larger result", |b| {
        let (x, w, other) = (b.x([3, 5])?, b.x([5, 8])?, b.x([4, 3, 8])?);
        let y = b.matmul(x, w, false, false)?;
        b.add(y, other)
    });
    table.case("a product of products with activations between", |b| {
        let (x, w, v) = (b.x([6, 5])?, b.weight([5, 9])?, b.weight([9, 4])?);
        let y = b.matmul(x, w, false, false)?;
        let y = b.unary(Unary::Tanh, y)?;
        let y = b.matmul(y, v, false, false)?;
        b.unary(Unary::Sigmoid, y)
    });
    table.case("batched matmul with a bias for each matrix", |b| {
        let (x, w, bias) = (b.x([3, 5, 4])?, b.x([3, 4, 7])?, b.x([3, 1, 7])?);
        let y = b.matmul(x, w, false, false)?;
        let y = b.add(y, bias)?;
        b.unary(Unary::Tanh, y)
    });
}

fn conv_epilogues(table: &mut Table) {
    let window = Window::square(2, 1);
    for name in ACTIVATIONS {
        table.case(format!("conv2d [2, 3, 7, 6] x [5, 3, 3, 3], bias, {name}"), |b| {
            let (x, w, bias) = (b.x([2, 3, 7, 6])?, b.weight([5, 3, 3, 3])?, b.weight([5])?);
            let y = b.conv2d(x, w, window)?;
            let bias = b.reshape(bias, [5, 1, 1])?;
            let y = b.add(y, bias)?;
            activations(b, name, y)
        });
    }
    table.case("transposed conv [2, 5, 4, 3] x [5, 3, 3, 3] to 8x5, bias, sigmoid", |b| {
        let (x, w, bias) = (b.x([2, 5, 4, 3])?, b.weight([5, 3, 3, 3])?, b.weight([3])?);
        let y = b.conv2d_grad_input(x, w, window, [8, 5])?;
        let bias = b.reshape(bias, [3, 1, 1])?;
        let y = b.add(y, bias)?;
        b.unary(Unary::Sigmoid, y)
    });
    table.case("conv2d and the input it came from: a residual block", |b| {
        let (x, w) = (b.x([2, 3, 5, 5])?, b.x([3, 3, 3, 3])?);
        let y = b.conv2d(x, w, Window::square(1, 1))?;
        let y = b.add(y, x)?;
        b.unary(Unary::Tanh, y)
    });
    table.case("conv2d_grad_weight with more after it", |b| {
        let (x, g, other) = (b.x([3, 2, 6, 5])?, b.x([3, 4, 3, 3])?, b.input([4, 2, 3, 3], Fill::Between(0.5, 1.0))?);
        let y = b.conv2d_grad_weight(x, g, window, [3, 3])?;
        let y = b.multiply(y, other)?;
        b.unary(Unary::Tanh, y)
    });
    for inputs in [5, 6] {
        table.case(format!("conv2d [2, 2, 5, 5] x [3, 2, 2, 2] with {inputs} more inputs"), |b| {
            let (x, w) = (b.x([2, 2, 5, 5])?, b.x([3, 2, 2, 2])?);
            let y = b.conv2d(x, w, Window::square(1, 0))?;
            many_inputs(b, y, inputs)
        });
        table.case(format!("conv2d_grad_input to [2, 2, 5, 5] with {inputs} more inputs"), |b| {
            let (g, w) = (b.x([2, 3, 4, 4])?, b.x([3, 2, 2, 2])?);
            let y = b.conv2d_grad_input(g, w, Window::square(1, 0), [5, 5])?;
            many_inputs(b, y, inputs)
        });
    }
}
