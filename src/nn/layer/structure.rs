//! Layers made of lists of layers: residual and skip connections, repetition, teacher forcing, and the use of a named
//! block. [`nn::place`](crate::nn::place) places the layers inside; their shapes are joined here.

use super::Layer;
use super::kind::*;
use crate::nn::MAX_LAYERS;

/// The largest number of steps of a teacher-forced decoder: a plan holds the rounds of all steps.
const MAX_ROUNDS: usize = 256;

/// A layer made of lists of layers. The parameters inside are named as by these modules of PyTorch:
///
/// ```python
/// class Residual(nn.Module):
///     def __init__(self, body, shortcut=None):
///         super().__init__()
///         self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut or [])
///     def forward(self, x):
///         return self.shortcut(x) + self.body(x)
///
/// class Skip(nn.Module):
///     def __init__(self, body):
///         super().__init__()
///         self.body = nn.Sequential(*body)
///     def forward(self, x):
///         return torch.cat([x, self.body(x)], 1)
///
/// def repeat(times, make_layers):
///     return nn.Sequential(*[nn.Sequential(*make_layers()) for _ in range(times)])
///
/// class TeacherForced(nn.Module):
///     def __init__(self, features, body):
///         super().__init__()
///         self.features, self.body = features, nn.Sequential(*body)
///     def forward(self, x, target=None):
///         y = torch.zeros(*x.shape[:2], self.features) if target is None else target
///         for _ in range(x.shape[1] if target is None else 1):
///             before = F.pad(y, (0, 0, 1, 0))[:, :-1]
///             y = self.body(torch.cat([x, before], 2))
///         return y
///
/// def block(make_layers):
///     return nn.Sequential(*make_layers())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Structure {
    /// Residual connection, the sum of the body's and the shortcut's output: He et al., arXiv 1512.03385.
    Residual {
        /// The layers of the body.
        body: Vec<Layer>,
        /// The layers of the shortcut; none for the identity.
        shortcut: Vec<Layer>,
    },
    /// Skip connection, the input and the body's output concatenated along the first axis (channels or features): Huang
    /// et al., arXiv 1608.06993.
    Skip {
        /// The layers of the body.
        body: Vec<Layer>,
    },
    /// A list of layers several times in sequence, each time with separate parameters.
    Repeat {
        /// Number of times.
        times: usize,
        /// The layers.
        layers: Vec<Layer>,
    },
    /// Autoregressive decoder of sequences, trained by teacher forcing: Williams and Zipser (1989), Sutskever et al.,
    /// arXiv 1409.3215. The body sees the features of each step of `[steps, any]` concatenated with the previous step's
    /// output, zeros before the first step. In training the previous output is the target's, so that one round computes
    /// all steps; in evaluation it is the body's, which takes as many rounds over the sequence as there are steps.
    TeacherForced {
        /// Features of a step of the output.
        features: usize,
        /// The layers, from `[steps, any + features]` to `[steps, features]`, none of which may depend on later steps.
        body: Vec<Layer>,
    },
    /// A list of the model's `[blocks]`, with separate parameters in each use.
    Block {
        /// The name of the block.
        name: String,
    },
}

impl Structure {
    /// An example of each kind.
    pub(super) fn templates() -> [Structure; 5] {
        let layers = || vec![Layer::Linear(super::Linear::new(64))];
        [
            Structure::Residual { body: layers(), shortcut: Vec::new() },
            Structure::Skip { body: layers() },
            Structure::Repeat { times: 4, layers: layers() },
            Structure::TeacherForced { features: 64, body: layers() },
            Structure::Block { name: "down".to_owned() },
        ]
    }

    /// How the structure itself treats steps, without the layers inside.
    pub(super) fn steps(&self) -> Steps {
        match self {
            Structure::Residual { .. } => CAUSAL,
            Structure::Skip { .. }
            | Structure::Repeat { .. }
            | Structure::TeacherForced { .. }
            | Structure::Block { .. } => MIXED,
        }
    }
}

