//! `pinhole pretrain`

use super::arguments::{Changes, DeviceArgument, resolve_model};
use super::interrupt::Interrupt;
use super::output::End;
use super::output::say_json;
use pinhole::data::{self, Samples};
use pinhole::error::Result;
use pinhole::run::RunSettings;
use pinhole::run::pretrain::{MASKING, PretrainObserver, Pretraining, pretrain};
use pinhole::train::{EpochReport, Observer, Warning};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    /// A preset (stacked, deep), a model file or the directory of a run, with linear layers that the decoder mirrors
    model: String,
    #[command(flatten)]
    changes: Changes,
    /// The data; validation uses the test part where there is one
    #[arg(long, default_value = "digits", value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// The column of a CSV file that holds labels and is not part of the samples: its name, or its number counted from
    /// 1
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    label: Option<String>,
    /// The run directory of the pretrained model, which train --resume continues
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Epochs for each layer [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// The part of each layer's input that is set to zero; the last value holds for all further layers
    #[arg(long, value_delimiter = ',', default_values_t = MASKING, value_name = "P,..")]
    masking: Vec<f64>,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Trains layer by layer, and prints a line of JSON for each epoch of each layer.
pub fn run(arguments: &Arguments) -> Result<End> {
    let interrupted = Interrupt::listen();
    let mut spec = resolve_model(&arguments.model)?;
    arguments.changes.apply(&mut spec)?;
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
    let mut progress = Progress { layer: String::new(), interrupted, failure: None };
    let how = Pretraining { epochs: arguments.epochs.map(|epochs| epochs as usize), masking: &arguments.masking };
    let done = pretrain(&spec, how, &device, &sets, &settings, &arguments.out, &mut progress)?;
    if let Some(error) = progress.failure {
        return Err(error);
    }
    let out = arguments.out.display();
    match done {
        Some(_) => eprintln!("the model with these layers is in {out}; train --resume --out {out} trains all of it"),
        None => {
            eprintln!("stopped; the same command goes on");
            return Ok(End::Interrupted);
        }
    }
    Ok(End::Done)
}

/// An epoch of a layer.
#[derive(serde::Serialize)]
struct Line<'a> {
    layer: &'a str,
    #[serde(flatten)]
    report: &'a EpochReport,
}

/// Prints epochs, and passes on Ctrl-C.
struct Progress {
    layer: String,
    interrupted: Arc<Interrupt>,
    failure: Option<pinhole::Error>,
}

impl Observer for Progress {
    fn epoch(&mut self, report: &EpochReport) {
        self.failure = say_json(&Line { layer: &self.layer, report }).err();
    }

    fn warning(&mut self, warning: &Warning) {
        eprintln!("warning: {warning}");
    }

    fn stop(&mut self) -> bool {
        self.failure.is_some() || self.interrupted.is_raised()
    }
}

impl PretrainObserver for Progress {
    fn layer(&mut self, name: &str, [from, to]: [usize; 2], masking: f64) {
        self.interrupted.training_begins();
        eprintln!("training {name}, {from} to {to}, from inputs of which a part of {masking} is masked");
        name.clone_into(&mut self.layer);
    }
}
