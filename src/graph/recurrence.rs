//! Recurrences over the steps of sequences `[n, t, ..]`: an LSTM, a GRU, and the linear recurrence of their
//! derivatives. Each is one op, and so one launch for all steps.
//!
//! The state of a linear recurrence has hidden units `h` and cells `c` (4 gates), or hidden units only (3 gates,
//! `h = c`):
//!
//! ```text
//! c[t] = source_c[t] + sum over the first three gates k of p_k[t] (W_k h[t-1]) + f[t] c[t-1]
//! h[t] = source_h[t] + p_4[t] (W_4 h[t-1]) + q[t] c[t]                                         with 4 gates
//! ```
//!
//! where all products but those with W are elementwise. A small change of the state of an LSTM or a GRU follows this
//! recurrence, so its transpose, which takes the steps in reverse, carries gradients back. Both are linear in the
//! source, the factors and W, each taken alone: their derivatives are again linear recurrences, and products of their
//! results.

use super::graph::{Composite, Graph, Value};
use super::op::{Direction, Op, Unary};
use crate::error::Result;
use crate::tensor::DType;

/// Largest number of hidden units: the state passes from step to step through workgroup memory, of which every adapter
/// has 16 KiB.
pub const MAX_HIDDEN: usize = 1024;

/// Factors, hidden units before each step, and the factor of the input's part of n: see [`Graph::gru_factors`].
type Factors = (Value, Value, Option<Value>);

impl Graph {
    /// A long short-term memory, from a state of zeros: Hochreiter and Schmidhuber (1997), as PyTorch computes it.
    /// `before` `[n, t, 4 h]` is the input's part of gates i, f, g and o, biases included; `weight` is `[4 h, h]`. The
    /// result `[n, t, 2 h]` has the hidden units of every step, then its cells. Fails where shapes differ from these,
    /// and where `h` is more than [`MAX_HIDDEN`].
    pub fn lstm(&mut self, before: Value, weight: Value, direction: Direction) -> Result<Value> {
        let [n, t, hidden] = self.expect_recurrence("lstm", before, weight, 4)?;
        let weight = self.transposed(weight)?;
        let y = self.push(Op::Lstm(direction), vec![before, weight], [n, t, 2 * hidden].into(), DType::Float);
        self.composites.insert(y, Composite::Recurrence);
        Ok(y)
    }

    /// A gated recurrent unit, from a state of zeros: Cho et al., arXiv 1406.1078, as PyTorch computes it. `before`
    /// `[n, t, 3 h]` is the input's part of gates r, z and n, with all biases except the one inside r's product, which
    /// is `bias` `[h]`; `weight` is `[3 h, h]`. The result `[n, t, h]` has the hidden units of every step. Fails as
    /// [`Graph::lstm`] does.
    pub fn gru(&mut self, before: Value, weight: Value, bias: Value, direction: Direction) -> Result<Value> {
        let [n, t, hidden] = self.expect_recurrence("gru", before, weight, 3)?;
        if self.shape(bias)[..] != [hidden] {
            return Err(self.error("gru", format!("bias is {}, not [{hidden}]", self.shape(bias))));
        }
        let weight = self.transposed(weight)?;
        let y = self.push(Op::Gru(direction), vec![before, weight, bias], [n, t, hidden].into(), DType::Float);
        self.composites.insert(y, Composite::Recurrence);
        Ok(y)
    }

