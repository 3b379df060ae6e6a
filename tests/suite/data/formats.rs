//! What other programs leave as data: gzipped arrays and tables, 16-bit floats and signed bytes, EMNIST, torchvision's and
//! MedMNIST's layouts, and folders of classes.

use crate::data::arrays::{npy, zip};
use crate::support::folder;
use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use half::f16;
use pinhole::Result;
use pinhole::data::csv::read_csv;
use pinhole::data::idx::{read_idx, write_idx_u8};
use pinhole::data::images::write_png;
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::npz::Npz;
use pinhole::data::pictures::{Fit, PictureFormat};
use pinhole::data::{Columns, Dataset, Labels, Reading, Splits, load, load_array, load_pairs, load_with};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use std::io::Write;
use std::path::Path;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("bytes packed");
    packed.finish().expect("a whole stream")
}

fn load_from(path: &Path) -> Result<Splits> {
    load(&path.display().to_string())
}

/// The message of a refusal, which is one line, with the folder's changing name taken out.
fn message<T>(result: Result<T>, folder: &Path) -> String {
    let text = result.err().expect("an error").to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text.replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), "FOLDER")
}

/// The labels of samples, which are whole numbers.
fn labels_of(dataset: &Dataset) -> Option<Vec<i64>> {
    dataset.labels().and_then(Labels::numbers)
}

/// The places of samples' labels among their names.
fn classes_of(dataset: &Dataset) -> Option<Vec<u32>> {
    dataset.labels().map(|labels| labels.indices().to_vec())
}

fn array(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"), elements)
}

fn bytes(splits: &pinhole::data::Dataset) -> &[u8] {
    match splits.values() {
        Values::U8(bytes) => bytes,
        other => panic!("not bytes but {other:?}"),
    }
}

// ---- arrays and tables

#[test]
fn float16_and_int8_arrays_are_data() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.npy");
    let halves = [0.5f32, -2.0, 65504.0, 6.0e-8];
    let expected: Vec<f32> = halves.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
    for (descr, elements) in [
        ("<f2", halves.map(|value| f16::from_f32(value).to_le_bytes()).concat()),
        (">f2", halves.map(|value| f16::from_f32(value).to_be_bytes()).concat()),
    ] {
        let file = array(descr, "(2, 2)", &elements);
        std::fs::write(&path, &file).expect("written");
        assert_eq!(load_from(&path)?.train.values(), &Values::F32(expected.clone()), "{descr}");
        std::fs::write(&path, zip(&[("x.npy", &file)])).expect("written");
        assert_eq!(Npz::open(&path)?.read("x")?.values(), &Values::F32(expected.clone()), "{descr} in an archive");
    }
    let signed = array("|i1", "(2, 3)", &[0, 1, 127, 128, 255, 254]);
    let expected = Values::F32(vec![0.0, 1.0, 127.0, -128.0, -1.0, -2.0]);
    std::fs::write(&path, &signed).expect("written");
    assert_eq!(load_from(&path)?.train.values(), &expected);
    std::fs::write(&path, zip(&[("x_train.npy", &signed), ("y_train.npy", &array("|i1", "(2,)", &[3, 4]))]))
        .expect("written");
    let data = load_from(&path)?.train;
    assert_eq!((data.values(), labels_of(&data)), (&expected, Some(vec![3, 4])));
    // IDX has signed bytes too.
    std::fs::write(&path, [&[0, 0, 9, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[0, 1, 127, 128, 255, 254]].concat())
        .expect("written");
    assert_eq!(read_idx(&path)?.values(), &expected);
    // What no number can be made of stays refused, and so do infinities.
    std::fs::write(&path, array("<f2", "(1, 2)", &[0, 0, 0, 0x7c])).expect("written");
    expect![[
        r#"a.npy: sample 0, element 1 is inf (both counted from 0); remove or replace such values before training"#
    ]]
    .assert_eq(&message(load_from(&path), folder.path()));
    Ok(())
}

