//! Times a workload: a first step, a warm-up, then blocks of steps, each of which ends by waiting for the device.

use super::ceilings::{Ceilings, rounded};
use super::host::{ProcessorTime, peak_memory, reset_peak_memory};
use super::loaded::{Loaded, Material};
use super::workload::Workload;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{Tuning, TuningReport, median};
use crate::plan::Target;
use std::time::{Duration, Instant};

/// Settings of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Number of timed blocks, of which the median is reported. No further block starts once the blocks have taken four
    /// times their intended time together.
    pub blocks: usize,
    /// Seconds that a block should last; a block has at least one step.
    pub block_seconds: f64,
    /// Samples in a step, in place of the workload's number. Matrix products ignore it.
    pub batch: Option<usize>,
    /// Time for tuning tiles before the workload; `None` does not tune. No result includes this time.
    pub tune: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { blocks: 5, block_seconds: 1.0, batch: None, tune: None }
    }
}

/// The result of a workload: a line of JSON. Rates are those of the median block; fields that do not apply are null.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Measurement {
    /// `pinhole-` and the version, with `-tuned` at the end for tuned tiles.
    pub peer: String,
    /// The device.
    pub device: String,
    /// The workload.
    pub workload: String,
    /// Samples in a step.
    pub batch: usize,
    /// Steps per second of training.
    pub steps_per_s: Option<f64>,
    /// Floating-point operations per second, in units of 1e9.
    pub gflops: f64,
    /// The slowest block: steps per second of training, else `gflops`.
    pub min: f64,
    /// The fastest block.
    pub max: f64,
    /// Timed blocks.
    pub blocks: usize,
    /// Steps of each block.
    pub steps_per_block: usize,
    /// All steps that ran, warm-up included.
    pub steps: u64,
    /// The loss of the first step.
    pub first_loss: Option<f64>,
    /// The loss of the last step.
    pub loss: Option<f64>,
    /// The largest error of some outputs of an op relative to the largest output.
    pub rel_err: Option<f64>,
    /// Seconds of the first step, after everything is loaded.
    pub first_step_s: f64,
    /// Seconds from opening the device to the end of the first step: planning, compiling and writing the data included.
    pub first_finished_step_s: f64,
    /// Seconds from opening the device to the first timed block.
    pub warmup_s: f64,
    /// Launches of a step; null on the CPU.
    pub launches: Option<u64>,
    /// Microseconds in which the host records a launch; null on the CPU.
    pub host_us_per_launch: Option<f64>,
    /// Bytes of all of the plan's buffers.
    pub device_bytes: u64,
    /// Floating-point operations of a step: by definition for an op, as counted by the plan for training.
    pub flop_per_step: u64,
    /// Bytes that the launches of a step read and write.
    pub bytes_per_step: u64,
    /// The rate of multiply-adds that the device reached without memory, in 1e9 operations per second.
    pub ceiling_gflops: Option<f64>,
    /// The rate at which the device copied, in 1e9 bytes read and written per second.
    pub ceiling_gb_per_s: Option<f64>,
    /// `gflops` divided by its ceiling.
    pub ceiling_fraction: Option<f64>,
    /// Bytes per second divided by their ceiling; above 1 where data stay in caches.
    pub copy_fraction: Option<f64>,
    /// Threads that compute; null on a GPU.
    pub threads: Option<usize>,
    /// Peak memory use of the process, in MiB; null where the system does not report it.
    pub peak_rss_mb: Option<f64>,
    /// Processors that this process kept busy during the timed blocks.
    pub cpu_used: Option<f64>,
    /// Processors that others kept busy meanwhile: near 0 on a quiet machine.
    pub other_cpu: Option<f64>,
    /// The report of the tuning, which is not part of the line.
    #[serde(skip)]
    pub tuning: Option<TuningReport>,
}

impl Measurement {
    /// Sets the fractions of the device's ceilings.
    pub fn hold_against(&mut self, ceilings: &Ceilings) {
        let steps_per_s = self.gflops * 1e9 / self.flop_per_step.max(1) as f64;
        self.ceiling_gflops = Some(rounded(ceilings.gflops));
        self.ceiling_gb_per_s = Some(rounded(ceilings.gb_per_s));
        self.ceiling_fraction = Some(rounded(self.gflops / ceilings.gflops));
        self.copy_fraction = Some(rounded(steps_per_s * self.bytes_per_step as f64 / 1e9 / ceilings.gb_per_s));
    }
}

