//! `pinhole pretrain`: greedy layer-wise pretraining.

use super::arguments::{Changes, DeviceArgument};
use super::interrupt::{End, EpochPrinter, Interrupt};
use pinhole::data::{self, Samples};
use pinhole::error::Result;
use pinhole::run::RunSettings;
use pinhole::run::pretrain::{MASKING, Pretraining, pretrain};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model: a preset (stacked, deep), a model file or the directory of a run, with linear layers that the decoder
    /// mirrors
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// The training data, as for train; its test part, if it has one, is the validation set
    #[arg(long, default_value = "digits", value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// The column of a CSV file that holds the labels and is not part of the samples: its name, or its number counted
    /// from 1
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    label: Option<String>,
    /// The directory to write the pretrained model to; train --resume --out DIR then trains the whole model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The number of epochs for each layer [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// The fraction of each layer's inputs that is set to zero; the last value holds for all further layers
    #[arg(long, value_delimiter = ',', default_values_t = MASKING, value_name = "P,..")]
    masking: Vec<f64>,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Pretrains layer by layer, and prints a line of JSON for each epoch of each layer.
pub fn run(arguments: &Arguments) -> Result<End> {
    let interrupted = Interrupt::listen();
    let mut spec = arguments.changes.resolve(&arguments.model)?;
    if let Some(label) = &arguments.label {
        spec.data.label.clone_from(label);
    }
    let device = arguments.device.open()?;
    let splits = data::load_with(&arguments.data, &spec.reading())?;
    let data = data::absolute_source(&arguments.data);
    let samples = Some(Samples::of(&splits.train));
    let settings = RunSettings { data, device: arguments.device.name().to_owned(), samples, ..RunSettings::default() };
    let sets = splits.for_training(spec.train.validation, spec.train.seed, None)?;
    spec.fit_to(&sets.train)?;
    let mut printer = EpochPrinter::new(interrupted);
    let how = Pretraining { epochs: arguments.epochs.map(|epochs| epochs as usize), masking: &arguments.masking };
    let done = pretrain(&spec, how, &device, &sets, &settings, &arguments.out, &mut printer)?;
    printer.finish()?;
    if done.is_none() {
        return Ok(End::stopped());
    }
    let out = arguments.out.display();
    eprintln!("the model with these layers is in {out}; train --resume --out {out} trains all of it");
    Ok(End::Done)
}
