//! Faults: devices that are lost, programs that are killed, memory and disks that are full. Each ends in one clear line or
//! in none, and what was saved goes on to the bits of an undisturbed run. With `PINHOLE_FAULTS=full` there are as many of
//! them as the project promises to survive, else a few of each kind.

use crate::gpu::shared_device::application;
use crate::run::resume::*;
use crate::support::*;
use crate::temp::*;
use pinhole::data::{Dataset, digits};
use pinhole::gpu::Gpu;
use pinhole::model::Network;
use pinhole::run::{RunDirectory, RunSettings};
use pinhole::train::{EpochEnd, Observer, Options, Trainer};
use pinhole::{Autoencoder, Device, Error, Result};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many strikes there are to be: a few, or all.
fn strikes(few: usize, all: usize) -> usize {
    if std::env::var("PINHOLE_FAULTS").is_ok_and(|value| value == "full") { all } else { few }
}

// ---- devices that are lost

/// Whose device is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Pinhole,
    Application,
}

/// A device of an owner, its handle, and how often the application's own handler was called.
fn fresh(owner: Owner) -> (Device, pinhole::wgpu::Device, std::sync::Arc<AtomicUsize>) {
    match owner {
        Owner::Pinhole => {
            let name = gpu_name();
            let name = (name != "gpu").then_some(&name[..]);
            let gpu = std::sync::Arc::new(Gpu::open_with(name, false, None).expect("a device"));
            let handle = gpu.wgpu().0.clone();
            (Device::Gpu(gpu), handle, Default::default())
        }
        Owner::Application => {
            let (device, queue, faults) = application(wgpu::Limits::default());
            (Device::from_wgpu(device.clone(), queue).expect("a device"), device, faults)
        }
    }
}

/// What a training comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Begins,
    Loads,
    Starts,
    /// A step's loss is known.
    Stepped(u64),
    /// An epoch's results are read back, and will be written.
    Saves,
}

/// When a device is lost.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// On coming to a stage.
    At(Stage),
    /// So many parts of a plan's loading after that begins, or of an epoch's end after its last step.
    While(Stage, Duration),
}

