//! Layers over sequences `[steps, features]`: self-attention and recurrent layers; and embeddings, which make sequences
//! of vectors out of categories.

use super::dropout::Dropout;
use super::kind::*;
use crate::graph::{Binary, Direction, MAX_HIDDEN};

/// A trained vector for each category: `[columns]` of indices, real numbers from 0 on, to `[columns, size]`. An index
/// that is too large counts as the last category, a negative one as the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Number of categories.
    pub categories: usize,
    /// Length of a vector.
    pub size: usize,
}

/// Multi-head self-attention over `[steps, features]`, Vaswani et al., arXiv 1706.03762: PyTorch's
/// `nn.MultiheadAttention` with one input for queries, keys and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Number of heads, among which the features are divided.
    pub heads: usize,
    /// Whether a step attends only to itself and to the steps before it.
    pub causal: bool,
    /// The probability that an attention weight becomes zero in training, as by [`Dropout`].
    pub dropout: f64,
    /// Whether the projections have biases.
    pub bias: bool,
}

impl Attention {
    /// Creates an attention with PyTorch's defaults: to all steps, without dropout, with biases.
    pub fn new(heads: usize) -> Attention {
        Attention { heads, causal: false, dropout: 0.0, bias: true }
    }
}

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory: Hochreiter and Schmidhuber (1997).
    Lstm,
    /// Gated recurrent unit: Cho et al., arXiv 1406.1078.
    Gru,
}

/// Recurrent layers over `[steps, features]`, from a state of zeros: PyTorch's `nn.LSTM` and `nn.GRU`, in the order of
/// their gates.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// Number of hidden units. The output is the hidden state at every step, `[steps, out]`.
    pub out: usize,
    /// Whether the output is the hidden state at the last step alone, `[out]`.
    pub last: bool,
    /// Whether each layer also takes the steps from the last to the first. Both directions' states are concatenated to
    /// `2 out` features, with `last` those at the step that each direction takes last (PyTorch's `h_n`).
    pub bidirectional: bool,
    /// Number of stacked layers; at most 16.
    pub layers: usize,
    /// The probability that a feature between two layers becomes zero in training, as by [`Dropout`].
    pub dropout: f64,
    /// Whether the gates have biases.
    pub bias: bool,
}

impl Recurrent {
    /// Creates one layer whose output is all steps', with biases.
    pub fn new(cell: Cell, out: usize) -> Recurrent {
        Recurrent { cell, out, last: false, bidirectional: false, layers: 1, dropout: 0.0, bias: true }
    }

    /// Number of gates of the cell.
    fn gates(&self) -> usize {
        match self.cell {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }
}

/// Reshapes `[n, steps, features]` to `[n steps, features]`.
fn rows(graph: &mut Graph, x: Value) -> Result<Value> {
    let shape = graph.shape(x).clone();
    graph.reshape(x, [shape[0] * shape[1], shape[2]])
}

impl Kind for Embedding {
    name!("embedding");
    keys!(needed categories: Whole, needed size: Whole);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        positive("categories", &[self.categories])?;
        if self.categories > 1 << 24 {
            return Err(misfit!("categories must be at most 2^24, got {}", self.categories; "use fewer"));
        }
        positive("size", &[self.size])?;
        match input[..] {
            [columns] => Ok([columns, self.size].into()),
            _ => Err(misfit!("expects [columns] of indices, got {input}"; "put \"flatten\" before it")),
        }
    }

    fn parameters(&self, _input: &Shape) -> Vec<ParameterSpec> {
        let shape = [self.categories, self.size].into();
        vec![ParameterSpec { name: "weight", shape, initial: Initial::Normal(1.0) }]
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let [n, columns] = [context.shape(x)[0], placed.input[0]];
        let weight = placed.parameter(context, 0)?;
        let indices = context.indices(x, self.categories)?;
        let indices = context.reshape(indices, [n * columns])?;
        let y = context.gather(weight, indices)?;
        context.reshape(y, [n, columns, self.size])
    }
}