#[test]
fn gzipped_arrays_and_tables_are_read_by_content_and_name() -> Result<()> {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let plain = at("plain.npy");
    let values: Vec<f32> = (0..6).map(|k| k as f32 / 4.0).collect();
    write_npy(&plain, &[2, 3].into(), &values)?;
    let packed = gzip(&std::fs::read(&plain).expect("a file"));
    // Whatever a packed array is called.
    for name in ["a.npy.gz", "a.npy", "a.gz", "a"] {
        std::fs::write(at(name), &packed).expect("written");
        assert_eq!(read_npy(at(name))?.values(), &Values::F32(values.clone()), "{name}");
        assert_eq!(load_from(&at(name))?.train.values(), &Values::F32(values.clone()), "{name}");
        let array = load_array(&at(name).display().to_string())?;
        assert_eq!(array.shape(), &Shape::from([2, 3]), "{name}");
    }
    // An array that is called packed and is not, and one of several members.
    std::fs::copy(&plain, at("b.npy.gz")).expect("copied");
    assert_eq!(read_npy(at("b.npy.gz"))?.values(), &Values::F32(values.clone()));
    let whole = std::fs::read(&plain).expect("a file");
    std::fs::write(at("c.npy.gz"), [gzip(&whole[..70]), gzip(&whole[70..])].concat()).expect("written");
    assert_eq!(read_npy(at("c.npy.gz"))?.values(), &Values::F32(values));

    let text = "a,b\n1,2\n3,4.5\n";
    for (name, content) in [
        ("a.csv.gz", gzip(text.as_bytes())),
        ("a.CSV.GZ", gzip(text.as_bytes())),
        ("b.csv", gzip(text.as_bytes())),
        ("c.csv.gz", text.as_bytes().to_vec()),
        ("a.tsv.gz", gzip(text.replace(',', "\t").as_bytes())),
    ] {
        std::fs::write(at(name), content).expect("written");
        assert_eq!(read_csv(at(name))?.values, [1.0, 2.0, 3.0, 4.5], "{name}");
        assert_eq!(load_from(&at(name))?.train.sample_shape(), &Shape::from([2]), "{name}");
    }
    // Longer than what is looked at to find the separator.
    let long: String = (0..40_000).map(|k| format!("{k};{}\n", k % 7)).collect();
    std::fs::write(at("long.csv.gz"), gzip(long.as_bytes())).expect("written");
    assert_eq!(read_csv(at("long.csv.gz"))?.values.len(), 80_000);
    // Tables of a model that reconstructs columns, and ratings.
    let reading = Reading { columns: Some(Columns::default()), ..Reading::default() };
    let table = load_with(&at("a.csv.gz").display().to_string(), &reading)?.train;
    assert_eq!(table.columns().map(<[_]>::len), Some(2));
    std::fs::write(at("r.csv.gz"), gzip(b"user,item\n1,2\n1,3\n2,3\n")).expect("written");
    assert_eq!(load(&format!("ratings:{}", at("r.csv.gz").display()))?.train.len(), 2);
    Ok(())
}

