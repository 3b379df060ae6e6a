//! The graph computed node by node in f64, in the plainest way: no plan, no fusion, no memory that is used twice. What the
//! oracle, which runs the same plan as the devices under test, is itself held against.

use crate::cases::Feed;
use crate::check::to_f64;
use pinhole::cpu::Real;
use pinhole::graph::{Binary, Direction, Graph, Op, Operand, Pool, Pooling, Reduction, Unary, Value, Window};
use pinhole::plan::state;
use pinhole::rng;
use pinhole::shape::Shape;
use std::collections::HashMap;

/// The values of `outputs` for these feeds.
pub fn evaluate(graph: &Graph, feeds: &[Feed], outputs: &[Value]) -> Vec<Vec<f64>> {
    let mut known: HashMap<Value, Vec<f64>> = feeds.iter().map(|feed| (feed.value, to_f64(&feed.values()))).collect();
    let mut open: Vec<Value> = outputs.to_vec();
    while let Some(value) = open.last().copied() {
        let missing: Vec<Value> =
            graph.node(value).operands.iter().copied().filter(|operand| !known.contains_key(operand)).collect();
        if known.contains_key(&value) {
            open.pop();
        } else if missing.is_empty() {
            let operands: Vec<(&[f64], &Shape)> =
                graph.node(value).operands.iter().map(|operand| (&known[operand][..], graph.shape(*operand))).collect();
            let result = apply(&graph.node(value).op, &operands, graph.shape(value), graph);
            known.insert(value, result);
            open.pop();
        } else {
            open.extend(missing);
        }
    }
    outputs.iter().map(|output| known[output].clone()).collect()
}

