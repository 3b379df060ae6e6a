//! Normalisations and softmax.

use super::kind::{Initial, Key, Kind, Misfit, ParameterSpec, Setting, axis_of, misfit, no_axis, product};
use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::nn::{Context, Placed};
use crate::shape::Shape;

/// Normalisation of each channel or feature by its mean and variance over the batch and all other axes, on `[channels, ..]`:
/// Ioffe and Szegedy, arXiv 1502.03167.
///
/// Training normalises by the batch and lets running estimates follow, the variance's without bias; everything else
/// normalises by these. So does a step whose batch has only one element of each channel, such as the last one of an epoch: it
/// would leave nothing of what it normalises, and the estimates stay as they are. A training of such steps only is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// The part of the running estimates that each batch replaces.
    pub momentum: f64,
    /// Whether each channel is then multiplied with a weight and added to a bias.
    pub affine: bool,
}

/// Normalisation of each sample by its mean and variance over its last axes: Ba et al., arXiv 1607.06450.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// How many axes are normalised together, from the last one on.
    pub axes: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether each element of these axes is then multiplied with a weight and added to a bias.
    pub affine: bool,
}

/// Normalisation of each sample by its mean and variance over groups of channels and all other axes, on `[channels, ..]`:
/// Wu and He, arXiv 1803.08494. With as many groups as channels it is [`InstanceNorm`].
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups of neighbouring channels, all of one size.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether each channel is then multiplied with a weight and added to a bias.
    pub affine: bool,
}

/// Normalisation of each channel of each sample by its mean and variance over all other axes, on `[channels, ..]`: Ulyanov et
/// al., arXiv 1607.08022. It is the same in training and in use, as PyTorch's without running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Whether each channel is then multiplied with a weight and added to a bias.
    pub affine: bool,
}

/// Each sample divided by the root of the mean square over its last axes: Zhang and Sennrich, arXiv 1910.07467.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    /// How many axes are normalised together, from the last one on.
    pub axes: usize,
    /// Added to the mean square.
    pub eps: f64,
    /// Whether each element of these axes is then multiplied with a weight.
    pub affine: bool,
}

/// Each sample divided by its Euclidean norm, which counts as at least 1e-6: TensorFlow's `l2_normalize`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitNorm;

/// Positive numbers whose sum along an axis is 1, or their logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// The sample's axis; 0 is that of channels or features, -1 the last.
    pub axis: isize,
    /// Whether logarithms come out.
    pub logarithm: bool,
}

impl BatchNorm {
    /// With PyTorch's defaults.
    pub fn new() -> BatchNorm {
        BatchNorm { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm::new()
    }
}

impl LayerNorm {
    /// Over the last axes, with PyTorch's defaults.
    pub fn new(axes: usize) -> LayerNorm {
        LayerNorm { axes, eps: 1e-5, affine: true }
    }
}

impl GroupNorm {
    /// A normalisation over `groups` groups, with PyTorch's defaults.
    pub fn new(groups: usize) -> GroupNorm {
        GroupNorm { groups, eps: 1e-5, affine: true }
    }
}

impl InstanceNorm {
    /// With PyTorch's defaults: no weights.
    pub fn new() -> InstanceNorm {
        InstanceNorm { eps: 1e-5, affine: false }
    }
}

impl Default for InstanceNorm {
    fn default() -> InstanceNorm {
        InstanceNorm::new()
    }
}

impl RmsNorm {
    /// Over the last axes, with PyTorch's defaults in 32 bits, where `eps` is the machine's.
    pub fn new(axes: usize) -> RmsNorm {
        RmsNorm { axes, eps: 1.1920929e-7, affine: true }
    }
}

impl Kind for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::optional("eps", Setting::Number(&mut self.eps)),
            Key::optional("momentum", Setting::Number(&mut self.momentum)),
            Key::optional("affine", Setting::Flag(&mut self.affine)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        check_epsilon(self.eps)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(misfit!("momentum must be between 0 and 1, got {:?}", self.momentum; "use 0.1, say"));
        }
        has_axes(input, 1)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias(self.affine, [input[0]].into())
    }

    fn state(&self, input: &Shape) -> Vec<ParameterSpec> {
        let spec = |name, shape: Shape, value| ParameterSpec { name, shape, initial: Initial::Constant(value) };
        vec![
            spec("running_mean", [input[0]].into(), 0.0),
            spec("running_var", [input[0]].into(), 1.0),
            spec("num_batches_tracked", Shape::default(), 0.0),
        ]
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        // By the running estimates.
        product(input).saturating_mul(if self.affine { 4 } else { 2 })
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let first = if self.affine { 2 } else { 0 };
        let (mean, variance) = (placed.parameter(cx, first)?, placed.parameter(cx, first + 1)?);
        let shape = cx.shape(x).clone();
        let count = (shape.elements() / shape[1]) as f64;
        let y = if cx.training().is_some() && count > 1.0 {
            let axes: Vec<usize> = (0..shape.len()).filter(|axis| *axis != 1).collect();
            let batch = cx.standardise(x, &axes, self.eps)?;
            let unbiased = cx.scale(batch.variance, count / (count - 1.0))?;
            for (estimate, now) in [(mean, batch.mean), (variance, unbiased)] {
                let kept = cx.scale(estimate, 1.0 - self.momentum)?;
                let part = cx.scale(now, self.momentum)?;
                let next = cx.add(kept, part)?;
                cx.assign(estimate, next)?;
            }
            let steps = placed.parameter(cx, first + 2)?;
            let next = cx.with_number(Binary::Add, steps, 1.0)?;
            cx.assign(steps, next)?;
            batch.output
        } else {
            let mean = along_channels(cx, mean, placed)?;
            let centred = cx.subtract(x, mean)?;
            let variance = cx.with_number(Binary::Add, variance, self.eps)?;
            let deviation = cx.unary(Unary::SquareRoot, variance)?;
            let scale = cx.unary(Unary::Reciprocal, deviation)?;
            let scale = along_channels(cx, scale, placed)?;
            cx.multiply(centred, scale)?
        };
        affine(placed, cx, y, self.affine)
    }
}

