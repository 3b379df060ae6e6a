//! Recommending: sparse data, its files, rankings and their quality, and the models that make them.

use crate::support::*;
use crate::temp::*;
use pinhole::data::{self, Dataset, Reading, SparseRows};
use pinhole::model::ModelSpec;
use pinhole::nn::{self, Context, Layer};
use pinhole::task::{best_items, ndcg, recall};
use pinhole::tensor::{DType, Tensor};
use pinhole::train::Options;
use pinhole::{Autoencoder, Device, Result};
use serde_json::Value as Json;

const RATINGS: &[u8] = b"userId,movieId,rating,timestamp\n10,300,4.5,1\n9,20,1,2\n10,20,2,3\n10,300,0.5,4\n9,5,0,5\n";

/// By hand, from the definitions in Liang et al.
#[test]
fn recall_and_ndcg_are_those_of_the_paper() {
    let (ranking, held_out) = ([3, 1, 4, 0, 2], [1, 2, 9]);
    let expect = |actual: f64, expected: f64| expect_close("quality", &[actual], &[expected], 1e-12, Scale::Absolute);
    expect(recall(&ranking, &held_out, 1), 0.0);
    expect(recall(&ranking, &held_out, 2), 1.0 / 2.0);
    expect(recall(&ranking, &held_out, 5), 2.0 / 3.0);
    expect(recall(&ranking, &held_out, 100), 2.0 / 3.0);
    expect(recall(&[1, 9, 2], &held_out, 2), 1.0);
    // Places count 1 / log2 of 2, 3, 4, 5 and 6; the items stand at the second and the fifth.
    let [second, third, fifth] = [0.630_929_753_571_457_4, 0.5, 0.386_852_807_234_541_6];
    expect(ndcg(&ranking, &held_out, 1), 0.0);
    expect(ndcg(&ranking, &held_out, 2), second / (1.0 + second));
    expect(ndcg(&ranking, &held_out, 5), (second + fifth) / (1.0 + second + third));
    expect(ndcg(&[2, 9, 1, 0], &held_out, 100), 1.0);
    expect(ndcg(&ranking, &[], 5), 0.0);
}

#[test]
fn rankings_leave_out_what_is_there() {
    let scores = [0.5, -1.0, 2.0, 0.5, 3.0, f32::MIN];
    assert_eq!(best_items(&scores, &[], 3), [4, 2, 0]);
    assert_eq!(best_items(&scores, &[2, 4], 10), [0, 3, 1, 5], "of equal scores the first item comes first");
    assert_eq!(best_items(&scores, &[0, 4], 2), [2, 3]);
}

