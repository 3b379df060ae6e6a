//! Plans compiled for a GPU: buffers, pipelines and bind groups are made once, then a submission runs many steps.
//!
//! Nothing is written, mapped or waited for between steps. At most two submissions are in flight; before a third, the
//! host waits for the oldest.

use super::adapter::Gpu;
use super::shader::{Shader, specialise};
use crate::error::{Error, Result};
use crate::plan::{Access, Buffer, Kernel, Plan, bindings, foresee, grid, state};
use crate::tensor::{DType, Values};
use half::f16;
use rayon::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wgpu::ShaderRuntimeChecks;

/// How long a submission should last: long enough to hide its cost, short enough for watchdogs and a live desktop.
const SUBMISSION: Duration = Duration::from_millis(40);
/// Length of a submission on a software adapter, which has no watchdog and no desktop, but starts every submission with
/// cold caches.
const SOFTWARE_SUBMISSION: Duration = Duration::from_millis(600);
/// Bytes of a single write to the device.
const UPLOAD: usize = 4 << 20;
/// Submissions in flight before the host waits for the oldest.
const IN_FLIGHT: usize = 2;

/// Usage of staging buffers, from which the host reads.
pub(super) const STAGING: wgpu::BufferUsages = wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

/// Time spent by the host, and traffic on the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Launches recorded.
    pub launches: u64,
    /// Submissions.
    pub submissions: u64,
    /// Host time spent recording launches.
    pub recording: Duration,
    /// Host time spent in submitting calls, in which software adapters do the device's work.
    pub submitting: Duration,
    /// Host time spent waiting for the device.
    pub waiting: Duration,
    /// Bytes written to the device.
    pub uploaded: u64,
}

/// A set of plans on one GPU, sharing their buffers by name.
pub struct Session {
    pub(super) gpu: Arc<Gpu>,
    pub(super) plans: Vec<Compiled>,
    buffers: HashMap<String, Resident>,
    flights: VecDeque<Flight>,
    staging: Vec<wgpu::Buffer>,
    metrics: Vec<VecDeque<Vec<f64>>>,
    statistics: Statistics,
    completed: Instant,
}

struct Resident {
    buffer: wgpu::Buffer,
    spec: Buffer,
}

pub(super) struct Compiled {
    pub(super) launches: Vec<Launch>,
    ring: Option<Ring>,
    /// Steps that the next submission takes.
    steps: usize,
    /// Whether the steps of a submission are fixed rather than measured.
    fixed: bool,
}

pub(super) struct Launch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    grid: [u32; 3],
}

/// A buffer's range of bytes that a launch binds: offset and size.
pub(super) type Range<'a> = (&'a wgpu::Buffer, u64, u64);

impl Launch {
    /// Binds the ranges to the binding numbers that come with them. `place` names the launch in errors.
    pub(super) fn new<'a>(
        gpu: &Gpu,
        (place, label): (impl Fn() -> String, &str),
        pipeline: wgpu::ComputePipeline,
        ranges: impl Iterator<Item = (u32, Range<'a>)>,
        grid: [u32; 3],
    ) -> Result<Launch> {
        let entries = ranges.map(|(binding, (buffer, offset, size))| {
            let size = std::num::NonZero::new(size);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            wgpu::BindGroupEntry { binding, resource }
        });
        let entries: Vec<_> = entries.collect();
        let bindings = gpu.scoped(place, || {
            let layout = &pipeline.get_bind_group_layout(0);
            let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries };
            gpu.device.create_bind_group(&descriptor)
        })?;
        Ok(Launch { pipeline, bindings, grid })
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
    }
}

/// The ring buffer of a plan's metrics, and the step in the device's state.
struct Ring {
    buffer: String,
    state: String,
    columns: usize,
    step: u32,
}

struct Flight {
    submission: wgpu::SubmissionIndex,
    plan: usize,
    steps: usize,
    submitted: Instant,
    staging: Option<wgpu::Buffer>,
}

impl Session {
    /// Checks the plans against the adapter's limits, then makes all buffers, pipelines and bind groups. Fails where a
    /// plan exceeds a limit or the memory, or needs 16-bit floats that the adapter lacks.
    pub fn new(gpu: Arc<Gpu>, plans: &[Plan]) -> Result<Session> {
        let session = Session::with(gpu, plans, true)?;
        if let Some(pipelines) = &session.gpu.pipelines {
            pipelines.save();
        }
        Ok(session)
    }

