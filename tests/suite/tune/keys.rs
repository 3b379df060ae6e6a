//! Searches over the keys of a model file: which values are chosen, what is refused, and what a search leaves however often
//! it is killed.

use crate::support::*;
use crate::temp::*;
use pinhole::data::images::{read_png, to_bytes};
use pinhole::data::{digits, idx};
use pinhole::model::ModelSpec;
use pinhole::shape::Shape;
use pinhole::tune::{Candidates, Dimension, Halving, Method, Metric, SearchSpec, Tried, propose};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn dimension(key: &str, candidates: Candidates) -> Dimension {
    Dimension { key: key.to_owned(), candidates }
}

fn choices(choices: &[&str]) -> Candidates {
    Candidates::Choices(choices.iter().map(|choice| (*choice).to_owned()).collect())
}

fn search(method: Method, seed: u64, space: Vec<Dimension>) -> SearchSpec {
    let (model, data) = ("dense".to_owned(), "digits:60".to_owned());
    SearchSpec { model, data, method, trials: None, seed, metric: Metric::ValLoss, halving: None, space }
}

/// Makes so many trials of a function.
fn trials(spec: &SearchSpec, count: usize, function: impl Fn(&[String]) -> f64) -> Vec<Tried> {
    let mut tried = Vec::new();
    for number in 1..=count {
        let Some(point) = propose(spec, number, &tried) else { break };
        let result = function(&point);
        tried.push((point, result));
    }
    tried
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

// ---- which values are chosen

#[test]
fn a_grid_covers_all_points_in_order() {
    let space = vec![
        dimension("a", choices(&["\"x\"", "2"])),
        dimension("b", Candidates::Whole { low: -1, high: 1 }),
        dimension("c", Candidates::Log { low: 1e-4, high: 1e-2, points: Some(3) }),
        dimension("d", Candidates::Range { low: 0.0, high: 0.5, points: Some(2) }),
    ];
    let spec = search(Method::Grid, 0, space);
    assert_eq!(spec.trials(), 2 * 3 * 3 * 2);
    let all: Vec<Vec<String>> = trials(&spec, 100, |_| 0.0).into_iter().map(|(point, _)| point).collect();
    assert_eq!(all.len(), 36);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 36);
    assert_eq!(all[0], ["\"x\"", "-1", "0.0001", "0.0"]);
    assert_eq!(all[1], ["\"x\"", "-1", "0.0001", "0.5"]);
    assert_eq!(all[2], ["\"x\"", "-1", "0.001", "0.0"]);
    assert_eq!(all[35], ["2", "1", "0.01", "0.5"]);
}

#[test]
fn random_values_are_within_bounds_spread_and_the_same_each_time() {
    let space = || {
        vec![
            dimension("a", choices(&["1", "2", "3"])),
            dimension("b", Candidates::Whole { low: 5, high: 8 }),
            dimension("c", Candidates::Log { low: 1e-4, high: 1e-2, points: None }),
            dimension("d", Candidates::Range { low: -1.0, high: 1.0, points: None }),
        ]
    };
    let draw = |seed: u64, result: f64| -> Vec<Vec<String>> {
        let tried = trials(&search(Method::Random, seed, space()), 400, |_| result);
        tried.into_iter().map(|(point, _)| point).collect()
    };
    let points = draw(3, 0.0);
    assert!(points == draw(3, 1.0), "no result changes a draw");
    assert!(points != draw(4, 0.0), "another seed");
    let column = |index: usize| points.iter().map(|point| number(&point[index])).collect::<Vec<_>>();
    for (index, low, high, values) in [(0, 1.0, 3.0, 3), (1, 5.0, 8.0, 4), (2, 1e-4, 1e-2, 380), (3, -1.0, 1.0, 380)] {
        let column = column(index);
        assert!(column.iter().all(|value| (low..=high).contains(value)), "{index}");
        let different: BTreeSet<String> = column.iter().map(|value| format!("{value:?}")).collect();
        let as_wanted = if values < 10 { different.len() == values } else { different.len() >= values };
        assert!(as_wanted, "{index}: {} different values", different.len());
    }
    // Half of what is drawn by ratio is below the geometric mean; half of the other below the middle.
    for (index, middle) in [(2, 1e-3), (3, 0.0)] {
        let below = column(index).iter().filter(|value| **value < middle).count();
        assert!((160..=240).contains(&below), "{index}: {below} of 400 below {middle}");
    }
}