    /// The derivatives of the recurrence `y` by its operands, as far as `needed` has them.
    pub(super) fn recurrence_rule(&mut self, y: Value, g: Value, needed: &[bool]) -> Result<Vec<(Value, Value)>> {
        let node = self.node(y).clone();
        let operands = node.operands;
        let wanted = |operand: usize| needed[operands[operand].0];
        let mut gradients = Vec::new();
        if let Op::Lstm(direction) | Op::Gru(direction) = node.op {
            let (factors, hidden, update) = if matches!(node.op, Op::Lstm(_)) {
                self.lstm_factors(&operands, y, direction)?
            } else {
                self.gru_factors(&operands, y, direction)?
            };
            let weight = self.transposed(operands[1])?;
            let passed = self.linear_recurrence([factors, weight, g], true, direction)?;
            let parts = self.through_gates(factors, passed)?;
            if wanted(1) {
                gradients.push((operands[1], self.product_over_steps(hidden, parts)?));
            }
            let Some(update) = update else {
                gradients.push((operands[0], parts));
                return Ok(gradients);
            };
            let size = self.shape(y)[2];
            if wanted(2) {
                let third = self.piece(parts, 2, size)?;
                gradients.push((operands[2], self.sum(third, &[0, 1])?));
            }
            // Gate r does not multiply the input's part of n.
            let third = self.multiply(update, passed)?;
            let input = [self.piece(parts, 0, size)?, self.piece(parts, 1, size)?, third];
            gradients.push((operands[0], self.concat(&input, 2)?));
        } else if let Op::LinearRecurrence { transposed, direction } = node.op {
            let [factors, weight, source] = [operands[0], operands[1], operands[2]];
            let turned = self.transposed(weight)?;
            let other = self.linear_recurrence([factors, turned, g], !transposed, direction)?;
            let (state, passed) = if transposed { (other, y) } else { (y, other) };
            gradients.push((source, other));
            let (gates, size) = self.kinds(factors, state);
            let cell = gates - 3;
            let before = self.previous(state, direction)?;
            let hidden = self.piece(before, 0, size)?;
            if wanted(1) {
                let parts = self.through_gates(factors, passed)?;
                let gradient = self.product_over_steps(hidden, parts)?;
                gradients.push((weight, if transposed { self.transposed(gradient)? } else { gradient }));
            }
            if wanted(0) {
                let products = self.gates_of(hidden, if transposed { turned } else { weight })?;
                let (h, c) = (self.piece(passed, 0, size)?, self.piece(passed, cell, size)?);
                let mut parts = Vec::new();
                for gate in 0..gates {
                    let product = self.piece(products, gate, size)?;
                    parts.push(self.multiply(if gate < 3 { c } else { h }, product)?);
                }
                let cell_before = self.piece(before, cell, size)?;
                parts.push(self.multiply(c, cell_before)?);
                if gates == 4 {
                    let cell = self.piece(state, 1, size)?;
                    parts.push(self.multiply(h, cell)?);
                }
                gradients.push((factors, self.concat(&parts, 2)?));
            }
        }
        Ok(gradients)
    }

    /// The factors of the linear recurrence that small changes of an LSTM's gates follow, and the hidden units before
    /// each step. The third value is none: the input's part of each gate has the gate's factor.
    fn lstm_factors(&mut self, operands: &[Value], y: Value, direction: Direction) -> Result<Factors> {
        let size = self.shape(y)[2] / 2;
        let before = self.previous(y, direction)?;
        let (hidden, cell_before) = (self.piece(before, 0, size)?, self.piece(before, 1, size)?);
        let recurrent = self.gates_of(hidden, operands[1])?;
        let z = self.add(operands[0], recurrent)?;
        let (i, f, o) = (self.gate(z, 0, size)?, self.gate(z, 1, size)?, self.gate(z, 3, size)?);
        let g = self.piece(z, 2, size)?;
        let g = self.unary(Unary::Tanh, g)?;
        let cell = self.piece(y, 1, size)?;
        let squashed = self.unary(Unary::Tanh, cell)?;
        let slopes = [self.sigmoid_slope(i)?, self.sigmoid_slope(f)?, self.tanh_slope(g)?, self.sigmoid_slope(o)?];
        let slope = self.tanh_slope(squashed)?;
        let factors = [
            self.multiply(g, slopes[0])?,
            self.multiply(cell_before, slopes[1])?,
            self.multiply(i, slopes[2])?,
            self.multiply(squashed, slopes[3])?,
            f,
            self.multiply(o, slope)?,
        ];
        Ok((self.concat(&factors, 2)?, hidden, None))
    }

    /// The factors of the linear recurrence that small changes of the state's part of a GRU's gates follow, the hidden
    /// units before each step, and the factor of the input's part of n: (1 - z) (1 - n²).
    fn gru_factors(&mut self, operands: &[Value], y: Value, direction: Direction) -> Result<Factors> {
        let size = self.shape(y)[2];
        let hidden = self.previous(y, direction)?;
        let recurrent = self.gates_of(hidden, operands[1])?;
        let sum = self.add(operands[0], recurrent)?;
        let (r, z) = (self.gate(sum, 0, size)?, self.gate(sum, 1, size)?);
        let recurrent = self.piece(recurrent, 2, size)?;
        let recurrent = self.add(recurrent, operands[2])?;
        let input = self.piece(operands[0], 2, size)?;
        let gated = self.multiply(r, recurrent)?;
        let n = self.add(input, gated)?;
        let n = self.unary(Unary::Tanh, n)?;
        let open = self.one_minus(z)?;
        let slope = self.tanh_slope(n)?;
        let update = self.multiply(open, slope)?;
        let reset = self.multiply(update, recurrent)?;
        let slope_r = self.sigmoid_slope(r)?;
        let rest = self.subtract(hidden, n)?;
        let slope_z = self.sigmoid_slope(z)?;
        let factors = [self.multiply(reset, slope_r)?, self.multiply(rest, slope_z)?, self.multiply(update, r)?, z];
        Ok((self.concat(&factors, 2)?, hidden, Some(update)))
    }

    /// A linear recurrence from factors, weight and source, or its transpose, whose weight is transposed too.
    fn linear_recurrence(&mut self, operands: [Value; 3], transposed: bool, direction: Direction) -> Result<Value> {
        let shape = self.shape(operands[2]).clone();
        let y = self.push(Op::LinearRecurrence { transposed, direction }, operands.to_vec(), shape, DType::Float);
        self.composites.insert(y, Composite::Recurrence);
        Ok(y)
    }

