//! [`Dataset`]: samples of one shape, in the host's memory or in files.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::bounds::Bounds;
use super::elements::checksum_of;
use super::images::has_sixteen_bits;
use super::labels::Labels;
use super::pictures::PictureFormat;
use super::side_data::{SideData, join};
use super::sparse::SparseRows;
use super::stream::Stream;
use super::table::{Column, Lines, standardised, standards};
use crate::error::{Error, Result};
use crate::rng::SplitMix;
use crate::shape::Shape;
use crate::tensor::{DType, Values};

/// Samples of one shape, with a label each where the source has labels.
///
/// The values are bytes (a byte `b` stands for `b / 255`) or finite f32. There is always at least one sample. They lie in
/// the host's memory, unless they are pictures of which [`load_with`](super::load_with) found too many, which are decoded
/// whenever they are wanted, by [`Dataset::read`], or come from an iterator: [`Dataset::from_stream`].
#[derive(Clone, PartialEq)]
pub struct Dataset {
    name: String,
    sample_shape: Shape,
    sample_elements: usize,
    store: Store,
    /// The labels, or why they cannot be used.
    pub(super) labels: Option<Result<Labels, String>>,
    pub(super) side: SideData,
    columns: Option<Arc<Vec<Column>>>,
    /// The lines of a table as they are in its file, where means and deviations were found in them. Those of a part to train
    /// on are found anew.
    lines: Option<Vec<f64>>,
}

/// Where samples are.
#[derive(Clone, PartialEq)]
enum Store {
    Memory(Values),
    Pictures {
        paths: Vec<PathBuf>,
        format: PictureFormat,
        /// Whether samples are floats, since a picture has 16 bits; else they are bytes.
        sixteen_bits: bool,
    },
    Stream(Stream),
    Sparse(SparseRows),
    /// Samples of several data sets side by side.
    Parts(Vec<Dataset>),
}

/// What a source holds: samples to train on and, where the source has its own, samples to test with.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to train on.
    pub train: Dataset,
    /// The source's own test samples, of the same shape or flat.
    pub test: Option<Dataset>,
}

/// A checksum (CRC-32C) of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// Of their values.
    Values(u32),
    /// Of the names and sizes of the files that they stay in.
    Files(u32),
}

/// What a data set that is not in memory has there.
static NOTHING: Values = Values::U8(Vec::new());

impl Dataset {
    /// Samples of bytes, one after another, each of `sample_shape` and row-major.
    ///
    /// Fails where there is no sample, where the shape is `[]` or has a zero, or where the bytes are no whole number
    /// of samples.
    pub fn from_u8(sample_shape: impl Into<Shape>, bytes: Vec<u8>) -> Result<Dataset> {
        Dataset::new(sample_shape.into(), Values::U8(bytes))
    }

    /// Samples of f32, one after another, each of `sample_shape` and row-major.
    ///
    /// Fails as [`Dataset::from_u8`] does, and where a value is NaN or infinite.
    pub fn from_f32(sample_shape: impl Into<Shape>, values: Vec<f32>) -> Result<Dataset> {
        let dataset = Dataset::new(sample_shape.into(), Values::F32(values))?;
        if let Values::F32(values) = dataset.values()
            && let Some(position) = values.iter().position(|value| !value.is_finite())
        {
            let (sample, element) = (position / dataset.sample_elements, position % dataset.sample_elements);
            return Err(Error::invalid(
                "data",
                format!("sample {sample}, element {element} is {} (both counted from 0)", values[position]),
                "remove or replace such values before training",
            ));
        }
        Ok(dataset)
    }

