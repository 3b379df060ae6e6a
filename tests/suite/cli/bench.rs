//! `pinhole bench` and what stands behind it: workloads, ceilings, launches, and the scripts in `benches/`.

use crate::support::*;
use crate::temp::*;
use pinhole::Device;
use pinhole::bench::{Ceilings, Loaded, Material, Workload};
use pinhole::model::config::{LossKind, OptimizerSpec};
use pinhole::model::{ModelSpec, Network};
use pinhole::plan::Target;
use serde_json::Value as Json;
use std::path::Path;

// The test needs the sweep alone, and not the benchmark's main function.
#[allow(dead_code)]
#[path = "../../../benches/split_sweep.rs"]
mod split_sweep;

/// Every key of a workload's line.
const KEYS: [&str; 30] = [
    "batch",
    "blocks",
    "bytes_per_step",
    "ceiling_fraction",
    "ceiling_gb_per_s",
    "ceiling_gflops",
    "copy_fraction",
    "cpu_used",
    "device",
    "device_bytes",
    "first_finished_step_s",
    "first_loss",
    "first_step_s",
    "flop_per_step",
    "gflops",
    "host_us_per_launch",
    "launches",
    "loss",
    "max",
    "min",
    "other_cpu",
    "peak_rss_mb",
    "peer",
    "rel_err",
    "steps",
    "steps_per_block",
    "steps_per_s",
    "threads",
    "warmup_s",
    "workload",
];

/// A line says everything, and what it says is possible.
fn expect_line(line: &Json, workload: Workload, device: &str) {
    assert_eq!(keys(line), KEYS);
    let positive = |key: &str| {
        let number = line[key].as_f64().unwrap_or_else(|| panic!("{workload}: {key} is {}", line[key]));
        assert!(number > 0.0 && number.is_finite(), "{workload}: {key} is {number}");
        number
    };
    assert_eq!(line["workload"], workload.to_string());
    assert_eq!(line["device"], device);
    assert_eq!(line["peer"], format!("pinhole-{}", env!("CARGO_PKG_VERSION")));
    for key in ["gflops", "first_step_s", "ceiling_gflops", "ceiling_gb_per_s", "ceiling_fraction", "copy_fraction"] {
        positive(key);
    }
    for key in ["device_bytes", "flop_per_step", "bytes_per_step", "steps_per_block", "blocks", "batch"] {
        assert!(line[key].as_u64().is_some_and(|count| count > 0), "{workload}: {key} is {}", line[key]);
    }
    assert!(positive("first_finished_step_s") >= positive("first_step_s"), "{line}");
    assert!(positive("warmup_s") > positive("first_finished_step_s"), "{line}");
    let median = if workload.trains() { positive("steps_per_s") } else { positive("gflops") };
    assert!(positive("min") <= median && median <= positive("max"), "{line}");
    if workload.trains() {
        let achieved = median * line["flop_per_step"].as_f64().expect("a number") / 1e9;
        assert!((achieved / positive("gflops") - 1.0).abs() < 1e-4, "{line}");
        assert!(positive("loss") < positive("first_loss"), "{line}");
        assert!(line["rel_err"].is_null(), "{line}");
    } else {
        assert!(line["steps_per_s"].is_null() && line["loss"].is_null() && line["first_loss"].is_null(), "{line}");
        assert!(line["rel_err"].as_f64().is_some_and(|error| error <= 1e-5), "{line}");
    }
    let on_cpu = device.starts_with("cpu");
    assert_eq!(line["threads"].is_u64(), on_cpu, "{line}");
    assert_eq!(line["launches"].is_null(), on_cpu, "{line}");
    assert_eq!(line["host_us_per_launch"].is_null(), on_cpu, "{line}");
    if cfg!(target_os = "linux") {
        positive("peak_rss_mb");
        assert!(line["cpu_used"].is_f64() && line["other_cpu"].is_f64(), "{line}");
    }
}

