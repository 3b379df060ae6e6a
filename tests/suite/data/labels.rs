//! Labels of any kind: what samples are trained on without looking at them, and the classes of those that need them.

use crate::data::arrays::{npy, zip};
use crate::support::*;
use crate::temp::*;
use expect_test::{Expect, expect};
use pinhole::data::{self, Dataset, LabelColumn, Labels, Reading};
use pinhole::model::ModelSpec;
use pinhole::{Autoencoder, Device, Result};

const FLAT: &str = "input = [4]\nloss = \"mse\"\nencoder = [{ linear = 3 }, \"tanh\"]\ndecoder = [{ linear = 4 }]\n[train]\n\
    batch = 6\nepochs = 1\n";

/// Twelve samples of three kinds, the numbers of an array.
fn samples() -> Vec<u8> {
    let values: Vec<f32> = (0..48).map(|at| (at / 4 % 3) as f32 + 0.1 * (at % 5) as f32).collect();
    npy(&header("<f4", "(12, 4)"), &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

/// An archive of the samples with these labels.
fn labelled(place: &Place, descr: &str, shape: &str, bytes: &[u8]) -> Result<Dataset> {
    place.write("l.npz", &zip(&[("x.npy", &samples()), ("y.npy", &npy(&header(descr, shape), bytes))]));
    Ok(data::load(&place.path("l.npz").display().to_string())?.train)
}

/// Texts as NumPy keeps them, of so many letters each.
fn texts(names: &[&str], letters: usize) -> Vec<u8> {
    let letters_of = |name: &&str| {
        let padded: Vec<u32> = name.chars().map(u32::from).chain(std::iter::repeat(0)).take(letters).collect();
        padded.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
    };
    names.iter().flat_map(letters_of).collect()
}

#[test]
fn labels_of_every_type_are_classes() -> Result<()> {
    let place = Place::new();
    let expect = |data: Dataset, names: &[&str], third: u32| {
        let labels = data.labels().expect("labels");
        assert_eq!((labels.names(), labels.indices()[2], labels.len()), (&names.map_owned()[..], third, 12));
    };
    let animals = ["owl", "cat", "dog"].repeat(4);
    expect(labelled(&place, "<U3", "(12,)", &texts(&animals, 3))?, &["cat", "dog", "owl"], 1);
    expect(labelled(&place, "|S3", "(12, 1)", animals.concat().as_bytes())?, &["cat", "dog", "owl"], 1);
    let signs: Vec<u8> = (0..12).flat_map(|at| if at % 2 == 0 { 1i64 } else { -1 }.to_le_bytes()).collect();
    expect(labelled(&place, "<i8", "(12,)", &signs)?, &["-1", "1"], 1);
    let wide: Vec<u8> = (0..12).flat_map(|at: i32| (at * 75).to_le_bytes()).collect();
    let names: Vec<String> = (0..12).map(|at| (at * 75).to_string()).collect();
    expect(labelled(&place, "<i4", "(12,)", &wide)?, &names.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    let floats: Vec<u8> = (0..12).flat_map(|at| f64::from(at % 2).to_le_bytes()).collect();
    expect(labelled(&place, "<f8", "(12,)", &floats)?, &["0", "1"], 0);
    expect(labelled(&place, "|b1", "(12,)", &[1, 0].repeat(6))?, &["0", "1"], 1);
    // Of rows of zeros and a 1 all classes are known, even one that no sample has.
    expect(
        labelled(&place, "|u1", "(12, 4)", &[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1].repeat(4))?,
        &["0", "1", "2", "3"],
        3,
    );
    // Beyond 2^24 numbers stay apart.
    let large: Vec<u8> = (0..12).flat_map(|at: i32| (16_777_216 + at % 2).to_le_bytes()).collect::<Vec<u8>>();
    expect(labelled(&place, "<i4", "(12,)", &large)?, &["16777216", "16777217"], 0);
    assert_eq!(Labels::from_names(["1.0", "0.0"]).names(), ["0", "1"]);
    assert_eq!(Labels::from_names(["10", "9", "x"]).names(), ["10", "9", "x"]);
    assert_eq!(Labels::from(vec![10i64, 9]).names(), ["9", "10"]);
    Ok(())
}

trait Owned {
    fn map_owned(&self) -> Vec<String>;
}

impl Owned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Training that needs no labels takes any; what needs them says why it cannot use them.
#[test]
fn unreadable_labels_are_in_the_way_of_those_who_need_them_only() -> Result<()> {
    let place = Place::new();
    let needs = FLAT.replace("loss", "condition = { labels = 3 }\nloss");
    let told = Autoencoder::new(spec(&needs), Device::Cpu)?;
    let refused = |data: Result<Dataset>, expected: Expect| {
        let data = data.expect("samples");
        assert!(data.labels().is_none());
        let mut free = Autoencoder::new(spec(FLAT), Device::Cpu).expect("a model");
        assert_eq!(free.fit(&data, None, &mut ()).expect("training").len(), 1);
        let error = told.evaluate(&data).expect_err("no labels").to_string();
        expected.assert_eq(&error.replace(&format!("{}/", place.0.path().display()), ""));
    };
    refused(
        labelled(&place, "|O", "(12,)", &[0x80; 40]),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" holds Python objects, which only Python can read, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    let halves: Vec<u8> = (0..12).flat_map(|at| (at as f32 / 2.0).to_le_bytes()).collect();
    refused(
        labelled(&place, "<f4", "(12,)", &halves),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" has 0.5, which is no whole number, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    refused(
        labelled(&place, "|u1", "(12, 3)", &[1, 1, 0].repeat(12)),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" has 3 numbers for sample 0, counted from 0, that are no 1 among zeros, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    refused(
        labelled(&place, "|u1", "(12, 1, 2)", &[1, 0].repeat(12)),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" has shape [12, 1, 2] and is no list of labels, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    refused(
        labelled(&place, "<c8", "(12,)", &[0; 96]),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" holds elements of type "<c8", which is not read, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    refused(
        labelled(&place, "<U3", "(12,)", &[0; 12]),
        expect![[
            r#"data "l.npz": its labels cannot be used: array "y" has 12 texts, but only 1 follow the header, and the model's condition is labels = 3; give labels as text or whole numbers"#
        ]],
    );
    Ok(())
}

const ANIMALS: [&str; 3] = ["owl", "cat", "dog"];

/// A table of four numbers that say which animal it is.
fn animals(lines: usize) -> String {
    let line = |at: usize| {
        let kind = at % 3;
        let near = |center: usize| center as f64 + 0.05 * (at % 4) as f64;
        format!("{},{},{},{},{}\n", near(kind), near(2 - kind), near(kind * kind), near(0), ANIMALS[kind])
    };
    (0..lines).map(line).collect()
}

#[test]
fn a_column_of_labels_is_no_part_of_samples() -> Result<()> {
    let place = Place::new();
    let read = |text: &str, label: &str, optional: bool| {
        place.write("a.csv", text.as_bytes());
        let label = Some(LabelColumn { name: label.to_owned(), optional });
        data::load_with(&place.path("a.csv").display().to_string(), &Reading { label, ..Reading::default() })
    };
    let header = "a,b,c,d,kind\n";
    for (text, label) in [
        (header.to_owned() + &animals(6), "kind"),
        (header.to_owned() + &animals(6), "5"),
        (animals(6), "5"),
        ("0,1,2,3,4\n".to_owned() + &animals(6), "4"),
        (
            ",a,b,c,d,kind\n".to_owned() + &animals(6).lines().map(|line| format!("3,{line}\n")).collect::<String>(),
            "kind",
        ),
    ] {
        let data = read(&text, label, false)?.train;
        let labels = data.labels().expect("labels");
        assert_eq!((&data.sample_shape()[..], data.len()), (&[4][..], 6), "{text}");
        assert_eq!((labels.names(), labels.name(3)), (&["cat", "dog", "owl"].map_owned()[..], "owl"), "{text}");
        assert_eq!(data.rows_f32(1..2), [1.05, 1.05, 1.05, 0.05], "{text}");
    }
    let numbers = "label,a,b\n7,1,2\n3,3,4\n";
    let data = read(numbers, "label", false)?.train;
    assert_eq!((labels_of(&data), data.rows_f32(0..2)), (vec![7, 3], vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(read("a,b\n1,2\n", "label", true)?.train.labels(), None);
    let refused = |text: &str, label: &str, expected: Expect| {
        let error = read(text, label, false).expect_err(text).to_string();
        expected.assert_eq(&error.replace(&format!("{}/", place.0.path().display()), ""));
    };
    refused(
        "a,b\n1,2\n",
        "label",
        expect![[r#"a.csv: has no column "label", which is to be the label; known are a, b"#]],
    );
    refused(
        "1,2\n3,4\n",
        "label",
        expect![[
            r#"a.csv: has no line of names, and so no column "label"; give the number of the label's column, from 1 to 2"#
        ]],
    );
    refused(
        "1,2\n3,4\n",
        "3",
        expect![[
            r#"a.csv: has no line of names, and so no column "3"; give the number of the label's column, from 1 to 2"#
        ]],
    );
    refused("a,a,b\n1,2,3\n", "a", expect![[r#"a.csv: has 2 columns "a"; give the label's column a name of its own"#]]);
    Ok(())
}

/// From file to file: the run and the classifier keep the column and the classes.
#[test]
fn the_program_keeps_classes_by_name() {
    let place = Place::new();
    place.write("flat.toml", FLAT.as_bytes());
    let condition = "condition = { labels = 3 }\nlatent = { gaussian = 2 }\nloss";
    place.write("told.toml", FLAT.replacen("loss", condition, 1).as_bytes());
    let header = "a,b,c,d,kind\n";
    place.write("animals.csv", (header.to_owned() + &animals(60)).as_bytes());
    place.write("birds.csv", (header.to_owned() + &animals(8) + "1,1,1,1,bird\n").as_bytes());
    place.write("gap.csv", (header.to_owned() + &animals(30) + "1,1,1,1,\n").as_bytes());
    let unlabelled: String =
        animals(12).lines().map(|line| line.rsplit_once(',').expect("a label").0.to_owned() + "\n").collect();
    place.write("plain.csv", ("a,b,c,d\n".to_owned() + &unlabelled).as_bytes());
    let train = "train --device cpu --batch 6 --epochs 1";
    place.ok(&format!("{train} --model flat.toml --data animals.csv --label kind --out run"));
    assert_eq!(ModelSpec::read(&place.path("run/model.toml")).expect("a model").data.label, "kind");
    for data in ["animals.csv", "plain.csv", "gap.csv"] {
        place.ok(&format!("eval run --data {data} --device cpu"));
        place.ok(&format!("encode run {data} codes.npy --device cpu"));
    }
    place.ok("train --resume --out run --epochs 2");
    let classify = "classify run --data animals.csv --epochs 60 --set train.optimizer.adam.lr=0.05 --device cpu";
    place.ok(&format!("{classify} --out classes"));
    let said = place.ok("classify classes --predict --data animals.csv --device cpu");
    let expected: Vec<&str> = ANIMALS.into_iter().cycle().take(60).collect();
    assert_eq!(said.stdout.lines().collect::<Vec<_>>(), expected);
    assert!(said.stderr.contains("error 0.00 % (0 of 60)"), "{}", said.stderr);
    let said = place.ok("classify classes --predict --data plain.csv --device cpu");
    assert_eq!(said.stdout.lines().collect::<Vec<_>>(), expected[..12]);
    // A table is standardised for its classifier as for its model.
    place.ok(&format!("{train} --model table --data animals.csv --label kind --out table"));
    let classify = "classify table --data animals.csv --epochs 60 --set train.optimizer.adam.lr=0.02 --batch 6";
    let classify = classify.replace("--batch 6", "--set train.batch=6");
    place.ok(&format!("{classify} --device cpu --out table-classes"));
    let said = place.ok("classify table-classes --predict --data plain.csv --device cpu");
    assert_eq!(said.stdout.lines().collect::<Vec<_>>(), expected[..12]);
    // A model that is told the label knows it by its name.
    place.ok(&format!("{train} --model told.toml --data animals.csv --label kind --out told"));
    assert_eq!(ModelSpec::read(&place.path("told/model.toml")).expect("a model").data.classes, ["cat", "dog", "owl"]);
    place.ok("eval told --data animals.csv --device cpu");
    place.ok("generate told --label owl --n 3 --seed 1 --out owls.npy --device cpu");
    place.ok("generate told --n 9 --seed 1 --out all.npy --device cpu");
    let [owls, all] =
        ["owls.npy", "all.npy"].map(|name| pinhole::data::npy::read_npy(place.path(name)).expect("samples"));
    assert_eq!(owls.to_f32(), all.to_f32()[24..]);
    place.ok("reconstruct told plain.csv copies.csv --label dog --device cpu");
    let fails =
        |command: &str, expected: Expect| expected.assert_eq(&place.failure(&format!("{command} --device cpu")));
    fails("generate told --label bird", expect!["condition: there is no label bird; known are cat, dog, owl"]);
    fails(
        "eval told --data birds.csv",
        expect![[
            r#"data "birds.csv": has label bird, but the model's 3 are cat, dog, owl; change the model's `condition`, or give other data"#
        ]],
    );
    fails(
        "classify classes --predict --data birds.csv",
        expect![[
            r#"data "birds.csv": has label bird, but the classes are cat, dog, owl; give data of the same classes"#
        ]],
    );
    fails(
        "classify run --data gap.csv --out other",
        expect![[
            r#"data "gap.csv": its labels cannot be used: line 32, column 5 of the file is empty; give labels as text or whole numbers"#
        ]],
    );
    fails(
        "classify run --data plain.csv --out other",
        expect![[r#"plain.csv: has no column "kind", which is to be the label; known are a, b, c, d"#]],
    );
    fails(
        "train --model flat.toml --data animals.csv --label kinds --out other",
        expect![[r#"animals.csv: has no column "kinds", which is to be the label; did you mean "kind"?"#]],
    );
    fails(
        "train --model flat.toml --data animals.csv --out other",
        expect![[
            r#"animals.csv: line 2, column 5 is "owl", which is no number; remove or replace such values before training, or name the column by --label if it holds labels"#
        ]],
    );
    fails(
        "train --model dense --data digits:60 --label kind --out other",
        expect![[
            r#"data "digits:60": it is no CSV file, of which "kind" could be the column of labels; leave the label out, or give a CSV file"#
        ]],
    );
    fails(
        "train --model told.toml --data animals.csv --label kind --out other --set condition.labels.count=2",
        expect![[
            r#"condition.labels.count: data "animals.csv" has 3 labels, more than the model's 2; write { labels = 3 }"#
        ]],
    );
    place.ok(&format!("{train} --model table --data animals.csv --out kinds"));
    fails(
        "classify kinds --data animals.csv --label a --out other",
        expect![[
            r#"animals.csv: column "a" is the label, and is listed in data.columns too; take it out of one of the two"#
        ]],
    );
}
