//! The one table of cases: small graphs, each named by its parameters, that every op, kernel and kind of fusion occurs in.
//!
//! Parity, gradients, reflection and plans all go through it, and benches may take it by path: it knows the library and no
//! test. A new elementwise op without a domain here does not compile; a new case is tested in every mode at once.

mod compositions;
mod elementwise;
mod fusion;
mod layers;
mod movement;
mod normalisations;
mod products;
mod recurrences;

use pinhole::Result;
use pinhole::graph::{Graph, Value};
use pinhole::nn::{Context, place};
use pinhole::plan::{ParameterLayout, Plan, State, Target};
use pinhole::rng;
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Values};
use std::ops::{Deref, DerefMut};

/// What the cases of a group are about. Every test goes through the groups one by one, so that they run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One elementwise op.
    Elementwise,
    /// Two shapes that broadcast.
    Broadcast,
    /// Chains and epilogues.
    Fusion,
    /// Matrix products.
    MatMul,
    /// The convolution trio.
    Conv,
    /// The same with dilation and in groups.
    Grouped,
    /// Permute, slice, pad, concat, reshape, alone and feeding others.
    Movement,
    /// Sums and maxima.
    Reduction,
    /// More workgroups than one axis of a grid holds.
    Large,
    /// Gather, scatter-add and batches.
    Indexing,
    /// Layers as model files write them.
    Layer,
    /// Losses and small models.
    Composition,
    /// Softmax and normalisations.
    Normalisation,
    /// Recurrences over sequences.
    Recurrence,
    /// Random draws.
    Random,
}

/// How far a case's derivatives are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivatives {
    /// It has none.
    None,
    /// Between devices only: a finite difference would straddle a jump, or take too long.
    Compared,
    /// First and second ones against finite differences too.
    Resolved,
}

/// How the values of an input are made.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Evenly spread between two numbers.
    Between(f32, f32),
    /// Magnitudes between two numbers, of either sign: away from the kinks at zero.
    Apart(f32, f32),
    /// All different, at least 1/64 apart, in no order.
    Distinct,
    /// Multiples of 1/4 between -2 and 2, plus a shift: equal ones meet.
    Quarters(f32),
    /// These.
    Words(Vec<u32>),
    /// All bytes, one after the other.
    Bytes,
}

/// The fill of an input that nothing special is asked of.
pub const PLAIN: Fill = Fill::Apart(0.1, 1.5);

/// An input or parameter of a case.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name in the graph.
    pub name: String,
    /// Its value in the graph.
    pub value: Value,
    /// How many elements it has.
    pub elements: usize,
    /// Whether it is a parameter, and so lies in the buffer of all parameters.
    pub parameter: bool,
    fill: Fill,
    seed: u64,
}

/// A graph with one output and values for its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    /// Op and parameters.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// Its inputs and parameters.
    pub feeds: Vec<Feed>,
    /// What is computed.
    pub output: Value,
    /// Whether rounding errors of a long sum are allowed for.
    pub long_sum: bool,
    /// How far derivatives are tested.
    pub derivatives: Derivatives,
}

/// A case made a scalar: the sum of its output times fixed numbers.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The case's name.
    pub name: String,
    /// The case's graph and a few nodes more.
    pub graph: Graph,
    /// The scalar.
    pub loss: Value,
    /// The case's inputs, and the numbers that weigh the output.
    pub feeds: Vec<Feed>,
    /// The feeds that it is differentiated by: all of real numbers, the weights excepted.
    pub by: Vec<usize>,
}

impl Feed {
    /// Its values, always the same.
    pub fn values(&self) -> Values {
        let units = (0..self.elements.div_ceil(4)).flat_map(|block| rng::words(self.seed, 0, 0, block as u32));
        let units = units.take(self.elements);
        match &self.fill {
            Fill::Between(low, high) => Values::F32(units.map(|word| low + (high - low) * rng::unit(word)).collect()),
            Fill::Apart(low, high) => Values::F32(
                units
                    .map(|word| {
                        let magnitude = low + (high - low) * rng::unit(word);
                        // The low byte has no part in the magnitude.
                        if word & 1 == 1 { magnitude } else { -magnitude }
                    })
                    .collect(),
            ),
            Fill::Distinct => {
                // Multiplication by an odd number permutes the residues of a power of two.
                let count = self.elements.next_power_of_two();
                let place = |index: usize| index.wrapping_mul(0x9E37_79B1) % count;
                Values::F32((0..self.elements).map(|index| (place(index) as f32 - count as f32 / 2.0) / 64.0).collect())
            }
            Fill::Quarters(shift) => {
                Values::F32(units.map(|word| ((rng::unit(word) * 17.0).floor() - 8.0) / 4.0 + shift).collect())
            }
            Fill::Words(words) => Values::U32(words.clone()),
            Fill::Bytes => Values::U8((0..self.elements).map(|index| (index * 37 % 256) as u8).collect()),
        }
    }

