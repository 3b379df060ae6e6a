//! Layers that an application defines.

use super::kind::*;
use std::fmt;
use std::sync::Arc;

/// The rules of a layer that an application defines. The layer consists of graph ops, so that its gradient is derived
/// and it runs on every device. Its parameters are trained, saved and loaded as other layers' are.
///
/// ```
/// use pinhole::graph::Value;
/// use pinhole::model::ModelSpec;
/// use pinhole::nn::{Context, CustomLayer, Initial, Layer, Misfit, ParameterSpec};
/// use pinhole::shape::Shape;
///
/// /// Every feature times a trained factor.
/// struct Scale;
///
/// impl CustomLayer for Scale {
///     fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
///         Ok(input.clone())
///     }
///
///     fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
///         vec![ParameterSpec { name: "scale", shape: input.clone(), initial: Initial::Constant(1.0) }]
///     }
///
///     fn apply(&self, context: &mut Context, x: Value, parameters: &[Value]) -> pinhole::Result<Value> {
///         context.multiply(x, parameters[0])
///     }
/// }
///
/// let mut spec = ModelSpec::resolve("dense")?;
/// spec.encoder.push(Layer::custom("scale", Scale));
/// assert!(spec.to_toml().contains("{ custom = \"scale\" }"));
/// # Ok::<(), pinhole::Error>(())
/// ```
pub trait CustomLayer: Send + Sync {
    /// The output shape of one sample of shape `input`, both without the batch. Fails where the layer does not take
    /// `input`.
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit>;

    /// The parameters for samples of shape `input`, which [`output_shape`](CustomLayer::output_shape) has accepted. The
    /// parameter `scale` of the layer `encoder.4` is `encoder.4.scale` in files.
    fn parameters(&self, _input: &Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// Builds the layer's nodes on a batch, `[n, ..input]` to `[n, ..output]`, with the parameters in the order of
    /// [`parameters`](CustomLayer::parameters). Ops are built on the context as on a graph.
    fn apply(&self, context: &mut Context, x: Value, parameters: &[Value]) -> Result<Value>;

    /// Number of forward floating-point operations for one sample, for summaries.
    fn flops(&self, _input: &Shape, _output: &Shape) -> u64 {
        0
    }
}

/// A layer that an application defines by [`CustomLayer`], with its name in model files. Layers of equal names are
/// equal.
#[derive(Clone)]
pub struct Custom {
    pub(crate) name: String,
    /// The layer's rules; none where a file names a layer that the application has not registered.
    pub(crate) rules: Option<Arc<dyn CustomLayer>>,
}

impl super::Layer {
    /// Creates a layer with rules of the application, under this name in model files.
    pub fn custom(name: impl Into<String>, layer: impl CustomLayer + 'static) -> super::Layer {
        super::Layer::Custom(Custom { name: name.into(), rules: Some(Arc::new(layer)) })
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Custom({:?})", self.name)
    }
}

impl Custom {
    /// An example of a custom layer, without rules.
    pub(super) fn template() -> Custom {
        Custom { name: "scale".to_owned(), rules: None }
    }

    /// The layer's rules. Fails where the application has not registered it.
    fn rules(&self) -> Result<&dyn CustomLayer, Misfit> {
        self.rules.as_deref().ok_or_else(|| {
            let help = "load the model in that application, which gives the layer by Extensions::layer";
            misfit!("the layer {:?} is an application's own and is not known here", self.name; "{help}")
        })
    }
}

impl Kind for Custom {
    name!("custom");
    keys!(needed name: Word);

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        self.rules()?.output_shape(input)
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        self.rules().map_or_else(|_| Vec::new(), |rules| rules.parameters(input))
    }

    fn flops(&self, input: &Shape, output: &Shape) -> u64 {
        self.rules().map_or(0, |rules| rules.flops(input, output))
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        let unfit = |problem: String| {
            let what = format!("layer {:?} at {}", self.name, placed.name);
            crate::Error::invalid(what, problem, "look at its CustomLayer")
        };
        let rules = self.rules().map_err(|misfit| unfit(misfit.problem))?;
        let parameters =
            (0..placed.parameters.len()).map(|index| placed.parameter(context, index)).collect::<Result<Vec<_>>>()?;
        let batch = context.shape(x)[0];
        let y = rules.apply(context, x, &parameters)?;
        let expected: Shape = std::iter::once(batch).chain(placed.output.iter().copied()).collect();
        match *context.shape(y) == expected {
            true => Ok(y),
            false => Err(unfit(format!("gives {}, its output_shape says {expected}", context.shape(y)))),
        }
    }
}
