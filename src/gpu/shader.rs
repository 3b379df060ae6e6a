//! Turns a shader file into the shader of one launch: the step's constants replace the file's, bindings get the numbers
//! of the step's slots, and the fused expression replaces the file's placeholder functions.
//!
//! The text is edited line by line, and generated text follows after the file's last line, so that line numbers in
//! messages are those of the file. Steps that share a dispatch become one text, in which the second step's names end in
//! `_1`.

use super::expression::{declare, epilogue, is_half, source};
use super::unroll::unroll;
use crate::error::{Error, Result, one_line};
use crate::graph::sizes;
use crate::plan::{Access, Family, Fusion, Step, TILE_SOURCE, Without, bindings};
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

const MATH: &str = include_str!("../../shaders/math.wgsl");

/// The shader of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// The WGSL text; its first lines are those of the file.
    pub text: String,
    /// The file, for messages.
    pub file: &'static str,
    /// The entry point.
    pub entry: String,
    /// Whether an application wrote a part of the text, so that the driver has to check its indices.
    pub own: bool,
}

impl Shader {
    /// The text as a module of the entry point and all that it uses, with short loops unrolled. The file's other entry
    /// points may ask for features that the device lacks. Fails with file, line and column where the text is not WGSL.
    pub fn module(&self, without: Without) -> Result<naga::Module> {
        let mut module = parse(&self.text, &format!("shaders/{}", self.file))?;
        module.entry_points.retain(|point| point.name == self.entry);
        naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        if !without.unroll {
            unroll(&mut module);
            naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        }
        Ok(module)
    }
}

/// A WGSL text as a module. Fails with path, line and column where the text is not WGSL.
pub(super) fn parse(text: &str, path: &str) -> Result<naga::Module> {
    naga::front::wgsl::parse_str(text).map_err(|error| Error::Shader {
        place: path.to_owned(),
        problem: one_line(&error.emit_to_string_with_path(text, path)),
    })
}

/// The shader of a launch of one step, or of several steps that share a dispatch.
pub fn specialise(launch: &[Step]) -> Result<Shader> {
    let [first, rest @ ..] = launch else {
        return Err(broken("", "a launch without a step".to_owned()));
    };
    let bound = bindings(launch);
    let tiles: Vec<usize> = (0..launch.len()).filter(|index| launch[*index].tile_memory().is_some()).collect();
    let mut text = String::new();
    let mut main = String::new();
    let mut limit = 0;
    for (index, step) in launch.iter().enumerate() {
        let mut shared = HashMap::new();
        let numbers: Vec<Option<usize>> = (0..step.slots.len())
            .map(|slot| {
                let number = bound.iter().position(|steps| steps.contains(&(index, slot)))?;
                let (declaring, other) = bound[number][0];
                if declaring == index {
                    return Some(number);
                }
                // Another step declares the buffer under its own name.
                shared.insert(name_of(step, slot), suffixed(name_of(&launch[declaring], other), declaring));
                None
            })
            .collect();
        let mut part = specialise_step(step, &numbers)?;
        if let ([first, _, ..], true) = (&tiles[..], tiles.contains(&index)) {
            part = with_tiles_of(*first, index, launch, &part, &mut shared);
        }
        text.push_str(&renamed(&part, index, &shared));
        let from = limit;
        limit += step.groups();
        let call = suffixed(format!("{}_part", entry_of(step)), index);
        let _ = write!(main, "if index < {limit}u {{\n        {call}(index - {from}u, lane);\n    }} else ");
    }
    let mut entry = entry_of(first).to_owned();
    if !rest.is_empty() {
        let subgroup = launch.iter().any(|step| family(step) == Some(Family::Subgroup));
        let lane = if subgroup { "subgroup_invocation_id" } else { "local_invocation_index" };
        let _ = write!(
            text,
            "\n@compute @workgroup_size({})\nfn together(\n    @builtin(workgroup_id) group: vec3<u32>,\n    \
             @builtin(num_workgroups) groups: vec3<u32>,\n    @builtin({lane}) lane: u32,\n) {{\n    \
             let index = group.y * groups.x + group.x;\n    {}\n}}\n",
            first.workgroup(),
            main.trim_end_matches(" else ")
        );
        entry = "together".to_owned();
    }
    if launch.iter().any(needs_math) {
        text.push_str(MATH);
    }
    if launch.iter().flat_map(|step| &step.slots).any(|slot| slot.dtype == DType::Half) {
        // WGSL wants this first. The first line of every file is a comment, so no line gets another number.
        text.insert_str(0, "enable f16; ");
    }
    let own = launch.iter().any(|step| step.own.is_some());
    Ok(Shader { text, file: first.kernel.row().file, entry, own })
}

/// The workgroup memory of a product's tiles.
const TILE_MEMORY: [&str; 2] = ["left_tile", "right_tile"];