fn apply(op: &Op, operands: &[(&[f64], &Shape)], shape: &Shape, graph: &Graph) -> Vec<f64> {
    let elements = shape.elements();
    let x = operands.first().map(|operand| operand.0).unwrap_or_default();
    let from = operands.first().map(|operand| operand.1.clone()).unwrap_or_default();
    match op {
        Op::Input { name } | Op::Parameter { name } => {
            panic!("no values for \"{name}\" of {} nodes", graph.nodes().len())
        }
        Op::Constant(number) => vec![*number; elements],
        Op::Iota => (0..elements).map(|i| i as f64).collect(),
        Op::Unary(op) => x.iter().map(|x| unary(*op, *x)).collect(),
        Op::Binary(op) => x.iter().zip(operands[1].0).map(|(x, y)| binary(*op, *x, *y)).collect(),
        Op::MatMul { transpose_lhs, transpose_rhs } => {
            matmul([operands[0], operands[1]], shape, *transpose_lhs, *transpose_rhs)
        }
        Op::Conv2d(window) => {
            let mut y = vec![0.0; elements];
            conv(*window, &from, operands[1].1, shape, |i, j, k| y[k] += x[i] * operands[1].0[j]);
            y
        }
        Op::Conv2dGradInput(window) => {
            let mut y = vec![0.0; elements];
            conv(*window, shape, operands[1].1, &from, |i, j, k| y[i] += x[k] * operands[1].0[j]);
            y
        }
        Op::Conv2dGradWeight(window) => {
            let mut y = vec![0.0; elements];
            conv(*window, &from, shape, operands[1].1, |i, j, k| y[j] += x[i] * operands[1].0[k]);
            y
        }
        Op::Pool(pool, pooling) => {
            let mut y = vec![0.0; elements];
            let (large, small) = if pool.enlarges() { (shape, &from) } else { (&from, shape) };
            let mut add = |small: usize, large: usize, part: f64| {
                let (from, to) = if pool.enlarges() { (small, large) } else { (large, small) };
                y[to] += x[from] * part;
            };
            match pool {
                Pool::Sum | Pool::SumSpread => windows(*pooling, large, small, |position, places| {
                    places.iter().for_each(|place| add(position, *place, 1.0));
                }),
                Pool::Max | Pool::MaxSpread => windows(*pooling, large, small, |position, places| {
                    let keys = operands[1].0;
                    let largest = places.iter().fold(f64::NEG_INFINITY, |largest, place| largest.max(keys[*place]));
                    let first = places.iter().find(|place| keys[**place] == largest).expect("a place");
                    add(position, *first, 1.0);
                }),
                Pool::Linear | Pool::LinearSpread => walk(large, |place, at| {
                    // The part of a pixel falls off with the distance of centres; the outer ones have all beyond them.
                    let part = |axis: usize, position: usize| {
                        let centre = (at[axis] as f64 + 0.5) / pooling.stride[axis - 2] as f64 - 0.5;
                        let centre = centre.clamp(0.0, small[axis] as f64 - 1.0);
                        (1.0 - (centre - position as f64).abs()).max(0.0)
                    };
                    walk(small, |position, of| {
                        if of[..2] == at[..2] {
                            add(position, place, part(2, of[2]) * part(3, of[3]));
                        }
                    });
                }),
            }
            y
        }
        Op::Broadcast => moved(
            shape,
            |at| {
                let own = &at[at.len() - from.len()..];
                Some(flat(&from, own.iter().zip(&from[..]).map(|(at, size)| if *size == 1 { 0 } else { *at })))
            },
            x,
        ),
        Op::Reshape => x.to_vec(),
        Op::Permute(axes) => {
            let mut place = vec![0; axes.len()];
            moved(
                shape,
                |at| {
                    for (to, axis) in axes.iter().enumerate() {
                        place[*axis] = at[to];
                    }
                    Some(flat(&from, place.iter().copied()))
                },
                x,
            )
        }
        Op::Slice { start } => {
            moved(shape, |at| Some(flat(&from, at.iter().zip(start).map(|(at, start)| at + start))), x)
        }
        Op::Pad { before } => moved(
            shape,
            |at| {
                let inside = (0..at.len()).all(|axis| at[axis] >= before[axis] && at[axis] - before[axis] < from[axis]);
                inside.then(|| flat(&from, at.iter().zip(before).map(|(at, before)| at - before)))
            },
            x,
        ),
        Op::Concat { axis } => {
            let outer: usize = shape[..*axis].iter().product();
            let mut y = Vec::with_capacity(elements);
            for row in 0..outer {
                for (values, _) in operands {
                    let length = values.len() / outer;
                    y.extend(&values[row * length..(row + 1) * length]);
                }
            }
            y
        }
        Op::Reduce { reduction, axes } => {
            let mut y = vec![if *reduction == Reduction::Max { f64::NEG_INFINITY } else { 0.0 }; elements];
            walk(&from, |index, at| {
                let kept = (0..at.len()).filter(|axis| !axes.contains(axis)).map(|axis| at[axis]);
                let y = &mut y[flat(shape, kept)];
                *y = if *reduction == Reduction::Max { y.max(x[index]) } else { *y + x[index] };
            });
            y
        }
        Op::Gather => {
            let width = elements / shape[0];
            operands[1].0.iter().flat_map(|row| x[*row as usize * width..][..width].iter().copied()).collect()
        }
        Op::ScatterAdd => {
            let width = elements / shape[0];
            let mut y = vec![0.0; elements];
            for (k, row) in operands[1].0.iter().enumerate() {
                for column in 0..width {
                    y[*row as usize * width + column] += x[k * width + column];
                }
            }
            y
        }
        Op::Warp => {
            let [n, c, h, w] = shape[..] else { panic!("four axes") };
            let mut y = vec![];
            for (plane, k) in (0..n).flat_map(|k| std::iter::repeat_n(k, c)).enumerate() {
                let m = &operands[1].0[6 * k..][..6];
                for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
                    let [u, v] = [i as f64 - (h as f64 - 1.0) / 2.0, j as f64 - (w as f64 - 1.0) / 2.0];
                    let row = m[0] * u + m[1] * v + m[2] + (h as f64 - 1.0) / 2.0;
                    let column = m[3] * u + m[4] * v + m[5] + (w as f64 - 1.0) / 2.0;
                    // Every pixel counts by how near it is: the plain form of interpolation.
                    let near = |place: f64, at: usize| (1.0 - (place - at as f64).abs()).max(0.0);
                    let pixels = (0..h * w).map(|at| x[plane * h * w + at] * near(row, at / w) * near(column, at % w));
                    y.push(pixels.sum());
                }
            }
            y
        }
        Op::Custom(kernel) => {
            let reads: Vec<_> =
                operands.iter().map(|(values, _)| move |i: usize| values.get(i).copied().unwrap_or(0.0)).collect();
            let operands: Vec<Operand> =
                operands.iter().zip(&reads).map(|((_, shape), read)| Operand::new(shape, read)).collect();
            (0..elements).map(|i| kernel.element(&operands, i)).collect()
        }
        Op::Indices { limit } => x.iter().map(|x| (x + 0.5).floor().clamp(0.0, (limit - 1) as f64)).collect(),
        Op::TopK { count } => {
            // All of a row in their order, of which the sort keeps that of equal ones.
            let mut marks = vec![0.0; elements];
            let length = *shape.last().expect("an axis");
            for (row, marks) in x.chunks(length).zip(marks.chunks_mut(length)) {
                let mut order: Vec<usize> = (0..length).collect();
                order.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).expect("numbers"));
                order[..*count].iter().for_each(|at| marks[*at] = 1.0);
            }
            marks
        }
        Op::Lstm(direction) => {
            let (w, [n, t, h]) = (operands[1].0, [shape[0], shape[1], shape[2] / 2]);
            let mut y = vec![0.0; elements];
            for (row, step, past, j) in steps(n, t, h, *direction) {
                let state = |index: usize| past.map_or(0.0, |past| y[(row * t + past) * 2 * h + index]);
                let z = |gate: usize| {
                    let column = gate * h + j;
                    let own: f64 = (0..h).map(|k| state(k) * w[k * 4 * h + column]).sum();
                    x[(row * t + step) * 4 * h + column] + own
                };
                let [i, f, o] = [z(0), z(1), z(3)].map(|z| unary(Unary::Sigmoid, z));
                let c = f * state(h + j) + i * z(2).tanh();
                let at = (row * t + step) * 2 * h;
                (y[at + j], y[at + h + j]) = (o * c.tanh(), c);
            }
            y
        }
        Op::Gru(direction) => {
            let (w, b, [n, t, h]) = (operands[1].0, operands[2].0, [shape[0], shape[1], shape[2]]);
            let mut y = vec![0.0; elements];
            for (row, step, past, j) in steps(n, t, h, *direction) {
                let state = |index: usize| past.map_or(0.0, |past| y[(row * t + past) * h + index]);
                let own = |gate: usize| (0..h).map(|k| state(k) * w[k * 3 * h + gate * h + j]).sum::<f64>();
                let input = |gate: usize| x[(row * t + step) * 3 * h + gate * h + j];
                let [r, z] = [0, 1].map(|gate| unary(Unary::Sigmoid, input(gate) + own(gate)));
                let candidate = (input(2) + r * (own(2) + b[j])).tanh();
                y[(row * t + step) * h + j] = (1.0 - z) * candidate + z * state(j);
            }
            y
        }
        Op::LinearRecurrence { transposed, direction: Direction::Forward } => {
            linear_recurrence(x, operands[1], operands[2].0, shape, *transposed)
        }
        // The same with all that has steps turned around, and then the result.
        Op::LinearRecurrence { transposed, direction: Direction::Backward } => {
            let turned = |x: &[f64]| -> Vec<f64> {
                let sequences = x.chunks(x.len() / shape[0]);
                sequences
                    .flat_map(|sequence| sequence.chunks(sequence.len() / shape[1]).rev())
                    .flatten()
                    .copied()
                    .collect()
            };
            turned(&linear_recurrence(&turned(x), operands[1], &turned(operands[2].0), shape, *transposed))
        }
        Op::RandomUniform { stream } => {
            draws(operands[0].0, *stream, elements).map(|word| rng::unit(word) as f64).collect()
        }
        Op::RandomBits { stream } => draws(operands[0].0, *stream, elements).map(|word| word as f64).collect(),
        Op::Batch => {
            let (permutation, offset) = (operands[1].0, operands[2].0[state::OFFSET] as usize);
            let width = elements / shape[0];
            let bytes = graph.nodes().iter().any(|node| node.dtype == pinhole::tensor::DType::U8);
            let rows = (0..shape[0]).flat_map(|k| x[permutation[offset + k] as usize * width..][..width].iter());
            rows.map(|x| if bytes { (*x as f32 / 255.0) as f64 } else { *x }).collect()
        }
    }
}

