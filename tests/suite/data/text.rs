//! Text files as data: how they are written, what is nearly a number, and what the program says when it decides by itself.

use crate::support::*;
use crate::temp::*;
use expect_test::{Expect, expect};
use pinhole::Result;
use pinhole::data::csv::read_csv;
use pinhole::data::{self, Column, Columns, Dataset, LabelColumn, Reading, TrainingSets};
use pinhole::model::ModelSpec;

/// Reads text as a table whose columns are not known.
fn table(place: &Place, text: &[u8]) -> Result<Dataset> {
    table_with(place, text, vec![], None)
}

fn table_with(place: &Place, text: &[u8], known: Vec<Column>, label: Option<LabelColumn>) -> Result<Dataset> {
    place.write("t.csv", text);
    let columns = Some(Columns { known, complete: false });
    let reading = Reading { columns, label, ..Reading::default() };
    Ok(data::load_with(&place.path("t.csv").display().to_string(), &reading)?.train)
}

/// What is said of a file, without the folder that it is in.
fn said_of<T>(place: &Place, result: Result<T>) -> String {
    let Err(error) = result else { panic!("nothing is refused") };
    error.to_string().replace(&format!("{}/", place.0.path().display()), "")
}

fn names(data: &Dataset) -> Vec<&str> {
    data.columns().expect("a table").iter().map(|column| &column.name[..]).collect()
}

