//! `pinhole encode`, `pinhole decode` and `pinhole reconstruct`: data through a trained model, from file to file.

use super::condition::ConditionArgument;
use super::{End, load_data, load_others, open_device, say};
use pinhole::Autoencoder;
use pinhole::data::csv::write_csv;
use pinhole::data::idx::{write_idx_f32, write_idx_u8};
use pinhole::data::images::{Image, to_bytes, write_grid, write_png};
use pinhole::data::npy::write_npy;
use pinhole::data::table::write_table;
use pinhole::data::{self, Column, Dataset, fits_code, is_picture, picture_files};
use pinhole::error::{Error, Result};
use pinhole::model::Network;
use pinhole::shape::Shape;
use pinhole::task::Ensemble;
use std::path::{Path, PathBuf};

/// Pictures in a row of a grid, and the most that a grid shows.
const COLUMNS: usize = 10;
const MOST: usize = 200;
/// Samples that are on their way at a time.
const AT_ONCE: usize = 1024;

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of a run
    run: PathBuf,
    /// Data, as for train --data; the test part where there is one. For decode: an NPY, NPZ, IDX or CSV file of codes
    input: String,
    /// The output: NAME.npy, NAME.csv, NAME.idx or NAME.idx.gz; for pictures also NAME.png (a grid) or a folder (a PNG
    /// of each)
    output: PathBuf,
    /// Take the training part of data that also has a test part
    #[arg(long)]
    train: bool,
    /// Where to compute
    #[arg(long, default_value = "auto", value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    device: String,
    #[command(flatten)]
    told: ConditionArgument,
}

#[derive(clap::Args)]
pub struct Reconstruct {
    #[command(flatten)]
    common: Arguments,
    /// Write the mean reconstruction of an ensemble: the run, and each run given by --with
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Also write the standard deviation over the members of the ensemble, for each number
    #[arg(long, value_name = "FILE", requires = "with")]
    spread: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Encode {
    #[command(flatten)]
    common: Arguments,
    /// Write indices of codebook vectors in place of codes, for a latent with a codebook
    #[arg(long)]
    indices: bool,
}

/// What results are written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Npy,
    Csv,
    Idx,
    Grid,
    Folder,
}

impl Format {
    /// By the ending of the name; a name without one is a folder's.
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

    fn is_picture(self) -> bool {
        matches!(self, Format::Grid | Format::Folder)
    }
}

/// Writes the codes of samples.
pub fn encode(Encode { common: arguments, indices }: &Encode) -> Result<End> {
    let format = Format::of(&arguments.output)?;
    if format.is_picture() {
        let help = "name it .npy, .csv, .idx or .idx.gz";
        return Err(Error::file(&arguments.output, "codes are no pictures", help));
    }
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let data = samples(arguments, &autoencoder)?;
    let codes = through(data.len(), |range| {
        let given = autoencoder.network().given(&data, range.clone())?;
        let samples = data.read_f32(range)?;
        let codes = match indices {
            true => autoencoder.indices_given(&samples, &given)?,
            false => autoencoder.encode_given(&samples, &given)?,
        };
        Ok(codes.to_f32())
    })?;
    let mut shape = autoencoder.network().latent_shape(data.len());
    if *indices {
        let each = autoencoder.network().indices_shape()?;
        shape = std::iter::once(data.len()).chain(each.iter().copied()).collect();
    }
    match format {
        // Codes are no bytes.
        Format::Idx => write_idx_f32(&arguments.output, &as_idx(&shape), &codes)?,
        _ => write_array(&arguments.output, format, &shape, &codes)?,
    }
    say(&format!("{} codes of {} in {}", data.len(), shape.elements() / data.len(), arguments.output.display()))?;
    Ok(End::Done)
}

/// Writes the samples that codes stand for.
pub fn decode(arguments: &Arguments) -> Result<End> {
    let format = Format::of(&arguments.output)?;
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let network = autoencoder.network();
    let codes = codes(&arguments.input, network)?;
    let count = codes.len();
    let one = arguments.told.one(network)?;
    let decoded = |range: std::ops::Range<usize>| {
        Ok(autoencoder.decode_given(&codes.rows_f32(range.clone()), &one.repeated(range.len()))?.to_f32())
    };
    arguments.sink(format, &autoencoder).write(&network.input_shape(1)[1..].into(), count, None, decoded)
}

