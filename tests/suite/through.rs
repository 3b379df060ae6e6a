//! The program's encode, decode and reconstruct between IDX, NPY, CSV and PNG.

use crate::place::*;
use pinhole::data::csv::read_csv;
use pinhole::data::idx::{read_idx, write_idx_u8};
use pinhole::data::images::{read_png, to_bytes};
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::{digits, load};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use pinhole::{Autoencoder, Device};

#[test]
fn codes_go_out_and_come_back_in_every_format() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:120 --device cpu --out run");
    let data = digits(1100, 5);
    let originals = data.rows_f32(0..1100);
    write_idx_u8(place.path("images"), &Shape::from([1100, 28, 28]), &to_bytes(&originals)).expect("a file");
    let model = Autoencoder::load(place.path("run"), Device::Cpu).expect("a model");
    // More than are on their way at a time.
    let codes = model.encode(&originals).expect("codes").to_f32();
    let copies = model.decode(&codes).expect("pictures").to_f32();

    let said = place.ok("encode run images codes.npy --device cpu");
    assert_eq!((&said.stdout[..], &said.stderr[..]), ("1100 codes of 6 in codes.npy\n", ""));
    place.ok("encode run images codes.csv --device cpu");
    place.ok("encode run images codes.idx.gz --device cpu");
    let [npy, idx] =
        [read_npy(place.path("codes.npy")), read_idx(place.path("codes.idx.gz"))].map(|read| read.expect("codes"));
    assert_eq!((npy.shape(), npy.values()), (&Shape::from([1100, 6]), &Values::F32(codes.clone())));
    assert_eq!((idx.shape(), idx.values()), (&Shape::from([1100, 6]), &Values::F32(codes.clone())));
    let csv = read_csv(place.path("codes.csv")).expect("codes");
    assert_eq!((csv.columns, csv.values), (6, codes));

    for file in ["codes.npy", "codes.csv", "codes.idx.gz"] {
        place.ok(&format!("decode run {file} copies.npy --device cpu"));
        let read = read_npy(place.path("copies.npy")).expect("samples");
        assert_eq!((read.shape(), read.values()), (&Shape::from([1100, 784]), &Values::F32(copies.clone())), "{file}");
    }
    // Rows of as many numbers as a square has are pictures too.
    place.ok("decode run codes.npy out.png --device cpu");
    place.fail(&[
        ("encode run images out.png --device cpu", "out.png: codes are no pictures; name it .npy, .csv, .idx or .idx.gz"),
        ("encode run images out --device cpu", "out: codes are no pictures; name it .npy, .csv, .idx or .idx.gz"),
        (
            "encode run images out.json --device cpu",
            "out.json: nothing is written as \".json\"; name it .npy, .csv, .idx, .idx.gz or .png, or give a folder's name",
        ),
        (
            "decode run images out.npy --device cpu",
            "data \"images\": its shape is [1100, 28, 28], the model's codes are [6] each; give [n, 6]",
        ),
    ]);
    place.write("bad.csv", b"1,2,3,4,5,6\n1,2,3,4,5,inf\n");
    place.fail(&[(
        "decode run bad.csv out.npy --device cpu",
        "bad.csv: line 2, column 6 is \"inf\", which is no finite 32-bit number; remove or replace such values before \
         training",
    )]);

    let said = place.ok("reconstruct run images all.csv --device cpu");
    assert_eq!(said.stdout, "1100 samples in all.csv\n");
    let csv = read_csv(place.path("all.csv")).expect("samples");
    assert_eq!((csv.columns, &csv.values), (784, &copies));
    place.ok("reconstruct run images all.idx --device cpu");
    let idx = read_idx(place.path("all.idx")).expect("samples");
    assert_eq!((idx.shape(), idx.values()), (&Shape::from([1100, 28, 28]), &Values::U8(to_bytes(&copies))));
    // What was written is data again.
    assert_eq!(load(&place.path("all.idx").display().to_string()).expect("data").train.len(), 1100);
    place.ok("reconstruct run all.csv again.npy --device cpu");
    assert_eq!(read_npy(place.path("again.npy")).expect("samples").shape(), &Shape::from([1100, 784]));

    // The training part, and the test part without asking.
    place.ok("encode run digits:60 part.npy --device cpu");
    assert_eq!(read_npy(place.path("part.npy")).expect("codes").shape()[0], 10);
    place.ok("encode run digits:60 part.npy --device cpu --train");
    assert_eq!(read_npy(place.path("part.npy")).expect("codes").shape()[0], 60);
}

#[test]
fn pictures_are_decoded_to_pictures() {
    let place = Place::new();
    let model = crate::support::SMALL_CONV;
    place.write("conv.toml", model.as_bytes());
    place.ok("train --model conv.toml --data digits:60 --device cpu --epochs 1 --out run");
    let autoencoder = Autoencoder::load(place.path("run"), Device::Cpu).expect("a model");
    let width = autoencoder.network().latent_shape(1).elements();
    let codes: Vec<f32> = (0..12 * width).map(|k| (k as f32 * 0.37).sin()).collect();
    write_npy(place.path("codes.npy"), &[12, width].into(), &codes).expect("a file");
    let expected = to_bytes(&autoencoder.decode(&codes).expect("pictures").to_f32());
    place.ok("decode run codes.npy out --device cpu");
    assert_eq!(place.names("out").len(), 12);
    let (shape, bytes) = read_png(place.path("out/00011.png")).expect("a picture");
    assert_eq!((shape, &bytes[..]), (Shape::from([1, 28, 28]), &expected[11 * 784..]));
    place.ok("decode run codes.npy out.png --device cpu");
    let (shape, _) = read_png(place.path("out.png")).expect("a picture");
    assert_eq!(shape, Shape::from([1, 2 * 112 + 2, 10 * 112 + 9 * 2]));
    place.ok("decode run codes.npy out.idx --device cpu");
    let idx = read_idx(place.path("out.idx")).expect("samples");
    assert_eq!((idx.shape(), idx.values()), (&Shape::from([12, 28, 28]), &Values::U8(expected)));
}
