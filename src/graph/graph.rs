//! The graph: its nodes, scopes and effects, and the checks and errors of the methods that add ops.

use super::op::Op;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Words of the step state that [`Graph::batch`] and the random ops read: see [`crate::plan::state`].
pub const STATE_LENGTH: usize = 8;

/// The largest number of elements of one value, and of all parameters of a model together: kernels index with 32 bits.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// A node's result: a handle into the [`Graph`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

/// An op with its operands, and the shape and type of its result.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// The operands, in the op's order.
    pub operands: Vec<Value>,
    /// The result's shape.
    pub shape: Shape,
    /// The result's element type.
    pub dtype: DType,
    /// The scope in which the node was built, such as `encoder.0`; empty outside any.
    pub name: String,
    /// Whether a plan in 16 bits stores the value in 32: see [`Scope::full_precision`].
    pub full_precision: bool,
}

impl Node {
    /// The scope in which the node was built, for nodes that replace or differentiate it.
    pub(crate) fn scope(&self) -> Scope {
        Scope { name: self.name.clone(), full_precision: Some(self.full_precision) }
    }
}

/// A name for nodes, and whether they have full precision: see [`Graph::set_scope`]. A scope made from a name alone
/// keeps the precision of the scope before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub(super) name: String,
    pub(super) full_precision: Option<bool>,
}

impl Scope {
    /// A scope whose values have 32 bits, in plans that store other values in 16. Losses use it, since a difference of
    /// nearly equal numbers has no correct digit in 16 bits.
    pub fn full_precision(name: impl Into<String>) -> Scope {
        Scope { name: name.into(), full_precision: Some(true) }
    }
}

impl From<&str> for Scope {
    fn from(name: &str) -> Scope {
        Scope { name: name.to_owned(), full_precision: None }
    }
}

/// The derivative of an application's kernel: see [`CustomKernel::with_gradient`](super::CustomKernel::with_gradient).
#[derive(Clone)]
pub(super) struct Derivative {
    /// The kernel's name.
    pub(super) kernel: String,
    pub(super) rule: Arc<Gradient>,
}

/// Makes the operands' gradients from the graph, the operands, the result and the result's gradient.
type Gradient = dyn Fn(&mut Graph, &[Value], Value, Value) -> Result<Vec<Option<Value>>> + Send + Sync;

impl fmt::Debug for Derivative {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Derivative({:?})", self.kernel)
    }
}

/// How a value was composed, for a derivative in a closed form.
#[derive(Clone, Debug)]
pub(super) enum Composite {
    /// A constant to gradients.
    Detached,
    /// A value whose derivative goes to the value given here, unchanged.
    StraightThrough(Value),
    /// An application's kernel, by its derivative.
    Custom(Derivative),
    /// A recurrence, whose operands' derivatives come from one recurrence in reverse.
    Recurrence,
    /// The softmax of a value along axes.
    Softmax(Value, Vec<usize>),
    /// The logarithm of the softmax of a value along axes.
    LogSoftmax(Value, Vec<usize>),
    Standardised {
        x: Value,
        axes: Vec<usize>,
        epsilon: f64,
        mean: Value,
        variance: Value,
    },
}

