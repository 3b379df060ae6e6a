//! The table of kernels against the shaders themselves, by naga's reflection; and every kernel that the cases' plans need,
//! validated and translated for Vulkan, Metal and DX12 without a GPU.

use crate::cases::Group;
use crate::check::{Work, each_group, report};
use crate::plan::plans::training_plans;
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use pinhole::gpu::{Language, Shader, specialise};
use pinhole::graph::{Binary, STATE_LENGTH, Unary};
use pinhole::plan::{
    Access, Element, Fusion, Kernel, Limits, LossScale, Plan, Row, Step, TABLE, TILE_CONSTANTS, TILE_SOURCE, Target,
    Tile, Without, bindings, state, workgroup_bytes,
};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{LazyLock, Mutex};

/// A file under `shaders/`.
fn shader(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under `shaders/`, by name.
fn shaders() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = std::fs::read_dir(folder).expect("the shaders").map(|file| file.expect("a file").file_name());
    let mut files: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    files.sort();
    files
}

/// A module that is valid without any feature beyond WebGPU's own, but for subgroups where the text has them.
fn parse(path: &str, text: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string_with_path(text, path))?;
    let info = validate(&module, path, text)?;
    Ok((module, info))
}

fn validate(module: &Module, path: &str, text: &str) -> Result<ModuleInfo, String> {
    let subgroups = module.entry_points.iter().any(|point| point.name == "by_subgroup" || point.name == "together");
    let capabilities = match subgroups && text.contains("subgroup") {
        true => Capabilities::SUBGROUP,
        false => Capabilities::empty(),
    };
    let capabilities = match text.starts_with("enable f16;") {
        true => capabilities | Capabilities::SHADER_FLOAT16,
        false => capabilities,
    };
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    validator.validate(module).map_err(|error| error.emit_to_string_with_path(text, path))
}

/// The values of a module's named constants of type u32.
fn constants(module: &Module) -> HashMap<String, u32> {
    let number = |constant: &naga::Constant| match module.global_expressions[constant.init] {
        naga::Expression::Literal(naga::Literal::U32(value)) => Some((constant.name.clone()?, value)),
        _ => None,
    };
    module.constants.iter().filter_map(|(_, constant)| number(constant)).collect()
}

/// What an entry point uses of its storage buffers: name, number, whether the declaration allows writing, element, use.
struct Used {
    name: String,
    number: u32,
    writable: bool,
    element: Option<Element>,
    usage: GlobalUse,
}

fn used(module: &Module, info: &ModuleInfo, entry: &str) -> Result<Vec<Used>, String> {
    let index = module.entry_points.iter().position(|point| point.name == entry).ok_or(format!("no entry {entry}"))?;
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        let usage = info.get_entry_point(index)[handle];
        let Some(binding) = variable.binding.filter(|_| !usage.is_empty()) else { continue };
        let AddressSpace::Storage { access } = variable.space else {
            return Err(format!("{:?} is no storage buffer", variable.name));
        };
        let element = match module.types[variable.ty].inner {
            TypeInner::Array { base, size: naga::ArraySize::Dynamic, .. } => match module.types[base].inner {
                TypeInner::Scalar(naga::Scalar::F32) => Some(Element::Float),
                TypeInner::Scalar(naga::Scalar::U32) => Some(Element::Word),
                TypeInner::Vector { size: naga::VectorSize::Quad, scalar: naga::Scalar::F32 } => Some(Element::Vector),
                _ => None,
            },
            _ => None,
        };
        if binding.group != 0 {
            return Err(format!("{:?} is in group {}", variable.name, binding.group));
        }
        bindings.push(Used {
            name: variable.name.clone().unwrap_or_default(),
            number: binding.binding,
            writable: access.contains(StorageAccess::STORE),
            element,
            usage,
        });
    }
    Ok(bindings)
}

/// Whether a use is one that an access allows.
fn fits(kernel: Kernel, access: Access, writable: bool, usage: GlobalUse) -> bool {
    let recurs = matches!(kernel, Kernel::Lstm | Kernel::Gru | Kernel::LinearForward | Kernel::LinearBackward);
    match access {
        Access::Read => !writable && usage == GlobalUse::READ,
        // Reading its own output would make it an update, except of what it has just written.
        Access::Write => writable && (usage == GlobalUse::WRITE || recurs && usage.contains(GlobalUse::WRITE)),
        // What is not overwritten stays, read or not.
        Access::Update => writable && usage.contains(GlobalUse::WRITE),
    }
}

