//! Merging of launches into shared dispatches.

use super::Lowering;
use super::launch::{Home, Launch, Operand};
use crate::plan::kernels::{Element, Kernel};
use crate::plan::plan::{Step, workgroup_bytes};
use std::collections::HashMap;

impl Lowering<'_> {
    /// Lets launches share a dispatch whose workgroups have one size, none of which reads what another writes, and which
    /// together need no more buffers and workgroup memory than the device has: products and column sums, and where a
    /// launch is costly all kernels whose row says so.
    pub(super) fn pair(&mut self) {
        let most = self.target.storage_buffers();
        let fits = |launch: &Launch, others: &[Launch]| {
            let together = || others.iter().chain([launch]);
            let mut steps: Vec<Step> = together().map(|launch| launch.step.clone()).collect();
            share_workgroup(&mut steps.iter_mut().collect::<Vec<_>>());
            // With more memory than this, too few workgroups would run at a time.
            let alone = steps.iter().map(|step| workgroup_bytes(std::slice::from_ref(step))).max().unwrap_or(0);
            let wanted = if self.target.software { u64::MAX } else { alone.max(MEMORY_EACH * steps[0].workgroup()) };
            bindings(together()) <= most && workgroup_bytes(&steps) <= self.target.limits.workgroup_bytes.min(wanted)
        };
        let mut dispatches: Vec<Vec<Launch>> = Vec::new();
        // The dispatches that others may join, in order.
        let mut open: Vec<usize> = Vec::new();
        // For each transient and each lasting buffer: the last dispatch that writes it.
        let mut written: HashMap<Home, usize> = HashMap::new();
        for mut launch in std::mem::take(&mut self.launches) {
            let after = launch.homes(true).filter_map(|read| written.get(&read.whole()));
            let ready = after.map(|dispatch| dispatch + 1).max().unwrap_or(0);
            // Writes to a lasting buffer keep their order, unless each has a part of the buffer to itself.
            let ordered = launch.homes(false).all(|home| match home {
                Home::Transient(_) => true,
                Home::Lasting { buffer, .. } => self.buffers[*buffer].name == "gradients",
            });
            // A large result that is made much earlier than it is read takes memory from others.
            let written_elements =
                |slot: usize| if launch.is_read(slot) { 0 } else { launch.operands[slot].1.elements() };
            let large = (0..launch.operands.len()).map(written_elements).sum::<usize>() > SMALL_RESULT;
            let near = match (ordered, large && !is_product(&launch) && launch.step.kernel != Kernel::ColumnSums) {
                (false, _) => 1,
                (true, true) => NEAR,
                (true, false) => usize::MAX,
            };
            let first = ready.max(dispatches.len().saturating_sub(near));
            // A software adapter pays little for a launch, and much for compiling long shaders.
            let costly = !self.target.software && !self.target.without.joins;
            let joins = is_product(&launch)
                || launch.step.kernel == Kernel::ColumnSums
                || costly && launch.step.kernel.row().joins;
            let mut candidates = open[open.partition_point(|dispatch| *dispatch < first)..].iter().copied();
            let joined = candidates.find(|dispatch| {
                let others = &dispatches[*dispatch];
                joins && others.iter().all(|other| may_share(&launch, other)) && fits(&launch, others)
            });
            let dispatch = joined.unwrap_or(dispatches.len());
            for home in launch.homes(false) {
                let last = written.entry(home.whole()).or_default();
                *last = dispatch.max(*last);
            }
            if joined.is_some() {
                launch.step.joins_previous = true;
                let together = &mut dispatches[dispatch];
                together.push(launch);
                share_workgroup(&mut together.iter_mut().map(|launch| &mut launch.step).collect::<Vec<_>>());
            } else {
                if joins {
                    open.push(dispatch);
                }
                dispatches.push(vec![launch]);
            }
        }
        self.launches = dispatches.into_iter().flatten().collect();
    }
}

/// Gives column sums, which work with any workgroup size, that of a product in their dispatch.
fn share_workgroup(steps: &mut [&mut Step]) {
    let product = steps.iter().find(|step| step.kernel.row().tiled);
    let Some(workgroup) = product.map(|step| step.workgroup() as u32) else { return };
    let sums = steps.iter_mut().filter(|step| step.kernel == Kernel::ColumnSums);
    sums.filter_map(|step| step.constants.last_mut()).for_each(|last| *last = workgroup);
}

fn is_product(launch: &Launch) -> bool {
    launch.step.kernel.row().tiled
}

/// Bytes of workgroup memory for each invocation with which a large GPU still holds 8 subgroups on each of its SIMDs.
const MEMORY_EACH: u64 = 144;
/// Elements up to which a result may be made long before it is read.
const SMALL_RESULT: usize = 1 << 14;
/// The number of last dispatches that a launch with a larger result may join.
const NEAR: usize = 8;
/// Workgroups up to which a launch that is no product joins products: a larger one would run with their registers.
const FEW_GROUPS: u64 = 256;

/// Whether two launches can share a dispatch: their workgroups have one size, and neither reads the other's results.
fn may_share(launch: &Launch, other: &Launch) -> bool {
    let apart = |one: &Launch, other: &Launch| {
        other.homes(true).all(|read| one.homes(false).all(|written| written.whole() != read.whole()))
    };
    let sums = |launch: &Launch| launch.step.kernel == Kernel::ColumnSums;
    let alike = sums(launch) || sums(other) || launch.step.workgroup() == other.step.workgroup();
    let light = |one: &Launch, other: &Launch| {
        !is_product(other) || is_product(one) || sums(one) || one.step.groups() <= FEW_GROUPS
    };
    alike && light(launch, other) && light(other, launch) && apart(launch, other) && apart(other, launch)
}

/// Buffers that a dispatch binds: a place that several steps read as one type counts once, one that a step reads twice, twice.
fn bindings<'a>(dispatch: impl Iterator<Item = &'a Launch>) -> usize {
    let mut read: Vec<(usize, Element, &Operand)> = Vec::new();
    let mut count = 0;
    for (index, launch) in dispatch.enumerate() {
        for (slot, operand) in launch.operands.iter().enumerate() {
            let element = launch.step.element(slot);
            let known = |(reader, as_element, other): &(usize, Element, &Operand)| {
                let same = other.0 == operand.0 && other.1.elements() == operand.1.elements();
                *reader != index && *as_element == element && same
            };
            if !launch.is_read(slot) {
                count += 1;
            } else if !read.iter().any(known) {
                read.push((index, element, operand));
            }
        }
    }
    count + read.len()
}
