//! Codes that are chosen: the largest numbers, the nearest vectors of a codebook, bits and the search among them.

use crate::support::*;
use pinhole::data::{Dataset, digits};
use pinhole::model::config::Binarise;
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::task::{self, CodeStatistics, HammingIndex, Neighbour, pack};
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};

const SPARSE: &str = "input = [784]\nloss = \"mse\"\nencoder = [{ linear = 96 }]\n\
    latent = { top_k = { k = 6, auxiliary_k = 20, dead_after = 100 } }\ndecoder = [{ linear = 784 }]\n\
    [train]\nbatch = 32\nepochs = 3\noptimizer = { adam = { lr = 3e-3 } }\n";

const QUANTISED: &str = "input = [1, 28, 28]\nloss = \"mse\"\n\
    encoder = [{ conv2d = { out = 6, kernel = 7, stride = 7 } }]\n\
    latent = { vector_quantised = { codes = 24, size = 3, decay = 0.9 } }\n\
    decoder = [{ conv_transpose2d = { out = 1, kernel = 7, stride = 7 } }]\n\
    [train]\nbatch = 32\nepochs = 3\noptimizer = { adam = { lr = 3e-3 } }\n";

const BITS: &str = "input = [784]\nloss = \"bce\"\nencoder = [{ linear = 70 }]\nlatent = \"binary\"\n\
    decoder = [{ linear = 784 }, \"sigmoid\"]\n\
    [train]\nbatch = 32\nepochs = 3\noptimizer = { adam = { lr = 3e-3 } }\n";

fn state(network: &Network, parameters: &Values, name: &str) -> Vec<f64> {
    let entries = network.layout().entries();
    let LayoutEntry { shape, offset, .. } = entries.iter().find(|entry| entry.name == name).expect("the state");
    wide(parameters)[*offset..*offset + shape.elements()].to_vec()
}

#[test]
fn the_largest_are_exactly_as_many_as_asked_for() -> Result<()> {
    let rows: [[f32; 7]; 4] = [
        [1.0, 5.0, 5.0, -2.0, 5.0, 0.0, 4.0],
        // Zeros of both signs are equal, and infinities are numbers.
        [-0.0, f32::NEG_INFINITY, 0.0, -1.0, -0.0, f32::INFINITY, -3.0],
        // A NaN is none of the largest, and stays; there may be fewer numbers than are asked for.
        [f32::NAN, 1.0, f32::NAN, 3.0, 2.0, -1.0, f32::from_bits(0xffc0_0000)],
        [f32::NAN, f32::NAN, 1e-40, f32::NAN, f32::NAN, f32::NAN, f32::NAN],
    ];
    let nan = f32::NAN;
    let expected: [[f32; 7]; 4] = [
        [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0],
        [nan, 1.0, nan, 1.0, 1.0, 0.0, nan],
        [nan, nan, 1.0, nan, nan, nan, nan],
    ];
    for device in all_devices() {
        let mut graph = Context::new();
        let x = graph.input("x", [4, 7], DType::Float)?;
        let marks = graph.top_k(x, 3)?;
        let x = Tensor::from_f32([4, 7], rows.concat())?;
        let found = device.compute(&graph, &[marks], &[("x", x)])?[0].to_f32();
        for (at, (found, expected)) in found.iter().zip(expected.concat()).enumerate() {
            let same = *found == expected || found.is_nan() && expected.is_nan();
            assert!(same, "{at}: {found}, not {expected}, on {}", device.name());
        }
    }
    let mut graph = Context::new();
    let x = graph.input("x", [4, 7], DType::Float)?;
    for count in [0, 8] {
        let said = graph.top_k(x, count).expect_err("an error").to_string();
        let expected = format!("top_k: {count} is not between 1 and the 7 elements of a row of [4, 7] (node 1)");
        assert_eq!(said, expected);
    }
    Ok(())
}

