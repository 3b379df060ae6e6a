//! What the numerical tests share: the device under test, sessions filled with a case's values, and the comparisons.
//!
//! Every comparison passes by `error <= tolerance`, so that NaN fails, and looks at lengths first. `selftest.rs` plants
//! faults and demands that they are seen.

use crate::cases::{Case, Feed, Loss};
use pinhole::Device;
use pinhole::device::Session;
use pinhole::gpu::Gpu;
use pinhole::plan::{Access, Buffer, Limits, ParameterLayout, Plan, Target};
use pinhole::tensor::{DType, Values};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Once};

/// One test for each group of cases, by the group's name. A group that is left out does not compile.
macro_rules! each_group {
    ($check:path) => {
        each_group! { $check: elementwise Elementwise, broadcast Broadcast, fusion Fusion, matmul MatMul, conv Conv, grouped Grouped,
            movement Movement, reduction Reduction, large Large, indexing Indexing, layer Layer, composition Composition,
            normalisation Normalisation, recurrence Recurrence, random Random }
    };
    ($check:path: $($name:ident $group:ident),*) => {
        $(#[test]
        fn $name() {
            $check(crate::cases::Group::$group);
        })*

        #[allow(dead_code)] // It is there to be compiled.
        fn every_group_has_a_test(group: crate::cases::Group) {
            match group { $(crate::cases::Group::$group => ()),* }
        }
    };
}
pub(crate) use each_group;

thread_local! {
    // One for each test: a queue to itself lets tests run side by side.
    static DEVICES: [OnceCell<Device>; 2] = const { [const { OnceCell::new() }; 2] };
}

/// The adapter under test: `PINHOLE_TEST_DEVICE`, else the best there is. Where there is none, tests fail.
pub fn gpu() -> Device {
    static TOLD: Once = Once::new();
    let device = DEVICES.with(|devices| devices[0].get_or_init(|| open(false)).clone());
    // Not through the test harness, which keeps the output of tests that pass.
    TOLD.call_once(|| drop(writeln!(std::io::stderr(), "GPU under test: {}", device.name())));
    device
}

/// The adapter under test, with wgpu's bounds checks left in its shaders.
pub fn checked_gpu() -> Device {
    DEVICES.with(|devices| devices[1].get_or_init(|| open(true)).clone())
}

fn open(checked: bool) -> Device {
    let name = std::env::var("PINHOLE_TEST_DEVICE").unwrap_or_else(|_| "gpu".to_owned());
    let adapter = if name == "gpu" { None } else { Some(&name[..]) };
    match Gpu::open_with(adapter, checked, None) {
        Ok(gpu) => Device::Gpu(Arc::new(gpu)),
        Err(error) => panic!("no GPU to test: {error}; these tests need an adapter, lavapipe will do"),
    }
}

/// What plans are made for where they should run on any device: within the limits that the suite is held to.
pub fn any_target() -> Target {
    let limits = Limits::from_environment().expect("limits that are known").unwrap_or_default();
    Target { limits, ..Target::default() }
}

/// Whether the GPU under test is lavapipe, whose arithmetic is that of the CPU.
pub fn is_lavapipe() -> bool {
    match gpu() {
        Device::Gpu(gpu) => gpu.summary().driver_info.contains("LLVM"),
        Device::Cpu | Device::CpuF64 => false,
    }
}

/// Named results of one case.
pub type Results = Vec<(String, Vec<f64>)>;

/// A case's plans and what they read and leave.
pub struct Work {
    /// The case's name.
    pub name: String,
    /// The output's plan, then the gradients' if there are any.
    pub plans: Vec<Plan>,
    /// For each plan the buffers that hold its results.
    pub results: Vec<Vec<String>>,
    /// What is written before they run.
    pub feeds: Vec<Feed>,
    /// Where parameters lie.
    pub layout: ParameterLayout,
}

impl Work {
    /// The plans of a case and of its gradients, for any device.
    pub fn new(case: &Case) -> Work {
        Work::on(case, &any_target())
    }

    /// The same for one device.
    pub fn on(case: &Case, target: &Target) -> Work {
        let mut work = Work {
            name: case.name.clone(),
            plans: vec![case.plan(target)],
            results: vec![vec!["output".to_owned()]],
            feeds: case.feeds.clone(),
            layout: ParameterLayout::of(&case.graph),
        };
        if let Some(mut loss) = case.loss() {
            let gradients = loss.gradients();
            work.plans.push(loss.plan(&gradients, target));
            work.results.push(loss.gradient_names());
            work.feeds = loss.feeds;
        }
        work
    }

