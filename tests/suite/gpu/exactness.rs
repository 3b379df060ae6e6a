//! How exact numbers are: elementwise functions in units in the last place against f64, the generator against Random123's
//! known answers and the host's words, draws in their statistics, bytes in all their values.

use crate::check::{any_target, gpu, is_lavapipe, report, to_f64};
use pinhole::cpu::Real;
use pinhole::graph::{Binary, Graph, STATE_LENGTH, Unary, Value};
use pinhole::plan::{Plan, State};
use pinhole::rng;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::{Device, Result};

/// How far a result may be from the true one: on the CPU as `src/cpu/math.rs` documents, which lavapipe equals bit for bit;
/// on other GPUs what WGSL's own errors and reassociation make of that.
#[derive(Clone, Copy)]
enum Bound {
    /// Units in the last place of the true result; of 2⁻¹⁴⁹ where that is subnormal.
    Ulp { cpu: f64, gpu: f64 },
    /// A part of the true result.
    Relative { cpu: f64, gpu: f64 },
    /// An absolute error.
    Absolute { cpu: f64, gpu: f64 },
}

impl Bound {
    fn error(self, got: f32, truth: f64) -> f64 {
        let rounded = truth as f32;
        if got == rounded || (got.is_nan() && truth.is_nan()) {
            return 0.0;
        }
        // Next to the largest number an error of some units is infinite.
        let edge = rounded.abs() > f32::MAX * 0.999999;
        if edge && got.abs() > f32::MAX * 0.999999 && (got > 0.0) == (truth > 0.0) {
            return 0.0;
        }
        let error = (got as f64 - truth).abs();
        match self {
            Bound::Ulp { .. } => {
                let exponent = truth.abs().log2().floor().max(-126.0);
                error / 2f64.powi(exponent as i32 - 23)
            }
            Bound::Relative { .. } => error / truth.abs(),
            Bound::Absolute { .. } => error,
        }
    }

    fn allowed(self, on_cpu: bool) -> f64 {
        // The documentation gives two digits after the point.
        match self {
            Bound::Ulp { cpu, .. } if on_cpu => cpu + 0.01,
            Bound::Relative { cpu, .. } | Bound::Absolute { cpu, .. } if on_cpu => cpu,
            Bound::Ulp { gpu, .. } | Bound::Relative { gpu, .. } | Bound::Absolute { gpu, .. } => gpu,
        }
    }
}

/// Bounds of a function and where they hold. A new op needs its line here.
fn bound(op: Unary) -> (Bound, fn(f32) -> bool) {
    let everywhere = |_: f32| true;
    let ulp = |cpu: f64, gpu: f64| Bound::Ulp { cpu, gpu };
    match op {
        Unary::Negate | Unary::Absolute | Unary::Sign | Unary::Step | Unary::Relu => (ulp(0.0, 0.0), everywhere),
        Unary::Square => (ulp(0.5, 1.0), everywhere),
        Unary::SquareRoot => (ulp(0.5, 5.0), |x| x >= 0.0),
        Unary::Reciprocal => (ulp(0.5, 2.5), everywhere),
        Unary::Exp => (ulp(1.17, 6.0), everywhere),
        Unary::Ln => (ulp(0.91, 2.0), |x| x >= 0.0),
        Unary::Sigmoid => (ulp(2.41, 8.0), everywhere),
        Unary::Tanh => (ulp(1.32, 4.0), everywhere),
        Unary::Softplus => (ulp(1.78, 7.0), everywhere),
        Unary::Silu => (ulp(2.55, 8.0), everywhere),
        Unary::Gelu => (ulp(3.95, 70.0), |x| x >= -8.0),
        Unary::Erf => (ulp(1.20, 3.0), everywhere),
        Unary::Sine | Unary::Cosine => (Bound::Absolute { cpu: 8.7e-8, gpu: 1e-5 }, everywhere),
        Unary::NormalQuantile => (Bound::Relative { cpu: 3.9e-7, gpu: 1e-6 }, |u| (0.0..1.0).contains(&u)),
    }
}

