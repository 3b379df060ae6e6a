//! Layers over sequences `[steps, features]`: self-attention and recurrent layers; and embeddings, which make sequences of
//! vectors out of categories.

use super::dropout::Dropout;
use super::kind::{Initial, Key, Kind, Misfit, ParameterSpec, Setting, misfit, positive, product, steps_and_features};
use crate::error::Result;
use crate::graph::{Binary, Direction, Graph, MAX_HIDDEN, Value};
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// A trained vector for each category: `[columns]` of indices, given as numbers from 0 on, to `[columns, size]`. An index
/// that is too large counts as the last category, a negative one as the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// How many categories there are.
    pub categories: usize,
    /// Numbers of a vector.
    pub size: usize,
}

/// Multi-head attention of a sequence `[steps, features]` to itself: Vaswani et al., arXiv 1706.03762. PyTorch's
/// `nn.MultiheadAttention` with one input for queries, keys and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Parts of the features that attend on their own.
    pub heads: usize,
    /// Whether a step attends to itself and those before it only.
    pub causal: bool,
    /// The probability that a step's weight for another becomes zero in training, where the others grow by as much as is lost
    /// on average.
    pub dropout: f64,
    /// Whether the projections have biases.
    pub bias: bool,
}

impl Attention {
    /// With PyTorch's defaults: to all steps, without dropout, with biases.
    pub fn new(heads: usize) -> Attention {
        Attention { heads, causal: false, dropout: 0.0, bias: true }
    }
}

/// Which recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory: Hochreiter and Schmidhuber (1997).
    Lstm,
    /// Gated recurrent unit: Cho et al., arXiv 1406.1078.
    Gru,
}

/// Recurrent layers over `[steps, features]`, from a state of zeros: PyTorch's `nn.LSTM` and `nn.GRU`, with their order of
/// gates.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// Which kind.
    pub cell: Cell,
    /// Hidden units, of which those of every step come out: `[steps, out]`.
    pub out: usize,
    /// Whether only those of the last step come out: `[out]`.
    pub last: bool,
    /// Whether another such layer takes the steps from the last to the first, and both come out side by side: `2 out`
    /// features, with `last` of the step that each takes last (PyTorch's `h_n`).
    pub bidirectional: bool,
    /// How many layers there are, each over all steps of the one before it; at most 16.
    pub layers: usize,
    /// The probability that a number between two layers becomes zero in training, as by [`Dropout`].
    pub dropout: f64,
    /// Whether the gates have biases.
    pub bias: bool,
}

impl Recurrent {
    /// One layer, all steps, with biases.
    pub fn new(cell: Cell, out: usize) -> Recurrent {
        Recurrent { cell, out, last: false, bidirectional: false, layers: 1, dropout: 0.0, bias: true }
    }

    fn gates(&self) -> usize {
        match self.cell {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }
}

/// `[n, steps, features]` as `[n steps, features]`.
fn rows(graph: &mut Graph, x: Value) -> Result<Value> {
    let shape = graph.shape(x).clone();
    graph.reshape(x, [shape[0] * shape[1], shape[2]])
}

impl Kind for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("categories", Setting::Whole(&mut self.categories)),
            Key::needed("size", Setting::Whole(&mut self.size)),
        ]
    }

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

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let [n, columns] = [cx.shape(x)[0], placed.input[0]];
        let weight = placed.parameter(cx, 0)?;
        let indices = cx.indices(x, self.categories)?;
        let indices = cx.reshape(indices, [n * columns])?;
        let y = cx.gather(weight, indices)?;
        cx.reshape(y, [n, columns, self.size])
    }
}

