//! `pinhole eval`

use super::{End, open_device, say, say_json};
use pinhole::Autoencoder;
use pinhole::data::{self, Reading};
use pinhole::error::Result;
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
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints test loss, MSE, MAE and PSNR.
pub fn run(arguments: &Arguments) -> Result<End> {
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let splits = data::load_with(&arguments.data, &Reading::pictures(autoencoder.network().spec().pictures()))?;
    let evaluation = autoencoder.evaluate(splits.test.as_ref().unwrap_or(&splits.train))?;
    if arguments.json {
        say_json(&evaluation)?;
    } else {
        let name = autoencoder.network().spec().loss.name();
        say(&format!("loss ({name})  {:.6}", evaluation.loss))?;
        say(&format!("MSE         {:.6}", evaluation.mse))?;
        say(&format!("MAE         {:.6}", evaluation.mae))?;
        say(&format!("PSNR        {:.2} dB", evaluation.psnr))?;
        say(&format!("samples     {}", evaluation.samples))?;
    }
    Ok(End::Done)
}
