//! What a trained model is used for.

pub mod ensembles;
pub mod ranking;