/// The text of step number `index` with its tiles in the workgroup memory of step number `first`. A workgroup runs one
/// step of its launch, so one memory as large as the largest step needs serves all of them.
fn with_tiles_of(
    first: usize,
    index: usize,
    launch: &[Step],
    part: &str,
    shared: &mut HashMap<String, String>,
) -> String {
    let mut text = String::with_capacity(part.len());
    for line in part.lines() {
        let operand = TILE_MEMORY.iter().position(|name| line.starts_with(&format!("var<workgroup> {name}:")));
        match operand {
            None => text.push_str(line),
            Some(operand) if index == first => {
                let most = launch.iter().filter_map(Step::tile_memory).map(|tile| tile[operand]).max().unwrap_or(1);
                let _ = write!(text, "var<workgroup> {}: array<vec4<f32>, {most}u>;", TILE_MEMORY[operand]);
            }
            Some(operand) => {
                let name = TILE_MEMORY[operand].to_owned();
                shared.insert(name.clone(), suffixed(name, first));
            }
        }
        text.push('\n');
    }
    text
}

/// The name of a step's buffer in its own text.
fn name_of(step: &Step, slot: usize) -> String {
    let own = step.kernel.row().bindings;
    match own.get(slot) {
        Some(binding) => binding.name.to_owned(),
        None if slot < own.len() + step.outcomes.len() => format!("y{}", slot - own.len()),
        None => format!("x{}", slot - own.len() - step.outcomes.len()),
    }
}

/// A name in the text of a launch's step number `index`.
fn suffixed(name: String, index: usize) -> String {
    if index == 0 { name } else { format!("{name}_{index}") }
}

fn needs_math(step: &Step) -> bool {
    step.kernel.row().math || step.program.as_ref().is_some_and(|program| program.operations() > 0)
}

fn family(step: &Step) -> Option<Family> {
    step.tile().map(|tile| tile.family)
}

/// The entry point of a launch of one step.
fn entry_of(step: &Step) -> &'static str {
    match family(step) {
        Some(Family::Registers) => "by_registers",
        Some(Family::Subgroup) => "by_subgroup",
        Some(Family::Workgroup) => "by_workgroup",
        None => step.kernel.row().entry,
    }
}

/// The functions of `tile.wgsl` that a product's file replaces: their first lines, and the arguments of the
/// replacement.
const OPERANDS: &[(&str, &str)] = &[
    ("fn left_line(panel: u32, line: u32) -> vec3<u32>", "panel, line"),
    ("fn left_step(panel: u32, k: u32) -> vec3<u32>", "panel, k"),
    ("fn left_inside(place: vec3<u32>) -> bool", "place"),
    ("fn right_line(panel: u32, line: u32) -> vec3<u32>", "panel, line"),
    ("fn right_step(panel: u32, k: u32) -> vec3<u32>", "panel, k"),
    ("fn right_inside(place: vec3<u32>) -> bool", "place"),
    ("fn depth_of(panel: u32) -> u32", "panel, DEPTH"),
    ("fn result_at(panel: u32, line: u32, column: u32) -> vec2<u32>", "panel, line, column"),
];

/// The text of one step. `numbers` holds the binding of each slot; `None` where another step declares the slot.
fn specialise_step(step: &Step, numbers: &[Option<usize>]) -> Result<String> {
    let row = step.kernel.row();
    let names: Vec<&str> = row.constant_names().collect();
    let mut set = vec![false; names.len()];
    let mut operands = 0;
    let mut text = String::with_capacity(row.source.len() + TILE_SOURCE.len() + MATH.len());
    if let Some(own) = &step.own {
        text.push_str(own.kernel.source());
        text.push('\n');
    }
    let files = if row.tiled { [TILE_SOURCE, row.source] } else { [row.source, ""] };
    for line in files.iter().flat_map(|file| file.lines()) {
        let constant = line.strip_prefix("const ").and_then(|rest| rest.split_once(": u32 = "));
        if let Some(position) = constant.and_then(|(name, _)| names.iter().position(|known| *known == name)) {
            set[position] = true;
            let _ = write!(text, "const {}: u32 = {}u;", names[position], step.constants[position]);
        } else if line.starts_with("@group(0) @binding(") {
            text.push_str(&binding(step, line, numbers));
        } else if line.starts_with("alias Stored") && writes_halves(step) {
            text.push_str("alias Stored = f16;");
        } else if let Some((head, arguments)) = OPERANDS.iter().find(|(head, _)| row.tiled && line.starts_with(head)) {
            operands += 1;
            let name = &head[3..head.find('(').unwrap_or(head.len())];
            let _ = write!(text, "{head} {{ return {}_{name}({arguments}); }}", row.entry);
        } else if !is_replaced(step, line) {
            text.push_str(line);
        }
        text.push('\n');
    }
    if let Some(missing) = set.iter().position(|found| !found) {
        return Err(broken(row.file, format!("no line sets the constant {}", names[missing])));
    }
    if row.tiled && operands != OPERANDS.len() {
        return Err(broken("tile.wgsl", "not every function of the operands is there".to_owned()));
    }
    match row.fusion {
        Fusion::No => {}
        Fusion::Source => source(step, numbers, &mut text),
        Fusion::Epilogue => epilogue(step, numbers, &mut text),
        Fusion::Own => own_operands(step, numbers, &mut text),
    }
    Ok(text)
}