/// Devices train alike, whatever is chosen, and what the model file says comes back from it.
#[test]
fn devices_agree_on_choices() -> Result<()> {
    let data = digits(100, 3);
    let texts = [
        SPARSE.to_owned(),
        SPARSE.replace("k = 6", "k = 6, batch = true"),
        QUANTISED.to_owned(),
        QUANTISED.replace("decay = 0.9", "decay = 0.9, restart = 0.0"),
        BITS.to_owned(),
        BITS.replace("\"binary\"", "{ binary = false }"),
    ];
    for text in texts {
        let network = network(&text);
        let read = ModelSpec::parse(&network.spec().to_toml(), "m.toml".as_ref()).expect("a model file");
        assert_eq!(&read, network.spec(), "{text}");
        // A choice between two that are nearly alike falls as rounding has it: a few steps, before that shows.
        let options = || Options { steps: Some(4), ..Options::default() };
        let on = |device: &Device| train(&network, device, &data, Some(&data), options());
        let (cpu, gpu, exact) = (on(&Device::Cpu), on(&gpu()), on(&Device::CpuF64));
        expect_close("losses on the CPU", &cpu.losses, &exact.losses, 1e-3, Scale::Relative);
        expect_close("losses on the GPU", &gpu.losses, &exact.losses, 1e-3, Scale::Relative);
        let long = train(&network, &Device::Cpu, &data, None, Options::default());
        assert!(long.losses.last() < long.losses.first(), "{text}: {:?}", long.losses);
        let again = train(&network, &Device::Cpu, &data, None, Options::default());
        assert_eq!(long.losses, again.losses, "{text}");
    }
    Ok(())
}

#[test]
fn sparse_codes_have_as_many_numbers_as_they_should() -> Result<()> {
    let data = digits(300, 4);
    for device in fast_devices() {
        let mut autoencoder = Autoencoder::new(spec(SPARSE), device)?;
        autoencoder.fit(&data, None, &mut ())?;
        let codes = autoencoder.encode(&data.rows_f32(0..300))?.to_f32();
        for code in codes.chunks(96) {
            assert_eq!(code.iter().filter(|number| **number != 0.0).count(), 6);
        }
        let statistics = CodeStatistics::of(&autoencoder, &data)?;
        assert_eq!(statistics.mean_used().round(), 6.0);
        // What explains everything leaves no error.
        let variance = task::variance(&data, Binarise::None)?;
        let mse = autoencoder.evaluate(&data)?.mse;
        assert!(mse < 0.8 * variance, "{mse} of {variance}");
        // The decoder's columns have length 1.
        let weight = autoencoder.parameter("decoder.0.weight").expect("a weight").to_f64();
        for column in 0..96 {
            let square: f64 = (0..784).map(|row| weight[row * 96 + column].powi(2)).sum();
            assert!((square - 1.0).abs() < 1e-5, "column {column}: {square}");
        }
    }
    // Over a batch as many on average, and about as many in use, by the threshold.
    let text = SPARSE.replace("k = 6", "k = 6, batch = true").replace("epochs = 3", "epochs = 8");
    let mut autoencoder = Autoencoder::new(spec(&text), Device::Cpu)?;
    autoencoder.fit(&data, None, &mut ())?;
    let used = CodeStatistics::of(&autoencoder, &data)?.mean_used();
    assert!((4.5..7.5).contains(&used), "{used}");
    Ok(())
}

/// Numbers are counted from when they last stayed, and the dead ones are trained on what the others leave.
#[test]
fn dead_numbers_are_revived() -> Result<()> {
    let data = digits(320, 4);
    // Only the first numbers can stay: their bias is far above the others'.
    let network = network(&SPARSE.replace("dead_after = 100", "dead_after = 64"));
    let start = |network: &Network| {
        let mut values = network.initial(0);
        let bias = network.layout().offset("encoder.0.bias").expect("a bias");
        values[bias..bias + 12].fill(5.0);
        values
    };
    let fit = |network: &Network, steps: u64| {
        let options = Options { steps: Some(steps), ..Options::default() };
        let mut trainer = pinhole::train::Trainer::new(network, &Device::Cpu, &data, None, options).expect("a trainer");
        trainer.start(&Values::F32(start(network))).expect("a start");
        while let pinhole::train::EpochEnd::Epoch(_) = trainer.epoch(&mut ()).expect("an epoch") {}
        trainer.parameters().expect("parameters")
    };
    let one = state(&network, &fit(&network, 1), "latent.idle");
    assert!(one[12..].iter().all(|count| *count == 32.0) && one[..12].contains(&0.0), "{one:?}");
    let three = fit(&network, 3);
    // No further than the limit.
    assert!(state(&network, &three, "latent.idle")[12..].iter().all(|count| *count == 64.0));
    // After two steps they are dead, and the third moves the columns of those that the residual is made of.
    let column = |parameters: &Values| {
        let weight = state(&network, parameters, "decoder.0.weight");
        (12..96).map(|at| (0..784).map(|row| weight[row * 96 + at]).collect::<Vec<f64>>()).collect::<Vec<_>>()
    };
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-4);
    let moved = |a: &Values, b: &Values| column(a).iter().zip(column(b)).filter(|(a, b)| far(a, b)).count();
    let two = fit(&network, 2);
    assert!(moved(&two, &three) >= 20, "{}", moved(&two, &three));
    // The most that is counted: the state says that they wait for one sample more, then that they are dead.
    let long = self::network(&SPARSE.replace("dead_after = 100", "dead_after = 16777216"));
    let after = |waited: f32| {
        let mut values = start(&long);
        let idle = long.layout().offset("latent.idle").expect("the state");
        values[idle..idle + 96].fill(waited);
        let options = Options { steps: Some(1), ..Options::default() };
        let mut trainer = pinhole::train::Trainer::new(&long, &Device::Cpu, &data, None, options).expect("a trainer");
        trainer.start(&Values::F32(values)).expect("a start");
        trainer.epoch(&mut ()).expect("an epoch");
        trainer.parameters().expect("parameters")
    };
    let [waiting, dead] = [16_777_215.0, 16_777_216.0].map(after);
    assert!(moved(&waiting, &dead) >= 20, "{}", moved(&waiting, &dead));
    // Without the auxiliary loss they stay as they are, but for the last digit of their length.
    let without = self::network(&SPARSE.replace("auxiliary_k = 20", "auxiliary = 0.0"));
    let [two, three] = [2, 3].map(|steps| fit(&without, steps));
    let worst =
        column(&two).concat().iter().zip(column(&three).concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6, "{worst}");
    Ok(())
}

