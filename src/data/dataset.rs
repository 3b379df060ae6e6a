//! [`Dataset`]: samples of one shape, in the host's memory or in files.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::bounds::Bounds;
use super::elements::checksum_of;
use super::images::has_sixteen_bits;
use super::labels::Labels;
use super::pictures::PictureFormat;
use super::sparse::SparseRows;
use super::stream::Stream;
use super::table::{Column, Lines, set_statistics, standardised};
use crate::error::{Error, Result};
use crate::rng::SplitMix;
use crate::shape::Shape;
use crate::tensor::{DType, Values, with_values};

/// Samples of one shape, each with a label if the source has labels.
///
/// Values are bytes (a byte `b` means `b / 255`) or finite f32. There is always at least one sample. Samples are in
/// host memory, except pictures of which [`load_with`](super::load_with) found too many, which [`Dataset::read`]
/// decodes on demand, and samples from an iterator: [`Dataset::from_stream`].
#[derive(Clone, PartialEq)]
pub struct Dataset {
    name: String,
    sample_shape: Shape,
    sample_elements: usize,
    store: Store,
    /// The labels, or the reason why they cannot be used.
    pub(super) labels: Option<Result<Labels, String>>,
    pub(super) conditions: Option<Box<Dataset>>,
    pub(super) targets: Option<Box<Dataset>>,
    pub(super) lengths: Option<Vec<u32>>,
    columns: Option<Arc<Vec<Column>>>,
    /// The lines of a table as in its file, if means and deviations were computed from them: a split computes them
    /// again from its training part.
    lines: Option<Vec<f64>>,
}

/// Storage of samples.
#[derive(Clone, PartialEq)]
enum Store {
    Memory(Values),
    Pictures {
        paths: Vec<PathBuf>,
        format: PictureFormat,
        /// Whether samples are floats, because a picture has 16 bits; else they are bytes.
        sixteen_bits: bool,
    },
    Stream(Stream),
    Sparse(SparseRows),
    /// The samples of several data sets, concatenated sample by sample.
    Parts(Vec<Dataset>),
}

/// The training samples of a source and, if it has its own, test samples.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The training samples.
    pub train: Dataset,
    /// The source's own test samples, of the same shape or flat.
    pub test: Option<Dataset>,
}

/// A checksum (CRC-32C) of samples: of their values, or of their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// The checksum of the values.
    Values(u32),
    /// The checksum of the names and sizes of the files that hold the samples.
    Files(u32),
}

/// The values that a data set outside memory returns.
static NOTHING: Values = Values::U8(Vec::new());

impl Dataset {
    /// Makes a data set of bytes, one sample after another, each of `sample_shape` and row-major.
    ///
    /// Fails where there is no sample, where the shape is `[]` or has a zero, or where the bytes are not a whole number
    /// of samples.
    pub fn from_u8(sample_shape: impl Into<Shape>, bytes: Vec<u8>) -> Result<Dataset> {
        Dataset::new(sample_shape.into(), Values::U8(bytes))
    }

    /// Makes a data set of f32, one sample after another, each of `sample_shape` and row-major.
    ///
    /// Fails as [`Dataset::from_u8`] does, and where a value is NaN or infinite.
    pub fn from_f32(sample_shape: impl Into<Shape>, values: Vec<f32>) -> Result<Dataset> {
        let dataset = Dataset::new(sample_shape.into(), Values::F32(values))?;
        if let Values::F32(values) = dataset.values()
            && let Some(position) = values.iter().position(|value| !value.is_finite())
        {
            let (sample, element) = (position / dataset.sample_elements, position % dataset.sample_elements);
            let problem = format!("sample {sample}, element {element} is {} (both counted from 0)", values[position]);
            return Err(Error::invalid("data", problem, "remove or replace such values before training"));
        }
        Ok(dataset)
    }

