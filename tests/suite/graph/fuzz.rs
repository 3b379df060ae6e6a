//! Graphs that nobody thought of: random ops on random operands with several outputs, and their gradients. What fuses with
//! what, and who shares whose memory, must not show in the numbers.

use crate::cases::{Builder, Fill};
use crate::check::{any_target, compare, gpu, report, to_f64};
use crate::plan::kernels::check_plan;
use crate::plan::plans::reads_what_was_written;
use crate::reference::evaluate;
use pinhole::graph::{Binary, Graph, Reduction, Unary, Value, Window};
use pinhole::plan::{ParameterLayout, Plan};
use pinhole::rng;
use pinhole::{Device, Result};

/// Draws of one graph.
struct Dice {
    seed: u64,
    drawn: u32,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.drawn += 1;
        rng::words(self.seed, 0, 1, self.drawn)[0] as usize % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Functions that keep numbers of order one, smoothly.
const TAME: [Unary; 5] = [Unary::Tanh, Unary::Sigmoid, Unary::Sine, Unary::Cosine, Unary::Softplus];

/// One more value from those there are, if the draw fits them.
fn grow(b: &mut Builder, dice: &mut Dice, values: &[Value]) -> Result<Option<Value>> {
    // Mostly of the latest, so that chains grow long.
    let near = values.len().min(4);
    let recent = |dice: &mut Dice| values[values.len() - 1 - dice.roll(near)];
    let x = if dice.roll(3) == 0 { dice.pick(values) } else { recent(dice) };
    let shape = b.shape(x).clone();
    let rank = shape.len();
    let made = match dice.roll(17) {
        0..=2 => b.unary(dice.pick(&TAME), x)?,
        3..=6 => {
            let y = dice.pick(values);
            let op = dice.pick(&[Binary::Add, Binary::Subtract, Binary::Multiply]);
            match b.binary(op, x, y) {
                Ok(value) if b.shape(value).elements() <= 3000 => value,
                _ => return Ok(None),
            }
        }
        7 if rank > 1 => {
            let mut axes: Vec<usize> = (0..rank).collect();
            for last in (1..rank).rev() {
                axes.swap(last, dice.roll(last + 1));
            }
            b.permute(x, &axes)?
        }
        8 if rank > 0 => {
            let start: Vec<usize> = shape.iter().map(|size| dice.roll(*size)).collect();
            let sizes: Vec<usize> = shape.iter().zip(&start).map(|(size, start)| 1 + dice.roll(size - start)).collect();
            b.slice(x, &start, sizes)?
        }
        9 if rank > 0 => {
            let before: Vec<usize> = (0..rank).map(|_| dice.roll(3)).collect();
            let after: Vec<usize> = (0..rank).map(|_| dice.roll(2)).collect();
            b.pad(x, &before, &after)?
        }
        10 => {
            let elements = shape.elements();
            let rows = (1..=elements).filter(|rows| elements.is_multiple_of(*rows)).collect::<Vec<_>>();
            let rows = dice.pick(&rows);
            match dice.roll(3) {
                0 => b.reshape(x, [elements])?,
                1 => b.reshape(x, [rows, elements / rows])?,
                _ => b.reshape(x, [rows, 1, elements / rows])?,
            }
        }
        11 if rank > 0 => {
            let axis = dice.roll(rank);
            let fits = |value: &Value| {
                let other = b.shape(*value);
                other.len() == rank && (0..rank).all(|a| a == axis || other[a] == shape[a])
            };
            let fitting: Vec<Value> = values.iter().copied().filter(fits).collect();
            let operands: Vec<Value> = (0..1 + dice.roll(9)).map(|_| dice.pick(&fitting)).collect();
            b.concat(&operands, axis)?
        }
        12 if rank > 0 => {
            let axes: Vec<usize> = (0..rank).filter(|_| dice.roll(2) == 0).collect();
            let mean = b.mean(x, &axes)?;
            if dice.roll(4) == 0 { b.reduce(Reduction::Max, x, &axes)? } else { mean }
        }
        13 | 14 if rank >= 2 && shape[rank - 1] <= 40 => {
            let transposed = dice.roll(2) == 1;
            let inner = shape[rank - 1];
            let columns = 1 + dice.roll(9);
            let weight = b.weight(if transposed { [columns, inner] } else { [inner, columns] })?;
            let y = b.matmul(x, weight, false, transposed)?;
            b.scale(y, 1.0 / (inner as f64).sqrt())?
        }
        15 if rank == 2 && shape.elements() <= 400 => {
            let [h, w] = [shape[0], shape[1]];
            let image = b.reshape(x, [1, 1, h, w])?;
            let weight = b.weight([1 + dice.roll(3), 1, 1 + dice.roll(3), 1 + dice.roll(3)])?;
            let window = Window {
                stride: [1 + dice.roll(2), 1 + dice.roll(3)],
                padding: [dice.roll(3), dice.roll(2)],
                ..Window::default()
            };
            match b.conv2d(image, weight, window) {
                Ok(y) => y,
                Err(_) => return Ok(None),
            }
        }
        16 if rank > 0 => {
            let indices: Vec<u32> = (0..1 + dice.roll(6)).map(|_| dice.roll(shape[0]) as u32).collect();
            let indices = b.words(&indices)?;
            b.gather(x, indices)?
        }
        _ => return Ok(None),
    };
    let fits = b.shape(made).elements() <= 3000 && b.shape(made).len() <= 5;
    Ok(fits.then_some(made))
}

/// A random graph and its outputs.
fn graph(seed: u64) -> Result<(Builder, Vec<Value>)> {
    let mut dice = Dice { seed, drawn: 0 };
    let mut b = Builder::new(&format!("fuzz {seed}"));
    let mut values = Vec::new();
    let sizes = [1, 2, 3, 5, 7];
    for rank in [2, 2, 3, 1, 2] {
        let shape: Vec<usize> = (0..rank).map(|_| dice.pick(&sizes)).collect();
        values.push(b.input(shape, Fill::Between(-1.0, 1.0))?);
    }
    let nodes = 5 + dice.roll(40);
    while values.len() < nodes {
        if let Some(value) = grow(&mut b, &mut dice, &values)? {
            values.push(value);
        }
    }
    let mut outputs = vec![*values.last().unwrap_or(&values[0])];
    for _ in 0..dice.roll(4) {
        outputs.push(dice.pick(&values));
    }
    Ok((b, outputs))
}

/// The graph's outputs, and the gradients of their weighted sum by every real input.
fn with_gradients(seed: u64) -> Result<(Graph, Vec<crate::cases::Feed>, Vec<Value>)> {
    let (mut b, mut outputs) = graph(seed)?;
    let mut loss = b.constant(0.0, [])?;
    for output in outputs.clone() {
        let part = b.weigh(output)?;
        loss = b.add(loss, part)?;
    }
    let by: Vec<Value> = b.feeds().iter().filter(|feed| feed.is_real()).map(|feed| feed.value).collect();
    outputs.push(loss);
    outputs.extend(b.gradients(loss, &by)?);
    let (graph, feeds) = b.finish();
    Ok((graph, feeds, outputs))
}

fn run(
    device: &Device,
    plan: &Plan,
    graph: &Graph,
    feeds: &[crate::cases::Feed],
    outputs: usize,
) -> Result<Vec<Vec<f64>>> {
    let layout = ParameterLayout::of(graph);
    let mut session = device.load(std::slice::from_ref(plan))?;
    for feed in feeds {
        let (name, offset) = feed.place(&layout);
        session.write_at(name, offset, &feed.values())?;
    }
    session.run(0, 1)?;
    (0..outputs).map(|index| Ok(to_f64(&session.read(&format!("output {index}"))?))).collect()
}

fn check(seed: u64, device: &Device, tolerance: f64) -> Result<(), String> {
    let failed = |error: pinhole::Error| format!("graph {seed}: {error}");
    let (graph, feeds, outputs) = with_gradients(seed).map_err(failed)?;
    let names: Vec<String> = (0..outputs.len()).map(|index| format!("output {index}")).collect();
    let named: Vec<(Value, &str)> = outputs.iter().copied().zip(names.iter().map(|name| &name[..])).collect();
    let plan = Plan::on(&any_target(), &format!("graph {seed}"), &graph, &named).map_err(failed)?;
    check_plan(&plan, &any_target()).map_err(|error| format!("graph {seed}: {error}"))?;
    reads_what_was_written(&plan).map_err(|error| format!("graph {seed}: {error}"))?;
    let expected = evaluate(&graph, &feeds, &outputs);
    let got = run(device, &plan, &graph, &feeds, outputs.len()).map_err(failed)?;
    // Gradients of a saturated function are tiny, and as exact as the numbers they come from.
    for ((got, expected), name) in got.iter().zip(&expected).zip(&names) {
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let allowed = tolerance * (1.0 / largest.max(1e-300)).max(1.0);
        compare(&format!("graph {seed} on {}, {name}", device.name()), got, expected, allowed)?;
    }
    Ok(())
}

#[test]
fn random_graphs_on_the_oracle() {
    report((0..600).filter_map(|seed| check(seed, &Device::CpuF64, 1e-9).err()).collect());
}

#[test]
fn random_graphs_on_the_gpu() {
    report((1000..1030).filter_map(|seed| check(seed, &gpu(), 3e-5).err()).collect());
}
