//! Merging of launches into shared dispatches.

use super::Lowering;
use super::launch::{Home, Launch, Operand, step};
use crate::plan::kernels::Kernel;
use crate::plan::plan::{Step, workgroup_bytes};
use std::collections::HashMap;

impl Lowering<'_> {
    /// Lets launches share a dispatch: products and column sums of one workgroup size, none of which reads what another
    /// writes, and which together need no more buffers and workgroup memory than the device has.
    pub(super) fn pair(&mut self) {
        let most = self.target.storage_buffers();
        let fits = |launch: &Launch, others: &[Launch]| {
            let steps: Vec<Step> = others.iter().chain([launch]).map(|launch| step(launch, vec![])).collect();
            workgroup_bytes(&steps) <= self.target.limits.workgroup_bytes
        };
        let mut dispatches: Vec<Vec<Launch>> = Vec::new();
        // The dispatches that others may join, in order.
        let mut open: Vec<usize> = Vec::new();
        // For each transient and each lasting buffer: the last dispatch that writes it.
        let mut written: HashMap<Home, usize> = HashMap::new();
        for mut launch in std::mem::take(&mut self.launches) {
            let after = launch.places(true).filter_map(|read| written.get(&read.whole()));
            let ready = after.map(|dispatch| dispatch + 1).max().unwrap_or(0);
            let lasting = |place: &Home| place.transient().is_none();
            // Writes to a lasting buffer keep their order, unless they have places of their own.
            let ordered = launch.places(false).all(|place| {
                let gradients =
                    matches!(place, Home::Lasting { buffer, .. } if self.buffers[*buffer].name == "gradients");
                !lasting(place) || gradients
            });
            let first = if ordered { ready } else { ready.max(dispatches.len().saturating_sub(1)) };
            let candidates = &open[open.partition_point(|dispatch| *dispatch < first)..];
            let joined = candidates.iter().copied().filter(|_| joins(&launch)).find(|dispatch| {
                let others = &dispatches[*dispatch];
                shares(&launch, others) && bindings(others.iter().chain([&launch])) <= most && fits(&launch, others)
            });
            let dispatch = joined.unwrap_or(dispatches.len());
            for place in launch.places(false) {
                let last = written.entry(place.whole()).or_default();
                *last = dispatch.max(*last);
            }
            match joined {
                Some(dispatch) => {
                    launch.joins_previous = true;
                    let together = &mut dispatches[dispatch];
                    together.push(launch);
                    // Column sums work with any workgroup size, so they take that of the product in their dispatch.
                    let product = together.iter().find(|launch| launch.kernel.row().tiled);
                    if let Some(workgroup) = product.map(|launch| launch.kernel.row().invocations(&launch.constants)) {
                        let sums = together.iter_mut().filter(|launch| launch.kernel == Kernel::ColumnSums);
                        sums.filter_map(|launch| launch.constants.last_mut()).for_each(|last| *last = workgroup as u32);
                    }
                }
                None => {
                    if joins(&launch) {
                        open.push(dispatch);
                    }
                    dispatches.push(vec![launch]);
                }
            }
        }
        self.launches = dispatches.into_iter().flatten().collect();
    }
}

/// Whether a launch can share a dispatch with others: all are products of one workgroup size, or column sums, and none
/// reads what another writes.
fn shares(launch: &Launch, others: &[Launch]) -> bool {
    let size = |launch: &Launch| {
        let row = launch.kernel.row();
        row.tiled.then(|| row.invocations(&launch.constants))
    };
    let alike = |other: &Launch| match (size(launch), size(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let apart =
        |one: &Launch, other: &Launch| other.places(true).all(|read| one.places(false).all(|place| !place.meets(read)));
    joins(launch)
        && others.iter().all(|other| joins(other) && alike(other) && apart(launch, other) && apart(other, launch))
}

/// Whether a launch is of a kernel that may share a dispatch.
fn joins(launch: &Launch) -> bool {
    launch.kernel.row().tiled || launch.kernel == Kernel::ColumnSums
}

/// Buffers that a dispatch binds: a place that several steps read counts once, one that a step reads twice, twice.
fn bindings<'a>(dispatch: impl Iterator<Item = &'a Launch>) -> usize {
    let mut read: Vec<(usize, &Operand)> = Vec::new();
    let mut count = 0;
    for (index, launch) in dispatch.enumerate() {
        for (slot, operand) in launch.slots.iter().enumerate() {
            let known = |(reader, other): &(usize, &Operand)| {
                *reader != index && other.0 == operand.0 && other.1.elements() == operand.1.elements()
            };
            if !launch.is_read(slot) {
                count += 1;
            } else if !read.iter().any(known) {
                read.push((index, operand));
            }
        }
    }
    count + read.len()
}
