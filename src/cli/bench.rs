//! `pinhole bench`

use super::arguments::DeviceArgument;
use super::autotune::{AutotuneArgument, show_tuning};
use super::output::End;
use super::output::{say, say_json};
use pinhole::bench::{Ceilings, LaunchMeasurement, Measurement, Timing, Workload, launches, measure};
use pinhole::error::{Error, Result};

#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure: conv-ae, dense-ae, vae, conv-ae-wide, matmul-256, -512, -1024, -2048, conv3x3; or training,
    /// kernels, all
    #[arg(value_name = "WORKLOAD", default_value = "all")]
    workloads: Vec<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print a line of JSON for each workload
    #[arg(long)]
    json: bool,
    /// Timed blocks, of which the median is reported
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    blocks: u64,
    /// Seconds that a block should last; every block has at least one step
    #[arg(long, default_value_t = 1.0, value_name = "S", allow_negative_numbers = true)]
    block_seconds: f64,
    /// Samples in a step, in place of the workload's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    #[command(flatten)]
    autotune: AutotuneArgument,
}

/// Names of what `sweeps` measures, which no rival has.
const SWEEPS: [&str; 2] = ["sweeps", "launches"];

/// Measures the workloads one after the other.
pub fn run(arguments: &Arguments) -> Result<End> {
    let settings = Timing {
        blocks: arguments.blocks as usize,
        block_seconds: arguments.block_seconds,
        batch: arguments.batch.map(|batch| batch as usize),
        tune: arguments.autotune.budget()?,
    };
    // All names first: a wrong one must not be found out after minutes.
    let mut workloads: Vec<Workload> = Vec::new();
    let mut sweeps = false;
    for name in arguments.workloads.iter().flat_map(|names| names.split(',')) {
        match name {
            name if SWEEPS.contains(&name) => sweeps = true,
            "split-sweep" => {
                let problem = "it is a benchmark of the source tree";
                return Err(Error::invalid("workload \"split-sweep\"", problem, "run cargo bench --bench split_sweep"));
            }
            name => workloads.extend(Workload::named(name)?),
        }
    }
    let mut ceilings: Option<Ceilings> = None;
    for workload in workloads {
        let mut measurement = measure(workload, arguments.device.name(), &settings)?;
        let ceilings = match &ceilings {
            Some(ceilings) => ceilings,
            // After the first workload, so that its first step counts from a driver that nobody has loaded yet.
            None => {
                let measured = Ceilings::measure(&arguments.device.open()?)?;
                if !arguments.json {
                    header(&measurement, &measured)?;
                }
                ceilings.insert(measured)
            }
        };
        measurement.hold_against(ceilings);
        if let Some(report) = &measurement.tuning {
            show_tuning(report);
        }
        match arguments.json {
            true => say_json(&measurement)?,
            false => say(&row(&measurement))?,
        }
    }
    if sweeps {
        for measured in launches(&arguments.device.open()?)? {
            match arguments.json {
                true => say_json(&measured)?,
                false => say(&launch_row(&measured))?,
            }
        }
    }
    Ok(End::Done)
}

fn header(first: &Measurement, ceilings: &Ceilings) -> Result<()> {
    let threads = first.threads.map(|threads| format!(", {threads} threads")).unwrap_or_default();
    say(&format!(
        "{}{threads}: at most {:.1} GFLOP/s in registers, {:.1} GB/s copied",
        first.device, ceilings.gflops, ceilings.gb_per_s
    ))?;
    say(&format!(
        "{:<13} {:>5} {:>10} {:>10} {:>10} {:<8} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "workload",
        "batch",
        "median",
        "slowest",
        "fastest",
        "unit",
        "GFLOP/s",
        "of most",
        "launches",
        "us each",
        "first s",
        "loss"
    ))
}

fn row(measurement: &Measurement) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let Measurement { workload, batch, gflops, min, max, .. } = measurement;
    let (median, unit) = match measurement.steps_per_s {
        Some(steps) => (steps, "steps/s"),
        None => (*gflops, "GFLOP/s"),
    };
    let part = or_dash(measurement.ceiling_fraction.map(|part| format!("{:.1} %", 100.0 * part)));
    let launches = or_dash(measurement.launches.map(|launches| launches.to_string()));
    let host = or_dash(measurement.host_us_per_launch.map(|host| format!("{host:.2}")));
    let loss = or_dash(measurement.loss.map(|loss| format!("{loss:.5}")));
    format!(
        "{workload:<13} {batch:>5} {median:>10.2} {min:>10.2} {max:>10.2} {unit:<8} {gflops:>9.2} {part:>8} \
         {launches:>8} {host:>9} {:>9.2} {loss:>9}",
        measurement.first_finished_step_s
    )
}

fn launch_row(measured: &LaunchMeasurement) -> String {
    let buffers = serde_json::to_value(measured.buffers).ok();
    let buffers = buffers.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
    let LaunchMeasurement { launches, host_us_per_launch, device_us_per_launch, .. } = measured;
    format!(
        "{launches} launches on {buffers} buffers: {host_us_per_launch:.2} us each to record, \
         {device_us_per_launch:.2} us to run"
    )
}
