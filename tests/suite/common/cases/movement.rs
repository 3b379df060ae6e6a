//! Ops that move data, alone and feeding others; reductions; indexing; and grids of more than 65,535 workgroups.

use super::{Builder, Derivatives, Fill, Table};
use pinhole::Result;
use pinhole::graph::{Binary, CustomKernel, Reduction, Unary, Value, Window};

pub(super) fn movement(table: &mut Table) {
    for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        table.case(format!("permute [3, 4, 5] by {axes:?}"), |b| {
            let x = b.x([3, 4, 5])?;
            b.permute(x, &axes)
        });
    }
    table.case("permute [2, 3, 1, 5, 4] by [3, 0, 4, 2, 1]", |b| {
        let x = b.x([2, 3, 1, 5, 4])?;
        b.permute(x, &[3, 0, 4, 2, 1])
    });
    table.case("permute of permute, computed between", |b| {
        let x = b.x([3, 4, 5])?;
        let y = b.permute(x, &[2, 0, 1])?;
        let y = b.unary(Unary::Tanh, y)?;
        b.permute(y, &[1, 2, 0])
    });
    for (start, shape) in
        [([0, 0, 0], [4, 5, 6]), ([1, 2, 3], [2, 3, 2]), ([3, 0, 5], [1, 5, 1]), ([0, 4, 0], [4, 1, 6])]
    {
        table.case(format!("slice {shape:?} of [4, 5, 6] from {start:?}"), |b| {
            let x = b.x([4, 5, 6])?;
            b.slice(x, &start, shape)
        });
    }
    for (before, after) in [([0, 0], [0, 3]), ([2, 0], [0, 0]), ([1, 2], [3, 4]), ([0, 0], [0, 0]), ([5, 5], [0, 0])] {
        table.case(format!("pad [3, 4] by {before:?} and {after:?}"), |b| {
            let x = b.x([3, 4])?;
            b.pad(x, &before, &after)
        });
    }
    for count in [1, 4, 7, 300] {
        table.case(format!("iota of {count}"), |b| b.iota(count));
    }
    table.case("iota along rows and columns of what is permuted, added in a chain", |b| {
        let (x, row, column) = (b.x([2, 8, 5])?, b.iota(5)?, b.iota(8)?);
        let y = b.permute(x, &[0, 2, 1])?;
        let row = b.reshape(row, [5, 1])?;
        let y = b.multiply(y, row)?;
        let later = b.binary(Binary::Less, row, column)?;
        let y = b.unary(Unary::Tanh, y)?;
        let y = b.add(y, later)?;
        b.multiply(y, column)
    });
    table.case("pad of a single number", |b| {
        let x = b.x([1, 1])?;
        b.pad(x, &[2, 3], &[1, 0])
    });
    table.case("what is padded is not zero: the exponential around a slice", |b| {
        let x = b.x([6, 7])?;
        let y = b.slice(x, &[1, 2], [3, 4])?;
        let y = b.pad(y, &[1, 1], &[0, 2])?;
        let y = b.unary(Unary::Exp, y)?;
        b.pad(y, &[0, 3], &[2, 0])
    });
    table.case("slice of pad of permute of broadcast", |b| {
        let x = b.x([3, 1, 4])?;
        let y = b.broadcast(x, [3, 5, 4])?;
        let y = b.permute(y, &[2, 0, 1])?;
        let y = b.pad(y, &[1, 0, 2], &[0, 3, 1])?;
        b.slice(y, &[0, 1, 1], [4, 4, 6])
    });
    for axis in 0..3 {
        table.case(format!("concat of three along axis {axis}"), |b| {
            let shape = |size: usize| (0..3).map(|a| if a == axis { size } else { a + 2 }).collect::<Vec<usize>>();
            let operands = [b.x(shape(1))?, b.x(shape(4))?, b.x(shape(2))?];
            b.concat(&operands, axis)
        });
    }
    for count in [1, 2, 6, 7, 13, 40] {
        table.case(format!("concat of {count} rows"), |b| {
            let operands: Vec<Value> = (0..count).map(|index| b.x([1 + index % 3, 5])).collect::<Result<_>>()?;
            b.concat(&operands, 0)
        });
    }
    table.case("concat of a value with itself, computed", |b| {
        let x = b.x([3, 4])?;
        let y = b.unary(Unary::Tanh, x)?;
        b.concat(&[y, x, y], 1)
    });
    table.case("concat of permuted, sliced and padded", |b| {
        let (x, y, z) = (b.x([4, 3])?, b.x([5, 6])?, b.x([2, 2])?);
        let x = b.permute(x, &[1, 0])?;
        let y = b.slice(y, &[1, 1], [3, 4])?;
        let z = b.pad(z, &[1, 0], &[0, 2])?;
        b.concat(&[x, y, z], 0)
    });
    table.case("reshape [4, 6] to [3, 8] to [24]", |b| {
        let x = b.x([4, 6])?;
        let y = b.reshape(x, [3, 8])?;
        let y = b.unary(Unary::Sine, y)?;
        b.reshape(y, [24])
    });
    table.case("reshape of a permutation, which must move data", |b| {
        let x = b.x([4, 6])?;
        let y = b.permute(x, &[1, 0])?;
        let y = b.reshape(y, [8, 3])?;
        b.permute(y, &[1, 0])
    });
    // What a product or a reduction reads.
    type Move = fn(&mut Builder) -> Result<Value>;
    let moves: [(&str, Move); 7] = [
        ("permuted", |b| {
            let x = b.x([6, 5])?;
            b.permute(x, &[1, 0])
        }),
        ("sliced", |b| {
            let x = b.x([7, 9])?;
            b.slice(x, &[1, 2], [5, 6])
        }),
        ("padded", |b| {
            let x = b.x([3, 4])?;
            b.pad(x, &[1, 0], &[1, 2])
        }),
        ("joined", |b| {
            let operands = [b.x([2, 6])?, b.x([3, 6])?];
            b.concat(&operands, 0)
        }),
        ("reshaped", |b| {
            let x = b.x([3, 10])?;
            b.reshape(x, [5, 6])
        }),
        ("broadcast", |b| {
            let x = b.x([5, 1])?;
            b.broadcast(x, [5, 6])
        }),
        ("computed", |b| {
            let x = b.x([5, 6])?;
            b.unary(Unary::Tanh, x)
        }),
    ];
    for (name, moved) in moves {
        table.case(format!("matmul with its first operand {name}"), |b| {
            let (x, w) = (moved(b)?, b.x([6, 7])?);
            b.matmul(x, w, false, false)
        });
        table.case(format!("matmul with its second operand {name}"), |b| {
            let (x, w) = (b.x([7, 5])?, moved(b)?);
            b.matmul(x, w, false, false)
        });
        for reduction in [Reduction::Sum, Reduction::Max] {
            table.case(format!("{reduction:?} along axis 0 of {name}"), |b| {
                let x = moved(b)?;
                b.reduce(reduction, x, &[0])
            });
        }
        table.case(format!("conv2d of {name}"), |b| {
            let (x, w) = (moved(b)?, b.x([2, 1, 3, 3])?);
            let x = b.reshape(x, [1, 1, 5, 6])?;
            b.conv2d(x, w, Window::square(1, 1))
        });
    }
}