/// Every sequence, step, the step before it and hidden unit, the steps in order.
fn steps(n: usize, t: usize, h: usize, direction: Direction) -> Vec<(usize, usize, Option<usize>, usize)> {
    let mut order: Vec<usize> = (0..t).collect();
    if direction == Direction::Backward {
        order.reverse();
    }
    let mut all = vec![];
    for row in 0..n {
        for (done, step) in order.iter().enumerate() {
            let past = (done > 0).then(|| order[done - 1]);
            all.extend((0..h).map(|j| (row, *step, past, j)));
        }
    }
    all
}

/// By the whole matrix of what each number of a step's state gives the state after it and, of 4 gates, the hidden units.
#[allow(clippy::needless_range_loop)] // Indices as the formulas have them.
fn linear_recurrence(p: &[f64], w: (&[f64], &Shape), source: &[f64], shape: &Shape, reverse: bool) -> Vec<f64> {
    let [n, t, width] = [shape[0], shape[1], shape[2]];
    let h = w.1[0].min(w.1[1]);
    let gates = w.1[0].max(w.1[1]) / h;
    let (factors, cell) = (2 * gates - 2, width - h);
    let weight = |k: usize, column: usize| if reverse { w.0[column * h + k] } else { w.0[k * gates * h + column] };
    let mut y = source.to_vec();
    for row in 0..n {
        // matrix[to][from]: what the state before this step gives it.
        let matrix = |step: usize| {
            let p = &p[(row * t + step) * factors * h..][..factors * h];
            let mut matrix = vec![vec![0.0; width]; width];
            for j in 0..h {
                for k in 0..h {
                    matrix[cell + j][k] += (0..3).map(|gate| p[gate * h + j] * weight(k, gate * h + j)).sum::<f64>();
                }
                matrix[cell + j][cell + j] += p[gates * h + j];
                if gates == 4 {
                    for from in 0..width {
                        matrix[j][from] = p[5 * h + j] * matrix[h + j][from];
                    }
                    for k in 0..h {
                        matrix[j][k] += p[3 * h + j] * weight(k, 3 * h + j);
                    }
                }
            }
            matrix
        };
        let state = |step: usize| (row * t + step) * width;
        let factor = |step: usize, j: usize| if gates == 4 { p[((row * t + step) * 6 + 5) * h + j] } else { 0.0 };
        if !reverse {
            for step in 0..t {
                for j in 0..h * usize::from(gates == 4) {
                    y[state(step) + j] += factor(step, j) * source[state(step) + h + j];
                }
                for (to, row) in matrix(step).iter().enumerate().filter(|_| step > 0) {
                    let sum: f64 = row.iter().enumerate().map(|(from, m)| m * y[state(step - 1) + from]).sum();
                    y[state(step) + to] += sum;
                }
            }
            continue;
        }
        // `passed` is what each number of a state gives all that follows, before the cell's way to the hidden unit.
        let mut passed = vec![0.0; width];
        for step in (0..t).rev() {
            for (to, passed) in passed.iter().enumerate() {
                y[state(step) + to] += passed;
            }
            let own = y[state(step)..][..width].to_vec();
            for j in 0..h * usize::from(gates == 4) {
                y[state(step) + h + j] += factor(step, j) * own[j];
            }
            passed =
                (0..width).map(|from| matrix(step).iter().zip(&own).map(|(row, own)| row[from] * own).sum()).collect();
        }
    }
    y
}

