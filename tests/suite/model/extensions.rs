//! What an application brings along: losses, layers, observers, iterators, threads.

use crate::support::*;
use pinhole::data::Dataset;
use pinhole::graph::{Binary, Graph, Unary, Value};
use pinhole::model::config::{LossKind, LossSpec};
use pinhole::model::{Extensions, ModelSpec, Network};
use pinhole::nn::{Context, CustomLayer, Initial, Layer, Misfit, ParameterSpec};
use pinhole::run::{RunDirectory, RunSettings};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use pinhole::train::{EpochEnd, EpochReport, Evaluation, Observer, Options, Trainer};
use pinhole::{Autoencoder, Device, Error, Result, Session};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

// ---- losses and layers

/// A straight line of its features, `y = x s + t` with trained numbers for each.
struct Affine;

impl CustomLayer for Affine {
    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match input.len() {
            1 => Ok(input.clone()),
            _ => Err(Misfit::new(format!("expects [features], got {input}"), "put \"flatten\" before it")),
        }
    }

    fn parameters(&self, input: &Shape) -> Vec<ParameterSpec> {
        let own = |name, initial| ParameterSpec { name, shape: input.clone(), initial: Initial::Constant(initial) };
        vec![own("scale", 1.0), own("shift", 0.0)]
    }

    fn apply(&self, cx: &mut Context, x: Value, parameters: &[Value]) -> Result<Value> {
        let scaled = cx.multiply(x, parameters[0])?;
        cx.add(scaled, parameters[1])
    }

    fn flops(&self, _input: &Shape, output: &Shape) -> u64 {
        2 * output.elements() as u64
    }
}

/// The mean squared error, written once more.
fn squares(cx: &mut Context, y: Value, target: Value) -> Result<Value> {
    let difference = cx.subtract(y, target)?;
    let square = cx.unary(Unary::Square, difference)?;
    cx.mean_all(square)
}

fn own() -> Extensions {
    Extensions::new().loss("squares", squares).layer("affine", Affine)
}

/// [`SMALL_DENSE`] with a layer and a loss of one's own.
const OWN: &str = r#"
input = [784]
loss = { custom = "squares" }
encoder = [{ linear = 24 }, "relu", { custom = "affine" }, { linear = 6 }]
decoder = [{ residual = [{ linear = 6 }, { block = "out" }] }, { linear = 784 }, "sigmoid"]
[blocks]
out = [{ custom = "affine" }, "tanh"]
[train]
batch = 32
epochs = 2
optimizer = { sgd = { lr = 0.5 } }
"#;

#[test]
fn an_own_loss_is_the_built_in_one_that_it_copies() {
    let data = pinhole::data::digits(100, 3);
    for device in all_devices() {
        let built_in = network(&SMALL_CONV.replace("epochs = 3", "epochs = 1"));
        let mut spec = built_in.spec().clone();
        spec.loss = LossKind::custom("squares", squares).into();
        let written = Network::new(spec).expect("a network");
        let [expected, found] =
            [&built_in, &written].map(|network| train(network, &device, &data, Some(&data), Options::default()));
        assert_eq!(found, expected, "{}", device.name());
    }
}

#[test]
fn weighted_sums_of_losses_may_hold_an_own_one() -> Result<()> {
    let mut both = spec(&SMALL_CONV.replace("epochs = 3", "epochs = 1"));
    let data = pinhole::data::digits(64, 3);
    let mut loss = |terms: Vec<(LossKind, f64)>| -> Result<f64> {
        both.loss = LossSpec { terms };
        Ok(Autoencoder::new(both.clone(), Device::CpuF64)?.evaluate(&data)?.loss)
    };
    let (mse, mae) = (loss(vec![(LossKind::Mse, 1.0)])?, loss(vec![(LossKind::Mae, 1.0)])?);
    let sum = loss(vec![(LossKind::custom("squares", squares), 2.0), (LossKind::Mae, 0.5)])?;
    expect_close("the sum", &[sum], &[0.5 * mae + 2.0 * mse], 1e-14, Scale::Relative);
    assert_eq!(both.loss.name(), "squares+mae");
    let text = both.to_toml();
    let read = ModelSpec::parse_with(&text, Path::new("sum.toml"), &own())?;
    assert_eq!(read, both);
    // The function came with the name.
    assert_eq!(Autoencoder::new(read, Device::CpuF64)?.evaluate(&data)?.loss, sum);
    Ok(())
}