/// Bounds of a function of two numbers and where they hold. A new op needs its line here.
fn bounds(op: Binary) -> (Bound, fn(f32, f32) -> bool) {
    let ulp = |cpu: f64, gpu: f64| Bound::Ulp { cpu, gpu };
    match op {
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::LeakyRelu => (ulp(0.5, 1.0), |_, _| true),
        Binary::Divide => (ulp(0.5, 2.5), |_, _| true),
        Binary::Maximum | Binary::Minimum | Binary::Less | Binary::Equal => (ulp(0.0, 0.0), |_, _| true),
        Binary::Power => (ulp(2.46, 90.0), |x, y| x >= 0.0 && y.abs() <= 3.0),
        // As a part of the larger of |x| and the result, at most 30: 1.91 units of 16.
        Binary::BceWithLogits => {
            (Bound::Absolute { cpu: 1.91 * 1.91e-6, gpu: 1e-5 }, |x, y| x.abs() <= 30.0 && (0.0..=1.0).contains(&y))
        }
        Binary::Elu => (ulp(2.16, 8.0), |_, y| (1.0..=2.0).contains(&y)),
    }
}

/// Some 1e5 numbers: even in ±20 and ±100, by magnitude from the smallest to the largest, and the ends themselves.
fn points() -> Vec<f32> {
    let mut points = vec![0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, 20.0, -20.0];
    points.extend([100.0, -100.0, 88.72, 88.73, -87.33, -103.9, -104.1, 0.625, -0.625, 1e4, -1e4, f32::MAX, f32::MIN]);
    points.extend((0..40_000).map(|i| -20.0 + i as f32 * 1e-3));
    points.extend((0..20_000).map(|i| -100.0 + i as f32 * 1e-2));
    points.extend((0..20_000u32).flat_map(|i| {
        // Patterns of bits, evenly over all magnitudes.
        let magnitude = f32::from_bits((i as u64 * 0x7f80_0000 / 20_000) as u32 + i % 7);
        [magnitude, -magnitude]
    }));
    points
}

/// Multiples of 2⁻²⁴ in `[0, 1)`, the first and the last of them included.
fn units() -> Vec<f32> {
    let mut units: Vec<f32> = (0..100_000u32).map(|i| rng::unit(i.wrapping_mul(0x9e37_79b9))).collect();
    units.extend((0..1000).flat_map(|i| [i as f32 / 16_777_216.0, 1.0 - (i + 1) as f32 / 16_777_216.0]));
    units
}

fn compute(device: &Device, inputs: &[&[f32]], build: impl Fn(&mut Graph, &[Value]) -> Result<Value>) -> Vec<f32> {
    let mut graph = Graph::new();
    let mut tensors = Vec::new();
    let mut values = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let name = format!("x{index}");
        values.push(graph.input(&name, [input.len()], DType::Float).expect("an input"));
        tensors.push((name, Tensor::from_f32([input.len()], input.to_vec()).expect("a tensor")));
    }
    let output = build(&mut graph, &values).expect("a graph");
    let given: Vec<(&str, Tensor)> = tensors.iter().map(|(name, tensor)| (&name[..], tensor.clone())).collect();
    device.compute(&graph, &[output], &given).expect("a run").remove(0).to_f32()
}

