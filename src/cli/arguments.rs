//! Arguments that several commands share.

use super::autotune::AutotuneArgument;
use pinhole::error::Result;
use pinhole::model::ModelSpec;
use pinhole::model::config::Precision;
use pinhole::plan::{Hardware, Limits, Target, Without};
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

/// The device that a plan is made for: one that is opened, or one that is described.
#[derive(clap::Args)]
pub struct TargetArgument {
    #[command(flatten)]
    device: DeviceArgument,
    /// Plan for a described device, without opening one, and estimate every launch on it
    #[arg(
        long = "target",
        value_name = "integrated|mobile|apple|laptop|discrete|data-center|FILE.toml",
        conflicts_with = "given"
    )]
    described: Option<String>,
}

impl TargetArgument {
    /// The described device, if one is.
    pub fn hardware(&self) -> Result<Option<Hardware>> {
        self.described.as_deref().map(Hardware::find).transpose()
    }

    /// The target that plans are made for.
    pub fn target(&self) -> Result<Target> {
        let Some(hardware) = self.hardware()? else { return Ok(Device::open(self.device.name())?.target()) };
        let limits = Limits::from_environment()?.unwrap_or_default();
        Ok(Target { without: Without::from_environment()?, limits, ..Target::described(hardware) })
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

/// The options of `pinhole train`, which resuming compares with those of the run.
#[derive(clap::Args)]
pub struct TrainArguments {
    /// A preset (see pinhole models) or a model file [default: conv]
    #[arg(long, value_name = "PRESET|FILE.toml")]
    pub model: Option<String>,
    /// A folder with MNIST's or EMNIST's files, pictures or classes of pictures; an IDX, NPY, NPZ or CSV file;
    /// ratings:FILE; or the built-in digits
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    pub data: Option<String>,
    /// What the model must output for each sample, in the order of --data, such as clean pictures with the names of
    /// noisy ones
    #[arg(long, value_name = "FILE|DIR")]
    pub targets: Option<String>,
    /// The column of a CSV file that holds labels and is not part of the samples: its name, or its number counted from
    /// 1
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    pub label: Option<String>,
    /// Passes over the training set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Samples in a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: Option<u64>,
    /// End after this many steps, even within an epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// The learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// The precision of the values that a step stores; f16 scales the loss and keeps sums in 32 bits
    #[arg(long, value_name = "f32|f16", value_parser = Precision::from_name)]
    pub precision: Option<Precision>,
    /// The seed of initial weights, shuffling and everything else that is random
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub device: DeviceArgument,
    /// Begin with these weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub init: Option<PathBuf>,
    /// Take the samples in the order of the data
    #[arg(long)]
    pub no_shuffle: bool,
    /// Write the loss of every step to metrics.jsonl
    #[arg(long)]
    pub log_steps: bool,
    /// Continue the run in --out, or the newest one under runs. --epochs, --steps, --lr and --set train... change the
    /// training; any other option that differs from the run is refused
    #[arg(long)]
    pub resume: bool,
    /// With --resume: accept other data. Finished epochs stay finished; an unfinished one starts again
    #[arg(long, requires = "resume")]
    pub new_data: bool,
    /// The run directory [default: a new one under runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub autotune: AutotuneArgument,
    /// Keep the metrics for TensorBoard too, in the run's directory
    #[arg(long)]
    pub tensorboard: bool,
    /// Before training, run this many steps launch by launch, compare each with the CPU, and end at the first
    /// difference
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub check: Option<u32>,
    /// Before training, time every launch of this many steps, and write profile.json for Perfetto to the run directory
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "20",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub profile: Option<u32>,
}