#[test]
fn an_own_loss_that_is_no_number_is_refused() {
    let mut spec = spec(SMALL_DENSE);
    spec.loss = LossKind::custom("difference", |graph, y, target| graph.subtract(y, target)).into();
    let mut autoencoder = Autoencoder::new(spec, Device::Cpu).expect("a model");
    let error = autoencoder.fit(&pinhole::data::digits(64, 1), None, &mut ()).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "loss \"difference\": its function gives [32, 784], which is no single number; end it with context.mean_all(..), say"
    );
}

#[test]
fn own_layers_train_and_come_back_by_name() -> Result<()> {
    let place = folder();
    let run = place.path().join("run");
    let data = pinhole::data::digits(96, 3);
    for device in fast_devices() {
        let spec = ModelSpec::parse_with(OWN, Path::new("own.toml"), &own())?;
        let mut autoencoder = Autoencoder::new(spec, device.clone())?;
        let before = autoencoder.evaluate(&data)?.loss;
        autoencoder.fit(&data, None, &mut ())?;
        assert!(autoencoder.evaluate(&data)?.loss < before);
        for name in ["encoder.2.scale", "encoder.2.shift", "decoder.0.body.1.0.scale"] {
            let parameter = autoencoder.parameter(name).unwrap_or_else(|| panic!("no {name}"));
            let start = if name.ends_with("scale") { 1.0 } else { 0.0 };
            assert!(parameter.to_f32().iter().any(|value| *value != start), "{name} was not trained");
        }
        autoencoder.save(&run)?;
        let loaded = Autoencoder::load_with(&run, device.clone(), &own())?;
        assert_eq!(loaded.parameters(), autoencoder.parameters());
        assert_eq!(loaded.network().spec(), autoencoder.network().spec());
        assert_eq!(loaded.evaluate(&data)?, autoencoder.evaluate(&data)?);
        // Without them, one line says what is missing and where it is to be had.
        let message = |result: Result<Autoencoder>| result.err().map(|error| error.to_string()).unwrap_or_default();
        let toml = run.join("model.toml").display().to_string();
        let told = message(Autoencoder::load(&run, device.clone()));
        let expected = ": the layer \"affine\" is an application's own and is not known here; load the model in that \
                        application, which gives the layer by Extensions::layer";
        assert!(told.starts_with(&toml) && told.ends_with(&format!("encoder.2.custom{expected}")), "{told}");
        let told = message(Autoencoder::load_with(&run, device, &Extensions::new().layer("affine", Affine)));
        let expected = "loss: the loss \"squares\" is an application's own and is not known here; load the model in that \
                        application, which gives the loss by Extensions::loss";
        assert!(told.starts_with(&toml) && told.ends_with(expected), "{told}");
    }
    Ok(())
}

