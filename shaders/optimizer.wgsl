// Optimisers: one launch updates every parameter, which lie in one buffer, their moments in others of the same layout.
// Each parameter's gradient is there as partial sums, which are joined here in their order. What changes from step to step
// stands in the schedule, a row for each step of the epoch.

const COUNT: u32 = 64u;
// Numbers in a row of the schedule, and the word of the state that holds the row.
const SCHEDULE_COLUMNS: u32 = 8u;
const POSITION: u32 = 3u;
// A segment says, for so many places of parameters, where their gradients lie, how many partial sums they have, how far
// apart, and how many of the places are parameters. The others are gaps, and stay as they are.
const BLOCK: u32 = 64u;
const SEGMENT: u32 = 4u;

@group(0) @binding(0) var<storage, read> gradients: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> segments: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> first_moment: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> second_moment: array<vec4<f32>>;

// The gradients of parameters i to i + 3.
fn gradient_of(i: u32) -> vec4<f32> {
    let segment = i / BLOCK * SEGMENT;
    let parts = segments[segment + 1u];
    let stride = segments[segment + 2u] / 4u;
    var at = (segments[segment] + i % BLOCK) / 4u;
    var total = vec4<f32>();
    for (var part = 0u; part < parts; part++) {
        total += gradients[at];
        at += stride;
    }
    let place = vec4<u32>(i % BLOCK) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(), total, place < vec4<u32>(segments[segment + 3u]));
}

// Gradient descent. Schedule: rate. One workgroup updates 256 consecutive parameters.
@compute @workgroup_size(64)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if i < COUNT {
        parameters[i / 4u] -= schedule[state[POSITION] * SCHEDULE_COLUMNS] * gradient_of(i);
    }
}

// Adam (Kingma and Ba, arXiv 1412.6980). Schedule: rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon, 1 - beta1, beta2,
// 1 - beta2. One workgroup updates 256 consecutive parameters.
@compute @workgroup_size(64)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if i < COUNT {
        let row = state[POSITION] * SCHEDULE_COLUMNS;
        let gradient = gradient_of(i);
        let at = i / 4u;
        let first = first_moment[at] + schedule[row + 3u] * (gradient - first_moment[at]);
        let second = schedule[row + 4u] * second_moment[at] + schedule[row + 5u] * gradient * gradient;
        first_moment[at] = first;
        second_moment[at] = second;
        parameters[at] -= schedule[row] * first / (sqrt(second) * schedule[row + 1u] + schedule[row + 2u]);
    }
}