fn lines(said: &Said) -> Vec<Json> {
    assert_eq!(said.stderr, "");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

const SHORT: &str = "--blocks 2 --block-seconds 0.01";

#[test]
fn bench_measures_every_workload_on_the_cpu() {
    let place = Place::new();
    let said = place.ok(&format!("bench training matmul-256,matmul-512 conv3x3 --device cpu --json {SHORT}"));
    let lines = lines(&said);
    let named = |name: &str| Workload::named(name).expect("workloads");
    let workloads = [named("training"), named("matmul-256"), named("matmul-512"), named("conv3x3")].concat();
    assert_eq!(lines.len(), workloads.len());
    for (line, workload) in lines.iter().zip(workloads) {
        expect_line(line, workload, "cpu");
        assert_eq!(line["batch"], workload.batch());
    }
    assert_eq!(place.names("."), ["small.toml"], "it leaves no files");
}

#[test]
fn bench_measures_on_the_gpu() {
    let place = Place::new();
    let run = |workloads: &str| {
        let mut command = place.command(&format!("bench {workloads} --batch 4 --json {SHORT}"));
        lines(&said(command.args(["--device", &gpu_name()]).output().expect("the program runs")))
    };
    let lines = run("conv-ae vae conv3x3 matmul-256");
    let workloads = [Workload::ConvAe, Workload::Vae, Workload::Conv3x3, Workload::MatMul(256)];
    assert_eq!(lines.len(), workloads.len());
    for ((line, workload), batch) in lines.iter().zip(workloads).zip([4, 4, 4, 1]) {
        expect_line(line, workload, &gpu().name());
        assert_eq!(line["batch"], batch);
        let plan = Material::new(workload, Some(4)).expect("a workload").plan(&gpu().target()).expect("a plan");
        // A step of the plan is a launch, or shares one with another.
        let launches = line["launches"].as_u64().expect("launches") as usize;
        assert!((1..=plan.steps.len()).contains(&launches), "{workload}: {launches} of {}", plan.steps.len());
        assert_eq!(line["device_bytes"], plan.bytes(), "{workload}");
    }
}

#[test]
fn bench_prints_a_table() {
    let place = Place::new();
    let said = place.ok(&format!("bench dense-ae matmul-256 --device cpu --batch 8 {SHORT}"));
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.stdout);
    assert!(lines[0].starts_with("cpu, ") && lines[0].contains(" GFLOP/s in registers, "), "{}", lines[0]);
    assert!(lines[1].starts_with("workload "), "{}", lines[1]);
    assert!(lines[2].starts_with("dense-ae          8 ") && lines[2].contains(" steps/s "), "{}", lines[2]);
    assert!(lines[3].starts_with("matmul-256        1 ") && lines[3].contains(" GFLOP/s "), "{}", lines[3]);
    assert!(lines[1..].iter().all(|line| line.chars().count() == lines[1].len()), "{}", said.stdout);
}

#[test]
fn bench_refuses_what_it_cannot_measure() {
    let names = "all, training, kernels, conv-ae, dense-ae, vae, conv-ae-wide, matmul-256, matmul-512, matmul-1024, \
                 matmul-2048, conv3x3";
    let none_of = |name: &str, help: &str| format!("workload \"{name}\": it is none of {names}; {help}");
    Place::new().fail(&[
        // Before anything is measured.
        ("bench conv-ae conv-ea --device cpu", &none_of("conv-ea", "did you mean \"conv-ae\"?")),
        ("bench zzz", &none_of("zzz", "use one of these")),
        ("bench vae --batch 70000 --device cpu", "batch 70000: it is not between 1 and 65536; use another --batch"),
        (
            "bench vae --block-seconds 0 --device cpu",
            "blocks: 5 blocks of 0 seconds are no measurement; \
             use at least one block of more than 0 seconds and at most an hour",
        ),
        (
            "bench vae --block-seconds nan --device cpu",
            "blocks: 5 blocks of NaN seconds are no measurement; \
             use at least one block of more than 0 seconds and at most an hour",
        ),
        (
            "bench split-sweep",
            "workload \"split-sweep\": it is a benchmark of the source tree; run cargo bench --bench split_sweep",
        ),
        ("bench sweeps --device cpu", "device \"cpu\": has no launches to measure; use --device gpu"),
    ]);
}

