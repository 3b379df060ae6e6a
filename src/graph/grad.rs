//! Reverse-mode differentiation: one rule per op, each written in ordinary ops and preceded by the derivative in words.
//!
//! Kernels never add to their output, so where two gradients meet they are joined by an `Add` node.

use super::graph::{Graph, Scope, Value};
use super::op::{Binary, Op, Reduction, Unary};
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::DType;

impl Graph {
    /// The derivative of the scalar `loss` by each of `by`, as new nodes of this graph, which can be differentiated
    /// again. The derivative by a value that `loss` does not depend on is a constant zero. Fails where `loss` is not
    /// one number of type float, and where an op on the way has no derivative.
    pub fn gradients(&mut self, loss: Value, by: &[Value]) -> Result<Vec<Value>> {
        self.derivatives(None, loss, by)
    }

    /// [`gradients`](Graph::gradients) multiplied by `scale`, which stands in for the derivative of the loss by itself.
    /// Fails as `gradients` does, and where `scale` has another shape or type than the loss.
    pub fn gradients_times(&mut self, scale: Value, loss: Value, by: &[Value]) -> Result<Vec<Value>> {
        self.derivatives(Some(scale), loss, by)
    }

    fn derivatives(&mut self, scale: Option<Value>, loss: Value, by: &[Value]) -> Result<Vec<Value>> {
        if self.shape(loss).elements() != 1 || self.node(loss).dtype != DType::Float {
            return Err(self.error("gradients", format!("the loss must be one number, not {}", self.shape(loss))));
        }
        if let Some(scale) = scale
            && (self.shape(scale) != self.shape(loss) || self.node(scale).dtype != DType::Float)
        {
            let problem = format!("the loss is {}, its scale {}", self.shape(loss), self.shape(scale));
            return Err(self.error("gradients", problem));
        }
        let scope = self.set_scope(Scope { full_precision: Some(false), ..Scope::default() });
        let result = self.backward(scale, loss, by);
        self.set_scope(scope);
        result
    }

    fn backward(&mut self, scale: Option<Value>, loss: Value, by: &[Value]) -> Result<Vec<Value>> {
        // Only nodes on a path from `by` to the loss need a gradient.
        let mut needed = vec![false; loss.0 + 1];
        for value in by.iter().filter(|value| value.0 <= loss.0) {
            needed[value.0] = true;
        }
        for index in 0..=loss.0 {
            needed[index] |= self.nodes()[index].operands.iter().any(|operand| needed[operand.0]);
        }
        let mut gradients: Vec<Option<Value>> = vec![None; loss.0 + 1];
        gradients[loss.0] = Some(match scale {
            Some(scale) => scale,
            None => self.constant(1.0, self.shape(loss).clone())?,
        });
        for index in (0..=loss.0).rev() {
            let Some(upstream) = gradients[index].filter(|_| needed[index]) else { continue };
            let node = self.nodes()[index].clone();
            self.set_scope(node.scope());
            if let Some(composite) = self.composites.get(&Value(index)).cloned() {
                let parts = self.composite_rule(&composite, Value(index), upstream, &needed)?;
                for (operand, part) in parts.into_iter().filter(|(operand, _)| needed[operand.0]) {
                    self.accumulate(&mut gradients, operand, part)?;
                }
                continue;
            }
            for (position, operand) in node.operands.iter().enumerate().filter(|(_, operand)| needed[operand.0]) {
                if let Some(part) = self.rule(&node.op, &node.operands, position, Value(index), upstream)? {
                    self.accumulate(&mut gradients, *operand, part)?;
                }
            }
        }
        by.iter()
            .map(|value| match gradients.get(value.0).copied().flatten() {
                Some(gradient) => Ok(gradient),
                None => self.constant(0.0, self.shape(*value).clone()),
            })
            .collect()
    }

    /// Adds a part of a value's gradient to the parts found before.
    fn accumulate(&mut self, gradients: &mut [Option<Value>], value: Value, part: Value) -> Result<()> {
        gradients[value.0] = Some(match gradients[value.0] {
            Some(sum) => self.add(sum, part)?,
            None => part,
        });
        Ok(())
    }

