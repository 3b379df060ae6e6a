//! `pinhole models`

use super::output::End;
use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::model::preset::PRESETS;
use pinhole::model::{ModelSpec, Network};

#[derive(clap::Args)]
pub struct Arguments {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Lists the built-in models.
pub fn run(arguments: &Arguments) -> Result<End> {
    let mut models = Vec::new();
    for preset in PRESETS {
        let network = Network::new(ModelSpec::resolve(preset.name)?)?;
        models.push((preset, network.checked().latent.clone(), network.checked().parameter_count()));
    }
    if arguments.json {
        let model = |(preset, latent, parameters): &(&pinhole::model::preset::Preset, pinhole::shape::Shape, usize)| {
            serde_json::json!({
                "name": preset.name, "about": preset.about, "paper": preset.paper, "latent": latent[..],
                "parameters": parameters,
            })
        };
        say_json(&models.iter().map(model).collect::<Vec<_>>())?;
        return Ok(End::Done);
    }
    let width = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    for (preset, latent, parameters) in models {
        let paper = if preset.paper.is_empty() { String::new() } else { format!(" ({})", preset.paper) };
        let latent = latent.to_string();
        say(&format!("{:<width$} {latent:<11} {parameters:>8}  {}{paper}", preset.name, preset.about))?;
    }
    Ok(End::Done)
}
