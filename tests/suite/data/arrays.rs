//! Arrays and tables as data: NPY, NPZ and CSV, NumPy's own files among them, and every way they can be wrong.

use crate::support::{fixture, folder, labels_of};
use pinhole::Result;
use pinhole::data::csv::{Table, read_csv, write_csv};
use pinhole::data::npy::{read_npy, write_npy};
use pinhole::data::npz::Npz;
use pinhole::data::{Splits, load};
use pinhole::shape::Shape;
use pinhole::tensor::Values;
use std::path::{Path, PathBuf};

/// The message of a failure, which is one line, with the folder's changing name taken out.
fn message<T>(result: Result<T>, folder: &Path) -> String {
    let text = result.err().expect("an error").to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text.replace(&format!("{}/", folder.display()), "")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a written file");
    path
}

fn load_from(path: &Path) -> Result<Splits> {
    load(&path.display().to_string())
}

/// An NPY file of version 1 with this header and these elements.
pub fn npy(header: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

/// A ZIP archive of stored files.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([(files.len() as u16).to_le_bytes(), (files.len() as u16).to_le_bytes()].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn floats(values: &Values) -> Vec<f32> {
    match values {
        Values::F32(values) => values.clone(),
        Values::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        other => panic!("{other:?}"),
    }
}

// ---- NumPy's files

#[test]
fn numpys_arrays_of_every_type_order_and_packing_are_read() -> Result<()> {
    for file in ["arrays.npz", "arrays-stored.npz"] {
        let npz = Npz::open(fixture(file))?;
        assert_eq!(npz.names().count(), 42, "{file}");
        for name in npz.names() {
            let tensor = npz.read(name)?;
            assert_eq!(tensor.shape(), &Shape::from([2, 3, 4]), "{file} {name}");
            let expected: Vec<f32> = (0..24)
                .map(|k| match &name[..1] {
                    "b" => (k % 2 * 255) as f32,
                    "u" => k as f32,
                    "i" => 3.0 - k as f32,
                    _ => 1.5 - k as f32 / 4.0,
                })
                .collect();
            assert_eq!(floats(tensor.values()), expected, "{file} {name}");
            let bytes = matches!(tensor.values(), Values::U8(_));
            assert_eq!(bytes, name.starts_with("u1") || name.starts_with("b1"), "{file} {name}");
        }
    }
    let tensor = read_npy(fixture("fortran.npy"))?;
    assert_eq!(tensor.values(), Npz::open(fixture("arrays.npz"))?.read("f8_little_c")?.values());
    let help = "save it by numpy.save(name, array.astype(\"float32\"))";
    let path = fixture("record.npy");
    let said = message(read_npy(&path), path.parent().expect("a folder"));
    assert_eq!(said, format!("record.npy: holds records of several fields; {help}"));
    Ok(())
}

#[test]
fn npy_round_trips() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.npy");
    for sizes in [vec![7], vec![3, 2], vec![2, 1, 3, 1, 2]] {
        let shape = Shape::from(sizes);
        let values: Vec<f32> = (0..shape.elements()).map(|k| k as f32 / 3.0 - 1.0).collect();
        write_npy(&path, &shape, &values)?;
        let tensor = read_npy(&path)?;
        assert_eq!((tensor.shape(), tensor.values()), (&shape, &Values::F32(values)));
        let bytes = std::fs::read(&path).expect("a file");
        assert_eq!((bytes.len() - 4 * shape.elements()) % 64, 0, "the elements are aligned");
    }
    let said = message(write_npy(&path, &[2, 2].into(), &[1.0]), folder.path());
    assert_eq!(said, "NPY: 1 numbers given for shape [2, 2]; give as many numbers as the shape holds");
    Ok(())
}

