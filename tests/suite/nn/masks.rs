//! Masks of attention and of recurrent layers: what may not be seen has exactly no part in what comes out, whatever it is.

use crate::support::*;
use pinhole::data::Dataset;
use pinhole::graph::Value;
use pinhole::model::Network;
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Device, Result};

const STEPS: usize = 4;

/// A model whose encoder is one layer over [`STEPS`] steps of two numbers.
fn one_layer(layer: &str) -> Network {
    network(&format!(
        "input = [{STEPS}, 2]\nloss = \"mse\"\nencoder = [{layer}]\ndecoder = [\"flatten\", {{ linear = 8 }}]\n"
    ))
}

/// What a layer makes of samples and of a mask, and the derivative of the sum of what `wanted` steps of the first sample get.
fn computed(
    device: &Device,
    network: &Network,
    weights: &[(&str, Vec<f64>)],
    [x, mask]: [&[f64]; 2],
    wanted: usize,
) -> Result<[Vec<f64>; 2]> {
    let n = x.len() / STEPS / 2;
    let mut graph = Context::new();
    let input = graph.input("x", [n, STEPS, 2], DType::Float)?;
    let mut inputs = vec![("x", Tensor::new([n, STEPS, 2], Values::F64(x.to_vec()))?)];
    if !mask.is_empty() {
        let value = graph.input("mask", [n, STEPS], DType::Float)?;
        graph.set_mask(value);
        inputs.push(("mask", Tensor::new([n, STEPS], Values::F64(mask.to_vec()))?));
    }
    let y = network.encode(&mut graph, input)?;
    let features = graph.shape(y)[2];
    let first = graph.slice(y, &[0, 0, 0], [1, wanted, features])?;
    let loss = graph.sum(first, &[0, 1, 2])?;
    let gradient: Value = graph.gradients(loss, &[input])?[0];
    for LayoutEntry { name, shape, .. } in network.layout().entries() {
        if let Some((_, values)) = weights.iter().find(|(known, _)| known == name) {
            inputs.push((name, Tensor::new(shape.clone(), Values::F64(values.clone()))?));
        }
    }
    let results = device.compute(&graph, &[y, gradient], &inputs)?;
    Ok([results[0].to_f64(), results[1].to_f64()])
}

/// Keys are the samples turned around, so that a step's score of itself is far below zero: -1e6 of numbers around 1000.
fn opposed() -> Vec<(&'static str, Vec<f64>)> {
    let identity = [1.0, 0.0, 0.0, 1.0];
    let joint = [identity, identity.map(|x: f64| -x), identity].concat();
    vec![("encoder.0.in_proj_weight", joint), ("encoder.0.out_proj.weight", identity.to_vec())]
}

#[test]
fn steps_that_come_later_have_no_part_however_large_their_scores_are() -> Result<()> {
    let network = one_layer("{ attention = { heads = 1, causal = true, bias = false } }");
    // The first step's own score is -7e5, and those of the later ones, which it may not see, up to 7e5.
    let x = [1000.0, 0.0, -1000.0, 0.0, -999.0, 5.0, 2.0, 3.0];
    for device in all_devices() {
        let [y, gradient] = computed(&device, &network, &opposed(), [&x, &[]], 1)?;
        assert_eq!(y[..2], [1000.0, 0.0], "{}: its own value and no other's", device.name());
        // The second step is unlike itself and like the first one turned around.
        assert_eq!(y[2..4], [1000.0, 0.0], "{}", device.name());
        assert!(gradient[2..].iter().all(|part| *part == 0.0), "{}: {gradient:?}", device.name());
        assert_eq!(gradient[..2], [1.0, 1.0], "{}", device.name());
        // And a change of them changes no bit.
        let other = [1000.0, 0.0, 3e5, 7.0, -1e6, 1e6, 0.0, 1e7];
        let [changed, _] = computed(&device, &network, &opposed(), [&other, &[]], 1)?;
        assert_eq!(changed[..2], y[..2], "{}", device.name());
        assert!(changed.iter().all(|number| number.is_finite()), "{}: {changed:?}", device.name());
    }
    Ok(())
}