    /// As [`Session::new`]; `kept` says whether later runs may find the pipelines in the cache.
    pub(super) fn with(gpu: Arc<Gpu>, plans: &[Plan], kept: bool) -> Result<Session> {
        for plan in plans {
            plan.check(gpu.limits())?;
        }
        let halves = plans.iter().flat_map(|plan| &plan.buffers).any(|buffer| buffer.dtype == DType::Half);
        if halves && !gpu.device.features().contains(wgpu::Features::SHADER_F16) {
            let problem =
                format!("f16 needs 16-bit numbers in shaders (SHADER_F16), which {} lacks", gpu.summary().name);
            return Err(Error::invalid("precision", problem, "use precision f32, or another device"));
        }
        if let Some(bytes) = gpu.limits().memory_bytes {
            foresee(plans, bytes)?;
        }
        let mut specs: Vec<Buffer> = Vec::new();
        for buffer in plans.iter().flat_map(|plan| &plan.buffers) {
            match specs.iter_mut().find(|spec| spec.name == buffer.name) {
                Some(spec) => spec.elements = spec.elements.max(buffer.elements),
                None => specs.push(buffer.clone()),
            }
        }
        let total: u64 = specs.iter().map(Buffer::bytes).sum();
        let mut buffers = HashMap::new();
        for spec in specs {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
            let size = spec.bytes().max(LEAST_BINDING);
            let buffer = gpu.buffer(&spec.name, size, usage).map_err(|error| match error {
                Error::OutOfMemory { what, help, .. } => Error::OutOfMemory {
                    what,
                    asked: size,
                    available: format!("of {total} bytes the plan needs, fewer"),
                    help,
                },
                other => other,
            })?;
            if !spec.content.is_empty() {
                let write = || gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&spec.content));
                gpu.scoped(|| format!("buffer \"{}\"", spec.name), write)?;
            }
            buffers.insert(spec.name.clone(), Resident { buffer, spec });
        }
        let began = Instant::now();
        let mut pipelines = compile(&gpu, plans, kept)?.into_iter();
        tracing::debug!(plans = plans.len(), bytes = total, elapsed = ?began.elapsed(), "loaded");
        let mut compiled = Vec::new();
        for plan in plans {
            compiled.push(Compiled::new(&gpu, plan, &buffers, pipelines.by_ref())?);
        }
        gpu.alive()?;
        let metrics = plans.iter().map(|_| VecDeque::new()).collect();
        Ok(Session {
            gpu,
            plans: compiled,
            buffers,
            flights: VecDeque::new(),
            staging: Vec::new(),
            metrics,
            statistics: Statistics::default(),
            completed: Instant::now(),
        })
    }

    /// The statistics so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The type and length of a buffer.
    pub fn buffer(&self, name: &str) -> Option<&Buffer> {
        self.buffers.get(name).map(|resident| &resident.spec)
    }

    /// Writes values into a buffer, beginning at the element `offset`. The caller has checked type and length.
    pub fn write(&mut self, name: &str, offset: usize, values: &Values) -> Result<()> {
        let Some(resident) = self.buffers.get(name) else { return Ok(()) };
        let place = offset as u64 * resident.spec.dtype.bytes();
        let halved: Vec<f16>;
        let rounded: Vec<f32>;
        let padded: Vec<u8>;
        let bytes: &[u8] = match values {
            Values::F32(_) | Values::F64(_) if resident.spec.dtype == DType::Half => {
                // A write is a multiple of four bytes. The only 16-bit buffers are values within a plan, and tuning and
                // tests write them whole.
                let halves = values.to_f64().into_iter().map(f16::from_f64).chain(std::iter::repeat(f16::ZERO));
                halved = halves.take(values.len().next_multiple_of(2)).collect();
                bytemuck::cast_slice(&halved)
            }
            Values::F32(values) => bytemuck::cast_slice(values),
            Values::F64(values) => {
                rounded = values.iter().map(|value| *value as f32).collect();
                bytemuck::cast_slice(&rounded)
            }
            Values::U32(values) => bytemuck::cast_slice(values),
            Values::U8(values) if values.len().is_multiple_of(4) => values,
            // A write is a multiple of four bytes, to which buffers of bytes are padded.
            Values::U8(values) => {
                let zeros = std::iter::repeat_n(0, values.len().next_multiple_of(4) - values.len());
                padded = values.iter().copied().chain(zeros).collect();
                &padded
            }
        };
        // Wgpu copies every piece until the device has received it, so waiting between pieces bounds the memory in use.
        for (piece, bytes) in bytes.chunks(UPLOAD).enumerate() {
            let place = place + (piece * UPLOAD) as u64;
            let write = || self.gpu.queue.write_buffer(&resident.buffer, place, bytes);
            self.gpu.scoped(|| format!("write to \"{name}\""), write)?;
            if bytes.len() == UPLOAD {
                self.gpu.wait(Some(self.gpu.queue.submit([])))?;
            }
        }
        self.statistics.uploaded += bytes.len() as u64;
        if let Values::U32(words) = values {
            for ring in self.plans.iter_mut().filter_map(|plan| plan.ring.as_mut()) {
                if ring.state == name && offset == 0 && words.len() > state::STEP {
                    ring.step = words[state::STEP];
                }
            }
        }
        self.gpu.healthy()
    }

    /// Waits for everything submitted, and reads a buffer back.
    pub fn read(&mut self, name: &str) -> Result<Values> {
        self.wait()?;
        let Some(resident) = self.buffers.get(name) else { return Ok(Values::F32(vec![])) };
        let (size, elements, dtype) = (resident.buffer.size(), resident.spec.elements, resident.spec.dtype);
        let staging = self.gpu.buffer(&format!("read back of {name}"), size, STAGING)?;
        let place = || format!("read back of \"{name}\"");
        let submission = self.gpu.scoped(place, || {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&resident.buffer, 0, &staging, 0, size);
            let submission = self.gpu.queue.submit([encoder.finish()]);
            staging.slice(..).map_async(wgpu::MapMode::Read, |_| ());
            submission
        })?;
        self.poll(submission)?;
        let bytes = mapped(&self.gpu, &staging, size)?;
        Ok(match dtype {
            DType::Float => Values::F32(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)[..elements].to_vec()),
            DType::Half => {
                let halves: Vec<f16> = bytemuck::pod_collect_to_vec(&bytes);
                Values::F32(halves[..elements].iter().map(|half| half.to_f32()).collect())
            }
            DType::U32 => Values::U32(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes)[..elements].to_vec()),
            DType::U8 => Values::U8(bytes[..elements].to_vec()),
        })
    }

    /// Records and submits steps of a plan, and returns while the last of the steps still run.
    pub fn run(&mut self, plan: usize, steps: usize) -> Result<()> {
        let mut left = steps;
        while left > 0 {
            while self.flights.len() >= IN_FLIGHT {
                self.land()?;
            }
            let steps = left.min(self.plans[plan].steps);
            self.submit(plan, steps)?;
            left -= steps;
        }
        self.gpu.healthy()
    }

    /// Waits until every submission has run.
    pub fn wait(&mut self) -> Result<()> {
        while !self.flights.is_empty() {
            self.land()?;
        }
        self.gpu.healthy()
    }

    /// The metrics of all steps that have run since the last call, oldest first.
    pub fn metrics(&mut self, plan: usize) -> Vec<Vec<f64>> {
        self.metrics[plan].drain(..).collect()
    }

    /// Steps of a plan that fit one submission at the speed measured so far.
    pub fn steps_per_submission(&self, plan: usize) -> usize {
        self.plans[plan].steps
    }

    /// Fixes the steps of a submission instead of measuring, for tests.
    pub fn set_steps_per_submission(&mut self, plan: usize, steps: usize) {
        self.plans[plan].steps = steps.clamp(1, state::RING_CAPACITY / 4);
        self.plans[plan].fixed = true;
    }

    fn submit(&mut self, plan: usize, steps: usize) -> Result<()> {
        let began = Instant::now();
        let compiled = &mut self.plans[plan];
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..steps {
                for launch in &compiled.launches {
                    launch.record(&mut pass);
                }
            }
        }
        let mut staging = None;
        if let Some(ring) = &mut compiled.ring {
            let row = 4 * ring.columns as u64;
            let size = row * state::RING_CAPACITY as u64;
            let buffer = match self.staging.iter().position(|buffer| buffer.size() == size) {
                Some(position) => self.staging.swap_remove(position),
                None => self.gpu.buffer("metrics", size, STAGING)?,
            };
            // Copies the steps' rows, in two pieces where the ring wraps around.
            let first = ring.step as usize % state::RING_CAPACITY;
            let before_end = steps.min(state::RING_CAPACITY - first);
            let source = &self.buffers[&ring.buffer].buffer;
            encoder.copy_buffer_to_buffer(source, first as u64 * row, &buffer, 0, before_end as u64 * row);
            if before_end < steps {
                let rest = (steps - before_end) as u64 * row;
                encoder.copy_buffer_to_buffer(source, 0, &buffer, before_end as u64 * row, rest);
            }
            encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, 0..steps as u64 * row, |_| ());
            staging = Some(buffer);
            // The plan of an epoch's smaller last batch shares the state, and with it the number of steps.
            let state = ring.state.clone();
            for ring in self.plans.iter_mut().filter_map(|plan| plan.ring.as_mut()).filter(|ring| ring.state == state) {
                ring.step += steps as u32;
            }
        }
        let launches = self.plans[plan].launches.len();
        let (submission, recorded) = self.gpu.scoped(
            || "launch".to_owned(),
            || {
                let commands = encoder.finish();
                let recorded = Instant::now();
                (self.gpu.queue.submit([commands]), recorded)
            },
        )?;
        self.statistics.recording += recorded - began;
        self.statistics.submitting += recorded.elapsed();
        self.statistics.launches += (steps * launches) as u64;
        self.statistics.submissions += 1;
        self.flights.push_back(Flight { submission, plan, steps, submitted: began, staging });
        Ok(())
    }

    /// Waits for the oldest submission, takes its metrics, and sets the steps of later submissions by its duration.
    fn land(&mut self) -> Result<()> {
        let Some(flight) = self.flights.pop_front() else { return Ok(()) };
        self.poll(flight.submission)?;
        let now = Instant::now();
        let lasted = now - flight.submitted.max(self.completed);
        self.completed = now;
        let compiled = &mut self.plans[flight.plan];
        let target = if self.gpu.summary().software { SOFTWARE_SUBMISSION } else { SUBMISSION };
        if flight.steps == compiled.steps && !compiled.fixed {
            let fitting = target.as_secs_f64() / (lasted.as_secs_f64() / flight.steps as f64).max(1e-6);
            compiled.steps = (fitting as usize).clamp(1, (4 * compiled.steps).min(state::RING_CAPACITY / 4));
        }
        if let (Some(staging), Some(ring)) = (flight.staging, &compiled.ring) {
            let bytes = mapped(&self.gpu, &staging, (4 * ring.columns * flight.steps) as u64)?;
            let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            let rows = numbers.chunks_exact(ring.columns).map(|row| row.iter().map(|x| *x as f64).collect());
            self.metrics[flight.plan].extend(rows);
            self.staging.push(staging);
        }
        Ok(())
    }

    pub(super) fn poll(&mut self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let began = Instant::now();
        let waited = self.gpu.wait(Some(submission));
        self.statistics.waiting += began.elapsed();
        waited
    }
}

