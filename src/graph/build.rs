//! The methods that add ops to a graph. Each checks its operands' shapes, so a graph that exists is well formed.

use super::graph::{Graph, STATE_LENGTH, Value};
use super::op::{Binary, Op, Pool, Pooling, Reduction, Unary, Window};
use crate::error::Result;
use crate::shape::{Shape, conv_output, dilated};
use crate::tensor::DType;

impl Graph {
    // ------------------------------------------------------------------------------------------------- sources

    /// A value that the caller writes to the device under `name` before a run. Fails for [`DType::Half`].
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>, dtype: DType) -> Result<Value> {
        let shape = shape.into();
        self.check_size("input", &shape)?;
        if dtype == DType::Half {
            return Err(self.error("input", format!("\"{name}\" is asked for in 16 bits, which only plans use")));
        }
        Ok(self.push(Op::Input { name: name.to_owned() }, vec![], shape, dtype))
    }

    /// A trained value. A second call with a name returns the value of the first, and fails if the shapes differ.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        self.check_size("parameter", &shape)?;
        match self.parameters.get(name) {
            Some(known) if *self.shape(*known) == shape => return Ok(*known),
            Some(known) => {
                let problem = format!("\"{name}\" is {}, asked for as {shape}", self.shape(*known));
                return Err(self.error("parameter", problem));
            }
            None => {}
        }
        let parameter = self.push(Op::Parameter { name: name.to_owned() }, vec![], shape, DType::Float);
        self.parameters.insert(name.to_owned(), parameter);
        Ok(parameter)
    }

    /// A value whose every element is one number. Fails where f32 cannot hold the number as finite.
    pub fn constant(&mut self, value: f64, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        self.check_size("constant", &shape)?;
        if value.is_nan() || value.abs() > f32::MAX as f64 {
            return Err(self.error("constant", format!("{value} is no finite 32-bit number")));
        }
        Ok(self.push(Op::Constant(value), vec![], shape, DType::Float))
    }

    /// The numbers 0, 1, 2, .. `[count]`. Fails unless `count` is between 1 and 2^24, up to which f32 is exact. The
    /// numbers take no memory where a launch uses them element by element.
    pub fn iota(&mut self, count: usize) -> Result<Value> {
        if count == 0 || count > 1 << 24 {
            return Err(self.error("iota", format!("{count} is not between 1 and 2^24")));
        }
        Ok(self.push(Op::Iota, vec![], [count].into(), DType::Float))
    }

    /// An input `[STATE_LENGTH]` u32: the step state that [`Graph::batch`] and the random ops read.
    pub fn state(&mut self, name: &str) -> Result<Value> {
        self.input(name, [STATE_LENGTH], DType::U32)
    }

    /// `batch` rows of `data` `[samples, ..]`, in the order of `permutation` `[samples]`, beginning at the state's
    /// offset. A byte becomes byte/255, correctly rounded.
    pub fn batch(&mut self, data: Value, permutation: Value, state: Value, batch: usize) -> Result<Value> {
        let (rows, order) = (self.shape(data).clone(), self.shape(permutation).clone());
        self.expect_dtype("batch", permutation, DType::U32)?;
        self.expect_state("batch", state)?;
        if self.node(data).dtype == DType::U32 {
            return Err(self.error("batch", "data must be bytes or floats, not u32".into()));
        }
        if rows.is_empty() || order.len() != 1 || order[0] != rows[0] {
            return Err(self.error("batch", format!("data {rows} and permutation {order} differ in samples")));
        }
        if batch == 0 || batch > rows[0] {
            return Err(self.error("batch", format!("batch {batch} is not between 1 and {} samples", rows[0])));
        }
        let shape = std::iter::once(batch).chain(rows[1..].iter().copied()).collect();
        Ok(self.push(Op::Batch, vec![data, permutation, state], shape, DType::Float))
    }

    /// Uniform draws in `[0, 1)`. Each call has a separate stream; equal seeds and steps draw equal numbers.
    pub fn random_uniform(&mut self, state: Value, shape: impl Into<Shape>) -> Result<Value> {
        let (shape, stream) = self.random("random_uniform", state, shape.into())?;
        Ok(self.push(Op::RandomUniform { stream }, vec![state], shape, DType::Float))
    }

    /// The generator's 32-bit words, equal to those of [`rng::words`](crate::rng::words) on the host.
    pub fn random_bits(&mut self, state: Value, shape: impl Into<Shape>) -> Result<Value> {
        let (shape, stream) = self.random("random_bits", state, shape.into())?;
        Ok(self.push(Op::RandomBits { stream }, vec![state], shape, DType::U32))
    }

    /// Draws from the standard normal distribution.
    pub fn random_normal(&mut self, state: Value, shape: impl Into<Shape>) -> Result<Value> {
        let uniform = self.random_uniform(state, shape)?;
        self.unary(Unary::NormalQuantile, uniform)
    }

    /// 1 with the given probability, else 0.
    pub fn random_bernoulli(&mut self, state: Value, probability: f64, shape: impl Into<Shape>) -> Result<Value> {
        if !(0.0..=1.0).contains(&probability) {
            let problem = format!("probability {probability} is not between 0 and 1");
            return Err(self.error("random_bernoulli", problem));
        }
        let uniform = self.random_uniform(state, shape)?;
        let probability = self.constant(probability, self.shape(uniform).clone())?;
        self.binary(Binary::Less, uniform, probability)
    }

    // --------------------------------------------------------------------------------------------- elementwise

    /// An elementwise function of one operand.
    pub fn unary(&mut self, op: Unary, x: Value) -> Result<Value> {
        self.expect_dtype(op.name(), x, DType::Float)?;
        let shape = self.shape(x).clone();
        Ok(self.push(Op::Unary(op), vec![x], shape, DType::Float))
    }

    /// An elementwise function of two operands, which are broadcast to a common shape as in NumPy.
    pub fn binary(&mut self, op: Binary, x: Value, y: Value) -> Result<Value> {
        self.expect_floats(op.name(), [x, y])?;
        let (a, b) = (self.shape(x).clone(), self.shape(y).clone());
        let Some(shape) = common_shape(&a, &b) else {
            return Err(self.error(op.name(), format!("shapes do not broadcast: lhs {a} x rhs {b}")));
        };
        if let Some(folded) = self.fold(op, x, y, &shape)? {
            return Ok(folded);
        }
        let x = self.broadcast(x, shape.clone())?;
        let y = self.broadcast(y, shape.clone())?;
        Ok(self.push(Op::Binary(op), vec![x, y], shape, DType::Float))
    }

    /// x + y, broadcast.
    pub fn add(&mut self, x: Value, y: Value) -> Result<Value> {
        self.binary(Binary::Add, x, y)
    }

    /// x - y, broadcast.
    pub fn subtract(&mut self, x: Value, y: Value) -> Result<Value> {
        self.binary(Binary::Subtract, x, y)
    }

    /// x y, elementwise and broadcast.
    pub fn multiply(&mut self, x: Value, y: Value) -> Result<Value> {
        self.binary(Binary::Multiply, x, y)
    }

    /// x / y, broadcast.
    pub fn divide(&mut self, x: Value, y: Value) -> Result<Value> {
        self.binary(Binary::Divide, x, y)
    }

    /// A binary op whose second operand is a number.
    pub fn with_number(&mut self, op: Binary, x: Value, number: f64) -> Result<Value> {
        let number = self.constant(number, [])?;
        self.binary(op, x, number)
    }

    /// x times a number.
    pub fn scale(&mut self, x: Value, factor: f64) -> Result<Value> {
        self.with_number(Binary::Multiply, x, factor)
    }

    // ------------------------------------------------------------------------------------------------ products

    /// The matrix product over the last two axes, each operand optionally transposed. Leading axes must agree; an
    /// operand without leading axes takes part in every product.
    pub fn matmul(&mut self, lhs: Value, rhs: Value, transpose_lhs: bool, transpose_rhs: bool) -> Result<Value> {
        self.expect_floats("matmul", [lhs, rhs])?;
        let (a, b) = (self.shape(lhs).clone(), self.shape(rhs).clone());
        let shown = |shape: &Shape, transposed| format!("{shape}{}", if transposed { " transposed" } else { "" });
        let both = format!("lhs {} x rhs {}", shown(&a, transpose_lhs), shown(&b, transpose_rhs));
        if a.len() < 2 || b.len() < 2 {
            return Err(self.error("matmul", format!("operands need two axes or more: {both}")));
        }
        let (batch_a, matrix_a) = a.split_at(a.len() - 2);
        let (batch_b, matrix_b) = b.split_at(b.len() - 2);
        let (row, column) = (usize::from(transpose_lhs), usize::from(!transpose_rhs));
        if matrix_a[1 - row] != matrix_b[1 - column] {
            return Err(self.error("matmul", format!("inner sizes differ: {both}")));
        }
        if batch_a != batch_b && !batch_a.is_empty() && !batch_b.is_empty() {
            return Err(self.error("matmul", format!("leading sizes differ: {both}")));
        }
        let batch = if batch_a.is_empty() { batch_b } else { batch_a };
        let shape: Shape = batch.iter().copied().chain([matrix_a[row], matrix_b[column]]).collect();
        self.push_float(Op::MatMul { transpose_lhs, transpose_rhs }, vec![lhs, rhs], shape)
    }

    /// Cross-correlation of `x` `[n, c, h, w]` with `weight` `[o, c / groups, r, s]`: `[n, o, p, q]`.
    pub fn conv2d(&mut self, x: Value, weight: Value, window: Window) -> Result<Value> {
        let [n, c, h, w] = self.expect_rank4("conv2d", x, "x")?;
        let [o, wc, r, s] = self.expect_rank4("conv2d", weight, "weight")?;
        self.expect_groups("conv2d", window, [c, o])?;
        if c != wc * window.groups {
            let problem = format!("channels differ: x {} x weight {}", self.shape(x), self.shape(weight));
            return Err(self.error("conv2d", problem));
        }
        let [p, q] = self.positions("conv2d", [h, w], [r, s], window)?;
        self.push_float(Op::Conv2d(window), vec![x, weight], [n, o, p, q])
    }

    /// The derivative of [`Graph::conv2d`] by its input: `upstream` `[n, o, p, q]` and `weight` `[o, c / groups, r, s]`
    /// give `[n, c, h, w]`, where `input` is `[h, w]`. Also the transposed convolution, for
    /// PyTorch's weight `[in, out / groups, r, s]`.
    pub fn conv2d_grad_input(
        &mut self,
        upstream: Value,
        weight: Value,
        window: Window,
        input: [usize; 2],
    ) -> Result<Value> {
        let [n, o, p, q] = self.expect_rank4("conv2d_grad_input", upstream, "upstream")?;
        let [wo, wc, r, s] = self.expect_rank4("conv2d_grad_input", weight, "weight")?;
        let c = wc.saturating_mul(window.groups);
        if o != wo {
            let problem = format!("channels differ: upstream {} x weight {}", self.shape(upstream), self.shape(weight));
            return Err(self.error("conv2d_grad_input", problem));
        }
        self.expect_groups("conv2d_grad_input", window, [c, o])?;
        if self.positions("conv2d_grad_input", input, [r, s], window)? != [p, q] {
            let upstream = self.shape(upstream);
            let problem = format!("input {input:?} does not give upstream {upstream} with {}", described(window));
            return Err(self.error("conv2d_grad_input", problem));
        }
        self.push_float(Op::Conv2dGradInput(window), vec![upstream, weight], [n, c, input[0], input[1]])
    }

    /// The derivative of [`Graph::conv2d`] by its weight: `x` `[n, c, h, w]` and `upstream` `[n, o, p, q]` give
    /// `[o, c / groups, r, s]`, where `kernel` is `[r, s]`.
    pub fn conv2d_grad_weight(
        &mut self,
        x: Value,
        upstream: Value,
        window: Window,
        kernel: [usize; 2],
    ) -> Result<Value> {
        let [n, c, h, w] = self.expect_rank4("conv2d_grad_weight", x, "x")?;
        let [un, o, p, q] = self.expect_rank4("conv2d_grad_weight", upstream, "upstream")?;
        self.expect_groups("conv2d_grad_weight", window, [c, o])?;
        if n != un || self.positions("conv2d_grad_weight", [h, w], kernel, window)? != [p, q] {
            let problem = format!("x {} does not give upstream {}", self.shape(x), self.shape(upstream));
            return Err(self.error("conv2d_grad_weight", problem));
        }
        let shape = [o, c / window.groups, kernel[0], kernel[1]];
        self.push_float(Op::Conv2dGradWeight(window), vec![x, upstream], shape)
    }

    // ------------------------------------------------------------------------------------------------- pooling

    /// The largest element of each window of `x` `[n, c, h, w]`: `[n, c, p, q]`. The derivative goes to the first of
    /// equal elements, as in PyTorch.
    pub fn max_pool(&mut self, x: Value, pooling: Pooling) -> Result<Value> {
        let size = self.pooled("max_pool", x, pooling)?;
        self.pool(Pool::Max, x, Some(x), pooling, size)
    }

    /// The sum of each window of `x` `[n, c, h, w]`: `[n, c, p, q]`.
    pub fn sum_pool(&mut self, x: Value, pooling: Pooling) -> Result<Value> {
        let size = self.pooled("sum_pool", x, pooling)?;
        self.pool(Pool::Sum, x, None, pooling, size)
    }

    /// `x` `[n, c, h, w]` with every element repeated over a tile of `scale`: `[n, c, scale[0] h, scale[1] w]`.
    pub fn repeat_pixels(&mut self, x: Value, scale: [usize; 2]) -> Result<Value> {
        let size = self.enlarged("repeat_pixels", x, scale)?;
        self.pool(Pool::SumSpread, x, None, Pooling::tiles(scale), size)
    }

    /// `x` `[n, c, h, w]` enlarged by linear interpolation between the centres of pixels, as PyTorch does with
    /// `align_corners=False`: `[n, c, scale[0] h, scale[1] w]`.
    pub fn linear_resize(&mut self, x: Value, scale: [usize; 2]) -> Result<Value> {
        let size = self.enlarged("linear_resize", x, scale)?;
        self.pool(Pool::Linear, x, None, Pooling::tiles(scale), size)
    }

    /// A map between a large and a small image. `size` is the height and width of the result; with
    /// [`Pooling::ADAPTIVE`] it is free. [`Pool::Max`] and [`Pool::MaxSpread`] need `keys` in the shape of the large
    /// image, the other kinds take none.
    pub fn pool(
        &mut self,
        pool: Pool,
        x: Value,
        keys: Option<Value>,
        pooling: Pooling,
        size: [usize; 2],
    ) -> Result<Value> {
        let [n, c, h, w] = self.expect_rank4(pool.name(), x, "x")?;
        let (large, small) = if pool.enlarges() { (size, [h, w]) } else { ([h, w], size) };
        let wants_keys = matches!(pool, Pool::Max | Pool::MaxSpread);
        if keys.is_some() != wants_keys {
            return Err(self.error(pool.name(), "keys are for the choice of maxima, and needed there".into()));
        }
        if pooling == Pooling::ADAPTIVE {
            // The kernels multiply a position in one image by the size of the other.
            if (0..2).any(|axis| (large[axis] + 1).saturating_mul(small[axis] + 1) > u32::MAX as usize) {
                let problem = format!("{large:?} and {small:?} are too large for adaptive windows");
                return Err(self.error(pool.name(), problem));
            }
        } else if self.pooled_size(pool.name(), large, pooling)? != small {
            let problem =
                format!("{large:?} in windows of {:?} at {:?} is not {small:?}", pooling.kernel, pooling.stride);
            return Err(self.error(pool.name(), problem));
        }
        if let Some(keys) = keys
            && self.expect_rank4(pool.name(), keys, "keys")? != [n, c, large[0], large[1]]
        {
            let problem = format!("keys {} are not of the large image's shape", self.shape(keys));
            return Err(self.error(pool.name(), problem));
        }
        let operands = std::iter::once(x).chain(keys).collect();
        self.push_float(Op::Pool(pool, pooling), operands, [n, c, size[0], size[1]])
    }

    /// Height and width of the small image of `x` `[n, c, h, w]`.
    fn pooled(&self, op: &'static str, x: Value, pooling: Pooling) -> Result<[usize; 2]> {
        let [_, _, h, w] = self.expect_rank4(op, x, "x")?;
        self.pooled_size(op, [h, w], pooling)
    }

    fn pooled_size(&self, op: &'static str, size: [usize; 2], pooling: Pooling) -> Result<[usize; 2]> {
        if let (Some(p), Some(q)) = (pooling.positions(0, size[0]), pooling.positions(1, size[1])) {
            return Ok([p, q]);
        }
        let Pooling { kernel, stride, padding, dilation, .. } = pooling;
        let dilation = if dilation == [1; 2] { String::new() } else { format!(" and dilation {dilation:?}") };
        let problem = format!(
            "windows of {kernel:?} at {stride:?} do not fit {size:?} with padding {padding:?} of at most half a \
             window{dilation}"
        );
        Err(self.error(op, problem))
    }

    fn enlarged(&self, op: &'static str, x: Value, scale: [usize; 2]) -> Result<[usize; 2]> {
        let [_, _, h, w] = self.expect_rank4(op, x, "x")?;
        match (h.checked_mul(scale[0]), w.checked_mul(scale[1])) {
            (Some(height), Some(width)) if height > 0 && width > 0 => Ok([height, width]),
            _ => Err(self.error(op, format!("[{h}, {w}] cannot be enlarged by {scale:?}"))),
        }
    }

    // ------------------------------------------------------------------------------------------------ movement

    /// `x` repeated along axes of size 1 and along missing leading axes, in shape `shape`.
    pub fn broadcast(&mut self, x: Value, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        let from = self.shape(x).clone();
        if from == shape {
            return Ok(x);
        }
        if let Op::Constant(value) = self.node(x).op {
            return self.constant(value, shape);
        }
        self.expect_dtype("broadcast", x, DType::Float)?;
        if common_shape(&from, &shape).as_ref() != Some(&shape) {
            return Err(self.error("broadcast", format!("{from} does not broadcast to {shape}")));
        }
        self.push_float(Op::Broadcast, vec![x], shape)
    }

    /// The elements of x in another shape, row-major.
    pub fn reshape(&mut self, x: Value, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        if *self.shape(x) == shape {
            return Ok(x);
        }
        if self.shape(x).elements() != shape.elements() {
            let problem =
                format!("{} holds {} elements, {shape} another number", self.shape(x), self.shape(x).elements());
            return Err(self.error("reshape", problem));
        }
        if let Op::Constant(value) = self.node(x).op {
            return self.constant(value, shape);
        }
        let dtype = self.node(x).dtype;
        Ok(self.push(Op::Reshape, vec![x], shape, dtype))
    }

    /// `x` with its axes reordered: axis `i` of the result is axis `axes[i]` of `x`.
    pub fn permute(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        self.expect_dtype("permute", x, DType::Float)?;
        let from = self.shape(x).clone();
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if sorted != (0..from.len()).collect::<Vec<_>>() {
            return Err(self.error("permute", format!("{axes:?} is no order of the axes of {from}")));
        }
        let shape = axes.iter().map(|axis| from[*axis]).collect();
        Ok(self.push(Op::Permute(axes.to_vec()), vec![x], shape, DType::Float))
    }

    /// The box of `x` with the given shape that begins at index `start`.
    pub fn slice(&mut self, x: Value, start: &[usize], shape: impl Into<Shape>) -> Result<Value> {
        self.expect_dtype("slice", x, DType::Float)?;
        let (from, shape) = (self.shape(x).clone(), shape.into());
        let fits = start.len() == from.len()
            && shape.len() == from.len()
            && (0..from.len()).all(|axis| shape[axis] > 0 && start[axis].saturating_add(shape[axis]) <= from[axis]);
        if !fits {
            return Err(self.error("slice", format!("{shape} from {start:?} is not inside {from}")));
        }
        Ok(self.push(Op::Slice { start: start.to_vec() }, vec![x], shape, DType::Float))
    }

    /// `x` with `before` and `after` zeros around it along each axis.
    pub fn pad(&mut self, x: Value, before: &[usize], after: &[usize]) -> Result<Value> {
        self.expect_dtype("pad", x, DType::Float)?;
        let from = self.shape(x).clone();
        if before.len() != from.len() || after.len() != from.len() {
            return Err(self.error("pad", format!("{before:?} and {after:?} do not match the axes of {from}")));
        }
        let size = |axis: usize| before[axis].saturating_add(from[axis]).saturating_add(after[axis]);
        let shape: Shape = (0..from.len()).map(size).collect();
        self.push_float(Op::Pad { before: before.to_vec() }, vec![x], shape)
    }

    /// The operands one after the other along `axis`. Fails where they are none, or differ in another size.
    pub fn concat(&mut self, operands: &[Value], axis: usize) -> Result<Value> {
        /// Longer lists are joined in groups, since a fused kernel binds seven inputs.
        const GROUP: usize = 6;
        let Some(first) = operands.first() else {
            return Err(self.error("concat", "no operands".into()));
        };
        if operands.len() > GROUP {
            let groups: Result<Vec<Value>> = operands.chunks(GROUP).map(|group| self.concat(group, axis)).collect();
            return self.concat(&groups?, axis);
        }
        let mut shape = self.shape(*first).to_vec();
        if axis >= shape.len() {
            return Err(self.error("concat", format!("{:?} has no axis {axis}", shape)));
        }
        shape[axis] = 0;
        for operand in operands {
            self.expect_dtype("concat", *operand, DType::Float)?;
            let other = self.shape(*operand).clone();
            if other.len() != shape.len() || (0..shape.len()).any(|a| a != axis && other[a] != shape[a]) {
                let problem = format!("{} and {other} differ beside axis {axis}", self.shape(*first));
                return Err(self.error("concat", problem));
            }
            shape[axis] += other[axis];
        }
        self.push_float(Op::Concat { axis }, operands.to_vec(), shape)
    }

    // ---------------------------------------------------------------------------------------------- reductions

    /// The sum or maximum of the elements along `axes`, which disappear from the shape. `x` itself without axes.
    pub fn reduce(&mut self, reduction: Reduction, x: Value, axes: &[usize]) -> Result<Value> {
        let name = Op::Reduce { reduction, axes: vec![] }.name();
        self.expect_dtype(name, x, DType::Float)?;
        let from = self.shape(x).clone();
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        if axes.iter().any(|axis| *axis >= from.len()) {
            return Err(self.error(name, format!("{from} has not all of the axes {axes:?}")));
        }
        let shape: Shape = (0..from.len()).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect();
        if shape.elements() == from.elements() {
            return self.reshape(x, shape);
        }
        Ok(self.push(Op::Reduce { reduction, axes }, vec![x], shape, DType::Float))
    }

    /// The sum along `axes`.
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        self.reduce(Reduction::Sum, x, axes)
    }

    /// The mean along `axes`. Elements are scaled before the sum, so that the factor fuses into the sum.
    pub fn mean(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        let count: usize = axes.iter().filter_map(|axis| self.shape(x).get(*axis)).product();
        let scaled = self.scale(x, 1.0 / count as f64)?;
        self.sum(scaled, &axes)
    }

    /// The largest along `axes`.
    pub fn max(&mut self, x: Value, axes: &[usize]) -> Result<Value> {
        self.reduce(Reduction::Max, x, axes)
    }

    /// The mean of all elements: a scalar.
    pub fn mean_all(&mut self, x: Value) -> Result<Value> {
        let axes: Vec<usize> = (0..self.shape(x).len()).collect();
        self.mean(x, &axes)
    }

    // ------------------------------------------------------------------------------------------------- indexing

    /// Indices of type u32 for [`Graph::gather`] in a table of `limit` rows, from real numbers: rounded to the nearest
    /// whole number and limited to `0..limit`. They have no derivative. Fails unless `limit` is between 1 and 2^24.
    pub fn indices(&mut self, x: Value, limit: usize) -> Result<Value> {
        self.expect_dtype("indices", x, DType::Float)?;
        if limit == 0 || limit > 1 << 24 {
            return Err(self.error("indices", format!("numbers cannot choose among {limit} rows, but among 1 to 2^24")));
        }
        let shape = self.shape(x).clone();
        Ok(self.push(Op::Indices { limit }, vec![x], shape, DType::U32))
    }

    /// 1 where an element of `x` is among the `count` largest along the last axis, else 0. Of equal elements the first
    /// are taken, so that every row has exactly `count` ones. The mark of a NaN is NaN, so that a NaN is not lost.
    /// Marks are constants to [`Graph::gradients`].
    pub fn top_k(&mut self, x: Value, count: usize) -> Result<Value> {
        self.expect_dtype("top_k", x, DType::Float)?;
        let shape = self.shape(x).clone();
        let length = shape.last().copied().unwrap_or(0);
        if count == 0 || count > length {
            let problem = format!("{count} is not between 1 and the {length} elements of a row of {shape}");
            return Err(self.error("top_k", problem));
        }
        Ok(self.push(Op::TopK { count }, vec![x], shape, DType::Float))
    }

    /// The rows of `table` `[v, ..]` at `indices` `[n]` (u32): `[n, ..]`. An index beyond the table reads the last row.
    pub fn gather(&mut self, table: Value, indices: Value) -> Result<Value> {
        self.expect_dtype("gather", table, DType::Float)?;
        self.expect_dtype("gather", indices, DType::U32)?;
        let (from, count) = (self.shape(table).clone(), self.shape(indices).clone());
        if from.is_empty() || count.len() != 1 {
            return Err(self.error("gather", format!("table {from} needs an axis, indices {count} exactly one")));
        }
        let shape: Shape = std::iter::once(count[0]).chain(from[1..].iter().copied()).collect();
        self.push_float(Op::Gather, vec![table, indices], shape)
    }

    /// A table `[rows, ..]` of zeros to which each row of `x` `[n, ..]` is added at its index in `indices` `[n]` (u32);
    /// the adjoint of [`Graph::gather`]. Each index must be below `rows`.
    pub fn scatter_add(&mut self, x: Value, indices: Value, rows: usize) -> Result<Value> {
        self.expect_dtype("scatter_add", x, DType::Float)?;
        self.expect_dtype("scatter_add", indices, DType::U32)?;
        let (from, count) = (self.shape(x).clone(), self.shape(indices).clone());
        if from.is_empty() || count.len() != 1 || from[0] != count[0] || rows == 0 {
            let problem = format!("{from} has not one row for each of the indices {count}, or the table has no rows");
            return Err(self.error("scatter_add", problem));
        }
        let shape: Shape = std::iter::once(rows).chain(from[1..].iter().copied()).collect();
        self.push_float(Op::ScatterAdd, vec![x, indices], shape)
    }

    /// Each picture of `x` `[n, c, h, w]` sampled along an affine map, which is the picture's row m of `maps` `[n, 6]`:
    /// pixel (i, j) of the result is x at (m0 i + m1 j + m2, m3 i + m4 j + m5), where rows and columns count from the
    /// picture's middle. Positions between pixels are interpolated bilinearly, and x is zero outside the picture. The
    /// op is for data and has no derivative.
    pub fn warp(&mut self, x: Value, maps: Value) -> Result<Value> {
        self.expect_floats("warp", [x, maps])?;
        let (from, given) = (self.shape(x).clone(), self.shape(maps).clone());
        if from.len() != 4 || given[..] != [from[0], 6] {
            let problem = format!("pictures {from} must be [n, c, h, w], and their maps {given} [n, 6]");
            return Err(self.error("warp", problem));
        }
        Ok(self.push(Op::Warp, vec![x, maps], from, DType::Float))
    }

    // -------------------------------------------------------------------------------------------------- inside

    /// The result of a binary op that needs no node: of two constants, or with a neutral element.
    fn fold(&mut self, op: Binary, x: Value, y: Value, shape: &Shape) -> Result<Option<Value>> {
        let number = |value: Value| if let Op::Constant(number) = self.node(value).op { Some(number) } else { None };
        let whole = |value: Value| self.shape(value) == shape;
        let folded = match (op, number(x), number(y)) {
            (Binary::Add, Some(a), Some(b)) => return self.constant(a + b, shape.clone()).map(Some),
            (Binary::Subtract, Some(a), Some(b)) => return self.constant(a - b, shape.clone()).map(Some),
            (Binary::Multiply, Some(a), Some(b)) => return self.constant(a * b, shape.clone()).map(Some),
            (Binary::Add, Some(0.0), _) if whole(y) => Some(y),
            (Binary::Add | Binary::Subtract, _, Some(0.0)) if whole(x) => Some(x),
            (Binary::Multiply, Some(1.0), _) if whole(y) => Some(y),
            (Binary::Multiply | Binary::Divide, _, Some(1.0)) if whole(x) => Some(x),
            _ => None,
        };
        Ok(folded)
    }

    fn random(&mut self, op: &'static str, state: Value, shape: Shape) -> Result<(Shape, u32)> {
        self.expect_state(op, state)?;
        self.check_size(op, &shape)?;
        self.streams += 1;
        Ok((shape, self.streams - 1))
    }

    fn positions(&self, op: &'static str, input: [usize; 2], kernel: [usize; 2], window: Window) -> Result<[usize; 2]> {
        let Window { stride, padding, dilation, .. } = window;
        let size =
            |axis: usize| conv_output(input[axis], dilated(kernel[axis], dilation[axis]), stride[axis], padding[axis]);
        if let (Some(p), Some(q)) = (size(0), size(1)) {
            return Ok([p, q]);
        }
        Err(self.error(op, format!("kernel {kernel:?} does not fit input {input:?} with {}", described(window))))
    }

    /// Fails where the groups do not divide the numbers of input and output channels.
    fn expect_groups(&self, op: &'static str, window: Window, [c, o]: [usize; 2]) -> Result<()> {
        if window.groups > 0 && c.is_multiple_of(window.groups) && o.is_multiple_of(window.groups) {
            return Ok(());
        }
        Err(self.error(op, format!("{c} channels in and {o} out cannot be cut into {} groups", window.groups)))
    }

    fn expect_rank4(&self, op: &'static str, value: Value, role: &str) -> Result<[usize; 4]> {
        self.expect_dtype(op, value, DType::Float)?;
        let shape = self.shape(value);
        match shape[..] {
            [a, b, c, d] => Ok([a, b, c, d]),
            _ => Err(self.error(op, format!("{role} needs four axes, has {shape}"))),
        }
    }
}

/// Formats a window for a message.
fn described(window: Window) -> String {
    let Window { stride, padding, dilation, .. } = window;
    let dilation = if dilation == [1; 2] { String::new() } else { format!(", dilation {dilation:?}") };
    format!("stride {stride:?}, padding {padding:?}{dilation}")
}

/// The shape two shapes broadcast to, aligned at their last axes.
fn common_shape(a: &Shape, b: &Shape) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let size = |shape: &Shape, axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
