//! Kernels that an application writes itself, for what the graph's ops cannot say.

use super::{Graph, Op, Value};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::DType;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// The most operands: with its result they are as many storage buffers as every adapter binds.
const MOST: usize = 7;

/// A kernel that an application writes: WGSL for GPUs, and a function of the same for the CPU.
///
/// Both say what one element of the result is, and nothing else: an invocation writes its own element and no other, so there
/// are no bindings, grids, guards or races to care for, and the same inputs give the same bits. The WGSL text has a function
/// `fn element(i: u32) -> f32`, and may have more functions, constants and structs beside it. Operands are the arrays
/// `x0`, `x1`, .. of f32, flat and row-major, and sizes are constants: `X0_SIZE1` is the second size of the first operand,
/// `Y_SIZE0` the first of the result. In [plans](crate::plan::Plan) such a launch is `custom.custom own NAME`. On a GPU
/// it keeps bounds checks, whatever the rest does.
///
/// ```
/// use pinhole::graph::{CustomKernel, Graph};
/// use pinhole::tensor::{DType, Tensor};
/// // Each row from its end to its beginning.
/// let reverse = CustomKernel::new(
///     "reverse",
///     "fn element(i: u32) -> f32 {
///          let row = i / Y_SIZE1;
///          return x0[row * Y_SIZE1 + Y_SIZE1 - 1u - i % Y_SIZE1];
///      }",
///     |x, i| {
///         let width = x[0].shape()[1];
///         x[0].at(i / width * width + width - 1 - i % width)
///     },
/// );
/// // A reversal is its own transpose, and so its own derivative.
/// let again = reverse.clone();
/// let reverse = reverse.with_gradient(move |graph, _, _, gradient| {
///     let shape = graph.shape(gradient).clone();
///     Ok(vec![Some(graph.custom(&again, &[gradient], shape)?)])
/// });
/// let mut graph = Graph::new();
/// let x = graph.input("x", [2, 3], DType::Float)?;
/// let y = graph.custom(&reverse, &[x], [2, 3])?;
/// let x = Tensor::from_f32([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let result = pinhole::Device::Cpu.compute(&graph, &[y], &[("x", x)])?;
/// assert_eq!(result[0].to_f32(), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
/// # Ok::<(), pinhole::Error>(())
/// ```
#[derive(Clone)]
pub struct CustomKernel(Arc<Inner>);

/// What calls `element`.
const FRAME: &str = include_str!("../../shaders/custom.wgsl");

struct Inner {
    name: String,
    source: String,
    cpu: Arc<Element>,
    gradient: Option<Arc<Gradient>>,
}

/// Operands and a number to the result's element of that number.
type Element = dyn Fn(&[Operand], usize) -> f64 + Send + Sync;

/// Graph, operands, result and its gradient to the operands' gradients.
type Gradient = dyn Fn(&mut Graph, &[Value], Value, Value) -> Result<Vec<Option<Value>>> + Send + Sync;

/// What a kernel's function on the CPU reads.
pub struct Operand<'a> {
    shape: &'a Shape,
    read: &'a (dyn Fn(usize) -> f64 + Sync),
}

impl<'a> Operand<'a> {
    /// An operand of this shape, whose elements a function gives.
    pub fn new(shape: &'a Shape, read: &'a (dyn Fn(usize) -> f64 + Sync)) -> Operand<'a> {
        Operand { shape, read }
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        self.shape
    }

    /// Element `i`, flat and row-major; 0 past the end.
    pub fn at(&self, i: usize) -> f64 {
        (self.read)(i)
    }
}

impl CustomKernel {
    /// A kernel of a name, which messages and plans call it by, a WGSL text and the CPU's function of the operands and of
    /// the element's number. [`Graph::custom`] looks at the text, when shapes are known.
    pub fn new(
        name: impl Into<String>,
        source: impl Into<String>,
        cpu: impl Fn(&[Operand], usize) -> f64 + Send + Sync + 'static,
    ) -> CustomKernel {
        CustomKernel(Arc::new(Inner { name: name.into(), source: source.into(), cpu: Arc::new(cpu), gradient: None }))
    }