/// The bytes of a staging buffer whose mapping is done, unmapped again.
pub(super) fn mapped(gpu: &Gpu, buffer: &wgpu::Buffer, size: u64) -> Result<Vec<u8>> {
    let view = buffer.slice(..size).get_mapped_range().map_err(|error| match gpu.alive() {
        Ok(()) => Error::DeviceLost { reason: format!("a buffer could not be read back: {error}") },
        Err(lost) => lost,
    })?;
    let bytes = view.to_vec();
    drop(view);
    buffer.unmap();
    Ok(bytes)
}

/// The pipelines of all launches of the plans, in order. Each distinct shader is compiled once, in parallel with
/// others.
fn compile(gpu: &Gpu, plans: &[Plan], kept: bool) -> Result<Vec<wgpu::ComputePipeline>> {
    let mut known: HashMap<(Shader, Vec<Access>), usize> = HashMap::new();
    let mut uses = Vec::new();
    for (_, launch) in plans.iter().flat_map(Plan::launches) {
        let next = known.len();
        let accesses = bindings(launch).iter().map(|bound| launch[bound[0].0].access(bound[0].1)).collect();
        uses.push(*known.entry((specialise(launch)?, accesses)).or_insert(next));
    }
    let mut shaders: Vec<_> = known.into_iter().collect();
    shaders.sort_unstable_by_key(|(_, place)| *place);
    let made = shaders.into_par_iter().map(|((shader, accesses), _)| pipeline(gpu, &shader, &accesses, kept));
    let made: Vec<_> = made.collect::<Result<_>>()?;
    tracing::debug!(launches = uses.len(), pipelines = made.len(), "compiled");
    Ok(uses.into_iter().map(|place| made[place].clone()).collect())
}

