//! Weights in files: safetensors with PyTorch's parameter names and layouts.

use crate::data::files::{self, write_atomically};
use crate::error::{Error, Result, suggest};
use crate::plan::ParameterLayout;
use crate::shape::Shape;
use crate::tensor::Values;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// Parameters, or what is laid out like them, under a prefix of their names.
pub struct Section<'a> {
    /// Put before every name; empty for the parameters themselves.
    pub prefix: &'a str,
    /// All of them, in the layout.
    pub values: &'a Values,
}

/// Writes a model's parameters as f32, whatever they are.
pub fn write_model(path: &Path, layout: &ParameterLayout, parameters: &Values) -> Result<()> {
    let rounded;
    let values = match parameters {
        Values::F64(values) => {
            rounded = Values::F32(values.iter().map(|value| *value as f32).collect());
            &rounded
        }
        Values::F32(_) | Values::U32(_) | Values::U8(_) => parameters,
    };
    write(path, layout, &[Section { prefix: "", values }], None)
}

/// Writes sections of tensors to a file, which is either whole or not there. At most one piece of metadata, since the
/// format does not fix the order of several, and the same weights must give the same bytes.
pub fn write(
    path: &Path,
    layout: &ParameterLayout,
    sections: &[Section],
    metadata: Option<(&str, String)>,
) -> Result<()> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for section in sections {
        for (name, shape, offset) in layout.entries() {
            let range = *offset..*offset + shape.elements();
            let (dtype, bytes) = match section.values {
                Values::F32(v) => (Dtype::F32, v[range].iter().flat_map(|x| x.to_le_bytes()).collect()),
                Values::F64(v) => (Dtype::F64, v[range].iter().flat_map(|x| x.to_le_bytes()).collect()),
                Values::U32(v) => (Dtype::U32, v[range].iter().flat_map(|x| x.to_le_bytes()).collect()),
                Values::U8(v) => (Dtype::U8, v[range].to_vec()),
            };
            tensors.push((format!("{}{name}", section.prefix), dtype, shape.to_vec(), bytes));
        }
    }
    let broken = |error: safetensors::SafeTensorError| {
        Error::file(path, format!("cannot be made: {error}"), "report this as a bug in pinhole")
    };
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(broken)?;
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let bytes = safetensors::serialize(views, metadata).map_err(broken)?;
    write_atomically(path, |file| file.write_all(&bytes))
}

/// Bytes of a header besides names, and of what a file may hold that the model has no use for: what is made of a header takes
/// up to twenty times as much memory as its text.
const HEADER_SLACK: u64 = 256 << 10;
/// Bytes of a header for a tensor, besides its name: prefix, type, shape and place.
const HEADER_ENTRY: u64 = 160;
/// Tensors of one parameter: itself, four moments, its average and its best, rounded up.
const HEADER_SECTIONS: u64 = 8;

/// A safetensors file in memory.
pub struct File<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl<'a> File<'a> {
    /// Reads a file of these parameters. Fails where its header is longer than any of theirs could be.
    pub fn read(path: &'a Path, layout: &ParameterLayout) -> Result<File<'a>> {
        let bytes = files::read(path)?;
        let entries = layout.entries().iter().map(|(name, ..)| name.len() as u64 + HEADER_ENTRY);
        let longest = HEADER_SLACK + HEADER_SECTIONS * entries.sum::<u64>();
        if let Some(length) = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))
            && (longest + 1..=bytes.len() as u64).contains(&length)
        {
            let problem = format!("has a header of {length} bytes, where one of this model has {longest} at most");
            return Err(Error::file(path, problem, "give weights of this very model"));
        }
        Ok(File { path, bytes })
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| {
            Error::file(self.path, format!("is no safetensors file: {error}"), "give a file of weights")
        })
    }

    /// A piece of the file's metadata.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        self.tensors()?;
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes)
            .map_err(|error| Error::file(self.path, error.to_string(), "give a file of weights"))?;
        Ok(metadata.metadata().as_ref().and_then(|pairs| pairs.get(key).cloned()))
    }

    /// Whether there is any tensor of a section.
    pub fn has(&self, prefix: &str) -> Result<bool> {
        Ok(self.tensors()?.names().iter().any(|name| name.starts_with(prefix)))
    }

    /// The tensors of a section, in the layout. Every parameter must be there in its shape, as f32 or f64, without NaN or
    /// infinity. With an empty prefix nothing else may be there.
    pub fn section(&self, layout: &ParameterLayout, prefix: &str) -> Result<Values> {
        let tensors = self.tensors()?;
        let fail = |problem: String, help: String| Err(Error::file(self.path, problem, help));
        if prefix.is_empty() {
            let known: Vec<&str> = layout.entries().iter().map(|(name, ..)| name.as_str()).collect();
            let mut names = tensors.names();
            names.sort_unstable();
            if let Some(stranger) = names.iter().find(|name| !known.contains(*name) && !name.starts_with("optimizer."))
            {
                return fail(format!("the model has no parameter \"{stranger}\""), suggest(stranger, known));
            }
        }
        let mut wide = vec![0.0f64; layout.elements()];
        let mut narrow = true;
        for (name, shape, offset) in layout.entries() {
            let name = format!("{prefix}{name}");
            let Ok(tensor) = tensors.tensor(&name) else {
                return fail(format!("parameter \"{name}\" is missing"), "give weights of this very model".to_owned());
            };
            let found = Shape::from(tensor.shape());
            if found != *shape {
                let problem = format!("parameter \"{name}\" is {found}, the model's is {shape}");
                return fail(problem, "give weights of this very model".to_owned());
            }
            let target = &mut wide[*offset..*offset + shape.elements()];
            match tensor.dtype() {
                Dtype::F32 => {
                    for (value, bytes) in target.iter_mut().zip(tensor.data().chunks_exact(4)) {
                        *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as f64;
                    }
                }
                Dtype::F64 => {
                    narrow = false;
                    for (value, bytes) in target.iter_mut().zip(tensor.data().chunks_exact(8)) {
                        let mut eight = [0; 8];
                        eight.copy_from_slice(bytes);
                        *value = f64::from_le_bytes(eight);
                    }
                }
                // PyTorch counts batches so.
                Dtype::I64 => {
                    for (value, bytes) in target.iter_mut().zip(tensor.data().chunks_exact(8)) {
                        let mut eight = [0; 8];
                        eight.copy_from_slice(bytes);
                        *value = i64::from_le_bytes(eight) as f64;
                    }
                }
                other => {
                    let problem = format!("parameter \"{name}\" is of type {other:?}");
                    return fail(problem, "convert it to F32 or F64".to_owned());
                }
            }
            if let Some(at) = target.iter().position(|value| !value.is_finite()) {
                let problem = format!("parameter \"{name}\" holds {} at element {at}", target[at]);
                return fail(problem, "give weights without NaN and infinities".to_owned());
            }
        }
        // What was narrow stays so, bit for bit.
        Ok(if narrow { Values::F32(wide.into_iter().map(|value| value as f32).collect()) } else { Values::F64(wide) })
    }
}