#[test]
fn ratings_are_read_from_lines() -> Result<()> {
    let place = Place::new();
    place.write("ratings.csv", RATINGS);
    let source = format!("ratings:{}", place.path("ratings.csv").display());
    let loaded = data::load(&source)?;
    assert!(loaded.test.is_none());
    let rows = loaded.train.sparse().expect("sparse data");
    // Numbers are ordered as numbers, values of one item are added up, and what counts nothing is nothing.
    assert_eq!((rows.len(), rows.columns()), (2, 3));
    assert_eq!([rows.row_name(0), rows.row_name(1)], ["9", "10"]);
    assert_eq!([0, 1, 2].map(|item| rows.column_name(item)), ["5", "20", "300"]);
    assert_eq!(rows.row(0), (&[1][..], &[1.0][..]));
    assert_eq!(rows.row(1), (&[1, 2][..], &[2.0, 5.0][..]));
    assert_eq!(rows.column_counts(), [0, 2, 1]);
    assert_eq!(loaded.train.read_f32(0..2)?, [0.0, 1.0, 0.0, 0.0, 2.0, 5.0]);
    // Of a model's items the others are left out.
    let items = Some(std::sync::Arc::new(vec!["300".to_owned(), "7".to_owned()]));
    let known = data::load_with(&source, &Reading { items, ..Reading::default() })?.train;
    assert_eq!(known.read_f32(0..2)?, [0.0, 0.0, 5.0, 0.0]);
    // Names, without a header and without values.
    place.write("names.tsv", "b\t\"x \"\"1\"\"\"\na\ty\nb\ty\n".as_bytes());
    let loaded = data::load(&format!("ratings:{}", place.path("names.tsv").display()))?.train;
    let rows = loaded.sparse().expect("sparse data");
    assert_eq!([rows.row_name(0), rows.column_name(0), rows.column_name(1)], ["a", "x \"1\"", "y"]);
    assert_eq!(loaded.read_f32(0..2)?, [0.0, 1.0, 1.0, 1.0]);
    // A first line is one of names only where it has some.
    for (text, users, items) in [
        ("user0,a\nuser1,b\n", 2, 2),
        ("user0,item0\nuser1,item1\n", 2, 2),
        ("17,book,3\n18,film,2\n", 2, 2),
        ("anna,book\nbert,film\n", 2, 2),
        ("user,what\n1,2\n", 1, 1),
        ("user_id:token\titem_id:token\n1\t2\n", 1, 1),
        ("customer_key,product_key\n1,2\n", 1, 1),
        ("customer,product\n1,2\n3,4\n", 2, 2),
        ("userId,movieId,rating,timestamp\n1,2,3.5,9\n", 1, 1),
        ("who,what,how_often\n1,2,3\n", 1, 1),
        ("user-1;a;1,5\nuser-2;a;2,5\n", 2, 1),
    ] {
        place.write("first.csv", text.as_bytes());
        let loaded = data::load(&format!("ratings:{}", place.path("first.csv").display()))?.train;
        let rows = loaded.sparse().expect("sparse data");
        assert_eq!((rows.len(), rows.columns()), (users, items), "{text}");
    }
    for (text, expected) in [
        ("a,b\nc\n", "line 2 has 1 fields"),
        ("u,i\nb,c,-1\n", "line 2, column 3 is \"-1\", which is no number of at least 0"),
        ("user,item,rating\n", "holds no line of user and item"),
        ("a,\"b\nc,d\n", "line 1, column 2 has a quote that is not closed in its line"),
    ] {
        place.write("bad.csv", text.as_bytes());
        let error = data::load(&format!("ratings:{}", place.path("bad.csv").display())).expect_err(text).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
    }
    let error = data::load("ratings:0").expect_err("no users").to_string();
    assert!(error.starts_with("data \"ratings:0\": it says no usable number of users"), "{error}");
    Ok(())
}

#[test]
fn sparse_matrices_of_scipy_are_read() -> Result<()> {
    let data = data::load(&fixture("sparse.npz").display().to_string())?.train;
    let rows = data.sparse().expect("sparse data");
    assert_eq!((rows.len(), rows.columns()), (4, 6));
    // As `make_arrays.py` has it, each row's columns in no order, and one of them twice.
    assert_eq!(rows.row(0), (&[1, 4][..], &[2.0, 1.5][..]));
    assert_eq!(rows.row(1), (&[][..], &[][..]));
    assert_eq!(rows.row(2), (&[0, 2, 5][..], &[1.0, 4.0, 3.0][..]));
    assert_eq!(data.take(3).read_f32(2..3)?, [1.0, 0.0, 4.0, 0.0, 0.0, 3.0]);
    let error = data::load(&fixture("sparse-columns.npz").display().to_string()).expect_err("CSC").to_string();
    assert!(error.contains("holds a sparse matrix that is not in CSR format; save it by scipy"), "{error}");
    Ok(())
}

