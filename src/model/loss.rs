//! Reconstruction losses: one by its name, or a weighted sum of several. A loss is added here and in `nn/loss.rs`.

use crate::error::{Error, Result};
use crate::graph::{Binary, Value};
use crate::nn::loss::{self, SSIM_WINDOW};
use crate::nn::{Activation, Context, Initial, Layer, Parameter, Placed, Softmax};
use crate::schema::{Fault, Item, Key, Part, keys, keys_schema, read_keys, variants};
use crate::shape::Shape;
use crate::suggest::suggest;
use serde_json::{Map, Value as Json, json};
use std::fmt;
use std::sync::Arc;

/// The learned log-variance of [`LossKind::Gaussian`].
const LOG_VARIANCE: &str = "loss.log_variance";

/// Bounds of log-variances, the posterior's and that of a gaussian likelihood: deviations of 3e-7 to 22,000, beyond
/// which the exponential would overflow or lose all its digits. They are those of latent diffusion, arXiv 2112.10752.
pub const LOG_VARIANCES: [f64; 2] = [-30.0, 20.0];

/// Output of the decoder for a batch of codes.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    /// The reconstruction, `[n, ..input]`.
    pub output: Value,
    /// Input of the decoder's final sigmoid, where it ends in one; for table rows, `[n, width]`, for each column the
    /// logits of its categories, or its number.
    pub logits: Option<Value>,
}

/// The reconstruction loss that training minimises: a weighted sum of losses between a reconstruction and its original.
#[derive(Clone, Debug, PartialEq)]
pub struct LossSpec {
    /// Each loss with its weight.
    pub terms: Vec<(LossKind, f64)>,
}

/// A loss between a reconstruction and its original.
#[derive(Clone, Debug, PartialEq)]
pub enum LossKind {
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    Mae,
    /// Binary cross-entropy, computed from what goes into the decoder's final sigmoid.
    Bce,
    /// Half the squared error up to a distance of `delta`, linear beyond.
    Huber {
        /// Distance at which the linear part begins; 1 unless given.
        delta: f64,
    },
    /// Cross-entropy against originals that are probabilities along the first axis of a sample; the decoder's outputs
    /// are the logits.
    CrossEntropy,
    /// One minus the cosine of the angle between a sample and its original.
    Cosine,
    /// One minus the structural similarity of pictures.
    Ssim,
    /// Negative log-likelihood of a Bernoulli variable per element, whose probability is the output of the decoder's
    /// final sigmoid: in nats per sample, a sum over its elements, as are the next three.
    Bernoulli,
    /// Negative log-likelihood of numbers between 0 and 1: Loaiza-Ganem and Cunningham, arXiv 1907.06845.
    ContinuousBernoulli,
    /// Negative log-likelihood of a normal distribution around the decoder's output, with one learned variance.
    Gaussian,
    /// Negative log-likelihood of counts of draws, whose probabilities are the softmax of the decoder's output: Liang
    /// et al., arXiv 1802.05814.
    Multinomial,
    /// Sum over the columns of a table: the cross-entropy of categories, whose logits the decoder gives side by side,
    /// and the squared error of numbers.
    Columns,
    /// A custom loss of an application: see [`LossKind::custom`].
    Custom(CustomLoss),
}

/// What the loss of a batch is a mean of, which decides its weight relative to a divergence in nats per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossScale {
    /// A mean over all elements of a batch, from which steps beyond a sequence's length are excluded.
    Element,
    /// A mean over samples of a number of about 1.
    Sample,
    /// A negative log-likelihood in nats per sample, as evidence bounds require.
    Likelihood,
    /// A mean of anything else.
    Other,
}

/// A custom loss that an application builds on the graph of a [`Context`], with its name in model files. Two custom
/// losses are equal where their names are.
#[derive(Clone)]
pub struct CustomLoss {
    pub(crate) name: String,
    /// `None` where a file names a loss that the application has not registered.
    pub(crate) function: Option<Arc<LossFunction>>,
}

