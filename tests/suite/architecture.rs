//! The structure of the sources, read from their text: no import upward, no file cycle, no long file or function, no
//! wildcard where an op or a kernel is matched, no file name that hides its subject.
//!
//! An import counts for the file that defines what is imported: re-exports in a folder's `mod.rs` are followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The floors, lowest first. A file imports from its own room, its own floor and the floors below.
const FLOORS: &[&[&str]] = &[
    &["error", "shape", "tensor", "files", "rng", "suggest"],
    &["schema"],
    &["graph"],
    &["plan"],
    &["cpu", "gpu", "device"],
    &["nn"],
    &["data", "draw"],
    &["model"],
    &["train"],
    &["autoencoder"],
    &["run"],
    &["tune"],
    &["task"],
    &["bench"],
    &["cli"],
];
/// Cycles by nature: the rules of a layer name the lists of layers inside it.
const NATURAL_CYCLES: &[&[&str]] = &[&["nn/layer/kind.rs", "nn/layer/mod.rs"]];
const LONGEST_FILE: usize = 700;
const LONGEST_FUNCTION: usize = 80;
/// Functions that are one match over all kernels, ops or statements, by file and name.
const EXECUTORS: &[[&str; 2]] = &[["cpu/mod.rs", "execute"], ["cpu/elementwise.rs", "chunk"]];
/// Names of files that do not say their subject.
const NAMES: &[&str] = &["told", "beside", "through", "chosen", "closed", "place", "row", "held"];

/// A file of the sources: its path below `src`, its text, and the text with comments and strings blanked.
struct Source {
    path: String,
    text: String,
    code: String,
}

