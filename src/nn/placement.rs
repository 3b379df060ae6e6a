//! Placement: shape inference through lists of layers, which names everything inside them.

use super::layer::{Axes, Layer, Misfit, Structure, TiedLinear, too_large};
use super::{Blocks, Context, MAX_ELEMENTS, MAX_LAYERS, Parameter, Placed, elements, too_many_parameters};
use crate::error::{Error, Result, suggest};
use crate::graph::{Graph, Value};
use crate::shape::Shape;

/// The deepest nesting of lists of layers.
const MAX_DEPTH: usize = 16;

/// Places `layers` on samples of shape `input`, without named blocks. Fails where a layer does not fit, with its key
/// such as `encoder.0.conv2d`.
pub fn place(list: &str, layers: &[Layer], input: &Shape) -> Result<Vec<Placed>> {
    place_with(&Blocks::new(), list, layers, input)
}

/// As [`place`], for layers that may use these blocks. The result has the layers of blocks and repetitions as if they
/// had been written one by one, and the layers of residual and skip connections as [`Placed::inside`].
pub fn place_with(blocks: &Blocks, list: &str, layers: &[Layer], input: &Shape) -> Result<Vec<Placed>> {
    let mut placing = Placing { blocks, open: Vec::new(), layers: 0, parameters: 0 };
    placing.list(&At { name: list.to_owned(), key: list.to_owned(), note: String::new(), depth: 0 }, layers, input)
}

/// All layers of a list and inside its layers, each before the layers inside it.
pub fn walk(layers: &[Placed]) -> Vec<&Placed> {
    layers
        .iter()
        .flat_map(|layer| std::iter::once(layer).chain(layer.inside.iter().flat_map(|list| walk(list))))
        .collect()
}

/// Fails where a layer is tied to a layer that does not exist, or whose weight has another shape.
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

/// Replaces the help of an error of shapes behind these layers, where a linear layer among them acts on the last axis
/// of an image alone: a forgotten "flatten", which shows only where shapes disagree later, is then the likelier cause.
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

/// The state of a placement.
struct Placing<'a> {
    blocks: &'a Blocks,
    /// The blocks that are being placed, each inside the one before it.
    open: Vec<&'a str>,
    /// Number of layers so far.
    layers: usize,
    /// Number of elements of all parameters so far.
    parameters: usize,
}

/// The position of a list in the model.
struct At {
    /// The prefix of its parameters' names.
    name: String,
    /// The path of its key in the model file.
    key: String,
    /// The layer that uses the list, as the end of a sentence, where the key does not show it.
    note: String,
    depth: usize,
}

