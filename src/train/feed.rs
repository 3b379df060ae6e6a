//! Feeding data to the device. A set that fits is uploaded once, and each epoch uploads only its order; a larger one is
//! uploaded in chunks, gathered on the host in the epoch's order, through the same buffers and the same plan.
//!
//! Two chunks share the device's budget: while the device trains on one, a thread reads the next (and decodes samples
//! that are picture files), which is uploaded piece by piece to the other half, between submissions.

use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::model::{BatchLayout, BatchSource, Held, Sample};
use crate::nn::Context;
use crate::plan::{State, buffers};
use crate::shape::Shape;
use crate::tensor::{DType, Values};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

/// Most bytes of samples from files on the device at a time: these samples occupy the host's memory, too.
const FROM_FILES: u64 = 64 << 20;
/// Number of samples read before the reading thread checks whether it should stop.
const READ_AT_ONCE: usize = 256;
/// Elements per upload while the device works: few enough that the session does not wait for the upload.
const UNNOTICED: usize = 512 << 10;
/// Chunk parts are uploaded in multiples of this many elements, so that bytes start at whole words.
const PIECE: usize = 1024;

/// A data set and the three buffers through which a plan reads it: `NAME.data`, `NAME.permutation`, `NAME.state`.
pub(super) struct Feed<'a> {
    data: Held<'a>,
    shape: FeedShape,
    uploaded: bool,
}

/// The part of a feed that its plans depend on: buffer layout and batch sizes.
#[derive(Clone, Debug)]
pub(super) struct FeedShape {
    /// The sizes of input, condition, target and mask in a sample.
    pub layout: BatchLayout,
    name: &'static str,
    /// The shape of a sample with its side inputs, and the type of its numbers.
    sample: Shape,
    dtype: DType,
    /// Number of samples in the data set.
    pub samples: usize,
    /// Number of samples in an ordinary batch.
    pub batch: usize,
    /// Number of samples in a chunk: all of them, or a multiple of the batch.
    rows: usize,
    /// Buffer offsets of the chunks, in samples: one, or two used in turn.
    places: Vec<usize>,
}

/// The plans of a feed's batches, as indices into a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchPlans {
    /// The plan of an ordinary batch.
    pub full: usize,
    /// The plan of the last batch of an epoch, where that batch is smaller.
    pub tail: Option<usize>,
}

/// One pass through a data set in a given order, with its read-ahead.
pub(super) struct Pass<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    epoch: u64,
    order: Arc<[u32]>,
    ahead: Option<Ahead<'scope>>,
    unwanted: Arc<AtomicBool>,
}

/// The chunk after the current one.
struct Ahead<'scope> {
    start: usize,
    state: Reading<'scope>,
}

enum Reading<'scope> {
    Running(ScopedJoinHandle<'scope, Result<Values>>),
    /// The chunk, and how many of its elements are already on the device.
    Read(Values, usize),
}

impl<'scope, 'env> Pass<'scope, 'env> {
    /// A pass over an epoch's samples in the given order, whose reading threads live in `scope`.
    pub fn new(scope: &'scope Scope<'scope, 'env>, epoch: u64, order: Vec<u32>) -> Pass<'scope, 'env> {
        Pass { scope, epoch, order: order.into(), ahead: None, unwanted: Arc::default() }
    }
}

/// Stops the reading thread, so that ending a pass early does not wait for it.
impl Drop for Pass<'_, '_> {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

impl Reading<'_> {
    /// Waits for the chunk; returns it and how many of its elements are already on the device.
    fn finish(self) -> Result<(Values, usize)> {
        match self {
            Reading::Read(values, written) => Ok((values, written)),
            Reading::Running(thread) => match thread.join() {
                Ok(values) => Ok((values?, 0)),
                Err(_) => Err(Error::invalid(
                    "data",
                    "the thread that reads it ended early",
                    "look for a damaged file, and report this as a bug in pinhole",
                )),
            },
        }
    }
}

