//! Stopping and going on: Ctrl-C, kills at any moment, limits of steps.

use crate::support::*;
use crate::temp::*;
use std::process::Command;
use std::time::{Duration, Instant};

// ---- stopping and going on

#[test]
fn what_cannot_be_resumed_is_told_in_one_line() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let checkpoint = place.read("run/checkpoint.safetensors");
    place.write("bare/readme", b"");
    let resume = "train --resume --epochs 2 --out run";
    place.fail(&[
        (
            "train --resume",
            "--resume: there is no run under runs; give --out the directory of a run, or leave --resume out",
        ),
        (
            "train --resume --out nowhere",
            "nowhere: holds no run to resume: there is no model.toml; give --out the directory of a run, or start \
             without --resume",
        ),
        (
            "train --resume --out bare",
            "bare: holds no run to resume: there is no model.toml; give --out the directory of a run, or start \
             without --resume",
        ),
        (
            "train --resume --out small.toml",
            "small.toml: holds no run to resume: there is no model.toml; give --out the directory of a run, or \
             start without --resume",
        ),
    ]);
    let expect_damaged = |bytes: &[u8], problem: &str| {
        place.write("run/checkpoint.safetensors", bytes);
        let help = "it is damaged or another model's: start a new run with another --out";
        assert_eq!(place.failure(resume), format!("run/checkpoint.safetensors: {problem}; {help}"));
    };
    expect_damaged(
        &checkpoint[..checkpoint.len() - 7],
        "is no safetensors file: incomplete metadata, file not fully covered",
    );
    expect_damaged(&[0xa5; 100], "is no safetensors file: header too large");
    expect_damaged(&[], "is no safetensors file: header too small");
    expect_damaged(&place.read("run/model.safetensors"), "is no checkpoint: it has no \"progress\"");
    place.ok("train --model small.toml --set encoder.2.linear=5 --data digits:60 --device cpu --epochs 1 --out other");
    expect_damaged(
        &place.read("other/checkpoint.safetensors"),
        "parameter \"encoder.2.weight\" is [5, 24], the model's is [6, 24]",
    );
    let begins = br#"{\"epoch\""#;
    let text = checkpoint.windows(begins.len()).position(|window| window == begins).expect("the progress");
    let mut wrong = checkpoint.clone();
    wrong[text] = b'q';
    expect_damaged(&wrong, "its \"progress\" cannot be read: expected value at line 1 column 1");
    place.write("run/checkpoint.safetensors", &checkpoint);

    let settings = place.read("run/run.toml");
    place.write("run/run.toml", b"data = 3");
    place.fail(&[(
        resume,
        "run/run.toml: invalid type: integer `3`, expected a string; restore the file, or start a new run with another \
         --out",
    )]);
    place.write("run/run.toml", &settings);
    place.fail(&[(
        &format!("{resume} --new-data --data digits:20"),
        "batch 32: data \"digits\" has only 20 samples to train on; use --batch 20 or less",
    )]);
    place.ok(resume);
    assert_eq!(place.lines("run/metrics.jsonl").len(), 2);
}

/// What a kill between two writes leaves behind, each case made by hand.
#[test]
fn a_run_that_was_killed_between_two_writes_is_made_whole() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:120 --device cpu --log-steps";
    place.ok(&format!("{train} --out whole"));
    place.ok(&format!("{train} --out run"));
    let checkpoint = place.read("run/checkpoint.safetensors");
    // After the last checkpoint: no weights, no pictures, half a file.
    for name in ["model.safetensors", "loss.png", "reconstructions.png"] {
        std::fs::remove_file(place.path("run").join(name)).expect("removed");
    }
    place.write("run/.model.safetensors.123-4.tmp", b"half");
    place.write("run/.checkpoint.safetensors.99-0.tmp", b"half");
    place.ok("train --resume --out run");
    place.expect_same_run("killed after the last checkpoint", "whole", "run");
    assert!(place.read("run/checkpoint.safetensors") == checkpoint);

    // After an epoch's line and before its checkpoint; the next line is cut.
    place.ok(&format!("{train} --epochs 2 --out early"));
    let mut text = place.read("early/metrics.jsonl");
    text.extend(
        b"{\"step\":9,\"loss\":0.5}\n{\"epoch\":3,\"train_loss\":0.5,\"val_loss\":0.5,\"val_mse\":0.5,\"seconds\":1.0,",
    );
    text.extend(b"\"device\":\"cpu\"}\n{\"step\":10,\"lo");
    place.write("early/metrics.jsonl", &text);
    place.ok("train --resume --epochs 3 --out early");
    place.expect_same_run("killed after an epoch's line", "whole", "early");

    // Before the run was one: what is there is no run, and a new one may begin in the same place.
    place.write("begun/checkpoint.safetensors", &checkpoint);
    place.write("begun/metrics.jsonl", b"{\"step\":1,\"loss\":0.5}\n");
    place.write("begun/.run.toml.99-0.tmp", b"half");
    place.fail(&[(
        "train --resume --out begun",
        "begun: holds no run to resume: there is no model.toml; give --out the directory of a run, or start without \
         --resume",
    )]);
    place.ok(&format!("{train} --out begun"));
    place.expect_same_run("killed before it was a run", "whole", "begun");
}

