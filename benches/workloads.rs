//! Times the standard workloads and every case of the test table, by criterion, on the device that
//! `PINHOLE_TEST_DEVICE` names (default `gpu`): `cargo bench -- workload/conv-ae`, `cargo bench -- case/matmul`.
//!
//! The argument is a regular expression on `workload/NAME` and `case/NAME`. Only matching plans are loaded.

// A benchmark fails by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

// Only tests use some parts of the table.
#[allow(dead_code)]
#[path = "../tests/suite/common/cases/mod.rs"]
mod cases;

use cases::Case;
use criterion::{Criterion, criterion_group, criterion_main};
use pinhole::Device;
use pinhole::bench::{Loaded, Material, Workload};
use pinhole::device::Session;
use pinhole::plan::ParameterLayout;
use std::cell::OnceCell;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    let name = std::env::var("PINHOLE_TEST_DEVICE").unwrap_or_else(|_| "gpu".to_owned());
    let device = Device::open(&name).unwrap_or_else(|error| panic!("{error}"));
    eprintln!("measured on {}", device.name());
    device
});

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots();
    targets = workloads, table
}
criterion_main!(all);

/// One step of each workload of `pinhole bench`.
fn workloads(criterion: &mut Criterion) {
    for workload in Workload::ALL {
        let material: OnceCell<Material> = OnceCell::new();
        let mut loaded: Option<Loaded> = None;
        criterion.bench_function(&format!("workload/{workload}"), |bencher| {
            let loaded = loaded.get_or_insert_with(|| {
                let material = material.get_or_init(|| Material::new(*workload, None).expect("a workload"));
                let mut loaded = material.load(&DEVICE).expect("a loaded plan");
                loaded.run(1).expect("a step");
                loaded
            });
            bencher.iter_custom(|steps| time(|| loaded.run(steps as usize)));
        });
    }
}

/// One run of the plan that computes the output of each case of the test table.
fn table(criterion: &mut Criterion) {
    for case in cases::all() {
        let mut session: Option<Session> = None;
        criterion.bench_function(&format!("case/{}", case.name), |bencher| {
            let session = session.get_or_insert_with(|| load(&case).expect("a loaded plan"));
            bencher.iter_custom(|steps| {
                time(|| {
                    session.run(0, steps as usize)?;
                    session.wait()
                })
            });
        });
    }
}

/// Loads a case's plan on the device and writes its inputs.
fn load(case: &Case) -> pinhole::Result<Session> {
    let mut session = DEVICE.load(&[case.plan(&DEVICE.target())])?;
    let layout = ParameterLayout::of(&case.graph);
    for feed in &case.feeds {
        let (name, offset) = feed.place(&layout);
        session.write_at(name, offset, &feed.values())?;
    }
    session.run(0, 1)?;
    session.wait()?;
    Ok(session)
}

/// The time that `run` takes.
fn time(run: impl FnOnce() -> pinhole::Result<()>) -> Duration {
    let began = Instant::now();
    run().expect("steps that run");
    began.elapsed()
}
