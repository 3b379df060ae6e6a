//! `pinhole models`: the presets.

use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::model::preset::{PRESETS, Preset};
use pinhole::model::{ModelSpec, Network};
use pinhole::shape::Shape;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Lists the presets: name, shape of a code, number of parameters, description and paper.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut models = Vec::new();
    for preset in PRESETS {
        let network = Network::new(ModelSpec::resolve(preset.name)?)?;
        models.push((preset, network.checked().latent.clone(), network.checked().parameter_count()));
    }
    if arguments.json {
        let model = |(Preset { name, about, paper, .. }, latent, parameters): &(&Preset, Shape, usize)| {
            serde_json::json!({
                "name": name, "about": about, "paper": paper, "latent": latent[..], "parameters": parameters,
            })
        };
        return say_json(&models.iter().map(model).collect::<Vec<_>>());
    }
    let width = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    for (preset, latent, parameters) in models {
        let paper = if preset.paper.is_empty() { String::new() } else { format!(" ({})", preset.paper) };
        let latent = latent.to_string();
        say(&format!("{:<width$} {latent:<11} {parameters:>8}  {}{paper}", preset.name, preset.about))?;
    }
    Ok(())
}