fn check_row(row: &Row) -> Result<(), String> {
    let text = shader(row.file);
    if text != row.source {
        return Err("the table holds another text than the file".to_owned());
    }
    let (module, info) = parse(&format!("shaders/{}", row.file), &text)?;
    // A fused kernel has room for an outcome or an input at least.
    let own = row.bindings.len() + usize::from(row.fusion != Fusion::No);
    if own > Limits::default().storage_buffers as usize {
        return Err("more storage buffers than the floor of WebGPU's limits".to_owned());
    }
    // Small devices collect gradients instead.
    let whole = [Kernel::Update, Kernel::LimitedUpdate, Kernel::SquaresOfSums].contains(&row.kernel);
    if !whole && own > Limits::DOWNLEVEL.storage_buffers as usize {
        return Err("more storage buffers than small devices bind".to_owned());
    }
    let constants = constants(&module);
    let known = |name: &str| constants.contains_key(name) && row.constants.contains(&name);
    let grid = row.grid.iter().flat_map(|extent| extent.product);
    if let Some(name) = row.constants.iter().chain(grid).find(|name| !known(name)) {
        return Err(format!("{name} is no `const {name}: u32` that a step sets"));
    }
    if row.tiled {
        return check_operands(row, &module);
    }
    let point = module.entry_points.iter().find(|point| point.name == row.entry).ok_or("no such entry point")?;
    if point.stage != ShaderStage::Compute || point.workgroup_size != [row.workgroup, 1, 1] {
        return Err(format!("workgroup size {:?}, the table says {}", point.workgroup_size, row.workgroup));
    }
    let used = used(&module, &info, row.entry)?;
    for binding in row.bindings {
        let found =
            used.iter().find(|used| used.name == binding.name).ok_or(format!("does not use {}", binding.name))?;
        let same = found.element == Some(binding.element);
        if !same || !fits(row.kernel, binding.access, found.writable, found.usage) {
            return Err(format!("{binding:?}, but in the shader {:?}, {:?}", found.element, found.usage));
        }
    }
    // What stands for an expression's inputs and an epilogue's outcomes in the file.
    let neutral = |name: &str| ["x0", "y0"].contains(&name) && row.fusion != Fusion::No;
    let known = |name: &str| row.bindings.iter().any(|binding| binding.name == name);
    match used.iter().find(|used| !known(&used.name) && !neutral(&used.name)) {
        Some(stranger) => Err(format!("uses {}, which the table lacks", stranger.name)),
        None => Ok(()),
    }
}

/// A product's file has every function that tells `tile.wgsl` where its operands lie, and that file has the rest.
fn check_operands(row: &Row, module: &Module) -> Result<(), String> {
    let (tile, info) = parse("shaders/tile.wgsl", TILE_SOURCE)?;
    for name in
        ["left_line", "left_step", "left_inside", "right_line", "right_step", "right_inside", "depth_of", "result_at"]
    {
        let has = |module: &Module, name: &str| module.functions.iter().any(|(_, f)| f.name.as_deref() == Some(name));
        if !has(module, &format!("{}_{name}", row.entry)) || !has(&tile, name) {
            return Err(format!("no function {}_{name}, or none that it replaces", row.entry));
        }
    }
    for point in ["by_registers", "by_subgroup", "by_workgroup"] {
        let used = used(&tile, &info, point)?;
        let mut names: Vec<&str> = used.iter().map(|used| &used.name[..]).collect();
        names.sort_unstable();
        if names != ["left", "right", "y0"] || used.iter().any(|used| used.element != Some(Element::Vector)) {
            return Err(format!("{point} uses {names:?}"));
        }
    }
    let constants = constants(&tile);
    match TILE_CONSTANTS.iter().find(|name| !constants.contains_key(**name)) {
        Some(missing) => Err(format!("{missing} is no `const {missing}: u32` of tile.wgsl")),
        None => Ok(()),
    }
}

#[test]
fn the_table_is_what_the_shaders_say() {
    let failures =
        TABLE.iter().filter_map(|row| check_row(row).err().map(|error| format!("{}: {error}", row.kernel.name())));
    report(failures.collect());
}

#[test]
fn the_table_stands_in_the_order_of_the_enum() {
    for (index, row) in TABLE.iter().enumerate() {
        assert_eq!(row.kernel as usize, index, "{:?} is row {index}", row.kernel);
        assert_eq!(row.kernel.row().entry, row.entry);
    }
    let names: HashSet<String> = TABLE.iter().map(|row| row.kernel.name()).collect();
    assert_eq!(names.len(), TABLE.len(), "two kernels of one name");
}

#[test]
fn every_entry_point_is_in_the_table_and_every_file_is_valid_as_written() {
    for file in shaders() {
        let text = shader(&file);
        let (module, _) = parse(&format!("shaders/{file}"), &text).unwrap_or_else(|error| panic!("{error}"));
        // Benchmarks run this one without a plan.
        let points = if file == "ceiling.wgsl" { &[] } else { &module.entry_points[..] };
        for point in points {
            let known = TABLE.iter().any(|row| row.file == file && row.entry == point.name);
            let known = known || (file == "tile.wgsl" && point.name.starts_with("by_"));
            assert!(known, "shaders/{file}: entry point {} has no row in the table", point.name);
        }
        let operands = TABLE.iter().any(|row| row.tiled && row.file == file);
        assert!(
            file == "math.wgsl" || operands || !module.entry_points.is_empty(),
            "shaders/{file} has no entry point"
        );
    }
}