#[test]
fn ceilings_are_positive() {
    for device in fast_devices() {
        let ceilings = Ceilings::measure(&device).expect("ceilings");
        for rate in [ceilings.gflops, ceilings.gb_per_s] {
            assert!(rate > 0.0 && rate.is_finite(), "{}: {ceilings:?}", device.name());
        }
    }
}

#[test]
fn launches_cost_something_on_all_kinds_of_buffers() {
    let place = Place::new();
    let mut command = place.command("bench sweeps --json");
    let lines = lines(&said(command.args(["--device", &gpu_name()]).output().expect("the program runs")));
    let buffers: Vec<&str> = lines.iter().filter_map(|line| line["buffers"].as_str()).collect();
    assert_eq!(buffers, ["shared", "separate", "chained"]);
    let known = ["buffers", "device", "device_us_per_launch", "host_us_per_launch", "launches", "peer", "workload"];
    for line in &lines {
        assert_eq!(keys(line), known);
        assert_eq!((&line["workload"], &line["device"]), (&Json::from("launches"), &Json::from(gpu().name())));
        for cost in ["host_us_per_launch", "device_us_per_launch"] {
            assert!(line[cost].as_f64().is_some_and(|cost| cost > 0.0 && cost.is_finite()), "{line}");
        }
    }
}

#[test]
fn sums_are_cut_into_one_part_and_more() {
    let lines = split_sweep::split_sweep(&gpu()).expect("a sweep");
    for model in ["conv-ae", "conv-ae-wide"] {
        let of: Vec<_> = lines.iter().filter(|line| line.model == model).collect();
        assert!(of.iter().any(|line| line.splits == 1) && of.iter().any(|line| line.splits >= 16), "{of:?}");
        assert!(of.iter().any(|line| line.planned), "{of:?}");
    }
    assert!(lines.iter().all(|line| line.us > 0.0 && line.us.is_finite()), "{lines:?}");
}

#[test]
fn workloads_are_the_standard_ones() {
    let network = |workload: Workload| {
        let spec: ModelSpec = workload.model().expect("a model").expect("an autoencoder");
        assert_eq!(spec.train.optimizer, OptimizerSpec::adam(1e-3));
        assert_eq!(spec.train.batch, workload.batch());
        let loss = if workload == Workload::DenseAe { LossKind::Bce } else { LossKind::Mse };
        assert_eq!(spec.loss, loss.into());
        Network::new(spec).expect("a network")
    };
    let linear = |from: usize, to: usize| from * to + to;
    let conv = |from: usize, to: usize, biases: usize| from * to * 9 + biases;
    let dense = linear(784, 128) + linear(128, 32) + linear(32, 128) + linear(128, 784);
    let small = conv(1, 16, 16) + conv(16, 32, 32) + conv(32, 16, 16) + conv(16, 1, 1);
    let wide = conv(3, 64, 64) + conv(64, 128, 128) + conv(128, 256, 256);
    let back = conv(256, 128, 128) + conv(128, 64, 64) + conv(64, 3, 3);
    for (workload, parameters) in [
        (Workload::ConvAe, small + linear(1568, 64) + linear(64, 1568)),
        (Workload::DenseAe, dense),
        (Workload::ConvAeWide, wide + linear(4096, 256) + linear(256, 4096) + back),
    ] {
        assert_eq!(network(workload).checked().parameter_count(), parameters, "{workload}");
    }
    // The variational one: two linear layers on each side, and a second one beside the mean's.
    let plan = Material::new(Workload::Vae, None).expect("a workload").plan(&Target::default()).expect("a plan");
    let parameters = plan.buffers.iter().find(|buffer| buffer.name == "parameters").expect("parameters").elements;
    let expected = linear(784, 400) + 2 * linear(400, 20) + linear(20, 400) + linear(400, 784);
    assert!((expected..expected + 10 * 64).contains(&parameters), "{parameters}, at least {expected}");
    // Ops by their definition.
    let flop = |workload| {
        let material = Material::new(workload, None).expect("a workload");
        material.load(&Device::Cpu).expect("a loaded plan").flop_per_step()
    };
    assert_eq!(flop(Workload::MatMul(512)), 2 * 512 * 512 * 512);
    assert_eq!(flop(Workload::Conv3x3), 2 * 32 * 64 * 28 * 28 * 64 * 9);
}

