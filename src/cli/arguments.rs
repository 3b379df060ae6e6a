//! Arguments that several commands share.

use pinhole::error::Result;
use pinhole::model::ModelSpec;
use pinhole::{Autoencoder, Device, gpu};
use std::path::{Path, PathBuf};

/// `--device`.
#[derive(clap::Args)]
pub struct DeviceArgument {
    /// Where to compute: the best GPU or else the CPU (auto, the default), any adapter (gpu), the CPU, or an adapter by
    /// name
    #[arg(long = "device", value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    pub given: Option<String>,
}

impl DeviceArgument {
    /// The device's name, as the command line gives it.
    pub fn name(&self) -> &str {
        self.given.as_deref().unwrap_or("auto")
    }

    /// Opens the device; says so in one line where `auto` finds no GPU.
    pub fn open(&self) -> Result<Device> {
        open_device(self.name())
    }
}

/// The trained model that a command uses.
#[derive(clap::Args)]
pub struct RunArgument {
    /// The directory of a run
    #[arg(id = "run", value_name = "RUN")]
    pub path: PathBuf,
}

impl RunArgument {
    /// Loads the run's model on a device.
    pub fn load(&self, device: &DeviceArgument) -> Result<Autoencoder> {
        Autoencoder::load(&self.path, device.open()?)
    }
}

/// What of a model is to be other than its file says.
#[derive(clap::Args)]
pub struct Changes {
    /// How many numbers a code has, or channels where codes are pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub latent: Option<u32>,
    /// Change any key of the model file, such as train.batch=64 or encoder.0.conv2d.out=32
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Changes {
    /// Changes the model.
    pub fn apply(&self, spec: &mut ModelSpec) -> Result<()> {
        self.set.iter().try_for_each(|assignment| spec.set(assignment))?;
        self.latent.map_or(Ok(()), |size| spec.set_latent(size as usize))
    }
}

/// A preset, a model file, or the model file of a run directory.
pub fn resolve_model(name: &str) -> Result<ModelSpec> {
    match Path::new(name) {
        path if path.is_dir() => ModelSpec::read(&path.join("model.toml")),
        _ => ModelSpec::resolve(name),
    }
}

/// Opens a device; says so in one line where `auto` finds no GPU.
pub fn open_device(name: &str) -> Result<Device> {
    let device = Device::open(name)?;
    if name == "auto" && matches!(device, Device::Cpu) {
        let software: Vec<String> = gpu::adapters().into_iter().map(|adapter| adapter.name).collect();
        let found = match &software[..] {
            [] => "no GPU found".to_owned(),
            names => format!("no GPU found, only software adapters ({})", names.join(", ")),
        };
        let how = if software.is_empty() { "" } else { "; --device gpu takes one all the same" };
        eprintln!("{found}: computing on the CPU{how}");
    }
    Ok(device)
}
