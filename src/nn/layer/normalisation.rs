//! Normalisations and softmax.

use super::kind::*;
use crate::graph::{Binary, Unary};

/// Batch normalisation, Ioffe and Szegedy, arXiv 1502.03167: of each channel or feature by its mean and variance over
/// the batch and all other axes, on `[channels, ..]`.
///
/// Training normalises by the batch's statistics and updates running estimates of them (of the variance the unbiased
/// one); evaluation normalises by the running estimates. So does a training step whose batch has one element of each
/// channel, as the last step of an epoch may have: by its own statistics every element would become 0. The estimates
/// then stay as they are. Training that consists of such steps alone is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// The weight of the new batch in each update of the running estimates.
    pub momentum: f64,
    /// Whether each channel is then multiplied by a weight and added to a bias.
    pub affine: bool,
}

/// Layer normalisation, Ba et al., arXiv 1607.06450: of each sample by its mean and variance over its last axes.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Number of last axes that are normalised together.
    pub axes: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether each element of these axes is then multiplied by a weight and added to a bias.
    pub affine: bool,
}

/// Group normalisation, Wu and He, arXiv 1803.08494: of each sample by its mean and variance over each group of
/// channels and all other axes, on `[channels, ..]`. With one channel in each group it is [`InstanceNorm`].
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// Number of groups of neighbouring channels, all of one size.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether each channel is then multiplied by a weight and added to a bias.
    pub affine: bool,
}

/// Instance normalisation, Ulyanov et al., arXiv 1607.08022: of each channel of each sample by its mean and variance
/// over all other axes, on `[channels, ..]`; in training and evaluation alike, as PyTorch's without running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Whether each channel is then multiplied by a weight and added to a bias.
    pub affine: bool,
}

/// Division of each sample by the root of the mean square over its last axes: Zhang and Sennrich, arXiv 1910.07467.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    /// Number of last axes that are normalised together.
    pub axes: usize,
    /// Added to the mean square.
    pub eps: f64,
    /// Whether each element of these axes is then multiplied by a weight.
    pub affine: bool,
}

/// Division of each sample by its Euclidean norm, which counts as at least 1e-6: TensorFlow's `l2_normalize`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitNorm;

/// Softmax along an axis, or its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// The sample's axis; 0 is the axis of channels or features, -1 the last.
    pub axis: isize,
    /// Whether the output is the logarithm.
    pub logarithm: bool,
}