/// A computation with static shapes: a list of nodes, each after its operands.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    scope: String,
    full_precision: bool,
    pub(super) streams: u32,
    /// Values whose derivative has a closed form.
    pub(super) composites: HashMap<Value, Composite>,
    /// The parameters by name.
    pub(super) parameters: HashMap<String, Value>,
    /// Parameters and their values after the step.
    assignments: Vec<(Value, Value)>,
    /// Parameters whose columns have length 1.
    unit_columns: Vec<Value>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// All nodes, each after its operands.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that computes a value.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.0]
    }

    /// A value's shape.
    pub fn shape(&self, value: Value) -> &Shape {
        &self.nodes[value.0].shape
    }

    /// Names the nodes built from now on, for errors and printed plans, and sets their precision if the scope has one.
    /// Returns the previous scope; a caller ends the new scope by setting the previous one again.
    pub fn set_scope(&mut self, scope: impl Into<Scope>) -> Scope {
        let Scope { name, full_precision } = scope.into();
        let before = Some(self.full_precision);
        self.full_precision = full_precision.unwrap_or(self.full_precision);
        Scope { name: std::mem::replace(&mut self.scope, name), full_precision: before }
    }

    // ------------------------------------------------------------------------------------------------- effects

    /// Gives a parameter a new value after the step, without a gradient. All ops of the step read the old value. Fails
    /// where `parameter` is no parameter, has been assigned before, or differs in shape from the value.
    pub fn assign(&mut self, parameter: Value, value: Value) -> Result<()> {
        let Op::Parameter { name } = &self.node(parameter).op else {
            return Err(self.error("assign", format!("{} is no parameter", self.shape(parameter))));
        };
        if self.assignments.iter().any(|(known, _)| *known == parameter) {
            return Err(self.error("assign", format!("\"{name}\" is given two values")));
        }
        self.expect_dtype("assign", value, DType::Float)?;
        if self.shape(parameter) != self.shape(value) {
            let problem = format!("\"{name}\" is {}, its new value {}", self.shape(parameter), self.shape(value));
            return Err(self.error("assign", problem));
        }
        self.assignments.push((parameter, value));
        Ok(())
    }

    /// The pairs of parameter and new value of all calls of [`Graph::assign`].
    pub fn assignments(&self) -> &[(Value, Value)] {
        &self.assignments
    }

    /// Keeps the columns of a parameter `[rows, columns]` at length 1: every step scales them after its update, except
    /// columns of zeros. Fails for values other than a matrix of parameters.
    pub fn keep_unit_columns(&mut self, parameter: Value) -> Result<()> {
        let shape = self.shape(parameter);
        if !matches!(self.node(parameter).op, Op::Parameter { .. }) || shape.len() != 2 {
            return Err(self.error("keep_unit_columns", format!("{shape} is no matrix of parameters")));
        }
        if !self.unit_columns.contains(&parameter) {
            self.unit_columns.push(parameter);
        }
        Ok(())
    }

    /// The parameters whose columns are kept at length 1.
    pub fn unit_columns(&self) -> &[Value] {
        &self.unit_columns
    }

    /// The error of an op that is about to become the next node.
    pub(super) fn error(&self, op: &'static str, problem: String) -> Error {
        Error::Graph { op, problem, node: self.nodes.len(), name: self.scope.clone() }
    }

    /// Whether nodes that are added now have full precision.
    pub(crate) fn full_precision(&self) -> bool {
        self.full_precision
    }

    pub(crate) fn push(&mut self, op: Op, operands: Vec<Value>, shape: Shape, dtype: DType) -> Value {
        debug_assert!(operands.iter().all(|v| v.0 < self.nodes.len()));
        self.nodes.push(Node {
            op,
            operands,
            shape,
            dtype,
            name: self.scope.clone(),
            full_precision: self.full_precision,
        });
        Value(self.nodes.len() - 1)
    }

    /// Adds a node of type float. Fails where its shape has a size of zero or too many elements.
    pub(super) fn push_float(&mut self, op: Op, operands: Vec<Value>, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        self.check_size(op.name(), &shape)?;
        Ok(self.push(op, operands, shape, DType::Float))
    }

    pub(crate) fn expect_state(&self, op: &'static str, state: Value) -> Result<()> {
        self.expect_dtype(op, state, DType::U32)?;
        match self.shape(state)[..] {
            [STATE_LENGTH] => Ok(()),
            _ => Err(self.error(op, format!("a step state is [{STATE_LENGTH}], not {}", self.shape(state)))),
        }
    }

    pub(super) fn expect_dtype(&self, op: &'static str, value: Value, dtype: DType) -> Result<()> {
        let found = self.node(value).dtype;
        if found == dtype {
            return Ok(());
        }
        Err(self.error(op, format!("operand {} is {found:?}, not {dtype:?}", self.shape(value))))
    }

    pub(super) fn expect_floats(&self, op: &'static str, [x, y]: [Value; 2]) -> Result<()> {
        self.expect_dtype(op, x, DType::Float)?;
        self.expect_dtype(op, y, DType::Float)
    }

    pub(super) fn check_size(&self, op: &'static str, shape: &Shape) -> Result<()> {
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        match elements {
            Some(1..=MAX_ELEMENTS) => Ok(()),
            Some(0) => Err(self.error(op, format!("{shape} has a size of zero"))),
            _ => Err(self.error(op, format!("{shape} has more than 2^31 elements"))),
        }
    }
}