#[test]
fn steps_that_are_not_there_have_no_part_and_where_none_is_there_all_is_finite() -> Result<()> {
    for causal in [false, true] {
        let network = one_layer(&format!("{{ attention = {{ heads = 2, causal = {causal}, bias = false }} }}"));
        let own = [1000.0, 700.0, 900.0, -3.0];
        let beyond = [[-1000.0, -700.0, 0.0, 0.0], [1e6, -1e6, -1e7, 2.0]];
        let mask = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        for device in all_devices() {
            let what = format!("{} with causal = {causal}", device.name());
            let [first, second] = beyond.map(|beyond| {
                let x = [&own[..], &beyond, &own, &beyond].concat();
                computed(&device, &network, &opposed(), [&x, &mask], 2).expect("numbers")
            });
            assert_eq!(first[0][..4], second[0][..4], "{what}");
            assert!(first[1][4..].iter().all(|part| *part == 0.0), "{what}: {:?}", first[1]);
            for [y, gradient] in [first, second] {
                assert!(y.iter().chain(&gradient).all(|number| number.is_finite()), "{what}: {y:?}");
                // The second sample has no step at all.
                assert!(y[8..].iter().all(|number| *number == 0.0), "{what}: {y:?}");
            }
        }
    }
    Ok(())
}

/// Where scores are ordinary ones, masked attention is what the formula says, in the order that it always had.
#[test]
fn masked_weights_are_those_of_a_softmax_over_what_is_there() -> Result<()> {
    let network = one_layer("{ attention = { heads = 1, bias = false } }");
    let x = [0.3, -0.5, 1.2, 0.7, -0.4, 0.9, 3.0, -2.0];
    let mask = [1.0, 1.0, 1.0, 0.0];
    let row = |at: usize| [x[2 * at], x[2 * at + 1]];
    let mut expected = Vec::new();
    for query in 0..STEPS {
        let score = |key: usize| -(row(query)[0] * row(key)[0] + row(query)[1] * row(key)[1]) / 2f64.sqrt();
        let powers: Vec<f64> = (0..3).map(|key| score(key).exp()).collect();
        for feature in 0..2 {
            let sum: f64 = (0..3).map(|key| powers[key] * row(key)[feature]).sum();
            expected.push(sum / powers.iter().sum::<f64>());
        }
    }
    for (device, tolerance) in all_devices().into_iter().zip([1e-14, 1e-6, 1e-6]) {
        let [y, _] = computed(&device, &network, &opposed(), [&x, &mask], 1)?;
        expect_close(&device.name(), &y, &expected, tolerance, Scale::AtLeastOne);
    }
    Ok(())
}

/// Backward, a recurrent layer begins with steps that are not there: its state stays zero whatever the gates would be.
#[test]
fn a_recurrent_state_stays_zero_through_steps_that_are_not_there() -> Result<()> {
    for cell in ["lstm", "gru"] {
        let network = one_layer(&format!("{{ {cell} = {{ out = 2, bidirectional = true }} }}"));
        let start = network.initial(5);
        let entries = network.layout().entries().iter().filter(|entry| entry.name.starts_with("encoder."));
        let weights: Vec<(&str, Vec<f64>)> = entries
            .map(|LayoutEntry { name, shape, offset: at }| {
                (name.as_str(), start[*at..*at + shape.elements()].iter().map(|x| f64::from(*x)).collect())
            })
            .collect();
        let own = [0.3, -0.5, 1.2, 0.7];
        let mask = [1.0, 1.0, 0.0, 0.0];
        for device in all_devices() {
            let [plain, large, opposite] = [0.0, 1e7, -1e7].map(|beyond| {
                let x = [&own[..], &[beyond, -beyond, 0.5 * beyond, beyond]].concat();
                computed(&device, &network, &weights, [&x, &mask], 2).expect("numbers")
            });
            let what = format!("{cell} on {}", device.name());
            for other in [&large, &opposite] {
                assert_eq!(other[0], plain[0], "{what}");
                assert_eq!(other[1], plain[1], "{what}");
            }
            assert!(plain[1][4..].iter().all(|part| *part == 0.0), "{what}: {:?}", plain[1]);
        }
    }
    Ok(())
}

/// In 16 bits a score beyond 65504 is infinite; what is masked is replaced after it was stored.
#[test]
fn masks_are_finite_in_16_bits() -> Result<()> {
    let text = "input = [4, 2]\nloss = { mse = 1e-12 }\nencoder = [{ attention = { heads = 1, causal = true } }]\n\
                decoder = [{ attention = { heads = 1 } }]\n[train]\nbatch = 4\nepochs = 2\nprecision = \"f16\"\n\
                optimizer = { sgd = { lr = 1e-9 } }\n";
    let values = (0..64).map(|at| if at % 3 == 0 { 900.0 } else { -(at as f32) }).collect();
    let data = Dataset::from_f32([4, 2], values)?.with_lengths(vec![1, 2, 3, 4, 4, 3, 2, 1])?;
    let network = network(text);
    let trained = train(&network, &Device::Cpu, &data, None, Options::default());
    assert!(trained.losses.iter().all(|loss| loss.is_finite()), "{:?}", trained.losses);
    assert!(wide(&trained.parameters).iter().all(|value| value.is_finite()));
    assert_eq!(trained.reports.last().map(|report| report.skipped), Some(0));
    Ok(())
}