/// All files of `src` but the program's `main.rs`, in the order of their paths.
fn sources() -> Vec<Source> {
    fn below(folder: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                below(&path, root, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let path = path.strip_prefix(root).expect("below src").to_str().expect("UTF-8").replace('\\', "/");
                found.push(Source { code: blanked(&text), path, text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    below(&root, &root, &mut found);
    found.retain(|source| source.path != "main.rs");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text with comments, strings and characters replaced by blanks, line for line.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['"', ..] => 1 + string_end(&rest[1..]),
            ['r', '"' | '#', ..] if !after_word => raw_string(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().position(|c| *c == '\'').expect("a character's end"),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if length == 0 {
            code.push(rest[0]);
        }
        code.extend(rest[..length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at += length.max(1);
    }
    code
}

/// Characters to a string's end, its quote included.
fn string_end(rest: &[char]) -> usize {
    let mut at = 0;
    while rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a raw string, or 0 where `r#` begins a name.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let closes = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (2 + hashes..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

/// The paths of a tree of imports, such as `crate::{error::Error, shape::{self, Shape}}`.
fn expand(prefix: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let words = |text: &str| -> Vec<String> {
        text.split("::").map(|word| word.split_whitespace().next().unwrap_or("").to_owned()).collect()
    };
    let Some(open) = tree.find('{') else {
        let path = [prefix, &words(tree)].concat();
        paths.push(path.into_iter().filter(|word| !word.is_empty()).collect());
        return;
    };
    let prefix = [prefix, &words(&tree[..open])].concat();
    let inner = &tree[open + 1..tree.rfind('}').expect("a closed tree")];
    let (mut depth, mut from) = (0, 0);
    for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[from..at].trim().is_empty() {
                    expand(&prefix, &inner[from..at], paths);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// What a file's text says of other modules.
struct Imports {
    /// Paths from the crate's root.
    used: Vec<Vec<String>>,
    /// Names that are handed on by `pub use`, and where they come from.
    handed_on: BTreeMap<String, Vec<String>>,
}

/// The module of a file, by its names from the crate's root.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = if path == "lib" { "" } else { path.strip_suffix("/mod").unwrap_or(path) };
    path.split('/').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A path as the file of `module` writes it, from the crate's root; none for other crates.
fn absolute(module: &[String], path: &[String], modules: &BTreeMap<Vec<String>, usize>) -> Option<Vec<String>> {
    let up = path.iter().take_while(|word| *word == "super").count();
    match path.first().map(String::as_str) {
        Some("crate") => Some(path[1..].to_vec()),
        Some("self") => Some([module, &path[1..]].concat()),
        Some("super") => Some([&module[..module.len().checked_sub(up)?], &path[up..]].concat()),
        Some(first) => {
            let child = [module, &[first.to_owned()]].concat();
            modules.contains_key(&child).then(|| [module, path].concat())
        }
        None => None,
    }
}

fn imports(source: &Source, modules: &BTreeMap<Vec<String>, usize>) -> Imports {
    let here = module(&source.path);
    let mut found = Imports { used: Vec::new(), handed_on: BTreeMap::new() };
    let mut rest = String::new();
    let mut lines = source.code.lines();
    while let Some(line) = lines.next() {
        let statement = line.trim_start();
        let public = statement.starts_with("pub");
        let statement = match statement.split_once("use ") {
            Some(("" | "pub " | "pub(crate) " | "pub(super) ", tree)) => tree,
            _ => {
                rest.push_str(line);
                rest.push('\n');
                continue;
            }
        };
        let mut tree = statement.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().expect("an end of an import"));
        }
        let mut paths = Vec::new();
        expand(&[], &tree[..tree.find(';').expect("an end")], &mut paths);
        for path in paths.iter().filter_map(|path| absolute(&here, path, modules)) {
            match path.last() {
                Some(name) if public => drop(found.handed_on.insert(name.clone(), path)),
                _ => found.used.push(path),
            }
        }
    }
    // Paths that are written out where they are used.
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for path in rest.split(|c| !is_word(c)) {
        let path: Vec<String> = path.trim_end_matches(':').split("::").map(str::to_owned).collect();
        if path.len() > 1 && matches!(path[0].as_str(), "crate" | "super" | "self") {
            found.used.extend(absolute(&here, &path, modules));
        }
    }
    found
}

/// Which file imports from which.
fn graph(sources: &[Source]) -> Vec<BTreeSet<usize>> {
    let modules: BTreeMap<Vec<String>, usize> =
        sources.iter().enumerate().map(|(number, source)| (module(&source.path), number)).collect();
    let imports: Vec<Imports> = sources.iter().map(|source| imports(source, &modules)).collect();
    let defining = |path: &[String]| -> usize {
        let mut path = path.to_vec();
        // A chain of re-exports is short; a circle of them is no Rust.
        for _ in 0..8 {
            let known = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length])).expect("the root");
            let file = modules[&path[..known]];
            match path.get(known).and_then(|name| imports[file].handed_on.get(name)) {
                Some(from) if *from != path[..=known] => path = [from.as_slice(), &path[known + 1..]].concat(),
                _ => return file,
            }
        }
        panic!("re-exports go round in a circle: {path:?}");
    };
    let files = imports.iter().enumerate().map(|(number, imports)| {
        let others = imports.used.iter().map(|path| defining(path)).filter(|file| *file != number);
        others.collect()
    });
    files.collect()
}

/// The room of a file: the first folder, or the file's name.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn upward(sources: &[Source], graph: &[BTreeSet<usize>]) -> Vec<[String; 2]> {
    let floor = |path: &str| {
        let found = FLOORS.iter().position(|rooms| rooms.contains(&room(path)));
        found.unwrap_or_else(|| panic!("src/{path}: its room is on no floor; give it one in FLOORS"))
    };
    let mut found = Vec::new();
    for (from, others) in graph.iter().enumerate().filter(|(from, _)| sources[*from].path != "lib.rs") {
        for to in others {
            let [a, b] = [&sources[from].path, &sources[*to].path];
            if b == "lib.rs" || floor(a) < floor(b) {
                found.push([a.clone(), b.clone()]);
            }
        }
    }
    found
}

/// Groups of files each of which reaches all others of its group.
fn cycles(graph: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..graph.len())
        .map(|from| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(file) = open.pop() {
                open.extend(graph[file].iter().filter(|next| seen.insert(**next)));
            }
            seen
        })
        .collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for from in (0..graph.len()).filter(|from| reach[*from].contains(from)) {
        if !found.iter().any(|cycle| cycle.contains(&from)) {
            found.push(reach[from].iter().copied().filter(|to| reach[*to].contains(&from)).collect());
        }
    }
    found
}

/// The end of the block whose brace is at `open`, just behind its closing brace.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, character) in code[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Where `word` stands as a word of its own.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word))
}

/// Functions that are too long, by name and number of lines.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = code[at..].find(['{', ';']).map(|end| at + end);
        let Some(open) = end.filter(|end| !name.is_empty() && code[*end..].starts_with('{')) else { continue };
        let lines = code[at..block_end(code, open)].lines().count();
        if lines > LONGEST_FUNCTION {
            found.push((name, lines));
        }
    }
    found
}

