//! Ratings: what users took or liked, read from lines of `user,item[,value]`, or made up with a known structure.

use std::path::Path;
use std::sync::Arc;

use super::dataset::{Dataset, Splits};
use super::labels::Names;
use super::numbers::Numbers;
use super::records::{Source, shortened, warn_of_index};
use super::sparse::SparseRows;
use crate::error::{Error, Result};
use crate::rng::SplitMix;

/// Reads lines of `user,item[,value]` (separated by `::`, as in MovieLens, or another separator of CSV files), ignoring
/// further fields; a first line of names, such as `user,item,value` or `customerId,product`, is skipped. A line without
/// value counts 1, and lines of equal user and item are summed. Users and items are ordered by name, numerically if all
/// are numbers. If `items` is given, it lists the columns, and lines of other items are left out.
///
/// Fails where a line has fewer than two fields, or a value that is not a finite number of at least 0.
pub(super) fn read_ratings(path: &Path, items: Option<&Arc<Vec<String>>>) -> Result<SparseRows> {
    let (mut users, mut found) = (Names::default(), Names::default());
    for item in items.into_iter().flat_map(|items| items.iter()) {
        found.index(item);
    }
    let mut entries: Vec<(u32, u32, f32)> = Vec::new();
    let (mut first, mut index) = (true, 0);
    // No line breaks in names: a run lists its items line by line.
    let source = Source { breaks: false, ..Source::of(path)? };
    let mut numbers = Numbers::new(path, source.separator);
    let skipped = source.records(|line, fields| {
        let is_first = std::mem::replace(&mut first, false);
        // Skip the line numbers that pandas writes below an empty name.
        if is_first && fields.len() > 2 && fields[0].is_empty() {
            index = 1;
        }
        let [user, item, rest @ ..] = fields.get(index..).unwrap_or_default() else {
            let problem = format!("line {line} has {} fields", fields.len());
            return Err(Error::file(path, problem, "give lines of user,item or user,item,value"));
        };
        let value = match rest.first().filter(|value| !value.is_empty()) {
            Some(value) => numbers.number(value, [line, index + 3])?.map(|value| value as f32),
            None => Some(1.0),
        };
        if is_first && (value.is_none() || rest.is_empty() && are_names(user, item)) {
            return Ok(());
        }
        if let Some(at) = [index == 1 && is_first, user.is_empty(), item.is_empty()].iter().position(|empty| *empty) {
            let problem = format!("line {line}, column {} is empty", if at == 0 { 1 } else { index + at });
            return Err(Error::file(path, problem, "give lines of user,item or user,item,value"));
        }
        let value = value.filter(|value| value.is_finite() && *value >= 0.0).ok_or_else(|| {
            let (column, text) = (index + 3, shortened(&rest[0]));
            let problem = format!("line {line}, column {column} is {text:?}, which is no number of at least 0");
            Error::file(path, problem, "give how often or how much the user took the item, or leave it out")
        })?;
        let user = users.index(user);
        let item = if items.is_some() { found.known(item) } else { Some(found.index(item)) };
        entries.extend(item.map(|item| (user, item, value)));
        Ok(())
    })?;
    skipped.warn(path);
    if index > 0 {
        warn_of_index(path);
    }
    let (user_order, user_names) = users.sorted(|name| name.parse().ok());
    if user_names.is_empty() {
        return Err(Error::file(path, "holds no line of user and item", "give lines of user,item or user,item,value"));
    }
    let (item_order, item_names) = match items {
        Some(items) => ((0..items.len() as u32).collect(), items.clone()),
        None => {
            let (order, names) = found.sorted(|name| name.parse().ok());
            (order, Arc::new(names))
        }
    };
    let mut rows = vec![Vec::new(); user_names.len()];
    for (user, item, value) in entries {
        rows[user_order[user as usize] as usize].push((item_order[item as usize], value));
    }
    let rows = SparseRows::new(item_names.len(), rows).map_err(Error::in_file(path))?;
    Ok(rows.with_names(user_names, item_names))
}

