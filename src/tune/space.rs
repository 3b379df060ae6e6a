//! Search spaces: files that list keys of a model file, the candidate values of each, and the search method.

use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::model::config::LatentSpec;
use crate::model::preset::preset;
use crate::schema::{
    Choice, Fault, Item, Key, Part, Setting, Table, document_schema, located, names, parse_table, read_document,
    read_text, write_table,
};
use crate::suggest::suggest;
use serde_json::{Value as Json, json};
use std::path::Path;

/// Default number of trials.
const TRIALS: usize = 20;
/// Upper limit on the number of trials.
const MOST_TRIALS: usize = 10_000;
/// Largest whole number of a space: all up to it are exact as floats.
const LARGEST_WHOLE: i64 = 1 << 53;
/// Names of the candidate kinds other than a list.
const KINDS: [&str; 3] = ["range", "log", "whole"];

/// A search over keys of a model file: the content of a space file.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchSpec {
    /// A preset, or the path of a model file relative to the space file.
    pub model: String,
    /// The training data, as `pinhole train --data` takes it.
    pub data: String,
    /// How the values of the next trial are chosen.
    pub method: Method,
    /// Number of trials; 20 where not given. A grid has one trial per point.
    pub trials: Option<usize>,
    /// Seed of all random draws, and of the choice of validation samples.
    pub seed: u64,
    /// The metric that ranks trials.
    pub metric: Metric,
    /// Successive halving, which ends most trials early.
    pub halving: Option<Halving>,
    /// The keys that are searched over.
    pub space: Vec<Dimension>,
}

/// How a search chooses values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Enumerates all points.
    Grid,
    /// Draws each value independently: Bergstra and Bengio, JMLR 13 (2012).
    Random,
    /// Prefers values that are likelier among good trials than among the others: the tree-structured Parzen estimator
    /// of Bergstra, Bardenet, Bengio and Kégl, NIPS 2011.
    Tpe,
}

names! { "method" Method { Grid = "grid", Random = "random", Tpe = "tpe", } }

/// The metric that a search minimises, measured on validation samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The model's loss.
    ValLoss,
    /// The mean squared error.
    ValMse,
}

names! { "metric" Metric { ValLoss = "val_loss", ValMse = "val_mse", } }

/// Successive halving: all trials train for a few epochs, the best continue for `eta` times as many, and so on up to
/// the epochs of the model file. Jamieson and Talwalkar, AISTATS 2016.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halving {
    /// Epochs of the first round; 1 unless given.
    pub epochs: usize,
    /// One in `eta` trials survives a round; 3 unless given.
    pub eta: usize,
}

impl Default for Halving {
    fn default() -> Halving {
        Halving { epochs: 1, eta: 3 }
    }
}

/// A key of a model file with its candidate values.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// The key, as [`ModelSpec::set`] takes it.
    pub key: String,
    /// Candidate values of the key.
    pub candidates: Candidates,
}

/// Candidate values of a key. Ranges include both ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidates {
    /// One of the listed values, each as a model file writes it.
    Choices(Vec<String>),
    /// A number from an interval, uniform; a grid has `points` of them.
    Range {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Number of grid points.
        points: Option<usize>,
    },
    /// A positive number from an interval, uniform in its logarithm.
    Log {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Number of grid points.
        points: Option<usize>,
    },
    /// A whole number from an interval.
    Whole {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
    },
}

impl SearchSpec {
    /// Reads a space file and the model that it names, and validates the space against the model.
    pub fn read(path: &Path) -> Result<(SearchSpec, ModelSpec)> {
        let text = read_text(path, "a search space")?;
        let table = parse_table(&text, path)?;
        let mut spec = SearchSpec::blank();
        read_document(&table, &mut spec, &[])
            .map_err(|fault| located(&text, path, [&fault.at, &fault.key], &fault.problem, fault.help))?;
        let beside = path.with_file_name(&spec.model);
        let model = match preset(&spec.model) {
            None if beside.exists() => ModelSpec::read(&beside)?,
            _ => ModelSpec::resolve(&spec.model)?,
        };
        match spec.validate(&model) {
            Ok(()) => Ok((spec, model)),
            Err(Error::Invalid { what, problem, help }) => Err(located(&text, path, [&what, &what], &problem, help)),
            Err(other) => Err(other),
        }
    }