#[test]
fn npy_names_what_is_wrong_with_a_file() {
    let folder = folder();
    let says = |bytes: &[u8], expected: &str| {
        let path = write(folder.path(), "bad", bytes);
        assert_eq!(message(read_npy(&path), folder.path()), format!("bad: {expected}"));
    };
    let damaged = "the file is damaged: get it again";
    let header =
        |descr: &str, shape: &str| format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
    says(b"", &format!("ends within its header; {damaged}"));
    says(b"\x93NUMPX\x01\x00", "is no NPY data: it does not start with \"\\x93NUMPY\"; give an NPY file");
    says(b"\x93NUMPY\x09\x00", "is of NPY version 9; save it by numpy.save, in version 1 to 3");
    says(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", &format!("claims a header of 4294967295 bytes; {damaged}"));
    says(
        &npy(&header("<f4", "(2, 3)"), &[0; 23]),
        &format!("has shape [2, 3], 24 bytes, but only 23 follow the header; {damaged}"),
    );
    says(
        &npy(&header("<f4", "(2, 3)"), &[0; 25]),
        &format!("has shape [2, 3], 24 bytes, but more follow the header; {damaged}"),
    );
    says(
        &npy(&header("<f8", "(1048576, 1048576)"), &[0; 100]),
        &format!("has shape [1048576, 1048576], 8796093022208 bytes, but only 100 follow the header; {damaged}"),
    );
    says(
        &npy(&header("|u1", "(4294967295, 4294967295, 4294967295)"), &[0; 9]),
        &format!("claims shape [4294967295, 4294967295, 4294967295], more than memory can address; {damaged}"),
    );
    says(&npy(&header("<f4", "(2, 0)"), &[]), "has shape [2, 0] and so holds nothing; give a file with samples");
    says(&npy(&header("<f4", "()"), &[0; 4]), "is a single number; give an array of samples");
    let help = "save it by numpy.save(name, array.astype(\"float32\"))";
    says(&npy(&header("<c8", "(1,)"), &[0; 8]), &format!("holds elements of type \"<c8\", which is not read; {help}"));
    says(&npy(&header("|O", "(1,)"), &[0; 8]), &format!("holds elements of type \"|O\", which is not read; {help}"));
    let broken = format!("has a header that is no dictionary of descr, fortran_order and shape; {help}");
    for header in [
        "",
        "{",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} and more",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
    ] {
        says(&npy(header, &[0; 4]), &broken);
    }
    // Python 2 wrote long sizes so.
    let path = write(folder.path(), "long", &npy(&header("<f4", "(1L, 2L)"), &[0; 8]));
    assert_eq!(read_npy(&path).expect("an array").shape(), &Shape::from([1, 2]));
}

#[test]
fn npz_names_what_is_wrong_with_a_file() {
    let folder = folder();
    let damaged = "the file is damaged: get it again";
    let array = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4), }", &[1, 2, 3, 4]);
    let whole = zip(&[("readme.txt", b"hello"), ("x.npy", &array)]);
    let read = |bytes: &[u8]| {
        let path = write(folder.path(), "bad", bytes);
        message(Npz::open(&path).and_then(|npz| npz.read("x")), folder.path())
    };
    let path = write(folder.path(), "good", &whole);
    let npz = Npz::open(&path).expect("an archive");
    assert_eq!(npz.names().collect::<Vec<_>>(), ["x"]);
    assert_eq!(npz.read("x").expect("an array").values(), &Values::U8(vec![1, 2, 3, 4]));
    assert_eq!(message(npz.read("y"), folder.path()), "good: has no array \"y\"; known are x");

    assert_eq!(
        read(&whole[..whole.len() - 1]),
        format!("bad: is no whole ZIP archive: its directory is missing; {damaged}")
    );
    assert_eq!(read(b"PK\x03\x04"), format!("bad: is no whole ZIP archive: its directory is missing; {damaged}"));
    let none = zip(&[("readme.txt", b"hello")]);
    assert_eq!(read(&none), "bad: is an archive without any array (.npy); save arrays by numpy.savez");
    let at = |part: &[u8]| whole.windows(part.len()).rposition(|window| window == part).expect("the part");
    let flipped = |position: usize| {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x80;
        bytes
    };
    // The last element; the entry's signature, checksum, method, sizes and place.
    let entry = at(b"PK\x01\x02");
    let array_end = at(b"PK\x01\x02\x14") - (46 + "readme.txt".len());
    assert_eq!(
        read(&flipped(array_end - 1)),
        format!("bad: array \"x\" cannot be unpacked (its checksum is wrong); {damaged}")
    );
    assert_eq!(read(&flipped(entry)), format!("bad: has a damaged directory; {damaged}"));
    assert_eq!(
        read(&flipped(entry + 16)),
        format!("bad: array \"x\" cannot be unpacked (its checksum is wrong); {damaged}")
    );
    assert_eq!(
        read(&flipped(entry + 10)),
        "bad: array \"x\" is packed by method 128, which is not read; save it by numpy.savez or numpy.savez_compressed"
    );
    assert_eq!(read(&flipped(entry + 27)), format!("bad: array \"x\" cannot be unpacked (it ends early); {damaged}"));
    assert_eq!(read(&flipped(entry + 24)), format!("bad: array \"x\" cannot be unpacked (it ends early); {damaged}"));
    assert_eq!(read(&flipped(entry + 43)), format!("bad: array \"x\" lies outside the file; {damaged}"));
    assert_eq!(read(&flipped(entry + 42)), format!("bad: array \"x\" is not where the directory says; {damaged}"));
}

