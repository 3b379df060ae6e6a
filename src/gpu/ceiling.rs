//! The ceilings of an adapter and the cost of a launch, measured by the kernels of `shaders/ceiling.wgsl`, which no
//! plan uses. [`crate::bench`] compares plans with the ceilings.

use super::adapter::Gpu;
use super::autotune::median;
use super::session::{Launch, Range};
use super::shader::parse;
use crate::error::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATH: &str = "shaders/ceiling.wgsl";
const SOURCE: &str = include_str!("../../shaders/ceiling.wgsl");

/// Invocations of a workgroup of `copy` and `multiply_add`.
const WORKGROUP: u64 = 256;
/// `ROUNDS` of the shader: multiply-adds of each chain.
const ROUNDS: u64 = 256;
/// Multiply-adds of an invocation in a round: eight chains of four.
const WIDTH: u64 = 32;
/// Bytes that a launch of the sweep works on; a multiple of every adapter's alignment.
const SWEEP_BYTES: u64 = 256;

/// A kernel that runs at a ceiling of the adapter.
pub struct Probe {
    gpu: Arc<Gpu>,
    launch: Launch,
    work: f64,
}

/// The buffers that the launches of a pass use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Buffers {
    /// Each launch changes a range of one shared read-write buffer: wgpu puts a barrier between every two launches.
    Shared,
    /// Each launch changes a separate read-write buffer: no barriers.
    Separate,
    /// Each launch reads the buffer that the launch before it wrote, and writes another, as the launches of a plan do.
    Chained,
}

impl Probe {
    /// A kernel that copies a buffer, which is larger than the caches of hardware adapters. The work is bytes read and
    /// written.
    pub fn copy(gpu: &Arc<Gpu>) -> Result<Probe> {
        // A software adapter is bound by its instructions rather than by memory, so a small buffer is enough.
        let size = if gpu.summary().software { 16 << 20 } else { 256 << 20 };
        let size = size.min(gpu.limits().binding_bytes).min(gpu.limits().buffer_bytes) / 16 * 16;
        let (x, y) = (buffer(gpu, "copied", size)?, buffer(gpu, "copy", size)?);
        let groups = (size / 16).div_ceil(WORKGROUP);
        let rows = groups.div_ceil(gpu.limits().workgroups);
        let grid = [groups.div_ceil(rows) as u32, rows as u32, 1];
        let launch = launch(gpu, &pipeline(gpu, "copy")?, &[(0, (&x, 0, size)), (1, (&y, 0, size))], grid)?;
        Ok(Probe { gpu: gpu.clone(), launch, work: 2.0 * size as f64 })
    }

    /// A kernel that multiplies and adds in registers. The work is floating-point operations.
    pub fn arithmetic(gpu: &Arc<Gpu>) -> Result<Probe> {
        // Enough invocations to fill every unit several times over.
        let groups: u64 = if gpu.summary().software { 256 } else { 4096 };
        let size = groups * WORKGROUP * 16;
        let (x, y) = (buffer(gpu, "factor and addend", 32)?, buffer(gpu, "sums", size)?);
        let numbers = [0.5f32, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0];
        let write = || gpu.queue.write_buffer(&x, 0, bytemuck::cast_slice(&numbers));
        gpu.scoped(|| "factor and addend".to_owned(), write)?;
        let ranges = [(0, (&x, 0, 32)), (1, (&y, 0, size))];
        let launch = launch(gpu, &pipeline(gpu, "multiply_add")?, &ranges, [groups as u32, 1, 1])?;
        Ok(Probe { gpu: gpu.clone(), launch, work: (2 * groups * WORKGROUP * ROUNDS * WIDTH) as f64 })
    }

    /// Work of one launch: bytes or floating-point operations.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// Runs launches, and waits until they have ended.
    pub fn run(&self, launches: u64) -> Result<()> {
        submit(&self.gpu, (0..launches).map(|_| &self.launch)).map(|_| ())
    }
}