    /// The results on a device whose memory is all NaN before each plan runs.
    pub fn run(&self, device: &Device) -> Result<Results, String> {
        let mut session = device.load(&self.plans).map_err(|error| self.failed(device, error))?;
        let mut results = Results::new();
        for (index, plan) in self.plans.iter().enumerate() {
            results.extend(self.pass(&mut session, index, plan, false)?);
        }
        Ok(results)
    }

    /// The results on a device twice: under the plans as they are, and under plans whose launches may reach beyond their
    /// slots. What lies there is NaN, and must lie there still when they have run.
    pub fn run_twice(&self, device: &Device) -> Result<[Results; 2], String> {
        let loose = self.plans.iter().map(loosen);
        let plans: Vec<Plan> = self.plans.iter().cloned().chain(loose).collect();
        let mut session = device.load(&plans).map_err(|error| self.failed(device, error))?;
        let mut results = [Results::new(), Results::new()];
        for index in 0..plans.len() {
            let (loose, plan) = (index / self.plans.len(), index % self.plans.len());
            results[loose].extend(self.pass(&mut session, index, &self.plans[plan], loose == 1)?);
        }
        Ok(results)
    }

    fn failed(&self, device: &Device, error: pinhole::Error) -> String {
        format!("case \"{}\" on {}: {error}", self.name, device.name())
    }

    /// Fills memory, runs a plan and reads its results; `original` is the plan as it was before it was loosened.
    fn pass(&self, session: &mut Session, plan: usize, original: &Plan, loose: bool) -> Result<Results, String> {
        let failed = |error: pinhole::Error| format!("case \"{}\": {error}", self.name);
        let mut memory: HashMap<&str, Values> = HashMap::new();
        for buffer in &original.buffers {
            memory.insert(&buffer.name, sentinels(buffer, if loose { GUARD } else { 0 }));
        }
        for feed in &self.feeds {
            let (name, offset) = feed.place(&self.layout);
            if let Some(buffer) = memory.get_mut(name) {
                put(buffer, offset, &feed.values());
            }
        }
        for (name, values) in &memory {
            session.write_at(name, 0, values).map_err(failed)?;
        }
        session.run(plan, 1).map_err(failed)?;
        if loose {
            for buffer in &original.buffers {
                let now = session.read(&buffer.name).map_err(failed)?;
                untouched(original, &buffer.name, &memory[&buffer.name[..]], &now)
                    .map_err(|problem| format!("case \"{}\", {problem}", original.name))?;
            }
        }
        let mut results = Results::new();
        for name in &self.results[plan % self.plans.len()] {
            let length =
                original.buffers.iter().find(|buffer| buffer.name == *name).map_or(0, |buffer| buffer.elements);
            let mut values = to_f64(&session.read(name).map_err(failed)?);
            values.truncate(length);
            results.push((name.clone(), values));
        }
        Ok(results)
    }
}

/// Elements behind every buffer of a loosened plan.
pub const GUARD: usize = 64;

/// A plan whose buffers are longer and whose launches may use as much more behind each slot, so that a read or a write
/// beyond the slot is seen instead of being caught by the driver.
pub fn loosen(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for buffer in &mut plan.buffers {
        buffer.elements += GUARD;
    }
    for slot in plan.steps.iter_mut().flat_map(|step| &mut step.slots) {
        slot.shape = [slot.shape.elements() + GUARD].into();
    }
    plan
}

/// What memory holds before a run: nothing that a kernel could use. Every buffer's NaN is of its own, so that one which was
/// read elsewhere, computed with and written here is not taken for what was here.
pub fn sentinels(buffer: &Buffer, more: usize) -> Values {
    let elements = buffer.elements + more;
    let mark = buffer.name.bytes().fold(0u32, |mark, byte| mark.wrapping_mul(31).wrapping_add(byte as u32 + 1));
    if !buffer.content.is_empty() {
        // What nobody writes stays as the plan has it.
        let guard = std::iter::repeat_n(0xdead_beef, elements - buffer.content.len());
        return Values::U32(buffer.content.iter().copied().chain(guard).collect());
    }
    match buffer.dtype {
        DType::Float => Values::F32(vec![f32::from_bits(0x7fc0_0001 | mark & 0x003f_ffff); elements]),
        // A NaN that 16 bits hold: its last bits are zero.
        DType::Half => Values::F32(vec![f32::from_bits(0x7fc0_0000 | (mark & 0x0fe) << 13); elements]),
        DType::U32 => Values::U32(vec![0xdead_beef; elements]),
        DType::U8 => Values::U8(vec![0xab; elements]),
    }
}

