//! What people do with a trained model beside encoding and decoding.

mod explore;
mod statistics;

pub use explore::Path;
pub use statistics::CodeStatistics;