impl Kind for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        keys_of_last_axes(&mut self.axes, &mut self.eps, &mut self.affine)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        with_last_axes(self.axes, self.eps, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias(self.affine, input[input.len() - self.axes..].into())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(if self.affine { 7 } else { 5 })
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let rank = cx.shape(x).len();
        let axes: Vec<usize> = (rank - self.axes..rank).collect();
        let y = cx.standardise(x, &axes, self.eps)?.output;
        if !self.affine {
            return Ok(y);
        }
        let (weight, bias) = (placed.parameter(cx, 0)?, placed.parameter(cx, 1)?);
        let y = cx.multiply(y, weight)?;
        cx.add(y, bias)
    }
}

impl Kind for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("groups", Setting::Whole(&mut self.groups)),
            Key::optional("eps", Setting::Number(&mut self.eps)),
            Key::optional("affine", Setting::Flag(&mut self.affine)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        check_epsilon(self.eps)?;
        let shape = has_axes(input, 1)?;
        if self.groups == 0 || !input[0].is_multiple_of(self.groups) {
            let problem = format!("{} channels cannot be cut into {} groups of one size", input[0], self.groups);
            return Err(misfit!("{problem}"; "use a divisor of {}", input[0]));
        }
        Ok(shape)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias(self.affine, [input[0]].into())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(if self.affine { 7 } else { 5 })
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let shape = cx.shape(x).clone();
        let grouped = cx.reshape(x, [shape[0], self.groups, shape.elements() / shape[0] / self.groups])?;
        let y = cx.standardise(grouped, &[2], self.eps)?.output;
        let y = cx.reshape(y, shape)?;
        affine(placed, cx, y, self.affine)
    }
}

impl Kind for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance_norm"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::optional("eps", Setting::Number(&mut self.eps)),
            Key::optional("affine", Setting::Flag(&mut self.affine)),
        ]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        check_epsilon(self.eps)?;
        let shape = has_axes(input, 2)?;
        if product(&input[1..]) == 1 {
            let problem = format!("a channel of {input} has one element, of which nothing but 0 would be left");
            return Err(
                misfit!("{problem}"; "put it where channels have more, or use \"layer_norm\" after \"flatten\""),
            );
        }
        Ok(shape)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        weight_and_bias(self.affine, [input[0]].into())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(if self.affine { 7 } else { 5 })
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let shape = cx.shape(x).clone();
        let channels = cx.reshape(x, [shape[0], shape[1], shape[2..].iter().product()])?;
        let y = cx.standardise(channels, &[2], self.eps)?.output;
        let y = cx.reshape(y, shape)?;
        affine(placed, cx, y, self.affine)
    }
}