/// The losses of so many steps, one by one.
fn losses(loaded: &mut Loaded, steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|_| {
            loaded.run(1).expect("a step");
            loaded.losses().expect("losses")[1]
        })
        .collect()
}

#[test]
fn the_variational_autoencoder_trains_alike_on_all_devices() {
    let material = Material::new(Workload::Vae, Some(16)).expect("a workload");
    let on = |device: &Device| losses(&mut material.load(device).expect("a loaded plan"), 12);
    let expected = on(&Device::CpuF64);
    // An untrained decoder says one half of every pixel: 784 ln 2 = 543.
    assert!((500.0..600.0).contains(&expected[0]) && expected[11] < 0.8 * expected[0], "{expected:?}");
    for device in fast_devices() {
        let what = format!("on {}", device.name());
        let losses = on(&device);
        expect_close(&what, &losses[..3], &expected[..3], 1e-5, Scale::Relative);
        expect_close(&what, &losses, &expected, 1e-3, Scale::Relative);
    }
}

#[test]
fn steps_go_on_from_epoch_to_epoch() {
    // An epoch has 200 steps; how the steps are asked for makes no difference.
    let material = Material::new(Workload::DenseAe, Some(2)).expect("a workload");
    let after = |calls: &[usize]| {
        let mut loaded = material.load(&Device::Cpu).expect("a loaded plan");
        for steps in calls {
            loaded.run(*steps).expect("steps");
        }
        assert_eq!(loaded.steps(), 430);
        assert_eq!(loaded.check().expect("a loss that fell"), None);
        loaded.losses().expect("losses")
    };
    let [first, last] = after(&[430]);
    assert!(last < 0.6 * first, "from {first} to {last}");
    assert_eq!(after(&[1, 199, 30, 200]), [first, last]);
}

#[test]
fn an_op_that_computes_nothing_is_found_out() {
    for workload in [Workload::MatMul(256), Workload::Conv3x3] {
        let material = Material::new(workload, Some(2)).expect("a workload");
        let mut loaded = material.load(&Device::Cpu).expect("a loaded plan");
        let error = loaded.check().expect_err("zeros are wrong").to_string();
        let expected = format!("workload \"{workload}\": an output is wrong by 1.0e0 of the largest; ");
        assert!(error.starts_with(&expected), "{error}");
        loaded.run(1).expect("a step");
        assert!(loaded.check().expect("right outputs").is_some_and(|error| error < 1e-5));
    }
}

/// The table of kernels does not hold these, so its tests leave them out.
#[test]
fn the_kernels_of_ceilings_can_be_written_for_every_adapter() {
    let path = "shaders/ceiling.wgsl";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the shader");
    let module = naga::front::wgsl::parse_str(&text).expect("WGSL");
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).expect("a valid module");
    for point in &module.entry_points {
        let named = Some((naga::ShaderStage::Compute, point.name.clone()));
        let options = naga::back::spv::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: point.name.clone(),
        };
        naga::back::spv::write_vec(&module, &info, &Default::default(), Some(&options)).expect("SPIR-V");
        let options = naga::back::msl::PipelineOptions { entry_point: named.clone(), ..Default::default() };
        naga::back::msl::write_string(&module, &info, &Default::default(), &options).expect("MSL");
        let counts = naga::back::hlsl::BindTarget { space: 1, ..Default::default() };
        let options = naga::back::hlsl::Options { special_constants_binding: Some(counts), ..Default::default() };
        let pipeline = naga::back::hlsl::PipelineOptions { entry_point: named };
        let mut text = String::new();
        naga::back::hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None).expect("HLSL");
    }
}