#[test]
fn damaged_and_unfit_gzip_is_refused_in_one_line() {
    let folder = folder();
    let said = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        message(load_from(&path), folder.path())
    };
    let noise: Vec<u8> = (0..4000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let packed = gzip(&array("|u1", "(40, 100)", &noise));
    let numbers: String = noise.iter().map(|byte| format!("{byte}\n")).collect();
    let csv = gzip(numbers.as_bytes());
    expect!["a.npy.gz: its gzip data ends early; the file is damaged: get it again"]
        .assert_eq(&said("a.npy.gz", &packed[..packed.len() / 2]));
    expect!["a.npy.gz: its gzip data ends early; the file is damaged: get it again"]
        .assert_eq(&said("a.npy.gz", &packed[..packed.len() - 3]));
    expect!["a.csv.gz: its gzip data ends early; the file is damaged: get it again"]
        .assert_eq(&said("a.csv.gz", &csv[..csv.len() / 2]));
    let mut wrong = csv.clone();
    let checksum = wrong.len() - 6;
    wrong[checksum] ^= 1;
    expect!["a.csv.gz: its gzip data cannot be unpacked (corrupt gzip stream does not have a matching checksum); the file is damaged: get it again"]
        .assert_eq(&said("a.csv.gz", &wrong));
    let mut wrong = packed;
    let middle = wrong.len() / 2;
    wrong[20..middle].fill(0xff);
    expect!["a.npy.gz: its gzip data cannot be unpacked (corrupt deflate stream); the file is damaged: get it again"]
        .assert_eq(&said("a.npy.gz", &wrong));
    expect!["a.npz.gz: is an archive within gzip; unpack it by gunzip"]
        .assert_eq(&said("a.npz.gz", &gzip(&zip(&[("x.npy", &array("|u1", "(1, 1)", &[1]))]))));
    expect!["a.gz: is a picture within gzip; unpack it by gunzip"]
        .assert_eq(&said("a.gz", &gzip(b"\x89PNG\r\n\x1a\n and more")));
    assert!(said("a.txt.gz", &gzip(b"some text")).starts_with("a.txt.gz: is no file of a known kind; give \"digits\""));
    assert!(said("empty.npy.gz", &gzip(b"")).starts_with("empty.npy.gz: is no file of a known kind; give \"digits\""));
    // A gzipped table, where a line is wrong.
    expect![[r#"a.csv.gz: line 2, column 1 is "x", which is no number; remove or replace such values before training, or name the column by --label if it holds labels"#]]
        .assert_eq(&said("a.csv.gz", &gzip(b"1\nx\n")));
}

// ---- MNIST and its kin

/// Writes a set of IDX files: pictures whose bytes count up from a start, and labels.
fn write_idx(folder: &Path, names: [&str; 2], shape: [usize; 3], start: u8) {
    std::fs::create_dir_all(folder).expect("a folder");
    let count = shape.iter().product::<usize>() as u8;
    write_idx_u8(folder.join(names[0]), &shape.into(), &(start..start + count).collect::<Vec<u8>>()).expect("pictures");
    let labels: Vec<u8> = (1..=shape[0] as u8).collect();
    write_idx_u8(folder.join(names[1]), &[shape[0]].into(), &labels).expect("labels");
}

fn write_emnist(folder: &Path, split: &str, packed: &str) {
    for (part, count) in [("train", 3), ("test", 2)] {
        let names = ["images-idx3", "labels-idx1"].map(|rest| format!("emnist-{split}-{part}-{rest}-ubyte{packed}"));
        write_idx(folder, names.each_ref().map(String::as_str), [count, 2, 3], 10 * count as u8);
    }
}

#[test]
fn emnist_is_found_by_its_names_and_transposed_back() -> Result<()> {
    let folder = folder();
    // Two columns of three pixels each are three rows of two.
    let train = [30, 33, 31, 34, 32, 35, 36, 39, 37, 40, 38, 41, 42, 45, 43, 46, 44, 47];
    let test = [20, 23, 21, 24, 22, 25, 26, 29, 27, 30, 28, 31];
    let expect_split = |path: &Path| -> Result<()> {
        let splits = load_from(path)?;
        assert_eq!(splits.train.sample_shape(), &Shape::from([1, 3, 2]));
        assert_eq!((bytes(&splits.train), labels_of(&splits.train)), (&train[..], Some(vec![1, 2, 3])));
        let held_out = splits.test.expect("a test part");
        assert_eq!((bytes(&held_out), labels_of(&held_out)), (&test[..], Some(vec![1, 2])));
        Ok(())
    };
    write_emnist(folder.path(), "balanced", ".gz");
    expect_split(folder.path())?;
    write_emnist(folder.path(), "letters", "");
    expect!["FOLDER: holds several splits of EMNIST: balanced, letters; name the training images of one, as in emnist-balanced-train-images-idx3-ubyte.gz"]
        .assert_eq(&message(load_from(folder.path()), folder.path()));
    expect_split(&folder.path().join("emnist-balanced-train-images-idx3-ubyte.gz"))?;
    expect_split(&folder.path().join("emnist-letters-train-images-idx3-ubyte"))?;
    let alone = load_from(&folder.path().join("emnist-letters-test-images-idx3-ubyte"))?;
    assert_eq!(
        (bytes(&alone.train), labels_of(&alone.train), alone.test.is_none()),
        (&test[..], Some(vec![1, 2]), true)
    );
    // The same bytes by another name are taken as they lie.
    std::fs::copy(folder.path().join("emnist-letters-test-images-idx3-ubyte"), folder.path().join("other.idx"))
        .expect("copied");
    let other = load_from(&folder.path().join("other.idx"))?.train;
    assert_eq!((other.sample_shape(), bytes(&other)[..3].to_vec()), (&Shape::from([1, 2, 3]), vec![20, 21, 22]));
    // Where torchvision puts them, and the archive of its makers.
    let below = folder.path().join("root");
    write_emnist(&below.join("EMNIST/raw"), "digits", "");
    expect_split(&below)?;
    expect_split(&below.join("EMNIST"))?;
    let unpacked = folder.path().join("archive");
    write_emnist(&unpacked.join("gzip"), "mnist", ".gz");
    expect_split(&unpacked)?;
    std::fs::remove_file(unpacked.join("gzip/emnist-mnist-train-images-idx3-ubyte.gz")).expect("removed");
    expect!["archive/gzip: there is emnist-mnist-test-images-idx3-ubyte in this folder, but no emnist-mnist-train-images-idx3-ubyte; get the other file too, or name this one itself"]
        .assert_eq(&message(load_from(&unpacked), folder.path()));
    Ok(())
}

#[test]
fn torchvisions_folders_are_found_from_above() -> Result<()> {
    let folder = folder();
    let root = folder.path();
    for (name, start) in [("MNIST", 0), ("FashionMNIST", 100)] {
        let raw = root.join(name).join("raw");
        write_idx(&raw, ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], [3, 2, 2], start);
        write_idx(&raw, ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], [1, 2, 2], start + 50);
        for place in [raw, root.join(name)] {
            let splits = load_from(&place)?;
            assert_eq!((bytes(&splits.train)[0], labels_of(&splits.train)), (start, Some(vec![1, 2, 3])));
            assert_eq!(splits.test.as_ref().map(|test| bytes(test)[0]), Some(start + 50));
        }
        if name == "MNIST" {
            let splits = load_from(root)?;
            assert_eq!((bytes(&splits.train)[0], splits.test.is_some()), (0, true));
        }
    }
    expect!["FOLDER: holds several data sets: MNIST/raw, FashionMNIST/raw; name one, as in MNIST/raw"]
        .assert_eq(&message(load_from(root), root));
    // Other folders beside them do not matter.
    std::fs::remove_dir_all(root.join("MNIST")).expect("removed");
    std::fs::create_dir_all(root.join("cifar-10-batches-py")).expect("a folder");
    std::fs::create_dir_all(root.join("KMNIST/raw")).expect("a folder");
    assert_eq!(bytes(&load_from(root)?.train)[0], 100);
    Ok(())
}

