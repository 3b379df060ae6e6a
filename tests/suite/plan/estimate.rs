//! Estimates of launches on described devices, and what plans for such devices must hold.

use crate::temp::Place;
use expect_test::expect;
use pinhole::bench::{Material, Workload};
use pinhole::gpu::{Language, specialise};
use pinhole::model::{ModelSpec, Network, preset::PRESETS};
use pinhole::plan::{Hardware, Plan, Target, Tile, Without};
use pinhole::train::training_plan;
use std::collections::HashSet;

/// The training step of a preset for a described device.
fn planned(preset: &str, target: Target) -> Plan {
    let network = Network::new(ModelSpec::resolve(preset).expect("a preset")).expect("a network");
    training_plan(&network, 60_000, target).expect("a plan")
}

#[test]
fn no_launch_is_thin_on_a_discrete_card() {
    let target = Target::described(Hardware::DISCRETE);
    let presets = PRESETS.iter().map(|preset| (preset.name.to_owned(), planned(preset.name, target.clone())));
    let workloads = Workload::ALL.iter().map(|workload| {
        let plan = Material::new(*workload, None).expect("a workload").plan(&target).expect("a plan");
        (workload.to_string(), plan)
    });
    for (name, plan) in presets.chain(workloads) {
        let thin = plan.thin_launches();
        assert!(thin.is_empty(), "{name}: launches {thin:?} of\n{}", plan.with_estimate(&Hardware::DISCRETE));
    }
}

/// A discrete card joins launches that other devices keep apart; each of its kernels must be valid, and hold the limits.
#[test]
fn every_kernel_of_every_preset_is_valid_on_a_discrete_card() {
    let mut emitted = HashSet::new();
    for preset in PRESETS {
        let target = Target::described(Hardware::DISCRETE);
        let plan = planned(preset.name, target.clone());
        assert_eq!(plan.hazard(), None, "{}", preset.name);
        plan.check(&target.limits).unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        for (index, launch) in plan.launches() {
            let shader = specialise(launch).unwrap_or_else(|error| panic!("{}, launch {index}: {error}", preset.name));
            if emitted.insert(shader.clone()) {
                let spirv = shader.emit(Language::Spirv, Without::default());
                spirv.unwrap_or_else(|error| panic!("{}, launch {index}: {error}", preset.name));
            }
        }
    }
}

