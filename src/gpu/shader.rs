//! Turns shader files into what one launch needs: the text with the step's constants in place of the file's own, its
//! bindings numbered by the step's slots, and the fused expression in place of its neutral functions. A small expander on
//! lines, so that line numbers stay true: what is generated follows after the file's last line. Steps that share a dispatch
//! become one text, in which the second one's names end in `_1`.

use super::unroll::unroll;
use crate::error::{Error, Result, one_line};
use crate::graph::{Reduction, sizes};
use crate::plan::{Access, Family, Fusion, Instruction, Outcome, Program, Step, TILE_SOURCE, View, Without, bindings};
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

const MATH: &str = include_str!("../../shaders/math.wgsl");

/// What a launch runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// The WGSL text; its first lines are those of the file.
    pub text: String,
    /// The file, for messages.
    pub file: &'static str,
    /// The entry point.
    pub entry: String,
    /// Whether an application wrote a part of it, whose indices nobody vouches for.
    pub own: bool,
}

impl Shader {
    /// The text as a module of its one entry point and what that uses: a file's other entry points may ask for features
    /// that the device lacks. Short loops are unrolled. An error names file, line and column.
    pub fn module(&self, without: Without) -> Result<naga::Module> {
        let path = format!("shaders/{}", self.file);
        let parsed = naga::front::wgsl::parse_str(&self.text);
        let mut module = parsed.map_err(|error| Error::Shader {
            problem: one_line(&error.emit_to_string_with_path(&self.text, &path)),
            place: path,
        })?;
        module.entry_points.retain(|point| point.name == self.entry);
        naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        if !without.unroll {
            unroll(&mut module);
            naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        }
        Ok(module)
    }
}

/// The shader of a launch: of one step, or of steps that share a dispatch.
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
                // Another step has declared it, under a name of its own.
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
        // It must stand first, and lines keep their numbers: a file begins with a comment.
        text.insert_str(0, "enable f16; ");
    }
    let own = launch.iter().any(|step| step.own.is_some());
    Ok(Shader { text, file: first.kernel.row().file, entry, own })
}

/// The workgroup memory of a product's tiles.
const TILE_MEMORY: [&str; 2] = ["left_tile", "right_tile"];

/// A step's text with its tiles in the workgroup memory of step number `first`, which is large enough for all: the steps of
/// a launch take turns, and each would have memory of its own otherwise.
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

/// A name as the text of a launch's step number `index` has it.
fn suffixed(name: String, index: usize) -> String {
    if index == 0 { name } else { format!("{name}_{index}") }
}

fn needs_math(step: &Step) -> bool {
    step.kernel.row().math || step.program.as_ref().is_some_and(|program| program.operations() > 0)
}

fn family(step: &Step) -> Option<Family> {
    let family = step.constant("FAMILY")?;
    [Family::Registers, Family::Subgroup, Family::Workgroup].into_iter().find(|known| *known as u64 == family)
}

/// The entry point of a step on its own.
fn entry_of(step: &Step) -> &'static str {
    match family(step) {
        Some(Family::Registers) => "by_registers",
        Some(Family::Subgroup) => "by_subgroup",
        Some(Family::Workgroup) => "by_workgroup",
        None => step.kernel.row().entry,
    }
}

/// The functions of `tile.wgsl` that a product's file replaces: how they begin, and what they hand on.
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

/// The text of one step, whose slots have these numbers; those without one are declared elsewhere.
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
            let _ = writeln!(text, "const {}: u32 = {}u;", names[position], step.constants[position]);
        } else if line.starts_with("@group(0) @binding(") {
            text.push_str(&binding(step, line, numbers));
            text.push('\n');
        } else if line.starts_with("alias Stored") && writes_halves(step) {
            text.push_str("alias Stored = f16;\n");
        } else if let Some((head, arguments)) = OPERANDS.iter().find(|(head, _)| row.tiled && line.starts_with(head)) {
            operands += 1;
            let name = &head[3..head.find('(').unwrap_or(head.len())];
            let _ = writeln!(text, "{head} {{ return {}_{name}({arguments}); }}", row.entry);
        } else if is_replaced(step, line) {
            text.push('\n');
        } else {
            text.push_str(line);
            text.push('\n');
        }
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

/// Whether a slot holds numbers of 16 bits.
fn is_half(step: &Step, slot: usize) -> bool {
    step.slots.get(slot).is_some_and(|slot| slot.dtype == DType::Half)
}