pub(super) fn reduction(table: &mut Table) {
    for reduction in [Reduction::Sum, Reduction::Max] {
        for subset in 0..16u32 {
            let axes: Vec<usize> = (0..4).filter(|axis| subset >> axis & 1 == 1).collect();
            table.case(format!("{reduction:?} of [3, 4, 5, 6] along {axes:?}"), |b| {
                let x = b.x([3, 4, 5, 6])?;
                b.reduce(reduction, x, &axes)
            });
        }
        for shape in [vec![1], vec![1, 1, 1], vec![1, 5, 1], vec![7, 1]] {
            table.case(format!("{reduction:?} of {shape:?} along axis 0"), |b| {
                let x = b.x(shape)?;
                b.reduce(reduction, x, &[0])
            });
        }
        // Around the lengths from which on sums are split.
        for shape in [[255, 3], [256, 3], [257, 3], [1023, 1], [1025, 2], [3, 1000], [400, 65]] {
            for axis in 0..2 {
                table.case(format!("{reduction:?} of {shape:?} along axis {axis}"), |b| {
                    let x = b.x(shape)?;
                    b.reduce(reduction, x, &[axis])
                });
            }
        }
        for (shape, axes) in [
            (vec![1_000_000], vec![0]),
            (vec![1000, 1000], vec![0, 1]),
            (vec![3, 300_000], vec![1]),
            (vec![250_000, 4], vec![0]),
        ] {
            let case = table.case(format!("{reduction:?} of {shape:?} along {axes:?}"), |b| {
                let x = b.x(shape)?;
                b.reduce(reduction, x, &axes)
            });
            // The largest of so many lies too close to others for a finite difference.
            let finite = if reduction == Reduction::Max { Derivatives::Compared } else { Derivatives::Resolved };
            case.long_sum(true).derivatives(finite);
        }
        let ties = table.case(format!("{reduction:?} of [40, 30] with ties along axis 1"), |b| {
            let x = b.input([40, 30], Fill::Quarters(0.0))?;
            b.reduce(reduction, x, &[1])
        });
        ties.derivatives(Derivatives::Compared);
        table.case(format!("{reduction:?} of negative numbers only"), |b| {
            let x = b.input([6, 300], Fill::Between(-3.0, -1.0))?;
            b.reduce(reduction, x, &[1])
        });
    }
    table.case("mean of [6, 7, 8] along [0, 2]", |b| {
        let x = b.x([6, 7, 8])?;
        b.mean(x, &[0, 2])
    });
    table.case("sum of a sum of a sum", |b| {
        let x = b.x([6, 7, 8])?;
        let y = b.sum(x, &[1])?;
        let y = b.unary(Unary::Tanh, y)?;
        let y = b.sum(y, &[0])?;
        let y = b.unary(Unary::Sine, y)?;
        b.sum(y, &[0])
    });
    table.case("sum of squares of a difference that broadcasts, along the middle", |b| {
        let (x, y) = (b.x([5, 17, 6])?, b.x([17, 1])?);
        let y = b.subtract(x, y)?;
        let y = b.unary(Unary::Square, y)?;
        b.sum(y, &[1])
    });
}