    /// Writes the spec as a space file.
    pub fn to_toml(&self) -> String {
        let text = write_table(&mut self.clone(), "\n");
        let given = |line: &&str| self.trials.is_some() || !line.starts_with("trials = ");
        text.lines().filter(given).fold(String::new(), |text, line| text + line + "\n")
    }

    /// The JSON Schema (draft 2020-12) of space files.
    pub fn schema() -> Json {
        document_schema(&mut SearchSpec::blank(), "A search space of Pinhole", &[])
    }

    /// Number of trials that the search makes, at most the number of points of its space where that is finite.
    pub fn trials(&self) -> usize {
        match self.method {
            Method::Grid => self.points().unwrap_or(MOST_TRIALS),
            Method::Random | Method::Tpe => {
                let wanted = self.trials.unwrap_or(TRIALS);
                self.space
                    .iter()
                    .try_fold(1usize, |points, dimension| points.checked_mul(dimension.candidates.count()?))
                    .map_or(wanted, |points| wanted.min(points))
            }
        }
    }

    /// Number of grid points, where it is finite.
    fn points(&self) -> Option<usize> {
        let grids = self.space.iter().map(|dimension| dimension.candidates.grid_points());
        grids.into_iter().try_fold(1usize, |points, more| points.checked_mul(more?))
    }

    /// Fails where the model lacks a key or rejects a candidate value; the error names the key of the space file.
    pub fn validate(&self, model: &ModelSpec) -> Result<()> {
        let refuse = |key: &str, problem: &str, help: &str| Err(Error::invalid(key, problem, help));
        if self.space.is_empty() {
            return refuse("space", "has no keys", "write \"train.batch\" = [64, 128] below [space], say");
        }
        if let Some(Halving { epochs, eta }) = self.halving {
            if epochs < 1 || epochs > model.train.epochs {
                let problem = format!("must be 1 to {}, the model's train.epochs, got {epochs}", model.train.epochs);
                return refuse("halving.epochs", &problem, "use 1, say");
            }
            if eta < 2 {
                return refuse("halving.eta", &format!("must be at least 2, got {eta}"), "use 3, say");
            }
        }
        if model.train.validation == 0.0 {
            let problem = "its train.validation is 0.0, so that nothing is set aside to judge trials by";
            return refuse("model", problem, "set it to 0.1, say, in a model file");
        }
        for (index, dimension) in self.space.iter().enumerate() {
            self.validate_key(index)?;
            dimension.validate(model)?;
            let key = format!("space.{}", dimension.key);
            if self.method == Method::Grid && dimension.candidates.grid_points().is_none() {
                let help = "add points = 5, say, or write a list of values";
                return refuse(&key, "a grid needs to know how many values to take", help);
            }
        }
        match (self.method, self.trials) {
            (Method::Grid, Some(_)) => {
                let problem = match self.points() {
                    Some(points) => format!("this grid has {points} trials"),
                    None => "a grid has as many trials as points".to_owned(),
                };
                refuse("trials", &problem, "leave trials out")
            }
            (Method::Grid, None) if self.points().is_none_or(|points| points > MOST_TRIALS) => {
                let problem = format!("the grid has more than {MOST_TRIALS} points");
                refuse("space", &problem, "use fewer values, or method = \"tpe\"")
            }
            (_, Some(trials)) if !(1..=MOST_TRIALS).contains(&trials) => {
                let problem = format!("must be 1 to {MOST_TRIALS}, got {trials}");
                refuse("trials", &problem, "use 30, say")
            }
            _ => Ok(()),
        }
    }

