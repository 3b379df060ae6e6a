//! What layers and losses can see while a model's graph is built: the graph, and of each sample of its batch the condition,
//! the steps that it has and the target; and the outputs of the layers that were built before.

use crate::error::Result;
use crate::graph::{Graph, Value};
use std::ops::{Deref, DerefMut};

/// The graph of a model that is being built, with the inputs of its batch that layers and losses may look at. It
/// dereferences to the [`Graph`], so that ops are built on a context as on a graph.
#[derive(Clone, Debug, Default)]
pub struct Context {
    graph: Graph,
    training: Option<Value>,
    target: Option<Value>,
    condition: Option<Value>,
    mask: Option<Value>,
    /// The layers' names and outputs, in the order in which they were built.
    outputs: Vec<(String, Value)>,
}

impl Deref for Context {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.graph
    }
}

impl DerefMut for Context {
    fn deref_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }
}

impl From<Graph> for Context {
    fn from(graph: Graph) -> Context {
        Context { graph, ..Context::default() }
    }
}

impl Context {
    /// An empty graph that evaluates, of samples with no condition and with all their steps.
    pub fn new() -> Context {
        Context::default()
    }

    /// The graph that was built.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// Makes this the graph of a training step with this step state: layers that draw, or that look at the whole batch,
    /// do so from here on. Without it a graph evaluates.
    pub fn set_training(&mut self, state: Value) -> Result<()> {
        self.graph.expect_state("set_training", state)?;
        self.training = Some(state);
        Ok(())
    }

    /// The step state, where this is the graph of a training step.
    pub fn training(&self) -> Option<Value> {
        self.training
    }

    /// Sets what the model should give for this batch, which layers that learn step by step (teacher forcing) read in training.
    pub fn set_target(&mut self, target: Value) {
        self.target = Some(target);
    }

    /// What the model should give, where this is the graph of a training step whose target was set.
    pub fn target(&self) -> Option<Value> {
        self.target.filter(|_| self.training.is_some())
    }

    /// Sets the condition of each sample of this batch, `[n, width]`.
    pub fn set_condition(&mut self, condition: Value) {
        self.condition = Some(condition);
    }

    /// The condition of each of `batch` samples, where one was set. Where a batch has several codes of each sample, each
    /// code gets its sample's condition.
    pub fn condition(&mut self, batch: usize) -> Result<Option<Value>> {
        self.condition.map(|condition| self.repeated(condition, batch)).transpose()
    }

    /// Sets which steps of a sequence each sample of this batch has: `[n, steps]`, 1 for the steps that are there, which come
    /// first, and 0 for the others.
    pub fn set_mask(&mut self, mask: Value) {
        self.mask = Some(mask);
    }

    /// Which steps each of `batch` samples has, where a mask was set, repeated as [`Context::condition`] is.
    pub fn mask(&mut self, batch: usize) -> Result<Option<Value>> {
        self.mask.map(|mask| self.repeated(mask, batch)).transpose()
    }

    /// The part of all samples' steps that are there, a scalar, where a mask was set.
    pub fn valid_part(&mut self) -> Result<Option<Value>> {
        self.mask.map(|mask| self.graph.mean_all(mask)).transpose()
    }

    /// Keeps a layer's output under its name.
    pub(super) fn set_output(&mut self, layer: &str, output: Value) {
        self.outputs.push((layer.to_owned(), output));
    }

    /// The output of a layer, or of the last layer of a list, when it was built last.
    pub(crate) fn output_of(&self, name: &str) -> Option<Value> {
        let within =
            |layer: &str| layer.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.outputs.iter().rfind(|(layer, _)| within(layer)).map(|(_, output)| *output)
    }

    /// Rows `[n, width]`, one for each sample, for a batch of several codes of each sample, side by side.
    fn repeated(&mut self, x: Value, batch: usize) -> Result<Value> {
        let [count, width] = self.graph.shape(x)[..] else { return Ok(x) };
        if count == batch || count == 0 {
            return Ok(x);
        }
        let x = self.graph.reshape(x, [count, 1, width])?;
        let x = self.graph.broadcast(x, [count, batch / count, width])?;
        self.graph.reshape(x, [batch / count * count, width])
    }
}
