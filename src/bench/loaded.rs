//! Workloads: their data and weights in the host's memory, then their plan and buffers on a device.

use super::workload::{CONV_CHANNELS, CONV_SIDE, Workload};
use crate::data::digits;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::gpu::random;
use crate::graph::{Graph, Window};
use crate::model::Network;
use crate::plan::{Optimizer, Plan, State, Step, Target, buffers};
use crate::rng::{self, HostStream, Sequence};
use crate::tensor::{DType, Values};
use crate::train::training_plan;

/// Largest number of steps of an epoch, and the largest size of its data in bytes, about that of MNIST.
const EPOCH_STEPS: usize = 200;
const EPOCH_BYTES: usize = 64 << 20;
/// Number of distinct digits. An epoch repeats them.
const DRAWN: usize = 4096;
/// Largest batch.
const MOST_SAMPLES: usize = 1 << 16;
/// The seed of data, weights, order and noise.
const SEED: u64 = 0;
const RATE: f64 = 1e-3;
/// Steps after which the loss must have fallen.
const LEAST_STEPS: u64 = 16;
/// Pixels of a digit.
const PIXELS: usize = 784;
/// Number of outputs of an op that are compared with sums in f64.
const CHECKED: usize = 64;

/// The data and weights of a workload, made before any timing.
pub struct Material {
    workload: Workload,
    batch: usize,
    content: Content,
}

enum Content {
    Training { network: Box<Network>, data: Values, parameters: Values },
    Kernel { left: Vec<f32>, right: Vec<f32> },
}

/// A workload on a device, ready to run.
pub struct Loaded<'a> {
    material: &'a Material,
    pub(super) session: Session,
    /// Bytes of all buffers of the plan.
    pub(super) device_bytes: u64,
    flop_per_step: u64,
    /// Bytes that the launches of a step read and write, summed over launches.
    pub(super) bytes_per_step: u64,
    epoch: u32,
    position: usize,
    step: u64,
    losses: Option<[f64; 2]>,
}

impl Material {
    /// The data and weights of a workload, with `batch` samples in a step in place of the workload's number. Fails
    /// where `batch` is not between 1 and 65536.
    pub fn new(workload: Workload, batch: Option<usize>) -> Result<Material> {
        let batch = match workload {
            Workload::MatMul(_) => 1,
            _ => batch.unwrap_or(workload.batch()),
        };
        if !(1..=MOST_SAMPLES).contains(&batch) {
            let problem = format!("it is not between 1 and {MOST_SAMPLES}");
            return Err(Error::invalid(format!("batch {batch}"), problem, "use another --batch"));
        }
        let content = match (workload.model()?, workload) {
            (Some(mut spec), _) => {
                spec.train.batch = batch;
                let pixels = spec.input.elements();
                let count = samples(batch, pixels);
                let data = if pixels == PIXELS { pictures(count) } else { noise(count * pixels) };
                let network = Network::new(spec)?;
                let parameters = Values::F32(network.initial(SEED));
                Content::Training { network: Box::new(network), data, parameters }
            }
            (None, Workload::MatMul(size)) => {
                Content::Kernel { left: random(1, size * size), right: random(2, size * size) }
            }
            (None, _) => Content::Kernel {
                left: random(1, batch * CONV_CHANNELS * CONV_SIDE * CONV_SIDE),
                right: random(2, CONV_CHANNELS * CONV_CHANNELS * 9),
            },
        };
        Ok(Material { workload, batch, content })
    }

    /// Samples in a step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The plan of one step on a device.
    pub fn plan(&self, target: &Target) -> Result<Plan> {
        match &self.content {
            Content::Training { network, .. } => {
                training_plan(network, self.epoch_steps() * self.batch, target.clone())
            }
            Content::Kernel { .. } => kernel_plan(self.workload, self.batch, target),
        }
    }

