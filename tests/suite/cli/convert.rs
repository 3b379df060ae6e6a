//! The program's encode, decode and reconstruct between IDX, NPY, CSV and PNG.

use crate::temp::*;
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

#[test]
fn errors_of_decode_name_their_file() {
    let place = Place::new();
    place.ok("train --model small.toml --data digits:60 --device cpu --epochs 1 --out run");
    let rows =
        "input = [6]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 6 }]\n[train]\nbatch = 8\n";
    place.write("rows.toml", rows.as_bytes());
    let values: Vec<f32> = (0..240).map(|at| (at as f32 * 0.37).sin()).collect();
    write_npy(place.path("rows.npy"), &Shape::from([40, 6]), &values).expect("a file");
    place.ok("train --model rows.toml --data rows.npy --device cpu --epochs 1 --out rows");
    write_npy(place.path("good.npy"), &Shape::from([4, 6]), &values[..24]).expect("a file");
    write_npy(place.path("wide.npy"), &Shape::from([4, 7]), &values[..28]).expect("a file");
    write_npy(place.path("flat.npy"), &Shape::from([24]), &values[..24]).expect("a file");
    write_npy(place.path("two.npy"), &Shape::from([4, 2]), &values[..8]).expect("a file");
    let mut bad = values[..24].to_vec();
    bad[7] = f32::NAN;
    write_npy(place.path("nan.npy"), &Shape::from([4, 6]), &bad).expect("a file");
    place.write("text.npy", b"not an array");
    place.write("cut.npy", &place.read("good.npy")[..130]);
    place.write("codes.csv", b"1,2,3,4,5,6\n1,2,x,4,5,6\n");
    let mut messages = String::new();
    for arguments in [
        "decode run wide.npy out.npy",
        "decode run flat.npy out.npy",
        "decode run nan.npy out.npy",
        "decode run text.npy out.npy",
        "decode run cut.npy out.npy",
        "decode run codes.csv out.npy",
        "decode run gone.npy out.npy",
        "decode run good.npy out.jpg",
        "decode run good.npy nowhere/out.npy",
        "decode run good.npy rows.npy/out",
        "decode rows wide.npy out.png",
        "decode rows two.npy out.png",
    ] {
        messages += &format!("{}\n", place.failure(&format!("{arguments} --device cpu")));
    }
    expect_test::expect![[r#"
        data "wide.npy": its shape is [4, 7], the model's codes are [6] each; give [n, 6]
        data "flat.npy": its shape is [24], the model's codes are [6] each; give [n, 6]
        data "nan.npy": sample 1, element 1 is NaN (both counted from 0); give what encode wrote
        text.npy: is no file of a known kind; give "digits", "digits:N", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file
        cut.npy: has shape [4, 6], 96 bytes, but only 2 follow the header; the file is damaged: get it again
        codes.csv: line 2, column 3 is "x", which is no number; remove or replace such values before training, or name the column by --label if it holds labels
        cannot read gone.npy: No such file or directory (os error 2); check the path
        out.jpg: nothing is written as ".jpg"; name it .npy, .csv, .idx, .idx.gz or .png, or give a folder's name
        cannot write nowhere/out.npy: No such file or directory (os error 2); check the path
        cannot create rows.npy/out: Not a directory (os error 20); choose another path: a file is in the way
        data "wide.npy": its shape is [4, 7], the model's codes are [2] each; give [n, 2]
        out.png: is to show pictures, but samples [6] are not pictures with one or three channels; name it .npy or .csv
    "#]].assert_eq(&messages);
    assert!(!place.path("out.npy").exists());
}
