//! Recommendation: ranks items by a model's reconstruction of the items of a user, and measures rankings by strong
//! generalisation as in Liang et al., arXiv 1802.05814.

use crate::Autoencoder;
use crate::data::{Dataset, SparseRows};
use crate::error::{Error, Result};
use crate::rng::{HostStream, Sequence};

/// The number of users that are ranked together.
const AT_ONCE: usize = 512;
/// The fraction of a user's items that is held out.
const HELD_OUT: f64 = 0.2;
/// The smallest number of items of a user of whom some are held out.
const FEWEST: usize = 5;

/// Quality of rankings of held-out items: means over users.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct RankingQuality {
    /// [`recall`] of the first 20.
    pub recall_20: f64,
    /// [`recall`] of the first 50.
    pub recall_50: f64,
    /// [`ndcg`] of the first 100.
    pub ndcg_100: f64,
}

/// Quality of a model's rankings and of a ranking by popularity.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RankingReport {
    /// Quality of the model's rankings.
    pub model: RankingQuality,
    /// Quality of one ranking for everyone, by the number of users of the training data that have an item.
    pub popularity: RankingQuality,
    /// Users whose items were ranked.
    pub users: usize,
    /// Users with too few items (fewer than five) to hold some out.
    pub left_out: usize,
}

/// Recall@k: the number of held-out items among the first `k` of a ranking, divided by the smaller of `k` and the
/// number of held-out items, so that 1 can always be reached.
pub fn recall(ranking: &[u32], held_out: &[u32], k: usize) -> f64 {
    let found = ranking.iter().take(k).filter(|item| held_out.contains(item)).count();
    found as f64 / k.min(held_out.len()).max(1) as f64
}

/// NDCG@k, the normalised discounted cumulative gain: the sum of 1 / log2(rank + 1) over the held-out items among the
/// first `k` of a ranking, with ranks from 1, divided by the sum for the best ranking.
pub fn ndcg(ranking: &[u32], held_out: &[u32], k: usize) -> f64 {
    let gain = |index: usize| 1.0 / ((index + 2) as f64).log2();
    let found = ranking.iter().take(k).enumerate().filter(|(_, item)| held_out.contains(item));
    let best: f64 = (0..k.min(held_out.len())).map(gain).sum();
    if best > 0.0 { found.map(|(index, _)| gain(index)).sum::<f64>() / best } else { 0.0 }
}

/// The first `count` items by score, best first, without those in the ascending list `excluded`. Items of equal scores
/// are ordered by number.
pub fn best_items(scores: &[f32], excluded: &[u32], count: usize) -> Vec<u32> {
    let others = (0..scores.len() as u32).filter(|item| excluded.binary_search(item).is_err());
    let mut items: Vec<u32> = others.collect();
    let order = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    if count < items.len() {
        items.select_nth_unstable_by(count, order);
        items.truncate(count);
    }
    items.sort_unstable_by(order);
    items
}

impl Autoencoder {
    /// For each row of sparse data, the best `count` items that are not in the row, best first, with their scores, the
    /// model's reconstruction of the row. Fails if the data is not sparse or does not fit the model.
    pub fn recommend(&self, data: &Dataset, count: usize) -> Result<Vec<Vec<(u32, f32)>>> {
        let mut all = Vec::with_capacity(data.len());
        self.rank(data, &mut |excluded, scores| {
            let items = best_items(scores, excluded, count).into_iter();
            all.push(items.map(|item| (item, scores[item as usize])).collect());
        })?;
        Ok(all)
    }

    /// Measures rankings for users that the model was not trained on. For each user in `users`, a fifth of the items,
    /// drawn by `seed`, is held out; the model encodes the others and ranks all items except those. Popularity is
    /// counted in `train`. Fails as [`recommend`](Autoencoder::recommend) does, and if no user has five items.
    pub fn ranking(&self, users: &Dataset, train: &Dataset, seed: u64) -> Result<RankingReport> {
        let (rows, popular) = (sparse(users)?, sparse(train)?);
        let (mut given, mut held_out) = (Vec::new(), Vec::new());
        for user in 0..rows.len() {
            let (items, values) = rows.row(user);
            if items.len() < FEWEST {
                continue;
            }
            let mut out = vec![false; items.len()];
            let order = Sequence::new(seed, HostStream::Split, user as u32).permutation(items.len());
            let wanted = (HELD_OUT * items.len() as f64) as usize;
            order[..wanted].iter().for_each(|at| out[*at as usize] = true);
            held_out.push((0..items.len()).filter(|at| out[*at]).map(|at| items[at]).collect::<Vec<u32>>());
            given.push((0..items.len()).filter(|at| !out[*at]).map(|at| (items[at], values[at])).collect());
        }
        if given.is_empty() {
            let problem = format!("no user has {FEWEST} items, so that none can be held out");
            return Err(Error::invalid(format!("data \"{}\"", users.name()), problem, "give users with more items"));
        }
        let popularity: Vec<f32> = popular.column_counts().into_iter().map(|count| count as f32).collect();
        if popularity.len() != rows.columns() {
            let problem =
                format!("it has {} items, data \"{}\" has {}", popularity.len(), users.name(), rows.columns());
            return Err(Error::invalid(format!("data \"{}\"", train.name()), problem, "give data of the same items"));
        }
        let left_out = rows.len() - given.len();
        let given = Dataset::from_sparse(SparseRows::new(rows.columns(), given)?).with_name(users.name());
        let mut sums = [[0.0; 3]; 2];
        let mut user = 0;
        self.rank(&given, &mut |excluded, scores| {
            let wanted = &held_out[user];
            for (sums, scores) in sums.iter_mut().zip([scores, &popularity[..]]) {
                let ranking = best_items(scores, excluded, 100);
                let measures =
                    [recall(&ranking, wanted, 20), recall(&ranking, wanted, 50), ndcg(&ranking, wanted, 100)];
                sums.iter_mut().zip(measures).for_each(|(sum, measure)| *sum += measure);
            }
            user += 1;
        })?;
        let [model, popularity] = sums.map(|sums| {
            let [recall_20, recall_50, ndcg_100] = sums.map(|sum| sum / user as f64);
            RankingQuality { recall_20, recall_50, ndcg_100 }
        });
        Ok(RankingReport { model, popularity, users: user, left_out })
    }

    /// Calls `take` with the items of each row and the score of every item.
    fn rank(&self, data: &Dataset, take: &mut dyn FnMut(&[u32], &[f32])) -> Result<()> {
        let rows = sparse(data)?;
        self.network().accepts(data.sample_shape(), data.name())?;
        for range in data.ranges(AT_ONCE) {
            let scores = self.reconstruct(&data.read_f32(range.clone())?)?.to_f32();
            range.zip(scores.chunks(rows.columns())).for_each(|(row, scores)| take(rows.row(row).0, scores));
        }
        Ok(())
    }
}

fn sparse(data: &Dataset) -> Result<&SparseRows> {
    data.sparse().ok_or_else(|| {
        let problem = "it has no users and items";
        let help = "give ratings:FILE of lines user,item, or a CSR matrix as scipy.sparse.save_npz writes it";
        Error::invalid(format!("data \"{}\"", data.name()), problem, help)
    })
}