impl Kind for Attention {
    name!("attention");
    keys!(needed heads: Whole, optional causal: Flag, optional dropout: Number, optional bias: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [_, features] = steps_and_features(input)?;
        between_0_and_1("dropout", self.dropout)?;
        divisible(features, "features", self.heads, "heads")?;
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let width = input[1];
        let spec = |name, shape: Shape, initial| ParameterSpec { name, shape, initial };
        // The rule of Glorot and Bengio, with fan-in and fan-out of 4 widths together.
        let joint = Initial::Uniform((6.0 / (4 * width) as f64).sqrt());
        let output = Initial::Uniform(1.0 / (width as f64).sqrt());
        let mut specs = vec![
            spec("in_proj_weight", [3 * width, width].into(), joint),
            spec("in_proj_bias", [3 * width].into(), Initial::Constant(0.0)),
            spec("out_proj.weight", [width, width].into(), output),
            spec("out_proj.bias", [width].into(), Initial::Constant(0.0)),
        ];
        specs.retain(|spec| self.bias || spec.shape.len() == 2);
        specs
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        let [steps, width] = [input[0], input[1]];
        product(&[8, steps, width, width]).saturating_add(product(&[4, steps, steps, width]))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let [n, steps, width] = [context.shape(x)[0], placed.input[0], placed.input[1]];
        let (heads, size) = (self.heads, width / self.heads);
        let project = |context: &mut Context, x: Value, first: usize| {
            let weight = placed.parameter(context, first)?;
            let y = context.matmul(x, weight, false, true)?;
            if !self.bias {
                return Ok(y);
            }
            let bias = placed.parameter(context, first + 1)?;
            context.add(y, bias)
        };
        let x = rows(context, x)?;
        let joint = project(context, x, 0)?;
        // Queries, keys and values of every head: [3, n, heads, steps, size].
        let joint = context.reshape(joint, [n, steps, 3, heads, size])?;
        let joint = context.permute(joint, &[2, 0, 3, 1, 4])?;
        let joint = context.reshape(joint, [3, n * heads, steps, size])?;
        let part = |context: &mut Context, index: usize| {
            let part = context.slice(joint, &[index, 0, 0, 0], [1, n * heads, steps, size])?;
            context.reshape(part, [n * heads, steps, size])
        };
        let (queries, keys, values) = (part(context, 0)?, part(context, 1)?, part(context, 2)?);
        let scores = context.matmul(queries, keys, false, true)?;
        let scores = context.scale(scores, 1.0 / (size as f64).sqrt())?;
        let mask = mask_of(context, [n, steps])?;
        let weights = if self.causal || mask.is_some() {
            let visible = |graph: &mut Graph| visible(graph, [n, heads, steps], self.causal, mask);
            context.masked_softmax(scores, &visible, &[2])?
        } else {
            context.softmax(scores, &[2])?
        };
        let weights = Dropout { p: self.dropout, spatial: false }.apply(placed, context, weights)?;
        let y = context.matmul(weights, values, false, false)?;
        let y = context.reshape(y, [n, heads, steps, size])?;
        let y = context.permute(y, &[0, 2, 1, 3])?;
        let y = context.reshape(y, [n * steps, width])?;
        let y = project(context, y, if self.bias { 2 } else { 1 })?;
        context.reshape(y, [n, steps, width])
    }
}

/// 1 where a step may attend to another, else 0: `[n heads, steps, steps]`, queries before keys. Causal attention hides
/// the keys after a query, and a mask `[n, steps]` hides the steps that a sample does not have.
fn visible(graph: &mut Graph, [n, heads, steps]: [usize; 3], causal: bool, mask: Option<Value>) -> Result<Value> {
    let shape = [n * heads, steps, steps];
    let of_heads = |mask: Value| {
        let mask = graph.reshape(mask, [n, 1, 1, steps])?;
        let mask = graph.broadcast(mask, [n, heads, 1, steps])?;
        let mask = graph.reshape(mask, [n * heads, 1, steps])?;
        graph.broadcast(mask, shape)
    };
    let present = mask.map(of_heads).transpose()?;
    if !causal {
        return present.map_or_else(|| graph.constant(1.0, shape), Ok);
    }
    let (row, column) = (graph.iota(steps)?, graph.iota(steps)?);
    let row = graph.reshape(row, [steps, 1])?;
    // Broadcast before the comparison, so that it is fused with the launch that reads the scores.
    let (row, column) = (graph.broadcast(row, shape)?, graph.broadcast(column, shape)?);
    let later = graph.binary(Binary::Less, row, column)?;
    let reached = graph.one_minus(later)?;
    present.map_or(Ok(reached), |present| graph.multiply(reached, present))
}