#[test]
fn own_layers_are_checked_where_they_stand() -> Result<()> {
    /// Says one shape and gives another.
    struct Liar;
    impl CustomLayer for Liar {
        fn output_shape(&self, _input: &Shape) -> Result<Shape, Misfit> {
            Ok([5].into())
        }
        fn apply(&self, _cx: &mut Context, x: Value, _parameters: &[Value]) -> Result<Value> {
            Ok(x)
        }
    }
    let own = own().layer("liar", Liar);
    let parse = |text: &str| ModelSpec::parse_with(text, Path::new("own.toml"), &own);
    let told = parse(&OWN.replace("\"relu\", {", "\"relu\", { unflatten = [2, 12] }, {")).expect_err("two axes");
    assert_eq!(
        told.to_string(),
        "own.toml: line 4, encoder.3.custom: expects [features], got [2, 12]; put \"flatten\" before it"
    );
    let mut spec = parse(OWN)?;
    // A changed model keeps its own parts.
    spec.set("encoder.0.linear=12")?;
    spec.validate()?;
    assert!(spec.set("encoder.2.custom=\"other\"").is_ok());
    assert!(spec.validate().is_err_and(|error| error.to_string().contains("the layer \"other\"")));
    let mut spec = parse(SMALL_DENSE)?;
    spec.decoder.insert(0, Layer::custom("liar", Liar));
    let told = Autoencoder::new(spec, Device::Cpu)?.encode(&[0.0; 784]).map(|_| ());
    assert!(told.is_ok(), "the encoder does not use it");
    let mut spec = parse(SMALL_DENSE)?;
    spec.decoder.insert(0, Layer::custom("liar", Liar));
    let told = Autoencoder::new(spec, Device::Cpu)?.reconstruct(&[0.0; 784]).expect_err("another shape");
    assert_eq!(
        told.to_string(),
        "layer \"liar\" at decoder.0: gives [1, 6], its output_shape says [1, 5]; look at its CustomLayer"
    );
    Ok(())
}

// ---- observers

/// Notes what it is told, and asks for the end after a step or an epoch.
#[derive(Default)]
struct Watcher {
    told: Vec<String>,
    after_step: Option<u64>,
    after_epoch: Option<u64>,
    stop: bool,
}

impl Observer for Watcher {
    fn step(&mut self, step: u64, _loss: f64) {
        self.told.push(format!("step {step}"));
        self.stop |= self.after_step == Some(step);
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.told.push(format!("epoch {}", report.epoch));
        self.stop |= self.after_epoch == Some(report.epoch);
    }

    fn stop(&mut self) -> bool {
        self.stop
    }
}

#[test]
fn observers_see_steps_before_the_epoch_that_they_are_in() -> Result<()> {
    for device in fast_devices() {
        let mut watcher = Watcher::default();
        let mut autoencoder = Autoencoder::new(spec(SMALL_DENSE), device)?;
        let reports = autoencoder.fit(&pinhole::data::digits(70, 3), None, &mut watcher)?;
        assert_eq!(reports.len(), 3);
        let expected = "step 1,step 2,step 3,epoch 1,step 4,step 5,step 6,epoch 2,step 7,step 8,step 9,epoch 3";
        assert_eq!(watcher.told.join(","), expected);
        // After an epoch.
        let mut watcher = Watcher { after_epoch: Some(2), ..Watcher::default() };
        assert_eq!(autoencoder.fit(&pinhole::data::digits(70, 3), None, &mut watcher)?.len(), 2);
    }
    Ok(())
}

#[test]
fn a_run_that_an_observer_stops_goes_on_to_the_same_bits() -> Result<()> {
    let (network, data) = (network(SMALL_DENSE), pinhole::data::digits(320, 3));
    for device in fast_devices() {
        let whole = train(&network, &device, &data, None, Options::default());
        for watcher in [
            Watcher { after_step: Some(1), ..Watcher::default() },
            Watcher { after_step: Some(14), ..Watcher::default() },
            Watcher { after_epoch: Some(2), ..Watcher::default() },
        ] {
            let (place, mut watcher) = (folder(), watcher);
            let options = || Options { steps_per_submission: Some(1), ..Options::default() };
            let mut trainer = Trainer::new(&network, &device, &data, None, options())?;
            trainer.start(&initial(&network))?;
            let start = trainer.checkpoint()?;
            let mut run =
                RunDirectory::create(place.path(), network.spec(), &RunSettings::default(), &network, &start)?;
            while let EpochEnd::Epoch(_) = trainer.epoch(&mut watcher)? {}
            assert!(trainer.steps_left() > 0, "it was stopped before the end");
            run.save(&trainer.checkpoint()?, &network)?;
            drop(trainer);
            drop(run);
            // In another process, say.
            let (run, spec, _) = RunDirectory::open(place.path())?;
            let network = Network::new(spec)?;
            let mut trainer = Trainer::new(&network, &device, &data, None, options())?;
            trainer.restore(&run.checkpoint(&network, trainer.moments())?)?;
            while trainer.epoch(&mut ())? != EpochEnd::Finished {}
            assert_eq!(trainer.parameters()?, whole.parameters, "{} {:?}", device.name(), watcher.told.last());
        }
    }
    Ok(())
}

