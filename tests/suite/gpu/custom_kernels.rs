//! Kernels of an application: what their text must be, where they appear, and training through them. Parity and gradients
//! are in the table of cases.

use crate::support::*;
use pinhole::graph::{CustomKernel, Graph, Unary, Value};
use pinhole::model::Network;
use pinhole::model::config::OptimizerSpec;
use pinhole::nn::{Context, CustomLayer, Layer, Misfit};
use pinhole::plan::{Kernel, Plan};
use pinhole::shape::Shape;
use pinhole::tensor::{DType, Tensor};
use pinhole::train::{Options, Trainer, training_plan};
use pinhole::{Device, Error, Result};

/// What building a kernel of this text over `[4, 6]` and `[6]` says.
fn told(source: &str) -> String {
    let kernel = CustomKernel::new("blend", source, |_, _| 0.0);
    let build = || -> Result<Value> {
        let mut graph = Graph::new();
        let x = graph.input("x", [4, 6], DType::Float)?;
        let w = graph.input("w", [6], DType::Float)?;
        graph.custom(&kernel, &[x, w], [4, 6])
    };
    build().map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn texts_that_will_not_do_are_refused_at_once() {
    assert_eq!(told("fn element(i: u32) -> f32 { return x0[i] * x1[i % X0_SIZE1]; }"), "");
    let good = "fn weight(i: u32) -> f32 { return x1[i % X1_SIZE0]; }\nstruct Pair { a: f32, b: f32 }\nvar<private> kept: f32;\n\
                fn element(i: u32) -> f32 { kept = weight(i); return Pair(x0[i], kept).a * kept; }";
    assert_eq!(told(good), "");
    for (source, expected) in [
        // naga's own words, with the line of the application's text.
        ("fn element(i: u32) -> f32 {\n    return x0[i] * weigth(i);\n}", "blend.wgsl:2:20"),
        ("fn element(i: u32) -> f32 {\n    return x0[i] x1[i];\n}", "blend.wgsl:2:"),
        (
            "fn element(i: u32) -> f32 {\n\n    x0[i] = 1.0;\n    return x1[i];\n}",
            "3 │ │ x0[i] = 1.0; │ │ ^^^^^ writing to this",
        ),
        ("fn element(i: u32) -> f32 { return x0[i] + x2[i] * x1[0]; }", "x2"),
        ("", "its text has no function element; write fn element(i: u32) -> f32 { .. }"),
        ("fn element(i: i32) -> f32 { return x0[i] * x1[0]; }", "its text has no function element; write"),
        ("fn element(i: u32) -> vec2<f32> { return vec2(x0[i], x1[0]); }", "its text has no function element; write"),
        (
            "fn element(i: u32) -> f32 { return x0[i]; }",
            "its function element does not read x1; leave this operand out",
        ),
        (
            "@compute @workgroup_size(1) fn main() {}\nfn element(i: u32) -> f32 { return x0[i] * x1[0]; }",
            "its text has an entry point; write fn element(i: u32) -> f32 alone",
        ),
        (
            "@group(0) @binding(9) var<storage, read> z: array<f32>;\nfn element(i: u32) -> f32 { return x0[i] * x1[0] * z[0]; }",
            "its text has the buffer z; read operands, x0, x1, .., and return the element",
        ),
        (
            "var<workgroup> z: array<f32, 64>;\nfn element(i: u32) -> f32 { return x0[i] * x1[0] * z[0]; }",
            "its text has the buffer z; read operands",
        ),
        ("const COUNT = 3u;\nfn element(i: u32) -> f32 { return x0[i] * x1[COUNT]; }", "COUNT"),
        ("fn custom() {}\nfn element(i: u32) -> f32 { return x0[i] * x1[0]; }", "custom"),
    ] {
        let told = told(source);
        assert!(told.starts_with("kernel \"blend\": ") && told.contains(expected), "{source}\n{told}");
        assert!(!told.contains('\n'), "{told}");
    }
}

#[test]
fn operands_and_derivatives_are_checked() -> Result<()> {
    let first = "fn element(i: u32) -> f32 { return x0[i]; }";
    let mut graph = Graph::new();
    let x = graph.input("x", [3], DType::Float)?;
    let kernel = CustomKernel::new("first", first, |x, i| x[0].at(i));
    let told = |result: Result<Value>| result.expect_err("a refusal").to_string();
    assert!(told(graph.custom(&kernel, &[x; 8], [3])).contains("8 operands given to \"first\", at most 7 are bound"));
    assert!(told(graph.custom(&kernel, &[x], [0])).contains("[0] has a size of zero"));
    let bytes = graph.input("bytes", [3], DType::U8)?;
    assert!(told(graph.custom(&kernel, &[bytes], [3])).contains("is U8, not Float"));
    // No derivative, a wrong one, a missing one.
    let y = graph.custom(&kernel, &[x], [3])?;
    let loss = graph.mean_all(y)?;
    let none = graph.gradients(loss, &[x]).expect_err("no derivative").to_string();
    assert!(none.contains("\"first\" has no derivative: give it one by CustomKernel::with_gradient"), "{none}");
    // Where nothing is trained through it, it needs none.
    let z = graph.input("z", [3], DType::Float)?;
    let product = graph.multiply(y, z)?;
    let loss = graph.mean_all(product)?;
    graph.gradients(loss, &[z])?;
    let wrong = kernel.clone().with_gradient(|graph, _, _, gradient| Ok(vec![Some(graph.mean_all(gradient)?)]));
    let y = graph.custom(&wrong, &[x], [3])?;
    let loss = graph.mean_all(y)?;
    let told = graph.gradients(loss, &[x]).expect_err("another shape").to_string();
    assert!(told.contains("the derivative of \"first\" gives [], its operands are [3]"), "{told}");
    Ok(())
}

/// The cube of each element, with its derivative.
fn cube() -> CustomKernel {
    let kernel = CustomKernel::new("cube", "fn element(i: u32) -> f32 { return x0[i] * x0[i] * x0[i]; }", |x, i| {
        x[0].at(i).powi(3)
    });
    kernel.with_gradient(|graph, x, _, gradient| {
        let square = graph.unary(Unary::Square, x[0])?;
        let slope = graph.scale(square, 3.0)?;
        Ok(vec![Some(graph.multiply(slope, gradient)?)])
    })
}

/// [`cube`] as a layer.
struct Cube(CustomKernel);

impl CustomLayer for Cube {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    fn apply(&self, cx: &mut Context, x: Value, _parameters: &[Value]) -> Result<Value> {
        let shape = cx.shape(x).clone();
        cx.custom(&self.0, &[x], shape)
    }
}

fn cubic() -> Network {
    let mut spec = spec(SMALL_DENSE);
    spec.encoder.insert(1, Layer::custom("cube", Cube(cube())));
    // Adam makes steps of rounding errors.
    spec.train.optimizer = OptimizerSpec::sgd(0.5);
    Network::new(spec).expect("a network")
}

#[test]
fn own_kernels_are_trained_through_and_listed() -> Result<()> {
    let (network, data) = (cubic(), pinhole::data::digits(96, 3));
    let plan = training_plan(&network, 96, gpu().target())?;
    let own: Vec<_> = plan.steps.iter().filter(|step| step.kernel == Kernel::Custom).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].label, "encoder.1");
    let listed = plan.to_string();
    let line = listed.lines().find(|line| line.contains("custom.custom")).expect("a line");
    assert!(line.contains("encoder.1") && line.ends_with(" own cube"), "{line}");
    crate::plan::kernels::check_plan(&plan, &gpu().target()).unwrap_or_else(|error| panic!("{error}"));
    // The same as the cube of the graph's ops.
    struct Plain;
    impl CustomLayer for Plain {
        fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
            Ok(input.clone())
        }
        fn apply(&self, cx: &mut Context, x: Value, _parameters: &[Value]) -> Result<Value> {
            let square = cx.unary(Unary::Square, x)?;
            cx.multiply(square, x)
        }
    }
    let mut spec = network.spec().clone();
    spec.encoder[1] = Layer::custom("plain", Plain);
    let plain = Network::new(spec)?;
    let expected = train(&plain, &Device::CpuF64, &data, None, Options::default());
    for (device, tolerance) in [(Device::CpuF64, 1e-10), (Device::Cpu, 1e-4), (gpu(), 1e-4)] {
        let found = train(&network, &device, &data, None, Options::default());
        expect_close("losses", &found.losses, &expected.losses, tolerance, Scale::Relative);
        let (found, expected) = (wide(&found.parameters), wide(&expected.parameters));
        expect_close("parameters", &found, &expected, tolerance, Scale::Largest);
    }
    Ok(())
}