#[test]
fn no_point_is_tried_twice_and_small_spaces_are_tried_whole() {
    let space =
        || vec![dimension("a", choices(&["1", "2", "3"])), dimension("b", Candidates::Whole { low: 0, high: 9 })];
    for method in [Method::Random, Method::Tpe] {
        let spec = search(method, 1, space());
        let tried = trials(&spec, 100, |point| number(&point[1]));
        let points: BTreeSet<Vec<String>> = tried.iter().map(|(point, _)| point.clone()).collect();
        assert_eq!((tried.len(), points.len()), (30, 30), "{method:?}");
        assert_eq!(SearchSpec { trials: Some(100), ..spec.clone() }.trials(), 30);
        assert_eq!(SearchSpec { trials: Some(7), ..spec }.trials(), 7);
    }
}

/// A bowl in three numbers with a choice that shifts it, and a region that fails.
fn bowl(point: &[String]) -> f64 {
    let (x, rate, width) = (number(&point[0]), number(&point[1]), number(&point[2]));
    if x > 0.95 {
        return f64::INFINITY;
    }
    let shift = if point[3] == "\"good\"" { 0.0 } else { 0.5 };
    (x - 0.3).powi(2) + 0.1 * (rate / 1e-3).log10().powi(2) + ((width - 40.0) / 100.0).powi(2) + shift
}

#[test]
fn the_estimator_finds_better_points_than_chance() {
    let space = || {
        vec![
            dimension("x", Candidates::Range { low: -1.0, high: 1.0, points: None }),
            dimension("rate", Candidates::Log { low: 1e-5, high: 1e-1, points: None }),
            dimension("width", Candidates::Whole { low: 1, high: 128 }),
            dimension("kind", choices(&["\"bad\"", "\"worse\"", "\"good\"", "\"poor\""])),
        ]
    };
    let best = |method: Method, seed: u64| {
        let tried = trials(&search(method, seed, space()), 60, bowl);
        assert_eq!(tried.len(), 60);
        tried.iter().map(|(_, result)| *result).fold(f64::INFINITY, f64::min)
    };
    let (mut wins, mut sums) = (0, [0.0, 0.0]);
    for seed in 0..100 {
        let [tpe, random] = [Method::Tpe, Method::Random].map(|method| best(method, seed));
        wins += usize::from(tpe < random);
        sums = [sums[0] + tpe, sums[1] + random];
    }
    // Now and then it settles on a bad choice, which alone costs 0.5.
    let means = sums.map(|sum| sum / 100.0);
    println!("the estimator wins {wins} of 100; means {means:.4?}");
    assert!(wins >= 85 && means[0] < means[1] / 2.0, "{wins} of 100, {means:?}");
    // Failed trials alone are no reason to fail.
    assert_eq!(trials(&search(Method::Tpe, 0, space()), 30, |_| f64::INFINITY).len(), 30);
}

// ---- what is refused

fn read(place: &Place, text: &str) -> Result<SearchSpec, String> {
    place.write("space.toml", text.as_bytes());
    SearchSpec::read(&place.path("space.toml")).map(|(spec, _)| spec).map_err(|error| {
        error.to_string().replace(&format!("{}/", place.path("").display().to_string().trim_end_matches('/')), "")
    })
}

const GOOD: &str = "model = \"small.toml\"\ndata = \"digits:60\"\nmethod = \"random\"\ntrials = 5\nseed = 0\nmetric = \"val_loss\"\n\
                    halving = false\n[space]\n\"train.batch\" = [8, 16]\n\"train.optimizer.adam.lr\" = { log = [1e-4, 1e-2] }\n";

