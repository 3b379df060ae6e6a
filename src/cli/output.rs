//! The output of commands: lines on standard output, arrays in files, and pictures.

use indicatif::{ProgressBar, ProgressStyle};
use pinhole::data::csv::write_csv;
use pinhole::data::idx::{write_idx_f32, write_idx_u8};
use pinhole::data::images::{to_bytes, write_png};
use pinhole::data::npy::write_npy;
use pinhole::data::table::write_table;
use pinhole::data::{Column, Dataset, is_picture, picture_files};
use pinhole::draw::{Image, write_grid};
use pinhole::error::{Error, Result};
use pinhole::shape::Shape;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The most pictures that a grid of a data set shows.
const MOST_SHOWN: usize = 200;
/// The number of samples that are computed together.
const AT_ONCE: usize = 1024;

/// Writes a line of results. A pipe that its reader has closed is no failure.
pub fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", Path::new("standard output"))(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as a line of JSON.
pub fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value);
    say(&text.map_err(|error| Error::invalid("result", error.to_string(), "report this as a bug in pinhole"))?)
}

/// A progress bar on stderr.
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// The format of an output file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Npy,
    Csv,
    Idx,
    Grid,
    Folder,
}

impl Format {
    /// The format that the extension of a name asks for; a name without extension is a folder's.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name =
            name.strip_suffix(".gz").filter(|name| name.ends_with(".idx") || name.ends_with("-ubyte")).unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            _ if name.ends_with("-ubyte") => Ok(Format::Idx),
            None => Ok(Format::Folder),
            Some("npy") => Ok(Format::Npy),
            Some("csv") => Ok(Format::Csv),
            Some("idx") => Ok(Format::Idx),
            Some("png") => Ok(Format::Grid),
            Some(other) => {
                let help = "name it .npy, .csv, .idx, .idx.gz or .png, or give a folder's name";
                Err(Error::file(path, format!("nothing is written as \".{other}\""), help))
            }
        }
    }

    /// Whether the format holds pictures.
    pub fn is_picture(self) -> bool {
        matches!(self, Format::Grid | Format::Folder)
    }
}

/// Splits `count` samples into ranges of [`AT_ONCE`].
fn ranges(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(AT_ONCE).map(move |start| start..count.min(start + AT_ONCE))
}

/// Writes codes `[n, ..latent]`, as 32-bit floats in every format.
pub fn write_codes(path: &Path, format: Format, shape: &Shape, codes: &[f32]) -> Result<()> {
    match format {
        Format::Idx => write_idx_f32(path, &as_idx(shape), codes),
        _ => write_array(path, format, shape, codes),
    }
}

/// The output file of samples.
#[derive(Clone, Copy)]
pub struct Sink<'a> {
    /// A file, or a folder of pictures.
    pub output: &'a Path,
    /// The format of the file.
    pub format: Format,
    /// The source of the samples, whose pictures give the pictures of a folder their names; empty for new samples.
    pub input: &'a str,
    /// The number of pictures in a row of a grid.
    pub columns: usize,
    /// The columns of a model of tables; empty for other models.
    pub table: &'a [Column],
}