    /// Makes a data set from an iterator, for data generated, received or read during training: `open` returns an
    /// iterator for each epoch, counted from 0, and an epoch is its first `samples` samples. Each item is a sample, or
    /// a batch of several one after another, each of `sample_shape` and row-major. Only two chunks are in memory at a
    /// time; a separate thread reads them ahead of the device.
    ///
    /// Training takes samples in the iterator's order, regardless of the model's `shuffle`. `open` may be called more
    /// than once for an epoch, to resume within it or to find the cause of a loss that is not finite, and must then
    /// return identical samples, or a run is no longer reproducible to the bit. Validation reads epoch 0.
    ///
    /// Fails where `samples` is 0 or more than 2³² - 1, or where the shape is `[]` or has a zero. Reading fails with
    /// [`Error::Stream`] where the iterator returns an error, and with [`Error::Invalid`] where it ends before
    /// `samples` samples, where an item is not a whole number of samples, where a value is NaN or infinite, or, in
    /// training and validation, where the model's loss does not accept it.
    ///
    /// ```
    /// use pinhole::{Autoencoder, Device, data::Dataset, model::ModelSpec};
    /// use std::convert::Infallible;
    /// let mut spec = ModelSpec::resolve("dense")?;
    /// (spec.train.batch, spec.train.epochs) = (16, 2);
    /// // Bright bars, of which each epoch has others.
    /// let bars = |epoch: u64| {
    ///     let bar = move |sample: u64| (0..784).map(|i| ((i + sample + epoch) % 28 < 9) as u8 as f32).collect();
    ///     (0..).map(move |sample| Ok::<Vec<f32>, Infallible>(bar(sample)))
    /// };
    /// let data = Dataset::from_stream([1, 28, 28], 40, bars)?;
    /// let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
    /// assert_eq!(autoencoder.fit(&data, None, &mut ())?.len(), 2);
    /// # Ok::<(), pinhole::Error>(())
    /// ```
    pub fn from_stream<I, E>(
        sample_shape: impl Into<Shape>,
        samples: usize,
        open: impl Fn(u64) -> I + Send + Sync + 'static,
    ) -> Result<Dataset>
    where
        I: IntoIterator<Item = Result<Vec<f32>, E>>,
        I::IntoIter: Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let sample_shape = sample_shape.into();
        elements_of(&sample_shape)?;
        if samples == 0 || u32::try_from(samples).is_err() {
            let problem = format!("an epoch of {samples} samples cannot be counted");
            return Err(Error::invalid("data", problem, "give 1 to 4294967295"));
        }
        let stream = Stream::new(samples, move |epoch| {
            let items = open(epoch).into_iter().map(|item| item.map_err(Into::into));
            Box::new(items)
        });
        Ok(Dataset::in_store(sample_shape, Store::Stream(stream)))
    }

    fn new(sample_shape: Shape, values: Values) -> Result<Dataset> {
        let sample_elements = elements_of(&sample_shape)?;
        if values.is_empty() {
            return Err(Error::invalid("data", "there is no sample in it", "give at least one sample"));
        }
        if !values.len().is_multiple_of(sample_elements) {
            let samples = format!("samples of shape {sample_shape}, which hold {sample_elements} each");
            let problem = format!("{} values are no whole number of {samples}", values.len());
            return Err(Error::invalid("data", problem, "check the sample shape"));
        }
        Ok(Dataset::in_store(sample_shape, Store::Memory(values)))
    }

    /// A data set whose shape has been checked already.
    fn in_store(sample_shape: Shape, store: Store) -> Dataset {
        let sample_elements = sample_shape.elements();
        Dataset {
            name: "data".into(),
            sample_shape,
            sample_elements,
            store,
            labels: None,
            conditions: None,
            targets: None,
            lengths: None,
            columns: None,
            lines: None,
        }
    }

    /// Makes a data set of pictures that stay in their files until read, one sample each: bytes, or floats from 0 to 1
    /// if one of them has 16 bits. Fails where there is no picture.
    pub fn from_pictures(paths: Vec<PathBuf>, format: PictureFormat) -> Result<Dataset> {
        let sixteen_bits = paths.par_iter().any(|path| has_sixteen_bits(path));
        Dataset::from_pictures_of(paths, format, sixteen_bits)
    }

    /// Makes a data set as [`Dataset::from_pictures`] does, given whether a picture of it or of a related part has 16
    /// bits.
    pub(super) fn from_pictures_of(paths: Vec<PathBuf>, format: PictureFormat, sixteen_bits: bool) -> Result<Dataset> {
        if paths.is_empty() {
            return Err(Error::invalid("data", "there is no picture in it", "give at least one"));
        }
        let sample_shape = format.shape();
        if !matches!(format.channels, 1..=4) || sample_shape.contains(&0) {
            let problem = format!("pictures cannot have shape {sample_shape}");
            return Err(Error::invalid("data", problem, "give 1 to 4 channels, and sizes above 0"));
        }
        Ok(Dataset::in_store(sample_shape, Store::Pictures { paths, format, sixteen_bits }))
    }

    /// Makes a data set of samples `[columns]` that are mostly zeros. They stay sparse in memory; [`Dataset::read`]
    /// fills in the zeros.
    pub fn from_sparse(rows: SparseRows) -> Dataset {
        Dataset::in_store([rows.columns()].into(), Store::Sparse(rows))
    }

    /// The sparse rows of the data set, if it has them: see [`Dataset::from_sparse`].
    pub fn sparse(&self) -> Option<&SparseRows> {
        let Store::Sparse(rows) = &self.store else { return None };
        Some(rows)
    }

    /// The number of samples, at least 1.
    pub fn len(&self) -> usize {
        match &self.store {
            Store::Memory(values) => values.len() / self.sample_elements,
            Store::Pictures { paths, .. } => paths.len(),
            Store::Stream(stream) => stream.samples(),
            Store::Sparse(rows) => rows.len(),
            Store::Parts(parts) => parts.first().map_or(0, Dataset::len),
        }
    }

    /// Whether there is no sample: never, by construction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one sample, such as `[1, 28, 28]` (channels, height, width) or `[784]`.
    pub fn sample_shape(&self) -> &Shape {
        &self.sample_shape
    }

    /// All values, one sample after another: [`Values::U8`] or [`Values::F32`]. Empty if the samples are not in
    /// memory, or are sparse.
    pub fn values(&self) -> &Values {
        let Store::Memory(values) = &self.store else { return &NOTHING };
        values
    }

    /// Whether the samples are in memory, and not sparse.
    pub fn in_memory(&self) -> bool {
        matches!(self.store, Store::Memory(_))
    }

    /// Whether samples come from an iterator, and so in its order alone.
    pub fn is_stream(&self) -> bool {
        match &self.store {
            Store::Stream(_) => true,
            Store::Parts(parts) => parts.iter().any(Dataset::is_stream),
            Store::Memory(_) | Store::Pictures { .. } | Store::Sparse(_) => false,
        }
    }

    /// The type of the values: [`DType::U8`] or [`DType::Float`].
    pub fn dtype(&self) -> DType {
        match &self.store {
            Store::Memory(Values::U8(_)) | Store::Pictures { sixteen_bits: false, .. } => DType::U8,
            Store::Pictures { sixteen_bits: true, .. } => DType::Float,
            Store::Memory(Values::F32(_) | Values::F64(_) | Values::U32(_)) => DType::Float,
            Store::Parts(parts) if parts.iter().all(|part| part.dtype() == DType::U8) => DType::U8,
            Store::Stream(_) | Store::Parts(_) | Store::Sparse(_) => DType::Float,
        }
    }

    /// A checksum of the samples in order, without side data; none if an iterator makes them.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        match &self.store {
            Store::Memory(values) => {
                let sum = with_values!(values, values => checksum_of(values, |value| value.to_le_bytes()));
                Some(Checksum::Values(sum))
            }
            Store::Pictures { paths, .. } => {
                let one = |sum, path: &PathBuf| {
                    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    crc32c::crc32c_append(crc32c::crc32c_append(sum, name.as_bytes()), &bytes.to_le_bytes())
                };
                Some(Checksum::Files(paths.iter().fold(0, one)))
            }
            Store::Stream(_) => None,
            Store::Sparse(rows) => Some(Checksum::Values(rows.checksum())),
            Store::Parts(parts) => parts.iter().map(Dataset::checksum).try_fold(Checksum::Values(0), |sum, part| {
                let append = |sum, part: u32| crc32c::crc32c_append(sum, &part.to_le_bytes());
                Some(match (sum, part?) {
                    (Checksum::Values(sum), Checksum::Values(part)) => Checksum::Values(append(sum, part)),
                    (Checksum::Values(sum) | Checksum::Files(sum), Checksum::Values(part) | Checksum::Files(part)) => {
                        Checksum::Files(append(sum, part))
                    }
                })
            }),
        }
    }

    /// The columns of the samples, if the data is a table.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_ref().map(|columns| &columns[..])
    }

    /// Marks the samples as lines of a table of these columns. Fails where a sample has more or fewer numbers.
    pub fn with_columns(mut self, columns: Vec<Column>) -> Result<Dataset> {
        if columns.len() != self.sample_elements {
            let problem = format!("{} columns given for samples of {} numbers", columns.len(), self.sample_elements);
            return Err(Error::invalid("columns", problem, "give one for each number"));
        }
        self.columns = Some(Arc::new(columns));
        Ok(self)
    }

    /// The lines of a table, standardised by their columns' means and deviations. `found` says that these were computed
    /// from the lines themselves.
    pub(super) fn from_table(lines: Lines, found: bool) -> Result<Dataset> {
        let Lines { columns, values, labels } = lines;
        let dataset = Dataset::from_f32([columns.len()], standardised(&columns, &values))?.with_read_labels(labels)?;
        Ok(Dataset { columns: Some(Arc::new(columns)), lines: found.then_some(values), ..dataset })
    }

    /// Drops the lines kept for computing means again in a split: the data set will not be split.
    pub(crate) fn without_lines(self) -> Dataset {
        Dataset { lines: None, ..self }
    }

    /// Standardises the lines of a table by these columns' means and deviations.
    fn standardised_by(self, columns: &Arc<Vec<Column>>) -> Dataset {
        let Some(lines) = &self.lines else { return self };
        let store = Store::Memory(Values::F32(standardised(columns, lines)));
        Dataset { store, columns: Some(columns.clone()), lines: None, ..self }
    }

    /// The name of this data in messages and reports; `data` by default.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renames the data set.
    pub fn with_name(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// Reads the samples at these indices, one after another, in the data's own type; indices may repeat. Samples
    /// in files are decoded by this call, on all cores. Samples from an iterator are those of epoch 0, and their
    /// indices must be consecutive.
    ///
    /// Fails where a file cannot be read, where an iterator returns an error, and where an index is not below
    /// [`Dataset::len`].
    pub fn read(&self, indices: &[u32]) -> Result<Values> {
        self.read_epoch(0, indices)
    }

    /// Reads samples as [`Dataset::read`] does, of an iterator those of the given epoch.
    pub(crate) fn read_epoch(&self, epoch: u64, indices: &[u32]) -> Result<Values> {
        if let Some(index) = indices.iter().find(|index| **index as usize >= self.len()) {
            let problem = format!("there is no sample {index}: there are {}", self.len());
            return Err(Error::in_data(&self.name, problem, "count from 0"));
        }
        match &self.store {
            Store::Memory(_) => Ok(self.gather(indices)),
            Store::Pictures { paths, format, sixteen_bits } => {
                let paths: Vec<&PathBuf> = indices.iter().map(|index| &paths[*index as usize]).collect();
                format.read_all(&paths, *sixteen_bits)
            }
            Store::Stream(stream) => stream.read(&self.name, self.sample_elements, epoch, indices).map(Values::F32),
            Store::Sparse(rows) => Ok(Values::F32(rows.dense(indices))),
            Store::Parts(parts) => {
                let read = |part: &Dataset| Ok((part.read_epoch(epoch, indices)?, part.sample_elements));
                let parts: Vec<(Values, usize)> = parts.iter().map(read).collect::<Result<_>>()?;
                Ok(join(&parts.iter().map(|(values, width)| (values, *width)).collect::<Vec<_>>()))
            }
        }
    }

    /// Splits the data set into ranges of at most `most` samples.
    pub fn ranges(&self, most: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.len();
        (0..count).step_by(most).map(move |start| start..count.min(start + most))
    }

    /// Reads the samples in `range` as f32, a byte `b` as `b / 255`. Fails as [`Dataset::read`] does.
    pub fn read_f32(&self, range: Range<usize>) -> Result<Vec<f32>> {
        if self.in_memory() && range.start <= range.end && range.end <= self.len() {
            return Ok(self.rows_f32(range));
        }
        let indices: Vec<u32> = range.map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect();
        Ok(floats(&self.read(&indices)?, 0..indices.len() * self.sample_elements).into_owned())
    }

    /// The values of the samples in `range` as f32, a byte `b` as `b / 255`.
    ///
    /// # Panics
    ///
    /// Where `range` reaches past the last sample, as slicing does, and where the samples are not in memory.
    pub fn rows_f32(&self, range: Range<usize>) -> Vec<f32> {
        floats(self.values(), range.start * self.sample_elements..range.end * self.sample_elements).into_owned()
    }

    /// Copies the samples at these indices, as [`Dataset::read`] does.
    ///
    /// # Panics
    ///
    /// Where an index is not below [`Dataset::len`], as indexing does, and where the samples are not in memory.
    pub fn gather(&self, indices: &[u32]) -> Values {
        with_values!(self.values(), Values(values) => self.gather_from(values, indices))
    }

    fn gather_from<T: Copy>(&self, values: &[T], indices: &[u32]) -> Vec<T> {
        let mut gathered = Vec::with_capacity(indices.len() * self.sample_elements);
        for index in indices {
            let start = *index as usize * self.sample_elements;
            gathered.extend_from_slice(&values[start..start + self.sample_elements]);
        }
        gathered
    }

    /// Splits the data set into a training and a validation set: the last `validation` samples of a permutation drawn
    /// from `seed` become the second. Equal data and seed give equal parts on every machine. If means and deviations of
    /// a table's columns were computed from this data, they are computed again from the training set, for both parts.
    ///
    /// Fails where either would be empty, and where the samples come from an iterator.
    pub fn split(self, validation: usize, seed: u64) -> Result<(Dataset, Dataset)> {
        if validation == 0 || validation >= self.len() {
            let problem = format!("{validation} of {} samples leave one side of the split empty", self.len());
            let help = format!("give 1 to {} samples, or do not split", self.len().saturating_sub(1));
            return Err(Error::invalid("validation", problem, help));
        }
        if self.is_stream() {
            let problem = "samples that come from an iterator cannot be set aside";
            return Err(Error::invalid("validation", problem, "give validation data separately"));
        }
        let Ok(count) = u32::try_from(self.len()) else {
            let problem = format!("{} samples are more than a split can count", self.len());
            return Err(Error::invalid("validation", problem, "use fewer than 4294967296 samples"));
        };
        let order = SplitMix::new(seed).shuffled(count);
        let (train, held_out) = order.split_at(self.len() - validation);
        let (train, held_out) = (self.subset(train), self.subset(held_out));
        let (Some(lines), Some(columns)) = (&train.lines, &self.columns) else { return Ok((train, held_out)) };
        let mut columns = columns.to_vec();
        set_statistics(&mut columns, lines);
        let columns = Arc::new(columns);
        Ok((train.standardised_by(&columns), held_out.standardised_by(&columns)))
    }

    /// A data set from parts that are known to match.
    pub(super) fn from_parts(name: &str, sample_shape: Shape, values: Values, labels: Option<Labels>) -> Dataset {
        let labels = labels.map(Ok);
        Dataset { name: name.into(), labels, ..Dataset::in_store(sample_shape, Store::Memory(values)) }
    }

    /// Replaces the values by `change`, which keeps the number of samples, and the sample shape. Samples that are not
    /// in memory stay as they are.
    pub(super) fn with_values(mut self, sample_shape: Shape, change: impl FnOnce(Values) -> Values) -> Dataset {
        if let Store::Memory(values) = &mut self.store {
            *values = change(std::mem::replace(values, Values::U8(vec![])));
            self.sample_shape = sample_shape;
        }
        self
    }

    /// Checks each number from an iterator against bounds when it is read. Other data sets stay as they are.
    pub(crate) fn within(mut self, bounds: Bounds) -> Dataset {
        if let Store::Stream(stream) = &mut self.store {
            stream.set_bounds(bounds);
        }
        self
    }

    /// Selects the samples at these indices, which may repeat. Fails where there is no index, where an index is
    /// not below [`Dataset::len`], and where the samples come from an iterator.
    pub fn select(&self, indices: &[u32]) -> Result<Dataset> {
        let wrong = indices.iter().find(|index| **index as usize >= self.len());
        let problem = match wrong {
            Some(index) => format!("there is no sample {index}: there are {}", self.len()),
            None if indices.is_empty() => "no sample is chosen".to_owned(),
            None if self.is_stream() => "samples that come from an iterator cannot be chosen".to_owned(),
            None => return Ok(self.subset(indices)),
        };
        Err(Error::in_data(&self.name, problem, "choose samples that are there, counted from 0"))
    }

    /// Concatenates the samples of data sets of equal length; `sample_shape` is the result's.
    pub(super) fn of_parts(sample_shape: Shape, parts: Vec<Dataset>) -> Dataset {
        Dataset::in_store(sample_shape, Store::Parts(parts))
    }

    pub(crate) fn subset(&self, indices: &[u32]) -> Dataset {
        let labels = self.labels.as_ref().map(|labels| match labels {
            Ok(labels) => Ok(labels.subset(indices)),
            Err(fault) => Err(fault.clone()),
        });
        let side_data = |data: &Option<Box<Dataset>>| data.as_ref().map(|data| Box::new(data.subset(indices)));
        let lengths = self.lengths.as_ref();
        let lengths = lengths.map(|lengths| indices.iter().map(|index| lengths[*index as usize]).collect());
        let width = self.sample_elements;
        let line = |lines: &Vec<f64>, index: &u32| lines[*index as usize * width..][..width].to_vec();
        let lines = self.lines.as_ref();
        let lines = lines.map(|lines| indices.iter().flat_map(|index| line(lines, index)).collect());
        let store = match &self.store {
            Store::Memory(_) => Store::Memory(self.gather(indices)),
            Store::Pictures { paths, format, sixteen_bits } => {
                let paths = indices.iter().map(|index| paths[*index as usize].clone()).collect();
                Store::Pictures { paths, format: *format, sixteen_bits: *sixteen_bits }
            }
            // Unreachable: callers have refused streams.
            Store::Stream(stream) => Store::Stream(stream.clone()),
            Store::Sparse(rows) => Store::Sparse(rows.subset(indices)),
            Store::Parts(parts) => Store::Parts(parts.iter().map(|part| part.subset(indices)).collect()),
        };
        Dataset {
            name: self.name.clone(),
            labels,
            conditions: side_data(&self.conditions),
            targets: side_data(&self.targets),
            lengths,
            columns: self.columns.clone(),
            lines,
            ..Dataset::in_store(self.sample_shape.clone(), store)
        }
    }

    /// Keeps the first `count` samples: all if there are fewer, and one if `count` is 0, since a data set is never
    /// empty.
    pub fn take(mut self, count: usize) -> Dataset {
        let count = count.max(1);
        let elements = count.saturating_mul(self.sample_elements);
        let rows = count.min(self.len());
        match &mut self.store {
            Store::Memory(values) => with_values!(values, values => values.truncate(elements)),
            Store::Pictures { paths, .. } => paths.truncate(count),
            Store::Stream(stream) => stream.truncate(count),
            Store::Sparse(all) => all.truncate(rows),
            Store::Parts(parts) => *parts = parts.drain(..).map(|part| part.take(count)).collect(),
        }
        self.conditions = self.conditions.map(|conditions| Box::new(conditions.take(count)));
        self.targets = self.targets.map(|targets| Box::new(targets.take(count)));
        if let Some(lengths) = &mut self.lengths {
            lengths.truncate(count);
        }
        if let Some(Ok(labels)) = &mut self.labels {
            labels.truncate(count);
        }
        if let Some(lines) = &mut self.lines {
            lines.truncate(elements);
        }
        self
    }
}

