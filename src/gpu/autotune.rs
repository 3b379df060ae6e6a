//! Tuning: finds the fastest tile of each product by measurement.
//!
//! Every product of the plans is run alone under each tile that suits it. Each tile's result is first compared with
//! the untuned tile's result; then the tiles are timed in turn, so that a rising clock or other load on the device
//! disturbs all of them. A tile replaces the untuned tile only where it is faster by more than noise. The chosen tiles
//! are used only where they do not slow the whole step: a tile of another workgroup size may separate two products that
//! shared a dispatch.

use super::adapter::Gpu;
use super::cache::{Choice, cache_folder, load_choices, save_choices};
use super::session::Session;
use crate::error::{Error, Result};
use crate::plan::{Access, Limits, Outcome, Plan, Product, Step, Target, Tile, Without};
use crate::rng;
use crate::tensor::{DType, Values};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest number of tiles tried for a product besides the untuned tile.
const MOST_CANDIDATES: usize = 24;
/// Time that the repetitions of a timing take together.
const LONG_ENOUGH: Duration = Duration::from_millis(2);
/// Largest number of repetitions of a timing.
const MOST_REPETITIONS: usize = 1000;
/// Timings of each tile, of which the median counts.
const ROUNDS: usize = 5;
/// Rounds after which slow tiles are dropped, and the factor by which they are slow.
const FIRST_ROUNDS: usize = 2;
const TOO_SLOW: f64 = 1.5;
/// A tile must take less than this part of the untuned tile's time.
const NOISE: f64 = 0.97;
/// Largest difference of a tile's numbers from the untuned tile's, as a part of the largest number.
const TOLERANCE: f64 = 1e-5;
/// Factor of the tolerance for numbers stored in 16 bits: two units in the last place.
const HALF: f64 = 1.0 / (512.0 * TOLERANCE);

/// Settings of a tuning.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Time for measurements. A started measurement is finished, and the other products keep their untuned tiles.
    pub budget: Duration,
    /// Folder that keeps measurements between runs; `None` keeps none.
    pub folder: Option<PathBuf>,
}

impl Default for Tuning {
    /// Ten seconds, and the user's cache directory.
    fn default() -> Tuning {
        Tuning { budget: Duration::from_secs(10), folder: cache_folder() }
    }
}

/// The outcome of tuning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TuningReport {
    /// Measured products of the plans, those of earlier calls included, the costliest first.
    pub choices: Vec<Choice>,
    /// Number of products measured in this call.
    pub measured: usize,
    /// Number of products that were not measured because time ran out.
    pub left: usize,
    /// Tiles with wrong results and tiles that could not run, with the reason.
    pub rejected: Vec<String>,
    /// Microseconds of a step of all plans with the tiles before and after tuning, if both were timed.
    pub step_us: Option<[f64; 2]>,
    /// Seconds that the tuning took.
    pub seconds: f64,
}

/// A product and its isolated plans, of which the first has the untuned tile.
struct Candidates {
    product: Product,
    operations: u64,
    /// Tiles to try.
    tiles: Vec<Tile>,
    plans: Vec<(Tile, Plan)>,
}

