//! The launches after the backward pass: the gradients' norm where it is limited, the optimiser, the average.

use super::Lowering;
use super::launch::{Home, Launch, Operand, Segment};
use crate::graph::Value;
use crate::plan::LayoutEntry;
use crate::plan::kernel::Kernel;
use crate::plan::memory::{ALIGNMENT, ParameterLayout, aligned};
use crate::plan::state::{CURRENT, NORM, SCHEDULE_COLUMNS};
use crate::plan::training::Training;
use crate::shape::Shape;
use crate::tensor::DType;

/// Words of a segment: offset of a block of gradients, number and stride of its partial sums, number of the block's
/// elements that are parameters rather than a gap, and their group in the schedule.
const SEGMENT: usize = 5;

/// Parameters whose squares a workgroup sums.
const PART: usize = 256;

impl Lowering<'_> {
    /// Launches everything between gradients and the next step's parameters. Returns the gradients' norm where steps of
    /// a non-finite norm are skipped. `units`: layout places of matrices whose columns are kept at length 1.
    pub(super) fn update(
        &mut self,
        name: &str,
        training: &Training,
        layout: &ParameterLayout,
        state: Value,
        units: &[usize],
    ) -> Option<Operand> {
        let elements = layout.elements();
        let optimizer = &training.optimizer;
        let own = training.gradients;
        let normed = own.norm_limit || own.skip || own.scaled;
        let mut kernel = if normed { Kernel::LimitedUpdate } else { Kernel::Update };
        // A device that binds few buffers collects gradients among the moments, as if batches were accumulated.
        let collects = kernel.row().bindings.len() > self.target.storage_buffers();
        let accumulates = own.accumulated || collects;
        let all_moments = optimizer.moments() + usize::from(accumulates);
        let accumulated = if accumulates { 1 + optimizer.moments() } else { 0 };

        let sums = self.gradient_elements.max(ALIGNMENT);
        let gradients = self.floats("gradients", [sums].into());
        let segments = self.segments_of(training, layout);
        let segments = self.table(&format!("segments of {name}"), segments);
        let numbers = [training.schedule_rows, training.groups * SCHEDULE_COLUMNS];
        let schedule = self.floats("schedule", numbers.into());
        let state = self.slot(state);
        let buffer = self.laid_out_times("moments", layout, all_moments);
        let moments = floats(buffer, 0, [(all_moments * elements).max(ALIGNMENT)].into());
        let parameters = floats(self.laid_out("parameters", layout), 0, [elements].into());
        let joins: usize = self.segments.values().map(|segment| segment.parts * segment.stride).sum();

        // The norm, followed by the schedule's row.
        let mut current = None;
        if collects {
            let all = self.floats(NORM, [CURRENT + numbers[1]].into());
            let row = floats(self.buffer(NORM, DType::Float, 0), CURRENT, [1, numbers[1]].into());
            let inputs = vec![schedule.clone(), state.clone(), row];
            self.launch_of(Kernel::Gather, &[numbers[0], 1, numbers[1]], inputs, 0, "schedule");
            let inputs = vec![gradients.clone(), segments.clone(), all.clone(), moments.clone()];
            self.launch_of(Kernel::Collect, &[elements, accumulated], inputs, joins + 2 * elements, "gradients");
            current = Some(all);
        }
        let (mut norm, mut guard) = (None, None);
        if normed {
            let parts = elements.div_ceil(PART);
            let squares = (self.transient(parts, DType::Float), Shape::from([parts]), DType::Float);
            if collects {
                let collected = floats(buffer, (accumulated - 1) * elements, [elements].into());
                let places = self.collected_segments(training, layout);
                let places = self.table(&format!("collected segments of {name}"), places);
                self.launch_of(
                    Kernel::Squares,
                    &[elements],
                    vec![collected, places, squares.clone()],
                    2 * elements,
                    "norm",
                );
            } else if own.accumulated {
                let constants = [elements, training.groups, accumulated];
                let inputs = [&gradients, &segments, &schedule, &state, &moments, &squares].map(Operand::clone);
                self.launch_of(Kernel::SquaresOfSums, &constants, inputs.to_vec(), joins + 2 * elements, "norm");
            } else {
                let inputs = vec![gradients.clone(), segments.clone(), squares.clone()];
                self.launch_of(Kernel::Squares, &[elements], inputs, joins + 2 * elements, "norm");
            }
            let joined = self.floats(NORM, [own.norm_numbers()].into());
            let inputs = vec![squares, schedule.clone(), state.clone(), joined.clone()];
            self.launch_of(Kernel::Norm, &[training.groups, parts, usize::from(own.scaled)], inputs, parts, "norm");
            guard = (own.skip || own.scaled).then(|| joined.clone());
            norm = Some(joined);
        }
        let [centered, momentum] = optimizer.extras().map(usize::from);
        let flags = [own.value_limit, own.skip || own.scaled, own.scaled].map(usize::from);
        let flags = [&[centered, momentum, accumulated], &flags[..]].concat();
        let mut constants = [&[elements, training.groups, optimizer.method() as usize], &flags[..]].concat();
        let mut operations = elements * optimizer.operations();
        let mut slots = match current {
            Some(current) => {
                kernel = Kernel::CollectedUpdate;
                constants.push(usize::from(normed));
                vec![segments, current]
            }
            None => {
                operations += joins;
                [gradients, segments, schedule.clone(), state.clone()].into_iter().chain(norm).collect()
            }
        };
        slots.extend([parameters.clone(), moments]);
        self.launch_of(kernel, &constants, slots, operations, optimizer.name());
        for place in units {
            let LayoutEntry { name, shape, offset } = &layout.entries()[*place];
            let constants = [*offset, shape[0], shape[1]];
            self.launch_of(Kernel::UnitColumns, &constants, vec![parameters.clone()], 4 * shape.elements(), name);
        }
        if own.averaged {
            let averages = floats(self.laid_out("average", layout), 0, [elements].into());
            let inputs = vec![parameters, schedule, state, averages];
            self.launch_of(Kernel::Average, &[elements, training.groups], inputs, 3 * elements, "average");
        }
        guard
    }

    /// A lasting buffer of floats, from its beginning.
    fn floats(&mut self, name: &str, shape: Shape) -> Operand {
        floats(self.buffer(name, DType::Float, shape.elements()), 0, shape)
    }

    /// A constant table.
    fn table(&mut self, name: &str, content: Vec<u32>) -> Operand {
        let words = content.len();
        let buffer = self.buffer(name, DType::U32, words);
        self.buffers[buffer].content = content;
        (Home::Lasting { buffer, offset: 0 }, [words].into(), DType::U32)
    }

    /// The segment of each block of parameters: where its gradients are.
    fn segments_of(&self, training: &Training, layout: &ParameterLayout) -> Vec<u32> {
        let mut content = Vec::with_capacity(layout.elements() / ALIGNMENT * SEGMENT);
        for (index, LayoutEntry { name, shape, .. }) in layout.entries().iter().enumerate() {
            let trained = training.trained.iter().find(|trained| trained.parameter == *name);
            let group = trained.map_or(0, |trained| trained.group);
            for block in (0..aligned(shape.elements())).step_by(ALIGNMENT) {
                // A parameter without a gradient has no partial sums and does not change.
                let Segment { offset, parts, stride } =
                    self.segments.get(&index).copied().unwrap_or(Segment { offset: 0, parts: 0, stride: 0 });
                let parameters = (shape.elements() - block).min(ALIGNMENT);
                content.extend([offset + block, parts, stride, parameters, group].map(|word| word as u32));
            }
        }
        content
    }

    /// The segments of collected gradients, each of which is at its parameter's offset.
    fn collected_segments(&self, training: &Training, layout: &ParameterLayout) -> Vec<u32> {
        let mut content = self.segments_of(training, layout);
        for (block, segment) in content.chunks_exact_mut(SEGMENT).enumerate() {
            segment[0] = (block * ALIGNMENT) as u32;
            segment[1] = segment[1].min(1);
        }
        content
    }

    fn launch_of(&mut self, kernel: Kernel, constants: &[usize], slots: Vec<Operand>, operations: usize, label: &str) {
        self.launches.push(Launch {
            kernel,
            constants: constants.iter().map(|word| *word as u32).collect(),
            slots,
            outcomes: vec![],
            program: None,
            own: None,
            label: label.to_owned(),
            operations: operations as u64,
            joins_previous: false,
        });
    }
}

/// A place in a lasting buffer of floats.
fn floats(buffer: usize, offset: usize, shape: Shape) -> Operand {
    (Home::Lasting { buffer, offset }, shape, DType::Float)
}
