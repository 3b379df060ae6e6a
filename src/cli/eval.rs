//! `pinhole eval`

use super::{End, open_device, say, say_json};
use pinhole::Autoencoder;
use pinhole::data::{self, Reading};
use pinhole::error::Result;
use pinhole::task::CodeStatistics;
use pinhole::train::psnr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of a run
    run: PathBuf,
    /// The data; its test part is measured where it has one
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// Where to compute
    #[arg(long, default_value = "auto", value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    device: String,
    /// Bound the negative log-likelihood of a variational model too, by so many codes for each sample
    #[arg(long, value_name = "CODES", num_args = 0..=1, require_equals = true, default_missing_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nll: Option<u32>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints test loss, MSE, MAE and PSNR, and what the loss is made of.
pub fn run(arguments: &Arguments) -> Result<End> {
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let splits = data::load_with(&arguments.data, &Reading::pictures(autoencoder.network().spec().pictures()))?;
    let data = splits.test.as_ref().unwrap_or(&splits.train);
    let mut evaluation = autoencoder.evaluate(data)?;
    let network = autoencoder.network();
    if network.spec().latent.is_drawn() {
        let codes = CodeStatistics::of(&autoencoder, data)?;
        evaluation.parts.insert("active_units".to_owned(), codes.active() as f64);
    }
    if let Some(samples) = arguments.nll {
        let bound = autoencoder.negative_log_likelihood(data, samples as usize)?;
        evaluation.parts.insert("negative_log_likelihood".to_owned(), bound);
    }
    if arguments.json {
        say_json(&evaluation)?;
        return Ok(End::Done);
    }
    let mut lines = vec![
        (format!("loss ({})", network.spec().loss.name()), format!("{:.6}", evaluation.loss)),
        ("MSE".to_owned(), format!("{:.6}", evaluation.mse)),
        ("MAE".to_owned(), format!("{:.6}", evaluation.mae)),
        ("PSNR".to_owned(), format!("{:.2} dB", evaluation.psnr)),
    ];
    for (name, value) in &evaluation.parts {
        let text = match name.as_str() {
            "active_units" => format!("{value} of {}", network.checked().latent.elements()),
            _ => format!("{value:.6}"),
        };
        lines.push((name.replace('_', " "), text));
        if name == "corrupted_mse" {
            lines.push(("corrupted PSNR".to_owned(), format!("{:.2} dB", psnr(*value))));
        }
    }
    lines.push(("samples".to_owned(), evaluation.samples.to_string()));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10);
    for (name, text) in lines {
        say(&format!("{name:<width$}  {text}"))?;
    }
    Ok(End::Done)
}
