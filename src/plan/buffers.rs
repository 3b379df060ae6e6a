//! Names of the buffers of a training step that the host writes and reads.

/// Name of the buffer of parameters, in the order of the [`ParameterLayout`](super::ParameterLayout).
pub const PARAMETERS: &str = "parameters";
/// Name of the buffer of the optimiser's moments, each laid out like the parameters, then the accumulated gradients.
pub const MOMENTS: &str = "moments";
/// Name of the buffer of the optimiser's schedule: its numbers for every step of an epoch.
pub const SCHEDULE: &str = "schedule";
/// Name of the buffer of the running average of the parameters.
pub const AVERAGE: &str = "average";

/// Name of the training set's feed.
pub const TRAIN: &str = "train";
/// Name of the validation set's feed.
pub const VALIDATION: &str = "validation";

/// Name of the buffer of a feed's samples.
pub fn data(feed: &str) -> String {
    format!("{feed}.data")
}

/// Name of the buffer of the order in which a feed's samples form batches.
pub fn permutation(feed: &str) -> String {
    format!("{feed}.permutation")
}

/// Name of the ring in which a feed's steps keep their losses or metrics until the host reads them.
pub fn ring(feed: &str) -> String {
    format!("{feed}.{}", if feed == TRAIN { "losses" } else { "metrics" })
}

/// Name of the buffer of a feed's step state.
pub fn state(feed: &str) -> String {
    format!("{feed}.state")
}