impl Kind for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("heads", Setting::Whole(&mut self.heads)),
            Key::optional("causal", Setting::Flag(&mut self.causal)),
            Key::optional("dropout", Setting::Number(&mut self.dropout)),
            Key::optional("bias", Setting::Flag(&mut self.bias)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [_, features] = steps_and_features(input)?;
        check_dropout(self.dropout)?;
        if self.heads == 0 || !features.is_multiple_of(self.heads) {
            let problem = format!("{features} features cannot be cut into {} heads of one size", self.heads);
            return Err(misfit!("{problem}"; "use a divisor of {features}"));
        }
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let width = input[1];
        let spec = |name, shape: Shape, initial| ParameterSpec { name, shape, initial };
        // Glorot and Bengio's rule for the joint projection, which has 4 widths of inputs and outputs.
        let joint = Initial::Uniform((6.0 / (4 * width) as f64).sqrt());
        let own = Initial::Uniform(1.0 / (width as f64).sqrt());
        let mut specs = vec![spec("in_proj_weight", [3 * width, width].into(), joint)];
        if self.bias {
            specs.push(spec("in_proj_bias", [3 * width].into(), Initial::Constant(0.0)));
        }
        specs.push(spec("out_proj.weight", [width, width].into(), own));
        if self.bias {
            specs.push(spec("out_proj.bias", [width].into(), Initial::Constant(0.0)));
        }
        specs
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        let [steps, width] = [input[0], input[1]];
        product(&[8, steps, width, width]).saturating_add(product(&[4, steps, steps, width]))
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let [n, steps, width] = [cx.shape(x)[0], placed.input[0], placed.input[1]];
        let (heads, size) = (self.heads, width / self.heads);
        let project = |cx: &mut Context, x: Value, first: usize| {
            let weight = placed.parameter(cx, first)?;
            let y = cx.matmul(x, weight, false, true)?;
            if !self.bias {
                return Ok(y);
            }
            let bias = placed.parameter(cx, first + 1)?;
            cx.add(y, bias)
        };
        let x = rows(cx, x)?;
        let joint = project(cx, x, 0)?;
        // Queries, keys and values of every head: [3, n, heads, steps, size].
        let joint = cx.reshape(joint, [n, steps, 3, heads, size])?;
        let joint = cx.permute(joint, &[2, 0, 3, 1, 4])?;
        let joint = cx.reshape(joint, [3, n * heads, steps, size])?;
        let part = |cx: &mut Context, index: usize| {
            let part = cx.slice(joint, &[index, 0, 0, 0], [1, n * heads, steps, size])?;
            cx.reshape(part, [n * heads, steps, size])
        };
        let (queries, keys, values) = (part(cx, 0)?, part(cx, 1)?, part(cx, 2)?);
        let scores = cx.matmul(queries, keys, false, true)?;
        let scores = cx.scale(scores, 1.0 / (size as f64).sqrt())?;
        let mask = mask_of(cx, [n, steps])?;
        let weights = if self.causal || mask.is_some() {
            let visible = |graph: &mut Graph| visible(graph, [n, heads, steps], self.causal, mask);
            cx.masked_softmax(scores, &visible, &[2])?
        } else {
            cx.softmax(scores, &[2])?
        };
        let weights = Dropout { p: self.dropout, spatial: false }.apply(placed, cx, weights)?;
        let y = cx.matmul(weights, values, false, false)?;
        let y = cx.reshape(y, [n, heads, steps, size])?;
        let y = cx.permute(y, &[0, 2, 1, 3])?;
        let y = cx.reshape(y, [n * steps, width])?;
        let y = project(cx, y, if self.bias { 2 } else { 1 })?;
        cx.reshape(y, [n, steps, width])
    }
}

/// 1 where a step may attend to another, else 0: `[n heads, steps, steps]`, queries before keys. Causal attention does not
/// see the steps after its own, and a mask `[n, steps]` says which steps a sample has.
fn visible(graph: &mut Graph, [n, heads, steps]: [usize; 3], causal: bool, mask: Option<Value>) -> Result<Value> {
    let shape = [n * heads, steps, steps];
    let present = match mask {
        Some(mask) => {
            let mask = graph.reshape(mask, [n, 1, 1, steps])?;
            let mask = graph.broadcast(mask, [n, heads, 1, steps])?;
            let mask = graph.reshape(mask, [n * heads, 1, steps])?;
            Some(graph.broadcast(mask, shape)?)
        }
        None => None,
    };
    if !causal {
        return present.map_or_else(|| graph.constant(1.0, shape), Ok);
    }
    let (row, column) = (graph.iota(steps)?, graph.iota(steps)?);
    let row = graph.reshape(row, [steps, 1])?;
    // Spread first, they are compared where the scores are read.
    let (row, column) = (graph.broadcast(row, shape)?, graph.broadcast(column, shape)?);
    let later = graph.binary(Binary::Less, row, column)?;
    let reached = graph.one_minus(later)?;
    present.map_or(Ok(reached), |present| graph.multiply(reached, present))
}

