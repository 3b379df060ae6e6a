//! Several programs at once: run directories and searches that are in use, and those that are begun at the same moment.

use crate::support::*;
use crate::temp::*;
use expect_test::expect;
use pinhole::Error;
use pinhole::run::RunDirectory;
use std::fs::File;
use std::process::Child;

const SPACE: &str =
    "model = \"small.toml\"\ndata = \"digits:60\"\nmethod = \"grid\"\n[space]\n\"train.batch\" = [8, 16]\n";

/// Starts commands at once, and waits for all of them.
fn at_once(place: &Place, commands: &[&str]) -> Vec<Said> {
    let children: Vec<Child> =
        commands.iter().map(|command| place.command(command).spawn().expect("the program runs")).collect();
    children.into_iter().map(|child| said(child.wait_with_output().expect("output"))).collect()
}

/// Locks a directory as a process of this name would.
fn hold(place: &Place, directory: &str, name: &str) -> File {
    place.write(&format!("{directory}/.lock"), format!("{name}\n").as_bytes());
    let file = File::options().read(true).write(true).open(place.path(directory).join(".lock")).expect("a file");
    file.try_lock().expect("nobody else's");
    file
}

#[test]
fn trainings_begun_at_once_get_directories_of_their_own() {
    let place = Place::new();
    let train = "train --model small.toml --data digits:60 --device cpu --epochs 1";
    for said in at_once(&place, &[train; 4]) {
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(place.names("runs"), ["small-1", "small-2", "small-3", "small-4"]);
    for run in ["small-2", "small-3", "small-4"] {
        place.expect_same_run("begun at once", "runs/small-1", &format!("runs/{run}"));
    }
}

#[test]
fn of_two_that_want_one_directory_one_goes_on() {
    let place = Place::new();
    place.write("space.toml", SPACE.as_bytes());
    std::fs::create_dir(place.path("run")).expect("an empty folder may be given");
    let train = "train --model small.toml --data digits:600 --device cpu";
    place.ok(&format!("{train} --epochs 1 --out resumed"));
    for (command, directory) in [
        (&format!("{train} --epochs 9 --out run")[..], "run"),
        ("train --resume --epochs 12 --out resumed", "resumed"),
        ("tune space.toml --device cpu --out found", "found"),
    ] {
        let both = at_once(&place, &[command; 2]);
        let (done, refused): (Vec<&Said>, Vec<&Said>) = both.iter().partition(|said| said.code == Some(0));
        // One that comes late goes on with what there is by then.
        assert!(!done.is_empty(), "{both:?}");
        for said in refused {
            let error = said.stderr.lines().last().unwrap_or_default();
            let clear = error.starts_with(&format!("error: {directory}: is in use by process "))
                || error == "error: run: already holds a run; continue it with --resume, or choose another --out";
            assert!(said.code == Some(1) && said.stdout.is_empty() && clear, "{both:?}");
        }
    }
    for (run, epochs) in [("run", 9), ("resumed", 12)] {
        let metrics = place.lines(&format!("{run}/metrics.jsonl"));
        let found: Vec<u64> = metrics.iter().filter_map(|line| line["epoch"].as_u64()).collect();
        assert_eq!(found, (1..=epochs).collect::<Vec<_>>(), "{run}");
        assert_eq!(place.names(run), RUN_FILES);
    }
    assert_eq!(place.lines("found/trials.jsonl").len(), 2);
}

#[test]
fn whatever_is_in_use_is_refused_and_read_all_the_same() {
    let place = Place::new();
    place.write("space.toml", SPACE.as_bytes());
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out runs/run");
    let begun = place.read("runs/run/checkpoint.safetensors");
    // A search that a kill ended before its first line was written.
    place.ok("tune space.toml --device cpu --out tried");
    std::fs::remove_file(place.path("tried/trials.jsonl")).expect("removed");
    let holder = "process 7 on another since 2026-01-31 23:59:59 UTC";
    let directories = ["runs/run", "new", "layers", "half/layer-1", "classes", "found", "tried/trial-001"];
    let locks = directories.map(|directory| hold(&place, directory, holder));
    let mut messages = String::new();
    for command in [
        "train --resume --epochs 2 --out runs/run",
        "train --resume --epochs 2",
        "train --model small.toml --data digits:60 --device cpu --out new",
        "pretrain small.toml --data digits:60 --device cpu --out layers",
        "pretrain small.toml --data digits:60 --device cpu --out half",
        "classify runs/run --data digits:60 --device cpu --out classes",
        "tune space.toml --device cpu --out found",
        "tune space.toml --device cpu --out tried",
    ] {
        let said = place.run(command);
        assert_eq!((said.code, &said.stdout[..]), (Some(1), ""), "{command}: {said:?}");
        messages += &format!("{}\n", said.stderr.lines().last().unwrap_or_default());
    }
    expect![[r#"
        error: runs/run: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: runs/run: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: new: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: layers: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: half/layer-1: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: classes: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: found: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
        error: tried/trial-001: is in use by process 7 on another since 2026-01-31 23:59:59 UTC; wait until that ends, or choose another --out
    "#]]
    .assert_eq(&messages);
    assert!(place.read("runs/run/checkpoint.safetensors") == begun);
    for directory in ["new", "layers", "half/layer-1", "classes", "found"] {
        assert_eq!(place.names(directory), [".lock"], "nothing is written into {directory}");
    }
    place.ok("eval runs/run --data digits:60 --device cpu");
    place.ok("encode runs/run digits:60 codes.npy --device cpu");
    // What a killed process leaves locks nothing.
    drop(locks);
    place.ok("train --resume --epochs 2 --out runs/run");
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out new");
    place.ok("tune space.toml --device cpu --out tried");
    assert_eq!(place.names("runs/run"), RUN_FILES);
    assert_eq!(place.names("new"), RUN_FILES);
}

#[test]
fn the_library_locks_a_run_too_and_says_who_holds_it() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let (run, ..) = RunDirectory::open(&place.path("run")).expect("a run");
    let expected = format!("run: is in use by process {} on ", std::process::id());
    let said = place.failure("train --resume --out run");
    assert!(said.starts_with(&expected) && said.contains(" UTC; wait until that ends"), "{said}");
    let error = RunDirectory::open(&place.path("run")).expect_err("it is in use");
    assert!(matches!(error, Error::File { .. }), "{error}");
    drop(run);
    RunDirectory::open(&place.path("run")).expect("a run");
    assert_eq!(place.names("run"), RUN_FILES);
}

/// A run that is moved away while it is trained leaves what stands in its place alone.
#[cfg(unix)]
#[test]
fn a_lock_ends_with_its_own_file_only() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let (run, ..) = RunDirectory::open(&place.path("run")).expect("a run");
    std::fs::rename(place.path("run"), place.path("moved")).expect("moved");
    let other = hold(&place, "run", "another");
    drop(run);
    assert_eq!(place.names("run"), [".lock"]);
    drop(other);
}

/// A file system without locks, which a library put in front of the system's plays.
#[cfg(target_os = "linux")]
#[test]
fn without_locks_there_is_a_warning_and_the_run_goes_on() {
    let place = Place::new();
    let library = place.path("no_locks.so");
    let mut compiler = std::process::Command::new("rustc");
    compiler.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&library);
    let output = compiler.arg(fixture("no_locks.rs")).output().expect("rustc, to compile the library");
    assert!(output.status.success(), "{output:?}");
    let mut command = place.command("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let said = said(command.env("LD_PRELOAD", library).output().expect("the program runs"));
    assert_eq!(said.code, Some(0), "{said:?}");
    expect![[r#"
        run: is not locked, since its file system has no locks (No locks available (os error 37)); begin nothing else in it
        training 38758 parameters on 60 samples of digits (10 to validate), on cpu, into run
        model, metrics and pictures are in run
    "#]]
    .assert_eq(&said.stderr);
    assert_eq!(place.names("run"), RUN_FILES);
}
