//! Folders of pictures of mixed sizes and kinds: fitted, decoded at once or when they are wanted, and trained on.

use crate::support::*;
use expect_test::expect;
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
use pinhole::data::images::{read_picture, write_png};
use pinhole::data::pictures::{Fit, PictureFormat};
use pinhole::data::{Dataset, Reading, load_with, picture_files};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use pinhole::{Device, Result, rng};
use std::path::Path;

/// A picture of smooth colours, another for every number: interleaved RGB.
fn colours(number: u32, height: usize, width: usize) -> Vec<u8> {
    let [a, b, c, _] = rng::words(7, 0, 0, number).map(|word| (word >> 20) as f32 / 4096.0);
    let mut bytes = Vec::with_capacity(height * width * 3);
    for y in 0..height {
        for x in 0..width {
            let (y, x) = (y as f32 / height as f32, x as f32 / width as f32);
            bytes.extend([a * x + (1.0 - a) * y, (b - x).abs(), (c + y) / 2.0].map(|value| (value * 255.0) as u8));
        }
    }
    bytes
}

fn write_jpeg(path: &Path, height: usize, width: usize, kind: ExtendedColorType, pixels: &[u8]) {
    let mut encoded = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut encoded, 95);
    encoder.write_image(pixels, width as u32, height as u32, kind).expect("an encoded picture");
    std::fs::write(path, encoded).expect("a written file");
}

/// A folder of JPEGs of mixed sizes.
fn photos(count: u32) -> tempfile::TempDir {
    let folder = folder();
    write_photos(folder.path(), count);
    folder
}

fn write_photos(folder: &Path, count: u32) {
    for number in 0..count {
        let [h, w, ..] = rng::words(8, 0, 0, number).map(|word| 20 + (word >> 16) as usize % 61);
        write_photo(folder, number, h, w);
    }
}

fn write_photo(folder: &Path, number: u32, height: usize, width: usize) {
    let path = folder.join(format!("{number:04}.jpg"));
    write_jpeg(&path, height, width, ExtendedColorType::Rgb8, &colours(number, height, width));
}

fn format(channels: usize, height: usize, width: usize, fit: Fit) -> PictureFormat {
    PictureFormat { channels, height, width, fit }
}

#[test]
fn jpegs_are_read_nearly_as_they_were() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.jpg");
    let pixels = colours(3, 24, 33);
    write_jpeg(&path, 24, 33, ExtendedColorType::Rgb8, &pixels);
    let (shape, bytes) = read_picture(&path)?;
    assert_eq!(shape, Shape::from([3, 24, 33]));
    let worst = (0..24 * 33 * 3).map(|i| bytes[i % 3 * 24 * 33 + i / 3].abs_diff(pixels[i])).max();
    assert!(worst <= Some(24), "{worst:?}");
    write_jpeg(&path, 8, 8, ExtendedColorType::L8, &[200; 64]);
    assert_eq!(read_picture(&path)?, (Shape::from([1, 8, 8]), vec![200; 64]));

    // Cut short, emptied, and of a lying header.
    let whole = std::fs::read(&path).expect("a file");
    let says = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("a written file");
        read_picture(&path).expect_err("an error").to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(
        says(b""),
        "a.jpg: is no picture of a known kind (PNG, JPEG, BMP, GIF, TIFF or WebP); check that it is one, or remove it"
    );
    let said = says(&whole[..20]);
    assert!(said.starts_with("a.jpg: is no readable JPEG (") && !said.contains('\n'), "{said}");
    let mut lying = whole.clone();
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
    lying[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    assert_eq!(
        says(&lying),
        format!(
            "a.jpg: claims 60000 x 60000 pixels, which its {} bytes cannot hold; the file is damaged: get it again",
            lying.len()
        )
    );
    Ok(())
}