/// Smallest size of a binding in bytes.
const LEAST_BINDING: u64 = 16;

/// The layout of a launch's bindings, including those that the shader does not use.
fn layout(gpu: &Gpu, label: &str, accesses: &[Access]) -> wgpu::PipelineLayout {
    let entries = accesses.iter().zip(0..).map(|(access, binding)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: *access == Access::Read },
            has_dynamic_offset: false,
            min_binding_size: std::num::NonZero::new(LEAST_BINDING),
        },
        count: None,
    });
    let entries: Vec<_> = entries.collect();
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
    let group = gpu.device.create_bind_group_layout(&descriptor);
    gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    })
}

fn pipeline(gpu: &Gpu, shader: &Shader, accesses: &[Access], kept: bool) -> Result<wgpu::ComputePipeline> {
    let path = format!("shaders/{}", shader.file);
    let without = gpu.target().without;
    let module = shader.module(without)?;
    let made = gpu.scoped(
        || path.clone(),
        || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(&path),
                source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
            };
            let checked = gpu.checked || shader.own;
            let checks = if checked { ShaderRuntimeChecks::checked() } else { ShaderRuntimeChecks::unchecked() };
            // SAFETY: every index comes from the plan: constant counts guard kernels, indices read from memory are
            // clamped, and constants bound loops. An application's own text keeps its checks. The test suite also runs
            // all shaders with checks.
            let module = unsafe { gpu.device.create_shader_module_trusted(descriptor, checks) };
            gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&path),
                layout: Some(&layout(gpu, &path, accesses)),
                module: &module,
                entry_point: Some(&shader.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: gpu.pipelines.as_ref().filter(|_| kept).map(|pipelines| &pipelines.cache),
            })
        },
    );
    // The error of naga's validator has file, line and column.
    made.map_err(|error| shader.module(without).and_then(|module| shader.validate(&module)).err().unwrap_or(error))
}