/// Launches of a training step on a discrete card, and on lavapipe's plan, which joins fewer.
#[test]
fn launches_of_presets_are_few() {
    let count = |preset: &str, target: &Target| planned(preset, target.clone()).launches().count();
    let (discrete, software) = (Target::described(Hardware::DISCRETE), Target { software: true, ..Target::default() });
    let presets = ["conv", "dense", "vae", "vq-vae", "lstm", "transformer", "residual", "contractive"];
    let lines = presets.map(|preset| format!("{preset} {} {}", count(preset, &discrete), count(preset, &software)));
    expect![[r#"
        conv 15 15
        dense 11 11
        vae 15 20
        vq-vae 28 54
        lstm 36 56
        transformer 122 171
        residual 216 346
        contractive 77 222"#]]
    .assert_eq(&lines.join("\n"));
}

/// The switches take back what the plan for a discrete card gains: launches, or the critical path.
#[test]
fn each_switch_costs_time_by_the_estimate() {
    let time = |preset: &str, without: &str| {
        let without = Without::parse(without).expect("known optimisations");
        planned(preset, Target { without, ..Target::described(Hardware::DISCRETE) }).estimate(&Hardware::DISCRETE)
    };
    for (preset, without, least) in [
        ("conv", "lanes", 1.1),
        ("vae", "joins", 1.05),
        ("residual", "recomputing", 1.02),
        ("contractive", "sharing", 1.2),
    ] {
        let (with, without_it) = (time(preset, ""), time(preset, without));
        assert!(
            without_it.microseconds > least * with.microseconds,
            "{preset} without {without}: {with}; {without_it}"
        );
    }
}

#[test]
fn a_thin_launch_is_seen() {
    let target = Target { splits: Some(1), forced: Some(Tile::workgroup(128, 128, 8, [8, 8])), ..Target::default() };
    assert!(!planned("conv", target).thin_launches().is_empty());
}

/// A better card is never estimated to be slower, and no estimate is less than what launches alone cost.
#[test]
fn estimates_follow_the_figures() {
    let plan = planned("conv", Target::described(Hardware::DISCRETE));
    let base = Hardware::DISCRETE;
    let time = |hardware: Hardware| plan.estimate(&hardware).microseconds;
    let better = [
        Hardware { units: 2 * base.units, ..base },
        Hardware { clock: 2.0 * base.clock, ..base },
        Hardware { bandwidth: 2.0 * base.bandwidth, ..base },
        Hardware { cache_bandwidth: 2.0 * base.cache_bandwidth, ..base },
        Hardware { latency: base.latency / 2.0, ..base },
        Hardware { launch: base.launch / 2.0, ..base },
    ];
    for hardware in better {
        assert!(time(hardware) <= time(base), "{hardware:?}");
    }
    let small = Hardware { cache: 1 << 20, ..base };
    assert!(time(small) > time(base), "a step that leaves the cache is slower");
    let estimate = plan.estimate(&base);
    let launches = estimate.launches.len() as f64 * base.launch;
    assert!(launches < estimate.critical && estimate.critical <= estimate.microseconds + 1e-9, "{estimate}");
    let operations: u64 = estimate.launches.iter().map(|launch| launch.operations).sum();
    assert_eq!(operations, plan.operations());
}

/// What the choice of tiles and splits gains over one large tile for all, by the estimate.
#[test]
fn tiles_are_chosen_by_the_estimate() {
    for (name, hardware) in Hardware::NAMED {
        let target = Target::described(hardware);
        let chosen = planned("conv", target.clone()).estimate(&hardware).microseconds;
        for tile in Tile::family(&target) {
            let forced = Target { forced: Some(tile), ..target.clone() };
            let other = planned("conv", forced).estimate(&hardware).microseconds;
            assert!(chosen <= 1.1 * other, "{name}: {chosen:.1} us, and {other:.1} with {tile:?} alone");
        }
    }
}

#[test]
fn the_program_plans_for_a_described_device() {
    let place = Place::new();
    let said = place.ok("plan conv --target discrete");
    for wanted in ["~ ", "serial rounds", "estimate: 15 launches", "critical path", "fewer than 64 workgroups: none"] {
        assert!(said.stdout.contains(wanted), "{wanted}: {}", said.stdout);
    }
    let described = "units = 2\nlanes = 64\nclock = 1.0\ninvocations = 512\nregisters = 32768\nworkgroup_memory = 32768\n\
                     bandwidth = 20.0\ncache = 1048576\ncache_bandwidth = 60.0\nlatency = 300.0\nlaunch = 8.0\n";
    place.write("old.toml", described.as_bytes());
    assert!(place.ok("plan small.toml --target old.toml").stdout.contains("estimate: "));
    assert!(place.ok("kernels matmul.product --model small.toml --target old.toml").stdout.contains("fn by_"));
    place.write("short.toml", described.replace("clock = 1.0\n", "").as_bytes());
    place.write("zero.toml", described.replace("units = 2", "units = 0").as_bytes());
    let failures: Vec<String> = ["discret", "none.toml", "short.toml", "zero.toml"]
        .iter()
        .map(|target| place.failure(&format!("plan small.toml --target {target}")))
        .collect();
    expect![[r#"
        --target: there is no described device "discret"; did you mean "discrete"?; or give the name of a .toml file that describes one
        cannot read none.toml: No such file or directory (os error 2); check the path
        short.toml: missing field `clock`; give every figure of examples/gpu.toml, each above zero
        zero.toml: a figure is not above zero; give every figure of examples/gpu.toml, each above zero"#]].assert_eq(&failures.join("\n"));
}