/// Builds a scalar loss from a reconstruction and its original, both `[n, ..input]`.
pub(crate) type LossFunction = dyn Fn(&mut Context, Value, Value) -> Result<Value> + Send + Sync;

impl PartialEq for CustomLoss {
    fn eq(&self, other: &CustomLoss) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for CustomLoss {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CustomLoss({:?})", self.name)
    }
}

impl CustomLoss {
    /// Builds the loss of a batch: a scalar.
    pub(crate) fn build(&self, context: &mut Context, y: Value, target: Value) -> Result<Value> {
        let Some(function) = &self.function else { return Err(self.unknown("loss")) };
        let loss = function(context, y, target)?;
        match context.shape(loss).elements() {
            1 => context.reshape(loss, []),
            _ => Err(Error::invalid(
                format!("loss {:?}", self.name),
                format!("its function gives {}, which is no single number", context.shape(loss)),
                "end it with context.mean_all(..), say",
            )),
        }
    }

    fn unknown(&self, key: &str) -> Error {
        Error::invalid(
            key,
            format!("the loss {:?} is an application's own and is not known here", self.name),
            "load the model in that application, which gives the loss by Extensions::loss",
        )
    }
}

impl LossKind {
    /// A custom loss with its name in model files. The function builds nodes on a batch's reconstructions and
    /// originals, both `[n, ..input]`, and returns a scalar; the gradient is derived automatically, and the loss runs
    /// on every device.
    ///
    /// ```
    /// use pinhole::graph::{Binary, Unary};
    /// use pinhole::model::{ModelSpec, config::LossKind};
    /// let mut spec = ModelSpec::resolve("dense")?;
    /// // The mean of sqrt(d² + 0.01): Charbonnier et al., ICIP 1994.
    /// let charbonnier = LossKind::custom("charbonnier", |context, y, target| {
    ///     let difference = context.subtract(y, target)?;
    ///     let square = context.unary(Unary::Square, difference)?;
    ///     let sum = context.with_number(Binary::Add, square, 0.01)?;
    ///     let each = context.unary(Unary::SquareRoot, sum)?;
    ///     context.mean_all(each)
    /// });
    /// spec.loss = charbonnier.into();
    /// assert!(spec.to_toml().contains("loss = { custom = \"charbonnier\" }"));
    /// # Ok::<(), pinhole::Error>(())
    /// ```
    pub fn custom(
        name: impl Into<String>,
        function: impl Fn(&mut Context, Value, Value) -> Result<Value> + Send + Sync + 'static,
    ) -> LossKind {
        LossKind::Custom(CustomLoss { name: name.into(), function: Some(Arc::new(function)) })
    }

