//! Memory: the layout of parameters, and buffers for values that live only within a step.
//!
//! Values that live within a step share a few buffers, called colours. A launch's output is always of another colour
//! than its inputs, so that inputs are bound read-only: wgpu refuses one buffer both read-only and writable in a
//! launch, and a single read-write arena would put a barrier between every two launches.

use super::plan::{Buffer, Plan};
use crate::error::{Error, Result};
use crate::graph::{Graph, Op};
use crate::shape::Shape;
use crate::tensor::DType;
use std::collections::BTreeMap;
use std::ops::Range;

/// Elements of which every offset is a multiple: 256 bytes, the largest alignment that adapters ask for.
pub(super) const ALIGNMENT: usize = 64;

/// A number of 32-bit elements rounded up to the alignment of a slot.
pub(super) fn aligned(elements: usize) -> usize {
    elements.next_multiple_of(ALIGNMENT)
}

/// A number of 16-bit elements rounded up to the alignment of a slot.
pub(super) fn aligned_halves(elements: usize) -> usize {
    elements.next_multiple_of(2 * ALIGNMENT)
}

/// Offsets of the parameters in the buffer of all parameters, and of their numbers in each moment and average.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterLayout {
    entries: Vec<LayoutEntry>,
    elements: usize,
}

/// The part of the common buffer that a parameter has.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutEntry {
    /// The parameter's name.
    pub name: String,
    /// The parameter's shape.
    pub shape: Shape,
    /// Index of the parameter's first element in the buffer.
    pub offset: usize,
}

impl LayoutEntry {
    /// Indices of the parameter's elements in the buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.elements()
    }
}

impl ParameterLayout {
    /// Lays out parameters in the given order.
    pub fn new(parameters: impl IntoIterator<Item = (String, Shape)>) -> ParameterLayout {
        let mut layout = ParameterLayout::default();
        for (name, shape) in parameters {
            let offset = layout.elements;
            layout.elements += aligned(shape.elements());
            layout.entries.push(LayoutEntry { name, shape, offset });
        }
        layout
    }

    /// The layout of a graph's parameters, in the order in which it names them.
    pub fn of(graph: &Graph) -> ParameterLayout {
        ParameterLayout::new(graph.nodes().iter().filter_map(|node| {
            let Op::Parameter { name } = &node.op else { return None };
            Some((name.clone(), node.shape.clone()))
        }))
    }

    /// The parameters, in the order of their offsets.
    pub fn entries(&self) -> &[LayoutEntry] {
        &self.entries
    }

    /// The entry of the parameter of this name.
    pub fn entry(&self, name: &str) -> Option<&LayoutEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The buffer's length in elements, the gaps between parameters included.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// A parameter's offset.
    pub fn offset(&self, name: &str) -> Option<usize> {
        self.entry(name).map(|entry| entry.offset)
    }
}

/// A value that lives from the launch that writes it, `first`, to the last launch that reads it.
pub(super) struct Transient {
    pub elements: usize,
    pub dtype: DType,
    pub first: usize,
    pub last: usize,
    /// The transients that the writing launch reads.
    pub inputs: Vec<usize>,
}

/// Gives every transient a buffer and an offset, and appends the buffers that are needed. Only a value at offset 0 may
/// reach beyond `limit` elements.
pub(super) fn allocate(transients: &[Transient], buffers: &mut Vec<Buffer>, limit: usize) -> Vec<(usize, usize)> {
    struct Colour {
        buffer: usize,
        dtype: DType,
        /// Allocated ranges: start, end, and the last launch that reads them.
        taken: Vec<(usize, usize, usize)>,
    }
    let mut colours: Vec<Colour> = Vec::new();
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(transients.len());
    for transient in transients {
        let size = match transient.dtype {
            DType::Half => aligned_halves(transient.elements),
            DType::Float | DType::U32 | DType::U8 => aligned(transient.elements),
        };
        let place = colours.iter_mut().find_map(|colour| {
            let conflict = transient.inputs.iter().any(|input| places[*input].0 == colour.buffer);
            if conflict || colour.dtype != transient.dtype {
                return None;
            }
            colour.taken.retain(|(_, _, last)| *last >= transient.first);
            colour.taken.sort_unstable();
            // The first gap that is large enough.
            let mut start = 0;
            for (from, to, _) in &colour.taken {
                if from - start >= size {
                    break;
                }
                start = *to;
            }
            if start + size > limit && start > 0 {
                return None;
            }
            colour.taken.push((start, start + size, transient.last));
            buffers[colour.buffer].elements = buffers[colour.buffer].elements.max(start + size);
            Some((colour.buffer, start))
        });
        let place = place.unwrap_or_else(|| {
            let buffer = buffers.len();
            // Plans that run on one device share these buffers by name, so the name says the type.
            let kind = match transient.dtype {
                DType::Float => "work",
                DType::Half => "halves",
                DType::U32 | DType::U8 => "words",
            };
            let name = format!("{kind} {}", colours.iter().filter(|c| c.dtype == transient.dtype).count());
            let work = Buffer { elements: size, persistent: false, ..Buffer::lasting(&name, transient.dtype) };
            buffers.push(work);
            let taken = vec![(0, size, transient.last)];
            colours.push(Colour { buffer, dtype: transient.dtype, taken });
            (buffer, 0)
        });
        places.push(place);
    }
    places
}

/// Fails if plans that share buffers by name need more than `available` bytes; the error says which part of the batch
/// would fit.
pub fn foresee(plans: &[Plan], available: u64) -> Result<()> {
    let mut buffers: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
    for buffer in plans.iter().flat_map(|plan| &plan.buffers) {
        let known = buffers.entry(&buffer.name).or_default();
        *known = (known.0.max(buffer.bytes()), buffer.persistent);
    }
    let asked: u64 = buffers.values().map(|(bytes, _)| bytes).sum();
    if asked <= available {
        return Ok(());
    }
    // Only values that live within a step shrink with the batch; parameters and data do not.
    let lasting: u64 = buffers.values().filter(|(_, persistent)| *persistent).map(|(bytes, _)| bytes).sum();
    let part = 100 * available.saturating_sub(lasting) / (asked - lasting).max(1);
    let help = match part {
        0 => format!("{lasting} bytes are needed whatever the batch: use a smaller model, or another device"),
        _ => format!("a batch of {part} % of this one would fit"),
    };
    let mut largest: Vec<(&str, u64)> = buffers.into_iter().map(|(name, (bytes, _))| (name, bytes)).collect();
    largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let largest: Vec<String> = largest.iter().take(3).map(|(name, bytes)| format!("\"{name}\" {bytes}")).collect();
    let name = plans.first().map_or("", |plan| &plan.name);
    let what = format!("plan \"{name}\" (most of them for {})", largest.join(", "));
    Err(Error::OutOfMemory { what, asked, available: format!("{available} bytes"), help })
}