/// Codes of a model in a file, whose numbers are finite.
fn codes(input: &str, network: &Network) -> Result<Dataset> {
    let latent: Shape = network.latent_shape(1)[1..].into();
    let width = latent.elements();
    let codes = data::load_array(input)?;
    let fault = |problem: String, help: String| Error::invalid(format!("data \"{input}\""), problem, help);
    if !codes.shape().get(1..).is_some_and(|code| fits_code(code, &latent)) {
        let problem = format!("its shape is {}, the model's codes are {latent} each", codes.shape());
        let sizes: Vec<String> = latent.iter().map(usize::to_string).collect();
        let help = match latent.len() {
            1 => format!("give [n, {width}]"),
            _ => format!("give [n, {}], or [n, {width}]", sizes.join(", ")),
        };
        return Err(fault(problem, help));
    }
    let codes = Dataset::from_f32([width], codes.to_f32()).map_err(|error| match error {
        Error::Invalid { problem, .. } => fault(problem, "give what encode wrote".to_owned()),
        other => other,
    })?;
    Ok(codes.with_name(input))
}

/// Writes the reconstructions of samples.
pub fn reconstruct(arguments: &Reconstruct) -> Result<End> {
    let Reconstruct { common: arguments, with, spread } = arguments;
    let format = Format::of(&arguments.output)?;
    let spread = spread.as_deref().map(|path| Ok((path, Format::of(path)?))).transpose()?;
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let data = samples(arguments, &autoencoder)?;
    if !with.is_empty() {
        let others = load_others(with, &autoencoder, &data)?;
        let ensemble = Ensemble::new(std::iter::once(&autoencoder).chain(&others).collect())?;
        let made = |range, which: usize| Ok(ensemble.reconstruct(&data, range)?[which].to_f32());
        let sink = arguments.sink(format, &autoencoder);
        if let Some((output, format)) = spread {
            let sink = Sink { output, format, ..sink };
            sink.write(data.sample_shape(), data.len(), None, |range| made(range, 1))?;
        }
        return sink.write(data.sample_shape(), data.len(), Some(&data), |range| made(range, 0));
    }
    let reconstructed = |range: std::ops::Range<usize>| {
        let given = autoencoder.network().given(&data, range.clone())?;
        Ok(autoencoder.reconstruct_given(&data.read_f32(range)?, &given)?.to_f32())
    };
    arguments.sink(format, &autoencoder).write(data.sample_shape(), data.len(), Some(&data), reconstructed)
}

/// The samples that are asked for.
fn samples(arguments: &Arguments, autoencoder: &Autoencoder) -> Result<Dataset> {
    part((autoencoder, &arguments.run), &arguments.input, arguments.train, &arguments.told)
}

/// The test part of data for a model in a directory, where it has one and the training part is not asked for.
pub(super) fn part(
    (autoencoder, run): (&Autoencoder, &Path),
    data: &str,
    train: bool,
    told: &ConditionArgument,
) -> Result<Dataset> {
    let network = autoencoder.network();
    let splits = load_data(run, network.spec().reading(), data, told.label_column())?;
    let data = splits.test.filter(|_| !train).unwrap_or(splits.train);
    network.accepts(data.sample_shape(), data.name())?;
    told.about(network, data)
}

/// What becomes of so many samples, some at a time.
fn through(count: usize, mut step: impl FnMut(std::ops::Range<usize>) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for start in (0..count).step_by(AT_ONCE) {
        all.extend(step(start..count.min(start + AT_ONCE))?);
    }
    Ok(all)
}

/// Where samples go.
#[derive(Clone, Copy)]
pub(super) struct Sink<'a> {
    /// A file, or a folder of pictures.
    pub output: &'a Path,
    /// How they are written there.
    pub format: Format,
    /// Where they come from, by whose names pictures in a folder are called; empty where they are new.
    pub input: &'a str,
    /// Pictures in a row of a grid.
    pub columns: usize,
    /// What the numbers of a sample are, where it is a line of a table; else empty.
    pub table: &'a [Column],
}

impl Arguments {
    fn sink<'a>(&'a self, format: Format, autoencoder: &'a Autoencoder) -> Sink<'a> {
        let table = &autoencoder.network().spec().data.columns;
        Sink { output: &self.output, format, input: &self.input, columns: COLUMNS, table }
    }
}