/// The lists of a structure that computes something of its lists' outputs, and how it joins them.
impl Structure {
    /// The lists that are applied to one input, each with its name in PyTorch's module and its key below a layer; none
    /// of a repetition or a block, which stand for the layers that they are made of.
    pub(in crate::nn) fn branches(&self) -> Vec<(&'static str, &'static str, &[Layer])> {
        match self {
            Structure::Residual { body, shortcut } if shortcut.is_empty() => vec![("body", "residual.body", body)],
            Structure::Residual { body, shortcut } => {
                vec![("body", "residual.body", body), ("shortcut", "residual.shortcut", shortcut)]
            }
            Structure::Skip { body } => vec![("body", "skip", body)],
            Structure::TeacherForced { body, .. } => vec![("body", "teacher_forced.body", body)],
            Structure::Repeat { .. } | Structure::Block { .. } => Vec::new(),
        }
    }

    /// The shape that goes into the branches.
    pub(in crate::nn) fn branch_input(&self, input: &Shape) -> Result<Shape, Misfit> {
        let Structure::TeacherForced { features, .. } = self else { return Ok(input.clone()) };
        let [steps, width] = input[..] else {
            let help = "put { repeat_vector = STEPS } before it";
            return Err(misfit!("expects [steps, features], got {input}"; "{help}"));
        };
        if steps > MAX_ROUNDS {
            let help = "use shorter sequences, or repeat_vector alone";
            return Err(misfit!("takes at most {MAX_ROUNDS} steps, got {steps}"; "{help}"));
        }
        let joined = width.checked_add(*features).filter(|_| *features > 0);
        let joined = joined.ok_or_else(|| misfit!("features cannot be {features}"; "write 28, say"))?;
        Ok([steps, joined].into())
    }

    /// The output shape, where the branches end in these shapes.
    pub(in crate::nn) fn joined(&self, input: &Shape, ends: &[Shape]) -> Result<Shape, Misfit> {
        let end = ends.first().unwrap_or(input);
        match self {
            Structure::Residual { .. } => residual_output(end, ends.get(1), input),
            Structure::Skip { .. } => {
                let first = input.first().zip(end.first()).and_then(|(x, y)| x.checked_add(*y));
                let first = first.filter(|_| end.len() == input.len() && end[1..] == input[1..]);
                let first = first.ok_or_else(|| {
                    let help = "let the body keep all sizes but the first";
                    misfit!("the body gives {end}, which does not stand after {input}"; "{help}")
                })?;
                Ok(std::iter::once(first).chain(input[1..].iter().copied()).collect())
            }
            Structure::TeacherForced { features, .. } => {
                let output = Shape::from([input[0], *features]);
                match *end == output {
                    true => Ok(output),
                    false => Err(misfit!("the body gives {end}, not {output}"; "add {{ linear = {features} }} to it")),
                }
            }
            Structure::Repeat { .. } | Structure::Block { .. } => Ok(end.clone()),
        }
    }
}

/// The output shape of a residual connection, whose body ends in `sum`, and its shortcut, where it has one, in
/// `shortcut`.
fn residual_output(sum: &Shape, shortcut: Option<&Shape>, input: &Shape) -> Result<Shape, Misfit> {
    let other = shortcut.unwrap_or(input);
    if sum == other {
        return Ok(sum.clone());
    }
    let (what, help) = match (shortcut, sum.len()) {
        (Some(_), _) => ("the shortcut", "change one of them".to_owned()),
        (None, 3) if other.len() == 3 && sum[..2] != other[..2] => {
            let conv = format!("{{ conv2d = {{ out = {}, kernel = 1 }} }}", sum[0]);
            ("the input", format!("add shortcut = [{conv}], with the body's stride"))
        }
        (None, _) => ("the input", format!("add shortcut = [{{ linear = {} }}], say", sum.last().unwrap_or(&1))),
    };
    Err(misfit!("the body gives {sum}, {what} {other}"; "{help}"))
}

/// The setting of a list of layers.
fn list(layers: &mut Vec<Layer>) -> Setting<'_> {
    Setting::Part(Box::new(layers))
}