impl Gpu {
    /// Chooses a tile for every product of plans by measurement, and adds the tiles to [`Gpu::target`] for all later
    /// plans. `plans` makes the plans for a target. Products that [`Tuning::folder`] holds are not measured again.
    pub fn tune(
        self: &Arc<Gpu>,
        tuning: &Tuning,
        plans: impl Fn(&Target) -> Result<Vec<Plan>>,
    ) -> Result<TuningReport> {
        let began = Instant::now();
        let mut report = TuningReport::default();
        let target = self.target();
        if target.without.tuning {
            return Ok(report);
        }
        // Isolated plans run one product in each launch.
        let without = Without { pairs: true, ..target.without };
        let base = Target { without, tuned: Arc::default(), ..target.clone() };
        let folder = tuning.folder.as_deref();
        let mut known = folder.map(|folder| load_choices(folder, self.summary())).unwrap_or_default();
        let allowed = Tile::family(&base);
        known.retain(|choice| allowed.contains(&choice.tile) && fits(&choice.tile, self.limits()));
        let mut all = products(&plans(&base)?);
        let wanted: Vec<Product> = all.iter().map(|candidates| candidates.product.clone()).collect();
        all.retain(|candidates| known.iter().all(|choice| choice.product != candidates.product));
        let mut fresh = Vec::new();
        if !all.is_empty() && !tuning.budget.is_zero() {
            for candidates in &mut all {
                candidates.tiles = tiles(candidates, &base, self.limits());
            }
            add_plans(&mut all, &base, &plans, self.limits())?;
        }
        for candidates in &all {
            match began.elapsed() < tuning.budget {
                true => fresh.push(measure(self, candidates, began + tuning.budget, &mut report.rejected)?),
                false => report.left += 1,
            }
        }
        if fresh.iter().any(|choice| choice.tile != choice.default) {
            let with = |choices: &[&[Choice]]| {
                let tuned = Arc::new(tuned_tiles(choices.iter().copied().flatten()));
                plans(&Target { tuned, ..target.clone() })
            };
            let times = compare_steps(self, &with(&[&known])?, &with(&[&known, &fresh])?)?;
            if times[1] > times[0] {
                for choice in &mut fresh {
                    (choice.tile, choice.us) = (choice.default, choice.default_us);
                }
            }
            report.step_us = Some(times);
        }
        report.measured = fresh.len();
        known.extend(fresh);
        if let Some(folder) = folder.filter(|_| report.measured > 0) {
            save_choices(folder, self.summary(), &known);
        }
        // The tiles of earlier calls stay.
        let mut tuned = (*target.tuned).clone();
        tuned.extend(tuned_tiles(&known));
        self.set_tuned(tuned);
        let of = |product: &Product| known.iter().find(|choice| choice.product == *product).cloned();
        report.choices = wanted.iter().filter_map(of).collect();
        report.seconds = began.elapsed().as_secs_f64();
        Ok(report)
    }
}

/// The chosen tiles that differ from the untuned ones.
fn tuned_tiles<'a>(choices: impl IntoIterator<Item = &'a Choice>) -> HashMap<Product, Tile> {
    let chosen = choices.into_iter().filter(|choice| choice.tile != choice.default);
    chosen.map(|choice| (choice.product.clone(), choice.tile)).collect()
}

/// The products of plans in the order of their steps: each with its operations, its tile, and the plan of it alone.
fn isolated(plans: &[Plan]) -> impl Iterator<Item = (Product, u64, Tile, Plan)> {
    plans.iter().flat_map(|plan| {
        plan.steps.iter().enumerate().filter_map(move |(index, step)| {
            Some((step.product()?, step.operations, step.tile()?, plan.isolated(index)?))
        })
    })
}

/// The distinct products of plans, the costliest first, each with its isolated plan under its current tile.
fn products(plans: &[Plan]) -> Vec<Candidates> {
    let mut found: Vec<Candidates> = Vec::new();
    for (product, operations, tile, plan) in isolated(plans) {
        if found.iter().all(|known| known.product != product) {
            found.push(Candidates { product, operations, tiles: vec![], plans: vec![(tile, plan)] });
        }
    }
    found.sort_by_key(|candidates| Reverse(candidates.operations));
    found
}

fn fits(tile: &Tile, limits: &Limits) -> bool {
    u64::from(tile.workgroup) <= limits.invocations && u64::from(tile.workgroup_bytes()) <= limits.workgroup_bytes
}

/// The candidate tiles of a product.
fn tiles(candidates: &Candidates, target: &Target, limits: &Limits) -> Vec<Tile> {
    let (untuned, product) = (candidates.plans[0].0, &candidates.product);
    // A tile at least twice as long as the product would be idle for half of its length.
    let short = |tile: u32, product: u32| tile < 2 * product.max(4);
    let worth = |tile: &Tile| {
        // Software adapters have no real workgroup memory, and compile kernels that use it slowly.
        let real = !target.software || tile.workgroup_bytes() == 0;
        *tile != untuned && real && short(tile.lines, product.lines) && short(tile.columns, product.columns)
    };
    let tiles = Tile::family(target).into_iter().filter(|tile| worth(tile) && fits(tile, limits));
    tiles.take(MOST_CANDIDATES).collect()
}

/// Adds the isolated plans of all candidates. Plans are made with the first tile of every product, then with the second
/// of every product, and so on.
fn add_plans(
    all: &mut [Candidates],
    base: &Target,
    plans: impl Fn(&Target) -> Result<Vec<Plan>>,
    limits: &Limits,
) -> Result<()> {
    for place in 0..MOST_CANDIDATES {
        let tuned = all.iter().filter_map(|known| Some((known.product.clone(), *known.tiles.get(place)?)));
        let tuned: HashMap<Product, Tile> = tuned.collect();
        if tuned.is_empty() {
            break;
        }
        let plans = plans(&Target { tuned: Arc::new(tuned), ..base.clone() })?;
        let mut seen: HashMap<Product, (Tile, Plan)> = HashMap::new();
        for (product, _, tile, plan) in isolated(&plans) {
            seen.entry(product).or_insert((tile, plan));
        }
        for candidates in all.iter_mut() {
            let Some(wanted) = candidates.tiles.get(place) else { continue };
            let found = seen.remove(&candidates.product).filter(|(tile, _)| tile == wanted);
            candidates.plans.extend(found.filter(|(_, plan)| plan.check(limits).is_ok()));
        }
    }
    Ok(())
}