/// The batch's mask of valid steps, `[n, steps]`, where the context has one for sequences of this length.
fn mask_of(context: &mut Context, [n, steps]: [usize; 2]) -> Result<Option<Value>> {
    let mask = context.mask(n)?;
    Ok(mask.filter(|mask| context.shape(*mask)[..] == [n, steps]))
}

impl Kind for Recurrent {
    name!(cell: Cell::Lstm => "lstm", Cell::Gru => "gru");
    keys! {
        needed out: Whole, optional last: Flag, optional bidirectional: Flag, optional layers: Whole,
        optional dropout: Number, optional bias: Flag
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [steps, _] = steps_and_features(input)?;
        positive("out", &[self.out])?;
        if self.out > MAX_HIDDEN {
            return Err(misfit!("out must be at most {MAX_HIDDEN}, got {}", self.out; "use fewer hidden units"));
        }
        if self.layers == 0 || self.layers > NAMES.len() {
            return Err(misfit!("layers must be 1 to {}, got {}", NAMES.len(), self.layers; "use 2, say"));
        }
        between_0_and_1("dropout", self.dropout)?;
        if self.dropout > 0.0 && self.layers == 1 {
            let problem = "dropout is between layers, of which there is one";
            return Err(misfit!("{problem}"; "write layers = 2, or {{ dropout = {:?} }} after it", self.dropout));
        }
        let features = self.direction_count() * self.out;
        Ok(if self.last { [features].into() } else { [steps, features].into() })
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let initial = Initial::Uniform(1.0 / (self.out as f64).sqrt());
        let wide = self.gates() * self.out;
        let spec = |name, shape: Shape| ParameterSpec { name, shape, initial };
        let mut specs = Vec::new();
        for (layer, names) in NAMES.iter().enumerate().take(self.layers) {
            for [input_weight, state_weight, input_bias, state_bias] in &names[..self.direction_count()] {
                specs.push(spec(input_weight, [wide, self.width(layer, input)].into()));
                specs.push(spec(state_weight, [wide, self.out].into()));
                if self.bias {
                    specs.extend([spec(input_bias, [wide].into()), spec(state_bias, [wide].into())]);
                }
            }
        }
        specs
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        let of_layer = |layer: usize| {
            product(&[2, self.direction_count(), input[0], self.gates() * self.out])
                .saturating_mul((self.width(layer, input) + self.out) as u64)
        };
        (0..self.layers).map(of_layer).fold(0, u64::saturating_add)
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let mut y = x;
        for layer in 0..self.layers {
            if layer > 0 {
                y = Dropout { p: self.dropout, spatial: false }.apply(placed, context, y)?;
            }
            let directions = [Direction::Forward, Direction::Backward].into_iter().take(self.direction_count());
            let both: Result<Vec<Value>> =
                directions.map(|direction| self.direction(placed, context, y, layer, direction)).collect();
            y = match both?[..] {
                [only] => only,
                ref both => {
                    let last = context.shape(both[0]).len() - 1;
                    context.concat(both, last)?
                }
            };
        }
        Ok(y)
    }
}

/// PyTorch's parameter names of each layer in both directions.
macro_rules! names {
    ($($layer:literal)*) => { [$([names!($layer, ""), names!($layer, "_reverse")]),*] };
    ($layer:literal, $direction:literal) => {
        [
            concat!("weight_ih_l", $layer, $direction),
            concat!("weight_hh_l", $layer, $direction),
            concat!("bias_ih_l", $layer, $direction),
            concat!("bias_hh_l", $layer, $direction),
        ]
    };
}

const NAMES: [[[&str; 4]; 2]; 16] = names!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