impl Default for BatchNorm {
    /// PyTorch's defaults.
    fn default() -> BatchNorm {
        BatchNorm { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

impl LayerNorm {
    /// Creates a normalisation over this number of last axes, with PyTorch's defaults.
    pub fn new(axes: usize) -> LayerNorm {
        LayerNorm { axes, eps: 1e-5, affine: true }
    }
}

impl GroupNorm {
    /// Creates a normalisation over `groups` groups, with PyTorch's defaults.
    pub fn new(groups: usize) -> GroupNorm {
        GroupNorm { groups, eps: 1e-5, affine: true }
    }
}

impl Default for InstanceNorm {
    /// PyTorch's defaults: no weights.
    fn default() -> InstanceNorm {
        InstanceNorm { eps: 1e-5, affine: false }
    }
}

impl RmsNorm {
    /// Creates a normalisation over this number of last axes, with PyTorch's defaults for `float32`, of which `eps` is
    /// the machine epsilon.
    pub fn new(axes: usize) -> RmsNorm {
        RmsNorm { axes, eps: 1.1920929e-7, affine: true }
    }
}

impl Kind for BatchNorm {
    name!("batch_norm");
    keys!(optional eps: Number, optional momentum: Number, optional affine: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        check_epsilon(self.eps)?;
        between_0_and_1("momentum", self.momentum)?;
        has_axes(input, 1)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        affine_parameters(self.affine, [input[0]].into())
    }

    fn state(&self, input: &Shape) -> Vec<ParameterSpec> {
        let spec = |name, shape: Shape, value| ParameterSpec { name, shape, initial: Initial::Constant(value) };
        vec![
            spec("running_mean", [input[0]].into(), 0.0),
            spec("running_var", [input[0]].into(), 1.0),
            spec("num_batches_tracked", Shape::default(), 0.0),
        ]
    }

    flops!(2, affine 4);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let first = if self.affine { 2 } else { 0 };
        let (mean, variance) = (placed.parameter(context, first)?, placed.parameter(context, first + 1)?);
        let shape = context.shape(x).clone();
        let count = (shape.elements() / shape[1]) as f64;
        let y = if context.training().is_some() && count > 1.0 {
            let axes: Vec<usize> = (0..shape.len()).filter(|axis| *axis != 1).collect();
            let batch = context.standardise(x, &axes, self.eps)?;
            let unbiased = context.scale(batch.variance, count / (count - 1.0))?;
            for (estimate, now) in [(mean, batch.mean), (variance, unbiased)] {
                let kept = context.scale(estimate, 1.0 - self.momentum)?;
                let part = context.scale(now, self.momentum)?;
                let next = context.add(kept, part)?;
                context.assign(estimate, next)?;
            }
            let steps = placed.parameter(context, first + 2)?;
            let next = context.with_number(Binary::Add, steps, 1.0)?;
            context.assign(steps, next)?;
            batch.output
        } else {
            let mean = along_channels(placed, context, mean)?;
            let centred = context.subtract(x, mean)?;
            let variance = context.with_number(Binary::Add, variance, self.eps)?;
            let scale = inverse_root(context, variance)?;
            let scale = along_channels(placed, context, scale)?;
            context.multiply(centred, scale)?
        };
        affine(placed, context, y, self.affine)
    }
}

impl Kind for LayerNorm {
    name!("layer_norm");
    keys!(short axes: Whole, optional eps: Number, optional affine: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        with_last_axes(self.axes, self.eps, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        affine_parameters(self.affine, input[input.len() - self.axes..].into())
    }

    flops!(5, affine 7);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let rank = context.shape(x).len();
        let axes: Vec<usize> = (rank - self.axes..rank).collect();
        let y = context.standardise(x, &axes, self.eps)?.output;
        if !self.affine {
            return Ok(y);
        }
        let (weight, bias) = (placed.parameter(context, 0)?, placed.parameter(context, 1)?);
        let y = context.multiply(y, weight)?;
        context.add(y, bias)
    }
}

impl Kind for GroupNorm {
    name!("group_norm");
    keys!(needed groups: Whole, optional eps: Number, optional affine: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        check_epsilon(self.eps)?;
        let shape = has_axes(input, 1)?;
        divisible(input[0], "channels", self.groups, "groups")?;
        Ok(shape)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        affine_parameters(self.affine, [input[0]].into())
    }

    flops!(5, affine 7);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let shape = context.shape(x).clone();
        let grouped = context.reshape(x, [shape[0], self.groups, shape.elements() / shape[0] / self.groups])?;
        let y = context.standardise(grouped, &[2], self.eps)?.output;
        let y = context.reshape(y, shape)?;
        affine(placed, context, y, self.affine)
    }
}

impl Kind for InstanceNorm {
    name!("instance_norm");
    keys!(optional eps: Number, optional affine: Flag);

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
        affine_parameters(self.affine, [input[0]].into())
    }

    flops!(5, affine 7);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        GroupNorm { groups: placed.input[0], eps: self.eps, affine: self.affine }.apply(placed, context, x)
    }
}

impl Kind for RmsNorm {
    name!("rms_norm");
    keys!(short axes: Whole, optional eps: Number, optional affine: Flag);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        with_last_axes(self.axes, self.eps, input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let weight = affine_parameters(self.affine, input[input.len() - self.axes..].into());
        weight.into_iter().take(1).collect()
    }

