//! How well a model reconstructs a data set.

use super::feed::{Feed, Pass, resident_bytes};
use crate::data::Dataset;
use crate::device::{Device, Session};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::model::Network;
use crate::nn::loss;
use crate::plan::{Metrics, Plan, Request, State, Target};
use crate::tensor::Values;

/// Metrics of an evaluation step: loss, mean squared error, mean absolute error.
const EVALUATION_METRICS: usize = 3;

/// How well a data set is reconstructed. Means over every element.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// The training loss.
    pub loss: f64,
    /// The mean squared error.
    pub mse: f64,
    /// The mean absolute error.
    pub mae: f64,
    /// The peak signal-to-noise ratio for a peak of 1, in decibels: -10 log10(mse).
    pub psnr: f64,
    /// Samples.
    pub samples: usize,
}

/// The loss and errors of a model over a data set.
pub fn evaluate(network: &Network, device: &Device, parameters: &Values, data: &Dataset) -> Result<Evaluation> {
    network.accepts(data.sample_shape(), data.name())?;
    let batch = network.spec().train.batch.min(data.len());
    let mut feed = Feed::new(data, "validation", batch, resident_bytes(device))?;
    let plans = feed.batches().into_iter().map(|batch| evaluation_plan(network, &feed, batch, device.target()));
    let mut session = device.load(&plans.collect::<Result<Vec<_>>>()?)?;
    session.write_parameters(parameters)?;
    measure(&mut session, &mut feed, 0)
}

/// The plan of an evaluation step on a batch of a feed.
pub(super) fn evaluation_plan(network: &Network, feed: &Feed, batch: usize, device: Target) -> Result<Plan> {
    let mut graph = Graph::new();
    let (x, state) = feed.read(&mut graph, batch)?;
    let code = network.encode(&mut graph, x)?;
    let decoded = network.decode(&mut graph, code)?;
    let target = graph.reshape(x, network.input_shape(batch))?;
    let metrics = [
        network.loss(&mut graph, decoded, x)?,
        loss::mse(&mut graph, decoded.output, target)?,
        loss::mae(&mut graph, decoded.output, target)?,
    ];
    let metrics: Vec<Value> = metrics.iter().map(|metric| graph.reshape(*metric, [1])).collect::<Result<_>>()?;
    let values = graph.concat(&metrics, 0)?;
    Plan::build(Request {
        name: &format!("evaluate {batch}"),
        graph: &graph,
        outputs: vec![],
        layout: network.layout(),
        training: None,
        metrics: Some(Metrics { state, values, ring: "validation.metrics".to_owned(), samples: batch }),
        target: device,
    })
}

/// Runs the evaluation plans of a feed, which stand at `first` in the session, over all of its data.
pub(super) fn measure(session: &mut Session, feed: &mut Feed, first: usize) -> Result<Evaluation> {
    let count = feed.data().len();
    std::thread::scope(|scope| -> Result<()> {
        let mut pass = Pass::new(scope, 0, (0..count as u32).collect());
        for (start, end) in feed.chunks() {
            feed.begin(session, &mut pass, start, State::default())?;
            let mut left = (end - start) / feed.batch();
            while left > 0 {
                let steps = left.min(session.steps_per_call(first));
                session.run(first, steps)?;
                left -= steps;
                feed.go_on(session, &mut pass, steps, left)?;
            }
            if (end - start) % feed.batch() > 0 {
                session.run(first + 1, 1)?;
            }
            session.wait()?;
        }
        Ok(())
    })?;
    let mut sums = [0.0; EVALUATION_METRICS];
    for (position, samples) in feed.batches().into_iter().enumerate() {
        for row in session.metrics(first + position) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * samples as f64;
            }
        }
    }
    let [loss, mse, mae] = sums.map(|sum| sum / count as f64);
    Ok(Evaluation { loss, mse, mae, psnr: -10.0 * mse.log10(), samples: count })
}
