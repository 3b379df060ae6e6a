//! Layers made of lists of layers: residual and skip connections, repetition, and the use of a named block. What is
//! computed is [`nn::place`](crate::nn::place)'s to work out, since the lists inside have names and shapes of their own.

use super::Layer;
use super::kind::{CAUSAL, Key, Kind, MIXED, Misfit, Setting, Steps, misfit, product};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::nn::{self, Context, Placed};
use crate::shape::Shape;

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
    /// The sum of what the body and the shortcut make of the input: He et al., arXiv 1512.03385.
    Residual {
        /// The layers whose result is added.
        body: Vec<Layer>,
        /// What is done to the input before the sum; nothing where there are no layers.
        shortcut: Vec<Layer>,
    },
    /// The input and what the body makes of it, one after the other along the first axis: channels or features.
    /// Huang et al., arXiv 1608.06993.
    Skip {
        /// The layers whose result stands after the input.
        body: Vec<Layer>,
    },
    /// The same layers several times, one after the other, each time with parameters of their own.
    Repeat {
        /// How many times.
        times: usize,
        /// The layers.
        layers: Vec<Layer>,
    },
    /// A decoder of sequences whose steps depend on what came before: Williams and Zipser (1989), Sutskever et al.,
    /// arXiv 1409.3215. Behind the features of each step of `[steps, any]` stand those that the body gave at the step before,
    /// zeros before the first. In training they are the target's, so that all steps are computed at once (teacher forcing);
    /// in use they are the body's own, which takes as many rounds over the sequence as it has steps.
    TeacherForced {
        /// Features of a step of the result.
        features: usize,
        /// The layers, from `[steps, any + features]` to `[steps, features]`, none of which looks at later steps.
        body: Vec<Layer>,
    },
    /// The layers of this name in the model's `[blocks]`, with parameters of their own.
    Block {
        /// The name.
        name: String,
    },
}

impl Structure {
    /// One of each kind, as an example of what a model file must give.
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

    /// How the structure itself treats steps; the layers inside are asked on their own.
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

impl Kind for Structure {
    fn name(&self) -> &'static str {
        match self {
            Structure::Residual { .. } => "residual",
            Structure::Skip { .. } => "skip",
            Structure::Repeat { .. } => "repeat",
            Structure::TeacherForced { .. } => "teacher_forced",
            Structure::Block { .. } => "block",
        }
    }

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Structure::Residual { body, shortcut } => {
                vec![
                    Key::needed("body", Setting::Part(Box::new(body))),
                    Key::optional("shortcut", Setting::Part(Box::new(shortcut))),
                ]
            }
            Structure::Skip { body } => vec![Key::needed("body", Setting::Part(Box::new(body)))],
            Structure::Repeat { times, layers } => {
                vec![
                    Key::needed("times", Setting::Whole(times)),
                    Key::needed("layers", Setting::Part(Box::new(layers))),
                ]
            }
            Structure::TeacherForced { features, body } => {
                vec![
                    Key::needed("features", Setting::Whole(features)),
                    Key::needed("body", Setting::Part(Box::new(body))),
                ]
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

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        let placed = nn::place("layer", &[Layer::Structure(self.clone())], input);
        let placed = placed.map_err(|error| match error {
            Error::Invalid { what, problem, help } => misfit!("{what}: {problem}"; "{help}"),
            error => misfit!("{error}"; "change this layer"),
        })?;
        placed.last().map(|layer| layer.output.clone()).ok_or_else(|| misfit!("has no layers"; "write at least one"))
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        match self {
            Structure::Residual { .. } => product(output),
            // The layers inside count for themselves.
            Structure::Skip { .. }
            | Structure::Repeat { .. }
            | Structure::TeacherForced { .. }
            | Structure::Block { .. } => 0,
        }
    }

    fn apply(&self, placed: &Placed, cx: &mut Context, x: Value) -> Result<Value> {
        if let (Structure::TeacherForced { features, .. }, [body]) = (self, &placed.inside[..]) {
            return teacher_forced(body, *features, cx, x);
        }
        let mut results = Vec::with_capacity(placed.inside.len());
        for list in &placed.inside {
            results.push(list.iter().try_fold(x, |x, layer| layer.apply(cx, x))?);
        }
        match (self, &results[..]) {
            (Structure::Residual { .. }, [body, shortcut]) => cx.add(*shortcut, *body),
            (Structure::Skip { .. }, [body]) => cx.concat(&[x, *body], 1),
            // Repetitions and blocks stand in the list as the layers that they are made of.
            (_, results) => Ok(results.last().copied().unwrap_or(x)),
        }
    }
}

/// What the body gives for each step of x and what stands before it, which is the target's, or its own: every round makes
/// one more step what it would be if steps were taken one by one, since the body does not look at later ones.
fn teacher_forced(body: &[Placed], features: usize, cx: &mut Context, x: Value) -> Result<Value> {
    let [n, steps] = [cx.shape(x)[0], cx.shape(x)[1]];
    let (mut y, rounds) = match cx.target() {
        Some(target) => (cx.reshape(target, [n, steps, features])?, 1),
        None => (cx.constant(0.0, [n, steps, features])?, steps),
    };
    for _ in 0..rounds {
        let before = match steps {
            1 => cx.constant(0.0, [n, steps, features])?,
            _ => {
                let all_but_last = cx.slice(y, &[0, 0, 0], [n, steps - 1, features])?;
                cx.pad(all_but_last, &[0, 1, 0], &[0, 0, 0])?
            }
        };
        let both = cx.concat(&[x, before], 2)?;
        y = body.iter().try_fold(both, |y, layer| layer.apply(cx, y))?;
    }
    Ok(y)
}