/// The cost of a launch in seconds: the median of at least five passes of `launches` small ones. Returns the host's time
/// to record a launch, and the time from the submission to the end of the pass, divided by the launches.
pub fn launch_cost(gpu: &Arc<Gpu>, buffers: Buffers, launches: usize) -> Result<[f64; 2]> {
    const LONGEST: Duration = Duration::from_millis(500);
    let pass = sweep(gpu, buffers, launches.max(1))?;
    submit(gpu, pass.iter())?;
    let began = Instant::now();
    let (mut host, mut device) = (Vec::new(), Vec::new());
    while host.len() < 5 || (began.elapsed() < LONGEST && host.len() < 101) {
        let [recording, running] = submit(gpu, pass.iter())?;
        host.push(recording.as_secs_f64() / pass.len() as f64);
        device.push(running.as_secs_f64() / pass.len() as f64);
    }
    Ok([median(&host), median(&device)])
}

/// The launches of a pass.
fn sweep(gpu: &Gpu, buffers: Buffers, launches: usize) -> Result<Vec<Launch>> {
    let made = |count: usize, size: u64| -> Result<Vec<wgpu::Buffer>> {
        (0..count).map(|_| buffer(gpu, "sweep", size)).collect()
    };
    let pipeline = pipeline(gpu, if buffers == Buffers::Chained { "pass_on" } else { "change" })?;
    let launch = |ranges: &[(u32, Range)]| launch(gpu, &pipeline, ranges, [1, 1, 1]);
    match buffers {
        Buffers::Shared => {
            let shared = buffer(gpu, "sweep", launches as u64 * SWEEP_BYTES)?;
            (0..launches as u64).map(|index| launch(&[(1, (&shared, index * SWEEP_BYTES, SWEEP_BYTES))])).collect()
        }
        Buffers::Separate => {
            made(launches, SWEEP_BYTES)?.iter().map(|own| launch(&[(1, (own, 0, SWEEP_BYTES))])).collect()
        }
        Buffers::Chained => {
            let buffers = made(4, SWEEP_BYTES)?;
            let whole = |index: usize| (&buffers[index % buffers.len()], 0, SWEEP_BYTES);
            let one = |index| launch(&[(0, whole(index)), (1, whole(index + 1))]);
            (0..launches).map(one).collect()
        }
    }
}

fn launch(gpu: &Gpu, pipeline: &wgpu::ComputePipeline, ranges: &[(u32, Range)], grid: [u32; 3]) -> Result<Launch> {
    Launch::new(gpu, (|| PATH.to_owned(), PATH), pipeline.clone(), ranges.iter().copied(), grid)
}

fn buffer(gpu: &Gpu, label: &str, size: u64) -> Result<wgpu::Buffer> {
    gpu.buffer(label, size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)
}

fn pipeline(gpu: &Gpu, entry: &'static str) -> Result<wgpu::ComputePipeline> {
    let source = wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(parse(SOURCE, PATH)?));
    let place = || format!("{PATH}, {entry}");
    gpu.scoped(place, || {
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(PATH), source };
        // SAFETY: every index is compared with the length of its buffer, and constants bound the loops.
        let module =
            unsafe { gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
        gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: None,
            module: &module,
            entry_point: Some(entry),
            compilation_options: Default::default(),
            cache: None,
        })
    })
}

/// Runs launches in one pass and waits for its end. Returns the times of recording and of everything after recording.
fn submit<'a>(gpu: &Gpu, launches: impl Iterator<Item = &'a Launch>) -> Result<[Duration; 2]> {
    let began = Instant::now();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for launch in launches {
            launch.record(&mut pass);
        }
    }
    let submit = || {
        let commands = encoder.finish();
        let recorded = Instant::now();
        (gpu.queue.submit([commands]), recorded)
    };
    let (submission, recorded) = gpu.scoped(|| "launch".to_owned(), submit)?;
    gpu.wait(Some(submission))?;
    Ok([recorded - began, recorded.elapsed()])
}
