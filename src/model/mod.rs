pub mod preset;
pub mod spec;