fn draws(state: &[f64], stream: u32, count: usize) -> impl Iterator<Item = u32> {
    let seed = state[state::SEED] as u64 | (state[state::SEED + 1] as u64) << 32;
    let step = state[state::STEP] as u32;
    (0..count.div_ceil(4)).flat_map(move |block| rng::words(seed, step, stream, block as u32)).take(count)
}

fn unary(op: Unary, x: f64) -> f64 {
    // Functions that the standard library lacks are the oracle's own; `numbers.rs` holds them against known values.
    let known = |op: Unary, x: f64| {
        let mut y = [0.0];
        f64::unary(op, &[x], &mut y);
        y[0]
    };
    match op {
        Unary::Negate => -x,
        Unary::Absolute => x.abs(),
        Unary::Sign => (x > 0.0) as u8 as f64 - (x < 0.0) as u8 as f64,
        Unary::Step => (x > 0.0) as u8 as f64,
        Unary::Square => x * x,
        Unary::SquareRoot => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Exp => x.exp(),
        Unary::Ln => x.ln(),
        Unary::Relu => x.max(0.0),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Softplus => x.exp().ln_1p(),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Gelu => 0.5 * x * (1.0 + known(Unary::Erf, x / 2f64.sqrt())),
        Unary::Erf | Unary::NormalQuantile => known(op, x),
        Unary::Sine => x.sin(),
        Unary::Cosine => x.cos(),
    }
}

