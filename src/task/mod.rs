//! What people do with a trained model beside encoding and decoding.

mod columns;
mod ensemble;
mod explore;
mod hamming;
mod ranking;
mod statistics;

pub use ensemble::{Ensemble, EnsembleEvaluation};
pub use explore::Path;
pub use hamming::{HammingIndex, Neighbour, pack};
pub use ranking::{RankingQuality, RankingReport, best_items, ndcg, recall};
pub(crate) use statistics::ACTIVE;
pub use statistics::{CodeStatistics, codebook_usage, perplexity, variance};