// ---- iterators

/// Float digits as an iterator gives them, by so many.
fn stream(count: usize, by: usize) -> Dataset {
    let data = float_digits(count, 3);
    let items: Vec<Vec<f32>> = data.rows_f32(0..count).chunks(784 * by).map(<[f32]>::to_vec).collect();
    Dataset::from_stream([784], count, move |_| items.clone().into_iter().map(Ok::<_, Infallible>)).expect("a stream")
}

fn in_order(text: &str) -> Network {
    let mut spec = spec(text);
    spec.train.shuffle = false;
    Network::new(spec).expect("a network")
}

#[test]
fn samples_of_an_iterator_train_what_they_train_in_memory() -> Result<()> {
    let data = float_digits(150, 3);
    for device in all_devices() {
        let network = in_order(SMALL_DENSE);
        let whole = train(&network, &device, &data, Some(&data), Options::default());
        // Whole, and a batch at a time on the device.
        for resident_bytes in [None, Some(70 * 784 * 4)] {
            for by in [1, 7, 32, 150] {
                let streamed = stream(150, by);
                assert!(!streamed.in_memory() && streamed.len() == 150);
                let options = Options { resident_bytes, ..Options::default() };
                let found = train(&network, &device, &streamed, Some(&streamed), options);
                assert_eq!(found, whole, "{} by {by}, {resident_bytes:?}", device.name());
            }
        }
    }
    // An order of one's own is not the model's to change.
    let device = Device::Cpu;
    let shuffled = train(&network(SMALL_DENSE), &device, &stream(150, 7), None, Options::default());
    let expected = train(&in_order(SMALL_DENSE), &device, &data, None, Options::default());
    assert_eq!(shuffled.parameters, expected.parameters);
    Ok(())
}

#[test]
fn each_epoch_has_an_iterator_of_its_own_and_asks_for_no_more() -> Result<()> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    // Endless, and other digits in each epoch.
    let data = Dataset::from_stream([784], 64, move |epoch| {
        let counted = counted.clone();
        (0..).map(move |sample| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(float_digits(1, 100 * epoch + sample).rows_f32(0..1))
        })
    })?;
    let network = in_order(SMALL_DENSE);
    let found = train(&network, &Device::Cpu, &data, None, Options::default());
    assert_eq!(asked.load(Ordering::SeqCst), 3 * 64);
    // The same by hand: an epoch at a time.
    let mut trained = initial(&network);
    let digits = |epoch: u64| -> Result<Dataset> {
        let samples = (0..64).flat_map(|sample| float_digits(1, 100 * epoch + sample).rows_f32(0..1));
        Dataset::from_f32([784], samples.collect())
    };
    let mut spec = network.spec().clone();
    spec.train.epochs = 1;
    // Without moments, so that epochs can be done apart.
    spec.train.optimizer = pinhole::model::config::OptimizerSpec::sgd(0.5);
    let apart = Network::new(spec.clone())?;
    for epoch in 0..3 {
        trained = train_from(&apart, &Device::Cpu, &digits(epoch)?, None, Options::default(), &trained).parameters;
    }
    spec.train.epochs = 3;
    let together = train(&Network::new(spec)?, &Device::Cpu, &data, None, Options::default());
    assert_eq!(together.parameters, trained);
    assert_ne!(found.parameters, trained);
    Ok(())
}

