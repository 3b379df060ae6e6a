//! The part of an application's kernel that knows no graph: its WGSL text and its function on the CPU.

use crate::error::{Error, Result, one_line};
use crate::shape::Shape;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// The shader that calls `element`.
const FRAME: &str = include_str!("../../shaders/custom.wgsl");

/// What computes the elements of [`Op::Custom`](super::Op::Custom): a name, a WGSL text and a function for the CPU. An
/// application makes it as a part of a [`CustomKernel`](super::CustomKernel), which may have a derivative too. Clones
/// share the content, and are equal only to each other.
#[derive(Clone)]
pub struct ElementKernel(Arc<Inner>);

struct Inner {
    name: String,
    source: String,
    cpu: Box<Element>,
}

/// Computes the result's element of this index from the operands.
type Element = dyn Fn(&[Operand], usize) -> f64 + Send + Sync;

/// An operand of a kernel's function on the CPU.
pub struct Operand<'a> {
    shape: &'a Shape,
    read: &'a (dyn Fn(usize) -> f64 + Sync),
}

impl<'a> Operand<'a> {
    /// An operand of this shape, whose element of an index `read` returns.
    pub fn new(shape: &'a Shape, read: &'a (dyn Fn(usize) -> f64 + Sync)) -> Operand<'a> {
        Operand { shape, read }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        self.shape
    }

    /// Element `i`, flat and row-major; 0 past the end.
    pub fn at(&self, i: usize) -> f64 {
        (self.read)(i)
    }
}

impl ElementKernel {
    pub(super) fn new(
        name: String,
        source: String,
        cpu: impl Fn(&[Operand], usize) -> f64 + Send + Sync + 'static,
    ) -> ElementKernel {
        ElementKernel(Arc::new(Inner { name, source, cpu: Box::new(cpu) }))
    }

    /// The name in messages and plans.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Element `i` of the result, flat and row-major, as the CPU computes it.
    pub fn element(&self, operands: &[Operand], i: usize) -> f64 {
        (self.0.cpu)(operands, i)
    }

    /// The WGSL text of the application.
    pub(crate) fn source(&self) -> &str {
        &self.0.source
    }

    /// Checks the text for operands and a result of these shapes: it must be valid WGSL with a function `element` that
    /// reads every operand, and without entry points and other buffers.
    pub(super) fn check(&self, operands: &[Shape], result: &Shape) -> Result<()> {
        let refuse =
            |problem: &str, help: &str| Err(Error::invalid(format!("kernel {:?}", self.0.name), problem, help));
        let mut text = format!("{}\n{}", self.0.source, sizes("Y", result));
        for (index, shape) in operands.iter().enumerate() {
            let number = index + 1;
            let _ = writeln!(text, "@group(0) @binding({number}) var<storage, read> x{index}: array<f32>;");
            text.push_str(&sizes(&format!("X{index}"), shape));
        }
        let (module, _) = self.validated(&text)?;
        let float = |ty| module.types[ty].inner == TypeInner::Scalar(naga::Scalar::F32);
        let whole = |ty| module.types[ty].inner == TypeInner::Scalar(naga::Scalar::U32);
        let is_element = |function: &naga::Function| {
            let argument = matches!(&function.arguments[..], [argument] if whole(argument.ty));
            argument && function.result.as_ref().is_some_and(|result| float(result.ty))
        };
        if !module.functions.iter().any(|(_, f)| f.name.as_deref() == Some("element") && is_element(f)) {
            return refuse("its text has no function element", "write fn element(i: u32) -> f32 { .. }");
        }
        if !module.entry_points.is_empty() {
            return refuse("its text has an entry point", "write fn element(i: u32) -> f32 alone");
        }
        // Together with the shader around it, so that no name is defined twice.
        let rest = FRAME.lines().filter(|line| !line.starts_with("fn element("));
        let (module, info) = self.validated(&(text + &rest.collect::<Vec<_>>().join("\n")))?;
        let element = module.functions.iter().find(|(_, function)| function.name.as_deref() == Some("element"));
        let Some((element, _)) = element else { return refuse("its text has no function element", "write one") };
        let known: Vec<String> = (0..operands.len()).map(|index| format!("x{index}")).collect();
        let mut read: Vec<&str> = Vec::new();
        for (global, variable) in module.global_variables.iter() {
            let name = variable.name.as_deref().unwrap_or_default();
            let used = !info[element][global].is_empty();
            if variable.space != AddressSpace::Private
                && !known.iter().any(|known| known == name)
                && (used || name != "y")
            {
                let help = "read operands, x0, x1, .., and return the element";
                return refuse(&format!("its text has the buffer {name}"), help);
            }
            read.extend(Some(name).filter(|_| used));
        }
        // An operand that is not read would not be bound.
        match known.iter().find(|name| !read.contains(&&name[..])) {
            Some(unused) => refuse(&format!("its function element does not read {unused}"), "leave this operand out"),
            None => Ok(()),
        }
    }

    /// The module of a text. Fails where naga refuses it, with file, line and column.
    fn validated(&self, text: &str) -> Result<(Module, ModuleInfo)> {
        let path = format!("{}.wgsl", self.0.name);
        let refuse =
            |problem: String| Error::invalid(format!("kernel {:?}", self.0.name), one_line(&problem), "mend its text");
        let module = naga::front::wgsl::parse_str(text);
        let module = module.map_err(|error| refuse(error.emit_to_string_with_path(text, &path)))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::default());
        let info = validator.validate(&module);
        let info = info.map_err(|error| refuse(error.emit_to_string_with_path(text, &path)))?;
        Ok((module, info))
    }
}

/// WGSL constants with the sizes of an operand or of the result.
pub(crate) fn sizes(name: &str, shape: &Shape) -> String {
    let line = |(axis, size): (usize, &usize)| format!("const {name}_SIZE{axis}: u32 = {size}u;\n");
    shape.iter().enumerate().map(line).collect()
}

impl PartialEq for ElementKernel {
    fn eq(&self, other: &ElementKernel) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for ElementKernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ElementKernel({:?})", self.0.name)
    }
}
