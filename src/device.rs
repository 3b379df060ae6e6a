//! Devices: a GPU or the CPU, chosen by name, and sessions that run plans on either.

use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu, Statistics, Tuning, TuningReport, adapters};
use crate::graph::{Graph, Value};
use crate::plan::{Buffer, Limits, Plan, Target, Without, buffers};
use crate::tensor::{DType, Tensor, Values};
use std::sync::Arc;
use std::time::Instant;

/// Something that runs plans. Cheap to clone: clones share the device.
#[derive(Clone)]
pub enum Device {
    /// An adapter, through wgpu.
    Gpu(Arc<Gpu>),
    /// The CPU, in f32, on all cores.
    Cpu,
    /// The CPU in f64: slow and exact, the oracle.
    CpuF64,
}

impl Device {
    /// The device of a name:
    ///
    /// * `auto`: the best real GPU, else the CPU. A software adapter is not taken.
    /// * `gpu`: the best adapter, a software one where there is no other.
    /// * `cpu`, `cpu-f64`: the CPU.
    /// * anything else: the best adapter whose name contains it, in any case.
    ///
    /// Fails where no adapter fits, the adapter cannot be opened, or [`Without::VARIABLE`] or [`Limits::VARIABLE`] names
    /// what is not known.
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

    /// An application's own wgpu device and queue, which it goes on using: see [`Gpu::from_wgpu`]. Both are handles, so
    /// clones do.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Device> {
        Ok(Device::Gpu(Arc::new(Gpu::from_wgpu(device, queue)?)))
    }

    /// What to call it: `cpu`, `cpu-f64`, or the adapter's name and driver.
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

    /// What plans for this device are made for.
    pub fn target(&self) -> Target {
        match self {
            Device::Gpu(gpu) => gpu.target(),
            // Tiles mean nothing to the CPU, and few parts of a sum are enough. Opening has refused unknown names.
            Device::Cpu | Device::CpuF64 => {
                let without = Without::from_environment().unwrap_or_default();
                let limits = Limits::from_environment().ok().flatten().unwrap_or_default();
                Target { software: true, without, limits, ..Target::default() }
            }
        }
    }

    /// Chooses tiles for plans by measurement, as [`Gpu::tune`] does, for all plans that this device gets from now on.
    /// `None` on the CPU, which has no tiles.
    pub fn tune(&self, tuning: &Tuning, plans: impl Fn(&Target) -> Result<Vec<Plan>>) -> Result<Option<TuningReport>> {
        match self {
            Device::Gpu(gpu) => gpu.tune(tuning, plans).map(Some),
            Device::Cpu | Device::CpuF64 => Ok(None),
        }
    }

    /// Checks plans, gives them memory and makes them ready to run. They share buffers of the same name.
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
        let layout = crate::plan::ParameterLayout::of(graph);
        let mut session = self.load(&[plan])?;
        for (name, tensor) in inputs {
            match layout.entries().iter().find(|(known, ..)| known == name) {
                Some((_, shape, offset)) => {
                    expect(name, shape.elements(), tensor.values().len())?;
                    session.write_at(buffers::PARAMETERS, *offset, tensor.values())?;
                }
                None => session.write(name, tensor.values())?,
            }
        }
        session.run(0, 1)?;
        let read = |(value, name): (&Value, &String)| Tensor::new(graph.shape(*value).clone(), session.read(name)?);
        outputs.iter().zip(&names).map(read).collect()
    }
}

/// Plans that are loaded on a device.
pub struct Session(Inner);

enum Inner {
    Gpu(gpu::Session),
    Cpu(cpu::Session<f32>),
    CpuF64(cpu::Session<f64>),
}

impl Session {
    fn find(&self, name: &str) -> Option<&Buffer> {
        match &self.0 {
            Inner::Gpu(session) => session.buffer(name),
            Inner::Cpu(session) => session.buffer(name),
            Inner::CpuF64(session) => session.buffer(name),
        }
    }

    fn buffer(&self, name: &str) -> Result<&Buffer> {
        self.find(name).ok_or_else(|| {
            Error::invalid(format!("buffer \"{name}\""), "no plan has it", "use the name of an input or output")
        })
    }

    /// Fills a buffer. Fails where there is none of this name, or type or length differ.
    pub fn write(&mut self, name: &str, values: &Values) -> Result<()> {
        let elements = self.buffer(name)?.elements;
        expect(name, elements, values.len())?;
        self.write_at(name, 0, values)
    }

