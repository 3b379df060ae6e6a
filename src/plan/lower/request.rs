//! The inputs of planning, and its stages.

use super::Lowering;
use super::launch::Home;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, Value};
use crate::plan::LayoutEntry;
use crate::plan::buffers::{AVERAGE, PARAMETERS};
use crate::plan::channels_last::{Arranged, Order};
use crate::plan::fusion::{fuse, reads, storage};
use crate::plan::kernels::Kernel;
use crate::plan::memory::{ALIGNMENT, ParameterLayout, aligned};
use crate::plan::plan::Plan;
use crate::plan::precision::halves;
use crate::plan::target::Target;
use crate::plan::training::{Metrics, Training};
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};

/// The inputs from which a plan is made.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The plan's name, for messages.
    pub name: &'a str,
    /// The graph.
    pub graph: &'a Graph,
    /// Values to be stored in buffers of these names.
    pub outputs: Vec<(Value, String)>,
    /// The parameters' layout; plans that share parameters share the layout.
    pub layout: &'a ParameterLayout,
    /// Gradients and an optimiser, for a training step.
    pub training: Option<Training>,
    /// The metrics reported for every step.
    pub metrics: Option<Metrics>,
    /// The device that will run the plan.
    pub target: Target,
}

impl Plan {
    /// Plans the computation of a graph's `outputs`, each stored in the buffer of its name, for any device.
    pub fn new(name: &str, graph: &Graph, outputs: &[(Value, &str)]) -> Result<Plan> {
        Plan::on(&Target::default(), name, graph, outputs)
    }

    /// As [`Plan::new`], for a device.
    pub fn on(target: &Target, name: &str, graph: &Graph, outputs: &[(Value, &str)]) -> Result<Plan> {
        Plan::build(Request {
            name,
            graph,
            outputs: outputs.iter().map(|(value, name)| (*value, (*name).to_owned())).collect(),
            layout: &ParameterLayout::of(graph),
            training: None,
            metrics: None,
            target: target.clone(),
        })
    }

    /// The plan of a request. Fails where a parameter of the graph is not in the layout.
    ///
    /// A value that the graph computes twice can be made once and kept, or made again in the launch that reads it, which
    /// may then need no memory. Of the two plans the one that is estimated to be faster is returned; a software adapter,
    /// for which nothing is estimated, makes values again.
    pub fn build(request: Request) -> Result<Plan> {
        let again = Plan::build_once(&request, false)?;
        if request.target.software || request.target.without.sharing {
            return Ok(again);
        }
        let shared = Plan::build_once(&request, true)?;
        let time = |plan: &Plan| -> f64 {
            plan.launch_estimates(&request.target.hardware).map(|launch| launch.microseconds).sum()
        };
        Ok(if time(&shared) < time(&again) { shared } else { again })
    }

    fn build_once(request: &Request, shares: bool) -> Result<Plan> {
        let Request { name, layout, training, metrics, target, .. } = request;
        let indices = layout.entries().iter().enumerate().map(|(index, entry)| (entry.name.as_str(), index));
        let indices: HashMap<&str, usize> = indices.collect();
        let index_of = |name: &str| indices.get(name).copied().ok_or_else(|| unknown(name));
        let mut arranged = Arranged::new(request.graph, Kernel::Map.row().fused(target.storage_buffers()), shares);
        let results = Results::arrange(request, index_of, &mut arranged)?;
        let graph = &arranged.graph;
        let all = results.storages(graph);
        let summed: HashSet<Value> = results.gradients.iter().map(|(value, _)| storage(graph, *value)).collect();
        let groups = fuse(graph, &all, &summed, target);
        let full = results.gradients.iter().chain(&results.assigned).map(|(value, _)| *value).chain(results.metric);
        let halves = if target.half { halves(graph, &groups, full) } else { HashSet::new() };
        let mut uses: HashMap<Value, usize> = HashMap::new();
        for value in all.into_iter().chain(groups.iter().flat_map(|group| reads(graph, group))) {
            *uses.entry(value).or_default() += 1;
        }

        let mut lowering = Lowering::new(graph, target, uses, halves);
        lowering.place_sources(layout, index_of)?;
        lowering.place_outputs(&results.wanted);
        let blocks = lowering.place_assigned(&results.assigned, layout);
        let copied = lowering.place_gradients(&results.gradients);
        lowering.metric = results.metric.map(|value| storage(graph, value)).filter(|value| lowering.is_alone(*value));
        lowering.narrow(name, layout);
        for group in &groups {
            lowering.launch(group);
        }
        for (value, parameter) in copied {
            let home = lowering.segment(parameter, graph.shape(value).elements(), 1);
            lowering.copied.push((value, home));
        }
        for (value, home) in std::mem::take(&mut lowering.copied) {
            lowering.copy(value, home);
        }
        let mut guard = None;
        if let Some(training) = training {
            let state = results.state.ok_or_else(|| unknown("the step state"))?;
            guard = lowering.update(name, training, layout, state, &results.units);
        }
        if !blocks.is_empty() {
            // The average takes assigned parameters unchanged, so they are equal in both.
            let averaged = training.as_ref().is_some_and(|training| training.gradients.averaged);
            let targets = [Some(PARAMETERS), averaged.then_some(AVERAGE)];
            lowering.assign(name, layout, blocks, guard, targets.into_iter().flatten());
        }
        if let (Some(metrics), Some(values), Some(state)) = (metrics, results.metric, results.state) {
            lowering.advance(metrics, values, state);
        }
        if !target.without.pairs {
            lowering.pair();
        }
        Ok(lowering.finish(name))
    }
}