#[test]
fn a_stopped_epoch_of_an_iterator_goes_on_where_it_was() -> Result<()> {
    let network = in_order(SMALL_DENSE);
    for device in fast_devices() {
        let whole = train(&network, &device, &stream(200, 9), None, Options::default());
        let data = stream(200, 9);
        let options = Options { steps_per_submission: Some(1), ..Options::default() };
        let mut trainer = Trainer::new(&network, &device, &data, None, options)?;
        trainer.start(&initial(&network))?;
        let mut watcher = Watcher { after_step: Some(10), ..Watcher::default() };
        while let EpochEnd::Epoch(_) = trainer.epoch(&mut watcher)? {}
        while trainer.epoch(&mut ())? != EpochEnd::Finished {}
        assert_eq!(trainer.parameters()?, whole.parameters, "{}", device.name());
    }
    Ok(())
}

#[test]
fn what_an_iterator_does_wrong_is_told_in_one_line() -> Result<()> {
    let network = in_order(SMALL_DENSE);
    let told = |data: Dataset| {
        let result =
            try_train(&network, &Device::Cpu, &data.with_name("camera"), None, Options::default(), &initial(&network));
        result.expect_err("a failure").0
    };
    let sample = || vec![0.5f32; 784];
    // Its own error is passed on, with what was meant.
    let unplugged = move |epoch: u64| {
        (0..).map(move |at| if epoch == 1 && at == 40 { Err(std::io::Error::other("unplugged")) } else { Ok(sample()) })
    };
    let error = told(Dataset::from_stream([784], 64, unplugged)?);
    assert_eq!(
        error.to_string(),
        "data \"camera\", sample 40 of epoch 1: unplugged; look at the iterator that gives it"
    );
    let Error::Stream { source, .. } = error else { panic!("{error:?}") };
    assert!(source.is::<std::io::Error>());
    // Too few.
    let short = move |_| (0..50).map(move |_| Ok::<_, Infallible>(sample()));
    let error = told(Dataset::from_stream([784], 64, short)?);
    assert_eq!(
        error.to_string(),
        "data \"camera\": its iterator ends after 50 of 64 samples (epoch 0); let it give as many as an epoch is said to have"
    );
    // Of another shape.
    let narrow = move |_| (0..).map(move |at| Ok::<_, Infallible>(if at == 3 { vec![0.5; 783] } else { sample() }));
    let error = told(Dataset::from_stream([784], 64, narrow)?);
    assert_eq!(
        error.to_string(),
        "data \"camera\": its iterator gives 783 numbers for sample 3 (epoch 0), a sample has 784; give one whole sample or \
         several"
    );
    // Not finite.
    let spoilt = move |_| {
        (0..).map(move |at| {
            let mut values = sample();
            values[9] = if at == 33 { f32::NAN } else { 0.5 };
            Ok::<_, Infallible>(values)
        })
    };
    let error = told(Dataset::from_stream([784], 64, spoilt)?);
    assert_eq!(
        error.to_string(),
        "data \"camera\": sample 33, element 9 is NaN (epoch 0); remove or replace such values before training"
    );
    // A panic is the application's, and still no panic here.
    let panics = move |_| (0..).map(move |at: u32| Ok::<_, Infallible>(if at < 5 { sample() } else { panic!("at 5") }));
    let error = told(Dataset::from_stream([784], 64, panics)?);
    assert!(error.to_string().contains("the thread that reads it ended early"), "{error}");
    // Another width than the model's, no sample, no shape, a split.
    let of = |shape: &[usize], samples| {
        Dataset::from_stream(Shape::from(shape), samples, |_| std::iter::empty::<Result<Vec<f32>, Infallible>>())
    };
    assert!(
        told(of(&[783], 64)?).to_string().starts_with("data \"camera\": its samples are [783], the model's input is")
    );
    assert!(of(&[784], 0).is_err() && of(&[], 3).is_err() && of(&[0], 3).is_err());
    assert!(of(&[784], 64)?.split(4, 0).is_err());
    let data = stream(10, 1);
    assert!(data.read(&[3, 4]).is_ok() && data.read(&[4, 3]).is_err() && data.read(&[9, 10]).is_err());
    Ok(())
}

