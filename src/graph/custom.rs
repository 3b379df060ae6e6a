//! Kernels that an application writes itself, for what the graph's ops cannot express.

use super::element::{ElementKernel, Operand};
use super::graph::{Composite, Derivative, Graph, Value};
use super::op::Op;
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::DType;
use std::sync::Arc;

/// Largest number of operands: every adapter binds eight storage buffers, and the result is one of them.
const MOST: usize = 7;

/// A kernel that an application writes: a WGSL text for GPUs, and a function for the CPU with the same results.
///
/// Both compute one element of the result. An invocation writes only its element, so there are no bindings, grids,
/// guards or races to care for, and equal inputs give equal bits. The WGSL text has a function
/// `fn element(i: u32) -> f32`, and may have further functions, constants and structs. Operands are the arrays `x0`,
/// `x1`, .. of f32, flat and row-major, and sizes are constants: `X0_SIZE1` is the second size of the first operand,
/// `Y_SIZE0` the first of the result. [Plans](crate::plan::Plan) print such a launch as `custom.custom own NAME`. On a
/// GPU it always has bounds checks.
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
#[derive(Clone, Debug)]
pub struct CustomKernel {
    element: ElementKernel,
    derivative: Option<Derivative>,
}

impl CustomKernel {
    /// A kernel from its name in messages and plans, its WGSL text, and the CPU's function of the operands and the
    /// element's index. [`Graph::custom`] checks the text, since only then are the shapes known.
    pub fn new(
        name: impl Into<String>,
        source: impl Into<String>,
        cpu: impl Fn(&[Operand], usize) -> f64 + Send + Sync + 'static,
    ) -> CustomKernel {
        CustomKernel { element: ElementKernel::new(name.into(), source.into(), cpu), derivative: None }
    }

    /// Adds a derivative, without which [`Graph::gradients`] fails where it meets the kernel. From the graph, the
    /// operands, the result and the result's gradient, `gradient` makes the gradient of each operand, in the shape of
    /// that operand, or `None` for an operand without a derivative.
    pub fn with_gradient(
        self,
        gradient: impl Fn(&mut Graph, &[Value], Value, Value) -> Result<Vec<Option<Value>>> + Send + Sync + 'static,
    ) -> CustomKernel {
        let derivative = Derivative { kernel: self.name().to_owned(), rule: Arc::new(gradient) };
        CustomKernel { derivative: Some(derivative), ..self }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.element.name()
    }
}

impl Graph {
    /// The result, in shape `shape`, of an application's kernel on at most seven operands. Fails where an operand is
    /// not of type float, and where naga or this crate refuses the kernel's text: with file, line and column.
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
        kernel.element.check(&shapes, &shape)?;
        let y = self.push(Op::Custom(kernel.element.clone()), operands.to_vec(), shape, DType::Float);
        if let Some(derivative) = &kernel.derivative {
            self.composites.insert(y, Composite::Custom(derivative.clone()));
        }
        Ok(y)
    }

    /// The gradients of the operands of `y`, by the derivative of the kernel that computes it. Fails where their number
    /// or their shapes are not those of the operands.
    pub(super) fn custom_rule(&mut self, derivative: &Derivative, y: Value, g: Value) -> Result<Vec<(Value, Value)>> {
        let node = self.node(y).clone();
        let parts = (derivative.rule)(self, &node.operands, y, g)?;
        let given = parts.iter().zip(&node.operands);
        let fits = given.clone().all(|(part, x)| part.is_none_or(|part| self.shape(part) == self.shape(*x)));
        if parts.len() != node.operands.len() || !fits {
            let shown = |part: &Option<Value>| part.map_or("none".to_owned(), |part| self.shape(part).to_string());
            let shapes: Vec<String> = parts.iter().map(shown).collect();
            let wanted: Vec<String> = node.operands.iter().map(|x| self.shape(*x).to_string()).collect();
            let (shapes, wanted) = (shapes.join(", "), wanted.join(", "));
            let problem =
                format!("the derivative of {:?} gives {shapes}, its operands are {wanted}", derivative.kernel);
            return Err(self.error("custom", problem));
        }
        Ok(given.filter_map(|(part, x)| Some((*x, (*part)?))).collect())
    }
}
