//! The launches after the backward pass: the gradients' norm where it is limited, the optimiser, the average.

use super::Lowering;
use super::launch::{Operand, Segment, lasting};
use crate::graph::Value;
use crate::plan::LayoutEntry;
use crate::plan::buffers::{AVERAGE, MOMENTS, PARAMETERS, SCHEDULE};
use crate::plan::kernels::Kernel;
use crate::plan::memory::{ALIGNMENT, ParameterLayout, aligned};
use crate::plan::state::{CURRENT, NORM, SCHEDULE_COLUMNS};
use crate::plan::training::{Gradients, Training};
use crate::tensor::DType;

/// Words of a segment: offset of a block of gradients, number and stride of its partial sums, number of the block's
/// elements that are parameters rather than a gap, and their group in the schedule.
const SEGMENT: usize = 5;

/// Parameters whose squares a workgroup sums.
const PART: usize = 256;

/// The settings and operands that the launches of an update share.
struct Update<'a> {
    /// The plan's name.
    name: &'a str,
    training: &'a Training,
    layout: &'a ParameterLayout,
    gradients: Operand,
    segments: Operand,
    schedule: Operand,
    state: Operand,
    moments: Operand,
    parameters: Operand,
    /// Whether the gradients are collected among the moments, as if batches were accumulated, because the device binds
    /// too few buffers.
    collects: bool,
    /// The number, counted from 1, of the moment that holds accumulated or collected gradients; 0 where none does.
    accumulated: usize,
    /// Partial sums of all gradients.
    partial_sums: usize,
}