    /// Makes the plan, loads the plan on a device and writes all data.
    pub fn load(&self, device: &Device) -> Result<Loaded<'_>> {
        let plan = self.plan(&device.target())?;
        let flop_per_step = match self.workload {
            Workload::MatMul(size) => 2 * (size as u64).pow(3),
            Workload::Conv3x3 => 2 * 9 * (self.batch * CONV_SIDE * CONV_SIDE * CONV_CHANNELS * CONV_CHANNELS) as u64,
            _ => plan.operations(),
        };
        let mut loaded = Loaded {
            material: self,
            device_bytes: plan.bytes(),
            flop_per_step,
            bytes_per_step: plan.steps.iter().map(Step::bytes).sum(),
            session: device.load(&[plan])?,
            epoch: 0,
            position: 0,
            step: 0,
            losses: None,
        };
        let session = &mut loaded.session;
        match &self.content {
            Content::Training { data, parameters, .. } => {
                session.write(&buffers::data(buffers::TRAIN), data)?;
                session.write_parameters(parameters)?;
                let zeros = Values::F32(vec![0.0; OPTIMIZER.moments() * parameters.len()]);
                session.write_at(buffers::MOMENTS, 0, &zeros)?;
                loaded.begin_epoch()?;
            }
            Content::Kernel { left, right } => {
                session.write("left", &Values::F32(left.clone()))?;
                session.write("right", &Values::F32(right.clone()))?;
            }
        }
        Ok(loaded)
    }

    /// Steps of an epoch.
    fn epoch_steps(&self) -> usize {
        match &self.content {
            Content::Training { data, network, .. } => data.len() / network.spec().input.elements() / self.batch,
            Content::Kernel { .. } => 1,
        }
    }
}

const OPTIMIZER: Optimizer = Optimizer::ADAM;

impl Loaded<'_> {
    /// Runs steps and waits for them. Fails if a loss is not finite.
    pub fn run(&mut self, steps: usize) -> Result<()> {
        let Content::Training { .. } = self.material.content else {
            self.session.run(0, steps)?;
            self.step += steps as u64;
            return self.session.wait();
        };
        let epoch_steps = self.material.epoch_steps();
        let mut left = steps;
        while left > 0 {
            if self.position == epoch_steps {
                self.epoch += 1;
                self.position = 0;
                self.begin_epoch()?;
            }
            let steps = left.min(epoch_steps - self.position);
            self.session.run(0, steps)?;
            self.position += steps;
            self.step += steps as u64;
            left -= steps;
        }
        self.session.wait()?;
        let losses = self.session.metrics(0);
        for (index, row) in losses.iter().enumerate() {
            let loss = row[0];
            if !loss.is_finite() {
                let step = self.step - (losses.len() - 1 - index) as u64;
                let place = "the loss".to_owned();
                return Err(Error::NonFinite { place, value: loss, step, epoch: self.epoch as u64 + 1 });
            }
            let [first, _] = self.losses.unwrap_or([loss; 2]);
            self.losses = Some([first, loss]);
        }
        Ok(())
    }

    /// Steps that have run.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The losses of the first and the last step, for a training workload that has run.
    pub fn losses(&self) -> Option<[f64; 2]> {
        self.losses
    }

    /// Floating-point operations of a step: by definition for an op, as counted by the plan for training.
    pub fn flop_per_step(&self) -> u64 {
        self.flop_per_step
    }

    /// Checks the results: fails if training has not reduced the loss within at least 16 steps, or if an op's output is
    /// wrong. For an op, returns the largest error among some outputs, divided by the largest of these outputs.
    pub fn check(&mut self) -> Result<Option<f64>> {
        /// Far above rounding errors and far below the effect of any mistake.
        const TOLERANCE: f64 = 1e-3;
        let workload = self.material.workload;
        let (left, right) = match &self.material.content {
            Content::Training { .. } => {
                // The first losses differ more by their batches than by training.
                self.run(LEAST_STEPS.saturating_sub(self.step) as usize)?;
                return match self.losses {
                    Some([first, last]) if last >= first => Err(Error::invalid(
                        format!("workload \"{workload}\""),
                        format!("the loss went from {first} to {last} in {} steps", self.step),
                        "report this as a bug in pinhole or in the driver",
                    )),
                    _ => Ok(None),
                };
            }
            Content::Kernel { left, right } => (left, right),
        };
        let output: Vec<f64> = match self.session.read("output")? {
            Values::F32(values) => values.into_iter().map(f64::from).collect(),
            Values::F64(values) => values,
            Values::U32(_) | Values::U8(_) => vec![],
        };
        // An odd stride, so that the checked outputs fall on all places of a tile.
        let stride = (output.len() / CHECKED).max(1) | 1;
        let (mut error, mut largest) = (0.0f64, 0.0f64);
        for place in (0..output.len()).step_by(stride) {
            let expected = match workload {
                Workload::MatMul(size) => {
                    let (row, column) = (place / size, place % size);
                    (0..size).map(|k| left[row * size + k] as f64 * right[k * size + column] as f64).sum::<f64>()
                }
                _ => convolved(left, right, place),
            };
            let difference = (output[place] - expected).abs();
            // The comparison is false for NaN, which so becomes the error.
            error = if difference <= error { error } else { difference };
            largest = largest.max(expected.abs());
        }
        let relative = error / largest;
        if relative <= TOLERANCE {
            return Ok(Some(relative));
        }
        Err(Error::invalid(
            format!("workload \"{workload}\""),
            format!("an output is wrong by {relative:.1e} of the largest"),
            "report this as a bug in pinhole or in the driver",
        ))
    }

    /// Writes the order, schedule and state of an epoch, as a trainer does.
    fn begin_epoch(&mut self) -> Result<()> {
        let steps = self.material.epoch_steps();
        let order = Sequence::new(SEED, HostStream::Shuffle, self.epoch).permutation(steps * self.material.batch);
        let rows = (1..=steps as u64).flat_map(|row| OPTIMIZER.schedule_row(self.step + row, RATE, 0.0));
        let state = State { seed: SEED, step: self.step as u32, position: 0, offset: 0 };
        self.session.write(&buffers::permutation(buffers::TRAIN), &Values::U32(order))?;
        self.session.write(buffers::SCHEDULE, &Values::F64(rows.collect()))?;
        self.session.write(&buffers::state(buffers::TRAIN), &Values::U32(state.words()))
    }
}

