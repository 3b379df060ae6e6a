//! The inputs of planning, and its stages.

use super::Lowering;
use super::launch::Home;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, Value};
use crate::plan::LayoutEntry;
use crate::plan::channels_last::{Arranged, Order};
use crate::plan::fusion::{fuse, reads, storage};
use crate::plan::kernel::Kernel;
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
    pub fn build(request: Request) -> Result<Plan> {
        let Request { name, layout, training, metrics, target, .. } = &request;
        let names = layout.entries().iter().enumerate().map(|(place, entry)| (entry.name.as_str(), place));
        let places = Places(names.collect());
        let mut arranged = Arranged::new(request.graph, Kernel::Map.row().fused(target.storage_buffers()));
        let results = Results::arrange(&request, &places, &mut arranged)?;
        let graph = &arranged.graph;
        let all = results.storages(graph);
        let summed: HashSet<Value> = results.gradients.iter().map(|(value, _)| storage(graph, *value)).collect();
        let groups = fuse(graph, &all, &summed, target);
        let full = results.gradients.iter().chain(&results.assigned).map(|(value, _)| *value).chain(results.metric);
        let halves = if target.half { halves(graph, &groups, full) } else { HashSet::new() };

        let mut lowering = Lowering::new(graph, target, halves);
        lowering.place_sources(layout, |name| places.of(name))?;
        // A result that launches read, or that is wanted in two places, is copied to its place at the end, since two
        // values in one buffer may meet in one launch.
        let uses = Uses::new(&all, groups.iter().flat_map(|group| reads(graph, group)));
        let mut copies = lowering.place_outputs(&results.wanted, &uses);
        let blocks = lowering.place_assigned(&results.assigned, layout, &uses, &mut copies);
        let copied = lowering.place_gradients(&results.gradients, &uses);
        lowering.metric =
            results.metric.map(|value| storage(graph, value)).filter(|value| lowering.is_alone(*value, &uses));
        lowering.narrow(name, layout);
        for group in &groups {
            lowering.launch(group);
        }
        for (value, parameter) in copied {
            let home = lowering.segment(parameter, graph.shape(value).elements(), 1).0;
            copies.push((value, home));
        }
        for (value, home) in copies {
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
            let targets = [Some("parameters"), averaged.then_some("average")];
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

/// Places of the parameters in the layout, by name.
struct Places<'a>(HashMap<&'a str, usize>);

impl Places<'_> {
    fn of(&self, name: &str) -> Result<usize> {
        self.0.get(name).copied().ok_or_else(|| unknown(name))
    }
}

/// The values of the arranged graph that a plan computes; numbers paired with values are places in the layout.
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
    fn arrange(request: &'a Request, places: &Places, arranged: &mut Arranged) -> Result<Results<'a>> {
        let graph = request.graph;
        let wanted =
            request.outputs.iter().map(|(value, buffer)| (arranged.value(*value, Order::First), buffer.as_str()));
        let wanted = wanted.collect();
        let mut gradients = Vec::new();
        for trained in request.training.iter().flat_map(|training| &training.trained) {
            let place = places.of(&trained.parameter)?;
            gradients.push((arranged.value(trained.gradient, Order::Last), place));
        }
        let mut assigned = Vec::new();
        for (parameter, value) in graph.assignments() {
            let Op::Parameter { name } = &graph.node(*parameter).op else { continue };
            let place = places.of(name)?;
            assigned.push((arranged.value(*value, Order::Last), place));
        }
        let mut units = Vec::new();
        for parameter in graph.unit_columns() {
            let Op::Parameter { name } = &graph.node(*parameter).op else { continue };
            units.push(places.of(name)?);
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

/// How results are used.
struct Uses {
    /// Number of places that take each result.
    times: HashMap<Value, usize>,
    /// Values that launches read.
    read: HashSet<Value>,
}

impl Uses {
    fn new(results: &[Value], read: impl Iterator<Item = Value>) -> Uses {
        let mut times: HashMap<Value, usize> = HashMap::new();
        results.iter().for_each(|result| *times.entry(*result).or_default() += 1);
        Uses { times, read: read.collect() }
    }
}

impl Lowering<'_> {
    /// Gives outputs their buffers; returns those that are to be copied there.
    fn place_outputs(&mut self, wanted: &[(Value, &str)], uses: &Uses) -> Vec<(Value, Home)> {
        let mut copies = Vec::new();
        for (value, name) in wanted {
            let value = storage(self.graph, *value);
            let node = self.graph.node(value);
            let home = Home::Lasting { buffer: self.buffer(name, node.dtype, node.shape.elements()), offset: 0 };
            // Output buffers are 32-bit; values stored in 16 bits are copied there.
            if self.is_alone(value, uses) && !self.halves.contains(&value) {
                self.homes.insert(value, home);
            } else {
                copies.push((value, home));
            }
        }
        copies
    }

    /// Places values that are assigned to parameters; returns the blocks in which they are moved to the parameters.
    fn place_assigned(
        &mut self,
        assigned: &[(Value, usize)],
        layout: &ParameterLayout,
        uses: &Uses,
        copies: &mut Vec<(Value, Home)>,
    ) -> Vec<u32> {
        let mut blocks: Vec<u32> = Vec::new();
        for (value, parameter) in assigned {
            let value = storage(self.graph, *value);
            let LayoutEntry { shape, offset, .. } = &layout.entries()[*parameter];
            let start = blocks.len() / 2 * ALIGNMENT;
            for block in (0..aligned(shape.elements())).step_by(ALIGNMENT) {
                blocks.extend([offset + block, (shape.elements() - block).min(ALIGNMENT)].map(|word| word as u32));
            }
            let buffer = self.buffer("assigned", DType::Float, blocks.len() / 2 * ALIGNMENT);
            let home = Home::Lasting { buffer, offset: start };
            match self.is_alone(value, uses) {
                true => drop(self.homes.insert(value, home)),
                false => copies.push((value, home)),
            }
        }
        blocks
    }

    /// Records values that are used only as gradients; returns the others, which are copied to the gradients.
    fn place_gradients(&mut self, gradients: &[(Value, usize)], uses: &Uses) -> Vec<(Value, usize)> {
        let mut copied = Vec::new();
        for (value, parameter) in gradients {
            let value = storage(self.graph, *value);
            if self.is_alone(value, uses) {
                self.gradients.insert(value, *parameter);
            } else {
                copied.push((value, *parameter));
            }
        }
        copied
    }

    /// Whether a result is computed, taken once and read by no launch.
    fn is_alone(&self, value: Value, uses: &Uses) -> bool {
        let once = uses.times.get(&value) == Some(&1);
        once && !self.homes.contains_key(&value) && !uses.read.contains(&value)
    }
}

fn unknown(what: &str) -> Error {
    Error::invalid("plan", format!("{what} is not in the layout of parameters"), "lay out every parameter of the model")
}
