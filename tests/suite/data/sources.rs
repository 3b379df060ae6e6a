//! Data: every source it comes from, every way a file can be wrong, and the pictures written back out.

use crate::support::labels_of;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use pinhole::data::idx::{read_idx, write_idx_f32, write_idx_u8};
use pinhole::data::images::{read_png, to_bytes, write_png};
use pinhole::data::{Dataset, digits, load};
use pinhole::draw::chart::line_chart;
use pinhole::draw::{Image, grid, write_grid};
use pinhole::error::Result;
use pinhole::shape::Shape;
use pinhole::tensor::Values;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The message of a failure, which is one line, with the folder's changing name taken out.
fn message<T>(result: Result<T>, folder: &Path) -> String {
    let text = result.err().expect("an error").to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text.replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), "FOLDER")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a written file");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("bytes packed");
    packed.finish().expect("a whole stream")
}

fn idx_bytes(kind: u8, sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn counting(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 % 251) as u8).collect()
}

fn bytes_of(dataset: &Dataset) -> &[u8] {
    match dataset.values() {
        Values::U8(bytes) => bytes,
        other => panic!("not bytes but {other:?}"),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

// ---- data sets

#[test]
fn dataset_rows_gather_and_take() -> Result<()> {
    let data = Dataset::from_u8([2, 2], vec![0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8])?.with_labels(vec![9, 8, 7])?;
    assert_eq!((data.len(), data.is_empty(), data.name()), (3, false, "data"));
    assert_eq!(data.sample_shape(), &Shape::from([2, 2]));
    assert_eq!(data.rows_f32(0..1), [0.0, 51.0 / 255.0, 102.0 / 255.0, 1.0]);
    assert!(data.rows_f32(1..1).is_empty());
    assert_eq!(data.gather(&[2, 0, 2]), Values::U8(vec![5, 6, 7, 8, 0, 51, 102, 255, 5, 6, 7, 8]));
    let two = data.clone().take(2).with_name("two");
    assert_eq!((two.len(), two.name(), labels_of(&two)), (2, "two", vec![9, 8]));
    assert_eq!(data.clone().take(99), data);
    assert_eq!(data.clone().take(0).len(), 1);
    assert_eq!(format!("{two:?}"), "Dataset(\"two\", 2 x [2, 2] u8, labelled)");

    let floats = Dataset::from_f32([1], vec![0.5, -2.0])?;
    assert_eq!(floats.gather(&[1]), Values::F32(vec![-2.0]));
    assert_eq!(floats.rows_f32(0..2), [0.5, -2.0]);
    Ok(())
}

#[test]
fn dataset_refuses_what_cannot_be_trained_on() {
    let none = Path::new("/nowhere");
    let says = |result: Result<Dataset>, expected: &str| assert_eq!(message(result, none), expected);
    says(
        Dataset::from_f32([2], vec![0.0, 1.0, 0.0, f32::NAN, f32::NAN]),
        "data: 5 values are no whole number of samples of shape [2], which hold 2 each; check the sample shape",
    );
    says(
        Dataset::from_f32([2], vec![0.0, 1.0, 0.0, f32::NAN, 2.0, f32::INFINITY]),
        "data: sample 1, element 1 is NaN (both counted from 0); remove or replace such values before training",
    );
    says(
        Dataset::from_f32([1], vec![f32::NEG_INFINITY]),
        "data: sample 0, element 0 is -inf (both counted from 0); remove or replace such values before training",
    );
    says(Dataset::from_u8([3], vec![]), "data: there is no sample in it; give at least one sample");
    let help = "give at least one size, all above 0, such as [1, 28, 28] or [784]";
    says(Dataset::from_u8([3, 0], vec![1]), &format!("data: a sample cannot have shape [3, 0]; {help}"));
    says(Dataset::from_u8([0; 0], vec![1]), &format!("data: a sample cannot have shape []; {help}"));
    let huge = usize::MAX / 2;
    says(Dataset::from_u8([huge, 4], vec![1]), &format!("data: a sample cannot have shape [{huge}, 4]; {help}"));
    says(
        Dataset::from_u8([1], vec![1, 2]).and_then(|data| data.with_labels(vec![1])),
        "labels: 1 labels given for 2 samples; give one for each sample",
    );
}

#[test]
fn split_is_a_seeded_partition_and_keeps_labels_with_samples() -> Result<()> {
    let make =
        || Dataset::from_u8([1], (0..100).collect()).and_then(|data| data.with_labels((100..200).collect::<Vec<u8>>()));
    let (train, held_out) = make()?.split(30, 7)?;
    assert_eq!((train.len(), held_out.len()), (70, 30));
    let mut all = [bytes_of(&train), bytes_of(&held_out)].concat();
    for half in [&train, &held_out] {
        let labels: Vec<i64> = bytes_of(half).iter().map(|value| i64::from(*value) + 100).collect();
        assert_eq!(labels_of(half), labels);
    }
    assert_eq!(make()?.split(30, 7)?, (train, held_out.clone()));
    assert_ne!(make()?.split(30, 8)?.1, held_out);
    assert!(!all.is_sorted(), "not permuted");
    all.sort();
    assert_eq!(all, (0..100).collect::<Vec<u8>>());
    // The permutation is part of the format: a resumed run must find the samples it trained on.
    assert_eq!(bytes_of(&held_out)[..8], [97, 64, 29, 5, 72, 68, 32, 26]);

    let none = Path::new("/nowhere");
    for count in [0, 100, 1000] {
        assert_eq!(
            message(make()?.split(count, 1), none),
            format!(
                "validation: {count} of 100 samples leave one side of the split empty; \
                 give 1 to 99 samples, or do not split"
            )
        );
    }
    Ok(())
}

// ---- IDX

#[test]
fn idx_round_trips_at_every_rank_packed_and_not() -> Result<()> {
    let folder = folder();
    for sizes in [vec![5], vec![3, 7], vec![2, 3, 4], vec![2, 3, 4, 5]] {
        for name in ["plain", "packed.gz"] {
            let path = folder.path().join(name);
            let shape = Shape::from(sizes.clone());
            let bytes = counting(shape.elements());
            write_idx_u8(&path, &shape, &bytes)?;
            assert_eq!(fs::read(&path).expect("a file").starts_with(&[0x1f, 0x8b]), name.ends_with(".gz"));
            let tensor = read_idx(&path)?;
            assert_eq!((tensor.shape(), tensor.values()), (&shape, &Values::U8(bytes)));
        }
    }
    assert_eq!(names_in(folder.path()), ["packed.gz", "plain"], "a temporary file was left");
    Ok(())
}

#[test]
fn idx_reads_floats_and_knows_gzip_by_content() -> Result<()> {
    let folder = folder();
    let floats = [1.5f32, -0.25];
    let elements: Vec<u8> = floats.iter().flat_map(|float| float.to_be_bytes()).collect();
    let path = write(folder.path(), "packed-without-saying-so", &gzip(&idx_bytes(0x0d, &[2, 1], &elements)));
    assert_eq!(read_idx(&path)?.values(), &Values::F32(floats.to_vec()));
    let data = load(&path.display().to_string())?.train;
    assert_eq!((data.sample_shape(), data.name()), (&Shape::from([1]), "packed-without-saying-so"));
    let path = write(folder.path(), "plain.gz", &idx_bytes(0x08, &[2], &[1, 2]));
    assert_eq!(read_idx(&path)?.values(), &Values::U8(vec![1, 2]));
    Ok(())
}

#[test]
fn idx_reads_every_width_and_writes_floats() -> Result<()> {
    let folder = folder();
    let numbers: [(u8, Vec<u8>); 4] = [
        (0x0b, [-2i16, 300].iter().flat_map(|x| x.to_be_bytes()).collect()),
        (0x0c, [-2i32, 300].iter().flat_map(|x| x.to_be_bytes()).collect()),
        (0x0d, [-2f32, 300.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
        (0x0e, [-2f64, 300.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
    ];
    for (kind, elements) in numbers {
        for bytes in [idx_bytes(kind, &[2, 1], &elements), gzip(&idx_bytes(kind, &[2, 1], &elements))] {
            let path = write(folder.path(), "numbers", &bytes);
            assert_eq!(read_idx(&path)?.values(), &Values::F32(vec![-2.0, 300.0]), "{kind:#x}");
        }
    }
    for name in ["plain", "packed.gz"] {
        let path = folder.path().join(name);
        write_idx_f32(&path, &[2, 1, 2].into(), &[0.5, -1.0, 1e-40, 3.0])?;
        let tensor = read_idx(&path)?;
        assert_eq!(tensor.shape(), &Shape::from([2, 1, 2]));
        assert_eq!(tensor.values(), &Values::F32(vec![0.5, -1.0, 1e-40, 3.0]));
    }
    Ok(())
}

#[test]
fn idx_names_what_is_wrong_with_a_file() {
    let folder = folder();
    let says = |bytes: &[u8], expected: &str| {
        let path = write(folder.path(), "bad", bytes);
        assert_eq!(message(read_idx(&path), folder.path()), expected);
    };
    let damaged = "the file is damaged: get it again";
    says(&[], &format!("bad: is only 0 bytes long; {damaged}"));
    says(&[0, 0, 8], &format!("bad: is only 3 bytes long; {damaged}"));
    says(
        b"PK\x03\x04 and more",
        "bad: is no IDX file: it starts with the bytes 50 4b 03 04; give an IDX file, whose first two bytes are zero",
    );
    says(&idx_bytes(0x0a, &[1], &[0]), &format!("bad: holds elements of the unknown type 0x0a; {damaged}"));
    says(&idx_bytes(0x08, &[], &[1]), "bad: has rank 0; give an IDX file of rank 1 to 4");
    says(&idx_bytes(0x08, &[1; 5], &[1]), "bad: has rank 5; give an IDX file of rank 1 to 4");
    says(&[0, 0, 8, 3, 0, 0, 0, 1, 0], &format!("bad: ends within its header of 16 bytes; {damaged}"));
    says(&idx_bytes(0x08, &[3, 0, 2], &[]), "bad: has shape [3, 0, 2] and so holds nothing; give a file with samples");
    says(
        &idx_bytes(0x08, &[u32::MAX; 4], &[1; 9]),
        &format!(
            "bad: claims shape [4294967295, 4294967295, 4294967295, 4294967295], more than memory can address; {damaged}"
        ),
    );
    let promises = "bad: has shape [2, 3], 6 bytes, but";
    says(&idx_bytes(0x08, &[2, 3], &[1; 5]), &format!("{promises} only 5 follow the header; {damaged}"));
    says(&idx_bytes(0x08, &[2, 3], &[1; 7]), &format!("{promises} more follow the header; {damaged}"));
    says(&gzip(&idx_bytes(0x08, &[2, 3], &[1; 5])), &format!("{promises} only 5 follow the header; {damaged}"));
    says(&gzip(&idx_bytes(0x08, &[2, 3], &[1; 7])), &format!("{promises} more follow the header; {damaged}"));
    // A lie about terabytes must be found without asking for them.
    says(
        &idx_bytes(0x0d, &[1 << 20, 1 << 20], &[1; 100]),
        &format!("bad: has shape [1048576, 1048576], 4398046511104 bytes, but only 100 follow the header; {damaged}"),
    );
    says(
        &gzip(&idx_bytes(0x08, &[1 << 20, 1 << 20], &[1; 100])),
        &format!("bad: has shape [1048576, 1048576], 1099511627776 bytes, but only 100 follow the header; {damaged}"),
    );
}

#[test]
fn idx_survives_damaged_gzip() {
    let folder = folder();
    let whole = gzip(&idx_bytes(0x08, &[40, 40], &counting(1600)));
    let damaged = "the file is damaged: get it again";
    // Cut anywhere, even within the checksum at its end, the file is refused.
    for length in [3, 12, 40, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let path = write(folder.path(), "cut", &whole[..length]);
        assert_eq!(message(read_idx(&path), folder.path()), format!("cut: its gzip data ends early; {damaged}"));
    }
    let mut flipped = whole.clone();
    let checksum = whole.len() - 6;
    flipped[checksum] ^= 1;
    let path = write(folder.path(), "flipped", &flipped);
    let text = message(read_idx(&path), folder.path());
    assert!(text.starts_with("flipped: its gzip data cannot be unpacked ("), "{text}");
    let path = write(folder.path(), "followed", &[&whole[..], b"junk"].concat());
    assert!(read_idx(&path).is_err(), "bytes behind the gzip stream");
    // A bomb: a small promise before 8 MB of zeros. Its end is cut off, which only who unpacks it all can notice.
    let bomb = gzip(&idx_bytes(0x08, &[4], &vec![0; 8 << 20]));
    let path = write(folder.path(), "bomb", &bomb[..bomb.len() - 100]);
    assert_eq!(
        message(read_idx(&path), folder.path()),
        format!("bomb: has shape [4], 4 bytes, but more follow the header; {damaged}")
    );
}

#[test]
fn idx_refuses_to_write_what_it_cannot() {
    let folder = folder();
    let path = folder.path().join("out");
    let refused =
        |sizes: &[usize], bytes: &[u8]| message(write_idx_u8(&path, &Shape::from(sizes), bytes), folder.path());
    assert_eq!(refused(&[], &[1]), "IDX: shape [] has rank 0; give 1 to 4 sizes");
    assert_eq!(refused(&[1; 5], &[1]), "IDX: shape [1, 1, 1, 1, 1] has rank 5; give 1 to 4 sizes");
    assert_eq!(refused(&[2, 2], &[1]), "IDX: 1 bytes given for shape [2, 2]; give as many bytes as the shape holds");
    let missing = folder.path().join("no/such/folder");
    let text = message(write_idx_u8(&missing, &Shape::from([1]), &[1]), folder.path());
    assert!(text.starts_with("cannot write no/such/folder: ") && text.ends_with("; check the path"), "{text}");
    assert_eq!(names_in(folder.path()), [""; 0], "something was written");
}

#[test]
fn a_failed_write_leaves_the_old_file() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("taken");
    fs::create_dir(&path).expect("a folder");
    write(&path, "inside", b"kept");
    assert!(write_idx_u8(&path, &Shape::from([1]), &[1]).is_err());
    assert_eq!(names_in(folder.path()), ["taken"], "a temporary file was left");
    assert_eq!(names_in(&path), ["inside"]);
    Ok(())
}

// ---- loading

fn load_from(path: &Path) -> Result<pinhole::data::Splits> {
    load(&path.display().to_string())
}

#[test]
fn load_takes_a_folder_like_mnist() -> Result<()> {
    for (dot, packed) in [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")] {
        let folder = folder();
        let at = |stem: &str, rank: usize| folder.path().join(format!("{stem}{dot}idx{rank}-ubyte{packed}"));
        write_idx_u8(at("train-images", 3), &[6, 2, 3].into(), &counting(36))?;
        let alone = load_from(folder.path())?;
        assert_eq!((alone.train.len(), alone.train.labels(), alone.test.is_none()), (6, None, true));

        write_idx_u8(at("train-labels", 1), &[6].into(), &[0, 1, 2, 3, 4, 5])?;
        write_idx_u8(at("t10k-images", 3), &[1, 2, 3].into(), &counting(6))?;
        write_idx_u8(at("t10k-labels", 1), &[1].into(), &[9])?;
        let splits = load_from(folder.path())?;
        assert_eq!(splits.train.sample_shape(), &Shape::from([1, 2, 3]));
        assert_eq!(bytes_of(&splits.train), counting(36));
        assert_eq!(labels_of(&splits.train), [0, 1, 2, 3, 4, 5]);
        assert_eq!(splits.test.as_ref().map(labels_of), Some(vec![9]));
        assert_eq!(Some(splits.train.name()), folder.path().file_name().and_then(|name| name.to_str()));

        write_idx_u8(at("train-labels", 1), &[5].into(), &[0; 5])?;
        assert_eq!(
            message(load_from(folder.path()), folder.path()),
            format!(
                "train-labels{dot}idx1-ubyte{packed}: 5 labels, but train-images{dot}idx3-ubyte{packed} holds 6 samples; \
                 take both files from one data set"
            )
        );
        fs::remove_file(at("train-labels", 1)).expect("removed");
        write_idx_u8(at("t10k-images", 3), &[1, 3, 2].into(), &counting(6))?;
        assert_eq!(
            message(load_from(folder.path()), folder.path()),
            format!(
                "t10k-images{dot}idx3-ubyte{packed}: samples have shape [1, 3, 2], but those of \
                 train-images{dot}idx3-ubyte{packed} have [1, 2, 3]; take both files from one data set"
            )
        );
    }
    Ok(())
}

#[test]
fn load_takes_an_idx_file_of_rank_2_to_4() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("data.idx");
    for (sizes, sample) in [(vec![4, 5], vec![5]), (vec![2, 3, 4], vec![1, 3, 4]), (vec![2, 3, 4, 5], vec![3, 4, 5])] {
        let shape = Shape::from(sizes);
        write_idx_u8(&path, &shape, &counting(shape.elements()))?;
        let splits = load_from(&path)?;
        assert_eq!((splits.train.len(), splits.train.sample_shape()), (shape[0], &Shape::from(sample)));
        assert!(splits.test.is_none());
    }
    write_idx_u8(&path, &[7].into(), &counting(7))?;
    assert_eq!(
        message(load_from(&path), folder.path()),
        "data.idx: has shape [7], one number per sample, as labels have; give the file with the images"
    );
    let bad: Vec<u8> = [0.5f32, f32::NAN].iter().flat_map(|float| float.to_be_bytes()).collect();
    write(folder.path(), "data.idx", &idx_bytes(0x0d, &[2, 1], &bad));
    assert_eq!(
        message(load_from(&path), folder.path()),
        "data.idx: sample 1, element 0 is NaN (both counted from 0); remove or replace such values before training"
    );
    Ok(())
}

#[test]
fn load_says_what_it_looked_for() {
    let folder = folder();
    let known = "give \"digits\", \"digits:N\", a folder with MNIST's or EMNIST's IDX files, with pictures or with a folder of pictures for each class, or an IDX, NPY, NPZ, CSV, PNG, JPEG, BMP, GIF, TIFF or WebP file";
    assert_eq!(
        message(load("digit"), folder.path()),
        format!("data \"digit\": there is no such file or folder, and no built-in data of that name; {known}")
    );
    assert_eq!(
        message(load_from(folder.path()), folder.path()),
        format!(
            "FOLDER: there is neither train-images-idx3-ubyte (or .gz) nor any picture (PNG, JPEG, BMP, GIF, TIFF or WebP) in this folder or one in it; {known}"
        )
    );
    write(folder.path(), "t10k-images-idx3-ubyte", &idx_bytes(8, &[1, 1, 1], &[1]));
    assert_eq!(
        message(load_from(folder.path()), folder.path()),
        format!("FOLDER: there is t10k-images-idx3-ubyte in this folder, but no train-images-idx3-ubyte; {known}")
    );
    let text = write(folder.path(), "notes.txt", b"hello");
    assert_eq!(message(load_from(&text), folder.path()), format!("notes.txt: is no file of a known kind; {known}"));
    for count in ["0", "", "-1", "many", "1.5", "1000001", "99999999999999999999"] {
        assert_eq!(
            message(load(&format!("digits:{count}")), folder.path()),
            format!(
                "data \"digits:{count}\": \"{count}\" is no usable number of digits; \
                 give a whole number from 1 to 1000000, such as digits:60000"
            )
        );
    }
}

// ---- digits

#[test]
fn digits_load_with_a_test_split_of_their_own() -> Result<()> {
    let splits = load("digits:60")?;
    let test = splits.test.expect("a test split");
    assert_eq!((splits.train.len(), test.len(), splits.train.name()), (60, 10, "digits"));
    assert_eq!(splits.train.sample_shape(), &Shape::from([1, 28, 28]));
    assert_ne!(bytes_of(&splits.train.take(10)), bytes_of(&test));
    assert_eq!(load("digits:1")?.test.map(|test| test.len()), Some(1));
    Ok(())
}

#[test]
fn digits_depend_on_seed_and_index_alone() {
    assert_eq!(digits(200, 5), digits(200, 5));
    assert_eq!(digits(200, 5).take(100), digits(100, 5));
    assert_ne!(digits(100, 5), digits(100, 6));
    assert_eq!(digits(0, 5), digits(1, 5));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        assert_eq!(pool.install(|| digits(200, 5)), digits(200, 5));
    }
    // Neighbouring seeds share no sample, not even at another place.
    let (one, two) = (digits(300, 1), digits(300, 2));
    assert!(bytes_of(&one).chunks(784).all(|a| bytes_of(&two).chunks(784).all(|b| a != b)));
}

#[test]
fn digits_keep_their_bytes_from_version_to_version() {
    // A trained model's test error means the same later only if the pictures stay the same: FNV-1a over the bytes.
    let hash = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let data = digits(500, 1);
    let labels: Vec<u8> = labels_of(&data).iter().map(|label| *label as u8).collect();
    assert_eq!((hash(bytes_of(&data)), hash(&labels)), (DIGITS_HASH, LABELS_HASH));
}

const DIGITS_HASH: u64 = 15_263_957_082_057_783_789;
const LABELS_HASH: u64 = 17_891_153_912_468_478_966;

/// Mean, deviation, and the mean squared error of guessing the mean picture, of values in 0..=1.
fn statistics(data: &Dataset) -> [f64; 3] {
    let bytes = bytes_of(data);
    let elements = data.sample_shape().elements();
    let mut mean_picture = vec![0.0; elements];
    let mut squares = 0.0;
    for (i, byte) in bytes.iter().enumerate() {
        let value = f64::from(*byte) / 255.0;
        mean_picture[i % elements] += value / data.len() as f64;
        squares += value * value;
    }
    let mean_square = squares / bytes.len() as f64;
    let mean = mean_picture.iter().sum::<f64>() / elements as f64;
    let guessed = mean_picture.iter().map(|value| value * value).sum::<f64>() / elements as f64;
    [mean, (mean_square - mean * mean).sqrt(), mean_square - guessed]
}

/// MNIST's own statistics, over its training images.
const MNIST: [f64; 3] = [0.1307, 0.3081, 0.0673];

#[test]
fn digits_have_the_statistics_of_mnist() {
    let data = digits(6000, 1);
    for (ours, theirs) in statistics(&data).into_iter().zip(MNIST) {
        assert!((ours / theirs - 1.0).abs() <= 0.1, "{ours} against MNIST's {theirs}");
    }
    let labels = labels_of(&data);
    for digit in 0..10 {
        let share = labels.iter().filter(|label| **label == digit).count() as f64 / labels.len() as f64;
        assert!((0.085..=0.115).contains(&share), "digit {digit}: {share}");
    }
    for (index, picture) in bytes_of(&data).chunks(784).enumerate() {
        let ink: u64 = picture.iter().map(|byte| u64::from(*byte)).sum();
        assert!((20 * 255..400 * 255).contains(&ink), "sample {index} has ink {ink}");
        // The centre of mass is at the picture's centre to half a pixel, unless the edge cut a little ink off.
        let moment: f64 = picture.iter().enumerate().map(|(i, byte)| f64::from(*byte) * ((i % 28) as f64 + 0.5)).sum();
        assert!((moment / ink as f64 - 14.0).abs() <= 0.6, "sample {index} is off centre");
    }
}

// ---- pictures

#[test]
fn png_round_trips_grey_and_colour() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("picture.png");
    for shape in [Shape::from([1, 3, 5]), Shape::from([3, 4, 2])] {
        let bytes = counting(shape.elements());
        write_png(&path, &shape, &bytes)?;
        assert_eq!(read_png(&path)?, (shape, bytes));
    }
    assert_eq!(names_in(folder.path()), ["picture.png"]);
    assert_eq!(to_bytes(&[-1.0, 0.0, 0.5, 1.0, 7.0, f32::NAN, 1.49 / 255.0]), [0, 0, 128, 255, 255, 0, 1]);
    Ok(())
}

#[test]
fn png_of_other_kinds_is_converted() -> Result<()> {
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    let folder = folder();
    let reads = |kind: ExtendedColorType, pixels: &[u8]| {
        let mut encoded = Vec::new();
        PngEncoder::new(&mut encoded).write_image(pixels, 2, 1, kind).expect("an encoded picture");
        read_png(write(folder.path(), "kind.png", &encoded))
    };
    // Half-transparent white over black is half grey; what is wholly transparent is black.
    assert_eq!(reads(ExtendedColorType::La8, &[255, 128, 200, 0])?, (Shape::from([1, 1, 2]), vec![128, 0]));
    assert_eq!(
        reads(ExtendedColorType::Rgba8, &[10, 20, 30, 255, 255, 100, 0, 51])?,
        (Shape::from([3, 1, 2]), vec![10, 51, 20, 20, 30, 0])
    );
    let wide: Vec<u8> = [65535u16, 0x8000].iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    assert_eq!(reads(ExtendedColorType::L16, &wide)?, (Shape::from([1, 1, 2]), vec![255, 128]));
    Ok(())
}

#[test]
fn png_damage_is_told_in_one_line() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("bad.png");
    write_png(&path, &[1, 20, 20].into(), &counting(400))?;
    let whole = fs::read(&path).expect("a picture");
    let help = "check that it is a PNG, or get it again";
    for length in [0, 4, 20, 40, whole.len() / 2] {
        write(folder.path(), "bad.png", &whole[..length]);
        let text = message(read_png(&path), folder.path());
        assert!(text.starts_with("bad.png: is no readable PNG (") && text.ends_with(help), "{length}: {text}");
    }
    // A header that claims 60,000 x 60,000 pixels, with its checksum put right.
    let mut huge = whole;
    huge[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    huge[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let mut checksum = flate2::Crc::new();
    checksum.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    write(folder.path(), "bad.png", &huge);
    assert_eq!(
        message(read_png(&path), folder.path()),
        format!(
            "bad.png: claims 60000 x 60000 pixels, which its {} bytes cannot hold; the file is damaged: get it again",
            huge.len()
        )
    );
    Ok(())
}

#[test]
fn load_takes_pictures_in_the_order_of_their_names() -> Result<()> {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    write_png(at("b.png"), &[1, 2, 2].into(), &[5, 6, 7, 8])?;
    write_png(at("a.PNG"), &[1, 2, 2].into(), &[1, 2, 3, 4])?;
    write(folder.path(), "notes.txt", b"not a picture");
    write(folder.path(), ".hidden.png", b"not a picture");
    let grey = load_from(folder.path())?;
    assert_eq!(
        (grey.train.sample_shape(), bytes_of(&grey.train)),
        (&Shape::from([1, 2, 2]), &[1, 2, 3, 4, 5, 6, 7, 8][..])
    );
    assert!(grey.test.is_none() && grey.train.labels().is_none());
    let single = load_from(&at("b.png"))?.train;
    assert_eq!((single.len(), bytes_of(&single), single.name()), (1, &[5, 6, 7, 8][..], "b.png"));

    // One coloured picture makes all of them coloured.
    write_png(at("c.png"), &[3, 2, 2].into(), &counting(12))?;
    let coloured = load_from(folder.path())?.train;
    assert_eq!((coloured.len(), coloured.sample_shape()), (3, &Shape::from([3, 2, 2])));
    assert_eq!(bytes_of(&coloured)[..12], [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
    assert_eq!(bytes_of(&coloured)[24..], counting(12));

    write_png(at("bb.png"), &[1, 3, 2].into(), &counting(6))?;
    write_png(at("d.png"), &[1, 9, 9].into(), &counting(81))?;
    assert_eq!(
        message(load_from(folder.path()), folder.path()),
        "bb.png: 2 x 3 pixels, but a.PNG has 2 x 2; bring all to one size, or use a model with input [channels, height, \
         width], to which they are fitted"
    );
    write(folder.path(), "a.PNG", b"no picture");
    let text = message(load_from(folder.path()), folder.path());
    assert_eq!(
        text,
        "a.PNG: is no picture of a known kind (PNG, JPEG, BMP, GIF, TIFF or WebP); check that it is one, or remove it"
    );
    Ok(())
}

#[test]
fn grid_puts_cells_in_rows() -> Result<()> {
    let grey = |height: usize, width: usize, byte: u8| Image::new([1, height, width], vec![byte; height * width]);
    let picture = grid(&[vec![grey(1, 1, 10)?, grey(1, 1, 20)?], vec![grey(1, 1, 30)?]], 2)?;
    assert_eq!(picture.shape(), &Shape::from([1, 6, 6]));
    let (a, b, s) = ([10, 10, 128, 128, 20, 20], [30, 30, 128, 128, 128, 128], [128; 6]);
    assert_eq!(picture.bytes(), [a, a, s, s, b, b].concat());

    let coloured = Image::new([3, 1, 1], vec![1, 2, 3])?;
    let mixed = grid(&[vec![grey(1, 1, 9)?, coloured]], 1)?;
    assert_eq!(
        (mixed.shape(), mixed.bytes()),
        (&Shape::from([3, 1, 4]), &[9, 128, 128, 1, 9, 128, 128, 2, 9, 128, 128, 3][..])
    );

    let folder = folder();
    let path = folder.path().join("grid.png");
    write_grid(&path, &[vec![Image::from_f32([1, 1, 2], &[0.0, 1.0])?]], 0)?;
    assert_eq!(read_png(&path)?, (Shape::from([1, 1, 2]), vec![0, 255]));
    assert_eq!(message(grid(&[vec![]], 1), folder.path()), "grid: there is no cell in it; give at least one picture");
    assert_eq!(
        message(grid(&[vec![grey(1, 1, 9)?]], usize::MAX), folder.path()),
        format!("grid: 1 x 1 cells at scale {} are too large a picture; show fewer or smaller ones", usize::MAX)
    );
    for sizes in [vec![2, 4, 4], vec![4, 4], vec![1, 0, 4]] {
        let shape = Shape::from(sizes);
        assert_eq!(
            message(Image::new(shape.clone(), vec![0; shape.elements()]), folder.path()),
            format!(
                "picture: shape {shape} is no picture; \
                 give [1, height, width] for grey or [3, height, width] for colour"
            )
        );
    }
    assert_eq!(
        message(write_png(&path, &[1, 2, 2].into(), &[1]), folder.path()),
        "picture: 1 bytes given for shape [1, 2, 2]; give as many bytes as the shape holds"
    );
    Ok(())
}

// ---- charts

#[test]
fn chart_draws_what_there_is() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("loss.png");
    let curve: Vec<(f64, f64)> = (1..500).map(|step| (f64::from(step), 1.0 / f64::from(step))).collect();
    line_chart(
        &path,
        &[("train", curve.clone()), ("validation", vec![(1.0, 0.5), (499.0, f64::NAN)])],
        "step",
        "loss",
    )?;
    let (shape, bytes) = read_png(&path)?;
    assert_eq!(shape, Shape::from([3, 600, 960]));
    let plane = 600 * 960;
    let inked =
        |color: [u8; 3]| (0..plane).filter(|i| [bytes[*i], bytes[plane + i], bytes[2 * plane + i]] == color).count();
    assert!(inked([32, 98, 178]) > 1000, "no blue line");
    assert!(inked([222, 122, 24]) > 10, "no orange dot");
    assert!(inked([255, 255, 255]) > plane / 2, "no paper");
    assert_eq!(names_in(folder.path()), ["loss.png", "loss.svg"]);

    // Extremes neither fail nor hang.
    for points in [
        vec![(0.0, 0.0)],
        vec![(3.0, 7.0), (3.0, 7.0)],
        vec![(f64::MIN, f64::MAX), (f64::MAX, f64::MIN)],
        vec![(1e15, 1e-12), (1e15 + 1.0, 1.0000001e-12)],
        vec![(0.0, 1e-310), (1.0, 1e300)],
    ] {
        line_chart(&path, &[("extreme", points)], "x", "y")?;
    }
    assert_eq!(
        message(line_chart(&path, &[("empty", vec![(f64::NAN, 1.0)])], "x", "y"), folder.path()),
        "chart: there is no finite point to draw; give at least one"
    );
    Ok(())
}

/// The texts of an SVG, in its order.
fn texts(svg: &str) -> Vec<&str> {
    let texts = svg.lines().filter(|line| line.starts_with("<text"));
    texts.filter_map(|line| line.split_once('>')?.1.strip_suffix("</text>")).collect()
}

#[test]
fn chart_is_also_an_svg_in_light_and_dark() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("loss.png");
    let epochs = |losses: &[f64]| (1..).map(f64::from).zip(losses.iter().copied()).collect::<Vec<(f64, f64)>>();
    line_chart(&path, &[("a < b & c", epochs(&[0.5, 0.3, f64::NAN, 0.1]))], "epoch", "loss")?;
    let svg = std::fs::read_to_string(path.with_extension("svg")).expect("an SVG");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("prefers-color-scheme:dark"));
    assert!(svg.contains("<title>loss by epoch</title>") && !svg.contains("NaN"));
    // Epochs are whole, the line ends before the gap, and each of the three points is a dot on a ring of paper.
    assert_eq!(texts(&svg)[..7], ["loss", "a &lt; b &amp; c", "1", "2", "3", "4", "0.10"]);
    assert_eq!(svg.matches("<polyline class=\"s4\"").count(), 2, "one line, and one in the legend");
    assert_eq!(svg.matches("<circle").count(), 6);

    // One epoch stands alone, without ticks beside it.
    line_chart(&path, &[("training", epochs(&[0.5]))], "epoch", "loss")?;
    let svg = std::fs::read_to_string(path.with_extension("svg")).expect("an SVG");
    assert_eq!(texts(&svg).iter().filter(|text| text.parse::<f64>().is_ok_and(|tick| tick >= 0.6)).count(), 1);

    // Many steps make no larger a file than the picture can show.
    let steps = (0..200_000).map(|step| (f64::from(step), f64::from(step % 7)));
    line_chart(&path, &[("training", steps.collect())], "step", "loss")?;
    assert!(std::fs::metadata(path.with_extension("svg")).expect("an SVG").len() < 100_000);
    Ok(())
}

// ---- the real thing

#[test]
#[ignore = "needs PINHOLE_TEST_DATA"]
fn real_mnist_loads_with_its_known_statistics() -> Result<()> {
    let root = std::env::var("PINHOLE_TEST_DATA").expect("PINHOLE_TEST_DATA names the folder of real data");
    let splits = load_from(&Path::new(&root).join("data/mnist"))?;
    let test = splits.test.expect("a test split");
    assert_eq!((splits.train.len(), test.len(), splits.train.name()), (60_000, 10_000, "mnist"));
    assert_eq!((splits.train.sample_shape(), test.sample_shape()), (&[1, 28, 28].into(), &[1, 28, 28].into()));
    assert_eq!(labels_of(&splits.train)[..5], [5, 0, 4, 1, 9]);
    assert_eq!(labels_of(&test)[..5], [7, 2, 1, 0, 4]);
    for (measured, known) in statistics(&splits.train).into_iter().zip(MNIST) {
        assert!((measured - known).abs() <= 0.0001, "{measured} against {known}");
    }
    Ok(())
}
