//! `pinhole eval`: the quality of a trained model on data.

use super::arguments::{DeviceArgument, RunArgument};
use super::inputs::{load_data, load_others, load_pairs};
use super::output::{say, say_json};
use pinhole::Autoencoder;
use pinhole::data::{Splits, TrainingSets, is_same_source};
use pinhole::error::{Error, Result};
use pinhole::model::Network;
use pinhole::model::latent::PERPLEXITY;
use pinhole::run::RunSettings;
use pinhole::task::{self, CodeStatistics, Ensemble, RankingReport};
use pinhole::train::{Evaluation, psnr};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArgument,
    /// The data to evaluate on, as for train; only its test part is used if it has one
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    data: String,
    /// The targets of the samples [default: the samples themselves]
    #[arg(long, value_name = "FILE|DIR")]
    targets: Option<String>,
    /// The column of a CSV file that holds the labels: its name, or its number counted from 1 [default: the run's]
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    label: Option<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Also estimate an upper bound on the negative log-likelihood of a variational model by importance sampling, from
    /// 200 codes per sample or the given number
    #[arg(long, value_name = "CODES", num_args = 0..=1, require_equals = true, default_missing_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nll: Option<u32>,
    /// Also print statistics of the codes: active units, units that are not 0, dead units, the mean activation, the
    /// explained variance, and for a codebook the number of used vectors and their perplexity
    #[arg(long)]
    codes: bool,
    /// Also measure the mean squared Frobenius norm of the encoder's Jacobian
    #[arg(long)]
    jacobian: bool,
    /// Also measure recommendations for users outside the training data, with a fifth of their items held out:
    /// Recall@20, Recall@50 and NDCG@100, and for comparison those of a ranking by popularity
    #[arg(long)]
    ranking: bool,
    /// Also measure the mean reconstruction of an ensemble of RUN and this trained model; may be given several times
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints test loss, MSE, MAE and PSNR, the terms of the loss, and the measurements of the options.
pub fn run(arguments: &Arguments) -> Result<()> {
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
        // Constant data have no variance to explain.
        if variance > 0.0 {
            add("explained_variance", 1.0 - mse / variance);
        }
        if network.spec().latent.has_codebook() {
            let usage = task::codebook_usage(&autoencoder, data)?;
            add("codes_used", usage.iter().filter(|part| **part > 0.0).count() as f64);
            // The perplexity of all codes together replaces the mean over batches.
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
    if arguments.json { say_json(&evaluation) } else { print(network, &evaluation) }
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
    lines.into_iter().try_for_each(|(name, text)| say(&format!("{name:<width$}  {text}")))
}

/// Measures the ranking of items: of the users in the data's test part, else of the users that the run set aside for
/// validation, else, where the data is not the run's, of all users. Popularity comes from the run's training set.
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
