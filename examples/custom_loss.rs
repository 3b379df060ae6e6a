//! A loss and a layer of one's own, written over the graph: their gradients come by themselves, they run on every device,
//! and a saved model names them.
//!
//!     cargo run --release --example custom_loss

use pinhole::graph::{Binary, Graph, Unary, Value};
use pinhole::model::{Extensions, ModelSpec};
use pinhole::nn::{Context, CustomLayer, Initial, Misfit, ParameterSpec};
use pinhole::shape::Shape;
use pinhole::{Autoencoder, Device, Result, data};

const MODEL: &str = r#"
input = [1, 28, 28]
loss = { custom = "edges" }
encoder = ["flatten", { linear = 128 }, { custom = "gate" }, { linear = 32 }]
decoder = [{ linear = 128 }, { custom = "gate" }, { linear = 784 }, "sigmoid"]
[train]
epochs = 3
"#;

/// The squared error of pictures, and of how they change from each pixel to its right and lower neighbour, which blurred
/// strokes get wrong.
fn edges(cx: &mut Context, y: Value, target: Value) -> Result<Value> {
    let difference = cx.subtract(y, target)?;
    let [n, c, h, w] = cx.shape(difference)[..] else { return squares(cx, difference) };
    let mut sum = squares(cx, difference)?;
    for [right, lower] in [[1, 0], [0, 1]] {
        let shape = [n, c, h - lower, w - right];
        let here = cx.slice(difference, &[0, 0, 0, 0], shape)?;
        let there = cx.slice(difference, &[0, 0, lower, right], shape)?;
        let change = cx.subtract(there, here)?;
        let change = squares(cx, change)?;
        sum = cx.add(sum, change)?;
    }
    Ok(sum)
}

fn squares(graph: &mut Graph, x: Value) -> Result<Value> {
    let square = graph.unary(Unary::Square, x)?;
    graph.mean_all(square)
}

/// Each feature times the sigmoid of a straight line of itself, with a trained slope and offset: `x sigmoid(a x + b)`.
struct Gate;

impl CustomLayer for Gate {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let own = |name, start| ParameterSpec { name, shape: input.clone(), initial: Initial::Constant(start) };
        vec![own("slope", 1.0), own("offset", 0.0)]
    }

    fn apply(&self, cx: &mut Context, x: Value, parameters: &[Value]) -> Result<Value> {
        let line = cx.binary(Binary::Multiply, x, parameters[0])?;
        let line = cx.add(line, parameters[1])?;
        let gate = cx.unary(Unary::Sigmoid, line)?;
        cx.multiply(x, gate)
    }
}

fn main() -> Result<()> {
    let own = Extensions::new().loss("edges", edges).layer("gate", Gate);
    let spec = ModelSpec::parse_with(MODEL, "custom_loss.rs".as_ref(), &own)?;
    let digits = data::load("digits:6000")?;
    let mut autoencoder = Autoencoder::new(spec, Device::open("auto")?)?;
    for epoch in autoencoder.fit(&digits.train, digits.test.as_ref(), &mut ())? {
        println!("epoch {}: {} {:.4}", epoch.epoch, autoencoder.network().spec().loss.name(), epoch.train_loss);
    }
    let slopes = autoencoder.parameter("encoder.2.slope").map(|slopes| slopes.to_f32()).unwrap_or_default();
    println!("the first slopes of the encoder's gate: {:.3?}", &slopes[..4]);

    // The model's file has the names; what they stand for comes from here.
    autoencoder.save("custom_loss")?;
    let again = Autoencoder::load_with("custom_loss", Device::Cpu, &own)?;
    println!("loaded: loss {:.4}", again.evaluate(&digits.train)?.loss);
    match Autoencoder::load("custom_loss", Device::Cpu) {
        Ok(_) => println!("loaded without its own parts?"),
        Err(error) => println!("without its own parts: {error}"),
    }
    Ok(())
}
