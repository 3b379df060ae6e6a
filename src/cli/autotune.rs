//! `--autotune`: the search for faster tiles before other work.

use pinhole::error::{Error, Result};
use pinhole::gpu::TuningReport;
use pinhole::plan::Tile;
use std::time::Duration;

/// `--autotune`.
#[derive(clap::Args)]
pub struct AutotuneArgument {
    /// Look for faster tiles first, for at most this many seconds (for each workload of bench), and keep the
    /// measurements for later runs
    #[arg(
        long = "autotune",
        alias = "tune",
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10"
    )]
    seconds: Option<f64>,
}

impl AutotuneArgument {
    /// The time to spend, where tuning is asked for.
    pub fn budget(&self) -> Result<Option<Duration>> {
        let Some(seconds) = self.seconds else { return Ok(None) };
        let budget = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= 3600.0);
        budget.map(Some).ok_or_else(|| {
            Error::invalid("--autotune", format!("{seconds} seconds is no time to spend"), "use 0 to 3600")
        })
    }
}

/// Says what tuning chose, a line for each product.
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
    let left = match report.left {
        0 => String::new(),
        left => format!(", {left} not measured for lack of time"),
    };
    let step = report.step_us.map(|[untuned, tuned]| format!("; a step took {untuned:.0} us, then {tuned:.0}"));
    let changed = report.choices.iter().filter(|choice| choice.tile != choice.default).count();
    eprintln!(
        "tuned in {:.1} s: {} products measured, {changed} of {} have another tile{left}{}",
        report.seconds,
        report.measured,
        report.choices.len(),
        step.unwrap_or_default()
    );
}
