//! Fused expressions as WGSL: for an element and for four neighbours, as the source of a kernel and as its epilogue.

use crate::graph::Reduction;
use crate::plan::{Instruction, Outcome, Program, Step, View};
use crate::tensor::DType;
use std::fmt::Write;

/// Whether a slot holds 16-bit floats.
pub(super) fn is_half(step: &Step, slot: usize) -> bool {
    step.slots.get(slot).is_some_and(|slot| slot.dtype == DType::Half)
}

/// The type of a slot's numbers in a shader.
pub(super) fn scalar(half: bool) -> &'static str {
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

pub(super) fn declare(text: &mut String, number: Option<usize>, access: &str, name: &str, element: &str) {
    if let Some(number) = number {
        let _ = writeln!(text, "@group(0) @binding({number}) var<storage, {access}> {name}: array<{element}>;");
    }
}

/// The inputs of a step's expression, and `fused` and `fused4`.
pub(super) fn source(step: &Step, numbers: &[Option<usize>], text: &mut String) {
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

/// The reductions along rows before an expression's last value: `part`, `is_maximum` and their number.
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
pub(super) fn epilogue(step: &Step, numbers: &[Option<usize>], text: &mut String) {
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
                let lanes = step.constant("TOTAL_LANES").filter(|lanes| *lanes > 1);
                let _ = match lanes {
                    Some(lanes) => writeln!(
                        totals,
                        "    let sum_{index} = sum_of_lanes(invocation % {lanes}u, total_{index});\n    \
                         if invocation % {lanes}u == 0u {{ {name}[invocation / {lanes}u] = sum_{index}; }}"
                    ),
                    None => writeln!(totals, "    {name}[invocation] = total_{index};"),
                };
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

/// The arrangement of the four indices of an index register.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    /// The first, and the distance to the next; where that is 1, the first is a multiple of four.
    Even(usize),
    /// Irregular: a vector of the four indices.
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
