//! Devices: a GPU or the CPU, chosen by name, and sessions that run plans on either.

use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu, Statistics, Tuning, TuningReport, adapters};
use crate::graph::{Graph, Value};
use crate::plan::{Buffer, Limits, ParameterLayout, Plan, Target, Without, buffers};
use crate::tensor::{DType, Tensor, Values};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// A device that runs plans. Clones are cheap and share the device.
#[derive(Clone)]
pub enum Device {
    /// An adapter, through wgpu.
    Gpu(Arc<Gpu>),
    /// The CPU, in f32, on all cores.
    Cpu,
    /// The CPU in f64: the slow and exact reference.
    CpuF64,
}

impl Device {
    /// The device of a name:
    ///
    /// * `auto`: the best real GPU, else the CPU. A software adapter is not taken.
    /// * `gpu`: the best adapter, even if it is a software one.
    /// * `cpu`, `cpu-f64`: the CPU.
    /// * any other name: the best adapter whose name contains it, in upper or lower case.
    ///
    /// Fails if no adapter matches, the adapter cannot be opened, or [`Without::VARIABLE`] or [`Limits::VARIABLE`] has
    /// an unknown name.
    pub fn open(name: &str) -> Result<Device> {
        Without::from_environment()?;
        Limits::from_environment()?;
        match name {
            "cpu" => Ok(Device::Cpu),
            "cpu-f64" => Ok(Device::CpuF64),
            "gpu" => Ok(Device::Gpu(Arc::new(Gpu::open(None)?))),
            "auto" => match adapters().iter().find(|adapter| !adapter.software) {
                Some(adapter) => Ok(Device::Gpu(Arc::new(Gpu::open(Some(&adapter.name))?))),
                None => Ok(Device::Cpu),
            },
            name => Ok(Device::Gpu(Arc::new(Gpu::open(Some(name))?))),
        }
    }

    /// The wgpu device and queue of an application, which may use them further: see [`Gpu::from_wgpu`]. Both are
    /// handles, so pass clones.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Device> {
        Ok(Device::Gpu(Arc::new(Gpu::from_wgpu(device, queue)?)))
    }

    /// The name: `cpu`, `cpu-f64`, or the adapter's name and driver.
    pub fn name(&self) -> String {
        match self {
            Device::Gpu(gpu) => {
                let summary = gpu.summary();
                format!("{} ({}, {})", summary.name, summary.backend, summary.driver_info)
            }
            Device::Cpu => "cpu".to_owned(),
            Device::CpuF64 => "cpu-f64".to_owned(),
        }
    }

    /// The target that plans for this device are made for.
    pub fn target(&self) -> Target {
        match self {
            Device::Gpu(gpu) => gpu.target(),
            // The CPU has no tiles and needs few parts of a sum. `open` has refused unknown names.
            Device::Cpu | Device::CpuF64 => {
                let without = Without::from_environment().unwrap_or_default();
                let limits = Limits::from_environment().ok().flatten().unwrap_or_default();
                Target { software: true, without, limits, ..Target::default() }
            }
        }
    }

    /// Measures which tiles are fastest, as [`Gpu::tune`] does, and uses them for all later plans of this device.
    /// `None` on the CPU, which has no tiles.
    pub fn tune(&self, tuning: &Tuning, plans: impl Fn(&Target) -> Result<Vec<Plan>>) -> Result<Option<TuningReport>> {
        match self {
            Device::Gpu(gpu) => gpu.tune(tuning, plans).map(Some),
            Device::Cpu | Device::CpuF64 => Ok(None),
        }
    }

    /// Checks plans, allocates their buffers and prepares them to run. Buffers of equal names are shared between the
    /// plans.
    pub fn load(&self, plans: &[Plan]) -> Result<Session> {
        Ok(Session(match self {
            Device::Gpu(gpu) => Inner::Gpu(gpu::Session::new(gpu.clone(), plans)?),
            Device::Cpu => Inner::Cpu(cpu::Session::new(plans)),
            Device::CpuF64 => Inner::CpuF64(cpu::Session::new(plans)),
        }))
    }

    /// Computes values of a graph once, from its inputs and parameters by name.
    ///
    /// ```
    /// use pinhole::graph::{Graph, Unary};
    /// use pinhole::tensor::{DType, Tensor};
    /// let mut graph = Graph::new();
    /// let x = graph.input("x", [2], DType::Float)?;
    /// let y = graph.unary(Unary::Square, x)?;
    /// let x = Tensor::from_f32([2], vec![3.0, -4.0])?;
    /// let result = pinhole::Device::Cpu.compute(&graph, &[y], &[("x", x)])?;
    /// assert_eq!(result[0].to_f32(), [9.0, 16.0]);
    /// # Ok::<(), pinhole::Error>(())
    /// ```
    pub fn compute(&self, graph: &Graph, outputs: &[Value], inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>> {
        let names: Vec<String> = (0..outputs.len()).map(|index| format!("output {index}")).collect();
        let named: Vec<(Value, &str)> = outputs.iter().zip(&names).map(|(value, name)| (*value, &name[..])).collect();
        let plan = Plan::on(&self.target(), "compute", graph, &named)?;
        let layout = ParameterLayout::of(graph);
        let mut session = self.load(&[plan])?;
        for (name, tensor) in inputs {
            match layout.entry(name) {
                Some(entry) => {
                    expect(name, entry.shape.elements(), tensor.values().len())?;
                    session.write_at(buffers::PARAMETERS, entry.offset, tensor.values())?;
                }
                None => session.write(name, tensor.values())?,
            }
        }
        session.run(0, 1)?;
        let read = |(value, name): (&Value, &String)| Tensor::new(graph.shape(*value).clone(), session.read(name)?);
        outputs.iter().zip(&names).map(read).collect()
    }
}