    /// The buffer that holds it, and from which element on.
    pub fn place(&self, layout: &ParameterLayout) -> (&str, usize) {
        match layout.offset(&self.name) {
            Some(offset) if self.parameter => ("parameters", offset),
            _ => (&self.name, 0),
        }
    }

    /// Whether it holds real numbers, and so can be differentiated by.
    pub fn is_real(&self) -> bool {
        matches!(self.fill, Fill::Between(..) | Fill::Apart(..) | Fill::Distinct | Fill::Quarters(_))
    }
}

/// A number that depends on all of a text: FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3))
}

impl Case {
    /// Says whether a sum is so long that its rounding errors show.
    pub fn long_sum(&mut self, long: bool) -> &mut Case {
        self.long_sum = long;
        self
    }

    /// Says how far derivatives are tested, if not all the way.
    pub fn derivatives(&mut self, derivatives: Derivatives) -> &mut Case {
        self.derivatives = derivatives;
        self
    }

    /// The plan that computes the output into a buffer `output`.
    pub fn plan(&self, target: &Target) -> Plan {
        named(&self.name, Plan::on(target, &self.name, &self.graph, &[(self.output, "output")]))
    }

    /// The sum of the output times fixed numbers; `None` where the case has no derivatives.
    pub fn loss(&self) -> Option<Loss> {
        let by: Vec<usize> = (0..self.feeds.len()).filter(|feed| self.feeds[*feed].is_real()).collect();
        if self.derivatives == Derivatives::None || by.is_empty() {
            return None;
        }
        let mut builder =
            Builder { graph: self.graph.clone().into(), feeds: self.feeds.clone(), case: self.name.clone() };
        let loss = named(&self.name, builder.weigh(self.output));
        Some(Loss { name: self.name.clone(), graph: builder.graph.into_graph(), loss, feeds: builder.feeds, by })
    }
}

impl Loss {
    /// The gradient by every feed of `by`, added to the graph.
    pub fn gradients(&mut self) -> Vec<Value> {
        let by: Vec<Value> = self.by.iter().map(|feed| self.feeds[*feed].value).collect();
        self.graph.gradients(self.loss, &by).expect("the loss is a scalar")
    }

    /// The names of the buffers that [`Loss::plan`] leaves gradients in.
    pub fn gradient_names(&self) -> Vec<String> {
        self.by.iter().map(|feed| format!("gradient by {}", self.feeds[*feed].name)).collect()
    }

    /// The plan that computes these gradients.
    pub fn plan(&self, gradients: &[Value], target: &Target) -> Plan {
        let names = self.gradient_names();
        let outputs: Vec<(Value, &str)> =
            gradients.iter().zip(&names).map(|(value, name)| (*value, &name[..])).collect();
        named(&self.name, Plan::on(target, &format!("gradients of {}", self.name), &self.graph, &outputs))
    }

    /// The loss's derivative along fixed directions of all of `by`, as a loss of its own: its gradients are second
    /// derivatives.
    pub fn derivative(mut self) -> Loss {
        let gradients = self.gradients();
        let mut builder = Builder { graph: self.graph.into(), feeds: self.feeds, case: self.name.clone() };
        let sum = |b: &mut Builder| {
            let mut sum = b.constant(0.0, [])?;
            for gradient in gradients {
                let part = b.weigh(gradient)?;
                sum = b.add(sum, part)?;
            }
            Ok(sum)
        };
        let loss = named(&self.name, sum(&mut builder));
        Loss { name: self.name, graph: builder.graph.into_graph(), loss, feeds: builder.feeds, by: self.by }
    }
}

fn named<T>(name: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("case \"{name}\": {error}"))
}

/// A graph under construction together with the values of its inputs.
pub struct Builder {
    graph: Context,
    feeds: Vec<Feed>,
    case: String,
}

impl Deref for Builder {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.graph
    }
}

impl DerefMut for Builder {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.graph
    }
}

impl Builder {
    /// An empty graph of this name.
    pub fn new(case: &str) -> Builder {
        Builder { graph: Context::new(), feeds: vec![], case: case.to_owned() }
    }

    /// The inputs so far.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The graph and its inputs.
    pub fn finish(self) -> (Graph, Vec<Feed>) {
        (self.graph.into_graph(), self.feeds)
    }

    /// An input of the plain fill.
    pub fn x(&mut self, shape: impl Into<Shape>) -> Result<Value> {
        self.input(shape, PLAIN)
    }

