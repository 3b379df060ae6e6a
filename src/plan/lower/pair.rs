//! Which launches share a dispatch.

use super::{Home, Launch, Lowering, Operand, step};
use crate::plan::kernel::{Access, Kernel};
use crate::plan::plan::{Step, workgroup_bytes};

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
        // For each place: the last dispatch that writes it.
        let mut written: Vec<(Home, usize)> = Vec::new();
        for mut launch in std::mem::take(&mut self.launches) {
            let reads = places(&launch, true);
            let after = written.iter().filter(|(place, _)| reads.iter().any(|read| read.meets(place)));
            let ready = after.map(|(_, dispatch)| dispatch + 1).max().unwrap_or(0);
            let lasting = |place: &Home| place.transient().is_none();
            let joined = (ready..dispatches.len()).find(|dispatch| {
                let others = &dispatches[*dispatch];
                // What is written to a lasting buffer later than here must stay so, unless it has a place of its own.
                let ordered = places(&launch, false).iter().all(|place| {
                    let gradients =
                        matches!(place, Home::Lasting { buffer, .. } if self.buffers[*buffer].name == "gradients");
                    !lasting(place) || gradients || *dispatch + 1 == dispatches.len()
                });
                ordered
                    && shares(&launch, others)
                    && bindings(others.iter().chain([&launch])) <= most
                    && fits(&launch, others)
            });
            match joined {
                Some(dispatch) => {
                    written.extend(places(&launch, false).into_iter().map(|place| (place, dispatch)));
                    launch.beside = true;
                    let together = &mut dispatches[dispatch];
                    together.push(launch);
                    // Column sums take any workgroup size, and so that of the product that they run beside.
                    let product = together.iter().find(|launch| launch.kernel.row().tiled);
                    if let Some(workgroup) = product.map(|launch| step(launch, vec![]).workgroup()) {
                        let sums = together.iter_mut().filter(|launch| launch.kernel == Kernel::ColumnSums);
                        sums.filter_map(|launch| launch.constants.last_mut()).for_each(|last| *last = workgroup as u32);
                    }
                }
                None => {
                    written.extend(places(&launch, false).into_iter().map(|place| (place, dispatches.len())));
                    dispatches.push(vec![launch]);
                }
            }
        }
        self.launches = dispatches.into_iter().flatten().collect();
    }
}

impl Home {
    /// Whether two places are the same.
    fn is(&self, other: &Home) -> bool {
        match (self, other) {
            (Home::Transient(one), Home::Transient(other)) => one == other,
            (Home::Lasting { buffer, offset }, Home::Lasting { buffer: other, offset: place }) => {
                buffer == other && offset == place
            }
            _ => false,
        }
    }

    /// Whether two places are in one transient, or in one lasting buffer.
    fn meets(&self, other: &Home) -> bool {
        match (self, other) {
            (Home::Transient(one), Home::Transient(other)) => one == other,
            (Home::Lasting { buffer: one, .. }, Home::Lasting { buffer: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// The places that a launch reads, or those that it writes.
pub(super) fn places(launch: &Launch, reads: bool) -> Vec<Home> {
    let access = step(launch, vec![]);
    let slots = launch.slots.iter().enumerate().filter(|(slot, _)| (access.access(*slot) == Access::Read) == reads);
    slots.map(|(_, (home, ..))| home.clone()).collect()
}

/// Whether a launch can run beside others: all are products of one workgroup size, or column sums, and none reads what
/// another writes.
fn shares(launch: &Launch, others: &[Launch]) -> bool {
    let size = |launch: &Launch| launch.kernel.row().tiled.then(|| step(launch, vec![]).workgroup());
    let joins = |launch: &Launch| launch.kernel.row().tiled || launch.kernel == Kernel::ColumnSums;
    let alike = |other: &Launch| match (size(launch), size(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let apart = |one: &Launch, other: &Launch| {
        let written = places(one, false);
        places(other, true).iter().all(|read| written.iter().all(|place| !place.meets(read)))
    };
    joins(launch)
        && others.iter().all(|other| joins(other) && alike(other) && apart(launch, other) && apart(other, launch))
}

/// Buffers that a dispatch binds: what several of its steps read is bound once, and what one reads twice, twice.
fn bindings<'a>(dispatch: impl Iterator<Item = &'a Launch>) -> usize {
    let mut read: Vec<(usize, &Operand)> = Vec::new();
    let mut count = 0;
    for (index, launch) in dispatch.enumerate() {
        let access = step(launch, vec![]);
        for (slot, operand) in launch.slots.iter().enumerate() {
            let known = |(reader, other): &(usize, &Operand)| {
                *reader != index && other.0.is(&operand.0) && other.1.elements() == operand.1.elements()
            };
            if access.access(slot) != Access::Read {
                count += 1;
            } else if !read.iter().any(known) {
                read.push((index, operand));
            }
        }
    }
    count + read.len()
}
