//! A custom kernel, as WGSL for GPUs and as a function for the CPU, in a custom layer: the median of every pixel's
//! neighbourhood, which the graph's ops cannot express, before an encoder of pictures with salt-and-pepper noise.
//!
//!     cargo run --release --example custom_kernel [DEVICE]

use pinhole::graph::{CustomKernel, Operand, Value};
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::{Context, CustomLayer, Layer, Misfit, Reshape};
use pinhole::rng::{HostStream, Sequence};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use pinhole::train::{Options, Trainer, training_plan};
use pinhole::{Autoencoder, Device, Result, data};

/// The kernel for GPUs. Element `i` of `[n, c, h, w]` is the fifth of the nine sorted elements around it, with the
/// picture's edge repeated beyond it.
const MEDIAN: &str = "
fn element(i: u32) -> f32 {
    let row = i / Y_SIZE3 % Y_SIZE2;
    let column = i % Y_SIZE3;
    let plane = i / (Y_SIZE2 * Y_SIZE3) * Y_SIZE2;
    var sorted = array<f32, 9>();
    for (var k = 0u; k < 9u; k++) {
        let y = min(max(row + k / 3u, 1u) - 1u, Y_SIZE2 - 1u);
        let x = min(max(column + k % 3u, 1u) - 1u, Y_SIZE3 - 1u);
        let value = x0[(plane + y) * Y_SIZE3 + x];
        // Insertion keeps the array sorted.
        var at = k;
        while at > 0u && sorted[at - 1u] > value {
            sorted[at] = sorted[at - 1u];
            at -= 1u;
        }
        sorted[at] = value;
    }
    return sorted[4];
}
";

/// The kernel for the CPU: element `i`, as [`MEDIAN`] has it.
fn median(x: &[Operand], i: usize) -> f64 {
    let [h, w] = [x[0].shape()[2], x[0].shape()[3]];
    let (row, column, plane) = (i / w % h, i % w, i / (h * w) * h);
    let mut around: [f64; 9] = std::array::from_fn(|k| {
        let y = ((row + k / 3).max(1) - 1).min(h - 1);
        let neighbour = ((column + k % 3).max(1) - 1).min(w - 1);
        x[0].at((plane + y) * w + neighbour)
    });
    around.sort_by(f64::total_cmp);
    around[4]
}

/// The layer. It comes before all parameters, so that its kernel needs no derivative.
struct Median(CustomKernel);

impl CustomLayer for Median {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match input.len() {
            3 => Ok(input.clone()),
            _ => Err(Misfit::new(format!("expects [channels, height, width], got {input}"), "put it first")),
        }
    }

    fn apply(&self, context: &mut Context, x: Value, _parameters: &[Value]) -> Result<Value> {
        let shape = context.shape(x).clone();
        context.custom(&self.0, &[x], shape)
    }
}

/// Copies of pictures in which this fraction of the pixels is black or white.
fn specked(pictures: &[f32], part: f32) -> Vec<f32> {
    let mut draws = Sequence::new(1, HostStream::Shuffle, 0);
    let mut specked = |value: &f32| {
        let draw = draws.unit();
        if draw < part { f32::from(draw < part / 2.0) } else { *value }
    };
    pictures.iter().map(&mut specked).collect()
}

fn model(with_median: bool) -> Result<ModelSpec> {
    let mut spec = ModelSpec::resolve("dense")?;
    spec.input = [1, 28, 28].into();
    (spec.train.batch, spec.train.epochs) = (64, 12);
    spec.encoder.insert(0, Layer::Reshape(Reshape::Flatten));
    if with_median {
        spec.encoder.insert(0, Layer::custom("median", Median(CustomKernel::new("median", MEDIAN, median))));
    }
    Ok(spec)
}

fn main() -> Result<()> {
    let device = Device::open(&std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned()))?;
    let digits = data::digits(4000, 1);

    // The kernel is one launch in the plan of a training step, and `check` compares it with the CPU as every launch.
    let network = Network::new(model(true)?)?;
    let plan = training_plan(&network, digits.len(), device.target())?.to_string();
    plan.lines().filter(|line| line.contains("own median")).for_each(|line| println!("{line}"));
    let mut trainer = Trainer::new(&network, &device, &digits, None, Options::default())?;
    trainer.start(&Values::F32(network.initial(0)))?;
    let agreement = trainer.check(1)?;
    println!("{} launches agree with the CPU, to {:.1e}", agreement.launches, agreement.worst);

    // Models trained on clean digits reconstruct noisy ones, with and without the layer.
    let clean = digits.rows_f32(0..200);
    let specked = specked(&clean, 0.2);
    for with_median in [false, true] {
        let mut autoencoder = Autoencoder::new(model(with_median)?, device.clone())?;
        autoencoder.fit(&digits, None, &mut ())?;
        let copies = autoencoder.reconstruct(&specked)?.to_f32();
        let error: f32 = copies.iter().zip(&clean).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / clean.len() as f32;
        println!("{} the median: mean squared error {error:.4}", if with_median { "with" } else { "without" });
    }
    Ok(())
}
