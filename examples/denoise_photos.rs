//! Removes noise from photos: trains a denoising autoencoder (Vincent et al., ICML 2008) on a folder of pictures, or on
//! synthetic ones, and draws photos outside the training data noisy, denoised and clean.
//!
//!     cargo run --release --example denoise_photos [FOLDER OF PICTURES]

use pinhole::data::{self, Dataset, Reading};
use pinhole::draw::{Image, write_grid};
use pinhole::model::ModelSpec;
use pinhole::rng::{HostStream, Sequence};
use pinhole::train::{EpochReport, Observer};
use pinhole::{Autoencoder, Device, Result};

const SIDE: usize = 32;

/// The standard deviation of the noise on pixels from 0 to 1, equal to the model's `corruption` in training.
const NOISE: f32 = 0.15;

const MODEL: &str = r#"
input = [3, 32, 32]
loss = "mse"
corruption = { gaussian = 0.15 }
encoder = [
  { conv2d = { out = 24, kernel = 3, padding = 1 } }, "relu",
  { conv2d = { out = 32, kernel = 3, stride = 2, padding = 1 } }, "relu",
]
decoder = [
  { conv2d = { out = 32, kernel = 3, padding = 1 } }, "relu",
  { conv_transpose2d = { out = 24, kernel = 4, stride = 2, padding = 1 } }, "relu",
  { conv2d = { out = 3, kernel = 3, padding = 1 } },
]
[data]
augment = { flip = "horizontal" }
[train]
batch = 32
epochs = 8
optimizer = { adam = { lr = 3e-3 } }
schedule = "cosine"
"#;

/// Prints every epoch's root mean squared error.
struct Printer;

impl Observer for Printer {
    fn epoch(&mut self, report: &EpochReport) {
        let error = report.val_mse.unwrap_or(report.train_loss);
        println!("epoch {}: error of what is left {:.4}, {:.1} s", report.epoch, error.sqrt(), report.seconds);
    }
}

/// Random pictures of a sky with a sun over hills.
fn photos(count: usize) -> Result<Dataset> {
    let mut values = Vec::with_capacity(count * 3 * SIDE * SIDE);
    for photo in 0..count {
        let mut draws = Sequence::new(photo as u64, HostStream::Shuffle, 0);
        let mut between = |low: f32, high: f32| low + (high - low) * draws.unit();
        let sky = [between(0.2, 0.9), between(0.4, 0.8), between(0.6, 1.0)];
        let hill = [between(0.1, 0.6), between(0.3, 0.7), between(0.0, 0.3)];
        let sun = [between(0.1, 0.9), between(0.1, 0.45), between(0.05, 0.15)];
        let waves = [between(0.5, 0.75), between(0.05, 0.15), between(4.0, 12.0), between(0.0, 6.0)];
        for channel in 0..3 {
            for at in 0..SIDE * SIDE {
                let [x, y] = [(at % SIDE) as f32, (at / SIDE) as f32].map(|place| place / SIDE as f32);
                let ground = waves[0] + waves[1] * (waves[2] * x + waves[3]).sin();
                let distance = ((x - sun[0]).powi(2) + (y - sun[1]).powi(2)).sqrt();
                values.push(if y > ground {
                    hill[channel] * (1.2 - 0.6 * (y - ground))
                } else if distance < sun[2] {
                    [1.0, 0.9, 0.5][channel]
                } else {
                    sky[channel] * (0.7 + 0.3 * y)
                });
            }
        }
    }
    values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    Dataset::from_f32([3, SIDE, SIDE], values)
}

fn main() -> Result<()> {
    let spec = ModelSpec::parse(MODEL, "denoise_photos.rs".as_ref())?;
    let data = match std::env::args().nth(1) {
        Some(folder) => data::load_with(&folder, &Reading::pictures(spec.pictures()))?.train,
        None => photos(1200)?,
    };
    let (train, unseen) = data.split(12, spec.train.seed)?;
    let mut autoencoder = Autoencoder::new(spec, Device::open("auto")?)?;
    autoencoder.fit(&train, Some(&unseen), &mut Printer)?;

    let clean = unseen.read_f32(0..unseen.len())?;
    let mut draws = Sequence::new(7, HostStream::Shuffle, 1);
    // Approximately normal: a sum of twelve uniform numbers has variance 1.
    let mut normal = || (0..12).map(|_| draws.unit()).sum::<f32>() - 6.0;
    let noisy: Vec<f32> = clean.iter().map(|value| value + NOISE * normal()).collect();
    let denoised = autoencoder.reconstruct(&noisy)?.to_f32();
    let psnr = |values: &[f32]| {
        let square: f64 = values.iter().zip(&clean).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        -10.0 * (square / clean.len() as f64).log10()
    };
    println!("PSNR {:.1} dB with noise, {:.1} dB without", psnr(&noisy), psnr(&denoised));
    let row = |values: &[f32]| {
        let pictures = values.chunks(3 * SIDE * SIDE);
        pictures.map(|one| Image::from_f32([3, SIDE, SIDE], one)).collect::<Result<Vec<_>>>()
    };
    write_grid("denoise_photos.png", &[row(&noisy)?, row(&denoised)?, row(&clean)?], 3)?;
    println!("denoise_photos.png: with noise, without it, and as it was");
    Ok(())
}
