//! Memory and processor use of this process and of the machine during a measurement, on Linux only.

use std::fs;
use std::time::Instant;

/// Clock ticks per second in `/proc`: 100 on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// Resets the peak memory use.
pub(super) fn reset_peak_memory() {
    // Without permission the peak stays that of the whole run, which is no reason to fail.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The peak memory use, in MiB.
pub(super) fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Processor time in seconds of this process (`own`) and of the whole machine (`all`).
pub(super) struct ProcessorTime {
    began: Instant,
    own: f64,
    all: f64,
}

impl ProcessorTime {
    /// The time up to now; `None` where the system does not report it.
    pub fn now() -> Option<ProcessorTime> {
        let ticks = |fields: &[&str]| fields.iter().map(|field| field.parse::<f64>().ok()).sum::<Option<f64>>();
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // The process's name, in brackets, may hold spaces. Fields 14 and 15 are user and system time.
        let own: Vec<&str> = own.rsplit_once(") ")?.1.split(' ').collect();
        let all = fs::read_to_string("/proc/stat").ok()?;
        // Time of users, of nice processes, of the system, and of both kinds of interrupts.
        let all: Vec<&str> = all.lines().next()?.split_whitespace().collect();
        let all = [*all.get(1)?, *all.get(2)?, *all.get(3)?, *all.get(6)?, *all.get(7)?];
        Some(ProcessorTime { began: Instant::now(), own: ticks(own.get(11..13)?)? / TICKS, all: ticks(&all)? / TICKS })
    }

    /// Number of processors that this process, and all others, have kept busy since the measurement began.
    pub fn busy(&self) -> Option<[f64; 2]> {
        let now = ProcessorTime::now()?;
        let elapsed = (now.began - self.began).as_secs_f64();
        let own = now.own - self.own;
        Some([own / elapsed, ((now.all - self.all - own) / elapsed).max(0.0)])
    }
}