/// Checks and times the tiles of a product.
fn measure(gpu: &Arc<Gpu>, candidates: &Candidates, deadline: Instant, rejected: &mut Vec<String>) -> Result<Choice> {
    let Candidates { product, plans, .. } = candidates;
    let mut reject = |tile: &Tile, problem: String| {
        let Product { kernel, lines, columns, .. } = product;
        let Tile { family, lines: height, columns: width, .. } = tile;
        let line = format!("{kernel} {lines}x{columns}: tile {height}x{width} of {family:?} is not used: {problem}");
        tracing::warn!("{line}");
        rejected.push(line);
    };
    let mut plans: Vec<&(Tile, Plan)> = plans.iter().collect();
    let load = |plans: &[&(Tile, Plan)]| {
        let plans: Vec<Plan> = plans.iter().map(|(_, plan)| plan.clone()).collect();
        Session::with(gpu.clone(), &plans, false)
    };
    let mut session = match load(&plans) {
        Ok(session) => session,
        Err(Error::Shader { .. } | Error::OutOfMemory { .. }) => {
            // One of the tiles is at fault.
            let untuned = plans[0];
            plans.retain(|candidate| match load(&[candidate]) {
                Err(error) if !std::ptr::eq(*candidate, untuned) => {
                    reject(&candidate.0, error.to_string());
                    false
                }
                _ => true,
            });
            load(&plans)?
        }
        Err(error) => return Err(error),
    };
    let operands = &plans[0].1;
    for (number, buffer) in operands.buffers.iter().enumerate() {
        if matches!(buffer.dtype, DType::Float | DType::Half) {
            session.write(&buffer.name, 0, &Values::F32(random(number as u32, buffer.elements)))?;
        }
    }
    let mut alive: Vec<usize> = Vec::new();
    let mut expected: Vec<Computed> = Vec::new();
    for (index, (tile, plan)) in plans.iter().enumerate() {
        let computed = run_once(&mut session, index, plan)?;
        if index == 0 {
            expected = computed;
            alive.push(index);
            continue;
        }
        let wrong = expected
            .iter()
            .zip(&computed)
            .find_map(|(expected, computed)| disagreement(&expected.values, expected.largest, &computed.values));
        match wrong {
            Some(problem) => reject(tile, problem),
            None => alive.push(index),
        }
    }
    let repetitions = repetitions(&mut session)?;
    let mut times: Vec<Vec<f64>> = vec![vec![]; plans.len()];
    for round in 0..ROUNDS {
        for index in &alive {
            times[*index].push(timed(&mut session, *index, repetitions)?);
        }
        if round + 1 >= FIRST_ROUNDS {
            let best = alive.iter().map(|index| median(&times[*index])).fold(f64::INFINITY, f64::min);
            alive.retain(|index| *index == 0 || median(&times[*index]) <= TOO_SLOW * best);
            if Instant::now() > deadline {
                break;
            }
        }
    }
    let (default, default_us) = (plans[0].0, median(&times[0]));
    let fastest =
        alive.iter().map(|index| (plans[*index].0, median(&times[*index]))).min_by(|a, b| a.1.total_cmp(&b.1));
    let faster = fastest.filter(|(_, us)| *us < NOISE * default_us);
    let (tile, us) = faster.unwrap_or((default, default_us));
    Ok(Choice { product: product.clone(), default, default_us, tile, us })
}

/// Microseconds of one step of all plans of each set, timed in turn.
fn compare_steps(gpu: &Arc<Gpu>, untuned: &[Plan], tuned: &[Plan]) -> Result<[f64; 2]> {
    let mut times = [vec![], vec![]];
    // Two sessions: the plans of one session share buffers by name, and the sets' tables of gradient segments differ.
    let mut sessions = [Session::with(gpu.clone(), untuned, false)?, Session::with(gpu.clone(), tuned, false)?];
    for _ in 0..=ROUNDS {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let took = (0..untuned.len()).map(|plan| timed(session, plan, 4));
            times.push(took.sum::<Result<f64>>()?);
        }
    }
    // The first round warms up.
    Ok(times.map(|times| median(&times[1..])))
}