/// `--check` finds an application's text and function that disagree.
#[test]
fn a_kernel_whose_two_forms_differ_is_found() -> Result<()> {
    let data = pinhole::data::digits(64, 3);
    let check = |kernel: CustomKernel| {
        let mut spec = spec(SMALL_DENSE);
        spec.encoder.insert(1, Layer::custom("cube", Cube(kernel)));
        let (network, device) = (Network::new(spec)?, gpu());
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
        trainer.start(&initial(&network))?;
        trainer.check(1)
    };
    check(cube())?;
    let other =
        CustomKernel::new("cube", "fn element(i: u32) -> f32 { return x0[i] * x0[i]; }", |x, i| x[0].at(i).powi(3));
    let other = other.with_gradient(|_, _, _, gradient| Ok(vec![Some(gradient)]));
    match check(other) {
        Err(Error::Disagreement { launch, .. }) => assert!(launch.contains("custom.custom"), "{launch}"),
        Ok(agreement) => panic!("no disagreement: {agreement:?}"),
        Err(error) => panic!("{error}"),
    }
    Ok(())
}

/// Reading past an end is bounded on a GPU, and zero on the CPU: never a crash.
#[test]
fn a_kernel_that_reads_past_the_end_does_no_harm() -> Result<()> {
    let source = "fn element(i: u32) -> f32 { return x0[i + 1000000u] * 0.0 + f32(i); }";
    let far = CustomKernel::new("far", source, |x, i| x[0].at(i + 1_000_000) * 0.0 + i as f64);
    let mut graph = Graph::new();
    let x = graph.input("x", [70], DType::Float)?;
    let y = graph.custom(&far, &[x], [70])?;
    let expected: Vec<f32> = (0..70).map(|i| i as f32).collect();
    for device in all_devices() {
        let x = Tensor::from_f32([70], vec![1.0; 70])?;
        let found = device.compute(&graph, &[y], &[("x", x)])?;
        assert_eq!(found[0].to_f32(), expected, "{}", device.name());
    }
    Ok(())
}