impl Sink<'_> {
    /// Writes `count` samples of a shape, which `made` computes range by range. A grid shows the originals above them.
    pub fn write(
        &self,
        shape: &Shape,
        count: usize,
        originals: Option<&Dataset>,
        mut made: impl FnMut(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<()> {
        let Sink { output, format, columns, .. } = *self;
        if !format.is_picture() {
            let mut values = Vec::new();
            for range in ranges(count) {
                values.extend(made(range)?);
            }
            let shape: Shape = std::iter::once(count).chain(shape.iter().copied()).collect();
            match format {
                Format::Idx => write_idx_u8(output, &as_idx(&shape), &to_bytes(&values))?,
                Format::Csv if !self.table.is_empty() => write_table(output, self.table, &values)?,
                _ => write_array(output, format, &shape, &values)?,
            }
            return say(&format!("{count} samples in {}", output.display()));
        }
        let Some(shape) = as_picture(shape) else {
            let problem =
                format!("is to show pictures, but samples {shape} are not pictures with one or three channels");
            return Err(Error::file(output, problem, "name it .npy or .csv"));
        };
        let images = |values: &[f32]| -> Result<Vec<Image>> {
            values.chunks(shape.elements()).map(|image| Image::from_sample(&shape, image)).collect()
        };
        if format == Format::Grid {
            // Samples with a source may be a whole data set.
            let shown = if self.input.is_empty() { count } else { count.min(MOST_SHOWN) };
            let below = images(&made(0..shown)?)?;
            let rows: Vec<Vec<Image>> = match originals {
                Some(data) => {
                    let above = images(&data.read_f32(0..shown)?)?;
                    let rows = above.chunks(columns).zip(below.chunks(columns));
                    rows.flat_map(|(above, below)| [above.to_vec(), below.to_vec()]).collect()
                }
                None => below.chunks(columns).map(<[Image]>::to_vec).collect(),
            };
            show_grid(output, &rows)?;
            if shown < count {
                eprintln!("the grid shows the first {shown} of {count} pictures; name a folder for all");
            }
            return say(&output.display().to_string());
        }
        std::fs::create_dir_all(output).map_err(Error::io("create", output))?;
        let names = names(Path::new(self.input), count)?;
        for range in ranges(count) {
            for (name, image) in names[range.clone()].iter().zip(images(&made(range)?)?) {
                write_png(output.join(name), image.shape(), image.bytes())?;
            }
        }
        say(&format!("{count} pictures in {}", output.display()))
    }
}

/// The shape of samples as pictures, see [`is_picture`]; `[784]` becomes a square of 28 x 28. `None` for other samples.
pub fn as_picture(shape: &Shape) -> Option<Shape> {
    match shape[..] {
        _ if is_picture(shape) => Some(shape.clone()),
        [pixels] => {
            let side = pixels.isqrt();
            (side > 1 && side * side == pixels).then(|| [1, side, side].into())
        }
        _ => None,
    }
}

/// Writes rows of pictures as a grid, small pictures enlarged up to four times.
pub fn show_grid(output: &Path, rows: &[Vec<Image>]) -> Result<()> {
    let width = rows.first().and_then(|row| row.first()).map_or(1, |image| image.shape()[2]);
    write_grid(output, rows, (112 / width.max(1)).clamp(1, 4))
}

fn write_array(path: &Path, format: Format, shape: &Shape, values: &[f32]) -> Result<()> {
    match format {
        Format::Csv => write_csv(path, shape.elements() / shape[0], values),
        _ => write_npy(path, shape, values),
    }
}

/// The shape in an IDX file: grey pictures without their channel, and at most four dimensions.
fn as_idx(shape: &Shape) -> Shape {
    match shape[..] {
        [count, 1, height, width] => [count, height, width].into(),
        [count, ref rest @ ..] if rest.len() > 3 => [count, rest.iter().product()].into(),
        _ => shape.clone(),
    }
}

/// The file names of pictures: those of the originals where these are files of different names, else numbers.
fn names(input: &Path, count: usize) -> Result<Vec<String>> {
    let files = if input.is_dir() { picture_files(input)? } else { vec![input.to_owned()] };
    let numbered = (0..count).map(|number| format!("{number:05}.png")).collect();
    if files.len() != count {
        return Ok(numbered);
    }
    let name = |path: &PathBuf| path.file_stem().map(|stem| format!("{}.png", stem.to_string_lossy()));
    let names: Vec<String> = files.iter().filter_map(name).collect();
    // Names may repeat: a picture as PNG and as JPEG.
    let different: BTreeSet<&String> = names.iter().collect();
    Ok(if different.len() == count { names } else { numbered })
}
