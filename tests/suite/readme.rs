//! The commands of the README and of the reference pages. Every `sh` block of a page runs as written, in order, in one folder per
//! page, unless a comment above the block gives a reason. Commands and options that a page names must exist.
//!
//! The blocks are written for the root of a checkout, so the folder links to the folders of the checkout, and `cargo` there is
//! [`CARGO`]: `cargo run` is the program that cargo has built for these tests, and examples are built and run by cargo.

use crate::temp::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Path and text of every page with commands.
const PAGES: [(&str, &str); 8] = [
    ("README.md", include_str!("../../README.md")),
    ("src/cli/README.md", PROGRAM),
    ("src/model/README.md", MODEL_FILES),
    ("src/data/README.md", include_str!("../../src/data/README.md")),
    ("src/plan/README.md", include_str!("../../src/plan/README.md")),
    ("examples/README.md", include_str!("../../examples/README.md")),
    ("tests/README.md", include_str!("../../tests/README.md")),
    ("benches/README.md", include_str!("../../benches/README.md")),
];

/// The page that describes every command.
const PROGRAM: &str = include_str!("../../src/cli/README.md");

/// The page that describes every key of a model file.
const MODEL_FILES: &str = include_str!("../../src/model/README.md");

/// What must stand above a block that is not run, with the reason.
const NOT_RUN: &str = "<!-- not run by the tests: ";

/// `cargo` as the blocks know it. `cargo install` leaves the program where it is: on the path.
const CARGO: &str = r#"
cargo() {
    case "$*" in
        "run --release -- "*) shift 3; pinhole "$@" ;;
        "run --release --example "*) (shift; command "${CARGO:-cargo}" run --quiet --manifest-path "$REPOSITORY/Cargo.toml" "$@") ;;
        "install --path . --locked") ;;
        *) echo "no test knows how to run: cargo $*" >&2; return 1 ;;
    esac
}
"#;

/// A fenced `sh` block.
#[derive(Debug, PartialEq)]
struct Block {
    /// The line of its fence, counted from 1.
    line: usize,
    script: String,
    /// Why it is not run.
    reason: Option<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut above = "";
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with("```") {
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
            if line == "```sh" {
                let reason = above.strip_prefix(NOT_RUN).and_then(|rest| rest.strip_suffix(" -->"));
                let reason = reason.filter(|reason| !reason.trim().is_empty()).map(str::to_owned);
                blocks.push(Block { line: number + 1, script: body.join("\n"), reason });
            }
        }
        above = line;
    }
    blocks
}

/// A checkout's root, without anything that commands leave there.
fn checkout() -> Place {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["Cargo.toml", "benches", "examples", "shaders", "src", "tests"] {
        std::os::unix::fs::symlink(root.join(name), place.path(name)).expect("a link");
    }
    place
}