    /// Writes a part of a buffer, from element `offset` on; on a GPU bytes begin at multiples of four.
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
            // A part of a tensor lies in pieces on the device: put it into the whole.
            let mut whole = self.read(name)?;
            put(&mut whole, offset, values);
            return self.write_at(name, 0, &whole);
        }
        let moved;
        let values = match &buffer.rearranged[..] {
            [] => values,
            tensors => {
                moved = rearranged(values, tensors, offset, true);
                &moved
            }
        };
        match &mut self.0 {
            Inner::Gpu(session) => session.write(name, offset, values),
            Inner::Cpu(session) => {
                session.write(name, offset, values);
                Ok(())
            }
            Inner::CpuF64(session) => {
                session.write(name, offset, values);
                Ok(())
            }
        }
    }

    /// Writes the model's parameters. Plans that read none, such as those of a half of a model without weights, have no
    /// buffer for them.
    pub fn write_parameters(&mut self, values: &Values) -> Result<()> {
        match self.find(buffers::PARAMETERS) {
            Some(_) => self.write(buffers::PARAMETERS, values),
            None => Ok(()),
        }
    }

    /// A buffer's content, after everything submitted has run.
    pub fn read(&mut self, name: &str) -> Result<Values> {
        let tensors = self.buffer(name)?.rearranged.clone();
        let values = match &mut self.0 {
            Inner::Gpu(session) => session.read(name)?,
            Inner::Cpu(session) => session.read(name),
            Inner::CpuF64(session) => session.read(name),
        };
        Ok(if tensors.is_empty() { values } else { rearranged(&values, &tensors, 0, false) })
    }

    /// Runs steps of a plan. On a GPU this returns while the last of them still run.
    pub fn run(&mut self, plan: usize, steps: usize) -> Result<()> {
        match &mut self.0 {
            Inner::Gpu(session) => session.run(plan, steps),
            Inner::Cpu(session) => session.run(plan, steps),
            Inner::CpuF64(session) => session.run(plan, steps),
        }
    }

    /// Runs one launch of a plan, counted as [`Plan::launches`] has them. Its metrics are not kept.
    pub fn run_launch(&mut self, plan: usize, launch: usize) -> Result<()> {
        match &mut self.0 {
            Inner::Gpu(session) => return session.run_launch(plan, launch),
            Inner::Cpu(session) => session.run_launch(plan, launch),
            Inner::CpuF64(session) => session.run_launch(plan, launch),
        }
        Ok(())
    }

    /// Runs one step of a plan and times its launches: when each began and how long it took, in nanoseconds, by the
    /// adapter's clock or the host's. Its metrics are not kept. Fails on an adapter without timestamps.
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
        match &mut self.0 {
            Inner::Gpu(session) => session.wait(),
            Inner::Cpu(_) | Inner::CpuF64(_) => Ok(()),
        }
    }

    /// The metrics of steps that have run, oldest first, each step once.
    pub fn metrics(&mut self, plan: usize) -> Vec<Vec<f64>> {
        match &mut self.0 {
            Inner::Gpu(session) => session.metrics(plan),
            Inner::Cpu(session) => session.metrics(plan),
            Inner::CpuF64(session) => session.metrics(plan),
        }
    }

    /// Steps of a plan that are worth one call of [`Session::run`] by someone who wants to look up in between.
    pub fn steps_per_call(&self, plan: usize) -> usize {
        match &self.0 {
            Inner::Gpu(session) => session.steps_per_submission(plan),
            Inner::Cpu(_) | Inner::CpuF64(_) => 1,
        }
    }

    /// Fixes the steps of a submission, which are otherwise measured. The CPU has no submissions.
    pub fn set_steps_per_submission(&mut self, plan: usize, steps: usize) {
        if let Inner::Gpu(session) = &mut self.0 {
            session.set_steps_per_submission(plan, steps);
        }
    }

    /// Where the host's time went; `None` on the CPU.
    pub fn statistics(&self) -> Option<Statistics> {
        match &self.0 {
            Inner::Gpu(session) => Some(session.statistics()),
            Inner::Cpu(_) | Inner::CpuF64(_) => None,
        }
    }
}

/// Values with the channels of each of these tensors moved last, or back again. `offset` is where in the buffer the values
/// begin. A tensor that is not there as a whole stays as it is.
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

/// Copies values over a part of others, which are of the device's float type or of the same type.
fn put(whole: &mut Values, offset: usize, part: &Values) {
    let range = offset..offset + part.len();
    match (whole, part) {
        (Values::F32(whole), Values::F32(part)) => whole[range].copy_from_slice(part),
        (Values::F32(whole), Values::F64(part)) => {
            whole[range].iter_mut().zip(part).for_each(|(whole, part)| *whole = *part as f32);
        }
        (Values::F64(whole), Values::F64(part)) => whole[range].copy_from_slice(part),
        (Values::F64(whole), Values::F32(part)) => {
            whole[range].iter_mut().zip(part).for_each(|(whole, part)| *whole = *part as f64);
        }
        // Only tensors of floats are rearranged.
        (Values::F32(_) | Values::F64(_) | Values::U32(_) | Values::U8(_), _) => {}
    }
}

fn expect(name: &str, elements: usize, given: usize) -> Result<()> {
    if elements == given {
        return Ok(());
    }
    let problem = format!("{given} elements given, it holds {elements}");
    Err(Error::invalid(format!("buffer \"{name}\""), problem, "give as many elements as it holds"))
}