fn binary(op: Binary, x: f64, y: f64) -> f64 {
    match op {
        Binary::Add => x + y,
        Binary::Subtract => x - y,
        Binary::Multiply => x * y,
        Binary::Divide => x / y,
        Binary::Maximum => x.max(y),
        Binary::Minimum => x.min(y),
        Binary::Power => x.powf(y),
        Binary::Less => (x < y) as u8 as f64,
        Binary::Equal => (x == y) as u8 as f64,
        Binary::BceWithLogits => x.exp().ln_1p() - x * y,
        Binary::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                y * x
            }
        }
        Binary::Elu => {
            if x > 0.0 {
                x
            } else {
                y * (x.exp() - 1.0)
            }
        }
    }
}

fn matmul([(a, a_shape), (b, b_shape)]: [(&[f64], &Shape); 2], shape: &Shape, ta: bool, tb: bool) -> Vec<f64> {
    let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let k = a_shape[a_shape.len() - if ta { 2 } else { 1 }];
    let mut y = Vec::with_capacity(shape.elements());
    for batch in 0..shape.elements() / (m * n) {
        let a = if a_shape.len() > 2 { &a[batch * m * k..] } else { a };
        let b = if b_shape.len() > 2 { &b[batch * k * n..] } else { b };
        for i in 0..m {
            for j in 0..n {
                let left = |l: usize| if ta { a[l * m + i] } else { a[i * k + l] };
                let right = |l: usize| if tb { b[j * k + l] } else { b[l * n + j] };
                y.push((0..k).map(|l| left(l) * right(l)).sum());
            }
        }
    }
    y
}

/// Every term of a convolution: the places in x, in the weight and in y.
fn conv(window: Window, x: &Shape, weight: &Shape, y: &Shape, mut term: impl FnMut(usize, usize, usize)) {
    walk(y, |k, at| {
        let first = at[1] / (weight[0] / window.groups) * weight[1];
        for c in 0..weight[1] {
            for r in 0..weight[2] {
                for s in 0..weight[3] {
                    let h = (at[2] * window.stride[0] + r * window.dilation[0]).wrapping_sub(window.padding[0]);
                    let w = (at[3] * window.stride[1] + s * window.dilation[1]).wrapping_sub(window.padding[1]);
                    if h < x[2] && w < x[3] {
                        term(
                            flat(x, [at[0], first + c, h, w].into_iter()),
                            flat(weight, [at[1], c, r, s].into_iter()),
                            k,
                        );
                    }
                }
            }
        }
    });
}

/// Every window of a pooling: where it goes, and the places of the large image inside it, in order.
fn windows(pooling: Pooling, large: &Shape, small: &Shape, mut visit: impl FnMut(usize, &[usize])) {
    walk(small, |position, at| {
        let inside = |axis: usize| {
            let (index, size, count) = (at[axis + 2], large[axis + 2], small[axis + 2]);
            let meets = move |place: usize| match pooling.kernel[axis] {
                // Adaptive: the place overlaps with the part of the image that is the position's own.
                0 => (place + 1) * count > index * size && place * count < (index + 1) * size,
                kernel => (0..kernel).any(|tap| {
                    index * pooling.stride[axis] + tap * pooling.dilation[axis] == place + pooling.padding[axis]
                }),
            };
            (0..size).filter(move |place| meets(*place))
        };
        let places: Vec<usize> =
            inside(0).flat_map(|h| inside(1).map(move |w| flat(large, [at[0], at[1], h, w].into_iter()))).collect();
        visit(position, &places);
    });
}

/// The row-major index of coordinates.
fn flat(shape: &[usize], at: impl Iterator<Item = usize>) -> usize {
    shape.iter().zip(at).fold(0, |index, (size, at)| index * size + at)
}

/// Visits every index of a shape with its coordinates.
fn walk(shape: &[usize], mut visit: impl FnMut(usize, &[usize])) {
    let mut at = vec![0; shape.len()];
    for index in 0..shape.iter().product() {
        visit(index, &at);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
}

/// Elements of `x` by the coordinates of where they go; zero where there is none.
fn moved(shape: &Shape, mut from: impl FnMut(&[usize]) -> Option<usize>, x: &[f64]) -> Vec<f64> {
    let mut y = Vec::with_capacity(shape.elements());
    walk(shape, |_, at| y.push(from(at).map_or(0.0, |index| x[index])));
    y
}