/// Loses the device at its moment.
struct Striker {
    device: pinhole::wgpu::Device,
    moment: Option<Moment>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Striker {
    fn new(device: pinhole::wgpu::Device, moment: Option<Moment>) -> Striker {
        Striker { device, moment, threads: Mutex::default() }
    }

    fn come_to(&self, stage: Stage) {
        match self.moment {
            Some(Moment::At(at)) if at == stage => self.device.destroy(),
            Some(Moment::While(at, delay)) if at == stage => {
                let device = self.device.clone();
                let wait = move || {
                    std::thread::sleep(delay);
                    device.destroy();
                };
                self.threads.lock().expect("threads").push(std::thread::spawn(wait));
            }
            _ => {}
        }
    }
}

impl Drop for Striker {
    fn drop(&mut self) {
        for thread in std::mem::take(&mut *self.threads.lock().expect("threads")) {
            thread.join().expect("a thread that destroys a device");
        }
    }
}

impl Observer for &Striker {
    fn step(&mut self, step: u64, _loss: f64) {
        self.come_to(Stage::Stepped(step));
    }
}

/// Trains as the program does, from the directory's checkpoint where it has one.
fn train_into(
    path: &Path,
    (network, device): (&Network, &Device),
    data: [&Dataset; 2],
    mut striker: &Striker,
) -> Result<()> {
    striker.come_to(Stage::Begins);
    let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
    let options = Options { steps_per_submission: Some(2), ..Options::default() };
    striker.come_to(Stage::Loads);
    let mut trainer = Trainer::new(network, device, data[0], Some(data[1]), options)?;
    striker.come_to(Stage::Starts);
    trainer.start(autoencoder.parameters())?;
    let mut run = if path.join("model.toml").exists() {
        let (mut run, ..) = RunDirectory::open(path)?;
        let checkpoint = run.checkpoint(network, trainer.moments())?;
        trainer.restore(&checkpoint)?;
        run.rewind(&checkpoint, trainer.steps_left() == 0)?;
        run
    } else {
        RunDirectory::create(path, network.spec(), &RunSettings::default(), network, &trainer.checkpoint()?)?
    };
    loop {
        match trainer.epoch(&mut striker)? {
            EpochEnd::Epoch(report) => {
                run.log_epoch(&report)?;
                let checkpoint = trainer.checkpoint()?;
                striker.come_to(Stage::Saves);
                run.save(&checkpoint, network)?;
                autoencoder.set_parameters(checkpoint.model().clone())?;
                autoencoder.save_weights(run.weights())?;
            }
            EpochEnd::Finished => break,
            EpochEnd::Stopped => panic!("nobody asked to stop"),
        }
    }
    // With the plan of a model in use.
    autoencoder.reconstruct(&data[1].rows_f32(0..2)).map(drop)
}

/// Everything in a directory that a run gives, without the seconds it took.
fn result_of(place: &Place, run: &str) -> (Vec<u8>, Vec<u8>, Vec<serde_json::Value>) {
    let file = |name: &str| place.read(&format!("{run}/{name}.safetensors"));
    (file("checkpoint"), file("model"), place.metrics(run))
}

#[test]
fn a_run_whose_device_is_lost_ends_in_a_clear_line_and_goes_on_to_the_same_bits() {
    let network = network(SMALL_DENSE);
    let (train, validation) = (digits(150, 3), digits(70, 4));
    let data = [&train, &validation];
    let steps = 3 * 5;
    // For each owner.
    let count = strikes(8, 25);
    let place = Place::new();
    let mut lost = 0;
    for owner in [Owner::Pinhole, Owner::Application] {
        let whole = format!("{owner:?}");
        let (device, handle, _) = fresh(owner);
        let began = Instant::now();
        let striker = Striker::new(handle, None);
        train_into(&place.path(&whole), (&network, &device), data, &striker).expect("an undisturbed run");
        let took = began.elapsed();
        let expected = result_of(&place, &whole);
        // How long loading takes tells how long to wait in order to strike within it.
        let began = Instant::now();
        drop(Trainer::new(&network, &device, &train, Some(&validation), Options::default()).expect("a trainer"));
        let loading = began.elapsed();

        let chance = random(10 + owner as u64, 2 * count);
        for (index, chance) in chance.chunks(2).enumerate() {
            let part = |whole: Duration| whole.mul_f64(chance[0]);
            let step = 1 + (chance[0] * f64::from(steps)) as u64;
            let moments = [
                Moment::While(Stage::Loads, part(loading)),
                Moment::At(Stage::Stepped(step)),
                Moment::While(Stage::Begins, part(took.mul_f64(0.9))),
                // Validation and the end of the epoch follow its last step within a few milliseconds.
                Moment::While(Stage::Stepped(if chance[1] < 0.5 { 5 } else { 10 }), part(Duration::from_millis(8))),
                Moment::At(Stage::Saves),
                Moment::While(Stage::Stepped(step), part(Duration::from_millis(20))),
                Moment::At([Stage::Begins, Stage::Loads, Stage::Starts][index / 7 % 3]),
            ];
            let moment = moments[index % moments.len()];
            let run = format!("{owner:?}-{index}");
            let what = format!("{owner:?}'s device lost {moment:?}");
            // Every fourth is lost again after it went on.
            for attempt in 0..if index % 4 == 3 { 2 } else { 1 } {
                let (device, handle, faults) = fresh(owner);
                let outcome =
                    train_into(&place.path(&run), (&network, &device), data, &Striker::new(handle, Some(moment)));
                assert_eq!(faults.load(Ordering::SeqCst), 0, "{what}: the application's handler was called");
                match outcome {
                    Ok(()) => continue, // Too late: the run was over.
                    Err(error) => {
                        assert!(matches!(error, Error::DeviceLost { .. }), "{what}: {error}");
                        let text = error.to_string();
                        assert!(
                            text.starts_with("the device was lost: ") && text.contains("--resume"),
                            "{what}: {text}"
                        );
                        assert_eq!(text.lines().count(), 1, "{what}: {text}");
                    }
                }
                lost += usize::from(attempt == 0);
                if place.path(&run).join("model.toml").exists() {
                    let (opened, ..) = RunDirectory::open(&place.path(&run)).expect("a run");
                    opened.checkpoint(&network, 2).expect("a checkpoint");
                }
            }
            let (device, handle, _) = fresh(owner);
            let striker = Striker::new(handle, None);
            train_into(&place.path(&run), (&network, &device), data, &striker).expect("it goes on");
            let result = result_of(&place, &run);
            assert!(result == expected, "{what}: the run went on to something else");
            std::fs::remove_dir_all(place.path(&run)).expect("removed");
        }
    }
    eprintln!("{lost} of {} devices were lost while they were used", 2 * count);
    assert!(lost * 4 >= 2 * count * 3, "only {lost} of {} devices were lost in time", 2 * count);
}

/// The device and, where its driver is Vulkan's on Linux, a folder with a library that makes a faulty one of it.
#[cfg(target_os = "linux")]
fn faulty_driver(place: &Place) -> Option<[std::path::PathBuf; 2]> {
    let Device::Gpu(gpu) = gpu() else { panic!("the tests' device is no GPU") };
    if gpu.summary().backend != "Vulkan" {
        eprintln!("not tested: only Vulkan's drivers can be made faulty, and this is {}", gpu.summary().backend);
        return None;
    }
    let maps = std::fs::read_to_string("/proc/self/maps").expect("what this process has loaded");
    let paths = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    let real = paths.into_iter().find(|path| path.contains("/libvulkan.so")).expect("Vulkan's loader").into();
    let folder = place.path("faulty");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut compiler = std::process::Command::new("rustc");
    compiler.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(folder.join("libvulkan.so.1"));
    let output = compiler.arg(fixture("faulty_vulkan.rs")).output().expect("rustc, to compile the faulty library");
    assert!(output.status.success(), "{output:?}");
    Some([folder, real])
}

/// The program on a driver with this fault. What the library says itself is taken out of what was said.
#[cfg(target_os = "linux")]
fn with_fault(
    place: &Place,
    [folder, real]: &[std::path::PathBuf; 2],
    fault: (&str, u64),
    arguments: &str,
) -> (Said, u64) {
    let mut command = place.command(arguments);
    command.env("LD_LIBRARY_PATH", folder).env("FAULTY_REAL", real).env(fault.0, fault.1.to_string());
    let mut said = said(command.output().expect("the program runs"));
    let own = |line: &&str| line.starts_with("FAULTY: ");
    let calls = said.stderr.lines().rfind(own).and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    said.stderr = said.stderr.lines().filter(|line| !own(line)).map(|line| format!("{line}\n")).collect();
    (said, calls)
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_its_driver_loses_ends_the_program_in_a_clear_line_and_the_run_goes_on() {
    let place = Place::new();
    let Some(driver) = faulty_driver(&place) else { return };
    let train = format!("train --model small.toml --data digits:400 --device {} --log-steps", gpu_name());
    let (said, calls) = with_fault(&place, &driver, ("FAULTY_LOST", u64::MAX), &format!("{train} --out whole"));
    assert!(said.code == Some(0) && calls > 20, "{said:?}, {calls} calls");
    let (mut failed, count) = (0, strikes(6, 50));
    for (index, chance) in random(5, count).into_iter().enumerate() {
        let (run, call) = (format!("run-{index}"), (chance * calls as f64) as u64);
        let (said, _) = with_fault(&place, &driver, ("FAULTY_LOST", call), &format!("{train} --out {run}"));
        // How many calls there are depends a little on how fast the device is.
        if said.code != Some(0) {
            failed += 1;
            assert_eq!(said.code, Some(1), "lost at call {call}: {said:?}");
            let error = said.stderr.trim_end().lines().last().unwrap_or_default();
            let clear = error.starts_with("error: the device was lost: ") && error.contains("--resume");
            let unopened = error.starts_with("error: device \"") && error.contains("it cannot be opened");
            assert!(clear || unopened, "lost at call {call}: {said:?}");
            expect_readable(&place, &run, "lost");
            match place.path(&run).join("model.toml").exists() {
                true => place.ok(&format!("train --resume --out {run}")),
                false => place.ok(&format!("{train} --out {run}")),
            };
        }
        place.expect_same_run(&format!("lost at call {call} of {calls}"), "whole", &run);
        std::fs::remove_dir_all(place.path(&run)).expect("removed");
    }
    eprintln!("the driver lost the device in {failed} of {count} runs of {calls} calls");
    assert!(failed * 4 >= count * 3, "only {failed} of {count} runs failed");
}

// ---- programs that are killed

/// When a program is killed.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// When the metrics tell of so many more epochs, and a part of one after that.
    Epochs(f64),
    /// So long after it began to write a file of the run for this many times.
    Writing(usize, Duration),
    /// So long after it was started.
    Started(Duration),
}

/// Names of files that are being written in a run's directory.
fn being_written(place: &Place, run: &str) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(place.path(run)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().ends_with(".tmp")).collect()
}

