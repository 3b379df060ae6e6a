//! Weights in files: safetensors with PyTorch's parameter names and layouts.

use crate::error::{Error, Result, suggest};
use crate::files::{self, write_atomically};
use crate::plan::ParameterLayout;
use crate::shape::Shape;
use crate::tensor::Values;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

/// Tensors of all parameters, or of state with their layout, under a name prefix.
pub struct Section<'a> {
    /// Prefix of every name; empty for the parameters themselves.
    pub prefix: &'a str,
    /// All tensors, in the layout.
    pub values: &'a Values,
}

/// Reads a model's parameters, in the layout. See [`Autoencoder::load_weights`](crate::Autoencoder::load_weights).
pub fn read_model(path: &Path, layout: &ParameterLayout) -> Result<Values> {
    File::read(path, layout)?.weights(layout)
}

/// Writes a model's parameters, rounded to f32.
pub fn write_model(path: &Path, layout: &ParameterLayout, parameters: &Values) -> Result<()> {
    let rounded = match parameters {
        Values::F64(values) => Some(Values::F32(values.iter().map(|value| *value as f32).collect())),
        Values::F32(_) | Values::U32(_) | Values::U8(_) => None,
    };
    write(path, layout, &[Section { prefix: "", values: rounded.as_ref().unwrap_or(parameters) }], None)
}

/// Writes sections of tensors to a file atomically. Takes at most one metadata entry, since the format does not fix the
/// order of several, and equal weights must give equal bytes.
pub fn write(
    path: &Path,
    layout: &ParameterLayout,
    sections: &[Section],
    metadata: Option<(&str, String)>,
) -> Result<()> {
    let broken = |error: safetensors::SafeTensorError| {
        Error::file(path, format!("cannot be made: {error}"), "report this as a bug in pinhole")
    };
    let mut tensors = Vec::new();
    for section in sections {
        for entry in layout.entries() {
            let range = entry.range();
            let (dtype, bytes) = match section.values {
                Values::F32(v) => (Dtype::F32, bytemuck::cast_slice(&v[range])),
                Values::F64(v) => (Dtype::F64, bytemuck::cast_slice(&v[range])),
                Values::U32(v) => (Dtype::U32, bytemuck::cast_slice(&v[range])),
                Values::U8(v) => (Dtype::U8, &v[range]),
            };
            let tensor = TensorView::new(dtype, entry.shape.to_vec(), bytes).map_err(broken)?;
            tensors.push((format!("{}{}", section.prefix, entry.name), tensor));
        }
    }
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let bytes = safetensors::serialize(tensors, metadata).map_err(broken)?;
    write_atomically(path, |file| file.write_all(&bytes))
}

/// Bytes of a header other than names, and of entries that the model does not use. The limit exists because a parsed
/// header takes up to twenty times as much memory as its text.
const HEADER_SLACK: u64 = 256 << 10;
/// Bytes of a tensor's header entry without its name: prefix, type, shape and offsets.
const HEADER_ENTRY: u64 = 160;
/// Tensors per parameter: the parameter, four moments, its average and its best, rounded up.
const HEADER_SECTIONS: u64 = 8;

/// Name prefixes of PyTorch's parallel, averaged and compiled wrapper modules.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];
/// Magic bytes of `torch.save` files: archives, and before version 1.6 pickles.
const PYTORCH: [&[u8]; 2] = [b"PK\x03\x04", b"\x80\x02"];