// ---- as data

#[test]
fn arrays_become_samples() -> Result<()> {
    let folder = folder();
    let path = folder.path().join("a.npy");
    let counting = |count: usize| (0..count).map(|k| k as f32).collect::<Vec<f32>>();
    for (shape, sample) in [
        (vec![4, 5], vec![5]),
        (vec![2, 3, 4], vec![1, 3, 4]),
        (vec![2, 3, 4, 5], vec![3, 4, 5]),
        (vec![2, 3, 3, 3], vec![3, 3, 3]),
        // Only a model's input says that the channels are last.
        (vec![2, 2, 2, 3], vec![2, 2, 3]),
        (vec![1, 2, 3, 4, 5], vec![2, 3, 4, 5]),
    ] {
        let shape = Shape::from(shape);
        write_npy(&path, &shape, &counting(shape.elements()))?;
        let data = load_from(&path)?.train;
        assert_eq!((data.sample_shape(), data.len(), data.name()), (&Shape::from(sample), shape[0], "a.npy"));
        assert_eq!(data.values(), &Values::F32(counting(shape.elements())));
    }
    write_npy(&path, &[3].into(), &counting(3))?;
    assert_eq!(
        message(load_from(&path), folder.path()),
        "a.npy: has shape [3], one number per sample, as labels have; give the file with the images"
    );
    write_npy(&path, &[2, 2].into(), &[0.0, 1.0, f32::INFINITY, 0.0])?;
    assert_eq!(
        message(load_from(&path), folder.path()),
        "a.npy: sample 1, element 0 is inf (both counted from 0); remove or replace such values before training"
    );
    Ok(())
}

