//! A custom loss and a custom layer, built of graph ops: their gradients are derived, they run on every device, and a
//! saved model names them.
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

/// Mean squared error of pictures, plus that of the differences between each pixel and its right and lower neighbour,
/// which penalises blurred strokes.
fn edges(context: &mut Context, y: Value, target: Value) -> Result<Value> {
    let difference = context.subtract(y, target)?;
    let [n, c, h, w] = context.shape(difference)[..] else { return squares(context, difference) };
    let mut sum = squares(context, difference)?;
    for [right, lower] in [[1, 0], [0, 1]] {
        let shape = [n, c, h - lower, w - right];
        let here = context.slice(difference, &[0, 0, 0, 0], shape)?;
        let there = context.slice(difference, &[0, 0, lower, right], shape)?;
        let change = context.subtract(there, here)?;
        let change = squares(context, change)?;
        sum = context.add(sum, change)?;
    }
    Ok(sum)
}

/// The mean of all squares.
fn squares(graph: &mut Graph, x: Value) -> Result<Value> {
    let square = graph.unary(Unary::Square, x)?;
    graph.mean_all(square)
}

/// A gate with a trained slope and offset for each feature: `x sigmoid(slope x + offset)`.
struct Gate;

impl CustomLayer for Gate {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let constant = |name, start| ParameterSpec { name, shape: input.clone(), initial: Initial::Constant(start) };
        vec![constant("slope", 1.0), constant("offset", 0.0)]
    }

    fn apply(&self, context: &mut Context, x: Value, parameters: &[Value]) -> Result<Value> {
        let line = context.binary(Binary::Multiply, x, parameters[0])?;
        let line = context.add(line, parameters[1])?;
        let gate = context.unary(Unary::Sigmoid, line)?;
        context.multiply(x, gate)
    }
}

fn main() -> Result<()> {
    let extensions = Extensions::new().loss("edges", edges).layer("gate", Gate);
    let spec = ModelSpec::parse_with(MODEL, "custom_loss.rs".as_ref(), &extensions)?;
    let digits = data::load("digits:6000")?;
    let mut autoencoder = Autoencoder::new(spec, Device::open("auto")?)?;
    for epoch in autoencoder.fit(&digits.train, digits.test.as_ref(), &mut ())? {
        println!("epoch {}: {} {:.4}", epoch.epoch, autoencoder.network().spec().loss.name(), epoch.train_loss);
    }
    let slopes = autoencoder.parameter("encoder.2.slope").map(|slopes| slopes.to_f32()).unwrap_or_default();
    println!("the first slopes of the encoder's gate: {:.3?}", &slopes[..4]);

    // The model file has the names of loss and layer; loading needs their implementation.
    autoencoder.save("custom_loss")?;
    let again = Autoencoder::load_with("custom_loss", Device::Cpu, &extensions)?;
    println!("loaded: loss {:.4}", again.evaluate(&digits.train)?.loss);
    match Autoencoder::load("custom_loss", Device::Cpu) {
        Ok(_) => println!("loaded without its own parts?"),
        Err(error) => println!("without its own parts: {error}"),
    }
    Ok(())
}