/// Runs a script as a shell does that stops at the first failure; what it said where it failed.
fn run(place: &Place, script: &str) -> Result<(), String> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_pinhole"));
    let folders = program.parent().into_iter().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).expect("a path");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut bash = Command::new("bash");
    // What cargo tells tests of this package would make it build those again that other packages look at.
    let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start));
    std::env::vars_os().filter(|(name, _)| told(&name.to_string_lossy())).for_each(|(name, _)| {
        bash.env_remove(name);
    });
    let output = bash
        .args(["-euo", "pipefail", "-c", &format!("{CARGO}{script}")])
        .current_dir(place.path(""))
        .envs([("PATH", path), ("CARGO", cargo), ("REPOSITORY", env!("CARGO_MANIFEST_DIR").into())])
        .env("PINHOLE_CACHE", place.path("cache"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

#[test]
fn every_command_of_the_pages_runs() {
    let mut run_lines = 0;
    for (page, text) in PAGES {
        let place = checkout();
        for Block { line, script, reason } in blocks(text) {
            if let Some(reason) = reason {
                println!("{page}:{line} is not run: {reason}");
                continue;
            }
            let began = std::time::Instant::now();
            run(&place, &script).unwrap_or_else(|said| panic!("{page}:{line} fails:\n{script}\n{said}"));
            println!("{page}:{line} took {:.1} s", began.elapsed().as_secs_f64());
            run_lines += script.lines().count();
        }
        // Files that the pages say the commands leave.
        let files: &[&str] = match page {
            "README.md" => &["runs/conv-1/reconstructions.png", "runs/small/model.safetensors", "copies.png"],
            "src/cli/README.md" => &["codes.npy", "copies.npy", "runs/vae/generated.png", "runs/bits/found.png"],
            _ => &[],
        };
        for name in files {
            assert!(place.path(name).is_file(), "{page}: {name}");
        }
    }
    assert!(run_lines >= 50, "only {run_lines} lines were run: are the pages' blocks still found?");
}

#[test]
fn a_failing_command_of_a_page_is_noticed() {
    let place = checkout();
    let text = "```sh\nfalse\ntrue\n```\n\n```text\nno command\n```\n<!-- not run by the tests: it asks for money -->\n```sh\nbuy\n```\n\
                <!-- not run by the tests:  -->\n```sh\ncargo publish\n```\n";
    let found = blocks(text);
    let reasons: Vec<Option<&str>> = found.iter().map(|block| block.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("it asks for money"), None]);
    assert!(run(&place, &found[0].script).is_err());
    let said = run(&place, &found[2].script).expect_err("an unknown command of cargo");
    assert!(said.contains("no test knows how to run: cargo publish"), "{said}");
    let said = run(&place, "cargo run --release -- train --no-such-option").expect_err("an unknown option");
    assert!(said.contains("--no-such-option"), "{said}");
    run(&place, "cargo run --release -- summary conv").expect("a good command");
}

/// Inline code and the lines of blocks that begin with the program's name, without it.
fn mentions(text: &str) -> Vec<&str> {
    let starts = ["pinhole ", "cargo run --release -- "];
    let spans = text.split('`').chain(text.lines());
    spans.filter_map(|span| starts.iter().find_map(|start| span.strip_prefix(start))).collect()
}

#[test]
fn the_pages_name_commands_and_options_that_exist() {
    let place = Place::new();
    let help = place.ok("--help").stdout;
    let known: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    assert!(known.len() > 10, "{help}");
    let mut helps: BTreeMap<&str, String> = BTreeMap::new();
    for (page, mention) in PAGES.into_iter().flat_map(|(page, text)| mentions(text).into_iter().map(move |m| (page, m)))
    {
        let words: Vec<&str> =
            mention.split(|c: char| c.is_whitespace() || "[]|".contains(c)).filter(|word| !word.is_empty()).collect();
        let Some(command) = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else { continue };
        assert!(known.contains(command), "{page} speaks of `pinhole {mention}`");
        let help = helps.entry(command).or_insert_with(|| place.ok(&format!("{command} --help")).stdout);
        for option in words.iter().take_while(|word| **word != "#").filter_map(|word| word.strip_prefix("--")) {
            let name = option.split(['=', ',', '.', ')', ';']).next().unwrap_or_default();
            assert!(help.contains(&format!("--{name}")), "{page}: `pinhole {mention}`: no option --{name}");
        }
    }
    let described: Vec<&str> = mentions(PROGRAM).iter().filter_map(|mention| mention.split(' ').next()).collect();
    let missing: Vec<&&str> = known.iter().filter(|name| **name != "help" && !described.contains(name)).collect();
    assert!(missing.is_empty(), "src/cli/README.md does not describe {missing:?}");
}

/// The first two cells of the rows of all tables, sorted, by the table's first heading.
fn tables(text: &str) -> BTreeMap<&str, Vec<[&str; 2]>> {
    let mut tables: BTreeMap<&str, Vec<[&str; 2]>> = BTreeMap::new();
    let mut heading = None;
    for line in text.lines() {
        let mut cells = line.split('|').skip(1).map(str::trim);
        match (cells.next(), cells.next(), heading) {
            (Some("---"), ..) => {}
            (Some(first), Some(_), None) => heading = Some(first),
            (Some(first), Some(second), Some(heading)) => tables.entry(heading).or_default().push([first, second]),
            _ => heading = None,
        }
    }
    tables.values_mut().for_each(|rows| rows.sort_unstable());
    tables
}

#[test]
fn the_reference_of_model_files_has_the_keys_and_defaults_that_the_program_has() {
    let printed = Place::new().ok("schema --markdown").stdout;
    let (printed, page) = (tables(&printed), tables(MODEL_FILES));
    assert!(printed.len() >= 11 && printed["layer"].len() > 60, "{printed:?}");
    for (heading, rows) in printed {
        let expected = rows.iter().collect::<Vec<_>>();
        let found = page.get(heading).into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(found, expected, "src/model/README.md, table {heading:?}: see pinhole schema --markdown");
    }
}