#[test]
fn a_run_ended_by_steps_can_be_resumed_with_more_or_as_it_is() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:120 --device cpu --log-steps";
    place.ok(&format!("{train} --out whole"));
    // Six steps: an epoch and a half. Nothing is left to do, and nothing is lost.
    place.ok(&format!("{train} --steps 6 --out run"));
    place.ok(&format!("{train} --steps 6 --out six"));
    let said = place.ok("train --resume --out run");
    assert_eq!(said.stdout, "");
    place.expect_same_run("nothing left to do", "six", "run");
    // More steps: the half epoch's line gives way to the whole one's.
    place.ok("train --resume --steps 12 --out run");
    place.expect_same_run("more steps", "whole", "run");
    // More epochs than the model file asked for.
    let said = place.ok("train --resume --epochs 4 --steps 16 --out run");
    assert_eq!(said.stdout.lines().count(), 1);
    assert_eq!(place.metrics("run")[..15], place.metrics("whole")[..]);
}

/// Trains an undisturbed run, long enough to be stopped; its command and about how long an epoch takes.
pub fn long_run(place: &Place, device: &str, samples: usize, epochs: usize) -> (String, Duration) {
    assert!(!device.contains(' '), "the tests' device must be named without a space: {device}");
    let train =
        format!("train --model small.toml --data digits:{samples} --device {device} --epochs {epochs} --log-steps");
    place.ok(&format!("{train} --out whole"));
    let lines = place.lines("whole/metrics.jsonl");
    let seconds: Vec<f64> = lines.iter().filter_map(|line| line.get("seconds")?.as_f64()).collect();
    (train, Duration::from_secs_f64(seconds.iter().sum::<f64>() / seconds.len() as f64))
}

/// Epochs that a run's metrics tell of; none where it has not begun.
pub fn epochs_done(place: &Place, run: &str) -> usize {
    let text = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("{\"epoch\"")).count()
}

/// Starts a command that writes into `run`, does something to it a while after the metrics tell of so many epochs, and
/// waits for its end. Counting epochs and not seconds, it does not depend on how busy the machine is.
pub fn disturbed(
    place: &Place,
    (arguments, run): (&str, &str),
    (epochs, after): (usize, Duration),
    act: impl Fn(&mut std::process::Child),
) -> Said {
    let mut child = place.command(arguments).spawn().expect("the program runs");
    let running = |child: &mut std::process::Child| child.try_wait().expect("a status").is_none();
    let pause = || std::thread::sleep(Duration::from_micros(500));
    while running(&mut child) && epochs_done(place, run) < epochs {
        pause();
    }
    let reached = Instant::now();
    while running(&mut child) && reached.elapsed() < after {
        pause();
    }
    if running(&mut child) {
        act(&mut child);
    }
    said(child.wait_with_output().expect("output"))
}

