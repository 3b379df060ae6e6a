//! Layers at their places: the walk of a shape through lists of layers, which gives everything inside its name.

use std::collections::BTreeMap;

use super::layer::{Axes, Layer, Misfit, Structure, TiedLinear, too_large};
use super::{Context, MAX_ELEMENTS, Parameter, Placed, elements, too_many_parameters};
use crate::error::{Error, Result, suggest};
use crate::graph::{Graph, Value};
use crate::shape::Shape;

/// The most layers of a model, each repetition counted.
pub const MAX_LAYERS: usize = 10_000;

/// The most steps of a sequence that follow each from the one before by layers of one's own choice: a plan holds them all.
const MAX_ROUNDS: usize = 256;

/// How deep lists of layers may stand inside of each other.
const MAX_DEPTH: usize = 16;

/// Named lists of layers, which other lists may use.
pub type Blocks = BTreeMap<String, Vec<Layer>>;

/// Walks `input` through `layers`, in which there are no named blocks. An error names the layer that does not fit, as
/// `encoder.0.conv2d`.
pub fn place(list: &str, layers: &[Layer], input: &Shape) -> Result<Vec<Placed>> {
    place_with(&Blocks::new(), list, layers, input)
}

/// Walks `input` through `layers`, which may use these blocks. Layers of blocks and repetitions stand in the result as
/// if they had been written one by one; those of residual and skip connections are [`Placed::inside`].
pub fn place_with(blocks: &Blocks, list: &str, layers: &[Layer], input: &Shape) -> Result<Vec<Placed>> {
    let mut placing = Placing { blocks, open: Vec::new(), layers: 0, parameters: 0 };
    placing.list(&At { name: list.to_owned(), key: list.to_owned(), note: String::new(), depth: 0 }, layers, input)
}

/// All layers of a list and those inside of them, each before what is inside of it.
pub fn walk(layers: &[Placed]) -> Vec<&Placed> {
    layers
        .iter()
        .flat_map(|layer| std::iter::once(layer).chain(layer.inside.iter().flat_map(|list| walk(list))))
        .collect()
}

/// Fails where a layer takes the weight of another that has none, or one of another shape.
pub(crate) fn check_ties(lists: [&[Placed]; 2]) -> Result<()> {
    let layers: Vec<&Placed> = lists.into_iter().flat_map(walk).collect();
    for tied in &layers {
        let Layer::TiedLinear(TiedLinear { to, out, .. }) = &tied.layer else { continue };
        let mut linear = layers.iter().filter(|layer| matches!(layer.layer, Layer::Linear(_)));
        let Some(other) = linear.clone().find(|layer| layer.name == *to) else {
            let help = suggest(to, linear.by_ref().map(|layer| layer.name.as_str()));
            return Err(Error::invalid(&*tied.key, format!("there is no linear layer {to:?}"), help));
        };
        let weight: Shape = [*tied.input.last().unwrap_or(&0), *out].into();
        if other.parameters[0].shape != weight {
            let problem = format!("the weight of {to:?} is {}, but {weight} is needed", other.parameters[0].shape);
            let help = "let out be what goes into that layer, and what comes out of it go in here";
            return Err(Error::invalid(&*tied.key, problem, help));
        }
    }
    Ok(())
}

/// An error of shapes behind these layers, with the help that is likelier to be meant where a linear layer among them acts on
/// the last axis of an image alone: a forgotten "flatten" shows only where shapes disagree later.
pub(crate) fn with_forgotten_flatten(error: Error, before: &[Placed]) -> Error {
    const HELP: &str = "put \"flatten\" before";
    let linear = |layer: &&Placed| matches!(layer.layer.axes(), Axes::Features | Axes::Tied);
    let spread = walk(before).into_iter().filter(linear).find(|layer| layer.input.len() > 2);
    match (error, spread) {
        (Error::Invalid { what, problem, help }, Some(layer)) if !help.starts_with(HELP) => {
            let help = format!("{HELP} {}, which acts on the last axis of {} alone, or {help}", layer.key, layer.input);
            Error::Invalid { what, problem, help }
        }
        (error, _) => error,
    }
}