/// Samples of an epoch: a whole number of batches.
fn samples(batch: usize, pixels: usize) -> usize {
    batch * (EPOCH_BYTES / pixels / batch).clamp(1, EPOCH_STEPS)
}

/// Bytes of `count` digits, concatenated.
fn pictures(count: usize) -> Values {
    let order: Vec<u32> = (0..count).map(|sample| (sample % DRAWN) as u32).collect();
    digits(count.min(DRAWN), SEED).gather(&order)
}

/// Bytes of squared uniform draws. Their mean is a third, so that a sigmoid that starts at a half has a mean to learn.
fn noise(count: usize) -> Values {
    let words = (0..count.div_ceil(4)).flat_map(|block| rng::words(SEED, 0, 0, block as u32));
    Values::U8(words.map(|word| (rng::unit(word).powi(2) * 256.0) as u8).take(count).collect())
}

fn kernel_plan(workload: Workload, batch: usize, target: &Target) -> Result<Plan> {
    let mut graph = Graph::new();
    let output = match workload {
        Workload::MatMul(size) => {
            let left = graph.input("left", [size, size], DType::Float)?;
            let right = graph.input("right", [size, size], DType::Float)?;
            graph.matmul(left, right, false, false)?
        }
        _ => {
            let x = graph.input("left", [batch, CONV_CHANNELS, CONV_SIDE, CONV_SIDE], DType::Float)?;
            let weight = graph.input("right", [CONV_CHANNELS, CONV_CHANNELS, 3, 3], DType::Float)?;
            graph.conv2d(x, weight, Window::square(1, 1))?
        }
    };
    Plan::on(target, &workload.to_string(), &graph, &[(output, "output")])
}

/// One output of the convolution, in f64.
fn convolved(x: &[f32], weight: &[f32], place: usize) -> f64 {
    let (column, rest) = (place % CONV_SIDE, place / CONV_SIDE);
    let (row, rest) = (rest % CONV_SIDE, rest / CONV_SIDE);
    let (out, sample) = (rest % CONV_CHANNELS, rest / CONV_CHANNELS);
    let mut sum = 0.0;
    for (channel, r, s) in (0..CONV_CHANNELS * 9).map(|tap| (tap / 9, tap % 9 / 3, tap % 3)) {
        let (h, w) = (row + r, column + s);
        if (1..=CONV_SIDE).contains(&h) && (1..=CONV_SIDE).contains(&w) {
            let pixel = x[((sample * CONV_CHANNELS + channel) * CONV_SIDE + h - 1) * CONV_SIDE + w - 1];
            sum += pixel as f64 * weight[(out * CONV_CHANNELS + channel) * 9 + r * 3 + s] as f64;
        }
    }
    sum
}