/// A safetensors file in memory.
pub struct File<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl<'a> File<'a> {
    /// Reads a file of these parameters. Fails where its header is longer than any of such a file could be.
    pub fn read(path: &'a Path, layout: &ParameterLayout) -> Result<File<'a>> {
        let bytes = files::read(path)?;
        let entries = layout.entries().iter().map(|entry| entry.name.len() as u64 + HEADER_ENTRY);
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
            if PYTORCH.iter().any(|magic| self.bytes.starts_with(magic)) {
                let help = "save weights by safetensors.torch.save_file(model.state_dict(), name)";
                return Error::file(self.path, "is a file of torch.save and no safetensors file", help);
            }
            Error::file(self.path, format!("is no safetensors file: {error}"), "give a file of weights")
        })
    }

    /// An entry of the file's metadata.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        self.tensors()?;
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes)
            .map_err(|error| Error::file(self.path, error.to_string(), "give a file of weights"))?;
        Ok(metadata.metadata().as_ref().and_then(|pairs| pairs.get(key).cloned()))
    }

    /// Reads a model's weights, also as PyTorch saves them: as f32, f64, f16 or bf16, with `module.` or `_orig_mod.` in
    /// names ignored, and with or without batch counts.
    ///
    /// Fails where a parameter is missing, of another shape or type, or not finite as f32; where a tensor matches no
    /// parameter; where two names match one parameter; and where only some names have a wrapper's prefix.
    pub fn weights(&self, layout: &ParameterLayout) -> Result<Values> {
        let tensors = self.tensors()?;
        let known: HashSet<&str> = layout.entries().iter().map(|entry| entry.name.as_str()).collect();
        let fail = |problem: String, help: String| Err(Error::file(self.path, problem, help));
        let mut names = tensors.names();
        names.retain(|name| !name.starts_with("optimizer."));
        names.sort_unstable();
        let mut found: HashMap<String, &str> = HashMap::new();
        let mut first: Option<(&str, &str)> = None;
        for name in names {
            let (wrapper, bare) = if known.contains(name) { ("", name.to_owned()) } else { unwrapped(name) };
            if !is_count(&bare) && !known.contains(bare.as_str()) {
                return Err(self.unknown(layout, name, &bare));
            }
            if let Some(other) = found.get(&bare) {
                let problem = format!("has parameter \"{bare}\" twice, as \"{other}\" and as \"{name}\"");
                return fail(problem, "remove one of them".to_owned());
            }
            if !is_count(&bare) {
                let (other_wrapper, other) = *first.get_or_insert((wrapper, name));
                if other_wrapper != wrapper {
                    let problem = format!("has names that begin in different ways, as \"{other}\" and \"{name}\" do");
                    return fail(problem, "give weights of one model, all with a prefix or all without".to_owned());
                }
            }
            found.insert(bare, name);
        }
        let in_file = |name: &str| found.get(name).map_or(name.to_owned(), |name| (*name).to_owned());
        let values = self.read_tensors(&tensors, layout, in_file, true)?;
        if let Values::F64(numbers) = &values {
            for entry in layout.entries() {
                let numbers = &numbers[entry.range()];
                if let Some(at) = numbers.iter().position(|number| !(*number as f32).is_finite()) {
                    let name = in_file(&entry.name);
                    let problem = format!("parameter \"{name}\" holds {:e} at element {at}", numbers[at]);
                    return fail(problem, "give weights that 32-bit floats can hold".to_owned());
                }
            }
        }
        Ok(values)
    }

    /// Error for a tensor that matches no parameter; `bare` is the tensor's name without prefixes.
    fn unknown(&self, layout: &ParameterLayout, name: &str, bare: &str) -> Error {
        let known = layout.entries().iter().map(|entry| entry.name.as_str());
        Error::file(self.path, format!("the model has no parameter \"{name}\""), suggest(bare, known))
    }

    /// Whether the file has any tensor of a section.
    pub fn has(&self, prefix: &str) -> Result<bool> {
        Ok(self.tensors()?.names().iter().any(|name| name.starts_with(prefix)))
    }

    /// Reads the tensors of a section, in the layout. Every parameter must be there in its shape, without NaN or
    /// infinity. With an empty prefix no other tensors may be there.
    pub fn section(&self, layout: &ParameterLayout, prefix: &str) -> Result<Values> {
        let tensors = self.tensors()?;
        if prefix.is_empty() {
            let mut names = tensors.names();
            names.sort_unstable();
            let known = |name: &str| layout.entry(name).is_some() || name.starts_with("optimizer.");
            if let Some(stranger) = names.into_iter().find(|name| !known(name)) {
                return Err(self.unknown(layout, stranger, stranger));
            }
        }
        self.read_tensors(&tensors, layout, |name| format!("{prefix}{name}"), false)
    }

    /// Reads the tensors of all parameters, by their names in the file. With `without_counts`, batch counts may be
    /// missing or of any shape, and are then 0.
    fn read_tensors(
        &self,
        tensors: &SafeTensors,
        layout: &ParameterLayout,
        in_file: impl Fn(&str) -> String,
        without_counts: bool,
    ) -> Result<Values> {
        let fail = |problem: String, help: &str| Err(Error::file(self.path, problem, help));
        let mut wide = vec![0.0f64; layout.elements()];
        let mut narrow = true;
        for entry in layout.entries() {
            let name = in_file(&entry.name);
            let tensor = tensors.tensor(&name).ok();
            let any_count = without_counts && is_count(&entry.name);
            if any_count && !tensor.as_ref().is_some_and(is_usable_count) {
                continue;
            }
            let Some(tensor) = tensor else {
                return fail(format!("parameter \"{name}\" is missing"), "give weights of this very model");
            };
            let found = Shape::from(tensor.shape());
            if found != entry.shape && !any_count {
                let problem = format!("parameter \"{name}\" is {found}, the model's is {}", entry.shape);
                return fail(problem, "give weights of this very model");
            }
            let target = &mut wide[entry.range()];
            let data = tensor.data();
            match tensor.dtype() {
                Dtype::F16 => fill(target, data, |bytes| f16::from_le_bytes(bytes).to_f64()),
                Dtype::BF16 => fill(target, data, |bytes| bf16::from_le_bytes(bytes).to_f64()),
                Dtype::F32 => fill(target, data, |bytes| f64::from(f32::from_le_bytes(bytes))),
                Dtype::F64 => {
                    narrow = false;
                    fill(target, data, f64::from_le_bytes);
                }
                // PyTorch stores batch counts as I64.
                Dtype::I64 => fill(target, data, |bytes| i64::from_le_bytes(bytes) as f64),
                other => {
                    let problem = format!("parameter \"{name}\" is of type {other:?}");
                    return fail(problem, "convert it to F32, F64, F16 or BF16");
                }
            }
            if let Some(at) = target.iter().position(|value| !value.is_finite()) {
                let problem = format!("parameter \"{name}\" holds {} at element {at}", target[at]);
                return fail(problem, "give weights without NaN and infinities");
            }
        }
        // Narrow types stay f32, so that their values are kept bit for bit.
        Ok(if narrow { Values::F32(wide.into_iter().map(|value| value as f32).collect()) } else { Values::F64(wide) })
    }
}

/// Converts a tensor's numbers, of `SIZE` bytes each, into a parameter's slice.
fn fill<const SIZE: usize>(target: &mut [f64], data: &[u8], number: impl Fn([u8; SIZE]) -> f64) {
    let (numbers, _) = data.as_chunks::<SIZE>();
    target.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = number(*bytes));
}

/// Strips the prefixes of PyTorch's wrapper modules from a name, wherever they occur; returns the prefixes at its start
/// and the bare name.
fn unwrapped(name: &str) -> (&str, String) {
    let mut rest = name;
    while let Some((_, after)) = rest.split_once('.').filter(|(part, _)| WRAPPERS.contains(part)) {
        rest = after;
    }
    let bare: Vec<&str> = rest.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    (&name[..name.len() - rest.len()], bare.join("."))
}

/// Whether a count is a single number of a supported type.
fn is_usable_count(tensor: &TensorView) -> bool {
    let known = matches!(tensor.dtype(), Dtype::I64 | Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16);
    known && tensor.shape().iter().product::<usize>() == 1
}

/// Whether a tensor of this name is a count of batches, or of averaged models.
fn is_count(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == "num_batches_tracked" || name == "n_averaged"
}