#[test]
fn iterators_can_be_validated_on_and_read() -> Result<()> {
    let (streamed, resident) = (stream(75, 4), float_digits(75, 3));
    let autoencoder = Autoencoder::new(spec(SMALL_DENSE), Device::Cpu)?;
    let evaluations: [Evaluation; 2] = [autoencoder.evaluate(&streamed)?, autoencoder.evaluate(&resident)?];
    assert_eq!(evaluations[0], evaluations[1]);
    // Forward, back, and over a gap.
    for range in [0..3, 3..9, 2..5, 70..75, 71..72] {
        assert_eq!(streamed.read_f32(range.clone())?, resident.rows_f32(range));
    }
    assert_eq!(streamed.clone().take(5).len(), 5);
    assert_eq!(streamed.clone(), streamed);
    Ok(())
}

// ---- threads

/// What the documentation of the crate says of threads.
#[test]
fn what_can_go_between_threads_can() {
    fn sent_and_shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    sent_and_shared::<Device>();
    sent_and_shared::<Autoencoder>();
    sent_and_shared::<Network>();
    sent_and_shared::<ModelSpec>();
    sent_and_shared::<Extensions>();
    sent_and_shared::<Dataset>();
    sent_and_shared::<Graph>();
    sent_and_shared::<pinhole::plan::Plan>();
    sent_and_shared::<pinhole::tensor::Tensor>();
    sent_and_shared::<Error>();
    sent::<Session>();
    sent::<Trainer>();
    sent::<RunDirectory>();
}

#[test]
fn models_that_share_a_device_between_threads_learn_what_they_learn_alone() {
    let data = pinhole::data::digits(320, 3);
    let networks = [network(SMALL_DENSE), network(SMALL_CONV)];
    for device in fast_devices() {
        let alone: Vec<Values> = networks
            .iter()
            .map(|network| train(network, &device, &data, Some(&data), Options::default()).parameters)
            .collect();
        let together: Vec<Values> = std::thread::scope(|scope| {
            let begun: Vec<_> = networks
                .iter()
                .map(|network| {
                    let (device, data) = (device.clone(), &data);
                    scope.spawn(move || train(network, &device, data, Some(data), Options::default()).parameters)
                })
                .collect();
            begun.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        assert!(together == alone, "{}", device.name());
    }
}

#[test]
fn one_model_serves_several_threads() -> Result<()> {
    let data = pinhole::data::digits(40, 3);
    for device in fast_devices() {
        let autoencoder = Autoencoder::new(spec(SMALL_DENSE), device)?;
        let expected: Vec<Vec<f32>> = (0..40)
            .map(|at| Ok(autoencoder.reconstruct(&data.rows_f32(at..at + 1))?.to_f32()))
            .collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            for first in 0..4 {
                let (autoencoder, data, expected) = (&autoencoder, &data, &expected);
                scope.spawn(move || {
                    for at in (first..40).step_by(4) {
                        let found = autoencoder.reconstruct(&data.rows_f32(at..at + 1)).expect("a reconstruction");
                        assert_eq!(found.to_f32(), expected[at]);
                    }
                });
            }
        });
    }
    Ok(())
}

/// An own loss beside an own layer, in every step that training takes: the number that comes out is the oracle's.
#[test]
fn own_parts_are_the_same_on_every_device() -> Result<()> {
    let smooth = |cx: &mut Context, y: Value, target: Value| {
        let difference = cx.subtract(y, target)?;
        let square = cx.unary(Unary::Square, difference)?;
        let sum = cx.with_number(Binary::Add, square, 0.01)?;
        let each = cx.unary(Unary::SquareRoot, sum)?;
        cx.mean_all(each)
    };
    let own = own().loss("squares", smooth);
    let network = Network::new(ModelSpec::parse_with(OWN, Path::new("own.toml"), &own)?)?;
    let data = pinhole::data::digits(96, 3);
    let [oracle, cpu, gpu] = all_devices().map(|device| train(&network, &device, &data, None, Options::default()));
    for found in [cpu, gpu] {
        expect_close("losses", &found.losses, &oracle.losses, 1e-5, Scale::Relative);
        expect_close("parameters", &wide(&found.parameters), &wide(&oracle.parameters), 1e-4, Scale::Largest);
    }
    Ok(())
}
