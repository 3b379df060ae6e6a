//! The loop: what repeats bit for bit, what stops it, what it counts, and that models learn.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::graph::{Graph, STATE_LENGTH};
use pinhole::model::{ModelSpec, Network};
use pinhole::plan::State;
use pinhole::plan::state::SCHEDULE_COLUMNS;
use pinhole::run::{RunDirectory, RunSettings};
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::{Checkpoint, EpochEnd, Options, Trainer};
use pinhole::{Autoencoder, Device, Error, Result};

/// 100 digits in batches of 32 are four steps an epoch, the last of four samples.
const SAMPLES: usize = 100;
const STEPS: usize = 4;

fn both_models() -> [Network; 2] {
    [network(SMALL_CONV), network(SMALL_DENSE)]
}

/// Fails where a loss, a report or a weight differs in any bit, or is no number.
pub fn expect_same(what: &str, left: &Trained, right: &Trained) {
    expect_same_bits(&format!("{what}: losses"), &Values::F64(left.losses.clone()), &Values::F64(right.losses.clone()));
    assert_eq!(left.reports, right.reports, "{what}");
    expect_same_bits(&format!("{what}: weights"), &left.parameters, &right.parameters);
}

pub fn expect_same_bits(what: &str, left: &Values, right: &Values) {
    assert_eq!(std::mem::discriminant(left), std::mem::discriminant(right), "{what}: types");
    let (left, right) = (wide(left), wide(right));
    assert_eq!(left.len(), right.len(), "{what}: lengths");
    assert!(left.iter().all(|value| value.is_finite()), "{what}: not finite");
    let differs = left.iter().zip(&right).position(|(left, right)| left.to_bits() != right.to_bits());
    assert!(differs.is_none(), "{what}: number {differs:?} differs: {:?}", differs.map(|at| (left[at], right[at])));
}

// ---- what repeats

#[test]
fn same_seed_gives_the_same_file_on_every_device() -> Result<()> {
    let data = digits(SAMPLES, 3);
    for device in all_devices() {
        for text in [SMALL_CONV, SMALL_DENSE] {
            let run = |seed: u64| -> Result<(Vec<u8>, Vec<f64>)> {
                let folder = folder();
                let mut spec = spec(text);
                spec.train.seed = seed;
                let mut autoencoder = Autoencoder::new(spec, device.clone())?;
                let reports = autoencoder.fit(&data, Some(&data), &mut ())?;
                autoencoder.save(folder.path())?;
                let bytes = std::fs::read(folder.path().join("model.safetensors")).expect("the file");
                Ok((bytes, reports.iter().map(|report| report.train_loss).collect()))
            };
            let (first, losses) = run(7)?;
            assert!(first == run(7)?.0, "two runs on {} differ", device.name());
            assert!(first != run(8)?.0, "the seed changes nothing on {}", device.name());
            assert!(losses[2] < losses[0], "{losses:?}");
        }
    }
    Ok(())
}

#[test]
fn one_step_or_many_per_submission_give_the_same_bits() {
    let gpu = gpu();
    let data = digits(SAMPLES, 3);
    for network in both_models() {
        let run = |steps| {
            let options = Options { steps_per_submission: Some(steps), ..Options::default() };
            train(&network, &gpu, &data, Some(&data), options)
        };
        let one = run(1);
        assert_eq!(one.losses.len(), 3 * STEPS);
        for steps in [2, 3, 1000] {
            let many = run(steps);
            expect_same(&format!("{steps} steps a submission"), &one, &many);
        }
        let measured = train(&network, &gpu, &data, Some(&data), Options::default());
        expect_same("measured steps a submission", &one, &measured);
    }
}