/// Copies values over a part of others.
pub fn put(memory: &mut Values, offset: usize, values: &Values) {
    let range = offset..offset + values.len();
    match (memory, values) {
        (Values::F32(memory), Values::F32(values)) => memory[range].copy_from_slice(values),
        (Values::U32(memory), Values::U32(values)) => memory[range].copy_from_slice(values),
        (Values::U8(memory), Values::U8(values)) => memory[range].copy_from_slice(values),
        _ => panic!("values of another type than their buffer's"),
    }
}

/// Fails where an element that no launch of the plan may write is not what it was.
pub fn untouched(plan: &Plan, buffer: &str, before: &Values, after: &Values) -> Result<(), String> {
    if before.len() > after.len() {
        return Err(format!("buffer \"{buffer}\": {} elements came back of {}", after.len(), before.len()));
    }
    let mut written = vec![false; before.len()];
    for step in &plan.steps {
        for (position, slot) in step.slots.iter().enumerate() {
            if step.access(position) != Access::Read && plan.buffers[slot.buffer].name == buffer {
                written[slot.offset..slot.offset + slot.shape.elements()].fill(true);
            }
        }
    }
    let (before, after) = (bits(before), bits(after));
    match (0..written.len()).find(|at| !written[*at] && before[*at] != after[*at]) {
        None => Ok(()),
        Some(at) => Err(format!(
            "buffer \"{buffer}\", element {at}: no launch may write it, and it changed from {:#x} to {:#x}",
            before[at], after[at]
        )),
    }
}

fn bits(values: &Values) -> Vec<u32> {
    match values {
        Values::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
        Values::F64(values) => values.iter().map(|value| (*value as f32).to_bits()).collect(),
        Values::U32(values) => values.clone(),
        Values::U8(values) => values.iter().map(|value| *value as u32).collect(),
    }
}

/// Any values as f64.
pub fn to_f64(values: &Values) -> Vec<f64> {
    match values {
        Values::F32(values) => values.iter().map(|value| *value as f64).collect(),
        Values::F64(values) => values.clone(),
        Values::U32(values) => values.iter().map(|value| *value as f64).collect(),
        Values::U8(values) => values.iter().map(|value| *value as f64).collect(),
    }
}

/// Holds values against others: the greatest error, as a part of the largest expected magnitude. Fails with the first
/// element whose error is not within the tolerance.
pub fn compare(what: &str, got: &[f64], expected: &[f64], tolerance: f64) -> Result<f64, String> {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), expected.len()));
    }
    if let Some(at) = expected.iter().position(|value| !value.is_finite()) {
        return Err(format!("{what}: the oracle's element {at} is {}, which proves nothing", expected[at]));
    }
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let mut worst = 0.0f64;
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        let within = error <= tolerance * largest;
        if !within {
            return Err(format!(
                "{what}: element {at} is {got:e}, expected {expected:e}: off by {:.2e} of the largest, {largest:e}, \
                 where {tolerance:e} is allowed",
                error / largest
            ));
        }
        if error > 0.0 {
            worst = worst.max(error / largest);
        }
    }
    Ok(worst)
}

/// Holds all results of a case against others of the same names.
pub fn compare_all(case: &str, device: &str, got: &Results, expected: &Results, tolerance: f64) -> Result<f64, String> {
    let names = |results: &Results| results.iter().map(|(name, _)| name.clone()).collect::<Vec<String>>();
    if names(got) != names(expected) {
        return Err(format!("case \"{case}\" on {device}: results {:?}, expected {:?}", names(got), names(expected)));
    }
    let mut worst = 0.0f64;
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        worst = worst.max(compare(&format!("case \"{case}\" on {device}, {name}"), got, expected, tolerance)?);
    }
    Ok(worst)
}

/// Writes a loss's feeds into a session.
pub fn write_feeds(session: &mut Session, loss: &Loss) -> pinhole::Result<()> {
    let layout = ParameterLayout::of(&loss.graph);
    for feed in &loss.feeds {
        let (name, offset) = feed.place(&layout);
        session.write_at(name, offset, &feed.values())?;
    }
    Ok(())
}

/// Ends a test with all of its failures, one to a line.
pub fn report(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
