//! Timing of training steps, launch by launch.

use super::trainer::{TRAIN, Trainer};
use crate::error::Result;
use crate::plan::Step;

/// Timings of the launches of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The launches, in execution order.
    pub launches: Vec<LaunchTimes>,
}

/// A launch and its timings.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTimes {
    /// The names of the launch's kernels, such as `conv2d.forward`.
    pub kernel: String,
    /// The layer that the launch belongs to, such as `encoder.0`.
    pub label: String,
    /// Number of floating-point operations.
    pub operations: u64,
    /// Bytes read and written, each element counted once.
    pub bytes: u64,
    /// Start and duration in each step, in nanoseconds.
    pub spans: Vec<[u64; 2]>,
}

impl Trainer<'_> {
    /// Runs the first `steps` steps of training after untimed warm-up steps, timing every launch by the device's clock.
    /// Changes parameters and state, as [`Trainer::check`] does. Fails on an adapter without timestamps.
    pub fn profile(&mut self, steps: usize) -> Result<Profile> {
        let label = |launch: &[Step]| LaunchTimes {
            kernel: joined(launch, |step| step.kernel.name()),
            label: joined(launch, |step| step.label.clone()),
            operations: launch.iter().map(|step| step.operations).sum(),
            bytes: launch.iter().map(Step::bytes).sum(),
            spans: Vec::with_capacity(steps),
        };
        let mut launches: Vec<LaunchTimes> = self.plan().launches().map(|(_, launch)| label(launch)).collect();
        // Some drivers compile in the first step, and all start with cold caches.
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

/// Joins a property of a launch's steps with ` + `, dropping adjacent repeats.
pub(super) fn joined(launch: &[Step], of: impl Fn(&Step) -> String) -> String {
    let mut all: Vec<String> = launch.iter().map(of).collect();
    all.dedup();
    all.join(" + ")
}

impl Profile {
    /// Number of timed steps.
    pub fn steps(&self) -> usize {
        self.launches.first().map_or(0, |launch| launch.spans.len())
    }

    /// The mean time of a step in nanoseconds: the sum over its launches, without the gaps between them.
    pub fn step_nanoseconds(&self) -> f64 {
        self.launches.iter().map(LaunchTimes::nanoseconds).sum()
    }

    /// Each kernel with its launches per step, mean nanoseconds, operations and bytes, the slowest first.
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

    /// The launches in Chrome's trace event format, which Perfetto opens: an array of complete events, with times in
    /// microseconds.
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