impl Sink<'_> {
    /// Writes samples of a shape; a grid has the originals above them, where there are any.
    pub fn write(
        &self,
        shape: &Shape,
        count: usize,
        originals: Option<&Dataset>,
        mut made: impl FnMut(std::ops::Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<End> {
        let Sink { output, format, columns, .. } = *self;
        if !format.is_picture() {
            let values = through(count, made)?;
            let shape: Shape = std::iter::once(count).chain(shape.iter().copied()).collect();
            match format {
                Format::Idx => write_idx_u8(output, &as_idx(&shape), &to_bytes(&values))?,
                Format::Csv if !self.table.is_empty() => write_table(output, self.table, &values)?,
                _ => write_array(output, format, &shape, &values)?,
            }
            say(&format!("{count} samples in {}", output.display()))?;
            return Ok(End::Done);
        }
        let Some(shape) = as_picture(shape) else {
            let problem = format!("is to show pictures, but samples {shape} are none of one or three channels");
            return Err(Error::file(output, problem, "name it .npy or .csv"));
        };
        let images = |values: &[f32]| -> Result<Vec<Image>> {
            values.chunks(shape.elements()).map(|image| Image::from_sample(&shape, image)).collect()
        };
        if format == Format::Grid {
            // What is shown beside its originals may be a whole data set.
            let shown = if self.input.is_empty() { count } else { count.min(MOST) };
            let below = images(&made(0..shown)?)?;
            let rows: Vec<Vec<Image>> = match originals {
                Some(data) => {
                    let above = images(&data.read_f32(0..shown)?)?;
                    let rows = above.chunks(columns).zip(below.chunks(columns));
                    rows.flat_map(|(above, below)| [above.to_vec(), below.to_vec()]).collect()
                }
                None => below.chunks(columns).map(<[Image]>::to_vec).collect(),
            };
            let wide = rows.first().and_then(|row| row.first()).map_or(1, |image| image.shape()[2]);
            write_grid(output, &rows, (112 / wide.max(1)).clamp(1, 4))?;
            if shown < count {
                eprintln!("the grid shows the first {shown} of {count} pictures; name a folder for all");
            }
            say(&output.display().to_string())?;
            return Ok(End::Done);
        }
        std::fs::create_dir_all(output).map_err(Error::io("create", output))?;
        let names = names(Path::new(self.input), count)?;
        for start in (0..count).step_by(AT_ONCE) {
            let range = start..count.min(start + AT_ONCE);
            for (name, image) in names[range.clone()].iter().zip(images(&made(range)?)?) {
                write_png(output.join(name), image.shape(), image.bytes())?;
            }
        }
        say(&format!("{count} pictures in {}", output.display()))?;
        Ok(End::Done)
    }
}

/// The shape of the pictures that samples of this shape are, see [`is_picture`]: `[784]` is one of 28 x 28.
pub(super) fn as_picture(shape: &Shape) -> Option<Shape> {
    match shape[..] {
        _ if is_picture(shape) => Some(shape.clone()),
        [pixels] => {
            let side = pixels.isqrt();
            (side > 1 && side * side == pixels).then(|| [1, side, side].into())
        }
        _ => None,
    }
}

fn write_array(path: &Path, format: Format, shape: &Shape, values: &[f32]) -> Result<()> {
    match format {
        Format::Csv => write_csv(path, shape.elements() / shape[0], values),
        _ => write_npy(path, shape, values),
    }
}

/// The shape as IDX files have it: grey pictures without their one channel, and at most four sizes.
fn as_idx(shape: &Shape) -> Shape {
    match shape[..] {
        [count, 1, height, width] => [count, height, width].into(),
        [count, ref rest @ ..] if rest.len() > 3 => [count, rest.iter().product()].into(),
        _ => shape.clone(),
    }
}

/// The pictures' file names: the originals' where those are files, else numbers.
fn names(input: &Path, count: usize) -> Result<Vec<String>> {
    let files = if input.is_dir() { picture_files(input)? } else { vec![input.to_owned()] };
    let numbered = (0..count).map(|number| format!("{number:05}.png")).collect();
    if files.len() != count {
        return Ok(numbered);
    }
    let name = |path: &PathBuf| path.file_stem().map(|stem| format!("{}.png", stem.to_string_lossy()));
    let names: Vec<String> = files.iter().filter_map(name).collect();
    // A picture may be there as PNG and as JPEG.
    let mut different = names.clone();
    different.sort();
    different.dedup();
    Ok(if different.len() == count { names } else { numbered })
}