#[test]
fn medmnists_arrays_are_known_by_their_names() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("pathmnist.npz");
    let pictures = |count: usize, start: u8| {
        let shape = format!("({count}, 4, 5, 3)");
        array("|u1", &shape, &(0..count * 60).map(|k| start + (k % 60) as u8).collect::<Vec<u8>>())
    };
    let labels = |labels: &[u8]| array("|u1", &format!("({}, 1)", labels.len()), labels);
    let arrays = [
        ("train_images.npy", pictures(3, 0)),
        ("train_labels.npy", labels(&[2, 0, 1])),
        ("val_images.npy", pictures(2, 60)),
        ("val_labels.npy", labels(&[1, 2])),
        ("test_images.npy", pictures(1, 120)),
        ("test_labels.npy", labels(&[8])),
    ];
    let write = |arrays: &[&(&str, Vec<u8>)]| {
        let files: Vec<(&str, &[u8])> = arrays.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
        std::fs::write(&path, zip(&files)).expect("written");
    };
    write(&arrays.each_ref());
    let reading = Reading { input: Some([3, 4, 5].into()), ..Reading::default() };
    let Splits { train, test } = load_with(&path.display().to_string(), &reading)?;
    assert_eq!(
        (train.len(), train.sample_shape(), labels_of(&train)),
        (3, &Shape::from([3, 4, 5]), Some(vec![2, 0, 1]))
    );
    assert_eq!(bytes(&train)[..4], [0, 3, 6, 9], "channels come first");
    let test = test.expect("a test part");
    assert_eq!((test.len(), bytes(&test)[0], labels_of(&test)), (1, 120, Some(vec![8])));
    // Without a test part the validation part is what to test with.
    write(&arrays[..4].iter().collect::<Vec<_>>());
    let test = load_from(&path)?.test.expect("a test part");
    assert_eq!((test.len(), bytes(&test)[0], labels_of(&test)), (2, 60, Some(vec![1, 2])));
    write(&arrays[..2].iter().collect::<Vec<_>>());
    assert!(load_from(&path)?.test.is_none());
    // Several labels for each sample do not hinder.
    let several = ("train_labels.npy", array("|u1", "(3, 2)", &[0, 1, 1, 1, 0, 0]));
    write(&[&arrays[0], &several]);
    let train = load_from(&path)?.train;
    assert_eq!((train.len(), labels_of(&train)), (3, None));
    Ok(())
}

