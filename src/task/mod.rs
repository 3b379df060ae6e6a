//! Uses of a trained model: new samples, views of the latent space, statistics of codes, search by codes, rankings,
//! ensembles, tables.

mod ensemble;
mod explore;
mod neighbours;
mod ranking;
mod statistics;
mod tables;

pub use ensemble::{Ensemble, EnsembleEvaluation};
pub use explore::{LatentEnd, LatentPath};
pub use neighbours::{HammingIndex, Neighbour, pack};
pub use ranking::{RankingQuality, RankingReport, best_items, ndcg, recall};
pub use statistics::{CodeStatistics, codebook_usage, perplexity, variance};