/// Cameras that were held upright say so beside the pixels.
#[test]
fn jpegs_are_turned_as_their_exif_data_say() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.jpg");
    // The left half dark and the right one bright.
    let pixels: Vec<u8> = (0..8 * 16).map(|at| if at % 16 < 8 { 10 } else { 240 }).collect();
    write_jpeg(&path, 8, 16, ExtendedColorType::L8, &pixels);
    let mut bytes = std::fs::read(&path).expect("a file");
    // A block with one entry, the orientation: to be turned by 90 degrees to the right.
    let tiff = [&b"II*\0\x08\0\0\0\x01\0"[..], &[0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0], &[0; 4]].concat();
    let length = (2 + 6 + tiff.len() as u16).to_be_bytes();
    let block = [&[0xff, 0xe1], &length[..], b"Exif\0\0", &tiff].concat();
    bytes.splice(2..2, block);
    std::fs::write(&path, bytes).expect("written");
    let (shape, bytes) = read_picture(&path)?;
    assert_eq!(shape, Shape::from([1, 16, 8]));
    assert!(bytes[..64].iter().all(|byte| *byte < 40) && bytes[64..].iter().all(|byte| *byte > 210), "{bytes:?}");
    Ok(())
}

// ---- kinds of files

/// A picture of `make_pictures.py`.
fn picture(name: &str) -> std::path::PathBuf {
    fixture("pictures").join(name)
}

/// The numbers of a fixture's planes: 6 lines of 9 pixels.
fn planes<const CHANNELS: usize, T>(pixel: impl Fn(u32, u32) -> [T; CHANNELS]) -> Vec<T> {
    let places = (0..6).flat_map(|y| (0..9).map(move |x| (y, x)));
    let pixels: Vec<[T; CHANNELS]> = places.map(|(y, x)| pixel(y, x)).collect();
    let mut planes: Vec<Vec<T>> = (0..CHANNELS).map(|_| Vec::new()).collect();
    for pixel in pixels {
        planes.iter_mut().zip(pixel).for_each(|(plane, value)| plane.push(value));
    }
    planes.into_iter().flatten().collect()
}

fn grey(y: u32, x: u32) -> u8 {
    (20 * y + 15 * x) as u8
}

fn colour(y: u32, x: u32) -> [u8; 3] {
    let g = 20 * y + 15 * x;
    [g as u8, 255 - g as u8, (7 * g % 256) as u8]
}

#[test]
fn every_kind_of_picture_is_read_as_others_write_it() -> Result<()> {
    let [grey_shape, colour_shape] = [1, 3].map(|channels| Shape::from([channels, 6, 9]));
    let expected = planes(|y, x| [grey(y, x)]);
    for name in
        ["grey.bmp", "grey.gif", "frames.gif", "grey.tif", "grey-lzw.tif", "frames.tif", "grey.webp", "frames.webp"]
    {
        assert_eq!(read_picture(picture(name))?, (grey_shape.clone(), expected.clone()), "{name}");
    }
    for name in ["colour.bmp", "colour.gif", "colour.tif", "colour.webp"] {
        assert_eq!(read_picture(picture(name))?, (colour_shape.clone(), planes(colour)), "{name}");
    }
    for name in ["bits.bmp", "bits.tif"] {
        let bits = planes(|y, x| [if (x + y) % 2 == 0 { 255 } else { 0 }]);
        assert_eq!(read_picture(picture(name))?, (grey_shape.clone(), bits), "{name}");
    }
    // Losses give grey a tinge.
    let (shape, lossy) = read_picture(picture("lossy.webp"))?;
    let worst = lossy.iter().zip(expected.repeat(3)).map(|(found, wanted)| found.abs_diff(wanted)).max();
    assert!(shape == colour_shape && worst <= Some(8), "{shape} {worst:?}");
    // Transparency over black.
    let clear = planes(|y, x| [if x == 0 { 0 } else { grey(y, x) }]);
    assert_eq!(read_picture(picture("clear.gif"))?, (grey_shape, clear));
    let shown = |value: u8, x: u32| ((u32::from(value) * (28 * x) + 127) / 255) as u8;
    let over_black = planes(|y, x| colour(y, x).map(|value| shown(value, x)));
    for name in ["alpha.png", "alpha.tif", "alpha.webp"] {
        assert_eq!(read_picture(picture(name))?, (colour_shape.clone(), over_black.clone()), "{name}");
    }
    // By its content, whatever it is called, alone and in a folder.
    let folder = folder();
    std::fs::copy(picture("colour.webp"), folder.path().join("a.JPG")).expect("copied");
    std::fs::copy(picture("grey.gif"), folder.path().join("b.tiff")).expect("copied");
    let data = load_with(&folder.path().display().to_string(), &Reading::default())?.train;
    assert_eq!(data.values(), &Values::U8([planes(colour), expected.repeat(3)].concat()));
    Ok(())
}

