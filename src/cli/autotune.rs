//! `--autotune`: measures tiles of matrix products before other work.

use pinhole::error::{Error, Result};
use pinhole::gpu::TuningReport;
use pinhole::plan::Tile;
use std::time::Duration;

/// `--autotune`.
#[derive(clap::Args)]
pub struct AutotuneArgument {
    /// First measure which tiles of matrix products are fastest on the device, for at most 10 seconds or the given time
    /// (in bench for each workload), and keep the result for later runs with --autotune
    #[arg(long = "autotune", alias = "tune", value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "10")]
    seconds: Option<f64>,
}

impl AutotuneArgument {
    /// The time for tuning; `None` without the option.
    pub fn budget(&self) -> Result<Option<Duration>> {
        let budget = |seconds: f64| match Duration::try_from_secs_f64(seconds) {
            Ok(budget) if seconds <= 3600.0 => Ok(budget),
            _ => Err(Error::invalid("--autotune", format!("{seconds} seconds is no time to spend"), "use 0 to 3600")),
        };
        self.seconds.map(budget).transpose()
    }
}

/// Reports the tile that tuning chose for each product.
pub fn show_tuning(report: &TuningReport) {
    let tile = |tile: &Tile| format!("{} {}x{}x{}", tile.family.name(), tile.lines, tile.columns, tile.depth);
    for choice in &report.choices {
        let product = format!("{} {}x{}", choice.product.kernel, choice.product.lines, choice.product.columns);
        let chosen = match choice.tile == choice.default {
            true => "kept".to_owned(),
            false => format!("{} {:.1} us", tile(&choice.tile), choice.us),
        };
        eprintln!("{product:<36} {:<20} {:>9.1} us  {chosen}", tile(&choice.default), choice.default_us);
    }
    for line in &report.rejected {
        eprintln!("{line}");
    }
    let TuningReport { seconds, measured, left, choices, step_us, .. } = report;
    let changed = choices.iter().filter(|choice| choice.tile != choice.default).count();
    let left = if *left == 0 { String::new() } else { format!(", {left} not measured for lack of time") };
    let step = step_us.map(|[untuned, tuned]| format!("; a step took {untuned:.0} us, then {tuned:.0}"));
    let (count, step) = (choices.len(), step.unwrap_or_default());
    eprintln!(
        "tuned in {seconds:.1} s: {measured} products measured, {changed} of {count} have another tile{left}{step}"
    );
}