#[test]
fn two_own_kernels_may_share_names_in_one_plan() -> Result<()> {
    let kernel = |name: &str, factor: f64| {
        let source = format!(
            "struct Own {{ a: f32 }}\nconst FACTOR = {factor:?}f;\nfn element(i: u32) -> f32 {{ return Own(x0[i]).a * FACTOR; }}"
        );
        CustomKernel::new(name, source, move |x, i| x[0].at(i) * factor)
    };
    let mut graph = Graph::new();
    let x = graph.input("x", [5], DType::Float)?;
    let a = graph.custom(&kernel("a", 2.0), &[x], [5])?;
    let b = graph.custom(&kernel("b", 3.0), &[x], [5])?;
    let y = graph.add(a, b)?;
    let plan = Plan::new("both", &graph, &[(y, "y")])?;
    assert_eq!(plan.steps.iter().filter(|step| step.kernel == Kernel::Custom).count(), 2);
    for device in all_devices() {
        let x = Tensor::from_f32([5], vec![1.0, 2.0, 3.0, 4.0, 5.0])?;
        let found = device.compute(&graph, &[y], &[("x", x)])?;
        assert_eq!(found[0].to_f32(), [5.0, 10.0, 15.0, 20.0, 25.0], "{}", device.name());
    }
    Ok(())
}