#[test]
fn sixteen_bits_are_kept() -> Result<()> {
    let word = |y: u32, x: u32| (1000 * y + 7000 * x) as f32 / 65535.0;
    let words = planes(|y, x| [word(y, x)]);
    for name in ["grey16.png", "grey16.tif", "grey16-deflate.tif"] {
        let data = load_with(&picture(name).display().to_string(), &Reading::default())?.train;
        assert_eq!(
            (data.sample_shape(), data.values()),
            (&Shape::from([1, 6, 9]), &Values::F32(words.clone())),
            "{name}"
        );
        // Rounded where bytes are asked for.
        let bytes = planes(|y, x| [(word(y, x) * 255.0).round() as u8]);
        assert_eq!(read_picture(picture(name))?.1, bytes, "{name}");
        assert_eq!(format(1, 6, 9, Fit::Crop).read(picture(name))?, bytes, "{name}");
    }
    // Pictures of 8 bits among them are the floats that bytes stand for, to the bit.
    let folder = folder();
    let path = folder.path().display().to_string();
    std::fs::copy(picture("grey.tif"), folder.path().join("a.tif")).expect("copied");
    std::fs::copy(picture("grey16.png"), folder.path().join("b.png")).expect("copied");
    let bytes = planes(|y, x| [f32::from(grey(y, x)) / 255.0]);
    let both = Values::F32([bytes, words.clone()].concat());
    let format = |height| Some(format(1, height, 9, Fit::Crop));
    for (pictures, memory) in [(None, None), (format(6), None), (format(6), Some(0)), (format(6), Some(2 * 54 * 4 - 1))]
    {
        let data = load_with(&path, &Reading { pictures, memory, ..Reading::default() })?.train;
        assert_eq!(data.in_memory(), memory.is_none());
        assert_eq!((data.dtype(), data.read(&[0, 1])?), (pinhole::tensor::DType::Float, both.clone()));
    }
    // Four lines of six are the middle ones; resizing keeps what 8 bits would lose.
    let cut = load_with(&path, &Reading { pictures: format(4), ..Reading::default() })?.train;
    assert_eq!(cut.read(&[1])?, Values::F32(words[9..45].to_vec()));
    let small = PictureFormat { channels: 1, height: 3, width: 5, fit: Fit::Stretch };
    let Values::F32(small) =
        load_with(&path, &Reading { pictures: Some(small), ..Reading::default() })?.train.read(&[1])?
    else {
        panic!("no floats");
    };
    assert!(small.iter().any(|value| (value * 255.0).fract() > 0.01), "{small:?}");
    Ok(())
}

#[test]
fn opacity_is_a_channel_where_the_model_has_one() -> Result<()> {
    let read = |name: &str, channels: usize| format(channels, 6, 9, Fit::Crop).read(picture(name));
    let opaque = |y: u32, x: u32| {
        let [red, green, blue] = colour(y, x);
        [red, green, blue, 255]
    };
    let alpha = |y: u32, x: u32| {
        let [red, green, blue] = colour(y, x);
        [red, green, blue, (28 * x) as u8]
    };
    for name in ["alpha.png", "alpha.tif", "alpha.webp"] {
        assert_eq!(read(name, 4)?, planes(alpha), "{name}");
    }
    assert_eq!(read("colour.webp", 4)?, planes(opaque));
    assert_eq!(read("grey.bmp", 4)?, planes(|y, x| [grey(y, x), grey(y, x), grey(y, x), 255]));
    assert_eq!(read("clear.gif", 4)?[3 * 54..], planes(|_, x| [if x == 0 { 0 } else { 255 }]));
    assert_eq!(read("grey-alpha.png", 2)?, planes(|y, x| [grey(y, x), (28 * x) as u8]));
    assert_eq!(read("grey.tif", 2)?, planes(|y, x| [grey(y, x), 255]));
    let luma = |[red, green, blue]: [u8; 3]| {
        ((2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue) + 5000) / 10_000) as u8
    };
    assert_eq!(read("alpha.png", 2)?, planes(|y, x| [luma(colour(y, x)), (28 * x) as u8]));
    // Data for such a model, and what is no format.
    let spec = spec(&PHOTO_MODEL.replace("[3, 16, 16]", "[4, 16, 16]").replace("out = 3", "out = 4"));
    let reading = Reading { pictures: spec.pictures(), ..Reading::default() };
    let data = load_with(&picture("alpha.png").display().to_string(), &reading)?.train;
    assert_eq!(data.sample_shape(), &Shape::from([4, 16, 16]));
    assert_eq!(PictureFormat::of(&[5, 6, 9].into(), Fit::Crop), None);
    Ok(())
}