#[test]
fn damaged_sparse_rows_are_refused() {
    let refused =
        |columns: usize, rows: Vec<Vec<(u32, f32)>>| SparseRows::new(columns, rows).expect_err("no").to_string();
    assert!(refused(3, vec![vec![(3, 1.0)]]).contains("row 0 has column 3, but there are 3"));
    assert!(refused(3, vec![vec![], vec![(1, f32::NAN)]]).contains("row 1, column 1 is not finite"));
    assert!(refused(3, vec![]).contains("there is no row"));
    assert!(refused(0, vec![vec![]]).contains("0 columns cannot be counted"));
}

/// Rows get their zeros batch by batch, which changes no bit of what is learned from them.
#[test]
fn sparse_data_trains_as_the_same_data_with_its_zeros() -> Result<()> {
    let users = data::ratings(150, 3)?.train;
    let dense = Dataset::from_f32([1000], users.read_f32(0..150)?)?;
    let mut spec = ModelSpec::resolve("mult-vae")?;
    spec.fit_to(&users)?;
    for change in ["encoder.2.linear.out=12", "latent.gaussian.size=4", "decoder.0.linear.out=12", "train.epochs=2"] {
        spec.set(change)?;
    }
    spec.train.batch = 32;
    let network = pinhole::model::Network::new(spec)?;
    for device in fast_devices() {
        // So little that chunks of two batches stand beside each other.
        let options = Options { resident_bytes: Some(150 * 4000), ..Options::default() };
        let sparse = train(&network, &device, &users, Some(&users), options);
        let whole = train(&network, &device, &dense, Some(&dense), Options::default());
        assert!(sparse.parameters == whole.parameters, "{}", device.name());
        assert_eq!(sparse.losses, whole.losses);
    }
    Ok(())
}

#[test]
fn samples_of_length_one() -> Result<()> {
    let layer: Layer = "\"unit_norm\"".parse()?;
    let placed = nn::place("layer", &[layer], &[2, 2].into())?.remove(0);
    let x = Tensor::from_f32([2, 2, 2], vec![1.0, 2.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0])?;
    for device in all_devices() {
        let mut graph = Context::new();
        let input = graph.input("x", [2, 2, 2], DType::Float)?;
        let y = placed.apply(&mut graph, input)?;
        let weights = graph.iota(8)?;
        let weights = graph.reshape(weights, [2, 2, 2])?;
        let product = graph.multiply(y, weights)?;
        let sum = graph.sum(product, &[0, 1, 2])?;
        let gradient = graph.gradients(sum, &[input])?[0];
        let results = device.compute(&graph, &[y, gradient], &[("x", x.clone())])?;
        expect_close("y", &results[0].to_f64(), &[0.2, 0.4, 0.4, 0.8, 0.0, 0.0, 0.0, 0.0], 1e-6, Scale::Absolute);
        // (g - y (g . y)) / 5 with g . y = 3.6; a sample of zeros is divided by 1e-6.
        let expected = [-0.144, -0.088, 0.112, 0.024, 4e6, 5e6, 6e6, 7e6];
        expect_close("its gradient", &results[1].to_f64(), &expected, 1e-5, Scale::Relative);
    }
    Ok(())
}

#[test]
fn data_decides_the_input_where_a_model_lets_it() -> Result<()> {
    let users = data::ratings(6, 1)?.train;
    let mut spec = ModelSpec::resolve("mult-dae")?;
    spec.fit_to(&users)?;
    assert_eq!(spec.input[..], [1000]);
    assert_eq!(spec.decoder.last().map(Layer::to_string).as_deref(), Some("{ linear = 1000 }"));
    spec.validate()?;
    let mut other = ModelSpec::resolve("dense")?;
    let before = other.clone();
    other.fit_to(&users)?;
    assert_eq!(other, before, "only where it is asked for");
    let text =
        ModelSpec::resolve("mult-dae")?.to_toml().replace("{ linear = 784 }", "{ linear = 784 }, { dropout = 0.1 }");
    let error = crate::support::spec(&text).fit_to(&users).expect_err("no linear layer").to_string();
    assert!(error.starts_with("data.sets_input: the decoder does not end in a linear layer"), "{error}");
    let text = before.to_toml() + "[data]\nsets_input = true\n";
    let text = text.replace("input = [784]", "input = [1, 28, 28]").replace("encoder = [", "encoder = [\"flatten\", ");
    let error = ModelSpec::parse(&text, "m.toml".as_ref()).expect_err("a picture").to_string();
    assert!(error.contains("data.sets_input: the data can only decide an input of features"), "{error}");
    Ok(())
}

