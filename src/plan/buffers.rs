//! Names of the buffers of a training step that the host writes and reads.

/// The parameters, in the layout.
pub const PARAMETERS: &str = "parameters";
/// The optimiser's moments, each laid out like the parameters, and behind them the gradients that are accumulated.
pub const MOMENTS: &str = "moments";
/// The optimiser's numbers for every step of an epoch.
pub const SCHEDULE: &str = "schedule";
/// The average of the parameters.
pub const AVERAGE: &str = "average";

/// The feed of the training set.
pub const TRAIN: &str = "train";
/// The feed of the validation set.
pub const VALIDATION: &str = "validation";

/// The samples of a feed.
pub fn data(feed: &str) -> String {
    format!("{feed}.data")
}

/// The order in which a feed's samples are taken.
pub fn permutation(feed: &str) -> String {
    format!("{feed}.permutation")
}

/// The step's state of a feed.
pub fn state(feed: &str) -> String {
    format!("{feed}.state")
}