/// Plans loaded on a device, with their buffers.
pub struct Session(Inner);

enum Inner {
    Gpu(gpu::Session),
    Cpu(cpu::Session<f32>),
    CpuF64(cpu::Session<f64>),
}

/// Evaluates an expression on the session of any device, or one on that of a GPU and another on that of the CPU.
macro_rules! on_session {
    ($inner:expr, $session:ident => $result:expr) => {
        on_session!($inner, $session => $result, $result)
    };
    ($inner:expr, $session:ident => $gpu:expr, $cpu:expr) => {
        match $inner {
            Inner::Gpu($session) => $gpu,
            Inner::Cpu($session) => $cpu,
            Inner::CpuF64($session) => $cpu,
        }
    };
}

impl Session {
    fn find(&self, name: &str) -> Option<&Buffer> {
        on_session!(&self.0, session => session.buffer(name))
    }

    fn buffer(&self, name: &str) -> Result<&Buffer> {
        self.find(name).ok_or_else(|| {
            Error::invalid(format!("buffer \"{name}\""), "no plan has it", "use the name of an input or output")
        })
    }

    /// Fills a buffer. Fails if no buffer has this name, or if type or length differ.
    pub fn write(&mut self, name: &str, values: &Values) -> Result<()> {
        let elements = self.buffer(name)?.elements;
        expect(name, elements, values.len())?;
        self.write_at(name, 0, values)
    }

    /// Writes a part of a buffer from element `offset`, which on a GPU is a multiple of four for bytes.
    pub fn write_at(&mut self, name: &str, offset: usize, values: &Values) -> Result<()> {
        let buffer = self.buffer(name)?.clone();
        if offset + values.len() > buffer.elements {
            expect(name, buffer.elements, offset + values.len())?;
        }
        let dtype = match values {
            Values::F32(_) | Values::F64(_) => DType::Float,
            Values::U32(_) => DType::U32,
            Values::U8(_) => DType::U8,
        };
        if dtype != buffer.dtype && (dtype, buffer.dtype) != (DType::Float, DType::Half) {
            let problem = format!("{dtype:?} given for a buffer of {:?}", buffer.dtype);
            return Err(Error::invalid(format!("buffer \"{name}\""), problem, "convert the values"));
        }
        let end = offset + values.len();
        let cuts = |(start, [o, c, r, s]): &(usize, [usize; 4])| {
            let last = start + o * c * r * s;
            *start < end && offset < last && (*start < offset || end < last)
        };
        if buffer.rearranged.iter().any(cuts) {
            // A part of a tensor is scattered on the device, so the whole tensor is read, changed and written.
            let mut whole = self.read(name)?;
            put(&mut whole, offset, values);
            return self.write_at(name, 0, &whole);
        }
        let values = &match &buffer.rearranged[..] {
            [] => Cow::Borrowed(values),
            tensors => Cow::Owned(rearranged(values, tensors, offset, true)),
        };
        on_session!(&mut self.0, session => session.write(name, offset, values)?, session.write(name, offset, values));
        Ok(())
    }

    /// Writes the model's parameters. Plans that read none, such as those of an encoder without weights, have no buffer
    /// for them.
    pub fn write_parameters(&mut self, values: &Values) -> Result<()> {
        match self.find(buffers::PARAMETERS) {
            Some(_) => self.write(buffers::PARAMETERS, values),
            None => Ok(()),
        }
    }

    /// Reads a buffer after everything submitted has run.
    pub fn read(&mut self, name: &str) -> Result<Values> {
        let tensors = self.buffer(name)?.rearranged.clone();
        let values = on_session!(&mut self.0, session => session.read(name)?, session.read(name));
        Ok(if tensors.is_empty() { values } else { rearranged(&values, &tensors, 0, false) })
    }