    /// The part of the gradient that flows from node `y` with gradient `g` to its operand at `position`; `None` for a
    /// gradient of zeros.
    fn rule(&mut self, op: &Op, operands: &[Value], position: usize, y: Value, g: Value) -> Result<Option<Value>> {
        let x = operands[position];
        let shape = self.shape(x).clone();
        let gradient = match op {
            // Sources have no operands. Draws and indices do not depend on operands, and marks of the top k only by
            // jumps.
            Op::Input { .. } | Op::Parameter { .. } | Op::Constant(_) | Op::Iota => return Ok(None),
            Op::RandomUniform { .. } | Op::RandomBits { .. } | Op::Batch | Op::Indices { .. } | Op::TopK { .. } => {
                return Ok(None);
            }
            // Composites, whose rule gives the derivatives by all operands together.
            Op::Lstm(_) | Op::Gru(_) | Op::LinearRecurrence { .. } => return Ok(None),
            Op::Unary(unary) => return self.unary_rule(*unary, x, y, g),
            Op::Binary(binary) => return self.binary_rule(*binary, operands, position, y, g),
            Op::MatMul { transpose_lhs, transpose_rhs } => {
                self.matmul_rule(operands, position, g, *transpose_lhs, *transpose_rhs)?
            }
            // The trio is bilinear: each derivative is the member that maps the other two shapes to the missing one.
            Op::Conv2d(window) => match position {
                0 => self.conv2d_grad_input(g, operands[1], *window, [shape[2], shape[3]])?,
                _ => self.conv2d_grad_weight(operands[0], g, *window, [shape[2], shape[3]])?,
            },
            Op::Conv2dGradInput(window) => match position {
                0 => self.conv2d(g, operands[1], *window)?,
                _ => self.conv2d_grad_weight(g, operands[0], *window, [shape[2], shape[3]])?,
            },
            Op::Conv2dGradWeight(window) => match position {
                0 => self.conv2d_grad_input(operands[1], g, *window, [shape[2], shape[3]])?,
                _ => self.conv2d(operands[0], g, *window)?,
            },
            // Linear in the first operand. The keys only choose elements, so the result depends on them only by jumps.
            Op::Pool(..) if position > 0 => return Ok(None),
            Op::Pool(pool, pooling) => {
                self.pool(pool.transposed(), g, operands.get(1).copied(), *pooling, [shape[2], shape[3]])?
            }
            // The sum over the repetitions of each element.
            Op::Broadcast => self.sum_to(g, &shape)?,
            Op::Reshape => self.reshape(g, shape)?,
            // The inverse order of axes.
            Op::Permute(axes) => {
                let mut inverse = vec![0; axes.len()];
                for (to, from) in axes.iter().enumerate() {
                    inverse[*from] = to;
                }
                self.permute(g, &inverse)?
            }
            // Zeros for the elements that were cut away, which have no influence.
            Op::Slice { start } => {
                let after = (0..shape.len()).map(|axis| shape[axis] - start[axis] - self.shape(y)[axis]);
                let after: Vec<usize> = after.collect();
                self.pad(g, start, &after)?
            }
            // The padding is constant, and its gradient is cut away.
            Op::Pad { before } => self.slice(g, before, shape)?,
            // The slice of the gradient at the operand's position.
            Op::Concat { axis } => {
                let mut start = vec![0; shape.len()];
                start[*axis] = operands[..position].iter().map(|operand| self.shape(*operand)[*axis]).sum();
                self.slice(g, &start, shape)?
            }
            // d sum = 1 for each element
            Op::Reduce { reduction: Reduction::Sum, axes } => self.spread(g, axes, &shape)?,
            Op::Reduce { reduction: Reduction::Max, axes } => self.max_rule(x, axes, y, g)?,
            // The gradients of rows flow back to the rows that they were read from. Indices have no derivative.
            Op::Gather if position == 0 => self.scatter_add(g, operands[1], shape[0])?,
            Op::ScatterAdd if position == 0 => self.gather(g, operands[1])?,
            Op::Gather | Op::ScatterAdd => return Ok(None),
            // A kernel that has a derivative is a composite.
            Op::Custom(kernel) => {
                let help = "give it one by CustomKernel::with_gradient";
                return Err(self.error("custom", format!("{:?} has no derivative: {help}", kernel.name())));
            }
            // An op for data, through which nothing is trained.
            Op::Warp => return Err(self.error("warp", "it has no derivative: use it on data".into())),
        };
        Ok(Some(gradient))
    }

