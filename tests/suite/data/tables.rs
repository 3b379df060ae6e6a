//! Tables: what columns are found to hold, embeddings and the loss of columns against PyTorch, and the program from file to
//! file.

use crate::support::*;
use crate::temp::*;
use pinhole::data::{self, Column, Columns, Reading};
use pinhole::model::{ModelSpec, Network};
use pinhole::nn::Context;
use pinhole::plan::LayoutEntry;
use pinhole::tensor::{DType, Tensor, Values};
use pinhole::{Autoencoder, Device, Result};
use serde_json::Value as Json;

const PEOPLE: &str = "name,age,work,year\nanna,30,\"a, b\",1999\nbert,50,c,2000\n\ncara,40,c,1999\n";

fn reading(known: Vec<Column>, complete: bool) -> Reading {
    Reading { columns: Some(Columns { known, complete }), ..Reading::default() }
}

#[test]
fn columns_are_what_their_fields_are() -> Result<()> {
    let place = Place::new();
    place.write("people.csv", PEOPLE.as_bytes());
    let path = place.path("people.csv").display().to_string();
    let year = Column { name: "year".to_owned(), categorical: true, size: 3, ..Column::default() };
    let table = data::load_with(&path, &reading(vec![year], false))?.train;
    let columns = table.columns().expect("columns");
    let names = |column: &Column| column.categories.join("/");
    assert_eq!(columns.iter().map(names).collect::<Vec<_>>(), ["anna/bert/cara", "", "a, b/c", "1999/2000"]);
    assert_eq!(columns.iter().map(|column| column.size).collect::<Vec<_>>(), [2, 0, 1, 3]);
    assert_eq!((columns[1].mean, columns[1].deviation), (40.0, (200.0f64 / 3.0).sqrt()));
    let ten = (10.0 / (200.0f64 / 3.0).sqrt()) as f32;
    assert_eq!(table.rows_f32(0..3), [0.0, -ten, 0.0, 0.0, 1.0, ten, 1.0, 1.0, 2.0, 0.0, 1.0, 0.0]);
    // Later files have the columns in any order, and others besides.
    place.write("more.csv", b"work,other,year,age,name\nc,x,2000,50,cara\n");
    let more = place.path("more.csv").display().to_string();
    let later = data::load_with(&more, &reading(columns.to_vec(), true))?.train;
    assert_eq!(later.rows_f32(0..1), [2.0, ten, 1.0, 1.0]);
    assert_eq!(columns[2].text(0.0), "\"a, b\"");
    assert_eq!(columns[1].text(ten), "50");
    // Numbers that differ little for their size are not rounded to one, and small ones keep their digits.
    let times = Column { mean: 1_700_000_155.0, deviation: 90.0, ..Column::default() };
    assert_eq!(times.text(((1_700_000_003.0 - times.mean) / 90.0) as f32), "1700000003");
    for (mean, deviation) in [(40.4, 9.9), (20.3, 9.7), (5.0, 99.0)] {
        let column = Column { mean, deviation, ..Column::default() };
        for whole in -20..130 {
            let value = ((f64::from(whole) - mean) / deviation) as f32;
            assert_eq!(column.text(value), whole.to_string(), "{mean} {deviation}");
        }
    }
    let small = Column { mean: 2.0e-7, deviation: 3.0e-8, ..Column::default() };
    assert_eq!(small.text(0.5), "0.000000215");
    assert_eq!(Column { deviation: 4.0e9, ..Column::default() }.text(-0.0), "0");
    // Where semicolons separate fields, commas may stand before decimals.
    place.write("comma.csv", b"a;b\n1,5;x\n2,5;y\n");
    let comma = data::load_with(&place.path("comma.csv").display().to_string(), &reading(vec![], false))?.train;
    let columns_of = comma.columns().expect("columns");
    assert_eq!((columns_of[0].is_categorical(), columns_of[0].mean, columns_of[0].deviation), (false, 2.0, 0.5));
    assert_eq!(comma.rows_f32(0..2), [-1.0, 0.0, 1.0, 1.0]);
    for (text, expected) in [
        ("work,year,age\nc,2000,50\n", "has no column \"name\""),
        ("name,age,work,year\nanna,x,c,1999\n", "line 2, column \"age\" is \"x\", which is no finite number"),
        ("name,age,work,year\nanna,1,d,1999\n", "line 2, column \"work\" is \"d\", none of its 2 categories"),
        ("name,age,work,year\nanna,1,c\n", "line 2 has 3 fields, but the header has 4"),
        ("name,age,age,year\nanna,1,1,c\n", "has two columns \"age\""),
        ("name,,work,year\nanna,1,1,c\n", "has no column \"age\"; known are name, work, year"),
        ("name,age,work,year\n", "has no line below its header"),
    ] {
        place.write("bad.csv", text.as_bytes());
        let bad = place.path("bad.csv").display().to_string();
        let error = data::load_with(&bad, &reading(columns.to_vec(), true)).expect_err(text).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
    }
    Ok(())
}

