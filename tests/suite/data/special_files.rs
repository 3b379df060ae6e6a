//! Pipes, sockets and devices where files are expected: refused, never waited for.

use crate::temp::*;
use expect_test::expect;
use std::process::Command;

#[test]
fn what_is_no_file_is_refused_wherever_a_file_is_read() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    for name in ["data.csv", "data", "data.npy", "data.npz", "pictures.png", "pipe.toml", "weights.safetensors"] {
        let status = Command::new("mkfifo").arg(place.path(name)).status();
        assert!(status.is_ok_and(|status| status.success()), "no pipe was made");
    }
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).expect("a socket");
    std::os::unix::fs::symlink(place.path("data.csv"), place.path("link.csv")).expect("a link");
    let train = "train --model small.toml --device cpu --out x";
    let mut messages = String::new();
    for command in [
        &format!("{train} --data data.csv")[..],
        &format!("{train} --data data"),
        &format!("{train} --data data.npz:x"),
        &format!("{train} --data ratings:data.csv"),
        &format!("{train} --data link.csv"),
        &format!("{train} --data socket"),
        &format!("{train} --data /dev/null"),
        &format!("{train} --data digits:60 --targets data.npy"),
        &format!("{train} --data digits:60 --init weights.safetensors"),
        "train --model table --data data.csv --device cpu --out x",
        "train --model pipe.toml --data digits:60 --device cpu --out x",
        "eval run --data pictures.png --device cpu",
        "encode run data.npy codes.npy --device cpu",
        "decode run data.npy copies.npy --device cpu",
        "tune pipe.toml --device cpu --out x",
        "summary pipe.toml",
    ] {
        messages += &format!("{}\n", place.failure(command));
    }
    expect![[r#"
        data.csv: is a pipe, not a file; write what comes out of it to a file, and give that
        data: is a pipe, not a file; write what comes out of it to a file, and give that
        data.npz: is a pipe, not a file; write what comes out of it to a file, and give that
        data.csv: is a pipe, not a file; write what comes out of it to a file, and give that
        link.csv: is a pipe, not a file; write what comes out of it to a file, and give that
        socket: is a socket, not a file; write what comes out of it to a file, and give that
        /dev/null: is a device, not a file; write what comes out of it to a file, and give that
        data.npy: is a pipe, not a file; write what comes out of it to a file, and give that
        weights.safetensors: is a pipe, not a file; write what comes out of it to a file, and give that
        data.csv: is a pipe, not a file; write what comes out of it to a file, and give that
        pipe.toml: is a pipe, not a file; write what comes out of it to a file, and give that
        pictures.png: is a pipe, not a file; write what comes out of it to a file, and give that
        data.npy: is a pipe, not a file; write what comes out of it to a file, and give that
        data.npy: is a pipe, not a file; write what comes out of it to a file, and give that
        pipe.toml: is a pipe, not a file; write what comes out of it to a file, and give that
        pipe.toml: is a pipe, not a file; write what comes out of it to a file, and give that
    "#]]
    .assert_eq(&messages);
    assert!(!place.path("x").exists() && !place.path("codes.npy").exists());
    // Within a run, and in a folder of data, where other names are looked for.
    std::fs::rename(place.path("weights.safetensors"), place.path("run/model.safetensors")).expect("moved");
    let problem = "is a pipe, not a file; write what comes out of it to a file, and give that";
    assert_eq!(place.failure("eval run --data digits:60 --device cpu"), format!("run/model.safetensors: {problem}"));
    for read in [
        pinhole::data::csv::read_csv(place.path("data.csv")).map(drop),
        pinhole::data::idx::read_idx(place.path("data")).map(drop),
        pinhole::data::npy::read_npy(place.path("data.npy")).map(drop),
        pinhole::data::images::read_png(place.path("pictures.png")).map(drop),
    ] {
        let error = read.expect_err("a pipe").to_string();
        assert!(error.ends_with(problem), "{error}");
    }
}

/// What a shell's `<(...)` and `... | pinhole` give.
#[test]
fn the_output_of_a_command_is_refused_and_a_link_to_a_file_is_read() {
    let place = Place::new();
    place.write("rows.csv", b"1,2,3\n4,5,6\n7,8,9\n3,2,1\n");
    place.write(
        "rows.toml",
        b"input = [3]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 3 }]\n[train]\nbatch = 2\n",
    );
    let shell = |script: &str| {
        let program = place.command("train --model rows.toml --device cpu --epochs 1");
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).arg(program.get_program()).args(program.get_args()).current_dir(place.path(""));
        said(shell.output().expect("bash, to give the program pipes"))
    };
    let piped = shell("cat rows.csv | \"$0\" \"$@\" --data /dev/stdin --out a");
    assert_eq!(piped.code, Some(1), "{piped:?}");
    let help = "is a pipe, not a file; write what comes out of it to a file, and give that";
    assert_eq!(piped.stderr, format!("error: /dev/stdin: {help}\n"));
    let substituted = shell("\"$0\" \"$@\" --data <(cat rows.csv) --out b");
    assert!(substituted.code == Some(1) && substituted.stderr.ends_with(&format!(": {help}\n")), "{substituted:?}");
    assert!(!place.path("a").exists() && !place.path("b").exists());
    std::os::unix::fs::symlink(place.path("rows.csv"), place.path("link.csv")).expect("a link");
    place.ok("train --model rows.toml --device cpu --epochs 1 --data link.csv --out c");
}