    /// Fails for keys that would make trials incomparable.
    fn validate_key(&self, index: usize) -> Result<()> {
        let own = &self.space[index].key;
        let key = format!("space.{own}");
        let refuse = |problem: &str, help: &str| Err(Error::invalid(&*key, problem, help));
        let within = |own: &str, other: &str| {
            own.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for other in self.space.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, other)| &other.key) {
            if within(own, other) {
                let problem = format!("lies within {other:?}, which is searched over too");
                return refuse(&problem, &format!("list whole values of {other:?} instead"));
            }
        }
        if within(own, "loss") && self.metric == Metric::ValLoss {
            return refuse("losses of different kinds cannot be compared", "write metric = \"val_mse\"");
        }
        if own == "train.epochs" && self.halving.is_some() {
            return refuse("halving decides for how many epochs a trial is trained", "leave one of them out");
        }
        let whole = ["train", "data", "data.fit", "data.binarise", "train.validation"].contains(&own.as_str());
        if whole || ["input", "corruption", "condition"].iter().any(|measured| within(own, measured)) {
            return refuse("it would change what trials are judged by", "set it in the model file, for all trials");
        }
        let tables = match &self.space[index].candidates {
            Candidates::Choices(choices) => choices.iter().any(|choice| choice.starts_with('{')),
            Candidates::Range { .. } | Candidates::Log { .. } | Candidates::Whole { .. } => false,
        };
        // Sizes and settings of training alone do not enter the validation loss.
        let weighs = |mut kind: LatentSpec| {
            let weights = kind.facts().weights;
            let within = own.strip_prefix("latent.").and_then(|rest| rest.strip_prefix(kind.name()));
            within.is_some_and(|rest| match rest.strip_prefix('.') {
                Some(setting) => weights.contains(&setting),
                // A bare value sets the first key.
                None if kind.keys().first().is_some_and(|first| weights.contains(&first.name)) => rest.is_empty(),
                None => rest.is_empty() && tables && !weights.is_empty(),
            })
        };
        if self.metric == Metric::ValLoss && (own == "latent" || LatentSpec::all().into_iter().any(weighs)) {
            let problem = "it is a part of the loss, so that losses cannot be compared";
            return refuse(problem, "write metric = \"val_mse\"");
        }
        Ok(())
    }

    fn blank() -> SearchSpec {
        SearchSpec {
            model: String::new(),
            data: String::new(),
            method: Method::Tpe,
            trials: None,
            seed: 0,
            metric: Metric::ValLoss,
            halving: None,
            space: vec![],
        }
    }
}

impl Dimension {
    fn validate(&self, model: &ModelSpec) -> Result<()> {
        let key = format!("space.{}", self.key);
        let refuse = |problem: String, help: &str| Err(Error::invalid(&*key, problem, help));
        match &self.candidates {
            Candidates::Choices(choices) => {
                if choices.is_empty() {
                    return refuse("the list is empty".to_owned(), "write [64, 128], say");
                }
                if let Some((_, twice)) =
                    choices.iter().enumerate().find(|(at, choice)| choices[..*at].contains(choice))
                {
                    return refuse(format!("lists {twice} twice"), "leave one of them out");
                }
            }
            Candidates::Range { low, high, points } | Candidates::Log { low, high, points } => {
                let usable = low.is_finite() && high.is_finite() && low < high && (high - low).is_finite();
                if !usable {
                    let problem = format!("expects two numbers, the smaller one first, got [{low:?}, {high:?}]");
                    return refuse(problem, "write [0.0, 0.5], say");
                }
                if matches!(self.candidates, Candidates::Log { .. }) && *low <= 0.0 {
                    let problem = format!("expects positive numbers, got [{low:?}, {high:?}]");
                    return refuse(problem, "write log = [1e-4, 1e-2], say, or use range");
                }
                if points.is_some_and(|points| points < 2) {
                    return refuse("a grid has at least two points of it".to_owned(), "write points = 5, say");
                }
            }
            Candidates::Whole { low, high } => {
                if low >= high || low.abs().max(high.abs()) > LARGEST_WHOLE {
                    let problem = format!("expects two whole numbers, the smaller one first, got [{low}, {high}]");
                    return refuse(problem, "write [16, 128], say");
                }
            }
        }
        // Whether values of several keys fit each other is known only once they are chosen; each value alone can be
        // checked now.
        for text in self.candidates.extremes() {
            let mut changed = model.clone();
            let result = changed.set(&format!("{}={text}", self.key)).and_then(|()| {
                let alone = self.key.starts_with("train.") || self.key.starts_with("data.");
                if alone { changed.validate().map(|_| ()) } else { Ok(()) }
            });
            match result {
                Err(Error::Invalid { problem, help, .. }) => return Err(Error::invalid(key, problem, help)),
                other => other?,
            }
        }
        Ok(())
    }
}

impl Candidates {
    /// Number of candidates, where it is finite.
    pub fn count(&self) -> Option<usize> {
        match self {
            Candidates::Choices(choices) => Some(choices.len()),
            Candidates::Range { .. } | Candidates::Log { .. } => None,
            Candidates::Whole { low, high } => usize::try_from(high - low + 1).ok(),
        }
    }