    flops!(3, affine 4);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let mut shape = context.shape(x).to_vec();
        let axes: Vec<usize> = (shape.len() - self.axes..shape.len()).collect();
        shape[axes[0]..].fill(1);
        let square = context.unary(Unary::Square, x)?;
        let mean = context.mean(square, &axes)?;
        let mean = context.with_number(Binary::Add, mean, self.eps)?;
        let inverse = inverse_root(context, mean)?;
        let inverse = context.reshape(inverse, shape)?;
        let y = context.multiply(x, inverse)?;
        if !self.affine {
            return Ok(y);
        }
        let weight = placed.parameter(context, 0)?;
        context.multiply(y, weight)
    }
}

impl Kind for UnitNorm {
    name!("unit_norm");

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    flops!(3);

    fn apply(&self, _placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let mut shape = context.shape(x).to_vec();
        let axes: Vec<usize> = (1..shape.len()).collect();
        shape[1..].fill(1);
        let square = context.unary(Unary::Square, x)?;
        let sum = context.sum(square, &axes)?;
        // Before the root, whose derivative at 0 is infinite.
        let sum = context.with_number(Binary::Maximum, sum, 1e-12)?;
        let inverse = inverse_root(context, sum)?;
        let inverse = context.reshape(inverse, shape)?;
        context.multiply(x, inverse)
    }
}

impl Kind for Softmax {
    name!(logarithm: false => "softmax", true => "log_softmax");
    keys!(short axis: Axis);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        axis_of(self.axis, input).map(|_| input.clone())
    }

    flops!(4);

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        // A value's first axis is the batch.
        let axes = [axis_of(self.axis, &placed.input).unwrap_or(0) + 1];
        if self.logarithm { context.log_softmax(x, &axes) } else { context.softmax(x, &axes) }
    }
}

/// The output shape of a layer over this number of last axes.
fn with_last_axes(axes: usize, eps: f64, input: &Shape) -> Result<Shape, Misfit> {
    check_epsilon(eps)?;
    match (1..=input.len()).contains(&axes) {
        true => Ok(input.clone()),
        false => Err(misfit!("axes = {axes} does not fit {input}"; "use 1 to {}", input.len())),
    }
}

/// Fails where `eps` is not a positive number.
fn check_epsilon(eps: f64) -> Result<(), Misfit> {
    match eps.is_finite() && eps > 0.0 {
        true => Ok(()),
        false => Err(misfit!("eps must be a positive number, got {eps:?}"; "use 1e-5, say")),
    }
}

/// The shape itself. Fails where it has fewer than `least` axes.
fn has_axes(input: &Shape, least: usize) -> Result<Shape, Misfit> {
    let expected = if least > 1 { "[channels, .., length]" } else { "[channels, ..]" };
    match input.len() >= least {
        true => Ok(input.clone()),
        false => Err(misfit!("expects {expected}, got {input}"; "change the layer before it")),
    }
}

/// Weight and bias of this shape, where the layer is affine, with PyTorch's initial values: ones and zeros.
fn affine_parameters(affine: bool, shape: Shape) -> Vec<ParameterSpec> {
    let spec = |name, value| ParameterSpec { name, shape: shape.clone(), initial: Initial::Constant(value) };
    if affine { vec![spec("weight", 1.0), spec("bias", 0.0)] } else { Vec::new() }
}

/// The reciprocal of the root of each element.
fn inverse_root(graph: &mut Graph, x: Value) -> Result<Value> {
    let root = graph.unary(Unary::SquareRoot, x)?;
    graph.unary(Unary::Reciprocal, root)
}

/// Multiplies each channel by its weight and adds its bias, where the layer is affine.
fn affine(placed: &Placed, graph: &mut Graph, y: Value, affine: bool) -> Result<Value> {
    if !affine {
        return Ok(y);
    }
    let (weight, bias) = (placed.parameter(graph, 0)?, placed.parameter(graph, 1)?);
    let (weight, bias) = (along_channels(placed, graph, weight)?, along_channels(placed, graph, bias)?);
    let y = graph.multiply(y, weight)?;
    graph.add(y, bias)
}
