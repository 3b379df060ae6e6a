// Optimisers: one launch updates every parameter, which lie in one buffer, their gradients and moments in others of the
// same layout. What changes from step to step stands in the schedule, a row for each step of the epoch.

const COUNT: u32 = 64u;
// Numbers in a row of the schedule, and the word of the state that holds the row.
const COLUMNS: u32 = 8u;
const POSITION: u32 = 3u;

@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read> schedule: array<f32>;
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> first_moment: array<f32>;
@group(0) @binding(5) var<storage, read_write> second_moment: array<f32>;

// Gradient descent. Schedule: rate. One workgroup updates 64 consecutive parameters.
@compute @workgroup_size(64)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT {
        parameters[i] -= schedule[state[POSITION] * COLUMNS] * gradients[i];
    }
}

// Adam (Kingma and Ba, arXiv 1412.6980). Schedule: rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon, 1 - beta1, beta2,
// 1 - beta2. One workgroup updates 64 consecutive parameters.
@compute @workgroup_size(64)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT {
        let row = state[POSITION] * COLUMNS;
        let gradient = gradients[i];
        let first = first_moment[i] + schedule[row + 3u] * (gradient - first_moment[i]);
        let second = schedule[row + 4u] * second_moment[i] + schedule[row + 5u] * gradient * gradient;
        first_moment[i] = first;
        second_moment[i] = second;
        parameters[i] -= schedule[row] * first / (sqrt(second) * schedule[row + 1u] + schedule[row + 2u]);
    }
}