#[test]
fn submissions_hold_the_steps_they_are_told_to() -> Result<()> {
    let (gpu, network, data) = (gpu(), network(SMALL_DENSE), digits(11 * 32, 3));
    for (steps, submissions) in [(1, 33), (4, 9), (11, 3), (1000, 3)] {
        let options = Options { steps_per_submission: Some(steps), ..Options::default() };
        let mut trainer = Trainer::new(&network, &gpu, &data, None, options)?;
        trainer.start(&initial(&network))?;
        while trainer.epoch(&mut ())? != EpochEnd::Finished {}
        let statistics = trainer.session().statistics().expect("a GPU's statistics");
        assert_eq!(statistics.submissions, submissions, "{steps} steps a submission");
    }
    Ok(())
}

/// A wrong row of the loss ring shows where a plan of a smaller batch follows, and where the ring wraps around.
#[test]
fn losses_are_the_same_on_gpu_and_cpu_step_by_step() {
    let mut spec = spec(SMALL_DENSE);
    spec.train.batch = 1;
    spec.train.epochs = 43;
    spec.train.optimizer.lr = 1e-4;
    let network = Network::new(spec).expect("a network");
    // 43 epochs of 100 steps: more than the ring's 4096.
    let data = digits(SAMPLES, 3);
    let on_cpu = train(&network, &Device::Cpu, &data, None, Options::default());
    let on_gpu = train(&network, &gpu(), &data, None, Options::default());
    assert_eq!(on_gpu.losses.len(), 4300);
    expect_close("losses", &on_gpu.losses, &on_cpu.losses, 1e-3, Scale::Relative);
    expect_close("early losses", &on_gpu.losses[..500], &on_cpu.losses[..500], 1e-5, Scale::Relative);
}

#[test]
fn streamed_data_gives_the_bits_of_resident_data() {
    let sample = 28 * 28;
    for (data, validation, bytes) in
        [(digits(SAMPLES, 3), digits(50, 4), 1), (float_digits(SAMPLES, 3), float_digits(50, 4), 4)]
    {
        for network in both_models() {
            for device in fast_devices() {
                let run = |samples: Option<u64>| {
                    let resident_bytes = samples.map(|samples| samples * sample * bytes);
                    let options = Options { resident_bytes, ..Options::default() };
                    train(&network, &device, &data, Some(&validation), options)
                };
                let resident = run(None);
                assert!(resident.reports[2].val_loss < resident.reports[0].val_loss, "{:?}", resident.reports);
                // Chunks of one batch; of two, where the tail has a chunk of its own; of three.
                for samples in [32, 70, 99] {
                    let streamed = run(Some(samples));
                    let what = format!("{samples} samples at a time on {}", device.name());
                    expect_same(&what, &resident, &streamed);
                }
                expect_same("all samples just fit", &resident, &run(Some(SAMPLES as u64)));
            }
        }
    }
}

/// Chunks of several steps in two places, of samples whose bytes fill no whole words.
#[test]
fn a_set_of_twice_the_budget_trains_to_the_bits_of_a_resident_one() {
    let text =
        "input = [3]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 3 }]\n[train]\nbatch = 7";
    let network = network(text);
    let bytes: Vec<u8> = (0..1000 * 3).map(|at| (at * at % 251) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte) / 255.0).collect();
    let sets = [Dataset::from_u8([3], bytes), Dataset::from_f32([3], floats)].map(|set| set.expect("a data set"));
    for (data, sample) in sets.iter().zip([3, 12]) {
        for device in all_devices() {
            let run = |samples: Option<u64>, steps_per_submission| {
                let resident_bytes = samples.map(|samples| samples * sample);
                train(
                    &network,
                    &device,
                    data,
                    Some(data),
                    Options { resident_bytes, steps_per_submission, ..Options::default() },
                )
            };
            let resident = run(None, None);
            // Half the set, a seventh, two batches and no more, and one that leaves no room for a second.
            for samples in [500, 143, 17, 16] {
                for steps in [None, Some(1), Some(5)] {
                    let what = format!("{samples} samples of {sample} bytes at a time on {}", device.name());
                    expect_same(&what, &resident, &run(Some(samples), steps));
                }
            }
        }
    }
}