// ---- folders of classes

/// Writes grey pictures of one number each.
fn write_pictures(folder: &Path, names: &[(&str, u8)]) {
    for (name, byte) in names {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        write_png(&path, &[1, 2, 2].into(), &[*byte; 4]).expect("a picture");
    }
}

/// The first byte of each sample.
fn firsts(data: &pinhole::data::Dataset) -> Vec<u8> {
    bytes(data).iter().step_by(data.sample_shape().elements()).copied().collect()
}

#[test]
fn folders_of_pictures_are_classes() -> Result<()> {
    let folder = folder();
    let root = folder.path().join("animals");
    write_pictures(
        &root,
        &[("dog/b.png", 4), ("dog/a.png", 3), ("cat/z.png", 2), ("cat/deep/y.png", 1), ("ant/x.png", 9)],
    );
    std::fs::write(root.join("readme.txt"), b"text").expect("written");
    std::fs::create_dir_all(root.join(".cache")).expect("a folder");
    let Splits { train, test } = load_from(&root)?;
    assert_eq!((firsts(&train), classes_of(&train)), (vec![9, 1, 2, 3, 4], Some(vec![0, 1, 1, 2, 2])));
    assert!(test.is_none() && train.name() == "animals");
    // To a model's size, at once or when they are wanted.
    let format = Some(PictureFormat { channels: 3, height: 3, width: 5, fit: Fit::Stretch });
    for memory in [None, Some(0)] {
        let reading = Reading { pictures: format, memory, ..Reading::default() };
        let train = load_with(&root.display().to_string(), &reading)?.train;
        assert_eq!((train.in_memory(), classes_of(&train)), (memory.is_none(), Some(vec![0, 1, 1, 2, 2])));
        assert_eq!(train.read(&[0, 4])?, Values::U8([[9; 45], [4; 45]].concat()));
    }

    // Parts to train on and to test with, by any of their names.
    let parts = folder.path().join("parts");
    write_pictures(
        &parts,
        &[("Train/cat/a.png", 1), ("Train/dog/a.png", 2), ("val/dog/b.png", 3), ("val/cat/b.png", 4)],
    );
    let Splits { train, test } = load_from(&parts)?;
    assert_eq!((firsts(&train), classes_of(&train)), (vec![1, 2], Some(vec![0, 1])));
    let validation = test.expect("a test part");
    assert_eq!((firsts(&validation), classes_of(&validation)), (vec![4, 3], Some(vec![0, 1])));
    write_pictures(&parts, &[("test/cat/c.png", 5), ("test/dog/c.png", 6), ("unlabelled/a.png", 7)]);
    assert_eq!(load_from(&parts)?.test.map(|test| firsts(&test)), Some(vec![5, 6]), "the test part goes before");
    write_pictures(&parts, &[("test/eel/c.png", 7)]);
    expect![[r#"parts/Train: has no class "eel", which parts/test has; give both the same folders of classes"#]]
        .assert_eq(&message(load_from(&parts), folder.path()));
    std::fs::remove_dir_all(parts.join("test/eel")).expect("removed");
    std::fs::remove_dir_all(parts.join("test/dog")).expect("removed");
    expect![[r#"parts/test: has no class "dog", which parts/Train has; give both the same folders of classes"#]]
        .assert_eq(&message(load_from(&parts), folder.path()));

    // Parts without classes, a colour in one of them; a class that is called train.
    let plain = folder.path().join("plain");
    write_pictures(&plain, &[("train/a.png", 1), ("test/a.png", 2)]);
    write_png(plain.join("test/b.png"), &[3, 2, 2].into(), &[7; 12])?;
    let Splits { train, test } = load_from(&plain)?;
    assert_eq!((train.sample_shape(), classes_of(&train)), (&Shape::from([3, 2, 2]), None));
    assert_eq!(test.map(|test| firsts(&test)), Some(vec![2, 7]));
    let vehicles = folder.path().join("vehicles");
    write_pictures(&vehicles, &[("train/a.png", 1), ("bus/a.png", 2)]);
    let vehicles = load_from(&vehicles)?;
    assert_eq!((firsts(&vehicles.train), vehicles.test.is_none()), (vec![2, 1], true));
    Ok(())
}

#[test]
fn folders_that_are_no_classes_are_refused_in_one_line() {
    let folder = folder();
    let root = folder.path().join("animals");
    write_pictures(&root, &[("cat/a.png", 1), ("dog/a.png", 1)]);
    std::fs::create_dir_all(root.join("empty")).expect("a folder");
    expect!["animals/empty: is a folder without a picture beside the folders of classes; remove it, or put pictures of the class into it"]
        .assert_eq(&message(load_from(&root), folder.path()));
    std::fs::remove_dir(root.join("empty")).expect("removed");
    std::fs::write(root.join("dog/b.jpg"), b"no picture").expect("written");
    expect!["animals/dog/b.jpg: is no picture of a known kind (PNG, JPEG, BMP, GIF, TIFF or WebP); check that it is one, or remove it"]
        .assert_eq(&message(load_from(&root), folder.path()));
    let none = folder.path().join("none");
    std::fs::create_dir_all(none.join("cat")).expect("a folder");
    assert!(message(load_from(&none), folder.path()).starts_with(
        "none: there is neither train-images-idx3-ubyte (or .gz) nor any picture (PNG, JPEG, BMP, GIF, TIFF or WebP) in this folder or one in it; give"
    ));
    let many = folder.path().join("many");
    let picture = std::fs::read(root.join("cat/a.png")).expect("a picture");
    for class in 0..257 {
        std::fs::create_dir_all(many.join(format!("{class:03}"))).expect("a folder");
        std::fs::write(many.join(format!("{class:03}/a.png")), &picture).expect("written");
    }
    let many = load_from(&many).expect("any number of classes").train;
    assert_eq!(many.labels().map(|labels| labels.name(256)), Some("256"));

    // Pairs are held against each other by folder and name.
    let other = folder.path().join("clean");
    write_pictures(&other, &[("cat/a.png", 1), ("dog/c.png", 1)]);
    std::fs::remove_file(root.join("dog/b.jpg")).expect("removed");
    let [source, targets] = [&root, &other].map(|path| path.display().to_string());
    expect![
        "animals/dog/a.png: there is no picture of that name in clean; give both folders pictures of the same names"
    ]
    .assert_eq(&message(load_pairs(&source, Some(&targets), &Reading::default()), folder.path()));
}