/// Starts the program and kills it. Whether it was still running, and whether it was writing a file of the run.
fn killed(place: &Place, (arguments, run): (&str, &str), epoch: Duration, aim: Aim) -> (bool, bool) {
    let before = being_written(place, run);
    let said = match aim {
        Aim::Epochs(epochs) => {
            let when = (epochs_done(place, run) + epochs as usize, epoch.mul_f64(epochs.fract()));
            disturbed(place, (arguments, run), when, |child| child.kill().expect("killed"))
        }
        Aim::Writing(..) | Aim::Started(_) => {
            let mut child = place.command(arguments).spawn().expect("the program runs");
            let began = Instant::now();
            let mut seen = before.clone();
            let delay = match aim {
                Aim::Started(delay) => delay.saturating_sub(began.elapsed()),
                Aim::Writing(times, delay) => {
                    while seen.len() - before.len() <= times && child.try_wait().expect("a status").is_none() {
                        for name in being_written(place, run) {
                            if !seen.contains(&name) {
                                seen.push(name);
                            }
                        }
                    }
                    delay
                }
                Aim::Epochs(_) => Duration::ZERO,
            };
            std::thread::sleep(delay);
            // Where it has ended meanwhile, there is nobody to kill.
            let _ = child.kill();
            said(child.wait_with_output().expect("output"))
        }
    };
    assert!(matches!(said.code, None | Some(0)), "{arguments}: {said:?}");
    (said.code.is_none(), being_written(place, run).iter().any(|name| !before.contains(name)))
}

