//! `pinhole download`: public data sets.

use super::output::{progress_bar, say};
use pinhole::data::download::{Downloader, Fetched, collection};
use pinhole::error::Result;
use std::path::PathBuf;
use std::time::Duration;

/// The time limit of one connection. The next connection continues the file where the last one stopped.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Arguments {
    /// The data set to download
    #[arg(value_name = "mnist|fashion-mnist")]
    name: String,
    /// The folder to download to [default: the name of the data set]
    folder: Option<PathBuf>,
    /// Download from this address only, such as a mirror in your own network
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Downloads the files that the folder does not have yet.
pub fn run(arguments: &Arguments) -> Result<()> {
    let collection = collection(&arguments.name)?;
    let folder = arguments.folder.clone().unwrap_or_else(|| collection.name.into());
    let mirrors: Vec<String> = match &arguments.mirror {
        Some(mirror) => vec![mirror.clone()],
        None => collection.mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
    };
    let downloader = Downloader::new(PATIENCE);
    for file in collection.files {
        let bar = progress_bar(file.bytes, "{prefix} {wide_bar} {bytes}/{total_bytes} {eta} left");
        bar.set_prefix(file.name);
        let fetched = downloader.fetch(file, &mirrors, &folder, &mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        match fetched? {
            Fetched::AlreadyThere => eprintln!("{} is already there, and its checksum is right", file.name),
            Fetched::From(mirror) => eprintln!("{} came from {mirror}, {} bytes", file.name, file.bytes),
        }
    }
    say(&folder.display().to_string())
}
