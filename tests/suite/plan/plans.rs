//! Plans as plain data: how one prints, how little memory it takes, and that no value is overwritten before it was read.

use crate::cases;
use crate::check::{Work, report};
use crate::support::{network, spec};
use expect_test::expect;
use pinhole::Result;
use pinhole::graph::{Graph, Unary, Value, Window};
use pinhole::model::Network;
use pinhole::model::config::Contractive;
use pinhole::plan::LayoutEntry;
use pinhole::plan::{
    Access, Gradients, Kernel, Limits, Metrics, Optimizer, ParameterLayout, Plan, Request, Target, Training, Without,
    state,
};
use pinhole::tensor::DType;
use pinhole::train::default_samples;

/// Samples of the resident data set, and those of a batch, in [`training_plan`].
pub const SAMPLES: [usize; 2] = [23, 6];
/// Elements of a sample.
pub const SAMPLE: usize = 36;
/// Steps that its schedule holds.
pub const STEPS: usize = 7;

/// Every optimiser, with all that it can do.
pub const OPTIMIZERS: [Optimizer; 13] = [
    Optimizer::Sgd { momentum: 0.9, nesterov: false },
    Optimizer::Sgd { momentum: 0.8, nesterov: true },
    Optimizer::RmsProp { alpha: 0.9, eps: 1e-6, momentum: 0.0, centered: false },
    Optimizer::RmsProp { alpha: 0.9, eps: 1e-6, momentum: 0.5, centered: true },
    Optimizer::ADAM,
    Optimizer::AdamW { betas: [0.8, 0.99], eps: 1e-6, amsgrad: false },
    Optimizer::Adagrad { lr_decay: 0.1, eps: 1e-8 },
    Optimizer::Adadelta { rho: 0.8, eps: 1e-4 },
    Optimizer::NAdam { betas: [0.9, 0.99], eps: 1e-6, momentum_decay: 4e-3 },
    Optimizer::Lion { betas: [0.9, 0.99] },
    Optimizer::Adam { betas: [0.9, 0.9], eps: 0.0, amsgrad: true },
    Optimizer::AdaMax { betas: [0.8, 0.9], eps: 1e-6 },
    Optimizer::RAdam { betas: [0.5, 0.6], eps: 1e-6 },
];

/// All that can happen to gradients on their way to the optimiser.
pub const EVERYTHING: Gradients =
    Gradients { accumulated: true, value_limit: true, norm_limit: true, skip: true, averaged: true, scaled: false };

/// A training step as the trainer builds it, in small: a batch of bytes, noise, a convolution, a linear code, a transposed
/// convolution, MSE, an optimiser, metrics.
pub fn training_plan(optimizer: Optimizer) -> (Plan, ParameterLayout) {
    training_plan_on(&Target::default(), optimizer, Gradients::default())
}

/// The same with more between gradients and optimiser.
pub fn training_plan_on(target: &Target, optimizer: Optimizer, own: Gradients) -> (Plan, ParameterLayout) {
    let mut graph = Graph::new();
    let training = build(&mut graph, optimizer, own).expect("a well-formed graph");
    let layout = ParameterLayout::of(&graph);
    let (training, metrics) = training;
    let request = Request {
        name: "training step",
        graph: &graph,
        outputs: vec![],
        layout: &layout,
        training: Some(training),
        metrics: Some(metrics),
        target: target.clone(),
    };
    (Plan::build(request).expect("a plan"), layout)
}

/// That step with every optimiser.
pub fn training_plans(target: &Target) -> Vec<Plan> {
    let [samples, _] = SAMPLES;
    // The parts of the generator and of the data set that the training step does not use.
    let mut graph = Graph::new();
    let draw = |graph: &mut Graph| {
        let state = graph.state("state")?;
        let data = graph.input("data", [samples, SAMPLE], DType::Float)?;
        let permutation = graph.input("permutation", [samples], DType::U32)?;
        Ok::<_, pinhole::Error>([graph.random_bits(state, [1000])?, graph.batch(data, permutation, state, 5)?])
    };
    let [bits, batch] = draw(&mut graph).expect("a well-formed graph");
    let other = Plan::on(target, "bits and floats", &graph, &[(bits, "bits"), (batch, "batch")]).expect("a plan");
    let all = [&OPTIMIZERS[..], &[Optimizer::SGD]].concat();
    let steps = all.into_iter().flat_map(|optimizer| {
        let scaled = Gradients { scaled: true, ..EVERYTHING };
        [Gradients::default(), EVERYTHING, scaled].map(|gradients| training_plan_on(target, optimizer, gradients).0)
    });
    let mut graph = Graph::new();
    let (mut training, metrics) = build(&mut graph, Optimizer::ADAM, EVERYTHING).expect("a well-formed graph");
    let dictionary = graph.parameter("encoder.3.weight", [27, 27]).expect("a parameter");
    graph.keep_unit_columns(dictionary).expect("a matrix");
    training.trained.retain(|trained| trained.parameter == "encoder.3.weight");
    let layout = ParameterLayout::of(&graph);
    let request = Request {
        name: "unit columns",
        graph: &graph,
        outputs: vec![],
        layout: &layout,
        training: Some(training),
        metrics: Some(metrics),
        target: target.clone(),
    };
    steps.chain([other, Plan::build(request).expect("a plan")]).collect()
}