/// A step of plain descent on columns of length 1: by the gradient without what lies along them, then scaled to length 1.
#[test]
fn columns_are_not_pulled_along_themselves() -> Result<()> {
    let text = SPARSE.replace("adam = { lr = 3e-3 }", "sgd = { lr = 0.5 }").replace("k = 6", "k = 6, auxiliary = 0.0");
    let data = digits(32, 4);
    let network = network(&text);
    let start = Values::F32(network.initial(0));
    let mut graph = Context::new();
    let x = graph.input("x", [32, 784], DType::Float)?;
    let step = graph.state("state")?;
    let objective = network.objective(&mut graph, x, x, step)?;
    let weight = graph.parameter("decoder.0.weight", [784, 96])?;
    let gradient = graph.gradients(objective.loss, &[weight])?;
    let words = Tensor::new([8], Values::U32(vec![0; 8]))?;
    let mut inputs = vec![("x", Tensor::from_f32([32, 784], data.rows_f32(0..32))?), ("state", words)];
    for LayoutEntry { name, shape, .. } in network.layout().entries() {
        let values = state(&network, &start, name);
        inputs.push((name, Tensor::new(shape.clone(), Values::F64(values))?));
    }
    let gradient = Device::CpuF64.compute(&graph, &gradient, &inputs)?[0].to_f64();
    let before = state(&network, &start, "decoder.0.weight");
    let options = Options { steps: Some(1), ..Options::default() };
    let after = train(&network, &Device::CpuF64, &data, None, options).parameters;
    let after = state(&network, &after, "decoder.0.weight");
    let mut turned = 0.0f64;
    for column in 0..96 {
        let at = |values: &[f64]| (0..784).map(|row| values[row * 96 + column]).collect::<Vec<f64>>();
        let (before, gradient, after) = (at(&before), at(&gradient), at(&after));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert!((dot(&before, &before) - 1.0).abs() < 1e-5);
        let along = dot(&before, &gradient);
        let moved: Vec<f64> = before.iter().zip(&gradient).map(|(w, g)| w - 0.5 * (g - along * w)).collect();
        let length = dot(&moved, &moved).sqrt();
        let expected: Vec<f64> = moved.iter().map(|number| number / length).collect();
        expect_close("a column", &after, &expected, 1e-9, Scale::Absolute);
        turned = turned.max(1.0 - dot(&before, &after));
    }
    assert!(turned > 1e-6, "{turned}");
    Ok(())
}

