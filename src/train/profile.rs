//! Training steps timed launch by launch.

use super::trainer::{TRAIN, Trainer};
use crate::error::Result;
use crate::plan::Step;

/// The launches of a step, timed.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// In their order.
    pub launches: Vec<LaunchTimes>,
}

/// A launch, and when it ran.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTimes {
    /// Its kernels, such as `conv2d.forward`.
    pub kernel: String,
    /// What its values belong to, such as `encoder.0`.
    pub label: String,
    /// Floating-point operations.
    pub operations: u64,
    /// Bytes read and written, each element counted once.
    pub bytes: u64,
    /// Beginning and duration in each step, in nanoseconds.
    pub spans: Vec<[u64; 2]>,
}

impl Trainer<'_> {
    /// Runs `steps` of the first steps of training after some that are not counted, with every launch timed by the device's
    /// clock. Afterwards parameters and state stand as after [`Trainer::check`]. Fails on an adapter without timestamps.
    pub fn profile(&mut self, steps: usize) -> Result<Profile> {
        let label = |launch: &[Step]| LaunchTimes {
            kernel: joined(launch, |step| step.kernel.name()),
            label: joined(launch, |step| step.label.clone()),
            operations: launch.iter().map(|step| step.operations).sum(),
            bytes: launch.iter().map(Step::bytes).sum(),
            spans: Vec::with_capacity(steps),
        };
        let mut launches: Vec<LaunchTimes> = self.plan().launches().map(|(_, launch)| label(launch)).collect();
        // The first step compiles on some drivers, and finds cold caches on all.
        let warm = 2;
        let mut end = 0;
        for step in 0..warm + steps {
            self.begin_at(step)?;
            let spans = self.session.time_launches(TRAIN, launches.len())?;
            if step < warm {
                continue;
            }
            let start = end;
            for (launch, [begun, lasted]) in launches.iter_mut().zip(spans) {
                launch.spans.push([start + begun, lasted]);
                end = end.max(start + begun + lasted);
            }
        }
        Ok(Profile { launches })
    }
}

/// What the steps of a launch have of something, each once.
pub(super) fn joined(launch: &[Step], of: impl Fn(&Step) -> String) -> String {
    let mut all: Vec<String> = launch.iter().map(of).collect();
    all.dedup();
    all.join(" + ")
}

impl Profile {
    /// The steps that were timed.
    pub fn steps(&self) -> usize {
        self.launches.first().map_or(0, |launch| launch.spans.len())
    }

    /// The mean time of a step in nanoseconds: of its launches, without what lies between them.
    pub fn step_nanoseconds(&self) -> f64 {
        self.launches.iter().map(LaunchTimes::nanoseconds).sum()
    }

    /// Kernels with their launches in a step, mean nanoseconds, operations and bytes, the slowest first.
    pub fn kernels(&self) -> Vec<(String, usize, f64, u64, u64)> {
        let mut kernels: Vec<(String, usize, f64, u64, u64)> = Vec::new();
        for launch in &self.launches {
            match kernels.iter_mut().find(|(kernel, ..)| *kernel == launch.kernel) {
                Some((_, count, time, operations, bytes)) => {
                    *count += 1;
                    *time += launch.nanoseconds();
                    *operations += launch.operations;
                    *bytes += launch.bytes;
                }
                None => {
                    kernels.push((launch.kernel.clone(), 1, launch.nanoseconds(), launch.operations, launch.bytes));
                }
            }
        }
        kernels.sort_by(|a, b| b.2.total_cmp(&a.2));
        kernels
    }

    /// The launches in the trace event format of Chrome's tracing, which Perfetto opens: an array of complete events, times
    /// in microseconds.
    pub fn trace(&self, device: &str) -> serde_json::Value {
        let named = serde_json::json!({
            "ph": "M", "name": "process_name", "pid": 1, "tid": 1, "args": { "name": device },
        });
        let mut events = vec![named];
        for step in 0..self.steps() {
            for launch in &self.launches {
                let [begun, lasted] = launch.spans[step].map(|nanoseconds| nanoseconds as f64 / 1e3);
                events.push(serde_json::json!({
                    "ph": "X", "name": launch.kernel, "cat": launch.label, "pid": 1, "tid": 1, "ts": begun, "dur": lasted,
                    "args": { "step": step, "label": launch.label, "flop": launch.operations, "bytes": launch.bytes },
                }));
            }
        }
        serde_json::Value::Array(events)
    }
}

impl LaunchTimes {
    /// The mean duration in nanoseconds.
    pub fn nanoseconds(&self) -> f64 {
        self.spans.iter().map(|[_, lasted]| *lasted as f64).sum::<f64>() / self.spans.len().max(1) as f64
    }
}