#[test]
fn an_archive_gives_the_array_that_is_meant() -> Result<()> {
    let folder = folder();
    let array = |shape: &str, elements: &[u8]| {
        npy(&format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"), elements)
    };
    let [x, y, z] = [array("(3, 2)", &[1, 2, 3, 4, 5, 6]), array("(3,)", &[7, 8, 9]), array("(1, 2)", &[10, 11])];
    let one = write(folder.path(), "one.npz", &zip(&[("arr_0.npy", &x)]));
    assert_eq!(load_from(&one)?.train.values(), &Values::U8(vec![1, 2, 3, 4, 5, 6]));

    let keras =
        zip(&[("x_test.npy", &z), ("x_train.npy", &x), ("y_train.npy", &y), ("y_test.npy", &array("(1,)", &[3]))]);
    let keras = load_from(&write(folder.path(), "keras.npz", &keras))?;
    assert_eq!((keras.train.len(), labels_of(&keras.train)), (3, vec![7, 8, 9]));
    let test = keras.test.expect("a test part");
    assert_eq!((test.values(), &test.labels().expect("labels").names()[0][..]), (&Values::U8(vec![10, 11]), "3"));

    let both = write(folder.path(), "both.npz", &zip(&[("b.npy", &z), ("a.npy", &x)]));
    assert_eq!(message(load_from(&both), folder.path()), "both.npz: has 2 arrays: b, a; name one, as in both.npz:b");
    let named = load(&format!("{}:a", both.display()))?.train;
    assert_eq!((named.len(), named.name()), (3, "both.npz"));
    assert_eq!(
        message(load(&format!("{}:c", both.display())), folder.path()),
        "both.npz: has no array \"c\"; known are b, a"
    );
    let wrong = write(folder.path(), "wrong.npz", &zip(&[("X.npy", &x), ("y.npy", &array("(2,)", &[7, 8]))]));
    assert_eq!(
        message(load_from(&wrong), folder.path()),
        "wrong.npz: array \"y\" has 2 labels, but \"X\" has 3 samples; give wrong.npz:X to do without labels"
    );
    Ok(())
}

// ---- CSV

#[test]
fn csv_is_read_as_people_write_it() -> Result<()> {
    let folder = folder();
    let reads = |text: &str, columns: usize, values: &[f32]| {
        let path = write(folder.path(), "a.csv", text.as_bytes());
        let table = read_csv(&path).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(table, Table { columns, values: values.to_vec() }, "{text:?}");
    };
    reads("1,2\n3,4\n", 2, &[1.0, 2.0, 3.0, 4.0]);
    reads("1,2\r\n3,4", 2, &[1.0, 2.0, 3.0, 4.0]);
    reads("1\r2\r\r3", 1, &[1.0, 2.0, 3.0]);
    reads("\n\na,b\n\n1,-2e3\n\n", 2, &[1.0, -2000.0]);
    reads("\u{feff}width;height\n 1.5 ; 2\n", 2, &[1.5, 2.0]);
    reads("1,5;2\n3;0,25\n", 2, &[1.5, 2.0, 3.0, 0.25]);
    reads("1\t2\n", 2, &[1.0, 2.0]);
    reads("\"a, or \"\"b\"\"\",c\n\"1\", \"2\"\n", 2, &[1.0, 2.0]);
    reads("\"two\nlines\",\"b\r\n\r\nc\"\r\n1,2\r\n", 2, &[1.0, 2.0]);
    reads("7", 1, &[7.0]);
    let long: String = (0..100_000).map(|k| format!("{k},{}\n", k * 2)).collect();
    let values: Vec<f32> = (0..100_000).flat_map(|k| [k as f32, (k * 2) as f32]).collect();
    reads(&long, 2, &values);

    // What is written comes back bit for bit.
    let path = folder.path().join("b.csv");
    let values = [0.1, -1.0 / 3.0, f32::MIN_POSITIVE, f32::MAX, 1e-40, 16_777_217.0];
    write_csv(&path, 3, &values)?;
    assert_eq!(read_csv(&path)?, Table { columns: 3, values: values.to_vec() });
    let data = load_from(&path)?.train;
    assert_eq!((data.sample_shape(), data.len(), data.name()), (&Shape::from([3]), 2, "b.csv"));
    Ok(())
}

#[test]
fn csv_names_line_and_column_of_what_is_wrong() {
    let folder = folder();
    let says = |text: &[u8], expected: &str| {
        let path = write(folder.path(), "a.csv", text);
        assert_eq!(message(read_csv(&path), folder.path()), format!("a.csv: {expected}"));
    };
    let help = "remove or replace such values before training";
    let or_label = ", or name the column by --label if it holds labels";
    says(b"a,b\n1,2\n3,x\n", &format!("line 3, column 2 is \"x\", which is no number; {help}{or_label}"));
    says(b"1,2\r\n3,\r\n", &format!("line 2, column 2 is empty; {help}"));
    says(b"1,2\n\n3,nan\n", &format!("line 3, column 2 is \"nan\", which is no finite 32-bit number; {help}"));
    says(b"1,1e39\n", &format!("line 1, column 2 is \"1e39\", which is no finite 32-bit number; {help}"));
    says(b"1,b\n", &format!("line 1, column 2 is \"b\", which is no number; {help}{or_label}"));
    says(b"1,2\n3,\"\n4,5\n", "line 2, column 2 has a quote that is not closed; close it");
    says(b"1,2\n3,\"4", "line 2, column 2 has a quote that is not closed; close it");
    says(b"\"a\n\",b\n1,x\n", &format!("line 3, column 2 is \"x\", which is no number; {help}{or_label}"));
    says(b"a,\"b\n\"\n\n1,2\n3\n", "line 5 has 1 columns, but the first has 2; give every line as many numbers");
    says(b"a,2\n", "line 1 has numbers, in column 2, beside names; give names to all columns or to none");
    says(b"1,2\n3\n", "line 2 has 1 columns, but the first has 2; give every line as many numbers");
    says(b"a,b\n1,2,3\n", "line 2 has 3 columns, but the first has 2; give every line as many numbers");
    says(b"", "holds no number; give a CSV file of numbers");
    says(b"a,b\n", "holds no number; give a CSV file of numbers");
    says(&[b'x'; 5000], "line 1, column 1 is longer than 1024 bytes; give a CSV file of numbers");
    let path = folder.path().join("b.csv");
    assert_eq!(
        message(write_csv(&path, 2, &[1.0]), folder.path()),
        "CSV: 1 numbers are no whole number of lines of 2; give as many numbers as the lines hold"
    );
}