impl<'a> Feed<'a> {
    /// A feed of batches whose data takes at most `budget` bytes of the device. Fails where the batch is larger than the
    /// set, or does not fit the budget.
    pub fn new(rows: BatchSource<'a>, name: &'static str, batch: usize, budget: u64) -> Result<Feed<'a>> {
        let BatchSource { data, layout } = rows;
        let (samples, dtype) = (data.len(), data.dtype());
        expect_batch(batch, samples, data.name())?;
        let sample = data.sample_shape().clone();
        let shape = FeedShape { layout, name, sample, dtype, samples, batch, rows: samples, places: vec![0] };
        let sample = data.sample_shape().elements() as u64 * data.dtype().bytes();
        let fitting = (budget / sample) as usize;
        if data.in_memory() && fitting >= data.len() {
            return Ok(Feed { data, shape, uploaded: false });
        }
        // Samples from files get room for at least two batches, even beyond FROM_FILES.
        let most =
            if data.in_memory() { fitting } else { fitting.min((FROM_FILES / sample) as usize).max(2 * batch + 3) };
        // The second chunk starts at a multiple of four samples, and so at a whole word.
        let half = (most.min(fitting).saturating_sub(3) / 2 / batch * batch).min(data.len().next_multiple_of(batch));
        let (rows, places) = match half {
            0 => (fitting / batch * batch, vec![0]),
            rows if rows >= data.len() => (rows, vec![0]),
            rows => (rows, vec![0, rows.next_multiple_of(4)]),
        };
        if rows == 0 {
            return Err(Error::OutOfMemory {
                what: format!("a batch of {batch} samples of data \"{}\"", data.name()),
                asked: sample * batch as u64,
                available: format!("{budget} bytes"),
                help: format!("use --batch {}", (budget / sample).max(1)),
            });
        }
        Ok(Feed { data, shape: FeedShape { rows, places, ..shape }, uploaded: false })
    }

    /// The data set being fed.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Uploads the chunk that starts at sample `start` of a pass, and the state, whose offset counts from the chunk's
    /// first sample. Then starts to read the next chunk.
    pub fn begin<'scope>(
        &mut self,
        session: &mut Session,
        pass: &mut Pass<'scope, '_>,
        start: usize,
        mut state: State,
    ) -> Result<()>
    where
        'a: 'scope,
    {
        let (data, permutation) = (buffers::data(self.shape.name), buffers::permutation(self.shape.name));
        if self.resident() {
            if !self.uploaded {
                session.write(&data, self.data.values())?;
                self.uploaded = true;
            }
            session.write(&permutation, &Values::U32(pass.order.to_vec()))?;
        } else {
            let place = self.place(start);
            let ahead = match pass.ahead.take() {
                Some(ahead) if ahead.start == start => ahead.state,
                _ => self.read_ahead(pass, start),
            };
            let (values, written) = ahead.finish()?;
            let samples = values.len() / self.data.sample_shape().elements();
            if written < values.len() {
                let from = place * self.data.sample_shape().elements() + written;
                session.write_at(&data, from, &values.slice(written..values.len()))?;
            }
            let rows = (place as u32..).take(samples).collect();
            session.write_at(&permutation, place, &Values::U32(rows))?;
            state.offset += place as u32;
            let next = start + self.shape.rows;
            if next < self.data.len() {
                pass.ahead = Some(Ahead { start: next, state: self.read_ahead(pass, next) });
            }
        }
        session.write(&buffers::state(self.shape.name), &Values::U32(state.words()))
    }

    /// Uploads part of the next chunk, if it has been read and a second half of the buffer is there to take it. With
    /// `steps` just submitted and `left` steps to come in this chunk, the part is `steps / (steps + left)` of the
    /// elements not yet uploaded.
    pub fn upload_ahead(&self, session: &mut Session, pass: &mut Pass, steps: usize, left: usize) -> Result<()> {
        let Some(ahead) = &mut pass.ahead else { return Ok(()) };
        match &ahead.state {
            Reading::Running(thread) if !thread.is_finished() => return Ok(()),
            _ if self.shape.places.len() < 2 => return Ok(()),
            _ => {}
        }
        let start = ahead.start;
        let Some(Ahead { state, .. }) = pass.ahead.take() else { return Ok(()) };
        let (values, written) = state.finish()?;
        let rest = values.len() - written;
        let share = (rest as f64 * steps as f64 / (steps + left).max(1) as f64) as usize;
        let end = values.len().min(written + share.next_multiple_of(PIECE));
        let place = self.place(start) * self.data.sample_shape().elements();
        for from in (written..end).step_by(UNNOTICED) {
            let piece = values.slice(from..end.min(from + UNNOTICED));
            session.write_at(&buffers::data(self.shape.name), place + from, &piece)?;
        }
        pass.ahead = Some(Ahead { start, state: Reading::Read(values, end) });
        Ok(())
    }

    fn resident(&self) -> bool {
        self.data.in_memory() && self.shape.rows == self.data.len()
    }

    /// The buffer offset, in samples, of the chunk that starts at sample `start`.
    fn place(&self, start: usize) -> usize {
        self.shape.places[start / self.shape.rows % self.shape.places.len()]
    }

    /// Starts a thread that reads the chunk from sample `start` on.
    fn read_ahead<'scope>(&self, pass: &Pass<'scope, '_>, start: usize) -> Reading<'scope>
    where
        'a: 'scope,
    {
        let (data, order, epoch, unwanted) = (self.data.clone(), pass.order.clone(), pass.epoch, pass.unwanted.clone());
        let end = (start + self.shape.rows).min(order.len());
        Reading::Running(pass.scope.spawn(move || {
            let mut all = None;
            for samples in order[start..end].chunks(READ_AT_ONCE) {
                if unwanted.load(Ordering::Relaxed) {
                    break;
                }
                append(&mut all, data.read_epoch(epoch, samples)?, (end - start) * data.sample_shape().elements());
            }
            Ok(all.unwrap_or(Values::U8(vec![])))
        }))
    }
}

