//! Model files: what is read, what is refused and with which words, what is written, and PyTorch's names and shapes.

use std::path::Path;

use pinhole::error::Error;
use pinhole::model::config::{
    Condition, Contractive, Corruption, DataSpec, Gaussian, Initializer, LatentSpec, Level, LossKind, ModelSpec,
    OptimizerSpec, Penalties, TrainSpec,
};
use pinhole::model::preset::{PRESETS, preset};
use pinhole::nn::{Activation, Blocks, Conv2d, ConvTranspose2d, Initial, Layer, Linear, Reshape};
use pinhole::plan::Optimizer;
use pinhole::shape::Shape;

fn parse(text: &str) -> Result<ModelSpec, Error> {
    ModelSpec::parse(text, Path::new("m.toml"))
}

fn conv() -> ModelSpec {
    ModelSpec::resolve("conv").unwrap()
}

fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A small file that is right, with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    let right = "input = [1, 8, 8]\nloss = \"mse\"\nencoder = [\"flatten\", { linear = 4 }]\ndecoder = [{ linear = 64 }]\n\
                 [train]\nbatch = 2\noptimizer = \"adam\"\n";
    assert_eq!(message(parse(right)), "accepted");
    assert!(right.contains(line), "{line}");
    right.replace(line, replacement)
}

