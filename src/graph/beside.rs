//! What stands beside the samples of a graph's batch, for the layers that look at it, and what layers leave, for those who ask.

use super::graph::{Graph, Value};
use crate::error::Result;

impl Graph {
    /// Tells the graph what a model is told of each sample of this batch, `[n, width]`.
    pub fn set_condition(&mut self, condition: Value) {
        self.condition = Some(condition);
    }

    /// What a model is told of each sample, where the graph has been told so. For a batch of several codes of each sample, that
    /// of each as often.
    pub fn condition(&mut self, batch: usize) -> Result<Option<Value>> {
        self.condition.map(|condition| self.repeated(condition, batch)).transpose()
    }

    /// Tells layers over sequences which steps each sample of this batch has: `[n, steps]`, 1 for those that are there, which
    /// are the first ones, and 0 for the others.
    pub fn set_mask(&mut self, mask: Value) {
        self.mask = Some(mask);
    }

    /// Which steps each sample has, where not all have all; repeated as [`Graph::condition`] is.
    pub fn mask(&mut self, batch: usize) -> Result<Option<Value>> {
        self.mask.map(|mask| self.repeated(mask, batch)).transpose()
    }

    /// The part of all samples' steps that are there, a scalar, where not all have all.
    pub fn valid_part(&mut self) -> Result<Option<Value>> {
        self.mask.map(|mask| self.mean_all(mask)).transpose()
    }

    /// Keeps what a layer leaves under its name.
    pub(crate) fn set_output(&mut self, layer: &str, output: Value) {
        self.outputs.push((layer.to_owned(), output));
    }

    /// What a layer, or the last one of a list, left when it was built last.
    pub(crate) fn output_of(&self, name: &str) -> Option<Value> {
        let within =
            |layer: &str| layer.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.outputs.iter().rfind(|(layer, _)| within(layer)).map(|(_, output)| *output)
    }

    /// What belongs to each sample `[n, width]`, for a batch of several codes of each, side by side.
    fn repeated(&mut self, x: Value, batch: usize) -> Result<Value> {
        let [count, width] = self.shape(x)[..] else { return Ok(x) };
        if count == batch || count == 0 {
            return Ok(x);
        }
        let x = self.reshape(x, [count, 1, width])?;
        let x = self.broadcast(x, [count, batch / count, width])?;
        self.reshape(x, [batch / count * count, width])
    }
}