/// Drivers may divide and factor as they like; a byte is the correctly rounded 255th part all the same.
#[test]
fn bytes_are_255ths_correctly_rounded() -> Result<()> {
    let mut graph = Graph::new();
    let data = graph.input("data", [256, 1], DType::U8)?;
    let permutation = graph.input("permutation", [256], DType::U32)?;
    let state = graph.state("state")?;
    let batch = graph.batch(data, permutation, state, 256)?;
    let inputs = [
        ("data", Tensor::new([256, 1], Values::U8((0..=255).collect()))?),
        ("permutation", Tensor::new([256], Values::U32((0..256).rev().collect()))?),
        ("state", Tensor::new([STATE_LENGTH], Values::U32(State::default().words()))?),
    ];
    for device in all_devices() {
        let results = device.compute(&graph, &[batch], &inputs)?;
        let expected: Vec<f32> = (0..=255u8).rev().map(|byte| f32::from(byte) / 255.0).collect();
        let expected = Values::F64(expected.into_iter().map(f64::from).collect());
        expect_same_bits(&device.name(), &Values::F64(results[0].to_f64()), &expected);
    }
    Ok(())
}

/// A byte b is the float b/255, correctly rounded, on every device.
#[test]
fn bytes_train_as_their_floats_do() {
    let network = network(SMALL_CONV);
    for device in all_devices() {
        let bytes = train(&network, &device, &digits(SAMPLES, 3), None, Options::default());
        let floats = train(&network, &device, &float_digits(SAMPLES, 3), None, Options::default());
        expect_same(&device.name(), &bytes, &floats);
    }
}

// ---- stopping and going on

/// Trains until `stop_after` losses were seen, keeps a checkpoint through a run directory, and goes on from its files.
pub fn interrupted(
    network: &Network,
    device: &Device,
    data: &Dataset,
    options: &Options,
    stop_after: usize,
) -> Result<Trained> {
    let folder = folder();
    let path = folder.path().join("run");
    let mut losses = Losses { stop_after: Some(stop_after), ..Losses::default() };
    let mut reports = Vec::new();
    let moments = {
        let mut trainer = Trainer::new(network, device, data, None, options.clone())?;
        trainer.start(&initial(network))?;
        let checkpoint = trainer.checkpoint()?;
        let mut run = RunDirectory::create(&path, network.spec(), &RunSettings::default(), network, &checkpoint)?;
        loop {
            match trainer.epoch(&mut losses)? {
                EpochEnd::Epoch(report) => reports.push(report),
                EpochEnd::Stopped => break,
                EpochEnd::Finished => panic!("nothing stopped it"),
            }
        }
        let progress = trainer.progress();
        assert_eq!(progress.step, losses.losses.len() as u64, "every step that was done is reported");
        assert!(losses.losses.len() >= stop_after);
        assert_eq!(progress.reported, progress.position as u64);
        let checkpoint = trainer.checkpoint()?;
        run.save(&checkpoint, network)?;
        drop(run);
        let (read, spec, settings) = RunDirectory::open(&path)?;
        assert_eq!((&spec, &settings), (network.spec(), &RunSettings::default()));
        assert_eq!(read.checkpoint(network, trainer.moments())?, checkpoint, "a file holds all of a checkpoint");
        trainer.moments()
    };
    let (run, ..) = RunDirectory::open(&path)?;
    let mut trainer = Trainer::new(network, device, data, None, options.clone())?;
    trainer.restore(&run.checkpoint(network, moments)?)?;
    losses.stop_after = None;
    loop {
        match trainer.epoch(&mut losses)? {
            EpochEnd::Epoch(report) => reports.push(report),
            EpochEnd::Stopped => panic!("nobody asked to stop"),
            EpochEnd::Finished => break,
        }
    }
    let steps: Vec<u64> = (1..=losses.losses.len() as u64).collect();
    assert_eq!(losses.steps, steps);
    for report in &mut reports {
        report.seconds = 0.0;
    }
    Ok(Trained { losses: losses.losses, reports, parameters: trainer.parameters()? })
}

