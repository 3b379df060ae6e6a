//! Fused expressions as WGSL, for one element and for four neighbours, as the source of a kernel and as its epilogue.

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

/// A number of a buffer, or a vector of four, converted to `scalar` where the buffer holds 16-bit floats.
fn converted(half: bool, four: bool, scalar: &str, value: String) -> String {
    match (half, four) {
        (false, _) => value,
        (true, false) => format!("{scalar}({value})"),
        (true, true) => format!("vec4<{scalar}>({value})"),
    }
}

pub(super) fn declare(text: &mut String, number: Option<usize>, access: &str, name: &str, element: &str) {
    if let Some(number) = number {
        let _ = writeln!(text, "@group(0) @binding({number}) var<storage, {access}> {name}: array<{element}>;");
    }
}

/// Writes the inputs of a step's expression, and the functions `fused` and `fused4`.
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

/// Writes the reductions along rows that an expression needs: the constant `PHASES`, and `part` and `is_maximum`.
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

/// Writes the buffers of a step's outcomes and of its expression's inputs, and the functions that store the outcomes.
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
                let stored = |value: String, four: bool| converted(half, four, "f16", value);
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

/// The inputs of a step's expression, which are its slots from `first` on.
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

/// The WGSL statements that compute an expression for element `i`.
fn scalars(program: &Program, inputs: &Inputs, unit: Option<usize>) -> String {
    let mut text = String::new();
    for (register, instruction) in program.instructions.iter().enumerate() {
        let value = match instruction {
            Instruction::Position => "i".to_owned(),
            Instruction::Index { from: 0, view } => position_of_result(view, unit, false),
            Instruction::Index { from, view } => position(&format!("r{from}"), view, false),
            Instruction::Inside { from, view } => inside(&format!("r{from}"), view, false),
            Instruction::Load { input, at } => {
                converted(inputs.is_half(*input), false, "f32", format!("x{input}[r{at} / 4u][r{at} % 4u]"))
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
    /// The register holds the first index, and this distance separates neighbours. At a distance of 1 the first index
    /// is a multiple of four.
    Even(usize),
    /// The register holds a vector of the four indices, which are irregular.
    Free,
    /// The register holds no index.
    None,
}

/// The WGSL statements that compute an expression for elements `i` to `i + 3`, where `i` is a multiple of four.
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

    /// The vector of the four indices of an index register.
    fn all(&self, register: usize) -> String {
        match self.walks[register] {
            Walk::Even(step) => all(&format!("r{register}"), step),
            Walk::Free | Walk::None => format!("r{register}"),
        }
    }

    fn instruction(&self, instruction: &Instruction) -> (String, Walk) {
        let lanes =
            |element: &dyn Fn(&str) -> String| format!("vec4<f32>({})", ["x", "y", "z", "w"].map(element).join(", "));
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
                let element = |at: String| converted(half, false, "f32", format!("x{input}[{at} / 4u][{at} % 4u]"));
                match self.walks[*at] {
                    Walk::Even(1) => converted(half, true, "f32", format!("x{input}[r{at} / 4u]")),
                    Walk::Even(0) => format!("vec4<f32>({})", element(format!("r{at}"))),
                    Walk::Even(step) => {
                        let each = [0, 1, 2, 3].map(|lane| element(format!("(r{at} + {}u)", lane * step)));
                        format!("vec4<f32>({})", each.join(", "))
                    }
                    Walk::Free | Walk::None => lanes(&|lane| element(format!("r{at}.{lane}"))),
                }
            }
            Instruction::Accumulator => "value".to_owned(),
            Instruction::Reduced(phase) => format!("vec4<f32>(reduced[{phase}u])"),
            Instruction::Literal(number) => format!("vec4<f32>({:?}f)", *number as f32),
            Instruction::Number(from) => format!("vec4<f32>({})", self.all(*from)),
            Instruction::Unary(op, x) => lanes(&|lane| format!("{}(r{x}.{lane})", op.name())),
            Instruction::Binary(op, x, y) => lanes(&|lane| format!("{}(r{x}.{lane}, r{y}.{lane})", op.name())),
            Instruction::Select { mask, value } => format!("select(vec4<f32>(), r{value}, r{mask})"),
        };
        (value, Walk::None)
    }
}

/// The vector of four indices `first`, `first + step`, `first + 2 step` and `first + 3 step`.
fn all(first: &str, step: usize) -> String {
    let [a, b, c] = [step, 2 * step, 3 * step];
    format!("(vec4<u32>({first}) + vec4<u32>(0u, {a}u, {b}u, {c}u))")
}

/// The operand's element at which a view finds element `i = row + offset` of a result, or the elements of `i` to `i +
/// 3`. Where the view's last axes make up a row of the result, the outer axes follow from `row` alone and these axes
/// from `offset` alone, so that the compiler computes each part once.
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

/// The distance between the operand's elements of four neighbours in a view's domain; `None` where the distance varies.
/// At a distance of 1 the first of the four elements is a multiple of four.
fn even(view: &View) -> Option<usize> {
    let Some(last) = view.axes.last() else { return Some(0) };
    if view.is_padded() || !last.size.is_multiple_of(4) {
        return None;
    }
    let outer = &view.axes[..view.axes.len() - 1];
    let aligned = view.offset.is_multiple_of(4) && outer.iter().all(|axis| axis.stride.is_multiple_of(4));
    (last.stride != 1 || aligned).then_some(last.stride)
}

/// The coordinate along each axis of a view, as WGSL, the innermost axis last.
fn coordinates(from: &str, view: &View) -> Vec<String> {
    let mut inner = 1;
    let mut coordinates: Vec<String> = Vec::with_capacity(view.axes.len());
    for (position, axis) in view.axes.iter().enumerate().rev() {
        let divided = if inner == 1 { from.to_owned() } else { format!("{from} / {inner}u") };
        // The index is in the domain, so the outermost coordinate needs no remainder.
        coordinates.push(if position == 0 { divided } else { format!("{divided} % {}u", axis.size) });
        inner *= axis.size;
    }
    coordinates.reverse();
    coordinates
}

/// An unsigned constant, or a vector of four of them.
fn number(value: usize, four: bool) -> String {
    if four { format!("vec4<u32>({value}u)") } else { format!("{value}u") }
}

/// The operand's element that a view assigns to an index, or to each of four indices.
fn position(from: &str, view: &View, four: bool) -> String {
    let mut sum = String::new();
    for (axis, coordinate) in view.axes.iter().zip(coordinates(from, view)) {
        if axis.stride == 0 {
            continue;
        }
        let clamped = if axis.is_padded() {
            let (first, last) = (number(axis.before, four), number(axis.before + axis.inner - 1, four));
            format!("(clamp({coordinate}, {first}, {last}) - {first})")
        } else {
            format!("({coordinate})")
        };
        let _ = write!(sum, "{clamped} * {}u + ", axis.stride);
    }
    sum + &number(view.offset, four)
}

/// Whether an index, or each of four indices, meets the operand of a padded view rather than its padding.
fn inside(from: &str, view: &View, four: bool) -> String {
    let tests: Vec<String> = view
        .axes
        .iter()
        .zip(coordinates(from, view))
        .filter(|(axis, _)| axis.is_padded())
        // Below zero the difference wraps to a large number.
        .map(|(axis, coordinate)| {
            format!("(({coordinate}) - {} < {})", number(axis.before, four), number(axis.inner, four))
        })
        .collect();
    tests.join(if four { " & " } else { " && " })
}
