//! `pinhole bench`: the speed of training steps and kernels.

use super::arguments::DeviceArgument;
use super::autotune::{AutotuneArgument, show_tuning};
use super::output::{say, say_json};
use pinhole::bench::{Ceilings, LaunchMeasurement, Measurement, Timing, Workload, launches, measure};
use pinhole::error::{Error, Result};

#[derive(clap::Args)]
pub struct Arguments {
    /// The workloads: training steps (conv-ae, dense-ae, vae, conv-ae-wide), kernels (matmul-256, matmul-512,
    /// matmul-1024, matmul-2048, conv3x3), or a group of them (training, kernels, all)
    #[arg(value_name = "WORKLOAD", default_value = "all")]
    workloads: Vec<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print a line of JSON for each workload
    #[arg(long)]
    json: bool,
    /// The number of timed blocks of steps, whose median speed is reported
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    blocks: u64,
    /// The duration of a block in seconds; every block has at least one step
    #[arg(long, default_value_t = 1.0, value_name = "S", allow_negative_numbers = true)]
    block_seconds: f64,
    /// The batch size: samples in a training step [default: the workload's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    #[command(flatten)]
    autotune: AutotuneArgument,
}

/// Names of the measurement of the cost of a launch.
const LAUNCHES: [&str; 2] = ["sweeps", "launches"];

/// Measures the workloads one after the other.
pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = Timing {
        blocks: arguments.blocks as usize,
        block_seconds: arguments.block_seconds,
        batch: arguments.batch.map(|batch| batch as usize),
        tune: arguments.autotune.budget()?,
    };
    // All names are read first: a wrong one must fail before minutes of measurements.
    let mut workloads: Vec<Workload> = Vec::new();
    let mut launch_costs = false;
    for name in arguments.workloads.iter().flat_map(|names| names.split(',')) {
        match name {
            name if LAUNCHES.contains(&name) => launch_costs = true,
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
            // After the first workload, so that the time to its first step includes the loading of the driver.
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
        arguments.print(&measurement, row)?;
    }
    if launch_costs {
        launches(&arguments.device.open()?)?.iter().try_for_each(|measured| arguments.print(measured, launch_row))?;
    }
    Ok(())
}

impl Arguments {
    /// Prints a measurement as a line of JSON or as a row of a table.
    fn print<M: serde::Serialize>(&self, measurement: &M, row: fn(&M) -> String) -> Result<()> {
        if self.json { say_json(measurement) } else { say(&row(measurement)) }
    }
}

fn header(first: &Measurement, ceilings: &Ceilings) -> Result<()> {
    let threads = first.threads.map(|threads| format!(", {threads} threads")).unwrap_or_default();
    say(&format!(
        "{}{threads}: at most {:.1} GFLOP/s in registers, {:.1} GB/s copied",
        first.device, ceilings.gflops, ceilings.gb_per_s
    ))?;
    say(concat!(
        "workload      batch     median    slowest    fastest unit       GFLOP/s",
        "  of most launches   us each   first s      loss"
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
