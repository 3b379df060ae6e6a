//! Search over the keys of a model file.

pub mod keys;
