//! Files kept between runs in the user's cache directory: measured tiles and compiled pipelines.
//!
//! The cache is optional: a file that is missing, broken or of another adapter only costs time, and failures only go to
//! the log.

use super::adapters::AdapterSummary;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::plan::{Product, TABLE, TILE_SOURCE, Tile};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory of files kept between runs: `$PINHOLE_CACHE`, else `pinhole` in the system's directory for caches.
/// `None` where `PINHOLE_CACHE` is empty, or the system has no such directory.
pub fn cache_folder() -> Option<PathBuf> {
    folder_by(|name| std::env::var_os(name))
}

/// As [`cache_folder`], with the environment as a function.
#[doc(hidden)]
pub fn folder_by(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if variable("PINHOLE_CACHE").is_some() {
        return folder("PINHOLE_CACHE");
    }
    let shared = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        // The XDG specification says to ignore relative paths.
        let given = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        given.or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    shared.map(|shared| shared.join("pinhole"))
}

/// The measurement of a product's tiles.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The product.
    pub product: Product,
    /// The untuned tile.
    pub default: Tile,
    /// Microseconds of the product under the untuned tile.
    pub default_us: f64,
    /// The chosen tile, which is the untuned tile where no other is faster.
    pub tile: Tile,
    /// Microseconds of the product under the chosen tile.
    pub us: f64,
}

/// The conditions under which measurements are valid: an adapter with its driver, and the shaders.
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
        let shaders = hash(sources.map(str::as_bytes));
        Key {
            adapter: summary.name.clone(),
            backend: summary.backend.clone(),
            driver: summary.driver.clone(),
            driver_info: summary.driver_info.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shaders: format!("{shaders:016x}"),
        }
    }

    /// The path in a folder of the file of measurements under this key.
    fn path(&self, folder: &Path) -> PathBuf {
        let Key { adapter, backend, driver, driver_info, version, shaders } = self;
        let all = [adapter, backend, driver, driver_info, version, shaders];
        let hash = hash(all.into_iter().flat_map(|part| [part.as_bytes(), &[0]]));
        folder.join(format!("tiles-{hash:016x}.json"))
    }
}

/// The measurements of an adapter in a folder; none where their file is broken or of another adapter.
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
    let text = serde_json::to_vec_pretty(&kept);
    let text = text.map_err(|error| Error::file(&path, error.to_string(), "report this as a bug in pinhole"));
    if let Err(error) = text.and_then(|text| write(&path, &text)) {
        tracing::warn!(%error, "measured tiles not kept");
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write_atomically(path, |file| file.write_all(bytes))
}

/// Compiled pipelines in the driver's format.
pub(super) struct Pipelines {
    pub cache: wgpu::PipelineCache,
    path: PathBuf,
}

/// Length in bytes of the hash at the beginning of a file of pipelines.
const HASH_BYTES: usize = 8;

impl Pipelines {
    /// The pipelines of an adapter in a folder; an empty cache where the folder has none. `None` where the driver
    /// cannot cache pipelines.
    pub fn load(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Pipelines> {
        let path = folder.join(wgpu::util::pipeline_cache_key(info)?);
        let kept = std::fs::read(&path).unwrap_or_default();
        let data = match kept.split_at_checked(HASH_BYTES) {
            Some((stored, data)) if hash([data]).to_le_bytes() == stored => Some(data),
            Some(_) => {
                tracing::warn!(path = %path.display(), "pipelines ignored: the file is broken");
                None
            }
            None => None,
        };
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let label = Some("pinhole");
        // SAFETY: the hash shows that the data are whole, as `save` wrote them; wgpu compares adapter and driver, and
        // begins with an empty cache where they differ.
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

    /// Writes all pipelines compiled with the cache, unless the file already holds them.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let mut bytes = hash([&data[..]]).to_le_bytes().to_vec();
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

/// The hash FNV-1a of concatenated parts. Unlike the standard library's hash, its value does not depend on Rust's version.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