    fn unary_rule(&mut self, op: Unary, x: Value, y: Value, g: Value) -> Result<Option<Value>> {
        let slope = match op {
            // d(-x) = -1
            Unary::Negate => return self.unary(Unary::Negate, g).map(Some),
            // d|x| = sign x
            Unary::Absolute => self.unary(Unary::Sign, x)?,
            // 0 on both sides of the jump
            Unary::Sign | Unary::Step => return Ok(None),
            // d x² = 2 x
            Unary::Square => self.scale(x, 2.0)?,
            // d √x = 1 / (2 √x)
            Unary::SquareRoot => {
                let inverse = self.unary(Unary::Reciprocal, y)?;
                self.scale(inverse, 0.5)?
            }
            // d 1/x = -1/x²
            Unary::Reciprocal => {
                let square = self.unary(Unary::Square, y)?;
                self.unary(Unary::Negate, square)?
            }
            // d eˣ = eˣ
            Unary::Exp => y,
            // d ln x = 1/x
            Unary::Ln => self.unary(Unary::Reciprocal, x)?,
            // d max(x, 0) = 1 where x > 0, else 0. It is taken from the output, so that the input need not be kept.
            Unary::Relu => self.unary(Unary::Step, y)?,
            // d s = s (1 - s)
            Unary::Sigmoid => self.sigmoid_slope(y)?,
            // d tanh = 1 - tanh²
            Unary::Tanh => self.tanh_slope(y)?,
            // d ln(1 + eˣ) = sigmoid x
            Unary::Softplus => self.unary(Unary::Sigmoid, x)?,
            // d x s(x) = s + x s (1 - s) = s + y (1 - s)
            Unary::Silu => {
                let sigmoid = self.unary(Unary::Sigmoid, x)?;
                let rest = self.one_minus(sigmoid)?;
                let rest = self.multiply(y, rest)?;
                self.add(sigmoid, rest)?
            }
            // d x Φ(x) = Φ(x) + x φ(x)
            Unary::Gelu => {
                let scaled = self.scale(x, std::f64::consts::FRAC_1_SQRT_2)?;
                let erf = self.unary(Unary::Erf, scaled)?;
                let half = self.scale(erf, 0.5)?;
                let distribution = self.with_number(Binary::Add, half, 0.5)?;
                let bell = self.bell(x, -0.5)?;
                let density = self.scale(bell, 1.0 / (2.0 * std::f64::consts::PI).sqrt())?;
                let rest = self.multiply(x, density)?;
                self.add(distribution, rest)?
            }
            // d erf x = 2/√π e^(-x²)
            Unary::Erf => {
                let bell = self.bell(x, -1.0)?;
                self.scale(bell, std::f64::consts::FRAC_2_SQRT_PI)?
            }
            // d sin = cos
            Unary::Sine => self.unary(Unary::Cosine, x)?,
            // d cos = -sin
            Unary::Cosine => {
                let sine = self.unary(Unary::Sine, x)?;
                self.unary(Unary::Negate, sine)?
            }
            // d Φ⁻¹(x) = 1/φ(y) = √(2π) e^(y²/2)
            Unary::NormalQuantile => {
                let bell = self.bell(y, 0.5)?;
                self.scale(bell, (2.0 * std::f64::consts::PI).sqrt())?
            }
        };
        self.multiply(g, slope).map(Some)
    }

    fn binary_rule(
        &mut self,
        op: Binary,
        operands: &[Value],
        position: usize,
        z: Value,
        g: Value,
    ) -> Result<Option<Value>> {
        let (x, y) = (operands[0], operands[1]);
        let first = position == 0;
        let slope = match op {
            // d(x + y) = 1, 1
            Binary::Add => return Ok(Some(g)),
            // d(x - y) = 1, -1
            Binary::Subtract if first => return Ok(Some(g)),
            Binary::Subtract => return self.unary(Unary::Negate, g).map(Some),
            // d(x y) = y, x
            Binary::Multiply => operands[1 - position],
            // d(x / y) = 1/y, -(x/y)/y
            Binary::Divide => {
                let part = self.divide(g, y)?;
                if first {
                    return Ok(Some(part));
                }
                let part = self.multiply(part, z)?;
                return self.unary(Unary::Negate, part).map(Some);
            }
            // d max(x, y) = 1 by the larger operand, 0 by the other, and 1/2 by each of equal ones, as in PyTorch
            Binary::Maximum => self.extremum_slope(operands[1 - position], operands[position], [x, y])?,
            // d min(x, y) = 1 by the smaller operand, 0 by the other, and 1/2 by each of equal ones
            Binary::Minimum => self.extremum_slope(operands[position], operands[1 - position], [x, y])?,
            // d xʸ = y x^(y-1), xʸ ln x
            Binary::Power if first => {
                let exponent = self.with_number(Binary::Subtract, y, 1.0)?;
                let power = self.binary(Binary::Power, x, exponent)?;
                self.multiply(y, power)?
            }
            Binary::Power => {
                let logarithm = self.unary(Unary::Ln, x)?;
                self.multiply(z, logarithm)?
            }
            // 0 on both sides of the jump
            Binary::Less | Binary::Equal => return Ok(None),
            // d = sigmoid(x) - y by the logit, -x by the target
            Binary::BceWithLogits if first => {
                let sigmoid = self.unary(Unary::Sigmoid, x)?;
                self.subtract(sigmoid, y)?
            }
            Binary::BceWithLogits => self.unary(Unary::Negate, x)?,
            Binary::LeakyRelu | Binary::Elu => self.rectifier_slope(op, [x, y, z], first)?,
        };
        self.multiply(g, slope).map(Some)
    }

