//! The naga pass: what it unrolls and splits, what it must leave, and that neither changes what comes out.

use crate::support::gpu_name;
use naga::{Block, Module, Statement, TypeInner};
use pinhole::Device;
use pinhole::gpu::Shader;
use pinhole::plan::Without;
use wgpu::util::DeviceExt;

/// The body of a kernel that leaves words in `y`, the loops and the arrays that are left of it.
struct Case {
    name: &'static str,
    body: &'static str,
    loops: usize,
    arrays: usize,
}

/// What is known to nobody before run time: `x[i]` is `i + 3`.
const HEAD: &str = "
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
var<workgroup> shared_words: array<u32, 8>;

fn double_all(values: ptr<function, array<u32, 4>>) {
    for (var i = 0u; i < 4u; i++) {
        (*values)[i] = (*values)[i] * 2u;
    }
}

fn first_above(limit: u32) -> u32 {
    for (var i = 0u; i < 8u; i++) {
        if x[i] > limit {
            return i;
        }
    }
    return 99u;
}

fn meet() {
    workgroupBarrier();
}

fn reversed(values: array<u32, 4>) -> array<u32, 4> {
    return array<u32, 4>(values[3], values[2], values[1], values[0]);
}
";

/// Loops of the functions in [`HEAD`] that stay, where they are called.
const CASES: &[Case] = &[
    Case {
        name: "nested loops over nested arrays",
        body: "var t: array<array<vec2<u32>, 3>, 2>;
            for (var i = 0u; i < 2u; i++) { for (var j = 0u; j < 3u; j++) { for (var k = 0u; k < 2u; k++) {
                t[i][j][k] += x[i + 2u * j + k] * (i + 1u);
            } } }
            for (var i = 0u; i < 2u; i++) { let row = t[i]; for (var j = 0u; j < 3u; j++) { y[3u * i + j] = row[j].x + 7u * row[j].y; } }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "steps of three, and none",
        body: "for (var i = 1u; i < 8u; i += 3u) { y[i] = x[i] + i; } for (var i = 5u; i < 5u; i++) { y[0] = 1u; }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "downwards",
        body: "var a: array<u32, 8>;
            for (var i = 7i; i >= 0i; i--) { a[i] = x[7 - i]; } for (var i = 0u; i < 8u; i++) { y[i] = a[i]; }",
        loops: 0,
        arrays: 0,
    },
    Case { name: "as many as are unrolled", body: "for (var i = 0u; i < 64u; i++) { y[i % 8u] += i; }", loops: 0, arrays: 0 },
    Case { name: "one more", body: "for (var i = 0u; i < 65u; i++) { y[i % 8u] += i; }", loops: 1, arrays: 0 },
    Case { name: "a bound of run time", body: "for (var i = 0u; i < x[2]; i++) { y[i] = i; }", loops: 1, arrays: 0 },
    Case {
        name: "a bound that a branch changed",
        body: "var n = 2u; if x[0] == 3u { n = 5u; } for (var i = 0u; i < n; i++) { y[i] = i + 1u; }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a bound that another branch set too",
        body: "var n = 2u; if x[0] == 4u { n = 5u; } else { n = 6u; } for (var i = 0u; i < n; i++) { y[i] = i + 1u; }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a bound that a loop changed",
        body: "var n = 2u; for (var i = 0u; i < x[0]; i++) { n += 1u; } for (var i = 0u; i < n; i++) { y[i] = i + 1u; }",
        loops: 2,
        arrays: 0,
    },
    Case {
        name: "a counter that the body changes",
        body: "for (var i = 0u; i < 8u; i++) { y[i] = i + 1u; if x[i] == 5u { i += 2u; } }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a loop that is left early",
        body: "for (var i = 0u; i < 8u; i++) { if x[i] == 6u { break; } y[i] = i + 1u; }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a loop that skips",
        body: "for (var i = 0u; i < 8u; i++) { if x[i] == 6u { continue; } y[i] = i + 1u; }",
        loops: 1,
        arrays: 0,
    },
    Case { name: "a return from a loop", body: "y[0] = first_above(6u); y[1] = first_above(50u);", loops: 0, arrays: 0 },
    Case {
        name: "a loop of rounds with a barrier",
        body: "for (var i = 0u; i < 4u; i++) { shared_words[i] = x[i]; workgroupBarrier(); y[i] = shared_words[i]; }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a loop of rounds with a barrier in a function",
        body: "for (var i = 0u; i < 4u; i++) { shared_words[i] = x[i]; meet(); y[i] = shared_words[i]; }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "an array that is indexed by a number of run time",
        body: "var a: array<u32, 8>; for (var i = 0u; i < 8u; i++) { a[i] = 10u * i; } for (var i = 0u; i < 4u; i++) { y[i] = a[x[i]]; }",
        loops: 0,
        arrays: 1,
    },
    Case {
        name: "an array behind a pointer",
        body: "var a: array<u32, 4>; for (var i = 0u; i < 4u; i++) { a[i] = x[i]; } double_all(&a); for (var i = 0u; i < 4u; i++) { y[i] = a[i]; }",
        loops: 0,
        arrays: 1,
    },
    Case {
        name: "whole arrays",
        body: "var a = array<u32, 4>(1u, 2u, 3u, 4u); var b: array<u32, 4>; b = reversed(a); a = array<u32, 4>(a[1], a[0], b[0], x[0]);
            b = a; for (var i = 0u; i < 4u; i++) { y[i] = a[i] + 100u * b[i]; }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "a variable of the body begins anew",
        body: "for (var i = 0u; i < 4u; i++) { var sum = 0u; var a: array<u32, 2>; sum += x[i]; a[i % 2u] += x[i]; y[i] = sum + 10u * a[0] + 100u * a[1]; }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "an index below zero that is never reached",
        body: "var a: array<u32, 4>; for (var i = 0u; i < 4u; i++) { a[i] = x[i]; let below = i - 1u; if i > 0u { y[i] = a[i - 1u] + below; } }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "a switch",
        body: "for (var i = 0u; i < 4u; i++) { var n = 0u; switch x[i] { case 3u: { n = 7u; } case 4u, 5u: { n = 8u; } default: { n = i; } } y[i] = n; }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "a switch on a counter",
        body: "for (var i = 0u; i < 5u; i++) { switch i { case 0u: { y[i] = 7u; } case 1u, 3u: { y[i] = x[i]; } default: { var a: array<u32, 2>; a[i % 2u] = i; y[i] = a[0] + 10u * a[1]; } } }",
        loops: 0,
        arrays: 0,
    },
    Case {
        name: "a switch that is left early",
        body: "for (var i = 0u; i < 2u; i++) { switch i { case 0u: { if x[0] == 3u { break; } y[0] = 7u; } default: { y[i] = 8u; } } }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a loop that asks at its end",
        body: "var i = 0u; loop { y[i] = i + 1u; continuing { i++; break if i == 4u; } }",
        loops: 1,
        arrays: 0,
    },
    Case {
        name: "a known counter after its loop",
        body: "var i = 0u; for (; i < 4u; i++) { y[i] = 1u; } y[4] = i; for (var j = i; j < 6u; j++) { y[j + 1u] = j; }",
        loops: 0,
        arrays: 0,
    },
];

