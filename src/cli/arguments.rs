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
    /// The device to compute on: the best GPU, or the CPU where there is none (auto, the default); any adapter, even a
    /// software one (gpu); the CPU in single or in double precision (cpu, cpu-f64); or an adapter by its name
    #[arg(long = "device", value_name = "auto|gpu|cpu|cpu-f64|NAME")]
    pub given: Option<String>,
}

impl DeviceArgument {
    /// The name of the device on the command line.
    pub fn name(&self) -> &str {
        self.given.as_deref().unwrap_or("auto")
    }

    /// Opens the device, see [`open_device`].
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
    /// Whether the device is described rather than opened.
    pub fn is_described(&self) -> bool {
        self.described.is_some()
    }

    /// The target that plans are made for. Fails where the device cannot be opened, or its description is wrong.
    pub fn target(&self) -> Result<Target> {
        let Some(described) = &self.described else { return Ok(Device::open(self.device.name())?.target()) };
        let hardware = Hardware::find(described)?;
        let limits = Limits::from_environment()?.unwrap_or_default();
        Ok(Target { without: Without::from_environment()?, limits, ..Target::described(hardware) })
    }
}

/// The trained model that a command uses.
#[derive(clap::Args)]
pub struct RunArgument {
    /// The directory of a trained model, as train --out wrote it
    #[arg(id = "run", value_name = "RUN")]
    pub path: PathBuf,
}

impl RunArgument {
    /// Loads the run's model on a device.
    pub fn load(&self, device: &DeviceArgument) -> Result<Autoencoder> {
        Autoencoder::load(&self.path, device.open()?)
    }
}

/// Changes to a model.
#[derive(clap::Args)]
pub struct Changes {
    /// The size of codes: the number of elements, or of channels where codes are feature maps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub latent: Option<u32>,
    /// Change a key of the model file, such as train.batch=64 or encoder.0.conv2d.out=32; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Changes {
    /// The model of a name, see [`resolve_model`], with these changes.
    pub fn resolve(&self, name: &str) -> Result<ModelSpec> {
        let mut spec = resolve_model(name)?;
        self.set.iter().try_for_each(|assignment| spec.set(assignment))?;
        self.latent.map_or(Ok(()), |size| spec.set_latent(size as usize))?;
        Ok(spec)
    }
}

/// Reads a preset, a model file, or the model file of a run directory.
pub fn resolve_model(name: &str) -> Result<ModelSpec> {
    match Path::new(name) {
        path if path.is_dir() => ModelSpec::read(&path.join("model.toml")),
        _ => ModelSpec::resolve(name),
    }
}

/// Opens a device, and reports it where `auto` finds no GPU.
pub fn open_device(name: &str) -> Result<Device> {
    let device = Device::open(name)?;
    if name == "auto" && matches!(device, Device::Cpu) {
        let software: Vec<String> = gpu::adapters().into_iter().map(|adapter| adapter.name).collect();
        match &software[..] {
            [] => eprintln!("no GPU found: computing on the CPU"),
            names => eprintln!(
                "no GPU found, only software adapters ({}): computing on the CPU; --device gpu uses one of them",
                names.join(", ")
            ),
        }
    }
    Ok(device)
}

/// The options of `pinhole train`, which `--resume` compares with those of the run.
#[derive(clap::Args)]
pub struct TrainArguments {
    /// The model: a preset (see pinhole models) or a model file [default: conv]
    #[arg(long, value_name = "PRESET|FILE.toml")]
    pub model: Option<String>,
    /// The training data: a folder with MNIST's or EMNIST's files, with pictures, or with a folder of pictures for each
    /// class; an IDX, NPY, NPZ or CSV file; ratings:FILE; or N of the built-in digits
    #[arg(long, value_name = "FILE|DIR|digits[:N]")]
    pub data: Option<String>,
    /// The targets of the samples, in the order of --data, such as clean pictures with the names of the noisy ones
    /// [default: the samples themselves]
    #[arg(long, value_name = "FILE|DIR")]
    pub targets: Option<String>,
    /// The column of a CSV file that holds the labels and is not part of the samples: its name, or its number counted
    /// from 1
    #[arg(long, alias = "label-column", value_name = "COLUMN")]
    pub label: Option<String>,
    /// The number of epochs: passes over the training set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// The batch size: samples in a training step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: Option<u64>,
    /// Stop after this number of training steps, even within an epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// The learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// The precision in which a training step stores values; f16 scales the loss and keeps sums in 32 bits
    #[arg(long, value_name = "f32|f16", value_parser = Precision::from_name)]
    pub precision: Option<Precision>,
    /// The seed of the initial weights, of shuffling and of all other random numbers
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub device: DeviceArgument,
    /// Start from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub init: Option<PathBuf>,
    /// Do not shuffle: take the samples in the order of the data
    #[arg(long)]
    pub no_shuffle: bool,
    /// Log the loss of every step to metrics.jsonl
    #[arg(long)]
    pub log_steps: bool,
    /// Resume the run in --out, or else the newest run under runs. --epochs, --steps, --lr and --set train... change
    /// the training from there on; any other option that differs from the run is refused
    #[arg(long)]
    pub resume: bool,
    /// With --resume: accept data other than the run's. An unfinished epoch starts again
    #[arg(long, requires = "resume")]
    pub new_data: bool,
    /// The run directory [default: a new one under runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub autotune: AutotuneArgument,
    /// Also write the metrics for TensorBoard, into the run directory
    #[arg(long)]
    pub tensorboard: bool,
    /// Before training, run some steps (2 without a number) launch by launch, compare each launch with the CPU, and
    /// stop at the first difference
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub check: Option<u32>,
    /// Before training, time every kernel launch of some steps (20 without a number), and write profile.json for
    /// Perfetto to the run directory
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "20",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub profile: Option<u32>,
}