impl Lowering<'_> {
    /// Adds all launches between gradients and the next step's parameters. Returns the gradients' norm where steps of
    /// a non-finite norm are skipped. `units`: layout places of matrices whose columns are kept at length 1.
    pub(super) fn update(
        &mut self,
        name: &str,
        training: &Training,
        layout: &ParameterLayout,
        state: Value,
        units: &[usize],
    ) -> Option<Operand> {
        let settings = training.gradients;
        let update = self.prepare_update(name, training, layout, state);
        let current = update.collects.then(|| self.collect_gradients(&update));
        let norm = settings.is_normed().then(|| self.gradient_norm(&update));
        self.update_parameters(&update, current, norm.clone());
        for place in units {
            let LayoutEntry { name, shape, offset } = &layout.entries()[*place];
            let constants = [*offset, shape[0], shape[1]];
            let parameters = vec![update.parameters.clone()];
            self.push(Kernel::UnitColumns, &constants, parameters, 4 * shape.elements(), name);
        }
        if settings.averaged {
            let elements = layout.elements();
            let averages = lasting(self.laid_out(AVERAGE, layout, 1), 0, [elements], DType::Float);
            let operands = vec![update.parameters, update.schedule, update.state, averages];
            self.push(Kernel::Average, &[elements, training.groups], operands, 3 * elements, "average");
        }
        norm.filter(|_| settings.skips())
    }

    /// Makes the tables and operands of an update.
    fn prepare_update<'a>(
        &mut self,
        name: &'a str,
        training: &'a Training,
        layout: &'a ParameterLayout,
        state: Value,
    ) -> Update<'a> {
        let bindings = update_kernel(training.gradients).row().bindings.len();
        let collects = bindings > self.target.storage_buffers();
        let accumulates = training.gradients.accumulated || collects;
        let own_moments = training.optimizer.moments();
        let moments = own_moments + usize::from(accumulates);
        let elements = layout.elements();

        let gradients = self.lasting("gradients", DType::Float, [self.gradient_elements.max(ALIGNMENT)]);
        let segments = self.table(&format!("segments of {name}"), self.segments_of(training, layout));
        let numbers = [training.schedule_rows, training.groups * SCHEDULE_COLUMNS];
        let schedule = self.lasting(SCHEDULE, DType::Float, numbers);
        let state = self.slot(state);
        let buffer = self.laid_out(MOMENTS, layout, moments);
        let moments = lasting(buffer, 0, [(moments * elements).max(ALIGNMENT)], DType::Float);
        let parameters = lasting(self.laid_out(PARAMETERS, layout, 1), 0, [elements], DType::Float);
        let accumulated = if accumulates { 1 + own_moments } else { 0 };
        let partial_sums = self.segments.values().map(|segment| segment.parts * segment.stride).sum();
        Update {
            name,
            training,
            layout,
            gradients,
            segments,
            schedule,
            state,
            moments,
            parameters,
            collects,
            accumulated,
            partial_sums,
        }
    }

    /// Collects the gradients among the moments. Returns the norm's buffer, behind whose numbers the schedule's row of
    /// the step is then found.
    fn collect_gradients(&mut self, update: &Update) -> Operand {
        let Update { gradients, segments, schedule, state, moments, accumulated, .. } = update;
        let (elements, width) = (update.layout.elements(), schedule.1[1]);
        let current = self.lasting(NORM, DType::Float, [CURRENT + width]);
        let row = lasting(self.buffer(NORM, DType::Float, 0), CURRENT, [1, width], DType::Float);
        let operands = vec![schedule.clone(), state.clone(), row];
        self.push(Kernel::Gather, &[schedule.1[0], 1, width], operands, 0, "schedule");
        let operands = [gradients, segments, &current, moments].map(Operand::clone).to_vec();
        let operations = update.partial_sums + 2 * elements;
        self.push(Kernel::Collect, &[elements, *accumulated], operands, operations, "gradients");
        current
    }

    /// Computes the norm of all gradients together, and returns it.
    fn gradient_norm(&mut self, update: &Update) -> Operand {
        let Update { training, gradients, segments, schedule, state, moments, accumulated, .. } = update;
        let (elements, groups, settings) = (update.layout.elements(), training.groups, training.gradients);
        let parts = elements.div_ceil(PART);
        let squares = self.floats([parts]);
        let mut operations = update.partial_sums + 2 * elements;
        if !update.collects && settings.accumulated {
            let constants = [elements, groups, *accumulated];
            let operands = [gradients, segments, schedule, state, moments, &squares].map(Operand::clone);
            self.push(Kernel::SquaresOfSums, &constants, operands.to_vec(), operations, "norm");
        } else {
            let mut operands = vec![gradients.clone(), segments.clone(), squares.clone()];
            if update.collects {
                let buffer = self.buffer(MOMENTS, DType::Float, 0);
                operands[0] = lasting(buffer, (accumulated - 1) * elements, [elements], DType::Float);
                let places = self.collected_segments(training, update.layout);
                operands[1] = self.table(&format!("collected segments of {}", update.name), places);
                operations = 2 * elements;
            }
            self.push(Kernel::Squares, &[elements], operands, operations, "norm");
        }
        let norm = self.lasting(NORM, DType::Float, [settings.norm_numbers()]);
        let operands = vec![squares, schedule.clone(), state.clone(), norm.clone()];
        self.push(Kernel::Norm, &[groups, parts, usize::from(settings.scaled)], operands, parts, "norm");
        norm
    }

    /// The optimiser's update of all parameters. `current`: the norm's buffer and the schedule's row, where gradients
    /// are collected.
    fn update_parameters(&mut self, update: &Update, current: Option<Operand>, norm: Option<Operand>) {
        let Update { training, gradients, segments, schedule, state, moments, parameters, accumulated, .. } = update;
        let (elements, settings, optimizer) = (update.layout.elements(), training.gradients, &training.optimizer);
        let [centered, momentum] = optimizer.extras().map(usize::from);
        let [limited, skip, scaled] = [settings.value_limit, settings.skips(), settings.scaled].map(usize::from);
        let method = optimizer.method() as usize;
        let mut constants =
            vec![elements, training.groups, method, centered, momentum, *accumulated, limited, skip, scaled];
        let mut operations = elements * optimizer.operations();
        let (kernel, mut operands) = match current {
            Some(current) => {
                constants.push(usize::from(norm.is_some()));
                (Kernel::CollectedUpdate, vec![segments.clone(), current])
            }
            None => {
                operations += update.partial_sums;
                let read = [gradients, segments, schedule, state].map(Operand::clone);
                (update_kernel(settings), read.into_iter().chain(norm).collect())
            }
        };
        operands.extend([parameters.clone(), moments.clone()]);
        self.push(kernel, &constants, operands, operations, optimizer.name());
    }

    /// The segment of each block of parameters: where its gradients are.
    fn segments_of(&self, training: &Training, layout: &ParameterLayout) -> Vec<u32> {
        let mut content = Vec::with_capacity(layout.elements() / ALIGNMENT * SEGMENT);
        for (index, LayoutEntry { name, shape, .. }) in layout.entries().iter().enumerate() {
            let trained = training.trained.iter().find(|trained| trained.parameter == *name);
            let group = trained.map_or(0, |trained| trained.group);
            // A parameter without a gradient has no partial sums and does not change.
            let Segment { offset, parts, stride } = self.segments.get(&index).copied().unwrap_or_default();
            for block in (0..aligned(shape.elements())).step_by(ALIGNMENT) {
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
}

/// The kernel of an update by gradients that are not collected.
fn update_kernel(settings: Gradients) -> Kernel {
    if settings.is_normed() { Kernel::LimitedUpdate } else { Kernel::Update }
}
