//! The parts of a model file, each with its keys, its defaults and its checks.

mod columns;
mod condition;
mod corruption;
mod data;
mod initializer;
mod optimizer;
mod penalties;
mod schedule;
mod spec;
mod train;

pub use super::latent::{Adversarial, Bits, Gaussian, LatentSpec, MmdKernel, TopK, VectorQuantised, Wasserstein};
pub use super::loss::{CustomLoss, LossKind, LossSpec};
pub use super::resolved::Resolved;
pub use condition::Condition;
pub use corruption::{Corruption, Level};
pub use data::{Augment, Binarise, DataSpec, Flip};
pub use initializer::Initializer;
pub use optimizer::OptimizerSpec;
pub(crate) use penalties::MOST_EXACT;
pub use penalties::{Contractive, Penalties, Sparsity};
pub use schedule::{Place, Schedule};
pub use spec::ModelSpec;
pub use train::{EarlyStopping, LayerTraining, NonFinite, Precision, Swa, TrainSpec};