    /// The gradient of each gate, from the state `passed` of the transposed recurrence: the gate's factor times the
    /// cell or, for a fourth gate, times the hidden unit.
    fn through_gates(&mut self, factors: Value, passed: Value) -> Result<Value> {
        let (gates, size) = self.kinds(factors, passed);
        let (hidden, cell) = (self.piece(passed, 0, size)?, self.piece(passed, gates - 3, size)?);
        let mut parts = Vec::new();
        for gate in 0..gates {
            let factor = self.piece(factors, gate, size)?;
            parts.push(self.multiply(factor, if gate < 3 { cell } else { hidden })?);
        }
        self.concat(&parts, 2)
    }

    /// Numbers of gates and of hidden units: 4 gates have 6 factors and 2 numbers of state for each hidden unit, 3
    /// gates have 4 factors and 1 number.
    fn kinds(&self, factors: Value, state: Value) -> (usize, usize) {
        let (factors, state) = (self.shape(factors)[2], self.shape(state)[2]);
        if factors == 3 * state { (4, state / 2) } else { (3, state) }
    }

    /// The state before each step, in the order that `direction` takes the steps.
    fn previous(&mut self, state: Value, direction: Direction) -> Result<Value> {
        let shape = self.shape(state).clone();
        if shape[1] == 1 {
            return self.constant(0.0, shape);
        }
        let (first, before) = match direction {
            Direction::Forward => (0, 1),
            Direction::Backward => (1, 0),
        };
        let all_but_one = self.slice(state, &[0, first, 0], [shape[0], shape[1] - 1, shape[2]])?;
        self.pad(all_but_one, &[0, before, 0], &[0, first, 0])
    }

    /// Part `index` of the last axis, `size` wide.
    fn piece(&mut self, x: Value, index: usize, size: usize) -> Result<Value> {
        let shape = self.shape(x).clone();
        if shape[2] == size {
            return Ok(x);
        }
        self.slice(x, &[0, 0, index * size], [shape[0], shape[1], size])
    }

    /// The sigmoid of part `index` of the last axis.
    fn gate(&mut self, z: Value, index: usize, size: usize) -> Result<Value> {
        let piece = self.piece(z, index, size)?;
        self.unary(Unary::Sigmoid, piece)
    }

    /// The state's part of the gates of all steps: `[n, t, h]` times `[h, gates h]`.
    fn gates_of(&mut self, hidden: Value, weight: Value) -> Result<Value> {
        let (shape, width) = (self.shape(hidden).clone(), self.shape(weight)[1]);
        let rows = self.rows_of(hidden)?;
        let product = self.matmul(rows, weight, false, false)?;
        self.reshape(product, [shape[0], shape[1], width])
    }

    /// The sum over all sequences and steps of the products of `hidden` `[n, t, h]` and `parts` `[n, t, w]`: `[h, w]`.
    fn product_over_steps(&mut self, hidden: Value, parts: Value) -> Result<Value> {
        let (hidden, parts) = (self.rows_of(hidden)?, self.rows_of(parts)?);
        self.matmul(hidden, parts, true, false)
    }

    /// `[n, t, w]` as `[n t, w]`.
    fn rows_of(&mut self, x: Value) -> Result<Value> {
        let shape = self.shape(x).clone();
        self.reshape(x, [shape[0] * shape[1], shape[2]])
    }

    /// The transpose of a matrix: its operand where the matrix is itself a transpose.
    fn transposed(&mut self, matrix: Value) -> Result<Value> {
        if matches!(&self.node(matrix).op, Op::Permute(axes) if axes[..] == [1, 0]) {
            return Ok(self.node(matrix).operands[0]);
        }
        self.permute(matrix, &[1, 0])
    }

    /// Checks the operands' shapes and returns the numbers of sequences, steps and hidden units.
    fn expect_recurrence(&self, op: &'static str, before: Value, weight: Value, gates: usize) -> Result<[usize; 3]> {
        self.expect_floats(op, [before, weight])?;
        let (x, w) = (self.shape(before), self.shape(weight));
        let fits = |hidden: usize| w[..] == [gates * hidden, hidden] && x.len() == 3 && x[2] == gates * hidden;
        match w.last() {
            Some(hidden) if *hidden > MAX_HIDDEN => {
                Err(self.error(op, format!("{hidden} hidden units are more than {MAX_HIDDEN}")))
            }
            Some(hidden) if fits(*hidden) => Ok([x[0], x[1], *hidden]),
            _ => {
                let expected = format!("[n, t, {gates} h] and [{gates} h, h]");
                Err(self.error(op, format!("gates and weight are {x} and {w}, not {expected}")))
            }
        }
    }
}
