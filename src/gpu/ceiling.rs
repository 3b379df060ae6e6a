//! The ceilings of an adapter and the cost of a launch, measured by the kernels of `shaders/ceiling.wgsl`, which no
//! plan uses. [`crate::bench`] compares plans with them.

use super::adapter::Gpu;
use crate::error::{Error, Result, one_line};
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

struct Launch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    grid: [u32; 2],
}

/// The buffers that the launches of a pass use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Buffers {
    /// Each launch on a range of one shared read-write buffer: wgpu puts a barrier between every two launches.
    Shared,
    /// Each launch on a separate read-write buffer: no barriers.
    Separate,
    /// Each reads the buffer that the one before it wrote, and writes another, as the launches of a plan do.
    Chained,
}

/// Cost of a launch in a pass of many small ones, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaunchCost {
    /// Time of the host to record a launch.
    pub host: f64,
    /// Time from the submission to the end of the pass, divided by the launches.
    pub device: f64,
}

impl Probe {
    /// Copies a buffer that no cache holds, where the adapter is a real one. Its work is bytes read and written.
    pub fn copy(gpu: &Arc<Gpu>) -> Result<Probe> {
        // A software adapter is slow enough to be bound by itself instead of by memory.
        let size = if gpu.summary().software { 16 << 20 } else { 256 << 20 };
        let size = size.min(gpu.limits().binding_bytes).min(gpu.limits().buffer_bytes) / 16 * 16;
        let (x, y) = (buffer(gpu, "copied", size)?, buffer(gpu, "copy", size)?);
        let groups = (size / 16).div_ceil(WORKGROUP);
        let rows = groups.div_ceil(gpu.limits().workgroups);
        let grid = [groups.div_ceil(rows) as u32, rows as u32];
        let launch = Launch::new(gpu, "copy", &[(0, &x, 0, size), (1, &y, 0, size)], grid)?;
        Ok(Probe { gpu: gpu.clone(), launch, work: 2.0 * size as f64 })
    }

    /// Multiplies and adds in registers. Its work is floating-point operations.
    pub fn arithmetic(gpu: &Arc<Gpu>) -> Result<Probe> {
        // Enough invocations to fill every unit several times over.
        let groups: u64 = if gpu.summary().software { 256 } else { 4096 };
        let size = groups * WORKGROUP * 16;
        let (x, y) = (buffer(gpu, "factor and addend", 32)?, buffer(gpu, "sums", size)?);
        let numbers = [0.5f32, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0];
        let write = || gpu.queue.write_buffer(&x, 0, bytemuck::cast_slice(&numbers));
        gpu.scoped(|| "factor and addend".to_owned(), write)?;
        let launch = Launch::new(gpu, "multiply_add", &[(0, &x, 0, 32), (1, &y, 0, size)], [groups as u32, 1])?;
        Ok(Probe { gpu: gpu.clone(), launch, work: (2 * groups * WORKGROUP * ROUNDS * WIDTH) as f64 })
    }

    /// Work of one launch, in the unit of the probe.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// Runs launches, and waits for them.
    pub fn run(&self, launches: u64) -> Result<()> {
        let launches = (0..launches).map(|_| &self.launch);
        submit(&self.gpu, launches).map(|_| ())
    }
}

/// The cost of a launch, measured over passes of `launches` small ones: the median of at least five.
pub fn launch_cost(gpu: &Arc<Gpu>, buffers: Buffers, launches: usize) -> Result<LaunchCost> {
    const LONGEST: Duration = Duration::from_millis(500);
    let pass = sweep(gpu, buffers, launches.max(1))?;
    submit(gpu, pass.iter())?;
    let began = Instant::now();
    let (mut host, mut device) = (Vec::new(), Vec::new());
    while host.len() < 5 || (began.elapsed() < LONGEST && host.len() < 101) {
        let [recording, running] = submit(gpu, pass.iter())?;
        host.push(recording.as_secs_f64());
        device.push(running.as_secs_f64());
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] / pass.len() as f64
    };
    Ok(LaunchCost { host: median(host), device: median(device) })
}