    /// Settings of the loss's table in a model file, without its weight.
    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            LossKind::Huber { delta } => keys![delta: Positive = "The distance at which the linear part begins."],
            LossKind::Custom(loss) => keys![
                loss;
                name: Text[["a name", "write \"charbonnier\", say"]].mandatory("\"charbonnier\"") =
                    "The name of an application's custom loss.",
            ],
            _ => vec![],
        }
    }

    /// Reads weight and settings, or a short form: the weight alone, or the name of a custom loss.
    fn read(&mut self, item: &Item, weight: &mut f64) -> Result<(), Fault> {
        let custom = matches!(self, LossKind::Custom(_));
        let mut keys = self.keys();
        if !keys.is_empty() && item.as_table().is_some() {
            keys.extend(keys![weight: Positive]);
            return read_keys(item, keys);
        }
        match keys.pop() {
            Some(name) if custom => name.setting.read(item),
            _ => {
                *weight = item.number()?;
                Ok(())
            }
        }
    }

    /// One loss of each kind that a model file may name, with defaults.
    fn templates() -> Vec<LossKind> {
        let custom = LossKind::Custom(CustomLoss { name: String::new(), function: None });
        LossKind::all().into_iter().chain([custom]).collect()
    }

    /// Builds the loss of a batch: a scalar. `categories` are those of a table's columns, 0 for numbers; empty where
    /// samples are no table rows.
    pub(super) fn build(
        &self,
        context: &mut Context,
        decoded: Decoded,
        target: Value,
        categories: &[usize],
    ) -> Result<Value> {
        let y = decoded.output;
        match self {
            LossKind::Mse => loss::mse(context, y, target),
            LossKind::Mae => loss::mae(context, y, target),
            LossKind::Huber { delta } => loss::huber(context, y, target, *delta),
            LossKind::CrossEntropy => loss::cross_entropy(context, y, target),
            LossKind::Cosine => loss::cosine(context, y, target),
            LossKind::Ssim => loss::ssim(context, y, target),
            LossKind::Columns => loss_of_columns(context, decoded.logits.unwrap_or(y), target, categories),
            LossKind::Custom(own) => own.build(context, y, target),
            LossKind::Bce => match decoded.logits {
                Some(logits) => loss::bce_with_logits(context, logits, target),
                None => {
                    let problem = "\"bce\" needs a final \"sigmoid\"";
                    Err(Error::invalid("loss", problem, "end the decoder with \"sigmoid\""))
                }
            },
            LossKind::Bernoulli | LossKind::ContinuousBernoulli | LossKind::Gaussian | LossKind::Multinomial => {
                let each = self.likelihood(context, decoded, target)?;
                context.mean_all(each)
            }
        }
    }

    /// Negative log-likelihood of each sample, `[n]`.
    pub(super) fn likelihood(&self, context: &mut Context, decoded: Decoded, target: Value) -> Result<Value> {
        match (self, decoded.logits) {
            (LossKind::Bernoulli, Some(logits)) => loss::bernoulli(context, logits, target),
            (LossKind::ContinuousBernoulli, Some(logits)) => loss::continuous_bernoulli(context, logits, target),
            (LossKind::Gaussian, _) => {
                let log_variance = context.parameter(LOG_VARIANCE, [])?;
                let log_variance = bounded(context, log_variance)?;
                loss::gaussian_likelihood(context, decoded.output, target, log_variance)
            }
            (LossKind::Multinomial, _) => loss::multinomial(context, decoded.output, target),
            (kind, _) => {
                let problem = format!("\"{}\" needs a decoder that ends in \"sigmoid\"", kind.name());
                Err(Error::invalid("loss", problem, "end the decoder with \"sigmoid\", or use another loss"))
            }
        }
    }

    /// What the loss of a batch is a mean of.
    pub(crate) fn scale(&self) -> LossScale {
        match self {
            LossKind::Mse | LossKind::Mae | LossKind::Huber { .. } | LossKind::Bce => LossScale::Element,
            LossKind::CrossEntropy | LossKind::Cosine | LossKind::Ssim => LossScale::Sample,
            LossKind::Bernoulli | LossKind::ContinuousBernoulli | LossKind::Gaussian | LossKind::Multinomial => {
                LossScale::Likelihood
            }
            LossKind::Columns | LossKind::Custom(_) => LossScale::Other,
        }
    }

    /// Whether the loss can mask steps beyond a sequence's length.
    pub(super) fn masks_steps(&self) -> bool {
        self.scale() == LossScale::Element || matches!(self, LossKind::Bernoulli | LossKind::Cosine)
    }

    /// Largest value of a target, with 0 as the smallest; `None` where targets are unbounded.
    pub(super) fn largest_target(&self) -> Option<f32> {
        match self {
            LossKind::Bce | LossKind::Bernoulli | LossKind::ContinuousBernoulli | LossKind::CrossEntropy => Some(1.0),
            LossKind::Multinomial => Some(f32::INFINITY),
            LossKind::Mse | LossKind::Mae | LossKind::Huber { .. } | LossKind::Cosine | LossKind::Ssim => None,
            LossKind::Gaussian | LossKind::Columns | LossKind::Custom(_) => None,
        }
    }

    /// Whether the loss is computed from the input of the decoder's final sigmoid.
    pub(crate) fn is_of_logits(&self) -> bool {
        matches!(self, LossKind::Bce | LossKind::Bernoulli | LossKind::ContinuousBernoulli)
    }
}