#[test]
fn damaged_pictures_of_every_kind_are_refused_in_one_line() {
    let folder = folder();
    let path = folder.path().join("a.png");
    let said = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        let message = read_picture(&path).expect_err("a refusal").to_string();
        assert!(!message.contains('\n'), "{message}");
        message.replace(&format!("{}/", folder.path().display()), "")
    };
    for (name, kind) in [
        ("colour.bmp", "BMP"),
        ("colour.gif", "GIF"),
        ("colour.tif", "TIFF"),
        ("grey16-deflate.tif", "TIFF"),
        ("colour.webp", "WebP"),
    ] {
        let whole = std::fs::read(picture(name)).expect("a fixture");
        for length in [20, whole.len() / 2, whole.len() * 3 / 4] {
            let message = said(&whole[..length]);
            assert!(message.starts_with(&format!("a.png: is no readable {kind} (")), "{name} {length}: {message}");
            assert!(message.ends_with(&format!("); check that it is a {kind}, or get it again")), "{message}");
        }
    }
    // A GIF of no pixel, a BMP of too many, and a TIFF of 32-bit floats.
    let mut gif = std::fs::read(picture("grey.gif")).expect("a fixture");
    gif[6..8].fill(0);
    expect!["a.png: has no pixel; remove it"].assert_eq(&said(&gif));
    let mut bmp = std::fs::read(picture("colour.bmp")).expect("a fixture");
    bmp[18..26].copy_from_slice(&[0x30, 0x75, 0, 0, 0x30, 0x75, 0, 0]);
    expect!["a.png: 30000 x 30000 pixels are more than 512 MiB; make the picture smaller"].assert_eq(&said(&bmp));
    let entry = |tag: u16, kind: u8, value: u32| {
        [&tag.to_le_bytes()[..], &[kind, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat()
    };
    let entries = [
        (256, 3, 1),
        (257, 3, 1),
        (258, 3, 32),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (279, 4, 4),
        (339, 3, 3),
    ];
    let entries = entries.map(|(tag, kind, value)| entry(tag, kind, value)).concat();
    let tiff = [&b"II*\0\x0c\0\0\0"[..], &0.5f32.to_le_bytes(), &[9, 0], &entries, &[0; 4]].concat();
    expect!["a.png: is a TIFF of a kind that is not read (The encoder or decoder for Tiff does not support the color type `Unknown(32)`); save it as a grey or RGB picture of 8 or 16 bits"].assert_eq(&said(&tiff));
    // Text that begins as a BMP does is text.
    expect![
        "a.png: is no picture of a known kind (PNG, JPEG, BMP, GIF, TIFF or WebP); check that it is one, or remove it"
    ]
    .assert_eq(&said(b"BMI,age\n20,30\n40,50\n60,70\n"));
}

#[test]
fn pictures_are_cut_stretched_or_padded() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.png");
    // Four columns of one colour each: what is left of them tells what was done.
    let columns: Vec<u8> = [10u8, 20, 30, 40].repeat(2);
    write_png(&path, &[1, 2, 4].into(), &columns)?;
    assert_eq!(format(1, 2, 4, Fit::Crop).read(&path)?, columns, "nothing to do");
    assert_eq!(format(1, 2, 2, Fit::Crop).read(&path)?, [20, 30, 20, 30]);
    assert_eq!(format(1, 2, 2, Fit::Stretch).read(&path)?.len(), 4);
    let [left, right] = [0, 1].map(|at| format(1, 2, 2, Fit::Stretch).read(&path).expect("a picture")[at]);
    assert!((13..=19).contains(&left) && (31..=37).contains(&right), "{left} {right}");
    assert_eq!(format(1, 4, 4, Fit::Pad).read(&path)?, [&[0; 4], &columns[..], &[0; 4]].concat());
    assert_eq!(format(3, 2, 2, Fit::Crop).read(&path)?, [20, 30].repeat(6), "grey in all three channels");
    // The other way round: high and narrow.
    write_png(&path, &[1, 4, 2].into(), &[10, 10, 20, 20, 30, 30, 40, 40])?;
    assert_eq!(format(1, 2, 2, Fit::Crop).read(&path)?, [20, 20, 30, 30]);
    assert_eq!(format(1, 4, 4, Fit::Pad).read(&path)?[..4], [0, 10, 10, 0]);
    // Colours as grey, extreme proportions, and growing.
    write_png(&path, &[3, 1, 1].into(), &[255, 0, 0])?;
    assert_eq!(format(1, 1, 1, Fit::Crop).read(&path)?, [54]);
    assert_eq!(format(3, 2, 3, Fit::Crop).read(&path)?[..8], [255, 255, 255, 255, 255, 255, 0, 0]);
    write_png(&path, &[1, 1, 300].into(), &[9; 300])?;
    for fit in Fit::ALL {
        let sample = format(1, 5, 2, fit).read(&path)?;
        assert_eq!((sample.len(), sample.iter().max()), (10, Some(&9)), "{fit:?}");
    }
    Ok(())
}