/// The lines of matches on `Op::` or `Kernel::` that have an arm for all that is not named.
fn wildcards(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for at in words(code, "match") {
        let Some(open) = code[at..].find('{').map(|open| at + open) else { continue };
        let patterns = patterns(&code[open + 1..block_end(code, open) - 1]);
        let named = |pattern: &String| {
            ["Op::", "Kernel::"].iter().any(|name| {
                pattern.match_indices(name).any(|(at, _)| !pattern[..at].ends_with(|c: char| c.is_alphanumeric()))
            })
        };
        let all = |pattern: &String| {
            pattern.chars().all(|c| c.is_lowercase() || c == '_') && !matches!(pattern.as_str(), "true" | "false")
        };
        if patterns.iter().any(named) && patterns.iter().any(all) {
            found.push(1 + code[..at].matches('\n').count());
        }
    }
    found
}

/// The patterns of a match, each with its guard.
fn patterns(body: &str) -> Vec<String> {
    let (mut patterns, mut pattern, mut depth, mut in_value) = (Vec::new(), String::new(), 0, false);
    let mut rest = body;
    while let Some(character) = rest.chars().next() {
        if !in_value && depth == 0 && rest.starts_with("=>") {
            patterns.push(pattern.trim().trim_start_matches('|').trim().to_owned());
            (pattern, in_value) = (String::new(), true);
            rest = rest[2..].trim_start();
            if rest.starts_with('{') {
                rest = rest[block_end(rest, 0)..].trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
                in_value = false;
            }
            continue;
        }
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            ',' if in_value && depth == 0 => in_value = false,
            _ => {}
        }
        if !(in_value || character == ',' && depth == 0) {
            pattern.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    patterns
}

/// Fails with what is found and not known, and with what is known and not found any more.
fn settle(rule: &str, found: Vec<(String, String)>, known: Vec<String>) {
    let mut failures: Vec<String> =
        found.iter().filter(|(key, _)| !known.contains(key)).map(|(_, message)| format!("{rule}: {message}")).collect();
    let stale = known.iter().filter(|key| !found.iter().any(|(other, _)| other == *key));
    failures
        .extend(stale.map(|key| format!("{rule}: the known exception \"{key}\" is not needed any more; delete it")));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn pairs(known: &[[&str; 2]]) -> Vec<String> {
    known.iter().map(|pair| pair.join(" ")).collect()
}

#[test]
fn nothing_imports_upward() {
    let sources = sources();
    let found = upward(&sources, &graph(&sources));
    let found = found.into_iter().map(|[from, to]| (format!("{from} {to}"), format!("src/{from} imports src/{to}")));
    settle("an import upward", found.collect(), vec![]);
}

#[test]
fn no_files_import_each_other_but_natural_cycles() {
    let sources = sources();
    let graph = graph(&sources);
    let mut natural = 0;
    let mut found = Vec::new();
    for cycle in cycles(&graph) {
        let files: Vec<&str> = cycle.iter().map(|file| sources[*file].path.as_str()).collect();
        if NATURAL_CYCLES.iter().any(|natural| files == *natural) {
            natural += 1;
            continue;
        }
        let edge = |from: &usize, to: &usize| format!("  {} -> {}", sources[*from].path, sources[*to].path);
        let edges = cycle
            .iter()
            .flat_map(|from| graph[*from].iter().filter(|to| cycle.contains(to)).map(move |to| edge(from, to)));
        let edges: Vec<String> = edges.collect();
        found.push((files.join(" "), format!("{}\n{}", files.join(", "), edges.join("\n"))));
    }
    settle("a cycle of files", found, vec![]);
    assert_eq!(natural, NATURAL_CYCLES.len(), "a cycle that counts as natural is gone; delete it from NATURAL_CYCLES");
}

#[test]
fn files_are_short() {
    let sources = sources();
    let lines = |source: &Source| source.text.lines().count();
    let long = sources.iter().filter(|source| lines(source) > LONGEST_FILE);
    let long = long.map(|source| (source.path.clone(), format!("src/{} has {} lines", source.path, lines(source))));
    settle(&format!("a file over {LONGEST_FILE} lines"), long.collect(), vec![]);
}

#[test]
fn functions_are_short() {
    let sources = sources();
    let long = sources.iter().flat_map(|source| {
        let found = long_functions(&source.code).into_iter();
        found.map(|(name, lines)| {
            (format!("{} {name}", source.path), format!("src/{}: {name} has {lines} lines", source.path))
        })
    });
    settle(&format!("a function over {LONGEST_FUNCTION} lines"), long.collect(), pairs(EXECUTORS));
}

#[test]
fn matches_on_ops_and_kernels_name_every_one() {
    let sources = sources();
    let found = sources.iter().flat_map(|source| {
        let found = wildcards(&source.code).into_iter();
        found.map(|line| (source.path.clone(), format!("src/{}:{line}", source.path)))
    });
    settle("a wildcard in a match on an op or a kernel", found.collect(), vec![]);
}

#[test]
fn file_names_say_their_subject() {
    let sources = sources();
    let name = |path: &str| path.trim_end_matches(".rs").rsplit('/').next().is_some_and(|name| NAMES.contains(&name));
    let found = sources.iter().filter(|source| name(&source.path));
    let found = found.map(|source| (source.path.clone(), format!("src/{}", source.path)));
    settle("a file name that does not say its subject", found.collect(), vec![]);
}

#[test]
fn planted_faults_of_structure_are_seen() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into(), code: blanked(text) };
    let planted = [
        source("lib.rs", "pub use model::Network;"),
        source("graph/mod.rs", "mod op;\npub use op::Op;"),
        source("graph/op.rs", "// use crate::cli;\nuse crate::{plan::{self, Plan}, error::Error};\n"),
        source("model/mod.rs", "pub struct Network;\nfn f() { crate::plan::tile::cut(super::graph::Op::Add) }"),
        source(
            "plan/mod.rs",
            "pub mod tile;\npub struct Plan;\nuse self::tile::Tile;\nconst A: &str = \"use crate::model;\";",
        ),
        source("plan/tile.rs", "use super::Plan;\nuse crate::Network;\n"),
    ];
    let graph = graph(&planted);
    let edges: Vec<Vec<usize>> = graph.iter().map(|others| others.iter().copied().collect()).collect();
    assert_eq!(edges, [vec![], vec![], vec![0, 4], vec![2, 5], vec![5], vec![3, 4]]);
    assert_eq!(cycles(&graph), [vec![2, 3, 4, 5]]);
    let up: Vec<[String; 2]> = upward(&planted, &graph);
    assert!(up.contains(&["plan/tile.rs".into(), "model/mod.rs".into()]), "{up:?}");
    assert_eq!(wildcards("match op { Op::Add | Op::Sub => 1, Op::Mul { .. } => { match x { _ => 2 } } _ => 0 }"), [1]);
    assert!(wildcards("match op { Op::Add => 1, Op::Mul(_) => 2 }\nmatch 3 { 1 => Op::Add, _ => Op::Mul }").is_empty());
    assert_eq!(wildcards("\nmatch k {\n (Kernel::Rows, _) => 1,\n other => f(other, '{'),\n}"), [2]);
    let long = format!("fn a() {{\n{}}}\nfn b();", "x;\n".repeat(LONGEST_FUNCTION));
    assert_eq!(long_functions(&long), [("a".to_owned(), LONGEST_FUNCTION + 2)]);
}