fn sweep(gpu: &Gpu, buffers: Buffers, launches: usize) -> Result<Vec<Launch>> {
    let made = |count: usize, size: u64| -> Result<Vec<wgpu::Buffer>> {
        (0..count).map(|_| buffer(gpu, "sweep", size)).collect()
    };
    let pipeline = pipeline(gpu, if buffers == Buffers::Chained { "pass_on" } else { "change" })?;
    let launch = |entries: &[Entry]| Launch::of(gpu, &pipeline, entries, [1, 1]);
    match buffers {
        Buffers::Shared => {
            let shared = buffer(gpu, "sweep", launches as u64 * SWEEP_BYTES)?;
            (0..launches as u64).map(|index| launch(&[(1, &shared, index * SWEEP_BYTES, SWEEP_BYTES)])).collect()
        }
        Buffers::Separate => {
            made(launches, SWEEP_BYTES)?.iter().map(|own| launch(&[(1, own, 0, SWEEP_BYTES)])).collect()
        }
        Buffers::Chained => {
            let colours = made(4, SWEEP_BYTES)?;
            let colour = |index: usize| &colours[index % colours.len()];
            let one = |index| launch(&[(0, colour(index), 0, SWEEP_BYTES), (1, colour(index + 1), 0, SWEEP_BYTES)]);
            (0..launches).map(one).collect()
        }
    }
}

/// A binding's number, its buffer, and the range of bytes: offset and size.
type Entry<'a> = (u32, &'a wgpu::Buffer, u64, u64);

impl Launch {
    fn new(gpu: &Gpu, entry: &'static str, entries: &[Entry], grid: [u32; 2]) -> Result<Launch> {
        Launch::of(gpu, &pipeline(gpu, entry)?, entries, grid)
    }

    fn of(gpu: &Gpu, pipeline: &wgpu::ComputePipeline, entries: &[Entry], grid: [u32; 2]) -> Result<Launch> {
        let entries: Vec<wgpu::BindGroupEntry> = entries
            .iter()
            .map(|(binding, buffer, offset, size)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: *offset,
                    size: std::num::NonZero::new(*size),
                }),
            })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: Some(PATH), layout: &layout, entries: &entries };
        let bindings = gpu.scoped(|| PATH.to_owned(), || gpu.device.create_bind_group(&descriptor))?;
        Ok(Launch { pipeline: pipeline.clone(), bindings, grid })
    }
}

fn buffer(gpu: &Gpu, label: &str, size: u64) -> Result<wgpu::Buffer> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
    gpu.scoped(|| format!("buffer \"{label}\""), || gpu.device.create_buffer(&descriptor))
}

fn pipeline(gpu: &Gpu, entry: &'static str) -> Result<wgpu::ComputePipeline> {
    let module = naga::front::wgsl::parse_str(SOURCE).map_err(|error| Error::Shader {
        place: PATH.to_owned(),
        problem: one_line(&error.emit_to_string_with_path(SOURCE, PATH)),
    })?;
    let source = wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module));
    let place = || format!("{PATH}, {entry}");
    gpu.scoped(place, || {
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(PATH), source };
        // SAFETY: every index is compared with the length of what it goes into, and loops are bounded by constants.
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

/// Runs launches in one pass and waits for them. Returns the times of recording and of everything after it.
fn submit<'a>(gpu: &Gpu, launches: impl Iterator<Item = &'a Launch>) -> Result<[Duration; 2]> {
    let began = Instant::now();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for launch in launches {
            pass.set_pipeline(&launch.pipeline);
            pass.set_bind_group(0, &launch.bindings, &[]);
            pass.dispatch_workgroups(launch.grid[0], launch.grid[1], 1);
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