/// A script of `benches/` with these arguments, in the place.
#[cfg(unix)]
fn script(place: &Place, name: &str, arguments: &[&str]) -> Said {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name);
    let mut command = std::process::Command::new("bash");
    command.arg(path).args(arguments).current_dir(place.0.path()).env("PYTHON", "no-such-python");
    command.env("XDG_RUNTIME_DIR", place.0.path());
    said(command.output().expect("bash"))
}

/// A shell script in the place that can be run.
#[cfg(unix)]
fn program(place: &Place, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    place.write(name, format!("#!/bin/sh\n{text}\n").as_bytes());
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(name), permissions).expect("a script that can be run");
}

#[cfg(unix)]
#[test]
fn compare_runs_both_sides_in_turn() {
    let place = Place::new();
    let pinhole = env!("CARGO_BIN_EXE_pinhole");
    // Its rates are 10, 20 and 60; what else it prints does not count.
    program(
        &place,
        "rival",
        r#"echo run >> runs
case $(wc -l < runs | tr -d ' ') in 1) rate=60 ;; 2) rate=10 ;; *) rate=2e1 ;; esac
echo "warming up"
echo "{\"peer\": \"a rival\", \"adapter\": \"a machine\", \"workload\": \"$2\", \"steps_per_s\": $rate, \"min\": 1}""#,
    );
    let compare = |rival: &str, workloads: &str, rounds: &str, pinhole: &str| {
        let options = ["--options", "--blocks 1 --block-seconds 0.01 --batch 8", "--device", "cpu"];
        let given = ["--rival", rival, "--workloads", workloads, "--rounds", rounds, "--pinhole", pinhole];
        script(&place, "compare.sh", &[&given[..], &options].concat())
    };
    let said = compare("./rival --workload {workload}", "dense-ae", "3", pinhole);
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[0], "rival: a rival on a machine");
    assert_eq!(lines[1], format!("pinhole: pinhole-{} on cpu", env!("CARGO_PKG_VERSION")));
    assert!(lines[3].starts_with("| workload "), "{}", said.stdout);
    assert!(lines[5].starts_with("| dense-ae      | steps/s | 20.00 (10.00 to 60.00) "), "{}", said.stdout);
    assert_eq!(lines.len(), 6, "{}", said.stdout);
    let ratio = lines[5].trim_end_matches([' ', '|']).rsplit(' ').next().and_then(|ratio| ratio.parse::<f64>().ok());
    assert!(ratio.is_some_and(|ratio| ratio > 0.0), "{}", said.stdout);

    let failure = |rival: &str, workload: &str, pinhole: &str| {
        let said = compare(rival, workload, "1", pinhole);
        assert_eq!((said.code, &said.stdout[..]), (Some(1), ""), "{said:?}");
        said.stderr.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(
        failure("echo no luck >&2; exit 3 # {workload}", "vae", pinhole),
        "error: rival failed on vae with exit code 3 (no luck): echo no luck >&2; exit 3 # vae"
    );
    assert_eq!(failure("echo {workload}", "vae", pinhole), "error: rival printed no line of JSON on vae: echo vae");
    assert_eq!(
        failure("echo '{}' # {workload}", "vae", pinhole),
        "error: rival printed a line without a rate (steps_per_s or gflops) on vae: {}"
    );
    assert_eq!(
        failure("./rival --workload {workload}", "matmul-256", pinhole),
        "error: matmul-256 has steps_per_s on one side and gflops on the other"
    );
    let unknown = failure("./rival --workload {workload}", "dense", pinhole);
    assert!(
        unknown.starts_with("error: pinhole failed on dense with exit code 1 (error: workload \"dense\""),
        "{unknown}"
    );
    assert_eq!(failure("./rival", "vae", pinhole), "error: the rival's command has no {workload} in it: ./rival");
    assert!(failure("./rival {workload}", "vae", "./none").starts_with("error: ./none is no program; "));
}