#[cfg(unix)]
fn interrupt(child: &mut std::process::Child) {
    let status = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(status.is_ok_and(|status| status.success()), "no interrupt was sent");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_everything_and_resume_gives_the_same_bits() {
    for (device, samples, epochs) in [("cpu".to_owned(), 3200, 30), (gpu_name(), 1600, 12)] {
        let place = Place::new();
        let (train, epoch) = long_run(&place, &device, samples, epochs);
        let mut interruptions = 0;
        let mut arguments = format!("{train} --out run");
        loop {
            // After an epoch the program surely listens.
            let when = (epochs_done(&place, "run") + epochs / 5, epoch.mul_f64(0.3));
            let said = disturbed(&place, (&arguments, "run"), when, interrupt);
            if said.code == Some(0) {
                break;
            }
            assert_eq!(said.code, Some(130), "{said:?}");
            interruptions += 1;
            let (before, last) = said.stderr.trim_end().rsplit_once('\n').expect("two lines");
            let step = last
                .strip_prefix("stopped after step ")
                .and_then(|rest| rest.strip_suffix("; continue with --resume --out run"));
            let step: u64 = step.and_then(|step| step.parse().ok()).unwrap_or_else(|| panic!("{said:?}"));
            assert!(
                before.ends_with("stopping after the current steps (a second signal stops immediately)"),
                "{said:?}"
            );
            // Everything is saved: every step's loss, and weights that can be used.
            let metrics = place.lines("run/metrics.jsonl");
            let steps = metrics.iter().filter_map(|line| line.get("step")).map(|step| step.as_u64().expect("a number"));
            assert_eq!(steps.collect::<Vec<_>>(), (1..=step).collect::<Vec<_>>());
            place.ok("eval run --data digits:60 --device cpu");
            arguments = "train --resume --out run".to_owned();
        }
        assert!(interruptions >= 3, "stopped only {interruptions} times");
        place.expect_same_run(&format!("interrupted {interruptions} times on {device}"), "whole", "run");
    }
}

/// Loading as many digits takes longer than anyone waits: nothing is begun, and nothing waits for the data.
#[cfg(unix)]
#[test]
fn a_signal_ends_the_program_while_data_load() {
    let place = Place::new();
    place.write(
        "space.toml",
        b"model = \"small.toml\"\ndata = \"digits:1000000\"\nmethod = \"grid\"\n[space]\n\"train.batch\" = [8, 16]\n",
    );
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let before = place.read("run/checkpoint.safetensors");
    for (signal, command) in [
        ("INT", "train --model small.toml --data digits:1000000 --device cpu --out new"),
        ("TERM", "train --resume --new-data --data digits:1000000 --out run"),
        ("TERM", "pretrain small.toml --data digits:1000000 --device cpu --out new"),
        ("TERM", "classify run --data digits:1000000 --device cpu --out new"),
        ("HUP", "tune space.toml --device cpu --out new"),
    ] {
        let child = place.command(command).spawn().expect("the program runs");
        // It listens for signals first of all.
        let status = format!("/proc/{}/status", child.id());
        let listens = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> 1 & 1 == 1)
        };
        let began = Instant::now();
        while cfg!(target_os = "linux") && !listens() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(30));
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(status.is_ok_and(|status| status.success()), "no signal was sent");
        let said = said(child.wait_with_output().expect("output"));
        assert_eq!(said.code, Some(130), "{command}: {said:?}");
        assert_eq!(said.stderr.lines().last(), Some("stopped before training began"), "{command}: {said:?}");
        assert!(!place.path("new").exists(), "{command}");
    }
    assert!(place.read("run/checkpoint.safetensors") == before);
    place.ok("train --resume --out run --epochs 2");
}

/// On a terminal, which `script` plays.
#[cfg(target_os = "linux")]
#[test]
fn a_run_with_nothing_left_to_do_shows_no_bar() {
    let place = Place::new();
    let on_terminal = |arguments: &str| {
        let program = place.command("");
        let line = format!("{} {arguments}", program.get_program().to_string_lossy());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).current_dir(place.path(""));
        script.env("TERM", "xterm").env("PINHOLE_CACHE", "").stdin(std::process::Stdio::null());
        let said = said(script.output().expect("script, to play a terminal"));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout
    };
    let bar = |epoch: u64| format!("epoch {epoch} ");
    let shown = on_terminal("train --model small.toml --data digits:600 --device cpu --epochs 2 --out run");
    assert!(shown.contains(&bar(1)) && shown.contains(&bar(2)) && !shown.contains(&bar(3)), "{shown}");
    let shown = on_terminal("train --resume --out run");
    assert!(shown.contains("nothing is left to do") && !shown.contains(&bar(3)), "{shown}");
}

/// Uniform numbers from 0 to 1, the same each time.
pub fn random(seed: u64, count: usize) -> Vec<f64> {
    use pinhole::rng::{HostStream, Sequence};
    let mut sequence = Sequence::new(seed, HostStream::Split, 0);
    (0..count).map(|_| f64::from(sequence.unit())).collect()
}

/// From the first moment on, a run that is killed either is none yet or can be resumed.
#[test]
fn killed_while_it_begins_a_run_is_whole_or_none() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:120 --device cpu --log-steps";
    let is_run = |run: &str| place.path(run).join("model.toml").exists();
    // From when its folder appears, a handful of files are written, the one that makes a run of it last.
    let wait_for_folder = |run: &str| {
        let mut child = place.command(&format!("{train} --out {run}")).spawn().expect("the program runs");
        while !place.path(run).exists() && child.try_wait().expect("a status").is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        (child, Instant::now())
    };
    let (mut child, appeared) = wait_for_folder("whole");
    while !is_run("whole") && child.try_wait().expect("a status").is_none() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let writing = appeared.elapsed();
    assert_eq!(said(child.wait_with_output().expect("output")).code, Some(0));
    let mut begun = 0;
    for (index, fraction) in random(3, 12).into_iter().enumerate() {
        let run = format!("run-{index}");
        let (mut child, _) = wait_for_folder(&run);
        std::thread::sleep(writing.mul_f64(1.5 * fraction));
        child.kill().expect("killed");
        said(child.wait_with_output().expect("output"));
        begun += usize::from(is_run(&run));
        if is_run(&run) {
            place.ok(&format!("train --resume --out {run}"));
        } else {
            assert!(place.failure(&format!("train --resume --out {run}")).contains("holds no run to resume"));
            place.ok(&format!("{train} --out {run}"));
        }
        place.expect_same_run(&format!("killed {fraction} of 1.5 times {writing:?} after it began"), "whole", &run);
    }
    eprintln!("{begun} of 12 were runs when they were killed");
}
