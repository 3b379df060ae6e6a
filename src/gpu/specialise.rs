//! Turns a shader file into what one step needs: the text with the step's constants in place of the file's own and the
//! fused expression in place of its neutral function. A small expander on lines, so that line numbers stay true: the
//! generated function and the shared functions follow after the file's last line.

use crate::error::{Error, Result};
use crate::plan::{Fusion, Instruction, Program, Step, View};
use std::fmt::Write;

const MATH: &str = include_str!("../../shaders/math.wgsl");

/// The WGSL of a step.
pub fn specialise(step: &Step) -> Result<String> {
    let row = step.kernel.row();
    let mut text = String::with_capacity(row.source.len() + MATH.len());
    let mut set = vec![false; row.constants.len()];
    let mut spliced = row.fusion == Fusion::No;
    let function = match row.fusion {
        Fusion::No => None,
        Fusion::Source => Some(("fn fused(i: u32) -> f32 {", "{ return expression(i); }")),
        Fusion::Epilogue => Some(("fn epilogue(value: f32, i: u32) -> f32 {", "{ return expression(value, i); }")),
    };
    for line in row.source.lines() {
        let constant = line.strip_prefix("const ").and_then(|rest| rest.split_once(": u32 = "));
        let position = constant.and_then(|(name, _)| row.constants.iter().position(|known| *known == name));
        match (position, &function, &step.program) {
            (Some(position), ..) => {
                set[position] = true;
                let _ = writeln!(text, "const {}: u32 = {}u;", row.constants[position], step.constants[position]);
            }
            (None, Some((head, body)), Some(_)) if line.starts_with(head) => {
                spliced = true;
                let _ = writeln!(text, "{} {body}", head.trim_end_matches(" {"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if let Some(missing) = set.iter().position(|found| !found) {
        return Err(broken(row.file, format!("no line sets the constant {}", row.constants[missing])));
    }
    if let Some(program) = &step.program {
        if !spliced {
            return Err(broken(row.file, "no line begins the function that a fused expression replaces".to_owned()));
        }
        text.push_str(&expression(program, row.fusion == Fusion::Epilogue));
        if program.operations() > 0 {
            text.push_str(MATH);
        }
    }
    Ok(text)
}

fn broken(file: &str, problem: String) -> Error {
    Error::Shader { place: format!("shaders/{file}"), problem }
}

/// The WGSL function of a fused expression.
fn expression(program: &Program, epilogue: bool) -> String {
    let mut text = String::from("\nfn expression(");
    if epilogue {
        text.push_str("value: f32, ");
    }
    text.push_str("i: u32) -> f32 {\n");
    for (register, instruction) in program.instructions.iter().enumerate() {
        let value = match instruction {
            Instruction::Position => "i".to_owned(),
            Instruction::Index { from, view } => index(*from, view),
            Instruction::Inside { from, view } => inside(*from, view),
            Instruction::Load { input, at } => format!("x{input}[r{at}]"),
            Instruction::Accumulator => "value".to_owned(),
            Instruction::Literal(number) => format!("{:?}f", *number as f32),
            Instruction::Unary(op, x) => format!("{}(r{x})", op.name()),
            Instruction::Binary(op, x, y) => format!("{}(r{x}, r{y})", op.name()),
            Instruction::Select { mask, value } => format!("select(0.0, r{value}, r{mask})"),
        };
        let _ = writeln!(text, "    let r{register} = {value};");
    }
    let _ = writeln!(text, "    return r{};\n}}", program.instructions.len() - 1);
    text
}

/// The coordinate along each axis of a view, as an expression, innermost last.
fn coordinates(from: usize, view: &View) -> Vec<String> {
    let mut inner = 1;
    let mut coordinates: Vec<String> = Vec::with_capacity(view.axes.len());
    for (position, axis) in view.axes.iter().enumerate().rev() {
        let divided = if inner == 1 { format!("r{from}") } else { format!("r{from} / {inner}u") };
        // The index is inside the domain, so the outermost coordinate needs no remainder.
        coordinates.push(if position == 0 { divided } else { format!("{divided} % {}u", axis.size) });
        inner *= axis.size;
    }
    coordinates.reverse();
    coordinates
}

fn index(from: usize, view: &View) -> String {
    let mut sum = String::new();
    for (axis, coordinate) in view.axes.iter().zip(coordinates(from, view)) {
        if axis.stride == 0 {
            continue;
        }
        let clamped = if axis.is_padded() {
            let (first, last) = (axis.before, axis.before + axis.inner - 1);
            format!("(clamp({coordinate}, {first}u, {last}u) - {first}u)")
        } else {
            format!("({coordinate})")
        };
        let _ = write!(sum, "{clamped} * {}u + ", axis.stride);
    }
    format!("{sum}{}u", view.offset)
}

fn inside(from: usize, view: &View) -> String {
    let tests: Vec<String> = view
        .axes
        .iter()
        .zip(coordinates(from, view))
        .filter(|(axis, _)| axis.is_padded())
        // Below zero the difference wraps to a large number.
        .map(|(axis, coordinate)| format!("(({coordinate}) - {}u < {}u)", axis.before, axis.inner))
        .collect();
    tests.join(" && ")
}
