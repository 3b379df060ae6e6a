//! Measured tiles, what is kept between runs, and switches for bisecting.

use crate::support::*;
use pinhole::gpu::{Gpu, Tuning, disagreement, folder_by};
use pinhole::graph::Graph;
use pinhole::model::Network;
use pinhole::plan::{Plan, Target, Tile};
use pinhole::tensor::{DType, Values};
use pinhole::train::{Options, training_plan};
use pinhole::{Device, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Its own device: tuning changes what a device's plans are.
fn device() -> (Device, Arc<Gpu>) {
    let name = gpu_name();
    let gpu = Gpu::open_with(Some(&name).filter(|name| *name != "gpu").map(|name| &name[..]), false, None);
    let gpu = Arc::new(gpu.expect("an adapter"));
    (Device::Gpu(gpu.clone()), gpu)
}

/// A plan of two products, one of which has an epilogue.
fn products(target: &Target) -> Result<Vec<Plan>> {
    let mut graph = Graph::new();
    let x = graph.input("x", [24, 40], DType::Float)?;
    let y = graph.input("y", [40, 36], DType::Float)?;
    let product = graph.matmul(x, y, false, false)?;
    let square = graph.matmul(product, product, false, true)?;
    let root = graph.unary(pinhole::graph::Unary::Tanh, square)?;
    Ok(vec![Plan::on(target, "products", &graph, &[(root, "root")])?])
}

fn within(seconds: f64, folder: Option<&Path>) -> Tuning {
    Tuning { budget: Duration::from_secs_f64(seconds), folder: folder.map(Path::to_owned) }
}

#[test]
fn tuned_training_is_untuned_training() {
    let text = SMALL_CONV.replace("adam = { lr = 3e-3 }", "sgd = { lr = 0.1 }");
    let network = network(&text);
    let data = pinhole::data::digits(160, 3);
    let (device, gpu) = device();
    let options = || Options { steps: Some(5), ..Options::default() };
    let untuned = train(&network, &device, &data, None, options());
    let plans = |target: &Target| Ok(vec![training_plan(&network, 32, target.clone())?]);
    let report = gpu.tune(&within(0.5, None), plans).expect("a report");
    assert!(report.measured > 0 && report.rejected.is_empty(), "{report:?}");
    assert_eq!(report.choices.len(), report.measured);
    for choice in &report.choices {
        assert!(choice.us > 0.0 && choice.us <= choice.default_us, "{choice:?}");
    }
    let tuned = train(&network, &device, &data, None, options());
    let same = |what: &str, trained: &Trained| {
        expect_close(what, &trained.losses, &untuned.losses, 1e-5, Scale::Relative);
        expect_close(what, &wide(&trained.parameters), &wide(&untuned.parameters), 1e-5, Scale::Largest);
    };
    same("tuned", &tuned);
    // Whatever this machine found: other tiles for all products.
    let other = |tile: Tile| if tile == Tile::registers(4, 4) { Tile::registers(8, 8) } else { Tile::registers(4, 4) };
    let steps = &plans(&device.target()).expect("plans")[0].steps;
    let tiles = steps.iter().filter_map(|step| Some((step.product()?, other(step.tile()?))));
    gpu.set_tuned(tiles.collect());
    let tuned = device.target().tuned;
    let steps = &plans(&device.target()).expect("plans")[0].steps;
    assert!(steps.iter().all(|step| step.tile() == step.product().map(|product| tuned[&product])));
    same("with other tiles", &train(&network, &device, &data, None, options()));
}

#[test]
fn wrong_numbers_are_rejected() {
    let (_, gpu) = device();
    let untuned: Vec<Tile> =
        products(&gpu.target()).expect("plans")[0].steps.iter().filter_map(|step| step.tile()).collect();
    // Of every candidate's sums only the first terms: fast, and wrong.
    let report = gpu.tune(&within(2.0, None), |target| {
        let mut plans = products(target)?;
        for step in plans.iter_mut().flat_map(|plan| &mut plan.steps) {
            let tuned = step.tile().is_some_and(|tile| !untuned.contains(&tile));
            let names: Vec<&str> = step.kernel.row().constant_names().collect();
            if let Some(place) = names.iter().position(|name| *name == "SPLIT_DEPTH").filter(|_| tuned) {
                step.constants[place] = 4;
            }
        }
        Ok(plans)
    });
    let report = report.expect("a report");
    assert!(report.measured > 0 && !report.rejected.is_empty(), "{report:?}");
    assert!(report.rejected.iter().all(|line| line.contains("its numbers are off by")), "{report:?}");
    assert!(report.choices.iter().all(|choice| untuned.contains(&choice.tile)), "{report:?}");

    assert_eq!(disagreement(&[1.0, -2.0], 2.0, &[1.0, -2.00001]), None);
    for wrong in [[1.0, -2.0001], [f64::NAN, -2.0], [1.0, f64::INFINITY], [0.0, 0.0], [1.0, 2.0]] {
        assert!(disagreement(&[1.0, -2.0], 2.0, &wrong).is_some(), "{wrong:?}");
    }
    assert!(disagreement(&[f64::NAN], f64::NAN, &[1.0]).is_some());
}

#[test]
fn measurements_are_kept_for_their_adapter() {
    let place = folder();
    let kept = place.path().join("kept");
    let (_, gpu) = device();
    let first = gpu.tune(&within(5.0, Some(&kept)), products).expect("a report");
    assert_eq!((first.measured, first.left, first.choices.len()), (2, 0, 2), "{first:?}");
    let files: Vec<_> =
        std::fs::read_dir(&kept).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    let [path] = &files[..] else { panic!("{files:?}") };
    let text = std::fs::read_to_string(path).expect("text");

    // What another device finds there, without time to measure.
    let found = || {
        let (device, gpu) = device();
        let report = gpu.tune(&within(0.0, Some(&kept)), products).expect("a report");
        assert_eq!((report.measured, report.left), (0, 2 - report.choices.len()));
        (report.choices, device.target().tuned)
    };
    let (choices, tuned) = found();
    assert_eq!(choices, first.choices);
    let changed = choices.iter().filter(|choice| choice.tile != choice.default);
    assert_eq!(*tuned, changed.map(|choice| (choice.product.clone(), choice.tile)).collect());

    let summary = gpu.summary();
    for key in ["adapter", "backend", "driver_info", "version", "shaders"] {
        let mut other: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        other["key"][key] = "another".into();
        std::fs::write(path, other.to_string()).expect("written");
        assert_eq!(found().0, [], "of another {key} than {summary:?}");
    }
    for broken in ["", "{", "[]", "\0\u{1}", &text[..text.len() / 2], &text.replace("\"choices\"", "\"choice\"")] {
        std::fs::write(path, broken).expect("written");
        assert_eq!(found().0, [], "{broken}");
    }
    // A tile that does not exist.
    let mut strange: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    strange["choices"][0]["tile"]["thread_lines"] = 0.into();
    std::fs::write(path, strange.to_string()).expect("written");
    assert_eq!(found().0.len(), 1);
    // And a file where the folder should be costs the file and nothing else.
    let blocked = place.path().join("blocked");
    std::fs::write(&blocked, "").expect("written");
    assert_eq!(device().1.tune(&within(5.0, Some(&blocked)), products).expect("a report").measured, 2);
}

#[test]
fn the_cache_directory_is_the_systems() {
    let folder = |set: &[(&str, &str)]| {
        folder_by(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    };
    let all = [("XDG_CACHE_HOME", "/x"), ("HOME", "/h"), ("LOCALAPPDATA", "/l")];
    let with = |own: &'static str| [&[("PINHOLE_CACHE", own)][..], &all].concat();
    assert_eq!(folder(&with("/mine")).as_deref(), Some(Path::new("/mine")));
    assert_eq!(folder(&with("")), None);
    assert_eq!(folder(&[]), None);
    if cfg!(all(unix, not(target_os = "macos"))) {
        assert_eq!(folder(&all).as_deref(), Some(Path::new("/x/pinhole")));
        assert_eq!(folder(&all[1..]).as_deref(), Some(Path::new("/h/.cache/pinhole")));
        assert_eq!(folder(&[("XDG_CACHE_HOME", "here"), all[1]]).as_deref(), Some(Path::new("/h/.cache/pinhole")));
    }
}

#[test]
fn a_broken_file_of_pipelines_is_replaced() {
    let place = folder();
    let kept = place.path();
    let open = || {
        let gpu =
            Gpu::open_with(Some(&gpu_name()).filter(|name| *name != "gpu").map(|name| &name[..]), false, Some(kept));
        let gpu = Arc::new(gpu.expect("an adapter"));
        let plans = products(&gpu.target()).expect("plans");
        let mut session = Device::Gpu(gpu.clone()).load(&plans).expect("a session");
        session.write("x", &Values::F32(vec![0.5; 24 * 40])).expect("x");
        session.run(0, 1).expect("a run");
        session.read("root").expect("a result");
        gpu
    };
    let gpu = open();
    if !gpu.summary().features.iter().any(|feature| feature == "pipeline-cache") {
        return;
    }
    let files: Vec<_> = std::fs::read_dir(kept).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    let [path] = &files[..] else { panic!("{files:?}") };
    let bytes = std::fs::read(path).expect("pipelines");
    for broken in [&b""[..], b"short", &[7; 4000], &bytes[..bytes.len() - 1]] {
        std::fs::write(path, broken).expect("written");
        open();
        assert!(std::fs::read(path).expect("pipelines") != broken);
    }
    open();
}

#[cfg(feature = "cli")]
mod program {
    use super::*;
    use crate::temp::{Place, said};

    const MODEL: &str = "--model conv.toml --data digits:160 --seed 3 --steps 6 --log-steps";

    fn losses(place: &Place, out: &str) -> Vec<f64> {
        let lines = place.lines(&format!("{out}/metrics.jsonl"));
        let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
        assert_eq!(losses.len(), 6, "{lines:?}");
        losses
    }

    #[test]
    fn every_switch_leaves_the_training_as_it_is() {
        let place = Place::new();
        place.write("conv.toml", SMALL_CONV.as_bytes());
        let name = gpu_name();
        for device in ["cpu", &name] {
            let mut plain = Vec::new();
            let all = "epilogues,pairs, splits,joined-updates,subgroups,lanes,joins,recomputing,sharing,tuning,unroll,pipeline-cache";
            for (index, without) in [""].into_iter().chain(all.split(',')).chain([all]).enumerate() {
                let out = format!("{}-{index}", if device == "cpu" { "cpu" } else { "gpu" });
                let mut command = place.command(&format!("train {MODEL} --out {out}"));
                command.args(["--device", device]).env("PINHOLE_WITHOUT", without);
                let said = said(command.output().expect("the program runs"));
                assert_eq!(said.code, Some(0), "{said:?}");
                let losses = losses(&place, &out);
                if without.is_empty() {
                    plain = losses;
                } else {
                    expect_close(without, &losses, &plain, 1e-4, Scale::Relative);
                }
            }
        }
        let plan = |without: &str| {
            let mut command = place.command("plan conv.toml --device cpu");
            said(command.env("PINHOLE_WITHOUT", without).output().expect("the program runs"))
        };
        assert_ne!(plan("").stdout, plan("pairs").stdout);
        for device in ["cpu", &name] {
            let mut command = place.command("plan conv.toml");
            let said =
                said(command.args(["--device", device]).env("PINHOLE_WITHOUT", "splits,pars").output().expect("it"));
            let line = "error: PINHOLE_WITHOUT: there is no optimisation \"pars\"; did you mean \"pairs\"?\n";
            assert_eq!((said.code, &said.stderr[..]), (Some(1), line));
        }
    }

    /// A model is planned for small devices on request, and what does not fit them is said.
    #[test]
    fn limits_of_small_devices_are_kept_on_request() {
        let place = Place::new();
        place.write("conv.toml", SMALL_CONV.as_bytes());
        place.write("large.toml", SMALL_DENSE.replace("linear = 24", "linear = 50000").as_bytes());
        for device in ["cpu", &gpu_name()] {
            let run = |limits: &str, arguments: &str| {
                let mut command = place.command(arguments);
                said(
                    command
                        .args(["--device", device])
                        .env("PINHOLE_LIMITS", limits)
                        .output()
                        .expect("the program runs"),
                )
            };
            let [own, small] = ["", "downlevel"].map(|limits| run(limits, "plan conv.toml"));
            assert!(own.code == Some(0) && own.stdout.contains(" optimizer.update "), "{own:?}");
            assert!(small.code == Some(0) && small.stdout.contains(" optimizer.collected_update "), "{small:?}");
            // Twice 784 x 50,000 numbers are more than 256 MiB.
            assert_eq!(run("", "plan large.toml").code, Some(0));
            let large = run("downlevel", "plan large.toml");
            assert!(
                large.code == Some(1) && large.stderr.contains("buffer \"parameters\": buffer size is "),
                "{large:?}"
            );
            let unknown = run("small", "plan conv.toml");
            let line = "error: PINHOLE_LIMITS: unknown limits \"small\"; use \"downlevel\", or leave it out\n";
            assert_eq!((unknown.code, &unknown.stderr[..]), (Some(1), line));
        }
    }

    #[test]
    fn the_program_tunes_once() {
        let place = Place::new();
        place.write("conv.toml", SMALL_CONV.as_bytes());
        let run = |arguments: &str, device: &str| {
            let mut command = place.command(arguments);
            said(command.args(["--device", device]).env("PINHOLE_CACHE", "kept").output().expect("the program runs"))
        };
        let first = run(&format!("train {MODEL} --autotune=0.3 --out first"), &gpu_name());
        assert!(first.code == Some(0) && first.stderr.contains("tuned in "), "{first:?}");
        assert!(place.names("kept").iter().any(|name| name.starts_with("tiles-")), "{:?}", place.names("kept"));
        let second = run(&format!("train {MODEL} --autotune=0 --out second"), &gpu_name());
        assert!(second.stderr.contains(": 0 products measured"), "{second:?}");
        expect_close("tuned", &losses(&place, "second"), &losses(&place, "first"), 1e-4, Scale::Relative);
        let on_cpu = run(&format!("train {MODEL} --autotune --out third"), "cpu");
        assert!(on_cpu.stderr.contains("--autotune has nothing to choose on cpu\n"), "{on_cpu:?}");
        let wrong = run(&format!("train {MODEL} --autotune=-1"), "cpu");
        assert_eq!(wrong.stderr, "error: --autotune: -1 seconds is no time to spend; use 0 to 3600\n");
    }
}

#[test]
fn products_are_told_from_steps() {
    let subgroups = Target { subgroup: Some(8), ..Target::default() };
    let network = network(SMALL_CONV);
    let plan = |target: &Target| training_plan(&network, 64, target.clone()).expect("a plan");
    let products = |plan: &Plan| -> Vec<_> { plan.steps.iter().filter_map(|step| step.product()).collect() };
    let mut sorted = products(&plan(&subgroups));
    sorted.sort_by_key(|product| format!("{product:?}"));
    for tile in Tile::family(&subgroups) {
        let plan = plan(&Target { forced: Some(tile), ..subgroups.clone() });
        let mut found = products(&plan);
        found.sort_by_key(|product| format!("{product:?}"));
        assert_eq!(found, sorted, "{tile:?}");
        for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.product().is_some()) {
            assert_eq!(step.tile(), Some(tile));
            let alone = plan.isolated(index).expect("a plan");
            assert_eq!((alone.steps.len(), alone.hazard()), (1, None));
        }
    }
    // A forced number of parts is what every sum that may be cut has.
    let split = plan(&Target { splits: Some(3), ..Target::default() });
    let parts: Vec<u64> = split.steps.iter().filter_map(|step| step.constant("SPLITS")).filter(|n| *n > 1).collect();
    assert!(parts.contains(&3), "{split}");
}

/// Convolutions and dense layers, a hundred of them, with gradients and Adam.
#[test]
fn a_hundred_layers_are_planned_in_a_second() {
    let conv = |name: &str| format!("{{ {name} = {{ out = 4, kernel = 3, padding = 1 }} }}, \"relu\", ").repeat(40);
    let linear = "{ linear = 32 }, \"relu\", ".repeat(9);
    let text = format!(
        "input = [4, 12, 12]\nloss = \"mse\"\nencoder = [{}\"flatten\", {linear}{{ linear = 16 }}]\n\
         decoder = [{linear}{{ linear = 576 }}, {{ unflatten = [4, 12, 12] }}, {}]\n\
         [train]\nbatch = 16\noptimizer = {{ adam = {{ lr = 1e-3 }} }}\n",
        conv("conv2d"),
        conv("conv_transpose2d"),
    );
    let network: Network = network(&text);
    let layers = network.layout().entries().iter().filter(|entry| entry.name.ends_with("weight")).count();
    assert_eq!(layers, 100);
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let began = Instant::now();
        let plan = training_plan(&network, 64, Target::default()).expect("a plan");
        least = least.min(began.elapsed().as_secs_f64());
        assert!(plan.steps.iter().any(|step| step.kernel == pinhole::plan::Kernel::Update));
    }
    println!("planned in {:.0} ms", least * 1e3);
    assert!(cfg!(debug_assertions) || least < 1.0, "planning takes {least:.2} s");
}