/// Whether a kernel itself stores numbers of 16 bits.
fn writes_halves(step: &Step) -> bool {
    let own = step.kernel.row().bindings.len();
    (0..own).any(|slot| is_half(step, slot) && step.access(slot) == Access::Write)
}

/// The type of a slot's numbers in a shader.
fn scalar(half: bool) -> &'static str {
    if half { "f16" } else { "f32" }
}

/// A number that is loaded, or four, as f32.
fn loaded(half: bool, four: bool, load: String) -> String {
    match (half, four) {
        (false, _) => load,
        (true, false) => format!("f32({load})"),
        (true, true) => format!("vec4<f32>({load})"),
    }
}

/// A binding's line with the number and the type of elements that the step gives it; empty where the step generates its
/// own.
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
        // Another entry point's.
        _ => line.to_owned(),
    }
}

/// Whether a name is one of the buffers of outcomes and inputs: `y0`, `x0`.
fn is_generated(name: &str) -> bool {
    let digits = name.strip_prefix(['x', 'y']);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a line is a neutral function, in place of which one is generated or is in `math.wgsl`.
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

fn declare(text: &mut String, number: Option<usize>, access: &str, name: &str, element: &str) {
    if let Some(number) = number {
        let _ = writeln!(text, "@group(0) @binding({number}) var<storage, {access}> {name}: array<{element}>;");
    }
}

/// The inputs of a step's expression, and `fused` and `fused4`.
fn source(step: &Step, numbers: &[Option<usize>], text: &mut String) {
    let identity = Program { instructions: vec![], inputs: 0, phases: vec![] };
    let program = step.program.as_ref().unwrap_or(&identity);
    text.push('\n');
    let inputs = Inputs { step, first: step.kernel.row().bindings.len() };
    inputs.declare(program, numbers, text);
    if !program.phases.is_empty() {
        phases(program, &inputs, text);
    }
    let last = program.instructions.len().saturating_sub(1);
    let _ = writeln!(text, "fn fused(i: u32) -> f32 {{\n{}    return r{last};\n}}", scalars(program, &inputs, None));
    let vectors = Vectors::new(program, &inputs, None);
    let _ = writeln!(text, "fn fused4(i: u32) -> vec4<f32> {{\n{}    return r{last};\n}}", vectors.text);
}

/// What an application's own function reads: its operands, and all sizes.
fn own_operands(step: &Step, numbers: &[Option<usize>], text: &mut String) {
    let Some(own) = &step.own else { return };
    for (index, (shape, number)) in own.shapes.iter().zip(numbers).enumerate() {
        match index.checked_sub(1) {
            None => text.push_str(&sizes("Y", shape)),
            Some(input) => {
                declare(text, *number, "read", &format!("x{input}"), "f32");
                text.push_str(&sizes(&format!("X{input}"), shape));
            }
        }
    }
}

/// What an expression reduces along rows before its last value: `part`, `is_maximum` and their number.
fn phases(program: &Program, inputs: &Inputs, text: &mut String) {
    let _ = writeln!(text, "const PHASES: u32 = {}u;", program.phases.len());
    let mut parts = String::new();
    let mut maxima = String::new();
    for (index, phase) in program.phases.iter().enumerate() {
        let until = Program { instructions: program.instructions[..=phase.value].to_vec(), inputs: 0, phases: vec![] };
        let _ = writeln!(
            text,
            "fn part_of_{index}(i: u32) -> f32 {{\n{}    return r{};\n}}",
            scalars(&until, inputs, None),
            phase.value
        );
        let _ = writeln!(parts, "    if phase == {index}u {{ return part_of_{index}(i); }}");
        if phase.reduction == Reduction::Max {
            let _ = write!(maxima, "phase == {index}u || ");
        }
    }
    let _ = writeln!(text, "fn part(phase: u32, i: u32) -> f32 {{\n{parts}    return 0.0;\n}}");
    let _ = writeln!(text, "fn is_maximum(phase: u32) -> bool {{ return {maxima}false; }}");
}

/// The buffers of a step's outcomes and of its expression's inputs, and the functions that leave the outcomes.
fn epilogue(step: &Step, numbers: &[Option<usize>], text: &mut String) {
    let instructions = vec![Instruction::Position, Instruction::Accumulator];
    let whole = Program { instructions, inputs: 0, phases: vec![] };
    let program = step.program.as_ref().unwrap_or(&whole);
    let own = step.kernel.row().bindings.len();
    let unit = step.row_length();
    text.push('\n');
    let (mut one, mut four, mut totals) = (String::new(), String::new(), String::new());
    for (index, outcome) in step.outcomes.iter().enumerate() {
        let name = format!("y{index}");
        match outcome {
            Outcome::Element { value, place } => {
                let half = is_half(step, own + index);
                declare(text, numbers[own + index], "read_write", &name, &format!("vec4<{}>", scalar(half)));
                let stored = |value: String, four: bool| match (half, four) {
                    (false, _) => value,
                    (true, false) => format!("f16({value})"),
                    (true, true) => format!("vec4<f16>({value})"),
                };
                let value = if step.program.is_some() { *value } else { 1 };
                match place {
                    None => {
                        let _ = writeln!(one, "    {name}[i / 4u][i % 4u] = {};", stored(format!("r{value}"), false));
                        let _ = writeln!(four, "    {name}[i / 4u] = {};", stored(format!("r{value}"), true));
                    }
                    Some(view) => {
                        let _ = writeln!(one, "    let p{index} = {};", position_of_result(view, unit, false));
                        let element = stored(format!("r{value}"), false);
                        let _ = writeln!(one, "    {name}[p{index} / 4u][p{index} % 4u] = {element};");
                        let place = match even(view) {
                            Some(step) => all(&position_of_result(view, unit, false), step),
                            None => position_of_result(view, unit, true),
                        };
                        let _ = writeln!(four, "    let p{index} = {place};");
                        for lane in ["x", "y", "z", "w"] {
                            let element = stored(format!("r{value}.{lane}"), false);
                            let at = format!("p{index}.{lane}");
                            let _ = writeln!(four, "    {name}[{at} / 4u][{at} % 4u] = {element};");
                        }
                    }
                }
            }
            Outcome::Total(value) => {
                declare(text, numbers[own + index], "read_write", &name, "f32");
                let _ = writeln!(text, "var<private> total_{index}: f32;");
                let _ = writeln!(one, "    total_{index} += r{value};");
                let _ = writeln!(four, "    total_{index} += r{value}.x + r{value}.y + r{value}.z + r{value}.w;");
                let _ = writeln!(totals, "    {name}[invocation] = total_{index};");
            }
        }
    }
    let inputs = Inputs { step, first: own + step.outcomes.len() };
    inputs.declare(program, numbers, text);
    let head = "row: u32, offset: u32, value";
    let sum = "    let i = row + offset;\n";
    let _ = writeln!(text, "fn finish({head}: f32) {{\n{sum}{}{one}}}", scalars(program, &inputs, unit));
    let vectors = Vectors::new(program, &inputs, unit);
    let _ = writeln!(text, "fn finish4({head}: vec4<f32>) {{\n{sum}{}{four}}}", vectors.text);
    let _ = writeln!(text, "fn finish_totals(invocation: u32) {{\n{totals}}}");
}

/// The slots of a step from `first` on: the inputs of its expression.
struct Inputs<'a> {
    step: &'a Step,
    first: usize,
}