/// Elements that need more than 65,535 workgroups of 64.
const MANY: usize = 4_300_000;

pub(super) fn large(table: &mut Table) {
    table.case(format!("a map of [{MANY}]"), |b| {
        let x = b.x([MANY])?;
        let y = b.unary(Unary::Square, x)?;
        b.scale(y, 0.75)
    });
    table.case("a map of [2100, 2050], broadcast", |b| {
        let (x, y) = (b.x([2100, 1])?, b.x([2050])?);
        let x = b.broadcast(x, [2100, 2050])?;
        b.add(x, y)
    });
    for reduction in [Reduction::Sum, Reduction::Max] {
        table.case(format!("{reduction:?} of [{MANY}, 2] along axis 1"), |b| {
            let x = b.x([MANY, 2])?;
            b.reduce(reduction, x, &[1])
        });
    }
    table.case(format!("{MANY} products of [1, 2] x [2, 1]"), |b| {
        let (x, y) = (b.x([MANY, 1, 2])?, b.x([2, 1])?);
        b.matmul(x, y, false, false)
    });
    table.case(format!("conv2d of {MANY} pixels"), |b| {
        let (x, w) = (b.x([MANY, 1, 1, 1])?, b.x([1, 1, 1, 1])?);
        b.conv2d(x, w, Window::square(1, 0))
    });
    table.case(format!("conv2d_grad_input of {MANY} pixels"), |b| {
        let (g, w) = (b.x([MANY, 1, 1, 1])?, b.x([1, 1, 1, 1])?);
        b.conv2d_grad_input(g, w, Window::square(1, 0), [1, 1])
    });
    table.case("gather of 3 rows of 1,500,000", |b| {
        let (x, indices) = (b.x([2, 1_500_000])?, b.words(&[1, 0, 1])?);
        b.gather(x, indices)
    });
    table.case("scatter_add of 2 rows of 1,500,000 into 3", |b| {
        let (x, indices) = (b.x([2, 1_500_000])?, b.words(&[2, 2])?);
        b.scatter_add(x, indices, 3)
    });
    table.case("17,000,000 uniform draws", |b| {
        let state = b.state_of(1, 2)?;
        b.random_uniform(state, [17_000_000])
    });
    for case in &mut table.cases {
        // Gradients sum over all of it.
        case.long_sum(true).derivatives(Derivatives::Compared);
    }
}