fn check_dropout(p: f64) -> Result<(), Misfit> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(misfit!("dropout must be between 0 and 1, got {p:?}"; "use 0.1, say")),
    }
}

/// The batch's mask of steps, `[n, steps]`, where the context has one for sequences of this length.
fn mask_of(cx: &mut Context, [n, steps]: [usize; 2]) -> Result<Option<Value>> {
    let mask = cx.mask(n)?;
    Ok(mask.filter(|mask| cx.shape(*mask)[..] == [n, steps]))
}

impl Kind for Recurrent {
    fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("out", Setting::Whole(&mut self.out)),
            Key::optional("last", Setting::Flag(&mut self.last)),
            Key::optional("bidirectional", Setting::Flag(&mut self.bidirectional)),
            Key::optional("layers", Setting::Whole(&mut self.layers)),
            Key::optional("dropout", Setting::Number(&mut self.dropout)),
            Key::optional("bias", Setting::Flag(&mut self.bias)),
        ]
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
        check_dropout(self.dropout)?;
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

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let mut y = x;
        for layer in 0..self.layers {
            if layer > 0 {
                y = Dropout { p: self.dropout, spatial: false }.apply(placed, cx, y)?;
            }
            let last = self.last && layer + 1 == self.layers;
            let directions = self.directions().iter();
            let both: Result<Vec<Value>> = directions
                .map(|direction| self.direction(placed, cx, y, Pass { layer, direction: *direction, last }))
                .collect();
            y = match both?[..] {
                [only] => only,
                ref both => {
                    let last = cx.shape(both[0]).len() - 1;
                    cx.concat(both, last)?
                }
            };
        }
        Ok(y)
    }
}

/// One direction of one layer.
struct Pass {
    layer: usize,
    direction: Direction,
    /// Whether only what it leaves at its last step is asked for.
    last: bool,
}

/// PyTorch's names of the parameters of a layer in both directions.
macro_rules! names {
    ($($layer:literal)*) => {
        [$([
            [
                concat!("weight_ih_l", $layer),
                concat!("weight_hh_l", $layer),
                concat!("bias_ih_l", $layer),
                concat!("bias_hh_l", $layer),
            ],
            [
                concat!("weight_ih_l", $layer, "_reverse"),
                concat!("weight_hh_l", $layer, "_reverse"),
                concat!("bias_ih_l", $layer, "_reverse"),
                concat!("bias_hh_l", $layer, "_reverse"),
            ],
        ],)*]
    };
}

const NAMES: [[[&str; 4]; 2]; 16] = names!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

