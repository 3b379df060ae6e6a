//! The variational autoencoder of the workload `vae`, over the graph: Kingma and Welling, arXiv 1312.6114.

use crate::error::Result;
use crate::graph::{Binary, Graph, Unary, Value};
use crate::model::initial_values;
use crate::model::spec::Initializer;
use crate::nn::{Activation, Layer, Linear, Placed, place};
use crate::plan::{Metrics, Optimizer, ParameterLayout, Plan, Request, Target, Training};
use crate::shape::Shape;
use crate::tensor::DType;

/// Pixels of a sample.
pub(super) const PIXELS: usize = 784;
const HIDDEN: usize = 400;
const LATENT: usize = 20;

/// Its layers.
pub(super) struct Vae {
    encoder: Vec<Placed>,
    mean: Vec<Placed>,
    log_variance: Vec<Placed>,
    decoder: Vec<Placed>,
    layout: ParameterLayout,
}

impl Vae {
    /// 784 > 400 ReLU > mean 20 and logarithm of the variance 20; 20 > 400 ReLU > 784 logits.
    pub fn new() -> Result<Vae> {
        let linear = |out| Layer::Linear(Linear::new(out));
        let relu = Layer::Activation(Activation::Relu);
        let hidden = Shape::from([HIDDEN]);
        let encoder = place("encoder", &[linear(HIDDEN), relu.clone()], &[PIXELS].into())?;
        let mean = place("mean", &[linear(LATENT)], &hidden)?;
        let log_variance = place("log_variance", &[linear(LATENT)], &hidden)?;
        let decoder = place("decoder", &[linear(HIDDEN), relu, linear(PIXELS)], &[LATENT].into())?;
        let mut vae = Vae { encoder, mean, log_variance, decoder, layout: ParameterLayout::default() };
        vae.layout =
            ParameterLayout::new(vae.parameters().map(|parameter| (parameter.name.clone(), parameter.shape.clone())));
        Ok(vae)
    }

    fn parameters(&self) -> impl Iterator<Item = &crate::nn::Parameter> {
        let lists = [&self.encoder, &self.mean, &self.log_variance, &self.decoder];
        lists.into_iter().flatten().flat_map(|layer| &layer.parameters)
    }

    /// Initial values of all parameters, by PyTorch's default rule.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        initial_values(self.parameters(), &self.layout, Initializer::PyTorch, seed)
    }

    /// The plan of a training step on `samples` resident samples of bytes, through the buffers of a trainer's plans.
    pub fn plan(&self, samples: usize, batch: usize, optimizer: &Optimizer, target: &Target) -> Result<Plan> {
        let mut graph = Graph::new();
        let data = graph.input("train.data", [samples, PIXELS], DType::U8)?;
        let permutation = graph.input("train.permutation", [samples], DType::U32)?;
        let state = graph.state("train.state")?;
        let x = graph.batch(data, permutation, state, batch)?;
        let loss = self.loss(&mut graph, x, state)?;
        let mut parameters = Vec::new();
        for (name, shape, _) in self.layout.entries() {
            parameters.push(graph.parameter(name, shape.clone())?);
        }
        let gradients = graph.gradients(loss, &parameters)?;
        let values = graph.reshape(loss, [1])?;
        let names = self.layout.entries().iter().map(|(name, ..)| name.clone());
        Plan::build(Request {
            name: &format!("vae {batch}"),
            graph: &graph,
            outputs: vec![],
            layout: &self.layout,
            training: Some(Training::new(names.zip(gradients), *optimizer, samples.div_ceil(batch))),
            metrics: Some(Metrics { state, values, ring: "train.losses".to_owned(), samples: batch }),
            target: target.clone(),
        })
    }

    /// The negative evidence lower bound: cross-entropy summed over pixels and KL divergence from the standard normal
    /// distribution, both means over the batch.
    fn loss(&self, graph: &mut Graph, x: Value, state: Value) -> Result<Value> {
        let batch = graph.shape(x)[0];
        let hidden = apply(graph, &self.encoder, x)?;
        let mean = apply(graph, &self.mean, hidden)?;
        let log_variance = apply(graph, &self.log_variance, hidden)?;
        // code = mean + exp(log_variance / 2) noise
        let scope = graph.set_scope("code");
        let noise = graph.random_normal(state, [batch, LATENT])?;
        let half = graph.scale(log_variance, 0.5)?;
        let deviation = graph.unary(Unary::Exp, half)?;
        let shift = graph.multiply(deviation, noise)?;
        let code = graph.add(mean, shift)?;
        let logits = apply(graph, &self.decoder, code)?;
        graph.set_scope("loss");
        let cross_entropy = graph.binary(Binary::BceWithLogits, logits, x)?;
        let cross_entropy = graph.scale(cross_entropy, 1.0 / batch as f64)?;
        let cross_entropy = graph.sum(cross_entropy, &[0, 1])?;
        // KL = -1/2 sum (1 + log_variance - mean² - exp(log_variance))
        let square = graph.unary(Unary::Square, mean)?;
        let variance = graph.unary(Unary::Exp, log_variance)?;
        let terms = graph.with_number(Binary::Add, log_variance, 1.0)?;
        let terms = graph.subtract(terms, square)?;
        let terms = graph.subtract(terms, variance)?;
        let divergence = graph.scale(terms, -0.5 / batch as f64)?;
        let divergence = graph.sum(divergence, &[0, 1])?;
        let loss = graph.add(cross_entropy, divergence)?;
        graph.set_scope(scope);
        Ok(loss)
    }
}

fn apply(graph: &mut Graph, layers: &[Placed], x: Value) -> Result<Value> {
    layers.iter().try_fold(x, |x, layer| layer.apply(graph, x))
}