#[test]
fn bad_files_are_refused_in_one_clear_line() {
    let in_encoder = |layer: &str| with("[\"flatten\", { linear = 4 }]", &format!("[\n  \"relu\",\n  {layer},\n]"));
    let cases: Vec<(String, &str)> = vec![
        // The file as a whole.
        ("".into(), "m.toml: the file is empty; a model has input, loss, encoder, decoder and [train]"),
        ("# nothing\n".into(), "m.toml: the file is empty; a model has input, loss, encoder, decoder and [train]"),
        (
            with("loss = \"mse\"", "loss = "),
            "m.toml: line 2: string values must be quoted, expected literal string; see https://toml.io for the syntax",
        ),
        (with("[train]", "loss = \"mse\""), "m.toml: line 5: duplicate key; see https://toml.io for the syntax"),
        // Keys that are missing, unknown or misplaced.
        (with("loss = \"mse\"\n", ""), "m.toml: missing key \"loss\"; write loss = \"mse\""),
        (
            with("decoder = [{ linear = 64 }]\n", ""),
            "m.toml: missing key \"decoder\"; write decoder = [{ linear = 32 }]",
        ),
        (with("loss", "lose"), "m.toml: line 2: unknown key \"lose\"; did you mean \"loss\"?"),
        (with("batch", "bacth"), "m.toml: line 6, train: unknown key \"bacth\"; did you mean \"batch\"?"),
        (
            with("batch = 2", "loss = \"mse\"").replacen("loss = \"mse\"\n", "", 1),
            "m.toml: line 5, train: unknown key \"loss\"; put it above the [train] line",
        ),
        (
            in_encoder("{ conv2d = { out = 1, kernle = 3 } }"),
            "m.toml: line 5, encoder.1.conv2d: unknown key \"kernle\"; did you mean \"kernel\"?",
        ),
        (
            in_encoder("{ conv2d = { kernel = 3 } }"),
            "m.toml: line 5, encoder.1.conv2d: missing key \"out\"; write out = 16",
        ),
        (
            with("[1, 8, 8]", "[1, 8, 8]\ntrain.batch = 2").replace("[train]\nbatch = 2\noptimizer = \"adam\"\n", ""),
            "accepted",
        ),
        (
            "[train]\nencoder = []".into(),
            "m.toml: line 2, train: unknown key \"encoder\"; put it above the [train] line",
        ),
        (
            with("[1, 8, 8]", "[1, 8, 8]\n\"a\\nb\" = 1"),
            "m.toml: line 2: unknown key \"a\\nb\"; known are input, loss, corruption, condition, encoder, latent, decoder, penalties, blocks, data, train",
        ),
        ("train = 3".into(), "m.toml: line 1, train: expects a table, got 3; write { batch = .. }"),
        // Layers.
        (
            in_encoder("{ convtranspose2d = { out = 1, kernel = 3 } }"),
            "m.toml: line 5, encoder.1: unknown layer \"convtranspose2d\"; did you mean \"conv_transpose2d\"?",
        ),
        (in_encoder("\"ReLU6\""), "m.toml: line 5, encoder.1: unknown layer \"ReLU6\"; did you mean \"relu6\"?"),
        (
            in_encoder("\"linear\""),
            "m.toml: line 5, encoder.1: \"linear\" alone lacks its sizes; write { linear = 64 }, say",
        ),
        (in_encoder("{ relu = 1 }"), "m.toml: line 5, encoder.1.relu: takes no settings; write \"relu\""),
        (
            in_encoder("{ out = 3, kernel = 3 }"),
            "m.toml: line 5, encoder.1: expects one layer, got a table of 2 (\"kernel\", \"out\"); \
             write { name = { settings } } or \"name\"",
        ),
        // Types and values.
        (
            with("linear = 4", "linear = 4.5"),
            "m.toml: line 3, encoder.1.linear: expects a whole number, got 4.5; write 3, say",
        ),
        (
            with("linear = 4", "linear = -4"),
            "m.toml: line 3, encoder.1.linear: must not be negative, got -4; use a positive number",
        ),
        (
            with("linear = 4", "linear = 0"),
            "m.toml: line 3, encoder.1.linear: out must be at least 1, got 0; use a positive number",
        ),
        (
            in_encoder("{ conv2d = { out = 1, kernel = [3, 3, 3] } }"),
            "m.toml: line 5, encoder.1.conv2d.kernel: expects one or two whole numbers, got [3, 3, 3]; \
             write 3 or [3, 5]",
        ),
        (
            with("[1, 8, 8]", "[1, 0, 8]"),
            "m.toml: line 1, input: expects one or more sizes of at least 1, got [1, 0, 8]; write [1, 28, 28], say",
        ),
        (
            with("[1, 8, 8]", "\"1x8x8\""),
            "m.toml: line 1, input: expects a list of sizes, got \"1x8x8\"; write [1, 28, 28], say",
        ),
        (with("\"mse\"", "\"msee\""), "m.toml: line 2, loss: unknown loss \"msee\"; did you mean \"mse\"?"),
        (
            with("batch = 2", "batch = 0"),
            "m.toml: line 6, train.batch: expects a whole number, at least 1, got 0; use 128, say",
        ),
        (
            with("\"adam\"", "{ adam = { lr = nan } }"),
            "m.toml: line 7, train.optimizer.adam.lr: expects a number, at least 0, got NaN; use 0.001, say",
        ),
        (
            with("\"adam\"", "{ adam = { betas = [0.9, 1] } }"),
            "m.toml: line 7, train.optimizer.adam.betas: expects two numbers, at least 0 and less than 1, got 1.0; \
             use [0.9, 0.999], say",
        ),
        (
            with("\"adam\"", "\"adamm\""),
            "m.toml: line 7, train.optimizer: unknown optimizer \"adamm\"; did you mean \"adam\"?",
        ),
        // Shapes.
        (
            with("[\"flatten\", ", "["),
            "m.toml: line 4, decoder.0.linear: the decoder's output is [1, 8, 64], the model's input [1, 8, 8]; \
             put \"flatten\" before encoder.0.linear, which acts on the last axis of [1, 8, 8] alone, or write { linear = 8 }",
        ),
        (
            with("[\"flatten\", ", "[").replace("{ linear = 64 }", "{ unflatten = [1, 8, 8] }"),
            "m.toml: line 4, decoder.0.unflatten: cannot make [1, 8, 8] of [1, 8, 4]: the number of elements differs; \
             put \"flatten\" before encoder.0.linear, which acts on the last axis of [1, 8, 8] alone, or choose sizes whose \
             product is 32",
        ),
        (
            with("[\"flatten\", ", "[{ conv2d = { out = 2, kernel = 3 } }, ")
                .replace("{ linear = 4 }", "{ linear = 4 }, { unflatten = [5] }"),
            "m.toml: line 3, encoder.2.unflatten: cannot make [5] of [2, 6, 4]: the number of elements differs; \
             put \"flatten\" before encoder.1.linear, which acts on the last axis of [2, 6, 6] alone, or choose sizes whose \
             product is 48",
        ),
        (
            with("{ linear = 64 }", "{ unflatten = [2, 2] }, { linear = 33 }"),
            "m.toml: line 4, decoder.1.linear: the decoder's output is [2, 33], the model's input [1, 8, 8]; \
             write { linear = 32 }",
        ),
        (
            with("{ linear = 64 }", "{ linear = 9 }, { unflatten = [3, 3] }, { linear = 3 }, \"rms_norm\""),
            "m.toml: line 4, decoder.2.linear: the decoder's output is [3, 3], the model's input [1, 8, 8]; \
             put \"flatten\" before it, and write { linear = 64 }",
        ),
        (
            with("{ linear = 64 }", "{ linear = 8 }, { unflatten = [1, 8] }, { upsample_linear = 4 }"),
            "m.toml: line 4, decoder.2.upsample_linear: the decoder's output is [1, 32], the model's input [1, 8, 8]; \
             change its sizes, or the layers before it",
        ),
        (
            with("[1, 8, 8]", "[784]").replace("{ linear = 4 }", "{ conv2d = { out = 1, kernel = 3 } }"),
            "m.toml: line 3, encoder.1.conv2d: expects [channels, height, width], got [784]; \
             put { unflatten = [1, 28, 28] } before it",
        ),
        (
            in_encoder("{ conv2d = { out = 1, kernel = [3, 11] } }"),
            "m.toml: line 5, encoder.1.conv2d: kernel [3, 11] does not fit into [8, 8] with padding [0, 0]; \
             use a smaller kernel or more padding",
        ),
        (
            in_encoder("{ conv_transpose2d = { out = 1, kernel = 3, output_padding = 1 } }"),
            "m.toml: line 5, encoder.1.conv_transpose2d: output_padding [1, 1] must be smaller than stride [1, 1] or \
             dilation [1, 1]; use less output_padding",
        ),
        (
            with("{ linear = 64 }", "{ linear = 63 }, \"tanh\""),
            "m.toml: line 4, decoder.0.linear: the decoder's output is [63], the model's input [1, 8, 8]; \
             write { linear = 64 }",
        ),
        (
            with("{ linear = 64 }", "{ linear = 64 }, { unflatten = [2, 8, 8] }"),
            "m.toml: line 4, decoder.1.unflatten: cannot make [2, 8, 8] of [64]: the number of elements differs; \
             choose sizes whose product is 64",
        ),
        (
            with("[{ linear = 64 }]", "[]"),
            "m.toml: line 4, decoder: has no layers; write at least one, such as { linear = 32 }",
        ),
        (
            with("\"mse\"", "\"bce\""),
            "m.toml: line 2, loss: \"bce\" needs a decoder that ends with \"sigmoid\", this one ends with \
             { linear = 64 }; add \"sigmoid\" to the decoder, or use \"mse\"",
        ),
        (
            with("linear = 4", "linear = 100000000"),
            "m.toml: line 3, encoder.1.linear: with a weight of [100000000, 64] it has more than 2147483648 parameters; \
             make it smaller",
        ),
        (
            with("[1, 8, 8]", "[9000000000000000000, 9, 9]"),
            "m.toml: line 1, input: [9000000000000000000, 9, 9] has more than 2147483648 elements; use smaller sizes",
        ),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, message(parse(text))))
        .filter(|(_, expected, got)| *expected != got)
        .map(|(text, expected, got)| format!("{text}\nexpected {expected}\n     got {got}\n"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_panics() {
    for text in [
        "x = ".to_owned() + &"[".repeat(50_000),
        "a.".repeat(50_000) + "a = 1",
        "[a".to_owned() + &".a".repeat(50_000) + "]",
    ] {
        assert_eq!(message(parse(&text)).lines().count(), 1);
    }
    // Every prefix of a right file, and every single byte of it replaced, is accepted or refused in one line.
    let right = preset("conv").unwrap().text;
    for end in 0..right.len() {
        assert_eq!(message(parse(&right[..end])).lines().count(), 1, "{}", &right[..end]);
        for byte in ["\"", "]", "{", "9", "-", ".", "\n"] {
            let text = format!("{}{byte}{}", &right[..end], &right[end + 1..]);
            assert_eq!(message(parse(&text)).lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    std::fs::write(&path, b"input = [\xff]").unwrap();
    let expected = format!("{}: is not UTF-8 text; a model is a TOML file; was another file meant?", path.display());
    assert_eq!(message(ModelSpec::read(&path)), expected);
    std::fs::write(&path, preset("dense").unwrap().text).unwrap();
    assert_eq!(ModelSpec::resolve(path.to_str().unwrap()).unwrap(), ModelSpec::resolve("dense").unwrap());
    assert!(message(ModelSpec::read(folder.path())).starts_with("cannot read "));
    assert_eq!(
        message(ModelSpec::resolve("convv")),
        format!("model \"convv\": it is no preset, and there is no .toml file of that name; did you mean \"conv\"?")
    );
    assert_eq!(
        message(ModelSpec::resolve("no/such.toml")),
        format!("model \"no/such.toml\": it is no preset, and there is no .toml file of that name; check the path")
    );
}

#[test]
fn what_is_written_reads_back_the_same() {
    for preset in PRESETS {
        let (name, text) = (preset.name, preset.text);
        let spec = ModelSpec::resolve(name).unwrap();
        assert_eq!(parse(&spec.to_toml()).unwrap(), spec);
        // The layers are laid out as in the file that a person wrote.
        let layers = |text: &str| {
            let (from, to) = (text.find("\nencoder").unwrap(), text.find("[train]").unwrap());
            text[from..to].to_owned()
        };
        if ["conv", "dense"].contains(&name) {
            assert_eq!(layers(&spec.to_toml()), layers(text));
        }
    }
    let convolution = |out, output_padding: Option<[usize; 2]>| {
        let (kernel, stride, padding, bias) = ([3, 5], [2, 2], [0, 1], false);
        match output_padding {
            None => Layer::Conv2d(Conv2d { stride, padding, bias, ..Conv2d::new(out, kernel) }),
            Some(output_padding) => Layer::ConvTranspose2d(ConvTranspose2d {
                stride,
                padding,
                output_padding,
                bias,
                ..ConvTranspose2d::new(out, kernel)
            }),
        }
    };
    let mut encoder: Vec<Layer> = Activation::ALL.map(Layer::Activation).into();
    encoder.extend([
        Layer::Activation(Activation::LeakyRelu { slope: 1e-20 }),
        Layer::Activation(Activation::Elu { alpha: 3.0 }),
        convolution(3, None),
        Layer::Reshape(Reshape::Flatten),
        Layer::Linear(Linear { out: 7, bias: false }),
    ]);
    let decoder = vec![
        Layer::Linear(Linear::new(18)),
        Layer::Reshape(Reshape::Unflatten([2, 3, 3].into())),
        convolution(1, Some([1, 0])),
    ];
    let train = TrainSpec {
        batch: 3,
        epochs: 1,
        seed: i64::MAX as u64,
        shuffle: false,
        validation: 0.0,
        optimizer: OptimizerSpec::sgd(1e-300),
        ..TrainSpec::default()
    };
    let spec = ModelSpec {
        input: [1, 8, 7].into(),
        loss: LossKind::Mae.into(),
        corruption: Corruption::SaltAndPepper { level: Level { least: 0.1, most: 0.3 } },
        condition: Condition::Labels { count: 3 },
        latent: LatentSpec::Gaussian(Gaussian { beta: 2.0, warmup: 7, ..Gaussian::default() }),
        encoder,
        decoder,
        penalties: Penalties { sparsity: None, contractive: Some(Contractive { weight: 0.3, projections: 2 }) },
        blocks: Blocks::new(),
        data: DataSpec::default(),
        train,
    };
    assert_eq!(parse(&spec.to_toml()).unwrap(), spec, "{}", spec.to_toml());
}

#[test]
fn examples_have_the_parameter_counts_of_pytorchs_models() {
    for (name, parameters) in [("conv-ae", 211_905), ("dense-ae", 209_968), ("conv-ae-wide", 2_842_883)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/models/{name}.toml"));
        let checked = ModelSpec::read(&path).unwrap().validate().unwrap();
        assert_eq!(checked.parameter_count(), parameters, "{name}");
    }
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let spec = parse(
        "input = [4]\nloss = \"bce\"\nencoder = [{ linear = 2 }, \"elu\"]\ndecoder = [{ linear = 4 }, \"sigmoid\"]",
    );
    let spec = spec.unwrap();
    let adam = OptimizerSpec::adam(1e-3);
    let train = TrainSpec {
        batch: 128,
        epochs: 5,
        seed: 0,
        shuffle: true,
        validation: 0.1,
        optimizer: adam,
        ..TrainSpec::default()
    };
    assert_eq!(spec.train, train);
    assert_eq!(spec.encoder[1], Layer::Activation(Activation::Elu { alpha: 1.0 }));
    let sgd = parse(&with("\"adam\"", "\"sgd\"")).unwrap().train.optimizer;
    assert_eq!(sgd, OptimizerSpec::sgd(1e-2));
}

#[test]
fn keys_can_be_set_one_by_one() {
    let mut spec = conv();
    for assignment in [
        "train.batch=64",
        " train.seed = 7 ",
        "train.shuffle=false",
        "loss=bce",
        "train.optimizer.adam.lr=1e-4",
        "train.optimizer.adam.betas.0=0.5",
        "encoder.0.conv2d.out=8",
        "encoder.0.conv2d.kernel=[3, 5]",
        "encoder.1=leaky_relu",
        "encoder.1.leaky_relu.slope=0.2",
        "encoder.5.linear.bias=false",
        "decoder.0={ linear = 100 }",
    ] {
        spec.set(assignment).unwrap();
    }
    assert_eq!((spec.train.batch, spec.train.seed, spec.train.shuffle), (64, 7, false));
    assert_eq!(spec.loss, LossKind::Bce.into());
    assert_eq!(
        spec.train.optimizer,
        OptimizerSpec {
            method: Optimizer::Adam { betas: [0.5, 0.999], eps: 1e-8, amsgrad: false },
            ..OptimizerSpec::adam(1e-4)
        }
    );
    let (stride, padding) = ([2, 2], [1, 1]);
    assert_eq!(spec.encoder[0], Layer::Conv2d(Conv2d { stride, padding, ..Conv2d::new(8, [3, 5]) }));
    assert_eq!(spec.encoder[1], Layer::Activation(Activation::LeakyRelu { slope: 0.2 }));
    assert_eq!(spec.encoder[5], Layer::Linear(Linear { out: 64, bias: false }));
    assert_eq!(spec.decoder[0], Layer::Linear(Linear::new(100)));
    // One change alone may leave shapes that disagree; they are looked at when all are made.
    assert_eq!(
        message(spec.validate()),
        "decoder.2.unflatten: cannot make [32, 7, 7] of [100]: the number of elements differs; \
         choose sizes whose product is 100"
    );
    spec.set("decoder.0.linear.out=1568").unwrap();
    spec.set("train.optimizer=sgd").unwrap();
    assert_eq!(spec.train.optimizer, OptimizerSpec::sgd(1e-2));
}

#[test]
fn a_setting_that_is_refused_changes_nothing() {
    for (assignment, expected) in [
        ("train.batch", "--set train.batch: there is no value; write key=value, as in train.batch=64"),
        ("train.bacth=3", "--set train.bacth=3: train: unknown key \"bacth\"; did you mean \"batch\"?"),
        ("losss=mse", "--set losss=mse: unknown key \"losss\"; did you mean \"loss\"?"),
        ("loss=msee", "--set loss=msee: unknown loss \"msee\"; did you mean \"mse\"?"),
        ("train.batch=", "--set train.batch=: there is no value; write key=value, as in train.batch=64"),
        (
            "train.batch.size=3",
            "--set train.batch.size=3: train.batch: 128 has no keys; write train.batch=.. to replace it",
        ),
        ("train=3", "--set train=3: expects a table, got 3; write { batch = .. }"),
        ("train.batch=many", "--set train.batch=many: expects a whole number, got \"many\"; write 3, say"),
        ("train.batch=-1", "--set train.batch=-1: must not be negative, got -1; use a positive number"),
        ("encoder.9=relu", "--set encoder.9=relu: encoder: no entry \"9\"; there are 6, counted from 0"),
        (
            "encoder.1.slope=1",
            "--set encoder.1.slope=1: encoder.1: \"relu\" has no keys; write encoder.1=.. to replace it",
        ),
        (
            "encoder.0.linear.out=1",
            "--set encoder.0.linear.out=1: encoder.0: unknown key \"linear\"; \
             it is conv2d; write encoder.0=.. to replace it",
        ),
        (
            "train.optimizer.sgd.lr=1",
            "--set train.optimizer.sgd.lr=1: train.optimizer: unknown key \"sgd\"; \
             it is adam; write train.optimizer=.. to replace it",
        ),
        (
            "train.optimizer={ sgd = { lr = 1",
            "--set train.optimizer={ sgd = { lr = 1: unclosed inline table, \
            expected `}`; write the value as in a model file",
        ),
        (
            "=1",
            "--set =1: unknown key \"\"; known are condition, corruption, data, decoder, encoder, input, latent, loss, penalties, train",
        ),
    ] {
        let mut spec = conv();
        assert_eq!(message(spec.set(assignment)), expected);
        assert_eq!(spec, conv());
    }
}

/// What PyTorch's rule makes of a parameter.
fn initial(own: Initial, shape: &Shape) -> Initial {
    Initializer::PyTorch.resolve(own, shape)
}

#[test]
fn parameters_have_pytorchs_names_shapes_and_bounds() {
    let spec = conv();
    let checked = spec.validate().unwrap();
    let listed: Vec<(&str, &[usize], Initial)> =
        checked.parameters().map(|own| (own.name.as_str(), &*own.shape, initial(own.initial, &own.shape))).collect();
    // The bound is 1 / sqrt(product of the weight's sizes after the first).
    let bound = |fan_in: f64| Initial::Uniform(1.0 / fan_in.sqrt());
    assert_eq!(
        listed,
        [
            ("encoder.0.weight", &[16, 1, 3, 3][..], bound(9.0)),
            ("encoder.0.bias", &[16], bound(9.0)),
            ("encoder.2.weight", &[32, 16, 3, 3], bound(144.0)),
            ("encoder.2.bias", &[32], bound(144.0)),
            ("encoder.5.weight", &[64, 1568], bound(1568.0)),
            ("encoder.5.bias", &[64], bound(1568.0)),
            ("decoder.0.weight", &[1568, 64], bound(64.0)),
            ("decoder.0.bias", &[1568], bound(64.0)),
            ("decoder.3.weight", &[32, 16, 3, 3], bound(144.0)),
            ("decoder.3.bias", &[16], bound(144.0)),
            ("decoder.5.weight", &[16, 1, 3, 3], bound(9.0)),
            ("decoder.5.bias", &[1], bound(9.0)),
        ]
    );
    let dense = ModelSpec::resolve("dense").unwrap().validate().unwrap();
    let with_parameters: Vec<&str> =
        dense.layers().filter(|layer| !layer.parameters.is_empty()).map(|layer| layer.name.as_str()).collect();
    assert_eq!(with_parameters, ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]);
    assert_eq!(checked.latent, Shape::from([64]));
    let outputs: Vec<String> = checked.layers().map(|layer| layer.output.to_string()).collect();
    let encoder = ["[16, 14, 14]", "[16, 14, 14]", "[32, 7, 7]", "[32, 7, 7]", "[1568]", "[64]"];
    let decoder = ["[1568]", "[1568]", "[32, 7, 7]", "[16, 14, 14]", "[16, 14, 14]", "[1, 28, 28]", "[1, 28, 28]"];
    assert_eq!(outputs, [&encoder[..], &decoder[..]].concat());
}

#[test]
fn a_flat_decoder_may_serve_an_image() {
    let spec = parse(&with("", "")).unwrap();
    assert_eq!(spec.input, Shape::from([1, 8, 8]));
    assert_eq!(spec.validate().unwrap().decoder[0].output, Shape::from([64]));
}

#[test]
fn convolutions_of_odd_sizes_have_pytorchs_shapes_and_costs() {
    let input = Shape::from([3, 7, 11]);
    let (kernel, stride, padding, bias) = ([3, 4], [2, 3], [1, 0], false);
    let layer = Layer::Conv2d(Conv2d { stride, padding, bias, ..Conv2d::new(5, kernel) });
    assert_eq!(layer.output_shape(&input), Ok([5, 4, 3].into()));
    assert_eq!(layer.flops(&input), 2 * (5 * 4 * 3) * (3 * 3 * 4));
    let [weight] = &layer.parameters(&input)[..] else { panic!("a layer without bias has one parameter") };
    assert_eq!(
        (weight.name, &weight.shape, initial(weight.initial, &weight.shape)),
        ("weight", &[5, 3, 3, 4].into(), Initial::Uniform(1.0 / 6.0))
    );

    let output_padding = [1, 2];
    let layer =
        Layer::ConvTranspose2d(ConvTranspose2d { stride, padding, output_padding, ..ConvTranspose2d::new(5, kernel) });
    assert_eq!(layer.output_shape(&input), Ok([5, 14, 36].into()));
    assert_eq!(layer.flops(&input), 2 * (3 * 7 * 11) * (5 * 3 * 4));
    let [weight, bias] = &layer.parameters(&input)[..] else { panic!("a layer with bias has two parameters") };
    let bound = Initial::Uniform(1.0 / 60f64.sqrt());
    assert_eq!((&weight.shape, initial(weight.initial, &weight.shape)), (&[3, 5, 3, 4].into(), bound));
    assert_eq!((bias.name, &bias.shape, initial(bias.initial, &bias.shape)), ("bias", &[5].into(), bound));

    // Parameters and costs of what does not fit are none, not a panic.
    assert_eq!((layer.parameters(&[7].into()).len(), layer.flops(&[7].into())), (0, 0));
    let huge = Layer::Conv2d(Conv2d { padding: [usize::MAX / 2; 2], ..Conv2d::new(usize::MAX, [usize::MAX; 2]) });
    assert!(huge.output_shape(&input).is_err());
}