    /// Samples from an iterator, for data that is made, received or read while training goes on: `open` gives an iterator
    /// for each epoch, which are counted from 0, and an epoch is the first `samples` samples of it. Each item is a sample,
    /// or a batch of several one after another, each of `sample_shape` and row-major. Only two chunks of them are in memory
    /// at a time, and they are asked for on a thread of their own, ahead of the device.
    ///
    /// Samples are trained on in the order in which they come, whatever the model's `shuffle` says. `open` may be called for
    /// an epoch more than once, to go on within it or to look for the cause of a loss that is not finite, and must then
    /// give the same samples again: nothing else keeps a run from giving the same bits. Validation reads epoch 0.
    ///
    /// Fails where `samples` is 0 or more than 2³² - 1, or where the shape is `[]` or has a zero. Reading fails with
    /// [`Error::Stream`] where the iterator gives an error, and with [`Error::Invalid`] where it ends before `samples`
    /// samples, where an item is no whole number of samples, where a value is NaN or infinite, or, in training and validation,
    /// where the model's loss does not take it.
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
            return Err(Error::invalid(
                "data",
                format!(
                    "{} values are no whole number of samples of shape {sample_shape}, which hold {sample_elements} each",
                    values.len()
                ),
                "check the sample shape",
            ));
        }
        Ok(Dataset::in_store(sample_shape, Store::Memory(values)))
    }

    /// A data set of a shape that has been looked at.
    fn in_store(sample_shape: Shape, store: Store) -> Dataset {
        let sample_elements = sample_shape.elements();
        Dataset {
            name: "data".into(),
            sample_shape,
            sample_elements,
            store,
            labels: None,
            side: SideData::default(),
            columns: None,
            lines: None,
        }
    }

    /// Pictures that stay in their files until they are wanted, a sample each: bytes, or floats from 0 to 1 where one of them
    /// has 16 bits. Fails where there is none.
    pub fn from_pictures(paths: Vec<PathBuf>, format: PictureFormat) -> Result<Dataset> {
        let sixteen_bits = paths.par_iter().any(|path| has_sixteen_bits(path));
        Dataset::from_pictures_of(paths, format, sixteen_bits)
    }

    /// [`Dataset::from_pictures`] where it is known whether one of them, or of others beside them, has 16 bits.
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

    /// Samples `[columns]` most of whose numbers are 0. They stay as they are, and get their zeros whenever they are wanted,
    /// by [`Dataset::read`].
    pub fn from_sparse(rows: SparseRows) -> Dataset {
        Dataset::in_store([rows.columns()].into(), Store::Sparse(rows))
    }

    /// The samples as they are kept where most of their numbers are 0: see [`Dataset::from_sparse`].
    pub fn sparse(&self) -> Option<&SparseRows> {
        match &self.store {
            Store::Sparse(rows) => Some(rows),
            Store::Memory(_) | Store::Pictures { .. } | Store::Stream(_) | Store::Parts(_) => None,
        }
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

    /// All samples' values, one sample after another: [`Values::U8`] or [`Values::F32`]. None where the samples are not in
    /// memory, or not with their zeros.
    pub fn values(&self) -> &Values {
        match &self.store {
            Store::Memory(values) => values,
            Store::Pictures { .. } | Store::Stream(_) | Store::Parts(_) | Store::Sparse(_) => &NOTHING,
        }
    }

    /// Whether the samples are in memory, with all their zeros.
    pub fn in_memory(&self) -> bool {
        matches!(self.store, Store::Memory(_))
    }

    /// Whether samples come from an iterator, and only in its order.
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

    /// A checksum of the samples, in their order and without what stands beside them; none where an iterator makes them.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        match &self.store {
            Store::Memory(Values::U8(values)) => Some(Checksum::Values(crc32c::crc32c(values))),
            Store::Memory(Values::F32(values)) => {
                Some(Checksum::Values(checksum_of(values, |value| value.to_le_bytes())))
            }
            Store::Memory(Values::F64(values)) => {
                Some(Checksum::Values(checksum_of(values, |value| value.to_le_bytes())))
            }
            Store::Memory(Values::U32(values)) => {
                Some(Checksum::Values(checksum_of(values, |value| value.to_le_bytes())))
            }
            Store::Pictures { paths, .. } => {
                let one = |sum, path: &PathBuf| {
                    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
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

    /// What the numbers of a sample are, where the data is a table.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_ref().map(|columns| &columns[..])
    }

    /// The same samples as lines of a table of these columns. Fails where a sample has more or fewer numbers.
    pub fn with_columns(mut self, columns: Vec<Column>) -> Result<Dataset> {
        if columns.len() != self.sample_elements {
            let problem = format!("{} columns given for samples of {} numbers", columns.len(), self.sample_elements);
            return Err(Error::invalid("columns", problem, "give one for each number"));
        }
        self.columns = Some(Arc::new(columns));
        Ok(self)
    }

    /// The lines of a table, standardised by their columns' means and deviations. `found` says that these were found in the
    /// lines themselves.
    pub(super) fn from_table(lines: Lines, found: bool) -> Result<Dataset> {
        let Lines { columns, values, labels } = lines;
        let mut dataset = Dataset::from_f32([columns.len()], standardised(&columns, &values))?;
        (dataset.columns, dataset.lines) = (Some(Arc::new(columns)), found.then_some(values));
        match labels {
            Some(labels) => dataset.with_read_labels(labels),
            None => Ok(dataset),
        }
    }

    /// The same samples, for good: they will not be split, so that nothing has to be kept for that.
    pub(crate) fn settled(self) -> Dataset {
        Dataset { lines: None, ..self }
    }

    /// The lines of a table, standardised by these columns' means and deviations.
    fn by(self, columns: &Arc<Vec<Column>>) -> Dataset {
        match self.lines {
            Some(lines) => Dataset {
                store: Store::Memory(Values::F32(standardised(columns, &lines))),
                columns: Some(columns.clone()),
                lines: None,
                ..self
            },
            None => self,
        }
    }

    /// What to call this data in messages and reports; `data` until named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same samples under another name.
    pub fn with_name(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// The samples at these indices, one after another, in the data's own type; an index may come more than once. Samples
    /// in files are read now, on all cores. Those of an iterator are its epoch 0's, and their indices must follow one upon
    /// the other.
    ///
    /// Fails where a file cannot be read, where an iterator gives an error, and where an index is not below
    /// [`Dataset::len`].
    pub fn read(&self, indices: &[u32]) -> Result<Values> {
        self.read_epoch(0, indices)
    }

    /// [`Dataset::read`] in some epoch, which makes a difference where samples come from an iterator.
    pub(crate) fn read_epoch(&self, epoch: u64, indices: &[u32]) -> Result<Values> {
        if let Some(index) = indices.iter().find(|index| **index as usize >= self.len()) {
            let problem = format!("there is no sample {index}: there are {}", self.len());
            return Err(Error::invalid(format!("data \"{}\"", self.name), problem, "count from 0"));
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

    /// The ranges of samples, `most` at a time, that together are the data set.
    pub fn ranges(&self, most: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.len();
        (0..count).step_by(most).map(move |start| start..count.min(start + most))
    }

    /// The values of the samples in `range` as f32, a byte `b` as `b / 255`. Fails as [`Dataset::read`] does.
    pub fn read_f32(&self, range: Range<usize>) -> Result<Vec<f32>> {
        if self.in_memory() && range.start <= range.end && range.end <= self.len() {
            return Ok(self.rows_f32(range));
        }
        let indices: Vec<u32> = range.map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect();
        Ok(floats(&self.read(&indices)?, 0..indices.len() * self.sample_elements))
    }

    /// The values of the samples in `range` as f32, a byte `b` as `b / 255`.
    ///
    /// # Panics
    ///
    /// Where `range` reaches past the last sample, as slicing does, and where the samples are not in memory.
    pub fn rows_f32(&self, range: Range<usize>) -> Vec<f32> {
        floats(self.values(), range.start * self.sample_elements..range.end * self.sample_elements)
    }

    /// The samples at these indices, as [`Dataset::read`] gives them.
    ///
    /// # Panics
    ///
    /// Where an index is not below [`Dataset::len`], as indexing does, and where the samples are not in memory.
    pub fn gather(&self, indices: &[u32]) -> Values {
        match self.values() {
            Values::U8(values) => Values::U8(self.gather_from(values, indices)),
            Values::F32(values) => Values::F32(self.gather_from(values, indices)),
            Values::F64(values) => Values::F64(self.gather_from(values, indices)),
            Values::U32(values) => Values::U32(self.gather_from(values, indices)),
        }
    }

    fn gather_from<T: Copy>(&self, values: &[T], indices: &[u32]) -> Vec<T> {
        let mut gathered = Vec::with_capacity(indices.len() * self.sample_elements);
        for index in indices {
            let start = *index as usize * self.sample_elements;
            gathered.extend_from_slice(&values[start..start + self.sample_elements]);
        }
        gathered
    }

    /// Two data sets, for training and for validation: the last `validation` samples of a permutation drawn from
    /// `seed` become the second. The same data and seed give the same two, everywhere. Means and deviations of a table's
    /// columns, where they were found in this data, become those of the samples to train on, in both.
    ///
    /// Fails where either would be empty, and where the samples come from an iterator.
    pub fn split(self, validation: usize, seed: u64) -> Result<(Dataset, Dataset)> {
        if validation == 0 || validation >= self.len() {
            return Err(Error::invalid(
                "validation",
                format!("{validation} of {} samples leave one side of the split empty", self.len()),
                format!("give 1 to {} samples, or do not split", self.len().saturating_sub(1)),
            ));
        }
        if self.is_stream() {
            let problem = "samples that come from an iterator cannot be set aside";
            return Err(Error::invalid("validation", problem, "give data of its own to validate on"));
        }
        let Ok(count) = u32::try_from(self.len()) else {
            return Err(Error::invalid(
                "validation",
                format!("{} samples are more than a split can count", self.len()),
                "use fewer than 4294967296 samples",
            ));
        };
        let mut order: Vec<u32> = (0..count).collect();
        let mut random = SplitMix::new(seed);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        let (train, held_out) = order.split_at(self.len() - validation);
        let (train, held_out) = (self.subset(train), self.subset(held_out));
        let (Some(lines), Some(columns)) = (&train.lines, &self.columns) else { return Ok((train, held_out)) };
        let mut columns = columns.to_vec();
        standards(&mut columns, lines);
        let columns = Arc::new(columns);
        Ok((train.by(&columns), held_out.by(&columns)))
    }

    /// A data set from parts that are known to fit each other.
    pub(super) fn from_parts(name: &str, sample_shape: Shape, values: Values, labels: Option<Labels>) -> Dataset {
        let labels = labels.map(Ok);
        Dataset { name: name.into(), labels, ..Dataset::in_store(sample_shape, Store::Memory(values)) }
    }

    /// The same samples with other values, as many, which have this sample shape. Samples that are not in memory stay as
    /// they are.
    pub(super) fn with_values(mut self, sample_shape: Shape, change: impl FnOnce(Values) -> Values) -> Dataset {
        if let Store::Memory(values) = &mut self.store {
            *values = change(std::mem::replace(values, Values::U8(vec![])));
            self.sample_shape = sample_shape;
        }
        self
    }

    /// The same samples where they come from an iterator, of which each number is held within bounds as it is read.
    pub(crate) fn within(mut self, bounds: Bounds) -> Dataset {
        if let Store::Stream(stream) = &mut self.store {
            stream.set_bounds(bounds);
        }
        self
    }

    /// A data set of the samples at these indices, an index as often as it comes. Fails where there is none, where an index is
    /// not below [`Dataset::len`], and where the samples come from an iterator.
    pub fn select(&self, indices: &[u32]) -> Result<Dataset> {
        let wrong = indices.iter().find(|index| **index as usize >= self.len());
        let problem = match wrong {
            Some(index) => format!("there is no sample {index}: there are {}", self.len()),
            None if indices.is_empty() => "no sample of it is chosen".to_owned(),
            None if self.is_stream() => "of samples that come from an iterator none can be chosen".to_owned(),
            None => return Ok(self.subset(indices)),
        };
        Err(Error::invalid(format!("data \"{}\"", self.name), problem, "choose samples that are there, counted from 0"))
    }

    /// Data sets side by side whose samples, all together, have this shape.
    pub(super) fn of_parts(sample_shape: Shape, parts: Vec<Dataset>) -> Dataset {
        Dataset::in_store(sample_shape, Store::Parts(parts))
    }

    pub(crate) fn subset(&self, indices: &[u32]) -> Dataset {
        let labels = self.labels.as_ref().map(|labels| match labels {
            Ok(labels) => Ok(labels.subset(indices)),
            Err(fault) => Err(fault.clone()),
        });
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
            // Those who call this have refused it.
            Store::Stream(stream) => Store::Stream(stream.clone()),
            Store::Sparse(rows) => Store::Sparse(rows.subset(indices)),
            Store::Parts(parts) => Store::Parts(parts.iter().map(|part| part.subset(indices)).collect()),
        };
        let (name, side, columns) = (self.name.clone(), self.side.subset(indices), self.columns.clone());
        Dataset { name, labels, side, columns, lines, ..Dataset::in_store(self.sample_shape.clone(), store) }
    }

    /// The first `count` samples: all where there are fewer, and one where `count` is 0, since a data set is never
    /// empty.
    pub fn take(mut self, count: usize) -> Dataset {
        let count = count.max(1);
        let elements = count.saturating_mul(self.sample_elements);
        let rows = count.min(self.len());
        match &mut self.store {
            Store::Memory(Values::U8(values)) => values.truncate(elements),
            Store::Memory(Values::F32(values)) => values.truncate(elements),
            Store::Memory(Values::F64(values)) => values.truncate(elements),
            Store::Memory(Values::U32(values)) => values.truncate(elements),
            Store::Pictures { paths, .. } => paths.truncate(count),
            Store::Stream(stream) => stream.truncate(count),
            Store::Sparse(all) => all.truncate(rows),
            Store::Parts(parts) => *parts = parts.drain(..).map(|part| part.take(count)).collect(),
        }
        self.side.truncate(count);
        if let Some(Ok(labels)) = &mut self.labels {
            labels.truncate(count);
        }
        if let Some(lines) = &mut self.lines {
            lines.truncate(elements);
        }
        self
    }
}

/// The elements of a sample. Fails where the shape is `[]`, has a zero or is too large to count.
impl Dataset {
    /// One label for each sample, where there are labels that can be read. Training looks at them only for the sake of a
    /// model's condition.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref().and_then(|labels| labels.as_ref().ok())
    }

    /// The labels, for those who need them. `model` says what they are needed for, in messages. Fails where there are none,
    /// and where there are some that cannot be read.
    pub(crate) fn needed_labels(&self, model: &str) -> Result<&Labels> {
        let fail =
            |problem: String, help: &str| Err(Error::invalid(format!("data \"{}\"", self.name()), problem, help));
        match &self.labels {
            Some(Ok(labels)) => Ok(labels),
            Some(Err(fault)) => {
                fail(format!("its labels cannot be used: {fault}{model}"), "give labels as text or whole numbers")
            }
            None => {
                let help = "give digits, a folder with MNIST's label files, an .npz file with x and y, or a CSV file whose \
                            label column --label names";
                fail(format!("it has no labels{model}"), help)
            }
        }
    }

    /// The same samples with these labels. Fails where their number is not the samples'.
    pub fn with_labels(mut self, labels: impl Into<Labels>) -> Result<Dataset> {
        let labels = labels.into();
        if labels.len() != self.len() {
            let problem = format!("{} labels given for {} samples", labels.len(), self.len());
            return Err(Error::invalid("labels", problem, "give one label per sample"));
        }
        self.labels = Some(Ok(labels));
        Ok(self)
    }

    /// The same samples with labels that cannot be read, for this reason: only what needs labels minds.
    pub(super) fn with_unreadable_labels(mut self, fault: String) -> Dataset {
        self.labels = Some(Err(fault));
        self
    }

    /// The same samples with labels that were read, or the reason why they were not.
    pub(super) fn with_read_labels(self, labels: Result<Labels, String>) -> Result<Dataset> {
        match labels {
            Ok(labels) => self.with_labels(labels),
            Err(fault) => Ok(self.with_unreadable_labels(fault)),
        }
    }
}

fn elements_of(sample_shape: &Shape) -> Result<usize> {
    let elements = sample_shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    elements.filter(|elements| *elements > 0 && !sample_shape.is_empty()).ok_or_else(|| {
        Error::invalid(
            "data",
            format!("a sample cannot have shape {sample_shape}"),
            "give at least one size, all above 0, such as [1, 28, 28] or [784]",
        )
    })
}

/// A part of some values as f32, a byte `b` as `b / 255`.
pub(super) fn floats(values: &Values, range: Range<usize>) -> Vec<f32> {
    match values {
        Values::U8(values) => values[range].iter().map(|byte| f32::from(*byte) / 255.0).collect(),
        Values::F32(values) => values[range].to_vec(),
        Values::F64(values) => values[range].iter().map(|value| *value as f32).collect(),
        Values::U32(values) => values[range].iter().map(|value| *value as f32).collect(),
    }
}

/// The name, size and type; never the values, of which there are millions.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = match (self.values(), self.dtype()) {
            (Values::F64(_), _) => "f64",
            (Values::U32(_), _) => "u32",
            (_, DType::U8) => "u8",
            _ => "f32",
        };
        let labels = if self.labels().is_some() { ", labelled" } else { "" };
        let place = match &self.store {
            Store::Memory(_) => "",
            Store::Pictures { .. } => ", in files",
            Store::Stream(_) => ", from an iterator",
            Store::Sparse(_) => ", sparse",
            Store::Parts(_) => ", side by side",
        };
        write!(f, "Dataset(\"{}\", {} x {} {kind}{labels}{place})", self.name, self.len(), self.sample_shape)
    }
}
