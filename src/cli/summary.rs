//! `pinhole summary`: the layers of a model.

use super::arguments::Changes;
use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::model::Network;
use pinhole::nn::Placed;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model: a preset (see pinhole models), a model file or the directory of a run
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints a row for each layer.
pub fn run(arguments: &Arguments) -> Result<()> {
    let network = Network::new(arguments.changes.resolve(&arguments.model)?)?;
    let checked = network.checked();
    let flops: u64 = checked.layers().map(|layer| layer.flops).sum();
    let count =
        |layer: &Placed| -> usize { layer.parameters.iter().filter(|p| p.trained).map(|p| p.shape.elements()).sum() };
    if arguments.json {
        let layer = |layer: &Placed| {
            serde_json::json!({
                "name": layer.name, "layer": layer.layer.name(), "input": layer.input[..], "output": layer.output[..],
                "parameters": count(layer), "flops": layer.flops,
            })
        };
        let layers: Vec<serde_json::Value> = checked.layers().map(layer).collect();
        return say_json(&serde_json::json!({
            "input": network.spec().input[..], "latent": checked.latent[..], "layers": layers,
            "parameters": checked.parameter_count(), "flops": flops,
        }));
    }
    let width = checked.layers().map(|layer| layer.name.len()).max().unwrap_or(0).max(12);
    let kind = checked.layers().map(|layer| layer.layer.name().len()).max().unwrap_or(0).max(17);
    let row = |name: &str, layer: &str, [input, output, parameters, flops]: [&str; 4]| {
        say(&format!("{name:<width$} {layer:<kind$} {input:<15} {output:<15} {parameters:>10} {flops:>12}"))
    };
    row("name", "layer", ["input", "output", "parameters", "FLOP"])?;
    for layer in checked.layers() {
        let numbers =
            [layer.input.to_string(), layer.output.to_string(), count(layer).to_string(), layer.flops.to_string()];
        row(&layer.name, layer.layer.name(), numbers.each_ref().map(String::as_str))?;
    }
    say(&format!(
        "input {}, latent {} ({:.1} % of the input), {} parameters, {flops} FLOP forward for one sample, loss {}",
        network.spec().input,
        checked.latent,
        100.0 * checked.latent.elements() as f64 / network.spec().input.elements() as f64,
        checked.parameter_count(),
        network.spec().loss.name()
    ))
}