impl Kind for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        keys_of_last_axes(&mut self.axes, &mut self.eps, &mut self.affine)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        with_last_axes(self.axes, self.eps, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = weight_and_bias(self.affine, input[input.len() - self.axes..].into());
        weight.into_iter().take(1).collect()
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(if self.affine { 4 } else { 3 })
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let mut shape = cx.shape(x).to_vec();
        let axes: Vec<usize> = (shape.len() - self.axes..shape.len()).collect();
        shape[axes[0]..].fill(1);
        let square = cx.unary(Unary::Square, x)?;
        let mean = cx.mean(square, &axes)?;
        let mean = cx.with_number(Binary::Add, mean, self.eps)?;
        let root = cx.unary(Unary::SquareRoot, mean)?;
        let inverse = cx.unary(Unary::Reciprocal, root)?;
        let inverse = cx.reshape(inverse, shape)?;
        let y = cx.multiply(x, inverse)?;
        if !self.affine {
            return Ok(y);
        }
        let weight = placed.parameter(cx, 0)?;
        cx.multiply(y, weight)
    }
}

impl Kind for UnitNorm {
    fn name(&self) -> &'static str {
        "unit_norm"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(3)
    }

    fn apply(&self, _placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        let mut shape = cx.shape(x).to_vec();
        let axes: Vec<usize> = (1..shape.len()).collect();
        shape[1..].fill(1);
        let square = cx.unary(Unary::Square, x)?;
        let sum = cx.sum(square, &axes)?;
        // Before the root, whose derivative at 0 is infinite.
        let sum = cx.with_number(Binary::Maximum, sum, 1e-12)?;
        let norm = cx.unary(Unary::SquareRoot, sum)?;
        let inverse = cx.unary(Unary::Reciprocal, norm)?;
        let inverse = cx.reshape(inverse, shape)?;
        cx.multiply(x, inverse)
    }
}

impl Kind for Softmax {
    fn name(&self) -> &'static str {
        if self.logarithm { "log_softmax" } else { "softmax" }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::short("axis", Setting::Axis(&mut self.axis))]
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        axis_of(self.axis, input.len()).map_or_else(|| Err(no_axis(self.axis, input)), |_| Ok(input.clone()))
    }

    fn flops(&self, input: &Shape, _output: &Shape) -> u64 {
        product(input).saturating_mul(4)
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        // The batch is the first axis of a value.
        let axes = [axis_of(self.axis, placed.input.len()).unwrap_or(0) + 1];
        if self.logarithm { cx.log_softmax(x, &axes) } else { cx.softmax(x, &axes) }
    }
}

/// The keys of a layer that normalises over last axes.
fn keys_of_last_axes<'a>(axes: &'a mut usize, eps: &'a mut f64, affine: &'a mut bool) -> Vec<Key<'a>> {
    vec![
        Key::short("axes", Setting::Whole(axes)),
        Key::optional("eps", Setting::Number(eps)),
        Key::optional("affine", Setting::Flag(affine)),
    ]
}

/// The shape that a layer over this many last axes keeps.
fn with_last_axes(axes: usize, eps: f64, input: &Shape) -> Result<Shape, Misfit> {
    check_epsilon(eps)?;
    match (1..=input.len()).contains(&axes) {
        true => Ok(input.clone()),
        false => Err(misfit!("axes = {axes} does not fit {input}"; "use 1 to {}", input.len())),
    }
}

fn check_epsilon(eps: f64) -> Result<(), Misfit> {
    match eps.is_finite() && eps > 0.0 {
        true => Ok(()),
        false => Err(misfit!("eps must be a positive number, got {eps:?}"; "use 1e-5, say")),
    }
}

fn has_axes(input: &Shape, least: usize) -> Result<Shape, Misfit> {
    let expected = if least > 1 { "[channels, .., length]" } else { "[channels, ..]" };
    match input.len() >= least {
        true => Ok(input.clone()),
        false => Err(misfit!("expects {expected}, got {input}"; "change the layer before it")),
    }
}

/// PyTorch's start: ones and zeros.
fn weight_and_bias(affine: bool, shape: Shape) -> Vec<ParameterSpec> {
    let spec = |name, value| ParameterSpec { name, shape: shape.clone(), initial: Initial::Constant(value) };
    if affine { vec![spec("weight", 1.0), spec("bias", 0.0)] } else { Vec::new() }
}

/// One number for each channel, shaped so that it spreads over a sample.
fn along_channels(graph: &mut Graph, numbers: Value, placed: &Placed) -> Result<Value> {
    let mut shape = vec![1; placed.output.len()];
    shape[0] = placed.output[0];
    graph.reshape(numbers, shape)
}

/// Each channel times its weight, plus its bias.
fn affine(placed: &Placed, graph: &mut Graph, y: Value, affine: bool) -> Result<Value> {
    if !affine {
        return Ok(y);
    }
    let (weight, bias) = (placed.parameter(graph, 0)?, placed.parameter(graph, 1)?);
    let (weight, bias) = (along_channels(graph, weight, placed)?, along_channels(graph, bias, placed)?);
    let y = graph.multiply(y, weight)?;
    graph.add(y, bias)
}