impl At {
    /// The position of a list inside the layer of this index.
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
    /// Places a list of layers.
    fn list(&mut self, at: &At, layers: &'a [Layer], input: &Shape) -> Result<Vec<Placed>> {
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
            let result = match layer {
                Layer::Structure(structure) => self.structure(at, index, structure, &shape),
                layer => self.layer(at, index, layer, &shape).map(|layer| vec![layer]),
            };
            placed.extend(result.map_err(|error| with_forgotten_flatten(error, &placed))?);
            shape = end(&placed, input);
        }
        Ok(placed)
    }

    /// Counts a layer. Fails where there are more than [`MAX_LAYERS`].
    fn count(&mut self, at: &At, key: &str) -> Result<()> {
        self.layers += 1;
        match self.layers {
            0..=MAX_LAYERS => Ok(()),
            _ => Err(at.error(key, &format!("the model has more than {MAX_LAYERS} layers here"), "repeat fewer times")),
        }
    }

    /// Places a layer without lists.
    fn layer(&mut self, at: &At, index: usize, layer: &Layer, input: &Shape) -> Result<Placed> {
        let name = format!("{}.{index}", at.name);
        let key = format!("{}.{index}.{}", at.key, layer.name());
        self.count(at, &key)?;
        let output = layer.output_shape(input).map_err(|misfit| at.error(&key, &misfit.problem, &misfit.help))?;
        let kind = layer.kind();
        let parameters = kind.parameters(input).into_iter().map(|spec| (spec, true));
        let parameters: Vec<_> = parameters.chain(kind.state(input).into_iter().map(|spec| (spec, false))).collect();
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
            flops: kind.flops(input, &output),
            name,
            key,
            layer: layer.clone(),
            input: input.clone(),
            output,
            inside: Vec::new(),
        })
    }

    /// Places a layer made of lists: a repetition or a block as the layers that it is made of.
    fn structure(&mut self, at: &At, index: usize, structure: &'a Structure, input: &Shape) -> Result<Vec<Placed>> {
        let layer = Layer::Structure(structure.clone());
        let key = format!("{}.{index}.{}", at.key, layer.name());
        let refuse = |misfit: Misfit| at.error(&key, &misfit.problem, &misfit.help);
        match structure {
            Structure::Repeat { times: 0, .. } => {
                return Err(at.error(&key, "times must be at least 1, got 0", "use a positive number"));
            }
            Structure::Repeat { times, layers } => return self.repeat(at, index, *times, layers, input),
            Structure::Block { name } => {
                let (name, layers) = self.block(name).map_err(refuse)?;
                self.open.push(name);
                let mut inside = at.inside(index, "", "block");
                inside.note = format!(" where {}.{index} uses the block", at.name);
                inside.key = format!("blocks.{name}");
                let placed = self.list(&inside, layers, input)?;
                self.open.pop();
                return Ok(placed);
            }
            Structure::Residual { .. } | Structure::Skip { .. } | Structure::TeacherForced { .. } => (),
        }
        let branch_input = structure.branch_input(input).map_err(refuse)?;
        let branches = structure.branches().into_iter();
        let inside: Vec<Vec<Placed>> = branches
            .map(|(name, key, layers)| self.list(&at.inside(index, name, key), layers, &branch_input))
            .collect::<Result<_>>()?;
        let ends: Vec<Shape> = inside.iter().map(|list| end(list, &branch_input)).collect();
        let output = structure.joined(input, &ends).map_err(refuse)?;
        if let Structure::TeacherForced { .. } = structure
            && let Some(layer) = inside.iter().flat_map(|list| walk(list)).find(|layer| !layer.layer.steps().causal)
        {
            let problem = format!("{} looks at more than a step and those before it", layer.layer.name());
            let help = "use layers that do not, such as lstm, gru, linear, layer_norm and causal attention";
            return Err(Error::invalid(&*layer.key, problem, help));
        }
        self.count(at, &key)?;
        if elements(&output).is_none_or(|count| count > MAX_ELEMENTS) {
            return Err(refuse(too_large(&output)));
        }
        let (name, parameters) = (format!("{}.{index}", at.name), Vec::new());
        let flops = layer.kind().flops(input, &output);
        Ok(vec![Placed { name, key, layer, input: input.clone(), output, parameters, flops, inside }])
    }

    fn repeat(
        &mut self,
        at: &At,
        index: usize,
        times: usize,
        layers: &'a [Layer],
        input: &Shape,
    ) -> Result<Vec<Placed>> {
        let mut placed = Vec::new();
        for time in 0..times {
            let mut inside = at.inside(index, &time.to_string(), "repeat.layers");
            if time > 0 {
                inside.note = format!(" in repetition {}{}", time + 1, at.note);
            }
            placed.extend(self.list(&inside, layers, &end(&placed, input))?);
        }
        Ok(placed)
    }

    /// The block of this name. Fails where there is none, or where the block contains itself.
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

/// The output shape of a list of layers on this input.
fn end(list: &[Placed], input: &Shape) -> Shape {
    list.last().map_or(input, |last| &last.output).clone()
}

impl Placed {
    /// Whether the layer keeps running statistics of batches; then a sample's output in training depends on other
    /// samples.
    pub(crate) fn keeps_statistics(&self) -> bool {
        self.parameters.iter().any(|parameter| !parameter.trained)
    }

    /// Applies the layer to a batch, `[n, ..input]` to `[n, ..output]`, with its parameters under their full names.
    pub fn apply(&self, context: &mut Context, x: Value) -> Result<Value> {
        let scope = context.set_scope(&*self.name);
        let result = self.layer.kind().apply(self, context, x);
        context.set_scope(scope);
        let output = result?;
        context.set_output(&self.name, output);
        Ok(output)
    }

    /// Reshapes a batch to the shape of the layer's output, `[n, ..output]`.
    pub(super) fn reshaped(&self, graph: &mut Graph, y: Value) -> Result<Value> {
        let batch = graph.shape(y)[0];
        let output: Shape = std::iter::once(batch).chain(self.output.iter().copied()).collect();
        graph.reshape(y, output)
    }

    /// The layer's parameter of this index.
    pub(super) fn parameter(&self, graph: &mut Graph, index: usize) -> Result<Value> {
        let parameter = &self.parameters[index];
        graph.parameter(&parameter.name, parameter.shape.clone())
    }
}