#[test]
fn vectors_are_the_nearest_of_the_codebook() -> Result<()> {
    let data = digits(200, 4);
    for device in fast_devices() {
        let mut autoencoder = Autoencoder::new(spec(QUANTISED), device)?;
        let reports = autoencoder.fit(&data, Some(&data), &mut ())?;
        let parts = &reports.last().expect("a report").val_parts;
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["commitment", "perplexity", "reconstruction"]);
        let samples = data.rows_f32(0..20);
        let (codes, indices) = (autoencoder.encode(&samples)?, autoencoder.indices(&samples)?);
        assert_eq!(codes.shape()[..], [20, 6, 4, 4]);
        assert_eq!(indices.shape()[..], [20, 2, 4, 4]);
        let Values::U32(words) = indices.values() else { panic!("{indices:?}") };
        assert_eq!(autoencoder.codes_of(words)?, codes);
        // Quantised codes are their own nearest: by brute force from the plain encoder's output.
        let mut plain = spec(QUANTISED);
        plain.latent = pinhole::model::config::LatentSpec::Plain;
        let mut encoder = Autoencoder::new(plain, Device::Cpu)?;
        let own = encoder.network().layout().clone();
        let mut values = vec![0.0; own.elements()];
        for LayoutEntry { name, shape, offset } in own.entries() {
            let from = autoencoder.parameter(name).expect("the same parameter").to_f32();
            values[*offset..*offset + shape.elements()].copy_from_slice(&from);
        }
        encoder.set_parameters(Values::F32(values))?;
        let encoded = encoder.encode(&samples)?.to_f64();
        let codebook = autoencoder.parameter("latent.codebook").expect("a codebook").to_f64();
        for (at, word) in words.iter().enumerate() {
            let (sample, group, place) = (at / 32, at / 16 % 2, at % 16);
            let vector = [0, 1, 2].map(|number| encoded[sample * 96 + (group * 3 + number) * 16 + place]);
            let distance = |code: usize| (0..3).map(|k| (codebook[code * 3 + k] - vector[k]).powi(2)).sum::<f64>();
            let least = (0..24).map(distance).fold(f64::INFINITY, f64::min);
            assert!(distance(*word as usize) <= least + 1e-5, "{at}: {} and {least}", distance(*word as usize));
        }
        let usage = task::codebook_usage(&autoencoder, &data)?;
        assert!((usage.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(task::perplexity(&usage) > 2.0, "{usage:?}");
        let refused = autoencoder.codes_of(&[24; 32]).expect_err("an error").to_string();
        assert_eq!(refused, "indices: 24 is beyond the codebook; give numbers below 24");
        let refused = autoencoder.prior().expect_err("no prior").to_string();
        assert!(refused.contains("are codebook vectors or bits, whose joint distribution is not learned"), "{refused}");
        let statistics = CodeStatistics::standard(96);
        assert!(autoencoder.generate(&statistics, 2, 0).is_err());
    }
    Ok(())
}

/// The codebook is the moving average of what it was chosen for, and vectors that are not chosen come from the batch.
#[test]
fn codebooks_follow_and_restart() -> Result<()> {
    let text = "input = [2]\nloss = \"mse\"\nencoder = [{ linear = { out = 2, bias = false } }]\n\
        latent = { vector_quantised = { codes = 3, decay = 0.75, restart = 0.2 } }\n\
        decoder = [{ linear = 2 }]\n[train]\nbatch = 4\nshuffle = false\noptimizer = { sgd = { lr = 0.0 } }\n";
    // Rates of zero are refused in files; the least there is leaves the encoder as it is.
    let text = &text.replace("lr = 0.0", "lr = 1e-30");
    let data = pinhole::data::Dataset::from_f32([2], vec![1.0, 0.0, 1.2, 0.0, 0.0, 1.0, 1.1, 0.0])?;
    for (restart, device) in [("0.2", Device::CpuF64), ("0.0", Device::CpuF64), ("0.2", gpu())] {
        let network = network(&text.replace("restart = 0.2", &format!("restart = {restart}")));
        let mut values = network.initial(0);
        let mut put = |name: &str, new: &[f32]| {
            let offset = network.layout().offset(name).expect("a parameter");
            values[offset..offset + new.len()].copy_from_slice(new);
        };
        put("encoder.0.weight", &[1.0, 0.0, 0.0, 1.0]);
        put("latent.codebook", &[1.0, 0.0, 0.0, 1.0, -5.0, -5.0]);
        put("latent.counts", &[4.0, 2.0, 0.5]);
        put("latent.sums", &[4.0, 0.0, 0.0, 2.0, -2.5, -2.5]);
        let options = Options { steps: Some(1), ..Options::default() };
        let mut trainer = pinhole::train::Trainer::new(&network, &device, &data, None, options)?;
        trainer.start(&Values::F32(values))?;
        trainer.epoch(&mut ())?;
        let parameters = trainer.parameters()?;
        // Three of four are nearest to the first vector, whose sum is 3.3 in x.
        let (counts, codebook) =
            (state(&network, &parameters, "latent.counts"), state(&network, &parameters, "latent.codebook"));
        expect_close("counts", &counts[..2], &[3.75, 1.75], 1e-6, Scale::Relative);
        let means = [(0.75 * 4.0 + 0.25 * 3.3) / 3.75, 0.0, 0.0, 1.0];
        expect_close("vectors", &codebook[..4], &means, 1e-6, Scale::Absolute);
        if restart == "0.0" {
            expect_close("the unused one", &codebook[4..], &[-5.0, -5.0], 1e-6, Scale::Relative);
            expect_close("its count", &counts[2..], &[0.375], 1e-6, Scale::Relative);
        } else {
            let rows = [[1.0, 0.0], [1.2, 0.0], [0.0, 1.0], [1.1, 0.0]];
            let near = |row: &[f64; 2]| (row[0] - codebook[4]).abs() + (row[1] - codebook[5]).abs() < 1e-6;
            assert!(rows.iter().any(near), "{codebook:?}");
            expect_close("its count", &counts[2..], &[(3.75 + 1.75 + 0.375) / 3.0], 1e-6, Scale::Relative);
        }
    }
    Ok(())
}

#[test]
fn bits_are_packed_and_found() -> Result<()> {
    let words = |codes: &[f32], bits| pack(codes, bits).expect("bits");
    let mut code = vec![0.0; 70];
    (code[0], code[63], code[64], code[69]) = (1.0, 1.0, 1.0, 1.0);
    assert_eq!(words(&code, 70), [1 | 1 << 63, 0b10_0001]);
    assert_eq!(
        pack(&[0.5], 1).expect_err("an error").to_string(),
        "codes: 0.5 is not a bit; give 0 and 1, as the codes of a model whose latent is binary"
    );
    assert!(pack(&[1.0; 5], 2).is_err() && HammingIndex::new(vec![], 3).is_err());
    // Against every distance, of codes of one word, of two, and of several that are alike.
    for (bits, count) in [(3, 40), (64, 100), (70, 333), (130, 50)] {
        let draws = pinhole::rng::Sequence::new(5, pinhole::rng::HostStream::Codes, bits as u32);
        let mut draws = draws;
        let codes: Vec<f32> = (0..bits * count).map(|_| f32::from(u8::from(draws.unit() < 0.4))).collect();
        let index = HammingIndex::new(words(&codes, bits), bits)?;
        assert_eq!((index.len(), index.bits()), (count, bits));
        for (at, query) in codes.chunks(bits).enumerate().step_by(7) {
            let packed = words(query, bits);
            assert_eq!(index.code(at), Some(&packed[..]));
            let differ = |code: &[f32]| code.iter().zip(query).filter(|(a, b)| a != b).count() as u32;
            let mut all: Vec<Neighbour> = codes
                .chunks(bits)
                .enumerate()
                .map(|(index, code)| Neighbour { distance: differ(code), index })
                .collect();
            all.sort_by_key(|found| (found.distance, found.index));
            for n in [1, 10, count, count + 5] {
                assert_eq!(index.nearest(&packed, n)?, all[..n.min(count)]);
            }
            let radius = all[count / 2].distance;
            let inside: Vec<Neighbour> = all.iter().copied().filter(|found| found.distance <= radius).collect();
            assert_eq!(index.within(&packed, radius)?, inside);
            assert!(index.nearest(&[0; 9], 1).is_err());
        }
    }
    Ok(())
}

#[test]
fn codes_of_bits_find_samples_that_are_alike() -> Result<()> {
    let (data, query) = (digits(600, 4), digits(100, 5));
    let mut autoencoder = Autoencoder::new(spec(&BITS.replace("epochs = 3", "epochs = 12")), Device::Cpu)?;
    autoencoder.fit(&data, None, &mut ())?;
    let codes = autoencoder.encode(&query.rows_f32(0..100))?.to_f32();
    assert!(codes.iter().all(|bit| *bit == 0.0 || *bit == 1.0));
    let (searched, wanted) = (HammingIndex::of(&autoencoder, &data)?, HammingIndex::of(&autoencoder, &query)?);
    assert_eq!(wanted.words(), &pack(&codes, 70)?[..]);
    let (labels, own) = (labels_of(&data), labels_of(&query));
    let mut right = 0;
    for (at, label) in own.iter().enumerate() {
        for found in searched.nearest(wanted.code(at).expect("a code"), 5)? {
            right += usize::from(labels[found.index] == *label);
        }
    }
    // By chance it would be one in ten.
    assert!(right > 150, "{right} of 500");
    let refused = HammingIndex::of(&Autoencoder::new(spec(SPARSE), Device::Cpu)?, &data).expect_err("no bits");
    assert!(refused.to_string().contains("whose codes are not bits; use a model whose latent is binary"), "{refused}");
    Ok(())
}

#[test]
fn senseless_choices_are_refused() {
    let says = |text: &str, expected: &str| {
        let said = ModelSpec::parse(text, "m.toml".as_ref()).expect_err("an error").to_string();
        let said = said.split_once(": ").map_or("", |(_, said)| said);
        assert_eq!(said, expected);
    };
    says(
        &SPARSE.replace("k = 6", "k = 97"),
        "line 4, latent.top_k.k: a code has only 96 numbers, of which 97 cannot stay; use a smaller k or a wider code",
    );
    says(
        &SPARSE.replace("dead_after = 100", "dead_after = 16777217"),
        "line 4, latent.top_k.dead_after: samples are counted up to 16777216, not to 16777217; use 10000000, say",
    );
    says(
        &SPARSE.replace("decoder = [{ linear = 784 }]", "decoder = [\"relu\", { linear = 784 }]"),
        "line 4, latent.top_k.unit_norm: the decoder does not begin with a linear layer, whose columns could have length 1; \
         begin it with { linear = .. }, or write unit_norm = false",
    );
    says(
        &SPARSE.replace("decoder = [{ linear = 784 }]", "decoder = [{ linear = 784 }, \"sigmoid\"]"),
        "line 4, latent.top_k.auxiliary: the decoder is more than one linear layer, so that residuals are no sum of its \
         columns; let it be { linear = .. } alone, or write auxiliary = 0",
    );
    says(
        &QUANTISED.replace("size = 3", "size = 4"),
        "line 4, latent.vector_quantised.size: the 6 of the encoder's output [6, 4, 4] cannot be cut into vectors of 4; use a \
         divisor, or 0 for all",
    );
    says(
        &BITS.replace("[{ linear = 70 }]", "[{ linear = 70 }, \"sigmoid\"]"),
        "line 4, latent.binary: the encoder ends with \"sigmoid\", which leaves nothing below 0, where bits become 0; end it with a \
         linear or convolutional layer",
    );
    says(
        &BITS
            .replace("[{ linear = 70 }]", "[{ linear = 70 }, \"sigmoid\", { unflatten = [7, 10] }]")
            .replace("[{ linear = 784 }", "[\"flatten\", { linear = 784 }"),
        "line 4, latent.binary: the encoder ends with \"sigmoid\", which leaves nothing below 0, where bits become 0; end it with a \
         linear or convolutional layer",
    );
    says(
        &BITS.replace("decoder =", "penalties = { contractive = { projections = 2 } }\ndecoder ="),
        "line 5, penalties.contractive: codes of a { binary = { stochastic = true } } latent are vectors of a codebook or bits, \
         which have no derivatives; use another latent, or leave the penalty out",
    );
}

#[cfg(feature = "cli")]
#[test]
fn the_program_searches_and_writes_indices() {
    use crate::temp::Place;
    let place = Place::new();
    place.write("bits.toml", BITS.as_bytes());
    place.write("vectors.toml", QUANTISED.as_bytes());
    place.ok("train --model bits.toml --data digits:240 --epochs 1 --device cpu --out bits");
    place.ok("train --model vectors.toml --data digits:240 --epochs 1 --device cpu --out vectors");
    let said = place.ok("search bits digits:240 --data digits:240 --n 3 --device cpu --json");
    let lines: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (last, lines) = lines.split_last().expect("lines");
    assert_eq!(last["queries"], lines.len());
    assert!(last["precision"].as_f64().is_some_and(|precision| precision > 0.1 && precision <= 1.0), "{last}");
    for (query, line) in lines.iter().enumerate() {
        assert_eq!(line["query"], query);
        let found = line["neighbours"].as_array().expect("a list");
        let distances: Vec<u64> = found.iter().map(|found| found["distance"].as_u64().expect("a distance")).collect();
        assert!(found.len() == 3 && distances.is_sorted(), "{line}");
    }
    assert!(place.path("bits/found.png").exists());
    place.ok("search bits digits:240 --data digits:240 --radius 0 --device cpu --out zero.png");
    place.ok("encode vectors digits:240 indices.npy --indices --device cpu");
    let indices = pinhole::data::npy::read_npy(place.path("indices.npy")).expect("indices");
    assert_eq!(indices.shape()[1..], [2, 4, 4]);
    assert!(indices.to_f32().iter().all(|index| *index < 24.0 && index.fract() == 0.0));
    place.ok("eval vectors --data digits:240 --codes --device cpu");
    place.fail(&[
        (
            "search vectors digits:240 --data digits:240 --device cpu",
            "latent: it is { vector_quantised = { codes = 24, size = 3, commitment = 0.25, decay = 0.9, restart = 0.1 } }, \
             whose codes are not bits; use a model whose latent is binary",
        ),
        (
            "encode bits digits:240 x.npy --indices --device cpu",
            "latent: it is { binary = { stochastic = true } }, whose codes have no indices; use a model whose latent is \
             vector_quantised",
        ),
        (
            "generate bits --data digits:240 --device cpu",
            "latent: codes of { binary = { stochastic = true } } are codebook vectors or bits, whose joint \
             distribution is not learned; use a model whose latent is gaussian or wasserstein",
        ),
        (
            "search bits digits:240 --data digits:240 --device cpu --out found.jpg",
            "found.jpg: the results are drawn as a PNG file; name it .png",
        ),
    ]);
}

/// The vectors of a sequence's codes are those of its steps, or parts of these.
#[test]
fn sequences_have_a_vector_for_each_step() -> Result<()> {
    let text = "input = [6, 8]\nloss = \"mse\"\nencoder = [{ linear = 4 }]\n\
        latent = { vector_quantised = { codes = 5, size = 2 } }\ndecoder = [{ linear = 8 }]\n\
        [train]\nbatch = 10\nepochs = 2\n";
    let data = Dataset::from_f32([6, 8], digits(10, 3).rows_f32(0..10)[784..784 + 480].to_vec())?;
    for device in fast_devices() {
        let mut autoencoder = Autoencoder::new(spec(text), device)?;
        autoencoder.fit(&data, None, &mut ())?;
        let samples = data.rows_f32(0..10);
        let (codes, indices) = (autoencoder.encode(&samples)?, autoencoder.indices(&samples)?);
        assert_eq!((&codes.shape()[..], &indices.shape()[..]), (&[10, 6, 4][..], &[10, 6, 2][..]));
        let codebook = autoencoder.parameter("latent.codebook").expect("a codebook").to_f32();
        let Values::U32(words) = indices.values() else { panic!("{indices:?}") };
        let expected: Vec<f32> = words.iter().flat_map(|word| &codebook[*word as usize * 2..][..2]).copied().collect();
        assert_eq!(codes.to_f32(), expected);
        assert_eq!(autoencoder.codes_of(words)?, codes);
        // Nearest to what a layer makes of each step by itself.
        let [weight, bias] = ["weight", "bias"].map(|kind| autoencoder.parameter(&format!("encoder.0.{kind}")));
        let (weight, bias) = (weight.expect("a weight").to_f64(), bias.expect("a bias").to_f64());
        for (at, word) in words.iter().enumerate() {
            let (step, part) = (at / 2, at % 2);
            let number = |row: usize| {
                let row = 2 * part + row;
                (0..8).map(|k| weight[row * 8 + k] * f64::from(samples[step * 8 + k])).sum::<f64>() + bias[row]
            };
            let vector = [number(0), number(1)];
            let distance =
                |code: usize| (0..2).map(|k| (f64::from(codebook[code * 2 + k]) - vector[k]).powi(2)).sum::<f64>();
            let least = (0..5).map(distance).fold(f64::INFINITY, f64::min);
            assert!(distance(*word as usize) <= least + 1e-5, "{at}");
        }
    }
    Ok(())
}

/// What one-dimensional convolutions leave has channels first, whose vectors stand at each place of the length.
#[test]
fn convolutions_of_sequences_have_a_vector_for_each_place() -> Result<()> {
    let text = "input = [1, 36]\nloss = \"mse\"\nencoder = [CONV, \"relu\", \
        { residual = [{ conv1d = { out = 8, kernel = 3, padding = 1 } }, \"tanh\"] }, END]\n\
        latent = { vector_quantised = { codes = 5, size = SIZE } }\ndecoder = [\"flatten\", { linear = 36 }]\n";
    let strided = "{ conv1d = { out = 8, kernel = 3, stride = 2, padding = 1 } }";
    let whole = "{ conv1d = { out = 8, kernel = 3, padding = 1 } }";
    let pooled = "{ max_pool1d = 2 }, \"instance_norm\"";
    let adaptive = "{ adaptive_avg_pool1d = 9 }, { upsample_nearest = 2 }, { gaussian_noise = 0.1 }, \"rms_norm\"";
    for (conv, end, size, shape) in [
        (strided, "", "0", [1, 18]),
        (strided, "", "4", [2, 18]),
        (whole, pooled, "4", [2, 18]),
        (whole, adaptive, "0", [1, 18]),
    ] {
        let text = text
            .replace("CONV", conv)
            .replace(", END", &if end.is_empty() { String::new() } else { format!(", {end}") });
        let autoencoder = Autoencoder::new(spec(&text.replace("SIZE", size)), Device::Cpu)?;
        let samples = digits(2, 3).rows_f32(0..2)[..72].to_vec();
        let (codes, indices) = (autoencoder.encode(&samples)?, autoencoder.indices(&samples)?);
        assert_eq!((&codes.shape()[1..], &indices.shape()[1..]), (&[8, 18][..], &shape[..]));
        assert_eq!(autoencoder.parameter("latent.codebook").expect("a codebook").shape()[..], [5, 8 / shape[0]]);
        let Values::U32(words) = indices.values() else { panic!("{indices:?}") };
        assert_eq!(autoencoder.codes_of(words)?, codes);
    }
    Ok(())
}

/// What is explained is of what the model is to make: of targets, of numbers made binary, of steps that are there.
#[test]
fn variance_is_of_what_is_wanted() -> Result<()> {
    let values = vec![0.1, 0.9, 0.3, 0.6, 0.2, 0.4];
    let data = Dataset::from_f32([3, 1], values)?;
    let of = |data: &Dataset, binarise| task::variance(data, binarise).expect("a variance");
    // Of two samples each: a quarter of the squared distance.
    let plain = [-0.5f64, 0.7, -0.1].map(|distance| distance * distance / 4.0).iter().sum::<f64>() / 3.0;
    expect_close("plain", &[of(&data, Binarise::None)], &[plain], 1e-6, Scale::Relative);
    expect_close("threshold", &[of(&data, Binarise::Threshold)], &[(0.25 + 0.25 + 0.0) / 3.0], 1e-6, Scale::Relative);
    // A coin's that falls on 1 as often as the mean says.
    let coins = [0.35f64, 0.55, 0.35].map(|mean| mean - mean * mean).iter().sum::<f64>() / 3.0;
    expect_close("draws", &[of(&data, Binarise::Stochastic)], &[coins], 1e-6, Scale::Relative);
    let short = data.clone().with_lengths(vec![3, 1])?;
    expect_close("lengths", &[of(&short, Binarise::None)], &[2.0 * 0.0625 / 4.0], 1e-6, Scale::Relative);
    let pairs = data.with_targets(Dataset::from_f32([3, 1], vec![1.0, 1.0, 1.0, 0.0, 1.0, 1.0])?)?;
    expect_close("targets", &[of(&pairs, Binarise::None)], &[0.25 / 3.0], 1e-6, Scale::Relative);
    Ok(())
}

/// Wide codes have means and deviations, and are drawn by these; their covariance would not fit.
#[test]
fn wide_codes_vary_each_by_itself() -> Result<()> {
    let text = "input = [2]\nloss = \"mse\"\nencoder = [{ linear = 60000 }]\ndecoder = [{ linear = 2 }]\n";
    let autoencoder = Autoencoder::new(spec(text), Device::Cpu)?;
    let data = Dataset::from_f32([2], vec![0.0, 1.0, 2.0, -1.0, 0.5, 0.25])?;
    let statistics = CodeStatistics::of(&autoencoder, &data)?;
    let codes = autoencoder.encode(&data.rows_f32(0..3))?.to_f64();
    let mean = (codes[7] + codes[60007] + codes[120_007]) / 3.0;
    let variance = [7, 60007, 120_007].map(|at| (codes[at] - mean).powi(2)).iter().sum::<f64>() / 2.0;
    expect_close("the mean", &statistics.mean()[7..8], &[mean], 1e-6, Scale::Relative);
    expect_close("the variance", &statistics.variances()[7..8], &[variance], 1e-5, Scale::Relative);
    assert_eq!(autoencoder.generate(&statistics, 2, 0)?.shape()[..], [2, 2]);
    assert_eq!(CodeStatistics::standard(60000).drawn(1, 5)[..3], CodeStatistics::standard(3).drawn(1, 5)[..]);
    Ok(())
}