fn build(graph: &mut Graph, optimizer: Optimizer, own: Gradients) -> pinhole::Result<(Training, Metrics)> {
    let [samples, batch] = SAMPLES;
    let words = graph.state("state")?;
    let data = graph.input("data", [samples, 1, 6, 6], DType::U8)?;
    let permutation = graph.input("permutation", [samples], DType::U32)?;
    let x = graph.batch(data, permutation, words, batch)?;
    let noise = graph.random_normal(words, [batch, 1, 6, 6])?;
    let noise = graph.scale(noise, 0.1)?;
    let noisy = graph.add(x, noise)?;
    graph.set_scope("encoder.0");
    let (w, b) = (graph.parameter("encoder.0.weight", [3, 1, 3, 3])?, graph.parameter("encoder.0.bias", [3])?);
    let b = graph.reshape(b, [3, 1, 1])?;
    let y = graph.conv2d(noisy, w, Window::square(2, 1))?;
    let y = graph.add(y, b)?;
    let y = graph.unary(Unary::Relu, y)?;
    let y = graph.reshape(y, [batch, 27])?;
    graph.set_scope("encoder.3");
    let (w, b) = (graph.parameter("encoder.3.weight", [27, 27])?, graph.parameter("encoder.3.bias", [27])?);
    let y = graph.matmul(y, w, false, true)?;
    let y = graph.add(y, b)?;
    let y = graph.unary(Unary::Tanh, y)?;
    let y = graph.reshape(y, [batch, 3, 3, 3])?;
    graph.set_scope("decoder.0");
    let (w, b) = (graph.parameter("decoder.0.weight", [3, 1, 3, 3])?, graph.parameter("decoder.0.bias", [1])?);
    let y = graph.conv2d_grad_input(y, w, Window::square(2, 1), [6, 6])?;
    let b = graph.reshape(b, [1, 1, 1])?;
    let y = graph.add(y, b)?;
    let y = graph.unary(Unary::Sigmoid, y)?;
    graph.set_scope("loss");
    let difference = graph.subtract(y, x)?;
    let square = graph.unary(Unary::Square, difference)?;
    let loss = graph.mean_all(square)?;
    let layout = ParameterLayout::of(graph);
    let names: Vec<String> = layout.entries().iter().map(|entry| entry.name.clone()).collect();
    let parameters: Vec<Value> = layout
        .entries()
        .iter()
        .map(|LayoutEntry { name, shape, .. }| graph.parameter(name, shape.clone()))
        .collect::<pinhole::Result<_>>()?;
    let gradients = match own.scaled {
        true => {
            let norm = graph.input(state::NORM, [own.norm_numbers()], DType::Float)?;
            let scale = graph.slice(norm, &[state::SCALE], [1])?;
            let scale = graph.reshape(scale, graph.shape(loss).clone())?;
            graph.gradients_times(scale, loss, &parameters)?
        }
        false => graph.gradients(loss, &parameters)?,
    };
    let values = graph.reshape(loss, [1])?;
    let gradients = names.into_iter().zip(gradients);
    let training = Training { gradients: own, ..Training::new(gradients, optimizer, STEPS) };
    Ok((training, Metrics { state: words, values, ring: "ring".to_owned(), samples: batch }))
}