impl Inputs<'_> {
    fn declare(&self, program: &Program, numbers: &[Option<usize>], text: &mut String) {
        for input in 0..program.inputs {
            let element = format!("vec4<{}>", scalar(self.is_half(input)));
            declare(text, numbers[self.first + input], "read", &format!("x{input}"), &element);
        }
    }

    fn is_half(&self, input: usize) -> bool {
        is_half(self.step, self.first + input)
    }
}

/// The statements of an expression for element `i`.
fn scalars(program: &Program, inputs: &Inputs, unit: Option<usize>) -> String {
    let mut text = String::new();
    for (register, instruction) in program.instructions.iter().enumerate() {
        let value = match instruction {
            Instruction::Position => "i".to_owned(),
            Instruction::Index { from: 0, view } => position_of_result(view, unit, false),
            Instruction::Index { from, view } => position(&format!("r{from}"), view, false),
            Instruction::Inside { from, view } => inside(&format!("r{from}"), view, false),
            Instruction::Load { input, at } => {
                loaded(inputs.is_half(*input), false, format!("x{input}[r{at} / 4u][r{at} % 4u]"))
            }
            Instruction::Accumulator => "value".to_owned(),
            Instruction::Reduced(phase) => format!("reduced[{phase}u]"),
            Instruction::Literal(number) => format!("{:?}f", *number as f32),
            Instruction::Number(from) => format!("f32(r{from})"),
            Instruction::Unary(op, x) => format!("{}(r{x})", op.name()),
            Instruction::Binary(op, x, y) => format!("{}(r{x}, r{y})", op.name()),
            Instruction::Select { mask, value } => format!("select(0.0, r{value}, r{mask})"),
        };
        let _ = writeln!(text, "    let r{register} = {value};");
    }
    text
}