#[test]
fn a_checkpoint_goes_on_to_the_same_bits_from_anywhere_in_an_epoch() -> Result<()> {
    let data = digits(SAMPLES, 3);
    // Two steps a submission, so that a GPU stops near where it is told to.
    let resident = Options { steps_per_submission: Some(2), ..Options::default() };
    let streamed = Options { resident_bytes: Some(2 * 32 * 784), ..resident.clone() };
    for device in all_devices() {
        for network in both_models() {
            let whole = train(&network, &device, &data, None, resident.clone());
            for (options, stops) in [(&resident, &[1, 2, 3, 4, 6][..]), (&streamed, &[1, 3, 5])] {
                for stop_after in stops {
                    let parts = interrupted(&network, &device, &data, options, *stop_after)?;
                    let what = format!("stopped after {stop_after} on {} with {options:?}", device.name());
                    expect_same(&what, &whole, &parts);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn plain_descent_has_a_checkpoint_without_moments() -> Result<()> {
    let network = network(&SMALL_DENSE.replace("adam = { lr = 3e-3 }", "sgd = { lr = 0.5 }"));
    let data = digits(SAMPLES, 3);
    for device in fast_devices() {
        let whole = train(&network, &device, &data, None, Options::default());
        let options = Options { steps_per_submission: Some(1), ..Options::default() };
        expect_same(&device.name(), &whole, &interrupted(&network, &device, &data, &options, 5)?);
    }
    Ok(())
}

#[test]
fn a_checkpoint_of_another_place_is_refused() -> Result<()> {
    let (network, data) = (network(SMALL_DENSE), digits(SAMPLES, 3));
    let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, Options::default())?;
    trainer.start(&initial(&network))?;
    let right = trainer.checkpoint()?;
    let refused = |trainer: &mut Trainer, change: &dyn Fn(&mut Checkpoint)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        trainer.restore(&wrong).err().map(|error| error.to_string())
    };
    let expected = "checkpoint: it is at step 4 of an epoch, in which data \"digits\" has 4 steps; continue with the \
                    data that the run began with";
    let problem = refused(&mut trainer, &|wrong| (wrong.progress.position, wrong.progress.step) = (4, 4));
    assert_eq!(problem.as_deref(), Some(expected));
    // More steps of this epoch than of all, more losses than steps.
    assert!(refused(&mut trainer, &|wrong| (wrong.progress.position, wrong.progress.step) = (3, 2)).is_some());
    assert!(refused(&mut trainer, &|wrong| wrong.progress.reported = 1).is_some());
    let expected = "buffer \"parameters\": 1 elements given, it holds 39040; give as many elements as it holds";
    let problem = refused(&mut trainer, &|wrong| wrong.parameters = Values::F32(vec![0.0]));
    assert_eq!(problem.as_deref(), Some(expected));
    assert!(refused(&mut trainer, &|_| ()).is_none());
    Ok(())
}

#[test]
fn an_observer_stops_before_the_first_step_too() -> Result<()> {
    let (network, data) = (network(SMALL_DENSE), digits(SAMPLES, 3));
    for device in fast_devices() {
        let mut trainer = Trainer::new(&network, &device, &data, None, Options::default())?;
        trainer.start(&initial(&network))?;
        let mut observer = Losses { stop_after: Some(0), ..Losses::default() };
        assert_eq!(trainer.epoch(&mut observer)?, EpochEnd::Stopped);
        assert_eq!((trainer.progress().step, observer.losses.len()), (0, 0));
        assert_eq!(trainer.parameters()?, initial(&network));
    }
    Ok(())
}

#[test]
fn training_ends_after_the_steps_that_were_asked_for() -> Result<()> {
    let (network, data) = (network(SMALL_DENSE), digits(SAMPLES, 3));
    for device in fast_devices() {
        let whole = train(&network, &device, &data, Some(&data), Options::default());
        for steps in [1usize, 3, 4, 5, 12, 99] {
            let options = Options { steps: Some(steps as u64), ..Options::default() };
            let trained = train(&network, &device, &data, Some(&data), options);
            let done = steps.min(3 * STEPS);
            assert_eq!(trained.losses, whole.losses[..done], "{steps} steps");
            assert_eq!(trained.reports.len(), done.div_ceil(STEPS), "{steps} steps");
            // An epoch that was cut short is reported with what was done of it, and validated.
            let last = trained.reports.last().expect("a report");
            assert_eq!(last.epoch, done.div_ceil(STEPS) as u64);
            assert!(last.val_loss.is_some() && last.val_mse.is_some());
            if done == 3 {
                let mean = whole.losses[..3].iter().sum::<f64>() / 3.0;
                expect_close("the loss of a part", &[last.train_loss], &[mean], 1e-14, Scale::Relative);
            }
        }
    }
    Ok(())
}

#[test]
fn more_steps_can_be_asked_for_later() -> Result<()> {
    let (network, data) = (network(SMALL_DENSE), digits(SAMPLES, 3));
    let whole = train(&network, &Device::Cpu, &data, None, Options::default());
    let mut losses = Losses::default();
    let options = Options { steps: Some(6), ..Options::default() };
    let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, options)?;
    trainer.start(&initial(&network))?;
    assert_eq!(trainer.steps_left(), 6);
    while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
    let checkpoint = trainer.checkpoint()?;
    assert_eq!((checkpoint.progress.epoch, checkpoint.progress.position), (1, 2));
    let mut trainer = Trainer::new(&network, &Device::Cpu, &data, None, Options::default())?;
    trainer.restore(&checkpoint)?;
    assert_eq!(trainer.steps_left(), 6);
    while trainer.epoch(&mut losses)? != EpochEnd::Finished {}
    assert_eq!(losses.losses, whole.losses);
    expect_same_bits("weights", &trainer.parameters()?, &whole.parameters);
    Ok(())
}

// ---- what a step and an epoch see

/// With a rate too small to move a weight, losses say which samples a step saw.
fn standing_still(text: &str, batch: usize) -> Network {
    let mut spec = spec(text);
    spec.train.batch = batch;
    spec.train.epochs = 2;
    spec.train.optimizer = pinhole::model::config::OptimizerSpec::sgd(1e-30);
    Network::new(spec).expect("a network")
}

#[test]
fn every_sample_is_trained_on_once_an_epoch_the_tail_too() -> Result<()> {
    let data = digits(SAMPLES, 3);
    for device in fast_devices() {
        for (batch, steps) in [(32, 4), (33, 4), (99, 2), (100, 1), (1, 100), (50, 2)] {
            let network = standing_still(SMALL_DENSE, batch);
            let trained = train(&network, &device, &data, None, Options::default());
            let what = format!("batches of {batch} on {}", device.name());
            expect_same_bits(&format!("{what}: weights stand still"), &trained.parameters, &initial(&network));
            assert_eq!(trained.losses.len(), 2 * steps, "{what}");
            let mut autoencoder = Autoencoder::new(network.spec().clone(), Device::CpuF64)?;
            autoencoder.set_parameters(initial(&network))?;
            let expected = autoencoder.evaluate(&data)?.loss;
            for report in &trained.reports {
                expect_close(&what, &[report.train_loss], &[expected], 1e-6, Scale::Relative);
            }
            let (first, second) = trained.losses.split_at(steps);
            let distance: f64 = first.iter().zip(second).map(|(first, second)| (first - second).abs()).sum();
            assert_eq!(distance > 1e-4, steps > 1, "{what}: each epoch has an order of its own; {distance}");

            // In the data's own order each loss is that of its samples, the tail's of what is left.
            let mut spec = network.spec().clone();
            spec.train.shuffle = false;
            let network = Network::new(spec)?;
            let trained = train(&network, &device, &data, None, Options::default());
            for (step, loss) in trained.losses.iter().take(steps).enumerate() {
                let range = step * batch..((step + 1) * batch).min(SAMPLES);
                let values = data.rows_f32(range);
                let samples = Dataset::from_f32([784], values)?;
                let expected = autoencoder.evaluate(&samples)?.loss;
                expect_close(&format!("{what}: step {step}"), &[*loss], &[expected], 1e-6, Scale::Relative);
            }
            assert_eq!(trained.losses[..steps], trained.losses[steps..], "{what}: each epoch has the same order");
        }
    }
    Ok(())
}

#[test]
fn validation_is_what_evaluate_says_after_the_epoch() -> Result<()> {
    // 45 samples in batches of 32 leave a tail of 13; 10 are fewer than a batch.
    for validation in [digits(45, 4), digits(10, 4), digits(64, 4)] {
        for device in all_devices() {
            let network = network(SMALL_CONV);
            let trained = train(&network, &device, &digits(SAMPLES, 3), Some(&validation), Options::default());
            let mut autoencoder = Autoencoder::new(network.spec().clone(), device.clone())?;
            autoencoder.set_parameters(trained.parameters)?;
            let evaluation = autoencoder.evaluate(&validation)?;
            let last = trained.reports.last().expect("a report");
            assert_eq!((last.val_loss, last.val_mse), (Some(evaluation.loss), Some(evaluation.mse)));
            assert_eq!(last.device, device.name());
        }
    }
    Ok(())
}

/// Data goes to the device once; an epoch costs its order, its schedule and the state.
#[test]
fn data_is_uploaded_once() -> Result<()> {
    let (gpu, network) = (gpu(), network(SMALL_DENSE));
    for (data, sample) in [(digits(SAMPLES, 3), 784), (float_digits(SAMPLES, 3), 4 * 784)] {
        let mut trainer = Trainer::new(&network, &gpu, &data, None, Options::default())?;
        let parameters = 4 * network.layout().elements() as u64;
        trainer.start(&initial(&network))?;
        let uploaded = |trainer: &Trainer| trainer.session().statistics().expect("a GPU's statistics").uploaded;
        assert_eq!(uploaded(&trainer), 3 * parameters, "weights and two moments");
        let epoch = (4 * SAMPLES + 4 * SCHEDULE_COLUMNS * STEPS + 4 * 8) as u64;
        let resident = (SAMPLES * sample) as u64;
        for done in 1..=3 {
            trainer.epoch(&mut ())?;
            assert_eq!(uploaded(&trainer), 3 * parameters + resident + done * epoch, "after {done} epochs");
        }
    }
    // Nothing but states and orders goes up for validation either, once its data is there.
    let (data, validation) = (digits(SAMPLES, 3), digits(40, 4));
    let mut trainer = Trainer::new(&network, &gpu, &data, Some(&validation), Options::default())?;
    trainer.start(&initial(&network))?;
    let mut before = 0;
    let mut rises = Vec::new();
    for _ in 0..3 {
        trainer.epoch(&mut ())?;
        let now = trainer.session().statistics().expect("a GPU's statistics").uploaded;
        rises.push(now - before);
        before = now;
    }
    let epoch = (4 * SAMPLES + 4 * SCHEDULE_COLUMNS * STEPS + 4 * 8 + 4 * 40 + 4 * 8) as u64;
    assert_eq!(rises[1..], [epoch, epoch]);
    Ok(())
}

// ---- what goes wrong

#[test]
fn a_loss_that_is_no_number_names_its_step_and_epoch() {
    // Without a final sigmoid nothing bounds the output.
    let text = SMALL_DENSE.replace(", \"sigmoid\"", "").replace("bce", "mse");
    for (optimizer, data) in [("adam = { lr = 1e18 }", digits(SAMPLES, 3)), ("sgd = { lr = 1e12 }", digits(SAMPLES, 3))]
    {
        let network = network(&text.replace("adam = { lr = 3e-3 }", optimizer));
        for device in fast_devices() {
            let result = try_train(&network, &device, &data, None, Options::default(), &initial(&network));
            let Err((Error::NonFinite { value, step, epoch, place }, losses)) = result else {
                panic!("{optimizer} on {}: {result:?}", device.name());
            };
            assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
            // The step whose gradients spoilt the weights, or the next, whose loss shows it.
            let shown = losses.len() as u64 + 1;
            assert!(step == shown || step + 1 == shown, "{step} after {shown}");
            assert!(!value.is_finite());
            assert_eq!(epoch, (step - 1) / STEPS as u64 + 1);
            assert!(step >= 2, "the first loss is before any update");
            assert!(place.starts_with("the output of \"") || place.starts_with("the gradient of \""), "{place}");
        }
    }
    // Finite data whose squares are not.
    let data = Dataset::from_f32([784], vec![3e38; 784 * 40]).expect("a data set");
    let network = network(&text);
    for device in fast_devices() {
        let result = try_train(&network, &device, &data, None, Options::default(), &initial(&network));
        let (error, losses) = result.expect_err("no training");
        assert!(losses.is_empty(), "{losses:?}");
        let text = error.to_string();
        let expected = "the output of \"encoder.0\" is not finite at step 1 (epoch 1), where the loss is ";
        let help = "; lower the learning rate (--lr) or look for extreme values in the data";
        assert!(text.starts_with(expected) && text.ends_with(help), "{text}");
    }
}

#[test]
fn a_failed_fit_leaves_the_weights_as_they_were() -> Result<()> {
    let text = SMALL_DENSE.replace(", \"sigmoid\"", "").replace("bce", "mse").replace("3e-3", "1e18");
    for device in fast_devices() {
        let mut autoencoder = Autoencoder::new(spec(&text), device)?;
        let before = autoencoder.parameters().clone();
        assert!(matches!(autoencoder.fit(&digits(SAMPLES, 3), None, &mut ()), Err(Error::NonFinite { .. })));
        assert_eq!(autoencoder.parameters(), &before);
    }
    Ok(())
}

#[test]
fn data_that_does_not_fit_is_refused_in_one_line() {
    let data = digits(SAMPLES, 3);
    let odd = Dataset::from_u8([1, 5, 5], vec![0; 250]).expect("a data set").with_name("odd");
    let mut spec = spec(SMALL_DENSE);
    spec.train.batch = 101;
    let greedy = Network::new(spec).expect("a network");
    let network = network(SMALL_DENSE);
    for device in all_devices() {
        let says = |network: &Network, data: &Dataset, validation: Option<&Dataset>, bytes: Option<u64>, text: &str| {
            let options = Options { resident_bytes: bytes, ..Options::default() };
            let error = Trainer::new(network, &device, data, validation, options).err().expect("an error");
            assert_eq!(error.to_string(), text);
        };
        let mismatch = "data \"odd\": its samples are [1, 5, 5], the model's input is [784]; choose other data, or change \
                        the model's `input` and layers";
        says(&network, &odd, None, None, mismatch);
        says(&network, &data, Some(&odd), None, mismatch);
        says(
            &greedy,
            &data,
            None,
            None,
            "batch 101: data \"digits\" has only 100 samples to train on; use --batch 100 or less",
        );
        says(
            &network,
            &data,
            None,
            Some(31 * 784),
            "out of memory: 25088 bytes asked for a batch of 32 samples of data \"digits\", 24304 bytes available; use \
             --batch 31",
        );
    }
}

// ---- learning

#[test]
fn presets_learn_the_built_in_digits() -> Result<()> {
    let (data, validation) = (digits(768, 1), digits(128, 2));
    for device in fast_devices() {
        for (preset, epochs, most) in [("conv", 6, 0.075), ("dense", 8, 0.30)] {
            let mut spec = ModelSpec::resolve(preset)?;
            spec.train.batch = 32;
            spec.train.epochs = epochs;
            let mut autoencoder = Autoencoder::new(spec, device.clone())?;
            let reports = autoencoder.fit(&data, Some(&validation), &mut ())?;
            let losses: Vec<f64> = reports.iter().filter_map(|report| report.val_loss).collect();
            assert_eq!(losses.len(), epochs);
            assert!(losses[epochs - 1] <= most, "{preset} on {}: {losses:?}", device.name());
        }
    }
    Ok(())
}