#[test]
fn a_folder_of_mixed_sizes_becomes_samples_in_memory_or_when_wanted() -> Result<()> {
    let folder = photos(23);
    let path = folder.path().display().to_string();
    let format = format(3, 16, 16, Fit::Crop);
    let all = load_with(&path, &Reading { pictures: Some(format), ..Reading::default() })?.train;
    assert!(all.in_memory());
    assert_eq!((all.len(), all.sample_shape()), (23, &Shape::from([3, 16, 16])));
    for (number, file) in picture_files(folder.path())?.iter().enumerate().step_by(7) {
        assert_eq!(all.read(&[number as u32])?, Values::U8(format.read(file)?), "{number}");
    }
    let wanted =
        load_with(&path, &Reading { pictures: Some(format), memory: Some(23 * 768 - 1), ..Reading::default() })?.train;
    assert!(!wanted.in_memory() && wanted.values().is_empty());
    let order = [22, 0, 7, 7];
    assert_eq!(wanted.read(&order)?, all.gather(&order));
    assert_eq!(wanted.read_f32(3..6)?, all.rows_f32(3..6));
    let (train, held_out) = wanted.split(5, 1)?;
    let (train_in_memory, held_out_in_memory) = all.split(5, 1)?;
    let numbers = |count: usize| (0..count as u32).collect::<Vec<u32>>();
    assert_eq!(train.read(&numbers(18))?, *train_in_memory.values());
    assert_eq!(held_out.take(3).read(&numbers(3))?, *held_out_in_memory.take(3).values());

    // A bad file among them is named, now or when it is wanted.
    std::fs::write(folder.path().join("0004.jpg"), b"no picture").expect("written");
    for memory in [None, Some(0)] {
        let data = load_with(&path, &Reading { pictures: Some(format), memory, ..Reading::default() })
            .map(|splits| splits.train);
        let error = data.and_then(|data| data.read(&numbers(23))).expect_err("an error").to_string();
        assert!(
            error.ends_with("0004.jpg: is no picture of a known kind (PNG, JPEG, BMP, GIF, TIFF or WebP); check that it is one, or remove it"),
            "{error}"
        );
    }
    let message = |result: Result<Dataset>| result.expect_err("an error").to_string();
    assert_eq!(message(Dataset::from_pictures(vec![], format)), "data: there is no picture in it; give at least one");
    Ok(())
}

const PHOTO_MODEL: &str = r#"
input = [3, 16, 16]
loss = "mse"
encoder = [{ conv2d = { out = 6, kernel = 3, stride = 2, padding = 1 } }, "relu", "flatten", { linear = 10 }]
decoder = [{ linear = 384 }, "relu", { unflatten = [6, 8, 8] },
  { conv_transpose2d = { out = 3, kernel = 3, stride = 2, padding = 1, output_padding = 1 } }, "sigmoid"]
