//! Ensembles: the mean of several models' reconstructions, its spread and its error.

use crate::support::*;
use crate::temp::*;
use crate::train::weight_averages::{averaged, mean};
use pinhole::data::{digits, table::Column};
use pinhole::task::Ensemble;
use pinhole::{Autoencoder, Device, Result};
use serde_json::Value as Json;

#[test]
fn ensembles_have_a_mean_and_a_spread() -> Result<()> {
    let data = digits(40, 2);
    let member = |seed: u64, line: &str| -> Result<Autoencoder> {
        let mut spec = averaged(line, 2);
        spec.train.seed = seed;
        let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
        autoencoder.fit(&data, None, &mut ())?;
        Ok(autoencoder)
    };
    let members = [member(1, "")?, member(2, "")?, member(3, "accumulate = 2")?];
    let ensemble = Ensemble::new(members.iter().collect())?;
    let samples = data.rows_f32(0..40);
    let copies: Vec<Vec<f64>> =
        members.iter().map(|member| Ok(member.reconstruct(&samples)?.to_f64())).collect::<Result<_>>()?;
    let mean = mean(&copies.iter().collect::<Vec<_>>());
    let deviation: Vec<f64> = (0..mean.len())
        .map(|at| (copies.iter().map(|copy| (copy[at] - mean[at]).powi(2)).sum::<f64>() / 3.0).sqrt())
        .collect();
    let [means, deviations] = ensemble.reconstruct(&data, 0..40)?;
    assert_eq!(means.shape(), members[0].reconstruct(&samples)?.shape());
    expect_close("the mean", &means.to_f64(), &mean, 1e-6, Scale::Absolute);
    expect_close("the spread", &deviations.to_f64(), &deviation, 1e-6, Scale::Absolute);
    // The error of the mean is the members' less their variance.
    let of = ensemble.evaluate(&data)?;
    let each: Vec<f64> = members.iter().map(|member| Ok(member.evaluate(&data)?.mse)).collect::<Result<_>>()?;
    let member_mse = each.iter().sum::<f64>() / 3.0;
    expect_close("the members' error", &[of.member_mse], &[member_mse], 1e-6, Scale::Relative);
    assert!(of.mse < member_mse && of.spread > 0.0 && (of.psnr + 10.0 * of.mse.log10()).abs() < 1e-12, "{of:?}");
    // Steps that are not there do not count.
    let text = "input = [4, 1]\nloss = \"mse\"\nencoder = [{ lstm = 3 }]\ndecoder = [{ linear = 1 }]\n";
    let member = |seed: u64| {
        let mut spec = spec(text);
        spec.train.seed = seed;
        Autoencoder::new(spec, Device::Cpu)
    };
    let pair = [member(1)?, member(2)?];
    let sequences = pinhole::data::Dataset::from_f32([4, 1], vec![0.5, 9.0, 9.0, 9.0, 0.25, 0.75, 9.0, 9.0])?;
    let sequences = sequences.with_lengths(vec![1, 2])?;
    let of = Ensemble::new(pair.iter().collect())?.evaluate(&sequences)?;
    let each = [pair[0].evaluate(&sequences)?.mse, pair[1].evaluate(&sequences)?.mse];
    expect_close("of sequences", &[of.member_mse], &[(each[0] + each[1]) / 2.0], 1e-6, Scale::Relative);
    let refused = |members: Vec<&Autoencoder>| Ensemble::new(members).err().expect("no ensemble").to_string();
    assert_eq!(refused(vec![&members[0]]), "ensemble: one model is no ensemble; give two or more");
    assert!(refused(vec![]).contains("it has no members"));
    let other = "input = [3]\nloss = \"columns\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 3 }]\n";
    let other = Autoencoder::new(spec(other), Device::Cpu)?;
    assert!(refused(vec![&members[0], &other]).contains("its members take samples of [784] and of [3]"));
    let mut table = other.network().spec().clone();
    table.data.columns = ["a", "b", "c"].map(|name| Column { name: name.to_owned(), ..Column::default() }).to_vec();
    let table = Autoencoder::new(table, Device::Cpu)?;
    assert!(refused(vec![&table, &table]).contains("categories of tables have no mean"));
    Ok(())
}

#[test]
fn the_program_averages_runs() {
    let place = Place::new();
    for seed in 1..=3 {
        place.ok(&format!(
            "train --model small.toml --data digits:90 --device cpu --epochs 1 --seed {seed} --out run-{seed}"
        ));
    }
    let said = place.ok("eval run-1 --with run-2 --with run-3 --data digits:90 --device cpu --json");
    let line: Json = serde_json::from_str(&said.stdout).expect("JSON");
    let number = |key: &str| line[key].as_f64().or(line["parts"][key].as_f64()).unwrap_or(f64::NAN);
    assert!(number("ensemble_mse") < number("ensemble_member_mse"), "{}", said.stdout);
    place.ok("reconstruct run-1 digits:60 mean.csv --with run-2 --spread spread.csv --device cpu");
    let numbers = |name: &str| pinhole::data::csv::read_csv(place.path(name)).expect("numbers").values;
    place.ok("reconstruct run-1 digits:60 one.csv --device cpu");
    place.ok("reconstruct run-2 digits:60 two.csv --device cpu");
    let (one, two) = (numbers("one.csv"), numbers("two.csv"));
    let mean: Vec<f64> = one.iter().zip(&two).map(|(a, b)| f64::from(a + b) / 2.0).collect();
    let spread: Vec<f64> = one.iter().zip(&two).map(|(a, b)| f64::from((a - b).abs()) / 2.0).collect();
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    expect_close("the mean", &wide(numbers("mean.csv")), &mean, 1e-6, Scale::Absolute);
    expect_close("the spread", &wide(numbers("spread.csv")), &spread, 1e-6, Scale::Absolute);
    assert_eq!(place.run("reconstruct run-1 digits:60 x.csv --spread s.csv --device cpu").code, Some(2));
}
