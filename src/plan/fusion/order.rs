//! The order of launches.

use super::group::{Group, reads, storage};
use crate::graph::{Graph, Value};
use std::collections::HashMap;

/// The anchors of the launches, in an order in which each launch follows those whose results it reads. Fails where two
/// launches wait for each other, with the last value that one of them computes.
pub(super) fn ordered<'a>(graph: &Graph, groups: impl Iterator<Item = &'a Group>) -> Result<Vec<Value>, Value> {
    let groups: Vec<&Group> = groups.collect();
    let mut makers: HashMap<Value, usize> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        for (value, _) in &group.results {
            makers.insert(storage(graph, *value), index);
        }
    }
    let needs: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| reads(graph, group).iter().filter_map(|value| makers.get(value).copied()).collect())
        .collect();
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; groups.len()];
    let mut order = Vec::with_capacity(groups.len());
    for first in 0..groups.len() {
        let mut stack = vec![(first, 0)];
        while let Some((group, next)) = stack.pop() {
            if next == 0 {
                if marks[group] != Mark::New {
                    continue;
                }
                marks[group] = Mark::Open;
            }
            match needs[group].get(next) {
                Some(need) => {
                    stack.push((group, next + 1));
                    match marks[*need] {
                        Mark::New => stack.push((*need, 0)),
                        Mark::Done => {}
                        // Two epilogues wait for each other: the later one does less.
                        Mark::Open => {
                            let waiting = groups[group].results.iter().chain(&groups[*need].results);
                            let last = waiting.map(|(value, _)| *value).max_by_key(|value| value.0);
                            return Err(last.unwrap_or(groups[group].anchor));
                        }
                    }
                }
                None => {
                    marks[group] = Mark::Done;
                    order.push(group);
                }
            }
        }
    }
    Ok(order.into_iter().map(|group| groups[group].anchor).collect())
}