[data]
fit = "pad"
[train]
batch = 8
epochs = 3
"#;

#[test]
fn photos_train_to_the_same_bits_in_memory_and_from_files() -> Result<()> {
    let folder = photos(37);
    let path = folder.path().display().to_string();
    let network = network(PHOTO_MODEL);
    let format = network.spec().pictures();
    assert_eq!(format.map(|format| format.fit), Some(Fit::Pad));
    let data =
        |memory| load_with(&path, &Reading { pictures: format, memory, ..Reading::default() }).expect("pictures").train;
    for device in fast_devices() {
        let options = |samples: Option<u64>| pinhole::train::Options {
            resident_bytes: samples.map(|samples| samples * 768),
            ..Default::default()
        };
        let resident = train(&network, &device, &data(None), Some(&data(None)), options(None));
        assert!(resident.reports[2].train_loss < resident.reports[0].train_loss);
        for samples in [None, Some(16), Some(21)] {
            let streamed = train(&network, &device, &data(Some(0)), Some(&data(Some(0))), options(samples));
            assert_eq!(resident.losses, streamed.losses, "{samples:?} on {}", device.name());
            assert!(resident.parameters == streamed.parameters, "{samples:?} on {}", device.name());
        }
    }
    // A file that goes bad while it is needed ends training with its name.
    let wanted = data(Some(0));
    std::fs::write(folder.path().join("0009.jpg"), b"").expect("written");
    let mut autoencoder = pinhole::Autoencoder::new(network.spec().clone(), Device::Cpu)?;
    let error = autoencoder.fit(&wanted, None, &mut ()).expect_err("an error").to_string();
    assert!(error.contains("0009.jpg: is no picture of a known kind"), "{error}");
    Ok(())
}

#[cfg(feature = "cli")]
#[test]
fn the_program_trains_on_photos_as_they_come() {
    let place = crate::temp::Place::new();
    place.write("photos.toml", PHOTO_MODEL.as_bytes());
    std::fs::create_dir(place.path("in")).expect("a folder");
    write_photos(&place.path("in"), 40);
    let said = place.ok("train --model photos.toml --data in --device cpu --out run");
    assert!(said.stderr.contains("on 36 samples of in (4 to validate)"), "{}", said.stderr);
    assert!(place.read("run/model.toml").windows(11).any(|text| text == b"fit = \"pad\""));
    place.ok("eval run --data in --device cpu");
    place.ok("reconstruct run in out.png --device cpu");
    place.fail(&[(
        "train --model photos.toml --data in --device cpu --out x --set data.fit=cut",
        "--set data.fit=cut: unknown way to fit pictures \"cut\"; known are crop, stretch, pad",
    )]);
}

/// Half a minute in a build for debugging, most of it for making the pictures.
#[cfg(feature = "cli")]
#[test]
#[ignore = "makes 2,000 pictures"]
fn two_thousand_jpegs_of_mixed_sizes_train() {
    use rayon::prelude::*;
    let place = crate::temp::Place::new();
    place.write("photos.toml", PHOTO_MODEL.replace("batch = 8", "batch = 32").as_bytes());
    std::fs::create_dir(place.path("in")).expect("a folder");
    (0..2000u32).into_par_iter().for_each(|number| {
        let [h, w, ..] = rng::words(9, 0, 0, number).map(|word| 60 + (word >> 16) as usize % 581);
        write_photo(&place.path("in"), number, h, w);
    });
    let began = std::time::Instant::now();
    let said = place.ok("train --model photos.toml --data in --device cpu --out run");
    assert!(said.stderr.contains("on 1800 samples of in (200 to validate)"), "{}", said.stderr);
    let losses: Vec<f64> =
        place.lines("run/metrics.jsonl").iter().filter_map(|line| line["val_mse"].as_f64()).collect();
    assert!(losses.len() == 3 && losses[2] < 0.7 * losses[0], "{losses:?}");
    println!("2,000 pictures and 3 epochs in {:.1?}", began.elapsed());
}
