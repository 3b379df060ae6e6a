//! The parts of a model file, each with its keys, its defaults and its checks.

mod chosen;
mod columns;
mod condition;
mod corruption;
mod data;
mod difference;
mod initializer;
mod latent;
mod loss;
mod optimizer;
mod penalties;
mod schedule;
mod spec;
mod train;

pub use super::resolved::Resolved;
pub(crate) use crate::shape::channel_axis;
pub use chosen::{Bits, TopK, VectorQuantised};
pub(crate) use chosen::{CODEBOOK, COUNTS, IDLE, SUMS, THRESHOLD};
pub use condition::Condition;
pub use corruption::{Corruption, Level};
pub use data::{Augment, Binarise, DataSpec, Flip};
pub use initializer::Initializer;
pub(crate) use latent::STEPS;
pub use latent::{Adversarial, Gaussian, LatentSpec, MmdKernel, Wasserstein};
pub(crate) use loss::LOG_VARIANCE;
pub use loss::{CustomLoss, LossKind, LossSpec};
pub use optimizer::OptimizerSpec;
pub(crate) use penalties::MOST_EXACT;
pub use penalties::{Contractive, Penalties, Sparsity};
pub use schedule::{Place, Schedule};
pub use spec::ModelSpec;
pub use train::{EarlyStopping, LayerTraining, NonFinite, Precision, Swa, TrainSpec};
