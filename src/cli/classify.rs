//! `pinhole classify`: trains a classifier on top of an encoder, and predicts with it.

use super::arguments::DeviceArgument;
use super::inputs::load_data;
use super::interrupt::{End, EpochPrinter, Interrupt};
use super::output::{say, say_json};
use pinhole::Autoencoder;
use pinhole::data::{self, Samples};
use pinhole::error::{Error, Result};
use pinhole::model::ModelSpec;
use pinhole::run::RunSettings;
use pinhole::run::classifier::Classifier;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of a trained model, whose encoder becomes a classifier; with --predict, the directory of a
    /// classifier
    run: PathBuf,
    /// Labelled data: digits, a folder with MNIST's files or with a folder of pictures for each class, an NPZ file with
    /// x and y, or a CSV file with --label
    #[arg(long, default_value = "digits", value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// The column of a CSV file that holds the labels: its name, or its number counted from 1 [default: the run's]
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    label: Option<String>,
    /// The directory to write the classifier to
    #[arg(long, value_name = "DIR", required_unless_present = "predict")]
    out: Option<PathBuf>,
    /// The number of epochs: passes over the training set [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Print the predicted class of each sample, one per line: of the data's test part, or of all data without one
    #[arg(long, conflicts_with_all = ["out", "epochs", "set"])]
    predict: bool,
    #[command(flatten)]
    device: DeviceArgument,
    /// Change a key of the model file, as for train
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Trains a classifier and prints its test error, or prints the predictions of one.
pub fn run(arguments: &Arguments) -> Result<End> {
    let Some(out) = &arguments.out else { return predict(arguments) };
    if Classifier::is_in(&arguments.run) {
        let help = "give --predict, or the run that it was made from";
        return Err(Error::file(&arguments.run, "is a classifier already", help));
    }
    let interrupted = Interrupt::listen();
    let mut spec = ModelSpec::read(&arguments.run.join("model.toml"))?;
    arguments.set.iter().try_for_each(|assignment| spec.set(assignment))?;
    if let Some(label) = &arguments.label {
        spec.data.label.clone_from(label);
    }
    spec.train.epochs = arguments.epochs.map_or(spec.train.epochs, |epochs| epochs as usize);
    let mut autoencoder = Autoencoder::new(spec.clone(), arguments.device.open()?)?;
    autoencoder.load_weights(arguments.run.join("model.safetensors"))?;
    let mut settings = RunSettings {
        data: data::absolute_source(&arguments.data),
        device: arguments.device.name().to_owned(),
        // Early stopping must not look at the test set.
        set_aside: spec.train.early_stopping.map(|_| spec.train.seed),
        ..RunSettings::default()
    };
    // The column of labels must exist: a classifier cannot be trained without labels.
    let label = Some(&spec.data.label[..]).filter(|label| !label.is_empty());
    let splits = load_data(&arguments.run, spec.reading(), &arguments.data, label)?;
    settings.samples = Some(Samples::of(&splits.train));
    let test = splits.test.clone();
    let sets = splits.for_training(spec.train.validation, spec.train.seed, settings.set_aside)?;
    interrupted.training_begins();
    let mut printer = EpochPrinter::new(interrupted);
    let trained = Classifier::train(&autoencoder, &sets, &settings, out, &mut printer)?;
    printer.finish()?;
    let Some(classifier) = trained else { return Ok(End::stopped()) };
    if let Some(test) = test.or(sets.validation) {
        let result = classifier.test(&test)?;
        result.save(out)?;
        say_json(&result)?;
        eprintln!("test error {:.2} % ({} of {})", 100.0 * result.error, result.errors, result.samples);
    }
    eprintln!("the classifier is in {}", out.display());
    Ok(End::Done)
}

fn predict(arguments: &Arguments) -> Result<End> {
    let classifier = Classifier::load(&arguments.run, arguments.device.open()?)?;
    let splits = load_data(&arguments.run, classifier.reading(), &arguments.data, arguments.label.as_deref())?;
    let data = splits.test.unwrap_or(splits.train);
    let result = data.labels().map(|_| classifier.test(&data)).transpose()?;
    for class in classifier.predict_all(&data)? {
        say(&classifier.class_name(class))?;
    }
    if let Some(result) = result {
        eprintln!("error {:.2} % ({} of {})", 100.0 * result.error, result.errors, result.samples);
    }
    Ok(End::Done)
}
