//! `pinhole download`

use super::output::End;
use super::output::say;
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::data::download::{Downloader, Fetched, collection};
use pinhole::error::Result;
use std::path::PathBuf;
use std::time::Duration;

/// How long one connection may take; the next goes on where it stopped.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Arguments {
    /// The data set
    #[arg(value_name = "mnist|fashion-mnist")]
    name: String,
    /// The folder for its files [default: the name of the data set]
    folder: Option<PathBuf>,
    /// Take the files from this address only, such as a mirror of your own
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Fetches what is not there yet.
pub fn run(arguments: &Arguments) -> Result<End> {
    let collection = collection(&arguments.name)?;
    let folder = arguments.folder.clone().unwrap_or_else(|| collection.name.into());
    let mirrors: Vec<String> = match &arguments.mirror {
        Some(mirror) => vec![mirror.clone()],
        None => collection.mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
    };
    let downloader = Downloader::new(PATIENCE);
    for file in collection.files {
        let bar = ProgressBar::new(file.bytes);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta} left") {
            bar.set_style(style);
        }
        bar.set_prefix(file.name);
        let fetched = downloader.fetch(file, &mirrors, &folder, &mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        match fetched? {
            Fetched::AlreadyThere => eprintln!("{} is there and right", file.name),
            Fetched::From(mirror) => eprintln!("{} came from {mirror}, {} bytes", file.name, file.bytes),
        }
    }
    say(&folder.display().to_string())?;
    Ok(End::Done)
}
