//! The data's way to the device. A set that fits is written there once, and only each epoch's order follows; a larger one
//! goes in chunks, gathered on the host in the epoch's order, through the same buffers and the same plan.

use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::plan::State;
use crate::tensor::{DType, Values};

/// A data set and the three buffers through which a plan reads it: `NAME.data`, `NAME.permutation`, `NAME.state`.
pub(super) struct Feed<'a> {
    data: &'a Dataset,
    name: &'static str,
    batch: usize,
    /// Samples on the device at a time: all of them, or a multiple of the batch.
    rows: usize,
    uploaded: bool,
}

impl<'a> Feed<'a> {
    /// A feed of batches whose data takes at most `budget` bytes of the device. Fails where the batch is larger than the
    /// set, or does not fit the budget.
    pub fn new(data: &'a Dataset, name: &'static str, batch: usize, budget: u64) -> Result<Feed<'a>> {
        if batch > data.len() {
            return Err(Error::invalid(
                format!("batch {batch}"),
                format!("data \"{}\" has only {} samples to train on", data.name(), data.len()),
                format!("use --batch {} or less", data.len()),
            ));
        }
        let sample = data.sample_shape().elements() as u64 * dtype(data).bytes();
        let fitting = (budget / sample) as usize;
        let rows = if fitting >= data.len() { data.len() } else { fitting / batch * batch };
        if rows == 0 {
            return Err(Error::OutOfMemory {
                what: format!("a batch of {batch} samples of data \"{}\"", data.name()),
                asked: sample * batch as u64,
                available: format!("{budget} bytes"),
            });
        }
        Ok(Feed { data, name, batch, rows, uploaded: false })
    }

    /// The data set.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// Samples in an ordinary batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Samples in the last batch of an epoch where it is smaller, else 0.
    pub fn tail(&self) -> usize {
        self.data.len() % self.batch
    }

    /// The sizes of the batches: the ordinary one and, where there is one, the last.
    pub fn batches(&self) -> Vec<usize> {
        [self.batch(), self.tail()].into_iter().filter(|batch| *batch > 0).collect()
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> usize {
        self.data.len().div_ceil(self.batch)
    }

    /// Ordinary steps before new samples must be made ready.
    pub fn whole_steps(&self) -> usize {
        self.rows / self.batch
    }

    /// The first sample of each chunk, and one past its last.
    pub fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, count) = (self.rows, self.data.len());
        (0..count).step_by(rows).map(move |start| (start, (start + rows).min(count)))
    }

    /// The next `batch` samples as a value of a graph, and the step state that says which they are.
    pub fn read(&self, graph: &mut Graph, batch: usize) -> Result<(Value, Value)> {
        let shape: Vec<usize> = std::iter::once(self.rows).chain(self.data.sample_shape().iter().copied()).collect();
        let data = graph.input(&format!("{}.data", self.name), shape, dtype(self.data))?;
        let permutation = graph.input(&format!("{}.permutation", self.name), [self.rows], DType::U32)?;
        let state = graph.state(&format!("{}.state", self.name))?;
        Ok((graph.batch(data, permutation, state, batch)?, state))
    }

    /// Makes ready samples `start .. end` of an epoch's order, and the state for the first of them that is wanted.
    pub fn begin(&mut self, session: &mut Session, order: &[u32], start: usize, state: State) -> Result<()> {
        let end = (start + self.rows).min(order.len());
        let (data, permutation) = (format!("{}.data", self.name), format!("{}.permutation", self.name));
        if self.rows == self.data.len() {
            if !self.uploaded {
                session.write(&data, self.data.values())?;
                self.uploaded = true;
            }
            session.write(&permutation, &Values::U32(order.to_vec()))?;
        } else {
            session.write_at(&data, 0, &self.data.gather(&order[start..end]))?;
            session.write_at(&permutation, 0, &Values::U32((0..(end - start) as u32).collect()))?;
        }
        session.write(&format!("{}.state", self.name), &Values::U32(state.words()))
    }
}

fn dtype(data: &Dataset) -> DType {
    match data.values() {
        Values::U8(_) => DType::U8,
        Values::F32(_) | Values::F64(_) | Values::U32(_) => DType::Float,
    }
}

/// Bytes of data that a device takes at once.
pub(super) fn resident_bytes(device: &Device) -> u64 {
    match device {
        Device::Gpu(gpu) => gpu.limits().binding_bytes.min(gpu.limits().buffer_bytes),
        Device::Cpu | Device::CpuF64 => u64::MAX,
    }
}