    /// An input; its type is that of its fill.
    pub fn input(&mut self, shape: impl Into<Shape>, fill: Fill) -> Result<Value> {
        let dtype = match fill {
            Fill::Between(..) | Fill::Apart(..) | Fill::Distinct | Fill::Quarters(_) => DType::Float,
            Fill::Words(_) => DType::U32,
            Fill::Bytes => DType::U8,
        };
        let name = format!("x{}", self.feeds.len());
        let value = self.graph.input(&name, shape, dtype)?;
        self.feed(name, value, fill, false);
        Ok(value)
    }

    /// A parameter of the plain fill.
    pub fn weight(&mut self, shape: impl Into<Shape>) -> Result<Value> {
        let name = format!("w{}", self.feeds.len());
        let value = self.graph.parameter(&name, shape)?;
        self.feed(name, value, PLAIN, true);
        Ok(value)
    }

    /// A layer as a model file writes it, on a batch, with its parameters.
    pub fn layer(&mut self, text: &str, x: Value) -> Result<Value> {
        let sample: Shape = self.shape(x)[1..].iter().copied().collect();
        let placed = place("layer", &[text.parse()?], &sample)?.remove(0);
        for parameter in &placed.parameters {
            let value = self.graph.parameter(&parameter.name, parameter.shape.clone())?;
            self.feed(parameter.name.clone(), value, PLAIN, true);
        }
        placed.apply(&mut self.graph, x)
    }

    /// One axis of words.
    pub fn words(&mut self, words: &[u32]) -> Result<Value> {
        self.input([words.len()], Fill::Words(words.to_vec()))
    }

    /// A step state.
    pub fn state_of(&mut self, seed: u64, step: u32) -> Result<Value> {
        self.words(&State { seed, step, position: 0, offset: 0 }.words())
    }

    /// The sum of a value's elements times the fixed numbers of one more input.
    pub fn weigh(&mut self, value: Value) -> Result<Value> {
        let shape = self.shape(value).clone();
        let axes: Vec<usize> = (0..shape.len()).collect();
        let weights = self.input(shape, PLAIN)?;
        let weighed = self.multiply(value, weights)?;
        self.sum(weighed, &axes)
    }

    fn feed(&mut self, name: String, value: Value, fill: Fill, parameter: bool) {
        let elements = self.graph.shape(value).elements();
        let seed = hash(&format!("{} {name}", self.case));
        self.feeds.push(Feed { name, value, elements, parameter, fill, seed });
    }
}

/// The cases of a group while they are being listed.
pub struct Table {
    cases: Vec<Case>,
}

impl Table {
    /// Adds a case whose output is what `build` returns.
    pub fn case(&mut self, name: impl Into<String>, build: impl FnOnce(&mut Builder) -> Result<Value>) -> &mut Case {
        let name = name.into();
        assert!(self.cases.iter().all(|known| known.name != name), "two cases are called \"{name}\"");
        let mut builder = Builder::new(&name);
        let output = named(&name, build(&mut builder));
        let (graph, feeds) = builder.finish();
        let index = self.cases.len();
        let derivatives = Derivatives::Resolved;
        self.cases.push(Case { name, graph, feeds, output, long_sum: false, derivatives });
        &mut self.cases[index]
    }
}

impl Group {
    /// Every group.
    pub const ALL: &[Group] = &[
        Group::Elementwise,
        Group::Broadcast,
        Group::Fusion,
        Group::MatMul,
        Group::Conv,
        Group::Grouped,
        Group::Movement,
        Group::Reduction,
        Group::Large,
        Group::Indexing,
        Group::Layer,
        Group::Composition,
        Group::Normalisation,
        Group::Recurrence,
        Group::Random,
    ];

    /// Its cases.
    pub fn cases(self) -> Vec<Case> {
        let mut table = Table { cases: vec![] };
        match self {
            Group::Elementwise => elementwise::elementwise(&mut table),
            Group::Broadcast => elementwise::broadcast(&mut table),
            Group::Fusion => fusion::fusion(&mut table),
            Group::MatMul => products::matmul(&mut table),
            Group::Conv => products::conv(&mut table),
            Group::Grouped => products::grouped(&mut table),
            Group::Movement => movement::movement(&mut table),
            Group::Reduction => movement::reduction(&mut table),
            Group::Large => movement::large(&mut table),
            Group::Indexing => movement::indexing(&mut table),
            Group::Layer => layers::layers(&mut table),
            Group::Composition => compositions::compositions(&mut table),
            Group::Normalisation => normalisations::normalisations(&mut table),
            Group::Recurrence => recurrences::recurrences(&mut table),
            Group::Random => compositions::random(&mut table),
        }
        table.cases
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    Group::ALL.iter().flat_map(|group| group.cases()).collect()
}
