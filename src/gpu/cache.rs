//! Files kept between runs in the user's cache directory: measured tiles and compiled pipelines.
//!
//! The cache is optional: a file that is missing, broken or of another adapter only costs time, and failures are only
//! traced.

use super::adapters::AdapterSummary;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::plan::{Product, TABLE, TILE_SOURCE, Tile};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory for what is kept between runs: `$PINHOLE_CACHE`, else `pinhole` in the directory that the system has for
/// caches. `None` where `PINHOLE_CACHE` is empty, or there is no such directory.
pub fn cache_folder() -> Option<PathBuf> {
    folder_by(|name| std::env::var_os(name))
}

/// As [`cache_folder`], in an environment.
#[doc(hidden)]
pub fn folder_by(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = variable("PINHOLE_CACHE") {
        return Some(own).filter(|own| !own.is_empty()).map(PathBuf::from);
    }
    let shared = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        // The specification wants relative paths to be ignored.
        let given = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        given.or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    shared.map(|shared| shared.join("pinhole"))
}

/// What was measured of a product.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The product.
    pub product: Product,
    /// The untuned tile.
    pub default: Tile,
    /// Microseconds that it takes.
    pub default_us: f64,
    /// The chosen tile: the untuned one, where no other is faster.
    pub tile: Tile,
    /// Microseconds that it takes.
    pub us: f64,
}

/// What measurements hold for: an adapter with its driver, and these shaders.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    adapter: String,
    backend: String,
    driver: String,
    driver_info: String,
    version: String,
    shaders: String,
}

/// The file of measurements.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    key: Key,
    choices: Vec<Choice>,
}

impl Key {
    fn of(summary: &AdapterSummary) -> Key {
        let sources = TABLE.iter().map(|row| row.source).chain([TILE_SOURCE, include_str!("../../shaders/math.wgsl")]);
        let shaders = sources.fold(HASH_OF_NOTHING, |hash, source| hashed(hash, source.as_bytes()));
        Key {
            adapter: summary.name.clone(),
            backend: summary.backend.clone(),
            driver: summary.driver.clone(),
            driver_info: summary.driver_info.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shaders: format!("{shaders:016x}"),
        }
    }

    /// The file in a folder.
    fn path(&self, folder: &Path) -> PathBuf {
        let Key { adapter, backend, driver, driver_info, version, shaders } = self;
        let all = [adapter, backend, driver, driver_info, version, shaders];
        let hash = all.iter().fold(HASH_OF_NOTHING, |hash, part| hashed(hashed(hash, part.as_bytes()), &[0]));
        folder.join(format!("tiles-{hash:016x}.json"))
    }
}

/// The measurements of an adapter that a folder holds; none where its file is broken or another adapter's.
pub(super) fn load_choices(folder: &Path, summary: &AdapterSummary) -> Vec<Choice> {
    let key = Key::of(summary);
    let path = key.path(folder);
    let Ok(bytes) = std::fs::read(&path) else { return vec![] };
    let problem = match serde_json::from_slice::<Kept>(&bytes) {
        Ok(kept) if kept.key == key => return kept.choices,
        Ok(_) => "it is of another adapter, driver or version".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(path = %path.display(), problem, "measured tiles ignored");
    vec![]
}

/// Keeps the measurements of an adapter.
pub(super) fn save_choices(folder: &Path, summary: &AdapterSummary, choices: &[Choice]) {
    let kept = Kept { key: Key::of(summary), choices: choices.to_vec() };
    let path = kept.key.path(folder);
    let write = || {
        let text = serde_json::to_vec_pretty(&kept);
        let text = text.map_err(|error| Error::file(&path, error.to_string(), "report this as a bug in pinhole"))?;
        write(&path, &text)
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "measured tiles not kept");
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write_atomically(path, |file| file.write_all(bytes))
}

/// Compiled pipelines, as the driver keeps them.
pub(super) struct Pipelines {
    pub cache: wgpu::PipelineCache,
    path: PathBuf,
}

/// Bytes of the hash that a file of pipelines begins with.
const HASH_BYTES: usize = 8;

impl Pipelines {
    /// The pipelines of an adapter that a folder holds; an empty cache where there are none. `None` where neither can be
    /// had.
    pub fn load(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Pipelines> {
        let path = folder.join(wgpu::util::pipeline_cache_key(info)?);
        let kept = std::fs::read(&path).unwrap_or_default();
        let data = match kept.split_at_checked(HASH_BYTES) {
            Some((hash, data)) if hashed(HASH_OF_NOTHING, data).to_le_bytes() == hash => Some(data),
            Some(_) => {
                tracing::warn!(path = %path.display(), "pipelines ignored: the file is broken");
                None
            }
            None => None,
        };
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let label = Some("pinhole");
        // SAFETY: data come from `save`, whole, as their hash says; wgpu compares adapter and driver, and begins with an
        // empty cache where they differ.
        let cache =
            unsafe { device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label, data, fallback: true }) };
        match pollster::block_on(scope.pop()) {
            None => Some(Pipelines { cache, path }),
            Some(error) => {
                tracing::warn!(%error, "no pipeline cache");
                None
            }
        }
    }

    /// Writes all pipelines that were compiled with the cache, unless the file already holds them.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let mut bytes = hashed(HASH_OF_NOTHING, &data).to_le_bytes().to_vec();
        bytes.extend(data);
        if std::fs::read(&self.path).is_ok_and(|kept| kept == bytes) {
            return;
        }
        match write(&self.path, &bytes) {
            Ok(()) => tracing::debug!(path = %self.path.display(), bytes = bytes.len(), "pipelines kept"),
            Err(error) => tracing::warn!(%error, "pipelines not kept"),
        }
    }
}

/// FNV-1a, whose value does not depend on the version of Rust.
const HASH_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

fn hashed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