#[test]
fn bad_spaces_are_refused_with_file_line_key_and_help() {
    let place = Place::new();
    place.write("unjudged.toml", SMALL_DENSE.replace("[train]", "[train]\nvalidation = 0.0").as_bytes());
    assert_eq!(read(&place, GOOD).expect("a space").space.len(), 2);
    let mut wrong = String::new();
    for (from, to, expected) in [
        ("model = \"small.toml\"\n", "", "space.toml: missing key \"model\"; write model = \"dense\""),
        ("data = ", "dta = ", "space.toml: line 2: unknown key \"dta\"; did you mean \"data\"?"),
        (
            "\"small.toml\"",
            "\"no.toml\"",
            "model \"no.toml\": it is no preset, and there is no .toml file of that name; check the path",
        ),
        (
            "\"small.toml\"",
            "\"unjudged.toml\"",
            "space.toml: line 1, model: its train.validation is 0.0, so that nothing is set aside to judge trials by; set it to 0.1, say, in a model file",
        ),
        (
            "\"random\"",
            "\"bayes\"",
            "space.toml: line 3, method: unknown method \"bayes\"; known are grid, random, tpe",
        ),
        ("trials = 5", "trials = 0", "space.toml: line 4, trials: must be 1 to 10000, got 0; use 30, say"),
        (
            "\"random\"",
            "\"grid\"",
            "space.toml: line 10, space.train.optimizer.adam.lr: a grid needs to know how many values to take; add points = 5, say, or write a list of values",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ log = [1e-2, 1e-4] }",
            "space.toml: line 10, space.train.optimizer.adam.lr: expects two numbers, the smaller one first, got [0.01, 0.0001]; write [0.0, 0.5], say",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ log = [0, 1e-2] }",
            "space.toml: line 10, space.train.optimizer.adam.lr: expects positive numbers, got [0.0, 0.01]; write log = [1e-4, 1e-2], say, or use range",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ log = [1e-4] }",
            "space.toml: line 10, space.train.optimizer.adam.lr.log: expects a list of two numbers, got [0.0001]; write log = [low, high]",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ lgo = [1e-4, 1e-2] }",
            "space.toml: line 10, space.train.optimizer.adam.lr: expects a list of values, or one of { range = [0.0, 0.5] }, { log = [1e-4, 1e-2] }, { whole = [16, 128] }, got a table with \"lgo\"; did you mean \"log\"?",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ whole = [1, 2], points = 3 }",
            "space.toml: line 10, space.train.optimizer.adam.lr: unknown key \"points\"; known are whole",
        ),
        (
            "{ log = [1e-4, 1e-2] }",
            "{ range = [-0.5, 0.5] }",
            "space.toml: line 10, space.train.optimizer.adam.lr: expects a number, at least 0, got -0.5; use 0.001, say",
        ),
        (
            "\"train.optimizer.adam.lr\"",
            "\"train.optimizer.sgd.lr\"",
            "space.toml: line 10, space.train.optimizer.sgd.lr: train.optimizer: unknown key \"sgd\"; it is adam; write train.optimizer=.. to replace it",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"train.bacth\" = [8, 16]",
            "space.toml: line 9, space.train.bacth: train: unknown key \"bacth\"; did you mean \"batch\"?",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "train.batch = [8, 16]",
            "space.toml: line 9, space.train: expects a list of values, or one of { range = [0.0, 0.5] }, { log = [1e-4, 1e-2] }, { whole = [16, 128] }, got a table with \"batch\"; write \"train.batch\" = .. with its quotes, say",
        ),
        (
            "[8, 16]",
            "[8, 0]",
            "space.toml: line 9, space.train.batch: expects a whole number, at least 1, got 0; use 128, say",
        ),
        ("[8, 16]", "[]", "space.toml: line 9, space.train.batch: the list is empty; write [64, 128], say"),
        ("[8, 16]", "[8, 8]", "space.toml: line 9, space.train.batch: lists 8 twice; leave one of them out"),
        (
            "[8, 16]",
            "{ range = [8, 16] }",
            "space.toml: line 9, space.train.batch: expects a whole number, got 8.0; write 3, say",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"train.optimizer\" = [\"adam\", \"sgd\"]",
            "space.toml: line 10, space.train.optimizer.adam.lr: lies within \"train.optimizer\", which is searched over too; list whole values of \"train.optimizer\" instead",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"loss\" = [\"mse\", \"bce\"]",
            "space.toml: line 9, space.loss: losses of different kinds cannot be compared; write metric = \"val_mse\"",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"train.validation\" = [0.1, 0.2]",
            "space.toml: line 9, space.train.validation: it would change what trials are judged by; set it in the model file, for all trials",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"input.0\" = [784, 28]",
            "space.toml: line 9, space.input.0: it would change what trials are judged by; set it in the model file, for all trials",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"data.binarise\" = [\"none\", \"threshold\"]",
            "space.toml: line 9, space.data.binarise: it would change what trials are judged by; set it in the model file, for all trials",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"corruption\" = [\"none\", { masking = 0.1 }]",
            "space.toml: line 9, space.corruption: it would change what trials are judged by; set it in the model file, for all trials",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"latent\" = [\"plain\", { wasserstein = 1.0 }]",
            "space.toml: line 9, space.latent: it is a part of the loss, so that losses cannot be compared; write metric = \"val_mse\"",
        ),
        (
            "\"train.batch\" = [8, 16]",
            "\"encoder.7.linear.out\" = [8, 16]",
            "space.toml: line 9, space.encoder.7.linear.out: encoder: no entry \"7\"; there are 3, counted from 0",
        ),
        (
            "halving = false",
            "halving = { epochs = 4 }",
            "space.toml: line 7, halving.epochs: must be 1 to 3, the model's train.epochs, got 4; use 1, say",
        ),
        (
            "halving = false",
            "halving = { eta = 1 }",
            "space.toml: line 7, halving.eta: must be at least 2, got 1; use 3, say",
        ),
        (
            "[space]\n",
            "[space]\n[other]\n",
            "space.toml: line 9: unknown key \"other\"; known are model, data, method, trials, seed, metric, halving, space",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        match read(&place, &GOOD.replace(from, to)) {
            Ok(_) => wrong += &format!("\n{to}\n  is taken\n  expected {expected}"),
            Err(message) if message != expected => {
                wrong += &format!("\n{to}\n  says     {message}\n  expected {expected}")
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let halved = GOOD
        .replace("halving = false", "halving = { eta = 2 }")
        .replace("\"train.batch\" = [8, 16]", "\"train.epochs\" = [1, 2]");
    assert_eq!(
        read(&place, &halved).expect_err("epochs twice"),
        "space.toml: line 9, space.train.epochs: halving decides for how many epochs a trial is trained; leave one of them out"
    );
    // Weights of a loss's parts, but not sizes; each where errors are compared.
    let vae =
        SMALL_DENSE.replace("decoder =", "latent = { gaussian = 4 }\ndecoder =").replace("\"bce\"", "\"bernoulli\"");
    place.write("vae.toml", vae.as_bytes());
    let of = |line: &str| GOOD.replace("small", "vae").replace("\"train.batch\" = [8, 16]", line);
    for line in ["\"latent.gaussian.beta\" = [2, 4]", "\"latent.gaussian\" = [{ size = 2, beta = 3 }, 4]"] {
        let said = read(&place, &of(line)).expect_err(line);
        assert!(
            said.ends_with("it is a part of the loss, so that losses cannot be compared; write metric = \"val_mse\""),
            "{said}"
        );
        read(&place, &of(line).replace("val_loss", "val_mse")).expect("errors are compared");
    }
    for line in ["\"latent.gaussian.size\" = [2, 4]", "\"latent.gaussian\" = [2, 4]"] {
        read(&place, &of(line)).expect("a size is no part of the loss");
    }
    let grid = GOOD.replace("\"random\"", "\"grid\"").replace("1e-2]", "1e-2], points = 3");
    assert_eq!(
        read(&place, &grid).expect_err("a grid with trials"),
        "space.toml: line 4, trials: this grid has 6 trials; leave trials out"
    );
    assert_eq!(read(&place, &grid.replace("trials = 5\n", "")).expect("a grid").trials(), 6);
}

#[test]
fn what_is_written_of_a_space_reads_back_the_same() {
    let place = Place::new();
    let space = "\"encoder.1\" = [\"relu\", { leaky_relu = { slope = 0.2 } }]\n\"encoder.0.linear.out\" = { whole = [4, 32] }\n\
                 \"train.ema\" = { range = [0.5, 0.9], points = 3 }\n";
    for text in [
        GOOD.to_owned() + space,
        GOOD.replace("halving = false", "halving = { epochs = 2 }"),
        GOOD.replace("trials = 5\n", ""),
    ] {
        let spec = read(&place, &text).expect("a space");
        assert_eq!(read(&place, &spec.to_toml()).expect("what was written"), spec);
    }
    let halved = read(&place, &GOOD.replace("halving = false", "halving = { epochs = 2 }")).expect("a space");
    assert_eq!(halved.halving, Some(Halving { epochs: 2, eta: 3 }));
}

// ---- the program

/// The lines of a table, without what differs from one search to its like.
fn table(said: &Said) -> Vec<Json> {
    let mut lines: Vec<Json> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("seconds");
        line.as_object_mut().expect("an object").remove("run");
    }
    lines
}

#[test]
fn a_search_leaves_runs_a_table_and_a_picture() {
    let place = Place::new();
    let text = GOOD.replace("random", "tpe").replace("trials = 5", "trials = 12").replace("1e-2]", "1.0]");
    place.write("space.toml", text.as_bytes());
    let said = place.ok("tune space.toml --device cpu --out found");
    let lines: Vec<Json> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(keys(&lines[0]), ["epochs", "run", "seconds", "trial", "val_loss", "val_mse", "values"]);
    let losses: Vec<f64> = lines.iter().map(|line| line["val_loss"].as_f64().expect("a loss")).collect();
    assert!(losses.is_sorted(), "{losses:?}");
    let best = lines[0]["run"].as_str().expect("a run").to_owned();
    assert!(said.stderr.contains(&format!("the best model is {best}/model.safetensors\n")), "{}", said.stderr);
    let mut expected: Vec<String> = (1..=12).map(|trial| format!("trial-{trial:03}")).collect();
    expected.splice(0..0, ["space.toml".to_owned()]);
    expected.extend(["trials.jsonl", "trials.png", "trials.svg"].map(str::to_owned));
    assert_eq!(place.names("found"), expected);
    // Two panels in a row below the first.
    assert_eq!(read_png(place.path("found/trials.png")).expect("a picture").0, Shape::from([3, 960, 960]));

    // A trial is the run that `train` makes of its values, but for what it is validated on.
    assert_eq!(place.names(&best), RUN_FILES);
    let mut spec = spec(SMALL_DENSE);
    for (key, value) in lines[0]["values"].as_object().expect("values") {
        spec.set(&format!("{key}={value}")).expect("a key");
    }
    assert_eq!(ModelSpec::read(&place.path(&best).join("model.toml")).expect("a model"), spec);
    assert_eq!(place.metrics(&best).last().expect("a line")["val_loss"], lines[0]["val_loss"]);
    place.ok(&format!("eval {best} --data digits:60 --device cpu"));

    // Again: nothing is trained, and the table is the same. Elsewhere: everything is.
    let again = place.ok("tune space.toml --device cpu --out found");
    assert_eq!(again.stdout, said.stdout);
    assert!(!again.stderr.contains("trial 1/"), "{}", again.stderr);
    assert_eq!(table(&place.ok("tune space.toml --device cpu")), table(&said));
    assert!(place.path("runs/space/trials.png").is_file());
    // More trials go on from those that there are; another search does not.
    place.write("space.toml", text.replace("trials = 12", "trials = 14").as_bytes());
    let more = place.ok("tune space.toml --device cpu --out found");
    assert_eq!(more.stderr.lines().filter(|line| line.starts_with("trial ")).count(), 2, "{}", more.stderr);
    let first: Vec<Json> = table(&more).into_iter().filter(|line| line["trial"].as_u64() <= Some(12)).collect();
    assert_eq!(first, table(&said));
    let fails = |text: &str, expected: &str| {
        place.write("space.toml", text.as_bytes());
        let said = place.run("tune space.toml --device cpu --out found");
        assert_eq!((said.code, &said.stdout[..]), (Some(1), ""), "{said:?}");
        assert!(said.stderr.ends_with(&format!("error: {expected}\n")), "{}", said.stderr);
    };
    fails(
        &text.replace("seed = 0", "seed = 1"),
        "found/space.toml: the search that began here has seed = 0; choose another --out, or continue that search",
    );
    place.write("small.toml", SMALL_DENSE.replace("epochs = 3", "epochs = 2").as_bytes());
    fails(&text, "found/trial-001/model.toml: is not the model that is to be trained here; choose another --out");
    place.write("other/file", b"");
    place.write("space.toml", text.as_bytes());
    let said = place.run("tune space.toml --device cpu --out other");
    assert!(
        said.stderr
            .ends_with("other: holds something else than a search: there is no space.toml; choose another --out\n")
    );
}

#[test]
fn trials_that_fail_are_told_and_the_search_goes_on() {
    let place = Place::new();
    let space = GOOD.replace("method = \"random\"\ntrials = 5", "method = \"grid\"").replace("[8, 16]", "[16, 60]");
    place.write("space.toml", space.replace("{ log = [1e-4, 1e-2] }", "[0.003, 1e30]").as_bytes());
    let said = place.ok("tune space.toml --device cpu --out found");
    let lines = table(&said);
    let [first, rest @ ..] = &lines[..] else { panic!("{said:?}") };
    assert_eq!((rest.len(), &first["trial"]), (3, &Json::from(1)));
    assert!(first.get("failure").is_none(), "{first}");
    let failure = |trial: u64| {
        let line = rest.iter().find(|line| line["trial"] == trial).expect("a trial");
        assert!(line.get("val_loss").is_none(), "{line}");
        line["failure"].as_str().expect("a reason").to_owned()
    };
    assert!(failure(2).contains("not finite"), "{}", failure(2));
    assert_eq!(failure(3), "batch 60: data \"digits\" has only 54 samples to train on; use --batch 54 or less");
    assert!(said.stderr.contains(&format!("  failed: {}", failure(3))), "{}", said.stderr);
    assert_eq!(table(&place.ok("tune space.toml --device cpu --out found")), lines, "failures are remembered");
}

/// The test part would choose another trial, and has no say.
#[test]
fn the_test_part_of_the_data_has_no_say() {
    let place = Place::new();
    let images = to_bytes(&digits(200, 5).rows_f32(0..200));
    let folder = |name: &str, test: &[u8]| {
        std::fs::create_dir_all(place.path(name)).expect("a folder");
        for (file, bytes) in [("train-images-idx3-ubyte", &images[..]), ("t10k-images-idx3-ubyte", test)] {
            let shape = Shape::from([bytes.len() / 784, 28, 28]);
            idx::write_idx_u8(place.path(name).join(file), &shape, bytes).expect("a file");
        }
    };
    folder("usual", &images[..784 * 50]);
    // Grey pictures, which a model that has learned nothing gives.
    folder("grey", &[128; 784 * 50]);
    let find = |data: &str| {
        let space = GOOD.replace("digits:60", data).replace("random", "grid").replace("trials = 5\n", "");
        let space = space.replace("[8, 16]", "[32]").replace("{ log = [1e-4, 1e-2] }", "[1e-9, 0.003]");
        place.write("space.toml", space.as_bytes());
        table(&place.ok(&format!("tune space.toml --device cpu --out found-{data}")))
    };
    let found = find("grey");
    assert_eq!(found, find("usual"));
    assert_eq!(found[0]["trial"], 2);
    let on_grey = |trial: u64| {
        let said = place.ok(&format!("eval found-grey/trial-{trial:03} --data grey --device cpu --json"));
        let line: Json = serde_json::from_str(&said.stdout).expect("JSON");
        line["loss"].as_f64().expect("a loss")
    };
    assert!(on_grey(1) < on_grey(2), "the test part would have chosen the other");
    // A trial's run goes on with what it began with.
    let said = place.ok("train --resume --out found-grey/trial-002 --epochs 4");
    assert!(said.stderr.contains("on 180 samples of grey (20 to validate)"), "{}", said.stderr);
}

const HALVED: &str = "model = \"small.toml\"\ndata = \"digits:400\"\nmethod = \"random\"\ntrials = 9\nhalving = { epochs = 1, eta = 3 }\n\
                      [space]\n\"train.optimizer.adam.lr\" = { log = [1e-5, 1e-1] }\n\"train.batch\" = [16, 32]\n";

#[test]
fn halving_keeps_the_best_and_they_are_trained_as_if_at_once() {
    let place = Place::new();
    let model = SMALL_DENSE.replace("epochs = 3", "epochs = 7\nschedule = \"cosine\"");
    place.write("small.toml", model.as_bytes());
    place.write("halved.toml", HALVED.as_bytes());
    let lines = table(&place.ok("tune halved.toml --device cpu --out halved"));
    // 9 for an epoch, 3 for three, 1 for seven.
    let epochs: Vec<u64> = lines.iter().map(|line| line["epochs"].as_u64().expect("epochs")).collect();
    assert_eq!(epochs, [7, 3, 3, 1, 1, 1, 1, 1, 1]);
    let all = place.lines("halved/trials.jsonl");
    assert_eq!(all.len(), 13);
    let mut round: Vec<(f64, u64)> = Vec::new();
    for (first, count) in [(0, 9), (9, 3), (12, 1)] {
        let members: Vec<&Json> = all[first..first + count].iter().collect();
        let mut numbers: Vec<u64> = members.iter().map(|line| line["trial"].as_u64().expect("a number")).collect();
        numbers.sort_unstable();
        if first > 0 {
            let mut best: Vec<u64> = round[..count].iter().map(|(_, trial)| *trial).collect();
            best.sort_unstable();
            assert_eq!(numbers, best, "the best of the round before");
        }
        let result =
            |line: &&Json| (line["val_loss"].as_f64().expect("a loss"), line["trial"].as_u64().expect("a number"));
        round = members.iter().map(result).collect();
        round.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // The winner, trained alone in one go, is the same to the bit: the last epoch's loss and all weights.
    let winner = format!("halved/trial-{:03}", lines[0]["trial"].as_u64().expect("a number"));
    let mut one = GOOD.replace("random", "grid").replace("trials = 5\n", "").replace("digits:60", "digits:400");
    for (from, key) in [("[8, 16]", "train.batch"), ("{ log = [1e-4, 1e-2] }", "train.optimizer.adam.lr")] {
        one = one.replace(from, &format!("[{}]", lines[0]["values"][key]));
    }
    place.write("one.toml", one.as_bytes());
    place.ok("tune one.toml --device cpu --out one");
    place.expect_same_run("rounds", "one/trial-001", &winner);
    assert_eq!(place.lines("one/trial-001/metrics.jsonl").len(), 7);
    // One that was left behind goes on by itself.
    let left = format!("halved/trial-{:03}", lines[8]["trial"].as_u64().expect("a number"));
    assert_eq!(place.lines(&format!("{left}/metrics.jsonl")).len(), 1);
    place.ok(&format!("train --resume --out {left}"));
    assert_eq!(place.lines(&format!("{left}/metrics.jsonl")).len(), 7);
}

/// Killed again and again, wherever it happens to be.
#[test]
fn a_search_that_is_killed_goes_on_to_the_same_table() {
    let place = Place::new();
    place.write("small.toml", SMALL_DENSE.replace("epochs = 3", "epochs = 9").as_bytes());
    let text =
        HALVED.replace("random", "tpe").replace("trials = 9", "trials = 14").replace("digits:400", "digits:1500");
    place.write("space.toml", text.as_bytes());
    let began = Instant::now();
    let whole = table(&place.ok("tune space.toml --device cpu --out whole"));
    let seconds = began.elapsed().as_secs_f64();
    let mut kills = 0;
    for fraction in crate::run::resume::random(11, 60) {
        let mut child = place.command("tune space.toml --device cpu --out killed").spawn().expect("the program runs");
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < 0.12 * fraction * seconds && child.try_wait().expect("a status").is_none()
        {
            std::thread::sleep(Duration::from_micros(500));
        }
        if child.try_wait().expect("a status").is_some() {
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        kills += 1;
    }
    let said = place.ok("tune space.toml --device cpu --out killed");
    println!("killed {kills} times");
    assert!(kills >= 3, "killed only {kills} times");
    assert_eq!(table(&said), whole);
    let lines = |folder: &str| {
        let mut lines = place.lines(&format!("{folder}/trials.jsonl"));
        lines.iter_mut().for_each(|line| drop(line.as_object_mut().expect("an object").remove("seconds")));
        lines
    };
    assert_eq!(lines("killed"), lines("whole"));
    for trial in 1..=14 {
        let run = format!("trial-{trial:03}");
        place.expect_same_run(&format!("killed {kills} times"), &format!("whole/{run}"), &format!("killed/{run}"));
    }
}

/// What kills leave between two writes, made by hand.
#[test]
fn half_written_lines_and_runs_are_made_whole() {
    let place = Place::new();
    place.write("space.toml", GOOD.as_bytes());
    let whole = table(&place.ok("tune space.toml --device cpu --out found"));
    let text = place.read("found/trials.jsonl");
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    place.write("found/trials.jsonl", &[lines[..3].concat(), lines[3][..20].to_vec()].concat());
    std::fs::remove_file(place.path("found/trial-004/model.toml")).expect("removed");
    std::fs::remove_file(place.path("found/trial-005/model.safetensors")).expect("removed");
    std::fs::remove_file(place.path("found/trials.png")).expect("removed");
    let said = place.ok("tune space.toml --device cpu --out found");
    assert_eq!(table(&said), whole);
    assert_eq!(said.stderr.lines().filter(|line| line.starts_with("trial ")).count(), 2, "{}", said.stderr);
    assert!(place.path("found/trial-005/model.safetensors").is_file() && place.path("found/trials.png").is_file());
}

#[test]
fn a_search_in_which_no_trial_has_a_result_fails() {
    let place = Place::new();
    let space = |values: &str| {
        let text = format!("model = \"small.toml\"\ndata = \"digits:60\"\nmethod = \"grid\"\n[space]\n{values}\n");
        place.write("space.toml", text.as_bytes());
    };
    // Values that make no model, ones that do not fit the data, and losses that are not finite; the second time as found.
    let mut messages = String::new();
    for (name, values, times) in [
        ("shapes", "\"encoder.2.linear.out\" = [5, 4]\n\"decoder.2.linear.out\" = [7]", 1),
        ("batches", "\"train.batch\" = [100, 200]", 2),
    ] {
        space(values);
        for _ in 0..times {
            let said = place.run(&format!("tune space.toml --device cpu --out {name}"));
            assert_eq!((said.code, said.stdout.lines().count()), (Some(1), 2), "{said:?}");
            messages += &format!("{}\n", said.stderr.lines().last().unwrap_or_default());
        }
    }
    expect_test::expect![[r#"
        error: shapes: none of its 2 trials has a result (trial 1: decoder.2.linear: the decoder's output is [7], the model's input [784]; write { linear = 784 }); change the space or the model, and choose another --out
        error: batches: none of its 2 trials has a result (trial 1: batch 100: data "digits" has only 54 samples to train on; use --batch 54 or less); change the space or the model, and choose another --out
        error: batches: none of its 2 trials has a result (trial 1: batch 100: data "digits" has only 54 samples to train on; use --batch 54 or less); change the space or the model, and choose another --out
    "#]].assert_eq(&messages);
    // One that has a result is enough.
    space("\"train.batch\" = [100, 20]");
    place.ok("tune space.toml --device cpu --out found");
}