impl Recurrent {
    fn directions(&self) -> &'static [Direction] {
        if self.bidirectional { &[Direction::Forward, Direction::Backward] } else { &[Direction::Forward] }
    }

    /// How many directions the steps are taken in, whose features stand side by side.
    pub(super) fn direction_count(&self) -> usize {
        self.directions().len()
    }

    /// Features that go into a layer.
    fn width(&self, layer: usize, input: &Shape) -> usize {
        if layer == 0 { input[1] } else { self.direction_count() * self.out }
    }

    /// What one direction of a layer leaves, `[n, steps, out]` or `[n, out]`. Where samples have lengths, it is that of
    /// PyTorch's packed sequences: forwards it ends at a sample's last step, backwards it begins there, and beyond it are zeros.
    fn direction(&self, placed: &Placed, cx: &mut Context, x: Value, pass: Pass) -> Result<Value> {
        let Pass { layer, direction, last: only_last } = pass;
        let [n, steps] = [cx.shape(x)[0], placed.input[0]];
        let (hidden, wide) = (self.out, self.gates() * self.out);
        let (reverse, last) = match direction {
            Direction::Forward => (0, steps - 1),
            Direction::Backward => (1, 0),
        };
        let passes = self.layers * self.direction_count();
        let first = (layer * self.direction_count() + reverse) * (placed.parameters.len() / passes);
        // The inputs' part of all gates of all steps is one product.
        let (input, state) = (placed.parameter(cx, first)?, placed.parameter(cx, first + 1)?);
        let x = rows(cx, x)?;
        let mut before = cx.matmul(x, input, false, true)?;
        let mut own = None;
        if self.bias {
            let (of_input, of_state) = (placed.parameter(cx, first + 2)?, placed.parameter(cx, first + 3)?);
            before = cx.add(before, of_input)?;
            let outside = match self.cell {
                Cell::Lstm => of_state,
                // n's bias of the state is under r.
                Cell::Gru => {
                    own = Some(cx.slice(of_state, &[2 * hidden], [hidden])?);
                    let rest = cx.slice(of_state, &[0], [2 * hidden])?;
                    cx.pad(rest, &[0], &[hidden])?
                }
            };
            before = cx.add(before, outside)?;
        }
        let mut before = cx.reshape(before, [n, steps, wide])?;
        let mask = match mask_of(cx, [n, steps])? {
            Some(mask) => Some(cx.reshape(mask, [n, steps, 1])?),
            None => None,
        };
        if let (Some(mask), Direction::Backward) = (mask, direction) {
            before = self.held(cx, before, mask)?;
        }
        let y = match self.cell {
            Cell::Lstm => cx.lstm(before, state, direction)?,
            Cell::Gru => {
                let own = own.map_or_else(|| cx.constant(0.0, [hidden]), Ok)?;
                cx.gru(before, state, own, direction)?
            }
        };
        if let (true, Some(mask), Direction::Forward, 2..) = (only_last, mask, direction, steps) {
            // The last step is there, and the one after it is not.
            let after = cx.slice(mask, &[0, 1, 0], [n, steps - 1, 1])?;
            let after = cx.pad(after, &[0, 0, 0], &[0, 1, 0])?;
            let is_last = cx.subtract(mask, after)?;
            let y = cx.slice(y, &[0, 0, 0], [n, steps, hidden])?;
            let y = cx.multiply(y, is_last)?;
            return cx.sum(y, &[1]);
        }
        if only_last {
            let y = cx.slice(y, &[0, last, 0], [n, 1, hidden])?;
            return cx.reshape(y, [n, hidden]);
        }
        let y = cx.slice(y, &[0, 0, 0], [n, steps, hidden])?;
        mask.map_or(Ok(y), |mask| cx.multiply(y, mask))
    }

    /// Gates that leave a state of zeros as it is at steps that are not there, whatever those hold: an LSTM's lets nothing in,
    /// a GRU's keeps all. The number that such a gate gets is one whose sigmoid is exactly 0 or 1, and finite in 16 bits.
    fn held(&self, graph: &mut Graph, gates: Value, mask: Value) -> Result<Value> {
        let (gate, sign, choose) = match self.cell {
            Cell::Lstm => (0, -1.0, Binary::Minimum),
            Cell::Gru => (1, 1.0, Binary::Maximum),
        };
        let shape = [graph.shape(mask)[0], graph.shape(mask)[1], self.gates() * self.out];
        // 1 where a gate is held, else 0.
        let held = |graph: &mut Graph| {
            let one = graph.constant(1.0, [self.out])?;
            let own = graph.pad(one, &[gate * self.out], &[(self.gates() - gate - 1) * self.out])?;
            let absent = graph.one_minus(mask)?;
            let absent = graph.broadcast(absent, shape)?;
            graph.multiply(absent, own)
        };
        // Each is computed where it is read: neither is worth memory.
        let (closed, open) = (held(graph)?, held(graph)?);
        let closed = graph.scale(closed, sign * 3e4)?;
        let open = graph.one_minus(open)?;
        let open = graph.scale(open, -sign * f64::from(f32::MAX))?;
        let limit = graph.add(closed, open)?;
        graph.binary(choose, gates, limit)
    }
}