fn elements_of(sample_shape: &Shape) -> Result<usize> {
    let elements = sample_shape.checked_elements().filter(|elements| *elements > 0 && !sample_shape.is_empty());
    elements.ok_or_else(|| {
        let problem = format!("a sample cannot have shape {sample_shape}");
        Error::invalid("data", problem, "give at least one size, all above 0, such as [1, 28, 28] or [784]")
    })
}

/// Converts a range of values to f32, a byte `b` to `b / 255`.
fn floats(values: &Values, range: Range<usize>) -> Cow<'_, [f32]> {
    match values {
        Values::U8(values) => values[range].iter().map(|byte| f32::from(*byte) / 255.0).collect(),
        Values::F32(values) => values[range].into(),
        Values::F64(values) => values[range].iter().map(|value| *value as f32).collect(),
        Values::U32(values) => values[range].iter().map(|value| *value as f32).collect(),
    }
}

/// Concatenates samples of the given widths, one by one: bytes if all are, else floats.
pub(super) fn join(parts: &[(&Values, usize)]) -> Values {
    fn samples<T: Copy>(parts: &[(impl Deref<Target = [T]>, usize)]) -> Vec<T> {
        let count = parts.first().map_or(0, |(values, width)| values.len() / width);
        let mut samples = Vec::with_capacity(parts.iter().map(|(values, _)| values.len()).sum());
        for at in 0..count {
            parts.iter().for_each(|(values, width)| samples.extend_from_slice(&values[at * width..][..*width]));
        }
        samples
    }
    let bytes = parts.iter().map(|(values, width)| match values {
        Values::U8(bytes) => Some((&bytes[..], *width)),
        Values::F32(_) | Values::F64(_) | Values::U32(_) => None,
    });
    if let Some(bytes) = bytes.collect::<Option<Vec<_>>>() {
        return Values::U8(samples(&bytes));
    }
    let floats = parts.iter().map(|(values, width)| (floats(values, 0..values.len()), *width));
    Values::F32(samples(&floats.collect::<Vec<_>>()))
}

/// Shows name, size and type, not the values, of which there are millions.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = match (self.values(), self.dtype()) {
            (Values::F64(_), _) => "f64",
            (Values::U32(_), _) => "u32",
            (_, DType::U8) => "u8",
            _ => "f32",
        };
        let labels = if self.labels().is_some() { ", labelled" } else { "" };
        let storage = match &self.store {
            Store::Memory(_) => "",
            Store::Pictures { .. } => ", in files",
            Store::Stream(_) => ", from an iterator",
            Store::Sparse(_) => ", sparse",
            Store::Parts(_) => ", side by side",
        };
        write!(f, "Dataset(\"{}\", {} x {} {kind}{labels}{storage})", self.name, self.len(), self.sample_shape)
    }
}
