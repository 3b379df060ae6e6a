//! `pinhole reconstruct`

use super::{End, open_device, say};
use pinhole::Autoencoder;
use pinhole::data::images::{Image, write_grid, write_png};
use pinhole::data::{self, png_files};
use pinhole::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Pictures in a row of a grid, and the most that a grid shows.
const COLUMNS: usize = 10;
const MOST: usize = 200;

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of a run
    run: PathBuf,
    /// An IDX file, a PNG, a folder of PNGs, or anything that train's --data takes
    input: String,
    /// NAME.png for a grid of originals above their reconstructions; else a folder, for a PNG of each reconstruction
    output: PathBuf,
    /// Where to compute
    #[arg(long, default_value = "auto", value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    device: String,
}

/// Writes the reconstructions.
pub fn run(arguments: &Arguments) -> Result<End> {
    let autoencoder = Autoencoder::load(&arguments.run, open_device(&arguments.device)?)?;
    let splits = data::load(&arguments.input)?;
    let data = splits.test.unwrap_or(splits.train);
    autoencoder.network().accepts(data.sample_shape(), data.name())?;
    let shape = data.sample_shape().clone();
    if !matches!(shape[..], [1 | 3, _, _]) {
        let problem = format!("samples {shape} are no pictures of one or three channels");
        return Err(Error::invalid(format!("data \"{}\"", arguments.input), problem, "give pictures"));
    }
    let as_grid = arguments.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let shown = if as_grid { data.len().min(MOST) } else { data.len() };
    let originals = data.rows_f32(0..shown);
    let reconstructions = autoencoder.reconstruct(&originals)?.to_f32();
    let images = |values: &[f32]| -> Result<Vec<Image>> {
        values.chunks(shape.elements()).map(|image| Image::from_f32(shape.clone(), image)).collect()
    };
    let (originals, reconstructions) = (images(&originals)?, images(&reconstructions)?);
    if as_grid {
        let rows = originals.chunks(COLUMNS).zip(reconstructions.chunks(COLUMNS));
        let rows: Vec<Vec<Image>> = rows.flat_map(|(above, below)| [above.to_vec(), below.to_vec()]).collect();
        write_grid(&arguments.output, &rows, (112 / shape[2].max(1)).clamp(1, 4))?;
        if shown < data.len() {
            eprintln!("the grid shows the first {shown} of {} pictures; name a folder for all", data.len());
        }
        say(&arguments.output.display().to_string())?;
        return Ok(End::Done);
    }
    std::fs::create_dir_all(&arguments.output).map_err(Error::io("create", &arguments.output))?;
    let names = names(Path::new(&arguments.input), shown)?;
    for (name, image) in names.iter().zip(&reconstructions) {
        write_png(arguments.output.join(name), image.shape(), image.bytes())?;
    }
    say(&format!("{shown} pictures in {}", arguments.output.display()))?;
    Ok(End::Done)
}

/// The reconstructions' file names: the originals' where those are files, else numbers.
fn names(input: &Path, count: usize) -> Result<Vec<String>> {
    let files = if input.is_dir() { png_files(input)? } else { vec![input.to_owned()] };
    if files.len() == count {
        let name = |path: &PathBuf| path.file_stem().map(|stem| format!("{}.png", stem.to_string_lossy()));
        return Ok(files.iter().filter_map(name).collect());
    }
    Ok((0..count).map(|number| format!("{number:05}.png")).collect())
}