#[test]
fn every_elementwise_op_is_a_function_of_math_wgsl() {
    let (module, _) = parse("shaders/math.wgsl", &shader("math.wgsl")).unwrap_or_else(|error| panic!("{error}"));
    let float = |ty: naga::Handle<naga::Type>| module.types[ty].inner == TypeInner::Scalar(naga::Scalar::F32);
    let ops = Unary::ALL.iter().map(|op| (op.name(), 1)).chain(Binary::ALL.iter().map(|op| (op.name(), 2)));
    for (name, arguments) in ops {
        let found = module.functions.iter().find(|(_, function)| function.name.as_deref() == Some(name));
        let Some((_, function)) = found else { panic!("shaders/math.wgsl has no function {name}") };
        let fits = function.arguments.len() == arguments
            && function.arguments.iter().all(|argument| float(argument.ty))
            && function.result.as_ref().is_some_and(|result| float(result.ty));
        assert!(fits, "{name} in shaders/math.wgsl does not map {arguments} f32 to one");
    }
}

#[test]
fn shaders_and_plan_agree_where_the_words_of_the_state_are() {
    let positions = HashMap::from([
        ("SEED", state::SEED),
        ("STEP", state::STEP),
        ("POSITION", state::POSITION),
        ("OFFSET", state::OFFSET),
        ("SCHEDULE_COLUMNS", state::SCHEDULE_COLUMNS),
        ("RATE", state::RATE),
        ("DECAY", state::DECAY),
        ("SHRINK", state::SHRINK),
        ("VALUE_LIMIT", state::VALUE_LIMIT),
        ("NORM_LIMIT", state::NORM_LIMIT),
        ("SHARE", state::SHARE),
        ("WAIT", state::WAIT),
        ("AVERAGING", state::AVERAGING),
        ("METHOD_NUMBERS", state::METHOD_NUMBERS),
        ("CURRENT", state::CURRENT),
        ("SQUARES", state::SQUARES),
        ("SKIPPED", state::SKIPPED),
        ("INVERSE", state::INVERSE),
        ("SCALE", state::SCALE),
        ("GOOD", state::GOOD),
        ("GROWTH_INTERVAL", LossScale::GROWTH_INTERVAL),
    ]);
    let mut seen = HashSet::new();
    for file in shaders() {
        let (module, _) = parse(&file, &shader(&file)).unwrap_or_else(|error| panic!("{error}"));
        for (name, value) in constants(&module) {
            if let Some((name, expected)) = positions.get_key_value(&name[..]) {
                assert_eq!(value as usize, *expected, "{name} in shaders/{file}");
                seen.insert(*name);
            }
        }
    }
    assert_eq!(seen.len(), positions.len(), "only {seen:?} are named in shaders");
    const { assert!(state::OFFSET < STATE_LENGTH && state::SEED + 1 < state::STEP && state::POSITION == 0) };
}

each_group!(check_group);

fn check_group(group: Group) {
    let subgroups = Target { software: true, subgroup: Some(8), ..Target::default() };
    let small = Target { limits: Limits::DOWNLEVEL, ..Target::default() };
    let halves = Target { half: true, ..subgroups.clone() };
    let targets = [Target::default(), subgroups, small, Target { half: true, ..Target::default() }, halves];
    let cases = group.cases();
    for target in targets {
        // What 16 bits change, each third case shows.
        let works = cases.iter().step_by(if target.half { 3 } else { 1 }).map(|case| Work::on(case, &target));
        let plans: Vec<Plan> = works.flat_map(|work| work.plans).collect();
        check_plans(&plans, &target);
    }
}

#[test]
fn every_tile_of_every_subgroup_size_is_valid() {
    for subgroup in [4, 8, 16, 32, 64] {
        let target = Target { subgroup: Some(subgroup), ..Target::default() };
        for tile in Tile::family(&target) {
            let target = Target { forced: Some(tile), ..target.clone() };
            // Odd sizes, and sizes that are multiples of four.
            let cases = [Group::MatMul.cases(), Group::Conv.cases()].concat();
            let works = cases.iter().step_by(if subgroup == 8 { 7 } else { 31 }).map(|case| Work::on(case, &target));
            let plans: Vec<Plan> = works.flat_map(|work| work.plans).collect();
            check_plans(&plans, &target);
        }
    }
}

#[test]
fn training() {
    for limits in [Limits::default(), Limits::DOWNLEVEL] {
        let target = Target { limits, ..Target::default() };
        check_plans(&training_plans(&target), &target);
    }
}