/// How the four indices of an index register lie.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    /// The first, and the distance to the next; where that is 1, the first is a multiple of four.
    Even(usize),
    /// Anyhow: a vector of them.
    Free,
    /// No index.
    None,
}

/// The statements of an expression for elements `i` to `i + 3`, i being a multiple of four.
struct Vectors<'a> {
    text: String,
    walks: Vec<Walk>,
    inputs: &'a Inputs<'a>,
    unit: Option<usize>,
}

impl<'a> Vectors<'a> {
    fn new(program: &Program, inputs: &'a Inputs<'a>, unit: Option<usize>) -> Vectors<'a> {
        let mut vectors = Vectors { text: String::new(), walks: vec![], inputs, unit };
        for (register, instruction) in program.instructions.iter().enumerate() {
            let (value, walk) = vectors.instruction(instruction);
            let _ = writeln!(vectors.text, "    let r{register} = {value};");
            vectors.walks.push(walk);
        }
        vectors
    }

    /// All four indices of an index register.
    fn all(&self, register: usize) -> String {
        match self.walks[register] {
            Walk::Even(step) => all(&format!("r{register}"), step),
            Walk::Free | Walk::None => format!("r{register}"),
        }
    }

    fn instruction(&self, instruction: &Instruction) -> (String, Walk) {
        let of_each = |function: &str, operands: &[usize]| {
            let lanes = ["x", "y", "z", "w"].map(|lane| {
                let operands: Vec<String> = operands.iter().map(|register| format!("r{register}.{lane}")).collect();
                format!("{function}({})", operands.join(", "))
            });
            format!("vec4<f32>({})", lanes.join(", "))
        };
        let value = match instruction {
            Instruction::Position => return ("i".to_owned(), Walk::Even(1)),
            Instruction::Index { from, view } => {
                return match (self.walks[*from], even(view)) {
                    (_, Some(step)) if *from == 0 => (position_of_result(view, self.unit, false), Walk::Even(step)),
                    (_, None) if *from == 0 => (position_of_result(view, self.unit, true), Walk::Free),
                    (Walk::Even(1), Some(step)) => (position(&format!("r{from}"), view, false), Walk::Even(step)),
                    _ => (position(&self.all(*from), view, true), Walk::Free),
                };
            }
            Instruction::Inside { from, view } => inside(&self.all(*from), view, true),
            Instruction::Load { input, at } => {
                let half = self.inputs.is_half(*input);
                let element = |at: String| loaded(half, false, format!("x{input}[{at} / 4u][{at} % 4u]"));
                match self.walks[*at] {
                    Walk::Even(1) => loaded(half, true, format!("x{input}[r{at} / 4u]")),
                    Walk::Even(0) => format!("vec4<f32>({})", element(format!("r{at}"))),
                    Walk::Even(step) => {
                        let each = [0, 1, 2, 3].map(|lane| element(format!("(r{at} + {}u)", lane * step)));
                        format!("vec4<f32>({})", each.join(", "))
                    }
                    Walk::Free | Walk::None => {
                        let each = ["x", "y", "z", "w"].map(|lane| element(format!("r{at}.{lane}")));
                        format!("vec4<f32>({})", each.join(", "))
                    }
                }
            }
            Instruction::Accumulator => "value".to_owned(),
            Instruction::Reduced(phase) => format!("vec4<f32>(reduced[{phase}u])"),
            Instruction::Literal(number) => format!("vec4<f32>({:?}f)", *number as f32),
            Instruction::Number(from) => format!("vec4<f32>({})", self.all(*from)),
            Instruction::Unary(op, x) => of_each(op.name(), &[*x]),
            Instruction::Binary(op, x, y) => of_each(op.name(), &[*x, *y]),
            Instruction::Select { mask, value } => format!("select(vec4<f32>(), r{value}, r{mask})"),
        };
        (value, Walk::None)
    }
}

/// Four indices, evenly apart.
fn all(first: &str, step: usize) -> String {
    let [a, b, c] = [step, 2 * step, 3 * step];
    format!("(vec4<u32>({first}) + vec4<u32>(0u, {a}u, {b}u, {c}u))")
}