const SMALL_TABLE: &str = "input = [3]\nloss = \"columns\"\nencoder = [{ linear = 5 }, \"tanh\"]\ndecoder = [{ linear = 8 }]\n\
    [data]\ncolumns = [{ name = \"a\", categories = [\"x\", \"y\", \"z\"], size = 2 }, { name = \"n\", mean = -3.5 }, \
    { name = \"b\", categories = [\"1\", \"2\", \"3\", \"4\"], size = 3 }]\n";

/// Loss, gradients and output of the same weights.
#[test]
fn tables_are_embedded_and_judged_as_by_pytorch() -> Result<()> {
    let theirs = json(&fixture("table.json"));
    let network = Network::new(spec(SMALL_TABLE))?;
    let entries = network.layout().entries();
    let lines = numbers(&theirs["lines"]);
    for device in all_devices() {
        let mut graph = Context::new();
        let x = graph.input("x", [6, 3], DType::Float)?;
        let code = network.encode(&mut graph, x)?;
        let decoded = network.decode(&mut graph, code)?;
        let loss = network.loss(&mut graph, decoded, x)?;
        let mut inputs = vec![("x", Tensor::new([6, 3], Values::F64(lines.clone()))?)];
        let mut parameters = Vec::new();
        for LayoutEntry { name, shape, .. } in entries {
            let values = numbers(&theirs["parameters"][name]);
            inputs.push((name, Tensor::new(shape.clone(), Values::F64(values))?));
            parameters.push(graph.parameter(name, shape.clone())?);
        }
        assert_eq!(parameters.len(), theirs["parameters"].as_object().expect("an object").len());
        let mut outputs = vec![loss, decoded.output];
        outputs.extend(graph.gradients(loss, &parameters)?);
        let results: Vec<Vec<f64>> = device.compute(&graph, &outputs, &inputs)?.iter().map(Tensor::to_f64).collect();
        let tolerance = if matches!(device, Device::CpuF64) { 1e-13 } else { 2e-6 };
        let expected = theirs["loss"].as_f64().expect("a number");
        expect_close("the loss", &results[0], &[expected], tolerance, Scale::Relative);
        expect_close("the output", &results[1], &numbers(&theirs["output"]), tolerance, Scale::Largest);
        for (LayoutEntry { name, .. }, gradient) in entries.iter().zip(&results[2..]) {
            let what = format!("gradient of {name} on {}", device.name());
            expect_close(&what, gradient, &numbers(&theirs["gradients"][name]), tolerance, Scale::Largest);
        }
    }
    Ok(())
}

