//! Every elementwise op alone, and every way in which two shapes broadcast.

use super::{Derivatives, Fill, PLAIN, Table};
use pinhole::graph::{Binary, Unary};

/// Where a function of one operand is smooth. A new op needs its line here.
fn domain(op: Unary) -> Fill {
    match op {
        Unary::Negate | Unary::Absolute | Unary::Sign | Unary::Step | Unary::Square => PLAIN,
        Unary::SquareRoot | Unary::Ln => Fill::Between(0.2, 3.0),
        Unary::Reciprocal => Fill::Apart(0.3, 2.0),
        Unary::Exp | Unary::Relu | Unary::Sigmoid | Unary::Tanh | Unary::Softplus => Fill::Apart(0.1, 4.0),
        Unary::Silu | Unary::Gelu => Fill::Apart(0.1, 4.0),
        Unary::Erf => Fill::Apart(0.1, 2.5),
        Unary::Sine | Unary::Cosine => Fill::Apart(0.1, 7.0),
        Unary::NormalQuantile => Fill::Between(0.02, 0.98),
    }
}

/// Where a function of two operands is smooth, and equal operands are not met. A new op needs its line here.
fn domains(op: Binary) -> [Fill; 2] {
    match op {
        Binary::Add | Binary::Subtract | Binary::Multiply => [PLAIN, PLAIN],
        Binary::Divide => [PLAIN, Fill::Apart(0.3, 1.5)],
        Binary::Maximum | Binary::Minimum | Binary::Less | Binary::Equal => {
            [Fill::Quarters(0.0), Fill::Quarters(0.125)]
        }
        Binary::Power => [Fill::Between(0.3, 2.0), Fill::Apart(0.3, 2.0)],
        Binary::BceWithLogits => [Fill::Apart(0.1, 4.0), Fill::Between(0.05, 0.95)],
        Binary::LeakyRelu => [PLAIN, Fill::Between(0.05, 0.4)],
        Binary::Elu => [Fill::Apart(0.1, 3.0), Fill::Between(0.5, 1.5)],
    }
}

pub(super) fn elementwise(table: &mut Table) {
    for op in Unary::ALL {
        table.case(format!("{} [3, 5, 7]", op.name()), |b| {
            let x = b.input([3, 5, 7], domain(*op))?;
            b.unary(*op, x)
        });
    }
    for op in Binary::ALL {
        table.case(format!("{} [5, 13] [5, 13]", op.name()), |b| {
            let [x, y] = domains(*op);
            let (x, y) = (b.input([5, 13], x)?, b.input([5, 13], y)?);
            b.binary(*op, x, y)
        });
        table.case(format!("{} [5, 4, 3] [4, 1]", op.name()), |b| {
            let [x, y] = domains(*op);
            let (x, y) = (b.input([5, 4, 3], x)?, b.input([4, 1], y)?);
            b.binary(*op, x, y)
        });
    }
    // Equal operands: whatever shares a gradient must share it alike.
    for op in [Binary::Maximum, Binary::Minimum, Binary::Less, Binary::Equal] {
        let ties = table.case(format!("{} [31, 9] with ties", op.name()), |b| {
            let (x, y) = (b.input([31, 9], Fill::Quarters(0.0))?, b.input([31, 9], Fill::Quarters(0.0))?);
            b.binary(op, x, y)
        });
        ties.derivatives(Derivatives::Compared);
    }
    // Around a workgroup's 64 elements.
    for size in [1, 2, 63, 64, 65, 127, 129, 4097] {
        table.case(format!("square [{size}]"), |b| {
            let x = b.x([size])?;
            b.unary(Unary::Square, x)
        });
    }
    table.case("square []", |b| {
        let x = b.x([])?;
        b.unary(Unary::Square, x)
    });
    table.case("multiply an operand with itself", |b| {
        let x = b.x([4, 9])?;
        b.multiply(x, x)
    });
    table.case("constant [3, 50], not of its input", |b| {
        b.x([7])?;
        b.constant(0.3, [3, 50])
    });
    table.case("the input itself [9, 11]", |b| b.x([9, 11]));
    table.case("a parameter itself [9, 11]", |b| {
        b.weight([3])?;
        b.weight([9, 11])
    });
}

pub(super) fn broadcast(table: &mut Table) {
    let shapes: [(&[usize], &[usize]); 11] = [
        (&[], &[3, 4]),
        (&[3, 4], &[]),
        (&[4], &[3, 4]),
        (&[3, 1], &[1, 4]),
        (&[2, 1, 5, 1], &[3, 1, 7]),
        (&[5, 1, 3], &[5, 4, 3]),
        (&[1], &[1, 1, 1]),
        (&[1, 1], &[70, 90]),
        (&[6, 1, 1], &[2, 6, 9, 5]),
        (&[3, 1, 2, 1, 2], &[1, 4, 1, 3, 1]),
        (&[1, 65], &[65, 1]),
    ];
    for (x, y) in shapes {
        table.case(format!("divide {x:?} {y:?}"), |b| {
            let (x, y) = (b.x(x)?, b.input(y, Fill::Apart(0.3, 1.5))?);
            b.divide(x, y)
        });
    }
    for (from, to) in [(&[3, 1][..], &[2, 3, 5][..]), (&[], &[7, 10]), (&[1, 4, 1], &[3, 4, 2])] {
        table.case(format!("broadcast {from:?} to {to:?}"), |b| {
            let x = b.x(from)?;
            b.broadcast(x, to)
        });
    }
    table.case("a computed row spread over a matrix", |b| {
        let (x, row) = (b.x([40, 7])?, b.x([7])?);
        let row = b.unary(Unary::Tanh, row)?;
        b.multiply(x, row)
    });
    table.case("broadcast of a broadcast of a column", |b| {
        let (x, column) = (b.x([2, 3, 4, 5])?, b.x([4, 1])?);
        let wider = b.broadcast(column, [3, 4, 5])?;
        let widest = b.broadcast(wider, [2, 3, 4, 5])?;
        b.multiply(x, widest)
    });
}
