// Real numbers as indices: rounded to the nearest integer, and clamped to 0 .. LIMIT - 1.

const COUNT: u32 = 64u;
const LIMIT: u32 = 16u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

// y[i] = x[i] rounded and clamped. One workgroup computes 64 consecutive elements.
fn indices_part(group: u32, lane: u32) {
    let i = group * 64u + lane;
    if i < COUNT {
        y[i] = u32(clamp(floor(x[i] + 0.5), 0.0, f32(LIMIT - 1u)));
    }
}

@compute @workgroup_size(64)
fn indices(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    indices_part(group.y * groups.x + group.x, lane);
}