fn broken(file: &str, problem: String) -> Error {
    Error::Shader { place: format!("shaders/{file}"), problem }
}

/// Whether the kernel's own text stores 16-bit floats.
fn writes_halves(step: &Step) -> bool {
    let own = step.kernel.row().bindings.len();
    (0..own).any(|slot| is_half(step, slot) && step.access(slot) == Access::Write)
}

/// A binding's line with the number and the type of elements that the step gives it; empty where the declaration is
/// generated or another step's.
fn binding(step: &Step, line: &str, numbers: &[Option<usize>]) -> String {
    let row = step.kernel.row();
    let name = line.split_once("> ").and_then(|(_, rest)| rest.split_once(':')).map_or("", |(name, _)| name);
    match (row.bindings.iter().position(|binding| binding.name == name), line.split_once(") var<")) {
        (Some(position), Some((_, rest))) => match numbers.get(position).copied().flatten() {
            Some(number) => {
                let rest = if is_half(step, position) { rest.replace("f32", "f16") } else { rest.to_owned() };
                format!("@group(0) @binding({number}) var<{rest}")
            }
            None => String::new(),
        },
        _ if is_generated(name) && row.fusion != Fusion::No => String::new(),
        // The binding of another entry point.
        _ => line.to_owned(),
    }
}

/// Whether a name is that of a buffer of outcomes or inputs, such as `y0` and `x0`.
fn is_generated(name: &str) -> bool {
    name.strip_prefix(['x', 'y']).is_some_and(|number| number.parse::<usize>().is_ok())
}

/// Whether a line is a placeholder function, which is generated or in `math.wgsl` instead.
fn is_replaced(step: &Step, line: &str) -> bool {
    let heads: &[&str] = match step.kernel.row().fusion {
        Fusion::No if step.kernel.row().math => &["fn sigmoid(", "fn hyperbolic_tangent("],
        Fusion::No => &[],
        Fusion::Source => &["fn fused(", "fn fused4(", "fn part(", "fn is_maximum(", "const PHASES"],
        Fusion::Epilogue => &["fn finish(", "fn finish4(", "fn finish_totals("],
        Fusion::Own => &["fn element("],
    };
    heads.iter().any(|head| line.starts_with(head))
}

/// Declares what an application's function may read: the operands, and the sizes of operands and result.
fn own_operands(step: &Step, numbers: &[Option<usize>], text: &mut String) {
    let Some(own) = &step.own else { return };
    for (index, (shape, number)) in own.shapes.iter().zip(numbers).enumerate() {
        if index > 0 {
            declare(text, *number, "read", &format!("x{}", index - 1), "f32");
        }
        let name = if index == 0 { "Y".to_owned() } else { format!("X{}", index - 1) };
        text.push_str(&sizes(&name, shape));
    }
}

/// A step's text in which the names that it declares end in `_index`, so that texts can be joined, and in which shared
/// buffers have the names under which another step declares them.
fn renamed(text: &str, index: usize, shared: &HashMap<String, String>) -> String {
    if index == 0 {
        return text.to_owned();
    }
    let starts_name = |c: char| c.is_ascii_alphabetic() || c == '_';
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut own: HashSet<&str> = HashSet::new();
    for line in text.lines() {
        let mut words = ["const ", "fn ", "alias "].into_iter();
        let declared = match words.find_map(|word| line.strip_prefix(word)) {
            Some(rest) => Some(rest),
            // The name comes after the address space.
            None if line.starts_with('@') || line.starts_with("var<") => line.split_once("> ").map(|(_, rest)| rest),
            None => None,
        };
        let name = declared.map(|rest| &rest[..rest.find(|c| !in_name(c)).unwrap_or(rest.len())]);
        own.extend(name.filter(|name| name.starts_with(starts_name)));
    }
    let mut result = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while let Some(start) = rest.find(in_name) {
        let end = rest[start..].find(|c| !in_name(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        // A field or a component follows a point.
        let is_field = rest[..start].ends_with('.') || (start == 0 && result.ends_with('.'));
        result.push_str(&rest[..start]);
        match shared.get(word) {
            Some(name) if !is_field => result.push_str(name),
            _ => result.push_str(word),
        }
        if own.contains(word) && !is_field {
            let _ = write!(result, "_{index}");
        }
        rest = &rest[end..];
    }
    result.push_str(rest);
    result
}