/// Opens a device by name, and runs and times a workload on the device. Fails where the settings allow no measurement,
/// where the loss is not finite or has not fallen, or where the output of an op is wrong.
pub fn measure(workload: Workload, device: &str, settings: &Timing) -> Result<Measurement> {
    let Timing { blocks, block_seconds, batch, tune } = *settings;
    if blocks == 0 || !(block_seconds > 0.0 && block_seconds <= 3600.0) {
        return Err(Error::invalid(
            "blocks",
            format!("{blocks} blocks of {block_seconds} seconds are no measurement"),
            "use at least one block of more than 0 seconds and at most an hour",
        ));
    }
    reset_peak_memory();
    let material = Material::new(workload, batch)?;
    let mut opened = Instant::now();
    let device = Device::open(device)?;
    let began = Instant::now();
    let plans = |target: &Target| Ok(vec![material.plan(target)?]);
    let tuning = tune.map(|budget| device.tune(&Tuning { budget, ..Tuning::default() }, plans)).transpose()?.flatten();
    if tune.is_some() {
        opened += began.elapsed();
    }
    let mut loaded = material.load(&device)?;
    let first = Instant::now();
    loaded.run(1)?;
    let (first_step_s, first_finished_step_s) = (first.elapsed().as_secs_f64(), opened.elapsed().as_secs_f64());

    let steps_per_block = warm_up(&mut loaded, block_seconds)?;
    let warmup_s = opened.elapsed().as_secs_f64();
    let before = loaded.session.statistics();
    let processors = ProcessorTime::now();
    let seconds = time_blocks(&mut loaded, settings, steps_per_block)?;
    let busy = processors.and_then(|then| then.busy());
    let statistics = before.zip(loaded.session.statistics());
    let rel_err = loaded.check()?;

    let median = median(&seconds);
    let fastest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    let gflops = |seconds: f64| loaded.flop_per_step() as f64 / seconds / 1e9;
    let rate = |seconds: f64| if workload.trains() { 1.0 / seconds } else { gflops(seconds) };
    let timed = (seconds.len() * steps_per_block) as u64;
    Ok(Measurement {
        peer: format!("pinhole-{}{}", env!("CARGO_PKG_VERSION"), if tuning.is_some() { "-tuned" } else { "" }),
        device: device.name(),
        workload: workload.to_string(),
        batch: material.batch(),
        steps_per_s: workload.trains().then(|| rounded(1.0 / median)),
        gflops: rounded(gflops(median)),
        min: rounded(rate(slowest)),
        max: rounded(rate(fastest)),
        blocks: seconds.len(),
        steps_per_block,
        steps: loaded.steps(),
        first_loss: loaded.losses().map(|[first, _]| first),
        loss: loaded.losses().map(|[_, last]| last),
        rel_err: rel_err.map(rounded),
        first_step_s: rounded(first_step_s),
        first_finished_step_s: rounded(first_finished_step_s),
        warmup_s: rounded(warmup_s),
        launches: statistics.map(|(before, after)| (after.launches - before.launches) / timed),
        host_us_per_launch: statistics.map(|(before, after)| {
            let recording = after.recording - before.recording;
            rounded(recording.as_secs_f64() * 1e6 / (after.launches - before.launches).max(1) as f64)
        }),
        device_bytes: loaded.device_bytes,
        flop_per_step: loaded.flop_per_step(),
        bytes_per_step: loaded.bytes_per_step,
        ceiling_gflops: None,
        ceiling_gb_per_s: None,
        ceiling_fraction: None,
        copy_fraction: None,
        threads: match device {
            Device::Gpu(_) => None,
            Device::Cpu | Device::CpuF64 => Some(rayon::current_num_threads()),
        },
        peak_rss_mb: peak_memory().map(rounded),
        // The system counts processor time in hundredths of a second.
        cpu_used: busy.map(|[own, _]| (100.0 * own).round() / 100.0),
        other_cpu: busy.map(|[_, others]| (100.0 * others).round() / 100.0),
        tuning,
    })
}

/// Seconds of a step in each timed block.
fn time_blocks(loaded: &mut Loaded, settings: &Timing, steps_per_block: usize) -> Result<Vec<f64>> {
    let &Timing { blocks, block_seconds, .. } = settings;
    let began = Instant::now();
    let mut seconds = Vec::with_capacity(blocks);
    while seconds.len() < blocks {
        let block = Instant::now();
        loaded.run(steps_per_block)?;
        seconds.push(block.elapsed().as_secs_f64() / steps_per_block as f64);
        if began.elapsed().as_secs_f64() > 4.0 * blocks as f64 * block_seconds {
            break;
        }
    }
    Ok(seconds)
}

/// Runs steps until their pace has settled, and returns the number of steps that fill a block.
fn warm_up(loaded: &mut Loaded, block_seconds: f64) -> Result<usize> {
    // Only a wait shows the device's time, so the steps between two waits are doubled until they last long enough.
    let mut steps = 1;
    let pace = loop {
        let began = Instant::now();
        loaded.run(steps)?;
        let took = began.elapsed().as_secs_f64();
        if took >= block_seconds.min(0.25) {
            break took / steps as f64;
        }
        steps *= 2;
    };
    let fitting = ((block_seconds / pace).round() as usize).max(1);
    // Another block lets clock speeds rise, unless one step already fills a block.
    if fitting > 1 {
        loaded.run(fitting)?;
    }
    Ok(fitting)
}
