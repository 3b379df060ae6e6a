//! The context in which layers and losses build a model's graph: the graph, each sample's condition, mask of steps and
//! target, and the outputs of earlier layers.

use crate::error::Result;
use crate::graph::{Graph, Value};
use std::ops::{Deref, DerefMut};

/// The graph of a model under construction, with the inputs of its batch that layers and losses may read. Dereferences
/// to the [`Graph`], so that ops are built on a context as on a graph.
#[derive(Clone, Debug, Default)]
pub struct Context {
    graph: Graph,
    training: Option<Value>,
    target: Option<Value>,
    condition: Option<Value>,
    mask: Option<Value>,
    /// Names and outputs of layers, in the order of construction.
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
    /// Creates the context of an empty graph for evaluation, of samples without conditions and with all steps.
    pub fn new() -> Context {
        Context::default()
    }

    /// Extracts the graph.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// Makes the graph one of a training step with this step state: layers built from now on draw random numbers and
    /// use statistics of the batch. Without a step state the graph is for evaluation.
    pub fn set_training(&mut self, state: Value) -> Result<()> {
        self.graph.expect_state("set_training", state)?;
        self.training = Some(state);
        Ok(())
    }

    /// The step state, where the graph is for training.
    pub fn training(&self) -> Option<Value> {
        self.training
    }

    /// Sets the batch's target, which layers with teacher forcing read in training.
    pub fn set_target(&mut self, target: Value) {
        self.target = Some(target);
    }

    /// The batch's target, where it was set and the graph is for training.
    pub fn target(&self) -> Option<Value> {
        self.target.filter(|_| self.training.is_some())
    }

    /// Sets the condition of each sample of the batch, `[n, width]`.
    pub fn set_condition(&mut self, condition: Value) {
        self.condition = Some(condition);
    }

    /// The conditions, `[batch, width]`, where they were set. Where the batch has several codes of each sample, each
    /// sample's condition is repeated for its codes.
    pub fn condition(&mut self, batch: usize) -> Result<Option<Value>> {
        self.condition.map(|condition| self.repeated(condition, batch)).transpose()
    }

    /// Sets which steps of a sequence each sample of the batch has: `[n, steps]`, 1 for the valid steps, which come
    /// first, and 0 for the others.
    pub fn set_mask(&mut self, mask: Value) {
        self.mask = Some(mask);
    }

    /// The mask of valid steps, `[batch, steps]`, where it was set, repeated as by [`Context::condition`].
    pub fn mask(&mut self, batch: usize) -> Result<Option<Value>> {
        self.mask.map(|mask| self.repeated(mask, batch)).transpose()
    }

    /// The fraction of valid steps among all steps of the batch, a scalar, where a mask was set.
    pub fn valid_part(&mut self) -> Result<Option<Value>> {
        self.mask.map(|mask| self.graph.mean_all(mask)).transpose()
    }

    /// Records a layer's output under its name.
    pub(super) fn set_output(&mut self, layer: &str, output: Value) {
        self.outputs.push((layer.to_owned(), output));
    }

    /// The latest output of a layer, or of the last layer of a list.
    pub(crate) fn output_of(&self, name: &str) -> Option<Value> {
        let within =
            |layer: &str| layer.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.outputs.iter().rfind(|(layer, _)| within(layer)).map(|(_, output)| *output)
    }

    /// Repeats each row of `[n, width]` for the codes of its sample, which are neighbours in a batch of `batch` codes.
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