struct Placing<'a> {
    blocks: &'a Blocks,
    /// The blocks that are being walked through, each inside the one before it.
    open: Vec<&'a str>,
    layers: usize,
    parameters: usize,
}

/// Where a list stands.
struct At {
    /// What its parameters' names begin with.
    name: String,
    /// The path of its key in the model file.
    key: String,
    /// Who uses it, where the key does not say so.
    note: String,
    depth: usize,
}

impl At {
    /// The place of a list inside of the layer of this index.
    fn inside(&self, index: usize, name: &str, key: &str) -> At {
        let dot = if name.is_empty() { "" } else { "." };
        At {
            name: format!("{}.{index}{dot}{name}", self.name),
            key: format!("{}.{index}.{key}", self.key),
            note: self.note.clone(),
            depth: self.depth + 1,
        }
    }

    fn error(&self, key: &str, problem: &str, help: &str) -> Error {
        Error::invalid(key, format!("{problem}{}", self.note), help)
    }
}

impl<'a> Placing<'a> {
    fn list(&mut self, at: &At, layers: &'a [Layer], input: &Shape) -> Result<Vec<Placed>>
    where
        'a: 'a,
    {
        if layers.is_empty() && at.depth > 0 {
            return Err(at.error(&at.key, "has no layers", "write at least one, such as { linear = 32 }"));
        }
        if at.depth > MAX_DEPTH {
            let problem = format!("lists stand more than {MAX_DEPTH} deep inside of each other");
            return Err(at.error(&at.key, &problem, "use fewer levels"));
        }
        let mut shape = input.clone();
        let mut placed: Vec<Placed> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let first = placed.len();
            match layer {
                Layer::Structure(structure) => self
                    .structure(at, index, structure, &shape, &mut placed)
                    .map_err(|error| with_forgotten_flatten(error, &placed[..first]))?,
                layer => {
                    let layer = self.layer(at, index, layer, &shape);
                    placed.push(layer.map_err(|error| with_forgotten_flatten(error, &placed))?);
                }
            }
            if let Some(last) = placed[first..].last() {
                shape = last.output.clone();
            }
        }
        Ok(placed)
    }

    fn count(&mut self, at: &At, key: &str) -> Result<()> {
        self.layers += 1;
        match self.layers {
            0..=MAX_LAYERS => Ok(()),
            _ => Err(at.error(key, &format!("the model has more than {MAX_LAYERS} layers here"), "repeat fewer times")),
        }
    }

    fn layer(&mut self, at: &At, index: usize, layer: &Layer, input: &Shape) -> Result<Placed> {
        let name = format!("{}.{index}", at.name);
        let key = format!("{}.{index}.{}", at.key, layer.name());
        self.count(at, &key)?;
        let output = layer.output_shape(input).map_err(|misfit| at.error(&key, &misfit.problem, &misfit.help))?;
        let parameters = layer.parameters(input).into_iter().map(|spec| (spec, true));
        let parameters: Vec<_> = parameters.chain(layer.state(input).into_iter().map(|spec| (spec, false))).collect();
        for (spec, _) in &parameters {
            let sum = elements(&spec.shape).and_then(|size| size.checked_add(self.parameters));
            self.parameters = sum
                .filter(|sum| *sum <= MAX_ELEMENTS)
                .ok_or_else(|| too_many_parameters(&key, &format!("with a {} of {} it", spec.name, spec.shape)))?;
        }
        let parameters = parameters.into_iter().map(|(spec, trained)| Parameter {
            name: format!("{name}.{}", spec.name),
            shape: spec.shape,
            initial: spec.initial,
            trained,
        });
        Ok(Placed {
            parameters: parameters.collect(),
            flops: layer.flops(input),
            name,
            key,
            layer: layer.clone(),
            input: input.clone(),
            output,
            inside: Vec::new(),
        })
    }