impl Deref for Feed<'_> {
    type Target = FeedShape;

    fn deref(&self) -> &FeedShape {
        &self.shape
    }
}

impl FeedShape {
    /// The shape of a feed whose samples are bytes, all on the device. Fails where a batch is larger than the set.
    pub fn of_bytes(layout: BatchLayout, sample: Shape, samples: usize, batch: usize) -> Result<FeedShape> {
        expect_batch(batch, samples, "data")?;
        let (name, dtype) = (buffers::TRAIN, DType::U8);
        Ok(FeedShape { layout, name, sample, dtype, samples, batch, rows: samples, places: vec![0] })
    }

    /// Number of samples in the last batch of an epoch if that is smaller, else 0.
    pub fn tail(&self) -> usize {
        self.samples % self.batch
    }

    /// The batch sizes: the ordinary one and, if the last is smaller, the last.
    pub fn batches(&self) -> Vec<usize> {
        [self.batch, self.tail()].into_iter().filter(|batch| *batch > 0).collect()
    }

    /// The plans of these batches in a session that holds them from index `first` on.
    pub fn plans_from(&self, first: usize) -> BatchPlans {
        BatchPlans { full: first, tail: (self.tail() > 0).then_some(first + 1) }
    }

    /// The plan and the number of samples of each batch size.
    pub fn batches_of(&self, plans: BatchPlans) -> impl Iterator<Item = (usize, usize)> + use<> {
        let tail = self.tail();
        std::iter::once((plans.full, self.batch)).chain(plans.tail.map(|plan| (plan, tail)))
    }

    /// Number of steps in an epoch.
    pub fn steps(&self) -> usize {
        self.samples.div_ceil(self.batch)
    }

    /// Number of ordinary steps in a chunk, after which new samples must be uploaded.
    pub fn whole_steps(&self) -> usize {
        self.rows / self.batch
    }

    /// The range of samples of each chunk, as start and end.
    pub fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, count) = (self.rows, self.samples);
        (0..count).step_by(rows).map(move |start| (start, (start + rows).min(count)))
    }

    /// Adds the next `batch` samples to a graph, which records their side inputs. Returns the samples and the step
    /// state that selects them.
    pub fn read(&self, graph: &mut Context, batch: usize) -> Result<(Sample, Value)> {
        let rows = self.places[self.places.len() - 1] + self.rows;
        let shape: Vec<usize> = std::iter::once(rows).chain(self.sample.iter().copied()).collect();
        let data = graph.input(&buffers::data(self.name), shape, self.dtype)?;
        let permutation = graph.input(&buffers::permutation(self.name), [rows], DType::U32)?;
        let state = graph.state(&buffers::state(self.name))?;
        let rows = graph.batch(data, permutation, state, batch)?;
        Ok((self.layout.split(graph, rows)?.masked(graph)?, state))
    }
}

/// Fails where a batch is larger than a data set.
fn expect_batch(batch: usize, samples: usize, data: &str) -> Result<()> {
    if batch <= samples {
        return Ok(());
    }
    let problem = format!("data \"{data}\" has only {samples} samples to train on");
    Err(Error::invalid(format!("batch {batch}"), problem, format!("use --batch {samples} or less")))
}

/// Appends values, reserving `room` elements in all.
fn append(all: &mut Option<Values>, more: Values, room: usize) {
    fn joined<T: Copy>(all: &mut Vec<T>, more: &[T], room: usize) {
        all.reserve_exact(room - all.len());
        all.extend_from_slice(more);
    }
    match (all, more) {
        (Some(Values::U8(all)), Values::U8(more)) => joined(all, &more, room),
        (Some(Values::F32(all)), Values::F32(more)) => joined(all, &more, room),
        (Some(Values::F64(all)), Values::F64(more)) => joined(all, &more, room),
        (Some(Values::U32(all)), Values::U32(more)) => joined(all, &more, room),
        // The first part: all reads of a data set return one type.
        (all, more) => *all = Some(more),
    }
}

/// Most bytes of data that a device binds at once.
pub(super) fn resident_bytes(device: &Device) -> u64 {
    match device {
        Device::Gpu(gpu) => gpu.limits().binding_bytes.min(gpu.limits().buffer_bytes),
        Device::Cpu | Device::CpuF64 => u64::MAX,
    }
}