impl Recurrent {
    /// Number of directions, whose features are concatenated.
    pub(super) fn direction_count(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Input features of a layer.
    fn width(&self, layer: usize, input: &Shape) -> usize {
        if layer == 0 { input[1] } else { self.direction_count() * self.out }
    }

    /// The output of one direction of a layer, `[n, steps, out]` or `[n, out]`. Where samples have lengths, it is the
    /// output for PyTorch's packed sequences: the forward direction ends at a sample's last step, the backward
    /// direction begins there, and the output beyond that step is zero.
    fn direction(
        &self,
        placed: &Placed,
        context: &mut Context,
        x: Value,
        layer: usize,
        direction: Direction,
    ) -> Result<Value> {
        let only_last = self.last && layer + 1 == self.layers;
        let [n, steps] = [context.shape(x)[0], placed.input[0]];
        let (hidden, wide) = (self.out, self.gates() * self.out);
        let (reverse, last) = match direction {
            Direction::Forward => (0, steps - 1),
            Direction::Backward => (1, 0),
        };
        let passes = self.layers * self.direction_count();
        let first = (layer * self.direction_count() + reverse) * (placed.parameters.len() / passes);
        // One product gives the inputs' part of all gates at all steps.
        let (input, state) = (placed.parameter(context, first)?, placed.parameter(context, first + 1)?);
        let x = rows(context, x)?;
        let mut before = context.matmul(x, input, false, true)?;
        let mut state_bias = None;
        if self.bias {
            let (of_input, of_state) = (placed.parameter(context, first + 2)?, placed.parameter(context, first + 3)?);
            before = context.add(before, of_input)?;
            let outside = match self.cell {
                Cell::Lstm => of_state,
                // The reset gate multiplies the new gate's part of the state with its bias.
                Cell::Gru => {
                    state_bias = Some(context.slice(of_state, &[2 * hidden], [hidden])?);
                    let rest = context.slice(of_state, &[0], [2 * hidden])?;
                    context.pad(rest, &[0], &[hidden])?
                }
            };
            before = context.add(before, outside)?;
        }
        let mut before = context.reshape(before, [n, steps, wide])?;
        let mask = mask_of(context, [n, steps])?.map(|mask| context.reshape(mask, [n, steps, 1])).transpose()?;
        if let (Some(mask), Direction::Backward) = (mask, direction) {
            before = self.without_absent_steps(context, before, mask)?;
        }
        let y = match self.cell {
            Cell::Lstm => context.lstm(before, state, direction)?,
            Cell::Gru => {
                let state_bias = state_bias.map_or_else(|| context.constant(0.0, [hidden]), Ok)?;
                context.gru(before, state, state_bias, direction)?
            }
        };
        if let (true, Some(mask), Direction::Forward, 2..) = (only_last, mask, direction, steps) {
            // A sample's last step is valid, and the step after it is not.
            let after = context.slice(mask, &[0, 1, 0], [n, steps - 1, 1])?;
            let after = context.pad(after, &[0, 0, 0], &[0, 1, 0])?;
            let is_last = context.subtract(mask, after)?;
            let y = context.slice(y, &[0, 0, 0], [n, steps, hidden])?;
            let y = context.multiply(y, is_last)?;
            return context.sum(y, &[1]);
        }
        if only_last {
            let y = context.slice(y, &[0, last, 0], [n, 1, hidden])?;
            return context.reshape(y, [n, hidden]);
        }
        let y = context.slice(y, &[0, 0, 0], [n, steps, hidden])?;
        mask.map_or(Ok(y), |mask| context.multiply(y, mask))
    }

    /// Replaces gates at steps that a sample does not have, so that a state of zeros stays zero there for any input: an
    /// LSTM's input gate is closed, a GRU's update gate keeps the state. The replacement is a number whose sigmoid is
    /// exactly 0 or 1, and finite in 16 bits.
    fn without_absent_steps(&self, graph: &mut Graph, gates: Value, mask: Value) -> Result<Value> {
        let (gate, sign, choose) = match self.cell {
            Cell::Lstm => (0, -1.0, Binary::Minimum),
            Cell::Gru => (1, 1.0, Binary::Maximum),
        };
        let shape = [graph.shape(mask)[0], graph.shape(mask)[1], self.gates() * self.out];
        // 1 where a gate is replaced, else 0.
        let replaced = |graph: &mut Graph| {
            let one = graph.constant(1.0, [self.out])?;
            let units = graph.pad(one, &[gate * self.out], &[(self.gates() - gate - 1) * self.out])?;
            let absent = graph.one_minus(mask)?;
            let absent = graph.broadcast(absent, shape)?;
            graph.multiply(absent, units)
        };
        // Built twice, so that each is fused with its reader and neither takes memory.
        let (closed, open) = (replaced(graph)?, replaced(graph)?);
        let closed = graph.scale(closed, sign * 3e4)?;
        let open = graph.one_minus(open)?;
        let open = graph.scale(open, -sign * f64::from(f32::MAX))?;
        let limit = graph.add(closed, open)?;
        graph.binary(choose, gates, limit)
    }
}