/// Launches that some test has translated: most kernels come again under another target, in another group.
static TRANSLATED: LazyLock<Mutex<HashSet<Shader>>> = LazyLock::new(Mutex::default);

/// Plans keep their promises, and each of their kernels is valid and can be translated.
fn check_plans(plans: &[Plan], target: &Target) {
    let mut failures = Vec::new();
    let mut translated = 0;
    for plan in plans {
        failures.extend(check_plan(plan, target).err());
        for (index, launch) in plan.launches() {
            let place = |error: String| format!("plan \"{}\", step {index}: {error}", plan.name);
            match specialise(launch) {
                Ok(shader) => {
                    if TRANSLATED.lock().expect("no test fails while it holds the list").insert(shader.clone()) {
                        translated += 1;
                        for without in ["", "unroll"] {
                            failures.extend(translate(launch, &shader, without).err().map(&place));
                        }
                    }
                }
                Err(error) => failures.push(place(error.to_string())),
            }
        }
    }
    println!("{} plans, {translated} kernels that no test had before", plans.len());
    report(failures);
}

/// A plan fits its device, reads nothing that it writes, and its steps fit their kernels' rows.
pub fn check_plan(plan: &Plan, target: &Target) -> Result<(), String> {
    plan.check(&target.limits).map_err(|error| error.to_string())?;
    if let Some(step) = plan.hazard() {
        return Err(format!("plan \"{}\": hazard in step {step}", plan.name));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        check_step(step, target).map_err(|error| format!("plan \"{}\", step {index}: {error}", plan.name))?;
    }
    Ok(())
}

/// The parts of a step fit its kernel's row.
fn check_step(step: &Step, target: &Target) -> Result<(), String> {
    let row = step.kernel.row();
    let own = step.own.is_some();
    if own != (row.fusion == Fusion::Own) {
        return Err(format!("an application's kernel where {} has {:?}", step.kernel.name(), row.fusion));
    }
    // Those of an application's kernel are whatever it has.
    let inputs = step.program.as_ref().map_or(if own { step.slots.len() - 1 } else { 0 }, |program| program.inputs);
    let (constants, outcomes) = (row.constant_names().count(), step.outcomes.len());
    if step.constants.len() != constants {
        return Err(format!("{} constants, {} has {constants}", step.constants.len(), step.kernel.name()));
    }
    if step.slots.len() != row.bindings.len() + outcomes + inputs {
        return Err(format!("{} slots for {} bindings and {inputs} inputs", step.slots.len(), row.bindings.len()));
    }
    let room = row.fused(target.limits.storage_buffers as usize);
    if outcomes + inputs > room || (row.fusion == Fusion::Epilogue) != (outcomes > 0) {
        return Err(format!("{outcomes} outcomes and {inputs} inputs, {} takes {room}", step.kernel.name()));
    }
    if (row.fusion == Fusion::Source) && step.program.is_none() || (row.fusion == Fusion::No) && step.program.is_some()
    {
        return Err(format!("an expression where {} has {:?}", step.kernel.name(), row.fusion));
    }
    Ok(())
}

/// Validates a launch's shader, holds its bindings and its workgroup memory against what the plan says of the launch, and
/// writes it in every language. A text whose loops stay is for finding faults, and is written for Vulkan only.
fn translate(launch: &[Step], shader: &Shader, without: &str) -> Result<(), String> {
    let without = Without::parse(without)?;
    let module = shader.module(without).map_err(|error| error.to_string())?;
    let info = validate(&module, shader.file, &shader.text)?;
    let expected: Vec<u32> = (0..bindings(launch).len() as u32).collect();
    let mut numbers: Vec<u32> = used(&module, &info, &shader.entry)?.iter().map(|used| used.number).collect();
    numbers.sort_unstable();
    // Unrolling may leave none of what uses a binding, such as the moments of an optimiser that has none.
    let right = if without.unroll { numbers == expected } else { numbers.iter().all(|used| expected.contains(used)) };
    if !right {
        return Err(format!("{} uses bindings {numbers:?}, the launch has {expected:?}", shader.entry));
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size).sum();
    // Without unrolling, a branch that is never taken keeps the memory in which invocations would share a sum.
    let right = |planned: u64| u64::from(bytes) == planned || without.unroll && u64::from(bytes) > planned;
    if !right(workgroup_bytes(launch)) {
        let planned = workgroup_bytes(launch);
        return Err(format!("{} has {bytes} bytes of workgroup memory, the plan says {planned}", shader.entry));
    }

    let languages = if without.unroll { &Language::ALL[..] } else { &[Language::Spirv] };
    for language in languages {
        shader.emit(*language, without).map_err(|error| error.to_string())?;
    }
    Ok(())
}