impl Kind for Structure {
    name! {
        Structure::Residual { .. } => "residual", Structure::Skip { .. } => "skip",
        Structure::Repeat { .. } => "repeat", Structure::TeacherForced { .. } => "teacher_forced",
        Structure::Block { .. } => "block"
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Structure::Residual { body, shortcut } => {
                vec![Key::needed("body", list(body)), Key::optional("shortcut", list(shortcut))]
            }
            Structure::Skip { body } => vec![Key::needed("body", list(body))],
            Structure::Repeat { times, layers } => {
                vec![Key::needed("times", Setting::Whole(times)), Key::needed("layers", list(layers))]
            }
            Structure::TeacherForced { features, body } => {
                vec![Key::needed("features", Setting::Whole(features)), Key::needed("body", list(body))]
            }
            Structure::Block { name } => vec![Key::needed("name", Setting::Word(name))],
        }
    }

    fn lists_mut(&mut self) -> Vec<&mut Vec<Layer>> {
        match self {
            Structure::Residual { body, shortcut } => vec![body, shortcut],
            Structure::Skip { body } | Structure::TeacherForced { body, .. } => vec![body],
            Structure::Repeat { layers, .. } => vec![layers],
            Structure::Block { .. } => vec![],
        }
    }

    /// The shapes of the layers inside are found without the blocks of a model; [`nn::place`](crate::nn::place) also
    /// holds the layers inside to their limits, and a teacher-forced body to causal layers.
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let end = |layers: &[Layer], input: &Shape| {
            layers.iter().enumerate().try_fold(input.clone(), |shape, (index, layer)| {
                let name = layer.name();
                let place = |Misfit { problem, help }| misfit!("layer {index}, {name}: {problem}"; "{help}");
                layer.output_shape(&shape).map_err(place)
            })
        };
        match self {
            Structure::Block { name } => Err(misfit!("unknown block {name:?}"; "place it with the model's blocks")),
            Structure::Repeat { times, .. } if !(1..=MAX_LAYERS).contains(times) => {
                Err(misfit!("times must be 1 to {MAX_LAYERS}, got {times}"; "use a smaller positive number"))
            }
            Structure::Repeat { times, layers } => (0..*times).try_fold(input.clone(), |shape, _| end(layers, &shape)),
            Structure::Residual { .. } | Structure::Skip { .. } | Structure::TeacherForced { .. } => {
                let inner = self.branch_input(input)?;
                let ends: Result<Vec<_>, _> =
                    self.branches().into_iter().map(|(_, _, layers)| end(layers, &inner)).collect();
                self.joined(input, &ends?)
            }
        }
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        match self {
            Structure::Residual { .. } => product(output),
            // The layers inside are counted separately.
            Structure::Skip { .. }
            | Structure::Repeat { .. }
            | Structure::TeacherForced { .. }
            | Structure::Block { .. } => 0,
        }
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        if let (Structure::TeacherForced { features, .. }, [body]) = (self, &placed.inside[..]) {
            return teacher_forced(body, *features, context, x);
        }
        let mut results = Vec::with_capacity(placed.inside.len());
        for list in &placed.inside {
            results.push(list.iter().try_fold(x, |x, layer| layer.apply(context, x))?);
        }
        match (self, &results[..]) {
            (Structure::Residual { .. }, [body]) => context.add(x, *body),
            (Structure::Residual { .. }, [body, shortcut]) => context.add(*shortcut, *body),
            (Structure::Skip { .. }, [body]) => context.concat(&[x, *body], 1),
            // Repetitions and blocks are placed as the layers that they are made of.
            (_, results) => Ok(results.last().copied().unwrap_or(x)),
        }
    }
}

/// The body's output on `x` concatenated with the output of each previous step, which is the target's where there is
/// one. Else every round completes one more step, as if steps were taken one by one, since the body does not depend on
/// later steps.
fn teacher_forced(body: &[Placed], features: usize, context: &mut Context, x: Value) -> Result<Value> {
    let [n, steps] = [context.shape(x)[0], context.shape(x)[1]];
    let (mut y, rounds) = match context.target() {
        Some(target) => (context.reshape(target, [n, steps, features])?, 1),
        None => (context.constant(0.0, [n, steps, features])?, steps),
    };
    for _ in 0..rounds {
        let before = match steps {
            1 => context.constant(0.0, [n, steps, features])?,
            _ => {
                let all_but_last = context.slice(y, &[0, 0, 0], [n, steps - 1, features])?;
                context.pad(all_but_last, &[0, 1, 0], &[0, 0, 0])?
            }
        };
        let both = context.concat(&[x, before], 2)?;
        y = body.iter().try_fold(both, |y, layer| layer.apply(context, y))?;
    }
    Ok(y)
}