/// Loss of a decoder's output, `[n, width]`, against table rows `[n, ..input]`; without a table, all columns are
/// numbers.
fn loss_of_columns(context: &mut Context, y: Value, target: Value, categories: &[usize]) -> Result<Value> {
    let n = context.shape(target)[0];
    let count = context.shape(target).elements() / n;
    let target = context.reshape(target, [n, count])?;
    if !categories.is_empty() {
        return loss::columns(context, y, target, categories);
    }
    let y = context.reshape(y, [n, count])?;
    loss::columns(context, y, target, &vec![0; count])
}

/// Clamps a log-variance to [`LOG_VARIANCES`]. Outside, the derivative is that at the bound, which leads back inside.
pub(super) fn bounded(context: &mut Context, log_variance: Value) -> Result<Value> {
    let [least, most] = LOG_VARIANCES;
    let above = context.with_number(Binary::Maximum, log_variance, least)?;
    let within = context.with_number(Binary::Minimum, above, most)?;
    context.straight_through(within, log_variance)
}

variants! { LossKind {
    Mse = "mse",
    Mae = "mae",
    Bce = "bce",
    Huber { delta: 1.0 } = "huber",
    CrossEntropy = "cross_entropy",
    Cosine = "cosine",
    Ssim = "ssim",
    Bernoulli = "bernoulli",
    ContinuousBernoulli = "continuous_bernoulli",
    Gaussian = "gaussian",
    Multinomial = "multinomial",
    Columns = "columns",
} and Custom = "custom" }

/// Names of all built-in losses.
pub(super) fn names() -> Vec<&'static str> {
    LossKind::all().iter().map(LossKind::name).collect()
}

impl From<LossKind> for LossSpec {
    fn from(kind: LossKind) -> LossSpec {
        LossSpec { terms: vec![(kind, 1.0)] }
    }
}

impl LossSpec {
    /// Names of the terms, joined by `+`.
    pub fn name(&self) -> String {
        let name = |(kind, _): &(LossKind, f64)| match kind {
            LossKind::Custom(loss) => loss.name.clone(),
            kind => kind.name().to_owned(),
        };
        self.terms.iter().map(name).collect::<Vec<_>>().join("+")
    }

    /// The likelihood, where the loss is a single likelihood term.
    pub fn likelihood(&self) -> Option<&LossKind> {
        match &self.terms[..] {
            [(kind, 1.0)] if kind.scale() == LossScale::Likelihood => Some(kind),
            _ => None,
        }
    }

