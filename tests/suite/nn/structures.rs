//! Lists of layers inside of layers: how model files write them, what is refused and with which words, and how their
//! places are named.

use crate::support::*;
use pinhole::error::Error;
use pinhole::model::ModelSpec;
use pinhole::plan::LayoutEntry;
use std::path::Path;

fn parse(text: &str) -> Result<ModelSpec, Error> {
    ModelSpec::parse(text, Path::new("m.toml"))
}

/// A file with these layers, from 8 features to 8, and what stands after them.
fn file(encoder: &str, rest: &str) -> String {
    format!("input = [8]\nloss = \"mse\"\nencoder = [\n  {encoder}\n]\ndecoder = [{{ linear = 8 }}]\n{rest}")
}

#[test]
fn bad_structures_are_refused_with_their_place() {
    let images = |encoder: &str| {
        file(encoder, "").replace("[8]", "[2, 2, 2]").replace("decoder = [", "decoder = [\"flatten\", ")
    };
    let cases: Vec<(String, &str)> = vec![
        (
            file("{ residual = [{ linear = 6 }] },", ""),
            "m.toml: line 4, encoder.0.residual: the body gives [6], the input [8]; add shortcut = [{ linear = 6 }], say",
        ),
        (
            images("{ residual = [{ conv2d = { out = 3, kernel = 1 } }] },"),
            "m.toml: line 4, encoder.0.residual: the body gives [3, 2, 2], the input [2, 2, 2]; \
             add shortcut = [{ conv2d = { out = 3, kernel = 1 } }], with the body's stride",
        ),
        (
            file("{ residual = [{ unflatten = [2, 2, 2] }] },", ""),
            "m.toml: line 4, encoder.0.residual: the body gives [2, 2, 2], the input [8]; \
             add shortcut = [{ linear = 2 }], say",
        ),
        (
            file("{ residual = { body = [{ linear = 6 }], shortcut = [{ linear = 5 }] } },", ""),
            "m.toml: line 4, encoder.0.residual: the body gives [6], the shortcut [5]; change one of them",
        ),
        (
            images("{ skip = [{ conv2d = { out = 3, kernel = 2 } }] },"),
            "m.toml: line 4, encoder.0.skip: the body gives [3, 1, 1], which does not stand after [2, 2, 2]; \
             let the body keep all sizes but the first",
        ),
        (
            file("{ residual = [\n  \"tanh\",\n  { linear = 0 }] },", ""),
            "m.toml: line 6, encoder.0.residual.body.1.linear: out must be at least 1, got 0; use a positive number",
        ),
        (
            file(
                "{ residual = { body = [{ linear = 8 }], shortcut = [\n{ conv2d = { out = 1, kernel = 1 } }] } },",
                "",
            ),
            "m.toml: line 5, encoder.0.residual.shortcut.0.conv2d: expects [channels, height, width], got [8]; \
             put { unflatten = [channels, height, width] } before it",
        ),
        (
            file("{ residual = [{ linaer = 8 }] },", ""),
            "m.toml: line 4, encoder.0.residual.0: unknown layer \"linaer\"; did you mean \"linear\"?",
        ),
        (
            file("{ residual = [] },", ""),
            "m.toml: line 4, encoder.0.residual.body: has no layers; write at least one, such as { linear = 32 }",
        ),
        (
            file("{ repeat = { times = 0, layers = [\"relu\"] } },", ""),
            "m.toml: line 4, encoder.0.repeat: times must be at least 1, got 0; use a positive number",
        ),
        (
            file("{ repeat = { times = 2 } },", ""),
            "m.toml: line 4, encoder.0.repeat: missing key \"layers\"; write layers = [{ linear = 64 }]",
        ),
        (
            file(
                "{ repeat = { times = 3, layers = [{ unflatten = [8] }, { unflatten = [4, 2] }, { linear = 2 }, { linear = 1 }, \"flatten\"] } },",
                "",
            ),
            "m.toml: line 4, encoder.0.repeat.layers.0.unflatten: cannot make [8] of [4]: the number of elements differs \
             in repetition 2; choose sizes whose product is 4",
        ),
        (
            file("{ repeat = { times = 1000000000, layers = [\"relu\"] } },", ""),
            "m.toml: line 4, encoder.0.repeat.layers.0.relu: the model has more than 10000 layers here in repetition 10001; \
             repeat fewer times",
        ),
        (
            file("{ block = \"dwon\" },", "[blocks]\ndown = [{ linear = 3 }]\n"),
            "m.toml: line 4, encoder.0.block: unknown block \"dwon\"; did you mean \"down\"?",
        ),
        (
            file("{ block = \"down\" },", ""),
            "m.toml: line 4, encoder.0.block: unknown block \"down\"; write down = [{ linear = 64 }] below a [blocks] line, say",
        ),
        (
            file("{ block = \"a\" },", "[blocks]\na = [\n  \"relu\", { linear = 0 }]\n"),
            "m.toml: line 9, blocks.a.1.linear: out must be at least 1, got 0 where encoder.0 uses the block; \
             use a positive number",
        ),
        (
            file("{ block = \"a\" },", "[blocks]\na = [{ block = \"b\" }]\nb = [{ skip = [{ block = \"a\" }] }]\n"),
            "m.toml: line 9, blocks.b.0.skip.0.block: block \"a\" contains itself where encoder.0.0 uses the block; \
             leave it out there",
        ),
        (
            file("{ linear = 2 },", "[blocks]\n\"a b\" = [\"relu\"]\n"),
            "m.toml: line 7, blocks: \"a b\" is no name for a block; use letters, digits, _ and -",
        ),
        (
            file("{ linear = 2 },", "[blocks]\na = 3\n"),
            "m.toml: line 8, blocks.a: expects a list of layers, got 3; write [{ linear = 32 }, \"relu\"], say",
        ),
        (
            file("{ linear = 2 },", "[blocks]\ntrain = [\"relu\"]\nloss = 3\n"),
            "m.toml: line 9, blocks.loss: expects a list of layers, got 3; write [{ linear = 32 }, \"relu\"], say",
        ),
        (file("{ block = 3 },", ""), "m.toml: line 4, encoder.0.block: expects a name, got 3; write \"down\", say"),
        (
            file("{ dropout = 1.5 },", ""),
            "m.toml: line 4, encoder.0.dropout: p must be between 0 and 1, got 1.5; use 0.1, say",
        ),
        (
            file("{ spatial_dropout = 0.5 },", ""),
            "m.toml: line 4, encoder.0.spatial_dropout: expects [channels, ..], got [8]; use \"dropout\" for features",
        ),
        (
            file("{ group_norm = 3 },", ""),
            "m.toml: line 4, encoder.0.group_norm: 8 channels cannot be cut into 3 groups of one size; use a divisor of 8",
        ),
        (
            file("{ layer_norm = { axes = 2 } },", ""),
            "m.toml: line 4, encoder.0.layer_norm: axes = 2 does not fit [8]; use 1 to 1",
        ),
        (
            file("{ attention = 2 },", ""),
            "m.toml: line 4, encoder.0.attention: expects [steps, features], got [8]; \
             put { unflatten = [steps, features] } before it",
        ),
        (
            file("{ linear = 3 }, { tied_linear = { to = \"encoder.1\", out = 8 } },", ""),
            "m.toml: line 4, encoder.1.tied_linear: there is no linear layer \"encoder.1\"; known are encoder.0, decoder.0",
        ),
        (
            file("{ linear = 3 }, { tied_linear = { to = \"encoder.0\", out = 7 } },", ""),
            "m.toml: line 4, encoder.1.tied_linear: the weight of \"encoder.0\" is [3, 8], but [3, 7] is needed; let out be \
             what goes into that layer, and what comes out of it go in here",
        ),
        (
            file("{ unflatten = [1, 2, 4] }, { patches = { size = 3, out = 4 } },", ""),
            "m.toml: line 4, encoder.1.patches: patches of [3, 3] do not cover [2, 4] side by side; use divisors of both",
        ),
        (
            file("{ unflatten = [4, 2] }, { unpatch = { size = 2, shape = [1, 2, 4] } },", ""),
            "m.toml: line 4, encoder.1.unpatch: [1, 2, 4] of patches of [2, 2] takes [2, 4], got [4, 2]; \
             put { linear = 4 } before it",
        ),
        (
            file("{ repeat_vector = 3 }, { mask_steps = 0.9 },", ""),
            "m.toml: line 4, encoder.1.mask_steps: part must be at least 0 and leave one of 3 steps, got 0.9; use 0.75, say",
        ),
        (
            file("{ gaussian_noise = -1.0 },", ""),
            "m.toml: line 4, encoder.0.gaussian_noise: deviation must be a number of at least 0, got -1.0; use 0.1, say",
        ),
        (
            file("{ teacher_forced = { features = 2, body = [{ linear = 2 }] } },", ""),
            "m.toml: line 4, encoder.0.teacher_forced: expects [steps, features], got [8]; \
             put { repeat_vector = STEPS } before it",
        ),
        (
            file(
                "{ repeat_vector = 3 }, { teacher_forced = { features = 2, body = [\"rms_norm\", \"instance_norm\", { gru = { out = 2, layers = 2 } }, { rms_norm = 2 }] } },",
                "",
            ),
            "m.toml: line 4, encoder.1.teacher_forced.body.3.rms_norm: rms_norm looks at more than a step and those before \
             it; use layers that do not, such as lstm, gru, linear, layer_norm and causal attention",
        ),
        (
            file("{ repeat_vector = 3 }, { teacher_forced = { features = 2, body = [{ gru = 4 }] } },", ""),
            "m.toml: line 4, encoder.1.teacher_forced: the body gives [3, 4], not [3, 2]; add { linear = 2 } to it",
        ),
        (
            file(
                "{ repeat_vector = 3 }, { teacher_forced = { features = 2, body = [{ linear = 2 }, { attention = 1 }] } },",
                "",
            ),
            "m.toml: line 4, encoder.1.teacher_forced.body.1.attention: attention looks at more than a step and those before \
             it; use layers that do not, such as lstm, gru, linear, layer_norm and causal attention",
        ),
        (
            file("{ unflatten = [1, 8] }, { gru = 2000 },", ""),
            "m.toml: line 4, encoder.1.gru: out must be at most 1024, got 2000; use fewer hidden units",
        ),
    ];
    for (text, expected) in cases {
        match parse(&text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(error) => assert_eq!(error.to_string(), expected, "\n{text}"),
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut layer = "\"relu\"".to_owned();
        for _ in 0..depth {
            layer = format!("{{ residual = [{layer}] }}");
        }
        parse(&file(&format!("{layer},"), ""))
    };
    assert!(nested(16).is_ok());
    let message = nested(17).expect_err("too deep").to_string();
    assert!(message.contains("lists stand more than 16 deep inside of each other"), "{message}");
    // Sixteen blocks, each twice the one before: 65,536 layers of a few lines.
    let mut blocks = "[blocks]\nb0 = [\"relu\"]\n".to_owned();
    for index in 1..16 {
        let before = format!("{{ block = \"b{}\" }}", index - 1);
        blocks += &format!("b{index} = [{before}, {before}]\n");
    }
    let message = parse(&file("{ block = \"b15\" },", &blocks)).expect_err("too many").to_string();
    assert!(message.contains("the model has more than 10000 layers here"), "{message}");
}

const NESTED: &str = r#"
input = [2, 4, 4]
loss = "mse"
encoder = [
  { block = "stage" },
  { residual = { body = [{ conv2d = { out = 5, kernel = 3, padding = 1 } }], shortcut = [{ conv2d = { out = 5, kernel = 1 } }] } },
  "flatten", { linear = 8 }, { skip = ["tanh"] },
]
decoder = [{ repeat = { times = 2, layers = [{ linear = 16 }, "silu"] } }, { linear = 32 }, { unflatten = [2, 4, 4] }, { block = "stage" }]
[blocks]
stage = [{ residual = [{ conv2d = { out = 2, kernel = 3, padding = 1 } }, "relu"] }]
"#;

#[test]
fn places_are_named_as_in_nested_sequentials() {
    let network = network(NESTED);
    let names: Vec<&str> = network.layout().entries().iter().map(|entry| entry.name.as_str()).collect();
    let expected = [
        "encoder.0.0.body.0",
        "encoder.1.body.0",
        "encoder.1.shortcut.0",
        "encoder.3",
        "decoder.0.0.0",
        "decoder.0.1.0",
        "decoder.1",
        "decoder.3.0.body.0",
    ];
    let expected: Vec<String> =
        expected.iter().flat_map(|name| [format!("{name}.weight"), format!("{name}.bias")]).collect();
    assert_eq!(names, expected);
    let layers: Vec<String> =
        network.checked().layers().map(|layer| format!("{} {}", layer.name, layer.layer.name())).collect();
    assert_eq!(
        layers[..4],
        ["encoder.0.0 residual", "encoder.0.0.body.0 conv2d", "encoder.0.0.body.1 relu", "encoder.1 residual"]
    );
    let text = network.spec().to_toml();
    assert_eq!(spec(&text), *network.spec(), "{text}");
    assert!(text.contains("{ residual = [{ conv2d = { out = 2, kernel = 3, padding = 1 } }, \"relu\"] }"), "{text}");
}

#[test]
fn keys_inside_of_structures_can_be_set() {
    let mut spec = spec(NESTED);
    for assignment in [
        "encoder.1.residual.shortcut.0.conv2d.out=3",
        "encoder.1.residual.body.0.conv2d.out=3",
        "encoder.4.skip.0=relu",
        "decoder.0.repeat.times=3",
        "decoder.0.repeat.layers.0.linear.out=20",
        "blocks.stage.0.residual.body.1=gelu",
        "blocks.other=[{ linear = 3 }]",
    ] {
        let result = spec.set(assignment);
        // A key that is not there is not made.
        assert_eq!(result.is_err(), assignment.starts_with("blocks.other"), "{assignment}: {result:?}");
    }
    spec.validate().expect("a model that fits");
    let text = spec.to_toml();
    for part in ["out = 3, kernel = 1", "times = 3, layers = [{ linear = 20 }", "{ skip = [\"relu\"] }", "\"gelu\"] }"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let message = spec.set("encoder.1.conv2d.out=3").expect_err("no such layer").to_string();
    assert!(message.contains("it is residual; write encoder.1=.. to replace it"), "{message}");
}

#[test]
fn initial_values_follow_pytorchs_rules() {
    let text = "input = [40]\nloss = \"mse\"\nencoder = [{ embedding = { categories = 50, size = 16 } }, { attention = 4 }, \
                { lstm = 25 }, \"flatten\", { linear = 8 }, \"batch_norm\"]\ndecoder = [{ linear = 40 }]\n";
    let network = network(text);
    let values = network.initial(3);
    let of = |name: &str| {
        let LayoutEntry { shape, offset, .. } = network.layout().entry(name).expect(name);
        &values[*offset..*offset + shape.elements()]
    };
    let all = |name: &str, value: f32| assert!(of(name).iter().all(|other| *other == value), "{name}");
    all("encoder.5.weight", 1.0);
    all("encoder.5.bias", 0.0);
    all("encoder.5.running_mean", 0.0);
    all("encoder.5.running_var", 1.0);
    all("encoder.5.num_batches_tracked", 0.0);
    all("encoder.1.in_proj_bias", 0.0);
    all("encoder.1.out_proj.bias", 0.0);
    // The joint projection by Glorot's rule, all gates by one over the root of the hidden units.
    for (name, bound) in [
        ("encoder.1.in_proj_weight", (6.0f32 / 64.0).sqrt()),
        ("encoder.1.out_proj.weight", 0.25),
        ("encoder.2.weight_ih_l0", 0.2),
        ("encoder.2.weight_hh_l0", 0.2),
        ("encoder.2.bias_hh_l0", 0.2),
    ] {
        let largest = of(name).iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest}, bound {bound}");
    }
    let vectors = of("encoder.0.weight");
    let mean = vectors.iter().sum::<f32>() / vectors.len() as f32;
    let square = vectors.iter().map(|value| value * value).sum::<f32>() / vectors.len() as f32;
    assert!(mean.abs() < 0.15 && (square - 1.0).abs() < 0.25, "mean {mean}, mean square {square}");
    assert!(vectors.iter().all(|value| value.is_finite()));
}

#[test]
fn initializers_keep_their_bounds() {
    let text = |name: &str| {
        format!(
            "input = [4, 20, 20]\nloss = \"mse\"\nencoder = [{{ conv2d = {{ out = 8, kernel = 3, groups = 2 }} }}, \"flatten\", \
             {{ linear = 30 }}]\ndecoder = [{{ linear = 1600 }}]\n[train]\ninitializer = \"{name}\"\n"
        )
    };
    // A kernel of nine joins two channels of four in four of eight; PyTorch counts all eight.
    for (name, conv, linear) in [
        ("pytorch", 1.0 / 18.0f32.sqrt(), 1.0 / 2592.0f32.sqrt()),
        ("glorot", (6.0 / 90.0f32).sqrt(), (6.0 / 2622.0f32).sqrt()),
        ("he", (6.0 / 18.0f32).sqrt(), (6.0 / 2592.0f32).sqrt()),
    ] {
        let network = network(&text(name));
        let values = network.initial(1);
        let largest = |name: &str| {
            let LayoutEntry { shape, offset, .. } = network.layout().entry(name).expect(name);
            values[*offset..*offset + shape.elements()].iter().fold(0.0f32, |largest, value| largest.max(value.abs()))
        };
        for (parameter, bound) in [("encoder.0.weight", conv), ("encoder.2.weight", linear)] {
            let largest = largest(parameter);
            assert!(largest <= bound && largest > 0.95 * bound, "{name} {parameter}: {largest}, bound {bound}");
        }
        assert_eq!(largest("encoder.2.bias") == 0.0, name != "pytorch", "{name}");
        assert!(network.spec().to_toml().contains(&format!("initializer = \"{name}\"")));
    }
}