impl Compiled {
    fn new(
        gpu: &Gpu,
        plan: &Plan,
        buffers: &HashMap<String, Resident>,
        pipelines: impl Iterator<Item = wgpu::ComputePipeline>,
    ) -> Result<Compiled> {
        let mut launches = Vec::with_capacity(plan.steps.len());
        // The launches come first: zipped the other way round, the next plan would lose its first pipeline.
        for ((index, launch), pipeline) in plan.launches().zip(pipelines) {
            let bound = bindings(launch);
            let ranges = bound.iter().map(|bound| {
                let (step, slot) = bound[0];
                let slot = &launch[step].slots[slot];
                let buffer = &buffers[&plan.buffers[slot.buffer].name].buffer;
                // Kernels load four elements at a time even where a slot has fewer; slots begin at multiples of 256
                // bytes.
                let offset = slot.offset as u64 * slot.dtype.bytes();
                (buffer, offset, slot.bytes().next_multiple_of(16).min(buffer.size() - offset))
            });
            let label = &launch[0].label;
            let place = || format!("step {index} ({} \"{label}\")", launch[0].kernel.name());
            launches.push(Launch::new(gpu, (place, label), pipeline, (0..).zip(ranges), grid(launch))?);
        }
        let ring = plan.steps.iter().find(|step| step.kernel == Kernel::Advance).map(|step| Ring {
            buffer: plan.buffers[step.slots[1].buffer].name.clone(),
            state: plan.buffers[step.slots[2].buffer].name.clone(),
            columns: step.constant("METRICS").unwrap_or(1) as usize,
            step: 0,
        });
        Ok(Compiled { launches, ring, steps: 1, fixed: false })
    }
}