    /// Number of grid points, where it is finite.
    pub fn grid_points(&self) -> Option<usize> {
        match self {
            Candidates::Range { points, .. } | Candidates::Log { points, .. } => *points,
            Candidates::Choices(_) | Candidates::Whole { .. } => self.count(),
        }
    }

    /// All values of a list, else the smallest and the largest value.
    fn extremes(&self) -> Vec<String> {
        match self {
            Candidates::Choices(choices) => choices.clone(),
            Candidates::Range { low, high, .. } | Candidates::Log { low, high, .. } => {
                [low, high].map(|number| format!("{number:?}")).into()
            }
            Candidates::Whole { low, high } => [low, high].map(i64::to_string).into(),
        }
    }

    /// The value at a unit coordinate in `[0, 1]`, as a model file writes it.
    pub(super) fn at(&self, place: f64) -> String {
        match self {
            Candidates::Choices(choices) => choices[nth(place, choices.len())].clone(),
            Candidates::Range { low, high, .. } => rounded(low + place * (high - low), *low, *high),
            Candidates::Log { low, high, .. } => {
                rounded((low.ln() + place * (high.ln() - low.ln())).exp(), *low, *high)
            }
            Candidates::Whole { low, high } => {
                let count = (high - low + 1) as usize;
                (low + nth(place, count) as i64).to_string()
            }
        }
    }

    /// Unit coordinate of a value, in `[0, 1]`: the middle of its bin where candidates are finite.
    pub(super) fn place(&self, text: &str) -> f64 {
        let number: f64 = text.parse().unwrap_or(f64::NAN);
        let place = match self {
            Candidates::Choices(choices) => {
                let index = choices.iter().position(|choice| choice == text).unwrap_or(0);
                (index as f64 + 0.5) / choices.len() as f64
            }
            Candidates::Range { low, high, .. } => (number - low) / (high - low),
            Candidates::Log { low, high, .. } => (number.ln() - low.ln()) / (high.ln() - low.ln()),
            Candidates::Whole { low, high } => (number - *low as f64 + 0.5) / (high - low + 1) as f64,
        };
        place.clamp(0.0, 1.0)
    }

    /// Value `index` of a grid's `count` values.
    pub(super) fn of_grid(&self, index: usize, count: usize) -> String {
        match self {
            Candidates::Range { .. } | Candidates::Log { .. } => self.at(index as f64 / (count - 1).max(1) as f64),
            Candidates::Choices(_) | Candidates::Whole { .. } => self.at((index as f64 + 0.5) / count as f64),
        }
    }

    fn read(item: &Item) -> Result<Candidates, Fault> {
        let expected =
            "a list of values, or one of { range = [0.0, 0.5] }, { log = [1e-4, 1e-2] }, { whole = [16, 128] }";
        let Some(table) = item.as_table() else {
            let values = item.list(expected, "write [64, 128], say")?;
            return Ok(Candidates::Choices(values.iter().map(Item::toml).collect()));
        };
        let Some((kind, ends)) = table.iter().find(|(name, _)| KINDS.contains(name)) else {
            let name = table.first().map_or("", |(name, _)| *name);
            let key = item.key.trim_start_matches("space.");
            // TOML reads dots in bare keys as nested tables.
            let help = match key.contains('.') {
                true => suggest(name, KINDS),
                false => format!("write \"{key}.{name}\" = .. with its quotes, say"),
            };
            return Err(Fault::new(&item.key, format!("expects {expected}, got a table with {name:?}"), help));
        };
        let known: &[&str] = if *kind == "whole" { &["whole"] } else { &[kind, "points"] };
        let keys = item.keys(known)?;
        let help = format!("write {kind} = [low, high]");
        let [low, high] = &ends.list("a list of two numbers", &help)?[..] else {
            return ends.wrong("a list of two numbers", &help);
        };
        if *kind == "whole" {
            return Ok(Candidates::Whole { low: low.whole()?, high: high.whole()? });
        }
        let points = keys.get("points").map(|points| points.whole()).transpose()?;
        let (low, high) = (low.number()?, high.number()?);
        Ok(match *kind {
            "log" => Candidates::Log { low, high, points },
            _ => Candidates::Range { low, high, points },
        })
    }