#[test]
fn a_training_step_prints_one_line_for_each_launch() {
    let (plan, _) = training_plan(Optimizer::ADAM);
    expect![[r#"
        plan "training step": 10 launches, 60862 FLOP and 62908 bytes moved a step, 40416 bytes of memory
          0 batch.batch_bytes                [23, 1, 6, 6]@data [23]@permutation [8]@state =[6, 1, 6, 6]@work0 groups 1 flop 0 bytes 1136 fused copy
          1 random.uniform_draw              [8]@state =[6, 1, 6, 6]@work1 [6, 1, 6, 6]@work0 groups 1 flop 648 bytes 1760 fused normal_quantile+multiply+add
          2 conv2d.forward       encoder.0   [3, 3, 3, 1]@parameters [6, 6, 6, 1]@work1 =[6, 3, 3, 3]@work0+256 [3]@parameters+64 groups 2 tile workgroup 8x32 flop 3240 bytes 1632 fused add+relu
          3 matmul.product       encoder.3   [6, 27]@work0+256 [27, 27]@parameters+128 =[6, 3, 3, 3]@work1+256 [27]@parameters+896 groups 1 tile workgroup 8x32 flop 9072 bytes 4320 fused add+hyperbolic_tangent
          4 conv2d.grad_input    decoder.0   [3, 3, 3, 1]@parameters+960 [6, 3, 3, 3]@work1+256 =[6, 6, 6, 1]@work2 =[8, 1]@work2+256 [1]@parameters+1024 [6, 1, 6, 6]@work0 groups 8 tile workgroup 8x32 flop 5076 bytes 2520 fused add+sigmoid+subtract+multiply+multiply+subtract+multiply+multiply+square+multiply
          5 conv2d.forward       encoder.3   [3, 3, 3, 1]@parameters+960 [6, 6, 6, 1]@work2 =[6, 27]@work0 [6, 3, 3, 3]@work1+256 groups 2 tile workgroup 8x32 flop 3402 bytes 2268 fused square+subtract+multiply
          6+conv2d.grad_weight   decoder.0   [6, 3, 3, 3]@work1+256 [6, 6, 6, 1]@work2 =[3, 3, 3, 1]@gradients groups 2 tile workgroup 8x8 flop 2916 bytes 1620
          7+reduce.column_sums   decoder.0   =[1]@gradients+1024 [6, 6, 6, 1]@work2 groups 1 flop 216 bytes 868 fused copy
          8 matmul.product       encoder.0   [6, 27]@work0 [27, 27]@parameters+128 =[6, 3, 3, 3]@work1+256 [6, 3, 3, 3]@work0+256 groups 1 tile workgroup 8x32 flop 9072 bytes 4860 fused unit_step+multiply
          9+matmul.product       encoder.3   [6, 27]@work0 [6, 27]@work0+256 =[27, 27]@gradients+64 groups 4 tile workgroup 8x32 flop 8748 bytes 4212
         10+reduce.column_sums   encoder.3   =[27]@gradients+960 [6, 27]@work0 groups 1 flop 162 bytes 756 fused copy
         11 conv2d.grad_weight   encoder.0   [6, 3, 3, 3]@work1+256 [6, 6, 6, 1]@work1 =[3, 3, 3, 1]@gradients+832 groups 2 tile workgroup 8x8 flop 2916 bytes 1620
         12+reduce.column_sums   encoder.0   =[3]@gradients+896 [6, 3, 3, 3]@work1+256 groups 1 flop 162 bytes 660 fused copy
         13 optimizer.update     adam        [1088]@gradients [85]@segmentsoftrainingstep [7, 16]@schedule [8]@state ~[1088]@parameters ~[2176]@moments groups 5 flop 15232 bytes 18228
         14 state.advance        state       [8, 1]@work2+256 ~[4096, 1]@ring ~[8]@state groups 1 flop 0 bytes 16448
    "#]].assert_eq(&plan.to_string());
}

/// Every read of a value that lives within a step meets exactly what the last launch before it wrote there.
pub fn reads_what_was_written(plan: &Plan) -> Result<(), String> {
    for (index, step) in plan.steps.iter().enumerate() {
        for (position, slot) in step.slots.iter().enumerate() {
            let buffer = &plan.buffers[slot.buffer];
            let range = slot.offset..slot.offset + slot.shape.elements();
            if range.end > buffer.elements {
                return Err(format!("step {index}, slot {position} ends beyond buffer \"{}\"", buffer.name));
            }
            if buffer.persistent || step.access(position) != Access::Read {
                continue;
            }
            let writes = plan.steps[..index].iter().rev().flat_map(|step| {
                let writes =
                    step.slots.iter().enumerate().filter(|(position, _)| step.access(*position) != Access::Read);
                writes.map(|(_, slot)| slot)
            });
            let mut overlapping = writes
                .filter(|other| other.buffer == slot.buffer)
                .filter(|other| other.offset < range.end && range.start < other.offset + other.shape.elements());
            let last = overlapping.next().map(|other| other.offset..other.offset + other.shape.elements());
            if last != Some(range.clone()) {
                let name = &buffer.name;
                return Err(format!("step {index} reads {range:?} of \"{name}\", where {last:?} was written last"));
            }
        }
    }
    Ok(())
}

#[test]
fn no_value_is_overwritten_before_its_last_reader() {
    let plans =
        cases::all().into_iter().flat_map(|case| Work::new(&case).plans).chain(training_plans(&Target::default()));
    let failures = plans
        .filter_map(|plan| reads_what_was_written(&plan).err().map(|error| format!("plan \"{}\": {error}", plan.name)));
    report(failures.collect());
}

/// A chain of products, each of which needs memory of its own size.
fn layers(depth: usize) -> (Graph, Value, Value) {
    let mut graph = Graph::new();
    let x = graph.input("x", [64, 100], DType::Float).expect("an input");
    let mut y = x;
    for layer in 0..depth {
        let weight = graph.parameter(&format!("{layer}.weight"), [100, 100]).expect("a parameter");
        y = graph.matmul(y, weight, false, true).expect("a product");
        y = graph.unary(Unary::Tanh, y).expect("an activation");
    }
    let loss = graph.mean_all(y).expect("a mean");
    (graph, loss, x)
}

#[test]
fn what_goes_on_with_the_rows_it_reduced_is_one_launch() {
    for name in ["two reductions normalise: softmax [9, 21]", "layer norm [6, 35]"] {
        let case = cases::all().into_iter().find(|case| case.name == name).expect("a case");
        let plan = &Work::new(&case).plans[0];
        assert_eq!(plan.steps.iter().map(|step| step.kernel).collect::<Vec<_>>(), [Kernel::Rows], "{plan}");
        let whole = Target { without: Without::parse("epilogues").expect("a name"), ..Target::default() };
        assert!(Work::on(&case, &whole).plans[0].steps.len() > 2);
    }
}

#[test]
fn a_chain_of_products_takes_the_memory_of_two() {
    let (graph, loss, _) = layers(20);
    let plan = Plan::new("chain", &graph, &[(loss, "loss")]).expect("a plan");
    let work: Vec<_> = plan.buffers.iter().filter(|buffer| !buffer.persistent).collect();
    assert_eq!(work.len(), 2, "{work:?}");
    let elements: usize = work.iter().map(|buffer| buffer.elements).sum();
    assert!(elements <= 2 * 6400 + 256, "{elements} elements for layers of 6400");
    // Each product with its activation is one launch, and the mean one or two.
    assert!(plan.steps.len() <= 22, "{plan}");
}

#[test]
fn a_backward_pass_keeps_each_activation_once() {
    let depth = 12;
    let (mut graph, loss, x) = layers(depth);
    let gradient = graph.gradients(loss, &[x]).expect("a gradient")[0];
    let plan = Plan::new("chain", &graph, &[(gradient, "gradient")]).expect("a plan");
    let work: Vec<_> = plan.buffers.iter().filter(|buffer| !buffer.persistent).collect();
    assert!(work.len() <= 3, "{work:?}");
    let elements: usize = work.iter().map(|buffer| buffer.elements).sum();
    assert!(elements <= (depth + 4) * 6400, "{elements} elements for {depth} layers of 6400");
    assert_eq!(plan.hazard(), None);
}

#[test]
fn a_plan_says_which_limit_it_breaks() {
    let (plan, _) = training_plan(Optimizer::SGD);
    let message = |limits: Limits| plan.check(&limits).err().map(|error| error.to_string()).unwrap_or_default();
    let whole = Limits::default();
    assert_eq!(message(whole), "");
    expect![[r#"plan "training step", step 0 (batch.batch_bytes ""): storage buffers is 4, the adapter allows 3; use another device"#]].assert_eq(&message(Limits { storage_buffers: 3, ..whole }));
    expect![[r#"plan "training step", step 0 (batch.batch_bytes ""): workgroup size is 64, the adapter allows 32; use another device"#]].assert_eq(&message(Limits { invocations: 32, ..whole }));
    expect![[r#"plan "training step", step 3 (matmul.product "encoder.3"): bytes of a binding is 2916, the adapter allows 1000; use a smaller batch or model"#]].assert_eq(&message(Limits { binding_bytes: 1000, ..whole }));
    expect![[r#"plan "training step", buffer "ring": buffer size is 16384, the adapter allows 10000; use a smaller batch or model"#]].assert_eq(&message(Limits { buffer_bytes: 10_000, ..whole }));
    expect![[r#"plan "training step", step 2 (conv2d.forward "encoder.0"): workgroups along an axis is 2, the adapter allows 1; use a smaller batch or model"#]].assert_eq(&message(Limits { workgroups: 1, ..whole }));
}

/// Launches of a training step of these layers on samples of this shape.
fn launches(input: &str, layers: &str) -> usize {
    let elements: usize = input.split(',').map(|size| size.trim().parse::<usize>().expect("a size")).product();
    let text = format!(
        "input = [{input}]\nloss = \"mse\"\nencoder = [{layers}]\ndecoder = [\"flatten\", {{ linear = {elements} }}]\n\
         [train]\nbatch = 8\noptimizer = \"adam\"\n"
    );
    let network = crate::support::network(&text);
    // Which launches share a dispatch depends on their sizes.
    let target = Target { software: true, ..Target::default() };
    pinhole::train::training_plan(&network, 16, target).expect("a plan").launches().count()
}

#[test]
fn a_recurrence_takes_as_many_launches_for_many_steps_as_for_few() {
    for layers in ["{ lstm = 6 }", "{ gru = 6 }", "{ lstm = 6 }, { gru = { out = 5, last = true } }"] {
        // So many that no sum over all of them is long enough to be cut.
        assert_eq!(launches("30, 6", layers), launches("3, 6", layers), "{layers}");
    }
}

/// Pictures so large that 60,000 of them are more than a buffer holds are planned for fewer.
#[test]
fn large_samples_are_planned_for_as_many_as_a_buffer_holds() {
    let of = |text: &str| -> Result<usize> {
        let network = network(text);
        let samples = default_samples(&network);
        let plan = pinhole::train::training_plan(&network, samples, Target::default())?;
        let data = plan.buffers.iter().find(|buffer| buffer.name == "train.data").expect("the data");
        assert_eq!(data.elements, samples * network.spec().input.elements());
        Ok(samples)
    };
    let text = |input: &str, batch: usize| {
        format!(
            "input = {input}\nloss = \"mse\"\n\
             encoder = [{{ conv2d = {{ out = 2, kernel = 3, stride = 2, padding = 1 }} }}]\n\
             decoder = [{{ upsample_nearest = 2 }}, {{ conv2d = {{ out = 1, kernel = 1 }} }}]\n[train]\nbatch = {batch}\n"
        )
    };
    assert_eq!(of(&text("[1, 28, 28]", 4)).expect("a plan"), 60_000);
    assert_eq!(of(&text("[1, 256, 256]", 4)).expect("a plan"), 2048);
    // A batch is the least.
    assert_eq!(of(&text("[1, 8192, 8192]", 4)).expect("a plan"), 4);
    expect!["batch: 64 samples of 67108864 numbers each are more than 2^31 numbers; use 32 or fewer"]
        .assert_eq(&of(&text("[1, 8192, 8192]", 64)).expect_err("too many").to_string());
    let network = network(&text("[1, 256, 256]", 4));
    expect!["samples: 60000 samples of 65536 numbers each are more than 2^31 numbers; use 32768 or fewer"].assert_eq(
        &pinhole::train::training_plan(&network, 60_000, Target::default()).expect_err("too many").to_string(),
    );
}

/// A penalty that takes a backward pass for each number of the code: some 7,000 nodes, and hundreds of launches that would
/// bind too much at first. Planning takes well under a second; it took minutes while each remedy began all over again.
#[test]
fn plans_of_thousands_of_nodes_are_sound() {
    let mut spec = spec(
        "input = [784]\nloss = \"mse\"\n\
         encoder = [{ linear = 256 }, \"layer_norm\", \"relu\", { linear = 64 }, \"layer_norm\", \"relu\", { linear = 32 }]\n\
         decoder = [{ linear = 784 }]\n",
    );
    spec.penalties.contractive = Some(Contractive { weight: 0.1, projections: 0 });
    let network = Network::new(spec).expect("a model");
    for limits in [Limits::default(), Limits::DOWNLEVEL] {
        let target = Target { limits, ..Target::default() };
        let plan = pinhole::train::training_plan(&network, 256, target).expect("a plan");
        assert_eq!(plan.hazard(), None);
        plan.check(&limits).expect("it fits");
        assert!(plan.steps.len() > 1000, "{}", plan.steps.len());
    }
}