#[test]
fn tables_that_fit_no_model_are_refused() {
    let refused = |from: &str, to: &str| {
        assert!(SMALL_TABLE.contains(from), "{from}");
        let error = ModelSpec::parse(&SMALL_TABLE.replacen(from, to, 1), "m.toml".as_ref()).expect_err(to).to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let expect = |error: String, part: &str| assert!(error.contains(part), "{error}");
    expect(
        refused("linear = 8", "linear = 3"),
        "the decoder's output is [3], its columns take 8 numbers; write { linear = 8 }",
    );
    expect(
        refused("\"columns\"", "\"mse\""),
        "columns of a table are reconstructed by the loss \"columns\", not by \"mse\"",
    );
    expect(refused("input = [3]", "input = [4]"), "the input is [4], but data.columns has 3; write sets_input = true");
    expect(refused("[data]", "corruption = { masking = 0.1 }\n[data]"), "corruption: categories are no numbers");
    expect(refused("[data]", "penalties = { contractive = { weight = 0.1 } }\n[data]"), "codes have no derivative");
    expect(refused("\"y\", \"z\"", "\"y\", \"x\""), "data.columns.0.categories: \"x\" is listed twice");
    expect(refused("size = 2", "size = 0"), "its categories and their size are not known; list them with a size");
    expect(refused("name = \"n\"", "name = \"a\""), "data.columns.1.name: \"a\" is no name of one column");
    expect(refused("mean = -3.5", "deviation = 0.0"), "data.columns.1.deviation: expects a positive number, got 0.0");
    let read = spec(SMALL_TABLE);
    assert_eq!(spec(&read.to_toml()), read, "what is written reads back the same");
}

/// A table whose columns follow from one hidden cause, from file to file.
#[test]
fn the_program_reconstructs_tables() {
    let place = Place::new();
    let mut text = String::from("city,size,code,rain\n");
    for line in 0..300 {
        let kind = (line * 7 + line / 5) % 3;
        let city = ["rome", "\"paris, france\"", "oslo"][kind];
        text += &format!("{city},{},{},{}\n", 100 * kind + line % 7, 4 + kind, ["no", "no", "yes"][kind]);
    }
    place.write("all.csv", text.as_bytes());
    let file = ModelSpec::resolve("table").expect("a preset").to_toml();
    let file = file.replace("columns = []", "columns = [{ name = \"code\", categorical = true, size = 3 }]");
    place.write("mine.toml", file.as_bytes());
    place.ok("train --model mine.toml --data all.csv --device cpu --out run --latent 3 --batch 30 --lr 0.01");
    let spec = ModelSpec::read(&place.path("run/model.toml")).expect("a model file");
    assert!(!spec.data.sets_input && spec.input[..] == [4]);
    assert_eq!(spec.data.categories(), [3, 0, 3, 2]);
    assert_eq!((spec.data.columns[0].size, spec.data.columns[2].size), (2, 3));
    let said = place.ok("eval run --data all.csv --device cpu --json");
    let line: Json = serde_json::from_str(&said.stdout).expect("JSON");
    let part = |key: &str| line[key].as_f64().or(line["parts"][key].as_f64()).unwrap_or(f64::NAN);
    for column in ["city", "code", "rain"] {
        assert!(part(&format!("accuracy_{column}")) > 0.95, "{}", said.stdout);
    }
    place.ok("reconstruct run all.csv copies.csv --device cpu");
    let copies = String::from_utf8(place.read("copies.csv")).expect("text");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<String>>();
    assert_eq!((lines(&copies)[0].as_str(), lines(&copies).len()), ("city,size,code,rain", 301));
    let alike = |a: &String, b: &String| {
        let city = |line: &str| line.split(',').next().map(str::to_owned);
        city(a) == city(b) && a.rsplit(',').take(2).eq(b.rsplit(',').take(2))
    };
    let right = lines(&copies).iter().zip(&lines(&text)).filter(|(a, b)| alike(a, b)).count();
    assert!(right > 285, "{right} of 301\n{copies}");
    let size = lines(&copies)[3].rsplit(',').nth(2).and_then(|field| field.parse::<f64>().ok()).expect("a number");
    let wanted = lines(&text)[3].rsplit(',').nth(2).and_then(|field| field.parse::<f64>().ok()).expect("a number");
    assert!((size - wanted).abs() < 30.0, "{size} for {wanted}");
    // The table of the reconstructions is one that the model reads again.
    place.ok("eval run --data copies.csv --device cpu");
    place.ok("train --resume --out run --epochs 21 --device cpu");
    place.write("unknown.csv", b"city,size,code,rain\nbonn,3,4,no\n");
    place.fail(&[(
        "eval run --data unknown.csv --device cpu",
        "unknown.csv: line 2, column \"city\" is \"bonn\", none of its 3 categories; known are oslo, paris, france, rome",
    )]);
}

/// A model of tables takes other data as columns of numbers, and gives the same on every device.
#[test]
fn tables_train_alike_on_every_device() -> Result<()> {
    let place = Place::new();
    place.write("people.csv", PEOPLE.as_bytes());
    let mut spec = ModelSpec::resolve("table")?;
    let table = data::load_with(&place.path("people.csv").display().to_string(), &spec.reading())?.train;
    spec.fit_to(&table)?;
    (spec.train.batch, spec.train.epochs) = (2, 40);
    let network = Network::new(spec.clone())?;
    let on = |device: &Device| train(&network, device, &table, Some(&table), Default::default()).losses;
    let exact = on(&Device::CpuF64);
    expect_close("losses on the CPU", &on(&Device::Cpu), &exact, 1e-4, Scale::Relative);
    expect_close("losses on the GPU", &on(&gpu()), &exact, 1e-4, Scale::Relative);
    assert!(exact.last() < exact.first());
    let autoencoder = Autoencoder::new(spec, Device::Cpu)?;
    assert_eq!(autoencoder.column_accuracy(&table)?.len(), 2);
    Ok(())
}