/// The values of the arranged graph that a plan computes; numbers paired with values are indices into the layout.
struct Results<'a> {
    wanted: Vec<(Value, &'a str)>,
    gradients: Vec<(Value, usize)>,
    assigned: Vec<(Value, usize)>,
    /// Matrices whose columns are kept at length 1.
    units: Vec<usize>,
    metric: Option<Value>,
    state: Option<Value>,
}

impl<'a> Results<'a> {
    fn arrange(
        request: &'a Request,
        index_of: impl Fn(&str) -> Result<usize>,
        arranged: &mut Arranged,
    ) -> Result<Results<'a>> {
        let graph = request.graph;
        let wanted =
            request.outputs.iter().map(|(value, buffer)| (arranged.value(*value, Order::First), buffer.as_str()));
        let wanted = wanted.collect();
        let mut gradients = Vec::new();
        for trained in request.training.iter().flat_map(|training| &training.trained) {
            let index = index_of(&trained.parameter)?;
            gradients.push((arranged.value(trained.gradient, Order::Last), index));
        }
        let mut assigned = Vec::new();
        for (parameter, value) in graph.assignments() {
            let Op::Parameter { name } = &graph.node(*parameter).op else { continue };
            let index = index_of(name)?;
            assigned.push((arranged.value(*value, Order::Last), index));
        }
        let mut units = Vec::new();
        for parameter in graph.unit_columns() {
            let Op::Parameter { name } = &graph.node(*parameter).op else { continue };
            units.push(index_of(name)?);
        }
        let metrics = request.metrics.as_ref();
        let metric = metrics.map(|metrics| arranged.value(metrics.values, Order::First));
        let state = metrics.map(|metrics| arranged.value(metrics.state, Order::First));
        Ok(Results { wanted, gradients, assigned, units, metric, state })
    }

    /// The storage of every result, once for each place that takes it.
    fn storages(&self, graph: &Graph) -> Vec<Value> {
        let wanted = self.wanted.iter().map(|(value, _)| value);
        let all = wanted.chain(self.gradients.iter().chain(&self.assigned).map(|(value, _)| value)).chain(&self.metric);
        all.map(|value| storage(graph, *value)).collect()
    }
}

impl Lowering<'_> {
    /// Lets a result be computed in a home if nothing else uses it, and else be copied there at the end: two values in
    /// one buffer may meet in one launch.
    fn place(&mut self, value: Value, home: Home, alone: bool) {
        match alone {
            true => drop(self.homes.insert(value, home)),
            false => self.copied.push((value, home)),
        }
    }

    /// Gives outputs their buffers.
    fn place_outputs(&mut self, wanted: &[(Value, &str)]) {
        for (value, name) in wanted {
            let value = storage(self.graph, *value);
            let node = self.graph.node(value);
            let home = Home::Lasting { buffer: self.buffer(name, node.dtype, node.shape.elements()), offset: 0 };
            // Output buffers are 32-bit; values stored in 16 bits are copied there.
            let alone = self.is_alone(value) && !self.halves.contains(&value);
            self.place(value, home, alone);
        }
    }

    /// Places values that are assigned to parameters; returns the blocks in which they are moved to the parameters.
    fn place_assigned(&mut self, assigned: &[(Value, usize)], layout: &ParameterLayout) -> Vec<u32> {
        let mut blocks: Vec<u32> = Vec::new();
        for (value, parameter) in assigned {
            let value = storage(self.graph, *value);
            let LayoutEntry { shape, offset, .. } = &layout.entries()[*parameter];
            let start = blocks.len() / 2 * ALIGNMENT;
            for block in (0..aligned(shape.elements())).step_by(ALIGNMENT) {
                blocks.extend([offset + block, (shape.elements() - block).min(ALIGNMENT)].map(|word| word as u32));
            }
            let buffer = self.buffer("assigned", DType::Float, blocks.len() / 2 * ALIGNMENT);
            let alone = self.is_alone(value);
            self.place(value, Home::Lasting { buffer, offset: start }, alone);
        }
        blocks
    }

    /// Records values that are used only as gradients; returns the others, which are copied to the gradients.
    fn place_gradients(&mut self, gradients: &[(Value, usize)]) -> Vec<(Value, usize)> {
        let gradients = gradients.iter().map(|(value, parameter)| (storage(self.graph, *value), *parameter));
        let (alone, copied): (Vec<_>, Vec<_>) = gradients.partition(|(value, _)| self.is_alone(*value));
        self.gradients.extend(alone);
        copied
    }

    /// Whether a result is computed, taken once and read by no launch.
    fn is_alone(&self, value: Value) -> bool {
        self.uses.get(&value) == Some(&1) && !self.homes.contains_key(&value)
    }
}

fn unknown(what: &str) -> Error {
    Error::invalid("plan", format!("{what} is not in the layout of parameters"), "lay out every parameter of the model")
}