    /// Learned parameters of the loss.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let terms = self.terms.iter().filter(|(kind, _)| *kind == LossKind::Gaussian).take(1);
        let log_variance = |_| Parameter {
            name: LOG_VARIANCE.to_owned(),
            shape: Shape::default(),
            initial: Initial::Constant(0.0),
            trained: true,
        };
        terms.map(log_variance).collect()
    }

    fn read(item: &Item) -> Result<LossSpec, Fault> {
        let names = names();
        let help = "write \"mse\", or { mse = 0.8, ssim = 0.2 }";
        let find = |name: &str, among: Vec<LossKind>| {
            let known = among.into_iter().find(|loss| loss.name() == name);
            known.ok_or_else(|| {
                Fault::new(&item.key, format!("unknown loss {name:?}"), suggest(name, names.iter().copied()))
            })
        };
        if let Some(name) = item.as_text() {
            return Ok(find(name, LossKind::all())?.into());
        }
        let Some(table) = item.as_table() else { return item.wrong("the name of a loss, or a table of weights", help) };
        if table.is_empty() {
            return Err(Fault::new(&item.key, "there is no loss", help));
        }
        let mut terms = Vec::new();
        for (name, item) in table {
            let mut kind = find(name, LossKind::templates())?;
            let mut weight = 1.0;
            kind.read(&item, &mut weight)?;
            terms.push((kind, weight));
        }
        Ok(LossSpec { terms })
    }

    /// Fails where the decoder's last layer, or samples of this shape, do not suit a term.
    pub(super) fn validate(&self, input: &Shape, last: &Placed) -> Result<()> {
        if self.terms.is_empty() {
            return Err(Error::invalid("loss", "there is none", "write \"mse\", say"));
        }
        for (kind, weight) in &self.terms {
            let key = format!("loss.{}", kind.name());
            if !(weight.is_finite() && *weight > 0.0) {
                let problem = format!("expects a positive weight, got {weight:?}");
                return Err(Error::invalid(key, problem, "use 0.5, say, or leave it out"));
            }
            let refuse = |problem: String, help: &str| Err(Error::invalid("loss", problem, help));
            match kind {
                LossKind::Custom(loss) if loss.function.is_none() => return Err(loss.unknown("loss")),
                LossKind::Huber { delta } if !(delta.is_finite() && *delta > 0.0) => {
                    let problem = format!("expects a positive delta, got {delta:?}");
                    return Err(Error::invalid(key, problem, "use 1.0, say"));
                }
                kind if kind.is_of_logits() && last.layer != Layer::Activation(Activation::Sigmoid) => {
                    let problem = format!(
                        "\"{}\" needs a decoder that ends with \"sigmoid\", this one ends with {}",
                        kind.name(),
                        last.layer
                    );
                    return refuse(problem, "add \"sigmoid\" to the decoder, or use \"mse\"");
                }
                LossKind::CrossEntropy | LossKind::Multinomial if gives_probabilities(&last.layer) => {
                    let problem = format!("\"{}\" takes logits, but the decoder ends with {}", kind.name(), last.layer);
                    return refuse(problem, "leave that layer out: the loss has its own softmax");
                }
                LossKind::Ssim if input.len() != 3 || input[1].min(input[2]) < SSIM_WINDOW => {
                    let problem = format!(
                        "\"ssim\" needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW}, the input is {input}"
                    );
                    return refuse(problem, "use another loss, such as \"mse\"");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn gives_probabilities(layer: &Layer) -> bool {
    matches!(layer, Layer::Softmax(Softmax { logarithm: false, .. }) | Layer::Activation(Activation::Sigmoid))
}

/// Formats the loss as in a model file.
impl fmt::Display for LossSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let [(kind, 1.0)] = &self.terms[..]
            && LossKind::all().contains(kind)
        {
            return write!(f, "{:?}", kind.name());
        }
        let term = |(kind, weight): &(LossKind, f64)| match kind {
            LossKind::Huber { delta } => format!("huber = {{ weight = {weight:?}, delta = {delta:?} }}"),
            LossKind::Custom(loss) if *weight == 1.0 => format!("custom = {:?}", loss.name),
            LossKind::Custom(loss) => format!("custom = {{ name = {:?}, weight = {weight:?} }}", loss.name),
            kind => format!("{} = {weight:?}", kind.name()),
        };
        let terms: Vec<String> = self.terms.iter().map(term).collect();
        write!(f, "{{ {} }}", terms.join(", "))
    }
}

impl Part for &mut LossSpec {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        **self = LossSpec::read(item)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn schema(&self) -> Json {
        let number = json!({ "type": "number", "exclusiveMinimum": 0 });
        let mut terms = Map::new();
        for mut kind in LossKind::templates() {
            let (name, custom) = (kind.name(), matches!(kind, LossKind::Custom(_)));
            let plain = if custom { json!({ "type": "string" }) } else { number.clone() };
            let weight = &mut 1.0;
            let mut keys = kind.keys();
            let value = match keys.is_empty() {
                true => plain,
                false => {
                    keys.extend(keys![weight: Positive = "The factor of the loss."]);
                    json!({ "anyOf": [plain, keys_schema(keys)] })
                }
            };
            terms.insert(name.to_owned(), value);
        }
        let names = names();
        let sum = json!({ "type": "object", "minProperties": 1, "additionalProperties": false, "properties": terms });
        json!({ "anyOf": [{ "enum": names }, sum] })
    }
}
