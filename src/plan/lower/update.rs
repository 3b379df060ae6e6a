//! The launches that follow the backward pass: the gradients' norm where it is limited, the optimiser, the average.

use super::{ALIGNMENT, Home, Launch, Lowering, Operand, ParameterLayout, Segment, aligned};
use crate::graph::Value;
use crate::plan::kernel::Kernel;
use crate::plan::state::{SCHEDULE_COLUMNS, Training};
use crate::shape::Shape;
use crate::tensor::DType;

/// Words of a segment: where a block of gradients lies, how many partial sums it has, how far apart they are, how many of
/// the block are parameters rather than a gap, and which of the schedule's groups they follow.
const SEGMENT: usize = 5;

/// Parameters whose squares a workgroup sums.
const PART: usize = 256;

impl Lowering<'_> {
    /// Everything between the gradients and the next step's parameters.
    pub(super) fn update(&mut self, name: &str, training: &Training, layout: &ParameterLayout, state: Value) {
        let elements = layout.elements();
        let content = self.segments_of(training, layout);
        let words = content.len();
        let segments = self.buffer(&format!("segments of {name}"), DType::U32, words);
        self.buffers[segments].content = content;
        let sums = self.gradient_elements.max(ALIGNMENT);
        let gradients = self.buffer("gradients", DType::Float, sums);
        let numbers: Shape = [training.schedule_rows, training.groups * SCHEDULE_COLUMNS].into();
        let schedule = self.buffer("schedule", DType::Float, numbers.elements());
        let moments = self.laid_out_times("moments", layout, training.moments());
        let parameters = self.laid_out("parameters", layout);
        let floats =
            |buffer: usize, shape: Shape| -> Operand { (Home::Lasting { buffer, offset: 0 }, shape, DType::Float) };
        let gradients = floats(gradients, [sums].into());
        let segments = (Home::Lasting { buffer: segments, offset: 0 }, [words].into(), DType::U32);
        let schedule = floats(schedule, numbers);
        let state = self.slot(state);
        let moments = floats(moments, [(training.moments() * elements).max(ALIGNMENT)].into());
        let parameters = floats(parameters, [elements].into());

        let optimizer = &training.optimizer;
        let own = training.gradients;
        let accumulated = if own.accumulated { 1 + optimizer.moments() } else { 0 };
        let [centered, momentum] = optimizer.extras().map(usize::from);
        let joins: usize = self.segments.values().map(|segment| segment.parts * segment.stride).sum();
        let mut slots = vec![gradients.clone(), segments.clone(), schedule.clone(), state.clone()];
        let mut kernel = Kernel::Update;
        if own.norm_limit || own.skip {
            let parts = elements.div_ceil(PART);
            let squares = (self.transient(parts, DType::Float), Shape::from([parts]), DType::Float);
            let operations = joins + 2 * elements;
            if own.accumulated {
                let constants = [elements, training.groups, accumulated];
                let inputs = [gradients, segments, schedule.clone(), state.clone(), moments.clone(), squares.clone()];
                self.launch_of(Kernel::SquaresOfSums, &constants, inputs.to_vec(), operations, "norm");
            } else {
                let inputs = vec![gradients, segments, squares.clone()];
                self.launch_of(Kernel::Squares, &[elements], inputs, operations, "norm");
            }
            let buffer = self.buffer("norm", DType::Float, 2);
            let norm = floats(buffer, [2].into());
            let inputs = vec![squares, schedule.clone(), state.clone(), norm.clone()];
            self.launch_of(Kernel::Norm, &[training.groups, parts], inputs, parts, "norm");
            slots.push(norm);
            kernel = Kernel::LimitedUpdate;
        }
        slots.extend([parameters.clone(), moments]);
        let flags = [centered, momentum, accumulated, usize::from(own.value_limit), usize::from(own.skip)];
        let constants = [&[elements, training.groups, optimizer.method() as usize], &flags[..]].concat();
        let operations = joins + elements * optimizer.operations();
        self.launch_of(kernel, &constants, slots, operations, optimizer.name());
        if own.averaged {
            let averages = self.laid_out("average", layout);
            let inputs = vec![parameters, schedule, state, floats(averages, [elements].into())];
            self.launch_of(Kernel::Average, &[elements, training.groups], inputs, 3 * elements, "average");
        }
    }

    /// For each block of parameters, where its gradients lie.
    fn segments_of(&self, training: &Training, layout: &ParameterLayout) -> Vec<u32> {
        let mut content = Vec::with_capacity(layout.elements() / ALIGNMENT * SEGMENT);
        for (index, (name, shape, _)) in layout.entries().iter().enumerate() {
            let trained = training.trained.iter().find(|trained| trained.parameter == *name);
            let group = trained.map_or(0, |trained| trained.group);
            for block in (0..aligned(shape.elements())).step_by(ALIGNMENT) {
                // A parameter without a gradient stays as it is: it has no partial sums.
                let Segment { offset, parts, stride } =
                    self.segments.get(&index).copied().unwrap_or(Segment { offset: 0, parts: 0, stride: 0 });
                let parameters = (shape.elements() - block).min(ALIGNMENT);
                content.extend([offset + block, parts, stride, parameters, group].map(|word| word as u32));
            }
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
            beside: false,
        });
    }
}
