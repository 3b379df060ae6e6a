//! `pinhole summary`

use super::arguments::{Changes, resolve_model};
use super::output::End;
use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::model::Network;

#[derive(clap::Args)]
pub struct Arguments {
    /// A preset (see pinhole models), a model file or the directory of a run
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints a row for each layer.
pub fn run(arguments: &Arguments) -> Result<End> {
    let mut spec = resolve_model(&arguments.model)?;
    arguments.changes.apply(&mut spec)?;
    let network = Network::new(spec)?;
    let checked = network.checked();
    let flops: u64 = checked.layers().map(|layer| layer.flops).sum();
    let count = |layer: &pinhole::nn::Placed| {
        layer.parameters.iter().filter(|p| p.trained).map(|p| p.shape.elements()).sum::<usize>()
    };
    if arguments.json {
        let layers: Vec<serde_json::Value> = checked
            .layers()
            .map(|layer| {
                serde_json::json!({
                    "name": layer.name, "layer": layer.layer.name(), "input": layer.input[..], "output": layer.output[..],
                    "parameters": count(layer), "flops": layer.flops,
                })
            })
            .collect();
        say_json(&serde_json::json!({
            "input": network.spec().input[..], "latent": checked.latent[..], "layers": layers,
            "parameters": checked.parameter_count(), "flops": flops,
        }))?;
        return Ok(End::Done);
    }
    // Names grow with nested lists.
    let width = checked.layers().map(|layer| layer.name.len()).max().unwrap_or(0).max(12);
    let kind = checked.layers().map(|layer| layer.layer.name().len()).max().unwrap_or(0).max(17);
    say(&format!(
        "{:<width$} {:<kind$} {:<15} {:<15} {:>10} {:>12}",
        "name", "layer", "input", "output", "parameters", "FLOP"
    ))?;
    for layer in checked.layers() {
        say(&format!(
            "{:<width$} {:<kind$} {:<15} {:<15} {:>10} {:>12}",
            layer.name,
            layer.layer.name(),
            layer.input.to_string(),
            layer.output.to_string(),
            count(layer),
            layer.flops
        ))?;
    }
    say(&format!(
        "input {}, latent {} ({:.1} % of the input), {} parameters, {flops} FLOP forward for one sample, loss {}",
        network.spec().input,
        checked.latent,
        100.0 * checked.latent.elements() as f64 / network.spec().input.elements() as f64,
        checked.parameter_count(),
        network.spec().loss.name()
    ))?;
    Ok(End::Done)
}
