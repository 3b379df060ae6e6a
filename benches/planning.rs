//! Times planning, by criterion: `cargo bench --bench planning`. No plan runs, so that no device is needed.
//!
//! Each chain is planned with 8 to 128 blocks, doubled from one to the next. Time should at most double too.

// A benchmark fails by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pinhole::model::config::Contractive;
use pinhole::model::preset::PRESETS;
use pinhole::model::{ModelSpec, Network};
use pinhole::plan::{Plan, Target};
use pinhole::train::training_plan;
use std::path::Path;
use std::time::Duration;

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = chains, contractive, presets
}
criterion_main!(all);

/// Names of chains, with the shape of their input and the block that is repeated.
const CHAINS: [(&str, &str, &str); 5] = [
    ("linear", "[16]", r#"{ linear = 16 }, "relu""#),
    ("layer_norm", "[16]", r#"{ linear = 16 }, "layer_norm", "relu""#),
    ("residual", "[16]", r#"{ residual = ["layer_norm", { linear = 16 }, "gelu", { linear = 16 }] }"#),
    ("attention", "[6, 8]", r#"{ residual = ["layer_norm", { attention = 2 }] }"#),
    ("batch_norm", "[4, 8, 8]", r#"{ conv2d = { out = 4, kernel = 3, padding = 1 } }, "batch_norm", "relu""#),
];

/// Deep models of one kind of block.
fn chains(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    for (name, shape, block) in CHAINS {
        for times in [8, 16, 32, 64, 128] {
            let blocks = vec![block; times].join(", ");
            let network = network(&format!(
                "input = {shape}\nloss = \"mse\"\nencoder = [{blocks}]\ndecoder = [\"flatten\", {{ linear = {} }}]",
                shape
                    .trim_matches(['[', ']'])
                    .split(", ")
                    .map(|size| size.parse::<usize>().expect("a size"))
                    .product::<usize>()
            ));
            group.throughput(Throughput::Elements(times as u64));
            group.bench_function(BenchmarkId::new(name, times), |bencher| bencher.iter(|| plan(&network)));
        }
    }
}

/// A contractive penalty, which takes one backward pass for each dimension of the code.
fn contractive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contractive");
    for size in [8, 16, 32, 64] {
        let mut spec = spec(&format!(
            "input = [1, 28, 28]\nloss = \"mse\"\n\
             encoder = [\"flatten\", {{ linear = 256 }}, \"layer_norm\", \"relu\", {{ linear = {size} }}]\n\
             decoder = [{{ linear = 784 }}]"
        ));
        spec.penalties.contractive = Some(Contractive { weight: 0.1, projections: 0 });
        let network = Network::new(spec).expect("a model");
        group.throughput(Throughput::Elements(size));
        group.bench_function(size.to_string(), |bencher| bencher.iter(|| plan(&network)));
    }
}

/// Every preset.
fn presets(criterion: &mut Criterion) {
    for preset in PRESETS {
        let Ok(network) = ModelSpec::resolve(preset.name).and_then(Network::new) else { continue };
        criterion.bench_function(&format!("preset/{}", preset.name), |bencher| bencher.iter(|| plan(&network)));
    }
}

/// The specification in a model file's text.
fn spec(text: &str) -> ModelSpec {
    ModelSpec::parse(text, Path::new("chain.toml")).expect("a model file")
}

/// The network of a model file's text.
fn network(text: &str) -> Network {
    Network::new(spec(text)).expect("a model")
}

/// The plan of a training step, on a data set of 256 samples.
fn plan(network: &Network) -> Plan {
    training_plan(network, 256, Target::default()).expect("a plan")
}
