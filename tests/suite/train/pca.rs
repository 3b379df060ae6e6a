//! Linear autoencoders against principal components.

use crate::support::*;
use pinhole::model::ModelSpec;
use pinhole::tensor::Values;
use pinhole::{Autoencoder, Device, Result, data};

/// Orthonormal columns that span what those of `[rows, 2]` do: Gram and Schmidt.
fn orthonormal(columns: &mut [[f64; 2]]) {
    let dot = |columns: &[[f64; 2]], a: usize, b: usize| columns.iter().map(|row| row[a] * row[b]).sum::<f64>();
    let scale = dot(columns, 0, 0).sqrt();
    columns.iter_mut().for_each(|row| row[0] /= scale);
    let along = dot(columns, 0, 1);
    columns.iter_mut().for_each(|row| row[1] -= along * row[0]);
    let scale = dot(columns, 1, 1).sqrt();
    columns.iter_mut().for_each(|row| row[1] /= scale);
}

/// The two principal components of samples, by subspace iteration.
fn principal_components(samples: &[u8], width: usize) -> Vec<[f64; 2]> {
    let count = samples.len() / width;
    let mut mean = vec![0.0; width];
    for sample in samples.chunks(width) {
        mean.iter_mut().zip(sample).for_each(|(mean, value)| *mean += f64::from(*value) / count as f64);
    }
    let mut columns: Vec<[f64; 2]> = (0..width).map(|row| [(row as f64).sin(), (row as f64 * 0.7).cos()]).collect();
    // The third eigenvalue is 0.86 of the second.
    for _ in 0..60 {
        orthonormal(&mut columns);
        let mut next = vec![[0.0; 2]; width];
        for sample in samples.chunks(width) {
            let mut code = [0.0; 2];
            for ((value, mean), row) in sample.iter().zip(&mean).zip(&columns) {
                let centred = f64::from(*value) - mean;
                code = [code[0] + centred * row[0], code[1] + centred * row[1]];
            }
            for ((value, mean), row) in sample.iter().zip(&mean).zip(&mut next) {
                let centred = f64::from(*value) - mean;
                *row = [row[0] + centred * code[0], row[1] + centred * code[1]];
            }
        }
        columns = next;
    }
    orthonormal(&mut columns);
    columns
}

/// The largest angle between two planes, in degrees: the cosines of both are the singular values of a product of 2 x 2.
fn angle(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let product = |i: usize, j: usize| a.iter().zip(b).map(|(a, b)| a[i] * b[j]).sum::<f64>();
    let [p, q, r, s] = [product(0, 0), product(0, 1), product(1, 0), product(1, 1)];
    let (squares, determinant) = (p * p + q * q + r * r + s * s, p * s - q * r);
    let smaller = (squares - (squares * squares - 4.0 * determinant * determinant).max(0.0).sqrt()) / 2.0;
    smaller.clamp(0.0, 1.0).sqrt().acos().to_degrees()
}

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn two_numbers_span_the_principal_components() -> Result<()> {
    let mnist = data::load(&test_data().join("data/mnist").to_string_lossy())?;
    let all: Vec<u32> = (0..mnist.train.len() as u32).collect();
    let Values::U8(bytes) = mnist.train.read(&all)? else { panic!("bytes") };
    let expected = principal_components(&bytes, 784);
    let mut spec = ModelSpec::resolve("linear")?;
    spec.set_latent(2)?;
    spec.train.epochs = 15;
    let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
    autoencoder.fit(&mnist.train, None, &mut ())?;
    let weight = autoencoder.parameter("decoder.0.weight").expect("the decoder's weight").to_f64();
    let mut found: Vec<[f64; 2]> = weight.chunks(2).map(|row| [row[0], row[1]]).collect();
    orthonormal(&mut found);
    let angle = angle(&found, &expected);
    println!("the planes lie {angle:.3} degrees apart");
    assert!(angle < 1.0, "{angle} degrees");
    Ok(())
}
