//! Chart of a search's trials: the metric of each trial, and its relation to each key.

use super::Trial;
use super::space::{Candidates, Dimension, SearchSpec};
use crate::draw::chart::{Along, Panel, Series, panels};
use crate::error::Result;
use serde_json::Value as Json;
use std::path::Path;

/// Longest name below an axis, in letters.
const LONGEST_NAME: usize = 12;

/// Draws trials in the order of their numbers. Draws nothing where no trial has a result.
pub(super) fn draw(path: &Path, spec: &SearchSpec, trials: &[Trial]) -> Result<()> {
    let metric = |trial: &Trial| trial.metric(spec.metric);
    let numbered = |trial: &Trial| Some((trial.trial as f64, metric(trial)?));
    let results: Vec<(f64, f64)> = trials.iter().filter_map(numbered).collect();
    let Some(worst) = results.iter().map(|result| result.1).max_by(f64::total_cmp) else { return Ok(()) };
    let best = results.iter().scan(f64::INFINITY, |best, (trial, metric)| {
        *best = best.min(*metric);
        Some((*trial, *best))
    });
    let failed = trials.iter().filter(|trial| metric(trial).is_none()).map(|trial| (trial.trial as f64, worst));
    let mut series = vec![
        Series { name: "best so far", points: best.collect(), joined: true },
        Series { name: "trial", points: results.clone(), joined: false },
    ];
    let failed: Vec<(f64, f64)> = failed.collect();
    if !failed.is_empty() {
        series.push(Series { name: "failed", points: failed, joined: false });
    }
    let name = spec.metric.name();
    let mut all = vec![Panel { series, along: Along::Linear, x_label: "trial", y_label: name }];
    for dimension in &spec.space {
        let points = trials.iter().filter_map(|trial| Some((place(dimension, trial)?, metric(trial)?))).collect();
        let along = match &dimension.candidates {
            Candidates::Choices(choices) => Along::Names(choices.iter().map(|choice| short(choice)).collect()),
            Candidates::Log { .. } => Along::Logarithmic,
            Candidates::Range { .. } | Candidates::Whole { .. } => Along::Linear,
        };
        let series = vec![Series { name: "", points, joined: false }];
        all.push(Panel { series, along, x_label: &dimension.key, y_label: name });
    }
    panels(path, &all)
}

/// Position of a trial on a key's axis.
fn place(dimension: &Dimension, trial: &Trial) -> Option<f64> {
    let value = trial.values.get(&dimension.key)?;
    match &dimension.candidates {
        Candidates::Choices(choices) => {
            choices.iter().position(|choice| super::trial::as_json(choice) == *value).map(|index| index as f64)
        }
        Candidates::Range { .. } | Candidates::Log { .. } | Candidates::Whole { .. } => value.as_f64(),
    }
}

/// Abbreviates a choice for the axis.
fn short(choice: &str) -> String {
    let text = match super::trial::as_json(choice) {
        Json::String(text) => text,
        other => other.to_string(),
    };
    text.trim_start_matches("{ ").chars().take(LONGEST_NAME).collect()
}