    fn structure(
        &mut self,
        at: &At,
        index: usize,
        structure: &'a Structure,
        input: &Shape,
        placed: &mut Vec<Placed>,
    ) -> Result<()> {
        let layer = Layer::Structure(structure.clone());
        let key = format!("{}.{index}.{}", at.key, layer.name());
        let refuse = |misfit: Misfit| at.error(&key, &misfit.problem, &misfit.help);
        let end = |list: &[Placed]| list.last().map_or(input, |last| &last.output).clone();
        let (inside, output) = match structure {
            Structure::Repeat { times: 0, .. } => {
                return Err(at.error(&key, "times must be at least 1, got 0", "use a positive number"));
            }
            Structure::Repeat { times, layers } => return self.repeat(at, index, *times, layers, input, placed),
            Structure::Block { name } => {
                let (name, layers) = self.block(name).map_err(refuse)?;
                self.open.push(name);
                let mut inside = at.inside(index, "", "block");
                inside.note = format!(" where {}.{index} uses the block", at.name);
                inside.key = format!("blocks.{name}");
                placed.extend(self.list(&inside, layers, input)?);
                self.open.pop();
                return Ok(());
            }
            Structure::Residual { body, shortcut } => {
                let body = self.list(&at.inside(index, "body", "residual.body"), body, input)?;
                let shortcut = match shortcut.is_empty() {
                    true => Vec::new(),
                    false => self.list(&at.inside(index, "shortcut", "residual.shortcut"), shortcut, input)?,
                };
                let sum = residual_output(end(&body), end(&shortcut), shortcut.is_empty()).map_err(refuse)?;
                (vec![body, shortcut], sum)
            }
            Structure::Skip { body } => {
                let body = self.list(&at.inside(index, "body", "skip"), body, input)?;
                let output = skip_output(end(&body), input).map_err(refuse)?;
                (vec![body], output)
            }
            Structure::TeacherForced { features, body } => {
                let joined = teacher_forced_input(*features, input).map_err(refuse)?;
                let output: Shape = [joined[0], *features].into();
                let body = self.list(&at.inside(index, "body", "teacher_forced.body"), body, &joined)?;
                if body.last().is_none_or(|layer| layer.output != output) {
                    let problem = format!("the body gives {}, not {output}", end(&body));
                    return Err(at.error(&key, &problem, &format!("add {{ linear = {features} }} to it")));
                }
                if let Some(layer) = walk(&body).into_iter().find(|layer| !layer.layer.steps().causal) {
                    let problem = format!("{} looks at more than a step and those before it", layer.layer.name());
                    let help = "use layers that do not, such as lstm, gru, linear, layer_norm and causal attention";
                    return Err(Error::invalid(&*layer.key, problem, help));
                }
                (vec![body], output)
            }
        };
        self.count(at, &key)?;
        if elements(&output).is_none_or(|count| count > MAX_ELEMENTS) {
            return Err(refuse(too_large(&output)));
        }
        let (name, parameters) = (format!("{}.{index}", at.name), Vec::new());
        let flops = layer.kind().flops(input, &output);
        placed.push(Placed { name, key, layer, input: input.clone(), output, parameters, flops, inside });
        Ok(())
    }

    fn repeat(
        &mut self,
        at: &At,
        index: usize,
        times: usize,
        layers: &'a [Layer],
        input: &Shape,
        placed: &mut Vec<Placed>,
    ) -> Result<()> {
        let mut shape = input.clone();
        for time in 0..times {
            let mut inside = at.inside(index, &time.to_string(), "repeat.layers");
            if time > 0 {
                inside.note = format!(" in repetition {}{}", time + 1, at.note);
            }
            let list = self.list(&inside, layers, &shape)?;
            shape = list.last().map_or(shape, |last| last.output.clone());
            placed.extend(list);
        }
        Ok(())
    }

