//! What people do with a trained model beside encoding and decoding.

mod columns;
mod ensemble;
mod explore;
mod ranking;
mod statistics;

pub use ensemble::{Ensemble, EnsembleEvaluation};
pub use explore::Path;
pub use ranking::{RankingQuality, RankingReport, best_items, ndcg, recall};
pub use statistics::CodeStatistics;
