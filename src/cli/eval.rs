//! `pinhole eval`

use super::arguments::{DeviceArgument, RunArgument};
use super::inputs::{load_data, load_others, load_pairs};
use super::output::End;
use super::output::{say, say_json};
use pinhole::Autoencoder;
use pinhole::data::{Splits, TrainingSets, is_same_source};
use pinhole::error::{Error, Result};
use pinhole::model::Network;
use pinhole::model::config::LatentSpec;
use pinhole::model::latent::PERPLEXITY;
use pinhole::run::RunSettings;
use pinhole::task::{self, CodeStatistics, Ensemble, RankingReport};
use pinhole::train::{Evaluation, psnr};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArgument,
    /// The data; its test part is measured where it has one
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// What the model must output for each sample, where that is not the sample itself
    #[arg(long, value_name = "FILE|DIR")]
    targets: Option<String>,
    /// The column of a CSV file that holds the labels: its name, or its number counted from 1 [default: the run's]
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    label: Option<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Bound the negative log-likelihood of a variational model too, from this many codes of each sample
    #[arg(long, value_name = "CODES", num_args = 0..=1, require_equals = true, default_missing_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nll: Option<u32>,
    /// Also print statistics of codes: active units, numbers that are not 0, dead units, the mean activation, explained
    /// variance, and how many vectors of a codebook are used
    #[arg(long)]
    codes: bool,
    /// Also measure the mean squared norm of the encoder's Jacobian
    #[arg(long)]
    jacobian: bool,
    /// Also measure recommendations for users outside the training data, with a fifth of their items held out:
    /// Recall@20, Recall@50 and NDCG@100, next to those of a ranking by popularity
    #[arg(long)]
    ranking: bool,
    /// Also measure the mean reconstruction of an ensemble: the run, and each run given by --with
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints test loss, MSE, MAE and PSNR, and what the loss is made of.
pub fn run(arguments: &Arguments) -> Result<End> {
    let autoencoder = arguments.run.load(&arguments.device)?;
    let spec = autoencoder.network().spec();
    let sources = (&*arguments.data, arguments.targets.as_deref());
    let splits = load_pairs(&arguments.run.path, spec.reading(), sources, arguments.label.as_deref())?;
    let data = splits.test.as_ref().unwrap_or(&splits.train);
    let mut evaluation = autoencoder.evaluate(data)?;
    let (network, mse) = (autoencoder.network(), evaluation.mse);
    let mut add = |name: &str, value: f64| evaluation.parts.insert(name.to_owned(), value);
    if arguments.codes {
        let codes = CodeStatistics::of(&autoencoder, data)?;
        add("active_units", codes.active() as f64);
        add("dead_units", codes.dead() as f64);
        add("units_not_zero", codes.mean_used());
        let variance = task::variance(data, network.spec().data.binarise)?;
        // Where nothing varies there is nothing to explain.
        if variance > 0.0 {
            add("explained_variance", 1.0 - mse / variance);
        }
        if matches!(network.spec().latent, LatentSpec::VectorQuantised(_)) {
            let usage = task::codebook_usage(&autoencoder, data)?;
            add("codes_used", usage.iter().filter(|part| **part > 0.0).count() as f64);
            // Of all codes at once, in place of the mean over batches.
            add(PERPLEXITY, task::perplexity(&usage));
        }
        add("mean_activation", codes.mean().iter().sum::<f64>() / codes.mean().len() as f64);
    }
    if arguments.jacobian {
        add("squared_jacobian", autoencoder.jacobian_norm(data)?);
    }
    for (column, accuracy) in autoencoder.column_accuracy(data)? {
        add(&format!("accuracy_{column}"), accuracy);
    }
    if !arguments.with.is_empty() {
        let others = load_others(&arguments.with, &autoencoder, data)?;
        let of = Ensemble::new(std::iter::once(&autoencoder).chain(&others).collect())?.evaluate(data)?;
        add("ensemble_mse", of.mse);
        add("ensemble_mae", of.mae);
        add("ensemble_psnr", of.psnr);
        add("ensemble_member_mse", of.member_mse);
        add("ensemble_spread", of.spread);
    }
    if arguments.ranking {
        let report = ranking(&arguments.run.path, &autoencoder, &arguments.data, &splits)?;
        for (whose, quality) in [("", report.model), ("popularity_", report.popularity)] {
            add(&format!("{whose}recall_20"), quality.recall_20);
            add(&format!("{whose}recall_50"), quality.recall_50);
            add(&format!("{whose}ndcg_100"), quality.ndcg_100);
        }
        add("ranked_users", report.users as f64);
    }
    if let Some(samples) = arguments.nll {
        add("negative_log_likelihood", autoencoder.negative_log_likelihood(data, samples as usize)?);
    }
    if arguments.json {
        say_json(&evaluation)?
    } else {
        print(network, &evaluation)?
    }
    Ok(End::Done)
}

/// Prints an evaluation as a table.
fn print(network: &Network, evaluation: &Evaluation) -> Result<()> {
    let mut lines = vec![
        (format!("loss ({})", network.spec().loss.name()), format!("{:.6}", evaluation.loss)),
        ("MSE".to_owned(), format!("{:.6}", evaluation.mse)),
        ("MAE".to_owned(), format!("{:.6}", evaluation.mae)),
        ("PSNR".to_owned(), format!("{:.2} dB", evaluation.psnr)),
    ];
    for (name, value) in &evaluation.parts {
        let text = match name.as_str() {
            "ranked_users" => value.to_string(),
            "active_units" | "dead_units" => format!("{value} of {}", network.checked().latent.elements()),
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
    Ok(())
}

/// How well items are found: of the users in the data's test part, else of those that the run has set aside of its data, else,
/// where the data is not the run's, of all. What is popular is known from the data that the run was trained on.
fn ranking(run: &Path, autoencoder: &Autoencoder, source: &str, splits: &Splits) -> Result<RankingReport> {
    let spec = autoencoder.network().spec();
    let settings = RunSettings::read(run)?;
    let splits_of_run = load_data(run, spec.reading(), &settings.data, None)?;
    let TrainingSets { train, validation: aside } =
        splits_of_run.for_training(spec.train.validation, spec.train.seed, settings.set_aside)?;
    let own = splits.test.is_none() && is_same_source(source, &settings.data);
    if own && aside.is_none() {
        let problem = format!("the run was trained on all users of {source}");
        let help = "give --data with other users, or train with train.validation = 0.1";
        return Err(Error::invalid("--ranking", problem, help));
    }
    let aside = aside.filter(|_| own);
    let users = aside.as_ref().or(splits.test.as_ref()).unwrap_or(&splits.train);
    autoencoder.ranking(users, &train, spec.train.seed)
}