/// Errors of one function on one device; the greatest error, and what breaks the bound.
fn judge(
    what: &str,
    bound: Bound,
    on_cpu: bool,
    got: &[f32],
    truth: &[f64],
    at: impl Fn(usize) -> String,
) -> Result<f64, String> {
    if got.len() != truth.len() {
        return Err(format!("{what}: {} results of {}", got.len(), truth.len()));
    }
    let mut worst = 0.0f64;
    for (index, (got, truth)) in got.iter().zip(truth).enumerate() {
        let error = bound.error(*got, *truth);
        let flushed = !on_cpu && truth.abs() < f32::MIN_POSITIVE as f64 && *got == 0.0;
        let within = error <= bound.allowed(on_cpu) || flushed;
        if !within {
            let allowed = bound.allowed(on_cpu);
            return Err(format!(
                "{what} at {}: {got:e}, truly {truth:e}: {error:.3e} where {allowed:.3e} is allowed",
                at(index)
            ));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

/// Lavapipe neither contracts nor flushes, so that its results are the CPU's.
fn same_bits(what: &str, gpu: &[f32], cpu: &[f32], at: impl Fn(usize) -> String) -> Result<(), String> {
    let differ = |a: f32, b: f32| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
    match (0..cpu.len()).find(|index| differ(gpu[*index], cpu[*index])) {
        Some(index) => {
            Err(format!("{what} at {}: {:e} on lavapipe, {:e} on the CPU", at(index), gpu[index], cpu[index]))
        }
        None if gpu.len() != cpu.len() => Err(format!("{what}: {} results of {}", gpu.len(), cpu.len())),
        None => Ok(()),
    }
}

#[test]
fn functions_of_one_number_are_exact_to_a_few_units() {
    let mut failures = Vec::new();
    for op in Unary::ALL {
        let (bound, holds) = bound(*op);
        let mut x = if *op == Unary::NormalQuantile { units() } else { points() };
        if matches!(op, Unary::Sine | Unary::Cosine) {
            x.retain(|x| x.abs() <= 1e4);
        }
        x.retain(|x| holds(*x));
        let wide: Vec<f64> = x.iter().map(|x| *x as f64).collect();
        let mut truth = vec![0.0; x.len()];
        f64::unary(*op, &wide, &mut truth);
        let cpu = compute(&Device::Cpu, &[&x], |g, x| g.unary(*op, x[0]));
        let gpu = compute(&gpu(), &[&x], |g, x| g.unary(*op, x[0]));
        let at = |index: usize| format!("{:e}", x[index]);
        match judge(&format!("{} on the CPU", op.name()), bound, true, &cpu, &truth, at) {
            Ok(error) => println!("{}: {error:.2e} of {:.2e} at {} points", op.name(), bound.allowed(true), x.len()),
            Err(failure) => failures.push(failure),
        }
        if is_lavapipe() {
            failures.extend(same_bits(op.name(), &gpu, &cpu, at).err());
        } else {
            // A GPU may take numbers that are not normal for zeros, also on the way to a result that is.
            let normal = |x: f64| x == 0.0 || x.abs() >= 16.0 * f64::from(f32::MIN_POSITIVE);
            let kept: Vec<usize> = (0..x.len()).filter(|index| normal(wide[*index]) && normal(truth[*index])).collect();
            let of = |values: &[f64]| kept.iter().map(|index| values[*index]).collect::<Vec<f64>>();
            let gpu: Vec<f32> = kept.iter().map(|index| gpu[*index]).collect();
            let at = |index: usize| format!("{:e}", x[kept[index]]);
            failures.extend(judge(&format!("{} on the GPU", op.name()), bound, false, &gpu, &of(&truth), at).err());
        }
    }
    report(failures);
}

#[test]
fn functions_of_two_numbers_are_exact_to_a_few_units() {
    let mut failures = Vec::new();
    // Every pair of these, and many at random.
    let ends = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.0, 3.0, 30.0, -30.0, 100.0, 1e-30, -1e-30, 1e30, 0.1, 1e-3, 1e-7];
    let mut pairs: Vec<(f32, f32)> = ends.iter().flat_map(|x| ends.iter().map(|y| (*x, *y))).collect();
    for i in 0..50_000 {
        let [a, b, c, _] = rng::words(1, 0, 0, i);
        let (x, y) = (rng::unit(a), rng::unit(b));
        pairs.extend(match c % 4 {
            0 => [(60.0 * x - 30.0, y), (x, 6.0 * y - 3.0)],
            1 => [(4.0 * x, 6.0 * y - 3.0), (4.0 * x - 2.0, 1.0 + y)],
            2 => [(40.0 * x - 30.0, 1.0 + y), (1e3 * x, 1e-3 + y)],
            _ => [(x - 0.5, x - 0.5), (200.0 * x - 100.0, 200.0 * y - 100.0)],
        });
    }
    for op in Binary::ALL {
        let (bound, holds) = bounds(*op);
        // NaN is no promise; it occurs as 0/0 and as powers of negative numbers.
        let real = |x: f32, y: f32| match op {
            Binary::Divide => y != 0.0,
            Binary::Power => x > 0.0 || (x == 0.0 && y >= 0.0),
            _ => true,
        };
        let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().filter(|(x, y)| real(*x, *y)).unzip();
        let wide = |x: &[f32]| x.iter().map(|x| *x as f64).collect::<Vec<f64>>();
        let mut truth = vec![0.0; x.len()];
        f64::binary(*op, &wide(&x), &wide(&y), &mut truth);
        let cpu = compute(&Device::Cpu, &[&x, &y], |g, x| g.binary(*op, x[0], x[1]));
        let gpu = compute(&gpu(), &[&x, &y], |g, x| g.binary(*op, x[0], x[1]));
        let at = |index: usize| format!("{:e}, {:e}", x[index], y[index]);
        // The bound holds in a part of the domain only.
        let inside: Vec<usize> = (0..x.len()).filter(|index| holds(x[*index], y[*index])).collect();
        let part = |values: &[f32]| inside.iter().map(|index| values[*index]).collect::<Vec<f32>>();
        let true_part: Vec<f64> = inside.iter().map(|index| truth[*index]).collect();
        match judge(&format!("{} on the CPU", op.name()), bound, true, &part(&cpu), &true_part, |i| at(inside[i])) {
            Ok(error) => {
                println!("{}: {error:.2e} of {:.2e} at {} pairs", op.name(), bound.allowed(true), inside.len())
            }
            Err(failure) => failures.push(failure),
        }
        if is_lavapipe() {
            failures.extend(same_bits(op.name(), &gpu, &cpu, at).err());
        } else {
            let judged =
                judge(&format!("{} on the GPU", op.name()), bound, false, &part(&gpu), &true_part, |i| at(inside[i]));
            failures.extend(judged.err());
        }
    }
    report(failures);
}

#[test]
fn the_oracle_knows_what_the_standard_library_lacks() {
    // Abramowitz and Stegun, tables 7.1 and 26.5, and more digits of the same.
    let known = [
        (Unary::Erf, 0.1, 0.112_462_916_018_284_9),
        (Unary::Erf, 0.5, 0.520_499_877_813_046_5),
        (Unary::Erf, 1.0, 0.842_700_792_949_714_9),
        (Unary::Erf, -2.0, -0.995_322_265_018_952_7),
        (Unary::NormalQuantile, 0.5, 0.0),
        (Unary::NormalQuantile, 0.975, 1.959_963_984_540_054),
        (Unary::NormalQuantile, 0.1, -1.281_551_565_544_600_4),
        (Unary::NormalQuantile, 0.999, 3.090_232_306_167_813_5),
        (Unary::Gelu, 1.0, 0.841_344_746_068_542_9),
        (Unary::Gelu, -1.0, -0.158_655_253_931_457_05),
        (Unary::Softplus, 0.0, std::f64::consts::LN_2),
        (Unary::Softplus, -40.0, 4.248_354_255_291_589e-18),
        (Unary::Silu, 1.0, 0.731_058_578_630_004_9),
    ];
    for (op, x, expected) in known {
        let mut y = [0.0];
        f64::unary(op, &[x], &mut y);
        let close = (y[0] - expected).abs() <= 1e-14 * f64::max(expected.abs(), 1e-300);
        assert!(close || y[0] == expected, "{}({x}) is {:?}, truly {expected:?}", op.name(), y[0]);
    }
}

#[test]
fn philox_gives_the_known_answers() {
    // Random123's kat_vectors for philox4x32-10.
    let zero = rng::philox([0; 4], [0; 2]);
    assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    let ones = rng::philox([u32::MAX; 4], [u32::MAX; 2]);
    assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    let pi = rng::philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
    assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
}

#[test]
fn words_and_uniform_draws_are_the_hosts_bit_for_bit() {
    for size in [1, 3, 4, 5, 1000] {
        let mut graph = Graph::new();
        let draw = |graph: &mut Graph| -> Result<Vec<Value>> {
            let state = graph.input("state", [STATE_LENGTH], DType::U32)?;
            // Streams 0, 1, 2 and 3.
            Ok(vec![
                graph.random_bits(state, [size])?,
                graph.random_uniform(state, [size])?,
                graph.random_bits(state, [size])?,
                graph.random_uniform(state, [size])?,
            ])
        };
        let values = draw(&mut graph).expect("a graph");
        let names = ["0", "1", "2", "3"];
        let outputs: Vec<(Value, &str)> = values.iter().copied().zip(names).collect();
        let plan = Plan::on(&any_target(), "draws", &graph, &outputs).expect("a plan");
        for device in [gpu(), Device::Cpu, Device::CpuF64] {
            let mut session = device.load(std::slice::from_ref(&plan)).expect("a session");
            for seed in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
                for step in [0, 1, 77, u32::MAX] {
                    let state = State { seed, step, position: 3, offset: 4 };
                    session.write("state", &Values::U32(state.words())).expect("a state");
                    session.run(0, 1).expect("a run");
                    for (stream, name) in names.iter().enumerate() {
                        let words: Vec<u32> = (0..size.div_ceil(4))
                            .flat_map(|b| rng::words(seed, step, stream as u32, b as u32))
                            .take(size)
                            .collect();
                        let place = format!("{}, seed {seed}, step {step}, stream {stream}, {size}", device.name());
                        match session.read(name).expect("draws") {
                            Values::U32(drawn) => assert_eq!(drawn, words, "{place}"),
                            floats => {
                                let expected: Vec<f64> = words.iter().map(|word| rng::unit(*word) as f64).collect();
                                assert_eq!(to_f64(&floats), expected, "{place}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn normal_and_bernoulli_draws_have_their_statistics() {
    const COUNT: usize = 1_000_000;
    let mut graph = Graph::new();
    let state = graph.state("state").expect("a state");
    let normal = graph.random_normal(state, [COUNT]).expect("draws");
    let rare = graph.random_bernoulli(state, 0.05, [COUNT]).expect("draws");
    let often = graph.random_bernoulli(state, 0.7, [COUNT]).expect("draws");
    let never = graph.random_bernoulli(state, 0.0, [COUNT]).expect("draws");
    let always = graph.random_bernoulli(state, 1.0, [COUNT]).expect("draws");
    let state = Values::U32(State { seed: 2024, step: 9, position: 0, offset: 0 }.words());
    let state = Tensor::new([STATE_LENGTH], state).expect("a state");
    let outputs = [normal, rare, often, never, always];
    let drawn = gpu().compute(&graph, &outputs, &[("state", state)]).expect("a run");
    let drawn: Vec<Vec<f64>> = drawn.iter().map(|tensor| to_f64(tensor.values())).collect();
    let count = COUNT as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;

    // Five standard errors each.
    let z = &drawn[0];
    let near = |what: &str, found: f64, expected: f64, error: f64| {
        let within = (found - expected).abs() <= 5.0 * error;
        assert!(within, "{what} is {found}, expected {expected} within five times {error:e}");
    };
    near("the mean", mean(z), 0.0, 1.0 / count.sqrt());
    let moment = |power: i32| z.iter().map(|z| z.powi(power)).sum::<f64>() / count;
    near("the variance", moment(2), 1.0, (2.0 / count).sqrt());
    near("the third moment", moment(3), 0.0, (15.0 / count).sqrt());
    near("the fourth moment", moment(4), 3.0, (96.0 / count).sqrt());
    for (beyond, probability) in
        [(1.0, 0.158_655_253_9), (2.0, 0.022_750_131_9), (3.0, 0.001_349_898_0), (4.0, 3.167_124e-5)]
    {
        let error = (probability * (1.0 - probability) / count).sqrt();
        let above = z.iter().filter(|z| **z > beyond).count() as f64 / count;
        let below = z.iter().filter(|z| **z < -beyond).count() as f64 / count;
        near(&format!("the part above {beyond}"), above, probability, error);
        near(&format!("the part below -{beyond}"), below, probability, error);
    }
    assert!(z.iter().all(|z| z.abs() < 6.0), "the largest possible draw is 5.4");
    let neighbours: f64 = z.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / count;
    near("the correlation of neighbours", neighbours, 0.0, 1.0 / count.sqrt());

    for (draws, probability) in drawn[1..].iter().zip([0.05f64, 0.7, 0.0, 1.0]) {
        assert!(draws.iter().all(|draw| *draw == 0.0 || *draw == 1.0), "a draw that is neither 0 nor 1");
        near("the part of ones", mean(draws), probability, (probability * (1.0 - probability) / count).sqrt());
    }
    // Streams do not follow each other.
    let both = drawn[1].iter().zip(&drawn[2]).filter(|(a, b)| **a + **b == 2.0).count() as f64 / count;
    near("the part of ones in both streams", both, 0.035, (0.035 * 0.965 / count).sqrt());
}

#[test]
fn every_byte_becomes_exactly_its_part_of_255() {
    let mut graph = Graph::new();
    let build = |graph: &mut Graph| {
        let data = graph.input("data", [256, 1], DType::U8)?;
        let permutation = graph.input("permutation", [256], DType::U32)?;
        let state = graph.state("state")?;
        graph.batch(data, permutation, state, 256)
    };
    let batch = build(&mut graph).expect("a graph");
    let tensor = |values: Values| Tensor::new([values.len()], values).expect("a tensor");
    let inputs = [
        ("data", tensor(Values::U8((0..=255).collect()))),
        ("permutation", tensor(Values::U32((0..256).rev().collect()))),
        ("state", tensor(Values::U32(State::default().words()))),
    ];
    let expected: Vec<f64> = (0..=255u8).rev().map(|byte| (byte as f32 / 255.0) as f64).collect();
    for device in [gpu(), Device::Cpu, Device::CpuF64] {
        let result = device.compute(&graph, &[batch], &inputs).expect("a run").remove(0);
        assert_eq!(to_f64(result.values()), expected, "{}", device.name());
    }
}