/// Where a view maps element `i = row + offset` of a result, or four from there on. Where some axes of the view are a row of
/// the result, each axis follows from one of the two.
fn position_of_result(view: &View, unit: Option<usize>, four: bool) -> String {
    let quad = |first: &str| if four { all(first, 1) } else { first.to_owned() };
    let whole = || position(&quad("i"), view, four);
    let (Some(unit), false) = (unit, view.is_padded()) else { return whole() };
    let lengths = (0..=view.axes.len()).map(|first| view.axes[first..].iter().map(|axis| axis.size).product::<usize>());
    let Some(first) = lengths.into_iter().position(|length| length == unit) else { return whole() };
    if four && !unit.is_multiple_of(4) {
        return whole();
    }
    let (rows, inner) = view.axes.split_at(first);
    let rows = View { axes: rows.to_vec(), offset: view.offset };
    let inner = View { axes: inner.to_vec(), offset: 0 };
    let rows = position(&format!("(row / {unit}u)"), &rows, false);
    let inner = position(&quad("offset"), &inner, four);
    if four { format!("vec4<u32>({rows}) + {inner}") } else { format!("{rows} + {inner}") }
}

/// The distance between the operand's elements of four neighbours in a view's domain, where it is the same everywhere. At a
/// distance of 1 the first of the four is a multiple of four.
fn even(view: &View) -> Option<usize> {
    let Some(last) = view.axes.last() else { return Some(0) };
    if view.is_padded() || !last.size.is_multiple_of(4) {
        return None;
    }
    let outer = &view.axes[..view.axes.len() - 1];
    let aligned = view.offset.is_multiple_of(4) && outer.iter().all(|axis| axis.stride.is_multiple_of(4));
    (last.stride != 1 || aligned).then_some(last.stride)
}

/// The coordinate along each axis of a view, as an expression, innermost last.
fn coordinates(from: &str, view: &View) -> Vec<String> {
    let mut inner = 1;
    let mut coordinates: Vec<String> = Vec::with_capacity(view.axes.len());
    for (position, axis) in view.axes.iter().enumerate().rev() {
        let divided = if inner == 1 { from.to_owned() } else { format!("{from} / {inner}u") };
        // The index is inside the domain, so the outermost coordinate needs no remainder.
        coordinates.push(if position == 0 { divided } else { format!("{divided} % {}u", axis.size) });
        inner *= axis.size;
    }
    coordinates.reverse();
    coordinates
}

/// Where a view maps an index, or four at once.
fn position(from: &str, view: &View, four: bool) -> String {
    let number = |value: usize| if four { format!("vec4<u32>({value}u)") } else { format!("{value}u") };
    let mut sum = String::new();
    for (axis, coordinate) in view.axes.iter().zip(coordinates(from, view)) {
        if axis.stride == 0 {
            continue;
        }
        let clamped = if axis.is_padded() {
            let (first, last) = (number(axis.before), number(axis.before + axis.inner - 1));
            format!("(clamp({coordinate}, {first}, {last}) - {first})")
        } else {
            format!("({coordinate})")
        };
        let _ = write!(sum, "{clamped} * {}u + ", axis.stride);
    }
    format!("{sum}{}", number(view.offset))
}

/// Whether an index, or each of four, meets the operand of a padded view.
fn inside(from: &str, view: &View, four: bool) -> String {
    let number = |value: usize| if four { format!("vec4<u32>({value}u)") } else { format!("{value}u") };
    let tests: Vec<String> = view
        .axes
        .iter()
        .zip(coordinates(from, view))
        .filter(|(axis, _)| axis.is_padded())
        // Below zero the difference wraps to a large number.
        .map(|(axis, coordinate)| format!("(({coordinate}) - {} < {})", number(axis.before), number(axis.inner)))
        .collect();
    tests.join(if four { " & " } else { " && " })
}

/// A text whose own names end in `_index`, so that it can stand beside others, and in which buffers that are shared have
/// the names under which they were declared.
fn renamed(text: &str, index: usize, shared: &HashMap<String, String>) -> String {
    if index == 0 {
        return text.to_owned();
    }
    let starts_name = |c: char| c.is_ascii_alphabetic() || c == '_';
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut own: HashSet<&str> = HashSet::new();
    for line in text.lines() {
        let declared = match line.strip_prefix("const ").or(line.strip_prefix("fn ")) {
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
        // A field or a component has a point before it.
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