#[test]
fn columns_that_are_nearly_numbers_are_refused() {
    let place = Place::new();
    let refused = |text: &str, expected: Expect| expected.assert_eq(&said_of(&place, table(&place, text.as_bytes())));
    refused(
        "age,city\n1.5,rome\n,oslo\n3,rome\n",
        expect![[
            r#"t.csv: line 3, column "age" is empty, beside 2 numbers; fill in the value or delete the line, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "age,city\n1.5,rome\nNA,oslo\n3,rome\n",
        expect![[
            r#"t.csv: line 3, column "age" is "NA", beside 2 numbers; fill in the value or delete the line, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "age\n1.5\nunknown\n3\n",
        expect![[
            r#"t.csv: line 3, column "age" is "unknown", beside 2 numbers; write a number or delete the line, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "age,b\n\"1,5\",1\n\"2,5\",2\n",
        expect![[
            r#"t.csv: line 2, column "age" is "1,5", in a column of numbers; write decimals behind a point and nothing between thousands, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "age,b\n\"1,234\",1\n\"12,345,678.5\",2\n3,3\n",
        expect![[
            r#"t.csv: line 2, column "age" is "1,234", beside 1 number; write decimals behind a point and nothing between thousands, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "age,b\n1 000,1\n12 000,2\n",
        expect![[
            r#"t.csv: line 2, column "age" is "1 000", in a column of numbers; write decimals behind a point and nothing between thousands, or take it for categories: [data] columns = [{ name = "age", categorical = true }]"#
        ]],
    );
    refused(
        "weight,b\n3 kg,1\n4.5 kg,2\n",
        expect![[
            r#"t.csv: line 2, column "weight" is "3 kg", in a column of numbers; write the number alone, or take it for categories: [data] columns = [{ name = "weight", categorical = true }]"#
        ]],
    );
    refused(
        "price\n$3\n€4.50\n",
        expect![[
            r#"t.csv: line 2, column "price" is "$3", in a column of numbers; write the number alone, or take it for categories: [data] columns = [{ name = "price", categorical = true }]"#
        ]],
    );
    refused(
        "share\n3%\n4.5 %\n",
        expect![[
            r#"t.csv: line 2, column "share" is "3%", in a column of numbers; write the number alone, or take it for categories: [data] columns = [{ name = "share", categorical = true }]"#
        ]],
    );
    refused(
        "a,b\n1 2,1\n3 4,2\n",
        expect![[
            r#"t.csv: line 2, column "a" is "1 2", in a column of numbers; write a comma between them, or take it for categories: [data] columns = [{ name = "a", categorical = true }]"#
        ]],
    );
    refused(
        "a,b\n1,1\ninf,2\n",
        expect![[
            r#"t.csv: line 3, column "a" is "inf", beside 1 number; replace it by a finite number or delete the line, or take it for categories: [data] columns = [{ name = "a", categorical = true }]"#
        ]],
    );
    refused(
        "a,b\n1,1\n1e400,2\n",
        expect![[
            r#"t.csv: line 3, column "a" is "1e400", beside 1 number; replace it by a finite number or delete the line, or take it for categories: [data] columns = [{ name = "a", categorical = true }]"#
        ]],
    );
    refused(
        "a,b\n1,1\n-nan,2\n",
        expect![[
            r#"t.csv: line 3, column "a" is "-nan", beside 1 number; fill in the value or delete the line, or take it for categories: [data] columns = [{ name = "a", categorical = true }]"#
        ]],
    );
    refused(
        "a,b\n,1\n,2\n",
        expect![[
            r#"t.csv: line 2, column "a" is empty, and all fields of the column are missing; delete the column, or take it for categories: [data] columns = [{ name = "a", categorical = true }]"#
        ]],
    );
    // Where commas are decimal points, a point may stand between thousands.
    refused(
        "a;b\n1,5;x\n1.234;y\n",
        expect![[
            r#"t.csv: line 3, column 1 is "1.234", a number with a point, but line 2, column 1 has one with a comma; write all decimals behind points, and nothing between thousands"#
        ]],
    );
    refused(
        "who age\nanna 5\nbert six\n",
        expect![
            "t.csv: has 2 words in its first line and in all others, with blanks between them; separate them by commas, semicolons or tabs"
        ],
    );
    refused(
        "5.1,3.5,setosa\n4.9,3.0,virginica\n",
        expect![[
            r#"t.csv: line 1, column 1 is "5.1", where the name of a column is expected; write the names of the columns in the first line"#
        ]],
    );
    refused(
        "39,state,13\n50,self,12\n",
        expect![[
            r#"t.csv: line 1, column 3 is "13", where the name of a column is expected; write the names of the columns in the first line"#
        ]],
    );
    refused(
        "\"\",mpg\nMazda,21\nVolvo,22\n",
        expect![[
            r#"t.csv: column 1 has no name in the first line, and line 2 has "Mazda" there; name it in the first line, or write the file without its index (pandas: index=False, R: row.names=FALSE)"#
        ]],
    );
    refused(
        "a,a\n1,2\n",
        expect![[r#"t.csv: has two columns "a"; give each column a name of its own in the first line"#]],
    );
    refused(
        "a,,b\n1,2,3\n",
        expect!["t.csv: column 2 has no name in the first line; give each column a name of its own in the first line"],
    );
}

#[test]
fn columns_of_texts_and_codes_are_categories() -> Result<()> {
    let place = Place::new();
    let categories = |text: &str| -> Result<Vec<String>> {
        let data = table(&place, text.as_bytes())?;
        Ok(data.columns().expect("a table")[0].categories.clone())
    };
    assert_eq!(categories("a,b\nA1,1\nB2,2\n")?, ["A1", "B2"]);
    assert_eq!(categories("a\n1st\n2nd\n3rd\n")?, ["1st", "2nd", "3rd"]);
    assert_eq!(categories("a\n10-19\n20-29\n")?, ["10-19", "20-29"]);
    assert_eq!(categories("a\n2020-01-01\n12.05.2021\n")?, ["12.05.2021", "2020-01-01"]);
    assert_eq!(categories("a\n12\nx\ny\n")?, ["12", "x", "y"], "fewer numbers than texts");
    assert_eq!(categories("a,b\nx,1\n,2\nNA,3\n")?, ["", "NA", "x"], "what is missing is a category");
    // What the model calls categories are categories, whatever they look like.
    let declared = Column { name: "a".to_owned(), categorical: true, ..Column::default() };
    let data = table_with(&place, b"a,b\n\"1,5\",1\n,2\ninf,3\n", vec![declared], None)?;
    assert_eq!(data.columns().expect("a table")[0].categories, ["", "1,5", "inf"]);
    Ok(())
}

/// Means and deviations are those of the samples to train on; categories are those of the whole file.
#[test]
fn statistics_are_of_training_rows_only() -> Result<()> {
    let place = Place::new();
    let lines: String =
        (0..40).map(|line| format!("{},c{line}\n", if line == 7 { 1e30 } else { f64::from(line) })).collect();
    let all = table(&place, format!("n,c\n{lines}").as_bytes())?;
    let raw = |category: f32| if category == 7.0 { 1e30 } else { f64::from(category) };
    let place_of =
        |data: &Dataset| -> Vec<f32> { data.rows_f32(0..data.len()).chunks(2).map(|line| line[1]).collect() };
    let sorted = all.columns().expect("a table")[1].categories.clone();
    let number = |place: f32| raw(sorted[place as usize][1..].parse().expect("a number"));
    // A seed that sets the line of 1e30 aside.
    let mut spec = ModelSpec::resolve("table")?;
    let split = |spec: &ModelSpec| {
        let splits = data::Splits { train: all.clone(), test: None };
        splits.for_training(spec.train.validation, spec.train.seed, None)
    };
    let aside = |data: &Dataset| place_of(data).into_iter().any(|place| number(place) == 1e30);
    (spec.train.validation, spec.train.seed) = (
        0.25,
        (0..)
            .find(|seed| {
                spec.train.seed = *seed;
                split(&spec).is_ok_and(|sets| sets.validation.is_some_and(|held| aside(&held)))
            })
            .expect("a seed"),
    );
    let TrainingSets { train, validation: held } = split(&spec)?;
    let held = held.expect("samples set aside");
    assert!(aside(&held) && !aside(&train) && held.len() == 10);
    let numbers: Vec<f64> = place_of(&train).into_iter().map(number).collect();
    let mean = numbers.iter().sum::<f64>() / 30.0;
    let deviation = (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 30.0).sqrt();
    for part in [&train, &held] {
        let column = &part.columns().expect("a table")[0];
        expect_close(
            "mean and deviation",
            &[column.mean, column.deviation],
            &[mean, deviation],
            1e-12,
            Scale::Relative,
        );
        let values: Vec<f64> = part.rows_f32(0..part.len()).chunks(2).map(|line| f64::from(line[0])).collect();
        let expected: Vec<f64> = place_of(part).into_iter().map(|place| (number(place) - mean) / deviation).collect();
        expect_close("samples", &values, &expected, 1e-6, Scale::Relative);
        assert_eq!(part.columns().expect("a table")[1].categories.len(), 40);
    }
    spec.fit_to(&train)?;
    assert_eq!(spec.data.columns[0].mean, train.columns().expect("a table")[0].mean);
    // Without samples set aside nothing changes.
    spec.train.validation = 0.0;
    assert_eq!(split(&spec)?.train.rows_f32(0..40), all.rows_f32(0..40));
    Ok(())
}

#[test]
fn texts_are_read_in_what_they_are_written_in() -> Result<()> {
    let place = Place::new();
    let text = "stadt,größe\nköln,1.5\nmünchen,2.5\n";
    let utf_16 = |big: bool| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let latin_1: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
    for bytes in [
        text.as_bytes().to_vec(),
        format!("\u{feff}{text}").into_bytes(),
        text.replace('\n', "\r\n").into_bytes(),
        text.replace('\n', "\r").into_bytes(),
        text.replace(',', ";").replace('.', ",").into_bytes(),
        text.replace(',', "\t").replace('.', ",").into_bytes(),
        text.replace(',', "|").into_bytes(),
        text.replace(',', "::").into_bytes(),
        format!("{text},\n,,\n").replace(",,", ",").into_bytes(),
        utf_16(false),
        utf_16(true),
        latin_1,
    ] {
        let data = table(&place, &bytes)?;
        assert_eq!(names(&data), ["stadt", "größe"], "{bytes:?}");
        assert_eq!(data.columns().expect("a table")[0].categories, ["köln", "münchen"]);
        assert_eq!(data.rows_f32(0..2), [0.0, -1.0, 1.0, 1.0]);
    }
    let long: String = (0..9000).map(|line| format!("ä{line:05}\u{1f600},{line}\n")).collect();
    let units = std::iter::once(0xfeff).chain("name,n\n".encode_utf16()).chain(long.encode_utf16());
    let long: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    let known = Column { name: "n".to_owned(), ..Column::default() };
    assert_eq!(
        said_of(&place, table_with(&place, &long, vec![known], None)),
        "t.csv: column \"name\" has more than 4096 categories; leave it out, or make all its fields numbers"
    );
    let refused = |bytes: &[u8], expected: Expect| expected.assert_eq(&said_of(&place, table(&place, bytes)));
    refused(
        &utf_16(false)[2..],
        expect![
            "t.csv: has bytes of 0: it is no text, or UTF-16 without its byte order mark; save it as UTF-8 text, or give another file"
        ],
    );
    refused(
        &utf_16(false)[..31],
        expect!["t.csv: ends within a character of UTF-16; save it as UTF-8 text, or give another file"],
    );
    refused(
        &[0xff, 0xfe, 0, 0xdc, b'\n', 0],
        expect!["t.csv: is no valid UTF-16 text; save it as UTF-8 text, or give another file"],
    );
    // A quote that is left open takes no more memory than the longest field.
    refused(
        &[&b"a,b\n1,\""[..], &b"x\"\"".repeat(60_000)].concat(),
        expect!["t.csv: line 2, column 2 is longer than 65536 bytes; close its quote"],
    );
    refused(
        &[&b"a,b\n1,"[..], &b"x".repeat(100_000)].concat(),
        expect!["t.csv: line 2, column 2 is longer than 65536 bytes; give a CSV file of numbers"],
    );
    refused(
        b"a,b\n1,\"x\" y\n",
        expect!["t.csv: line 2, column 2 has something behind its closing quote; write a quote within quotes twice"],
    );
    Ok(())
}

#[test]
fn fields_in_quotes_may_have_line_breaks() -> Result<()> {
    let place = Place::new();
    let text = "\"full\nname\",size\n\"Ada\n\"\"L.\"\"\n\",1\n\n\"Bob\",2\n\",\n;\",3\n";
    let categories = [",\n;".to_owned(), "Ada\n\"L.\"\n".to_owned(), "Bob".to_owned()];
    for text in [text.to_owned(), text.replace('\n', "\r\n"), text.replace('\n', "\r")] {
        let data = table(&place, text.as_bytes())?;
        assert_eq!((names(&data), data.len()), (vec!["full\nname", "size"], 3), "{text:?}");
        assert_eq!(data.columns().expect("a table")[0].categories, categories, "{text:?}");
    }
    // A record is named by its first line, and lines within it are counted.
    let refused = |text: &str, expected: Expect| expected.assert_eq(&said_of(&place, table(&place, text.as_bytes())));
    refused(
        "a,b\n\"x\n\ny\",1\n\"z\n\",1,2\n",
        expect!["t.csv: line 5 has 3 fields, but the header has 2; give every line as many"],
    );
    refused("a,b\n\"x\ny\",\"1\n2\n3\n", expect!["t.csv: line 3, column 2 has a quote that is not closed; close it"]);
    let label = LabelColumn { name: "kind".to_owned(), optional: false };
    let error = table_with(&place, b"\"the\nkind\",size\nx,1\n", vec![], Some(label));
    expect![[r#"t.csv: has no column "kind", which is to be the label; known are the kind, size"#]]
        .assert_eq(&said_of(&place, error));
    Ok(())
}

#[test]
fn csv_of_numbers_is_read_as_numpy_and_pandas_write_it() {
    let place = Place::new();
    let path = place.path("n.csv");
    let read = |text: &str| {
        place.write("n.csv", text.as_bytes());
        read_csv(&path)
    };
    let reads = |text: &str, columns: usize, values: &[f32]| {
        let table = read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!((table.columns, &table.values[..]), (columns, values), "{text:?}");
    };
    reads("a b c\n1.5e0 2 3\n4 5 6\n", 3, &[1.5, 2.0, 3.0, 4.0, 5.0, 6.0]);
    reads("# a b\n  1  2 \n 3\t4\n".replace('\t', " ").as_str(), 2, &[1.0, 2.0, 3.0, 4.0]);
    reads("1,2\n,\n3,4\n,\n", 2, &[1.0, 2.0, 3.0, 4.0]);
    reads(",a,b\n0,1,2\n1,3,4\n", 2, &[1.0, 2.0, 3.0, 4.0]);
    reads(",0,1\n7,1,2\n3,3,4\n", 2, &[1.0, 2.0, 3.0, 4.0]);
    reads("0,1\n0.5,2\n3,4\n", 2, &[0.5, 2.0, 3.0, 4.0]);
    reads("0,1,2,3,4,5,6,7,8,9\n1,1,1,1,1,1,1,1,1,1\n", 10, &[1.0; 10]);
    // Few whole numbers among others may be a sample.
    reads("0,1\n2,3\n", 2, &[0.0, 1.0, 2.0, 3.0]);
    let refused = |text: &str, expected: Expect| expected.assert_eq(&said_of(&place, read(text)));
    refused("1,2\n3,\n", expect!["n.csv: line 2, column 2 is empty; remove or replace such values before training"]);
    refused("1,2\n,3\n", expect!["n.csv: line 2, column 1 is empty; remove or replace such values before training"]);
    refused(
        "\"1,5\",2\n",
        expect![[
            r#"n.csv: line 1, column 1 is "1,5", which is no number; write decimals behind a point and nothing between thousands"#
        ]],
    );
    refused(
        "1;2\n1,5;2.5\n",
        expect![[
            r#"n.csv: line 2, column 2 is "2.5", a number with a point, but line 2, column 1 has one with a comma; write all decimals behind points, and nothing between thousands"#
        ]],
    );
    refused("1,2 kg\n", expect![[r#"n.csv: line 1, column 2 is "2 kg", which is no number; write the number alone"#]]);
    refused("1,$2\n", expect![[r#"n.csv: line 1, column 2 is "$2", which is no number; write the number alone"#]]);
    refused(
        "1 2\n3 x\n",
        expect![[r#"n.csv: line 1, column 1 is "1 2", which is no number; write a comma between them"#]],
    );
    refused(
        ",a\nanna,1\n",
        expect![[
            r#"n.csv: line 2, column 1 has no name and is "anna"; name it in the first line, or write the file without its index (pandas: index=False, R: row.names=FALSE)"#
        ]],
    );
}

/// What the program decides by itself it says in a line, once.
#[test]
fn what_is_decided_is_said() {
    let place = Place::new();
    let numbers = "input = [2]\nloss = \"mse\"\nencoder = [{ linear = 2 }]\ndecoder = [{ linear = 2 }]\n[train]\nbatch = 4\nepochs = 1\n";
    place.write("numbers.toml", numbers.as_bytes());
    let said = |model: &str, text: &[u8], expected: Expect| {
        place.write("d.csv", text);
        let command = format!("train --model {model} --data d.csv --batch 4 --epochs 1 --device cpu --out run");
        let said = place.ok(&command).stderr;
        let lines = said.lines().filter(|line| !line.starts_with("training ") && !line.starts_with("model, "));
        expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
        std::fs::remove_dir_all(place.path("run")).expect("a run");
    };
    let lines = |line: &str| line.repeat(10).into_bytes();
    said(
        "table",
        &[b"a,b\n".to_vec(), lines("1,x\n"), b",\n,\n".to_vec()].concat(),
        expect!["d.csv: 2 lines, of which line 12 is the first, hold nothing but separators and are left out"],
    );
    said(
        "table",
        &[b"a b\n".to_vec(), lines("1 2\n")].concat(),
        expect!["d.csv: is read with blanks between the numbers of a line"],
    );
    said(
        "table",
        &[b"a\tb\n".to_vec(), lines("1,5\t2\n")].concat(),
        expect!["d.csv: commas are read as decimal points, in line 2, column 1 first"],
    );
    said(
        "table",
        &[b",a,b\n".to_vec(), lines("7,1,2\n")].concat(),
        expect!["d.csv: the first column has no name and is left out: it holds the numbers of the lines"],
    );
    said(
        "table",
        b"Unnamed: 0,a\n0,1\n1,2\n2,3\n3,4\n4,5\n",
        expect![[r#"d.csv: the column "Unnamed: 0" is left out: it holds the numbers of the lines"#]],
    );
    said(
        "table",
        &[b"a,b\n".to_vec(), lines("1,x\n"), b"2,\n3,\n".to_vec()].concat(),
        expect![[r#"d.csv: missing fields count as categories: 2 of column "b" (line 12 is empty)"#]],
    );
    said(
        "table",
        &[b"\xe4,b\n".to_vec(), b"1,\x80\n".repeat(10)].concat(),
        expect!["d.csv: line 1 is not UTF-8: read as Windows-1252 (Latin-1); save it as UTF-8 if names look wrong"],
    );
    said(
        "numbers.toml",
        &[b"0,1\n".to_vec(), lines("1.5,2\n")].concat(),
        expect!["d.csv: the first line, 0 to 1, is taken for the header that pandas gives to columns without names"],
    );
    said(
        "numbers.toml",
        &[b"0,1\n".to_vec(), lines("1,2\n")].concat(),
        expect!["d.csv: the first line, 0 to 1, is taken for a sample; delete it if it is a header"],
    );
    said(
        "numbers.toml",
        &[b",0,1\n".to_vec(), lines("7,1,2\n")].concat(),
        expect![[r#"
        d.csv: the first line, 0 to 1, is taken for the header that pandas gives to columns without names
        d.csv: the first column has no name and is left out: it holds the numbers of the lines"#]],
    );
    said("numbers.toml", &[b"0.5,1\n".to_vec(), lines("1,2\n")].concat(), expect![[""]]);
}

#[test]
fn ratings_of_movielens_are_read_in_each_of_its_formats() -> Result<()> {
    let place = Place::new();
    for text in [
        "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
        "userId,movieId,rating,timestamp\n1,1193,5.0,978300760\n1,661,3.0,978302109\n2,1193,4.0,978298413\n",
        "1\t1193\t5\t978300760\n1\t661\t3\t978302109\n2\t1193\t4\t978298413\n",
        "1 1193 5 978300760\n1 661 3 978302109\n2 1193 4 978298413\n",
        ",userId,movieId,rating\n0,1,1193,5.0\n1,1,661,3.0\n2,2,1193,4.0\n,,,\n",
    ] {
        place.write("r.dat", text.as_bytes());
        let loaded = data::load(&format!("ratings:{}", place.path("r.dat").display()))?.train;
        let rows = loaded.sparse().expect("sparse data");
        assert_eq!([rows.column_name(0), rows.column_name(1)], ["661", "1193"], "{text}");
        assert_eq!((rows.row(0), rows.row(1)), ((&[0, 1][..], &[3.0, 5.0][..]), (&[1][..], &[4.0][..])), "{text}");
    }
    place.write("r.dat", b"anna,a,1\nanna,,2\n");
    let refused = data::load(&format!("ratings:{}", place.path("r.dat").display()));
    assert_eq!(
        said_of(&place, refused),
        "r.dat: line 2, column 2 is empty; give lines of user,item or user,item,value"
    );
    Ok(())
}
