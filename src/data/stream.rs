//! Samples from an application's iterators, one for each epoch.

use super::bounds::Bounds;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

type Items = Box<dyn Iterator<Item = Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + Send>;

/// A function that opens an epoch's iterator, and the position in the iterator that is open.
pub(super) struct Stream {
    open: Arc<dyn Fn(u64) -> Items + Send + Sync>,
    samples: usize,
    /// The bounds of numbers, which must also be finite.
    bounds: Option<Bounds>,
    cursor: Mutex<Cursor>,
}

/// A position in an epoch.
#[derive(Default)]
struct Cursor {
    epoch: u64,
    /// Number of samples of the epoch already returned.
    position: usize,
    /// The iterator; none before an epoch has begun, and after an error in it.
    items: Option<Items>,
    /// Numbers taken from the iterator but not yet returned: the rest of a batch.
    rest: Vec<f32>,
}

impl Stream {
    pub fn new(samples: usize, open: impl Fn(u64) -> Items + Send + Sync + 'static) -> Stream {
        Stream { open: Arc::new(open), samples, bounds: None, cursor: Mutex::default() }
    }

    /// Number of samples in an epoch.
    pub fn samples(&self) -> usize {
        self.samples
    }

    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = Some(bounds);
    }

    pub fn truncate(&mut self, samples: usize) {
        self.samples = self.samples.min(samples);
    }

    /// Reads the samples of these consecutive indices in an epoch. Continues where the last call ended if that is
    /// possible, else starts the epoch again.
    pub fn read(&self, name: &str, width: usize, epoch: u64, indices: &[u32]) -> Result<Vec<f32>> {
        if indices.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            let problem = "an iterator gives its samples only one after the other";
            return Err(Error::in_data(name, problem, "ask for them in their order"));
        }
        let Some(first) = indices.first().map(|first| *first as usize) else { return Ok(Vec::new()) };
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.items.is_none() || cursor.epoch != epoch || cursor.position > first {
            *cursor = Cursor { epoch, items: Some((self.open)(epoch)), ..Cursor::default() };
        }
        let mut taken = std::mem::take(&mut cursor.rest);
        // After any error, including a panic of the iterator, the next call starts the epoch again.
        let Some(mut items) = cursor.items.take() else { return Ok(Vec::new()) };
        let mut start = cursor.position;
        let end = first + indices.len();
        while start + taken.len() / width < end {
            // Samples skipped on the way to the first one need not be kept.
            let unwanted = (first - start.min(first)).min(taken.len() / width);
            taken.drain(..unwanted * width);
            start += unwanted;
            let sample = start + taken.len() / width;
            let item = items.next().ok_or_else(|| {
                let problem = format!("its iterator ends after {sample} of {} samples (epoch {epoch})", self.samples);
                Error::in_data(name, problem, "let it give as many as an epoch is said to have")
            })?;
            let item = item.map_err(|source| Error::Stream { name: name.to_owned(), sample, epoch, source })?;
            if item.is_empty() || !item.len().is_multiple_of(width) {
                let found = format!("{} numbers for sample {sample} (epoch {epoch})", item.len());
                let problem = format!("its iterator gives {found}, a sample has {width}");
                return Err(Error::in_data(name, problem, "give one whole sample or several"));
            }
            let refused =
                |value: &f32| !value.is_finite() || self.bounds.as_ref().is_some_and(|bounds| !bounds.contains(*value));
            if let Some(at) = item.iter().position(refused) {
                let (sample, element) = (sample + at / width, at % width);
                let found = format!("sample {sample}, element {element} is {} (epoch {epoch})", item[at]);
                return Err(match &self.bounds {
                    Some(bounds) if item[at].is_finite() => {
                        let problem = format!("{found}, but {}", bounds.text());
                        Error::in_data(name, problem, format!("scale them, or {}", bounds.otherwise))
                    }
                    _ => Error::in_data(name, found, "remove or replace such values before training"),
                });
            }
            taken.extend(item);
        }
        let values = taken[(first - start) * width..(end - start) * width].to_vec();
        taken.drain(..(end - start) * width);
        *cursor = Cursor { epoch, position: end, items: Some(items), rest: taken };
        Ok(values)
    }
}

/// A copy begins at the start of an epoch.
impl Clone for Stream {
    fn clone(&self) -> Stream {
        let (open, samples, bounds) = (self.open.clone(), self.samples, self.bounds.clone());
        Stream { open, samples, bounds, cursor: Mutex::default() }
    }
}

/// Equal if both open one iterator; samples are not compared.
impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        Arc::ptr_eq(&self.open, &other.open) && self.samples == other.samples
    }
}