/// An outcome of a launch: the values with all partial sums added up, and the magnitude to which errors are relative.
struct Computed {
    values: Vec<f64>,
    largest: f64,
}

/// Clears the outcomes of a plan of one step, runs the plan once, and reads the outcomes.
fn run_once(session: &mut Session, index: usize, plan: &Plan) -> Result<Vec<Computed>> {
    let step = &plan.steps[0];
    let written = |slot: &usize| step.access(*slot) != Access::Read;
    let written: Vec<usize> = (0..step.slots.len()).filter(written).collect();
    for slot in &written {
        let name = &plan.buffers[step.slots[*slot].buffer].name;
        let elements = session.buffer(name).map_or(0, |buffer| buffer.elements);
        session.write(name, 0, &Values::F32(vec![0.0; elements]))?;
    }
    session.run(index, 1)?;
    let mut computed = Vec::new();
    for (slot, outcome) in written.iter().zip(&step.outcomes) {
        let slot = &step.slots[*slot];
        let Values::F32(values) = session.read(&plan.buffers[slot.buffer].name)? else { continue };
        let values = &values[..slot.shape.elements().min(values.len())];
        let mut outcome = join(step, outcome, values);
        outcome.largest *= if slot.dtype == DType::Half { HALF } else { 1.0 };
        computed.push(outcome);
    }
    Ok(computed)
}

/// Adds up the partial sums of an outcome, whose number depends on the tile.
fn join(step: &Step, outcome: &Outcome, values: &[f32]) -> Computed {
    let wide = values.iter().map(|value| f64::from(*value));
    match outcome {
        Outcome::Total(_) => Computed { values: vec![wide.clone().sum()], largest: wide.map(f64::abs).sum() },
        Outcome::Element { .. } => {
            let parts = step.constant("SPLITS").unwrap_or(1).max(1) as usize;
            let mut joined = vec![0.0; values.len() / parts];
            let length = joined.len().max(1);
            wide.enumerate().for_each(|(index, value)| joined[index % length] += value);
            let largest = joined.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            Computed { values: joined, largest }
        }
    }
}

/// Describes how numbers disagree with expected numbers; `None` where no error exceeds a hundred-thousandth of
/// `largest`.
#[doc(hidden)]
pub fn disagreement(expected: &[f64], largest: f64, got: &[f64]) -> Option<String> {
    // Outcomes of split and of whole sums may differ in length, by padding to an alignment at the end.
    let error = expected.iter().zip(got).map(|(expected, got)| (expected - got).abs());
    // NaN counts as larger than any number.
    let error = error.fold(0.0f64, |largest, error| if error <= largest { largest } else { error });
    let within = error <= TOLERANCE * largest && got.iter().all(|value| value.is_finite());
    (!within).then(|| format!("its numbers are off by {error:.1e}, the largest is {largest:.1e}"))
}

/// Uniform numbers between -1 and 1, the same in every run.
pub(crate) fn random(stream: u32, count: usize) -> Vec<f32> {
    let words = (0..count.div_ceil(4)).flat_map(|block| rng::words(0, 0, stream, block as u32));
    words.map(|word| 2.0 * rng::unit(word) - 1.0).take(count).collect()
}

/// Number of runs of the first plan that together take long enough to be timed.
fn repetitions(session: &mut Session) -> Result<usize> {
    let wanted = LONG_ENOUGH.as_secs_f64() * 1e6;
    let mut repetitions = 1;
    loop {
        let took = timed(session, 0, repetitions)? * repetitions as f64;
        if took >= wanted || repetitions == MOST_REPETITIONS {
            return Ok(repetitions);
        }
        let fitting = (repetitions as f64 * wanted / took).ceil() as usize;
        repetitions = fitting.clamp(repetitions + 1, 16 * repetitions).min(MOST_REPETITIONS);
    }
}

/// Microseconds of each of several runs of a plan, in one submission.
fn timed(session: &mut Session, plan: usize, repetitions: usize) -> Result<f64> {
    session.set_steps_per_submission(plan, repetitions);
    let began = Instant::now();
    session.run(plan, repetitions)?;
    session.wait()?;
    Ok(began.elapsed().as_secs_f64() * 1e6 / repetitions as f64)
}

/// The median of times; infinity where there are none.
pub(crate) fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    match times.len() {
        0 => f64::INFINITY,
        count => (times[(count - 1) / 2] + times[count / 2]) / 2.0,
    }
}