pub(super) fn indexing(table: &mut Table) {
    let lists: [(&str, Vec<u32>); 5] = [
        ("in order", vec![0, 1, 2, 3, 4, 5]),
        ("out of order", vec![5, 2, 0, 4]),
        ("repeated", vec![3, 3, 1, 3, 0, 1, 3]),
        ("one", vec![4]),
        ("many", (0..150).map(|index| index * index % 6).collect()),
    ];
    for (name, list) in lists {
        for shape in [vec![6, 7], vec![6], vec![6, 3, 5]] {
            table.case(format!("gather from {shape:?}, indices {name}"), |b| {
                let (x, indices) = (b.x(shape.clone())?, b.words(&list)?);
                b.gather(x, indices)
            });
            table.case(format!("scatter_add into {shape:?}, indices {name}"), |b| {
                let rows: Vec<usize> = std::iter::once(list.len()).chain(shape[1..].iter().copied()).collect();
                let (x, indices) = (b.x(rows)?, b.words(&list)?);
                b.scatter_add(x, indices, 6)
            });
        }
    }
    table.case("gather of a computed table", |b| {
        let (x, indices) = (b.x([6, 9])?, b.words(&[1, 1, 5])?);
        let y = b.unary(Unary::Tanh, x)?;
        let y = b.gather(y, indices)?;
        b.with_number(Binary::Add, y, 0.5)
    });
    // Both can run in one dispatch, and load the table's elements four and one at a time.
    table.case("a product with a table, and rows gathered from it", |b| {
        let (x, rows, indices) = (b.x([4, 8])?, b.x([6, 8])?, b.words(&[1, 1, 5, 0])?);
        let product = b.matmul(x, rows, false, true)?;
        let gathered = b.gather(rows, indices)?;
        b.concat(&[product, gathered], 1)
    });
    table.case("scatter_add of gathered rows", |b| {
        let (x, from, to) = (b.x([6, 9])?, b.words(&[1, 1, 5, 0])?, b.words(&[2, 0, 2, 1])?);
        let y = b.gather(x, from)?;
        let y = b.unary(Unary::Square, y)?;
        b.scatter_add(y, to, 3)
    });
    for shape in [[3, 2, 5, 4], [1, 1, 1, 1], [2, 1, 1, 7], [2, 3, 9, 1], [5, 3, 16, 17]] {
        let case = table.case(format!("warp of {shape:?}"), |b| {
            // Maps far from the identity: some places are between pixels, some outside.
            let (x, maps) = (b.input(shape, super::PLAIN)?, b.input([shape[0], 6], Fill::Between(-1.7, 2.1))?);
            b.warp(x, maps)
        });
        case.derivatives(Derivatives::None);
        let case = table.case(format!("warp of {shape:?} to and fro"), |b| {
            let x = b.input(shape, super::PLAIN)?;
            let turned = b.input([shape[0], 6], Fill::Quarters(0.0))?;
            let y = b.unary(Unary::Tanh, x)?;
            let y = b.warp(y, turned)?;
            b.with_number(Binary::Add, y, 0.5)
        });
        case.derivatives(Derivatives::None);
    }
    // Rows of one element, odd ones, about as many as a workgroup, many times as many; all different, and with many ties.
    for (rows, length, count) in [
        (1, 1, 1),
        (3, 7, 3),
        (3, 7, 7),
        (2, 256, 255),
        (5, 257, 128),
        (300, 5, 2),
        (3, 1000, 1),
        (2, 3137, 32),
        (1, 40_001, 1201),
    ] {
        for (name, fill) in [("different", Fill::Distinct), ("some equal", Fill::Quarters(0.0))] {
            let case = table.case(format!("the {count} largest of rows of [{rows}, {length}], {name}"), |b| {
                let x = b.input([rows, length], fill)?;
                b.top_k(x, count)
            });
            case.derivatives(Derivatives::None);
        }
    }
    table.case("the 3 largest of [4, 2, 9], and nothing else", |b| {
        let x = b.input([4, 2, 9], Fill::Distinct)?;
        let y = b.scale(x, 0.5)?;
        let mask = b.top_k(y, 3)?;
        let y = b.multiply(y, mask)?;
        b.with_number(Binary::Add, y, 0.5)
    });
    for shape in [[1, 1], [3, 7], [5, 64], [2, 65]] {
        table.case(format!("custom kernels of {shape:?}"), |b| {
            let (x, weight) = (b.x(shape)?, b.x([shape[1]])?);
            let y = b.unary(Unary::Tanh, x)?;
            let y = b.custom(&weighted(), &[y, weight], shape)?;
            b.with_number(Binary::Add, y, 0.5)
        });
    }
    for (name, fill) in [("floats", super::PLAIN), ("bytes", Fill::Bytes)] {
        let case = table.case(format!("batch of {name}"), |b| {
            let data = b.input([23, 3, 5], fill)?;
            let order: Vec<u32> = (0..23).map(|index| index * 7 % 23).collect();
            let permutation = b.words(&order)?;
            let state = b.input([8], Fill::Words(vec![0, 0, 0, 0, 9, 0, 0, 0]))?;
            let y = b.batch(data, permutation, state, 11)?;
            b.scale(y, 2.0)
        });
        case.derivatives(Derivatives::None);
    }
}