/// The same users and structure every time, and another with another seed.
#[test]
fn made_up_users_have_a_structure() -> Result<()> {
    let [first, again, other] = [data::ratings(60, 1)?, data::ratings(60, 1)?, data::ratings(60, 2)?];
    assert!(first.train == again.train && first.test == again.test && first.train != other.train);
    assert_eq!(first.test.as_ref().map(Dataset::len), Some(10));
    assert!(data::load("ratings:60:1")?.train == first.train);
    let rows = first.train.sparse().expect("sparse data");
    for user in 0..60 {
        let (items, values) = rows.row(user);
        assert!((20..=60).contains(&items.len()) && values.iter().all(|value| *value == 1.0), "user {user}");
    }
    Ok(())
}

/// A short training; `tests/quality` has the preset's own.
#[test]
fn recommenders_find_more_than_what_is_popular() -> Result<()> {
    let splits = data::ratings(1500, 1)?;
    let users = splits.test.expect("test users");
    let mut spec = ModelSpec::resolve("mult-vae")?;
    spec.fit_to(&splits.train)?;
    for change in ["encoder.2.linear.out=100", "latent.gaussian.size=30", "decoder.0.linear.out=100"] {
        spec.set(change)?;
    }
    (spec.train.epochs, spec.train.optimizer.lr) = (12, 5e-3);
    let mut autoencoder = Autoencoder::new(spec, Device::Cpu)?;
    let before = autoencoder.ranking(&users, &splits.train, 0)?;
    autoencoder.fit(&splits.train, None, &mut ())?;
    let after = autoencoder.ranking(&users, &splits.train, 0)?;
    println!("{before:?}\n{after:?}");
    assert_eq!((after.users, after.left_out, before.popularity), (250, 0, after.popularity));
    assert!(before.model.ndcg_100 < after.popularity.ndcg_100);
    assert!(after.model.ndcg_100 > 1.5 * after.popularity.ndcg_100);
    assert!(after.model.recall_20 > 1.5 * after.popularity.recall_20);
    assert_eq!(autoencoder.ranking(&users, &splits.train, 0)?, after, "what is held out is the seed's");
    // What is recommended is what the ranking has: no item that is there.
    let best = autoencoder.recommend(&users, 5)?;
    let rows = users.sparse().expect("sparse data");
    for (user, best) in best.iter().enumerate() {
        assert_eq!(best.len(), 5);
        assert!(best.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(best.iter().all(|(item, _)| !rows.row(user).0.contains(item)), "user {user}");
    }
    let error = autoencoder.recommend(&data::digits(3, 1), 5).expect_err("pictures").to_string();
    assert!(error.contains("it has no users and items; give ratings:FILE"), "{error}");
    Ok(())
}

#[test]
fn the_program_recommends() {
    let place = Place::new();
    // Users who take odd or even items.
    let mut text = String::from("user,item\n");
    for user in 0..60 {
        for item in (0..20).filter(|item| item % 2 == user % 2 && (item * 7 + user * 3) % 5 != 0) {
            text += &format!("user-{user},\"item, {item}\"\n");
        }
    }
    place.write("all.csv", text.as_bytes());
    place.write("new.csv", b"me,\"item, 3\"\nme,\"item, 9\"\nme,\"item, 99\"\nme,\"item, 15\"\n");
    let set =
        "--set encoder.2.linear.out=16 --set latent.gaussian.size=4 --set decoder.0.linear.out=16 --batch 18 --lr 0.01";
    let train = format!("train --model mult-vae --data ratings:all.csv --device cpu {set}");
    place.ok(&format!("{train} --epochs 30 --out run"));
    let spec = ModelSpec::read(&place.path("run/model.toml")).expect("a model file");
    assert_eq!(spec.input[..], [20]);
    assert_eq!(String::from_utf8(place.read("run/items.txt")).expect("text").lines().count(), 20);
    let said = place.ok("recommend run --data ratings:new.csv --user me --n 3 --device cpu");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "user,item,score"), "{}", said.stdout);
    for line in &lines[1..] {
        let item = line.strip_prefix("me,\"item, ").and_then(|rest| rest.split('"').next()).expect("an item");
        assert_eq!(item.parse::<usize>().expect("a number") % 2, 1, "{}", said.stdout);
    }
    let said = place.ok("recommend run --data ratings:all.csv --user user-7 --n 1 --device cpu");
    assert!(said.stdout.contains("\nuser-7,\"item, "), "{}", said.stdout);
    let said = place.ok("recommend run --data ratings:all.csv --json --n 2 --device cpu");
    assert_eq!(said.stdout.lines().count(), 60);
    let line: Json = serde_json::from_str(said.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["user"], line["items"].as_array().map(Vec::len)), (&Json::from("user-0"), Some(2)));
    // The users that the run set aside are ranked, popularity is that of the others.
    let said = place.ok("eval run --data ratings:all.csv --ranking --json --device cpu");
    let line: Json = serde_json::from_str(&said.stdout).expect("JSON");
    let number = |key: &str| line[key].as_f64().or(line["parts"][key].as_f64()).unwrap_or(f64::NAN);
    assert_eq!(number("ranked_users"), 6.0, "{}", said.stdout);
    assert!(number("ndcg_100") > number("popularity_ndcg_100"), "{}", said.stdout);
    let said = place.ok("eval run --data ratings:all.csv --ranking --device cpu");
    assert!(said.stdout.contains("popularity recall 20 "), "{}", said.stdout);
    // However the path is written; and users who were all trained on are no test.
    let said = place.ok("eval run --data ratings:./all.csv --ranking --json --device cpu");
    assert_eq!(serde_json::from_str::<Json>(&said.stdout).expect("JSON"), line);
    place.ok(&format!("{train} --epochs 1 --set train.validation=0 --out seen"));
    assert_eq!(
        place.failure("eval seen --data ratings:all.csv --ranking --device cpu"),
        "--ranking: the run was trained on all users of ratings:all.csv; give --data with other users, or train with \
         train.validation = 0.1"
    );
    // Trials of a search keep the names of items too.
    let space = "model = \"small-vae.toml\"\ndata = \"ratings:all.csv\"\nmethod = \"random\"\ntrials = 1\n\
        [space]\n\"train.batch\" = [18]\n";
    place.write("small-vae.toml", std::fs::read_to_string(place.path("run/model.toml")).expect("a model").as_bytes());
    place.write("space.toml", space.as_bytes());
    place.ok("tune space.toml --out search --device cpu");
    assert_eq!(place.read("search/trial-001/items.txt"), place.read("run/items.txt"));
    // A run goes on with the items that it began with, and to the same bits.
    place.ok(&format!("{train} --epochs 2 --out halves"));
    place.ok("train --resume --epochs 4 --out halves --device cpu");
    place.ok(&format!("{train} --epochs 4 --out whole"));
    assert!(place.read("halves/model.safetensors") == place.read("whole/model.safetensors"));
    place.fail(&[
        (
            "recommend run --data ratings:new.csv --user you --device cpu",
            "data \"new.csv\": it has no user \"you\"; give one of its 1 users, such as \"me\"",
        ),
        (
            "recommend run --data ratings:none.csv --device cpu",
            "cannot read none.csv: No such file or directory (os error 2); check the path",
        ),
    ]);
}
