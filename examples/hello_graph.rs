//! Computes a matrix product, its fused activation and a gradient on the CPU and on a GPU, and compares the results.
//!
//!     cargo run --release --example hello_graph

use pinhole::graph::{Graph, Unary};
use pinhole::plan::Plan;
use pinhole::tensor::{DType, Tensor};
use pinhole::{Device, Result};

fn main() -> Result<()> {
    // The graph says what is computed: y = tanh(a b), and the derivative of its mean with respect to a.
    let mut graph = Graph::new();
    let a = graph.input("a", [2, 3], DType::Float)?;
    let b = graph.input("b", [3, 4], DType::Float)?;
    let product = graph.matmul(a, b, false, false)?;
    let y = graph.unary(Unary::Tanh, product)?;
    let mean = graph.mean_all(y)?;
    let slope = graph.gradients(mean, &[a])?[0];

    // The plan says how: a list of launches.
    print!("{}", Plan::new("hello", &graph, &[(y, "y"), (slope, "slope")])?);

    // Devices compute it.
    let inputs = [
        ("a", Tensor::from_f32([2, 3], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?),
        ("b", Tensor::from_f32([3, 4], (0..12).map(|i| i as f32 / 12.0).collect())?),
    ];
    let here = Device::open("cpu")?.compute(&graph, &[y, slope], &inputs)?;
    let gpu = match Device::open("gpu") {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    let there = gpu.compute(&graph, &[y, slope], &inputs)?;
    for (name, here, there) in [("y", &here[0], &there[0]), ("slope", &here[1], &there[1])] {
        println!("{name} on cpu: {:?}", here.to_f32());
        println!("{name} on {}: {:?}", gpu.name(), there.to_f32());
        let apart = here.to_f64().iter().zip(there.to_f64()).map(|(h, t)| (h - t).abs()).fold(0.0, f64::max);
        assert!(apart <= 1e-6, "{name} differs by {apart}");
    }
    Ok(())
}