#[cfg(unix)]
#[test]
fn a_day_on_a_gpu_leaves_one_json_and_one_table() {
    let place = Place::new();
    // A pinhole that knows what the script asks for and computes nothing, and a suite that passes.
    program(
        &place,
        "pinhole",
        r#"case "$*" in
"devices --json") echo '{"adapters":[{"name":"an adapter"}],"auto":"an adapter"}' ;;
devices) echo "an adapter" ;;
"bench all --device an --json --blocks 2")
    printf '{"peer":"pinhole-1","device":"an adapter","workload":"vae","batch":128,"steps_per_s":12.5,"gflops":4,'
    printf '"min":12,"max":13,"launches":34,"host_us_per_launch":0.5,"ceiling_fraction":0.25,'
    printf '"first_finished_step_s":1.5,"loss":100}\n'
    printf '{"peer":"pinhole-1","device":"an adapter","workload":"conv3x3","batch":32,"steps_per_s":null,'
    printf '"gflops":400,"min":390,"max":410,"launches":1}\n' ;;
"bench sweeps --device an --json")
    printf '{"workload":"launches","buffers":"shared","host_us_per_launch":0.25,"device_us_per_launch":5}\n' ;;
--help) echo "  bench" ;;
*) echo "error: what is $*?" >&2; exit 1 ;;
esac"#,
    );
    program(&place, "suite", "echo 'GPU under test: an adapter'; echo 'test result: ok. 12 passed'");
    program(
        &place,
        "split_sweep",
        r#"[ "$PINHOLE_TEST_DEVICE" = an ] || exit 1
printf '{"workload":"split-sweep","model":"conv-ae","layer":"encoder.0","lines":16,"columns":9,"depth":25088,'
printf '"splits":8,"planned":true,"us":12.5}\n'"#,
    );
    let day = |device: &str| {
        let text = format!("PINHOLE_TEST_DEVICE={device} BENCH_OPTIONS='--blocks 2' bash \"$@\"");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gpu.sh");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &text, "bash"]).arg(path).args(["pinhole", "suite", "out", "split_sweep"]);
        said(command.current_dir(place.0.path()).env("PYTHON", "no-such-python").output().expect("bash"))
    };
    let done = day("an");
    assert_eq!((done.code, &done.stderr[..]), (Some(0), ""), "{done:?}");
    for skipped in ["tuning: skipped", "PyTorch: skipped, no-such-python is not found"] {
        assert!(done.stdout.contains(skipped), "{}", done.stdout);
    }
    let results = json(&place.path("out/results.json"));
    let results = results.as_array().expect("an array");
    assert_eq!(results.len(), 5);
    assert_eq!(results[0]["parity"], "test result: ok. 12 passed");
    assert_eq!(results[0]["devices"]["auto"], "an adapter");
    assert_eq!(results[0]["notes"].as_array().map(Vec::len), Some(3));
    let workloads: Vec<&str> = results[1..].iter().filter_map(|line| line["workload"].as_str()).collect();
    assert_eq!(workloads, ["vae", "conv3x3", "launches", "split-sweep"]);
    let table = String::from_utf8(place.read("out/results.md")).expect("text");
    for row in [
        "| vae | pinhole-1 | 128 | 12.50 | 12.00 | 13.00 | steps/s | 4.00 | 25.0 % | 34 | 0.50 | 1.50 | 100.00000 |",
        "| conv3x3 | pinhole-1 | 32 | 400.00 | 390.00 | 410.00 | GFLOP/s | 400.00 | - | 1 | - | - | - |",
        "| shared | 0.25 | 5.00 |",
        "| conv-ae | encoder.0 | 16 x 9 | 25088 | 8 | 12.5 | yes |",
    ] {
        assert!(table.contains(row), "{table}");
    }

    // What fails is told, the rest goes on, and the whole has failed.
    program(&place, "suite", "echo 'test result: FAILED. 1 passed'; exit 101");
    let done = day("another");
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = json(&place.path("out/results.json"));
    assert_eq!(results.as_array().map(Vec::len), Some(1));
    assert_eq!(results[0]["parity"], "FAILED: test result: FAILED. 1 passed");
    let notes = results[0]["notes"].to_string();
    assert!(notes.contains("all workloads failed: error: what is bench all --device another"), "{notes}");
}