/// A directory that is a run can be read, whenever its program was killed: the checkpoint, and the model by those who use it.
fn expect_readable(place: &Place, run: &str, what: &str) {
    let path = place.path(run);
    if path.join("model.toml").exists() {
        let (opened, spec, _) = RunDirectory::open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let network = Network::new(spec).expect("a network");
        opened.checkpoint(&network, 2).unwrap_or_else(|error| panic!("{what}: {error}"));
        Autoencoder::load(&path, Device::Cpu).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// Kills runs of the program at random until so many kills have struck, and goes on with each to its end.
fn kill_at_random(device: &str, (samples, epochs): (usize, usize), kills: usize, seed: u64) {
    let place = Place::new();
    let (train, epoch) = long_run(&place, device, samples, epochs);
    // How long the program takes before it goes on: here there is nothing left to do.
    let began = Instant::now();
    place.ok("train --resume --out whole");
    let starting = began.elapsed();
    let (mut struck, mut writing, mut aimed, mut resuming) = (0, 0, 0, 0);
    let mut chance = random(seed, 64 * kills).into_iter();
    for index in 0.. {
        if struck >= kills {
            break;
        }
        assert!(index < 4 * kills, "only {struck} of {index} kills struck");
        let run = format!("run-{index}");
        for attempt in 0..1 + index % 3 {
            let mut next = || chance.next().expect("enough of them");
            let is_run = place.path(&run).join("model.toml").exists();
            let aim = match (next() * 4.0) as usize {
                0 => Aim::Epochs(next() * epochs as f64 / 2.0),
                1 if is_run => Aim::Started(starting.mul_f64(next())),
                // Two files are written after each epoch, and four before the first.
                _ => Aim::Writing((next() * epochs as f64) as usize, Duration::from_secs_f64(next() * 4e-4)),
            };
            let arguments = match is_run {
                true => format!("train --resume --out {run}"),
                false => format!("{train} --out {run}"),
            };
            let (hit, within) = killed(&place, (&arguments, &run), epoch, aim);
            struck += usize::from(hit);
            aimed += usize::from(hit && matches!(aim, Aim::Writing(..)));
            writing += usize::from(within);
            resuming += usize::from(hit && is_run);
            expect_readable(&place, &run, &format!("killed {aim:?}, attempt {attempt} of {run}"));
        }
        if place.path(&run).join("model.toml").exists() {
            if index % 10 == 0 {
                place.ok(&format!("eval {run} --data digits:60 --device cpu"));
            }
            place.ok(&format!("train --resume --out {run}"));
        } else {
            place.ok(&format!("{train} --out {run}"));
        }
        place.expect_same_run("killed", "whole", &run);
        std::fs::remove_dir_all(place.path(&run)).expect("removed");
    }
    eprintln!(
        "{device}: {struck} kills, {resuming} of them after --resume, {writing} within the writing of a file ({aimed} aimed)"
    );
    assert!(writing * 4 >= aimed, "only {writing} of {aimed} kills fell within the writing of a file");
}

#[test]
fn killed_at_random_moments_a_run_resumes_to_the_same_bits() {
    kill_at_random("cpu", (960, 12), strikes(16, 180), 1);
}

#[test]
fn killed_at_random_moments_a_run_on_the_gpu_resumes_to_the_same_bits() {
    kill_at_random(&gpu_name(), (640, 6), strikes(3, 20), 2);
}

// ---- memory and disks that are full

#[cfg(target_os = "linux")]
#[test]
fn a_device_without_memory_leaves_the_last_checkpoint_and_a_clear_line() {
    let place = Place::new();
    let Some(driver) = faulty_driver(&place) else { return };
    let train = format!("train --model dense --data digits:8000 --batch 7000 --device {}", gpu_name());
    place.ok(&format!("{train} --epochs 2 --out whole"));
    place.ok(&format!("{train} --epochs 1 --out run"));
    let names = ["checkpoint.safetensors", "model.safetensors"];
    let before = names.map(|name| place.read(&format!("run/{name}")));
    // Enough to open the device, and enough for some of the buffers.
    for (megabytes, expected) in
        [(1, "error: device \""), (80, "error: out of memory: "), (130, "error: out of memory: ")]
    {
        let limit = ("FAULTY_MEMORY", megabytes * 1_000_000);
        let (said, _) = with_fault(&place, &driver, limit, "train --resume --epochs 2 --out run");
        assert_eq!(said.code, Some(1), "{megabytes} MB: {said:?}");
        assert!(said.stderr.starts_with(expected), "{megabytes} MB: {said:?}");
        assert_eq!(said.stderr.lines().count(), 1, "{megabytes} MB: {said:?}");
        assert!(names.map(|name| place.read(&format!("run/{name}"))) == before, "what was saved has changed");
    }
    place.ok("train --resume --epochs 2 --out run");
    place.expect_same_run("the device was full", "whole", "run");
}

/// The program under a limit of the shell's.
#[cfg(unix)]
fn limited(place: &Place, limit: &str, arguments: &str) -> Said {
    let program = place.command(arguments);
    let mut command = std::process::Command::new("sh");
    // What the shell ignores, the program it turns into ignores.
    command.args(["-c", &format!("trap '' XFSZ; {limit}; exec \"$0\" \"$@\"")]).arg(program.get_program());
    command.args(program.get_args()).current_dir(place.path(""));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    said(command.output().expect("the shell runs"))
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_the_last_checkpoint_and_a_clear_line() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:120 --device cpu --log-steps --out whole");
    place.ok("train --model small.toml --data digits:120 --device cpu --log-steps --epochs 1 --out run");
    let names = ["checkpoint.safetensors", "model.safetensors"];
    let before = names.map(|name| place.read(&format!("run/{name}")));
    // Enough blocks of 512 bytes for the weights, not for a checkpoint, which holds moments too.
    let [checkpoint, weights] = [&before[0], &before[1]].map(|bytes| bytes.len().div_ceil(512));
    for blocks in [weights + 1, (weights + checkpoint) / 2, checkpoint - 1] {
        let said = limited(&place, &format!("ulimit -f {blocks}"), "train --resume --epochs 3 --out run");
        assert_eq!(said.code, Some(1), "{said:?}");
        let error = said.stderr.trim_end().lines().last().unwrap_or_default();
        let expected = "error: cannot write run/checkpoint.safetensors: File too large (os error 27); free some space or \
                        choose another path";
        assert_eq!(error, expected, "{said:?}");
        assert!(names.map(|name| place.read(&format!("run/{name}"))) == before, "what was saved has changed");
        assert_eq!(being_written(&place, "run"), Vec::<std::ffi::OsString>::new());
        place.ok("eval run --data digits:60 --device cpu");
    }
    place.ok("train --resume --epochs 3 --out run");
    place.expect_same_run("the disk was full", "whole", "run");
}