    /// Runs steps of a plan. On a GPU the call returns while the last steps still run.
    pub fn run(&mut self, plan: usize, steps: usize) -> Result<()> {
        on_session!(&mut self.0, session => session.run(plan, steps))
    }

    /// Runs one launch of a plan, numbered as in [`Plan::launches`], without keeping its metrics.
    pub fn run_launch(&mut self, plan: usize, launch: usize) -> Result<()> {
        on_session!(&mut self.0, session => session.run_launch(plan, launch)?, session.run_launch(plan, launch));
        Ok(())
    }

    /// Runs one step of a plan and returns the start and duration of every launch in nanoseconds, by the clock of the
    /// adapter or the host, without keeping metrics. Fails on an adapter without timestamps.
    pub fn time_launches(&mut self, plan: usize, launches: usize) -> Result<Vec<[u64; 2]>> {
        if let Inner::Gpu(session) = &mut self.0 {
            return session.time_launches(plan);
        }
        let began = Instant::now();
        let mut spans = Vec::with_capacity(launches);
        for launch in 0..launches {
            let start = began.elapsed();
            self.run_launch(plan, launch)?;
            spans.push([start.as_nanos() as u64, (began.elapsed() - start).as_nanos() as u64]);
        }
        Ok(spans)
    }

    /// Waits until everything submitted has run.
    pub fn wait(&mut self) -> Result<()> {
        if let Inner::Gpu(session) = &mut self.0 { session.wait() } else { Ok(()) }
    }

    /// Takes the metrics of finished steps, oldest first; every step is returned once.
    pub fn metrics(&mut self, plan: usize) -> Vec<Vec<f64>> {
        on_session!(&mut self.0, session => session.metrics(plan))
    }

    /// Number of steps that one call of [`Session::run`] should run when the caller reacts between calls.
    pub fn steps_per_call(&self, plan: usize) -> usize {
        if let Inner::Gpu(session) = &self.0 { session.steps_per_submission(plan) } else { 1 }
    }

    /// Fixes the number of steps of a submission, which is measured by default. The CPU has no submissions.
    pub fn set_steps_per_submission(&mut self, plan: usize, steps: usize) {
        if let Inner::Gpu(session) = &mut self.0 {
            session.set_steps_per_submission(plan, steps);
        }
    }

    /// Time that the host spent on submissions; `None` on the CPU.
    pub fn statistics(&self) -> Option<Statistics> {
        if let Inner::Gpu(session) = &self.0 { Some(session.statistics()) } else { None }
    }
}

/// Moves the channels of `tensors` to the last axis (`last`), or back. `offset` is the position of the values in the
/// buffer. Tensors that are only partly among the values stay unchanged.
fn rearranged(values: &Values, tensors: &[(usize, [usize; 4])], offset: usize, last: bool) -> Values {
    fn all<T: Copy>(values: &[T], tensors: &[(usize, [usize; 4])], offset: usize, last: bool) -> Vec<T> {
        let mut result = values.to_vec();
        for (start, [o, c, r, s]) in tensors {
            let Some(start) = start.checked_sub(offset) else { continue };
            let (elements, taps) = (o * c * r * s, r * s);
            let Some(from) = values.get(start..start + elements) else { continue };
            let to = &mut result[start..start + elements];
            for (from, to) in from.chunks(c * taps).zip(to.chunks_mut(c * taps)) {
                for channel in 0..*c {
                    for tap in 0..taps {
                        let (first, moved) = (channel * taps + tap, tap * c + channel);
                        if last {
                            to[moved] = from[first];
                        } else {
                            to[first] = from[moved];
                        }
                    }
                }
            }
        }
        result
    }
    match values {
        Values::F32(values) => Values::F32(all(values, tensors, offset, last)),
        Values::F64(values) => Values::F64(all(values, tensors, offset, last)),
        Values::U32(values) => Values::U32(all(values, tensors, offset, last)),
        Values::U8(values) => Values::U8(all(values, tensors, offset, last)),
    }
}

/// Copies floats over `whole` from element `offset`. Values of other types, which are never rearranged, stay.
fn put(whole: &mut Values, offset: usize, part: &Values) {
    let part = part.to_f64();
    match whole {
        Values::F32(whole) => whole[offset..].iter_mut().zip(part).for_each(|(whole, part)| *whole = part as f32),
        Values::F64(whole) => whole[offset..][..part.len()].copy_from_slice(&part),
        Values::U32(_) | Values::U8(_) => {}
    }
}

fn expect(name: &str, elements: usize, given: usize) -> Result<()> {
    if elements == given {
        return Ok(());
    }
    let problem = format!("{given} elements given, it holds {elements}");
    Err(Error::invalid(format!("buffer \"{name}\""), problem, "give as many elements as it holds"))
}