    /// With a derivative, without which training cannot go through it: from the graph, the operands, the result and the
    /// result's gradient it makes the gradient of each operand, of that operand's shape, or none where an operand has none.
    pub fn with_gradient(
        self,
        gradient: impl Fn(&mut Graph, &[Value], Value, Value) -> Result<Vec<Option<Value>>> + Send + Sync + 'static,
    ) -> CustomKernel {
        let Inner { name, source, cpu, .. } = &*self.0;
        let (name, source, cpu) = (name.clone(), source.clone(), cpu.clone());
        CustomKernel(Arc::new(Inner { name, source, cpu, gradient: Some(Arc::new(gradient)) }))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Element `i` of the result, as the CPU computes it.
    pub fn element(&self, operands: &[Operand], i: usize) -> f64 {
        (self.0.cpu)(operands, i)
    }

    /// The text that the application wrote.
    pub(crate) fn source(&self) -> &str {
        &self.0.source
    }

    /// Looks at the text for operands and a result of these shapes.
    fn check(&self, operands: &[Shape], result: &Shape) -> Result<()> {
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
        // With the rest of the shader, whose names it may not take.
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
        // What is not read is not bound.
        match known.iter().find(|name| !read.contains(&&name[..])) {
            Some(unused) => refuse(&format!("its function element does not read {unused}"), "leave this operand out"),
            None => Ok(()),
        }
    }

    /// A text that naga takes.
    fn validated(&self, text: &str) -> Result<(Module, ModuleInfo)> {
        let path = format!("{}.wgsl", self.0.name);
        let refuse = |told: String| {
            let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
            Error::invalid(format!("kernel {:?}", self.0.name), told, "mend its text")
        };
        let module = naga::front::wgsl::parse_str(text);
        let module = module.map_err(|error| refuse(error.emit_to_string_with_path(text, &path)))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::default());
        let info = validator.validate(&module);
        let info = info.map_err(|error| refuse(error.emit_to_string_with_path(text, &path)))?;
        Ok((module, info))
    }
}

/// The sizes of an operand, or of the result, as constants of a text.
pub(crate) fn sizes(name: &str, shape: &Shape) -> String {
    let line = |(axis, size): (usize, &usize)| format!("const {name}_SIZE{axis}: u32 = {size}u;\n");
    shape.iter().enumerate().map(line).collect()
}

impl PartialEq for CustomKernel {
    fn eq(&self, other: &CustomKernel) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for CustomKernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CustomKernel({:?})", self.0.name)
    }
}

impl Graph {
    /// What an application's own kernel makes of operands: a value of this shape. Fails where an operand is no array of real
    /// numbers, and where naga or this crate refuses the kernel's text: with file, line and column.
    pub fn custom(&mut self, kernel: &CustomKernel, operands: &[Value], shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        if operands.len() > MOST {
            let problem = format!("{} operands given to {:?}, at most {MOST} are bound", operands.len(), kernel.name());
            return Err(self.error("custom", problem));
        }
        for operand in operands {
            self.expect_dtype("custom", *operand, DType::Float)?;
        }
        self.check_size("custom", &shape)?;
        let shapes: Vec<Shape> = operands.iter().map(|operand| self.shape(*operand).clone()).collect();
        kernel.check(&shapes, &shape)?;
        Ok(self.push(Op::Custom(kernel.clone()), operands.to_vec(), shape, DType::Float))
    }

    /// The gradients of a custom kernel's operands.
    pub(super) fn custom_rule(
        &mut self,
        kernel: &CustomKernel,
        operands: &[Value],
        result: Value,
        gradient: Value,
    ) -> Result<Vec<Option<Value>>> {
        let Some(rule) = &kernel.0.gradient else {
            let problem = format!("{:?} has no derivative: give it one by CustomKernel::with_gradient", kernel.name());
            return Err(self.error("custom", problem));
        };
        let parts = rule(self, operands, result, gradient)?;
        let given = parts.iter().zip(operands);
        let fits = given.clone().all(|(part, x)| part.is_none_or(|part| self.shape(part) == self.shape(*x)));
        if parts.len() != operands.len() || !fits {
            let shapes: Vec<String> =
                parts.iter().map(|part| part.map_or("none".to_owned(), |part| self.shape(part).to_string())).collect();
            let wanted: Vec<String> = operands.iter().map(|x| self.shape(*x).to_string()).collect();
            let problem = format!(
                "the derivative of {:?} gives {}, its operands are {}",
                kernel.name(),
                shapes.join(", "),
                wanted.join(", ")
            );
            return Err(self.error("custom", problem));
        }
        Ok(parts)
    }
}
