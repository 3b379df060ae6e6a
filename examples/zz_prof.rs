use pinhole::plan::*;
use pinhole::*;
fn main() {
    let spec = model::ModelSpec::resolve(&std::env::args().nth(1).unwrap()).unwrap();
    let dev = Device::open(&std::env::args().nth(2).unwrap()).unwrap();
    let plan = train::training_plan(&model::Network::new(spec).unwrap(), 1000).unwrap();
    let mut total = 0.0;
    for (i, step) in plan.steps.iter().enumerate() {
        let p = Plan { name: "one".into(), steps: vec![step.clone()], buffers: plan.buffers.clone() };
        let mut s = dev.load(&[p]).unwrap();
        s.run(0, 1).unwrap();
        s.wait().unwrap();
        let t = std::time::Instant::now();
        let n = 5;
        for _ in 0..n {
            s.run(0, 1).unwrap();
        }
        s.wait().unwrap();
        let ms = t.elapsed().as_secs_f64() * 1e3 / n as f64;
        total += ms;
        println!(
            "{i:2} {:22} {:10} {:8.3} ms {:7.2} GFLOP/s {:?}",
            step.kernel.name(),
            step.label,
            ms,
            step.operations as f64 / ms / 1e6,
            step.slots.iter().map(|s| s.shape.to_string()).collect::<Vec<_>>()
        );
    }
    println!("total {total:.2} ms");
}