    /// The slope of a maximum or a minimum: 1 where `low < high`, 1/2 where x = y, else 0.
    fn extremum_slope(&mut self, low: Value, high: Value, [x, y]: [Value; 2]) -> Result<Value> {
        let wins = self.binary(Binary::Less, low, high)?;
        let draw = self.binary(Binary::Equal, x, y)?;
        let draw = self.scale(draw, 0.5)?;
        self.add(wins, draw)
    }

    /// The slope of z = leaky_relu(x, y) or z = elu(x, y), by x (`first`) or by y.
    fn rectifier_slope(&mut self, op: Binary, [x, y, z]: [Value; 3], first: bool) -> Result<Value> {
        let positive = self.unary(Unary::Step, x)?;
        let negative = self.one_minus(positive)?;
        let slope = match (op == Binary::Elu, first) {
            // d leaky_relu(x, y) = 1 where x > 0, else y
            (false, true) => y,
            // and by y: 0 where x > 0, else x
            (false, false) => x,
            // d elu(x, y) = 1 where x > 0, else y eˣ = z + y
            (true, true) => self.add(z, y)?,
            // and by y: 0 where x > 0, else eˣ - 1
            (true, false) => self.with_number(Binary::Elu, x, 1.0)?,
        };
        let slope = self.multiply(negative, slope)?;
        if first { self.add(positive, slope) } else { Ok(slope) }
    }

    /// The derivative of the maxima `y` of x along `axes`: the gradient of each goes to the largest element, in equal
    /// parts where several are the largest.
    fn max_rule(&mut self, x: Value, axes: &[usize], y: Value, g: Value) -> Result<Value> {
        let shape = self.shape(x).clone();
        let largest = self.spread(y, axes, &shape)?;
        let hit = self.binary(Binary::Equal, x, largest)?;
        let hits = self.sum(hit, axes)?;
        let share = self.divide(g, hits)?;
        let share = self.spread(share, axes, &shape)?;
        self.multiply(hit, share)
    }

    /// C = A B gives dA = dC Bᵀ and dB = Aᵀ dC; the flags `ta` and `tb` only move the transposes. The gradient of an
    /// operand that a batch of products shares is the sum over the batch.
    fn matmul_rule(&mut self, operands: &[Value], position: usize, g: Value, ta: bool, tb: bool) -> Result<Value> {
        let (a, b) = (operands[0], operands[1]);
        let gradient = match (position, ta, tb) {
            (0, false, _) => self.matmul(g, b, false, !tb)?,
            (0, true, _) => self.matmul(b, g, tb, true)?,
            (_, _, false) => self.matmul(a, g, !ta, false)?,
            (_, _, true) => self.matmul(g, a, true, ta)?,
        };
        let shape = self.shape(operands[position]).clone();
        self.sum_to(gradient, &shape)
    }

    /// Sums over the axes along which `shape` was broadcast to `x`'s shape.
    fn sum_to(&mut self, x: Value, shape: &Shape) -> Result<Value> {
        let from = self.shape(x).clone();
        let lead = from.len() - shape.len();
        let repeated = |axis: &usize| *axis < lead || shape[*axis - lead] != from[*axis];
        let axes: Vec<usize> = (0..from.len()).filter(repeated).collect();
        let sum = self.sum(x, &axes)?;
        self.reshape(sum, shape.clone())
    }

    /// Repeats a reduction's result along the axes that it removed.
    pub(super) fn spread(&mut self, x: Value, axes: &[usize], shape: &Shape) -> Result<Value> {
        let kept: Shape = (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
        let kept = self.reshape(x, kept)?;
        self.broadcast(kept, shape.clone())
    }

    pub(crate) fn one_minus(&mut self, x: Value) -> Result<Value> {
        let one = self.constant(1.0, [])?;
        self.subtract(one, x)
    }

    /// The derivative of y = sigmoid(x), from y: y (1 - y).
    pub(super) fn sigmoid_slope(&mut self, y: Value) -> Result<Value> {
        let rest = self.one_minus(y)?;
        self.multiply(y, rest)
    }

    /// The derivative of y = tanh(x), from y: 1 - y².
    pub(super) fn tanh_slope(&mut self, y: Value) -> Result<Value> {
        let square = self.unary(Unary::Square, y)?;
        self.one_minus(square)
    }

    /// e^(factor x²)
    fn bell(&mut self, x: Value, factor: f64) -> Result<Value> {
        let square = self.unary(Unary::Square, x)?;
        let scaled = self.scale(square, factor)?;
        self.unary(Unary::Exp, scaled)
    }
}