/// Rows from their end to their beginning.
fn reversed() -> CustomKernel {
    let kernel = CustomKernel::new(
        "reversed",
        "const ONE = 1u;\nfn element(i: u32) -> f32 {\n    return x0[i / X0_SIZE1 * Y_SIZE1 + Y_SIZE1 - ONE - i % Y_SIZE1];\n}",
        |x, i| {
            let width = x[0].shape()[1];
            x[0].at(i / width * width + width - 1 - i % width)
        },
    );
    kernel.with_gradient(|graph, _, _, gradient| {
        let shape = graph.shape(gradient).clone();
        Ok(vec![Some(graph.custom(&reversed(), &[gradient], shape)?)])
    })
}

/// The same, each column times a weight.
fn weighted() -> CustomKernel {
    let kernel = CustomKernel::new(
        "weighted",
        "fn mirrored(i: u32) -> u32 { return i / Y_SIZE1 * Y_SIZE1 + Y_SIZE1 - 1u - i % Y_SIZE1; }\n\
         fn element(i: u32) -> f32 { return x0[mirrored(i)] * x1[i % X1_SIZE0]; }",
        |x, i| {
            let width = x[0].shape()[1];
            x[0].at(i / width * width + width - 1 - i % width) * x[1].at(i % width)
        },
    );
    kernel.with_gradient(|graph, operands, _, gradient| {
        let shape = graph.shape(gradient).clone();
        let by_weight = graph.multiply(gradient, operands[1])?;
        let x = graph.custom(&reversed(), &[by_weight], shape.clone())?;
        let turned = graph.custom(&reversed(), &[operands[0]], shape)?;
        let each = graph.multiply(turned, gradient)?;
        Ok(vec![Some(x), Some(graph.sum(each, &[0])?)])
    })
}