fn shader(case: &Case) -> Shader {
    let text = format!("{HEAD}\n@compute @workgroup_size(1)\nfn main() {{\n{}\n}}\n", case.body);
    Shader { text, file: "unroll", entry: "main".to_owned(), own: false }
}

fn module(case: &Case, without: &str) -> Module {
    let without = Without::parse(without).expect("a known optimisation");
    shader(case).module(without).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

#[test]
fn what_follows_from_constants_is_unrolled_and_nothing_else() {
    for case in CASES {
        let module = module(case, "");
        let functions =
            || module.functions.iter().map(|(_, function)| function).chain([&module.entry_points[0].function]);
        let loops: usize = functions().map(|function| count_loops(&function.body)).sum();
        let variables = functions().flat_map(|function| function.local_variables.iter());
        let arrays =
            variables.filter(|(_, variable)| matches!(module.types[variable.ty].inner, TypeInner::Array { .. }));
        let left = (loops, arrays.count());
        assert_eq!(left, (case.loops, case.arrays), "{}: loops and arrays", case.name);
    }
}

#[test]
fn the_same_words_come_out() {
    let (device, queue) = device();
    for case in CASES {
        let [plain, unrolled] = ["unroll", ""].map(|without| run(&device, &queue, module(case, without)));
        assert_eq!(plain, unrolled, "{}", case.name);
        assert!(unrolled.iter().any(|word| *word != 0), "{}: nothing came out", case.name);
    }
}

fn count_loops(block: &Block) -> usize {
    let of = |statement: &Statement| match statement {
        Statement::Block(block) => count_loops(block),
        Statement::If { accept, reject, .. } => count_loops(accept) + count_loops(reject),
        Statement::Switch { cases, .. } => cases.iter().map(|case| count_loops(&case.body)).sum(),
        Statement::Loop { body, continuing, .. } => 1 + count_loops(body) + count_loops(continuing),
        _ => 0,
    };
    block.iter().map(of).sum()
}

/// A device of the adapter that all tests run on.
fn device() -> (wgpu::Device, wgpu::Queue) {
    let Ok(Device::Gpu(gpu)) = Device::open(&gpu_name()) else { panic!("the tests' device is a GPU") };
    let name = &gpu.summary().name;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.into_iter().find(|adapter| &adapter.get_info().name == name).expect("the tests' adapter");
    pollster::block_on(adapter.request_device(&Default::default())).expect("a device")
}

/// The eight words that a module leaves in `y`.
fn run(device: &wgpu::Device, queue: &wgpu::Queue, module: Module) -> Vec<u32> {
    let words: Vec<u32> = (3..11).collect();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let buffer = |contents: &[u32]| {
        let contents = bytemuck::cast_slice(contents);
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage })
    };
    let (x, y) = (buffer(&words), buffer(&[0; 8]));
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let staging =
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 32, usage, mapped_at_creation: false });
    let uses_x = module.global_variables.iter().any(|(_, variable)| variable.name.as_deref() == Some("x"));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let entries = [(0, &x), (1, &y)]
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let entries = if uses_x { &entries[..] } else { &entries[1..] };
    let layout = pipeline.get_bind_group_layout(0);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&y, 0, &staging, 0, 32);
    queue.submit([encoder.finish()]);
    staging.slice(..).map_async(wgpu::MapMode::Read, |result| result.expect("it can be mapped"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device runs");
    let bytes = staging.slice(..).get_mapped_range().expect("it is mapped");
    bytemuck::pod_collect_to_vec(&bytes)
}