/// Names, or their beginnings, of the columns of users and items.
const USER_NAMES: [&str; 4] = ["user", "customer", "member", "visitor"];
const ITEM_NAMES: [&str; 8] = ["item", "product", "movie", "film", "book", "song", "track", "article"];

/// Whether a line's fields are column names: `user`, `userId` or `user_name` and anything, or both as in
/// `customer_key,product_key`. Names of users and items have digits.
fn are_names(user: &str, item: &str) -> bool {
    let rest = |field: &str, names: &[&str]| {
        let letters: String = field.chars().filter(|letter| letter.is_alphanumeric()).collect();
        let letters = letters.to_lowercase();
        let rest = names.iter().find_map(|name| letters.strip_prefix(name))?;
        (!rest.contains(|letter: char| letter.is_numeric())).then(|| rest.to_owned())
    };
    let Some(user) = rest(user, &USER_NAMES) else { return false };
    ["", "s", "id", "name"].contains(&user.as_str()) || rest(item, &ITEM_NAMES).is_some()
}

/// Number of items that made-up users choose from, in groups of equal size.
const ITEMS: usize = 1000;
const GROUPS: usize = 20;
const GROUP: usize = ITEMS / GROUPS;
/// The fewest and the most items of a user.
const FEWEST: usize = 20;
const MOST: usize = 60;
/// Random streams that share no user.
const TRAIN_STREAM: u64 = 1;
const TEST_STREAM: u64 = 2;

/// Makes up users with a known structure, `users` for training and a sixth of that for testing. The 1000 items form 20
/// groups of 50. A user likes two groups and takes 20 to 60 items: three in four from these groups, more often from the
/// first, and the others from all items by popularity, which follows Zipf's law. The seed determines the items' groups
/// and popularity, and the users. If `users` is 0, there is one user.
///
/// As for the built-in digits, only exact arithmetic is used: a seed gives identical users on every machine.
pub fn ratings(users: usize, seed: u64) -> Result<Splits> {
    let mut random = SplitMix::new(SplitMix::new(seed).next());
    let (members, popular) = (random.shuffled(ITEMS as u32), random.shuffled(ITEMS as u32));
    let cumulated = |weight: &dyn Fn(usize) -> f64, count: usize| -> Vec<f64> {
        let sums = (0..count).scan(0.0, |sum, rank| {
            *sum += weight(rank);
            Some(*sum)
        });
        sums.collect()
    };
    let everywhere = cumulated(&|rank| 1.0 / (1 + rank) as f64, ITEMS);
    let within = cumulated(&|rank| 1.0 / ((4 + rank) as f64).sqrt(), GROUP);
    let part = |count: usize, stream: u64| -> Result<Dataset> {
        let row = |user: u64| {
            let start = SplitMix::new(seed ^ stream << 56).next().wrapping_add(user);
            let mut random = SplitMix::new(SplitMix::new(start).next());
            let groups = [random.below(GROUPS), random.below(GROUPS)];
            let mut taken = vec![false; ITEMS];
            let wanted = FEWEST + random.below(MOST - FEWEST + 1);
            let mut row = Vec::with_capacity(wanted);
            // Draws of the most popular items are often repeats.
            while row.len() < wanted {
                let item = match random.unit() {
                    draw if draw < 0.45 => members[groups[0] * GROUP + rank(&within, &mut random)],
                    draw if draw < 0.75 => members[groups[1] * GROUP + rank(&within, &mut random)],
                    _ => popular[rank(&everywhere, &mut random)],
                };
                if !std::mem::replace(&mut taken[item as usize], true) {
                    row.push((item, 1.0));
                }
            }
            row
        };
        Ok(Dataset::from_sparse(SparseRows::new(ITEMS, (0..count as u64).map(row))?).with_name("ratings"))
    };
    Ok(Splits { train: part(users.max(1), TRAIN_STREAM)?, test: Some(part((users / 6).max(1), TEST_STREAM)?) })
}

/// Draws an index with probability proportional to the weights whose cumulative sums are given.
fn rank(sums: &[f64], random: &mut SplitMix) -> usize {
    let draw = f64::from(random.unit()) * sums[sums.len() - 1];
    sums.partition_point(|sum| *sum <= draw).min(sums.len() - 1)
}
