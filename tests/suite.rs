//! smoke
use pinhole::Device;
use pinhole::graph::*;
use pinhole::tensor::*;
#[test]
fn smoke() {
    let mut g = Graph::new();
    let x = g.input("x", [5, 3, 9, 11], DType::Float).unwrap();
    let w = g.input("w", [6, 3, 3, 3], DType::Float).unwrap();
    let b = g.input("b", [6], DType::Float).unwrap();
    let y = g.conv2d(x, w, Window::square(2, 1)).unwrap();
    let b4 = g.reshape(b, [6, 1, 1]).unwrap();
    let y = g.add(y, b4).unwrap();
    let y = g.unary(Unary::Sigmoid, y).unwrap();
    let s = g.unary(Unary::Square, y).unwrap();
    let l = g.mean_all(s).unwrap();
    let grads = g.gradients(l, &[x, w, b]).unwrap();
    let outs = [y, l, grads[0], grads[1], grads[2]];
    let names: Vec<String> = (0..5).map(|i| format!("o{i}")).collect();
    let named: Vec<_> = outs.iter().copied().zip(names.iter().map(|s| &s[..])).collect();
    println!("{}", pinhole::plan::Plan::new("smoke", &g, &named).unwrap());
    let t = |n: usize, s: f32| (0..n).map(|i| ((i as f32 * 0.7 + s).sin())).collect::<Vec<f32>>();
    let ins = [
        ("x", Tensor::from_f32([5, 3, 9, 11], t(5 * 3 * 99, 0.0)).unwrap()),
        ("w", Tensor::from_f32([6, 3, 3, 3], t(6 * 27, 1.0)).unwrap()),
        ("b", Tensor::from_f32([6], t(6, 2.0)).unwrap()),
    ];
    let oracle = Device::CpuF64.compute(&g, &outs, &ins).unwrap();
    for d in ["cpu", "gpu"] {
        let r = Device::open(d).unwrap().compute(&g, &outs, &ins).unwrap();
        for (a, b) in r.iter().zip(&oracle) {
            let (a, b) = (a.to_f64(), b.to_f64());
            let big = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let e = a.iter().zip(&b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
            println!("{d} {} rel {:e}", b.len(), e / big);
        }
    }
}
