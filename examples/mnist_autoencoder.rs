//! Trains a small convolutional autoencoder on digits and draws reconstructions.
//!
//!     cargo run --release --example mnist_autoencoder [FOLDER WITH MNIST'S FILES]

use pinhole::data;
use pinhole::draw::{Image, write_grid};
use pinhole::train::Observer;
use pinhole::{Autoencoder, Device, Result, model::ModelSpec};
use std::path::Path;

/// Prints the loss of every hundredth step.
struct Printer;

impl Observer for Printer {
    fn step(&mut self, step: u64, loss: f64) {
        if step.is_multiple_of(100) {
            println!("step {step}: loss {loss:.4}");
        }
    }
}

const MODEL: &str = r#"
input = [1, 28, 28]
loss = "mse"
encoder = [
  { conv2d = { out = 8, kernel = 3, stride = 2, padding = 1 } }, "relu",
  { conv2d = { out = 16, kernel = 3, stride = 2, padding = 1 } }, "relu",
  "flatten", { linear = 16 },
]
decoder = [
  { linear = 784 }, "relu", { unflatten = [16, 7, 7] },
  { conv_transpose2d = { out = 8, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "relu",
  { conv_transpose2d = { out = 1, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "sigmoid",
]
[train]
epochs = 2
"#;

fn main() -> Result<()> {
    let source = std::env::args().nth(1).unwrap_or_else(|| "digits:20000".to_owned());
    let splits = data::load(&source)?;
    let spec = ModelSpec::parse(MODEL, Path::new("mnist_autoencoder.rs"))?;
    let mut autoencoder = Autoencoder::new(spec, Device::open("auto")?)?;
    for epoch in autoencoder.fit(&splits.train, splits.test.as_ref(), &mut Printer)? {
        println!("epoch {}: training loss {:.4}, {:.1} s", epoch.epoch, epoch.train_loss, epoch.seconds);
    }
    let pictures = splits.train.rows_f32(0..10);
    let codes = autoencoder.encode(&pictures)?;
    println!("the first picture's code: {:.2?}", &codes.to_f32()[..16]);
    let copies = autoencoder.reconstruct(&pictures)?.to_f32();
    let row = |values: &[f32]| values.chunks(784).map(|one| Image::from_f32([1, 28, 28], one)).collect::<Result<_>>();
    write_grid("mnist_autoencoder.png", &[row(&pictures)?, row(&copies)?], 4)?;
    autoencoder.save("mnist_autoencoder")?;
    println!("see mnist_autoencoder.png; the model is in mnist_autoencoder");
    Ok(())
}