    /// The block of this name, in which it must not be open already.
    fn block(&self, name: &str) -> Result<(&'a str, &'a [Layer]), Misfit> {
        let blocks = self.blocks;
        let Some((name, layers)) = blocks.get_key_value(name) else {
            let help = match blocks.is_empty() {
                true => format!("write {name} = [{{ linear = 64 }}] below a [blocks] line, say"),
                false => suggest(name, blocks.keys().map(String::as_str)),
            };
            return Err(Misfit::new(format!("unknown block {name:?}"), help));
        };
        match self.open.contains(&name.as_str()) {
            true => Err(Misfit::new(format!("block {name:?} contains itself"), "leave it out there")),
            false => Ok((name, layers)),
        }
    }
}

/// The shape of a residual connection, whose body and shortcut (or input, where it has no shortcut) give these shapes.
fn residual_output(sum: Shape, other: Shape, from_input: bool) -> Result<Shape, Misfit> {
    if sum == other {
        return Ok(sum);
    }
    let (what, help) = match (from_input, sum.len()) {
        (false, _) => ("the shortcut", "change one of them".to_owned()),
        (_, 3) if sum[..2] != other[..2] => {
            let conv = format!("{{ conv2d = {{ out = {}, kernel = 1 }} }}", sum[0]);
            ("the input", format!("add shortcut = [{conv}], with the body's stride"))
        }
        _ => ("the input", format!("add shortcut = [{{ linear = {} }}], say", sum.last().unwrap_or(&1))),
    };
    Err(Misfit::new(format!("the body gives {sum}, {what} {other}"), help))
}

/// The shape of an input with the body's output behind it along the first axis.
fn skip_output(end: Shape, input: &Shape) -> Result<Shape, Misfit> {
    let first = input.first().zip(end.first()).and_then(|(x, y)| x.checked_add(*y));
    match first.filter(|_| end.len() == input.len() && end[1..] == input[1..]) {
        Some(first) => Ok(std::iter::once(first).chain(input[1..].iter().copied()).collect()),
        None => {
            let problem = format!("the body gives {end}, which does not stand after {input}");
            Err(Misfit::new(problem, "let the body keep all sizes but the first"))
        }
    }
}

/// What goes into the body of a teacher-forced decoder: each step with the features of the step before it.
fn teacher_forced_input(features: usize, input: &Shape) -> Result<Shape, Misfit> {
    let [steps, width] = input[..] else {
        let problem = format!("expects [steps, features], got {input}");
        return Err(Misfit::new(problem, "put { repeat_vector = STEPS } before it"));
    };
    if steps > MAX_ROUNDS {
        let problem = format!("takes at most {MAX_ROUNDS} steps, got {steps}");
        return Err(Misfit::new(problem, "use shorter sequences, or repeat_vector alone"));
    }
    match width.checked_add(features).filter(|_| features > 0) {
        Some(joined) => Ok([steps, joined].into()),
        None => Err(Misfit::new(format!("features cannot be {features}"), "write 28, say")),
    }
}

impl Placed {
    /// Whether the layer keeps statistics of batches, by which training makes a sample's output depend on other samples.
    pub(crate) fn keeps_statistics(&self) -> bool {
        self.parameters.iter().any(|parameter| !parameter.trained)
    }

    /// This layer on a batch: `[n, ..input]` to `[n, ..output]`, its parameters under their full names.
    pub fn apply(&self, cx: &mut Context, x: Value) -> Result<Value> {
        let scope = cx.set_scope(&*self.name);
        let result = self.layer.kind().apply(self, cx, x);
        cx.set_scope(scope);
        let output = result?;
        cx.set_output(&self.name, output);
        Ok(output)
    }

    /// The batch under the shape of this layer's output, `[n, ..output]`.
    pub(super) fn reshaped(&self, graph: &mut Graph, y: Value) -> Result<Value> {
        let batch = graph.shape(y)[0];
        let output: Shape = std::iter::once(batch).chain(self.output.iter().copied()).collect();
        graph.reshape(y, output)
    }

    /// The parameter of this place in the layer's list.
    pub(super) fn parameter(&self, graph: &mut Graph, index: usize) -> Result<Value> {
        let parameter = &self.parameters[index];
        graph.parameter(&parameter.name, parameter.shape.clone())
    }
}