    fn text(&self) -> String {
        let numbers = |kind: &str, low: f64, high: f64, points: Option<usize>| {
            let points = points.map(|points| format!(", points = {points}")).unwrap_or_default();
            format!("{{ {kind} = [{low:?}, {high:?}]{points} }}")
        };
        match self {
            Candidates::Choices(choices) => format!("[{}]", choices.join(", ")),
            Candidates::Range { low, high, points } => numbers("range", *low, *high, *points),
            Candidates::Log { low, high, points } => numbers("log", *low, *high, *points),
            Candidates::Whole { low, high } => format!("{{ whole = [{low}, {high}] }}"),
        }
    }
}

/// Index of the bin that contains `place`, of `count` equal bins of `[0, 1]`.
fn nth(place: f64, count: usize) -> usize {
    ((place * count as f64) as usize).min(count - 1)
}

/// Rounds a number to four digits, which are easy to type, within `low` and `high`.
fn rounded(number: f64, low: f64, high: f64) -> String {
    let short: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    format!("{:?}", short.clamp(low, high))
}

/// The top of a space file.
impl Table for SearchSpec {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::needed("model", Setting::Text(&mut self.model, ["the name of a model", "write it in quotes"]))
                .example("\"dense\"")
                .about("A preset, or the path of a model file, from where the space file is."),
            Key::needed("data", Setting::Text(&mut self.data, ["the name of data", "write it in quotes"]))
                .example("\"digits\"")
                .about("What the models are trained on, as pinhole train --data takes it."),
            Key::optional("method", Setting::name(&mut self.method))
                .about("How values are chosen: all of a grid, at random, or by a tree-structured Parzen estimator."),
            Key::optional("trials", Setting::Part(Box::new(Count(&mut self.trials))))
                .about("The number of trials, 20 unless given; a grid has one trial for each point."),
            Key::optional("seed", Setting::Seed(&mut self.seed))
                .about("Decides all that is drawn, and which samples are set aside to judge trials by."),
            Key::optional("metric", Setting::name(&mut self.metric)).about("What makes one trial better than another."),
            Key::optional("halving", Setting::table_or_false(&mut self.halving))
                .about("Whether only the best go on after a few epochs: { epochs = 1, eta = 3 }, or false."),
            Key::needed("space", Setting::Part(Box::new(Dimensions(&mut self.space))))
                .example("{ \"train.batch\" = [64, 128] }")
                .about("Keys of the model file, and the values that are tried."),
        ]
    }
}

impl Table for Halving {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::optional("epochs", Setting::Count(&mut self.epochs)).about("Epochs of the first round."),
            Key::optional("eta", Setting::Count(&mut self.eta)).about("A round keeps one trial in this number."),
        ]
    }
}

/// A whole number that a file may leave out.
struct Count<'a>(&'a mut Option<usize>);

impl Part for Count<'_> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        *self.0 = Some(item.whole()?);
        Ok(())
    }

    fn text(&self) -> String {
        self.0.unwrap_or(TRIALS).to_string()
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": 1 })
    }
}

/// The keys that are searched over.
struct Dimensions<'a>(&'a mut Vec<Dimension>);

impl Part for Dimensions<'_> {
    fn read(&mut self, item: &Item) -> Result<(), Fault> {
        let help = "write [space], and below it \"train.batch\" = [64, 128]";
        let Some(table) = item.as_table() else { return item.wrong("a table", help) };
        let read =
            |(key, item): (&str, Item)| Ok(Dimension { key: key.to_owned(), candidates: Candidates::read(&item)? });
        *self.0 = table.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn text(&self) -> String {
        let entry = |dimension: &Dimension| format!("{:?} = {}", dimension.key, dimension.candidates.text());
        format!("{{ {} }}", self.0.iter().map(entry).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> Json {
        let numbers = |kind: &str| {
            let ends = json!({ "type": "array", "minItems": 2, "maxItems": 2, "items": { "type": "number" } });
            let points = json!({ "type": "integer", "minimum": 2 });
            let properties =
                if kind == "whole" { json!({ kind: ends }) } else { json!({ kind: ends, "points": points }) };
            json!({ "type": "object", "additionalProperties": false, "required": [kind], "properties": properties })
        };
        let mut ways = vec![json!({ "type": "array", "minItems": 1 })];
        ways.extend(KINDS.map(numbers));
        json!({ "type": "object", "minProperties": 1, "additionalProperties": { "anyOf": ways } })
    }
}
